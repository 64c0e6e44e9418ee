//! What others put in the way of a command that reads or removes files: mounted folders, and paths that
//! take long to resolve.

use std::fs;
use std::os::unix::fs::symlink;

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

#[test]
fn a_path_that_takes_long_to_resolve_is_a_problem_of_the_check() {
    let sandbox = Sandbox::new();
    for folder in ["app/bin", "app/eggs", "app/x"] {
        fs::create_dir_all(sandbox.path(folder)).unwrap();
    }
    let root = sandbox.path("app").canonicalize().unwrap();
    for link in 0..39 {
        let target = format!("{}l{}", "x/../".repeat(799), link + 1);
        symlink(target, root.join(format!("l{link}"))).unwrap();
    }
    symlink("x", root.join("l39")).unwrap();
    let line = format!("  {}/l0/q\n", root.display());
    write(&root.join("buildout.cfg"), format!("[buildout]\nfoo =\n{line}").as_bytes());
    let output = sandbox.fails("check app", 4);
    output.says(&["some paths take too long to resolve and count as outside"]);
}
