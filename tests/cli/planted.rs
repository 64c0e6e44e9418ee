//! Links, FIFOs, sockets, directories and endless files in place of the files and folders of a cache:
//! every command ends, needs little memory, and changes nothing outside the cache.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use assert_cmd::Command;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;

use crate::support::{EGGCACHE, Sandbox, Seen, chmod, host, names_in, tree, write};

/// A command that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(20);
/// The most address space of a command, in KiB.
const ADDRESS_SPACE: u32 = 2 << 20;

/// Every file and folder of a cache. `{blob}` is the blob of an egg, and `{shard}` its folder; the
/// other names in braces are the only file of a folder.
const PATHS: [&str; 36] = [
    "blobs",
    "blobs/{shard}",
    "blobs/{shard}/{blob}",
    "tmp",
    "tmp/.eggcache-old",
    "quarantine",
    "copies",
    "copies/{}",
    "roots",
    "roots/{}",
    "runs",
    "runs/{}",
    "pins",
    "pins/{}",
    "recall",
    "recall/{}",
    "parity",
    "parity/{}",
    "signatures",
    "signatures/{}",
    "variants",
    "variants/{}",
    "gc",
    "gc/last.json",
    "remotes.json",
    "arrivals.jsonl",
    "withdrawals",
    "withdrawals/{}",
    "eggcache.toml",
    "ballast",
    "readable",
    "CACHEDIR.TAG",
    "index.sqlite",
    "index.sqlite-wal",
    "index.sqlite-shm",
    "index.sqlite-journal",
];

/// Readers first: the later commands may move what is planted.
const COMMANDS: [&str; 15] = [
    "list",
    "show foo",
    "verify",
    "stats",
    "roots",
    "pins",
    "remote list",
    "materialize --into out --all",
    "serve",
    "verify --repair",
    "add more",
    "pin foo",
    "gc --max-age 1d",
    "init --shared",
    "reindex",
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Planted {
    LinkToFolder,
    LinkToFile,
    LinkToZeros,
    Fifo,
    Socket,
    Sparse,
    Folder,
}

impl Planted {
    fn plant(self, sandbox: &Sandbox, at: &Path) {
        let outside = sandbox.path("outside");
        match self {
            Self::LinkToFolder => symlink(outside.join("home"), at).unwrap(),
            Self::LinkToFile => symlink(outside.join("secret"), at).unwrap(),
            Self::LinkToZeros => symlink("/dev/zero", at).unwrap(),
            Self::Fifo => {
                mknodat(CWD, at, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
            }
            Self::Socket => {
                // The path of a socket has a short limit.
                let socket = sandbox.path("s");
                drop(UnixListener::bind(&socket).unwrap());
                fs::rename(socket, at).unwrap();
            }
            Self::Sparse => fs::File::create(at).unwrap().set_len(1 << 38).unwrap(),
            Self::Folder => write(&at.join("private/file"), b"mine"),
        }
    }
}

/// A cache that has every file of [`PATHS`], and files outside it that no command may change.
fn furnished() -> Sandbox {
    let sandbox = Sandbox::with_two();
    sandbox.ok("pin foo");
    sandbox.ok("remote add team https://eggs.example/");
    let more = sandbox.egg("more", "1.0");
    fs::rename(more, sandbox.path("other/more-1.0-py3.11.egg")).unwrap();
    fs::rename(sandbox.path("other"), sandbox.path("more")).unwrap();
    write(&sandbox.path("cache/eggcache.toml"), b"[gc]\nauto = true\n");
    write(&sandbox.path("cache/arrivals.jsonl"), b"");
    let statement = json!({
        "format": 1, "remote": "r", "number": 1, "signed_at": 0, "expires_at": 1, "withdrawn": [],
    });
    let statement = json!({"signed_by": [], "signatures": [], "statement": statement});
    let withdrawals = json!({"statements": [statement], "additions": []});
    write(&sandbox.path("cache/withdrawals/team.json"), withdrawals.to_string().as_bytes());
    let parity = json!({
        "python": "p", "buildout": "6", "code": "", "pip": "26", "eggcache": "0", "wheel": "w",
        "compared_at": 0,
    });
    write(&sandbox.path("cache/parity/x.json"), parity.to_string().as_bytes());
    write(&sandbox.path("cache/variants").join("a".repeat(64) + ".json"), b"{}");
    fs::create_dir_all(sandbox.path("app")).unwrap();
    serve(&sandbox);
    // A session fails if it cannot do these, which the assertions below would not notice.
    let folders = ["copies", "roots", "pins", "recall", "signatures"].map(|name| (name, 1));
    for (name, files) in folders.into_iter().chain([("gc", 2)]) {
        assert_eq!(names_in(&sandbox.path("cache").join(name)).len(), files, "{name}");
    }
    for name in ["ballast", "CACHEDIR.TAG"] {
        assert!(sandbox.path("cache").join(name).is_file(), "{name}");
    }
    let home = sandbox.path("outside/home");
    for (name, content) in [
        ("notes", "private"),
        (".eggcache-old", "private"),
        (".eggcache-folder/a", "private"),
        ("ab/notes", "private"),
        ("last.json", "{}"),
        ("x.json", "{\"dir\":\"/no/such\",\"boot\":\"\",\"since\":0}"),
        ("root.json", "null"),
    ] {
        write(&home.join(name), content.as_bytes());
        chmod(&home.join(name), 0o600);
        touch_long_ago(&home.join(name));
    }
    write(&sandbox.path("outside/secret"), b"");
    chmod(&sandbox.path("outside/secret"), 0o600);
    sandbox
}

fn touch_long_ago(path: &Path) {
    crate::support::touch(path, 1_000_000_000, 0);
}

/// One session of the bridge: an egg is found and copied, a root is registered, and the run ends.
fn serve(sandbox: &Sandbox) -> std::process::Output {
    let digest = |egg: &str| sandbox.path("digests").join(egg);
    if !digest("foo").exists() {
        write(&digest("foo"), sandbox.digest("foo").as_bytes());
    }
    let digest = fs::read_to_string(digest("foo")).unwrap();
    let into = sandbox.path("out");
    let requests = [
        json!({
            "op": "open", "cache": sandbox.path("cache"), "host": host(), "buildout": "5.0",
            "setuptools": "80", "eggs_directory": &into, "configuration": "x", "offline": false,
        }),
        json!({"op": "sign", "state": "0".repeat(64), "signature": "00"}),
        json!({"op": "find", "name": "foo", "variant": ""}),
        json!({"op": "materialize", "digest": digest, "into": &into}),
        json!({
            "op": "root", "directory": sandbox.path("app"), "eggs_directory": &into, "whole": true,
            "eggs": [into.join("foo-1.0-py3.11.egg")],
        }),
        json!({"op": "close"}),
    ];
    let lines: Vec<String> = requests.iter().map(|request| format!("{request}\n")).collect();
    bounded(sandbox, "serve").write_stdin(lines.concat()).output().unwrap()
}

/// A command with limits on its time and its memory.
fn bounded(sandbox: &Sandbox, line: &str) -> Command {
    let mut shell = sandbox.process("sh");
    let global = if line == "serve" { "" } else { "--cache cache" };
    let script = format!("ulimit -v {ADDRESS_SPACE}; exec \"$EGGCACHE\" {global} {line}");
    shell.args(["-c", &script]).env("EGGCACHE", EGGCACHE).env("RAYON_NUM_THREADS", "2");
    let mut command = Command::from_std(shell);
    command.timeout(LIMIT);
    command
}

/// A path of [`PATHS`] in a cache.
fn resolved(sandbox: &Sandbox, path: &str) -> PathBuf {
    let cache = sandbox.path("cache");
    let blob = fs::read_to_string(sandbox.path("digests/foo")).unwrap();
    if let Some(folder) = path.strip_suffix("/{}") {
        let name = names_in(&cache.join(folder)).remove(0);
        return cache.join(folder).join(name);
    }
    cache.join(path.replace("{shard}", &blob[..2]).replace("{blob}", &blob))
}

fn remove(path: &Path) {
    match path.symlink_metadata() {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

/// Runs every command with one path replaced, each on a copy of the furnished cache.
fn all_commands(planted: Planted) {
    let sandbox = furnished();
    fs::rename(sandbox.path("cache"), sandbox.path("furnished")).unwrap();
    let mut wrong = Vec::new();
    for path in PATHS {
        refresh(&sandbox);
        let at = resolved(&sandbox, path);
        for command in COMMANDS {
            if at.symlink_metadata().is_err() || !is_planted(planted, &at) {
                refresh(&sandbox);
                remove(&at);
                planted.plant(&sandbox, &at);
            }
            if let Err(what) = one_command(&sandbox, &at, command) {
                wrong.push(format!("{path}: {command}: {what}"));
                refresh(&sandbox);
            }
        }
    }
    assert!(wrong.is_empty(), "{planted:?} in place of\n{}", wrong.join("\n"));
}

/// A fresh copy of the furnished cache.
fn refresh(sandbox: &Sandbox) {
    remove(&sandbox.path("cache"));
    remove(&sandbox.path("out"));
    sandbox.shell("cp -a furnished cache");
    fs::create_dir_all(sandbox.path("cache/quarantine")).unwrap();
}

fn is_planted(planted: Planted, at: &Path) -> bool {
    let Ok(found) = at.symlink_metadata() else { return false };
    match planted {
        Planted::LinkToFolder | Planted::LinkToFile | Planted::LinkToZeros => found.is_symlink(),
        Planted::Sparse => found.len() == 1 << 38,
        Planted::Folder => at.join("private/file").exists(),
        Planted::Fifo | Planted::Socket => !found.is_file() && !found.is_dir(),
    }
}

/// Runs a command, which must end by itself, change nothing outside, and name the path if it fails.
fn one_command(sandbox: &Sandbox, at: &Path, command: &str) -> Result<(), String> {
    let before = outside(sandbox);
    let output = match command {
        "serve" => serve(sandbox),
        command => bounded(sandbox, command).output().unwrap(),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (said, shown) = (text(&output.stderr), text(&output.stdout));
    let code = output.status.code();
    if code.is_none_or(|code| code >= 100) {
        return Err(format!("{}: {said}", output.status));
    }
    if outside(sandbox) != before {
        return Err("files outside have changed".into());
    }
    let name = at.file_name().unwrap().to_str().unwrap();
    // A log that a writer seems to have left is named by what it belongs to.
    let is_log = name.starts_with("index.sqlite-") && said.contains("its index");
    if code != Some(0) && !is_log && !said.contains(name) && !shown.contains(name) {
        return Err(format!("its name is missing: {said}{shown}"));
    }
    Ok(())
}

/// Everything outside the cache with its inode, so that a file that is replaced is seen, too.
fn outside(sandbox: &Sandbox) -> BTreeMap<PathBuf, (Seen, u64)> {
    let folder = sandbox.path("outside");
    let inode = |path: &Path| folder.join(path).symlink_metadata().unwrap().ino();
    tree(&folder).into_iter().map(|(path, seen)| (path.clone(), (seen, inode(&path)))).collect()
}

#[test]
fn a_link_to_a_folder_in_place_of_any_path_is_not_followed() {
    all_commands(Planted::LinkToFolder);
}

#[test]
fn a_link_to_a_file_in_place_of_any_path_is_not_followed() {
    all_commands(Planted::LinkToFile);
}

#[test]
fn a_link_to_endless_zeros_in_place_of_any_path_is_not_read() {
    all_commands(Planted::LinkToZeros);
}

#[test]
fn a_fifo_in_place_of_any_path_is_not_waited_for() {
    all_commands(Planted::Fifo);
}

#[test]
fn a_socket_in_place_of_any_path_is_not_waited_for() {
    all_commands(Planted::Socket);
}

#[test]
fn a_huge_file_in_place_of_any_path_is_not_read_into_memory() {
    all_commands(Planted::Sparse);
}

#[test]
fn a_folder_in_place_of_any_path_keeps_its_files() {
    all_commands(Planted::Folder);
}

/// A private file outside, perhaps with the content of a blob, that has a second name in its place.
fn linked_blob(is_blob: bool) -> Sandbox {
    let sandbox = furnished();
    let blob = resolved(&sandbox, "blobs/{shard}/{blob}");
    let content = if is_blob { fs::read(&blob).unwrap() } else { b"private".to_vec() };
    write(&sandbox.path("outside/private"), &content);
    chmod(&sandbox.path("outside/private"), 0o600);
    remove(&blob);
    fs::hard_link(sandbox.path("outside/private"), blob).unwrap();
    sandbox
}

#[test]
fn a_private_file_with_a_second_name_among_the_blobs_keeps_its_mode() {
    for is_blob in [false, true] {
        let sandbox = linked_blob(is_blob);
        let before = outside(&sandbox);
        for command in ["verify --repair", "init --shared", "gc", "verify --repair"] {
            let output = bounded(&sandbox, command).output().unwrap();
            assert!(output.status.code().is_some(), "{command}: {output:?}");
            assert_eq!(outside(&sandbox), before, "{command}");
        }
    }
}
