//! Pins, and the eggs that they match.

use serde::Serialize;

use crate::cache::retention::pins::{Pattern, Pin};
use crate::egg::cached_egg::CachedEgg;

/// How many pins are listed.
const PINS: usize = 50;

#[derive(Debug, Default, Serialize)]
pub struct Pins {
    /// The number of all pins.
    pub count: usize,
    /// By their patterns.
    pub first: Vec<PinUse>,
}

/// A pin, and the eggs that it matches now.
#[derive(Debug, Serialize)]
pub struct PinUse {
    #[serde(flatten)]
    pub pin: Pin,
    pub eggs: usize,
    /// Bytes of their blobs.
    pub bytes: u64,
}

impl Pins {
    #[must_use]
    pub fn of(pins: &[(Pin, Pattern)], eggs: &[CachedEgg]) -> Self {
        let pin_use = |(pin, pattern): &(Pin, Pattern)| {
            let sizes = || eggs.iter().filter(|egg| pattern.matches(egg)).map(|egg| egg.blob_bytes);
            PinUse { pin: pin.clone(), eggs: sizes().count(), bytes: sizes().sum() }
        };
        Self { count: pins.len(), first: pins.iter().take(PINS).map(pin_use).collect() }
    }
}
