//! `remove`: evict eggs by name.

use crate::cache::Cache;
use crate::cache::retention::policy::Policy;
use crate::cli::complete_eggs::egg_names;
use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::format::eggs;
use crate::cli::kept_by::sentence;
use crate::cli::print::Text;
use crate::cli::select_eggs::Filter;
use crate::cli::table::{align_right, lines, table};
use crate::ops::remove::{self, Named, Options, Report};
use crate::util::units::{counted, shown_size};

use super::gc::unreadable_root;

/// How many pins and buildouts a message names without `--verbose`.
const FEW: usize = 3;

/// Remove eggs from the cache.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Either all of the eggs are removed or none. Eggs that are pinned or that a \
    registered buildout uses are refused without --force; `eggcache used-by EGG` lists what uses an egg. \
    Buildouts keep their own copies. The next buildout that needs the egg builds it, or pulls it from a \
    remote that has it: `eggcache remote withdraw` withdraws a bad build for everyone.\n\n\
    Examples:\n  eggcache remove lxml==6.1.3\n  eggcache remove 'zope.*' --dry-run\n  \
    eggcache remove 1a2b3c4d5e6f --force\n\n\
    Exit code 3 if the cache does not have one of the eggs, 2 if a name matches several eggs, 1 if an egg is \
    pinned or in use."
)]
pub struct Remove {
    /// Eggs: name==version, name, file name, at least 6 digits of the digest, or a pattern with *.
    #[arg(required = true, value_name = "EGG", add = egg_names())]
    eggs: Vec<String>,
    /// Remove eggs that are pinned or that a buildout uses, too.
    #[arg(long)]
    force: bool,
    /// Show what would be removed; change nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    filter: Filter,
}

impl Remove {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let Self { eggs, force, dry_run, filter } = self;
        let root = context.root()?;
        let grace = Policy::read(&root)?.grace;
        if !dry_run {
            Cache::drop_ballast(&root, &context.trust);
        }
        let options = Options { eggs, narrow: filter.into(), force, grace, dry_run };
        let report = remove::remove(&mut context.open_at(&root)?, &options, &context.bar)?;
        context.printer.report(&report, |report| text(report, context.verbose))?;
        Ok(if report.refused.is_empty() { ExitCode::Success } else { ExitCode::Failure })
    }
}

fn text(report: &Report, verbose: bool) -> Text {
    let few = if verbose { usize::MAX } else { FEW };
    let mut removed = table(["egg", "digest", "size"]);
    for Named { egg, .. } in &report.removed {
        removed.add_row([egg.file_name.clone(), egg.digest.short(), shown_size(egg.blob_bytes)]);
    }
    align_right(&mut removed, [2]);
    let mut text = Text { data: lines(&removed).into(), ..Text::default() };
    for Named { egg, kept_by } in &report.refused {
        text.problems.push(format!("{} is {}", egg.file_name, sentence(kept_by, few)).into());
    }
    text.problems.extend(report.unreadable.iter().map(|what| unreadable_root(what).into()));
    if !report.refused.is_empty() {
        text.hints = vec![
            "--force removes it all the same; a buildout builds or fetches it when it needs it again"
                .into(),
        ];
    }
    let forced = report.removed.iter().filter(|it| !it.kept_by.is_empty());
    text.notes = forced
        .map(|Named { egg, kept_by }| {
            let was = if report.dry_run { "is" } else { "was" };
            format!("{} {was} {}", egg.file_name, sentence(kept_by, few))
        })
        .collect();
    text.summary = summary(report);
    text
}

fn summary(report: &Report) -> String {
    let (count, size) = (eggs(report.removed.len()), shown_size(report.freed_bytes));
    let refused = counted(report.refused.len(), "egg");
    match (report.dry_run, report.refused.is_empty()) {
        (true, true) => format!("Would remove {count}, {size}"),
        (true, false) => format!("Would remove nothing: {refused} refused"),
        (false, true) => format!("Removed {count}, {size}"),
        (false, false) => format!("Nothing removed: {refused} refused"),
    }
}
