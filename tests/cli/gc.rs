//! `eggcache gc`: the plan, the run, and what it never touches.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Sandbox, assert_same, noise, text, tree, write};

/// A sandbox with three versions of foo, each of about 10 kB, last used 30, 20 and 10 days ago.
fn with_three() -> Sandbox {
    let sandbox = Sandbox::new();
    for version in ["1.9", "1.10", "1.11"] {
        sandbox.egg_with("foo", version, &[("noise", &noise(10_000))]);
    }
    sandbox.ok("add eggs");
    for (version, days) in [("1.9", 30), ("1.10", 20), ("1.11", 10)] {
        sandbox.sql(&format!(
            "UPDATE eggs SET used_at = unixepoch() - {days} * 86400 WHERE version = '{version}'"
        ));
    }
    sandbox
}

fn evicted(report: &Value) -> Vec<(&str, &str)> {
    let evicted = report["evicted"].as_array().unwrap();
    evicted.iter().map(|egg| (text(&egg["version"]), text(&egg["reason"]))).collect()
}

/// Asserts that a dry run changes nothing and announces exactly what the run then does.
fn goes_as_planned(sandbox: &Sandbox, options: &str, expected: &[(&str, &str)]) {
    let before = (tree(&sandbox.path("cache/blobs")), sandbox.json("list"));
    let plan = sandbox.json(&format!("gc {options} --dry-run"));
    let plan_as_text = sandbox.ok(&format!("gc {options} --dry-run"));
    assert_same(&before.0, &tree(&sandbox.path("cache/blobs")));
    assert_eq!(sandbox.json("list"), before.1);
    assert_eq!(evicted(&plan), expected);
    plan_as_text.says(&["Would remove"]);

    let output = sandbox.ok(&format!("gc {options}"));
    output.says(&["Removed"]);
    assert_eq!(output.stdout, plan_as_text.stdout);
    assert_eq!(output.stderr, plan_as_text.stderr.replace("Would remove", "Removed"));
    for (version, _) in expected {
        assert!(!sandbox.listed().contains(&format!("foo=={version}")));
    }
    assert_eq!(json!(sandbox.listed().len()), plan["kept"]);
    let stored: u64 = sandbox.blobs().iter().map(|blob| blob.metadata().unwrap().len()).sum();
    assert_eq!(plan["kept_bytes"], stored);
    sandbox.assert_tidy();
    sandbox.ok("verify");
}

#[test]
fn gc_without_a_rule_keeps_every_egg() {
    goes_as_planned(&with_three(), "", &[]);
}

#[test]
fn max_age_evicts_eggs_unused_for_longer() {
    goes_as_planned(&with_three(), "--max-age 15d", &[("1.10", "max-age"), ("1.9", "max-age")]);
    goes_as_planned(&with_three(), "--max-age 1y", &[]);
    goes_as_planned(&with_three(), "--max-age 600h", &[("1.9", "max-age")]);
}

#[test]
fn max_size_removes_the_least_recently_used() {
    goes_as_planned(&with_three(), "--max-size 25kB", &[("1.9", "max-size")]);
    goes_as_planned(&with_three(), "--max-size 15kB", &[("1.9", "max-size"), ("1.10", "max-size")]);
    goes_as_planned(&with_three(), "--max-size 1GiB", &[]);
}

#[test]
fn max_size_zero_empties_the_cache() {
    let all = [("1.9", "max-size"), ("1.10", "max-size"), ("1.11", "max-size")];
    goes_as_planned(&with_three(), "--max-size 0", &all);
}

#[test]
fn keep_versions_removes_older_versions() {
    let one = [("1.10", "keep-versions"), ("1.9", "keep-versions")];
    goes_as_planned(&with_three(), "--keep-versions 1", &one);
    goes_as_planned(&with_three(), "--keep-versions 2", &[("1.9", "keep-versions")]);
    goes_as_planned(&with_three(), "--keep-versions 3", &[]);
}

#[test]
fn the_rules_work_together_and_the_first_is_the_reason() {
    goes_as_planned(
        &with_three(),
        "--max-age 25d --keep-versions 2 --max-size 15kB",
        &[("1.9", "max-age"), ("1.10", "max-size")],
    );
}

/// The lines of a table, with single spaces between columns.
fn rows(table: &str) -> Vec<String> {
    table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn a_dry_run_explains_evictions_and_counts_kept_eggs() {
    let plan = with_three().ok("gc --max-age 25d --keep-versions 1 --dry-run");
    let rows = rows(&plan.stdout);
    assert_eq!(rows[0], "EGG SIZE LAST USED REASON");
    assert!(rows[1].starts_with("foo-1.9-py3.11.egg 10."), "{rows:?}");
    assert!(rows[1].ends_with("UTC not used for 25 days"), "{rows:?}");
    assert!(rows[2].starts_with("foo-1.10-py3.11.egg"), "{rows:?}");
    assert!(rows[2].ends_with("UTC superseded version"), "{rows:?}");
    assert_eq!(rows.len(), 3);
    plan.says(&["1 egg kept", "(1 among the newest versions)"]);
}

#[test]
fn a_verbose_run_prints_a_reason_for_every_egg() {
    let plan = with_three().ok("gc --max-size 15kB --dry-run --verbose");
    let ends: Vec<String> = rows(&plan.stdout)
        .iter()
        .map(|row| row.split_once(" UTC ").map_or(row.clone(), |it| it.1.to_owned()))
        .collect();
    let over = "evict over the size limit";
    assert_eq!(ends, ["EGG SIZE LAST USED ACTION REASON", over, over, "keep recently used"]);
}

#[test]
fn the_report_has_a_reason_for_every_egg() {
    let report = with_three().json("gc --keep-versions 2");
    assert_eq!(evicted(&report), [("1.9", "keep-versions")]);
    let kept = report["kept_eggs"].as_array().unwrap();
    let kept: Vec<_> = kept.iter().map(|it| (text(&it["version"]), text(&it["reason"]))).collect();
    assert_eq!(kept, [("1.10", "newest-version"), ("1.11", "newest-version")]);
}

#[test]
fn use_keeps_an_egg_young() {
    let sandbox = with_three();
    sandbox.ok("materialize --into out foo==1.9");
    goes_as_planned(&sandbox, "--max-age 15d", &[("1.10", "max-age")]);
    sandbox.ok("materialize --into out foo==1.11");
    sandbox.sql("UPDATE eggs SET used_at = used_at - 60 WHERE version = '1.9'");
    goes_as_planned(&sandbox, "--max-size 15kB", &[("1.9", "max-size")]);
}

#[test]
fn an_egg_that_is_already_present_counts_as_used() {
    let sandbox = with_three();
    sandbox.ok("materialize --into out foo==1.9");
    sandbox.sql("UPDATE eggs SET used_at = 0");
    sandbox.ok("materialize --into out foo==1.9").says(&["1 already there"]);
    sandbox.ok("gc --max-age 1d");
    assert_eq!(sandbox.listed(), ["foo==1.9"]);
}

#[test]
fn an_evicted_egg_is_a_miss_and_can_be_added_again() {
    let sandbox = with_three();
    sandbox.ok("gc --max-size 0");
    sandbox.fails("materialize --into out foo==1.9", 3);
    sandbox.ok("add eggs").says(&["3 eggs stored"]);
    sandbox.ok("verify");
}

#[test]
fn materialized_eggs_survive_eviction_from_the_cache() {
    let sandbox = with_three();
    sandbox.ok("materialize --into out --all");
    let before = tree(&sandbox.path("out"));
    sandbox.ok("gc --max-size 0");
    assert_same(&before, &tree(&sandbox.path("out")));
}

#[test]
fn orphans_and_temporary_files_are_removed() {
    let sandbox = with_three();
    let orphan = sandbox.blob("foo==1.9");
    let bytes = orphan.metadata().unwrap().len();
    // The state left by a gc that died before it removed a blob.
    sandbox.sql(
        "INSERT INTO evicted SELECT digest, 0 FROM eggs WHERE version = '1.9';
         DELETE FROM eggs WHERE version = '1.9'",
    );
    write(&sandbox.path("cache/tmp/.eggcache-dead"), b"half");
    let verified = sandbox.json("verify");
    assert_eq!(verified["orphans"].as_array().unwrap().len(), 1);
    assert_eq!(verified["temporary_files"], 1);

    let plan = sandbox.json("gc --dry-run");
    assert!(orphan.exists() && sandbox.path("cache/tmp/.eggcache-dead").exists());
    let report = sandbox.json("gc");
    for report in [plan, report] {
        assert!(orphan.ends_with(text(&report["orphans"][0])));
        assert_eq!(report["orphan_bytes"], bytes);
        assert_eq!(report["freed_bytes"], bytes);
        assert_eq!(report["temporary_files"], 1);
    }
    assert_eq!(sandbox.blobs().len(), 2);
    sandbox.assert_tidy();
}

#[test]
fn gc_restores_the_row_of_an_egg_that_lost_it() {
    let sandbox = with_three();
    sandbox.sql("DELETE FROM eggs");
    let blobs = sandbox.blobs();
    let plan = sandbox.json("gc --dry-run");
    assert_eq!(sandbox.listed(), [""; 0]);
    let report = sandbox.json("gc");
    for report in [plan, report] {
        assert_eq!(report["adopted"], 3);
        assert_eq!(report["orphans"].as_array().unwrap().len(), 0);
        assert_eq!(report["kept"], 3);
    }
    assert_eq!(sandbox.blobs(), blobs);
    sandbox.assert_tidy();
}

#[test]
fn gc_can_evict_an_egg_whose_row_was_lost() {
    let sandbox = with_three();
    sandbox.sql("DELETE FROM eggs WHERE version = '1.9'");
    let report = sandbox.json("gc --keep-versions 1");
    assert_eq!(report["adopted"], 1);
    assert_eq!(sandbox.listed().len(), sandbox.blobs().len());
    sandbox.assert_tidy();
}

#[test]
fn gc_removes_an_orphan_whose_key_has_another_build() {
    let sandbox = Sandbox::new();
    let orphan = sandbox.added("foo", "1.0");
    sandbox.sql("DELETE FROM eggs");
    sandbox.ok(&format!("add {}", sandbox.other_build("foo", "1.0").display()));
    sandbox.ok("gc").says(&["1 orphaned blob"]);
    assert!(!orphan.exists());
    sandbox.assert_tidy();
}

#[test]
fn gc_removes_a_row_whose_blob_is_gone_without_an_error() {
    let sandbox = with_three();
    fs::remove_file(sandbox.blob("foo==1.9")).unwrap();
    sandbox.ok("gc --max-age 25d");
    sandbox.ok("verify");
    sandbox.assert_tidy();
}

#[test]
fn gc_leaves_foreign_files_in_the_cache() {
    let sandbox = with_three();
    for file in ["cache/notes.txt", "cache/blobs/ab/notes.txt", "cache/blobs/notes", "cache/tmp/n"]
    {
        write(&sandbox.path(file), b"mine");
    }
    sandbox.ok("gc --max-size 0");
    for file in ["cache/notes.txt", "cache/blobs/ab/notes.txt", "cache/blobs/notes", "cache/tmp/n"]
    {
        assert!(sandbox.path(file).exists(), "{file}");
    }
}

#[test]
fn gc_of_an_empty_cache_removes_nothing() {
    let sandbox = Sandbox::new();
    sandbox.ok("gc --max-size 0 --max-age 1d --keep-versions 1").says(&["Removed 0 eggs"]);
}

#[test]
fn bad_rules_are_usage_errors() {
    let sandbox = with_three();
    for options in [
        "--max-age soon",
        "--max-age 90",
        "--max-age=-1d",
        "--max-age",
        "--max-size much",
        "--max-size=-1",
        "--keep-versions 0",
        "--keep-versions=-1",
        "--keep-versions few",
        "everything",
    ] {
        let output = sandbox.fails(&format!("gc {options}"), 2);
        output.says(&[options.split(['=', ' ']).next().unwrap()]);
    }
    assert_eq!(sandbox.listed().len(), 3);
}
