//! The statement about all withdrawn builds of a remote. docs/reference/remote.md describes its bytes.
//!
//! Pure. It is stored and signed as an entry is, but none of its fields is one of an entry, so neither can
//! be passed off as the other.

use serde::{Deserialize, Serialize};

use crate::remote::entry::{BadEntry, Signed};
use crate::remote::keys::Trusted;
use crate::remote::signature::{self, Trust};
use crate::util::clock::shown_day;
use crate::util::hash::digest::Digest;

/// Version of the signed text. It changes with every change that an older reader would misread.
pub const FORMAT: u32 = 1;
/// Longest statement with its signatures, in bytes.
pub const MAX_LENGTH: usize = 1 << 20;
/// Most withdrawn builds. With names and reasons of common length, they have a third of [`MAX_LENGTH`].
pub const MAX_WITHDRAWN: usize = 1000;
/// Longest reason, in bytes.
pub const MAX_REASON: usize = 500;
/// Longest name or version, in bytes.
const MAX_NAME: usize = 255;
/// The largest number, which every implementation of JSON can hold.
pub const MAX_NUMBER: u64 = (1 << 53) - 1;
/// How long a statement is valid if nothing else is chosen, in seconds.
pub const VALID_FOR: i64 = 30 * 86_400;
/// How long a statement can be valid, in seconds.
pub const MAX_VALID_FOR: i64 = 366 * 86_400;
/// How far clocks may differ, in seconds.
const SKEW: i64 = 86_400;

/// All builds of one remote that are withdrawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    pub format: u32,
    /// Identifies the remote: random, and the same in all its statements.
    pub remote: String,
    /// One more than that of the previous statement.
    pub number: u64,
    /// Seconds since the Unix epoch.
    pub signed_at: i64,
    pub expires_at: i64,
    pub withdrawn: Vec<Withdrawn>,
}

/// A withdrawn build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Withdrawn {
    /// The egg digest.
    pub egg: Digest,
    /// PEP 503 name.
    pub name: String,
    pub version: String,
    pub reason: String,
    /// When it was withdrawn, in seconds since the Unix epoch.
    pub at: i64,
}

/// Why the statement of a remote is not accepted; completes the sentence "its list of withdrawn eggs ...".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadStatement {
    #[error("is malformed ({0})")]
    Malformed(String),
    #[error("has format {0} of a newer eggcache; this one reads up to {FORMAT}")]
    NewerFormat(u32),
    #[error("is not accepted: {0}")]
    Untrusted(BadEntry),
    #[error("is gone")]
    Missing,
    #[error("is that of another remote")]
    OtherRemote,
    #[error("is an old one: it has number {found}, and number {seen} was seen before")]
    Old { found: u64, seen: u64 },
    #[error("has the number {0} of another one that was seen before")]
    Changed(u64),
    #[error("has expired on {}", shown_day(*.0))]
    Expired(i64),
    #[error("is signed in the future, on {}, or the clock of this machine is wrong", shown_day(*.0))]
    Future(i64),
}

/// A statement that trusted keys have signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    pub statement: Statement,
    /// All trusted keys that have signed it, in base64.
    pub signed_by: Vec<String>,
    /// All its signatures, also those that do not count.
    pub signatures: Vec<String>,
}

impl Statement {
    /// The text that is signed.
    #[must_use]
    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("every field of a statement has a form in JSON")
    }

    fn parse(text: &str) -> Result<Self, BadStatement> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let malformed = |error: serde_json::Error| BadStatement::Malformed(error.to_string());
        let Format { format } = serde_json::from_str(text).map_err(malformed)?;
        if format > FORMAT {
            return Err(BadStatement::NewerFormat(format));
        }
        let statement: Self = serde_json::from_str(text).map_err(malformed)?;
        statement.check()?;
        Ok(statement)
    }

    /// Checks the bounds of all fields.
    ///
    /// # Errors
    /// [`BadStatement::Malformed`]
    pub fn check(&self) -> Result<(), BadStatement> {
        let malformed = |reason: &str| Err(BadStatement::Malformed(reason.into()));
        let is_long = |it: &Withdrawn| {
            it.reason.len() > MAX_REASON || it.name.len() > MAX_NAME || it.version.len() > MAX_NAME
        };
        if self.number > MAX_NUMBER {
            return malformed("its number is too large");
        }
        if !(1..=MAX_VALID_FOR).contains(&self.expires_at.saturating_sub(self.signed_at)) {
            return malformed("its expiry date is not within a year after its signature");
        }
        if self.remote.is_empty() || self.remote.len() > MAX_NAME {
            return malformed("its identifier of the remote is empty or too long");
        }
        if self.withdrawn.len() > MAX_WITHDRAWN {
            return malformed("it has too many eggs");
        }
        if self.withdrawn.iter().any(is_long) {
            return malformed("a name or a reason is too long");
        }
        Ok(())
    }

    /// Whether the statement is to be signed again: a third of its time is over.
    #[must_use]
    pub fn is_due(&self, now: i64) -> bool {
        now.saturating_sub(self.signed_at) > self.valid_for() / 3
    }

    /// How long it is valid in all, in seconds.
    #[must_use]
    pub fn valid_for(&self) -> i64 {
        self.expires_at.saturating_sub(self.signed_at)
    }
}

/// The signed text in the object of a remote. Nothing of it is checked.
///
/// # Errors
/// [`BadStatement::Malformed`]
pub fn signed(bytes: &[u8]) -> Result<Signed, BadStatement> {
    let text = str::from_utf8(bytes).map_err(|error| BadStatement::Malformed(error.to_string()))?;
    Signed::parse_at_most(text.trim_end(), MAX_LENGTH).map_err(BadStatement::Untrusted)
}

/// Checks the signatures of a statement, and returns what it says. A key that is limited to projects does
/// not count: a statement is about all of them.
///
/// # Errors
/// [`BadStatement`]
pub fn checked(signed: &Signed, trust: Trust<'_>, now: i64) -> Result<Checked, BadStatement> {
    signature::signers(signed, trust, now, is_unlimited).map_err(BadStatement::Untrusted)?;
    Ok(Checked {
        statement: Statement::parse(&signed.entry)?,
        signed_by: all_signers(signed, trust.keys, now),
        signatures: signed.signatures.clone(),
    })
}

fn is_unlimited(key: &Trusted) -> Result<(), BadEntry> {
    let other = || BadEntry::OtherProject(key.id().unwrap_or_default());
    key.projects.is_empty().then_some(()).ok_or_else(other)
}

/// All trusted keys that have signed a statement, in base64.
#[must_use]
pub fn all_signers(signed: &Signed, keys: &[Trusted], now: i64) -> Vec<String> {
    let has_signed = |key: &&Trusted| {
        let alone = Trust::any(std::slice::from_ref(*key));
        signature::signers(signed, alone, now, is_unlimited).is_ok()
    };
    keys.iter().filter(has_signed).map(|key| key.key.clone()).collect()
}

/// Whether a statement is the newest that can be expected, given the newest one that was seen before.
///
/// # Errors
/// [`BadStatement`]
pub fn judge(
    found: Option<&Statement>,
    seen: Option<&Statement>,
    now: i64,
) -> Result<(), BadStatement> {
    let Some(found) = found else {
        return if seen.is_some() { Err(BadStatement::Missing) } else { Ok(()) };
    };
    // Time does not run backwards: a clock that is behind makes nothing valid again.
    let now = now.max(seen.map_or(i64::MIN, |seen| seen.signed_at.saturating_sub(SKEW)));
    if let Some(seen) = seen {
        if found.remote != seen.remote {
            return Err(BadStatement::OtherRemote);
        }
        if found.number < seen.number {
            return Err(BadStatement::Old { found: found.number, seen: seen.number });
        }
        if found.number == seen.number && found != seen {
            return Err(BadStatement::Changed(found.number));
        }
    }
    if found.signed_at.saturating_sub(SKEW) > now {
        return Err(BadStatement::Future(found.signed_at));
    }
    if found.expires_at <= now {
        return Err(BadStatement::Expired(found.expires_at));
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const DAY: i64 = 86_400;
    const NOW: i64 = 1_800_000_000;

    pub(crate) fn statement(number: u64, eggs: &[&str]) -> Statement {
        let withdrawn = eggs.iter().map(|egg| Withdrawn {
            egg: Digest::of(egg.as_bytes()),
            name: (*egg).to_owned(),
            version: "1.0".into(),
            reason: "it deletes files".into(),
            at: NOW,
        });
        Statement {
            format: FORMAT,
            remote: "a".into(),
            number,
            signed_at: NOW,
            expires_at: NOW + VALID_FOR,
            withdrawn: withdrawn.collect(),
        }
    }

    #[test]
    fn only_a_newer_or_equal_statement_of_the_same_remote_is_accepted() {
        let seen = statement(7, &["foo"]);
        let of = |change: fn(&mut Statement)| {
            let mut found = seen.clone();
            change(&mut found);
            judge(Some(&found), Some(&seen), NOW + DAY)
        };
        assert_eq!(of(|_| {}), Ok(()));
        assert_eq!(of(|it| it.number = 8), Ok(()));
        assert_eq!(of(|it| it.number = MAX_NUMBER), Ok(()));
        assert_eq!(of(|it| it.number = 6), Err(BadStatement::Old { found: 6, seen: 7 }));
        assert_eq!(of(|it| it.withdrawn.clear()), Err(BadStatement::Changed(7)));
        let longer = of(|it| it.expires_at += 1);
        assert_eq!(longer, Err(BadStatement::Changed(7)));
        let other = of(|it| (it.number, it.remote) = (8, "b".into()));
        assert_eq!(other, Err(BadStatement::OtherRemote));
        assert_eq!(judge(None, Some(&seen), NOW), Err(BadStatement::Missing));
        assert_eq!(judge(None, None, NOW), Ok(()));
    }

    #[test]
    fn a_statement_is_valid_between_its_dates() {
        let found = statement(1, &[]);
        let (signed, expires) = (found.signed_at, found.expires_at);
        for (now, expected) in [
            (signed - DAY - 1, Err(BadStatement::Future(signed))),
            (signed - DAY, Ok(())),
            (expires - 1, Ok(())),
            (expires, Err(BadStatement::Expired(expires))),
            (0, Err(BadStatement::Future(signed))),
            (i64::MAX, Err(BadStatement::Expired(expires))),
            (i64::MIN, Err(BadStatement::Future(signed))),
        ] {
            assert_eq!(judge(Some(&found), None, now), expected, "{now}");
        }
    }

    #[test]
    fn a_clock_that_is_behind_makes_no_old_statement_valid() {
        let found = Statement { number: 2, ..statement(1, &[]) };
        let mut seen = statement(2, &[]);
        (seen.number, seen.signed_at) = (1, found.expires_at + 2 * DAY);
        let judged = judge(Some(&found), Some(&seen), NOW);
        assert_eq!(judged, Err(BadStatement::Expired(found.expires_at)));
    }

    #[test]
    fn statements_out_of_bounds_are_malformed() {
        let text = statement(3, &["foo", "bar"]).text();
        assert_eq!(Statement::parse(&text), Ok(statement(3, &["foo", "bar"])));
        let newer = text.replace("\"format\":1", "\"format\":2,\"more\":0");
        assert_eq!(Statement::parse(&newer), Err(BadStatement::NewerFormat(2)));
        let of = |change: &dyn Fn(&mut Statement)| {
            let mut found = statement(3, &["foo"]);
            change(&mut found);
            matches!(Statement::parse(&found.text()), Err(BadStatement::Malformed(_)))
        };
        assert!(of(&|it| it.number = MAX_NUMBER + 1));
        assert!(of(&|it| it.number = u64::MAX));
        assert!(of(&|it| it.expires_at = it.signed_at));
        assert!(of(&|it| it.expires_at = i64::MAX));
        assert!(of(&|it| (it.signed_at, it.expires_at) = (i64::MIN, i64::MAX)));
        assert!(of(&|it| it.remote.clear()));
        assert!(of(&|it| it.withdrawn = vec![it.withdrawn[0].clone(); MAX_WITHDRAWN + 1]));
        assert!(of(&|it| it.withdrawn[0].reason = "a".repeat(MAX_REASON + 1)));
        for text in ["", "{}", "[]", "{\"format\":1}", &text.replace("number", "nummer")] {
            assert!(Statement::parse(text).is_err(), "{text}");
        }
        // The longest statement that is allowed fits.
        let mut longest = statement(MAX_NUMBER, &["foo"]);
        let common = Withdrawn { reason: "a".repeat(200), ..longest.withdrawn[0].clone() };
        longest.withdrawn = vec![common; MAX_WITHDRAWN];
        let line = Signed { entry: longest.text(), signatures: Vec::new() }.line();
        assert!(line.len() < MAX_LENGTH / 2, "{}", line.len());
        assert!(signed(line.as_bytes()).is_ok());
        assert!(signed("a".repeat(MAX_LENGTH + 1).as_bytes()).is_err());
        assert!(signed(b"\xff\xfe").is_err());
    }
}
