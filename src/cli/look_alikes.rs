//! Eggs whose rows in a list look alike, and in what they differ.

use std::collections::{BTreeSet, HashMap};

use crate::cache::build_options::{BuildOptions, KnownVariant};
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::EggKey;
use crate::util::hash::digest::shown_digits;

/// The variants of eggs.
pub type Variants = HashMap<String, KnownVariant>;

/// The builds of eggs whose rows look alike, in words, by variant.
type Builds<'a> = HashMap<&'a str, String>;

/// A part of an egg that a list does not show, in words.
type Part = fn(&CachedEgg, &Builds<'_>) -> String;

const PARTS: [Part; 6] = [
    |egg, _| archive(egg),
    |egg, builds| builds[&egg.key.variant[..]].clone(),
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
    let builds: HashMap<_, Builds<'_>> =
        groups.iter().map(|(row, group)| (*row, builds(group, variants))).collect();
    eggs.iter().map(|egg| difference(egg, &groups[&row(egg)], &builds[&row(egg)])).collect()
}

/// What the row of an egg shows of its key.
fn row(egg: &CachedEgg) -> (&str, &str, &str, &str, u8) {
    let EggKey { name, version, python, platform, generation, .. } = &egg.key;
    (name, version, python, platform, *generation)
}

/// The parts of an egg that are not the same in all eggs of a group.
fn difference(egg: &CachedEgg, group: &[&CachedEgg], builds: &Builds<'_>) -> String {
    let is_different = |part: &&Part| {
        let own = part(egg, builds);
        group.iter().any(|other| part(other, builds) != own)
    };
    let parts: Vec<String> =
        PARTS.iter().filter(is_different).map(|part| part(egg, builds)).collect();
    parts.join(", ")
}

fn archive(egg: &CachedEgg) -> String {
    let name = egg.provenance.source.as_deref().unwrap_or("archive");
    match &egg.key.source_sha256[..] {
        "" => "unknown archive".into(),
        sha256 => format!("{name} ({})", shown_digits(sha256)),
    }
}

/// The options in which the builds of a group differ, and the digits of a variant if it has the same words as another
/// one: those do not say all of long options.
fn builds<'a>(group: &[&'a CachedEgg], variants: &Variants) -> Builds<'a> {
    let of_group: BTreeSet<&str> = group.iter().map(|egg| &egg.key.variant[..]).collect();
    let known: Vec<Option<&KnownVariant>> = of_group.iter().map(|it| variants.get(*it)).collect();
    // A plain build has no options. With unknown ones, nothing is compared.
    let plain = BuildOptions::new();
    let options: Vec<&BuildOptions> =
        known.iter().filter_map(|it| it.map_or(Some(&plain), |it| it.options.as_ref())).collect();
    let mut differing: BTreeSet<&String> = options.iter().flat_map(|it| it.keys()).collect();
    differing.retain(|name| options.iter().any(|it| it.get(*name) != options[0].get(*name)));
    let folder = |it: Option<&KnownVariant>| it.map(|it| it.folder.clone()).unwrap_or_default();
    let have_folders = known.iter().any(|it| folder(*it) != folder(known[0]));
    let words: Vec<String> = known
        .iter()
        .map(|it| it.map_or(NO_OPTIONS.into(), |it| shown(it, &differing, have_folders)))
        .collect();
    let with_digits = |(variant, own): (&'a str, &String)| {
        let is_alone = words.iter().filter(|other| *other == own).count() == 1;
        let digits = || format!("{own} (variant {})", shown_digits(variant));
        (variant, if is_alone { own.clone() } else { digits() })
    };
    of_group.into_iter().zip(&words).map(with_digits).collect()
}

const NO_OPTIONS: &str = "no build options";

/// A build by these of its options, and by its folder if that counts.
fn shown(build: &KnownVariant, differing: &BTreeSet<&String>, has_folder: bool) -> String {
    let option = |options: &BuildOptions, name: &str| match options.get(name) {
        Some(value) => format!("{name} = {value}"),
        None => format!("no {name}"),
    };
    let mut words = match &build.options {
        None => vec![build.shown_build()],
        Some(options) => differing.iter().map(|name| option(options, name)).collect(),
    };
    if has_folder {
        let is_for_any = build.folder.is_empty();
        words.push(if is_for_any { "for any folder".into() } else { build.shown_folder() });
    }
    if words.is_empty() { build.shown_build() } else { words.join(", ") }
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
