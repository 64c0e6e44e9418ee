//! `used-by`: the pins and buildouts that keep an egg.

use crate::cache::retention::policy::Policy;
use crate::cli::complete_eggs::egg_names;
use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::format::eggs;
use crate::cli::kept_by;
use crate::cli::print::Text;
use crate::cli::select_eggs::Filter;
use crate::cli::table::{lines, table};
use crate::ops::used_by::{self, Kept, Report};

use super::gc::unreadable_root;

/// List the buildouts and pins that use an egg.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A buildout is listed if it has run with `egg-cache` and succeeded, and used the egg \
    in its last run. `gc` keeps these eggs, and `eggcache roots` lists all buildouts.\n\n\
    Examples:\n  eggcache used-by lxml\n  eggcache used-by lxml==6.1.3\n  \
    eggcache --json used-by 'zope.*' | jq '.eggs[] | {file_name, kept_by}'\n\n\
    Exit code 3 if the cache does not have the egg and no buildout uses it."
)]
pub struct UsedBy {
    /// Egg: name, name==version, file name, at least 6 digits of the digest, or a pattern with *.
    #[arg(add = egg_names())]
    egg: String,
    #[command(flatten)]
    filter: Filter,
}

impl UsedBy {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let root = context.root()?;
        let grace = Policy::read(&root)?.grace;
        let cache = context.open_at(&root)?;
        let report = used_by::used_by(&cache, &self.egg, &self.filter.into(), grace)?;
        context.printer.report(&report, text)?;
        Ok(ExitCode::Success)
    }
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
        problems: report.unreadable.iter().map(|what| unreadable_root(what).into()).collect(),
        summary: format!("{}, {unused} unused", eggs(count)),
        ..Text::default()
    }
}
