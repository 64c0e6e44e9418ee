//! What must hold for a cache after any interruption.

use std::any::Any;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use serde_json::json;

use super::operations::{Listing, Operation, Sources, listing_of};
use crate::counts;
use crate::support::{Sandbox, assert_same, names_in, text, tree};

/// Tries every case, and fails with a list of all those that do not hold.
#[track_caller]
pub fn all_hold<C: Display>(
    matrix: &str,
    of: &str,
    cases: impl IntoIterator<Item = C>,
    holds: impl Fn(&C),
) {
    let (mut tried, mut lost) = (0, Vec::new());
    for case in cases {
        tried += 1;
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| holds(&case))) {
            lost.push(format!("{case}: {}", message(panic.as_ref())));
        }
    }
    assert!(tried > 0, "nothing to try");
    assert!(lost.is_empty(), "{} of {tried} do not hold:\n{}", lost.len(), lost.join("\n"));
    counts::record(matrix, of, tried);
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic")
}

/// Asserts that exactly the egg of a remote counts as pulled.
#[track_caller]
fn assert_arrivals_are_known(sandbox: &Sandbox) {
    for egg in sandbox.json("list")["eggs"].as_array().unwrap() {
        let is_pulled = egg["arrival"]["remote"] == "team";
        assert_eq!(is_pulled, text(&egg["name"]) == "pulled", "{egg}");
    }
}

/// What a cache must and may contain after an operation was interrupted.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    pub sources: &'a Sources,
    pub before: &'a Listing,
    pub after: &'a Listing,
}

impl Expected<'_> {
    /// Asserts that blobs and rows agree, that every byte is intact, that `verify` reports exactly
    /// what is on the disk, that no egg is lost and that every copy is whole. Returns the cached
    /// eggs.
    #[track_caller]
    pub fn assert_sound(&self, sandbox: &Sandbox) -> Listing {
        // Both commands fail on a record that cannot be read.
        sandbox.ok("roots");
        sandbox.ok("pins");
        let report = sandbox.json("verify");
        assert_eq!(report["problems"], json!([]));
        // A cache that is being made begins with its tag. Before that, there is nothing to verify.
        let has_begun = sandbox.path("cache/CACHEDIR.TAG").exists();
        let on_disk = names_in(&sandbox.path("cache/tmp")).len();
        assert_eq!(report["temporary_files"], if has_begun { on_disk } else { 0 });
        let listed = self.assert_copies(sandbox);
        let rows: BTreeSet<String> = listed.values().cloned().collect();
        let blobs = sandbox.blobs();
        let name = |blob: &Path| blob.file_name().unwrap().to_str().unwrap().to_owned();
        let blobs: BTreeSet<String> = blobs.iter().map(|blob| name(blob)).collect();
        assert!(rows.is_subset(&blobs), "a row without its blob: {rows:?}, {blobs:?}");
        let orphans = report["orphans"].as_array().unwrap();
        let orphans: BTreeSet<String> = orphans.iter().map(|it| text(it).to_owned()).collect();
        assert_eq!(orphans, blobs.difference(&rows).cloned().collect());
        self.assert_nothing_is_lost(&listed);
        assert_arrivals_are_known(sandbox);
        listed
    }

    /// An egg that exists both before and after was there all the time, as one of the two builds.
    #[track_caller]
    fn assert_nothing_is_lost(&self, listed: &Listing) {
        for (egg, digest) in self.before {
            if let Some(after) = self.after.get(egg) {
                let now = listed.get(egg);
                assert!(now == Some(digest) || now == Some(after), "{egg} is {now:?}");
            }
        }
    }

    /// Copies all eggs to a new folder, and returns them.
    #[track_caller]
    fn assert_copies(&self, sandbox: &Sandbox) -> Listing {
        let fresh = (0..).map(|number| format!("fresh-{number}"));
        let fresh = fresh.into_iter().find(|name| !sandbox.path(name).exists()).unwrap();
        let listed = self.assert_materializes(sandbox, &fresh);
        assert_eq!(names_in(&sandbox.path(&fresh)), listed.keys().cloned().collect::<Vec<_>>());
        listed
    }

    /// Copies all eggs to `into`, where some may already be, and returns them.
    #[track_caller]
    pub fn assert_materializes(&self, sandbox: &Sandbox, into: &str) -> Listing {
        let report = sandbox.json(&format!("materialize --into {into} --all"));
        self.assert_whole(&sandbox.path(into));
        let names = names_in(&sandbox.path(into));
        let listed = listing_of(&report);
        for egg in listed.keys() {
            assert!(names.contains(egg), "{egg} is not in {names:?}");
        }
        assert!(names.iter().all(|name| !name.starts_with(".eggcache-")), "{names:?}");
        listed
    }

    /// Asserts that everything in an eggs directory with its final name is a whole egg.
    #[track_caller]
    pub fn assert_whole(&self, eggs: &Path) {
        for name in names_in(eggs).iter().filter(|name| !name.starts_with(".eggcache-")) {
            let found = tree(&eggs.join(name));
            let builds = self.sources.get(name).map_or(&[][..], Vec::as_slice);
            if !builds.contains(&found) {
                // Fails with a message that shows the difference.
                assert_same(builds.first().expect("it was never built"), &found);
            }
        }
    }

    /// Runs `gc` on a cache that has `eggs` and the eggs directory `into`, and asserts that it
    /// leaves nothing superfluous.
    #[track_caller]
    pub fn assert_gc_tidies(&self, sandbox: &Sandbox, eggs: &Listing, into: &str) {
        sandbox.ok("gc");
        let report = sandbox.json("verify");
        assert_eq!(report["problems"], json!([]));
        assert_eq!(report["orphans"], json!([]));
        assert_eq!(report["temporary_files"], 0);
        assert_eq!(names_in(&sandbox.path("cache/tmp")), [""; 0]);
        let folders = ["cache/roots", "cache/pins", "cache/parity"];
        for records in folders.map(|dir| names_in(&sandbox.path(dir))) {
            assert!(records.iter().all(|name| !name.starts_with(".eggcache-")), "{records:?}");
        }
        let listed = self.assert_materializes(sandbox, into);
        for (egg, digest) in eggs {
            assert_eq!(listed.get(egg), Some(digest), "gc without a policy evicts nothing");
        }
        assert_eq!(sandbox.blobs().len(), listed.len(), "blobs and rows");
        assert_arrivals_are_known(sandbox);
        let tag = fs::read(sandbox.path("cache/CACHEDIR.TAG")).unwrap();
        assert!(tag.starts_with(b"Signature: 8a477f597d28d172789f06886806bc55\n"));
    }

    /// Runs the operation again, to its usual result. Returns the cached eggs.
    #[track_caller]
    pub fn assert_runs_again(&self, operation: &Operation, sandbox: &Sandbox) -> Listing {
        operation.run(sandbox);
        let listed = self.assert_copies(sandbox);
        for (egg, digest) in self.after {
            assert_eq!(listed.get(egg), Some(digest), "{egg}");
        }
        // A blob that a killed gc has not unlinked is an orphan, and the next gc may adopt it.
        if !operation.line.starts_with("gc") {
            assert_eq!(listed.len(), self.after.len(), "{listed:?}");
        }
        listed
    }
}
