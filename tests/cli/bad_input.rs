//! Anything that is not an egg is refused with a message, and leaves nothing behind.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::support::{
    Sandbox, assert_same_tree, make_egg, metadata, names_in, noise, skip, text, tree, write,
};

/// Puts a bad egg beside a sound one, adds both, and asserts that only the sound one is stored and
/// that the message contains all of `parts`.
fn is_refused(make: impl FnOnce(&Sandbox), parts: &[&str]) {
    let sandbox = Sandbox::new();
    let sound = sandbox.egg("sound", "1.0");
    make(&sandbox);
    let before = tree(&sandbox.path("eggs"));
    sandbox.fails("add eggs", 1).says(parts).says(&["1 egg stored", "1 not stored"]);
    crate::support::assert_same(&before, &tree(&sandbox.path("eggs")));
    assert_eq!(sandbox.listed(), ["sound==1.0"]);
    sandbox.assert_tidy();
    sandbox.ok("verify");
    sandbox.ok("materialize --into out sound");
    assert_same_tree(&sound, &sandbox.path("out/sound-1.0-py3.11.egg"));
}

/// Like [`is_refused`], for an egg named bad with something bad inside.
fn is_refused_inside(make: impl FnOnce(&Path), parts: &[&str]) {
    let make = |sandbox: &Sandbox| make(&sandbox.egg("bad", "1.0"));
    is_refused(make, &[&["bad-1.0-py3.11.egg"], parts].concat());
}

#[test]
fn a_symlink_with_an_absolute_target_is_refused() {
    is_refused_inside(
        |egg| symlink("/etc/passwd", egg.join("link")).unwrap(),
        &["link", "symlink that leaves the egg"],
    );
}

#[test]
fn a_symlink_that_climbs_out_is_refused() {
    is_refused_inside(
        |egg| {
            fs::create_dir(egg.join("deep")).unwrap();
            symlink("../../outside", egg.join("deep/link")).unwrap();
        },
        &["deep/link", "symlink that leaves the egg"],
    );
}

#[test]
fn a_symlink_that_climbs_out_through_another_is_refused() {
    is_refused_inside(
        |egg| {
            fs::create_dir(egg.join("deep")).unwrap();
            symlink("..", egg.join("deep/up")).unwrap();
            symlink("deep/up/../outside", egg.join("link")).unwrap();
        },
        &["link", "symlink that leaves the egg"],
    );
}

#[test]
fn a_symlink_to_itself_is_refused() {
    is_refused_inside(|egg| symlink("link", egg.join("link")).unwrap(), &["link", "symlink"]);
}

#[test]
fn a_fifo_is_refused() {
    is_refused_inside(
        |egg| rustix::fs::mkfifoat(rustix::fs::CWD, egg.join("pipe"), 0o644.into()).unwrap(),
        &["pipe", "it is a FIFO"],
    );
}

#[test]
fn a_fifo_named_like_an_egg_is_refused() {
    is_refused(
        |sandbox| {
            let pipe = sandbox.path("eggs/pipe-1.0.egg");
            rustix::fs::mkfifoat(rustix::fs::CWD, pipe, 0o644.into()).unwrap();
        },
        &["pipe-1.0.egg", "it is a FIFO"],
    );
}

#[test]
fn a_socket_is_refused() {
    is_refused_inside(
        |egg| drop(UnixListener::bind(egg.join("socket")).unwrap()),
        &["socket", "it is a socket"],
    );
}

#[test]
fn a_device_is_refused() {
    let sandbox = Sandbox::new();
    let mut mknod = sandbox.process("mknod");
    if !mknod.args(["probe", "c", "1", "3"]).output().is_ok_and(|made| made.status.success()) {
        return skip("no device can be made here");
    }
    is_refused_inside(
        |egg| {
            let status = std::process::Command::new("mknod")
                .arg(egg.join("null"))
                .args(["c", "1", "3"])
                .status();
            assert!(status.unwrap().success());
        },
        &["null", "it is a device"],
    );
}

#[test]
fn a_develop_egg_is_refused() {
    is_refused(
        |sandbox| write(&sandbox.path("eggs/develop.egg-link"), b"/src/develop\n.\n"),
        &["develop.egg-link", "develop egg"],
    );
}

#[test]
fn an_egg_that_is_a_symlink_is_refused() {
    is_refused(
        |sandbox| {
            make_egg(&sandbox.path("elsewhere-1.0.egg"), "elsewhere", "1.0", &[]);
            symlink("../elsewhere-1.0.egg", sandbox.path("eggs/elsewhere-1.0.egg")).unwrap();
        },
        &["elsewhere-1.0.egg", "it is a symlink"],
    );
}

#[test]
fn an_egg_without_metadata_is_refused() {
    is_refused(
        |sandbox| write(&sandbox.path("eggs/bare-1.0.egg/bare.py"), b""),
        &["bare-1.0.egg", "no metadata"],
    );
}

#[test]
fn an_empty_egg_is_refused() {
    is_refused(
        |sandbox| fs::create_dir(sandbox.path("eggs/empty-1.0.egg")).unwrap(),
        &["empty-1.0.egg", "no metadata"],
    );
}

#[test]
fn metadata_without_a_version_is_refused() {
    is_refused(
        |sandbox| {
            write(&sandbox.path("eggs/half-1.0.egg/EGG-INFO/PKG-INFO"), b"Name: half\n");
        },
        &["half-1.0.egg", "version"],
    );
}

#[test]
fn metadata_that_is_not_text_is_refused() {
    is_refused(
        |sandbox| write(&sandbox.path("eggs/noise-1.0.egg/EGG-INFO/PKG-INFO"), &noise(1000)),
        &["noise-1.0.egg", "metadata"],
    );
}

#[test]
fn add_refuses_an_egg_whose_metadata_disagrees_with_its_name() {
    for (name, version) in [("liar", "2.0"), ("honest", "1.0"), ("liar", "1.0+local")] {
        is_refused(
            |sandbox| {
                let info = sandbox.path("eggs/liar-1.0.egg/EGG-INFO/PKG-INFO");
                write(&info, metadata(name, version).as_bytes());
            },
            &["liar-1.0.egg", name, version],
        );
    }
}

#[test]
fn a_file_name_that_is_not_an_egg_name_is_refused() {
    for name in ["foo.egg", "foo-1.0-cp311.egg", "-1.0.egg"] {
        is_refused(
            |sandbox| {
                make_egg(&sandbox.path("eggs").join(name), "foo", "1.0", &[]);
            },
            &[name, "NAME-VERSION"],
        );
    }
}

#[test]
fn a_non_utf8_file_name_inside_an_egg_is_refused() {
    is_refused_inside(
        |egg| fs::write(egg.join(OsStr::from_bytes(b"f\xff.py")), "").unwrap(),
        &["not UTF-8"],
    );
}

#[test]
fn a_symlink_target_that_is_not_utf8_is_refused() {
    is_refused_inside(
        |egg| symlink(OsStr::from_bytes(b"\xff"), egg.join("link")).unwrap(),
        &["link", "not UTF-8"],
    );
}

fn make_egg_that_is_not_utf8(sandbox: &Sandbox) {
    let egg = sandbox.path("eggs").join(OsStr::from_bytes(b"f\xff-1.0.egg"));
    make_egg(&egg, "foo", "1.0", &[]);
}

#[test]
fn an_egg_whose_own_name_is_not_utf8_is_refused() {
    is_refused(make_egg_that_is_not_utf8, &["-1.0.egg", "not UTF-8"]);
}

#[test]
fn a_refused_egg_whose_name_is_not_utf8_is_in_the_json_report() {
    let sandbox = Sandbox::new();
    sandbox.egg("sound", "1.0");
    make_egg_that_is_not_utf8(&sandbox);
    let report = sandbox.fails("--json add eggs", 1).json();
    assert_eq!(report["eggs"].as_array().unwrap().len(), 2);
}

#[test]
fn a_file_that_is_not_a_zip_is_refused() {
    for content in [&b""[..], b"not a zip", &noise(5000)] {
        is_refused(
            |sandbox| write(&sandbox.path("eggs/noise-1.0.egg"), content),
            &["noise-1.0.egg", "zip"],
        );
    }
}

#[test]
fn a_truncated_zip_is_refused() {
    is_refused(
        |sandbox| {
            let egg = sandbox.zipped_egg("cut", "1.0");
            let content = fs::read(&egg).unwrap();
            fs::write(&egg, &content[..content.len() / 2]).unwrap();
        },
        &["cut-1.0-py3.11.egg", "zip"],
    );
}

#[test]
fn a_zip_whose_metadata_is_damaged_is_refused() {
    is_refused(
        |sandbox| {
            let script = "import zipfile\n\
                zip = zipfile.ZipFile('eggs/hurt-1.0.egg', 'w')\n\
                zip.writestr('EGG-INFO/PKG-INFO', 'Name: hurt\\nVersion: 1.0\\n')\n\
                zip.close()\n";
            let mut python = sandbox.process("python3");
            assert!(python.args(["-c", script]).status().unwrap().success());
            let egg = sandbox.path("eggs/hurt-1.0.egg");
            let mut content = fs::read(&egg).unwrap();
            let at = content.windows(4).position(|window| window == b"1.0\n").unwrap();
            content[at + 3] = b' ';
            fs::write(&egg, content).unwrap();
        },
        &["hurt-1.0.egg", "hecksum"],
    );
}

#[test]
fn a_zip_with_a_member_outside_the_egg_is_refused() {
    for member in ["../outside", "/etc/passwd", "a/../../b", "a//b"] {
        is_refused(
            |sandbox| {
                let script = format!(
                    "import zipfile\n\
                     zip = zipfile.ZipFile('eggs/evil-1.0.egg', 'w')\n\
                     zip.writestr('EGG-INFO/PKG-INFO', 'Name: evil\\nVersion: 1.0\\n')\n\
                     zip.writestr('{member}', 'x')\n\
                     zip.close()\n"
                );
                let mut python = sandbox.process("python3");
                assert!(python.args(["-c", &script]).status().unwrap().success());
            },
            &["evil-1.0.egg", member],
        );
    }
}

#[test]
fn a_zip_without_metadata_is_refused() {
    is_refused(
        |sandbox| {
            let script = "import zipfile\n\
                zipfile.ZipFile('eggs/bare-1.0.egg', 'w').writestr('bare.py', '')\n";
            let mut python = sandbox.process("python3");
            assert!(python.args(["-c", script]).status().unwrap().success());
        },
        &["bare-1.0.egg", "no metadata"],
    );
}

#[test]
fn every_bad_egg_of_one_add_is_named() {
    let sandbox = Sandbox::new();
    sandbox.egg("sound", "1.0");
    write(&sandbox.path("eggs/noise-1.0.egg"), b"noise");
    write(&sandbox.path("eggs/develop.egg-link"), b"");
    write(&sandbox.path("eggs/bare-1.0.egg/bare.py"), b"");
    let report = sandbox.fails("--json add eggs", 1).json();
    let outcomes: Vec<(&str, &str)> = report["eggs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|egg| (text(&egg["path"]), text(&egg["outcome"])))
        .collect();
    assert_eq!(
        outcomes,
        [
            ("eggs/bare-1.0.egg", "refused"),
            ("eggs/develop.egg-link", "refused"),
            ("eggs/noise-1.0.egg", "refused"),
            ("eggs/sound-1.0-py3.11.egg", "stored"),
        ]
    );
    sandbox.fails("-q add eggs", 1).says(&["noise-1.0.egg", "develop.egg-link", "bare-1.0.egg"]);
}

#[test]
fn a_path_that_does_not_exist_is_named() {
    let sandbox = Sandbox::new();
    sandbox.egg("sound", "1.0");
    sandbox.fails("add eggs no/such-1.0.egg", 1).says(&["no/such-1.0.egg", "No such file"]);
    sandbox.fails("add nowhere", 1).says(&["nowhere"]);
    sandbox.assert_tidy();
}

#[test]
fn a_folder_without_eggs_and_a_plain_file_are_named() {
    let sandbox = Sandbox::new();
    sandbox.fails("add eggs", 1).says(&["eggs", "neither an egg nor a folder with eggs"]);
    write(&sandbox.path("file.txt"), b"");
    sandbox.fails("add file.txt", 1).says(&["file.txt"]);
    assert!(sandbox.listed().is_empty());
}

#[test]
fn a_cache_that_is_a_file_is_named() {
    let sandbox = Sandbox::new();
    sandbox.egg("foo", "1.0");
    write(&sandbox.path("cache"), b"mine");
    for line in [
        "add eggs",
        "list",
        "show foo",
        "gc",
        "roots",
        "pin foo",
        "pins",
        "verify",
        "reindex",
        "materialize --into out --all",
    ] {
        sandbox.fails(line, 1).says(&["cache is not a cache directory"]);
    }
    assert_eq!(fs::read(sandbox.path("cache")).unwrap(), b"mine");
}

#[test]
fn a_cache_below_a_file_is_named() {
    let sandbox = Sandbox::new();
    write(&sandbox.path("file"), b"mine");
    let mut list = sandbox.process(crate::support::EGGCACHE);
    list.args(["--cache", "file/cache", "list"]);
    let output = list.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("file/cache"));
}

#[test]
fn a_cache_that_is_a_dangling_symlink_is_named() {
    let sandbox = Sandbox::new();
    symlink("no/such", sandbox.path("cache")).unwrap();
    sandbox.fails("list", 1).says(&["cache"]);
}

#[test]
fn usage_errors_exit_with_two() {
    let sandbox = Sandbox::new();
    sandbox.egg("foo", "1.0");
    for line in [
        "",
        "frobnicate",
        "add",
        "add eggs --generation 1",
        "add eggs --source-sha256 abc",
        "list --frobnicate",
        "dir a b",
        "show",
        "-q -v list",
        "--color sometimes list",
    ] {
        let output = sandbox.fails(line, 2);
        assert_eq!(output.stdout, "", "{line}");
        assert_ne!(output.stderr, "", "{line}");
    }
    assert_eq!(names_in(&sandbox.path("cache")), [""; 0]);
}
