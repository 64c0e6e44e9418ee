//! A checkout brings its own cache with remotes, all of it owned by the user who has cloned it. The user's
//! credentials and signatures do not go there.

use std::fs;

use serde_json::{Value, json};

use crate::foreign_remotes::{KEY_ID, Store};
use crate::serve::{Server, opening_with};
use crate::support::{EGGCACHE, Sandbox};

/// What a session of a buildout in `folder` answers, and what the store of its cache has got.
fn session(sandbox: &Sandbox, folder: &str, trusted: &str) -> (Value, String, Vec<String>) {
    let store = Store::start();
    let remotes = sandbox.path("co/c/remotes.json");
    if !remotes.exists() {
        sandbox.ok("keygen key");
        let mut add = sandbox.process(EGGCACHE);
        add.args(["--cache", "co/c"]).args(store.remote("x").split(' '));
        assert!(add.args(["--key", "key.pub", "--push"]).output().unwrap().status.success());
    }
    let text = fs::read_to_string(&remotes).unwrap();
    let (before, after) = text.split_once("127.0.0.1:").unwrap();
    let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
    fs::write(&remotes, format!("{before}127.0.0.1:{}{after}", store.port)).unwrap();
    let mut process = sandbox.process(EGGCACHE);
    process.arg("serve").current_dir(sandbox.path(folder));
    process.env("AWS_ACCESS_KEY_ID", KEY_ID).env("AWS_SECRET_ACCESS_KEY", "secret");
    process.env("EGGCACHE_SIGNING_KEY", sandbox.path("key"));
    process.env("EGGCACHE_TRUST_CACHE", trusted);
    let (mut server, _) = Server::start_by(process);
    let opened = server.ask(&opening_with(sandbox, "cache", &sandbox.path("co/c")));
    let find = json!({"op": "find", "name": "foo", "variant": "", "version": "1.0"});
    let answers = [server.ask(&find), server.ask(&json!({"op": "close"}))];
    let answers = answers.map(|it| it.to_string()).concat();
    (opened["remotes"].clone(), answers, store.taken())
}

#[test]
fn the_remotes_of_a_cache_in_a_checkout_get_no_credentials() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.path("co/deploy")).unwrap();
    let check = |folder: &str| {
        let (role, answers, heads) = session(&sandbox, folder, "");
        assert_eq!(role, "reader", "{answers}");
        let says = "remotes.json is in the checkout of the buildout";
        assert_eq!(answers.matches(says).count(), 1, "{answers}");
        assert!(answers.contains("EGGCACHE_TRUST_CACHE"), "{answers}");
        assert!(!heads.is_empty() && !heads.iter().any(|it| it.contains(KEY_ID)), "{heads:?}");
    };
    check("co");
    let cache = sandbox.path("co/c").display().to_string();
    // The user's own cache beside the buildout, and one that the user trusts.
    for (folder, trusted) in [("co/deploy", ""), ("co", &cache)] {
        let (role, answers, heads) = session(&sandbox, folder, trusted);
        assert_eq!(role, "builder", "{answers}");
        assert!(heads.iter().any(|head| head.contains(KEY_ID)), "{heads:?}");
    }
    fs::create_dir(sandbox.path("co/.git")).unwrap();
    check("co/deploy");
}

#[test]
fn adding_a_remote_says_that_the_cache_is_in_a_checkout() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.path("co/.git")).unwrap();
    let add = |cache: &str| {
        let mut add = sandbox.process(EGGCACHE);
        add.args(["--cache", cache, "remote", "add", "x", "s3://eggs"]);
        String::from_utf8(add.output().unwrap().stderr).unwrap()
    };
    let said = add("co/c");
    let checkout = sandbox.path("co").canonicalize().unwrap();
    let expected = format!("inside of the checkout {}", checkout.display());
    assert!(said.contains(&expected) && said.contains("EGGCACHE_TRUST_CACHE"), "{said}");
    assert!(!add("elsewhere").contains("checkout"));
}
