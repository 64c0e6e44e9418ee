//! The build leases that this process holds, each for an egg that it builds while others wait for it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::protocol::ToBuild;
use crate::egg::key::EggKey;
use crate::egg::name::same_version;
use crate::egg::variant;
use crate::remote::build_lease::Lease;

#[derive(Debug, Default)]
pub struct HeldLeases {
    eggs: Mutex<Vec<LeasedEgg>>,
    /// Unlike `eggs`, this is locked while requests run.
    leases: Mutex<Vec<Lease>>,
}

/// An egg that is built under a lease.
#[derive(Debug)]
struct LeasedEgg {
    /// The name of the lease.
    lease: String,
    /// As buildout spells it; the metadata of the egg may spell its version differently.
    egg: ToBuild,
    /// Whether the egg was offered to the cache.
    is_offered: bool,
}

impl LeasedEgg {
    fn is_for(&self, key: &EggKey) -> bool {
        self.egg.name == key.name
            && variant::is_one_of(
                &key.variant,
                &self.egg.variant,
                self.egg.bound_variant.as_deref(),
            )
            && same_version(&self.egg.version, &key.version)
    }
}

impl HeldLeases {
    /// Holds a lease until it is released.
    pub fn hold(&self, lease: Lease, egg: ToBuild) {
        let name = lease.name().to_owned();
        self.eggs().push(LeasedEgg { lease: name, egg, is_offered: false });
        self.leases().push(lease);
    }

    /// Whether this process holds the lease of this name.
    pub fn holds(&self, lease: &str) -> bool {
        self.eggs().iter().any(|leased| leased.lease == lease)
    }

    /// Whether this process holds a lease for this key.
    pub fn holds_for(&self, key: &EggKey) -> bool {
        self.eggs().iter().any(|leased| leased.is_for(key))
    }

    /// Notes that an egg was offered to the cache. Its lease is released after it is pushed.
    pub fn mark_offered(&self, key: &EggKey) {
        let mut eggs = self.eggs();
        eggs.iter_mut().filter(|egg| egg.is_for(key)).for_each(|egg| egg.is_offered = true);
    }

    /// Releases the leases of eggs that were not offered to the cache. Buildout builds one egg after the
    /// other, so when it comes to the next one, their builds have failed or had another result.
    pub fn release_not_offered(&self) {
        self.release(|egg| !egg.is_offered);
    }

    pub fn release_for(&self, keys: &[EggKey]) {
        self.release(|egg| keys.iter().any(|key| egg.is_for(key)));
    }

    pub fn release_all(&self) {
        self.release(|_| true);
    }

    fn release(&self, is_over: impl Fn(&LeasedEgg) -> bool) {
        let over: Vec<LeasedEgg> = self.eggs().extract_if(.., |egg| is_over(egg)).collect();
        if !over.is_empty() {
            let is_over = |lease: &mut Lease| over.iter().any(|egg| egg.lease == lease.name());
            self.leases().extract_if(.., is_over).for_each(Lease::release);
        }
    }

    /// Renews all leases. One that another process has taken over is dropped.
    pub fn renew(&self) {
        self.leases().retain_mut(Lease::renew);
    }

    fn eggs(&self) -> MutexGuard<'_, Vec<LeasedEgg>> {
        self.eggs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leases(&self) -> MutexGuard<'_, Vec<Lease>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
