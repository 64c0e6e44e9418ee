//! `trust`: the keys whose signatures a remote's eggs need.

use crate::cli::complete_eggs::{key_ids, remote_names};
use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::values::day;
use crate::ops::remote::configure::Options;
use crate::remote::keys::{self, Trusted};
use crate::util::clock::shown_day;

use super::remote::change;

/// Choose which keys to trust for a remote.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  eggcache trust team team.pub\n  \
    eggcache trust team old.pub --until 2027-01-31 --note 'of the old builders'\n  \
    eggcache trust team acme.pub --projects 'acme.*'\n  \
    eggcache trust team --remove E7620F1842B4E81F")]
pub struct Trust {
    /// Name of the remote.
    #[arg(add = remote_names())]
    name: String,
    /// Public key, or the file that contains it; with --remove also the id of the key.
    #[arg(add = key_ids())]
    key: String,
    /// Reject this key's signatures from DAY on (UTC).
    #[arg(long, value_name = "DAY", value_parser = day)]
    until: Option<i64>,
    /// Count this key's signatures only for these projects: names with * and ?, separated by commas or
    /// given repeatedly (default: all projects).
    #[arg(long, value_name = "PATTERN", value_delimiter = ',', conflicts_with = "remove")]
    projects: Vec<String>,
    /// Description of the key.
    #[arg(long, value_name = "TEXT", conflicts_with = "remove")]
    note: Option<String>,
    /// Stop trusting the key.
    #[arg(long, conflicts_with = "until")]
    remove: bool,
}

impl Trust {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let Self { name, key, until, projects, note, remove } = self;
        let id = key_id(&key);
        if remove {
            let summary = format!("Key {id} is no longer trusted for {name}");
            return change(context, &Options::Distrust { name, key }, summary);
        }
        let until_day = until.map(|until| format!(" until {}", shown_day(until)));
        let summary = format!("Now trusting key {id} for {name}{}", until_day.unwrap_or_default());
        let trusted = Trusted { key, until, note, projects };
        change(context, &Options::Trust { name, trusted }, summary)
    }
}

/// The id of a public key that is given as itself or its file, or else the text, which is an id.
fn key_id(text: &str) -> String {
    let key = keys::public_key(text);
    let id = key.and_then(|key| Trusted::new(key).id());
    id.unwrap_or_else(|_| text.trim().to_uppercase())
}
