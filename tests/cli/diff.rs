//! `diff`: two builds of an egg.

use serde_json::Value;

use crate::support::{Sandbox, make_egg, noise, write};

/// A sandbox with two builds of foo 1.0; returns their digests.
fn two_builds(left: &[(&str, &[u8])], right: &[(&str, &[u8])]) -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    let digests = [("eggs", left), ("other", right)].map(|(folder, files)| {
        let egg = sandbox.path(&format!("{folder}/foo-1.0-py3.11.egg"));
        make_egg(&egg, "foo", "1.0", files);
        let label = format!("--environment {folder}");
        sandbox.ok(&format!("add {} {label}", egg.display()));
        let listed = sandbox.json("list");
        let mut eggs = listed["eggs"].as_array().unwrap().iter();
        let egg = eggs.find(|egg| egg["environment"] == folder).unwrap();
        egg["digest"].as_str().unwrap().to_owned()
    });
    let line = format!("diff {} {}", digests[0], digests[1]);
    (sandbox, line)
}

fn files(report: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let files = report["files"].as_array().unwrap().iter();
    files.map(|file| (text(&file["path"]), text(&file["how"]))).collect()
}

#[test]
fn files_and_bytes_that_differ_are_listed() {
    let large = noise(3_000_000);
    let mut other = large.clone();
    other[2_500_000] ^= 1;
    other[2_500_001] ^= 1;
    let (sandbox, line) = two_builds(
        &[("same.py", b"1"), ("gone.py", b"12"), ("big.so", &large), ("x.pyc", b"a")],
        &[("same.py", b"1"), ("new.py", b"123"), ("big.so", &other), ("x.pyc", b"b")],
    );
    let report = sandbox.json(&line);
    let found = files(&report);
    let expected = [
        ("big.so", "content"),
        ("gone.py", "only-left"),
        ("new.py", "only-right"),
        ("x.pyc", "content"),
    ];
    assert_eq!(found, expected.map(|(path, how)| (path.to_owned(), how.to_owned())));
    assert_eq!(report["files"][0]["bytes"], serde_json::json!({"first": 2_500_000, "count": 2}));
    assert_eq!(report["equal"], 3);
    let out = sandbox.ok(&line);
    let lines: Vec<&str> = out.stdout.lines().collect();
    assert!(lines[0].starts_with("- ") && lines[1].starts_with("+ "), "{}", out.stdout);
    assert!(
        lines.contains(&"! big.so  2 of 3,000,000 bytes, from byte 2,500,000"),
        "{}",
        out.stdout
    );
    assert!(
        lines.contains(&"- gone.py  2 B") && lines.contains(&"+ new.py  3 B"),
        "{}",
        out.stdout
    );
    assert!(!out.stdout.contains("x.pyc"), "{}", out.stdout);
    out.says(&[
        "4 files differ: 2 in both eggs, 1 only in the first, 1 only in the second; 3 equal files",
        "1 bytecode file not shown, -v shows it",
    ]);
    assert!(sandbox.ok(&format!("{line} -v")).stdout.contains("x.pyc"));
}

#[test]
fn keys_and_metadata_that_differ_are_listed() {
    let (sandbox, line) = two_builds(
        &[("foo-1.0.dist-info/METADATA", b"Name: foo\nVersion: 1.0\nRequires-Dist: a\n")],
        &[("foo-1.0.dist-info/METADATA", b"Name: foo\nVersion: 1.0\nRequires-Dist: b\n")],
    );
    let out = sandbox.ok(&line).stdout;
    for part in
        ["- environment  eggs\n+ environment  other\n", "- Requires-Dist  a\n+ Requires-Dist  b\n"]
    {
        assert!(out.contains(part), "{out}");
    }
    let (sandbox, line) = two_builds(&[], &[]);
    let out = sandbox.ok(&line);
    out.says(&["No file differs: 2 equal files"]);
}

#[test]
fn a_damaged_blob_and_missing_eggs_are_errors() {
    let (sandbox, line) = two_builds(&[("a.py", b"1")], &[("a.py", b"2")]);
    sandbox.fails("diff foo==1.0 bar", 2);
    sandbox.fails(&format!("{line} --python 2.7"), 3);
    let digest = line.split(' ').nth(1).unwrap();
    let blob = sandbox.blob(digest);
    let length = std::fs::metadata(&blob).unwrap().len();
    crate::support::chmod(&blob, 0o600);
    write(&blob, &vec![0; usize::try_from(length).unwrap()]);
    sandbox.fails(&line, 1).says(&["verify --repair"]);
}
