//! `bundle` and `check` agree: a bundle that works anywhere has no problem in another folder, and one that works
//! only at its path has one.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::bundle_place;
use crate::support::{Sandbox, text, write};

/// Who reads a file, according to the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    Application,
    NextRun,
}
use Reader::{Application, NextRun};

/// Files with the path of their buildout, which is ROOT.
const CASES: [(Reader, &str, &str); 14] = [
    (Application, "bin/tool", "#!/bin/sh\nsys.path[0:0] = [\n  'ROOT/src/foo',\n]\n"),
    (Application, "bin/shell", "#!/bin/sh\nexec ROOT/bin/app\n"),
    (Application, "parts/conf/app.conf", "data = ROOT/data\n"),
    (Application, "parts/cmmi/lib/pkgconfig/foo.pc", "prefix=ROOT\n"),
    (Application, "parts/cmmi/lib/libfoo.so.1", "\u{7f}ELF\0\0ROOT/parts/cmmi/lib\0\0"),
    (Application, "src/foo/foo.dist-info/RECORD", "ROOT/src/foo,,\n"),
    // The interpreter of a virtual environment reads it.
    (Application, "lib/python3.11/site-packages/foo.pth", "ROOT/src/foo\n"),
    (Application, "develop-eggs/foo/foo.pth", "ROOT/src/foo\n"),
    (Application, "buildout.cfg", "[buildout]\nparts = app\nx = ROOT/x\n"),
    (NextRun, ".installed.cfg", "[app]\n__buildout_installed__ = ROOT/bin/app\n_e = ROOT/eggs\n"),
    (NextRun, "develop-eggs/foo.egg-link", "ROOT/src/foo\n."),
    (NextRun, "develop-eggs/__editable__.foo-1.0.pth", "ROOT/src/foo\n"),
    (NextRun, "develop-eggs/__editable___foo_1_0_finder.py", "MAPPING = {'foo': 'ROOT/src/foo'}\n"),
    (
        NextRun,
        "develop-eggs/foo-1.0.dist-info/direct_url.json",
        "{\"url\": \"file://ROOT/src/foo\"}",
    ),
];

/// A buildout `app` without eggs, with the source of a develop egg.
fn sandbox() -> Sandbox {
    let sandbox = bundle_place::sandbox();
    let app = sandbox.path("app");
    write(&app.join("bin/app"), b"#!/bin/sh\nexit\n");
    write(&app.join("src/foo/foo.py"), b"");
    sandbox
}

fn write_naming_root(sandbox: &Sandbox, path: &str, content: &str) -> PathBuf {
    let root = sandbox.path("app").canonicalize().unwrap();
    write(&root.join(path), content.replace("ROOT", root.to_str().unwrap()).as_bytes());
    root
}

/// Bundles the buildout in one folder, and unpacks that into `FOLDER/app`.
fn moved(sandbox: &Sandbox, from: &str, folder: &str) -> Value {
    let report = sandbox.json(&format!("bundle {from} -o {folder}.tar --prefix app"));
    sandbox.shell(&format!("mkdir {folder} && tar -xf {folder}.tar -C {folder}"));
    report
}

/// The paths of all problems that a check of a buildout finds.
fn problems(sandbox: &Sandbox, buildout: &str) -> Vec<String> {
    let output = sandbox.run(&format!("--json check {buildout}"));
    let report: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    let problems = report["problems"].as_array().unwrap();
    problems.iter().map(|it| text(&it["path"]).to_owned()).collect()
}

#[test]
fn check_finds_a_problem_exactly_where_a_bundle_works_only_at_its_path() {
    for (reader, path, content) in CASES {
        let sandbox = sandbox();
        let root = write_naming_root(&sandbox, path, content);
        let report = moved(&sandbox, "app", "out");
        let root = root.to_str().unwrap();
        let (works_at, bound, records) = match reader {
            Application => (json!(root), json!([path]), json!([])),
            NextRun => (Value::Null, json!([]), json!([path])),
        };
        assert_eq!(report["path"], works_at, "{path}");
        assert_eq!((&report["bound"], &report["records"]), (&bound, &records), "{path}");
        let expected = if reader == Application { vec![path] } else { vec![] };
        assert_eq!(problems(&sandbox, "app"), [""; 0], "{path} in the original");
        assert_eq!(problems(&sandbox, "out/app"), expected, "{path} beside the original");
        sandbox.shell("mv app out-of-reach");
        assert_eq!(problems(&sandbox, "out/app"), expected, "{path} without the original");
        if reader == NextRun {
            moved(&sandbox, "out/app", "again");
            sandbox.shell("mv out/app out-of-reach-too");
            assert_eq!(problems(&sandbox, "again/app"), [""; 0], "{path} bundled again");
        } else {
            sandbox.fails("bundle out/app -o again.tar", 4);
        }
        sandbox.shell("rm -rf app; mv again/app app || mv out/app app");
        assert_eq!(problems(&sandbox, "app"), [""; 0], "{path} back at its path");
    }
}

#[test]
fn a_file_that_was_written_again_is_no_problem_elsewhere() {
    let sandbox = sandbox();
    for name in ["bin/one", "bin/two"] {
        write_naming_root(&sandbox, name, "#!/bin/sh\nexec ROOT/bin/app\n");
    }
    moved(&sandbox, "app", "out");
    sandbox.shell("mv app out-of-reach");
    write(&sandbox.path("out/app/bin/one"), b"#!/bin/sh\nexec app\n");
    let line = sandbox.fails("check out/app", 4);
    line.says(&["bin/two: contains", "/app, where the bundle was made", "1 problem"]);
    fs::remove_file(sandbox.path("out/app/bin/two")).unwrap();
    assert_eq!(problems(&sandbox, "out/app"), [""; 0]);
}

#[test]
fn a_develop_egg_outside_stays_a_problem_in_an_unpacked_bundle() {
    let sandbox = sandbox();
    write_naming_root(&sandbox, "develop-eggs/foo.egg-link", "ROOT/src/foo\n.");
    moved(&sandbox, "app", "out");
    let link = sandbox.path("out/app/develop-eggs/foo.egg-link");
    let app = sandbox.path("").canonicalize().unwrap().join("app-2/src/foo");
    fs::write(link, app.to_str().unwrap()).unwrap();
    assert_eq!(problems(&sandbox, "out/app"), ["develop-eggs/foo.egg-link"]);
}

#[test]
fn check_warns_of_a_run_of_buildout_beside_the_original() {
    let sandbox = sandbox();
    write_naming_root(&sandbox, ".installed.cfg", "[app]\n__buildout_installed__ = ROOT/bin/app\n");
    moved(&sandbox, "app", "out");
    let warning = "a run of buildout here removes them there";
    sandbox.ok("check out/app").says(&[".installed.cfg: lists files of", warning]);
    assert!(!sandbox.ok("check app").stderr.contains(warning));
    sandbox.shell("mv app out-of-reach");
    assert!(!sandbox.ok("check out/app").stderr.contains(warning));
}

#[test]
fn every_file_that_ties_a_bundle_to_its_path_is_listed() {
    let sandbox = sandbox();
    let names: Vec<String> = (10..25).map(|number| format!("parts/app/{number}.conf")).collect();
    for name in &names {
        write_naming_root(&sandbox, name, "x = ROOT/x\n");
    }
    let report = sandbox.json("bundle app -o app.tar");
    assert_eq!(report["bound"], json!(names));
    assert_eq!(sandbox.json("bundle --verify app.tar")["bound"], json!(names));
    for line in ["bundle app -o app.tar", "bundle --verify app.tar"] {
        let few = format!("is in {} and 5 more; -v shows them", names[..10].join(", "));
        sandbox.ok(line).says(&[&few]);
        sandbox.ok(&format!("-v {line}")).says(&[&format!("is in {}\n", names.join(", "))]);
    }
    let notes = sandbox.json("check app")["notes"].clone();
    let tied = notes.as_array().unwrap().iter().filter(|it| it["kind"] == "not-relocatable");
    assert_eq!(tied.count(), names.len());
}

#[test]
fn another_path_of_the_same_folder_ties_a_bundle_too() {
    let sandbox = sandbox();
    sandbox.shell("ln -s app alias");
    let alias = sandbox.path("").canonicalize().unwrap().join("alias");
    let script = format!("#!/bin/sh\nexec {}/bin/app\n", alias.display());
    write(&sandbox.path("app/bin/tool"), script.as_bytes());
    let report = sandbox.json("bundle app -o app.tar");
    assert_eq!(report["bound"], json!(["bin/tool"]));
}

#[test]
fn debugging_information_does_not_tie_a_bundle_to_its_path() {
    let sandbox = sandbox();
    let root = write_naming_root(&sandbox, "src/foo/foo.c", "int foo(void) { return 1; }\n");
    let object = "app/src/foo/foo.so";
    sandbox.shell(&format!("cc -g -shared -nostdlib -o {object} {}/src/foo/foo.c", root.display()));
    let bytes = fs::read(sandbox.path(object)).unwrap();
    let name = root.to_str().unwrap().as_bytes();
    assert!(bytes.windows(name.len()).any(|it| it == name));
    assert_eq!(sandbox.json("bundle app -o app.tar")["path"], Value::Null);
    sandbox.shell(&format!(
        "cc -shared -nostdlib -o {object} -Wl,-rpath,{}/lib -x c /dev/null",
        root.display()
    ));
    assert_eq!(sandbox.json("bundle app -o app.tar")["bound"], json!(["src/foo/foo.so"]));
}
