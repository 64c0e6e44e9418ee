//! The scripts that `entry_points.txt` declares.

use std::collections::{BTreeMap, HashSet};

use super::reason::Reason;

/// The longest `entry_points.txt` that is read, in bytes, and the most scripts.
pub const MAX_LENGTH: u64 = 1 << 20;
const MAX_SCRIPTS: usize = 10_000;
const FILE: &str = "entry_points.txt";

/// What a script imports and calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callable {
    pub module: String,
    pub attribute: String,
}

/// The console and GUI scripts, by name.
pub type Scripts = BTreeMap<String, Callable>;

/// Reads the scripts. A line that is not of the plain form `name = module:attribute` is refused: the
/// versions of pip do not agree on the others, in sections of other entry points neither.
pub fn parse(text: &[u8]) -> Result<Scripts, Reason> {
    let odd = |problem: &str| Reason::metadata(FILE, problem);
    let text = std::str::from_utf8(text).map_err(|_| odd("is not UTF-8"))?;
    let is_odd = |c: char| {
        c.is_control() && !matches!(c, '\n' | '\r' | '\t') || matches!(c, '\u{2028}' | '\u{2029}')
    };
    if text.contains(is_odd) {
        return Err(odd("has control characters"));
    }
    let mut scripts = Scripts::new();
    let mut sections = HashSet::new();
    let mut names = HashSet::new();
    let mut are_scripts = false;
    for line in text.split(['\n', '\r']).map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with('[') {
            let section = section(line).ok_or_else(|| odd("has an unusual section"))?;
            if !sections.insert(section) {
                return Err(odd("has a section twice"));
            }
            names.clear();
            are_scripts = matches!(section, "console_scripts" | "gui_scripts");
            continue;
        }
        let entry = entry(line).filter(|_| !sections.is_empty());
        let Entry { name, module, attribute } =
            entry.ok_or_else(|| odd("has an unusual entry point"))?;
        if !names.insert(name) {
            return Err(odd("has an entry point twice"));
        }
        if are_scripts {
            let callable = attribute.and_then(|attribute| script(name, module, attribute));
            let callable = callable.ok_or_else(|| odd("has an unusual script"))?;
            if matches!(name, "pip" | "easy_install") {
                return Err(Reason::Installer);
            }
            if scripts.insert(name.to_owned(), callable).is_some() || scripts.len() > MAX_SCRIPTS {
                return Err(odd("has a script twice, or too many"));
            }
        }
    }
    Ok(scripts)
}

/// The name of a section. Some versions of pip ignore spaces and brackets around it.
fn section(line: &str) -> Option<&str> {
    let name = line.strip_prefix('[')?.strip_suffix(']')?;
    (!name.is_empty() && name.trim() == name && !name.contains(['[', ']'])).then_some(name)
}

/// `name = module:attribute [extra, ...]`, of which the attribute and the extras may be missing.
struct Entry<'a> {
    name: &'a str,
    module: &'a str,
    attribute: Option<&'a str>,
}

fn entry(line: &str) -> Option<Entry<'_>> {
    let (name, value) = line.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let object = match value.split_once('[') {
        None => value,
        Some((object, extras)) => {
            let extras = extras.strip_suffix(']')?;
            let is_extra = |it: &str| !it.is_empty() && it.chars().all(is_identifier_part);
            extras.split(',').all(|it| is_extra(it.trim())).then_some(object.trim_end())?
        }
    };
    let (module, attribute) = match object.split_once(':') {
        None => (object, None),
        Some((module, attribute)) => (module, Some(attribute)),
    };
    let is_path =
        |text: &str| !text.is_empty() && text.chars().all(|c| is_identifier_part(c) || c == '.');
    let is_plain = !name.is_empty() && is_path(module) && attribute.is_none_or(is_path);
    is_plain.then_some(Entry { name, module, attribute })
}

fn script(name: &str, module: &str, attribute: &str) -> Option<Callable> {
    let is_name_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let is_plain = name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && name.chars().all(is_name_part)
        && is_dotted(module)
        && is_dotted(attribute);
    is_plain.then(|| Callable { module: module.to_owned(), attribute: attribute.to_owned() })
}

fn is_identifier_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Whether a text has the form of Python names with dots between them.
fn is_dotted(text: &str) -> bool {
    text.split('.').all(|part| {
        part.chars().all(is_identifier_part)
            && part.starts_with(|c: char| is_identifier_part(c) && !c.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_of_both_kinds_are_found() {
        let text = b"[console_scripts]\na-b = c.d:e.f\n# no\n[other]\nx = y\n\n[gui_scripts]\ng=h:i [j, k]\n";
        let scripts = parse(text).unwrap();
        let found = scripts.iter().map(|(name, it)| (&**name, &*it.module, &*it.attribute));
        assert_eq!(found.collect::<Vec<_>>(), [("a-b", "c.d", "e.f"), ("g", "h", "i")]);
    }

    #[test]
    fn unusual_scripts_are_refused() {
        for line in [
            "a",
            "a = b",
            "a = b:",
            "a = b:c:d",
            "a b = c:d",
            "../a = b:c",
            "a = b:c # d",
            "a = b:c [",
            "a = 1b:c",
            "; a",
            "a = b:c\na = d:e",
            "pip = a:b",
        ] {
            assert!(parse(format!("[console_scripts]\n{line}\n").as_bytes()).is_err(), "{line}");
        }
        assert!(parse(b"[a\nb = c:d\n").is_err());
    }

    #[test]
    fn unusual_lines_of_all_sections_are_refused() {
        for text in [
            "[a]\nb\n",
            "[a]\nb = c d\n",
            "[a]\nb = c:d:e\n",
            "[a]\n= c\n",
            "[a]\nb =\n",
            "[a]\nb = c\nb = d\n",
            "[a]\nb = c\n[a]\nd = e\n",
            "[ console_scripts ]\na = b:c\n",
            "[[console_scripts]]\na = b:c\n",
            "[console_scripts] # d\na = b:c\n",
            "[]\n",
            "a = b:c\n[a]\n",
            "[a]\nb = c\u{2028}d = e\n",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        let text = "[a]\rb c = d\r\n[e f]\nb c = d.e:f [g]\nh=i [j,k]\n";
        assert!(parse(text.as_bytes()).unwrap().is_empty());
    }

    #[test]
    fn text_that_is_none_is_refused() {
        assert!(parse(b"\xff").is_err());
        assert!(parse(b"[a]\nb\0").is_err());
    }
}
