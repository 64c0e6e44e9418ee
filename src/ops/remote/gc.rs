//! Garbage collection of a remote: plans which of its eggs are evicted, and removes them.
//!
//! The plan is that of the cache's own `gc` ([`crate::cache::retention::plan`]). Because nobody knows the
//! last use of an egg on a remote, the time at which its entry was written takes its place. Eggs that
//! match a pin of this cache or that one of its roots uses stay.
//!
//! # Order of removals
//! First the line in the list, then the line in the sets, then the entry, then the blob. So whatever a
//! client finds refers only to objects that exist, even if this is cut off. The next run removes the
//! rest. Lists and sets are changed with If-Match. A client that has read a list earlier misses the blob,
//! and builds the egg.
//!
//! # At the same time as a push
//! A push writes the blob, then the entry, then the line. A blob that nothing refers to may be waiting for
//! its entry, so only blobs older than a grace period are removed. All times are by the clock of the store.
//! An older blob is removed only if nothing refers to it yet:
//!
//! - Before any blob is removed, the entries are listed again, so eggs that were pushed since stay.
//! - A blob that was uploaded again since is young in the check right before its removal. The entries that
//!   named it when the plan was made are checked there as well: one that exists again keeps it.
//! - A push that finds a blob checks it once more after it has written its entry (`publish`). In a folder,
//!   a lock keeps this check away from the last checks of `gc` and the removal. Elsewhere there is no time
//!   in between for a push to write the entry and to check the blob, unless this process is suspended
//!   there. Then the next push of the key repairs it.
//! - A push that creates a blob needs no such check, because no plan contains a blob that did not exist.
//! - A push that found the entry before `gc` removed it adds the line to the list again. A client that
//!   follows this line misses the egg, builds it and pushes it, which replaces the line.
//!   `remote verify --repair` removes such lines.
//!
//! An entry is removed only if it has not changed since the plan was made. A blob that a line of a list or
//! a set names stays. All blobs stay if there is an entry of a newer eggcache, because this one cannot
//! read which blob it names.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;

use super::signed_texts::SignedTexts;
use crate::cache::Cache;
use crate::cache::retention::pins;
use crate::cache::retention::plan::{
    EvictReason, Evicted, Kept, Plan, Protected, Rules, plan, without_withdrawn,
};
use crate::cache::retention::protected::protected;
use crate::cache::retention::roots::{self, GRACE as ROOT_GRACE, KnownRoot};
use crate::cache::retention::signed_by::CameBy;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::EggKey;
use crate::error::{Error, Result};
use crate::remote::client::{Client, ObjectInfo, Patience};
use crate::remote::config::Remote;
use crate::remote::entry::{MAX_OBJECT, RemoteEntry, Signed};
use crate::remote::inventory::{self, Inventory, Lines, StoredEntry};
use crate::remote::keys::Trusted;
use crate::remote::object_names::{self, ObjectKind};
use crate::remote::publish;
use crate::remote::withdrawals::record::Withdrawals;
use crate::util::clock::now;
use crate::util::environment::Environment;
use crate::util::hash::digest::Digest;
use crate::util::progress::{Progress, Silent, Unit};

/// Default of [`Options::grace`], in seconds.
pub const GRACE: i64 = 86_400;
/// Older leases are removed, in seconds.
const OLD_LEASE: i64 = 86_400;

#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Ages are those of entries. A size limit does not apply, because it needs the last use.
    pub rules: Rules,
    /// Younger blobs are not removed, in seconds (default: [`GRACE`]).
    pub grace: Option<i64>,
    /// How long a root counts after its folder is gone, in seconds.
    pub root_grace: Option<i64>,
    /// Remove entries without any trusted signature, too.
    pub untrusted: bool,
    /// Remove entries with a signature that names one of these keys, by their ids, whatever protects them
    /// and even if other keys have signed them.
    pub signed_by: Vec<String>,
    pub dry_run: bool,
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub remote: String,
    pub dry_run: bool,
    pub rules: Rules,
    pub evicted: Vec<Evicted>,
    pub kept: usize,
    pub kept_bytes: u64,
    pub kept_eggs: Vec<Kept>,
    /// Entries that are not valid.
    pub refused: Vec<RefusedEntry>,
    /// Lists and sets that lose lines.
    pub lists: usize,
    /// Removed blobs, of evicted eggs or of none.
    pub blobs: usize,
    pub freed_bytes: u64,
    /// Blobs that nothing refers to and that are too young to be removed.
    pub young_blobs: usize,
    pub leases: usize,
    /// Whether no blob is removed because of an entry of a newer eggcache.
    pub blocked: bool,
    /// Errors of root records that cannot be read.
    pub unreadable: Vec<String>,
    /// Requests that were made.
    pub requests: u64,
}

/// An entry that is not valid.
#[derive(Debug, Serialize)]
pub struct RefusedEntry {
    /// The name of the object.
    pub name: String,
    /// The egg's file name, or else the name of the object.
    pub what: String,
    pub reason: String,
    pub removed: bool,
}

/// Collects garbage on a remote, or with `dry_run` reports what it would remove.
///
/// # Errors
/// [`Error::NoValidKey`] if untrusted entries are to be removed and no trusted key is valid,
/// [`Error::WebServer`], or [`Error::Remote`].
pub fn gc(
    cache: &Cache,
    remote: &Remote,
    options: &Options,
    environment: &Environment,
    progress: &dyn Progress,
) -> Result<Report> {
    inventory::require_listing(remote)?;
    if !options.dry_run {
        remote.check_own()?;
    }
    if options.untrusted {
        require_valid_key(remote)?;
    }
    let time = if options.dry_run {
        now()
    } else {
        Client::new(remote, Patience::COMMAND, environment)?.clock(object_names::CLOCK)?
    };
    let inventory = Inventory::new(remote, environment, progress)?;
    let valid: HashMap<Digest, &StoredEntry> =
        inventory.entries.iter().filter_map(|it| Some((it.valid()?.egg, it))).collect();
    let eggs: Vec<CachedEgg> = valid.values().filter_map(|stored| egg_of(stored)).collect();
    let withdrawals = Withdrawals::of(cache.root())?;
    let (withdrawn, eggs) = without_withdrawn(eggs, |egg| withdrawals.has(egg.digest));
    let root_grace = options.root_grace.unwrap_or(ROOT_GRACE);
    let (protected, unreadable) = protected_eggs(cache, &eggs, root_grace)?;
    let bad = SignedTexts::new(&inventory, &options.signed_by);
    let (by_key, eggs): (Vec<CachedEgg>, Vec<CachedEgg>) =
        eggs.into_iter().partition(|egg| bad.of(valid[&egg.digest]).is_some());
    let rules = Rules { max_size: None, ..options.rules };
    let Plan { mut evicted, kept: kept_eggs } = plan(eggs, &rules, &protected, time);
    evicted.extend(withdrawn);
    evicted.extend(by_key.into_iter().filter_map(|egg| {
        let key = bad.of(valid[&egg.digest])?.to_owned();
        let despite = protected.get(&egg.digest).cloned();
        let came_by = CameBy { key, remote: remote.name.clone(), unchecked: true, despite };
        let reason = EvictReason::SignedBy;
        Some(Evicted { egg, reason, limit_bytes: 0, came_by: Some(came_by) })
    }));
    evicted.sort_by(|a, b| a.egg.file_name.cmp(&b.egg.file_name));
    let is_removed = |stored: &&StoredEntry| {
        let is_untrusted = || !stored.is_newer() && !stored.is_incomplete();
        bad.of(stored).is_some() || (options.untrusted && is_untrusted())
    };
    let invalid: Vec<&StoredEntry> =
        inventory.entries.iter().filter(|it| it.problem.is_some()).collect();
    let mut entries: Vec<&StoredEntry> = evicted.iter().map(|it| valid[&it.egg.digest]).collect();
    entries.extend(invalid.iter().copied().filter(is_removed));
    let grace = options.grace.unwrap_or(GRACE);
    let removal = Removal::new(&inventory, entries, bad.texts(), time, grace);
    let mut report = Report {
        remote: remote.name.clone(),
        dry_run: options.dry_run,
        rules,
        kept: kept_eggs.len(),
        kept_bytes: kept_eggs.iter().map(|it| it.egg.blob_bytes).sum(),
        evicted,
        kept_eggs,
        refused: invalid.iter().map(|stored| refused(stored, is_removed(stored))).collect(),
        lists: removal.lists.len(),
        blobs: removal.blobs.len(),
        freed_bytes: removal.blobs.iter().map(|blob| blob.bytes).sum(),
        young_blobs: removal.young,
        leases: removal.leases.len(),
        blocked: removal.blocked,
        unreadable: unreadable.iter().map(Error::to_string).collect(),
        requests: 0,
    };
    if !options.dry_run {
        let removed = removal.execute(&inventory, remote, progress)?;
        report.blobs = removed.len();
        report.freed_bytes = removed.iter().sum();
    }
    report.requests = inventory.client.requests();
    Ok(report)
}

/// Without a key whose signatures count now, every entry is untrusted: a mistake in the configuration would
/// empty the remote.
fn require_valid_key(remote: &Remote) -> Result<()> {
    let is_valid = |key: &Trusted| key.until.is_none_or(|until| until > now());
    if remote.trusted.iter().any(is_valid) {
        return Ok(());
    }
    Err(Error::NoValidKey { name: remote.name.clone() })
}

/// The egg of a valid entry, with the age of the entry.
fn egg_of(stored: &StoredEntry) -> Option<CachedEgg> {
    Some(CachedEgg { used_at: stored.object.modified_at, ..stored.valid()?.egg() })
}

/// What pins and roots of the cache protect of these eggs. A root also protects another build of an egg
/// that it uses, because its buildout would fetch that one from here.
fn protected_eggs(
    cache: &Cache,
    eggs: &[CachedEgg],
    root_grace: i64,
) -> Result<(Protected, Vec<Error>)> {
    let (roots, unreadable) = roots::all(cache.dir(), now())?;
    let of_key: HashMap<&EggKey, Digest> = eggs.iter().map(|egg| (&egg.key, egg.digest)).collect();
    let there: HashSet<Digest> = eggs.iter().map(|egg| egg.digest).collect();
    let mut kept: Vec<KnownRoot> =
        roots.into_iter().filter(|root| root.is_kept(root_grace, now())).collect();
    for used in kept.iter_mut().flat_map(|known| &mut known.root.eggs) {
        if let Some(digest) = used.digest.filter(|digest| !there.contains(digest))
            && let Some(egg) = cache.egg(digest)?
        {
            used.digest = of_key.get(&egg.key).copied();
        }
    }
    Ok((protected(&pins::all(cache.dir())?, eggs, &kept), unreadable))
}

fn refused(stored: &StoredEntry, removed: bool) -> RefusedEntry {
    RefusedEntry {
        name: stored.object.name.clone(),
        what: stored.label().to_owned(),
        reason: stored.problem.as_ref().map(ToString::to_string).unwrap_or_default(),
        removed,
    }
}

/// The objects to remove.
struct Removal<'a> {
    /// Texts of entries whose lines are removed.
    texts: HashSet<&'a str>,
    /// Lists and sets to change.
    lists: Vec<LineFile<'a>>,
    entries: Vec<&'a StoredEntry>,
    blobs: Vec<&'a ObjectInfo>,
    /// The names of the entries to remove, by the blob that they name.
    entries_of_blob: HashMap<Digest, Vec<&'a str>>,
    /// How many blobs stay because they are young.
    young: usize,
    leases: Vec<&'a ObjectInfo>,
    blocked: bool,
    time: i64,
    grace: i64,
}

/// A list or a set.
struct LineFile<'a> {
    name: &'a str,
    is_set: bool,
}

impl<'a> Removal<'a> {
    /// Removes `entries`, and the lines of `texts` that have no entry.
    fn new(
        inventory: &'a Inventory,
        entries: Vec<&'a StoredEntry>,
        texts_alone: impl Iterator<Item = &'a str>,
        time: i64,
        grace: i64,
    ) -> Self {
        let removed: HashSet<&str> = entries.iter().map(|it| it.object.name.as_str()).collect();
        let is_staying = |stored: &&StoredEntry| !removed.contains(stored.object.name.as_str());
        let staying: Vec<&StoredEntry> = inventory.entries.iter().filter(is_staying).collect();
        // A copy of an entry under a second name has the same text as the one under the right name.
        let staying_texts: HashSet<&str> =
            staying.iter().map(|it| it.signed.entry.as_str()).collect();
        let mut texts: HashSet<&str> = entries.iter().map(|it| it.signed.entry.as_str()).collect();
        texts.extend(texts_alone);
        texts.retain(|text| !text.is_empty() && !staying_texts.contains(text));
        let changes =
            |lines: &Lines| lines.iter().flatten().any(|line| texts.contains(line.entry.as_str()));
        let files = |all: &'a BTreeMap<String, Lines>, is_set: bool| {
            let affected = all.iter().filter(|(_, lines)| changes(lines));
            affected.map(move |(name, _)| LineFile { name, is_set }).collect::<Vec<_>>()
        };
        let mut lists = files(&inventory.lists, false);
        lists.extend(files(&inventory.sets, true));

        let lines = inventory.lists.values().chain(inventory.sets.values()).flatten().flatten();
        let lines = lines.filter(|line| !texts.contains(line.entry.as_str()));
        let mut named: HashSet<Digest> =
            lines.filter_map(|line| Some(line.unchecked().ok()?.blob)).collect();
        named.extend(staying.iter().filter_map(|it| Some(it.content.as_ref().ok()?.blob)));
        let unnamed = inventory.blobs.iter().filter(|(digest, _)| !named.contains(digest));
        let is_old = |blob: &&ObjectInfo| time.saturating_sub(blob.modified_at) > grace;
        let (blobs, young): (Vec<_>, Vec<_>) = unnamed.map(|(_, blob)| blob).partition(is_old);
        let blocked = inventory.entries.iter().any(StoredEntry::is_newer);
        let mut entries_of_blob: HashMap<Digest, Vec<&str>> = HashMap::new();
        for stored in &entries {
            if let Ok(entry) = &stored.content {
                entries_of_blob.entry(entry.blob).or_default().push(&stored.object.name);
            }
        }
        let is_old = |lease: &&ObjectInfo| time.saturating_sub(lease.modified_at) > OLD_LEASE;
        Self {
            texts,
            lists,
            entries,
            blobs: if blocked { Vec::new() } else { blobs },
            entries_of_blob,
            young: young.len(),
            leases: inventory.leases.iter().filter(is_old).collect(),
            blocked,
            time,
            grace,
        }
    }

    /// Removes everything in the order that the head of this module describes. Returns the lengths of the
    /// removed blobs.
    fn execute(
        mut self,
        inventory: &Inventory,
        remote: &Remote,
        progress: &dyn Progress,
    ) -> Result<Vec<u64>> {
        let client = &inventory.client;
        let count = self.lists.len() + self.entries.len() + self.blobs.len() + self.leases.len();
        progress.begin("removing", count as u64, Unit::Eggs);
        // All lists before any set, because a client that does not find an egg in a set reads its list.
        let (sets, lists): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.lists).into_iter().partition(|file| file.is_set);
        for files in [lists, sets] {
            inventory.in_parallel(files, |file| {
                progress.advance(1);
                self.remove_lines(client, &file)
            })?;
        }
        inventory.in_parallel(std::mem::take(&mut self.entries), |stored| {
            progress.advance(1);
            let name = &stored.object.name;
            if client
                .get_short(name, MAX_OBJECT)?
                .is_some_and(|it| Digest::of(&it.bytes) == stored.digest)
            {
                client.remove(name)?;
            }
            Ok(())
        })?;
        let removed = self.remove_blobs(inventory, remote, progress)?;
        inventory.in_parallel(self.leases, |lease| {
            progress.advance(1);
            client.remove(&lease.name)
        })?;
        progress.end();
        Ok(removed)
    }

    fn remove_lines(
        &self,
        client: &Client,
        LineFile { name, is_set }: &LineFile<'_>,
    ) -> Result<()> {
        publish::rewrite(client, name, |mut lines: Vec<Signed>| {
            lines.retain(|line| !self.texts.contains(line.entry.as_str()));
            lines
        })?;
        // The next push writes a set again. It adds to a list, which therefore stays without lines.
        if *is_set && client.head(name)?.is_some_and(|set| set.bytes == 0) {
            client.remove(name)?;
        }
        Ok(())
    }

    /// Removes the blobs that nothing has come to refer to since the inventory was made.
    fn remove_blobs(
        &self,
        inventory: &Inventory,
        remote: &Remote,
        progress: &dyn Progress,
    ) -> Result<Vec<u64>> {
        let client = &inventory.client;
        let since = inventory.newer_entries(remote, &Silent)?;
        let blocked = since.iter().any(StoredEntry::is_newer);
        let named: HashSet<String> = since
            .iter()
            .filter_map(|stored| stored.content.as_ref().ok())
            .map(|RemoteEntry { blob, .. }| object_names::blob(*blob))
            .collect();
        let removed = inventory.in_parallel(self.blobs.clone(), |blob| {
            progress.advance(1);
            if blocked || named.contains(&blob.name) {
                return Ok(None);
            }
            client.exclusively(|| {
                if !self.is_unwanted(client, blob)? {
                    return Ok(None);
                }
                client.remove(&blob.name)?;
                Ok(Some(blob.bytes))
            })
        })?;
        Ok(removed.into_iter().flatten().collect())
    }

    /// The check right before the removal of a blob: it is still old, and no entry that was removed
    /// exists again and names it.
    fn is_unwanted(&self, client: &Client, blob: &ObjectInfo) -> Result<bool> {
        let is_old = |found: ObjectInfo| self.time.saturating_sub(found.modified_at) > self.grace;
        if !client.head(&blob.name)?.is_some_and(is_old) {
            return Ok(false);
        }
        let Some(ObjectKind::Blob(digest)) = object_names::kind_of(&blob.name) else {
            return Ok(false);
        };
        for name in self.entries_of_blob.get(&digest).into_iter().flatten() {
            if client.head(name)?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
