//! Eggs whose rows in a list look alike, and in what they differ.

use std::collections::{BTreeSet, HashMap};

use crate::cache::build_options::{BuildOptions, KnownVariant};
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::EggKey;
use crate::util::hash::digest::shown_digits;

/// The variants of eggs.
pub type Variants = HashMap<String, KnownVariant>;

/// A part of an egg that a list does not show, in words. The group is all eggs whose rows look like its own.
type Part = fn(&CachedEgg, &[&CachedEgg], &Variants) -> String;

const PARTS: [Part; 6] = [
    |egg, _, _| archive(egg),
    build_options,
    |egg, _, _| labelled("environment label", &egg.key.environment),
    |egg, _, _| labelled("ABI", &egg.key.abi),
    |egg, _, _| labelled("C library", &egg.key.libc),
    |egg, _, _| egg.file_name.clone(),
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
        let own = part(egg, group, variants);
        group.iter().any(|other| part(other, group, variants) != own)
    };
    let parts: Vec<String> =
        PARTS.iter().filter(is_different).map(|part| part(egg, group, variants)).collect();
    parts.join(", ")
}

fn archive(egg: &CachedEgg) -> String {
    let name = egg.provenance.source.as_deref().unwrap_or("archive");
    match &egg.key.source_sha256[..] {
        "" => "unknown archive".into(),
        sha256 => format!("{name} ({})", shown_digits(sha256)),
    }
}

/// The options in which an egg differs from others of its group, and the digits of its variant if it has the same
/// words as another one: those do not say all of long options.
fn build_options(egg: &CachedEgg, group: &[&CachedEgg], variants: &Variants) -> String {
    let variant = &egg.key.variant;
    let words = differing_options(egg, group, variants);
    let is_alone = group.iter().all(|other| {
        other.key.variant == *variant || differing_options(other, group, variants) != words
    });
    if is_alone { words } else { format!("{words} (variant {})", shown_digits(variant)) }
}

fn differing_options(egg: &CachedEgg, group: &[&CachedEgg], variants: &Variants) -> String {
    let Some(own) = variants.get(&egg.key.variant) else { return "no build options".into() };
    let of_group = || group.iter().map(|other| variants.get(&other.key.variant));
    let folder =
        |known: Option<&KnownVariant>| known.map(|it| it.folder.clone()).unwrap_or_default();
    let mut words = match &own.options {
        None => vec![own.shown_build()],
        Some(options) => {
            // A plain build has no options. With unknown ones, nothing is compared.
            let plain = BuildOptions::new();
            let all: Vec<&BuildOptions> = of_group()
                .filter_map(|known| known.map_or(Some(&plain), |it| it.options.as_ref()))
                .collect();
            let names: BTreeSet<&String> = all.iter().flat_map(|it| it.keys()).collect();
            let differs = |name: &&String| all.iter().any(|it| it.get(*name) != options.get(*name));
            let shown = |name: &String| match options.get(name) {
                Some(value) => format!("{name} = {value}"),
                None => format!("no {name}"),
            };
            names.into_iter().filter(differs).map(shown).collect()
        }
    };
    if of_group().any(|other| folder(other) != own.folder) {
        let any = || "for any folder".to_owned();
        words.push(if own.folder.is_empty() { any() } else { own.shown_folder() });
    }
    if words.is_empty() { own.shown_build() } else { words.join(", ") }
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
        let variants = [("abc", Some([("define", "A")])), ("0123456789", None)].map(known).into();
        assert_eq!(
            differences(&eggs, &variants),
            [
                "",
                "unknown archive, no build options, environment label el9",
                "foo.tar.gz (abababababab), no build options, no environment label",
                "unknown archive, variant 0123456789, no environment label",
                "unknown archive, define = A, no environment label",
            ]
        );
        assert_eq!(differences(&eggs[..1], &variants), [""]);
    }

    /// A variant, with a folder after a dot, and its options if they are known.
    fn known<const N: usize>(
        (variant, options): (&str, Option<[(&str, &str); N]>),
    ) -> (String, KnownVariant) {
        let (build, folder) = variant.split_once('.').unwrap_or((variant, ""));
        let options = options.map(|it| it.map(|(name, value)| (name.into(), value.into())).into());
        let known = KnownVariant { build: build.into(), options, folder: folder.into() };
        (variant.to_owned(), known)
    }

    #[test]
    fn only_build_options_whose_values_differ_are_named() {
        let of = |variants: &[(String, KnownVariant)]| {
            let builds = variants.iter().map(|(it, _)| egg(|egg| egg.key.variant.clone_from(it)));
            differences(&builds.collect::<Vec<_>>(), &variants.iter().cloned().collect())
        };
        let same = [("include-dirs", "parts/calc/include"), ("libraries", "calc")];
        let with = |path| Some([same[0], same[1], ("rpath", path)]);
        assert_eq!(
            of(&[known(("a.1", with("/one"))), known(("b", with("/two")))]),
            ["rpath = /one, only for folder 1", "rpath = /two, for any folder"]
        );
        assert_eq!(
            of(&[known(("a", with("/one"))), known(("b", Some(same)))]),
            ["rpath = /one", "no rpath"]
        );
        // The record has no option that is too long.
        let equal = of(&[known(("a", Some(same))), known(("b", Some(same)))]);
        let words = "include-dirs = parts/calc/include, libraries = calc";
        assert_eq!(equal, ["a", "b"].map(|digits| format!("{words} (variant {digits})")));
        let bound = of(&[known(("a.1", with("/one"))), known(("a.2", with("/one")))]);
        assert_eq!(bound, ["only for folder 1", "only for folder 2"]);
    }
}
