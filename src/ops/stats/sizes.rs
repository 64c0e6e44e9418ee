//! Sizes: the eggs by project and version, by age and by last use.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::mem::take;

use serde::Serialize;

use crate::cache::DAY;
use crate::egg::cached_egg::CachedEgg;

/// How many projects are listed, and how many versions of each: the largest ones.
const PROJECTS: usize = 60;
const VERSIONS: usize = 12;

/// The boundaries between ages, in days.
const CUTS: [i64; 6] = [1, 7, 30, 90, 180, 365];

#[derive(Debug, Default, Serialize)]
pub struct Sizes {
    pub eggs: usize,
    /// The number of all projects.
    pub project_count: usize,
    /// The number of versions of all projects.
    pub version_count: usize,
    pub files: u64,
    /// Bytes of content.
    pub bytes: u64,
    /// Bytes of the blobs.
    pub blob_bytes: u64,
    /// The largest.
    pub projects: Vec<Project>,
    /// Bytes of the blobs of the others.
    pub other_bytes: u64,
    /// By the time since they were added, the youngest first.
    pub ages: Vec<Bucket>,
    /// By the time since they were last used, or added if they never were.
    pub last_uses: Vec<Bucket>,
    /// Eggs that were never copied out of the cache.
    pub never_used: usize,
}

#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Project {
    /// The PEP 503 name.
    pub name: String,
    /// The name for people ([`CachedEgg::project`]).
    pub project: String,
    pub eggs: usize,
    pub version_count: usize,
    pub blob_bytes: u64,
    /// When an egg of it was last used, in seconds since the Unix epoch.
    pub used_at: i64,
    /// The largest.
    pub versions: Vec<Version>,
    /// Bytes of the blobs of the others.
    pub other_bytes: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Version {
    pub version: String,
    pub eggs: usize,
    pub blob_bytes: u64,
    pub used_at: i64,
}

/// Eggs of about the same age.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bucket {
    /// The upper boundary, which is excluded; `None` for the last bucket. The lower one is the boundary
    /// of the bucket before.
    pub below_days: Option<i64>,
    pub eggs: usize,
    pub blob_bytes: u64,
}

impl Sizes {
    /// `at` is in seconds since the Unix epoch.
    pub fn of(eggs: &[CachedEgg], at: i64) -> Self {
        let mut projects: HashMap<&str, Found<'_>> = HashMap::new();
        for egg in eggs {
            let found = projects.entry(&egg.key.name).or_default();
            found.spelling = take(&mut found.spelling).max(spelling(egg));
            let version = found.versions.entry(&egg.key.version).or_default();
            version.eggs += 1;
            version.blob_bytes += egg.blob_bytes;
            version.used_at = version.used_at.max(egg.used_at);
        }
        let blob_bytes = eggs.iter().map(|egg| egg.blob_bytes).sum();
        let project_count = projects.len();
        let version_count = projects.values().map(|it| it.versions.len()).sum();
        let mut projects: Vec<Project> = projects.into_iter().map(project).collect();
        projects.sort_unstable_by(|a, b| {
            (Reverse(a.blob_bytes), &a.name).cmp(&(Reverse(b.blob_bytes), &b.name))
        });
        projects.truncate(PROJECTS);
        for project in &mut projects {
            cut_versions(project);
        }
        let of_largest: u64 = projects.iter().map(|project| project.blob_bytes).sum();
        Self {
            eggs: eggs.len(),
            project_count,
            version_count,
            files: eggs.iter().map(|egg| egg.counts.files).sum(),
            bytes: eggs.iter().map(|egg| egg.counts.bytes).sum(),
            blob_bytes,
            projects,
            other_bytes: blob_bytes - of_largest,
            ages: buckets(eggs, |egg| at.saturating_sub(egg.provenance.added_at)),
            last_uses: buckets(eggs, |egg| at.saturating_sub(egg.used_at)),
            never_used: eggs.iter().filter(|egg| egg.uses == 0).count(),
        }
    }

    /// How much smaller the blobs are than their content; `None` if they are not smaller.
    #[must_use]
    pub fn saved_bytes(&self) -> Option<u64> {
        self.bytes.checked_sub(self.blob_bytes).filter(|&saved| saved > 0)
    }
}

/// What is known of a project.
#[derive(Default)]
struct Found<'a> {
    /// The best of [`spelling`].
    spelling: (bool, i64, String),
    versions: HashMap<&'a str, Version>,
}

/// A name of a project for people, after what makes one better than another: that it is not the PEP 503 name,
/// as in file names that newer setuptools gives, and the time since when the cache has it.
fn spelling(egg: &CachedEgg) -> (bool, i64, String) {
    let project = egg.project();
    (project != egg.key.name, egg.provenance.added_at, project)
}

fn project((name, found): (&str, Found<'_>)) -> Project {
    let Found { spelling: (_, _, spelt), versions } = found;
    let version_count = versions.len();
    let mut project =
        Project { name: name.to_owned(), project: spelt, version_count, ..Project::default() };
    for (version, found) in versions {
        project.eggs += found.eggs;
        project.blob_bytes += found.blob_bytes;
        project.used_at = project.used_at.max(found.used_at);
        project.versions.push(Version { version: version.to_owned(), ..found });
    }
    project
}

fn cut_versions(project: &mut Project) {
    project.versions.sort_unstable_by(|a, b| {
        (Reverse(a.blob_bytes), &a.version).cmp(&(Reverse(b.blob_bytes), &b.version))
    });
    project.versions.truncate(VERSIONS);
    let of_largest: u64 = project.versions.iter().map(|version| version.blob_bytes).sum();
    project.other_bytes = project.blob_bytes - of_largest;
}

fn buckets(eggs: &[CachedEgg], age: impl Fn(&CachedEgg) -> i64) -> Vec<Bucket> {
    let ends = CUTS.into_iter().map(Some).chain([None]);
    let mut buckets: Vec<Bucket> =
        ends.map(|below_days| Bucket { below_days, ..Bucket::default() }).collect();
    for egg in eggs {
        let bucket = &mut buckets[bucket_of(age(egg))];
        bucket.eggs += 1;
        bucket.blob_bytes += egg.blob_bytes;
    }
    buckets
}

/// The index of the bucket for an age in seconds.
pub fn bucket_of(age: i64) -> usize {
    CUTS.partition_point(|&days| age >= days * DAY)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::egg::manifest::tests::manifest;
    use crate::egg::provenance::Provenance;
    use crate::util::hash::digest::Digest;

    pub fn egg(name: &str, version: &str, blob_bytes: u64) -> CachedEgg {
        let digest = Digest::of(format!("{name} {version} {blob_bytes}").as_bytes());
        let mut egg =
            CachedEgg::new(digest, &manifest(Vec::new()), blob_bytes, Provenance::default());
        (egg.key.name, egg.key.version) = (name.to_owned(), version.to_owned());
        egg
    }

    #[test]
    fn projects_and_versions_are_sorted_by_size() {
        let mut eggs = vec![egg("a", "1", 5), egg("b", "1", 2), egg("b", "2", 3), egg("b", "2", 4)];
        eggs[3].used_at = 9;
        let sizes = Sizes::of(&eggs, 10);
        assert_eq!((sizes.eggs, sizes.project_count, sizes.version_count), (4, 2, 3));
        let names: Vec<_> =
            sizes.projects.iter().map(|found| (&*found.name, found.blob_bytes)).collect();
        assert_eq!(names, [("b", 9), ("a", 5)]);
        let versions = &sizes.projects[0].versions;
        let second = Version { version: "2".into(), eggs: 2, blob_bytes: 7, used_at: 9 };
        assert_eq!((&versions[0], versions.len()), (&second, 2));
    }

    #[test]
    fn an_age_at_a_boundary_belongs_to_the_older_bucket() {
        let buckets = [-1, 0, DAY - 1, DAY, 7 * DAY, 365 * DAY, i64::MAX].map(bucket_of);
        assert_eq!(buckets, [0, 0, 0, 1, 2, 6, 6]);
    }

    proptest! {
        #[test]
        fn sizes_add_up_and_lists_are_bounded(
            eggs in prop::collection::vec((0..90_u32, 0..20_u32, 0..1000_u64), 0..400)
        ) {
            let eggs: Vec<CachedEgg> = eggs
                .into_iter()
                .map(|(name, version, bytes)| egg(&name.to_string(), &version.to_string(), bytes))
                .collect();
            let sizes = Sizes::of(&eggs, 100 * DAY);
            let total: u64 = eggs.iter().map(|egg| egg.blob_bytes).sum();
            let of_projects: u64 = sizes.projects.iter().map(|found| found.blob_bytes).sum();
            prop_assert_eq!(of_projects + sizes.other_bytes, total);
            prop_assert!(sizes.projects.len() <= PROJECTS);
            for project in &sizes.projects {
                let of_versions: u64 = project.versions.iter().map(|found| found.blob_bytes).sum();
                prop_assert_eq!(of_versions + project.other_bytes, project.blob_bytes);
                prop_assert!(project.versions.len() <= VERSIONS);
            }
            for buckets in [&sizes.ages, &sizes.last_uses] {
                prop_assert_eq!(buckets.iter().map(|bucket| bucket.blob_bytes).sum::<u64>(), total);
                prop_assert_eq!(buckets.iter().map(|bucket| bucket.eggs).sum::<usize>(), eggs.len());
            }
        }
    }
}
