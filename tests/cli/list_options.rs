//! `list`: order, patterns, unused eggs, and marks of what keeps an egg.

use crate::support::{Output, Sandbox, make_egg, noise, text, write};

/// Three eggs, by name: the smallest, the largest, and the last used and added.
fn with_three() -> Sandbox {
    let sandbox = Sandbox::new();
    make_egg(&sandbox.path("eggs/PyYAML-1.0-py3.11.egg"), "PyYAML", "1.0", &[]);
    let large = noise(20_000);
    make_egg(&sandbox.path("eggs/zope.foo-2.0-py3.11.egg"), "zope.foo", "2.0", &[("x", &large)]);
    let egg = sandbox.path("eggs/zope.my_bar-3.0-py3.11.egg");
    make_egg(&egg, "zope.my-bar", "3.0", &[("x", &large[..5_000])]);
    sandbox.ok("add eggs");
    for (name, days) in [("pyyaml", 3), ("zope-foo", 2), ("zope-my-bar", 1)] {
        sandbox.sql(&format!(
            "UPDATE eggs SET used_at = unixepoch() - {days} * 86400, \
             added_at = unixepoch() - (10 + {days}) * 86400 WHERE name = '{name}'"
        ));
    }
    sandbox
}

/// The first words of the rows of a table.
fn rows(output: &Output) -> Vec<&str> {
    output.stdout.lines().skip(1).map(|line| line.split(' ').next().unwrap()).collect()
}

#[test]
fn names_are_as_their_authors_write_them() {
    let sandbox = with_three();
    assert_eq!(rows(&sandbox.ok("list")), ["PyYAML", "zope.foo", "zope.my-bar"]);
    assert_eq!(sandbox.json("list")["eggs"][2]["name"], "zope-my-bar");
}

#[test]
fn eggs_are_sorted_by_size_and_time() {
    let sandbox = with_three();
    assert_eq!(rows(&sandbox.ok("list --sort size")), ["zope.foo", "zope.my-bar", "PyYAML"]);
    for by in ["used", "added"] {
        let list = sandbox.ok(&format!("list --sort {by}"));
        assert_eq!(rows(&list), ["zope.my-bar", "zope.foo", "PyYAML"], "{by}");
    }
    assert_eq!(rows(&sandbox.ok("list --sort name")), ["PyYAML", "zope.foo", "zope.my-bar"]);
    sandbox.fails("list --sort color", 2);
}

#[test]
fn a_pattern_selects_by_name_and_version() {
    let sandbox = with_three();
    for (pattern, count) in [
        ("zope.*", 2),
        ("ZOPE_*", 2),
        ("*foo", 1),
        ("zope.fo?", 1),
        ("fo*", 0),
        ("zope.*>=3", 1),
        ("*-py3.11.egg", 3),
    ] {
        let listed = sandbox.json(&format!("list {pattern}"))["eggs"].as_array().unwrap().len();
        assert_eq!(listed, count, "{pattern}");
    }
    sandbox.ok("list zop?.f").says(&["No egg matches"]);
}

#[test]
fn several_texts_list_the_eggs_that_any_of_them_matches_once() {
    let sandbox = with_three();
    let all = sandbox.ok("list zope.foo zope.* pyyaml");
    assert_eq!(rows(&all), ["PyYAML", "zope.foo", "zope.my-bar"]);
    assert_eq!(rows(&sandbox.ok("list pyyaml nosuch")), ["PyYAML"]);
    sandbox.ok("list pyyaml nosuch").says(&["note: No egg matches \"nosuch\"", "1 egg, "]);
    sandbox.ok("list nosuch none").says(&["No egg matches \"nosuch\" or \"none\""]);
}

#[test]
fn pinned_eggs_are_marked_and_not_unused() {
    let sandbox = with_three();
    sandbox.ok("pin zope.*");
    sandbox.ok("pin zope.foo==2.0 --note May");
    assert!(!sandbox.ok("list").stdout.contains("KEPT BY"));
    let list = sandbox.ok("list -v").stdout;
    let lines: Vec<&str> = list.lines().collect();
    assert!(lines[0].ends_with("KEPT BY") && lines[2].ends_with("  2 pins"), "{list}");
    assert!(lines[3].ends_with("  1 pin"), "{list}");
    let eggs = sandbox.json("list --sort size");
    assert_eq!(text(&eggs["eggs"][0]["kept_by"]["pins"][1]["note"]), "May");
    assert_eq!(rows(&sandbox.ok("list --unused")), ["PyYAML"]);
    sandbox.ok("list --unused zope").says(&["No egg matches"]);
}

#[test]
fn eggs_are_listed_although_what_keeps_them_cannot_be_read() {
    for (path, content) in
        [("cache/pins/half.json", "{"), ("cache/eggcache.toml", "[gc]\nodd = 1\n")]
    {
        let sandbox = Sandbox::with_two();
        write(&sandbox.path(path), content.as_bytes());
        sandbox.ok("list").says(&["2 eggs"]);
        for options in ["-v", "--json"] {
            let listed = sandbox.ok(&format!("{options} list"));
            assert!(listed.stdout.contains("foo"), "{}", listed.stdout);
            listed.says(&["warning: ", path]);
        }
        // Not known to be unused.
        sandbox.fails("list --unused", 1);
    }
}
