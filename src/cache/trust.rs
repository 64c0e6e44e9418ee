//! Whether to use a cache, by who can change it. An egg is code: a user who can change a cache can run
//! code as all its users.
//!
//! # The rule
//! A cache is used if nobody can change it but this user, root, and, in a shared cache, the members of
//! its group. This holds for its directory, for each of its parts ([`PARTS`]), and for every folder
//! above it, whose writers can put another cache in its place:
//!
//! - The owner is this user or root. For root that `sudo` has started, the user who called it counts,
//!   too. A folder above may also belong to the owner of `/`, who can change everything anyway: in a
//!   user namespace, that is how the folders of root look.
//! - Others cannot write it. A folder above with the sticky bit, such as `/tmp`, is an exception if what
//!   leads to the cache from there belongs to this user or root: nobody else can rename that.
//! - The group cannot write it. One exception is a cache that is shared with this group on purpose, with
//!   set-group-ID, and this user is a member or has shared it: its members trust each other, and
//!   each may own a part. The other is the group of a trusted user, of the same number, which
//!   many systems make for each user, and in which nobody else is.
//! - No access control list lets anybody else write it. The list for new entries counts in a shared cache.
//!
//! A symlink to a cache is followed first: what counts is where it leads. Blobs are not examined, because
//! a blob is only served if its digest is that of its row. Their directories are examined before a blob
//! without a row gets one ([`check_shards`]).
//!
//! # Exceptions
//! A user can trust a cache all the same, for one command or in the environment ([`Trust`]). Nothing that
//! a checkout contains can do that.

use std::fs::Metadata;
use std::io::ErrorKind::{NotFound, PermissionDenied};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::{getegid, geteuid, getgroups};

use crate::cache::{arrivals, build_options, index, verified};
use crate::disk::acl::{self, Writer};
use crate::disk::dir::Dir;
use crate::disk::permissions::SHARED;
use crate::disk::private_group::is_private;
use crate::error::{Error, Exposure, IoContext, Owner, Result};
use crate::util::environment::Environment;

/// The environment variable that names the caches to trust, separated by `:`.
pub const VARIABLE: &str = "EGGCACHE_TRUST_CACHE";
/// The user who called `sudo`.
const SUDO_USER: &str = "SUDO_UID";

/// Everything in a cache that decides which eggs it serves, or what is removed.
const PARTS: [&str; 21] = [
    "blobs",
    "tmp",
    "quarantine",
    index::FILE_NAME,
    "index.sqlite-wal",
    "index.sqlite-shm",
    "index.sqlite-journal",
    "pins",
    "roots",
    "runs",
    "copies",
    "recall",
    "parity",
    "signatures",
    build_options::DIR,
    "gc",
    "remotes.json",
    arrivals::FILE_NAME,
    verified::FILE_NAME,
    "withdrawals",
    "eggcache.toml",
];

/// The caches that a user trusts on purpose, even if others can change them.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    all: bool,
    caches: Vec<PathBuf>,
    sudo_user: Option<u32>,
}

impl Trust {
    /// What the environment of a user says.
    #[must_use]
    pub fn of(environment: &Environment) -> Self {
        let caches = environment.get_os(VARIABLE).unwrap_or_default();
        let sudo_user = environment.get(SUDO_USER).and_then(|user| user.parse().ok());
        Self {
            all: false,
            caches: std::env::split_paths(caches).filter(|it| it.is_absolute()).collect(),
            sudo_user: sudo_user.filter(|_| geteuid().is_root()),
        }
    }

    /// Trusts every cache.
    #[must_use]
    pub fn all(self) -> Self {
        Self { all: true, ..self }
    }

    /// Whether a cache is trusted without a look at it, by its canonical path.
    #[must_use]
    pub fn covers(&self, root: &Path) -> bool {
        let is_named = |it: &PathBuf| it.canonicalize().is_ok_and(|it| it == root);
        self.all || self.caches.iter().any(is_named)
    }

    /// The users whom this process trusts, and the groups of these numbers.
    fn users(&self) -> Vec<u32> {
        [0, geteuid().as_raw()].into_iter().chain(self.sudo_user).collect()
    }

    /// Whether a directory of this owner is made private before a cache is made in it.
    pub(in crate::cache) fn may_close(&self, dir: &Dir) -> std::io::Result<bool> {
        let owner = dir.handle().metadata()?.uid();
        Ok(self.users().contains(&owner) || self.covers(dir.path()))
    }

    /// Who else can change an opened file, if anybody can.
    #[must_use]
    pub fn exposure_of(&self, path: &Path, file: &Metadata) -> Option<Exposure> {
        Judge { users: self.users(), shared_with: None }.exposure(path, file)
    }
}

/// Checks that a cache, by its canonical path, can be trusted.
///
/// # Errors
/// [`Error::Untrusted`] with the first path that somebody else can change.
pub fn check(root: &Path, trust: &Trust) -> Result<()> {
    if trust.covers(root) {
        return Ok(());
    }
    let judge = Judge::of(root, trust)?;
    refuse(root, root, judge.exposure_at(root)?)?;
    judge.check_above(root)?;
    match judge.parts(root)?.into_iter().next() {
        Some((path, exposure)) => refuse(root, &path, Some(exposure)),
        None => Ok(()),
    }
}

/// Checks the folders above a cache, by its canonical path.
///
/// # Errors
/// As [`check`].
pub fn check_above(root: &Path, trust: &Trust) -> Result<()> {
    if trust.covers(root) { Ok(()) } else { Judge::of(root, trust)?.check_above(root) }
}

/// Checks that a cache can be trusted that is made at `root`, which does not exist.
///
/// # Errors
/// As [`check`].
pub fn check_place(root: &Path, trust: &Trust) -> Result<()> {
    let exists = root.ancestors().skip(1).find_map(|path| path.canonicalize().ok());
    // A relative path of one name.
    let Some(above) = exists.or_else(|| Path::new(".").canonicalize().ok()) else { return Ok(()) };
    let place = std::path::absolute(root).at("open the cache directory", root)?;
    if trust.all || trust.caches.contains(&place) {
        return Ok(());
    }
    let judge = Judge::of(&above, trust)?;
    for path in above.ancestors() {
        refuse(&place, path, judge.exposure_above(path, &above)?)?;
    }
    Ok(())
}

/// Checks the directories of blobs, before blobs without a row get one.
///
/// # Errors
/// As [`check`].
pub fn check_shards(root: &Path, trust: &Trust) -> Result<()> {
    if trust.covers(root) {
        return Ok(());
    }
    let judge = Judge::of(root, trust)?;
    let blobs = root.join("blobs");
    let entries = match blobs.read_dir() {
        Err(error) if error.kind() == NotFound => return Ok(()),
        entries => entries.at("read", &blobs)?,
    };
    for entry in entries {
        let path = entry.at("read", &blobs)?.path();
        if path.symlink_metadata().is_ok_and(|found| found.is_dir()) {
            refuse(root, &path, judge.exposure_at(&path)?)?;
        }
    }
    Ok(())
}

/// What others can change in a cache, by its canonical path.
///
/// # Errors
/// If a part cannot be examined.
pub fn exposures(root: &Path, trust: &Trust) -> Result<Vec<(PathBuf, Exposure)>> {
    let judge = Judge::of(root, trust)?;
    let own = judge.exposure_at(root)?.map(|exposure| (root.to_owned(), exposure));
    Ok(own.into_iter().chain(judge.parts(root)?).collect())
}

fn refuse(cache: &Path, path: &Path, exposure: Option<Exposure>) -> Result<()> {
    match exposure {
        None => Ok(()),
        Some(exposure) => {
            let cache = cache.to_owned();
            Err(Error::Untrusted { cache, exposure, owner: Owner::of_entry(path) })
        }
    }
}

/// Decides by owner and mode.
struct Judge {
    users: Vec<u32>,
    /// The group whose members share the cache, if this user takes part.
    shared_with: Option<u32>,
}

impl Judge {
    fn of(root: &Path, trust: &Trust) -> Result<Self> {
        let users = trust.users();
        let root = root.symlink_metadata().at("read", root)?;
        let hosts = [Some(geteuid().as_raw()), trust.sudo_user];
        let takes_part = || hosts.contains(&Some(root.uid())) || is_member(root.gid());
        let is_shared = root.is_dir() && root.mode() & SHARED == SHARED && takes_part();
        Ok(Self { users, shared_with: is_shared.then(|| root.gid()) })
    }

    /// The cache directory or a part; a missing part is no exposure.
    fn exposure_at(&self, path: &Path) -> Result<Option<Exposure>> {
        match path.symlink_metadata() {
            // What is in a directory that this user may not search cannot be used either.
            Err(error) if matches!(error.kind(), NotFound | PermissionDenied) => Ok(None),
            Err(error) => Err(error).at("read", path),
            Ok(found) if found.is_symlink() => Ok(Some(Exposure::Link)),
            Ok(found) => Ok(self.exposure(path, &found)),
        }
    }

    fn exposure(&self, path: &Path, found: &Metadata) -> Option<Exposure> {
        if self.shared_with.is_none() && !self.users.contains(&found.uid()) {
            return Some(Exposure::AnotherUser);
        }
        // New entries of a private cache get modes that leave such a list without effect.
        let of_new = self.shared_with.and_then(|_| acl::writers(path, acl::DEFAULT));
        let is_open = of_new.is_some_and(|writers| writers.iter().any(|it| !self.is_known(*it)));
        self.writers(path, found).or_else(|| is_open.then_some(Exposure::List))
    }

    /// A folder above the cache directory `root`.
    fn exposure_above(&self, path: &Path, root: &Path) -> Result<Option<Exposure>> {
        let found = path.symlink_metadata().at("read", path)?;
        let owner_of = |path: &Path| path.symlink_metadata().ok().map(|it| it.uid());
        // The members of a group trust the owner of the cache that they share.
        let host = self.shared_with.and_then(|_| owner_of(root));
        let is_trusted = self.users.contains(&found.uid())
            || [host, owner_of(Path::new("/"))].contains(&Some(found.uid()));
        // In a sticky folder, everybody can make a cache that looks shared, but not one of these users.
        let below = root.ancestors().take_while(|it| *it != path).last();
        let is_safe = || below.and_then(owner_of).is_none_or(|owner| self.users.contains(&owner));
        Ok(match self.writers(path, &found) {
            _ if !is_trusted => Some(Exposure::AnotherUser),
            Some(_) if found.mode() & 0o1000 != 0 && is_safe() => None,
            writers => writers,
        })
    }

    /// Who can write an entry besides its owner.
    fn writers(&self, path: &Path, found: &Metadata) -> Option<Exposure> {
        let (mode, group) = (found.mode(), found.gid());
        if mode & 0o002 != 0 {
            return Some(Exposure::Everybody);
        }
        // With a list, these bits are those of its mask.
        if mode & 0o020 == 0 {
            return None;
        }
        let listed = acl::writers(path, acl::ACCESS);
        let is_of_group = |writers: &Vec<Writer>| writers.contains(&Writer::OwnGroup);
        if listed.as_ref().is_none_or(is_of_group) && !self.is_known(Writer::Group(group)) {
            return Some(Exposure::Group);
        }
        let is_open = listed.is_some_and(|writers| writers.iter().any(|it| !self.is_known(*it)));
        is_open.then_some(Exposure::List)
    }

    /// Whether this user trusts somebody who may write a file. The group of a file counts elsewhere.
    fn is_known(&self, writer: Writer) -> bool {
        match writer {
            Writer::User(user) => self.users.contains(&user),
            Writer::Group(group) => {
                self.shared_with == Some(group)
                    || (self.users.contains(&group) && is_private(group))
            }
            Writer::OwnGroup => true,
            Writer::Unknown => false,
        }
    }

    fn check_above(&self, root: &Path) -> Result<()> {
        for path in root.ancestors().skip(1) {
            refuse(root, path, self.exposure_above(path, root)?)?;
        }
        Ok(())
    }

    fn parts(&self, root: &Path) -> Result<Vec<(PathBuf, Exposure)>> {
        let mut found = Vec::new();
        for part in PARTS {
            let path = root.join(part);
            if let Some(exposure) = self.exposure_at(&path)? {
                found.push((path, exposure));
            }
        }
        Ok(found)
    }
}

fn is_member(group: u32) -> bool {
    getegid().as_raw() == group
        || getgroups().is_ok_and(|groups| groups.iter().any(|it| it.as_raw() == group))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn refused(root: &Path, trust: &Trust) -> Option<Exposure> {
        match check(root, trust) {
            Ok(()) => None,
            Err(Error::Untrusted { exposure, .. }) => Some(exposure),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_cache_is_refused_for_every_part_that_everybody_can_write() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("cache");
        fs::create_dir(&root).unwrap();
        let trust = Trust::default();
        assert_eq!(refused(&root, &trust), None);
        for part in PARTS {
            let path = root.join(part);
            fs::write(&path, "").unwrap();
            assert_eq!(refused(&root, &trust), None, "{part}");
            chmod(&path, 0o602);
            assert_eq!(refused(&root, &trust), Some(Exposure::Everybody), "{part}");
            assert_eq!(refused(&root, &Trust::default().all()), None);
            fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink("/etc", &path).unwrap();
            assert_eq!(refused(&root, &trust), Some(Exposure::Link), "{part}");
            fs::remove_file(&path).unwrap();
        }
        chmod(&root, 0o1777);
        assert_eq!(refused(&root, &trust), Some(Exposure::Everybody));
        let environment = |value: &Path| [(VARIABLE, value)].into_iter().collect();
        assert_eq!(refused(&root, &Trust::of(&environment(&root))), None);
        let other = Trust::of(&environment(dir.path()));
        assert_eq!(refused(&root, &other), Some(Exposure::Everybody));
        chmod(&root, 0o755);
        // Folders above it: the sticky bit protects what belongs to somebody else.
        for (mode, expected) in [(0o777, Some(Exposure::Everybody)), (0o1777, None), (0o755, None)]
        {
            chmod(dir.path(), mode);
            assert_eq!(refused(&root, &trust), expected, "{mode:o}");
            let place = check_place(&root.join("new/cache"), &trust);
            assert_eq!(place.is_err(), expected.is_some(), "{mode:o}");
        }
    }

    #[test]
    fn only_absolute_paths_in_the_environment_name_caches() {
        let environment: Environment = [(VARIABLE, "cache::/a:b:/c")].into_iter().collect();
        let trust = Trust::of(&environment);
        assert_eq!(trust.caches, [Path::new("/a"), Path::new("/c")]);
    }
}
