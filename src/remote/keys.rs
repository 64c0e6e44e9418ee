//! Signatures of entries, in minisign's form: keys that are trusted, and the key that signs.
//!
//! A secret key is read from the file that `EGGCACHE_SIGNING_KEY` names, and never from a command
//! line. It is neither shown nor part of an error.

use std::fs;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, IoContext, Result};
use crate::remote::entry::{BadEntry, RemoteEntry, Signed};
use crate::util::clock;

/// Names the file with the secret key that entries are signed with.
pub const KEY_VARIABLE: &str = "EGGCACHE_SIGNING_KEY";
/// The password of that file, if it has one.
pub const PASSWORD_VARIABLE: &str = "EGGCACHE_SIGNING_KEY_PASSWORD";

const COMMENT: &str = "eggcache";

/// A public key whose signatures count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trusted {
    /// In base64, as minisign writes it: `RW…`, 56 characters.
    pub key: String,
    /// From when on nothing counts that it has signed, in seconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Trusted {
    /// The id of the key, as minisign writes it: 16 hexadecimal digits.
    ///
    /// # Errors
    /// [`Error::Usage`] if it is no key.
    pub fn id(&self) -> Result<String> {
        let key = minisign::PublicKey::from_base64(&self.key).map_err(|_| not_a_key(&self.key))?;
        Ok(shown_id(key.keynum()))
    }
}

fn not_a_key(text: &str) -> Error {
    // Whoever confuses the two keys shall not find the secret one in a log.
    let shown = if text.len() <= 60 { text } else { "this" };
    Error::Usage(format!(
        "{shown} is not a public key: it is the last line of the .pub file that `eggcache keygen` \
         writes, 56 characters that begin with RW"
    ))
}

fn shown_id(id: &[u8]) -> String {
    use std::fmt::Write;
    id.iter().rev().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02X}");
        text
    })
}

/// Reads the public key from what a person gives: the key itself, or a file that has it.
///
/// # Errors
/// [`Error::Usage`] if it is neither.
pub fn public_key(text: &str) -> Result<String> {
    let path = Path::new(text);
    let key = if path.is_file() {
        let content = fs::read_to_string(path).at("read", path)?;
        content.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned()
    } else {
        text.trim().to_owned()
    };
    minisign::PublicKey::from_base64(&key).map_err(|_| not_a_key(text))?;
    Ok(key)
}

/// Checks that one of the keys has signed an entry, and answers what it says.
///
/// # Errors
/// [`BadEntry`]: of several signatures, what is wrong with the one that comes closest.
pub fn open(signed: &Signed, trusted: &[Trusted], now: i64) -> Result<RemoteEntry, BadEntry> {
    let mut bad = BadEntry::Unsigned;
    for text in &signed.signatures {
        match check(&signed.entry, text, trusted, now) {
            Ok(()) => return signed.unchecked(),
            Err(error) => bad = closer(bad, error),
        }
    }
    Err(bad)
}

fn check(entry: &str, signature: &str, trusted: &[Trusted], now: i64) -> Result<(), BadEntry> {
    let malformed = |_| BadEntry::Malformed("its signature is none".into());
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

/// Of two things that are wrong, the one that tells more.
fn closer(one: BadEntry, other: BadEntry) -> BadEntry {
    let rank = |bad: &BadEntry| match bad {
        BadEntry::WrongSignature(_) => 3,
        BadEntry::ExpiredKey(..) => 2,
        BadEntry::UnknownKey(_) => 1,
        _ => 0,
    };
    if rank(&other) >= rank(&one) { other } else { one }
}

/// Signs entries with a secret key.
#[derive(Clone)]
pub struct Signer {
    key: minisign::SecretKey,
    /// The public key that belongs to it, in base64.
    pub public: String,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("public", &self.public).finish_non_exhaustive()
    }
}

impl Signer {
    /// The signer whose secret key is in the file that `EGGCACHE_SIGNING_KEY` names; `None` if it
    /// names none.
    ///
    /// # Errors
    /// As [`Signer::read`].
    pub fn of_environment() -> Result<Option<Self>> {
        match std::env::var_os(KEY_VARIABLE).filter(|path| !path.is_empty()) {
            None => Ok(None),
            Some(path) => Self::read(Path::new(&path)).map(Some),
        }
    }

    /// Reads a secret key from a file.
    ///
    /// # Errors
    /// If it cannot be read, is none, or can be read by others.
    pub fn read(path: &Path) -> Result<Self> {
        let bad = |reason| Error::SigningKey { path: path.to_owned(), reason };
        let mode = path.metadata().at("read", path)?.mode();
        if mode & 0o077 != 0 {
            return Err(bad("others can read it; `chmod 600` it"));
        }
        let text = fs::read_to_string(path).at("read", path)?;
        let key = minisign::SecretKeyBox::from_string(&text)
            .map_err(|_| bad("it is not a secret key of minisign"))?;
        let password = std::env::var(PASSWORD_VARIABLE).ok();
        let key = match password {
            None => key.into_unencrypted_secret_key(),
            Some(password) => key.into_secret_key(Some(password)),
        };
        let key = key.map_err(|_| {
            bad("it has a password; set EGGCACHE_SIGNING_KEY_PASSWORD, or make one without")
        })?;
        let public = minisign::PublicKey::from_secret_key(&key)
            .map_err(|_| bad("it is not a secret key of minisign"))?;
        Ok(Self { key, public: public.to_base64() })
    }

    /// The id of the key.
    #[must_use]
    pub fn id(&self) -> String {
        shown_id(self.key.keynum())
    }

    /// # Errors
    /// [`Error::Usage`] if the system has no randomness.
    pub fn sign(&self, entry: &str) -> Result<String> {
        let comment = format!("timestamp:{}", clock::now());
        minisign::sign(None, &self.key, entry.as_bytes(), Some(&comment), Some(COMMENT))
            .map(minisign::SignatureBox::into_string)
            .map_err(|error| Error::Usage(format!("cannot sign: {error}")))
    }

    /// The signed entry.
    ///
    /// # Errors
    /// As [`Signer::sign`].
    pub fn signed(&self, entry: &RemoteEntry) -> Result<Signed> {
        let entry = entry.text();
        Ok(Signed { signatures: vec![self.sign(&entry)?], entry })
    }
}

/// What `keygen` made.
#[derive(Debug, Serialize)]
pub struct Generated {
    #[serde(serialize_with = "crate::disk::files::lossy")]
    pub secret: PathBuf,
    #[serde(serialize_with = "crate::disk::files::lossy")]
    pub public: PathBuf,
    /// The public key, in base64.
    pub key: String,
    pub id: String,
}

/// Makes a pair of keys: the secret one at `path`, for its owner alone, the public one beside it with
/// `.pub` at the end. It has a password where `EGGCACHE_SIGNING_KEY_PASSWORD` is set.
///
/// # Errors
/// If there is something at `path`, or it cannot be written.
pub fn keygen(path: &Path) -> Result<Generated> {
    let failed = |error: minisign::PError| Error::Usage(format!("cannot make a key: {error}"));
    let pair = match std::env::var(PASSWORD_VARIABLE).ok() {
        None => minisign::KeyPair::generate_unencrypted_keypair(),
        Some(password) => minisign::KeyPair::generate_encrypted_keypair(Some(password)),
    }
    .map_err(failed)?;
    let mut public = path.as_os_str().to_owned();
    public.push(".pub");
    let public = PathBuf::from(public);
    let id = shown_id(pair.pk.keynum());
    let secret = pair.sk.to_box(Some("secret key of eggcache")).map_err(failed)?.into_string();
    write_new(path, &secret, 0o600)?;
    let key = pair.pk.to_base64();
    write_new(&public, &format!("untrusted comment: eggcache public key {id}\n{key}\n"), 0o644)
        .inspect_err(|_| drop(fs::remove_file(path)))?;
    Ok(Generated { secret: path.to_owned(), public, key, id })
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<()> {
    use std::io::Write;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .at("write", path)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).at("write", path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::entry::tests::entry;

    fn pair(dir: &Path, name: &str) -> (Signer, Trusted) {
        let generated = keygen(&dir.join(name)).unwrap();
        let signer = Signer::read(&generated.secret).unwrap();
        assert_eq!((&signer.public, signer.id()), (&generated.key, generated.id));
        (signer, Trusted { key: generated.key, until: None, note: None })
    }

    #[test]
    fn an_entry_counts_that_a_trusted_key_has_signed() {
        let dir = tempfile::tempdir().unwrap();
        let (key, trusted) = pair(dir.path(), "one");
        let (_, other) = pair(dir.path(), "two");
        let signed = key.signed(&entry()).unwrap();
        assert_eq!(open(&signed, &[other.clone(), trusted.clone()], 0), Ok(entry()));
        let refused = open(&signed, &[other], 0);
        assert_eq!(refused, Err(BadEntry::UnknownKey(trusted.id().unwrap())));
        assert!(matches!(open(&signed, &[], 0), Err(BadEntry::UnknownKey(_))));
        let unsigned = Signed { signatures: Vec::new(), ..signed };
        assert_eq!(open(&unsigned, &[trusted], 0), Err(BadEntry::Unsigned));
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
            let refused = open(&changed, &trusted, 0);
            assert!(matches!(refused, Err(BadEntry::WrongSignature(_))), "{at}: {refused:?}");
        }
        // The first line of a signature is a comment that nobody signs.
        let begin = signed.signatures[0].find('\n').unwrap() + 1;
        for at in begin..signed.signatures[0].trim_end().len() {
            let mut text = signed.signatures[0].clone().into_bytes();
            text[at] ^= 1;
            let Ok(text) = String::from_utf8(text) else { continue };
            let changed = Signed { signatures: vec![text], ..signed.clone() };
            assert!(open(&changed, &trusted, 0).is_err(), "{at}");
        }
    }

    #[test]
    fn an_expired_key_is_told_with_its_day_and_another_signature_may_do() {
        let dir = tempfile::tempdir().unwrap();
        let (old, old_trusted) = pair(dir.path(), "old");
        let (new, new_trusted) = pair(dir.path(), "new");
        let old_trusted = Trusted { until: Some(86_400), ..old_trusted };
        let mut signed = old.signed(&entry()).unwrap();
        let trusted = [old_trusted, new_trusted];
        assert_eq!(open(&signed, &trusted, 86_399), Ok(entry()));
        let refused = open(&signed, &trusted, 86_400);
        assert_eq!(refused, Err(BadEntry::ExpiredKey(old.id(), "1970-01-02".into())));
        signed.signatures.push(new.sign(&signed.entry).unwrap());
        assert_eq!(open(&signed, &trusted, 86_400), Ok(entry()));
    }

    #[test]
    fn a_secret_key_that_others_can_read_is_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        keygen(&path).unwrap();
        assert!(matches!(keygen(&path), Err(Error::Io { .. })), "nothing is overwritten");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let refused = Signer::read(&path).unwrap_err().to_string();
        assert!(refused.contains("others can read it"), "{refused}");
    }

    #[test]
    fn no_secret_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let signer = Signer::read(&keygen(&path).unwrap().secret).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let secret = text.lines().last().unwrap();
        assert!(!format!("{signer:?}").contains(secret));
        let refused = public_key(secret).unwrap_err().to_string();
        assert!(!refused.contains(secret), "{refused}");
        assert_eq!(public_key(&signer.public).unwrap(), signer.public);
        let of_file = public_key(dir.path().join("key.pub").to_str().unwrap()).unwrap();
        assert_eq!(of_file, signer.public);
    }
}
