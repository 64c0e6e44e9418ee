//! What other processes swap meanwhile, and what they put in place of a file.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use rustix::fs::{CWD, FileType, mknodat};

use super::*;

/// A directory with `a/file` and `a/b/file`, and `outside` beside it with `file` and `b/file`.
fn directory() -> (tempfile::TempDir, Dir) {
    let temp = tempfile::tempdir().unwrap();
    for folder in ["top/a/b", "outside/b"] {
        fs::create_dir_all(temp.path().join(folder)).unwrap();
        fs::write(temp.path().join(folder).join("file"), folder).unwrap();
        fs::write(temp.path().join(folder).join("../file"), folder).unwrap();
    }
    let top = Dir::open(&temp.path().join("top")).unwrap();
    (temp, top)
}

#[test]
fn symlinks_on_the_way_are_not_followed() {
    let (temp, top) = directory();
    let open = |path: &str| open_beneath(top.handle.as_fd(), path.as_ref(), READ, Mode::empty());
    let walk = |path: &str| resolve::walk(top.handle.as_fd(), path.as_ref(), READ, Mode::empty());
    for path in ["a", "a/b", "a/b/file", ".", "./a/./b"] {
        assert!(open(path).is_ok() && walk(path).is_ok(), "{path}");
    }
    for path in ["..", "a/../..", "a/b/../../../outside", "/etc", ""] {
        assert!(open(path).is_err(), "{path:?}");
        assert!(path.is_empty() || walk(path).is_err(), "{path:?}");
    }
    for (link, target) in [("l", "a"), ("up", ".."), ("out", "../outside")] {
        symlink(target, temp.path().join("top").join(link)).unwrap();
        for path in [link.to_owned(), format!("{link}/b"), format!("{link}/b/file")] {
            assert!(open(&path).is_err() && walk(&path).is_err(), "{path}");
        }
    }
}

#[test]
fn a_directory_that_became_a_symlink_is_never_entered() {
    let (temp, top) = directory();
    assert!(top.read("a/b/file").is_ok());
    fs::rename(temp.path().join("top/a"), temp.path().join("top/old")).unwrap();
    symlink("../outside", temp.path().join("top/a")).unwrap();
    let at = temp.path().join("top/a");
    let says = format!("{} is a symbolic link", at.display());
    let refused = |result: io::Result<()>| {
        assert_eq!(result.unwrap_err().to_string(), says);
    };
    refused(top.read("a/b/file").map(drop));
    refused(top.read_short("a/b/file", 100).map(drop));
    refused(top.subdir("a/b").map(drop));
    refused(top.stat("a/b/file").map(drop));
    refused(top.look("a/b/file").map(drop));
    refused(top.conform("a/b", top.rights().unwrap(), Kind::Directory));
    refused(top.create("a/b/new", 0o600).map(drop));
    refused(top.make_dir("a/b/new").map(drop));
    refused(top.rename("a/b/file", &top, "taken"));
    refused(top.rename("old/b/file", &top, "a/b/file"));
    refused(top.rename_new("a/b/file", &top, "taken"));
    refused(top.rename_new("old/b/file", &top, "a/b/new"));
    refused(top.remove_file("a/b/file"));
    refused(top.remove_all("a/b"));
    assert_eq!(top.subdir("a").unwrap_err().to_string(), "it is a symbolic link");
    assert_eq!(fs::read(temp.path().join("outside/b/file")).unwrap(), b"outside/b");
    assert_eq!(fs::read_dir(temp.path().join("outside/b")).unwrap().count(), 1);
    // The link itself can be removed, and what it leads to stays.
    top.remove_all("a").unwrap();
    assert!(temp.path().join("outside/b/file").exists());
}

#[test]
fn a_handle_stays_in_its_directory_when_the_name_becomes_a_symlink() {
    let (temp, top) = directory();
    let open = top.subdir("a/b").unwrap();
    fs::rename(temp.path().join("top/a/b"), temp.path().join("top/moved")).unwrap();
    symlink("../../outside/b", temp.path().join("top/a/b")).unwrap();
    assert_eq!(open.read_short("file", 100).unwrap(), b"top/a/b");
    open.remove_file("file").unwrap();
    assert!(temp.path().join("outside/b/file").exists());
}

#[test]
fn what_is_no_short_file_is_not_read() {
    let (temp, top) = directory();
    let at = |name: &str| temp.path().join("top").join(name);
    mknodat(CWD, at("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    drop(UnixListener::bind(at("socket")).unwrap());
    symlink("/dev/zero", at("zero")).unwrap();
    symlink("a/file", at("link")).unwrap();
    File::create(at("sparse")).unwrap().set_len(1 << 40).unwrap();
    for (name, says) in [
        ("fifo", "it is not a file"),
        ("socket", "it is not a file"),
        ("a", "it is not a file"),
        ("zero", "it is a symbolic link"),
        ("link", "it is a symbolic link"),
        ("sparse", "it has more than 100 bytes"),
    ] {
        assert_eq!(top.read_short(name, 100).unwrap_err().to_string(), says, "{name}");
    }
}

#[test]
fn a_file_with_a_second_name_keeps_its_mode() {
    let (temp, top) = directory();
    let outside = temp.path().join("outside/file");
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o600)).unwrap();
    fs::hard_link(&outside, temp.path().join("top/second")).unwrap();
    top.set_mode(0o2770).unwrap();
    let rights = top.rights().unwrap();
    let refused = top.conform("second", rights, Kind::File).unwrap_err().to_string();
    assert_eq!(refused, "it has another name (a hard link)");
    assert_eq!(outside.metadata().unwrap().mode() & 0o777, 0o600);
    top.conform("a", rights, Kind::Directory).unwrap();
    assert_eq!(top.stat("a").unwrap().mode() & 0o2070, 0o2070);
    top.conform("a/file", rights, Kind::File).unwrap();
    assert_eq!(top.stat("a/file").unwrap().mode() & 0o060, 0o060);
}

#[test]
fn a_whole_tree_is_removed_whatever_its_modes() {
    let (temp, top) = directory();
    let outside = temp.path().join("outside");
    symlink(&outside, temp.path().join("top/a/b/link")).unwrap();
    let deep = temp.path().join("top/a").join("x/".repeat(200));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("file"), "").unwrap();
    for (folder, mode) in [("top/a/b", 0o500), ("top/a/x/x/x", 0), ("top/a", 0o400)] {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(temp.path().join(folder), mode).unwrap();
    }
    top.remove_all("a").unwrap();
    assert!(top.find("a").unwrap().is_none());
    assert!(outside.join("b/file").exists());
}

#[test]
fn names_are_those_of_the_directory() {
    let (_temp, top) = directory();
    top.create("c", 0o600).unwrap();
    let mut names: Vec<_> = top.names().unwrap().map(Result::unwrap).collect();
    names.sort();
    assert_eq!(names, ["a", "c"]);
    let mut names = top.subdir("a").unwrap().names().unwrap().map(Result::unwrap);
    assert!(names.any(|name| name == "file"));
}

#[test]
fn a_new_name_replaces_a_file_or_fails() {
    let (_temp, top) = directory();
    let existing = top.rename_new("a/b/file", &top, "a/file").unwrap_err();
    assert_eq!(existing.kind(), ErrorKind::AlreadyExists);
    top.rename_new("a/b/file", &top, "a/new").unwrap();
    top.rename("a/new", &top.subdir("a").unwrap(), "file").unwrap();
    assert!(top.find("a/new").unwrap().is_none() && top.find("a/file").unwrap().is_some());
    for name in ["", ".", "..", "/", "a/.."] {
        assert!(top.remove_all(name).is_err(), "{name:?}");
    }
}
