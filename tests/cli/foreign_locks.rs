//! Every user who can read a directory can lock it with `flock`. No such lock delays a buildout.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use assert_cmd::Command;
use serde_json::{Value, json};

use crate::serve::{Server, opening_with};
use crate::support::{Sandbox, files_in, host, names_in, write};

/// More than a command takes, and less than anybody waits for a lock.
const HANGS: Duration = Duration::from_mins(2);

const EGG: &str = "foo-1.0-py3.11.egg";

/// A sandbox with a torn copy in `out`, which is checked next.
fn torn() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.egg_with("foo", "1.0", &[("text.py", &[b'x'; 5000])]);
    sandbox.ok("add eggs");
    sandbox.ok("materialize --into out --all");
    std::fs::remove_file(sandbox.path("out").join(EGG).join("text.py")).unwrap();
    for path in files_in(&sandbox.path("cache/copies")) {
        let mut record: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        record["boot"] = "another".into();
        write(&path, record.to_string().as_bytes());
    }
    sandbox
}

#[test]
fn a_locked_eggs_directory_is_checked_for_torn_copies() {
    for is_exclusive in [true, false] {
        let sandbox = torn();
        let foreign = File::open(sandbox.path("out")).unwrap();
        if is_exclusive { foreign.lock() } else { foreign.lock_shared() }.unwrap();
        let command = sandbox.eggcache("--json materialize --into out --all");
        let output = Command::from_std(command).timeout(HANGS).assert().success();
        let report: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
        assert_eq!(report["torn"], json!([EGG]));
        assert!(sandbox.path("out").join(EGG).join("text.py").exists());
    }
}

#[test]
fn a_bridge_opens_while_the_eggs_directory_is_locked() {
    let sandbox = torn();
    let foreign = File::open(sandbox.path("out")).unwrap();
    foreign.lock().unwrap();
    let opening = opening_with(&sandbox, "eggs_directory", &sandbox.path("out"));
    let mut bridge = sandbox.process(crate::support::EGGCACHE);
    bridge.arg("serve");
    let mut bridge = Command::from_std(bridge);
    let output = bridge.write_stdin(format!("{opening}\n")).timeout(HANGS).assert().success();
    let answers = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    let opened: Value = serde_json::from_str(answers.lines().last().unwrap()).unwrap();
    assert_eq!(opened["torn"], json!([EGG]));
}

#[test]
fn several_processes_check_one_eggs_directory_at_once() {
    let sandbox = torn();
    let commands: Vec<_> = (0..4)
        .map(|_| sandbox.eggcache("-q materialize --into out --all").spawn().unwrap())
        .collect();
    for mut command in commands {
        assert!(command.wait().unwrap().success());
    }
    crate::support::assert_same_tree(
        &sandbox.path("eggs").join(EGG),
        &sandbox.path("out").join(EGG),
    );
    assert_eq!(names_in(&sandbox.path("out")), [EGG]);
}

#[test]
fn locked_folders_of_a_cache_do_not_stop_automatic_gc() {
    let sandbox = Sandbox::with_two();
    write(&sandbox.path("cache/eggcache.toml"), b"[gc]\nmax-age = \"90d\"\nauto = true\n");
    sandbox.sql("UPDATE eggs SET used_at = 1");
    let mut foreign = Vec::new();
    std::fs::create_dir_all(sandbox.path("cache/gc")).unwrap();
    for name in names_in(&sandbox.path("cache")) {
        foreign.push(File::open(sandbox.path("cache").join(name)).unwrap());
        foreign.last().unwrap().lock_shared().unwrap();
    }
    std::fs::create_dir(sandbox.path("out")).unwrap();
    let mut server = Server::open(&sandbox, &host());
    server.register(&sandbox, &[]);
    server.close();
    let last = std::fs::read(sandbox.path("cache/gc/last.json")).unwrap();
    let last: Value = serde_json::from_slice(&last).unwrap();
    assert_eq!((&last["evicted"], &last["error"]), (&json!(2), &json!(null)));
    let lock = sandbox.path("cache/gc/lock").metadata().unwrap();
    assert_eq!(lock.mode() & 0o077, 0, "others cannot open it");
}
