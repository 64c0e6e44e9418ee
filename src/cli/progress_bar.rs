//! The progress of a long operation: a bar on a terminal, removed at the end, or lines of a log.

use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::util::progress::{Progress, Unit};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::log::{Step, log_step};

/// Where progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    Nowhere,
    Terminal,
    /// In the log: the begin and end of each stage, as JSON.
    Log,
}

pub struct Bar {
    show: Show,
    stage: Mutex<Stage>,
    done: AtomicU64,
}

struct Stage {
    bar: ProgressBar,
    name: &'static str,
    total: u64,
    unit: Unit,
}

impl Bar {
    pub fn new(show: Show) -> Self {
        let stage = Stage { bar: ProgressBar::hidden(), name: "", total: 0, unit: Unit::Eggs };
        Self { show, stage: Mutex::new(stage), done: AtomicU64::new(0) }
    }

    fn with_stage<T>(&self, act: impl FnOnce(&mut Stage) -> T) -> T {
        act(&mut self.stage.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn log(&self, event: &'static str) {
        let done = self.done.load(Ordering::Relaxed);
        self.with_stage(|&mut Stage { name: stage, total, unit, .. }| {
            log_step(&Step { event, stage, done, total, unit: word(unit) });
        });
    }
}

fn word(unit: Unit) -> &'static str {
    match unit {
        Unit::Bytes => "bytes",
        Unit::Eggs => "eggs",
        Unit::Scripts => "scripts",
    }
}

fn bar(stage: &'static str, total: u64, unit: Unit) -> ProgressBar {
    let template = match unit {
        Unit::Bytes => {
            "{msg} [{wide_bar}] {binary_bytes}/{binary_total_bytes}, {binary_bytes_per_sec}, {eta} left"
        }
        Unit::Eggs => "{msg} [{wide_bar}] {pos}/{len} eggs, {rate}/s, {eta} left",
        Unit::Scripts => "{msg} [{wide_bar}] {pos}/{len} scripts, {eta} left",
    };
    let rate = |state: &ProgressState, line: &mut dyn Write| {
        let _ = write!(line, "{:.0}", state.per_sec());
    };
    // The bar fills the rest of the line: a display of two lines flickers.
    let style = ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("rate", rate)
        .progress_chars("=> ");
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    bar.set_style(style);
    bar.set_message(stage);
    bar
}

impl Progress for Bar {
    fn begin(&self, name: &'static str, total: u64, unit: Unit) {
        if self.show == Show::Nowhere {
            return;
        }
        self.done.store(0, Ordering::Relaxed);
        let is_seen = self.show == Show::Terminal && total > 0;
        let bar = if is_seen { bar(name, total, unit) } else { ProgressBar::hidden() };
        self.with_stage(|stage| *stage = Stage { bar, name, total, unit });
        if self.show == Show::Log {
            self.log("begin");
        }
    }

    fn advance(&self, steps: u64) {
        match self.show {
            Show::Nowhere => {}
            Show::Terminal => self.with_stage(|stage| stage.bar.inc(steps)),
            Show::Log => {
                self.done.fetch_add(steps, Ordering::Relaxed);
            }
        }
    }

    fn end(&self) {
        match self.show {
            Show::Nowhere => {}
            Show::Terminal => self.with_stage(|stage| stage.bar.finish_and_clear()),
            Show::Log => self.log("end"),
        }
    }
}
