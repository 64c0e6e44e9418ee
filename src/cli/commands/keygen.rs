//! `keygen`: create a signing key pair.

use std::path::PathBuf;

use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::print::Text;
use crate::remote::keys::{self, Generated};

/// Create a signing key pair.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The secret key is written to FILE, which only its owner can read, and the \
    public key to FILE.pub, both in the format of minisign. If EGGCACHE_SIGNING_KEY_PASSWORD is set, \
    it becomes the password of the secret key.\n\nExamples:\n  eggcache keygen team"
)]
pub struct Keygen {
    /// File for the secret key; the public key goes to FILE.pub.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Keygen {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let password = context.environment.get(keys::PASSWORD_VARIABLE);
        context.printer.report(&keys::keygen(&self.file, password)?, text)?;
        Ok(ExitCode::Success)
    }
}

fn text(pair: &Generated) -> Text {
    Text {
        data: format!("public key: {}\n", pair.key).into(),
        notes: vec![format!(
            "keep the secret key {} where only your builds can read it: anyone who has it can sign eggs",
            pair.secret.display()
        )],
        summary: format!(
            "Created key {}; trust it with `eggcache trust REMOTE {}`",
            pair.id,
            pair.public.display()
        ),
        ..Text::default()
    }
}
