//! Withdraw builds of a remote, undo that, and show what is withdrawn.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use crate::cache::Cache;
use crate::cache::query::{self, Narrow};
use crate::cache::retention::kept_by::{Keepers, KeptBy};
use crate::egg::cached_egg::CachedEgg;
use crate::egg::name::{EggName, normalize_name, same_version};
use crate::error::{Error, Result};
use crate::remote::client::{Client, Patience};
use crate::remote::config::Remote;
use crate::remote::entry::{self, RemoteEntry};
use crate::remote::inventory::require_listing;
use crate::remote::keys::Signer;
use crate::remote::object_names::{ENTRIES, VERSION};
use crate::remote::signature::{self, Trust};
use crate::remote::withdrawals::run;
use crate::remote::withdrawals::statement::{MAX_REASON, MAX_WITHDRAWN, Withdrawn};
use crate::remote::withdrawals::write;
use crate::util::clock::now;
use crate::util::environment::Environment;
use crate::util::hash::digest::Digest;

#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Each is `name==version`, a name, a file name, or the beginning of a digest. Without any, the list is
    /// only signed again.
    pub eggs: Vec<String>,
    pub narrow: Narrow,
    /// Take every build that a name matches.
    pub all_builds: bool,
    /// Why; empty with `undo`.
    pub reason: String,
    /// Remove them from the list.
    pub undo: bool,
    /// How long the list is valid, in seconds; if absent, as long as the previous one.
    pub valid_for: Option<i64>,
}

/// The list of a remote.
#[derive(Debug, Serialize)]
pub struct Report {
    pub remote: String,
    /// Absent if the remote has no list.
    pub number: Option<u64>,
    /// Seconds since the Unix epoch.
    pub signed_at: Option<i64>,
    pub expires_at: Option<i64>,
    pub withdrawn: Vec<Withdrawn>,
    /// The buildouts that use withdrawn builds, and the pins of those that the cache still has.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub kept_by: BTreeMap<Digest, KeptBy>,
    /// How many trusted keys have signed it, and how many are needed. Absent if the list was only read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signatures: Option<(usize, usize)>,
    /// How many eggs this run has added or removed.
    pub changed: usize,
    /// What is wrong with the list that the remote has. Then this is the one that the cache remembers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Shows what a remote has withdrawn, or else what the cache at `root` remembers of that, and which buildouts
/// use it. The cache remembers the list from then on. `cache` is the opened one.
///
/// # Errors
/// [`Error::NoRemoteFolder`], or if the remote cannot be opened or a record of the cache cannot be read.
pub fn list(
    root: &Path,
    cache: Option<&Cache>,
    remote: &Remote,
    environment: &Environment,
) -> Result<Report> {
    remote.check_folder()?;
    let client = Client::new(remote, Patience::COMMAND, environment)?;
    let run::Looked { list, withdrawn, problem } = run::look(&client, root, remote)?;
    let list = list.as_ref();
    let kept_by = cache.map_or_else(|| Ok(BTreeMap::new()), |it| kept_by(it, &withdrawn))?;
    Ok(Report {
        remote: remote.name.clone(),
        number: list.map(|it| it.number),
        signed_at: list.map(|it| it.signed_at),
        expires_at: list.map(|it| it.expires_at),
        withdrawn,
        kept_by,
        signatures: None,
        changed: 0,
        problem,
    })
}

/// What uses builds. A pin is that of an egg which the cache has.
fn kept_by(cache: &Cache, builds: &[Withdrawn]) -> Result<BTreeMap<Digest, KeptBy>> {
    let mut all = BTreeMap::new();
    if builds.is_empty() {
        return Ok(all);
    }
    let keepers = Keepers::read(cache.dir(), None, now())?;
    for &Withdrawn { egg, .. } in builds {
        let kept_by = match cache.egg(egg)? {
            Some(cached) => keepers.of(&cached),
            None => KeptBy { roots: keepers.users(egg), ..KeptBy::default() },
        };
        if !kept_by.is_empty() {
            all.insert(egg, kept_by);
        }
    }
    Ok(all)
}

/// Withdraws builds, or with `undo` allows them again.
///
/// # Errors
/// [`Error::Miss`] or [`Error::Ambiguous`] for a name, [`Error::Usage`] for a reason that is too long,
/// [`Error::Withdrawals`] if the list cannot be changed, or [`Error::Remote`].
pub fn withdraw(
    cache: &Cache,
    remote: &Remote,
    signer: &Signer,
    options: &Options,
    environment: &Environment,
) -> Result<Report> {
    cache.check_writable()?;
    write::check(remote, signer)?;
    require_listing(remote)?;
    if options.reason.len() > MAX_REASON {
        return Err(Error::Usage(format!("a reason has at most {MAX_REASON} bytes")));
    }
    let client = Client::new(remote, Patience::COMMAND, environment)?;
    let mut chosen: BTreeMap<Digest, Withdrawn> = BTreeMap::new();
    let mut allowed: Vec<Allowed> = Vec::new();
    for text in &options.eggs {
        if options.undo {
            allowed.push(Allowed::of(cache, &client, remote, text, options)?);
        } else {
            chosen.extend(builds(cache, &client, remote, text, options)?);
        }
    }
    let change = |before: &[Withdrawn]| {
        if options.undo {
            without(before, remote, &allowed, options.all_builds)
        } else {
            with(before, &chosen, remote)
        }
    };
    let counted = std::cell::Cell::new(0);
    let counting = |before: &[Withdrawn]| {
        let after = change(before)?;
        counted.set(before.len().abs_diff(after.len()));
        Ok(after)
    };
    let root = cache.root();
    let valid_for = options.valid_for;
    let request = write::Request { valid_for, is_plain: options.eggs.is_empty() };
    let written = write::change(&client, remote, root, signer, request, counting)?;
    let write::Written { statement, signatures } = written;
    Ok(Report {
        remote: remote.name.clone(),
        number: Some(statement.number),
        signed_at: Some(statement.signed_at),
        expires_at: Some(statement.expires_at),
        kept_by: kept_by(cache, &statement.withdrawn)?,
        withdrawn: statement.withdrawn,
        signatures: Some((signatures, remote.signatures_needed)),
        changed: counted.get(),
        problem: None,
    })
}

/// The list together with the chosen builds. One that is withdrawn already stays as it is.
fn with(
    before: &[Withdrawn],
    chosen: &BTreeMap<Digest, Withdrawn>,
    remote: &Remote,
) -> Result<Vec<Withdrawn>> {
    let mut all = before.to_vec();
    let is_new = |it: &&Withdrawn| !before.iter().any(|old| old.egg == it.egg);
    all.extend(chosen.values().filter(is_new).cloned());
    if all.len() > MAX_WITHDRAWN {
        let reason = format!("has at most {MAX_WITHDRAWN} eggs");
        return Err(Error::Withdrawals { name: remote.name.clone(), reason });
    }
    Ok(all)
}

/// A text that names builds to allow again. The list has only their names, versions and digests.
struct Allowed<'a> {
    text: &'a str,
    /// The builds of the remote and of the cache that it means, if it says more than the list has.
    builds: Option<BTreeSet<Digest>>,
}

impl<'a> Allowed<'a> {
    fn of(
        cache: &Cache,
        client: &Client,
        remote: &Remote,
        text: &'a str,
        options: &Options,
    ) -> Result<Self> {
        let says_more = text.parse::<EggName>().is_ok() || options.narrow != Narrow::default();
        if !says_more {
            return Ok(Self { text, builds: None });
        }
        let mut found = on_remote(client, remote, text, &options.narrow)?;
        found.extend(in_cache(cache, text, &options.narrow)?);
        Ok(Self { text, builds: Some(found.into_keys().collect()) })
    }

    /// The builds of a list that it means, and whether they are only those of its name and version: neither
    /// the remote nor the cache has the build that it says.
    fn among<'b>(&self, withdrawn: &'b [Withdrawn]) -> (Vec<&'b Withdrawn>, bool) {
        if let Some(builds) = self.builds.as_ref().filter(|builds| !builds.is_empty()) {
            return (withdrawn.iter().filter(|it| builds.contains(&it.egg)).collect(), false);
        }
        let file_name: Option<EggName> = self.text.parse().ok();
        let is_named = |it: &&Withdrawn| match &file_name {
            Some(egg) => normalize_name(&egg.name) == it.name && egg.has_version(&it.version),
            None => matches(self.text, &it.name, &it.version, it.egg),
        };
        (withdrawn.iter().filter(is_named).collect(), self.builds.is_some())
    }
}

/// The list without the builds that are named.
///
/// # Errors
/// [`Error::NotWithdrawn`], or [`Error::Ambiguous`] with the candidates.
fn without(
    before: &[Withdrawn],
    remote: &Remote,
    allowed: &[Allowed<'_>],
    all_builds: bool,
) -> Result<Vec<Withdrawn>> {
    let mut all = before.to_vec();
    for it in allowed {
        let query = it.text.to_owned();
        let (named, is_vague) = it.among(&all);
        if named.is_empty() {
            return Err(Error::NotWithdrawn { name: remote.name.clone(), query });
        }
        if (named.len() > 1 || is_vague) && !all_builds {
            let line = |it: &&Withdrawn| {
                format!("  {}  {}=={}  {}", it.egg.short(), it.name, it.version, it.reason)
            };
            let candidates = named.iter().map(line).collect();
            return Err(Error::Ambiguous { query, candidates, has_all_builds: true });
        }
        let named: BTreeSet<Digest> = named.iter().map(|it| it.egg).collect();
        all.retain(|it| !named.contains(&it.egg));
    }
    Ok(all)
}

/// Whether a text names a build: by its name, name and version, or the beginning of its digest.
fn matches(text: &str, name: &str, version: &str, egg: Digest) -> bool {
    if let Some((wanted, of)) = text.split_once("==") {
        return normalize_name(wanted.trim()) == name && same_version(of.trim(), version);
    }
    normalize_name(text) == name || (Digest::is_prefix(text) && egg.to_string().starts_with(text))
}

/// The builds that a text names, on the remote or else in the cache.
fn builds(
    cache: &Cache,
    client: &Client,
    remote: &Remote,
    text: &str,
    options: &Options,
) -> Result<BTreeMap<Digest, Withdrawn>> {
    let mut found = on_remote(client, remote, text, &options.narrow)?;
    // A build of the cache that is not on the remote is no reason to ask which one is meant.
    if found.is_empty() || Digest::is_prefix(text) || options.all_builds {
        found.extend(in_cache(cache, text, &options.narrow)?);
    }
    if found.len() > 1 && !options.all_builds {
        let candidates = found.values().map(|egg| query::describe(egg, cache.dir())).collect();
        let query = text.to_owned();
        return Err(Error::Ambiguous { query, candidates, has_all_builds: true });
    }
    if found.is_empty() {
        return Err(Error::NotOnRemote { name: remote.name.clone(), query: text.to_owned() });
    }
    let withdrawn = |egg: CachedEgg| Withdrawn {
        egg: egg.digest,
        name: egg.key.name,
        version: egg.key.version,
        reason: options.reason.clone(),
        at: now(),
    };
    Ok(found.into_values().map(|egg| (egg.digest, withdrawn(egg))).collect())
}

/// The builds of a remote that a text names.
fn on_remote(
    client: &Client,
    remote: &Remote,
    text: &str,
    narrow: &Narrow,
) -> Result<BTreeMap<Digest, CachedEgg>> {
    let file_name: Option<EggName> = text.parse().ok();
    let is_whole_digest = text.parse::<Digest>().is_ok();
    let name =
        file_name.map_or_else(|| text.split("==").next().unwrap_or(text).into(), |it| it.name);
    let is_digest = Digest::is_prefix(text);
    let folder =
        if is_digest { String::new() } else { format!("/{}", normalize_name(name.trim())) };
    let trust = Trust::any(&remote.trusted);
    let mut found = BTreeMap::new();
    for object in client.list(&format!("{VERSION}/{ENTRIES}{folder}"))? {
        let bytes = client.get(&object.name)?.map(|it| it.bytes).unwrap_or_default();
        for signed in entry::lines(&bytes) {
            // A digest names exactly one build, signed or not. A name, and the beginning of a
            // digest, could be anybody's.
            let entry = match signature::verified(&signed, trust, now()) {
                Err(_) if is_whole_digest => signed.unchecked(),
                entry => entry,
            };
            let egg =
                entry.ok().filter(|it| it.check_name().is_ok()).map(|it: RemoteEntry| it.egg());
            let egg = egg.filter(|egg| is_meant(egg, text, narrow));
            found.extend(egg.map(|egg| (egg.digest, egg)));
        }
    }
    Ok(found)
}

/// The builds of the cache that a text names.
fn in_cache(cache: &Cache, text: &str, narrow: &Narrow) -> Result<BTreeMap<Digest, CachedEgg>> {
    let named = cache.eggs()?.into_iter().filter(|egg| is_meant(egg, text, narrow));
    Ok(named.map(|egg| (egg.digest, egg)).collect())
}

fn is_meant(egg: &CachedEgg, text: &str, narrow: &Narrow) -> bool {
    narrow.admits(egg)
        && (egg.file_name == text || matches(text, &egg.key.name, &egg.key.version, egg.digest))
}
