//! The bytes of an archive, for several readers at once.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that can be read at any offset.
#[derive(Debug)]
enum Bytes {
    File(File),
    Memory(Vec<u8>),
}

/// A reader with a position of its own; clones share the file. All clones together read at most what
/// the budget allows, so that an archive cannot make its reader collect more than that.
#[derive(Debug, Clone)]
pub struct Source {
    bytes: Arc<Bytes>,
    length: u64,
    position: u64,
    budget: Arc<AtomicU64>,
}

impl Source {
    /// # Errors
    /// What the system says about the file.
    pub fn file(file: File, budget: u64) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self::new(Bytes::File(file), length, budget))
    }

    #[must_use]
    pub fn memory(bytes: Vec<u8>, budget: u64) -> Self {
        let length = bytes.len() as u64;
        Self::new(Bytes::Memory(bytes), length, budget)
    }

    fn new(bytes: Bytes, length: u64, budget: u64) -> Self {
        let budget = Arc::new(AtomicU64::new(budget));
        Self { bytes: Arc::new(bytes), length, position: 0, budget }
    }

    /// The handle that changes the budget after the archive itself is read.
    #[must_use]
    pub fn budget(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.budget)
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &*self.bytes {
            Bytes::File(file) => file.read_at(buffer, self.position)?,
            Bytes::Memory(bytes) => {
                let from = usize::try_from(self.position).unwrap_or(usize::MAX).min(bytes.len());
                (&bytes[from..]).read(buffer)?
            }
        };
        let spend =
            |left: u64| (left == u64::MAX).then_some(left).or(left.checked_sub(read as u64));
        self.budget
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend)
            .map_err(|_| io::Error::other("its directory is too large"))?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for Source {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
