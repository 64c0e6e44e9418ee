//! Remote: add and remove the remotes of a cache, and say whose signatures count there.

use serde::Serialize;

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::remote::config::{self, Remote};
use crate::remote::keys::{self, Trusted};

#[derive(Debug, Clone)]
pub enum Options {
    List,
    /// Adds one, before all others if it is `first`. `keys` as for [`Options::Trust`].
    Add {
        remote: Box<Remote>,
        keys: Vec<String>,
        first: bool,
    },
    Remove {
        name: String,
    },
    /// From now on the signatures of a key count, which is given itself or as the file that has it.
    Trust {
        name: String,
        key: String,
        until: Option<i64>,
        note: Option<String>,
    },
    /// No signature of a key counts any more.
    Distrust {
        name: String,
        key: String,
    },
}

#[derive(Debug, Serialize)]
pub struct Report {
    /// All remotes, or the one that was changed, as it is now, or the one that is gone.
    pub remotes: Vec<RemoteStatus>,
}

#[derive(Debug, Serialize)]
pub struct RemoteStatus {
    #[serde(flatten)]
    pub remote: Remote,
    /// Of its keys, in their order.
    pub key_ids: Vec<String>,
}

/// Lists the remotes of a cache, or changes one.
///
/// # Errors
/// [`Error::NoRemote`], [`Error::Usage`] for what makes no sense, or if what the cache has of its
/// remotes cannot be read or written.
pub fn remote(cache: &Cache, options: &Options) -> Result<Report> {
    let root = cache.root();
    let mut remotes = config::read(root)?;
    let changed = match options {
        Options::List => {
            let remotes = remotes.into_iter().map(listed).collect::<Result<_>>()?;
            return Ok(Report { remotes });
        }
        Options::Add { remote, keys, first } => {
            if remotes.iter().any(|it| it.name == remote.name) {
                let reason = "is there already; `eggcache remote remove` it first";
                return Err(Error::Usage(format!("the remote {} {reason}", remote.name)));
            }
            remote.check()?;
            let mut remote = Remote::clone(remote);
            for key in keys {
                trust(&mut remote, key, None, None)?;
            }
            remotes.insert(if *first { 0 } else { remotes.len() }, remote.clone());
            remote
        }
        Options::Remove { name } => {
            let at = config::position(&remotes, name)?;
            remotes.remove(at)
        }
        Options::Trust { name, key, until, note } => {
            let at = config::position(&remotes, name)?;
            trust(&mut remotes[at], key, *until, note.clone())?;
            remotes[at].clone()
        }
        Options::Distrust { name, key } => {
            let at = config::position(&remotes, name)?;
            distrust(&mut remotes[at], key)?;
            remotes[at].clone()
        }
    };
    cache.check_writable()?;
    config::write(root, &remotes)?;
    Ok(Report { remotes: vec![listed(changed)?] })
}

fn listed(remote: Remote) -> Result<RemoteStatus> {
    let key_ids = remote.trusted.iter().map(Trusted::id).collect::<Result<_>>()?;
    Ok(RemoteStatus { remote, key_ids })
}

fn trust(remote: &mut Remote, key: &str, until: Option<i64>, note: Option<String>) -> Result<()> {
    let trusted = Trusted { key: keys::public_key(key)?, until, note };
    match remote.trusted.iter().position(|it| it.key == trusted.key) {
        Some(at) => remote.trusted[at] = trusted,
        None => remote.trusted.push(trusted),
    }
    Ok(())
}

/// Takes a key away, which is told by itself, by its file or by its id.
fn distrust(remote: &mut Remote, key: &str) -> Result<()> {
    let text = keys::public_key(key).unwrap_or_else(|_| key.to_owned());
    let before = remote.trusted.len();
    remote.trusted.retain(|it| {
        it.key != text && it.id().is_ok_and(|id| !id.eq_ignore_ascii_case(text.trim()))
    });
    if remote.trusted.len() == before {
        let name = &remote.name;
        // A secret key is longer than a public one, and not to be repeated.
        let shown = if key.len() <= 60 { key } else { "that was given" };
        let reason = "is not trusted there; `eggcache remote list` tells which keys are";
        return Err(Error::Usage(format!("remote {name}: the key {shown} {reason}")));
    }
    Ok(())
}
