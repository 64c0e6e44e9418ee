//! Mapping a file into memory: the only unsafe code.
#![expect(unsafe_code, reason = "mapping a file is unsafe; see `map`")]

use std::fs::File;
use std::io;
use std::ops::Deref;

use memmap2::{Mmap, MmapOptions, UncheckedAdvice};

/// An open file whose bytes are mapped into memory.
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
    /// Releases the memory of the pages read so far. For reading a large file once.
    pub fn forget(&self) {
        // SAFETY: reading a released page of a read-only mapping again gives the same bytes: they come
        // from the file, which nobody changes; see `map`.
        let _ = unsafe { self.map.unchecked_advise(UncheckedAdvice::DontNeed) };
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// Maps a whole file for reading.
pub fn map(file: File) -> io::Result<Mapped> {
    // SAFETY: a mapping is sound as long as nobody changes the file. Only blobs are mapped, and
    // eggcache never changes a blob: it is complete before it gets its name, has mode 0444, and is
    // only ever unlinked or replaced by a rename, both of which leave the mapping intact. If somebody
    // else truncates it, this process can end with SIGBUS, but its memory cannot be corrupted: the
    // bytes are only read, and every digest is computed from a private copy of the bytes that is then
    // used.
    let map = unsafe { MmapOptions::new().map(&file)? };
    Ok(Mapped { file, map })
}
