//! Commands about what a remote has, and what `materialize` gets from remotes.

use std::collections::BTreeSet;
use std::path::Path;

use eggcache::cache::Cache;
use eggcache::egg::Egg;
use eggcache::egg_key::python_tag;
use eggcache::egg_name::EggName;
use eggcache::error::Error;
use eggcache::object_client::Patience;
use eggcache::query::Narrow;
use eggcache::remotes::{self, Remote};
use eggcache::signing::{self, Signer};
use eggcache::upstream::Upstream;
use eggcache::{pull, remote_gc, remote_verify, sign};

use super::run::{Found, Run, found};
use super::{PROBLEMS, text};

/// The key that signs.
pub fn signer() -> Result<Signer, Error> {
    Signer::of_environment()?.ok_or_else(|| {
        let reason = "names no secret key to sign with; `eggcache keygen` makes one";
        Error::Usage(format!("{} {reason}", signing::KEY_VARIABLE))
    })
}

impl Run<'_> {
    fn remote_of(&self, name: &str) -> Result<Remote, Error> {
        let mut remotes = remotes::read(&self.root)?;
        Ok(remotes.swap_remove(remotes::position(&remotes, name)?))
    }

    pub(super) fn verify_remote(
        &self,
        name: &str,
        options: remote_verify::Options,
    ) -> anyhow::Result<u8> {
        let report = remote_verify::verify(&self.remote_of(name)?, options, &self.bar)?;
        self.printer.report(&report, text::verified_remote)?;
        Ok(if report.unsolved().next().is_none() { 0 } else { PROBLEMS })
    }

    pub(super) fn gc_remote(&self, name: &str, options: &remote_gc::Options) -> anyhow::Result<u8> {
        let (cache, remote) = (self.open()?, self.remote_of(name)?);
        let report = remote_gc::gc(&cache, &remote, options, &self.bar)?;
        self.printer.report(&report, |report| text::collected_remote(report, self.verbose))?;
        Ok(0)
    }

    pub(super) fn sign(&self, name: &str) -> anyhow::Result<u8> {
        let report = sign::sign(&self.remote_of(name)?, &signer()?, &self.bar)?;
        self.printer.report(&report, text::signed)?;
        Ok(0)
    }

    /// Pulls what the cache does not have of some names, where there is a remote to pull from. What no
    /// remote has is missing afterwards as before, and what is wrong with remotes is a warning.
    pub(super) fn pull_through(
        &self,
        cache: &mut Cache,
        names: &[String],
        narrow: &Narrow,
        into: &Path,
    ) -> anyhow::Result<()> {
        let Found { eggs, missing, .. } = found(cache, names, narrow)?;
        // Remotes are asked for what names a version. Names alone and digits of a digest do not.
        let is_file = |name: &String| name.parse::<EggName>().is_ok();
        let has_python =
            |name: &String| name.parse::<EggName>().is_ok_and(|it| !it.python.is_empty());
        let asked = missing.into_iter().filter(|name| name.contains("==") || is_file(name));
        let (files, pins): (Vec<String>, Vec<String>) = asked.partition(has_python);
        if (files.is_empty() && pins.is_empty()) || cache.check_writable().is_err() {
            return Ok(());
        }
        let upstream = match Upstream::open(&self.root, Patience::BUILD) {
            Ok(upstream) if upstream.is_empty() => return Ok(()),
            Ok(upstream) => upstream,
            Err(error) => {
                self.printer.warning(&error.to_string());
                return Ok(());
            }
        };
        let python = narrow.python.clone().or_else(|| python_of(&eggs, &files, into));
        let of_python = Narrow { python, ..narrow.clone() };
        for (names, narrow) in [(files, narrow), (pins, &of_python)] {
            if names.is_empty() {
                continue;
            }
            if narrow.python.is_none() && !names.iter().all(has_python) {
                let reason = "say for which Python, as in --python 3.11";
                self.printer
                    .warning(&format!("remotes are not asked for {}: {reason}", names.join(", ")));
                continue;
            }
            let report = pull::pull(cache, &names, &upstream, narrow, &self.bar)?;
            for (egg, reason) in report.failed() {
                self.printer.warning(&format!("{} is not pulled: {reason}", egg.file_name));
            }
        }
        for complaint in upstream.complaints() {
            self.printer.warning(&complaint);
        }
        Ok(())
    }
}

/// The Python, as a tag like `cp311`, of whatever else is wanted, or else of the eggs that are there
/// already; `None` if they are of none or of several.
fn python_of(eggs: &[Egg], files: &[String], into: &Path) -> Option<String> {
    let of_file = |name: &str| {
        let tag = python_tag("cp", &name.parse::<EggName>().ok()?.python);
        (!tag.is_empty()).then_some(tag)
    };
    let of_eggs = eggs.iter().map(|egg| egg.key.python.clone()).filter(|it| !it.is_empty());
    let wanted: BTreeSet<String> =
        of_eggs.chain(files.iter().filter_map(|name| of_file(name))).collect();
    let there = || {
        let entries = std::fs::read_dir(into).into_iter().flatten().flatten();
        entries.filter_map(|entry| of_file(entry.file_name().to_str()?)).collect()
    };
    let mut pythons = if wanted.is_empty() { there() } else { wanted };
    if pythons.len() == 1 { pythons.pop_first() } else { None }
}
