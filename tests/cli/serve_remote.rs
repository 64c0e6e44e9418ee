//! Serve with remotes: what buildouts take from them, and bring to them.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::damage::flip_last_bit;
use crate::serve::{Server, opening_with};
use crate::support::{Sandbox, assert_same_tree, files_in, host, names_in, text};

/// A builder, and a reader that trusts its key, with one folder as their remote.
struct Team {
    builder: Sandbox,
    reader: Sandbox,
}

impl Team {
    fn new() -> Self {
        let builder = Sandbox::new();
        builder.ok("keygen key");
        let reader = Sandbox::new();
        let pool = builder.path("pool");
        let key = builder.path("key.pub");
        for (sandbox, push) in [(&builder, "--push"), (&reader, "")] {
            let (pool, key) = (pool.display(), key.display());
            sandbox.ok(&format!("remote add team {pool} --key {key} {push}"));
        }
        Self { builder, reader }
    }

    /// An egg that the remote has.
    fn pushed(&self, name: &str) -> PathBuf {
        let egg = self.builder.egg(name, "1.0");
        self.builder.ok(&format!("add {}", egg.display()));
        self.builder.ok(&format!("push {name}==1.0"));
        egg
    }

    /// The files of the remote below one of its folders.
    fn objects(&self, folder: &str) -> Vec<PathBuf> {
        files_in(&self.builder.path("pool/v1").join(folder))
    }
}

/// A server that has opened the cache of somebody, for a configuration.
fn open(sandbox: &Sandbox) -> Server {
    Server::opened_by(sandbox, &opening_with(sandbox, "configuration", Path::new("some pins")))
}

fn find(server: &mut Server, name: &str, version: &str) -> Value {
    server.ask(&json!({"op": "find", "name": name, "variant": "", "version": version}))
}

/// The digest of the one egg that is found.
fn found(server: &mut Server, name: &str) -> String {
    let found = find(server, name, "1.0");
    assert_eq!(found["eggs"].as_array().unwrap().len(), 1, "{found}");
    text(&found["eggs"][0]["digest"]).to_owned()
}

fn lease(server: &mut Server, name: &str) -> Value {
    server.ask(&json!({"op": "lease", "name": name, "variant": "", "version": "1.0"}))
}

#[test]
fn an_egg_that_only_a_remote_has_is_found_and_copied_and_then_here() {
    let team = Team::new();
    let egg = team.pushed("foo");
    let mut server = open(&team.reader);
    let digest = found(&mut server, "foo");
    assert_eq!(server.materialize(&team.reader, &digest)["outcome"], "copied");
    assert_same_tree(&egg, &team.reader.path("out/foo-1.0-py3.11.egg"));
    server.close_with(&json!({}));
    assert_eq!(team.reader.listed(), ["foo==1.0"]);
    assert_eq!(team.reader.ok("verify").stdout, "");
    team.reader.assert_tidy();
}

#[test]
fn a_remote_is_asked_for_a_version_that_the_cache_lacks_and_not_when_offline() {
    let team = Team::new();
    team.pushed("foo");
    team.reader.added("foo", "2.0");
    let mut server = open(&team.reader);
    let versions = |found: &Value| -> Vec<String> {
        let eggs = found["eggs"].as_array().unwrap();
        eggs.iter().map(|egg| text(&egg["version"]).to_owned()).collect()
    };
    assert_eq!(versions(&find(&mut server, "foo", "2.0")), ["2.0"]);
    assert_eq!(versions(&find(&mut server, "foo", "1.0")), ["2.0", "1.0"]);
    assert_eq!(versions(&find(&mut server, "foo", "3.0")), ["2.0"]);
    drop(server);
    let mut opening = opening_with(&team.reader, "configuration", Path::new("some pins"));
    opening["offline"] = json!(true);
    let mut server = Server::opened_by(&team.reader, &opening);
    assert_eq!(versions(&find(&mut server, "foo", "1.0")), ["2.0"]);
    server.close_with(&json!({}));
}

#[test]
fn an_egg_for_another_python_is_not_found() {
    let team = Team::new();
    team.pushed("foo");
    let mut other = host();
    other["python"] = json!("3.12");
    let mut server = Server::opened_by(&team.reader, &crate::serve::opening(&team.reader, &other));
    assert_eq!(find(&mut server, "foo", "1.0"), json!({"eggs": []}));
}

#[test]
fn what_a_buildout_has_built_is_there_for_the_next_by_its_set_alone() {
    let team = Team::new();
    let egg = team.builder.egg("foo", "1.0");
    let mut server = open(&team.builder);
    assert_eq!(lease(&mut server, "foo"), json!({"lease": "taken"}));
    assert_eq!(server.store(&egg)["outcome"], "stored");
    server.materialize(&team.builder, &team.builder.digest("foo"));
    server.register(&team.builder, &["foo-1.0-py3.11.egg"]);
    server.close_with(&json!({"pushed": 1}));
    assert_eq!(team.objects("sets").len(), 1);
    assert!(team.objects("leases").is_empty());

    // The list of the project is not needed.
    for list in team.objects("projects") {
        std::fs::remove_file(list).unwrap();
    }
    let mut server = open(&team.reader);
    let digest = found(&mut server, "foo");
    assert_eq!(server.materialize(&team.reader, &digest)["outcome"], "copied");
    server.close_with(&json!({}));
}

#[test]
fn what_else_a_set_has_comes_with_the_first_egg_of_it() {
    let team = Team::new();
    for name in ["foo", "bar"] {
        team.builder.added(name, "1.0");
    }
    let mut server = open(&team.builder);
    for name in ["foo", "bar"] {
        server.materialize(&team.builder, &team.builder.digest(name));
    }
    server.register(&team.builder, &["foo-1.0-py3.11.egg", "bar-1.0-py3.11.egg"]);
    server.close_with(&json!({"pushed": 2}));

    let mut server = open(&team.reader);
    found(&mut server, "foo");
    let blobs = || files_in(&team.reader.path("cache/blobs")).len();
    let has_come = (0..1000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        blobs() == 2
    });
    assert!(has_come, "{:?}", team.reader.listed());
    server.close_with(&json!({}));
    assert!(!team.reader.path("out").exists(), "nothing was asked to be copied");
}

#[test]
fn a_buildout_that_fails_pushes_only_what_others_wait_for() {
    let team = Team::new();
    let (foo, bar) = (team.builder.egg("foo", "1.0"), team.builder.egg("bar", "1.0"));
    let mut server = open(&team.builder);
    assert_eq!(lease(&mut server, "foo"), json!({"lease": "taken"}));
    server.store(&foo);
    server.store(&bar);
    server.close_with(&json!({"pushed": 1}));
    assert!(team.objects("sets").is_empty());
    let mut server = open(&team.reader);
    found(&mut server, "foo");
    assert_eq!(find(&mut server, "bar", "1.0"), json!({"eggs": []}));
}

#[test]
fn who_needs_an_egg_that_another_builds_waits_for_it_and_gets_it() {
    let team = Team::new();
    let other = Sandbox::new();
    for name in ["key", "key.pub"] {
        std::fs::copy(team.builder.path(name), other.path(name)).unwrap();
    }
    let pool = team.builder.path("pool");
    other.ok(&format!("remote add team {} --key key.pub --push", pool.display()));

    let (mut first, mut second) = (open(&team.builder), open(&other));
    assert_eq!(find(&mut second, "foo", "1.0"), json!({"eggs": []}));
    assert_eq!(lease(&mut first, "foo"), json!({"lease": "taken"}));
    let held = lease(&mut second, "foo");
    assert_eq!(held["lease"], "held");
    assert!(held["wait"].as_f64().unwrap() < 5.0, "{held}");
    first.store(&team.builder.egg("foo", "1.0"));
    let built = (0..1000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        lease(&mut second, "foo") == json!({"lease": "built"})
    });
    assert!(built, "{:?}", team.objects("leases"));
    let digest = found(&mut second, "foo");
    assert_eq!(second.materialize(&other, &digest)["outcome"], "copied");
}

#[test]
fn the_lease_of_a_builder_that_has_failed_is_the_next_ones() {
    let team = Team::new();
    let mut first = open(&team.builder);
    assert_eq!(lease(&mut first, "foo"), json!({"lease": "taken"}));
    let mut second = open(&team.builder);
    assert_eq!(lease(&mut second, "foo")["lease"], "held");
    first.close_with(&json!({"pushed": 0}));
    let answers: Vec<Value> = (0..3).map(|_| lease(&mut second, "foo")).collect();
    assert!(answers.contains(&json!({"lease": "taken"})), "{answers:?}");
}

#[test]
fn who_only_reads_builds_what_it_needs() {
    let team = Team::new();
    let mut builder = open(&team.builder);
    assert_eq!(lease(&mut builder, "foo"), json!({"lease": "taken"}));
    assert_eq!(lease(&mut open(&team.reader), "foo"), json!({"lease": "none"}));
}

#[test]
fn an_entry_that_nobody_trusted_has_signed_is_named_and_not_used() {
    let team = Team::new();
    team.pushed("foo");
    team.builder.ok("keygen another");
    let key = team.builder.path("key.pub");
    let other = team.builder.path("another.pub");
    team.reader.ok(&format!("trust team {}", other.display()));
    team.reader.ok(&format!("trust team {} --remove", key.display()));
    let mut server = open(&team.reader);
    let answer = find(&mut server, "foo", "1.0");
    assert_eq!(answer["eggs"], json!([]));
    let warning = text(&answer["warnings"][0]);
    assert!(warning.contains("foo-1.0-py3.11.egg") && warning.contains("not trusted"), "{warning}");
    assert_eq!(find(&mut server, "foo", "1.0"), json!({"eggs": []}), "it is told once");
}

#[test]
fn a_blob_that_is_not_what_was_signed_is_named_and_the_egg_is_to_be_built() {
    let team = Team::new();
    team.pushed("foo");
    flip_last_bit(&team.objects("blobs")[0]);
    let mut server = open(&team.reader);
    let digest = found(&mut server, "foo");
    let refused = server.materialize(&team.reader, &digest);
    assert_eq!(refused["kind"], "unusable", "{refused}");
    assert!(text(&refused["error"]).contains("foo-1.0-py3.11.egg is refused"), "{refused}");
    assert_eq!(find(&mut server, "foo", "1.0")["eggs"], json!([]), "it is not offered again");
    drop(server);
    assert!(team.reader.listed().is_empty());
    team.reader.assert_tidy();
}

#[test]
fn a_remote_that_cannot_be_reached_is_told_once_and_done_without() {
    let sandbox = Sandbox::new();
    sandbox.ok("keygen key");
    sandbox.ok("remote add team http://127.0.0.1:9/ --key key.pub");
    let mut server = open(&sandbox);
    let answer = find(&mut server, "foo", "1.0");
    assert_eq!(answer["eggs"], json!([]));
    let warning = text(&answer["warnings"][0]);
    assert!(warning.starts_with("remote team: it cannot be reached"), "{warning}");
    assert_eq!(find(&mut server, "bar", "1.0"), json!({"eggs": []}));
    server.close_with(&json!({}));
}

#[test]
fn a_remote_that_goes_while_eggs_come_costs_no_warning_for_each() {
    let team = Team::new();
    team.pushed("foo");
    let mut server = open(&team.reader);
    let digest = found(&mut server, "foo");
    std::fs::rename(team.builder.path("pool"), team.builder.path("gone")).unwrap();
    let gone = server.materialize(&team.reader, &digest);
    assert!(matches!(text(&gone["kind"]), "unusable" | "unavailable"), "{gone}");
}

#[test]
fn a_cache_without_remotes_is_as_before() {
    let sandbox = Sandbox::new();
    let mut server = open(&sandbox);
    assert_eq!(lease(&mut server, "foo"), json!({"lease": "none"}));
    let wanted = json!([{"name": "foo", "version": "1.0"}, {"name": "bar"}]);
    assert_eq!(server.ask(&json!({"op": "look", "wanted": wanted})), json!({}));
    server.close_with(&json!({}));
    assert!(names_in(&sandbox.path("cache")).iter().all(|name| name != "remotes.json"));
}
