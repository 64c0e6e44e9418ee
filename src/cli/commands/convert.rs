//! `convert`: make eggs of wheels without pip.

use std::path::PathBuf;

use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::format::eggs;
use crate::cli::print::{Message, Text};
use crate::ops::convert::check::{self, Compared, Verdict};
use crate::ops::convert::{
    self, Compile, Converted, ConvertedAs, Invalidation, Options, Outcome, Report,
};
use crate::util::units::counted;

/// How many differing files of an egg are listed without `--verbose`.
const FEW: usize = 10;

/// Make eggs of wheels as zc.buildout makes them, without pip.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Wheels that are unusual are left to buildout: nothing is made of them. No code of \
    a wheel is run.\n\n\
    Examples:\n  eggcache convert dist/*.whl --into eggs/v5 --python bin/python\n  \
    eggcache convert --check downloads/*.whl --python venv/bin/python\n\n\
    Exit code 4 if --check finds a difference."
)]
pub struct Convert {
    /// Wheels.
    #[arg(required = true, value_name = "WHEEL")]
    wheels: Vec<PathBuf>,
    /// Directory for the eggs; it is created if needed.
    #[arg(long, value_name = "DIR", required_unless_present = "check", conflicts_with = "check")]
    into: Option<PathBuf>,
    /// Make each egg also with the zc.buildout and the pip of the Python, in a temporary directory, and
    /// compare the two file by file.
    #[arg(long)]
    check: bool,
    /// Python that the eggs are for.
    #[arg(long, value_name = "PATH", default_value = "python3")]
    python: PathBuf,
    /// Compile also what stock buildout does not compile.
    #[arg(long, conflicts_with = "check")]
    compile_all: bool,
    /// Let Python use bytecode without a look at its source.
    #[arg(long, conflicts_with = "check")]
    unchecked: bool,
}

impl Convert {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let Self { wheels, into, check: _, python, compile_all, unchecked } = self;
        let target = convert::describe(&python)?;
        let options = Options {
            compile: if compile_all { Compile::All } else { Compile::Stock },
            invalidation: unchecked.then_some(Invalidation::UncheckedHash),
            environment: context.environment.clone(),
            ..Options::default()
        };
        if let Some(into) = into {
            let report = convert::convert(&wheels, &into, target, options, &context.bar)?;
            context.printer.report(&report, |report| text(report, context.verbose))?;
            let is_failed = report.failed().next().is_some();
            return Ok(if is_failed { ExitCode::Failure } else { ExitCode::Success });
        }
        let report = check::check(&wheels, target, options, &context.bar)?;
        context.printer.report(&report, |report| check_text(report, context.verbose))?;
        Ok(ExitCode::of_check(report.is_clean()))
    }
}

fn text(report: &Report, verbose: bool) -> Text {
    let mut text = Text::default();
    let (mut converted, mut present, mut left) = (0, 0, 0);
    for Converted { wheel, result } in &report.wheels {
        let wheel = wheel.display();
        let made = match result {
            ConvertedAs::Made(made) => made,
            ConvertedAs::Failed { failed } => {
                text.problems.push(format!("{wheel}: {failed}").into());
                continue;
            }
        };
        text.notes.extend(made.warnings.iter().map(|warning| format!("{wheel}: {warning}")));
        match &made.outcome {
            Outcome::Converted { egg, not_compiled, .. } => {
                converted += 1;
                if verbose {
                    text.data.line(&format!("converted  {egg}"));
                    let lines =
                        not_compiled.iter().map(|path| format!("{egg}: {path} does not compile"));
                    text.notes.extend(lines);
                }
            }
            Outcome::Present { egg } => {
                present += 1;
                if verbose {
                    text.data.line(&format!("present    {egg}"));
                }
            }
            Outcome::Left { reason } => {
                left += 1;
                text.notes.push(format!("{wheel}: left to buildout: {reason}"));
            }
        }
    }
    text.summary =
        format!("{} converted, {present} already there, {left} left to buildout", eggs(converted));
    text
}

fn check_text(report: &check::Report, verbose: bool) -> Text {
    let few = if verbose { usize::MAX } else { FEW };
    let mut text = Text::default();
    let (mut same, mut differ, mut left) = (0, 0, 0);
    for Compared { wheel, verdict } in &report.wheels {
        let wheel = wheel.display();
        match verdict {
            Verdict::Same { files, compiled } => {
                same += 1;
                if verbose {
                    let files = counted(*files, "file");
                    text.data.line(&format!("same  {wheel}  {files}, {compiled} compiled"));
                }
            }
            Verdict::Differs { files } => {
                differ += 1;
                let mut details: Vec<String> =
                    files.iter().take(few).map(|it| format!("{}: {}", it.path, it.what)).collect();
                if files.len() > few {
                    details.push(format!("and {} more; -v shows them", files.len() - few));
                }
                let verb = if files.len() == 1 { "differs" } else { "differ" };
                let line = format!("{wheel}: {} {verb}", counted(files.len(), "file"));
                text.problems.push(Message { line, details });
            }
            Verdict::Left { reason } => {
                left += 1;
                text.notes.push(format!("{wheel}: left to buildout: {reason}"));
            }
            Verdict::Failed { reason } => {
                differ += 1;
                text.problems.push(format!("{wheel}: {reason}").into());
            }
        }
    }
    text.summary = format!("{} the same, {differ} different, {left} left to buildout", eggs(same));
    text
}
