//! `eggcache add`: which eggs are stored, and which build of them.

use std::fs;

use crate::support::{Sandbox, make_egg, names_in, text, touch, write};

#[test]
fn add_takes_an_egg_a_zipped_egg_and_a_folder_of_eggs() {
    let sandbox = Sandbox::new();
    sandbox.egg("one", "1.0");
    sandbox.zipped_egg("two", "2.0");
    sandbox.other_build("three", "3.0");
    let output = sandbox.ok("add eggs other/three-3.0-py3.11.egg");
    output.says(&["3 eggs stored"]);
    assert_eq!(output.stdout, "");
    assert_eq!(sandbox.listed(), ["one==1.0", "three==3.0", "two==2.0"]);
    sandbox.assert_tidy();
}

#[test]
fn add_takes_a_path_with_a_slash_at_its_end() {
    let sandbox = Sandbox::new();
    sandbox.egg("foo", "1.0");
    sandbox.ok("add eggs/foo-1.0-py3.11.egg/");
    sandbox.ok("add eggs/").says(&["0 eggs stored", "1 already there"]);
    assert_eq!(sandbox.listed(), ["foo==1.0"]);
}

#[test]
fn add_skips_other_files_in_a_folder() {
    let sandbox = Sandbox::new();
    sandbox.egg("foo", "1.0");
    write(&sandbox.path("eggs/easy-install.pth"), b"");
    write(&sandbox.path("eggs/folder/file"), b"");
    sandbox.ok("add eggs");
    assert_eq!(sandbox.listed(), ["foo==1.0"]);
}

#[test]
fn add_takes_eggs_from_every_eggs_directory_layout() {
    let sandbox = Sandbox::new();
    for (folder, name) in [
        ("shared", "foo"),
        ("shared/cp311", "bar"),
        ("shared/v5", "baz"),
        ("shared/v5/cp311", "qux"),
        ("shared/app/eggs", "of-a-buildout"),
        ("shared/app/develop-eggs", "custom"),
        ("shared/v5/set-aside", "damaged"),
    ] {
        let egg = sandbox.path(&format!("{folder}/{name}-1.0-py3.11.egg"));
        make_egg(&egg, name, "1.0", &[]);
    }
    sandbox.ok("add shared").says(&["4 eggs stored"]);
    assert_eq!(sandbox.listed(), ["bar==1.0", "baz==1.0", "foo==1.0", "qux==1.0"]);
    sandbox.fails("add shared/app", 1).says(&["shared/app", "neither an egg nor", "v5/"]);
}

#[test]
fn add_leaves_the_egg_as_it_was() {
    let sandbox = Sandbox::new();
    let egg = sandbox.egg("foo", "1.0");
    let before = crate::support::tree(&egg);
    sandbox.ok("add eggs");
    crate::support::assert_same(&before, &crate::support::tree(&egg));
}

#[test]
fn an_egg_that_is_added_again_is_present() {
    let sandbox = Sandbox::new();
    let blob = sandbox.added("foo", "1.0");
    let report = sandbox.json("add eggs");
    assert_eq!(report["eggs"][0]["outcome"], "present");
    sandbox.ok("-v add eggs").says(&["0 eggs stored", "1 already there"]);
    assert_eq!(sandbox.blobs(), [blob]);
}

#[test]
fn the_same_egg_named_twice_is_stored_once() {
    let sandbox = Sandbox::new();
    sandbox.egg("foo", "1.0");
    let report = sandbox.json("add eggs/foo-1.0-py3.11.egg eggs");
    assert_eq!(report["eggs"][0]["outcome"], "stored");
    assert_eq!(report["eggs"][1]["outcome"], "present");
    sandbox.assert_tidy();
}

#[test]
fn the_first_build_of_an_egg_wins() {
    let sandbox = Sandbox::new();
    let blob = sandbox.added("foo", "1.0");
    sandbox.other_build("foo", "1.0");
    sandbox.ok("add other").says(&["another build", "foo-1.0-py3.11.egg", "--replace"]);
    assert_eq!(sandbox.json("add other")["eggs"][0]["outcome"], "other");
    assert_eq!(sandbox.blobs(), [blob]);
    sandbox.assert_tidy();
}

#[test]
fn replace_stores_another_build_and_unlinks_the_old_blob() {
    let sandbox = Sandbox::new();
    let old = sandbox.added("foo", "1.0");
    sandbox.other_build("foo", "1.0");
    let report = sandbox.json("add --replace other");
    assert_eq!(report["eggs"][0]["outcome"], "replaced");
    assert!(old.ends_with(text(&report["eggs"][0]["old"])));
    assert!(!old.exists());
    assert_eq!(sandbox.listed(), ["foo==1.0"]);
    sandbox.ok("materialize --into out foo");
    assert!(sandbox.path("out/foo-1.0-py3.11.egg/other.py").exists());
    sandbox.ok("verify");
    sandbox.assert_tidy();
}

#[test]
fn replace_of_an_absent_egg_stores_it() {
    let sandbox = Sandbox::new();
    sandbox.egg("foo", "1.0");
    assert_eq!(sandbox.json("add --replace eggs")["eggs"][0]["outcome"], "stored");
}

#[test]
fn replace_with_the_same_egg_keeps_its_blob() {
    let sandbox = Sandbox::new();
    let blob = sandbox.added("foo", "1.0");
    sandbox.ok("add --replace eggs");
    assert_eq!(sandbox.blobs(), [blob]);
    sandbox.ok("verify");
}

#[test]
fn the_first_of_two_builds_in_one_add_wins() {
    let sandbox = Sandbox::new();
    let egg = sandbox.egg("foo", "1.0");
    sandbox.other_build("foo", "1.0");
    sandbox.ok("add eggs other");
    sandbox.ok("materialize --into out foo");
    crate::support::assert_same_tree(&egg, &sandbox.path("out/foo-1.0-py3.11.egg"));
    sandbox.assert_tidy();
}

#[test]
fn the_last_of_two_builds_in_one_add_replace_wins() {
    let sandbox = Sandbox::new();
    sandbox.added("foo", "1.0");
    let first = sandbox.path("first/foo-1.0-py3.11.egg");
    make_egg(&first, "foo", "1.0", &[("first", b"")]);
    sandbox.other_build("foo", "1.0");
    sandbox.ok("add --replace first other");
    sandbox.ok("materialize --into out foo");
    assert!(sandbox.path("out/foo-1.0-py3.11.egg/other.py").exists());
    sandbox.assert_tidy();
    sandbox.ok("reindex");
    assert_eq!(sandbox.listed(), ["foo==1.0"]);
}

#[test]
fn an_egg_whose_blob_is_gone_is_stored_again() {
    let sandbox = Sandbox::new();
    let blob = sandbox.added("foo", "1.0");
    fs::remove_file(&blob).unwrap();
    assert_eq!(sandbox.json("add eggs")["eggs"][0]["outcome"], "stored");
    assert!(blob.exists());
    sandbox.ok("verify");
    sandbox.assert_tidy();
}

#[test]
fn an_egg_whose_blob_does_not_open_is_stored_again() {
    let sandbox = Sandbox::new();
    let blob = sandbox.added("foo", "1.0");
    crate::damage::overwrite(&blob, b"rubbish");
    sandbox.ok("add eggs");
    sandbox.ok("verify");
}

#[test]
fn replace_with_the_same_egg_repairs_a_damaged_frame() {
    let sandbox = Sandbox::new();
    let blob = sandbox.added("foo", "1.0");
    crate::damage::flip_last_bit(&blob);
    sandbox.fails("verify", 4);
    sandbox.ok("add --replace eggs");
    sandbox.ok("verify");
}

#[test]
fn every_field_of_the_key_makes_a_separate_egg() {
    let sandbox = Sandbox::new();
    sandbox.egg("foo", "1.0");
    let sha = "ab".repeat(32);
    sandbox.ok(&format!("add eggs --source-sha256 {}", "cd".repeat(32)));
    sandbox.ok("add eggs --environment el9");
    sandbox.ok("add eggs --generation 4");
    sandbox.ok(&format!("add eggs --source-sha256 {}", sha.to_uppercase()));
    let report = sandbox.json("list");
    let eggs = report["eggs"].as_array().unwrap();
    assert_eq!(eggs.len(), 4);
    assert!(eggs.iter().any(|egg| egg["environment"] == "el9"));
    assert!(eggs.iter().any(|egg| egg["generation"] == 4));
    assert!(eggs.iter().any(|egg| egg["source_sha256"] == sha));
    sandbox.assert_tidy();
}

#[test]
fn generations_five_and_later_are_one() {
    let sandbox = Sandbox::new();
    sandbox.egg("foo", "1.0");
    sandbox.ok("add eggs --generation 5");
    assert_eq!(sandbox.json("add eggs --generation 6")["eggs"][0]["outcome"], "present");
}

#[test]
fn the_metadata_directory_determines_the_generation() {
    let sandbox = Sandbox::new();
    make_egg(&sandbox.path("eggs/v5/new-1.0-py3.11.egg"), "new", "1.0", &[]);
    write(&sandbox.path("eggs/old-1.0-py3.11.egg/EGG-INFO/PKG-INFO"), b"Name: old\nVersion: 1.0\n");
    sandbox.ok("add eggs");
    assert_eq!(sandbox.json("show new")["generation"], 5);
    assert_eq!(sandbox.json("show old")["generation"], 4);
}

#[test]
fn names_and_versions_agree_with_their_escaped_file_names() {
    let sandbox = Sandbox::new();
    for (file_name, name, version) in [
        ("foo_bar-1.0-py3.11.egg", "foo-bar", "1.0"),
        ("Zope.Interface-8.0-py3.11.egg", "zope_interface", "8.0"),
        ("local-1.0+abc.1-py3.11.egg", "local", "1.0+abc.1"),
        ("dashed-1.0_1-py3.11.egg", "dashed", "1.0-1"),
        ("longer-1.0-py3.11.egg", "longer", "1.0.0"),
    ] {
        make_egg(&sandbox.path("eggs").join(file_name), name, version, &[]);
    }
    sandbox.ok("add eggs");
    assert_eq!(
        sandbox.listed(),
        [
            "dashed==1.0-1",
            "foo-bar==1.0",
            "local==1.0+abc.1",
            "longer==1.0.0",
            "zope-interface==8.0"
        ]
    );
}

#[test]
fn add_removes_temporary_files_of_dead_processes() {
    let sandbox = Sandbox::new();
    sandbox.added("foo", "1.0");
    write(&sandbox.path("cache/tmp/.eggcache-dead"), b"half a blob");
    sandbox.ok("add eggs");
    sandbox.assert_tidy();
}

#[test]
fn add_keeps_temporary_files_of_live_processes() {
    let sandbox = Sandbox::new();
    sandbox.added("foo", "1.0");
    let path = sandbox.path("cache/tmp/.eggcache-alive");
    let alive = fs::File::create(&path).unwrap();
    alive.lock().unwrap();
    sandbox.ok("add eggs");
    sandbox.ok("gc");
    assert!(path.exists());
}

#[test]
fn a_new_cache_is_tagged_for_backups() {
    let sandbox = Sandbox::new();
    sandbox.added("foo", "1.0");
    let tag = fs::read_to_string(sandbox.path("cache/CACHEDIR.TAG")).unwrap();
    assert!(tag.starts_with("Signature: 8a477f597d28d172789f06886806bc55"));
}

#[test]
fn a_link_in_place_of_the_tag_is_not_written_through() {
    let sandbox = Sandbox::new();
    sandbox.added("foo", "1.0");
    let tag = sandbox.path("cache/CACHEDIR.TAG");
    for (target, text) in [("secret", "password"), ("absent", "")] {
        let target = sandbox.path(target);
        fs::remove_file(&tag).unwrap();
        std::os::unix::fs::symlink(&target, &tag).unwrap();
        if !text.is_empty() {
            fs::write(&target, text).unwrap();
        }
        for line in ["list", "add eggs", "gc"] {
            sandbox.ok(line);
        }
        assert_eq!(fs::read_to_string(&target).unwrap_or_default(), text, "{}", target.display());
    }
}

#[test]
fn a_tag_that_lost_its_text_is_written_again_and_others_stay() {
    let sandbox = Sandbox::new();
    sandbox.added("foo", "1.0");
    let tag = sandbox.path("cache/CACHEDIR.TAG");
    let whole = fs::read_to_string(&tag).unwrap();
    for (text, after) in
        [("", &*whole), ("\0\0\0", &whole), ("Signature: 8a", &whole), ("mine", "mine")]
    {
        fs::write(&tag, text).unwrap();
        sandbox.ok("init");
        assert_eq!(fs::read_to_string(&tag).unwrap(), after, "{text:?}");
    }
    assert_eq!(names_in(&sandbox.path("cache/tmp")), [""; 0]);
}

#[test]
fn the_environment_overrides_the_default_cache_directory() {
    let sandbox = Sandbox::new();
    sandbox.egg("foo", "1.0");
    sandbox.shell("\"$EGGCACHE\" add eggs && EGGCACHE_DIR=named \"$EGGCACHE\" add eggs");
    for cache in [".cache/eggcache", "named"] {
        assert!(names_in(&sandbox.path(cache)).contains(&"index.sqlite".to_owned()), "{cache}");
    }
}

#[test]
fn hundreds_of_eggs_are_added_in_batches() {
    let sandbox = Sandbox::new();
    for number in 0..70 {
        sandbox.egg("foo", &format!("1.{number}"));
    }
    sandbox.ok("add eggs").says(&["70 eggs stored"]);
    assert_eq!(sandbox.listed().len(), 70);
    sandbox.assert_tidy();
}

#[test]
fn a_touched_egg_is_the_same_egg() {
    let sandbox = Sandbox::new();
    let egg = sandbox.egg("foo", "1.0");
    sandbox.ok("add eggs");
    touch(&egg.join("foo.py"), 1_000_000_000, 0);
    assert_eq!(sandbox.json("add eggs")["eggs"][0]["outcome"], "present");
}

#[test]
fn add_takes_the_eggs_of_a_buildout() {
    for eggs in ["app/eggs", "app/eggs/v5", "app/eggs/v5/cp311"] {
        let sandbox = Sandbox::new();
        let egg = sandbox.egg("foo", "1.0");
        write(&sandbox.path("app/buildout.cfg"), b"");
        let folder = sandbox.path(eggs);
        fs::create_dir_all(&folder).unwrap();
        fs::rename(egg, folder.join("foo-1.0-py3.11.egg")).unwrap();
        make_egg(&sandbox.path("app/develop-eggs/bar-1.0-py3.11.egg"), "bar", "1.0", &[]);
        write(&sandbox.path("app/develop-eggs/baz.egg-link"), b"/src/baz\n.\n");
        make_egg(&folder.join("tmpab12_c/qux-1.0-py3.11.egg"), "qux", "1.0", &[]);
        sandbox.ok("add app").says(&[
            "1 egg stored",
            "bar-1.0-py3.11.egg: skipped: a custom build",
            "baz.egg-link: skipped: a develop egg",
            "tmpab12_c: skipped: left by an interrupted installation",
        ]);
        assert_eq!(sandbox.listed(), ["foo==1.0"], "{eggs}");
        let report = sandbox.json("add app");
        let outcomes = report["eggs"].as_array().unwrap().iter().map(|egg| text(&egg["outcome"]));
        assert_eq!(outcomes.filter(|outcome| *outcome == "left").count(), 3);
    }
    let sandbox = Sandbox::new();
    write(&sandbox.path("app/buildout.cfg"), b"");
    sandbox.fails("add app", 1).says(&["neither an egg nor a folder with eggs"]);
}

#[test]
fn add_refuses_half_copied_eggs_and_names_missing_files() {
    type Files<'a> = &'a [(&'a str, &'a [u8])];
    let record = b"one.py,sha256=x,4\ntwo.py,sha256=x,4\nns/__init__.py,sha256=x,4\n\
        ../../bin/one,sha256=x,4\n__pycache__/one.cpython-311.pyc,,\n";
    let cases: [(Files<'_>, &str); 4] = [
        (&[("one.py", b"abcd")], "lacks two.py of its RECORD: half-copied?"),
        (&[("one.py", b"abcd"), ("two.py", b"")], "two.py has 0 bytes instead of 4"),
        (&[("one.py", b"abcd"), ("two.py", b"abcd"), ("_c.so", b"")], "_c.so is cut off"),
        (&[("one.py", b"abcd"), ("two.py", b"abcd")], ""),
    ];
    for (files, reason) in cases {
        let sandbox = Sandbox::new();
        let files = [&[("foo-1.0.dist-info/RECORD", &record[..])], files].concat();
        sandbox.egg_with("foo", "1.0", &files);
        if reason.is_empty() {
            sandbox.ok("add eggs").says(&["1 egg stored"]);
        } else {
            sandbox.fails("add eggs", 1).says(&["foo-1.0-py3.11.egg", reason]);
        }
    }
}

#[test]
fn add_refuses_an_egg_whose_modules_are_for_another_python() {
    let sandbox = Sandbox::new();
    let module = "pkg/_c.cpython-312-x86_64-linux-gnu.so";
    let egg = sandbox.egg_with("foo", "1.0", &[(module, b"code")]);
    sandbox
        .fails("add eggs", 1)
        .says(&["pkg/_c is compiled for Python 3.12", "is for Python 3.11"]);
    write(&egg.join("pkg/_c.cpython-311-x86_64-linux-gnu.so"), b"code");
    sandbox.ok("add eggs").says(&["1 egg stored"]);
}
