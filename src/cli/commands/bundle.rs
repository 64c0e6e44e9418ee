//! `bundle`: pack a buildout into an archive, or verify an archive.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::sign::signer;
use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::format::{eggs, first_names, verdict};
use crate::cli::print::{BAD, Data, GOOD, Message, Text};
use crate::cli::values::{SOURCE_DATE, mtimes, source_date};
use crate::error::Error;
use crate::ops::bundle::{
    self, Imports, Known, Mtimes, Options, Problem, Report, Verified, Why, provenance,
};
use crate::ops::{check, sbom};
use crate::remote::keys;
use crate::util::clock::now;
use crate::util::printable::quoted;
use crate::util::units::{and_more, counted, shown_size};

/// How many names a note has without `--verbose`.
const FEW: usize = 3;
/// The same for files that tie an archive to its path: all of them have to be mended.
const FEW_BOUND: usize = 10;

/// Pack a buildout into a reproducible archive.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The archive is for an RPM, an image or another machine. The buildout is checked first, and not packed if there is a problem. \
    docs/reference/bundle.md lists what an archive contains, and when two archives differ. If the \
    archive contains the path of the buildout, the report says that it works only there. \
    docs/reference/sbom.md and provenance.md describe --sbom and --provenance. PATTERN is a \
    name (*.log), or a path from the top of the buildout (parts/*/log) in which ** matches any number \
    of folders. A pattern that matches a folder matches everything in it, too. \
    --exclude overrides --include.\n\n\
    Without --cache, the cache is the one that the buildout names, as for `eggcache check`.\n\n\
    Examples:\n  eggcache bundle -o ../app-1.0.tar.zst\n  \
    eggcache bundle /srv/app -o app.tar.zst --include var/templates\n  \
    eggcache bundle --verify app.tar.zst\n  \
    eggcache bundle --verify app.tar.zst --import\n  \
    eggcache bundle -o ../app.tar.zst --sbom ../app.cdx.json --provenance ../app.intoto.json\n  \
    eggcache bundle --verify app.tar.zst --provenance app.intoto.json --key team.pub\n\n\
    Exit code 4 if the check of the buildout or archive finds a problem."
)]
pub struct Bundle {
    /// Folder of the buildout (default: the current one).
    #[arg(value_name = "BUILDOUT")]
    buildout: Option<PathBuf>,
    /// Archive to write: .tar.zst or .tar.
    #[arg(short, long, value_name = "FILE", required_unless_present = "verify")]
    output: Option<PathBuf>,
    /// Top folder in the archive, '' for none (default: the name of the buildout's folder).
    #[arg(long, value_name = "DIR")]
    prefix: Option<String>,
    /// Mtime of all files outside the eggs: seconds since the Unix epoch, or `source` to keep that of
    /// each file (default: `SOURCE_DATE_EPOCH`, or else the mtime of the newest file in the eggs). Files
    /// in eggs always keep theirs, because bytecode depends on it.
    // The variable is read without clap, as for `--cache`.
    #[arg(long, value_name = "EPOCH", value_parser = mtimes)]
    mtime: Option<Mtimes>,
    /// Leave out what matches PATTERN.
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// Include what matches PATTERN although it would be left out: data, downloads, bytecode, an unused
    /// egg.
    #[arg(long, value_name = "PATTERN")]
    include: Vec<String>,
    /// Include unused eggs, which no script, configuration or `.installed.cfg` names.
    #[arg(long)]
    unused: bool,
    /// Eggs directory of the buildout (default: the one that the buildout is configured to use).
    #[arg(long, value_name = "DIR")]
    eggs: Option<PathBuf>,
    /// Check every byte of ARCHIVE against its manifest.
    #[arg(
        long,
        value_name = "ARCHIVE",
        conflicts_with_all = ["buildout", "output", "prefix", "exclude", "include", "unused", "eggs"]
    )]
    verify: Option<PathBuf>,
    /// Also import what the scripts of ARCHIVE import, which runs code of its packages.
    // Without the second condition, clap forgets the first: `verify` conflicts with both.
    #[arg(long, requires = "verify", conflicts_with_all = ["buildout", "output"])]
    import: bool,
    /// Also write a software bill of materials of the archive: SPDX if the name ends in .spdx.json, else
    /// CycloneDX. With --verify, check that the provenance names this file.
    #[arg(long, value_name = "FILE")]
    sbom: Option<PathBuf>,
    /// Also write a provenance of the archive, signed with the key that `EGGCACHE_SIGNING_KEY` names.
    /// With --verify, check that KEY has signed this one and that it is of ARCHIVE.
    #[arg(long, value_name = "FILE")]
    provenance: Option<PathBuf>,
    /// Public key that must have signed the provenance: the key, or a file with it.
    #[arg(long, requires = "verify", requires = "provenance", conflicts_with_all = ["buildout", "output"])]
    key: Option<String>,
}

impl Bundle {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let Self {
            buildout,
            output,
            prefix,
            mtime,
            exclude,
            include,
            unused,
            eggs,
            verify,
            import,
            sbom,
            provenance,
            key,
        } = self;
        let beside = Beside { sbom, provenance };
        if let Some(archive) = verify {
            return verify_archive(context, &archive, import, &beside, key.as_deref());
        }
        let mtimes = mtime.map_or_else(default_mtimes, Ok)?;
        let buildout = buildout.unwrap_or_else(|| ".".into());
        // clap requires it without --verify.
        let output = output.unwrap_or_default();
        pack(
            context,
            &buildout,
            &Options { output, eggs, prefix, mtimes, exclude, include, unused },
            &beside,
        )
    }
}

/// The files beside an archive.
struct Beside {
    sbom: Option<PathBuf>,
    provenance: Option<PathBuf>,
}

/// Checks a buildout byte by byte, and packs it if there is no problem.
fn pack(
    context: &Context,
    buildout: &Path,
    options: &Options,
    beside: &Beside,
) -> anyhow::Result<ExitCode> {
    // Nothing is packed for a provenance that nobody can sign.
    let signer = beside.provenance.as_ref().map(|_| signer(context)).transpose()?;
    let time = source_date()?;
    let cache = context.open_to_compare(buildout)?;
    let full = check::Options { eggs: options.eggs.clone(), full: true, repair: false };
    let checked = check::check(cache.as_ref(), buildout, &full, &context.bar)?;
    if checked.unsolved().next().is_some() {
        context.printer.report(&checked, |report| refused_text(report, context.verbose))?;
        return Ok(ExitCode::Problems);
    }
    let mut report = bundle::bundle(cache.as_ref(), &checked, options, &context.bar)?;
    if let Some(file) = &beside.sbom {
        let bill = sbom::sbom(cache.as_ref(), &checked, &sbom_options(&report, options, file))?;
        report.sbom = Some(file.clone());
        report.unlisted = bill.unlisted;
    }
    if let Some((file, signer)) = beside.provenance.as_ref().zip(signer) {
        let bills: Vec<&Path> = beside.sbom.iter().map(PathBuf::as_path).collect();
        let time = time.unwrap_or_else(now);
        provenance::write(file, &report, options, &bills, &signer, time)?;
        report.provenance = Some(file.clone());
    }
    context.printer.report(&report, |report| packed_text(report, context.verbose))?;
    Ok(ExitCode::Success)
}

/// How a bill of materials describes an archive.
fn sbom_options(report: &Report, options: &Options, file: &Path) -> sbom::Options {
    let is_spdx = file.to_string_lossy().ends_with(".spdx.json");
    sbom::Options {
        format: if is_spdx { sbom::Format::Spdx } else { sbom::Format::CycloneDx },
        eggs: options.eggs.clone(),
        output: Some(file.to_owned()),
        time: report.mtime.and_then(|mtime| i64::try_from(mtime).ok()),
        only: Some(report.bundled.iter().map(|egg| egg.path.clone()).collect()),
        archive: Some(report.sha256),
        left_out: report.left_out.iter().map(|it| (&it.path).into()).collect(),
    }
}

fn verify_archive(
    context: &Context,
    archive: &Path,
    import: bool,
    beside: &Beside,
    key: Option<&str>,
) -> anyhow::Result<ExitCode> {
    let key = match (&beside.provenance, key) {
        (Some(_), Some(key)) => Some(keys::public_key(key)?),
        (None, None) if beside.sbom.is_none() => None,
        (None, _) => return Err(usage("--sbom needs --provenance, which names it, and --key")),
        (Some(_), None) => return Err(usage("--provenance needs --key, which has signed it")),
    };
    let mut report = bundle::verify(archive, &context.bar)?;
    if let Some((file, key)) = beside.provenance.as_ref().zip(key) {
        let bills: Vec<&Path> = beside.sbom.iter().map(PathBuf::as_path).collect();
        provenance::verify(&mut report, file, &key, &bills)?;
    }
    if let Ok(root) = context.root() {
        report.note_withdrawn(&root, &context.trust);
    }
    if import && report.is_sound() {
        bundle::import(&mut report, &context.bar)?;
    }
    context.printer.report(&report, |report| verified_text(report, context.verbose))?;
    Ok(ExitCode::of_check(report.is_sound()))
}

fn usage(what: &str) -> anyhow::Error {
    Error::Usage(what.to_owned()).into()
}

/// The mtime that the environment sets, or that of the newest file.
fn default_mtimes() -> Result<Mtimes, Error> {
    let Some(text) = env::var_os(SOURCE_DATE) else { return Ok(Mtimes::default()) };
    let text = text.to_string_lossy();
    mtimes(&text).map_err(|reason| Error::Usage(format!("{SOURCE_DATE}={text}: {reason}")))
}

fn refused_text(report: &check::Report, verbose: bool) -> Text {
    let mut text = super::check::text(report, verbose);
    let _ = write!(text.summary, "; {BAD}not bundled{BAD:#}");
    text
}

fn packed_text(report: &Report, verbose: bool) -> Text {
    let archive = report.archive.display();
    let mut notes = left_out(report, if verbose { usize::MAX } else { FEW });
    let beside = [&report.sbom, &report.provenance].into_iter().flatten();
    notes.extend(beside.map(|file| format!("beside it: {}", file.display())));
    notes.extend(report.not_installed.iter().cloned());
    let few = if verbose { usize::MAX } else { FEW };
    notes.extend(super::sbom::unlisted(&report.unlisted, few));
    if let Some(path) = &report.path {
        notes.push(bound(path, &report.bound, verbose));
    } else if verbose && !report.records.is_empty() {
        let records = first_names(&report.records, few);
        notes.push(format!("elsewhere, buildout installs its parts again, because of {records}"));
    }
    let unknown = report.bundled.iter().filter(|egg| egg.digest.is_none());
    let unknown: Vec<String> = unknown.map(|egg| format!("{} {}", egg.name, egg.version)).collect();
    if !unknown.is_empty() {
        notes.push(format!(
            "{} of {} are not in the cache: their bytes may differ in another buildout: {}",
            unknown.len(),
            eggs(report.eggs),
            first_names(&unknown, few)
        ));
    }
    let mut hints = Vec::new();
    if let Some(first) = report.importers.first() {
        let script = first.display();
        let more = and_more(report.importers.len() - 1, "script");
        hints.push(format!(
            "{script}{more} imports packages that are installed beside zc.buildout, and which the archive lacks: a pin of \
             another version makes eggs of them, and `--exclude {script}` leaves the script out"
        ));
    }
    if let Some(path) = &report.path {
        hints.push(format!("`{}` imports its scripts at {path}", import_line(&report.archive)));
        if report.bound.iter().any(|file| file.starts_with("bin/")) {
            hints
                .push("`relative-paths = true` in [buildout] keeps the path out of scripts".into());
        }
    }
    Text {
        data: checksum(report.sha256, &report.archive),
        hints,
        notes,
        summary: format!(
            "Wrote {archive}, {}: {}, {}, {} ({} {})",
            place(report),
            eggs(report.eggs),
            counted(report.files, "file"),
            shown_size(report.bytes),
            shown_size(report.archive_bytes),
            if report.is_compressed { "compressed" } else { "as tar" }
        ),
        ..Text::default()
    }
}

/// Which files contain the only path at which a buildout works.
fn bound(path: &str, files: &[String], verbose: bool) -> String {
    let few = if verbose { usize::MAX } else { FEW_BOUND };
    let more = if files.len() > few { "; -v shows them" } else { "" };
    format!("the path {path} is in {}{more}", first_names(files, few))
}

/// The command that tries an archive.
fn import_line(archive: &Path) -> String {
    format!("eggcache bundle --verify {} --import", quoted(archive))
}

/// Where the unpacked buildout works.
fn place(Report { path, needs_packages, .. }: &Report) -> String {
    let place = match path {
        None => format!("{GOOD}self-contained{GOOD:#}"),
        Some(path) => format!("which works only at {path}"),
    };
    match (path, needs_packages) {
        (_, false) => place,
        (None, true) => format!("{place} but for packages of its Python"),
        (Some(_), true) => format!("{place} with packages of its Python"),
    }
}

/// A line for each reason to leave something out.
fn left_out(report: &Report, few: usize) -> Vec<String> {
    let mut by_reason: BTreeMap<Why, Vec<String>> = BTreeMap::new();
    for left_out in &report.left_out {
        by_reason.entry(left_out.why).or_default().push(left_out.path.clone());
    }
    let line = |(why, paths): (Why, Vec<String>)| {
        let reason = match why {
            Why::Excluded => "excluded",
            Why::Temporary => "temporary files of eggcache",
            Why::VersionControl => "version control",
            Why::Cache => "downloads and caches",
            Why::Data => "data",
            Why::Leftover => "leftovers in the eggs directory",
            Why::UnusedEgg => "unused eggs",
            Why::Bytecode => "bytecode that was compiled later",
            Why::StaleBytecode => "stale bytecode",
            Why::Special => "neither files nor folders",
        };
        format!("left out ({reason}): {}", first_names(&paths, few))
    };
    by_reason.into_iter().map(line).collect()
}

fn verified_text(report: &Verified, verbose: bool) -> Text {
    let problem = |Problem { path, what, .. }: &Problem| match path.as_str() {
        "" => format!("{}: {what}", report.archive.display()).into(),
        path => format!("{path}: {what}").into(),
    };
    let withdrawn = report.withdrawn.iter().map(|(name, notice)| notice.error(name).to_string());
    let problems: Vec<Message> =
        report.problems.iter().map(problem).chain(withdrawn.map(Message::from)).collect();
    let path = report.path.iter().filter(|_| !report.bound.is_empty());
    let bound = path.map(|path| bound(path, &report.bound, verbose));
    let known =
        report.known.iter().map(|Known { cache, withdrawn, without_digest, unreadable }| {
            let mut note =
                format!("withdrawn builds that the cache {} knows: {withdrawn}", cache.display());
            if *without_digest > 0 {
                let of = eggs(report.eggs);
                let _ = write!(note, "; {without_digest} of {of} cannot be compared with them");
            }
            if let Some(error) = unreadable {
                let _ = write!(note, "; {error}");
            }
            note
        });
    Text {
        data: checksum(report.sha256, &report.archive),
        notes: not_imported(report).into_iter().chain(bound).chain(known).collect(),
        summary: format!(
            "{}, {}, {} checked{}{}{}: {}",
            eggs(report.eggs),
            counted(report.files, "file"),
            shown_size(report.bytes),
            report.path.as_ref().map(|path| format!(", works only at {path}")).unwrap_or_default(),
            imported(report),
            report.signed_by.as_ref().map(|id| format!(", signed by {id}")).unwrap_or_default(),
            verdict(problems.len(), 0)
        ),
        problems,
        ..Text::default()
    }
}

/// The scripts whose imports were tried.
fn imported(report: &Verified) -> String {
    let shown = |imports: &Imports| format!(", {} imported", counted(imports.scripts, "script"));
    report.imports.as_ref().map(shown).unwrap_or_default()
}

/// The scripts that were not imported.
fn not_imported(report: &Verified) -> Option<String> {
    let scripts = &report.imports.as_ref()?.not_imported;
    let names = first_names(scripts, FEW);
    (!scripts.is_empty()).then(|| format!("not imported, because it would run them: {names}"))
}

/// A line that `sha256sum -c` reads in the folder of the archive.
fn checksum(sha256: impl std::fmt::Display, archive: &Path) -> Data {
    let name = archive.file_name().unwrap_or_default().to_string_lossy();
    let mut data = Data::default();
    data.line(&format!("{sha256}  {name}"));
    data
}
