//! What the texts of a buildout name: scripts, configuration, `.pth` files and `.egg-link`s.
//!
//! What a script imports has to be inside, whether it is there or not. Any other path counts only if
//! something is there and it is not the operating system's: a text may name the path of a URL, or
//! of a log file that is still to come.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use crate::buildout;
use crate::buildout::interpreter::{Interpreter, is_python};
use crate::buildout::path_files;
use crate::buildout::script::{Import, absolute_paths, egg_names};
use crate::buildout::text_files::{self, Text};
use crate::buildout::{Buildout, CONFIGURATION, INSTALLED, is_egg};
use crate::disk::boundary::{Boundary, Location, is_system};
use crate::disk::files;
use crate::error::Result;

use super::report::{Finding, FindingKind, Findings};

/// Longest `.pth` file or `.egg-link` that is read, in bytes.
const MAX_POINTER: u64 = 1 << 20;

/// What the texts of a buildout name.
#[derive(Debug, Default)]
pub struct Named {
    pub found: Findings,
    pub scripts: usize,
    /// File names of the eggs that anything names.
    pub eggs: BTreeSet<String>,
    /// Eggs that scripts import and that are not there, each with one of those scripts.
    pub missing: BTreeMap<PathBuf, PathBuf>,
    /// For each egg the Pythons of the scripts that import it, each with one of those scripts.
    pub pythons: BTreeMap<String, BTreeMap<String, PathBuf>>,
}

/// Reads every text of a buildout.
///
/// # Errors
/// If a folder cannot be read.
pub fn named(buildout: &Buildout, cache: Option<&Path>) -> Result<Named> {
    let place = &buildout.boundary;
    let mut it = Named::default();
    let scripts = text_files::scripts(buildout)?;
    it.scripts = scripts.len();
    let parts = text_files::of_parts(buildout);
    let interpreters = interpreters(&scripts, place);
    for text in scripts.iter().chain(&parts) {
        it.eggs.extend(text.eggs.iter().cloned());
    }
    it.eggs.extend(egg_names(&buildout.installed).map(str::to_owned));
    let mut relocatable = Relocatable::default();
    for text in scripts.iter().chain(&parts) {
        let interpreter = interpreter_of(text).and_then(|path| interpreters.get(path));
        interpreter_of(text).inspect(|path| relocatable.see(place, path, &text.short));
        imports(place, text, interpreter, &mut relocatable, &mut it);
        for path in text.script.paths.iter().map(Path::new) {
            let is_own = interpreters.values().any(|interpreter| interpreter.owns(path));
            match leads_outside(place, path) {
                Some(real) if !is_own => {
                    let what = format!("names {}, outside the buildout", real.display());
                    it.found.problems.push(Finding::new(FindingKind::Path, &text.short, what));
                }
                Some(_) => {}
                None => relocatable.see(place, path, &text.short),
            }
        }
    }
    for interpreter in interpreters.values() {
        used_interpreter(place, interpreter, &scripts, &mut it.found);
    }
    installed(buildout, &interpreters, &mut it.found);
    configuration(buildout, cache, &interpreters, &mut it.found);
    it.found.notes.extend(relocatable.note(place));
    develop_eggs(buildout, &mut it.found)?;
    for folder in &buildout.eggs_directories {
        pth_files(place, folder, &mut it.found)?;
        if !place.holds(folder) {
            let what = "holds eggs, and is outside the buildout";
            it.found.problems.push(Finding::new(FindingKind::Path, folder, what));
        }
    }
    Ok(it)
}

/// The program of a script, without its words, if it is an absolute path.
fn interpreter_of(text: &Text) -> Option<&Path> {
    let words = text.script.interpreter.as_deref()?;
    let program = Path::new(words.split_whitespace().next()?);
    program.is_absolute().then_some(program)
}

/// The Pythons that scripts run.
fn interpreters(scripts: &[Text], place: &Boundary) -> BTreeMap<PathBuf, Interpreter> {
    let programs: BTreeSet<&Path> = scripts.iter().filter_map(interpreter_of).collect();
    let is_known = |path: &&Path| is_python(path) || place.holds(path);
    let found = programs.into_iter().filter(is_known);
    found.map(|path| (path.to_owned(), Interpreter::new(path))).collect()
}

fn used_interpreter(place: &Boundary, it: &Interpreter, scripts: &[Text], found: &mut Findings) {
    let of_it = |text: &&Text| interpreter_of(text) == Some(&it.path);
    let users: Vec<&Text> = scripts.iter().filter(of_it).collect();
    let Some(first) = users.first() else { return };
    let path = it.path.display();
    if it.real.is_none() {
        found.problems.extend(users.iter().map(|text| {
            let what = format!("is run by {path}, which is not there");
            Finding::new(FindingKind::Interpreter, &text.short, what)
        }));
    } else if !place.has_name(&it.path) && !place.holds(&it.path) {
        let packages = users.iter().filter(|text| {
            let is_packages = |import: &Import| match import {
                Import::Absolute(path) => it.has_packages_in(Path::new(path)),
                Import::Relative { .. } => false,
            };
            text.script.imports.iter().any(is_packages)
        });
        let python = it.python.as_deref().map(|it| format!(" (Python {it})")).unwrap_or_default();
        let mut what = format!("is run by {path}{python}, outside the buildout");
        if packages.count() > 0 {
            what.push_str(", and imports packages that are installed there");
        }
        if users.len() > 1 {
            what = format!("and {} more: {what}", users.len() - 1);
        }
        found.notes.push(Finding::new(FindingKind::Interpreter, &first.short, what));
    }
}

/// Looks at everything that a script puts before `sys.path`.
fn imports(
    place: &Boundary,
    text: &Text,
    interpreter: Option<&Interpreter>,
    relocatable: &mut Relocatable,
    it: &mut Named,
) {
    let mut outside: BTreeMap<PathBuf, usize> = BTreeMap::new();
    for import in &text.script.imports {
        let (from, path) = match import {
            Import::Absolute(path) => (place.root().to_owned(), PathBuf::from(path)),
            Import::Relative { levels, path } => {
                let real = text.path.parent().unwrap_or(&text.path);
                (real.ancestors().nth(*levels).unwrap_or(real).to_owned(), PathBuf::from(path))
            }
        };
        match place.locate(&from, &path) {
            Location::Inside(inside) => {
                let real = place.root().join(&inside);
                if path.is_absolute() {
                    relocatable.see(place, &path, &text.short);
                }
                if !real.exists() {
                    it.missing.entry(real).or_insert_with(|| text.short.clone());
                } else if let Some(name) = real.file_name().filter(|_| is_egg(&real))
                    && let Some(python) = interpreter.and_then(|it| it.python.clone())
                {
                    let name = name.to_string_lossy().into_owned();
                    let pythons = it.pythons.entry(name).or_default();
                    pythons.entry(python).or_insert_with(|| text.short.clone());
                }
            }
            Location::Outside(_) if interpreter.is_some_and(|it| it.has_packages_in(&path)) => {}
            // Through a symlink inside, which is told itself.
            Location::Outside(_) if place.has_name(&from.join(&path)) => {}
            Location::Outside(real) => {
                // One line for all eggs of a shared eggs directory.
                let folder = if is_egg(&real) { real.parent() } else { None };
                *outside.entry(folder.unwrap_or(&real).to_owned()).or_default() += 1;
            }
        }
    }
    for (folder, count) in outside {
        let what = match count {
            1 => format!("imports from {}, outside the buildout", folder.display()),
            _ => format!("imports {count} eggs of {}, outside the buildout", folder.display()),
        };
        it.found.problems.push(Finding::new(FindingKind::Path, &text.short, what));
    }
}

/// Where a path leads if something is there, it is outside, and it is not the operating system's.
fn leads_outside(place: &Boundary, path: &Path) -> Option<PathBuf> {
    match place.locate(place.root(), path) {
        Location::Outside(real) if !is_system(&real) && !is_system(path) && real.exists() => {
            // A folder that the buildout is in is no more than the beginning of a path.
            (!place.root().starts_with(&real)).then_some(real)
        }
        _ => None,
    }
}

/// Texts that name the buildout by its absolute path.
#[derive(Debug, Default)]
struct Relocatable(BTreeSet<PathBuf>);

impl Relocatable {
    fn see(&mut self, place: &Boundary, path: &Path, text: &Path) {
        if !self.0.contains(text) && (place.has_name(path) || place.holds(path)) {
            self.0.insert(text.to_owned());
        }
    }

    fn note(&self, place: &Boundary) -> Option<Finding> {
        let first = self.0.first()?;
        let more = match self.0.len() {
            1 => String::new(),
            count => format!("and {} more: ", count - 1),
        };
        let what = format!("{more}names {}: not relocatable", place.root().display());
        Some(Finding::new(FindingKind::NotRelocatable, first, what))
    }
}

/// What `.installed.cfg` says is installed, and what else it names.
fn installed(buildout: &Buildout, own: &BTreeMap<PathBuf, Interpreter>, found: &mut Findings) {
    let place = &buildout.boundary;
    let mut option = "";
    let mut outside: BTreeMap<(&str, PathBuf), usize> = BTreeMap::new();
    for line in buildout.installed.lines() {
        let mut values = line;
        if !line.starts_with([' ', '\t']) {
            (option, values) = line.split_once('=').unwrap_or((line, ""));
            option = match option.trim() {
                "_b" => "bin-directory",
                "_d" => "develop-eggs-directory",
                "_e" => "eggs-directory",
                option => option,
            };
        }
        for path in absolute_paths(values).map(Path::new) {
            if own.values().any(|interpreter| interpreter.owns(path)) {
                continue;
            }
            if let Some(real) = leads_outside(place, path) {
                // One line for all scripts of a folder.
                let is_folder = option != "__buildout_installed__" || real.is_dir();
                let folder = if is_folder { Some(&*real) } else { real.parent() };
                let folder = folder.unwrap_or(&real).to_owned();
                *outside.entry((option, folder)).or_default() += 1;
            }
        }
    }
    for ((option, folder), count) in outside {
        let folder = folder.display();
        let is_installed = option == "__buildout_installed__";
        let what = if is_installed {
            format!("says that {count} of its parts are in {folder}, outside the buildout")
        } else {
            format!("names {folder}, outside the buildout ({option})")
        };
        let is_problem = is_installed || option == "eggs-directory";
        let list = if is_problem { &mut found.problems } else { &mut found.notes };
        list.push(Finding::new(FindingKind::Path, Path::new(INSTALLED), what));
    }
}

/// What `buildout.cfg` names outside: of use while it builds, and maybe later.
fn configuration(
    buildout: &Buildout,
    cache: Option<&Path>,
    own: &BTreeMap<PathBuf, Interpreter>,
    found: &mut Findings,
) {
    let place = &buildout.boundary;
    let paths = absolute_paths(&buildout.configuration).map(Path::new);
    let outside: BTreeSet<PathBuf> = paths
        .filter(|path| !own.values().any(|interpreter| interpreter.owns(path)))
        .filter_map(|path| leads_outside(place, path))
        .filter(|real| cache.is_none_or(|cache| cache != real))
        .collect();
    found.notes.extend(outside.iter().map(|real| {
        let what = format!("names {}, outside the buildout", real.display());
        Finding::new(FindingKind::Path, Path::new(CONFIGURATION), what)
    }));
}

/// The links to projects, and the `.pth` files that go with them.
fn develop_eggs(buildout: &Buildout, found: &mut Findings) -> Result<()> {
    let (place, folder) = (&buildout.boundary, &buildout.develop_eggs);
    if !folder.is_dir() {
        return Ok(());
    }
    for path in buildout::entries(folder)? {
        if path.extension().is_none_or(|ending| ending != "egg-link") {
            continue;
        }
        let short = place.short(&path);
        let finding = |what: String| Finding::new(FindingKind::DevelopEgg, &short, what);
        let text = match files::read_short(&path, MAX_POINTER) {
            Ok(text) => text,
            Err(error) => {
                found.problems.push(finding(format!("cannot be read: {error}")));
                continue;
            }
        };
        let text = String::from_utf8_lossy(&text);
        let Some(target) = path_files::egg_link_target(&text) else {
            found.problems.push(finding("leads nowhere".into()));
            continue;
        };
        match place.locate(folder, Path::new(target)) {
            Location::Outside(real) => {
                let what = format!("leads to {}, outside the buildout", real.display());
                found.problems.push(finding(what));
            }
            Location::Inside(inside) if !place.root().join(&inside).exists() => {
                found.problems.push(finding(format!("leads to {target}, which is not there")));
            }
            Location::Inside(inside) => {
                found.notes.push(finding(format!("is a develop egg, in {}", inside.display())));
            }
        }
    }
    pth_files(place, folder, found)
}

/// The `.pth` files directly in a folder and in the eggs of it.
fn pth_files(place: &Boundary, folder: &Path, found: &mut Findings) -> Result<()> {
    let is_pth = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "pth");
    let mut files: HashMap<PathBuf, Option<String>> = HashMap::new();
    for path in buildout::entries(folder)? {
        if is_pth(&path) {
            files.insert(path, None);
        } else if is_egg(&path) && path.is_dir() {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let within = buildout::entries(&path).unwrap_or_default().into_iter().filter(is_pth);
            files.extend(within.map(|path| (path, name.clone())));
        }
    }
    for (path, egg) in files {
        let mut tell = |kind, what: String| {
            let finding = Finding::new(kind, &place.short(&path), what);
            found.problems.push(match &egg {
                Some(egg) => finding.of_egg(egg),
                None => finding,
            });
        };
        let text = match files::read_short(&path, MAX_POINTER) {
            Ok(text) => text,
            Err(error) => {
                tell(FindingKind::Incomplete, format!("cannot be read: {error}"));
                continue;
            }
        };
        let within = path.parent().unwrap_or(folder);
        for line in path_files::pth_paths(&String::from_utf8_lossy(&text)) {
            if let Location::Outside(real) = place.locate(within, Path::new(line)) {
                tell(FindingKind::Path, format!("adds {}, outside the buildout", real.display()));
            }
        }
    }
    Ok(())
}
