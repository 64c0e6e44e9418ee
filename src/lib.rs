//! Build each egg once; copy it into every buildout that needs it.
//!
//! An egg cache stores each egg as one content-addressed blob and indexes it by its distribution
//! metadata. Eggs are copied out of the cache and never linked, so a buildout that uses them is
//! self-contained.
//!
//! ```
//! use eggcache::{Cache, add, materialize, query};
//! use eggcache::progress::Silent;
//! # let dir = tempfile::tempdir()?;
//! # let egg = dir.path().join("hello-1.0-py3.11.egg");
//! # std::fs::create_dir_all(egg.join("EGG-INFO"))?;
//! # std::fs::write(egg.join("EGG-INFO/PKG-INFO"), "Name: hello\nVersion: 1.0\n")?;
//! # let (root, eggs) = (dir.path().join("cache"), dir.path().join("eggs"));
//! let mut cache = Cache::open(&root)?;
//! add::add(&mut cache, &[egg], &add::Options::default(), &Silent)?;
//! let egg = query::one(&cache, "hello==1.0", &query::Narrow::default())?;
//! let options = materialize::Options::default();
//! materialize::materialize(&mut cache, &[egg], &eggs, options, &Silent)?;
//! assert!(eggs.join("hello-1.0-py3.11.egg/EGG-INFO/PKG-INFO").is_file());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Each operation is one function. It takes the cache, its options and a [`progress::Progress`], and
//! returns a report that serialises. The library never prints.
//!
//! # Find eggs
//! The error for an egg that is not in the cache carries the nearest name or version.
//!
//! ```
//! use eggcache::{Error, list, query, suggest::Nearest};
//! # use eggcache::{Cache, add, progress::Silent};
//! # let dir = tempfile::tempdir()?;
//! # let egg = dir.path().join("hello-1.0-py3.11.egg");
//! # std::fs::create_dir_all(egg.join("EGG-INFO"))?;
//! # std::fs::write(egg.join("EGG-INFO/PKG-INFO"), "Name: hello\nVersion: 1.0\n")?;
//! # let mut cache = Cache::open(&dir.path().join("cache"))?;
//! # add::add(&mut cache, &[egg], &add::Options::default(), &Silent)?;
//! let narrow = query::Narrow { python: Some("3.11".into()), ..query::Narrow::default() };
//! assert_eq!(list::list(&cache, Some("hel"), &narrow)?.eggs.len(), 1);
//! match query::one(&cache, "helo", &narrow) {
//!     Err(Error::Miss { nearest, .. }) => {
//!         let (_, nearest) = &nearest[0];
//!         assert!(matches!(nearest, Nearest::Name { name, .. } if name == "hello"));
//!     }
//!     other => panic!("{other:?}"),
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Collect garbage
//! [`plan::plan`] decides which eggs a policy evicts, without any input or output. [`gc::gc`] carries
//! the plan out, or only reports it with `dry_run`.
//!
//! ```
//! use eggcache::plan::{self, Rules};
//! use eggcache::{clock, gc, units};
//! # use eggcache::{Cache, add, progress::Silent};
//! # let dir = tempfile::tempdir()?;
//! # let egg = dir.path().join("hello-1.0-py3.11.egg");
//! # std::fs::create_dir_all(egg.join("EGG-INFO"))?;
//! # std::fs::write(egg.join("EGG-INFO/PKG-INFO"), "Name: hello\nVersion: 1.0\n")?;
//! # let mut cache = Cache::open(&dir.path().join("cache"))?;
//! # add::add(&mut cache, &[egg], &add::Options::default(), &Silent)?;
//! let rules = Rules { max_age: Some(units::age("90d")?), ..Rules::default() };
//! let protected = plan::Protected::new(); // what pins and roots protect
//! let in_a_year = clock::now() + units::age("1y")?;
//! let plan = plan::plan(cache.eggs()?, &rules, &protected, in_a_year);
//! assert_eq!((plan.evicted.len(), plan.kept.len()), (1, 0));
//!
//! let options = gc::Options { rules, dry_run: true, ..gc::Options::default() };
//! assert_eq!(gc::gc(&mut cache, &options, &Silent)?.kept, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Check a cache and a buildout
//! [`verify::verify`] checks a cache, [`check::check`] a buildout.
//!
//! ```
//! use eggcache::{Trust, check, verify};
//! # use eggcache::{Cache, add, materialize, progress::Silent, query};
//! # let dir = tempfile::tempdir()?;
//! # let egg = dir.path().join("hello-1.0-py3.11.egg");
//! # std::fs::create_dir_all(egg.join("EGG-INFO"))?;
//! # std::fs::write(egg.join("EGG-INFO/PKG-INFO"), "Name: hello\nVersion: 1.0\n")?;
//! # let (root, buildout) = (dir.path().join("cache"), dir.path().join("app"));
//! # let mut cache = Cache::open(&root)?;
//! # add::add(&mut cache, &[egg], &add::Options::default(), &Silent)?;
//! # let eggs = cache.eggs()?;
//! # let options = materialize::Options::default();
//! # materialize::materialize(&mut cache, &eggs, &buildout.join("eggs"), options, &Silent)?;
//! # std::fs::write(buildout.join("buildout.cfg"), "[buildout]\n")?;
//! assert!(verify::verify(&root, false, &Trust::default(), &Silent)?.problems.is_empty());
//! let options = check::Options { full: true, ..check::Options::default() };
//! let report = check::check(Some(&cache), &buildout, &options, &Silent)?;
//! assert!(report.problems.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The source tree
//! Each folder of `src/` is one layer. The lowest layer comes first: a folder imports only
//! from the rows above its own, and a test keeps it so (`imports_point_downward`).
//!
//! | folder | contents |
//! |---|---|
//! | `util` | time, units, text matching, progress, hashes; knows nothing of eggs or caches |
//! | `error` | the one error type: what failed, on which path, and why |
//! | `disk` | safe files: temporary files, access without following symlinks, durable writes, modes |
//! | `egg` | what an egg is: its name, key and manifest, as a directory or zip file, and as a blob |
//! | `buildout` | what a buildout directory is: options, scripts, path files |
//! | `cache` | blobs, index and the order of their writes; retention: the policy, pins and roots |
//! | `remote` | shared stores of signed eggs: keys, entries, and the client of an object store |
//! | `ops` | one file or folder per operation; operations do not call each other |
//! | `serve` | the bridge: the process that buildout talks to |
//! | `cli` | the command line: arguments, text, hints and exit codes |
#![deny(unsafe_code)]

mod buildout;
mod cache;
mod cli;
mod disk;
mod egg;
mod error;
mod ops;
mod remote;
mod serve;
mod util;

// The cache, and the eggs in it.
pub use cache::retention::{plan, policy};
pub use cache::trust::Trust;
pub use cache::{Cache, query};
pub use egg::cached_egg::CachedEgg;
pub use egg::key::{EggKey, Host};
pub use egg::name::EggName;
pub use egg::provenance::Provenance;
pub use error::{Error, Result};
pub use util::hash::digest::Digest;
pub use util::{clock, progress, stop, suggest, units};

// The operations, each with its `Options` and its `Report`.
pub use ops::add;
pub use ops::bundle;
pub use ops::check;
pub use ops::convert;
pub use ops::diff;
pub use ops::gc;
pub use ops::init;
pub use ops::list;
pub use ops::lock;
pub use ops::materialize;
pub use ops::pins;
pub use ops::preflight;
pub use ops::register;
pub use ops::reindex;
pub use ops::remote as remotes;
pub use ops::remove;
pub use ops::roots;
pub use ops::sbom;
pub use ops::show;
pub use ops::stats;
pub use ops::used_by;
pub use ops::verify;

/// The `eggcache` command.
#[doc(hidden)]
pub use cli::main;

/// Formats and inner parts, for the fuzz targets, benchmarks and format tests of this repository.
/// They may change in every release.
#[doc(hidden)]
pub mod internals {
    pub use crate::buildout::{ini, script};
    pub use crate::cache::{Blobs, Rebuilt};
    pub use crate::disk::dir::Dir;
    pub use crate::egg::blob::{frame_layout, reader, writer};
    pub use crate::egg::path::EggPath;
    pub use crate::egg::{canonical_bytecode, elf, manifest, metadata, name, native, scan, wheel};
    pub use crate::remote::withdrawals::statement;
    pub use crate::remote::{entry, keys, object_names, signature};
    pub use crate::serve::{Options as ServeOptions, serve};
    pub use crate::util::environment::Environment;
    pub use crate::util::hash::sha256;
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// The folders of `src/`, lowest first.
    const LAYERS: [&str; 13] = [
        "util/hash",
        "util",
        "error",
        "disk",
        "egg",
        "egg/blob",
        "buildout",
        "cache/retention",
        "cache",
        "remote",
        "ops",
        "serve",
        "cli",
    ];

    /// The layer of a file or module, `cache/index/row`: the innermost folder that has a rank.
    fn layer(path: &str) -> usize {
        let is_in = |layer: &&str| Path::new(path).starts_with(layer);
        let innermost = LAYERS.iter().filter(|it| is_in(it)).max_by_key(|it| it.len());
        LAYERS.iter().position(|it| Some(it) == innermost).unwrap_or(LAYERS.len())
    }

    /// The modules that a source file imports or names: `crate::a::{b, c::d}` gives `a/b` and `a/c/d`.
    fn imports(source: &str) -> Vec<String> {
        let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
        let code: String = code.collect();
        let mut imports = Vec::new();
        for path in code.split("crate::").skip(1) {
            let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
            let (base, rest) = path.split_at(path.find(|c| !is_name(c)).unwrap_or(path.len()));
            let list = rest.strip_prefix('{').and_then(|list| list.split('}').next());
            let items = list.unwrap_or_default().split(',').map(str::trim);
            imports.extend(items.map(|item| format!("{base}{item}").replace("::", "/")));
        }
        imports
    }

    #[test]
    fn imports_are_found() {
        let source = "use crate::a::{b, c::{self}};\n// crate::d\nlet e = crate::f::g(h);";
        assert_eq!(imports(source), ["a/b", "a/c/{self", "f/g"]);
    }

    /// The files of the library without their unit tests, by their paths without `src/` and `.rs`.
    fn sources() -> Vec<(String, String)> {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let files = walkdir::WalkDir::new(&src).into_iter().map(Result::unwrap);
        let rust = files.filter(|file| file.path().extension().is_some_and(|it| it == "rs"));
        let sources = rust.map(|file| {
            let name = file.path().strip_prefix(&src).unwrap().with_extension("");
            let source = std::fs::read_to_string(file.path()).unwrap();
            let (source, _unit_tests) = source.split_once("\nmod tests {").unwrap_or((&source, ""));
            (name.to_str().unwrap().to_owned(), source.to_owned())
        });
        let sources: Vec<_> = sources.filter(|(name, _)| name != "lib").collect();
        assert!(sources.len() > 100, "{} files in {}", sources.len(), src.display());
        sources
    }

    #[test]
    fn imports_point_downward() {
        for (name, source) in sources() {
            for import in imports(&source) {
                assert!(layer(&import) <= layer(&name), "src/{name}.rs imports {import}");
                let operation = |path: &str| {
                    path.strip_prefix("ops/").map(|it| it.split('/').next().map(str::to_owned))
                };
                // These take the report of a check, and this converts.
                let of_check = ["ops/bundle/", "ops/sbom/"].iter().any(|it| name.starts_with(it));
                let is_rederive = name.starts_with("ops/remote/rederive/");
                if let (Some(of), Some(other)) = (operation(&name), operation(&import))
                    && !of_check
                    && !(is_rederive && import.starts_with("ops/convert"))
                {
                    assert_eq!(of, other, "src/{name}.rs imports another operation: {import}");
                }
            }
        }
    }

    #[test]
    fn conditional_compilation_has_one_place() {
        let marks = ["target_os", "target_env", "target_arch", "std::os::linux", "std::os::macos"];
        for (name, source) in sources() {
            let is_place = name.starts_with("disk/system/");
            let found = marks.iter().find(|mark| source.contains(**mark) && !is_place);
            assert_eq!(found, None, "src/{name}.rs is for one system; see src/disk/system");
        }
    }
}
