//! The packages beside a Python that scripts import: those that the eggs of the scripts need and that are not
//! among these eggs. As in a bill of materials, nothing of a marker but the extra is evaluated.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::buildout;
use crate::disk::files;
use crate::egg::dependency::{self, Dependency};
use crate::egg::metadata::{self, MAX_METADATA};
use crate::egg::name::{EggName, normalize_name};

/// How many packages a note names.
const FEW: usize = 5;

/// A distribution, by what its metadata says.
struct Project {
    shown: String,
    requirements: Vec<Dependency>,
}

/// The packages in `folders`, such as `packaging 26.4`, that scripts with these other imports need.
pub fn needed(imports: &BTreeSet<PathBuf>, folders: &BTreeSet<PathBuf>) -> Vec<String> {
    let mut known: BTreeMap<String, Project> = BTreeMap::new();
    for path in imports {
        let file_name = path.file_name().unwrap_or_default().to_string_lossy();
        if let Ok(EggName { name, .. }) = file_name.parse() {
            let zipped = Project { shown: name.clone(), requirements: Vec::new() };
            known.insert(normalize_name(&name), zipped);
        }
        known.extend(infos(path).into_iter().filter_map(|(_, info)| project(&info)));
    }
    let installed: BTreeMap<String, PathBuf> = folders.iter().flat_map(|it| infos(it)).collect();
    let mut beside = BTreeMap::new();
    let mut extras: BTreeSet<(String, String)> = BTreeSet::new();
    loop {
        let before = (known.len(), extras.len());
        for (name, extra) in requirements(&known, &extras) {
            if !known.contains_key(&name)
                && let Some((_, found)) = installed.get(&name).and_then(|info| project(info))
            {
                beside.insert(name.clone(), found.shown.clone());
                known.insert(name.clone(), found);
            }
            extras.extend(extra.into_iter().map(|extra| (name.clone(), extra)));
        }
        if before == (known.len(), extras.len()) {
            return beside.into_values().collect();
        }
    }
}

/// What projects require, and with which extras, if these extras are asked for.
fn requirements(
    known: &BTreeMap<String, Project>,
    extras: &BTreeSet<(String, String)>,
) -> Vec<(String, Vec<String>)> {
    let of_project = |(name, project): (&String, &Project)| {
        let is_asked = |extra: &String| extras.contains(&(name.clone(), extra.clone()));
        let applies =
            |it: &&Dependency| it.only_with.is_empty() || it.only_with.iter().any(is_asked);
        let found = project.requirements.iter().filter(applies);
        found.map(|it| (it.name.clone(), it.extras.clone())).collect::<Vec<_>>()
    };
    known.iter().flat_map(of_project).collect()
}

/// The folders of metadata in a folder with packages, by the names of the projects.
fn infos(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = buildout::entries(folder).unwrap_or_default().into_iter();
    let info = |path: PathBuf| {
        let name = path.file_name()?.to_str()?;
        let stem = name.strip_suffix(".dist-info").or_else(|| name.strip_suffix(".egg-info"));
        let stem = stem.or_else(|| (name == "EGG-INFO").then_some(name))?;
        Some((normalize_name(stem.split('-').next().unwrap_or_default()), path))
    };
    entries.filter_map(info).collect()
}

/// The project of a folder of metadata, and its name in the form of PEP 503.
fn project(info: &Path) -> Option<(String, Project)> {
    let read = |name: &str| files::read_short(&info.join(name), MAX_METADATA).ok();
    let text = read("METADATA").or_else(|| read("PKG-INFO"))?;
    let found = metadata::parse(&text)?;
    let (headers, _) = mailparse::parse_headers(&text).ok()?;
    let mut requirements = dependency::of_headers(&headers);
    if let Some(text) = read("requires.txt") {
        requirements.extend(dependency::of_requires_txt(&String::from_utf8_lossy(&text)));
    }
    let shown = format!("{} {}", found.name, found.version);
    Some((normalize_name(&found.name), Project { shown, requirements }))
}

/// The note that a script imports these packages, of those beside `python`.
pub fn note(packages: &[String], python: impl std::fmt::Display) -> String {
    let listed = match packages {
        [] => return format!("imports packages that are installed beside {python}"),
        [one] => return format!("imports {one}, which is installed beside {python}"),
        [first @ .., last] if packages.len() <= FEW => format!("{} and {last}", first.join(", ")),
        many => format!("{} and {} more", many[..FEW].join(", "), many.len() - FEW),
    };
    format!("imports {listed}, which are installed beside {python}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn metadata(name: &str, requires: &[&str]) -> String {
        let lines = requires.iter().map(|it| format!("Requires-Dist: {it}\n"));
        format!("Name: {name}\nVersion: 1.{}\n{}", name.len(), lines.collect::<String>())
    }

    #[test]
    fn packages_that_the_eggs_of_a_script_need_are_found_beside_the_python() {
        let dir = tempfile::tempdir().unwrap();
        let packages = dir.path().join("site-packages");
        for (name, requires) in [
            ("wheel", &["Pack_aging>=24"][..]),
            ("pack_aging", &["other; extra == 'docs'"]),
            ("other", &[]),
            ("fast", &[]),
            ("pip", &["wheel"]),
            ("alpha", &["other"]),
        ] {
            let info = packages.join(format!("{name}-1.0.dist-info/METADATA"));
            write(&info, &metadata(name, requires));
        }
        let needed = |eggs: &[&str]| {
            let eggs = eggs.iter().map(|egg| dir.path().join(egg)).collect();
            needed(&eggs, &[packages.clone()].into())
        };
        let alpha = dir.path().join("alpha-1.0-py3.11.egg/EGG-INFO");
        write(&alpha.join("PKG-INFO"), &metadata("alpha", &[]));
        write(&alpha.join("requires.txt"), "wheel\nbeta[speed]\n\n[test]\npip\n");
        let eggs = &["alpha-1.0-py3.11.egg", "beta-1.0-py3.11.egg"];
        assert_eq!(needed(eggs), ["pack_aging 1.10", "wheel 1.5"]);
        let beta = dir.path().join("beta-1.0-py3.11.egg/beta-1.0.dist-info/METADATA");
        write(&beta, &metadata("beta", &["fast; extra == 'speed'", "alpha"]));
        assert_eq!(needed(eggs), ["fast 1.4", "pack_aging 1.10", "wheel 1.5"]);
        assert_eq!(needed(&["wheel-3.0-py3.11.egg"]), [""; 0]);
    }

    #[test]
    fn a_note_names_some_packages() {
        let of = |count: usize| {
            let names: Vec<String> = (0..count).map(|it| format!("p{it} 1")).collect();
            note(&names, "/py")
        };
        assert_eq!(of(0), "imports packages that are installed beside /py");
        assert_eq!(of(1), "imports p0 1, which is installed beside /py");
        assert_eq!(of(2), "imports p0 1 and p1 1, which are installed beside /py");
        let many =
            "imports p0 1, p1 1, p2 1, p3 1, p4 1 and 2 more, which are installed beside /py";
        assert_eq!(of(7), many);
    }
}
