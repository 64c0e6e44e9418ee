//! docs/reference/cli.md, from the words of the command line: a page that is written by hand lies
//! sooner or later. `make docs` writes it; the test fails if it was forgotten.

use std::env;
use std::fmt::Write;
use std::fs;

use clap::CommandFactory;

use super::args::Args;
use super::generate;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/cli.md");

fn page() -> String {
    let mut page = "# Every command\n\nMade by `make docs` from what `--help` prints.\n".to_owned();
    let mut whole = Args::command().term_width(92);
    whole.build();
    for command in generate::told(&whole) {
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
