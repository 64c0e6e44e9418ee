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

/// The folder of a buildout, or the highest folder above it that is a working copy.
fn checkout_of(buildout: &Path, home: Option<&Path>) -> Option<PathBuf> {
    let buildout = buildout.canonicalize().ok()?;
    let home = home.and_then(|home| home.canonicalize().ok());
    let holds_home = |it: &Path| it == Path::new("/") || home.iter().any(|at| at.starts_with(it));
    let below_home = || buildout.ancestors().take_while(|it| !holds_home(it));
    let is_marked =
        |it: &&Path| MARKERS.iter().any(|name| it.join(name).symlink_metadata().is_ok());
    let marked = below_home().filter(is_marked).last();
    marked.or_else(|| below_home().next()).map(Path::to_owned)
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
}
