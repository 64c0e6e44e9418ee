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
use crate::util::printable::{self, is_printable, one_line};

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
///
/// Names of eggs and folders can hold any character, so every text here is printed on one line, with
/// what is not printable escaped: nobody can choose a name that looks like another line.
#[derive(Default)]
pub struct Text {
    pub data: Data,
    /// Printed even with `--quiet`.
    pub problems: Vec<Message>,
    /// What to do about the problems.
    pub hints: Vec<String>,
    /// Worth knowing, but no problem.
    pub notes: Vec<String>,
    /// The outcome in one line.
    pub summary: String,
}

/// The lines of a report on standard output.
#[derive(Default)]
pub struct Data(String);

impl Data {
    pub fn line(&mut self, line: &str) {
        self.0.push_str(&one_line(line));
        self.0.push('\n');
    }

    /// Adds lines whose values are escaped already, or that this program has generated.
    pub fn lines(&mut self, lines: &str) {
        self.0.push_str(lines);
    }
}

/// Lines whose values are escaped already, such as those of a table.
impl From<String> for Data {
    fn from(lines: String) -> Self {
        Self(lines)
    }
}

/// A message of one line, and lines with its details.
pub struct Message {
    pub line: String,
    pub details: Vec<String>,
}

impl From<String> for Message {
    fn from(line: String) -> Self {
        Self { line, details: Vec::new() }
    }
}

/// Messages without details.
pub fn messages(lines: &[String]) -> Vec<Message> {
    lines.iter().cloned().map(Message::from).collect()
}

impl Text {
    /// Adds the records of the cache that cannot be read, and what to do about them.
    pub fn with_unreadable(mut self, unreadable: &[String], hints: &Hints) -> Self {
        self.problems.extend(messages(unreadable));
        if !unreadable.is_empty() {
            self.hint(vec![hints.repair()]);
        }
        self
    }

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

    /// Whether reports are printed as JSON.
    pub fn is_json(&self) -> bool {
        self.json
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
            self.write(&printable::json(&json))?;
            // The JSON report has everything; a log beside it is written only on request.
            if self.log == LogFormat::Text {
                return Ok(());
            }
        }
        let Text { data, problems, hints, notes, summary } = text(report);
        if !self.quiet && !self.json {
            self.write(&data.0)?;
        }
        for problem in problems {
            self.tell(Level::Problem, &problem.line, &problem.details)?;
        }
        if !self.quiet {
            for hint in hints {
                self.tell(Level::Hint, &hint, &[])?;
            }
            for note in notes {
                self.tell(Level::Note, &note, &[])?;
            }
            if !summary.is_empty() {
                self.tell(Level::Summary, &summary, &[])?;
            }
        }
        Ok(())
    }

    pub fn warning(&self, warning: &str) {
        let _ = self.tell(Level::Warning, warning, &[]);
    }

    /// Prints a note before there is a report.
    pub fn note(&self, note: &str) {
        if !self.quiet && (!self.json || self.log == LogFormat::Json) {
            let _ = self.tell(Level::Note, note, &[]);
        }
    }

    /// Prints what to do about a note or a warning before there is a report.
    pub fn hint(&self, hint: &str) {
        if !self.quiet && (!self.json || self.log == LogFormat::Json) {
            let _ = self.tell(Level::Hint, hint, &[]);
        }
    }

    /// Prints an error and what to do about it. That standard error is closed is not an error.
    pub fn error(&self, error: &Message, hints: &[String]) {
        let Message { line, details } = error;
        if self.log == LogFormat::Json {
            let _ = log_message(Level::Error, line, details, hints);
            return;
        }
        let _ = self.tell(Level::Error, line, details);
        for hint in hints {
            let _ = self.tell(Level::Hint, hint, &[]);
        }
    }

    /// Writes to standard output.
    fn write(&self, text: &str) -> Result<(), CliError> {
        let mut stdout = AutoStream::new(io::stdout(), self.color).lock();
        write!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(CliError::Stdout)
    }

    fn tell(&self, level: Level, line: &str, details: &[String]) -> io::Result<()> {
        if self.log == LogFormat::Json {
            return log_message(level, line, details, &[]);
        }
        // Only a summary has colours.
        let message = &*if level == Level::Summary { harmless(line) } else { one_line(line) };
        let mut stderr = AutoStream::new(io::stderr(), self.color).lock();
        match level {
            Level::Error => writeln!(stderr, "{BAD}error{BAD:#}: {message}"),
            Level::Problem => writeln!(stderr, "{BAD}problem{BAD:#}: {message}"),
            Level::Hint => writeln!(stderr, "hint: {message}"),
            Level::Warning => writeln!(stderr, "warning: {message}"),
            Level::Note => writeln!(stderr, "note: {message}"),
            Level::Summary | Level::Progress => writeln!(stderr, "{message}"),
        }?;
        details.iter().try_for_each(|detail| writeln!(stderr, "    {}", one_line(detail)))
    }
}

/// Logs a message: one line of text for it and for each detail.
fn log_message(level: Level, line: &str, details: &[String], hint: &[String]) -> io::Result<()> {
    let mut message = strip_str(&harmless(line)).to_string();
    for detail in details {
        message.push('\n');
        message.push_str(&one_line(detail));
    }
    log(&Line { level, message: &message, hint, step: None })
}

/// As [`one_line`], but colour sequences stay, because this program writes them.
fn harmless(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_printable) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = colour(rest).unwrap_or(c.len_utf8());
        let (part, after) = rest.split_at(length);
        if length > c.len_utf8() || is_printable(c) {
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
        let styled = format!("{GOOD}fine{GOOD:#} a");
        assert_eq!(harmless(&styled), styled);
        let evil = "\u{1b}]0;t\u{7}\u{1b}[2J\u{1b}[31m\u{9b}x\r\n\u{1b}";
        let shown = "\\u{1b}]0;t\\u{7}\\u{1b}[2J\u{1b}[31m\\u{9b}x\\r\\n\\u{1b}";
        assert_eq!(harmless(evil), shown);
    }
}
