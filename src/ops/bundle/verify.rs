//! Verifying a bundle: every byte of every member against the manifest, which is the first member.
//!
//! The archive is read once, as a stream, and nothing is unpacked. Memory is bounded by the manifest,
//! whatever the length of the archive and of its decompressed content.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tar::{Archive, EntryType};

use crate::buildout::BUNDLE_MANIFEST;
use crate::buildout::relocation::MAX_MANIFEST;
use crate::cache::trust::Trust;
use crate::error::{Error, IoContext, Result};
use crate::remote::config;
use crate::remote::withdrawals::record::{Notice, Withdrawals};
use crate::util::hash::digest::Digest;
use crate::util::hash::sha256::{Hashing, Sha256};
use crate::util::progress::{Progress, Unit};

use super::import::Imports;
use super::manifest::{BundleEntry, BundledEgg, EntryKind, FORMAT, Manifest};
use super::safe_paths;
use super::stream::{self, StreamEnd};
use super::tar_members::{TarMember, Unreadable, next};

/// How many problems are listed: an archive of another manifest can have any number.
const MAX_PROBLEMS: usize = 1000;
/// How many zeros may follow the last member, in bytes. Tar programs fill up their last record, of 10 KiB
/// by default.
const MAX_END: u64 = 1 << 20;
/// How a zstd frame begins.
pub const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// How much is read at once, in bytes.
const BUFFER: usize = 1 << 18;

#[derive(Debug, Serialize)]
pub struct Verified {
    #[serde(serialize_with = "crate::disk::files::lossy")]
    pub archive: PathBuf,
    /// Of the archive file.
    pub sha256: Sha256,
    pub archive_bytes: u64,
    /// The version that wrote it; empty if the manifest cannot be read.
    pub eggcache: String,
    pub prefix: String,
    /// The only path at which the buildout works, according to the manifest.
    pub path: Option<String>,
    /// What in the archive contains that path, according to the manifest.
    pub bound: Vec<String>,
    pub eggs: usize,
    /// Files whose bytes are those of the manifest.
    pub files: usize,
    pub bytes: u64,
    pub problems: Vec<Problem>,
    /// The digests of its eggs, as far as the cache that bundled them had them, by file name.
    #[serde(skip)]
    digests: Vec<(String, Digest)>,
    /// What the eggs were compared with, if the cache has a remote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known: Option<Known>,
    /// Eggs that the cache knows to be withdrawn, by file name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub withdrawn: BTreeMap<String, Notice>,
    /// Absent if no script was to be imported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imports: Option<Imports>,
    /// The id of the key that has signed its provenance, if that was checked and is right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
    /// The last member that was read.
    #[serde(skip)]
    last: String,
}

/// A cache, and how many withdrawn builds it knows.
#[derive(Debug, Serialize)]
pub struct Known {
    #[serde(serialize_with = "crate::disk::files::lossy")]
    pub cache: PathBuf,
    pub withdrawn: usize,
    /// Eggs of the archive that cannot be compared: the cache that bundled them did not have them.
    pub without_digest: usize,
    /// Why there may be more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

/// A difference between the archive and its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The member; empty for the archive itself.
    pub path: String,
    /// The problem in words, to be shown after the path and a colon.
    pub what: String,
}

impl Problem {
    pub(super) fn new(path: &str, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), what: what.into() }
    }
}

/// Compares an archive with its manifest. Damage is a problem of the report, not an error.
pub fn verify(archive: &Path, progress: &dyn Progress) -> Result<Verified> {
    let file = File::open(archive).at("open", archive)?;
    let found = file.metadata().at("read", archive)?;
    if found.file_type().is_char_device() {
        // It can be endless, as /dev/zero is.
        let source = io::Error::new(io::ErrorKind::InvalidInput, "it is a device");
        return Err(Error::Io { action: "read", path: archive.to_owned(), source });
    }
    let length = found.len();
    progress.begin("verifying", length, Unit::Bytes);
    let mut verified = Verified {
        archive: archive.to_owned(),
        sha256: Hashing::new(()).finish().0,
        archive_bytes: 0,
        eggcache: String::new(),
        prefix: String::new(),
        path: None,
        bound: Vec::new(),
        eggs: 0,
        files: 0,
        bytes: 0,
        problems: Vec::new(),
        digests: Vec::new(),
        known: None,
        withdrawn: BTreeMap::new(),
        imports: None,
        signed_by: None,
        last: String::new(),
    };
    let mut raw = Hashing::new(Watched { file, progress });
    let end = StreamEnd::default();
    if let Err(error) = read(&mut raw, &end, &mut verified) {
        let why = match error {
            Unreadable::Io(error) => end.describe(&error, &verified.last),
            Unreadable::Name(why) => why.to_owned(),
        };
        verified.add("", format!("cannot be read to its end: {why}"));
    }
    // The digest covers the whole file, whatever could be read of it.
    io::copy(&mut raw, &mut io::sink()).at("read", archive)?;
    (verified.sha256, verified.archive_bytes) = raw.finish();
    progress.end();
    Ok(verified)
}

fn read(raw: &mut impl Read, end: &StreamEnd, verified: &mut Verified) -> Result<(), Unreadable> {
    let mut buffered = BufReader::with_capacity(BUFFER, raw);
    if buffered.fill_buf()?.starts_with(&ZSTD) {
        verified.compare(stream::Watched { stream: zstd::Decoder::with_buffer(buffered)?, end })
    } else {
        verified.compare(stream::Watched { stream: buffered, end })
    }
}

impl Verified {
    /// Adds to the report which eggs of the archive are withdrawn.
    pub fn note_withdrawn(&mut self, cache: &Path, trust: &Trust) {
        let (known, error) = Withdrawals::readable(cache);
        let found = Known {
            cache: cache.to_owned(),
            withdrawn: known.eggs().collect::<HashSet<Digest>>().len(),
            without_digest: self.eggs.saturating_sub(self.digests.len()),
            unreadable: error.map(|error| error.to_string()),
        };
        // Without a remote, nobody withdraws anything.
        let has_remotes = config::read(cache, trust).is_ok_and(|remotes| !remotes.is_empty());
        let says_something = has_remotes || found.withdrawn > 0 || found.unreadable.is_some();
        self.known = says_something.then_some(found);
        let notice =
            |(name, egg): &(String, Digest)| Some((name.clone(), known.get(*egg)?.clone()));
        self.withdrawn = self.digests.iter().filter_map(notice).collect();
    }

    /// Whether the archive is as it was written, and none of its eggs is known to be withdrawn.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty() && self.withdrawn.is_empty()
    }

    fn add(&mut self, path: &str, what: impl Into<String>) {
        self.problems.push(Problem::new(path, what));
    }

    /// Compares the members of a tar stream with its manifest.
    fn compare(&mut self, stream: impl Read) -> Result<(), Unreadable> {
        let mut tar = Archive::new(stream);
        let mut entries = tar.entries()?.raw(true);
        let manifest = match next(&mut entries) {
            // The error would quote the file, which can be any.
            Err(Unreadable::Io(error)) if error.raw_os_error().is_some() => {
                return Err(error.into());
            }
            Err(_) => Err(Problem::new("", "not a bundle")),
            Ok(None) => Err(Problem::new("", "not a bundle: it is empty")),
            Ok(Some(first)) => manifest(first),
        };
        let manifest = match manifest {
            Ok(manifest) => manifest,
            Err(problem) => {
                self.problems.push(problem);
                return Ok(());
            }
        };
        self.last = manifest.member(BUNDLE_MANIFEST);
        if !self.compare_members(&manifest, &mut entries)? {
            self.add("", "more problems, not listed");
            return Ok(());
        }
        self.eggcache = manifest.eggcache;
        self.prefix = manifest.prefix;
        self.path = manifest.path;
        self.bound = manifest.bound;
        self.eggs = manifest.eggs.len();
        let digest = |egg: BundledEgg| {
            let file_name = egg.path.rsplit('/').next().unwrap_or_default().to_owned();
            Some((file_name, egg.digest?))
        };
        self.digests = manifest.eggs.into_iter().filter_map(digest).collect();
        Ok(self.compare_end(tar.into_inner())?)
    }

    /// Compares all members after the manifest. Returns whether all problems are listed.
    fn compare_members(
        &mut self,
        manifest: &Manifest,
        entries: &mut tar::Entries<'_, impl Read>,
    ) -> Result<bool, Unreadable> {
        self.problems.extend(safe_paths::problems(manifest));
        let known: HashSet<String> = self.problems.iter().map(|it| it.path.clone()).collect();
        let mut expected: HashMap<String, &BundleEntry> =
            manifest.entries.iter().map(|entry| (manifest.member(&entry.path), entry)).collect();
        while let Some(mut member) = next(entries)? {
            if self.problems.len() >= MAX_PROBLEMS {
                return Ok(false);
            }
            let path = member.path();
            self.last.clone_from(&path);
            match expected.remove(&path) {
                Some(entry) => self.compare_member(&path, &mut member, entry)?,
                None if known.contains(&path) => {}
                None => self.add(&path, "not in the manifest, or a duplicate"),
            }
        }
        let mut missing: Vec<String> = expected.into_keys().collect();
        missing.sort_unstable();
        let room = MAX_PROBLEMS.saturating_sub(self.problems.len());
        let problems = missing.iter().take(room).map(|path| Problem::new(path, "missing"));
        self.problems.extend(problems);
        if missing.len() > room {
            self.add("", "more problems, not listed");
        }
        Ok(true)
    }

    fn compare_member(
        &mut self,
        path: &str,
        member: &mut TarMember<'_, impl Read>,
        entry: &BundleEntry,
    ) -> io::Result<()> {
        if let Some(what) = difference(path, member, entry)? {
            self.add(path, what);
        } else if let EntryKind::File { size, .. } = entry.kind {
            self.files += 1;
            self.bytes += size;
        }
        Ok(())
    }

    /// Reads the rest of the stream after the last member, which must be a few zeros.
    fn compare_end(&mut self, stream: impl Read) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER];
        let mut stream = stream.take(MAX_END + 1);
        loop {
            match stream.read(&mut buffer) {
                Ok(0) if stream.limit() == 0 => {
                    self.add("", "more than 1 MiB of zeros after the end of the archive");
                    return Ok(());
                }
                Ok(0) => return Ok(()),
                Ok(read) if buffer[..read].iter().any(|byte| *byte != 0) => {
                    self.add("", "data after the end of the archive");
                    return Ok(());
                }
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
    }
}

/// The manifest, if the first member is one.
fn manifest(member: TarMember<'_, impl Read>) -> Result<Manifest, Problem> {
    #[derive(serde::Deserialize)]
    struct Version {
        format: u32,
    }
    let path = member.path();
    let is_manifest = path.rsplit('/').next() == Some(BUNDLE_MANIFEST);
    if !is_manifest || member.content.size() > MAX_MANIFEST {
        return Err(Problem::new(
            "",
            format!("not a bundle: it does not begin with {BUNDLE_MANIFEST}"),
        ));
    }
    let bad = |what: String| Problem::new(&path, what);
    let mtime = member.header().mtime().unwrap_or_default();
    if !member.is_plain(EntryType::Regular, 0o644, mtime, member.content.size()) {
        return Err(bad("unusual header".to_owned()));
    }
    let is_named = *member.name() == *path.as_bytes();
    let mut content = member.content;
    let invalid = |error: serde_json::Error| bad(format!("not a valid manifest: {error}"));
    let mut text = Vec::new();
    content.read_to_end(&mut text).map_err(|_| bad("cannot be read".to_owned()))?;
    let Version { format } = serde_json::from_slice(&text).map_err(invalid)?;
    if format != FORMAT {
        return Err(bad(format!("format {format} is unknown; this eggcache reads {FORMAT}")));
    }
    let manifest: Manifest = serde_json::from_slice(&text).map_err(invalid)?;
    if manifest.member(BUNDLE_MANIFEST) != path || !is_named {
        return Err(bad("in another folder than it says".to_owned()));
    }
    if !safe_paths::is_safe_prefix(&manifest.prefix) {
        return Err(bad("its folder is not below the one where it is unpacked".to_owned()));
    }
    Ok(manifest)
}

/// How a member at `path` differs from the manifest.
fn difference(
    path: &str,
    member: &mut TarMember<'_, impl Read>,
    entry: &BundleEntry,
) -> io::Result<Option<&'static str>> {
    let header = member.header();
    // A field that is no number is different from every number.
    if header.mode().ok() != Some(entry.kind.mode()) {
        return Ok(Some("different mode"));
    }
    if header.mtime().ok() != Some(entry.mtime) {
        return Ok(Some("different mtime"));
    }
    if (header.uid().ok(), header.gid().ok()) != (Some(0), Some(0)) {
        return Ok(Some("different owner"));
    }
    let (kind, size, slash) = match entry.kind {
        EntryKind::Directory => (EntryType::Directory, 0, "/"),
        EntryKind::Symlink { .. } => (EntryType::Symlink, 0, ""),
        EntryKind::File { size, .. } => (EntryType::Regular, size, ""),
    };
    if header.entry_type() != kind {
        return Ok(Some(match entry.kind {
            EntryKind::Directory => "not a folder",
            EntryKind::Symlink { .. } => "not a symlink",
            EntryKind::File { .. } => "not a file",
        }));
    }
    if let Some(what) = content_difference(member, entry)? {
        return Ok(Some(what));
    }
    if *member.name() != *format!("{path}{slash}").as_bytes() {
        return Ok(Some("unusual name"));
    }
    let is_plain = member.is_plain(kind, entry.kind.mode(), entry.mtime, size);
    Ok((!is_plain).then_some("unusual header"))
}

/// How the bytes of a file, or the target of a symlink, differ from the manifest.
fn content_difference(
    member: &mut TarMember<'_, impl Read>,
    entry: &BundleEntry,
) -> io::Result<Option<&'static str>> {
    Ok(match &entry.kind {
        EntryKind::Directory => None,
        EntryKind::Symlink { target } => {
            let is_same = member.target().as_deref() == Some(target.as_bytes());
            (!is_same).then_some("different symlink target")
        }
        EntryKind::File { size, sha256, .. } => {
            let mut content = Hashing::new(&mut member.content);
            let mut buffer = vec![0; BUFFER.min(usize::try_from(*size).unwrap_or(BUFFER).max(1))];
            while content.read(&mut buffer)? > 0 {}
            (content.finish() != (*sha256, *size)).then_some("different content")
        }
    })
}

/// A file that reports how much of it was read.
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
