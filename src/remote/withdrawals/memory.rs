//! What is remembered of the statements of one remote. Pure.
//!
//! A statement counts as long as enough of the keys that have signed it are trusted. So a thief who has
//! signed a high number with a stolen key blocks nothing once that key is not trusted any more. Nor must
//! that end what others have withdrawn before: an older statement is kept as long as no newer one has all
//! of its signers, and is in force again when no newer one counts.
//!
//! An authentic statement that is not known to be newer or older than those, because it is of another
//! remote or from the future, takes the place of none and only adds what it withdraws.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::statement::{self, BadStatement, Checked, Statement, Withdrawn};
use crate::remote::config::Remote;
use crate::remote::entry::{MAX_SIGNATURES, Signed};
use crate::remote::keys::{Trusted, shown_id};
use crate::util::hash::digest::Digest;

/// Most statements of each kind.
const MOST: usize = 16;
/// Most bytes of all of them, besides the newest one.
const MOST_BYTES: usize = 8 * statement::MAX_LENGTH;

/// All that is remembered of one remote.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// The newest one first.
    statements: Vec<Kept>,
    /// Those that only add what they withdraw, in the order in which they came.
    additions: Vec<Kept>,
}

/// An authentic statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// The trusted keys that have signed it, in base64.
    signed_by: Vec<String>,
    /// All its signatures. One of them can be by a key that is trusted only later.
    signatures: Vec<String>,
    statement: Statement,
}

impl Memory {
    /// The newest statement that counts. That the trust in a key has ended on its date, or is limited to
    /// projects since, does not bring back what was withdrawn before.
    #[must_use]
    pub fn newest(&self, remote: &Remote) -> Option<&Statement> {
        self.statements.iter().find(|it| it.counts(remote)).map(|it| &it.statement)
    }

    /// All builds that are withdrawn: those of the newest statement first.
    #[must_use]
    pub fn withdrawn(&self, remote: &Remote) -> Vec<&Withdrawn> {
        let added = self.additions.iter().filter(|it| it.counts(remote)).map(|it| &it.statement);
        distinct(self.newest(remote).into_iter().chain(added))
    }

    /// As [`Memory::withdrawn`], for a remote whose keys are not known: those of all statements.
    #[must_use]
    pub fn all_withdrawn(&self) -> Vec<&Withdrawn> {
        distinct(self.all().map(|it| &it.statement))
    }

    /// The identifier of the remote, signed by any key.
    #[must_use]
    pub fn remote_id(&self) -> Option<&str> {
        self.all().next().map(|it| it.statement.remote.as_str())
    }

    /// The largest number of a statement of this identifier that counts, and of any at all.
    #[must_use]
    pub fn largest_numbers(&self, remote: &Remote, id: &str) -> (Option<u64>, Option<u64>) {
        let of_id = || self.all().filter(|it| it.statement.remote == id);
        let counting = of_id().filter(|it| it.counts(remote)).map(|it| it.statement.number).max();
        (counting, of_id().map(|it| it.statement.number).max())
    }

    /// Judges what a remote has now, and remembers it unless it is old. A statement that is known already
    /// can have more signatures.
    pub fn learn(
        &mut self,
        remote: &Remote,
        found: Option<&Checked>,
        now: i64,
    ) -> Result<(), BadStatement> {
        let judged = statement::judge(found.map(|it| &it.statement), self.newest(remote), now);
        let Some(found) = found else { return judged };
        let kept = Kept::new(found);
        match judged {
            // An expired statement is newer than what was seen all the same.
            Ok(()) | Err(BadStatement::Expired(_)) => {
                put(&mut self.statements, kept, 0);
            }
            Err(BadStatement::Future(_) | BadStatement::OtherRemote | BadStatement::Changed(_))
                if !kept.statement.withdrawn.is_empty() =>
            {
                let end = self.additions.len();
                put(&mut self.additions, kept, end);
            }
            Err(_) => return judged,
        }
        self.prune(remote);
        judged
    }

    fn all(&self) -> impl Iterator<Item = &Kept> {
        self.statements.iter().chain(&self.additions)
    }

    /// Forgets statements without a trusted signer, and those that newer ones make superfluous.
    fn prune(&mut self, remote: &Remote) {
        let mut room = MOST_BYTES;
        let mut statements: Vec<Kept> = Vec::new();
        for it in std::mem::take(&mut self.statements) {
            let signers = it.signers(remote);
            let is_covered = statements.iter().any(|newer| newer.has_signers(&signers));
            // The newest one has room in any case.
            let mut fits =
                || statements.is_empty() || (statements.len() < MOST && it.takes(&mut room));
            if !signers.is_empty() && !is_covered && fits() {
                statements.push(it);
            }
        }
        let mut additions: Vec<Kept> = Vec::new();
        for it in std::mem::take(&mut self.additions).into_iter().rev() {
            let signers = it.signers(remote);
            let is_superfluous = |newer: &Kept| newer.replaces(&it) && newer.has_signers(&signers);
            if !signers.is_empty()
                && !statements.first().is_some_and(is_superfluous)
                && !additions.iter().any(is_superfluous)
                && additions.len() < MOST
                && it.takes(&mut room)
            {
                additions.push(it);
            }
        }
        additions.reverse();
        *self = Self { statements, additions };
    }
}

impl Kept {
    fn new(found: &Checked) -> Self {
        let Checked { statement, signed_by, signatures } = found.clone();
        Self { signed_by, signatures, statement }
    }

    /// The keys that are trusted now and have signed it, in base64.
    fn signers<'a>(&'a self, remote: &'a Remote) -> Vec<&'a str> {
        let has_signed = |key: &&Trusted| self.signed_by.contains(&key.key) || self.is_by(key);
        remote.trusted.iter().filter(has_signed).map(|key| key.key.as_str()).collect()
    }

    /// Whether a key has signed it that was not trusted when it was read.
    fn is_by(&self, key: &Trusted) -> bool {
        let Ok(id) = key.id() else { return false };
        let is_its = |text: &&String| {
            minisign::SignatureBox::from_string(text).is_ok_and(|it| shown_id(it.keynum()) == id)
        };
        let signatures: Vec<String> = self.signatures.iter().filter(is_its).cloned().collect();
        if signatures.is_empty() {
            return false;
        }
        let signed = Signed { entry: self.statement.text(), signatures };
        !statement::all_signers(&signed, std::slice::from_ref(key), i64::MIN).is_empty()
    }

    fn counts(&self, remote: &Remote) -> bool {
        let counted = self.signers(remote).len();
        counted > 0 && counted >= remote.signatures_needed
    }

    fn has_signers(&self, keys: &[&str]) -> bool {
        keys.iter().all(|key| self.signed_by.iter().any(|it| it == key))
    }

    /// Whether it is newer than an addition, or withdraws all that this one does.
    fn replaces(&self, addition: &Self) -> bool {
        let (newer, older) = (&self.statement, &addition.statement);
        let has = |egg: Digest| newer.withdrawn.iter().any(|it| it.egg == egg);
        (newer.remote == older.remote && newer.number > older.number)
            || older.withdrawn.iter().all(|it| has(it.egg))
    }

    /// Takes its bytes from the room that is left, if it fits.
    fn takes(&self, room: &mut usize) -> bool {
        let bytes =
            self.signatures.iter().fold(self.statement.text().len(), |sum, it| sum + it.len());
        let left = room.checked_sub(bytes);
        *room = left.unwrap_or(*room);
        left.is_some()
    }

    fn add_signatures_of(&mut self, other: Self) {
        for key in other.signed_by {
            if !self.signed_by.contains(&key) {
                self.signed_by.push(key);
            }
        }
        for signature in other.signatures {
            if !self.signatures.contains(&signature) && self.signatures.len() < MAX_SIGNATURES {
                self.signatures.push(signature);
            }
        }
    }
}

/// Puts a statement at this place, with the signatures that are known of it already.
fn put(statements: &mut Vec<Kept>, mut kept: Kept, at: usize) {
    if let Some(same) = statements.iter().position(|it| it.statement == kept.statement) {
        kept.add_signatures_of(statements.remove(same));
    }
    statements.insert(at.min(statements.len()), kept);
}

/// The builds that statements withdraw, each once.
fn distinct<'a>(statements: impl Iterator<Item = &'a Statement>) -> Vec<&'a Withdrawn> {
    let mut seen = HashSet::new();
    statements.flat_map(|it| &it.withdrawn).filter(|it| seen.insert(it.egg)).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::statement::tests::statement;
    use super::*;

    const NOW: i64 = 1_800_000_000;
    const DAY: i64 = 86_400;

    /// A remote that trusts these keys.
    pub fn remote(keys: &[&str], needed: usize) -> Remote {
        let trusted = keys.iter().map(|&key| Trusted::new(key.into())).collect();
        Remote { trusted, signatures_needed: needed, ..Remote::new("team", "/pool").unwrap() }
    }

    pub fn checked(statement: Statement, keys: &[&str]) -> Checked {
        let signed_by = keys.iter().map(|&key| key.to_owned()).collect();
        Checked { statement, signed_by, signatures: Vec::new() }
    }

    /// Learns a list with this number, these keys and these eggs.
    fn learn(memory: &mut Memory, number: u64, keys: &[&str], eggs: &[&str]) {
        let found = checked(statement(number, eggs), keys);
        memory.learn(&remote(&["a", "b", "c"], 1), Some(&found), NOW).unwrap();
    }

    fn names(memory: &Memory, remote: &Remote) -> Vec<String> {
        memory.withdrawn(remote).into_iter().map(|it| it.name.clone()).collect()
    }

    #[test]
    fn an_older_list_is_in_force_again_when_the_newer_signers_are_not_trusted() {
        let mut memory = Memory::default();
        learn(&mut memory, 1, &["a"], &["foo"]);
        learn(&mut memory, 2, &["b"], &["foo", "bar"]);
        learn(&mut memory, 3, &["b"], &[]);
        assert_eq!(names(&memory, &remote(&["a", "b"], 1)), [""; 0]);
        assert_eq!(names(&memory, &remote(&["a"], 1)), ["foo"]);
        assert_eq!(names(&memory, &remote(&["c"], 1)), [""; 0]);
        assert_eq!(memory.statements.len(), 2, "the second list is covered by the third");
        learn(&mut memory, 4, &["a", "b"], &["bar"]);
        assert_eq!(memory.statements.len(), 1);
    }

    #[test]
    fn more_signatures_of_a_known_list_are_added() {
        let mut memory = Memory::default();
        learn(&mut memory, 1, &["a"], &["foo"]);
        learn(&mut memory, 1, &["b"], &["foo"]);
        learn(&mut memory, 1, &["c"], &["foo"]);
        assert_eq!(memory.statements.len(), 1);
        for key in ["a", "b", "c"] {
            assert_eq!(names(&memory, &remote(&[key], 1)), ["foo"], "{key}");
        }
        assert_eq!(names(&memory, &remote(&["a", "b"], 3)), [""; 0]);
    }

    #[test]
    fn of_several_keys_every_combination_keeps_its_list() {
        let mut memory = Memory::default();
        learn(&mut memory, 1, &["a", "b"], &["foo"]);
        learn(&mut memory, 2, &["b", "c"], &["bar"]);
        learn(&mut memory, 3, &["c", "a"], &["baz"]);
        assert_eq!(names(&memory, &remote(&["a", "b"], 2)), ["foo"]);
        assert_eq!(names(&memory, &remote(&["b", "c"], 2)), ["bar"]);
        assert_eq!(names(&memory, &remote(&["a", "b", "c"], 2)), ["baz"]);
    }

    #[test]
    fn a_limited_or_ended_trust_brings_nothing_back() {
        let mut memory = Memory::default();
        learn(&mut memory, 1, &["a"], &["foo"]);
        let mut limited = remote(&["a"], 1);
        limited.trusted[0].projects = vec!["acme".into()];
        assert_eq!(names(&memory, &limited), ["foo"]);
        limited.trusted[0].until = Some(1);
        assert_eq!(names(&memory, &limited), ["foo"]);
    }

    #[test]
    fn a_list_of_another_remote_or_of_the_future_only_adds() {
        let team = remote(&["a"], 1);
        let mut memory = Memory::default();
        learn(&mut memory, 5, &["a"], &["foo"]);
        let other = Statement { remote: "b".into(), ..statement(9, &["bar"]) };
        let judged = memory.learn(&team, Some(&checked(other, &["a"])), NOW);
        assert_eq!(judged, Err(BadStatement::OtherRemote));
        let mut future = statement(6, &["baz"]);
        future.signed_at += 2 * DAY;
        let judged = memory.learn(&team, Some(&checked(future.clone(), &["a"])), NOW);
        assert_eq!(judged, Err(BadStatement::Future(future.signed_at)));
        assert_eq!(names(&memory, &team), ["foo", "bar", "baz"]);
        // A newer list ends the one from the future, and that of the other remote only with all of it.
        learn(&mut memory, 7, &["a"], &[]);
        assert_eq!(names(&memory, &team), ["bar"]);
        learn(&mut memory, 8, &["a"], &["bar"]);
        learn(&mut memory, 9, &["a"], &[]);
        assert_eq!(names(&memory, &team), [""; 0]);
        // An old list adds nothing.
        let old = checked(statement(5, &["foo"]), &["a"]);
        assert_eq!(
            memory.learn(&team, Some(&old), NOW),
            Err(BadStatement::Old { found: 5, seen: 9 })
        );
        assert_eq!(names(&memory, &team), [""; 0]);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut memory = Memory::default();
        let team = remote(&["a"], 1);
        learn(&mut memory, 1, &["a"], &["foo"]);
        for number in 0..20 {
            let remote = format!("remote{number}");
            let mut other = Statement { remote, ..statement(1, &[&format!("egg{number}")]) };
            let reason = "a".repeat(statement::MAX_REASON);
            let common = Withdrawn { reason, ..other.withdrawn[0].clone() };
            let mut egg = 0;
            other.withdrawn.resize_with(statement::MAX_WITHDRAWN, || {
                egg += 1;
                let egg = Digest::of(format!("{number} {egg}").as_bytes());
                Withdrawn { egg, ..common.clone() }
            });
            memory.learn(&team, Some(&checked(other, &["a"])), NOW).unwrap_err();
        }
        assert!(memory.additions.len() <= MOST);
        let text = serde_json::to_string_pretty(&memory).unwrap();
        assert!(text.len() < 16 << 20, "{}", text.len());
        assert_eq!(memory.newest(&team), Some(&statement(1, &["foo"])));
    }
}
