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
fn a_misspelt_name_is_told_the_nearest() {
    let sandbox = with_interfaces();
    let says = "the cache has no egg zope.interfce; the nearest name is zope.interface \
                (7.2, 7.10, 8.0)";
    sandbox.fails("show zope.interfce", 3).says(&[says]);
    sandbox.fails("show Zope_Interfce==7.2", 3).says(&["the nearest name is zope.interface"]);
    let egg = "zope.interfaec-7.2-py3.11.egg";
    sandbox.fails(&format!("show {egg}"), 3).says(&["the nearest name is zope.interface"]);
}

#[test]
fn another_version_is_told_those_that_there_are() {
    let sandbox = with_interfaces();
    let says = "the cache has no egg zope.interface==9; it has zope.interface 7.2, 7.10, 8.0";
    sandbox.fails("materialize --into out zope.interface==9", 3).says(&[says]);
    let egg = "show zope.interface-9.0-py3.11.egg";
    sandbox.fails(egg, 3).says(&["it has zope.interface 7.2, 7.10, 8.0"]);
}

#[test]
fn what_another_python_has_is_told() {
    let sandbox = with_interfaces();
    let says = "no egg lxml; what it has is of another Python, platform or generation: \
                lxml-6.1.3-py3.11.egg";
    sandbox.fails("show lxml --python 3.12", 3).says(&[says]);
}

#[test]
fn each_of_several_is_told() {
    let sandbox = with_interfaces();
    let pins = b"lxlm==6.1.3\nzope.interface==1\nnothing==1\nlxml==6.1.3\n";
    write(&sandbox.path("pins.txt"), pins);
    sandbox.fails("materialize --into out --requirements pins.txt", 3).says(&[
        "no egg lxlm==6.1.3, zope.interface==1, nothing==1\n",
        "\n  lxlm==6.1.3: the nearest name is lxml (6.1.3)\n",
        "\n  zope.interface==1: it has zope.interface 7.2, 7.10, 8.0\n",
    ]);
    assert!(!sandbox.path("out").exists());
}

#[test]
fn what_is_like_nothing_is_told_plainly() {
    let sandbox = with_interfaces();
    let output = sandbox.fails("--json show numpy", 3);
    assert_eq!(output.stderr, "error: the cache has no egg numpy\n");
    assert_eq!(output.stdout, "");
    sandbox.fails("show 0123456789abcdef", 3).says(&["no egg 0123456789abcdef\n"]);
}

#[test]
fn what_is_not_pinned_is_told_what_is() {
    let sandbox = with_interfaces();
    sandbox.fails("unpin lxml", 3).says(&["lxml is not pinned; `eggcache pins` lists what is"]);
    sandbox.ok("pin zope.interface==5.4.0 zope.*");
    sandbox.fails("unpin zope.interface", 3).says(&["the nearest is zope.interface==5.4.0"]);
    sandbox.fails("unpin Zope_Interface==5.5", 3).says(&["the nearest is zope.interface==5.4.0"]);
    sandbox.fails("unpin zope.interfcae==5.4.0", 3).says(&["the nearest is zope.interface==5.4.0"]);
    sandbox.fails("unpin zopo.*", 3).says(&["the nearest is zope.*"]);
    sandbox.fails("unpin numpy", 3).says(&["`eggcache pins` lists what is"]);
}
