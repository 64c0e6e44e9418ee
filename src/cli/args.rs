//! The command line: the options of every command, and the command.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use anstream::ColorChoice;
use clap::builder::PossibleValuesParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};

use super::command_groups::grouped;
use super::commands::Command;
use super::print::LogFormat;
use crate::util::printable::one_line;

/// Build each egg once; copy it into every buildout that needs it.
#[derive(Debug, Parser)]
#[command(
    version,
    propagate_version = true,
    after_help = "Examples:\n  eggcache add eggs/v5\n  eggcache list zope\n  \
        eggcache materialize --into eggs/v5 lxml==6.1.3\n  eggcache gc --max-size 20GiB --dry-run\n\n\
        Exit codes:\n  0  success\n  1  failure\n  2  usage error, or a name that matches several eggs\n  \
        3  not in the cache\n  4  problems found\n\n\
        Environment:\n  EGGCACHE_DIR                   cache directory\n  \
        EGGCACHE_TRUST_CACHE           cache directories to use even if other users can change them, \
        separated by `:`\n  \
        XDG_CACHE_HOME                 folder of the default cache directory (default: ~/.cache)\n  \
        NO_COLOR                       disable colour\n  \
        EGGCACHE_SIGNING_KEY           file of the secret key for `push` and `sign`\n  \
        EGGCACHE_SIGNING_KEY_PASSWORD  password of the secret key\n  \
        EGGCACHE_LOG                   file to append a log to\n  \
        EGGCACHE_LOG_LEVEL             error, warn, info, debug (default) or trace\n\n\
        Files:\n  ~/.cache/eggcache                default cache directory\n  \
        ~/.cache/eggcache/eggcache.toml  default policy of `gc`"
)]
pub struct CommandLine {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// The heading of the options that every command has, listed below its own.
const GLOBAL: &str = "Global options";

#[derive(Debug, clap::Args)]
pub struct Global {
    /// Cache directory (default: `EGGCACHE_DIR`, `egg-cache` of the buildout in the current folder or of
    /// ~/.buildout/default.cfg, or else `eggcache` in the user's cache folder).
    // The variable is read without clap, whose usage lines would show `--cache` as required if it is set.
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    #[command(flatten)]
    pub trust: TrustOption,
    /// Print the report as JSON.
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub json: bool,
    /// Print problems only.
    #[arg(short, long, global = true, help_heading = GLOBAL)]
    pub quiet: bool,
    /// Print more, such as a line for each egg.
    #[arg(short, long, global = true, help_heading = GLOBAL, conflicts_with = "quiet")]
    pub verbose: bool,
    /// Use colour.
    #[arg(
        long,
        global = true,
        help_heading = GLOBAL,
        value_name = "WHEN",
        default_value = "auto",
        value_parser = PossibleValuesParser::new(["auto", "always", "never"])
    )]
    color: String,
    /// Write messages to standard error as text, or as one JSON object per line.
    #[arg(
        long,
        global = true,
        help_heading = GLOBAL,
        value_name = "FORMAT",
        default_value = "text",
        value_parser = PossibleValuesParser::new(["text", "json"])
    )]
    log_format: String,
}

#[derive(Debug, clap::Args)]
pub struct TrustOption {
    /// Use the cache even if other users can change it. They can then run code as this user.
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub trust_cache: bool,
}

impl Global {
    pub fn color(&self) -> ColorChoice {
        match self.color.as_str() {
            "always" => ColorChoice::Always,
            "never" => ColorChoice::Never,
            _ => ColorChoice::Auto,
        }
    }

    pub fn log_format(&self) -> LogFormat {
        if self.log_format == "json" { LogFormat::Json } else { LogFormat::Text }
    }
}

/// The log format of a command line that clap refused.
pub fn log_format_of(words: impl Iterator<Item = OsString>) -> LogFormat {
    let mut words = words.skip_while(|word| word != "--log-format" && word != "--log-format=json");
    let json = match words.next() {
        Some(word) if word == "--log-format" => words.next().is_some_and(|word| word == "json"),
        word => word.is_some(),
    };
    if json { LogFormat::Json } else { LogFormat::Text }
}

/// Parses the command line. The error for a missing command lists the commands of `--help` only, where
/// clap lists hidden ones too.
pub fn parse() -> Result<CommandLine, clap::Error> {
    CommandLine::try_parse().map_err(printable).map_err(|mut error| {
        if matches!(
            error.kind(),
            ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        ) {
            let with_groups = grouped(CommandLine::command());
            return with_groups.try_get_matches_from(env::args_os()).err().unwrap_or(error);
        }
        if error.kind() == ErrorKind::MissingSubcommand {
            let command = CommandLine::command();
            let names = visible(&command).map(|it| it.get_name().to_owned()).collect();
            error.insert(ContextKind::ValidSubcommand, ContextValue::Strings(names));
        }
        error
    })
}

/// The same error about arguments without line breaks and other characters that would change how it reads.
fn printable(error: clap::Error) -> clap::Error {
    let shown = env::args_os().map(|arg| one_line(&arg.to_string_lossy()).into_owned());
    match CommandLine::try_parse_from(shown) {
        Err(shown) if error.use_stderr() && shown.use_stderr() => shown,
        _ => error,
    }
}

/// The commands below a command that its `--help` lists, except clap's own `help`.
pub fn visible(command: &clap::Command) -> impl Iterator<Item = &clap::Command> {
    command.get_subcommands().filter(|it| !it.is_hide_set() && it.get_name() != "help")
}

/// A command and all visible ones below it.
pub fn all_visible(command: &clap::Command) -> Vec<&clap::Command> {
    std::iter::once(command).chain(visible(command).flat_map(all_visible)).collect()
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory};

    use super::*;

    /// The commands that an example line runs, each split into words as a shell does.
    fn commands(line: &str) -> Vec<Vec<String>> {
        let mut commands = vec![vec![]];
        for word in line.split(" #").next().unwrap_or_default().split('\'').enumerate() {
            let all = commands.last_mut().unwrap();
            match word {
                // Quoted text.
                (n, text) if n % 2 == 1 => all.push(text.to_owned()),
                (_, text) => {
                    for word in text.split_whitespace() {
                        match word {
                            "|" | "&&" | ";" => commands.push(vec![]),
                            word => commands.last_mut().unwrap().push(word.to_owned()),
                        }
                    }
                }
            }
        }
        for words in &mut commands {
            // Variables that are set for this command.
            let is_set = |word: &String| word.starts_with("EGGCACHE_") && word.contains('=');
            words.drain(..words.iter().take_while(|word| is_set(word)).count());
            words.truncate(words.iter().position(|word| word == ">").unwrap_or(words.len()));
        }
        commands.retain(|words| words.first().is_some_and(|word| word == "eggcache"));
        commands
    }

    fn examples(command: &Command) -> Vec<String> {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let (_, examples) = help.split_once("Examples:\n").unwrap_or_default();
        examples.lines().take_while(|line| !line.is_empty()).map(Into::into).collect()
    }

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    /// Each command with its words: `remote`, and `remote add`.
    fn all_with_words(command: &Command, words: &[String]) -> Vec<(Vec<String>, Command)> {
        let mut all = vec![(words.to_vec(), command.clone())];
        for below in visible(command) {
            let words = [words, &[below.get_name().to_owned()]].concat();
            all.extend(all_with_words(below, &words));
        }
        all
    }

    #[test]
    fn every_example_in_help_parses() {
        for (name, command) in all_with_words(&CommandLine::command(), &[]) {
            let lines = examples(&command);
            let all: Vec<_> = lines.iter().flat_map(|line| commands(line)).collect();
            assert!(!all.is_empty(), "{name:?} has no example");
            for words in &all {
                let parsed = CommandLine::try_parse_from(words);
                assert!(parsed.is_ok(), "{words:?}: {parsed:?}");
            }
            // Some examples run another command first.
            let is_of = |words: &Vec<String>| words.windows(name.len()).any(|it| *it == name[..]);
            assert!(name.is_empty() || all.iter().any(is_of), "{name:?}: {all:?}");
        }
    }

    #[test]
    fn every_argument_has_help() {
        for (name, command) in all_with_words(&CommandLine::command(), &[]) {
            let below = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for arg in command.get_arguments() {
                // Long explanations are below the options.
                let is_below =
                    arg.get_value_names().is_some_and(|it| below.contains(it[0].as_str()));
                assert!(arg.get_help().is_some() || is_below, "{name:?}: {}", arg.get_id());
            }
        }
    }

    #[test]
    fn help_texts_begin_with_a_capital_letter() {
        for (name, command) in all_with_words(&CommandLine::command(), &[]) {
            let own = command.get_about().map(ToString::to_string);
            let helps = command.get_arguments().filter_map(|arg| arg.get_help());
            for text in helps.map(ToString::to_string).chain(own) {
                let first = text.chars().next();
                let is_name = first == Some('.') || text.starts_with("name");
                assert!(is_name || first.is_some_and(char::is_uppercase), "{name:?}: {text}");
            }
        }
    }
}
