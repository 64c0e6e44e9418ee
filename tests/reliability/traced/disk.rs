//! A file system in memory that distinguishes its current state from what a power cut would leave.
//!
//! Files and directories are separate from their names: a name belongs to its directory, and
//! syncing a file does not make its name durable. The initial content of a folder is durable.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::calls::Effect;
use super::survival::Survival;
use crate::support::{self, Sandbox};

pub type Id = usize;
pub type Names = BTreeMap<OsString, Id>;

#[derive(Debug, Clone)]
pub enum Content {
    File(Vec<u8>),
    Directory(Names),
    Symlink(PathBuf),
}

#[derive(Debug, Clone)]
pub struct State {
    pub content: Content,
    pub mode: u32,
    /// If it was set explicitly; otherwise it is the time of the last change, on which nothing
    /// depends.
    pub mtime: Option<(i64, i64)>,
}

#[derive(Debug, Clone)]
pub struct Inode {
    pub live: State,
    pub synced: State,
    /// What a journal alone would leave: the synced bytes of a file, cut or extended to its current
    /// length.
    pub journalled: Vec<u8>,
    /// Names in a directory that are durable, if the two halves of a rename never come apart.
    pub settled: Names,
}

/// A change of names that a journal writes atomically.
#[derive(Debug, Clone)]
pub struct Change(pub Vec<(Id, OsString, Option<Id>)>);

#[derive(Debug, Clone)]
pub struct Disk {
    pub inodes: Vec<Inode>,
    /// Changes of names that are not settled, in order.
    pub changes: Vec<Change>,
}

pub const ROOT: Id = 0;

impl Disk {
    /// The content of a folder, all of it durable.
    pub fn of(folder: &Path) -> Self {
        let mut disk = Self { inodes: Vec::new(), changes: Vec::new() };
        disk.load(folder);
        disk
    }

    fn load(&mut self, path: &Path) -> Id {
        let metadata = path.symlink_metadata().unwrap();
        let content = if metadata.is_dir() {
            Content::Directory(Names::new())
        } else if metadata.is_symlink() {
            Content::Symlink(fs::read_link(path).unwrap())
        } else {
            Content::File(fs::read(path).unwrap())
        };
        let mode = metadata.permissions().mode() & 0o7777;
        let mtime = Some((metadata.mtime(), metadata.mtime_nsec()));
        let id = self.make(State { content, mode, mtime });
        if metadata.is_dir() {
            let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
            let names: Names =
                entries.map(|entry| (entry.file_name(), self.load(&entry.path()))).collect();
            let inode = &mut self.inodes[id];
            inode.settled.clone_from(&names);
            inode.live.content = Content::Directory(names);
            inode.synced = inode.live.clone();
        }
        id
    }

    fn make(&mut self, state: State) -> Id {
        let journalled = match &state.content {
            Content::File(bytes) => bytes.clone(),
            _ => Vec::new(),
        };
        let settled = Names::new();
        self.inodes.push(Inode { live: state.clone(), synced: state, journalled, settled });
        self.inodes.len() - 1
    }

    /// Replays the effect of a call.
    pub fn apply(&mut self, effect: &Effect) {
        match effect {
            Effect::Open { path, existed: false, mode, .. } => {
                let content = Content::File(Vec::new());
                self.enter(path, State { content, mode: *mode, mtime: None });
            }
            Effect::Open { path, .. } => self.resize(path, |_| 0),
            Effect::Write { path, offset, data } | Effect::Copy { path, offset, data } => {
                let from = usize::try_from(*offset).unwrap();
                let live = &mut self.at(path).live;
                live.mtime = None;
                let bytes = bytes_of(&mut live.content);
                bytes.resize(bytes.len().max(from + data.len()), 0);
                bytes[from..from + data.len()].copy_from_slice(data);
            }
            Effect::Truncate { path, len } => self.resize(path, |_| usize::try_from(*len).unwrap()),
            Effect::Allocate { path, len } => {
                self.resize(path, |now| now.max(usize::try_from(*len).unwrap()));
            }
            Effect::Rename { from, to } => {
                let ((dir, name), (into, new)) = (self.place(from), self.place(to));
                let id = self.id(from);
                self.change(vec![(dir, name, None), (into, new, Some(id))]);
            }
            Effect::Link { from, to } => {
                let (id, (into, new)) = (self.id(from), self.place(to));
                self.change(vec![(into, new, Some(id))]);
            }
            Effect::Remove { path } => {
                let (dir, name) = self.place(path);
                self.change(vec![(dir, name, None)]);
            }
            Effect::MakeDirectory { path, mode } => {
                let content = Content::Directory(Names::new());
                self.enter(path, State { content, mode: *mode, mtime: None });
            }
            Effect::Symlink { path, target } => {
                let content = Content::Symlink(target.clone());
                self.enter(path, State { content, mode: 0o777, mtime: None });
            }
            Effect::Mode { path, mode } => self.at(path).live.mode = *mode,
            Effect::Times { path, mtime } => self.at(path).live.mtime = Some(*mtime),
            Effect::Sync { path, data_only } => {
                let id = self.id(path);
                self.sync(id, *data_only);
            }
            Effect::SyncAll => (0..self.inodes.len()).for_each(|id| self.sync(id, false)),
            Effect::Owner { .. } | Effect::SyncRange { .. } => {}
        }
    }

    fn find(&self, path: &Path) -> Option<Id> {
        path.iter().try_fold(ROOT, |id, name| match &self.inodes[id].live.content {
            Content::Directory(names) => names.get(name).copied(),
            _ => None,
        })
    }

    #[track_caller]
    fn id(&self, path: &Path) -> Id {
        self.find(path).unwrap_or_else(|| panic!("{} was never made", path.display()))
    }

    #[track_caller]
    fn at(&mut self, path: &Path) -> &mut Inode {
        let id = self.id(path);
        &mut self.inodes[id]
    }

    /// The directory of a path, and its name there.
    #[track_caller]
    fn place(&self, path: &Path) -> (Id, OsString) {
        let dir = self.id(path.parent().unwrap());
        (dir, path.file_name().map(OsStr::to_owned).unwrap())
    }

    fn enter(&mut self, path: &Path, state: State) {
        let (dir, name) = self.place(path);
        let id = self.make(state);
        self.change(vec![(dir, name, Some(id))]);
    }

    /// Sets the length of a file, which a journal keeps, unlike its bytes.
    fn resize(&mut self, path: &Path, len: impl Fn(usize) -> usize) {
        let inode = self.at(path);
        inode.live.mtime = None;
        let bytes = bytes_of(&mut inode.live.content);
        let len = len(bytes.len());
        if len != bytes.len() {
            bytes.resize(len, 0);
            inode.journalled.resize(len, 0);
        }
    }

    fn change(&mut self, names: Vec<(Id, OsString, Option<Id>)>) {
        for (dir, name, id) in &names {
            let live = &mut self.inodes[*dir].live;
            live.mtime = None;
            set(names_of(&mut live.content), name, *id);
        }
        self.changes.push(Change(names));
    }

    fn sync(&mut self, id: Id, data_only: bool) {
        let inode = &mut self.inodes[id];
        inode.synced.content = inode.live.content.clone();
        if !data_only {
            inode.synced = inode.live.clone();
        }
        match &inode.live.content {
            Content::File(bytes) => inode.journalled.clone_from(bytes),
            Content::Directory(_) => self.settle(id),
            Content::Symlink(_) => {}
        }
    }

    /// Makes the changes in a directory durable, and the earlier changes of the same names
    /// elsewhere.
    fn settle(&mut self, dir: Id) {
        let mut due: HashSet<(Id, OsString)> = HashSet::new();
        let mut kept = Vec::new();
        let mut settled = Vec::new();
        for change in std::mem::take(&mut self.changes).into_iter().rev() {
            let place = |(dir, name, _): &(Id, OsString, Option<Id>)| (*dir, name.clone());
            if change.0.iter().any(|it| it.0 == dir || due.contains(&place(it))) {
                due.extend(change.0.iter().map(place));
                settled.push(change);
            } else {
                kept.push(change);
            }
        }
        for Change(names) in settled.into_iter().rev() {
            for (dir, name, id) in names {
                set(&mut self.inodes[dir].settled, &name, id);
            }
        }
        kept.reverse();
        self.changes = kept;
    }

    /// Asserts that the trace missed nothing: the replayed files equal the real ones.
    #[track_caller]
    pub fn assert_is(&self, sandbox: &Sandbox) {
        let replayed = Sandbox::new();
        let mut synced = self.clone();
        synced.apply(&Effect::SyncAll);
        for folder in ["cache", "out"] {
            synced.write(Survival::Strict, &[folder], &replayed.path(""));
            let (found, expected) = (replayed.path(folder), sandbox.path(folder));
            assert_eq!(found.exists(), expected.exists());
            if expected.exists() {
                assert_eq!(contents(&found), contents(&expected));
            }
        }
    }
}

/// Everything below a folder except times, which the replay sets only once.
fn contents(folder: &Path) -> Vec<(PathBuf, u32, support::Content)> {
    let all = support::tree(folder).into_iter();
    all.map(|(path, seen)| (path, seen.mode, seen.content)).collect()
}

fn bytes_of(content: &mut Content) -> &mut Vec<u8> {
    match content {
        Content::File(bytes) => bytes,
        _ => panic!("only a file has bytes"),
    }
}

fn names_of(content: &mut Content) -> &mut Names {
    match content {
        Content::Directory(names) => names,
        _ => panic!("only a directory has names"),
    }
}

pub fn set(names: &mut Names, name: &OsStr, id: Option<Id>) {
    match id {
        Some(id) => names.insert(name.to_owned(), id),
        None => names.remove(name),
    };
}
