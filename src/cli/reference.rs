//! docs/reference/cli.md, made from the definition of the command line. `make docs` writes the page; the
//! test fails if it is out of date.

use std::env;
use std::fmt::Write;
use std::fs;

use clap::CommandFactory;

use super::args::{CommandLine, all_visible, visible};
use super::command_groups::grouped;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/cli.md");
/// Characters in a line of the page.
const WIDTH: usize = 92;

fn page() -> String {
    let mut page =
        "# Every command\n\nMade by `make docs` from the output of `--help`. Every command \
        takes the global options of `eggcache`, too.\n"
            .to_owned();
    let mut main = CommandLine::command().term_width(WIDTH);
    main.build();
    for command in all_visible(&main) {
        let title = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
        let is_main = title == "eggcache";
        let command = if is_main { grouped(command.clone()) } else { command.clone() };
        let help = command.term_width(WIDTH).render_help().to_string();
        let help: Vec<&str> = help.lines().map(str::trim_end).collect();
        let help = help.join("\n");
        let help = if is_main { help } else { without_global_options(&help) };
        let _ = write!(page, "\n## {title}\n\n```text\n{}\n```\n", help.trim_end());
    }
    page
}

/// A help text without the section of options that all commands have.
fn without_global_options(help: &str) -> String {
    let sections = help.split("\n\n").filter(|section| !section.starts_with("Global options:"));
    sections.collect::<Vec<_>>().join("\n\n")
}

#[test]
fn the_reference_is_what_help_prints() {
    let page = page();
    if env::var_os("EGGCACHE_WRITE_DOCS").is_some() {
        fs::write(PAGE, &page).unwrap();
    }
    let written = fs::read_to_string(PAGE).unwrap_or_default();
    assert!(page == written, "docs/reference/cli.md is out of date: run `make docs`");
}

#[test]
fn help_lists_global_options_last_and_has_examples() {
    let mut main = CommandLine::command();
    main.build();
    for command in visible(&main) {
        let name = command.get_name();
        for arg in command.get_arguments() {
            assert!(arg.get_help().is_some(), "{name}: {} has no help", arg.get_id());
        }
        let help = command.clone().term_width(80).render_help().to_string();
        let global = help.find("--cache").unwrap();
        assert!(help[global..].lines().all(|line| !line.contains("--help")), "{name}: {help}");
        let (_, examples) = help.split_once("\nExamples:\n").unwrap_or_else(|| panic!("{name}"));
        let examples = examples.split("\n\n").next().unwrap_or_default();
        assert!(examples.lines().all(|line| line.starts_with("  ")), "{name}: {examples}");
    }
}
