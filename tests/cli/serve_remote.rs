//! `serve` with remotes: what buildouts pull from them and push to them.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::damage::flip_last_bit;
use crate::serve::{Server, built, opening_with};
use crate::support::{
    Mount, Sandbox, assert_same_tree, files_in, host, names_in, noise, text, write,
};

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

    /// Makes an egg and pushes it to the remote.
    fn pushed(&self, name: &str) -> PathBuf {
        let egg = self.builder.egg(name, "1.0");
        self.builder.ok(&format!("add {}", egg.display()));
        self.builder.ok(&format!("push {name}==1.0"));
        egg
    }

    /// Pushes a buildout of `foo` and `bar`, which were already in the builder's cache: both eggs
    /// and their set.
    fn pushed_set(&self) {
        for name in ["foo", "bar"] {
            self.builder.added(name, "1.0");
        }
        let mut server = open(&self.builder);
        for name in ["foo", "bar"] {
            server.materialize(&self.builder, &self.builder.digest(name));
        }
        server.register(&self.builder, &["foo-1.0-py3.11.egg", "bar-1.0-py3.11.egg"]);
        server.close_with(&json!({"pushed": 2}));
    }

    /// The files below a folder of the remote.
    fn objects(&self, folder: &str) -> Vec<PathBuf> {
        files_in(&self.builder.path("pool/v1").join(folder))
    }
}

/// Starts a server and opens the cache of a sandbox, for a configuration.
fn open(sandbox: &Sandbox) -> Server {
    Server::opened_by(sandbox, &opening_with(sandbox, "configuration", Path::new("some pins")))
}

fn find(server: &mut Server, name: &str, version: &str) -> Value {
    server.ask(&json!({"op": "find", "name": name, "variant": "", "version": version}))
}

/// The digest of the only egg that is found.
fn found(server: &mut Server, name: &str) -> String {
    let found = find(server, name, "1.0");
    assert_eq!(found["eggs"].as_array().unwrap().len(), 1, "{found}");
    text(&found["eggs"][0]["digest"]).to_owned()
}

fn lease(server: &mut Server, name: &str) -> Value {
    server.ask(&json!({"op": "lease", "name": name, "variant": "", "version": "1.0"}))
}

#[test]
fn an_egg_of_a_remote_is_found_copied_and_cached() {
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
fn a_remote_is_asked_for_missing_versions_unless_offline() {
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
    let (mut server, _) = Server::start(&team.reader);
    assert_eq!(server.ask(&opening)["unasked_remotes"], json!(["team"]));
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
fn a_built_egg_is_found_through_its_set_alone() {
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
fn finding_one_egg_of_a_set_downloads_the_others() {
    let team = Team::new();
    team.pushed_set();

    let mut server = open(&team.reader);
    found(&mut server, "foo");
    let blobs = || files_in(&team.reader.path("cache/blobs")).len();
    let has_come = (0..1000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        blobs() == 2
    });
    assert!(has_come, "{:?}", team.reader.listed());
    server.close_with(&json!({}));
    assert!(!team.reader.path("out").exists(), "nothing was requested");
}

#[test]
fn a_failed_buildout_pushes_only_eggs_that_others_wait_for() {
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
fn a_builder_waits_for_an_egg_that_another_one_builds() {
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
fn the_lease_of_a_failed_builder_passes_to_the_next() {
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
fn a_reader_builds_without_a_lease() {
    let team = Team::new();
    let mut builder = open(&team.builder);
    assert_eq!(lease(&mut builder, "foo"), json!({"lease": "taken"}));
    assert_eq!(lease(&mut open(&team.reader), "foo"), json!({"lease": "none"}));
}

#[test]
fn a_remote_without_a_trusted_key_is_reported() {
    let team = Team::new();
    let key = team.builder.path("key.pub");
    let opening = |offline: bool| {
        let mut opening = opening_with(&team.reader, "configuration", Path::new("some pins"));
        opening["offline"] = json!(offline);
        Server::start(&team.reader).0.ask(&opening)
    };
    assert_eq!(opening(false)["warning"], json!(null));
    team.reader.ok(&format!("trust team {} --remove", key.display()));
    let answer = opening(false);
    let warning = text(&answer["warning"]);
    for part in
        ["remote team: no key is trusted, so none of its eggs are used", "trust team FILE.pub"]
    {
        assert!(warning.contains(part), "{warning}");
    }
    assert_eq!(opening(true)["warning"], json!(null), "offline, it would not be asked");
    let add = format!("remote add team {}", team.builder.path("pool").display());
    team.reader
        .fails(&add, 2)
        .says(&["`eggcache trust team FILE.pub", "`eggcache remote remove team"]);
}

#[test]
fn an_untrusted_entry_is_reported_and_not_used() {
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
    assert_eq!(find(&mut server, "foo", "1.0"), json!({"eggs": []}), "reported once");
}

#[test]
fn why_says_that_a_remote_was_not_used() {
    let team = Team::new();
    team.pushed("foo");
    let reader = &team.reader;
    write(&reader.path("buildout.cfg"), b"[buildout]\n");
    let run = || {
        let mut server = open(reader);
        assert_eq!(find(&mut server, "foo", "1.0")["eggs"], json!([]));
        let mut request = built("foo", "1.0");
        request["source_sha256"] = json!("");
        server.ask(&request);
        server.ask(&json!({"op": "close"}));
        drop(server);
        reader.json("why .")["run"]["remote_problems"].clone()
    };
    team.builder.ok("keygen another");
    let (key, other) = (team.builder.path("key.pub"), team.builder.path("another.pub"));
    reader.ok(&format!("trust team {}", other.display()));
    reader.ok(&format!("trust team {} --remove", key.display()));
    let untrusted = "remote team: foo-1.0-py3.11.egg is refused: it is signed by key";
    let problems = run();
    assert!(text(&problems[0]).starts_with(untrusted), "{problems}");
    for question in ["why", "why foo"] {
        let said = reader.ok(question);
        let said = format!("{}{}", said.stdout, said.stderr);
        assert!(said.contains(&format!("in that run, {untrusted}")), "{said}");
        assert!(said.contains(&format!("foo 1.0 (built, 12.3 s): {untrusted}")), "{said}");
    }
    // A run that has installed nothing keeps what the one before has installed, and why it had to build it.
    let mut offline = opening_with(reader, "configuration", Path::new("some pins"));
    offline["offline"] = json!(true);
    let mut server = Server::opened_by(reader, &offline);
    server.ask(&json!({
        "op": "built", "name": "bar", "version": "", "variant": "", "build_seconds": 0, "missing": "==1.0",
    }));
    server.close();
    let kept = reader.json("why .")["run"].clone();
    let not_asked = "buildout was offline, and asked no remote (team)";
    let all = json!([problems[0], not_asked]);
    assert_eq!((&kept["missing"], &kept["remote_problems"]), (&json!(1), &all));
    let said = reader.ok("why .").stdout;
    assert!(said.contains(&format!("in that run, {not_asked}\n")), "{said}");
    reader.ok(&format!("trust team {} --remove", other.display()));
    let problems = run();
    assert!(text(&problems[0]).contains("no key is trusted"), "{problems}");
    reader.ok(&format!("trust team {}", key.display()));
    let pool = team.builder.path("pool");
    std::fs::rename(&pool, team.builder.path("away")).unwrap();
    let problems = run();
    assert!(text(&problems[0]).starts_with("remote team: "), "{problems}");
    let mut server = open(reader);
    server.ask(&built("bar", "1.0"));
    server.close();
    assert_eq!(reader.json("why .")["run"]["remote_problems"], json!(null), "none was asked");
}

#[test]
fn a_blob_with_a_wrong_digest_is_refused_and_not_offered_again() {
    let team = Team::new();
    team.pushed("foo");
    flip_last_bit(&team.objects("blobs")[0]);
    let mut server = open(&team.reader);
    let digest = found(&mut server, "foo");
    let refused = server.materialize(&team.reader, &digest);
    assert_eq!(refused["kind"], "unusable", "{refused}");
    assert!(text(&refused["error"]).contains("foo-1.0-py3.11.egg is refused"), "{refused}");
    assert_eq!(find(&mut server, "foo", "1.0")["eggs"], json!([]), "not offered again");
    drop(server);
    assert!(team.reader.listed().is_empty());
    team.reader.assert_tidy();
}

#[test]
fn an_unreachable_remote_is_reported_once_and_skipped() {
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
fn a_remote_that_disappears_makes_its_eggs_unavailable() {
    let team = Team::new();
    team.pushed("foo");
    let mut server = open(&team.reader);
    let digest = found(&mut server, "foo");
    std::fs::remove_dir_all(team.builder.path("pool")).unwrap();
    let gone = server.materialize(&team.reader, &digest);
    assert!(matches!(text(&gone["kind"]), "unusable" | "unavailable"), "{gone}");
}

#[test]
fn leases_and_looks_do_nothing_without_remotes() {
    let sandbox = Sandbox::new();
    let mut server = open(&sandbox);
    assert_eq!(lease(&mut server, "foo"), json!({"lease": "none"}));
    let wanted = json!([{"name": "foo", "version": "1.0"}, {"name": "bar"}]);
    assert_eq!(server.ask(&json!({"op": "look", "wanted": wanted})), json!({}));
    server.close_with(&json!({}));
    assert!(names_in(&sandbox.path("cache")).iter().all(|name| name != "remotes.json"));
}

/// Whether no lease is left, or soon none is.
fn leases_are_released(team: &Team) -> bool {
    (0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        team.objects("leases").is_empty()
    })
}

#[test]
fn a_builder_never_waits_for_its_own_lease() {
    let team = Team::new();
    let mut server = open(&team.builder);
    for _ in 0..2 {
        assert_eq!(lease(&mut server, "foo"), json!({"lease": "taken"}));
    }
}

#[test]
fn a_lease_is_released_despite_another_spelling_of_the_version() {
    let team = Team::new();
    let mut server = open(&team.builder);
    let asked = json!({"op": "lease", "name": "Foo", "variant": "", "version": "1.0.0"});
    assert_eq!(server.ask(&asked), json!({"lease": "taken"}));
    server.store(&team.builder.egg("foo", "1.0"));
    assert!(leases_are_released(&team));
    assert_eq!(team.objects("blobs").len(), 1);
}

#[test]
fn a_lease_is_released_when_the_egg_is_refused() {
    let team = Team::new();
    let mut server = open(&team.builder);
    assert_eq!(lease(&mut server, "foo"), json!({"lease": "taken"}));
    let egg = team.builder.egg("foo", "1.0");
    std::os::unix::fs::symlink("/etc/passwd", egg.join("outside")).unwrap();
    let offer = json!({"op": "store", "path": egg, "source_sha256": "", "variant": ""});
    assert_eq!(server.ask(&offer)["outcome"], "refused");
    assert!(leases_are_released(&team));
}

#[test]
fn a_lease_of_an_egg_not_stored_ends_with_the_next_lease() {
    let team = Team::new();
    let mut server = open(&team.builder);
    assert_eq!(lease(&mut server, "foo"), json!({"lease": "taken"}));
    assert_eq!(lease(&mut server, "bar"), json!({"lease": "taken"}));
    assert_eq!(team.objects("leases").len(), 1);
}

/// Changes the list of a project.
fn rewrite(team: &Team, name: &str, change: impl Fn(&str) -> String) {
    let list = team.builder.path(&format!("pool/v1/projects/{name}/cp311"));
    std::fs::write(&list, change(&std::fs::read_to_string(&list).unwrap())).unwrap();
}

#[test]
fn text_from_a_remote_is_one_short_line_of_a_warning() {
    let team = Team::new();
    team.pushed("foo");
    rewrite(&team, "foo", |line| {
        line.replace("foo-1.0-py3.11.egg", &format!("{}\\\\n\\\\u001b[2Jx", "foo".repeat(1000)))
    });
    let answer = find(&mut open(&team.reader), "foo", "1.0");
    let warning = text(&answer["warnings"][0]);
    assert!(warning.contains("is refused: the signature"), "{warning}");
    assert!(!warning.contains(char::is_control) && warning.len() < 500, "{warning:?}");
}

#[test]
fn repeated_problems_of_a_remote_are_counted_at_the_end() {
    let team = Team::new();
    for name in ["foo", "bar", "baz"] {
        team.pushed(name);
    }
    team.builder.ok("keygen another");
    let (key, other) = (team.builder.path("key.pub"), team.builder.path("another.pub"));
    team.reader.ok(&format!("trust team {}", other.display()));
    team.reader.ok(&format!("trust team {} --remove", key.display()));
    let mut server = open(&team.reader);
    assert!(find(&mut server, "foo", "1.0")["warnings"].is_array());
    for name in ["bar", "baz"] {
        assert_eq!(find(&mut server, name, "1.0"), json!({"eggs": []}));
    }
    let closed = server.ask(&json!({"op": "close"}));
    let warnings = closed["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 1, "{closed}");
    let warning = text(&warnings[0]);
    // That of foo was shown at once.
    assert_eq!(warning, "remote team: 2 more of its entries and blobs are refused");
}

#[test]
fn a_remote_is_skipped_after_three_forged_entries() {
    let team = Team::new();
    team.pushed("foo");
    rewrite(&team, "foo", |line| {
        let forged = |n| line.replace("\\\"added_at\\\":", &format!("\\\"added_at\\\":{n}"));
        (1..100).map(forged).chain([line.to_owned()]).collect()
    });
    let mut server = open(&team.reader);
    let answer = find(&mut server, "foo", "1.0");
    assert_eq!(answer["eggs"], json!([]), "{answer}");
    let closed = server.ask(&json!({"op": "close"}));
    assert!(
        text(&closed["warnings"][0]).contains("too many of its entries and blobs are invalid"),
        "{closed}"
    );
}

/// A web server with the content of the remote, which pauses after each piece of a blob.
fn slow_mirror(team: &Team) -> String {
    use std::io::{BufRead, BufReader, Write};
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, pool) = (server.local_addr().unwrap(), team.builder.path("pool"));
    std::thread::spawn(move || {
        for connection in server.incoming() {
            let (mut connection, pool) = (connection.unwrap(), pool.clone());
            std::thread::spawn(move || {
                let mut input = BufReader::new(connection.try_clone().unwrap());
                let mut line = String::new();
                input.read_line(&mut line).unwrap();
                let path = line.split(' ').nth(1).unwrap().to_owned();
                let Ok(bytes) = std::fs::read(pool.join(path.trim_start_matches('/'))) else {
                    let _ = connection.write_all(
                        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                    );
                    return;
                };
                let date = "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT";
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{date}\r\nConnection: close\r\n\r\n",
                    bytes.len()
                );
                connection.write_all(head.as_bytes()).unwrap();
                for piece in bytes.chunks(64 << 10) {
                    if connection.write_all(piece).is_err() {
                        return;
                    }
                    std::thread::sleep(std::time::Duration::from_millis(500));
                }
            });
        }
    });
    format!("http://{address}/")
}

#[test]
fn the_end_of_a_buildout_does_not_wait_for_slow_downloads() {
    let team = Team::new();
    let egg = team.builder.egg_with("foo", "1.0", &[("noise", &noise(16 << 20))]);
    team.builder.ok(&format!("add {}", egg.display()));
    team.builder.ok("push foo==1.0");
    let reader = Sandbox::new();
    let key = team.builder.path("key.pub");
    reader.ok(&format!("remote add team {} --key {}", slow_mirror(&team), key.display()));
    let mut server = open(&reader);
    let digest = found(&mut server, "foo");
    let into = reader.path("out");
    server.ask(&json!({"op": "prefetch", "digests": [digest], "into": into}));
    std::thread::sleep(std::time::Duration::from_secs(1));
    let began = std::time::Instant::now();
    server.close_with(&json!({}));
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    reader.assert_tidy();
}

#[test]
fn a_full_disk_during_downloads_is_reported_once() {
    let team = Team::new();
    let names = ["foo", "bar", "baz"];
    for name in names {
        let egg = team.builder.egg_with(name, "1.0", &[("noise", &noise(8 << 20))]);
        team.builder.ok(&format!("add {}", egg.display()));
        team.builder.ok(&format!("push {name}==1.0"));
    }
    let Some(mount) = Mount::new(&team.reader.path("mount"), "4m") else { return };
    let cache = team.reader.path("cache");
    let moved = team.reader.path("mount/cache");
    team.reader.shell(&format!("mv {} {}", cache.display(), moved.display()));
    std::os::unix::fs::symlink(&moved, &cache).unwrap();
    let mut server = open(&team.reader);
    let digests = names.map(|name| found(&mut server, name));
    for digest in digests {
        assert_eq!(server.materialize(&team.reader, &digest)["kind"], "unavailable");
    }
    let closed = server.ask(&json!({"op": "close"}));
    let warnings = closed["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 1, "{closed}");
    assert!(text(&warnings[0]).contains("No space left"), "{closed}");
    drop(server);
    assert!(team.reader.listed().is_empty());
    drop(mount);
}

#[test]
fn another_build_of_a_cached_egg_is_not_downloaded_with_a_set() {
    let team = Team::new();
    team.pushed_set();
    // If this blob is downloaded, a warning reveals it.
    let digest = team.builder.digest("bar");
    let blobs = team.objects("blobs");
    let bytes = std::fs::read(team.builder.path(&format!("cache/blobs/{}/{digest}", &digest[..2])));
    let bytes = bytes.unwrap();
    flip_last_bit(blobs.iter().find(|it| std::fs::read(it).unwrap() == bytes).unwrap());

    let other = team.reader.other_build("bar", "1.0");
    team.reader.ok(&format!("add {}", other.display()));
    let mut server = open(&team.reader);
    let digest = found(&mut server, "foo");
    assert_eq!(server.materialize(&team.reader, &digest)["outcome"], "copied");
    std::thread::sleep(std::time::Duration::from_millis(500));
    server.close_with(&json!({}));
}

#[test]
fn a_pulled_egg_is_young_even_if_it_was_built_long_ago() {
    let team = Team::new();
    team.pushed("foo");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    team.reader.ok("pull foo==1.0 --python 3.11");
    let egg = &team.reader.json("list")["eggs"][0];
    assert!(egg["used_at"].as_i64() > egg["added_at"].as_i64(), "{egg}");
}

/// Another builder, with its own cache.
fn other_builder(team: &Team) -> Sandbox {
    let other = Sandbox::new();
    for name in ["key", "key.pub"] {
        std::fs::copy(team.builder.path(name), other.path(name)).unwrap();
    }
    let pool = team.builder.path("pool");
    other.ok(&format!("remote add team {} --key key.pub --push", pool.display()));
    other
}

#[test]
fn a_builder_stops_waiting_after_two_failed_builders() {
    let team = Team::new();
    let other = other_builder(&team);
    let mut waiting = open(&other);
    let mut answers = Vec::new();
    for _ in 0..2 {
        let mut failing = open(&team.builder);
        assert_eq!(lease(&mut failing, "foo"), json!({"lease": "taken"}));
        assert_eq!(lease(&mut waiting, "foo")["lease"], "held");
        failing.close_with(&json!({"pushed": 0}));
        answers.push(lease(&mut waiting, "foo"));
    }
    assert_eq!(answers, [json!({"lease": "held", "wait": 0.0}), json!({"lease": "none"})]);
}

#[test]
fn an_egg_of_a_set_that_the_remote_lost_is_pushed_again() {
    let team = Team::new();
    let egg = team.builder.egg("foo", "1.0");
    let mut server = open(&team.builder);
    server.store(&egg);
    server.materialize(&team.builder, &team.builder.digest("foo"));
    server.register(&team.builder, &["foo-1.0-py3.11.egg"]);
    server.close_with(&json!({"pushed": 1}));
    std::fs::remove_file(&team.objects("blobs")[0]).unwrap();

    let other = other_builder(&team);
    let mut server = open(&other);
    let digest = found(&mut server, "foo");
    assert_eq!(server.materialize(&other, &digest)["kind"], "unusable");
    server.store(&egg);
    assert_eq!(other.digest("foo"), digest, "built again, with the same result");
    std::fs::create_dir_all(other.path("out/foo-1.0-py3.11.egg")).unwrap();
    server.register(&other, &["foo-1.0-py3.11.egg"]);
    server.ask(&json!({"op": "close"}));
    assert_eq!(team.objects("blobs").len(), 1);
}

#[test]
fn a_damaged_local_egg_is_pulled_again_with_a_warning() {
    for is_gone in [false, true] {
        let team = Team::new();
        let egg = team.pushed("foo");
        team.reader.ok("pull foo==1.0 --python 3.11");
        let blob = team.reader.blob("foo");
        if is_gone {
            std::fs::remove_file(&blob).unwrap();
        } else {
            flip_last_bit(&blob);
        }
        let mut server = open(&team.reader);
        let digest = found(&mut server, "foo");
        assert_eq!(server.materialize(&team.reader, &digest)["outcome"], "copied");
        assert_same_tree(&egg, &team.reader.path("out/foo-1.0-py3.11.egg"));
        let closed = server.ask(&json!({"op": "close"}));
        let warnings = closed["warnings"].as_array().unwrap();
        assert_eq!(warnings.len(), 1, "{closed}");
        assert!(text(&warnings[0]).contains("replaced with a copy from a remote"), "{closed}");
        drop(server);
        assert_eq!(team.reader.ok("verify").stdout, "");
    }
}

#[test]
fn a_builder_with_an_expired_key_is_warned() {
    let team = Team::new();
    team.builder.ok("trust team key.pub --until 2020-01-01");
    let mut server = open(&team.builder);
    let answer = find(&mut server, "foo", "1.0");
    let warning = text(&answer["warnings"][0]);
    assert!(
        warning.contains("until 2020-01-01 (set EGGCACHE_SIGNING_KEY to another key"),
        "{warning}"
    );
    server.close_with(&json!({}));
}

/// How many eggs a run pushes that uses `foo` and `bar` from its cache.
fn pushed_again(team: &Team) -> Value {
    let mut server = open(&team.builder);
    for name in ["foo", "bar"] {
        server.materialize(&team.builder, &team.builder.digest(name));
    }
    server.register(&team.builder, &["foo-1.0-py3.11.egg", "bar-1.0-py3.11.egg"]);
    let closed = server.ask(&json!({"op": "close"}));
    closed["pushed"].clone()
}

#[test]
fn eggs_that_a_remote_lost_are_pushed_again_after_a_day() {
    let team = Team::new();
    team.pushed_set();
    std::fs::remove_dir_all(team.builder.path("pool/v1")).unwrap();
    assert_eq!(pushed_again(&team), 0, "reported a moment ago");
    let told = |path: &&PathBuf| std::fs::read_to_string(path).unwrap().contains("told_at");
    let records = files_in(&team.builder.path("cache"));
    let [record] = &records
        .iter()
        .filter(|it| it.extension().is_some_and(|it| it == "json"))
        .filter(told)
        .collect::<Vec<_>>()[..]
    else {
        panic!("one record of {records:?}")
    };
    let mut old: Value = serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap();
    old["told_at"] = json!(old["told_at"].as_i64().unwrap() - 24 * 60 * 60);
    std::fs::write(record, old.to_string()).unwrap();
    assert_eq!(pushed_again(&team), 2);
    assert_eq!(team.objects("sets").len(), 1);
}

#[test]
fn a_new_store_with_the_same_name_gets_all_eggs() {
    let team = Team::new();
    team.pushed_set();
    team.builder.ok("remote remove team");
    let other = team.builder.path("other-pool");
    team.builder.ok(&format!("remote add team {} --key key.pub --push", other.display()));
    assert_eq!(pushed_again(&team), 2);
}

#[test]
fn a_truncated_remote_blob_is_refused() {
    let team = Team::new();
    team.pushed("foo");
    let blob = &team.objects("blobs")[0];
    let bytes = std::fs::read(blob).unwrap();
    std::fs::write(blob, &bytes[..bytes.len() - 9]).unwrap();
    let mut server = open(&team.reader);
    let digest = found(&mut server, "foo");
    let refused = server.materialize(&team.reader, &digest);
    assert_eq!(refused["kind"], "unusable", "{refused}");
    assert!(text(&refused["error"]).contains("foo-1.0-py3.11.egg is refused"), "{refused}");
}

#[test]
fn a_builder_replaces_the_damaged_blob_it_found() {
    let team = Team::new();
    let egg = team.pushed("foo");
    flip_last_bit(&team.objects("blobs")[0]);
    let other = other_builder(&team);
    let mut server = open(&other);
    let digest = found(&mut server, "foo");
    assert_eq!(server.materialize(&other, &digest)["kind"], "unusable");
    server.store(&egg);
    std::fs::create_dir_all(other.path("out/foo-1.0-py3.11.egg")).unwrap();
    server.register(&other, &["foo-1.0-py3.11.egg"]);
    server.ask(&json!({"op": "close"}));
    drop(server);
    let mut server = open(&team.reader);
    let digest = found(&mut server, "foo");
    assert_eq!(server.materialize(&team.reader, &digest)["outcome"], "copied");
}
