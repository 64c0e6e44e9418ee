//! Check: whether a buildout is self-contained, and whether its eggs are what they were.
//!
//! Everything is told from files: nothing of the buildout is run. What is a problem and what a note
//! is in docs/check.md.

mod examine;
mod file_content;
mod installed_egg;
mod links;
mod references;
mod report;
mod restore;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::buildout::{Buildout, SET_ASIDE, is_egg};
use crate::cache::Cache;
use crate::disk::temp::{self, TEMP_PREFIX};
use crate::egg::cached_egg::CachedEgg;
use crate::egg::name::EggName;
use crate::error::Result;
use crate::util::hash::digest::Digest;
use crate::util::progress::{Progress, Unit};

use examine::{Examined, Examiner, Match};
use installed_egg::InstalledEgg;
use links::LinkedFile;
use references::Named;
use report::Findings;
pub use report::{Finding, FindingKind, Report};

#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The eggs directory, if it cannot be told from the buildout.
    pub eggs: Option<PathBuf>,
    /// Compare every byte, not only sizes and times.
    pub full: bool,
    /// Restore from the cache what has drifted.
    pub repair: bool,
}

/// Checks the buildout in the folder `root`. Never stops at a problem. Without a cache nothing is
/// compared or repaired.
///
/// # Errors
/// [`crate::error::Error::Usage`] if there is no buildout, or if the index cannot be read.
pub fn check(
    cache: Option<&Cache>,
    root: &Path,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Report> {
    let buildout = Buildout::open(root, options.eggs.as_deref())?;
    if let Some(cache) = cache.filter(|_| options.repair) {
        for folder in buildout.eggs_directories.iter().filter(|it| buildout.may_change(it)) {
            temp::sweep(folder)?;
            cache.begin_copies(folder)?;
        }
    }
    let check = Check { cache, buildout: &buildout, options, progress };
    let mut state = check.look()?;
    let mut report = check.report(&state);
    if options.repair {
        let repairs = check.repair(&state)?;
        let done: BTreeSet<&PathBuf> = repairs.done.keys().collect();
        if !done.is_empty() {
            state = check.look()?;
            let now = check.report(&state);
            report = merged(report, now);
        }
        report.notes.extend(repairs.notes);
        sort(&mut report);
    }
    Ok(report)
}

/// What was found before a repair, with what is no longer found after it marked as repaired.
fn merged(before: Report, after: Report) -> Report {
    let restored = |finding: Finding| Finding { repair: Some("restored".into()), ..finding };
    let gone = before.problems.into_iter().filter(|problem| !after.problems.contains(problem));
    let problems = gone.map(restored).chain(after.problems.iter().cloned()).collect();
    Report { problems, ..after }
}

fn sort(report: &mut Report) {
    for findings in [&mut report.problems, &mut report.notes] {
        findings.sort_by(|a, b| {
            (&a.egg, a.kind, &a.path, &a.what).cmp(&(&b.egg, b.kind, &b.path, &b.what))
        });
    }
}

struct Check<'a> {
    cache: Option<&'a Cache>,
    buildout: &'a Buildout,
    options: &'a Options,
    progress: &'a dyn Progress,
}

/// Everything that was looked at.
struct Looked {
    eggs: Vec<(InstalledEgg, Examined)>,
    named: Named,
    /// What concerns no egg alone.
    found: Findings,
}

/// What was repaired, and why not more.
struct Repairs {
    done: BTreeMap<PathBuf, Vec<PathBuf>>,
    notes: Vec<Finding>,
}

impl Check<'_> {
    fn look(&self) -> Result<Looked> {
        let (buildout, place) = (self.buildout, &self.buildout.boundary);
        let paths = buildout.eggs()?;
        let blobs = self.cache.map(Cache::blobs);
        let cache_root = self.cache.map(Cache::root);
        let except: Vec<&Path> = paths.iter().map(PathBuf::as_path).chain(cache_root).collect();
        let list = || paths.par_iter().map(|path| InstalledEgg::new(path)).collect::<Vec<_>>();
        let others = || {
            rayon::join(|| links::rest(place, &except), || references::named(buildout, cache_root))
        };
        let (listed, (rest, named)) = rayon::join(list, others);
        let mut named = named?;
        named.eggs.extend(rest.eggs);
        let known: Vec<Vec<CachedEgg>> =
            listed.iter().map(|egg| self.known(&egg.file_name)).collect::<Result<_>>()?;
        let bytes = listed.iter().map(InstalledEgg::bytes).sum();
        let (total, unit) = if self.options.full {
            (bytes, Unit::Bytes)
        } else {
            (listed.len() as u64, Unit::Eggs)
        };
        self.progress.begin("checking", total, unit);
        let examiner = Examiner { place, blobs, full: self.options.full, progress: self.progress };
        // The largest first, so that no thread is left with it at the end.
        let mut order: Vec<(InstalledEgg, Vec<CachedEgg>)> =
            listed.into_iter().zip(known).collect();
        order.sort_by_key(|(egg, _)| std::cmp::Reverse(egg.bytes()));
        let mut eggs: Vec<(InstalledEgg, Examined)> = order
            .into_par_iter()
            .map(|(egg, known)| {
                let found = examiner.examine(&egg, &known);
                if !self.options.full {
                    self.progress.advance(1);
                }
                (egg, found)
            })
            .collect();
        eggs.sort_by(|(one, _), (other, _)| one.path.cmp(&other.path));
        self.progress.end();
        let mut found = rest.found;
        let mut linked = rest.linked;
        for (egg, _) in &eggs {
            linked.extend(egg.linked.iter().map(|(path, identity, links)| LinkedFile {
                egg: Some(egg.file_name.clone()),
                path: egg.path.join(path.as_str()),
                identity: *identity,
                links: *links,
            }));
        }
        found.problems.extend(links::hard_links(place, &linked, blobs));
        Self::other_pythons(&named, &mut found);
        self.missing(&named, &mut found);
        self.leftovers(&mut found)?;
        Ok(Looked { eggs, named, found })
    }

    /// The eggs of a name in the cache.
    fn known(&self, file_name: &str) -> Result<Vec<CachedEgg>> {
        self.cache.map_or(Ok(Vec::new()), |cache| cache.eggs_of_file_name(file_name))
    }

    /// Eggs that a script imports whose Python is not theirs.
    fn other_pythons(named: &Named, found: &mut Findings) {
        for (egg, pythons) in &named.pythons {
            let Ok(EggName { python, .. }) = egg.parse() else { continue };
            for (used, script) in
                pythons.iter().filter(|(used, _)| !python.is_empty() && **used != python)
            {
                let what = format!("imports it with Python {used}, and it is for {python}");
                found
                    .problems
                    .push(Finding::new(FindingKind::OtherPython, script, what).of_egg(egg));
            }
        }
    }

    /// What scripts import and is not there.
    fn missing(&self, named: &Named, found: &mut Findings) {
        for (path, script) in &named.missing {
            let what = format!("is not there, and {} imports it", script.display());
            let finding =
                Finding::new(FindingKind::MissingEgg, &self.buildout.boundary.short(path), what);
            found.problems.push(match path.file_name().filter(|_| is_egg(path)) {
                Some(name) => finding.of_egg(&name.to_string_lossy()),
                None => finding,
            });
        }
    }

    /// What stands among the eggs and is none.
    fn leftovers(&self, found: &mut Findings) -> Result<()> {
        for folder in &self.buildout.eggs_directories {
            for path in crate::buildout::entries(folder)? {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let short = self.buildout.boundary.short(&path);
                let holds_eggs =
                    || self.buildout.eggs_directories.iter().any(|it| it.starts_with(&path));
                let what = if name == SET_ASIDE {
                    "holds what a repair has found in eggs and is not of them"
                } else if name.starts_with(TEMP_PREFIX) {
                    "is what eggcache has left when it was killed; --repair removes it"
                } else if is_egg(&path) || name.ends_with(".pth") || holds_eggs() {
                    continue;
                } else {
                    "is among the eggs and is none"
                };
                found.notes.push(Finding::new(FindingKind::Leftover, &short, what));
            }
        }
        Ok(())
    }

    fn report(&self, looked: &Looked) -> Report {
        let place = &self.buildout.boundary;
        let Looked { eggs, named, found } = looked;
        let examined = || eggs.iter().map(|(_, examined)| examined);
        let mut problems = found.problems.clone();
        let mut notes = found.notes.clone();
        problems.extend(named.found.problems.iter().cloned());
        notes.extend(named.found.notes.iter().cloned());
        for it in examined() {
            problems.extend(it.found.problems.iter().cloned());
            notes.extend(it.found.notes.iter().cloned());
        }
        for (egg, _) in eggs.iter().filter(|(egg, _)| !named.eggs.contains(&egg.file_name)) {
            let finding =
                Finding::new(FindingKind::Unused, &place.short(&egg.path), "is used by no script");
            notes.push(finding.of_egg(&egg.file_name));
        }
        let objects: usize = examined().map(|it| it.relative_run_paths).sum();
        if objects > 0 {
            let what = format!("shared objects look for libraries next to themselves: {objects}");
            notes.push(Finding::new(FindingKind::RunPath, Path::new(""), what));
        }
        let is_compared = |it: &&Examined| matches!(it.matched, Match::One(_) | Match::Several(_));
        let digest = |(egg, examined): &(InstalledEgg, Examined)| match examined.matched {
            Match::One(digest) => Some((place.short(&egg.path).display().to_string(), digest)),
            _ => None,
        };
        let mut report = Report {
            buildout: place.root().to_owned(),
            cache: self.cache.map(|cache| cache.root().display().to_string()),
            eggs_directories: self
                .buildout
                .eggs_directories
                .iter()
                .map(|folder| place.short(folder).display().to_string())
                .collect(),
            eggs: eggs.len(),
            compared: examined().filter(is_compared).count(),
            digests: eggs.iter().filter_map(digest).collect(),
            files: eggs.iter().map(|(egg, _)| egg.files()).sum(),
            bytes: eggs.iter().map(|(egg, _)| egg.bytes()).sum(),
            scripts: named.scripts,
            full: self.options.full,
            bytecode: examined().map(|it| it.bytecode).sum(),
            problems,
            notes,
        };
        sort(&mut report);
        report
    }

    /// Restores what has drifted, and eggs that are missing.
    fn repair(&self, looked: &Looked) -> Result<Repairs> {
        let mut repairs = Repairs { done: BTreeMap::new(), notes: Vec::new() };
        let Some(blobs) = self.cache.map(Cache::blobs) else { return Ok(repairs) };
        let (buildout, place) = (self.buildout, &self.buildout.boundary);
        let linked = looked.found.problems.iter().filter(|it| it.kind == FindingKind::HardLink);
        let linked: BTreeSet<&str> = linked.filter_map(|it| it.egg.as_deref()).collect();
        let mut wanted: Vec<(PathBuf, std::result::Result<Digest, String>)> = Vec::new();
        for (egg, examined) in &looked.eggs {
            if examined.has_drifted || linked.contains(egg.file_name.as_str()) {
                wanted.push((egg.path.clone(), choice(&examined.matched)));
            }
        }
        for path in looked.named.missing.keys().filter(|path| is_egg(path)) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let digests: Vec<Digest> = self.known(&name)?.iter().map(|egg| egg.digest).collect();
            let matched = match digests[..] {
                [] => Match::None,
                [digest] => Match::One(digest),
                _ => Match::Several(digests),
            };
            wanted.push((path.clone(), choice(&matched)));
        }
        self.progress.begin("restoring", wanted.len() as u64, Unit::Eggs);
        let restored: Vec<(PathBuf, std::result::Result<Vec<PathBuf>, String>)> = wanted
            .into_par_iter()
            .map(|(path, choice)| {
                let restored = choice.and_then(|digest| {
                    let folder = path.parent().unwrap_or(&path);
                    if !buildout.may_change(folder) {
                        return Err("it is not in the eggs directory of the buildout".to_owned());
                    }
                    restore::restore(blobs, digest, &path).map_err(|it| it.to_string())
                });
                self.progress.advance(1);
                (path, restored)
            })
            .collect();
        self.progress.end();
        for (path, restored) in restored {
            let short = place.short(&path);
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let note = |kind, what: String| Finding::new(kind, &short, what).of_egg(&name);
            match restored {
                Err(reason) => {
                    repairs
                        .notes
                        .push(note(FindingKind::Left, format!("is left as it is: {reason}")));
                }
                Ok(aside) => {
                    repairs.notes.extend(aside.iter().map(|to| {
                        let to = place.short(to);
                        note(
                            FindingKind::Added,
                            format!("held what is not of it, which is now {}", to.display()),
                        )
                    }));
                    repairs.done.insert(path, aside);
                }
            }
        }
        Ok(repairs)
    }
}

/// The egg of the cache that another is restored from, or why there is none.
fn choice(matched: &Match) -> std::result::Result<Digest, String> {
    match matched {
        Match::None => Err("the cache does not have it".into()),
        Match::OtherBuild => Err("the cache has another build of it".into()),
        Match::One(digest) => Ok(*digest),
        Match::Several(digests) => {
            let digests: Vec<String> = digests.iter().map(Digest::short).collect();
            Err(format!("several eggs in the cache may be it: {}", digests.join(", ")))
        }
    }
}
