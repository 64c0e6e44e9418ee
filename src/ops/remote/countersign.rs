//! Sign: add the signature of a key to the entries of a remote, so that an old key can be retired, or so
//! that an entry gets all the signatures that it needs.
//!
//! Only entries that are valid get a signature, and their text stays, so nothing becomes trusted that was
//! not. An entry that still lacks signatures is approved explicitly. A name approves the build that the cache
//! of the reviewer has, if it has one; another build of the same key is approved by its digest alone.
//!
//! Entries are changed first, with If-Match, and then the lines of lists and sets are made equal to them. If
//! this is cut off, run it again.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::cache::retention::pins::Pattern;
use crate::cache::{Cache, query};
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::EggKey;
use crate::error::{Error, Result};
use crate::remote::client::Version;
use crate::remote::config::Remote;
use crate::remote::contended_write::until_written;
use crate::remote::entry::{self, MAX_OBJECT, MAX_SIGNATURES, RemoteEntry, Signed};
use crate::remote::inventory::{Inventory, Lines, StoredEntry};
use crate::remote::keys::{Signer, Trusted};
use crate::remote::object_names;
use crate::remote::publish;
use crate::remote::signature::{self, Trust};
use crate::remote::withdrawals;
use crate::util::clock::now;
use crate::util::environment::Environment;
use crate::util::hash::digest::Digest;
use crate::util::progress::{Progress, Unit};

#[derive(Debug, Serialize)]
pub struct Report {
    pub remote: String,
    /// The id of the key.
    pub key: String,
    /// Entries that this run has signed.
    pub signed: usize,
    /// Those of them that lacked signatures.
    pub approved: Vec<ApprovedBuild>,
    /// Entries that the key had signed before.
    pub present: usize,
    /// Entries that are not valid, and not approved.
    #[serde(rename = "left")]
    pub skipped: Vec<SkippedEntry>,
    /// Lists and sets that were written.
    pub lists: usize,
    /// Whether this run has signed the list of withdrawn eggs.
    pub withdrawals: bool,
    /// Requests that were made.
    pub requests: u64,
}

/// An egg that was approved.
#[derive(Debug, Serialize)]
pub struct ApprovedBuild {
    pub file_name: String,
    pub digest: Digest,
}

/// An entry that gets no new signature.
#[derive(Debug, Serialize)]
pub struct SkippedEntry {
    /// The name of the object.
    pub name: String,
    /// The egg's file name, or else the name of the object.
    pub what: String,
    pub reason: String,
}

/// The outcome for one entry.
enum Outcome<'a> {
    Signed(&'a EggKey, Signed),
    Approved(&'a RemoteEntry, Signed),
    Present(&'a EggKey, Signed),
    Skipped(SkippedEntry),
    Gone,
}

/// Adds the signature of a key to every valid entry, and to the entries in `approved` that a trusted key
/// has signed and that still lack signatures. The cache knows which lists of withdrawn eggs are old.
///
/// # Errors
/// [`Error::Remote`], also if the remote does not trust the key itself.
pub fn countersign(
    cache: &Cache,
    remote: &Remote,
    signer: &Signer,
    approved: &[Pattern],
    environment: &Environment,
    progress: &dyn Progress,
) -> Result<Report> {
    publish::check(remote, signer)?;
    let inventory = Inventory::new(remote, environment, progress)?;
    let approval = Approval::new(cache, approved, &inventory)?;
    progress.begin("signing", inventory.entries.len() as u64, Unit::Eggs);
    let outcomes = inventory.in_parallel(inventory.entries.iter().collect(), |stored| {
        progress.advance(1);
        sign_one(&inventory, stored, remote, signer, &approval)
    })?;
    progress.end();
    let mut report = Report {
        remote: remote.name.clone(),
        key: signer.id(),
        signed: 0,
        approved: Vec::new(),
        present: 0,
        skipped: Vec::new(),
        lists: 0,
        withdrawals: false,
        requests: 0,
    };
    let mut by_key: HashMap<&EggKey, Signed> = HashMap::new();
    for outcome in outcomes {
        match outcome {
            Outcome::Signed(key, line) => {
                report.signed += 1;
                by_key.insert(key, line);
            }
            Outcome::Approved(entry, line) => {
                report.signed += 1;
                let (file_name, digest) = (entry.file_name.clone(), entry.egg);
                report.approved.push(ApprovedBuild { file_name, digest });
                by_key.insert(&entry.key, line);
            }
            Outcome::Present(key, line) => {
                report.present += 1;
                by_key.insert(key, line);
            }
            Outcome::Skipped(skipped) => report.skipped.push(skipped),
            Outcome::Gone => {}
        }
    }
    report.lists = update_lines(&inventory, &by_key)?;
    match withdrawals::write::countersign(&inventory.client, remote, cache.root(), signer) {
        Ok(is_signed) => report.withdrawals = is_signed,
        Err(error @ (Error::Withdrawals { .. } | Error::OtherProject { .. })) => {
            let name = object_names::WITHDRAWALS.to_owned();
            let (what, reason) = ("the list of withdrawn eggs".into(), error.to_string());
            report.skipped.push(SkippedEntry { name, what, reason });
        }
        Err(error) => return Err(error),
    }
    report.requests = inventory.client.requests();
    Ok(report)
}

/// Adds a signature to one entry.
fn sign_one<'a>(
    inventory: &Inventory,
    stored: &'a StoredEntry,
    remote: &Remote,
    signer: &Signer,
    approval: &Approval<'_>,
) -> Result<Outcome<'a>> {
    let client = &inventory.client;
    let name = &stored.object.name;
    let skipped = |reason: String| {
        let (name, what) = (name.clone(), stored.label().to_owned());
        Outcome::Skipped(SkippedEntry { name, what, reason })
    };
    let (entry, trust) = match (stored.valid(), &stored.content) {
        (Some(entry), _) => (entry, remote.trust()),
        (None, Ok(entry)) if stored.is_incomplete() && approval.names(entry) => {
            if let Some(reason) = approval.other_build(entry) {
                return Ok(skipped(reason));
            }
            (entry, Trust::any(&remote.trusted))
        }
        _ => {
            let reason = stored.problem.as_ref().map(ToString::to_string);
            return Ok(skipped(reason.unwrap_or_default()));
        }
    };
    if let Err(error) = publish::check_project(remote, signer, &entry.key.name) {
        return Ok(skipped(error.to_string()));
    }
    let own = [Trusted::new(signer.public.clone())];
    let mut current: Option<(Signed, Version)> =
        Some((stored.signed.clone(), stored.version.clone()));
    until_written(client, name, || {
        let Some((mut line, version)) = current.take() else { return Ok(Some(Outcome::Gone)) };
        // Another process may have replaced the entry since the inventory was made.
        match signature::verified(&line, trust, now()) {
            Ok(_) if line.entry == stored.signed.entry => {}
            // Only the text in the inventory is approved.
            Ok(now) if stored.is_incomplete() || now.key != entry.key => {
                return Ok(Some(skipped(format!("it is now another entry of {}", now.file_name))));
            }
            Ok(_) => {}
            Err(bad) => return Ok(Some(skipped(bad.to_string()))),
        }
        if signature::verified(&line, Trust::any(&own), now()).is_ok() {
            return Ok(Some(Outcome::Present(&entry.key, line)));
        }
        make_room(&mut line, &remote.trusted);
        line.signatures.push(signer.sign(&line.entry)?);
        if client.replace(name, entry::text(std::slice::from_ref(&line)), Some(&version))? {
            let is_approved = stored.is_incomplete();
            return Ok(Some(if is_approved {
                Outcome::Approved(entry, line)
            } else {
                Outcome::Signed(&entry.key, line)
            }));
        }
        current = client.get_short(name, MAX_OBJECT)?.and_then(|it| {
            let line = entry::lines(&it.bytes).into_iter().next()?;
            Some((line, it.version))
        });
        Ok(None)
    })
}

/// The builds that a reviewer approves.
struct Approval<'a> {
    patterns: &'a [Pattern],
    /// The builds in the cache of the reviewer.
    own: HashMap<EggKey, Digest>,
}

impl<'a> Approval<'a> {
    fn new(cache: &Cache, patterns: &'a [Pattern], inventory: &Inventory) -> Result<Self> {
        let incomplete = inventory.entries.iter().filter(|stored| stored.is_incomplete());
        let eggs: Vec<CachedEgg> =
            incomplete.filter_map(|it| Some(it.content.as_ref().ok()?.egg())).collect();
        for pattern in patterns {
            let of_digest = eggs.iter().filter(|egg| pattern.is_digest_of(egg.digest));
            let builds: BTreeMap<Digest, &CachedEgg> =
                of_digest.map(|egg| (egg.digest, egg)).collect();
            if builds.len() > 1 {
                let candidates =
                    builds.values().map(|egg| query::describe(egg, cache.dir())).collect();
                let query = pattern.text().to_owned();
                return Err(Error::Ambiguous { query, candidates, has_all_builds: false });
            }
        }
        let own = if patterns.is_empty() { Vec::new() } else { cache.eggs()? };
        let own = own.into_iter().map(|egg| (egg.key, egg.digest)).collect();
        Ok(Self { patterns, own })
    }

    fn names(&self, entry: &RemoteEntry) -> bool {
        let egg = entry.egg();
        self.patterns.iter().any(|it| it.matches(&egg)) && entry.check_name().is_ok()
    }

    /// Why an entry is not approved by its name: the cache has another build.
    fn other_build(&self, entry: &RemoteEntry) -> Option<String> {
        let own = self.own.get(&entry.key).filter(|own| **own != entry.egg)?;
        if self.patterns.iter().any(|it| it.is_digest_of(entry.egg)) {
            return None;
        }
        let (theirs, own) = (entry.egg.short(), own.short());
        Some(format!("it is the build {theirs}, and this cache has another one, {own}"))
    }
}

/// Makes room for one more signature: removes invalid ones first, then the oldest.
fn make_room(signed: &mut Signed, trusted: &[Trusted]) {
    if signed.signatures.len() < MAX_SIGNATURES {
        return;
    }
    let entry = signed.entry.clone();
    signed.signatures.retain(|signature| {
        let alone = Signed { entry: entry.clone(), signatures: vec![signature.clone()] };
        signature::verified(&alone, Trust::any(trusted), now()).is_ok()
    });
    let excess = (signed.signatures.len() + 1).saturating_sub(MAX_SIGNATURES);
    signed.signatures.drain(..excess);
}

/// Makes the lines of lists and sets equal to their entries. Returns how many objects it has written.
fn update_lines(inventory: &Inventory, by_key: &HashMap<&EggKey, Signed>) -> Result<usize> {
    let updated = |line: Signed| {
        let key = line.unchecked().ok().map(|entry| entry.key);
        let signed = key.and_then(|key| by_key.get(&key));
        // A line with another text is of a newer entry, and its next push repairs the list.
        signed.filter(|it| it.entry == line.entry).cloned().unwrap_or(line)
    };
    let is_outdated =
        |lines: &Lines| lines.iter().flatten().any(|line| updated(line.clone()) != *line);
    let all = inventory.lists.iter().chain(&inventory.sets);
    let outdated = all.filter(|(_, lines)| is_outdated(lines)).map(|(name, _)| name).collect();
    let written = inventory.in_parallel(outdated, |name: &String| {
        let update = |lines: Vec<Signed>| lines.into_iter().map(updated).collect();
        publish::rewrite(&inventory.client, name, update)
    })?;
    Ok(written.into_iter().filter(|it| *it).count())
}
