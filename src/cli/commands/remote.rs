//! `remote`: the remotes of a cache. What works on the eggs of a remote has files of its own.

use std::fmt::Write;

use crate::cache::trust;
use crate::cli::complete_eggs::remote_names;
use crate::cli::context::{Access, Context};
use crate::cli::exit_code::ExitCode;
use crate::cli::print::{Message, Text};
use crate::cli::table::{lines, table};
use crate::cli::values::at_least_one;
use crate::ops::remote::configure::{self, ConfiguredRemote, Options, Report};
use crate::remote::config::{self, Stale};
use crate::remote::keys::{KEY_VARIABLE, Trusted};
use crate::util::clock::{now, shown_day};
use crate::util::units::counted;

use super::{remote_eggs, remote_gc, remote_verify, remote_withdraw};

/// Configure remotes to fetch eggs from and push built eggs to.
#[derive(Debug, clap::Args)]
#[command(
    subcommand_required = true,
    after_help = "Examples:\n  \
    eggcache remote add team s3://eggs/pool --key team.pub --push\n  eggcache remote list"
)]
pub struct Remote {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Add(Add),
    List(List),
    Remove(Remove),
    Eggs(remote_eggs::ListEggs),
    Verify(remote_verify::Verify),
    Gc(remote_gc::Gc),
    Withdraw(remote_withdraw::Withdraw),
    Withdrawals(remote_withdraw::Withdrawals),
}

impl Remote {
    /// As [`super::Command::access`]. The garbage collection of a remote reads the roots of the cache.
    pub fn access(&self) -> Access {
        match self.command {
            Command::List(_)
            | Command::Eggs(_)
            | Command::Verify(_)
            | Command::Gc(_)
            | Command::Withdrawals(_) => Access::Read,
            Command::Remove(_) | Command::Withdraw(_) => Access::Change,
            Command::Add(_) => Access::Make,
        }
    }

    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Add(command) => command.run(context),
            Command::List(_) => List::run(context),
            Command::Remove(command) => command.run(context),
            Command::Eggs(command) => command.run(context),
            Command::Verify(command) => command.run(context),
            Command::Gc(command) => command.run(context),
            Command::Withdraw(command) => command.run(context),
            Command::Withdrawals(command) => command.run(context),
        }
    }
}

/// Add a remote: an object store, a folder, or a web server to read from.
#[derive(Debug, clap::Args)]
#[command(after_help = "URL is s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX, \
    an https address, or the absolute path of a folder. Credentials come from the environment \
    variables that the tools of each store use (AWS_ACCESS_KEY_ID and so on); a store that everyone \
    can read needs none.\n\nExamples:\n  \
    eggcache remote add team s3://eggs/pool --key team.pub --push\n  \
    eggcache remote add team s3://eggs --endpoint http://storage.example:8333 --key team.pub\n  \
    eggcache remote add mirror https://eggs.example/pool --key team.pub")]
struct Add {
    /// Local name of the remote.
    name: String,
    /// Address of the remote.
    url: String,
    /// Public key to trust, or the file that contains it. Without a trusted key, no egg of the remote is
    /// used.
    #[arg(long = "key", value_name = "KEY")]
    keys: Vec<String>,
    /// Use an egg only if N of the trusted keys have signed it.
    #[arg(long, value_name = "N", default_value = "1", value_parser = at_least_one)]
    signatures_needed: usize,
    /// What to do while the remote's list of withdrawn eggs is expired, old, not signed or gone: use the
    /// remote with a warning, or skip it.
    #[arg(long, value_name = "HOW", default_value = "use", value_parser = stale)]
    stale: Stale,
    /// Push the eggs that buildouts build here.
    #[arg(long)]
    push: bool,
    /// Server of the store, if it is not Amazon, Google or Azure.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Region of an S3 store.
    #[arg(long)]
    region: Option<String>,
    /// Use the credentials of this cloud machine.
    #[arg(long)]
    instance_credentials: bool,
    /// Ask this remote before the others.
    #[arg(long)]
    first: bool,
}

impl Add {
    fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let Self { name, url, keys, push, endpoint, region, instance_credentials, first, .. } =
            self;
        let (signatures_needed, stale) = (self.signatures_needed, self.stale);
        let endpoint = endpoint.map(|text| config::endpoint(&text)).transpose()?;
        let remote = config::Remote::new(&name, &url)?;
        let remote = config::Remote {
            endpoint,
            region,
            push,
            instance_credentials,
            signatures_needed,
            stale,
            ..remote
        };
        let options = Options::Add { remote: Box::new(remote), keys, first };
        let key = context.environment.get_os(KEY_VARIABLE).filter(|path| !path.is_empty());
        let is_mute = push && key.is_none();
        let mute = is_mute.then(|| {
            format!(
                "nothing is pushed to {name} without a signing key: set {KEY_VARIABLE} to the file of \
                 a secret key; `eggcache keygen FILE` makes one"
            )
        });
        let inside = context.checkout_around_cache()?.map(|checkout| {
            format!(
                "the cache is inside of the checkout {}: its buildouts send {name} no credentials and \
                 push nothing to it, because a checkout can bring a cache; keep the cache elsewhere, or \
                 name it in {}",
                checkout.display(),
                trust::VARIABLE
            )
        });
        let notes = mute.into_iter().chain(inside).collect();
        change_noted(context, &options, format!("Added remote {name}"), notes)
    }
}

/// List the remotes in the order in which they are asked.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  eggcache remote list\n  \
    eggcache --json remote list | jq .remotes")]
struct List {}

impl List {
    fn run(context: &Context) -> anyhow::Result<ExitCode> {
        let report = configure::configure(&context.open()?, &Options::List)?;
        context.printer.report(&report, |report| {
            if report.remotes.is_empty() {
                let none = "No remotes; `eggcache remote add NAME URL --key KEY` adds one";
                return Text { summary: none.into(), ..Text::default() };
            }
            listing(report)
        })?;
        Ok(ExitCode::Success)
    }
}

/// Remove a remote; its contents are untouched.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  eggcache remote remove team")]
struct Remove {
    /// Name of the remote.
    #[arg(add = remote_names())]
    name: String,
}

impl Remove {
    fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let Self { name } = self;
        let summary = format!("Removed remote {name}; its contents are untouched");
        let report = configure::configure(&context.open()?, &Options::Remove { name })?;
        context.printer.report(&report, |report| {
            let problems = allowed_again(report).into_iter().collect();
            Text { problems, summary, ..Text::default() }
        })?;
        Ok(ExitCode::Success)
    }
}

fn stale(text: &str) -> Result<Stale, String> {
    match text {
        "use" => Ok(Stale::Use),
        "skip" => Ok(Stale::Skip),
        _ => Err("neither `use` nor `skip`".into()),
    }
}

/// Changes a remote, and prints it as it is now.
pub fn change(context: &Context, options: &Options, summary: String) -> anyhow::Result<ExitCode> {
    change_noted(context, options, summary, Vec::new())
}

/// As [`change`], with more notes.
fn change_noted(
    context: &Context,
    options: &Options,
    summary: String,
    notes: Vec<String>,
) -> anyhow::Result<ExitCode> {
    let report = configure::configure(&context.open()?, options)?;
    context.printer.report(&report, |report| {
        let problems = allowed_again(report).into_iter().collect();
        let mut text = listing(report);
        text.notes.extend(notes);
        Text { problems, summary, ..text }
    })?;
    Ok(ExitCode::Success)
}

/// The warning about withdrawn builds that a change allows again.
fn allowed_again(report: &Report) -> Option<Message> {
    let name = &report.remotes.first()?.remote.name;
    let builds = counted(report.allowed_again, "withdrawn build");
    let verb = if report.allowed_again == 1 { "is" } else { "are" };
    let text = format!("{builds} of remote {name} {verb} allowed again");
    (report.allowed_again > 0).then(|| text.into())
}

fn listing(report: &Report) -> Text {
    let mut rows = table(["remote", "address", "push", "trusted keys"]);
    let mut notes = Vec::new();
    for ConfiguredRemote { remote, key_ids } in &report.remotes {
        let mut address = vec![remote.url.to_string()];
        address.extend(remote.endpoint.as_ref().map(|endpoint| format!("at {endpoint}")));
        let mut keys: Vec<String> =
            remote.trusted.iter().zip(key_ids).map(|(trusted, id)| key(trusted, id)).collect();
        let (needed, trusted) = (remote.signatures_needed, keys.len());
        if needed > 1 {
            keys.push(format!("{needed} signatures needed"));
        }
        if remote.stale == Stale::Skip {
            keys.push("skipped while stale".to_owned());
        }
        if trusted > 0 && trusted < needed {
            let (name, trusted) = (&remote.name, counted(trusted, "key"));
            notes.push(format!(
                "{name} needs {needed} signatures and trusts {trusted}, so none of its eggs are used: \
                 `eggcache trust {name} FILE.pub`"
            ));
        }
        let push = if remote.push { "yes" } else { "" };
        let name = std::slice::from_ref(&remote.name);
        rows.add_lines([name, &address, &[push.to_owned()], &keys]);
        if remote.trusted.is_empty() {
            let name = &remote.name;
            notes.push(format!(
                "{name} has no trusted key, so none of its eggs are used: `eggcache trust {name} FILE.pub`"
            ));
        }
    }
    Text { data: lines(&rows).into(), notes, ..Text::default() }
}

fn key(trusted: &Trusted, id: &str) -> String {
    let mut line = id.to_owned();
    if !trusted.projects.is_empty() {
        let _ = write!(line, " for {}", trusted.projects.join(", "));
    }
    if let Some(until) = trusted.until {
        let word = if until <= now() { "expired" } else { "until" };
        let _ = write!(line, " {word} {}", shown_day(until));
    }
    if let Some(note) = &trusted.note {
        let _ = write!(line, " ({note})");
    }
    line
}
