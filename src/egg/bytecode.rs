//! Compiled Python files, and whether one matches its source.
//!
//! The header has a magic number, flags, then the mtime and size of the source or a hash of it
//! (PEP 552). Python before 3.7 has no flags, before 3.3 no size. Python compares exactly these: it
//! uses a file that matches, and compiles any other again, at every start if it cannot write it.

use crate::egg::manifest::Mtime;

/// The length of the longest header, in bytes.
pub const HEADER: usize = 16;

/// How a compiled file relates to its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BytecodeState {
    Matches,
    /// There is no source to compare with.
    Sourceless,
    Stale(&'static str),
}

/// Whether Python adds this path to an egg in use: a compiled file, or the directory for them.
#[must_use]
pub fn is_bytecode(path: &str) -> bool {
    path.ends_with(".pyc") || path == "__pycache__" || path.ends_with("/__pycache__")
}

/// As [`is_bytecode`], and also everything else in a `__pycache__`, and the `.pyo` files of old Pythons:
/// all that a release does not need.
#[must_use]
pub fn is_python_output(path: &str) -> bool {
    path.split('/').any(|name| name == "__pycache__") || source_of(path).is_some()
}

/// The source of the compiled file at `path`, both relative to the same folder (PEP 3147); `None` if
/// it is not a compiled file.
#[must_use]
pub fn source_of(path: &str) -> Option<String> {
    let stem = path.strip_suffix(".pyc").or_else(|| path.strip_suffix(".pyo"))?;
    let (folder, name) = stem.rsplit_once('/').unwrap_or(("", stem));
    let (folder, name) = match folder.rsplit_once('/') {
        Some((above, "__pycache__")) => (above, without_tag(name)),
        None if folder == "__pycache__" => ("", without_tag(name)),
        _ => (folder, name),
    };
    let slash = if folder.is_empty() { "" } else { "/" };
    (!name.is_empty()).then(|| format!("{folder}{slash}{name}.py"))
}

/// Reduces `a.b.cpython-311` or `a.b.cpython-311.opt-1` to `a.b`.
fn without_tag(name: &str) -> &str {
    let name = match name.rsplit_once('.') {
        Some((name, level)) if level.starts_with("opt-") => name,
        _ => name,
    };
    name.rsplit_once('.').map_or(name, |(name, _)| name)
}

/// Compares the header of a compiled file with the mtime and size of its source.
#[must_use]
pub fn state(path: &str, head: &[u8], source: Option<(Mtime, u64)>) -> BytecodeState {
    let field = |at: usize| {
        let bytes = head.get(at..at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    let Some(magic) = field(0) else { return BytecodeState::Stale("cut off") };
    if magic >> 16 != 0x0a0d {
        return BytecodeState::Stale("not compiled Python");
    }
    let magic = magic & 0xffff;
    if tagged_minor(path).is_some_and(|minor| magic_minor(magic).is_some_and(|it| it != minor)) {
        return BytecodeState::Stale("compiled for another Python than its name says");
    }
    let (mtime, size) = match magic {
        // PyPy 3 counts from small numbers, GraalPy from 21,000; Python 2 from 50,000.
        3392..50_000 | 0..1000 => match field(4) {
            Some(0) => (field(8), Some(field(12))),
            // A hash of the source: Python checks it itself, or never.
            Some(1 | 3) if head.len() >= HEADER => {
                return source.map_or(BytecodeState::Sourceless, |_| BytecodeState::Matches);
            }
            Some(1 | 3) | None => return BytecodeState::Stale("cut off"),
            Some(_) => return BytecodeState::Stale("unknown flags in its header"),
        },
        3000..3392 => (field(4), Some(field(8))),
        _ => (field(4), None),
    };
    let (Some(mtime), Some(size)) = (mtime, size.map_or(Some(None), |size| size.map(Some))) else {
        return BytecodeState::Stale("cut off");
    };
    match source {
        None => BytecodeState::Sourceless,
        Some((found, _)) if !is_mtime(mtime, found) => {
            BytecodeState::Stale("compiled from a source with another mtime")
        }
        #[expect(clippy::cast_possible_truncation, reason = "as Python does")]
        Some((_, found)) if size.is_some_and(|size| size != found as u32) => {
            BytecodeState::Stale("compiled from a source of another size")
        }
        Some(_) => BytecodeState::Matches,
    }
}

/// Whether Python may write an mtime as this number.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as Python does")]
fn is_mtime(written: u32, mtime: Mtime) -> bool {
    written == mtime.0 as u32 || written == whole_seconds(mtime) as u32
}

/// An mtime in whole seconds, as Python computes it: from a float, which rounds the last tenth of a
/// microsecond up to the next second.
#[must_use]
pub fn whole_seconds(Mtime(seconds, nanos): Mtime) -> i64 {
    if nanos >= 999_999_880 { seconds.saturating_add(1) } else { seconds }
}

/// The minor version of Python 3 in a file name: 11 for `a.cpython-311.pyc`.
fn tagged_minor(path: &str) -> Option<u32> {
    let (_, tag) = path.rsplit_once(".cpython-3")?;
    tag.split(['.', '-']).next()?.parse().ok()
}

/// The minor version of Python 3 for a magic number, if it is known.
fn magic_minor(magic: u32) -> Option<u32> {
    match magic {
        3390..3400 => Some(7),
        3400..3420 => Some(8),
        3420..3430 => Some(9),
        3430..3450 => Some(10),
        3450..3500 => Some(11),
        3500..3550 => Some(12),
        3550..3600 => Some(13),
        3600..3650 => Some(14),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "a/__pycache__/b.cpython-311.pyc";

    fn header(magic: u16, fields: &[u32]) -> Vec<u8> {
        let mut head = magic.to_le_bytes().to_vec();
        head.extend(b"\r\n");
        head.extend(fields.iter().flat_map(|field| field.to_le_bytes()));
        head
    }

    #[test]
    fn the_source_of_a_compiled_file_is_found() {
        for (path, source) in [
            ("a/__pycache__/b.cpython-311.pyc", Some("a/b.py")),
            ("__pycache__/b.cpython-311.opt-2.pyc", Some("b.py")),
            ("a/__pycache__/b.c.pypy39.pyc", Some("a/b.c.py")),
            ("a/b.pyc", Some("a/b.py")),
            ("b.pyo", Some("b.py")),
            ("a/b.py", None),
            ("a/.pyc", None),
        ] {
            assert_eq!(source_of(path).as_deref(), source, "{path}");
        }
    }

    #[test]
    fn a_compiled_file_matches_by_mtime_and_size() {
        let source = Some((Mtime(1_600_000_000, 5), 7));
        let state = |fields: &[u32]| state(PATH, &header(3495, fields), source);
        assert_eq!(state(&[0, 1_600_000_000, 7]), BytecodeState::Matches);
        assert!(
            matches!(state(&[0, 1_600_000_001, 7]), BytecodeState::Stale(it) if it.contains("time"))
        );
        assert!(
            matches!(state(&[0, 1_600_000_000, 8]), BytecodeState::Stale(it) if it.contains("size"))
        );
        assert!(matches!(state(&[2, 0, 0]), BytecodeState::Stale(it) if it.contains("flags")));
        for cut in [&[][..], &[0], &[0, 1_600_000_000], &[1, 0]] {
            assert_eq!(state(cut), BytecodeState::Stale("cut off"), "{cut:?}");
        }
    }

    #[test]
    fn a_compiled_file_with_a_hash_has_its_own_flags() {
        for flags in [1, 3] {
            let head = header(3495, &[flags, 0xdead, 0xbeef]);
            assert_eq!(state(PATH, &head, Some((Mtime(1, 0), 1))), BytecodeState::Matches);
            assert_eq!(state(PATH, &head, None), BytecodeState::Sourceless);
        }
    }

    #[test]
    fn headers_of_old_pythons_are_shorter() {
        let source = Some((Mtime(1000, 0), 7));
        assert_eq!(state("a.pyc", &header(62211, &[1000]), source), BytecodeState::Matches);
        assert!(matches!(state("a.pyc", &header(62211, &[1001]), source), BytecodeState::Stale(_)));
        assert_eq!(state("a.pyc", &header(3379, &[1000, 7]), source), BytecodeState::Matches);
        assert!(matches!(
            state("a.pyc", &header(3379, &[1000, 8]), source),
            BytecodeState::Stale(_)
        ));
        assert_eq!(state("a.pyc", &header(21_290, &[0, 1000, 7]), source), BytecodeState::Matches);
        assert_eq!(state("a.pyc", &header(336, &[0, 1000, 7]), source), BytecodeState::Matches);
    }

    #[test]
    fn a_file_name_with_another_python_is_stale() {
        let head = header(3531, &[0, 1000, 7]);
        let source = Some((Mtime(1000, 0), 7));
        assert!(
            matches!(state(PATH, &head, source), BytecodeState::Stale(it) if it.contains("Python"))
        );
        assert_eq!(state("__pycache__/b.cpython-312.pyc", &head, source), BytecodeState::Matches);
    }

    #[test]
    fn other_files_are_stale() {
        for head in [&b""[..], b"abc", b"import os\nimport sys\n"] {
            assert!(matches!(state(PATH, head, Some((Mtime(0, 0), 0))), BytecodeState::Stale(_)));
        }
    }

    #[test]
    fn the_last_moment_of_a_second_is_rounded_up() {
        let last = Mtime(1_600_000_000, 999_999_999);
        assert!(is_mtime(1_600_000_001, last) && is_mtime(1_600_000_000, last));
        assert!(!is_mtime(1_600_000_001, Mtime(1_600_000_000, 999_000_000)));
    }
}
