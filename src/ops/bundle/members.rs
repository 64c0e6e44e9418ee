//! The members of a bundle: what goes in of what is there, each with the mtime that it gets.
//!
//! Bytecode is valid for the mtime and the size of its source. So the sources of bytecode that goes in
//! keep their mtimes; those of an egg that the cache has are the cache's, which every copy of it has.
//! Nothing else depends on mtimes, and what is not of an egg gets one mtime for all.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::Metadata;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Serialize;
use walkdir::{DirEntry, WalkDir};

use crate::disk::nofollow;
use crate::egg::bytecode;
use crate::egg::manifest::Mtime;
use crate::error::{Error, IoContext, Result};

use super::select::{Rules, Why};

/// The mtime of what is no egg, where none is given and no egg has any: 1980-01-01, before which zip
/// files cannot go.
pub const OLDEST: u64 = 315_532_800;

/// Which mtime everything gets that bytecode does not depend on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mtimes {
    /// That of the newest file in the eggs.
    #[default]
    Newest,
    /// In seconds since the Unix epoch.
    Given(u64),
    /// Each its own.
    Source,
}

/// One member, not yet read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Relative to the buildout.
    pub path: String,
    pub kind: MemberKind,
    pub mtime: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberKind {
    Directory,
    File { size: u64, executable: bool },
    Symlink { target: String },
}

/// What is left out: the topmost folder or file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    pub path: String,
    pub why: Why,
}

/// Everything that was found, sorted by path.
#[derive(Debug)]
pub struct Members {
    pub taken: Vec<Member>,
    pub left_out: Vec<LeftOut>,
    /// The mtime that is given, if it is one for all.
    pub mtime: Option<u64>,
}

/// What stands in a buildout and may go in.
struct Found {
    kind: MemberKind,
    mtime: Mtime,
}

/// Looks at everything below `root`. `times` are the mtimes of eggs that the cache has, by the path of
/// an egg and the path in it.
///
/// # Errors
/// [`Error::Unbundleable`] for a name that is not UTF-8, or what the file system says.
pub fn members(
    root: &Path,
    rules: &Rules,
    times: &HashMap<String, HashMap<String, Mtime>>,
    mtimes: Mtimes,
) -> Result<Members> {
    let (found, mut left_out) = walk(root, rules)?;
    let of_cache = |path: &str| {
        let (egg, within) = rules.egg_of(path)?;
        times.get(egg)?.get(within).copied()
    };
    let is_compiled_from: BTreeSet<String> =
        found.keys().filter_map(|path| bytecode::source_of(path)).collect();
    // Those of eggs and of sources; the rest has none of its own.
    let own: BTreeMap<&String, u64> = found
        .iter()
        .filter_map(|(path, it)| {
            let is_file = matches!(it.kind, MemberKind::File { .. });
            let is_kept =
                is_file && (is_compiled_from.contains(path) || rules.egg_of(path).is_some());
            let mtime = of_cache(path).or_else(|| is_kept.then_some(it.mtime))?;
            Some((path, seconds(mtime)))
        })
        .collect();
    let mtime = match mtimes {
        Mtimes::Newest => Some(own.values().copied().max().unwrap_or(OLDEST)),
        Mtimes::Given(mtime) => Some(mtime),
        Mtimes::Source => None,
    };
    let mtime_of = |path: &String, it: &Found| {
        own.get(path).copied().or(mtime).unwrap_or_else(|| seconds(it.mtime))
    };
    let stale: Vec<String> = found
        .iter()
        .filter(|(_, it)| matches!(it.kind, MemberKind::File { .. }))
        .filter_map(|(path, _)| {
            let source = bytecode::source_of(path)?;
            let source = found.get(&source).and_then(|it| match it.kind {
                MemberKind::File { size, .. } => {
                    Some((Mtime(i64::try_from(mtime_of(&source, it)).ok()?, 0), size))
                }
                _ => None,
            });
            is_stale(root, path, source).map(|is| is.then(|| path.clone())).transpose()
        })
        .collect::<Result<_>>()?;
    let mut members: Vec<Member> = found
        .iter()
        .map(|(path, it)| Member {
            path: path.clone(),
            kind: it.kind.clone(),
            mtime: mtime_of(path, it),
        })
        .collect();
    if !stale.is_empty() {
        let stale: BTreeSet<String> = stale.into_iter().collect();
        members.retain(|member| !stale.contains(&member.path));
        left_out.extend(stale.into_iter().map(|path| LeftOut { path, why: Why::StaleBytecode }));
    }
    left_out.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Members { taken: members, left_out, mtime })
}

/// What goes in, by path, and what is left out.
fn walk(root: &Path, rules: &Rules) -> Result<(BTreeMap<String, Found>, Vec<LeftOut>)> {
    let mut found = BTreeMap::new();
    let mut folders = BTreeMap::new();
    let mut left_out: Vec<LeftOut> = Vec::new();
    let mut walk = WalkDir::new(root).min_depth(1).sort_by_file_name().into_iter();
    while let Some(entry) = walk.next() {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(root).to_owned();
            Error::Io { action: "read", path, source: error.into() }
        })?;
        let is_folder = entry.file_type().is_dir();
        let path = entry.path().strip_prefix(root).ok().and_then(Path::to_str);
        let Some(path) = path.map(str::to_owned) else {
            let reason = "its name is not UTF-8";
            return Err(Error::Unbundleable { path: entry.into_path(), reason });
        };
        let metadata = entry.metadata().map_err(std::io::Error::from).at("read", entry.path())?;
        let kind = kind_of(&entry, &metadata)?;
        let why = rules.why_not(&path).or(kind.is_none().then_some(Why::Special));
        match (why, kind) {
            (None, Some(kind)) => {
                add_folders(&path, &mut folders, &mut found);
                found.insert(path, Found { kind, mtime: Mtime::of(&metadata) });
            }
            (Some(why), kind) => {
                if is_folder && rules.is_final(why) {
                    walk.skip_current_dir();
                } else if is_folder && let Some(kind) = kind {
                    folders.insert(path.clone(), Found { kind, mtime: Mtime::of(&metadata) });
                }
                left_out.push(LeftOut { path, why });
            }
            (None, None) => {}
        }
    }
    left_out.retain(|it| !found.contains_key(&it.path));
    // A folder comes before what is in it.
    left_out.dedup_by(|it, before| Path::new(&it.path).starts_with(&before.path));
    Ok((found, left_out))
}

/// Takes the folders in that a path is in, where they would not go in by themselves.
fn add_folders(
    path: &str,
    folders: &mut BTreeMap<String, Found>,
    found: &mut BTreeMap<String, Found>,
) {
    if folders.is_empty() {
        return;
    }
    for (at, _) in path.match_indices('/') {
        if let Some((folder, it)) = folders.remove_entry(&path[..at]) {
            found.insert(folder, it);
        }
    }
}

fn kind_of(entry: &DirEntry, metadata: &Metadata) -> Result<Option<MemberKind>> {
    let kind = entry.file_type();
    Ok(if kind.is_dir() {
        Some(MemberKind::Directory)
    } else if kind.is_symlink() {
        let target = std::fs::read_link(entry.path()).at("read", entry.path())?;
        let Ok(target) = target.into_os_string().into_string() else {
            let reason = "its target is not UTF-8";
            return Err(Error::Unbundleable { path: entry.path().to_owned(), reason });
        };
        Some(MemberKind::Symlink { target })
    } else {
        let executable = metadata.mode() & 0o111 != 0;
        kind.is_file().then_some(MemberKind::File { size: metadata.len(), executable })
    })
}

/// Whether Python would not use a compiled file. `source` has the mtime that it gets.
fn is_stale(root: &Path, path: &str, source: Option<(Mtime, u64)>) -> Result<bool> {
    let mut head = Vec::new();
    nofollow::open_below(root, path)
        .and_then(|opened| opened.take(bytecode::HEADER as u64).read_to_end(&mut head))
        .at("read", &root.join(path))?;
    Ok(matches!(bytecode::state(path, &head, source), bytecode::BytecodeState::Stale(_)))
}

/// As an archive has it, and as Python counts. What is older than the epoch is as old.
fn seconds(mtime: Mtime) -> u64 {
    u64::try_from(bytecode::whole_seconds(mtime)).unwrap_or_default()
}
