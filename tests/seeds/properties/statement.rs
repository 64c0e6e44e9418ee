//! Properties of the list of withdrawn builds of a remote.

use eggcache::internals::keys::Trusted;
use eggcache::internals::signature::Trust;
use eggcache::internals::statement::{self, MAX_LENGTH, MAX_NUMBER, MAX_WITHDRAWN, Statement};

/// The key that has signed [`SIGNED`] and nothing else. Its secret half is lost.
const KEY: &str = "RWSvPHtDllXTssnDhnrSOrQkH0yqUnQMpNAh6Tnyi/byDGgGmcjbsDq+";
/// A statement that the key has signed.
pub const SIGNED: &str = include_str!("../signed_statement.json");

/// The object of a remote, or a statement that a cache remembers.
pub fn statement(input: &[u8]) -> bool {
    let key = serde_json::from_str::<Trusted>(&format!("{{\"key\":\"{KEY}\"}}")).unwrap();
    let trust = Trust::any(std::slice::from_ref(&key));
    let genuine = statement::signed(SIGNED.as_bytes()).unwrap();
    let seen = statement::checked(&genuine, trust, 0).unwrap().statement;
    remembered(input, &seen);
    let Ok(signed) = statement::signed(input) else { return false };
    assert!(input.trim_ascii_end().len() <= MAX_LENGTH);
    let Ok(found) = statement::checked(&signed, trust, 0) else { return false };
    assert_eq!(signed.entry, genuine.entry, "only this text is signed");
    assert_eq!((found.statement, found.signed_by), (seen, vec![key.key]));
    true
}

/// A statement that nobody has signed, beside one that was seen.
fn remembered(input: &[u8], seen: &Statement) {
    let Ok(found) = serde_json::from_slice::<Statement>(input) else { return };
    if found.check().is_ok() {
        assert!(found.number <= MAX_NUMBER && found.withdrawn.len() <= MAX_WITHDRAWN);
        assert_eq!(serde_json::from_str::<Statement>(&found.text()).unwrap(), found);
    }
    for now in [seen.signed_at, i64::MIN, i64::MAX] {
        assert!(
            statement::judge(None, Some(seen), now).is_err(),
            "a list that was there is not gone"
        );
        if statement::judge(Some(&found), Some(seen), now).is_ok() {
            assert_eq!(found.remote, seen.remote);
            assert!(found.number > seen.number || found == *seen);
            assert!(found.expires_at > now && found.expires_at > seen.signed_at - 86_400);
        }
    }
}
