//! `eggcache list` and `eggcache show`: which eggs are in the cache, and the details of one.

use crate::support::{Sandbox, make_egg, text, write};

fn with_some() -> Sandbox {
    let sandbox = Sandbox::new();
    for (file_name, name) in [
        ("foo-1.0-py3.11.egg", "foo"),
        ("foo-1.0-py3.12-linux-x86_64.egg", "foo"),
        ("zope.foobar-1.0-py3.11.egg", "zope.foobar"),
        ("any-1.0.egg", "any"),
    ] {
        make_egg(&sandbox.path("eggs").join(file_name), name, "1.0", &[]);
    }
    sandbox.ok("add eggs");
    sandbox
}

fn file_names(sandbox: &Sandbox, line: &str) -> Vec<String> {
    let report = sandbox.json(line);
    let eggs = report["eggs"].as_array().unwrap();
    eggs.iter().map(|egg| text(&egg["file_name"]).to_owned()).collect()
}

#[test]
fn list_shows_matching_eggs() {
    let sandbox = with_some();
    for (query, count) in [
        ("", 4),
        ("foo", 3),
        ("foo==1.0", 2),
        ("foo==1", 2),
        ("foo==2", 0),
        ("Zope_FooBar", 1),
        ("py3.12", 1),
        ("any-1.0.egg", 1),
        ("nothing", 0),
        ("--python 3.11", 3),
        ("--python cp312 foo", 1),
        ("--python pp311", 1),
        ("--platform linux-x86_64", 4),
        ("--platform linux-aarch64", 3),
        ("--generation 5", 4),
        ("--generation 4", 0),
    ] {
        assert_eq!(file_names(&sandbox, &format!("list {query}")).len(), count, "{query}");
    }
    let digest = sandbox.digest("any");
    assert_eq!(file_names(&sandbox, &format!("list {}", &digest[..8])), ["any-1.0.egg"]);
}

#[test]
fn an_empty_list_is_not_an_error_and_prints_no_table() {
    let sandbox = Sandbox::new();
    let output = sandbox.ok("list");
    assert_eq!(output.stdout, "");
    output.says(&["No eggs in the cache"]);
    sandbox.ok("list nosuch").says(&["No egg matches \"nosuch\""]);
    sandbox.ok("list --python 3.11").says(&["No egg matches these options"]);
}

#[test]
fn show_prints_key_and_content() {
    let sandbox = Sandbox::new();
    let sha = "ab".repeat(32);
    sandbox.egg_with("foo", "1.0", &[("pkg/data.txt", b"12345")]);
    std::os::unix::fs::symlink("data.txt", sandbox.path("eggs/foo-1.0-py3.11.egg/pkg/link"))
        .unwrap();
    sandbox.ok(&format!("add eggs --environment el9 --source-sha256 {sha}"));
    let report = sandbox.json("show foo --files");
    for (field, value) in [
        ("name", "foo"),
        ("version", "1.0"),
        ("python", "cp311"),
        ("abi", ""),
        ("platform", ""),
        ("libc", ""),
        ("environment", "el9"),
        ("source_sha256", &sha),
        ("file_name", "foo-1.0-py3.11.egg"),
    ] {
        assert_eq!(report[field], value, "{field}");
    }
    assert_eq!(report["generation"], 5);
    assert_eq!(
        (&report["files"], &report["directories"], &report["symlinks"]),
        (&3.into(), &3.into(), &1.into())
    );
    let paths: Vec<&str> =
        report["entries"].as_array().unwrap().iter().map(|entry| text(&entry["path"])).collect();
    assert_eq!(
        paths,
        [
            "",
            "foo-1.0.dist-info",
            "foo-1.0.dist-info/METADATA",
            "foo.py",
            "pkg",
            "pkg/data.txt",
            "pkg/link"
        ]
    );
    let data = &report["entries"][5];
    assert_eq!(data["size"], 5);
    assert_eq!(data["digest"], blake3::hash(b"12345").to_string());
    assert_eq!(report["entries"][6]["target"], "data.txt");

    let output = sandbox.ok("show foo --files").stdout;
    for part in ["cp311", "el9", &sha, "pkg/data.txt", "pkg/link  -> data.txt", "3 files"] {
        assert!(output.contains(part), "{part}");
    }
    assert!(!sandbox.ok("show foo").stdout.contains("pkg/data.txt"));
    assert!(sandbox.json("show foo").get("entries").is_none());
}

#[test]
fn show_of_native_code_prints_abi_and_libc() {
    let sandbox = Sandbox::new();
    let sh = std::fs::read("/bin/sh").unwrap();
    let egg = sandbox.path("eggs/foo-1.0-py3.11-linux-x86_64.egg");
    make_egg(&egg, "foo", "1.0", &[("_foo.cpython-311-x86_64-linux-gnu.so", &sh)]);
    sandbox.ok("add eggs");
    let report = sandbox.json("show foo");
    assert_eq!(report["abi"], "cpython-311-x86_64-linux-gnu");
    assert_eq!(report["platform"], "linux-x86_64");
    assert!(text(&report["libc"]).contains(['g', 'm']), "{}", report["libc"]);
}

#[test]
fn show_of_an_unknown_egg_is_a_miss() {
    let sandbox = with_some();
    let output = sandbox.fails("show bar", 3);
    assert_eq!(output.stdout, "");
    output.says(&["the cache has no egg bar"]);
    assert_eq!(sandbox.fails("--json show bar", 3).stdout, "");
}

#[test]
fn show_of_an_ambiguous_egg_lists_the_candidates() {
    let sandbox = with_some();
    let output = sandbox.fails("show foo", 2);
    output.says(&["foo-1.0-py3.11.egg", "foo-1.0-py3.12-linux-x86_64.egg"]);
    assert_eq!(output.stdout, "");
    sandbox.ok("show foo --python 3.11");
}

#[test]
fn the_printed_digest_prefixes_of_candidates_are_unambiguous() {
    let sandbox = with_some();
    let message = sandbox.fails("show foo", 2).stderr;
    let mut shown = Vec::new();
    for line in message.lines().filter(|line| line.starts_with("  ")) {
        let digest = line.split_whitespace().next().unwrap();
        shown.push(sandbox.json(&format!("show {digest}"))["file_name"].clone());
    }
    assert_eq!(shown.len(), 2);
    assert_ne!(shown[0], shown[1]);
}

#[test]
fn an_egg_named_like_a_digest_is_found_by_its_name() {
    let sandbox = Sandbox::new();
    sandbox.egg("deadbeef", "1.0");
    sandbox.ok("add eggs");
    assert_eq!(sandbox.json("show deadbeef")["name"], "deadbeef");
}

#[test]
fn list_sums_up_the_listed_eggs() {
    let sandbox = with_some();
    let report = sandbox.json("list foo==1.0");
    let sum = |field: &str| -> u64 {
        let eggs = report["eggs"].as_array().unwrap();
        eggs.iter().map(|egg| egg[field].as_u64().unwrap()).sum()
    };
    assert_eq!(report["bytes"], sum("bytes"));
    assert_eq!(report["blob_bytes"], sum("blob_bytes"));
}

#[test]
fn a_file_of_a_user_in_a_cache_is_no_obstacle() {
    let sandbox = Sandbox::with_two();
    write(&sandbox.path("cache/notes.txt"), b"");
    sandbox.ok("list");
    sandbox.ok("show foo");
}

#[test]
fn a_project_whose_name_ends_in_egg_is_found_by_its_name() {
    let sandbox = Sandbox::new();
    sandbox.added("zc.recipe.egg", "6.0.0");
    for text in ["zc.recipe.egg", "zc.recipe.egg-6.0.0-py3.11.egg"] {
        assert_eq!(sandbox.json(&format!("show {text}"))["name"], "zc-recipe-egg");
    }
}
