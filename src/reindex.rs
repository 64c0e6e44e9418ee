//! Reindex: rebuild the index from the blobs, also where it can no longer be read.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cache::{Cache, now};
use crate::error::{Error, IoContext, Result};
use crate::progress::Progress;
use crate::rebuild::{Rebuilt, rebuild};

#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    pub rebuilt: Rebuilt,
    /// Where an index that could not be read has been put.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_aside: Option<String>,
}

/// Rebuilds the index of the cache at `root`. A file that is not a sound index is set aside first,
/// never removed.
///
/// # Errors
/// If the store cannot be listed, or the index not written.
pub fn reindex(root: &Path, progress: &dyn Progress) -> Result<Report> {
    let (mut cache, aside) = match Cache::open(root) {
        Err(Error::NotAnIndex { path } | Error::DamagedIndex { path, .. }) => {
            let aside = set_aside(&path)?;
            (Cache::open(root)?, Some(aside))
        }
        Ok(cache) if !cache.index.is_sound() || cache.index.all().is_err() => {
            let path = cache.index.path().to_owned();
            drop(cache);
            let aside = set_aside(&path)?;
            (Cache::open(root)?, Some(aside))
        }
        cache => (cache?, None),
    };
    cache.check_writable()?;
    let rebuilt = match cache.rebuilt.take() {
        Some(rebuilt) => rebuilt,
        None => rebuild(&cache.store, &mut cache.index, progress)?,
    };
    Ok(Report { rebuilt, set_aside: aside.map(|path| path.display().to_string()) })
}

/// Gives a damaged index another name, and its log with it.
fn set_aside(index: &Path) -> Result<PathBuf> {
    let names = (0..).map(|n| match n {
        0 => index.with_extension(format!("set-aside-{}", now())),
        n => index.with_extension(format!("set-aside-{}-{n}", now())),
    });
    let aside = names.into_iter().find(|name| !name.exists()).expect("there is always another");
    std::fs::rename(index, &aside).at("set aside", index)?;
    for log in ["-wal", "-shm"] {
        let beside = |path: &Path| PathBuf::from(format!("{}{log}", path.display()));
        match std::fs::rename(beside(index), beside(&aside)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            renamed => renamed.at("set aside", &beside(index))?,
        }
    }
    Ok(aside)
}
