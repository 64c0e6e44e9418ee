//! Text that a terminal, a log or a person could misread. Names come from eggs, archives, remotes and
//! file systems, and anybody can make those.

use std::borrow::Cow;
use std::fmt::Write;
use std::path::Path;

/// Whether a character shows as itself. Control characters act on a terminal or end a line, and
/// characters of Unicode's categories Cf, Zl and Zp reorder, hide or break the text around them. So do those
/// that Unicode lets a font leave out (`Default_Ignorable_Code_Point`).
#[must_use]
pub fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// A path as a shell takes it.
#[must_use]
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A text with every other character escaped, line breaks among them.
#[must_use]
pub fn one_line(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_printable) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_printable(c) {
            shown.push(c);
        } else {
            shown.extend(c.escape_default());
        }
    }
    shown.into()
}

/// JSON with every other character of its texts escaped, so that it can be printed. Line breaks between
/// its parts stay.
#[must_use]
pub fn json(json: &str) -> Cow<'_, str> {
    // Outside texts, JSON has no other characters than line breaks, and in texts no line breaks.
    let is_harmless = |c: char| is_printable(c) || c == '\n';
    if json.chars().all(is_harmless) {
        return json.into();
    }
    let mut shown = String::with_capacity(json.len() + 8);
    for c in json.chars() {
        if is_harmless(c) {
            shown.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(shown, "\\u{unit:04x}");
        }
    }
    shown.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_or_a_reader_could_misread_is_escaped() {
        for ordinary in ["zope.interface 5.4.0+übung", "e\u{301}", "日本語 ", "🥚"] {
            assert_eq!(one_line(ordinary), ordinary);
        }
        for (text, shown) in [
            ("a\nerror: b\r\t", r"a\nerror: b\r\t"),
            ("\u{1b}[2J\u{9b}31m\u{85}", r"\u{1b}[2J\u{9b}31m\u{85}"),
            ("\u{202e}gge\u{2069}\u{200b}", r"\u{202e}gge\u{2069}\u{200b}"),
            ("a\u{2028}b\u{e0041}", r"a\u{2028}b\u{e0041}"),
            ("a\u{34f}b\u{3164}c\u{fe0f}", r"a\u{34f}b\u{3164}c\u{fe0f}"),
        ] {
            assert_eq!(one_line(text), shown);
        }
    }

    proptest! {
        #[test]
        fn json_keeps_its_meaning(text in any::<String>()) {
            let printed = serde_json::to_string_pretty(&[&text]).unwrap();
            let escaped = json(&printed);
            prop_assert!(escaped.chars().all(|c| is_printable(c) || c == '\n'));
            prop_assert_eq!(serde_json::from_str::<[String; 1]>(&escaped).unwrap(), [text]);
        }
    }
}
