//! Names of projects as their authors write them: with dots, underscores and capital letters.

use crate::support::{Sandbox, make_egg};

/// A cache with eggs whose metadata have these names, and their file names.
fn named() -> Sandbox {
    let sandbox = Sandbox::new();
    for (name, file_name) in [
        ("zope.foobar", "zope.foobar-1.0-py3.11.egg"),
        // As setuptools escapes it.
        ("typing_extras", "typing_extras-1.0-py3.11.egg"),
        // As the wheel is named, in buildout 3.
        ("zc.recipe.foo", "zc_recipe_foo-1.0-py3.11.egg"),
        ("PyFoo", "PyFoo-1.0-py3.11.egg"),
    ] {
        make_egg(&sandbox.path("eggs").join(file_name), name, "1.0", &[]);
    }
    sandbox.ok("add eggs --generation 3");
    sandbox
}

/// The value of a line of `show`.
fn shown(sandbox: &Sandbox, egg: &str) -> String {
    let text = sandbox.ok(&format!("show {egg}")).stdout;
    let line = text.lines().find(|line| line.starts_with("name ")).unwrap();
    line.split_whitespace().nth(1).unwrap().to_owned()
}

#[test]
fn show_prints_the_name_of_the_metadata() {
    let sandbox = named();
    for (asked, name) in [
        ("zope.foobar", "zope.foobar"),
        ("zope-foobar==1.0", "zope.foobar"),
        ("Zope_Foobar", "zope.foobar"),
        ("typing-extras", "typing_extras"),
        ("zc-recipe-foo", "zc.recipe.foo"),
        ("zc_recipe_foo-1.0-py3.11.egg", "zc.recipe.foo"),
        ("pyfoo", "PyFoo"),
    ] {
        assert_eq!(shown(&sandbox, asked), name, "{asked}");
    }
    let report = sandbox.json("show zc.recipe.foo");
    assert_eq!(
        (&report["name"], &report["project"]),
        (&"zc-recipe-foo".into(), &"zc.recipe.foo".into())
    );
}

#[test]
fn an_egg_whose_metadata_cannot_be_read_is_shown_with_the_name_of_its_file() {
    let sandbox = Sandbox::new();
    sandbox.zipped_egg("Zope.Zipped", "1.0");
    sandbox.ok("add eggs");
    assert_eq!(shown(&sandbox, "zope-zipped"), "Zope.Zipped");
}

#[test]
fn stats_and_list_have_the_spelling_of_file_names() {
    let sandbox = named();
    let text = sandbox.ok("stats --html page.html").stdout;
    let page = std::fs::read_to_string(sandbox.path("page.html")).unwrap();
    let listed = sandbox.ok("list").stdout;
    for name in ["zope.foobar", "typing-extras", "zc-recipe-foo", "PyFoo"] {
        for text in [&text, &listed] {
            assert!(
                text.lines().any(|line| line.starts_with(&format!("{name} "))),
                "{name}: {text}"
            );
        }
        assert!(page.contains(&format!("<th scope=\"row\">{name}</th>")), "{name}");
    }
    assert!(page.contains("title>zope.foobar 1.0") || page.contains("zope.foobar 1.0:"), "{page}");
    // Programs compare names, and for that they need one form.
    let projects = sandbox.json("stats")["projects"].clone();
    let names: Vec<(&str, &str)> = projects
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["name"].as_str().unwrap(), it["project"].as_str().unwrap()))
        .collect();
    assert!(names.contains(&("zope-foobar", "zope.foobar")), "{names:?}");
    assert!(names.contains(&("pyfoo", "PyFoo")), "{names:?}");
}

#[test]
fn a_project_of_several_spellings_is_one_project_in_stats() {
    let sandbox = named();
    make_egg(&sandbox.path("other/zc.recipe.foo-2.0-py3.11.egg"), "zc.recipe.foo", "2.0", &[]);
    sandbox.ok("add other --generation 3");
    make_egg(&sandbox.path("more/zc_recipe_foo-3.0-py3.11.egg"), "zc.recipe.foo", "3.0", &[]);
    sandbox.ok("add more --generation 3");
    let text = sandbox.ok("stats").stdout;
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("zc.recipe.foo ")).collect();
    assert_eq!(rows.len(), 1, "{text}");
    assert_eq!(rows[0].split_whitespace().nth(1), Some("3"), "{text}");
}
