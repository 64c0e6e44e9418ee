//! Whether an egg directory is complete: not left by an interrupted copy, and without native code for
//! another Python only.
//!
//! The egg's own RECORD is all there is to compare with, and it is often stale: buildout renames the
//! metadata folder, moves scripts, omits headers and compiled files, and removes the `__init__.py` of
//! namespaces. So only other differences count: other recorded files that are missing, and files that
//! are shorter than recorded.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::disk::files::read_opened;
use crate::egg::elf;
use crate::egg::files::EggFiles;
use crate::egg::manifest::{Entry, EntryKind};
use crate::egg::native;
use crate::error::{IoContext, Result};

/// The longest RECORD that is read, in bytes.
const MAX_RECORD: u64 = 16 << 20;

/// Extension modules that exist for other Pythons only, each with a list of these. `python` is the
/// egg's, for example `3.11`.
#[must_use]
pub fn other_python<'a>(python: &str, entries: &'a [Entry]) -> Vec<(&'a str, String)> {
    let mut modules: BTreeMap<&str, BTreeSet<Option<String>>> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| matches!(entry.kind, EntryKind::File { .. })) {
        if let Some(module) = native::module_of(entry.path.as_str()) {
            let python = native::python_of_module(entry.path.file_name());
            modules.entry(module).or_default().insert(python);
        }
    }
    let is_wrong = |pythons: &BTreeSet<Option<String>>| {
        !python.is_empty() && !pythons.contains(&None) && !pythons.contains(&Some(python.into()))
    };
    let wrong = modules.into_iter().filter(|(_, pythons)| is_wrong(pythons));
    let join = |pythons: BTreeSet<Option<String>>| {
        pythons.into_iter().flatten().collect::<Vec<String>>().join(", ")
    };
    wrong.map(|(module, pythons)| (module, join(pythons))).collect()
}

/// The first sign that an interrupted copy left this egg directory, if there is one.
pub fn half_copied(egg: &EggFiles, entries: &[Entry]) -> Result<Option<String>> {
    let sizes: HashMap<&str, u64> = entries
        .iter()
        .filter_map(|entry| match entry.kind {
            EntryKind::File { size, .. } => Some((entry.path.as_str(), size)),
            _ => None,
        })
        .collect();
    for entry in entries.iter().filter(|entry| is_record(entry.path.as_str())) {
        if sizes.get(entry.path.as_str()).is_some_and(|&size| size <= MAX_RECORD) {
            let text = read_opened(egg.read(entry)?, MAX_RECORD);
            let text = text.at("read", &egg.path_of(entry))?;
            if let Some(reason) = unlike_record(&String::from_utf8_lossy(&text), &sizes) {
                return Ok(Some(reason));
            }
        }
    }
    for entry in entries {
        let name = entry.path.file_name();
        let EntryKind::File { size, .. } = entry.kind else { continue };
        if name.ends_with(".so") || name.contains(".so.") {
            let file = egg.read(entry)?;
            if size == 0 || elf::is_cut_off(file, size) {
                return Ok(Some(format!("{} is cut off: half-copied?", entry.path)));
            }
        }
    }
    Ok(None)
}

/// Whether a path, relative to the egg, is the installer's RECORD.
#[must_use]
pub fn is_record(path: &str) -> bool {
    match path.split_once('/') {
        Some((top, "RECORD")) => top == "EGG-INFO" || top.ends_with(".dist-info"),
        _ => false,
    }
}

/// The first difference from a RECORD (PEP 376) that a stale RECORD does not explain.
fn unlike_record(record: &str, sizes: &HashMap<&str, u64>) -> Option<String> {
    let mut absent = Vec::new();
    for line in record.lines() {
        let Some((path, size)) = recorded(line) else { continue };
        let name = path.rsplit('/').next().unwrap_or_default();
        match sizes.get(path.as_str()) {
            Some(&found) if found < size => {
                return Some(format!("{path} has {found} bytes instead of {size}: half-copied?"));
            }
            None if name != "__init__.py" => absent.push(path),
            _ => {}
        }
    }
    let first = absent.first()?;
    let more = match absent.len() {
        1 => String::new(),
        2 => " and one more file".to_owned(),
        count => format!(" and {} more files", count - 1),
    };
    Some(format!("lacks {first}{more} of its RECORD: half-copied?"))
}

/// Path and size in a line of a RECORD, unless buildout may change or omit the file.
fn recorded(line: &str) -> Option<(String, u64)> {
    let mut fields = line.rsplitn(3, ',');
    let size = fields.next()?.trim().parse().ok()?;
    let path = fields.nth(1)?;
    let path = match path.strip_prefix('"').and_then(|path| path.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => path.to_owned(),
    };
    let is_unchanged = !path.starts_with(['.', '/'])
        && ![".dist-info/", "EGG-INFO/", ".data/"].iter().any(|part| path.contains(part))
        && !path.ends_with(".pyc");
    is_unchanged.then_some((path, size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egg::manifest::Mtime;
    use crate::egg::path::EggPath;
    use crate::util::hash::digest::Digest;

    #[test]
    fn differences_of_a_stale_record_do_not_count() {
        let sizes = HashMap::from([("a.py", 10), ("b,c.py", 3), ("empty.py", 0)]);
        let of = |record: &str| unlike_record(record, &sizes).unwrap_or_default();
        let stale = "a.py,sha256=x,10\n\"b,c.py\",sha256=x,3\nempty.py,sha256=x,0\n\
                     ../../bin/a,sha256=x,9\n/usr/include/a.h,sha256=x,9\n\
                     a-1.dist-info/METADATA,sha256=x,9\na-1.dist-info/RECORD,,\n\
                     a-1.data/headers/a.h,sha256=x,9\n__pycache__/a.cpython-311.pyc,,\n\
                     ns/__init__.py,sha256=x,9\nno line\n";
        assert_eq!(of(stale), "");
        assert_eq!(of("gone.py,sha256=x,9\n"), "lacks gone.py of its RECORD: half-copied?");
        assert!(of("x.py,,1\ny.so,,1\n").starts_with("lacks x.py and one more file of its RECORD"));
        assert_eq!(of("a.py,sha256=x,11\n"), "a.py has 10 bytes instead of 11: half-copied?");
        assert_eq!(of("a.py,sha256=x,9\n"), "", "an edited file may have grown");
    }

    #[test]
    fn modules_for_other_pythons_only_are_found() {
        let entry = |path: &str| Entry {
            path: EggPath::new(path).unwrap(),
            mode: 0o644,
            mtime: Mtime(0, 0),
            kind: EntryKind::File { size: 1, digest: Digest::of(b"") },
        };
        let entries = [
            "one/_a.cpython-310-x86_64-linux-gnu.so",
            "one/_a.cpython-312-x86_64-linux-gnu.so",
            "two/_a.cpython-311-x86_64-linux-gnu.so",
            "two/_a.cpython-312-x86_64-linux-gnu.so",
            "_abi.abi3.so",
            "libplain.so",
        ]
        .map(entry);
        assert_eq!(other_python("3.11", &entries), [("one/_a", "3.10, 3.12".to_owned())]);
        assert_eq!(other_python("", &entries), []);
    }
}
