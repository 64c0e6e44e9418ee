//! `eggcache stats`: what it counts and reports.

use serde_json::{Value, json};

use crate::serve::Server;
use crate::support::{Sandbox, host, noise};

/// Asks a server to store an egg whose build took this many seconds.
fn store_built(server: &mut Server, egg: &std::path::Path, seconds: f64) {
    let stored = server.stored(&json!({
        "op": "store", "path": egg, "source_sha256": "", "variant": "", "build_seconds": seconds,
    }));
    assert_eq!(stored["outcome"], "stored");
}

/// A sandbox in which a buildout has built foo 1.0 in 4.5 seconds, and bar 1.0 was added by hand.
fn with_two() -> Sandbox {
    let sandbox = Sandbox::new();
    let mut server = Server::open(&sandbox, &host());
    let files: [(&str, &[u8]); 2] = [("noise", &noise(50_000)), ("silence", &vec![0; 100_000])];
    store_built(&mut server, &sandbox.egg_with("foo", "1.0", &files), 4.5);
    server.close();
    sandbox.added("bar", "1.0");
    sandbox
}

fn all(sandbox: &Sandbox) -> Value {
    sandbox.json("stats")["usage"]["all"].clone()
}

#[test]
fn a_run_counts_hits_misses_and_saved_time() {
    let sandbox = with_two();
    let built = all(&sandbox);
    assert_eq!(
        (&built["runs"], &built["hits"], &built["misses"]),
        (&json!(1), &json!(0), &json!(1))
    );
    assert_eq!((&built["stored"], &built["build_seconds"]), (&json!(2), &json!(4.5)));

    let digests = ["foo", "bar"].map(|name| sandbox.digest(name));
    let mut server = Server::open(&sandbox, &host());
    for digest in &digests {
        server.materialize(&sandbox, digest);
    }
    // The egg is already there: no second hit.
    assert_eq!(server.materialize(&sandbox, &digests[0])["outcome"], "present");
    server.close();
    let used = all(&sandbox);
    assert_eq!((&used["runs"], &used["hits"], &used["misses"]), (&json!(2), &json!(2), &json!(1)));
    assert_eq!((&used["saved_seconds"], &used["untimed_hits"]), (&json!(4.5), &json!(1)));
    let content = sandbox.json("stats")["bytes"].clone();
    assert_eq!(used["copied_bytes"], content);

    let text = sandbox.ok("stats");
    for part in ["66.7%", "4.5 s", "foo-1.0-py3.11.egg", "compression saves"] {
        assert!(text.stdout.contains(part), "{part}\n{}", text.stdout);
    }
    text.says(&["note: time saved leaves out 1 of 2 hits, whose build time is not known"]);
}

#[test]
fn a_run_that_requests_nothing_writes_nothing() {
    let sandbox = with_two();
    let before = sandbox.json("stats")["days"].clone();
    Server::open(&sandbox, &host()).close();
    assert_eq!(sandbox.json("stats")["days"], before);
}

#[test]
fn a_client_that_dies_is_counted_too() {
    let sandbox = with_two();
    let digest = sandbox.digest("foo");
    Server::open(&sandbox, &host()).materialize(&sandbox, &digest);
    assert_eq!(all(&sandbox)["hits"], 1);
}

#[test]
fn materialize_counts_hits_and_misses() {
    let sandbox = with_two();
    for _ in 0..2 {
        sandbox.ok("materialize --into out --all");
    }
    sandbox.fails("materialize --into out foo==1.0 nothing==1.0", 3);
    let used = all(&sandbox);
    assert_eq!((&used["runs"], &used["hits"], &used["misses"]), (&json!(1), &json!(2), &json!(2)));
    assert_eq!(
        sandbox.json("show foo")["uses"],
        2,
        "an egg that is already in place counts as used"
    );
}

#[test]
fn a_cache_that_cannot_be_written_counts_nothing() {
    let sandbox = with_two();
    let before = all(&sandbox);
    crate::support::chmod(&sandbox.path("cache"), 0o555);
    let Some(mut copy) = sandbox.as_user("materialize --into other/out --all") else { return };
    assert!(copy.status().unwrap().success());
    let Some(mut stats) = sandbox.as_user("--json stats") else { return };
    let told: Value = serde_json::from_slice(&stats.output().unwrap().stdout).unwrap();
    assert_eq!(told["usage"]["all"], before);
}

#[test]
fn days_fall_out_of_the_week_and_the_month() {
    let sandbox = with_two();
    sandbox.ok("materialize --into out --all");
    let hits = |sandbox: &Sandbox| {
        let usage = sandbox.json("stats")["usage"].clone();
        ["last_7_days", "last_30_days", "all"].map(|period| usage[period]["hits"].clone())
    };
    assert_eq!(hits(&sandbox), [2, 2, 2]);
    sandbox.sql("UPDATE days SET day = day - 7 * 86400");
    assert_eq!(hits(&sandbox), [0, 2, 2]);
    sandbox.sql("UPDATE days SET day = day - 23 * 86400");
    assert_eq!(hits(&sandbox), [0, 0, 2]);
}

#[test]
fn growth_counts_stored_and_evicted_eggs() {
    let sandbox = with_two();
    let size = sandbox.json("stats")["blob_bytes"].as_u64().unwrap();
    let blob = sandbox.blob("foo").metadata().unwrap().len();
    sandbox.ok("pin bar");
    sandbox.ok("gc --max-size 0");
    let growth = sandbox.json("stats")["growth"].clone();
    let [today] = &growth.as_array().unwrap()[..] else { panic!("{growth}") };
    assert_eq!((&today["eggs"], &today["blob_bytes"]), (&json!(1), &json!(size - blob)));
    assert_eq!((&today["stored"], &today["stored_bytes"]), (&json!(2), &json!(size)));
    assert_eq!((&today["evicted"], &today["evicted_bytes"]), (&json!(1), &json!(blob)));
    // An egg that is stored again was evicted in vain.
    sandbox.ok("add eggs");
    let text = sandbox.ok("stats").stdout;
    assert!(text.contains("1 egg within a year, 1 needed again; `gc --max-size "), "{text}");
}

#[test]
fn the_predicted_eviction_is_that_of_the_next_gc() {
    let sandbox = with_two();
    let text = sandbox.ok("stats").stdout;
    assert!(text.contains("removes no egg: no limit is set in eggcache.toml"), "{text}");
    std::fs::write(sandbox.path("cache/eggcache.toml"), "[gc]\nmax-size = \"2kB\"\n").unwrap();
    let next = sandbox.json("stats")["next_gc"].clone();
    let text = sandbox.ok("stats").stdout;
    assert!(text.contains("removes 1 egg, ") && text.contains("(1 over the size limit)"), "{text}");
    let done = sandbox.json("gc");
    assert_eq!(next["first"], done["evicted"]);
    assert_eq!((&next["bytes"], &next["kept"]), (&done["freed_bytes"], &done["kept"]));
}

#[test]
fn an_empty_cache_has_no_hit_rate() {
    let sandbox = Sandbox::new();
    let text = sandbox.ok("stats").stdout;
    assert!(text.contains("0 in 0 versions of 0 projects"), "{text}");
    assert_eq!(sandbox.json("stats")["usage"]["since"], Value::Null);
}

#[test]
fn a_rebuilt_index_continues_counting() {
    let sandbox = with_two();
    sandbox.ok("reindex");
    assert_eq!(all(&sandbox)["misses"], 1, "a readable index loses nothing");
    std::fs::remove_file(sandbox.path("cache/index.sqlite")).unwrap();
    sandbox.ok("materialize --into out --all");
    let used = all(&sandbox);
    assert_eq!((&used["hits"], &used["misses"]), (&json!(2), &json!(0)));
    assert_eq!(used["saved_seconds"], 4.5, "the time comes from the blob");
}

/// Writes the page and returns it.
fn page(sandbox: &Sandbox) -> String {
    sandbox.ok("stats --html page.html").says(&["Wrote page.html"]);
    std::fs::read_to_string(sandbox.path("page.html")).unwrap()
}

#[test]
fn the_page_is_one_file_that_loads_nothing() {
    let sandbox = with_two();
    sandbox.ok("materialize --into out --all");
    let page = page(&sandbox);
    assert!(
        page.contains("default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'")
    );
    for outside in ["http:", "https:", "//cdn", "@import", "src=", "<link rel=\"stylesheet\""] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(!page.contains("{{"), "a placeholder of the template is left");
    assert!(page.contains("foo 1.0: "), "the page describes foo");
}

#[test]
fn the_page_contains_the_report_as_json() {
    let sandbox = with_two();
    let page = page(&sandbox);
    let (_, data) = page.split_once("id=\"data\">").unwrap();
    let data: Value = serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap();
    let mut report = sandbox.json("stats");
    report["at"] = data["at"].clone();
    assert_eq!(data, report);
}

#[test]
fn the_page_replaces_an_old_one_and_leaves_nothing_else() {
    let sandbox = with_two();
    std::fs::create_dir(sandbox.path("pages")).unwrap();
    std::fs::write(sandbox.path("pages/page.html"), "old").unwrap();
    sandbox.ok("stats --html pages/page.html");
    assert_eq!(crate::support::names_in(&sandbox.path("pages")), ["page.html"]);
    sandbox.fails("stats --html nowhere/page.html", 1).says(&["there is no folder /", "nowhere\n"]);
    sandbox.fails("stats --html pages", 1);
    assert_eq!(crate::support::names_in(&sandbox.path("pages")), ["page.html"]);
}

#[test]
fn a_hostile_egg_puts_no_markup_into_the_page() {
    const HOSTILE: [&str; 5] =
        ["<script>", "<img src=x onerror=alert(1)>", "\"><b>", "<!--", "a' onfocus='b"];
    let sandbox = with_two();
    let honest = page(&sandbox);
    for (number, hostile) in HOSTILE.iter().enumerate() {
        for (name, version) in [(*hostile, "1.0"), ("foo", *hostile)] {
            let name = format!("{name}{number}");
            let egg = sandbox.path(&format!("other/{name}-{version}-py3.11.egg"));
            crate::support::make_egg(&egg, &name, version, &[]);
        }
    }
    let added = sandbox
        .process(crate::support::EGGCACHE)
        .args(["--cache", "cache", "-q", "add"])
        .args(["other", "--environment", "</script><script>alert(1)</script><!--"])
        .output()
        .unwrap();
    assert!(sandbox.listed().len() > HOSTILE.len(), "{added:?}");
    std::fs::write(sandbox.path("cache/eggcache.toml"), "[gc]\nmax-size = \"1B\"\n").unwrap();
    let page = page(&sandbox);
    assert!(page.contains("&lt;script&gt;") && page.contains("\\u003cscript\\u003e"));
    for tag in ["<script", "</script", "<img", "<b>", "<!--"] {
        assert_eq!(page.matches(tag).count(), honest.matches(tag).count(), "{tag}");
    }
}

#[test]
fn an_egg_with_an_extreme_time_is_counted() {
    let sandbox = Sandbox::with_two();
    for time in [i64::MIN, i64::MIN + 1, -1, i64::MAX] {
        sandbox.sql(&format!("UPDATE eggs SET added_at = {time}, used_at = {time}"));
        assert_eq!(sandbox.json("stats --html page.html")["eggs"], 2, "{time}");
        sandbox.ok("stats");
        sandbox.ok("list");
        sandbox.ok("gc --max-age 90d --max-size 1TB --dry-run -v");
    }
}
