//! What is to be said of one file of an egg. Pure: of what was read of it, and of nothing else.

use crate::egg::bytecode::State;
use crate::egg::diff::What;

use super::report::Kind;

/// What is known of one file.
#[derive(Debug, Clone, Copy, Default)]
pub struct File {
    /// In what it differs from the egg in the cache; content apart.
    pub what: Option<What>,
    /// Whether its content is that of the egg in the cache, as far as it was read; `None` if there is
    /// no such egg.
    pub is_same: Option<bool>,
    /// What it is to its source, if it is a compiled file.
    pub compiled: Option<State>,
    /// Whether its source is not what it was.
    pub source_differs: bool,
    /// Whether it may be there although no egg has it.
    pub is_bytecode: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'a> {
    Fine,
    /// Python has compiled it since.
    Compiled,
    Problem(Kind, &'a str),
    Note(Kind, &'a str),
}

/// Judges one file.
#[must_use]
pub fn judge(file: File) -> Verdict<'static> {
    use Verdict::{Compiled, Fine, Note, Problem};
    let what = file.what;
    let is_same = file.is_same != Some(false);
    match (file.compiled, what) {
        (Some(State::Stale(why)), _) => return Problem(Kind::StaleBytecode, why),
        (Some(State::Sourceless), None) if file.is_same == Some(true) => return Fine,
        (Some(State::Sourceless), None | Some(What::Added)) => {
            return Note(Kind::Sourceless, "is compiled from nothing that is there");
        }
        (Some(_), Some(What::Size | What::Mtime)) if file.source_differs => return Compiled,
        (Some(_), Some(What::Added)) => return Compiled,
        _ => {}
    }
    match what {
        Some(What::Added) if file.is_bytecode => Fine,
        Some(What::Added) => Problem(Kind::Added, "is not part of the egg"),
        Some(What::Missing) => Problem(Kind::Missing, "is missing"),
        Some(What::Mtime) if is_same => {
            Note(Kind::Touched, "has the same content as in the cache, and another time")
        }
        Some(What::Mtime) => Problem(Kind::Changed, "has other content"),
        Some(What::Size) => Problem(Kind::Changed, "has another size"),
        Some(What::Kind) => Problem(Kind::Changed, "is something else than it was"),
        Some(What::Target) => Problem(Kind::Changed, "leads elsewhere than it did"),
        Some(What::Mode) if is_same => Problem(Kind::Changed, "has another mode"),
        Some(What::Mode) | None if !is_same => {
            Problem(Kind::Changed, "has other content, and the same size and time")
        }
        Some(What::Mode) | None => Fine,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAME: File = File {
        what: None,
        is_same: Some(true),
        compiled: None,
        source_differs: false,
        is_bytecode: false,
    };

    fn kind(file: File) -> Option<Kind> {
        match judge(file) {
            Verdict::Problem(kind, _) => Some(kind),
            Verdict::Note(kind, _) => panic!("a note: {kind:?}"),
            _ => None,
        }
    }

    #[test]
    fn every_difference_but_the_time_is_a_problem() {
        assert_eq!(judge(SAME), Verdict::Fine);
        for (what, expected) in [
            (What::Added, Kind::Added),
            (What::Missing, Kind::Missing),
            (What::Size, Kind::Changed),
            (What::Kind, Kind::Changed),
            (What::Target, Kind::Changed),
            (What::Mode, Kind::Changed),
        ] {
            assert_eq!(kind(File { what: Some(what), ..SAME }), Some(expected), "{what:?}");
        }
        let touched = File { what: Some(What::Mtime), ..SAME };
        assert!(matches!(judge(touched), Verdict::Note(Kind::Touched, _)));
        for what in [None, Some(What::Mtime), Some(What::Mode)] {
            let changed = File { what, is_same: Some(false), ..SAME };
            assert_eq!(kind(changed), Some(Kind::Changed), "{what:?}");
        }
    }

    #[test]
    fn bytecode_that_matches_its_source_may_be_added() {
        let added = File { what: Some(What::Added), is_bytecode: true, ..SAME };
        let of = |state| judge(File { compiled: Some(state), ..added });
        assert_eq!(of(State::Matches), Verdict::Compiled);
        assert!(matches!(of(State::Sourceless), Verdict::Note(Kind::Sourceless, _)));
        assert!(matches!(of(State::Stale("why")), Verdict::Problem(Kind::StaleBytecode, "why")));
        assert_eq!(judge(added), Verdict::Fine, "the folder that it is in");
    }

    #[test]
    fn bytecode_of_the_egg_may_change_only_with_its_source() {
        let compiled = File { compiled: Some(State::Matches), what: Some(What::Size), ..SAME };
        assert_eq!(kind(compiled), Some(Kind::Changed));
        assert_eq!(judge(File { source_differs: true, ..compiled }), Verdict::Compiled);
        let missing = File { what: Some(What::Missing), ..SAME };
        assert_eq!(kind(missing), Some(Kind::Missing));
        let as_built = File { compiled: Some(State::Sourceless), ..SAME };
        assert_eq!(judge(as_built), Verdict::Fine);
    }
}
