//! Sign: add the signature of another key to what a remote has, so that the key before it can be done
//! without.
//!
//! Only what a key signs counts that is trusted now, so nothing becomes trusted by this that was not:
//! the text stays, and a signature is added. Entries are changed first, with If-Match, then the lines of
//! lists and sets are made equal to them. Where this is cut off, it is run again.

use std::collections::HashMap;

use serde::Serialize;

use crate::egg::key::EggKey;
use crate::error::{Error, Result};
use crate::remote::client::Version;
use crate::remote::config::Remote;
use crate::remote::entry::{self, MAX_SIGNATURES, Signed};
use crate::remote::inventory::{Inventory, Lines, StoredEntry};
use crate::remote::keys::{self, Signer, Trusted};
use crate::remote::publish;
use crate::remote::retry;
use crate::util::clock::now;
use crate::util::progress::{Progress, Unit};

/// How often an entry is read and written again that others are writing.
const TRIES: u32 = 8;

#[derive(Debug, Serialize)]
pub struct Report {
    pub remote: String,
    /// The id of the key.
    pub key: String,
    /// Entries that the key has signed now.
    pub signed: usize,
    /// Entries that it had signed before.
    pub present: usize,
    /// Entries that are left, as no trusted key has signed them.
    pub left: Vec<Left>,
    /// Lists and sets that were written.
    pub lists: usize,
    /// Requests that were made.
    pub requests: u64,
}

#[derive(Debug, Serialize)]
pub struct Left {
    pub name: String,
    /// The egg's file name, or else the object's.
    pub what: String,
    pub reason: String,
}

/// What was done about one entry.
enum Done<'a> {
    Signed(&'a EggKey, Signed),
    Present(&'a EggKey, Signed),
    Left(Left),
    Gone,
}

/// Adds the signature of a key to every entry that a trusted key has signed.
///
/// # Errors
/// [`Error::Remote`] if the remote cannot be listed, read or written, or if the key is not trusted
/// there itself.
pub fn sign(remote: &Remote, signer: &Signer, progress: &dyn Progress) -> Result<Report> {
    publish::check(remote, signer)?;
    let survey = Inventory::new(remote, progress)?;
    progress.begin("signing", survey.entries.len() as u64, Unit::Eggs);
    let done = survey.in_parallel(survey.entries.iter().collect(), |filed| {
        progress.advance(1);
        one(&survey, filed, remote, signer)
    })?;
    progress.end();
    let mut report = Report {
        remote: remote.name.clone(),
        key: signer.id(),
        signed: 0,
        present: 0,
        left: Vec::new(),
        lists: 0,
        requests: 0,
    };
    let mut by_key: HashMap<&EggKey, Signed> = HashMap::new();
    for done in done {
        match done {
            Done::Signed(key, line) => {
                report.signed += 1;
                by_key.insert(key, line);
            }
            Done::Present(key, line) => {
                report.present += 1;
                by_key.insert(key, line);
            }
            Done::Left(left) => report.left.push(left),
            Done::Gone => {}
        }
    }
    report.lists = lines(&survey, &by_key)?;
    report.requests = survey.client.requests();
    Ok(report)
}

/// Adds a signature to one entry.
fn one<'a>(
    survey: &Inventory,
    filed: &'a StoredEntry,
    remote: &Remote,
    signer: &Signer,
) -> Result<Done<'a>> {
    let client = &survey.client;
    let name = &filed.object.name;
    let left = |reason: String| {
        Ok(Done::Left(Left { name: name.clone(), what: filed.label().to_owned(), reason }))
    };
    let Some(entry) = filed.valid() else {
        return left(filed.problem.as_ref().map(ToString::to_string).unwrap_or_default());
    };
    let mine = [Trusted { key: signer.public.clone(), until: None, note: None }];
    let mut found: Option<(Signed, Version)> = Some((filed.signed.clone(), filed.version.clone()));
    for attempt in 0..TRIES {
        let Some((mut line, version)) = found else { return Ok(Done::Gone) };
        // It may have been written anew since it was looked at.
        match keys::open(&line, &remote.trusted, now()) {
            Ok(now) if now.key == entry.key => {}
            Ok(now) => return left(format!("it is of another egg, {} now", now.file_name)),
            Err(bad) => return left(bad.to_string()),
        }
        if keys::open(&line, &mine, now()).is_ok() {
            return Ok(Done::Present(&entry.key, line));
        }
        make_room(&mut line, &remote.trusted);
        line.signatures.push(signer.sign(&line.entry)?);
        let text = (line.line() + "\n").into_bytes();
        if client.replace(name, text, Some(&version))? {
            return Ok(Done::Signed(&entry.key, line));
        }
        std::thread::sleep(retry::jitter(attempt));
        found = client.get(name)?.and_then(|it| {
            let line = entry::lines(&it.bytes).into_iter().next()?;
            Some((line, it.version))
        });
    }
    let reason = format!("{name} is being written by others all the time; run this again");
    Err(Error::Remote { name: remote.name.clone(), reason })
}

/// Makes room for one more signature: those that do not count go first, then the oldest.
fn make_room(signed: &mut Signed, trusted: &[Trusted]) {
    if signed.signatures.len() < MAX_SIGNATURES {
        return;
    }
    let entry = signed.entry.clone();
    signed.signatures.retain(|signature| {
        let alone = Signed { entry: entry.clone(), signatures: vec![signature.clone()] };
        keys::open(&alone, trusted, now()).is_ok()
    });
    let excess = (signed.signatures.len() + 1).saturating_sub(MAX_SIGNATURES);
    signed.signatures.drain(..excess);
}

/// Makes the lines of lists and sets equal to entries, and answers how many of them were written.
fn lines(survey: &Inventory, by_key: &HashMap<&EggKey, Signed>) -> Result<usize> {
    let with = |line: Signed| {
        let key = line.unchecked().ok().map(|entry| entry.key);
        let signed = key.and_then(|key| by_key.get(&key));
        // Another text was written since, and the next push of it mends the list.
        signed.filter(|it| it.entry == line.entry).cloned().unwrap_or(line)
    };
    let is_behind = |lines: &Lines| lines.iter().flatten().any(|line| with(line.clone()) != *line);
    let all = survey.lists.iter().chain(&survey.sets).filter(|(_, lines)| is_behind(lines));
    let written = survey.in_parallel(all.map(|(name, _)| name).collect(), |name: &String| {
        publish::rewrite(&survey.client, name, |lines| lines.into_iter().map(with).collect())
    })?;
    Ok(written.into_iter().filter(|it| *it).count())
}
