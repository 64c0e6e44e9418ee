//! The parts of keys, origins and metadata that differ.

use serde::Serialize;

use crate::cache::Cache;
use crate::cache::build_options;
use crate::egg::cached_egg::CachedEgg;

/// A field that differs. `None` if an egg does not have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Field {
    pub name: String,
    pub left: Option<String>,
    pub right: Option<String>,
}

/// The parts of the egg key and of the origin that differ.
pub(super) fn of_eggs(left: &CachedEgg, right: &CachedEgg, cache: &Cache) -> Vec<Field> {
    let (of_left, of_right) = (values(left, cache), values(right, cache));
    let pairs = of_left.into_iter().zip(of_right);
    let differ = pairs.filter(|((_, left), (_, right))| left != right);
    differ
        .map(|((name, left), (_, right))| {
            let some = |value: String| Some(value).filter(|it| !it.is_empty());
            Field { name: name.to_owned(), left: some(left), right: some(right) }
        })
        .collect()
}

fn values(egg: &CachedEgg, cache: &Cache) -> [(&'static str, String); 18] {
    let (key, origin) = (&egg.key, &egg.provenance);
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let options = cache.build_options(&key.variant).map(|it| build_options::shown(&it));
    [
        ("file name", egg.file_name.clone()),
        ("name", key.name.clone()),
        ("version", key.version.clone()),
        ("python", key.python.clone()),
        ("abi", key.abi.clone()),
        ("platform", key.platform.clone()),
        ("libc", key.libc.clone()),
        ("generation", key.generation.to_string()),
        ("spelling", key.spelling.clone()),
        ("source sha256", key.source_sha256.clone()),
        ("variant", key.variant.clone()),
        ("options", text(&options)),
        ("environment", key.environment.clone()),
        ("source", text(&origin.source)),
        ("source url", text(&origin.archive_url)),
        ("zc.buildout", text(&origin.buildout)),
        ("setuptools", text(&origin.setuptools)),
        ("eggcache", origin.eggcache.clone()),
    ]
}

/// The headers of core metadata that only one of the texts has, in their order. The description is left out.
pub(super) fn of_metadata(left: &[u8], right: &[u8]) -> Vec<Field> {
    let (left, right) = (headers(left), headers(right));
    let only = |of: &[(String, String)], other: &[(String, String)]| -> Vec<(String, String)> {
        of.iter().filter(|it| !other.contains(it)).cloned().collect()
    };
    let (only_left, mut only_right) = (only(&left, &right), only(&right, &left));
    let mut fields = Vec::new();
    for (name, value) in only_left {
        let same = only_right.iter().position(|(other, _)| *other == name);
        let right = same.map(|at| only_right.remove(at).1);
        fields.push(Field { name, left: Some(value), right });
    }
    let rest = only_right.into_iter();
    fields.extend(rest.map(|(name, value)| Field { name, left: None, right: Some(value) }));
    fields
}

fn headers(text: &[u8]) -> Vec<(String, String)> {
    let Ok((headers, _)) = mailparse::parse_headers(text) else { return Vec::new() };
    let headers = headers.iter().map(|header| (header.get_key(), header.get_value()));
    headers.filter(|(name, _)| name != "Description").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_differ_are_paired_by_name() {
        let left = b"Name: a\nRequires-Dist: x>=1\nRequires-Dist: y\nLicense: MIT\n\ntext\n";
        let right = b"Name: a\nRequires-Dist: y\nRequires-Dist: x>=2\nSummary: s\n\nother\n";
        let fields = of_metadata(left, right);
        let shown: Vec<_> =
            fields.iter().map(|it| (&*it.name, it.left.as_deref(), it.right.as_deref())).collect();
        let expected = [
            ("Requires-Dist", Some("x>=1"), Some("x>=2")),
            ("License", Some("MIT"), None),
            ("Summary", None, Some("s")),
        ];
        assert_eq!(shown, expected);
        assert_eq!(of_metadata(left, left), []);
    }
}
