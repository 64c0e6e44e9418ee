//! Old namespace packages: the `__init__.py` that only declares one, which buildout removes.

use super::reason::Reason;

/// The longest `__init__.py` that is examined, in bytes.
pub const MAX_LENGTH: u64 = 1 << 20;

/// The most lines of a declaration, without blank ones and comments.
const MAX_LINES: usize = 6;

/// Whether buildout takes this `__init__.py`, alone in its directory, for a namespace declaration.
/// Python reads it in the encoding of the locale, so a short one that is not ASCII is refused.
pub fn is_declaration(path: &str, text: &[u8]) -> Result<bool, Reason> {
    let unknown = || Reason::member(path, "may declare a namespace and is not ASCII");
    let text = std::str::from_utf8(text).map_err(|_| unknown())?;
    // Python's `strip` also removes these separators.
    let is_space = |c: char| matches!(c, ' ' | '\t' | '\x0b' | '\x0c' | '\x1c'..='\x1f');
    let lines: Vec<&str> = text
        .split(['\n', '\r'])
        .map(|line| line.trim_matches(is_space))
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    // In every encoding, these lines are neither blank nor comments.
    if lines.iter().filter(|line| line.starts_with(|c: char| c.is_ascii())).count() > MAX_LINES {
        return Ok(false);
    }
    if !text.is_ascii() {
        return Err(unknown());
    }
    let declares = |first: &str, second: &str| {
        let from = lines.iter().position(|line| line.contains(first));
        from.is_some_and(|from| lines[from..].iter().any(|line| line.contains(second)))
    };
    Ok(declares("pkg_resources", "declare_namespace") || declares("pkgutil", "extend_path"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_declarations_are_recognised() {
        let is = |text: &str| is_declaration("a/__init__.py", text.as_bytes()).unwrap();
        assert!(is("__import__('pkg_resources').declare_namespace(__name__)\n"));
        assert!(is("# a\r\n\r\nfrom pkgutil import extend_path\r\n__path__ = extend_path(1)\r\n"));
        assert!(!is(""));
        assert!(!is("# pkgutil extend_path\n"));
        assert!(!is("extend_path\nimport pkgutil\n"));
        assert!(!is("a\nb\nc\nd\ne\nf\nimport pkgutil, extend_path\n"));
        assert!(!is(&"é = 1\nimport pkgutil, extend_path\n".repeat(7)));
        assert!(is_declaration("a/__init__.py", "# é".as_bytes()).is_err());
        assert!(is_declaration("a/__init__.py", &b"\xff\n".repeat(9)).is_err());
    }
}
