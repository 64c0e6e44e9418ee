//! Leases: of several builders that need one egg at the same moment, one builds it.
//!
//! A lease is a small object that whoever builds writes if it is not there. Its holder writes it again
//! every [`RENEWAL`]. Who waits looks at it now and then: once it has not changed for [`LIFETIME`], its
//! holder is dead, and whoever replaces just that version of it has it. Nobody compares clocks.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::remote::client::{Client, Version};
use crate::remote::publish::jitter;

/// How often a holder tells that it lives.
pub const RENEWAL: Duration = Duration::from_secs(10);
/// For how long a lease holds that does not change.
const LIFETIME: Duration = Duration::from_secs(30);
/// For how long others wait for a builder that lives.
const WAIT: Duration = Duration::from_mins(20);
/// How many builders are waited for of which nothing comes.
const MOST_RELEASED: u32 = 2;
/// Between two looks, at first and at most.
const LOOK: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(8));

/// What this process holds.
#[derive(Debug)]
pub struct Lease {
    client: Client,
    name: String,
    /// Of this holder, in this process.
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

    /// Tells that its holder lives; whether it still has it.
    pub fn renew(&mut self) -> bool {
        let Ok(Some(found)) = self.client.get(&self.name) else { return false };
        if !self.is_mine(&found.bytes) {
            return false;
        }
        self.renewals += 1;
        self.replace(&found.version).unwrap_or(false)
    }

    /// Writes it in place of this version of it; whether this process has it then.
    fn replace(&self, version: &Version) -> Result<bool> {
        Ok(self.client.replace(&self.name, self.text(), Some(version))?
            // An attempt of ours may have arrived whose answer did not.
            || self.client.get(&self.name)?.is_some_and(|found| found.bytes == self.text()))
    }

    fn is_mine(&self, bytes: &[u8]) -> bool {
        serde_json::from_slice::<serde_json::Value>(bytes)
            .is_ok_and(|value| value["holder"] == self.holder.as_str())
    }

    /// Lets others have it.
    pub fn release(self) {
        // Somebody else may have it by now.
        if let Ok(Some(found)) = self.client.get(&self.name)
            && self.is_mine(&found.bytes)
            && let Ok(false) = self.client.try_remove(&self.name)
        {
            self.let_go(&found.version);
        }
    }

    /// Writes that nobody has it, as who may not remove anything does.
    fn let_go(self, version: &Version) {
        let nobody = Self { holder: String::new(), ..self };
        let _ = nobody.client.replace(&nobody.name, nobody.text(), Some(version));
    }
}

/// Whether its last holder has let go of a lease that it could not remove.
fn is_nobodys(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(bytes).is_ok_and(|value| value["holder"] == "")
}

/// An attempt to get a lease, as long as somebody waits for it.
#[derive(Debug)]
pub struct Attempt {
    began: Instant,
    /// What was last seen of the holder, and since when.
    seen: Option<(Version, Instant)>,
    looks: u32,
    /// How often it was let go of.
    released: u32,
    lifetime: Duration,
}

/// What comes of a look at a lease.
#[derive(Debug)]
pub enum Look {
    /// This process has it now.
    Taken(Box<Lease>),
    /// Somebody else has it: look again after that long.
    Held(Duration),
    /// Whoever had it has let go of it: what was built is there, or is not.
    Released,
    /// It is not worth waiting any more.
    Over,
}

impl Default for Attempt {
    fn default() -> Self {
        Self { began: Instant::now(), seen: None, looks: 0, released: 0, lifetime: LIFETIME }
    }
}

impl Attempt {
    /// Whether to wait no more if nothing has come of a lease that was let go of: what this one builds
    /// may be refused as well. Or it is a store where what cannot be written is never there.
    #[must_use]
    pub fn is_in_vain(&self) -> bool {
        self.released >= MOST_RELEASED || self.began.elapsed() >= WAIT
    }

    /// Tries to take a lease, or looks at who has it.
    ///
    /// # Errors
    /// [`crate::error::Error::Remote`]
    pub fn look(&mut self, client: &Client, name: &str) -> Result<Look> {
        let holder = format!("{:016x}", RandomState::new().build_hasher().finish());
        let lease = Lease { client: client.clone(), name: name.into(), holder, renewals: 0 };
        if self.seen.is_none() && client.create(name, lease.text())? {
            return Ok(Look::Taken(Box::new(lease)));
        }
        let Some(found) = client.get(name)? else {
            self.seen = None;
            self.released += 1;
            return Ok(Look::Released);
        };
        if found.bytes == lease.text() {
            // It was written by an attempt whose answer did not come.
            return Ok(Look::Taken(Box::new(lease)));
        }
        if is_nobodys(&found.bytes) {
            if self.seen.take().is_some() {
                self.released += 1;
                return Ok(Look::Released);
            }
            if lease.replace(&found.version)? {
                return Ok(Look::Taken(Box::new(lease)));
            }
        }
        match &self.seen {
            Some((version, since)) if *version == found.version => {
                if since.elapsed() >= self.lifetime && lease.replace(&found.version)? {
                    return Ok(Look::Taken(Box::new(lease)));
                }
            }
            _ => self.seen = Some((found.version, Instant::now())),
        }
        if self.began.elapsed() >= WAIT {
            return Ok(Look::Over);
        }
        let (first, most) = LOOK;
        let wait = (first * 2u32.pow(self.looks.min(6))).min(most);
        self.looks += 1;
        Ok(Look::Held(wait + jitter(2)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::client::Patience;
    use crate::remote::config::Remote;

    const NAME: &str = "v1/leases/one";

    fn client(dir: &std::path::Path) -> Client {
        let remote = Remote::new("team", dir.to_str().unwrap()).unwrap();
        Client::new(&remote, Patience::BUILD).unwrap()
    }

    /// The lease that nobody has had before.
    fn taken(client: &Client) -> Box<Lease> {
        match Attempt::default().look(client, NAME).unwrap() {
            Look::Taken(lease) => lease,
            look => panic!("somebody else has it: {look:?}"),
        }
    }

    #[test]
    fn one_has_it_and_the_others_wait_until_it_is_released() {
        let dir = tempfile::tempdir().unwrap();
        let client = client(dir.path());
        let lease = taken(&client);
        let mut other = Attempt::default();
        for _ in 0..3 {
            assert!(matches!(other.look(&client, NAME).unwrap(), Look::Held(_)));
        }
        lease.release();
        assert!(matches!(other.look(&client, NAME).unwrap(), Look::Released));
        assert!(matches!(other.look(&client, NAME).unwrap(), Look::Taken(_)));
    }

    #[test]
    fn a_holder_that_lives_keeps_it_and_that_of_a_dead_one_is_taken_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let client = client(dir.path());
        let mut lease = taken(&client);
        let lifetime = Duration::ZERO;
        let mut other = Attempt { lifetime, ..Attempt::default() };
        assert!(matches!(other.look(&client, NAME).unwrap(), Look::Held(_)));
        assert!(lease.renew());
        assert!(matches!(other.look(&client, NAME).unwrap(), Look::Held(_)), "it has changed");
        let Look::Taken(taken) = other.look(&client, NAME).unwrap() else {
            panic!("it has not changed")
        };
        assert!(!lease.renew(), "somebody else has it");
        lease.release();
        assert!(client.get(NAME).unwrap().is_some(), "what is not its own is not released");
        taken.release();
        assert!(client.get(NAME).unwrap().is_none());
    }

    #[test]
    fn a_lease_that_its_holder_may_not_remove_is_nobodys() {
        let dir = tempfile::tempdir().unwrap();
        let client = client(dir.path());
        let lease = taken(&client);
        let mut other = Attempt::default();
        assert!(matches!(other.look(&client, NAME).unwrap(), Look::Held(_)));
        lease.let_go(&client.get(NAME).unwrap().unwrap().version);
        assert!(matches!(other.look(&client, NAME).unwrap(), Look::Released));
        assert!(matches!(other.look(&client, NAME).unwrap(), Look::Taken(_)));
        assert!(matches!(Attempt::default().look(&client, NAME).unwrap(), Look::Held(_)));
    }

    #[test]
    fn what_was_written_though_its_answer_did_not_come_is_held() {
        let dir = tempfile::tempdir().unwrap();
        let client = client(dir.path());
        let mut lease = taken(&client);
        let before = client.get(NAME).unwrap().unwrap().version;
        lease.renewals += 1;
        assert!(client.replace(NAME, lease.text(), Some(&before)).unwrap());
        assert!(lease.replace(&before).unwrap(), "the first attempt has arrived");
        assert!(client.create("v1/leases/two", b"{}".to_vec()).unwrap());
        let lease = Lease { name: "v1/leases/two".into(), ..*lease };
        assert!(!lease.replace(&before).unwrap(), "it is somebody else's");
    }

    #[test]
    fn nobody_waits_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let client = client(dir.path());
        let _held = Attempt::default().look(&client, NAME).unwrap();
        let began = Instant::now().checked_sub(WAIT).unwrap();
        let mut other = Attempt { began, ..Attempt::default() };
        assert!(matches!(other.look(&client, NAME).unwrap(), Look::Over));
    }

    #[test]
    fn nobody_asks_for_ever_for_what_can_neither_be_written_nor_read() {
        let dir = tempfile::tempdir().unwrap();
        let client = client(dir.path());
        // To be written it is there, to be read it is not.
        std::fs::create_dir_all(dir.path().join(NAME)).unwrap();
        let mut attempt = Attempt::default();
        for is_in_vain in [false, true] {
            assert!(matches!(attempt.look(&client, NAME).unwrap(), Look::Released));
            assert_eq!(attempt.is_in_vain(), is_in_vain);
        }
    }
}
