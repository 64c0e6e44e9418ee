//! `eggcache verify --max-duration --max-age`: every egg is verified in turn, and the cache remembers when.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Sandbox, assert_same, files_in, text, tree};

/// More eggs than one run without time verifies.
const EGGS: usize = 40;
/// How many of them such a run verifies.
const BATCH: usize = 16;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    for number in 0..EGGS {
        sandbox.egg(&format!("foo{number}"), "1.0");
    }
    sandbox.ok("add eggs");
    sandbox
}

fn remembered(sandbox: &Sandbox) -> Value {
    serde_json::from_slice(&fs::read(sandbox.path("cache/verified.json")).unwrap()).unwrap()
}

/// Sets when the blobs were verified back by some days.
fn days_later(sandbox: &Sandbox, days: i64) {
    let mut record = remembered(sandbox);
    let back = |at: &mut Value| *at = json!(at.as_i64().unwrap() - days * 86_400);
    back(&mut record["run_at"]);
    record["blobs"].as_object_mut().unwrap().values_mut().for_each(back);
    fs::write(sandbox.path("cache/verified.json"), record.to_string()).unwrap();
}

#[test]
fn runs_without_time_verify_all_eggs_in_turn() {
    let sandbox = sandbox();
    let run = || sandbox.json("verify --max-duration 0s");
    let first = run();
    assert_eq!((&first["blobs"], &first["left"]["blobs"]), (&json!(BATCH), &json!(EGGS - BATCH)));
    assert_eq!((&first["left"]["runs"], &first["left"]["done_at"]), (&json!(2), &json!(null)));
    let second = run();
    assert_eq!((&second["blobs"], &second["left"]["recent"]), (&json!(BATCH), &json!(BATCH)));
    assert_eq!(run()["blobs"], EGGS - 2 * BATCH);
    let nothing = run();
    assert_eq!((&nothing["blobs"], &nothing["left"]["recent"]), (&json!(0), &json!(EGGS)));
    assert_eq!(remembered(&sandbox)["blobs"].as_object().unwrap().len(), EGGS);
    sandbox
        .ok("verify --max-duration 0s")
        .says(&["0 blobs", "no problems; 40 blobs verified before"]);
}

#[test]
fn the_summary_says_what_is_left_and_until_when() {
    let sandbox = sandbox();
    sandbox.ok("verify --max-duration 0s").says(&["; 24 blobs left, ", " more runs"]);
    days_later(&sandbox, 1);
    let output = sandbox.ok("verify --max-duration 0s");
    output.says(&["16 blobs verified before; 8 blobs left, ", ", for 1 more run until about 20"]);
}

#[test]
fn eggs_are_due_again_after_the_age() {
    let sandbox = sandbox();
    assert_eq!(sandbox.json("verify --max-age 7d")["blobs"], EGGS);
    days_later(&sandbox, 6);
    assert_eq!(sandbox.json("verify --max-age 7d")["blobs"], 0);
    days_later(&sandbox, 2);
    assert_eq!(sandbox.json("verify --max-age 30d")["blobs"], 0);
    assert_eq!(sandbox.json("verify --max-duration 1h")["blobs"], 0, "30 days by default");
    assert_eq!(sandbox.json("verify --max-age 7d")["blobs"], EGGS);
}

#[test]
fn a_damaged_egg_is_verified_first_until_it_is_repaired() {
    let sandbox = sandbox();
    let blob = sandbox.blob("foo7");
    let digest = sandbox.digest("foo7");
    sandbox.ok("verify --max-age 30d");
    days_later(&sandbox, 31);
    crate::damage::flip_last_bit(&blob);
    sandbox.fails("verify --max-age 30d", 4);
    assert!(remembered(&sandbox)["blobs"].get(&digest).is_none());
    let again = sandbox.fails("--json verify --max-duration 0s", 4).json();
    assert_eq!((&again["blobs"], text(&again["problems"][0]["digest"])), (&json!(1), &*digest));
    let repaired = sandbox.json("verify --max-duration 0s --repair");
    assert_eq!(repaired["quarantined"], 1);
    assert_eq!(sandbox.json("verify --max-duration 0s")["blobs"], 0);
}

#[test]
fn problems_besides_damage_are_found_whatever_is_due() {
    let sandbox = sandbox();
    sandbox.ok("verify --max-age 30d");
    fs::remove_file(sandbox.blob("foo3")).unwrap();
    sandbox.sql("DELETE FROM eggs WHERE name = 'foo4'");
    let report = sandbox.fails("--json verify --max-age 30d", 4).json();
    assert_eq!((&report["blobs"], &report["problems"][0]["kind"]), (&json!(0), &json!("missing")));
    assert_eq!(report["orphans"].as_array().unwrap().len(), 1);
    assert_eq!(remembered(&sandbox)["blobs"].as_object().unwrap().len(), EGGS - 1);
}

#[test]
fn a_lost_or_damaged_record_only_costs_time() {
    let sandbox = sandbox();
    sandbox.ok("verify --max-age 30d");
    for content in
        ["", "{", r#"{"run_at": 1, "blobs": {"x": 1}}"#, r#"{"run_at": 99999999999, "blobs": {}}"#]
    {
        fs::write(sandbox.path("cache/verified.json"), content).unwrap();
        assert_eq!(sandbox.json("verify --max-age 30d")["blobs"], EGGS, "{content}");
    }
    sandbox.assert_tidy();
}

#[test]
fn a_plain_verification_checks_everything_and_leaves_no_trace() {
    let sandbox = sandbox();
    sandbox.ok("verify --max-age 30d");
    let before = tree(&sandbox.path("cache"));
    let report = sandbox.json("verify");
    assert_eq!((&report["blobs"], report.get("left")), (&json!(EGGS), None));
    assert_same(&before, &tree(&sandbox.path("cache")));
    sandbox.lose_index();
    fs::remove_file(sandbox.path("cache/verified.json")).unwrap();
    sandbox.ok("verify --repair");
    let repaired = remembered(&sandbox)["blobs"].as_object().unwrap().len();
    assert_eq!(repaired, files_in(&sandbox.path("cache/blobs")).len());
}
