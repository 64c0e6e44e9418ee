//! Parity: whether converted eggs equal those that pip makes, as one record for each combination of Python,
//! zc.buildout, setuptools and pip.
//!
//! The first wheel of a combination is installed by pip and converted beside that. The comparison of the two
//! eggs decides whether later wheels are converted. A record can be deleted: the next wheel is compared
//! then.

use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::disk::dir::Dir;
use crate::disk::json_file;
use crate::error::{OrLog, Result};
use crate::util::clock::now;

/// The directory of the records. Its name is part of the cache's format.
pub(super) const DIR: &str = "parity";
/// The age at which a comparison is repeated, in seconds.
const VALID_FOR: i64 = 180 * 86_400;

/// What decides how a wheel becomes an egg.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Combination {
    pub python: String,
    pub buildout: String,
    /// The digest of what buildout does.
    pub code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setuptools: Option<String>,
    pub pip: String,
    pub eggcache: String,
}

/// The result of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parity {
    #[serde(flatten)]
    pub combination: Combination,
    /// The file name of the wheel that was compared.
    pub wheel: String,
    /// When, in seconds since the Unix epoch.
    pub compared_at: i64,
    /// The first difference; `None` if there is none. A record without this field is damaged.
    #[serde(deserialize_with = "Option::deserialize")]
    pub difference: Option<String>,
}

impl Cache {
    /// The result of comparing eggs of this combination; `None` if none was compared.
    #[must_use]
    pub fn parity(&self, combination: &Combination) -> Option<Parity> {
        let found: Parity = json_file::read(&self.dir, &path(combination)).or_log().flatten()?;
        (found.combination == *combination).then_some(found)
    }

    /// Records the result of a comparison. Does nothing if this process cannot write the cache.
    ///
    /// # Errors
    /// What the system says.
    pub fn record_parity(&self, parity: &Parity) -> Result<()> {
        match self.check_writable() {
            Ok(()) => json_file::write(&self.dir, &path(&parity.combination), parity),
            Err(_) => Ok(()),
        }
    }

    /// All results that can be read, the newest first.
    ///
    /// # Errors
    /// If the records cannot be listed.
    pub fn parities(&self) -> Result<Vec<Parity>> {
        let records = json_file::read_all(&self.dir, DIR)?;
        let mut found: Vec<Parity> =
            records.into_iter().filter_map(|(_, record)| record.or_log()).collect();
        found.sort_by_key(|parity| std::cmp::Reverse(parity.compared_at));
        Ok(found)
    }
}

/// Removes old records, and temporary files.
pub fn forget_old(cache: &Dir) -> Result<()> {
    json_file::forget_old(cache, DIR, VALID_FOR, now())
}

fn path(combination: &Combination) -> String {
    let identity = serde_json::to_vec(combination).expect("texts have a form in JSON");
    format!("{DIR}/{}", json_file::name_of(&identity))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parity(pip: &str, difference: Option<&str>) -> Parity {
        let combination = Combination {
            python: "CPython 3.11.7".into(),
            buildout: "6.0.1".into(),
            code: "00".into(),
            setuptools: None,
            pip: pip.into(),
            eggcache: "1".into(),
        };
        Parity {
            combination,
            wheel: "a-1-py3-none-any.whl".into(),
            compared_at: 5,
            difference: difference.map(str::to_owned),
        }
    }

    #[test]
    fn each_combination_has_a_result_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let (same, other) = (parity("25.0", None), parity("26.0", Some("RECORD: content")));
        assert_eq!(cache.parity(&same.combination), None);
        cache.record_parity(&same).unwrap();
        cache.record_parity(&other).unwrap();
        assert_eq!(cache.parity(&same.combination), Some(same.clone()));
        assert_eq!(cache.parity(&other.combination), Some(other));
        assert_eq!(cache.parities().unwrap().len(), 2);
        let record = dir.path().join(path(&same.combination));
        let text = std::fs::read_to_string(&record).unwrap();
        for damaged in [text.replace("difference", "eifference"), "{".into()] {
            std::fs::write(&record, damaged).unwrap();
            assert_eq!(cache.parity(&same.combination), None, "a damaged record is none");
        }
        assert_eq!(cache.parities().unwrap().len(), 1);
        forget_old(cache.dir()).unwrap();
        assert_eq!(cache.parities().unwrap().len(), 1);
    }
}
