//! SBOM: a software bill of materials of a buildout, in the form of CycloneDX or SPDX.
//!
//! The caller checks the buildout first: the check knows which eggs are used, and which egg of the cache
//! each one is. docs/reference/sbom.md describes what a document states. Its bytes depend on the buildout,
//! the cache and the options alone.

pub(super) mod contents;
mod cyclonedx;
mod graph;
mod inventory;
mod parts;
mod spdx;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::buildout::Buildout;
use crate::cache::Cache;
use crate::disk::temp;
use crate::error::{Error, IoContext, Result};
use crate::ops::check;
use crate::util::hash::sha256::Sha256;
use crate::util::{printable, threads};

use inventory::{Inventory, Kind};

/// The standard of a document.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// CycloneDX 1.6.
    #[default]
    CycloneDx,
    /// SPDX 2.3.
    Spdx,
}

#[derive(Debug, Clone, Default)]
pub struct Options {
    pub format: Format,
    /// The eggs directory, as for the check.
    pub eggs: Option<PathBuf>,
    /// Where to write the document.
    pub output: Option<PathBuf>,
    /// The time of the document, in seconds since the Unix epoch; the mtime of the newest file in the eggs
    /// if absent.
    pub time: Option<i64>,
    /// Describe these eggs of the buildout, by path; those that it uses if absent.
    pub only: Option<BTreeSet<String>>,
    /// The SHA-256 of the archive that the document describes, if it describes one.
    pub archive: Option<Sha256>,
    /// Paths that the archive lacks, with everything below them.
    pub left_out: BTreeSet<PathBuf>,
}

#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(serialize_with = "crate::disk::files::lossy")]
    pub buildout: PathBuf,
    pub format: Format,
    pub eggs: usize,
    pub develop_eggs: usize,
    /// Shared objects in the eggs.
    pub libraries: usize,
    /// Eggs whose archive is known by its SHA-256.
    pub with_archive: usize,
    /// The others.
    pub without_archive: Vec<String>,
    /// Eggs whose metadata declares no license.
    pub without_license: Vec<String>,
    /// Files with native code in `parts/`, which no document lists.
    pub unlisted: Vec<String>,
    /// How many problems the check of the buildout has found.
    pub problems: usize,
    /// Where the document is.
    pub file: Option<PathBuf>,
    /// The document, if it is in no file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<serde_json::Value>,
    #[serde(skip)]
    pub text: String,
}

/// Describes the buildout that `checked` is the report of.
///
/// # Errors
/// [`Error::NotDescribed`] if buildout has not run to its end, or another if an egg cannot be read: a document
/// never lacks an egg.
pub fn sbom(cache: Option<&Cache>, checked: &check::Report, options: &Options) -> Result<Report> {
    threads::start_pool()?;
    if !checked.is_installed() {
        return Err(Error::NotDescribed { path: checked.buildout.clone() });
    }
    let buildout = Buildout::open(&checked.buildout, options.eggs.as_deref())?;
    let inventory = Inventory::of(cache, checked, &buildout, options)?;
    let mut text = match options.format {
        Format::CycloneDx => written(&cyclonedx::document(&inventory)),
        Format::Spdx => written(&spdx::document(&inventory)),
    };
    text.push('\n');
    let document = match &options.output {
        Some(path) => {
            write(path, &text)?;
            None
        }
        None => Some(serde_json::from_str(&text).expect("this is JSON")),
    };
    let components = || inventory.components.iter();
    let is_left_out =
        |path: &String| Path::new(path).ancestors().any(|above| options.left_out.contains(above));
    let mut unlisted = parts::native_files(&buildout)?;
    unlisted.retain(|path| !is_left_out(path));
    let count = |kind| components().filter(|it| it.kind == kind).count();
    let without = components().filter(|it| it.license == crate::egg::license::License::Unknown);
    let unknown = components().filter(|it| it.kind == Kind::Egg && it.archive.sha256.is_none());
    Ok(Report {
        without_archive: unknown.map(|it| format!("{} {}", it.name, it.version)).collect(),
        format: options.format,
        eggs: count(Kind::Egg),
        develop_eggs: count(Kind::Develop),
        libraries: components().map(|it| it.libraries.len()).sum(),
        with_archive: components().filter(|it| it.archive.sha256.is_some()).count(),
        without_license: without.map(|it| it.name.clone()).collect(),
        unlisted,
        problems: checked.unsolved().count(),
        file: options.output.clone(),
        document,
        text,
        buildout: checked.buildout.clone(),
    })
}

/// JSON that is harmless on a terminal.
fn written<T: Serialize>(document: &T) -> String {
    let text = serde_json::to_string_pretty(document).expect("JSON can represent every value");
    printable::json(&text).into_owned()
}

fn write(path: &Path, text: &str) -> Result<()> {
    let absolute = std::path::absolute(path).at("write", path)?;
    if let Some(folder) = absolute.parent().filter(|it| !it.is_dir()) {
        return Err(Error::NoFolder { path: folder.to_owned() });
    }
    temp::write_durably_at(&absolute, text.as_bytes())
}
