//! Pins: eggs that stay regardless of the policy.

use serde_json::{Value, json};

use crate::support::{Sandbox, text, write};

/// A sandbox with eggs of zope.interface and foo that have not been used for long.
fn with_eggs() -> Sandbox {
    let sandbox = Sandbox::new();
    for version in ["5.4.0", "6.0"] {
        sandbox.egg("zope.interface", version);
    }
    sandbox.egg("foo", "1.0");
    sandbox.ok("add eggs");
    sandbox.sql("UPDATE eggs SET used_at = 1");
    sandbox
}

fn pins(sandbox: &Sandbox) -> Vec<Value> {
    sandbox.json("pins")["pins"].as_array().unwrap().clone()
}

#[test]
fn gc_keeps_pinned_eggs_with_any_policy() {
    for (pin, kept) in [
        ("foo", vec!["foo==1.0"]),
        ("Zope_Interface==5.4", vec!["zope-interface==5.4.0"]),
        ("zope.interface>=6,<7", vec!["zope-interface==6.0"]),
        ("zope.*", vec!["zope-interface==5.4.0", "zope-interface==6.0"]),
        ("foo-1.0-py3.11.egg", vec!["foo==1.0"]),
    ] {
        let sandbox = with_eggs();
        sandbox.ok(&format!("pin {pin}")).says(&["1 pin added"]);
        sandbox.ok("gc --max-size 0 --max-age 1d --keep-versions 1 --ignore-roots");
        assert_eq!(sandbox.listed(), kept, "{pin}");
        sandbox.ok(&format!("unpin {pin}")).says(&["1 pin removed"]);
        sandbox.ok("gc --max-size 0");
        assert_eq!(sandbox.listed(), [""; 0]);
    }
}

#[test]
fn gc_reports_that_pins_exceed_the_limit() {
    let sandbox = with_eggs();
    sandbox.ok("pin foo");
    let said = sandbox.ok("gc --max-size 1B --ignore-roots").stderr;
    assert!(said.contains("over the limit of 1 B: the rest is pinned (`eggcache pins`)"), "{said}");
}

#[test]
fn an_egg_is_pinned_by_its_digest() {
    let sandbox = with_eggs();
    let digest = sandbox.digest("foo");
    sandbox.ok(&format!("pin {}", &digest[..10]));
    sandbox.ok("gc --max-size 0");
    assert_eq!(sandbox.listed(), ["foo==1.0"]);
}

#[test]
fn pins_are_listed_with_their_notes() {
    let sandbox = with_eggs();
    let pin = ["pin", "zope.*", "foo==1.0", "--note", "the release of May"];
    assert!(sandbox.eggcache("").args(pin).status().unwrap().success());
    let listed = pins(&sandbox);
    assert_eq!(listed.len(), 2);
    assert_eq!((&listed[0]["what"], &listed[0]["eggs"]), (&json!("foo==1.0"), &json!(1)));
    assert_eq!((&listed[1]["what"], &listed[1]["eggs"]), (&json!("zope.*"), &json!(2)));
    assert_eq!(listed[1]["note"], "the release of May");
    let table = sandbox.ok("pins").stdout;
    assert!(table.contains("zope.*") && table.contains("the release of May"), "{table}");
    let kept = sandbox.ok("gc --max-size 0 --dry-run --verbose").stdout;
    assert!(kept.contains("pinned by zope.*: \"the release of May\""), "{kept}");
}

#[test]
fn a_pin_can_be_for_an_egg_that_is_added_later() {
    let sandbox = with_eggs();
    sandbox.ok("pin bar").says(&["note: no cached egg matches bar yet; the pin will apply later"]);
    sandbox.added("bar", "1.0");
    sandbox.ok("gc --max-size 0");
    assert_eq!(sandbox.listed(), ["bar==1.0"]);
}

#[test]
fn pinning_again_changes_the_note_and_nothing_else() {
    let sandbox = with_eggs();
    sandbox.ok("pin foo --note first");
    sandbox.ok("pin Foo --note second");
    let listed = pins(&sandbox);
    assert_eq!((listed.len(), text(&listed[0]["note"])), (1, "second"));
}

#[test]
fn an_invalid_pin_is_refused_and_nothing_is_pinned() {
    let sandbox = with_eggs();
    for what in ["foo>=x", "==1.0", "a/b"] {
        sandbox.fails(&format!("pin foo {what}"), 2).says(&["names no eggs"]);
    }
    let said = sandbox.fails("pin foo=1.0", 2).stderr;
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("as in foo==1.2"), "{said}");
    assert_eq!(pins(&sandbox).len(), 0);
    sandbox.ok("pin foo");
    sandbox.fails("unpin foo bar", 3).says(&["bar is not pinned", "eggcache pins"]);
    assert_eq!(pins(&sandbox).len(), 1);
}

#[test]
fn pins_survive_the_loss_of_the_index() {
    let sandbox = with_eggs();
    sandbox.ok("pin foo");
    sandbox.lose_index();
    sandbox.ok("gc --max-size 0");
    assert_eq!(sandbox.listed(), ["foo==1.0"]);
}

#[test]
fn gc_evicts_nothing_while_a_pin_cannot_be_read() {
    let sandbox = with_eggs();
    write(&sandbox.path("cache/pins/half.json"), b"{");
    sandbox.fails("gc --max-size 0", 1).says(&["half.json"]);
    assert_eq!(sandbox.listed().len(), 3);
}
