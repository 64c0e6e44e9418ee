//! Writing the list of withdrawn builds of a remote: each statement succeeds the newest one that the remote
//! has and that this cache has seen, and replaces exactly the object that was read.

use std::path::Path;

use super::record::Remembered;
use super::run;
use super::statement::{
    self, BadStatement, Checked, FORMAT, MAX_NUMBER, MAX_VALID_FOR, Statement, VALID_FOR, Withdrawn,
};
use crate::error::{Error, OrLog, Result};
use crate::remote::client::{Client, Version};
use crate::remote::config::Remote;
use crate::remote::contended_write::until_written;
use crate::remote::entry::{self, MAX_SIGNATURES, Signed};
use crate::remote::keys::{Signer, Trusted};
use crate::remote::object_names::WITHDRAWALS;
use crate::remote::publish;
use crate::remote::signature::Trust;
use crate::util::clock::now;

/// A list as it was written.
#[derive(Debug)]
pub struct Written {
    pub statement: Statement,
    /// How many trusted keys have signed it.
    pub signatures: usize,
}

/// What a remote has now.
struct Current {
    version: Option<Version>,
    /// The list, if at least one trusted key has signed it.
    found: Option<(Signed, Checked)>,
}

impl Current {
    fn read(client: &Client, remote: &Remote) -> Result<Self> {
        let Some(object) = client.get(WITHDRAWALS)? else {
            return Ok(Self { version: None, found: None });
        };
        let found = statement::signed(&object.bytes).ok().and_then(|line| {
            let one = Trust::any(&remote.trusted);
            let checked = statement::checked(&line, one, now()).ok()?;
            // The check ends with the first one that is enough.
            let signed_by = statement::all_signers(&line, &remote.trusted, now());
            Some((line, Checked { signed_by, ..checked }))
        });
        Ok(Self { version: Some(object.version), found })
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
    valid_for: Option<i64>,
    change: impl Fn(&[Withdrawn]) -> Result<Vec<Withdrawn>>,
) -> Result<Written> {
    check(remote, signer)?;
    let mut remembered = Remembered::read(root, remote)?;
    let (line, statement) = until_written(client, WITHDRAWALS, || {
        let Current { version, found } = Current::read(client, remote)?;
        let next = next(found.as_ref(), &remembered, remote, signer, valid_for, &change)?;
        let text = entry::text(std::slice::from_ref(&next.0));
        if text.len() > statement::MAX_LENGTH {
            return Err(bad(remote, &BadStatement::Malformed("it is too long".into())));
        }
        let is_written = client.replace(WITHDRAWALS, text, version.as_ref())?;
        Ok(is_written.then_some(next))
    })?;
    let signatures = statement::all_signers(&line, &remote.trusted, now()).len();
    if let Ok(checked) = statement::checked(&line, remote.trust(), now()) {
        // The list is written, also if this cache cannot remember it.
        let judged = remembered.update(root, remote, Some(&checked)).or_log();
        judged.unwrap_or(Ok(())).map_err(|it| bad(remote, &it))?;
    }
    Ok(Written { statement, signatures })
}

/// The signed list that takes the place of the one that was found, or of a newer one that was seen before.
fn next(
    found: Option<&(Signed, Checked)>,
    remembered: &Remembered,
    remote: &Remote,
    signer: &Signer,
    valid_for: Option<i64>,
    change: &impl Fn(&[Withdrawn]) -> Result<Vec<Withdrawn>>,
) -> Result<(Signed, Statement)> {
    let seen = remembered.statement(remote);
    let newest = found.filter(|(_, Checked { statement, .. })| {
        seen.is_none_or(|seen| statement.remote == seen.remote && statement.number >= seen.number)
    });
    let base = newest.map(|(_, checked)| &checked.statement).or(seen);
    let before = base.map_or(&[][..], |it| &it.withdrawn);
    let withdrawn = change(before)?;
    if let Some((line, Checked { statement, signed_by })) = newest
        && withdrawn == before
        && signed_by.len() < remote.signatures_needed
        && !signed_by.contains(&signer.public)
        && statement.expires_at > now()
    {
        return Ok((with_signature(line, remote, signer)?, statement.clone()));
    }
    let valid_for = valid_for.or(base.map(Statement::valid_for)).unwrap_or(VALID_FOR);
    let id = base.map(|it| it.remote.as_str()).or(remembered.remote_id());
    let next = successor(base, id, withdrawn, valid_for, remote)?;
    let entry = next.text();
    Ok((Signed { signatures: vec![signer.sign(&entry)?], entry }, next))
}

/// The statement after `base`. Without one, the number is the time, which is higher than any number that
/// was counted up so far: a remote whose list is lost starts again above it.
fn successor(
    base: Option<&Statement>,
    id: Option<&str>,
    withdrawn: Vec<Withdrawn>,
    valid_for: i64,
    remote: &Remote,
) -> Result<Statement> {
    let now = now();
    let number = match base {
        Some(base) if base.number >= MAX_NUMBER => {
            let reason = "has the largest number that there is".to_owned();
            return Err(Error::Withdrawals { name: remote.name.clone(), reason });
        }
        Some(base) => base.number + 1,
        None => u64::try_from(now).unwrap_or_default().max(1),
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
    let remembered = Remembered::read(root, remote)?;
    let is_due = remembered.statement(remote).is_some_and(|it| it.is_due(now()));
    if !is_due || remote.signatures_needed > 1 || check(remote, signer).is_err() {
        return Ok(false);
    }
    // Only what this cache has seen, and never an expired list: a remote could show an old one.
    let object = client.get(WITHDRAWALS)?;
    let found = object.and_then(|object| run::checked(&object.bytes, remote).ok());
    let seen = remembered.statement(remote);
    let Some(Checked { statement, .. }) = found else { return Ok(false) };
    if statement::judge(Some(&statement), seen, now()).is_err() || !statement.is_due(now()) {
        return Ok(false);
    }
    change(client, remote, root, signer, None, |before| Ok(before.to_vec())).map(|_| true)
}

/// Adds the signature of a key to a valid list that it has not signed yet. Returns whether it has.
///
/// # Errors
/// [`Error::Withdrawals`] if the list is not valid.
pub fn countersign(client: &Client, remote: &Remote, signer: &Signer) -> Result<bool> {
    let own = [Trusted::new(signer.public.clone())];
    until_written(client, WITHDRAWALS, || {
        let Some(object) = client.get(WITHDRAWALS)? else { return Ok(Some(false)) };
        let line = statement::signed(&object.bytes).map_err(|it| bad(remote, &it))?;
        statement::checked(&line, remote.trust(), now()).map_err(|it| bad(remote, &it))?;
        if statement::checked(&line, Trust::any(&own), now()).is_ok() {
            return Ok(Some(false));
        }
        check(remote, signer)?;
        let line = with_signature(&line, remote, signer)?;
        let text = entry::text(&[line]);
        let is_written = client.replace(WITHDRAWALS, text, Some(&object.version))?;
        Ok(is_written.then_some(true))
    })
}
