//! Root uses the cache of a user, and a part of a cache that cannot be written.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::serve::{Server, opening, opening_with};
use crate::support::{Sandbox, chmod, host, make_egg, names_in, write};
use crate::users::{
    ANNE, BOB, GROUP, as_user, finish, give, not_of, run, with_cache_of_anne, with_shared_cache,
};

/// A command of root for the user that called sudo.
fn sudo(sandbox: &Sandbox, line: &str) -> std::process::Command {
    let mut process = sandbox.eggcache(line);
    process.env("SUDO_UID", ANNE.to_string());
    process
}

#[test]
fn root_leaves_nothing_of_its_own_in_the_cache_of_a_user() {
    let Some(sandbox) = with_cache_of_anne() else { return };
    for n in 0..20 {
        sandbox.egg(&format!("egg{n}"), "1.0");
    }
    fs::create_dir(sandbox.path("other/empty")).unwrap();
    let cache = sandbox.path("cache");
    for line in [
        "add eggs",
        "pin egg1",
        "materialize --into out egg1",
        "remote add team https://eggs.example/",
        "verify --repair",
        "gc --max-age 1y",
        "reindex",
        "list",
    ] {
        finish(sudo(&sandbox, line), 0);
        assert_eq!(not_of(ANNE, &cache), [""; 0], "{line}");
        assert!(not_of_group(ANNE, &cache).is_empty(), "{line}");
    }
    for line in ["add anne --replace", "pin egg2", "unpin egg1", "gc --max-size 1B", "list"] {
        run(&sandbox, ANNE, line, 0);
    }
    assert_eq!(sandbox.blobs().len(), 1, "all but the pinned egg are gone");
}

fn not_of_group(group: u32, path: &Path) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(path).into_iter().map(Result::unwrap);
    let others = entries.filter(|entry| entry.metadata().unwrap().gid() != group);
    others.map(walkdir::DirEntry::into_path).collect()
}

#[test]
fn root_makes_a_lost_index_for_its_owner() {
    let Some(sandbox) = with_cache_of_anne() else { return };
    sandbox.lose_index();
    finish(sudo(&sandbox, "list"), 0);
    assert_eq!(not_of(ANNE, &sandbox.path("cache")), [""; 0]);
    run(&sandbox, ANNE, "add anne", 0);
}

#[test]
fn a_log_that_root_leaves_behind_belongs_to_the_owner() {
    let Some(sandbox) = with_cache_of_anne() else { return };
    let (mut server, _) = Server::start_by(sudo(&sandbox, "serve"));
    let answer = server.ask(&opening(&sandbox, &host()));
    assert_eq!(answer["read_only"], false, "{answer}");
    server.find("anne");
    let names = names_in(&sandbox.path("cache"));
    assert!(names.contains(&"index.sqlite-wal".to_owned()), "{names:?}");
    server.kill();
    assert_eq!(not_of(ANNE, &sandbox.path("cache")), [""; 0]);
    run(&sandbox, ANNE, "add anne --replace", 0);
}

#[test]
fn a_buildout_of_root_leaves_nothing_of_its_own() {
    let Some(sandbox) = with_cache_of_anne() else { return };
    write(&sandbox.path("cache/eggcache.toml"), b"[gc]\nauto = true\n");
    give(&sandbox.path("cache"), ANNE, ANNE);
    let egg = sandbox.egg("foo", "1.0");
    let (mut server, _) = Server::start_by(sudo(&sandbox, "serve"));
    server.ask(&opening_with(&sandbox, "configuration", Path::new("some pins")));
    server.store(&egg);
    let anne = server.find("anne")[0]["digest"].as_str().unwrap().to_owned();
    server.materialize(&sandbox, &anne);
    server.register(&sandbox, &["anne-1.0-py3.11.egg"]);
    server.close_with(&json!({}));
    for folder in ["copies", "roots", "recall", "gc"] {
        assert_ne!(names_in(&sandbox.path("cache").join(folder)), [""; 0], "{folder}");
    }
    assert_eq!(not_of(ANNE, &sandbox.path("cache")), [""; 0]);
}

#[test]
fn root_keeps_the_group_of_a_shared_cache() {
    let Some(sandbox) = with_shared_cache() else { return };
    sandbox.egg("foo", "1.0");
    for line in ["add eggs", "pin foo", "materialize --into out foo", "gc"] {
        finish(sudo(&sandbox, line), 0);
        assert!(not_of_group(GROUP, &sandbox.path("cache")).is_empty(), "{line}");
    }
    run(&sandbox, BOB, "unpin foo", 0);
    run(&sandbox, BOB, "gc --max-size 1B", 0);
}

/// A cache of ANNE in which one folder, with one egg of `eggs`, belongs to root; returns the file names
/// of this egg and of the others.
fn with_folder_of_root() -> Option<(Sandbox, String, Vec<String>)> {
    let sandbox = with_cache_of_anne()?;
    let file_name = |n: usize| format!("egg{n}-1.0-py3.11.egg");
    for n in 0..6 {
        let egg = sandbox.path("eggs").join(file_name(n));
        make_egg(&egg, &format!("egg{n}"), "1.0", &[]);
    }
    give(&sandbox.path("eggs"), ANNE, ANNE);
    run(&sandbox, ANNE, "add eggs", 0);
    let folder_of = |n: usize| {
        let shown = run(&sandbox, ANNE, &format!("--json show egg{n}"), 0).json();
        PathBuf::from(shown["blob"].as_str().unwrap()).parent().unwrap().to_owned()
    };
    let is_alone = |n: &usize| fs::read_dir(folder_of(*n)).unwrap().count() == 1;
    let locked = (0..6).find(is_alone).unwrap();
    let folder = folder_of(locked);
    chown(&folder, Some(0), Some(0)).unwrap();
    chmod(&folder, 0o755);
    let others = (0..6).filter(|n| *n != locked).map(file_name).collect();
    Some((sandbox, file_name(locked), others))
}

/// The names of the eggs that ANNE sees.
fn listed(sandbox: &Sandbox) -> String {
    run(sandbox, ANNE, "list", 0).stdout
}

/// Removes the egg of the folder that belongs to root, and its row.
fn lose_locked_egg(sandbox: &Sandbox) {
    let owner = |blob: &PathBuf| blob.parent().unwrap().metadata().unwrap().uid();
    let blob = sandbox.blobs().into_iter().find(|blob| owner(blob) == 0);
    fs::remove_file(blob.unwrap()).unwrap();
    run(sandbox, ANNE, "verify --repair", 4);
}

#[test]
fn a_folder_that_cannot_be_written_refuses_its_eggs_alone() {
    let Some((sandbox, locked, others)) = with_folder_of_root() else { return };
    let output = run(&sandbox, ANNE, "add --replace eggs", 1);
    output.says(&[&locked, "permission denied (owned by user 0 and group 0, mode 0755)"]);
    output.says(&["5 eggs stored"]);
    for other in &others {
        assert!(!output.stderr.contains(other.as_str()), "{}", output.stderr);
    }
    assert!(listed(&sandbox).contains(&locked[..4]), "the egg that was there stays");
    run(&sandbox, ANNE, "materialize --into anne/out --all", 0);
}

#[test]
fn an_egg_whose_folder_cannot_be_written_is_not_added_and_others_are() {
    let Some((sandbox, locked, others)) = with_folder_of_root() else { return };
    lose_locked_egg(&sandbox);
    run(&sandbox, ANNE, "add eggs", 1).says(&[&locked, "permission denied"]);
    let listed = listed(&sandbox);
    assert!(!listed.contains(&locked[..4]), "{listed}");
    assert!(others.iter().all(|egg| listed.contains(&egg[..4])), "{listed}");
    run(&sandbox, ANNE, "gc", 0);
}

#[test]
fn gc_evicts_all_eggs_but_those_of_a_folder_that_cannot_be_written() {
    let Some((sandbox, locked, _)) = with_folder_of_root() else { return };
    let output = run(&sandbox, ANNE, "gc --max-size 1B", 0);
    output.says(&[&format!("{locked}: not evicted"), "owned by user 0"]);
    assert_eq!(sandbox.blobs().len(), 1);
    let name = &locked[..4];
    assert!(listed(&sandbox).contains(name));
    run(&sandbox, ANNE, &format!("materialize --into anne/out {name}"), 0);
}

#[test]
fn a_folder_that_cannot_be_read_hides_its_eggs_alone() {
    let Some((sandbox, locked, others)) = with_folder_of_root() else { return };
    let is_of_root = |blob: &PathBuf| blob.parent().unwrap().metadata().unwrap().uid() == 0;
    let blob = sandbox.blobs().into_iter().find(is_of_root).unwrap();
    chmod(blob.parent().unwrap(), 0o700);
    run(&sandbox, ANNE, "verify", 4).says(&[&locked, "Permission denied"]);
    run(&sandbox, ANNE, "add --replace eggs", 1).says(&[&locked, "5 eggs stored"]);
    run(&sandbox, ANNE, "materialize --into anne/out --all", 3).says(&[&locked]);
    assert_eq!(names_in(&sandbox.path("anne/out")).len(), others.len() + 1);
    run(&sandbox, ANNE, "reindex", 0);
    run(&sandbox, ANNE, "gc --max-size 1B", 0).says(&[&format!("{locked}: not evicted")]);
    assert_eq!(sandbox.blobs().len(), 1);
}

#[test]
fn gc_continues_if_records_cannot_be_written() {
    let Some(sandbox) = with_cache_of_anne() else { return };
    run(&sandbox, ANNE, "pin nothing", 0);
    for folder in ["roots", "pins", "copies", "recall"] {
        let folder = sandbox.path("cache").join(folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(".eggcache-left"), b"").unwrap();
        give(&folder, 0, 0);
        for entry in walkdir::WalkDir::new(&folder) {
            chmod(entry.unwrap().path(), 0o755);
        }
    }
    run(&sandbox, ANNE, "gc --max-size 1B", 0);
    assert_eq!(sandbox.blobs().len(), 0);
}

#[test]
fn a_buildout_stores_its_other_eggs_if_one_folder_cannot_be_written() {
    let Some((sandbox, locked, others)) = with_folder_of_root() else { return };
    run(&sandbox, ANNE, "gc --max-size 1B", 0);
    lose_locked_egg(&sandbox);
    let (mut server, _) = Server::start_by(as_user(&sandbox, ANNE, "022", "serve"));
    let opened = server.ask(&opening(&sandbox, &host()));
    assert_eq!(opened["read_only"], false, "{opened}");
    for egg in others.iter().chain([&locked]) {
        server.offer(&sandbox.path("eggs").join(egg));
    }
    let settled = server.settle();
    assert_eq!(settled.get("failure").and_then(|it| it.as_str()), None, "{settled}");
    let outcomes = settled["outcomes"].as_array().unwrap();
    for outcome in outcomes {
        let is_locked = outcome["path"].as_str().unwrap().ends_with(&locked);
        assert_eq!(outcome["outcome"], if is_locked { "refused" } else { "stored" }, "{outcome}");
    }
    assert_eq!(outcomes.len(), 6);
}

#[test]
fn verify_says_how_entries_of_other_users_return_to_the_owner() {
    let Some((sandbox, ..)) = with_folder_of_root() else { return };
    let cache = sandbox.path("cache");
    let output = run(&sandbox, ANNE, "verify", 4);
    output.says(&["1 entry of it cannot be written by all who use it: "]);
    output.says(&[
        "(owned by user 0 and group 0, mode 0755)",
        "hint: root can run `chown -R 65001:65001 ",
    ]);
    run(&sandbox, ANNE, "doctor", 4)
        .says(&["cannot be written by all who use it", "root can run `chown -R 65001:65001 "]);
    let report = finish(as_user(&sandbox, ANNE, "022", "--json verify"), 4).json();
    assert_eq!(report["problems"][0]["kind"], "owner", "{report}");
    assert_eq!(report["problems"].as_array().unwrap().len(), 1, "{report}");
    run(&sandbox, ANNE, "verify --repair", 4);
    give(&cache, ANNE, ANNE);
    run(&sandbox, ANNE, "verify", 0);
    run(&sandbox, ANNE, "gc --max-size 1B", 0);
}
