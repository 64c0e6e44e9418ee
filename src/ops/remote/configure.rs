//! Remote: list, add and remove the remotes of a cache, and choose which keys to trust for them.

use serde::Serialize;

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::remote::config::{self, Foreign, Remote};
use crate::remote::keys::{self, Trusted};
use crate::remote::withdrawals::record;

#[derive(Debug, Clone)]
pub enum Options {
    List,
    /// Add a remote, before all others if it is `first`. `keys` are as in [`Options::Trust`].
    Add {
        remote: Box<Remote>,
        keys: Vec<String>,
        first: bool,
    },
    Remove {
        name: String,
    },
    /// Trust a key, given as text or as the path of a public key file.
    Trust {
        name: String,
        trusted: Trusted,
    },
    /// Trust a key no longer, given as text, as a file or by its id.
    Distrust {
        name: String,
        key: String,
    },
}

#[derive(Debug, Serialize)]
pub struct Report {
    /// All remotes, or the one that was added, changed or removed.
    pub remotes: Vec<ConfiguredRemote>,
    /// How many builds were withdrawn before this change, and are not any more.
    pub allowed_again: usize,
}

#[derive(Debug, Serialize)]
pub struct ConfiguredRemote {
    #[serde(flatten)]
    pub remote: Remote,
    /// The ids of its keys, in their order.
    pub key_ids: Vec<String>,
}

/// Lists the remotes of a cache, or changes one.
///
/// # Errors
/// [`Error::ForeignFile`], [`Error::NoRemote`], [`Error::RemoteExists`], [`Error::NotAPublicKey`], [`Error::NotTrusted`],
/// [`Error::KeyIdTaken`], or [`Error::Usage`] for an invalid remote.
pub fn configure(cache: &Cache, options: &Options) -> Result<Report> {
    let root = cache.root();
    let mut remotes = config::read(root, cache.trust())?;
    if !matches!(options, Options::List)
        && let Some(Foreign { exposure, owner }) = remotes.first().and_then(|it| it.foreign.clone())
    {
        return Err(Error::ForeignFile { exposure, owner });
    }
    let mut allowed_again = 0;
    let changed = match options {
        Options::List => {
            let remotes = remotes.into_iter().map(with_key_ids).collect::<Result<_>>()?;
            return Ok(Report { remotes, allowed_again: 0 });
        }
        Options::Add { remote, keys, first } => {
            if remotes.iter().any(|it| it.name == remote.name) {
                return Err(Error::RemoteExists { name: remote.name.clone() });
            }
            remote.check()?;
            let mut remote = Remote::clone(remote);
            for key in keys {
                trust(&mut remote, &Trusted::new(key.clone()))?;
            }
            remotes.insert(if *first { 0 } else { remotes.len() }, remote.clone());
            remote
        }
        Options::Remove { name } => {
            let at = config::position(&remotes, name)?;
            cache.check_writable()?;
            allowed_again = record::lost(root, &remotes[at], None);
            record::forget(root, name)?;
            remotes.remove(at)
        }
        Options::Trust { name, trusted } => {
            let at = config::position(&remotes, name)?;
            trust(&mut remotes[at], trusted)?;
            remotes[at].clone()
        }
        Options::Distrust { name, key } => {
            let at = config::position(&remotes, name)?;
            let before = remotes[at].clone();
            distrust(&mut remotes[at], key)?;
            allowed_again = record::lost(root, &before, Some(&remotes[at]));
            remotes[at].clone()
        }
    };
    cache.check_writable()?;
    config::write(root, &remotes)?;
    Ok(Report { remotes: vec![with_key_ids(changed)?], allowed_again })
}

fn with_key_ids(remote: Remote) -> Result<ConfiguredRemote> {
    let key_ids = remote.trusted.iter().map(Trusted::id).collect::<Result<_>>()?;
    Ok(ConfiguredRemote { remote: remote.shown(), key_ids })
}

/// Trusts a key, given as text or as a file. If it is trusted already, its limits are replaced. A key with
/// the id of another one is refused: people know keys by their ids.
fn trust(remote: &mut Remote, trusted: &Trusted) -> Result<()> {
    let projects = trusted.projects.iter().map(|it| keys::project_pattern(it));
    let trusted = Trusted {
        key: keys::public_key(&trusted.key)?,
        projects: projects.collect::<Result<_>>()?,
        ..trusted.clone()
    };
    let id = trusted.id()?;
    let is_twin = |it: &&Trusted| it.key != trusted.key && it.id().is_ok_and(|of| of == id);
    if remote.trusted.iter().any(|it| is_twin(&it)) {
        return Err(Error::KeyIdTaken { name: remote.name.clone(), id });
    }
    match remote.trusted.iter().position(|it| it.key == trusted.key) {
        Some(at) => remote.trusted[at] = trusted,
        None => remote.trusted.push(trusted),
    }
    Ok(())
}

/// Removes a key, given as text, as a file or by its id.
fn distrust(remote: &mut Remote, key: &str) -> Result<()> {
    let text = keys::public_key(key).unwrap_or_else(|_| key.to_owned());
    let before = remote.trusted.len();
    remote.trusted.retain(|it| {
        it.key != text && it.id().is_ok_and(|id| !id.eq_ignore_ascii_case(text.trim()))
    });
    if remote.trusted.len() == before {
        // A secret key is longer than a public one, and must not be repeated.
        let shown = if key.len() <= 60 { format!("the key {key}") } else { "this key".into() };
        return Err(Error::NotTrusted { name: remote.name.clone(), shown });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::keys::{Signer, keygen};

    #[test]
    fn a_key_with_the_id_of_a_trusted_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let signer = |name: &str| {
            Signer::read(&keygen(&dir.path().join(name), None).unwrap().secret, None).unwrap()
        };
        let key = signer("key");
        let twin = signer("twin").with_id_of(&key);
        let mut remote = Remote::new("team", "/srv/pool").unwrap();
        let [key, twin] = [key, twin].map(|it| Trusted::new(it.public));
        trust(&mut remote, &key).unwrap();
        let limited = Trusted { projects: vec!["acme.*".into()], ..twin.clone() };
        for twin in [&twin, &limited] {
            let refused = trust(&mut remote, twin).unwrap_err();
            assert!(matches!(refused, Error::KeyIdTaken { .. }), "{refused:?}");
        }
        trust(&mut remote, &Trusted { until: Some(1), ..key.clone() }).unwrap();
        distrust(&mut remote, &key.key).unwrap();
        trust(&mut remote, &twin).unwrap();
        assert_eq!(remote.trusted, [twin]);
    }
}
