//! `used-by`: the pins and buildouts that keep an egg.

use crate::cache::retention::kept_by::User;
use crate::cache::retention::pins::Pin;
use crate::cache::retention::policy::Policy;
use crate::cache::retention::roots::RootState;
use crate::cli::complete_eggs::egg_names;
use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::format::eggs;
use crate::cli::kept_by;
use crate::cli::line_format::{Field, Fields, LineFormat};
use crate::cli::print::{Data, Message, Text};
use crate::cli::select_eggs::Filter;
use crate::cli::table::{lines, table};
use crate::egg::cached_egg::CachedEgg;
use crate::egg::name::{EggName, normalize_name};
use crate::ops::used_by::{self, Kept, Report};

use super::gc::unreadable_root;

/// Help of `--format`, in one place with a test.
pub(in crate::cli) const FIELDS_HELP: &str = "Print one line for each buildout and each pin that uses an egg, \
    without header and summary: text with fields in braces. Fields: name (as PEP 503 spells it), project (as the \
    file name does), version, python, platform, file_name, digest (empty if the cache no longer has the egg), \
    kind (buildout or pin), user (the folder of the buildout, or the pin), state (of a buildout: live, gone or \
    elsewhere), note (of a pin). {{ and }} are braces, \\t is a tab";

/// List the buildouts and pins that use an egg.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A buildout is listed if it has run with `egg-cache` and succeeded, and used the egg \
    in its last run. `gc` keeps these eggs, and `eggcache roots` lists all buildouts.\n\n\
    Examples:\n  eggcache used-by lxml\n  eggcache used-by lxml==6.1.3\n  \
    eggcache used-by 'zope.*' --format '{user}' | sort -u\n  \
    eggcache --json used-by 'zope.*' | jq '.eggs[] | {file_name, kept_by}'\n\n\
    Exit code 3 if the cache does not have the egg and no buildout uses it."
)]
pub struct UsedBy {
    /// Egg: name, name==version, file name, at least 6 digits of the digest, or a pattern with *.
    #[arg(add = egg_names())]
    egg: String,
    #[arg(long, value_name = "TEMPLATE", value_parser = LineFormat::<Use>::parse, help = FIELDS_HELP)]
    format: Option<LineFormat<Use>>,
    #[command(flatten)]
    filter: Filter,
}

/// An egg, and one pin or buildout that uses it.
#[derive(Debug, Clone, Default)]
pub struct Use {
    name: String,
    project: String,
    version: String,
    python: String,
    platform: String,
    file_name: String,
    digest: String,
    kind: &'static str,
    user: String,
    state: &'static str,
    note: String,
}

impl Fields for Use {
    const FIELDS: &'static [Field<Self>] = &[
        ("name", |it| it.name.clone()),
        ("project", |it| it.project.clone()),
        ("version", |it| it.version.clone()),
        ("python", |it| it.python.clone()),
        ("platform", |it| it.platform.clone()),
        ("file_name", |it| it.file_name.clone()),
        ("digest", |it| it.digest.clone()),
        ("kind", |it| it.kind.to_owned()),
        ("user", |it| it.user.clone()),
        ("state", |it| it.state.to_owned()),
        ("note", |it| it.note.clone()),
    ];
}

impl Use {
    /// An egg without a user.
    fn of(egg: &CachedEgg) -> Self {
        Self {
            name: egg.key.name.clone(),
            project: egg.project(),
            version: egg.key.version.clone(),
            python: egg.key.python.clone(),
            platform: egg.key.platform.clone(),
            file_name: egg.file_name.clone(),
            digest: egg.digest.to_string(),
            ..Self::default()
        }
    }

    /// An egg that the cache does not have, as far as its file name describes it. It does not name the
    /// implementation of Python.
    fn of_file_name(file_name: &str) -> Self {
        let named = Self { file_name: file_name.to_owned(), ..Self::default() };
        let Ok(egg) = file_name.parse::<EggName>() else { return named };
        Self {
            name: normalize_name(&egg.name),
            project: egg.name.replace('_', "-"),
            version: egg.version,
            platform: egg.platform,
            ..named
        }
    }

    fn by_buildout(self, user: &User) -> Self {
        let state = match user.state {
            RootState::Live => "live",
            RootState::Gone { .. } => "gone",
            RootState::Elsewhere => "elsewhere",
        };
        Self { kind: "buildout", user: user.directory.display().to_string(), state, ..self }
    }

    fn by_pin(self, pin: &Pin) -> Self {
        let note = pin.note.clone().unwrap_or_default();
        Self { kind: "pin", user: pin.what.clone(), note, ..self }
    }
}

impl UsedBy {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let root = context.root()?;
        let grace = Policy::read(&root)?.grace;
        let cache = context.open_at(&root)?;
        let report = used_by::used_by(&cache, &self.egg, &self.filter.into(), grace)?;
        match self.format {
            Some(format) => context.printer.report(&report, |it| formatted(it, &format))?,
            None => context.printer.report(&report, text)?,
        }
        Ok(ExitCode::Success)
    }
}

/// A line for each use, and nothing else but problems.
fn formatted(report: &Report, format: &LineFormat<Use>) -> Text {
    let mut data = Data::default();
    for Kept { egg, kept_by } in &report.eggs {
        let used = Use::of(egg);
        let roots = kept_by.roots.iter().map(|user| used.clone().by_buildout(user));
        let pins = kept_by.pins.iter().map(|pin| used.clone().by_pin(pin));
        roots.chain(pins).for_each(|used| data.lines(&format.line(&used)));
    }
    for (file_name, users) in &report.not_cached {
        for user in users {
            data.lines(&format.line(&Use::of_file_name(file_name).by_buildout(user)));
        }
    }
    Text { data, problems: problems(report), ..Text::default() }
}

fn problems(report: &Report) -> Vec<Message> {
    report.unreadable.iter().map(|what| unreadable_root(what).into()).collect()
}

fn text(report: &Report) -> Text {
    let mut table = table(["egg", "digest", "used by"]);
    for Kept { egg, kept_by } in &report.eggs {
        let mut users = kept_by::lines(kept_by);
        if users.is_empty() {
            users.push("nothing".into());
        }
        table.add_lines([std::slice::from_ref(&egg.file_name), &[egg.digest.short()], &users]);
    }
    for (file_name, users) in &report.not_cached {
        let users: Vec<String> = users.iter().map(kept_by::user).collect();
        table.add_lines([std::slice::from_ref(file_name), &["not in cache".into()], &users]);
    }
    let unused = report.eggs.iter().filter(|it| it.kept_by.is_empty()).count();
    let count = report.eggs.len() + report.not_cached.len();
    Text {
        data: lines(&table).into(),
        problems: problems(report),
        summary: format!("{}, {unused} unused", eggs(count)),
        ..Text::default()
    }
}
