//! `check --repair` dies at every point: afterwards the egg is either the old or the new one, and
//! files that a user added to it are never lost.

use std::fs;
use std::path::PathBuf;

use super::checks::all_hold;
use super::operations::copy;
use super::tracer::{self, Plan};
use crate::counts::chosen;
use crate::support::{Sandbox, assert_same_tree, files_in, names_in, noise, skip, write};

/// The quick part tries one crash in this many.
const STRIDE: usize = 3;

const EGG: &str = "one-1.0-py3.11.egg";
const EGGS: &str = "app/eggs";
const LINE: &str = "check app --repair";

/// A buildout with an egg that a user has edited and added a file to.
fn drifted() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.egg_with("one", "1.0", &[("noise", &noise(300_000)), ("pkg/__init__.py", b"")]);
    sandbox.ok("add eggs");
    sandbox.ok(&format!("materialize --into {EGGS} --all"));
    write(&sandbox.path("app/buildout.cfg"), b"");
    let egg = sandbox.path(EGGS).join(EGG);
    write(&egg.join("pkg/hotfix.py"), b"mine");
    write(&egg.join("one.py"), b"changed = True\n");
    fs::remove_file(egg.join("pkg/__init__.py")).unwrap();
    sandbox
}

/// Every copy of the added file, wherever it is now.
fn hotfixes(sandbox: &Sandbox) -> Vec<PathBuf> {
    let all =
        names_in(&sandbox.path(EGGS)).into_iter().filter(|name| !name.starts_with(".eggcache-"));
    let files = all.flat_map(|name| files_in(&sandbox.path(EGGS).join(name)));
    files.filter(|path| path.ends_with("hotfix.py")).collect()
}

#[test]
fn a_crash_of_check_repair_loses_nothing() {
    if !tracer::is_permitted() {
        skip("processes cannot be traced here");
        return;
    }
    let prepared = drifted();
    let rehearsed = copy(&prepared);
    let trace = tracer::run(&rehearsed.eggcache(LINE), &rehearsed.path(""), Plan::Record).unwrap();
    assert_eq!(trace.code, Some(0), "{}", trace.stderr);
    let cases = chosen(0..trace.calls.len(), STRIDE);
    all_hold("crash", LINE, cases, |&at| {
        let sandbox = copy(&prepared);
        let trace =
            tracer::run(&sandbox.eggcache(LINE), &sandbox.path(""), Plan::Kill { at }).unwrap();
        assert_eq!(trace.code, None, "it did not die");
        let egg = sandbox.path(EGGS).join(EGG);
        let module = fs::read(egg.join("one.py")).unwrap();
        let is_old = module == b"changed = True\n";
        assert!(is_old || module == b"x = 1\n");
        assert_eq!(is_old, !egg.join("pkg/__init__.py").exists(), "neither the old nor the new");
        assert_eq!(hotfixes(&sandbox).len(), 1);
        sandbox.ok(LINE);
        assert_same_tree(&sandbox.path("eggs").join(EGG), &egg);
        let hotfixes = hotfixes(&sandbox);
        assert_eq!(hotfixes.len(), 1);
        assert_eq!(fs::read(&hotfixes[0]).unwrap(), b"mine");
        for name in names_in(&sandbox.path(EGGS)) {
            assert!(!name.starts_with(".eggcache-"), "{name}");
        }
    });
}
