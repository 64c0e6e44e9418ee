//! The check of an entry's signatures: an entry is valid only if a trusted key has signed its exact text.

use std::collections::BTreeSet;

use crate::remote::entry::{BadEntry, RemoteEntry, Signed};
use crate::remote::keys::{Trusted, shown_id};
use crate::util::clock;

/// Checks that one of the keys has signed an entry, and returns what it says.
///
/// # Errors
/// [`BadEntry`]: of several signatures, what is wrong with the one that comes closest.
pub fn verified(signed: &Signed, trusted: &[Trusted], now: i64) -> Result<RemoteEntry, BadEntry> {
    let mut bad = BadEntry::Unsigned;
    for text in &signed.signatures {
        match check(&signed.entry, text, trusted, now) {
            Ok(()) => return signed.unchecked(),
            Err(error) => bad = closer(bad, error),
        }
    }
    Err(bad)
}

/// The ids of the trusted keys that have signed an entry, sorted, whether or not their trust has ended.
#[must_use]
pub fn signers(signed: &Signed, trusted: &[Trusted]) -> Vec<String> {
    let is_valid = |text: &&String| check(&signed.entry, text, trusted, i64::MIN).is_ok();
    let id = |text: &String| {
        let signature = minisign::SignatureBox::from_string(text).ok()?;
        Some(shown_id(signature.keynum()))
    };
    let ids: BTreeSet<String> = signed.signatures.iter().filter(is_valid).filter_map(id).collect();
    ids.into_iter().collect()
}

fn check(entry: &str, signature: &str, trusted: &[Trusted], now: i64) -> Result<(), BadEntry> {
    let malformed = |_| BadEntry::Malformed("its signature is malformed".into());
    let parsed = minisign::SignatureBox::from_string(signature).map_err(malformed)?;
    let id = shown_id(parsed.keynum());
    let Some(trusted) = trusted.iter().find(|it| it.id().is_ok_and(|of| of == id)) else {
        return Err(BadEntry::UnknownKey(id));
    };
    if let Some(until) = trusted.until.filter(|&until| until <= now) {
        return Err(BadEntry::ExpiredKey(id, clock::shown_day(until)));
    }
    let wrong = || BadEntry::WrongSignature(id.clone());
    let key = minisign_verify::PublicKey::from_base64(&trusted.key).map_err(|_| wrong())?;
    let signature = minisign_verify::Signature::decode(signature).map_err(|_| wrong())?;
    key.verify(entry.as_bytes(), &signature, false).map_err(|_| wrong())
}

/// Of two problems, the one that says more.
fn closer(one: BadEntry, other: BadEntry) -> BadEntry {
    let rank = |bad: &BadEntry| match bad {
        BadEntry::WrongSignature(_) => 3,
        BadEntry::ExpiredKey(..) => 2,
        BadEntry::UnknownKey(_) => 1,
        _ => 0,
    };
    if rank(&other) >= rank(&one) { other } else { one }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::remote::entry::tests::entry;
    use crate::remote::keys::{Signer, keygen};

    fn pair(dir: &Path, name: &str) -> (Signer, Trusted) {
        let generated = keygen(&dir.join(name), None).unwrap();
        let signer = Signer::read(&generated.secret, None).unwrap();
        assert_eq!((&signer.public, signer.id()), (&generated.key, generated.id));
        (signer, Trusted { key: generated.key, until: None, note: None })
    }

    #[test]
    fn an_entry_counts_that_a_trusted_key_has_signed() {
        let dir = tempfile::tempdir().unwrap();
        let (key, trusted) = pair(dir.path(), "one");
        let (_, other) = pair(dir.path(), "two");
        let signed = key.signed(&entry()).unwrap();
        assert_eq!(verified(&signed, &[other.clone(), trusted.clone()], 0), Ok(entry()));
        let refused = verified(&signed, &[other], 0);
        assert_eq!(refused, Err(BadEntry::UnknownKey(trusted.id().unwrap())));
        assert!(matches!(verified(&signed, &[], 0), Err(BadEntry::UnknownKey(_))));
        let unsigned = Signed { signatures: Vec::new(), ..signed };
        assert_eq!(verified(&unsigned, &[trusted], 0), Err(BadEntry::Unsigned));
    }

    #[test]
    fn no_bit_of_a_signed_text_or_its_signature_can_be_changed() {
        let dir = tempfile::tempdir().unwrap();
        let (key, trusted) = pair(dir.path(), "key");
        let signed = key.signed(&entry()).unwrap();
        let trusted = [trusted];
        for at in 0..signed.entry.len() {
            let mut text = signed.entry.clone().into_bytes();
            text[at] ^= 1;
            let Ok(entry) = String::from_utf8(text) else { continue };
            let changed = Signed { entry, ..signed.clone() };
            let refused = verified(&changed, &trusted, 0);
            assert!(matches!(refused, Err(BadEntry::WrongSignature(_))), "{at}: {refused:?}");
        }
        // The first line of a signature is a comment that nobody signs.
        let begin = signed.signatures[0].find('\n').unwrap() + 1;
        for at in begin..signed.signatures[0].trim_end().len() {
            let mut text = signed.signatures[0].clone().into_bytes();
            text[at] ^= 1;
            let Ok(text) = String::from_utf8(text) else { continue };
            let changed = Signed { signatures: vec![text], ..signed.clone() };
            assert!(verified(&changed, &trusted, 0).is_err(), "{at}");
        }
    }

    #[test]
    fn an_expired_key_is_named_and_another_signature_counts() {
        let dir = tempfile::tempdir().unwrap();
        let (old, old_trusted) = pair(dir.path(), "old");
        let (new, new_trusted) = pair(dir.path(), "new");
        let old_trusted = Trusted { until: Some(86_400), ..old_trusted };
        let mut signed = old.signed(&entry()).unwrap();
        let trusted = [old_trusted, new_trusted];
        assert_eq!(verified(&signed, &trusted, 86_399), Ok(entry()));
        let refused = verified(&signed, &trusted, 86_400);
        assert_eq!(refused, Err(BadEntry::ExpiredKey(old.id(), "1970-01-02".into())));
        signed.signatures.push(new.sign(&signed.entry).unwrap());
        assert_eq!(verified(&signed, &trusted, 86_400), Ok(entry()));
    }

    #[test]
    fn the_signers_of_an_entry_are_the_trusted_keys_with_a_valid_signature() {
        let dir = tempfile::tempdir().unwrap();
        let (one, one_trusted) = pair(dir.path(), "one");
        let (two, two_trusted) = pair(dir.path(), "two");
        let (unknown, _) = pair(dir.path(), "unknown");
        let trusted = [Trusted { until: Some(1), ..one_trusted }, two_trusted];
        let mut signed = one.signed(&entry()).unwrap();
        assert_eq!(signers(&signed, &trusted), [one.id()]);
        for key in [&two, &unknown, &one] {
            signed.signatures.push(key.sign(&signed.entry).unwrap());
        }
        let mut both = [one.id(), two.id()];
        both.sort();
        assert_eq!(signers(&signed, &trusted), both);
        signed.entry.push(' ');
        assert_eq!(signers(&signed, &trusted), [""; 0]);
    }
}
