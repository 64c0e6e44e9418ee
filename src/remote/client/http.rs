//! The HTTP clients of stores, and the log of what they send.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions};
use tracing::debug;

use super::error_text::of_http;
use super::{bounded_answer, redirects};
use crate::remote::config::Remote;

pub(super) const USER_AGENT: &str = concat!("eggcache/", env!("CARGO_PKG_VERSION"));

/// Makes the HTTP clients of stores.
#[derive(Debug)]
pub(super) struct Connector {
    pub connect_timeout: Duration,
    /// Whether redirects are followed, as far as [`redirects`] allows. A store that gets credentials is not
    /// followed anywhere: the target would get a token, or an address with a signature in it.
    pub follows: bool,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        // The credentials of a machine of a cloud come by http.
        let allow_http = options.get_config_value(&ClientConfigKey::AllowHttp);
        let redirects =
            if self.follows { redirects::checked() } else { reqwest::redirect::Policy::none() };
        let client = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(self.connect_timeout)
            .https_only(allow_http.as_deref() != Some("true"))
            .redirect(redirects)
            .build();
        let client = client.map_err(|error| object_store::Error::Generic {
            store: "remote",
            source: error.into(),
        })?;
        Ok(HttpClient::new(client))
    }
}

/// Makes clients that log each request, and bound each answer: a retry is one more line.
#[derive(Debug)]
pub(super) struct Logged<C> {
    remote: Arc<str>,
    connector: C,
}

impl<C> Logged<C> {
    pub fn new(remote: &Remote, connector: C) -> Self {
        Self { remote: remote.name.as_str().into(), connector }
    }
}

impl<C: HttpConnector> HttpConnector for Logged<C> {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = self.connector.connect(options)?;
        Ok(HttpClient::new(LoggedClient { remote: Arc::clone(&self.remote), client }))
    }
}

#[derive(Debug)]
struct LoggedClient {
    remote: Arc<str>,
    client: HttpClient,
}

#[async_trait]
impl HttpService for LoggedClient {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let remote = &*self.remote;
        // Of the address only this: what follows a `?` may be a signature or a token.
        let method = request.method().clone();
        let host = request.uri().host().unwrap_or_default().to_owned();
        let path = request.uri().path().to_owned();
        let limit = bounded_answer::limit(&request);
        let begun = Instant::now();
        let answer = self.client.execute(request).await;
        let ms = begun.elapsed().as_millis();
        match &answer {
            Ok(answer) => {
                let status = answer.status().as_u16();
                debug!(remote, %method, host, path, status, ms, "http");
            }
            Err(error) => debug!(remote, %method, host, path, error = of_http(error), ms, "http"),
        }
        bounded_answer::bounded(limit, answer?).await
    }
}
