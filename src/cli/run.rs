//! One command: from its arguments to its report and the code that it ends with.

use std::path::{Path, PathBuf};

use eggcache::cache::Cache;
use eggcache::clock::now;
use eggcache::egg::Egg;
use eggcache::error::Error;
use eggcache::index::Usage;
use eggcache::nearest::Nearest;
use eggcache::object_client::Patience;
use eggcache::plan::Rules;
use eggcache::policy::Policy;
use eggcache::remotes::{self, Remote};
use eggcache::tree::Hints;
use eggcache::upstream::Upstream;
use eggcache::{
    add, bundle, check, gc, init, list, materialize, pins, preflight, pull, push, query, reindex,
    remote, remote_gc, remote_verify, roots, show, stats, verify,
};

use super::args::{Command, RemoteCommand};
use super::bar::Bar;
use super::print::Printer;
use super::{FAILURE, MISS, PROBLEMS, run_remote, text};

/// What every command has.
pub struct Run<'a> {
    /// The cache directory.
    pub root: PathBuf,
    pub printer: &'a Printer,
    pub bar: Bar,
    /// Whether a line for each egg is wanted.
    pub verbose: bool,
}

impl Run<'_> {
    /// Does what a command says and answers its exit code.
    pub fn command(&self, command: Command) -> anyhow::Result<u8> {
        match command {
            Command::Add { paths, generation, environment, source_sha256, replace } => {
                let source_sha256 = source_sha256.unwrap_or_default();
                let hints = Hints { generation, environment, source_sha256, ..Hints::default() };
                let replace = if replace { add::Replace::All } else { add::Replace::None };
                self.add(&paths, &add::Options { hints, replace, ..add::Options::default() })
            }
            Command::Materialize { into, eggs, requirements, all, preflight, narrow } => {
                let names = named(eggs, &requirements)?;
                if preflight {
                    return self.preflight(&names, all, &narrow.into(), &into);
                }
                let mut cache = self.open()?;
                let eggs = if all {
                    list::list(&cache, None, &narrow.into())?.eggs
                } else {
                    let narrow = narrow.into();
                    self.pull_through(&mut cache, &names, &narrow, &into)?;
                    chosen(&mut cache, &names, &narrow)?
                };
                self.materialize(&mut cache, &eggs, &into)
            }
            Command::List { query, narrow } => {
                let report = list::list(&self.open()?, query.as_deref(), &narrow.into())?;
                self.printer.report(&report, text::listed)?;
                Ok(0)
            }
            Command::Show { egg, files, narrow } => {
                let report = show::show(&self.open()?, &egg, &narrow.into(), files)?;
                self.printer.report(&report, text::shown)?;
                Ok(0)
            }
            Command::Gc { max_age, max_size, keep_versions, grace, ignore_roots, dry_run } => {
                let policy = Policy::read(&self.root)?;
                self.gc(&gc::Options {
                    rules: Rules { max_age, max_size, keep_versions }.or(policy.rules),
                    grace: grace.or(policy.grace),
                    ignore_roots,
                    time_limit: None,
                    dry_run,
                })
            }
            Command::Stats { html } => {
                let Policy { rules, grace, .. } = Policy::read(&self.root)?;
                let report = stats::stats(&self.open()?, &stats::Options { rules, grace, html })?;
                self.printer.report(&report, text::stats)?;
                Ok(0)
            }
            Command::Roots { forget } => {
                let report = roots::roots(&self.open()?, forget.as_deref())?;
                self.printer.report(&report, text::roots)?;
                Ok(if report.unreadable.is_empty() { 0 } else { PROBLEMS })
            }
            Command::Pin { what, note } => self.pins(&pins::Options::Pin { what, note }),
            Command::Unpin { what } => self.pins(&pins::Options::Unpin { what }),
            Command::Pins => self.pins(&pins::Options::List),
            Command::Verify { repair } => {
                let report = verify::verify(&self.root, repair, &self.bar)?;
                self.printer.report(&report, text::verified)?;
                Ok(if report.unsolved().next().is_none() { 0 } else { PROBLEMS })
            }
            Command::Check { buildout, full, repair, eggs } => {
                self.check(&buildout, &check::Options { eggs, full, repair })
            }
            Command::Bundle { verify: Some(archive), .. } => self.verify_bundle(&archive),
            Command::Bundle {
                buildout,
                output,
                prefix,
                mtime,
                exclude,
                include,
                unused,
                eggs,
                verify: None,
            } => {
                let mtimes = mtime.unwrap_or_default();
                let output = output.unwrap_or_default();
                let options =
                    bundle::Options { output, eggs, prefix, mtimes, exclude, include, unused };
                self.bundle(&buildout.unwrap_or_default(), &options)
            }
            Command::Remote { command } => self.remote(command),
            Command::Trust { name, key, remove: true, .. } => {
                self.remotes(&remote::Options::Distrust { name, key })
            }
            Command::Trust { name, key, until, note, remove: false } => {
                self.remotes(&remote::Options::Trust { name, key, until, note })
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
            Command::Init { shared } => {
                let report = init::init(&self.root, shared)?;
                self.printer.report(&report, text::made)?;
                Ok(0)
            }
            Command::Reindex => {
                let report = reindex::reindex(&self.root, &self.bar)?;
                self.printer.report(&report, text::reindexed)?;
                Ok(if report.rebuilt.unreadable.is_empty() { 0 } else { PROBLEMS })
            }
            Command::Completions { .. }
            | Command::Man { .. }
            | Command::Keygen { .. }
            | Command::Serve => {
                unreachable!("they do without a cache, or name it themselves")
            }
        }
    }

    pub(super) fn open(&self) -> Result<Cache, Error> {
        let cache = Cache::open_telling(&self.root, &self.bar)?;
        if let Some(warning) = cache.warning() {
            self.printer.warning(&warning);
        }
        Ok(cache)
    }

    fn add(&self, paths: &[PathBuf], options: &add::Options) -> anyhow::Result<u8> {
        let report = add::add(&mut self.open()?, paths, options, &self.bar)?;
        self.printer.report(&report, |report| text::added(report, self.verbose))?;
        Ok(if report.refused().next().is_some() { FAILURE } else { 0 })
    }

    fn materialize(&self, cache: &mut Cache, eggs: &[Egg], into: &Path) -> anyhow::Result<u8> {
        let options = materialize::Options { asked_at: Some(now()) };
        let report = materialize::materialize(cache, eggs, into, options, &self.bar)?;
        self.printer.report(&report, |report| text::materialized(report, self.verbose))?;
        Ok(match (report.failed().next(), report.missing().next()) {
            (Some(_), _) => FAILURE,
            (None, Some(_)) => MISS,
            (None, None) => 0,
        })
    }

    /// Tells what copying eggs would take. A cache that is not there is not made.
    fn preflight(
        &self,
        names: &[String],
        all: bool,
        narrow: &query::Narrow,
        into: &Path,
    ) -> anyhow::Result<u8> {
        let cache = if self.root.is_dir() { Some(self.open()?) } else { None };
        let (eggs, missing) = match &cache {
            None => (Vec::new(), names.to_vec()),
            Some(cache) if all => (list::list(cache, None, narrow)?.eggs, Vec::new()),
            Some(cache) => {
                let Found { eggs, missing, .. } = found(cache, names, narrow)?;
                (eggs, missing)
            }
        };
        let store = cache.as_ref().map(|cache| &cache.store);
        let report = preflight::preflight(store, &eggs, missing, into)?;
        self.printer.report(&report, |report| text::preflight(report, self.verbose))?;
        let is_missing = !report.missing.is_empty();
        Ok(match (report.fits && report.failed().next().is_none(), is_missing) {
            (false, _) => FAILURE,
            (true, true) => MISS,
            (true, false) => 0,
        })
    }

    fn gc(&self, options: &gc::Options) -> anyhow::Result<u8> {
        if !options.dry_run {
            Cache::drop_ballast(&self.root);
        }
        let report = gc::gc(&mut self.open()?, options, &self.bar)?;
        self.printer.report(&report, |report| text::collected(report, self.verbose))?;
        Ok(0)
    }

    fn pins(&self, options: &pins::Options) -> anyhow::Result<u8> {
        let report = pins::pins(&self.open()?, options)?;
        self.printer.report(&report, |report| text::pinned(report, options))?;
        Ok(0)
    }

    fn remote(&self, command: RemoteCommand) -> anyhow::Result<u8> {
        self.remotes(&match command {
            RemoteCommand::Verify { name, full, repair } => {
                return self.verify_remote(&name, remote_verify::Options { full, repair });
            }
            RemoteCommand::Gc { name, max_age, keep_versions, grace, untrusted, dry_run } => {
                let rules = Rules { max_age, max_size: None, keep_versions };
                let root_grace = Policy::read(&self.root)?.grace;
                let options = remote_gc::Options { rules, grace, root_grace, untrusted, dry_run };
                return self.gc_remote(&name, &options);
            }
            RemoteCommand::List => remote::Options::List,
            RemoteCommand::Remove { name } => remote::Options::Remove { name },
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
                let endpoint = endpoint.map(|text| remotes::endpoint(&text)).transpose()?;
                let remote = Remote::new(&name, &url)?;
                let remote = Remote { push, endpoint, region, instance_credentials, ..remote };
                remote::Options::Add { remote: Box::new(remote), keys, first }
            }
        })
    }

    fn remotes(&self, options: &remote::Options) -> anyhow::Result<u8> {
        let report = remote::remote(&self.open()?, options)?;
        self.printer.report(&report, |report| text::remotes(report, options))?;
        Ok(0)
    }

    fn push(
        &self,
        names: &[String],
        all: bool,
        to: Option<&str>,
        narrow: &query::Narrow,
    ) -> anyhow::Result<u8> {
        let mut cache = self.open()?;
        let known = remotes::read(&self.root)?;
        let remotes: Vec<&Remote> = match to {
            Some(name) => vec![&known[remotes::position(&known, name)?]],
            None => known.iter().filter(|remote| remote.push).collect(),
        };
        if remotes.is_empty() {
            let reason = "no remote is to be pushed to; name one with --to";
            return Err(Error::Usage(reason.into()).into());
        }
        let signer = run_remote::signer()?;
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

    fn pull(
        &self,
        names: &[String],
        from: Option<&str>,
        narrow: &query::Narrow,
    ) -> anyhow::Result<u8> {
        let mut cache = self.open()?;
        let mut remotes = remotes::read(&self.root)?;
        if let Some(name) = from {
            remotes = vec![remotes.swap_remove(remotes::position(&remotes, name)?)];
        }
        let upstream = Upstream::new(&remotes, Patience::COMMAND)?;
        if upstream.is_empty() {
            let reason = "no remote has a key that is trusted; `eggcache remote list` tells more";
            return Err(Error::Usage(reason.into()).into());
        }
        let report = pull::pull(&mut cache, names, &upstream, narrow, &self.bar)?;
        self.printer.report(&report, |report| text::pulled(report, self.verbose))?;
        Ok(match (report.failed().next(), report.missing.first()) {
            (Some(_), _) => FAILURE,
            (None, Some(_)) => MISS,
            (None, None) => 0,
        })
    }

    fn check(&self, buildout: &Path, options: &check::Options) -> anyhow::Result<u8> {
        let cache = self.open_to_look()?;
        let report = check::check(cache.as_ref(), buildout, options, &self.bar)?;
        self.printer.report(&report, |report| text::checked(report, self.verbose))?;
        Ok(if report.unsolved().next().is_none() { 0 } else { PROBLEMS })
    }

    /// Opens the cache to compare a buildout with it: that makes no cache.
    fn open_to_look(&self) -> Result<Option<Cache>, Error> {
        if self.root.is_dir() {
            return self.open().map(Some);
        }
        let root = self.root.display();
        self.printer.warning(&format!("there is no cache {root}: no egg is compared"));
        Ok(None)
    }

    /// Checks a buildout byte by byte, and bundles it if there is no problem.
    fn bundle(&self, buildout: &Path, options: &bundle::Options) -> anyhow::Result<u8> {
        let cache = self.open_to_look()?;
        let look = check::Options { eggs: options.eggs.clone(), full: true, repair: false };
        let checked = check::check(cache.as_ref(), buildout, &look, &self.bar)?;
        if checked.unsolved().next().is_some() {
            self.printer.report(&checked, |report| text::not_bundled(report, self.verbose))?;
            return Ok(PROBLEMS);
        }
        let report = bundle::bundle(cache.as_ref(), &checked, options, &self.bar)?;
        self.printer.report(&report, |report| text::bundled(report, self.verbose))?;
        Ok(0)
    }

    fn verify_bundle(&self, archive: &Path) -> anyhow::Result<u8> {
        let report = bundle::verify(archive, &self.bar)?;
        self.printer.report(&report, text::verified_bundle)?;
        Ok(if report.problems.is_empty() { 0 } else { PROBLEMS })
    }
}

/// Names, and those that files of requirements have.
fn named(mut names: Vec<String>, requirements: &[PathBuf]) -> Result<Vec<String>, Error> {
    for file in requirements {
        names.extend(query::requirements(file)?);
    }
    Ok(names)
}

/// The eggs that the names name, all of them or none.
fn chosen(cache: &mut Cache, names: &[String], narrow: &query::Narrow) -> anyhow::Result<Vec<Egg>> {
    let Found { eggs, missing, nearest } = found(cache, names, narrow)?;
    for name in &missing {
        query::record_miss(&mut cache.index, name, narrow, now());
    }
    if !missing.is_empty() {
        let misses = missing.len() as u64;
        cache.index.record(&Usage { misses, ..Usage::default() }, now());
        return Err(Error::Miss { query: missing.join(", "), nearest }.into());
    }
    Ok(eggs)
}

/// What names name.
pub(super) struct Found {
    pub eggs: Vec<Egg>,
    /// Names of which the cache has none.
    pub missing: Vec<String>,
    /// What may have been meant by them.
    nearest: Vec<(String, Nearest)>,
}

pub(super) fn found(
    cache: &Cache,
    names: &[String],
    narrow: &query::Narrow,
) -> Result<Found, Error> {
    let (mut eggs, mut missing, mut nearest) = (Vec::new(), Vec::new(), Vec::new());
    for name in names {
        match query::one(&cache.index, name, narrow) {
            Ok(egg) => eggs.push(egg),
            Err(Error::Miss { query, nearest: meant }) => {
                missing.push(query);
                nearest.extend(meant);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Found { eggs, missing, nearest })
}
