//! Whether a path leads inside a folder or out of it, with symlinks resolved as the kernel does.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::error::{IoContext, Result};

/// The most steps to resolve one path: many more than a path has that no attacker has made.
const MAX_STEPS: u64 = 10_000;
/// The most steps to resolve all paths of a buildout: those of a large one need a hundredth of them.
const MAX_ALL_STEPS: u64 = 8_000_000;
/// How many symlinks Linux follows for one path.
const MAX_LINKS: u32 = 40;

/// A folder, by its canonical path.
#[derive(Debug, Clone)]
pub struct Boundary {
    root: PathBuf,
    /// How many steps are left to resolve paths.
    steps: Arc<AtomicU64>,
    has_unresolved: Arc<AtomicBool>,
}

/// Where a path leads, in relation to a [`Boundary`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// Relative to the folder; empty for the folder itself.
    Inside(PathBuf),
    Outside(PathBuf),
}

impl Boundary {
    pub fn new(root: &Path) -> Result<Self> {
        Ok(Self {
            root: root.canonicalize().at("open directory", root)?,
            steps: Arc::new(AtomicU64::new(MAX_ALL_STEPS)),
            has_unresolved: Arc::default(),
        })
    }

    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a path leads. A relative path is relative to the folder `from`. A missing file is where it
    /// would be made. A path that takes too much work to resolve counts as outside.
    #[must_use]
    pub fn locate(&self, from: &Path, path: &Path) -> Location {
        let path = from.join(path);
        let budget = MAX_STEPS.min(self.steps.load(Ordering::Relaxed));
        let (real, left) = resolve(&path, budget);
        self.steps.fetch_sub(budget - left, Ordering::Relaxed);
        let Some(real) = real else {
            self.has_unresolved.store(true, Ordering::Relaxed);
            return Location::Outside(path);
        };
        match real.strip_prefix(&self.root) {
            Ok(inside) => Location::Inside(inside.to_owned()),
            Err(_) => Location::Outside(real),
        }
    }

    /// Whether a path was not resolved because of the work.
    #[must_use]
    pub fn has_unresolved(&self) -> bool {
        self.has_unresolved.load(Ordering::Relaxed)
    }

    /// The canonical path of a file or folder, which may be inside, outside or missing.
    #[must_use]
    pub fn real(&self, path: &Path) -> PathBuf {
        match self.locate(&self.root, path) {
            Location::Inside(inside) => self.root.join(inside),
            Location::Outside(real) => real,
        }
    }

    /// Whether a path leads inside; a missing file is where it would be made.
    #[must_use]
    pub fn holds(&self, path: &Path) -> bool {
        matches!(self.locate(&self.root, path), Location::Inside(_))
    }

    /// Whether a path begins with this folder, no matter where symlinks lead.
    #[must_use]
    pub fn has_name(&self, path: &Path) -> bool {
        path.starts_with(&self.root) && path.components().all(|it| it != Component::ParentDir)
    }

    /// A path for display: relative to the folder if it begins with it.
    #[must_use]
    pub fn short(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root).unwrap_or(path).to_owned()
    }
}

/// Resolves a path without `.` and `..` and symlinks, as far as it exists, in at most `steps` steps: one for
/// each name on the way that exists. A symlink to a missing file counts as missing. Returns the rest of the
/// steps, too; the path is `None` if they do not suffice.
fn resolve(path: &Path, mut steps: u64) -> (Option<PathBuf>, u64) {
    let mut real = PathBuf::from("/");
    // The names to follow, the next one last.
    let mut names = Vec::new();
    push_names(path, &mut names);
    // The symlink of the path that is followed, and how many names come after its target.
    let mut followed: Option<(PathBuf, usize)> = None;
    let mut links = 0;
    while let Some(left) = steps.checked_sub(1) {
        followed = followed.filter(|(_, after)| names.len() > *after);
        let Some(name) = names.pop() else { return (Some(real), steps) };
        steps = left;
        append(&mut real, &name);
        if name == ".." {
            continue;
        }
        match std::fs::read_link(&real) {
            Ok(target) if links < MAX_LINKS => {
                links += 1;
                followed = followed.or_else(|| Some((real.clone(), names.len())));
                real.pop();
                if target.is_absolute() {
                    real = PathBuf::from("/");
                }
                push_names(&target, &mut names);
            }
            // It exists and is no symlink.
            Err(error) if error.kind() == ErrorKind::InvalidInput => {}
            // Nothing below a missing file is a symlink. The kernel follows no more links than this.
            _ => {
                if let Some((link, after)) = followed {
                    real = link;
                    names.truncate(after);
                }
                names.iter().rev().for_each(|name| append(&mut real, name));
                return (Some(real), steps);
            }
        }
    }
    (None, 0)
}

fn append(path: &mut PathBuf, name: &OsStr) {
    if name == ".." {
        path.pop();
    } else {
        path.push(name);
    }
}

/// Adds the names of a path to the end, the first one last.
fn push_names(path: &Path, names: &mut Vec<OsString>) {
    let begin = names.len();
    names.extend(path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    }));
    names[begin..].reverse();
}

/// Whether a path is in a folder of the operating system, which every machine has.
#[must_use]
pub fn is_system(path: &Path) -> bool {
    const SYSTEM: [&str; 13] = [
        "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/run", "/sbin",
        "/sys", "/usr", "/var",
    ];
    path == Path::new("/tmp")
        || path == Path::new("/")
        || SYSTEM.iter().any(|system| path.starts_with(system))
}

/// Whether the loader searches this folder for libraries by default.
#[must_use]
pub fn is_library_folder(path: &Path) -> bool {
    ["/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib"]
        .iter()
        .any(|folder| path.starts_with(folder))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn paths_resolve_as_in_the_kernel() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(top.join("app/a/b")).unwrap();
        std::fs::create_dir_all(top.join("other/c")).unwrap();
        symlink("../other", top.join("app/out")).unwrap();
        symlink("a/b", top.join("app/in")).unwrap();
        symlink("app", top.join("alias")).unwrap();
        let boundary = Boundary::new(&top.join("alias")).unwrap();
        let locate = |path: &str| boundary.locate(boundary.root(), Path::new(path));
        let inside = |path: &str| Location::Inside(path.into());
        let outside = |path: &str| Location::Outside(top.join(path));
        assert_eq!(locate("a/b"), inside("a/b"));
        assert_eq!(locate("."), inside(""));
        assert_eq!(locate("in/x/../y"), inside("a/b/y"));
        // `..` after a symlink is the parent of its target.
        assert_eq!(locate("in/../x"), inside("a/x"));
        assert_eq!(locate("out/c"), outside("other/c"));
        assert_eq!(locate("out/missing"), outside("other/missing"));
        assert_eq!(locate("../app-2/x"), outside("app-2/x"));
        assert_eq!(locate("a/../.."), outside(""));
        assert!(
            boundary.has_name(&top.join("app/out/c")) && !boundary.holds(&top.join("app/out/c"))
        );
        assert!(!boundary.has_name(&top.join("app/../other/c")));
        // A folder has more names than its canonical one.
        assert_eq!(locate(top.join("alias/a").to_str().unwrap()), inside("a"));
        assert_eq!(locate(top.join("alias/new/x").to_str().unwrap()), inside("new/x"));
    }

    #[test]
    fn a_loop_of_symlinks_is_inside_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        symlink("b", dir.path().join("a")).unwrap();
        symlink("a", dir.path().join("b")).unwrap();
        let boundary = Boundary::new(dir.path()).unwrap();
        assert!(boundary.holds(&boundary.root().join("a/c")));
    }

    #[test]
    fn the_work_to_resolve_paths_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("x")).unwrap();
        // 39 links with long targets, each of which ends in the next link, and a long path behind them.
        for link in 0..39 {
            let target = format!("{}l{}", "x/../".repeat(799), link + 1);
            symlink(target, dir.path().join(format!("l{link}"))).unwrap();
        }
        symlink("x", dir.path().join("l39")).unwrap();
        let boundary = Boundary::new(dir.path()).unwrap();
        let path = boundary.root().join(format!("l0/{}q", "../x/".repeat(700)));
        assert_eq!(boundary.locate(boundary.root(), &path), Location::Outside(path.clone()));
        assert!(boundary.has_unresolved());
        assert_eq!(boundary.steps.load(Ordering::Relaxed), MAX_ALL_STEPS - MAX_STEPS);
        assert!(boundary.holds(&boundary.root().join("x/y")), "others are resolved");
        boundary.steps.store(2, Ordering::Relaxed);
        assert!(!boundary.holds(&boundary.root().join("x/y")), "all paths have one bound");
    }

    #[test]
    fn system_folders_match_whole_names_only() {
        for path in ["/usr/share/x", "/etc/passwd", "/dev/null", "/tmp", "/"] {
            assert!(is_system(Path::new(path)), "{path}");
        }
        for path in ["/tmp/x", "/srv/eggs", "/opt/app", "/home/me", "/user"] {
            assert!(!is_system(Path::new(path)), "{path}");
        }
        assert!(is_library_folder(Path::new("/usr/lib/x86_64-linux-gnu")));
        assert!(!is_library_folder(Path::new("/usr/local/lib64")));
    }
}
