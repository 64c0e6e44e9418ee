//! Diff: what distinguishes two eggs, usually two builds of one: key, origin, metadata, files and bytes.

mod bytes;
mod fields;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::cache::Cache;
use crate::cache::query::{self, Narrow};
use crate::disk::mmap::Mapped;
use crate::egg::blob::one_file;
use crate::egg::blob::reader::Blob;
use crate::egg::bytecode::is_bytecode;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::manifest::{Entry, EntryKind};
use crate::egg::metadata::{self, MAX_METADATA};
use crate::error::{Error, Result};

pub use bytes::Bytes;
pub use fields::Field;

/// Larger files are not compared byte by byte.
const MAX_COMPARED: u64 = 256 << 20;

#[derive(Debug, Serialize)]
pub struct Report {
    pub left: CachedEgg,
    pub right: CachedEgg,
    /// Parts of the egg key and of the origin that differ.
    pub fields: Vec<Field>,
    /// Headers of the core metadata that only one of the eggs has.
    pub metadata: Vec<Field>,
    pub files: Vec<FileDifference>,
    /// How many files and symlinks are equal.
    pub equal: usize,
    /// How many of these have another mtime.
    pub equal_except_mtime: usize,
}

/// A file or symlink that is not the same in both eggs.
#[derive(Debug, Serialize)]
pub struct FileDifference {
    pub path: String,
    /// Compiled by Python: it contains the mtime of its source, so another build has other bytes.
    pub is_bytecode: bool,
    #[serde(flatten)]
    pub how: How,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "how", rename_all = "kebab-case")]
pub enum How {
    OnlyLeft {
        size: u64,
    },
    OnlyRight {
        size: u64,
    },
    /// One is a file, the other a directory or a symlink.
    Kind,
    Target {
        left: String,
        right: String,
    },
    Content {
        left: u64,
        right: u64,
        bytes: Option<Bytes>,
    },
    /// Only one can be executed.
    Mode,
}

impl Report {
    /// Whether both eggs have the same files, whatever their mtimes.
    #[must_use]
    pub fn has_equal_files(&self) -> bool {
        self.files.is_empty()
    }
}

/// Compares the two eggs that the texts match.
///
/// # Errors
/// As [`query::one`]; [`Error::DamagedBlob`] if a blob is missing or damaged.
pub fn diff(cache: &Cache, left: &str, right: &str, narrow: &Narrow) -> Result<Report> {
    let (left, right) = (Side::open(cache, left, narrow)?, Side::open(cache, right, narrow)?);
    let mut report = Report {
        fields: fields::of_eggs(&left.egg, &right.egg, cache),
        metadata: fields::of_metadata(&left.metadata(cache)?, &right.metadata(cache)?),
        files: Vec::new(),
        equal: 0,
        equal_except_mtime: 0,
        left: left.egg.clone(),
        right: right.egg.clone(),
    };
    let (of_left, of_right) = (left.entries(), right.entries());
    let paths: BTreeSet<&str> = of_left.keys().chain(of_right.keys()).copied().collect();
    for path in paths {
        let how = match (of_left.get(path), of_right.get(path)) {
            (Some((_, one)), None) => How::OnlyLeft { size: size(one) },
            (None, Some((_, other))) => How::OnlyRight { size: size(other) },
            (Some(&(at, one)), Some(&(other_at, other))) => match difference(one, other) {
                None => {
                    report.equal += 1;
                    report.equal_except_mtime += usize::from(one.mtime != other.mtime);
                    continue;
                }
                Some(How::Content { left: size, right: other_size, .. }) => {
                    let contents = (left.content(cache, at)?, right.content(cache, other_at)?);
                    let bytes = match contents {
                        (Some(one), Some(other)) => Some(Bytes::of(&one, &other)),
                        _ => None,
                    };
                    How::Content { left: size, right: other_size, bytes }
                }
                Some(how) => how,
            },
            (None, None) => continue,
        };
        let is_bytecode = is_bytecode(path);
        report.files.push(FileDifference { path: path.to_owned(), is_bytecode, how });
    }
    Ok(report)
}

/// One of the eggs.
struct Side {
    egg: CachedEgg,
    blob: Blob<Mapped>,
}

impl Side {
    fn open(cache: &Cache, text: &str, narrow: &Narrow) -> Result<Self> {
        let egg = query::one(cache, text, narrow)?;
        let blob = cache.open_blob(egg.digest)?.ok_or_else(|| Error::DamagedBlob {
            path: cache.blobs().path(egg.digest),
            reason: "it is missing".into(),
        })?;
        Ok(Self { egg, blob })
    }

    /// All files and symlinks with their place in the manifest, by path. Of a zipped egg, the egg itself.
    fn entries(&self) -> BTreeMap<&str, (usize, &Entry)> {
        let entries = self.blob.manifest.entries.iter().enumerate();
        let files = entries.filter(|(_, entry)| entry.kind != EntryKind::Directory);
        files.map(|(at, entry)| (entry.path.as_str(), (at, entry))).collect()
    }

    fn content(&self, cache: &Cache, entry: usize) -> Result<Option<Vec<u8>>> {
        one_file::read(&self.blob, entry, MAX_COMPARED)
            .map_err(|bad| cache.blobs().error_for(self.egg.digest, &bad))
    }

    /// The core metadata; empty if there is none, as in a zipped egg.
    fn metadata(&self, cache: &Cache) -> Result<Vec<u8>> {
        let mut entries = self.blob.manifest.entries.iter();
        let at = entries.position(|entry| {
            metadata::is_metadata_path(entry.path.as_str()) && size(entry) <= MAX_METADATA
        });
        let content = at.map(|at| self.content(cache, at)).transpose()?;
        Ok(content.flatten().unwrap_or_default())
    }
}

fn size(entry: &Entry) -> u64 {
    if let EntryKind::File { size, .. } = entry.kind { size } else { 0 }
}

/// How two entries of one path differ, apart from their mtimes.
fn difference(left: &Entry, right: &Entry) -> Option<How> {
    match (&left.kind, &right.kind) {
        (EntryKind::File { size, digest }, EntryKind::File { size: other, digest: of_other }) => {
            if digest != of_other {
                return Some(How::Content { left: *size, right: *other, bytes: None });
            }
            (left.is_executable() != right.is_executable()).then_some(How::Mode)
        }
        (EntryKind::Symlink { target }, EntryKind::Symlink { target: other }) => {
            (target != other).then(|| How::Target { left: target.clone(), right: other.clone() })
        }
        (EntryKind::Directory, EntryKind::Directory) => None,
        _ => Some(How::Kind),
    }
}
