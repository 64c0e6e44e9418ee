//! Roots: registered buildouts, and the eggs that each uses.
//!
//! # Order of writes
//! Only the buildout writes the record of its root, `roots/NAME.json`, after each successful run. Only
//! `gc` writes `roots/NAME.gone`, which says since when the folder is missing. So no file has two
//! writers. To forget a root, its record is removed first: a `.gone` file without a record, or older
//! than the last run of the buildout, has no meaning.
//!
//! # Missing folders
//! A missing folder may be on a disk that is not mounted, so its root is kept for a while after `gc`
//! first misses it. A folder on another machine cannot be checked: its root is kept for the same time
//! after its last run.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::disk::dir::Dir;
use crate::disk::files;
use crate::disk::json_file;
use crate::disk::temp;
use crate::error::{Error, OrLog, Result};
use crate::util::hash::digest::Digest;
use crate::util::machine;

/// How long the root of a missing folder is kept by default, in seconds.
pub const GRACE: i64 = 30 * 86_400;

/// A registered buildout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// The folder of the buildout, as a canonical path.
    pub directory: PathBuf,
    /// Device and inode of that folder.
    pub identity: (u64, u64),
    /// The machine of that folder.
    pub machine: String,
    pub eggs_directory: PathBuf,
    /// Implementation and version, for example `cp311`.
    pub python: String,
    /// Version of zc.buildout.
    pub buildout: Option<String>,
    /// Seconds since the Unix epoch.
    pub first_run: i64,
    /// Seconds since the Unix epoch, accurate to the hour.
    pub last_run: i64,
    pub eggs: Vec<Used>,
}

/// An egg that a root uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    pub file_name: String,
    /// `None` if the cache never had the egg. It may have evicted it since.
    pub digest: Option<Digest>,
    /// The directory of the egg if it is not the eggs directory: for custom builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// As long as it is unchanged, the egg has this digest.
    pub stamp: Stamp,
}

/// Distinguishes an egg on disk from an earlier one of the same path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Device and inode.
    pub identity: (u64, u64),
    /// Seconds since the Unix epoch, and nanoseconds.
    pub mtime: (i64, i64),
}

impl Stamp {
    /// That of the egg at `path`; `None` if there is none.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let metadata = path.symlink_metadata().ok()?;
        let mtime = (metadata.mtime(), metadata.mtime_nsec());
        Some(Self { identity: files::identity(&metadata), mtime })
    }
}

/// The state of a root's folder.
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
    /// The path of an egg of this root.
    #[must_use]
    pub fn path_of(&self, egg: &Used) -> PathBuf {
        egg.directory.as_ref().unwrap_or(&self.eggs_directory).join(&egg.file_name)
    }

    /// The digests of its eggs, as far as they are known, by path.
    pub fn digests(&self) -> impl Iterator<Item = (PathBuf, Digest)> {
        self.eggs.iter().filter_map(|egg| Some((self.path_of(egg), egg.digest?)))
    }

    /// The file name of its record.
    #[must_use]
    pub fn name(&self) -> String {
        name_of(&self.directory, &self.machine)
    }

    /// Whether its folder exists; `None` if it is on another machine. A folder that was restored has
    /// another inode; an existing eggs directory then shows that it is the same buildout.
    fn is_there(&self) -> Option<bool> {
        match self.directory.metadata() {
            Ok(found) => Some(
                found.is_dir()
                    && (files::identity(&found) == self.identity || self.eggs_directory.is_dir()),
            ),
            Err(error)
                if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                Some(true) // it cannot be checked
            }
            Err(_) => (self.machine == machine::machine()).then_some(false),
        }
    }
}

/// A root with the state of its folder.
#[derive(Debug, Clone, Serialize)]
pub struct KnownRoot {
    #[serde(flatten)]
    pub root: Root,
    #[serde(flatten)]
    pub state: RootState,
    /// The file name of its record.
    #[serde(skip)]
    name: String,
}

impl KnownRoot {
    /// Whether its eggs are protected. A missing folder protects them for `grace` seconds.
    #[must_use]
    pub fn is_kept(&self, grace: i64, now: i64) -> bool {
        self.kept_until(grace).is_none_or(|until| now < until)
    }

    /// When a missing folder, or one on another machine, no longer protects its eggs, in seconds since the
    /// Unix epoch; `None` for a folder that exists.
    #[must_use]
    pub fn kept_until(&self, grace: i64) -> Option<i64> {
        match self.state {
            RootState::Live => None,
            RootState::Gone { gone_since } => Some(gone_since.saturating_add(grace)),
            RootState::Elsewhere => Some(self.root.last_run.saturating_add(grace)),
        }
    }
}

/// The directory of the records. Its name is part of the cache's format.
pub const DIR: &str = "roots";

/// The file name of the record of a folder, by its canonical path.
pub(crate) fn name_of(directory: &Path, machine: &str) -> String {
    let directory = directory.as_os_str().as_encoded_bytes();
    json_file::name_of(&[directory, b"\0", machine.as_bytes()].concat())
}

/// The directory of the records of runs, which have the names of the records of roots.
pub(crate) const RUNS: &str = "runs";

/// The path of a record below the cache.
fn path_of(record: &str) -> String {
    format!("{DIR}/{record}")
}

/// The path of the file that says since when the folder of a record is missing.
fn gone_file_of(record: &str) -> String {
    path_of(&format!("{}.gone", record.strip_suffix(".json").unwrap_or(record)))
}

/// The previous record of a root; `None` also if it cannot be read.
#[must_use]
pub fn before(cache: &Dir, name: &str) -> Option<Root> {
    json_file::read(cache, &path_of(name)).or_log().flatten()
}

/// Writes the record of a root, after a successful run.
pub fn write(cache: &Dir, root: &Root) -> Result<()> {
    json_file::write(cache, &path_of(&root.name()), root)
}

/// All roots, by directory, and the errors of records that cannot be read. `now` is in seconds since the
/// Unix epoch; a folder that is newly missing counts as missing since then.
pub fn all(cache: &Dir, now: i64) -> Result<(Vec<KnownRoot>, Vec<Error>)> {
    let (mut known, mut unreadable) = (Vec::new(), Vec::new());
    for (name, root) in json_file::read_all::<Root>(cache, DIR)? {
        match root {
            Ok(mut root) => {
                // A root on another machine would otherwise be kept for ever.
                root.last_run = root.last_run.min(now);
                root.first_run = root.first_run.min(now);
                let recorded = json_file::read::<i64>(cache, &gone_file_of(&name)).ok().flatten();
                let recorded = recorded.filter(|&since| since >= root.last_run && since <= now);
                let state = match root.is_there() {
                    Some(true) => RootState::Live,
                    Some(false) => RootState::Gone { gone_since: recorded.unwrap_or(now) },
                    None => RootState::Elsewhere,
                };
                known.push(KnownRoot { root, state, name });
            }
            Err(error) => unreadable.push(error),
        }
    }
    known.sort_by(|a, b| a.root.directory.cmp(&b.root.directory));
    Ok((known, unreadable))
}

/// Roots that cannot be read, by the name of their file.
pub fn unreadable(cache: &Dir) -> Result<Vec<(String, Error)>> {
    json_file::unreadable::<Root>(cache, DIR)
}

/// Forgets a root.
pub fn forget(cache: &Dir, known: &KnownRoot) -> Result<()> {
    json_file::remove(cache, &path_of(&known.name))?;
    json_file::remove(cache, &gone_file_of(&known.name)).or_log();
    json_file::remove(cache, &format!("{RUNS}/{}", known.name)).or_log();
    Ok(())
}

/// Records which folders are missing and which are back, and removes temporary files.
pub fn note_gone(cache: &Dir, roots: &[KnownRoot]) -> Result<()> {
    temp::sweep_below(cache, DIR)?;
    for known in roots {
        let mark = gone_file_of(&known.name);
        match known.state {
            RootState::Gone { gone_since } => {
                if json_file::read::<i64>(cache, &mark).or_log().flatten() != Some(gone_since) {
                    json_file::write(cache, &mark, &gone_since)?;
                }
            }
            RootState::Live | RootState::Elsewhere => {
                json_file::remove(cache, &mark)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    /// A cache, and the path of a project beside it.
    fn places(dir: &tempfile::TempDir) -> (Dir, PathBuf) {
        fs::create_dir(dir.path().join("cache")).unwrap();
        (Dir::open(&dir.path().join("cache")).unwrap(), dir.path().join("project"))
    }

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

    fn only(cache: &Dir, now: i64) -> KnownRoot {
        let (mut known, unreadable) = all(cache, now).unwrap();
        assert!(unreadable.is_empty());
        assert_eq!(known.len(), 1);
        known.remove(0)
    }

    #[test]
    fn a_root_is_gone_since_it_was_first_missed() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, project) = places(&dir);
        fs::create_dir_all(&project).unwrap();
        write(&cache, &root_at(&project)).unwrap();
        assert_eq!(only(&cache, 100).state, RootState::Live);
        fs::remove_dir(&project).unwrap();
        let known = only(&cache, 100);
        assert_eq!(known.state, RootState::Gone { gone_since: 100 });
        assert_eq!(
            only(&cache, 110).state,
            RootState::Gone { gone_since: 110 },
            "not recorded yet"
        );
        note_gone(&cache, &[known]).unwrap();
        let known = only(&cache, 200);
        assert_eq!(known.state, RootState::Gone { gone_since: 100 });
        assert!(known.is_kept(101, 200) && !known.is_kept(100, 200));
        fs::create_dir_all(project.join("eggs")).unwrap();
        let known = only(&cache, 300);
        assert_eq!(known.state, RootState::Live, "it was restored");
        note_gone(&cache, &[known]).unwrap();
        fs::remove_dir_all(&project).unwrap();
        assert_eq!(only(&cache, 400).state, RootState::Gone { gone_since: 400 });
    }

    #[test]
    fn a_run_resets_the_time_since_which_a_root_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, project) = places(&dir);
        fs::create_dir(&project).unwrap();
        let root = root_at(&project);
        write(&cache, &root).unwrap();
        fs::remove_dir(&project).unwrap();
        note_gone(&cache, &[only(&cache, 20)]).unwrap();
        write(&cache, &Root { last_run: 30, ..root }).unwrap();
        assert_eq!(only(&cache, 100).state, RootState::Gone { gone_since: 100 });
    }

    #[test]
    fn a_moved_folder_is_gone_even_if_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, project) = places(&dir);
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
    fn a_root_on_another_machine_is_kept_for_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, project) = places(&dir);
        fs::create_dir(&project).unwrap();
        let root = Root { machine: "another".into(), ..root_at(&project) };
        write(&cache, &root).unwrap();
        fs::remove_dir(&project).unwrap();
        let known = only(&cache, 100);
        assert_eq!(known.state, RootState::Elsewhere);
        assert!(known.is_kept(91, 100) && !known.is_kept(90, 100));
    }

    #[test]
    fn an_unreadable_record_hides_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, project) = places(&dir);
        fs::create_dir(&project).unwrap();
        write(&cache, &root_at(&project)).unwrap();
        fs::write(cache.join("roots/half.json"), "{\"directory\":").unwrap();
        symlink("/dev/zero", cache.join("roots/link.json")).unwrap();
        fs::write(cache.join("roots/.eggcache-half.json"), "").unwrap();
        let (known, unreadable) = all(&cache, 0).unwrap();
        assert_eq!((known.len(), unreadable.len()), (1, 2));
        note_gone(&cache, &known).unwrap();
        assert!(!cache.join("roots/.eggcache-half.json").exists());
    }

    #[test]
    fn a_forgotten_root_leaves_no_files() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, project) = places(&dir);
        fs::create_dir(&project).unwrap();
        write(&cache, &root_at(&project)).unwrap();
        fs::remove_dir(&project).unwrap();
        note_gone(&cache, &[only(&cache, 20)]).unwrap();
        forget(&cache, &only(&cache, 20)).unwrap();
        assert_eq!(fs::read_dir(cache.join("roots")).unwrap().count(), 0);
    }
}
