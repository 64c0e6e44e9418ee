//! Build leases: when several builders need one egg at the same moment, one of them builds it.
//!
//! A lease is a small object. A builder takes it by creating it, and its holder rewrites it every
//! [`RENEWAL`]. The others poll it. A lease that has not changed for [`LIFETIME`] belongs to a dead
//! holder, and the builder that replaces exactly that version takes it over. No clocks are compared.

use std::time::{Duration, Instant};

use tracing::{debug, warn};

use crate::error::{OrLog, Result};
use crate::remote::client::{Client, Version};
use crate::remote::contended_write;

/// How often a holder renews a lease.
pub const RENEWAL: Duration = Duration::from_secs(10);
/// How long a lease is valid that does not change.
const LIFETIME: Duration = Duration::from_secs(30);
/// How long others wait for a builder that renews its lease.
const WAIT: Duration = Duration::from_mins(20);
/// How many builders may release a lease without an egg before the others stop waiting.
const MOST_RELEASED: u32 = 2;
/// Longest lease, in bytes.
const MAX_LENGTH: usize = 4 << 10;
/// Time between two polls: the first, and the longest.
const POLL: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(8));

/// A lease that this process holds.
#[derive(Debug)]
pub struct Lease {
    client: Client,
    name: String,
    /// Random, to tell this holder from all others. Empty in a lease that nobody holds.
    holder: String,
    renewals: u64,
}

impl Lease {
    fn text(&self) -> Vec<u8> {
        let Self { holder, renewals, .. } = self;
        serde_json::json!({ "holder": holder, "renewals": renewals }).to_string().into_bytes()
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Shows the others that the holder is alive. Returns whether this process still holds the lease.
    pub fn renew(&mut self) -> bool {
        let Some(found) = self.client.get_short(&self.name, MAX_LENGTH).or_log().flatten() else {
            return false;
        };
        if holder(&found.bytes).as_ref() != Some(&self.holder) {
            warn!(lease = self.name, "another builder has taken the lease over");
            return false;
        }
        self.renewals += 1;
        self.replace(&found.version).or_log().unwrap_or(false)
    }

    /// Writes the lease in place of this version. Returns whether this process holds it then.
    fn replace(&self, version: &Version) -> Result<bool> {
        Ok(self.client.replace(&self.name, self.text(), Some(version))?
            // An earlier attempt of this process may have arrived without its answer.
            || self.client.get_short(&self.name, MAX_LENGTH)?.is_some_and(|found| found.bytes == self.text()))
    }

    /// Lets another builder take the lease.
    pub fn release(self) {
        debug!(lease = self.name, renewals = self.renewals, "releasing the lease");
        // Another builder may have taken it over by now.
        if let Ok(Some(found)) = self.client.get_short(&self.name, MAX_LENGTH)
            && holder(&found.bytes).as_ref() == Some(&self.holder)
            && let Ok(false) = self.client.try_remove(&self.name)
        {
            self.mark_released(&found.version);
        }
    }

    /// Writes a lease without a holder, where this process may not remove objects.
    fn mark_released(self, version: &Version) {
        let released = Self { holder: String::new(), ..self };
        released.client.replace(&released.name, released.text(), Some(version)).or_log();
    }
}

/// The holder that the bytes of a lease name.
fn holder(bytes: &[u8]) -> Option<String> {
    let lease: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    lease["holder"].as_str().map(str::to_owned)
}

/// The request of this process for one lease, for as long as it waits for it.
#[derive(Debug)]
pub struct LeaseRequest {
    began: Instant,
    /// The last version of another holder, and when it was first seen.
    seen: Option<(Version, Instant)>,
    polls: u32,
    /// How often another holder has released the lease.
    released: u32,
    lifetime: Duration,
}

/// The state of a lease after a poll.
#[derive(Debug)]
pub enum LeaseState {
    /// This process holds it.
    Taken(Box<Lease>),
    /// Another process holds it: poll again after this time.
    Held(Duration),
    /// Its holder has released it, with the egg built or not.
    Released,
    /// The wait has taken too long.
    TimedOut,
}

impl Default for LeaseRequest {
    fn default() -> Self {
        Self { began: Instant::now(), seen: None, polls: 0, released: 0, lifetime: LIFETIME }
    }
}

impl LeaseRequest {
    /// Whether to stop waiting after a lease was released without an egg: an egg that this process
    /// builds may be refused as well. Or the store is one where an object that cannot be created does
    /// not exist either.
    #[must_use]
    pub fn is_hopeless(&self) -> bool {
        self.released >= MOST_RELEASED || self.began.elapsed() >= WAIT
    }

    /// Takes the lease, or finds out who holds it.
    pub fn poll(&mut self, client: &Client, name: &str) -> Result<LeaseState> {
        let holder_id = format!("{:016x}", fastrand::u64(..));
        let lease =
            Lease { client: client.clone(), name: name.into(), holder: holder_id, renewals: 0 };
        if self.seen.is_none() && client.create(name, lease.text())? {
            return Ok(LeaseState::Taken(Box::new(lease)));
        }
        let Some(found) = client.get_short(name, MAX_LENGTH)? else {
            self.seen = None;
            return Ok(self.count_release());
        };
        if found.bytes == lease.text() {
            // An earlier attempt to create it has arrived without its answer.
            return Ok(LeaseState::Taken(Box::new(lease)));
        }
        if holder(&found.bytes).is_some_and(|holder| holder.is_empty()) {
            if self.seen.take().is_some() {
                return Ok(self.count_release());
            }
            if lease.replace(&found.version)? {
                return Ok(LeaseState::Taken(Box::new(lease)));
            }
        }
        match &self.seen {
            Some((version, since)) if *version == found.version => {
                if since.elapsed() >= self.lifetime && lease.replace(&found.version)? {
                    warn!(lease = name, "its holder is dead: took the lease over");
                    return Ok(LeaseState::Taken(Box::new(lease)));
                }
            }
            _ => self.seen = Some((found.version, Instant::now())),
        }
        if self.began.elapsed() >= WAIT {
            return Ok(LeaseState::TimedOut);
        }
        Ok(LeaseState::Held(self.next_wait()))
    }

    fn count_release(&mut self) -> LeaseState {
        self.released += 1;
        LeaseState::Released
    }

    fn next_wait(&mut self) -> Duration {
        let (first, most) = POLL;
        let wait = (first * 2u32.pow(self.polls.min(6))).min(most);
        self.polls += 1;
        wait + contended_write::jitter(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::client::Patience;
    use crate::remote::config::Remote;
    use crate::util::environment::Environment;

    const NAME: &str = "v1/leases/one";

    fn client(dir: &std::path::Path) -> Client {
        let remote = Remote::new("team", dir.to_str().unwrap()).unwrap();
        Client::new(&remote, Patience::BUILD, &Environment::default()).unwrap()
    }

    /// Takes the lease that nobody holds.
    fn taken(client: &Client) -> Box<Lease> {
        match LeaseRequest::default().poll(client, NAME).unwrap() {
            LeaseState::Taken(lease) => lease,
            state => panic!("another process holds it: {state:?}"),
        }
    }

    #[test]
    fn one_builder_takes_a_lease_and_the_others_wait() {
        let dir = tempfile::tempdir().unwrap();
        let client = client(dir.path());
        let lease = taken(&client);
        let mut other = LeaseRequest::default();
        for _ in 0..3 {
            assert!(matches!(other.poll(&client, NAME).unwrap(), LeaseState::Held(_)));
        }
        lease.release();
        assert!(matches!(other.poll(&client, NAME).unwrap(), LeaseState::Released));
        assert!(matches!(other.poll(&client, NAME).unwrap(), LeaseState::Taken(_)));
    }

    #[test]
    fn a_lease_that_is_not_renewed_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let client = client(dir.path());
        let mut lease = taken(&client);
        let lifetime = Duration::ZERO;
        let mut other = LeaseRequest { lifetime, ..LeaseRequest::default() };
        assert!(matches!(other.poll(&client, NAME).unwrap(), LeaseState::Held(_)));
        assert!(lease.renew());
        assert!(
            matches!(other.poll(&client, NAME).unwrap(), LeaseState::Held(_)),
            "it was renewed"
        );
        let LeaseState::Taken(taken) = other.poll(&client, NAME).unwrap() else {
            panic!("it was not renewed")
        };
        assert!(!lease.renew(), "another process holds it");
        lease.release();
        assert!(client.get(NAME).unwrap().is_some(), "only its holder releases it");
        taken.release();
        assert!(client.get(NAME).unwrap().is_none());
    }

    #[test]
    fn a_lease_that_cannot_be_removed_is_marked_as_released() {
        let dir = tempfile::tempdir().unwrap();
        let client = client(dir.path());
        let lease = taken(&client);
        let mut other = LeaseRequest::default();
        assert!(matches!(other.poll(&client, NAME).unwrap(), LeaseState::Held(_)));
        lease.mark_released(&client.get(NAME).unwrap().unwrap().version);
        assert!(matches!(other.poll(&client, NAME).unwrap(), LeaseState::Released));
        assert!(matches!(other.poll(&client, NAME).unwrap(), LeaseState::Taken(_)));
        assert!(matches!(
            LeaseRequest::default().poll(&client, NAME).unwrap(),
            LeaseState::Held(_)
        ));
    }

    #[test]
    fn a_write_whose_answer_was_lost_takes_the_lease() {
        let dir = tempfile::tempdir().unwrap();
        let client = client(dir.path());
        let mut lease = taken(&client);
        let before = client.get(NAME).unwrap().unwrap().version;
        lease.renewals += 1;
        assert!(client.replace(NAME, lease.text(), Some(&before)).unwrap());
        assert!(lease.replace(&before).unwrap(), "the first attempt has arrived");
        assert!(client.create("v1/leases/two", b"{}".to_vec()).unwrap());
        let lease = Lease { name: "v1/leases/two".into(), ..*lease };
        assert!(!lease.replace(&before).unwrap(), "another process holds it");
    }

    #[test]
    fn waiting_for_a_lease_times_out() {
        let dir = tempfile::tempdir().unwrap();
        let client = client(dir.path());
        let _held = LeaseRequest::default().poll(&client, NAME).unwrap();
        let began = Instant::now().checked_sub(WAIT).unwrap();
        let mut other = LeaseRequest { began, ..LeaseRequest::default() };
        assert!(matches!(other.poll(&client, NAME).unwrap(), LeaseState::TimedOut));
    }

    #[test]
    fn a_lease_that_cannot_be_created_or_read_becomes_hopeless() {
        let dir = tempfile::tempdir().unwrap();
        let client = client(dir.path());
        // An object of this name cannot be created, and does not exist for a reader.
        std::fs::create_dir_all(dir.path().join(NAME)).unwrap();
        let mut request = LeaseRequest::default();
        for is_hopeless in [false, true] {
            assert!(matches!(request.poll(&client, NAME).unwrap(), LeaseState::Released));
            assert_eq!(request.is_hopeless(), is_hopeless);
        }
    }
}
