//! The store of a remote, from its address and the environment.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::path::Path as ObjectPath;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use super::Patience;
use super::folder_store::FolderStore;
use super::http::{Connector, Logged, USER_AGENT};
use crate::remote::config::Remote;
use crate::util::environment::Environment;

/// A store, and where a remote begins in it.
pub(super) struct Opened {
    pub store: Arc<dyn ObjectStore>,
    pub prefix: ObjectPath,
    /// The variables that could hold credentials for it, if requests are anonymous for want of one.
    pub unset: &'static [&'static str],
}

/// The variables that hold credentials for a kind of store.
fn credentials(scheme: &str) -> &'static [&'static str] {
    match scheme {
        "s3" => &[
            "AWS_ACCESS_KEY_ID",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        ],
        "gs" => &[
            "GOOGLE_SERVICE_ACCOUNT",
            "GOOGLE_SERVICE_ACCOUNT_PATH",
            "GOOGLE_SERVICE_ACCOUNT_KEY",
            "GOOGLE_APPLICATION_CREDENTIALS",
        ],
        "az" => &[
            "AZURE_STORAGE_ACCOUNT_KEY",
            "AZURE_STORAGE_ACCESS_KEY",
            "AZURE_STORAGE_SAS_KEY",
            "AZURE_STORAGE_SAS_TOKEN",
            "AZURE_STORAGE_CLIENT_SECRET",
            "AZURE_CLIENT_SECRET",
            "AZURE_FEDERATED_TOKEN_FILE",
        ],
        _ => &[],
    }
}

/// Whether requests to a remote have credentials, from the environment or from the machine.
pub(in crate::remote) fn has_credentials(remote: &Remote, environment: &Environment) -> bool {
    let is_set = |name: &&str| environment.get_os(name).is_some();
    remote.instance_credentials || credentials(remote.url.scheme()).iter().any(is_set)
}

/// The settings of a store in the variables that begin with `prefix`.
fn settings<'e, K: FromStr>(
    environment: &'e Environment,
    prefix: &str,
) -> impl Iterator<Item = (K, &'e str)> {
    let named = environment.iter().filter(move |(name, _)| name.starts_with(prefix));
    named.filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value)))
}

/// Checks what becomes part of a header, where `object_store` expects printable characters. No error shows
/// the value: it may be a secret.
fn check_settings(remote: &Remote, environment: &Environment) -> object_store::Result<()> {
    let refused = |what: &str| {
        let source = format!("{what} has a line break or another unprintable character").into();
        Err(object_store::Error::Generic { store: "remote", source })
    };
    if !remote.region.as_deref().is_none_or(is_printable) {
        return refused("its region");
    }
    let prefix = match remote.url.scheme() {
        "s3" => "AWS_",
        "gs" => "GOOGLE_",
        "az" => "AZURE_",
        _ => return Ok(()),
    };
    let is_header = |name: &str| {
        // Not a text of JSON or a path.
        name.starts_with(prefix)
            && !["_SERVICE_ACCOUNT_KEY", "_FILE", "_PATH", "_CREDENTIALS"]
                .iter()
                .any(|end| name.ends_with(end))
    };
    match environment.iter().find(|(name, value)| is_header(name) && !is_printable(value)) {
        Some((name, _)) => refused(&format!("the environment variable {name}")),
        None => Ok(()),
    }
}

fn is_printable(value: &str) -> bool {
    value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

pub(super) fn open(
    remote: &Remote,
    patience: Patience,
    environment: &Environment,
) -> object_store::Result<Opened> {
    // The author of a foreign remote must not get what this user's environment holds.
    let nothing = Environment::default();
    let is_foreign = remote.foreign.is_some();
    let environment = if is_foreign { &nothing } else { environment };
    check_settings(remote, environment)?;
    let url = remote.url.as_str();
    let retry = retry(patience);
    let endpoint = remote.endpoint.as_ref();
    let plain_http =
        [Some(&remote.url), endpoint].into_iter().flatten().any(|it| it.scheme() == "http");
    let endpoint = endpoint.map(|it| it.as_str().trim_end_matches('/'));
    let options = ClientOptions::new()
        .with_connect_timeout(patience.connect)
        .with_timeout_disabled()
        .with_allow_http(plain_http)
        .with_user_agent(USER_AGENT.parse().expect("it is a header's text"));
    let follows = remote.is_web();
    let connector = Logged::new(remote, Connector { connect_timeout: patience.connect, follows });
    let is_anonymous = is_foreign || !has_credentials(remote, environment);
    let prefix = || ObjectPath::from_url_path(remote.url.path());
    let (store, prefix): (Arc<dyn ObjectStore>, _) = match remote.url.scheme() {
        "s3" => {
            let mut builder = settings(environment, "AWS_")
                .fold(AmazonS3Builder::new(), |it, (key, value)| it.with_config(key, value))
                .with_url(url)
                .with_retry(retry)
                .with_client_options(options)
                .with_http_connector(connector)
                .with_skip_signature(is_anonymous);
            if let Some(endpoint) = endpoint {
                builder = builder.with_endpoint(endpoint);
            }
            if let Some(region) = &remote.region {
                builder = builder.with_region(region);
            }
            (Arc::new(builder.build()?), prefix()?)
        }
        "gs" => {
            let mut builder = GoogleCloudStorageBuilder::new();
            if let Some(path) = environment.get("SERVICE_ACCOUNT") {
                builder = builder.with_service_account_path(path);
            }
            builder = settings(environment, "GOOGLE_")
                .fold(builder, |it, (key, value)| it.with_config(key, value))
                .with_url(url)
                .with_retry(retry)
                .with_client_options(options)
                .with_http_connector(connector)
                .with_skip_signature(is_anonymous);
            if let Some(endpoint) = endpoint {
                builder = builder.with_base_url(endpoint);
            }
            (Arc::new(builder.build()?), prefix()?)
        }
        "az" => {
            let mut builder = settings(environment, "AZURE_")
                .fold(MicrosoftAzureBuilder::new(), |it, (key, value)| it.with_config(key, value));
            if let Some(endpoint) = environment.get("IDENTITY_ENDPOINT") {
                builder = builder.with_msi_endpoint(endpoint);
            }
            builder = builder
                .with_url(url)
                .with_retry(retry)
                .with_client_options(options)
                .with_http_connector(connector)
                .with_skip_signature(is_anonymous);
            if let Some(endpoint) = endpoint {
                builder = builder.with_endpoint(endpoint.to_owned());
            }
            (Arc::new(builder.build()?), prefix()?)
        }
        "file" => {
            let folder = remote.folder().unwrap_or_default();
            let made = if remote.push && !is_foreign { make_folder(remote) } else { Ok(()) };
            let store = made.and_then(|()| FolderStore::open(&folder)).map_err(|source| {
                object_store::Error::Generic { store: "folder", source: source.into() }
            })?;
            (Arc::new(store), ObjectPath::default())
        }
        _ => {
            // It would ask for `/pool//v1`.
            let builder = HttpBuilder::new()
                .with_url(url.trim_end_matches('/'))
                .with_retry(retry)
                .with_client_options(options)
                .with_http_connector(connector);
            (Arc::new(builder.build()?), ObjectPath::default())
        }
    };
    // Setting a variable would not help a foreign remote.
    let could_be_set = is_anonymous && !is_foreign;
    let unset = if could_be_set { credentials(remote.url.scheme()) } else { &[] };
    Ok(Opened { store, prefix, unset })
}

/// Makes the folder of a remote that is one.
///
/// # Errors
/// If it cannot be made.
pub fn make_folder(remote: &Remote) -> std::io::Result<()> {
    remote.folder().map_or(Ok(()), std::fs::create_dir_all)
}

fn retry(patience: Patience) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: patience.most_between,
            // Each wait is longer than the one before, and many clients do not wait as long.
            base: 4.0,
        },
        max_retries: patience.retries,
        retry_timeout: patience.answer,
    }
}
