//! Names that try to look like other lines, or to act on a terminal.

use std::fs;

use assert_cmd::Command;
use assert_cmd::assert::Assert;

use crate::support::{EGGCACHE, Output, Sandbox};

/// A line break and the line that must not appear, a C1 control sequence, and a change of direction.
const EVIL: &str = "x\nforged: all is well\u{9b}2J\u{202e}\u{2028}";
/// As much of it as the name of an egg can hold.
const EVIL_NAME: &str = "x\u{9b}2J\u{202e}gge";

/// A sandbox with eggs whose names, files, labels and pins are evil.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.egg_with(EVIL_NAME, "1.0", &[(EVIL, b"x".as_slice())]);
    sandbox.egg("foo", "1.0");
    sandbox.egg("foo", "2.0");
    fs::create_dir(sandbox.path("eggs").join(format!("{EVIL}-1.0-py3.11.egg"))).unwrap();
    run(&sandbox, &["--cache", "cache", "add", "eggs", "--environment", EVIL]);
    run(&sandbox, &["--cache", "cache", "pin", "foo", "--note", EVIL]).success();
    sandbox
}

fn run(sandbox: &Sandbox, words: &[&str]) -> Assert {
    let mut process = sandbox.process(EGGCACHE);
    process.args(words);
    Command::from_std(process).assert()
}

fn assert_honest(command: &str, Output { stdout, stderr, .. }: &Output) {
    for text in [stdout, stderr] {
        let odd = text
            .chars()
            .find(|c| (c.is_control() && *c != '\n') || matches!(c, '\u{2028}' | '\u{202e}'));
        assert_eq!(odd, None, "{command}: {text:?}");
        let forged = text.lines().find(|line| line.trim_start().starts_with("forged"));
        assert_eq!(forged, None, "{command}: {text}");
    }
}

#[test]
fn names_cannot_forge_lines_or_act_on_a_terminal() {
    let sandbox = sandbox();
    let commands: &[&[&str]] = &[
        &["add", "eggs"],
        &["-v", "add", "eggs"],
        &["list"],
        &["list", EVIL],
        &["show", "foo"],
        &["show", "foo==1.0"],
        &["show", EVIL_NAME, "--files"],
        &["show", EVIL],
        &["-v", "materialize", "--into", EVIL, "--all"],
        &["materialize", "--into", EVIL, "--preflight", "foo==1.0", EVIL],
        &["check", "."],
        &["check", "-v", "."],
        &["check", EVIL],
        &["bundle", ".", "-o", "out.tar"],
        &["-v", "gc", "--max-size", "0", "--dry-run"],
        &["pins"],
        &["unpin", EVIL],
        &["roots", "--forget", EVIL],
        &["stats"],
        &["verify"],
        &["reindex"],
        &["remote", "add", EVIL, "/no/where"],
        &["remote", "add", "team", EVIL],
        &["pull", EVIL, "--from", EVIL],
        &["--cache", EVIL, "list"],
    ];
    for command in commands {
        for options in [&[][..], &["--json"], &["--log-format", "json"]] {
            let cache: &[&str] = if command[0] == "--cache" { &[] } else { &["--cache", "cache"] };
            let output = Output::of(&run(&sandbox, &[cache, options, command].concat()));
            assert_honest(&format!("{options:?} {command:?}"), &output);
        }
    }
}

#[test]
fn a_log_file_has_one_printable_line_for_each_event() {
    let sandbox = sandbox();
    fs::write(sandbox.path("log"), "").unwrap();
    run(&sandbox, &["--cache", "cache", "materialize", "--into", EVIL, "--all"]);
    run(&sandbox, &["--cache", EVIL, "show", EVIL]);
    let log = fs::read_to_string(sandbox.path("log")).unwrap();
    assert!(log.contains("forged"), "the name is in the log: {log}");
    assert_honest("log", &Output { stdout: log, stderr: String::new() });
}

#[test]
fn an_argument_forges_no_line_of_a_usage_error() {
    let sandbox = Sandbox::new();
    for arguments in [["a\nerror: all eggs are lost\u{202e}"], ["--color=a\nb"], ["list\u{1b}[2J"]]
    {
        let mut process = sandbox.process(EGGCACHE);
        let output = process.args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!stderr.contains("\nerror: all") && !stderr.contains("a\nb"), "{stderr}");
        assert!(!stderr.contains(['\u{202e}', '\u{1b}']), "{stderr:?}");
        assert!(stderr.contains(r"\n") || stderr.contains(r"\u{1b}"), "{stderr}");
    }
}
