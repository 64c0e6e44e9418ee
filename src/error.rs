//! One error type for the library.
//!
//! Every input/output error carries its path, and every message is a sentence that says what to do
//! where something can be done. Data that is read never makes the library panic.

use std::fmt::{Display, Write};
use std::io;
use std::path::{Path, PathBuf};

use crate::util::suggest::Nearest;
use crate::util::threads::StartError;

/// What can go wrong, with the file it went wrong on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("cannot {action} {}: {source}{}", path.display(), advice(source))]
    Io { action: &'static str, path: PathBuf, source: io::Error },

    /// A directory or file that was offered as an egg and is not one that can be kept.
    #[error("{} cannot be added: {reason}", path.display())]
    UnsoundEgg { path: PathBuf, reason: String },

    /// A blob whose bytes do not say what its name says.
    #[error("{} is damaged: {reason}; run `eggcache verify` to see every problem", path.display())]
    DamagedBlob { path: PathBuf, reason: String },

    #[error(
        "{} has blob format {found}, this eggcache reads up to {known}: use a newer eggcache",
        path.display()
    )]
    NewerFormat { path: PathBuf, found: u32, known: u32 },

    /// Another user's, in a cache that is not shared by a group.
    #[error(
        "{} cannot be read by this user; `eggcache init --shared` lets a group share a cache",
        path.display()
    )]
    UnreadableBlob { path: PathBuf },

    /// The index and a blob disagree on which egg it is.
    #[error(
        "the index has {wanted} for the blob {}, which is {found}; run `eggcache verify --repair`",
        path.display()
    )]
    WrongRow { path: PathBuf, wanted: String, found: String },

    #[error("index {}: {source}", path.display())]
    Index { path: PathBuf, source: rusqlite::Error },

    /// Somebody has put another index in its place.
    #[error("index {} was rebuilt by another process; run this again", path.display())]
    ReplacedIndex { path: PathBuf },

    #[error("index {} is damaged ({source}); run `eggcache reindex` to rebuild it from the blobs", path.display())]
    DamagedIndex { path: PathBuf, source: rusqlite::Error },

    #[error(
        "{} is not an index of eggcache; run `eggcache reindex` to set it aside and rebuild it \
         from the blobs",
        path.display()
    )]
    NotAnIndex { path: PathBuf },

    #[error(
        "{} has index schema {found}, this eggcache knows up to {known}: use a newer eggcache",
        path.display()
    )]
    NewerSchema { path: PathBuf, found: i64, known: usize },

    #[error("{} is not a cache directory: {reason}", path.display())]
    NotACache { path: PathBuf, reason: &'static str },

    #[error(
        "{} can be changed by everybody and belongs to somebody else: eggs from it are not to be \
         trusted",
        path.display()
    )]
    OpenToAll { path: PathBuf },

    #[error("the egg needs {needed} in {}, where {free} are free", path.display())]
    NoSpace { path: PathBuf, needed: bytesize::ByteSize, free: bytesize::ByteSize },

    #[error("the cache {} cannot be written: {reason}", path.display())]
    ReadOnly { path: PathBuf, reason: &'static str },

    /// Nothing in the cache answers the query.
    #[error("the cache has no egg {query}{}", hints(nearest))]
    Miss {
        query: String,
        /// What may have been meant, of each part of the query that something is known of.
        nearest: Vec<(String, Nearest)>,
    },

    #[error("{} is not a buildout that uses this cache; {}`eggcache roots` lists them", path.display(), nearest_is(nearest.as_deref()))]
    NotARoot {
        path: PathBuf,
        /// The folder that may have been meant.
        nearest: Option<String>,
    },

    #[error("{}: {reason}", path.display())]
    Policy { path: PathBuf, reason: String },

    #[error("{what} is not pinned; {}`eggcache pins` lists what is", nearest_is(nearest.as_deref()))]
    NotAPin {
        what: String,
        /// The pin that may have been meant.
        nearest: Option<String>,
    },

    #[error("{query} is ambiguous, name one of:\n{}", candidates.join("\n"))]
    Ambiguous { query: String, candidates: Vec<String> },

    /// Something other than the wanted egg stands where it would go.
    #[error(
        "{} is in the way of {wanted}: {difference}; move it away, then run this again",
        target.display()
    )]
    InTheWay { target: PathBuf, wanted: String, difference: String },

    #[error("{}, line {line}: {reason}", path.display())]
    Requirements { path: PathBuf, line: usize, reason: String },

    /// What no archive can hold as it is.
    #[error("{} cannot be bundled: {reason}; `--exclude` leaves it out", path.display())]
    Unbundleable { path: PathBuf, reason: &'static str },

    #[error("{} is not bundled: `eggcache check --full` finds {problems} in it", path.display())]
    NotBundled { path: PathBuf, problems: String },

    #[error("there is no remote {name}{}", told_nearest(nearest.as_deref(), "eggcache remote list"))]
    NoRemote { name: String, nearest: Option<String> },

    /// A remote cannot be used, or not for this.
    #[error("remote {name}: {reason}")]
    Remote { name: String, reason: String },

    /// What a remote has of an egg is not to be used.
    #[error("remote {name}: {what} is refused: {reason}")]
    Refused { name: String, what: String, reason: String },

    /// A remote has an egg and cannot be used any more.
    #[error("{0}")]
    Unavailable(String),

    /// A remote has an egg that cannot be had from it.
    #[error("{0}")]
    Unfetched(String),

    #[error("the signing key {}: {reason}", path.display())]
    SigningKey { path: PathBuf, reason: &'static str },

    /// A file is not any more what it was when it was looked at.
    #[error("{} changes while it is bundled; run this again when nothing runs there", path.display())]
    Changing { path: PathBuf },

    #[error(transparent)]
    Thread(#[from] StartError),

    /// The request itself makes no sense.
    #[error("{0}")]
    Usage(String),
}

impl Error {
    /// Nothing answers the query, and nothing is known that may have been meant.
    pub fn miss(query: &dyn Display) -> Self {
        Self::Miss { query: query.to_string(), nearest: Vec::new() }
    }

    /// Whether this user may not do it there, or nobody.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
        matches!(self, Self::Io { source, .. }
            if matches!(source.kind(), PermissionDenied | ReadOnlyFilesystem))
    }

    /// Whether it is the cache that cannot be written.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        matches!(self, Self::ReadOnly { .. })
    }

    /// Whether a disk, or a share of it, is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Self::Io { source, .. } if matches!(source.kind(), StorageFull | QuotaExceeded))
    }
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space there, or run `eggcache gc --max-size SIZE` for a full cache"
        }
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            "; check who owns it and how it is mounted"
        }
        _ => "",
    }
}

fn told_nearest(nearest: Option<&str>, command: &str) -> String {
    match nearest {
        Some(nearest) => format!("; the nearest name is {nearest}"),
        None => format!("; `{command}` tells which there are"),
    }
}

fn nearest_is(nearest: Option<&str>) -> String {
    nearest.map(|nearest| format!("the nearest is {nearest}; ")).unwrap_or_default()
}

fn hints(nearest: &[(String, Nearest)]) -> String {
    match nearest {
        [(_, nearest)] => format!("; {nearest}"),
        several => several.iter().fold(String::new(), |mut text, (of, nearest)| {
            let _ = write!(text, "\n  {of}: {nearest}");
            text
        }),
    }
}

/// Adds the action and the path that an [`io::Error`] lacks.
pub trait IoContext<T> {
    /// `action` completes the sentence "cannot ... PATH".
    ///
    /// # Errors
    /// [`Error::Io`] in place of the bare error.
    fn at(self, action: &'static str, path: &Path) -> Result<T>;
}

impl<T, E: Into<io::Error>> IoContext<T> for std::result::Result<T, E> {
    fn at(self, action: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error::Io { action, path: path.to_owned(), source: source.into() })
    }
}
