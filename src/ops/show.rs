//! Show: everything that the cache knows about one egg.

use std::ops::Deref;
use std::path::PathBuf;

use serde::Serialize;

use crate::cache::Cache;
use crate::cache::build_options::BuildOptions;
use crate::cache::query::{self, Narrow};
use crate::egg::arrival::Arrival;
use crate::egg::blob::one_file;
use crate::egg::blob::reader::Blob;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::manifest::{Entry, EntryKind, Mtime};
use crate::egg::metadata::{self, MAX_METADATA};
use crate::egg::name::normalize_name;
use crate::egg::wheel::converted::is_converted_from;
use crate::error::{Error, Result};
use crate::remote::withdrawals::record::{Notice, Withdrawals};

#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    pub egg: CachedEgg,
    /// The name of the project as its author writes it: that of the metadata, or else of the file name.
    pub project: String,
    #[serde(serialize_with = "crate::disk::files::lossy")]
    pub blob: PathBuf,
    pub frames: usize,
    /// How it came from a remote, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrival: Option<Arrival>,
    /// Whether it was converted from its source archive, a wheel.
    pub is_converted: bool,
    /// The options of a custom build, if they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<BuildOptions>,
    /// Set if a remote has withdrawn it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<Notice>,
    /// The entries of the egg, on request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<Vec<Shown>>,
}

/// One entry of the egg.
#[derive(Debug, Serialize)]
pub struct Shown {
    pub path: String,
    pub mode: u32,
    pub mtime: Mtime,
    #[serde(flatten)]
    pub kind: ShownKind,
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum ShownKind {
    Directory,
    File { size: u64, digest: String },
    Symlink { target: String },
}

/// Shows the one egg that `text` matches.
///
/// # Errors
/// As [`query::one`]; [`Error::DamagedBlob`] if its blob is missing or damaged.
pub fn show(cache: &Cache, text: &str, narrow: &Narrow, entries: bool) -> Result<Report> {
    let egg = query::one(cache, text, narrow)?;
    let path = cache.blobs().path(egg.digest);
    let Some(blob) = cache.open_blob(egg.digest)? else {
        // Without a row, it was evicted since the query.
        return Err(match cache.egg(egg.digest)? {
            Some(_) => Error::DamagedBlob { path, reason: "it is missing".into() },
            None => Error::miss(&text),
        });
    };
    let source = egg.provenance.source.as_deref();
    let is_converted = source.is_some_and(|source| {
        is_converted_from(source, &egg.key.source_sha256, &blob.manifest.entries)
    });
    let entries = entries.then(|| blob.manifest.entries.iter().map(shown).collect());
    let arrival = cache.arrivals()?.of_egg(egg.digest).cloned();
    let withdrawn = Withdrawals::of(cache.root())?.get(egg.digest).cloned();
    let frames = blob.frame_count();
    let project = name_in(&blob, &egg.key.name).unwrap_or_else(|| egg.project());
    let options = cache.custom_build_options(&egg.key.variant);
    Ok(Report {
        egg,
        project,
        blob: path,
        frames,
        arrival,
        is_converted,
        options,
        withdrawn,
        entries,
    })
}

/// The name of a project in the metadata of its egg. The index has only its PEP 503 form.
fn name_in<B: Deref<Target = [u8]>>(blob: &Blob<B>, name: &str) -> Option<String> {
    let entries = blob.manifest.entries.iter().enumerate();
    let mut files = entries.filter(|(_, it)| metadata::is_metadata_path(it.path.as_str()));
    files.find_map(|(entry, _)| {
        // Damage is found by `verify`, and does not hide the rest.
        let text = one_file::read(blob, entry, MAX_METADATA);
        let text =
            text.inspect_err(|error| tracing::debug!(%error, "no name in the metadata")).ok()??;
        metadata::parse(&text).map(|it| it.name).filter(|it| normalize_name(it) == name)
    })
}

fn shown(entry: &Entry) -> Shown {
    Shown {
        path: entry.path.as_str().to_owned(),
        mode: entry.mode,
        mtime: entry.mtime,
        kind: match &entry.kind {
            EntryKind::Directory => ShownKind::Directory,
            EntryKind::File { size, digest } => {
                ShownKind::File { size: *size, digest: digest.to_string() }
            }
            EntryKind::Symlink { target } => ShownKind::Symlink { target: target.clone() },
        },
    }
}
