//! Eggs of a buildout that a remote has withdrawn.

use std::collections::HashMap;
use std::path::PathBuf;

use crate::buildout::Buildout;
use crate::cache::Cache;
use crate::cache::retention::roots::{self, Stamp};
use crate::error::Result;
use crate::remote::withdrawals::record::{Notice, Withdrawals};
use crate::util::clock::now;
use crate::util::hash::digest::Digest;

use super::compare::Match;
use super::examine::Examined;
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
}

impl Withdrawn {
    pub fn of(cache: Option<&Cache>, buildout: &Buildout) -> Result<Self> {
        let Some(cache) = cache else { return Ok(Self::default()) };
        let known = Withdrawals::of(cache.root())?;
        let mut registered = HashMap::new();
        if !known.is_empty() {
            let (roots, _) = roots::all(cache.dir(), now())?;
            let is_this = |it: &&roots::KnownRoot| it.root.directory == buildout.boundary.root();
            for roots::KnownRoot { root, .. } in roots.iter().filter(is_this) {
                let eggs = root.eggs.iter();
                registered.extend(
                    eggs.filter_map(|egg| Some((root.path_of(egg), (egg.digest?, egg.stamp)))),
                );
            }
        }
        Ok(Self { known, registered })
    }

    /// Why an egg must not be used, if all eggs that it may be are withdrawn.
    fn notice(&self, egg: &InstalledEgg, examined: &Examined) -> Option<&Notice> {
        let registered = self.registered(egg, examined).and_then(|digest| self.known.get(digest));
        let digests = match &examined.matched {
            Match::One(digest) => std::slice::from_ref(digest),
            Match::Several(digests) => digests,
            Match::None | Match::OtherBuild => &[],
        };
        let notices: Option<Vec<&Notice>> =
            digests.iter().map(|digest| self.known.get(*digest)).collect();
        registered.or_else(|| notices?.into_iter().next())
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

impl Inspector<'_> {
    pub fn withdrawn_eggs(&self, eggs: &[(InstalledEgg, Examined)]) -> Vec<Finding> {
        let finding = |(egg, examined): &(InstalledEgg, Examined)| {
            let Notice { remote, reason, .. } = self.withdrawn.notice(egg, examined)?;
            let short = self.buildout.boundary.short(&egg.path);
            let what = format!("withdrawn from remote {remote}: {reason}");
            let finding = Finding::new(FindingKind::Withdrawn, &short, what);
            Some(finding.in_egg(Some(&egg.file_name)))
        };
        eggs.iter().filter_map(finding).collect()
    }
}
