//! The progress bar: on a terminal only, gone when it is done.

use std::sync::Mutex;

use eggcache::progress::{Progress, Unit};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

pub struct Bar {
    visible: bool,
    stage: Mutex<ProgressBar>,
}

impl Bar {
    pub fn new(visible: bool) -> Self {
        Self { visible, stage: Mutex::new(ProgressBar::hidden()) }
    }

    fn with_stage<T>(&self, act: impl FnOnce(&mut ProgressBar) -> T) -> T {
        act(&mut self.stage.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl Progress for Bar {
    fn begin(&self, stage: &'static str, total: u64, unit: Unit) {
        if !self.visible {
            return;
        }
        let template = match unit {
            Unit::Bytes => {
                "{msg} [{bar:30}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}"
            }
            Unit::Eggs => "{msg} [{bar:30}] {pos}/{len} eggs {per_sec} {eta}",
        };
        let style = ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        bar.set_style(style);
        bar.set_message(stage);
        self.with_stage(|current| *current = bar);
    }

    fn advance(&self, steps: u64) {
        if self.visible {
            self.with_stage(|bar| bar.inc(steps));
        }
    }

    fn end(&self) {
        self.with_stage(|bar| bar.finish_and_clear());
    }
}
