//! Verify of a remote: entries, their blobs, the lists and sets that name them, and what does not belong
//! there. Reports every problem, and mends what says again what entries say.
//!
//! Lists and sets are rewritten with If-Match, so what others write meanwhile stays. Entries are never
//! changed, and of blobs only those are removed that were read and are not what their name says: a key
//! whose entry leads nowhere is mended by the next push of it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;

use serde::Serialize;

use crate::egg::key::EggKey;
use crate::error::Result;
use crate::remote::client::ObjectInfo;
use crate::remote::config::Remote;
use crate::remote::entry::BadEntry;
use crate::remote::inventory::{self, Inventory, Lines, StoredEntry};
use crate::remote::object_names;
use crate::remote::publish;
use crate::util::hash::digest::Digest;
use crate::util::progress::{Progress, Unit};

#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Read every blob too.
    pub full: bool,
    /// Rebuild lists and sets from the entries, and remove blobs that were read and are damaged.
    pub repair: bool,
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
    /// Bytes of blobs that were read.
    pub bytes: u64,
    pub problems: Vec<Problem>,
    /// Blobs that nothing names: harmless, `remote gc` removes them.
    pub orphans: Vec<Digest>,
    pub orphan_bytes: u64,
    /// Requests that were made.
    pub requests: u64,
}

impl Report {
    /// Problems that are still there.
    pub fn unsolved(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(|problem| problem.repair.is_none())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub kind: ProblemKind,
    /// The object's.
    pub name: String,
    /// The egg's, if it is the problem of one.
    pub file_name: Option<String>,
    pub what: String,
    /// What was done about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// What is no entry, or a blob whose bytes are not those of its name.
    Damaged,
    /// An entry that no trusted key has signed.
    Untrusted,
    /// An entry that is not of its name.
    Misplaced,
    /// An entry that a newer eggcache has written.
    Unreadable,
    /// An entry without its blob.
    Missing,
    /// A list that does not say what entries say.
    List,
    /// A set that does not.
    Set,
    /// What is not of this layout.
    Foreign,
}

/// Reads all of a remote. Never stops at a problem.
///
/// # Errors
/// [`crate::error::Error::Remote`] if it cannot be listed or read, or with `repair` not written.
pub fn verify(remote: &Remote, options: Options, progress: &dyn Progress) -> Result<Report> {
    let survey = Inventory::new(remote, progress)?;
    let mut report = Report {
        remote: remote.name.clone(),
        entries: survey.entries.len(),
        blobs: survey.blobs.len(),
        blob_bytes: survey.blobs.values().map(|blob| blob.bytes).sum(),
        lists: survey.lists.len(),
        sets: survey.sets.len(),
        leases: survey.leases.len(),
        bytes: 0,
        problems: survey.entries.iter().filter_map(|filed| of_entry(filed, &survey)).collect(),
        orphans: Vec::new(),
        orphan_bytes: 0,
        requests: 0,
    };
    let lines = inventory::named_blobs(survey.lists.values().chain(survey.sets.values()));
    let claims = survey.entries.iter().filter_map(|filed| filed.content.as_ref().ok());
    let named: HashSet<Digest> = claims.map(|entry| entry.blob).chain(lines).collect();
    for (digest, blob) in survey.blobs.iter().filter(|(digest, _)| !named.contains(digest)) {
        report.orphans.push(*digest);
        report.orphan_bytes += blob.bytes;
    }
    if options.full {
        report.problems.extend(read_blobs(&survey, options.repair, progress)?);
        report.bytes = report.blob_bytes;
    }
    report.problems.extend(of_lists(&survey, options.repair)?);
    report.problems.extend(survey.foreign.iter().map(|it| Problem {
        kind: ProblemKind::Foreign,
        name: it.name.clone(),
        file_name: None,
        what: "it does not belong there".into(),
        repair: None,
    }));
    report.problems.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    report.requests = survey.client.requests();
    Ok(report)
}

/// What is wrong with an entry or its blob.
fn of_entry(filed: &StoredEntry, survey: &Inventory) -> Option<Problem> {
    let (kind, what) = match (&filed.problem, &filed.content) {
        (Some(bad @ BadEntry::Malformed(_)), Err(_)) => (ProblemKind::Damaged, bad.to_string()),
        (Some(bad @ BadEntry::NewerFormat(_)), _) => (ProblemKind::Unreadable, bad.to_string()),
        (Some(bad @ BadEntry::OtherEgg(_)), _) => (ProblemKind::Misplaced, bad.to_string()),
        (Some(bad), _) => (ProblemKind::Untrusted, bad.to_string()),
        (None, Err(_)) => return None,
        (None, Ok(entry)) => match survey.blobs.get(&entry.blob) {
            None => (ProblemKind::Missing, format!("its blob {} is missing", entry.blob.short())),
            Some(blob) if blob.bytes != entry.blob_bytes => {
                let what = format!(
                    "its blob {} has {} bytes in place of {}",
                    entry.blob.short(),
                    blob.bytes,
                    entry.blob_bytes
                );
                (ProblemKind::Damaged, what)
            }
            Some(_) => return None,
        },
    };
    Some(Problem {
        kind,
        name: filed.object.name.clone(),
        file_name: filed.content.as_ref().ok().map(|entry| entry.file_name.clone()),
        what,
        repair: None,
    })
}

/// Reads every blob, each with a bounded amount of memory.
fn read_blobs(survey: &Inventory, repair: bool, progress: &dyn Progress) -> Result<Vec<Problem>> {
    let entries = survey.entries.iter().filter_map(StoredEntry::valid);
    let names: HashMap<Digest, &str> =
        entries.map(|entry| (entry.blob, entry.file_name.as_str())).collect();
    let total = survey.blobs.values().map(|blob| blob.bytes).sum();
    progress.begin("verifying", total, Unit::Bytes);
    let read = |(digest, blob): (&Digest, &ObjectInfo)| {
        let found = survey.client.download(&blob.name, blob.bytes, io::sink(), progress);
        let (what, is_sure) = match found {
            // A failure is the remote's; anything else is of this blob.
            Err(error) if survey.client.down().is_some() => return Err(error),
            Err(error) => (error.to_string(), false),
            // Gone since it was listed.
            Ok(None) => return Ok(None),
            Ok(Some(found)) if found == *digest => return Ok(None),
            Ok(Some(_)) => ("its bytes are not those of its name".into(), true),
        };
        let is_removed = repair && is_sure;
        if is_removed {
            survey.client.remove(&blob.name)?;
        }
        Ok(Some(Problem {
            kind: ProblemKind::Damaged,
            name: blob.name.clone(),
            file_name: names.get(digest).map(|&name| name.to_owned()),
            what,
            repair: is_removed.then(|| "removed: the next push of it brings it again".into()),
        }))
    };
    let found = survey.in_parallel(survey.blobs.iter().collect(), read)?;
    progress.end();
    Ok(found.into_iter().flatten().collect())
}

/// What is wrong with lists and sets, and done about it if `repair` says so.
fn of_lists(survey: &Inventory, repair: bool) -> Result<Vec<Problem>> {
    let by_key = survey.by_key();
    let mut wanted: BTreeMap<String, Vec<&StoredEntry>> = BTreeMap::new();
    for filed in &survey.entries {
        if let Some(entry) = filed.valid() {
            let list = object_names::project(&entry.key.name, &entry.key.python);
            wanted.entry(list).or_default().push(filed);
        }
    }
    let lists = survey.lists.iter().map(|(name, lines)| (ProblemKind::List, name, lines));
    let sets = survey.sets.iter().map(|(name, lines)| (ProblemKind::Set, name, lines));
    let look = |(kind, name, lines): (ProblemKind, &String, &Lines)| {
        let list = wanted.get(name).filter(|_| kind == ProblemKind::List);
        let (mut problems, dropped) = of_lines(survey, kind, name, lines, &by_key)?;
        let listed: HashSet<EggKey> =
            lines.iter().flatten().filter_map(|line| Some(line.unchecked().ok()?.key)).collect();
        let is_missing =
            |filed: &&StoredEntry| filed.valid().is_some_and(|it| !listed.contains(&it.key));
        let missing: Vec<&StoredEntry> =
            list.into_iter().flatten().copied().filter(is_missing).collect();
        problems.extend(missing.iter().map(|filed| Problem {
            kind,
            name: name.clone(),
            file_name: Some(filed.label().to_owned()),
            what: "it is not in the list of its project, so nobody finds it".into(),
            repair: None,
        }));
        if repair && !problems.is_empty() {
            let client = &survey.client;
            publish::rewrite(client, name, |lines| {
                inventory::corrected(lines, &by_key, &dropped, &missing)
            })?;
            for problem in &mut problems {
                problem.repair = Some("rewritten from the entries".into());
            }
        }
        Ok(problems)
    };
    let found = survey.in_parallel(lists.chain(sets).collect(), look)?;
    Ok(found.into_iter().flatten().collect())
}

/// What is wrong with the lines of a list or a set, and which of them are to go.
fn of_lines(
    survey: &Inventory,
    kind: ProblemKind,
    name: &str,
    lines: &Lines,
    by_key: &HashMap<&EggKey, &StoredEntry>,
) -> Result<(Vec<Problem>, HashSet<String>)> {
    let (mut problems, mut dropped, mut keys) = (Vec::new(), HashSet::new(), HashSet::new());
    for (number, line) in (1..).zip(lines) {
        let mut problem = |file_name: Option<&str>, what: &str| {
            let file_name = file_name.map(str::to_owned);
            let what = format!("line {number} {what}");
            problems.push(Problem { kind, name: name.into(), file_name, what, repair: None });
        };
        let line = match line {
            Ok(line) => line,
            Err(bad) => {
                problem(None, &format!("is none: {bad}"));
                continue;
            }
        };
        let entry = match line.unchecked() {
            Ok(entry) => entry,
            // A newer eggcache's.
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
            problem(egg, "is of another list");
            dropped.insert(line.entry.clone());
            continue;
        }
        match by_key.get(&entry.key) {
            None if survey.is_gone(&entry.key)? => {
                problem(egg, "names an entry that is not there");
                dropped.insert(line.entry.clone());
            }
            Some(filed) if filed.signed.entry != line.entry => {
                problem(egg, "is not what its entry says");
            }
            Some(filed) if filed.signed != *line => {
                problem(egg, "has other signatures than its entry");
            }
            Some(_) if !keys.insert(entry.key.clone()) => problem(egg, "is there twice"),
            // Or the entry has come meanwhile, or cannot be read, which is told.
            _ => {}
        }
    }
    Ok((problems, dropped))
}
