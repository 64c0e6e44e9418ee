//! Records of a cache that cannot be read: commands that need them fail and say how to go on, and
//! `verify` finds them all.

use std::fs;

use crate::support::{Sandbox, names_in, text, write};

/// Asserts that `verify` reports this file, that its repair keeps it in quarantine, and that nothing is
/// left to repair.
fn is_repaired(sandbox: &Sandbox, record: &str, loss: &str) {
    sandbox.fails("verify", 4).says(&[record, "verify --repair"]);
    let report = sandbox.json("verify --repair");
    let problem = &report["problems"][0];
    assert_eq!(problem["kind"], "record");
    assert!(text(&problem["repair"]).contains(loss), "{problem}");
    assert_eq!(report["problems"].as_array().unwrap().len(), 1);
    assert_eq!(report["quarantined"], 1);
    sandbox.ok("verify").says(&["no problems", "1 file in quarantine"]);
}

/// A cache with an egg, which has this record.
fn with(record: &str, content: &[u8]) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.egg("foo", "1.0");
    sandbox.ok("add eggs");
    write(&sandbox.path("cache").join(record), content);
    sandbox
}

#[test]
fn a_damaged_pin_is_moved_to_quarantine() {
    let sandbox = with("pins/x.json", b"{");
    for command in ["pins", "gc", "gc --dry-run"] {
        sandbox.fails(command, 1).says(&["pins/x.json is damaged", "verify --repair"]);
    }
    sandbox.ok("stats").says(&["pins/x.json is damaged", "verify --repair"]);
    is_repaired(&sandbox, "pins/x.json", "the eggs of this pin can be evicted");
    sandbox.ok("gc");
}

#[test]
fn a_damaged_root_is_moved_to_quarantine() {
    let sandbox = with("roots/x.json", b"[1]");
    sandbox.ok("stats").says(&["roots/x.json is damaged", "verify --repair"]);
    sandbox.fails("roots", 4).says(&["roots/x.json is damaged", "verify --repair"]);
    is_repaired(&sandbox, "roots/x.json", "the next run of that buildout records it again");
}

#[test]
fn a_damaged_record_of_withdrawals_is_moved_to_quarantine() {
    let sandbox = with("withdrawals/team.json", b"");
    for command in ["list", "materialize --into out --all"] {
        sandbox.fails(command, 1).says(&["withdrawals/team.json is damaged", "verify --repair"]);
    }
    is_repaired(&sandbox, "withdrawals/team.json", "reads the list of this remote again");
    sandbox.ok("materialize --into out --all");
}

#[test]
fn a_fifo_in_place_of_a_record_is_moved_to_quarantine() {
    let sandbox = with("pins/other.json", b"{");
    let fifo = sandbox.path("cache/pins/other.json");
    fs::remove_file(&fifo).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, 0o600.into()).unwrap();
    is_repaired(&sandbox, "pins/other.json", "quarantine/other.json");
    assert_eq!(names_in(&sandbox.path("cache/quarantine")), ["other.json"]);
}
