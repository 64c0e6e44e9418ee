//! `add --trust-records`: the wheel of an egg that pip has noted in it.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use eggcache::internals::sha256::Sha256;

use crate::support::{Sandbox, chmod, write};

const INFO: &str = "foo-1.0-py3.11.dist-info";
const WHEEL: &str = "foo-1.0-py3-none-any.whl";

fn archive() -> String {
    "ab".repeat(32)
}

/// The egg that buildout 6 and pip make of an archive with this name.
fn egg_of(sandbox: &Sandbox, archive_name: &str) -> PathBuf {
    let egg = sandbox.path("eggs/v5/foo-1.0-py3.11.egg");
    let url = format!(
        r#"{{"archive_info": {{"hashes": {{"sha256": "{}"}}}}, "url": "file:///tmp/x/{archive_name}"}}"#,
        archive()
    );
    let files = [
        ("foo/a.py", "x = 1\n"),
        (&format!("{INFO}/METADATA"), "Metadata-Version: 2.1\nName: foo\nVersion: 1.0\n"),
        (&format!("{INFO}/direct_url.json"), &url),
    ];
    let mut rows = "../../bin/foo,sha256=x,1\nfoo/__pycache__/a.cpython-311.pyc,,\n".to_owned();
    for (path, content) in files {
        write(&egg.join(path), content.as_bytes());
        let digest = Sha256::of(content.as_bytes()).in_record();
        let in_wheel = path.replace(INFO, "foo-1.0.dist-info");
        writeln!(rows, "{in_wheel},{digest},{}", content.len()).unwrap();
    }
    rows.push_str("foo-1.0.dist-info/RECORD,,\n");
    write(&egg.join(INFO).join("RECORD"), rows.as_bytes());
    write(&egg.join("foo/__pycache__/a.cpython-311.pyc"), b"compiled");
    egg
}

/// The archive of the egg that was added, or an empty text.
fn added(sandbox: &Sandbox, line: &str) -> String {
    sandbox.ok(line);
    let shown = sandbox.json("show foo");
    shown["source_sha256"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn an_egg_of_a_wheel_is_known_by_what_pip_has_noted() {
    let sandbox = Sandbox::new();
    egg_of(&sandbox, WHEEL);
    assert_eq!(added(&sandbox, "add eggs"), "", "only with the option");
    assert_eq!(added(&sandbox, "add --trust-records eggs"), archive());
    assert_eq!(sandbox.listed(), ["foo==1.0"], "it is completed, not doubled");
    assert!(sandbox.ok("show foo").stdout.contains(WHEEL));
    sandbox.fails(&format!("add --trust-records eggs --source-sha256 {}", archive()), 2);
}

type Change<'a> = &'a dyn Fn(&Path);

#[test]
fn an_egg_that_differs_from_its_record_or_is_of_a_source_archive_stays_unknown() {
    let changes: [(&str, Change); 5] = [
        ("changed", &|egg| write(&egg.join("foo/a.py"), b"x = 2\n")),
        ("longer", &|egg| write(&egg.join("foo/a.py"), b"x = 1\n\n")),
        ("added", &|egg| write(&egg.join("foo/b.py"), b"")),
        ("no record", &|egg| fs::remove_file(egg.join(INFO).join("RECORD")).unwrap()),
        ("symlink", &|egg| std::os::unix::fs::symlink("a.py", egg.join("foo/b.py")).unwrap()),
    ];
    for (what, change) in changes {
        let sandbox = Sandbox::new();
        change(&egg_of(&sandbox, WHEEL));
        assert_eq!(added(&sandbox, "add --trust-records eggs"), "", "{what}");
    }
    let sandbox = Sandbox::new();
    egg_of(&sandbox, "foo-1.0.tar.gz");
    assert_eq!(added(&sandbox, "add --trust-records eggs"), "");
}

#[test]
fn records_in_a_folder_that_others_can_write_are_believed_with_a_warning() {
    let sandbox = Sandbox::new();
    sandbox.egg("foo", "1.0");
    let add = || sandbox.ok("add --trust-records eggs");
    assert!(!add().stderr.contains("you vouch for"));
    chmod(&sandbox.path("eggs"), 0o777);
    let warning =
        "everybody can write to eggs: with --trust-records, you vouch for what they have put there";
    add().says(&[warning]);
    assert!(!sandbox.ok("add eggs").stderr.contains("you vouch for"));
}
