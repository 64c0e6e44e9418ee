//! Garbage collection of a remote: which of its eggs go, and their going.
//!
//! The plan is that of the cache's own `gc` ([`crate::cache::retention::plan`]), with the time at which an entry was
//! written there in place of the last use, which nobody knows. What pins of this cache match and what
//! its roots use stays.
//!
//! # Order of removals
//! Each line out of its list, out of the sets, then the entry, then the blob. So whoever finds a name
//! finds what it names, wherever this is cut off; what is left then the next run removes. Lists and sets
//! are changed with If-Match. A client that has read a list before misses the blob, and builds.
//!
//! # Beside a push
//! A push brings the blob, then the entry, then the line. A blob that nothing names may be one whose
//! entry is yet to come, so it goes only when it is older than a grace. All times are the store's. A
//! blob that is older goes only if still nothing names it:
//!
//! - Before any blob goes, the entries are listed again: what was pushed since is whole.
//! - A blob that was brought anew since is young when it is looked at just before it would go.
//! - A push that finds a blob there, and so does not bring it, looks again once its entry is written
//!   (`publish`). Between that last look of this and the removal is no time for a push to write
//!   an entry and look, unless this process stands still there; then the next push of the key mends it.
//! - A push that has found the entry before it goes adds the line to the list again after that. The
//!   line names nothing, and whoever looks for the egg misses it, builds it and pushes it, with which
//!   the line is replaced. `remote verify --repair` removes such lines.
//!
//! An entry is removed only as it was when the plan was made. What a line of a list or a set names is
//! kept as well, and so is every blob if there is an entry of a newer eggcache, as nobody knows what
//! that names.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use crate::cache::Cache;
use crate::cache::retention::pins;
use crate::cache::retention::plan::{Evicted, Kept, Plan, Protected, Rules, plan};
use crate::cache::retention::protected::protected;
use crate::cache::retention::roots::{self, GRACE as ROOT_GRACE, KnownRoot};
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::EggKey;
use crate::error::{Error, Result};
use crate::remote::client::{Client, ObjectInfo, Patience};
use crate::remote::config::Remote;
use crate::remote::entry::{RemoteEntry, Signed};
use crate::remote::inventory::{self, Inventory, Lines, StoredEntry};
use crate::remote::object_names;
use crate::remote::publish;
use crate::util::clock::now;
use crate::util::hash::digest::Digest;
use crate::util::progress::{Progress, Unit};

/// How old a blob is at least that goes, in seconds, if nobody says otherwise.
pub const GRACE: i64 = 86_400;
/// How old a lease is that goes, in seconds.
const OLD_LEASE: i64 = 86_400;

#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Ages are those of entries. Nobody knows the last use, so there is no limit of size.
    pub rules: Rules,
    /// How old a blob is at least that goes, in seconds; [`GRACE`] if absent.
    pub grace: Option<i64>,
    /// For how long a root is kept whose folder is gone, in seconds.
    pub root_grace: Option<i64>,
    /// Remove also entries that no trusted key has signed.
    pub untrusted: bool,
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
    /// Entries that do not count.
    pub refused: Vec<Refused>,
    /// Lists and sets out of which lines were taken.
    pub lists: usize,
    /// Blobs that go, of eggs that go or of none.
    pub blobs: usize,
    pub freed_bytes: u64,
    /// Blobs that nothing names, and that are too young to go.
    pub young_blobs: usize,
    pub leases: usize,
    /// Whether no blob goes, as an entry is a newer eggcache's.
    pub blocked: bool,
    /// What is wrong with the records of roots that cannot be read.
    pub unreadable: Vec<String>,
    /// Requests that were made.
    pub requests: u64,
}

/// An entry that does not count.
#[derive(Debug, Serialize)]
pub struct Refused {
    pub name: String,
    /// The egg's file name, or else the object's.
    pub what: String,
    pub reason: String,
    pub removed: bool,
}

/// Collects garbage on a remote, or tells what it would collect.
///
/// # Errors
/// [`Error::Remote`] if it cannot be listed, read or written, or if the cache's pins or roots cannot
/// be read.
pub fn gc(
    cache: &Cache,
    remote: &Remote,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Report> {
    inventory::require_listing(remote)?;
    let time = if options.dry_run {
        now()
    } else {
        Client::new(remote, Patience::COMMAND)?.clock(object_names::CLOCK)?
    };
    let survey = Inventory::new(remote, progress)?;
    let counting: HashMap<Digest, &StoredEntry> =
        survey.entries.iter().filter_map(|it| Some((it.valid()?.egg, it))).collect();
    let eggs: Vec<CachedEgg> = counting.values().filter_map(|filed| egg_of(filed)).collect();
    let (held, unreadable) = holding(cache, &eggs, options.root_grace.unwrap_or(ROOT_GRACE))?;
    let rules = Rules { max_size: None, ..options.rules };
    let Plan { mut evicted, kept: kept_eggs } = plan(eggs, &rules, &held, time);
    evicted.sort_by(|a, b| a.egg.file_name.cmp(&b.egg.file_name));
    let is_going = |filed: &&StoredEntry| options.untrusted && !filed.is_newer();
    let refused: Vec<&StoredEntry> =
        survey.entries.iter().filter(|it| it.problem.is_some()).collect();
    let mut going: Vec<&StoredEntry> = evicted.iter().map(|it| counting[&it.egg.digest]).collect();
    going.extend(refused.iter().copied().filter(is_going));
    let plan = Removal::new(&survey, going, time, options.grace.unwrap_or(GRACE));
    let mut report = Report {
        remote: remote.name.clone(),
        dry_run: options.dry_run,
        rules,
        kept: kept_eggs.len(),
        kept_bytes: kept_eggs.iter().map(|it| it.egg.blob_bytes).sum(),
        evicted,
        kept_eggs,
        refused: refused.iter().map(|filed| told(filed, is_going(filed))).collect(),
        lists: plan.lists.len(),
        blobs: plan.blobs.len(),
        freed_bytes: plan.blobs.iter().map(|blob| blob.bytes).sum(),
        young_blobs: plan.young,
        leases: plan.leases.len(),
        blocked: plan.blocked,
        unreadable: unreadable.iter().map(Error::to_string).collect(),
        requests: 0,
    };
    if !options.dry_run {
        let removed = plan.execute(&survey, remote, progress)?;
        report.blobs = removed.len();
        report.freed_bytes = removed.iter().sum();
    }
    report.requests = survey.client.requests();
    Ok(report)
}

/// The egg of an entry that counts, with the age of the entry.
fn egg_of(filed: &StoredEntry) -> Option<CachedEgg> {
    Some(CachedEgg { used_at: filed.object.modified_at, ..filed.valid()?.egg() })
}

/// What pins and roots of the cache hold of these eggs. A root holds also another build of the egg that
/// it uses: it is that one that its buildout would get from here.
fn holding(cache: &Cache, eggs: &[CachedEgg], root_grace: i64) -> Result<(Protected, Vec<Error>)> {
    let (roots, unreadable) = roots::all(cache.root(), now())?;
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
    Ok((protected(&pins::all(cache.root())?, eggs, &kept), unreadable))
}

fn told(filed: &StoredEntry, removed: bool) -> Refused {
    Refused {
        name: filed.object.name.clone(),
        what: filed.label().to_owned(),
        reason: filed.problem.as_ref().map(ToString::to_string).unwrap_or_default(),
        removed,
    }
}

/// What is to be removed.
struct Removal<'a> {
    /// Texts of entries whose lines go.
    texts: HashSet<&'a str>,
    lists: Vec<(&'a String, bool)>,
    entries: Vec<&'a StoredEntry>,
    blobs: Vec<&'a ObjectInfo>,
    young: usize,
    leases: Vec<&'a ObjectInfo>,
    blocked: bool,
    time: i64,
    grace: i64,
}

impl<'a> Removal<'a> {
    fn new(survey: &'a Inventory, entries: Vec<&'a StoredEntry>, time: i64, grace: i64) -> Self {
        let going: HashSet<&str> = entries.iter().map(|it| it.object.name.as_str()).collect();
        let stays = |filed: &&StoredEntry| !going.contains(filed.object.name.as_str());
        let staying: Vec<&StoredEntry> = survey.entries.iter().filter(stays).collect();
        // An entry that is filed at a second name says there what it says at the first.
        let said: HashSet<&str> = staying.iter().map(|it| it.signed.entry.as_str()).collect();
        let mut texts: HashSet<&str> = entries.iter().map(|it| it.signed.entry.as_str()).collect();
        texts.retain(|text| !text.is_empty() && !said.contains(text));
        let changes =
            |lines: &Lines| lines.iter().flatten().any(|line| texts.contains(line.entry.as_str()));
        let all = survey.lists.iter().map(|it| (it, false));
        let all = all.chain(survey.sets.iter().map(|it| (it, true)));
        let lists: Vec<_> = all
            .filter(|((_, lines), _)| changes(lines))
            .map(|((name, _), is_set)| (name, is_set))
            .collect();
        let lines = survey.lists.values().chain(survey.sets.values()).flatten().flatten();
        let lines = lines.filter(|line| !texts.contains(line.entry.as_str()));
        let mut named: HashSet<Digest> =
            lines.filter_map(|line| Some(line.unchecked().ok()?.blob)).collect();
        named.extend(staying.iter().filter_map(|it| Some(it.content.as_ref().ok()?.blob)));
        let blocked = survey.entries.iter().any(StoredEntry::is_newer);
        let unnamed = survey.blobs.iter().filter(|(digest, _)| !named.contains(digest));
        let is_old = |blob: &&ObjectInfo| time.saturating_sub(blob.modified_at) > grace;
        let (blobs, young): (Vec<_>, Vec<_>) = unnamed.map(|(_, blob)| blob).partition(is_old);
        let is_old = |lease: &&ObjectInfo| time.saturating_sub(lease.modified_at) > OLD_LEASE;
        Self {
            texts,
            lists,
            entries,
            blobs: if blocked { Vec::new() } else { blobs },
            young: young.len(),
            leases: survey.leases.iter().filter(is_old).collect(),
            blocked,
            time,
            grace,
        }
    }

    /// Removes it all, in the order that the head of this module tells, and answers the lengths of the
    /// blobs that are gone.
    fn execute(
        self,
        survey: &Inventory,
        remote: &Remote,
        progress: &dyn Progress,
    ) -> Result<Vec<u64>> {
        let client = &survey.client;
        let count = self.lists.len() + self.entries.len() + self.blobs.len() + self.leases.len();
        progress.begin("removing", count as u64, Unit::Eggs);
        // All lists before any set, as whoever does not find an egg in a set looks for it in its list.
        let (sets, lists): (Vec<_>, Vec<_>) = self.lists.into_iter().partition(|(_, it)| *it);
        for lists in [lists, sets] {
            survey.in_parallel(lists, |(name, is_set)| {
                publish::rewrite(client, name, |mut lines: Vec<Signed>| {
                    lines.retain(|line| !self.texts.contains(line.entry.as_str()));
                    lines
                })?;
                // A set that is lost is told again; a list is not, and stays with no line.
                if is_set && client.head(name)?.is_some_and(|set| set.bytes == 0) {
                    client.remove(name)?;
                }
                progress.advance(1);
                Ok(())
            })?;
        }
        survey.in_parallel(self.entries, |filed| {
            let name = &filed.object.name;
            if client.get(name)?.is_some_and(|it| Digest::of(&it.bytes) == filed.digest) {
                client.remove(name)?;
            }
            progress.advance(1);
            Ok(())
        })?;
        let since = survey.newer_entries(remote, &crate::util::progress::Silent)?;
        let blocked = since.iter().any(StoredEntry::is_newer);
        let named: HashSet<String> = since
            .iter()
            .filter_map(|filed| filed.content.as_ref().ok())
            .map(|RemoteEntry { blob, .. }| object_names::blob(*blob))
            .collect();
        let is_old = |found: &ObjectInfo| self.time.saturating_sub(found.modified_at) > self.grace;
        let removed = survey.in_parallel(self.blobs, |blob| {
            progress.advance(1);
            if blocked
                || named.contains(&blob.name)
                || !client.head(&blob.name)?.is_some_and(|found| is_old(&found))
            {
                return Ok(None);
            }
            client.remove(&blob.name)?;
            Ok(Some(blob.bytes))
        })?;
        survey.in_parallel(self.leases, |lease| {
            progress.advance(1);
            client.remove(&lease.name)
        })?;
        progress.end();
        Ok(removed.into_iter().flatten().collect())
    }
}
