//! `doctor`: find what is wrong, and name the command that mends it.

use std::path::Path;

use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::format::verdict;
use crate::cli::hints::Hints;
use crate::cli::print::{Data, Message, Text};
use crate::ops::doctor::{self, About, Finding, Kind, Options, Report};
use crate::util::printable::quoted;

/// Find what keeps eggcache from working here.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Looks at the cache, its permissions, disk and times, at the settings of the buildout in this folder, at \
    the remotes and their keys, and at the Python package: that of bin/buildout in the folder of a buildout, otherwise that of the buildout beside this \
    command, or in PATH. Each problem comes with what mends it. Changes nothing and runs no Python; each remote gets a few requests. `eggcache verify` checks \
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
        let program = std::env::current_exe().ok();
        let options = Options {
            trust: &context.trust,
            remotes: &remotes,
            environment: &context.environment,
            buildout: Path::new("."),
            user: context.place.user(),
            program: program.as_deref(),
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
    let command = |words: &str| hints.command(words);
    let line = match (&finding.about, finding.kind) {
        (About::Error(error), _) => return hints.of_library(error),
        (About::Python(python), _) => {
            let pip = format!("{} -m pip install --force-reinstall WHEEL", quoted(python));
            format!("`{pip}` installs the wheel of eggcache beside zc.buildout")
        }
        (About::Key { remote, key }, _) => {
            let trust = command(&format!("trust {remote} {key} --until DAY"));
            format!("{trust} trusts it until another day")
        }
        (About::Trust { remote }, _) => hints.to_trust_remote(remote),
        (About::Kind, kind) => match kind {
            Kind::Index => hints.rebuild(),
            Kind::Access => format!("{} closes it", command("verify --repair --trust-cache")),
            Kind::Owner => return hints.of_strangers(&report.cache),
            Kind::Leftovers => format!("{} removes them", command("gc")),
            Kind::Space => format!("{} shrinks the cache", command("gc --max-size SIZE")),
            Kind::Times => format!("{} sets them to now", command("gc")),
            Kind::Clock => "`timedatectl set-ntp true` sets the clock, where systemd runs".into(),
            Kind::Place | Kind::Disk => {
                "`eggcache init --cache DIRECTORY` makes one elsewhere, which the option egg-cache names then".into()
            }
            Kind::Setting => "`egg-cache = DIR` in the section [buildout] of buildout.cfg or ~/.buildout/default.cfg \
                names the cache".into(),
            Kind::EggsDirectory => {
                "remove eggs-directory from its configuration, and run buildout again".into()
            }
            Kind::Cache | Kind::Remote | Kind::Key | Kind::Package | Kind::Hook => return Vec::new(),
        },
    };
    vec![line]
}
