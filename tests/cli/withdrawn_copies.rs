//! Copies of withdrawn builds: made again, in buildouts, beside builds with the same content.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::pool::Pool;
use crate::serve::{Server, opening_with};
use crate::support::{make_egg, text, touch, write};

const PULL: &str = "pull foo==1.0 --python 3.11";
const LIST: &str = "remote withdrawals team";
const LEARN: &str = "pull bar==2.0 --python 3.11";
const WITHDRAW: &str = "remote withdraw team foo==1.0 --reason evil";
const WITHDRAWN: &str = "foo-1.0-py3.11.egg: withdrawn from remote team: evil";

fn session(pool: &Pool, cache: &str) -> Server {
    Server::opened_by(&pool.sandbox, &opening_with(&pool.sandbox, "cache", Path::new(cache)))
}

/// A pool with two eggs, and a buildout in the folder `app` with a copy of foo from the cache of the reader.
/// No run has registered it.
fn scene() -> (Pool, PathBuf) {
    let pool = Pool::with_two();
    pool.of("reader", PULL);
    pool.of("reader", "materialize --into app/eggs foo==1.0");
    let app = pool.sandbox.path("app");
    write(&app.join("buildout.cfg"), b"[buildout]\neggs-directory = eggs\n");
    write(&app.join(".installed.cfg"), b"[buildout]\nparts =\n");
    (pool, app)
}

#[test]
fn a_withdrawn_egg_that_is_built_again_is_refused_alone() {
    let pool = Pool::empty();
    let foo = pool.sandbox.egg("foo", "1.0");
    let mut server = session(&pool, "cache");
    assert_eq!(server.store(&foo)["outcome"], "stored");
    server.close_with(&json!({"pushed": 0}));
    pool.ok("push --all");
    pool.ok(WITHDRAW);
    pool.ok("gc");
    let eggs = [foo, pool.sandbox.egg("bar", "2.0"), pool.sandbox.egg("baz", "3.0")];
    let mut server = session(&pool, "cache");
    for egg in &eggs[..2] {
        assert_eq!(server.offer(egg)["outcome"], "queued");
    }
    let settled = server.settle();
    assert!(settled["failure"].is_null(), "{settled}");
    let refused = &settled["outcomes"][0];
    assert_eq!(
        (&refused["outcome"], &settled["outcomes"][1]["outcome"]),
        (&json!("refused"), &json!("stored"))
    );
    let reason = text(&refused["reason"]);
    assert!(reason.contains("was withdrawn from remote team: evil"), "{reason}");
    assert!(reason.contains("another version") && !reason.contains("gc"), "{reason}");
    assert_eq!(server.store(&eggs[2])["outcome"], "stored");
    server.close_with(&json!({"pushed": 0}));
    // So do commands.
    fs::remove_dir_all(pool.sandbox.path("cache/blobs")).unwrap();
    pool.ok("reindex");
    let refused = pool.run("cache", "key", "add --replace eggs", 1);
    refused.says(&["2 eggs stored", "1 not stored", "was withdrawn from remote team: evil"]);
    refused.says(&["another version"]);
}

#[test]
fn a_withdrawn_egg_that_is_built_again_stays_reported() {
    let (pool, app) = scene();
    pool.ok(WITHDRAW);
    pool.of("reader", LIST);
    pool.of("reader", "gc").says(&["Removed 1 egg"]);
    let egg = app.join("eggs/foo-1.0-py3.11.egg");
    let root = json!({"op": "root", "directory": app, "eggs_directory": app.join("eggs"),
        "eggs": [egg], "whole": true});
    let mut server = session(&pool, "reader");
    assert_eq!(server.store(&egg)["outcome"], "refused");
    assert_eq!(server.ask(&root)["cached"], json!(0));
    // The refusal has said it in this run.
    server.close_with(&json!({"pushed": 0}));
    let mut server = session(&pool, "reader");
    server.ask(&root);
    let closed = server.ask(&json!({"op": "close"}));
    let warning = text(&closed["warnings"][0]);
    assert!(warning.contains("of this buildout was withdrawn from remote team: evil"), "{closed}");
    let buildout = app.canonicalize().unwrap().display().to_string();
    let listed = pool.of("reader", LIST).stdout;
    assert!(listed.contains(&buildout), "{listed}");
}

/// Makes foo once more in a folder: the same files with other times.
fn built_again(egg: &Path) {
    if egg.exists() {
        fs::remove_dir_all(egg).unwrap();
    }
    make_egg(egg, "foo", "1.0", &[]);
    touch(&egg.join("foo.py"), 1_700_000_000, 0);
}

#[test]
fn the_files_of_a_withdrawn_build_are_not_stored_again_with_other_times() {
    let pool = Pool::empty();
    let app = pool.sandbox.path("app");
    let egg = app.join("eggs/foo-1.0-py3.11.egg");
    make_egg(&egg, "foo", "1.0", &[]);
    let root = json!({"op": "root", "directory": app, "eggs_directory": app.join("eggs"),
        "eggs": [egg], "whole": true});
    let store = json!({"op": "store", "path": egg, "source_sha256": "ab".repeat(32), "variant": "",
        "build_seconds": 1.0});
    let opening = opening_with(&pool.sandbox, "configuration", Path::new("some pins"));
    let session = || Server::opened_by(&pool.sandbox, &opening);
    let mut server = session();
    assert_eq!(server.stored(&store)["outcome"], "stored");
    server.ask(&root);
    server.close_with(&json!({"pushed": 1}));
    pool.ok(WITHDRAW);
    built_again(&egg);
    // Python adds bytecode.
    write(&egg.join("__pycache__/foo.cpython-311.pyc"), b"bytecode");
    let before = pool.content();
    let mut server = session();
    let refused = server.stored(&store);
    assert_eq!(refused["outcome"], "refused", "{refused}");
    let reason = text(&refused["reason"]);
    assert!(reason.contains("same content as a build that was withdrawn from remote team: evil"));
    assert!(reason.contains("repair what builds it, or use another version"), "{reason}");
    server.ask(&root);
    // The refusal has said it in this run.
    server.close_with(&json!({"pushed": 0}));
    assert_eq!(pool.content(), before);
    let mut server = session();
    server.ask(&root);
    let closed = server.ask(&json!({"op": "close"}));
    let warning = text(&closed["warnings"][0]);
    assert!(warning.contains("of this buildout was withdrawn from remote team: evil"), "{closed}");
    let buildout = app.canonicalize().unwrap().display().to_string();
    assert!(pool.ok(LIST).stdout.contains(&buildout));
    // A build with another content is another one.
    write(&egg.join("foo.py"), b"x = 2\n");
    let mut server = session();
    assert_eq!(server.stored(&store)["outcome"], "replaced");
}

#[test]
fn add_refuses_the_files_of_a_withdrawn_build_that_was_evicted() {
    let pool = Pool::with_two();
    pool.ok(WITHDRAW);
    pool.ok("gc").says(&["Removed 1 egg"]);
    built_again(&pool.sandbox.path("app/eggs/foo-1.0-py3.11.egg"));
    let add = "add app/eggs";
    let refused = pool.run("cache", "key", add, 1);
    refused.says(&["same content as a build that was withdrawn", "another version"]);
    // A build with another key is another one.
    pool.ok("add --environment el9 app/eggs").says(&["1 egg stored"]);
    pool.ok("push --all").says(&["1 egg pushed"]);
    // So is a build that is allowed again.
    pool.ok("remote withdraw team foo==1.0 --environment= --undo");
    pool.ok(add).says(&["1 egg stored"]);
}

#[test]
fn the_files_of_a_withdrawn_build_are_not_pushed_under_another_digest() {
    let pool = Pool::with_two();
    pool.ok(WITHDRAW);
    pool.ok("gc").says(&["Removed 1 egg"]);
    pool.ok("remote withdraw team foo==1.0 --undo");
    built_again(&pool.sandbox.path("app/eggs/foo-1.0-py3.11.egg"));
    pool.ok("add app/eggs").says(&["1 egg stored"]);
    pool.ok(WITHDRAW);
    let before = pool.content();
    let refused = pool.run("cache", "key", "push --all", 1);
    let says = "foo-1.0-py3.11.egg has the same content as a build that was withdrawn";
    refused.says(&[says, "from remote team: evil"]);
    assert_eq!(pool.content(), before);
}

#[test]
fn the_files_of_a_withdrawn_build_are_not_pulled_under_another_digest() {
    let (pool, app) = scene();
    pool.ok(WITHDRAW);
    pool.of("reader", LIST);
    pool.of("reader", "gc").says(&["Removed 1 egg"]);
    // A builder that never had the build does not know its content.
    let url = pool.sandbox.path("pool").display().to_string();
    pool.of("builder", &format!("remote add team {url} --key key.pub --push"));
    built_again(&app.join("eggs/foo-1.0-py3.11.egg"));
    pool.of("builder", "add app/eggs").says(&["1 egg stored"]);
    pool.of("builder", "push --all").says(&["1 egg pushed"]);
    let refused = pool.run("reader", "key", PULL, 1);
    refused.says(&["same content as a build that was withdrawn: evil"]);
    assert!(!pool.of("reader", "list").stdout.contains("foo"));
}

#[test]
fn a_withdrawn_copy_is_known_beside_a_build_with_the_same_content() {
    let (pool, _) = scene();
    pool.of("reader", "add --environment el9 eggs/foo-1.0-py3.11.egg").says(&["1 egg stored"]);
    pool.of("reader", "check app");
    pool.ok(WITHDRAW);
    pool.of("reader", LEARN);
    pool.run("reader", "key", "check app", 4).says(&[WITHDRAWN]);
    pool.of("reader", "gc").says(&["Removed 1 egg"]);
    pool.run("reader", "key", "check app", 4).says(&[WITHDRAWN]);
}

#[test]
fn a_withdrawn_copy_is_known_without_its_blob() {
    let (pool, app) = scene();
    pool.ok(WITHDRAW);
    pool.of("reader", LEARN);
    pool.of("reader", "gc").says(&["Removed 1 egg"]);
    let checked = pool.run("reader", "key", "check app", 4);
    checked.says(&[WITHDRAWN, "self-contained, but 1 egg is withdrawn"]);
    assert!(!checked.stderr.contains("changed"), "{}", checked.stderr);
    // Copies with other times and with bytecode are the same build.
    let egg = app.join("eggs/foo-1.0-py3.11.egg");
    fs::remove_dir_all(&egg).unwrap();
    make_egg(&egg, "foo", "1.0", &[("foo.py", b"x = 1\n")]);
    let is_same =
        fs::read(pool.sandbox.path("eggs/foo-1.0-py3.11.egg/foo.py")).unwrap() == b"x = 1\n";
    assert!(is_same, "the copy has the content of the egg");
    pool.run("reader", "key", "check app", 4).says(&[WITHDRAWN]);
    // Another build is not.
    fs::remove_dir_all(&egg).unwrap();
    fs::rename(pool.sandbox.other_build("foo", "1.0"), &egg).unwrap();
    pool.of("reader", "check app");
    // Nor is a build that is allowed again.
    fs::remove_dir_all(&egg).unwrap();
    make_egg(&egg, "foo", "1.0", &[("foo.py", b"x = 1\n")]);
    pool.ok("remote withdraw team foo==1.0 --undo");
    pool.of("reader", LIST);
    pool.of("reader", "check app");
}

#[test]
fn a_damaged_record_of_contents_is_found_and_repaired() {
    let (pool, _) = scene();
    pool.ok(WITHDRAW);
    pool.of("reader", LEARN);
    write(&pool.sandbox.path("reader/withdrawals/contents"), b"{");
    pool.run("reader", "key", "check app", 1).says(&["withdrawals/contents is damaged"]);
    pool.run("reader", "key", "verify", 4).says(&["withdrawals/contents", "verify --repair"]);
    pool.of("reader", "verify --repair").says(&["1 file in quarantine"]);
    // The cache still has the blob, and notes it when it is evicted.
    pool.run("reader", "key", "check app", 4).says(&[WITHDRAWN]);
    pool.of("reader", "gc").says(&["Removed 1 egg"]);
    pool.run("reader", "key", "check app", 4).says(&[WITHDRAWN]);
}

#[test]
fn a_cache_remembers_the_withdrawals_that_it_lists() {
    let (pool, _) = scene();
    pool.ok(WITHDRAW);
    pool.of("reader", "check app");
    pool.of("reader", LIST).says(&["1 withdrawn build"]);
    // Without the remote, too.
    fs::rename(pool.sandbox.path("pool"), pool.sandbox.path("away")).unwrap();
    pool.run("reader", "key", "check app", 4).says(&[WITHDRAWN]);
    pool.run("reader", "key", "materialize --into out foo==1.0", 1).says(&["was withdrawn"]);
    pool.of("reader", "gc").says(&["Removed 1 egg"]);
}

#[test]
fn withdrawals_name_the_buildouts_and_pins_of_a_build() {
    let (pool, app) = scene();
    let egg = app.join("eggs/foo-1.0-py3.11.egg");
    let digest = pool.of("reader", "--json show foo").json()["digest"].clone();
    let mut server = session(&pool, "reader");
    let root = json!({"op": "root", "directory": app, "eggs_directory": app.join("eggs"),
        "eggs": [egg], "whole": true});
    assert_eq!(server.ask(&root)["registered"], json!(true));
    server.close_with(&json!({"pushed": 0}));
    pool.of("reader", "pin foo==1.0");
    pool.ok(WITHDRAW);
    let buildout = app.canonicalize().unwrap().display().to_string();
    for is_evicted in [false, true] {
        if is_evicted {
            pool.of("reader", "gc").says(&["Removed 1 egg"]);
        }
        let listed = pool.of("reader", LIST).stdout;
        assert!(listed.contains(&buildout), "{listed}");
        assert_eq!(listed.contains("pin foo==1.0"), !is_evicted, "{listed}");
        let report = pool.of("reader", &format!("--json {LIST}")).json();
        let users = &report["kept_by"][text(&digest)];
        assert_eq!(users["roots"][0]["directory"], json!(buildout), "{report}");
        let used = pool.of("reader", &format!("used-by {}", &text(&digest)[..12])).stdout;
        assert!(used.contains(&buildout), "{used}");
    }
}

#[test]
fn builds_of_several_environments_are_chosen_by_their_label() {
    let pool = Pool::with_two();
    pool.ok("add --environment el9 eggs/foo-1.0-py3.11.egg");
    pool.ok("push --all");
    let ambiguous = pool.run("cache", "key", WITHDRAW, 2);
    ambiguous.says(&["is ambiguous", "environment el9", "--environment", "--all-builds"]);
    let of = |label: &str| {
        let line = format!("--json show foo==1.0 --environment={label}");
        text(&pool.ok(&line).json()["digest"]).to_owned()
    };
    let (labelled, plain) = (of("el9"), of(""));
    assert_ne!(labelled, plain);
    pool.run("cache", "key", "show foo==1.0 --environment el8", 3);
    let ambiguous = pool.run("cache", "key", "materialize --into out foo==1.0", 2);
    ambiguous.says(&["--environment"]);
    assert!(!ambiguous.stderr.contains("--all-builds"), "{}", ambiguous.stderr);
    pool.ok("materialize --into out foo==1.0 --environment el9");
    pool.of("reader", &format!("{PULL} --environment el9"));
    assert_eq!(pool.of("reader", "--json show foo").json()["digest"], json!(labelled));
    let report = pool.ok("--json remote withdraw team foo==1.0 --environment el9 --reason evil");
    assert_eq!(report.json()["withdrawn"][0]["egg"], json!(labelled));
}

#[test]
fn a_name_withdraws_a_build_of_the_remote_and_not_one_of_the_cache() {
    let pool = Pool::with_two();
    pool.ok("add --environment el9 eggs/foo-1.0-py3.11.egg");
    let digest = text(&pool.ok("--json show foo==1.0 --environment=").json()["digest"]).to_owned();
    let report = pool.json(WITHDRAW);
    assert_eq!(report["withdrawn"].as_array().unwrap().len(), 1);
    assert_eq!(report["withdrawn"][0]["egg"], json!(digest));
}

#[test]
fn verifying_an_archive_names_the_withdrawn_eggs_in_it() {
    let (pool, _) = scene();
    pool.of("reader", "bundle app --unused --output app.tar");
    let verify = "bundle --verify app.tar";
    let knows = |builds| format!("note: withdrawn builds that the cache reader knows: {builds}");
    pool.of("reader", verify).says(&[&knows(0), "no problem"]);
    pool.ok(WITHDRAW);
    pool.of("reader", LEARN);
    let verified = pool.run("reader", "key", verify, 4);
    verified.says(&[
        "problem: foo-1.0-py3.11.egg was withdrawn from remote team: evil",
        &knows(1),
        "1 problem",
    ]);
}

#[test]
fn a_withdrawn_blob_is_removed_from_the_remote_at_once_on_request() {
    let pool = Pool::with_two();
    let blob = pool.blob("foo", "");
    pool.ok(WITHDRAW);
    pool.age("pool", 10);
    pool.ok("remote gc team");
    assert!(blob.exists());
    pool.ok("remote gc team --grace 0s");
    assert!(!blob.exists());
    pool.ok("remote verify team").says(&["1 build withdrawn", "no problem"]);
}
