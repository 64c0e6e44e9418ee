//! Makes a cache of many eggs without building any, and measures a look-up inside the process.
//!
//! ```text
//! synthetic make COUNT CACHE    write the blobs of COUNT eggs; then run `eggcache reindex`
//! synthetic look-up CACHE       print the milliseconds to find one egg, without a pipe
//! ```
//!
//! Each egg has [`ENTRIES`] entries, each project [`VERSIONS`] versions. The same count gives the
//! same cache. Blobs are not synced: the measurements come later.
#![allow(clippy::print_stdout, reason = "the figure is the output")]

use std::fs::{self, Permissions};
use std::io::Cursor;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use eggcache::Cache;
use eggcache::Digest;
use eggcache::EggKey;
use eggcache::Provenance;
use eggcache::internals::Blobs;
use eggcache::internals::Dir;
use eggcache::internals::EggPath;
use eggcache::internals::manifest::{Entry, EntryKind, Manifest, Mtime};
use eggcache::internals::writer::{self, Packing};
use eggcache::query::{self, Narrow};
use rayon::prelude::*;

/// Per egg: its root, its metadata and their directory, its package, and the content of that.
const ENTRIES: usize = 4 + PACKAGES * (1 + MODULES);
const PACKAGES: usize = 8;
const MODULES: usize = 11;
/// Per project.
const VERSIONS: usize = 10;
/// When the first egg was added; each further egg is one second younger.
const BEGIN: i64 = 1_700_000_000;
/// The number of look-ups.
const ASKED: usize = 1000;

/// The words of the modules; they compress as well as real ones.
const WORDS: [&str; 32] = [
    "self",
    "return",
    "def",
    "import",
    "None",
    "value",
    "name",
    "request",
    "context",
    "for",
    "if not",
    "in",
    "class",
    "True",
    "raise",
    "lambda",
    "schema",
    "registry",
    "=",
    "==",
    "()",
    ":",
    "\n    ",
    "\n        ",
    "\n\n",
    "\"\"\"",
    "# ",
    "interface",
    "adapter",
    "zope",
    "item",
    "path",
];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["make", count, cache] => make(count.parse()?, Path::new(cache)),
        ["look-up", cache] => look_up(Path::new(cache)),
        _ => bail!("synthetic make COUNT CACHE | synthetic look-up CACHE"),
    }
}

fn make(count: usize, root: &Path) -> Result<()> {
    fs::create_dir_all(root)?;
    let blobs = Blobs::new(&Dir::open(root)?);
    fs::create_dir_all(root.join("tmp"))?;
    for shard in 0..=u8::MAX {
        let digest = Digest::from([shard; Digest::LEN]);
        fs::create_dir_all(blobs.path(digest).parent().context("a blob is in a directory")?)?;
    }
    (0..count).into_par_iter().try_for_each(|number| write(&blobs, number))
}

fn write(blobs: &Blobs, number: usize) -> Result<()> {
    let mut manifest = manifest(number)?;
    let source = |entry: &Entry| content(number, entry);
    let seconds = BEGIN + i64::try_from(number)?;
    let provenance = Provenance {
        added_at: seconds,
        eggcache: env!("CARGO_PKG_VERSION").to_owned(),
        ..Provenance::default()
    };
    let mut blob = Vec::new();
    let spool = Cursor::new(Vec::new());
    let written =
        writer::write(&mut manifest, provenance, Packing::SMALL, &source, spool, &mut blob)
            .map_err(|error| anyhow!("{error:?}"))?;
    let path = blobs.path(written.digest);
    fs::write(&path, blob)?;
    fs::set_permissions(&path, Permissions::from_mode(0o444))?;
    Ok(())
}

fn manifest(number: usize) -> Result<Manifest> {
    let (name, version) = name_and_version(number);
    let package = name.replace('-', "_");
    let info = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n");
    let mtime = Mtime(BEGIN, 0);
    let directory = |path| Entry { path, mode: 0o755, mtime, kind: EntryKind::Directory };
    let file = |path, size| {
        let kind = EntryKind::File { size, digest: Digest::of(b"") };
        Entry { path, mode: 0o644, mtime, kind }
    };
    let mut entries = vec![
        directory(EggPath::root()),
        directory(EggPath::new("EGG-INFO")?),
        file(EggPath::new("EGG-INFO/PKG-INFO")?, info.len() as u64),
        directory(EggPath::new(package.as_str())?),
    ];
    for part in 0..PACKAGES {
        let folder = format!("{package}/part{part}");
        entries.push(directory(EggPath::new(folder.as_str())?));
        for module in 0..MODULES {
            let path = EggPath::new(format!("{folder}/module{module:02}.py"))?;
            let size = 64 + Random::of(number, &path).next() % 896;
            entries.push(file(path, size));
        }
    }
    debug_assert_eq!(entries.len(), ENTRIES);
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    let key = EggKey {
        name,
        version: version.clone(),
        python: "cp311".to_owned(),
        abi: String::new(),
        platform: String::new(),
        libc: String::new(),
        generation: 5,
        source_sha256: Digest::of(package.as_bytes()).to_string(),
        variant: String::new(),
        environment: String::new(),
        spelling: String::new(),
    };
    Ok(Manifest { key, file_name: format!("{package}-{version}-py3.11.egg"), entries })
}

fn name_and_version(number: usize) -> (String, String) {
    (format!("project-{}", number / VERSIONS), format!("1.{}", number % VERSIONS))
}

fn content(number: usize, entry: &Entry) -> Vec<u8> {
    let EntryKind::File { size, .. } = entry.kind else { return Vec::new() };
    let (name, version) = name_and_version(number);
    let mut text = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n");
    if !entry.path.as_str().starts_with("EGG-INFO/") {
        let mut random = Random::of(number, &entry.path);
        while (text.len() as u64) < size {
            let word = random.next() >> 32;
            text.push_str(WORDS[usize::try_from(word).unwrap_or_default() % WORDS.len()]);
            text.push(' ');
        }
    }
    let mut bytes = text.into_bytes();
    bytes.truncate(usize::try_from(size).unwrap_or(usize::MAX));
    bytes
}

/// Random numbers that depend only on an egg and a path in it (`SplitMix64`).
struct Random(u64);

impl Random {
    fn of(number: usize, path: &EggPath) -> Self {
        let begin = number as u64;
        let mix = |seed: u64, byte| (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(path.as_str().bytes().fold(begin, mix))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

fn look_up(root: &Path) -> Result<()> {
    let cache = Cache::open(root)?;
    let count = cache.eggs()?.len();
    let mut taken: Vec<Duration> = Vec::with_capacity(ASKED);
    for turn in 0..ASKED {
        // A large prime visits another project each time, in no order.
        let (name, version) = name_and_version(turn * 982_451_653 % count);
        let text = format!("{name}=={version}");
        let begin = Instant::now();
        query::one(&cache, &text, &Narrow::default())?;
        taken.push(begin.elapsed());
    }
    taken.sort_unstable();
    println!("{}", 1000.0 * taken[ASKED / 2].as_secs_f64());
    Ok(())
}
