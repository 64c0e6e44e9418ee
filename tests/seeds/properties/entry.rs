//! Properties of entries of a remote, and of its lists.

use eggcache::internals::entry::{self, BadEntry, MAX_SIGNATURES, Signed};
use eggcache::internals::keys::Trusted;
use eggcache::internals::signature;

/// The key that has signed [`SIGNED`] and nothing else. Its secret half is lost.
pub const KEY: &str = "RWSbeffniUI8DsVdGTC0WHbk5LoQHPvYenXX/KFSxUO3enItjEhLx/hb";
/// The line of an entry that the key has signed.
pub const SIGNED: &str = include_str!("../signed_entry.json");

/// A list of which at least one entry is signed by the key.
pub fn list(input: &[u8]) -> bool {
    let entries = entry::lines(input);
    assert!(entries.len() <= input.split(|&byte| byte == b'\n').count());
    let again = entry::lines(&entry::text(&entries));
    assert_eq!(again, entries, "a list that is written again has the same entries");
    let genuine = Signed::parse(SIGNED.trim_end()).unwrap();
    let trusted = [serde_json::from_str::<Trusted>(&format!("{{\"key\":\"{KEY}\"}}")).unwrap()];
    let mut is_signed = false;
    for signed in &entries {
        assert!(signed.signatures.len() <= MAX_SIGNATURES);
        match signature::verified(signed, signature::Trust::any(&trusted), 0) {
            Ok(found) => {
                assert_eq!(signed.entry, genuine.entry, "only this text is signed");
                assert_eq!(Ok(found), genuine.unchecked());
                is_signed = true;
            }
            Err(BadEntry::ExpiredKey(..)) => panic!("the key does not expire"),
            Err(_) => {}
        }
        if let Ok(found) = signed.unchecked() {
            let written = Signed { entry: found.text(), signatures: Vec::new() };
            assert_eq!(written.unchecked(), Ok(found));
        }
    }
    is_signed
}
