//! `roots`: the buildouts that use the cache.

use std::path::PathBuf;

use crate::cache::retention::roots::RootState;
use crate::cli::complete_eggs::root_folders;
use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::print::Text;
use crate::cli::table::{align_right, fitted, table};
use crate::ops::roots::{self, Report};
use crate::util::clock::{shown_day, shown_minute};
use crate::util::units::{counted, shown_size};

/// List the buildouts that use the cache.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A buildout is registered when it has run with `egg-cache` and succeeded. `gc` keeps the \
    eggs that it uses. EXCLUSIVE is the size of the eggs that only this buildout keeps in the cache.\n\n\
    Examples:\n  eggcache roots\n  eggcache roots --forget /srv/old-app\n\n\
    Exit code 3 if the buildout to forget is not registered, 4 if a record cannot be read."
)]
pub struct Roots {
    /// Forget the buildout in DIR first; its next run registers it again.
    #[arg(long, value_name = "DIR", add = root_folders())]
    pub(super) forget: Option<PathBuf>,
}

impl Roots {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let report = roots::roots(&context.open()?, self.forget.as_deref())?;
        let hints = context.printer.hints();
        context
            .printer
            .report(&report, |report| text(report).with_unreadable(&report.unreadable, hints))?;
        Ok(ExitCode::of_check(report.unreadable.is_empty()))
    }
}

fn text(report: &Report) -> Text {
    let mut table =
        table(["buildout", "eggs", "in cache", "size", "exclusive", "last run", "state"]);
    for status in &report.roots {
        let root = &status.known.root;
        table.add_row([
            root.directory.display().to_string(),
            root.eggs.len().to_string(),
            status.cached.to_string(),
            shown_size(status.bytes),
            shown_size(status.exclusive_bytes),
            shown_minute(root.last_run),
            match status.known.state {
                RootState::Live => "live".into(),
                RootState::Gone { gone_since } => format!("gone since {}", shown_day(gone_since)),
                RootState::Elsewhere => format!("on {}", root.machine),
            },
        ]);
    }
    align_right(&mut table, [1, 2, 3, 4]);
    let forgotten = report.forgotten.iter();
    Text {
        data: fitted(&mut table, &[2, 4, 5]).into(),
        notes: forgotten.map(|directory| format!("forgot {}", directory.display())).collect(),
        summary: counted(report.roots.len(), "buildout"),
        ..Text::default()
    }
}
