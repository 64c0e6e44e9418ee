//! The wheel that an egg was made of, as pip has noted it.
//!
//! pip writes the SHA-256 of the archive that buildout gave it to `direct_url.json` (PEP 610), and the digests
//! of all files but bytecode to RECORD. If they still have them, the egg is what the wheel makes. An egg of a source
//! archive depends on its builder, too, such as on its compiler: its archive stays unknown.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use crate::disk::files::read_opened;
use crate::egg::bytecode::is_bytecode;
use crate::egg::files::EggFiles;
use crate::egg::manifest::{Entry, EntryKind};
use crate::egg::wheel::record::{self, Row};
use crate::error::{IoContext, Result};
use crate::util::hash::sha256::{Hashing, Sha256};

/// The longest `direct_url.json` that is read, in bytes.
const MAX_DIRECT_URL: u64 = 1 << 16;

/// RECORD also has files that buildout drops, and compiled ones.
const MOST_ROWS_PER_ENTRY: usize = 8;

/// A wheel.
#[derive(Debug, PartialEq, Eq)]
pub struct Wheel {
    pub file_name: String,
    pub sha256: Sha256,
}

#[derive(Deserialize)]
struct DirectUrl {
    url: String,
    archive_info: ArchiveInfo,
}

#[derive(Deserialize)]
struct ArchiveInfo {
    hashes: HashMap<String, String>,
}

/// The wheel of an egg that has all files of its RECORD; `None` if it is unknown, or if the egg has other files.
///
/// # Errors
/// [`Error::Io`](crate::error::Error::Io)
pub fn wheel(files: &EggFiles, entries: &[Entry]) -> Result<Option<Wheel>> {
    let find = |name: &str| {
        let is_it = |entry: &&Entry| {
            let folder = entry.path.as_str().strip_suffix(name).and_then(|it| it.strip_suffix('/'));
            folder.is_some_and(|folder| folder.ends_with(".dist-info") && !folder.contains('/'))
        };
        entries.iter().find(is_it)
    };
    let (Some(direct_url), Some(record)) = (find("direct_url.json"), find("RECORD")) else {
        return Ok(None);
    };
    let text = read_opened(files.read(direct_url)?, MAX_DIRECT_URL).unwrap_or_default();
    let Some(wheel) = wheel_in(&text) else { return Ok(None) };
    let rows = read_opened(files.read(record)?, record::MAX_LENGTH).unwrap_or_default();
    let Ok(rows) = record::parse(&rows, MOST_ROWS_PER_ENTRY * entries.len()) else {
        return Ok(None);
    };
    let info = record.path.as_str().trim_end_matches("/RECORD");
    let rows = in_egg(&rows, info);
    let is_file = |entry: &&Entry| *entry != record && !is_bytecode(entry.path.as_str());
    for entry in entries.iter().filter(is_file) {
        let is_same = match (&entry.kind, rows.get(entry.path.as_str())) {
            (EntryKind::Directory, _) => true,
            (EntryKind::File { size, .. }, Some(row)) if row.size == size.to_string() => {
                row.digest == digest(files, entry)?.in_record()
            }
            _ => false,
        };
        if !is_same {
            return Ok(None);
        }
    }
    Ok(Some(wheel))
}

/// The wheel that a `direct_url.json` names.
fn wheel_in(text: &[u8]) -> Option<Wheel> {
    let DirectUrl { url, archive_info } = serde_json::from_slice(text).ok()?;
    let file_name = url.rsplit('/').next()?.to_owned();
    let sha256 = archive_info.hashes.get("sha256")?.parse().ok()?;
    file_name.ends_with(".whl").then_some(Wheel { file_name, sha256 })
}

/// The rows of RECORD by the paths in the egg: buildout names the metadata directory after the egg.
fn in_egg<'a>(rows: &'a [Row], info: &str) -> HashMap<String, &'a Row> {
    let path = |row: &Row| match row.path.split_once('/') {
        Some((folder, rest)) if folder.ends_with(".dist-info") => format!("{info}/{rest}"),
        _ => row.path.clone(),
    };
    rows.iter().map(|row| (path(row), row)).collect()
}

fn digest(files: &EggFiles, entry: &Entry) -> Result<Sha256> {
    let mut hashing = Hashing::new(std::io::sink());
    std::io::copy(&mut files.read(entry)?, &mut hashing)
        .at("read", Path::new(entry.path.as_str()))?;
    Ok(hashing.finish().0)
}
