//! Verifying a bundle: every byte of every member against the manifest that comes first.
//!
//! The archive is read once, as a stream. Memory is that of the manifest, whatever the length and
//! whatever it swells to; nothing is unpacked.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;
use tar::{Archive, EntryType};

use crate::error::{IoContext, Result};
use crate::util::hash::sha256::{Hashing, Sha256};
use crate::util::progress::{Progress, Unit};

use super::manifest::{BundleEntry, EntryKind, FILE_NAME, FORMAT, Manifest};

/// Longest manifest that is read, in bytes: far longer than any.
const MAX_MANIFEST: u64 = 1 << 28;
/// Longest name or target that is read, in bytes: far longer than any that a kernel knows.
const MAX_NAME: u64 = 1 << 16;
/// How many problems are told: an archive of another manifest can have any number.
const MAX_PROBLEMS: usize = 1000;
/// How a zstd frame begins.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// How much is read at once, in bytes.
const BUFFER: usize = 1 << 18;

#[derive(Debug, Serialize)]
pub struct Verified {
    #[serde(serialize_with = "crate::disk::files::lossy")]
    pub archive: PathBuf,
    /// Of the archive as it is.
    pub sha256: Sha256,
    pub archive_bytes: u64,
    /// The version that wrote it; empty if that cannot be told.
    pub eggcache: String,
    pub prefix: String,
    pub eggs: usize,
    /// Files whose bytes are those of the manifest.
    pub files: usize,
    pub bytes: u64,
    pub problems: Vec<Problem>,
}

/// One thing that is not as the manifest says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The member; empty for the archive itself.
    pub path: String,
    /// Completes the sentence that begins with the path.
    pub what: String,
}

impl Problem {
    fn new(path: &str, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), what: what.into() }
    }
}

/// Reads an archive, and compares it with its manifest. Whatever is wrong with it is a problem of the
/// report.
///
/// # Errors
/// If it cannot be opened.
pub fn verify(archive: &Path, progress: &dyn Progress) -> Result<Verified> {
    let file = File::open(archive).at("open", archive)?;
    let length = file.metadata().at("read", archive)?.len();
    progress.begin("verifying", length, Unit::Bytes);
    let mut verified = Verified {
        archive: archive.to_owned(),
        sha256: Hashing::new(()).finish().0,
        archive_bytes: 0,
        eggcache: String::new(),
        prefix: String::new(),
        eggs: 0,
        files: 0,
        bytes: 0,
        problems: Vec::new(),
    };
    let mut raw = Hashing::new(Watched { file, progress });
    let read = read(&mut raw, &mut verified);
    if let Err(error) = read {
        verified.problems.push(Problem::new("", format!("cannot be read to its end: {error}")));
    }
    // What is left of one that cannot be read.
    io::copy(&mut raw, &mut io::sink()).at("read", archive)?;
    (verified.sha256, verified.archive_bytes) = raw.finish();
    progress.end();
    Ok(verified)
}

fn read(raw: &mut impl Read, verified: &mut Verified) -> io::Result<()> {
    let mut buffered = BufReader::with_capacity(BUFFER, raw);
    if buffered.fill_buf()?.starts_with(&ZSTD) {
        members(zstd::Decoder::with_buffer(buffered)?, verified)
    } else {
        members(buffered, verified)
    }
}

fn members(stream: impl Read, verified: &mut Verified) -> io::Result<()> {
    let mut tar = Archive::new(stream);
    // Each name on its own, or a long one would be read however long it is.
    let mut entries = tar.entries()?.raw(true);
    let Some(first) = next(&mut entries)? else {
        verified.problems.push(Problem::new("", "holds nothing"));
        return Ok(());
    };
    let manifest = match manifest(first) {
        Ok(manifest) => manifest,
        Err(problem) => {
            verified.problems.push(problem);
            return Ok(());
        }
    };
    let mut expected: HashMap<String, &BundleEntry> =
        manifest.entries.iter().map(|entry| (manifest.member(&entry.path), entry)).collect();
    while let Some(mut member) = next(&mut entries)? {
        if verified.problems.len() >= MAX_PROBLEMS {
            verified.problems.push(Problem::new("", "has more problems, which are not told"));
            return Ok(());
        }
        let path = member.path();
        let Some(entry) = expected.remove(&path) else {
            verified
                .problems
                .push(Problem::new(&path, "is not in the manifest, or is there twice"));
            continue;
        };
        match difference(&mut member, entry)? {
            Some(what) => verified.problems.push(Problem::new(&path, what)),
            None => {
                if let EntryKind::File { size, .. } = entry.kind {
                    verified.files += 1;
                    verified.bytes += size;
                }
            }
        }
    }
    let mut missing: Vec<String> = expected.into_keys().collect();
    missing.sort_unstable();
    let told = MAX_PROBLEMS.saturating_sub(verified.problems.len());
    let problems = missing.iter().map(|path| Problem::new(path, "is missing"));
    verified.problems.extend(problems.take(told));
    if missing.len() > told {
        verified.problems.push(Problem::new("", "has more problems, which are not told"));
    }
    verified.eggcache = manifest.eggcache;
    verified.prefix = manifest.prefix;
    verified.eggs = manifest.eggs.len();
    rest(tar.into_inner(), verified)
}

/// A member of an archive, with its name and target where these are too long for its header.
struct Found<'a, R: Read> {
    member: tar::Entry<'a, R>,
    name: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
}

impl<R: Read> Found<'_, R> {
    fn path(&self) -> String {
        let bytes = self.name.as_deref().map_or_else(|| self.member.path_bytes(), Cow::Borrowed);
        String::from_utf8_lossy(&bytes).trim_end_matches('/').to_owned()
    }

    fn target(&self) -> Option<Cow<'_, [u8]>> {
        self.target.as_deref().map(Cow::Borrowed).or_else(|| self.member.link_name_bytes())
    }
}

/// The next member, with the names that GNU tar puts before it.
fn next<'a, R: Read>(entries: &mut tar::Entries<'a, R>) -> io::Result<Option<Found<'a, R>>> {
    let (mut name, mut target) = (None, None);
    for member in entries.by_ref() {
        let member = member?;
        let place = match member.header().entry_type() {
            EntryType::GNULongName => &mut name,
            EntryType::GNULongLink => &mut target,
            _ => return Ok(Some(Found { member, name, target })),
        };
        if place.is_some() || member.size() > MAX_NAME {
            return Err(io::Error::other("a name is longer than any, or has two"));
        }
        let mut bytes = Vec::new();
        member.take(MAX_NAME).read_to_end(&mut bytes)?;
        bytes.pop_if(|last| *last == 0);
        *place = Some(bytes);
    }
    if name.is_some() || target.is_some() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(None)
}

/// Reads what comes after the last member, which is nothing but zeros.
fn rest(mut stream: impl Read, verified: &mut Verified) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) if buffer[..read].iter().any(|byte| *byte != 0) => {
                verified.problems.push(Problem::new("", "goes on after its end"));
                return Ok(());
            }
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
    }
}

/// The manifest, if the first member is one.
fn manifest(found: Found<'_, impl Read>) -> Result<Manifest, Problem> {
    #[derive(serde::Deserialize)]
    struct Version {
        format: u32,
    }
    let path = found.path();
    let mut member = found.member;
    let is_named = path.rsplit('/').next() == Some(FILE_NAME);
    if !is_named || member.size() > MAX_MANIFEST {
        return Err(Problem::new("", format!("is no bundle: it does not begin with {FILE_NAME}")));
    }
    let bad = |what: String| Problem::new(&path, what);
    let mut text = Vec::new();
    member.read_to_end(&mut text).map_err(|error| bad(format!("cannot be read: {error}")))?;
    let Version { format } = serde_json::from_slice(&text)
        .map_err(|error| bad(format!("is not of the documented form: {error}")))?;
    if format != FORMAT {
        return Err(bad(format!("has format {format}, this eggcache knows {FORMAT}")));
    }
    let manifest: Manifest = serde_json::from_slice(&text)
        .map_err(|error| bad(format!("is not of the documented form: {error}")))?;
    if manifest.member(FILE_NAME) != path {
        return Err(bad("says that it is in another folder".to_owned()));
    }
    Ok(manifest)
}

/// In what a member is not what the manifest says.
fn difference(
    found: &mut Found<'_, impl Read>,
    entry: &BundleEntry,
) -> io::Result<Option<&'static str>> {
    let header = found.member.header();
    let kind = header.entry_type();
    if header.mode()? != entry.kind.mode() {
        return Ok(Some("has another mode"));
    }
    if header.mtime()? != entry.mtime {
        return Ok(Some("has another time"));
    }
    if (header.uid()?, header.gid()?) != (0, 0) {
        return Ok(Some("has another owner"));
    }
    Ok(match &entry.kind {
        EntryKind::Directory => (kind != EntryType::Directory).then_some("is no folder"),
        EntryKind::Symlink { target } => {
            let is_same = found.target().as_deref() == Some(target.as_bytes());
            (kind != EntryType::Symlink || !is_same).then_some("is no symlink to where it led")
        }
        EntryKind::File { size, sha256, .. } => {
            if kind != EntryType::Regular {
                return Ok(Some("is no file"));
            }
            let mut content = Hashing::new(&mut found.member);
            let mut buffer = vec![0; BUFFER.min(usize::try_from(*size).unwrap_or(BUFFER).max(1))];
            while content.read(&mut buffer)? > 0 {}
            (content.finish() != (*sha256, *size)).then_some("has other content")
        }
    })
}

/// A file that tells how much of it was read.
struct Watched<'a> {
    file: File,
    progress: &'a dyn Progress,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.progress.advance(read as u64);
        Ok(read)
    }
}
