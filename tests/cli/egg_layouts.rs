//! The layouts of eggs, and the spelling of their file names: which buildout is offered which egg.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::forge;
use crate::serve::{Server, host_with};
use crate::support::{Sandbox, host, make_egg, text, write};

/// The egg of the project `zc.recipe.egg` with this file name, as pip installs it.
fn recipe(sandbox: &Sandbox, folder: &str, spelling: &str) -> PathBuf {
    let egg = sandbox.path(&format!("{folder}/{spelling}-2.0.7-py3.11-linux-x86_64.egg"));
    make_egg(&egg, "zc.recipe.egg", "2.0.7", &[])
}

/// An egg of a wheel, as zc.buildout up to 4 unpacks it.
fn unpacked(egg: &Path, name: &str) -> PathBuf {
    let info = format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n");
    write(&egg.join("EGG-INFO/PKG-INFO"), info.as_bytes());
    egg.to_owned()
}

fn opening(sandbox: &Sandbox, generation: u8, buildout: &str) -> Value {
    let mut opening = crate::serve::opening(sandbox, &host_with("generation", generation));
    opening["buildout"] = buildout.into();
    opening
}

fn file_names(eggs: &[Value]) -> Vec<&str> {
    eggs.iter().map(|egg| text(&egg["file_name"])).collect()
}

#[test]
fn two_spellings_of_one_egg_are_both_kept() {
    let sandbox = Sandbox::new();
    let newer = recipe(&sandbox, "a", "zc_recipe_egg");
    let older = recipe(&sandbox, "b", "zc.recipe.egg");
    let mut server = Server::open(&sandbox, &host_with("generation", 3));
    assert_eq!(server.store(&newer)["outcome"], "stored");
    assert_eq!(server.store(&older)["outcome"], "stored");
    let found = server.find("zc.recipe.egg");
    let names = [
        "zc_recipe_egg-2.0.7-py3.11-linux-x86_64.egg",
        "zc.recipe.egg-2.0.7-py3.11-linux-x86_64.egg",
    ];
    let mut found_names = file_names(&found);
    found_names.sort_unstable_by_key(|name| std::cmp::Reverse(*name));
    assert_eq!(found_names, names);
    for egg in &found {
        let copied = server.materialize(&sandbox, text(&egg["digest"]));
        assert_eq!(copied["outcome"], "copied", "{copied}");
    }
    server.close();
    let shown = names.map(|name| sandbox.ok(&format!("show {name}")).stdout.clone());
    assert!(shown[0].contains("\nspelling      zc_recipe_egg\n"), "{}", shown[0]);
    assert!(!shown[1].contains("spelling"), "{}", shown[1]);
    // Both keys are read from the blobs again.
    fs::remove_file(sandbox.path("cache/index.sqlite")).unwrap();
    assert_eq!(sandbox.listed(), ["zc-recipe-egg==2.0.7"; 2]);
    sandbox.ok("verify").says(&["no problem"]);
}

#[test]
fn newer_setuptools_builds_an_egg_that_older_setuptools_names_otherwise() {
    let sandbox = Sandbox::new();
    let with = |setuptools: &str| {
        let mut opening = opening(&sandbox, 3, "3.4");
        opening["setuptools"] = setuptools.into();
        Server::opened_by(&sandbox, &opening)
    };
    let store = |egg: &Path| {
        json!({"op": "store", "path": egg, "source_sha256": "", "variant": "",
               "source": "zc.recipe.egg-2.0.7.tar.gz"})
    };
    let mut server = with("75.8.0");
    let older = recipe(&sandbox, "a", "zc.recipe.egg");
    assert_eq!(server.stored(&store(&older))["outcome"], "stored");
    assert_eq!(server.find("zc.recipe.egg").len(), 1);
    server.close();
    let mut server = with("79.0.1");
    assert!(server.find("zc.recipe.egg").is_empty());
    let newer = recipe(&sandbox, "b", "zc_recipe_egg");
    assert_eq!(server.stored(&store(&newer))["outcome"], "stored");
    let found = server.find("zc.recipe.egg");
    assert_eq!(file_names(&found), ["zc_recipe_egg-2.0.7-py3.11-linux-x86_64.egg"]);
    server.close();
    // Whether its pkg_resources finds the newer one is for the buildout to say.
    assert_eq!(with("75.8.0").find("zc.recipe.egg").len(), 2);
}

#[test]
fn a_rejected_egg_is_offered_no_more_and_gives_way_to_the_next_build() {
    let sandbox = Sandbox::new();
    let digest = sandbox.added("foo", "1.0").file_name().unwrap().to_str().unwrap().to_owned();
    let mut server = Server::open(&sandbox, &host());
    assert_eq!(server.ask(&json!({"op": "reject", "digests": [digest]})), json!({}));
    assert!(server.find("foo").is_empty());
    let build = sandbox.other_build("foo", "1.0");
    assert_eq!(server.store(&build)["outcome"], "replaced");
    assert_eq!(server.find("foo").len(), 1);
}

#[test]
fn a_buildout_that_names_eggs_as_their_metadata_is_offered_no_other_spelling() {
    let sandbox = Sandbox::new();
    recipe(&sandbox, "eggs", "zc_recipe_egg");
    for generation in 3..=5 {
        sandbox.ok(&format!("add eggs --generation {generation}"));
        let mut server = Server::open(&sandbox, &host_with("generation", generation));
        let found = server.find("zc.recipe.egg").len();
        assert_eq!(found, usize::from(generation == 3), "{generation}");
    }
}

#[test]
fn eggs_that_buildout_4_1_3_has_stored_stay_with_those_that_name_eggs_alike() {
    let sandbox = Sandbox::new();
    let egg = unpacked(&sandbox.path("eggs/foo-1.0-py3.11.egg"), "foo");
    // As eggcache recorded it: the major version.
    let mut server = Server::opened_by(&sandbox, &opening(&sandbox, 4, "4.1.3"));
    assert_eq!(server.store(&egg)["outcome"], "stored");
    server.close();
    for (generation, count) in [(2, 0), (3, 1), (4, 0), (5, 0)] {
        let mut server = Server::open(&sandbox, &host_with("generation", generation));
        let found = server.find("foo");
        assert_eq!(found.len(), count, "{generation}");
        if let Some(egg) = found.first() {
            let copied = server.materialize(&sandbox, text(&egg["digest"]));
            assert_eq!(copied["outcome"], "copied", "{copied}");
        }
    }
}

#[test]
fn eggs_of_other_releases_of_buildout_4_keep_their_generation() {
    let sandbox = Sandbox::new();
    let egg = unpacked(&sandbox.path("eggs/foo-1.0-py3.11.egg"), "foo");
    let mut server = Server::opened_by(&sandbox, &opening(&sandbox, 4, "4.2.0"));
    assert_eq!(server.store(&egg)["outcome"], "stored");
    server.close();
    for (generation, count) in [(3, 0), (4, 1), (5, 0)] {
        let mut server = Server::open(&sandbox, &host_with("generation", generation));
        assert_eq!(server.find("foo").len(), count, "{generation}");
    }
}

#[test]
fn an_unpacked_wheel_is_never_stored_as_an_egg_of_buildout_5() {
    let sandbox = Sandbox::new();
    let egg = unpacked(&sandbox.path("eggs/foo-1.0-py3.11.egg"), "foo");
    // The working set is newer than the code that has built the egg.
    let mut server = Server::opened_by(&sandbox, &opening(&sandbox, 5, "5.2.0"));
    assert_eq!(server.store(&egg)["outcome"], "stored");
    assert!(server.find("foo").is_empty());
    server.close();
    assert_eq!(sandbox.json("show foo")["generation"], 4);
}

#[test]
fn an_archive_that_is_an_egg_stays_one_of_its_buildout() {
    let sandbox = Sandbox::new();
    let egg = unpacked(&sandbox.path("eggs/foo-1.0-py3.11.egg"), "foo");
    let mut server = Server::opened_by(&sandbox, &opening(&sandbox, 5, "5.2.0"));
    let store = json!({"op": "store", "path": egg, "source_sha256": "", "variant": "",
                       "source": "foo-1.0-py3.11.egg"});
    assert_eq!(server.stored(&store)["outcome"], "stored");
    let found = server.find("foo");
    let copied = server.materialize(&sandbox, text(&found[0]["digest"]));
    assert_eq!(copied["outcome"], "copied", "{copied}");
}

#[test]
fn an_unpacked_wheel_that_was_stored_for_buildout_5_is_not_copied_but_replaced() {
    let sandbox = Sandbox::new();
    sandbox.added("sound", "1.0");
    let entries = [
        forge::directory(""),
        forge::directory("EGG-INFO"),
        forge::empty_file("EGG-INFO/PKG-INFO"),
    ];
    let content = forge::content(&entries.join(","));
    let placement =
        forge::placement(4096, "").replace("\"eggcache\"", "\"buildout\":\"5.2.0\",\"eggcache\"");
    let digest = blake3::hash(content.as_bytes()).to_hex();
    let path = sandbox.path("cache/blobs").join(&digest[..2]).join(&*digest);
    write(&path, &forge::blob(&content, &placement, b""));
    sandbox.ok("reindex");
    let mut server = Server::opened_by(&sandbox, &opening(&sandbox, 5, "5.2.0"));
    assert_eq!(server.find("foo").len(), 1);
    let refused = server.materialize(&sandbox, &digest);
    assert_eq!(refused["kind"], "unusable", "{refused}");
    assert!(server.find("foo").is_empty());
    let build = sandbox.egg("foo", "1.0");
    assert_eq!(server.store(&build)["outcome"], "replaced");
    let found = server.find("foo");
    let copied = server.materialize(&sandbox, text(&found[0]["digest"]));
    assert_eq!(copied["outcome"], "copied", "{copied}");
}

/// Eggs directories with an egg that pip has made and what is beside it, and the generation of that egg.
#[test]
fn what_is_beside_an_egg_tells_eggs_of_buildout_4_from_newer_ones() {
    for (folder, beside, generation) in [
        ("eggs", "eggs/wheel-1.0-py3.11.egg/EGG-INFO/PKG-INFO", 4),
        ("eggs", "eggs/v5/other-1.0-py3.11.egg/other-1.0.dist-info/METADATA", 4),
        ("eggs/cp311", "eggs/cp311/wheel-1.0-py3.11.egg/EGG-INFO/PKG-INFO", 4),
        ("eggs/v5", "eggs/v5/wheel-1.0-py3.11.egg/EGG-INFO/PKG-INFO", 5),
        ("eggs/v5/cp311", "eggs/v5/cp311/wheel-1.0-py3.11.egg/EGG-INFO/PKG-INFO", 5),
        ("eggs/v5", "eggs/wheel-1.0-py3.11.egg/EGG-INFO/PKG-INFO", 5),
        ("eggs", "eggs/other-1.0-py3.11.egg/other-1.0.dist-info/METADATA", 5),
    ] {
        let egg = format!("{folder}/foo-1.0-py3.11-linux-x86_64.egg");
        for path in [folder, "eggs", &egg] {
            let sandbox = Sandbox::new();
            make_egg(&sandbox.path(&egg), "foo", "1.0", &[]);
            let name = if beside.contains("wheel") { "wheel" } else { "other" };
            write(&sandbox.path(beside), format!("Name: {name}\nVersion: 1.0\n").as_bytes());
            sandbox.ok(&format!("add {path}"));
            assert_eq!(sandbox.json("show foo")["generation"], generation, "{path} {beside}");
        }
    }
}

#[test]
fn a_generation_that_the_user_names_is_kept() {
    let sandbox = Sandbox::new();
    sandbox.egg("foo", "1.0");
    unpacked(&sandbox.path("eggs/wheel-1.0-py3.11.egg"), "wheel");
    sandbox.ok("add eggs --generation 6");
    for name in ["foo", "wheel"] {
        assert_eq!(sandbox.json(&format!("show {name}"))["generation"], 5, "{name}");
    }
}

#[test]
fn an_added_egg_of_another_spelling_is_one_of_a_buildout_that_takes_names_from_archives() {
    let sandbox = Sandbox::new();
    unpacked(&sandbox.path("eggs/zest_releaser-1.0-py3.11.egg"), "zest.releaser");
    recipe(&sandbox, "eggs", "zc_recipe_egg");
    recipe(&sandbox, "eggs", "zc.recipe.egg");
    sandbox.ok("add eggs");
    for (egg, generation) in [
        ("zest_releaser-1.0-py3.11.egg", 3),
        ("zc_recipe_egg-2.0.7-py3.11-linux-x86_64.egg", 3),
        ("zc.recipe.egg-2.0.7-py3.11-linux-x86_64.egg", 4),
    ] {
        assert_eq!(sandbox.json(&format!("show {egg}"))["generation"], generation, "{egg}");
    }
}

#[test]
fn a_free_threaded_python_is_offered_no_egg_of_the_stable_abi() {
    let sandbox = Sandbox::new();
    let sh = fs::read("/bin/sh").unwrap();
    let egg = sandbox.path("eggs/stable-1.0-py3.13-linux-x86_64.egg");
    make_egg(&egg, "stable", "1.0", &[("_stable.abi3.so", &sh)]);
    sandbox.ok("add eggs");
    for (soabi, count) in
        [("cpython-313-x86_64-linux-gnu", 1), ("cpython-313t-x86_64-linux-gnu", 0)]
    {
        let mut host = host_with("soabi", soabi);
        host["python"] = "3.13".into();
        assert_eq!(Server::open(&sandbox, &host).find("stable").len(), count, "{soabi}");
    }
}

#[test]
fn a_compiled_egg_of_pypy_is_served_to_pypy() {
    let sandbox = Sandbox::new();
    let sh = fs::read("/bin/sh").unwrap();
    let tag = "pypy39-pp73-x86_64-linux-gnu";
    let egg = sandbox.path("eggs/fast-1.0-py3.9-linux-x86_64.egg");
    make_egg(&egg, "fast", "1.0", &[(&format!("_fast.{tag}.so"), &sh)]);
    let mut host = host_with("soabi", tag);
    (host["implementation"], host["python"]) = ("pp".into(), "3.9".into());
    let mut server = Server::open(&sandbox, &host);
    assert_eq!(server.store(&egg)["outcome"], "stored");
    assert_eq!(server.find("fast").len(), 1);
}
