//! The damage matrix: every kind of damage in every kind of place. Damaged eggs are found and never
//! copied out, sound eggs stay, and after a repair there is nothing left to repair.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::counts::{chosen, record};
use crate::support::{Sandbox, assert_same_tree, chmod, host, names_in, noise};

const EGGS: [&str; 3] = ["bad-1.0-py3.11.egg", "good-1.0-py3.11.egg", "last-1.0-py3.11.egg"];
const LOG: &str = "cache/index.sqlite-wal";

/// One kind of damage: its description and the function that causes it.
type Case<'a> = (&'a str, &'a dyn Fn(&Sandbox));

/// A cache with two eggs, a third whose row is in the write-ahead log only, and a temporary file:
/// the state that a killed process leaves behind.
struct Template {
    sandbox: Sandbox,
    /// The blob to damage, relative to the sandbox.
    blob: PathBuf,
    /// Offsets of its manifest and its first frame.
    manifest: usize,
    data: usize,
}

impl Template {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        for name in ["bad", "good"] {
            let large = noise(300_000);
            sandbox.egg_with(name, "1.0", &[("large.bin", &large), ("text.txt", &[b'x'; 900])]);
        }
        sandbox.ok("add eggs");
        let egg = sandbox.egg("last", "1.0");
        let mut bridge = sandbox.process(crate::support::EGGCACHE);
        bridge.arg("serve").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut bridge = bridge.spawn().unwrap();
        let open = json!({"op": "open", "cache": sandbox.path("cache"), "host": host()});
        let store = json!({"op": "store", "path": egg, "source_sha256": "", "variant": ""});
        let mut lines =
            std::io::BufRead::lines(std::io::BufReader::new(bridge.stdout.take().unwrap()));
        let greeting: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert!(greeting["protocol"].is_number());
        let settle = json!({"op": "settle"});
        for (request, answer) in [(open, "read_only"), (store, "outcome"), (settle, "outcomes")] {
            let input = bridge.stdin.as_mut().unwrap();
            std::io::Write::write_all(input, format!("{request}\n").as_bytes()).unwrap();
            let mut answers = lines.by_ref().map(Result::unwrap);
            let line = answers.find(|line| !line.starts_with("{\"busy\":")).unwrap();
            let reply: Value = serde_json::from_str(&line).unwrap();
            assert!(!reply[answer].is_null(), "{line}");
        }
        bridge.kill().unwrap();
        bridge.wait().unwrap();
        assert!(sandbox.path(LOG).metadata().unwrap().len() > 0);
        fs::write(sandbox.path("cache/tmp/.eggcache-dead"), noise(5000)).unwrap();
        let copy = copy_of(&sandbox);
        let blob = copy.blob("bad");
        let content = fs::read(&blob).unwrap();
        let data =
            usize::try_from(u64::from_le_bytes(content[32..40].try_into().unwrap())).unwrap();
        let blob = blob.strip_prefix(copy.path("").canonicalize().unwrap()).unwrap().to_owned();
        Self { sandbox, blob, manifest: 128, data }
    }
}

pub fn copy_of(template: &Sandbox) -> Sandbox {
    let sandbox = Sandbox::new();
    let from = template.path("");
    sandbox.shell(&format!("rm -r eggs other && cp -a '{}/.' .", from.display()));
    sandbox
}

/// Changes a file regardless of its mode, and restores that mode.
pub fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mode = path.metadata().unwrap().permissions();
    let mut content = fs::read(path).unwrap();
    change(&mut content);
    chmod(path, 0o644);
    fs::write(path, content).unwrap();
    fs::set_permissions(path, mode).unwrap();
}

/// Asserts that only whole eggs were copied out, and returns their names.
fn came_out(sandbox: &Sandbox, out: &str) -> Vec<String> {
    let names = names_in(&sandbox.path(out));
    for name in &names {
        assert_same_tree(&sandbox.path("eggs").join(name), &sandbox.path(out).join(name));
    }
    names
}

pub fn exit(sandbox: &Sandbox, line: &str) -> (i32, String, String) {
    let output = sandbox.eggcache(line).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// The part of the cache that is damaged.
#[derive(Clone, Copy, PartialEq)]
enum Of {
    /// The blob of the egg `bad`; the other two blobs are sound.
    Blob,
    /// The index or its log; every blob is sound.
    Index,
    /// A temporary file that nothing needs.
    Temporary,
}

/// Damages a copy of the template and asserts every promise about damaged caches.
fn tried(template: &Template, what: &str, of: Of, damage: impl FnOnce(&Sandbox)) {
    let sandbox = copy_of(&template.sandbox);
    damage(&sandbox);
    let whole: &[&str] = if of == Of::Blob { &EGGS[1..] } else { &EGGS };

    // Never copied out. An index that cannot be read may hide sound eggs as well.
    let (code, _, said) = exit(&sandbox, "materialize --into out --all");
    assert!([0, 1, 3].contains(&code), "{what}: {code} {said}");
    let out = came_out(&sandbox, "out");
    assert!(out.iter().all(|name| whole.contains(&&**name)), "{what}: {out:?}");
    if of != Of::Index {
        assert_eq!(out, whole, "{what}");
    }

    // Found.
    let (code, report, said) = exit(&sandbox, "--json verify");
    if code == 1 && said.contains("newer eggcache") {
        return; // one flipped bit of the schema version looks like a newer version
    }
    let report: Value = serde_json::from_str(&report).unwrap_or_default();
    match of {
        Of::Blob => {
            assert_eq!(code, 4, "{what}: {said}");
            let problems = report["problems"].as_array().unwrap();
            assert!(problems.iter().any(|it| it["file_name"] == EGGS[0]), "{what}: {problems:?}");
        }
        Of::Index => {
            let reported = code == 4 || report["orphans"] != json!([]);
            assert!(code == 0 || code == 4, "{what}: {code} {said}");
            assert!(reported || came_out(&sandbox, "out") == whole, "{what}: {said}");
        }
        Of::Temporary => assert_eq!((code, &report["problems"]), (0, &json!([])), "{what}"),
    }

    // Repaired.
    let (code, _, said) = exit(&sandbox, "verify --repair");
    assert_eq!(code, 0, "{what}: {said}");
    let (code, _, said) = exit(&sandbox, "verify");
    assert_eq!(code, 0, "{what}: {said}");
    sandbox.ok("materialize --into repaired --all");
    assert_eq!(came_out(&sandbox, "repaired"), whole, "{what}");

    // Complete again once the egg has been rebuilt.
    sandbox.ok("add eggs");
    sandbox.ok("gc");
    sandbox.ok("materialize --into again --all");
    assert_eq!(came_out(&sandbox, "again"), EGGS, "{what}");
    sandbox.assert_tidy();
}

/// Asserts that `reindex` alone restores the row of every sound blob.
fn reindexed(template: &Template, what: &str, damage: impl FnOnce(&Sandbox)) {
    let sandbox = copy_of(&template.sandbox);
    damage(&sandbox);
    let (code, _, said) = exit(&sandbox, "reindex");
    if code == 1 && said.contains("newer eggcache") {
        return;
    }
    assert_eq!(code, 0, "{what}: {said}");
    sandbox.ok("materialize --into out --all");
    assert_eq!(came_out(&sandbox, "out"), EGGS, "{what}");
}

#[test]
fn a_damaged_blob_is_found_never_copied_and_quarantined() {
    let template = Template::new();
    let length = template.sandbox.path("").join(&template.blob).metadata().unwrap().len();
    let length = usize::try_from(length).unwrap();
    let places = [
        ("header", 0..template.manifest, 19),
        ("manifest", template.manifest..template.data, 53),
        ("frames", template.data..length, 60_013),
    ];
    for (place, range, stride) in places {
        // A frame of 256 KiB has one digest, so there is no need to flip every byte.
        let step = if place == "frames" { 997 } else { 1 };
        let mut flips = 0;
        for at in chosen(range.clone().step_by(step), stride / step + 1) {
            tried(&template, &format!("flip {at} of the {place}"), Of::Blob, |sandbox| {
                change(&sandbox.path("").join(&template.blob), |it| it[at] ^= 1 << (at % 8));
            });
            flips += 1;
        }
        record("damage", &format!("{place}: flipped bits"), flips);
        let mut cuts = 0;
        for at in chosen(range.step_by(step * 5), stride) {
            tried(&template, &format!("cut at {at} in the {place}"), Of::Blob, |sandbox| {
                change(&sandbox.path("").join(&template.blob), |it| it.truncate(at));
            });
            cuts += 1;
        }
        record("damage", &format!("{place}: cut off there"), cuts);
    }
}

#[test]
fn a_missing_replaced_or_writable_blob_is_found_and_repaired() {
    let template = Template::new();
    let bad = |sandbox: &Sandbox| sandbox.path("").join(&template.blob);
    tried(&template, "deleted", Of::Blob, |it| fs::remove_file(bad(it)).unwrap());
    tried(&template, "empty", Of::Blob, |it| change(&bad(it), Vec::clear));
    tried(&template, "replaced by another blob", Of::Blob, |it| {
        let other = it.blob("good");
        change(&bad(it), |content| *content = fs::read(other).unwrap());
    });
    tried(&template, "replaced by a directory", Of::Blob, |it| {
        fs::remove_file(bad(it)).unwrap();
        fs::create_dir(bad(it)).unwrap();
    });
    record("damage", "blob: deleted, emptied, replaced", 4);
    for mode in [0o666, 0o777, 0o200] {
        let sandbox = copy_of(&template.sandbox);
        chmod(&bad(&sandbox), mode);
        let (code, report, _) = exit(&sandbox, "--json verify");
        assert_eq!(code, 4, "{mode:o}");
        assert!(report.contains("bad-1.0"), "{mode:o}: {report}");
        sandbox.ok("verify --repair");
        sandbox.ok("verify");
        sandbox.ok("materialize --into out --all");
        assert_eq!(came_out(&sandbox, "out"), EGGS);
    }
    record("damage", "blob: permissions", 3);
}

#[test]
fn a_damaged_index_loses_no_egg() {
    let template = Template::new();
    // Opening the cache to write it moves the log into the index, so that the index file holds every page.
    let sandbox = copy_of(&template.sandbox);
    sandbox.ok("init");
    assert!(!sandbox.path(LOG).exists());
    let whole = Template { sandbox, ..template };
    let index = "cache/index.sqlite";
    let length = usize::try_from(whole.sandbox.path(index).metadata().unwrap().len()).unwrap();
    let mut flips = 0;
    // SQLite's header first, then the pages.
    for at in chosen((0..100).chain((100..length).step_by(61)), 41) {
        let damage = |it: &Sandbox| change(&it.path(index), |it| it[at] ^= 1 << (at % 8));
        let what = format!("flip {at} of the index");
        tried(&whole, &what, Of::Index, damage);
        reindexed(&whole, &what, damage);
        flips += 1;
    }
    record("damage", "index: flipped bits", flips);
    let mut cuts = 0;
    for at in chosen((0..length).step_by(512), 7) {
        let damage = |it: &Sandbox| change(&it.path(index), |it| it.truncate(at));
        let what = format!("the index cut at {at}");
        tried(&whole, &what, Of::Index, damage);
        reindexed(&whole, &what, damage);
        cuts += 1;
    }
    record("damage", "index: cut off", cuts);
    let other = Sandbox::new();
    other.egg("elsewhere", "1.0");
    other.ok("add eggs");
    let replacements: [Case<'_>; 3] = [
        ("deleted", &|it| fs::remove_file(it.path(index)).unwrap()),
        ("of another cache", &|it| {
            fs::copy(other.path(index), it.path(index)).unwrap();
        }),
        ("a blob", &|it| {
            fs::copy(it.path("").join(&whole.blob), it.path("copy")).unwrap();
            fs::rename(it.path("copy"), it.path(index)).unwrap();
            chmod(&it.path(index), 0o644);
        }),
    ];
    for (what, damage) in replacements {
        tried(&whole, &format!("the index is {what}"), Of::Index, damage);
        reindexed(&whole, &format!("the index is {what}"), damage);
    }
    record("damage", "index: deleted, replaced", replacements.len());
}

#[test]
fn a_damaged_log_loses_no_egg() {
    let template = Template::new();
    let length = usize::try_from(template.sandbox.path(LOG).metadata().unwrap().len()).unwrap();
    let mut tries = 0;
    let mut try_it = |what: &str, damage: &dyn Fn(&Sandbox)| {
        tried(&template, what, Of::Index, damage);
        reindexed(&template, what, damage);
        tries += 1;
    };
    for at in chosen((0..64).chain((64..length).step_by(211)), 29) {
        try_it(&format!("flip {at} of the log"), &|it| {
            change(&it.path(LOG), |it| it[at] ^= 1 << (at % 8));
        });
    }
    for at in chosen((0..length).step_by(1021), 7) {
        try_it(&format!("the log cut at {at}"), &|it| change(&it.path(LOG), |it| it.truncate(at)));
    }
    try_it("the log is deleted", &|it| fs::remove_file(it.path(LOG)).unwrap());
    try_it("the log is a blob", &|it| {
        let blob = fs::read(it.path("").join(&template.blob)).unwrap();
        change(&it.path(LOG), |log| *log = blob);
    });
    try_it("the log's shared memory is noise", &|it| {
        fs::write(it.path("cache/index.sqlite-shm"), noise(32_768)).unwrap();
    });
    record("damage", "log: flipped, cut, deleted, replaced", tries);
}

#[test]
fn damage_to_a_temporary_file_is_harmless() {
    let template = Template::new();
    let temporary = "cache/tmp/.eggcache-dead";
    let damages: [Case<'_>; 5] = [
        ("flipped", &|it| change(&it.path(temporary), |it| it[100] ^= 1)),
        ("empty", &|it| change(&it.path(temporary), Vec::clear)),
        ("deleted", &|it| fs::remove_file(it.path(temporary)).unwrap()),
        ("a blob", &|it| {
            fs::copy(it.path("").join(&template.blob), it.path(temporary)).unwrap();
        }),
        ("without permissions", &|it| chmod(&it.path(temporary), 0)),
    ];
    for (what, damage) in damages {
        tried(&template, &format!("the temporary file is {what}"), Of::Temporary, damage);
    }
    record("damage", "temporary file", damages.len());
}
