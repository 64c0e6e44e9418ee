//! `eggcache gc --ci`: a cache that a CI system saves keeps what is slow to build for its size.

use serde_json::Value;

use crate::serve::Server;
use crate::support::{Sandbox, host, noise, text, write};

/// Three eggs of about 10 kB: `slow` took long to build and was used long ago, `quick` took a moment, and
/// of `unknown` that is not known.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    for name in ["slow", "quick", "unknown"] {
        sandbox.egg_with(name, "1.0", &[("noise", &noise(10_000))]);
    }
    sandbox.ok("add eggs");
    for (name, seconds, days) in [("slow", "300", 9), ("quick", "0.2", 6), ("unknown", "NULL", 3)] {
        sandbox.sql(&format!(
            "UPDATE eggs SET build_seconds = {seconds}, used_at = unixepoch() - {days} * 86400 \
             WHERE name = '{name}'"
        ));
    }
    sandbox
}

fn evicted(report: &Value) -> Vec<&str> {
    report["evicted"].as_array().unwrap().iter().map(|egg| text(&egg["name"])).collect()
}

#[test]
fn what_is_slow_to_build_for_its_size_is_kept() {
    let sandbox = sandbox();
    let by_use = sandbox.json("gc --max-size 15kB --dry-run");
    assert_eq!(evicted(&by_use), ["slow", "quick"]);
    let plan = sandbox.json("gc --ci --max-size 15kB --dry-run");
    assert_eq!(
        (evicted(&plan), text(&plan["rules"]["order"])),
        (vec!["unknown", "quick"], "build-time")
    );
    let output = sandbox.ok("gc --ci --max-size 15kB --verbose");
    output.says(&["(1 slower to build for their size)"]);
    assert!(output.stdout.contains("over the size limit, quick to build for its size"));
    assert_eq!(sandbox.listed(), ["slow==1.0"]);
    sandbox.ok("verify");
}

#[test]
fn pins_count_and_roots_do_not() {
    let sandbox = sandbox();
    let mut server = Server::open(&sandbox, &host());
    server.materialize(&sandbox, &sandbox.digest("unknown"));
    server.register(&sandbox, &["unknown-1.0-py3.11.egg"]);
    server.close();
    let by_use = sandbox.json("gc --max-size 15kB --dry-run");
    assert_eq!(evicted(&by_use), ["slow", "quick"], "a root protects the egg");
    sandbox.ok("pin quick");
    let plan = sandbox.json("gc --ci --max-size 15kB --dry-run");
    assert_eq!(evicted(&plan), ["unknown", "slow"]);
}

#[test]
fn the_size_can_come_from_the_policy() {
    let sandbox = sandbox();
    sandbox.fails("gc --ci", 2).says(&["--ci needs --max-size, or max-size in eggcache.toml"]);
    assert_eq!(sandbox.listed().len(), 3);
    write(&sandbox.path("cache/eggcache.toml"), b"[gc]\nmax-size = \"25kB\"\n");
    assert_eq!(evicted(&sandbox.json("gc --ci")), ["unknown"]);
}
