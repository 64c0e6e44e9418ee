//! What a buildout and a check say about withdrawn eggs that are in use already.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};

use eggcache::internals::entry::Signed;
use eggcache::internals::keys::Signer;
use eggcache::internals::statement::Statement;
use serde_json::{Value, json};

use crate::pool::{DAY, Pool};
use crate::serve::{Server, opening_with};
use crate::support::{touch, write};

const PULL_FOO: &str = "pull foo==1.0 --python 3.11";
const LEARN: &str = "pull bar==2.0 --python 3.11";
const WITHDRAW: &str = "remote withdraw team foo==1.0 --reason evil";

/// A pool whose reader has foo, and a buildout in the folder `app`.
fn scene() -> (Pool, PathBuf) {
    let pool = Pool::with_two();
    pool.of("reader", PULL_FOO);
    let app = pool.sandbox.path("app");
    write(&app.join("buildout.cfg"), b"[buildout]\neggs-directory = eggs\n");
    write(&app.join(".installed.cfg"), b"[buildout]\nparts =\n");
    fs::create_dir_all(app.join("eggs")).unwrap();
    (pool, app)
}

fn session(pool: &Pool, cache: &str) -> Server {
    Server::opened_by(&pool.sandbox, &opening_with(&pool.sandbox, "cache", Path::new(cache)))
}

/// A run that copies foo, if the buildout does not have it, and registers it.
fn run(server: &mut Server, pool: &Pool, app: &Path, copies: bool) -> Value {
    let into = app.join("eggs");
    if copies {
        let digest = pool.of("reader", "--json show foo").json()["digest"].clone();
        let answer = server.ask(&json!({"op": "materialize", "digest": digest, "into": into}));
        assert!(answer["path"].is_string(), "{answer}");
    }
    let egg = into.join("foo-1.0-py3.11.egg");
    server.ask(&json!({"op": "root", "directory": app, "eggs_directory": into,
        "eggs": [egg], "whole": true}))
}

fn close(mut server: Server) -> Vec<String> {
    let closed = server.ask(&json!({"op": "close"}));
    assert!(closed["error"].is_null(), "{closed}");
    // Without one, there is no such field.
    let warnings = closed["warnings"].as_array().cloned().unwrap_or_default();
    warnings.iter().map(|it| it.as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_run_names_the_withdrawn_eggs_that_it_has_copied() {
    let (pool, app) = scene();
    let mut server = session(&pool, "reader");
    run(&mut server, &pool, &app, true);
    pool.ok(WITHDRAW);
    pool.of("reader", LEARN);
    let warnings = close(server);
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    for part in ["foo-1.0-py3.11.egg", "withdrawn from remote team: evil", "eggcache check"] {
        assert!(warning.contains(part), "{warning}");
    }
    // So does every later run, until the egg is replaced.
    let mut server = session(&pool, "reader");
    run(&mut server, &pool, &app, false);
    assert_eq!(close(server), warnings);
}

/// A web server with the objects of a pool, which answers for its list of withdrawn builds only when it is
/// released.
fn slow_server(pool: PathBuf) -> (String, Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (release, released) = channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let name = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
            if name == "v1/withdrawals" && released.recv().is_err() {
                return;
            }
            let answer = fs::read(pool.join(name)).unwrap_or_default();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", answer.len());
            let _ = stream.write_all(&[head.as_bytes(), &answer].concat());
        }
    });
    (format!("http://{address}/"), release)
}

#[test]
fn a_list_that_arrives_late_is_compared_with_what_the_run_has_copied() {
    let (pool, app) = scene();
    pool.ok(WITHDRAW);
    let (url, release) = slow_server(pool.sandbox.path("pool"));
    let configuration = pool.sandbox.path("reader/remotes.json");
    let mut remotes: Value = serde_json::from_slice(&fs::read(&configuration).unwrap()).unwrap();
    remotes[0]["url"] = json!(url);
    remotes[0]["push"] = json!(false);
    write(&configuration, remotes.to_string().as_bytes());
    touch(&pool.sandbox.path("reader/withdrawals/team.looked"), 1_700_000_000, 0);
    let mut server = session(&pool, "reader");
    run(&mut server, &pool, &app, true);
    release.send(()).unwrap();
    let warnings = close(server);
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(warning.contains("was withdrawn from remote team: evil"), "{warning}");
}

#[test]
fn an_unreadable_list_is_reported_where_a_current_one_is_needed() {
    let (pool, app) = scene();
    let url = pool.sandbox.path("pool").display().to_string();
    pool.of("strict", &format!("remote add team {url} --key key.pub --stale skip"));
    pool.of("strict", PULL_FOO);
    pool.ok("remote withdraw team bar==2.0 --reason broken");
    // A list that has expired since the reader has seen it.
    let path = pool.sandbox.path("pool/v1/withdrawals");
    let line = Signed::parse(fs::read_to_string(&path).unwrap().trim_end()).unwrap();
    let mut old: Statement = serde_json::from_str(&line.entry).unwrap();
    old.signed_at -= 40 * DAY;
    old.expires_at -= 40 * DAY;
    let entry = old.text();
    let signer = Signer::read(&pool.sandbox.path("key"), None).unwrap();
    let signatures = vec![signer.sign(&entry).unwrap()];
    write(&path, (Signed { entry, signatures }.line() + "\n").as_bytes());
    pool.run("reader", "key", "pull gone==1.0 --python 3.11", 1).says(&["has expired on"]);
    // Larger than a list can be: it is not read.
    fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    for cache in ["strict", "reader"] {
        touch(&pool.sandbox.path(&format!("{cache}/withdrawals/team.looked")), 1_700_000_000, 0);
        let mut server = session(&pool, cache);
        run(&mut server, &pool, &app, true);
        let warnings = close(server);
        let [warning] = &warnings[..] else { panic!("{cache}: {warnings:?}") };
        assert!(warning.contains("its list of withdrawn eggs cannot be read"), "{warning}");
        fs::remove_dir_all(app.join("eggs/foo-1.0-py3.11.egg")).unwrap();
    }
}

#[test]
fn a_withdrawn_egg_stays_known_after_gc_and_another_run() {
    let (pool, app) = scene();
    let mut server = session(&pool, "reader");
    run(&mut server, &pool, &app, true);
    close(server);
    pool.ok(WITHDRAW);
    pool.of("reader", LEARN);
    pool.of("reader", "gc");
    for python_has_compiled in [false, true] {
        if python_has_compiled {
            let cache = app.join("eggs/foo-1.0-py3.11.egg/__pycache__");
            write(&cache.join("foo.cpython-311.pyc"), b"");
            fs::remove_file(cache.join("foo.cpython-311.pyc")).unwrap();
        }
        let mut server = session(&pool, "reader");
        let registered = run(&mut server, &pool, &app, false);
        assert_eq!(registered["cached"], json!(0), "{registered}");
        assert!(close(server)[0].contains("withdrawn from remote team: evil"));
        let says = "foo-1.0-py3.11.egg: withdrawn from remote team: evil";
        pool.run("reader", "key", "check app", 4).says(&[says]);
        pool.run("reader", "key", "bundle app --unused --output app.tar", 4);
        assert!(!pool.sandbox.path("app.tar").exists());
    }
}

#[test]
fn an_old_copy_of_a_build_that_was_replaced_in_the_cache_is_withdrawn() {
    let (pool, app) = scene();
    let mut server = session(&pool, "reader");
    run(&mut server, &pool, &app, true);
    close(server);
    pool.ok(WITHDRAW);
    pool.of("reader", LEARN);
    pool.sandbox.other_build("foo", "1.0");
    pool.of("reader", "add other/foo-1.0-py3.11.egg").says(&["1 egg"]);
    let says = "withdrawn from remote team: evil";
    pool.run("reader", "key", "check app", 4).says(&[says]);
    let mut server = session(&pool, "reader");
    run(&mut server, &pool, &app, false);
    close(server);
    pool.run("reader", "key", "check app", 4).says(&[says]);
    // The new build is none.
    fs::remove_dir_all(app.join("eggs/foo-1.0-py3.11.egg")).unwrap();
    let mut server = session(&pool, "reader");
    run(&mut server, &pool, &app, true);
    assert_eq!(close(server), [""; 0]);
    let checked = pool.of("reader", "check app").stdout;
    assert!(!checked.contains("withdrawn"), "{checked}");
}

#[test]
fn a_run_with_a_damaged_record_reads_the_list_all_the_same() {
    let (pool, _) = scene();
    pool.ok(WITHDRAW);
    let record = pool.sandbox.path("reader/withdrawals/team.json");
    write(&record, b"{}");
    let mut server = session(&pool, "reader");
    let find = |name: &str| json!({"op": "find", "name": name, "variant": ""});
    assert_ne!(server.ask(&find("bar"))["eggs"], json!([]));
    assert_eq!(server.ask(&find("foo"))["eggs"], json!([]));
    drop(server);
    assert_eq!(fs::read(&record).unwrap(), b"{}", "only a person removes it");
}
