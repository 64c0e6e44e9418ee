//! Roots: which buildouts use the cache, and that `gc` keeps the eggs they use.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::serve::{Server, opening_with};
use crate::support::{Mount, Sandbox, host, names_in, noise, text, write};

const DAY: i64 = 86_400;

/// A sandbox with three versions of foo, each of about 10 kB, last used 300, 200 and 100 days ago.
fn with_three() -> Sandbox {
    let sandbox = Sandbox::new();
    for version in ["1.0", "1.1", "1.2"] {
        sandbox.egg_with("foo", version, &[("noise", &noise(10_000))]);
    }
    sandbox.ok("add eggs");
    for (version, days) in [("1.0", 300), ("1.1", 200), ("1.2", 100)] {
        sandbox.sql(&format!(
            "UPDATE eggs SET used_at = unixepoch() - {days} * {DAY} WHERE version = '{version}'"
        ));
    }
    sandbox
}

fn egg_of(version: &str) -> String {
    format!("foo-{version}-py3.11.egg")
}

/// Runs a buildout in `app` that copies an egg and succeeds, and restores the egg's age.
fn use_in_app(sandbox: &Sandbox, version: &str) -> Value {
    let digest = sandbox.digest(&format!("foo=={version}"));
    let used_at = sandbox.json(&format!("show foo=={version}"))["used_at"].clone();
    let mut server = Server::open(sandbox, &host());
    let answer = server.materialize(sandbox, &digest);
    assert!(matches!(text(&answer["outcome"]), "copied" | "present"), "{answer}");
    let answer = server.register(sandbox, &[&egg_of(version)]);
    server.close();
    sandbox.sql(&format!("UPDATE eggs SET used_at = {used_at} WHERE digest = '{digest}'"));
    answer
}

fn roots(sandbox: &Sandbox) -> Vec<Value> {
    sandbox.json("roots")["roots"].as_array().unwrap().clone()
}

fn record(sandbox: &Sandbox) -> PathBuf {
    let names = names_in(&sandbox.path("cache/roots"));
    let record = names.iter().find(|name| name.ends_with(".json")).unwrap();
    sandbox.path("cache/roots").join(record)
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Moves a time in a record, or the time that is the whole record, into the past.
fn age(path: &Path, field: &str, seconds: i64) {
    let mut record = read(path);
    let time = if field.is_empty() { &mut record } else { &mut record[field] };
    *time = json!(time.as_i64().unwrap() - seconds);
    write(path, record.to_string().as_bytes());
}

#[test]
fn a_buildout_that_succeeded_is_listed_with_its_eggs() {
    let sandbox = with_three();
    assert_eq!(use_in_app(&sandbox, "1.0"), json!({"registered": true, "eggs": 1, "cached": 1}));
    let [root] = &roots(&sandbox)[..] else { panic!("one root") };
    assert_eq!(
        text(&root["directory"]),
        sandbox.path("app").canonicalize().unwrap().to_str().unwrap()
    );
    assert_eq!(root["eggs_directory"], json!(sandbox.path("out").canonicalize().unwrap()));
    assert_eq!((&root["python"], &root["buildout"]), (&json!("cp311"), &json!("5.1.0")));
    assert_eq!(root["state"], "live");
    assert_eq!(root["eggs"][0]["file_name"], egg_of("1.0"));
    assert_eq!(root["eggs"][0]["digest"], sandbox.digest("foo==1.0"));
    assert_eq!(root["bytes"], sandbox.blob("foo==1.0").metadata().unwrap().len());
    assert_eq!(root["exclusive_bytes"], root["bytes"]);
    let listed = sandbox.ok("roots");
    assert!(listed.stdout.contains("live"), "{}", listed.stdout);
    listed.says(&["1 buildout"]);
}

#[test]
fn a_failed_buildout_changes_nothing() {
    let sandbox = with_three();
    let mut server = Server::open(&sandbox, &host());
    server.materialize(&sandbox, &sandbox.digest("foo==1.0"));
    server.close();
    assert_eq!(roots(&sandbox), [json!(null); 0]);
    use_in_app(&sandbox, "1.1");
    let before = fs::read(record(&sandbox)).unwrap();
    let mut server = Server::open(&sandbox, &host());
    server.materialize(&sandbox, &sandbox.digest("foo==1.2"));
    drop(server);
    assert_eq!(fs::read(record(&sandbox)).unwrap(), before);
}

#[test]
fn gc_keeps_eggs_that_a_live_buildout_uses() {
    for policy in ["--max-age 1d", "--max-size 0", "--keep-versions 1 --max-size 1kB"] {
        let sandbox = with_three();
        use_in_app(&sandbox, "1.0");
        let plan = sandbox.json(&format!("gc {policy} --dry-run"));
        let report = sandbox.json(&format!("gc {policy}"));
        for report in [plan, report] {
            let kept = &report["kept_eggs"][0];
            assert_eq!((&report["kept"], &kept["version"]), (&json!(1), &json!("1.0")));
            assert_eq!(kept["reason"], "root");
            assert_eq!(kept["root"], json!(sandbox.path("app").canonicalize().unwrap()));
        }
        assert_eq!(sandbox.listed(), ["foo==1.0"]);
        sandbox.ok("materialize --into again foo==1.0");
    }
}

#[test]
fn eggs_registered_while_gc_plans_are_young() {
    let sandbox = with_three();
    sandbox.ok("materialize --into out foo==1.0");
    sandbox.sql("UPDATE eggs SET used_at = 1, uses = 0");
    let mut server = Server::open(&sandbox, &host());
    server.register(&sandbox, &[&egg_of("1.0")]);
    let egg = sandbox.json("show foo==1.0");
    assert!(egg["used_at"].as_i64().unwrap() > 1);
    assert_eq!(egg["uses"], 0);
    server.close();
}

#[test]
fn gc_reports_that_used_eggs_exceed_the_limit() {
    let sandbox = with_three();
    use_in_app(&sandbox, "1.0");
    sandbox.ok("gc --max-size 1kB").says(&["note: ", "over the limit of 1.0 kB", "--ignore-roots"]);
    let fits = sandbox.ok("gc --max-size 1MB");
    assert!(!fits.stderr.contains("note: "), "{}", fits.stderr);
}

#[test]
fn gc_can_be_told_to_ignore_roots() {
    let sandbox = with_three();
    use_in_app(&sandbox, "1.0");
    sandbox.ok("gc --max-size 0 --ignore-roots");
    assert_eq!(sandbox.listed(), [""; 0]);
    assert_eq!(roots(&sandbox).len(), 1, "the buildout is still there");
    assert_eq!(roots(&sandbox)[0]["cached"], 0);
}

#[test]
fn eggs_that_a_buildout_no_longer_uses_can_be_evicted() {
    let sandbox = with_three();
    use_in_app(&sandbox, "1.0");
    use_in_app(&sandbox, "1.2");
    sandbox.ok("gc --max-size 0");
    assert_eq!(sandbox.listed(), ["foo==1.2"]);
}

#[test]
fn parts_that_did_not_run_keep_their_eggs() {
    let sandbox = with_three();
    sandbox.added("bar", "1.0");
    use_in_app(&sandbox, "1.0");
    let mut server = Server::open(&sandbox, &host());
    server.materialize(&sandbox, &sandbox.digest("bar==1.0"));
    let answer = server.register(&sandbox, &["bar-1.0-py3.11.egg"]);
    assert_eq!(answer["cached"], 2);
    fs::remove_dir_all(sandbox.path("out").join(egg_of("1.0"))).unwrap();
    assert_eq!(server.register(&sandbox, &["bar-1.0-py3.11.egg"])["cached"], 1);
    server.close();
}

#[test]
fn removed_parts_release_their_eggs() {
    let sandbox = with_three();
    for name in ["script", "conf", "installed", "nowhere"] {
        sandbox.added(name, "1.0");
    }
    use_in_app(&sandbox, "1.0");
    let mut server = Server::open(&sandbox, &host());
    let egg = |name: &str| format!("{name}-1.0-py3.11.egg");
    let all = ["script", "conf", "installed", "nowhere"].map(egg);
    for name in ["script", "conf", "installed", "nowhere"] {
        server.materialize(&sandbox, &sandbox.digest(&format!("{name}==1.0")));
    }
    server.register(&sandbox, &all.each_ref().map(String::as_str));
    server.close();
    write(&sandbox.path("app/bin/run"), format!("['/x/eggs/{}']", egg("script")).as_bytes());
    write(&sandbox.path("app/parts/a/a.cfg"), format!("x = {}", egg("conf")).as_bytes());
    write(&sandbox.path("app/.installed.cfg"), egg("installed").as_bytes());
    let registered = |whole: bool| {
        let mut server = Server::open(&sandbox, &host());
        let answer = server.ask(&json!({
            "op": "root",
            "directory": sandbox.path("app"),
            "eggs_directory": sandbox.path("out"),
            "eggs": [sandbox.path("out").join(egg_of("1.0"))],
            "whole": whole,
        }));
        server.close();
        answer["cached"].clone()
    };
    assert_eq!(registered(false), 5, "the other parts are unknown");
    assert_eq!(registered(true), 4);
    sandbox.ok("gc --max-size 0");
    let kept = ["conf==1.0", "foo==1.0", "installed==1.0", "script==1.0"];
    assert_eq!(sandbox.listed(), kept);
}

#[test]
fn an_egg_that_was_there_before_is_identified_by_its_files() {
    let sandbox = with_three();
    sandbox.ok("materialize --into out foo==1.0 foo==1.1");
    write(&sandbox.path("out").join(egg_of("1.1")).join("foo.py"), b"edited\n");
    write(&sandbox.path("out/other-1.0-py3.11.egg/other.py"), b"");
    let mut server = Server::open(&sandbox, &host());
    let eggs = [&egg_of("1.0"), &egg_of("1.1"), "other-1.0-py3.11.egg", "gone-1.0-py3.11.egg"];
    let answer = server.register(&sandbox, &eggs);
    assert_eq!(answer, json!({"registered": true, "eggs": 3, "cached": 1}));
    server.close();
    let root = &roots(&sandbox)[0];
    assert_eq!(root["eggs"][0]["digest"], sandbox.digest("foo==1.0"));
    assert_eq!(root["eggs"][1]["digest"], json!(null));
}

#[test]
fn an_evicted_egg_that_is_stored_again_counts_as_used() {
    let sandbox = with_three();
    use_in_app(&sandbox, "1.0");
    sandbox.ok("gc --max-size 0 --ignore-roots");
    let mut server = Server::open(&sandbox, &host());
    assert_eq!(server.register(&sandbox, &[&egg_of("1.0")])["cached"], 0);
    sandbox.ok("add eggs");
    assert_eq!(server.register(&sandbox, &[&egg_of("1.0")])["cached"], 1);
    server.close();
}

#[test]
fn a_custom_egg_is_used_in_its_own_directory() {
    let sandbox = with_three();
    use_in_app(&sandbox, "1.0");
    let develop = sandbox.path("app/develop-eggs");
    sandbox.ok("materialize --into app/develop-eggs foo==1.2");
    let mut server = Server::open(&sandbox, &host());
    let answer = server.ask(&json!({
        "op": "root",
        "directory": sandbox.path("app"),
        "eggs_directory": sandbox.path("out"),
        "eggs": [develop.join(egg_of("1.2"))],
        "whole": false,
    }));
    assert_eq!(answer["cached"], 1);
    server.close();
    let egg = &roots(&sandbox)[0]["eggs"][0];
    assert_eq!(egg["directory"], json!(develop.canonicalize().unwrap()));
}

#[test]
fn repeated_runs_write_the_record_once_an_hour() {
    let sandbox = with_three();
    use_in_app(&sandbox, "1.0");
    let inode = || record(&sandbox).metadata().unwrap().ino();
    let first = inode();
    let again = || {
        let mut server = Server::open(&sandbox, &host());
        server.register(&sandbox, &[&egg_of("1.0")]);
        server.close();
    };
    again();
    assert_eq!(inode(), first);
    age(&record(&sandbox), "last_run", 3601);
    age(&record(&sandbox), "first_run", 3601);
    let first_run = read(&record(&sandbox))["first_run"].clone();
    again();
    assert_eq!(read(&record(&sandbox))["first_run"], first_run);
    assert_ne!(read(&record(&sandbox))["last_run"], first_run);
}

#[test]
fn a_root_is_forgotten_when_its_folder_has_long_been_gone() {
    let sandbox = with_three();
    use_in_app(&sandbox, "1.0");
    fs::remove_dir_all(sandbox.path("app")).unwrap();
    let gc = "gc --max-size 0";
    sandbox.ok(&format!("{gc} --dry-run"));
    assert!(!record(&sandbox).with_extension("gone").exists(), "a dry run records nothing");
    sandbox.ok(gc);
    assert_eq!(sandbox.listed(), ["foo==1.0"]);
    assert!(sandbox.ok("roots").stdout.contains("gone since"));

    // As if it had been gone for 29 days, then for 31.
    age(&record(&sandbox), "last_run", 40 * DAY);
    age(&record(&sandbox).with_extension("gone"), "", 29 * DAY);
    sandbox.ok(gc);
    assert_eq!(sandbox.listed(), ["foo==1.0"]);
    age(&record(&sandbox).with_extension("gone"), "", 2 * DAY);
    sandbox.ok(&format!("{gc} --grace 60d"));
    assert_eq!(sandbox.listed(), ["foo==1.0"]);
    sandbox.ok(&format!("{gc} --dry-run")).says(&["would forget", "Would remove 1 egg"]);
    sandbox.ok(gc).says(&["forgot the buildout", "app", "Removed 1 egg"]);
    assert_eq!(sandbox.listed(), [""; 0]);
    assert_eq!(names_in(&sandbox.path("cache/roots")), [""; 0]);
}

#[test]
fn a_root_whose_folder_returns_is_live_again() {
    let sandbox = with_three();
    use_in_app(&sandbox, "1.0");
    let (app, unmounted) = (sandbox.path("app"), sandbox.path("unmounted"));
    fs::rename(&app, &unmounted).unwrap();
    sandbox.ok("gc");
    assert!(record(&sandbox).with_extension("gone").exists());
    fs::rename(&unmounted, &app).unwrap();
    sandbox.ok("gc");
    assert!(!record(&sandbox).with_extension("gone").exists());
    assert_eq!(roots(&sandbox)[0]["state"], "live");
}

#[test]
fn a_root_can_be_forgotten_by_hand() {
    let sandbox = with_three();
    use_in_app(&sandbox, "1.0");
    sandbox.fails("roots --forget out", 3).says(&["is not a buildout that uses this cache"]);
    let report = sandbox.json("roots --forget app");
    assert_eq!(report["forgotten"], json!([sandbox.path("app").canonicalize().unwrap()]));
    assert_eq!(report["roots"], json!([]));
    sandbox.ok("gc --max-size 0");
    assert_eq!(sandbox.listed(), [""; 0]);
}

#[test]
fn forgetting_an_unknown_folder_suggests_the_nearest() {
    let sandbox = with_three();
    use_in_app(&sandbox, "1.0");
    for folder in ["ap", "app/parts/x", "apps"] {
        sandbox.fails(&format!("roots --forget {folder}"), 3).says(&["the nearest is /", "/app"]);
    }
    let absolute = sandbox.path("app").canonicalize().unwrap();
    let other = absolute.display().to_string().replacen("tmp", "tpm", 1);
    if other.contains("tpm") {
        let says = format!("the nearest is {}", absolute.display());
        sandbox.fails(&format!("roots --forget {other}"), 3).says(&[&says]);
    }
    sandbox.fails("roots --forget elsewhere/else", 3).says(&["lists the buildouts"]);
}

#[test]
fn a_missing_folder_can_be_forgotten_by_another_name() {
    let sandbox = with_three();
    use_in_app(&sandbox, "1.0");
    std::os::unix::fs::symlink(".", sandbox.path("link")).unwrap();
    fs::remove_dir_all(sandbox.path("app")).unwrap();
    sandbox.ok("roots --forget link/app").says(&["forgot"]);
    assert_eq!(roots(&sandbox).len(), 0);
}

#[test]
fn roots_survive_the_loss_of_the_index() {
    let sandbox = with_three();
    use_in_app(&sandbox, "1.0");
    sandbox.lose_index();
    sandbox.ok("gc --max-size 0");
    assert_eq!(sandbox.listed(), ["foo==1.0"]);
}

#[test]
fn an_egg_used_by_two_buildouts_is_exclusive_to_none() {
    let sandbox = with_three();
    use_in_app(&sandbox, "1.0");
    let mut server = Server::open(&sandbox, &host());
    server.ask(&json!({
        "op": "root",
        "directory": sandbox.path("other"),
        "eggs_directory": sandbox.path("out"),
        "eggs": [sandbox.path("out").join(egg_of("1.0"))],
        "whole": false,
    }));
    server.close();
    let roots = roots(&sandbox);
    assert_eq!(roots.len(), 2);
    assert!(roots.iter().all(|root| root["exclusive_bytes"] == 0 && root["bytes"] != 0));
    let kept = &sandbox.json("gc --dry-run")["kept_eggs"][0];
    assert_eq!(kept["more"], 1);
}

#[test]
fn an_unreadable_record_is_reported_and_stops_nothing() {
    let sandbox = with_three();
    use_in_app(&sandbox, "1.0");
    write(&sandbox.path("cache/roots/half.json"), b"{\"directory\"");
    let fifo = sandbox.path("cache/roots/fifo.json");
    assert!(sandbox.process("mkfifo").arg(&fifo).status().unwrap().success());
    sandbox.fails("roots", 4).says(&["half.json", "fifo.json"]);
    sandbox.ok("gc --max-size 0").says(&["half.json"]);
    assert_eq!(sandbox.listed(), ["foo==1.0"]);
    write(&record(&sandbox), b"");
    use_in_app(&sandbox, "1.0");
}

#[test]
fn a_cache_that_cannot_be_written_registers_no_roots() {
    let sandbox = Sandbox::new();
    let Some(mount) = Mount::new(&sandbox.path("cache"), "8M") else { return };
    sandbox.added("foo", "1.0");
    let mut server = Server::open(&sandbox, &host());
    server.materialize(&sandbox, &sandbox.digest("foo==1.0"));
    let filler = mount.fill();
    let answer = server.register(&sandbox, &["foo-1.0-py3.11.egg"]);
    assert_eq!(answer, json!({"registered": false, "eggs": 1, "cached": 1}));
    server.close();
    fs::remove_file(filler).unwrap();
    mount.make_read_only();
    let mut server = Server::opened_by(
        &sandbox,
        &opening_with(&sandbox, "eggs_directory", &sandbox.path("out")),
    );
    assert_eq!(server.register(&sandbox, &["foo-1.0-py3.11.egg"])["registered"], false);
    server.close();
    assert_eq!(roots(&sandbox), [json!(null); 0]);
}
