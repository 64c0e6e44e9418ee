//! Files that pin eggs: requirements files of pip, and the versions of a buildout.

use std::path::Path;

use crate::buildout::ini::{self, Operator};
use crate::disk::files;
use crate::egg::name::normalize_name;
use crate::error::{Error, IoContext, Result};

/// The section of a configuration of buildout that pins versions.
const VERSIONS: &str = "versions";

/// The longest requirements file that is read, in bytes.
const MOST: u64 = 16 << 20;

/// Reads the `name==version` lines of a requirements file, or the section `[versions]` of a configuration of
/// buildout, without files that it extends. Comments, extras, environment markers and hashes are ignored.
///
/// # Errors
/// [`Error::Requirements`] for a line without exactly one version.
pub fn read(path: &Path) -> Result<Vec<String>> {
    let text = files::read_text(path, MOST).at("read", path)?;
    let first = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with(['#', ';']));
    if first.is_some_and(|line| line.starts_with('[')) {
        return versions(path, &text);
    }
    let mut eggs = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let mut line = line.to_owned();
        while let Some(begin) = line.strip_suffix('\\') {
            let rest = lines.next().map_or("", |(_, rest)| rest);
            line = format!("{begin} {rest}");
        }
        let line = line.split(" #").next().unwrap_or_default().trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some(egg) = name_and_version(line) else {
            return Err(Error::Requirements {
                path: path.to_owned(),
                line: index + 1,
                reason: format!("`{line}` is not name==version"),
            });
        };
        eggs.push(egg);
    }
    Ok(eggs)
}

/// Reads the section `[versions]` of a configuration of buildout. A later version replaces an earlier one of the
/// same name, and an empty one is none. Conditional sections are left out, because it is not known whether they apply.
fn versions(path: &Path, text: &str) -> Result<Vec<String>> {
    let is_version = |it: &ini::Setting<'_>| {
        it.section == VERSIONS && it.operator == Operator::Set && !it.is_conditional
    };
    let mut eggs: Vec<(String, String)> = Vec::new();
    let mut has_section = false;
    for setting in ini::settings(text).into_iter().filter(is_version) {
        has_section = true;
        let (name, version) = (setting.name, setting.lines.join(" "));
        eggs.retain(|(known, _)| normalize_name(known) != normalize_name(name));
        // Buildout's own form of a version is that of a specifier without `==`.
        let version = version.trim_start_matches('=').trim();
        if version.is_empty() || name == "<" {
            continue;
        }
        let Some(egg) =
            name_and_version(&format!("{name}=={version}")).filter(|_| is_exact(version))
        else {
            return Err(Error::Requirements {
                path: path.to_owned(),
                line: last_line_of(text, name),
                reason: format!("`{name} = {version}` is not one version"),
            });
        };
        eggs.push((name.to_owned(), egg));
    }
    if !has_section {
        let (path, line) = (path.to_owned(), 1);
        let reason = format!("it has no section [{VERSIONS}]");
        return Err(Error::Requirements { path, line, reason });
    }
    Ok(eggs.into_iter().map(|(_, egg)| egg).collect())
}

/// The number of the last line that sets an option; 1 if there is none.
fn last_line_of(text: &str, name: &str) -> usize {
    let sets = |line: &str| line.split('=').next().is_some_and(|it| it.trim() == name);
    let lines = text.lines().enumerate().filter(|(_, line)| sets(line));
    lines.last().map_or(1, |(at, _)| at + 1)
}

fn is_exact(version: &str) -> bool {
    !version.starts_with(['<', '>', '!', '~']) && !version.contains(char::is_whitespace)
}

/// Reduces a requirement to `name==version`; `None` unless it has exactly one version.
fn name_and_version(requirement: &str) -> Option<String> {
    let requirement = requirement.split(';').next()?.split(" --").next()?;
    let (name, version) = requirement.split_once("==")?;
    let name = name.split('[').next()?.trim();
    let version = version.trim_start_matches('=').trim();
    let exact = !name.is_empty()
        && !name.starts_with('-')
        && !version.is_empty()
        && !version.contains(['*', ',']);
    exact.then(|| format!("{name}=={version}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<String>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read(file.path())
    }

    #[test]
    fn requirements_are_parsed() {
        let text = "# comment\nfoo==1.0\n\nBar[extra] == 2.0 ; python_version > '3'\n\
                    baz==1.0+local  # why\nqux===1 \\\n  --hash=sha256:abc\n";
        assert_eq!(parsed(text).unwrap(), ["foo==1.0", "Bar==2.0", "baz==1.0+local", "qux==1"]);
    }

    #[test]
    fn the_versions_of_a_buildout_are_parsed() {
        let text = "# pins\n[buildout]\nversions = versions\n[versions]\nfoo = 1.0\n# why\nZope.Bar = 2.0\n\
                    baz=3\nfoo = 1.1\nany =\nx == 4\n[sources]\nqux = git\n[versions:linux]\nconditional = 5\n";
        assert_eq!(parsed(text).unwrap(), ["Zope.Bar==2.0", "baz==3", "foo==1.1", "x==4"]);
        for (line, number) in [("foo = >=1", 3), ("foo = 1.*", 3), ("foo =\n  1\n  2", 3)] {
            let error = parsed(&format!("[versions]\na = 1\n{line}\n")).unwrap_err().to_string();
            assert!(error.contains(&format!("line {number}")), "{line}: {error}");
        }
        assert!(parsed("[buildout]\nparts =\n").unwrap_err().to_string().contains("[versions]"));
    }

    #[test]
    fn a_line_without_one_version_is_an_error() {
        for line in ["foo", "foo>=1", "foo==1.*", "foo==1,<2", "-r other.txt", "foo=="] {
            let error = parsed(&format!("a==1\n{line}\n")).unwrap_err().to_string();
            assert!(error.contains("line 2") && error.contains(line), "{error}");
        }
    }
}
