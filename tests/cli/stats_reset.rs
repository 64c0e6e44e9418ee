//! `stats --reset`.

use serde_json::json;

use crate::support::Sandbox;

#[test]
fn a_reset_shows_all_counts_once_more_and_sets_them_to_zero() {
    let sandbox = Sandbox::with_two();
    sandbox.ok("materialize --into out foo");
    sandbox.fails("materialize --into out nosuch==1", 3);
    // It is evicted, and then needed again.
    sandbox.sql("UPDATE eggs SET used_at = 1 WHERE name = 'bar'");
    sandbox.ok("gc --max-age 1d");
    sandbox.fails("materialize --into out bar==2.0", 3);
    let counts = |line: &str| {
        let report = sandbox.json(line);
        let all = &report["usage"]["all"];
        let asked = report["regrets"]["asked"].clone();
        (all["hits"].clone(), all["misses"].clone(), asked, report["eggs"].clone())
    };
    let before = (json!(1), json!(2), json!(1), json!(1));
    assert_eq!(counts("stats"), before);
    assert_eq!(counts("stats --reset"), before);
    assert_eq!(counts("stats"), (json!(0), json!(0), json!(0), json!(1)));
    let out = sandbox.ok("stats").stdout;
    assert!(out.contains("No egg has been requested yet"), "{out}");
    sandbox.ok("stats --reset").says(&["All counts are zero from now on"]);
    sandbox.ok("materialize --into other foo");
    assert_eq!(counts("stats").0, json!(1));
    assert!(sandbox.json("verify")["problems"].as_array().unwrap().is_empty());
}

#[test]
fn a_reset_needs_a_cache() {
    let sandbox = Sandbox::new();
    sandbox.fails("stats --reset", 1).says(&["there is no cache at"]);
    assert!(!sandbox.path("cache").exists());
}
