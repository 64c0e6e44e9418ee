//! The eggs that pins and roots protect.

use std::collections::HashSet;

use crate::cache::retention::pins::{Pattern, Pin};
use crate::cache::retention::plan::{KeepReason, Protected};
use crate::cache::retention::roots::KnownRoot;
use crate::egg::cached_egg::CachedEgg;
use crate::util::hash::digest::Digest;

/// The eggs that pins and roots protect. For an egg that several roots use, the reason has the first of
/// them and the number of others.
#[must_use]
pub fn protected(pins: &[(Pin, Pattern)], eggs: &[CachedEgg], roots: &[KnownRoot]) -> Protected {
    let mut protected = Protected::new();
    for egg in eggs {
        let pin = pins.iter().find(|(_, pattern)| pattern.matches(egg));
        protected.extend(pin.map(|(pin, _)| {
            (egg.digest, KeepReason::Pinned { pin: pin.what.clone(), note: pin.note.clone() })
        }));
    }
    for KnownRoot { root, .. } in roots {
        let digests: HashSet<Digest> = root.eggs.iter().filter_map(|egg| egg.digest).collect();
        for digest in digests {
            protected
                .entry(digest)
                .and_modify(|stay| {
                    if let KeepReason::Root { more, .. } = stay {
                        *more += 1;
                    }
                })
                .or_insert_with(|| KeepReason::Root { root: root.directory.clone(), more: 0 });
        }
    }
    protected
}
