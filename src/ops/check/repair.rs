//! Repairing a buildout: every egg that has changed or is missing is restored from the cache. An egg that the
//! cache does not have is at least freed of hard links to the outside.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::buildout::{Buildout, is_egg};
use crate::cache::{Blobs, Cache};
use crate::disk::dir::Dir;
use crate::egg::files::Identity;
use crate::error::{IoContext, Result};
use crate::remote::withdrawals::record::Withdrawals;
use crate::util::hash::digest::Digest;
use crate::util::progress::Unit;

use super::break_links::break_links;
use super::compare::Match;
use super::inspection::{Inspection, Inspector};
use super::report::{Finding, FindingKind};
use super::restore::restore;

/// The result of a repair.
#[derive(Debug, Default)]
pub struct Repaired {
    /// How many eggs were restored.
    pub eggs: usize,
    /// Why others were not, and which files were moved out of eggs.
    pub notes: Vec<Finding>,
}

/// An egg to restore.
struct Wanted {
    path: PathBuf,
    /// The identity of the egg that was examined there; `None` if it is missing.
    examined: Option<Identity>,
    /// Its match in the cache.
    matched: Match,
    /// Whether a file of it has a name outside.
    is_linked: bool,
}

/// The paths that a restored egg's own files were moved to, or why it was not restored.
type Restored = std::result::Result<Vec<PathBuf>, String>;

impl Inspector<'_> {
    /// Restores eggs that have changed, and missing ones.
    pub fn repair(&self, inspection: &Inspection) -> Result<Repaired> {
        let mut repaired = Repaired::default();
        let Some(blobs) = self.cache.map(Cache::blobs) else { return Ok(repaired) };
        let (buildout, progress) = (self.buildout, self.progress);
        let withdrawn = &self.withdrawn.known;
        let wanted = self.wanted(inspection)?;
        progress.begin("restoring", wanted.len() as u64, Unit::Eggs);
        let restored: Vec<(PathBuf, Restored)> = wanted
            .into_par_iter()
            .map(|wanted| {
                let restored = restore_egg(buildout, blobs, withdrawn, &wanted);
                progress.advance(1);
                (wanted.path, restored)
            })
            .collect();
        progress.end();
        for (path, restored) in restored {
            repaired.eggs += usize::from(restored.is_ok());
            repaired.notes.extend(self.notes(&path, restored));
        }
        Ok(repaired)
    }

    /// The eggs to restore.
    fn wanted(&self, inspection: &Inspection) -> Result<Vec<Wanted>> {
        let problems = inspection.found.problems.iter();
        let linked = problems.filter(|problem| problem.kind == FindingKind::HardLink);
        let linked: BTreeSet<&str> = linked.filter_map(|problem| problem.egg.as_deref()).collect();
        let registered = self.registered();
        let mut wanted = Vec::new();
        for (egg, examined) in &inspection.eggs {
            let is_linked = linked.contains(egg.file_name.as_str());
            if examined.has_drifted || is_linked {
                let (path, matched) = (egg.path.clone(), examined.matched.clone());
                wanted.push(Wanted { path, examined: egg.identity, matched, is_linked });
            }
        }
        for path in inspection.references.missing.keys().filter(|path| is_egg(path)) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let registered = registered.get(path).copied();
            let digests = self.cached(&name, registered)?.into_iter().map(|egg| egg.digest);
            let is_usable = |digest: &Digest| !self.withdrawn.known.has(*digest);
            let digests: Vec<Digest> = digests.filter(is_usable).collect();
            let matched = Match::of(&digests, registered);
            let path = path.clone();
            wanted.push(Wanted { path, examined: None, matched, is_linked: false });
        }
        Ok(wanted)
    }

    /// Notes about one egg that a repair has tried to restore.
    fn notes(&self, path: &Path, restored: Restored) -> Vec<Finding> {
        let boundary = &self.buildout.boundary;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let note = |kind, what: String| {
            Finding::new(kind, &boundary.short(path), what).in_egg(Some(&name))
        };
        match restored {
            Err(reason) => vec![note(FindingKind::NotRepaired, format!("not repaired: {reason}"))],
            Ok(moved) => {
                let what = |to: &PathBuf| {
                    let to = boundary.short(to);
                    format!("a file that differs from the cache moved to {}", to.display())
                };
                moved.iter().map(|to| note(FindingKind::Added, what(to))).collect()
            }
        }
    }
}

fn restore_egg(
    buildout: &Buildout,
    blobs: &Blobs,
    withdrawn: &Withdrawals,
    Wanted { path, examined, matched, is_linked }: &Wanted,
) -> Restored {
    let digest = digest_of(matched);
    if !is_linked {
        digest.as_ref().map_err(Clone::clone)?;
    }
    let folder = path.parent().unwrap_or(path);
    if !buildout.may_change(folder) {
        return Err("not in an eggs directory of the buildout".to_owned());
    }
    let name = path.file_name().unwrap_or_default();
    let restored = open_eggs_directory(folder).and_then(|folder| match digest {
        Ok(digest) if withdrawn.has(digest) => Ok(None),
        Ok(digest) => restore(blobs, digest, &folder, name, *examined).map(Some),
        Err(_) => break_links(&folder, name, *examined).map(|()| Some(Vec::new())),
    });
    let restored = restored.map_err(|error| error.to_string())?;
    restored.ok_or_else(|| "it was withdrawn".to_owned())
}

/// Opens an eggs directory of a buildout, by its canonical path.
pub(super) fn open_eggs_directory(folder: &Path) -> Result<Dir> {
    Dir::open_canonical(folder).at("open directory", folder)
}

/// The egg to restore from, or why there is none.
fn digest_of(matched: &Match) -> std::result::Result<Digest, String> {
    match matched {
        Match::None => Err("not in the cache".into()),
        Match::OtherBuild => Err("the cache has another build of it".into()),
        Match::One(digest) => Ok(*digest),
        Match::Several(digests) => {
            let digests: Vec<String> = digests.iter().map(Digest::short).collect();
            Err(format!("several eggs in the cache match: {}", digests.join(", ")))
        }
    }
}
