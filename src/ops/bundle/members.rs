//! The members of a bundle, each with its mtime in the archive.
//!
//! Bytecode is valid for the mtime and the size of its source. So files of eggs, and sources of bytecode
//! in the archive, keep their mtimes; if the cache has an egg, these are the mtimes in the cache, which
//! every copy of the egg has. All other members get one mtime.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use serde::Serialize;

use crate::disk::dir::{Dir, Stat};
use crate::egg::bytecode;
use crate::egg::manifest::Mtime;
use crate::error::{Error, IoContext, Result};

use super::CachedContents;
use super::select::{Rules, Why};

/// The mtime of files outside eggs if none is given and there are no eggs: 1980-01-01, the oldest that
/// zip files can store.
pub const OLDEST: u64 = 315_532_800;

/// Which mtime members get that no bytecode depends on.
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

/// A path that is left out: the topmost folder or file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    pub path: String,
    pub why: Why,
}

/// The content of a buildout, sorted by path.
#[derive(Debug)]
pub struct Members {
    pub taken: Vec<Member>,
    pub left_out: Vec<LeftOut>,
    /// The one mtime of all members outside eggs, if they share one.
    pub mtime: Option<u64>,
}

/// A path in a buildout.
struct Found {
    kind: MemberKind,
    mtime: Mtime,
}

/// The paths that were found, sorted.
type FoundByPath = BTreeMap<String, Found>;

/// Lists everything below `root`. `cached` are the eggs that the cache has.
///
/// # Errors
/// [`Error::Unbundleable`] for a name that is not UTF-8.
pub fn members(
    root: &Dir,
    rules: &Rules,
    cached: &CachedContents,
    mtimes: Mtimes,
) -> Result<Members> {
    let (found, mut left_out) = walk(root, rules)?;
    let times = MemberTimes::new(&found, rules, cached, mtimes);
    let stale = stale_bytecode(root, &found, &times)?;
    let fresh = found.iter().filter(|(path, _)| !stale.contains(*path));
    let taken = fresh.map(|(path, found)| Member {
        path: path.clone(),
        kind: found.kind.clone(),
        mtime: times.of(path, found),
    });
    let members = taken.collect();
    let shared = times.shared;
    left_out.extend(stale.into_iter().map(|path| LeftOut { path, why: Why::StaleBytecode }));
    left_out.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Members { taken: members, left_out, mtime: shared })
}

/// The mtimes that members get.
struct MemberTimes<'a> {
    /// Those that a member keeps, by path.
    kept: BTreeMap<&'a str, u64>,
    /// That of all others, if they share one.
    shared: Option<u64>,
}

impl<'a> MemberTimes<'a> {
    fn new(found: &'a FoundByPath, rules: &Rules, cached: &CachedContents, mtimes: Mtimes) -> Self {
        let sources: BTreeSet<String> =
            found.keys().filter_map(|path| bytecode::source_of(path)).collect();
        let mut kept = BTreeMap::new();
        for (path, found) in found {
            let egg = rules.egg_of(path);
            let in_cache = egg.and_then(|(egg, within)| cached.get(egg)?.mtimes.get(within));
            let is_file = matches!(found.kind, MemberKind::File { .. });
            let own =
                (is_file && (sources.contains(path) || egg.is_some())).then_some(&found.mtime);
            if let Some(mtime) = in_cache.or(own) {
                kept.insert(path.as_str(), seconds(*mtime));
            }
        }
        let shared = match mtimes {
            Mtimes::Newest => Some(kept.values().copied().max().unwrap_or(OLDEST)),
            Mtimes::Given(mtime) => Some(mtime),
            Mtimes::Source => None,
        };
        Self { kept, shared }
    }

    fn of(&self, path: &str, found: &Found) -> u64 {
        self.kept.get(path).copied().or(self.shared).unwrap_or_else(|| seconds(found.mtime))
    }
}

/// The compiled files that Python would not use in the archive.
fn stale_bytecode(
    root: &Dir,
    found: &FoundByPath,
    times: &MemberTimes<'_>,
) -> Result<BTreeSet<String>> {
    let stamp = |source: &str| {
        let found = found.get(source)?;
        let MemberKind::File { size, .. } = found.kind else { return None };
        Some((Mtime(i64::try_from(times.of(source, found)).ok()?, 0), size))
    };
    let mut stale = BTreeSet::new();
    for (path, found) in found {
        if matches!(found.kind, MemberKind::File { .. })
            && let Some(source) = bytecode::source_of(path)
            && is_stale(root, path, stamp(&source))?
        {
            stale.insert(path.clone());
        }
    }
    Ok(stale)
}

/// The paths to archive, and those that are left out.
fn walk(root: &Dir, rules: &Rules) -> Result<(FoundByPath, Vec<LeftOut>)> {
    let mut found = BTreeMap::new();
    let mut folders = BTreeMap::new();
    let mut left_out: Vec<LeftOut> = Vec::new();
    root.walk(|path, stat| {
        let Some(path) = path.to_str().map(str::to_owned) else {
            let reason = "its name is not UTF-8";
            return Err(Error::Unbundleable { path: root.join(path), reason });
        };
        let (seconds, nanos) = stat.modified_exactly();
        let mtime = Mtime(seconds, nanos);
        let kind = kind_of(root, &path, stat)?;
        let why = rules.why_not(&path).or(kind.is_none().then_some(Why::Special));
        match (why, kind) {
            (None, Some(kind)) => {
                take_parents(&path, &mut folders, &mut found);
                found.insert(path, Found { kind, mtime });
                Ok(true)
            }
            (Some(why), kind) => {
                let is_final = rules.is_final(why);
                if stat.is_dir()
                    && !is_final
                    && let Some(kind) = kind
                {
                    folders.insert(path.clone(), Found { kind, mtime });
                }
                left_out.push(LeftOut { path, why });
                Ok(!is_final)
            }
            (None, None) => Ok(true),
        }
    })?;
    left_out.retain(|left_out| !found.contains_key(&left_out.path));
    // A folder comes before its content.
    left_out.dedup_by(|next, before| Path::new(&next.path).starts_with(&before.path));
    Ok((found, left_out))
}

/// Includes the folders above a path that would be left out by themselves.
fn take_parents(path: &str, folders: &mut FoundByPath, found: &mut FoundByPath) {
    if folders.is_empty() {
        return;
    }
    for (end, _) in path.match_indices('/') {
        found.extend(folders.remove_entry(&path[..end]));
    }
}

fn kind_of(root: &Dir, path: &str, found: Stat) -> Result<Option<MemberKind>> {
    Ok(if found.is_dir() {
        Some(MemberKind::Directory)
    } else if found.is_symlink() {
        let target = root.read_link(path).at("read", &root.join(path))?;
        let Ok(target) = target.into_string() else {
            let reason = "its target is not UTF-8";
            return Err(Error::Unbundleable { path: root.join(path), reason });
        };
        Some(MemberKind::Symlink { target })
    } else {
        let executable = found.mode() & 0o111 != 0;
        found.is_file().then_some(MemberKind::File { size: found.len(), executable })
    })
}

/// Whether Python would not use a compiled file. `source` has its mtime in the archive.
fn is_stale(root: &Dir, path: &str, source: Option<(Mtime, u64)>) -> Result<bool> {
    let mut head = Vec::new();
    root.read_file(path)
        .and_then(|opened| opened.take(bytecode::HEADER as u64).read_to_end(&mut head))
        .at("read", &root.join(path))?;
    Ok(matches!(bytecode::state(path, &head, source), bytecode::BytecodeState::Stale(_)))
}

/// Whole seconds, rounded as Python rounds them; zero for a time before the epoch.
fn seconds(mtime: Mtime) -> u64 {
    u64::try_from(bytecode::whole_seconds(mtime)).unwrap_or_default()
}
