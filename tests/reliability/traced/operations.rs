//! The operations that are interrupted, each with the cache it starts from.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::{
    EGGCACHE, Sandbox, Seen, chmod, files_in, host, names_in, noise, text, touch, tree, write,
};
use crate::wheels::{PYTHON, Requests, write_python, write_wheels};

/// The exit code for problems found.
const PROBLEMS: i32 = 4;

/// An operation and its initial state.
pub struct Operation {
    pub name: &'static str,
    prepare: fn(&Sandbox),
    /// The arguments after `--cache`; `serve` reads its requests from the file `requests`, and then
    /// from `requests-after`, if there is one, when something is being made in `out`.
    pub line: &'static str,
    /// Whether it repairs an unsound cache: nothing can be asserted about that cache before the
    /// operation has run to its end.
    pub mends: bool,
}

const fn operation(
    name: &'static str,
    prepare: fn(&Sandbox),
    line: &'static str,
    mends: bool,
) -> Operation {
    Operation { name, prepare, line, mends }
}

pub const ADD_FIRST: Operation = operation("add to a new cache", two_eggs, "add eggs", false);
pub const ADD: Operation = operation(
    "add",
    two_in_a_cache_and_two_not,
    "add eggs/one-1.0-py3.11.egg eggs/three-1.0-py3.11.egg",
    false,
);
pub const REPLACE: Operation =
    operation("add --replace", another_build, "add --replace other", false);
pub const MATERIALIZE: Operation =
    operation("materialize", three_in_a_cache, "materialize --into out --all", false);
pub const GC_OF_ALL: Operation = operation("gc of all", nothing_is_used, "gc --max-age 0s", false);
pub const GC_OF_SOME: Operation =
    operation("gc of some", garbage_of_every_kind, "gc --max-age 100d", false);
pub const REINDEX: Operation = operation("reindex", three_in_a_cache, "reindex", false);
pub const REINDEX_WITHOUT_INDEX: Operation =
    operation("reindex without an index", without_index, "reindex", false);
pub const REINDEX_OF_DAMAGED_INDEX: Operation =
    operation("reindex of a damaged index", with_a_damaged_index, "reindex", true);
pub const REPAIR: Operation =
    operation("verify --repair", with_a_damaged_blob, "verify --repair", true);
pub const OLD_CACHE: Operation = operation("opening an old cache", an_old_cache, "init", false);
pub const PIN: Operation = operation("pin", two_in_a_cache, "pin two rich==1.0", false);
pub const PULL: Operation =
    operation("pull", with_an_egg_on_a_remote, "pull pulled-1.0-py3.11.egg", false);
pub const CONVERT: Operation = operation(
    "convert",
    two_wheels,
    "convert wheels/packaged-1.0-py3-none-any.whl wheels/flat-1.0-py3-none-any.whl \
     --into out --python ./python",
    false,
);
pub const SERVE: Operation = operation("serve", with_requests, "serve", false);
pub const SERVE_CONVERTING: Operation =
    operation("serve that converts", with_requests_to_convert, "serve", false);

/// Sends requests, and the others once a thread makes something, after which the order of calls is the same in
/// every run. If the thread has failed, or the program has died, it sends them after a while, or not at all.
const FEED: &str = "cat requests; tries=0; \
    until ls -d out/.eggcache-* >/dev/null 2>&1 || [ $((tries += 1)) -gt 50 ]; do \
      kill -0 $$ || exit; sleep 0.02; done; \
    cat requests-after";

/// Operations that run one after another in one sandbox, which the first one prepares.
pub const SEVERAL: [Operation; 6] = [
    operation("add", eggs_and_another_build, "add eggs/two-1.0-py3.11.egg", false),
    operation("add", eggs_and_another_build, "add eggs", false),
    operation("add --replace", eggs_and_another_build, "add --replace other", false),
    operation("materialize", eggs_and_another_build, "materialize --into out --all", false),
    operation("gc", eggs_and_another_build, "gc --max-age 100d", false),
    operation("reindex", eggs_and_another_build, "reindex", false),
];

/// Makes one test for each operation, so that they run in parallel.
macro_rules! test_each_operation {
    ($fact:ident, $run:path) => {
        mod $fact {
            use crate::traced::operations;

            #[test]
            fn add_to_a_new_cache() {
                $run(&operations::ADD_FIRST);
            }

            #[test]
            fn add() {
                $run(&operations::ADD);
            }

            #[test]
            fn add_replace() {
                $run(&operations::REPLACE);
            }

            #[test]
            fn materialize() {
                $run(&operations::MATERIALIZE);
            }

            #[test]
            fn gc_of_all_eggs() {
                $run(&operations::GC_OF_ALL);
            }

            #[test]
            fn gc_of_every_kind_of_garbage() {
                $run(&operations::GC_OF_SOME);
            }

            #[test]
            fn reindex() {
                $run(&operations::REINDEX);
            }

            #[test]
            fn reindex_without_an_index() {
                $run(&operations::REINDEX_WITHOUT_INDEX);
            }

            #[test]
            fn reindex_of_a_damaged_index() {
                $run(&operations::REINDEX_OF_DAMAGED_INDEX);
            }

            #[test]
            fn verify_repair() {
                $run(&operations::REPAIR);
            }

            #[test]
            fn opening_an_old_cache() {
                $run(&operations::OLD_CACHE);
            }

            #[test]
            fn pin() {
                $run(&operations::PIN);
            }

            #[test]
            fn pull() {
                $run(&operations::PULL);
            }

            #[test]
            fn serve() {
                $run(&operations::SERVE);
            }
        }
    };
}
pub(crate) use test_each_operation;

impl Operation {
    /// A sandbox in the initial state of the operation.
    pub fn prepared(&self) -> Sandbox {
        let sandbox = Sandbox::new();
        (self.prepare)(&sandbox);
        sandbox
    }

    pub fn command(&self, sandbox: &Sandbox) -> Command {
        if self.line == "serve" {
            let mut shell = sandbox.process("sh");
            shell.args(["-c", "exec \"$0\" serve <requests", EGGCACHE]);
            if sandbox.path("requests-after").exists() {
                shell = sandbox.process("bash");
                shell.args(["-c", &format!("exec \"$0\" serve < <({FEED})"), EGGCACHE]);
            }
            return shell;
        }
        sandbox.eggcache(self.line)
    }

    /// Runs it to its end, untraced.
    #[track_caller]
    pub fn run(&self, sandbox: &Sandbox) {
        let Output { status, stdout, stderr } = self.command(sandbox).output().unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert!(self.is_good(status.code()), "{} ended with {status}: {stderr}", self.line);
        assert_eq!(self.refusals(&stdout), [""; 0]);
    }

    /// Whether this exit code means that the operation has done its work. One that mends may report
    /// the problems that it found.
    pub fn is_good(&self, code: Option<i32>) -> bool {
        code == Some(0) || self.mends && code == Some(PROBLEMS)
    }

    /// The errors in the answers of a server, and why it has not stored an egg.
    pub fn refusals(&self, stdout: &str) -> Vec<String> {
        let errors = |line: &str| {
            let answer: Value = serde_json::from_str(line).unwrap();
            let reason = ["error", "failure", "reason"].map(|field| answer[field].as_str());
            reason.into_iter().flatten().next().map(str::to_owned)
        };
        if self.line == "serve" { stdout.lines().filter_map(errors).collect() } else { Vec::new() }
    }

    /// Asserts that the answers of a server are true, even if it died afterwards.
    #[track_caller]
    pub fn assert_answers_are_true(&self, sandbox: &Sandbox, stdout: &str) {
        if self.line != "serve" {
            return;
        }
        let listed = listing(sandbox);
        // It may have died in the middle of its last answer.
        let answers = stdout.lines().map_while(|line| serde_json::from_str::<Value>(line).ok());
        for answer in answers.flat_map(each_outcome) {
            match answer["outcome"].as_str() {
                Some("stored") => {
                    let egg = &answer["egg"];
                    let digest = listed.get(text(&egg["file_name"])).map(String::as_str);
                    assert_eq!(digest, egg["digest"].as_str(), "the answer said so");
                }
                Some("copied") => assert!(sandbox.path(text(&answer["path"])).exists()),
                _ if answer["registered"] == true => assert_root_is_there(sandbox, &answer),
                _ => {}
            }
        }
    }
}

/// The outcomes in an answer, if it has several; otherwise the answer itself.
pub fn each_outcome(answer: Value) -> Vec<Value> {
    match answer["outcomes"].as_array() {
        Some(outcomes) => outcomes.clone(),
        None => vec![answer],
    }
}

/// Asserts that the buildout registered by a server is listed with all eggs that it uses.
#[track_caller]
pub fn assert_root_is_there(sandbox: &Sandbox, answer: &Value) {
    let roots = &sandbox.json("roots")["roots"];
    let eggs = roots[0]["eggs"].as_array().expect("the answer said so");
    let cached = eggs.iter().filter(|egg| !egg["digest"].is_null()).count();
    assert_eq!(json!([eggs.len(), cached]), json!([answer["eggs"], answer["cached"]]), "{roots}");
}

/// The digest of each egg in a cache, by file name.
pub type Listing = BTreeMap<String, String>;

/// Lists the cache. This opens it, which may write to it.
pub fn listing(sandbox: &Sandbox) -> Listing {
    listing_of(&sandbox.json("list"))
}

/// The eggs in a report.
pub fn listing_of(report: &Value) -> Listing {
    let egg = |egg: &Value| (text(&egg["file_name"]).to_owned(), text(&egg["digest"]).to_owned());
    report["eggs"].as_array().unwrap().iter().map(egg).collect()
}

/// A copy of a sandbox with everything in it.
pub fn copy(sandbox: &Sandbox) -> Sandbox {
    let other = Sandbox::new();
    let mut cp = Command::new("cp");
    cp.arg("-a").arg(sandbox.path(".")).arg(other.path(""));
    assert!(cp.status().unwrap().success());
    other
}

/// By file name, the builds of an egg, one of which a copy must equal.
pub type Sources = BTreeMap<String, Vec<BTreeMap<PathBuf, Seen>>>;

pub fn sources(sandbox: &Sandbox) -> Sources {
    let mut sources = Sources::new();
    for folder in ["eggs", "other"] {
        for name in names_in(&sandbox.path(folder)) {
            let egg = tree(&sandbox.path(folder).join(&name));
            sources.entry(name).or_default().push(egg);
        }
    }
    sources
}

/// An egg with everything that an egg can contain, a file of several frames included.
fn rich(sandbox: &Sandbox) {
    let large = noise(300_000);
    let egg = sandbox.egg_with("rich", "1.0", &[("large.bin", &large), ("folder/in.txt", b"in")]);
    fs::create_dir(egg.join("empty")).unwrap();
    symlink("rich.py", egg.join("link")).unwrap();
    chmod(&egg.join("rich.py"), 0o755);
    touch(&egg.join("large.bin"), 1_000_000_000, 123_456_789);
}

fn two_eggs(sandbox: &Sandbox) {
    sandbox.egg("two", "1.0");
    rich(sandbox);
}

fn two_in_a_cache(sandbox: &Sandbox) {
    two_eggs(sandbox);
    sandbox.ok("add eggs");
}

fn two_in_a_cache_and_two_not(sandbox: &Sandbox) {
    two_in_a_cache(sandbox);
    sandbox.egg("one", "1.0");
    sandbox.egg_with("three", "1.0", &[("large.bin", &noise(280_000))]);
}

fn three_in_a_cache(sandbox: &Sandbox) {
    sandbox.zipped_egg("zipped", "1.0");
    two_in_a_cache(sandbox);
}

fn another_build(sandbox: &Sandbox) {
    two_in_a_cache(sandbox);
    sandbox.other_build("two", "1.0");
}

fn eggs_and_another_build(sandbox: &Sandbox) {
    two_eggs(sandbox);
    sandbox.egg("one", "1.0");
    sandbox.other_build("two", "1.0");
}

fn nothing_is_used(sandbox: &Sandbox) {
    three_in_a_cache(sandbox);
    sandbox.sql("UPDATE eggs SET used_at = 1");
}

fn garbage_of_every_kind(sandbox: &Sandbox) {
    for name in ["one", "three"] {
        sandbox.egg(name, "1.0");
    }
    two_in_a_cache(sandbox);
    sandbox.sql("UPDATE eggs SET used_at = 1 WHERE name = 'one'");
    sandbox.sql("DELETE FROM eggs WHERE name = 'three'");
    write(&sandbox.path("cache/tmp/.eggcache-abandoned"), b"half of a bl");
    // Two buildouts whose folders are gone: one recently, the other long ago.
    for name in ["gone", "long-gone"] {
        let record = json!({
            "directory": sandbox.path(name),
            "identity": [0, 0],
            "machine": fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim(),
            "eggs_directory": sandbox.path(name),
            "python": "cp311",
            "buildout": null,
            "first_run": 0,
            "last_run": 0,
            "eggs": [],
        });
        let record = record.to_string();
        write(&sandbox.path(&format!("cache/roots/{name}.json")), record.as_bytes());
    }
    write(&sandbox.path("cache/roots/long-gone.gone"), b"1");
}

fn without_index(sandbox: &Sandbox) {
    three_in_a_cache(sandbox);
    fs::remove_file(sandbox.path("cache/index.sqlite")).unwrap();
}

fn with_a_damaged_index(sandbox: &Sandbox) {
    three_in_a_cache(sandbox);
    write(&sandbox.path("cache/index.sqlite"), &noise(40_000));
}

fn with_a_damaged_blob(sandbox: &Sandbox) {
    three_in_a_cache(sandbox);
    let blob = sandbox.blob("rich");
    let mut content = fs::read(&blob).unwrap();
    *content.last_mut().unwrap() ^= 1;
    chmod(&blob, 0o644);
    write(&blob, &content);
    chmod(&blob, 0o444);
}

/// A cache made by an older eggcache. Its eggs are copied from a second one, which may be migrated.
fn an_old_cache(sandbox: &Sandbox) {
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/format-1-schema-1");
    for name in ["cache", "another"] {
        let mut cp = Command::new("cp");
        cp.arg("-r").arg(&old).arg(sandbox.path(name));
        assert!(cp.status().unwrap().success());
        chmod(&sandbox.path(name), 0o700);
        for blob in files_in(&sandbox.path(name).join("blobs")) {
            chmod(&blob, 0o444);
        }
    }
    let mut materialize = sandbox.process(EGGCACHE);
    materialize.args(["--cache", "another", "materialize", "--into", "eggs", "--all", "--quiet"]);
    assert!(materialize.status().unwrap().success());
    fs::remove_dir_all(sandbox.path("another")).unwrap();
}

/// A cache with a remote that has an egg which the cache lacks.
fn with_an_egg_on_a_remote(sandbox: &Sandbox) {
    two_in_a_cache(sandbox);
    sandbox.egg("pulled", "1.0");
    sandbox.shell(
        "set -e; pool=\"$PWD/pool\"; \"$EGGCACHE\" keygen -q key; \
         for cache in cache builder; do \
           \"$EGGCACHE\" --cache $cache remote add team \"$pool\" --key key.pub --push -q; \
         done; \
         \"$EGGCACHE\" --cache builder add -q eggs/pulled-1.0-py3.11.egg; \
         EGGCACHE_SIGNING_KEY=key \"$EGGCACHE\" --cache builder push -q --all",
    );
}

/// The eggs that the wheels become are in `other`.
fn two_wheels(sandbox: &Sandbox) {
    two_in_a_cache(sandbox);
    write_python(sandbox);
    let [packaged, flat] = write_wheels(sandbox);
    sandbox.ok(&format!(
        "convert {} {} --into other --python {PYTHON}",
        packaged.display(),
        flat.display()
    ));
}

fn with_requests(sandbox: &Sandbox) {
    two_in_a_cache(sandbox);
    sandbox.egg("one", "1.0");
    let host = host();
    let requests = [
        json!({"op": "open", "cache": "cache", "host": host, "buildout": "5.1.0"}),
        json!({"op": "materialize", "digest": sandbox.digest("rich"), "into": "out"}),
        json!({
            "op": "store",
            "path": "eggs/one-1.0-py3.11.egg",
            "source_sha256": "",
            "variant": "",
        }),
        // Without this, the order of its calls and the later ones would differ between runs.
        json!({"op": "settle"}),
        json!({"op": "materialize", "digest": sandbox.digest("two"), "into": "out"}),
        json!({"op": "root", "directory": "eggs", "eggs_directory": "out", "eggs": [], "whole": false}),
        json!({"op": "close"}),
    ];
    write_requests(sandbox, "requests", &requests);
}

/// One wheel is converted ahead and one when its egg is wanted, and one is compared. The eggs that they become
/// are in `other`.
fn with_requests_to_convert(sandbox: &Sandbox) {
    two_in_a_cache(sandbox);
    let requests = Requests::prepared(sandbox);
    sandbox.shell(&format!("\"$EGGCACHE\" convert wheels/* --into other --python {PYTHON}"));
    let names = names_in(&sandbox.path("other"));
    let [flat, packaged] = &names[..] else { panic!("two eggs: {names:?}") };
    let settle = json!({"op": "settle"});
    write_requests(sandbox, "requests", &[Requests::open(), requests.prepare(sandbox, "flat")]);
    let after = [
        requests.convert("flat"),
        json!({"op": "spool", "into": "out"}),
        Requests::store(sandbox, "flat", flat),
        settle.clone(),
        requests.convert("packaged"),
        Requests::store(sandbox, "packaged", packaged),
        settle,
        requests.compare_other_pip("flat"),
        json!({"op": "close"}),
    ];
    write_requests(sandbox, "requests-after", &after);
}

fn write_requests(sandbox: &Sandbox, file: &str, requests: &[Value]) {
    let lines: Vec<String> = requests.iter().map(|request| format!("{request}\n")).collect();
    write(&sandbox.path(file), lines.concat().as_bytes());
}
