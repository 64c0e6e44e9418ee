//! Addresses where there is no remote, and remotes that nothing can be pushed to: an error or one line says
//! so.

use std::path::Path;

use serde_json::{Value, json};

use crate::serve::{Server, opening_with};
use crate::support::{Sandbox, text};

fn add(sandbox: &Sandbox, more: &str) {
    let pool = sandbox.path("pool");
    sandbox.ok(&format!("remote add team {} --key key.pub {more}", pool.display()));
}

/// The answers to `open` and to a search for `foo`.
fn begin(sandbox: &Sandbox) -> (Server, [Value; 2]) {
    let (mut server, _) = Server::start(sandbox);
    let opened = server.ask(&opening_with(sandbox, "configuration", Path::new("some pins")));
    let wanted = json!({"op": "find", "name": "foo", "variant": "", "version": "1.0"});
    let found = server.ask(&wanted);
    (server, [opened, found])
}

fn warnings(answer: &Value) -> Vec<&str> {
    answer["warnings"].as_array().map(|all| all.iter().map(text).collect()).unwrap_or_default()
}

#[test]
fn a_missing_folder_is_no_remote_and_is_not_made() {
    for push in ["", "--push"] {
        let sandbox = Sandbox::new();
        sandbox.ok("keygen key");
        add(&sandbox, push);
        for line in [
            "remote verify team",
            "remote verify team --repair",
            "remote gc team --max-age 1d",
            "remote withdrawals team",
            "remote withdraw team foo==1.0 --reason bad",
            "sign team",
        ] {
            let output = sandbox.fails(line, 1);
            output.says(&["team: there is no folder", "pool", "hint:"]);
            assert!(!sandbox.path("pool").exists(), "{line}");
        }
    }
}

#[test]
fn a_command_that_reads_a_missing_folder_says_so() {
    let sandbox = Sandbox::new();
    sandbox.ok("keygen key");
    add(&sandbox, "");
    sandbox.fails("pull foo==1.0 --python 3.11", 1).says(&["team: there is no folder", "pool"]);
    let (mut server, [_, found]) = begin(&sandbox);
    let closed = server.ask(&json!({"op": "close"}));
    let all: Vec<&str> = [&found, &closed].into_iter().flat_map(warnings).collect();
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(all[0].contains("there is no folder"), "{all:?}");
    assert!(!sandbox.path("pool").exists());
}

#[test]
fn a_push_makes_the_folder() {
    for push in ["", "--push"] {
        let sandbox = Sandbox::new();
        sandbox.ok("keygen key");
        add(&sandbox, push);
        sandbox.added("foo", "1.0");
        sandbox.ok("push foo==1.0 --to team");
        sandbox.ok("remote verify team").says(&["1 entry", "no problems"]);
    }
}

#[test]
fn an_address_without_a_host_is_refused() {
    let sandbox = Sandbox::new();
    for url in ["https:eggs", "https:/eggs", "https:///eggs", "http:\\\\eggs"] {
        let output = sandbox.fails(&format!("remote add team {url}"), 2);
        output.says(&[url, "names no host", "//HOST/PATH"]);
    }
    for url in ["https://", "http://", "gs:eggs", "az:/eggs", "s3:eggs"] {
        sandbox.fails(&format!("remote add team {url}"), 2).says(&["error: ", "//"]);
    }
    let endpoint = "--endpoint https:eggs";
    sandbox.fails(&format!("remote add team s3://eggs {endpoint}"), 2).says(&["names no host"]);
}

#[test]
fn a_web_server_receives_no_pushed_eggs() {
    let sandbox = Sandbox::new();
    for scheme in ["http", "https"] {
        let line = format!("remote add team {scheme}://eggs.example/pool --push");
        sandbox.fails(&line, 2).says(&["--push does not apply", &format!("{scheme}:")]);
    }
    sandbox.ok("remote list").says(&["No remotes"]);
}

#[test]
fn a_remote_to_push_to_without_a_key_is_one_line() {
    let sandbox = Sandbox::new();
    sandbox.ok("keygen team");
    std::fs::create_dir(sandbox.path("pool")).unwrap();
    let pool = sandbox.path("pool");
    let line = format!("remote add team {} --key team.pub --push", pool.display());
    sandbox.ok(&line).says(&["note: ", "nothing is pushed", "EGGCACHE_SIGNING_KEY"]);

    let (mut server, [opened, found]) = begin(&sandbox);
    assert_eq!(opened["remotes"], "reader");
    let closed = server.ask(&json!({"op": "close"}));
    let all: Vec<&str> = [&found, &closed].into_iter().flat_map(warnings).collect();
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(all[0].contains("remote team: nothing is pushed"), "{all:?}");
    assert!(all[0].contains("set EGGCACHE_SIGNING_KEY"), "{all:?}");

    std::fs::rename(sandbox.path("team"), sandbox.path("key")).unwrap();
    let (mut server, [opened, found]) = begin(&sandbox);
    assert_eq!(opened["remotes"], "builder");
    assert!(warnings(&found).is_empty(), "{found}");
    server.close_with(&json!({"pushed": 0}));
    sandbox.ok("remote remove team");
    let output = sandbox.ok(&line);
    assert!(!output.stderr.contains("note: "), "{}", output.stderr);
}
