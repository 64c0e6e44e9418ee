//! The time budget: how much longer a run may take because of its remotes.
//!
//! A run waits for remotes when it looks for eggs, fetches them, and lets another builder build one. In
//! return it saves the builds of the eggs that it gets. Their build times are in signed entries. When the
//! waits exceed what was saved by more than the limit, the run goes on without remotes.

use std::collections::HashMap;
use std::time::Duration;

use crate::util::hash::digest::Digest;
use crate::util::units::shown_time;

/// Default of the limit.
pub const LIMIT: Duration = Duration::from_secs(30);
/// The longest build that counts as saved.
const LONGEST_BUILD: f64 = 3600.0;

#[derive(Debug)]
pub struct TimeBudget {
    limit: Duration,
    waited: Duration,
    /// The build time of each egg that a remote has delivered.
    saved: HashMap<Digest, Duration>,
}

impl TimeBudget {
    pub fn new(limit: Duration) -> Self {
        Self { limit, waited: Duration::ZERO, saved: HashMap::new() }
    }

    /// Counts time for which the run has waited.
    pub fn add_wait(&mut self, time: Duration) {
        self.waited += time;
    }

    /// Counts the build of an egg as saved.
    pub fn save(&mut self, egg: Digest, build_seconds: Option<f64>) {
        self.saved.insert(egg, build_time(build_seconds));
    }

    /// Counts the build of an egg as not saved: it was promised and is not delivered.
    pub fn lose(&mut self, egg: Digest) {
        self.saved.remove(&egg);
    }

    /// How much longer the run may wait.
    pub fn left(&self) -> Duration {
        self.left_with(Duration::ZERO)
    }

    /// How much longer the run may wait for an egg with this build time.
    pub fn left_with(&self, build: Duration) -> Duration {
        (self.limit + self.total_saved() + build).saturating_sub(self.waited)
    }

    pub fn is_spent(&self) -> bool {
        self.waited > self.limit + self.total_saved()
    }

    /// The balance, as a part of a sentence.
    pub fn balance(&self) -> String {
        let (waited, saved) = (self.waited.as_secs_f64(), self.total_saved().as_secs_f64());
        format!("took {} of this run and saved {}", shown_time(waited), shown_time(saved))
    }

    fn total_saved(&self) -> Duration {
        self.saved.values().sum()
    }
}

/// The recorded build time of an egg, within reason.
pub fn build_time(build_seconds: Option<f64>) -> Duration {
    let seconds = build_seconds.filter(|it| it.is_finite()).unwrap_or_default();
    Duration::from_secs_f64(seconds.clamp(0.0, LONGEST_BUILD))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_wait_within_the_limit_and_what_was_saved_is_allowed() {
        let mut budget = TimeBudget::new(2 * SECOND);
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        budget.add_wait(2 * SECOND);
        assert!(!budget.is_spent() && budget.left().is_zero());
        budget.save(one, Some(5.0));
        budget.save(one, Some(5.0));
        budget.save(two, None);
        assert_eq!(budget.left(), 5 * SECOND, "an egg counts once");
        budget.add_wait(6 * SECOND);
        assert!(budget.is_spent() && budget.left().is_zero());
        assert_eq!(budget.balance(), "took 8.0 s of this run and saved 5.0 s");
        budget.lose(one);
        assert!(budget.is_spent());
    }

    #[test]
    fn a_recorded_build_time_has_a_bound() {
        for (recorded, seconds) in [
            (None, 0),
            (Some(-1.0), 0),
            (Some(f64::NAN), 0),
            (Some(f64::INFINITY), 0),
            (Some(60.0), 60),
            (Some(1e300), 3600),
        ] {
            assert_eq!(build_time(recorded), seconds * SECOND, "{recorded:?}");
        }
    }

    #[test]
    fn without_a_limit_the_first_wait_is_allowed() {
        let mut budget = TimeBudget::new(Duration::ZERO);
        assert!(!budget.is_spent());
        budget.add_wait(SECOND);
        assert!(budget.is_spent());
    }
}
