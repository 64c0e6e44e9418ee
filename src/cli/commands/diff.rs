//! `diff`: what distinguishes two eggs.

use crate::cli::complete_eggs::egg_names;
use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::print::{Data, Text};
use crate::cli::select_eggs::Filter;
use crate::ops::diff::{self, Bytes, Field, FileDifference, How, Report};
use crate::util::units::{counted, shown_count, shown_size};

/// Compare two eggs, for example two builds of one.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Lines with - are of the first egg, lines with + of the second. Compared are the parts of \
    the egg key, the origin, the headers of the metadata, and every file. Mtimes do not count. Bytecode \
    that differs is only counted without -v, because it contains the mtimes of its sources. `eggcache list` \
    shows the digests of two builds.\n\n\
    Examples:\n  eggcache diff 1a2b3c4d5e6f 9f8e7d6c5b4a\n  eggcache diff lxml==6.1.2 lxml==6.1.3\n  \
    eggcache --json diff lxml==6.1.2 lxml==6.1.3 | jq .files\n\n\
    Exit code 0 also if the eggs differ, 3 if the cache does not have one of them, 2 if a name matches several \
    eggs."
)]
pub struct Diff {
    /// First egg: name==version, name, file name, or at least 6 digits of the digest.
    #[arg(value_name = "EGG", add = egg_names())]
    left: String,
    /// Second egg.
    #[arg(value_name = "EGG", add = egg_names())]
    right: String,
    #[command(flatten)]
    filter: Filter,
}

impl Diff {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let Self { left, right, filter } = self;
        let report = diff::diff(&context.open()?, &left, &right, &filter.into())?;
        context.printer.report(&report, |report| text(report, context.verbose))?;
        Ok(ExitCode::Success)
    }
}

fn text(report: &Report, verbose: bool) -> Text {
    let mut data = Data::default();
    for (sign, egg) in [('-', &report.left), ('+', &report.right)] {
        data.line(&format!("{sign} {}  {}", egg.digest.short(), egg.file_name));
    }
    add_fields(&mut data, &report.fields);
    add_fields(&mut data, &report.metadata);
    let shown: Vec<&FileDifference> =
        report.files.iter().filter(|it| verbose || !it.is_bytecode).collect();
    if !shown.is_empty() {
        data.line("");
    }
    for difference in &shown {
        data.line(&file_line(difference));
    }
    Text { data, summary: summary(report, shown.len()), ..Text::default() }
}

fn add_fields(data: &mut Data, fields: &[Field]) {
    if !fields.is_empty() {
        data.line("");
    }
    let width = fields.iter().map(|it| it.name.chars().count()).max().unwrap_or(0);
    for Field { name, left, right } in fields {
        for (sign, value) in [('-', left), ('+', right)] {
            if let Some(value) = value {
                data.line(&format!("{sign} {name:<width$}  {value}"));
            }
        }
    }
}

fn file_line(FileDifference { path, how, .. }: &FileDifference) -> String {
    let path = if path.is_empty() { "the zipped egg" } else { path };
    match how {
        How::OnlyLeft { size } => format!("- {path}  {}", shown_size(*size)),
        How::OnlyRight { size } => format!("+ {path}  {}", shown_size(*size)),
        How::Kind => format!("! {path}  file, symlink or directory"),
        How::Target { left, right } => format!("! {path}  -> {left}, -> {right}"),
        How::Mode => format!("! {path}  executable in one of them"),
        How::Content { left, right, bytes } => {
            format!("! {path}  {}", content(*left, *right, bytes.as_ref()))
        }
    }
}

fn content(left: u64, right: u64, bytes: Option<&Bytes>) -> String {
    let from = bytes.map(|it| format!(", from byte {}", shown_count(it.first))).unwrap_or_default();
    match bytes.and_then(|it| it.count) {
        Some(count) => {
            format!("{} of {}{from}", shown_count(count), counted(left, "byte"))
        }
        None if left == right => format!("other bytes, {}", shown_size(left)),
        None => format!("{} and {}{from}", counted(left, "byte"), counted(right, "byte")),
    }
}

fn summary(report: &Report, shown: usize) -> String {
    let equal = counted(report.equal, "equal file");
    if report.has_equal_files() {
        let times = match report.equal_except_mtime {
            0 => String::new(),
            count => format!(", {count} of them with another mtime"),
        };
        return format!("No file differs: {equal}{times}");
    }
    let count = |is: fn(&How) -> bool| report.files.iter().filter(|it| is(&it.how)).count();
    let removed = count(|how| matches!(how, How::OnlyLeft { .. }));
    let added = count(|how| matches!(how, How::OnlyRight { .. }));
    let both = report.files.len() - removed - added;
    let hidden = match report.files.len() - shown {
        0 => String::new(),
        1 => "; 1 bytecode file not shown, -v shows it".into(),
        count => format!("; {} not shown, -v shows them", counted(count, "bytecode file")),
    };
    let verb = if report.files.len() == 1 { "differs" } else { "differ" };
    format!(
        "{} {verb}: {both} in both eggs, {removed} only in the first, {added} only in the second; \
         {equal}{hidden}",
        counted(report.files.len(), "file")
    )
}
