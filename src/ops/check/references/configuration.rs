//! `.installed.cfg` and `buildout.cfg`: their paths outside.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::buildout::script::absolute_paths;
use crate::buildout::text_files::Text;
use crate::buildout::{Buildout, CONFIGURATION, INSTALLED, ini};
use crate::egg::name::normalize_name;

use super::{Interpreters, References, target_outside};
use crate::ops::check::report::{Finding, FindingKind, Findings};
use crate::util::hash::is_lower_hex;
use crate::util::path_search::SoughtPath;

/// The option of `.installed.cfg` with the files of a part.
const INSTALLED_FILES: &str = "__buildout_installed__";

/// The option of `.installed.cfg` with the distributions that the recipe of a part needs.
const SIGNATURE: &str = "__buildout_signature__";
/// The length of the digest behind the name of a distribution that is no egg.
const SIGNATURE_DIGITS: usize = 32;

/// The projects, as in PEP 503, that recipes need and that were no eggs: `NAME-DIGEST` in their signatures.
/// They are develop eggs, or packages beside the Python of buildout.
pub fn projects_of_recipes(installed: &str) -> impl Iterator<Item = String> {
    let settings = ini::settings(installed).into_iter();
    let signatures = settings.filter(|setting| setting.name == SIGNATURE);
    let lines = signatures.flat_map(|setting| setting.lines);
    let words = lines.flat_map(str::split_whitespace);
    words.filter_map(|word| {
        let (name, digest) = word.rsplit_once('-')?;
        let is_digest = digest.len() == SIGNATURE_DIGITS && is_lower_hex(digest);
        is_digest.then(|| normalize_name(name))
    })
}

/// Adds a problem if buildout has installed nothing here, and else a note for each part of `buildout.cfg` that it has
/// not installed. With an option `installed`, the record of what is installed is elsewhere, or nowhere.
pub fn add_not_installed(buildout: &Buildout, references: &mut References, scripts: &[Text]) {
    let of_buildout = |text, name| ini::value(text, "buildout", name);
    let configured = |name| of_buildout(&buildout.configuration, name);
    let parts = configured("parts").unwrap_or_default();
    let has_parts = !parts.is_empty() || configured("extends").is_some();
    if !has_parts || configured("installed").is_some() {
        return;
    }
    let found = &mut references.found;
    if buildout.installed.is_empty() {
        // The scripts of a virtual environment, or of a bootstrap, were there before.
        let is_installed =
            |text: &Text| text.short.file_name().is_none_or(|name| name != "buildout");
        let was_there = buildout.boundary.root().join("pyvenv.cfg").is_file();
        if references.eggs.is_empty() && (was_there || !scripts.iter().any(is_installed)) {
            let what = "buildout has installed nothing here";
            found.problems.push(Finding::new(FindingKind::NotInstalled, Path::new(""), what));
        }
        return;
    }
    let installed = of_buildout(&buildout.installed, "parts").unwrap_or_default();
    let installed: Vec<&str> = installed.split_whitespace().collect();
    let parts = parts.split_whitespace().filter(|part| !part.contains("${"));
    for part in parts.filter(|part| !installed.contains(part)) {
        let what = format!("buildout has not installed the part {part}");
        let path = Path::new(CONFIGURATION);
        found.notes.push(Finding::new(FindingKind::NotInstalled, path, what));
    }
}

/// Adds the paths in `.installed.cfg`. Installed files and eggs outside are problems.
pub fn add_installed(buildout: &Buildout, interpreters: &Interpreters, found: &mut Findings) {
    for ((option, folder), count) in installed_outside(buildout, interpreters) {
        let folder = folder.display();
        let (list, what) = match option {
            INSTALLED_FILES => {
                let what =
                    format!("lists {count} installed paths in {folder}, outside the buildout");
                (&mut found.problems, what)
            }
            option => {
                let what = format!("{option} refers to {folder}, outside the buildout");
                let is_problem = option == "eggs-directory";
                (if is_problem { &mut found.problems } else { &mut found.notes }, what)
            }
        };
        list.push(Finding::new(FindingKind::Path, Path::new(INSTALLED), what));
    }
    found.notes.extend(beside_original(buildout));
}

/// Notes about folders that still exist and in which a bundle was made: buildout uninstalls parts and develop
/// eggs where `.installed.cfg` lists them, before it installs them again.
fn beside_original(buildout: &Buildout) -> impl Iterator<Item = Finding> {
    let is_listed = |folder: &&PathBuf| {
        let is_here = buildout.boundary.real(folder) == buildout.boundary.root();
        !is_here && folder.is_dir() && SoughtPath::new(folder).is_in(buildout.installed.as_bytes())
    };
    buildout.unpacked().folders().iter().filter(is_listed).map(|folder| {
        let what = format!(
            "lists files of {}, where the bundle was made: a run of buildout here removes them there",
            folder.display()
        );
        Finding::new(FindingKind::Path, Path::new(INSTALLED), what)
    })
}

/// The folders outside in `.installed.cfg`, by option, with the number of paths in each.
fn installed_outside<'b>(
    buildout: &'b Buildout,
    interpreters: &Interpreters,
) -> BTreeMap<(&'b str, PathBuf), usize> {
    let mut outside: BTreeMap<(&str, PathBuf), usize> = BTreeMap::new();
    for setting in ini::settings(&buildout.installed) {
        let option = full_name(setting.name);
        for path in setting.lines.iter().flat_map(|line| absolute_paths(line)).map(Path::new) {
            if interpreters.values().any(|interpreter| interpreter.owns(path)) {
                continue;
            }
            if let Some(real) = target_outside(&buildout.boundary, path)
                && buildout.meant_by(Path::new(INSTALLED), &real).is_none()
            {
                // One line for all scripts of a folder.
                let is_folder = option != INSTALLED_FILES || real.is_dir();
                let folder = if is_folder { Some(&*real) } else { real.parent() };
                let folder = folder.unwrap_or(&real).to_owned();
                *outside.entry((option, folder)).or_default() += 1;
            }
        }
    }
    outside
}

/// The name in `buildout.cfg` of an option that zc.recipe.egg abbreviates.
fn full_name(option: &str) -> &str {
    match option {
        "_b" => "bin-directory",
        "_d" => "develop-eggs-directory",
        "_e" => "eggs-directory",
        option => option,
    }
}

/// Adds the paths in `buildout.cfg` as notes: a build uses them, and maybe what it installs.
pub fn add_configuration(
    buildout: &Buildout,
    cache: Option<&Path>,
    interpreters: &Interpreters,
    found: &mut Findings,
) {
    let paths = absolute_paths(&buildout.configuration).map(Path::new);
    let outside: BTreeSet<PathBuf> = paths
        .filter(|path| !interpreters.values().any(|interpreter| interpreter.owns(path)))
        .filter_map(|path| target_outside(&buildout.boundary, path))
        .filter(|real| cache.is_none_or(|cache| cache != real))
        .collect();
    found.notes.extend(outside.iter().map(|real| {
        let what = format!("refers to {}, outside the buildout", real.display());
        Finding::new(FindingKind::Path, Path::new(CONFIGURATION), what)
    }));
}
