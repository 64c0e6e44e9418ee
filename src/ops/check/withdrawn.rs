//! Eggs of a buildout that a remote has withdrawn.

use std::collections::HashMap;
use std::path::PathBuf;

use rayon::prelude::*;

use crate::buildout::Buildout;
use crate::cache::Cache;
use crate::cache::retention::roots::{self, Stamp};
use crate::egg::bytecode::is_bytecode;
use crate::egg::manifest::{self, Entry, EntryKind};
use crate::error::{OrLog, Result};
use crate::remote::withdrawals::contents::{self, WithdrawnContent};
use crate::remote::withdrawals::record::{Notice, Withdrawals};
use crate::util::clock::now;
use crate::util::hash::digest::Digest;

use super::compare::Match;
use super::examine::Examined;
use super::file_content::Content;
use super::inspection::Inspector;
use super::installed_egg::InstalledEgg;
use super::report::{Finding, FindingKind};

/// What the cache knows of withdrawn eggs.
#[derive(Debug, Default)]
pub struct Withdrawn {
    pub known: Withdrawals,
    /// The eggs that the buildout has registered, by their paths. They are known even if the cache has
    /// evicted them since, or has another build in their place.
    registered: HashMap<PathBuf, (Digest, Stamp)>,
    /// The contents of withdrawn builds that the cache has or had.
    contents: Vec<WithdrawnContent>,
}

impl Withdrawn {
    pub fn of(cache: Option<&Cache>, buildout: &Buildout) -> Result<Self> {
        let Some(cache) = cache else { return Ok(Self::default()) };
        let known = Withdrawals::of(cache.root())?;
        let mut registered = HashMap::new();
        let mut contents = Vec::new();
        if !known.is_empty() {
            contents = contents::of(cache.dir(), known.eggs())?;
            let (roots, _) = roots::all(cache.dir(), now())?;
            let is_this = |it: &&roots::KnownRoot| it.root.directory == buildout.boundary.root();
            for roots::KnownRoot { root, .. } in roots.iter().filter(is_this) {
                let eggs = root.eggs.iter();
                registered.extend(
                    eggs.filter_map(|egg| Some((root.path_of(egg), (egg.digest?, egg.stamp)))),
                );
            }
        }
        Ok(Self { known, registered, contents })
    }

    /// Why an egg must not be used, if all eggs that it may be are withdrawn.
    fn notice(
        &self,
        egg: &InstalledEgg,
        examined: &Examined,
        cache: Option<&Cache>,
    ) -> Option<&Notice> {
        let registered = self.registered(egg, examined).and_then(|digest| self.known.get(digest));
        let digests = match &examined.matched {
            Match::One(digest) => std::slice::from_ref(digest),
            Match::Several(digests) => digests,
            Match::None | Match::OtherBuild => &[],
        };
        let notices: Option<Vec<&Notice>> =
            digests.iter().map(|digest| self.known.get(*digest)).collect();
        let matched = registered.or_else(|| notices?.into_iter().next());
        matched.or_else(|| self.of_content(egg, examined, cache))
    }

    /// The notice about the build whose content an egg has, whatever the cache has in its place. Only
    /// bytecode tells it from another build of the same content, as far as the cache knows that one.
    fn of_content(
        &self,
        egg: &InstalledEgg,
        examined: &Examined,
        cache: Option<&Cache>,
    ) -> Option<&Notice> {
        let is_named = |it: &&WithdrawnContent| it.file_name == egg.file_name;
        let named: Vec<&WithdrawnContent> = self.contents.iter().filter(is_named).collect();
        if named.is_empty() {
            return None;
        }
        let content = content_of(egg)?;
        let in_cache = match examined.matched {
            Match::One(digest) if !examined.has_drifted => {
                cache.and_then(|cache| cache.blobs().open(digest).or_log().flatten())
            }
            _ => None,
        };
        let in_cache = in_cache.map(|blob| blob.manifest.content_with_bytecode());
        let is_it = |it: &&WithdrawnContent| {
            it.content == content && in_cache.is_none_or(|bytes| bytes == it.with_bytecode)
        };
        named.into_iter().find(is_it).and_then(|it| self.known.get(it.egg))
    }

    /// The egg that was registered at this path, if it is still there. One that equals an egg of the
    /// cache is that one, unless nothing has touched it since.
    fn registered(&self, egg: &InstalledEgg, examined: &Examined) -> Option<Digest> {
        let (digest, stamp) = self.registered.get(&egg.path)?;
        let is_compared = matches!(examined.matched, Match::One(_) | Match::Several(_));
        let is_in_cache = is_compared && !examined.has_drifted;
        let found = Stamp::of(&egg.path)?;
        let is_there = found == *stamp || (!is_in_cache && found.identity == stamp.identity);
        is_there.then_some(*digest)
    }
}

/// The content of an egg, as of a manifest; `None` if it cannot be read.
fn content_of(egg: &InstalledEgg) -> Option<Digest> {
    let files = egg.open().or_log()?;
    let read = |entry: &Entry| {
        let EntryKind::File { size, .. } = entry.kind else { return Some(entry.clone()) };
        let digest = Content::read(&files, entry, true).digest?;
        Some(Entry { kind: EntryKind::File { size, digest }, ..entry.clone() })
    };
    let own = egg.entries.par_iter().filter(|it| !is_bytecode(it.path.as_str()));
    let entries: Option<Vec<Entry>> = own.map(read).collect();
    Some(manifest::content(&entries?))
}

impl Inspector<'_> {
    pub fn withdrawn_eggs(&self, eggs: &[(InstalledEgg, Examined)]) -> Vec<Finding> {
        let finding = |(egg, examined): &(InstalledEgg, Examined)| {
            let Notice { remote, reason, .. } = self.withdrawn.notice(egg, examined, self.cache)?;
            let short = self.buildout.boundary.short(&egg.path);
            let what = format!("withdrawn from remote {remote}: {reason}");
            let finding = Finding::new(FindingKind::Withdrawn, &short, what);
            Some(finding.in_egg(Some(&egg.file_name)))
        };
        eggs.iter().filter_map(finding).collect()
    }
}
