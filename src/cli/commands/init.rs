//! `init`: create a cache, which a group may share.

use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::print::Text;
use crate::ops::init::{self, Options, Report};

/// Create a cache, or open one to other users.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Other commands create the cache, too, if there is none, unless only a buildout.cfg in the current \
    folder names it. A new cache is private.\n\nExamples:\n  mkdir /srv/eggs && chgrp builders /srv/eggs\n  \
    eggcache --cache /srv/eggs init --shared\n  eggcache --cache /srv/public-eggs init --readable"
)]
pub struct Init {
    /// Let all members of the directory's group use the cache.
    #[arg(long)]
    shared: bool,
    /// Let all users read the cache; only its owner can then write to it, and its group with --shared.
    #[arg(long)]
    readable: bool,
}

impl Init {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let Self { shared, readable } = self;
        let options = Options { shared, readable };
        let report = init::init(&context.root()?, options, &context.trust)?;
        context.printer.report(&report, text)?;
        Ok(ExitCode::Success)
    }
}

fn text(report: &Report) -> Text {
    let cache = report.cache.display();
    let shared = match (report.shared, report.readable) {
        (true, true) => ", shared with its group and readable for all users",
        (true, false) => ", shared with its group",
        (false, true) => ", readable for all users",
        (false, false) => "",
    };
    let summary = if report.made {
        format!("Created cache {cache}{shared}")
    } else {
        format!("Cache {cache} already exists{shared}")
    };
    Text { summary, ..Text::default() }
}
