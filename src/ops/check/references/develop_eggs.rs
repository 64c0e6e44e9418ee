//! Develop eggs: `.egg-link` files, and the `.pth` files beside them and in eggs.

use std::path::Path;

use crate::buildout::{self, Buildout, is_egg, path_files};
use crate::disk::boundary::Location;
use crate::disk::files;
use crate::error::Result;

use crate::ops::check::report::{Finding, FindingKind, Findings};

/// Longest `.pth` file or `.egg-link` that is read, in bytes.
const MAX_LENGTH: u64 = 1 << 20;

/// Adds the links to projects, and the `.pth` files beside them.
pub fn add_develop_eggs(buildout: &Buildout, found: &mut Findings) -> Result<()> {
    let folder = &buildout.develop_eggs;
    if !folder.is_dir() {
        return Ok(());
    }
    for path in buildout::entries(folder)? {
        if path.extension().is_some_and(|extension| extension == "egg-link") {
            add_egg_link(buildout, folder, &path, found);
        }
    }
    add_pth_files(buildout, folder, found)
}

fn add_egg_link(buildout: &Buildout, folder: &Path, path: &Path, found: &mut Findings) {
    let short = buildout.boundary.short(path);
    let (is_problem, what) = match files::read_short(path, MAX_LENGTH) {
        Ok(text) => judge_egg_link(buildout, folder, &short, &String::from_utf8_lossy(&text)),
        Err(error) => (true, format!("cannot be read: {error}")),
    };
    let list = if is_problem { &mut found.problems } else { &mut found.notes };
    list.push(Finding::new(FindingKind::DevelopEgg, &short, what));
}

/// The finding about an `.egg-link` with this text, and whether it is a problem.
fn judge_egg_link(buildout: &Buildout, folder: &Path, short: &Path, text: &str) -> (bool, String) {
    let Some(target) = path_files::egg_link_target(text) else {
        return (true, "contains no path".to_owned());
    };
    let boundary = &buildout.boundary;
    let inside = match boundary.locate(folder, Path::new(target)) {
        Location::Inside(inside) => inside,
        Location::Outside(real) => match buildout.meant_by(short, &real) {
            Some(inside) => inside,
            None => return (true, format!("points to {}, outside the buildout", real.display())),
        },
    };
    if boundary.root().join(&inside).exists() {
        (false, format!("develop egg in {}", inside.display()))
    } else {
        (true, format!("points to {target}, which does not exist"))
    }
}

/// Adds the `.pth` files directly in a folder and in its eggs.
pub fn add_pth_files(buildout: &Buildout, folder: &Path, found: &mut Findings) -> Result<()> {
    for path in buildout::entries(folder)? {
        if is_pth(&path) {
            add_pth_file(buildout, &path, None, found);
        } else if is_egg(&path) && path.is_dir() {
            let egg = path.file_name().map(|name| name.to_string_lossy());
            let entries = buildout::entries(&path).unwrap_or_default();
            for path in entries.into_iter().filter(|path| is_pth(path)) {
                add_pth_file(buildout, &path, egg.as_deref(), found);
            }
        }
    }
    Ok(())
}

fn is_pth(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "pth")
}

fn add_pth_file(buildout: &Buildout, path: &Path, egg: Option<&str>, found: &mut Findings) {
    let boundary = &buildout.boundary;
    let short = boundary.short(path);
    let mut add = |kind, what: String| {
        found.problems.push(Finding::new(kind, &short, what).in_egg(egg));
    };
    let text = match files::read_short(path, MAX_LENGTH) {
        Ok(text) => text,
        Err(error) => return add(FindingKind::Incomplete, format!("cannot be read: {error}")),
    };
    let folder = path.parent().unwrap_or(path);
    for line in path_files::pth_paths(&String::from_utf8_lossy(&text)) {
        if let Location::Outside(real) = boundary.locate(folder, Path::new(line))
            && buildout.meant_by(&short, &real).is_none()
        {
            add(FindingKind::Path, format!("adds {}, outside the buildout", real.display()));
        }
    }
}
