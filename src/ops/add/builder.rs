//! What the files of an egg show about its builder, where nobody says it.

use crate::disk::files::read_opened;
use crate::egg::elf;
use crate::egg::files::EggFiles;
use crate::egg::manifest::Entry;
use crate::egg::variant::UV;
use crate::error::Result;

/// The longest `INSTALLER` that is read, in bytes.
const MAX_INSTALLER: u64 = 100;
/// The prefix of symbols of a Python 2.7 with this size of characters, and its ABI tag. It is in the names of
/// all functions for Unicode strings, and extension modules have no tag in their names.
const UNICODE_SIZES: [(&[u8], &str); 2] =
    [(b"PyUnicodeUCS4_", "cp27mu"), (b"PyUnicodeUCS2_", "cp27m")];

/// The variant of an egg that was not built with pip: it lacks what pip adds.
///
/// # Errors
/// [`Error::Io`](crate::error::Error::Io)
pub fn variant(files: &EggFiles, entries: &[Entry]) -> Result<Option<&'static str>> {
    let is_installer = |entry: &&Entry| {
        let folder = entry.path.as_str().strip_suffix("/INSTALLER");
        folder.is_some_and(|folder| folder.ends_with(".dist-info") && !folder.contains('/'))
    };
    for entry in entries.iter().filter(is_installer) {
        let text = read_opened(files.read(entry)?, MAX_INSTALLER).unwrap_or_default();
        if text.trim_ascii() == UV.as_bytes() {
            return Ok(Some(UV));
        }
    }
    Ok(None)
}

/// The ABI of a Python 2.7 that extension modules without a tag need; `None` if all can load them.
///
/// # Errors
/// [`Error::Io`](crate::error::Error::Io)
pub fn python2_abi(files: &EggFiles, entries: &[Entry]) -> Result<Option<&'static str>> {
    let abi_of = |symbol: &[u8]| {
        UNICODE_SIZES.iter().find(|(prefix, _)| symbol.starts_with(prefix)).map(|(_, abi)| *abi)
    };
    for entry in entries.iter().filter(|entry| entry.path.file_name().ends_with(".so")) {
        if let Ok(Some(abi)) = elf::find_symbol(files.read(entry)?, abi_of) {
            return Ok(Some(abi));
        }
    }
    Ok(None)
}
