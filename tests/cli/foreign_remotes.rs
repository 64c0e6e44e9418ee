//! A member of the group of a shared cache chooses its remotes. The others' credentials are not sent there.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Command as Process;
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::serve::{Server, opening};
use crate::support::{Sandbox, chmod, host, names_in};
use crate::users::{ANNE, BOB, GROUP, as_user, finish, give, mode, run, with_shared_cache};

pub const KEY_ID: &str = "AKIAOFANNE";

/// A store that has nothing, and notes the head of each request.
pub struct Store {
    pub port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Store {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&heads);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let head: Vec<String> =
                    lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
                noted.lock().unwrap().push(head.join("\n"));
                let answer =
                    b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                let _ = stream.write_all(answer);
            }
        });
        Self { port, heads }
    }

    pub fn remote(&self, name: &str) -> String {
        format!("remote add {name} s3://eggs/pool --endpoint http://127.0.0.1:{}", self.port)
    }

    pub fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.heads.lock().unwrap())
    }
}

/// A command of a user with credentials in the environment.
fn with_credentials(sandbox: &Sandbox, user: u32, line: &str) -> Process {
    let mut process = as_user(sandbox, user, "022", line);
    process.env("AWS_ACCESS_KEY_ID", KEY_ID).env("AWS_SECRET_ACCESS_KEY", "of-anne");
    process
}

const PULL: &str = "pull foo==1.0 --python 3.11";

#[test]
fn credentials_are_sent_only_to_remotes_of_ones_own_choice() {
    let Some(sandbox) = with_shared_cache() else { return };
    let store = Store::start();
    run(&sandbox, BOB, "keygen bob/key", 0);
    let add = format!("{} --key bob/key.pub --push", store.remote("team"));
    run(&sandbox, BOB, &add, 0);
    let file = sandbox.path("cache/remotes.json");
    let says = format!(
        "{} belongs to another user (owned by user 65002 and group 65000, mode 0640): no \
         credentials are sent to its remote team",
        file.display()
    );
    let output = finish(with_credentials(&sandbox, ANNE, PULL), 3);
    output.says(&["warning: ", &says]);
    assert_eq!(output.stderr.matches("belongs to another user").count(), 1, "{}", output.stderr);
    let heads = store.taken();
    assert!(!heads.is_empty());
    for head in &heads {
        let head = head.to_lowercase();
        assert!(!head.contains("authorization") && !head.contains("x-amz"), "{head}");
        assert!(!head.contains(&KEY_ID.to_lowercase()), "{head}");
    }
    // The user who chose it, and another one who trusts the cache.
    for (user, line) in [(BOB, PULL.to_owned()), (ANNE, format!("--trust-cache {PULL}"))] {
        let output = finish(with_credentials(&sandbox, user, &line), 3);
        assert!(!output.stderr.contains("credentials"), "{}", output.stderr);
        let heads = store.taken();
        assert!(heads.iter().any(|head| head.contains(KEY_ID)), "{heads:?}");
    }
    // Root is trusted, unless others can write the file.
    give(&file, 0, GROUP);
    finish(with_credentials(&sandbox, ANNE, PULL), 3);
    assert!(store.taken().iter().any(|head| head.contains(KEY_ID)));
    chmod(&file, 0o660);
    finish(with_credentials(&sandbox, ANNE, PULL), 3).says(&["the group 65000 can write to "]);
    assert!(!store.taken().iter().any(|head| head.contains(KEY_ID)));
}

#[test]
fn only_its_owner_can_write_the_file_of_the_remotes() {
    let Some(sandbox) = with_shared_cache() else { return };
    run(&sandbox, ANNE, "remote add team s3://eggs", 0);
    let file = sandbox.path("cache/remotes.json");
    assert_eq!(mode(&file), 0o640);
    run(&sandbox, ANNE, "init --shared", 0);
    assert_eq!(mode(&file), 0o640);
}

#[test]
fn without_credentials_there_is_nothing_to_warn_of() {
    let Some(sandbox) = with_shared_cache() else { return };
    let store = Store::start();
    run(&sandbox, BOB, "keygen bob/key", 0);
    run(&sandbox, BOB, &format!("{} --key bob/key.pub", store.remote("team")), 0);
    let output = run(&sandbox, ANNE, PULL, 3);
    assert!(!output.stderr.contains("credentials"), "{}", output.stderr);
}

#[test]
fn a_buildout_sends_no_credentials_to_a_remote_of_another_member() {
    let Some(sandbox) = with_shared_cache() else { return };
    let store = Store::start();
    run(&sandbox, BOB, "keygen bob/key", 0);
    run(&sandbox, BOB, &format!("{} --key bob/key.pub --push", store.remote("team")), 0);
    // The key of the team, which ANNE pushes with elsewhere.
    give(&sandbox.path("bob/key"), ANNE, ANNE);
    let mut process = with_credentials(&sandbox, ANNE, "serve");
    process.env("EGGCACHE_SIGNING_KEY", sandbox.path("bob/key"));
    let (mut server, _) = Server::start_by(process);
    let opened = server.ask(&opening(&sandbox, &host()));
    assert_eq!(opened["remotes"], "reader", "it does not push: {opened}");
    let find = json!({"op": "find", "name": "foo", "variant": "", "version": "1.0"});
    let answers = [server.ask(&find), server.ask(&json!({"op": "close"}))];
    let answers = answers.map(|it| it.to_string()).concat();
    let says = "no credentials are sent to its remote team";
    assert_eq!(answers.matches(says).count(), 1, "{answers}");
    let heads = store.taken();
    assert!(!heads.is_empty());
    assert!(!heads.iter().any(|head| head.contains(KEY_ID)), "{heads:?}");
}

#[test]
fn nothing_is_pushed_or_signed_for_a_remote_of_another_member() {
    let Some(sandbox) = with_shared_cache() else { return };
    run(&sandbox, BOB, "keygen bob/key", 0);
    let pool = sandbox.path("bob/pool");
    run(&sandbox, BOB, &format!("remote add team {} --key bob/key.pub --push", pool.display()), 0);
    run(&sandbox, ANNE, "keygen anne/key", 0);
    for line in ["push anne", "sign team"] {
        let mut process = with_credentials(&sandbox, ANNE, line);
        process.env("EGGCACHE_SIGNING_KEY", sandbox.path("anne/key"));
        finish(process, 1).says(&["belongs to another user (owned by user 65002", "remote team"]);
    }
    assert_eq!(names_in(&pool), [""; 0]);
}

#[test]
fn a_remote_of_another_member_makes_no_folder() {
    let Some(sandbox) = with_shared_cache() else { return };
    run(&sandbox, BOB, "keygen bob/key", 0);
    let pool = sandbox.path("anne/home/pool");
    run(&sandbox, BOB, &format!("remote add team {} --key bob/key.pub", pool.display()), 0);
    run(&sandbox, ANNE, PULL, 1);
    assert!(!pool.exists());
}

#[test]
fn a_change_does_not_take_over_the_remotes_of_another_member() {
    let Some(sandbox) = with_shared_cache() else { return };
    run(&sandbox, BOB, "keygen bob/key", 0);
    run(&sandbox, BOB, "remote add team s3://eggs --key bob/key.pub", 0);
    let before = fs::read(sandbox.path("cache/remotes.json")).unwrap();
    for line in
        ["remote add mine s3://mine", "trust team bob/key.pub --note x", "remote remove team"]
    {
        run(&sandbox, ANNE, line, 1).says(&["belongs to another user", "hint: ", "--trust-cache"]);
        assert_eq!(fs::read(sandbox.path("cache/remotes.json")).unwrap(), before);
    }
    run(&sandbox, ANNE, "remote list", 0);
    run(&sandbox, ANNE, "--trust-cache remote add mine s3://mine", 0);
    run(&sandbox, BOB, "remote add more s3://more", 1);
}
