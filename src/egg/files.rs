//! The files of an egg on a file system, below one handle of the egg.
//!
//! Others may be able to change an egg while it is read. Nothing but its own regular files is read then,
//! because no symlink is followed, and nothing else than a regular file waits or has an effect when it is
//! opened.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};

use crate::disk::dir::{Dir, Stat};
use crate::disk::files;
use crate::disk::system;
use crate::egg::manifest::{Entry, EntryKind, MODE_MASK, Mtime};
use crate::egg::path::EggPath;
use crate::error::{Error, IoContext, Result};
use crate::util::hash::digest::Digest;

/// Device and inode.
pub type Identity = (u64, u64);

/// What distinguishes a file from any other, and from itself after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    pub identity: Identity,
    /// See [`Stat::changed`].
    pub changed: (i64, u32),
}

impl State {
    pub(crate) fn of(found: Stat) -> Self {
        Self { identity: found.identity(), changed: found.changed() }
    }
}

/// An egg that is open to list and to read it: a directory or a file. It can also be a symlink or anything
/// else, of which only the listing is possible.
#[derive(Debug)]
pub struct EggFiles {
    /// The egg itself, also if it is a file.
    root: Dir,
    found: Stat,
}

/// The entries of an egg, in the order of the manifest, and the facts that a manifest does not have.
#[derive(Debug, Default)]
pub struct Listing {
    pub entries: Vec<Entry>,
    /// In the same order.
    pub states: Vec<State>,
    pub linked: Linked,
}

/// Files with several hard links: path relative to the egg, device and inode, and number of links.
pub type Linked = Vec<(EggPath, Identity, u64)>;

impl EggFiles {
    pub fn open(path: &Path) -> Result<Self> {
        let flags = system::LOOK_AT_LINK | OFlags::CLOEXEC;
        let looked = rustix::fs::open(path, flags, Mode::empty()).map_err(std::io::Error::from);
        Self::new(looked.at("read", path)?.into(), path)
    }

    /// Opens the egg of this name in a directory.
    pub fn open_in(dir: &Dir, name: impl AsRef<Path>) -> Result<Self> {
        let path = dir.join(&name);
        Self::new(dir.look(name).at("read", &path)?, &path)
    }

    /// Opens an egg that was listed before.
    ///
    /// # Errors
    /// [`Error::UnsoundEgg`] if another one has taken its place.
    pub fn reopen(path: &Path, listed: Identity) -> Result<Self> {
        let files = Self::open(path)?;
        if files.found.identity() == listed { Ok(files) } else { Err(changes(path)) }
    }

    fn new(looked: File, path: &Path) -> Result<Self> {
        let found = Stat::of(&looked).at("read", path)?;
        Ok(Self { root: Dir::looked_at(looked, path), found })
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// The egg, if it is a directory.
    #[must_use]
    pub fn directory(&self) -> Option<&Dir> {
        self.found.is_dir().then_some(&self.root)
    }

    /// The path of an entry.
    #[must_use]
    pub fn path_of(&self, entry: &Entry) -> PathBuf {
        path_of(self.path(), entry)
    }

    /// Opens a regular file of the egg for reading.
    pub fn read(&self, entry: &Entry) -> Result<File> {
        self.open_with(entry, |path| self.root.read_file(path))
    }

    /// As [`EggFiles::read`], for a caller that compares what is open with the listing: it can be
    /// anything but a symlink.
    pub(crate) fn read_unchecked(&self, entry: &Entry) -> Result<File> {
        self.open_with(entry, |path| self.root.read(path))
    }

    fn open_with(
        &self,
        entry: &Entry,
        open: impl FnOnce(&str) -> std::io::Result<File>,
    ) -> Result<File> {
        let opened = if entry.path.is_root() {
            files::open_looked(self.root.handle(), self.path())
        } else {
            open(entry.path.as_str())
        };
        opened.at("open", &self.path_of(entry))
    }

    /// Lists the egg, with everything below it.
    ///
    /// # Errors
    /// [`Error::UnsoundEgg`] for an entry that an egg cannot contain.
    pub fn list(&self) -> Result<Listing> {
        let mut found = vec![(self.entry(Path::new(""), self.found)?, self.found)];
        if self.found.is_dir() {
            self.root.walk(|path, stat| {
                found.push((self.entry(path, stat)?, stat));
                Ok(true)
            })?;
        }
        found.sort_unstable_by(|(one, _), (other, _)| one.path.cmp(&other.path));
        let mut listing = Listing::default();
        for (entry, stat) in found {
            if !stat.is_dir() && stat.links() > 1 {
                listing.linked.push((entry.path.clone(), stat.identity(), stat.links()));
            }
            listing.states.push(State::of(stat));
            listing.entries.push(entry);
        }
        Ok(listing)
    }

    fn entry(&self, below: &Path, found: Stat) -> Result<Entry> {
        let is_root = below.as_os_str().is_empty();
        let whole = || if is_root { self.path().to_owned() } else { self.root.join(below) };
        let unsound = |reason: String| Error::UnsoundEgg { path: whole(), reason };
        let path = if is_root {
            EggPath::root()
        } else {
            let text = below.to_str().ok_or_else(|| unsound("its name is not UTF-8".into()))?;
            EggPath::new(text).map_err(|error| unsound(error.to_string()))?
        };
        let (mode, kind) = if found.is_symlink() {
            let target = if is_root { self.root.own_target() } else { self.root.read_link(below) };
            let target = target.at("read", &whole())?.into_string();
            let target = target.map_err(|_| unsound("its target is not UTF-8".into()))?;
            (MODE_MASK, EntryKind::Symlink { target })
        } else {
            let kind = kind_of(found);
            let kind = kind.ok_or_else(|| unsound(format!("it is {}", oddity(found))))?;
            (found.mode() & MODE_MASK, kind)
        };
        let (seconds, nanos) = found.modified_exactly();
        Ok(Entry { path, mode, mtime: Mtime(seconds, nanos), kind })
    }
}

/// The path of an entry of the egg at `egg`.
#[must_use]
pub fn path_of(egg: &Path, entry: &Entry) -> PathBuf {
    if entry.path.is_root() { egg.to_owned() } else { egg.join(entry.path.as_str()) }
}

/// The error for a file that is not the one that was listed.
pub(crate) fn changes(path: &Path) -> Error {
    Error::UnsoundEgg { path: path.to_owned(), reason: "it changes while it is read".to_owned() }
}

/// The kind of a file or directory; a file has the digest that it has before it is read: zeros.
pub(crate) fn kind_of(found: Stat) -> Option<EntryKind> {
    if found.is_dir() {
        Some(EntryKind::Directory)
    } else if found.is_file() {
        Some(EntryKind::File { size: found.len(), digest: Digest::from([0; 32]) })
    } else {
        None
    }
}

fn oddity(found: Stat) -> &'static str {
    match found.kind() {
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        _ => "a device",
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// An egg, another file beside it, and the listing of the egg.
    fn listed() -> (tempfile::TempDir, EggFiles, Entry) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("egg/a")).unwrap();
        std::fs::create_dir_all(dir.path().join("outside")).unwrap();
        std::fs::write(dir.path().join("egg/a/file"), "own").unwrap();
        std::fs::write(dir.path().join("outside/file"), "private").unwrap();
        let files = EggFiles::open(&dir.path().join("egg")).unwrap();
        let entry = files.list().unwrap().entries.pop().unwrap();
        assert_eq!(entry.path.as_str(), "a/file");
        assert_eq!(std::io::read_to_string(files.read(&entry).unwrap()).unwrap(), "own");
        (dir, files, entry)
    }

    #[test]
    fn a_listed_file_that_became_a_link_or_a_fifo_is_not_read() {
        let (dir, files, entry) = listed();
        let file = dir.path().join("egg/a/file");
        let refused = |what: &str| assert!(files.read(&entry).is_err(), "{what}");
        std::fs::remove_file(&file).unwrap();
        symlink("../../outside/file", &file).unwrap();
        refused("a link");
        std::fs::remove_file(&file).unwrap();
        symlink("/dev/zero", &file).unwrap();
        refused("a link to a device");
        std::fs::remove_file(&file).unwrap();
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &file, mode).unwrap();
        refused("a FIFO");
        std::fs::remove_dir_all(dir.path().join("egg/a")).unwrap();
        symlink("../outside", dir.path().join("egg/a")).unwrap();
        refused("a directory that became a link");
    }

    #[test]
    fn an_egg_is_read_below_its_own_handle() {
        let (dir, files, entry) = listed();
        std::fs::rename(dir.path().join("egg"), dir.path().join("aside")).unwrap();
        std::fs::create_dir_all(dir.path().join("egg/a")).unwrap();
        std::fs::write(dir.path().join("egg/a/file"), "other").unwrap();
        assert_eq!(std::io::read_to_string(files.read(&entry).unwrap()).unwrap(), "own");
        let again = EggFiles::reopen(&dir.path().join("egg"), files.found.identity());
        assert!(matches!(again, Err(Error::UnsoundEgg { .. })));
    }
}
