//! Attacks on the list of withdrawn builds, after the list of The Update Framework: a person who controls a
//! remote, or has one of its keys, tries to bring a withdrawn build back.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use eggcache::internals::entry::Signed;
use eggcache::internals::keys::Signer;
use eggcache::internals::statement::{MAX_NUMBER, Statement};
use serde_json::json;

use crate::pool::{DAY, Pool};
use crate::serve::{Server, opening_with};
use crate::support::write;

const PULL_FOO: &str = "pull foo==1.0 --python 3.11";
const PULL_BAR: &str = "pull bar==1.0 --python 3.11";

/// A pool with the eggs foo, bar, baz and qux. First baz was withdrawn and then foo. `lenient` uses the
/// remote while its list is stale and `strict` does not; both have seen the second list, and have foo.
struct Scene {
    pool: Pool,
    /// The first list.
    first: Vec<u8>,
    /// A list of another remote of the same team.
    of_other_remote: Vec<u8>,
}

impl Scene {
    fn new() -> Self {
        let pool = Pool::empty();
        for name in ["foo", "bar", "baz", "qux"] {
            pool.sandbox.egg(name, "1.0");
        }
        pool.fill();
        for key in ["stranger", "limited"] {
            pool.ok(&format!("keygen {key}"));
        }
        for (cache, how) in [("lenient", "use"), ("strict", "skip")] {
            let url = pool.sandbox.path("pool").display().to_string();
            let options = format!("--key key.pub --key limited.pub --stale {how}");
            pool.of(cache, &format!("remote add team {url} {options}"));
            pool.of(cache, "trust team limited.pub --projects acme.*");
            pool.of(cache, PULL_FOO);
        }
        let withdraw = "remote withdraw team";
        pool.ok(&format!("{withdraw} baz==1.0 --reason broken"));
        let first = fs::read(pool.sandbox.path("pool/v1/withdrawals")).unwrap();
        let mut copy = Command::new("cp");
        let copy = copy.args(["-a", "pool", "first-pool"]).current_dir(pool.sandbox.path(""));
        assert!(copy.status().unwrap().success());
        pool.ok(&format!("{withdraw} foo==1.0 --reason evil"));
        for cache in ["lenient", "strict"] {
            pool.of(cache, "pull qux==1.0 --python 3.11");
        }
        let url = pool.sandbox.path("other").display().to_string();
        pool.of("elsewhere", &format!("remote add team {url} --key key.pub --push"));
        pool.of("elsewhere", "add eggs");
        // What it withdraws counts here, too.
        pool.of("elsewhere", &format!("{withdraw} qux==1.0 --reason broken"));
        pool.of("elsewhere", withdraw);
        let of_other_remote = fs::read(pool.sandbox.path("other/v1/withdrawals")).unwrap();
        let scene = Self { pool, first, of_other_remote };
        scene.shell("mkdir saved && cp -a pool lenient strict saved");
        scene
    }

    fn shell(&self, script: &str) {
        let mut shell = Command::new("sh");
        let status = shell.args(["-ec", script]).current_dir(self.pool.sandbox.path("")).status();
        assert!(status.unwrap().success());
    }

    fn restore(&self) {
        self.shell("rm -rf pool lenient strict && cp -a saved/. .");
    }

    /// The list that the remote has.
    fn current(&self) -> Statement {
        let text = fs::read_to_string(self.pool.sandbox.path("pool/v1/withdrawals")).unwrap();
        serde_json::from_str(&Signed::parse(text.trim_end()).unwrap().entry).unwrap()
    }

    fn put(&self, bytes: &[u8]) {
        write(&self.pool.sandbox.path("pool/v1/withdrawals"), bytes);
    }

    /// Signs a text and puts it in place of the list.
    fn put_signed(&self, key: &str, text: &str) {
        let signatures = vec![signer(&self.pool, key).sign(text).unwrap()];
        self.put((Signed { entry: text.to_owned(), signatures }.line() + "\n").as_bytes());
    }

    /// Signs the successor of the list with this change, and puts it in its place.
    fn put_next(&self, key: &str, change: impl Fn(&mut Statement)) {
        let mut next = self.current();
        next.number += 1;
        next.withdrawn.clear();
        change(&mut next);
        self.put_signed(key, &next.text());
    }
}

fn signer(pool: &Pool, key: &str) -> Signer {
    Signer::read(&pool.sandbox.path(key), None).unwrap()
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

/// A change of the remote, and what eggcache says about its list.
type Attack = (&'static str, fn(&Scene), &'static str);

const ATTACKS: [Attack; 18] = [
    ("rollback to an old list", |it| it.put(&it.first), "is an old one: it has number"),
    (
        "rollback of the whole remote",
        |it| it.shell("rm -rf pool && cp -a first-pool pool"),
        "is an old one: it has number",
    ),
    ("deletion", |it| it.shell("rm pool/v1/withdrawals"), "is gone"),
    (
        "freeze",
        |it| {
            it.put_next("key", |next| {
                next.signed_at -= 40 * DAY;
                next.expires_at -= 40 * DAY;
                next.withdrawn = it.current().withdrawn;
            });
        },
        "has expired on",
    ),
    ("arbitrary list", |it| it.put_next("stranger", |_| {}), "which is not trusted"),
    (
        "no signature",
        |it| it.put(Signed { entry: it.current().text(), signatures: vec![] }.line().as_bytes()),
        "is not signed",
    ),
    (
        "signature of another text",
        |it| {
            let path = it.pool.sandbox.path("pool/v1/withdrawals");
            let text = fs::read_to_string(&path).unwrap();
            write(&path, text.replace("evil", "good").as_bytes());
        },
        "does not match its content",
    ),
    (
        "key of limited projects",
        |it| it.put_next("limited", |_| {}),
        "which is not trusted for this project",
    ),
    ("endless data", |it| it.put(&vec![b'a'; 2 << 20]), "it is too long"),
    ("no list", |it| it.put(b"<html>log in</html>"), "is malformed"),
    ("bytes", |it| it.put(&[0xff; 100]), "is malformed"),
    (
        "an entry in place of a list",
        |it| {
            let entry = fs::read(it.pool.object("projects/foo", "")).unwrap();
            it.put(&entry);
        },
        "is malformed",
    ),
    ("list of another remote", |it| it.put(&it.of_other_remote), "is that of another remote"),
    (
        "list of another remote with a high number",
        |it| it.put_next("key", |next| next.remote = "5e".repeat(16)),
        "is that of another remote",
    ),
    (
        "two lists with one number",
        |it| it.put_next("key", |next| next.number -= 1),
        "of another one that was seen before",
    ),
    (
        "a number that overflows",
        |it| it.put_next("key", |next| next.number = u64::MAX),
        "its number is too large",
    ),
    (
        "a date far in the future",
        |it| {
            it.put_next("key", |next| {
                next.signed_at += 1000 * DAY;
                next.expires_at += 1000 * DAY;
            });
        },
        "is signed in the future",
    ),
    (
        "a list that is valid for ever",
        |it| it.put_next("key", |next| next.expires_at = i64::MAX),
        "its expiry date is not within a year",
    ),
];

#[test]
fn no_attack_on_the_list_brings_a_withdrawn_build_back() {
    let scene = Scene::new();
    let pool = &scene.pool;
    for (attack, change, says) in ATTACKS {
        scene.restore();
        change(&scene);
        // The list was seen before. So the egg is used from nowhere, and the attack is reported.
        let local = pool.run("lenient", "", "materialize --into out foo==1.0", 1);
        local.says(&["foo-1.0-py3.11.egg was withdrawn from remote team: evil"]);
        scene.shell("rm -rf lenient/blobs lenient/index.sqlite*");
        let pulled = pool.run("lenient", "", PULL_FOO, 1);
        pulled.says(&[says, "foo-1.0-py3.11.egg is refused: it was withdrawn: evil"]);
        assert!(!pool.sandbox.path("out/foo-1.0-py3.11.egg").exists());
        // Everything else is used or not, as the remote is configured.
        pool.run("lenient", "", PULL_BAR, 0).says(&["remote team: its list", says]);
        pool.run("strict", "", PULL_BAR, 1).says(&[says]);
        let opening = opening_with(&pool.sandbox, "cache", &pool.sandbox.path("strict"));
        let mut server = Server::opened_by(&pool.sandbox, &opening);
        let find = json!({"op": "find", "name": "bar", "variant": "", "version": "1.0"});
        let found = server.ask(&find);
        assert_eq!(found["eggs"], json!([]), "{attack}");
        assert!(found["warnings"].to_string().contains(says), "{attack}: {found}");
    }
}

#[test]
fn a_huge_list_costs_bounded_memory_and_the_remote() {
    let scene = Scene::new();
    let huge = fs::File::create(scene.pool.sandbox.path("pool/v1/withdrawals")).unwrap();
    huge.set_len(1 << 40).unwrap();
    for cache in ["lenient", "strict"] {
        scene.pool.run(cache, "", PULL_BAR, 1).says(&["is larger than"]);
    }
}

#[test]
fn a_new_list_applies_to_old_lists_and_entries_of_all_remotes() {
    let scene = Scene::new();
    let pool = &scene.pool;
    // A mirror has everything as it was before, and no list of withdrawn builds.
    scene.shell("cp -a pool mirror && rm mirror/v1/withdrawals && rm -rf lenient");
    for name in ["mirror", "pool"] {
        let url = pool.sandbox.path(name).display().to_string();
        pool.of("lenient", &format!("remote add {name} {url} --key key.pub"));
    }
    let refused = pool.run("lenient", "", PULL_FOO, 1);
    refused.says(&["remote mirror: foo-1.0-py3.11.egg is refused: it was withdrawn: evil"]);
}

#[test]
fn a_thief_cannot_block_later_lists_once_the_key_is_not_trusted() {
    let scene = Scene::new();
    let pool = &scene.pool;
    // Fast-forward: no later list has a higher number.
    scene.put_next("key", |next| next.number = MAX_NUMBER);
    pool.of("lenient", PULL_BAR);
    pool.run("cache", "key", "remote withdraw team bar==1.0 --reason broken", 1)
        .says(&["has the largest number that there is"]);
    pool.ok("keygen new");
    for cache in ["cache", "lenient"] {
        pool.of(cache, "trust team new.pub");
        pool.of(cache, "trust team --remove key.pub");
    }
    // The list of the thief is not trusted, and the number in it is forgotten.
    let stale = pool.run("lenient", "", "pull gone==1.0 --python 3.11", 1);
    stale.says(&["its list of withdrawn eggs is not accepted", "which is not trusted"]);
    let bar = pool.sandbox.path("eggs/bar-1.0-py3.11.egg");
    assert!(bar.exists());
    pool.run("cache", "new", "remote withdraw team foo==1.0 --reason evil", 0);
    pool.run("cache", "new", "remote withdrawals team", 0);
    let shown = pool.of("lenient", "remote withdrawals team").stdout;
    assert!(shown.contains("evil"), "{shown}");
    // Nobody has signed bar again, and the list is read all the same.
    pool.run("lenient", "", PULL_BAR, 1);
    let number = scene.current().number;
    assert!(i64::try_from(number).unwrap() >= now() - DAY, "above all that were counted up");
    pool.run("lenient", "", "materialize --into out foo==1.0", 1).says(&["withdrawn"]);
}

#[test]
fn a_list_is_no_entry() {
    let scene = Scene::new();
    let pool = &scene.pool;
    let list = fs::read(pool.sandbox.path("pool/v1/withdrawals")).unwrap();
    write(&pool.object("projects/bar", ""), &list);
    pool.run("lenient", "", PULL_BAR, 3);
}

#[test]
fn a_remote_that_never_had_a_list_is_used_without_a_warning() {
    let pool = Pool::with_two();
    let url = pool.sandbox.path("pool").display().to_string();
    pool.of("strict", &format!("remote add team {url} --key key.pub --stale skip"));
    let output = pool.of("strict", "pull foo==1.0 --python 3.11");
    assert!(!output.stderr.contains("withdrawn"), "{}", output.stderr);
    pool.ok("remote verify team").says(&["no problem"]);
    assert!(!pool.sandbox.path("strict/withdrawals/team.json").exists());
}

#[test]
fn a_record_that_cannot_be_read_is_reported() {
    let scene = Scene::new();
    let record = scene.pool.sandbox.path("lenient/withdrawals/team.json");
    write(&record, b"{}");
    let materialize = "materialize --into out foo==1.0";
    scene.pool.run("lenient", "", materialize, 1).says(&["withdrawals/team.json"]);
    let opening = opening_with(&scene.pool.sandbox, "cache", Path::new("lenient"));
    let mut server = Server::start(&scene.pool.sandbox).0;
    let opened = server.ask(&opening);
    assert!(opened["warning"].to_string().contains("withdrawals/team.json"), "{opened}");
}
