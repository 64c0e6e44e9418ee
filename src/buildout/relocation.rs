//! What ties a buildout to its folder: the one rule of `bundle`, which asks before the buildout is
//! somewhere else, and of `check`, which asks afterwards.
//!
//! A file counts if it contains the path of the folder and the application reads it there. The scripts
//! of buildout name the sources of develop eggs themselves. What is in `develop-eggs` beside eggs is for the
//! next run of buildout, which writes it again: buildout makes that folder a site folder, so that Python
//! reads its `.pth` files, and scripts do not. Some scripts have it in `sys.path`, to find the metadata in it.
//!
//! An unpacked bundle knows from its manifest which folders its files name, and which of them count.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::disk::boundary::Location;
use crate::disk::files;
use crate::egg::bytecode;
use crate::error::OrLog;

use super::{BUNDLE_MANIFEST, Buildout, INSTALLED};

/// Longest manifest of a bundle that is read, in bytes: far longer than any real one.
pub const MAX_MANIFEST: u64 = 1 << 28;

/// How many folders a manifest may name: one for each time that a buildout was bundled somewhere else.
const MAX_FOLDERS: usize = 16;

/// Who reads the path of a buildout in one of its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    Application,
    /// Only the next run of buildout, which writes the file again, or of pip.
    NextRun,
    /// It is bytecode, in which Python corrects the path.
    Nobody,
}

/// The folders that the files of an unpacked bundle name. There are none in another buildout.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Unpacked {
    /// The only path at which the bundle works; `None` if it works anywhere.
    path: Option<PathBuf>,
    /// The files that contain that path and that count.
    bound: BTreeSet<PathBuf>,
    /// The folders that files may name in place of the one that they are in.
    folders: Vec<PathBuf>,
}

impl Unpacked {
    /// Those of the buildout in the folder `root`. A manifest that cannot be read names none.
    fn read(root: &Path) -> Self {
        let text = match files::read_short(&root.join(BUNDLE_MANIFEST), MAX_MANIFEST) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            text => text.or_log(),
        };
        let unpacked = text.and_then(|text| serde_json::from_slice(&text).or_log());
        let mut unpacked: Self = unpacked.unwrap_or_default();
        unpacked.folders.truncate(MAX_FOLDERS);
        unpacked
    }

    /// The folders that files may name in place of the one that they are in.
    #[must_use]
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }
}

impl Buildout {
    /// What the manifest says, if the buildout is an unpacked bundle.
    pub fn unpacked(&self) -> &Unpacked {
        self.unpacked.get_or_init(|| Unpacked::read(self.boundary.root()))
    }

    /// Who reads the path of the buildout in the file at `path`, which is relative to the buildout.
    #[must_use]
    pub fn reader_of(&self, path: &Path) -> Reader {
        let text = path.to_string_lossy();
        let extension = path.extension().unwrap_or_default();
        let is_for_next_run = || {
            let is_for_site = ["pth", "py"].iter().any(|it| extension == *it);
            let develop_eggs = self.boundary.short(&self.develop_eggs);
            path == Path::new(INSTALLED)
                || extension == "egg-link"
                || text.ends_with(".dist-info/direct_url.json")
                || is_for_site && path.parent() == Some(&develop_eggs)
        };
        if bytecode::is_bytecode(&text) {
            Reader::Nobody
        } else if is_for_next_run() {
            Reader::NextRun
        } else {
            Reader::Application
        }
    }

    /// The path inside that `file` means by a path outside: that in the folder in which a bundle was made, if
    /// only the next run of buildout reads it. `file` is relative to the buildout.
    #[must_use]
    pub fn meant_by(&self, file: &Path, outside: &Path) -> Option<PathBuf> {
        let folders = self.unpacked().folders.iter().filter(|folder| folder.parent().is_some());
        let mut within = folders.filter_map(|folder| outside.strip_prefix(folder).ok());
        let within = within.next().filter(|_| self.reader_of(file) == Reader::NextRun)?;
        let root = self.boundary.root();
        match self.boundary.locate(root, &root.join(within)) {
            Location::Inside(inside) => Some(inside),
            Location::Outside(_) => None,
        }
    }

    /// The files that tie an unpacked bundle to another folder than this one, and that folder. They may have
    /// changed since.
    pub fn bound_elsewhere(&self) -> impl Iterator<Item = (&Path, &Path)> {
        let elsewhere = self.unpacked().path.as_deref();
        let elsewhere = elsewhere.filter(|path| self.boundary.real(path) != self.boundary.root());
        let bound = self.unpacked().bound.iter();
        elsewhere
            .into_iter()
            .flat_map(move |path| bound.clone().map(move |it| (it.as_path(), path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buildout(manifest: &str) -> (tempfile::TempDir, Buildout) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("links")).unwrap();
        std::fs::create_dir_all(dir.path().join("src/foo")).unwrap();
        let configuration = "[buildout]\ndevelop-eggs-directory = links\n";
        std::fs::write(dir.path().join("buildout.cfg"), configuration).unwrap();
        std::fs::write(dir.path().join(BUNDLE_MANIFEST), manifest).unwrap();
        let buildout = Buildout::open(dir.path(), None).unwrap();
        (dir, buildout)
    }

    #[test]
    fn scripts_read_nothing_that_buildout_writes_for_its_next_run() {
        let (_dir, buildout) = buildout("{}");
        for (path, expected) in [
            (".installed.cfg", Reader::NextRun),
            ("links/foo.egg-link", Reader::NextRun),
            ("links/__editable__.foo-1.0.pth", Reader::NextRun),
            ("links/__editable___foo_1_0_finder.py", Reader::NextRun),
            ("links/foo-1.0.dist-info/direct_url.json", Reader::NextRun),
            ("eggs/foo-1.0.egg/foo-1.0.dist-info/direct_url.json", Reader::NextRun),
            ("links/custom-1.0.egg/custom.py", Reader::Application),
            ("links/custom-1.0.egg", Reader::Application),
            ("develop-eggs/foo.pth", Reader::Application),
            ("lib/python3.11/site-packages/foo.pth", Reader::Application),
            ("eggs/easy-install.pth", Reader::Application),
            ("parts/.installed.cfg", Reader::Application),
            ("buildout.cfg", Reader::Application),
            ("bin/app", Reader::Application),
            ("src/foo/__pycache__/foo.cpython-311.pyc", Reader::Nobody),
        ] {
            assert_eq!(buildout.reader_of(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn a_path_in_a_folder_that_the_manifest_names_means_one_inside() {
        let (_dir, buildout) = buildout(r#"{"folders": ["/", "/srv/app", "x"], "entries": [1]}"#);
        let meant = |file: &str, path: &str| buildout.meant_by(Path::new(file), Path::new(path));
        assert_eq!(meant("links/foo.egg-link", "/srv/app/src/foo"), Some("src/foo".into()));
        assert_eq!(meant("links/foo.egg-link", "/srv/app"), Some("".into()));
        assert_eq!(meant("links/foo.egg-link", "/srv/app-2/src/foo"), None);
        assert_eq!(meant("links/foo.egg-link", "/srv/src/foo"), None);
        assert_eq!(meant("bin/app", "/srv/app/src/foo"), None);
    }

    #[test]
    fn a_hostile_manifest_makes_little_work() {
        let manifest = serde_json::json!({
            "path": "/srv/app",
            "bound": vec!["bin/app"; 1000],
            "folders": vec!["/srv/app"; 1000],
        });
        let (_dir, buildout) = buildout(&manifest.to_string());
        assert_eq!(buildout.unpacked().folders().len(), MAX_FOLDERS);
        assert_eq!(buildout.bound_elsewhere().count(), 1);
    }

    #[test]
    fn a_damaged_manifest_names_nothing() {
        for manifest in ["", "[", r#"{"folders": 1}"#] {
            let (_dir, buildout) = buildout(manifest);
            assert!(buildout.unpacked().folders().is_empty());
            assert_eq!(buildout.bound_elsewhere().count(), 0);
        }
    }
}
