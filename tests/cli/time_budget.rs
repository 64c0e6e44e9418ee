//! The time budget of the remotes of a run: after it is spent, the run makes no request, says so once, and
//! goes on.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::serve::{Server, opening_with};
use crate::store::Store;
use crate::support::{Sandbox, text, write};

const SPENT: &str = "of this run and saved";

/// A builder and a reader of a store, each with this budget.
struct Team {
    builder: Sandbox,
    reader: Sandbox,
    store: Store,
}

impl Team {
    fn new(budget: &str) -> Self {
        let store = Store::new();
        let builder = Sandbox::new();
        builder.ok("keygen key");
        let reader = Sandbox::new();
        let key = builder.path("key.pub").display().to_string();
        let endpoint = format!("http://127.0.0.1:{}", store.port);
        let add = format!("remote add team s3://eggs --region here --endpoint {endpoint}");
        for (sandbox, push) in [(&builder, "--push"), (&reader, "")] {
            sandbox.ok(&format!("{add} --key {key} {push}"));
            let policy = format!("[remotes]\nbudget = \"{budget}\"\n");
            write(&sandbox.path("cache/eggcache.toml"), policy.as_bytes());
        }
        Self { builder, reader, store }
    }

    /// Pushes an egg, with the seconds that its build has taken.
    fn pushed(&self, name: &str, build_seconds: f64) {
        let egg = self.builder.egg(name, "1.0");
        let mut server = Server::open(&self.builder, &crate::support::host());
        let stored = server.stored(&json!({
            "op": "store", "path": egg, "source_sha256": "", "variant": "",
            "build_seconds": build_seconds,
        }));
        assert_eq!(stored["outcome"], "stored", "{stored}");
        server.close_with(&json!({"pushed": 0}));
        self.builder.ok(&format!("push {name}==1.0"));
    }

    /// Lets every request of this kind take this long.
    fn slow_down(&self, kind: &'static str, time: Duration) {
        self.store.before_each(move |request, _| {
            if request.starts_with(kind) {
                std::thread::sleep(time);
            }
        });
    }

    /// How many requests the store has got.
    fn requests(&self) -> usize {
        self.store.objects().log.len()
    }
}

fn open(sandbox: &Sandbox) -> Server {
    Server::opened_by(sandbox, &opening_with(sandbox, "configuration", Path::new("some pins")))
}

fn find(server: &mut Server, name: &str) -> Value {
    server.ask(&json!({"op": "find", "name": name, "variant": "", "version": "1.0"}))
}

fn lease(server: &mut Server, name: &str) -> Value {
    server.ask(&json!({"op": "lease", "name": name, "variant": "", "version": "1.0"}))
}

/// The only warning of an answer.
fn warning(answer: &Value) -> &str {
    let warnings = answer["warnings"].as_array();
    let [warning] = warnings.map_or(&[][..], Vec::as_slice) else { panic!("{answer}") };
    text(warning)
}

/// Finds an egg, and asks for its copy.
fn copy(server: &mut Server, sandbox: &Sandbox, name: &str) -> Value {
    let found = find(server, name);
    let digest = text(&found["eggs"][0]["digest"]).to_owned();
    server.materialize(sandbox, &digest)
}

/// The seconds that a run would wait for the lease of an egg, and the last answer.
fn waits(server: &mut Server, name: &str) -> (f64, Value) {
    let mut waited = 0.0;
    for _ in 0..1000 {
        let answer = lease(server, name);
        match answer["wait"].as_f64() {
            Some(wait) => waited += wait,
            None => return (waited, answer),
        }
    }
    panic!("it waits for ever, {waited} s so far");
}

#[test]
fn slow_answers_spend_the_budget_and_nothing_more_is_asked() {
    let team = Team::new("0s");
    team.slow_down("GET", Duration::from_millis(20));
    let mut server = open(&team.reader);
    let found = find(&mut server, "foo");
    assert_eq!(found["eggs"], json!([]));
    assert!(warning(&found).starts_with("remote team: took "), "{found}");
    assert!(warning(&found).contains(SPENT), "{found}");
    let before = team.requests();
    for name in ["foo", "bar", "baz"] {
        assert_eq!(find(&mut server, name), json!({"eggs": []}));
        let wanted = json!([{"name": format!("{name}-more"), "version": "1.0"}]);
        server.ask(&json!({"op": "look", "wanted": wanted}));
        assert_eq!(lease(&mut server, name), json!({"lease": "none"}));
    }
    server.close();
    assert_eq!(team.requests(), before);
}

#[test]
fn saved_builds_pay_for_slow_answers() {
    let team = Team::new("2s");
    team.pushed("foo", 500.0);
    team.pushed("bar", 0.0);
    let mut server = open(&team.reader);
    assert_eq!(copy(&mut server, &team.reader, "foo")["outcome"], "copied");
    // Alone, this would spend the budget.
    team.slow_down("GET", Duration::from_millis(1500));
    assert_eq!(copy(&mut server, &team.reader, "bar")["outcome"], "copied");
    assert_eq!(find(&mut server, "baz"), json!({"eggs": []}));
    server.close();
}

#[test]
fn a_blob_that_comes_too_late_is_built_instead() {
    let team = Team::new("1s");
    for name in ["foo", "bar"] {
        team.pushed(name, 0.0);
    }
    team.slow_down("GET v1/blobs", Duration::from_secs(30));
    let mut server = open(&team.reader);
    let answer = copy(&mut server, &team.reader, "foo");
    assert_eq!(answer["kind"], "unavailable", "{answer}");
    let found = find(&mut server, "bar");
    assert!(warning(&found).contains(SPENT), "{found}");
    assert_eq!(find(&mut server, "bar"), json!({"eggs": []}));
    server.close();
}

#[test]
fn waits_for_another_builder_are_part_of_the_budget() {
    let team = Team::new("5s");
    let mut holder = open(&team.builder);
    assert_eq!(lease(&mut holder, "foo"), json!({"lease": "taken"}));

    let other = Sandbox::new();
    std::fs::copy(team.builder.path("key"), other.path("key")).unwrap();
    let endpoint = format!("http://127.0.0.1:{}", team.store.port);
    let key = team.builder.path("key.pub").display().to_string();
    other.ok(&format!(
        "remote add team s3://eggs --region here --endpoint {endpoint} --key {key} --push"
    ));
    write(&other.path("cache/eggcache.toml"), b"[remotes]\nbudget = \"5s\"\n");
    let mut server = open(&other);
    let (waited, answer) = waits(&mut server, "foo");
    assert_eq!(answer, json!({"lease": "none"}));
    assert!((1.0..=5.1).contains(&waited), "{waited}");
    assert!(warning(&find(&mut server, "foo")).contains(SPENT));
    // One budget for all eggs.
    assert_eq!(lease(&mut server, "bar"), json!({"lease": "none"}));
    server.close_with(&json!({"pushed": 0}));

    // A build of this project is known to take a minute.
    let egg = other.egg("foo", "0.9");
    let mut server = open(&other);
    let stored = server.stored(&json!({
        "op": "store", "path": egg, "source_sha256": "", "variant": "", "build_seconds": 60.0,
    }));
    assert_eq!(stored["outcome"], "stored", "{stored}");
    let (waited, answer) = waits(&mut server, "foo");
    assert_eq!(answer, json!({"lease": "none"}));
    assert!((50.0..=65.5).contains(&waited), "{waited}");
    drop(server);
    drop(holder);
}

#[test]
fn an_invalid_policy_leaves_the_default_budget() {
    let team = Team::new("soon");
    team.pushed("foo", 0.0);
    let mut server = open(&team.reader);
    assert_eq!(copy(&mut server, &team.reader, "foo")["outcome"], "copied");
    server.close();
}
