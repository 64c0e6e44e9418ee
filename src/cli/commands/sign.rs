//! `sign`: sign the entries of a remote with another key.

use crate::cache::retention::pins::Pattern;
use crate::cli::complete_eggs::remote_names;
use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::format::eggs;
use crate::cli::print::Text;
use crate::error::Error;
use crate::ops::remote::countersign::{self, Report};
use crate::remote::keys::Signer;

/// Sign what a remote has with another key.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The other key is a new one, or a second one that the remote needs. EGGCACHE_SIGNING_KEY names the \
    file with its secret key. Both the new key and \
    the old one must be trusted for the remote: entries without a trusted signature are skipped and \
    reported. Once everyone trusts the new key, the old one can be removed. Entries that still lack signatures are \
    signed only with --approve.\n\nExamples:\n  \
    eggcache trust team new.pub\n  EGGCACHE_SIGNING_KEY=new eggcache sign team\n  \
    eggcache trust team --remove old.pub\n  \
    EGGCACHE_SIGNING_KEY=reviewer eggcache sign team --approve 'acme.*'"
)]
pub struct Sign {
    /// Name of the remote.
    #[arg(add = remote_names())]
    name: String,
    /// Also sign these eggs if a trusted key has signed them and the remote needs more signatures: names,
    /// name==version, patterns as for `pin`, or at least 6 digits of the digest. If this cache has another
    /// build of an egg, only the digest approves it. Repeatable.
    #[arg(long, value_name = "EGG")]
    approve: Vec<String>,
}

impl Sign {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let remote = context.remote(&self.name)?;
        let signer = signer(context)?;
        let (environment, bar) = (&context.environment, &context.bar);
        let approved = self.approve.iter().map(|text| Pattern::new(text));
        let approved: Vec<Pattern> = approved.collect::<Result<_, _>>()?;
        let report = countersign::countersign(
            &context.open()?,
            &remote,
            &signer,
            &approved,
            environment,
            bar,
        )?;
        context.printer.report(&report, text)?;
        Ok(ExitCode::Success)
    }
}

/// The key that signs.
pub fn signer(context: &Context) -> Result<Signer, Error> {
    Signer::of(&context.environment)?.ok_or(Error::NoSigningKey)
}

fn text(report: &Report) -> Text {
    let skipped = report.skipped.iter();
    let skipped = skipped.map(|it| format!("{}: skipped: {}", it.what, it.reason));
    let approved = report.approved.iter();
    let approved = approved.map(|it| format!("{}: approved build {}", it.file_name, it.digest));
    let notes = approved.chain(skipped).collect();
    let summary = format!(
        "Remote {}: {} signed with key {}, {} already signed, {} skipped",
        report.remote,
        eggs(report.signed),
        report.key,
        report.present,
        report.skipped.len()
    );
    Text { notes, summary, ..Text::default() }
}
