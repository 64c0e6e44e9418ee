//! Leases: whether this run builds a missing egg, or waits for another builder.

use std::time::{Duration, Instant};

use super::SessionRemotes;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::EggKey;
use crate::remote::build_lease::{Lease, LeaseState};
use crate::serve::protocol::{Answer, Leased, ToBuild};
use crate::serve::session::connection::Connection;
use crate::serve::session::time_budget::build_time;

const NO_LEASE: Answer = Answer::Leased { lease: Leased::None, wait: None };

impl SessionRemotes {
    /// Whether this process builds an egg, or how long to wait for another builder. That wait may last for
    /// as long as the project's longest build, of which `cached` are in the cache, and for what is left of
    /// the budget.
    pub fn lease(
        &mut self,
        egg: &ToBuild,
        cached: &[CachedEgg],
        is_wanted: impl Fn(&EggKey) -> bool,
    ) -> Answer {
        let is_spent = self.budget.is_spent() && self.left_for_build(egg, cached).is_zero();
        if self.stopped.is_some() || is_spent {
            self.is_over();
            return NO_LEASE;
        }
        let begun = Instant::now();
        let answer = self.lease_now(egg, is_wanted);
        self.budget.add_wait(begun.elapsed());
        let Answer::Leased { lease: Leased::Held, wait: Some(seconds) } = answer else {
            return answer;
        };
        let mut wait = Duration::from_secs_f64(seconds);
        if wait > self.budget.left() {
            wait = wait.min(self.left_for_build(egg, cached));
        }
        self.budget.add_wait(wait);
        if wait.is_zero() && seconds > 0.0 {
            self.stop();
            return NO_LEASE;
        }
        held(wait)
    }

    /// How much longer this run may wait while another builder builds an egg.
    fn left_for_build(&self, egg: &ToBuild, cached: &[CachedEgg]) -> Duration {
        let listed = self.connection.as_ref().and_then(|connection| {
            connection.upstream.longest_build(&egg.name, &self.host.python_tag())
        });
        let builds = cached.iter().map(|egg| egg.provenance.build_seconds).chain([listed]);
        self.budget.left_with(builds.map(build_time).max().unwrap_or_default())
    }

    fn lease_now(&mut self, egg: &ToBuild, is_wanted: impl Fn(&EggKey) -> bool) -> Answer {
        if self.has_timed_out || self.connection().is_none() {
            return NO_LEASE;
        }
        let Some(Connection { upstream, pusher: Some(pusher), .. }) = &self.connection else {
            return NO_LEASE;
        };
        if !pusher.covers(&egg.name) {
            return NO_LEASE;
        }
        let name = pusher.lease_name(egg);
        if pusher.holds(&name) {
            return Answer::Leased { lease: Leased::Taken, wait: None };
        }
        pusher.release_not_offered();
        let request = self.lease_requests.entry(name.clone()).or_default();
        let state = request.poll(&pusher.remote().client, &name);
        let is_hopeless = request.is_hopeless();
        let taken = match state {
            Ok(LeaseState::Taken(lease)) => Some(lease),
            Ok(LeaseState::Released) => None,
            Ok(LeaseState::Held(wait)) => return held(wait),
            Ok(LeaseState::TimedOut) => {
                self.has_timed_out = true;
                return NO_LEASE;
            }
            Err(_) => return NO_LEASE,
        };
        // Another builder may have pushed the egg after this process loaded the list.
        let python = self.host.python_tag();
        upstream.forget_list(&egg.name, &python);
        let built = upstream.find(&egg.name, &python, is_wanted).into_iter().next();
        match (taken, built) {
            (Some(lease), None) => {
                pusher.hold(*lease, egg.clone());
                return Answer::Leased { lease: Leased::Taken, wait: None };
            }
            (None, None) if is_hopeless => return NO_LEASE,
            // The builder has failed or does not push: now another one may take the lease.
            (None, None) => return held(Duration::ZERO),
            (lease, Some(built)) => {
                if let Some(lease) = lease {
                    Lease::release(*lease);
                }
                // So that what remains of the budget suffices to fetch it.
                self.budget.save(built.entry.egg, built.entry.provenance.build_seconds);
            }
        }
        Answer::Leased { lease: Leased::Built, wait: None }
    }
}

fn held(wait: Duration) -> Answer {
    Answer::Leased { lease: Leased::Held, wait: Some(wait.as_secs_f64()) }
}
