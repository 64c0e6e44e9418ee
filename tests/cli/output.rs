//! Data goes to standard output, everything else to standard error.

use std::io::pipe;

use serde_json::{Value, json};

use crate::serve::{Server, opening};
use crate::support::{Sandbox, host, text};

const COMMANDS: [&str; 13] = [
    "add eggs",
    "materialize --into out --all",
    "list",
    "show foo",
    "show foo --files",
    "gc",
    "gc --max-size 0 --dry-run",
    "roots",
    "stats",
    "pin foo",
    "pins",
    "verify",
    "reindex",
];

/// The value of a field in each element of a list.
fn each<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    list.as_array().unwrap().iter().map(|it| text(&it[field])).collect()
}

/// One column of the lines in a text.
fn column(text: &str, at: usize) -> Vec<&str> {
    text.lines().map(|line| line.split_whitespace().nth(at).unwrap()).collect()
}

#[test]
fn every_command_prints_json_and_nothing_else() {
    let sandbox = Sandbox::with_two();
    for line in COMMANDS {
        let output = sandbox.ok(&format!("--json {line}"));
        assert!(output.json().is_object(), "{line}");
        assert_eq!(output.stderr, "", "{line}");
        assert!(output.stdout.ends_with("}\n"), "{line}");
    }
}

#[test]
fn the_json_option_works_before_and_after_the_command() {
    let sandbox = Sandbox::with_two();
    assert_eq!(sandbox.ok("list --json").stdout, sandbox.ok("--json list").stdout);
}

#[test]
fn quiet_prints_nothing_if_there_is_no_problem() {
    let sandbox = Sandbox::with_two();
    for line in COMMANDS {
        let output = sandbox.ok(&format!("-q {line}"));
        assert_eq!(output.stderr, "", "{line}");
    }
}

#[test]
fn a_summary_goes_to_standard_error() {
    let sandbox = Sandbox::with_two();
    for line in ["add eggs", "materialize --into out --all", "gc", "verify", "reindex"] {
        let output = sandbox.ok(line);
        assert_eq!(output.stdout, "", "{line}");
        assert_eq!(output.stderr.lines().count(), 1, "{line}");
    }
}

#[test]
fn the_text_of_list_agrees_with_its_json() {
    let sandbox = Sandbox::with_two();
    let report = sandbox.json("list");
    let table = sandbox.ok("list").stdout;
    let rows = table.split_once('\n').unwrap().1;
    assert_eq!(column(rows, 0), each(&report["eggs"], "name"));
    assert_eq!(column(rows, 1), each(&report["eggs"], "version"));
    let digests = each(&report["eggs"], "digest");
    for (line, digest) in rows.lines().zip(digests) {
        assert!(digest.starts_with(line.split_whitespace().last().unwrap()), "{line}");
    }
}

#[test]
fn the_text_of_show_agrees_with_its_json() {
    let sandbox = Sandbox::with_two();
    let report = sandbox.json("show foo --files");
    let output = sandbox.ok("show foo --files").stdout;
    for field in ["digest", "file_name", "name", "version", "blob"] {
        assert!(output.contains(text(&report[field])), "{field}");
    }
    for entry in report["entries"].as_array().unwrap() {
        assert!(output.contains(text(&entry["path"])));
    }
}

#[test]
fn the_text_of_add_agrees_with_its_json() {
    let sandbox = Sandbox::with_two();
    sandbox.egg("new", "1.0");
    let output = sandbox.shell("\"$EGGCACHE\" -v --cache second add eggs");
    let report = sandbox.shell("\"$EGGCACHE\" --json --cache third add eggs").json();
    assert_eq!(column(&output.stdout, 0), each(&report["eggs"], "outcome"));
    let names: Vec<&str> =
        report["eggs"].as_array().unwrap().iter().map(|it| text(&it["egg"]["file_name"])).collect();
    assert_eq!(column(&output.stdout, 2), names);
    output.says(&["3 eggs stored", "0 already there"]);
}

#[test]
fn the_text_of_materialize_agrees_with_its_json() {
    let sandbox = Sandbox::with_two();
    sandbox.ok("materialize --into one foo");
    sandbox.ok("materialize --into two foo");
    let output = sandbox.ok("-v materialize --into one --all");
    let report = sandbox.json("materialize --into two --all");
    assert_eq!(column(&output.stdout, 0), each(&report["eggs"], "outcome"));
    assert_eq!(column(&output.stdout, 1), each(&report["eggs"], "file_name"));
    output.says(&["1 egg copied", "1 already there"]);
}

#[test]
fn the_text_of_gc_agrees_with_its_json() {
    let sandbox = Sandbox::with_two();
    let report = sandbox.json("gc --max-size 0 --dry-run");
    let output = sandbox.ok("gc --max-size 0 --dry-run");
    let rows = output.stdout.split_once('\n').unwrap().1;
    assert_eq!(column(rows, 0), each(&report["evicted"], "file_name"));
    output.says(&["Would remove 2 eggs"]);
}

#[test]
fn the_text_of_verify_agrees_with_its_json() {
    let sandbox = Sandbox::with_two();
    crate::damage::flip_last_bit(&sandbox.blob("foo"));
    let report = sandbox.fails("--json verify", 4).json();
    let output = sandbox.fails("verify", 4);
    output.says(&[&format!("{} blobs, {} frames", report["blobs"], report["frames"])]);
    output.says(&["1 problem"]);
    for problem in report["problems"].as_array().unwrap() {
        let line = format!("{}: {}", text(&problem["file_name"]), text(&problem["what"]));
        output.says(&[&line]);
    }
    assert_eq!(output.stdout, "");
}

#[test]
fn the_text_of_reindex_agrees_with_its_json() {
    let sandbox = Sandbox::with_two();
    let report = sandbox.json("reindex");
    assert_eq!((&report["found"], &report["lost"]), (&json!(0), &json!(0)));
    let summary = format!("Index rebuilt: {} eggs, none added or dropped", report["eggs"]);
    sandbox.ok("reindex").says(&[&summary]);
    sandbox.sql("DELETE FROM eggs WHERE name = 'foo'");
    sandbox.ok("reindex").says(&["Index rebuilt: 2 eggs, 1 added\n"]);
}

#[test]
fn an_error_goes_to_standard_error_even_with_json() {
    let sandbox = Sandbox::with_two();
    let output = sandbox.fails("--json show nothing", 3);
    assert_eq!(output.stdout, "");
    output.says(&["error: ", "nothing"]);
    sandbox.fails("-q show nothing", 3).says(&["error: "]);
}

#[test]
fn an_error_prints_its_cause_once() {
    let sandbox = Sandbox::with_two();
    let message = sandbox.fails("add nowhere", 1).stderr;
    assert_eq!(message.matches("No such file").count(), 1, "{message}");
}

#[test]
fn color_is_printed_only_if_requested() {
    let sandbox = Sandbox::with_two();
    assert!(sandbox.ok("--color always verify").stderr.contains("\x1b["));
    for when in ["auto", "never"] {
        assert!(!sandbox.ok(&format!("--color {when} verify")).stderr.contains('\x1b'));
    }
}

#[test]
fn a_broken_pipe_is_not_an_error() {
    let sandbox = Sandbox::with_two();
    for line in COMMANDS {
        for line in [line.to_owned(), format!("--json {line}"), format!("-v {line}")] {
            let (reader, writer) = pipe().unwrap();
            drop(reader);
            let output = sandbox.eggcache(&line).stdout(writer).output().unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success(), "{line}: {stderr}");
            assert!(!stderr.contains("error"), "{line}: {stderr}");
        }
    }
}

#[test]
fn a_broken_pipe_for_messages_is_not_an_error() {
    let sandbox = Sandbox::with_two();
    for line in COMMANDS {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let output = sandbox.eggcache(line).stderr(writer).output().unwrap();
        assert!(output.status.success(), "{line}");
    }
}

#[test]
fn a_reader_that_stops_early_is_not_an_error() {
    let sandbox = Sandbox::new();
    sandbox.added("foo", "1.0");
    let columns = "file_name, name, python, abi, platform, libc, generation, source_sha256, \
        variant, environment, files, directories, symlinks, bytes, blob_bytes, added_at, \
        eggcache, buildout, setuptools, source, build_seconds, replaces, used_at, uses";
    sandbox.sql(&format!(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 2000) \
         INSERT INTO eggs (digest, version, {columns}) \
         SELECT printf('%064x', n), '1.' || n, {columns} FROM eggs, n"
    ));
    let output = sandbox.shell(
        "{ \"$EGGCACHE\" --cache cache list; echo $? > code; } | head -1; test $(cat code) = 0",
    );
    assert_eq!(output.stdout.lines().count(), 1);
    assert!(!output.stderr.contains("error"), "{}", output.stderr);
}

#[test]
fn a_full_standard_output_is_an_error() {
    let sandbox = Sandbox::with_two();
    let Ok(full) = std::fs::File::options().write(true).open("/dev/full") else { return };
    let output = sandbox.eggcache("list").stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn every_command_has_help() {
    let sandbox = Sandbox::new();
    let told = [
        "add",
        "materialize",
        "list",
        "show",
        "gc",
        "roots",
        "stats",
        "pin",
        "unpin",
        "pins",
        "verify",
        "init",
        "reindex",
        "completions",
        "man",
    ];
    for command in told.into_iter().chain(["serve"]) {
        let output = sandbox.ok(&format!("{command} --help"));
        assert!(output.stdout.contains(&format!("Usage: eggcache {command}")), "{command}");
        assert!(output.stdout.contains("--cache"), "{command}");
        assert_eq!(output.stderr, "");
    }
    let help = sandbox.ok("--help").stdout;
    for command in told {
        assert!(help.contains(&format!("\n  {command} ")), "{command}");
    }
    assert_eq!(sandbox.ok("help").stdout, help);
    assert_eq!(sandbox.ok("help gc").stdout, sandbox.ok("gc --help").stdout);
    for command in ["serve", "names"] {
        assert!(!help.contains(&format!("\n  {command} ")), "{command}");
        assert!(!sandbox.fails("--json", 2).stderr.contains(command), "{command}");
    }
    assert!(!sandbox.path("cache").exists());
}

#[test]
fn usage_does_not_require_what_the_environment_sets() {
    let sandbox = Sandbox::new();
    let usage = |line: &str| {
        let mut process = sandbox.process(crate::support::EGGCACHE);
        process.args(line.split(' ')).env("EGGCACHE_DIR", "cache").env("SOURCE_DATE_EPOCH", "1");
        String::from_utf8(process.output().unwrap().stderr).unwrap()
    };
    assert!(usage("trust").contains("Usage: eggcache trust <NAME> <KEY>\n"));
    assert!(usage("bundle app").contains("Usage: eggcache bundle --output <FILE> <BUILDOUT>\n"));
    let push = "Usage: eggcache push <EGG|--requirements <FILE>|--all>\n";
    assert!(usage("push").contains(push), "{}", usage("push"));
    let mut process = sandbox.process(crate::support::EGGCACHE);
    let output = process.args(["list"]).env("EGGCACHE_DIR", "").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn commands_that_need_no_cache_of_their_own_ignore_an_empty_variable() {
    let sandbox = Sandbox::with_two();
    let mut process = sandbox.process(crate::support::EGGCACHE);
    assert!(process.args(["man"]).env("EGGCACHE_DIR", "").output().unwrap().status.success());
    // Buildout uses its own option.
    let mut process = sandbox.process(crate::support::EGGCACHE);
    process.arg("serve").env("EGGCACHE_DIR", "");
    let (mut server, _) = Server::start_by(process);
    assert_eq!(server.ask(&opening(&sandbox, &host()))["read_only"], false);
}

#[test]
fn the_printed_version_is_that_of_the_package() {
    let sandbox = Sandbox::new();
    let version = format!("eggcache {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(sandbox.ok("--version").stdout, version);
}

#[test]
fn creating_a_cache_is_announced_once() {
    let sandbox = Sandbox::new();
    for line in ["pin foo", "add eggs", "gc"] {
        sandbox.egg("foo", "1.0");
        std::fs::remove_dir_all(sandbox.path("cache")).unwrap_or_default();
        sandbox.ok(line).says(&["no cache at cache: created an empty one"]);
        let again = sandbox.ok(line);
        assert!(!again.stderr.contains("no cache at"), "{again:?}");
    }
    std::fs::remove_dir_all(sandbox.path("cache")).unwrap();
    assert_eq!(sandbox.ok("--quiet list").stderr, "");
}

#[test]
fn a_full_disk_behind_standard_output_is_reported() {
    let sandbox = Sandbox::with_two();
    for line in ["list", "--json list"] {
        let mut process = sandbox.eggcache(line);
        process.stdout(std::fs::File::options().write(true).open("/dev/full").unwrap());
        let output = process.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        let says = "error: cannot write standard output: No space left on device";
        assert!(stderr.starts_with(says), "{stderr}");
        assert!(stderr.contains("\nhint: free some space where standard output goes"), "{stderr}");
    }
}

#[test]
fn a_command_without_eggs_fails_with_its_usage() {
    let sandbox = Sandbox::new();
    for line in ["materialize --into out", "push"] {
        sandbox.fails(line, 2).says(&["<EGG|--requirements <FILE>|--all>"]);
    }
    sandbox.fails("pull", 2).says(&["<EGG|--requirements <FILE>>"]);
}

#[test]
fn what_is_no_file_is_not_replaced() {
    let sandbox = Sandbox::with_two();
    sandbox.shell("mkfifo page.html; mkdir -p man/man1; echo mine >mine; ln -s ../../mine man/man1/eggcache.1");
    sandbox.fails("stats --html page.html", 1).says(&["page.html", "it exists and is not a file"]);
    assert!(std::os::unix::fs::FileTypeExt::is_fifo(
        &sandbox.path("page.html").symlink_metadata().unwrap().file_type()
    ));
    sandbox.ok("man --out man");
    assert_eq!(std::fs::read_to_string(sandbox.path("mine")).unwrap(), "mine\n");
    assert!(sandbox.path("man/man1/eggcache.1").symlink_metadata().unwrap().is_file());
}
