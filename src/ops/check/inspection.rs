//! An inspection of a whole buildout: its eggs, links and references.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::buildout::{self, Buildout, INSTALLED, SET_ASIDE, is_egg};
use crate::cache::Cache;
use crate::cache::retention::roots::{self, Root};
use crate::disk::temp::TEMP_PREFIX;
use crate::egg::cached_egg::CachedEgg;
use crate::error::Result;
use crate::util::hash::digest::Digest;
use crate::util::machine;
use crate::util::progress::{Progress, Unit};

use super::Options;
use super::bound;
use super::compare::Match;
use super::examine::{Examined, Examiner};
use super::installed_egg::InstalledEgg;
use super::libraries::{self, Surroundings};
use super::links::{self, LinkedFile};
use super::references::{self, References};
use super::report::{Finding, FindingKind, Findings, Report};
use super::withdrawn::Withdrawn;

/// What a check works on.
pub struct Inspector<'a> {
    pub cache: Option<&'a Cache>,
    pub buildout: &'a Buildout,
    pub withdrawn: &'a Withdrawn,
    pub options: &'a Options,
    pub progress: &'a dyn Progress,
}

/// The result of an inspection.
pub struct Inspection {
    pub eggs: Vec<(InstalledEgg, Examined)>,
    pub references: References,
    /// Findings about the buildout as a whole.
    pub found: Findings,
}

impl Inspector<'_> {
    pub fn inspect(&self) -> Result<Inspection> {
        let boundary = &self.buildout.boundary;
        let cache_root = self.cache.map(Cache::root);
        let paths = self.buildout.eggs()?;
        let aside = self.set_aside();
        let except = paths.iter().chain(&aside).map(PathBuf::as_path).chain(cache_root);
        let except: Vec<&Path> = except.collect();
        let list = || paths.par_iter().map(|path| InstalledEgg::new(path)).collect::<Vec<_>>();
        let find_links = || links::links(boundary, &except);
        let read_references = || references::references(self.buildout, cache_root);
        let (listed, (links, references)) =
            rayon::join(list, || rayon::join(find_links, read_references));
        let mut references = references?;
        references.eggs.extend(links.eggs);
        let eggs = self.examine(listed)?;
        let mut linked = links.linked;
        linked.extend(eggs.iter().flat_map(|(egg, _)| linked_files(egg)));
        let mut found = links.found;
        let blobs = self.cache.map(Cache::blobs);
        found.problems.extend(links::hard_links(boundary, &linked, blobs));
        found.problems.extend(references.other_pythons());
        found.problems.extend(references.missing_eggs(boundary));
        let around = Surroundings {
            buildout: self.buildout,
            interpreters: &references.interpreters,
            used: &references.eggs,
        };
        found.problems.extend(libraries::problems(&eggs, &around));
        found.problems.extend(self.failed_run());
        found.notes.extend(self.leftovers()?);
        if boundary.has_unresolved() {
            let what = "some paths take too long to resolve and count as outside";
            found.problems.push(Finding::new(FindingKind::Incomplete, Path::new(""), what));
        }
        Ok(Inspection { eggs, references, found })
    }

    /// The folders of files that repairs have moved out of eggs. Nothing uses these files.
    fn set_aside(&self) -> Vec<PathBuf> {
        let folders = self.buildout.eggs_directories.iter().map(|folder| folder.join(SET_ASIDE));
        folders.filter(|path| !path.is_symlink() && path.is_dir()).collect()
    }

    /// Examines every egg, and sorts them by path.
    fn examine(&self, listed: Vec<InstalledEgg>) -> Result<Vec<(InstalledEgg, Examined)>> {
        let full = self.options.full;
        let examiner = Examiner {
            boundary: &self.buildout.boundary,
            blobs: self.cache.map(Cache::blobs),
            full,
            progress: self.progress,
        };
        let (total, unit) = if full {
            (listed.iter().map(InstalledEgg::bytes).sum(), Unit::Bytes)
        } else {
            (listed.len() as u64, Unit::Eggs)
        };
        let registered = self.registered();
        let mut eggs: Vec<(InstalledEgg, Vec<CachedEgg>)> = Vec::with_capacity(listed.len());
        for egg in listed {
            let cached = self.cached(&egg.file_name, registered.get(&egg.path).copied())?;
            eggs.push((egg, cached));
        }
        // The largest first, so that no thread is left with it at the end.
        eggs.sort_by_key(|(egg, _)| std::cmp::Reverse(egg.bytes()));
        let examine = |(egg, cached): (InstalledEgg, Vec<CachedEgg>)| {
            let result = examiner.examine(&egg, &cached, registered.get(&egg.path).copied());
            if !full {
                self.progress.advance(1);
            }
            (egg, result)
        };
        self.progress.begin("checking", total, unit);
        let mut eggs: Vec<(InstalledEgg, Examined)> = eggs.into_par_iter().map(examine).collect();
        self.progress.end();
        eggs.sort_by(|(one, _), (other, _)| one.path.cmp(&other.path));
        Ok(eggs)
    }

    /// The problem that the last run of buildout has failed, if the cache knows it: parts are gone, or old. What came
    /// here after that run, as when a bundle is unpacked at the same path, is not of it.
    fn failed_run(&self) -> Option<Finding> {
        let root = self.buildout.boundary.root();
        let run = self.cache?.run_in(root)?.last();
        let came_later = || root.join(INSTALLED).metadata().is_ok_and(|it| it.ctime() > run.at);
        let has_failed = !run.succeeded && !came_later();
        let what = "the last run of buildout here has failed";
        has_failed.then(|| Finding::new(FindingKind::NotInstalled, Path::new(""), what))
    }

    /// The eggs that the last run of buildout has used, by path.
    pub fn registered(&self) -> HashMap<PathBuf, Digest> {
        let name = roots::name_of(self.buildout.boundary.root(), &machine::machine());
        let root = self.cache.and_then(|cache| roots::before(cache.dir(), &name));
        root.iter().flat_map(Root::digests).collect()
    }

    /// The eggs of a file name in the cache: the registered one first, then those without an environment label.
    pub fn cached(&self, file_name: &str, registered: Option<Digest>) -> Result<Vec<CachedEgg>> {
        let Some(cache) = self.cache else { return Ok(Vec::new()) };
        let mut eggs = cache.eggs_of_file_name(file_name)?;
        eggs.sort_by_cached_key(|egg| {
            (registered != Some(egg.digest), egg.key.environment.clone(), egg.digest)
        });
        Ok(eggs)
    }

    /// Notes about paths in eggs directories that are not eggs.
    fn leftovers(&self) -> Result<Vec<Finding>> {
        let mut notes = Vec::new();
        for folder in &self.buildout.eggs_directories {
            for path in buildout::entries(folder)? {
                let short = self.buildout.boundary.short(&path);
                let what = self.leftover(&path);
                notes.extend(what.map(|what| Finding::new(FindingKind::Leftover, &short, what)));
            }
        }
        Ok(notes)
    }

    /// What a path in an eggs directory is, if it has nothing to do with eggs.
    fn leftover(&self, path: &Path) -> Option<&'static str> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let holds_eggs =
            || self.buildout.eggs_directories.iter().any(|eggs| eggs.starts_with(path));
        if name == SET_ASIDE {
            Some("files that a repair has moved out of eggs")
        } else if name.starts_with(TEMP_PREFIX) {
            Some("left by an interrupted eggcache, removed by the next repair")
        } else if is_egg(path) || name.ends_with(".pth") || holds_eggs() {
            None
        } else {
            Some("not an egg")
        }
    }

    pub fn report(&self, inspection: &Inspection) -> Report {
        let boundary = &self.buildout.boundary;
        let Inspection { eggs, references, .. } = inspection;
        let short = |path: &Path| boundary.short(path).display().to_string();
        let digest = |(egg, examined): &(InstalledEgg, Examined)| {
            Some((short(&egg.path), examined.matched.digest()?))
        };
        let is_compared =
            |(_, egg): &&(_, Examined)| matches!(egg.matched, Match::One(_) | Match::Several(_));
        let Findings { problems, notes } = self.findings(inspection);
        let mut report = Report {
            buildout: boundary.root().to_owned(),
            cache: self.cache.map(|cache| cache.root().display().to_string()),
            eggs_directories: self
                .buildout
                .eggs_directories
                .iter()
                .map(|folder| short(folder))
                .collect(),
            eggs: eggs.len(),
            compared: eggs.iter().filter(is_compared).count(),
            digests: eggs.iter().filter_map(digest).collect(),
            files: eggs.iter().map(|(egg, _)| egg.files()).sum(),
            bytes: eggs.iter().map(|(egg, _)| egg.bytes()).sum(),
            scripts: references.scripts,
            importers: references.importers.clone(),
            full: self.options.full,
            bytecode: eggs.iter().map(|(_, examined)| examined.bytecode).sum(),
            problems,
            notes,
        };
        report.sort();
        report
    }

    /// The findings of all parts of an inspection.
    fn findings(&self, inspection: &Inspection) -> Findings {
        let Inspection { eggs, references, found } = inspection;
        let mut all = Findings::default();
        all.extend(found);
        all.extend(&references.found);
        let known = all.problems.iter().map(|problem| problem.path.clone()).collect();
        all.problems.extend(bound::bound_elsewhere(self.buildout, &known));
        all.problems.extend(self.withdrawn_eggs(eggs));
        for (egg, examined) in eggs {
            all.extend(&examined.found);
            if !references.uses(&egg.file_name) {
                let short = self.buildout.boundary.short(&egg.path);
                let note = Finding::new(FindingKind::Unused, &short, "not used by any script");
                all.notes.push(note.in_egg(Some(&egg.file_name)));
            }
        }
        let objects: usize = eggs.iter().map(|(_, examined)| examined.relative_run_paths).sum();
        if objects > 0 {
            let what = format!("shared objects with a run path relative to themselves: {objects}");
            all.notes.push(Finding::new(FindingKind::RunPath, Path::new(""), what));
        }
        all
    }
}

/// The files of an egg that have several names.
fn linked_files(egg: &InstalledEgg) -> impl Iterator<Item = LinkedFile> {
    egg.linked.iter().map(|(path, identity, links)| LinkedFile {
        egg: Some(egg.file_name.clone()),
        path: egg.path.join(path.as_str()),
        identity: *identity,
        links: *links,
    })
}
