//! Writing the list of withdrawn builds of a remote: each statement succeeds the newest one that the remote
//! has and that this cache has seen, and replaces exactly the object that was read.
//!
//! Only a list that has all signatures that it needs is built upon: one key of several must not remove a
//! build. What a list that lacks signatures adds is kept.

use std::path::Path;

use super::memory::Memory;
use super::record;
use super::run;
use super::statement::{
    self, BadStatement, Checked, FORMAT, MAX_NUMBER, MAX_VALID_FOR, Statement, VALID_FOR, Withdrawn,
};
use crate::error::{Error, Result};
use crate::remote::client::{Client, Version};
use crate::remote::config::Remote;
use crate::remote::contended_write::until_written;
use crate::remote::entry::{self, MAX_SIGNATURES, Signed};
use crate::remote::keys::{Signer, Trusted};
use crate::remote::object_names::WITHDRAWALS;
use crate::remote::publish;
use crate::remote::signature::Trust;
use crate::util::clock::now;

/// How far a number can be above the largest one that counts, and still have been counted up.
const FAR: u64 = 1 << 20;

/// A list as it was written.
#[derive(Debug)]
pub struct Written {
    pub statement: Statement,
    /// How many trusted keys have signed it.
    pub signatures: usize,
}

/// How to write a list.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request {
    /// How long it is valid, in seconds; if absent, as long as the previous one.
    pub valid_for: Option<i64>,
    /// Whether no build is named, so that the list is only signed.
    pub is_plain: bool,
}

/// What a remote has now.
#[derive(Default)]
struct Current {
    version: Option<Version>,
    /// The list, if it has all signatures that it needs.
    complete: Option<Checked>,
    /// Else the list, if at least one trusted key has signed it.
    incomplete: Option<(Signed, Checked)>,
}

impl Current {
    fn read(client: &Client, remote: &Remote) -> Result<Self> {
        let Some(object) = client.get(WITHDRAWALS)? else { return Ok(Self::default()) };
        let version = Some(object.version);
        let Ok(line) = statement::signed(&object.bytes) else {
            return Ok(Self { version, ..Self::default() });
        };
        let complete = statement::checked(&line, remote.trust(), now()).ok();
        let one = statement::checked(&line, Trust::any(&remote.trusted), now()).ok();
        let incomplete = one.filter(|_| complete.is_none()).map(|checked| (line, checked));
        Ok(Self { version, complete, incomplete })
    }
}

/// Checks without a request whether this key may sign the list of a remote.
///
/// # Errors
/// As [`publish::check`], or [`Error::OtherProject`] for a key that is limited to projects.
pub fn check(remote: &Remote, signer: &Signer) -> Result<()> {
    publish::check(remote, signer)?;
    match remote.trusted(&signer.public) {
        Some(trusted) if !trusted.projects.is_empty() => Err(Error::OtherProject {
            name: remote.name.clone(),
            id: signer.id(),
            key: signer.public.clone(),
            project: "all projects".into(),
        }),
        _ => Ok(()),
    }
}

/// Changes the list, and signs it. If the list stays and still lacks signatures, this adds one.
///
/// # Errors
/// [`Error::Withdrawals`], or what `change` returns.
pub fn change(
    client: &Client,
    remote: &Remote,
    root: &Path,
    signer: &Signer,
    request: Request,
    change: impl Fn(&[Withdrawn]) -> Result<Vec<Withdrawn>>,
) -> Result<Written> {
    check(remote, signer)?;
    let memory = record::read(root, &remote.name)?;
    let (line, statement) = until_written(client, WITHDRAWALS, || {
        let current = Current::read(client, remote)?;
        let next = next(&current, &memory, remote, signer, request, &change)?;
        let text = entry::text(std::slice::from_ref(&next.0));
        let is_written = client.replace(WITHDRAWALS, text, current.version.as_ref())?;
        Ok(is_written.then_some(next))
    })?;
    let signatures = statement::all_signers(&line, &remote.trusted, now()).len();
    if let Ok(checked) = statement::checked(&line, remote.trust(), now()) {
        // The list is written, also if this cache cannot remember it.
        let (_, judged) = record::learn(root, remote, Some(&checked));
        judged.map_err(|it| bad(remote, &it))?;
    }
    Ok(Written { statement, signatures })
}

/// The signed list that takes the place of the current one: the successor of that, or of a newer one that
/// was seen before.
fn next(
    current: &Current,
    memory: &Memory,
    remote: &Remote,
    signer: &Signer,
    request: Request,
    change: &impl Fn(&[Withdrawn]) -> Result<Vec<Withdrawn>>,
) -> Result<(Signed, Statement)> {
    let mut memory = memory.clone();
    if let Some(complete) = &current.complete {
        // Whatever is wrong with it, what it withdraws is known now.
        let _ = memory.learn(remote, Some(complete), now());
    }
    let base = memory.newest(remote);
    let incomplete = current.incomplete.as_ref().filter(|(_, found)| {
        let found = &found.statement;
        base.is_none_or(|base| found.remote == base.remote && found.number > base.number)
            && found.expires_at > now()
    });
    let before: Vec<Withdrawn> = memory.withdrawn(remote).into_iter().cloned().collect();
    let listed = incomplete.map_or(&[][..], |(_, found)| &found.statement.withdrawn);
    let mut proposed = before.clone();
    proposed.extend(missing(listed, &before).into_iter().cloned());
    if let Some((line, Checked { statement, signed_by, .. })) = incomplete
        && let Ok(withdrawn) = change(&proposed)
    {
        let missing = missing(&withdrawn, listed);
        if missing.is_empty()
            && withdrawn.len() == listed.len()
            && !signed_by.contains(&signer.public)
        {
            return Ok((with_signature(line, remote, signer)?, statement.clone()));
        }
        if request.is_plain && !missing.is_empty() {
            return Err(would_drop(remote, &missing));
        }
    }
    let sign = |before: &[Withdrawn]| {
        let withdrawn = change(before)?;
        let valid_for = request.valid_for.or(base.map(Statement::valid_for)).unwrap_or(VALID_FOR);
        let next = successor(&memory, withdrawn, valid_for, remote)?;
        let entry = next.text();
        let line = Signed { signatures: vec![signer.sign(&entry)?], entry };
        if entry::text(std::slice::from_ref(&line)).len() > statement::MAX_LENGTH {
            return Err(bad(remote, &BadStatement::Malformed("it is too long".into())));
        }
        Ok((line, next))
    };
    match sign(&proposed) {
        // One key must not block the list by filling it.
        Err(_) if proposed.len() > before.len() => sign(&before),
        done => done,
    }
}

/// The builds that a list does not have.
fn missing<'a>(builds: &'a [Withdrawn], list: &[Withdrawn]) -> Vec<&'a Withdrawn> {
    builds.iter().filter(|it| !list.iter().any(|listed| listed.egg == it.egg)).collect()
}

/// The error about a list that lacks signatures and allows builds again.
fn would_drop(remote: &Remote, missing: &[&Withdrawn]) -> Error {
    let build = |it: &&Withdrawn| format!("{} {} ({})", it.name, it.version, it.egg.short());
    let builds = missing.iter().map(build).collect::<Vec<_>>().join(", ");
    let reason = format!("lacks signatures, and allows again what is withdrawn: {builds}");
    Error::Withdrawals { name: remote.name.clone(), reason }
}

/// The statement after all that count. Without one, the number is the time, which is higher than any
/// number that was counted up so far: a remote whose list is lost starts again above it.
fn successor(
    memory: &Memory,
    withdrawn: Vec<Withdrawn>,
    valid_for: i64,
    remote: &Remote,
) -> Result<Statement> {
    let now = now();
    let time = u64::try_from(now).unwrap_or_default().max(1);
    let newest = memory.newest(remote).map(|it| it.remote.as_str());
    let id = newest.or(memory.remote_id());
    let (counting, any) = id.map_or((None, None), |id| memory.largest_numbers(remote, id));
    let number = match counting {
        Some(largest) if largest >= MAX_NUMBER => {
            let reason = "has the largest number that there is".to_owned();
            return Err(Error::Withdrawals { name: remote.name.clone(), reason });
        }
        // Above a list of keys that are not trusted any more, unless its number is absurd.
        Some(largest) => match any.filter(|any| (largest..largest + FAR).contains(any)) {
            Some(any) => any + 1,
            None => time.max(largest + 1),
        },
        None => time,
    };
    let random = || format!("{:032x}", fastrand::u128(..));
    let next = Statement {
        format: FORMAT,
        remote: id.map_or_else(random, str::to_owned),
        number,
        signed_at: now,
        expires_at: now.saturating_add(valid_for.clamp(1, MAX_VALID_FOR)),
        withdrawn,
    };
    next.check().map_err(|it| bad(remote, &it))?;
    Ok(next)
}

fn bad(remote: &Remote, problem: &BadStatement) -> Error {
    Error::Withdrawals { name: remote.name.clone(), reason: problem.to_string() }
}

/// The same text with one more signature. Signatures that do not count make room.
fn with_signature(line: &Signed, remote: &Remote, signer: &Signer) -> Result<Signed> {
    let mut line = line.clone();
    let entry = line.entry.clone();
    line.signatures.retain(|signature| {
        let alone = Signed { entry: entry.clone(), signatures: vec![signature.clone()] };
        statement::checked(&alone, Trust::any(&remote.trusted), now()).is_ok()
    });
    line.signatures.truncate(MAX_SIGNATURES - 1);
    line.signatures.push(signer.sign(&entry)?);
    Ok(line)
}

/// Signs the list again if it is current and a third of its time is over, for a builder that pushes.
/// A list that needs several signatures is signed again by people.
///
/// # Errors
/// [`Error::Remote`] or [`Error::Signing`]
pub fn refresh_if_due(
    client: &Client,
    remote: &Remote,
    root: &Path,
    signer: &Signer,
) -> Result<bool> {
    let memory = record::read(root, &remote.name)?;
    let seen = memory.newest(remote);
    let is_due = seen.is_some_and(|it| it.is_due(now()));
    if !is_due || remote.signatures_needed > 1 || check(remote, signer).is_err() {
        return Ok(false);
    }
    // Only what this cache has seen, and never an expired list: a remote could show an old one.
    let object = client.get(WITHDRAWALS)?;
    let found = object.and_then(|object| run::checked(&object.bytes, remote).ok());
    let Some(Checked { statement, .. }) = found else { return Ok(false) };
    if statement::judge(Some(&statement), seen, now()).is_err() || !statement.is_due(now()) {
        return Ok(false);
    }
    let again = Request { is_plain: true, ..Request::default() };
    change(client, remote, root, signer, again, |before| Ok(before.to_vec())).map(|_| true)
}

/// Adds the signature of a key to a valid list that it has not signed yet. Returns whether it has. A list
/// that is older than one that this cache has seen gets none: the new signature would bring it back.
///
/// # Errors
/// [`Error::Withdrawals`] if the list is not valid.
pub fn countersign(client: &Client, remote: &Remote, root: &Path, signer: &Signer) -> Result<bool> {
    let own = [Trusted::new(signer.public.clone())];
    let memory = record::read(root, &remote.name)?;
    let written = until_written(client, WITHDRAWALS, || {
        let Some(object) = client.get(WITHDRAWALS)? else { return Ok(Some(None)) };
        let line = statement::signed(&object.bytes).map_err(|it| bad(remote, &it))?;
        let found = statement::checked(&line, remote.trust(), now());
        let found = found.map_err(|it| bad(remote, &it))?.statement;
        match statement::judge(Some(&found), memory.newest(remote), now()) {
            Ok(()) | Err(BadStatement::Expired(_)) => {}
            Err(it) => return Err(bad(remote, &it)),
        }
        if statement::checked(&line, Trust::any(&own), now()).is_ok() {
            return Ok(Some(None));
        }
        check(remote, signer)?;
        let line = with_signature(&line, remote, signer)?;
        let text = entry::text(std::slice::from_ref(&line));
        let is_written = client.replace(WITHDRAWALS, text, Some(&object.version))?;
        Ok(is_written.then_some(Some(line)))
    })?;
    if let Some(line) = &written
        && let Ok(checked) = statement::checked(line, remote.trust(), now())
    {
        // The list is signed, also if this cache cannot remember it.
        let _ = record::learn(root, remote, Some(&checked));
    }
    Ok(written.is_some())
}
