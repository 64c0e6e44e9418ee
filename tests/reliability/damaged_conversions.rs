//! The damage matrix of what a conversion writes: the record of a comparison, an egg in an eggs directory, its
//! blob, and what a killed conversion leaves.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};

use crate::counts::{chosen, record};
use crate::damage::{change, copy_of, exit};
use crate::damaged_wheels::DAMAGES;
use crate::support::{Sandbox, assert_same_tree, chmod, names_in, write};
use crate::wheels::{Requests, ask, parity_record};

const PROJECT: &str = "packaged";

/// Converts the wheel in an empty eggs directory. Returns the answer, and the name of the egg if there is one.
fn convert(sandbox: &Sandbox, requests: &Requests) -> (Value, Option<String>) {
    let _ = fs::remove_dir_all(sandbox.path("out"));
    fs::create_dir(sandbox.path("out")).unwrap();
    let answers = ask(sandbox, &[requests.convert(PROJECT)]);
    let egg = names_in(&sandbox.path("out")).pop();
    assert_eq!(answers[0]["egg"].is_string(), egg.is_some(), "{answers:?}");
    (answers[0].clone(), egg)
}

/// A sandbox that has converted and stored an egg, and its name. `eggs` has the egg, too.
fn converted() -> (Sandbox, Requests, String) {
    let sandbox = Sandbox::new();
    let requests = Requests::prepared(&sandbox);
    let egg = convert(&sandbox, &requests).1.unwrap();
    store(&sandbox, &egg);
    sandbox.shell("cp -a out/. eggs");
    (sandbox, requests, egg)
}

fn store(sandbox: &Sandbox, egg: &str) {
    let settle = json!({"op": "settle"});
    ask(sandbox, &[Requests::store(sandbox, PROJECT, egg), settle]);
}

/// Asserts that a damaged record counts as none, or says the same as before.
fn damage_record(sandbox: &Sandbox, requests: &Requests, is_equal: bool) {
    let path = parity_record(sandbox);
    let sound = fs::read(&path).unwrap();
    let answer = convert(sandbox, requests).0;
    assert_eq!(answer["egg"].is_string(), is_equal, "{answer}");
    let mut tries = 0;
    for (what, damage) in DAMAGES {
        for at in chosen(0..sound.len(), 41) {
            let mut damaged = sound.clone();
            damage(&mut damaged, at);
            write(&path, &damaged);
            let (answer, egg) = convert(sandbox, requests);
            let is_known = answer != json!({"compare": true});
            // The text that says how the eggs differ may be damaged.
            let is_converted = answer["egg"].is_string();
            assert!(!is_known || is_converted == is_equal, "{what} at {at}: {answer}");
            if let Some(egg) = egg {
                assert_same_tree(&sandbox.path("eggs").join(&egg), &sandbox.path("out").join(&egg));
            }
            tries += 1;
        }
    }
    sandbox.ok("verify");
    write(&path, &sound);
    let of = if is_equal { "equal" } else { "different" };
    record("damage", &format!("comparison of {of} eggs: flipped, cut, zeroed"), tries);
}

#[test]
fn a_damaged_record_of_a_comparison_changes_no_verdict() {
    let (sandbox, requests, _) = converted();
    damage_record(&sandbox, &requests, true);
    fs::remove_file(parity_record(&sandbox)).unwrap();
    ask(&sandbox, &[requests.compare("flat")]);
    damage_record(&sandbox, &requests, false);
}

#[test]
fn a_damaged_blob_of_a_converted_egg_is_found_and_made_again() {
    let (template, requests, egg) = converted();
    let digest = template.digest(PROJECT);
    let length = fs::read(template.blob(PROJECT)).unwrap().len();
    let mut tries = 0;
    for (what, damage) in DAMAGES {
        for at in chosen((0..length).step_by(29), 17) {
            let sandbox = copy_of(&template);
            change(&sandbox.blob(PROJECT), |content| damage(content, at));
            let (code, report, said) = exit(&sandbox, "--json verify");
            let problems = &serde_json::from_str::<Value>(&report).unwrap()["problems"];
            // A byte that is zero already is not damaged.
            if code != 0 {
                assert_eq!((code, problems.as_array().unwrap().len()), (4, 1), "{what}: {said}");
                assert_eq!(problems[0]["file_name"], egg, "{what} at {at}");
            }
            sandbox.ok("verify --repair");
            assert_eq!(convert(&sandbox, &requests).1.as_ref(), Some(&egg));
            store(&sandbox, &egg);
            assert_eq!(sandbox.digest(PROJECT), digest, "{what} at {at}");
            sandbox.ok("verify");
            tries += 1;
        }
    }
    record("damage", "blob of a converted egg: flipped, cut, zeroed", tries);
}

/// Something that is done to a path, in words and as a function.
type Case = (&'static str, fn(&Path));

/// What is done to an egg in an eggs directory.
const CHANGES: [Case; 5] = [
    ("a changed module", |egg| write(&egg.join("packaged/__init__.py"), b"x = 2\n")),
    ("a module that is cut off", |egg| write(&egg.join("packaged/__init__.py"), b"")),
    ("a file that is missing", |egg| fs::remove_file(egg.join("packaged/data/text.txt")).unwrap()),
    ("another mode", |egg| chmod(&egg.join("packaged/wrong.py"), 0o755)),
    ("no metadata", |egg| {
        let info = names_in(egg).into_iter().find(|name| name.ends_with(".dist-info")).unwrap();
        fs::remove_dir_all(egg.join(info)).unwrap();
    }),
];

#[test]
fn a_damaged_converted_egg_is_found_and_copied_again() {
    let (template, _, egg) = converted();
    for (what, damage) in CHANGES {
        let sandbox = copy_of(&template);
        sandbox.shell("mkdir -p app/eggs && touch app/buildout.cfg && cp -a out/. app/eggs");
        sandbox.ok("check --full app");
        let damaged = sandbox.path("app/eggs").join(&egg);
        damage(&damaged);
        let (code, report, said) = exit(&sandbox, "--json check --full app");
        assert!(code == 4 && report.contains(&egg), "{what}: {code} {report} {said}");
        sandbox.ok("check --repair app");
        assert_same_tree(&sandbox.path("out").join(&egg), &damaged);
        sandbox.ok("check --full app");
    }
    record("damage", "converted egg: changed, cut off, incomplete", CHANGES.len());
}

/// What a killed conversion may leave, and what may have become of that.
const LEFT: [Case; 5] = [
    ("half of an egg", |temp| write(&temp.join("egg/packaged/__init__.py"), b"x =")),
    ("nothing", |temp| fs::create_dir(temp).unwrap()),
    ("a folder that nobody may read", |temp| {
        write(&temp.join("egg/packaged/__init__.py"), b"x = 1\n");
        chmod(&temp.join("egg"), 0);
    }),
    ("a file", |temp| write(temp, b"x")),
    ("a link that leads outside", |temp| {
        fs::create_dir(temp).unwrap();
        symlink("../../eggs", temp.join("egg")).unwrap();
    }),
];

#[test]
fn what_a_killed_conversion_leaves_is_harmless() {
    let (template, requests, egg) = converted();
    for (what, leave) in LEFT {
        let sandbox = copy_of(&template);
        fs::remove_dir_all(sandbox.path("out")).unwrap();
        fs::create_dir(sandbox.path("out")).unwrap();
        leave(&sandbox.path("out/.eggcache-killed"));
        let spool = json!({"op": "spool", "into": "out"});
        let answers = ask(&sandbox, &[spool, requests.convert(PROJECT)]);
        assert!(answers[1]["egg"].is_string(), "{what}: {answers:?}");
        assert_eq!(names_in(&sandbox.path("out")), std::slice::from_ref(&egg), "{what}");
        let eggs = ["out", "eggs"].map(|folder| sandbox.path(folder).join(&egg));
        assert_same_tree(&eggs[0], &eggs[1]);
    }
    record("damage", "what a killed conversion leaves", LEFT.len());
}
