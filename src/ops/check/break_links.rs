//! Breaking hard links: every file of an egg that has another name becomes a copy. The file with the other
//! name stays as it is. As in [`super::restore`], everything is done below one handle of the eggs directory.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use crate::disk::dir::{Dir, Stat};
use crate::disk::files;
use crate::disk::system;
use crate::disk::temp::Temp;
use crate::egg::files::Identity;
use crate::egg::manifest::MODE_MASK;
use crate::error::{Error, IoContext, Result};

/// Breaks the hard links of the egg of this name. `examined` is the identity of the egg that was examined.
///
/// # Errors
/// [`Error::Changing`] if another egg has taken its place.
pub fn break_links(folder: &Dir, name: &OsStr, examined: Option<Identity>) -> Result<()> {
    let path = folder.join(name);
    let opened = folder.look(name).at("read", &path)?;
    let found = Stat::of(&opened).at("read", &path)?;
    if Some(found.identity()) != examined {
        return Err(Error::Changing { path });
    }
    if !found.is_dir() {
        return copy_linked(folder, folder, Path::new(name));
    }
    let egg = Dir::looked_at(opened, &path);
    let mut linked: Vec<PathBuf> = Vec::new();
    egg.walk(|path, found| {
        if found.is_file() && found.has_other_names() {
            linked.push(path.to_owned());
        }
        Ok(true)
    })?;
    linked.iter().try_for_each(|path| copy_linked(folder, &egg, path))
}

/// Replaces a file below `from` by a copy of it, which is made in `folder`.
fn copy_linked(folder: &Dir, from: &Dir, path: &Path) -> Result<()> {
    let whole = from.join(path);
    let mut file = from.read_file(path).at("read", &whole)?;
    let found = Stat::of(&file).at("read", &whole)?;
    let temp = Temp::file(folder)?;
    let mut copy = temp.handle();
    io::copy(&mut file, &mut copy)
        .and_then(|_| Ok(system::set_mode(copy.as_fd(), found.mode() & MODE_MASK)?))
        .and_then(|()| files::set_mtime(copy, None, found.modified_exactly()))
        .at("write", temp.path())?;
    temp.persist(from, path).at("write", &whole)
}
