//! A miss suggests eggs in the cache that the user may have meant.

use crate::support::{Sandbox, write};

fn with_interfaces() -> Sandbox {
    let sandbox = Sandbox::new();
    for version in ["8.0", "7.2", "7.10"] {
        sandbox.egg("zope.interface", version);
    }
    sandbox.egg("lxml", "6.1.3");
    sandbox.ok("add eggs");
    sandbox
}

#[test]
fn a_misspelled_name_gets_a_suggestion() {
    let sandbox = with_interfaces();
    let says = "error: the cache has no egg zope.interfce\nhint: the nearest name is \
                zope.interface (7.2, 7.10, 8.0)\n";
    sandbox.fails("show zope.interfce", 3).says(&[says]);
    sandbox.fails("show Zope_Interfce==7.2", 3).says(&["the nearest name is zope.interface"]);
    let egg = "zope.interfaec-7.2-py3.11.egg";
    sandbox.fails(&format!("show {egg}"), 3).says(&["the nearest name is zope.interface"]);
}

#[test]
fn an_absent_version_gets_a_list_of_the_cached_ones() {
    let sandbox = with_interfaces();
    let says = "no egg zope.interface==9\nhint: the cache has zope.interface 7.2, 7.10, 8.0\n";
    sandbox.fails("materialize --into out zope.interface==9", 3).says(&[says]);
    let egg = "show zope.interface-9.0-py3.11.egg";
    sandbox.fails(egg, 3).says(&["hint: the cache has zope.interface 7.2, 7.10, 8.0"]);
}

#[test]
fn eggs_for_another_python_are_mentioned() {
    let sandbox = with_interfaces();
    let says = "no egg lxml\nhint: the cache has it for another Python, platform or generation: \
                lxml-6.1.3-py3.11.egg\n";
    sandbox.fails("show lxml --python 3.12", 3).says(&[says]);
}

#[test]
fn each_of_several_misses_gets_its_own_suggestion() {
    let sandbox = with_interfaces();
    let pins = b"lxlm==6.1.3\nzope.interface==1\nnothing==1\nlxml==6.1.3\n";
    write(&sandbox.path("pins.txt"), pins);
    sandbox.fails("materialize --into out --requirements pins.txt", 3).says(&[
        "no egg lxlm==6.1.3, zope.interface==1, nothing==1\n",
        "\nhint: lxlm==6.1.3: the nearest name is lxml (6.1.3)\n",
        "\nhint: zope.interface==1: the cache has zope.interface 7.2, 7.10, 8.0\n",
    ]);
    assert!(!sandbox.path("out").exists());
}

#[test]
fn a_name_without_similar_names_gets_no_suggestion() {
    let sandbox = with_interfaces();
    let output = sandbox.fails("--json show numpy", 3);
    assert_eq!(output.stderr, "error: the cache has no egg numpy\n");
    assert_eq!(output.stdout, "");
    sandbox.fails("show 0123456789abcdef", 3).says(&["no egg 0123456789abcdef\n"]);
}

#[test]
fn unpin_of_an_absent_pin_suggests_a_similar_pin() {
    let sandbox = with_interfaces();
    sandbox
        .fails("unpin lxml", 3)
        .says(&["error: lxml is not pinned\nhint: `eggcache pins --cache cache` lists the pins\n"]);
    sandbox.ok("pin zope.interface==5.4.0 zope.*");
    sandbox.fails("unpin zope.interface", 3).says(&["the nearest is zope.interface==5.4.0"]);
    sandbox.fails("unpin Zope_Interface==5.5", 3).says(&["the nearest is zope.interface==5.4.0"]);
    sandbox.fails("unpin zope.interfcae==5.4.0", 3).says(&["the nearest is zope.interface==5.4.0"]);
    sandbox.fails("unpin zopo.*", 3).says(&["the nearest is zope.*"]);
    sandbox.fails("unpin numpy", 3).says(&["lists the pins"]);
}

#[test]
fn a_partial_name_or_short_digest_gets_suggestions() {
    let sandbox = with_interfaces();
    sandbox.fails("show interface", 3).says(&["that contain it: zope-interface"]);
    let digest = sandbox.digest("lxml");
    let says = "the digest of lxml-6.1.3-py3.11.egg begins so; it takes 6 digits to name one";
    sandbox.fails(&format!("show {}", &digest[..5]), 3).says(&[says]);
    sandbox.fails(&format!("show {}", &digest[..3]), 3).says(&["no egg"]);
}

#[test]
fn an_empty_list_suggests_a_similar_name() {
    let sandbox = with_interfaces();
    let none = sandbox.ok("list nosuch");
    assert!(!none.stderr.contains("hint"), "{}", none.stderr);
    sandbox.ok("list lxmk").says(&["hint: the nearest name is lxml (6.1.3)"]);
    sandbox.ok("list interf*").says(&["that contain it: zope-interface"]);
    sandbox.ok("list lxml --python 3.12").says(&["another Python"]);
    assert_eq!(sandbox.json("list interf*")["eggs"], serde_json::json!([]));
}
