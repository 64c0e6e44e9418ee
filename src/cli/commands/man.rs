//! `man`: man pages. Those of commands are made from the definition of the command line, and that of the
//! options of buildout from their documentation ([`options_page`]).

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Arg, Command, CommandFactory};
use clap_mangen::Man as Mangen;
use clap_mangen::roff::{Roff, bold, roman};
use serde::Serialize;

use crate::cli::args::{CommandLine, all_visible};
use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::options_page;
use crate::cli::print::Text;
use crate::disk::temp;
use crate::error::{Error, IoContext};
use crate::util::units::counted;

const NAME: &str = "eggcache";
/// The date of this version. A constant, so that the pages of a version are always the same.
const RELEASE_DATE: &str = "2026-11-24";

/// Print a man page, or write all of them.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  eggcache man | man -l -\n  eggcache man egg-cache | man -l -\n  eggcache man gc | man -l -\n  \
    eggcache man --out ~/.local/share/man"
)]
pub struct Man {
    /// Page to print: eggcache, egg-cache for the options of buildout, or a command, such as gc or remote-add.
    #[arg(default_value = NAME, conflicts_with = "out", hide_default_value = true)]
    page: String,
    /// Write eggcache.1 and a page for each command to DIR/man1, and egg-cache.5 to DIR/man5; created if
    /// missing.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    /// The page, if no directory was given.
    page: Option<String>,
    /// The files that were written.
    files: Vec<PathBuf>,
}

impl Man {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let mut report = Report { page: None, files: Vec::new() };
        let mut main = CommandLine::command();
        main.build();
        let mut summary = String::new();
        match self.out {
            None if self.page == options_page::NAME => report.page = Some(options()),
            None => {
                let prefixed = format!("{NAME}-{}", self.page);
                let is_named = |it: &&Command| {
                    let name = it.get_display_name().unwrap_or(NAME);
                    name == self.page || name == prefixed
                };
                let found = all_visible(&main).into_iter().find(is_named);
                let unknown = || Error::Usage(format!("there is no man page {}", self.page));
                report.page = Some(page(found.ok_or_else(unknown)?)?);
            }
            Some(out) => {
                for command in all_visible(&main) {
                    let name = command.get_display_name().unwrap_or(NAME);
                    report.files.push(write(&out, name, "1", &page(command)?)?);
                }
                report.files.push(write(&out, options_page::NAME, "5", &options())?);
                let pages = counted(report.files.len(), "man page");
                summary = format!("Wrote {pages} to {}", out.display());
            }
        }
        context.printer.report(&report, |report| {
            let data = report.page.clone().unwrap_or_default();
            Text { data: data.into(), summary, ..Text::default() }
        })?;
        Ok(ExitCode::Success)
    }
}

/// Writes a page to the folder of its section, where `man` looks for it.
fn write(out: &Path, name: &str, section: &str, text: &str) -> anyhow::Result<PathBuf> {
    let folder = out.join(format!("man{section}"));
    fs::create_dir_all(&folder).at("make directory", &folder)?;
    let path = folder.join(format!("{name}.{section}"));
    temp::write_durably_at(&path, text.as_bytes())?;
    Ok(path)
}

fn options() -> String {
    options_page::page(RELEASE_DATE, &format!("{NAME} {}", version()))
}

fn page(command: &Command) -> anyhow::Result<String> {
    let man =
        Mangen::new(command.clone()).date(RELEASE_DATE).source(format!("{NAME} {}", version()));
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    synopsis(command).to_writer(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    let mut roff = Roff::new();
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    sections(&help, &mut roff);
    // The pages of the commands above this one: `remote` for `remote add`. The main page has a list of those
    // below it.
    let name = command.get_display_name().unwrap_or(NAME);
    let above = name.match_indices('-').map(|(at, _)| format!("{}(1)", &name[..at]));
    let see_also: Vec<String> = above.chain([format!("{}(5)", options_page::NAME)]).collect();
    roff.control("SH", ["SEE ALSO"]).text([roman(see_also.join(", "))]);
    roff.to_writer(&mut text)?;
    // clap_mangen puts an empty line before each list of values.
    Ok(String::from_utf8(text)?.replace(".br\n\n.br\n", ".br\n"))
}

/// The words of a command line, each option with its value. `clap_mangen` leaves the values out.
fn synopsis(command: &Command) -> Roff {
    let mut words = vec![bold(command.get_bin_name().unwrap_or(NAME))];
    let shown = |arg: &&Arg| !arg.is_hide_set();
    let (last, options): (Vec<&Arg>, Vec<&Arg>) =
        command.get_arguments().filter(shown).partition(|arg| arg.is_positional());
    for option in options {
        let is_required = option.is_required_set();
        words.push(roman(if is_required { format!(" {option}") } else { format!(" [{option}]") }));
    }
    words.extend(last.iter().map(|arg| roman(format!(" {arg}"))));
    if command.has_subcommands() {
        words.push(roman(" <COMMAND>"));
    }
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]).text(words);
    roff
}

fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// The sections below the options: indented lines as they are, the rest as paragraphs.
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

/// Groups of consecutive lines that are indented, or that are not.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The date of this version in the text of a changelog that has it as `YYYY-MM-DD`.
    fn date_in(changelog: &str) -> Option<&str> {
        let is_release = |line: &&str| line.starts_with("## ") && line.contains(version());
        changelog.lines().find(is_release)?.split_whitespace().last()
    }

    #[test]
    fn the_release_date_is_that_of_the_changelogs() {
        // CHANGELOG.md has no date before the release.
        let date = date_in(include_str!("../../../CHANGELOG.md"));
        assert_eq!(date.unwrap_or(RELEASE_DATE), RELEASE_DATE);

        let debian = include_str!("../../../packaging/debian/changelog");
        assert!(debian.starts_with(&format!("eggcache ({}-1)", version())), "{debian}");
        let (_, signature) = debian.split_once("\n -- ").unwrap();
        let (_, date) = signature.lines().next().unwrap().split_once(">  ").unwrap();
        let date = jiff::fmt::rfc2822::parse(date).unwrap().date();
        assert_eq!(date.to_string(), RELEASE_DATE);
    }

    #[test]
    fn a_synopsis_has_the_values_of_options() {
        let mut main = CommandLine::command();
        main.build();
        let text = |name: &str| {
            let command = all_visible(&main).into_iter().find(|it| it.get_name() == name);
            synopsis(command.unwrap()).to_roff().replace('\\', "")
        };
        let gc = text("gc");
        assert!(gc.contains("[--max-age <AGE>]") && gc.contains("[--dry-run]"), "{gc}");
        let diff = text("diff");
        assert!(diff.contains("eggcache diff") && diff.contains(" <EGG> <EGG>"), "{diff}");
    }

    #[test]
    fn the_date_of_a_release_is_found() {
        let text = format!("# Changelog\n\n## [{}] - 2026-11-24\n", version());
        assert_eq!(date_in(&text), Some("2026-11-24"));
        assert_eq!(date_in("## Unreleased\n"), None);
    }
}
