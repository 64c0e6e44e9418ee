//! The eggs at a path: an egg, those of an eggs directory, or those of a buildout.

use std::path::{Path, PathBuf};

use crate::buildout::{self, Buildout, is_buildout, is_egg, is_temporary, layouts};
use crate::error::{Error, IoContext, Result};

/// A path that may be added.
#[derive(Debug)]
pub struct Offered {
    pub path: PathBuf,
    /// Why it is skipped without being read.
    pub skipped: Option<&'static str>,
}

/// The eggs at `path`, and paths beside them that are skipped.
///
/// # Errors
/// [`Error::UnsoundEgg`] if a folder is not an egg and contains none.
pub fn eggs_at(path: &Path) -> Result<Vec<Offered>> {
    let metadata = path.symlink_metadata().at("read", path)?;
    if is_egg(path) || is_egg_link(path) || !(metadata.is_dir() || path.is_dir()) {
        return Ok(vec![Offered { path: path.to_owned(), skipped: None }]);
    }
    let mut eggs = Vec::new();
    for folder in layouts(path)? {
        eggs.extend(eggs_in(&folder)?);
    }
    if eggs.is_empty() && is_buildout(path) {
        eggs = eggs_of(&Buildout::open(path, None)?)?;
    }
    if eggs.is_empty() {
        let reason = "it is neither an egg nor a folder with eggs (directly, in its v5/, or in a \
                      folder for an ABI as cp311/), nor a buildout that has any";
        return Err(Error::UnsoundEgg { path: path.to_owned(), reason: reason.into() });
    }
    Ok(eggs)
}

fn eggs_in(folder: &Path) -> Result<Vec<Offered>> {
    let offered = |path: PathBuf| {
        let skipped = is_temporary(&path).then_some("left by an interrupted installation");
        let is_offered = skipped.is_some() || is_egg(&path) || is_egg_link(&path);
        is_offered.then_some(Offered { path, skipped })
    };
    Ok(buildout::entries(folder)?.into_iter().filter_map(offered).collect())
}

fn eggs_of(buildout: &Buildout) -> Result<Vec<Offered>> {
    let mut eggs = Vec::new();
    for folder in &buildout.eggs_directories {
        eggs.extend(eggs_in(folder)?);
    }
    if buildout.develop_eggs.is_dir() {
        for Offered { path, .. } in eggs_in(&buildout.develop_eggs)? {
            let reason = if is_egg_link(&path) {
                "a develop egg, which stays with its project"
            } else {
                "a custom build with unknown options"
            };
            eggs.push(Offered { path, skipped: Some(reason) });
        }
    }
    Ok(eggs)
}

fn is_egg_link(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "egg-link")
}
