//! Who can read a cache: its owner, the group that shares it, or every user.
//!
//! The mode of the cache directory decides. A new cache is private. It is open to others only on purpose:
//! set-group-ID with write permission shares it with the group, and the file `readable` in it says that
//! all users may read it. Everything in it follows ([`permissions::Rights`]).

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::cache::Cache;
use crate::cache::trust;
use crate::disk::dir::{Dir, Stat};
use crate::disk::permissions::{self, Kind, Rights, SHARED};
use crate::disk::{filesystem, temp};
use crate::error::{Exposure, IoContext, Owner, Result};

/// The file that says that all users may read a cache.
const READABLE: &str = "readable";
const READABLE_TEXT: &[u8] = b"All users may read this cache, on purpose.\n";
/// The only file that just its owner may write, because it decides where credentials go.
const REMOTES: &str = "remotes.json";
/// The file that automatic `gc` locks.
const LOCK: &str = "lock";
/// How many directories below each other are examined. Only files in quarantine have more than a few.
const MAX_DEPTH: usize = 32;

/// What is wrong with the owners of the entries of a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strangers {
    pub entries: usize,
    /// The first of them.
    pub first: Owner,
}

impl Cache {
    /// Lets the group of the cache directory use all of the cache: existing files and later ones. Fails
    /// if this needs a change of something that this process does not own.
    pub fn share(&mut self) -> Result<()> {
        self.check_writable()?;
        set(&self.dir, |mode| intended(&self.dir, mode | SHARED | 0o070))
    }

    /// Lets all users read the cache. Fails as [`Cache::share`].
    pub fn make_readable(&mut self) -> Result<()> {
        self.check_writable()?;
        temp::write_durably(&self.dir, READABLE, READABLE_TEXT, Kind::File)?;
        set(&self.dir, |mode| mode | 0o055)
    }

    /// Takes from others what they were not given on purpose. Fails as [`Cache::share`].
    pub fn close_to_others(&mut self) -> Result<()> {
        self.check_writable()?;
        set(&self.dir, |mode| intended(&self.dir, mode))
    }

    /// Owner and mode of the cache directory, if others can read the cache that is not open to them on
    /// purpose.
    #[must_use]
    pub fn readers(&self) -> Option<Owner> {
        let owner = owner_of(&self.dir).ok()?;
        let is_exposed = owner.mode & !intended(&self.dir, owner.mode) & 0o077 != 0;
        (is_exposed && filesystem::keeps_modes(self.root())).then_some(owner)
    }

    /// What others can change in the cache.
    pub fn exposures(&self) -> Result<Vec<(PathBuf, Exposure)>> {
        trust::exposures(self.root(), &self.trust)
    }

    /// The entries that keep the owner of the cache, or the members of its group, from writing it.
    pub fn strangers(&self) -> Result<Option<Strangers>> {
        strangers(&self.dir)
    }
}

fn mode_of(root: &Dir) -> Result<u32> {
    Ok(root.handle().metadata().at("read", root.path())?.mode() & 0o7777)
}

/// The mode that a cache directory of this mode should have.
fn intended(root: &Dir, mode: u32) -> u32 {
    let of_group = if permissions::is_shared_mode(mode) { 0o2070 } else { 0 };
    let of_all = if root.stat(READABLE).is_ok() { 0o055 } else { 0 };
    0o700 | mode & (of_group | of_all)
}

/// Closes the directory of a new cache to others, except to a group that shares it, or that shares the
/// folder in which this process has made it.
pub fn make_private(root: &Dir, is_made: bool) -> Result<()> {
    let found = mode_of(root)?;
    let parent = root.path().parent().and_then(|parent| Dir::open(parent).ok());
    let mode = if is_made && parent.is_some_and(|parent| parent.is_shared()) {
        0o2770
    } else {
        intended(root, found) | found & 0o2000
    };
    if found == mode || !filesystem::keeps_modes(root.path()) {
        return Ok(());
    }
    root.set_mode(mode).at("make private", root.path())
}

/// Sets the mode of the cache directory, first, and of everything in it. What this process cannot change
/// does not keep it from the rest; then the first error is returned.
fn set(root: &Dir, mode: impl Fn(u32) -> u32) -> Result<()> {
    let found = mode_of(root)?;
    let wanted = mode(found);
    if found != wanted {
        root.set_mode(wanted).at("set the mode of", root.path())?;
    }
    let rights = root.rights().at("read", root.path())?;
    let mut failed = Ok(());
    let mut conform = |place: Place, dir: &Dir, name: &OsStr, found: Stat| {
        let kind = place.kind(name, found);
        if !rights.fit(found.mode(), found.group(), kind) {
            let changed = conform(rights, dir, name, kind);
            failed = std::mem::replace(&mut failed, Ok(())).and(changed);
        }
    };
    each(root, Place::Root, MAX_DEPTH, &mut conform)?;
    failed
}

/// Gives an entry the rights of the cache, if it is still there. It is changed through a handle that is
/// only for looking: to open and close an index would end the locks of this process on it.
fn conform(rights: Rights, dir: &Dir, name: &OsStr, kind: Kind) -> Result<()> {
    match dir.conform(name, rights, kind) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        changed => changed.at("set the mode of", &dir.join(name)),
    }
}

/// Which part of a cache a directory is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Blobs,
    Other,
}

impl Place {
    fn kind(self, name: &OsStr, found: Stat) -> Kind {
        match self {
            _ if found.is_dir() => Kind::Directory,
            Self::Blobs => Kind::Blob,
            Self::Root if name == REMOTES => Kind::Own,
            Self::Other if name == LOCK => Kind::Lock,
            Self::Root | Self::Other => Kind::File,
        }
    }

    fn below(self, name: &OsStr) -> Self {
        match self {
            Self::Root if name == "blobs" => Self::Blobs,
            Self::Blobs => Self::Blobs,
            Self::Root | Self::Other => Self::Other,
        }
    }
}

/// Calls `act` for each file and directory below an open directory, a directory before what is in it. What
/// is in a directory that this process cannot read is left out.
fn each(
    dir: &Dir,
    place: Place,
    depth: usize,
    act: &mut dyn FnMut(Place, &Dir, &OsStr, Stat),
) -> Result<()> {
    for name in dir.names().at("read", dir.path())? {
        let name = name.at("read", dir.path())?;
        let found = match dir.find(&name) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => continue,
            found => found.at("read", &dir.join(&name))?,
        };
        let Some(found) = found else { continue };
        if found.is_file() || found.is_dir() {
            act(place, dir, &name, found);
        }
        if found.is_dir() && depth > 0 {
            match dir.subdir(&name) {
                Ok(below) => each(&below, place.below(&name), depth - 1, act)?,
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::NotFound | ErrorKind::PermissionDenied
                    ) => {}
                Err(error) => return Err(error).at("read", &dir.join(&name)),
            }
        }
    }
    Ok(())
}

fn owner_of(root: &Dir) -> Result<Owner> {
    let found = root.handle().metadata().at("read", root.path())?;
    Ok(Owner::in_metadata(root.path(), &found))
}

fn strangers(root: &Dir) -> Result<Option<Strangers>> {
    let owner = owner_of(root)?;
    let is_shared = permissions::is_shared_mode(owner.mode);
    let is_stranger = |found: Stat| {
        if is_shared {
            // A member replaces the files of another member, but needs to write their directories.
            found.group() != owner.group || (found.is_dir() && found.mode() & 0o020 == 0)
        } else {
            found.user() != owner.user
        }
    };
    let mut strangers: Option<Strangers> = None;
    let mut count = |_: Place, dir: &Dir, name: &OsStr, found: Stat| {
        if is_stranger(found) {
            let path = dir.join(Path::new(name));
            let first = || Strangers { entries: 0, first: Owner::of_entry(&path) };
            strangers.get_or_insert_with(first).entries += 1;
        }
    };
    each(root, Place::Root, MAX_DEPTH, &mut count)?;
    Ok(strangers)
}
