//! Roots: which buildouts use the cache, and which eggs each ended up with.
//!
//! # Order of writes
//! The record of a root, `roots/NAME.json`, is written by its buildout alone, after it has succeeded.
//! That its folder is gone is noted beside it by `gc` alone, in `roots/NAME.gone`, so that neither
//! writes what the other does. A root is forgotten record first: a note without a record says nothing,
//! and one that is older than the last run of the buildout says nothing either.
//!
//! # Gone
//! A folder that is gone may be on a disk that is not mounted, so its root is kept for a while, from
//! when `gc` first missed it. A folder of another machine cannot be looked at: its root is kept for as
//! long, from the last run.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::disk::files;
use crate::disk::json_file;
use crate::disk::temp;
use crate::error::{Error, Result};
use crate::util::hash::digest::Digest;
use crate::util::machine;

/// For how long a root is kept whose folder is gone, in seconds, if nobody says otherwise.
pub const GRACE: i64 = 30 * 86_400;

/// A buildout that uses the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// The folder of the buildout; canonical.
    pub directory: PathBuf,
    /// Device and inode of that folder.
    pub identity: (u64, u64),
    /// The machine that it is on.
    pub machine: String,
    pub eggs_directory: PathBuf,
    /// Implementation and version, for example `cp311`.
    pub python: String,
    /// Version of zc.buildout.
    pub buildout: Option<String>,
    /// Seconds since the Unix epoch.
    pub first_run: i64,
    /// To the hour.
    pub last_run: i64,
    pub eggs: Vec<Used>,
}

/// An egg that a buildout uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    pub file_name: String,
    /// `None` where the cache did not have it.
    pub digest: Option<Digest>,
    /// Where it stands, if that is not the eggs directory: custom builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// Device, inode and mtime: as long as these are the same it is the egg of that digest.
    pub stamp: Stamp,
}

/// What tells an egg on disk from what stood there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    pub identity: (u64, u64),
    /// Seconds since the Unix epoch, and nanoseconds.
    pub mtime: (i64, i64),
}

/// What has become of a buildout's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum RootState {
    Live,
    /// Seconds since the Unix epoch.
    Gone {
        gone_since: i64,
    },
    /// On another machine.
    Elsewhere,
}

impl Root {
    /// Where an egg of it stands.
    #[must_use]
    pub fn path_of(&self, egg: &Used) -> PathBuf {
        egg.directory.as_ref().unwrap_or(&self.eggs_directory).join(&egg.file_name)
    }

    /// Name of its record.
    #[must_use]
    pub fn name(&self) -> String {
        let directory = self.directory.as_os_str().as_encoded_bytes();
        json_file::name_of(&[directory, b"\0", self.machine.as_bytes()].concat())
    }

    /// Whether its folder is there; `None` if it is on another machine. A folder that was put back
    /// has another inode, and then its eggs directory tells that it is the same buildout.
    fn is_there(&self) -> Option<bool> {
        match self.directory.metadata() {
            Ok(found) => Some(
                found.is_dir()
                    && (files::identity(&found) == self.identity || self.eggs_directory.is_dir()),
            ),
            Err(error)
                if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                Some(true) // it cannot be looked at
            }
            Err(_) => (self.machine == machine::machine()).then_some(false),
        }
    }
}

/// A root as the cache has it.
#[derive(Debug, Clone, Serialize)]
pub struct KnownRoot {
    #[serde(flatten)]
    pub root: Root,
    #[serde(flatten)]
    pub state: RootState,
    #[serde(skip)]
    path: PathBuf,
}

impl KnownRoot {
    /// Whether its eggs are to be kept, where a folder that is gone counts for `grace` seconds.
    #[must_use]
    pub fn is_kept(&self, grace: i64, now: i64) -> bool {
        match self.state {
            RootState::Live => true,
            RootState::Gone { gone_since } => now.saturating_sub(gone_since) < grace,
            RootState::Elsewhere => now.saturating_sub(self.root.last_run) < grace,
        }
    }
}

fn dir(cache: &Path) -> PathBuf {
    cache.join("roots")
}

fn mark_of(record: &Path) -> PathBuf {
    record.with_extension("gone")
}

/// The record of a root that may have been written before; `None` also if it cannot be read.
#[must_use]
pub fn before(cache: &Path, name: &str) -> Option<Root> {
    json_file::read(&dir(cache).join(name)).ok().flatten()
}

/// Writes the record of a root whose buildout has succeeded.
///
/// # Errors
/// If it cannot be written.
pub fn write(cache: &Path, root: &Root) -> Result<()> {
    json_file::write(&dir(cache), &root.name(), root)
}

/// All roots, by directory, and what is wrong with records that cannot be read. `now` is in seconds
/// since the Unix epoch, and a root whose folder is gone is gone since then if nobody has noted it.
///
/// # Errors
/// If the records cannot be listed.
pub fn all(cache: &Path, now: i64) -> Result<(Vec<KnownRoot>, Vec<Error>)> {
    let (mut known, mut unreadable) = (Vec::new(), Vec::new());
    for path in json_file::list(&dir(cache))? {
        match json_file::read::<Root>(&path) {
            Ok(Some(root)) => {
                let noted = json_file::read::<i64>(&mark_of(&path)).ok().flatten();
                let noted = noted.filter(|&since| since >= root.last_run && since <= now);
                let state = match root.is_there() {
                    Some(true) => RootState::Live,
                    Some(false) => RootState::Gone { gone_since: noted.unwrap_or(now) },
                    None => RootState::Elsewhere,
                };
                known.push(KnownRoot { root, state, path });
            }
            Ok(None) => {} // forgotten meanwhile
            Err(error) => unreadable.push(error),
        }
    }
    known.sort_by(|a, b| a.root.directory.cmp(&b.root.directory));
    Ok((known, unreadable))
}

/// Forgets a root.
///
/// # Errors
/// If its record cannot be removed.
pub fn forget(known: &KnownRoot) -> Result<()> {
    json_file::remove(&known.path)?;
    let _ = json_file::remove(&mark_of(&known.path));
    Ok(())
}

/// Notes which folders are gone and which are back, and removes what writing a record left behind.
///
/// # Errors
/// If the cache cannot be written.
pub fn note_gone(cache: &Path, roots: &[KnownRoot]) -> Result<()> {
    temp::sweep(&dir(cache))?;
    for known in roots {
        let mark = mark_of(&known.path);
        match known.state {
            RootState::Gone { gone_since } => {
                if json_file::read::<i64>(&mark).ok().flatten() != Some(gone_since) {
                    let name = mark.file_name().unwrap_or_default().to_string_lossy();
                    json_file::write(&dir(cache), &name, &gone_since)?;
                }
            }
            RootState::Live | RootState::Elsewhere => {
                json_file::remove(&mark)?;
            }
        }
    }
    Ok(())
}

/// Lets the group of the cache write the records.
///
/// # Errors
/// If this process does not own their directory.
pub fn share(cache: &Path) -> Result<()> {
    json_file::share(&dir(cache))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn root_at(directory: &Path) -> Root {
        Root {
            directory: directory.to_owned(),
            identity: files::identity(&directory.metadata().unwrap()),
            machine: machine::machine(),
            eggs_directory: directory.join("eggs"),
            python: "cp311".into(),
            buildout: Some("5.2.0".into()),
            first_run: 10,
            last_run: 10,
            eggs: Vec::new(),
        }
    }

    fn only(cache: &Path, now: i64) -> KnownRoot {
        let (mut known, unreadable) = all(cache, now).unwrap();
        assert!(unreadable.is_empty());
        assert_eq!(known.len(), 1);
        known.remove(0)
    }

    #[test]
    fn a_root_is_gone_from_when_it_was_first_missed() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, project) = (dir.path().join("cache"), dir.path().join("project"));
        fs::create_dir_all(&project).unwrap();
        write(&cache, &root_at(&project)).unwrap();
        assert_eq!(only(&cache, 100).state, RootState::Live);
        fs::remove_dir(&project).unwrap();
        let known = only(&cache, 100);
        assert_eq!(known.state, RootState::Gone { gone_since: 100 });
        assert_eq!(
            only(&cache, 110).state,
            RootState::Gone { gone_since: 110 },
            "nobody has noted it"
        );
        note_gone(&cache, &[known]).unwrap();
        let known = only(&cache, 200);
        assert_eq!(known.state, RootState::Gone { gone_since: 100 });
        assert!(known.is_kept(101, 200) && !known.is_kept(100, 200));
        fs::create_dir_all(project.join("eggs")).unwrap();
        let known = only(&cache, 300);
        assert_eq!(known.state, RootState::Live, "it was put back");
        note_gone(&cache, &[known]).unwrap();
        fs::remove_dir_all(&project).unwrap();
        assert_eq!(only(&cache, 400).state, RootState::Gone { gone_since: 400 });
    }

    #[test]
    fn a_run_makes_void_that_its_folder_was_missed_before() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, project) = (dir.path().join("cache"), dir.path().join("project"));
        fs::create_dir(&project).unwrap();
        let root = root_at(&project);
        write(&cache, &root).unwrap();
        fs::remove_dir(&project).unwrap();
        note_gone(&cache, &[only(&cache, 20)]).unwrap();
        write(&cache, &Root { last_run: 30, ..root }).unwrap();
        assert_eq!(only(&cache, 100).state, RootState::Gone { gone_since: 100 });
    }

    #[test]
    fn a_folder_that_was_moved_is_gone_and_one_in_its_place_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, project) = (dir.path().join("cache"), dir.path().join("project"));
        fs::create_dir(&project).unwrap();
        write(&cache, &root_at(&project)).unwrap();
        fs::rename(&project, dir.path().join("elsewhere")).unwrap();
        assert!(matches!(only(&cache, 0).state, RootState::Gone { .. }));
        fs::create_dir(&project).unwrap();
        assert!(matches!(only(&cache, 0).state, RootState::Gone { .. }));
        fs::remove_dir(&project).unwrap();
        symlink("elsewhere", &project).unwrap();
        assert_eq!(only(&cache, 0).state, RootState::Live, "it has the inode");
    }

    #[test]
    fn a_root_of_another_machine_is_kept_for_a_while_after_its_last_run() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, project) = (dir.path().join("cache"), dir.path().join("project"));
        fs::create_dir(&project).unwrap();
        let root = Root { machine: "another".into(), ..root_at(&project) };
        write(&cache, &root).unwrap();
        fs::remove_dir(&project).unwrap();
        let known = only(&cache, 100);
        assert_eq!(known.state, RootState::Elsewhere);
        assert!(known.is_kept(91, 100) && !known.is_kept(90, 100));
    }

    #[test]
    fn a_record_that_cannot_be_read_is_told_and_hides_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let project = dir.path().join("project");
        fs::create_dir(&project).unwrap();
        write(dir.path(), &root_at(&project)).unwrap();
        fs::write(dir.path().join("roots/half.json"), "{\"directory\":").unwrap();
        symlink("/dev/zero", dir.path().join("roots/link.json")).unwrap();
        fs::write(dir.path().join("roots/.eggcache-half.json"), "").unwrap();
        let (known, unreadable) = all(dir.path(), 0).unwrap();
        assert_eq!((known.len(), unreadable.len()), (1, 2));
        note_gone(dir.path(), &known).unwrap();
        assert!(!dir.path().join("roots/.eggcache-half.json").exists());
    }

    #[test]
    fn a_root_that_is_forgotten_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, project) = (dir.path().join("cache"), dir.path().join("project"));
        fs::create_dir(&project).unwrap();
        write(&cache, &root_at(&project)).unwrap();
        fs::remove_dir(&project).unwrap();
        note_gone(&cache, &[only(&cache, 20)]).unwrap();
        forget(&only(&cache, 20)).unwrap();
        assert_eq!(fs::read_dir(cache.join("roots")).unwrap().count(), 0);
    }
}
