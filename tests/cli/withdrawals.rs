//! Withdrawing a build: what the command writes, and what everything else does with a withdrawn egg.

use std::fs;
use std::path::{Path, PathBuf};

use eggcache::internals::entry::Signed;
use eggcache::internals::keys::Signer;
use eggcache::internals::statement::Statement;
use serde_json::{Value, json};

use crate::pool::{DAY, Pool};
use crate::serve::{Server, opening_with};
use crate::support::{Sandbox, text, touch, write};

const PULL: &str = "pull foo==1.0 --python 3.11";
const WITHDRAW: &str = "remote withdraw team foo==1.0 --reason evil";

pub fn path(pool: &Pool) -> PathBuf {
    pool.sandbox.path("pool/v1/withdrawals")
}

pub fn line(pool: &Pool) -> Signed {
    Signed::parse(fs::read_to_string(path(pool)).unwrap().trim_end()).unwrap()
}

pub fn list(pool: &Pool) -> Statement {
    serde_json::from_str(&line(pool).entry).unwrap()
}

/// A pool whose reader has pulled foo before it was withdrawn, and has seen that.
fn seen_by_reader() -> Pool {
    let pool = Pool::with_two();
    pool.of("reader", PULL);
    pool.ok(WITHDRAW);
    pool.of("reader", "pull bar==2.0 --python 3.11");
    pool
}

fn server(pool: &Pool, cache: &str) -> Server {
    Server::opened_by(&pool.sandbox, &opening_with(&pool.sandbox, "cache", Path::new(cache)))
}

fn find(server: &mut Server) -> Value {
    server.ask(&json!({"op": "find", "name": "foo", "variant": "", "version": "1.0"}))
}

/// A file name, and `--python`, say more than the list has: only the build of this Python is allowed again.
#[test]
fn a_build_for_another_python_stays_withdrawn() {
    let pool = Pool::with_two();
    let egg = pool.sandbox.path("eggs/foo-1.0-py3.11.egg");
    let other = pool.sandbox.path("eggs/foo-1.0-py3.12.egg");
    fs::rename(egg, &other).unwrap();
    write(&other.join("foo.py"), b"other = True\n");
    pool.ok("add eggs/foo-1.0-py3.12.egg");
    pool.ok("push --all");
    let withdrawn = |pool: &Pool| list(pool).withdrawn.len();
    let fails = |line: &str, code: i32, words: &str| {
        pool.run("cache", "key", line, code).says(&[words]);
        assert_eq!(withdrawn(&pool), 1, "{line}");
    };
    pool.ok("remote withdraw team foo-1.0-py3.12.egg --reason evil");
    for undo in ["foo-1.0-py3.11.egg", "foo==1.0 --python 3.11"] {
        fails(&format!("remote withdraw team {undo} --undo"), 3, "has not withdrawn");
    }
    let unknown = "remote withdraw team foo-1.0-py3.13.egg --undo";
    fails(unknown, 2, "evil");
    pool.ok("remote withdraw team foo==1.0 --python 3.12 --undo").says(&["0 in all"]);
    pool.ok("remote withdraw team foo-1.0-py3.12.egg --reason evil");
    pool.ok("remote withdraw team foo-1.0-py3.12.egg --undo").says(&["0 in all"]);
}

#[test]
fn builds_are_withdrawn_listed_and_allowed_again() {
    let pool = Pool::with_two();
    pool.ok(WITHDRAW).says(&["1 build withdrawn, 1 in all", "valid until"]);
    let first = list(&pool);
    assert_eq!(
        (first.withdrawn[0].name.as_str(), first.expires_at - first.signed_at),
        ("foo", 30 * DAY)
    );
    let again = pool.json(WITHDRAW);
    assert_eq!((&again["changed"], &again["number"]), (&json!(0), &json!(first.number + 1)));
    let longer = "remote withdraw team bar==2.0 --reason broken --valid-for 60d";
    assert_eq!(pool.json(longer)["withdrawn"].as_array().unwrap().len(), 2);
    let shown = pool.of("reader", "remote withdrawals team");
    shown.says(&["2 withdrawn builds", "valid until"]);
    assert!(shown.stdout.contains("evil") && shown.stdout.contains("broken"), "{}", shown.stdout);
    pool.run("reader", "key", PULL, 1).says(&["it was withdrawn: evil"]);
    let undo = "remote withdraw team foo-1.0-py3.11.egg --undo";
    pool.ok(undo).says(&["1 build allowed again, 1 in all"]);
    let last = list(&pool);
    assert_eq!((last.remote, last.number), (first.remote, first.number + 3));
    assert_eq!(last.expires_at - last.signed_at, 60 * DAY);
    pool.of("reader", PULL);
    pool.ok("remote verify team").says(&["1 build withdrawn", "no problem"]);
}

#[test]
fn a_wrong_request_changes_nothing() {
    let pool = Pool::with_two();
    pool.ok(WITHDRAW);
    pool.sandbox.other_build("foo", "1.0");
    pool.of("third", "add other/foo-1.0-py3.11.egg");
    let before = pool.content();
    for (line, code, says) in [
        ("remote withdraw team foo==1.0", 2, "--reason"),
        ("remote withdraw team foo==1.0 --undo --reason x", 2, "cannot be used with"),
        ("remote withdraw team nothing==1.0 --reason x", 3, "has an egg nothing==1.0"),
        ("remote withdraw team bar==2.0 --undo", 3, "has not withdrawn bar==2.0"),
        ("remote withdraw nowhere foo==1.0 --reason x", 3, "no remote nowhere"),
    ] {
        pool.run("cache", "key", line, code).says(&[says]);
    }
    pool.run("cache", "", WITHDRAW, 1).says(&["no signing key"]);
    pool.ok("keygen stranger");
    pool.run("cache", "stranger", WITHDRAW, 1).says(&["does not trust the signing key"]);
    pool.ok("trust team stranger.pub --projects foo");
    pool.run("cache", "stranger", WITHDRAW, 1).says(&["does not trust the signing key"]);
    let long = format!("remote withdraw team bar==2.0 --reason {}", "a".repeat(501));
    pool.run("cache", "key", &long, 2).says(&["at most 500 bytes"]);
    assert_eq!(pool.content(), before);
}

#[test]
fn of_several_builds_one_is_named_by_its_digest() {
    let pool = Pool::with_two();
    let url = pool.sandbox.path("pool").display().to_string();
    pool.sandbox.other_build("foo", "1.0");
    pool.of("third", &format!("remote add team {url} --key key.pub"));
    pool.of("third", "add other/foo-1.0-py3.11.egg");
    // A name is that of a build of the remote, and a digest also that of one which only the cache has.
    let digest = pool.sandbox.digest("foo");
    let named = pool.run("third", "key", &format!("--json {WITHDRAW}"), 0).json();
    assert_eq!(named["withdrawn"][0]["egg"], json!(digest));
    pool.of("third", "remote withdraw team foo==1.0 --undo");
    pool.of("third", &format!("remote withdraw team {} --reason evil", &digest[..12]));
    assert_eq!(list(&pool).withdrawn[0].egg.to_string(), digest);
    let all = "--json remote withdraw team foo==1.0 --all-builds --reason evil";
    assert_eq!(pool.of("third", all).json()["withdrawn"].as_array().unwrap().len(), 2);
}

#[test]
fn a_withdrawn_egg_of_the_cache_is_marked_and_not_copied() {
    let pool = seen_by_reader();
    let list = pool.of("reader", "list");
    assert!(list.stdout.contains("1.0 (withdrawn)"), "{}", list.stdout);
    let report = pool.of("reader", "--json list foo").json();
    let digest = text(&report["eggs"][0]["digest"]);
    assert_eq!(report["withdrawn"][digest]["reason"], "evil");
    let shown = pool.of("reader", "show foo").stdout;
    assert!(shown.contains("withdrawn") && shown.contains(": evil"), "{shown}");
    for line in ["materialize --into out foo==1.0", "materialize --into out --preflight foo==1.0"] {
        let refused = pool.run("reader", "key", line, 1);
        refused.says(&["foo-1.0-py3.11.egg was withdrawn from remote team: evil"]);
    }
    assert_eq!(pool.eggs("out"), [""; 0]);
    // Eggs that are not withdrawn are copied all the same.
    pool.run("reader", "key", "materialize --into out --all", 1);
    assert_eq!(pool.eggs("out"), ["bar-2.0-py3.11.egg"]);
    pool.run("reader", "key", "push foo==1.0", 1).says(&["was withdrawn from remote team: evil"]);
    // It is not added again, either.
    let refused = pool.run("reader", "key", "add eggs/foo-1.0-py3.11.egg", 1);
    refused.says(&["was withdrawn from remote team: evil"]);
}

#[test]
fn gc_evicts_withdrawn_eggs_whatever_protects_them() {
    let pool = seen_by_reader();
    pool.of("reader", "pin foo");
    let report = pool.of("reader", "--json gc").json();
    assert_eq!(report["evicted"][0]["reason"], "withdrawn");
    assert_eq!(report["evicted"].as_array().unwrap().len(), 1);
    assert_eq!(pool.of("reader", "list").stdout.matches("foo").count(), 0);
    let why = pool.of("reader", "why foo").stdout;
    assert!(why.contains("the egg was withdrawn by remote team: evil (removed on 20"), "{why}");
    pool.run("cache", "key", "remote gc team", 0).says(&["removed 1 egg"]);
    assert!(
        !pool.sandbox.path("pool/v1/entries/foo").exists()
            || pool.objects().iter().all(|it| !it.contains("entries/foo"))
    );
    pool.ok("remote verify team").says(&["no problem"]);
}

#[test]
fn another_build_takes_the_place_of_a_withdrawn_one() {
    let pool = seen_by_reader();
    pool.sandbox.other_build("foo", "1.0");
    pool.of("reader", "add other/foo-1.0-py3.11.egg").says(&["1 egg"]);
    let digest = pool.of("reader", "--json show foo").json()["digest"].clone();
    assert_ne!(digest, json!(list(&pool).withdrawn[0].egg.to_string()));
    pool.of("reader", "push foo==1.0").says(&["1 egg pushed"]);
    // A cache that has the withdrawn build gets the other one in its place.
    pool.ok("gc");
    pool.ok(PULL);
    assert_eq!(pool.ok("--json show foo").json()["digest"], digest);
    pool.of("reader", "materialize --into out foo==1.0");
    pool.ok("remote verify team").says(&["no problem"]);
}

#[test]
fn a_pull_replaces_a_withdrawn_build_in_the_cache() {
    let pool = seen_by_reader();
    pool.sandbox.other_build("foo", "1.0");
    pool.of(
        "third",
        &format!("remote add team {}/pool --key key.pub", pool.sandbox.path("").display()),
    );
    pool.of("third", "add other/foo-1.0-py3.11.egg");
    pool.of("third", "push foo==1.0 --to team");
    pool.of("reader", PULL);
    pool.of("reader", "materialize --into out foo==1.0");
}

#[test]
fn a_session_offers_no_withdrawn_egg() {
    let pool = seen_by_reader();
    let digest = pool.of("reader", "--json show foo").json()["digest"].clone();
    let mut server = server(&pool, "reader");
    let found = find(&mut server);
    assert_eq!(found["eggs"], json!([]), "{found}");
    assert!(found["warnings"].to_string().contains("it was withdrawn: evil"), "{found}");
    let into = pool.sandbox.path("out");
    server.ask(&json!({"op": "prefetch", "digests": [digest], "into": into}));
    let refused = server.ask(&json!({"op": "materialize", "digest": digest, "into": into}));
    assert_eq!(refused["kind"], "unusable", "{refused}");
    assert!(text(&refused["error"]).contains("was withdrawn from remote team: evil"), "{refused}");
    drop(server);
    assert_eq!(pool.eggs("out"), [""; 0]);
    // Offline, too.
    let mut opening = opening_with(&pool.sandbox, "cache", Path::new("reader"));
    opening["offline"] = json!(true);
    let mut server = Server::opened_by(&pool.sandbox, &opening);
    assert_eq!(find(&mut server), json!({"eggs": []}));
}

#[test]
fn a_session_that_finds_everything_looks_for_withdrawals_once_a_day() {
    let pool = Pool::with_two();
    pool.of("reader", PULL);
    pool.ok(WITHDRAW);
    let is_found = || {
        let mut server = server(&pool, "reader");
        let found = find(&mut server)["eggs"] != json!([]);
        server.close_with(&json!({"pushed": 0}));
        found
    };
    // It has looked a moment ago, for the pull.
    assert!(is_found() && is_found());
    let looked = pool.sandbox.path("reader/withdrawals/team.looked");
    touch(&looked, 1_700_000_000, 0);
    // This session may end before it knows, and remembers it for the next one.
    is_found();
    assert!(!is_found());
}

#[test]
fn check_names_withdrawn_eggs_and_bundle_refuses_them() {
    let pool = Pool::with_two();
    pool.of("reader", PULL);
    pool.of("reader", "materialize --into app/eggs foo==1.0");
    let app = pool.sandbox.path("app");
    write(&app.join("buildout.cfg"), b"[buildout]\neggs-directory = eggs\n");
    write(&app.join(".installed.cfg"), b"[buildout]\nparts =\n");
    pool.of("reader", "check app");
    let egg = app.join("eggs/foo-1.0-py3.11.egg");
    let root = json!({"op": "root", "directory": app, "eggs_directory": app.join("eggs"),
        "eggs": [egg], "whole": true});
    let mut opened = server(&pool, "reader");
    assert_eq!(opened.ask(&root)["registered"], json!(true));
    drop(opened);
    pool.ok(WITHDRAW);
    pool.of("reader", "pull bar==2.0 --python 3.11");
    let says = "foo-1.0-py3.11.egg: withdrawn from remote team: evil";
    pool.run("reader", "key", "check app", 4).says(&[says]);
    pool.run("reader", "key", "bundle app --output app.tar", 4);
    assert!(!pool.sandbox.path("app.tar").exists());
    // A repair does not bring it back.
    fs::remove_file(egg.join("foo.py")).unwrap();
    pool.run("reader", "key", "check --repair app", 4).says(&["not repaired: it was withdrawn"]);
    write(&egg.join("foo.py"), b"x = 1\n");
    // Nor is it forgotten when the cache has evicted it.
    pool.of("reader", "gc");
    pool.run("reader", "key", "check app", 4).says(&[says]);
}

/// Signs the list as if that had happened some days ago.
fn backdate(pool: &Pool, days: i64) -> Statement {
    let mut old = list(pool);
    old.number += 1;
    old.signed_at -= days * DAY;
    old.expires_at -= days * DAY;
    let signer = Signer::read(&pool.sandbox.path("key"), None).unwrap();
    let entry = old.text();
    let signatures = vec![signer.sign(&entry).unwrap()];
    write(&path(pool), (Signed { entry, signatures }.line() + "\n").as_bytes());
    old
}

#[test]
fn a_builder_that_pushes_signs_the_list_again_in_time() {
    let pool = Pool::with_two();
    pool.ok(WITHDRAW);
    let push = |pool: &Pool| pool.ok("push bar==2.0");
    let young = backdate(&pool, 5);
    push(&pool);
    assert_eq!(list(&pool), young);
    let due = backdate(&pool, 15);
    push(&pool);
    let next = list(&pool);
    assert_eq!((next.number, &next.withdrawn), (due.number + 1, &due.withdrawn));
    assert_eq!(next.expires_at - next.signed_at, due.expires_at - due.signed_at);
    assert!(next.signed_at > due.signed_at + 14 * DAY);
    // Never an expired one: it may be old. A person decides.
    let expired = backdate(&pool, 31);
    push(&pool);
    assert_eq!(list(&pool), expired);
    pool.run("cache", "key", "remote verify team", 4).says(&["v1/withdrawals", "has expired on"]);
    pool.ok("remote withdraw team");
    pool.ok("remote verify team").says(&["no problem"]);
}

#[test]
fn sign_adds_the_signature_of_a_new_key_to_the_list() {
    let pool = Pool::with_two();
    pool.ok(WITHDRAW);
    pool.ok("keygen new");
    pool.ok("trust team new.pub");
    let report = pool.run("cache", "new", "--json sign team", 0).json();
    assert_eq!((&report["withdrawals"], &report["left"]), (&json!(true), &json!([])));
    assert_eq!(line(&pool).signatures.len(), 2);
    assert_eq!(pool.run("cache", "new", "--json sign team", 0).json()["withdrawals"], json!(false));
    pool.of("reader", "trust team new.pub");
    pool.of("reader", "trust team --remove key.pub");
    pool.run("reader", "new", PULL, 1).says(&["it was withdrawn: evil"]);
    // A list that is not trusted gets no signature.
    pool.ok("keygen stranger");
    pool.of(
        "fresh",
        &format!("remote add team {}/pool --key stranger.pub", pool.sandbox.path("").display()),
    );
    let report = pool.run("fresh", "stranger", "--json sign team", 0).json();
    assert!(report["left"].to_string().contains("which is not trusted"), "{report}");
    assert_eq!(line(&pool).signatures.len(), 2);
}

#[test]
fn a_remote_that_needs_two_signatures_needs_them_for_the_list() {
    let pool = Pool::with_two();
    let url = pool.sandbox.path("pool").display().to_string();
    pool.ok("keygen second");
    let add = "--key key.pub --key second.pub --signatures-needed 2";
    pool.of("strict", &format!("remote add strict {url} {add}"));
    pool.of("strict", "add eggs");
    let withdraw = "remote withdraw strict foo==1.0 --reason evil";
    pool.of("strict", withdraw).says(&["the list has 1 of 2 signatures by trusted keys"]);
    let first = list(&pool);
    pool.run("strict", "key", "remote withdrawals strict", 4).says(&["it has 1 of 2 signatures"]);
    // The same key adds nothing, and the second one signs exactly this list.
    pool.run("strict", "second", withdraw, 0);
    assert_eq!((list(&pool), line(&pool).signatures.len()), (first, 2));
    pool.run("strict", "key", "remote withdrawals strict", 0).says(&["1 withdrawn build"]);
    pool.run("strict", "key", "materialize --into out foo==1.0", 1).says(&["was withdrawn"]);
}

#[test]
fn a_removed_remote_withdraws_nothing_any_more() {
    let pool = seen_by_reader();
    pool.of("reader", "remote remove team");
    pool.of("reader", "materialize --into out foo==1.0");
}

#[test]
fn withdrawals_of_a_shared_cache_hold_for_all_its_users() {
    let sandbox = Sandbox::new();
    sandbox.ok("init --shared");
    sandbox.ok("keygen key");
    let pool = sandbox.path("pool");
    fs::create_dir(&pool).unwrap();
    sandbox.ok(&format!("remote add team {} --key key.pub --push", pool.display()));
    sandbox.egg("foo", "1.0");
    sandbox.ok("add eggs");
    sandbox.ok(WITHDRAW);
    let record = sandbox.path("cache/withdrawals/team.json");
    let modes = |path: &Path| {
        use std::os::unix::fs::PermissionsExt;
        path.metadata().unwrap().permissions().mode() & 0o7777
    };
    assert_eq!(modes(record.parent().unwrap()) & 0o2070, 0o2070);
    assert_eq!(modes(&record) & 0o040, 0o040);
}
