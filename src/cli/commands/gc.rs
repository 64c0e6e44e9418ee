//! `gc`: evict eggs by policy, and delete unreferenced files.

use std::fmt::Write;

use crate::cache::Cache;
use crate::cache::Regrets;
use crate::cache::retention::plan::{KeepReason, Rules, SizeOrder};
use crate::cache::retention::policy::Policy;
use crate::cli::complete_eggs::key_ids;
use crate::cli::context::Context;
use crate::cli::eviction_table::{AgeSince, eviction_table};
use crate::cli::exit_code::ExitCode;
use crate::cli::format::{eggs, listed};
use crate::cli::print::Text;
use crate::cli::values::at_least_one;
use crate::error::Error;
use crate::ops::gc::{self, Options, Report};
use crate::remote::keys;
use crate::util::units::{age, counted, limit_argument, shown_limit, shown_size, size};

/// Evict eggs by policy and delete unreferenced files.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Pinned eggs and eggs that a registered buildout uses are kept, unless they are \
    withdrawn or an option says otherwise. Defaults come from \
    eggcache.toml in the cache directory:\n\n  [gc]\n  \
    max-age = \"90d\"\n  max-size = \"20GiB\"\n  keep-versions = 3\n  grace = \"30d\"\n  \
    auto = true    # after a buildout, at most once a day\n\nExamples:\n  \
    eggcache gc --max-age 90d --dry-run\n  eggcache gc --max-size 20GiB --keep-versions 3\n  \
    eggcache gc --dry-run --verbose    # why is each egg kept?\n  \
    eggcache gc --ci --max-size 2GiB    # before a CI system saves the cache\n  \
    eggcache gc --signed-by 1A2B3C4D5E6F7A8B --dry-run    # the key was stolen"
)]
pub struct Gc {
    /// Evict eggs that were not used for longer than AGE: 90d, 12h, 1y (m means minutes, mo months).
    #[arg(long, value_name = "AGE", value_parser = age)]
    max_age: Option<i64>,
    /// Evict the least recently used eggs, or with --ci those that are quick to build for their size, until
    /// the blobs take no more than SIZE: 500MB, 20GiB.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_size: Option<u64>,
    /// Keep only the N newest final releases and the N newest pre-releases of each project, for each
    /// Python and platform.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    keep_versions: Option<usize>,
    /// Keep the eggs of a buildout for AGE after its folder is gone, for example because a disk is not
    /// mounted (default: 30d).
    #[arg(long, value_name = "AGE", value_parser = age)]
    grace: Option<i64>,
    /// Evict eggs that buildouts use, too, but not pinned ones. A buildout builds or fetches them again
    /// when it needs them.
    #[arg(long)]
    ignore_roots: bool,
    /// Make the cache fit a CI system that saves it after a job: until it has at most the size, evict those
    /// eggs that save the least build time per byte. Implies --ignore-roots. Needs a size.
    #[arg(long)]
    ci: bool,
    /// Evict eggs that were pulled from a remote and that KEY has signed, even if they are pinned or in
    /// use: a key id, a public key or its file. The rules of eggcache.toml do not apply then.
    #[arg(long, value_name = "KEY", add = key_ids())]
    signed_by: Vec<String>,
    /// Show what would be removed; change nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
}

impl Gc {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let Self { max_age, max_size, keep_versions, grace, ignore_roots, ci, signed_by, dry_run } =
            self;
        let root = context.root()?;
        let policy = Policy::read(&root)?;
        let order = if ci { SizeOrder::BuildTime } else { SizeOrder::LastUse };
        let rules = Rules { max_age, max_size, keep_versions, order };
        let options = Options {
            rules: if signed_by.is_empty() { rules.or(policy.rules) } else { rules },
            grace: grace.or(policy.grace),
            signed_by: signed_by.iter().map(|key| keys::id_of(key)).collect::<Result<_, _>>()?,
            ignore_roots: ignore_roots || ci,
            time_limit: None,
            dry_run,
        };
        if ci && options.rules.max_size.is_none() {
            let what = "--ci needs --max-size, or max-size in eggcache.toml";
            return Err(Error::Usage(what.into()).into());
        }
        if !dry_run {
            Cache::drop_ballast(&root, &context.trust);
        }
        let report = gc::gc(&mut context.open_at(&root)?, &options, &context.bar)?;
        context.printer.report(&report, |report| text(report, context.verbose))?;
        Ok(ExitCode::Success)
    }
}

fn text(report: &Report, verbose: bool) -> Text {
    let would = if report.dry_run { "would forget" } else { "forgot" };
    let forgotten = report.forgotten_roots.iter();
    let mut notes: Vec<String> = forgotten
        .map(|root| format!("{would} the buildout {}: its folder is gone", root.display()))
        .collect();
    notes.extend(report.locked.iter().cloned());
    let problems = report.unreadable.iter().map(|what| unreadable_root(what));
    let problems = problems.chain(report.damaged_arrivals.clone()).map(Into::into).collect();
    notes.extend(
        report.unknown_keys.iter().map(|key| format!("no egg in the cache came by key {key}")),
    );
    notes.extend(excess(report));
    notes.extend(regrets(report));
    Text {
        data: eviction_table(
            &report.evicted,
            &report.kept_eggs,
            &report.rules,
            AgeSince::Use,
            verbose,
        )
        .into(),
        problems,
        notes,
        summary: summary(report),
        ..Text::default()
    }
}

/// The problem of a record of a root that cannot be read.
pub fn unreadable_root(what: &str) -> String {
    format!("{what}; the eggs of this buildout are not protected until it runs again")
}

/// Why the cache is still larger than the limit.
fn excess(report: &Report) -> Option<String> {
    if report.postponed > 0 || !report.locked.is_empty() {
        return None;
    }
    let (excess, max_size) = (report.excess()?, report.rules.max_size?);
    let is_kept = |is: fn(&KeepReason) -> bool| report.kept_eggs.iter().any(|it| is(&it.reason));
    let pinned = is_kept(|stay| matches!(stay, KeepReason::Pinned { .. }));
    let used = is_kept(|stay| matches!(stay, KeepReason::Root { .. }));
    let why = match (used, pinned) {
        (true, true) => "in use (`eggcache roots`) or pinned (`eggcache pins`)",
        (false, true) => "pinned (`eggcache pins`)",
        (_, false) => "in use (`eggcache roots`); --ignore-roots evicts it, too",
    };
    Some(format!(
        "still {} over the limit of {}: the rest is {why}",
        shown_size(excess),
        shown_limit(max_size)
    ))
}

/// Which limit would have kept the eggs that were evicted and then needed again.
fn regrets(report: &Report) -> Option<String> {
    let Regrets { asked, limit_bytes, .. } = report.regrets;
    let is_lower = report.rules.max_size.is_none_or(|max_size| max_size < limit_bytes);
    (asked > 0 && is_lower).then(|| {
        format!(
            "evicted within a year, then needed again: {}; `--max-size {}` would have kept {}",
            counted(asked, "egg"),
            limit_argument(limit_bytes),
            if asked == 1 { "it" } else { "them" }
        )
    })
}

fn summary(report: &Report) -> String {
    let mut removed =
        vec![eggs(report.evicted.len()), counted(report.orphans.len(), "orphaned blob")];
    if report.temporary_files > 0 {
        removed.push(counted(report.temporary_files, "temporary file"));
    }
    let mut summary = format!(
        "{} {}, {}; {} kept, {}",
        if report.dry_run { "Would remove" } else { "Removed" },
        listed(&removed),
        shown_size(report.freed_bytes),
        eggs(report.kept),
        shown_size(report.kept_bytes)
    );
    let count =
        |is: fn(&KeepReason) -> bool| report.kept_eggs.iter().filter(|it| is(&it.reason)).count();
    let kinds = [
        (count(|stay| matches!(stay, KeepReason::Pinned { .. })), "pinned"),
        (count(|stay| matches!(stay, KeepReason::Root { .. })), "used by a buildout"),
        (count(|stay| *stay == KeepReason::NewestVersion), "among the newest versions"),
        (count(|stay| *stay == KeepReason::RecentlyUsed), "recently used"),
        (count(|stay| *stay == KeepReason::SlowToBuild), "slower to build for their size"),
    ];
    let kinds = kinds.iter().filter(|(count, _)| *count > 0);
    let kinds: Vec<String> = kinds.map(|(count, what)| format!("{count} {what}")).collect();
    if !kinds.is_empty() {
        let _ = write!(summary, " ({})", kinds.join(", "));
    }
    if report.adopted > 0 {
        let _ = write!(summary, "; {} restored to the index", eggs(report.adopted));
    }
    summary
}
