//! `init`: create a cache, which a group may share.

use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::print::Text;
use crate::ops::init::{self, Report};

/// Create a cache, or share one with a group.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Other commands create the cache, too, if there is none.\n\nExamples:\n  mkdir /srv/eggs && chgrp builders /srv/eggs\n  \
    eggcache --cache /srv/eggs init --shared"
)]
pub struct Init {
    /// Let all members of the directory's group use the cache.
    #[arg(long)]
    shared: bool,
}

impl Init {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let report = init::init(&context.root()?, self.shared)?;
        context.printer.report(&report, text)?;
        Ok(ExitCode::Success)
    }
}

fn text(report: &Report) -> Text {
    let cache = report.cache.display();
    let shared = if report.shared { ", shared with its group" } else { "" };
    let summary = if report.made {
        format!("Created cache {cache}{shared}")
    } else {
        format!("Cache {cache} already exists{shared}")
    };
    Text { summary, ..Text::default() }
}
