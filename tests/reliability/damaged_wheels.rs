//! The damage matrix of wheels: a damaged one is left to buildout, or makes an egg without damaged content.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::counts::{chosen, record};
use crate::support::{Sandbox, files_in, names_in, write};
use crate::wheels::{PYTHON, write_python, write_wheels};

pub type Damage = fn(&mut Vec<u8>, usize);

/// What is done to a wheel at an offset.
pub const DAMAGES: [(&str, Damage); 3] = [
    ("flipped", |bytes, at| bytes[at] ^= 1 << (at % 8)),
    ("cut", Vec::truncate),
    ("zeroed", |bytes, at| {
        let end = (at + 16).min(bytes.len());
        bytes[at..end].fill(0);
    }),
];

/// The contents of all files of an egg but its metadata and bytecode.
fn contents(egg: &Path) -> BTreeSet<Vec<u8>> {
    let is_own = |path: &&std::path::PathBuf| {
        let text = path.to_str().unwrap();
        !text.contains(".dist-info/") && !text.ends_with(".pyc")
    };
    files_in(egg).iter().filter(is_own).map(|path| fs::read(path).unwrap()).collect()
}

/// Converts the wheel in a folder. Returns the egg, if there is one.
fn convert(sandbox: &Sandbox, wheel: &Path, into: &str) -> Option<std::path::PathBuf> {
    let line = format!("--json convert {} --into {into} --python {PYTHON}", wheel.display());
    let output = sandbox.eggcache(&line).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let outcome = &report["wheels"][0]["outcome"];
    assert!(outcome == "converted" || outcome == "left" || output.status.code() == Some(1));
    let names = names_in(&sandbox.path(into));
    assert_eq!(names.len(), usize::from(outcome == "converted"), "{names:?}");
    names.first().map(|name| sandbox.path(into).join(name))
}

#[test]
fn a_damaged_wheel_makes_no_damaged_egg() {
    let sandbox = Sandbox::new();
    write_python(&sandbox);
    let [wheel, _] = write_wheels(&sandbox);
    let sound = contents(&convert(&sandbox, &wheel, "sound").unwrap());
    let bytes = fs::read(&wheel).unwrap();
    let mut tries = 0;
    for (what, damage) in DAMAGES {
        for at in chosen((0..bytes.len()).step_by(3), 29) {
            let mut damaged = bytes.clone();
            damage(&mut damaged, at);
            let path = sandbox.path("damaged").join(wheel.file_name().unwrap());
            write(&path, &damaged);
            let into = format!("into-{what}-{at}");
            if let Some(egg) = convert(&sandbox, &path, &into) {
                let found = contents(&egg);
                assert!(found.is_subset(&sound), "{what} at {at}: {found:?}");
            }
            fs::remove_dir_all(sandbox.path(&into)).unwrap();
            tries += 1;
        }
    }
    record("damage", "wheel: flipped, cut, zeroed", tries);
}
