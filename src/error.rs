//! One error type for the library.
//!
//! An error says what failed, on which path, and why. It gives no advice: the command line adds what
//! to do about it (`cli/hints`), and finds all it needs in the fields. Data that is read never
//! makes the library panic.

use std::fmt::{self, Display};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::panic::Location;
use std::path::{Path, PathBuf};

use tracing::debug;

use crate::util::suggest::Nearest;
use crate::util::threads::StartError;

/// What can go wrong, with the file it went wrong on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },

    /// Something asked the operation to stop.
    #[error("interrupted")]
    Interrupted,

    /// A directory or file that cannot be stored as an egg.
    #[error("{} cannot be added: {reason}", path.display())]
    UnsoundEgg { path: PathBuf, reason: String },

    /// A blob whose bytes do not match its name.
    #[error("{} is damaged: {reason}", path.display())]
    DamagedBlob { path: PathBuf, reason: String },

    #[error(
        "{} has blob format {found} of a newer eggcache; this one reads up to {known}",
        path.display()
    )]
    NewerFormat { path: PathBuf, found: u32, known: u32 },

    /// An egg that was linked to a version of a library that this machine no longer has.
    #[error("{file_name} needs {library}, of which this machine has only another version")]
    ReplacedLibrary { file_name: String, library: String },

    #[error("cannot read the blob {}: {}", path.display(), owner.denial(path))]
    UnreadableBlob { path: PathBuf, owner: Owner },

    /// An egg of the index whose blob is not in the store.
    #[error("its blob {} is missing", path.display())]
    MissingBlob { path: PathBuf },

    #[error("cannot read the index {}: {}", path.display(), owner.denial(path))]
    UnreadableIndex { path: PathBuf, owner: Owner },

    /// The index and a blob disagree on which egg it is.
    #[error("the index has {wanted} for the blob {}, which is {found}", path.display())]
    WrongRow { path: PathBuf, wanted: String, found: String },

    #[error("index {}: {source}", path.display())]
    Index { path: PathBuf, source: rusqlite::Error },

    #[error("index {} is locked by another process", path.display())]
    LockedIndex { path: PathBuf },

    #[error("index {} was rebuilt by another process", path.display())]
    ReplacedIndex { path: PathBuf },

    #[error("index {} is damaged ({source})", path.display())]
    DamagedIndex { path: PathBuf, source: rusqlite::Error },

    /// A file from which it is not certain any more which eggs came from remotes.
    #[error(
        "{}: {lines} of its lines are damaged, so it is not certain which eggs came from a remote",
        path.display()
    )]
    DamagedArrivals { path: PathBuf, lines: usize },

    /// A pin, a root or another record of the cache that does not have its form.
    #[error("{} is damaged: {reason}", path.display())]
    DamagedRecord { path: PathBuf, reason: String },

    #[error("{} is not an index of eggcache", path.display())]
    NotAnIndex { path: PathBuf },

    #[error(
        "{} has index schema {found} of a newer eggcache; this one knows up to {known}",
        path.display()
    )]
    NewerSchema { path: PathBuf, found: i64, known: usize },

    #[error("{} is not a cache directory: {reason}", path.display())]
    NotACache { path: PathBuf, reason: String },

    #[error("there is no cache at {}", path.display())]
    NoCache { path: PathBuf },

    /// A cache directory, or a folder above it.
    #[error(
        "{what} {} is a symbolic link to {}, which does not exist",
        path.display(),
        target.display()
    )]
    BrokenLink { what: &'static str, path: PathBuf, target: PathBuf },

    /// Somebody else can change a cache.
    #[error("{} ({owner}): the cache {} is not trusted", exposure.of(owner), cache.display())]
    Untrusted {
        cache: PathBuf,
        exposure: Exposure,
        /// The owner of the cache, of a part of it, or of a folder above it.
        owner: Owner,
    },

    /// A folder of blobs that this user cannot write.
    #[error("cannot write to {}: permission denied ({owner})", owner.path.display())]
    LockedFolder { owner: Owner },

    /// Remotes that somebody else may have chosen.
    #[error(
        "{} ({owner}): no credentials are sent to its remote {}, and nothing is pushed or signed there",
        exposure.of(owner),
        remotes.join(", ")
    )]
    ForeignRemotes { exposure: Exposure, owner: Owner, remotes: Vec<String> },

    /// The file of such remotes, which would become this user's own.
    #[error("{} ({owner}): it is not changed", exposure.of(owner))]
    ForeignFile { exposure: Exposure, owner: Owner },

    #[error("the egg needs {needed} in {}, where {free} are free", path.display())]
    NoSpace { path: PathBuf, needed: bytesize::ByteSize, free: bytesize::ByteSize },

    #[error("the cache {} cannot be written: {reason}", path.display())]
    ReadOnly { path: PathBuf, reason: Unwritable },

    /// No egg in the cache answers the query.
    #[error("the cache has no egg {query}")]
    Miss {
        query: String,
        /// For each part of the query, what may have been meant.
        nearest: Vec<(String, Nearest)>,
    },

    #[error("the cache has no record of a buildout in {} that installed eggs", path.display())]
    NoRun { path: PathBuf },

    #[error("{} is not a buildout that uses this cache", path.display())]
    NotARoot {
        path: PathBuf,
        /// The folder that may have been meant.
        nearest: Option<String>,
    },

    #[error("{}: {reason}", path.display())]
    Policy { path: PathBuf, reason: String },

    #[error("{what} is not pinned")]
    NotAPin {
        what: String,
        /// The pin that may have been meant.
        nearest: Option<String>,
    },

    #[error("{query} is ambiguous: it matches {} eggs", candidates.len())]
    Ambiguous {
        query: String,
        candidates: Vec<String>,
        /// Whether the command can take all of them.
        has_all_builds: bool,
    },

    /// Two eggs that cannot be in one directory.
    #[error("{one} and {other} are both named {file_name}")]
    SameFileName { file_name: String, one: String, other: String },

    /// A folder whose name cannot be that of the folder in an archive.
    #[error("the folder in the archive cannot have the name of {}", path.display())]
    NoPrefix { path: PathBuf },

    #[error("there is no folder {}", path.display())]
    NoFolder { path: PathBuf },

    /// Something else has the path of the wanted egg.
    #[error("{} is in the way of {wanted}: {difference}", target.display())]
    InTheWay { target: PathBuf, wanted: String, difference: String },

    #[error("{}, line {line}: {reason}", path.display())]
    Requirements { path: PathBuf, line: usize, reason: String },

    /// A file of hashes that is not in its format.
    #[error("{}, line {line}: {reason}", path.display())]
    Hashes { path: PathBuf, line: usize, reason: String },

    /// An entry that no archive can hold.
    #[error("{} cannot be bundled: {reason}", path.display())]
    Unbundleable { path: PathBuf, reason: &'static str },

    #[error("{} is not bundled: a check finds {problems}", path.display())]
    NotBundled { path: PathBuf, problems: String },

    #[error("{} is not described: buildout has not installed all of it", path.display())]
    NotDescribed { path: PathBuf },

    /// A bundle that works at one path only, where it cannot be tried on this machine.
    #[error("the scripts are not imported: cannot show the bundle at {}: {why}", path.display())]
    NotShown { path: PathBuf, why: String },

    #[error("{} changed while it was bundled", path.display())]
    Changing { path: PathBuf },

    #[error("there is no remote {name}")]
    NoRemote { name: String, nearest: Option<String> },

    #[error("the cache has no remote")]
    NoRemotes,

    #[error("no key is trusted for {}", remotes.join(", "))]
    NoTrustedKey { remotes: Vec<String> },

    /// A remote that is added, and not used.
    #[error("remote {name}: no key is trusted, so none of its eggs are used")]
    UntrustedRemote { name: String },

    /// No key whose signatures count, for a request that would then apply to everything.
    #[error("remote {name}: no key is trusted now, so no entry counts as signed")]
    NoValidKey { name: String },

    #[error("no remote receives pushed eggs; there is {}", remotes.join(", "))]
    NoPushRemote { remotes: Vec<String> },

    #[error("there is a remote {name} already")]
    RemoteExists { name: String },

    #[error("remote {name} does not trust {shown}")]
    NotTrusted { name: String, shown: String },

    /// A key that has the id of another one, which its owner chose.
    #[error("remote {name}: another trusted key has the id of this key, {id}")]
    KeyIdTaken { name: String, id: String },

    /// A web server, for a request that only a store answers.
    #[error("remote {name}: a web server {what}")]
    WebServer { name: String, what: &'static str },

    #[error("remote {name}: it does not trust the signing key {id}")]
    UntrustedSigner { name: String, id: String, key: String },

    #[error("remote {name}: it trusted the signing key {id} until {day}")]
    ExpiredSigner { name: String, id: String, day: String },

    #[error("remote {name}: it does not trust the signing key {id} for {project}")]
    OtherProject { name: String, id: String, key: String, project: String },

    #[error("remote {name}: other processes keep writing {object}")]
    Busy { name: String, object: String },

    /// A remote cannot be used, or not for this.
    #[error("remote {name}: {reason}")]
    Remote { name: String, reason: String },

    /// An entry or a blob on a remote that must not be used.
    #[error("remote {name}: {what} is refused: {reason}")]
    Refused { name: String, what: String, reason: String },

    /// An egg that must not be used any more.
    #[error("{what} was withdrawn from remote {name}: {reason}")]
    Withdrawn { what: String, name: String, reason: String },

    /// An egg that was made again as it was when it was withdrawn.
    #[error(
        "{what} has the same content as a build that was withdrawn from remote {name}: {reason}"
    )]
    WithdrawnAgain { what: String, name: String, reason: String },

    #[error("neither remote {name} nor the cache has an egg {query}")]
    NotOnRemote { name: String, query: String },

    #[error("remote {name} has not withdrawn {query}")]
    NotWithdrawn { name: String, query: String },

    #[error("{what} of this buildout was withdrawn from remote {name}: {reason}")]
    WithdrawnInUse { what: String, name: String, reason: String },
    /// A list of withdrawn eggs that cannot be changed. The reason completes the sentence.
    #[error("remote {name}: its list of withdrawn eggs {reason}")]
    Withdrawals { name: String, reason: String },

    /// A remote has an egg and can no longer be used.
    #[error("{0}")]
    Unavailable(String),

    /// A remote has an egg that cannot be fetched.
    #[error("{0}")]
    Unfetched(String),

    #[error("no signing key is set")]
    NoSigningKey,

    #[error("remote {name}: nothing is pushed, because no signing key is set")]
    NothingPushed { name: String },

    /// The folder that a remote is.
    #[error("remote {name}: there is no folder {}", path.display())]
    NoRemoteFolder { name: String, path: PathBuf },

    #[error("the signing key {}: {problem}", path.display())]
    SigningKey { path: PathBuf, problem: KeyProblem },

    #[error("there is already a file {}", path.display())]
    KeyExists { path: PathBuf },

    /// What was given in place of a public key. It may be a secret, so not all of it is shown.
    #[error("{shown} is not a public key{problem}")]
    NotAPublicKey { shown: String, problem: NotPublic },

    #[error("cannot {action}: {source}")]
    Signing { action: &'static str, source: minisign::PError },

    /// A name and version, which remotes are asked for together with a Python.
    /// A remote is asked for what a person names.
    #[error(
        "{egg} is neither name==version, nor the file name of an egg, nor the beginning of a digest"
    )]
    NoVersion { egg: String },

    #[error("{egg}: the Python version is not known")]
    NoPython { egg: String },

    /// A Python that eggs cannot be made for. The reason is a sentence of its own.
    #[error("the Python {} cannot be used: {reason}", path.display())]
    BadPython { path: PathBuf, reason: String },

    #[error(transparent)]
    Thread(#[from] StartError),

    /// A client that breaks the bridge protocol.
    #[error("{0}")]
    Protocol(String),

    /// What the user typed is wrong.
    #[error("{0}")]
    Usage(String),
}

/// Who owns a file or folder that denies access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub path: PathBuf,
    pub user: u32,
    pub group: u32,
    /// Permission bits, with set-group-ID.
    pub mode: u32,
    /// Whether this process runs as the owner.
    pub is_own: bool,
}

impl Owner {
    /// The owner of `path`, or of the lowest folder above it that hides what is in it.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        let known = path.ancestors().find_map(|path| Some((path, path.metadata().ok()?)));
        let (path, user, group, mode) = known
            .map_or((path, 0, 0, 0), |(path, it)| (path, it.uid(), it.gid(), it.mode() & 0o7777));
        let is_own = rustix::process::geteuid().as_raw() == user;
        Self { path: path.to_owned(), user, group, mode, is_own }
    }

    /// The owner of a file or folder, or of a symlink itself.
    #[must_use]
    pub fn of_entry(path: &Path) -> Self {
        path.symlink_metadata().map_or_else(|_| Self::of(path), |it| Self::in_metadata(path, &it))
    }

    /// The owner of `path` by its metadata.
    #[must_use]
    pub fn in_metadata(path: &Path, found: &Metadata) -> Self {
        let (user, group, mode) = (found.uid(), found.gid(), found.mode() & 0o7777);
        let is_own = rustix::process::geteuid().as_raw() == user;
        Self { path: path.to_owned(), user, group, mode, is_own }
    }

    /// That this keeps a process from reading `path`.
    fn denial(&self, path: &Path) -> String {
        let by =
            if self.path == path { String::new() } else { format!("{} ", self.path.display()) };
        format!("permission denied ({by}{self})")
    }
}

impl Display for Owner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, group, mode, .. } = self;
        write!(out, "owned by user {user} and group {group}, mode {mode:04o}")
    }
}

/// Who can change a file or folder, besides those who may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    Everybody,
    Group,
    /// Its owner.
    AnotherUser,
    /// The owner of what a symlink leads to.
    Link,
    /// Those whom an access control list names.
    List,
    /// The author of the checkout that it is in.
    Checkout,
}

impl Exposure {
    /// The beginning of a sentence on a path.
    #[must_use]
    pub fn of(self, owner: &Owner) -> String {
        let path = owner.path.display();
        match self {
            Self::Everybody => format!("everybody can write to {path}"),
            Self::Group => format!("the group {} can write to {path}", owner.group),
            Self::AnotherUser => format!("{path} belongs to another user"),
            Self::Link => format!("{path} is a symbolic link"),
            Self::List => format!("an access control list lets others write to {path}"),
            Self::Checkout => format!("{path} is in the checkout of the buildout"),
        }
    }
}

/// Why a cache cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unwritable {
    #[error("it is read-only for this user")]
    Permissions(Owner),
    #[error("its file system is mounted read-only")]
    Mount,
    #[error("there is no space left on its disk")]
    NoSpace,
    #[error("its disk accepts no writes: it is full, over a quota or failing")]
    Disk,
    #[error("a process that died has left a write to its index unfinished")]
    Unfinished,
    #[error("its index has the schema of an older eggcache")]
    OlderSchema,
    #[error("it is open to be read")]
    OpenToRead,
}

/// Why a file cannot be used as the signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    #[error("it is not a secret key of minisign")]
    NotAKey,
    #[error("it is a public key")]
    Public,
    #[error("others can read it (mode {0:04o})")]
    Exposed(u32),
    #[error("it has a password, and none is given")]
    NoPassword,
    #[error("the password is wrong")]
    WrongPassword,
    #[error("it has no password, and one is given")]
    NeedsNoPassword,
}

/// Why a text names no public key; completes a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotPublic {
    #[error("")]
    NotAKey,
    #[error(": it holds a secret key")]
    Secret,
    #[error(", and there is no such file")]
    NoFile,
    #[error(": it is the id of a key, and not the key")]
    Id,
}

impl Error {
    /// Nothing answers the query, and nothing similar is known.
    pub fn miss(query: &dyn Display) -> Self {
        Self::Miss { query: query.to_string(), nearest: Vec::new() }
    }

    /// Whether permissions or a read-only file system are the reason.
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

    /// Whether the cache cannot be written because its disk is full, as far as that is known.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        let full = [Unwritable::NoSpace, Unwritable::Disk];
        matches!(self, Self::ReadOnly { reason, .. } if full.contains(reason))
    }

    /// Whether a disk is full or a quota used up.
    #[must_use]
    pub fn is_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Self::Io { source, .. } if matches!(source.kind(), StorageFull | QuotaExceeded))
    }
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Serialises an error as its text.
///
/// # Errors
/// What the serializer says.
pub fn as_text<S: serde::Serializer>(
    error: &Error,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(error)
}

/// Logs an error that is otherwise ignored.
pub trait OrLog<T> {
    /// The value, or `None` after the error was logged with the place that ignores it.
    fn or_log(self) -> Option<T>;
}

impl<T, E: Display> OrLog<T> for std::result::Result<T, E> {
    #[track_caller]
    fn or_log(self) -> Option<T> {
        let at = Location::caller();
        self.inspect_err(
            |error| debug!(target: "eggcache::ignored", %error, at = %at, "ignored an error"),
        )
        .ok()
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

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_owner_is_that_of_the_lowest_path_that_exists() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        let owner = Owner::of(&file);
        assert_eq!((owner.path.as_path(), owner.mode, owner.is_own), (file.as_path(), 0o640, true));
        let (user, group) = (owner.user, owner.group);
        let says = format!("owned by user {user} and group {group}, mode 0640");
        assert_eq!(owner.to_string(), says);
        assert_eq!(Owner::of(&dir.path().join("no/such")).path, dir.path());
        let (path, folder) = (file.clone(), dir.path().to_owned());
        let blob = Error::UnreadableBlob { path, owner: owner.clone() }.to_string();
        assert!(blob.ends_with(&format!("/file: permission denied ({says})")), "{blob}");
        let index = Error::UnreadableIndex { path: file, owner: Owner { path: folder, ..owner } };
        let by = format!("/file: permission denied ({} {says})", dir.path().display());
        assert!(index.to_string().ends_with(&by), "{index}");
    }

    #[test]
    fn no_error_gives_advice() {
        let text = include_str!("error.rs");
        let (types, _) = text.split_once("#[cfg(test)]").unwrap();
        let messages = types.lines().filter(|line| line.contains('"'));
        for line in messages {
            for advice in ["`eggcache", "--", "run ", "use a", "chmod", "free some"] {
                assert!(!line.contains(advice), "{line}");
            }
        }
    }
}
