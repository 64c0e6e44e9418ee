//! Held: what pins and roots keep from being evicted.

use std::collections::HashSet;

use crate::digest::Digest;
use crate::egg::Egg;
use crate::pin::{Pattern, Pin};
use crate::plan::{Held, Stay};
use crate::root::Known;

/// What pins and roots hold. An egg that several roots use is told of the first, and how many others
/// do.
#[must_use]
pub fn held(pins: &[(Pin, Pattern)], eggs: &[Egg], roots: &[Known]) -> Held {
    let mut held = Held::new();
    for egg in eggs {
        let pin = pins.iter().find(|(_, pattern)| pattern.matches(egg));
        held.extend(pin.map(|(pin, _)| {
            (egg.digest, Stay::Pinned { pin: pin.what.clone(), note: pin.note.clone() })
        }));
    }
    for Known { root, .. } in roots {
        let digests: HashSet<Digest> = root.eggs.iter().filter_map(|egg| egg.digest).collect();
        for digest in digests {
            held.entry(digest)
                .and_modify(|stay| {
                    if let Stay::Root { more, .. } = stay {
                        *more += 1;
                    }
                })
                .or_insert_with(|| Stay::Root { root: root.directory.clone(), more: 0 });
        }
    }
    held
}
