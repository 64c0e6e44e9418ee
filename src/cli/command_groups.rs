//! The groups in which `--help` lists the commands. clap has none.

use std::fmt::Write;

use clap::Command;
use clap::builder::styling::Styles;

use super::args::visible;

/// Each command is in one group.
const GROUPS: [(&str, &[&str]); 7] = [
    ("Store and copy eggs", &["add", "materialize", "convert"]),
    ("Inspect the cache", &["list", "show", "diff", "why", "stats", "dir"]),
    ("Decide what stays", &["gc", "remove", "pin", "unpin", "pins", "roots", "used-by"]),
    ("Check and ship buildouts", &["check", "lock", "bundle", "sbom"]),
    ("Look after the cache", &["init", "doctor", "verify", "reindex"]),
    ("Share eggs", &["remote", "push", "pull", "keygen", "trust", "sign"]),
    ("Use the command line", &["completions", "man", "help"]),
];
/// clap leaves the command out of its own, because all are hidden.
const USAGE: &str = "eggcache [OPTIONS] <COMMAND>";
const HELP: &str = "Print the help of a command";

/// The definition of the command line, with a `--help` that lists the commands in groups. Only for that: its
/// commands are hidden, because clap would list them once more.
pub fn grouped(command: Command) -> Command {
    let template = format!(
        "{{before-help}}{{about-with-newline}}\n{{usage-heading}} {USAGE}\n\n{}\n\
         {{all-args}}{{after-help}}",
        list(&command)
    );
    let command = command.mut_subcommands(|it| it.hide(true));
    command.disable_help_subcommand(false).help_template(template)
}

/// The commands and what they do.
fn list(command: &Command) -> String {
    let styles = Styles::styled();
    let (header, literal) = (styles.get_header(), styles.get_literal());
    let about = |name: &str| {
        let found = visible(command).find(|it| it.get_name() == name);
        found.and_then(Command::get_about).map_or_else(|| HELP.to_owned(), ToString::to_string)
    };
    let names = || GROUPS.iter().flat_map(|(_, names)| names.iter());
    let width = names().map(|name| name.len()).max().unwrap_or(0);
    let mut text = format!("{header}Commands:{header:#}\n");
    for (group, names) in GROUPS {
        let _ = writeln!(text, " {group}:");
        for name in names {
            let _ = writeln!(text, "  {literal}{name:<width$}{literal:#}  {}", about(name));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::args::CommandLine;

    #[test]
    fn every_command_is_in_one_group() {
        let command = CommandLine::command();
        let mut defined: Vec<&str> = visible(&command).map(Command::get_name).collect();
        let mut grouped: Vec<&str> =
            GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        defined.push("help");
        defined.sort_unstable();
        grouped.sort_unstable();
        assert_eq!(defined, grouped);
    }

    #[test]
    fn a_command_is_one_line_of_a_terminal() {
        let text = grouped(CommandLine::command()).term_width(80).render_help().to_string();
        let commands = text.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
        for line in commands.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        assert_eq!(text.matches("Commands:").count(), 1, "{text}");
        assert_eq!(text.matches("Global options:").count(), 1, "{text}");
        let usual = CommandLine::command().render_usage().to_string();
        assert!(usual.ends_with(USAGE) && text.contains(&usual), "{usual}: {text}");
    }
}
