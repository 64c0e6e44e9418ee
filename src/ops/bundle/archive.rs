//! The archive: the manifest, then every member in order, as GNU tar writes them.
//!
//! Owner, mode and mtime come from the manifest, so that the archive does not depend on the machine, the
//! user or the umask. Hard links become files.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::slice::from_ref;

use rustix::io::Errno;
use tar::{Builder, EntryType, Header};

use crate::buildout::BUNDLE_MANIFEST;
use crate::disk::dir::{Dir, Stat};
use crate::egg::relocatable;
use crate::error::{Error, IoContext, Result};
use crate::util::hash::sha256::{Hashing, Sha256};
use crate::util::path_search::SoughtPath;
use crate::util::progress::Progress;

use super::manifest::{BundleEntry, EntryKind, Manifest};

/// How much is read at once, in bytes.
const BUFFER: usize = 1 << 18;
/// The longest target of a symlink that fits into a header.
const MAX_LINK: usize = 100;

/// Writes the archive of the buildout at `root`. `archive` is its path, for errors.
///
/// # Errors
/// [`Error::Changing`] if a file is not what the manifest says.
pub fn write(
    out: &mut dyn Write,
    manifest: &Manifest,
    root: &Dir,
    archive: &Path,
    progress: &dyn Progress,
) -> Result<()> {
    let mut tar = Builder::new(out);
    let text = manifest.encode();
    let mtime = manifest.entries.iter().map(|entry| entry.mtime).max().unwrap_or_default();
    let mut header = header(EntryType::Regular, 0o644, mtime, text.len() as u64);
    tar.append_data(&mut header, manifest.member(BUNDLE_MANIFEST), &text[..])
        .at("write", archive)?;
    for entry in &manifest.entries {
        append(&mut tar, manifest, entry, root, archive, progress)?;
    }
    tar.finish().at("write", archive)
}

/// The header of a member, without its name and its target.
pub fn header(kind: EntryType, mode: u32, mtime: u64, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(mtime);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_username("root").expect("it is short");
    header.set_groupname("root").expect("it is short");
    header
}

fn append(
    tar: &mut Builder<&mut dyn Write>,
    manifest: &Manifest,
    entry: &BundleEntry,
    root: &Dir,
    archive: &Path,
    progress: &dyn Progress,
) -> Result<()> {
    let member = manifest.member(&entry.path);
    let header = |kind, size| header(kind, entry.kind.mode(), entry.mtime, size);
    match &entry.kind {
        EntryKind::Directory => tar
            .append_data(&mut header(EntryType::Directory, 0), format!("{member}/"), io::empty())
            .at("write", archive),
        EntryKind::Symlink { target } => {
            let mut header = header(EntryType::Symlink, 0);
            let appended = if target.len() <= MAX_LINK {
                // Literally, with `./` and `//`.
                header
                    .set_link_name_literal(target)
                    .and_then(|()| tar.append_data(&mut header, member, io::empty()))
            } else {
                tar.append_link(&mut header, member, target)
            };
            appended.at("write", archive)
        }
        EntryKind::File { size, sha256, .. } => {
            let path = root.join(&entry.path);
            let file = open(root, &entry.path, *size)?;
            let mut content =
                Content { file: Hashing::new(&file), left: *size, failed: None, progress };
            let mut header = header(EntryType::Regular, *size);
            match tar.append_data(&mut header, member, &mut content) {
                Err(_) if let Some(source) = content.failed.take() => {
                    return match source.kind() {
                        ErrorKind::UnexpectedEof => Err(Error::Changing { path }),
                        _ => Err(Error::Io { action: "read", path, source }),
                    };
                }
                appended => appended.at("write", archive)?,
            }
            if content.file.finish().0 == *sha256 { Ok(()) } else { Err(Error::Changing { path }) }
        }
    }
}

/// Opens a file of the buildout at `root` that had this size when it was listed.
fn open(root: &Dir, path: &str, size: u64) -> Result<File> {
    let whole = root.join(path);
    let file = match root.read(path) {
        // It is a socket, or the file or a folder above it is a symlink now.
        Err(error)
            if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::NotADirectory)
                || Errno::from_io_error(&error) == Some(Errno::LOOP) =>
        {
            return Err(Error::Changing { path: whole });
        }
        file => file.at("open", &whole)?,
    };
    let found = Stat::of(&file).at("read", &whole)?;
    if !found.is_file() || found.len() != size {
        return Err(Error::Changing { path: whole });
    }
    Ok(file)
}

/// The digest of a file of the buildout at `root` that had this size when it was listed, and whether it
/// contains the path of the buildout outside of debugging information.
///
/// # Errors
/// [`Error::Changing`] if the file has changed since.
pub fn digest(
    root: &Dir,
    path: &str,
    size: u64,
    root_path: &SoughtPath,
    progress: &dyn Progress,
) -> Result<(Sha256, bool)> {
    let mut search = root_path.search();
    let mut content = Hashing::new(open(root, path, size)?);
    let whole = &root.join(path);
    let mut buffer = vec![0; BUFFER.min(usize::try_from(size).unwrap_or(BUFFER).max(1))];
    loop {
        match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                progress.advance(read as u64);
                search.add(&buffer[..read]);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            error => drop(error.at("read", whole)?),
        }
    }
    let (digest, length) = content.finish();
    if length != size {
        return Err(Error::Changing { path: whole.to_owned() });
    }
    let contains = search.finish()
        && relocatable::contains_any(open(root, path, size)?, from_ref(root_path))
            .at("read", whole)?;
    Ok((digest, contains))
}

/// Reads exactly as many bytes of a file as its header says.
struct Content<'a> {
    file: Hashing<&'a File>,
    left: u64,
    /// Why it cannot be read. The tar writer does not distinguish that from its own failures.
    failed: Option<io::Error>,
    progress: &'a dyn Progress,
}

impl Read for &mut Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        match self.file.read(&mut buffer[..most]) {
            Err(error) if error.kind() == ErrorKind::Interrupted => Err(error),
            Ok(0) => {
                self.failed = Some(ErrorKind::UnexpectedEof.into());
                Err(ErrorKind::UnexpectedEof.into())
            }
            Err(error) => {
                let kind = error.kind();
                self.failed = Some(error);
                Err(kind.into())
            }
            Ok(read) => {
                self.left -= read as u64;
                self.progress.advance(read as u64);
                Ok(read)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::util::progress::Silent;

    #[test]
    fn a_file_that_became_a_symlink_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("app");
        std::fs::create_dir_all(root.join("bin")).unwrap();
        std::fs::write(root.join("bin/run"), "text").unwrap();
        std::fs::create_dir(dir.path().join("elsewhere")).unwrap();
        std::fs::write(dir.path().join("elsewhere/run"), "else").unwrap();
        let opened = Dir::open(&root).unwrap();
        let path = SoughtPath::new(&root);
        let digest = || digest(&opened, "bin/run", 4, &path, &Silent);
        assert!(digest().is_ok());
        std::fs::remove_file(root.join("bin/run")).unwrap();
        symlink("../../elsewhere/run", root.join("bin/run")).unwrap();
        assert!(matches!(digest(), Err(Error::Changing { .. })));
        std::fs::remove_dir_all(root.join("bin")).unwrap();
        symlink("../elsewhere", root.join("bin")).unwrap();
        assert!(matches!(digest(), Err(Error::Changing { .. })));
    }

    #[test]
    fn a_buildout_that_became_a_symlink_is_not_entered() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        std::fs::create_dir(at("app")).unwrap();
        std::fs::create_dir(at("private")).unwrap();
        std::fs::write(at("app/file"), "mine").unwrap();
        std::fs::write(at("private/file"), "else").unwrap();
        let root = Dir::open(&at("app")).unwrap();
        let path = SoughtPath::new(&at("app"));
        let before = digest(&root, "file", 4, &path, &Silent).unwrap();
        std::fs::rename(at("app"), at("moved")).unwrap();
        symlink("private", at("app")).unwrap();
        assert_eq!(digest(&root, "file", 4, &path, &Silent).unwrap(), before);
    }
}
