//! Importing the scripts of a bundle where it works: `bundle --verify --import`.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Sandbox, skip, text, write};

/// How a script ends that buildout writes.
const MAIN: &str = "import foo\n\nif __name__ == '__main__':\n    sys.exit(foo.main())\n";
/// A module that leaves a file when it is imported, and another when it runs.
const FOO: &str = "open('MARKS/imported', 'w').close()\ndef main():\n    open('MARKS/ran', 'w')\n";

/// A buildout `app` whose scripts find the module `foo` in it, and a folder for its marks.
struct App {
    sandbox: Sandbox,
}

impl App {
    /// `is_bound` decides whether the path of the buildout is in its scripts.
    fn new(is_bound: bool) -> Self {
        let sandbox = Sandbox::new();
        sandbox.ok("init");
        fs::create_dir_all(sandbox.path("app/eggs")).unwrap();
        fs::create_dir(sandbox.path("marks")).unwrap();
        write(&sandbox.path("app/buildout.cfg"), b"[buildout]\nparts = app\n");
        let app = Self { sandbox };
        let marks = app.sandbox.path("marks").display().to_string();
        write(&app.sandbox.path("app/src/foo.py"), FOO.replace("MARKS", &marks).as_bytes());
        let root = app.sandbox.path("app").canonicalize().unwrap();
        let folder = if is_bound {
            format!("'{}/src'", root.display())
        } else {
            "os.path.join(os.path.dirname(os.path.realpath(__file__)), '../src')".to_owned()
        };
        let setup = format!("import os\nimport sys\nsys.path[0:0] = [\n  {folder},\n  ]\n\n");
        app.script("foo", &format!("{setup}{MAIN}"));
        app.script("unguarded", &format!("{setup}import foo\nfoo.main()\n"));
        app
    }

    fn script(&self, name: &str, code: &str) {
        let path = self.sandbox.path("app/bin").join(name);
        write(&path, format!("#!/usr/bin/env python3\n\n{code}").as_bytes());
        make_executable(&path);
    }

    /// Bundles the buildout with these arguments, and imports its scripts.
    fn imported(&self, arguments: &str) -> Value {
        self.sandbox.ok(&format!("bundle app -o app.tar.zst {arguments}"));
        let output = self.sandbox.run("--json bundle --verify app.tar.zst --import");
        serde_json::from_slice(&output.get_output().stdout).unwrap()
    }

    fn has_mark(&self, name: &str) -> bool {
        self.sandbox.path("marks").join(name).exists()
    }
}

fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Whether this machine allows namespaces; says so if not.
fn can_bind() -> bool {
    let is_allowed = |arguments: &[&str]| {
        Command::new("unshare")
            .args(arguments)
            .arg("true")
            .output()
            .is_ok_and(|it| it.status.success())
    };
    let can = is_allowed(&["--user", "--map-root-user", "--mount"]) || is_allowed(&["--mount"]);
    if !can {
        skip("this machine allows no namespaces");
    }
    can
}

#[test]
fn scripts_are_imported_and_not_run() {
    let app = App::new(false);
    let report = app.imported("");
    assert_eq!(report["problems"], json!([]));
    assert_eq!(report["imports"], json!({"scripts": 1, "not_imported": ["bin/unguarded"]}));
    assert!(app.has_mark("imported") && !app.has_mark("ran"));
    app.sandbox
        .ok("bundle --verify app.tar.zst --import")
        .says(&["not imported, because it would run them: bin/unguarded", "1 script imported"]);
}

#[test]
fn without_the_option_no_code_is_run() {
    let app = App::new(false);
    app.sandbox.ok("bundle app -o app.tar");
    let report = app.sandbox.json("bundle --verify app.tar");
    assert_eq!(report["imports"], Value::Null);
    assert!(!app.has_mark("imported"));
    app.sandbox.fails("bundle app -o app.tar --import", 2);
}

#[test]
fn a_bundle_that_works_at_one_path_is_imported_there_without_the_original() {
    if !can_bind() {
        return;
    }
    let app = App::new(true);
    let report = app.imported("");
    assert!(text(&report["path"]).ends_with("/app"));
    assert_eq!((&report["problems"], &report["imports"]["scripts"]), (&json!([]), &json!(1)));
    // What is only in the bundle is found.
    fs::remove_dir_all(app.sandbox.path("app")).unwrap();
    fs::create_dir(app.sandbox.path("app")).unwrap();
    let report = app.sandbox.json("bundle --verify app.tar.zst --import");
    assert_eq!(report["imports"]["scripts"], 1);
    assert_eq!(fs::read_dir(app.sandbox.path("app")).unwrap().count(), 0);
    assert!(app.has_mark("imported") && !app.has_mark("ran"));
}

#[test]
fn what_is_only_in_the_original_folder_is_not_imported() {
    if !can_bind() {
        return;
    }
    let app = App::new(true);
    let report = app.imported("--exclude src");
    let problems = report["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0]["path"], "bin/foo");
    assert!(text(&problems[0]["what"]).contains("cannot be imported: ModuleNotFoundError"));
    app.sandbox.fails("bundle --verify app.tar.zst --import", 4).says(&["foo"]);
}

#[test]
fn without_a_folder_at_its_path_a_bundle_is_not_imported() {
    let app = App::new(true);
    app.sandbox.ok("bundle app -o app.tar");
    fs::remove_dir_all(app.sandbox.path("app")).unwrap();
    let said = app.sandbox.fails("bundle --verify app.tar --import", 1);
    said.says(&[
        "the scripts are not imported",
        ": there is no such folder",
        "--import needs a folder",
    ]);
    assert!(!app.has_mark("imported"));
}

#[test]
fn a_damaged_bundle_is_not_imported() {
    let app = App::new(false);
    app.sandbox.ok("bundle app -o app.tar");
    let mut content = fs::read(app.sandbox.path("app.tar")).unwrap();
    let at = content.windows(8).rposition(|it| it == b"imported").unwrap();
    content[at] = b'I';
    fs::write(app.sandbox.path("app.tar"), content).unwrap();
    app.sandbox.fails("bundle --verify app.tar --import", 4).says(&["different content"]);
    assert!(!app.has_mark("imported"));
}

#[test]
fn only_scripts_that_buildout_writes_for_python_are_imported() {
    let app = App::new(false);
    app.script(
        "exits",
        "import sys\nsys.path[0:0] = [\n]\nsys.exit(7)\nif __name__ == '__main__': pass\n",
    );
    app.script("own", "import does_not_exist\n");
    write(&app.sandbox.path("app/bin/shell"), b"#!/bin/sh\n# sys.path[0:0] = [\nexit 7\n");
    make_executable(&app.sandbox.path("app/bin/shell"));
    let report = app.imported("");
    let problems: Vec<&Value> = report["problems"].as_array().unwrap().iter().collect();
    assert_eq!(problems.len(), 1);
    assert_eq!(
        problems[0],
        &json!({"path": "bin/exits", "what": "cannot be imported: SystemExit: 7"})
    );
}
