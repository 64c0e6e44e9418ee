//! What remains of a file system after a power cut.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::disk::{Change, Content, Disk, Id, Inode, Names, ROOT, State, set};
use crate::support::{chmod, touch};

/// The number of bytes that a disk writes atomically.
const PAGE: usize = 4096;

/// How much of the effects that were not synced survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survival {
    /// Nothing.
    Strict,
    /// All names, explicit sizes and modes, in order, as a journal keeps them, but no bytes.
    NamesFirst,
    /// A random part, chosen by the seed: a change of a name survives only if the earlier changes
    /// of that name do; bytes survive page by page.
    Random(u64),
}

impl Disk {
    /// Writes what a power cut now would leave of some entries of the root into a folder.
    pub fn write(&self, survival: Survival, entries: &[&str], to: &Path) {
        let left = Left { disk: self, survival, names: self.names_left(survival) };
        for name in entries {
            if let Some(&id) = left.names[ROOT].get(OsStr::new(name)) {
                left.write(id, &to.join(name));
            }
        }
    }

    /// The names in each directory that survive.
    fn names_left(&self, survival: Survival) -> Vec<Names> {
        let names = |state: &State| match &state.content {
            Content::Directory(names) => names.clone(),
            _ => Names::new(),
        };
        let Survival::Random(seed) = survival else {
            let strict = survival == Survival::Strict;
            let state = |inode: &Inode| names(if strict { &inode.synced } else { &inode.live });
            return self.inodes.iter().map(state).collect();
        };
        let mut left: Vec<Names> = self.inodes.iter().map(|inode| inode.settled.clone()).collect();
        let mut chance = Chance(seed);
        let mut lost = HashSet::new();
        for Change(names) in &self.changes {
            let follows_a_loss = names.iter().any(|(dir, name, _)| lost.contains(&(*dir, name)));
            if chance.coin() && !follows_a_loss {
                for (dir, name, id) in names {
                    set(&mut left[*dir], name, *id);
                }
            } else {
                lost.extend(names.iter().map(|(dir, name, _)| (*dir, name)));
            }
        }
        left
    }
}

impl Inode {
    fn bytes_left(&self, survival: Survival, mut chance: Chance) -> Vec<u8> {
        let (Content::File(old), Content::File(new)) = (&self.synced.content, &self.live.content)
        else {
            return Vec::new();
        };
        match survival {
            Survival::Strict => old.clone(),
            Survival::NamesFirst => self.journalled.clone(),
            Survival::Random(_) => {
                let mut left = vec![0; if chance.coin() { old.len() } else { new.len() }];
                for (page, bytes) in left.chunks_mut(PAGE).enumerate() {
                    let from = page * PAGE;
                    let source = if chance.coin() { old } else { new };
                    let source = source.get(from..).unwrap_or_default();
                    let len = source.len().min(bytes.len());
                    bytes[..len].copy_from_slice(&source[..len]);
                }
                left
            }
        }
    }
}

/// The remains of a power cut.
struct Left<'a> {
    disk: &'a Disk,
    survival: Survival,
    names: Vec<Names>,
}

impl Left<'_> {
    fn write(&self, id: Id, path: &Path) {
        let inode = &self.disk.inodes[id];
        let seed = if let Survival::Random(seed) = self.survival { seed } else { 0 };
        let mut chance = Chance(seed ^ (id as u64 + 1).rotate_left(32));
        let is_synced = match self.survival {
            Survival::Strict => true,
            Survival::NamesFirst => false,
            Survival::Random(_) => chance.coin(),
        };
        let State { mode, mtime, .. } = if is_synced { &inode.synced } else { &inode.live };
        match &inode.live.content {
            Content::Symlink(target) => symlink(target, path).unwrap(),
            Content::File(_) => {
                fs::write(path, inode.bytes_left(self.survival, chance)).unwrap();
                chmod(path, *mode);
            }
            Content::Directory(_) => {
                fs::create_dir(path).unwrap();
                for (name, &entry) in &self.names[id] {
                    // The next process creates its own, as after every start of the machine.
                    if !name.to_str().unwrap().ends_with("-shm") {
                        self.write(entry, &path.join(name));
                    }
                }
                chmod(path, *mode);
            }
        }
        if let Some((seconds, nanos)) = *mtime {
            touch(path, seconds, nanos);
        }
    }
}

/// Random numbers that a seed repeats.
struct Chance(u64);

impl Chance {
    fn coin(&mut self) -> bool {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let digest = blake3::hash(&self.0.to_le_bytes());
        digest.as_bytes()[0] & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::support;
    use crate::support::names_in;
    use crate::traced::calls::Effect;

    /// A folder with the directory `d`, and the file `d/old` in it.
    fn disk() -> Disk {
        let folder = tempfile::tempdir().unwrap();
        support::write(&folder.path().join("d/old"), b"old");
        Disk::of(folder.path())
    }

    fn make(disk: &mut Disk, path: &str, content: &[u8]) {
        let path = PathBuf::from(path);
        let open = Effect::Open { path: path.clone(), existed: false, emptied: false, mode: 0o600 };
        disk.apply(&open);
        disk.apply(&Effect::Write { path, offset: 0, data: content.to_owned() });
    }

    fn sync(disk: &mut Disk, path: &str) {
        disk.apply(&Effect::Sync { path: path.into(), data_only: false });
    }

    /// Names in `d` with their content.
    fn left(disk: &Disk, survival: Survival) -> Vec<(String, String)> {
        let folder = tempfile::tempdir().unwrap();
        disk.write(survival, &["d"], folder.path());
        let dir = folder.path().join("d");
        let content = |name: &String| fs::read_to_string(dir.join(name)).unwrap();
        names_in(&dir).into_iter().map(|name| (name.clone(), content(&name))).collect()
    }

    fn of(names: &[(&str, &str)]) -> Vec<(String, String)> {
        names.iter().map(|(name, content)| ((*name).into(), (*content).into())).collect()
    }

    #[test]
    fn unsynced_files_are_lost_in_a_power_cut() {
        let mut disk = disk();
        make(&mut disk, "d/new", b"new");
        assert_eq!(left(&disk, Survival::Strict), of(&[("old", "old")]));
        assert_eq!(left(&disk, Survival::NamesFirst), of(&[("new", ""), ("old", "old")]));
    }

    #[test]
    fn syncing_a_directory_saves_names_and_a_file_its_bytes() {
        let mut disk = disk();
        make(&mut disk, "d/new", b"new");
        sync(&mut disk, "d/new");
        assert_eq!(left(&disk, Survival::Strict), of(&[("old", "old")]));
        sync(&mut disk, "d");
        assert_eq!(left(&disk, Survival::Strict), of(&[("new", "new"), ("old", "old")]));
        let path = PathBuf::from("d/new");
        disk.apply(&Effect::Write { path, offset: 3, data: b"er".to_vec() });
        assert_eq!(left(&disk, Survival::NamesFirst), of(&[("new", "new"), ("old", "old")]));
    }

    #[test]
    fn a_rename_before_the_bytes_are_synced_leaves_an_empty_file() {
        let mut disk = disk();
        make(&mut disk, "d/new", b"new");
        disk.apply(&Effect::Rename { from: "d/new".into(), to: "d/old".into() });
        assert_eq!(left(&disk, Survival::Strict), of(&[("old", "old")]));
        assert_eq!(left(&disk, Survival::NamesFirst), of(&[("old", "")]));
    }

    #[test]
    fn random_survival_never_splits_a_rename() {
        let mut disk = disk();
        make(&mut disk, "d/new", b"new");
        sync(&mut disk, "d/new");
        disk.apply(&Effect::Rename { from: "d/new".into(), to: "d/old".into() });
        let mut seen: Vec<_> = (0..50).map(|seed| left(&disk, Survival::Random(seed))).collect();
        assert_eq!(seen[7], left(&disk, Survival::Random(7)), "a seed repeats");
        seen.sort();
        seen.dedup();
        let none = of(&[("old", "old")]);
        let first = of(&[("new", "new"), ("old", "old")]);
        assert_eq!(seen, [first, of(&[("old", "new")]), none]);
    }
}
