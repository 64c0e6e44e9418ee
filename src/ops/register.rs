//! Register: record which eggs a buildout uses, after it has succeeded.
//!
//! A part that had nothing to do reports no eggs. So an egg of the last record is kept if it still
//! exists and no other version of it is in use now. Removed parts report no eggs either, and buildout
//! does not delete their eggs. So after a run of all parts, an egg of the last record is kept only if a
//! script, a configuration or `.installed.cfg` still names it. After a run of some parts, the eggs of the
//! others are unknown.
//!
//! # Order of writes
//! The last use of the eggs is set before the record is written, as eggs that were used since a plan was
//! made are not evicted. A concurrent `gc` thus keeps them: because of the record if it has seen that,
//! or else because they are young.
//!
//! # Waiting
//! A buildout with nothing to do must not wait. An egg that has not changed since the last run is not
//! read again, and a record in which only the time would change is written once an hour. A failed write
//! never fails a buildout.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::buildout::Buildout;
use crate::buildout::script::egg_names;
use crate::buildout::text_files;
use crate::cache::Cache;
use crate::cache::retention::roots::{self, Root, Stamp, Used};
use crate::disk::files;
use crate::egg::diff::difference;
use crate::egg::name::{EggName, normalize_name};
use crate::egg::scan;
use crate::error::{IoContext, Result};
use crate::util::clock::now;
use crate::util::hash::digest::Digest;
use crate::util::machine;

/// How old the time of the last run in a record may be, in seconds.
const PRECISION: i64 = 3600;

#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The folder of the buildout.
    pub directory: PathBuf,
    pub eggs_directory: PathBuf,
    /// As [`Root::python`].
    pub python: String,
    /// The label of the environment, `egg-cache-environment`.
    pub environment: String,
    /// Version of zc.buildout.
    pub buildout: Option<String>,
    /// Whether every part of the buildout was installed or updated.
    pub whole: bool,
    /// The paths of the eggs that this run used.
    pub eggs: Vec<PathBuf>,
    /// Digests of the eggs that this run has copied or stored, and of withdrawn ones that it has built again,
    /// by their path below a canonical directory.
    pub known: HashMap<PathBuf, Digest>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// False if the cache is read-only or its disk is full.
    pub registered: bool,
    /// How many eggs the buildout uses.
    pub eggs: usize,
    /// How many of them the cache has.
    pub cached: usize,
    /// The eggs whose digests are known, by path.
    #[serde(skip)]
    pub digests: HashMap<PathBuf, Digest>,
}

/// Registers a buildout.
pub fn register(cache: &mut Cache, options: &Options) -> Result<Report> {
    let canonical = |path: &Path| path.canonicalize().at("open directory", path);
    let directory = canonical(&options.directory)?;
    let identity = files::identity(&directory.metadata().at("read", &directory)?);
    let mut root = Root {
        directory,
        identity,
        machine: machine::machine(),
        eggs_directory: canonical(&options.eggs_directory)?,
        python: options.python.clone(),
        buildout: options.buildout.clone(),
        first_run: now(),
        last_run: now(),
        eggs: Vec::new(),
    };
    let before = roots::before(cache.dir(), &root.name());
    root.eggs = eggs_of(cache, options, &root, before.as_ref());
    let mut report = Report {
        registered: true,
        eggs: root.eggs.len(),
        cached: root.eggs.iter().filter(|egg| egg.digest.is_some_and(|it| has(cache, it))).count(),
        digests: root.digests().collect(),
    };
    if let Some(before) = before {
        root.first_run = before.first_run;
        let is_recent = (0..PRECISION).contains(&(root.last_run - before.last_run));
        if is_recent && root == (Root { last_run: root.last_run, ..before }) {
            return Ok(report);
        }
    }
    let used: Vec<Digest> = root.eggs.iter().filter_map(|egg| egg.digest).collect();
    cache.touch(&used, root.last_run);
    let written = cache.check_writable().and_then(|()| roots::write(cache.dir(), &root));
    report.registered = match written {
        Err(error) if error.is_read_only() || error.is_full() || error.is_forbidden() => false,
        written => written.map(|()| true)?,
    };
    Ok(report)
}

/// The eggs that a buildout uses, by path.
fn eggs_of(cache: &Cache, options: &Options, root: &Root, before: Option<&Root>) -> Vec<Used> {
    let mut paths = reported(options);
    let before: HashMap<PathBuf, &Used> = before
        .iter()
        .flat_map(|before| before.eggs.iter().map(|egg| (before.path_of(egg), egg)))
        .collect();
    paths.extend(unreported(options, root, &paths, before.keys()));
    let mut eggs = BTreeMap::new();
    for path in paths {
        if eggs.contains_key(&path) {
            continue;
        }
        let Some(stamp) = Stamp::of(&path) else { continue };
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
        let Some(file_name) = name.to_str().map(str::to_owned) else { continue };
        let directory = Some(parent).filter(|dir| *dir != root.eggs_directory).map(Path::to_owned);
        let before = before.get(&path);
        let same = before.filter(|egg| egg.stamp == stamp).and_then(|egg| egg.digest);
        let known = options.known.get(&path).copied().or(same);
        // An egg that the cache has evicted stays known: it may be withdrawn. Python changes the mtime of
        // the egg when it compiles a module.
        let evicted = || {
            let is_it = |egg: &&&Used| egg.stamp.identity == stamp.identity;
            before.filter(is_it).and_then(|egg| egg.digest).filter(|&it| !has(cache, it))
        };
        let digest = known.or_else(|| find(cache, options, &path, &file_name)).or_else(evicted);
        eggs.insert(path, Used { file_name, digest, directory, stamp });
    }
    eggs.into_values().collect()
}

fn has(cache: &Cache, digest: Digest) -> bool {
    cache.egg(digest).is_ok_and(|egg| egg.is_some())
}

/// The paths of the eggs that this run has reported.
fn reported(options: &Options) -> Vec<PathBuf> {
    let mut canonical: HashMap<PathBuf, Option<PathBuf>> = HashMap::new();
    let mut paths: Vec<PathBuf> = options.known.keys().cloned().collect();
    for egg in &options.eggs {
        let (Some(parent), Some(name)) = (egg.parent(), egg.file_name()) else { continue };
        let parent =
            canonical.entry(parent.to_owned()).or_insert_with_key(|dir| dir.canonicalize().ok());
        paths.extend(parent.as_ref().map(|parent| parent.join(name)));
    }
    paths
}

/// The eggs of the last record that this run has not reported and that may still be in use.
fn unreported<'p>(
    options: &Options,
    root: &Root,
    reported: &[PathBuf],
    before: impl Iterator<Item = &'p PathBuf>,
) -> Vec<PathBuf> {
    let projects: HashSet<String> = reported.iter().filter_map(|path| project_of(path)).collect();
    let reported: HashSet<&PathBuf> = reported.iter().collect();
    let unreported: Vec<PathBuf> = before
        .filter(|path| !reported.contains(path))
        .filter(|path| project_of(path).is_none_or(|project| !projects.contains(&project)))
        .cloned()
        .collect();
    if options.whole && !unreported.is_empty() {
        return still_named(&root.directory, unreported);
    }
    unreported
}

/// The eggs that a text of the buildout names; all, if the texts cannot be read.
fn still_named(directory: &Path, eggs: Vec<PathBuf>) -> Vec<PathBuf> {
    let Ok(buildout) = Buildout::open(directory, None) else { return eggs };
    let name_of = |egg: &PathBuf| egg.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let mut names: HashSet<String> = egg_names(&buildout.installed).map(str::to_owned).collect();
    let are_all_named =
        |names: &HashSet<String>| eggs.iter().filter_map(name_of).all(|name| names.contains(&name));
    // Scripts and parts take longer to read, so they come only if needed.
    if !are_all_named(&names) {
        let Ok(scripts) = text_files::scripts(&buildout) else { return eggs };
        names.extend(scripts.into_iter().flat_map(|text| text.eggs));
    }
    if !are_all_named(&names) {
        names.extend(text_files::of_parts(&buildout).into_iter().flat_map(|text| text.eggs));
    }
    eggs.into_iter().filter(|egg| name_of(egg).is_some_and(|name| names.contains(&name))).collect()
}

/// PEP 503 name of the project of an egg.
fn project_of(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?.parse::<EggName>().ok()?;
    Some(normalize_name(&name.name))
}

/// The egg in the cache that is at `path`, by file names, sizes and mtimes. Of several, it is one with the label of
/// this buildout.
fn find(cache: &Cache, options: &Options, path: &Path, file_name: &str) -> Option<Digest> {
    let mut candidates = cache.eggs_of_file_name(file_name).ok().filter(|eggs| !eggs.is_empty())?;
    candidates.sort_by_key(|egg| (egg.key.environment != options.environment, egg.digest));
    let found = scan::list(path).ok()?;
    let is_same = |digest: Digest| {
        let blob = cache.open_blob(digest).ok().flatten();
        blob.is_some_and(|blob| difference(&blob.manifest, &found).is_none())
    };
    candidates.into_iter().map(|egg| egg.digest).find(|&digest| is_same(digest))
}
