//! Pins: pin, unpin, and list what is pinned.

use serde::Serialize;

use crate::cache::Cache;
use crate::cache::retention::pins::{self, Pattern, Pin};
use crate::egg::cached_egg::CachedEgg;
use crate::error::{Error, Result};
use crate::util::clock::now;
use crate::util::suggest::nearest;

#[derive(Debug, Clone)]
pub enum Options {
    List,
    Pin { what: Vec<String>, note: Option<String> },
    Unpin { what: Vec<String> },
}

#[derive(Debug, Serialize)]
pub struct Report {
    /// All pins, or those that were made or taken away.
    pub pins: Vec<PinStatus>,
}

/// A pin, and what it is about now.
#[derive(Debug, Serialize)]
pub struct PinStatus {
    #[serde(flatten)]
    pub pin: Pin,
    pub eggs: usize,
    /// Bytes of their blobs.
    pub bytes: u64,
}

/// Makes or takes away pins, all that are named or none, or lists all.
///
/// # Errors
/// [`Error::Usage`] for what cannot be pinned, [`Error::NotAPin`] for what is not pinned, or if the
/// pins or the index cannot be read or written.
pub fn pins(cache: &Cache, options: &Options) -> Result<Report> {
    let patterns = |what: &[String]| -> Result<Vec<Pattern>> {
        cache.check_writable()?;
        what.iter().map(|text| Pattern::new(text)).collect()
    };
    let root = cache.root();
    let pins = match options {
        Options::List => pins::all(root)?,
        Options::Pin { what, note } => {
            let mut made = Vec::new();
            for (pattern, what) in patterns(what)?.into_iter().zip(what) {
                let what = what.trim().to_owned();
                let pin = Pin { what, note: note.clone(), pinned_at: now() };
                pins::write(root, &pin, &pattern)?;
                made.push((pin, pattern));
            }
            made
        }
        Options::Unpin { what } => {
            let mut gone = Vec::new();
            for (pattern, what) in patterns(what)?.into_iter().zip(what) {
                let pin = pins::of(root, &pattern)?;
                let Some(pin) = pin else {
                    let nearest = nearest_to(&pattern, pins::all(root)?);
                    return Err(Error::NotAPin { what: what.clone(), nearest });
                };
                gone.push((pin, pattern));
            }
            for (_, pattern) in &gone {
                pins::remove(root, pattern)?;
            }
            gone
        }
    };
    let eggs = cache.eggs()?;
    let listed = |(pin, pattern): (Pin, Pattern)| {
        let found: Vec<&CachedEgg> = eggs.iter().filter(|egg| pattern.matches(egg)).collect();
        let bytes = found.iter().map(|egg| egg.blob_bytes).sum();
        PinStatus { pin, eggs: found.len(), bytes }
    };
    Ok(Report { pins: pins.into_iter().map(listed).collect() })
}

/// What is pinned of that name, or of the one that is spelt most like it.
fn nearest_to(pattern: &Pattern, pins: Vec<(Pin, Pattern)>) -> Option<String> {
    let names = || pins.iter().map(|(_, pattern)| pattern.name().to_owned());
    let same = names().find(|name| name == pattern.name());
    let name = same.or_else(|| nearest(pattern.name(), names().collect()))?;
    let of_name = pins.into_iter().find(|(_, pattern)| pattern.name() == name);
    of_name.map(|(pin, _)| pin.what)
}
