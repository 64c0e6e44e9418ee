//! `dir`: the cache directory.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cache::Cache;
use crate::cli::cache_place::{Place, Source};
use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::print::{Data, Text};
use crate::disk::boundary::Boundary;
use crate::error::IoContext;

/// Print the cache directory.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The first of these names the cache: --cache, EGGCACHE_DIR, the option egg-cache of the \
    buildout in the current folder, that of ~/.buildout/default.cfg. Otherwise it is eggcache in the user's \
    cache folder. -v says which one it is. The configuration in the current folder does not count if others \
    can change it.\n\n\
    Examples:\n  eggcache dir\n  eggcache dir -v\n  du -sh \"$(eggcache dir)\""
)]
pub struct Dir {}

#[derive(Serialize)]
struct Report {
    /// Absolute.
    cache: PathBuf,
    #[serde(flatten)]
    source: Source,
    /// Whether there is a cache.
    exists: bool,
}

impl Dir {
    pub fn run(context: &Context) -> anyhow::Result<ExitCode> {
        let Place { path, source } = context.place.get(context.access, context.printer)?.clone();
        let cache = std::path::absolute(&path).at("open the cache directory", &path)?;
        let cache = Boundary::new(Path::new("/"))?.real(&cache);
        let report = Report { exists: Cache::is_at(&cache), cache, source };
        context.printer.report(&report, |report| text(report, context.verbose))?;
        Ok(ExitCode::Success)
    }
}

fn text(report: &Report, verbose: bool) -> Text {
    let mut data = Data::default();
    data.line(&report.cache.display().to_string());
    let mut notes = Vec::new();
    if verbose {
        notes.push(named_by(&report.source));
        if !report.exists {
            notes.push("there is no cache yet".to_owned());
        }
    }
    Text { data, notes, ..Text::default() }
}

fn named_by(source: &Source) -> String {
    match source {
        Source::Option => "named by --cache".into(),
        Source::Environment => "named by EGGCACHE_DIR".into(),
        Source::Buildout { file } | Source::Defaults { file } => {
            format!("named by egg-cache in {}", file.display())
        }
        Source::Default => "the default: nothing names a cache here".into(),
    }
}
