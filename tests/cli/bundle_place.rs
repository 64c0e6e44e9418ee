//! Where an unpacked bundle works: anywhere, or only at the path of its buildout.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::Value;

use crate::support::{Sandbox, text, write};

/// A buildout `app` without eggs, whose script finds its code relative to itself.
pub fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.ok("init");
    let app = sandbox.path("app");
    fs::create_dir_all(app.join("eggs")).unwrap();
    write(&app.join("buildout.cfg"), b"[buildout]\nparts = app\n");
    write(&app.join("bin/app"), b"#!/usr/bin/env python3\nimport os\n");
    sandbox
}

fn bundled(sandbox: &Sandbox) -> Value {
    sandbox.json("bundle app -o app.tar")
}

/// Writes the path of the buildout to a file in it.
fn name_root_in(sandbox: &Sandbox, path: &str, before: &str, after: &str) {
    let root = sandbox.path("app").canonicalize().unwrap();
    write(&sandbox.path("app").join(path), format!("{before}{}{after}", root.display()).as_bytes());
}

#[test]
fn a_bundle_without_the_path_of_its_buildout_is_self_contained() {
    let sandbox = sandbox();
    name_root_in(&sandbox, "parts/app/other.conf", "path = ", "-2/x");
    let report = bundled(&sandbox);
    assert_eq!((&report["path"], &report["bound"]), (&Value::Null, &Value::Array(vec![])));
    sandbox.ok("bundle app -o app.tar").says(&["self-contained"]);
    let verified = sandbox.json("bundle --verify app.tar");
    assert_eq!(verified["path"], Value::Null);
}

#[test]
fn a_bundle_with_the_path_of_its_buildout_works_only_there() {
    let places = [
        (
            "bin/app",
            "#!/usr/bin/env python3\nimport sys\nsys.path[0:0] = [\n  '",
            "/src/foo',\n]\n",
        ),
        ("src/foo/foo.dist-info/RECORD", "", "/src/foo,,\n"),
        ("parts/cmmi/lib/libfoo.so.1", "\u{7f}ELF\0\0", "/parts/cmmi/lib\0\0"),
        ("parts/cmmi/lib/pkgconfig/foo.pc", "prefix=", "\n"),
        ("parts/cmmi/flags", "-I", "/include"),
    ];
    for (path, before, after) in places {
        let sandbox = sandbox();
        fs::create_dir_all(sandbox.path("app/src/foo")).unwrap();
        name_root_in(&sandbox, path, before, after);
        let report = bundled(&sandbox);
        let root = sandbox.path("app").canonicalize().unwrap().display().to_string();
        assert_eq!(text(&report["path"]), root, "{path}");
        assert_eq!(report["bound"], serde_json::json!([path]));
        let said = sandbox.ok("bundle app -o app.tar");
        let line = format!("which works only at {root}");
        said.says(&[&line, &format!("is in {path}")]);
        assert!(!said.stderr.contains("self-contained"), "{path}");
        sandbox.ok("bundle --verify app.tar").says(&[&format!("works only at {root}")]);
    }
}

#[test]
fn a_path_across_two_reads_of_a_file_is_found() {
    let sandbox = sandbox();
    name_root_in(&sandbox, "parts/big", &"x".repeat((1 << 18) - 3), "/lib\0");
    assert_eq!(bundled(&sandbox)["bound"], serde_json::json!(["parts/big"]));
}

#[test]
fn a_symlink_by_an_absolute_path_inside_ties_a_bundle_to_its_path() {
    let sandbox = sandbox();
    let app = sandbox.path("app").canonicalize().unwrap();
    symlink(app.join("bin/app"), app.join("bin/absolute")).unwrap();
    symlink("../../app/bin/app", app.join("bin/by-name")).unwrap();
    symlink("app", app.join("bin/relative")).unwrap();
    assert_eq!(bundled(&sandbox)["bound"], serde_json::json!(["bin/absolute", "bin/by-name"]));
}

#[test]
fn what_only_the_next_run_of_buildout_reads_does_not_tie_a_bundle_to_its_path() {
    let sandbox = sandbox();
    fs::create_dir_all(sandbox.path("app/src/foo")).unwrap();
    name_root_in(&sandbox, ".installed.cfg", "[buildout]\nparts = app\n\n[app]\nlocation = ", "\n");
    name_root_in(&sandbox, "develop-eggs/foo.egg-link", "", "/src/foo\n.\n");
    let report = bundled(&sandbox);
    assert_eq!(report["path"], Value::Null);
    let records = serde_json::json!([".installed.cfg", "develop-eggs/foo.egg-link"]);
    assert_eq!(report["records"], records);
    let said = sandbox.ok("bundle app -o app.tar -v");
    said.says(&["self-contained", "buildout installs its parts again", ".installed.cfg"]);
}
