//! Suggestions for a misspelt name.

use std::fmt;

/// How many versions a message lists; of more, it gives the number and the last ones.
const LISTED: usize = 8;
/// A longer text is not a misspelt name, and comparing it would take long.
const LONGEST: usize = 128;

/// The cached eggs that come closest to one that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Nearest {
    /// No egg has this name, but some have a similar one. Versions are in ascending order.
    Name { name: String, versions: Vec<String> },
    /// Other versions, in ascending order.
    Versions { name: String, versions: Vec<String> },
    /// Names that contain the text.
    Containing { names: Vec<String> },
    /// Eggs, by file name, whose digest begins with the text. It takes more digits to name one.
    Digits { file_names: Vec<String>, enough: usize },
    /// Eggs, by file name, that another option of the request rules out.
    RuledOut { file_names: Vec<String> },
}

impl fmt::Display for Nearest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { name, versions } => {
                write!(out, "the nearest name is {name} ({})", listed(versions, "versions"))
            }
            Self::Versions { name, versions } => {
                write!(out, "the cache has {name} {}", listed(versions, "versions"))
            }
            Self::Containing { names } => {
                write!(out, "the cache has names that contain it: {}", listed(names, "names"))
            }
            Self::Digits { file_names, enough } => {
                let names = listed(file_names, "eggs");
                write!(out, "the digest of {names} begins so; it takes {enough} digits to name one")
            }
            Self::RuledOut { file_names } => {
                let names = listed(file_names, "eggs");
                write!(out, "the cache has it for another Python, platform or generation: {names}")
            }
        }
    }
}

fn listed(all: &[String], what: &str) -> String {
    match all.len().checked_sub(LISTED) {
        None | Some(0) => all.join(", "),
        Some(more) => {
            format!("in {} {what}, the last are {}", all.len(), all[more..].join(", "))
        }
    }
}

/// The name that is most similar to `wanted`: at most a third of the letters may differ, and at most
/// three. Of several equally similar names, the alphabetically first.
#[must_use]
pub fn nearest(wanted: &str, names: Vec<String>) -> Option<String> {
    let length = wanted.len();
    if length > LONGEST {
        return None;
    }
    let limit = (length / 3).clamp(1, 3);
    let letters = letters(wanted);
    names
        .into_iter()
        // Comparing the letters alone excludes most names, in a tenth of the time.
        .filter(|name| name.len().abs_diff(length) <= limit)
        .filter(|name| letter_distance(&letters, &self::letters(name)) <= 2 * limit)
        .map(|name| (strsim::osa_distance(wanted, &name), name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name)
}

/// How often each letter occurs; letters whose codes are 32 apart count as one.
fn letters(name: &str) -> [u8; 32] {
    let mut counts = [0; 32];
    for byte in name.bytes() {
        let count: &mut u8 = &mut counts[usize::from(byte % 32)];
        *count = count.saturating_add(1);
    }
    counts
}

/// A lower bound of twice the edit distance: replacing one letter changes two counts.
fn letter_distance(one: &[u8; 32], other: &[u8; 32]) -> usize {
    one.iter().zip(other).map(|(one, other)| usize::from(one.abs_diff(*other))).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(wanted: &str, names: &[&str]) -> Option<String> {
        nearest(wanted, names.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn a_misspelt_name_is_found() {
        let names = ["lxml", "zope-interface", "zope-event", "pyramid", "setuptools"];
        for (wanted, meant) in [
            ("zope-interfce", "zope-interface"),
            ("zope-interfcae", "zope-interface"),
            ("lxlm", "lxml"),
            ("pyramids", "pyramid"),
            ("setuptool", "setuptools"),
        ] {
            assert_eq!(of(wanted, &names).as_deref(), Some(meant), "{wanted}");
        }
    }

    #[test]
    fn a_name_unlike_all_others_has_no_suggestion() {
        for wanted in ["", "bar", "numpy", "zope", &"z".repeat(1000)] {
            assert_eq!(of(wanted, &["lxml", "zope-interface"]), None, "{wanted}");
        }
    }

    #[test]
    fn of_equally_similar_names_the_first_is_taken() {
        assert_eq!(of("fooz", &["foox", "fooa", "foob"]).as_deref(), Some("fooa"));
    }

    #[test]
    fn a_long_list_is_cut() {
        let versions = (1..=20).map(|n| n.to_string()).collect();
        let nearest = Nearest::Versions { name: "foo".into(), versions };
        let text = "the cache has foo in 20 versions, the last are 13, 14, 15, 16, 17, 18, 19, 20";
        assert_eq!(nearest.to_string(), text);
    }

    proptest! {
        #[test]
        fn the_letter_distance_is_a_lower_bound(one in "[a-f-]{0,12}", other in "[a-f-]{0,12}") {
            let distance = strsim::osa_distance(&one, &other);
            prop_assert!(letter_distance(&letters(&one), &letters(&other)) <= 2 * distance);
        }
    }
}
