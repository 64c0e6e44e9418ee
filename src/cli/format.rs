//! Counts and names as reports show them. Sizes, times and plurals are in [`crate::util::units`].

use crate::util::units::counted;

use super::print::{BAD, GOOD};

pub fn eggs(count: usize) -> String {
    counted(count, "egg")
}

/// The verdict of a check of some kind: how many problems there are, and how many were repaired.
pub fn verdict(problems: usize, repaired: usize) -> String {
    match (problems, repaired) {
        (0, 0) => format!("{GOOD}no problems{GOOD:#}"),
        (0, _) => format!("{GOOD}{} repaired{GOOD:#}", counted(repaired, "problem")),
        (_, 0) => format!("{BAD}{}{BAD:#}", counted(problems, "problem")),
        _ => format!("{} repaired, {BAD}{problems} not{BAD:#}", counted(repaired, "problem")),
    }
}

/// The first `few` of some names, and how many more there are.
pub fn first_names(names: &[String], few: usize) -> String {
    let shown = names[..names.len().min(few)].join(", ");
    match names.len().saturating_sub(few) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Items as a sentence lists them: `a, b and c`.
pub fn listed(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// A field of an egg key, which is empty if any value will do.
pub fn or_any(text: &str) -> String {
    if text.is_empty() { "any".into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_of_names_are_cut() {
        let names = ["a", "b", "c"].map(String::from);
        assert_eq!(first_names(&names, 3), "a, b, c");
        assert_eq!(first_names(&names, 2), "a, b and 1 more");
        assert_eq!(first_names(&names, usize::MAX), "a, b, c");
    }

    #[test]
    fn items_are_joined_as_in_a_sentence() {
        let items = ["a", "b", "c"].map(String::from);
        assert_eq!([0, 1, 2, 3].map(|n| listed(&items[..n])), ["", "a", "a and b", "a, b and c"]);
    }
}
