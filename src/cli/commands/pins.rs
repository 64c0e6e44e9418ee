//! `pin`, `unpin` and `pins`: eggs that `gc` never evicts.

use crate::cli::complete_eggs::{egg_names, pin_names};
use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::print::Text;
use crate::cli::table::{align_right, lines, table};
use crate::ops::pins::{self, Options, PinStatus, Report};
use crate::util::clock::shown_day;
use crate::util::units::{counted, shown_size};

/// Protect eggs from `gc`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A pin may match eggs that are not in the cache yet. `eggcache pins` lists all \
    pins.\n\nExamples:\n  \
    eggcache pin lxml==6.1.3 --note 'the release of May'\n  eggcache pin 'zope.interface>=5,<6'\n  \
    eggcache pin 'zope.*'"
)]
pub struct Pin {
    /// Name, name==version, name with version specifiers, name or file name with *, file name, or at
    /// least 6 digits of a digest.
    #[arg(required = true, value_name = "WHAT", add = egg_names())]
    what: Vec<String>,
    /// Reason for the pin.
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

/// Remove pins.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  eggcache unpin lxml==6.1.3\n  \
    eggcache unpin 'zope.*'\n\nExit code 3 if there is no such pin.")]
pub struct Unpin {
    /// Pin, as `eggcache pins` lists it.
    #[arg(required = true, value_name = "WHAT", add = pin_names())]
    what: Vec<String>,
}

/// List the pins.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  eggcache pins\n  eggcache --json pins | jq .pins")]
pub struct Pins {}

impl Pin {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let Self { what, note } = self;
        run(context, &Options::Pin { what, note }, |report| {
            let unmatched = report.pins.iter().filter(|it| it.eggs == 0);
            let notes = unmatched.map(|PinStatus { pin, .. }| {
                format!("no cached egg matches {} yet; the pin will apply later", pin.what)
            });
            let summary = format!("{} added", counted(report.pins.len(), "pin"));
            Text { notes: notes.collect(), summary, ..listing(report) }
        })
    }
}

impl Unpin {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        run(context, &Options::Unpin { what: self.what }, |report| {
            let summary = format!("{} removed", counted(report.pins.len(), "pin"));
            Text { summary, ..listing(report) }
        })
    }
}

impl Pins {
    pub fn run(context: &Context) -> anyhow::Result<ExitCode> {
        run(context, &Options::List, listing)
    }
}

fn run(
    context: &Context,
    options: &Options,
    text: impl Fn(&Report) -> Text,
) -> anyhow::Result<ExitCode> {
    let report = pins::pins(&context.open()?, options)?;
    context.printer.report(&report, text)?;
    Ok(ExitCode::Success)
}

fn listing(report: &Report) -> Text {
    let mut table = table(["pin", "eggs", "size", "since", "note"]);
    for PinStatus { pin, eggs, bytes } in &report.pins {
        table.add_row([
            pin.what.clone(),
            eggs.to_string(),
            shown_size(*bytes),
            shown_day(pin.pinned_at),
            pin.note.clone().unwrap_or_default(),
        ]);
    }
    align_right(&mut table, [1, 2]);
    let summary = counted(report.pins.len(), "pin");
    Text { data: lines(&table).into(), summary, ..Text::default() }
}
