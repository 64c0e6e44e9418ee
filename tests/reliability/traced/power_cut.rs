//! The power fails after every call of every operation, and what was not synced is lost:
//! everything, only the bytes, or a random part.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::calls::Effect;
use super::checks::{Expected, all_hold};
use super::disk::Disk;
use super::operations::{
    self, Listing, Operation, Sources, assert_root_is_there, copy, each_outcome, listing, sources,
    test_each_operation,
};
use super::survival::Survival;
use super::tracer::{self, Plan};
use crate::counts::{chosen, thorough};
use crate::support::{Sandbox, files_in, names_in, skip, text, write};

/// The quick part tries one cut in this many. Not a multiple of the number of survival models.
const STRIDE: usize = 31;

/// How many seeds a thorough run tries for each cut.
const SEEDS: u64 = 3;

/// The power fails after `events` effects.
struct Cut {
    events: usize,
    last: String,
    survival: Survival,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, last, survival } = self;
        write!(f, "power cut after effect {events}, {last}, survival {survival:?}")
    }
}

/// A sequence of operations, and the state of the cache between them.
struct Story<'a> {
    operations: &'a [&'a Operation],
    sources: Sources,
    begin: Disk,
    effects: Vec<Effect>,
    /// The number of effects when each operation ended.
    ends: Vec<usize>,
    /// The cached eggs at the beginning and after each operation.
    listings: Vec<Listing>,
    /// Each promise in the answers of a server, and the number of effects at that time.
    promises: Vec<(usize, Value)>,
    /// Where it was recorded and where it is replayed: the cache stores paths.
    sandbox: Sandbox,
}

impl<'a> Story<'a> {
    fn record(operations: &'a [&'a Operation]) -> Self {
        let sandbox = operations[0].prepared();
        // On copies, because listing opens a cache and may write to it.
        let first = if operations[0].mends { Listing::new() } else { listing(&copy(&sandbox)) };
        let mut story = Self {
            operations,
            sources: sources(&sandbox),
            begin: Disk::of(&sandbox.path("")),
            effects: Vec::new(),
            ends: Vec::new(),
            listings: vec![first],
            promises: Vec::new(),
            sandbox,
        };
        for operation in operations {
            story.record_operation(operation);
        }
        story.disk_after(story.effects.len()).assert_is(&story.sandbox);
        story
    }

    fn record_operation(&mut self, operation: &Operation) {
        let (command, sandbox) = (operation.command(&self.sandbox), &self.sandbox);
        let trace = tracer::run(&command, &sandbox.path(""), Plan::Record).unwrap();
        assert!(operation.is_good(trace.code), "{}", trace.stderr);
        assert_eq!(operation.refusals(&trace.stdout), [""; 0]);
        let begin = self.effects.len();
        let answer = |line: &str| serde_json::from_str::<Value>(line).ok();
        let promises = |(done, line): &(usize, String)| {
            let (done, answers) = (begin + done, answer(line).map(each_outcome));
            answers.into_iter().flatten().map(move |answer| (done, answer)).collect::<Vec<_>>()
        };
        let is_promise = |answer: &Value| answer["egg"].is_object() || answer["registered"] == true;
        let promises = trace.printed.iter().flat_map(promises).filter(|it| is_promise(&it.1));
        self.promises.extend(promises);
        self.effects.extend(trace.done);
        self.ends.push(self.effects.len());
        self.listings.push(listing(&copy(sandbox)));
    }

    fn disk_after(&self, events: usize) -> Disk {
        let mut disk = self.begin.clone();
        self.effects[..events].iter().for_each(|effect| disk.apply(effect));
        disk
    }

    /// A cut right after a promise or an end is always tried.
    fn cuts(&self) -> Vec<Cut> {
        let promises = self.promises.iter().map(|promise| promise.0);
        let always: Vec<usize> = self.ends.iter().copied().chain(promises).collect();
        let seeds = if thorough() { SEEDS } else { 1 };
        let cuts_at = move |events: usize| {
            let random = (0..seeds).map(move |seed| Survival::Random(events as u64 * SEEDS + seed));
            [Survival::Strict, Survival::NamesFirst].into_iter().chain(random).map(
                move |survival| {
                    let last = self.effects[events - 1].name();
                    Cut { events, last, survival }
                },
            )
        };
        let inside = (1..=self.effects.len()).filter(|events| !always.contains(events));
        let inside = chosen(inside.flat_map(cuts_at), STRIDE);
        inside.chain(always.iter().copied().flat_map(cuts_at)).collect()
    }
}

fn loses_power(name: &str, operations: &[&Operation]) {
    if !tracer::is_permitted() {
        return skip("processes cannot be traced here");
    }
    let story = Story::record(operations);
    all_hold("power cut", name, story.cuts(), |cut| story.holds_after(cut));
}

impl Story<'_> {
    fn holds_after(&self, &Cut { events, survival, .. }: &Cut) {
        let disk = self.disk_after(events);
        let Self { sandbox, sources, .. } = self;
        clear(sandbox);
        disk.write(survival, &["cache", "out"], &sandbox.path(""));

        let running = self.ends.iter().position(|&end| events <= end).unwrap();
        let has_ended = events == self.ends[running];
        let before = &self.listings[if has_ended { running + 1 } else { running }];
        let after = &self.listings[running + 1];
        let expected = Expected { sources, before, after };
        if self.operations[running].mends && !has_ended {
            self.operations[running].run(sandbox);
        }
        assert_copies_are_mended(&expected, sandbox, survival);
        let eggs = expected.assert_sound(sandbox);
        for (_, answer) in self.promises.iter().filter(|&&(made, _)| made <= events) {
            if answer["registered"] == true {
                assert_root_is_there(sandbox, answer);
                continue;
            }
            let egg = &answer["egg"];
            let digest = eggs.get(text(&egg["file_name"]));
            assert_eq!(digest.map(String::as_str), egg["digest"].as_str(), "the answer said so");
        }
        expected.assert_gc_tidies(sandbox, &eggs, "tidy");
    }
}

/// Keeps only the built eggs and the file of requests.
fn clear(sandbox: &Sandbox) {
    for name in names_in(&sandbox.path("")) {
        let path = sandbox.path(&name);
        if !["eggs", "other", "requests"].contains(&name.as_str()) {
            sandbox.shell(&format!("chmod -R u+rwX {name} && rm -r {name}"));
            assert!(!path.exists());
        }
    }
}

/// Asserts that eggs damaged by the power cut are whole after the next start and `materialize`.
fn assert_copies_are_mended(expected: &Expected<'_>, sandbox: &Sandbox, survival: Survival) {
    for record in files_in(&sandbox.path("cache/copies")) {
        let content = fs::read(&record).unwrap();
        // A torn record is left for the command to handle.
        if let Ok(mut content) = serde_json::from_slice::<Value>(&content) {
            content["boot"] = "00000000-0000-4000-8000-000000000000".into();
            write(&record, content.to_string().as_bytes());
        }
        // The replay created the directory anew, and the record's name depends on its inode.
        if let Ok(out) = sandbox.path("out").canonicalize() {
            let inode = out.metadata().unwrap().ino().to_le_bytes();
            let name = blake3::hash(&[out.as_os_str().as_encoded_bytes(), &inode].concat());
            let name = format!("{}.json", &name.to_hex()[..32]);
            fs::rename(&record, record.with_file_name(name)).unwrap();
        }
    }
    // If times and modes are lost although a later name survives, which no journal does, nothing
    // may prove that a copy is torn: it then blocks the egg, and is never taken for a whole one.
    if matches!(survival, Survival::Random(_)) {
        let output = sandbox.eggcache("--json materialize --into out --all").output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        for egg in report["eggs"].as_array().unwrap().iter().filter(|it| it["outcome"] == "failed")
        {
            assert!(text(&egg["reason"]).contains("is in the way of"), "{egg}");
            let name = text(&egg["file_name"]);
            sandbox.shell(&format!("chmod -R u+rwX out/{name} && rm -r out/{name}"));
        }
    }
    expected.assert_materializes(sandbox, "out");
}

pub fn loses_power_in(operation: &Operation) {
    loses_power(operation.name, &[operation]);
}

test_each_operation!(
    a_power_cut_loses_nothing_acknowledged,
    crate::traced::power_cut::loses_power_in
);

#[test]
fn a_power_cut_between_operations_loses_nothing_acknowledged() {
    let operations: Vec<&Operation> = operations::SEVERAL.iter().collect();
    loses_power("several operations", &operations);
}

#[test]
fn a_missing_sync_of_a_record_of_arrival_is_detected() {
    if !tracer::is_permitted() {
        return skip("processes cannot be traced here");
    }
    let mut story = Story::record(&[&operations::PULL]);
    let events = story.effects.len();
    let cut = Cut { events, last: String::new(), survival: Survival::Strict };
    story.holds_after(&cut);
    for effect in &mut story.effects {
        let path = effect.path().to_owned();
        if path == Path::new("cache/arrivals.jsonl") && matches!(effect, Effect::Sync { .. }) {
            *effect = Effect::SyncRange { path };
        }
    }
    let holds = catch_unwind(AssertUnwindSafe(|| story.holds_after(&cut)));
    assert!(holds.is_err());
}

#[test]
fn a_missing_sync_is_detected() {
    if !tracer::is_permitted() {
        return skip("processes cannot be traced here");
    }
    let mut story = Story::record(&[&operations::SERVE]);
    let [(stored, answer), (registered, _)] = &story.promises[..] else { panic!("two promises") };
    let (stored, registered) = (*stored, *registered);
    let folder = PathBuf::from(format!("cache/blobs/{}", &text(&answer["egg"]["digest"])[..2]));
    let effects = story.effects.clone();
    let mut needed = vec![
        (stored, Path::new("cache/index.sqlite-wal")),
        (stored, Path::new("cache/tmp")),
        (stored, &folder),
        (registered, Path::new("cache/roots")),
    ];
    // The folder may already exist because of another egg.
    if effects.iter().any(|it| matches!(it, Effect::MakeDirectory { .. }) && it.path() == folder) {
        needed.push((stored, Path::new("cache/blobs")));
    }
    for (events, without) in needed {
        let cut = Cut { events, last: String::new(), survival: Survival::Strict };
        story.effects.clone_from(&effects);
        story.holds_after(&cut);
        for effect in &mut story.effects {
            let path = effect.path().to_owned();
            let is_it = path == without || path.parent() == Some(without) && path != folder;
            if is_it && matches!(effect, Effect::Sync { .. }) {
                *effect = Effect::SyncRange { path };
            }
        }
        let holds = catch_unwind(AssertUnwindSafe(|| story.holds_after(&cut)));
        assert!(holds.is_err(), "a missing sync of {} is not noticed", without.display());
    }
}
