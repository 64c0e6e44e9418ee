//! Verify a remote: check its entries, their blobs, the lists and sets that name them, and look for
//! foreign objects. This reports every problem, and repairs what the entries determine.
//!
//! Lists and sets are rewritten with If-Match, so concurrent changes stay. Entries are never changed. Only
//! blobs that were read and do not match their name are removed. The next push of a key repairs an entry
//! without a blob.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::Path;

use serde::Serialize;

use super::rederive;
use crate::egg::key::EggKey;
use crate::error::Result;
use crate::remote::client::ObjectInfo;
use crate::remote::config::Remote;
use crate::remote::entry::BadEntry;
use crate::remote::inventory::{self, Inventory, Lines, StoredEntry};
use crate::remote::object_names;
use crate::remote::publish;
use crate::remote::withdrawals;
use crate::util::environment::Environment;
use crate::util::hash::digest::Digest;
use crate::util::progress::{Progress, Unit};

#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Read every blob, too.
    pub full: bool,
    /// Correct lists and sets by the entries, and remove damaged blobs that were read.
    pub repair: bool,
    /// Make converted eggs again, and compare them.
    pub rederive: Option<rederive::Options>,
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub remote: String,
    pub entries: usize,
    pub blobs: usize,
    pub blob_bytes: u64,
    pub lists: usize,
    pub sets: usize,
    pub leases: usize,
    /// Builds that are withdrawn.
    pub withdrawn: usize,
    /// Bytes of the blobs that were read.
    pub bytes: u64,
    pub problems: Vec<Problem>,
    /// Blobs that nothing refers to. They are harmless, and `remote gc` removes them.
    pub orphans: Vec<Digest>,
    pub orphan_bytes: u64,
    /// Requests that were made.
    pub requests: u64,
    /// On request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rederived: Option<rederive::Report>,
}

impl Report {
    /// Problems that were not repaired.
    pub fn unsolved(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(|problem| problem.repair.is_none())
    }

    /// Whether there is no unsolved problem, and no egg that was made again is another one.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let is_same = self.rederived.as_ref().is_none_or(rederive::Report::is_clean);
        is_same && self.unsolved().next().is_none()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub kind: ProblemKind,
    /// The name of the object.
    pub name: String,
    /// The file name of the egg, if the problem is about one.
    pub file_name: Option<String>,
    pub what: String,
    /// The key that has signed an entry, and is not trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How it was repaired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// An object that is not an entry, or a blob that does not match its name.
    Damaged,
    /// An entry without a trusted signature.
    Untrusted,
    /// An entry that does not match its name.
    Misplaced,
    /// An entry of a newer eggcache.
    Unreadable,
    /// An entry without its blob.
    Missing,
    /// A list that differs from the entries.
    List,
    /// A set that differs from the entries.
    Set,
    /// A list of withdrawn eggs that is stale.
    Withdrawals,
    /// An object that is not part of the layout.
    Foreign,
}

/// Verifies a remote of the cache at `root`. A problem never ends this early; a remote that fails does.
pub fn verify(
    root: &Path,
    remote: &Remote,
    options: &Options,
    environment: &Environment,
    progress: &dyn Progress,
) -> Result<Report> {
    if options.repair {
        remote.check_own()?;
    }
    let inventory = Inventory::new(remote, environment, progress)?;
    let mut report = Report {
        remote: remote.name.clone(),
        entries: inventory.entries.len(),
        blobs: inventory.blobs.len(),
        blob_bytes: inventory.blobs.values().map(|blob| blob.bytes).sum(),
        lists: inventory.lists.len(),
        sets: inventory.sets.len(),
        leases: inventory.leases.len(),
        withdrawn: 0,
        bytes: 0,
        problems: Vec::new(),
        orphans: Vec::new(),
        orphan_bytes: 0,
        requests: 0,
        rederived: None,
    };
    let entries = inventory.entries.iter();
    report.problems.extend(entries.filter_map(|stored| check_entry(stored, &inventory)));
    let mut named = inventory::named_blobs(inventory.lists.values().chain(inventory.sets.values()));
    let contents = inventory.entries.iter().filter_map(|stored| stored.content.as_ref().ok());
    named.extend(contents.map(|entry| entry.blob));
    for (digest, blob) in inventory.blobs.iter().filter(|(digest, _)| !named.contains(digest)) {
        report.orphans.push(*digest);
        report.orphan_bytes += blob.bytes;
    }
    if options.full {
        report.problems.extend(read_blobs(&inventory, options.repair, progress)?);
        report.bytes = report.blob_bytes;
    }
    let looked = withdrawals::run::look(&inventory.client, root, remote)?;
    report.withdrawn = looked.withdrawn.len();
    let withdrawn = looked.withdrawn.iter().map(|it| it.egg).collect();
    report.problems.extend(check_lists(&inventory, &withdrawn, options.repair)?);
    report.problems.extend(looked.problem.map(|what| Problem {
        kind: ProblemKind::Withdrawals,
        name: object_names::WITHDRAWALS.into(),
        file_name: None,
        what,
        key: None,
        repair: None,
    }));
    report.problems.extend(inventory.foreign.iter().map(|it| Problem {
        kind: ProblemKind::Foreign,
        name: it.name.clone(),
        file_name: None,
        what: "it is not part of a remote".into(),
        key: None,
        repair: None,
    }));
    report.problems.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    if let Some(options) = &options.rederive {
        report.rederived = Some(rederive::rederive(&inventory, options, progress)?);
    }
    report.requests = inventory.client.requests();
    Ok(report)
}

/// Checks an entry and the length of its blob.
fn check_entry(stored: &StoredEntry, inventory: &Inventory) -> Option<Problem> {
    let (kind, what) = match (&stored.problem, &stored.content) {
        (Some(bad @ BadEntry::Malformed(_)), Err(_)) => (ProblemKind::Damaged, bad.to_string()),
        (Some(bad @ BadEntry::NewerFormat(_)), _) => (ProblemKind::Unreadable, bad.to_string()),
        (Some(bad @ BadEntry::OtherEgg(_)), _) => (ProblemKind::Misplaced, bad.to_string()),
        (Some(bad), _) => (ProblemKind::Untrusted, bad.to_string()),
        (None, Err(_)) => return None,
        (None, Ok(entry)) => match inventory.blobs.get(&entry.blob) {
            None => (ProblemKind::Missing, format!("its blob {} is missing", entry.blob.short())),
            Some(blob) if blob.bytes != entry.blob_bytes => {
                let what = format!(
                    "its blob {} has {} bytes instead of {}",
                    entry.blob.short(),
                    blob.bytes,
                    entry.blob_bytes
                );
                (ProblemKind::Damaged, what)
            }
            Some(_) => return None,
        },
    };
    let key = match &stored.problem {
        Some(BadEntry::UnknownKey(id)) => Some(id.clone()),
        _ => None,
    };
    Some(Problem {
        kind,
        name: stored.object.name.clone(),
        file_name: stored.content.as_ref().ok().map(|entry| entry.file_name.clone()),
        what,
        key,
        repair: None,
    })
}

/// Reads every blob, with a bounded amount of memory for each.
fn read_blobs(
    inventory: &Inventory,
    repair: bool,
    progress: &dyn Progress,
) -> Result<Vec<Problem>> {
    let entries = inventory.entries.iter().filter_map(StoredEntry::valid);
    let names: HashMap<Digest, &str> =
        entries.map(|entry| (entry.blob, entry.file_name.as_str())).collect();
    let total = inventory.blobs.values().map(|blob| blob.bytes).sum();
    progress.begin("verifying", total, Unit::Bytes);
    let client = &inventory.client;
    let read = |(digest, blob): (&Digest, &ObjectInfo)| {
        let found = client.download(&blob.name, blob.bytes, io::sink(), progress);
        let (what, is_certain) = match found {
            // The remote has failed. Every other error is about this blob.
            Err(error) if client.down().is_some() => return Err(error),
            Err(error) => (error.to_string(), false),
            // It was removed since it was listed.
            Ok(None) => return Ok(None),
            Ok(Some(found)) if found == *digest => return Ok(None),
            Ok(Some(_)) => ("its bytes do not match its name".into(), true),
        };
        let is_removed = repair && is_certain;
        if is_removed {
            client.remove(&blob.name)?;
        }
        Ok(Some(Problem {
            kind: ProblemKind::Damaged,
            name: blob.name.clone(),
            file_name: names.get(digest).map(|&name| name.to_owned()),
            what,
            key: None,
            repair: is_removed.then(|| "removed; the next push of the egg uploads it again".into()),
        }))
    };
    let found = inventory.in_parallel(inventory.blobs.iter().collect(), read)?;
    progress.end();
    Ok(found.into_iter().flatten().collect())
}

/// Checks lists and sets, and with `repair` corrects those that have problems.
fn check_lists(
    inventory: &Inventory,
    withdrawn: &HashSet<Digest>,
    repair: bool,
) -> Result<Vec<Problem>> {
    let by_key = inventory.by_key();
    let mut expected: BTreeMap<String, Vec<&StoredEntry>> = BTreeMap::new();
    for stored in &inventory.entries {
        if let Some(entry) = stored.valid() {
            let list = object_names::project(&entry.key.name, &entry.key.python);
            expected.entry(list).or_default().push(stored);
        }
    }
    let lists = inventory.lists.iter().map(|(name, lines)| (ProblemKind::List, name, lines));
    let sets = inventory.sets.iter().map(|(name, lines)| (ProblemKind::Set, name, lines));
    let check = |(kind, name, lines): (ProblemKind, &String, &Lines)| {
        let (mut problems, dropped) =
            check_lines(inventory, kind, name, lines, &by_key, withdrawn)?;
        let expected = expected.get(name).filter(|_| kind == ProblemKind::List);
        let missing = missing(lines, expected.map_or(&[], Vec::as_slice));
        problems.extend(missing.iter().map(|stored| Problem {
            kind,
            name: name.clone(),
            file_name: Some(stored.label().to_owned()),
            what: "it is not in the list of its project, so no client finds it".into(),
            key: None,
            repair: None,
        }));
        if repair && !problems.is_empty() {
            publish::rewrite(&inventory.client, name, |lines| {
                inventory::corrected(lines, &by_key, &dropped, &missing)
            })?;
            for problem in &mut problems {
                problem.repair = Some("rewritten from the entries".into());
            }
        }
        Ok(problems)
    };
    let found = inventory.in_parallel(lists.chain(sets).collect(), check)?;
    Ok(found.into_iter().flatten().collect())
}

/// The entries that a list lacks.
fn missing<'a>(lines: &Lines, expected: &[&'a StoredEntry]) -> Vec<&'a StoredEntry> {
    let listed: HashSet<EggKey> =
        lines.iter().flatten().filter_map(|line| Some(line.unchecked().ok()?.key)).collect();
    let is_missing =
        |stored: &&&StoredEntry| stored.valid().is_some_and(|it| !listed.contains(&it.key));
    expected.iter().filter(is_missing).copied().collect()
}

/// Checks the lines of a list or a set. Returns the problems, and the entries of lines to drop.
fn check_lines(
    inventory: &Inventory,
    kind: ProblemKind,
    name: &str,
    lines: &Lines,
    by_key: &HashMap<&EggKey, &StoredEntry>,
    withdrawn: &HashSet<Digest>,
) -> Result<(Vec<Problem>, HashSet<String>)> {
    let (mut problems, mut dropped, mut keys) = (Vec::new(), HashSet::new(), HashSet::new());
    for (number, line) in (1..).zip(lines) {
        let mut problem = |file_name: Option<&str>, what: &str| {
            let file_name = file_name.map(str::to_owned);
            let what = format!("line {number} {what}");
            let name = name.into();
            problems.push(Problem { kind, name, file_name, what, key: None, repair: None });
        };
        let line = match line {
            Ok(line) => line,
            Err(bad) => {
                problem(None, &format!("cannot be parsed: {bad}"));
                continue;
            }
        };
        let entry = match line.unchecked() {
            Ok(entry) => entry,
            // A newer eggcache has written it.
            Err(BadEntry::NewerFormat(_)) => continue,
            Err(bad) => {
                problem(None, &format!("is not used: {bad}"));
                dropped.insert(line.entry.clone());
                continue;
            }
        };
        let egg = Some(entry.file_name.as_str());
        let list = object_names::project(&entry.key.name, &entry.key.python);
        if kind == ProblemKind::List && list != name {
            problem(egg, "belongs in another list");
            dropped.insert(line.entry.clone());
            continue;
        }
        match by_key.get(&entry.key) {
            None if inventory.is_gone(&entry.key)? => {
                problem(egg, "names an entry that does not exist");
                dropped.insert(line.entry.clone());
            }
            // A set is not written again as long as the remote lacks one of its eggs, such as another build
            // that was withdrawn. Nobody uses the lines of withdrawn builds.
            Some(stored)
                if stored.signed.entry != line.entry
                    && kind == ProblemKind::Set
                    && withdrawn.contains(&entry.egg) => {}
            Some(stored) if stored.signed.entry != line.entry => {
                problem(egg, "differs from its entry");
            }
            Some(stored) if stored.signed != *line => {
                problem(egg, "has other signatures than its entry");
            }
            Some(_) if !keys.insert(entry.key.clone()) => problem(egg, "repeats a key"),
            // Otherwise the line is right, or its entry was pushed meanwhile, or the entry cannot be read,
            // which is a problem of its own.
            _ => {}
        }
    }
    Ok((problems, dropped))
}
