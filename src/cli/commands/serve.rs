//! `serve`: answer a buildout.

use std::{env, io};

use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::hints::Hints;
use crate::disk::system;
use crate::serve::{self, Options};

/// Answer the requests of a buildout on standard input; the `eggcache` Python package runs this.
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub struct Serve {}

impl Serve {
    pub fn run(context: &Context) -> anyhow::Result<ExitCode> {
        serve::serve(io::stdin().lock(), io::stdout(), options(context))?;
        Ok(ExitCode::Success)
    }
}

fn options(context: &Context) -> Options {
    Options {
        environment: context.environment.clone(),
        // Buildout changes into its folder before it starts the bridge.
        directory: env::current_dir().ok(),
        trust: context.trust.clone(),
        warning: context.warning.clone(),
        hint: |error, cache| {
            let cache = Some(cache.to_owned());
            let hints = Hints { cache, are_for_buildout: true, ..Hints::default() };
            let hints = hints.of_library(error);
            (!hints.is_empty()).then(|| hints.join("; "))
        },
        on_background: || {
            // The folder may be removed, and others may need the processor.
            let _ = env::set_current_dir("/");
            let _ = rustix::process::nice(10);
        },
        on_worker_start: system::give_way,
    }
}
