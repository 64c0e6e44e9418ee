//! The command line: what the words mean, and what an exit code says.

mod args;
mod complete_eggs;
mod completions_and_man;
mod context;
mod print;
mod progress_bar;
#[cfg(test)]
mod reference;
mod run_remote;
mod text;
mod values;

use std::env;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::buildout::cache_option;
use crate::cache::index::Index;
use crate::error::Error;
use crate::remote::keys;
use crate::serve;
use anstream::ColorChoice;
use anyhow::Context;
use clap::Parser;

use args::{Args, Command, Global};
use context::Run;
use print::{LogFormat, Printer};

/// Exit codes, which scripts rely on. Usage errors of the command line itself are clap's, also 2.
const FAILURE: u8 = 1;
const USAGE: u8 = 2;
const MISS: u8 = 3;
const PROBLEMS: u8 = 4;

pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return misunderstood(&error),
    };
    let Global { json, quiet, .. } = args.global;
    let printer = Printer::new(json, quiet, args.global.color(), args.global.log_format());
    match run(args, &printer) {
        Ok(code) => ExitCode::from(code),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let known = error.downcast_ref::<Error>();
            // The library's errors tell their causes themselves.
            printer.error(&known.map_or_else(|| format!("{error:#}"), Error::to_string));
            ExitCode::from(match known {
                Some(
                    Error::Miss { .. }
                    | Error::NotARoot { .. }
                    | Error::NotAPin { .. }
                    | Error::NoRemote { .. },
                ) => MISS,
                Some(Error::Usage(_) | Error::Ambiguous { .. } | Error::Requirements { .. }) => {
                    USAGE
                }
                _ => FAILURE,
            })
        }
    }
}

/// Words that make no sense, or a question that clap answers itself, as `--help`.
fn misunderstood(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && args::log_format_of(env::args_os()) == LogFormat::Json {
        let printer = Printer::new(false, false, ColorChoice::Never, LogFormat::Json);
        let text = error.render().to_string();
        printer.error(text.strip_prefix("error: ").unwrap_or(&text).trim_end());
        return ExitCode::from(USAGE);
    }
    error.exit()
}

fn run(args: Args, printer: &Printer) -> anyhow::Result<u8> {
    let Args { global, command } = args;
    if let Command::Serve = command {
        serve::serve(io::stdin().lock(), io::stdout().lock())?;
        return Ok(0);
    }
    // These need no cache, so not even a home directory.
    match &command {
        Command::Completions { shell } => return completions_and_man::completions(*shell, printer),
        Command::Man { out } => return completions_and_man::man(out.as_deref(), printer),
        Command::Keygen { file } => {
            printer.report(&keys::keygen(file)?, text::generated)?;
            return Ok(0);
        }
        _ => {}
    }
    let named = global.cache.or_else(|| cache_option::of(command.buildout()?, &user()));
    let root = named.map_or_else(default_cache, Ok)?;
    if let Command::Names = command {
        return names(&root);
    }
    Run { root, printer, bar: printer.bar(), verbose: global.verbose }.command(command)
}

/// Prints the names of what is in the cache, for shells: neither makes nor changes one, nor complains.
fn names(root: &Path) -> anyhow::Result<u8> {
    let names = Index::open_read_only(root).and_then(|index| index.names()).unwrap_or_default();
    let mut stdout = io::stdout().lock();
    names.iter().try_for_each(|name| writeln!(stdout, "{name}"))?;
    Ok(0)
}

/// Where this user has what buildout reads.
fn user() -> cache_option::User {
    cache_option::User {
        home: etcetera::home_dir().ok(),
        buildout_home: env::var_os("BUILDOUT_HOME").map(PathBuf::from),
    }
}

fn default_cache() -> anyhow::Result<PathBuf> {
    use etcetera::BaseStrategy;
    let strategy = etcetera::choose_base_strategy()
        .context("no home directory: name the cache with --cache DIR or EGGCACHE_DIR")?;
    Ok(strategy.cache_dir().join("eggcache"))
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
