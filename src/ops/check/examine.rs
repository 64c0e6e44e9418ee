//! Examining one egg of a buildout: which egg of the cache it is, and how it differs from that one.

use std::collections::HashMap;
use std::path::Path;

use rayon::prelude::*;

use crate::cache::Blobs;
use crate::disk::boundary::Boundary;
use crate::egg::bytecode::{self, BytecodeState};
use crate::egg::cached_egg::CachedEgg;
use crate::egg::diff::DifferenceKind;
use crate::egg::manifest::{Entry, EntryKind, Mtime};
use crate::egg::scan;
use crate::util::hash::digest::Digest;
use crate::util::progress::Progress;

use super::compare::{Candidates, Closest, Comparison, Match};
use super::file_content::{Content, incomplete, is_file, other_python};
use super::installed_egg::InstalledEgg;
use super::libraries::Needs;
use super::links;
use super::report::{Finding, FindingKind, Findings};
use super::verdict::{FileFacts, FileVerdict, judge};

#[derive(Debug)]
pub struct Examined {
    pub found: Findings,
    pub matched: Match,
    /// As [`super::Report::bytecode`].
    pub bytecode: usize,
    /// Shared objects that look for libraries relative to their own folder.
    pub relative_run_paths: usize,
    /// The libraries that shared objects with run paths need.
    pub needs: Vec<Needs>,
    /// Whether the egg has changed in any way.
    pub has_drifted: bool,
}

/// The inputs of an examination.
pub struct Examiner<'a> {
    pub boundary: &'a Boundary,
    pub blobs: Option<&'a Blobs>,
    pub full: bool,
    pub progress: &'a dyn Progress,
}

impl Examiner<'_> {
    /// Compares an egg with those of its name in the cache, and looks at its files.
    #[must_use]
    pub fn examine(
        &self,
        egg: &InstalledEgg,
        cached: &[CachedEgg],
        registered: Option<Digest>,
    ) -> Examined {
        let mut examined = Examined {
            found: Findings::default(),
            matched: Match::None,
            bytecode: 0,
            relative_run_paths: 0,
            needs: Vec::new(),
            has_drifted: false,
        };
        if let Some(reason) = &egg.unsound {
            let problem = self.finding(egg, FindingKind::Incomplete, reason);
            examined.found.problems.push(problem);
            examined.has_drifted = true;
        }
        let candidates = Candidates::open(self.blobs, cached, registered);
        let Some(root) = egg.entries.first() else {
            examined.matched = candidates.uncompared_match();
            return examined;
        };
        let is_link = matches!(root.kind, EntryKind::Symlink { .. });
        let closest = if is_link { None } else { candidates.closest(&egg.entries) };
        examined.matched = match &closest {
            None => candidates.uncompared_match(),
            Some(closest) => candidates.matched(closest),
        };
        if is_link {
            self.add_symlinked_egg(egg, &mut examined);
        } else if closest.is_none() {
            self.add_uncompared_egg(egg, candidates.unreadable.as_deref(), &mut examined);
        }
        self.examine_files(egg, closest.as_ref(), &mut examined);
        examined.found.problems.extend(other_python(egg, &self.boundary.short(&egg.path)));
        self.add_symlinks(egg, &mut examined);
        examined
    }

    /// A finding about the egg as a whole.
    fn finding(&self, egg: &InstalledEgg, kind: FindingKind, what: &str) -> Finding {
        let short = self.boundary.short(&egg.path);
        Finding::new(kind, &short, what).in_egg(Some(&egg.file_name))
    }

    fn add_symlinked_egg(&self, egg: &InstalledEgg, examined: &mut Examined) {
        examined.has_drifted = true;
        // One that points outside is a finding as every symlink is.
        if self.boundary.holds(&egg.path) {
            let problem = self.finding(egg, FindingKind::Changed, "a symlink in place of an egg");
            examined.found.problems.push(problem);
        }
    }

    fn add_uncompared_egg(
        &self,
        egg: &InstalledEgg,
        unreadable: Option<&str>,
        examined: &mut Examined,
    ) {
        let reason = unreadable.unwrap_or("not in the cache, not compared");
        examined.found.notes.push(self.finding(egg, FindingKind::NotInCache, reason));
        let incomplete = incomplete(egg);
        let problem = incomplete.map(|what| self.finding(egg, FindingKind::Incomplete, &what));
        examined.found.problems.extend(problem);
    }

    fn add_symlinks(&self, egg: &InstalledEgg, examined: &mut Examined) {
        for entry in &egg.entries {
            if let EntryKind::Symlink { target } = &entry.kind {
                let link = scan::path_of(&egg.path, entry);
                let name = Some(egg.file_name.as_str());
                let (boundary, target) = (self.boundary, Path::new(target));
                links::add_symlink(boundary, &link, target, name, &mut examined.found);
            }
        }
    }

    fn examine_files(
        &self,
        egg: &InstalledEgg,
        closest: Option<&Closest<'_>>,
        examined: &mut Examined,
    ) {
        let comparison = Comparison::new(closest);
        let contents = self.read(egg, &comparison);
        let files = || egg.entries.iter().zip(&contents);
        let is_other_build = comparison.is_other_build(files());
        if is_other_build {
            let what = "another build than the one in the cache, not compared";
            examined.found.notes.push(self.finding(egg, FindingKind::OtherBuild, what));
            examined.matched = Match::OtherBuild;
        }
        let sources = file_stamps(egg);
        for (entry, content) in files() {
            let path = entry.path.as_str();
            if let Some(error) = &content.error {
                let verdict = FileVerdict::Problem(FindingKind::Incomplete, error);
                self.add_verdict(egg, path, verdict, examined);
                continue;
            }
            let facts = facts(entry, content, &comparison, is_other_build, &sources);
            self.add_verdict(egg, path, judge(facts), examined);
            self.add_references(egg, entry, content, examined);
        }
        let differences = closest.into_iter().flat_map(|closest| &closest.differences);
        for difference in
            differences.filter(|difference| difference.kind == DifferenceKind::Missing)
        {
            // Another build may lack generated files, but no sources.
            let path = difference.path.as_str();
            if !is_other_build || path.ends_with(".py") {
                let verdict = FileVerdict::Problem(FindingKind::Missing, "missing");
                self.add_verdict(egg, path, verdict, examined);
            }
        }
    }

    /// Reads the files of an egg as far as needed.
    fn read(&self, egg: &InstalledEgg, comparison: &Comparison<'_>) -> Vec<Content> {
        let files = egg.open().map_err(|error| error.to_string());
        let read = |entry: &Entry| {
            let hash = comparison.needs_content(entry.path.as_str(), self.full);
            let content = match &files {
                Ok(files) => Content::read(files, entry, hash),
                Err(error) => Content { error: Some(error.clone()), ..Content::default() },
            };
            if let EntryKind::File { size, .. } = entry.kind
                && self.full
            {
                self.progress.advance(size);
            }
            content
        };
        egg.entries.par_iter().map(read).collect()
    }

    fn add_verdict(
        &self,
        egg: &InstalledEgg,
        path: &str,
        verdict: FileVerdict<'_>,
        examined: &mut Examined,
    ) {
        let (list, kind, what) = match verdict {
            FileVerdict::Unchanged => return,
            FileVerdict::NewBytecode => {
                examined.bytecode += 1;
                return;
            }
            FileVerdict::Problem(kind, what) => (&mut examined.found.problems, kind, what),
            FileVerdict::Note(kind, what) => (&mut examined.found.notes, kind, what),
        };
        let path = if path.is_empty() { egg.path.clone() } else { egg.path.join(path) };
        let finding = Finding::new(kind, &self.boundary.short(&path), what);
        list.push(finding.in_egg(Some(&egg.file_name)));
        examined.has_drifted |= kind != FindingKind::Sourceless;
    }

    fn add_references(
        &self,
        egg: &InstalledEgg,
        entry: &Entry,
        content: &Content,
        examined: &mut Examined,
    ) {
        let path = scan::path_of(&egg.path, entry);
        let references = content.references(self.boundary, &path);
        examined.relative_run_paths += usize::from(references.has_relative_run_path);
        for (kind, what) in references.notes {
            let note = Finding::new(kind, &self.boundary.short(&path), what);
            examined.found.notes.push(note.in_egg(Some(&egg.file_name)));
        }
        if !content.needed.is_empty() {
            let (run_paths, libraries) = (content.run_paths.clone(), content.needed.clone());
            examined.needs.push(Needs { object: path, run_paths, libraries });
        }
    }
}

/// The mtime and size of each file of an egg, by path.
fn file_stamps(egg: &InstalledEgg) -> HashMap<&str, (Mtime, u64)> {
    let stamps = egg.entries.iter().filter_map(|entry| match entry.kind {
        EntryKind::File { size, .. } => Some((entry.path.as_str(), (entry.mtime, size))),
        _ => None,
    });
    stamps.collect()
}

/// The facts about a file that was read without an error.
fn facts(
    entry: &Entry,
    content: &Content,
    comparison: &Comparison<'_>,
    is_other_build: bool,
    sources: &HashMap<&str, (Mtime, u64)>,
) -> FileFacts {
    let path = entry.path.as_str();
    let source = bytecode::source_of(path).filter(|_| is_file(entry));
    let bytecode = source.as_deref().map(|source| match entry.kind {
        EntryKind::File { size, .. } if size <= bytecode::HEADER as u64 => {
            BytecodeState::Stale("cut off")
        }
        _ => bytecode::state(path, &content.head, sources.get(source).copied()),
    });
    FileFacts {
        difference: comparison.difference(path).filter(|_| !is_other_build),
        is_same: comparison.is_same(path, content).filter(|_| !is_other_build),
        bytecode,
        source_differs: source.is_some_and(|source| comparison.difference(&source).is_some()),
        may_be_added: bytecode::is_bytecode(path),
    }
}
