//! The output of the bridge: answers, and signs of life while a request is being answered.
//!
//! A client that waits cannot distinguish a long answer from a program that hangs or is stopped. So
//! while a request is being answered, a thread writes a line every second, and the client gives up when
//! no line comes for much longer than that.

use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::worker::Monitor;

/// Time between two signs of life.
pub const EVERY: Duration = Duration::from_secs(1);

/// Not the beginning of any answer.
const SIGN_OF_LIFE: &[u8] = b"{\"busy\":true}\n";

/// Which request is being answered.
#[derive(Debug, Default)]
struct State {
    request: u64,
    is_busy: bool,
    is_over: bool,
}

/// An output for two threads: one answers, the other one gives signs of life.
#[derive(Debug)]
pub struct Output<W> {
    monitor: Monitor<State>,
    writer: Mutex<W>,
    every: Duration,
}

impl<W: Write> Output<W> {
    pub fn new(writer: W, every: Duration) -> Self {
        Self { monitor: Monitor::default(), writer: Mutex::new(writer), every }
    }

    /// Begins to give signs of life: a request has come.
    pub fn begin(&self) {
        self.monitor.update(|state| {
            state.request += 1;
            state.is_busy = true;
        });
    }

    /// Writes an answer as one line. No sign of life follows it.
    pub fn answer(&self, answer: &impl Serialize) -> std::io::Result<()> {
        let mut output = self.output();
        self.monitor.update(|state| state.is_busy = false);
        serde_json::to_writer(&mut *output, answer)?;
        output.write_all(b"\n")?;
        output.flush()
    }

    /// Ends [`Output::give_signs`] when dropped.
    pub fn until_dropped(&self) -> impl Drop + '_ {
        End(self)
    }

    /// Writes a line for each period in which a request has no answer yet.
    pub fn give_signs(&self) {
        loop {
            let state = self.monitor.wait_while(|state| !state.is_busy && !state.is_over);
            let (request, is_over) = (state.request, state.is_over);
            drop(state);
            if is_over {
                return;
            }
            let is_same =
                |state: &mut State| state.is_busy && !state.is_over && state.request == request;
            drop(self.monitor.wait_while_at_most(self.every, is_same));
            // In this order, as `answer` does: no line can come between the answer and this.
            let mut output = self.output();
            if is_same(&mut self.monitor.lock()) {
                // If the client has gone, the answer fails, too.
                let _ = output.write_all(SIGN_OF_LIFE).and_then(|()| output.flush());
            }
        }
    }

    fn output(&self) -> MutexGuard<'_, W> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct End<'a, W>(&'a Output<W>);

impl<W> Drop for End<'_, W> {
    fn drop(&mut self) {
        self.0.monitor.update(|state| state.is_over = true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(output: &Output<Vec<u8>>) -> Vec<String> {
        String::from_utf8(output.output().clone()).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn signs_of_life_come_only_until_the_answer() {
        let output = Output::new(Vec::new(), Duration::from_millis(1));
        std::thread::scope(|scope| {
            let _end = output.until_dropped();
            scope.spawn(|| output.give_signs());
            for answer in 0..3 {
                let before = lines(&output).len();
                output.begin();
                while lines(&output).len() < before + 2 {
                    std::thread::yield_now();
                }
                output.answer(&answer).unwrap();
                let answered = lines(&output);
                assert_eq!(answered.last().unwrap(), &answer.to_string());
                std::thread::sleep(Duration::from_millis(5));
                assert_eq!(lines(&output), answered, "nobody waits");
            }
        });
        let all = lines(&output);
        let signs = all.iter().filter(|line| *line == "{\"busy\":true}").count();
        assert_eq!(signs, all.len() - 3);
    }

    #[test]
    fn a_fast_answer_has_no_sign_of_life() {
        let output = Output::new(Vec::new(), EVERY);
        std::thread::scope(|scope| {
            let _end = output.until_dropped();
            scope.spawn(|| output.give_signs());
            output.begin();
            output.answer(&"answer").unwrap();
        });
        assert_eq!(lines(&output), ["\"answer\""]);
    }
}
