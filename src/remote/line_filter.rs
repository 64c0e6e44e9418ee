//! Which lines of a list or a set a reader keeps in memory.
//!
//! Anybody may have written a list, and a mirror needs no key. So signatures are checked while lines
//! arrive, and a line is kept only if trusted keys have signed it. Of all other lines a few are kept, so
//! that a reader who wants one of them learns why it is not used. Both have a bound for all lists of a
//! remote together. A list that exceeds a bound is cut there, and the other lists work.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::egg::key::EggKey;
use crate::remote::entry::{BadEntry, RemoteEntry, Signed};
use crate::util::hash::digest::Digest;
use crate::util::units::shown_limit;

/// Most bytes of the valid lines of all lists and sets of a remote: about fifty thousand entries.
const MAX_VALID: usize = 64 << 20;
/// Most bytes of the other lines that are kept.
const MAX_REFUSED: usize = 1 << 20;
/// Most signatures of one list, and of all lists, that are wrong. Each takes a while to check, beside valid
/// ones too.
const MOST_FORGED: usize = 100;
const MOST_FORGED_IN_ALL: usize = 1000;

/// A line whose entry can be parsed.
pub type Line = (RemoteEntry, Signed);

/// What is used up by all lists and sets of one remote.
#[derive(Debug, Default)]
pub struct Room {
    /// Bytes that are kept.
    valid: AtomicUsize,
    refused: AtomicUsize,
    /// Signatures that are wrong.
    forged: AtomicUsize,
}

impl Room {
    /// Takes room, if there is some left.
    fn take(used: &AtomicUsize, bytes: usize, most: usize) -> bool {
        let take = |used: usize| (used + bytes <= most).then_some(used + bytes);
        used.try_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

/// Checks the signatures of a line, and counts the wrong ones.
type Verify<'a> = dyn Fn(&Signed) -> (Result<(), BadEntry>, usize) + 'a;

/// The lines of one list, while it arrives.
pub struct LineFilter<'a> {
    room: &'a Room,
    verify: &'a Verify<'a>,
    /// Whether an entry belongs in this list.
    belongs: &'a dyn Fn(&EggKey) -> bool,
    kept: Vec<Line>,
    /// The keys of valid lines. Of several lines of one key, the first counts.
    keys: HashSet<EggKey>,
    /// The lines that are not valid.
    refused: HashSet<Digest>,
    /// The signed texts of those that a trusted key has signed.
    incomplete: HashSet<Digest>,
    forged: usize,
    has_lines: bool,
    excess: Option<String>,
}

/// What is kept of a list.
pub struct Filtered {
    pub lines: Vec<Line>,
    /// Whether a line has the form of an entry, of any format.
    pub has_lines: bool,
    /// Why the list was cut, if it was.
    pub excess: Option<String>,
}

impl<'a> LineFilter<'a> {
    pub fn new(
        room: &'a Room,
        verify: &'a Verify<'a>,
        belongs: &'a dyn Fn(&EggKey) -> bool,
    ) -> Self {
        Self {
            room,
            verify,
            belongs,
            kept: Vec::new(),
            keys: HashSet::new(),
            refused: HashSet::new(),
            incomplete: HashSet::new(),
            forged: 0,
            has_lines: false,
            excess: None,
        }
    }

    /// Takes the next line. Breaks off at a bound.
    pub fn line(&mut self, line: &str) -> ControlFlow<()> {
        let Ok(signed) = Signed::parse(line) else { return ControlFlow::Continue(()) };
        self.has_lines = true;
        // A newer eggcache may have written an entry that this one cannot parse.
        let Ok(entry) = signed.unchecked() else { return ControlFlow::Continue(()) };
        if !(self.belongs)(&entry.key) || self.keys.contains(&entry.key) {
            return ControlFlow::Continue(());
        }
        let digest = Digest::of(line.as_bytes());
        if self.refused.contains(&digest) {
            return ControlFlow::Continue(());
        }
        let (checked, wrong) = (self.verify)(&signed);
        let kept = match checked {
            Ok(()) => self.keep_valid(entry, signed, line.len()),
            Err(bad) => {
                self.refused.insert(digest);
                let again = self.is_repeated(&signed, &bad);
                self.keep_refused(entry, signed, line.len());
                self.forged += usize::from(again);
                ControlFlow::Continue(())
            }
        };
        self.forged += wrong;
        let in_all = self.room.forged.fetch_add(wrong, Ordering::Relaxed) + wrong;
        if kept.is_continue() && self.forged > MOST_FORGED {
            return self
                .cut(format!("more than {MOST_FORGED} of its signatures are wrong or repeated"));
        }
        if kept.is_continue() && wrong > 0 && in_all > MOST_FORGED_IN_ALL {
            let most = MOST_FORGED_IN_ALL;
            return self
                .cut(format!("more than {most} signatures in the lists of the remote are wrong"));
        }
        kept
    }

    /// Whether an earlier line has the same text, which a trusted key has signed: the same signature was
    /// checked again.
    fn is_repeated(&mut self, signed: &Signed, bad: &BadEntry) -> bool {
        let is_signed =
            matches!(bad, BadEntry::TooFewSignatures { .. } | BadEntry::OtherProject(_));
        is_signed && !self.incomplete.insert(Digest::of(signed.entry.as_bytes()))
    }

    fn keep_valid(&mut self, entry: RemoteEntry, signed: Signed, bytes: usize) -> ControlFlow<()> {
        if !Room::take(&self.room.valid, bytes, MAX_VALID) {
            let limit = shown_limit(MAX_VALID as u64);
            return self.cut(format!("the remote has lists of more than {limit}"));
        }
        self.keys.insert(entry.key.clone());
        self.kept.push((entry, signed));
        ControlFlow::Continue(())
    }

    fn keep_refused(&mut self, entry: RemoteEntry, signed: Signed, bytes: usize) {
        if Room::take(&self.room.refused, bytes, MAX_REFUSED) {
            self.kept.push((entry, signed));
        }
    }

    fn cut(&mut self, reason: String) -> ControlFlow<()> {
        self.excess = Some(reason);
        ControlFlow::Break(())
    }

    pub fn end(self) -> Filtered {
        let Self { kept: lines, has_lines, excess, .. } = self;
        Filtered { lines, has_lines, excess }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::entry::tests::entry;

    /// A line for a version, which is valid if it is signed by `good`.
    fn line(version: &str, signature: &str, padding: usize) -> String {
        let mut entry = entry();
        entry.key.version = version.into();
        entry.file_name = format!("{}foo-1.0-py3.11.egg", "f".repeat(padding));
        Signed { entry: entry.text(), signatures: vec![signature.into()] }.line()
    }

    fn verify(signed: &Signed) -> (Result<(), BadEntry>, usize) {
        match signed.signatures[0].as_str() {
            "good" => (Ok(()), 0),
            "good beside wrong" => (Ok(()), 15),
            "unknown" => (Err(BadEntry::UnknownKey("1".into())), 0),
            "1 of 2" => (Err(BadEntry::TooFewSignatures { counted: 1, needed: 2 }), 0),
            "1 of 2 beside wrong" => {
                (Err(BadEntry::TooFewSignatures { counted: 1, needed: 2 }), 15)
            }
            _ => (Err(BadEntry::WrongSignature("1".into())), 1),
        }
    }

    fn filtered(room: &Room, lines: impl IntoIterator<Item = String>) -> Filtered {
        let belongs = |key: &EggKey| key.name == "foo" && key.version != "9";
        let mut filter = LineFilter::new(room, &verify, &belongs);
        for line in lines {
            if filter.line(&line).is_break() {
                break;
            }
        }
        filter.end()
    }

    fn versions(filtered: &Filtered) -> Vec<&str> {
        filtered.lines.iter().map(|(entry, _)| entry.key.version.as_str()).collect()
    }

    #[test]
    fn valid_lines_and_a_few_others_are_kept() {
        let room = Room::default();
        let lines = ["1", "2", "1", "9"].map(|version| line(version, "good", 0));
        let found = filtered(&room, lines.into_iter().chain([line("3", "unknown", 0)]));
        assert_eq!(versions(&found), ["1", "2", "3"]);
        assert!(found.has_lines && found.excess.is_none());
        let nothing = filtered(&room, ["<html>".to_owned(), String::new()]);
        assert!(!nothing.has_lines && nothing.lines.is_empty());
    }

    #[test]
    fn lines_without_a_trusted_signature_have_a_bound_of_their_own() {
        let room = Room::default();
        let unknown = (0..1000).map(|version| line(&version.to_string(), "unknown", 10_000));
        let found = filtered(&room, unknown.chain([line("good", "good", 0)]));
        assert!((90..110).contains(&found.lines.len()), "{}", found.lines.len());
        assert_eq!(versions(&found).last(), Some(&"good"));
        assert_eq!(found.excess, None);
    }

    #[test]
    fn a_list_of_wrong_signatures_is_cut() {
        let room = Room::default();
        let repeated = (0..1000).map(|_| line("1", "wrong", 0));
        assert_eq!(filtered(&room, repeated).excess, None, "it is checked once");
        let wrong = (0..1000).map(|version| line(&version.to_string(), "wrong", 0));
        let found = filtered(&room, [line("good", "good", 0)].into_iter().chain(wrong));
        assert!(found.excess.unwrap().contains("signatures are wrong"));
        assert_eq!(found.lines[0].0.key.version, "good");
    }

    /// The wrong signatures in these lines may be beside valid ones.
    #[test]
    fn wrong_signatures_are_bounded_however_they_are_distributed() {
        for signature in ["good beside wrong", "1 of 2 beside wrong"] {
            let room = Room::default();
            let lines = (0..1000).map(|version| line(&version.to_string(), signature, 0));
            let found = filtered(&room, lines);
            assert!(found.excess.unwrap().contains("signatures are wrong"));
            assert!(found.lines.len() < 10, "{}", found.lines.len());
        }
        let waiting = (0..1000).map(|version| line(&version.to_string(), "1 of 2", 0));
        assert_eq!(filtered(&Room::default(), waiting).excess, None);
        // One signature, as many lines with it.
        let repeated = (0..1000).map(|number| line("1", "1 of 2", 0) + &" ".repeat(number));
        assert!(filtered(&Room::default(), repeated).excess.is_some());
    }

    #[test]
    fn the_wrong_signatures_of_all_lists_have_a_bound() {
        let room = Room::default();
        let list = |from: usize| (from..from + 90).map(|it| line(&it.to_string(), "wrong", 0));
        let cut = |number: usize| filtered(&room, list(90 * number)).excess.is_some();
        let cut: Vec<bool> = (0..20).map(cut).collect();
        assert!(!cut[..10].contains(&true) && !cut[12..].contains(&false), "{cut:?}");
    }

    #[test]
    fn all_lists_of_a_remote_have_one_bound() {
        let room = Room::default();
        let list = |from: usize| {
            (from..from + 400).map(|version| line(&version.to_string(), "good", 50_000))
        };
        let all: Vec<Filtered> = (0..5).map(|number| filtered(&room, list(400 * number))).collect();
        let kept: usize = all.iter().map(|it| it.lines.len()).sum();
        assert!((1200..1400).contains(&kept), "{kept}");
        assert!(all[0].excess.is_none() && all[4].excess.is_some());
    }
}
