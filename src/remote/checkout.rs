//! Caches that came with a checkout.
//!
//! A checkout can bring a cache, with remotes, and name it in its configuration. All its files belong to
//! the user who has cloned it. So owner and mode do not show who has chosen these remotes, but the place
//! does: a cache inside of the checkout. The remotes of such a cache are foreign, unless the user trusts the
//! cache by name.

use std::path::{Path, PathBuf};

use crate::cache::trust::Trust;
use crate::error::{Exposure, Owner};
use crate::remote::config::{FILE_NAME, Foreign, Remote};

/// Entries in the root of a working copy of a version control system.
const MARKERS: [&str; 6] = [".git", ".hg", ".svn", ".bzr", "_darcs", ".jj"];

/// The configuration of a buildout.
const BUILDOUT: &str = "buildout.cfg";

/// Marks the remotes of the cache at `root`, by its canonical path, as foreign if the cache is inside of
/// the checkout of a buildout. The home directory of the user is no checkout.
pub fn mark_remotes(
    remotes: &mut [Remote],
    root: &Path,
    buildout: &Path,
    home: Option<&Path>,
    trust: &Trust,
) {
    let Some(checkout) = checkout_of(buildout, home) else { return };
    if !root.starts_with(checkout) || trust.covers(root) {
        return;
    }
    let owner = Owner::of_entry(&root.join(FILE_NAME));
    let foreign = Foreign { exposure: Exposure::Checkout, owner };
    for remote in remotes.iter_mut().filter(|remote| remote.foreign.is_none()) {
        remote.foreign = Some(foreign.clone());
    }
}

/// The checkout that has the cache at `root` inside, so that its buildouts take the cache's remotes for those
/// of somebody else. The cache may not exist yet. Without a version control system it is a folder with a `buildout.cfg`.
#[must_use]
pub fn around(root: &Path, home: Option<&Path>, trust: &Trust) -> Option<PathBuf> {
    let root = std::path::absolute(root).ok()?;
    if root.canonicalize().is_ok_and(|root| trust.covers(&root)) {
        return None;
    }
    let existing = root.ancestors().find_map(|it| it.canonicalize().ok())?;
    let folders = below_home(&existing, home);
    let has_buildout = |it: &&PathBuf| it.join(BUILDOUT).is_file();
    highest_marked(&folders).or_else(|| folders.iter().find(has_buildout)).cloned()
}

/// The folder of a buildout, or the highest folder above it that is a working copy.
fn checkout_of(buildout: &Path, home: Option<&Path>) -> Option<PathBuf> {
    let folders = below_home(&buildout.canonicalize().ok()?, home);
    highest_marked(&folders).or(folders.first()).cloned()
}

/// A folder and those above it, up to the home directory of the user, which is not one of them.
fn below_home(folder: &Path, home: Option<&Path>) -> Vec<PathBuf> {
    let home = home.and_then(|home| home.canonicalize().ok());
    let holds_home = |it: &Path| it == Path::new("/") || home.iter().any(|at| at.starts_with(it));
    folder.ancestors().take_while(|it| !holds_home(it)).map(Path::to_owned).collect()
}

/// The last folder that is a working copy.
fn highest_marked(folders: &[PathBuf]) -> Option<&PathBuf> {
    let is_marked =
        |it: &&PathBuf| MARKERS.iter().any(|name| it.join(name).symlink_metadata().is_ok());
    folders.iter().rfind(is_marked)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_checkout_of_a_buildout_is_never_the_home_directory() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().canonicalize().unwrap().join("home");
        let buildout = home.join("src/app/deploy");
        fs::create_dir_all(&buildout).unwrap();
        let found = |folder: &Path| checkout_of(folder, Some(&home));
        assert_eq!(found(&buildout), Some(buildout.clone()));
        fs::create_dir(home.join(".git")).unwrap();
        assert_eq!(found(&buildout), Some(buildout.clone()));
        fs::write(home.join("src/app/.git"), "gitdir: elsewhere").unwrap();
        fs::create_dir(buildout.join(".hg")).unwrap();
        assert_eq!(found(&buildout), Some(home.join("src/app")));
        for folder in [&home, dir.path(), Path::new("/"), &home.join("missing")] {
            assert_eq!(found(folder), None, "{}", folder.display());
        }
    }

    #[test]
    fn remotes_of_a_cache_in_a_checkout_are_foreign_unless_the_user_trusts_it() {
        let dir = tempfile::tempdir().unwrap();
        let app = dir.path().canonicalize().unwrap().join("app");
        fs::create_dir_all(app.join("c")).unwrap();
        fs::create_dir(app.with_file_name("cache")).unwrap();
        let is_foreign = |root: &Path, trust: &Trust| {
            let mut remotes = [Remote::new("x", "s3://bucket").unwrap()];
            mark_remotes(&mut remotes, root, &app, None, trust);
            remotes[0].foreign.is_some()
        };
        let trust = Trust::default();
        assert!(is_foreign(&app.join("c"), &trust) && is_foreign(&app, &trust));
        assert!(!is_foreign(&app.with_file_name("cache"), &trust));
        assert!(!is_foreign(&app.join("c"), &Trust::default().all()));
    }

    #[test]
    fn the_checkout_around_a_cache_is_a_working_copy_or_has_a_buildout() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().canonicalize().unwrap();
        let cache = home.join("src/app/cache");
        fs::create_dir_all(&cache).unwrap();
        let found = |trust: &Trust| around(&cache, Some(&home), trust);
        assert_eq!(found(&Trust::default()), None);
        fs::write(home.join("src/app/buildout.cfg"), "").unwrap();
        assert_eq!(found(&Trust::default()), Some(home.join("src/app")));
        fs::create_dir(home.join("src/.git")).unwrap();
        assert_eq!(found(&Trust::default()), Some(home.join("src")));
        assert_eq!(found(&Trust::default().all()), None);
    }
}
