//! Remotes: whether one answers, and how long its keys count.

use crate::error::Result;
use crate::remote::client::{Client, Patience};
use crate::remote::config::Remote;
use crate::remote::object_names;
use crate::util::clock::{now, shown_day};
use crate::util::environment::Environment;

use super::{About, Finding, Kind};

/// A key that expires within this time is a problem, in seconds.
const SOON: i64 = 30 * 86_400;

pub(super) fn examine(remote: &Remote, environment: &Environment) -> Vec<Finding> {
    let name = &remote.name;
    let mut findings = vec![match ask(remote, environment) {
        Ok(()) => Finding::fine(Kind::Remote, format!("remote {name} answers")),
        Err(error) => Finding::of_error(Kind::Remote, error),
    }];
    let valid = remote.trusted.iter().filter(|key| key.until.is_none_or(|until| until > now()));
    if valid.count() < remote.signatures_needed {
        let needed = remote.signatures_needed;
        let what = format!(
            "remote {name} has fewer than {needed} valid keys, so none of its eggs are used"
        );
        findings.push(Finding::problem(Kind::Key, what));
    }
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

/// One small request.
fn ask(remote: &Remote, environment: &Environment) -> Result<()> {
    remote.check_folder()?;
    let client = Client::new(remote, Patience::COMMAND, environment)?;
    client.get_short(object_names::WITHDRAWALS, 1).map(drop)
}
