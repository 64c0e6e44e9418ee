//! Shared libraries that extension modules need and that do not go with the buildout: gone from the folder
//! inside where they were, or found only in a folder outside.
//!
//! Only what cannot be otherwise is a problem. A library that any egg has may be loaded at run time before it is
//! needed, and one that is found nowhere may come from the Python or be optional, as a driver is. Such a one
//! counts only if a run path leads to `parts/`: then a recipe has made it there. So does one that a part has, if
//! a run path leads to a folder of the buildout that does not exist.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::buildout::Buildout;
use crate::buildout::interpreter::Interpreter;
use crate::disk::boundary::{Location, is_system};
use crate::egg::loader::{self, Loader};

use super::examine::Examined;
use super::installed_egg::InstalledEgg;
use super::report::{Finding, FindingKind};

/// A shared object with run paths, and the libraries that it needs.
#[derive(Debug)]
pub struct Needs {
    pub object: PathBuf,
    pub run_paths: Vec<String>,
    pub libraries: Vec<String>,
}

/// What is known of a buildout.
pub struct Surroundings<'a> {
    pub buildout: &'a Buildout,
    pub interpreters: &'a [Interpreter],
    /// File names of the eggs in use.
    pub used: &'a BTreeSet<String>,
}

/// The problems with libraries of the eggs in use.
#[must_use]
pub fn problems(eggs: &[(InstalledEgg, Examined)], around: &Surroundings<'_>) -> Vec<Finding> {
    let names = eggs.iter().flat_map(|(egg, _)| &egg.entries).map(|it| it.path.file_name());
    let carried: BTreeSet<&str> = names.collect();
    let loader = Loader::new(None, None);
    let mut problems = Vec::new();
    for (egg, examined) in eggs.iter().filter(|(egg, _)| around.used.contains(&egg.file_name)) {
        for needs in &examined.needs {
            let others = needs.libraries.iter().filter(|name| !carried.contains(name.as_str()));
            let found = others.filter_map(|name| around.judge(needs, name, &loader));
            let short = around.buildout.boundary.short(&needs.object);
            problems.extend(found.map(|what| {
                Finding::new(FindingKind::Library, &short, what).in_egg(Some(&egg.file_name))
            }));
        }
    }
    problems
}

impl Surroundings<'_> {
    /// Why a library that no egg has is a problem.
    fn judge(&self, needs: &Needs, name: &str, loader: &Loader) -> Option<String> {
        let origin = needs.object.parent()?;
        let folders = loader::expanded(&needs.run_paths, origin)?;
        // The library of Python comes with the Python, which is outside anyway.
        let is_of_python = name.contains('/') || name.starts_with("libpython");
        if is_of_python || loader.has_by_default(&needs.object, name)? {
            return None;
        }
        let (mut made_in, mut found_in, mut nowhere) = (None, None, None);
        for folder in folders.iter().filter(|folder| folder.is_absolute()) {
            match (self.buildout.boundary.locate(origin, folder), folder.join(name).exists()) {
                (Location::Inside(_), true) => return None,
                (Location::Inside(inside), false) => match self.made_in(&inside) {
                    true => made_in = made_in.or(Some(inside)),
                    false if !folder.exists() => nowhere = nowhere.or(Some(inside)),
                    false => {}
                },
                (Location::Outside(real), true) if self.is_on_target(&real) => return None,
                (Location::Outside(real), true) => found_in = found_in.or(Some(real)),
                (Location::Outside(_), false) => {}
            }
        }
        if let Some(folder) = found_in {
            let folder = folder.display();
            return Some(format!("needs {name}, which only {folder} has, outside the buildout"));
        }
        match (self.place_in_parts(name), made_in, nowhere) {
            (Some(place), _, Some(nowhere)) => Some(format!(
                "needs {name}, which is in {}, but its run path leads to {}, which does not exist",
                place.display(),
                nowhere.display()
            )),
            (None, Some(folder), _) => {
                Some(format!("needs {name}, which is missing in {}", folder.display()))
            }
            _ => None,
        }
    }

    /// Whether what a folder of the buildout had was made there: in `parts/`, and not in an egg.
    fn made_in(&self, inside: &Path) -> bool {
        let Buildout { boundary, parts, eggs_directories, .. } = self.buildout;
        let real = boundary.root().join(inside);
        let is_of_eggs = eggs_directories.iter().any(|eggs| real.starts_with(eggs));
        real.starts_with(boundary.real(parts)) && !is_of_eggs
    }

    /// Whether a folder outside is expected where the buildout is used: of the system, or of the Python.
    fn is_on_target(&self, folder: &Path) -> bool {
        is_system(folder) || self.interpreters.iter().any(|python| python.owns(folder))
    }

    /// The folder of a part that has a library: a script can set `LD_LIBRARY_PATH`, or load it.
    fn place_in_parts(&self, name: &str) -> Option<PathBuf> {
        let Buildout { boundary, parts, .. } = self.buildout;
        let mut walk = WalkDir::new(parts).sort_by_file_name().into_iter().flatten();
        let found = walk.find(|entry| entry.file_name() == name)?;
        found.path().parent().map(|folder| boundary.short(folder))
    }
}
