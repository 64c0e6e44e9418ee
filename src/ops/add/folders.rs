//! Which eggs directories belong to a zc.buildout older than 5. An egg of a source distribution looks the same
//! there as in newer ones.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use crate::buildout::{entries, is_egg, is_in_layout, is_layout};
use crate::egg::key::EggKey;
use crate::egg::layout::{LAST_GENERATION, METADATA_NAMED};

/// Folders of eggs that an older zc.buildout has made.
#[derive(Debug)]
pub struct OlderFolders(HashSet<PathBuf>);

impl OlderFolders {
    /// Looks at the folders of these eggs, each once.
    pub fn of(eggs: &[PathBuf]) -> Self {
        let folders: BTreeSet<&Path> = eggs.iter().map(|egg| folder_of(egg)).collect();
        Self(folders.into_iter().filter(|it| is_older(it)).map(Path::to_owned).collect())
    }

    pub fn contains(&self, egg: &Path) -> bool {
        self.0.contains(folder_of(egg))
    }
}

/// Gives a key that was derived from the content of an egg the generation of an older folder.
pub fn correct(key: &mut EggKey) {
    if key.generation == LAST_GENERATION {
        key.generation = METADATA_NAMED;
    }
}

fn folder_of(egg: &Path) -> &Path {
    let parent = egg.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// Whether eggs of zc.buildout 4 or older are in a folder: it is not in a `v5`, and has one beside its eggs
/// or an egg with `EGG-INFO`.
fn is_older(folder: &Path) -> bool {
    let Ok(folder) = folder.canonicalize() else { return false };
    if is_in_layout(&folder) {
        return false;
    }
    let is_evidence = |path: &PathBuf| {
        is_layout(path) && path.is_dir() || is_egg(path) && path.join("EGG-INFO").is_dir()
    };
    entries(&folder).is_ok_and(|entries| entries.iter().any(is_evidence))
}
