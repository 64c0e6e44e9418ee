//! Register: note which eggs a buildout ended up with, after it has succeeded.
//!
//! Parts of a buildout that had nothing to do tell of no egg. What the buildout used before, is still
//! in its place and has no other version in use now is therefore kept. Parts that were removed tell of
//! none either, and buildout leaves their eggs where they are. So after a run of all parts, what was told
//! of before is kept only if a script, a configuration or `.installed.cfg` still names it; after a run of
//! some parts, nobody knows of the others.
//!
//! # Order of writes
//! The eggs are made young before the record is written, as what was used since it was planned for is
//! not evicted. A `gc` that goes on at the same time thus keeps them: by the record if it saw that,
//! else because they are young.
//!
//! # Waiting
//! A buildout with nothing to do must not wait: an egg that has not changed since the last run is not
//! looked at again, and a record that would change in nothing but the time is written once an hour.
//! No failure to write one fails a buildout.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
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
const TO_THE_HOUR: i64 = 3600;

#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The folder of the buildout.
    pub directory: PathBuf,
    pub eggs_directory: PathBuf,
    /// As [`Root::python`].
    pub python: String,
    /// Version of zc.buildout.
    pub buildout: Option<String>,
    /// Whether every part of the buildout was installed or updated.
    pub whole: bool,
    /// Where the eggs stand that this run used.
    pub eggs: Vec<PathBuf>,
    /// Digests of those that this run has copied or stored, by the paths that they have below a
    /// canonical directory.
    pub known: HashMap<PathBuf, Digest>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Not if the cache is read-only, or its disk is full.
    pub registered: bool,
    /// How many eggs the buildout uses.
    pub eggs: usize,
    /// How many of them the cache has.
    pub cached: usize,
}

/// Registers a buildout.
///
/// # Errors
/// If the folders of the buildout cannot be read or its record not written.
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
    let before = roots::before(cache.root(), &root.name());
    root.eggs = eggs_of(cache, options, &root, before.as_ref());
    let mut report = Report {
        registered: true,
        eggs: root.eggs.len(),
        cached: root.eggs.iter().filter(|egg| egg.digest.is_some()).count(),
    };
    if let Some(before) = before {
        root.first_run = before.first_run;
        let is_recent = (0..TO_THE_HOUR).contains(&(root.last_run - before.last_run));
        if is_recent && root == (Root { last_run: root.last_run, ..before }) {
            return Ok(report);
        }
    }
    let used: Vec<Digest> = root.eggs.iter().filter_map(|egg| egg.digest).collect();
    cache.touch(&used, root.last_run);
    let written = cache.check_writable().and_then(|()| roots::write(cache.root(), &root));
    report.registered = match written {
        Err(error) if error.is_read_only() || error.is_full() || error.is_forbidden() => false,
        written => written.map(|()| true)?,
    };
    Ok(report)
}

/// What a buildout uses, by the names of the eggs.
fn eggs_of(cache: &Cache, options: &Options, root: &Root, before: Option<&Root>) -> Vec<Used> {
    let mut canonical: HashMap<PathBuf, Option<PathBuf>> = HashMap::new();
    let mut paths: Vec<PathBuf> = options.known.keys().cloned().collect();
    for egg in &options.eggs {
        let (Some(parent), Some(name)) = (egg.parent(), egg.file_name()) else { continue };
        let parent =
            canonical.entry(parent.to_owned()).or_insert_with_key(|it| it.canonicalize().ok());
        paths.extend(parent.as_ref().map(|parent| parent.join(name)));
    }
    let used: HashSet<String> = paths.iter().filter_map(|path| project_of(path)).collect();
    let before: HashMap<PathBuf, &Used> = before
        .iter()
        .flat_map(|before| before.eggs.iter().map(|egg| (before.path_of(egg), egg)))
        .collect();
    let told: HashSet<&PathBuf> = paths.iter().collect();
    let mut silent: Vec<PathBuf> = before
        .keys()
        .filter(|path| !told.contains(path))
        .filter(|path| project_of(path).is_none_or(|project| !used.contains(&project)))
        .cloned()
        .collect();
    if options.whole && !silent.is_empty() {
        silent = named(&root.directory, silent);
    }
    paths.extend(silent);
    let mut eggs = BTreeMap::new();
    for path in paths {
        if eggs.contains_key(&path) {
            continue;
        }
        let Some(stamp) = stamp_of(&path) else { continue };
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
        let Some(file_name) = name.to_str().map(str::to_owned) else { continue };
        let directory = Some(parent).filter(|it| *it != root.eggs_directory).map(Path::to_owned);
        let same = before.get(&path).filter(|egg| egg.stamp == stamp).and_then(|egg| egg.digest);
        let named = options.known.get(&path).copied().or(same);
        // What was evicted since may be there again, by another build.
        let digest = named
            .filter(|&digest| cache.egg(digest).is_ok_and(|egg| egg.is_some()))
            .or_else(|| find(cache, &path, &file_name));
        eggs.insert(path, Used { file_name, digest, directory, stamp });
    }
    eggs.into_values().collect()
}

/// Those of the eggs that something in the buildout still names; all, if that cannot be told.
fn named(directory: &Path, eggs: Vec<PathBuf>) -> Vec<PathBuf> {
    let Ok(buildout) = Buildout::open(directory, None) else { return eggs };
    let name_of = |egg: &PathBuf| egg.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let mut names: HashSet<String> = egg_names(&buildout.installed).map(str::to_owned).collect();
    let is_named =
        |names: &HashSet<String>| eggs.iter().filter_map(name_of).all(|name| names.contains(&name));
    // What takes longer to read is read only if it has to be.
    if !is_named(&names) {
        let Ok(scripts) = text_files::scripts(&buildout) else { return eggs };
        names.extend(scripts.into_iter().flat_map(|text| text.eggs));
    }
    if !is_named(&names) {
        names.extend(text_files::of_parts(&buildout).into_iter().flat_map(|text| text.eggs));
    }
    eggs.into_iter().filter(|egg| name_of(egg).is_some_and(|name| names.contains(&name))).collect()
}

/// PEP 503 name of the project of an egg.
fn project_of(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?.parse::<EggName>().ok()?;
    Some(normalize_name(&name.name))
}

fn stamp_of(path: &Path) -> Option<Stamp> {
    let metadata = path.symlink_metadata().ok()?;
    let mtime = (metadata.mtime(), metadata.mtime_nsec());
    Some(Stamp { identity: files::identity(&metadata), mtime })
}

/// The egg in the cache that stands at `path`, told by its names, sizes and mtimes.
fn find(cache: &Cache, path: &Path, file_name: &str) -> Option<Digest> {
    let candidates = cache.eggs_of_file_name(file_name).ok().filter(|it| !it.is_empty())?;
    let found = scan::list(path).ok()?;
    let is_same = |digest: Digest| {
        let blob = cache.open_blob(digest).ok().flatten();
        blob.is_some_and(|blob| difference(&blob.manifest, &found).is_none())
    };
    candidates.into_iter().map(|egg| egg.digest).find(|&digest| is_same(digest))
}
