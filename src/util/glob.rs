//! Patterns with `*` and `?`, for names and for paths.

use wildmatch::WildMatch;

/// Whether all of `text` matches a pattern with `*` and `?`.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    WildMatch::new(pattern).matches(text)
}

/// A pattern for paths. A path matches if the pattern matches it or a folder that it is in.
///
/// Without a `/`, the pattern matches a name anywhere. With one, it matches a path from the top: `*`
/// and `?` do not match a `/`, and `**` matches any number of folders.
#[derive(Debug, Clone, PartialEq)]
pub struct PathPattern {
    parts: Vec<Part>,
    is_anywhere: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    AnyFolders,
    Name(WildMatch),
}

impl PathPattern {
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        let is_anywhere = !pattern.trim_end_matches('/').contains('/');
        let parts = pattern.split('/').filter(|part| !part.is_empty() && *part != ".");
        let part = |part: &str| match part {
            "**" if !is_anywhere => Part::AnyFolders,
            name => Part::Name(WildMatch::new(name)),
        };
        Self { parts: parts.map(part).collect(), is_anywhere }
    }

    /// Whether the pattern matches a path, or a folder that it is in.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let names: Vec<&str> = path.split('/').collect();
        match &self.parts[..] {
            [] => false,
            [Part::Name(name)] if self.is_anywhere => names.iter().any(|it| name.matches(it)),
            parts => match_beginning(parts, &names),
        }
    }
}

/// Whether the pattern matches the first names of a path. Only the last `**` is ever tried again with
/// more folders, which suffices.
fn match_beginning(parts: &[Part], names: &[&str]) -> bool {
    let (mut part, mut name) = (0, 0);
    // After the last `**`: its next part, and the first name that this part was tried with.
    let mut retry = None;
    while let Some(wanted) = parts.get(part) {
        let wanted = match wanted {
            Part::AnyFolders => {
                part += 1;
                retry = Some((part, name));
                continue;
            }
            Part::Name(wanted) => wanted,
        };
        match names.get(name) {
            Some(found) if wanted.matches(found) => {
                part += 1;
                name += 1;
            }
            Some(_) => {
                let Some((after, tried)) = retry else { return false };
                retry = Some((after, tried + 1));
                (part, name) = (after, tried + 1);
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
    fn a_star_matches_any_number_of_characters() {
        for (pattern, text, expected) in [
            ("a*c", "abbc", true),
            ("a*c", "abcb", false),
            ("*.py*", "x.pyc", true),
            ("?b", "ab", true),
            ("?b", "b", false),
            ("?", "ü", true),
            ("a", "a", true),
            ("a[b]", "ab", false),
            ("", "", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_name_matches_anywhere_and_a_path_from_the_top() {
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
            ("**", "a/b", true),
            ("./var/cache", "var/cache/1", true),
            ("var/cache", "var", false),
            ("/", "a", false),
            ("", "a", false),
        ] {
            assert_eq!(PathPattern::new(pattern).matches(path), expected, "{pattern} {path}");
        }
    }

    proptest::proptest! {
        #[test]
        fn two_stars_match_any_number_of_folders(
            names in proptest::collection::vec("[ab]{1,2}", 1..6)
        ) {
            let path = names.join("/");
            for last in &names {
                let pattern = PathPattern::new(&format!("**/{last}"));
                proptest::prop_assert!(pattern.matches(&path));
            }
            let pattern = PathPattern::new("**/c");
            proptest::prop_assert!(!pattern.matches(&path));
        }
    }
}
