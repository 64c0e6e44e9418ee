//! `remote eggs`: what a remote has.

use std::collections::HashMap;

use crate::cache::query::Narrow;
use crate::cli::complete_eggs::{egg_names, remote_names};
use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::format::{eggs, or_any};
use crate::cli::look_alikes::differences;
use crate::cli::print::Text;
use crate::cli::select_eggs::Filter;
use crate::cli::table::{align_right, fitted, table};
use crate::egg::cached_egg::CachedEgg;
use crate::ops::remote::eggs::{self as remote_eggs, Report};
use crate::util::clock::shown_day;
use crate::util::units::{counted, shown_size};

/// List the eggs that a remote has.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "PUSHED is the day on which the entry of an egg was written: by a push, or by a later \
    signature. Only eggs are listed that the trusted keys allow to use; `eggcache remote verify NAME` says why \
    others are not. The entries have to be listed: use the address of the store, not of a web server in front of it.\n\n\
    Examples:\n  eggcache remote eggs team\n  eggcache remote eggs team 'zope.*' lxml --python 3.11\n  \
    eggcache --json remote eggs team | jq '.eggs[] | .file_name'"
)]
pub struct ListEggs {
    /// Name of the remote.
    #[arg(add = remote_names())]
    name: String,
    /// Eggs: name, name==version, a pattern such as 'zope.*', or at least 6 digits of the digest. By default, all.
    #[arg(value_name = "EGG", add = egg_names())]
    eggs: Vec<String>,
    #[command(flatten)]
    filter: Filter,
}

impl ListEggs {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let Self { name, eggs, filter } = self;
        let (cache, remote) = (context.open()?, context.remote(&name)?);
        let (narrow, environment) = (Narrow::from(filter), &context.environment);
        let report = remote_eggs::eggs(&cache, &remote, &eggs, &narrow, environment, &context.bar)?;
        context.printer.report(&report, text)?;
        Ok(ExitCode::Success)
    }
}

fn text(report: &Report) -> Text {
    let found: Vec<CachedEgg> = report.eggs.iter().map(|it| it.entry.egg()).collect();
    let differences = differences(&found, &HashMap::new());
    let is_different = differences.iter().any(|it| !it.is_empty());
    let mut header =
        vec!["egg", "version", "python", "platform", "gen", "stored", "pushed", "digest"];
    header.extend(is_different.then_some("differs in"));
    let mut table = table(header);
    for (at, egg) in found.iter().enumerate() {
        let key = &egg.key;
        let withdrawn = if report.eggs[at].withdrawn.is_some() { " (withdrawn)" } else { "" };
        let mut row = vec![
            egg.project(),
            format!("{}{withdrawn}", key.version),
            or_any(&key.python),
            or_any(&key.platform),
            key.generation.to_string(),
            shown_size(egg.blob_bytes),
            shown_day(report.eggs[at].written_at),
            egg.digest.short(),
        ];
        row.extend(is_different.then(|| differences[at].clone()));
        table.add_row(row);
    }
    align_right(&mut table, [4, 5]);
    let unmatched = report.unmatched.iter().map(|it| format!("no egg of it matches \"{it}\""));
    let verb = if report.refused == 1 { "is" } else { "are" };
    let refused = (report.refused > 0).then(|| {
        let entries = counted(report.refused, "entry");
        format!("{entries} {verb} not used: `eggcache remote verify {}` says why", report.remote)
    });
    Text {
        // The layout and the platform are hidden first.
        data: fitted(&mut table, &[4, 3]).into(),
        notes: unmatched.chain(refused).collect(),
        summary: format!(
            "Remote {}: {}, {}",
            report.remote,
            eggs(found.len()),
            shown_size(report.blob_bytes)
        ),
        ..Text::default()
    }
}
