//! File systems that clone: large files share the blocks of the blob, and nothing else.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::damage::change;
use crate::support::{
    Mount, Sandbox, assert_same, assert_same_tree, names_in, noise, skip, tree, write,
};

const KINDS: [&str; 2] = ["btrfs", "xfs"];

/// A sandbox with `cache` and `out` on a file system of this kind, and an egg with large files in
/// the cache.
fn on(kind: &str) -> Option<(Sandbox, Mount)> {
    let sandbox = Sandbox::new();
    let mount = Mount::of_kind(&sandbox.path("disk"), kind)?;
    for name in ["cache", "out"] {
        fs::create_dir(sandbox.path("disk").join(name)).unwrap();
        std::os::unix::fs::symlink(format!("disk/{name}"), sandbox.path(name)).unwrap();
    }
    let text = b"a line of a large text\n".repeat(20_000);
    sandbox.egg_with(
        "foo",
        "1.0",
        &[("large.txt", &text), ("noise.so", &noise(200_001)), ("whole", &noise(1 << 18))],
    );
    sandbox.ok("add eggs");
    Some((sandbox, mount))
}

const EGG: &str = "foo-1.0-py3.11.egg";

/// Whether the file shares blocks with another file; `None` if the file system cannot be asked.
fn shares_blocks(file: &Path) -> Option<bool> {
    let Ok(output) = std::process::Command::new("filefrag").arg("-sv").arg(file).output() else {
        skip("there is no filefrag");
        return None;
    };
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8_lossy(&output.stdout).contains("shared"))
}

#[test]
fn a_large_file_shares_only_its_blocks_with_the_cache() {
    for (sandbox, _mount) in KINDS.into_iter().filter_map(on) {
        sandbox.ok("materialize --into out foo");
        let (egg, copy) = (sandbox.path("eggs").join(EGG), sandbox.path("out").join(EGG));
        assert_same_tree(&egg, &copy);
        for (name, is_shared) in
            [("large.txt", true), ("noise.so", true), ("whole", true), ("foo.py", false)]
        {
            if let Some(found) = shares_blocks(&copy.join(name)) {
                assert_eq!(found, is_shared, "{name}");
            }
            assert_eq!(fs::metadata(copy.join(name)).unwrap().nlink(), 1, "{name}");
        }
        // Writing to the copy changes nothing else.
        fs::write(copy.join("large.txt"), "other").unwrap();
        sandbox.ok("verify");
        fs::remove_dir_all(&copy).unwrap();
        sandbox.ok("materialize --into out foo");
        assert_same_tree(&egg, &copy);
    }
}

#[test]
fn a_large_file_that_could_be_cloned_is_still_checked() {
    for (sandbox, _mount) in KINDS.into_iter().filter_map(on) {
        let raw = b"a line of a large text\n".repeat(10);
        change(&sandbox.blob("foo"), |blob| {
            let at = blob
                .windows(raw.len())
                .position(|found| found == raw)
                .expect("stored uncompressed");
            blob[at + 100_000] ^= 1;
        });
        sandbox
            .fails("materialize --into out foo", 1)
            .says(&["large.txt does not have its digest"]);
        assert_eq!(names_in(&sandbox.path("out")), [""; 0]);
        sandbox.fails("verify", 4);
    }
}

#[test]
fn a_cloning_cache_exchanges_blobs_with_other_file_systems() {
    for (sandbox, _mount) in KINDS.into_iter().filter_map(on) {
        let egg = tree(&sandbox.path("eggs").join(EGG));
        sandbox.ok("materialize --into elsewhere foo");
        assert_same(&egg, &tree(&sandbox.path("elsewhere").join(EGG)));
        // A cache on another file system has a different blob of the same egg, with the same name.
        sandbox.shell("$EGGCACHE --cache other-cache add elsewhere");
        let to = sandbox.blob("foo");
        let name = to.file_name().unwrap().to_str().unwrap();
        let from = sandbox.path("other-cache/blobs").join(&name[..2]).join(name);
        assert!(fs::metadata(&from).unwrap().len() < fs::metadata(&to).unwrap().len());
        fs::rename(&to, to.with_extension("aside")).unwrap();
        fs::copy(&from, &to).unwrap();
        fs::remove_file(to.with_extension("aside")).unwrap();
        write(&sandbox.path("out/other"), b"");
        // Its length differs from that in the index.
        sandbox.ok("verify --repair");
        sandbox.ok("verify");
        sandbox.ok("materialize --into out foo");
        assert_same(&egg, &tree(&sandbox.path("out").join(EGG)));
    }
}
