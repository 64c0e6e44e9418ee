//! Making one egg: its files, their bytecode, and what pip writes.
//!
//! # Order
//! Directories, files, bytecode, metadata; then the mtimes of directories, which each new file changes;
//! then the rename. The egg is below a temporary directory, so a process that dies leaves nothing that
//! a later run does not remove.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;

use super::compilers::{Failure, Job};
use super::{Compile, Converter};
use crate::disk::dir::Dir;
use crate::disk::files;
use crate::disk::temp::Temp;
use crate::egg::wheel::Reason;
use crate::egg::wheel::archive::{Archive, Member};
use crate::egg::wheel::coding;
use crate::egg::wheel::plan::{Dropped, EggFile, MAX_SCRIPT, Origin, Original, Plan, is_source};
use crate::egg::wheel::record::Row;
use crate::error::{Error, IoContext, Result};
use crate::util::hash::sha256::{Hashing, Sha256};

/// How many files a compiler gets at once, at most.
const BATCH: usize = 16;

/// An egg, or why there is none.
#[derive(Debug, Serialize)]
pub struct Made {
    /// SHA-256 of the wheel.
    pub source_sha256: Option<Sha256>,
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What is odd about the wheel, though pip accepts it.
    pub warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Outcome {
    Converted {
        egg: String,
        files: usize,
        bytes: u64,
        /// How many compiled files the egg has.
        compiled: usize,
        /// Sources that do not compile, as their paths in the egg.
        not_compiled: Vec<String>,
    },
    /// There is an egg of that name already. It is not compared.
    Present { egg: String },
    /// Buildout installs the wheel itself.
    Left {
        #[serde(serialize_with = "reason_text")]
        reason: Reason,
    },
}

fn reason_text<S: serde::Serializer>(reason: &Reason, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(reason)
}

/// Why there is no egg.
enum Stop {
    Left(Reason),
    Failed(Error),
}

impl From<Reason> for Stop {
    fn from(reason: Reason) -> Self {
        Self::Left(reason)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Source(name) => Self::Left(Reason::Compiler(name)),
            Failure::Error(error) => Self::Failed(error),
        }
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Makes the egg of a wheel.
pub fn make(converter: &Converter, wheel: &Path, into: &Path, origin: Origin) -> Result<Made> {
    let path = std::path::absolute(wheel).at("read", wheel)?;
    let file = files::open_file(&path).at("read", wheel)?;
    let source_sha256 = digest(&file).at("read", wheel)?;
    let mut warnings = Vec::new();
    let original = Original { path: &path, sha256: source_sha256 };
    let outcome = match try_make(converter, file, original, origin, into, &mut warnings) {
        Ok(outcome) => outcome,
        Err(Stop::Left(reason)) => Outcome::Left { reason },
        Err(Stop::Failed(error)) => return Err(error),
    };
    Ok(Made { source_sha256: Some(source_sha256), outcome, warnings })
}

fn digest(file: &File) -> std::io::Result<Sha256> {
    let mut hashing = Hashing::new(file);
    std::io::copy(&mut hashing, &mut std::io::sink())?;
    Ok(hashing.finish().0)
}

fn try_make(
    converter: &Converter,
    file: File,
    original: Original<'_>,
    origin: Origin,
    into: &Path,
    warnings: &mut Vec<String>,
) -> Result<Outcome, Stop> {
    let mut archive = Archive::open(file)?;
    let plan = Plan::of(&mut archive, original, &converter.target, origin)?;
    let egg = plan.egg_name.clone();
    let present = || Outcome::Present { egg: egg.clone() };
    let dir = Dir::open(into).at("open", into)?;
    if dir.stat(egg.as_str()).is_ok() {
        return Ok(present());
    }
    let temp = Temp::dir(&dir)?;
    let mtime = converter.options.epoch().unwrap_or(archive.newest);
    let writer = Writer {
        converter,
        plan: &plan,
        archive: &archive,
        root: temp.path().join("egg"),
        outside: temp.path().join("outside"),
        mtime,
    };
    let written = writer.write()?;
    warnings.extend(written.warnings);
    warnings.extend(missing_files(&plan, &archive.members));
    let egg_dir = Dir::open(temp.path()).at("open", temp.path())?;
    match egg_dir.rename_new("egg", &dir, egg.as_str()) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(present()),
        Err(source) => {
            return Err(Error::Io { action: "make", path: into.join(&egg), source }.into());
        }
    }
    Ok(Outcome::Converted {
        egg,
        files: written.files,
        bytes: written.bytes,
        compiled: written.compiled,
        not_compiled: written.not_compiled,
    })
}

/// What is odd about a file, compared with its row in RECORD.
fn problem(row: &Row, digest: Sha256, size: u64) -> Option<&'static str> {
    if !row.size.is_empty() && row.size.parse() != Ok(size) {
        Some("its size is not the one in RECORD")
    } else if row.digest.starts_with("sha256=") && row.digest != digest.in_record() {
        Some("its content does not match its digest in RECORD")
    } else {
        None
    }
}

/// What is odd about rows of RECORD that have no file.
fn missing_files(plan: &Plan, members: &[Member]) -> Option<String> {
    let mut rows = plan.rows_without_file(members);
    let first = &rows.next()?.path;
    Some(match rows.count() {
        0 => format!("{first}: RECORD lists it, and the wheel does not have it"),
        more => {
            format!("{first} and {more} more: RECORD lists them, and the wheel does not have them")
        }
    })
}

/// Writes one egg.
struct Writer<'a> {
    converter: &'a Converter,
    plan: &'a Plan,
    archive: &'a Archive,
    /// The egg under its temporary name.
    root: PathBuf,
    /// Sources that pip installs outside of the egg; they are only compiled.
    outside: PathBuf,
    mtime: i64,
}

/// What was written.
#[derive(Default)]
struct Written {
    files: usize,
    bytes: u64,
    compiled: usize,
    not_compiled: Vec<String>,
    warnings: Vec<String>,
}

/// Scripts that pip changes, by their path in RECORD.
type ChangedScripts = HashMap<String, Vec<u8>>;

/// A source, and whether its bytecode becomes part of the egg.
struct Source {
    job: Job,
    /// Its path in the egg, or in RECORD.
    key: String,
}

impl Writer<'_> {
    fn write(&self) -> Result<Written, Stop> {
        let members = &self.archive.members;
        // What is removed with its bytecode is compiled only because RECORD lists it.
        let is_gone = |file: &EggFile<'_>| file.is_removed && !file.keeps_bytecode;
        let (gone, files): (Vec<EggFile<'_>>, Vec<EggFile<'_>>) =
            self.plan.files(members).partition(is_gone);
        let directories = self.make_directories(&files)?;
        let warnings = files
            .par_iter()
            .map_init(|| self.archive.clone(), |archive, file| self.extract(archive, *file))
            .collect::<Result<Vec<Option<String>>, Stop>>()?;
        let (changed, mut outside) = self.extract_dropped()?;
        for file in gone {
            let content = self.archive.clone().content(file.member, MAX_SCRIPT)?;
            outside.push(self.outside_source(file.path, &content)?);
        }
        let sources: Vec<Source> =
            files.iter().filter_map(|file| self.source(*file)).chain(outside).collect();
        let (compiled, mut written) = self.compile(&sources)?;
        written.warnings = warnings.into_iter().flatten().collect();
        for file in files.iter().filter(|file| file.is_removed) {
            let path = self.root.join(file.path);
            fs::remove_file(&path).at("remove", &path)?;
        }
        let kept = files.iter().filter(|file| !file.is_removed);
        written.bytes = kept.clone().map(|file| file.member.size).sum();
        let metadata = self.plan.metadata(members, &compiled, &changed, &self.converter.bytecode);
        written.files = kept.count() + metadata.len();
        for (path, content) in metadata {
            written.bytes += content.len() as u64;
            let path = self.root.join(path);
            self.create(&path, false)
                .and_then(|mut file| file.write_all(&content).map(|()| file))
                .and_then(|file| files::set_mtime(&file, None, (self.mtime, 0)))
                .at("write", &path)?;
        }
        Self::remove_empty(&sources, &compiled);
        self.finish_directories(&directories)?;
        Ok(written)
    }

    /// Makes the directories of the egg, also those for bytecode, and returns their paths.
    fn make_directories(&self, files: &[EggFile<'_>]) -> Result<BTreeSet<PathBuf>> {
        let mut directories = BTreeSet::from([self.root.clone()]);
        let mut add = |path: &str| {
            let path = self.root.join(path);
            for directory in path.ancestors().skip(1) {
                if !directories.insert(directory.to_owned()) {
                    // All directories above it are known as well.
                    break;
                }
            }
        };
        for file in files {
            add(file.path);
            if is_source(file.path) && self.keeps_bytecode(*file) {
                add(&self.converter.bytecode.path(file.path));
            }
        }
        for directory in &directories {
            fs::create_dir(directory).at("make", directory)?;
        }
        Ok(directories)
    }

    fn keeps_bytecode(&self, file: EggFile<'_>) -> bool {
        let is_wanted = self.converter.options.compile == Compile::All && !file.is_removed;
        file.keeps_bytecode || is_wanted
    }

    /// Creates a file of the egg, with the mode that pip gives it.
    fn create(&self, path: &Path, is_executable: bool) -> std::io::Result<File> {
        let file = File::options().write(true).create_new(true).mode(0o666).open(path)?;
        if is_executable {
            let mode = 0o777 & !self.converter.umask | 0o111;
            file.set_permissions(Permissions::from_mode(mode))?;
        }
        Ok(file)
    }

    /// Writes a file of the egg. Returns a warning if RECORD has another digest for it.
    fn extract(&self, archive: &mut Archive, file: EggFile<'_>) -> Result<Option<String>, Stop> {
        let path = self.root.join(file.path);
        let created = self.create(&path, file.member.is_executable).at("write", &path)?;
        let mut hashing = Hashing::new(&created);
        let mut is_first = true;
        archive.copy(file.member, |piece| {
            if std::mem::take(&mut is_first) && is_source(file.path) {
                self.check_coding(file.path, piece, piece.len() as u64 == file.member.size)?;
            }
            hashing.write_all(piece).at("write", &path).map_err(Stop::from)
        })??;
        let (digest, size) = hashing.finish();
        files::set_mtime(&created, None, (self.mtime, 0)).at("write", &path)?;
        let problem = file.row.and_then(|row| problem(row, digest, size));
        Ok(problem.map(|problem| format!("{}: {problem}", file.member.path)))
    }

    /// Leaves a wheel to buildout if its pip cannot compile a source that begins so.
    fn check_coding(&self, path: &str, head: &[u8], is_whole: bool) -> Result<(), Reason> {
        if self.plan.blocks_imports && !coding::is_built_in(head, is_whole) {
            return Err(Reason::member(
                path,
                "has an encoding for which this pip imports no module",
            ));
        }
        Ok(())
    }

    /// Reads what pip installs outside of the egg. Returns the scripts that it changes, and the sources.
    fn extract_dropped(&self) -> Result<(ChangedScripts, Vec<Source>), Stop> {
        let mut archive = self.archive.clone();
        let (mut changed, mut sources) = (ChangedScripts::new(), Vec::new());
        for dropped in self.plan.dropped(&self.archive.members) {
            let Dropped { member, record_path, is_script } = dropped;
            let head = archive.head(member)?;
            let is_changed = is_script && self.plan.changed_script(&head).is_some();
            if !is_changed && !is_source(record_path) {
                continue;
            }
            let mut content = archive.content(member, MAX_SCRIPT)?;
            if is_script && let Some(fixed) = self.plan.changed_script(&content) {
                content.clone_from(&fixed);
                changed.insert(record_path.to_owned(), fixed);
            }
            if is_source(record_path) {
                sources.push(self.outside_source(record_path, &content)?);
            }
        }
        Ok((changed, sources))
    }

    /// A source that is compiled only because RECORD says whether that succeeds.
    fn outside_source(&self, key: &str, content: &[u8]) -> Result<Source, Stop> {
        self.check_coding(key, content, true)?;
        fs::create_dir_all(&self.outside).at("make", &self.outside)?;
        let source = self.outside.join(Sha256::of(key.as_bytes()).to_string());
        fs::write(&source, content).at("write", &source)?;
        let key = key.to_owned();
        Ok(Source { job: Job { source, name: key.clone(), target: None }, key })
    }

    fn source(&self, file: EggFile<'_>) -> Option<Source> {
        let key = file.path.to_owned();
        let source = self.root.join(&key);
        let target =
            self.keeps_bytecode(file).then(|| self.root.join(self.converter.bytecode.path(&key)));
        is_source(&key).then(|| Source { job: Job { source, name: key.clone(), target }, key })
    }

    /// Compiles all sources, and returns which succeeded.
    fn compile(&self, sources: &[Source]) -> Result<(HashSet<String>, Written), Failure> {
        let jobs: Vec<Job> = sources.iter().map(|source| source.job.clone()).collect();
        // So that every processor has some of them.
        let batch = jobs.len().div_ceil(rayon::current_num_threads()).clamp(1, BATCH);
        let results = jobs
            .par_chunks(batch)
            .map(|jobs| self.converter.compilers.compile(jobs))
            .collect::<Result<Vec<Vec<bool>>, Failure>>()?;
        let mut written = Written::default();
        let mut compiled = HashSet::new();
        for (source, is_compiled) in sources.iter().zip(results.into_iter().flatten()) {
            if is_compiled {
                written.compiled += usize::from(source.job.target.is_some());
                compiled.insert(source.key.clone());
            } else {
                written.not_compiled.push(source.key.clone());
            }
        }
        Ok((compiled, written))
    }

    /// Removes directories for bytecode that have stayed empty: pip makes none.
    fn remove_empty(sources: &[Source], compiled: &HashSet<String>) {
        for source in sources.iter().filter(|source| !compiled.contains(&source.key)) {
            if let Some(directory) = source.job.target.as_deref().and_then(Path::parent) {
                // Others have bytecode in it.
                let _ = fs::remove_dir(directory);
            }
        }
    }

    fn finish_directories(&self, directories: &BTreeSet<PathBuf>) -> Result<()> {
        for path in directories {
            match File::open(path) {
                Ok(directory) => files::set_mtime(&directory, None, (self.mtime, 0)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
            }
            .at("write", path)?;
        }
        Ok(())
    }
}
