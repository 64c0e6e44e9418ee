//! A cache that somebody else can change is not used, unless this user says so.

use std::fs;
use std::os::unix::fs::{chown, symlink};

use serde_json::json;
use walkdir::{DirEntry, WalkDir};

use crate::serve::{Server, opening};
use crate::support::{Sandbox, chmod, host, make_egg, write};
use crate::users::{
    ANNE, BOB, GROUP, as_user_of, finish, give, mode, run, with_cache_of_anne, with_shared_cache,
    with_users,
};

const COMMANDS: [&str; 6] =
    ["list", "show foo", "add eggs", "materialize --into out foo", "verify", "gc --dry-run"];

/// A sandbox with every file and folder that a cache can have.
fn with_all_parts() -> Sandbox {
    let sandbox = Sandbox::with_two();
    sandbox.ok("pin foo");
    sandbox.ok("materialize --into out foo");
    for folder in [
        "roots",
        "runs",
        "recall",
        "parity",
        "signatures",
        "variants",
        "gc",
        "quarantine",
        "copies",
        "withdrawals",
    ] {
        fs::create_dir_all(sandbox.path("cache").join(folder)).unwrap();
    }
    write(&sandbox.path("cache/remotes.json"), b"[]\n");
    write(&sandbox.path("cache/eggcache.toml"), b"[gc]\n");
    write(&sandbox.path("cache/arrivals.jsonl"), b"");
    sandbox
}

#[test]
fn a_cache_with_a_part_that_everybody_can_write_is_refused() {
    let sandbox = with_all_parts();
    let parts = [
        "",
        "blobs",
        "tmp",
        "quarantine",
        "pins",
        "roots",
        "runs",
        "copies",
        "recall",
        "parity",
        "signatures",
        "variants",
        "gc",
        "index.sqlite",
        "remotes.json",
        "eggcache.toml",
        "arrivals.jsonl",
        "withdrawals",
    ];
    for part in parts {
        let path = sandbox.path("cache").join(part);
        let before = mode(&path);
        for extra in [0o002, 0o1002] {
            chmod(&path, before | extra);
            let shown = path.display().to_string();
            let shown = shown.trim_end_matches('/');
            let sentence = format!("everybody can write to {shown} (owned by ");
            for line in COMMANDS {
                let output = sandbox.fails(line, 1);
                output.says(&["error: ", &sentence, &format!("mode {:04o})", before | extra)]);
                output.says(&["is not trusted", "--trust-cache"]);
                assert_eq!(output.stdout, "", "{part}: {line}");
            }
            sandbox.ok("--trust-cache list");
        }
        chmod(&path, before);
    }
    for line in COMMANDS {
        sandbox.ok(line);
    }
}

#[test]
fn logs_beside_the_index_that_everybody_can_write_are_refused() {
    for name in ["index.sqlite-wal", "index.sqlite-shm", "index.sqlite-journal"] {
        let sandbox = Sandbox::with_two();
        let path = sandbox.path("cache").join(name);
        write(&path, b"");
        chmod(&path, 0o666);
        sandbox.fails("list", 1).says(&["everybody can write to ", name]);
    }
}

#[test]
fn a_shard_that_everybody_can_write_adds_no_egg() {
    let sandbox = Sandbox::with_two();
    let shard = sandbox.blob("foo").parent().unwrap().to_owned();
    chmod(&shard, 0o777);
    sandbox.fails("reindex", 1).says(&["everybody can write to ", "is not trusted"]);
    sandbox.lose_index();
    for line in ["list", "gc", "add eggs"] {
        sandbox.fails(line, 1).says(&["everybody can write to ", "is not trusted"]);
    }
    chmod(&shard, 0o700);
    assert_eq!(sandbox.listed().len(), 2);
}

#[test]
fn a_user_can_trust_a_cache_in_the_environment() {
    let sandbox = Sandbox::with_two();
    chmod(&sandbox.path("cache"), 0o777);
    let trusting = |value: &std::ffi::OsStr, code| {
        let mut process = sandbox.eggcache("list");
        process.env("EGGCACHE_TRUST_CACHE", value);
        finish(process, code)
    };
    let cache = sandbox.path("cache");
    trusting(cache.as_os_str(), 0);
    let several = std::env::join_paths([sandbox.path("other"), cache.clone()]).unwrap();
    trusting(&several, 0);
    // Another spelling of the same folder.
    symlink("cache", sandbox.path("link")).unwrap();
    trusting(sandbox.path("link").as_os_str(), 0);
    for other in [sandbox.path("other"), sandbox.path(""), cache.join("blobs"), "cache".into()] {
        trusting(other.as_os_str(), 1).says(&["everybody can write to"]);
    }
    trusting(std::ffi::OsStr::new(""), 1);
}

#[test]
fn a_configuration_cannot_trust_a_cache() {
    let sandbox = Sandbox::with_two();
    chmod(&sandbox.path("cache"), 0o777);
    let (mut server, _) = Server::start(&sandbox);
    let mut request = opening(&sandbox, &host());
    for option in ["trust", "trust_cache", "trust-cache"] {
        request[option] = json!(true);
        let answer = server.ask(&request);
        assert!(answer["error"].is_string(), "{answer}");
    }
}

#[test]
fn a_buildout_is_refused_with_the_sentence_and_the_way_out() {
    let sandbox = Sandbox::with_two();
    chmod(&sandbox.path("cache"), 0o777);
    let (mut server, _) = Server::start(&sandbox);
    let answer = server.ask(&opening(&sandbox, &host()));
    let error = answer["error"].as_str().unwrap();
    assert!(error.starts_with("everybody can write to "), "{error}");
    assert!(error.contains("EGGCACHE_TRUST_CACHE"), "{error}");
    assert_eq!(answer["kind"], "failure");
}

#[test]
fn a_cache_below_a_folder_that_everybody_can_write_is_refused() {
    let sandbox = Sandbox::new();
    for folder in ["a", "a/b"] {
        fs::create_dir(sandbox.path(folder)).unwrap();
    }
    sandbox.egg("foo", "1.0");
    let line = |line: &str| {
        let mut process = sandbox.eggcache(line);
        process.args(["--cache", "a/b/cache"]);
        process
    };
    for folder in ["a", "a/b"] {
        chmod(&sandbox.path(folder), 0o777);
        let shown = format!("everybody can write to {} (", sandbox.path(folder).display());
        finish(line("add eggs"), 1).says(&[&shown]);
        assert!(!sandbox.path("a/b/cache").exists(), "it was made in {folder}");
        // As in /tmp, others cannot replace it.
        chmod(&sandbox.path(folder), 0o1777);
        finish(line("add eggs"), 0);
        chmod(&sandbox.path(folder), 0o777);
        finish(line("list"), 1).says(&[&shown]);
        chmod(&sandbox.path(folder), 0o755);
        finish(line("list"), 0);
        fs::remove_dir_all(sandbox.path("a/b/cache")).unwrap();
    }
}

#[test]
fn a_cache_below_a_folder_of_another_user_is_refused() {
    let Some(sandbox) = with_users() else { return };
    let folder = sandbox.path("folder");
    fs::create_dir(&folder).unwrap();
    fs::create_dir(folder.join("cache")).unwrap();
    symlink("folder/cache", sandbox.path("cache")).unwrap();
    give(&folder, ANNE, ANNE);
    run(&sandbox, ANNE, "add anne", 0);
    chown(&folder, Some(BOB), Some(BOB)).unwrap();
    let says = format!("{} belongs to another user (owned by user 65002", folder.display());
    run(&sandbox, ANNE, "list", 1).says(&[&says]);
    run(&sandbox, ANNE, "--trust-cache list", 0);
    chown(&folder, Some(0), Some(0)).unwrap();
    run(&sandbox, ANNE, "list", 0);
}

#[test]
fn a_cache_of_another_user_is_refused() {
    let Some(sandbox) = with_cache_of_anne() else { return };
    let private = run(&sandbox, BOB, "list", 1);
    private.says(&["belongs to another user", "user 65001 owns it: `eggcache init --shared"]);
    assert!(!private.stderr.contains("--trust-cache"), "of no use: {}", private.stderr);
    // As made by earlier versions: everybody can read it.
    for entry in WalkDir::new(sandbox.path("cache")) {
        let entry = entry.unwrap();
        chmod(entry.path(), if entry.file_type().is_dir() { 0o755 } else { 0o444 });
    }
    let cache = sandbox.path("cache");
    let says = format!("{} belongs to another user (owned by user 65001", cache.display());
    let lines = ["list", "show anne", "materialize --into bob/out anne", "verify", "gc --dry-run"];
    for line in lines {
        let output = run(&sandbox, BOB, line, 1);
        output.says(&[&says, "is not trusted", "--trust-cache"]);
        assert!(!output.stdout.contains("anne"), "{}", output.stdout);
        run(&sandbox, BOB, &format!("--trust-cache {line}"), if line == "verify" { 4 } else { 0 });
    }
    // A link to it is no better.
    let real = sandbox.path("real");
    fs::rename(&cache, &real).unwrap();
    symlink(&real, &cache).unwrap();
    let says = format!("{} belongs to another user (owned by user 65001", real.display());
    run(&sandbox, BOB, "list", 1).says(&[&says]);
    chown(&real, Some(BOB), Some(BOB)).unwrap();
    run(&sandbox, BOB, "list", 1).says(&["real/blobs belongs to another user"]);
    // All users trust root.
    give(&real, 0, 0);
    run(&sandbox, BOB, "list", 0);
}

#[test]
fn root_uses_the_cache_of_a_user_only_for_that_user() {
    let Some(sandbox) = with_cache_of_anne() else { return };
    let as_root = |sudo: Option<&str>, code| {
        let mut process = sandbox.eggcache("list");
        process.env_remove("SUDO_UID").envs(sudo.map(|user| ("SUDO_UID", user)));
        finish(process, code)
    };
    as_root(None, 1).says(&["belongs to another user", "run it as user 65001"]);
    as_root(Some("65002"), 1);
    as_root(Some(""), 1);
    as_root(Some("65001"), 0);
    // The variable means something to root only.
    chmod(&sandbox.path("cache"), 0o755);
    let mut process = as_user_of(&sandbox, BOB, &[], "022", "list");
    process.env("SUDO_UID", "65001");
    finish(process, 1);
}

#[test]
fn a_part_of_another_user_is_refused() {
    let Some(sandbox) = with_cache_of_anne() else { return };
    run(&sandbox, ANNE, "pin anne", 0);
    run(&sandbox, ANNE, "materialize --into anne/out anne", 0);
    write(&sandbox.path("cache/remotes.json"), b"[]\n");
    give(&sandbox.path("cache"), ANNE, ANNE);
    for part in ["blobs", "tmp", "pins", "copies", "index.sqlite", "remotes.json"] {
        let path = sandbox.path("cache").join(part);
        chown(&path, Some(BOB), None).unwrap();
        let says = format!("{} belongs to another user (owned by user 65002", path.display());
        run(&sandbox, ANNE, "list", 1).says(&[&says]);
        chown(&path, Some(ANNE), None).unwrap();
        run(&sandbox, ANNE, "list", 0);
    }
}

#[test]
fn a_link_in_place_of_a_part_is_refused() {
    let Some(sandbox) = with_cache_of_anne() else { return };
    for part in ["blobs", "tmp"] {
        let path = sandbox.path("cache").join(part);
        let aside = sandbox.path("anne").join(part);
        fs::rename(&path, &aside).unwrap();
        symlink(&aside, &path).unwrap();
        run(&sandbox, ANNE, "list", 1).says(&[&path.display().to_string()]);
        fs::remove_file(&path).unwrap();
        fs::rename(&aside, &path).unwrap();
    }
    run(&sandbox, ANNE, "list", 0);
}

#[test]
fn a_group_writes_a_cache_only_if_it_is_shared() {
    let Some(sandbox) = with_cache_of_anne() else { return };
    give(&sandbox.path("cache"), ANNE, GROUP);
    for part in ["", "blobs", "tmp", "index.sqlite"] {
        let path = sandbox.path("cache").join(part);
        let before = mode(&path);
        chmod(&path, before | 0o020);
        run(&sandbox, ANNE, "list", 1).says(&["the group 65000 can write to "]);
        chmod(&path, before);
    }
    // A group of one's own, as many systems have for each user.
    give(&sandbox.path("cache"), ANNE, ANNE);
    chmod(&sandbox.path("cache"), 0o770);
    run(&sandbox, ANNE, "list", 0);
}

#[test]
fn a_shared_cache_is_used_by_the_members_of_its_group() {
    let Some(sandbox) = with_shared_cache() else { return };
    run(&sandbox, BOB, "list", 0);
    run(&sandbox, BOB, "add bob", 0);
    // Readable by all, so that permissions are not the reason.
    chmod(&sandbox.path("cache"), 0o2775);
    chmod(&sandbox.path("cache/index.sqlite"), 0o664);
    let outsider = |line| as_user_of(&sandbox, 65_003, &[65_003], "022", line);
    finish(outsider("list"), 1).says(&["belongs to another user"]);
    chown(sandbox.path("cache"), Some(0), None).unwrap();
    finish(outsider("list"), 1).says(&["the group 65000 can write to "]);
    run(&sandbox, BOB, "list", 0);
    // Another group in it, and everybody.
    for (path, group, mode, says) in [
        ("cache/blobs", 65_009, 0o2770, "the group 65009 can write to "),
        ("cache/blobs", GROUP, 0o2777, "everybody can write to "),
        ("cache/index.sqlite", GROUP, 0o666, "everybody can write to "),
        ("cache", GROUP, 0o2777, "everybody can write to "),
    ] {
        chown(sandbox.path(path), None, Some(group)).unwrap();
        chmod(&sandbox.path(path), mode);
        run(&sandbox, BOB, "list", 1).says(&[says]);
        chown(sandbox.path(path), None, Some(GROUP)).unwrap();
        chmod(&sandbox.path(path), if path.ends_with("sqlite") { 0o660 } else { 0o2770 });
        run(&sandbox, BOB, "list", 0);
    }
}

#[test]
fn a_cache_that_looks_shared_in_a_sticky_folder_is_refused() {
    let Some(sandbox) = with_shared_cache() else { return };
    let sticky = sandbox.path("sticky");
    fs::create_dir(&sticky).unwrap();
    chmod(&sticky, 0o1777);
    fs::rename(sandbox.path("cache"), sticky.join("cache")).unwrap();
    symlink("sticky/cache", sandbox.path("cache")).unwrap();
    // Everybody in a large group can make one like it before anybody else does.
    let says = format!("everybody can write to {} (", sticky.display());
    run(&sandbox, BOB, "list", 1).says(&[&says]);
    run(&sandbox, ANNE, "list", 0);
}

#[test]
fn completion_reads_no_cache_that_others_can_write() {
    let sandbox = Sandbox::with_two();
    chmod(&sandbox.path("cache"), 0o777);
    let mut process = sandbox.process(crate::support::EGGCACHE);
    process
        .env("EGGCACHE_COMPLETE", "fish")
        .env("EGGCACHE_DIR", sandbox.path("cache"))
        .args(["--", "eggcache", "show", ""]);
    let shown = |process: std::process::Command| finish(process, 0).stdout;
    let before = shown(process);
    assert!(!before.contains("foo"), "{before}");
    chmod(&sandbox.path("cache"), 0o700);
    let mut process = sandbox.process(crate::support::EGGCACHE);
    process
        .env("EGGCACHE_COMPLETE", "fish")
        .env("EGGCACHE_DIR", sandbox.path("cache"))
        .args(["--", "eggcache", "show", ""]);
    assert!(shown(process).contains("foo"));
}

fn folders_below(path: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = WalkDir::new(path).min_depth(1).into_iter().map(Result::unwrap);
    entries.filter(|entry| entry.file_type().is_dir()).map(DirEntry::into_path).collect()
}

#[test]
fn an_egg_planted_in_an_open_cache_is_not_served() {
    let Some(sandbox) = with_cache_of_anne() else { return };
    chmod(&sandbox.path("cache"), 0o777);
    // Also the folders of blobs that exist: the planted one may belong in one of them.
    for folder in folders_below(&sandbox.path("cache")) {
        chmod(&folder, 0o777);
    }
    chmod(&sandbox.path("cache/index.sqlite"), 0o666);
    make_egg(&sandbox.path("bob/evil-1.0-py3.11.egg"), "evil", "1.0", &[]);
    give(&sandbox.path("bob"), BOB, BOB);
    run(&sandbox, BOB, "--trust-cache add bob", 0);
    run(&sandbox, ANNE, "materialize --into anne/out evil==1.0", 1);
    assert!(!sandbox.path("anne/out/evil-1.0-py3.11.egg").exists());
}

#[test]
fn nothing_changes_in_a_directory_that_is_refused() {
    let Some(sandbox) = with_users() else { return };
    let theirs = sandbox.path("bob/empty");
    fs::create_dir(&theirs).unwrap();
    give(&theirs, BOB, BOB);
    symlink("bob/empty", sandbox.path("cache")).unwrap();
    for line in ["init", "add anne", "gc", "pin foo"] {
        assert_eq!(sandbox.run(line).get_output().status.code(), Some(1), "{line}");
        assert_eq!(mode(&theirs), 0o755, "{line}");
        assert_eq!(theirs.read_dir().unwrap().count(), 0, "{line}");
    }
}

#[test]
fn gc_takes_no_ballast_from_a_cache_that_is_refused() {
    let sandbox = Sandbox::with_two();
    assert!(sandbox.path("cache/ballast").exists());
    chmod(&sandbox.path("cache"), 0o777);
    sandbox.fails("gc", 1).says(&["is not trusted"]);
    assert!(sandbox.path("cache/ballast").exists());
}

/// Sets an access control list: its tags, permissions and numbers.
fn set_list(path: &std::path::Path, kind: &str, user: u32) -> bool {
    let none = u32::MAX;
    let entries =
        [(1u16, 7u16, none), (2, 7, user), (4, 7, none), (0x10, 7, none), (0x20, 0, none)];
    let mut list = 2u32.to_le_bytes().to_vec();
    for (tag, allowed, number) in entries {
        list.extend([tag.to_le_bytes(), allowed.to_le_bytes()].concat());
        list.extend(number.to_le_bytes());
    }
    let name = format!("system.posix_acl_{kind}");
    let set = rustix::fs::setxattr(path, name, &list, rustix::fs::XattrFlags::empty());
    if set.is_err() {
        crate::support::skip("the file system has no access control lists");
    }
    set.is_ok()
}

#[test]
fn an_access_control_list_that_lets_others_write_is_refused() {
    let sandbox = with_all_parts();
    let me = rustix::process::geteuid().as_raw();
    for part in ["", "blobs", "index.sqlite"] {
        let path = sandbox.path("cache").join(part);
        if !set_list(&path, "access", BOB) {
            return;
        }
        sandbox
            .fails("list", 1)
            .says(&["an access control list lets others write to", "setfacl -b"]);
        set_list(&path, "access", me);
        sandbox.ok("list");
        rustix::fs::removexattr(&path, "system.posix_acl_access").unwrap();
    }
}

#[test]
fn a_list_for_new_entries_counts_in_a_shared_cache() {
    let Some(sandbox) = with_shared_cache() else { return };
    run(&sandbox, ANNE, "list", 0);
    if set_list(&sandbox.path("cache"), "default", 65_009) {
        run(&sandbox, ANNE, "list", 1).says(&["an access control list lets others write to"]);
    }
}
