//! Which eggs a command works on: the arguments that name them, and the search for them.

use std::path::PathBuf;

use crate::cache::Cache;
use crate::cache::Usage;
use crate::cache::query::{self, Narrow};
use crate::cache::requirements;
use crate::egg::cached_egg::CachedEgg;
use crate::error::Error;
use crate::util::clock::now;
use crate::util::suggest::Nearest;

use super::complete_eggs::egg_names;

/// Names of eggs, or all eggs.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub struct Selection {
    /// Eggs: name==version, name, file name, or at least 6 digits of the digest.
    #[arg(value_name = "EGG", add = egg_names())]
    pub eggs: Vec<String>,
    /// Also take the eggs that FILE pins: a requirements file with name==version lines, or a buildout
    /// configuration with a section `[versions]`.
    #[arg(long, value_name = "FILE")]
    pub requirements: Vec<PathBuf>,
    /// Take every egg in the cache.
    #[arg(long, conflicts_with_all = ["eggs", "requirements"])]
    pub all: bool,
}

impl Selection {
    /// The names on the command line and in requirements files.
    pub fn names(self) -> Result<Vec<String>, Error> {
        with_requirements(self.eggs, &self.requirements)
    }
}

/// Adds the pins of requirements files to names.
pub fn with_requirements(mut names: Vec<String>, files: &[PathBuf]) -> Result<Vec<String>, Error> {
    for file in files {
        names.extend(requirements::read(file)?);
    }
    Ok(names)
}

/// What eggs must match besides their name.
#[derive(Debug, clap::Args)]
pub struct Filter {
    /// Only eggs for this Python version: 3.11 or cp311.
    #[arg(long, value_name = "VERSION")]
    python: Option<String>,
    /// Only eggs for this platform: linux-x86_64.
    #[arg(long)]
    platform: Option<String>,
    /// Only eggs of this layout: 2 for zc.buildout 2, 3 for 3.0 to 4.1.3, 4 for 4.1.4 to 4.2, 5 for later ones.
    #[arg(long, value_name = "N")]
    generation: Option<u8>,
    /// Only eggs with this label of the build environment (`egg-cache-environment`); an empty one for eggs without.
    #[arg(long, value_name = "LABEL")]
    environment: Option<String>,
}

impl Filter {
    pub fn is_empty(&self) -> bool {
        let Self { python, platform, generation, environment } = self;
        python.is_none() && platform.is_none() && generation.is_none() && environment.is_none()
    }
}

impl From<Filter> for Narrow {
    fn from(Filter { python, platform, generation, environment }: Filter) -> Self {
        Self { python, platform, generation, environment }
    }
}

/// The eggs of the given names. An error if one is missing, which is counted as a miss.
pub fn choose(
    cache: &mut Cache,
    names: &[String],
    narrow: &Narrow,
) -> anyhow::Result<Vec<CachedEgg>> {
    let Found { eggs, missing, nearest } = find(cache, names, narrow)?;
    for name in &missing {
        query::record_miss(cache, name, narrow, now());
    }
    if !missing.is_empty() {
        let misses = missing.len() as u64;
        cache.record_use(&Usage { misses, ..Usage::default() }, now());
        return Err(Error::Miss { query: missing.join(", "), nearest }.into());
    }
    Ok(eggs)
}

/// The eggs of some names.
pub struct Found {
    pub eggs: Vec<CachedEgg>,
    /// Names without an egg.
    pub missing: Vec<String>,
    /// What these names may have meant.
    nearest: Vec<(String, Nearest)>,
}

pub fn find(cache: &Cache, names: &[String], narrow: &Narrow) -> Result<Found, Error> {
    let (mut eggs, mut missing, mut nearest) = (Vec::new(), Vec::new(), Vec::new());
    for name in names {
        match query::one_to_copy(cache, name, narrow) {
            Ok(egg) => eggs.push(egg),
            Err(Error::Miss { query, nearest: meant }) => {
                missing.push(query);
                nearest.extend(meant);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Found { eggs, missing, nearest })
}
