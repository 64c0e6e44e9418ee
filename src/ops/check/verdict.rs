//! What is to be said of one file of an egg. Pure: of what was read of it, and of nothing else.

use crate::egg::bytecode::BytecodeState;
use crate::egg::diff::What;

use super::report::FindingKind;

/// What is known of one file.
#[derive(Debug, Clone, Copy, Default)]
pub struct File {
    /// In what it differs from the egg in the cache; content apart.
    pub what: Option<What>,
    /// Whether its content is that of the egg in the cache, as far as it was read; `None` if there is
    /// no such egg.
    pub is_same: Option<bool>,
    /// What it is to its source, if it is a compiled file.
    pub compiled: Option<BytecodeState>,
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
    Problem(FindingKind, &'a str),
    Note(FindingKind, &'a str),
}

/// Judges one file.
#[must_use]
pub fn judge(file: File) -> Verdict<'static> {
    use Verdict::{Compiled, Fine, Note, Problem};
    let what = file.what;
    let is_same = file.is_same != Some(false);
    match (file.compiled, what) {
        (Some(BytecodeState::Stale(why)), _) => return Problem(FindingKind::StaleBytecode, why),
        (Some(BytecodeState::Sourceless), None) if file.is_same == Some(true) => return Fine,
        (Some(BytecodeState::Sourceless), None | Some(What::Added)) => {
            return Note(FindingKind::Sourceless, "is compiled from nothing that is there");
        }
        (Some(_), Some(What::Size | What::Mtime)) if file.source_differs => return Compiled,
        (Some(_), Some(What::Added)) => return Compiled,
        _ => {}
    }
    match what {
        Some(What::Added) if file.is_bytecode => Fine,
        Some(What::Added) => Problem(FindingKind::Added, "is not part of the egg"),
        Some(What::Missing) => Problem(FindingKind::Missing, "is missing"),
        Some(What::Mtime) if is_same => {
            Note(FindingKind::Touched, "has the same content as in the cache, and another time")
        }
        Some(What::Mtime) => Problem(FindingKind::Changed, "has other content"),
        Some(What::Size) => Problem(FindingKind::Changed, "has another size"),
        Some(What::Kind) => Problem(FindingKind::Changed, "is something else than it was"),
        Some(What::Target) => Problem(FindingKind::Changed, "leads elsewhere than it did"),
        Some(What::Mode) if is_same => Problem(FindingKind::Changed, "has another mode"),
        Some(What::Mode) | None if !is_same => {
            Problem(FindingKind::Changed, "has other content, and the same size and time")
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

    fn kind(file: File) -> Option<FindingKind> {
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
            (What::Added, FindingKind::Added),
            (What::Missing, FindingKind::Missing),
            (What::Size, FindingKind::Changed),
            (What::Kind, FindingKind::Changed),
            (What::Target, FindingKind::Changed),
            (What::Mode, FindingKind::Changed),
        ] {
            assert_eq!(kind(File { what: Some(what), ..SAME }), Some(expected), "{what:?}");
        }
        let touched = File { what: Some(What::Mtime), ..SAME };
        assert!(matches!(judge(touched), Verdict::Note(FindingKind::Touched, _)));
        for what in [None, Some(What::Mtime), Some(What::Mode)] {
            let changed = File { what, is_same: Some(false), ..SAME };
            assert_eq!(kind(changed), Some(FindingKind::Changed), "{what:?}");
        }
    }

    #[test]
    fn bytecode_that_matches_its_source_may_be_added() {
        let added = File { what: Some(What::Added), is_bytecode: true, ..SAME };
        let of = |state| judge(File { compiled: Some(state), ..added });
        assert_eq!(of(BytecodeState::Matches), Verdict::Compiled);
        assert!(matches!(of(BytecodeState::Sourceless), Verdict::Note(FindingKind::Sourceless, _)));
        assert!(matches!(
            of(BytecodeState::Stale("why")),
            Verdict::Problem(FindingKind::StaleBytecode, "why")
        ));
        assert_eq!(judge(added), Verdict::Fine, "the folder that it is in");
    }

    #[test]
    fn bytecode_of_the_egg_may_change_only_with_its_source() {
        let compiled =
            File { compiled: Some(BytecodeState::Matches), what: Some(What::Size), ..SAME };
        assert_eq!(kind(compiled), Some(FindingKind::Changed));
        assert_eq!(judge(File { source_differs: true, ..compiled }), Verdict::Compiled);
        let missing = File { what: Some(What::Missing), ..SAME };
        assert_eq!(kind(missing), Some(FindingKind::Missing));
        let as_built = File { compiled: Some(BytecodeState::Sourceless), ..SAME };
        assert_eq!(judge(as_built), Verdict::Fine);
    }
}
