//! Remotes: whether one answers, whose signatures count there and for how long, and what can be pushed to it.

use std::cmp::Reverse;
use std::ops::ControlFlow;
use std::path::Path;

use crate::cache::Cache;
use crate::cache::trust::Trust;
use crate::error::{Error, OrLog, Result};
use crate::remote::client::{Client, ObjectInfo, Patience, first_line};
use crate::remote::config::Remote;
use crate::remote::entry::{MAX_OBJECT, Signed};
use crate::remote::keys::Signer;
use crate::remote::object_names;
use crate::remote::publish;
use crate::remote::signature;
use crate::util::clock::{now, shown_day};
use crate::util::environment::Environment;
use crate::util::progress::Silent;

use super::{About, Finding, Kind};

/// A key that expires within this time is a problem, in seconds.
const SOON: i64 = 30 * 86_400;

/// Most entries of a remote, or of one of its projects, that are read, and most projects.
const FEW: usize = 5;

/// A project, and the tag of a Python.
type Project = (String, String);

/// The projects of the eggs that were used last: a remote that lists nothing can be asked for those.
pub(super) fn projects(root: &Path, trust: &Trust) -> Vec<Project> {
    let eggs = Cache::open_to_read_with(root, trust, &Silent).and_then(|cache| cache.eggs());
    let mut eggs = eggs.or_log().unwrap_or_default();
    eggs.sort_by_key(|egg| Reverse(egg.used_at));
    let mut projects: Vec<Project> = Vec::new();
    for key in eggs.into_iter().map(|egg| egg.key) {
        let project = (key.name, key.python);
        if projects.len() < FEW && !projects.contains(&project) {
            projects.push(project);
        }
    }
    projects
}

pub(super) fn examine(
    remote: &Remote,
    projects: &[Project],
    environment: &Environment,
) -> Vec<Finding> {
    let name = &remote.name;
    let mut findings = Vec::new();
    let client = match ask(remote, environment) {
        Ok(client) => {
            findings.push(Finding::fine(Kind::Remote, format!("remote {name} answers")));
            Some(client)
        }
        Err(error) => {
            findings.push(Finding::of_error(Kind::Remote, error));
            None
        }
    };
    let valid = remote.trusted.iter().filter(|key| key.until.is_none_or(|until| until > now()));
    let (valid, needed) = (valid.count(), remote.signatures_needed);
    if remote.trusted.is_empty() {
        let error = Error::UntrustedRemote { name: name.clone() };
        findings.push(Finding::of_error(Kind::Key, error));
    } else if valid < needed {
        let keys = match valid {
            0 => "no valid key".to_owned(),
            _ => format!("only {valid} of the {needed} valid keys that it needs"),
        };
        let what = format!("remote {name} has {keys}, so none of its eggs are used");
        let about = About::Trust { remote: name.clone() };
        findings.push(Finding::problem(Kind::Key, what).about(about));
    } else {
        findings.extend(client.and_then(|client| examine_entries(remote, projects, &client)));
    }
    findings.extend(examine_signer(remote, environment));
    for key in &remote.trusted {
        let Some(until) = key.until.filter(|until| *until - now() < SOON) else { continue };
        let id = key.id().unwrap_or_else(|_| key.key.clone());
        let (day, verb) = (shown_day(until), if until <= now() { "expired" } else { "expires" });
        let what = format!("key {id} of remote {name} {verb} on {day}");
        let about = About::Key { remote: name.clone(), key: key.key.clone() };
        findings.push(Finding::problem(Kind::Key, what).about(about));
    }
    findings
}

/// One small request. Returns the client that has made it.
fn ask(remote: &Remote, environment: &Environment) -> Result<Client> {
    remote.check_folder()?;
    let client = Client::new(remote, Patience::COMMAND, environment)?;
    client.get_short(object_names::WITHDRAWALS, 1)?;
    Ok(client)
}

/// Whether the keys that are trusted are those of the builders: whether the signatures of one of a few entries
/// count.
fn examine_entries(remote: &Remote, projects: &[Project], client: &Client) -> Option<Finding> {
    let is_web = remote.is_web();
    let found = if is_web { listed(projects, client) } else { stored(client) };
    let found = match found {
        Ok(found) => found,
        Err(error) => return Some(Finding::of_error(Kind::Remote, error)),
    };
    if is_web && found.is_empty() {
        let names: Vec<&str> = projects.iter().map(|(name, _)| name.as_str()).collect();
        let of = if names.is_empty() { "any project".into() } else { names.join(", ") };
        let name = &remote.name;
        let what = format!("remote {name}: no egg of {of} was found, so no signature was checked");
        return Some(Finding::fine(Kind::Key, what));
    }
    let mut refusal = None;
    for signed in &found {
        match signature::verified(signed, remote.trust(), now()) {
            Ok(_) => return None,
            Err(bad) => drop(refusal.get_or_insert((signed, bad))),
        }
    }
    let (signed, bad) = refusal?;
    let egg = signed.unchecked().map_or_else(|_| "an entry".into(), |entry| entry.file_name);
    let (egg, bad) = (first_line(&egg), first_line(&bad.to_string()));
    let what = format!("remote {}: {egg} is refused: {bad}", remote.name);
    let about = About::Trust { remote: remote.name.clone() };
    Some(Finding::problem(Kind::Key, what).about(about))
}

/// A few entries of a remote that lists its objects. `remote verify` reports an object that is no entry.
fn stored(client: &Client) -> Result<Vec<Signed>> {
    let folder = format!("{}/{}", object_names::VERSION, object_names::ENTRIES);
    let mut found = Vec::new();
    for ObjectInfo { name, .. } in client.list_some(&folder, FEW)? {
        if let Some(object) = client.get_short(&name, MAX_OBJECT)? {
            let line = String::from_utf8_lossy(&object.bytes);
            found.extend(Signed::parse(line.trim_end()));
        }
    }
    Ok(found)
}

/// A few entries of these projects, for a remote that lists nothing, such as a web server.
fn listed(projects: &[Project], client: &Client) -> Result<Vec<Signed>> {
    let mut found = Vec::new();
    for (name, python) in projects {
        let most = found.len() + FEW;
        client.read_lines(&object_names::project(name, python), |line| {
            found.extend(Signed::parse(line));
            if found.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
    }
    Ok(found)
}

/// What keeps this user from pushing to a remote where built eggs are to be pushed.
fn examine_signer(remote: &Remote, environment: &Environment) -> Option<Finding> {
    if !remote.push || remote.foreign.is_some() {
        return None;
    }
    let checked = match Signer::of(environment) {
        Ok(Some(signer)) => publish::check(remote, &signer),
        Ok(None) => Err(Error::NothingPushed { name: remote.name.clone() }),
        Err(error) => Err(error),
    };
    checked.err().map(|error| Finding::of_error(Kind::Key, error))
}
