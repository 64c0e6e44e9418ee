//! The requirements of a distribution: `Requires-Dist` of its core metadata, and `requires.txt` of an
//! `EGG-INFO`.
//!
//! Of a marker, only the extra is read. The eggs of a buildout answer the rest of it: what a marker
//! excludes is usually not there.

use mailparse::{MailHeader, MailHeaderMap};

use crate::egg::name::normalize_name;

/// One requirement; all names are in the form of PEP 503.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    pub name: String,
    /// The extras that it asks for.
    pub extras: Vec<String>,
    /// It applies only with one of these extras of the distribution that has the requirement; always if
    /// there are none.
    pub only_with: Vec<String>,
}

/// The requirements in these headers.
#[must_use]
pub fn of_headers(headers: &[MailHeader<'_>]) -> Vec<Dependency> {
    let lines = headers.get_all_values("Requires-Dist");
    lines.iter().filter_map(|line| Dependency::parse(line)).collect()
}

/// The requirements in the text of a `requires.txt`. Its sections are `[extra]`, `[:marker]` or
/// `[extra:marker]`.
#[must_use]
pub fn of_requires_txt(text: &str) -> Vec<Dependency> {
    let mut extra = String::new();
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            let header = header.trim_end_matches(']');
            extra = normalize_name(header.split(':').next().unwrap_or_default().trim());
        } else if let Some(mut dependency) = Dependency::parse(line) {
            if !extra.is_empty() {
                dependency.only_with.push(extra.clone());
            }
            found.push(dependency);
        }
    }
    found
}

impl Dependency {
    /// Reads a requirement (PEP 508); `None` if it does not begin with a name.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let (requirement, marker) = line.split_once(';').unwrap_or((line, ""));
        let (name, rest) = leading_name(requirement.trim_start())?;
        let extras = rest.trim_start().strip_prefix('[').and_then(|rest| rest.split(']').next());
        let extras = extras.unwrap_or_default().split(',').map(str::trim);
        Some(Self {
            name: normalize_name(name),
            extras: extras.filter(|extra| !extra.is_empty()).map(normalize_name).collect(),
            only_with: extras_of_marker(marker),
        })
    }
}

/// The name that a text begins with, and the rest.
fn leading_name(text: &str) -> Option<(&str, &str)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let (name, rest) = text.split_at(text.find(|c| !is_name(c)).unwrap_or(text.len()));
    name.starts_with(|c: char| c.is_ascii_alphanumeric()).then_some((name, rest))
}

/// The extras in the comparisons `extra == "name"` of a marker.
fn extras_of_marker(marker: &str) -> Vec<String> {
    let mut extras = Vec::new();
    for part in marker.split("extra").skip(1) {
        let value = part.trim_start().strip_prefix("==").map(str::trim_start);
        let quoted = value.and_then(|value| value.strip_prefix(['"', '\'']));
        let extra = quoted.and_then(|rest| rest.split(['"', '\'']).next());
        extras.extend(extra.filter(|it| !it.is_empty()).map(normalize_name));
    }
    extras
}

/// The extras that the requirements in any text ask for, such as `zope.component[zcml]`.
#[must_use]
pub fn extras_in(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for line in text.lines() {
        for (at, _) in line.match_indices('[') {
            let is_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            let begin = line[..at].trim_end_matches(is_name).len();
            let dependency = Dependency::parse(&line[begin..]).filter(|_| begin < at);
            if let Some(Dependency { name, extras, .. }) = dependency {
                found.extend(extras.into_iter().map(|extra| (name.clone(), extra)));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> (String, Vec<String>, Vec<String>) {
        let Dependency { name, extras, only_with } = Dependency::parse(line).unwrap();
        (name, extras, only_with)
    }

    #[test]
    fn names_extras_and_conditions_are_read() {
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        for (line, name, extras, only_with) in [
            ("Zope.Interface", "zope-interface", &[][..], &[][..]),
            ("foo (>=1.0,<2)", "foo", &[], &[]),
            ("foo[bar, Ba_z]>=1; python_version < '3'", "foo", &["bar", "ba-z"], &[]),
            ("foo ; extra == 'test'", "foo", &[], &["test"]),
            ("foo; (os_name=='nt') and (extra==\"a\" or extra == 'b')", "foo", &[], &["a", "b"]),
            ("foo @ https://example.com/foo.zip ; extra == 'x'", "foo", &[], &["x"]),
        ] {
            assert_eq!(parsed(line), (name.to_owned(), words(extras), words(only_with)), "{line}");
        }
        for none in ["", "# comment", ">=1", "; extra == 'x'", "-r x.txt"] {
            assert_eq!(Dependency::parse(none), None, "{none}");
        }
    }

    #[test]
    fn the_sections_of_requires_txt_are_extras_and_markers() {
        let text = "one>=1\n\n[:python_version<\"3\"]\ntwo\n\n[Test]\nthree[x]\n\n[t:os_name=='nt']\nfour\n";
        let found = of_requires_txt(text);
        let found: Vec<(&str, String)> =
            found.iter().map(|it| (it.name.as_str(), it.only_with.join(","))).collect();
        let expected = [("one", ""), ("two", ""), ("three", "test"), ("four", "t")];
        assert_eq!(found, expected.map(|(name, extra)| (name, extra.to_owned())));
    }

    #[test]
    fn extras_are_found_in_a_configuration() {
        let text = "[app]\neggs = foo[bar,b_z]\n    zope.component[zcml]>=4\nx = ${a:b}[c]\n[d]\n";
        let found = extras_in(text);
        let found: Vec<(&str, &str)> =
            found.iter().map(|(name, extra)| (name.as_str(), extra.as_str())).collect();
        assert_eq!(found, [("foo", "bar"), ("foo", "b-z"), ("zope-component", "zcml")]);
    }
}
