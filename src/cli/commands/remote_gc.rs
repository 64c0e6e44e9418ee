//! `remote gc`: evict eggs from a remote, and delete unreferenced blobs.

use std::fmt::Write;

use crate::cache::retention::plan::Rules;
use crate::cache::retention::policy::Policy;
use crate::cli::complete_eggs::{key_ids, remote_names};
use crate::cli::context::Context;
use crate::cli::eviction_table::{AgeSince, eviction_table};
use crate::cli::exit_code::ExitCode;
use crate::cli::format::{eggs, listed};
use crate::cli::print::Text;
use crate::cli::values::at_least_one;
use crate::ops::remote::gc::{self, Options, Report};
use crate::remote::keys;
use crate::util::units::{age, counted, shown_size};

use super::gc::unreadable_root;

/// Evict eggs from a remote by policy and delete unreferenced blobs.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Eggs that this cache pins or that its buildouts use are kept. The age of an egg is that of its entry, because a remote does not record when an \
    egg was last used. Nor does it record what other caches use: pin here what should be kept. The \
    contents have to be listed: use the address of the store, not of a web server in front of \
    it.\n\nExamples:\n  \
    eggcache remote gc team --keep-versions 3 --dry-run\n  \
    eggcache remote gc team --max-age 1y\n  \
    eggcache remote gc team --untrusted --signed-by stolen.pub --dry-run\n  \
    eggcache remote gc team --dry-run --verbose    # why is each egg kept?"
)]
pub struct Gc {
    /// Name of the remote.
    #[arg(add = remote_names())]
    name: String,
    /// Evict eggs that were pushed longer than AGE ago: 90d, 12h, 1y (m means minutes, mo months).
    #[arg(long, value_name = "AGE", value_parser = age)]
    max_age: Option<i64>,
    /// Keep only the N newest final releases and the N newest pre-releases of each project, for each
    /// Python and platform.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    keep_versions: Option<usize>,
    /// Keep unreferenced blobs that are younger than AGE, because their entry may follow (default: 1d).
    #[arg(long, value_name = "AGE", value_parser = age)]
    grace: Option<i64>,
    /// Remove entries that no trusted key has signed, too: they keep others from pushing these eggs.
    #[arg(long)]
    untrusted: bool,
    /// Remove entries with a signature by KEY, even if they are pinned or others have signed them, too: a key
    /// id, a public key or its file.
    #[arg(long, value_name = "KEY", add = key_ids())]
    signed_by: Vec<String>,
    /// Show what would be removed; change nothing.
    #[arg(long)]
    dry_run: bool,
}

impl Gc {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let Self { name, max_age, keep_versions, grace, untrusted, signed_by, dry_run } = self;
        let signed_by = signed_by.iter().map(|key| keys::id_of(key)).collect::<Result<_, _>>()?;
        let rules = Rules { max_age, keep_versions, ..Rules::default() };
        let root_grace = Policy::read(&context.root()?)?.grace;
        let options = Options { rules, grace, root_grace, untrusted, signed_by, dry_run };
        let (cache, remote) = (context.open()?, context.remote(&name)?);
        let report = gc::gc(&cache, &remote, &options, &context.environment, &context.bar)?;
        context.printer.report(&report, |report| text(report, context.verbose))?;
        Ok(ExitCode::Success)
    }
}

fn text(report: &Report, verbose: bool) -> Text {
    let would = if report.dry_run { "would remove" } else { "removed" };
    let mut notes = Vec::new();
    for refused in &report.refused {
        let action = if refused.removed { would } else { "kept" };
        notes.push(format!("{}: {}; {action}", refused.what, refused.reason));
    }
    if report.refused.iter().any(|refused| !refused.removed) {
        notes.push("--untrusted removes entries that no trusted key has signed".into());
    }
    if report.blocked {
        notes.push(
            "all blobs are kept, because a newer eggcache has written an entry: run that version"
                .into(),
        );
    }
    Text {
        data: eviction_table(
            &report.evicted,
            &report.kept_eggs,
            &report.rules,
            AgeSince::Push,
            verbose,
        )
        .into(),
        problems: report.unreadable.iter().map(|what| unreadable_root(what).into()).collect(),
        notes,
        summary: summary(report),
        ..Text::default()
    }
}

fn summary(report: &Report) -> String {
    let refused = report.refused.iter().filter(|it| it.removed).count();
    let mut removed = vec![eggs(report.evicted.len() + refused), counted(report.blobs, "blob")];
    if report.leases > 0 {
        removed.push(counted(report.leases, "old lease"));
    }
    let mut summary = format!(
        "Remote {}: {} {}, {}; {} kept, {}",
        report.remote,
        if report.dry_run { "would remove" } else { "removed" },
        listed(&removed),
        shown_size(report.freed_bytes),
        eggs(report.kept),
        shown_size(report.kept_bytes)
    );
    if report.young_blobs > 0 {
        let young = counted(report.young_blobs, "unreferenced blob");
        let _ = write!(summary, "; {young} kept for now: younger than the grace period");
    }
    summary
}
