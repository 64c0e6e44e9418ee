//! What is made of the words of the command line: completions for shells, and man pages.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::IoContext;
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use serde::Serialize;

use super::args::Args;
use super::complete_eggs;
use super::print::{Printer, Text};

const NAME: &str = "eggcache";
/// When the words last changed: a man page has a date, and one of the build would differ each day.
const DATE: &str = "2026-11-24";

#[derive(Serialize)]
struct Completions {
    shell: String,
    script: String,
}

#[derive(Serialize)]
struct Pages {
    /// The main page, where no directory is named.
    page: Option<String>,
    /// Those that were written.
    files: Vec<PathBuf>,
}

pub fn completions(shell: Shell, printer: &Printer) -> anyhow::Result<u8> {
    let whole = Args::command();
    // Those of bash and others have also what is hidden.
    let told = whole.get_subcommands().filter(|command| !command.is_hide_set());
    let mut offered = Command::new(NAME)
        .version(version())
        .disable_help_subcommand(true)
        .args(whole.get_arguments())
        .subcommands(told);
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut offered, NAME, &mut script);
    let script = complete_eggs::added(shell, String::from_utf8(script)?, &whole);
    printer.report(&Completions { shell: shell.to_string(), script }, |report| Text {
        data: report.script.clone(),
        ..Text::default()
    })?;
    Ok(0)
}

/// Prints the main page, or writes it and one for each command to `out`.
pub fn man(out: Option<&Path>, printer: &Printer) -> anyhow::Result<u8> {
    let mut pages = Pages { page: None, files: Vec::new() };
    let mut whole = Args::command();
    whole.build();
    match out {
        None => pages.page = Some(page(&whole)?),
        Some(out) => {
            fs::create_dir_all(out).at("make directory", out)?;
            for command in told(&whole) {
                let name = command.get_display_name().unwrap_or(NAME);
                let path = out.join(format!("{name}.1"));
                fs::write(&path, page(command)?).at("write", &path)?;
                pages.files.push(path);
            }
        }
    }
    printer.report(&pages, |pages| Text {
        data: pages.page.clone().unwrap_or_default(),
        summary: out.map_or_else(String::new, |out| {
            format!("{} man pages in {}", pages.files.len(), out.display())
        }),
        ..Text::default()
    })?;
    Ok(0)
}

/// A command, and all below it that are not hidden.
pub fn told(command: &Command) -> Vec<&Command> {
    let below = command.get_subcommands().filter(|command| !command.is_hide_set());
    std::iter::once(command).chain(below.flat_map(told)).collect()
}

fn page(command: &Command) -> anyhow::Result<String> {
    let man = Man::new(command.clone()).date(DATE).source(format!("{NAME} {}", version()));
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    let mut roff = Roff::new();
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    sections(&help, &mut roff);
    // The pages of the commands above it: `remote` of `remote add`.
    let name = command.get_display_name().unwrap_or(NAME);
    let above = name.match_indices('-').map(|(at, _)| format!("{}(1)", &name[..at]));
    let above: Vec<String> = above.collect();
    if !above.is_empty() {
        roff.control("SH", ["SEE ALSO"]).text([roman(above.join(", "))]);
    }
    roff.to_writer(&mut text)?;
    // clap_mangen sets its lists of values off by more than a page needs.
    Ok(String::from_utf8(text)?.replace(".br\n\n.br\n", ".br\n"))
}

fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// What stands below the options: what is indented as it is, the rest as paragraphs.
fn sections(help: &str, roff: &mut Roff) {
    for (n, part) in help.split("\n\n").filter(|part| !part.is_empty()).enumerate() {
        let (first, rest) = part.split_once('\n').unwrap_or((part, ""));
        let (heading, lines) = match first {
            "Examples:" => ("EXAMPLES", rest),
            "Exit codes:" => ("EXIT STATUS", rest),
            "Environment:" => ("ENVIRONMENT", rest),
            "Files:" => ("FILES", rest),
            line if line.starts_with("Exit code ") => ("EXIT STATUS", part),
            _ if n == 0 => ("NOTES", part),
            _ => ("", part),
        };
        if !heading.is_empty() {
            roff.control("SH", [heading]);
        }
        for (is_verbatim, lines) in runs(lines) {
            if is_verbatim {
                roff.control("nf", []);
            }
            for line in lines {
                roff.text([roman(line)]);
            }
            if is_verbatim {
                roff.control("fi", []);
            }
        }
    }
}

/// Lines in groups of those that are indented and those that are not.
fn runs(text: &str) -> Vec<(bool, Vec<&str>)> {
    let mut runs: Vec<(bool, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        let is_indented = line.starts_with("  ");
        match runs.last_mut() {
            Some((last, lines)) if *last == is_indented => lines.push(line),
            _ => runs.push((is_indented, vec![line])),
        }
    }
    runs
}
