//! Eggs whose files are hard links to the outside, as uv installs them: `check --repair` makes copies.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use serde_json::Value;

use crate::support::{Sandbox, names_in, write};

const ALPHA: &str = "alpha-1.0-py3.11.egg";

/// A buildout `app` with an egg that the cache does not have. All its files are in the folder `uv` too.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.egg_with("alpha", "1.0", &[("pkg/a.py", b"a = 1\n"), ("pkg/run", b"#!/bin/sh\n")]);
    sandbox.egg("other", "1.0");
    sandbox.ok("add eggs/other-1.0-py3.11.egg");
    write(&sandbox.path("app/buildout.cfg"), b"[buildout]\nparts =\n");
    fs::create_dir_all(sandbox.path("app/eggs")).unwrap();
    fs::rename(sandbox.path("eggs").join(ALPHA), egg(&sandbox)).unwrap();
    let run = egg(&sandbox).join("pkg/run");
    fs::set_permissions(&run, fs::Permissions::from_mode(0o755)).unwrap();
    let time =
        fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH + std::time::Duration::new(7, 9));
    fs::File::open(&run).unwrap().set_times(time).unwrap();
    link_all(&egg(&sandbox), &sandbox.path("uv"));
    sandbox
}

fn egg(sandbox: &Sandbox) -> PathBuf {
    sandbox.path("app/eggs").join(ALPHA)
}

/// Makes a second name in `to` for every file.
fn link_all(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            link_all(&entry.path(), &to);
        } else {
            fs::hard_link(entry.path(), to).unwrap();
        }
    }
}

fn problems(sandbox: &Sandbox, options: &str) -> usize {
    let command = format!("check app {options}");
    let report: Value = sandbox.json(&command);
    report["problems"].as_array().unwrap().len()
}

#[test]
fn links_of_an_egg_that_is_not_cached_become_copies() {
    let sandbox = sandbox();
    let before = fs::metadata(sandbox.path("uv/pkg/run")).unwrap();
    sandbox.fails("check app", 4).says(&["hard-linked to a file outside the buildout"]);
    sandbox.ok("check app --repair");
    assert_eq!(problems(&sandbox, ""), 0);
    for path in ["alpha.py", "pkg/a.py", "pkg/run"] {
        let [kept, copied] =
            [sandbox.path("uv"), egg(&sandbox)].map(|egg| fs::read(egg.join(path)));
        assert_eq!(kept.unwrap(), copied.unwrap(), "{path}");
    }
    let after = fs::metadata(egg(&sandbox).join("pkg/run")).unwrap();
    assert_eq!((after.nlink(), after.mode()), (1, before.mode()));
    assert_eq!((after.mtime(), after.mtime_nsec()), (7, 9));
    assert_ne!(after.ino(), before.ino());
    assert_eq!(names_in(&sandbox.path("app/eggs")), [ALPHA], "nothing else is left there");
    fs::write(egg(&sandbox).join("pkg/a.py"), "a = 2\n").unwrap();
    assert_eq!(fs::read(sandbox.path("uv/pkg/a.py")).unwrap(), b"a = 1\n");
}

#[test]
fn a_zipped_egg_becomes_a_copy() {
    let sandbox = sandbox();
    let name = "zipped-1.0-py3.11.egg";
    sandbox.zipped_egg("zipped", "1.0");
    fs::hard_link(sandbox.path("eggs").join(name), sandbox.path("app/eggs").join(name)).unwrap();
    sandbox.ok("check app --repair");
    let [one, other] = ["eggs", "app/eggs"].map(|folder| sandbox.path(folder).join(name));
    assert_eq!(fs::read(&one).unwrap(), fs::read(&other).unwrap());
    assert_eq!(fs::metadata(&one).unwrap().nlink(), 1);
}

#[test]
fn links_in_an_eggs_directory_of_others_stay() {
    let sandbox = sandbox();
    fs::rename(sandbox.path("app/eggs"), sandbox.path("shared")).unwrap();
    let path = sandbox.path("shared").display().to_string();
    let configuration = format!("[buildout]\nparts =\neggs-directory = {path}\n");
    write(&sandbox.path("app/buildout.cfg"), configuration.as_bytes());
    sandbox.run("check app --repair");
    let file = sandbox.path("shared").join(ALPHA).join("pkg/a.py");
    assert_eq!(fs::metadata(file).unwrap().nlink(), 2);
}
