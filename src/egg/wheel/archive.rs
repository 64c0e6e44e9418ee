//! The members of a wheel, checked: no name leaves the egg, nothing is a link, all sizes are bounded.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::atomic::Ordering;

use zip::read::{ZipArchive, ZipReadOptions};
use zip::{CompressionMethod, DateTime};

use super::clashes;
use super::reason::Reason;
use super::source::Source;
use crate::disk::MAX_PATH;
use crate::egg::path::EggPath;

/// The most members that are accepted. The largest wheels have about 30,000.
pub const MAX_MEMBERS: usize = 100_000;
/// How many bytes may be read to list the members.
const MAX_DIRECTORY: u64 = 64 << 20;
/// The longest member, and the most that all members together may unpack to, in bytes.
const MAX_MEMBER: u64 = 4 << 30;
const MAX_TOTAL: u64 = 16 << 30;
/// The most that deflate can compress, and bytes that an empty file may claim.
const MAX_RATIO: u64 = 1032;
const SLACK: u64 = 1 << 10;
/// The bits of a Unix mode that say what a file is, and those of a regular file.
const KIND: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
/// The newest version of the format that the zipfile module of Python reads, times ten.
const MAX_VERSION: u16 = 63;
/// The flags that it reads: encryption, which is refused below, how much was compressed, sizes behind the
/// content, and names in UTF-8.
const KNOWN_FLAGS: u16 = 0x080f;
/// 1980-01-01, where the time of zip files begins.
const FIRST_TIME: i64 = 315_532_800;
/// How much of a member is written at once, in bytes.
const PIECE: usize = 128 << 10;

/// One file of a wheel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    index: usize,
    /// A valid [`EggPath`] without control characters or backslashes.
    pub path: String,
    pub size: u64,
    /// Whether pip makes the file executable.
    pub is_executable: bool,
}

/// A wheel as a zip file. Clones are cheap, and read at the same time.
#[derive(Debug, Clone)]
pub struct Archive {
    zip: ZipArchive<Source>,
    pub members: Vec<Member>,
    /// The first parts of all names, also of those of directories.
    pub tops: BTreeSet<String>,
    /// The mtime of the newest member, in seconds since the Unix epoch, as if zip files had UTC.
    pub newest: i64,
}

impl Archive {
    /// Lists the members of a wheel.
    pub fn open(file: File) -> Result<Self, Reason> {
        Self::read(Source::file(file, MAX_DIRECTORY)?)
    }

    /// As [`Archive::open`], from memory.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, Reason> {
        Self::read(Source::memory(bytes, MAX_DIRECTORY))
    }

    fn read(mut source: Source) -> Result<Self, Reason> {
        let budget = source.budget();
        let mut zip = ZipArchive::new(source.clone())?;
        if zip.len() > MAX_MEMBERS {
            return Err(Reason::TooMuch { what: "files", most: MAX_MEMBERS as u64 });
        }
        if zip.has_duplicate_names() {
            return Err(Reason::Unreadable("two of its files have the same name".into()));
        }
        if zip.has_overlapping_files()? {
            return Err(Reason::Unreadable("its files overlap".into()));
        }
        let (mut members, mut tops) = (Vec::with_capacity(zip.len()), BTreeSet::new());
        let (mut newest, mut total) = (FIRST_TIME, 0);
        for index in 0..zip.len() {
            let entry = zip.by_index_data(index)?;
            let path = checked_name(entry.name_raw(), entry.flags().as_u16())?;
            if entry.name()? != path {
                return Err(Reason::member(path, "has two names"));
            }
            if version_needed(&mut source, entry.central_header_start())? > MAX_VERSION
                || entry.flags().as_u16() & !KNOWN_FLAGS != 0
            {
                return Err(Reason::member(path, "needs a newer version of zip"));
            }
            let top = path.split('/').next().unwrap_or_default();
            if !tops.contains(top) {
                tops.insert(top.to_owned());
            }
            if path.ends_with('/') {
                continue;
            }
            check_kind(path, entry.external_attributes() >> 16)?;
            if entry.encrypted() {
                return Err(Reason::member(path, "is encrypted"));
            }
            check_sizes(path, entry.compression(), entry.compressed_size(), entry.size())?;
            total += entry.size();
            newest = newest.max(entry.last_modified().and_then(seconds).unwrap_or(FIRST_TIME));
            let mode = entry.external_attributes() >> 16;
            let is_executable = mode & KIND == REGULAR && mode & 0o111 != 0;
            members.push(Member {
                index,
                path: path.to_owned(),
                size: entry.size(),
                is_executable,
            });
        }
        if total > MAX_TOTAL {
            return Err(Reason::TooMuch { what: "bytes", most: MAX_TOTAL });
        }
        clashes::check(members.iter().map(|member| member.path.as_str()))?;
        budget.store(u64::MAX, Ordering::Relaxed);
        Ok(Self { zip, members, tops, newest: newest.min(i32::MAX.into()) })
    }

    #[must_use]
    pub fn member(&self, path: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.path == path)
    }

    /// Gives the content of a member to `write`, piece by piece. Fails with [`Reason`] inside the outer
    /// result if the member is damaged, and with what `write` fails with.
    pub fn copy<E>(
        &mut self,
        member: &Member,
        mut write: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Result<(), Reason>, E> {
        let damaged = || Err(Reason::member(&member.path, "is damaged"));
        let options = ZipReadOptions::new().enforce_header_consistency(true);
        let Ok(mut content) = self.zip.by_index_with_options(member.index, options) else {
            return Ok(damaged());
        };
        let size = usize::try_from(member.size).unwrap_or(usize::MAX);
        let mut piece = vec![0; size.saturating_add(1).min(PIECE)];
        let mut left = member.size;
        loop {
            let Ok(read) = fill(&mut content, &mut piece) else { return Ok(damaged()) };
            let Some(rest) = left.checked_sub(read as u64) else { return Ok(damaged()) };
            left = rest;
            write(&piece[..read])?;
            if read < piece.len() {
                return Ok(if left == 0 { Ok(()) } else { damaged() });
            }
        }
    }

    /// The content of a member, which must not be longer than `most`.
    pub fn content(&mut self, member: &Member, most: u64) -> Result<Vec<u8>, Reason> {
        if member.size > most {
            return Err(Reason::member(&member.path, "is too long"));
        }
        let mut content = Vec::new();
        self.read_member(member, |piece| content.extend_from_slice(piece))?;
        Ok(content)
    }

    /// The beginning of a member, which is read to its end to see whether it is damaged.
    pub fn head(&mut self, member: &Member) -> Result<Vec<u8>, Reason> {
        let mut head = Vec::new();
        self.read_member(member, |piece| {
            if head.is_empty() {
                head.extend_from_slice(piece);
            }
        })?;
        Ok(head)
    }

    fn read_member(&mut self, member: &Member, mut see: impl FnMut(&[u8])) -> Result<(), Reason> {
        let copied = self.copy(member, |piece| {
            see(piece);
            Ok::<(), Infallible>(())
        });
        match copied {
            Ok(copied) => copied,
            Err(never) => match never {},
        }
    }
}

/// Reads until the buffer is full or the content ends.
fn fill(content: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match content.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The version that a member needs, which the zip crate skips, from its header in the directory.
fn version_needed(source: &mut Source, header: u64) -> Result<u16, Reason> {
    let mut start = [0; 8];
    source.seek(SeekFrom::Start(header))?;
    source.read_exact(&mut start)?;
    match start {
        [b'P', b'K', 1, 2, _, _, low, high] => Ok(u16::from_le_bytes([low, high])),
        _ => Err(Reason::Unreadable("its directory is not where it should be".into())),
    }
}

/// The name of a member, as Python reads it.
fn checked_name(raw: &[u8], flags: u16) -> Result<&str, Reason> {
    /// The flag of names in UTF-8; without it, Python reads them in code page 437.
    const UTF8: u16 = 1 << 11;
    let shown = || String::from_utf8_lossy(raw).chars().take(200).collect();
    let member = |problem| Reason::Member { path: shown(), problem };
    let Ok(name) = std::str::from_utf8(raw) else {
        return Err(member("has a name that is not UTF-8"));
    };
    if !name.is_ascii() && flags & UTF8 == 0 {
        return Err(member("has a name in an unknown encoding"));
    }
    if name.len() > MAX_PATH || name.contains(|c: char| c.is_control() || c == '\\') {
        return Err(member("has a name that is too long or has strange characters"));
    }
    match EggPath::new(name.strip_suffix('/').unwrap_or(name)) {
        Ok(_) => Ok(name),
        Err(_) => Err(member("does not stay inside the egg")),
    }
}

fn check_kind(path: &str, mode: u32) -> Result<(), Reason> {
    match mode & KIND {
        0 | REGULAR => Ok(()),
        SYMLINK => Err(Reason::member(path, "is a symlink")),
        _ => Err(Reason::member(path, "is not a regular file")),
    }
}

fn check_sizes(
    path: &str,
    method: CompressionMethod,
    compressed: u64,
    size: u64,
) -> Result<(), Reason> {
    let is_possible = match method {
        CompressionMethod::Stored => compressed == size,
        CompressionMethod::Deflated => size / MAX_RATIO <= compressed.saturating_add(SLACK),
        _ => return Err(Reason::member(path, "is compressed in an unusual way")),
    };
    if !is_possible || size > MAX_MEMBER {
        return Err(Reason::member(path, "has an absurd size"));
    }
    Ok(())
}

/// The time of a member, which has no time zone, as if it was UTC.
fn seconds(time: DateTime) -> Option<i64> {
    let part = |number: u8| i8::try_from(number).ok();
    let civil = jiff::civil::DateTime::new(
        i16::try_from(time.year()).ok()?,
        part(time.month())?,
        part(time.day())?,
        part(time.hour())?,
        part(time.minute())?,
        part(time.second())?,
        0,
    );
    Some(jiff::tz::TimeZone::UTC.to_timestamp(civil.ok()?).ok()?.as_second())
}
