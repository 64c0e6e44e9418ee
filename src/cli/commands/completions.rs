//! `completions`: the script that completes command lines in a shell.

use anyhow::Context as _;
use clap::builder::PossibleValuesParser;
use serde::Serialize;

use crate::cli::complete_eggs;
use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::print::Text;

/// Print a completion script for a shell.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The script completes commands, options, file names and the names of cached \
    eggs. It runs `eggcache` for that.\n\nExamples:\n  eggcache completions bash > ~/.local/share/bash-completion/completions/eggcache\n  \
    eggcache completions zsh > ~/.zfunc/_eggcache\n  \
    eggcache completions fish > ~/.config/fish/completions/eggcache.fish"
)]
pub struct Completions {
    /// Shell to print the script for.
    #[arg(value_parser = PossibleValuesParser::new(complete_eggs::shells()))]
    shell: String,
}

#[derive(Serialize)]
struct Report {
    shell: String,
    script: String,
}

impl Completions {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let shell = self.shell;
        let script = complete_eggs::script(&shell).context("no completion script")?;
        context.printer.report(&Report { shell, script }, |report| Text {
            data: report.script.clone().into(),
            ..Text::default()
        })?;
        Ok(ExitCode::Success)
    }
}
