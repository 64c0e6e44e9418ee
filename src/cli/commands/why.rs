//! `why`: where the eggs of a buildout came from, and why an egg was a miss.

use std::path::Path;

use crate::buildout::is_buildout;
use crate::cache::build_options::shown;
use crate::cache::last_run::{Lack, Origin, Outcome};
use crate::cache::miss::Miss;
use crate::cache::query::Narrow;
use crate::cli::complete_eggs::egg_names;
use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::print::{Data, Text};
use crate::cli::select_eggs::Filter;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::variant;
use crate::ops::why::{self, Cached, Egg, Explained, OfBuildout, OfEgg, Run};
use crate::util::clock::{shown_day, shown_minute};
use crate::util::units::{counted, shown_time};

/// Explain why an egg was not in the cache.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A buildout with `egg-cache` records where each egg came from that it has installed, and why \
    it was a miss. The record of a folder is that of the last run there that installed eggs, with the eggs that a later \
    run lacked. For a folder, this \
    prints the misses of that run; with -v, the hits, too. For an egg, it prints what the last run in each folder \
    did with it, and what the cache has now. In the folder of a buildout, that is for the Python of bin/buildout or \
    else of the last run, unless --python names another one. Of a custom build (`zc.recipe.egg:custom`), the lines name the options. \
    `buildout -v` logs the same reasons.\n\n\
    Examples:\n  eggcache why\n  eggcache why /srv/app\n  eggcache why lxml\n  \
    eggcache why lxml==6.1.3 --python 3.12\n  eggcache --json why | jq '.run.eggs[] | select(.why)'\n\n\
    Exit code 3 if nothing is known of the egg, or no run is recorded for the folder."
)]
pub struct Why {
    /// Egg (name, name==version, file name, or at least 6 digits of the digest), or the folder of a buildout.
    #[arg(value_name = "EGG|BUILDOUT", default_value = ".", add = egg_names())]
    what: String,
    #[command(flatten)]
    filter: Filter,
}

impl Why {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let Self { what, filter } = self;
        let folder = Path::new(&what);
        if what == "." || what.contains('/') || is_buildout(folder) {
            let root = context.root_of_buildout(folder)?;
            let report = why::of_buildout(&context.open_at(&root)?, folder)?;
            context.printer.report(&report, |report| of_buildout(report, context.verbose))?;
        } else {
            let cache = context.open()?;
            let mut narrow = Narrow::from(filter);
            narrow.python = narrow.python.or_else(|| why::python_of(&cache, Path::new(".")));
            let report = why::of_egg(&cache, &what, &narrow)?;
            context.printer.report(&report, of_egg)?;
        }
        Ok(ExitCode::Success)
    }
}

fn of_buildout(OfBuildout { run }: &OfBuildout, verbose: bool) -> Text {
    let mut data = Data::default();
    for egg in run.eggs.iter().filter(|it| verbose || it.why.is_some()) {
        data.line(&line(egg));
    }
    let outcome = if run.succeeded { "" } else { ", which failed" };
    let (hits, misses) = (counted(run.hits, "hit"), misses(run.misses));
    let missing =
        if run.missing > 0 { format!(", {} missing", run.missing) } else { String::new() };
    let summary = format!(
        "{hits}, {misses}{missing} in the run of {} in {}{outcome}",
        shown_minute(run.at),
        run.directory.display()
    );
    for note in remote_notes(run) {
        data.line(&note);
    }
    let notes = run.since.map(|Outcome { at, succeeded }| {
        let verb = if succeeded { "succeeded" } else { "failed" };
        format!("the run of {}, which installed no egg, {verb}", shown_minute(at))
    });
    let notes = notes.into_iter().collect();
    let mut text = Text { data, notes, summary, ..Text::default() };
    text.hint(hints(run.eggs.iter().filter_map(|egg| egg.installed.origin.miss())));
    text
}

/// What was wrong with remotes, for a run that could have needed them.
fn remote_notes(run: &Run) -> Vec<String> {
    let had_miss = run.eggs.iter().any(|egg| egg.why.is_some());
    run.remote_problems.iter().filter(|_| had_miss).map(|it| format!("in that run, {it}")).collect()
}

/// What to do about misses.
fn hints<'a>(mut misses: impl Iterator<Item = &'a Miss>) -> Vec<String> {
    let is_by_hand = misses.any(|miss| matches!(miss, Miss::UnknownArchive));
    let hint =
        "`egg-cache-unknown-archives = use` in [buildout] serves eggs that were added by hand";
    is_by_hand.then(|| hint.to_owned()).into_iter().collect()
}

fn misses(count: usize) -> String {
    if count == 1 { "1 miss".into() } else { format!("{count} misses") }
}

fn of_egg(OfEgg { runs, cached, missing }: &OfEgg) -> Text {
    let mut data = Data::default();
    for run @ Run { directory, at, eggs, .. } in runs {
        let (time, directory) = (shown_minute(*at), directory.display());
        for egg in eggs {
            data.line(&format!("{time} in {directory}: {}", line(egg)));
        }
        for note in remote_notes(run) {
            data.line(&format!("{time} in {directory}: {note}"));
        }
    }
    for egg in cached {
        data.line(&format!("now: the cache has {}", now_cached(egg)));
    }
    if let Some(Explained { name, version, why, .. }) = missing {
        let version = version.as_ref().map(|it| format!(" {it}")).unwrap_or_default();
        data.line(&format!("now: the cache cannot serve {name}{version}: {why}"));
    }
    Text { data, ..Text::default() }
}

/// An egg of the cache, with what its file name does not show.
fn now_cached(Cached { egg, options }: &Cached) -> String {
    let CachedEgg { file_name, digest, key, provenance, .. } = egg;
    let mut text = format!("{file_name} ({})", digest.short());
    if !key.environment.is_empty() {
        text = format!("{text} with the environment label {}", key.environment);
    }
    let is_custom = variant::digest_of(&key.variant).is_some();
    match options {
        Some(options) => text = format!("{text}, a custom build with {}", shown(options)),
        None if is_custom => {
            text = format!("{text}, a custom build with options that are not known here");
        }
        None => {}
    }
    format!("{text}, added on {}", shown_day(provenance.added_at))
}

/// The time of a build, as the log of buildout has it.
fn built_in(seconds: f64) -> String {
    if seconds < 60.0 { format!("{seconds:.1} s") } else { shown_time(seconds) }
}

fn lacked(lack: Lack) -> &'static str {
    match lack {
        Lack::Offline => "offline",
        Lack::NotFound => "not found",
        Lack::NotInstalled => "its installation failed",
    }
}

/// An egg, where it came from, and why.
fn line(Egg { installed, why }: &Egg) -> String {
    let (from, not_converted) = match &installed.origin {
        Origin::Cache => ("cache".into(), None),
        Origin::Remote { remote } => (format!("remote {remote}"), None),
        Origin::Converted { .. } => ("converted".into(), None),
        Origin::Missing { lack, .. } => (format!("missing: {}", lacked(*lack)), None),
        Origin::Built { seconds, not_converted, .. } => {
            (format!("built, {}", built_in(*seconds)), not_converted.as_ref())
        }
    };
    let mut line = installed.name.clone();
    for part in [&installed.version, &format!("({from})")] {
        if !part.is_empty() {
            line = format!("{line} {part}");
        }
    }
    if !installed.options.is_empty() {
        line = format!("{line}, a custom build with {}", shown(&installed.options));
    }
    if let Some(why) = why {
        line = format!("{line}: {why}");
    }
    if let Some(reason) = not_converted {
        line = format!("{line}; not converted: {reason}");
    }
    line
}
