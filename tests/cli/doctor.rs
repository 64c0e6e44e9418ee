//! `doctor`: each problem is found, with what mends it.

use std::fs;
use std::path::PathBuf;

use assert_cmd::Command;
use jiff::{SignedDuration, Timestamp};

use crate::pool::Pool;
use crate::serve::{Server, built};
use crate::support::{Output, Sandbox, chmod, host, write};
use crate::users::{ANNE, run, with_cache_of_anne};

const HOOK: &str = include_str!("../../eggcache.data/purelib/eggcache_hook.pth");

/// The problems of a kind, and whether the doctor found any problem of all.
fn problems(sandbox: &Sandbox, kind: &str) -> Vec<String> {
    let mut doctor = sandbox.eggcache("--json doctor");
    doctor.env("PATH", "");
    let output = doctor.output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap().iter();
    let is_problem = |it: &&serde_json::Value| it["is_problem"] == true;
    let any = findings.clone().filter(is_problem).count();
    assert_eq!(output.status.code(), Some(if any > 0 { 4 } else { 0 }), "{report}");
    let of_kind = findings.filter(is_problem).filter(|it| it["kind"] == kind);
    of_kind.map(|it| it["what"].as_str().unwrap().to_owned()).collect()
}

fn doctor(sandbox: &Sandbox) -> Output {
    let mut doctor = sandbox.eggcache("doctor");
    doctor.env("PATH", "");
    Output::of(&Command::from_std(doctor).assert())
}

#[test]
fn a_sound_cache_has_no_finding_of_its_own() {
    let sandbox = Sandbox::with_two();
    for kind in
        ["cache", "index", "access", "owner", "leftovers", "clock", "remote", "key", "package"]
    {
        assert_eq!(problems(&sandbox, kind), [""; 0], "{kind}");
    }
    assert!(doctor(&sandbox).stdout.contains("has 2 eggs"));
    let empty = Sandbox::new();
    assert!(doctor(&empty).stdout.contains("there is no cache at"));
    assert!(!empty.path("cache").exists());
}

#[test]
fn each_problem_of_a_cache_is_found_with_what_mends_it() {
    let sandbox = Sandbox::with_two();
    chmod(&sandbox.path("cache"), 0o755);
    assert_eq!(problems(&sandbox, "access").len(), 1);
    doctor(&sandbox)
        .says(&["other users can read", "verify --repair --trust-cache --cache cache`"]);
    chmod(&sandbox.path("cache"), 0o777);
    assert!(problems(&sandbox, "cache")[0].contains("everybody can write to"));
    doctor(&sandbox).says(&["`chmod o-w "]);
    chmod(&sandbox.path("cache"), 0o700);
    let dead = sandbox.path("cache/tmp/.eggcache-dead");
    write(&dead, b"");
    assert_eq!(problems(&sandbox, "leftovers"), ["1 temporary file of processes that died"]);
    doctor(&sandbox).says(&["`eggcache gc --cache cache` removes them"]);
    fs::remove_file(dead).unwrap();
    sandbox.lose_index();
    assert!(problems(&sandbox, "index")[0].contains("the index is missing"));
    doctor(&sandbox).says(&["`eggcache reindex --cache cache`"]);
    fs::write(sandbox.path("cache/index.sqlite"), "damaged").unwrap();
    assert_eq!(problems(&sandbox, "cache").len(), 1);
    doctor(&sandbox).says(&["`eggcache reindex --cache cache`"]);
}

#[test]
fn a_remote_whose_entries_no_trusted_key_has_signed_is_found() {
    let pool = Pool::with_two();
    let find = || problems(&pool.sandbox, "key");
    pool.sandbox.ok("keygen stranger");
    let url = pool.sandbox.path("pool").display().to_string();
    for (key, refusal) in [
        ("--key key.pub", None),
        ("--key stranger.pub --key key.pub", None),
        ("--key stranger.pub", Some(", which is not trusted")),
        ("", Some("remote team: no key is trusted, so none of its eggs are used")),
    ] {
        pool.ok("remote remove team");
        pool.ok(&format!("remote add team {url} {key}"));
        match (&find()[..], refusal) {
            ([], None) => {}
            ([found], Some(says)) => {
                assert!(found.ends_with(says), "{found}");
                doctor(&pool.sandbox).says(&["`eggcache trust team FILE.pub --cache cache`"]);
            }
            (found, _) => panic!("{key}: {found:?}"),
        }
    }
    fs::remove_dir_all(pool.sandbox.path("pool/v1/entries")).unwrap();
    std::os::unix::fs::symlink("/", pool.sandbox.path("pool/v1/entries")).unwrap();
    pool.ok("remote remove team");
    pool.ok(&format!("remote add team {url} --key key.pub"));
    let found = problems(&pool.sandbox, "remote");
    assert!(found.len() == 1 && found[0].starts_with("remote team: "), "{found:?}");
}

#[test]
fn a_remote_that_this_user_cannot_push_to_is_found() {
    let pool = Pool::with_two();
    let says = "remote team: nothing is pushed, because no signing key is set";
    pool.run("cache", "", "doctor", 4).says(&[says, "set EGGCACHE_SIGNING_KEY"]);
    pool.sandbox.ok("keygen stranger");
    pool.run("cache", "stranger", "doctor", 4)
        .says(&["it does not trust the signing key", "each reader has to trust it"]);
    pool.run("cache", "gone", "doctor", 4).says(&["cannot read the signing key"]);
    assert_eq!(problems(&pool.sandbox, "key"), [""; 0], "the sandbox sets the key");
}

#[test]
fn remotes_that_do_not_answer_and_keys_that_expire_are_found() {
    let sandbox = Sandbox::with_two();
    sandbox.ok("keygen key");
    fs::create_dir(sandbox.path("pool")).unwrap();
    let pool = sandbox.path("pool").display().to_string();
    sandbox.ok(&format!("remote add team file://{pool} --key key.pub"));
    assert_eq!(problems(&sandbox, "remote"), [""; 0]);
    assert!(doctor(&sandbox).stdout.contains("remote team answers"));
    sandbox.ok("trust team key.pub --until 2020-01-31");
    let found = problems(&sandbox, "key");
    let none = "remote team has no valid key, so none of its eggs are used";
    assert_eq!(found[0], none, "{found:?}");
    assert!(found[1].ends_with("of remote team expired on 2020-01-31"), "{found:?}");
    let key = fs::read_to_string(sandbox.path("key.pub")).unwrap();
    let key = key.lines().last().unwrap().trim();
    let trust = format!("`eggcache trust team {key} --until DAY --cache cache`");
    let builders = "`eggcache trust team FILE.pub --cache cache` trusts the key of its builders";
    doctor(&sandbox).says(&[&trust, builders]);
    let in_days =
        |days: i64| (Timestamp::now() + SignedDuration::from_hours(24 * days)).to_string();
    let [soon, later] = [20, 60].map(|days| in_days(days)[..10].to_owned());
    sandbox.ok(&format!("trust team key.pub --until {soon}"));
    assert!(problems(&sandbox, "key")[0].ends_with(&format!("expires on {soon}")));
    sandbox.ok(&format!("trust team key.pub --until {later}"));
    assert_eq!(problems(&sandbox, "key"), [""; 0]);
    fs::remove_dir(sandbox.path("pool")).unwrap();
    assert_eq!(problems(&sandbox, "remote").len(), 1);
    doctor(&sandbox).says(&["`eggcache remote remove team --cache cache`"]);
    assert!(!sandbox.path("pool").exists(), "nothing is made");
}

#[test]
fn the_package_of_the_buildout_is_found_without_running_python() {
    let sandbox = Sandbox::with_two();
    let packages = sandbox.path("env/lib/python3.11/site-packages");
    let python = sandbox.path("env/bin/python");
    write(&python, b"#!/bin/sh\ntouch ran\n");
    chmod(&python, 0o755);
    write(&sandbox.path("env/pyvenv.cfg"), b"home = /usr/bin\nversion = 3.11.2\n");
    fs::create_dir_all(&packages).unwrap();
    let script = format!("#!{}\nimport sys\n", python.display());
    write(&sandbox.path("bin/buildout"), script.as_bytes());
    assert!(problems(&sandbox, "package")[0].contains("does not have the package eggcache"));
    write(&packages.join("eggcache/__init__.py"), b"");
    assert!(problems(&sandbox, "hook")[0].contains("is missing"));
    write(&packages.join("eggcache_hook.pth"), b"import other");
    assert!(problems(&sandbox, "hook")[0].contains("is not that of this version"));
    write(&packages.join("eggcache_hook.pth"), HOOK.as_bytes());
    let version = env!("CARGO_PKG_VERSION");
    write(&packages.join(format!("eggcache-{version}.dist-info/METADATA")), b"");
    assert_eq!(problems(&sandbox, "hook"), [""; 0]);
    assert_eq!(problems(&sandbox, "package"), [""; 0]);
    write(&packages.join("eggcache-0.0.1.dist-info/METADATA"), b"");
    assert!(problems(&sandbox, "package")[0].contains("several versions"));
    fs::remove_dir_all(packages.join(format!("eggcache-{version}.dist-info"))).unwrap();
    assert!(problems(&sandbox, "package")[0].contains("has eggcache 0.0.1, and this command"));
    let other = sandbox.path("eggs/eggcache-0.1.egg");
    write(&other.join("eggcache/__init__.py"), b"");
    let list = format!("{script}sys.path[0:0] = [\n  '{}',\n  ]\n", other.display());
    write(&sandbox.path("bin/buildout"), list.as_bytes());
    assert!(problems(&sandbox, "package")[0].contains("installed 2 times"));
    doctor(&sandbox).says(&["pip install --force-reinstall"]);
    assert!(!sandbox.path("ran").exists());
}

/// A Python environment with the package, and a `buildout` of it.
fn environment(sandbox: &Sandbox, name: &str) -> PathBuf {
    let top = sandbox.path(name);
    let python = top.join("bin/python");
    write(&python, b"");
    write(&top.join("pyvenv.cfg"), b"home = /usr/bin\nversion = 3.11.2\n");
    write(&top.join("bin/buildout"), format!("#!{}\nimport sys\n", python.display()).as_bytes());
    let packages = top.join("lib/python3.11/site-packages");
    write(&packages.join("eggcache/__init__.py"), b"");
    write(&packages.join("eggcache_hook.pth"), HOOK.as_bytes());
    packages
}

#[test]
fn the_package_is_examined_where_there_is_no_script_of_buildout() {
    let sandbox = Sandbox::new();
    let in_path = environment(&sandbox, "env");
    let path = sandbox.path("env/bin");
    let doctor = || {
        let mut doctor = sandbox.eggcache("doctor");
        doctor.env("PATH", &path);
        Output::of(&Command::from_std(doctor).assert())
    };
    let shown = format!("has eggcache in {}", in_path.display());
    assert!(doctor().stdout.contains(&shown));
    fs::remove_file(in_path.join("eggcache_hook.pth")).unwrap();
    let python = sandbox.path("env/bin/python").display().to_string();
    let mend = format!("`{python} -m pip install --force-reinstall WHEEL`");
    doctor().says(&["buildout does not load the package by itself", &mend]);

    // The environment of the program itself comes before PATH.
    let beside = environment(&sandbox, "own");
    let program = sandbox.path("own/bin/eggcache");
    fs::copy(assert_cmd::cargo::cargo_bin!("eggcache"), &program).unwrap();
    let output = std::process::Command::new(&program)
        .args(["doctor", "--cache"])
        .arg(sandbox.path("cache"))
        .current_dir(sandbox.path(""))
        .env("PATH", &path)
        .output()
        .unwrap();
    let shown = format!("has eggcache in {}", beside.display());
    assert!(String::from_utf8_lossy(&output.stdout).contains(&shown), "{output:?}");

    fs::remove_dir_all(sandbox.path("env")).unwrap();
    assert!(doctor().stdout.contains("the Python package was not examined"));
}

#[test]
fn a_buildout_with_the_extension_needs_no_package_beside_it() {
    let sandbox = Sandbox::new();
    let packages = environment(&sandbox, "env");
    fs::rename(sandbox.path("env/bin/buildout"), sandbox.path("buildout")).unwrap();
    fs::create_dir_all(sandbox.path("bin")).unwrap();
    fs::rename(sandbox.path("buildout"), sandbox.path("bin/buildout")).unwrap();
    fs::remove_dir_all(packages).unwrap();
    assert_eq!(problems(&sandbox, "package").len(), 1);
    write(&sandbox.path("buildout.cfg"), b"[buildout]\nextensions = eggcache\nparts =\n");
    assert_eq!(problems(&sandbox, "package"), [""; 0]);
    assert!(doctor(&sandbox).stdout.contains("the next run of buildout installs eggcache"));
    write(&sandbox.path("eggs/v5/eggcache-1.0-py3.11.egg/eggcache/__init__.py"), b"");
    assert!(doctor(&sandbox).stdout.contains("loads eggcache from"));
    assert_eq!(problems(&sandbox, "hook"), [""; 0]);
}

#[test]
fn a_place_where_no_cache_can_be_made_is_a_problem() {
    let sandbox = Sandbox::new();
    let output = Output::of(&sandbox.run("doctor --cache /proc/eggs"));
    output.says(&["no cache can be made at /proc/eggs", "`eggcache init --cache DIRECTORY`"]);
    assert_eq!(problems(&sandbox, "cache"), [""; 0]);
    chmod(&sandbox.path("."), 0o777);
    let [problem] = &problems(&sandbox, "cache")[..] else { panic!("one problem") };
    assert!(problem.contains("everybody can write to"), "{problem}");
}

#[test]
fn a_time_in_the_future_is_a_problem_that_gc_mends() {
    let sandbox = Sandbox::with_two();
    sandbox.sql("UPDATE eggs SET used_at = unixepoch() + 86400 WHERE name = 'foo'");
    sandbox.fails("doctor", 4).says(&[
        "1 egg in",
        "with a time in the future",
        "` sets them to now",
    ]);
    sandbox.ok("gc");
    assert!(!sandbox.run("doctor").get_output().stderr.is_empty());
    let after = Output::of(&sandbox.run("--json doctor")).stdout;
    assert!(!after.contains("\"times\""), "{after}");
}

#[test]
fn a_buildout_that_uses_no_cache_or_a_shared_eggs_directory_is_found() {
    let sandbox = Sandbox::new();
    assert_eq!(problems(&sandbox, "setting"), [""; 0], "no buildout is here");
    for (options, expected) in [
        ("", Some("no file sets its option egg-cache")),
        ("eggcache = cache", Some("eggcache is not its option, but egg-cache")),
        ("egg-cache = cache", None),
        ("egg-cache = ${x:y}", None),
        ("egg-cache =", None),
        ("extends = https://host.example/base.cfg", None),
        ("extends = base.cfg", None),
    ] {
        write(&sandbox.path("buildout.cfg"), format!("[buildout]\n{options}\n").as_bytes());
        write(&sandbox.path("base.cfg"), b"[buildout]\negg-cache = cache\n");
        let found = problems(&sandbox, "setting");
        assert_eq!(found.len(), usize::from(expected.is_some()), "{options}: {found:?}");
        assert!(found.iter().all(|it| it.contains(expected.unwrap())), "{options}: {found:?}");
    }
    write(&sandbox.path("buildout.cfg"), b"[buildout]\n");
    doctor(&sandbox).says(&["`egg-cache = DIR` in the section [buildout]"]);
    let mut server = Server::open(&sandbox, &host());
    server.ask(&built("new", "1"));
    server.close();
    assert_eq!(problems(&sandbox, "setting"), [""; 0], "a command line has set it");
    assert_eq!(problems(&sandbox, "eggs-directory"), [""; 0]);
    write(&sandbox.path("buildout.cfg"), b"[buildout]\neggs-directory = /srv/eggs\n");
    assert_eq!(
        problems(&sandbox, "eggs-directory"),
        ["the eggs directory is /srv/eggs, outside of this buildout: it is not self-contained"]
    );
    doctor(&sandbox).says(&["remove eggs-directory from its configuration"]);
}

#[test]
fn a_cache_that_its_owner_cannot_write_is_a_problem() {
    let Some(sandbox) = with_cache_of_anne() else { return };
    chmod(&sandbox.path("cache"), 0o500);
    let doctor = run(&sandbox, ANNE, "doctor", 4);
    doctor.says(&["it is read-only for this user", "`chmod u+w "]);
    chmod(&sandbox.path("cache"), 0o700);
    run(&sandbox, ANNE, "doctor", 0);
}
