//! The commands, one per file: arguments, run, and the text of the report.
//!
//! A new command is a file here, a variant of [`Command`] and a line of [`Command::run`].

mod add;
mod bundle;
mod check;
mod completions;
mod convert;
mod diff;
mod dir;
mod doctor;
mod gc;
mod init;
mod keygen;
pub(in crate::cli) mod list;
mod lock;
mod man;
mod materialize;
mod pins;
mod preflight;
mod pull;
mod push;
mod reindex;
mod remote;
mod remote_eggs;
mod remote_gc;
mod remote_verify;
mod remote_withdraw;
mod remove;
mod roots;
mod sbom;
mod serve;
mod show;
mod sign;
mod stats;
mod trust;
pub(in crate::cli) mod used_by;
mod verify;
mod why;

use super::context::{Access, Context};
use super::exit_code::ExitCode;
use super::hints::Selects;

/// In the order of `--help`.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Add(add::Add),
    Materialize(materialize::Materialize),
    Convert(convert::Convert),
    List(list::List),
    Show(show::Show),
    Diff(diff::Diff),
    Why(why::Why),
    Stats(stats::Stats),
    Gc(gc::Gc),
    Remove(remove::Remove),
    Pin(pins::Pin),
    Unpin(pins::Unpin),
    Pins(pins::Pins),
    Roots(roots::Roots),
    UsedBy(used_by::UsedBy),
    Check(check::Check),
    Lock(lock::Lock),
    Bundle(bundle::Bundle),
    Sbom(sbom::Sbom),
    Doctor(doctor::Doctor),
    Verify(verify::Verify),
    Reindex(reindex::Reindex),
    Init(init::Init),
    Dir(dir::Dir),
    Remote(remote::Remote),
    Push(push::Push),
    Pull(pull::Pull),
    Keygen(keygen::Keygen),
    Trust(trust::Trust),
    Sign(sign::Sign),
    Completions(completions::Completions),
    Man(man::Man),
    Serve(serve::Serve),
}

impl Command {
    /// The name of the command, for the log file.
    pub fn name(&self) -> String {
        // Its arguments do not belong in a log: one could be a secret key that was given by mistake.
        let text = format!("{self:?}");
        let mut name = String::new();
        for c in text.split('(').next().unwrap_or_default().chars() {
            if c.is_ascii_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.push(c.to_ascii_lowercase());
        }
        name
    }

    /// How the command takes eggs, for hints.
    pub fn selects(&self) -> Selects {
        match self {
            Self::Materialize(_) | Self::Push(_) => Selects::RequirementsOrAll,
            Self::Pull(_) => Selects::Requirements,
            _ => Selects::Names,
        }
    }

    /// What the command does with the cache. A command that only reads leaves no trace in it.
    pub fn access(&self) -> Access {
        match self {
            Self::Bundle(_)
            | Self::Diff(_)
            | Self::Doctor(_)
            | Self::List(_)
            | Self::Lock(_)
            | Self::Pins(_)
            | Self::Sbom(_)
            | Self::Show(_)
            | Self::Stats(stats::Stats { reset: false, .. })
            | Self::UsedBy(_)
            | Self::Why(_)
            | Self::Check(check::Check { repair: false, .. })
            | Self::Gc(gc::Gc { dry_run: true, .. })
            | Self::Remove(remove::Remove { dry_run: true, .. })
            | Self::Materialize(materialize::Materialize { preflight: true, .. })
            | Self::Roots(roots::Roots { forget: None, .. })
            | Self::Verify(verify::Verify {
                repair: false, max_duration: None, max_age: None,
            })
            // These open no cache.
            | Self::Completions(_)
            | Self::Convert(_)
            | Self::Dir(_)
            | Self::Keygen(_)
            | Self::Man(_)
            | Self::Sign(_) => Access::Read,
            Self::Check(_)
            | Self::Push(_)
            | Self::Remove(_)
            | Self::Roots(_)
            | Self::Stats(_)
            | Self::Trust(_)
            | Self::Unpin(_)
            | Self::Verify(_) => Access::Change,
            Self::Add(_)
            | Self::Gc(_)
            | Self::Init(_)
            | Self::Materialize(_)
            | Self::Pin(_)
            | Self::Pull(_)
            | Self::Reindex(_)
            | Self::Serve(_) => Access::Make,
            Self::Remote(command) => command.access(),
        }
    }

    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        match self {
            Self::Add(command) => command.run(context),
            Self::Materialize(command) => command.run(context),
            Self::Convert(command) => command.run(context),
            Self::List(command) => command.run(context),
            Self::Show(command) => command.run(context),
            Self::Diff(command) => command.run(context),
            Self::Why(command) => command.run(context),
            Self::Stats(command) => command.run(context),
            Self::Gc(command) => command.run(context),
            Self::Remove(command) => command.run(context),
            Self::Pin(command) => command.run(context),
            Self::Unpin(command) => command.run(context),
            Self::Pins(_) => pins::Pins::run(context),
            Self::Roots(command) => command.run(context),
            Self::UsedBy(command) => command.run(context),
            Self::Check(command) => command.run(context),
            Self::Lock(command) => command.run(context),
            Self::Bundle(command) => command.run(context),
            Self::Sbom(command) => command.run(context),
            Self::Doctor(_) => doctor::Doctor::run(context),
            Self::Verify(command) => command.run(context),
            Self::Reindex(_) => reindex::Reindex::run(context),
            Self::Init(command) => command.run(context),
            Self::Dir(_) => dir::Dir::run(context),
            Self::Remote(command) => command.run(context),
            Self::Push(command) => command.run(context),
            Self::Pull(command) => command.run(context),
            Self::Keygen(command) => command.run(context),
            Self::Trust(command) => command.run(context),
            Self::Sign(command) => command.run(context),
            Self::Completions(command) => command.run(context),
            Self::Man(command) => command.run(context),
            Self::Serve(_) => serve::Serve::run(context),
        }
    }
}
