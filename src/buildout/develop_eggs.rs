//! The develop eggs of a buildout: projects in folders, to which links in `develop-eggs/` lead.

use std::path::{Component, Path, PathBuf};

use crate::buildout::{self, Buildout, path_files};
use crate::disk::boundary::Boundary;
use crate::disk::files;
use crate::error::{IoContext, Result};
use crate::util::hash::is_lower_hex;

/// Longest `.egg-link` that is read, in bytes.
const MAX_LINK: u64 = 1 << 16;
/// Longest file of a git repository that is read, in bytes. `packed-refs` has a line for each branch and tag.
const MAX_REFS: u64 = 16 << 20;

/// A develop egg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevelopEgg {
    /// The name of the link, without its extension.
    pub name: String,
    pub link: PathBuf,
    /// The folder that has its metadata.
    pub folder: PathBuf,
}

impl Buildout {
    /// The develop eggs whose links name a folder, sorted by the path of the link.
    pub fn develop_eggs(&self) -> Result<Vec<DevelopEgg>> {
        if !self.develop_eggs.is_dir() {
            return Ok(Vec::new());
        }
        let mut links = buildout::entries(&self.develop_eggs)?;
        links.retain(|path| path.extension().is_some_and(|extension| extension == "egg-link"));
        let found: Result<Vec<_>> = links.into_iter().map(develop_egg).collect();
        Ok(found?.into_iter().flatten().collect())
    }
}

fn develop_egg(link: PathBuf) -> Result<Option<DevelopEgg>> {
    let text = files::read_short(&link, MAX_LINK).at("read", &link)?;
    let text = String::from_utf8_lossy(&text);
    let Some(target) = path_files::egg_link_target(&text) else { return Ok(None) };
    let folder = link.parent().unwrap_or(&link).join(target);
    let name = link.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Some(DevelopEgg { name, link, folder }))
}

impl DevelopEgg {
    /// The git commit that is checked out in its folder, or in the next one above it with a repository. Only a
    /// repository inside the buildout counts. Git is not run, so changes since that commit do not show.
    #[must_use]
    pub fn commit(&self, boundary: &Boundary) -> Option<String> {
        let folder = boundary.real(&self.folder);
        let inside = folder.ancestors().take_while(|it| it.starts_with(boundary.root()));
        let repository =
            inside.map(|it| it.join(".git")).find(|it| it.symlink_metadata().is_ok())?;
        // A file leads to the repository of a worktree or submodule, which is elsewhere.
        let is_folder = repository.symlink_metadata().is_ok_and(|found| found.is_dir());
        if is_folder { checked_out(&repository) } else { None }
    }
}

/// The commit that `HEAD` of a repository names, if it is a SHA-1.
fn checked_out(repository: &Path) -> Option<String> {
    let read = |path: &Path| {
        let text = files::read_short(&repository.join(path), MAX_REFS).ok()?;
        String::from_utf8(text).ok()
    };
    let head = read(Path::new("HEAD"))?;
    let Some(branch) = head.strip_prefix("ref:").map(str::trim) else { return commit(&head) };
    let path = Path::new(branch);
    let is_plain = path.components().all(|it| matches!(it, Component::Normal(_)));
    if !is_plain || !branch.starts_with("refs/") {
        return None;
    }
    let packed = || {
        let packed = read(Path::new("packed-refs"))?;
        let mut lines = packed.lines().filter_map(|line| line.split_once(' '));
        lines.find(|(_, name)| *name == branch).and_then(|(text, _)| commit(text))
    };
    read(path).and_then(|text| commit(&text)).or_else(packed)
}

fn commit(text: &str) -> Option<String> {
    let text = text.trim();
    (text.len() == 40 && is_lower_hex(text)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "1111111111111111111111111111111111111111";
    const TWO: &str = "2222222222222222222222222222222222222222";

    /// The commit of a develop egg in `src/own` of a buildout with these files.
    fn commit_with(files: &[(&str, &str)]) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("app");
        for (path, content) in [("src/own/setup.py", "")].iter().chain(files) {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let boundary = Boundary::new(&root).unwrap();
        let link = root.join("develop-eggs/own.egg-link");
        DevelopEgg { name: "own".into(), link, folder: root.join("src/own") }.commit(&boundary)
    }

    #[test]
    fn the_commit_of_a_develop_egg_is_read_from_its_repository() {
        let main = "ref: refs/heads/main\n";
        let packed = format!("# pack-refs with: peeled\n{ONE} refs/heads/main\n^{TWO}\n");
        for (files, expected) in [
            (&[("src/own/.git/HEAD", ONE)][..], Some(ONE)),
            (&[(".git/HEAD", ONE)], Some(ONE)),
            (&[("src/own/.git/HEAD", ONE), (".git/HEAD", TWO)], Some(ONE)),
            (&[(".git/HEAD", main), (".git/refs/heads/main", ONE)], Some(ONE)),
            (&[(".git/HEAD", main), (".git/packed-refs", &packed)], Some(ONE)),
            (
                &[
                    (".git/HEAD", main),
                    (".git/packed-refs", &packed),
                    (".git/refs/heads/main", TWO),
                ],
                Some(TWO),
            ),
            // Before the first commit, with a path that leaves the folder, and in a worktree.
            (&[(".git/HEAD", main)], None),
            (&[(".git/HEAD", "ref: refs/../../x"), ("x", ONE)], None),
            (&[("src/own/.git", "gitdir: ../../x"), (".git/HEAD", ONE)], None),
            (&[("../.git/HEAD", ONE)], None),
            (&[], None),
        ] {
            assert_eq!(commit_with(files).as_deref(), expected, "{files:?}");
        }
    }
}
