//! What may have been meant by a name that nothing has.

use std::fmt;

/// How many versions a sentence lists before it only counts them.
const LISTED: usize = 8;
/// A longer word is no misspelt name, and would take long to compare.
const LONGEST: usize = 128;

/// What the cache has in place of an egg that it does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Nearest {
    /// No egg of that name, but some of one that is spelt much like it. Versions are in their order.
    Name { name: String, versions: Vec<String> },
    /// Other versions, in their order.
    Versions { name: String, versions: Vec<String> },
    /// Eggs, by their file names, which something else that was asked for rules out.
    RuledOut { file_names: Vec<String> },
}

impl fmt::Display for Nearest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { name, versions } => {
                write!(out, "the nearest name is {name} ({})", listed(versions, "versions"))
            }
            Self::Versions { name, versions } => {
                write!(out, "it has {name} {}", listed(versions, "versions"))
            }
            Self::RuledOut { file_names } => {
                let names = listed(file_names, "eggs");
                write!(out, "what it has is of another Python, platform or generation: {names}")
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

/// The name that `wanted` was most likely to be: a third of it may be wrong, and three letters at
/// most. Of several that are equally near, the first of the alphabet.
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
        // Most names are told from it by their letters alone, which takes a tenth of the time.
        .filter(|name| name.len().abs_diff(length) <= limit)
        .filter(|name| far_apart(&letters, &self::letters(name)) <= 2 * limit)
        .map(|name| (strsim::osa_distance(wanted, &name), name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name)
}

/// How often each letter occurs; letters that are 32 apart count as one.
fn letters(name: &str) -> [u8; 32] {
    let mut counts = [0; 32];
    for byte in name.bytes() {
        let count: &mut u8 = &mut counts[usize::from(byte % 32)];
        *count = count.saturating_add(1);
    }
    counts
}

/// No more than twice the number of letters that differ: to replace one changes two counts.
fn far_apart(one: &[u8; 32], other: &[u8; 32]) -> usize {
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
    fn a_name_that_is_misspelt_is_found() {
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
    fn a_name_that_is_like_no_other_has_no_nearest() {
        for wanted in ["", "bar", "numpy", "zope", &"z".repeat(1000)] {
            assert_eq!(of(wanted, &["lxml", "zope-interface"]), None, "{wanted}");
        }
    }

    #[test]
    fn of_names_that_are_equally_near_the_first_is_taken() {
        assert_eq!(of("fooz", &["foox", "fooa", "foob"]).as_deref(), Some("fooa"));
    }

    #[test]
    fn a_long_list_is_cut() {
        let versions = (1..=20).map(|n| n.to_string()).collect();
        let nearest = Nearest::Versions { name: "foo".into(), versions };
        let text = "it has foo in 20 versions, the last are 13, 14, 15, 16, 17, 18, 19, 20";
        assert_eq!(nearest.to_string(), text);
    }

    proptest! {
        #[test]
        fn what_letters_tell_apart_is_far_apart(one in "[a-f-]{0,12}", other in "[a-f-]{0,12}") {
            let distance = strsim::osa_distance(&one, &other);
            prop_assert!(far_apart(&letters(&one), &letters(&other)) <= 2 * distance);
        }
    }
}
