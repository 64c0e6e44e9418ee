//! `materialize --preflight` reports misses and lack of space before anything is written.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use serde_json::Value;
use walkdir::WalkDir;

use crate::support::{Content, Mount, Sandbox, Seen, assert_same, noise, tree, write};

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    let big = sandbox.egg_with("big", "1.0", &[("big.bin", &noise(300_000))]);
    std::os::unix::fs::symlink("big.bin", big.join("link")).unwrap();
    let many = sandbox.egg("many", "1.0");
    for number in 0..300 {
        write(&many.join(format!("folder/file-{number}")), b"small");
    }
    sandbox.zipped_egg("zipped", "1.0");
    sandbox.ok("add eggs");
    sandbox
}

/// The files of the cache. Directories are left out, as reading the index touches its own.
fn files(sandbox: &Sandbox) -> BTreeMap<PathBuf, Seen> {
    let mut files = tree(&sandbox.path("cache"));
    files.retain(|_, seen| seen.content != Content::Directory);
    files
}

fn preflight(sandbox: &Sandbox, options: &str, code: i32) -> Value {
    let line = format!("--json materialize --preflight --into out/eggs {options}");
    sandbox.fails(&line, code).json()
}

#[test]
fn a_preflight_writes_nothing_and_predicts_the_needed_space() {
    let sandbox = sandbox();
    let before = files(&sandbox);
    let report = preflight(&sandbox, "--all", 0);
    assert!(!sandbox.path("out").exists());
    assert_same(&before, &files(&sandbox));
    assert_eq!((&report["fits"], &report["missing"]), (&true.into(), &Value::Array(Vec::new())));
    sandbox.ok("materialize --into out/eggs --all");
    let entries: Vec<_> =
        WalkDir::new(sandbox.path("out")).into_iter().map(Result::unwrap).collect();
    assert_eq!(report["needed"]["inodes"], entries.len());
    let used: u64 = entries.iter().map(|it| it.metadata().unwrap().blocks() * 512).sum();
    let needed = report["needed"]["bytes"].as_u64().unwrap();
    assert!(used <= needed, "{used} of {needed} bytes");
    let report = preflight(&sandbox, "--all", 0);
    assert_eq!(report["needed"]["bytes"], 0);
    assert!(report["eggs"].as_array().unwrap().iter().all(|egg| egg["outcome"] == "present"));
}

#[test]
fn a_preflight_reports_misses_and_does_not_count_them() {
    let sandbox = sandbox();
    let before = files(&sandbox);
    let report = preflight(&sandbox, "big==1.0 other==2.0 gone", 3);
    assert_eq!(report["missing"], serde_json::json!(["other==2.0", "gone"]));
    assert_eq!(report["eggs"].as_array().unwrap().len(), 1);
    assert_same(&before, &files(&sandbox));
    fs::remove_file(sandbox.blob("big")).unwrap();
    let report = preflight(&sandbox, "big", 3);
    assert_eq!(report["missing"], serde_json::json!(["big-1.0-py3.11.egg"]));
    sandbox
        .fails("materialize --preflight --into out many other", 3)
        .says(&["other is not in the cache"]);
}

#[test]
fn a_preflight_does_not_create_a_cache() {
    let sandbox = Sandbox::new();
    let report = preflight(&sandbox, "big==1.0", 3);
    assert_eq!(report["missing"], serde_json::json!(["big==1.0"]));
    assert!(!sandbox.path("cache").exists());
}

#[test]
fn a_preflight_fails_if_something_is_in_the_way() {
    let sandbox = sandbox();
    write(&sandbox.path("out/eggs/zipped-1.0-py3.11.egg"), b"something else");
    let report = preflight(&sandbox, "zipped big", 1);
    assert_eq!(report["fits"], true);
    let line = "materialize --preflight --into out/eggs zipped";
    sandbox.fails(line, 1).says(&["is in the way of zipped 1.0"]);
    write(&sandbox.path("file"), b"");
    sandbox.fails("materialize --preflight --into file/eggs zipped", 2).says(&["is not a folder"]);
}

#[test]
fn a_preflight_fails_if_bytes_or_inodes_are_short() {
    let sandbox = sandbox();
    for (size, egg, fits, not) in
        [("128k", "zipped", "zipped", "big"), ("8m,nr_inodes=100", "big", "big", "many")]
    {
        let Some(_mount) = Mount::new(&sandbox.path("out"), size) else { return };
        assert_eq!(preflight(&sandbox, fits, 0)["fits"], true, "{egg}");
        let report = preflight(&sandbox, not, 1);
        assert_eq!(report["fits"], false, "{report:#}");
        let line = format!("materialize --preflight --into out/eggs {not}");
        sandbox.fails(&line, 1).says(&["not enough space in out/eggs", "does not fit"]);
        sandbox.ok(&format!("materialize --into out/eggs {fits}"));
    }
}
