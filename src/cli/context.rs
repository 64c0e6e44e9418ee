//! What every command has: the cache directory, the terminal, and how the cache is opened.

use std::path::{Path, PathBuf};

use crate::cache::trust::Trust;
use crate::cache::{Cache, Missing};
use crate::error::Error;
use crate::remote::checkout;
use crate::remote::config::{self, Remote};
use crate::util::environment::Environment;

use super::cache_place::{CachePlace, Place, Source};
use super::hints::{CliError, Hints, NO_CACHE};
use super::print::Printer;
use super::progress_bar::Bar;

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
    /// Which cache the command line, the environment or a configuration names.
    pub place: CachePlace,
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
    ///
    /// # Errors
    /// [`CliError::NotMade`] if the command would make a cache that only a configuration names, which may
    /// be that of a checkout.
    pub fn root(&self) -> anyhow::Result<PathBuf> {
        let Place { path, source } = self.place.get(self.access, self.printer)?;
        if let Source::Buildout { file } = source
            && self.access == Access::Make
            && Cache::missing_at(path) == Some(Missing::Cache)
        {
            return Err(CliError::NotMade { path: path.clone(), file: file.clone() }.into());
        }
        Ok(path.clone())
    }

    /// The cache directory of a command on a buildout, which may name one itself.
    pub fn root_of_buildout(&self, buildout: &Path) -> anyhow::Result<PathBuf> {
        let Place { path, source } = self.place.of_buildout(buildout, self.printer)?;
        if matches!(source, Source::Buildout { .. } | Source::Defaults { .. }) {
            self.printer.set_hints(Hints { cache: Some(path.clone()), ..Hints::default() });
        }
        Ok(path)
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

    /// The remotes of the cache, after a warning if credentials are withheld from one. As in a buildout,
    /// those of a cache in the checkout are foreign, if only the configuration of the checkout names it.
    pub fn remotes(&self) -> anyhow::Result<Vec<Remote>> {
        let root = self.root()?;
        let mut remotes = config::read(&root, &self.trust)?;
        if let Source::Buildout { .. } = self.place.get(self.access, self.printer)?.source {
            let root = root.canonicalize().unwrap_or(root);
            checkout::mark_remotes(&mut remotes, &root, Path::new("."), self.home(), &self.trust);
        }
        if let Some(withheld) = config::withheld(&remotes, &self.environment) {
            self.printer.warning(&withheld.to_string());
        }
        Ok(remotes)
    }

    /// The checkout that has the cache inside, whose buildouts take its remotes for those of somebody else.
    pub fn checkout_around_cache(&self) -> anyhow::Result<Option<PathBuf>> {
        Ok(checkout::around(&self.root()?, self.home(), &self.trust))
    }

    fn home(&self) -> Option<&Path> {
        self.environment.get_os("HOME").map(Path::new)
    }

    /// The remote of that name.
    pub fn remote(&self, name: &str) -> anyhow::Result<Remote> {
        let mut remotes = self.remotes()?;
        Ok(remotes.swap_remove(config::position(&remotes, name)?))
    }
}
