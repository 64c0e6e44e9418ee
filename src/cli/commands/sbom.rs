//! `sbom`: describe a buildout for those who look for licenses and vulnerabilities.

use std::path::PathBuf;

use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::format::{eggs, first_names};
use crate::cli::print::{Data, Text};
use crate::cli::values::source_date;
use crate::ops::check;
use crate::ops::sbom::{self, Format, Options, Report};
use crate::util::units::counted;

/// How many names a note has without `--verbose`.
const FEW: usize = 3;

/// Write a software bill of materials of a buildout.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The document lists the eggs that the buildout uses and its develop eggs: name, \
    version, purl, license, the SHA-256 of the archive of each egg if the cache knows it, dependencies, \
    and the shared objects in each egg. docs/reference/sbom.md describes it. Equal buildouts have equal \
    documents; SOURCE_DATE_EPOCH sets the time in it (default: the mtime of the newest file in the \
    eggs).\n\n\
    Without --cache, the cache is the one that the buildout names, as for `eggcache check`.\n\n\
    Examples:\n  eggcache sbom -o app.cdx.json\n  \
    eggcache sbom /srv/app --format spdx -o app.spdx.json\n  \
    eggcache sbom | jq -r '.components[] | [.name, .version] | @tsv'"
)]
pub struct Sbom {
    /// Folder of the buildout (default: the current one).
    #[arg(value_name = "BUILDOUT", default_value = ".", hide_default_value = true)]
    buildout: PathBuf,
    /// Standard of the document.
    #[arg(long, value_enum, default_value_t)]
    format: SbomFormat,
    /// File to write (default: standard output).
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Eggs directory of the buildout (default: the one that the buildout is configured to use).
    #[arg(long, value_name = "DIR")]
    eggs: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum SbomFormat {
    /// CycloneDX 1.6, JSON.
    #[default]
    Cyclonedx,
    /// SPDX 2.3, JSON.
    Spdx,
}

impl From<SbomFormat> for Format {
    fn from(format: SbomFormat) -> Self {
        match format {
            SbomFormat::Cyclonedx => Self::CycloneDx,
            SbomFormat::Spdx => Self::Spdx,
        }
    }
}

impl Sbom {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let Self { buildout, format, output, eggs } = self;
        let time = source_date()?;
        let cache = context.open_to_compare(&buildout)?;
        let checking = check::Options { eggs: eggs.clone(), ..check::Options::default() };
        let checked = check::check(cache.as_ref(), &buildout, &checking, &context.bar)?;
        let format = format.into();
        let options = Options { format, eggs, output, time, ..Options::default() };
        let report = sbom::sbom(cache.as_ref(), &checked, &options)?;
        context.printer.report(&report, |report| text(report, context.verbose))?;
        Ok(ExitCode::Success)
    }
}

/// The note on native code that is not in a bill.
pub fn unlisted(paths: &[String], few: usize) -> Option<String> {
    let verb = if paths.len() == 1 { "is" } else { "are" };
    let files = counted(paths.len(), "file");
    (!paths.is_empty()).then(|| {
        format!(
            "{files} with native code in parts/ {verb} not in the bill: {}",
            first_names(paths, few)
        )
    })
}

fn text(report: &Report, verbose: bool) -> Text {
    let mut data = Data::default();
    if report.file.is_none() {
        data.lines(&report.text);
    }
    let few = if verbose { usize::MAX } else { FEW };
    let without = &report.without_license;
    let mut notes = Vec::new();
    if !without.is_empty() {
        notes.push(format!("no license is declared by {}", first_names(without, few)));
    }
    let unknown = &report.without_archive;
    if !unknown.is_empty() {
        let names = first_names(unknown, few);
        notes.push(format!("the archive of {} is not known: {names}", eggs(unknown.len())));
    }
    notes.extend(unlisted(&report.unlisted, few));
    if report.problems > 0 {
        let problems = counted(report.problems, "problem");
        notes.push(format!("the buildout has {problems}: `eggcache check` lists them"));
    }
    let mut parts = vec![eggs(report.eggs)];
    if report.develop_eggs > 0 {
        parts.push(counted(report.develop_eggs, "develop egg"));
    }
    parts.push(counted(report.libraries, "shared object"));
    let parts = parts.join(", ");
    let summary = match &report.file {
        Some(path) => format!("Wrote {}: {parts}", path.display()),
        None => format!("Described {parts}"),
    };
    Text { data, notes, summary, ..Text::default() }
}
