//! Man pages: where they are written, and the page `egg-cache(5)` of the options of buildout.

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::support::{Sandbox, names_in, skip};

/// What `man` shows of a page, without fonts and with long lines.
fn shown(sandbox: &Sandbox, page: &str) -> Option<String> {
    let mut process = sandbox.process("mandoc");
    let Ok(Output { status, stdout, .. }) =
        process.args(["-Tutf8", "-O", "width=1000", page]).output()
    else {
        skip("there is no mandoc");
        return None;
    };
    assert!(status.success(), "{page}");
    // A character that is overprinted is bold or underlined.
    let text = String::from_utf8(stdout).unwrap();
    let mut plain = String::new();
    for c in text.chars() {
        match c {
            '\u{8}' => drop(plain.pop()),
            '\u{a0}' => plain.push(' '),
            c => plain.push(c),
        }
    }
    Some(plain)
}

/// The first cells of a table of the page of options, without their marks.
fn named_in_table(heading: &str) -> Vec<String> {
    let page = include_str!("../../docs/reference/options.md");
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    let rows = section.split("\n## ").next().unwrap().lines().filter(|it| it.starts_with("| `"));
    let cells = rows.map(|row| row.split('`').nth(1).unwrap().to_owned());
    cells.collect()
}

#[test]
fn pages_are_written_to_the_folders_of_their_sections() {
    let sandbox = Sandbox::new();
    sandbox.ok("man --out share").says(&["man pages to share"]);
    assert_eq!(names_in(&sandbox.path("share")), ["man1", "man5"]);
    assert_eq!(names_in(&sandbox.path("share/man5")), ["egg-cache.5"]);
    assert!(sandbox.path("share/man1/eggcache-gc.1").is_file());
    let files = sandbox.json("man --out again")["files"].to_string();
    assert!(files.contains("again/man5/egg-cache.5"), "{files}");
}

#[test]
fn a_page_is_printed_by_its_name() {
    let sandbox = Sandbox::new();
    sandbox.ok("man --out share");
    let read = |name: &str| fs::read_to_string(sandbox.path("share").join(name)).unwrap();
    assert_eq!(sandbox.ok("man egg-cache").stdout, read("man5/egg-cache.5"));
    assert_eq!(sandbox.ok("man eggcache").stdout, read("man1/eggcache.1"));
    assert_eq!(sandbox.ok("man").stdout, read("man1/eggcache.1"));
    for name in ["gc", "eggcache-gc"] {
        assert_eq!(sandbox.ok(&format!("man {name}")).stdout, read("man1/eggcache-gc.1"));
    }
    assert_eq!(sandbox.ok("man remote-add").stdout, read("man1/eggcache-remote-add.1"));
    sandbox.fails("man egg", 2).says(&["there is no man page egg"]);
    sandbox.fails("man egg-cache --out share", 2);
}

#[test]
fn the_page_of_options_has_each_option_and_each_variable() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("page"), sandbox.ok("man egg-cache").stdout).unwrap();
    let Some(page) = shown(&sandbox, "page") else { return };
    let options = named_in_table("Options of buildout");
    assert!(options.len() >= 8, "{options:?}");
    for name in options {
        assert!(
            page.contains(&format!("\n     {name}")) || page.contains(&format!("\n       {name}")),
            "{name}: {page}"
        );
    }
    for name in named_in_table("Environment variables") {
        assert!(page.contains(&name), "{name}");
    }
    for heading in ["NAME", "SYNOPSIS", "OPTIONS", "ENVIRONMENT", "FILES", "EXAMPLES", "SEE ALSO"] {
        assert!(page.contains(&format!("\n{heading}\n")), "{heading}: {page}");
    }
    let words = page.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("Eggs of one label are not served to another."), "{page}");
    // Marks of Markdown and names of tests are for readers of the source.
    for mark in ["`", "](", "**", "test_", "|"] {
        assert!(!page.contains(mark), "{mark}: {page}");
    }
}

/// The options of buildout that the Python package reads.
fn read_by_the_package() -> Vec<String> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/eggcache");
    let sources = fs::read_dir(package).unwrap().map(|it| it.unwrap().path());
    let sources = sources.filter(|it| it.extension().is_some_and(|it| it == "py"));
    let mut options = Vec::new();
    for source in sources {
        let text = fs::read_to_string(source).unwrap();
        for part in text.split('"').filter(|part| part.starts_with("egg-cache")) {
            if part.chars().all(|c| c.is_ascii_lowercase() || c == '-') {
                options.push(part.to_owned());
            }
        }
    }
    options.sort();
    options.dedup();
    options
}

#[test]
fn every_option_that_the_package_reads_is_described() {
    let options = read_by_the_package();
    assert!(options.len() >= 8, "{options:?}");
    let described = named_in_table("Options of buildout");
    for option in options {
        assert!(described.contains(&option), "{option}: {described:?}");
    }
}

#[test]
fn the_main_page_refers_to_the_page_of_options() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("page"), sandbox.ok("man").stdout).unwrap();
    let Some(page) = shown(&sandbox, "page") else { return };
    let (_, see_also) = page.split_once("\nSEE ALSO\n").expect("SEE ALSO");
    assert!(see_also.contains("egg-cache(5)"), "{see_also}");
    fs::write(sandbox.path("options"), sandbox.ok("man egg-cache").stdout).unwrap();
    let options = shown(&sandbox, "options").unwrap();
    assert!(options.contains("eggcache(1)"), "{options}");
}
