//! Properties of files that others may have written: of a cache, and of an archive.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use eggcache::internals::{Environment, ServeOptions, serve};
use eggcache::progress::Silent;
use eggcache::query::Narrow;
use eggcache::{Cache, Trust, add, bundle, list, pins, roots, stats, verify};
use tempfile::TempDir;

use crate::forge;

/// A folder in memory if there is such a file system, so that the disk does not limit the speed.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::tempdir_in(parent).unwrap()
}

/// A cache in `dir` with the egg x 1.0.
fn cache(dir: &Path) -> PathBuf {
    let egg = dir.join("x-1.0-py3.11.egg");
    fs::write(
        &egg,
        forge::zip(&[forge::Member {
            name: b"EGG-INFO/PKG-INFO",
            content: b"Name: x\nVersion: 1.0\n",
        }]),
    )
    .unwrap();
    let root = dir.join("cache");
    let mut cache = Cache::open(&root).unwrap();
    let report = add::add(&mut cache, &[egg], &add::Options::default(), &Silent).unwrap();
    assert_eq!(report.refused().count(), 0);
    root
}

/// Files of a cache that the input can replace; its first byte chooses one.
const FILES: [&str; 8] = [
    "index.sqlite",
    "index.sqlite-wal",
    "eggcache.toml",
    "remotes.json",
    "roots/00000000000000000000000000000000.json",
    "pins/00000000000000000000000000000000.json",
    "copies/00000000000000000000000000000000.json",
    "CACHEDIR.TAG",
];

/// A file of a cache. Accepted if every report about the cache can be made, and it has the egg.
pub fn cache_file(input: &[u8]) -> bool {
    let Some((choice, content)) = input.split_first() else { return false };
    let dir = folder();
    let root = cache(dir.path());
    let path = root.join(FILES[usize::from(*choice) % FILES.len()]);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    let before = names(dir.path());
    let found = report(&root);
    assert_eq!(names(dir.path()), before, "nothing outside the cache changes");
    found.unwrap_or(false)
}

fn report(root: &Path) -> eggcache::Result<bool> {
    let cache = Cache::open(root)?;
    let is_listed = !list::list(&cache, None, &Narrow::default())?.eggs.is_empty();
    roots::roots(&cache, None)?;
    pins::pins(&cache, &pins::Options::List)?;
    stats::stats(&cache, &stats::Options::default())?;
    verify::verify(root, false, &Trust::default(), &Silent)?;
    Ok(is_listed)
}

/// The names in a folder.
fn names(dir: &Path) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort_unstable();
    names
}

/// Lines of the protocol, in which `@` is a folder with the cache `cache`. Accepted if one is answered
/// with something other than an error.
pub fn requests(input: &[u8]) -> bool {
    // No path may lead out of the folder.
    let is_inside = |byte: &u8| !matches!(byte, b'/' | b'\\' | b'.');
    if !input.iter().all(is_inside) {
        return false;
    }
    stay();
    let dir = folder();
    cache(dir.path());
    let lines = String::from_utf8_lossy(input).replace('@', &format!("{}/", dir.path().display()));
    let mut answers = Vec::new();
    let options = ServeOptions {
        environment: Environment::default(),
        trust: Trust::default(),
        warning: None,
        hint: |_, _| None,
        on_background: || (),
        directory: None,
        on_worker_start: || (),
    };
    serve(lines.as_bytes(), &mut answers, options).unwrap();
    let answers: Vec<serde_json::Value> = String::from_utf8(answers)
        .unwrap()
        .lines()
        .filter(|line| *line != "{\"busy\":true}")
        .map(|it| it.parse().unwrap())
        .collect();
    let requests = lines.as_bytes().split_inclusive(|&byte| byte == b'\n').count();
    assert_eq!(answers.len(), requests + 1, "a greeting, and one answer for each line");
    answers[1..].iter().any(|answer| answer.get("error").is_none())
}

/// Makes relative paths lead to a folder of this process.
fn stay() {
    static HOME: OnceLock<TempDir> = OnceLock::new();
    HOME.get_or_init(|| {
        let home = folder();
        std::env::set_current_dir(home.path()).unwrap();
        home
    });
}

/// A bundle, uncompressed if its first byte is `t`, or else compressed by zstd. Accepted if there is no
/// problem.
pub fn archive(input: &[u8]) -> bool {
    let Some((how, content)) = input.split_first() else { return false };
    let dir = folder();
    let path = dir.path().join("app.tar");
    let compressed;
    let bytes = if *how == b't' {
        content
    } else {
        compressed = zstd::encode_all(content, 1).unwrap();
        &compressed
    };
    fs::write(&path, bytes).unwrap();
    let verified = bundle::verify(&path, &Silent).unwrap();
    assert_eq!(names(dir.path()), [path]);
    verified.problems.is_empty()
}
