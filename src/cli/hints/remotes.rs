//! Remotes and keys.

use std::path::Path;

use super::Hints;
use crate::error::{Error, KeyProblem, NotPublic};
use crate::remote::keys::{KEY_VARIABLE, PASSWORD_VARIABLE};
use crate::util::printable::quoted;

impl Hints {
    /// What to do about remotes and keys.
    pub(super) fn of_remotes(&self, error: &Error) -> Vec<String> {
        let one = |hint: &str| vec![hint.to_owned()];
        match error {
            Error::NoRemotes => {
                vec![format!("{} adds one", self.command("remote add NAME URL --key KEY"))]
            }
            Error::NoTrustedKey { .. } => {
                vec![format!("{} trusts a key", self.command("trust NAME FILE.pub"))]
            }
            Error::UntrustedRemote { name } => vec![self.to_trust_remote(name)],
            Error::NoValidKey { name } => vec![format!(
                "{} trusts the key of your builders; without it, all eggs would be removed",
                self.command(&format!("trust {name} FILE.pub"))
            )],
            Error::NoPushRemote { .. } => one("name one with --to, or add one with --push"),
            Error::RemoteExists { name } => {
                vec![self.to_trust_remote(name), self.to_change_remote(name)]
            }
            Error::KeyIdTaken { .. } => {
                one("ask its owner for another key: `eggcache keygen` makes one with a random id")
            }
            Error::WebServer { .. } => one("use the store behind the web server"),
            Error::UntrustedSigner { name, key, .. } => vec![
                format!("set {KEY_VARIABLE} to a key that the readers of the remote trust"),
                format!(
                    "or {} trusts this one here, and each reader has to trust it, too",
                    self.command(&format!("trust {name} {key}"))
                ),
            ],
            Error::Withdrawn { .. } => {
                vec![format!("{} removes it; another build can be used", self.command("gc"))]
            }
            Error::WithdrawnAgain { .. } => {
                one("repair what builds it, or use another version or another archive")
            }
            Error::WithdrawnInUse { .. } => {
                let check = self.command("check");
                vec![format!(
                    "delete it from the eggs directory and run buildout again; {check} names all withdrawn eggs"
                )]
            }
            Error::Withdrawals { name, .. } => {
                vec![format!("{} shows it", self.command(&format!("remote withdrawals {name}")))]
            }
            Error::OtherProject { name, key, .. } => vec![format!(
                "{} changes for which projects it is trusted",
                self.command(&format!("trust {name} {key} --projects PATTERN"))
            )],
            Error::ExpiredSigner { .. } => vec![format!("set {KEY_VARIABLE} to another key")],
            Error::NoSigningKey => vec![to_have_key()],
            Error::NothingPushed { name } => {
                vec![to_have_key(), format!("or, to push nothing, {}", self.to_change_remote(name))]
            }
            Error::SigningKey { path, problem } => to_sign(path, *problem),
            Error::NoRemoteFolder { name, .. } => vec![format!(
                "create or mount it, or {} and add the right one; a push makes it",
                self.command(&format!("remote remove {name}"))
            )],
            Error::KeyExists { .. } => one("name another file"),
            Error::NotAPublicKey { problem: NotPublic::Secret, .. } => {
                one("name the public key, which is in the file that ends with .pub")
            }
            Error::NotAPublicKey { .. } => one(
                "a public key is the last line of the .pub file that `eggcache keygen` writes: 56 \
                 characters that begin with RW",
            ),
            Error::NoVersion { egg } => {
                let list = self.command(&format!("remote eggs NAME {egg}"));
                vec![
                    format!("name the version and the Python, as in {egg}==1.0 --python 3.11"),
                    format!("{list} lists what a remote has"),
                ]
            }
            Error::NoPython { .. } => one("name the Python, as in --python 3.11"),
            _ => Vec::new(),
        }
    }

    /// How the eggs of a remote can be used.
    pub fn to_trust_remote(&self, name: &str) -> String {
        let trust = self.command(&format!("trust {name} FILE.pub"));
        format!("{trust} trusts the key of its builders")
    }

    /// How the settings of a remote can be changed.
    fn to_change_remote(&self, name: &str) -> String {
        let remove = self.command(&format!("remote remove {name}"));
        format!("{remove} removes it with its trusted keys; then add it again")
    }
}

/// How to have a signing key.
fn to_have_key() -> String {
    format!("set {KEY_VARIABLE} to the file of a secret key; `eggcache keygen FILE` makes one")
}

/// How a key can be used that cannot sign.
fn to_sign(path: &Path, problem: KeyProblem) -> Vec<String> {
    let hint = match problem {
        KeyProblem::NotAKey => return Vec::new(),
        KeyProblem::Public => format!("set {KEY_VARIABLE} to the secret key, without .pub"),
        KeyProblem::Exposed(_) => format!("`chmod 600 {}` hides it", quoted(path)),
        KeyProblem::NoPassword => format!("set {PASSWORD_VARIABLE}"),
        KeyProblem::WrongPassword => format!("check {PASSWORD_VARIABLE}"),
        KeyProblem::NeedsNoPassword => format!("unset {PASSWORD_VARIABLE}"),
    };
    vec![hint]
}
