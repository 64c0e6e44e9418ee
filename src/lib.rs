//! Keep built eggs once, copy them into every buildout that needs them.
//!
//! An egg cache holds each egg as one content-addressed blob and indexes it by its distribution
//! metadata. Eggs are copied out of it, never linked, so what uses them stands on its own.
//!
//! ```
//! use eggcache::{add, cache::Cache, materialize, progress::Silent, query};
//! # let dir = tempfile::tempdir()?;
//! # let egg = dir.path().join("hello-1.0-py3.11.egg");
//! # std::fs::create_dir_all(egg.join("EGG-INFO"))?;
//! # std::fs::write(egg.join("EGG-INFO/PKG-INFO"), "Name: hello\nVersion: 1.0\n")?;
//! # let (root, eggs) = (dir.path().join("cache"), dir.path().join("eggs"));
//! let mut cache = Cache::open(&root)?;
//! add::add(&mut cache, &[egg], &add::Options::default(), &Silent)?;
//! let egg = query::one(&cache.index, "hello==1.0", &query::Narrow::default())?;
//! let options = materialize::Options::default();
//! materialize::materialize(&mut cache, &[egg], &eggs, options, &Silent)?;
//! assert!(eggs.join("hello-1.0-py3.11.egg/EGG-INFO/PKG-INFO").is_file());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Every operation is one function: the cache, options and a [`progress::Progress`] in, a report out
//! that serialises. The library never prints. What follows goes on from there.
//!
//! # What does the cache have?
//! A name that is not in the cache is an error with what may have been meant.
//!
//! ```
//! use eggcache::{error::Error, list, nearest::Nearest, query};
//! # use eggcache::{add, cache::Cache, progress::Silent};
//! # let dir = tempfile::tempdir()?;
//! # let egg = dir.path().join("hello-1.0-py3.11.egg");
//! # std::fs::create_dir_all(egg.join("EGG-INFO"))?;
//! # std::fs::write(egg.join("EGG-INFO/PKG-INFO"), "Name: hello\nVersion: 1.0\n")?;
//! # let mut cache = Cache::open(&dir.path().join("cache"))?;
//! # add::add(&mut cache, &[egg], &add::Options::default(), &Silent)?;
//! let narrow = query::Narrow { python: Some("3.11".into()), ..query::Narrow::default() };
//! assert_eq!(list::list(&cache, Some("hel"), &narrow)?.eggs.len(), 1);
//! match query::one(&cache.index, "helo", &narrow) {
//!     Err(Error::Miss { nearest, .. }) => {
//!         let (_, nearest) = &nearest[0];
//!         assert!(matches!(nearest, Nearest::Name { name, .. } if name == "hello"));
//!     }
//!     other => panic!("{other:?}"),
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What would be evicted?
//! The policy is pure: [`plan::plan`] takes eggs and rules, and nothing is removed by it.
//! [`gc::gc`] does it, or tells the same with `dry_run`.
//!
//! ```
//! use eggcache::plan::{self, Rules};
//! use eggcache::{clock, gc, quantity};
//! # use eggcache::{add, cache::Cache, progress::Silent};
//! # let dir = tempfile::tempdir()?;
//! # let egg = dir.path().join("hello-1.0-py3.11.egg");
//! # std::fs::create_dir_all(egg.join("EGG-INFO"))?;
//! # std::fs::write(egg.join("EGG-INFO/PKG-INFO"), "Name: hello\nVersion: 1.0\n")?;
//! # let mut cache = Cache::open(&dir.path().join("cache"))?;
//! # add::add(&mut cache, &[egg], &add::Options::default(), &Silent)?;
//! let rules = Rules { max_age: Some(quantity::age("90d")?), ..Rules::default() };
//! let held = plan::Held::new(); // what pins and buildouts hold
//! let in_a_year = clock::now() + quantity::age("1y")?;
//! let plan = plan::plan(cache.index.all()?, &rules, &held, in_a_year);
//! assert_eq!((plan.evicted.len(), plan.kept.len()), (1, 0));
//!
//! let options = gc::Options { rules, dry_run: true, ..gc::Options::default() };
//! assert_eq!(gc::gc(&mut cache, &options, &Silent)?.kept, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Is everything what it was?
//! [`verify::verify`] looks at the cache, [`check::check`] at a buildout.
//!
//! ```
//! use eggcache::{check, verify};
//! # use eggcache::{add, cache::Cache, materialize, progress::Silent, query};
//! # let dir = tempfile::tempdir()?;
//! # let egg = dir.path().join("hello-1.0-py3.11.egg");
//! # std::fs::create_dir_all(egg.join("EGG-INFO"))?;
//! # std::fs::write(egg.join("EGG-INFO/PKG-INFO"), "Name: hello\nVersion: 1.0\n")?;
//! # let (root, buildout) = (dir.path().join("cache"), dir.path().join("app"));
//! # let mut cache = Cache::open(&root)?;
//! # add::add(&mut cache, &[egg], &add::Options::default(), &Silent)?;
//! # let eggs = cache.index.all()?;
//! # let options = materialize::Options::default();
//! # materialize::materialize(&mut cache, &eggs, &buildout.join("eggs"), options, &Silent)?;
//! # std::fs::write(buildout.join("buildout.cfg"), "[buildout]\n")?;
//! assert!(verify::verify(&root, false, &Silent)?.problems.is_empty());
//! let options = check::Options { full: true, ..check::Options::default() };
//! let report = check::check(Some(&cache), &buildout, &options, &Silent)?;
//! assert!(report.problems.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Layers
//! Imports point only downward.
//!
//! | | |
//! |---|---|
//! | the bridge to buildout, which calls operations | [`serve`] `auto` `prefetch` `storing` `fetching` `pushing` |
//! | operations, which never call each other | [`init`] [`add`] [`materialize`] [`preflight`] [`list`] [`show`] [`register`] [`roots`] [`pins`] [`gc`] [`verify`] [`check`] [`bundle`] [`reindex`] [`stats`] [`push`] [`pull`] [`remote`] [`remote_verify`] [`remote_gc`] [`sign`] |
//! | the cache | [`cache`] [`rebuild`] [`repair`] `copies` `recall` `staging` `held` [`query`] [`upstream`] `publish` `lease` `survey` |
//! | holders | [`store`] of blobs, [`index`] in `SQLite`, [`root`]s and [`pin`]s, [`tree`] of an egg on disk, `soundness` of one, `buildout` on disk, `interpreter`, [`remotes`] and an [`object_client`] of each |
//! | formats, pure | [`egg_name`] [`egg_key`] [`metadata`] [`native`] [`manifest`] [`layout`] [`blob`] [`blob_writer`] [`egg`] [`plan`] [`policy`] `difference` `pyc` `script` `pointer` [`entry`] [`signing`] [`remote_layout`] |
//! | primitives | [`error`] [`clock`] [`quantity`] [`nearest`] [`digest`] [`sha256`] `wildcard` `subtree` [`egg_path`] `fs` `temp` `record` `place` `beneath` `map` `shared` [`progress`] |
#![deny(unsafe_code)]

pub mod add;
mod auto;
mod beneath;
pub mod blob;
pub mod blob_writer;
mod buildout;
pub mod bundle;
pub mod cache;
pub mod check;
pub mod clock;
mod copies;
mod difference;
pub mod digest;
pub mod egg;
pub mod egg_cache;
pub mod egg_key;
pub mod egg_name;
pub mod egg_path;
pub mod entry;
pub mod error;
mod fetching;
mod fs;
pub mod gc;
mod held;
pub mod index;
pub mod init;
mod interpreter;
pub mod layout;
mod lease;
pub mod list;
pub mod manifest;
mod map;
pub mod materialize;
pub mod metadata;
pub mod native;
pub mod nearest;
pub mod object_client;
pub mod pin;
pub mod pins;
mod place;
pub mod plan;
mod pointer;
pub mod policy;
mod prefetch;
pub mod preflight;
pub mod progress;
mod publish;
pub mod pull;
pub mod push;
mod pushing;
mod pyc;
pub mod quantity;
pub mod query;
pub mod rebuild;
mod recall;
mod record;
pub mod register;
pub mod reindex;
pub mod remote;
pub mod remote_gc;
pub mod remote_layout;
pub mod remote_verify;
pub mod remotes;
pub mod repair;
pub mod root;
pub mod roots;
mod script;
pub mod serve;

pub mod sha256;
mod shared;
pub mod show;
pub mod sign;
pub mod signing;
mod soundness;
mod staging;
pub mod stats;
pub mod store;
mod storing;
mod subtree;
mod survey;
mod temp;
mod texts;
pub mod tree;
pub mod upstream;
pub mod verify;
mod wildcard;
