//! The check of an entry's signatures: an entry is valid only if enough trusted keys have signed its exact
//! text.

use std::collections::BTreeSet;

use crate::remote::entry::{BadEntry, RemoteEntry, Signed};
use crate::remote::keys::{Trusted, shown_id};
use crate::util::clock;

/// Whose signatures count, and how many of these keys must have signed.
#[derive(Debug, Clone, Copy)]
pub struct Trust<'a> {
    pub keys: &'a [Trusted],
    pub needed: usize,
}

impl<'a> Trust<'a> {
    /// One signature by any of these keys is enough.
    #[must_use]
    pub fn any(keys: &'a [Trusted]) -> Self {
        Self { keys, needed: 1 }
    }
}

/// Checks that enough of the keys have signed an entry, and returns what it says. Several signatures by
/// one key count once, and a signature counts only for the projects of its key.
///
/// # Errors
/// [`BadEntry`]: how many signatures count, or if none does, what is wrong with the one that comes
/// closest.
pub fn verified(signed: &Signed, trust: Trust<'_>, now: i64) -> Result<RemoteEntry, BadEntry> {
    counted(signed, trust, now).0
}

/// As [`verified`], with the number of signatures that were checked and are wrong.
pub fn counted(
    signed: &Signed,
    trust: Trust<'_>,
    now: i64,
) -> (Result<RemoteEntry, BadEntry>, usize) {
    // Only a text that a trusted key has signed is parsed.
    let (keys, wrong) = tally(signed, trust, now, |key| {
        let project = signed.unchecked()?.key.name;
        let other = || BadEntry::OtherProject(key.id().unwrap_or_default());
        key.covers(&project).then_some(()).ok_or_else(other)
    });
    (keys.and_then(|_| signed.unchecked()), wrong)
}

/// The distinct keys that have signed a text, as many as are needed. `counts` says whether a signature by
/// a key counts for this text.
///
/// # Errors
/// As [`verified`].
pub(super) fn signers<'a>(
    signed: &Signed,
    trust: Trust<'a>,
    now: i64,
    counts: impl Fn(&Trusted) -> Result<(), BadEntry>,
) -> Result<Vec<&'a Trusted>, BadEntry> {
    tally(signed, trust, now, counts).0
}

/// As [`signers`], with the number of signatures that were checked and are wrong.
fn tally<'a>(
    signed: &Signed,
    trust: Trust<'a>,
    now: i64,
    counts: impl Fn(&Trusted) -> Result<(), BadEntry>,
) -> (Result<Vec<&'a Trusted>, BadEntry>, usize) {
    let (mut bad, mut wrong) = (BadEntry::Unsigned, 0);
    let mut counted: Vec<&Trusted> = Vec::new();
    // A second signature by one of these changes nothing, and is not checked.
    let mut signers: Vec<&Trusted> = Vec::new();
    for text in &signed.signatures {
        match check(&signed.entry, text, trust.keys, &signers, now) {
            Ok(None) => {}
            Ok(Some(key)) => {
                signers.push(key);
                match counts(key) {
                    Ok(()) => counted.push(key),
                    Err(error) => bad = closer(bad, error),
                }
            }
            Err(error) => {
                wrong += usize::from(matches!(error, BadEntry::WrongSignature(_)));
                bad = closer(bad, error);
            }
        }
        if !counted.is_empty() && counted.len() >= trust.needed {
            return (Ok(counted), wrong);
        }
    }
    let bad = match counted.len() {
        0 => bad,
        counted => BadEntry::TooFewSignatures { counted, needed: trust.needed },
    };
    (Err(bad), wrong)
}

/// The ids of the trusted keys that have signed an entry, sorted, whether or not their trust has ended.
#[must_use]
pub fn signer_ids(signed: &Signed, trusted: &[Trusted]) -> Vec<String> {
    let id = |text: &String| check(&signed.entry, text, trusted, &[], i64::MIN).ok()??.id().ok();
    let ids: BTreeSet<String> = signed.signatures.iter().filter_map(id).collect();
    ids.into_iter().collect()
}

/// The ids of the keys that the signatures of an entry name, sorted. Nothing is checked.
#[must_use]
pub fn named_ids(signed: &Signed) -> BTreeSet<String> {
    let id = |text: &String| {
        let parsed = minisign::SignatureBox::from_string(text).ok()?;
        Some(shown_id(parsed.keynum()))
    };
    signed.signatures.iter().filter_map(id).collect()
}

/// The trusted key that has made a signature of exactly this text; `None` if one of the `known` ones may
/// have made it. The owner of a key chooses its id, so several keys can have one.
///
/// # Errors
/// [`BadEntry`] if there is none.
fn check<'a>(
    text: &str,
    signature: &str,
    trusted: &'a [Trusted],
    known: &[&Trusted],
    now: i64,
) -> Result<Option<&'a Trusted>, BadEntry> {
    let malformed = |_| BadEntry::Malformed("its signature is malformed".into());
    let parsed = minisign::SignatureBox::from_string(signature).map_err(malformed)?;
    let id = shown_id(parsed.keynum());
    let of_id = trusted.iter().filter(|it| it.id().is_ok_and(|of| of == id));
    let mut refused = Err(BadEntry::UnknownKey(id.clone()));
    for key in of_id {
        if known.iter().any(|it| it.key == key.key) {
            refused = refused.or(Ok(None));
            continue;
        }
        match check_by(key, &id, text, signature, now) {
            Ok(()) => return Ok(Some(key)),
            Err(error) => {
                refused = Err(refused.err().map_or(error.clone(), |it| closer(it, error)));
            }
        }
    }
    refused
}

/// Checks that a key has made a signature of exactly this text.
fn check_by(
    key: &Trusted,
    id: &str,
    text: &str,
    signature: &str,
    now: i64,
) -> Result<(), BadEntry> {
    if let Some(until) = key.until.filter(|&until| until <= now) {
        return Err(BadEntry::ExpiredKey(id.to_owned(), clock::shown_day(until)));
    }
    let wrong = || BadEntry::WrongSignature(id.to_owned());
    let key = minisign_verify::PublicKey::from_base64(&key.key).map_err(|_| wrong())?;
    let signature = minisign_verify::Signature::decode(signature).map_err(|_| wrong())?;
    key.verify(text.as_bytes(), &signature, false).map_err(|_| wrong())
}

/// Of two problems, the one that says more.
fn closer(one: BadEntry, other: BadEntry) -> BadEntry {
    let rank = |bad: &BadEntry| match bad {
        BadEntry::WrongSignature(_) => 4,
        BadEntry::OtherProject(_) => 3,
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
        (signer, Trusted::new(generated.key))
    }

    #[test]
    fn an_entry_counts_that_a_trusted_key_has_signed() {
        let dir = tempfile::tempdir().unwrap();
        let (key, trusted) = pair(dir.path(), "one");
        let (_, other) = pair(dir.path(), "two");
        let signed = key.signed(&entry()).unwrap();
        assert_eq!(
            verified(&signed, Trust::any(&[other.clone(), trusted.clone()]), 0),
            Ok(entry())
        );
        let refused = verified(&signed, Trust::any(&[other]), 0);
        assert_eq!(refused, Err(BadEntry::UnknownKey(trusted.id().unwrap())));
        assert!(matches!(verified(&signed, Trust::any(&[]), 0), Err(BadEntry::UnknownKey(_))));
        let unsigned = Signed { signatures: Vec::new(), ..signed };
        assert_eq!(verified(&unsigned, Trust::any(&[trusted]), 0), Err(BadEntry::Unsigned));
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
            let refused = verified(&changed, Trust::any(&trusted), 0);
            assert!(matches!(refused, Err(BadEntry::WrongSignature(_))), "{at}: {refused:?}");
        }
        // The first line of a signature is a comment that nobody signs.
        let begin = signed.signatures[0].find('\n').unwrap() + 1;
        for at in begin..signed.signatures[0].trim_end().len() {
            let mut text = signed.signatures[0].clone().into_bytes();
            text[at] ^= 1;
            let Ok(text) = String::from_utf8(text) else { continue };
            let changed = Signed { signatures: vec![text], ..signed.clone() };
            assert!(verified(&changed, Trust::any(&trusted), 0).is_err(), "{at}");
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
        assert_eq!(verified(&signed, Trust::any(&trusted), 86_399), Ok(entry()));
        let refused = verified(&signed, Trust::any(&trusted), 86_400);
        assert_eq!(refused, Err(BadEntry::ExpiredKey(old.id(), "1970-01-02".into())));
        signed.signatures.push(new.sign(&signed.entry).unwrap());
        assert_eq!(verified(&signed, Trust::any(&trusted), 86_400), Ok(entry()));
    }

    #[test]
    fn only_distinct_keys_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let (one, one_trusted) = pair(dir.path(), "one");
        let (two, two_trusted) = pair(dir.path(), "two");
        let keys = [one_trusted, two_trusted];
        let trust = Trust { keys: &keys, needed: 2 };
        let mut signed = one.signed(&entry()).unwrap();
        signed.signatures.push(one.sign(&signed.entry).unwrap());
        let too_few = BadEntry::TooFewSignatures { counted: 1, needed: 2 };
        assert_eq!(verified(&signed, trust, 0), Err(too_few.clone()));
        assert_eq!(too_few.to_string(), "it has 1 of 2 signatures by trusted keys");
        let of_other_text = two.sign("{}").unwrap();
        signed.signatures.push(of_other_text);
        assert_eq!(verified(&signed, trust, 0), Err(too_few));
        signed.signatures.push(two.sign(&signed.entry).unwrap());
        assert_eq!(verified(&signed, trust, 0), Ok(entry()));
    }

    #[test]
    fn the_signature_of_one_of_two_keys_with_one_id_counts() {
        let dir = tempfile::tempdir().unwrap();
        let (key, trusted) = pair(dir.path(), "key");
        let (twin, _) = pair(dir.path(), "twin");
        let twin = twin.with_id_of(&key);
        let limited =
            Trusted { projects: vec!["acme-*".into()], ..Trusted::new(twin.public.clone()) };
        assert_eq!(limited.id().unwrap(), trusted.id().unwrap());
        let signed = key.signed(&entry()).unwrap();
        let of_twin = twin.signed(&entry()).unwrap();
        for keys in [[limited.clone(), trusted.clone()], [trusted.clone(), limited.clone()]] {
            assert_eq!(verified(&signed, Trust::any(&keys), 0), Ok(entry()));
            let refused = verified(&of_twin, Trust::any(&keys), 0);
            assert_eq!(refused, Err(BadEntry::OtherProject(key.id())));
        }
        let both = [limited, trusted].map(|it| Trusted { projects: Vec::new(), ..it });
        let trust = Trust { keys: &both, needed: 2 };
        assert!(verified(&signed, trust, 0).is_err());
        let signatures = [signed.signatures.clone(), of_twin.signatures].concat();
        assert_eq!(verified(&Signed { signatures, ..signed }, trust, 0), Ok(entry()));
    }

    #[test]
    fn wrong_signatures_are_counted_and_repeated_ones_are_not_checked() {
        let dir = tempfile::tempdir().unwrap();
        let (one, one_trusted) = pair(dir.path(), "one");
        let (two, two_trusted) = pair(dir.path(), "two");
        let keys = [one_trusted, two_trusted];
        let good = one.signed(&entry()).unwrap();
        let wrong = two.sign("{}").unwrap();
        for (signatures, expected) in [
            ([&good.signatures[0], &good.signatures[0], &wrong, &wrong], 2),
            ([&wrong, &wrong, &wrong, &good.signatures[0]], 3),
            ([&good.signatures[0]; 4], 0),
        ] {
            let signatures = signatures.map(String::clone).to_vec();
            let line = Signed { signatures, ..good.clone() };
            let (outcome, wrong) = counted(&line, Trust { keys: &keys, needed: 2 }, 0);
            assert_eq!(outcome, Err(BadEntry::TooFewSignatures { counted: 1, needed: 2 }));
            assert_eq!(wrong, expected);
        }
    }

    #[test]
    fn a_key_counts_only_for_its_projects() {
        let dir = tempfile::tempdir().unwrap();
        let (key, trusted) = pair(dir.path(), "key");
        let signed = key.signed(&entry()).unwrap();
        for (projects, expected) in [
            (&["foo"][..], true),
            (&["acme-*", "f?o"], true),
            (&["*"], true),
            (&["acme-*"], false),
            (&["fo", "oo"], false),
        ] {
            let projects = projects.iter().map(|&it| it.into()).collect();
            let keys = [Trusted { projects, ..trusted.clone() }];
            let found = verified(&signed, Trust::any(&keys), 0);
            if expected {
                assert_eq!(found, Ok(entry()), "{keys:?}");
            } else {
                assert_eq!(found, Err(BadEntry::OtherProject(key.id())), "{keys:?}");
            }
        }
    }

    #[test]
    fn the_signers_of_an_entry_are_the_trusted_keys_with_a_valid_signature() {
        let dir = tempfile::tempdir().unwrap();
        let (one, one_trusted) = pair(dir.path(), "one");
        let (two, two_trusted) = pair(dir.path(), "two");
        let (unknown, _) = pair(dir.path(), "unknown");
        let trusted = [Trusted { until: Some(1), ..one_trusted }, two_trusted];
        let mut signed = one.signed(&entry()).unwrap();
        assert_eq!(signer_ids(&signed, &trusted), [one.id()]);
        for key in [&two, &unknown, &one] {
            signed.signatures.push(key.sign(&signed.entry).unwrap());
        }
        let mut both = [one.id(), two.id()];
        both.sort();
        assert_eq!(signer_ids(&signed, &trusted), both);
        signed.entry.push(' ');
        assert_eq!(signer_ids(&signed, &trusted), [""; 0]);
        let named = [one.id(), two.id(), unknown.id()];
        assert_eq!(named_ids(&signed), named.into());
    }
}
