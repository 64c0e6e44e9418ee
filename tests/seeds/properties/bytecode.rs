//! Properties of the canonical form of compiled files.

use eggcache::internals::canonical_bytecode::canonical;

/// A compiled file.
pub fn bytecode(input: &[u8]) -> bool {
    let Some(once) = canonical(input) else { return false };
    assert!(once.len() <= 3 * input.len(), "a reference takes five bytes, an object two or more");
    assert_eq!(once[..16], input[..16], "the header stays as it is");
    assert!(canonical(&once) == Some(once), "a canonical form is its own");
    true
}
