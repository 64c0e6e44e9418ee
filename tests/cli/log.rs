//! Messages beside the data: for a person at a terminal, for a program that collects logs, or none.

use std::fs;

use serde_json::Value;

use crate::support::{EGGCACHE, Output, Sandbox, skip, text};

/// Each line of a log.
fn lines(output: &Output) -> Vec<Value> {
    output.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn levels(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| text(&line["level"])).collect()
}

/// The output of a command on a terminal; `None`, with a message, if `script` is not installed.
fn on_terminal(sandbox: &Sandbox, line: &str, no_color: bool) -> Option<String> {
    on_terminal_of(sandbox, 80, line, no_color)
}

fn on_terminal_of(sandbox: &Sandbox, columns: usize, line: &str, no_color: bool) -> Option<String> {
    let mut process = sandbox.process("script");
    let command = format!("stty cols {columns} rows 24; {EGGCACHE} --cache cache {line}");
    process.args(["-qec", &command, "/dev/null"]);
    process.env("TERM", "xterm").env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
    if no_color {
        process.env("NO_COLOR", "1");
    }
    let Ok(output) = process.output() else {
        skip("there is no script");
        return None;
    };
    Some(String::from_utf8(output.stdout).unwrap())
}

/// The operations that may take long, with something to do for each.
fn long_operations(sandbox: &Sandbox) -> Vec<&'static str> {
    fs::create_dir_all(sandbox.path("app/eggs")).unwrap();
    fs::write(sandbox.path("app/buildout.cfg"), "[buildout]\n").unwrap();
    sandbox.ok("materialize --into app/eggs --all");
    vec![
        "add eggs",
        "materialize --into out --all",
        "verify",
        "verify --repair",
        "reindex",
        "check app",
        "check --full app",
        "gc --max-size 0",
    ]
}

#[test]
fn progress_on_a_terminal_shows_rate_and_remaining_time() {
    let sandbox = Sandbox::with_two();
    for line in long_operations(&sandbox) {
        let Some(seen) = on_terminal(&sandbox, line, false) else { return };
        assert!(seen.contains("/s, ") && seen.contains(" left"), "{line}: {seen:?}");
    }
}

#[test]
fn a_progress_bar_fits_80_columns_and_is_never_empty() {
    let sandbox = Sandbox::with_two();
    // Sizes with many digits.
    let large = vec![b'x'; 3 << 20];
    sandbox.egg_with("large", "1.0", &[("large.py", &large)]);
    sandbox.ok("add eggs");
    for line in long_operations(&sandbox).into_iter().chain(["gc"]) {
        let Some(seen) = on_terminal(&sandbox, line, false) else { return };
        // A bar that spans two lines moves the cursor up again.
        assert!(!seen.contains("\x1b[1A"), "{line}: {seen:?}");
        assert!(!seen.contains("0/0"), "{line}: {seen:?}");
        let rates = seen.split(' ').filter(|word| word.ends_with("/s,") && word.len() > 3);
        assert!(rates.clone().all(|rate| !rate.contains('.')), "{line}: {seen:?}");
    }
}

#[test]
fn rebuilding_the_index_shows_progress() {
    let sandbox = Sandbox::with_two();
    fs::remove_file(sandbox.path("cache/index.sqlite")).unwrap();
    let log = lines(&sandbox.ok("--log-format json reindex"));
    assert_eq!(log[0]["stage"], "reading");
    assert_eq!(log[1]["done"], 2);
}

#[test]
fn no_progress_is_shown_with_quiet_or_without_a_terminal() {
    let sandbox = Sandbox::with_two();
    for line in long_operations(&sandbox) {
        let output = sandbox.ok(line);
        assert!(!output.stderr.contains(" left") && !output.stderr.contains('\r'), "{line}");
    }
    if let Some(seen) = on_terminal(&sandbox, "--quiet verify", false) {
        assert_eq!(seen, "");
    }
}

#[test]
fn no_color_is_respected_on_a_terminal() {
    let sandbox = Sandbox::with_two();
    let is_coloured = |seen: &str| seen.contains("\x1b[32m") || seen.contains("\x1b[1m");
    if let Some(seen) = on_terminal(&sandbox, "verify", false) {
        assert!(is_coloured(&seen), "{seen:?}");
        for line in ["verify", "--help", "show nothing"] {
            let seen = on_terminal(&sandbox, line, true).unwrap();
            assert!(!is_coloured(&seen), "{line}: {seen:?}");
        }
    }
}

#[test]
fn a_json_log_has_one_object_per_line() {
    let sandbox = Sandbox::with_two();
    for line in long_operations(&sandbox) {
        let line = format!("--log-format json {line}");
        let log = lines(&sandbox.ok(&line));
        assert_eq!(levels(&log)[..2], ["progress", "progress"], "{line}");
        assert_eq!(levels(&log).last(), Some(&"summary"), "{line}");
        for it in &log {
            let message = text(&it["message"]);
            assert!(!message.is_empty() && !message.contains('\x1b'), "{line}");
        }
        let [begin, end] = &log[..2] else { panic!() };
        assert_eq!((&begin["event"], &begin["done"]), (&"begin".into(), &0.into()), "{line}");
        assert_eq!((&end["event"], &end["done"]), (&"end".into(), &begin["total"]), "{line}");
        for field in ["stage", "total", "unit"] {
            assert_eq!(begin[field], end[field], "{line}");
        }
    }
}

#[test]
fn a_json_log_has_problems_notes_and_errors() {
    let sandbox = Sandbox::with_two();
    sandbox.other_build("foo", "1.0");
    let log = lines(&sandbox.ok("--log-format json add other"));
    assert!(levels(&log).contains(&"note"), "{log:?}");
    crate::damage::flip_last_bit(&sandbox.blob("foo"));
    let log = lines(&sandbox.fails("--log-format json verify", 4));
    assert!(levels(&log).contains(&"problem"), "{log:?}");
    let log = lines(&sandbox.fails("--log-format json show fooo", 3));
    assert_eq!(levels(&log), ["error"]);
    assert_eq!(text(&log[0]["message"]), "the cache has no egg fooo");
    assert_eq!(log[0]["hint"], serde_json::json!(["the nearest name is foo (1.0)"]));
    fs::remove_dir_all(sandbox.path("cache")).unwrap();
    fs::create_dir(sandbox.path("app")).unwrap();
    fs::write(sandbox.path("app/buildout.cfg"), "[buildout]\n").unwrap();
    let log = lines(&sandbox.ok("--log-format json check app"));
    assert_eq!(levels(&log)[0], "warning");
}

#[test]
fn a_json_log_includes_usage_errors() {
    let sandbox = Sandbox::new();
    for line in ["--log-format json shwo", "show --log-format=json", "--log-format json gc --x"] {
        let log = lines(&sandbox.fails(line, 2));
        assert_eq!(levels(&log), ["error"], "{line}");
    }
    sandbox.fails("shwo", 2).says(&["error: unrecognized subcommand", "show"]);
    sandbox.fails("--log-format xml list", 2).says(&["[possible values: text, json]"]);
}

#[test]
fn a_json_log_leaves_the_report_on_standard_output() {
    let sandbox = Sandbox::with_two();
    let output = sandbox.ok("--json --log-format json verify");
    assert_eq!(output.json()["blobs"], 2);
    assert_eq!(levels(&lines(&output)), ["progress", "progress", "summary"]);
    let output = sandbox.ok("--quiet --log-format json verify");
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""));
}

#[test]
fn a_table_omits_columns_on_a_narrow_terminal() {
    let sandbox = Sandbox::new();
    sandbox.egg("a.project.with.a.long.name", "1.0");
    sandbox.ok("add eggs");
    let Some(list) = on_terminal_of(&sandbox, 80, "list", true) else { return };
    assert!(list.lines().all(|line| line.len() <= 80), "{list}");
    assert!(list.contains("VERSION") && list.contains("DIGEST") && !list.contains("GEN"), "{list}");
    let wide = on_terminal_of(&sandbox, 120, "list", true).unwrap();
    assert!(wide.contains("GEN") && wide.contains("STORED"), "{wide}");
    assert!(sandbox.ok("list").stdout.contains("GEN"));
    for (columns, is_told) in [(80, false), (140, true)] {
        let gc = on_terminal_of(&sandbox, columns, "gc --max-size 1B --dry-run", true).unwrap();
        assert_eq!(gc.contains("LAST USED"), is_told, "{gc}");
        assert!(gc.contains("over the size limit"), "{gc}");
    }
}
