//! What every command has: the cache directory, the terminal, and how the cache is opened.

use std::path::{Path, PathBuf};

use crate::buildout::cache_option::{self, Named};
use crate::cache::trust::Trust;
use crate::cache::{Cache, Missing};
use crate::error::Error;
use crate::remote::config::{self, Remote};
use crate::util::environment::Environment;

use super::hints::{CliError, Hints, NO_CACHE};
use super::print::Printer;
use super::progress_bar::Bar;

/// The environment variable that names the cache directory.
pub const DIR_VARIABLE: &str = "EGGCACHE_DIR";

/// What a command does with the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reads it, and writes nothing in it. Without a cache, it is as if there was an empty one.
    Read,
    /// Changes it. There must be one.
    Change,
    /// Changes it, and makes it if there is none.
    Make,
}

pub struct Context<'a> {
    pub access: Access,
    /// The cache directory that the command line or the environment names.
    pub cache: Option<PathBuf>,
    pub printer: &'a Printer,
    pub bar: Bar,
    /// Whether to print a line for each egg.
    pub verbose: bool,
    pub environment: Environment,
    pub trust: Trust,
    /// What is wrong with the log file.
    pub warning: Option<String>,
}

impl Context<'_> {
    /// The cache directory.
    pub fn root(&self) -> anyhow::Result<PathBuf> {
        self.cache.clone().map_or_else(default_root, Ok)
    }

    /// The cache directory of a command on a buildout, which may name one itself.
    pub fn root_of_buildout(&self, buildout: &Path) -> anyhow::Result<PathBuf> {
        let user = cache_option::User {
            home: etcetera::home_dir().ok(),
            buildout_home: self.environment.get_os("BUILDOUT_HOME").map(PathBuf::from),
        };
        let named = match &self.cache {
            Some(cache) => Some(cache.clone()),
            None => match cache_option::of(buildout, &user) {
                Some(Named::Cache(cache)) => {
                    self.printer.set_hints(Hints { cache: Some(cache.clone()) });
                    Some(cache)
                }
                Some(Named::Unknown(value)) => {
                    let root = default_root()?;
                    let shown = root.display();
                    let note = format!("egg-cache = {value} is unknown here: using {shown}");
                    self.printer.note(&note);
                    self.printer.hint("--cache or EGGCACHE_DIR names the cache of this buildout");
                    return Ok(root);
                }
                None => None,
            },
        };
        named.map_or_else(default_root, Ok)
    }

    /// Opens the cache as the command needs it ([`Access`]).
    pub fn open(&self) -> anyhow::Result<Cache> {
        Ok(self.open_at(&self.root()?)?)
    }

    pub fn open_at(&self, root: &Path) -> Result<Cache, Error> {
        match self.access {
            Access::Read => {
                let cache = Cache::open_to_read_with(root, &self.trust, &self.bar)?;
                self.announce(root, cache.missing());
                Ok(cache)
            }
            Access::Change => Ok(self.warned(Cache::open_existing(root, &self.trust, &self.bar)?)),
            Access::Make => {
                let exists = root.exists();
                let cache = Cache::open_with(root, &self.trust, &self.bar)?;
                if !exists {
                    // A mistyped path would look like an empty cache.
                    let root = root.display();
                    self.printer.note(&format!("no cache at {root}: created an empty one"));
                }
                Ok(self.warned(cache))
            }
        }
    }

    fn warned(&self, cache: Cache) -> Cache {
        if let Some(warning) = cache.warning() {
            self.printer.warning(&warning);
        }
        cache
    }

    /// Says what a cache does not have that is only read.
    pub fn announce(&self, root: &Path, missing: Option<Missing>) {
        let root = root.display();
        match missing {
            None => {}
            Some(Missing::Cache) => {
                self.printer.note(&format!("there is no cache at {root} yet"));
                self.printer.hint(NO_CACHE);
            }
            Some(Missing::Index) => {
                let warning = format!("the index is missing in {root}: reading the blobs instead");
                self.printer.warning(&warning);
                self.printer.hint(&self.printer.hints().make_index());
            }
        }
    }

    /// Opens the cache to compare a buildout with it. Never creates one.
    pub fn open_to_compare(&self, buildout: &Path) -> anyhow::Result<Option<Cache>> {
        let root = self.root_of_buildout(buildout)?;
        if Cache::is_at(&root) {
            return Ok(Some(self.open_at(&root)?));
        }
        let shown = root.display();
        self.printer.warning(&if root.exists() {
            format!("{shown} is not a cache: eggs are not compared")
        } else {
            format!("no cache at {shown}: eggs are not compared")
        });
        Ok(None)
    }

    /// The remotes of the cache, after a warning if credentials are withheld from one.
    pub fn remotes(&self) -> anyhow::Result<Vec<Remote>> {
        let remotes = config::read(&self.root()?, &self.trust)?;
        if let Some(withheld) = config::withheld(&remotes, &self.environment) {
            self.printer.warning(&withheld.to_string());
        }
        Ok(remotes)
    }

    /// The remote of that name.
    pub fn remote(&self, name: &str) -> anyhow::Result<Remote> {
        let mut remotes = self.remotes()?;
        Ok(remotes.swap_remove(config::position(&remotes, name)?))
    }
}

/// The cache directory of this user.
pub fn default_root() -> anyhow::Result<PathBuf> {
    use etcetera::BaseStrategy;
    let strategy = etcetera::choose_base_strategy().map_err(|_| CliError::NoHome)?;
    Ok(strategy.cache_dir().join("eggcache"))
}
