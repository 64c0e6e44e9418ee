//! Which cache a command uses: `--cache`, the environment, the buildout in the current folder, the user's
//! settings of buildout, the platform's folder.

use std::fs;
use std::process::Command as Process;

use assert_cmd::Command;
use serde_json::Value;

use crate::foreign_remotes::Store;
use crate::support::{EGGCACHE, Output, Sandbox, chmod, names_in, write};

impl Sandbox {
    /// The binary in the folder `app`, without `--cache`.
    fn in_app(&self, line: &str) -> Process {
        let mut process = self.process(EGGCACHE);
        fs::create_dir_all(self.path("app")).unwrap();
        process.current_dir(self.path("app")).args(line.split_whitespace());
        process.env_remove("BUILDOUT_HOME");
        process
    }

    fn configure(&self, file: &str, egg_cache: &str) {
        write(&self.path(file), format!("[buildout]\negg-cache = {egg_cache}\n").as_bytes());
    }

    /// The last part of the directory that `dir` prints.
    fn dir_in_app(&self, line: &str, variable: (&str, &str)) -> String {
        let mut process = self.in_app(line);
        process.env(variable.0, variable.1);
        let out = ok(process);
        let path = out.stdout.strip_suffix('\n').unwrap();
        assert!(path.starts_with('/') && !path.contains('\n'), "{path}");
        assert_eq!(out.stderr, "");
        path.rsplit('/').next().unwrap().to_owned()
    }

    fn json_in_app(&self, line: &str) -> Value {
        ok(self.in_app(&format!("--json {line}"))).json()
    }
}

fn ok(process: Process) -> Output {
    Output::of(&Command::from_std(process).assert().success())
}

fn fails(process: Process, code: i32) -> Output {
    Output::of(&Command::from_std(process).assert().code(code))
}

#[test]
fn the_nearest_setting_names_the_cache() {
    let sandbox = Sandbox::new();
    let dir = || sandbox.dir_in_app("dir", ("XDG_CACHE_HOME", "/tmp/x"));
    assert_eq!(dir(), "eggcache");
    sandbox.configure(".buildout/default.cfg", "~/of-user");
    assert_eq!(dir(), "of-user");
    write(&sandbox.path("app/buildout.cfg"), b"[buildout]\nextends = base.cfg\n");
    assert_eq!(dir(), "of-user");
    sandbox.configure("app/base.cfg", "../of-buildout");
    assert_eq!(dir(), "of-buildout");
    let variable = ("EGGCACHE_DIR", "of-environment");
    assert_eq!(sandbox.dir_in_app("dir", variable), "of-environment");
    assert_eq!(sandbox.dir_in_app("dir --cache of-option", variable), "of-option");
    // An empty option names no cache, neither that of the user.
    sandbox.configure("app/buildout.cfg", "");
    assert_eq!(dir(), "eggcache");
    assert_eq!(names_in(&sandbox.path("app")), ["base.cfg", "buildout.cfg"], "nothing is made");
}

#[test]
fn dir_says_what_names_the_cache() {
    let sandbox = Sandbox::new();
    let home = sandbox.path(".").canonicalize().unwrap();
    let why = |line: &str| ok(sandbox.in_app(line)).stderr;
    assert!(why("dir -v").contains("default"), "{}", why("dir -v"));
    sandbox.configure("app/base.cfg", "../own");
    write(&sandbox.path("app/buildout.cfg"), b"[buildout]\nextends = base.cfg\n");
    let base = sandbox.path("app/base.cfg").display().to_string();
    assert!(why("dir -v").contains(&format!("egg-cache in {base}")), "{}", why("dir -v"));
    let report = sandbox.json_in_app("dir");
    assert_eq!(report["cache"], home.join("own").display().to_string());
    assert_eq!(report["named_by"], "buildout");
    assert_eq!(report["file"], base);
    assert_eq!(report["exists"], false);
    let report = sandbox.json_in_app("dir --cache x");
    assert_eq!(report["named_by"], "option");
    assert_eq!(report["file"], Value::Null);
    sandbox.configure("app/buildout.cfg", "${paths:cache}");
    assert!(why("dir").contains("egg-cache = ${paths:cache} is unknown here"), "{}", why("dir"));
}

#[test]
fn commands_use_the_cache_of_the_buildout_in_the_current_folder() {
    let sandbox = Sandbox::with_two();
    sandbox.configure("app/buildout.cfg", "../cache");
    assert_eq!(sandbox.json_in_app("list")["eggs"].as_array().unwrap().len(), 2);
    sandbox.egg("baz", "3.0");
    let out = ok(sandbox.in_app("add ../eggs"));
    out.says(&["note: ", "buildout.cfg", "1 egg"]);
    ok(sandbox.in_app("materialize --into eggs baz==3.0"));
    assert_eq!(sandbox.listed(), ["bar==2.0", "baz==3.0", "foo==1.0"]);
    assert!(!sandbox.path(".cache").exists());
    // Another folder has another cache.
    let mut list = sandbox.in_app("list");
    list.current_dir(sandbox.path("other"));
    ok(list).says(&["there is no cache at"]);
    sandbox.configure(".buildout/default.cfg", "~/cache");
    let mut list = sandbox.in_app("list -q");
    list.current_dir(sandbox.path("other"));
    assert_eq!(ok(list).stdout, "");
    let mut list = sandbox.in_app("--json list");
    list.current_dir(sandbox.path("other"));
    assert_eq!(ok(list).json()["eggs"].as_array().unwrap().len(), 3);
}

#[test]
fn the_configuration_of_a_checkout_makes_no_cache() {
    let sandbox = Sandbox::new();
    sandbox.egg("foo", "1.0");
    fs::create_dir(sandbox.path("empty")).unwrap();
    write(&sandbox.path("mine/notes.txt"), b"mine");
    for place in ["~/.config/new", "../empty", "new"] {
        sandbox.configure("app/buildout.cfg", place);
        for line in ["add ../eggs", "gc", "init", "pin foo", "reindex", "materialize --into e foo"]
        {
            let out = fails(sandbox.in_app(line), 1);
            out.says(&["there is no cache at", "buildout.cfg", "hint: `eggcache init --cache "]);
        }
    }
    assert!(!sandbox.path(".config").exists() && !sandbox.path("app/new").exists());
    assert_eq!(names_in(&sandbox.path("empty")), [""; 0]);
    assert_eq!(names_in(&sandbox.path("app")), ["buildout.cfg"]);
    sandbox.configure("app/buildout.cfg", "../mine");
    for line in ["add ../eggs", "gc", "list", "verify --repair"] {
        fails(sandbox.in_app(line), 1).says(&["is not a cache"]);
    }
    assert_eq!(names_in(&sandbox.path("mine")), ["notes.txt"]);
    // What the user has typed or configured makes one.
    sandbox.configure("app/buildout.cfg", "new");
    ok(sandbox.in_app("init --cache new"));
    ok(sandbox.in_app("add ../eggs"));
    fs::remove_file(sandbox.path("app/buildout.cfg")).unwrap();
    sandbox.configure(".buildout/default.cfg", "~/of-user");
    ok(sandbox.in_app("add ../eggs"));
    assert!(sandbox.path("of-user/index.sqlite").exists());
}

#[test]
fn a_configuration_that_others_can_change_names_no_cache() {
    let sandbox = Sandbox::with_two();
    sandbox.configure("app/buildout.cfg", "../cache");
    for (path, mode) in [("app/buildout.cfg", 0o666), ("app", 0o777)] {
        let before = if path == "app" { 0o755 } else { 0o644 };
        chmod(&sandbox.path(path), mode);
        let out = ok(sandbox.in_app("list"));
        out.says(&["everybody can write to", path, "its egg-cache is not used", "--cache"]);
        assert_eq!(out.stdout, "");
        ok(sandbox.in_app("gc"));
        chmod(&sandbox.path(path), before);
    }
    assert_eq!(sandbox.listed().len(), 2);
    assert_eq!(sandbox.json_in_app("list")["eggs"].as_array().unwrap().len(), 2);
}

#[test]
fn a_cache_in_the_checkout_gets_no_signature_of_a_command() {
    let sandbox = Sandbox::new();
    sandbox.egg("foo", "1.0");
    sandbox.ok("keygen key");
    let store = Store::start();
    let of_cache = |line: &str| {
        let mut process = sandbox.process(EGGCACHE);
        process.args(["--cache", "app/c"]).args(line.split_whitespace());
        process
    };
    ok(of_cache(&format!("{} --key key.pub --push", store.remote("x"))));
    ok(of_cache("add eggs"));
    sandbox.configure("app/buildout.cfg", "c");
    for line in ["push --all", "push --all --to x", "remote withdraw x foo --reason bad"] {
        let out = fails(sandbox.in_app(line), 1);
        out.says(&["remotes.json is in the checkout of the buildout", "EGGCACHE_TRUST_CACHE"]);
    }
    assert!(store.taken().is_empty());
}

#[test]
fn completion_reads_the_cache_of_the_buildout() {
    let sandbox = Sandbox::with_two();
    sandbox.configure("app/buildout.cfg", "../cache");
    let mut process = sandbox.in_app("-- eggcache show f");
    process.env("EGGCACHE_COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", "2");
    process.env("_CLAP_COMPLETE_COMP_TYPE", "9").env("_CLAP_IFS", "\n");
    assert_eq!(ok(process).stdout.trim(), "foo");
}

#[test]
fn check_and_bundle_take_the_current_folder() {
    let sandbox = Sandbox::with_two();
    sandbox.configure("app/buildout.cfg", "../cache");
    ok(sandbox.in_app("materialize --into eggs foo==1.0"));
    let checked = ok(sandbox.in_app("check"));
    checked.says(&["self-contained", "1 egg"]);
    ok(sandbox.in_app("bundle -o ../app.tar"));
    assert!(sandbox.path("app.tar").is_file());
    fails(sandbox.in_app("bundle"), 2);
    // Elsewhere there is none.
    let mut check = sandbox.in_app("check");
    check.current_dir(sandbox.path("other"));
    fails(check, 2).says(&["is not a buildout"]);
}
