//! Repeatable randomness: a test that draws random numbers prints its seed when it fails, and takes
//! its seed from `EGGCACHE_SEED` if that is set.

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// The seed of a test, printed if the test fails.
pub struct Seed(pub u64);

impl Seed {
    pub fn new() -> Self {
        let given = std::env::var("EGGCACHE_SEED").ok();
        Self(given.map_or_else(from_the_clock, |seed| seed.parse().unwrap()))
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = writeln!(io::stderr(), "set EGGCACHE_SEED={} to repeat this run", self.0);
        }
    }
}

fn from_the_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs() ^ u64::from(since.subsec_nanos()) << 32
}

/// Steele, Lea and Flood's `SplitMix64`: small, and good enough for choosing operations.
pub struct Random(u64);

impl Random {
    /// The `stream`th generator of a seed: each worker has its own.
    pub fn new(seed: &Seed, stream: usize) -> Self {
        let mut random = Self(seed.0);
        Self(random.next() ^ Self(stream as u64).next())
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    /// True once in `times`, on average.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub fn of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }
}
