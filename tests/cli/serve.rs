//! `eggcache serve`: the lines that buildout and the bridge exchange.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::damage::{flip_last_bit, overwrite};
use crate::support::{
    Mount, SOABI, Sandbox, assert_same_tree, host, make_egg, names_in, noise, text, write,
};

pub struct Server {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Server {
    /// Starts a server and reads its greeting.
    pub fn start(sandbox: &Sandbox) -> (Self, Value) {
        let mut process = sandbox.process(crate::support::EGGCACHE);
        process.arg("serve");
        Self::start_by(process)
    }

    /// Starts a server with this command, and reads its greeting.
    pub fn start_by(mut process: Command) -> (Self, Value) {
        process.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = process.spawn().unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut server = Self { child, input, output };
        let greeting = server.line();
        (server, greeting)
    }

    /// Kills the server, as a crash does.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts a server and opens the cache for a host.
    pub fn open(sandbox: &Sandbox, host: &Value) -> Self {
        let (mut server, _) = Self::start(sandbox);
        let opened = server.ask(&opening(sandbox, host));
        assert_eq!((&opened["read_only"], &opened["torn"]), (&json!(false), &json!([])));
        server
    }

    /// Starts a server and asks it to open a cache, regardless of its answer.
    pub fn opened_by(sandbox: &Sandbox, opening: &Value) -> Self {
        let (mut server, _) = Self::start(sandbox);
        server.ask(opening);
        server
    }

    /// The next line that is no sign of life.
    fn line(&mut self) -> Value {
        loop {
            let line = serde_json::from_str(&self.output.next().unwrap().unwrap()).unwrap();
            if line != json!({"busy": true}) {
                return line;
            }
        }
    }

    fn say(&mut self, line: &[u8]) -> Value {
        let input = self.input.as_mut().unwrap();
        input.write_all(line).unwrap();
        input.write_all(b"\n").unwrap();
        self.line()
    }

    pub fn ask(&mut self, request: &Value) -> Value {
        self.say(request.to_string().as_bytes())
    }

    pub fn find(&mut self, name: &str) -> Vec<Value> {
        let found = self.ask(&json!({"op": "find", "name": name, "variant": ""}));
        found["eggs"].as_array().unwrap().clone()
    }

    pub fn materialize(&mut self, sandbox: &Sandbox, digest: &str) -> Value {
        let into = sandbox.path("out");
        self.ask(&json!({"op": "materialize", "digest": digest, "into": into}))
    }

    fn prefetch(&mut self, sandbox: &Sandbox, digests: &[String]) -> Value {
        let into = sandbox.path("out");
        self.ask(&json!({"op": "prefetch", "digests": digests, "into": into}))
    }

    /// Offers an egg to be stored, and returns the immediate answer.
    pub fn offer(&mut self, path: &std::path::Path) -> Value {
        self.ask(&json!({"op": "store", "path": path, "source_sha256": "", "variant": ""}))
    }

    pub fn settle(&mut self) -> Value {
        self.ask(&json!({"op": "settle"}))
    }

    /// Stores an egg and returns its outcome.
    pub fn store(&mut self, path: &std::path::Path) -> Value {
        self.stored(&json!({"op": "store", "path": path, "source_sha256": "", "variant": ""}))
    }

    /// Sends a request to store an egg, and returns the outcome of that egg.
    pub fn stored(&mut self, request: &Value) -> Value {
        let answer = self.ask(request);
        if answer != json!({"outcome": "queued"}) {
            return answer;
        }
        let settled = self.settle();
        let outcomes = settled["outcomes"].as_array().unwrap();
        assert_eq!(outcomes.len(), 1, "{settled}");
        assert_eq!(outcomes[0]["path"], request["path"]);
        outcomes[0].clone()
    }

    /// Reports that the buildout in the folder `app` has succeeded and uses these eggs of `out`.
    pub fn register(&mut self, sandbox: &Sandbox, eggs: &[&str]) -> Value {
        let out = sandbox.path("out");
        std::fs::create_dir_all(sandbox.path("app")).unwrap();
        self.ask(&json!({
            "op": "root",
            "directory": sandbox.path("app"),
            "eggs_directory": out,
            "eggs": eggs.iter().map(|egg| out.join(egg)).collect::<Vec<_>>(),
            "whole": false,
        }))
    }

    pub fn close(&mut self) {
        self.close_with(&json!({}));
    }

    /// Closes the session, and expects this answer.
    pub fn close_with(&mut self, told: &Value) {
        assert_eq!(self.ask(&json!({"op": "close"})), *told);
        self.end();
    }

    /// Ends the input, and expects the server to exit successfully.
    pub fn end(&mut self) {
        drop(self.input.take());
        assert!(self.output.next().is_none());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

pub fn opening(sandbox: &Sandbox, host: &Value) -> Value {
    json!({
        "op": "open",
        "cache": sandbox.path("cache"),
        "host": host,
        "buildout": "5.1.0",
        "setuptools": "80.0.0",
    })
}

/// A request to open the cache, with one more field.
pub fn opening_with(sandbox: &Sandbox, field: &str, path: &std::path::Path) -> Value {
    let mut opening = opening(sandbox, &host());
    opening[field] = json!(path);
    opening
}

/// A request that says that buildout has built an egg.
pub fn built(name: &str, version: &str) -> Value {
    json!({
        "op": "built", "name": name, "version": version, "source_sha256": "a".repeat(64), "variant": "",
        "build_seconds": 12.3, "is_converted": false, "not_converted": null,
    })
}

pub fn host_with(field: &str, value: impl Into<Value>) -> Value {
    let mut host = host();
    host[field] = value.into();
    host
}

#[test]
fn the_greeting_has_protocol_and_version() {
    let sandbox = Sandbox::new();
    let (mut server, greeting) = Server::start(&sandbox);
    assert_eq!(greeting, json!({"protocol": 16, "eggcache": env!("CARGO_PKG_VERSION")}));
    server.end();
}

#[test]
fn a_built_egg_is_stored_found_and_copied() {
    let sandbox = Sandbox::new();
    let egg = sandbox.egg("foo.bar", "1.0");
    let mut server = Server::open(&sandbox, &host());
    assert!(server.find("foo.bar").is_empty());
    let sha = "ab".repeat(32);
    let stored = server.stored(&json!({
        "op": "store",
        "path": egg,
        "source_sha256": sha,
        "variant": "",
        "source": "foo.bar-1.0.tar.gz",
        "build_seconds": 1.5,
    }));
    assert_eq!(stored["outcome"], "stored");

    let found = server.find("Foo_Bar");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["version"], "1.0");
    assert_eq!(found[0]["file_name"], "foo.bar-1.0-py3.11.egg");
    assert_eq!(found[0]["source_sha256"], sha);

    let digest = text(&found[0]["digest"]);
    let copied = server.materialize(&sandbox, digest);
    let target = sandbox.path("out/foo.bar-1.0-py3.11.egg");
    assert_eq!(copied["outcome"], "copied");
    assert_eq!(copied["path"], json!(target.canonicalize().unwrap()));
    assert_same_tree(&egg, &target);
    assert_eq!(server.materialize(&sandbox, digest)["outcome"], "present");
    server.close();

    let egg = sandbox.json("show foo.bar");
    assert_eq!(egg["uses"], 2);
    assert_eq!(egg["buildout"], "5.1.0");
    assert_eq!(egg["setuptools"], "80.0.0");
    assert_eq!(egg["source"], "foo.bar-1.0.tar.gz");
    assert_eq!(egg["build_seconds"], 1.5);
    assert_eq!(sandbox.ok("verify").stdout, "");
    sandbox.assert_tidy();
}

/// Makes an egg and adds it to the cache.
fn added_egg(sandbox: &Sandbox, name: &str) -> std::path::PathBuf {
    let egg = sandbox.egg(name, "1.0");
    sandbox.ok(&format!("add {}", egg.display()));
    egg
}

#[test]
fn only_requested_prefetched_eggs_are_copied() {
    let sandbox = Sandbox::new();
    let eggs = ["foo", "bar", "baz", "unasked"].map(|name| (name, added_egg(&sandbox, name)));
    let mut server = Server::open(&sandbox, &host());
    let digests = ["foo", "bar", "unasked", "foo"].map(|name| sandbox.digest(name));
    assert_eq!(server.prefetch(&sandbox, &digests), json!({}));
    for (name, egg) in &eggs[..3] {
        let copied = server.materialize(&sandbox, &sandbox.digest(name));
        assert_eq!(copied["outcome"], "copied", "{name}: {copied}");
        assert_eq!(copied["files"], sandbox.json(&format!("show {name}"))["files"]);
        assert_same_tree(egg, &sandbox.path("out").join(egg.file_name().unwrap()));
    }
    assert_eq!(server.prefetch(&sandbox, &digests), json!({}));
    assert_eq!(server.materialize(&sandbox, &digests[0])["outcome"], "present");
    server.close();
    assert_eq!(
        names_in(&sandbox.path("out")),
        ["bar-1.0-py3.11.egg", "baz-1.0-py3.11.egg", "foo-1.0-py3.11.egg"]
    );
    assert_eq!(sandbox.json("show unasked")["uses"], 0);
}

#[test]
fn a_failed_prefetch_is_reported_when_the_egg_is_requested() {
    let sandbox = Sandbox::new();
    for name in ["damaged", "gone", "blocked"] {
        sandbox.added(name, "1.0");
    }
    let digests = ["damaged", "gone", "blocked"].map(|name| sandbox.digest(name));
    flip_last_bit(&sandbox.blob(&digests[0]));
    std::fs::remove_file(sandbox.blob(&digests[1])).unwrap();
    write(&sandbox.path("out/blocked-1.0-py3.11.egg"), b"in the way");
    let mut server = Server::open(&sandbox, &host());
    server.prefetch(&sandbox, &digests);
    let kinds = digests.each_ref().map(|digest| server.materialize(&sandbox, digest));
    let kinds = kinds.each_ref().map(|answer| text(&answer["kind"]));
    assert_eq!(kinds, ["unusable", "unusable", "in-the-way"]);
    server.close();
    assert_eq!(names_in(&sandbox.path("out")), ["blocked-1.0-py3.11.egg"]);
}

#[test]
fn an_egg_prefetched_into_a_recreated_folder_is_copied_again() {
    let sandbox = Sandbox::new();
    let egg = added_egg(&sandbox, "foo");
    let digest = sandbox.digest("foo");
    let mut server = Server::open(&sandbox, &host());
    server.prefetch(&sandbox, std::slice::from_ref(&digest));
    std::thread::sleep(std::time::Duration::from_millis(50));
    std::fs::remove_dir_all(sandbox.path("out")).unwrap();
    std::fs::create_dir(sandbox.path("out")).unwrap();
    assert_eq!(server.materialize(&sandbox, &digest)["outcome"], "copied");
    assert_same_tree(&egg, &sandbox.path("out/foo-1.0-py3.11.egg"));
    server.close();
}

#[test]
fn prefetched_eggs_of_a_killed_server_are_removed() {
    let sandbox = Sandbox::new();
    sandbox.added("foo", "1.0");
    sandbox.added("bar", "1.0");
    let digests = ["foo", "bar"].map(|name| sandbox.digest(name));
    let mut server = Server::open(&sandbox, &host());
    server.prefetch(&sandbox, &digests);
    server.materialize(&sandbox, &digests[0]);
    server.child.kill().unwrap();
    drop(server);
    let mut server = Server::open(&sandbox, &host());
    server.materialize(&sandbox, &digests[0]);
    server.close();
    assert_eq!(names_in(&sandbox.path("out")), ["foo-1.0-py3.11.egg"]);
}

/// Whether a temporary copy in `out` contains this file, or soon does.
fn is_copied_ahead(sandbox: &Sandbox, file: &str) -> bool {
    (0..1000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        let copies = std::fs::read_dir(sandbox.path("out")).unwrap();
        copies.flatten().any(|copy| {
            copy.file_name().to_string_lossy().starts_with(".eggcache-")
                && copy.path().join(file).exists()
        })
    })
}

#[test]
fn the_next_run_of_a_configuration_copies_its_eggs_ahead() {
    let sandbox = Sandbox::new();
    let digests = ["foo", "bar"].map(|name| {
        sandbox.added(name, "1.0");
        sandbox.digest(name)
    });
    let mut opening = opening_with(&sandbox, "configuration", std::path::Path::new("some pins"));
    let mut server = Server::opened_by(&sandbox, &opening);
    for digest in &digests {
        server.materialize(&sandbox, digest);
    }
    let registered = server.register(&sandbox, &["foo-1.0-py3.11.egg", "bar-1.0-py3.11.egg"]);
    assert_eq!(registered["registered"], true);
    server.close();

    for (eggs_directory, is_expected, is_recalled) in
        [("other", true, true), ("out", false, true), ("other", false, false)]
    {
        std::fs::remove_dir_all(sandbox.path("out")).unwrap();
        opening["eggs_directory"] = json!(sandbox.path(eggs_directory));
        let mut server = Server::opened_by(&sandbox, &opening);
        if is_expected {
            server.prefetch(&sandbox, &digests[..1]);
        }
        assert_eq!(server.materialize(&sandbox, &digests[0])["outcome"], "copied");
        if is_recalled {
            assert!(is_copied_ahead(&sandbox, "bar.py"));
        } else {
            // For example a custom build, which has its own directory.
            std::thread::sleep(std::time::Duration::from_millis(200));
            assert_eq!(names_in(&sandbox.path("out")).len(), 1);
        }
        server.close();
        let eggs = names_in(&sandbox.path("out"));
        assert_eq!(eggs, ["foo-1.0-py3.11.egg"], "only what was requested");
    }
}

#[test]
fn a_failed_run_leaves_no_prefetch_hints() {
    let sandbox = Sandbox::new();
    sandbox.added("foo", "1.0");
    let digest = sandbox.digest("foo");
    let opening = opening_with(&sandbox, "configuration", std::path::Path::new("some pins"));
    let mut server = Server::opened_by(&sandbox, &opening);
    server.materialize(&sandbox, &digest);
    server.close();
    assert!(!sandbox.path("cache/recall").exists());
}

#[test]
fn use_is_recorded_when_the_input_ends_without_a_close() {
    let sandbox = Sandbox::new();
    sandbox.added("foo", "1.0");
    let digest = sandbox.digest("foo");
    let mut server = Server::open(&sandbox, &host());
    server.materialize(&sandbox, &digest);
    server.end();
    assert_eq!(sandbox.json("show foo")["uses"], 1);
}

#[test]
fn use_is_recorded_only_once_after_a_close() {
    let sandbox = Sandbox::new();
    sandbox.added("foo", "1.0");
    let digest = sandbox.digest("foo");
    let mut server = Server::open(&sandbox, &host());
    server.materialize(&sandbox, &digest);
    server.close();
    assert_eq!(sandbox.json("show foo")["uses"], 1);
}

#[test]
fn an_invalid_request_gets_an_error_and_the_server_continues() {
    let sandbox = Sandbox::new();
    sandbox.added("foo", "1.0");
    let mut server = Server::open(&sandbox, &host());
    for line in [
        &b"not json"[..],
        b"",
        b"{}",
        b"[]",
        b"{\"op\": \"fly\"}",
        b"{\"op\": \"find\"}",
        b"{\"op\": \"find\", \"name\": \"foo\", \"variant\": \"\", \"more\": 1}",
        b"{\"op\": \"find\", \"name\": 1, \"variant\": \"\"}",
        b"{\"op\": \"materialize\", \"digest\": \"abc\", \"into\": \"out\"}",
        b"{\"op\": \"close\", \"more\": 1}",
        b"{\"op\": \"open\"}",
    ] {
        let answer = server.say(line);
        assert_eq!(answer["kind"], "failure", "{}", String::from_utf8_lossy(line));
        assert!(text(&answer["error"]).contains("request"), "{answer}");
    }
    assert_eq!(server.find("foo").len(), 1);
    server.close();
}

#[test]
fn a_line_that_is_not_utf8_gets_an_error() {
    let sandbox = Sandbox::new();
    sandbox.added("foo", "1.0");
    let mut server = Server::open(&sandbox, &host());
    let answer = server.say(b"{\"op\": \"find\", \"name\": \"f\xff\", \"variant\": \"\"}");
    assert_eq!(answer["kind"], "failure");
    assert_eq!(server.find("foo").len(), 1);
}

#[test]
fn requests_fail_before_open_and_after_close() {
    let sandbox = Sandbox::new();
    let (mut server, _) = Server::start(&sandbox);
    let find = json!({"op": "find", "name": "foo", "variant": ""});
    assert_eq!(server.ask(&find)["kind"], "failure");
    server.ask(&opening(&sandbox, &host()));
    assert_eq!(server.ask(&find), json!({"eggs": []}));
    server.ask(&json!({"op": "close"}));
    assert_eq!(server.ask(&find)["kind"], "failure");
    assert_eq!(server.ask(&json!({"op": "close"})), json!({}));
    server.end();
}

#[test]
fn a_cache_that_cannot_be_opened_is_a_failure() {
    let sandbox = Sandbox::new();
    write(&sandbox.path("cache"), b"mine");
    let (mut server, _) = Server::start(&sandbox);
    let answer = server.ask(&opening(&sandbox, &host()));
    assert_eq!(answer["kind"], "failure");
    assert!(text(&answer["error"]).contains("not a cache directory"));
    server.end();
}

#[test]
fn find_returns_only_eggs_for_the_requesting_host() {
    let sandbox = Sandbox::new();
    let sh = std::fs::read("/bin/sh").unwrap();
    let module = format!("_native.{SOABI}.so");
    let native = sandbox.path("eggs/native-1.0-py3.11-linux-x86_64.egg");
    make_egg(&native, "native", "1.0", &[(&module, &sh)]);
    sandbox.egg("pure", "1.0");
    make_egg(&sandbox.path("eggs/any-1.0.egg"), "any", "1.0", &[]);
    sandbox.ok("add eggs");
    let libc = sandbox.json("show native")["libc"].clone();

    for (host, native, pure, any) in [
        (host(), 1, 1, 1),
        (host_with("generation", 6), 1, 1, 1),
        (host_with("libc", libc), 1, 1, 1),
        (host_with("libc", "glibc 2.1"), 0, 1, 1),
        (host_with("libc", "musl 1.2.5"), 0, 1, 1),
        (host_with("libc", ""), 0, 1, 1),
        (host_with("soabi", "cpython-311d-x86_64-linux-gnu"), 0, 1, 1),
        (host_with("platform", "linux-aarch64"), 0, 1, 1),
        (host_with("python", "3.12"), 0, 0, 1),
        (host_with("implementation", "pp"), 0, 0, 1),
        (host_with("generation", 4), 0, 0, 0),
        (host_with("environment", "el9"), 0, 0, 0),
    ] {
        let mut server = Server::open(&sandbox, &host);
        for (name, count) in [("native", native), ("pure", pure), ("any", any)] {
            assert_eq!(server.find(name).len(), count, "{name} for {host}");
        }
        server.close();
    }
}

#[test]
fn a_host_finds_only_the_eggs_it_stored() {
    let sandbox = Sandbox::new();
    let egg = sandbox.egg("foo", "1.0");
    let hosts = [host(), host_with("environment", "el9"), host_with("generation", 4)];
    for (number, host) in hosts.iter().enumerate() {
        let mut server = Server::open(&sandbox, host);
        assert!(server.find("foo").is_empty(), "{number}");
        assert_eq!(server.store(&egg)["outcome"], "stored");
        assert_eq!(server.find("foo").len(), 1);
        server.close();
    }
    assert_eq!(sandbox.listed().len(), 3);
}

#[test]
fn a_variant_is_another_egg() {
    let sandbox = Sandbox::new();
    let egg = sandbox.egg("foo", "1.0");
    let mut server = Server::open(&sandbox, &host());
    let store = json!({"op": "store", "path": egg, "source_sha256": "", "variant": "ab12"});
    assert_eq!(server.stored(&store)["outcome"], "stored");
    assert!(server.find("foo").is_empty());
    let found = server.ask(&json!({"op": "find", "name": "foo", "variant": "ab12"}));
    assert_eq!(found["eggs"].as_array().unwrap().len(), 1);
}

#[test]
fn the_first_build_that_is_stored_wins() {
    let sandbox = Sandbox::new();
    let (egg, other) = (sandbox.egg("foo", "1.0"), sandbox.other_build("foo", "1.0"));
    let mut server = Server::open(&sandbox, &host());
    assert_eq!(server.store(&egg)["outcome"], "stored");
    assert_eq!(server.store(&egg)["outcome"], "present");
    assert_eq!(server.store(&other)["outcome"], "other");
    server.close();
    sandbox.assert_tidy();
}

/// Damages the blob of an egg, and asserts that the next build replaces it.
fn is_built_again(damage: impl Fn(&std::path::Path)) {
    let sandbox = Sandbox::new();
    let blob = {
        sandbox.egg_with("foo", "1.0", &[("large", &noise(600_000))]);
        sandbox.ok("add eggs");
        sandbox.blob("foo")
    };
    let digest = sandbox.digest("foo");
    damage(&blob);
    let mut server = Server::open(&sandbox, &host());
    let answer = server.materialize(&sandbox, &digest);
    assert_eq!(answer["kind"], "unusable", "{answer}");
    assert!(text(&answer["error"]).contains(&digest), "{answer}");
    assert_eq!(names_in(&sandbox.path("out")), [""; 0]);
    assert!(server.find("foo").is_empty());

    let other = sandbox.other_build("foo", "1.0");
    assert_eq!(server.store(&other)["outcome"], "replaced");
    let found = server.find("foo");
    assert_eq!(found.len(), 1);
    assert_ne!(found[0]["digest"], digest);
    let copied = server.materialize(&sandbox, text(&found[0]["digest"]));
    assert_eq!(copied["outcome"], "copied");
    assert_same_tree(&other, &sandbox.path("out/foo-1.0-py3.11.egg"));
    server.close();
    sandbox.ok("verify");
    sandbox.assert_tidy();
}

#[test]
fn a_blob_with_a_damaged_frame_is_replaced_by_the_next_build() {
    is_built_again(flip_last_bit);
}

#[test]
fn a_blob_that_does_not_open_is_replaced_by_the_next_build() {
    is_built_again(|blob| overwrite(blob, b"rubbish"));
}

#[test]
fn an_empty_blob_is_replaced_by_the_next_build() {
    is_built_again(|blob| overwrite(blob, b""));
}

#[test]
fn a_missing_blob_is_replaced_by_the_next_build() {
    is_built_again(|blob| std::fs::remove_file(blob).unwrap());
}

#[test]
fn storing_the_same_build_repairs_its_damaged_blob() {
    let sandbox = Sandbox::new();
    let egg = sandbox.egg("foo", "1.0");
    sandbox.ok("add eggs");
    flip_last_bit(&sandbox.blob("foo"));
    let digest = sandbox.digest("foo");
    let mut server = Server::open(&sandbox, &host());
    assert_eq!(server.materialize(&sandbox, &digest)["kind"], "unusable");
    server.store(&egg);
    server.close();
    sandbox.ok("verify");
}

#[test]
fn an_unknown_digest_is_unusable() {
    let sandbox = Sandbox::new();
    let mut server = Server::open(&sandbox, &host());
    assert_eq!(server.materialize(&sandbox, &"0".repeat(64))["kind"], "unusable");
}

#[test]
fn a_foreign_file_in_place_of_an_egg_is_in_the_way_and_left() {
    let sandbox = Sandbox::new();
    sandbox.added("foo", "1.0");
    let target = sandbox.path("out/foo-1.0-py3.11.egg");
    write(&target, b"mine");
    let digest = sandbox.digest("foo");
    let mut server = Server::open(&sandbox, &host());
    let answer = server.materialize(&sandbox, &digest);
    assert_eq!(answer["kind"], "in-the-way");
    assert!(text(&answer["error"]).contains("foo 1.0"));
    assert_eq!(std::fs::read(&target).unwrap(), b"mine");
    server.close();
    assert_eq!(sandbox.json("show foo")["uses"], 0);
}

#[test]
fn an_egg_that_is_not_sound_is_refused_with_a_reason() {
    let sandbox = Sandbox::new();
    let mut server = Server::open(&sandbox, &host());
    let bare = sandbox.path("eggs/bare-1.0.egg");
    write(&bare.join("bare.py"), b"");
    let answer = server.store(&bare);
    assert_eq!(answer["outcome"], "refused");
    assert!(text(&answer["reason"]).contains("metadata"));
    assert_eq!(server.offer(&sandbox.path("eggs/no-1.0.egg"))["outcome"], "refused");
    assert_eq!(server.settle(), json!({"outcomes": []}), "already reported");
    assert_eq!(server.store(&sandbox.egg("foo", "1.0"))["outcome"], "stored");
    server.close();
}

#[test]
fn a_folder_of_eggs_cannot_be_stored_as_an_egg() {
    let sandbox = Sandbox::new();
    sandbox.egg("foo", "1.0");
    sandbox.egg("bar", "1.0");
    let mut server = Server::open(&sandbox, &host());
    assert_eq!(server.store(&sandbox.path("eggs"))["outcome"], "refused");
    server.close();
    assert!(sandbox.listed().is_empty());
}

#[test]
fn two_servers_share_a_cache() {
    let sandbox = Sandbox::new();
    let egg = sandbox.egg("foo", "1.0");
    let (mut one, mut other) = (Server::open(&sandbox, &host()), Server::open(&sandbox, &host()));
    assert_eq!(one.store(&egg)["outcome"], "stored");
    let found = other.find("foo");
    assert_eq!(other.materialize(&sandbox, text(&found[0]["digest"]))["outcome"], "copied");
    sandbox.ok("gc --max-size 0");
    assert!(one.find("foo").is_empty());
    one.close();
    other.close();
}

#[test]
fn a_second_open_switches_to_another_cache() {
    let sandbox = Sandbox::new();
    sandbox.added("foo", "1.0");
    let digest = sandbox.digest("foo");
    let mut server = Server::open(&sandbox, &host());
    server.materialize(&sandbox, &digest);
    let mut second = opening(&sandbox, &host());
    second["cache"] = json!(sandbox.path("second"));
    assert_eq!(server.ask(&second), json!({"read_only": false, "torn": []}));
    assert!(server.find("foo").is_empty());
    server.close();
    assert_eq!(sandbox.json("show foo")["uses"], 1);
}

#[test]
fn a_read_only_cache_is_announced_and_serves() {
    let sandbox = Sandbox::new();
    let egg = sandbox.egg("foo", "1.0");
    let Some(mount) = Mount::new(&sandbox.path("cache"), "4m") else { return };
    sandbox.ok("add eggs");
    mount.make_read_only();
    let (mut server, _) = Server::start(&sandbox);
    assert_eq!(server.ask(&opening(&sandbox, &host())), json!({"read_only": true, "torn": []}));
    let found = server.find("foo");
    assert_eq!(server.materialize(&sandbox, text(&found[0]["digest"]))["outcome"], "copied");
    assert_same_tree(&egg, &sandbox.path("out/foo-1.0-py3.11.egg"));
    assert!(text(&server.store(&egg)["error"]).contains("read-only"));
    server.close();
}

#[test]
fn an_index_set_aside_in_the_meantime_is_not_written() {
    let sandbox = Sandbox::new();
    let eggs = ["foo", "bar", "baz"].map(|name| sandbox.egg(name, "1.0"));
    let mut server = Server::open(&sandbox, &host());
    server.store(&eggs[0]);
    sandbox.shell("for it in '' -wal -shm; do mv cache/index.sqlite$it cache/aside$it; done");
    sandbox.ok("reindex");
    assert_eq!(server.offer(&eggs[1])["outcome"], "queued");
    let settled = server.settle();
    assert_eq!(settled["outcomes"], json!([]));
    let failure = text(&settled["failure"]);
    assert!(failure.contains("rebuilt by another process"), "{settled}");
    // Storing has ended, which is reported immediately from now on.
    assert_eq!(server.offer(&eggs[2]), json!({"error": failure, "kind": "failure"}));
    server.close();
    assert_eq!(sandbox.listed(), ["foo==1.0"]);
}

/// Holds the write lock of the index, so that nothing is stored until it is dropped.
fn hold(sandbox: &Sandbox) -> rusqlite::Connection {
    let index = rusqlite::Connection::open(sandbox.path("cache/index.sqlite")).unwrap();
    index.execute_batch("BEGIN IMMEDIATE").unwrap();
    index
}

/// Holds the write lock, and lets the storing thread wait for it with another egg.
fn hold_with_one_waiting(sandbox: &Sandbox, server: &mut Server) -> rusqlite::Connection {
    let lock = hold(sandbox);
    server.offer(&sandbox.egg("waiting", "1.0"));
    while names_in(&sandbox.path("cache/tmp")).is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    lock
}

fn outcomes(settled: &Value) -> Vec<&str> {
    let outcomes = settled["outcomes"].as_array().unwrap();
    outcomes.iter().map(|outcome| text(&outcome["outcome"])).collect()
}

#[test]
fn only_settle_waits_until_eggs_are_stored() {
    let sandbox = Sandbox::new();
    sandbox.added("foo", "1.0");
    let mut server = Server::open(&sandbox, &host());
    let lock = hold(&sandbox);
    let egg = sandbox.egg("bar", "1.0");
    assert_eq!(server.offer(&egg), json!({"outcome": "queued"}));
    assert!(server.find("bar").is_empty());
    let digest = text(&server.find("foo")[0]["digest"]).to_owned();
    assert_eq!(server.materialize(&sandbox, &digest)["outcome"], "copied");
    drop(lock);
    let settled = server.settle();
    assert_eq!(outcomes(&settled), ["stored"]);
    assert_eq!(settled["outcomes"][0]["egg"]["name"], "bar");
    assert_eq!(server.find("bar").len(), 1);
    assert_eq!(server.settle(), json!({"outcomes": []}), "each is reported once");
    server.close();
}

#[test]
fn an_egg_is_stored_as_it_was_offered_or_not_at_all() {
    let sandbox = Sandbox::new();
    let mut server = Server::open(&sandbox, &host());
    let eggs = ["patched", "removed", "used"].map(|name| sandbox.egg(name, "1.0"));
    sandbox.shell("cp -a eggs/used-1.0-py3.11.egg other/");
    let lock = hold_with_one_waiting(&sandbox, &mut server);
    for egg in &eggs {
        assert_eq!(server.offer(egg)["outcome"], "queued");
    }
    write(&eggs[0].join("patched.py"), b"patched = True\n");
    std::fs::remove_dir_all(&eggs[1]).unwrap();
    write(&eggs[2].join("__pycache__/used.cpython-311.pyc"), b"comes later");
    drop(lock);
    let settled = server.settle();
    assert_eq!(outcomes(&settled), ["stored", "refused", "refused", "stored"]);
    assert!(text(&settled["outcomes"][1]["reason"]).contains("patched.py: it changes"));
    let used = text(&settled["outcomes"][3]["egg"]["digest"]);
    server.materialize(&sandbox, used);
    assert_same_files(&sandbox.path("other"), &sandbox.path("out"), "used-1.0-py3.11.egg");
    server.close();
    sandbox.ok("verify");
    sandbox.assert_tidy();
}

/// Asserts that an egg has the same files in two folders.
fn assert_same_files(one: &std::path::Path, other: &std::path::Path, egg: &str) {
    let files = [one, other].map(|folder| crate::support::files_in(&folder.join(egg)));
    let relative = |files: &[std::path::PathBuf], to: &std::path::Path| -> Vec<_> {
        files.iter().map(|it| it.strip_prefix(to).unwrap().to_owned()).collect()
    };
    assert_eq!(relative(&files[0], one), relative(&files[1], other));
}

#[test]
fn all_offered_eggs_are_stored_when_close_is_answered() {
    let sandbox = Sandbox::new();
    let mut server = Server::open(&sandbox, &host());
    let lock = hold_with_one_waiting(&sandbox, &mut server);
    for number in 0..40 {
        server.offer(&sandbox.egg(&format!("egg{number}"), "1.0"));
    }
    drop(lock);
    server.close();
    assert_eq!(sandbox.listed().len(), 41);
    sandbox.assert_tidy();
}

#[test]
fn offered_eggs_are_stored_even_if_the_client_disappears() {
    let sandbox = Sandbox::new();
    let mut server = Server::open(&sandbox, &host());
    let lock = hold_with_one_waiting(&sandbox, &mut server);
    server.offer(&sandbox.egg("foo", "1.0"));
    drop(server.input.take());
    drop(lock);
    server.end();
    assert_eq!(sandbox.listed(), ["foo==1.0", "waiting==1.0"]);
}

#[test]
fn a_killed_server_leaves_nothing_half_stored() {
    let sandbox = Sandbox::new();
    let mut server = Server::open(&sandbox, &host());
    let lock = hold_with_one_waiting(&sandbox, &mut server);
    server.offer(&sandbox.egg("foo", "1.0"));
    server.child.kill().unwrap();
    drop((server, lock));
    assert_eq!(sandbox.listed(), [""; 0]);
    sandbox.ok("add eggs");
    sandbox.ok("verify");
    sandbox.assert_tidy();
}

#[test]
fn a_root_and_its_prefetch_hints_include_eggs_stored_in_the_run() {
    let sandbox = Sandbox::new();
    sandbox.added("first", "1.0");
    let opening = opening_with(&sandbox, "configuration", std::path::Path::new("some pins"));
    let mut server = Server::opened_by(&sandbox, &opening);
    let lock = hold(&sandbox);
    let out = sandbox.path("out");
    for name in ["foo", "bar"] {
        let egg = make_egg(&out.join(format!("{name}-1.0-py3.11.egg")), name, "1.0", &[]);
        assert_eq!(server.offer(&egg)["outcome"], "queued");
    }
    let digest = text(&server.find("first")[0]["digest"]).to_owned();
    server.materialize(&sandbox, &digest);
    drop(lock);
    let eggs = ["foo-1.0-py3.11.egg", "bar-1.0-py3.11.egg", "first-1.0-py3.11.egg"];
    let registered = server.register(&sandbox, &eggs);
    assert_eq!(registered, json!({"registered": true, "eggs": 3, "cached": 3}));
    assert_eq!(outcomes(&server.settle()), ["stored", "stored"]);
    server.close();
    let recalled = crate::support::files_in(&sandbox.path("cache/recall"));
    let recalled = std::fs::read_to_string(&recalled[0]).unwrap();
    let at = |name: &str| recalled.find(&sandbox.digest(name)).unwrap();
    assert!(at("foo") < at("bar") && at("bar") < at("first"), "{recalled}");
}

#[test]
fn a_full_disk_is_reported_once_and_ends_storing() {
    let sandbox = Sandbox::new();
    let Some(mount) = Mount::new(&sandbox.path("cache"), "4m") else { return };
    let mut server = Server::open(&sandbox, &host());
    assert_eq!(server.store(&sandbox.egg("small", "1.0"))["outcome"], "stored");
    let large = sandbox.egg_with("large", "1.0", &[("noise", &noise(8 << 20))]);
    assert_eq!(server.offer(&large)["outcome"], "queued");
    let settled = server.settle();
    assert!(text(&settled["failure"]).contains("No space left"), "{settled}");
    assert_eq!(server.offer(&sandbox.egg("next", "1.0"))["error"], settled["failure"]);
    let found = server.find("small");
    assert_eq!(server.materialize(&sandbox, text(&found[0]["digest"]))["outcome"], "copied");
    server.close();
    assert_eq!(sandbox.listed(), ["small==1.0"]);
    sandbox.assert_tidy();
    drop(mount);
}

#[test]
fn a_signature_is_kept_for_the_next_session() {
    let sandbox = Sandbox::with_two();
    let state = "1".repeat(64);
    let mut server = Server::open(&sandbox, &host());
    assert_eq!(server.ask(&json!({"op": "sign", "state": state})), json!({}));
    let noted = json!({"op": "sign", "state": state, "signature": "0a"});
    assert_eq!(server.ask(&noted), json!({}));
    let mut server = Server::open(&sandbox, &host());
    assert_eq!(server.ask(&json!({"op": "sign", "state": state})), json!({"signature": "0a"}));
    let other = json!({"op": "sign", "state": "2".repeat(64)});
    assert_eq!(server.ask(&other), json!({}));
    let wrong = json!({"op": "sign", "state": state, "signature": "../x"});
    assert!(server.ask(&wrong)["error"].is_string());
    assert_eq!(names_in(&sandbox.path("cache/signatures")).len(), 1);
}
