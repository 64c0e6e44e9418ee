//! Finding eggs by text: `name==version`, a name, an egg's file name, or the beginning of a digest.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use crate::cache::Cache;
use crate::cache::build_options;
use crate::cache::index::Index;
use crate::cache::retention::pins::Pattern;
use crate::disk::dir::Dir;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::EggKey;
use crate::egg::name::{EggName, normalize_name, same_version, sort_versions};
use crate::error::{Error, Result};
use crate::util::hash::digest::{Digest, shown_digits};
use crate::util::hash::is_lower_hex;
use crate::util::suggest::{Nearest, nearest};

/// Further requirements on an egg, for a name that is ambiguous.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Narrow {
    /// `3.11`, or a tag with the implementation: `cp311`.
    pub python: Option<String>,
    pub platform: Option<String>,
    pub generation: Option<u8>,
    /// The label of the build environment; empty for eggs without one.
    pub environment: Option<String>,
}

impl Narrow {
    /// Whether an egg meets the requirements. An egg for any Python or platform meets those on them.
    #[must_use]
    pub fn admits(&self, egg: &CachedEgg) -> bool {
        self.admits_key(&egg.key)
    }

    /// As [`Narrow::admits`].
    #[must_use]
    pub fn admits_key(&self, key: &EggKey) -> bool {
        let python = self.python.as_deref().is_none_or(|wanted| {
            let wanted = wanted.replace('.', "");
            key.python.is_empty()
                || key.python == wanted
                || key.python.trim_start_matches(|c: char| !c.is_ascii_digit()) == wanted
        });
        let platform = self
            .platform
            .as_deref()
            .is_none_or(|wanted| key.platform.is_empty() || key.platform == wanted);
        let environment = self.environment.as_ref().is_none_or(|wanted| key.environment == *wanted);
        python
            && platform
            && environment
            && self.generation.is_none_or(|wanted| key.generation == wanted)
    }
}

/// The one egg that matches `text`.
///
/// # Errors
/// [`Error::Miss`] with the nearest matches, or [`Error::Ambiguous`] with the candidates.
pub fn one(cache: &Cache, text: &str, narrow: &Narrow) -> Result<CachedEgg> {
    one_of(cache, text, narrow, |found| found)
}

/// As [`one`], to copy it: an egg that was added by hand counts as the egg that was built from an archive,
/// as for [`without_duplicates`].
///
/// # Errors
/// As [`one`].
pub fn one_to_copy(cache: &Cache, text: &str, narrow: &Narrow) -> Result<CachedEgg> {
    one_of(cache, text, narrow, without_duplicates)
}

fn one_of(
    cache: &Cache,
    text: &str,
    narrow: &Narrow,
    choose: impl Fn(Vec<CachedEgg>) -> Vec<CachedEgg>,
) -> Result<CachedEgg> {
    let index = &cache.index;
    let (found, ruled_out): (Vec<CachedEgg>, Vec<CachedEgg>) =
        candidates(index, text)?.into_iter().partition(|egg| narrow.admits(egg));
    let mut found = choose(found);
    match found.len() {
        0 => {
            let nearest = nearest_to(index, text, &ruled_out)?;
            let nearest = nearest.into_iter().map(|it| (text.to_owned(), it)).collect();
            Err(Error::Miss { query: text.to_owned(), nearest })
        }
        1 => Ok(found.remove(0)),
        _ => Err(Error::Ambiguous {
            query: text.to_owned(),
            candidates: found.iter().map(|egg| describe(egg, cache.dir())).collect(),
            has_all_builds: false,
        }),
    }
}

/// The eggs of several texts: the one egg that a text matches as for [`one`], or all that a pattern with
/// `*` or `?` matches. Each once.
///
/// # Errors
/// [`Error::Miss`] for all texts without an egg, or [`Error::Ambiguous`] for the first that matches several.
pub fn named(cache: &Cache, texts: &[String], narrow: &Narrow) -> Result<Vec<CachedEgg>> {
    let (mut eggs, mut missing, mut nearest) = (Vec::new(), Vec::new(), Vec::new());
    for text in texts {
        let found = match of_pattern(cache, text)? {
            Some(mut found) => {
                found.retain(|egg| narrow.admits(egg));
                if found.is_empty() {
                    missing.push(text.clone());
                    let meant = nearest_to_part(cache, text, narrow)?;
                    nearest.extend(meant.map(|meant| (text.clone(), meant)));
                }
                found
            }
            None => match one(cache, text, narrow) {
                Err(Error::Miss { query, nearest: meant }) => {
                    missing.push(query);
                    nearest.extend(meant);
                    Vec::new()
                }
                found => vec![found?],
            },
        };
        eggs.extend(found);
    }
    if !missing.is_empty() {
        return Err(Error::Miss { query: missing.join(", "), nearest });
    }
    let mut seen = HashSet::new();
    eggs.retain(|egg| seen.insert(egg.digest));
    Ok(eggs)
}

/// The eggs that a pattern with `*` or `?` matches; `None` if the text has neither.
pub fn of_pattern(cache: &Cache, text: &str) -> Result<Option<Vec<CachedEgg>>> {
    let name = text.split(['<', '>', '=', '!', '~']).next().unwrap_or_default();
    if !name.contains(['*', '?']) {
        return Ok(None);
    }
    let pattern = Pattern::new(text)?;
    let mut eggs = cache.eggs()?;
    eggs.retain(|egg| pattern.matches(egg));
    Ok(Some(eggs))
}

/// Removes each egg that is probably equal to one added earlier: their keys differ only in the source
/// archive, which one of them does not have because it was added by hand. Buildout, too, gets the
/// earlier one.
#[must_use]
pub fn without_duplicates(mut eggs: Vec<CachedEgg>) -> Vec<CachedEgg> {
    eggs.sort_by_key(|egg| egg.provenance.added_at);
    let mut kept: Vec<CachedEgg> = Vec::with_capacity(eggs.len());
    let mut firsts: HashMap<EggKey, Vec<usize>> = HashMap::new();
    for egg in eggs {
        let bare = EggKey { source_sha256: String::new(), ..egg.key.clone() };
        let of_key = firsts.entry(bare).or_default();
        let is_duplicate = of_key.iter().any(|&first| {
            let first: &CachedEgg = &kept[first];
            first.key.source_sha256.is_empty() || egg.key.source_sha256.is_empty()
        });
        if !is_duplicate {
            of_key.push(kept.len());
            kept.push(egg);
        }
    }
    kept
}

/// The nearest matches for a text that matches no egg of a list.
pub fn nearest_to_part(cache: &Cache, text: &str, narrow: &Narrow) -> Result<Option<Nearest>> {
    // `cow*` means the names that begin with `cow`.
    let text = text.trim_matches('*');
    let found = if text.is_empty() { Vec::new() } else { matching(cache, text)? };
    let is_admitted = found.iter().any(|egg| narrow.admits(egg));
    nearest_to(&cache.index, text, if is_admitted { &[] } else { &found })
}

/// The nearest matches for `text`, which matches no egg except those in `ruled_out`.
fn nearest_to(index: &Index, text: &str, ruled_out: &[CachedEgg]) -> Result<Option<Nearest>> {
    if !ruled_out.is_empty() {
        let file_names = ruled_out.iter().map(|egg| egg.file_name.clone()).collect();
        return Ok(Some(Nearest::RuledOut { file_names }));
    }
    let egg: Option<EggName> = text.parse().ok();
    let name = egg.as_ref().map_or_else(|| text.split("==").next(), |egg| Some(&egg.name));
    let asked = normalize_name(name.unwrap_or_default().trim());
    let eggs = index.of_project(&asked)?;
    if let Some((name, versions)) = name_and_versions(&eggs) {
        return Ok(Some(Nearest::Versions { name, versions }));
    }
    let names = index.names()?;
    if let Some(name) = nearest(&asked, names.clone()) {
        let eggs = index.of_project(&name)?;
        return Ok(
            name_and_versions(&eggs).map(|(name, versions)| Nearest::Name { name, versions })
        );
    }
    let names: Vec<String> = names.into_iter().filter(|name| name.contains(&asked)).collect();
    if !names.is_empty() && !asked.is_empty() {
        return Ok(Some(Nearest::Containing { names }));
    }
    if text.len() < FEWEST_DIGITS || !is_lower_hex(text) {
        return Ok(None);
    }
    let eggs = index.of_digest_prefix(text)?;
    let file_names: Vec<String> = eggs.into_iter().map(|egg| egg.file_name).collect();
    let enough = Digest::MIN_PREFIX;
    Ok((!file_names.is_empty()).then_some(Nearest::Digits { file_names, enough }))
}

/// Fewer digits of a digest match by chance.
const FEWEST_DIGITS: usize = 4;

/// The name of a project, spelled as in the file name of its newest egg, and its versions.
fn name_and_versions(eggs: &[CachedEgg]) -> Option<(String, Vec<String>)> {
    let last = eggs.last()?;
    let spelt = last.file_name.parse::<EggName>().map(|name| name.name);
    let mut versions = eggs.iter().map(|egg| egg.key.version.clone()).collect();
    sort_versions(&mut versions);
    Some((spelt.unwrap_or_else(|_| last.key.name.clone()), versions))
}

/// Records that the eggs of `text` were needed, if it has a version and they were evicted.
pub fn record_miss(cache: &mut Cache, text: &str, narrow: &Narrow, now: i64) {
    if let Some((name, version)) = text.split_once("==") {
        let version = version.trim_start_matches('=').trim();
        let is_asked = |key: &EggKey| same_version(&key.version, version) && narrow.admits_key(key);
        cache.index.record_miss(&normalize_name(name.trim()), is_asked, now);
    }
}

/// One line that distinguishes an egg from others of its name. The cache may know the options of its build.
#[must_use]
pub fn describe(egg: &CachedEgg, cache: &Dir) -> String {
    let key = &egg.key;
    let mut line = format!("  {}  {}", egg.digest.short(), egg.file_name);
    for (what, value) in [
        ("generation", key.generation.to_string()),
        ("spelling", key.spelling.clone()),
        ("abi", key.abi.clone()),
        ("libc", key.libc.clone()),
        ("source", shown_digits(&key.source_sha256).to_owned()),
        ("environment", key.environment.clone()),
    ] {
        if !value.is_empty() {
            let _ = write!(line, "  {what} {value}");
        }
    }
    if !key.variant.is_empty() {
        let _ = write!(line, "  {}", build_options::shown_variant(cache, &key.variant));
    }
    line
}

/// All eggs that a text matches as for [`one`].
pub fn all(cache: &Cache, text: &str) -> Result<Vec<CachedEgg>> {
    candidates(&cache.index, text)
}

fn candidates(index: &Index, text: &str) -> Result<Vec<CachedEgg>> {
    if let Some((name, version)) = text.split_once("==") {
        let version = version.trim_start_matches('=').trim();
        let mut eggs = index.of_project(&normalize_name(name.trim()))?;
        eggs.retain(|egg| same_version(&egg.key.version, version));
        return Ok(eggs);
    }
    // The extension alone does not suffice: `zc.recipe.egg` is a name.
    if text.parse::<EggName>().is_ok() {
        return index.of_file_name(text);
    }
    let mut eggs = index.of_project(&normalize_name(text))?;
    if Digest::is_prefix(text) {
        let named: HashSet<Digest> = eggs.iter().map(|egg| egg.digest).collect();
        let found = index.of_digest_prefix(text)?;
        eggs.extend(found.into_iter().filter(|egg| !named.contains(&egg.digest)));
    }
    Ok(eggs)
}

/// Eggs of the version in `text`; without a version, eggs whose name or file name contains `text`, or
/// whose digest begins with it. By name, version as text, and time added.
pub fn matching(cache: &Cache, text: &str) -> Result<Vec<CachedEgg>> {
    let index = &cache.index;
    let (name, version) = text.split_once("==").unwrap_or((text, ""));
    let name = normalize_name(name.trim());
    if !version.is_empty() {
        let mut eggs = index.of_project(&name)?;
        eggs.retain(|egg| same_version(&egg.key.version, version.trim()));
        return Ok(eggs);
    }
    let mut eggs = index.containing(&name, text)?;
    eggs.retain(|egg| {
        egg.key.name.contains(&name)
            || egg.file_name.contains(text)
            || (text.len() >= Digest::MIN_PREFIX && egg.digest.to_string().starts_with(text))
    });
    Ok(eggs)
}
