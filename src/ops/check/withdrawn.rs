//! Eggs of a buildout that a remote has withdrawn.

use std::collections::HashMap;
use std::path::PathBuf;

use crate::buildout::Buildout;
use crate::cache::Cache;
use crate::cache::retention::roots;
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
    /// evicted them since.
    registered: HashMap<PathBuf, Digest>,
}

impl Withdrawn {
    pub fn of(cache: Option<&Cache>, buildout: &Buildout) -> Result<Self> {
        let Some(cache) = cache else { return Ok(Self::default()) };
        let known = Withdrawals::of(cache.root())?;
        let mut registered = HashMap::new();
        if !known.is_empty() {
            let (roots, _) = roots::all(cache.dir(), now())?;
            let is_this = |it: &&roots::KnownRoot| it.root.directory == buildout.boundary.root();
            for known in roots.iter().filter(is_this) {
                let eggs = known.root.eggs.iter();
                registered
                    .extend(eggs.filter_map(|egg| Some((known.root.path_of(egg), egg.digest?))));
            }
        }
        Ok(Self { known, registered })
    }

    /// Why an egg must not be used, if all eggs that it may be are withdrawn.
    fn notice(&self, egg: &InstalledEgg, matched: &Match) -> Option<&Notice> {
        let digests = match matched {
            Match::One(digest) => std::slice::from_ref(digest),
            Match::Several(digests) => digests,
            Match::None => std::slice::from_ref(self.registered.get(&egg.path)?),
            Match::OtherBuild => &[],
        };
        let notices: Option<Vec<&Notice>> =
            digests.iter().map(|digest| self.known.get(*digest)).collect();
        notices?.into_iter().next()
    }
}

impl Inspector<'_> {
    pub fn withdrawn_eggs(&self, eggs: &[(InstalledEgg, Examined)]) -> Vec<Finding> {
        let finding = |(egg, examined): &(InstalledEgg, Examined)| {
            let Notice { remote, reason, .. } = self.withdrawn.notice(egg, &examined.matched)?;
            let short = self.buildout.boundary.short(&egg.path);
            let what = format!("withdrawn from remote {remote}: {reason}");
            let finding = Finding::new(FindingKind::Withdrawn, &short, what);
            Some(finding.in_egg(Some(&egg.file_name)))
        };
        eggs.iter().filter_map(finding).collect()
    }
}
