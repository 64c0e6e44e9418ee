//! The form of a requirement (PEP 508).
//!
//! pip refuses a wheel if it cannot parse one, or compares what cannot be compared. Its versions do not
//! agree on all. This accepts what they all accept, and what real wheels write.

use pep440_rs::{Version, VersionSpecifiers};

/// How deep parentheses are nested at most.
const MAX_DEPTH: usize = 16;
const OPERATORS: [&str; 9] = ["==", "!=", "<=", ">=", "~=", "<", ">", "not in", "in"];
/// Variables with a version, which are compared as such.
const VERSIONS: [&str; 3] = ["python_version", "python_full_version", "implementation_version"];
const TEXTS: [&str; 11] = [
    "os_name",
    "os.name",
    "sys_platform",
    "sys.platform",
    "platform_system",
    "platform_machine",
    "platform.machine",
    "platform_python_implementation",
    "python_implementation",
    "implementation_name",
    "extra",
];

/// Whether every pip parses and evaluates this requirement.
#[must_use]
pub fn is_plain(text: &str) -> bool {
    let mut scanner = Scanner { rest: text };
    scanner.requirement().is_some() && scanner.rest.is_empty()
}

struct Scanner<'a> {
    rest: &'a str,
}

/// One side of a comparison.
enum Operand<'a> {
    Version,
    Text,
    Quoted(&'a str),
}

impl<'a> Scanner<'a> {
    fn requirement(&mut self) -> Option<()> {
        self.name()?;
        if self.eat("[") {
            self.name()?;
            while self.eat(",") {
                self.name()?;
            }
            self.expect("]")?;
        }
        if self.eat("(") {
            self.versions(')')?;
            self.expect(")")?;
        } else {
            self.versions(';')?;
        }
        if self.eat(";") {
            self.marker(MAX_DEPTH)?;
        }
        Some(())
    }

    /// The name of a project or an extra.
    fn name(&mut self) -> Option<()> {
        let name = self.word(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        super::headers::is_name(name).then_some(())
    }

    fn versions(&mut self, end: char) -> Option<()> {
        let (text, rest) = self.rest.split_at(self.rest.find(end).unwrap_or(self.rest.len()));
        self.rest = rest;
        let text = text.trim_matches([' ', '\t']);
        let is_fine = text.is_empty() || is_specifier(text);
        is_fine.then_some(())
    }

    fn marker(&mut self, depth: usize) -> Option<()> {
        loop {
            self.skip_spaces();
            if self.eat("(") {
                self.marker(depth.checked_sub(1)?)?;
                self.expect(")")?;
            } else {
                self.comparison()?;
            }
            let rest = self.rest;
            if !matches!(self.word(|c| c.is_ascii_alphabetic()), "and" | "or") {
                self.rest = rest;
                return Some(());
            }
        }
    }

    fn comparison(&mut self) -> Option<()> {
        let left = self.operand()?;
        let operator = self.operator()?;
        let is_fine = match (left, self.operand()?) {
            _ if operator.ends_with("in") => true,
            (Operand::Version, Operand::Quoted(text)) => {
                matches!(operator, "==" | "!=") || is_specifier(&format!("{operator}{text}"))
            }
            (Operand::Quoted(text), Operand::Version) => {
                operator != "~=" && text.parse::<Version>().is_ok()
            }
            (Operand::Text, Operand::Quoted(text)) | (Operand::Quoted(text), Operand::Text) => {
                matches!(operator, "==" | "!=") && text.parse::<Version>().is_err()
            }
            _ => false,
        };
        is_fine.then_some(())
    }

    fn operand(&mut self) -> Option<Operand<'a>> {
        let Some(quote @ ('"' | '\'')) = self.rest.chars().next() else {
            let name = self.word(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_'));
            return match name {
                _ if VERSIONS.contains(&name) => Some(Operand::Version),
                _ if TEXTS.contains(&name) => Some(Operand::Text),
                _ => None,
            };
        };
        let (text, rest) = self.rest[1..].split_once(quote)?;
        // pip reads it as a literal of Python, or as it is.
        let is_literal =
            |c: char| (c.is_ascii_graphic() || c == ' ') && !matches!(c, '"' | '\'' | '\\');
        self.rest = rest;
        self.skip_spaces();
        text.chars().all(is_literal).then_some(Operand::Quoted(text))
    }

    fn operator(&mut self) -> Option<&'static str> {
        OPERATORS.into_iter().find(|operator| self.eat(operator))
    }

    /// The characters that are part of a word, and the spaces behind them.
    fn word(&mut self, is_part: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        self.skip_spaces();
        word
    }

    fn eat(&mut self, text: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(text) else { return false };
        self.rest = rest;
        self.skip_spaces();
        true
    }

    fn expect(&mut self, text: &str) -> Option<()> {
        self.eat(text).then_some(())
    }

    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }
}

/// Whether a text lists versions.
fn is_specifier(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_graphic() || matches!(c, ' ' | '\t');
    text.chars().all(is_plain) && !text.contains("===") && text.parse::<VersionSpecifiers>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_of_real_wheels_are_accepted() {
        for text in [
            "a",
            "A.b_c-d",
            "a (>=1.0)",
            "a[x]",
            "a[x, y-z] >=1.0, !=1.5.*,<2 ; extra == 'test'",
            "a (>=1.0,<2) ; (python_version < \"3.8\") and extra == 'x'",
            "a~=1.0; sys_platform == 'win32' or (os_name != 'nt' and python_version >= '3')",
            "a; '3.8' <= python_version",
            "a; python_version in '2.7 3.0'",
            "a; platform_machine not in 'x86_64 X86_64'",
            "a; python_full_version == '3.8.*'",
            "a; implementation_name=='cpython'",
            "a; 'linux' in sys_platform",
        ] {
            assert!(is_plain(text), "{text}");
        }
    }

    #[test]
    fn others_are_refused() {
        for text in [
            "",
            "!!!bad",
            "a b",
            "-a",
            "a-",
            "é",
            "a[",
            "a[x",
            "a[]",
            "a[x y]",
            "a (>=1.0",
            "a >=1.0)",
            "a >= ",
            "a >= x",
            "a >=1.0.*",
            "a ==1.0a1.*",
            "a >=1.0 <2",
            "a ~=1",
            "a ===1.0",
            "a @ https://example.com/a.whl",
            "a ;",
            "a; python_version",
            "a; python_version >",
            "a; python_version > 3",
            "a; python_version > 'x'",
            "a; python_version ~= '3'",
            "a; 'x' < python_version",
            "a; os_name > 'nt'",
            "a; extra == '2'",
            "a; platform_release >= '20.9'",
            "a; unknown == 'x'",
            "a; 'x' == 'x'",
            "a; os_name == 'nt' and",
            "a; os_name == 'nt' os_name == 'nt'",
            "a; (os_name == 'nt'",
            "a; os_name == 'n\\x74'",
            "a; os_name not 'nt'",
            "a; os_name == 'nt",
        ] {
            assert!(!is_plain(text), "{text}");
        }
        let deep = format!("a; {}os_name == 'nt'{}", "(".repeat(40), ")".repeat(40));
        assert!(!is_plain(&deep));
    }
}
