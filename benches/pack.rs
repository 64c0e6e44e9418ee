//! Makes a cache whose blobs are packed in a given way, to measure its benefit.
//!
//! ```text
//! pack EGGS_DIRECTORY CACHE FRAME_SIZE compressed|clonable
//! ```
//!
//! The cache has no index: run `eggcache reindex`.

use std::fs::File;
use std::io::{BufWriter, Cursor};
use std::path::Path;

use anyhow::{Result, anyhow, bail};
use eggcache::Provenance;
use eggcache::internals::scan::{Hints, Tree};
use eggcache::internals::writer::{self, Packing};
use eggcache::internals::{Blobs, Dir};
use rayon::prelude::*;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [eggs, cache, frame_size, how] = &arguments[..] else {
        bail!("pack EGGS_DIRECTORY CACHE FRAME_SIZE compressed|clonable");
    };
    let packing = Packing { frame_size: frame_size.parse()?, clonable: how == "clonable" };
    std::fs::create_dir_all(Path::new(cache).join("tmp"))?;
    let blobs = Blobs::new(&Dir::open(Path::new(cache))?);
    let eggs: Vec<_> = std::fs::read_dir(eggs)?.collect::<std::io::Result<_>>()?;
    eggs.par_iter().try_for_each(|egg| {
        let tree = Tree::scan(&egg.path(), &Hints::default())?;
        let mut manifest = tree.manifest.clone();
        let temp = Path::new(cache).join("tmp").join(egg.file_name());
        let (output, spool) = (BufWriter::new(File::create(&temp)?), Cursor::new(Vec::new()));
        let provenance = Provenance::default();
        let source = tree.open()?;
        let written = writer::write(&mut manifest, provenance, packing, &source, spool, output)
            .map_err(|error| anyhow!("{error:?}"))?;
        let path = blobs.path(written.digest);
        std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
        std::fs::rename(temp, path)?;
        Ok(())
    })
}
