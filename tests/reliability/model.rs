//! Random sequences of operations on one cache, compared with a model of what the cache must then
//! contain: a plain map. The operations are those of the library plus bad luck: a blob is damaged
//! or deleted, or the index is lost.

mod case;

use std::cell::Cell;
use std::path::PathBuf;

use eggcache::Cache;
use eggcache::Digest;
use eggcache::add::{self, Outcome};
use eggcache::progress::Silent;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use self::case::Case;
use crate::counts;
use crate::random::{Random, Seed};
use crate::support::{Sandbox, make_egg, noise};

const PROJECTS: usize = 3;
/// Oldest first, which differs from their order as text.
const VERSIONS: [&str; 3] = ["1.9", "1.10", "2.0rc1"];
const BUILDS: usize = 3;

/// One build of an egg, as it is added.
pub struct Build {
    path: PathBuf,
    digest: Digest,
}

/// An egg, regardless of its build: its position among [`Eggs`].
pub type Key = usize;

pub struct Eggs {
    sandbox: Sandbox,
    of_key: Vec<Vec<Build>>,
}

impl Eggs {
    fn make() -> Self {
        let sandbox = Sandbox::new();
        let of_key = (0..PROJECTS * VERSIONS.len())
            .map(|key| (0..BUILDS).map(|build| make(&sandbox, key, build)).collect())
            .collect();
        Self { sandbox, of_key }
    }

    fn build(&self, key: Key, build: usize) -> &Build {
        &self.of_key[key][build]
    }

    fn folder(&self, build: usize) -> PathBuf {
        self.sandbox.path(&format!("builds/{build}"))
    }

    fn keys(&self) -> std::ops::Range<Key> {
        0..self.of_key.len()
    }
}

fn name(key: Key) -> String {
    format!("project{}", key / VERSIONS.len())
}

fn version(key: Key) -> &'static str {
    VERSIONS[key % VERSIONS.len()]
}

fn file_name(key: Key) -> String {
    format!("{}-{}-py3.11.egg", name(key), version(key))
}

fn make(sandbox: &Sandbox, key: Key, build: usize) -> Build {
    let path = sandbox.path(&format!("builds/{build}/{}", file_name(key)));
    // Sizes distinguish the builds even where the clock does not, and one has several frames.
    let data =
        noise(if (key, build) == (0, 0) { 300_000 } else { 2000 + 5000 * build + 100 * key });
    make_egg(&path, &name(key), version(key), &[("data", &data), ("empty", b"")]);
    let mut scratch = Cache::open(&sandbox.path(&format!("scratch/{build}"))).unwrap();
    let options = add::Options::default();
    let report = add::add(&mut scratch, std::slice::from_ref(&path), &options, &Silent).unwrap();
    let Outcome::Stored { egg } = &report.eggs[0].outcome else { panic!("{report:?}") };
    Build { digest: egg.digest, path }
}

/// One step of a sequence.
#[derive(Debug, Clone)]
pub enum Step {
    Add {
        key: Key,
        build: usize,
        replace: bool,
    },
    /// All eggs of one build.
    AddFolder {
        build: usize,
        replace: bool,
    },
    /// One egg, into a folder that already has eggs if `kept`, otherwise into a new one.
    Materialize {
        key: Key,
        kept: bool,
    },
    MaterializeAll,
    Gc(Policy),
    Verify,
    Repair,
    Reindex,
    Reopen,
    /// Removes the index, which is rebuilt when the cache is opened.
    LoseIndex,
    /// Flips one bit of a blob; `place` chooses the bit.
    FlipBit {
        key: Key,
        place: u32,
    },
    LoseBlob {
        key: Key,
    },
}

#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// How many of the latest steps count as young.
    max_age: Option<usize>,
    keep_versions: Option<usize>,
    /// In percent of the current size.
    max_size: Option<u64>,
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..PROJECTS * VERSIONS.len();
    let policy = (
        prop::option::weighted(0.3, 0_usize..20),
        prop::option::weighted(0.3, 1_usize..3),
        prop::option::weighted(0.3, 0_u64..=100),
    );
    let policy = policy.prop_map(|(max_age, keep_versions, max_size)| Policy {
        max_age,
        keep_versions,
        max_size,
    });
    prop_oneof![
        8 => (key(), 0..BUILDS, prop::bool::weighted(0.3))
            .prop_map(|(key, build, replace)| Step::Add { key, build, replace }),
        1 => (0..BUILDS, prop::bool::weighted(0.3))
            .prop_map(|(build, replace)| Step::AddFolder { build, replace }),
        4 => (key(), any::<bool>()).prop_map(|(key, kept)| Step::Materialize { key, kept }),
        1 => Just(Step::MaterializeAll),
        3 => policy.prop_map(Step::Gc),
        2 => Just(Step::Verify),
        2 => Just(Step::Repair),
        2 => Just(Step::Reindex),
        1 => Just(Step::Reopen),
        1 => Just(Step::LoseIndex),
        3 => (key(), any::<u32>()).prop_map(|(key, place)| Step::FlipBit { key, place }),
        1 => key().prop_map(|key| Step::LoseBlob { key }),
    ]
}

/// A cache mostly waits for the disk, so several cases run at once.
const THREADS: usize = 8;

#[test]
fn random_operations_leave_exactly_the_expected_eggs() {
    let (seed, eggs) = (Seed::new(), Eggs::make());
    let cases = if counts::thorough() { 2000 } else { 64 };
    let steps: usize = std::thread::scope(|scope| {
        let (seed, eggs) = (&seed, &eggs);
        let part = |thread| scope.spawn(move || run_cases(seed, thread, eggs, cases / THREADS));
        let parts: Vec<_> = (0..THREADS).map(part).collect();
        parts.into_iter().map(|part| part.join().unwrap()).sum()
    });
    counts::record("model", "operations", steps);
}

/// Runs random cases and returns how many steps they had. If a case fails, looks for the shortest
/// one that fails.
fn run_cases(seed: &Seed, thread: usize, eggs: &Eggs, cases: usize) -> usize {
    let cases = u32::try_from(cases).unwrap();
    // Every attempt waits for the disk.
    let max_shrink_iters = 300;
    let config = Config { cases, failure_persistence: None, max_shrink_iters, ..Config::default() };
    let mut random = Random::new(seed, thread);
    let bytes: Vec<u8> = (0..4).flat_map(|_| random.next().to_le_bytes()).collect();
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let done = Cell::new(0);
    let steps = prop::collection::vec(step(), 1..40);
    let all = TestRunner::new_with_rng(config, random).run(&steps, |steps| {
        done.set(done.get() + steps.len());
        run(eggs, &steps);
        Ok(())
    });
    if let Err(error) = all {
        panic!("{error}");
    }
    done.get()
}

fn run(eggs: &Eggs, steps: &[Step]) {
    let dir = tempfile::tempdir().unwrap();
    let mut case = Case::new(eggs, dir.path());
    for step in steps {
        case.take(step);
        case.check();
    }
}
