//! One command: from its arguments to its report and the code that it ends with.

use std::path::{Path, PathBuf};

use crate::cache::Cache;
use crate::cache::index::Usage;
use crate::cache::query;
use crate::cache::retention::plan::Rules;
use crate::cache::retention::policy::Policy;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::scan::Hints;
use crate::error::Error;
use crate::ops::{
    add, bundle, check, gc, init, list, materialize, pins, preflight, reindex, roots, show, stats,
    verify,
};
use crate::util::clock::now;
use crate::util::suggest::Nearest;

use super::args::Command;
use super::print::Printer;
use super::progress_bar::Bar;
use super::{FAILURE, MISS, PROBLEMS, text};

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
                let hints = Hints { generation, source_sha256, environment, ..Hints::default() };
                let replace = if replace { add::Replace::All } else { add::Replace::None };
                self.add(&paths, &add::Options { hints, replace, ..add::Options::default() })
            }
            Command::Materialize { into, eggs, requirements, all, preflight, narrow } => {
                let names = named(eggs, &requirements)?;
                if preflight {
                    return self.preflight(&names, all, &narrow.into(), &into);
                }
                self.materialize(&names, all, &narrow.into(), &into)
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
            command @ (Command::Remote { .. }
            | Command::Trust { .. }
            | Command::Push { .. }
            | Command::Pull { .. }
            | Command::Sign { .. }) => self.of_remotes(command),
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
            | Command::Names
            | Command::Serve => {
                unreachable!("they do without a cache, or open it themselves")
            }
        }
    }

    pub(super) fn open(&self) -> Result<Cache, Error> {
        let is_there = self.root.exists();
        let cache = Cache::open_with_progress(&self.root, &self.bar)?;
        if !is_there {
            // Who has mistyped its name would wonder where the eggs are.
            let root = self.root.display();
            self.printer.note(&format!("there was no cache {root}: an empty one is made"));
        }
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

    fn materialize(
        &self,
        names: &[String],
        all: bool,
        narrow: &query::Narrow,
        into: &Path,
    ) -> anyhow::Result<u8> {
        let mut cache = self.open()?;
        let eggs = if all {
            query::without_doubles(list::list(&cache, None, narrow)?.eggs)
        } else {
            self.pull_through(&mut cache, names, narrow, into)?;
            chosen(&mut cache, names, narrow)?
        };
        let options = materialize::Options { asked_at: Some(now()) };
        let report = materialize::materialize(&mut cache, &eggs, into, options, &self.bar)?;
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
        let cache = if Cache::is_at(&self.root) { Some(self.open()?) } else { None };
        let (eggs, missing) = match &cache {
            None => (Vec::new(), names.to_vec()),
            Some(cache) if all => {
                (query::without_doubles(list::list(cache, None, narrow)?.eggs), Vec::new())
            }
            Some(cache) => {
                let Found { eggs, missing, .. } = found(cache, names, narrow)?;
                (eggs, missing)
            }
        };
        let store = cache.as_ref().map(|cache| &cache.store);
        let report = preflight::preflight(store, &eggs, missing, into)?;
        self.printer.report(&report, |report| text::preflight(report, self.verbose))?;
        let is_missing = !report.missing.is_empty();
        let is_possible = report.fits && report.writable && report.failed().next().is_none();
        Ok(match (is_possible, is_missing) {
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

    fn check(&self, buildout: &Path, options: &check::Options) -> anyhow::Result<u8> {
        let cache = self.open_to_look()?;
        let report = check::check(cache.as_ref(), buildout, options, &self.bar)?;
        self.printer.report(&report, |report| text::checked(report, self.verbose))?;
        Ok(if report.unsolved().next().is_none() { 0 } else { PROBLEMS })
    }

    /// Opens the cache to compare a buildout with it: that makes no cache.
    fn open_to_look(&self) -> Result<Option<Cache>, Error> {
        if Cache::is_at(&self.root) {
            return self.open().map(Some);
        }
        let root = self.root.display();
        self.printer.warning(&if self.root.exists() {
            format!("{root} is no cache: no egg is compared")
        } else {
            format!("there is no cache {root}: no egg is compared")
        });
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
pub(super) fn named(
    mut names: Vec<String>,
    requirements: &[PathBuf],
) -> Result<Vec<String>, Error> {
    for file in requirements {
        names.extend(query::requirements(file)?);
    }
    Ok(names)
}

/// The eggs that the names name, all of them or none.
pub(super) fn chosen(
    cache: &mut Cache,
    names: &[String],
    narrow: &query::Narrow,
) -> anyhow::Result<Vec<CachedEgg>> {
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
    pub eggs: Vec<CachedEgg>,
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
