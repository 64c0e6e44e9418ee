//! Patterns with `*` and `?`, of a text and of a path.

/// Whether all of `text` is like a pattern with `*` and `?`.
#[must_use]
pub fn is_like(pattern: &str, text: &str) -> bool {
    if !pattern.contains(['*', '?']) {
        return pattern == text;
    }
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut from) = (0, 0);
    // Where the last star is, and how much it stands for so far.
    let mut star = None;
    while from < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(&c) if c == '?' || c == text[from] => {
                at += 1;
                from += 1;
            }
            _ => {
                let Some((of_star, taken)) = star else { return false };
                star = Some((of_star, taken + 1));
                (at, from) = (of_star + 1, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|&c| c == '*')
}

/// Paths, each with everything below it. Without a `/`, the pattern is of a name anywhere. With one,
/// it is of a path from the top; `*` and `?` then stand for no `/`, and `**` for any folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    parts: Vec<String>,
    is_anywhere: bool,
}

impl PathPattern {
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        let is_anywhere = !pattern.trim_end_matches('/').contains('/');
        let parts = pattern.split('/').filter(|part| !part.is_empty() && *part != ".");
        Self { parts: parts.map(str::to_owned).collect(), is_anywhere }
    }

    /// Whether a path, or a folder that it is in, is like the pattern.
    #[must_use]
    pub fn holds(&self, path: &str) -> bool {
        let names: Vec<&str> = path.split('/').collect();
        match &self.parts[..] {
            [] => false,
            [name] if self.is_anywhere => names.iter().any(|it| is_like(name, it)),
            parts => is_beginning(parts, &names),
        }
    }
}

/// Whether the names of a path begin as a pattern says. As with the stars of a text, only the last
/// `**` is ever tried again.
fn is_beginning(parts: &[String], names: &[&str]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut folders = None;
    while let Some(part) = parts.get(at) {
        if part == "**" {
            at += 1;
            folders = Some((at, from));
            continue;
        }
        match names.get(from) {
            Some(name) if is_like(part, name) => {
                at += 1;
                from += 1;
            }
            Some(_) => {
                let Some((after, taken)) = folders else { return false };
                folders = Some((after, taken + 1));
                (at, from) = (after, taken + 1);
            }
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_number_of_characters() {
        for (pattern, text, expected) in [
            ("a*c", "abbc", true),
            ("a*c", "abcb", false),
            ("*.py*", "x.pyc", true),
            ("?b", "ab", true),
            ("?b", "b", false),
            ("", "", true),
        ] {
            assert_eq!(is_like(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_pattern_of_a_name_is_found_anywhere_and_one_of_a_path_from_the_top() {
        for (pattern, path, expected) in [
            ("*.log", "parts/app/x.log", true),
            ("docs", "src/docs/a.txt", true),
            ("docs/", "src/docs/a.txt", true),
            ("/docs", "src/docs/a.txt", false),
            ("/docs", "docs/a.txt", true),
            ("parts/*/x", "parts/a/x/y", true),
            ("parts/*/x", "parts/a/b/x", false),
            ("parts/**/x", "parts/a/b/x", true),
            ("parts/**/x", "parts/x", true),
            ("**/a/b", "a/a/b", true),
            ("./var/cache", "var/cache/1", true),
            ("var/cache", "var", false),
            ("/", "a", false),
            ("", "a", false),
        ] {
            assert_eq!(PathPattern::new(pattern).holds(path), expected, "{pattern} {path}");
        }
    }

    proptest::proptest! {
        #[test]
        fn folders_are_found_however_many(names in proptest::collection::vec("[ab]{1,2}", 1..6)) {
            let path = names.join("/");
            for last in &names {
                let pattern = PathPattern::new(&format!("**/{last}"));
                proptest::prop_assert!(pattern.holds(&path));
            }
            let pattern = PathPattern::new("**/c");
            proptest::prop_assert!(!pattern.holds(&path));
        }
    }
}
