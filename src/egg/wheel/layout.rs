//! Where pip and buildout put each file of a wheel.
//!
//! pip installs into `home/lib/python` and writes RECORD with paths relative to that. Buildout then
//! moves whole directories that `top_level.txt` names, with the bytecode in them, and all other files
//! one by one, without bytecode. What is outside `home/lib/python` is dropped.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::archive::Member;
use super::clashes;
use super::entry_points::Scripts;
use super::reason::Reason;

/// What pip needs to know to place files.
#[derive(Debug, Clone)]
pub struct Rules<'a> {
    /// The metadata directory in the wheel.
    pub dist_info: &'a str,
    /// The metadata directory in the egg.
    pub egg_info: &'a str,
    pub scripts: &'a Scripts,
    /// Whether `entry_points.txt` mentions scripts, for which buildout removes `bin`.
    pub mentions_scripts: bool,
    pub top_levels: &'a [String],
    /// Where headers are, relative to pip's home: `include/site/python3.11/greenlet`.
    pub headers: &'a str,
}

/// Where a file of the wheel ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the egg, at this path, and whether bytecode stays beside it.
    Egg { path: String, keeps_bytecode: bool },
    /// pip installs it, and buildout drops it. A script may get another first line.
    Dropped { is_script: bool },
    /// pip generates a script with its name instead.
    Skipped,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Index of the member in the archive.
    pub member: usize,
    /// Its path in the RECORD that pip writes.
    pub record_path: String,
    pub place: Place,
}

/// Names of `top_level.txt` with which buildout would move parts of pip's home.
const HOME: [&str; 6] = ["bin", "include", "lib", "lib64", "share", "__pycache__"];

/// Places every member.
pub fn place(members: &[Member], rules: &Rules<'_>) -> Result<Vec<Placed>, Reason> {
    let schemes: Vec<Scheme<'_>> =
        members.iter().map(|member| Scheme::of(&member.path)).collect::<Result<_, _>>()?;
    let library: BTreeSet<&str> = schemes
        .iter()
        .filter_map(|scheme| match scheme {
            Scheme::Library(path) => path.split_once('/').map(|(top, _)| top),
            _ => None,
        })
        .collect();
    check_top_levels(rules, &schemes, &library)?;
    let mut whole: HashSet<&str> = rules.top_levels.iter().map(String::as_str).collect();
    whole.insert(rules.dist_info);
    let is_whole = |path: &str| path.split_once('/').is_some_and(|(top, _)| whole.contains(top));
    let placed = schemes.iter().enumerate().map(|(member, scheme)| {
        let (record_path, place) = match *scheme {
            Scheme::Library(path) => {
                let in_egg = match path.strip_prefix(rules.dist_info) {
                    Some(rest) if rest.starts_with('/') => format!("{}{rest}", rules.egg_info),
                    _ => path.to_owned(),
                };
                (path.to_owned(), Place::Egg { path: in_egg, keeps_bytecode: is_whole(path) })
            }
            Scheme::Script(path) if is_wrapper(path, rules.scripts) => {
                (members[member].path.clone(), Place::Skipped)
            }
            Scheme::Script(path) => {
                (format!("../../bin/{path}"), Place::Dropped { is_script: true })
            }
            Scheme::Header(path) => {
                let headers = rules.headers;
                (format!("../../{headers}/{path}"), Place::Dropped { is_script: false })
            }
            Scheme::Data(path) => (format!("../../{path}"), Place::Dropped { is_script: false }),
        };
        Placed { member, record_path, place }
    });
    let placed: Vec<Placed> = placed.collect();
    let installed = placed.iter().filter(|it| it.place != Place::Skipped);
    clashes::check(installed.map(|it| it.record_path.as_str()))?;
    Ok(placed)
}

/// A path of the wheel, by pip's installation schemes.
#[derive(Debug, Clone, Copy)]
enum Scheme<'a> {
    Library(&'a str),
    Script(&'a str),
    Header(&'a str),
    Data(&'a str),
}

impl<'a> Scheme<'a> {
    fn of(path: &'a str) -> Result<Self, Reason> {
        let is_bytecode = path.ends_with(".pyc") || path.ends_with(".pyo");
        if is_bytecode || path.split('/').any(|name| name == "__pycache__") {
            return Err(Reason::member(path, "is bytecode"));
        }
        let mut parts = path.splitn(3, '/');
        let top = parts.next().unwrap_or_default();
        if !top.ends_with(".data") {
            let is_egg = [".egg", ".egg-info", ".egg-link"].iter().any(|it| top.ends_with(it));
            if is_egg {
                return Err(Reason::member(path, "is part of another distribution"));
            }
            return Ok(Self::Library(path));
        }
        match (parts.next(), parts.next()) {
            (Some("purelib" | "platlib"), Some(path)) => Self::of_library(path),
            (Some("scripts"), Some(path)) => Ok(Self::Script(path)),
            (Some("headers"), Some(path)) => Ok(Self::Header(path)),
            (Some("data"), Some(below)) => {
                if below.split('/').next() == Some("lib") {
                    return Err(Reason::member(path, "is data in lib"));
                }
                Ok(Self::Data(below))
            }
            _ => Err(Reason::member(path, "has an unknown installation scheme")),
        }
    }

    /// A path below `purelib` or `platlib`, which must not look like metadata.
    fn of_library(path: &'a str) -> Result<Self, Reason> {
        let top = path.split('/').next().unwrap_or_default();
        let is_metadata = [".dist-info", ".data", ".egg-info", ".egg", ".egg-link"]
            .iter()
            .any(|it| top.ends_with(it));
        if is_metadata {
            return Err(Reason::member(path, "is metadata outside of its place"));
        }
        Ok(Self::Library(path))
    }
}

/// Whether a script of the wheel was generated from an entry point.
fn is_wrapper(path: &str, scripts: &Scripts) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let lower = name.to_lowercase();
    let suffix = [".exe", "-script.py", ".pya"].iter().find(|suffix| lower.ends_with(**suffix));
    let stem = suffix.map_or(name, |suffix| name.get(..name.len() - suffix.len()).unwrap_or(name));
    scripts.contains_key(stem)
}

/// Refuses names of `top_level.txt` that name something else than a package or module of the wheel,
/// and a `bin` that buildout would remove.
fn check_top_levels(
    rules: &Rules<'_>,
    schemes: &[Scheme<'_>],
    library: &BTreeSet<&str>,
) -> Result<(), Reason> {
    let outside: BTreeSet<&str> = schemes
        .iter()
        .filter_map(|scheme| match scheme {
            Scheme::Data(path) => path.split('/').next(),
            _ => None,
        })
        .collect();
    let mut seen = HashSet::new();
    for name in rules.top_levels {
        let is_plain = name.chars().all(|c| c.is_ascii_graphic() && c != '/' && c != '\\')
            && name != "."
            && name != "..";
        let is_home = HOME.contains(&name.as_str()) || outside.contains(name.as_str());
        let is_metadata = name == rules.dist_info || name == rules.egg_info;
        if !is_plain || is_home || is_metadata || !seen.insert(name) {
            return Err(Reason::metadata("top_level.txt", format!("names {name:?}")));
        }
    }
    let has_scripts =
        rules.mentions_scripts || schemes.iter().any(|it| matches!(it, Scheme::Script(_)));
    if library.contains("bin") && (has_scripts || outside.contains("bin")) {
        return Err(Reason::member("bin", "is a package, and there are scripts"));
    }
    Ok(())
}

/// The members that are an `__init__.py` alone in its directory, which may declare a namespace.
#[must_use]
pub fn namespace_candidates(placed: &[Placed]) -> Vec<&Placed> {
    let mut directories: BTreeMap<&str, Vec<&Placed>> = BTreeMap::new();
    for it in placed.iter().filter(|it| matches!(it.place, Place::Egg { .. })) {
        let directory = it.record_path.rsplit_once('/').map_or("", |(directory, _)| directory);
        directories.entry(directory).or_default().push(it);
    }
    let alone = directories.into_values().filter_map(|files| match *files.as_slice() {
        [file] => Some(file),
        _ => None,
    });
    alone.filter(|it| it.record_path.rsplit('/').next() == Some("__init__.py")).collect()
}
