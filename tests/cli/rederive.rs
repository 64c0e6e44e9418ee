//! `remote verify --rederive` makes eggs of wheels again, and finds what a builder has changed.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use eggcache::internals::sha256::Sha256;
use serde_json::{Value, json};

use crate::convert::{PACKAGE, convert, report, wheel};
use crate::pool::Pool;
use crate::serve::Server;
use crate::support::{files_in, host, names_in, write};

const WHEEL: &str = "alpha-1.0-py3-none-any.whl";
const VERIFY: &str = "remote verify team --rederive";

/// The egg of a wheel, made by `convert`.
fn converted(pool: &Pool, options: &str, variables: &[(&str, &str)]) -> PathBuf {
    wheel(&pool.sandbox, "wheels", &PACKAGE, "alpha\n");
    let line = format!("wheels/{WHEEL} --into eggs {options}");
    let egg = report(&convert(&pool.sandbox, &line, "26.0", variables))["egg"].clone();
    pool.sandbox.path("eggs").join(egg.as_str().unwrap())
}

/// Stores an egg as that of the wheel, and pushes it.
fn push(pool: &Pool, egg: &Path, source: &str, variant: &str) {
    let content = fs::read(pool.sandbox.path("wheels").join(WHEEL)).unwrap();
    let mut server = Server::open(&pool.sandbox, &host());
    let stored = server.stored(&json!({
        "op": "store", "path": egg, "source": source,
        "source_sha256": Sha256::of(&content).to_string(), "variant": variant,
    }));
    assert_eq!(stored["outcome"], "stored", "{stored}");
    server.close_with(&json!({"pushed": 0}));
    pool.ok("push --all");
}

/// A pool with the converted egg, after `change` has changed it.
fn pool_with(change: impl Fn(&Path)) -> Pool {
    let pool = Pool::empty();
    let egg = converted(&pool, "", &[]);
    change(&egg);
    push(&pool, &egg, WHEEL, "");
    pool
}

/// The counts of a report: the same, except for bytecode, different, failed, not tried.
fn counts(report: &Value) -> [u64; 5] {
    let names = ["same", "same_except_bytecode", "different", "failed", "not_tried"];
    names.map(|name| report["rederived"][name].as_u64().unwrap())
}

fn verify(pool: &Pool, options: &str, code: i32) -> Value {
    pool.run("cache", "key", &format!("--json {VERIFY} {options}"), code).json()
}

fn find(egg: &Path, name: &str) -> PathBuf {
    files_in(egg).into_iter().find(|path| path.ends_with(name)).unwrap()
}

#[test]
fn an_egg_that_was_converted_elsewhere_is_the_same() {
    let pool = pool_with(|_| {});
    assert_eq!(counts(&verify(&pool, "--archives wheels", 0)), [1, 0, 0, 0, 0]);
    // Found by its digest, whatever its name is.
    fs::rename(pool.sandbox.path("wheels").join(WHEEL), pool.sandbox.path("wheels/a.whl")).unwrap();
    let output = pool.ok(&format!("{VERIFY} --archives eggs wheels"));
    output.says(&["made again: 1 the same, 0 different"]);
    assert!(!verify(&pool, "--archives wheels", 0).to_string().contains("not_tried\":1"));
}

#[test]
fn each_file_that_a_builder_has_changed_is_named() {
    let pool = pool_with(|egg| {
        write(&egg.join("alpha/__init__.py"), b"import evil\n");
        write(&egg.join("alpha/evil.py"), b"");
        fs::remove_file(egg.join("alpha/run.py")).unwrap();
    });
    let report = verify(&pool, "--archives wheels", 4);
    assert_eq!(counts(&report), [0, 0, 1, 0, 0]);
    let files = report["rederived"]["eggs"][0]["files"].to_string();
    for (path, what) in
        [("alpha/__init__.py", "content"), ("alpha/evil.py", "added"), ("alpha/run.py", "missing")]
    {
        assert!(files.contains(&json!({"path": path, "what": what}).to_string()), "{files}");
    }
    let output = pool.run("cache", "key", &format!("{VERIFY} --archives wheels"), 4);
    output.says(&["is not what its wheel gives", "alpha/evil.py: added", "1 different"]);
    pool.ok("remote verify team"); // signatures and digests are right
}

#[test]
fn changed_bytecode_is_found() {
    let pool = pool_with(|egg| {
        let files = files_in(egg);
        let pyc = files.iter().find(|it| it.extension().is_some_and(|it| it == "pyc")).unwrap();
        let mut bytes = fs::read(pyc).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        let modified = fs::metadata(pyc).unwrap().modified().unwrap();
        fs::write(pyc, bytes).unwrap();
        fs::File::options().write(true).open(pyc).unwrap().set_modified(modified).unwrap();
    });
    let files = verify(&pool, "--archives wheels", 4)["rederived"]["eggs"][0]["files"].clone();
    assert_eq!((files.as_array().unwrap().len(), &files[0]["what"]), (1, &json!("content")));
}

#[test]
fn of_an_egg_of_pip_everything_but_its_bytecode_is_compared() {
    let of_pip = |egg: &Path| {
        write(&find(egg, "direct_url.json"), b"{\"url\": \"file:///tmp/tmpx/alpha.whl\"}");
        write(&find(egg, "RECORD"), b"");
        for path in files_in(egg).iter().filter(|it| it.extension().is_some_and(|e| e == "pyc")) {
            fs::remove_file(path).unwrap();
        }
    };
    assert_eq!(counts(&verify(&pool_with(of_pip), "--archives wheels", 0)), [0, 1, 0, 0, 0]);
    let changed = pool_with(|egg| {
        of_pip(egg);
        write(&egg.join("alpha/run.py"), b"import evil\n");
    });
    let report = verify(&changed, "--archives wheels", 4);
    let expected = json!([{"path": "alpha/run.py", "what": "content"}]);
    assert_eq!(report["rederived"]["eggs"][0]["files"], expected);
}

#[test]
fn what_cannot_be_made_again_is_counted_by_its_reason() {
    let pool = pool_with(|_| {});
    pool.sandbox.egg("foo", "1.0");
    pool.ok("add eggs/foo-1.0-py3.11.egg");
    let egg = converted(&pool, "", &[]);
    let other =
        egg.with_file_name(egg.file_name().unwrap().to_str().unwrap().replace("3.11", "3.1"));
    fs::rename(&egg, &other).unwrap();
    push(&pool, &other, WHEEL, "");
    let reasons = |report: &Value| -> Vec<String> {
        let eggs = report["rederived"]["eggs"].as_array().unwrap().iter();
        let mut reasons: Vec<String> =
            eggs.map(|it| it["reason"].as_str().unwrap_or("none").to_owned()).collect();
        reasons.sort();
        reasons
    };
    let found = reasons(&verify(&pool, "--archives wheels", 0));
    assert_eq!(found, ["none", "not-of-a-wheel", "other-python"]);
    let found = reasons(&verify(&pool, "", 0));
    assert_eq!(found, ["no-archive", "not-of-a-wheel", "other-python"]);
    pool.ok(VERIFY)
        .says(&["3 not tried: 1 not of a wheel, 1 for another Python, 1 without the wheel"]);
}

#[test]
fn the_variables_and_options_of_the_builder_are_followed() {
    for (options, variant, variables) in [
        ("", "", &[("PYTHONOPTIMIZE", "1")][..]),
        ("", "", &[("SOURCE_DATE_EPOCH", "1500000000"), ("PYTHONOPTIMIZE", "2")]),
        ("--compile-all", "compile-all", &[]),
        ("--compile-all --unchecked", "compile-all-unchecked-hash", &[]),
    ] {
        let pool = Pool::empty();
        let egg = converted(&pool, options, variables);
        push(&pool, &egg, WHEEL, variant);
        let report = verify(&pool, "--archives wheels", 0);
        assert_eq!(counts(&report), [1, 0, 0, 0, 0], "{options} {variables:?}");
    }
}

#[test]
fn a_blob_that_is_gone_or_another_is_no_success() {
    let pool = pool_with(|egg| write(&egg.join("alpha/run.py"), b"import evil\n"));
    fs::remove_file(pool.blob("alpha", "")).unwrap();
    let report = verify(&pool, "--archives wheels", 4);
    assert_eq!(counts(&report), [0, 0, 0, 1, 0]);
    assert_eq!(report["rederived"]["eggs"][0]["reason"], "its blob is missing");
}

#[test]
fn unknown_folders_pythons_and_addresses_are_errors() {
    let pool = pool_with(|_| {});
    for (options, code) in [
        ("--archives no-such-folder", 1),
        ("--python no-such-python", 1),
        ("--index ftp://index.example/simple", 2),
    ] {
        pool.run("cache", "key", &format!("{VERIFY} {options}"), code);
    }
    pool.run("cache", "key", "remote verify team --archives wheels", 2);
}

/// A web server that has these files, until the test ends. Returns its address.
fn serve(files: Vec<(String, Vec<u8>)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines =
                BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let first = lines.next().unwrap_or_default();
            let _ = lines.take_while(|line| !line.is_empty()).count();
            let path = first.split(' ').nth(1).unwrap_or_default();
            let found = files.iter().find(|(name, _)| name == path);
            let (status, body) = found.map_or(("404 no", &[][..]), |(_, it)| ("200 ok", it));
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        }
    });
    address
}

#[test]
fn an_index_has_the_wheel_with_the_recorded_digest() {
    let pool = pool_with(|_| {});
    let content = fs::read(pool.sandbox.path("wheels").join(WHEEL)).unwrap();
    let sha256 = Sha256::of(&content).to_string();
    let json = json!({"files": [{"url": "../../f/a.whl", "hashes": {"sha256": sha256}}]});
    let html = format!("<a href=\"/f/a.whl#sha256={sha256}\">{WHEEL}</a>");
    for (page, body, expected) in [
        (json.to_string(), &content[..], [1, 0, 0, 0, 0]),
        (html.clone(), &content, [1, 0, 0, 0, 0]),
        (html, b"another", [0, 0, 0, 0, 1]),
        ("{\"files\": []}".into(), &content, [0, 0, 0, 0, 1]),
        // Nobody's page leads into a local network.
        (json.to_string().replace("../..", "http://localhost:1"), &content, [0, 0, 0, 0, 1]),
    ] {
        let address = serve(vec![
            ("/simple/alpha/".into(), page.clone().into_bytes()),
            ("/f/a.whl".into(), body.to_vec()),
        ]);
        let report = verify(&pool, &format!("--index {address}/simple"), 0);
        assert_eq!(counts(&report), expected, "{page}");
    }
    let report = verify(&pool, &format!("--fetch --index {}", serve(vec![])), 0);
    let text = report["rederived"]["eggs"][0]["text"].as_str().unwrap();
    assert_eq!(
        text,
        "its wheel is not at hand: 127.0.0.1: it answers 404; its builder has recorded no address"
    );
}

#[test]
fn what_a_killed_run_has_left_is_removed_by_the_next_one() {
    let pool = pool_with(|_| {});
    let temporary = pool.sandbox.path("temporary");
    let run = |line: &str, code: i32| {
        write(&temporary.join(".eggcache-dead/made/alpha.egg/alpha.py"), b"x = 1\n");
        let mut process = pool.sandbox.eggcache(line);
        let status = process.env("TMPDIR", &temporary).output().unwrap().status;
        assert_eq!((status.code(), names_in(&temporary)), (Some(code), vec![]), "{line}");
    };
    run(&format!("{VERIFY} --archives wheels"), 0);
    // A Python that describes itself and compiles, and has no buildout that works.
    let description = json!({
        "executable": pool.sandbox.path("python"), "implementation": "cpython",
        "version": [3, 11, 7], "cache_tag": "fake",
        "platform": format!("linux-{}", std::env::consts::ARCH),
        "is_virtual": true, "pip": "26.0", "buildout": "6.0.1",
    });
    let script = format!(
        "#!/bin/sh\ncase $* in *'Describes this'*) echo '{description}';;\n\
         *'Compiles Python'*) echo ready fake; while read line; do echo ok; done;;\n\
         *) exit 1;;\nesac\n"
    );
    write(&pool.sandbox.path("python"), script.as_bytes());
    crate::support::chmod(&pool.sandbox.path("python"), 0o755);
    run(&format!("convert --check wheels/{WHEEL} --python ./python"), 4);
}
