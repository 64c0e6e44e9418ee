//! Why: where the eggs of the last run of a buildout came from, and why an egg is a miss.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::buildout::interpreter::Interpreter;
use crate::buildout::script::Script;
use crate::cache::Cache;
use crate::cache::build_options::BuildOptions;
use crate::cache::last_run::{Installed, LastRun, Outcome};
use crate::cache::miss::{Eviction, Known, Miss, Needed};
use crate::cache::query::{self, Narrow};
use crate::disk::files;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::{EggKey, Mismatch};
use crate::egg::name::{EggName, normalize_name, same_version, version_order};
use crate::error::{Error, IoContext, Result};
use crate::remote::withdrawals::record::Withdrawals;
use crate::util::clock::now;

/// Longest `bin/buildout` that is read, in bytes.
const MOST: u64 = 1 << 20;

/// Where the eggs of one run came from.
#[derive(Debug, Serialize)]
pub struct OfBuildout {
    pub run: Run,
}

/// What is known of one egg.
#[derive(Debug, Serialize)]
pub struct OfEgg {
    /// The runs that have installed it, the newest first.
    pub runs: Vec<Run>,
    /// The eggs of the cache that are wanted.
    pub cached: Vec<Cached>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<Explained>,
}

/// An egg of the cache.
#[derive(Debug, Serialize)]
pub struct Cached {
    #[serde(flatten)]
    pub egg: CachedEgg,
    /// With which options it was built, if it is a custom build and they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<BuildOptions>,
}

/// A run, and those of its eggs that are asked for.
#[derive(Debug, Serialize)]
pub struct Run {
    #[serde(serialize_with = "crate::disk::files::lossy")]
    pub directory: PathBuf,
    pub machine: String,
    pub python: String,
    /// When it ended, in seconds since the Unix epoch.
    pub at: i64,
    pub succeeded: bool,
    pub hits: usize,
    pub misses: usize,
    /// How many eggs it could neither install nor build.
    pub missing: usize,
    pub eggs: Vec<Egg>,
    /// As [`LastRun::remote_problems`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remote_problems: Vec<String>,
    /// As [`LastRun::since`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Outcome>,
}

/// An egg that a run has installed.
#[derive(Debug, Serialize)]
pub struct Egg {
    #[serde(flatten)]
    pub installed: Installed,
    /// Why it was a miss, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A reason, and its words.
#[derive(Debug, Serialize)]
pub struct Explained {
    /// The project, as in the question.
    pub name: String,
    /// As in the question, or the last one that the cache had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    pub miss: Miss,
    pub why: String,
}

impl Run {
    fn of(run: LastRun, is_wanted: impl Fn(&Installed) -> bool) -> Self {
        let missing = run.eggs.iter().filter(|it| it.origin.is_missing()).count();
        let not_cached = run.eggs.iter().filter(|it| it.origin.miss().is_some()).count();
        let (hits, misses) = (run.eggs.len() - not_cached, not_cached - missing);
        let eggs = run.eggs.into_iter().filter(|it| is_wanted(it));
        let explained = |installed: Installed| {
            let why = installed.origin.miss().map(ToString::to_string);
            Egg { installed, why }
        };
        Self {
            directory: run.directory,
            machine: run.machine,
            python: run.python,
            at: run.at,
            succeeded: run.succeeded,
            hits,
            misses,
            missing,
            eggs: eggs.map(explained).collect(),
            remote_problems: run.remote_problems,
            since: run.since,
        }
    }
}

/// Where the eggs of the last run in a folder came from that has installed eggs.
///
/// # Errors
/// [`Error::NoRun`] if no such run is recorded.
pub fn of_buildout(cache: &Cache, directory: &Path) -> Result<OfBuildout> {
    let directory = directory.canonicalize().at("open directory", directory)?;
    let run = cache.run_in(&directory).ok_or(Error::NoRun { path: directory })?;
    Ok(OfBuildout { run: Run::of(run, |_| true) })
}

/// What is known of an egg: its name, its name and version, its file name, or its digest.
///
/// # Errors
/// [`Error::Miss`] if nothing is known of its project.
pub fn of_egg(cache: &Cache, text: &str, narrow: &Narrow) -> Result<OfEgg> {
    let Question { shown, name, version } = Question::of(cache, text)?;
    let is_version = |other: &str| version.as_ref().is_none_or(|it| same_version(it, other));
    let is_wanted = |it: &Installed| normalize_name(&it.name) == name && is_version(&it.version);
    let runs = cache.runs()?.into_iter().map(|run| Run::of(run, is_wanted));
    let runs: Vec<Run> = runs.filter(|run| !run.eggs.is_empty()).collect();
    let eggs = cache.eggs_of_project(&name)?;
    let evictions = cache.evictions_of_project(&name)?;
    let wanted = |egg: &&CachedEgg| is_version(&egg.key.version) && narrow.admits(egg);
    let withdrawals = Withdrawals::of(cache.root())?;
    let is_served = |egg: &&CachedEgg| !withdrawals.has(egg.digest);
    let mut cached: Vec<CachedEgg> =
        eggs.iter().filter(wanted).filter(is_served).cloned().collect();
    cached.sort_by_cached_key(|egg| version_order(&egg.key.version));
    if runs.is_empty() && eggs.is_empty() && evictions.is_empty() {
        let error = query::one(cache, text, narrow).err();
        return Err(error.unwrap_or_else(|| Error::miss(&text)));
    }
    let missing = cached.is_empty().then(|| {
        let version = version.or_else(|| last_version(&eggs, &evictions, &runs));
        explain(shown, version, &eggs, &evictions, &withdrawals, narrow)
    });
    let options = |egg: &CachedEgg| cache.custom_build_options(&egg.key.variant);
    let cached = cached.into_iter().map(|egg| Cached { options: options(&egg), egg }).collect();
    Ok(OfEgg { runs, cached, missing })
}

/// The project and the version that a text means.
struct Question {
    shown: String,
    /// In the form of PEP 503.
    name: String,
    version: Option<String>,
}

impl Question {
    fn of(cache: &Cache, text: &str) -> Result<Self> {
        if let Ok(egg) = text.parse::<EggName>()
            && text.ends_with(".egg")
        {
            return Ok(Self::about(egg.name, Some(egg.version)));
        }
        let (name, version) = text.split_once("==").unwrap_or((text, ""));
        let version = Some(version.trim().to_owned()).filter(|it| !it.is_empty());
        if version.is_none() && cache.eggs_of_project(&normalize_name(name.trim()))?.is_empty() {
            // It may be a digest.
            if let [egg] = &query::all(cache, text)?[..] {
                let EggKey { name, version, .. } = egg.key.clone();
                return Ok(Self::about(name, Some(version)));
            }
        }
        Ok(Self::about(name.trim().to_owned(), version))
    }

    fn about(shown: String, version: Option<String>) -> Self {
        Self { name: normalize_name(&shown), shown, version }
    }
}

/// The version that the cache had last, or that was needed last.
fn last_version(eggs: &[CachedEgg], evictions: &[Eviction], runs: &[Run]) -> Option<String> {
    let installed = runs.first().and_then(|run| run.eggs.first());
    let installed = installed.map(|egg| egg.installed.version.clone());
    let installed = installed.filter(|version| !version.is_empty());
    let evicted = || evictions.last().map(|it| it.key.version.clone());
    let cached = || eggs.last().map(|it| it.key.version.clone());
    installed.or_else(evicted).or_else(cached)
}

fn explain(
    name: String,
    version: Option<String>,
    eggs: &[CachedEgg],
    evictions: &[Eviction],
    withdrawals: &Withdrawals,
    narrow: &Narrow,
) -> Explained {
    let needed = Needed {
        version: version.as_deref().unwrap_or_default(),
        source_sha256: "",
        variant: None,
        bound_variant: None,
        is_withheld: false,
        since: now().saturating_add(1),
    };
    let known = Known {
        eggs,
        evictions,
        unusable: None,
        refused: &|_| None,
        mismatch: &|egg| mismatch(&egg.key, narrow),
        would_work: &|key| narrow.admits_key(key),
        withdrawn: &|digest| {
            withdrawals.get(digest).map(|it| (it.remote.clone(), it.reason.clone()))
        },
        options: &|_| None,
    };
    let miss = Miss::of(&needed, &known);
    Explained { name, version, why: miss.to_string(), miss }
}

/// The part of a key that is ruled out.
fn mismatch(key: &EggKey, narrow: &Narrow) -> Option<Mismatch> {
    let python = Narrow { python: narrow.python.clone(), ..Narrow::default() };
    let platform = Narrow { platform: narrow.platform.clone(), ..Narrow::default() };
    let differs =
        |part, egg: &str, host: String| Some(Mismatch { part, egg: egg.to_owned(), host });
    if !python.admits_key(key) {
        differs("python", &key.python, narrow.python.clone().unwrap_or_default())
    } else if !platform.admits_key(key) {
        differs("platform", &key.platform, narrow.platform.clone().unwrap_or_default())
    } else if !narrow.admits_key(key) {
        let wanted = narrow.generation.unwrap_or_default();
        differs("generation", &key.generation.to_string(), wanted.to_string())
    } else {
        None
    }
}

/// The Python of a buildout: the version of that which runs `bin/buildout`, such as `3.12`, as far as files show it,
/// or else the tag of that of the last run, such as `cp312`.
#[must_use]
pub fn python_of(cache: &Cache, buildout: &Path) -> Option<String> {
    let of_run = || Some(cache.run_in(&buildout.canonicalize().ok()?)?.python);
    of_script(buildout).or_else(of_run)
}

fn of_script(buildout: &Path) -> Option<String> {
    let text = files::read_short(&buildout.join("bin/buildout"), MOST).ok()?;
    let script = Script::parse(&String::from_utf8_lossy(&text));
    let program = script.interpreter?;
    let program = program.split(' ').next().filter(|it| it.starts_with('/'))?;
    Interpreter::new(Path::new(program)).python
}
