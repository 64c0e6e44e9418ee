//! Escaping text for a page. Names come from eggs, and anybody can make an egg.

use serde::Serialize;

/// Text for an element or a quoted attribute. Control characters, and characters that change the
/// direction of the text around them, are replaced.
pub fn text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' => {
                escaped.push(char::REPLACEMENT_CHARACTER);
            }
            c if c.is_control() => escaped.push(char::REPLACEMENT_CHARACTER),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Text that may break after each slash, as in a path or an address.
pub fn path(path: &str) -> String {
    text(path).replace('/', "/<wbr>").replace(":/<wbr>/<wbr>", "://")
}

/// JSON for a script element. It has no `<`, so nothing in it ends the element or begins a comment.
pub fn json(data: &impl Serialize) -> String {
    let json = serde_json::to_string(data).unwrap_or_else(|_| "null".into());
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            // In JSON, these occur only in strings.
            '<' => escaped.push_str("\\u003c"),
            '>' => escaped.push_str("\\u003e"),
            '&' => escaped.push_str("\\u0026"),
            '\u{2028}' => escaped.push_str("\\u2028"),
            '\u{2029}' => escaped.push_str("\\u2029"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A template with values in place of `{{names}}`. Names in values are not replaced.
pub fn fill(template: &str, values: &[(&str, String)]) -> String {
    let mut parts = template.split("{{");
    let mut page = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once("}}").unwrap_or((part, ""));
        let value = values.iter().find(|(known, _)| *known == name);
        page.push_str(value.map_or("", |(_, value)| value));
        page.push_str(rest);
    }
    page
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn markup_is_text() {
        assert_eq!(text("<b a=\"1\">&'"), "&lt;b a=&quot;1&quot;&gt;&amp;&#39;");
        assert_eq!(text("a\0b\u{202e}c\n"), "a\u{fffd}b\u{fffd}c\u{fffd}");
        assert_eq!(text("zope.interface 5.4.0+übung"), "zope.interface 5.4.0+übung");
    }

    #[test]
    fn a_path_may_break_after_slashes() {
        assert_eq!(path("/srv/<b>"), "/<wbr>srv/<wbr>&lt;b&gt;");
        assert_eq!(path("s3://eggs/pool"), "s3://eggs/<wbr>pool");
    }

    #[test]
    fn names_in_values_are_not_replaced() {
        let values = [("a", "{{b}}".to_owned()), ("b", "no".to_owned())];
        assert_eq!(fill("<i>{{a}}</i>{{c}}.", &values), "<i>{{b}}</i>.");
    }

    proptest! {
        #[test]
        fn no_text_is_markup(name in ".*") {
            prop_assert!(!text(&name).contains(['<', '>', '"', '\'']));
        }

        #[test]
        fn json_survives_escaping_and_does_not_end_its_script(
            name in r#"([a-z<>/!&"'\\{}\u{2028}\u{2029}-]|</script|<!--|-->|]]>)*"#
        ) {
            let escaped = json(&name);
            let is_plain = !escaped.contains(['<', '>', '&', '\u{2028}', '\u{2029}']);
            prop_assert!(is_plain);
            prop_assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), name);
        }
    }
}
