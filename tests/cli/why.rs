//! `why`: the record of a run, and the reasons of misses.

use serde_json::{Value, json};

use crate::damage::flip_last_bit;
use crate::pool::Pool;
use crate::serve::{Server, built, host_with};
use crate::support::{Sandbox, host, names_in, write};

/// Runs a command whose data has a text.
fn prints(sandbox: &Sandbox, line: &str, text: &str) {
    let stdout = sandbox.ok(line).stdout;
    assert!(stdout.contains(text), "{text:?} is not in:\n{stdout}");
}

/// A request that says that buildout, offline, lacks an egg of a version that these specifiers admit.
fn missing(name: &str, specifiers: &str) -> Value {
    json!({"op": "built", "name": name, "version": "", "variant": "", "build_seconds": 0, "missing": specifiers})
}

/// Why an egg is a miss for this host: from the bridge, and with the same words from the record.
fn why_on(sandbox: &Sandbox, host: &Value, request: &Value) -> String {
    let mut server = Server::open(sandbox, host);
    let why = server.ask(request)["why"].as_str().unwrap().to_owned();
    server.close();
    let run = sandbox.json("why .")["run"].clone();
    assert_eq!((&run["hits"], &run["misses"]), (&json!(0), &json!(1)));
    assert_eq!(run["eggs"][0]["why"], why);
    let name = request["name"].as_str().unwrap();
    let version = request["version"].as_str().unwrap();
    prints(sandbox, "why", &format!("{name} {version} (built, 12.3 s): {why}\n"));
    why
}

fn why(sandbox: &Sandbox, request: &Value) -> String {
    why_on(sandbox, &host(), request)
}

#[test]
fn each_reason_of_a_miss_has_its_words() {
    let sandbox = Sandbox::with_two();
    write(&sandbox.path("buildout.cfg"), b"[buildout]\n");
    assert_eq!(
        why(&sandbox, &built("Nothing", "1")),
        "the cache has never had an egg of this project"
    );
    let other = "the cache has only other versions: 1.0";
    assert_eq!(why(&sandbox, &built("foo", "1.1")), other);
    let by_hand = "the cached egg was added by hand, so its archive is not known";
    assert_eq!(why(&sandbox, &built("foo", "1.0")), by_hand);
    sandbox.ok("why").says(&["hint: `egg-cache-unknown-archives = use` in [buildout] serves"]);
    let newer = host_with("python", "3.12");
    let python = "the cache has it for Python 3.11, and this is Python 3.12";
    assert_eq!(why_on(&sandbox, &newer, &built("foo", "1.0")), python);
    let custom = json!({"variant": "x", "source_sha256": ""});
    let mut request = built("foo", "1.0");
    request.as_object_mut().unwrap().extend(custom.as_object().unwrap().clone());
    let options =
        "the cached egg is not used: it was built with other options or against other files";
    assert_eq!(why(&sandbox, &request), options);
    sandbox.ok("remove foo");
    request["variant"] = json!("");
    assert!(why(&sandbox, &request).starts_with("removed by hand on 20"));
}

#[test]
fn an_eviction_and_a_damaged_egg_are_remembered() {
    let sandbox = Sandbox::with_two();
    let now = |name: &str| sandbox.json(&format!("why {name}"))["missing"].clone();
    assert_eq!(now("foo"), Value::Null, "it is there");
    sandbox.ok("gc --max-size 1B");
    let miss = now("foo");
    assert_eq!(
        (&miss["miss"]["reason"], &miss["miss"]["why"]),
        (&json!("evicted"), &json!("max-size"))
    );
    let text = sandbox.ok("why foo==1.0").stdout;
    assert!(text.contains("now: the cache cannot serve foo 1.0: evicted on 20"), "{text}");
    assert!(text.contains("the cache was over its size limit"), "{text}");
    sandbox.ok("add eggs");
    flip_last_bit(&sandbox.blob("bar"));
    sandbox.run("verify --repair");
    prints(&sandbox, "why bar", "it was damaged or incomplete");
    assert_eq!(sandbox.json("stats")["regrets"]["evicted"], 2, "only what a limit would have kept");
}

#[test]
fn the_index_alone_explains_an_egg_of_another_python() {
    let sandbox = Sandbox::with_two();
    let text = sandbox.ok("why foo==1.0 --python 3.12").stdout;
    let line = "now: the cache cannot serve foo 1.0: the cache has it for Python 3.11, and this is Python 3.12\n";
    assert_eq!(text, line);
    prints(&sandbox, "why foo", "now: the cache has foo-1.0-py3.11.egg");
    prints(&sandbox, "why foo-1.0-py3.11.egg", "now: the cache has foo-1.0-py3.11.egg");
    sandbox.fails("why fooo", 3).says(&["the cache has no egg fooo", "the nearest name is foo"]);
}

#[test]
fn a_project_whose_name_ends_as_a_file_name_does_keeps_its_name() {
    let sandbox = Sandbox::new();
    sandbox.egg("zc.recipe.egg", "1.0");
    sandbox.ok("add eggs");
    sandbox.ok("remove zc.recipe.egg");
    let says = "now: the cache cannot serve zc.recipe.egg 1.0: removed by hand on 20";
    for question in ["zc.recipe.egg", "zc.recipe.egg==1.0", "zc.recipe.egg-1.0-py3.11.egg"] {
        prints(&sandbox, &format!("why {question}"), says);
    }
    let python = "now: the cache cannot serve zc.recipe.egg 1.0: the cache had only other eggs of this project, \
        and has evicted them\n";
    prints(&sandbox, "why zc.recipe.egg --python 3.12", python);
}

#[test]
fn an_egg_that_was_missing_offline_is_recorded() {
    let sandbox = Sandbox::with_two();
    write(&sandbox.path("buildout.cfg"), b"[buildout]\n");
    let mut server = Server::open(&sandbox, &host());
    sandbox.ok("remove bar");
    for (name, specifiers) in
        [("foo", "==1.1"), ("foo", ">=1.1,<2"), ("bar", ""), ("bar", "<3"), ("new", "")]
    {
        let mut request = missing(name, specifiers);
        match (name, specifiers) {
            ("foo", ">=1.1,<2") => request["lack"] = json!("not-found"),
            ("new", _) => request["lack"] = json!("not-installed"),
            _ => {}
        }
        server.ask(&request);
    }
    server.close();
    let text = sandbox.ok("why .").stdout;
    let lines: Vec<&str> = text.lines().collect();
    let other = "the cache has only other versions: 1.0";
    assert_eq!(lines[0], format!("foo 1.1 (missing: offline): {other}"));
    assert_eq!(lines[1], format!("foo (missing: not found): {other}"));
    for line in &lines[2..4] {
        assert!(line.starts_with("bar 2.0 (missing: offline): removed by hand on 20"), "{text}");
    }
    assert_eq!(
        lines[4],
        "new (missing: its installation failed): the cache has never had an egg of this project"
    );
    let run = sandbox.json("why .")["run"].clone();
    assert_eq!((&run["missing"], &run["eggs"][0]["from"]), (&json!(5), &json!("missing")));
    assert_eq!((&run["hits"], &run["misses"]), (&json!(0), &json!(0)));
    sandbox.ok("why").says(&["0 hits, 0 misses, 5 missing in the run of "]);
}

/// Runs a session with a hit or without, and with a missing egg or without; returns what is recorded.
fn recorded(sandbox: &Sandbox, hit: bool, lacks: bool, succeeds: bool) -> Vec<String> {
    let mut server = Server::open(sandbox, &host());
    let (into, digest) = (sandbox.path("out"), sandbox.digest("foo"));
    if hit {
        server.ask(&json!({"op": "materialize", "digest": digest, "into": into}));
    }
    if lacks {
        server.ask(&missing("new", "==1"));
    }
    if succeeds {
        server.ask(&json!({
            "op": "root", "directory": sandbox.path("."), "eggs_directory": into, "eggs": [], "whole": true,
        }));
    }
    server.close();
    let eggs = sandbox.json("why")["run"]["eggs"].as_array().unwrap().clone();
    eggs.iter().map(|egg| format!("{} {}", egg["name"], egg["from"]).replace('"', "")).collect()
}

#[test]
fn what_a_run_lacked_is_added_to_the_record_of_the_one_before() {
    let sandbox = Sandbox::with_two();
    write(&sandbox.path("buildout.cfg"), b"[buildout]\n");
    let (found, lacked) = ("foo cache".to_owned(), "new missing".to_owned());
    assert_eq!(
        recorded(&sandbox, true, true, true),
        std::slice::from_ref(&found),
        "it found another way"
    );
    for _ in 0..2 {
        assert_eq!(recorded(&sandbox, false, true, false), [found.clone(), lacked.clone()]);
    }
    assert_eq!(
        recorded(&sandbox, false, false, false),
        [found.clone(), lacked],
        "nothing is known"
    );
    assert_eq!(recorded(&sandbox, false, false, true), [found]);
}

#[test]
fn in_a_buildout_its_python_counts() {
    let sandbox = Sandbox::with_two();
    write(&sandbox.path("bin/buildout"), b"#!/usr/bin/python3.12\n");
    prints(&sandbox, "why foo", "this is Python 3.12");
    prints(&sandbox, "why foo --python 3.11", "the cache has foo-1.0-py3.11.egg");
}

#[test]
fn in_a_buildout_without_a_script_the_python_of_the_last_run_counts() {
    let sandbox = Sandbox::with_two();
    prints(&sandbox, "why foo", "the cache has foo-1.0-py3.11.egg");
    let mut newer = host();
    newer["python"] = json!("3.12");
    let mut server = Server::open(&sandbox, &newer);
    server.ask(&missing("foo", "==1.0"));
    server.close();
    prints(
        &sandbox,
        "why foo",
        "now: the cache cannot serve foo 1.0: the cache has it for Python 3.11",
    );
}

#[test]
fn a_custom_build_that_was_missing_offline_is_recorded_though_buildout_succeeds() {
    let sandbox = Sandbox::with_two();
    write(&sandbox.path("buildout.cfg"), b"[buildout]\n");
    assert_eq!(recorded(&sandbox, true, false, true), ["foo cache"]);
    let mut custom = missing("bar", "");
    custom["variant"] = json!("a".repeat(64));
    custom["options"] = json!({"define": "A"});
    let mut server = Server::open(&sandbox, &host());
    server.ask(&custom);
    server.ask(&missing("new", "==1"));
    let out = sandbox.path("out");
    server.ask(&json!({
        "op": "root", "directory": sandbox.path("."), "eggs_directory": out, "eggs": [], "whole": true,
    }));
    server.close();
    let report = sandbox.json("why");
    let eggs = report["run"]["eggs"].as_array().unwrap();
    assert_eq!(eggs.len(), 2, "buildout found another way to new: {report}");
    assert_eq!((&eggs[1]["name"], &eggs[1]["from"]), (&json!("bar"), &json!("missing")));
}

#[test]
fn a_run_that_installs_nothing_keeps_the_record_of_the_one_before() {
    let sandbox = Sandbox::with_two();
    write(&sandbox.path("buildout.cfg"), b"[buildout]\n");
    sandbox
        .fails("why", 3)
        .says(&["the cache has no record of a buildout in ", " that installed eggs"]);
    let into = sandbox.path("out");
    let digest = sandbox.digest("foo");
    for _ in 0..2 {
        let mut server = Server::open(&sandbox, &host());
        server.ask(&json!({"op": "materialize", "digest": digest, "into": into}));
        server.close();
        let run = sandbox.json("why")["run"].clone();
        assert_eq!(
            (&run["hits"], &run["misses"], &run["succeeded"]),
            (&json!(1), &json!(0), &json!(false))
        );
        let egg = json!({"name": "foo", "version": "1.0", "from": "cache"});
        assert_eq!(run["eggs"], json!([egg]));
    }
    prints(&sandbox, "why -v", "foo 1.0 (cache)\n");
    sandbox.ok("why").says(&["1 hit, 0 misses in the run of 20", ", which failed"]);
    assert_eq!(sandbox.ok("why").stdout, "");
    prints(&sandbox, "why foo", ": foo 1.0 (cache)\n");
}

#[test]
fn a_run_that_installs_nothing_records_how_it_ended() {
    let sandbox = Sandbox::new();
    write(&sandbox.path("buildout.cfg"), b"[buildout]\nparts = app\n");
    write(&sandbox.path(".installed.cfg"), b"[buildout]\nparts = app\n");
    std::fs::create_dir(sandbox.path("out")).unwrap();
    let run = |op: &Value, eggs: &[Value]| {
        let mut server = Server::open(&sandbox, &host());
        for egg in eggs {
            server.ask(egg);
        }
        if op["op"] == "close" {
            server.ask(op);
            return server.end();
        }
        server.ask(op);
        server.close();
    };
    let (failed, ended) = (json!({"op": "close", "failed": true}), json!({"op": "close"}));
    let succeeded = json!({
        "op": "root", "directory": sandbox.path("."), "eggs_directory": sandbox.path("out"), "eggs": [],
        "whole": true,
    });
    let fails = |code| sandbox.fails("check .", code);
    run(&ended, &[]);
    sandbox.fails("why .", 3);
    run(&failed, &[]);
    sandbox.ok("why .").says(&["0 hits, 0 misses in the run of 20", ", which failed"]);
    fails(4).says(&["problem: the last run of buildout here has failed", "not installed: "]);
    run(&succeeded, &[built("new", "1")]);
    fails(0);
    run(&failed, &[]);
    run(&ended, &[]);
    sandbox.ok("why .").says(&["1 miss in the run of 20", ", which installed no egg, failed"]);
    fails(4);
    let [record] = &names_in(&sandbox.path("cache/runs"))[..] else { panic!("one run") };
    let record = sandbox.path("cache/runs").join(record);
    let text = std::fs::read_to_string(&record).unwrap();
    let mut older: Value = serde_json::from_str(&text).unwrap();
    older["since"]["at"] = json!(older["since"]["at"].as_i64().unwrap() - 10);
    write(&record, older.to_string().as_bytes());
    // As when a bundle is unpacked there.
    fails(0);
    run(&failed, &[]);
    fails(4);
    run(&succeeded, &[]);
    sandbox.ok("why .").says(&["1 miss in the run of 20", ", which installed no egg, succeeded"]);
    fails(0);
}

#[test]
fn the_record_of_a_run_is_removed_with_its_root() {
    let sandbox = Sandbox::with_two();
    write(&sandbox.path("buildout.cfg"), b"[buildout]\n");
    let into = sandbox.path("out");
    let mut server = Server::open(&sandbox, &host());
    server.ask(&built("new", "1"));
    std::fs::create_dir(&into).unwrap();
    server.ask(&json!({
        "op": "root", "directory": sandbox.path("."), "eggs_directory": into, "eggs": [], "whole": true,
    }));
    server.close();
    let records = |folder: &str| names_in(&sandbox.path("cache").join(folder));
    assert_eq!(records("runs"), records("roots"), "a root and its run have one name");
    assert_eq!(sandbox.json("why")["run"]["succeeded"], true);
    sandbox.ok("roots --forget .");
    assert_eq!(records("runs").len(), 0);
    sandbox.fails("why", 3);
}

#[test]
fn a_custom_build_names_its_options_and_those_that_differ() {
    let sandbox = Sandbox::new();
    write(&sandbox.path("buildout.cfg"), b"[buildout]\n");
    let custom = |variant: char, flavour: &str| {
        let mut request = built("foo", "1.0");
        request["variant"] = json!(variant.to_string().repeat(64));
        request["options"] = json!({"define": flavour, "libraries": "z"});
        request
    };
    let egg = sandbox.egg("foo", "1.0");
    let first = custom('a', "A");
    let mut server = Server::open(&sandbox, &host());
    server.ask(&first);
    let store =
        json!({"op": "store", "path": egg, "source_sha256": "", "variant": first["variant"]});
    assert_eq!(server.stored(&store)["outcome"], "stored");
    server.close();
    prints(
        &sandbox,
        "why foo",
        "foo 1.0 (built, 12.3 s), a custom build with define = A, libraries = z: ",
    );
    let line = ", a custom build with define = A, libraries = z, added on ";
    prints(&sandbox, "why foo", line);
    prints(&sandbox, "show foo", "options       define = A, libraries = z\n");

    let mut server = Server::open(&sandbox, &host());
    let why = |server: &mut Server, request: &Value| server.ask(request)["why"].clone();
    let other = "the cached egg was built with other options: define was A and is B here";
    assert_eq!(why(&mut server, &custom('b', "B")), other);
    let mut plain = built("foo", "1.0");
    let others = ": define was A and is not set here, libraries was z and is not set here";
    let other = format!("the cached egg was built with other options{others}");
    assert_eq!(why(&mut server, &plain), other);
    plain["is_withheld"] = json!(true);
    let withheld = "a part of this buildout builds the project with options, so a plain egg of it is \
                    never taken from the cache";
    assert_eq!(why(&mut server, &plain), withheld);
    server.close();

    std::fs::remove_dir_all(sandbox.path("cache/variants")).unwrap();
    prints(&sandbox, "why foo", ", a custom build with options that are not known here, added on ");
}

#[test]
fn a_session_tells_another_archive_a_damaged_copy_and_a_withdrawn_build_apart() {
    let pool = Pool::empty();
    let sandbox = &pool.sandbox;
    sandbox.egg("foo", "1.0");
    let of_other = "b".repeat(64);
    pool.ok(&format!("add eggs --source-sha256 {of_other}"));
    let why = |built: &Value, digest: Option<&str>| {
        let mut server = Server::open(sandbox, &host());
        if let Some(digest) = digest {
            assert!(server.materialize(sandbox, digest)["outcome"].is_null());
        }
        let why = server.ask(built)["why"].as_str().unwrap().to_owned();
        server.close_with(&json!({"pushed": 0}));
        why
    };
    let mut wanted = built("foo", "1.0");
    assert_eq!(
        why(&wanted, None),
        "the cached egg was built from another archive \
         (SHA-256 bbbbbbbbbbbb…, and this buildout needs aaaaaaaaaaaa…)"
    );
    wanted["source_sha256"] = json!(of_other);
    let digest = sandbox.digest("foo");
    let blob = sandbox.blob("foo");
    let sound = std::fs::read(&blob).unwrap();
    flip_last_bit(&blob);
    std::fs::create_dir_all(sandbox.path("out")).unwrap();
    let damaged = why(&wanted, Some(&digest));
    assert!(damaged.contains("damaged"), "{damaged}");
    std::fs::remove_file(&blob).unwrap();
    write(&blob, &sound);
    pool.ok("push --all");
    pool.ok("remote withdraw team foo==1.0 --reason evil");
    assert_eq!(why(&wanted, None), "the cached egg was withdrawn by remote team: evil");
}
