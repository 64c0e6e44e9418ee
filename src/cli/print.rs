//! The terminal: data on standard output, everything else on standard error.

use std::io::{self, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use serde::Serialize;

pub const BAD: Style = AnsiColor::Red.on_default().bold();
pub const GOOD: Style = AnsiColor::Green.on_default().bold();

pub struct Printer {
    json: bool,
    quiet: bool,
    color: ColorChoice,
}

/// A report as text: data for standard output, and the rest for standard error.
#[derive(Default)]
pub struct Text {
    pub data: String,
    /// Printed even if only problems are wanted.
    pub problems: Vec<String>,
    /// Worth knowing, and no problem.
    pub notes: Vec<String>,
    /// One line that says what was done.
    pub summary: String,
}

impl Printer {
    pub fn new(json: bool, quiet: bool, color: ColorChoice) -> Self {
        Self { json, quiet, color }
    }

    /// Prints a report: as JSON if that is wanted, else as `text` puts it.
    pub fn report<R: Serialize>(
        &self,
        report: &R,
        text: impl FnOnce(&R) -> Text,
    ) -> anyhow::Result<()> {
        let mut stdout = AutoStream::new(io::stdout(), self.color).lock();
        if self.json {
            let json = serde_json::to_string_pretty(report)?;
            writeln!(stdout, "{json}")?;
            return Ok(());
        }
        let Text { data, problems, notes, summary } = text(report);
        if !self.quiet {
            write!(stdout, "{data}")?;
            stdout.flush()?;
        }
        let mut stderr = AutoStream::new(io::stderr(), self.color).lock();
        for problem in problems {
            writeln!(stderr, "{BAD}problem{BAD:#}: {problem}")?;
        }
        for note in notes.iter().filter(|_| !self.quiet) {
            writeln!(stderr, "note: {note}")?;
        }
        if !self.quiet && !summary.is_empty() {
            writeln!(stderr, "{summary}")?;
        }
        Ok(())
    }

    pub fn warning(&self, warning: &str) {
        let mut stderr = AutoStream::new(io::stderr(), self.color).lock();
        let _ = writeln!(stderr, "warning: {warning}");
    }

    pub fn error(&self, error: &str) {
        let mut stderr = AutoStream::new(io::stderr(), self.color).lock();
        let _ = writeln!(stderr, "{BAD}error{BAD:#}: {error}");
    }
}
