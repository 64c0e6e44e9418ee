//! Which cache a command uses: that of `--cache`, of `EGGCACHE_DIR`, of the buildout in the current folder,
//! of the user's defaults of buildout, or the one in the user's cache folder.
//!
//! The configuration in the current folder can come from a checkout or from another user. So it counts only
//! if nobody else can change it, no command makes a cache that it names, and the remotes of a cache in a
//! checkout are foreign ([`super::context::Context`]).

use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::buildout::CONFIGURATION;
use crate::buildout::options::{self, Found, Named, User};
use crate::cache::Cache;
use crate::cache::trust::Trust;
use crate::disk::boundary::Boundary;
use crate::error::{Error, Exposure, Owner};
use crate::util::environment::Environment;

use super::context::Access;
use super::hints::CliError;
use super::print::Printer;

/// The environment variable that names the cache directory.
const DIR_VARIABLE: &str = "EGGCACHE_DIR";

/// A cache directory, and what names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub path: PathBuf,
    pub source: Source,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "named_by", rename_all = "lowercase")]
pub enum Source {
    /// `--cache`.
    Option,
    /// `EGGCACHE_DIR`.
    Environment,
    /// The buildout in the current folder, or the one that the command is about.
    Buildout { file: PathBuf },
    /// The user's defaults of buildout.
    Defaults { file: PathBuf },
    /// Nothing: it is in the user's cache folder.
    Default,
}

/// Why an option of a configuration does not count.
#[derive(Debug, PartialEq, Eq)]
enum Unused {
    /// Only buildout can expand it.
    Unknown(String),
    /// Others can change the configuration.
    Exposed(Exposure, Owner),
}

/// Finds the cache when a command needs it.
#[derive(Debug)]
pub struct CachePlace {
    /// What the command line or the environment names, or what is wrong with that: only a command that needs a
    /// cache fails because of it.
    named: Result<Option<Place>, String>,
    user: User,
    trust: Trust,
    found: OnceCell<Place>,
}

impl CachePlace {
    pub fn new(option: Option<PathBuf>, environment: &Environment, trust: &Trust) -> Self {
        let named = match (option, environment.get_os(DIR_VARIABLE)) {
            (Some(path), _) => Ok(Some(Place { path, source: Source::Option })),
            (None, Some(path)) if path.is_empty() => {
                Err(format!("{DIR_VARIABLE} is empty: it names the cache directory"))
            }
            (None, path) => {
                Ok(path.map(|path| Place { path: path.into(), source: Source::Environment }))
            }
        };
        Self {
            named,
            user: User {
                home: etcetera::home_dir().ok(),
                buildout_home: environment.get_os("BUILDOUT_HOME").map(PathBuf::from),
            },
            trust: trust.clone(),
            found: OnceCell::new(),
        }
    }

    /// # Errors
    /// [`Error::Usage`] if the variable is empty.
    fn named(&self) -> Result<Option<&Place>, Error> {
        self.named.as_ref().map(Option::as_ref).map_err(|reason| Error::Usage(reason.clone()))
    }

    /// The cache of a command in the current folder. The first call says why an option does not count, and
    /// which cache is used if that may be a surprise: if the command changes it, because it is in this folder.
    pub fn get(&self, access: Access, printer: &Printer) -> anyhow::Result<&Place> {
        if let Some(found) = self.named()? {
            return Ok(found);
        }
        if let Some(found) = self.found.get() {
            return Ok(found);
        }
        let (place, unused) = self.of_current_folder()?;
        if let Some(unused) = unused {
            announce(&unused, &place.path, printer);
        }
        if let Source::Buildout { file } = &place.source
            && access != Access::Read
            && Cache::is_at(&place.path)
            && default_place().is_ok_and(|it| it.path != place.path)
        {
            let (path, file) = (place.path.display(), file.display());
            printer.note(&format!("using the cache {path}, which {file} names"));
        }
        Ok(self.found.get_or_init(|| place))
    }

    /// Where the user's settings of buildout are.
    pub fn user(&self) -> &User {
        &self.user
    }

    /// As [`CachePlace::get`], for completion.
    pub fn quietly(&self) -> Option<PathBuf> {
        let found = || Some(self.of_current_folder().ok()?.0.path);
        self.named().ok()?.map(|named| named.path.clone()).or_else(found)
    }

    /// The cache of a command on a buildout.
    pub fn of_buildout(&self, buildout: &Path, printer: &Printer) -> anyhow::Result<Place> {
        if let Some(named) = self.named()? {
            return Ok(named.clone());
        }
        let (place, unused) = place_of(options::cache(buildout, &self.user))?;
        if let Some(unused) = unused {
            announce(&unused, &place.path, printer);
        }
        Ok(place)
    }

    fn of_current_folder(&self) -> anyhow::Result<(Place, Option<Unused>)> {
        let found = options::cache(Path::new("."), &self.user);
        if found.as_ref().is_some_and(|it| it.named.is_some() && !it.is_default)
            && let Some((exposure, owner)) = exposure_here(&self.trust)
        {
            return Ok((default_place()?, Some(Unused::Exposed(exposure, owner))));
        }
        place_of(found)
    }
}

/// The place that an option names, or else the default, with the reason.
fn place_of(found: Option<Found>) -> anyhow::Result<(Place, Option<Unused>)> {
    let Some(Found { named: Some(named), file, is_default }) = found else {
        return Ok((default_place()?, None));
    };
    let path = match named {
        Named::Cache(path) => tidied(path),
        Named::Unknown(value) => return Ok((default_place()?, Some(Unused::Unknown(value)))),
    };
    let source = if is_default { Source::Defaults { file } } else { Source::Buildout { file } };
    Ok((Place { path, source }, None))
}

/// A path without `..`, as messages show it. A symlink in its place stays: it can be broken.
fn tidied(path: PathBuf) -> PathBuf {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return path };
    Boundary::new(Path::new("/")).map_or_else(|_| path.clone(), |top| top.real(parent).join(name))
}

/// Who else can change the configuration in the current folder, if anybody can.
fn exposure_here(trust: &Trust) -> Option<(Exposure, Owner)> {
    let folder = std::path::absolute(".").ok()?;
    let exposure_of = |path: PathBuf| {
        let found = fs::metadata(&path).ok()?;
        Some((trust.exposure_of(&path, &found)?, Owner::in_metadata(&path, &found)))
    };
    exposure_of(folder.clone()).or_else(|| exposure_of(folder.join(CONFIGURATION)))
}

fn announce(unused: &Unused, used: &Path, printer: &Printer) {
    let used = used.display();
    printer.note(&match unused {
        Unused::Unknown(value) => format!("egg-cache = {value} is unknown here: using {used}"),
        Unused::Exposed(exposure, owner) => {
            format!("{}: its egg-cache is not used: using {used}", exposure.of(owner))
        }
    });
    printer.hint("--cache or EGGCACHE_DIR names the cache of this buildout");
}

fn default_place() -> anyhow::Result<Place> {
    use etcetera::BaseStrategy;
    let strategy = etcetera::choose_base_strategy().map_err(|_| CliError::NoHome)?;
    let path = strategy.cache_dir().join("eggcache");
    Ok(Place { path, source: Source::Default })
}
