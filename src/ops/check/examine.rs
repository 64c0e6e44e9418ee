//! One egg of a buildout: what it is in the cache, and what tells it from that.

use std::collections::HashMap;
use std::path::Path;

use rayon::prelude::*;

use crate::cache::Blobs;
use crate::disk::boundary::Boundary;
use crate::egg::bytecode;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::completeness;
use crate::egg::diff::{Difference, What, differences};
use crate::egg::manifest::{Entry, EntryKind, Manifest, Mtime};
use crate::egg::metadata;
use crate::egg::scan::{self};
use crate::util::hash::digest::Digest;
use crate::util::progress::Progress;

use super::file_content::{
    Content, INSTALLED_FROM, incomplete, is_file, is_shared_object, other_python,
};
use super::installed_egg::InstalledEgg;
use super::links;
use super::report::{Finding, FindingKind, Findings};
use super::verdict::{File, Verdict, judge};

/// What an egg of the cache is to one that stands in the buildout.
#[derive(Debug)]
pub enum Match {
    /// The cache has none of its name, or none that can be read.
    None,
    One(Digest),
    /// Several differ as little from it.
    Several(Vec<Digest>),
    /// The cache has another build of it.
    OtherBuild,
}

#[derive(Debug)]
pub struct Examined {
    pub found: Findings,
    pub matched: Match,
    /// As [`super::Report::bytecode`].
    pub bytecode: usize,
    /// Shared objects that look for libraries in folders relative to their own.
    pub relative_run_paths: usize,
    /// Whether the egg is not what it was, for whatever reason.
    pub has_drifted: bool,
}

/// What an examination of eggs is done with.
pub struct Examiner<'a> {
    pub place: &'a Boundary,
    pub blobs: Option<&'a Blobs>,
    pub full: bool,
    pub progress: &'a dyn Progress,
}

impl Examiner<'_> {
    /// Compares an egg with those of its name in the cache, and looks into it.
    #[must_use]
    pub fn examine(&self, egg: &InstalledEgg, known: &[CachedEgg]) -> Examined {
        let mut it = Examined {
            found: Findings::default(),
            matched: Match::None,
            bytecode: 0,
            relative_run_paths: 0,
            has_drifted: false,
        };
        let short = self.place.short(&egg.path);
        let finding = |kind, what: String| Finding::new(kind, &short, what).of_egg(&egg.file_name);
        if let Some(reason) = &egg.unsound {
            it.found.problems.push(finding(FindingKind::Incomplete, reason.clone()));
            it.has_drifted = true;
        }
        let (manifests, unreadable) = self.manifests(known);
        let Some(root) = egg.entries.first() else {
            it.matched = only(&manifests);
            return it;
        };
        let is_link = matches!(root.kind, EntryKind::Symlink { .. });
        let best = if is_link { None } else { closest(&manifests, &egg.entries) };
        it.matched = match &best {
            None => only(&manifests),
            Some(Closest { digests, .. }) if digests.len() > 1 => Match::Several(digests.clone()),
            Some(Closest { digests, .. }) => Match::One(digests[0]),
        };
        if is_link {
            // One that leads outside is told as every symlink is.
            it.has_drifted = true;
            if self.place.holds(&egg.path) {
                let what = "is a symlink in place of an egg".to_owned();
                it.found.problems.push(finding(FindingKind::Changed, what));
            }
        } else if best.is_none() {
            let what = unreadable.unwrap_or_else(|| "is not in the cache".to_owned());
            it.found.notes.push(finding(FindingKind::NotInCache, what));
            it.found
                .problems
                .extend(incomplete(egg).map(|what| finding(FindingKind::Incomplete, what)));
        }
        self.look_into(egg, best.as_ref(), &mut it);
        it.found.problems.extend(other_python(egg, &short));
        for entry in &egg.entries {
            if let EntryKind::Symlink { target } = &entry.kind {
                let path = scan::path_of(&egg.path, entry);
                links::symlink(
                    self.place,
                    &path,
                    Path::new(target),
                    Some(&egg.file_name),
                    &mut it.found,
                );
            }
        }
        it
    }

    /// The manifests of eggs, and why one of them cannot be read.
    fn manifests(&self, known: &[CachedEgg]) -> (Vec<(Digest, Manifest)>, Option<String>) {
        let (mut manifests, mut unreadable) = (Vec::new(), None);
        for egg in known {
            match self.blobs.map(|blobs| blobs.open(egg.digest)) {
                Some(Ok(Some(blob))) => manifests.push((egg.digest, blob.manifest)),
                Some(Ok(None)) => unreadable = Some("is in the cache without its blob".into()),
                Some(Err(error)) => {
                    unreadable = Some(format!("cannot be compared with the cache: {error}"));
                }
                None => {}
            }
        }
        (manifests, unreadable)
    }

    fn look_into(&self, egg: &InstalledEgg, best: Option<&Closest<'_>>, it: &mut Examined) {
        let differences: HashMap<&str, What> = best
            .into_iter()
            .flat_map(|best| &best.differences)
            .map(|difference| (difference.path.as_str(), difference.what))
            .collect();
        let expected: HashMap<&str, &Entry> = best
            .into_iter()
            .flat_map(|best| &best.manifest.entries)
            .map(|entry| (entry.path.as_str(), entry))
            .collect();
        let contents: Vec<Content> = egg
            .entries
            .par_iter()
            .map(|entry| {
                let what = differences.get(entry.path.as_str());
                let is_known = expected.contains_key(entry.path.as_str());
                let is_open = matches!(what, None | Some(What::Mode));
                let hash = what == Some(&What::Mtime) || (self.full && is_known && is_open);
                let content = Content::read(&egg.path, entry, hash);
                if let EntryKind::File { size, .. } = entry.kind
                    && self.full
                {
                    self.progress.advance(size);
                }
                content
            })
            .collect();
        let is_same = |entry: &Entry, content: &Content| match expected
            .get(entry.path.as_str())
            .map(|entry| &entry.kind)
        {
            Some(EntryKind::File { digest, .. }) => content.digest.is_none_or(|it| it == *digest),
            _ => true,
        };
        let both = || egg.entries.iter().zip(&contents);
        let other: Vec<&str> = both()
            .filter(|(entry, content)| {
                let is_resized = differences.get(entry.path.as_str()) == Some(&What::Size);
                is_resized || !is_same(entry, content)
            })
            .map(|(entry, _)| entry.path.as_str())
            .collect();
        let installed = expected.keys().any(|path| is_of_installer(path));
        let is_other_build = is_other_build(&differences, &other, installed);
        if is_other_build {
            let what = "is another build than the one in the cache, and is not compared with it";
            let finding = Finding::new(FindingKind::OtherBuild, &self.place.short(&egg.path), what);
            it.found.notes.push(finding.of_egg(&egg.file_name));
            it.matched = Match::OtherBuild;
        }
        let sources: HashMap<&str, (Mtime, u64)> = egg
            .entries
            .iter()
            .filter_map(|entry| match entry.kind {
                EntryKind::File { size, .. } => Some((entry.path.as_str(), (entry.mtime, size))),
                _ => None,
            })
            .collect();
        for (entry, content) in both() {
            let path = entry.path.as_str();
            if let Some(error) = &content.error {
                self.tell(egg, path, Verdict::Problem(FindingKind::Incomplete, error), it);
                continue;
            }
            let source = bytecode::source_of(path).filter(|_| is_file(entry));
            let compiled = source.as_deref().map(|source| match entry.kind {
                EntryKind::File { size, .. } if size <= bytecode::HEADER as u64 => {
                    bytecode::BytecodeState::Stale("is cut off")
                }
                _ => bytecode::state(path, &content.head, sources.get(source).copied()),
            });
            let verdict = judge(File {
                what: differences.get(path).copied().filter(|_| !is_other_build),
                is_same: best.filter(|_| !is_other_build).map(|_| is_same(entry, content)),
                compiled,
                source_differs: source.is_some_and(|it| differences.contains_key(it.as_str())),
                is_bytecode: bytecode::is_bytecode(path),
            });
            self.tell(egg, path, verdict, it);
            let path = scan::path_of(&egg.path, entry);
            let (notes, is_relative) = content.outside(self.place, &path);
            it.found.notes.extend(notes.into_iter().map(|(kind, what)| {
                Finding::new(kind, &self.place.short(&path), what).of_egg(&egg.file_name)
            }));
            it.relative_run_paths += usize::from(is_relative);
        }
        let missing = best.into_iter().flat_map(|best| &best.differences);
        for Difference { path, .. } in missing.filter(|it| it.what == What::Missing) {
            // What a build makes of its own accord may be missing in another.
            if !is_other_build || path.as_str().ends_with(".py") {
                self.tell(
                    egg,
                    path.as_str(),
                    Verdict::Problem(FindingKind::Missing, "is missing"),
                    it,
                );
            }
        }
    }

    fn tell(&self, egg: &InstalledEgg, path: &str, verdict: Verdict<'_>, it: &mut Examined) {
        let (list, kind, what) = match verdict {
            Verdict::Fine => return,
            Verdict::Compiled => {
                it.bytecode += 1;
                return;
            }
            Verdict::Problem(kind, what) => (&mut it.found.problems, kind, what),
            Verdict::Note(kind, what) => (&mut it.found.notes, kind, what),
        };
        let path = if path.is_empty() { egg.path.clone() } else { egg.path.join(path) };
        list.push(Finding::new(kind, &self.place.short(&path), what).of_egg(&egg.file_name));
        it.has_drifted |= kind != FindingKind::Sourceless;
    }
}

/// The egg that differs least.
struct Closest<'a> {
    /// Of all that differ so little.
    digests: Vec<Digest>,
    manifest: &'a Manifest,
    differences: Vec<Difference<'a>>,
}

fn closest<'a>(manifests: &'a [(Digest, Manifest)], found: &'a [Entry]) -> Option<Closest<'a>> {
    let mut best: Option<Closest<'a>> = None;
    for (digest, manifest) in manifests {
        let differences = differences(manifest, found);
        match &mut best {
            Some(best) if best.differences.len() < differences.len() => {}
            Some(best) if best.differences.len() == differences.len() => best.digests.push(*digest),
            _ => best = Some(Closest { digests: vec![*digest], manifest, differences }),
        }
    }
    best
}

/// Whether what differs is what two builds of one egg differ in, so that it was not one that has
/// changed since: its metadata was written at another time, and the installer's own files are not the
/// same. They hold a digest of everything that was built; without them, native code tells.
fn is_other_build(differences: &HashMap<&str, What>, other: &[&str], installed: bool) -> bool {
    let is_rewritten = differences.iter().any(|(path, what)| {
        metadata::is_metadata_path(path) && matches!(what, What::Mtime | What::Size)
    });
    let is_of_build = |path: &&str| {
        if installed { is_of_installer(path) } else { is_shared_object(path) }
    };
    is_rewritten && other.iter().any(is_of_build)
}

/// Whether a file is one that an installer writes on its own account.
fn is_of_installer(path: &str) -> bool {
    completeness::is_record(path) || path.ends_with(INSTALLED_FROM)
}

/// The match of an egg that cannot be compared.
fn only(manifests: &[(Digest, Manifest)]) -> Match {
    match manifests {
        [] => Match::None,
        [(digest, _)] => Match::One(*digest),
        _ => Match::Several(manifests.iter().map(|(digest, _)| *digest).collect()),
    }
}
