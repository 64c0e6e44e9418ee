//! `show`: the details of one egg.

use crate::cache::build_options;
use crate::cli::complete_eggs::egg_names;
use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::format::or_any;
use crate::cli::print::{Data, Text};
use crate::cli::select_eggs::Filter;
use crate::egg::arrival::Arrival;
use crate::egg::cached_egg::CachedEgg;
use crate::ops::show::{self, Report, ShownKind};
use crate::remote::withdrawals::record::Notice;
use crate::util::clock::{shown_day, shown_minute};
use crate::util::units::{counted, shown_size};

/// Show the details of one egg.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  eggcache show lxml==6.1.3\n  \
    eggcache show lxml --files --python 3.11\n\n\
    Exit code 3 if the cache does not have the egg, 2 if the name matches several eggs.")]
pub struct Show {
    /// Egg: name==version, name, file name, or at least 6 digits of the digest.
    #[arg(add = egg_names())]
    egg: String,
    /// List the files of the egg, too.
    #[arg(long)]
    files: bool,
    #[command(flatten)]
    filter: Filter,
}

impl Show {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let report = show::show(&context.open()?, &self.egg, &self.filter.into(), self.files)?;
        context.printer.report(&report, text)?;
        Ok(ExitCode::Success)
    }
}

fn pulled(arrival: &Arrival) -> String {
    let Arrival { arrived_at, remote, url, keys, other_keys } = arrival;
    let at = shown_minute(*arrived_at);
    let other = match other_keys.len() {
        0 => String::new(),
        _ => format!("; not checked: {}", other_keys.join(", ")),
    };
    format!("{at} from {remote} ({url}), signed by {}{other}", keys.join(", "))
}

fn text(report: &Report) -> Text {
    let CachedEgg { digest, file_name, key, counts, blob_bytes, provenance, used_at, uses } =
        &report.egg;
    let content = format!(
        "{}, {}, {}, {}",
        counted(counts.files, "file"),
        counted(counts.directories, "directory"),
        counted(counts.symlinks, "symlink"),
        shown_size(counts.bytes)
    );
    let stored = format!("{} in {}", shown_size(*blob_bytes), counted(report.frames, "frame"));
    let by = provenance.buildout.as_ref().map(|version| format!(" by zc.buildout {version}"));
    let added = format!(
        "{}{} (eggcache {})",
        shown_minute(provenance.added_at),
        by.unwrap_or_default(),
        provenance.eggcache
    );
    let build_time = provenance.build_seconds.map(|seconds| format!("{seconds:.1} s"));
    let used = match uses {
        0 => "never".to_owned(),
        uses => format!("{}, last {}", counted(*uses, "time"), shown_minute(*used_at)),
    };
    let withdrawn = report.withdrawn.as_ref().map(|Notice { remote, reason, at }| {
        format!("from remote {remote} on {}: {reason}", shown_day(*at))
    });
    let source = provenance.source.as_ref().filter(|_| report.is_converted);
    let converted = source.map(|wheel| format!("from {wheel} sha256 {}", key.source_sha256));
    let lines = [
        ("egg", file_name.clone()),
        ("digest", digest.to_string()),
        ("name", report.project.clone()),
        ("version", key.version.clone()),
        ("python", or_any(&key.python)),
        ("abi", key.abi.clone()),
        ("platform", or_any(&key.platform)),
        ("libc", key.libc.clone()),
        ("generation", key.generation.to_string()),
        ("spelling", key.spelling.clone()),
        ("source", provenance.source.clone().unwrap_or_default()),
        ("source sha256", key.source_sha256.clone()),
        ("source url", provenance.archive_url.clone().unwrap_or_default()),
        ("converted", converted.unwrap_or_default()),
        ("variant", key.variant.clone()),
        ("options", report.options.as_ref().map(build_options::shown).unwrap_or_default()),
        ("environment", key.environment.clone()),
        ("content", content),
        ("stored", stored),
        ("blob", report.blob.display().to_string()),
        ("added", added),
        ("pulled", report.arrival.as_ref().map(pulled).unwrap_or_default()),
        ("build time", build_time.unwrap_or_default()),
        ("used", used),
        ("withdrawn", withdrawn.unwrap_or_default()),
    ];
    let mut data = Data::default();
    for (label, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        data.line(&format!("{label:<14}{value}"));
    }
    for entry in report.entries.iter().flatten() {
        let path = if entry.path.is_empty() { "." } else { &entry.path };
        let (kind, rest) = match &entry.kind {
            ShownKind::Directory => ('d', String::new()),
            ShownKind::File { size, .. } => ('-', format!("  {size}")),
            ShownKind::Symlink { target } => ('l', format!("  -> {target}")),
        };
        data.line(&format!("{kind}{:03o}  {path}{rest}", entry.mode));
    }
    Text { data, ..Text::default() }
}
