//! The scripts that `entry_points.txt` declares.

use std::collections::BTreeMap;

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

/// Reads the scripts. A line of these sections that is not of the plain form `name = module:attribute`
/// is refused: pip's versions do not agree on the others.
pub fn parse(text: &[u8]) -> Result<Scripts, Reason> {
    let odd = |problem: &str| Reason::metadata(FILE, problem);
    let text = std::str::from_utf8(text).map_err(|_| odd("is not UTF-8"))?;
    if text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return Err(odd("has control characters"));
    }
    let mut scripts = Scripts::new();
    let mut are_scripts = false;
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(section) = line.strip_prefix('[') {
            let section = section.strip_suffix(']').ok_or_else(|| odd("cannot be parsed"))?;
            are_scripts = matches!(section.trim(), "console_scripts" | "gui_scripts");
        } else if are_scripts {
            let (name, callable) = script(line).ok_or_else(|| odd("has an unusual script"))?;
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

fn script(line: &str) -> Option<(&str, Callable)> {
    let (name, value) = line.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let is_name_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        || !name.chars().all(is_name_part)
    {
        return None;
    }
    let callable = match value.split_once('[') {
        None => value,
        Some((callable, extras)) => {
            let extras = extras.strip_suffix(']')?;
            let is_extra = |it: &str| !it.is_empty() && it.chars().all(is_identifier_part);
            extras.split(',').all(|it| is_extra(it.trim())).then_some(callable.trim_end())?
        }
    };
    let (module, attribute) = callable.split_once(':')?;
    (is_dotted(module) && is_dotted(attribute))
        .then(|| (name, Callable { module: module.to_owned(), attribute: attribute.to_owned() }))
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
        let text = b"[console_scripts]\na-b = c.d:e.f\n# no\n[other]\nx: y\n\n[gui_scripts]\ng=h:i [j, k]\n";
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
        assert!(parse(b"\xff").is_err());
        assert!(parse(b"[a]\nb\0").is_err());
    }
}
