//! `push`: upload eggs to a remote.

use crate::cache::query::Narrow;
use crate::cli::complete_eggs::remote_names;
use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::print::Text;
use crate::cli::select_eggs::{Filter, Selection, choose};
use crate::cli::transfers::transfers_text;
use crate::error::Error;
use crate::ops::list;
use crate::ops::remote::push::{self, Options, Report};
use crate::remote::config::{self, Remote};

use super::sign::signer;

/// Upload eggs to a remote.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EGGCACHE_SIGNING_KEY names the file with the secret key that signs the eggs; \
    `eggcache keygen` creates one.\n\nExamples:\n  eggcache push lxml==6.1.3\n  \
    eggcache push --all --to team\n  eggcache push --requirements requirements.txt --python 3.11\n\n\
    Exit code 3 if the cache does not have one of the eggs, 1 if one could not be pushed."
)]
pub struct Push {
    #[command(flatten)]
    selection: Selection,
    /// Remote to push to (default: all remotes that were added with --push).
    #[arg(long, value_name = "NAME", add = remote_names())]
    to: Option<String>,
    /// Sign eggs that were pulled from a remote, too: your key then vouches for what others have built.
    #[arg(long)]
    include_pulled: bool,
    #[command(flatten)]
    filter: Filter,
}

impl Push {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let (all, names) = (self.selection.all, self.selection.names()?);
        let options = Options { include_pulled: self.include_pulled };
        let narrow = Narrow::from(self.filter);
        let mut cache = context.open()?;
        let remotes = destinations(context.remotes()?, self.to.as_deref())?;
        let signer = signer(context)?;
        let eggs = if all {
            list::list(&cache, None, &narrow)?.eggs
        } else {
            choose(&mut cache, &names, &narrow)?
        };
        let mut code = ExitCode::Success;
        for remote in &remotes {
            let (environment, bar) = (&context.environment, &context.bar);
            let report = push::push(&cache, &eggs, remote, &signer, &options, environment, bar)?;
            context.printer.report(&report, |report| text(report, context.verbose))?;
            if report.failed().next().is_some() {
                code = ExitCode::Failure;
            }
        }
        Ok(code)
    }
}

/// The remote of that name, or all that buildouts push to.
fn destinations(mut remotes: Vec<Remote>, name: Option<&str>) -> Result<Vec<Remote>, Error> {
    if let Some(name) = name {
        let position = config::position(&remotes, name)?;
        return Ok(vec![remotes.swap_remove(position)]);
    }
    if remotes.is_empty() {
        return Err(Error::NoRemotes);
    }
    let (destinations, others): (Vec<Remote>, Vec<Remote>) =
        remotes.into_iter().partition(|remote| remote.push);
    if destinations.is_empty() {
        let remotes = others.into_iter().map(|remote| remote.name).collect();
        return Err(Error::NoPushRemote { remotes });
    }
    Ok(destinations)
}

fn text(report: &Report, verbose: bool) -> Text {
    transfers_text("pushed", "to", &format!("remote {}", report.remote), &report.eggs, verbose)
}
