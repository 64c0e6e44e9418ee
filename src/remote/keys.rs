//! Keys, in minisign's form: the public keys that are trusted, and the secret key that signs. `signature`
//! checks what they have signed.
//!
//! A secret key is read from the file that `EGGCACHE_SIGNING_KEY` names, and never from a command
//! line. No message and no log contains it.

use std::fs;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::disk::files;
use crate::egg::name::normalize_name;
use crate::error::{Error, IoContext, KeyProblem, NotPublic, Result};
use crate::remote::entry::{RemoteEntry, Signed};
use crate::util::clock;
use crate::util::environment::Environment;
use crate::util::glob;

/// Names the file with the secret key that entries are signed with.
pub const KEY_VARIABLE: &str = "EGGCACHE_SIGNING_KEY";
/// What fails if the file of the secret key cannot be read.
pub const READ_SIGNING_KEY: &str = "read the signing key";
/// The password of that file, if it has one.
pub const PASSWORD_VARIABLE: &str = "EGGCACHE_SIGNING_KEY_PASSWORD";

/// The longest file of a key that is read, in bytes.
const MAX_KEY: u64 = 1 << 16;

const COMMENT: &str = "eggcache";

/// How minisign's secret keys begin, in base64: the algorithms of the signature (`Ed`), of the
/// password (none, or scrypt) and of the checksum (`B2`).
const PLAIN: &str = "RWQAAEIy";
const ENCRYPTED: &str = "RWRTY0Iy";

/// The length of the id of a key, in hexadecimal digits.
const ID_LENGTH: usize = 16;

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
    /// Patterns of the projects that its signatures count for, in the form of PEP 503; without any, they
    /// count for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub projects: Vec<String>,
}

impl Trusted {
    /// A key that is trusted without limits.
    #[must_use]
    pub fn new(key: String) -> Self {
        Self { key, until: None, note: None, projects: Vec::new() }
    }

    /// Whether its signatures count for a project.
    #[must_use]
    pub fn covers(&self, project: &str) -> bool {
        let project = normalize_name(project);
        self.projects.is_empty() || self.projects.iter().any(|it| glob::matches(it, &project))
    }

    /// The id of the key, as minisign writes it: 16 hexadecimal digits.
    ///
    /// # Errors
    /// [`Error::NotAPublicKey`]
    pub fn id(&self) -> Result<String> {
        let key = parse(&self.key).ok_or_else(|| not_public(&self.key, NotPublic::NotAKey))?;
        Ok(shown_id(key.keynum()))
    }
}

/// The id of a key that a person gives: the id itself, or as for [`public_key`].
///
/// # Errors
/// [`Error::NotAPublicKey`] if it is none of these.
pub fn id_of(text: &str) -> Result<String> {
    if is_id(text) {
        return Ok(text.to_ascii_uppercase());
    }
    Trusted::new(public_key(text)?).id()
}

fn is_id(text: &str) -> bool {
    text.len() == ID_LENGTH && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn parse(text: &str) -> Option<minisign::PublicKey> {
    minisign::PublicKey::from_base64(text).ok()
}

fn not_public(text: &str, problem: NotPublic) -> Error {
    // It may be the secret key, which has no dot and is longer.
    let is_harmless = text.len() <= 60 || text.contains('.') || Path::new(text).exists();
    Error::NotAPublicKey { shown: if is_harmless { text } else { "this" }.to_owned(), problem }
}

/// The pattern of projects that a person gives, in the form of PEP 503.
///
/// # Errors
/// [`Error::Usage`] if it can match no project.
pub fn project_pattern(text: &str) -> Result<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.*?".contains(c);
    let pattern = normalize_name(text);
    if pattern.is_empty() || !text.chars().all(allowed) {
        let reason = "is not the name of a project, with `*` and `?` as wildcards";
        return Err(Error::Usage(format!("{text:?} {reason}")));
    }
    Ok(pattern)
}

/// The key in the text of a key file: its last line.
fn last_line(text: &str) -> &str {
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().trim()
}

fn is_secret(key: &str) -> bool {
    key.starts_with(PLAIN) || key.starts_with(ENCRYPTED)
}

pub(super) fn shown_id(id: &[u8]) -> String {
    use std::fmt::Write;
    id.iter().rev().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02X}");
        text
    })
}

/// Reads the public key that a person gives: the key itself, or a file that holds it.
///
/// # Errors
/// [`Error::NotAPublicKey`] if it is neither.
pub fn public_key(text: &str) -> Result<String> {
    let path = Path::new(text);
    let content =
        if path.is_file() { Some(files::read_text(path, MAX_KEY).at("read", path)?) } else { None };
    let key = content.as_deref().map_or(text.trim(), last_line);
    if parse(key).is_some() {
        return Ok(key.to_owned());
    }
    let is_name = !path.exists() && (text.contains('.') || !text.starts_with("RW"));
    Err(not_public(
        text,
        match key {
            key if is_secret(key) => NotPublic::Secret,
            key if is_id(key) => NotPublic::Id,
            _ if is_name => NotPublic::NoFile,
            _ => NotPublic::NotAKey,
        },
    ))
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
    /// The signer whose secret key is in the file that `EGGCACHE_SIGNING_KEY` names; `None` if the
    /// variable is not set.
    ///
    /// # Errors
    /// As [`Signer::read`].
    pub fn of(environment: &Environment) -> Result<Option<Self>> {
        match environment.get_os(KEY_VARIABLE).filter(|path| !path.is_empty()) {
            None => Ok(None),
            Some(path) => Self::read(Path::new(path), environment.get(PASSWORD_VARIABLE)).map(Some),
        }
    }

    /// Reads a secret key from a file.
    ///
    /// # Errors
    /// If the file cannot be read, or [`Error::SigningKey`].
    pub fn read(path: &Path, password: Option<&str>) -> Result<Self> {
        let bad = |problem| Error::SigningKey { path: path.to_owned(), problem };
        let mode = path.metadata().at(READ_SIGNING_KEY, path)?.mode() & 0o777;
        let text = files::read_text(path, MAX_KEY).at(READ_SIGNING_KEY, path)?;
        if parse(last_line(&text)).is_some() {
            return Err(bad(KeyProblem::Public));
        }
        if mode & 0o077 != 0 {
            return Err(bad(KeyProblem::Exposed(mode)));
        }
        let key = secret_key(&text, password).map_err(bad)?;
        let public = minisign::PublicKey::from_secret_key(&key);
        let public = public.map_err(|_| bad(KeyProblem::NotAKey))?;
        Ok(Self { key, public: public.to_base64() })
    }

    /// The id of the key.
    #[must_use]
    pub fn id(&self) -> String {
        shown_id(self.key.keynum())
    }

    /// The secret key, in minisign's form.
    pub(super) fn secret_bytes(&self) -> Vec<u8> {
        self.key.to_bytes()
    }

    /// # Errors
    /// [`Error::Signing`]
    pub fn sign(&self, entry: &str) -> Result<String> {
        let comment = format!("timestamp:{}", clock::now());
        minisign::sign(None, &self.key, entry.as_bytes(), Some(&comment), Some(COMMENT))
            .map(minisign::SignatureBox::into_string)
            .map_err(|source| Error::Signing { action: "sign an entry", source })
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

/// The secret key in the text of its file.
fn secret_key(text: &str, password: Option<&str>) -> Result<minisign::SecretKey, KeyProblem> {
    let key = minisign::SecretKeyBox::from(text.to_owned());
    let is_encrypted = last_line(text).starts_with(ENCRYPTED);
    match password {
        Some(_) if last_line(text).starts_with(PLAIN) => Err(KeyProblem::NeedsNoPassword),
        None if is_encrypted => Err(KeyProblem::NoPassword),
        None => key.into_unencrypted_secret_key().map_err(|_| KeyProblem::NotAKey),
        Some(password) => {
            key.into_secret_key(Some(password.to_owned())).map_err(|error| match error.kind() {
                minisign::ErrorKind::Verify if is_encrypted => KeyProblem::WrongPassword,
                _ => KeyProblem::NotAKey,
            })
        }
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

/// Generates a key pair: the secret key at `path`, readable by its owner only, and the public key
/// beside it, with `.pub` appended to the name.
///
/// # Errors
/// [`Error::KeyExists`] if one of the two files exists, [`Error::NoFolder`], or if one cannot be written.
pub fn keygen(path: &Path, password: Option<&str>) -> Result<Generated> {
    let failed = |source| Error::Signing { action: "generate a key", source };
    let pair = match password {
        None => minisign::KeyPair::generate_unencrypted_keypair(),
        Some(password) => minisign::KeyPair::generate_encrypted_keypair(Some(password.to_owned())),
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
    let opened = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = match opened {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Error::KeyExists { path: path.to_owned() });
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let folder = path.parent().unwrap_or(path);
            return Err(Error::NoFolder { path: folder.to_owned() });
        }
        opened => opened.at("write", path)?,
    };
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).at("write", path)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    impl Signer {
        /// This key with the id of another one: who generates a key chooses its id.
        pub(crate) fn with_id_of(&self, other: &Self) -> Self {
            // In a secret key, the id follows the algorithms, the salt and the limits.
            let mut secret = self.key.to_bytes();
            secret[54..62].copy_from_slice(other.key.keynum());
            let key = minisign::SecretKey::from_bytes(&secret).unwrap();
            let public = minisign::PublicKey::from_secret_key(&key).unwrap();
            Self { key, public: public.to_base64() }
        }
    }

    fn refused(path: &Path, password: Option<&str>) -> KeyProblem {
        match Signer::read(path, password).unwrap_err() {
            Error::SigningKey { problem, .. } => problem,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn keygen_overwrites_neither_of_the_two_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        keygen(&path, None).unwrap();
        assert!(matches!(keygen(&path, None), Err(Error::KeyExists { path: it }) if it == path));
        fs::remove_file(&path).unwrap();
        let public = dir.path().join("key.pub");
        assert!(matches!(keygen(&path, None), Err(Error::KeyExists { path: it }) if it == public));
        assert!(!path.exists());
    }

    #[test]
    fn keygen_names_a_folder_that_does_not_exist() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("keys");
        let failed = keygen(&folder.join("key"), None);
        assert!(matches!(failed, Err(Error::NoFolder { path }) if path == folder));
    }

    #[test]
    fn a_secret_key_that_others_can_read_is_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = keygen(&dir.path().join("key"), None).unwrap().secret;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(refused(&path, None), KeyProblem::Exposed(0o640));
    }

    #[test]
    fn a_signing_key_that_cannot_be_used_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let plain = keygen(&dir.path().join("plain"), None).unwrap();
        assert_eq!(refused(&plain.secret, Some("secret")), KeyProblem::NeedsNoPassword);
        assert_eq!(refused(&plain.public, None), KeyProblem::Public);
        let locked = keygen(&dir.path().join("locked"), Some("secret")).unwrap();
        assert!(Signer::read(&locked.secret, Some("secret")).is_ok());
        assert_eq!(refused(&locked.secret, None), KeyProblem::NoPassword);
        assert_eq!(refused(&locked.secret, Some("other")), KeyProblem::WrongPassword);
        let text = fs::read_to_string(&plain.secret).unwrap();
        for broken in [String::new(), "a\nb\n".to_owned(), text.replace("RWQAAEIy", "RWQAAEIyA")] {
            fs::write(&plain.secret, broken).unwrap();
            assert_eq!(refused(&plain.secret, None), KeyProblem::NotAKey);
        }
    }

    #[test]
    fn what_is_not_a_public_key_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let made = keygen(&dir.path().join("key"), None).unwrap();
        let problem = |text: &str| match public_key(text).unwrap_err() {
            Error::NotAPublicKey { problem, .. } => problem,
            other => panic!("{other:?}"),
        };
        let name = |path: &Path| path.to_str().unwrap().to_owned();
        assert_eq!(public_key(&name(&made.public)).unwrap(), made.key);
        assert_eq!(problem(&name(&made.secret)), NotPublic::Secret);
        let secret = fs::read_to_string(&made.secret).unwrap();
        assert_eq!(problem(last_line(&secret)), NotPublic::Secret);
        assert_eq!(problem(&name(&dir.path().join("none.pub"))), NotPublic::NoFile);
        assert_eq!(problem("team"), NotPublic::NoFile);
        assert_eq!(problem(&Trusted::new(made.key.clone()).id().unwrap()), NotPublic::Id);
        assert_eq!(problem(&made.key[1..]), NotPublic::NoFile);
        assert_eq!(problem(&made.key[..40]), NotPublic::NotAKey);
        assert_eq!(problem(&name(dir.path())), NotPublic::NotAKey);
    }

    #[test]
    fn a_key_has_the_same_id_however_it_is_given() {
        let dir = tempfile::tempdir().unwrap();
        let made = keygen(&dir.path().join("key"), None).unwrap();
        let file = made.public.to_str().unwrap().to_owned();
        for text in [made.id.to_lowercase(), made.id.clone(), made.key, file] {
            assert_eq!(id_of(&text).unwrap(), made.id);
        }
        for bad in ["", "team", &made.id[1..]] {
            assert!(matches!(id_of(bad), Err(Error::NotAPublicKey { .. })), "{bad}");
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let signer = Signer::read(&keygen(&path, None).unwrap().secret, None).unwrap();
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
