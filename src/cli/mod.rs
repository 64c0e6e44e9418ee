//! The command line: what the words mean, and what an exit code says.

mod args;
mod bar;
mod print;
mod text;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use eggcache::cache::Cache;
use eggcache::clock::now;
use eggcache::egg::Egg;
use eggcache::error::Error;
use eggcache::plan::Rules;
use eggcache::policy::Policy;
use eggcache::tree::Hints;
use eggcache::{
    add, gc, init, list, materialize, pins, query, reindex, roots, serve, show, verify,
};

use args::{Args, Command};
use bar::Bar;
use print::Printer;

/// Exit codes, which scripts rely on. Usage errors of the command line itself are clap's, also 2.
const FAILURE: u8 = 1;
const USAGE: u8 = 2;
const MISS: u8 = 3;
const PROBLEMS: u8 = 4;

pub fn main() -> ExitCode {
    let args = Args::parse();
    let printer = Printer::new(args.global.json, args.global.quiet, args.global.color());
    match run(args, &printer) {
        Ok(code) => ExitCode::from(code),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let known = error.downcast_ref::<Error>();
            // The library's errors tell their causes themselves.
            printer.error(&known.map_or_else(|| format!("{error:#}"), Error::to_string));
            ExitCode::from(match known {
                Some(Error::Miss { .. } | Error::NotARoot { .. } | Error::NotAPin { .. }) => MISS,
                Some(Error::Usage(_) | Error::Ambiguous { .. } | Error::Requirements { .. }) => {
                    USAGE
                }
                _ => FAILURE,
            })
        }
    }
}

fn run(args: Args, printer: &Printer) -> anyhow::Result<u8> {
    let Args { global, command } = args;
    if let Command::Serve = command {
        serve::serve(io::stdin().lock(), io::stdout().lock())?;
        return Ok(0);
    }
    let root = global.cache.map_or_else(default_cache, Ok)?;
    let bar = Bar::new(!global.json && !global.quiet && io::stderr().is_terminal());
    let code = match command {
        Command::Add { paths, generation, environment, source_sha256, replace } => {
            let hints = Hints {
                generation,
                environment,
                source_sha256: source_sha256.unwrap_or_default(),
                ..Hints::default()
            };
            let replace = if replace { add::Replace::All } else { add::Replace::None };
            let options = add::Options { hints, replace, ..add::Options::default() };
            let report = add::add(&mut open(&root, printer)?, &paths, &options, &bar)?;
            printer.report(&report, |report| text::added(report, global.verbose))?;
            if report.refused().next().is_some() { FAILURE } else { 0 }
        }
        Command::Materialize { into, eggs, requirements, all, narrow } => {
            let mut cache = open(&root, printer)?;
            let mut names = eggs;
            for file in requirements {
                names.extend(query::requirements(&file)?);
            }
            let eggs = if all {
                list::list(&cache, None, &narrow.into())?.eggs
            } else {
                chosen(&mut cache, &names, &narrow.into())?
            };
            let report = materialize::materialize(&cache, &eggs, &into, &bar)?;
            printer.report(&report, |report| text::materialized(report, global.verbose))?;
            cache.index.record_use(&report.in_place(), now());
            match (report.failed().next(), report.missing().next()) {
                (Some(_), _) => FAILURE,
                (None, Some(_)) => MISS,
                (None, None) => 0,
            }
        }
        Command::List { query, narrow } => {
            let report = list::list(&open(&root, printer)?, query.as_deref(), &narrow.into())?;
            printer.report(&report, text::listed)?;
            0
        }
        Command::Show { egg, files, narrow } => {
            let report = show::show(&open(&root, printer)?, &egg, &narrow.into(), files)?;
            printer.report(&report, text::shown)?;
            0
        }
        Command::Gc { max_age, max_size, keep_versions, grace, ignore_roots, dry_run } => {
            let policy = Policy::read(&root)?;
            let options = gc::Options {
                rules: Rules { max_age, max_size, keep_versions }.or(policy.rules),
                grace: grace.or(policy.grace),
                ignore_roots,
                time_limit: None,
                dry_run,
            };
            if !dry_run {
                Cache::drop_ballast(&root);
            }
            let report = gc::gc(&mut open(&root, printer)?, &options, &bar)?;
            printer.report(&report, |report| text::collected(report, global.verbose))?;
            0
        }
        Command::Roots { forget } => {
            let report = roots::roots(&open(&root, printer)?, forget.as_deref())?;
            printer.report(&report, text::roots)?;
            if report.unreadable.is_empty() { 0 } else { PROBLEMS }
        }
        Command::Pin { what, note } => {
            change_pins(&root, &pins::Options::Pin { what, note }, printer)?
        }
        Command::Unpin { what } => change_pins(&root, &pins::Options::Unpin { what }, printer)?,
        Command::Pins => change_pins(&root, &pins::Options::List, printer)?,
        Command::Verify { repair } => {
            let report = verify::verify(&root, repair, &bar)?;
            printer.report(&report, text::verified)?;
            if report.unsolved().next().is_none() { 0 } else { PROBLEMS }
        }
        Command::Init { shared } => {
            let report = init::init(&root, shared)?;
            printer.report(&report, text::made)?;
            0
        }
        Command::Reindex => {
            let report = reindex::reindex(&root, &bar)?;
            printer.report(&report, text::reindexed)?;
            if report.rebuilt.unreadable.is_empty() { 0 } else { PROBLEMS }
        }
        Command::Serve => unreachable!("answered above: it names its cache itself"),
    };
    Ok(code)
}

fn open(root: &Path, printer: &Printer) -> Result<Cache, Error> {
    let cache = Cache::open(root)?;
    if let Some(warning) = cache.warning() {
        printer.warning(&warning);
    }
    Ok(cache)
}

fn change_pins(root: &Path, options: &pins::Options, printer: &Printer) -> anyhow::Result<u8> {
    let report = pins::pins(&open(root, printer)?, options)?;
    printer.report(&report, |report| text::pinned(report, options))?;
    Ok(0)
}

/// The eggs that the names name, all of them or none.
fn chosen(cache: &mut Cache, names: &[String], narrow: &query::Narrow) -> anyhow::Result<Vec<Egg>> {
    let mut eggs = Vec::new();
    let mut missing = Vec::new();
    for name in names {
        match query::one(&cache.index, name, narrow) {
            Ok(egg) => eggs.push(egg),
            Err(Error::Miss { query }) => {
                query::record_miss(&mut cache.index, &query, narrow, now());
                missing.push(query);
            }
            Err(error) => return Err(error.into()),
        }
    }
    if !missing.is_empty() {
        return Err(Error::Miss { query: missing.join(", ") }.into());
    }
    Ok(eggs)
}

fn default_cache() -> anyhow::Result<PathBuf> {
    use etcetera::BaseStrategy;
    let strategy = etcetera::choose_base_strategy()
        .context("no home directory: name the cache with --cache DIR or EGGCACHE_DIR")?;
    Ok(strategy.cache_dir().join("eggcache"))
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
