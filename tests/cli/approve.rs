//! `sign --approve`: what a reviewer signs is the build that the reviewer knows.

use crate::pool::Pool;
use crate::signatures_needed::pool_for_strict;
use crate::support::text;

/// The digests of `foo` in the pool and of another build of it in the cache of the reviewer.
fn two_builds(pool: &Pool) -> [String; 2] {
    pool.sandbox.other_build("foo", "1.0");
    pool.of("strict", "add other/foo-1.0-py3.11.egg");
    ["cache", "strict"]
        .map(|cache| text(&pool.of(cache, "--json show foo").json()["digest"]).to_owned())
}

#[test]
fn a_reviewer_with_another_build_approves_none_by_its_name() {
    let pool = pool_for_strict();
    let [theirs, own] = two_builds(&pool);
    let before = pool.content();
    for approve in ["foo", "foo==1.0", "*", &own] {
        let output = pool.run("strict", "second", &format!("sign team --approve {approve}"), 0);
        if approve != own {
            output.says(&["foo-1.0-py3.11.egg: skipped", &theirs[..12], &own[..12]]);
        }
        let entry = pool.object("entries/foo", "");
        assert_eq!(std::fs::read(&entry).unwrap(), before[&entry], "{approve}");
    }
    pool.run("strict", "second", "pull foo==1.0 --python 3.11 --from team", 1);
}

#[test]
fn a_build_is_approved_by_its_digest() {
    let pool = pool_for_strict();
    let [theirs, _] = two_builds(&pool);
    let sign = format!("sign team --approve {}", &theirs[..8]);
    let output = pool.run("strict", "second", &sign, 0);
    output
        .says(&["1 egg signed", &format!("foo-1.0-py3.11.egg: approved build {}", &theirs[..12])]);
    let json = pool.run("strict", "third", &format!("--json {sign}"), 0).json();
    assert_eq!(json["approved"], serde_json::json!([]), "it has all signatures");
    pool.of("reader", "pull foo==1.0 --python 3.11");
}

#[test]
fn each_approved_build_is_named() {
    let pool = pool_for_strict();
    pool.of("strict", "add eggs/foo-1.0-py3.11.egg");
    let json = pool.run("strict", "second", "--json sign team --approve *", 0).json();
    let approved = json["approved"].as_array().unwrap();
    let digest = pool.of("strict", "--json show foo").json()["digest"].clone();
    assert_eq!(approved.len(), 2);
    assert!(approved.iter().any(|it| it["digest"] == digest), "{json}");
}

/// Without a valid signature, nothing is approved, whatever its digest is.
#[test]
fn an_entry_of_strangers_is_not_approved_by_its_digest() {
    let pool = pool_for_strict();
    let [theirs, _] = two_builds(&pool);
    pool.of("strict", "trust team --remove key.pub");
    let sign = format!("sign team --approve {theirs}");
    pool.run("strict", "second", &sign, 0).says(&["0 eggs signed", "which is not trusted"]);
}
