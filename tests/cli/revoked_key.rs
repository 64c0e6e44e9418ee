//! A key that is not trusted any more: what it has signed is neither used nor passed on, by programs that
//! were running before, too.

use serde_json::json;

use crate::pool::Pool;
use crate::serve::{Server, opening_with};
use crate::support::text;

fn listed(pool: &Pool, cache: &str) -> Vec<String> {
    let report = pool.of(cache, "--json list").json();
    report["eggs"].as_array().unwrap().iter().map(|egg| text(&egg["name"]).to_owned()).collect()
}

#[test]
fn a_running_session_stores_nothing_by_a_revoked_key() {
    let pool = Pool::with_two();
    let opening = opening_with(&pool.sandbox, "cache", &pool.sandbox.path("reader"));
    let mut server = Server::opened_by(&pool.sandbox, &opening);
    let mut find = |name: &str, version: &str| {
        let query = json!({"op": "find", "name": name, "variant": "", "version": version});
        let found = server.ask(&query);
        text(&found["eggs"][0]["digest"]).to_owned()
    };
    let (_bar, foo) = (find("bar", "2.0"), find("foo", "1.0"));
    pool.of("reader", "trust team --remove key.pub");
    pool.of("reader", "gc --signed-by key.pub");
    let copied = server.materialize(&pool.sandbox, &foo);
    assert_eq!(copied["kind"], "unusable", "{copied}");
    assert!(text(&copied["error"]).contains("which is not trusted"), "{copied}");
    let closed = server.ask(&json!({"op": "close"}));
    drop(server);
    assert_eq!(listed(&pool, "reader"), [""; 0]);
    assert!(!pool.sandbox.path("reader/arrivals.jsonl").exists());
    let warnings = closed["warnings"].to_string();
    assert!(warnings.contains("foo-1.0-py3.11.egg is refused"), "{closed}");
}
