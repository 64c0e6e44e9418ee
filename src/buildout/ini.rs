//! The reader of ini-like files: `buildout.cfg`, `.installed.cfg` and `pyvenv.cfg`.
//!
//! It follows `zc.buildout.configparser`. A comment begins with `#` or `;` in the first column. A
//! line that begins with white space continues the option above it, even after blank lines. `+=` and
//! `-=` add lines to an option and remove lines from it. A header `[name: expression]` makes its
//! section conditional. Lines that buildout refuses are skipped.
//!
//! Values are not expanded: `${section:option}` stays, and a macro (`<= section`) is an option of the
//! name `<`.

/// One option as one place of a file sets it.
#[derive(Debug, PartialEq, Eq)]
pub struct Setting<'t> {
    /// Empty before the first header: `pyvenv.cfg` has none.
    pub section: &'t str,
    /// Whether the section has an expression, so that its options may not apply.
    pub is_conditional: bool,
    pub name: &'t str,
    pub operator: Operator,
    /// The lines of the value, trimmed, without blank ones.
    pub lines: Vec<&'t str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    Set,
    Add,
    Remove,
}

/// Every setting of a file, in order.
#[must_use]
pub fn settings(text: &str) -> Vec<Setting<'_>> {
    let mut settings: Vec<Setting<'_>> = Vec::new();
    let (mut section, mut is_conditional) = ("", false);
    // A section cannot start with a continuation line.
    let mut can_continue = false;
    for line in text.lines() {
        if line.starts_with(['#', ';']) || line.trim().is_empty() {
            continue;
        }
        if line.starts_with(char::is_whitespace) {
            if let Some(setting) = settings.last_mut().filter(|_| can_continue) {
                setting.lines.push(line.trim());
            }
        } else if let Some(header) = line.strip_prefix('[') {
            (section, is_conditional) = parse_header(header);
            can_continue = false;
        } else if let Some((name, operator, value)) = parse_option(line) {
            let lines = if value.is_empty() { Vec::new() } else { vec![value] };
            settings.push(Setting { section, is_conditional, name, operator, lines });
            can_continue = true;
        }
    }
    settings
}

/// The value of an option in one file, one line for each of its lines; `None` if no unconditional
/// section of this name sets it. Additions count wherever they are, removals apply last.
#[must_use]
pub fn value(text: &str, section: &str, name: &str) -> Option<String> {
    let mut value: Option<Vec<&str>> = None;
    let mut removed: Vec<&str> = Vec::new();
    for setting in settings(text) {
        if setting.section != section || setting.name != name || setting.is_conditional {
            continue;
        }
        match setting.operator {
            Operator::Set => {
                value = Some(setting.lines);
                removed.clear();
            }
            Operator::Add => value.get_or_insert_default().extend(setting.lines),
            Operator::Remove => removed.extend(setting.lines),
        }
    }
    let mut lines = value?;
    lines.retain(|line| !removed.contains(line));
    Some(lines.join("\n"))
}

/// The name of a section, and whether it is conditional. `header` lacks the opening bracket.
fn parse_header(header: &str) -> (&str, bool) {
    let end = header.find([']', ':']).unwrap_or(header.len());
    (header[..end].trim(), header[end..].starts_with(':'))
}

/// The name, the operator and the first line of the value.
fn parse_option(line: &str) -> Option<(&str, Operator, &str)> {
    if let Some(dependencies) = line.strip_prefix("=>") {
        return Some(("<part-dependencies>", Operator::Set, dependencies.trim()));
    }
    let (name, value) = line.split_once('=')?;
    let (name, operator) = match name.trim_end() {
        name if name.ends_with('+') => (name.trim_end_matches([' ', '+']), Operator::Add),
        name if name.ends_with('-') => (name.trim_end_matches([' ', '-']), Operator::Remove),
        name => (name, Operator::Set),
    };
    (!name.is_empty()).then_some((name, operator, value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The settings of a text as `section:name operator lines`.
    fn shown(text: &str) -> Vec<String> {
        let shown = |setting: Setting<'_>| {
            let Setting { section, is_conditional, name, operator, lines } = setting;
            let condition = if is_conditional { "?" } else { "" };
            format!("{section}{condition}:{name} {operator:?} {}", lines.join("|"))
        };
        settings(text).into_iter().map(shown).collect()
    }

    #[test]
    fn continuation_lines_follow_comments_and_blank_lines() {
        let text = "[a]\nx = 1\n  2\n# comment\n; comment\n\n\t3 # part of the value\ny=\n  4\n";
        assert_eq!(shown(text), ["a:x Set 1|2|3 # part of the value", "a:y Set 4"]);
    }

    #[test]
    fn a_section_does_not_start_with_a_continuation_line() {
        assert_eq!(shown("  0\n[a]\n  1\nx = 2\n[b]\n  3\n"), ["a:x Set 2"]);
    }

    #[test]
    fn operators_are_read_with_and_without_a_space() {
        let text = "[a]\nx += 1\nx+= 2\nx -= 3\nx-=4\n<= macro\n=> other\n";
        let expected = [
            "a:x Add 1",
            "a:x Add 2",
            "a:x Remove 3",
            "a:x Remove 4",
            "a:< Set macro",
            "a:<part-dependencies> Set other",
        ];
        assert_eq!(shown(text), expected);
    }

    #[test]
    fn headers_have_comments_and_expressions() {
        let text = "x = 0\n[ a ] # b: c\nx = 1\n[a:sys.argv[0] == ']'] ; d\nx = 2\n[b]\nx = 3\n";
        assert_eq!(shown(text), [":x Set 0", "a:x Set 1", "a?:x Set 2", "b:x Set 3"]);
    }

    #[test]
    fn lines_that_buildout_refuses_are_skipped() {
        assert_eq!(shown("[a]\nx = 1\nno option\n  2\n= 3\n"), ["a:x Set 1|2"]);
    }

    #[test]
    fn a_value_has_its_additions_and_lacks_its_removals() {
        let text = "[a]\nx = 1\n  2\n[b]\nx = 9\n[a]\nx -= 2\nx += 3\n[a: True]\nx = 8\n";
        assert_eq!(value(text, "a", "x").as_deref(), Some("1\n3"));
        assert_eq!(value("[a]\nx += 1\nx = 2\n", "a", "x").as_deref(), Some("2"));
        assert_eq!(value("[a]\nx += 1\n", "a", "x").as_deref(), Some("1"));
        assert_eq!(value("[a]\nx =\n", "a", "x").as_deref(), Some(""));
        assert_eq!(value("[a]\nx -= 1\n", "a", "x"), None);
        assert_eq!(value(text, "a", "y"), None);
    }

    #[test]
    fn options_before_the_first_header_have_no_section() {
        assert_eq!(value("home = /usr/bin\nversion = 3.11.2\n", "", "version").unwrap(), "3.11.2");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(\\PC|\n|\\[|\\]|:|=|\\+|-){0,40}") {
            let _ = settings(&text);
        }
    }
}
