//! Lock: list the SHA-256 of the archives of which a buildout uses the eggs.
//!
//! They come from the records of the cache: which eggs a buildout has used in its last run ([`roots`]), and from
//! which archive each was built.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::buildout::MAX_CONFIGURATION;
pub use crate::buildout::hashes::Hash;
use crate::buildout::hashes::Hashes;
use crate::cache::Cache;
use crate::cache::retention::roots::{self, Root};
use crate::disk::{files, temp};
use crate::egg::name::{EggName, normalize_name};
use crate::error::{Error, IoContext, Result};
use crate::util::clock::now;
use crate::util::hash::sha256::Sha256;
use crate::util::machine;

/// The archives of one or more buildouts.
#[derive(Debug, Default)]
pub struct Archives {
    pub buildouts: Vec<PathBuf>,
    pub hashes: Vec<Hash>,
    pub unknown: Vec<Unknown>,
}

/// An egg of a buildout whose archive is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unknown {
    pub file_name: String,
    pub reason: Reason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The cache does not have the egg, or no longer.
    NotCached,
    /// It was added without it.
    NotRecorded,
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub buildouts: Vec<PathBuf>,
    /// Where the hashes were written to.
    pub output: Option<PathBuf>,
    /// All hashes, in the order of the file.
    pub hashes: Vec<Hash>,
    pub added: Vec<Hash>,
    pub removed: Vec<Hash>,
    pub unknown: Vec<Unknown>,
    /// The text of the file.
    #[serde(skip)]
    pub text: String,
}

/// The comparison of buildouts with a file.
#[derive(Debug, Serialize)]
pub struct CheckReport {
    pub buildouts: Vec<PathBuf>,
    pub file: PathBuf,
    /// How many archives are listed.
    pub listed: usize,
    pub unlisted: Vec<Unlisted>,
    pub unknown: Vec<Unknown>,
}

/// An archive that is not listed.
#[derive(Debug, Serialize)]
pub struct Unlisted {
    #[serde(flatten)]
    pub found: Hash,
    /// What is listed for its version.
    pub expected: Vec<Sha256>,
}

impl Archives {
    /// Adds those of the buildout in the folder `directory`.
    ///
    /// # Errors
    /// [`Error::NotARoot`] if it has not run with this cache.
    pub fn add(&mut self, cache: &Cache, directory: &Path) -> Result<()> {
        let directory = directory.canonicalize().at("open directory", directory)?;
        let roots = roots_at(cache, &directory)?;
        for egg in roots.iter().flat_map(|root| &root.eggs) {
            let cached = match egg.digest {
                Some(digest) => cache.egg(digest)?,
                None => None,
            };
            let unknown = |reason| Unknown { file_name: egg.file_name.clone(), reason };
            let Some(cached) = cached else {
                self.unknown.push(unknown(Reason::NotCached));
                continue;
            };
            match cached.key.source_sha256.parse() {
                Ok(sha256) => self.hashes.push(Hash {
                    project: cached.key.name,
                    version: cached.key.version,
                    sha256,
                    archive: cached.provenance.source,
                }),
                Err(_) => self.unknown.push(unknown(Reason::NotRecorded)),
            }
        }
        self.buildouts.push(directory);
        self.unknown.sort_by(|a, b| a.file_name.cmp(&b.file_name));
        self.unknown.dedup();
        Ok(())
    }
}

/// The records of a buildout: that of this machine, or else those of others, such as containers.
fn roots_at(cache: &Cache, directory: &Path) -> Result<Vec<Root>> {
    let (known, _) = roots::all(cache.dir(), now())?;
    let here: Vec<Root> =
        known.into_iter().map(|it| it.root).filter(|it| it.directory == directory).collect();
    if here.is_empty() {
        return Err(Error::NotARoot { path: directory.to_owned(), nearest: None });
    }
    let machine = machine::machine();
    let own: Vec<Root> = here.iter().filter(|it| it.machine == machine).cloned().collect();
    Ok(if own.is_empty() { here } else { own })
}

/// Adds the archives to the hashes in the file `output`, which is made if there is none. With `prune`, the
/// hashes of versions that these buildouts do not use are removed from it. Without a file, only the report
/// has the hashes.
///
/// # Errors
/// [`Error::Hashes`] if the file is one of another kind.
pub fn lock(archives: Archives, output: Option<&Path>, prune: bool) -> Result<Report> {
    let Archives { buildouts, hashes: used, unknown } = archives;
    // A symlink stays one.
    let output = output.map(|path| path.canonicalize().or_else(|_| std::path::absolute(path)));
    let output = output.transpose().at("write", Path::new("."))?;
    let before = output.as_deref().map(read).transpose()?.flatten();
    let mut hashes = match (&output, &before) {
        (Some(path), Some(text)) => Hashes::parse(path, text)?,
        _ => Hashes::default(),
    };
    let removed = if prune {
        let names: Vec<(String, String)> =
            unknown.iter().filter_map(|it| name_and_version(&it.file_name)).collect();
        hashes.retain(|it| {
            let is_used = used.iter().any(|used| it.is_of(&used.project, &used.version));
            is_used || names.iter().any(|(project, version)| it.is_of(project, version))
        })
    } else {
        Vec::new()
    };
    let added = used.into_iter().filter(|hash| hashes.add(hash.clone())).collect();
    let text = hashes.to_string();
    if let Some(path) = &output
        && before.as_ref() != Some(&text)
    {
        temp::write_durably_at(path, text.as_bytes())?;
    }
    Ok(Report { buildouts, output, hashes: hashes.sorted(), added, removed, unknown, text })
}

/// Compares the archives with the hashes in a file.
///
/// # Errors
/// [`Error::Hashes`] if the file is one of another kind. A missing file is an error, too.
pub fn check(archives: Archives, file: &Path) -> Result<CheckReport> {
    let text = files::read_text(file, MAX_CONFIGURATION).at("read", file)?;
    let hashes = Hashes::parse(file, &text)?;
    let Archives { buildouts, hashes: used, unknown } = archives;
    let mut used_once = Hashes::default();
    for hash in used {
        used_once.add(hash);
    }
    let (mut listed, mut unlisted) = (0, Vec::new());
    for found in used_once.sorted() {
        let expected = hashes.of(&found.project, &found.version);
        if expected.contains(&found.sha256) {
            listed += 1;
        } else {
            unlisted.push(Unlisted { found, expected });
        }
    }
    Ok(CheckReport { buildouts, file: file.to_owned(), listed, unlisted, unknown })
}

/// The content of a file; `None` if there is none.
fn read(path: &Path) -> Result<Option<String>> {
    match files::read_text(path, MAX_CONFIGURATION) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        text => text.map(Some).at("read", path),
    }
}

fn name_and_version(file_name: &str) -> Option<(String, String)> {
    let name: EggName = file_name.parse().ok()?;
    Some((normalize_name(&name.name), name.version))
}
