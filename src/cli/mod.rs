//! The command line. [`args`] defines it, [`commands`] has one file per command, and the other modules
//! are what commands share.

mod args;
mod cache_place;
mod command_groups;
mod commands;
mod complete_eggs;
mod complete_shells;
mod context;
mod eviction_table;
mod exit_code;
mod format;
mod hints;
mod kept_by;
mod line_format;
mod log;
mod log_file;
mod look_alikes;
mod options_page;
mod print;
mod progress_bar;
#[cfg(test)]
mod reference;
mod select_eggs;
mod signals;
mod table;
mod transfers;
mod values;

use std::{env, io, process};

use crate::cache::trust::Trust;
use crate::util::environment::Environment;
use anstream::ColorChoice;

use args::{CommandLine, Global};
use cache_place::CachePlace;
use context::Context;
use exit_code::ExitCode;
use hints::{CliError, Hints, Selects, details_of};
use print::{LogFormat, Message, Printer};

pub fn main() -> process::ExitCode {
    if let Some(code) = complete_eggs::answer() {
        return code.into();
    }
    let args = match args::parse() {
        Ok(args) => args,
        Err(error) => return refused(&error),
    };
    let Global { json, quiet, .. } = args.global;
    let (color, log) = (args.global.color(), args.global.log_format());
    let printer = Printer::new(json, quiet, color, log);
    crate::cache::on_wait(move || {
        let note = "waiting for another process that writes to the index of the cache";
        Printer::new(json, quiet, color, log).note(note);
    });
    let environment: Environment = env::vars_os().collect();
    let warning = log_file::start(&environment);
    if let Some(warning) = &warning {
        printer.warning(warning);
    }
    match run(args, &printer, environment, warning) {
        Ok(code) => {
            tracing::info!(code = code as u8, "done");
            code.into()
        }
        Err(error) if is_broken_pipe(&error) => ExitCode::Success.into(),
        Err(error) => {
            let (code, text) = (ExitCode::from(&error), error.to_string());
            tracing::error!(code = code as u8, error = text, "failed");
            let details = details_of(&error);
            printer.error(&Message { line: text, details }, &printer.hints().of(&error));
            code.into()
        }
    }
}

/// A command line that clap refuses, or a request that clap answers itself, as `--help`.
fn refused(error: &clap::Error) -> process::ExitCode {
    if error.use_stderr() && args::log_format_of(env::args_os()) == LogFormat::Json {
        let printer = Printer::new(false, false, ColorChoice::Never, LogFormat::Json);
        let text = error.render().to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
        let mut lines = text.lines().map(|line| line.trim().to_owned());
        let line = lines.next().unwrap_or_default();
        let details = lines.filter(|line| !line.is_empty()).collect();
        printer.error(&Message { line, details }, &[]);
        return ExitCode::Usage.into();
    }
    error.exit()
}

fn run(
    args: CommandLine,
    printer: &Printer,
    environment: Environment,
    warning: Option<String>,
) -> anyhow::Result<ExitCode> {
    let CommandLine { global, command } = args;
    let selects = command.selects();
    if global.cache.is_some() || selects != Selects::Names {
        printer.set_hints(Hints { cache: global.cache.clone(), selects, ..Hints::default() });
    }
    tracing::info!(command = command.name(), version = env!("CARGO_PKG_VERSION"), "started");
    let (bar, verbose) = (printer.bar(), global.verbose);
    let access = command.access();
    let trust = Trust::of(&environment);
    let trust = if global.trust.trust_cache { trust.all() } else { trust };
    let place = CachePlace::new(global.cache, &environment, &trust);
    command.run(&Context { access, place, printer, bar, verbose, environment, trust, warning })
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = match error.downcast_ref::<CliError>() {
        Some(CliError::Stdout(error)) => Some(error),
        _ => error.downcast_ref::<io::Error>(),
    };
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
