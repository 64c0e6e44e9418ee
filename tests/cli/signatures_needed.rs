//! Remotes that need several signatures, and keys whose signatures count for some projects only.

use std::fs;
use std::path::Path;

use eggcache::internals::entry::{RemoteEntry, Signed};
use eggcache::internals::keys::Signer;
use eggcache::internals::object_names;
use serde_json::{Value, json};

use crate::pool::Pool;
use crate::serve::{Server, opening_with};
use crate::support::write;

/// A pool of two eggs, signed by `key`. The cache `strict` reads it and needs two of the keys `key`,
/// `second` and `third`.
pub fn pool_for_strict() -> Pool {
    let pool = Pool::with_two();
    for key in ["second", "third"] {
        pool.ok(&format!("keygen {key}"));
        pool.ok(&format!("trust team {key}.pub"));
    }
    let url = pool.sandbox.path("pool").display().to_string();
    let keys = "--key key.pub --key second.pub --key third.pub";
    pool.of("strict", &format!("remote add team {url} {keys} --signatures-needed 2 --push"));
    pool
}

fn signer(pool: &Pool, key: &str) -> Signer {
    Signer::read(&pool.sandbox.path(key), None).unwrap()
}

fn line(path: &Path) -> Signed {
    Signed::parse(fs::read_to_string(path).unwrap().trim_end()).unwrap()
}

/// Adds signatures of these keys to the line of `foo` in the list that readers use.
fn add_signatures(pool: &Pool, keys: &[&str]) {
    let path = pool.object("projects/foo", "");
    let mut signed = line(&path);
    for key in keys {
        signed.signatures.push(signer(pool, key).sign(&signed.entry).unwrap());
    }
    write(&path, format!("{}\n", signed.line()).as_bytes());
}

#[test]
fn an_egg_is_used_only_with_enough_signatures_by_distinct_keys() {
    let pool = pool_for_strict();
    let pull = "pull foo==1.0 --python 3.11";
    let refused = |pool: &Pool| {
        let output = pool.run("strict", "key", pull, 1);
        output.says(&["foo-1.0-py3.11.egg is refused: it has 1 of 2 signatures by trusted keys"]);
    };
    refused(&pool);
    // The same key again.
    add_signatures(&pool, &["key", "key"]);
    refused(&pool);
    // A key that is not trusted.
    pool.ok("keygen stranger");
    add_signatures(&pool, &["stranger"]);
    refused(&pool);
    pool.of("strict", "trust team third.pub --until 2020-01-01");
    add_signatures(&pool, &["third"]);
    refused(&pool);
    let strict = pool.run("strict", "", "materialize --into out foo==1.0 --python 3.11", 3);
    strict.says(&["it has 1 of 2 signatures"]);
    add_signatures(&pool, &["second"]);
    pool.of("strict", pull);
    // One signature is enough for the others.
    pool.of("reader", pull);
}

#[test]
fn a_buildout_builds_what_lacks_signatures() {
    let pool = pool_for_strict();
    let opening = opening_with(&pool.sandbox, "cache", &pool.sandbox.path("strict"));
    let find = json!({"op": "find", "name": "foo", "variant": "", "version": "1.0"});
    let found = Server::opened_by(&pool.sandbox, &opening).ask(&find);
    assert_eq!(found["eggs"], json!([]));
    let warning = found["warnings"][0].as_str().unwrap();
    assert!(warning.contains("it has 1 of 2 signatures"), "{warning}");
    add_signatures(&pool, &["second"]);
    let found = Server::opened_by(&pool.sandbox, &opening).ask(&find);
    assert_eq!(found["eggs"].as_array().unwrap().len(), 1, "{found}");
}

#[test]
fn a_reviewer_adds_the_second_signature_to_approved_eggs_only() {
    let pool = pool_for_strict();
    let before = pool.content();
    let left = pool.run("strict", "second", "sign team", 0);
    left.says(&["foo-1.0-py3.11.egg: skipped: it has 1 of 2 signatures", "0 eggs signed"]);
    assert_eq!(pool.content(), before, "nothing becomes trusted that was not");
    let problems = pool.run("strict", "key", "remote verify team", 4);
    problems.says(&["foo-1.0-py3.11.egg", "it has 1 of 2 signatures by trusted keys"]);
    pool.run("strict", "second", "sign team --approve foo==1.0", 0).says(&["1 egg signed"]);
    pool.of("strict", "pull foo==1.0 --python 3.11");
    pool.run("strict", "key", "pull bar==2.0 --python 3.11", 1);
    // The builder cannot approve its own eggs.
    pool.run("strict", "key", "sign team --approve *", 0).says(&["0 eggs signed"]);
    pool.run("strict", "key", "pull bar==2.0 --python 3.11", 1);
}

#[test]
fn entries_that_wait_for_signatures_stay_in_a_gc_and_a_push() {
    let pool = pool_for_strict();
    let gc = pool.run("strict", "key", "remote gc team --untrusted", 0);
    gc.says(&["foo-1.0-py3.11.egg: it has 1 of 2 signatures by trusted keys; kept", "0 eggs"]);
    // A second builder does not replace the first build, and its push does not fail.
    pool.sandbox.other_build("foo", "1.0");
    pool.of("strict", "add other/foo-1.0-py3.11.egg");
    let before = pool.content();
    pool.run("strict", "second", "push foo==1.0", 0);
    assert_eq!(pool.content(), before);
    // Without the key that has signed them, they are untrusted.
    pool.of("strict", "trust team --remove key.pub");
    pool.run("strict", "key", "remote gc team --untrusted", 0).says(&["removed 2 eggs"]);
}

#[test]
fn a_key_that_is_limited_to_projects_counts_for_no_others() {
    let pool = pool_for_strict();
    let pull = "pull foo==1.0 --python 3.11";
    add_signatures(&pool, &["second"]);
    for (projects, code) in
        [("acme.*", 1), ("acme.*,b?r", 1), ("FOO", 0), ("acme.* --projects fo*", 0)]
    {
        pool.of("strict", &format!("trust team second.pub --projects {projects}"));
        pool.run("strict", "key", pull, code);
    }
    pool.of("reader", "trust team key.pub --projects acme.*,bar");
    let refused = pool.run("reader", "key", pull, 1);
    refused.says(&["which is not trusted for this project"]);
    pool.of("reader", "pull bar==2.0 --python 3.11");
    // Nor can it push, sign, or keep others from pushing.
    pool.of("reader", "add eggs");
    pool.run("reader", "key", "push foo==1.0", 1).says(&["does not trust the signing key"]);
    let gc = pool.run("reader", "key", "remote gc team --untrusted", 0);
    gc.says(&["not trusted for this project; removed"]);
}

#[test]
fn an_entry_whose_file_name_is_of_another_project_is_refused() {
    let pool = Pool::with_two();
    // The holder of a key for foo signs an egg that would be copied as one of bar.
    let path = pool.object("projects/foo", "");
    let entry = line(&path).entry;
    for file_name in ["bar-1.0-py3.11.egg", "foo-2.0-py3.11.egg", "foo-1.0"] {
        let mut forged: Value = serde_json::from_str(&entry).unwrap();
        forged["file_name"] = json!(file_name);
        let forged: RemoteEntry = serde_json::from_value(forged).unwrap();
        let signed = signer(&pool, "key").signed(&forged).unwrap();
        let text = format!("{}\n", signed.line());
        write(&path, text.as_bytes());
        let refused = pool.run("reader", "key", "pull foo==1.0 --python 3.11", 1);
        refused.says(&["is refused: the entry is malformed (its file name is"]);
        let of_entry = pool.sandbox.path("pool").join(object_names::entry(&forged.key));
        write(&of_entry, text.as_bytes());
        let (_, what) = &pool.problems("")[0];
        assert!(what.contains("its file name is"), "{what}");
    }
}

#[test]
fn both_limits_are_listed_and_old_configurations_stay_readable() {
    let pool = pool_for_strict();
    pool.of("strict", "trust team third.pub --projects acme.* --note rex");
    let text = pool.of("strict", "remote list").stdout;
    assert!(text.contains("2 signatures needed") && text.contains(" for acme-* (rex)"), "{text}");
    let report = pool.of("strict", "--json remote list").json();
    let remote = &report["remotes"][0];
    assert_eq!(remote["signatures_needed"], json!(2));
    assert_eq!(remote["trusted"][2]["projects"], json!(["acme-*"]));
    // Without these options, the file is as an older eggcache writes and reads it.
    let file = fs::read_to_string(pool.sandbox.path("reader/remotes.json")).unwrap();
    assert!(!file.contains("signatures_needed") && !file.contains("projects"), "{file}");
    let url = pool.sandbox.path("pool").display().to_string();
    let add = |options: &str| format!("remote add other {url} {options}");
    pool.of("strict", &add("--key key.pub --signatures-needed 2"))
        .says(&["other needs 2 signatures and trusts 1 key"]);
    for wrong in ["--signatures-needed 0", "--signatures-needed 17", "--signatures-needed two"] {
        pool.run("wrong", "key", &add(wrong), 2);
    }
    for wrong in ["", "a/b", "acme[.]x"] {
        pool.run("strict", "key", &format!("trust team key.pub --projects={wrong}"), 2);
    }
}
