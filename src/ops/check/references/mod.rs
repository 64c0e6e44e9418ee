//! The references in the text files of a buildout: scripts, configuration, `.pth` files and
//! `.egg-link` files.
//!
//! An import of a script has to be inside, whether it exists or not. Any other path counts only if it
//! exists and does not belong to the operating system: a text may contain the path of a URL, or of a
//! log file that is written later.

mod configuration;
mod develop_eggs;
mod packages;
mod scripts;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::buildout::interpreter::Interpreter;
use crate::buildout::script::egg_names;
use crate::buildout::{Buildout, is_egg, text_files};
use crate::disk::boundary::{Boundary, Location, is_system};
use crate::egg::name::{EggName, normalize_name};
use crate::error::Result;

use super::report::{Finding, FindingKind, Findings};

/// The interpreters of scripts, by the path in their first line.
type Interpreters = BTreeMap<PathBuf, Interpreter>;

/// The references in the texts of a buildout.
#[derive(Debug, Default)]
pub struct References {
    pub found: Findings,
    pub scripts: usize,
    /// File names of all eggs in the texts.
    pub eggs: BTreeSet<String>,
    /// Projects that the recipes need, as in PEP 503. Buildout may have run with packages of its Python instead
    /// of their eggs.
    pub of_recipes: BTreeSet<String>,
    /// Imports of scripts that do not exist, each with one of those scripts.
    pub missing: BTreeMap<PathBuf, PathBuf>,
    /// The Pythons of the scripts that import an egg, each with one of those scripts.
    pub pythons: BTreeMap<String, BTreeMap<String, PathBuf>>,
    /// Scripts that import packages which are installed in their Python, outside.
    pub importers: Vec<PathBuf>,
    /// The Pythons that scripts run.
    pub interpreters: Vec<Interpreter>,
}

/// Reads every text of a buildout. `cache` is not reported as a path outside.
pub fn references(buildout: &Buildout, cache: Option<&Path>) -> Result<References> {
    let boundary = &buildout.boundary;
    let mut references = References::default();
    let scripts = text_files::scripts(buildout)?;
    references.scripts = scripts.len();
    let parts = text_files::of_parts(buildout);
    let interpreters = scripts::interpreters(&scripts, boundary);
    let mut absolute = AbsolutePaths::default();
    for text in scripts.iter().chain(&parts) {
        references.eggs.extend(text.eggs.iter().cloned());
        references.add_text(text, boundary, &interpreters, &mut absolute);
    }
    references.eggs.extend(egg_names(&buildout.installed).map(str::to_owned));
    references.of_recipes = configuration::projects_of_recipes(&buildout.installed).collect();
    configuration::add_not_installed(buildout, &mut references, &scripts);
    let found = &mut references.found;
    for interpreter in interpreters.values() {
        let importers = scripts::add_interpreter(boundary, interpreter, &scripts, found);
        references.importers.extend(importers);
    }
    configuration::add_installed(buildout, &interpreters, found);
    configuration::add_configuration(buildout, cache, &interpreters, found);
    found.notes.extend(absolute.notes(boundary));
    develop_eggs::add_develop_eggs(buildout, found)?;
    for folder in &buildout.eggs_directories {
        develop_eggs::add_pth_files(buildout, folder, found)?;
        if !boundary.holds(folder) {
            let what = "an eggs directory outside the buildout";
            found.problems.push(Finding::new(FindingKind::Path, folder, what));
        }
    }
    references.interpreters = interpreters.into_values().collect();
    Ok(references)
}

impl References {
    /// Whether a text names an egg, or a recipe needs its project.
    pub fn uses(&self, egg: &str) -> bool {
        let is_of_recipe = |name: EggName| self.of_recipes.contains(&normalize_name(&name.name));
        self.eggs.contains(egg) || egg.parse().is_ok_and(is_of_recipe)
    }

    /// Problems with imports that do not exist.
    pub fn missing_eggs(&self, boundary: &Boundary) -> Vec<Finding> {
        let problem = |(path, script): (&PathBuf, &PathBuf)| {
            let what = format!("missing, imported by {}", script.display());
            let name = path.file_name().filter(|_| is_egg(path)).map(|name| name.to_string_lossy());
            Finding::new(FindingKind::MissingEgg, &boundary.short(path), what)
                .in_egg(name.as_deref())
        };
        self.missing.iter().map(problem).collect()
    }

    /// Problems with eggs that a script imports with another Python than theirs.
    pub fn other_pythons(&self) -> Vec<Finding> {
        let mut problems = Vec::new();
        for (egg, pythons) in &self.pythons {
            let Ok(EggName { python, .. }) = egg.parse() else { continue };
            for (used, script) in pythons {
                if !python.is_empty() && *used != python {
                    let what =
                        format!("runs with Python {used}, but the egg is for Python {python}");
                    let problem = Finding::new(FindingKind::OtherPython, script, what);
                    problems.push(problem.in_egg(Some(egg)));
                }
            }
        }
        problems
    }
}

/// The target of a path if it exists, is outside, and does not belong to the operating system.
fn target_outside(boundary: &Boundary, path: &Path) -> Option<PathBuf> {
    match boundary.locate(boundary.root(), path) {
        Location::Outside(real) if !is_system(&real) && !is_system(path) && real.exists() => {
            // A folder above the buildout is only the beginning of a path.
            (!boundary.root().starts_with(&real)).then_some(real)
        }
        _ => None,
    }
}

/// Texts that contain the absolute path of the buildout.
#[derive(Debug, Default)]
struct AbsolutePaths(BTreeSet<PathBuf>);

impl AbsolutePaths {
    fn add(&mut self, boundary: &Boundary, path: &Path, text: &Path) {
        if !self.0.contains(text) && (boundary.has_name(path) || boundary.holds(path)) {
            self.0.insert(text.to_owned());
        }
    }

    fn notes(&self, boundary: &Boundary) -> impl Iterator<Item = Finding> {
        let what = format!("contains the path {}, not relocatable", boundary.root().display());
        self.0.iter().map(move |text| Finding::new(FindingKind::NotRelocatable, text, &*what))
    }
}
