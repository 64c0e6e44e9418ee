//! The terminal: data on standard output, everything else on standard error, as text or as a log.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::io::{self, IsTerminal, Write};

use anstream::adapter::strip_str;
use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::hints::{CliError, Hints};
use super::log::{Level, Line, log};
use super::progress_bar::{Bar, Show};

pub const BAD: Style = AnsiColor::Red.on_default().bold();
pub const GOOD: Style = AnsiColor::Green.on_default().bold();

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

pub struct Printer {
    json: bool,
    quiet: bool,
    color: ColorChoice,
    log: LogFormat,
    /// Set once it is known which cache a command uses.
    hints: OnceCell<Hints>,
}

/// A report as text: data for standard output, and the rest for standard error.
#[derive(Default)]
pub struct Text {
    pub data: String,
    /// Printed even with `--quiet`.
    pub problems: Vec<String>,
    /// What to do about the problems.
    pub hints: Vec<String>,
    /// Worth knowing, but no problem.
    pub notes: Vec<String>,
    /// The outcome in one line.
    pub summary: String,
}

impl Text {
    /// Adds hints, each once.
    pub fn hint(&mut self, hints: Vec<String>) {
        for hint in hints {
            if !self.hints.contains(&hint) {
                self.hints.push(hint);
            }
        }
    }
}

impl Printer {
    pub fn new(json: bool, quiet: bool, color: ColorChoice, log: LogFormat) -> Self {
        Self { json, quiet, color, log, hints: OnceCell::new() }
    }

    /// Sets the hints for the cache that a command uses. The first call counts.
    pub fn set_hints(&self, hints: Hints) {
        let _ = self.hints.set(hints);
    }

    pub fn hints(&self) -> &Hints {
        self.hints.get_or_init(Hints::default)
    }

    /// The display of an operation's progress.
    pub fn bar(&self) -> Bar {
        let is_dumb = || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Bar::new(match self.log {
            _ if self.quiet => Show::Nowhere,
            LogFormat::Json => Show::Log,
            LogFormat::Text if self.json || !io::stderr().is_terminal() || is_dumb() => {
                Show::Nowhere
            }
            LogFormat::Text => Show::Terminal,
        })
    }

    /// Prints a report: as JSON if that was asked for, else as the text that `text` makes of it.
    pub fn report<R: Serialize>(
        &self,
        report: &R,
        text: impl FnOnce(&R) -> Text,
    ) -> anyhow::Result<()> {
        if self.json {
            let mut json = serde_json::to_string_pretty(report)?;
            json.push('\n');
            self.write(&json)?;
            // The JSON report has everything; a log beside it is written only on request.
            if self.log == LogFormat::Text {
                return Ok(());
            }
        }
        let Text { data, problems, hints, notes, summary } = text(report);
        if !self.quiet && !self.json {
            self.write(&harmless(&data))?;
        }
        for problem in problems {
            self.tell(Level::Problem, &problem)?;
        }
        if !self.quiet {
            for hint in hints {
                self.tell(Level::Hint, &hint)?;
            }
            for note in notes {
                self.tell(Level::Note, &note)?;
            }
            if !summary.is_empty() {
                self.tell(Level::Summary, &summary)?;
            }
        }
        Ok(())
    }

    pub fn warning(&self, warning: &str) {
        let _ = self.tell(Level::Warning, warning);
    }

    /// Prints a note before there is a report.
    pub fn note(&self, note: &str) {
        if !self.quiet && (!self.json || self.log == LogFormat::Json) {
            let _ = self.tell(Level::Note, note);
        }
    }

    /// Prints an error and what to do about it. That standard error is closed is not an error.
    pub fn error(&self, error: &str, hints: &[String]) {
        if self.log == LogFormat::Json {
            let _ = log_message(Level::Error, error, hints);
            return;
        }
        let _ = self.tell(Level::Error, error);
        for hint in hints {
            let _ = self.tell(Level::Hint, hint);
        }
    }

    /// Writes to standard output.
    fn write(&self, text: &str) -> Result<(), CliError> {
        let mut stdout = AutoStream::new(io::stdout(), self.color).lock();
        write!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(CliError::Stdout)
    }

    fn tell(&self, level: Level, message: &str) -> io::Result<()> {
        if self.log == LogFormat::Json {
            return log_message(level, message, &[]);
        }
        let message = &*harmless(message);
        let mut stderr = AutoStream::new(io::stderr(), self.color).lock();
        match level {
            Level::Error => writeln!(stderr, "{BAD}error{BAD:#}: {message}"),
            Level::Problem => writeln!(stderr, "{BAD}problem{BAD:#}: {message}"),
            Level::Hint => writeln!(stderr, "hint: {message}"),
            Level::Warning => writeln!(stderr, "warning: {message}"),
            Level::Note => writeln!(stderr, "note: {message}"),
            Level::Summary | Level::Progress => writeln!(stderr, "{message}"),
        }
    }
}

fn log_message(level: Level, message: &str, hint: &[String]) -> io::Result<()> {
    let message = &strip_str(&harmless(message)).to_string();
    log(&Line { level, message, hint, step: None })
}

/// Escapes control characters, which a terminal would act on: names of eggs and folders can hold any.
/// Colour sequences stay, because this program writes them.
fn harmless(text: &str) -> Cow<'_, str> {
    let is_harmless = |c: char| !c.is_control() || c == '\n' || c == '\t';
    if text.chars().all(is_harmless) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = colour(rest).unwrap_or(c.len_utf8());
        let (part, after) = rest.split_at(length);
        if length > c.len_utf8() || is_harmless(c) {
            shown.push_str(part);
        } else {
            shown.extend(c.escape_default());
        }
        rest = after;
    }
    shown.into()
}

/// The length of the colour sequence at the start of a text.
fn colour(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix("\u{1b}[")?;
    let end = parameters.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    parameters[end..].starts_with('m').then_some(text.len() - parameters.len() + end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_colours_stay() {
        let styled = format!("{GOOD}fine{GOOD:#}\n\ta");
        assert_eq!(harmless(&styled), styled);
        let evil = "\u{1b}]0;t\u{7}\u{1b}[2J\u{1b}[31m\u{9b}x\r\u{1b}";
        let shown = "\\u{1b}]0;t\\u{7}\\u{1b}[2J\u{1b}[31m\\u{9b}x\\r\\u{1b}";
        assert_eq!(harmless(evil), shown);
    }
}
