//! A pool that a team shares: a folder as remote, filled from one cache and read by another.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::Value;

use crate::support::{EGGCACHE, Output, Sandbox, files_in, names_in, touch};

pub const DAY: i64 = 86_400;

pub struct Pool {
    pub sandbox: Sandbox,
}

impl Pool {
    /// An empty pool with the signing key `key`. The cache `cache` pushes to it, `reader` reads it.
    pub fn empty() -> Self {
        let pool = Self { sandbox: Sandbox::new() };
        pool.of("cache", "keygen key");
        for cache in ["cache", "reader"] {
            pool.of(cache, &format!("remote add team {} --key key.pub --push", pool.url()));
        }
        pool
    }

    /// A pool with two eggs.
    pub fn with_two() -> Self {
        let pool = Self::empty();
        pool.sandbox.egg("foo", "1.0");
        pool.sandbox.egg("bar", "2.0");
        pool.fill();
        pool
    }

    /// Adds all eggs to the cache, and pushes them.
    pub fn fill(&self) {
        self.ok("add eggs");
        self.ok("push --all");
    }

    fn url(&self) -> String {
        self.sandbox.path("pool").display().to_string()
    }

    /// Runs a command with a cache and a signing key, and expects this exit code.
    pub fn run(&self, cache: &str, key: &str, line: &str, code: i32) -> Output {
        let mut process = self.sandbox.process(EGGCACHE);
        process.args(["--cache", cache]).args(line.split_whitespace());
        process.env("EGGCACHE_SIGNING_KEY", key);
        // For a pool that is an S3 store.
        process.env("AWS_ACCESS_KEY_ID", "id").env("AWS_SECRET_ACCESS_KEY", "secret");
        Output::of(&Command::from_std(process).assert().code(code))
    }

    /// Runs a command with a cache; it must succeed.
    pub fn of(&self, cache: &str, line: &str) -> Output {
        self.run(cache, "key", line, 0)
    }

    pub fn ok(&self, line: &str) -> Output {
        self.of("cache", line)
    }

    pub fn json(&self, line: &str) -> Value {
        self.ok(&format!("--json {line}")).json()
    }

    /// The names of all objects in the pool, without its lock.
    pub fn objects(&self) -> Vec<String> {
        let pool = self.sandbox.path("pool");
        let name = |path: PathBuf| path.strip_prefix(&pool).unwrap().display().to_string();
        let mut names: Vec<String> = files_in(&pool.join("v1")).into_iter().map(name).collect();
        names.sort();
        names
    }

    /// The only object in a folder whose content contains `part`.
    pub fn object(&self, folder: &str, part: &str) -> PathBuf {
        let files = files_in(&self.sandbox.path("pool/v1").join(folder));
        let has =
            |path: &&PathBuf| String::from_utf8_lossy(&fs::read(path).unwrap()).contains(part);
        let [found] = &files.iter().filter(has).collect::<Vec<_>>()[..] else {
            panic!("one of {files:?} with {part}")
        };
        PathBuf::clone(found)
    }

    /// The blob of an egg, found through its entry.
    pub fn blob(&self, project: &str, part: &str) -> PathBuf {
        let entry = entry_text(&self.object(&format!("entries/{project}"), part));
        let entry: Value = serde_json::from_str(&entry).unwrap();
        let digest = entry["blob"].as_str().unwrap();
        self.sandbox.path("pool/v1/blobs").join(&digest[..2]).join(digest)
    }

    /// Writes the set of a configuration with the lines of these entries.
    pub fn write_set(&self, entries: &[PathBuf]) -> PathBuf {
        let path = self.sandbox.path("pool/v1/sets").join("5e".repeat(32));
        let lines: Vec<Vec<u8>> = entries.iter().map(|path| fs::read(path).unwrap()).collect();
        crate::support::write(&path, &lines.concat());
        path
    }

    /// Makes everything in a folder of the pool this old.
    pub fn age(&self, folder: &str, seconds: i64) {
        for path in files_in(&self.sandbox.path(folder)) {
            age(&path, seconds);
        }
    }

    /// The problems that `remote verify` finds, each with its kind.
    pub fn problems(&self, options: &str) -> Vec<(String, String)> {
        let line = format!("--json remote verify team {options}");
        let mut process = self.sandbox.eggcache(&line);
        let report: Value = serde_json::from_slice(&process.output().unwrap().stdout).unwrap();
        let problems = report["problems"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        problems.map(|it| (text(&it["kind"]), text(&it["what"]))).collect()
    }

    /// Everything in the pool with its bytes.
    pub fn content(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let files = files_in(&self.sandbox.path("pool"));
        files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }

    /// The names of the eggs in a folder.
    pub fn eggs(&self, folder: &str) -> Vec<String> {
        names_in(&self.sandbox.path(folder))
            .into_iter()
            .filter(|name| name.ends_with(".egg"))
            .collect()
    }
}

/// The text of a signed entry.
pub fn entry_text(path: &Path) -> String {
    let line: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    line["entry"].as_str().unwrap().to_owned()
}

/// Makes a file this old.
pub fn age(path: &Path, seconds: i64) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    touch(path, i64::try_from(now.as_secs()).unwrap() - seconds, 0);
}
