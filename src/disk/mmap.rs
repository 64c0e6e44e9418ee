//! Mapping a file into memory: the one place with unsafe code.
#![expect(unsafe_code, reason = "mapping a file is unsafe; see `map`")]

use std::fs::File;
use std::io;
use std::ops::Deref;

use memmap2::{Mmap, MmapOptions, UncheckedAdvice};

/// A file with its bytes in memory.
#[derive(Debug)]
pub struct Mapped {
    pub file: File,
    map: Mmap,
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

impl Mapped {
    /// Gives back the memory of what was read so far, for whoever reads a large file only once.
    pub fn forget(&self) {
        // SAFETY: a mapping of a file that is only read has the same bytes when it is read again: they
        // come from the file, which nobody changes; see `map`.
        let _ = unsafe { self.map.unchecked_advise(UncheckedAdvice::DontNeed) };
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// Maps a whole file, for reading.
///
/// # Errors
/// If the file cannot be mapped.
pub fn map(file: File) -> io::Result<Mapped> {
    // SAFETY: a mapping is sound as long as nobody changes the file under it. Only blobs are mapped,
    // and eggcache never changes a blob: it is complete before it gets its name, has mode 0444 and
    // is only ever unlinked or replaced by a rename, both of which leave a mapping whole. What
    // someone else's truncation can do is end this process with SIGBUS, never corrupt its memory:
    // the bytes are only read, and every digest is taken of the bytes that are then used or, for
    // stored raw frames, of the bytes of the same mapping.
    let map = unsafe { MmapOptions::new().map(&file)? };
    Ok(Mapped { file, map })
}
