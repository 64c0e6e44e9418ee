//! The archive file: its path and format, and writing it.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::buildout::Buildout;
use crate::disk::dir::Dir;
use crate::disk::files;
use crate::disk::permissions;
use crate::disk::temp::Temp;
use crate::error::{Error, IoContext, Result};
use crate::util::hash::sha256::{Hashing, Sha256};
use crate::util::progress::{Progress, Unit};

use super::manifest::{BundleEntry, EntryKind, Manifest};
use super::select::Rules;
use super::{archive, zstd_frames};

/// The format of an archive, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Tar,
    TarZst,
}

pub fn format_of(output: &Path) -> Result<Format> {
    let name = output.file_name().unwrap_or_default().to_string_lossy();
    if name.ends_with(".tar.zst") {
        Ok(Format::TarZst)
    } else if name.ends_with(".tar") {
        Ok(Format::Tar)
    } else {
        let output = output.display();
        Err(Error::Usage(format!("{output} ends in neither .tar.zst nor .tar")))
    }
}

/// The folder in the archive.
pub fn prefix(wanted: Option<&str>, root: &Path) -> Result<String> {
    let Some(prefix) = wanted.or_else(|| root.file_name()?.to_str()) else {
        return Err(Error::NoPrefix { path: root.to_owned() });
    };
    let parts: Vec<&str> =
        prefix.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if prefix.starts_with('/') || parts.contains(&"..") {
        let reason = "the folder in the archive must be a relative path without `..`";
        return Err(Error::Usage(format!("{prefix}: {reason}")));
    }
    Ok(parts.join("/"))
}

/// The canonical path of the archive.
///
/// # Errors
/// [`Error::Usage`] if the archive would contain itself.
pub fn path(output: &Path, buildout: &Buildout, rules: &Rules) -> Result<PathBuf> {
    let name = output.file_name().unwrap_or_default();
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let output = folder.canonicalize().at("open directory", folder)?.join(name);
    if let Ok(within) = output.strip_prefix(buildout.boundary.root())
        && rules.why_not(&within.to_string_lossy()).is_none()
    {
        return Err(Error::Usage(format!(
            "{} is inside the buildout that goes into it",
            output.display()
        )));
    }
    Ok(output)
}

/// Where the archive is written.
#[derive(Debug)]
pub struct Destination {
    pub path: PathBuf,
    pub format: Format,
}

impl Destination {
    /// Writes the archive under a temporary name, then renames it. Returns its digest and length.
    pub fn write(
        &self,
        manifest: &Manifest,
        root: &Dir,
        progress: &dyn Progress,
    ) -> Result<(Sha256, u64)> {
        let folder = self.path.parent().unwrap_or(&self.path);
        let size = |entry: &BundleEntry| match entry.kind {
            EntryKind::File { size, .. } => size,
            _ => 0,
        };
        progress.begin("packing", manifest.entries.iter().map(size).sum(), Unit::Bytes);
        let temp = Temp::file_at(folder)?;
        let mut out = Hashing::new(temp.handle());
        self.write_to(&mut out, manifest, root, progress)?;
        progress.end();
        let written = out.finish();
        // The mode of a new file of this user: the temporary file is for its owner alone.
        let mode = 0o666 & !permissions::umask();
        let handle: &File = temp.handle();
        handle
            .set_permissions(Permissions::from_mode(mode | 0o600))
            .and_then(|()| handle.sync_all())
            .and_then(|()| temp.persist_at(&self.path))
            .at("write", &self.path)?;
        files::sync_dir(folder)?;
        Ok(written)
    }

    fn write_to(
        &self,
        mut out: &mut impl Write,
        manifest: &Manifest,
        root: &Dir,
        progress: &dyn Progress,
    ) -> Result<()> {
        let path = &self.path;
        match self.format {
            Format::Tar => {
                let mut buffered = io::BufWriter::with_capacity(1 << 20, &mut out);
                archive::write(&mut buffered, manifest, root, path, progress)?;
                buffered.flush().at("write", path)
            }
            Format::TarZst => {
                let produce =
                    |to: &mut dyn Write| archive::write(to, manifest, root, path, progress);
                let failed = |source| Error::Io { action: "write", path: path.clone(), source };
                zstd_frames::compress(&mut out, produce, failed)
            }
        }
    }
}
