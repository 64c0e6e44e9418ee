//! The remotes of a cache: their addresses, the keys that are trusted for them, and which of them built
//! eggs are pushed to. `remotes.json` in the cache has them, in the order in which they are asked.

use std::io::ErrorKind::{NotADirectory, NotFound};
use std::path::{Path, PathBuf};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use url::Url;

use crate::cache::trust::Trust;
use crate::disk::dir::Dir;
use crate::disk::json_file;
use crate::error::{Error, Exposure, IoContext, Owner, Result};
use crate::remote::client;
use crate::remote::entry::MAX_SIGNATURES;
use crate::remote::keys::{KEY_VARIABLE, Trusted};
use crate::remote::signature;
use crate::util::environment::Environment;
use crate::util::suggest::nearest;

pub(super) const FILE_NAME: &str = "remotes.json";

/// The schemes of addresses.
pub const SCHEMES: [&str; 6] = ["s3", "gs", "az", "https", "http", "file"];

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remote {
    pub name: String,
    #[serde(deserialize_with = "read_address")]
    pub url: Url,
    /// The server of a store that is not at Amazon, Google or Azure.
    #[serde(default, deserialize_with = "read_endpoint", skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Url>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Whether built eggs are pushed to it.
    #[serde(default)]
    pub push: bool,
    /// Whether the machine provides the credentials, as a cloud machine does.
    #[serde(default)]
    pub instance_credentials: bool,
    /// Without a trusted key, nothing on the remote is used.
    #[serde(default)]
    pub trusted: Vec<Trusted>,
    /// How many of the trusted keys must have signed an entry.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub signatures_needed: usize,
    /// Whether it is used while its list of withdrawn eggs is stale.
    #[serde(default, skip_serializing_if = "Stale::is_default")]
    pub stale: Stale,
    /// Set if somebody else may have chosen this remote.
    #[serde(skip)]
    pub foreign: Option<Foreign>,
}

/// What to do with a remote whose list of withdrawn eggs is expired, old, not signed or gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stale {
    /// Use it, with a warning.
    #[default]
    Use,
    /// Continue without it.
    Skip,
}

impl Stale {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

fn one() -> usize {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_one(number: &usize) -> bool {
    *number == 1
}

/// Who else may have written the file of a remote. Such a remote gets no credentials, and nothing is pushed
/// or signed there: in a shared cache, a member would choose the host that gets the credentials of all.
/// The eggs that it offers count like others, because a member can put eggs into the cache anyway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    pub exposure: Exposure,
    /// The owner of the file.
    pub owner: Owner,
}

impl Remote {
    /// A remote without trusted keys.
    ///
    /// # Errors
    /// [`Error::Usage`] if the name or the address is invalid.
    pub fn new(name: &str, url: &str) -> Result<Self> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || !name.chars().all(is_plain) {
            let reason = "is not a remote name: use letters, digits, `-`, `_` and `.`";
            return Err(Error::Usage(format!("{name:?} {reason}")));
        }
        Ok(Self {
            name: name.into(),
            url: address(url)?,
            endpoint: None,
            region: None,
            push: false,
            instance_credentials: false,
            trusted: Vec::new(),
            signatures_needed: 1,
            stale: Stale::default(),
            foreign: None,
        })
    }

    /// The remote as people see it: without secrets in its addresses.
    #[must_use]
    pub fn shown(self) -> Self {
        let url = without_secrets(&self.url);
        let endpoint = self.endpoint.as_ref().map(without_secrets);
        Self { url, endpoint, ..self }
    }

    /// Checks that all its options apply to its kind of address.
    ///
    /// # Errors
    /// [`Error::Usage`]
    pub fn check(&self) -> Result<()> {
        let scheme = self.url.scheme();
        let stores = ["s3", "gs", "az"];
        if self.region.as_ref().is_some_and(|region| region.contains(char::is_control)) {
            return Err(Error::Usage("--region has a control character".into()));
        }
        for (option, is_given, schemes) in [
            ("--endpoint", self.endpoint.is_some(), &stores[..]),
            ("--region", self.region.is_some(), &stores[..1]),
            ("--instance-credentials", self.instance_credentials, &stores[..]),
            ("--push", self.push, &["s3", "gs", "az", "file"]),
        ] {
            if is_given && !schemes.contains(&scheme) {
                let reason =
                    format!("{option} does not apply to an address that begins with {scheme}:");
                return Err(Error::Usage(reason));
            }
        }
        if self.signatures_needed > MAX_SIGNATURES {
            let reason = format!("an entry has at most {MAX_SIGNATURES} signatures");
            return Err(Error::Usage(reason));
        }
        Ok(())
    }

    /// Checks that this user or root has chosen it.
    ///
    /// # Errors
    /// [`Error::ForeignRemotes`]
    pub fn check_own(&self) -> Result<()> {
        let names = vec![self.name.clone()];
        self.foreign.as_ref().map_or(Ok(()), |foreign| Err(foreign.refusal(names)))
    }

    /// Whose signatures its entries need.
    #[must_use]
    pub fn trust(&self) -> signature::Trust<'_> {
        signature::Trust { keys: &self.trusted, needed: self.signatures_needed }
    }

    /// Whether signatures by the keys with these ids are enough for an entry of a project.
    #[must_use]
    pub fn accepts(&self, ids: &[String], project: &str, now: i64) -> bool {
        let counts = |it: &&Trusted| {
            it.until.is_none_or(|until| until > now)
                && it.covers(project)
                && it.id().is_ok_and(|id| ids.contains(&id))
        };
        let counted = self.trusted.iter().filter(counts).count();
        counted > 0 && counted >= self.signatures_needed
    }

    /// The trusted key that is this one, in base64. Its trust may have ended.
    #[must_use]
    pub fn trusted(&self, key: &str) -> Option<&Trusted> {
        self.trusted.iter().find(|trusted| trusted.key == key)
    }

    /// Checks that there is a folder, if the remote is one.
    ///
    /// # Errors
    /// [`Error::NoRemoteFolder`]
    pub fn check_folder(&self) -> Result<()> {
        match self.folder() {
            Some(path) if matches!(path.try_exists(), Ok(false)) => {
                Err(Error::NoRemoteFolder { name: self.name.clone(), path })
            }
            _ => Ok(()),
        }
    }

    /// The path of a remote that is a folder.
    #[must_use]
    pub fn folder(&self) -> Option<PathBuf> {
        let is_folder = self.url.scheme() == "file";
        is_folder.then(|| self.url.to_file_path().unwrap_or_default())
    }

    /// Whether it is a web server, which only answers GET.
    #[must_use]
    pub fn is_web(&self) -> bool {
        matches!(self.url.scheme(), "http" | "https")
    }
}

/// Parses the address of a remote, or the absolute path of a folder.
///
/// # Errors
/// [`Error::Usage`] if it is invalid.
fn address(text: &str) -> Result<Url> {
    // Do not repeat an address that may contain a secret.
    let has_control = text.contains(char::is_control);
    let shown = if has_control || text.contains(['@', '?']) { "this" } else { text };
    let usage = |reason: &str| Err(Error::Usage(format!("{shown} {reason}")));
    if has_control {
        return usage("address has a line break or another control character");
    }
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(_) if Path::new(text).is_absolute() => {
            return Url::from_directory_path(text)
                .or_else(|()| usage("is not the address of a remote"));
        }
        Err(_) => {
            let reason = "is not the address of a remote: use the absolute path of a folder, \
                          s3://BUCKET/PREFIX for a store, or https://HOST/PATH for a web server";
            return usage(reason);
        }
    };
    if !url.username().is_empty() || url.password().is_some() {
        let reason = "an address must not have a user or a password: set them in the environment";
        return Err(Error::Usage(reason.into()));
    }
    if !SCHEMES.contains(&url.scheme()) {
        return usage(&format!("has an unknown scheme; use one of {}", SCHEMES.join(", ")));
    }
    if url.scheme() == "file" && (url.has_host() || !is_absolute(text)) {
        return usage("is not a folder of this machine: use file:///PATH, or the path alone");
    }
    if matches!(url.scheme(), "http" | "https") && !has_authority(text) {
        let scheme = url.scheme();
        return usage(&format!("names no host: use {scheme}://HOST/PATH"));
    }
    if !url.has_host() && url.scheme() != "file" {
        let scheme = url.scheme();
        return usage(&format!("names no bucket or container: use {scheme}://NAME/PREFIX"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Error::Usage("the address of a remote must not have a `?` or a `#`".into()));
    }
    Ok(url)
}

/// Reads an address. An error does not repeat it.
fn read_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|error| D::Error::custom(format!("an address is invalid: {error}")))
}

fn read_endpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    read_address(deserializer).map(Some)
}

/// An address without user, password, query and fragment: a file that was written by hand may have a secret
/// there.
#[must_use]
pub fn without_secrets(url: &Url) -> Url {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url
}

/// Whether an address of a file has an absolute path: `file:eggs`, which has none, is parsed as
/// `file:///eggs`.
fn is_absolute(text: &str) -> bool {
    let path = text.split_once(':').map_or("", |(_, path)| path);
    path.starts_with("///") || (path.starts_with('/') && !path.starts_with("//"))
}

/// Whether the address of a web server names its host after two slashes: others are parsed as if they did.
fn has_authority(text: &str) -> bool {
    let rest = text.split_once(':').and_then(|(_, rest)| rest.strip_prefix("//"));
    rest.is_some_and(|rest| !rest.starts_with(['/', '\\']))
}

/// Parses the address of the server of a store.
///
/// # Errors
/// [`Error::Usage`] if it is not an http or https address.
pub fn endpoint(text: &str) -> Result<Url> {
    let url = address(text)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Error::Usage(format!("{text} is not an http or https address")));
    }
    Ok(url)
}

/// The remotes of the cache at `root`, in their order.
pub fn read(root: &Path, trust: &Trust) -> Result<Vec<Remote>> {
    let dir = match root.canonicalize().and_then(|root| Dir::open(&root)) {
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => return Ok(Vec::new()),
        dir => dir.at("open", root)?,
    };
    let read = json_file::read_with_owner::<Vec<Remote>>(&dir, FILE_NAME)?;
    let Some((mut remotes, file)) = read else { return Ok(Vec::new()) };
    if let Some(exposure) = trust.exposure_of(&dir.join(FILE_NAME), &file)
        && !trust.covers(dir.path())
    {
        let owner = Owner::in_metadata(&dir.join(FILE_NAME), &file);
        let foreign = Foreign { exposure, owner };
        for remote in &mut remotes {
            remote.foreign = Some(foreign.clone());
        }
    }
    Ok(remotes)
}

/// Why remotes get none of the credentials in this environment, if that makes a difference to one.
#[must_use]
pub fn withheld(remotes: &[Remote], environment: &Environment) -> Option<Error> {
    let would_get = |remote: &&Remote| {
        remote.foreign.is_some()
            && (client::has_credentials(remote, environment)
                || (remote.push && environment.get_os(KEY_VARIABLE).is_some()))
    };
    let concerned: Vec<&Remote> = remotes.iter().filter(would_get).collect();
    let foreign = concerned.first()?.foreign.as_ref()?;
    Some(foreign.refusal(concerned.iter().map(|remote| remote.name.clone()).collect()))
}

/// Writes the remotes of the cache at `root`. Only this user may write the file from then on.
pub fn write(root: &Path, remotes: &[Remote]) -> Result<()> {
    json_file::write_own(&Dir::open(root).at("write", &root.join(FILE_NAME))?, FILE_NAME, &remotes)
}

impl Foreign {
    fn refusal(&self, remotes: Vec<String>) -> Error {
        let Self { exposure, owner } = self.clone();
        Error::ForeignRemotes { exposure, owner, remotes }
    }
}

/// The index of the remote with this name.
///
/// # Errors
/// [`Error::NoRemote`] with the nearest name.
pub fn position(remotes: &[Remote], name: &str) -> Result<usize> {
    remotes.iter().position(|remote| remote.name == name).ok_or_else(|| Error::NoRemote {
        name: name.into(),
        nearest: nearest(name, remotes.iter().map(|remote| remote.name.clone()).collect()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_unknown_schemes_are_refused() {
        for good in [
            "s3://bucket/eggs",
            "gs://bucket",
            "az://container/eggs",
            "https://eggs.example/pool/",
            "http://127.0.0.1:8080/",
            "file:///srv/eggs",
            "file:/srv/eggs",
            "/srv/me@host",
            "/srv/eggs",
        ] {
            assert!(Remote::new("team", good).is_ok(), "{good}");
        }
        for bad in ["ftp://host/", "eggs", "", "https://host/?token=1", "https://host/#a"] {
            assert!(Remote::new("team", bad).is_err(), "{bad}");
        }
        for bad in ["s3:", "s3:eggs", "s3:/eggs", "s3:///eggs", "gs:eggs", "az:eggs"] {
            let refused = Remote::new("team", bad).unwrap_err().to_string();
            assert!(refused.contains("names no bucket"), "{bad}: {refused}");
        }
        for bad in ["file://host/eggs", "file:eggs", "file://eggs", "file://./eggs"] {
            let refused = Remote::new("team", bad).unwrap_err().to_string();
            assert!(refused.contains("not a folder of this machine"), "{bad}: {refused}");
        }
        for bad in ["s3://bu\ncket", "https://host/a\r\nb", "/srv/\n", "https://host/\u{7f}"] {
            let refused = Remote::new("team", bad).unwrap_err().to_string();
            assert!(!refused.contains('\n') && !refused.contains("bu"), "{refused}");
        }
        for bad in ["", "a b", "a/b", "../a", "a\n"] {
            assert!(Remote::new(bad, "s3://bucket").is_err(), "{bad}");
        }
    }

    #[test]
    fn options_that_do_not_apply_to_an_address_are_refused() {
        let of = |url| Remote::new("team", url).unwrap();
        let endpoint = Some(endpoint("http://127.0.0.1:8333").unwrap());
        for url in ["s3://eggs", "gs://eggs", "az://eggs"] {
            let remote = Remote { endpoint: endpoint.clone(), ..of(url) };
            assert!(Remote { instance_credentials: true, ..remote }.check().is_ok(), "{url}");
        }
        let region = Some("eu-central-1".to_owned());
        assert!(Remote { region: region.clone(), ..of("s3://eggs") }.check().is_ok());
        let refused = |remote: Remote| remote.check().unwrap_err().to_string();
        assert!(refused(Remote { region, ..of("gs://eggs") }).contains("--region"));
        assert!(refused(Remote { endpoint, ..of("/srv/eggs") }).contains("--endpoint"));
        let web = Remote { instance_credentials: true, ..of("https://eggs.example/") };
        assert!(refused(web).contains("--instance-credentials"));
    }

    #[test]
    fn an_address_with_a_secret_is_not_repeated_in_the_error() {
        let refused = |url| Remote::new("team", url).unwrap_err().to_string();
        assert!(refused("https://me:hunter2@host/").contains("environment"));
        for url in ["https://me:hunter2@host/", "ftp://me:hunter2@host/", "https://me:hunter2@a b/"]
        {
            assert!(!refused(url).contains("hunter2"), "{url}");
        }
    }

    #[test]
    fn written_remotes_are_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let read = || read(dir.path(), &Trust::default()).unwrap();
        assert_eq!(read(), []);
        let remotes = [Remote::new("b", "s3://b").unwrap(), Remote::new("a", "/a").unwrap()];
        write(dir.path(), &remotes).unwrap();
        assert_eq!(read(), remotes);
        assert_eq!(position(&remotes, "a").unwrap(), 1);
        let missing = position(&remotes, "c").unwrap_err();
        assert!(matches!(missing, Error::NoRemote { .. }));
    }
}
