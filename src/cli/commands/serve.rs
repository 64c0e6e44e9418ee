//! `serve`: answer a buildout.

use std::io;

use crate::cli::exit_code::ExitCode;
use crate::serve;

/// Answer the requests of a buildout on standard input; the `eggcache` Python package runs this.
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub struct Serve {}

impl Serve {
    pub fn run() -> anyhow::Result<ExitCode> {
        serve::serve(io::stdin().lock(), io::stdout().lock())?;
        Ok(ExitCode::Success)
    }
}
