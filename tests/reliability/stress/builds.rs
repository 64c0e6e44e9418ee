//! The eggs that the workers add: several projects, two versions of each, three builds of each.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::support::{Sandbox, Seen, make_egg, metadata, noise, text, touch, tree, write};

pub const BUILDS: usize = 3;
const VERSIONS: [&str; 2] = ["1.0", "2.0"];

/// The files of one build of an egg.
pub type Tree = BTreeMap<PathBuf, Seen>;

/// An egg, regardless of its build.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub name: String,
    pub version: String,
    pub file_name: String,
    /// Whether the workers replace its builds. Otherwise the first build stays.
    pub moves: bool,
}

impl Key {
    /// Its name on the command line.
    pub fn query(&self) -> String {
        format!("{}=={}", self.name, self.version)
    }

    /// A path relative to the sandbox, where the commands run.
    pub fn path(&self, build: usize) -> String {
        format!("builds/{build}/{}", self.file_name)
    }
}

/// All builds.
pub struct Builds {
    pub keys: Vec<Key>,
    by_digest: BTreeMap<String, (Key, Tree)>,
}

impl Builds {
    /// Creates them in the folders `builds/0`, `builds/1` and so on.
    pub fn make(sandbox: &Sandbox) -> Self {
        let mut keys = Vec::new();
        for (number, version) in (0..5).flat_map(|number| VERSIONS.map(|it| (number, it))) {
            let (kind, moves) = if number < 3 { ("steady", false) } else { ("moving", true) };
            let name = format!("{kind}{number}");
            let file_name = format!("{name}-{version}-py3.11.egg");
            let key = Key { name, version: version.into(), file_name, moves };
            for build in 0..BUILDS {
                // One of them is zipped.
                let make = if number == 2 { make_zipped } else { make_directory };
                make(&sandbox.path(&key.path(build)), &key, build);
            }
            keys.push(key);
        }
        let by_digest = (0..BUILDS).flat_map(|build| digests(sandbox, &keys, build)).collect();
        Self { keys, by_digest }
    }

    /// Returns the egg with this digest; panics if the digest is not that of a known build.
    #[track_caller]
    pub fn key_of(&self, digest: &str) -> &Key {
        let known = self.by_digest.get(digest);
        &known.unwrap_or_else(|| panic!("{digest} is not a known build")).0
    }

    /// Asserts that the egg at `path` is exactly that build.
    #[track_caller]
    pub fn assert_is(&self, path: &Path, digest: &str) {
        let (key, expected) = &self.by_digest[digest];
        let found = tree(path);
        assert_eq!(path.file_name().unwrap(), key.file_name.as_str());
        for (entry, seen) in expected {
            let at = path.join(entry);
            assert_eq!(Some(seen), found.get(entry), "{} of {digest}", at.display());
        }
        assert_eq!(expected.len(), found.len(), "{}", path.display());
    }

    /// Asserts that everything with an egg's name in an eggs directory is a whole build of it.
    #[track_caller]
    pub fn assert_no_part(&self, eggs: &Path) {
        let Ok(entries) = fs::read_dir(eggs) else { return };
        let paths = entries.map(|entry| entry.unwrap().path());
        for path in paths.filter(|path| !is_temporary(path)) {
            assert!(self.is_some_build(&path), "{} is not a whole build", path.display());
        }
    }

    pub fn is_some_build(&self, path: &Path) -> bool {
        let found = tree(path);
        let mut builds = self.by_digest.values();
        builds.any(|(key, expected)| path.ends_with(&key.file_name) && *expected == found)
    }
}

pub fn is_temporary(path: &Path) -> bool {
    path.file_name().unwrap().as_encoded_bytes().starts_with(b".eggcache-")
}

/// Adds the builds of one folder to a scratch cache and returns their digests.
fn digests(sandbox: &Sandbox, keys: &[Key], build: usize) -> Vec<(String, (Key, Tree))> {
    let mut add = sandbox.process(crate::support::EGGCACHE);
    add.args(["--json", "--cache", &format!("scratch/{build}"), "add", &format!("builds/{build}")]);
    let report: serde_json::Value = serde_json::from_slice(&add.output().unwrap().stdout).unwrap();
    let added = report["eggs"].as_array().unwrap();
    let of = |added: &serde_json::Value| {
        assert_eq!(added["outcome"], "stored");
        let egg = &added["egg"];
        let key = keys.iter().find(|key| key.file_name == egg["file_name"]).unwrap().clone();
        let tree = tree(&sandbox.path(&key.path(build)));
        (text(&egg["digest"]).to_owned(), (key, tree))
    };
    added.iter().map(of).collect()
}

/// An egg with a file of several frames, an empty file, an empty directory and a symlink.
fn make_directory(egg: &Path, key: &Key, build: usize) {
    let content = content(key, build);
    let large = noise(270_000 + 1000 * build);
    let files: [(&str, &[u8]); 4] = [
        ("build", content.as_bytes()),
        ("data/large.bin", &large),
        ("data/repeated.txt", &content.as_bytes().repeat(500)),
        ("data/empty", b""),
    ];
    make_egg(egg, &key.name, &key.version, &files);
    fs::create_dir(egg.join("data/nothing")).unwrap();
    symlink("large.bin", egg.join("data/link")).unwrap();
    // Fixed times, so that a copy differs from a new file and one build from another.
    touch(&egg.join("data/large.bin"), 1_000_000_000, i64::try_from(build).unwrap());
    touch(&egg.join("data"), 1_100_000_000, 123_456_789);
}

fn make_zipped(egg: &Path, key: &Key, build: usize) {
    write(egg, b"");
    let mut zip = zip::ZipWriter::new(fs::File::create(egg).unwrap());
    let options = zip::write::SimpleFileOptions::default();
    let info = format!("{}-{}.dist-info/METADATA", key.name, key.version);
    for (path, text) in
        [(info, metadata(&key.name, &key.version)), ("build.py".into(), content(key, build))]
    {
        zip.start_file(path, options).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
    // The clock may give two builds the same time.
    touch(egg, 1_000_000_000 + i64::try_from(build).unwrap(), 0);
}

fn content(key: &Key, build: usize) -> String {
    format!("# build {build} of {}\n", key.query())
}
