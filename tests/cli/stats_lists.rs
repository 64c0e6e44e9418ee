//! The buildouts, pins and remotes in `eggcache stats`, and the page of an empty cache.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::serve::Server;
use crate::support::{Sandbox, host};

const SECRET: &str = "hunter2";

fn page(sandbox: &Sandbox) -> String {
    sandbox.ok("stats --html page.html");
    fs::read_to_string(sandbox.path("page.html")).unwrap()
}

/// A sandbox with two eggs, a buildout that uses one of them, a pin and a remote.
fn with_all() -> Sandbox {
    let sandbox = Sandbox::with_two();
    let digest = sandbox.digest("foo");
    let mut server = Server::open(&sandbox, &host());
    server.materialize(&sandbox, &digest);
    server.register(&sandbox, &["foo-1.0-py3.11.egg"]);
    server.close();
    sandbox.ok("pin bar --note release");
    sandbox.ok("remote add team s3://eggs/pool --push");
    sandbox
}

#[test]
fn stats_list_buildouts_pins_and_remotes() {
    let sandbox = with_all();
    let stats = sandbox.json("stats");
    let root = &stats["roots"]["first"][0];
    assert_eq!(root["directory"], sandbox.json("roots")["roots"][0]["directory"]);
    assert_eq!((&root["state"], &root["kept"]), (&json!("live"), &json!(true)));
    assert_eq!((&root["eggs"], &root["cached"]), (&json!(1), &json!(1)));
    assert_eq!((&stats["roots"]["count"], &stats["roots"]["kept"]), (&json!(1), &json!(1)));
    let pin = &stats["pins"]["first"][0];
    assert_eq!(
        (&pin["what"], &pin["eggs"], &pin["note"]),
        (&json!("bar"), &json!(1), &json!("release"))
    );
    let remote = &stats["remotes"]["first"][0];
    assert_eq!((&remote["name"], &remote["url"]), (&json!("team"), &json!("s3://eggs/pool")));
    assert_eq!((&remote["push"], &remote["trusted_keys"]), (&json!(true), &json!(0)));

    let page = page(&sandbox);
    let (page, _) = page.split_once("<script").unwrap();
    let page = page.replace("<wbr>", "");
    for part in ["/app", "bar", "release", "s3://eggs/pool", "eggcache trust team KEY"] {
        assert!(page.contains(part), "{part}: {page}");
    }
}

#[test]
fn a_buildout_whose_folder_is_missing_expires() {
    let sandbox = with_all();
    let (path, mut root) = record(&sandbox);
    (root["directory"], root["machine"]) = ("/nowhere/<b>app".into(), "elsewhere".into());
    root["last_run"] = json!(86_400);
    fs::write(&path, root.to_string()).unwrap();
    let roots = sandbox.json("stats")["roots"].clone();
    assert_eq!((&roots["count"], &roots["kept"]), (&json!(1), &json!(0)));
    assert_eq!(roots["first"][0]["kept_until"], 31 * 86_400);
    let page = page(&sandbox);
    assert!(page.contains("nowhere/<wbr>&lt;b&gt;app<small>expired 1970-02-01"), "{page}");
}

#[test]
fn a_record_that_cannot_be_read_is_counted_on_the_page() {
    let sandbox = with_all();
    fs::write(sandbox.path("cache/roots/half.json"), "{").unwrap();
    assert_eq!(sandbox.json("stats")["unreadable"].as_array().unwrap().len(), 1);
    assert!(page(&sandbox).contains("1 record of a pin or a buildout cannot be read."));
}

/// The path and the content of the record of the only buildout.
fn record(sandbox: &Sandbox) -> (PathBuf, Value) {
    let record = fs::read_dir(sandbox.path("cache/roots")).unwrap().next().unwrap().unwrap().path();
    let root = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    (record, root)
}

#[test]
fn the_buildouts_that_ran_last_are_listed() {
    let sandbox = with_all();
    let (path, mut root) = record(&sandbox);
    for number in 0..60 {
        (root["directory"], root["last_run"]) =
            (format!("/nowhere/{number}").into(), number.into());
        fs::write(path.with_file_name(format!("{number}.json")), root.to_string()).unwrap();
    }
    let roots = sandbox.json("stats")["roots"].clone();
    let first = roots["first"].as_array().unwrap();
    assert_eq!((&roots["count"], first.len()), (&json!(61), 50));
    assert_eq!(first[0]["state"], "live");
    assert_eq!(
        (&first[1]["directory"], &first[49]["directory"]),
        (&json!("/nowhere/59"), &json!("/nowhere/11"))
    );
    assert!(
        page(&sandbox).contains("And 11 buildouts more; <code>eggcache roots</code> lists all.")
    );
}

#[test]
fn a_long_list_is_bounded_and_counts_the_rest() {
    let sandbox = with_all();
    let pins: Vec<String> = (0..60).map(|number| format!("pin{number}")).collect();
    sandbox.ok(&format!("pin {}", pins.join(" ")));
    let stats = sandbox.json("stats");
    assert_eq!(stats["pins"]["count"], 61);
    assert_eq!(stats["pins"]["first"].as_array().unwrap().len(), 50);
    assert!(page(&sandbox).contains("And 11 pins more; <code>eggcache pins</code> lists all."));
}

#[test]
fn a_secret_in_the_file_of_the_remotes_is_not_shown() {
    let sandbox = with_all();
    let file = sandbox.path("cache/remotes.json");
    let good = fs::read_to_string(&file).unwrap();
    let url = format!("s3://me:{SECRET}@eggs/pool?token={SECRET}");
    fs::write(&file, good.replace("s3://eggs/pool", &url)).unwrap();
    let shown = page(&sandbox);
    assert!(shown.contains("eggs/<wbr>pool<") && !shown.contains(SECRET), "{shown}");
    assert!(!sandbox.json("stats").to_string().contains(SECRET));

    // Its reader repeats an address that is none.
    fs::write(&file, good.replace("s3://eggs/pool", &format!("https://me:{SECRET}@a b/"))).unwrap();
    let stats = sandbox.json("stats");
    assert_eq!(stats["remotes"]["unreadable"], true);
    let page = page(&sandbox);
    assert!(page.contains("<code>eggcache remote list</code> shows why") && !page.contains(SECRET));
}

#[test]
fn the_page_of_an_empty_cache_says_what_to_do() {
    let sandbox = Sandbox::new();
    sandbox.json("stats");
    let page = page(&sandbox);
    let cache = sandbox.path("cache");
    let cache = cache.display();
    for part in [
        format!("<pre>[buildout]\negg-cache = {cache}</pre>"),
        format!("<pre>eggcache --cache {cache} add EGGS_DIRECTORY</pre>"),
        "No buildout has run with this cache yet.".into(),
        "eggcache pin ".into(),
        "eggcache remote add ".into(),
    ] {
        assert!(page.contains(&part), "{part}: {page}");
    }
    for part in ["<svg", "<table", "<details", "class=\"legend\"", "class=\"map"] {
        assert!(!page.contains(part), "{part}: {page}");
    }
}

#[test]
fn a_pin_that_cannot_be_read_is_a_problem_beside_the_report() {
    let sandbox = with_all();
    fs::write(sandbox.path("cache/pins/half.json"), "{").unwrap();
    for line in ["stats", "stats --format openmetrics"] {
        sandbox.ok(line).says(&["problem: ", "pins/half.json"]);
    }
    let stats = sandbox.json("stats");
    assert_eq!(stats["pins"]["first"][0]["what"], "bar");
    assert!(stats["unreadable"][0].as_str().unwrap().contains("half.json"), "{stats}");
    assert!(page(&sandbox).contains("1 record of a pin or a buildout cannot be read"));
    sandbox.fails("gc", 1).says(&["half.json"]);
}
