//! Commands that other users run. Only root can be other users.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::Path;
use std::process::Command as Process;

use assert_cmd::Command;
use walkdir::WalkDir;

use crate::support::{EGGCACHE, Output, Sandbox, chmod, make_egg, skip};

/// A group that ANNE and BOB are in, and that is the group of neither by default.
pub const GROUP: u32 = 65_000;
pub const ANNE: u32 = 65_001;
pub const BOB: u32 = 65_002;

/// A sandbox in which both users can work: each has a folder of their name with an egg, and an empty
/// folder `NAME/home`. `None`, with a message, if users cannot be changed here.
pub fn with_users() -> Option<Sandbox> {
    let sandbox = Sandbox::new();
    if !rustix::process::geteuid().is_root() {
        skip("only root can be other users");
        return None;
    }
    chmod(&sandbox.path("."), 0o755);
    for (user, name) in [(ANNE, "anne"), (BOB, "bob")] {
        let egg = sandbox.path(&format!("{name}/{name}-1.0-py3.11.egg"));
        make_egg(&egg, name, "1.0", &[]);
        fs::create_dir(sandbox.path(&format!("{name}/home"))).unwrap();
        give(&sandbox.path(name), user, user);
    }
    let mut probe = as_user(&sandbox, ANNE, "077", "--version");
    if !probe.output().is_ok_and(|output| output.status.success()) {
        skip("only root can run the binary where it stands, or there is no setpriv");
        return None;
    }
    Some(sandbox)
}

/// As [`with_users`], with an empty folder `cache` of ANNE and the group.
pub fn with_group_folder() -> Option<Sandbox> {
    let sandbox = with_users()?;
    fs::create_dir(sandbox.path("cache")).unwrap();
    give(&sandbox.path("cache"), ANNE, GROUP);
    Some(sandbox)
}

/// As [`with_users`], with a cache of ANNE that has her egg.
pub fn with_cache_of_anne() -> Option<Sandbox> {
    let sandbox = with_users()?;
    fs::create_dir(sandbox.path("cache")).unwrap();
    give(&sandbox.path("cache"), ANNE, ANNE);
    run(&sandbox, ANNE, "add anne", 0);
    Some(sandbox)
}

/// As [`with_users`], with a cache that ANNE shares with the group, and that has her egg.
pub fn with_shared_cache() -> Option<Sandbox> {
    let sandbox = with_group_folder()?;
    run(&sandbox, ANNE, "init --shared", 0);
    run(&sandbox, ANNE, "add anne", 0);
    Some(sandbox)
}

/// Gives everything at and below a path to a user and a group.
pub fn give(path: &Path, user: u32, group: u32) {
    for entry in WalkDir::new(path) {
        lchown(entry.unwrap().path(), Some(user), Some(group)).unwrap();
    }
}

/// The binary run by a user with a umask; the user's own group differs from the one of the cache.
pub fn as_user(sandbox: &Sandbox, user: u32, umask: &str, line: &str) -> Process {
    as_user_of(sandbox, user, &[GROUP], umask, line)
}

/// As [`as_user`], for a user in these groups.
pub fn as_user_of(
    sandbox: &Sandbox,
    user: u32,
    groups: &[u32],
    umask: &str,
    line: &str,
) -> Process {
    let mut process = sandbox.process("setpriv");
    let script = format!("umask {umask}; exec \"$EGGCACHE\" --cache cache {line}");
    let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
    let groups = if groups.is_empty() {
        vec!["--clear-groups".to_owned()]
    } else {
        vec!["--groups".to_owned(), groups.join(",")]
    };
    let user = user.to_string();
    process
        .args(["--reuid", &user, "--regid", &user])
        .args(groups)
        .args(["sh", "-c", &script])
        .env("EGGCACHE", EGGCACHE);
    process
}

/// Runs a command as a user and asserts its exit code.
#[track_caller]
pub fn run(sandbox: &Sandbox, user: u32, line: &str, code: i32) -> Output {
    finish(as_user(sandbox, user, "022", line), code)
}

/// Runs a command and asserts its exit code.
#[track_caller]
pub fn finish(process: Process, code: i32) -> Output {
    Output::of(&Command::from_std(process).assert().code(code))
}

/// The permission bits of a path, with set-group-ID.
pub fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().permissions().mode() & 0o7777
}

/// Everything at and below a path that does not belong to this user.
pub fn not_of(user: u32, path: &Path) -> Vec<String> {
    WalkDir::new(path)
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| entry.metadata().unwrap().uid() != user)
        .map(|entry| entry.path().display().to_string())
        .collect()
}
