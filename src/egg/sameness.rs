//! Whether two eggs are one egg, although not everything is known about one of them.
//!
//! An egg that was added from a file system may lack facts that its builder knew. It is the same egg if
//! its other properties and its content are the same. Copies of one egg differ in more than that: Python
//! adds bytecode to a copy that is in use, a umask removes permissions, and tools change times. So do eggs
//! that pip makes of one archive: it writes down where the archive was.

use crate::egg::bytecode::{is_python_output, source_of};
use crate::egg::key::EggKey;
use crate::egg::manifest::{self, Entry, EntryKind, Manifest};
use crate::util::hash::digest::Digest;

/// Whether a key is the same as `other`, except for facts that are absent in it and present in `other`:
/// the archive, the ABI of native code whose file names have no tag, and the spelling, which old caches do not
/// have.
#[must_use]
pub fn knows_less(key: &EggKey, other: &EggKey) -> bool {
    let is_part = |part: &str, whole: &str| part.is_empty() || part == whole;
    key != other
        && is_part(&key.source_sha256, &other.source_sha256)
        && is_part(&key.abi, &other.abi)
        && is_part(&key.spelling, &other.spelling)
        && bare(key) == bare(other)
}

fn bare(key: &EggKey) -> EggKey {
    let (source_sha256, abi, spelling) = <(String, String, String)>::default();
    EggKey { abi, source_sha256, spelling, ..key.clone() }
}

/// Whether two eggs have one file name and the same content: the same files with the same executable bits,
/// symlinks and directories, apart from what Python makes of a source and what pip notes about the archive.
#[must_use]
pub fn is_same_content(one: &Manifest, other: &Manifest) -> bool {
    one.file_name == other.file_name
        && own_entries(one).map(compared).eq(own_entries(other).map(compared))
}

fn compared(entry: &Entry) -> (&str, &EntryKind, bool) {
    (entry.path.as_str(), &entry.kind, entry.is_executable())
}

/// Identifies the files and symlinks of an egg apart from what Python makes of a source and what pip notes
/// about the archive: equal for two builds of one archive, if the build gives the same files each time.
#[must_use]
pub fn own_content(manifest: &Manifest) -> Digest {
    manifest::content(own_entries(manifest))
}

/// What counts as the content of an egg.
fn own_entries(manifest: &Manifest) -> impl Iterator<Item = &Entry> {
    let entries = &manifest.entries;
    let is_own = |entry: &&Entry| {
        let path = entry.path.as_str();
        !is_derived(path, entries) && !is_note_of_pip(path)
    };
    entries.iter().filter(is_own)
}

/// Whether this file of an egg says where the archive was, or lists the files, and so says that too.
#[must_use]
pub fn is_note_of_pip(path: &str) -> bool {
    path.split_once('/').is_some_and(|(directory, name)| {
        directory.ends_with(".dist-info") && ["RECORD", "direct_url.json"].contains(&name)
    })
}

/// Whether Python makes this file, or the directory for it, from a source. A compiled file without a source
/// is imported itself, except from a `__pycache__`.
fn is_derived(path: &str, entries: &[Entry]) -> bool {
    let has = |source: &str| entries.binary_search_by(|it| it.path.as_str().cmp(source)).is_ok();
    is_python_output(path)
        && (path.split('/').any(|name| name == "__pycache__")
            || source_of(path).is_some_and(|source| has(&source)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egg::key::tests::key;
    use crate::egg::manifest::Mtime;
    use crate::egg::manifest::tests::manifest;
    use crate::egg::path::EggPath;
    use crate::util::hash::digest::Digest;

    fn file(path: &str, content: &str, mode: u32) -> Entry {
        let (size, digest) = (content.len() as u64, Digest::of(content.as_bytes()));
        let path = EggPath::new(path).unwrap();
        Entry { path, mode, mtime: Mtime(1, 0), kind: EntryKind::File { size, digest } }
    }

    fn directory(path: &str) -> Entry {
        let path = if path.is_empty() { EggPath::root() } else { EggPath::new(path).unwrap() };
        Entry { path, mode: 0o755, mtime: Mtime(1, 0), kind: EntryKind::Directory }
    }

    fn egg(more: Vec<Entry>) -> Manifest {
        let mut entries = vec![directory(""), file("a.py", "x", 0o644), file("run", "y", 0o755)];
        entries.extend(more);
        entries.sort_by(|one, other| one.path.cmp(&other.path));
        manifest(entries)
    }

    #[test]
    fn a_key_without_the_archive_knows_less() {
        let of_archive = EggKey { source_sha256: "ab".into(), ..key() };
        let of_abi = EggKey { abi: "cpython-311".into(), ..key() };
        let other = EggKey { source_sha256: "cd".into(), ..key() };
        let spelled = EggKey { spelling: "f_oo".into(), ..of_archive.clone() };
        assert!(knows_less(&key(), &of_archive) && knows_less(&key(), &of_abi));
        assert!(knows_less(&of_archive, &spelled) && !knows_less(&spelled, &of_archive));
        for (one, other) in [
            (&key(), &key()),
            (&of_archive, &key()),
            (&of_archive, &other),
            (&of_archive, &of_abi),
            (&key(), &EggKey { environment: "el9".into(), ..of_archive.clone() }),
            (&key(), &EggKey { generation: 4, ..of_archive.clone() }),
        ] {
            assert!(!knows_less(one, other), "{one:?} {other:?}");
        }
    }

    #[test]
    fn bytecode_times_and_permissions_are_no_content() {
        let mut other = egg(vec![
            directory("__pycache__"),
            file("__pycache__/a.cpython-311.pyc", "z", 0o644),
            file("__pycache__/a.cpython-311.opt-1.pyc", "z", 0o644),
            file("a.pyc", "z", 0o644),
        ]);
        for entry in &mut other.entries {
            entry.mtime = Mtime(2, 0);
            entry.mode &= 0o700;
        }
        assert!(is_same_content(&egg(vec![]), &other));
    }

    #[test]
    fn what_pip_notes_about_the_archive_is_no_content() {
        let info = |name: &str, content: &str| {
            egg(vec![
                directory("a-1.dist-info"),
                file(&format!("a-1.dist-info/{name}"), content, 0o644),
            ])
        };
        for name in ["RECORD", "direct_url.json"] {
            assert!(is_same_content(&info(name, "x"), &info(name, "y")), "{name}");
        }
        for name in ["METADATA", "licenses/RECORD"] {
            assert!(!is_same_content(&info(name, "x"), &info(name, "y")), "{name}");
        }
    }

    #[test]
    fn everything_else_is_content() {
        let sourceless = |content| egg(vec![file("only.pyc", content, 0o644)]);
        assert!(is_same_content(&sourceless("x"), &sourceless("x")));
        assert!(!is_same_content(&sourceless("x"), &sourceless("y")));
        for other in [
            egg(vec![file("b.py", "x", 0o644)]),
            egg(vec![directory("data")]),
            manifest(vec![directory(""), file("a.py", "x", 0o755), file("run", "y", 0o755)]),
            manifest(vec![directory(""), file("a.py", "z", 0o644), file("run", "y", 0o755)]),
            Manifest { file_name: "Foo-1.0-py3.11.egg".into(), ..egg(vec![]) },
        ] {
            assert!(!is_same_content(&egg(vec![]), &other), "{other:?}");
        }
    }
}
