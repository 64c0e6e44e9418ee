//! `doctor`: find what is wrong, and name the command that mends it.

use std::path::Path;

use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::format::verdict;
use crate::cli::hints::Hints;
use crate::cli::print::{Data, Message, Text};
use crate::ops::doctor::{self, Finding, Kind, Options, Report};

/// Find what keeps eggcache from working here.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Looks at the cache, its permissions, disk and times, at the remotes and their keys, and, \
    in the folder of a buildout, at the Python package of bin/buildout. Each problem comes with what mends it. \
    Changes nothing and runs no Python; each remote gets one request. `eggcache verify` checks \
    every byte of the eggs.\n\n\
    Examples:\n  eggcache doctor\n  eggcache --json doctor | jq '.findings[] | select(.is_problem)'\n\n\
    Exit code 4 if there is a problem."
)]
pub struct Doctor {}

impl Doctor {
    pub fn run(context: &Context) -> anyhow::Result<ExitCode> {
        let root = context.root()?;
        // A cache that cannot be used is a finding, and its remotes are not asked.
        let remotes = context.remotes().unwrap_or_default();
        let options = Options {
            trust: &context.trust,
            remotes: &remotes,
            environment: &context.environment,
            buildout: Path::new("."),
        };
        let report = doctor::doctor(&root, &options, &context.bar);
        let hints = context.printer.hints();
        context.printer.report(&report, |report| text(report, hints))?;
        Ok(ExitCode::of_check(report.problems().next().is_none()))
    }
}

fn text(report: &Report, hints: &Hints) -> Text {
    let mut data = Data::default();
    for Finding { what, .. } in report.findings.iter().filter(|it| !it.is_problem) {
        data.line(&format!("ok  {what}"));
    }
    let message =
        |it: &Finding| Message { line: it.what.clone(), details: mend(it, report, hints) };
    let problems: Vec<Message> = report.problems().map(message).collect();
    let summary = verdict(problems.len(), 0);
    Text { data, problems, summary, ..Text::default() }
}

/// What mends a problem, a line each.
fn mend(finding: &Finding, report: &Report, hints: &Hints) -> Vec<String> {
    if let Some(error) = &finding.error {
        return hints.of_library(error);
    }
    let command = |words: &str| hints.command(words);
    vec![match finding.kind {
        Kind::Index => hints.rebuild(),
        Kind::Access => format!("{} closes it", command("verify --repair --trust-cache")),
        Kind::Owner => return hints.of_strangers(&report.cache),
        Kind::Leftovers => format!("{} removes them", command("gc")),
        Kind::Space => format!("{} shrinks the cache", command("gc --max-size SIZE")),
        Kind::Times => format!("{} sets them to now", command("gc")),
        Kind::Clock => "set the clock of this machine".into(),
        Kind::Key => format!("{} trusts a key until another day", command("trust NAME KEY --until DAY")),
        Kind::Package | Kind::Hook => {
            "install the wheel of eggcache beside zc.buildout: `pip install --force-reinstall WHEEL`".into()
        }
        Kind::Cache | Kind::Disk | Kind::Remote => return Vec::new(),
    }]
}
