//! Listing everything below a directory.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, statat};

use super::{DIRECTORY, Dir, Stat};
use crate::error::{Error, IoContext, Result};

/// A path below the directory, and what it is.
type Entry = (PathBuf, Stat);

impl Dir {
    /// Calls `act` for everything below, a directory before its content, in the order of the names. Does
    /// not enter directories for which it returns false, and follows no symlink.
    pub fn walk(&self, mut act: impl FnMut(&Path, Stat) -> Result<bool>) -> Result<()> {
        // The next one last.
        let mut pending = self.entries_of(Path::new(""))?;
        while let Some((path, found)) = pending.pop() {
            if act(&path, found)? && found.is_dir() {
                pending.extend(self.entries_of(&path)?);
            }
        }
        Ok(())
    }

    /// The entries of a directory below, the first one last.
    fn entries_of(&self, below: &Path) -> Result<Vec<Entry>> {
        let (here, whole) = if below.as_os_str().is_empty() {
            (Path::new("."), self.path().to_owned())
        } else {
            (below, self.join(below))
        };
        let failed = |source| Error::Io { action: "read", path: whole.clone(), source };
        let opened = self.open_with(here, DIRECTORY, Mode::empty()).map_err(failed)?;
        let mut entries = rustix::fs::Dir::new(opened).map_err(|error| failed(error.into()))?;
        let mut found = Vec::new();
        while let Some(entry) = entries.read() {
            let entry = entry.map_err(|error| failed(error.into()))?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let path = below.join(name);
            let stat = entries
                .fd()
                .and_then(|at| statat(at, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW))
                .map_err(std::io::Error::from)
                .at("read", &self.join(&path))?;
            found.push((path, Stat::from(stat)));
        }
        found.sort_unstable_by(|(one, _), (other, _)| other.file_name().cmp(&one.file_name()));
        Ok(found)
    }
}
