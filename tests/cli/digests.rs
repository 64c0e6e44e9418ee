//! An egg is named by the beginning of its digest, from six digits on, in every command.

use crate::pool::Pool;
use crate::support::{Sandbox, make_egg};

#[test]
fn six_digits_name_an_egg_in_every_command() {
    let sandbox = Sandbox::with_two();
    let digest = sandbox.digest("foo");
    for digits in [6, 7, 12, 64] {
        let named = &digest[..digits];
        assert_eq!(sandbox.json(&format!("show {named}"))["digest"], digest);
        let listed = sandbox.json(&format!("list {named}"));
        assert_eq!(listed["eggs"].as_array().unwrap().len(), 1);
        assert_eq!(listed["eggs"][0]["digest"], digest);
        sandbox.ok(&format!("materialize --into out-{digits} {named}"));
        sandbox.ok(&format!("materialize --into out --preflight {named}"));
        assert_eq!(sandbox.json(&format!("pin {named}"))["pins"][0]["eggs"], 1);
        sandbox.ok(&format!("unpin {named}"));
    }
}

#[test]
fn six_digits_name_an_egg_on_a_remote() {
    let pool = Pool::empty();
    pool.sandbox.egg("foo", "1.0");
    pool.ok("add eggs");
    let digest = pool.sandbox.digest("foo");
    pool.ok(&format!("push {}", &digest[..6]));
    pool.of("reader", &format!("pull {}", &digest[..6]));
    pool.ok(&format!("remote withdraw team {} --reason test", &digest[..6]));
    pool.ok(&format!("remote withdraw team {} --undo", &digest[..6]));
}

#[test]
fn digits_that_are_also_a_name_are_ambiguous() {
    let sandbox = Sandbox::new();
    sandbox.egg("foo", "1.0");
    sandbox.ok("add eggs");
    let name = &sandbox.digest("foo")[..6];
    make_egg(&sandbox.path(&format!("eggs/{name}-1.0-py3.11.egg")), name, "1.0", &[]);
    sandbox.ok("add eggs");
    let output = sandbox.fails(&format!("show {name}"), 2);
    output.says(&["is ambiguous", "foo-1.0-py3.11.egg", &format!("{name}-1.0-py3.11.egg")]);
    sandbox.ok(&format!("show {name}==1.0"));
}

#[test]
fn digits_of_several_eggs_list_them() {
    let sandbox = Sandbox::new();
    // Enough eggs that two digests begin alike would take long: the digits are set in the index instead.
    sandbox.egg("foo", "1.0");
    sandbox.egg("bar", "2.0");
    sandbox.ok("add eggs");
    let of_foo = sandbox.digest("foo");
    let digits = &of_foo[..6];
    sandbox.sql(&format!(
        "UPDATE eggs SET digest = '{digits}' || substr(digest, 7) WHERE name = 'bar'"
    ));
    let output = sandbox.fails(&format!("show {digits}"), 2);
    output.says(&["is ambiguous", "foo-1.0-py3.11.egg", "bar-2.0-py3.11.egg", &of_foo[..12]]);
}
