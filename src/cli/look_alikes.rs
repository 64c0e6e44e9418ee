//! Eggs whose rows in a list look alike, and in what they differ.

use std::collections::HashMap;

use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::EggKey;
use crate::util::hash::digest::shown_digits;

/// The variants of eggs, in words.
pub type Variants = HashMap<String, String>;

/// A part of an egg that a list does not show, in words.
type Part = fn(&CachedEgg, &Variants) -> String;

const PARTS: [Part; 6] = [
    |egg, _| archive(egg),
    build_options,
    |egg, _| labelled("environment label", &egg.key.environment),
    |egg, _| labelled("ABI", &egg.key.abi),
    |egg, _| labelled("C library", &egg.key.libc),
    |egg, _| egg.file_name.clone(),
];

/// In what eggs differ whose rows look alike, for each egg: an empty text if its row is the only one.
pub fn differences(eggs: &[CachedEgg], variants: &Variants) -> Vec<String> {
    let mut groups: HashMap<_, Vec<&CachedEgg>> = HashMap::new();
    for egg in eggs {
        groups.entry(row(egg)).or_default().push(egg);
    }
    eggs.iter().map(|egg| difference(egg, &groups[&row(egg)], variants)).collect()
}

/// What the row of an egg shows of its key.
fn row(egg: &CachedEgg) -> (&str, &str, &str, &str, u8) {
    let EggKey { name, version, python, platform, generation, .. } = &egg.key;
    (name, version, python, platform, *generation)
}

/// The parts of an egg that are not the same in all eggs of a group.
fn difference(egg: &CachedEgg, group: &[&CachedEgg], variants: &Variants) -> String {
    let is_different = |part: &&Part| {
        let own = part(egg, variants);
        group.iter().any(|other| part(other, variants) != own)
    };
    let parts: Vec<String> =
        PARTS.iter().filter(is_different).map(|part| part(egg, variants)).collect();
    parts.join(", ")
}

fn archive(egg: &CachedEgg) -> String {
    let name = egg.provenance.source.as_deref().unwrap_or("archive");
    match &egg.key.source_sha256[..] {
        "" => "unknown archive".into(),
        sha256 => format!("{name} ({})", shown_digits(sha256)),
    }
}

fn build_options(egg: &CachedEgg, variants: &Variants) -> String {
    let variant = &egg.key.variant;
    let known = variants.get(variant);
    if variant.is_empty() { "no build options".into() } else { known.unwrap_or(variant).clone() }
}

fn labelled(what: &str, value: &str) -> String {
    if value.is_empty() { format!("no {what}") } else { format!("{what} {value}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egg::manifest::tests::manifest;
    use crate::egg::provenance::Provenance;
    use crate::util::hash::digest::Digest;

    fn egg(change: impl FnOnce(&mut CachedEgg)) -> CachedEgg {
        let provenance = Provenance::default();
        let mut egg = CachedEgg::new(Digest::of(b"x"), &manifest(Vec::new()), 1, provenance);
        change(&mut egg);
        egg
    }

    #[test]
    fn only_rows_that_look_alike_are_explained() {
        let eggs = [
            egg(|egg| egg.key.version = "7".into()),
            egg(|egg| egg.key.environment = "el9".into()),
            egg(|egg| {
                egg.key.source_sha256 = "ab".repeat(32);
                egg.provenance.source = Some("foo.tar.gz".into());
            }),
            egg(|egg| egg.key.variant = "0123456789".into()),
            egg(|egg| egg.key.variant = "abc".into()),
        ];
        let variants = [("abc".to_owned(), "define = A".to_owned())].into();
        assert_eq!(
            differences(&eggs, &variants),
            [
                "",
                "unknown archive, no build options, environment label el9",
                "foo.tar.gz (abababababab), no build options, no environment label",
                "unknown archive, 0123456789, no environment label",
                "unknown archive, define = A, no environment label",
            ]
        );
        assert_eq!(differences(&eggs[..1], &variants), [""]);
    }
}
