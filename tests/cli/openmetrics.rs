//! `eggcache stats --format openmetrics`. `tests/buildout/test_metrics.py` reads it with another parser.

use crate::support::Sandbox;

#[test]
fn the_statistics_are_metrics() {
    let sandbox = Sandbox::with_two();
    sandbox.ok("materialize --into out foo");
    let output = sandbox.ok("stats --format openmetrics");
    assert_eq!(output.stderr, "");
    let cache = sandbox.path("cache").canonicalize().unwrap();
    let sample = |name: &str| {
        let start = format!("{name}{{cache=\"{}\"}} ", cache.display());
        let line = output.stdout.lines().find_map(|line| line.strip_prefix(&start));
        line.unwrap_or_else(|| panic!("{name}: {}", output.stdout)).parse::<f64>().unwrap()
    };
    assert!((sample("eggcache_eggs") - 2.0).abs() < 0.1);
    let blobs: u64 = sandbox.blobs().iter().map(|blob| blob.metadata().unwrap().len()).sum();
    assert_eq!(sample("eggcache_blobs_bytes").to_string(), blobs.to_string());
    assert!((sample("eggcache_stored_eggs_total") - 2.0).abs() < 0.1);
    assert!(output.stdout.contains("# UNIT eggcache_blobs_bytes bytes\n"));
    assert!(output.stdout.ends_with("\n# EOF\n"));
}

#[test]
fn a_missing_cache_has_metrics_without_eggs() {
    let sandbox = Sandbox::new();
    let output = sandbox.ok("stats --format openmetrics");
    assert!(output.stdout.contains("eggcache_eggs{"), "{}", output.stdout);
    assert!(!sandbox.path("cache").exists());
}
