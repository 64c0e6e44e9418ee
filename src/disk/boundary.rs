//! Whether a path leads inside a folder or out of it, with symlinks resolved as the kernel does.

use std::path::{Component, Path, PathBuf};

use crate::disk::MAX_PATH;
use crate::error::{IoContext, Result};

/// A folder, by its canonical path.
#[derive(Debug, Clone)]
pub struct Boundary {
    root: PathBuf,
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
        Ok(Self { root: root.canonicalize().at("open directory", root)? })
    }

    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a path leads. A relative path is relative to the folder `from`. A missing file is where it
    /// would be made.
    #[must_use]
    pub fn locate(&self, from: &Path, path: &Path) -> Location {
        let path = from.join(path);
        let mut here = path.as_path();
        let mut missing = Vec::new();
        let real = loop {
            if here.as_os_str().len() < MAX_PATH
                && let Ok(real) = here.canonicalize()
            {
                break real;
            }
            match (here.parent(), here.components().next_back()) {
                (Some(parent), Some(last)) => {
                    missing.push(last);
                    here = parent;
                }
                _ => break here.to_owned(),
            }
        };
        let real = normalized(&real, missing.into_iter().rev());
        match real.strip_prefix(&self.root) {
            Ok(inside) => Location::Inside(inside.to_owned()),
            Err(_) => Location::Outside(real),
        }
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

/// Appends components that do not exist, so none of them is a symlink.
fn normalized<'a>(path: &Path, more: impl Iterator<Item = Component<'a>>) -> PathBuf {
    let mut path = path.to_owned();
    for component in more {
        match component {
            Component::ParentDir => {
                path.pop();
            }
            Component::CurDir => {}
            component => path.push(component),
        }
    }
    path
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
