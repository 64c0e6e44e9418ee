//! Where an egg has arrived from: a record that `reindex` keeps, that keeps `push` from signing what
//! others have built, and by which `gc --signed-by` evicts what a key has signed.

use std::fs;

use serde_json::{Value, json};

use crate::pool::Pool;
use crate::serve::{Server, opening_with};
use crate::support::{Sandbox, names_in, text, touch, write};

/// The reader's cache has pulled `foo`, and has `mine` of its own. Its own key is `own`, and it also
/// pushes to the folder `second`.
fn with_pulled() -> Pool {
    let pool = Pool::with_two();
    pool.of("reader", "keygen own");
    let second = pool.sandbox.path("second").display().to_string();
    pool.of("reader", &format!("remote add second {second} --key own.pub --push"));
    pool.of("reader", "pull foo==1.0 --python 3.11");
    let mine = pool.sandbox.other_build("mine", "1.0");
    pool.of("reader", &format!("add {}", mine.display()));
    pool
}

/// The projects that have an entry in a folder.
fn pushed(pool: &Pool, remote: &str) -> Vec<String> {
    names_in(&pool.sandbox.path(remote).join("v1/entries"))
}

fn key_id(pool: &Pool, key: &str) -> String {
    let text = fs::read_to_string(pool.sandbox.path(&format!("{key}.pub"))).unwrap();
    text.lines().next().unwrap().rsplit(' ').next().unwrap().to_owned()
}

fn show(pool: &Pool, egg: &str) -> Value {
    pool.of("reader", &format!("--json show {egg}")).json()
}

fn listed(pool: &Pool, cache: &str) -> Vec<String> {
    let report = pool.of(cache, "--json list").json();
    report["eggs"].as_array().unwrap().iter().map(|egg| text(&egg["name"]).to_owned()).collect()
}

#[test]
fn what_was_pulled_is_not_signed_again() {
    let pool = with_pulled();
    pool.run("reader", "own", "push --all --to second", 0);
    assert_eq!(pushed(&pool, "second"), ["mine"]);
}

#[test]
fn a_lost_index_does_not_launder_what_was_pulled() {
    let pool = with_pulled();
    let before = show(&pool, "foo")["arrival"].clone();
    for name in names_in(&pool.sandbox.path("reader")) {
        if name.starts_with("index.sqlite") {
            fs::remove_file(pool.sandbox.path("reader").join(name)).unwrap();
        }
    }
    pool.of("reader", "reindex");
    pool.run("reader", "own", "push --all --to second", 0);
    assert_eq!(pushed(&pool, "second"), ["mine"]);
    assert_eq!(show(&pool, "foo")["arrival"], before);
}

#[test]
fn a_lost_row_that_gc_restores_is_not_laundered() {
    let pool = with_pulled();
    let index = rusqlite::Connection::open(pool.sandbox.path("reader/index.sqlite")).unwrap();
    index.execute_batch("DELETE FROM eggs").unwrap();
    drop(index);
    pool.of("reader", "gc").says(&["2 eggs restored to the index"]);
    pool.run("reader", "own", "push --all --to second", 0);
    assert_eq!(pushed(&pool, "second"), ["mine"]);
}

#[test]
fn pulled_eggs_are_signed_on_request() {
    let pool = with_pulled();
    let output = pool.run("reader", "own", "push --all --to second", 0);
    output.says(&[
        "1 egg not pushed: pulled from team, and not in remote second",
        "--include-pulled",
        "1 egg pushed to remote second",
    ]);
    let report = pool.run("reader", "own", "--json push foo==1.0 --to second", 0).json();
    let egg = &report["eggs"][0];
    assert_eq!((&egg["outcome"], &egg["arrival"]["remote"]), (&json!("skipped"), &json!("team")));
    pool.run("reader", "own", "push --all --to second --include-pulled", 0)
        .says(&["1 egg pushed to remote second", "1 already there"]);
    assert_eq!(pushed(&pool, "second"), ["foo", "mine"]);
}

/// A push that may sign nothing still completes an entry that the remote has.
#[test]
fn a_push_restores_the_lost_blob_of_a_pulled_egg() {
    let pool = with_pulled();
    let blob = pool.blob("foo", "");
    fs::remove_file(&blob).unwrap();
    let entry = fs::read(pool.object("entries/foo", "")).unwrap();
    pool.of("reader", "push foo==1.0 --to team").says(&["1 egg pushed"]);
    assert!(blob.exists());
    assert_eq!(fs::read(pool.object("entries/foo", "")).unwrap(), entry);
    pool.ok("remote verify team --full").says(&["no problem"]);
}

#[test]
fn show_list_and_stats_name_remote_and_key() {
    let pool = with_pulled();
    let id = key_id(&pool, "key");
    let arrival = show(&pool, "foo")["arrival"].clone();
    assert_eq!((&arrival["remote"], &arrival["keys"]), (&json!("team"), &json!([id])));
    let url = format!("file://{}/", pool.sandbox.path("pool").display());
    assert_eq!(arrival["url"], json!(url));
    assert!(arrival["arrived_at"].as_i64().unwrap() > 1_700_000_000);
    assert_eq!(show(&pool, "mine").get("arrival"), None);

    let shown = pool.of("reader", "show foo").stdout;
    let line = shown.lines().find(|line| line.starts_with("pulled")).unwrap();
    assert!(line.ends_with(&format!("from team ({url}), signed by {id}")), "{line}");
    assert!(!pool.of("reader", "show mine").stdout.contains("pulled"));

    let listed = pool.of("reader", "--json list").json();
    let eggs = listed["eggs"].as_array().unwrap();
    let arrivals: Vec<_> =
        eggs.iter().map(|egg| (text(&egg["name"]), egg.get("arrival"))).collect();
    assert_eq!(arrivals, [("foo", Some(&arrival)), ("mine", None)]);

    let stats = pool.of("reader", "--json stats").json();
    assert_eq!(stats["pulled"]["eggs"], 1);
    assert_eq!(stats["pulled"]["sources"][0]["key"], json!(id));
    let output = pool.of("reader", "stats --html stats.html");
    assert!(output.stdout.contains(&format!("1 from team signed by {id}")), "{}", output.stdout);
    let page = fs::read_to_string(pool.sandbox.path("stats.html")).unwrap();
    assert!(page.contains(&format!("Pulled from remotes: 1 egg (1 from team signed by {id}).")));
}

#[test]
fn no_secret_of_an_address_is_recorded() {
    let pool = with_pulled();
    let remotes = pool.sandbox.path("reader/remotes.json");
    let text = fs::read_to_string(&remotes).unwrap();
    fs::write(&remotes, text.replace("/pool\"", "/pool?token=hunter2#hunter2\"")).unwrap();
    pool.of("reader", "pull bar==2.0 --python 3.11");
    let records = fs::read_to_string(pool.sandbox.path("reader/arrivals.jsonl")).unwrap();
    assert!(records.lines().count() == 2 && !records.contains("hunter2"), "{records}");
}

#[test]
fn what_was_built_here_first_stays_built_here() {
    let pool = with_pulled();
    // The same egg, and another build of it.
    pool.of("reader", "add eggs/bar-2.0-py3.11.egg");
    pool.of("reader", "pull bar==2.0 --python 3.11").says(&["1 already there"]);
    assert_eq!(show(&pool, "bar").get("arrival"), None);
    let other = pool.sandbox.other_build("baz", "1.0");
    pool.of("reader", &format!("add {}", other.display()));
    pool.sandbox.egg("baz", "1.0");
    pool.fill();
    pool.of("reader", "pull baz==1.0 --python 3.11").says(&["another build"]);
    assert_eq!(show(&pool, "baz").get("arrival"), None);
    let records = fs::read_to_string(pool.sandbox.path("reader/arrivals.jsonl")).unwrap();
    assert_eq!(records.lines().count(), 1, "{records}");
}

#[test]
fn a_copy_of_a_pulled_egg_is_not_built_here() {
    let pool = with_pulled();
    pool.of("reader", "materialize --into out foo==1.0");
    pool.of("reader", "gc --max-size 1B");
    pool.of("reader", "add out");
    assert_eq!(show(&pool, "foo")["arrival"]["remote"], "team");
}

/// `foo` as it was pulled, copied into `out` by hand or by a buildout, and evicted.
fn with_copy() -> Pool {
    let pool = with_pulled();
    pool.of("reader", "materialize --into out foo==1.0");
    pool.of("reader", "gc --max-size 1B");
    pool
}

#[test]
fn a_copy_with_other_times_and_bytecode_is_not_built_here() {
    let pool = with_copy();
    let egg = pool.sandbox.path("out/foo-1.0-py3.11.egg");
    touch(&egg.join("foo.py"), 1_000_000_000, 0);
    write(&egg.join("__pycache__/foo.cpython-311.pyc"), b"compiled");
    pool.of("reader", "add out");
    assert_eq!(show(&pool, "foo")["arrival"]["remote"], "team");
    pool.of("reader", "reindex");
    assert_eq!(show(&pool, "foo")["arrival"]["remote"], "team");
    pool.run("reader", "own", "push --all --to second", 0);
    assert_eq!(pushed(&pool, "second"), [""; 0]);
    pool.of("reader", "gc --signed-by key.pub").says(&["1 egg"]);
}

#[test]
fn an_egg_with_other_files_is_built_here() {
    let pool = with_copy();
    write(&pool.sandbox.path("out/foo-1.0-py3.11.egg/foo.py"), b"mine = 1");
    pool.of("reader", "add out");
    assert_eq!(show(&pool, "foo").get("arrival"), None);
}

/// A build with the same content as a pulled egg is the builder's own all the same.
#[test]
fn an_egg_that_a_buildout_builds_is_built_here() {
    let pool = with_copy();
    let egg = pool.sandbox.path("out/foo-1.0-py3.11.egg");
    touch(&egg.join("foo.py"), 1_000_000_000, 0);
    let opening = opening_with(&pool.sandbox, "cache", &pool.sandbox.path("reader"));
    let mut server = Server::opened_by(&pool.sandbox, &opening);
    let stored = server.stored(&json!({
        "op": "store", "path": egg, "source_sha256": "", "variant": "", "build_seconds": 1.5,
    }));
    assert_eq!(stored["outcome"], "stored");
    drop(server);
    assert_eq!(show(&pool, "foo").get("arrival"), None);
}

#[test]
fn eggs_of_a_stolen_key_are_evicted_despite_pins_and_roots() {
    let pool = with_pulled();
    pool.of("reader", "pull bar==2.0 --python 3.11");
    pool.of("reader", "pin foo --note keep");
    let mut opening = opening_with(&pool.sandbox, "cache", &pool.sandbox.path("reader"));
    opening["offline"] = json!(true);
    let mut server = Server::opened_by(&pool.sandbox, &opening);
    for name in ["bar", "mine"] {
        server.materialize(&pool.sandbox, text(&show(&pool, name)["digest"]));
    }
    server.register(&pool.sandbox, &["bar-2.0-py3.11.egg", "mine-1.0-py3.11.egg"]);
    drop(server);
    let id = key_id(&pool, "key");
    let report = pool.of("reader", &format!("--json gc --dry-run --signed-by {id}")).json();
    let evicted = report["evicted"].as_array().unwrap();
    let reasons: Vec<_> = evicted
        .iter()
        .map(|it| {
            (text(&it["name"]), text(&it["reason"]), text(&it["came_by"]["despite"]["reason"]))
        })
        .collect();
    assert_eq!(reasons, [("bar", "signed-by", "root"), ("foo", "signed-by", "pinned")]);
    let dry = pool.of("reader", "gc --signed-by key.pub --dry-run").stdout;
    for part in [
        &format!("pulled from team, signed by {id}; used by"),
        &format!("pulled from team, signed by {id}; pinned by foo: \"keep\""),
    ] {
        assert!(dry.replace('\n', " ").contains(part.as_str()), "{part} is not in {dry}");
    }
    assert_eq!(listed(&pool, "reader"), ["bar", "foo", "mine"]);
    let real = pool.of("reader", "gc --signed-by key.pub");
    assert_eq!(real.stdout, dry);
    assert_eq!(listed(&pool, "reader"), ["mine"]);
    pool.of("reader", "reindex");
    assert_eq!(listed(&pool, "reader"), ["mine"]);
    pool.of("reader", "gc --signed-by key.pub").says(&["no egg in the cache came by key"]);
}

#[test]
fn the_policy_does_not_apply_when_a_key_is_named() {
    let pool = with_pulled();
    fs::write(pool.sandbox.path("reader/eggcache.toml"), "[gc]\nmax-size = \"1B\"\n").unwrap();
    pool.of("reader", "gc --signed-by key.pub");
    assert_eq!(listed(&pool, "reader"), ["mine"]);
    pool.run("reader", "key", "gc --signed-by team", 2).says(&["not a public key"]);
}

/// An entry that two keys have signed names both, and each evicts it.
#[test]
fn an_egg_with_several_signatures_is_evicted_by_each_of_them() {
    let pool = Pool::with_two();
    pool.ok("keygen new");
    for cache in ["cache", "reader"] {
        pool.of(cache, "trust team new.pub");
    }
    pool.run("cache", "new", "sign team", 0);
    for key in ["key", "new"] {
        pool.of("reader", "pull foo==1.0 --python 3.11");
        let mut ids = [key_id(&pool, "key"), key_id(&pool, "new")];
        ids.sort();
        assert_eq!(show(&pool, "foo")["arrival"]["keys"], json!(ids));
        pool.of("reader", &format!("gc --signed-by {}", key_id(&pool, key)));
        assert_eq!(listed(&pool, "reader"), [""; 0]);
    }
}

#[test]
fn damaged_records_stop_a_push() {
    let pool = with_pulled();
    let records = pool.sandbox.path("reader/arrivals.jsonl");
    let good = fs::read_to_string(&records).unwrap();
    fs::write(&records, good.replace("\"egg\"", "\"hen\"")).unwrap();
    pool.run("reader", "own", "push --all --to second", 1).says(&["lines are damaged", "hint: "]);
    assert_eq!(pushed(&pool, "second"), [""; 0]);
    pool.of("reader", "gc --signed-by key.pub").says(&["lines are damaged"]);
    pool.of("reader", "list");
    pool.run("reader", "own", "push mine==1.0 --to second --include-pulled", 0);
    assert_eq!(pushed(&pool, "second"), ["mine"]);
}

/// A builder that pulls from the pool of others and pushes to its own.
fn builder_of_two(pool: &Pool) -> Sandbox {
    let builder = Sandbox::new();
    builder.ok("keygen key");
    let (team, key) = (pool.sandbox.path("pool"), pool.sandbox.path("key.pub"));
    builder.ok(&format!("remote add team {} --key {}", team.display(), key.display()));
    builder.ok(&format!("remote add own {} --key key.pub --push", builder.path("own").display()));
    builder
}

fn built(builder: &Sandbox, eggs: &[&str]) -> Value {
    let opening = opening_with(builder, "configuration", std::path::Path::new("some pins"));
    let mut server = Server::opened_by(builder, &opening);
    let mut names = Vec::new();
    for egg in eggs {
        let (name, version) = egg.split_once("==").unwrap();
        let query = json!({"op": "find", "name": name, "variant": "", "version": version});
        let found = server.ask(&query);
        server.materialize(builder, text(&found["eggs"][0]["digest"]));
        names.push(format!("{name}-{version}-py3.11.egg"));
    }
    server.register(builder, &names.iter().map(String::as_str).collect::<Vec<_>>());
    server.ask(&json!({"op": "close"}))
}

#[test]
fn a_builder_does_not_sign_what_it_has_pulled() {
    let pool = Pool::with_two();
    let builder = builder_of_two(&pool);
    builder.added("mine", "1.0");
    assert_eq!(built(&builder, &["foo==1.0", "mine==1.0"]), json!({"pushed": 1}));
    let objects = |folder: &str| names_in(&builder.path("own/v1").join(folder));
    assert_eq!(objects("entries"), ["mine"]);
    assert_eq!(objects("sets"), [""; 0], "a set names all eggs of its buildouts");
    let foo = builder.json("show foo");
    assert_eq!(foo["arrival"]["remote"], "team");
    assert_eq!(built(&builder, &["foo==1.0", "mine==1.0"]), json!({"pushed": 0}));
    assert_eq!(objects("entries"), ["mine"]);
}

#[test]
fn pulled_eggs_that_the_remote_has_belong_to_its_set() {
    let pool = Pool::with_two();
    let builder = builder_of_two(&pool);
    builder.ok("remote remove own");
    builder.ok("remote remove team");
    builder.ok(&format!(
        "remote add team {} --key key.pub --push",
        pool.sandbox.path("pool").display()
    ));
    builder.ok(&format!("trust team {}", pool.sandbox.path("key.pub").display()));
    builder.ok("pull foo==1.0 --python 3.11");
    let entry = fs::read(pool.object("entries/foo", "")).unwrap();
    builder.added("mine", "1.0");
    assert_eq!(built(&builder, &["foo==1.0", "mine==1.0"]), json!({"pushed": 1}));
    let set = pool.object("sets", "");
    assert_eq!(fs::read_to_string(set).unwrap().lines().count(), 2);
    assert_eq!(fs::read(pool.object("entries/foo", "")).unwrap(), entry);
}

#[test]
fn untrusted_entries_are_not_removed_without_a_valid_key() {
    let pool = Pool::with_two();
    let before = pool.content();
    for distrust in ["--remove key.pub", "key.pub --until 2020-01-01"] {
        pool.ok("trust team key.pub");
        pool.ok(&format!("trust team {distrust}"));
        for line in ["remote gc team --untrusted", "remote gc team --untrusted --dry-run"] {
            pool.run("cache", "key", line, 1).says(&["team", "no key", "hint: "]);
        }
        assert_eq!(pool.content(), before);
    }
}
