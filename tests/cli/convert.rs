//! `convert`: eggs of wheels, made without pip.

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use assert_cmd::assert::OutputAssertExt;
use serde_json::Value;
use zip::write::{SimpleFileOptions, ZipWriter};

use crate::support::{Sandbox, assert_same_tree, files_in, names_in, write};

const INFO: &str = "alpha-1.0.dist-info";
/// A package that says so if it is ever run.
pub const PACKAGE: [(&str, &str); 2] =
    [("alpha/__init__.py", "open('executed', 'w')\n"), ("alpha/run.py", "def main(): 'x'\n")];

/// Writes the wheel of alpha 1.0 with these files, and a list of packages if there is one.
pub fn wheel(sandbox: &Sandbox, folder: &str, files: &[(&str, &str)], top_level: &str) -> PathBuf {
    wheel_of(sandbox, "alpha", folder, files, top_level)
}

fn wheel_of(
    sandbox: &Sandbox,
    project: &str,
    folder: &str,
    files: &[(&str, &str)],
    top_level: &str,
) -> PathBuf {
    let info = format!("{project}-1.0.dist-info");
    let mut all: Vec<(String, &str)> =
        files.iter().map(|(name, content)| ((*name).to_owned(), *content)).collect();
    let name_and_version = format!("Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\n");
    let metadata = [
        ("METADATA", name_and_version.as_str()),
        ("WHEEL", "Wheel-Version: 1.0\n"),
        ("entry_points.txt", "[console_scripts]\nalpha = alpha.run:main\n"),
        ("top_level.txt", top_level),
    ];
    let metadata = metadata.iter().filter(|(_, content)| !content.is_empty());
    all.extend(metadata.map(|(name, content)| (format!("{info}/{name}"), *content)));
    let mut record: Vec<String> = all.iter().map(|(name, _)| format!("{name},,\n")).collect();
    record.push(format!("{info}/RECORD,,\n"));
    let record = record.concat();
    if !all.iter().any(|(name, _)| name.ends_with("/RECORD")) {
        all.push((format!("{info}/RECORD"), &record));
    }
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let time = zip::DateTime::from_date_and_time(2024, 5, 6, 7, 8, 10).unwrap();
    for (name, content) in all {
        let options = SimpleFileOptions::default().last_modified_time(time);
        zip.start_file(name, options).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    let path = sandbox.path(folder).join(format!("{project}-1.0-py3-none-any.whl"));
    fs::create_dir_all(sandbox.path(folder)).unwrap();
    write(&path, &zip.finish().unwrap().into_inner());
    path
}

/// Runs `convert` with a Python that has a pip of this version.
pub fn convert(sandbox: &Sandbox, line: &str, pip: &str, variables: &[(&str, &str)]) -> Output {
    let site = sandbox.path(&format!("site-{pip}"));
    let metadata = format!("Name: pip\nVersion: {pip}\n");
    fs::create_dir_all(site.join(format!("pip-{pip}.dist-info"))).unwrap();
    write(&site.join(format!("pip-{pip}.dist-info/METADATA")), metadata.as_bytes());
    let mut process = sandbox.eggcache(&format!("--json convert {line}"));
    process.env("PYTHONPATH", site).env_remove("SOURCE_DATE_EPOCH").env_remove("PYTHONOPTIMIZE");
    process.envs(variables.iter().copied()).output().unwrap()
}

/// The report on the only wheel.
pub fn report(output: &Output) -> Value {
    output.clone().assert().success();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    report["wheels"][0].clone()
}

/// The only egg in a folder.
fn egg(folder: &Path) -> PathBuf {
    let names = names_in(folder);
    assert_eq!(names.len(), 1, "{names:?}");
    folder.join(&names[0])
}

fn bytecode(egg: &Path) -> Vec<PathBuf> {
    files_in(egg)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|it| it == "pyc"))
        .collect()
}

#[test]
fn two_builders_make_the_same_egg() {
    let (one, other) = (Sandbox::new(), Sandbox::new());
    wheel(&one, "here", &PACKAGE, "alpha\n");
    wheel(&other, "there", &PACKAGE, "alpha\n");
    report(&convert(&one, "here/alpha-1.0-py3-none-any.whl --into out", "26.3", &[]));
    report(&convert(&other, "there/alpha-1.0-py3-none-any.whl --into eggs/v5", "23.2.1", &[]));
    let (left, right) = (egg(&one.path("out")), egg(&other.path("eggs/v5")));
    assert_eq!(bytecode(&left).len(), 2);
    assert_same_tree(&left, &right);
    one.ok("add out");
    other.ok("add eggs/v5");
    assert_eq!(one.digest("alpha"), other.digest("alpha"));
}

/// The Pythons of this machine that `convert` knows, in `PATH` and below `~/.pyenv`.
fn pythons() -> Vec<PathBuf> {
    let versions = std::env::home_dir().unwrap().join(".pyenv/versions");
    let builds = fs::read_dir(versions).into_iter().flatten();
    let builds = builds.map(|build| build.unwrap().path().join("bin/python"));
    let named = (8..15).map(|minor| PathBuf::from(format!("python3.{minor}")));
    let code = "import sys; sys.exit(sys.version_info < (3, 8))";
    let is_known = |python: &PathBuf| {
        let mut process = Command::new(python);
        process.args(["-c", code]).stderr(Stdio::null()).status().is_ok_and(|it| it.success())
    };
    named.chain(builds).filter(is_known).collect()
}

#[test]
fn an_egg_does_not_depend_on_what_was_compiled_before_it() {
    // Python keeps one object for a text of one character, and marks it if it is a name anywhere.
    let text = [("alpha/__init__.py", ""), ("alpha/text.py", "x = 'ä'\n")];
    let name = [("beta/__init__.py", ""), ("beta/name.py", "ä = 1\n")];
    let pythons = pythons();
    assert!(!pythons.is_empty());
    for python in pythons {
        let convert = |threads: &str, wheels: &str| {
            let sandbox = Sandbox::new();
            wheel_of(&sandbox, "alpha", ".", &text, "alpha\n");
            wheel_of(&sandbox, "beta", ".", &name, "beta\n");
            let line = format!("{wheels} --into out --python {}", python.display());
            report(&convert(&sandbox, &line, "26.3", &[("RAYON_NUM_THREADS", threads)]));
            sandbox.ok("add out");
            sandbox.digest("alpha")
        };
        let alone = convert("2", "alpha-1.0-py3-none-any.whl");
        let after = convert("1", "beta-1.0-py3-none-any.whl alpha-1.0-py3-none-any.whl");
        assert_eq!(alone, after, "{}", python.display());
    }
}

#[test]
fn no_code_of_a_package_or_of_the_folder_is_run() {
    let sandbox = Sandbox::new();
    let path = wheel(&sandbox, ".", &PACKAGE, "alpha\n");
    for module in ["json", "os", "signal", "marshal", "resource", "sitecustomize", "importlib"] {
        write(&sandbox.path(&format!("{module}.py")), b"open('executed', 'w')\n");
    }
    let line = format!("{} --into out", path.display());
    assert_eq!(report(&convert(&sandbox, &line, "26.3", &[]))["compiled"], 2);
    assert!(!sandbox.path("executed").exists());
}

#[test]
fn a_source_that_does_not_compile_has_no_bytecode() {
    let sandbox = Sandbox::new();
    let files = [("alpha/__init__.py", "def\n"), ("beta/__init__.py", "x = 1\n")];
    wheel(&sandbox, ".", &files, "alpha\nbeta\n");
    let line = "alpha-1.0-py3-none-any.whl --into out";
    let made = report(&convert(&sandbox, line, "26.3", &[]));
    assert_eq!(made["not_compiled"], serde_json::json!(["alpha/__init__.py"]));
    let egg = egg(&sandbox.path("out"));
    assert!(!egg.join("alpha/__pycache__").exists());
    assert_eq!(names_in(&egg.join("beta/__pycache__")).len(), 1);
}

#[test]
fn what_is_unusual_is_left_to_buildout_and_nothing_is_written() {
    let sandbox = Sandbox::new();
    wheel(&sandbox, ".", &[("../../escaped.py", "")], "");
    let line = "alpha-1.0-py3-none-any.whl --into out";
    let made = report(&convert(&sandbox, line, "26.3", &[]));
    assert_eq!(made["outcome"], "left");
    assert_eq!(made["reason"], "../../escaped.py does not stay inside the egg");
    wheel(&sandbox, ".", &PACKAGE, "");
    let made = report(&convert(&sandbox, line, "99.0", &[]));
    assert_eq!(made["reason"], "pip 99.0 is not known");
    assert!(names_in(&sandbox.path("out")).is_empty());
    let missing = convert(&sandbox, "missing-1.0-py3-none-any.whl --into out", "26.3", &[]);
    assert_eq!(missing.status.code(), Some(1));
}

#[test]
fn an_egg_that_is_there_stays_and_abandoned_ones_are_removed() {
    let sandbox = Sandbox::new();
    wheel(&sandbox, ".", &PACKAGE, "alpha\n");
    let line = "alpha-1.0-py3-none-any.whl --into out";
    write(&sandbox.path("out/.eggcache-dead/egg/alpha/__init__.py"), b"half");
    report(&convert(&sandbox, line, "26.3", &[]));
    let egg = egg(&sandbox.path("out"));
    write(&egg.join("mine"), b"");
    assert_eq!(report(&convert(&sandbox, line, "26.3", &[]))["outcome"], "present");
    assert!(egg.join("mine").exists());
}

#[test]
fn wrong_rows_of_record_are_warnings() {
    let sandbox = Sandbox::new();
    let rows =
        "alpha/__init__.py,,1\nalpha/run.py,sha256=AAAA,16\nalpha/a,,\nalpha/b,,\nalpha/c,,\n";
    let record = format!("{rows}{INFO}/RECORD,,\n");
    let record_path = format!("{INFO}/RECORD");
    let files = [PACKAGE[0], PACKAGE[1], (&record_path, &record)];
    wheel(&sandbox, ".", &files, "alpha\n");
    let made = report(&convert(&sandbox, "alpha-1.0-py3-none-any.whl --into out", "26.3", &[]));
    assert_eq!(
        made["warnings"],
        serde_json::json!([
            "alpha/__init__.py: its size is not the one in RECORD",
            "alpha/run.py: its content does not match its digest in RECORD",
            "alpha/a and 2 more: RECORD lists them, and the wheel does not have them",
        ])
    );
}

#[test]
fn sources_that_the_newest_pip_cannot_decode_are_left_to_it() {
    let sandbox = Sandbox::new();
    let source = "# coding: cp1252\n";
    for path in ["alpha/old.py", "alpha-1.0.data/data/share/old.py"] {
        wheel(&sandbox, ".", &[PACKAGE[0], (path, source)], "alpha\n");
        let line = "alpha-1.0-py3-none-any.whl --into";
        let left = report(&convert(&sandbox, &format!("{line} new"), "26.3", &[]));
        let reason = left["reason"].as_str().unwrap();
        assert!(reason.contains("old.py has an encoding"), "{reason}");
        assert!(names_in(&sandbox.path("new")).is_empty());
        let made = report(&convert(&sandbox, &format!("{line} {path}.out"), "26.2.1", &[]));
        assert_eq!(made["outcome"], "converted");
    }
}

#[test]
fn only_long_scripts_that_pip_changes_are_left_to_it() {
    let sandbox = Sandbox::new();
    let program = "\x7fELF".to_owned() + &"0".repeat(17 << 20);
    let script = "#!python\n".to_owned() + &program;
    for (content, outcome) in [(&program, "converted"), (&script, "left")] {
        wheel(&sandbox, ".", &[("alpha-1.0.data/scripts/run", content)], "");
        let line = format!("alpha-1.0-py3-none-any.whl --into {outcome}");
        assert_eq!(report(&convert(&sandbox, &line, "26.3", &[]))["outcome"], outcome);
    }
}

#[test]
fn bytecode_can_be_complete_and_unchecked() {
    let sandbox = Sandbox::new();
    wheel(&sandbox, ".", &PACKAGE, "");
    let flags = |line: &str, variables: &[(&str, &str)]| -> Vec<u8> {
        let line = format!("alpha-1.0-py3-none-any.whl --into {line}");
        report(&convert(&sandbox, &line, "26.3", variables));
        let folder = sandbox.path(line.split(' ').nth(2).unwrap());
        bytecode(&egg(&folder)).iter().map(|path| fs::read(path).unwrap()[4]).collect()
    };
    assert_eq!(flags("stock", &[]), [0; 0]);
    assert_eq!(flags("all --compile-all", &[]), [0, 0]);
    assert_eq!(flags("unchecked --compile-all --unchecked", &[]), [1, 1]);
    let dated = [("SOURCE_DATE_EPOCH", "1500000000")];
    assert_eq!(flags("dated --compile-all", &dated), [3, 3]);
    let modified = egg(&sandbox.path("dated")).join("alpha/run.py").metadata().unwrap();
    let modified = modified.modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(modified.as_secs(), 1_500_000_000);
}
