//! Commands about remotes, and what `materialize` gets from them.

use std::collections::BTreeSet;
use std::path::Path;

use crate::cache::Cache;
use crate::cache::query::Narrow;
use crate::cache::retention::plan::Rules;
use crate::cache::retention::policy::Policy;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::python_tag;
use crate::egg::name::EggName;
use crate::error::Error;
use crate::ops::list;
use crate::ops::remote::{configure, countersign, gc, pull, push, verify};
use crate::remote::client::Patience;
use crate::remote::config::{self, Remote};
use crate::remote::keys::{self, Signer};
use crate::remote::upstream::Upstream;

use super::args::{Command, RemoteCommand};
use super::context::{Found, Run, chosen, found, named};
use super::{FAILURE, MISS, PROBLEMS, text};

/// The key that signs.
pub fn signer() -> Result<Signer, Error> {
    Signer::of_environment()?.ok_or_else(|| {
        let reason = "names no secret key to sign with; `eggcache keygen` makes one";
        Error::Usage(format!("{} {reason}", keys::KEY_VARIABLE))
    })
}

impl Run<'_> {
    /// A command that is about remotes.
    pub(super) fn of_remotes(&self, command: Command) -> anyhow::Result<u8> {
        match command {
            Command::Remote { command } => self.remote(command),
            Command::Trust { name, key, remove: true, .. } => {
                self.remotes(&configure::Options::Distrust { name, key })
            }
            Command::Trust { name, key, until, note, remove: false } => {
                self.remotes(&configure::Options::Trust { name, key, until, note })
            }
            Command::Push { eggs, requirements, all, to, narrow } => {
                let names = named(eggs, &requirements)?;
                self.push(&names, all, to.as_deref(), &narrow.into())
            }
            Command::Pull { eggs, requirements, from, narrow } => {
                let names = named(eggs, &requirements)?;
                self.pull(&names, from.as_deref(), &narrow.into())
            }
            Command::Sign { name } => self.sign(&name),
            _ => unreachable!("it is about remotes"),
        }
    }

    fn remote(&self, command: RemoteCommand) -> anyhow::Result<u8> {
        self.remotes(&match command {
            RemoteCommand::Verify { name, full, repair } => {
                return self.verify_remote(&name, verify::Options { full, repair });
            }
            RemoteCommand::Gc { name, max_age, keep_versions, grace, untrusted, dry_run } => {
                let rules = Rules { max_age, max_size: None, keep_versions };
                let root_grace = Policy::read(&self.root)?.grace;
                let options = gc::Options { rules, grace, root_grace, untrusted, dry_run };
                return self.gc_remote(&name, &options);
            }
            RemoteCommand::List => configure::Options::List,
            RemoteCommand::Remove { name } => configure::Options::Remove { name },
            RemoteCommand::Add {
                name,
                url,
                keys,
                push,
                endpoint,
                region,
                instance_credentials,
                first,
            } => {
                let endpoint = endpoint.map(|text| config::endpoint(&text)).transpose()?;
                let remote = Remote::new(&name, &url)?;
                let remote = Remote { endpoint, region, push, instance_credentials, ..remote };
                configure::Options::Add { remote: Box::new(remote), keys, first }
            }
        })
    }

    fn remotes(&self, options: &configure::Options) -> anyhow::Result<u8> {
        let report = configure::remote(&self.open()?, options)?;
        self.printer.report(&report, |report| text::remotes(report, options))?;
        Ok(0)
    }

    fn push(
        &self,
        names: &[String],
        all: bool,
        to: Option<&str>,
        narrow: &Narrow,
    ) -> anyhow::Result<u8> {
        let mut cache = self.open()?;
        let known = config::read(&self.root)?;
        let remotes: Vec<&Remote> = match to {
            Some(name) => vec![&known[config::position(&known, name)?]],
            None => known.iter().filter(|remote| remote.push).collect(),
        };
        if remotes.is_empty() {
            let reason = "no remote is to be pushed to; name one with --to";
            return Err(Error::Usage(reason.into()).into());
        }
        let signer = signer()?;
        let eggs = if all {
            list::list(&cache, None, narrow)?.eggs
        } else {
            chosen(&mut cache, names, narrow)?
        };
        let mut code = 0;
        for remote in remotes {
            let report = push::push(&cache, &eggs, remote, &signer, &self.bar)?;
            self.printer.report(&report, |report| text::pushed(report, self.verbose))?;
            if report.failed().next().is_some() {
                code = FAILURE;
            }
        }
        Ok(code)
    }

    fn pull(&self, names: &[String], from: Option<&str>, narrow: &Narrow) -> anyhow::Result<u8> {
        let mut cache = self.open()?;
        let mut remotes = config::read(&self.root)?;
        if let Some(name) = from {
            remotes = vec![remotes.swap_remove(config::position(&remotes, name)?)];
        }
        let upstream = Upstream::new(&remotes, Patience::COMMAND)?;
        if upstream.is_empty() {
            let reason = "no remote has a key that is trusted; `eggcache remote list` tells more";
            return Err(Error::Usage(reason.into()).into());
        }
        let report = pull::pull(&mut cache, names, &upstream, narrow, &self.bar)?;
        self.printer.report(&report, |report| text::pulled(report, self.verbose))?;
        // Nobody knows whether a remote has it that cannot be asked, or whose answer does not count.
        let is_known = report.complaints.is_empty();
        Ok(match (report.failed().next(), report.missing.first()) {
            (None, None) => 0,
            (None, Some(_)) if is_known => MISS,
            _ => FAILURE,
        })
    }

    fn remote_of(&self, name: &str) -> Result<Remote, Error> {
        let mut remotes = config::read(&self.root)?;
        Ok(remotes.swap_remove(config::position(&remotes, name)?))
    }

    pub(super) fn verify_remote(&self, name: &str, options: verify::Options) -> anyhow::Result<u8> {
        let report = verify::verify(&self.remote_of(name)?, options, &self.bar)?;
        self.printer.report(&report, text::verified_remote)?;
        Ok(if report.unsolved().next().is_none() { 0 } else { PROBLEMS })
    }

    pub(super) fn gc_remote(&self, name: &str, options: &gc::Options) -> anyhow::Result<u8> {
        let (cache, remote) = (self.open()?, self.remote_of(name)?);
        let report = gc::gc(&cache, &remote, options, &self.bar)?;
        self.printer.report(&report, |report| text::collected_remote(report, self.verbose))?;
        Ok(0)
    }

    pub(super) fn sign(&self, name: &str) -> anyhow::Result<u8> {
        let report = countersign::sign(&self.remote_of(name)?, &signer()?, &self.bar)?;
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
        let asked = missing.into_iter().filter(|name| name.contains("==") || is_file(name));
        let (files, pins): (Vec<String>, Vec<String>) = asked.partition(is_file);
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
            if narrow.python.is_none() && !names.iter().all(is_file) {
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
fn python_of(eggs: &[CachedEgg], files: &[String], into: &Path) -> Option<String> {
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
