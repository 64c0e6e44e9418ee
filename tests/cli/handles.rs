//! What others put in the way of a command that removes files: mounted folders.

use std::fs;

use crate::support::{Sandbox, skip, write};

#[test]
fn a_mounted_folder_below_a_temporary_folder_keeps_its_files() {
    let sandbox = Sandbox::new();
    sandbox.egg("demo", "1.0");
    sandbox.ok("add eggs");
    write(&sandbox.path("other/file"), b"precious");
    let mounted = ["into/.eggcache-m", "into/.eggcache-n/below", "cache/tmp/.eggcache-m"];
    for folder in mounted {
        fs::create_dir_all(sandbox.path(folder)).unwrap();
    }
    let run = |script: &str| sandbox.process("unshare").args(["-m", "sh", "-c", script]).output();
    if !run("mount --bind other other").is_ok_and(|output| output.status.success()) {
        skip("nothing can be mounted here");
        return;
    }
    let mounts = mounted.map(|folder| format!("mount --bind other {folder} && ")).concat();
    for line in ["materialize --into into --all", "gc"] {
        let script = format!("{mounts} {} {line}", env!("CARGO_BIN_EXE_eggcache"));
        let output = run(&script).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(fs::read(sandbox.path("other/file")).unwrap(), b"precious", "{line}");
    }
    sandbox.ok("materialize --into into --all");
    assert!(!sandbox.path(mounted[1]).exists(), "it is removed once nothing is mounted");
}
