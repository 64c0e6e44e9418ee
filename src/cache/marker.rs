//! What a directory is: a cache, a place for one, or something else.
//!
//! A cache is made only in a new or an empty directory, and nothing is changed in a directory that is not
//! a cache: a mistyped path would turn a home directory into one, which backups then skip and `gc` tidies.
//! Each of three marks is enough, so that a cache is known after it has lost its index or its tag: the tag
//! with the text of eggcache, an index, or a blob.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use crate::cache::blobs::Blobs;
use crate::cache::index::{self, is_index};
use crate::disk::dir::Dir;
use crate::disk::temp::TEMP_PREFIX;
use crate::error::{Error, IoContext, Result};

/// The name and text of the tag by which backup programs recognise a cache.
pub const TAG_NAME: &str = "CACHEDIR.TAG";
pub const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
     # This directory holds a cache of built eggs. Backups may leave it out.\n\
     # See https://bford.info/cachedir/\n";

/// What fails if the cache directory cannot be found.
pub const OPEN: &str = "open the cache directory";
/// The policy, which a site can put into a directory before there is a cache.
const POLICY: &str = "eggcache.toml";

/// What is at the path of a cache. What is said of a directory is true of the open one: another one can get
/// its name at any time.
#[derive(Debug)]
pub enum Found {
    Nothing,
    /// A directory without anything, or with what a process leaves that dies while it makes a cache.
    Empty(Dir),
    /// A cache, also if that cannot be determined.
    Cache(Dir),
    /// A directory that cannot be opened, which may be a cache.
    Closed(io::Error),
    /// Something else, and why it is no cache.
    Other {
        reason: String,
    },
}

/// Determines what is at `root`, and opens it by its canonical path.
///
/// # Errors
/// [`Error::BrokenLink`], or if a folder above `root` is a file.
pub fn found(root: &Path) -> Result<Found> {
    match root.metadata() {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Ok(Found::Other { reason: "it is not a directory".into() }),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return broken_link(root).map_or(Ok(Found::Nothing), Err);
        }
        Err(error) if error.kind() == ErrorKind::NotADirectory => return Err(error).at(OPEN, root),
        Err(error) => return Ok(Found::Closed(error)),
    }
    let opened = root.canonicalize().and_then(|path| Dir::open(&path));
    Ok(opened.map_or_else(Found::Closed, in_directory))
}

/// The error for a symlink without a target, at or above a path that does not exist.
fn broken_link(root: &Path) -> Option<Error> {
    // Above a folder that exists, each link has a target.
    let missing = root.ancestors().take_while(|path| !path.exists());
    let (path, target) =
        missing.filter_map(|path| Some((path, fs::read_link(path).ok()?))).last()?;
    let what = if path == root { "the cache directory" } else { "the folder" };
    Some(Error::BrokenLink { what, path: path.to_owned(), target })
}

/// Determines what an open directory is.
pub fn in_directory(root: Dir) -> Found {
    if has_mark(&root) {
        return Found::Cache(root);
    }
    match first_of_others(&root) {
        Ok(None) => Found::Empty(root),
        // Another process may have made the cache meanwhile. It begins with the tag.
        Ok(Some(name)) if !has_mark(&root) => {
            Found::Other { reason: format!("it contains {name}") }
        }
        // An entry may be a mark that this user cannot read.
        Ok(Some(_)) | Err(_) => Found::Cache(root),
    }
}

fn has_mark(root: &Dir) -> bool {
    tag(root) == Tag::Ours || is_index(root) || Blobs::new(root).has_any()
}

/// The name of an entry of a directory that is not empty.
fn first_of_others(root: &Dir) -> io::Result<Option<String>> {
    for name in root.names()? {
        let name = name?;
        match is_unfinished(root, &name) {
            Ok(true) => {}
            Ok(false) => return Ok(Some(name.display().to_string())),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Whether an entry of a directory says nothing about it.
fn is_unfinished(root: &Dir, name: &OsStr) -> io::Result<bool> {
    let found = root.stat(name)?;
    Ok(match name.to_str().unwrap_or_default() {
        "lost+found" if found.is_dir() => true,
        "blobs" if found.is_dir() => has_only(&root.subdir(name)?, |blobs, name| {
            Ok(blobs.stat(name)?.is_dir() && has_only(&blobs.subdir(name)?, |_, _| Ok(false))?)
        })?,
        "tmp" if found.is_dir() => has_only(&root.subdir(name)?, |_, name| Ok(is_temporary(name)))?,
        POLICY if found.is_file() => true,
        TAG_NAME => match tag(root) {
            Tag::Unfinished => true,
            Tag::Unreadable => return Err(ErrorKind::PermissionDenied.into()),
            Tag::Ours | Tag::Missing | Tag::Other => false,
        },
        name if name.starts_with(index::FILE_NAME) => {
            found.is_file() && is_part_of_new_index(root, name)
        }
        _ => is_temporary(name),
    })
}

/// Whether this is an index that nothing was written to, or the journal of the first write to it.
fn is_part_of_new_index(root: &Dir, name: &str) -> bool {
    let is_empty = root.stat(index::FILE_NAME).is_ok_and(|index| index.len() == 0);
    is_empty && matches!(name.strip_prefix(index::FILE_NAME), Some("" | "-journal"))
}

fn is_temporary(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(TEMP_PREFIX.as_bytes())
}

fn has_only(dir: &Dir, is: impl Fn(&Dir, &OsStr) -> io::Result<bool>) -> io::Result<bool> {
    for name in dir.names()? {
        if !is(dir, &name?)? {
            return Ok(false);
        }
    }
    Ok(true)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    Ours,
    Missing,
    /// A crash or a power cut has left it without its text.
    Unfinished,
    Unreadable,
    Other,
}

/// The tag of a directory. A link is not one of eggcache.
pub fn tag(root: &Dir) -> Tag {
    let is_lost = |text: &[u8]| text.iter().all(|&byte| byte == 0);
    match root.read_short(TAG_NAME, TAG.len() as u64) {
        Ok(text) if text == TAG.as_bytes() => Tag::Ours,
        Ok(text) if is_lost(&text) || TAG.as_bytes().starts_with(&text) => Tag::Unfinished,
        Err(error) if error.kind() == ErrorKind::NotFound => Tag::Missing,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Tag::Unreadable,
        Ok(_) | Err(_) => Tag::Other,
    }
}
