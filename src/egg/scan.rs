//! Reading an egg from a file system: its entries, its key, and whether it is sound.

use std::io::{Cursor, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::disk::dir::Stat;
use crate::disk::files::read_opened;
pub use crate::egg::files::path_of;
use crate::egg::files::{EggFiles, Listing, State, changes, kind_of};
use crate::egg::key::{EggKey, python_tag};
use crate::egg::layout::{ARCHIVE_NAMED, LAST_GENERATION, METADATA_NAMED, is_egg_info};
use crate::egg::manifest::{Entry, EntryKind, Manifest, Mtime};
use crate::egg::metadata::{self, Metadata};
use crate::egg::name::{EggName, normalize_name};
use crate::egg::native::Native;
use crate::egg::path::EggPath;
use crate::error::{Error, IoContext, Result};
use crate::util::hash::digest::Digest;

/// The longest step of the clock of a file system on this machine.
const CLOCK_STEP: Duration = Duration::from_millis(10);
/// The largest shared object that is inspected in a zipped egg, in bytes.
const MAX_ZIPPED_OBJECT: u64 = 64 << 20;
/// How much of a zipped egg may be inflated to inspect it, in bytes. Members of a zip file can overlap,
/// so that a small file can contain any amount.
const MAX_INFLATED: u64 = 256 << 20;

/// Properties of an egg that its builder knows and its files do not show.
#[derive(Debug, Clone, Default)]
pub struct Hints {
    /// Buildout's egg layout; derived from the metadata directory if absent.
    pub generation: Option<u8>,
    /// PEP 425 abbreviation of the implementation; derived from compiled files if absent.
    pub implementation: Option<String>,
    /// The ABI of native code whose file names have no ABI tag.
    pub soabi: String,
    pub source_sha256: String,
    pub variant: String,
    pub environment: String,
}

/// An egg on a file system, listed but not yet read.
#[derive(Debug)]
pub struct Tree {
    path: PathBuf,
    /// Of the entries of the manifest, in their order.
    states: Vec<State>,
    /// Complete except for the digests of the files, which are computed when the blob is written.
    pub manifest: Manifest,
}

impl Tree {
    /// Lists an egg: a directory, or a zipped egg. Every later change of one of its files is noticed when it is
    /// read, also one that keeps its size and mtime.
    ///
    /// # Errors
    /// [`Error::UnsoundEgg`], with the reason why it cannot be cached.
    pub fn scan(path: &Path, hints: &Hints) -> Result<Self> {
        let unsound = |reason: String| Error::UnsoundEgg { path: path.to_owned(), reason };
        let file_name = path
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(|| unsound("its name is not UTF-8".into()))?;
        if file_name.ends_with(".egg-link") {
            return Err(unsound("it is a link to a develop egg".into()));
        }
        let name: EggName = file_name.parse().map_err(|error| unsound(format!("{error}")))?;
        let files = EggFiles::open(path)?;
        let Listing { mut entries, states, .. } = files.list()?;
        for entry in &mut entries {
            entry.mode = entry.plain_mode();
        }
        let found = match entries[0].kind {
            EntryKind::Directory => inspect_directory(&files, &entries)?,
            EntryKind::File { .. } => inspect_zip(&files, &entries[0])?,
            EntryKind::Symlink { .. } => return Err(unsound("it is a symlink".into())),
        };
        let matching = found.metadata.iter().find(|metadata| {
            normalize_name(&metadata.name) == normalize_name(&name.name)
                && name.has_version(&metadata.version)
        });
        let metadata = match (matching, found.metadata.first()) {
            (Some(metadata), _) => metadata,
            (None, Some(Metadata { name, version })) => {
                return Err(unsound(format!(
                    "its metadata is of {name} {version}, its file name is not"
                )));
            }
            (None, None) => {
                return Err(unsound("it has no metadata with a name and a version".into()));
            }
        };
        let native = found.native.as_ref();
        let abi = match native.map(|native| native.abi(&hints.soabi)) {
            Some("") => &hints.soabi,
            Some(abi) => abi,
            None => "",
        };
        let spelling = name.spelling(&metadata.name);
        let generation = match hints.generation {
            Some(generation) => generation.min(LAST_GENERATION),
            // Newer layouts spell names as the metadata does.
            None if !spelling.is_empty() => ARCHIVE_NAMED,
            None => found.generation,
        };
        let implementation = hints.implementation.as_deref().unwrap_or(found.implementation);
        let key = EggKey {
            name: normalize_name(&metadata.name),
            version: metadata.version.clone(),
            python: python_tag(implementation, &name.python),
            abi: abi.to_owned(),
            platform: name.platform,
            libc: native.map(Native::libc).unwrap_or_default(),
            generation,
            source_sha256: hints.source_sha256.clone(),
            variant: hints.variant.clone(),
            environment: hints.environment.clone(),
            spelling,
        };
        if let Some(flaw) = key.flaw() {
            return Err(unsound(format!("it {flaw}")));
        }
        let manifest = Manifest { key, file_name: file_name.to_owned(), entries };
        manifest.check().map_err(|error| unsound(error.to_string()))?;
        wait_for_clock(&manifest.entries, &states);
        Ok(Self { path: path.to_owned(), states, manifest })
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the egg again, to read its files.
    ///
    /// # Errors
    /// [`Error::UnsoundEgg`] if another one has taken its place.
    pub fn open(&self) -> Result<OpenTree<'_>> {
        Ok(OpenTree { tree: self, files: EggFiles::reopen(&self.path, self.states[0].identity)? })
    }

    /// The state of a file when it was listed.
    fn state_of(&self, entry: &Entry) -> Option<State> {
        let entries = &self.manifest.entries;
        let at = entries.binary_search_by(|it| it.path.cmp(&entry.path)).ok()?;
        self.states.get(at).copied()
    }
}

/// A listed egg that is open to read it.
#[derive(Debug)]
pub struct OpenTree<'a> {
    tree: &'a Tree,
    pub(crate) files: EggFiles,
}

impl OpenTree<'_> {
    /// Fills `buffer` with the bytes of a file from `offset` on.
    ///
    /// # Errors
    /// [`Error::UnsoundEgg`] if it has changed since it was listed, or if another one has taken its place.
    pub fn read(&self, entry: &Entry, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let file = self.files.read_unchecked(entry)?;
        let path = || self.files.path_of(entry);
        let read = file.read_exact_at(buffer, offset);
        let found = Stat::of(&file).at("read", &path())?;
        let (seconds, nanos) = found.modified_exactly();
        if Some(State::of(found)) != self.tree.state_of(entry)
            || kind_of(found) != Some(entry.kind.clone_without_digest())
            || Mtime(seconds, nanos) != entry.mtime
        {
            return Err(changes(&path()));
        }
        read.at("read", &path())
    }
}

/// Waits until a change of a listed file gives it another time of change. The clock of a file system moves in
/// steps: two changes within a step have the same time. Directories do not count: an egg gets its name only
/// after its files are written, which changes its own directory.
fn wait_for_clock(entries: &[Entry], states: &[State]) {
    let is_directory = |entry: &Entry| matches!(entry.kind, EntryKind::Directory);
    let files = entries.iter().zip(states).filter(|(entry, _)| !is_directory(entry));
    let Some((seconds, nanos)) = files.map(|(_, state)| state.changed).max() else { return };
    let since_epoch = Duration::new(u64::try_from(seconds).unwrap_or(0), nanos);
    // A time in the future comes from the clock of another machine.
    if let Ok(age) = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + since_epoch)
        && let Some(rest) = CLOCK_STEP.checked_sub(age)
    {
        std::thread::sleep(rest);
    }
}

/// Lists a file, or a directory with everything below it, in the order of the manifest.
///
/// # Errors
/// [`Error::UnsoundEgg`] for an entry that an egg cannot contain.
pub fn list(egg: &Path) -> Result<Vec<Entry>> {
    Ok(EggFiles::open(egg)?.list()?.entries)
}

impl EntryKind {
    /// The same kind and size, with the digest that a file has before it is read: zeros.
    pub(crate) fn clone_without_digest(&self) -> Self {
        match self {
            Self::File { size, .. } => Self::File { size: *size, digest: Digest::from([0; 32]) },
            other => other.clone(),
        }
    }
}

/// Properties derived from the content of an egg.
struct Found {
    metadata: Vec<Metadata>,
    native: Option<Native>,
    generation: u8,
    implementation: &'static str,
}

impl Found {
    fn new<'a>(mut paths: impl Iterator<Item = &'a str> + Clone) -> Self {
        let has_egg_info = paths.clone().any(is_egg_info);
        let implementation = if paths.any(|path| path.ends_with(".pyc") && path.contains(".pypy")) {
            "pp"
        } else {
            "cp"
        };
        let generation = if has_egg_info { METADATA_NAMED } else { LAST_GENERATION };
        Self { metadata: Vec::new(), native: None, generation, implementation }
    }

    fn add_native(&mut self, native: Option<Native>) {
        self.native = match (self.native.take(), native) {
            (Some(one), Some(other)) => Some(one.and(other)),
            (one, other) => one.or(other),
        };
    }
}

fn inspect_directory(files: &EggFiles, entries: &[Entry]) -> Result<Found> {
    let mut found = Found::new(entries.iter().map(|entry| entry.path.as_str()));
    for entry in entries {
        let EntryKind::File { size, .. } = entry.kind else { continue };
        if metadata::is_metadata_path(entry.path.as_str()) && size <= metadata::MAX_METADATA {
            let text = read_opened(files.read(entry)?, metadata::MAX_METADATA);
            let text = text.at("read", &files.path_of(entry))?;
            found.metadata.extend(metadata::parse(&text));
        } else if may_be_native(entry) {
            let file = files.read(entry)?;
            found.add_native(Native::inspect(entry.path.file_name(), file));
        }
    }
    Ok(found)
}

/// Whether to inspect a file: native code is never in a file with one of these extensions.
fn may_be_native(entry: &Entry) -> bool {
    const NEVER: [&str; 12] =
        ["py", "pyc", "pyi", "txt", "rst", "md", "c", "h", "pxd", "pyx", "json", "zcml"];
    let name = entry.path.file_name();
    !name.rsplit_once('.').is_some_and(|(_, extension)| NEVER.contains(&extension))
}

fn inspect_zip(files: &EggFiles, root: &Entry) -> Result<Found> {
    let egg = files.path();
    let unsound = |reason: String| Error::UnsoundEgg { path: egg.to_owned(), reason };
    let mut zip = zip::ZipArchive::new(std::io::BufReader::new(files.read(root)?))
        .map_err(|error| unsound(format!("it is neither a directory nor a zip file ({error})")))?;
    let names = zip
        .file_names()
        .map(|name| name.map(std::borrow::Cow::into_owned))
        .collect::<std::result::Result<Vec<String>, _>>()
        .map_err(|error| {
            unsound(format!("it contains a file whose name cannot be read ({error})"))
        })?;
    for name in &names {
        EggPath::new(name.strip_suffix('/').unwrap_or(name))
            .map_err(|error| unsound(format!("it contains a file whose {error}")))?;
    }
    let mut found = Found::new(names.iter().map(String::as_str));
    let mut inflated = 0;
    for name in &names {
        let limit = if metadata::is_metadata_path(name) {
            metadata::MAX_METADATA
        } else if [".so", ".pyd", ".dll", ".dylib"].iter().any(|suffix| name.ends_with(suffix)) {
            MAX_ZIPPED_OBJECT
        } else {
            continue;
        };
        let member = zip.by_name(name).map_err(|error| unsound(format!("{name}: {error}")))?;
        let mut content = Vec::new();
        inflated += member.take(limit).read_to_end(&mut content).at("read", egg)? as u64;
        if inflated > MAX_INFLATED {
            return Err(unsound("it is too large for a zipped egg: install it unzipped".into()));
        }
        if metadata::is_metadata_path(name) {
            found.metadata.extend(metadata::parse(&content));
        } else {
            let file_name = name.rsplit('/').next().unwrap_or_default();
            found.add_native(Native::inspect(file_name, Cursor::new(content)));
        }
    }
    Ok(found)
}
