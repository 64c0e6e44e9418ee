//! The text files of a buildout: its scripts, and the configuration files in its parts.
//!
//! Each file is read once, and only its references are kept: parts can contain any number of files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use walkdir::WalkDir;

use crate::buildout::script::{Script, egg_names};
use crate::buildout::{self, Buildout};
use crate::disk::boundary::Boundary;
use crate::disk::files;
use crate::error::Result;

/// Longest text that is read, in bytes.
const MAX_TEXT: u64 = 1 << 20;
/// Extensions of configuration files in `parts/`. Every file below a folder `bin` or `etc` is one, too.
const CONFIGURATIONS: [&str; 11] =
    ["cfg", "conf", "ini", "json", "pth", "py", "sh", "toml", "xml", "yaml", "yml"];

/// A text file and its references.
#[derive(Debug)]
pub struct Text {
    /// Relative to the buildout.
    pub short: PathBuf,
    pub path: PathBuf,
    /// File names of eggs anywhere in the text.
    pub eggs: BTreeSet<String>,
    pub script: Script,
}

/// The scripts of a buildout.
pub fn scripts(buildout: &Buildout) -> Result<Vec<Text>> {
    let folder = &buildout.bin;
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let is_file = |path: &PathBuf| path.symlink_metadata().is_ok_and(|found| found.is_file());
    let files = buildout::entries(folder)?.into_iter().filter(is_file).collect();
    Ok(read(&buildout.boundary, files))
}

/// The configuration files and scripts in the parts of a buildout.
#[must_use]
pub fn of_parts(buildout: &Buildout) -> Vec<Text> {
    let walk = WalkDir::new(&buildout.parts).sort_by_file_name().into_iter().flatten();
    let files = walk.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path);
    read(&buildout.boundary, files.filter(|path| is_configuration(path)).collect())
}

fn is_configuration(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
    CONFIGURATIONS.contains(&extension) || folder == "bin" || folder == "etc"
}

/// Reads the files that are text and not too long.
fn read(boundary: &Boundary, files: Vec<PathBuf>) -> Vec<Text> {
    files.into_par_iter().filter_map(|path| read_text(boundary, path)).collect()
}

fn read_text(boundary: &Boundary, path: PathBuf) -> Option<Text> {
    let content = String::from_utf8(files::read_short(&path, MAX_TEXT).ok()?).ok()?;
    let script = (!content.contains('\0')).then(|| Script::parse(&content))?;
    let eggs = egg_names(&content).map(str::to_owned).collect();
    Some(Text { short: boundary.short(&path), path, eggs, script })
}
