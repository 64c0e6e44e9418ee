//! `remote withdraw` and `remote withdrawals`: builds that must not be used any more.

use std::fmt::Write;

use crate::cache::Cache;
use crate::cache::query::Narrow;
use crate::cli::complete_eggs::{egg_names, remote_names};
use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::kept_by;
use crate::cli::print::Text;
use crate::cli::select_eggs::Filter;
use crate::cli::table::{lines, table};
use crate::error::Error;
use crate::ops::remote::withdraw::{self, Options, Report};
use crate::util::clock::{now, shown_day};
use crate::util::units::{age, counted};

use super::sign::signer;

/// Withdraw builds: no cache that reads the remote uses them any more.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EGGCACHE_SIGNING_KEY names the file with the secret key that signs the list of \
    withdrawn builds. Caches learn of it when they ask the remote for something, and once a day. \
    Without EGG, the list is only signed again for another period, which builders do when they \
    push.\n\nExamples:\n  \
    eggcache remote withdraw team lxml==6.1.3 --python 3.11 --reason 'built with a broken compiler'\n  \
    eggcache remote withdraw team evil==1.0 --all-builds --reason 'its archive was replaced'\n  \
    eggcache remote withdraw team lxml==6.1.3 --undo\n  \
    eggcache remote withdraw team\n\n\
    Exit code 3 if there is no such build, 2 if several match and --all-builds is not given."
)]
pub struct Withdraw {
    /// Name of the remote.
    #[arg(add = remote_names())]
    name: String,
    /// Builds: name==version, file name, or at least 6 digits of the digest.
    #[arg(value_name = "EGG", add = egg_names())]
    eggs: Vec<String>,
    /// Why they are withdrawn; everybody who needs one of them reads this.
    #[arg(long, value_name = "TEXT", requires = "eggs")]
    reason: Option<String>,
    /// Allow the builds again.
    #[arg(long, conflicts_with = "reason", requires = "eggs")]
    undo: bool,
    /// Take every build that a name matches.
    #[arg(long)]
    all_builds: bool,
    /// How long the list is valid without a new signature (default: as before, at first 30d).
    #[arg(long, value_name = "AGE", value_parser = age)]
    valid_for: Option<i64>,
    #[command(flatten)]
    filter: Filter,
}

/// List the withdrawn builds of a remote, remember them, and show which buildouts use them.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The cache remembers the list: from then on, the builds are not used, `gc` evicts \
    them, and `check` names copies of them. `used by` lists the buildouts that have run with this cache, and \
    the pins of builds that it still has.\n\n\
    Examples:\n  eggcache remote withdrawals team\n\n\
    Exit code 4 if the list of the remote is expired, old, not signed or gone."
)]
pub struct Withdrawals {
    /// Name of the remote.
    #[arg(add = remote_names())]
    name: String,
}

impl Withdraw {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let Self { name, eggs, reason, undo, all_builds, valid_for, filter } = self;
        if reason.is_none() && !undo && !eggs.is_empty() {
            return Err(Error::Usage("--reason TEXT is needed to withdraw an egg".into()).into());
        }
        let (cache, remote) = (context.open()?, context.remote(&name)?);
        let (narrow, reason) = (Narrow::from(filter), reason.unwrap_or_default());
        let options = Options { eggs, narrow, all_builds, reason, undo, valid_for };
        let signer = signer(context)?;
        let report = withdraw::withdraw(&cache, &remote, &signer, &options, &context.environment)?;
        context.printer.report(&report, |report| changed(report, undo))?;
        Ok(ExitCode::Success)
    }
}

impl Withdrawals {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let (root, remote) = (context.root()?, context.remote(&self.name)?);
        // The list is shown without an index, too.
        let cache = Cache::is_at(&root).then(|| context.open_at(&root)).and_then(Result::ok);
        let report = withdraw::list(&root, cache.as_ref(), &remote, &context.environment)?;
        context.printer.report(&report, |report| {
            let builds = counted(report.withdrawn.len(), "withdrawn build");
            let summary = format!("Remote {}: {builds}{}", report.remote, validity(report));
            Text { summary, ..listing(report) }
        })?;
        Ok(ExitCode::of_check(report.problem.is_none()))
    }
}

fn changed(report: &Report, undo: bool) -> Text {
    let verb = if undo { "allowed again" } else { "withdrawn" };
    let mut text = listing(report);
    text.summary = format!(
        "Remote {}: {} {verb}, {} in all{}",
        report.remote,
        counted(report.changed, "build"),
        report.withdrawn.len(),
        validity(report)
    );
    if let Some((signatures, needed)) = report.signatures.filter(|(found, needed)| found < needed) {
        text.notes.push(format!(
            "the list has {signatures} of {needed} signatures by trusted keys: run this again with \
             another key"
        ));
    }
    text
}

/// The number and the dates of the list.
fn validity(report: &Report) -> String {
    let (Some(number), Some(expires_at)) = (report.number, report.expires_at) else {
        return String::new();
    };
    let word = if expires_at <= now() { "expired on" } else { "valid until" };
    let mut text = format!("; list {number}, {word} {}", shown_day(expires_at));
    if let Some(signed_at) = report.signed_at {
        let _ = write!(text, ", signed on {}", shown_day(signed_at));
    }
    text
}

fn listing(report: &Report) -> Text {
    let mut rows = table(["egg", "version", "digest", "withdrawn", "used by", "reason"]);
    for it in &report.withdrawn {
        let users = report.kept_by.get(&it.egg).map(kept_by::lines).unwrap_or_default();
        let cell = |text: &String| vec![text.clone()];
        let (digest, day) = (it.egg.short(), shown_day(it.at));
        let cells = [&it.name, &it.version, &digest, &day].map(cell);
        let [name, version, digest, day] = &cells;
        rows.add_lines([name, version, digest, day, &users, &cell(&it.reason)].map(Vec::as_slice));
    }
    let problem = report.problem.as_ref();
    let problems = problem.map(|it| format!("remote {}: {it}", report.remote).into());
    Text { data: lines(&rows).into(), problems: problems.into_iter().collect(), ..Text::default() }
}
