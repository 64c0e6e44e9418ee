//! Scripts and configuration files of parts: their interpreters, imports and other paths.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::buildout::interpreter::{Interpreter, is_python};
use crate::buildout::is_egg;
use crate::buildout::script::Import;
use crate::buildout::text_files::Text;
use crate::disk::boundary::{Boundary, Location};

use super::{AbsolutePaths, Interpreters, References, packages, target_outside};
use crate::ops::check::report::{Finding, FindingKind, Findings};
use crate::util::units::and_more;

/// The program of a script, without arguments, if it is an absolute path.
fn interpreter_of(text: &Text) -> Option<&Path> {
    let words = text.script.interpreter.as_deref()?;
    let program = Path::new(words.split_whitespace().next()?);
    program.is_absolute().then_some(program)
}

/// The Pythons that scripts run.
pub fn interpreters(scripts: &[Text], boundary: &Boundary) -> Interpreters {
    let programs: BTreeSet<&Path> = scripts.iter().filter_map(interpreter_of).collect();
    let is_interpreter = |path: &&Path| is_python(path) || boundary.holds(path);
    let found = programs.into_iter().filter(is_interpreter);
    found.map(|path| (path.to_owned(), Interpreter::new(path))).collect()
}

/// Adds the finding about an interpreter: it does not exist, or it is outside. Returns the scripts that import packages
/// which are installed in it, outside.
pub fn add_interpreter(
    boundary: &Boundary,
    interpreter: &Interpreter,
    scripts: &[Text],
    found: &mut Findings,
) -> Vec<PathBuf> {
    let runs_it = |text: &&Text| interpreter_of(text) == Some(&interpreter.path);
    let users: Vec<&Text> = scripts.iter().filter(runs_it).collect();
    let Some(first) = users.first() else { return Vec::new() };
    let path = interpreter.path.display();
    if interpreter.real.is_none() {
        found.problems.extend(users.iter().map(|text| {
            let what = format!("runs with {path}, which does not exist");
            Finding::new(FindingKind::Interpreter, &text.short, what)
        }));
    } else if !boundary.has_name(&interpreter.path) && !boundary.holds(&interpreter.path) {
        let python = interpreter.python.as_deref();
        let python = python.map(|python| format!(" (Python {python})")).unwrap_or_default();
        let more = and_more(users.len() - 1, "script");
        let what = format!("runs with {path}{python}, outside the buildout{more}");
        found.notes.push(Finding::new(FindingKind::Interpreter, &first.short, what));
        let imports = |text: &&&Text| imports_packages_of(interpreter, text);
        let importing: Vec<&&Text> = users.iter().filter(imports).collect();
        if let Some(first) = importing.first() {
            let more = and_more(importing.len() - 1, "script");
            let packages = packages_beside(boundary, interpreter, &importing);
            let what = format!("{}{more}", packages::note(&packages, path));
            found.notes.push(Finding::new(FindingKind::Packages, &first.short, what));
        }
        return importing.iter().map(|text| text.short.clone()).collect();
    }
    Vec::new()
}

/// The packages of an interpreter that scripts need.
fn packages_beside(
    boundary: &Boundary,
    interpreter: &Interpreter,
    scripts: &[&&Text],
) -> Vec<String> {
    let imports = scripts.iter().flat_map(|text| {
        text.script.imports.iter().map(|import| {
            let (base, path) = base_and_path(import, text, boundary);
            base.join(path)
        })
    });
    let (folders, eggs) = imports.partition(|path| interpreter.has_packages_in(path));
    packages::needed(&eggs, &folders)
}

fn imports_packages_of(interpreter: &Interpreter, text: &Text) -> bool {
    text.script.imports.iter().any(|import| match import {
        Import::Absolute(path) => interpreter.has_packages_in(Path::new(path)),
        Import::Relative { .. } => false,
    })
}

impl References {
    /// Adds the imports and the other paths of a text.
    pub(super) fn add_text(
        &mut self,
        text: &Text,
        boundary: &Boundary,
        interpreters: &Interpreters,
        absolute: &mut AbsolutePaths,
    ) {
        let program = interpreter_of(text);
        if let Some(path) = program {
            absolute.add(boundary, path, &text.short);
        }
        let interpreter = program.and_then(|path| interpreters.get(path));
        self.add_imports(text, boundary, interpreter, absolute);
        for path in text.script.paths.iter().map(Path::new) {
            match target_outside(boundary, path) {
                None => absolute.add(boundary, path, &text.short),
                Some(_) if interpreters.values().any(|interpreter| interpreter.owns(path)) => {}
                Some(real) => {
                    let what = format!("refers to {}, outside the buildout", real.display());
                    self.found.problems.push(Finding::new(FindingKind::Path, &text.short, what));
                }
            }
        }
    }

    /// Adds the entries that a script puts before `sys.path`.
    fn add_imports(
        &mut self,
        text: &Text,
        boundary: &Boundary,
        interpreter: Option<&Interpreter>,
        absolute: &mut AbsolutePaths,
    ) {
        let mut outside: BTreeMap<PathBuf, usize> = BTreeMap::new();
        for import in &text.script.imports {
            let (base, path) = base_and_path(import, text, boundary);
            match boundary.locate(&base, path) {
                Location::Inside(inside) => {
                    if path.is_absolute() {
                        absolute.add(boundary, path, &text.short);
                    }
                    self.add_inside_import(boundary.root().join(inside), text, interpreter);
                }
                Location::Outside(_)
                    if interpreter.is_some_and(|python| python.has_packages_in(path)) => {}
                // Through a symlink inside, which is a finding of its own.
                Location::Outside(_) if boundary.has_name(&base.join(path)) => {}
                Location::Outside(real) => {
                    // One line for all eggs of a shared eggs directory.
                    let folder = if is_egg(&real) { real.parent() } else { None };
                    *outside.entry(folder.unwrap_or(&real).to_owned()).or_default() += 1;
                }
            }
        }
        for (folder, count) in outside {
            let folder = folder.display();
            let what = match count {
                1 => format!("imports from {folder}, outside the buildout"),
                _ => format!("imports {count} eggs from {folder}, outside the buildout"),
            };
            self.found.problems.push(Finding::new(FindingKind::Path, &text.short, what));
        }
    }

    fn add_inside_import(&mut self, path: PathBuf, text: &Text, interpreter: Option<&Interpreter>) {
        if !path.exists() {
            self.missing.entry(path).or_insert_with(|| text.short.clone());
        } else if let Some(name) = path.file_name().filter(|_| is_egg(&path))
            && let Some(python) = interpreter.and_then(|interpreter| interpreter.python.clone())
        {
            let name = name.to_string_lossy().into_owned();
            let pythons = self.pythons.entry(name).or_default();
            pythons.entry(python).or_insert_with(|| text.short.clone());
        }
    }
}

/// The path of an import, and the folder that it is relative to.
fn base_and_path<'t>(import: &'t Import, text: &Text, boundary: &Boundary) -> (PathBuf, &'t Path) {
    match import {
        Import::Absolute(path) => (boundary.root().to_owned(), Path::new(path)),
        Import::Relative { levels, path } => {
            let folder = text.path.parent().unwrap_or(&text.path);
            (folder.ancestors().nth(*levels).unwrap_or(folder).to_owned(), Path::new(path))
        }
    }
}
