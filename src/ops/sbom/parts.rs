//! Native code in the parts of a buildout, which recipes have put there and no document lists.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use walkdir::WalkDir;

use crate::buildout::Buildout;
use crate::disk::files;
use crate::egg::native::Native;
use crate::error::Result;

/// The files with native code in `parts/` that are in no egg, relative to the buildout and sorted. A file that
/// cannot be read is not one of them.
pub fn native_files(buildout: &Buildout) -> Result<Vec<String>> {
    let eggs = buildout.eggs()?;
    let walk = WalkDir::new(&buildout.parts).sort_by_file_name().into_iter();
    let walk = walk.filter_entry(|entry| !eggs.iter().any(|egg| egg == entry.path())).flatten();
    let found: Vec<PathBuf> = walk
        .filter(|entry| entry.file_type().is_file())
        .map(walkdir::DirEntry::into_path)
        .collect();
    let native = found.into_par_iter().filter(|path| is_native(path));
    let short = |path: PathBuf| buildout.boundary.short(&path).to_string_lossy().into_owned();
    Ok(native.map(short).collect())
}

fn is_native(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    files::open_file(path).is_ok_and(|file| Native::inspect(&name, file).is_some())
}
