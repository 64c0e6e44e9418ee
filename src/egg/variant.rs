//! The variant of a custom build: a digest of its options and environment.
//!
//! An egg that contains the path of the folder in which it was built has a *bound* variant: that digest, a
//! dot, and a digest of the folder. It is served only there. All others are served in every folder.
//!
//! Without a custom build, the variant says how a buildout wants its wheels compiled
//! (`egg-cache-compile`). It is empty for that of stock buildout.

use crate::util::hash::is_lower_hex;

/// Eggs that uv has installed. The Python package gives it to those that it stores.
pub const UV: &str = "uv";
/// All sources of converted eggs have bytecode, which is checked by the time of the source.
pub const COMPILE_ALL: &str = "compile-all";
/// As [`COMPILE_ALL`], with bytecode that Python does not check.
pub const COMPILE_ALL_UNCHECKED: &str = "compile-all-unchecked-hash";

/// Whether a variant is the wanted one, or that of this folder.
#[must_use]
pub fn is_one_of(variant: &str, wanted: &str, bound: Option<&str>) -> bool {
    variant == wanted || bound == Some(variant)
}

/// Whether a variant is the wanted one, bound to another folder than `bound`.
#[must_use]
pub fn is_bound_elsewhere(variant: &str, wanted: &str, bound: Option<&str>) -> bool {
    let folder = variant.strip_prefix(wanted).and_then(|rest| rest.strip_prefix('.'));
    !wanted.is_empty() && folder.is_some() && bound != Some(variant)
}

/// The digest of the options of a custom build, without the folder that it may be bound to; `None` if the
/// variant is not that of a custom build.
#[must_use]
pub fn digest_of(variant: &str) -> Option<&str> {
    let digest = variant.split('.').next().unwrap_or_default();
    (digest.len() == 64 && is_lower_hex(digest)).then_some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_variant_is_of_one_folder() {
        assert!(is_one_of("ab", "ab", Some("ab.1")));
        assert!(is_one_of("ab.1", "ab", Some("ab.1")));
        for other in ["ab.2", "abc", "", "abc.1"] {
            assert!(!is_one_of(other, "ab", Some("ab.1")), "{other}");
        }
        assert!(is_bound_elsewhere("ab.2", "ab", Some("ab.1")));
        assert!(is_bound_elsewhere("ab.2", "ab", None));
        for other in ["ab", "ab.1", "abc.2", ""] {
            assert!(!is_bound_elsewhere(other, "ab", Some("ab.1")), "{other}");
        }
        assert!(!is_bound_elsewhere(".1", "", None));
    }
}
