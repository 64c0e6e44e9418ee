//! A blob that somebody changes while it is copied: the copy is right, or there is none.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Mutex;

use eggcache::materialize::{self, Outcome};
use eggcache::progress::Progress;
use eggcache::{Cache, Error};

use crate::support::{Mount, Sandbox, assert_same_tree, chmod, names_in, noise};

const EGG: &str = "foo-1.0-py3.11.egg";

/// Writes these bytes into a file as soon as an operation has made so much progress in one step.
struct ChangeAfter {
    least: u64,
    change: Mutex<Option<(File, Vec<u8>, u64)>>,
}

impl Progress for ChangeAfter {
    fn advance(&self, steps: u64) {
        if steps >= self.least
            && let Some((file, bytes, at)) = self.change.lock().unwrap().take()
        {
            file.write_all_at(&bytes, at).unwrap();
        }
    }
}

/// The blob of foo, open for writing, and where these bytes are in it.
fn blob_with(sandbox: &Sandbox, bytes: &[u8]) -> (File, u64) {
    let path: PathBuf = sandbox.blob("foo");
    chmod(&path, 0o644);
    let content = fs::read(&path).unwrap();
    let at = content.windows(bytes.len()).position(|found| found == bytes);
    let file = File::options().read(true).write(true).open(&path).unwrap();
    (file, at.expect("stored uncompressed") as u64)
}

/// Copies foo while the blob changes. The copy is whole, or the blob counts as damaged.
fn copy_is_whole_or_refused(sandbox: &Sandbox, progress: &ChangeAfter) -> Outcome {
    let mut cache = Cache::open(&sandbox.path("cache")).unwrap();
    let (eggs, out) = (cache.eggs().unwrap(), sandbox.path("out"));
    let options = materialize::Options::default();
    let mut report = materialize::materialize(&mut cache, &eggs, &out, options, progress).unwrap();
    assert!(progress.change.lock().unwrap().is_none(), "the blob has changed meanwhile");
    let outcome = report.eggs.remove(0).outcome;
    match &outcome {
        Outcome::Copied(_) => assert_same_tree(&sandbox.path("eggs").join(EGG), &out.join(EGG)),
        Outcome::Failed { reason } => {
            assert!(matches!(reason, Error::DamagedBlob { .. }), "{reason}");
            assert_eq!(names_in(&out), [""; 0]);
        }
        other => panic!("{other:?}"),
    }
    outcome
}

#[test]
fn a_blob_that_changes_after_its_check_gives_no_wrong_small_file() {
    let sandbox = Sandbox::new();
    let (first, second) = (noise(2000), noise(5000).split_off(2000));
    sandbox.egg_with("foo", "1.0", &[("a.bin", &first), ("b.bin", &second)]);
    sandbox.ok("add eggs");
    let (file, at) = blob_with(&sandbox, &second);
    let change = Mutex::new(Some((file, b"evil".to_vec(), at)));
    // The files of one frame are checked together, and written one after the other.
    let outcome = copy_is_whole_or_refused(&sandbox, &ChangeAfter { least: 2000, change });
    assert!(matches!(outcome, Outcome::Copied(_)), "it was whole when it was read");
}

#[test]
fn a_blob_that_is_mended_after_it_was_cloned_gives_no_wrong_copy() {
    for kind in ["btrfs", "xfs"] {
        let sandbox = Sandbox::new();
        let Some(_mount) = Mount::of_kind(&sandbox.path("disk"), kind) else { continue };
        for name in ["cache", "out"] {
            fs::create_dir(sandbox.path("disk").join(name)).unwrap();
            std::os::unix::fs::symlink(format!("disk/{name}"), sandbox.path(name)).unwrap();
        }
        let content = noise(16 << 20);
        sandbox.egg_with("foo", "1.0", &[("large.bin", &content)]);
        sandbox.ok("add eggs");
        let good = &content[content.len() - 4096..];
        let (file, at) = blob_with(&sandbox, good);
        // The copy shares these blocks with the blob of before the change.
        file.write_all_at(b"evil", at).unwrap();
        let change = Mutex::new(Some((file, good.to_vec(), at)));
        let outcome = copy_is_whole_or_refused(&sandbox, &ChangeAfter { least: 4096, change });
        assert!(matches!(outcome, Outcome::Failed { .. }), "{kind}: {outcome:?}");
    }
}
