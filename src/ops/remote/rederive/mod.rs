//! Rederive: make the eggs of a remote again that were made of wheels, and compare.
//!
//! A converted egg depends on nothing but its wheel and the version of Python, so the wheel shows
//! whether the builder has changed something. The wheel is found by the SHA-256 in the key of the egg.
//! The blob is only read if the digests of the two eggs differ, to name the files.
//!
//! An egg that pip has made has the time and place of its build in it. Its other files are compared.

mod archives;
mod compare;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;
use serde::Serialize;
use url::Url;

use crate::disk::dir::Dir;
use crate::disk::mmap;
use crate::disk::temp::{self, Temp};
use crate::egg::blob::reader::Blob;
use crate::egg::key::python_tag;
use crate::egg::layout::LAST_GENERATION;
use crate::egg::manifest::Manifest;
use crate::egg::wheel::converted::is_converted_from;
use crate::egg::wheel::pip::Pip;
use crate::error::{Error, IoContext, Result};
use crate::ops::convert::{Converter, Options as ConvertOptions, Origin, Outcome, Target};
use crate::remote::entry::RemoteEntry;
use crate::remote::inventory::{Inventory, StoredEntry};
use crate::remote::object_names;
use crate::util::progress::{Progress, Silent, Unit};
use crate::util::threads;

use archives::Archives;
pub use compare::Difference;

#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Folders with wheels.
    pub archives: Vec<PathBuf>,
    /// Package indexes, for wheels that no folder has.
    pub indexes: Vec<Url>,
    /// Whether to fetch other wheels from where their builder has got them.
    pub fetch: bool,
    /// The Pythons at hand.
    pub targets: Vec<Target>,
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub same: usize,
    /// Eggs of pip whose other files are the same.
    pub same_except_bytecode: usize,
    pub different: usize,
    pub failed: usize,
    pub not_tried: usize,
    pub eggs: Vec<Rederived>,
}

/// What became of one egg.
#[derive(Debug, Serialize)]
pub struct Rederived {
    pub file_name: String,
    /// The name of the entry.
    pub name: String,
    #[serde(flatten)]
    pub verdict: Verdict,
}

#[derive(Debug, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    Same,
    /// Made by pip: its bytecode and what pip writes into RECORD and `direct_url.json` differ each time.
    SameExceptBytecode,
    Differs {
        files: Vec<Difference>,
    },
    /// It could not be made or compared.
    Failed {
        reason: String,
    },
    NotTried {
        reason: NotTried,
        /// The reason as a sentence.
        text: String,
    },
}

/// Why an egg is not made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotTried {
    /// Buildout has built it of sources, or the archive is not recorded.
    NotOfAWheel,
    OtherPython,
    NoArchive,
    /// Its wheel is left to buildout.
    Unusual,
}

impl NotTried {
    /// For a count of such eggs.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::NotOfAWheel => "not of a wheel",
            Self::OtherPython => "for another Python",
            Self::NoArchive => "without the wheel",
            Self::Unusual => "of an unusual wheel",
        }
    }
}

impl Report {
    /// Whether every egg that was made again is the same.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.different == 0 && self.failed == 0
    }

    fn of(eggs: Vec<Rederived>) -> Self {
        let count = |is: fn(&Verdict) -> bool| eggs.iter().filter(|egg| is(&egg.verdict)).count();
        Self {
            same: count(|it| matches!(it, Verdict::Same)),
            same_except_bytecode: count(|it| matches!(it, Verdict::SameExceptBytecode)),
            different: count(|it| matches!(it, Verdict::Differs { .. })),
            failed: count(|it| matches!(it, Verdict::Failed { .. })),
            not_tried: count(|it| matches!(it, Verdict::NotTried { .. })),
            eggs,
        }
    }
}

/// Makes the eggs of all valid entries again. A problem with one of them is in the report.
///
/// # Errors
/// [`Error::Io`] for a folder of archives that cannot be read, and [`Error::BadPython`].
pub fn rederive(
    inventory: &Inventory,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Report> {
    threads::start_pool()?;
    let entries: Vec<(&StoredEntry, &RemoteEntry)> =
        inventory.entries.iter().filter_map(|stored| Some((stored, stored.valid()?))).collect();
    let folder = std::env::temp_dir();
    temp::sweep(&Dir::open(&folder).at("open", &folder)?)?;
    let temp = Temp::dir_at(&folder)?;
    let rederiver = Rederiver {
        inventory,
        targets: options.targets.iter().cloned().map(without_pip).collect(),
        archives: Archives::new(options, progress)?,
        folder: temp.path(),
        converters: Mutex::default(),
    };
    progress.begin("rederiving", entries.len() as u64, Unit::Eggs);
    let rederive = |(stored, entry): (&StoredEntry, &RemoteEntry)| {
        let verdict = rederiver.verdict(entry).unwrap_or_else(Verdict::from);
        progress.advance(1);
        let (file_name, name) = (entry.file_name.clone(), stored.object.name.clone());
        Rederived { file_name, name, verdict }
    };
    let mut eggs: Vec<Rederived> = entries.into_par_iter().with_max_len(1).map(rederive).collect();
    progress.end();
    eggs.sort_by(|a, b| (&a.file_name, &a.name).cmp(&(&b.file_name, &b.name)));
    Ok(Report::of(eggs))
}

/// Why there is nothing to compare.
enum Stop {
    NotTried(NotTried, String),
    Failed(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<Stop> for Verdict {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::NotTried(reason, text) => Self::NotTried { reason, text },
            Stop::Failed(reason) => Self::Failed { reason },
        }
    }
}

struct Rederiver<'a> {
    inventory: &'a Inventory,
    targets: Vec<Target>,
    archives: Archives,
    /// Temporary.
    folder: &'a Path,
    /// By Python and variant.
    converters: Mutex<HashMap<(PathBuf, String), Arc<Converter>>>,
}

/// A Python whatever its pip is: no egg depends on it.
fn without_pip(target: Target) -> Target {
    Target { pip: Some(Pip::NEWEST_VERSION.to_owned()), ..target }
}

impl Rederiver<'_> {
    fn verdict(&self, entry: &RemoteEntry) -> Result<Verdict, Stop> {
        let RemoteEntry { key, provenance, .. } = entry;
        let source = provenance.source.as_deref().filter(|source| source.ends_with(".whl"));
        let options = ConvertOptions::of_variant(&key.variant);
        let (Some(source), Some(options), LAST_GENERATION) = (source, options, key.generation)
        else {
            let text = "it was not made of a wheel in the way of zc.buildout 5";
            return Err(Stop::NotTried(NotTried::NotOfAWheel, text.into()));
        };
        let target = self.target(entry)?;
        let temp = Temp::dir_at(self.folder)?;
        let (archive, made) = (temp.path().join("archive"), temp.path().join("made"));
        for folder in [&archive, &made] {
            std::fs::create_dir(folder).at("make", folder)?;
        }
        let wheel = self.archives.get(entry, source, &archive)?;
        let converter = self.converter(target, &key.variant, &options)?;
        let found = make(&converter, &wheel, &made, entry)?;
        if found.digest() == entry.egg {
            return Ok(Verdict::Same);
        }
        let stored = self.manifest(entry, temp.path())?;
        if !is_converted_from(source, &key.source_sha256, &stored.entries) {
            return Ok(match compare::apart_from_pip(&stored, &found) {
                files if files.is_empty() => Verdict::SameExceptBytecode,
                files => Verdict::Differs { files },
            });
        }
        // Its builder may have set variables that count for pip as well.
        let environment = compare::environment_of(&stored, &found);
        if environment.iter().next().is_some() {
            let again = temp.path().join("again");
            std::fs::create_dir(&again).at("make", &again)?;
            let options = ConvertOptions { environment, ..options };
            let found = make(&Converter::start(target.clone(), options)?, &wheel, &again, entry)?;
            return Ok(verdict_of(compare::all(&stored, &found)));
        }
        Ok(verdict_of(compare::all(&stored, &found)))
    }

    fn converter(
        &self,
        target: &Target,
        variant: &str,
        options: &ConvertOptions,
    ) -> Result<Arc<Converter>> {
        let key = (target.executable.clone(), variant.to_owned());
        let mut converters = self.converters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(converter) = converters.get(&key) {
            return Ok(Arc::clone(converter));
        }
        let converter = Arc::new(Converter::start(target.clone(), options.clone())?);
        converters.insert(key, Arc::clone(&converter));
        Ok(converter)
    }

    /// The Python that the egg is for.
    fn target(&self, entry: &RemoteEntry) -> Result<&Target, Stop> {
        let is_of = |target: &&Target| {
            let implementation = if target.implementation == "pypy" { "pp" } else { "cp" };
            python_tag(implementation, &target.python()) == entry.key.python
                && target.platform == entry.key.platform
        };
        self.targets.iter().find(is_of).ok_or_else(|| {
            let (python, platform) = (&entry.key.python, &entry.key.platform);
            let text = format!("no Python at hand makes eggs for {python} on {platform}");
            Stop::NotTried(NotTried::OtherPython, text)
        })
    }

    /// The manifest in the blob of an entry.
    fn manifest(&self, entry: &RemoteEntry, folder: &Path) -> Result<Manifest, Stop> {
        let temp = Temp::file_at(folder)?;
        let path = || temp.path().to_owned();
        let file = temp.handle().try_clone().at("open", temp.path())?;
        let name = object_names::blob(entry.blob);
        let digest = self.inventory.client.download(&name, entry.blob_bytes, &file, &Silent)?;
        let mapped = mmap::map(file).at("map", &path())?;
        let opened = Blob::open(mapped).ok().filter(|blob| {
            digest == Some(entry.blob)
                && blob.digest == entry.egg
                && blob.manifest.key == entry.key
                && blob.manifest.file_name == entry.file_name
        });
        match (digest, opened) {
            (None, _) => Err(Stop::Failed("its blob is missing".into())),
            (_, None) => Err(Stop::Failed("its blob contains another egg".into())),
            (_, Some(blob)) => Ok(blob.manifest),
        }
    }
}

fn verdict_of(files: Vec<Difference>) -> Verdict {
    if files.is_empty() { Verdict::Same } else { Verdict::Differs { files } }
}

/// Makes the egg of a wheel, and describes it.
fn make(
    converter: &Converter,
    wheel: &Path,
    into: &Path,
    entry: &RemoteEntry,
) -> Result<compare::Found, Stop> {
    let made = converter.convert(wheel, into, Origin::Portable)?;
    if made.source_sha256.is_none_or(|found| found.to_string() != entry.key.source_sha256) {
        return Err(Stop::Failed("its wheel has changed meanwhile".into()));
    }
    match made.outcome {
        Outcome::Left { reason } => Err(Stop::NotTried(
            NotTried::Unusual,
            format!("its wheel is left to buildout: {reason}"),
        )),
        Outcome::Converted { egg, .. } | Outcome::Present { egg } => {
            Ok(compare::Found::of(&into.join(egg), entry)?)
        }
    }
}

/// Counts of the eggs that were not tried, by reason: `3 without the wheel, 1 for another Python`.
#[must_use]
pub fn counts_of_not_tried(report: &Report) -> String {
    let mut counts = BTreeMap::new();
    for egg in &report.eggs {
        if let Verdict::NotTried { reason, .. } = egg.verdict {
            *counts.entry(reason).or_insert(0_usize) += 1;
        }
    }
    let mut text = String::new();
    for (reason, count) in counts {
        let comma = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{comma}{count} {}", reason.label());
    }
    text
}
