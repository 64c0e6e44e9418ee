//! A temporary folder with a cache, eggs to add and a place to copy them to.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use assert_cmd::Command;
use assert_cmd::assert::Assert;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use serde_json::{Value, json};
use tempfile::TempDir;
use walkdir::WalkDir;

/// The user that is not root in tests.
const NOBODY: u32 = 65534;

pub const EGGCACHE: &str = env!("CARGO_BIN_EXE_eggcache");

/// A temporary folder. Commands run in it, so `cache`, `eggs` and `out` are enough as paths.
pub struct Sandbox {
    dir: TempDir,
}

impl Sandbox {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["eggs", "other"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self { dir }
    }

    /// A sandbox with two eggs in its cache.
    pub fn with_two() -> Self {
        let sandbox = Self::new();
        sandbox.egg("foo", "1.0");
        sandbox.egg("bar", "2.0");
        sandbox.ok("add eggs");
        sandbox
    }

    /// Removes the index with its log.
    pub fn lose_index(&self) {
        for name in names_in(&self.path("cache")) {
            if name.starts_with("index.sqlite") {
                fs::remove_file(self.path("cache").join(name)).unwrap();
            }
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A program in the environment of a user without settings, except for a signing key in the
    /// folder.
    pub fn process(&self, program: &str) -> Process {
        let mut process = Process::new(program);
        process
            .current_dir(self.dir.path())
            .env("HOME", self.dir.path())
            .env_remove("EGGCACHE_DIR")
            .env_remove("XDG_CACHE_HOME")
            .env_remove("EGGCACHE_SIGNING_KEY")
            .env_remove("EGGCACHE_LOG");
        if self.path("log").exists() {
            process.env("EGGCACHE_LOG", self.path("log"));
        }
        // After `as_user`, root works for that user.
        if self.dir.path().metadata().unwrap().uid() == NOBODY {
            process.env("SUDO_UID", NOBODY.to_string());
        }
        if self.path("key").exists() {
            process.env("EGGCACHE_SIGNING_KEY", self.path("key"));
        }
        process
    }

    /// The binary with the cache and the words of `line`.
    pub fn eggcache(&self, line: &str) -> Process {
        let mut process = self.process(EGGCACHE);
        process.args(["--cache", "cache"]).args(line.split_whitespace());
        process
    }

    /// The binary run by a user who is not root and owns everything here from now on; `None`, with
    /// a message, if only root can reach the binary.
    pub fn as_user(&self, line: &str) -> Option<Process> {
        let mut process = self.eggcache(line);
        if rustix::process::geteuid().is_root() {
            for entry in WalkDir::new(self.dir.path()) {
                lchown(entry.unwrap().path(), Some(NOBODY), Some(NOBODY)).unwrap();
            }
            process.uid(NOBODY).gid(NOBODY);
            let mut probe = self.process(EGGCACHE);
            if probe.uid(NOBODY).gid(NOBODY).arg("--version").output().is_err() {
                skip("only root can run the binary where it stands");
                return None;
            }
        }
        Some(process)
    }

    pub fn run(&self, line: &str) -> Assert {
        Command::from_std(self.eggcache(line)).assert()
    }

    /// Runs a command that must succeed.
    pub fn ok(&self, line: &str) -> Output {
        Output::of(&self.run(line).success())
    }

    /// Runs a command that must exit with `code`.
    pub fn fails(&self, line: &str, code: i32) -> Output {
        Output::of(&self.run(line).code(code))
    }

    /// Runs a command that must succeed, and returns its report.
    pub fn json(&self, line: &str) -> Value {
        self.ok(&format!("--json {line}")).json()
    }

    pub fn shell(&self, script: &str) -> Output {
        let mut shell = self.process("sh");
        shell.args(["-c", script]).env("EGGCACHE", EGGCACHE);
        Output::of(&Command::from_std(shell).assert().success())
    }

    pub fn egg(&self, name: &str, version: &str) -> PathBuf {
        self.egg_with(name, version, &[])
    }

    /// Makes an egg of buildout 5 in `eggs`, with these additional files.
    pub fn egg_with(&self, name: &str, version: &str, files: &[(&str, &[u8])]) -> PathBuf {
        let egg = self.path(&format!("eggs/{name}-{version}-py3.11.egg"));
        make_egg(&egg, name, version, files)
    }

    /// Makes another build of an egg, in the folder `other`.
    pub fn other_build(&self, name: &str, version: &str) -> PathBuf {
        let egg = self.path(&format!("other/{name}-{version}-py3.11.egg"));
        make_egg(&egg, name, version, &[("other.py", b"another = True\n")])
    }

    pub fn zipped_egg(&self, name: &str, version: &str) -> PathBuf {
        let unzipped = self.path(&format!("unzipped-{name}-{version}"));
        write(&unzipped.join("EGG-INFO/PKG-INFO"), metadata(name, version).as_bytes());
        write(&unzipped.join(format!("{name}/__init__.py")), b"x = 1\n");
        let egg = self.path(&format!("eggs/{name}-{version}-py3.11.egg"));
        let mut zip = self.process("python3");
        zip.args(["-m", "zipfile", "-c"]).arg(&egg).args(["EGG-INFO", name]);
        let status = zip.current_dir(unzipped).status().unwrap();
        assert!(status.success());
        egg
    }

    /// Adds one plain egg and returns the path of its blob.
    pub fn added(&self, name: &str, version: &str) -> PathBuf {
        let egg = self.egg(name, version);
        self.ok(&format!("add {}", egg.display()));
        self.blob(&format!("{name}=={version}"))
    }

    pub fn blob(&self, egg: &str) -> PathBuf {
        self.json(&format!("show {egg}"))["blob"].as_str().unwrap().into()
    }

    pub fn digest(&self, egg: &str) -> String {
        self.json(&format!("show {egg}"))["digest"].as_str().unwrap().into()
    }

    pub fn blobs(&self) -> Vec<PathBuf> {
        files_in(&self.path("cache/blobs"))
    }

    /// `name==version` of every egg in the index.
    pub fn listed(&self) -> Vec<String> {
        self.json("list")["eggs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|egg| format!("{}=={}", text(&egg["name"]), text(&egg["version"])))
            .collect()
    }

    /// Asserts that no command has left anything unfinished.
    #[track_caller]
    pub fn assert_tidy(&self) {
        assert_eq!(names_in(&self.path("cache/tmp")), [""; 0]);
        for name in names_in(&self.path("out")) {
            assert!(!name.starts_with(".eggcache-"), "{name}");
        }
        assert_eq!(self.blobs().len(), self.listed().len(), "blobs and rows");
    }

    pub fn sql(&self, statement: &str) {
        let index = rusqlite::Connection::open(self.path("cache/index.sqlite")).unwrap();
        index.execute_batch(statement).unwrap();
    }
}

impl Drop for Sandbox {
    /// Makes every directory removable.
    fn drop(&mut self) {
        for entry in WalkDir::new(self.dir.path()).into_iter().flatten() {
            if entry.file_type().is_dir() {
                let _ = fs::set_permissions(entry.path(), Permissions::from_mode(0o700));
            }
        }
    }
}

/// The output of a command.
#[derive(Debug)]
pub struct Output {
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    pub fn of(assert: &Assert) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let output = assert.get_output();
        Self { stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// Asserts that standard error contains all of these parts.
    #[track_caller]
    pub fn says(&self, parts: &[&str]) -> &Self {
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is not in:\n{}", self.stderr);
        }
        self
    }
}

pub fn metadata(name: &str, version: &str) -> String {
    format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
}

pub fn make_egg(egg: &Path, name: &str, version: &str, files: &[(&str, &[u8])]) -> PathBuf {
    let info = egg.join(format!("{name}-{version}.dist-info/METADATA"));
    write(&info, metadata(name, version).as_bytes());
    write(&egg.join(format!("{name}.py")), b"x = 1\n");
    for (path, content) in files {
        write(&egg.join(path), content);
    }
    egg.to_owned()
}

/// Writes a file and creates its parent folders.
pub fn write(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

pub fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Sets the mtime of a file, directory or symlink.
pub fn touch(path: &Path, seconds: i64, nanos: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Bytes that do not compress, the same in every run.
pub fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

/// One entry of a tree: everything that must be equal in a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub mode: u32,
    pub mtime: (i64, i64),
    pub content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    Directory,
    File { size: u64, digest: blake3::Hash },
    Symlink(PathBuf),
    Special,
}

/// Everything at and below a path, by relative path.
pub fn tree(root: &Path) -> BTreeMap<PathBuf, Seen> {
    WalkDir::new(root)
        .into_iter()
        .map(|entry| {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            let content = if metadata.is_dir() {
                Content::Directory
            } else if metadata.is_symlink() {
                Content::Symlink(fs::read_link(entry.path()).unwrap())
            } else if metadata.is_file() {
                let digest = blake3::hash(&fs::read(entry.path()).unwrap());
                Content::File { size: metadata.len(), digest }
            } else {
                Content::Special
            };
            let seen = Seen {
                mode: metadata.mode(),
                mtime: (metadata.mtime(), metadata.mtime_nsec()),
                content,
            };
            (entry.path().strip_prefix(root).unwrap().to_owned(), seen)
        })
        .collect()
}

/// Asserts that two trees are equal; the message names the first entry that differs.
#[track_caller]
pub fn assert_same_tree(left: &Path, right: &Path) {
    assert_same(&tree(left), &tree(right));
}

#[track_caller]
pub fn assert_same(left: &BTreeMap<PathBuf, Seen>, right: &BTreeMap<PathBuf, Seen>) {
    for (path, seen) in left {
        assert_eq!(Some(seen), right.get(path), "{}", path.display());
    }
    assert_eq!(left.len(), right.len());
}

/// As [`tree`], with the modes that an egg's entries get where this umask holds.
pub fn as_made_under(umask: &str, egg: &Path) -> BTreeMap<PathBuf, Seen> {
    let umask = u32::from_str_radix(umask, 8).unwrap();
    let mut egg = tree(egg);
    for seen in egg.values_mut() {
        let bits = match seen.content {
            Content::Symlink(_) => continue,
            Content::File { .. } if seen.mode & 0o100 == 0 => 0o666,
            _ => 0o777,
        };
        seen.mode = seen.mode & !0o7777 | bits & !umask;
    }
    egg
}

/// The umask of the tests and of the programs that they run.
pub fn umask() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.unwrap().trim().to_owned()
}

/// Every file below a folder; none if there is no such folder.
pub fn files_in(folder: &Path) -> Vec<PathBuf> {
    if !folder.exists() {
        return Vec::new();
    }
    let entries = WalkDir::new(folder).sort_by_file_name().into_iter().map(Result::unwrap);
    entries.filter(|entry| !entry.file_type().is_dir()).map(walkdir::DirEntry::into_path).collect()
}

/// The names in a folder, sorted; none if there is no such folder.
pub fn names_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let name = |name: OsString| name.to_string_lossy().into_owned();
    let mut names: Vec<String> = entries.map(|entry| name(entry.unwrap().file_name())).collect();
    names.sort();
    names
}

/// The ABI of the host for which bridges are opened.
pub const SOABI: &str = "cpython-311-x86_64-linux-gnu";

/// A host, as in a request to the bridge.
pub fn host() -> Value {
    json!({
        "implementation": "cp",
        "python": "3.11",
        "soabi": SOABI,
        "platform": "linux-x86_64",
        "libc": "glibc 2.99",
        "generation": 5,
        "environment": "",
    })
}

#[track_caller]
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// A small file system in memory, for tests that run as root.
pub struct Mount {
    at: PathBuf,
}

impl Mount {
    /// Mounts at `at`; `None`, with a message, if that is not allowed.
    pub fn new(at: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        if !rustix::process::geteuid().is_root() {
            skip("only root can mount a file system");
            return None;
        }
        let mut mount = Process::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "eggcache-test"]).arg(at);
        if !mount.status().is_ok_and(|status| status.success()) {
            skip("no file system can be mounted here");
            return None;
        }
        Some(Self { at: at.to_owned() })
    }

    /// Mounts a new file system of this kind at `at`, from an image beside it; `None`, with a
    /// message, if that is impossible here.
    pub fn of_kind(at: &Path, kind: &str) -> Option<Self> {
        Self::with_options(at, kind, &[])
    }

    /// As [`Mount::of_kind`], made with these options of `mkfs`.
    pub fn with_options(at: &Path, kind: &str, options: &[&str]) -> Option<Self> {
        /// The smallest size of XFS, in bytes; almost all of it is a hole.
        const SIZE: u64 = 320 << 20;
        fs::create_dir_all(at).unwrap();
        let image = at.with_extension(kind);
        fs::File::create(&image).unwrap().set_len(SIZE).unwrap();
        let mut mkfs = Process::new(format!("mkfs.{kind}"));
        if !mkfs
            .arg("-q")
            .args(options)
            .arg(&image)
            .output()
            .is_ok_and(|output| output.status.success())
        {
            skip(&format!("there is no mkfs.{kind}"));
            return None;
        }
        let mut mount = Process::new("mount");
        mount.args(["-o", "loop", "-t", kind]).arg(&image).arg(at);
        if !mount.output().is_ok_and(|output| output.status.success()) {
            skip(&format!("no {kind} can be mounted here"));
            return None;
        }
        Some(Self { at: at.to_owned() })
    }

    /// Mounts the folder `of` at `at` with FUSE, as sshfs does for a folder of another machine;
    /// `None`, with a message, if that is impossible here.
    pub fn of_fuse(at: &Path, of: &Path) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        fs::create_dir_all(of).unwrap();
        let mut mount = Process::new("bindfs");
        mount.arg(of).arg(at);
        if !mount.output().is_ok_and(|output| output.status.success()) {
            skip("there is no bindfs, or no FUSE");
            return None;
        }
        Some(Self { at: at.to_owned() })
    }

    pub fn make_read_only(&self) {
        let mut mount = Process::new("mount");
        mount.args(["-o", "remount,ro"]).arg(&self.at);
        assert!(mount.status().unwrap().success());
    }

    /// Fills all remaining space.
    pub fn fill(&self) -> PathBuf {
        let filler = self.at.join("filler");
        let mut file = fs::File::create(&filler).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        filler
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Process::new("umount").arg(&self.at).status();
    }
}

/// Reports on standard error that a test is skipped; the harness captures other output.
pub fn skip(why: &str) {
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    let _ = writeln!(io::stderr(), "SKIPPED {test}: {why}");
}
