//! The command line. [`args`] defines it, [`commands`] has one file per command, and the other modules
//! are what commands share.

mod args;
mod commands;
mod complete_eggs;
mod context;
mod eviction_table;
mod exit_code;
mod format;
mod log;
mod print;
mod progress_bar;
#[cfg(test)]
mod reference;
mod select_eggs;
mod table;
mod transfers;
mod values;

use std::path::PathBuf;
use std::{env, io, process};

use crate::error::Error;
use anstream::ColorChoice;

use args::{CommandLine, Global};
use context::{Context, DIR_VARIABLE};
use exit_code::ExitCode;
use print::{LogFormat, Printer};

pub fn main() -> process::ExitCode {
    if let Some(code) = complete_eggs::answer() {
        return code.into();
    }
    let args = match args::parse() {
        Ok(args) => args,
        Err(error) => return refused(&error),
    };
    let Global { json, quiet, .. } = args.global;
    let printer = Printer::new(json, quiet, args.global.color(), args.global.log_format());
    match run(args, &printer) {
        Ok(code) => code.into(),
        Err(error) if is_broken_pipe(&error) => ExitCode::Success.into(),
        Err(error) => {
            let known = error.downcast_ref::<Error>();
            // The library's errors name their causes themselves.
            printer.error(&known.map_or_else(|| format!("{error:#}"), Error::to_string));
            let code = match known {
                Some(
                    Error::Miss { .. }
                    | Error::NotARoot { .. }
                    | Error::NotAPin { .. }
                    | Error::NoRemote { .. },
                ) => ExitCode::Miss,
                Some(Error::Usage(_) | Error::Ambiguous { .. } | Error::Requirements { .. }) => {
                    ExitCode::Usage
                }
                _ => ExitCode::Failure,
            };
            code.into()
        }
    }
}

/// A command line that clap refuses, or a request that clap answers itself, as `--help`.
fn refused(error: &clap::Error) -> process::ExitCode {
    if error.use_stderr() && args::log_format_of(env::args_os()) == LogFormat::Json {
        let printer = Printer::new(false, false, ColorChoice::Never, LogFormat::Json);
        let text = error.render().to_string();
        printer.error(text.strip_prefix("error: ").unwrap_or(&text).trim_end());
        return ExitCode::Usage.into();
    }
    error.exit()
}

fn run(args: CommandLine, printer: &Printer) -> anyhow::Result<ExitCode> {
    let CommandLine { global, command } = args;
    let cache = match global.cache {
        Some(cache) => Some(cache),
        None => cache_of_environment()?,
    };
    let context = Context { cache, printer, bar: printer.bar(), verbose: global.verbose };
    command.run(&context)
}

fn cache_of_environment() -> Result<Option<PathBuf>, Error> {
    let cache = env::var_os(DIR_VARIABLE).map(PathBuf::from);
    if cache.as_ref().is_some_and(|cache| cache.as_os_str().is_empty()) {
        return Err(Error::Usage(format!("{DIR_VARIABLE} is empty: it names the cache directory")));
    }
    Ok(cache)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
