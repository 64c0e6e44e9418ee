//! The encoding that a source declares (PEP 263).

/// Encodings that Python decodes without a module, in lower case and with `-` for `_`. Python accepts a
/// suffix after a `-` for the first ones.
const BUILT_IN: [&str; 4] = ["utf-8", "latin-1", "iso-8859-1", "iso-latin-1"];
const ALIASES: [&str; 5] = ["utf8", "ascii", "us-ascii", "latin1", "iso8859-1"];

/// Whether Python imports no module to decode a source that begins so. `is_whole` says that nothing
/// follows. A comment that goes on is taken for one that names any encoding.
#[must_use]
pub fn is_built_in(head: &[u8], is_whole: bool) -> bool {
    let mut rest = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    for _ in 0..2 {
        let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let line = &rest[..end.unwrap_or(rest.len())];
        let blank = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\x0c');
        let text = &line[line.iter().take_while(blank).count()..];
        if text.first().is_some_and(|&first| first != b'#') {
            return true;
        }
        if let Some(name) = declared(text) {
            return is_built_in_name(name);
        }
        let Some(end) = end else { return is_whole };
        let ends_with_two = rest[end..].starts_with(b"\r\n");
        rest = &rest[end + 1 + usize::from(ends_with_two)..];
    }
    true
}

/// The encoding that a comment names.
fn declared(comment: &[u8]) -> Option<&[u8]> {
    const WORD: &[u8] = b"coding";
    let found = comment
        .windows(WORD.len() + 1)
        .enumerate()
        .filter(|(_, it)| it.starts_with(WORD) && matches!(it.last(), Some(b':' | b'=')));
    found.map(|(at, it)| name(&comment[at + it.len()..])).find(|name| !name.is_empty())
}

/// The name after `coding:`, which may be empty.
fn name(text: &[u8]) -> &[u8] {
    let text = &text[text.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count()..];
    let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    &text[..text.iter().take_while(is_part).count()]
}

fn is_built_in_name(name: &[u8]) -> bool {
    let name = String::from_utf8_lossy(name).to_lowercase().replace('_', "-");
    let is_it = |it: &str| {
        name.strip_prefix(it).is_some_and(|suffix| suffix.is_empty() || suffix.starts_with('-'))
    };
    BUILT_IN.into_iter().any(is_it) || ALIASES.contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_that_python_knows_without_a_module_are_built_in() {
        for text in [
            "",
            "x = 1\n# coding: cp1252\n",
            "\n\n# coding: cp1252\n",
            "# a\n# b\n# coding: cp1252\n",
            "# -*- coding: UTF-8 -*-\n",
            "# -*- coding: utf_8-sig -*-\n",
            "#!/usr/bin/python\n# vim: set fileencoding=latin1 :\n",
            "# coding=iso-8859-1\n",
            "# Coding: cp1252\n",
            "# coding : cp1252\n",
            "x = '# coding: cp1252'\n",
            "\u{feff}# coding: utf8\n",
            "# coding: us-ascii",
        ] {
            assert!(is_built_in(text.as_bytes(), true), "{text:?}");
        }
    }

    #[test]
    fn other_encodings_are_found_where_python_finds_them() {
        for text in [
            "# coding: cp1252",
            "#coding=windows-1252\n",
            "\r\n \t\x0c# -*- encoding: \t iso-8859-15 -*-\n",
            "\r# coding:koi8-r\r",
            "# coding: # coding: gbk\n",
            "\u{feff}# coding: cp1252\n",
            "# coding: utf-7\n",
            "# coding: nope\n",
        ] {
            assert!(!is_built_in(text.as_bytes(), true), "{text:?}");
        }
    }

    #[test]
    fn a_comment_that_is_cut_off_may_name_any_encoding() {
        for (text, is_known) in
            [("# a", false), ("# a\n", false), ("# a\n#", false), ("# a\n# b\n", true), ("x", true)]
        {
            assert_eq!(is_built_in(text.as_bytes(), false), is_known, "{text:?}");
        }
    }
}
