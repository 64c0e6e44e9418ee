//! One command: from its arguments to its report and the code that it ends with.

use std::path::{Path, PathBuf};

use eggcache::cache::Cache;
use eggcache::clock::now;
use eggcache::egg::Egg;
use eggcache::error::Error;
use eggcache::index::Usage;
use eggcache::plan::Rules;
use eggcache::policy::Policy;
use eggcache::tree::Hints;
use eggcache::{
    add, check, gc, init, list, materialize, pins, query, reindex, roots, show, stats, verify,
};

use super::args::Command;
use super::bar::Bar;
use super::print::Printer;
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
                let hints = Hints { generation, environment, source_sha256, ..Hints::default() };
                let replace = if replace { add::Replace::All } else { add::Replace::None };
                self.add(&paths, &add::Options { hints, replace, ..add::Options::default() })
            }
            Command::Materialize { into, eggs, requirements, all, narrow } => {
                let mut cache = self.open()?;
                let mut names = eggs;
                for file in requirements {
                    names.extend(query::requirements(&file)?);
                }
                let eggs = if all {
                    list::list(&cache, None, &narrow.into())?.eggs
                } else {
                    chosen(&mut cache, &names, &narrow.into())?
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
            Command::Completions { .. } | Command::Man { .. } | Command::Serve => {
                unreachable!("they do without a cache, or name it themselves")
            }
        }
    }

    fn open(&self) -> Result<Cache, Error> {
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
        // Looking at a buildout makes no cache.
        let cache = if self.root.is_dir() { Some(self.open()?) } else { None };
        if cache.is_none() {
            let root = self.root.display();
            self.printer.warning(&format!("there is no cache {root}: no egg is compared"));
        }
        let report = check::check(cache.as_ref(), buildout, options, &self.bar)?;
        self.printer.report(&report, |report| text::checked(report, self.verbose))?;
        Ok(if report.unsolved().next().is_none() { 0 } else { PROBLEMS })
    }
}

/// The eggs that the names name, all of them or none.
fn chosen(cache: &mut Cache, names: &[String], narrow: &query::Narrow) -> anyhow::Result<Vec<Egg>> {
    let mut eggs = Vec::new();
    let mut missing = Vec::new();
    let mut meant = Vec::new();
    for name in names {
        match query::one(&cache.index, name, narrow) {
            Ok(egg) => eggs.push(egg),
            Err(Error::Miss { query, nearest }) => {
                query::record_miss(&mut cache.index, &query, narrow, now());
                missing.push(query);
                meant.extend(nearest);
            }
            Err(error) => return Err(error.into()),
        }
    }
    if !missing.is_empty() {
        let misses = missing.len() as u64;
        cache.index.record(&Usage { misses, ..Usage::default() }, now());
        return Err(Error::Miss { query: missing.join(", "), nearest: meant }.into());
    }
    Ok(eggs)
}
