//! Buildout's egg layouts. The egg key calls them generations, after the first major version of zc.buildout
//! that has them.
//!
//! | generation | made by zc.buildout | of a wheel | of a source distribution | project in the file name |
//! |---|---|---|---|---|
//! | 2 | 2 | unpacked, `EGG-INFO` | by `easy_install`, `EGG-INFO` | as in the archive |
//! | 3 | 3.0 to 4.1.3 | unpacked, `EGG-INFO` | by pip, `*.dist-info` | as in the archive or wheel |
//! | 4 | 4.1.4 to 4.2 | unpacked, `EGG-INFO` | by pip, `*.dist-info` | as in the metadata |
//! | 5 | 5 and later | by pip, `*.dist-info` | by pip, `*.dist-info` | as in the metadata |
//!
//! A buildout reports the layout of the code that runs. Before eggcache did so, the generation was the major
//! version of zc.buildout in the working set, which can be another one than runs after an upgrade. Eggs from
//! then keep their keys; [`key_of`] and [`is_contradicted`] recognise those that do not fit.

use std::borrow::Cow;

use pep440_rs::Version;

use crate::egg::key::EggKey;
use crate::egg::manifest::Manifest;
use crate::egg::provenance::Provenance;

/// The layout whose file names have the project's name as archives and wheels spell it.
pub const ARCHIVE_NAMED: u8 = 3;
/// The first layout whose file names have the project's name as the metadata spells it.
pub const METADATA_NAMED: u8 = 4;
/// The newest egg layout: later versions of buildout use the same.
pub const LAST_GENERATION: u8 = 5;
/// The first version of zc.buildout 4 that makes [`METADATA_NAMED`] eggs.
const FIRST_METADATA_NAMED: [u64; 3] = [4, 1, 4];
/// The first setuptools whose builds have normalized names: `zc_recipe_egg`, not `zc.recipe.egg`.
const FIRST_NORMALIZING: [u64; 3] = [75, 8, 1];

/// Whether a file of an egg is in its `EGG-INFO`.
#[must_use]
pub fn is_egg_info(path: &str) -> bool {
    path.starts_with("EGG-INFO/")
}

/// The key of an egg with the layout that its builder really had: zc.buildout 4.0 to 4.1.3 were recorded as
/// generation 4.
#[must_use]
pub fn key_of<'a>(key: &'a EggKey, provenance: &Provenance) -> Cow<'a, EggKey> {
    let is_archive_named = || {
        let version = provenance.buildout.as_ref()?.parse::<Version>().ok()?;
        Some(version < Version::new(FIRST_METADATA_NAMED))
    };
    if key.generation == METADATA_NAMED && is_archive_named() == Some(true) {
        Cow::Owned(EggKey { generation: ARCHIVE_NAMED, ..key.clone() })
    } else {
        Cow::Borrowed(key)
    }
}

/// Whether an egg that a buildout has stored as [`LAST_GENERATION`] was made by an older one, by its content.
/// Only an archive that is an egg keeps its `EGG-INFO` in newer ones.
#[must_use]
pub fn is_contradicted(manifest: &Manifest, provenance: &Provenance) -> bool {
    let is_archived_egg = provenance.source.as_ref().is_some_and(|it| it.ends_with(".egg"));
    manifest.key.generation == LAST_GENERATION
        && provenance.buildout.is_some()
        && !is_archived_egg
        && manifest.entries.iter().any(|entry| is_egg_info(entry.path.as_str()))
}

/// Whether a buildout with this setuptools would give an egg another file name, by the setuptools of its
/// builder. That is so for [`ARCHIVE_NAMED`] eggs that older setuptools made of a source distribution.
#[must_use]
pub fn is_named_otherwise(
    file_name: &str,
    key: &EggKey,
    provenance: &Provenance,
    setuptools: Option<&str>,
) -> bool {
    let normalizes = |version: Option<&str>| {
        let version: Version = version?.parse().ok()?;
        Some(version >= Version::new(FIRST_NORMALIZING))
    };
    let is_normalized = || {
        let project = file_name.split('-').next().unwrap_or_default();
        project.eq_ignore_ascii_case(&key.name.replace('-', "_"))
    };
    key_of(key, provenance).generation == ARCHIVE_NAMED
        && provenance.is_of_sources()
        && normalizes(setuptools) == Some(true)
        && normalizes(provenance.setuptools.as_deref()) == Some(false)
        && !is_normalized()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egg::key::tests::key;
    use crate::egg::manifest::tests::{file, manifest};

    fn built_by(version: &str) -> Provenance {
        Provenance { buildout: Some(version.into()), ..Provenance::default() }
    }

    #[test]
    fn eggs_of_the_first_releases_of_buildout_four_are_named_as_archives() {
        for (version, recorded, generation) in [
            ("4.0", 4, 3),
            ("4.1.3", 4, 3),
            ("4.1.4", 4, 4),
            ("4.2.0", 4, 4),
            ("odd", 4, 4),
            ("3.3", 3, 3),
            ("4.1.3", 5, 5),
            ("5.2.0", 5, 5),
        ] {
            let recorded = EggKey { generation: recorded, ..key() };
            let found = key_of(&recorded, &built_by(version)).generation;
            assert_eq!(found, generation, "{version} {recorded:?}");
        }
        let of_unknown = EggKey { generation: 4, ..key() };
        assert_eq!(key_of(&of_unknown, &Provenance::default()).generation, 4);
    }

    #[test]
    fn an_egg_info_contradicts_the_newest_layout_unless_it_was_in_the_archive() {
        let older = manifest(vec![file("EGG-INFO/PKG-INFO")]);
        let newer = manifest(vec![file("foo-1.0.dist-info/METADATA")]);
        let of_egg = Provenance { source: Some("foo-1.0-py3.11.egg".into()), ..built_by("5.2.0") };
        assert!(is_contradicted(&older, &built_by("5.2.0")));
        assert!(!is_contradicted(&older, &of_egg));
        assert!(!is_contradicted(&older, &Provenance::default()), "somebody has said so");
        assert!(!is_contradicted(&newer, &built_by("5.2.0")));
    }

    #[test]
    fn newer_setuptools_names_only_eggs_of_source_distributions_otherwise() {
        let (dotted, normalized) =
            ("zc.recipe.egg-2.0.7-py3.9.egg", "zc_recipe_egg-2.0.7-py3.9.egg");
        let (sdist, wheel) = ("zc.recipe.egg-2.0.7.tar.gz", "zc.recipe.egg-2.0.7-py3-none-any.whl");
        for (generation, file_name, source, builder, reader, expected) in [
            (3, dotted, sdist, "75.8.0", "75.8.1", true),
            (3, dotted, sdist, "44.1.1", "80.9.0", true),
            // The build was isolated, with a newer setuptools than the builder's own.
            (3, normalized, sdist, "75.8.0", "75.8.1", false),
            (3, dotted, wheel, "75.8.0", "75.8.1", false),
            (3, dotted, sdist, "75.8.0", "75.8.0", false),
            // Its sources require an older setuptools.
            (3, dotted, sdist, "80.9.0", "80.9.0", false),
            (4, dotted, sdist, "75.8.0", "75.8.1", false),
            (3, dotted, sdist, "odd", "75.8.1", false),
            (3, "Alpha-1.0-py3.9.egg", "Alpha-1.0.tar.gz", "75.8.0", "75.8.1", false),
        ] {
            let name = if file_name.starts_with('A') { "alpha" } else { "zc-recipe-egg" };
            let key = EggKey { generation, name: name.into(), ..key() };
            let provenance = Provenance {
                source: Some(source.into()),
                setuptools: Some(builder.into()),
                ..Provenance::default()
            };
            let found = is_named_otherwise(file_name, &key, &provenance, Some(reader));
            assert_eq!(found, expected, "{generation} {file_name} {source} {builder} {reader}");
        }
        let key = EggKey { generation: 3, name: "zc-recipe-egg".into(), ..key() };
        assert!(!is_named_otherwise(dotted, &key, &Provenance::default(), Some("80.9.0")));
    }
}
