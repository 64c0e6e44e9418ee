//! Pins: pin and unpin eggs, and list the pins.

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
    /// All pins, or those that were added or removed.
    pub pins: Vec<PinStatus>,
}

/// A pin, and the eggs that it matches now.
#[derive(Debug, Serialize)]
pub struct PinStatus {
    #[serde(flatten)]
    pub pin: Pin,
    pub eggs: usize,
    /// Bytes of their blobs.
    pub bytes: u64,
}

/// Adds or removes pins, or lists all. Removes either all the given pins or none.
///
/// # Errors
/// [`Error::Usage`] for an invalid pattern, [`Error::NotAPin`] if a pin to remove does not exist.
pub fn pins(cache: &Cache, options: &Options) -> Result<Report> {
    let pins = match options {
        Options::List => pins::all(cache.dir())?,
        Options::Pin { what, note } => add(cache, what, note.as_deref())?,
        Options::Unpin { what } => remove(cache, what)?,
    };
    let eggs = cache.eggs()?;
    let status = |(pin, pattern): (Pin, Pattern)| {
        let found: Vec<&CachedEgg> = eggs.iter().filter(|egg| pattern.matches(egg)).collect();
        let bytes = found.iter().map(|egg| egg.blob_bytes).sum();
        PinStatus { pin, eggs: found.len(), bytes }
    };
    Ok(Report { pins: pins.into_iter().map(status).collect() })
}

/// The patterns of pins that are added or removed.
fn patterns(cache: &Cache, what: &[String]) -> Result<Vec<Pattern>> {
    cache.check_writable()?;
    what.iter().map(|text| Pattern::new(text)).collect()
}

fn add(cache: &Cache, what: &[String], note: Option<&str>) -> Result<Vec<(Pin, Pattern)>> {
    let mut added = Vec::new();
    for (pattern, what) in patterns(cache, what)?.into_iter().zip(what) {
        let what = what.trim().to_owned();
        let pin = Pin { what, note: note.map(str::to_owned), pinned_at: now() };
        pins::write(cache.dir(), &pin, &pattern)?;
        added.push((pin, pattern));
    }
    Ok(added)
}

fn remove(cache: &Cache, what: &[String]) -> Result<Vec<(Pin, Pattern)>> {
    let root = cache.dir();
    let mut removed = Vec::new();
    for (pattern, what) in patterns(cache, what)?.into_iter().zip(what) {
        let Some(pin) = pins::of(root, &pattern)? else {
            let nearest = nearest_to(&pattern, pins::all(root)?);
            return Err(Error::NotAPin { what: what.clone(), nearest });
        };
        removed.push((pin, pattern));
    }
    for (_, pattern) in &removed {
        pins::remove(root, pattern)?;
    }
    Ok(removed)
}

/// The pin for that name, or for the name with the most similar spelling.
fn nearest_to(pattern: &Pattern, pins: Vec<(Pin, Pattern)>) -> Option<String> {
    let names = || pins.iter().map(|(_, pattern)| pattern.name().to_owned());
    let same = names().find(|name| name == pattern.name());
    let name = same.or_else(|| nearest(pattern.name(), names().collect()))?;
    let of_name = pins.into_iter().find(|(_, pattern)| pattern.name() == name);
    of_name.map(|(pin, _)| pin.what)
}
