//! Messages as a log: one JSON object per line, for programs that collect them.

use std::io::{self, Write};

use serde::Serialize;

use crate::util::printable;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Error,
    Problem,
    Hint,
    Warning,
    Note,
    Summary,
    Progress,
}

/// Where a stage of a long operation begins or ends.
#[derive(Serialize)]
pub struct Step {
    pub event: &'static str,
    pub stage: &'static str,
    pub done: u64,
    pub total: u64,
    pub unit: &'static str,
}

/// A line of the log. Its fields are stable: programs read them.
#[derive(Serialize)]
pub struct Line<'a> {
    pub level: Level,
    pub message: &'a str,
    /// What to do about it.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub hint: &'a [String],
    #[serde(flatten)]
    pub step: Option<&'a Step>,
}

/// Logs a step. A log that cannot be written does not stop the operation.
pub fn log_step(step: &Step) {
    let message = format!("{}: {}", step.stage, step.event);
    let _ = log(&Line { level: Level::Progress, message: &message, hint: &[], step: Some(step) });
}

/// Writes a line at once, because other processes may write to the same log.
pub fn log(line: &Line) -> io::Result<()> {
    let mut line = printable::json(&serde_json::to_string(line)?).into_owned();
    line.push('\n');
    io::stderr().lock().write_all(line.as_bytes())
}
