//! Remotes: whether one answers, whose signatures count there and for how long, and what can be pushed to it.

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

use super::{About, Finding, Kind};

/// A key that expires within this time is a problem, in seconds.
const SOON: i64 = 30 * 86_400;

/// Most entries of a remote that are read.
const FEW: usize = 5;

pub(super) fn examine(remote: &Remote, environment: &Environment) -> Vec<Finding> {
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
        findings.extend(client.and_then(|client| examine_entries(remote, &client)));
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
/// count. Nothing is known of a remote that lists no objects, such as a web server.
fn examine_entries(remote: &Remote, client: &Client) -> Option<Finding> {
    if remote.is_web() {
        return None;
    }
    let folder = format!("{}/{}", object_names::VERSION, object_names::ENTRIES);
    let names = client.list_some(&folder, FEW).or_log()?;
    let mut refusal = None;
    for ObjectInfo { name, .. } in names {
        let Some(object) = client.get_short(&name, MAX_OBJECT).or_log()? else { continue };
        let line = String::from_utf8_lossy(&object.bytes);
        // `remote verify` reports an object that is no entry.
        let Ok(signed) = Signed::parse(line.trim_end()) else { continue };
        match signature::verified(&signed, remote.trust(), now()) {
            Ok(_) => return None,
            Err(bad) => {
                let egg = signed.unchecked().map_or(name, |entry| entry.file_name);
                refusal.get_or_insert((egg, bad));
            }
        }
    }
    let (egg, bad) = refusal?;
    let (egg, bad) = (first_line(&egg), first_line(&bad.to_string()));
    let what = format!("remote {}: {egg} is refused: {bad}", remote.name);
    let about = About::Trust { remote: remote.name.clone() };
    Some(Finding::problem(Kind::Key, what).about(about))
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
