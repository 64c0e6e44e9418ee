//! `pull`: download eggs from the remotes.

use std::path::PathBuf;

use crate::cache::query::Narrow;
use crate::cli::complete_eggs::remote_names;
use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::print::{Text, messages};
use crate::cli::select_eggs::{Filter, with_requirements};
use crate::cli::transfers::transfers_text;
use crate::error::Error;
use crate::ops::remote::pull::{self, Report};
use crate::remote::client::Patience;
use crate::remote::config;
use crate::remote::upstream::Upstream;
use crate::remote::withdrawals::run::RunWithdrawals;

/// Download eggs from the remotes into the cache.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("selection").args(["eggs", "requirements"]).required(true).multiple(true),
    after_help = "`materialize` and buildouts pull the eggs that they need by themselves.\n\n\
    Examples:\n  \
    eggcache pull lxml==6.1.3 --python 3.11\n  eggcache pull f57e3e4c1a02\n  \
    eggcache pull --requirements requirements.txt --python 3.11\n\n\
    Exit code 3 if no remote has one of the eggs, 1 if one could not be pulled or a remote could not \
    be used."
)]
pub struct Pull {
    /// Eggs: name==version, file name, or at least 6 digits of the digest.
    #[arg(value_name = "EGG")]
    eggs: Vec<String>,
    /// Also pull the eggs that FILE pins: a requirements file with name==version lines, or a buildout
    /// configuration with a section `[versions]`.
    #[arg(long, value_name = "FILE")]
    requirements: Vec<PathBuf>,
    /// Remote to pull from (default: all remotes, in their order).
    #[arg(long, value_name = "NAME", add = remote_names())]
    from: Option<String>,
    #[command(flatten)]
    filter: Filter,
}

impl Pull {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let Self { eggs, requirements, from, filter } = self;
        let names = with_requirements(eggs, &requirements)?;
        let mut cache = context.open()?;
        let upstream = sources(context, from.as_deref())?;
        let report =
            pull::pull(&mut cache, &names, &upstream, &Narrow::from(filter), &context.bar)?;
        context.printer.report(&report, |report| text(report, context.verbose))?;
        // A remote that could not be used may have the missing eggs.
        let is_certain = report.warnings.is_empty();
        Ok(match (report.failed().next(), report.missing.first()) {
            (None, None) => ExitCode::Success,
            (None, Some(_)) if is_certain => ExitCode::Miss,
            _ => ExitCode::Failure,
        })
    }
}

/// The remotes to pull from.
fn sources(context: &Context, name: Option<&str>) -> anyhow::Result<Upstream> {
    let root = context.root()?;
    let mut remotes = context.remotes()?;
    let withdrawals = RunWithdrawals::new(&root, &remotes)?;
    if let Some(name) = name {
        let at = config::position(&remotes, name)?;
        remotes = vec![remotes.swap_remove(at)];
    }
    if remotes.is_empty() {
        return Err(Error::NoRemotes.into());
    }
    let upstream = Upstream::new(&remotes, &withdrawals, Patience::COMMAND, &context.environment)?;
    if upstream.is_empty() {
        let remotes = remotes.into_iter().map(|remote| remote.name).collect();
        return Err(Error::NoTrustedKey { remotes }.into());
    }
    Ok(upstream)
}

fn text(report: &Report, verbose: bool) -> Text {
    let mut text = transfers_text("pulled", "into", "the cache", &report.eggs, verbose);
    let is_failed = !text.problems.is_empty();
    let which = if report.warnings.is_empty() { "no remote" } else { "no usable remote" };
    text.problems.extend(report.missing.iter().map(|name| format!("{which} has {name}").into()));
    if !is_failed {
        text.problems.extend(messages(&report.warnings));
    }
    text
}
