//! Arrivals: a record of each egg that came from a remote, so that it is not taken for one that was
//! built here.
//!
//! The records are lines of JSON in a file of their own, because the blob of such an egg has the bytes of
//! the remote, and the index can be lost. Each names an egg by its digest, so it stays true whatever
//! happens to the row: also for an egg that is evicted and then added again from a copy. The last record
//! of an egg counts.
//!
//! A record also has the content of the egg without times and bytecode. A copy of it that is added by hand
//! under another digest gets the same record, because it was not built here either. An egg that a buildout
//! builds with the same content is its own.
//!
//! # Order of writes
//! [`Cache::commit`](crate::cache::Cache::commit) appends the records of all its eggs at once, under the
//! write lock, and syncs them before a blob gets its name. So no blob of a remote is ever without its
//! record, and a crash leaves at worst a record of an egg that never came. It can also leave a last line
//! without its end, which is no record: readers ignore it, and the next append removes it. `gc` writes the
//! file again, by renaming a new one, when most records are of eggs that are gone.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Error as IoError, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tracing::{debug, warn};

use crate::cache::index::Writer;
use crate::disk::dir::Dir;
use crate::disk::permissions::Kind;
use crate::disk::temp;
use crate::egg::arrival::Arrival;
use crate::error::{Error, IoContext, Result};
use crate::util::hash::digest::Digest;

/// The name of the file in the cache directory.
pub(super) const FILE_NAME: &str = "arrivals.jsonl";
/// The longest line that is read, in bytes.
const MAX_LINE: u64 = 16 << 10;
/// The longest file that is read, in bytes: records of about a million eggs.
const MAX_LENGTH: u64 = 256 << 20;
/// How long the record of an egg that is gone is kept, in seconds: its copies in buildouts can come back.
const MEMORY: i64 = 90 * 86_400;

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub egg: Digest,
    /// As [`Manifest::content`](crate::egg::manifest::Manifest::content). An older eggcache wrote none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Digest>,
    #[serde(flatten)]
    pub arrival: Arrival,
}

/// The records of a cache.
#[derive(Debug, Default)]
pub struct Arrivals {
    path: PathBuf,
    by_egg: HashMap<Digest, Record>,
    /// The eggs with some content.
    by_content: HashMap<Digest, Digest>,
    /// All lines, with those that count no more.
    lines: usize,
    /// Lines that are no record.
    damaged: usize,
}

impl Arrivals {
    /// Reads the records of a cache. Read the rows first: a row that was read has its record. Damaged lines
    /// are skipped.
    pub fn of(cache: &Dir) -> Result<Self> {
        let path = cache.join(FILE_NAME);
        let mut found = Self { path, ..Self::default() };
        let file = match cache.read(FILE_NAME) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(found),
            file => file.at("read", &found.path)?,
        };
        check(&file).at("read", &found.path)?;
        let mut lines = BufReader::new(file.take(MAX_LENGTH));
        found.read(&mut lines).at("read", &found.path)?;
        if found.damaged > 0 {
            warn!(path = %found.path.display(), lines = found.damaged, "damaged records of arrivals");
        }
        Ok(found)
    }

    fn read(&mut self, lines: &mut impl BufRead) -> std::io::Result<()> {
        let mut line = Vec::new();
        loop {
            let mut pieces = 0;
            while pieces == 0 || line.last() != Some(&b'\n') {
                line.clear();
                if lines.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
                    return Ok(());
                }
                pieces += 1;
            }
            self.lines += 1;
            match serde_json::from_slice::<Record>(&line) {
                Ok(record) if pieces == 1 => {
                    self.by_content.extend(record.content.map(|content| (content, record.egg)));
                    self.by_egg.insert(record.egg, record);
                }
                _ => self.damaged += 1,
            }
        }
    }

    /// These records, if it is certain that they are all.
    ///
    /// # Errors
    /// [`Error::DamagedArrivals`]
    pub fn complete(self) -> Result<Self> {
        match self.damaged {
            0 => Ok(self),
            lines => Err(Error::DamagedArrivals { path: self.path, lines }),
        }
    }

    /// How an egg came from a remote; `None` if it did not.
    #[must_use]
    pub fn of_egg(&self, egg: Digest) -> Option<&Arrival> {
        self.by_egg.get(&egg).map(|record| &record.arrival)
    }

    /// How an egg with this content came from a remote, as far as that is recorded.
    #[must_use]
    pub fn of_content(&self, content: Digest) -> Option<&Arrival> {
        self.of_egg(*self.by_content.get(&content)?)
    }
}

/// Appends records, durably.
pub(super) fn append(cache: &Dir, _lock: &Writer<'_>, records: &[Record]) -> Result<()> {
    if records.is_empty() {
        return Ok(());
    }
    let path = cache.join(FILE_NAME);
    let text = text(records).at("write", &path)?;
    let file = cache.write(FILE_NAME).at("write", &path)?;
    let end = check(&file).and_then(|()| end_of_lines(&file)).at("write", &path)?;
    if end == 0 {
        cache.sync().at("sync", cache.path())?;
    }
    file.set_len(end)
        .and_then(|()| file.write_all_at(&text, end))
        .and_then(|()| file.sync_data())
        .at("write", &path)
}

/// Writes the file again without old records of eggs that are gone, if these are most. `is_here` is whether
/// the cache has an egg.
pub(super) fn compact(
    cache: &Dir,
    _lock: &Writer<'_>,
    now: i64,
    is_here: impl Fn(Digest) -> Result<bool>,
) -> Result<()> {
    let arrivals = Arrivals::of(cache)?;
    // What is damaged stays, so that `complete` still notices it.
    if arrivals.damaged > 0 {
        return Ok(());
    }
    let mut kept = Vec::new();
    for record in arrivals.by_egg.into_values() {
        let age = now.saturating_sub(record.arrival.arrived_at);
        if age <= MEMORY || is_here(record.egg)? {
            kept.push(record);
        }
    }
    if kept.len() * 2 >= arrivals.lines {
        return Ok(());
    }
    debug!(before = arrivals.lines, after = kept.len(), "compacted the records of arrivals");
    kept.sort_unstable_by_key(|record| (record.arrival.arrived_at, record.egg));
    let text = text(&kept).at("write", &arrivals.path)?;
    temp::write_durably(cache, FILE_NAME, &text, Kind::File)
}

fn text(records: &[Record]) -> std::result::Result<Vec<u8>, serde_json::Error> {
    let mut text = Vec::new();
    for record in records {
        serde_json::to_writer(&mut text, record)?;
        text.push(b'\n');
    }
    Ok(text)
}

/// Refuses what is not a file, and a file that is too long to be read again.
fn check(file: &File) -> std::io::Result<()> {
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(IoError::new(ErrorKind::InvalidInput, "it is not a file"));
    }
    if found.len() > MAX_LENGTH {
        let reason = format!("it has more than {MAX_LENGTH} bytes");
        return Err(IoError::new(ErrorKind::FileTooLarge, reason));
    }
    Ok(())
}

/// Where the last complete line ends.
fn end_of_lines(file: &File) -> std::io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut piece = vec![0; 4096];
    while end > 0 {
        let length = end.min(piece.len() as u64);
        let begin = end - length;
        let piece = &mut piece[..usize::try_from(length).unwrap_or_default()];
        file.read_exact_at(piece, begin)?;
        if let Some(at) = piece.iter().rposition(|byte| *byte == b'\n') {
            return Ok(begin + at as u64 + 1);
        }
        end = begin;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::cache::Cache;
    use crate::util::clock;

    fn record(name: &str, arrived_at: i64) -> Record {
        let keys = vec!["0123456789ABCDEF".to_owned()];
        let (remote, url) = ("team".to_owned(), "file:///srv/pool".to_owned());
        let arrival = Arrival { arrived_at, remote, url, keys, other_keys: Vec::new() };
        Record { egg: Digest::of(name.as_bytes()), content: None, arrival }
    }

    fn added(root: &Path, records: &[Record]) {
        let Cache { dir, mut index, .. } = Cache::open(root).unwrap();
        index.write(|writer| append(&dir, writer, records)).unwrap();
    }

    fn found(root: &Path) -> Result<Arrivals> {
        Arrivals::of(&Dir::open(root).unwrap())
    }

    fn compacted(root: &Path, now: i64, here: &[Digest]) {
        let Cache { dir, mut index, .. } = Cache::open(root).unwrap();
        let is_here = |egg| Ok(here.contains(&egg));
        index.write(|writer| compact(&dir, writer, now, is_here)).unwrap();
    }

    fn file(root: &Path) -> PathBuf {
        root.join(FILE_NAME)
    }

    #[test]
    fn the_last_record_of_an_egg_counts() {
        let dir = tempfile::tempdir().unwrap();
        assert!(found(dir.path()).unwrap().of_egg(Digest::of(b"foo")).is_none());
        added(dir.path(), &[record("foo", 1), record("bar", 1)]);
        added(dir.path(), &[record("foo", 2)]);
        let records = found(dir.path()).unwrap().complete().unwrap();
        assert_eq!(records.of_egg(Digest::of(b"foo")), Some(&record("foo", 2).arrival));
        assert_eq!(records.of_egg(Digest::of(b"bar")), Some(&record("bar", 1).arrival));
        assert_eq!(records.of_egg(Digest::of(b"baz")), None);
    }

    #[test]
    fn an_arrival_is_found_by_content_after_a_compaction_too() {
        let dir = tempfile::tempdir().unwrap();
        let content = Some(Digest::of(b"content"));
        let now = clock::now();
        added(dir.path(), &[Record { content, ..record("foo", now) }, record("bar", now)]);
        added(dir.path(), &vec![record("gone", 1); 10]);
        for _ in 0..2 {
            let records = found(dir.path()).unwrap();
            let arrival = records.of_content(Digest::of(b"content"));
            assert_eq!(arrival, Some(&record("foo", now).arrival));
            assert_eq!(records.of_content(Digest::of(b"bar")), None);
            compacted(dir.path(), now, &[]);
        }
        assert_eq!(found(dir.path()).unwrap().lines, 2);
    }

    #[test]
    fn a_line_cut_off_anywhere_is_no_record_and_the_next_append_removes_it() {
        let dir = tempfile::tempdir().unwrap();
        added(dir.path(), &[record("foo", 1)]);
        let first = fs::read(file(dir.path())).unwrap();
        added(dir.path(), &[record("bar", 1)]);
        let both = fs::read(file(dir.path())).unwrap();
        for length in first.len()..both.len() {
            for tail in [0, 9000, 40_000].map(|length| vec![0; length]) {
                fs::write(file(dir.path()), [&both[..length], &tail].concat()).unwrap();
                let records = found(dir.path()).unwrap();
                assert_eq!((records.lines, records.damaged), (1, 0), "{length}");
                added(dir.path(), &[record("baz", 1)]);
                let records = found(dir.path()).unwrap();
                assert_eq!((records.lines, records.damaged), (2, 0), "{length}");
            }
        }
    }

    #[test]
    fn damaged_and_endless_lines_are_skipped_and_noticed() {
        let dir = tempfile::tempdir().unwrap();
        added(dir.path(), &[record("foo", 1)]);
        let good = fs::read(file(dir.path())).unwrap();
        let long = [vec![b' '; 50_000], good.clone()].concat();
        for bad in [b"{}\n".to_vec(), b"\xff\n".to_vec(), b"\n".to_vec(), long] {
            fs::write(file(dir.path()), [bad, good.clone()].concat()).unwrap();
            let records = found(dir.path()).unwrap();
            assert!(records.of_egg(Digest::of(b"foo")).is_some());
            assert_eq!((records.lines, records.damaged), (2, 1));
            let refused = records.complete().unwrap_err();
            assert!(matches!(refused, Error::DamagedArrivals { lines: 1, .. }), "{refused:?}");
        }
    }

    #[test]
    fn links_a_fifo_and_a_huge_file_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (root, other) = (dir.path().join("cache"), dir.path().join("other"));
        fs::write(&other, "mine").unwrap();
        let Cache { dir, mut index, .. } = Cache::open(&root).unwrap();
        let mut refused = || {
            let record = [record("foo", 1)];
            assert!(index.write(|writer| append(&dir, writer, &record)).is_err());
            fs::remove_file(file(&root)).unwrap();
        };
        fs::hard_link(&other, file(&root)).unwrap();
        refused();
        std::os::unix::fs::symlink(&other, file(&root)).unwrap();
        assert!(found(&root).is_err());
        refused();
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, file(&root), fifo, 0o644.into(), 0).unwrap();
        assert!(found(&root).is_err());
        refused();
        assert_eq!(fs::read_to_string(&other).unwrap(), "mine");
        File::create(file(&root)).unwrap().set_len(MAX_LENGTH + 1).unwrap();
        assert!(found(&root).is_err());
        refused();
    }

    #[test]
    fn old_records_of_eggs_that_are_gone_are_dropped_when_they_are_most() {
        let dir = tempfile::tempdir().unwrap();
        let now = clock::now();
        let old = now - MEMORY - 1;
        let records = [record("a", old), record("b", old), record("c", old), record("d", now)];
        added(dir.path(), &records);
        let here = |name: &str| Digest::of(name.as_bytes());
        compacted(dir.path(), now, &[here("a")]);
        assert_eq!(found(dir.path()).unwrap().lines, 4, "half of them are needed");
        compacted(dir.path(), now, &[]);
        let records = found(dir.path()).unwrap();
        assert_eq!((records.lines, records.by_egg.len()), (1, 1));
        assert!(records.of_egg(here("d")).is_some());
    }
}
