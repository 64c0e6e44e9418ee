//! Used by: the pins and buildouts that keep eggs.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use crate::cache::Cache;
use crate::cache::query::{self, Narrow};
use crate::cache::retention::kept_by::{Keepers, KeptBy, User};
use crate::egg::cached_egg::CachedEgg;
use crate::egg::name::{EggName, normalize_name, same_version, version_order};
use crate::error::{Error, Result};
use crate::util::clock::now;
use crate::util::hash::digest::Digest;

#[derive(Debug, Serialize)]
pub struct Report {
    pub eggs: Vec<Kept>,
    /// Eggs that buildouts use and that the cache does not have, by file name.
    pub not_cached: BTreeMap<String, Vec<User>>,
    /// Why records of roots cannot be read.
    pub unreadable: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct Kept {
    #[serde(flatten)]
    pub egg: CachedEgg,
    pub kept_by: KeptBy,
}

/// Reports what keeps the eggs that `text` matches, all of a project, of a version or of a pattern, or one by
/// its file name or digest. `grace` is as for [`crate::ops::gc`].
///
/// # Errors
/// [`Error::Miss`] if the cache has none and no buildout uses one.
pub fn used_by(cache: &Cache, text: &str, narrow: &Narrow, grace: Option<i64>) -> Result<Report> {
    let mut eggs = match query::of_pattern(cache, text)? {
        Some(eggs) => eggs,
        None => query::all(cache, text)?,
    };
    let keepers = Keepers::read(cache.dir(), grace, now())?;
    let cached: HashSet<Digest> = cache.eggs()?.iter().map(|egg| egg.digest).collect();
    let mut not_cached: BTreeMap<String, Vec<User>> = BTreeMap::new();
    for (file_name, digest, user) in keepers.used() {
        let is_of_digest = |it: Digest| Digest::is_prefix(text) && it.to_string().starts_with(text);
        let is_meant = is_named(text, file_name) || digest.is_some_and(is_of_digest);
        if digest.is_none_or(|it| !cached.contains(&it)) && is_meant {
            not_cached.entry(file_name.to_owned()).or_default().push(user);
        }
    }
    eggs.retain(|egg| narrow.admits(egg));
    eggs.sort_by_cached_key(|egg| (egg.key.name.clone(), version_order(&egg.key.version)));
    let eggs: Vec<Kept> =
        eggs.into_iter().map(|egg| Kept { kept_by: keepers.of(&egg), egg }).collect();
    if eggs.is_empty() && not_cached.is_empty() {
        return match query::one(cache, text, narrow) {
            Err(error) => Err(error),
            Ok(_) => Err(Error::miss(&text)),
        };
    }
    let unreadable = keepers.unreadable.iter().map(Error::to_string).collect();
    Ok(Report { eggs, not_cached, unreadable })
}

/// Whether a text is the file name of an egg, its name, or its name and version.
fn is_named(text: &str, file_name: &str) -> bool {
    let Ok(egg) = file_name.parse::<EggName>() else { return false };
    let (name, version) = text.split_once("==").unwrap_or((text, ""));
    let has_version = version.is_empty() || same_version(&egg.version, version.trim());
    text == file_name || (normalize_name(name.trim()) == normalize_name(&egg.name) && has_version)
}
