//! `remove` and `used-by`: eggs by name, and the pins and buildouts that keep them.

use crate::serve::Server;
use crate::support::{Sandbox, host, text};

/// Runs a buildout in `app` that uses an egg and succeeds.
fn use_in_app(sandbox: &Sandbox, egg: &str) {
    let digest = sandbox.digest(egg);
    let file_name = text(&sandbox.json(&format!("show {egg}"))["file_name"]).to_owned();
    let mut server = Server::open(sandbox, &host());
    server.materialize(sandbox, &digest);
    server.register(sandbox, &[&file_name]);
    server.close();
}

#[test]
fn an_egg_is_removed_by_name() {
    let sandbox = Sandbox::with_two();
    let dry = sandbox.ok("remove foo==1.0 --dry-run");
    dry.says(&["Would remove 1 egg"]);
    assert!(dry.stdout.contains("foo-1.0-py3.11.egg"), "{}", dry.stdout);
    assert_eq!(sandbox.listed(), ["bar==2.0", "foo==1.0"]);
    let report = sandbox.json("remove foo==1.0");
    assert_eq!(report["removed"][0]["file_name"], "foo-1.0-py3.11.egg");
    assert!(report["freed_bytes"].as_u64().unwrap() > 0);
    assert_eq!(sandbox.listed(), ["bar==2.0"]);
    sandbox.assert_tidy();
    // It was removed on purpose: nobody brings it back, and no limit would have kept it.
    sandbox.ok("gc");
    assert_eq!(sandbox.listed(), ["bar==2.0"]);
    sandbox.ok("add eggs");
    assert_eq!(sandbox.json("stats")["regrets"]["evicted"], 0);
    assert_eq!(sandbox.listed(), ["bar==2.0", "foo==1.0"]);
}

#[test]
fn an_egg_that_is_missing_or_ambiguous_removes_none() {
    let sandbox = Sandbox::with_two();
    sandbox.egg("foo", "1.1");
    sandbox.ok("add eggs");
    sandbox.fails("remove foo", 2).says(&["foo-1.0-py3.11.egg", "foo-1.1-py3.11.egg"]);
    let out = sandbox.fails("remove bar foo==1.2 fo", 3);
    out.says(&["foo==1.2, fo", "1.0, 1.1"]);
    sandbox.fails("remove ba?z*", 3);
    sandbox.fails("remove", 2);
    assert_eq!(sandbox.listed().len(), 3);
    sandbox.ok("remove fo* bar bar==2.0");
    assert_eq!(sandbox.listed(), [""; 0]);
}

#[test]
fn pinned_and_used_eggs_are_removed_by_force_only() {
    let sandbox = Sandbox::with_two();
    sandbox.egg("baz", "3.0");
    sandbox.ok("add eggs");
    use_in_app(&sandbox, "foo");
    sandbox.ok("pin bar==2.0 --note May");
    sandbox.ok("pin f*");
    let app = sandbox.path("app").canonicalize().unwrap().display().to_string();
    for line in ["remove foo bar baz", "remove foo bar baz --dry-run"] {
        let out = sandbox.fails(line, 1);
        out.says(&[
            &format!("foo-1.0-py3.11.egg is pinned by f* and used by {app}\n"),
            "bar-2.0-py3.11.egg is pinned by bar==2.0 \"May\"\n",
            "hint: --force removes",
        ]);
        assert_eq!(sandbox.listed().len(), 3, "not even the one that nothing keeps");
    }
    let report = sandbox.fails("--json remove foo", 1).json();
    assert_eq!(report["refused"][0]["kept_by"]["pins"][0]["what"], "f*");
    assert_eq!(report["refused"][0]["kept_by"]["roots"][0]["directory"], app);
    assert_eq!(report["removed"].as_array().unwrap().len(), 0);
    let out = sandbox.ok("remove foo bar --force");
    out.says(&["Removed 2 eggs", "was pinned by f* and used by"]);
    assert_eq!(sandbox.listed(), ["baz==3.0"]);
    sandbox.assert_tidy();
}

#[test]
fn pins_and_buildouts_that_use_an_egg_are_listed() {
    let sandbox = Sandbox::with_two();
    sandbox.egg("foo", "1.1");
    sandbox.ok("add eggs");
    use_in_app(&sandbox, "foo==1.1");
    sandbox.ok("pin foo==1.1 --note May");
    let app = sandbox.path("app").canonicalize().unwrap().display().to_string();
    let out = sandbox.ok("used-by foo");
    out.says(&["2 eggs, 1 unused"]);
    let lines: Vec<Vec<&str>> =
        out.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((lines[1][0], lines[1][2]), ("foo-1.0-py3.11.egg", "nothing"));
    assert_eq!((lines[2][0], lines[2][2]), ("foo-1.1-py3.11.egg", &*app));
    assert_eq!(lines[3], ["pin", "foo==1.1", "\"May\""]);
    let report = sandbox.json("used-by foo==1.1");
    assert_eq!(report["eggs"][0]["kept_by"]["roots"][0]["state"], "live");
    assert_eq!(report["eggs"][0]["kept_by"]["pins"][0]["note"], "May");
    // A buildout uses an egg that was removed.
    sandbox.ok("remove foo* --force");
    let out = sandbox.ok("used-by foo");
    assert!(out.stdout.contains("not in cache"), "{}", out.stdout);
    assert_eq!(
        sandbox.json("used-by foo")["not_cached"]["foo-1.1-py3.11.egg"][0]["directory"],
        app
    );
    sandbox.fails("used-by foo==1.0", 3);
    sandbox.fails("used-by fo", 3);
}
