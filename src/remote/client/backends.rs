//! The store of a remote: what its address and the environment say of it.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::client::{HttpClient, HttpConnector};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{BackoffConfig, ClientConfigKey, ClientOptions, ObjectStore, RetryConfig};

use super::Patience;
use crate::remote::config::Remote;

const USER_AGENT: &str = concat!("eggcache/", env!("CARGO_PKG_VERSION"));

/// Makes the clients of stores that know who asks. They do not go where a server leads: whoever that is
/// would get a token, or an address with a signature in it.
#[derive(Debug)]
struct Straight {
    connect: Duration,
}

impl HttpConnector for Straight {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        // The credentials of a machine of a cloud come by http.
        let allow_http = options.get_config_value(&ClientConfigKey::AllowHttp);
        let client = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(self.connect)
            .https_only(allow_http.as_deref() != Some("true"))
            .redirect(reqwest::redirect::Policy::none())
            .build();
        let client = client.map_err(|error| object_store::Error::Generic {
            store: "remote",
            source: error.into(),
        })?;
        Ok(HttpClient::new(client))
    }
}

pub(super) fn open(
    remote: &Remote,
    patience: Patience,
) -> object_store::Result<(Arc<dyn ObjectStore>, ObjectPath)> {
    let url = remote.url.as_str();
    let retry = RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: patience.most_between,
            // Each wait is longer than the one before, and many clients do not wait as long.
            base: 4.0,
        },
        max_retries: patience.retries,
        retry_timeout: patience.answer,
    };
    let endpoint = remote.endpoint.as_ref();
    let plain_http =
        [Some(&remote.url), endpoint].into_iter().flatten().any(|it| it.scheme() == "http");
    let endpoint = endpoint.map(|it| it.as_str().trim_end_matches('/'));
    let options = ClientOptions::new()
        .with_connect_timeout(patience.connect)
        .with_timeout_disabled()
        .with_allow_http(plain_http)
        .with_user_agent(USER_AGENT.parse().expect("it is a header's text"));
    let straight = Straight { connect: patience.connect };
    let is_set = |names: &[&str]| names.iter().any(|name| std::env::var_os(name).is_some());
    let anonymous = |names: &[&str]| !remote.instance_credentials && !is_set(names);
    let prefix = || ObjectPath::from_url_path(remote.url.path());
    Ok(match remote.url.scheme() {
        "s3" => {
            let mut builder = AmazonS3Builder::from_env()
                .with_url(url)
                .with_retry(retry)
                .with_client_options(options)
                .with_http_connector(straight)
                .with_skip_signature(anonymous(&[
                    "AWS_ACCESS_KEY_ID",
                    "AWS_WEB_IDENTITY_TOKEN_FILE",
                    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                ]));
            if let Some(endpoint) = endpoint {
                builder = builder.with_endpoint(endpoint);
            }
            if let Some(region) = &remote.region {
                builder = builder.with_region(region);
            }
            (Arc::new(builder.build()?), prefix()?)
        }
        "gs" => {
            let mut builder = GoogleCloudStorageBuilder::from_env()
                .with_url(url)
                .with_retry(retry)
                .with_client_options(options)
                .with_http_connector(straight)
                .with_skip_signature(anonymous(&[
                    "GOOGLE_SERVICE_ACCOUNT",
                    "GOOGLE_SERVICE_ACCOUNT_PATH",
                    "GOOGLE_SERVICE_ACCOUNT_KEY",
                    "GOOGLE_APPLICATION_CREDENTIALS",
                ]));
            if let Some(endpoint) = endpoint {
                builder = builder.with_base_url(endpoint);
            }
            (Arc::new(builder.build()?), prefix()?)
        }
        "az" => {
            let mut builder = MicrosoftAzureBuilder::from_env()
                .with_url(url)
                .with_retry(retry)
                .with_client_options(options)
                .with_http_connector(straight)
                .with_skip_signature(anonymous(&[
                    "AZURE_STORAGE_ACCOUNT_KEY",
                    "AZURE_STORAGE_ACCESS_KEY",
                    "AZURE_STORAGE_SAS_KEY",
                    "AZURE_STORAGE_SAS_TOKEN",
                    "AZURE_STORAGE_CLIENT_SECRET",
                    "AZURE_CLIENT_SECRET",
                    "AZURE_FEDERATED_TOKEN_FILE",
                ]));
            if let Some(endpoint) = endpoint {
                builder = builder.with_endpoint(endpoint.to_owned());
            }
            (Arc::new(builder.build()?), prefix()?)
        }
        "file" => {
            let folder = remote.folder().unwrap_or_default();
            std::fs::create_dir_all(&folder).map_err(|source| object_store::Error::Generic {
                store: "folder",
                source: source.into(),
            })?;
            // Others trust in what is there, also after a power cut.
            let store = LocalFileSystem::new_with_prefix(folder)?.with_fsync(true);
            (Arc::new(store), ObjectPath::default())
        }
        _ => {
            // It would ask for `/pool//v1`.
            let builder = HttpBuilder::new()
                .with_url(url.trim_end_matches('/'))
                .with_retry(retry)
                .with_client_options(options);
            (Arc::new(builder.build()?), ObjectPath::default())
        }
    })
}
