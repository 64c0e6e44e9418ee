//! The file of the option `egg-cache-hashes`: SHA-256 of the archives that a buildout may install.
//!
//! ```text
//! [hashes]
//! lxml =
//!     6.1.3 sha256:0c8d…f1 # lxml-6.1.3-cp311-cp311-manylinux_2_26_x86_64.whl
//! ```
//!
//! Buildout's own parser reads it. This one accepts nothing else, as does `python/eggcache/_hashes.py`: a line
//! that is skipped could be a hash that nobody compares.

use std::fmt::{self, Display};
use std::path::Path;

use serde::Serialize;

use crate::egg::name::{normalize_name, same_version, version_order};
use crate::error::{Error, Result};
use crate::util::hash::sha256::Sha256;
use crate::util::printable::one_line;

const SECTION: &str = "[hashes]";
const ALGORITHM: &str = "sha256:";
const HEADER: &str =
    "# SHA-256 of archives, for the option egg-cache-hashes. `eggcache lock` writes this file.";

/// The SHA-256 of one archive of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hash {
    /// PEP 503 name.
    pub project: String,
    pub version: String,
    pub sha256: Sha256,
    /// The file name of the archive, for readers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive: Option<String>,
}

impl Hash {
    /// Whether a hash is one of a version.
    #[must_use]
    pub fn is_of(&self, project: &str, version: &str) -> bool {
        self.project == project && same_version(&self.version, version)
    }

    fn order(&self) -> impl Ord + use<> {
        let Self { project, version, sha256, archive } = self;
        (project.clone(), version_order(version), archive.clone(), sha256.to_string())
    }
}

/// One line of the file: the version, the hash and the file name.
impl Display for Hash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {ALGORITHM}{}", self.version, self.sha256)?;
        match &self.archive {
            Some(archive) => write!(out, " # {}", one_line(archive)),
            None => Ok(()),
        }
    }
}

/// The content of the file. It has no hash of a version twice.
#[derive(Debug, Default)]
pub struct Hashes(Vec<Hash>);

impl Hashes {
    /// Reads the content of the file `path`.
    ///
    /// # Errors
    /// [`Error::Hashes`] for a line that is not in its format.
    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        let mut hashes = Self::default();
        let (mut has_section, mut project) = (false, None);
        let mut projects = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let fails = |reason: String| {
                Err(Error::Hashes { path: path.to_owned(), line: index + 1, reason })
            };
            if line.starts_with(['#', ';']) || line.trim().is_empty() {
                continue;
            }
            let mut value = line.trim();
            if !line.starts_with(char::is_whitespace) {
                if value == SECTION && !has_section {
                    has_section = true;
                    continue;
                }
                let Some((name, rest)) = line.split_once('=').filter(|_| has_section) else {
                    return fails(format!("expected {}", expected(has_section)));
                };
                let name = name.trim_end();
                if !is_project(name) {
                    return fails(format!("{name:?} is not the name of a project"));
                }
                let name = normalize_name(name);
                if projects.contains(&name) {
                    return fails(format!("{name} is listed twice"));
                }
                projects.push(name.clone());
                project = Some(name);
                value = rest.trim();
            }
            let Some(project) = &project else {
                return fails(format!("expected {}", expected(has_section)));
            };
            if !value.is_empty() {
                match parse_value(project, value) {
                    Some(hash) => {
                        hashes.add(hash);
                    }
                    None => return fails("expected VERSION sha256:HASH # ARCHIVE".into()),
                }
            }
        }
        if has_section {
            return Ok(hashes);
        }
        let reason = format!("it has no section {SECTION}");
        Err(Error::Hashes { path: path.to_owned(), line: 1, reason })
    }

    /// Adds a hash; false if it is there.
    pub fn add(&mut self, hash: Hash) -> bool {
        let is_it = |it: &Hash| it.sha256 == hash.sha256 && it.is_of(&hash.project, &hash.version);
        let is_new = !self.0.iter().any(is_it);
        if is_new {
            self.0.push(hash);
        }
        is_new
    }

    /// Removes the hashes that do not fulfil a condition, and returns them.
    pub fn retain(&mut self, mut is_kept: impl FnMut(&Hash) -> bool) -> Vec<Hash> {
        let (kept, removed) = std::mem::take(&mut self.0).into_iter().partition(|it| is_kept(it));
        self.0 = kept;
        removed
    }

    /// The hashes of a version.
    #[must_use]
    pub fn of(&self, project: &str, version: &str) -> Vec<Sha256> {
        self.0.iter().filter(|it| it.is_of(project, version)).map(|it| it.sha256).collect()
    }

    /// All hashes, by project, version and archive.
    #[must_use]
    pub fn sorted(&self) -> Vec<Hash> {
        let mut hashes = self.0.clone();
        hashes.sort_by_cached_key(Hash::order);
        hashes
    }
}

/// The whole file.
impl Display for Hashes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{HEADER}\n{SECTION}\n")?;
        let mut project = String::new();
        for hash in self.sorted() {
            if hash.project != project {
                project.clone_from(&hash.project);
                writeln!(out, "{project} =")?;
            }
            writeln!(out, "    {hash}")?;
        }
        Ok(())
    }
}

fn expected(has_section: bool) -> String {
    if has_section { "PROJECT =".into() } else { SECTION.into() }
}

/// Whether a text is the name of a project as PEP 508 defines it.
fn is_project(name: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let is_outer = |c: char| c.is_ascii_alphanumeric();
    name.starts_with(is_outer) && name.ends_with(is_outer) && name.chars().all(is_inner)
}

fn parse_value(project: &str, value: &str) -> Option<Hash> {
    let (fields, archive) = match value.split_once('#') {
        Some((fields, archive)) => (fields, Some(archive.trim().to_owned())),
        None => (value, None),
    };
    let mut fields = fields.split_whitespace();
    let (version, hash, end) = (fields.next()?, fields.next()?, fields.next());
    Some(Hash {
        project: project.to_owned(),
        version: version.to_owned(),
        sha256: hash.strip_prefix(ALGORITHM)?.parse().ok()?,
        archive: archive.filter(|archive| !archive.is_empty()),
    })
    .filter(|_| end.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Hashes> {
        Hashes::parse(Path::new("hashes.cfg"), text)
    }

    fn hash(project: &str, version: &str, digit: &str, archive: &str) -> Hash {
        Hash {
            project: project.into(),
            version: version.into(),
            sha256: digit.repeat(64).parse().unwrap(),
            archive: Some(archive.into()).filter(|it: &String| !it.is_empty()),
        }
    }

    #[test]
    fn hashes_are_sorted_by_version_and_archive() {
        let mut hashes = Hashes::default();
        for (project, version, digit, archive) in [
            ("b", "1.10", "1", "b-1.10.tar.gz"),
            ("b", "1.9", "2", "b-1.9.zip"),
            ("b", "1.9", "3", "b-1.9.tar.gz"),
            ("a", "2", "4", ""),
        ] {
            assert!(hashes.add(hash(project, version, digit, archive)));
        }
        assert!(!hashes.add(hash("b", "1.9.0", "2", "another-name.zip")), "1.9.0 is 1.9");
        let text = hashes.to_string();
        let long = |digit: &str| digit.repeat(64);
        let expected = format!(
            "{HEADER}\n[hashes]\na =\n    2 sha256:{}\nb =\n    1.9 sha256:{} # b-1.9.tar.gz\n    \
             1.9 sha256:{} # b-1.9.zip\n    1.10 sha256:{} # b-1.10.tar.gz\n",
            long("4"),
            long("3"),
            long("2"),
            long("1")
        );
        assert_eq!(text, expected);
        assert_eq!(parse(&text).unwrap().to_string(), text);
    }

    #[test]
    fn a_file_edited_by_hand_is_read() {
        let (one, two) = ("1".repeat(64), "2".repeat(64));
        let text = format!(
            "; mine\n\n[hashes]\nZope.Interface = 1.0 sha256:{one}\n\n\t1.0  sha256:{two}#x y\r\nnone =\n"
        );
        let hashes = parse(&text).unwrap();
        let expected =
            [hash("zope-interface", "1.0", "1", ""), hash("zope-interface", "1.0", "2", "x y")];
        assert_eq!(hashes.sorted(), expected);
        assert_eq!(hashes.of("zope-interface", "1").len(), 2);
        assert!(hashes.of("zope-interface", "1.1").is_empty());
    }

    #[test]
    fn any_other_line_is_an_error() {
        let one = "1".repeat(64);
        for (text, line) in [
            (String::new(), 1),
            ("a = 1\n".into(), 1),
            ("[versions]\na = 1\n".into(), 1),
            (format!("[hashes]\n    1.0 sha256:{one}\n"), 2),
            ("[hashes]\na\n".into(), 2),
            (format!("[hashes]\na += 1.0 sha256:{one}\n"), 2),
            ("[hashes]\n<= other\n".into(), 2),
            ("[hashes]\na =\n  1.0\n".into(), 3),
            (format!("[hashes]\na =\n  1.0 md5:{one}\n"), 3),
            (format!("[hashes]\na =\n  1.0 sha256:{one}0\n"), 3),
            (format!("[hashes]\na =\n  1.0 sha256:{one} x\n"), 3),
            ("[hashes]\na.b =\na-B =\n".into(), 3),
            ("[hashes]\na =\n[hashes: linux]\n".into(), 3),
            ("[hashes]\n[hashes]\n".into(), 2),
        ] {
            match parse(&text) {
                Err(Error::Hashes { line: found, .. }) => assert_eq!(found, line, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
