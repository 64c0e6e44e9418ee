//! docs/reference/cli.md, from the words of the command line: a page that is written by hand lies
//! sooner or later. `make docs` writes it; the test fails if it was forgotten.

use std::env;
use std::fmt::Write;
use std::fs;

use clap::CommandFactory;

use super::args::Args;
use super::completions_and_man;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/cli.md");

fn page() -> String {
    let mut page = "# Every command\n\nMade by `make docs` from what `--help` prints.\n".to_owned();
    let mut whole = Args::command().term_width(92);
    whole.build();
    for command in completions_and_man::told(&whole) {
        let title = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
        let help = command.clone().term_width(92).render_long_help().to_string();
        let help: Vec<&str> = help.lines().map(str::trim_end).collect();
        let help = help.join("\n");
        let _ = write!(page, "\n## {title}\n\n```text\n{}\n```\n", help.trim_end());
    }
    page
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
fn help_tells_the_own_options_of_a_command_first_and_what_each_argument_is() {
    let mut whole = Args::command();
    whole.build();
    for command in whole.get_subcommands_mut().filter(|command| !command.is_hide_set()) {
        let name = command.get_name().to_owned();
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
