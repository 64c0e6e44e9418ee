//! Wheels by their SHA-256: from folders, and from the network.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use walkdir::WalkDir;

use super::{NotTried, Options, Stop};
use crate::disk::files;
use crate::egg::wheel::file_name::WheelName;
use crate::error::{IoContext, Result};
use crate::remote::entry::RemoteEntry;
use crate::remote::package_index::PackageIndexes;
use crate::util::hash::sha256::{Hashing, Sha256};
use crate::util::progress::{Progress, Unit};

pub struct Archives {
    /// By SHA-256.
    local: HashMap<String, PathBuf>,
    indexes: Option<PackageIndexes>,
    has_indexes: bool,
    fetch: bool,
}

impl Archives {
    /// Reads all wheels in the folders.
    pub fn new(options: &Options, progress: &dyn Progress) -> Result<Self> {
        let mut wheels = Vec::new();
        for folder in &options.archives {
            for entry in WalkDir::new(folder) {
                let entry = entry.map_err(std::io::Error::from).at("read", folder)?;
                let is_wheel = entry.path().extension().is_some_and(|it| it == "whl");
                if is_wheel && entry.file_type().is_file() {
                    wheels.push(entry.into_path());
                }
            }
        }
        progress.begin("reading wheels", wheels.len() as u64, Unit::Eggs);
        let read = |path: PathBuf| {
            let digest = digest(&path)?;
            progress.advance(1);
            Ok((digest.to_string(), path))
        };
        let local = wheels.into_par_iter().map(read).collect::<Result<_>>()?;
        progress.end();
        let has_indexes = !options.indexes.is_empty();
        let needs_network = has_indexes || options.fetch;
        let indexes = needs_network.then(|| PackageIndexes::new(&options.indexes)).transpose()?;
        Ok(Self { local, indexes, has_indexes, fetch: options.fetch })
    }

    /// The wheel of an entry under its own name, perhaps in `folder`.
    pub fn get(&self, entry: &RemoteEntry, source: &str, folder: &Path) -> Result<PathBuf, Stop> {
        let unknown = || {
            let text = "its wheel is not recorded by its name and SHA-256".into();
            Stop::NotTried(NotTried::NotOfAWheel, text)
        };
        let sha256: Sha256 = entry.key.source_sha256.parse().map_err(|_| unknown())?;
        // A plain name: it becomes that of a file.
        WheelName::parse(source).map_err(|_| unknown())?;
        if source.contains(['/', '\0']) {
            return Err(unknown());
        }
        let path = folder.join(source);
        if let Some(local) = self.local.get(&entry.key.source_sha256) {
            if local.file_name() == path.file_name() {
                return Ok(local.clone());
            }
            std::fs::copy(local, &path).at("copy", local)?;
            return Ok(path);
        }
        let text = match self.fetch(entry, sha256, &path) {
            Ok(()) => return Ok(path),
            Err(reason) if reason.is_empty() => "no folder has its wheel".to_owned(),
            Err(reason) => format!("its wheel is not at hand: {reason}"),
        };
        Err(Stop::NotTried(NotTried::NoArchive, text))
    }

    /// Fetches a wheel; the error is empty if there is nowhere to look.
    fn fetch(&self, entry: &RemoteEntry, sha256: Sha256, path: &Path) -> Result<(), String> {
        let Some(indexes) = &self.indexes else { return Err(String::new()) };
        let create = || File::create(path).map_err(|error| error.to_string());
        let mut reasons = Vec::new();
        if self.has_indexes {
            match indexes.fetch(&entry.key.name, sha256, create()?) {
                Ok(()) => return Ok(()),
                Err(reason) => reasons.push(reason),
            }
        }
        if self.fetch {
            match &entry.provenance.archive_url {
                Some(url) => match indexes.fetch_named(url, sha256, create()?) {
                    Ok(()) => return Ok(()),
                    Err(reason) => reasons.push(reason),
                },
                None => reasons.push("its builder has recorded no address".into()),
            }
        }
        Err(reasons.join("; "))
    }
}

fn digest(path: &Path) -> Result<Sha256> {
    let mut hashing = Hashing::new(files::open_file(path).at("read", path)?);
    std::io::copy(&mut hashing, &mut std::io::sink()).at("read", path)?;
    Ok(hashing.finish().0)
}
