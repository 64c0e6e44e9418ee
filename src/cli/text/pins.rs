//! What is pinned.

use crate::ops::pins::{Options, PinStatus, Report};

use super::{align_right, counted, day, lines, plain, size, table};
use crate::cli::print::Text;

pub fn pinned(report: &Report, options: &Options) -> Text {
    let mut text = Text::default();
    let verb = match options {
        Options::List => "",
        Options::Pin { .. } => " made",
        Options::Unpin { .. } => " taken away",
    };
    text.summary = format!("{}{verb}", counted(report.pins.len(), "pin"));
    if matches!(options, Options::Pin { .. }) {
        let nothing = report.pins.iter().filter(|listed| listed.eggs == 0);
        text.notes.extend(nothing.map(|PinStatus { pin, .. }| {
            format!("no egg in the cache is {} now; one that comes is kept", pin.what)
        }));
    }
    let mut table = table(["pin", "eggs", "size", "since", "note"]);
    for PinStatus { pin, eggs, bytes } in &report.pins {
        table.add_row([
            pin.what.clone(),
            eggs.to_string(),
            size(*bytes),
            day(pin.pinned_at),
            plain(pin.note.as_deref().unwrap_or_default()),
        ]);
    }
    align_right(&mut table, [1, 2]);
    text.data = if report.pins.is_empty() { String::new() } else { lines(&table) };
    text
}
