//! The verdict on one file of an egg. Pure: it depends on the facts about the file and on nothing else.

use crate::egg::bytecode::BytecodeState;
use crate::egg::diff::DifferenceKind;

use super::report::FindingKind;

/// The facts about one file.
#[derive(Debug, Clone, Copy, Default)]
pub struct FileFacts {
    /// How it differs from the egg in the cache, content aside.
    pub difference: Option<DifferenceKind>,
    /// Whether its content is that of the egg in the cache, as far as it was read; `None` if there is
    /// no such egg.
    pub is_same: Option<bool>,
    /// How it relates to its source, if it is a compiled file.
    pub bytecode: Option<BytecodeState>,
    /// Whether its source differs from the egg in the cache.
    pub source_differs: bool,
    /// Whether Python adds such files to an egg.
    pub may_be_added: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileVerdict<'a> {
    Unchanged,
    /// Python has compiled it after the installation, and it matches its source.
    NewBytecode,
    Problem(FindingKind, &'a str),
    Note(FindingKind, &'a str),
}

/// Judges one file.
#[must_use]
pub fn judge(file: FileFacts) -> FileVerdict<'static> {
    judge_bytecode(file).unwrap_or_else(|| judge_difference(file))
}

/// The verdict on a compiled file, if its source decides it.
fn judge_bytecode(file: FileFacts) -> Option<FileVerdict<'static>> {
    use FileVerdict::{NewBytecode, Note, Problem, Unchanged};
    match (file.bytecode?, file.difference) {
        (BytecodeState::Stale(why), _) => Some(Problem(FindingKind::StaleBytecode, why)),
        (BytecodeState::Sourceless, None) if file.is_same == Some(true) => Some(Unchanged),
        (BytecodeState::Sourceless, None | Some(DifferenceKind::Added)) => {
            Some(Note(FindingKind::Sourceless, "compiled file without a source"))
        }
        (_, Some(DifferenceKind::Size | DifferenceKind::Mtime)) if file.source_differs => {
            Some(NewBytecode)
        }
        (_, Some(DifferenceKind::Added)) => Some(NewBytecode),
        _ => None,
    }
}

fn judge_difference(file: FileFacts) -> FileVerdict<'static> {
    use FileVerdict::{Note, Problem, Unchanged};
    let is_same = file.is_same != Some(false);
    match file.difference {
        Some(DifferenceKind::Added) if file.may_be_added => Unchanged,
        Some(DifferenceKind::Added) => Problem(FindingKind::Added, "not part of the egg"),
        Some(DifferenceKind::Missing) => Problem(FindingKind::Missing, "missing"),
        Some(DifferenceKind::Mtime) if is_same => {
            Note(FindingKind::Touched, "same content, different mtime")
        }
        Some(DifferenceKind::Mtime) => Problem(FindingKind::Changed, "different content"),
        Some(DifferenceKind::Size) => Problem(FindingKind::Changed, "different size"),
        Some(DifferenceKind::Kind) => Problem(FindingKind::Changed, "different file type"),
        Some(DifferenceKind::Target) => Problem(FindingKind::Changed, "different symlink target"),
        Some(DifferenceKind::Mode) if is_same => Problem(FindingKind::Changed, "different mode"),
        Some(DifferenceKind::Mode) | None if !is_same => {
            Problem(FindingKind::Changed, "different content, same size and mtime")
        }
        Some(DifferenceKind::Mode) | None => Unchanged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAME: FileFacts = FileFacts {
        difference: None,
        is_same: Some(true),
        bytecode: None,
        source_differs: false,
        may_be_added: false,
    };

    fn kind(file: FileFacts) -> Option<FindingKind> {
        match judge(file) {
            FileVerdict::Problem(kind, _) => Some(kind),
            FileVerdict::Note(kind, _) => panic!("a note: {kind:?}"),
            _ => None,
        }
    }

    #[test]
    fn every_difference_but_the_mtime_is_a_problem() {
        assert_eq!(judge(SAME), FileVerdict::Unchanged);
        for (difference, expected) in [
            (DifferenceKind::Added, FindingKind::Added),
            (DifferenceKind::Missing, FindingKind::Missing),
            (DifferenceKind::Size, FindingKind::Changed),
            (DifferenceKind::Kind, FindingKind::Changed),
            (DifferenceKind::Target, FindingKind::Changed),
            (DifferenceKind::Mode, FindingKind::Changed),
        ] {
            let file = FileFacts { difference: Some(difference), ..SAME };
            assert_eq!(kind(file), Some(expected), "{difference:?}");
        }
        let touched = FileFacts { difference: Some(DifferenceKind::Mtime), ..SAME };
        assert!(matches!(judge(touched), FileVerdict::Note(FindingKind::Touched, _)));
        for difference in [None, Some(DifferenceKind::Mtime), Some(DifferenceKind::Mode)] {
            let changed = FileFacts { difference, is_same: Some(false), ..SAME };
            assert_eq!(kind(changed), Some(FindingKind::Changed), "{difference:?}");
        }
    }

    #[test]
    fn bytecode_that_matches_its_source_may_be_added() {
        let added =
            FileFacts { difference: Some(DifferenceKind::Added), may_be_added: true, ..SAME };
        let of = |state| judge(FileFacts { bytecode: Some(state), ..added });
        assert_eq!(of(BytecodeState::Matches), FileVerdict::NewBytecode);
        assert!(matches!(
            of(BytecodeState::Sourceless),
            FileVerdict::Note(FindingKind::Sourceless, _)
        ));
        assert_eq!(
            of(BytecodeState::Stale("why")),
            FileVerdict::Problem(FindingKind::StaleBytecode, "why")
        );
        assert_eq!(judge(added), FileVerdict::Unchanged, "a folder __pycache__");
    }

    #[test]
    fn bytecode_of_the_egg_may_change_only_with_its_source() {
        let bytecode = Some(BytecodeState::Matches);
        let changed = FileFacts { bytecode, difference: Some(DifferenceKind::Size), ..SAME };
        assert_eq!(kind(changed), Some(FindingKind::Changed));
        let recompiled = FileFacts { source_differs: true, ..changed };
        assert_eq!(judge(recompiled), FileVerdict::NewBytecode);
        let missing = FileFacts { difference: Some(DifferenceKind::Missing), ..SAME };
        assert_eq!(kind(missing), Some(FindingKind::Missing));
        let as_built = FileFacts { bytecode: Some(BytecodeState::Sourceless), ..SAME };
        assert_eq!(judge(as_built), FileVerdict::Unchanged);
    }
}
