//! Files of web servers that are no remotes: archives, and pages of package indexes.
//!
//! Requests carry no credentials. Where a server may send this machine is limited as for redirects.

use std::io::Write;
use std::time::Duration;

use reqwest::header::ACCEPT;
use tokio::sync::mpsc::{Sender, channel};
use url::Url;

use super::error_text::first_line;
use super::http::USER_AGENT;
use super::redirects;
use super::runtime::runtime;
use crate::error::{Error, Result};

const CONNECT: Duration = Duration::from_secs(10);
/// How long a server may send nothing.
const SILENCE: Duration = Duration::from_secs(30);
/// Chunks that wait to be written.
const CHUNKS: usize = 16;

/// A client for such files.
#[derive(Debug, Clone)]
pub struct Web(reqwest::Client);

enum Part {
    /// Where redirects have led.
    Url(Url),
    Bytes(Vec<u8>),
    Failed(String),
}

impl Web {
    pub fn new() -> Result<Self> {
        // First, because it chooses the implementation of TLS.
        runtime()?;
        let client = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .redirect(redirects::checked())
            .build();
        client.map(Self).map_err(|error| Error::Io {
            action: "start",
            path: "the client for web servers".into(),
            source: std::io::Error::other(error),
        })
    }

    /// Whether an address may be asked that a page at `from` names, or that an entry of a remote names.
    #[must_use]
    pub fn may_follow(from: Option<&Url>, to: &Url) -> bool {
        redirects::check(from.map(std::slice::from_ref).unwrap_or_default(), to).is_ok()
    }

    /// Writes what is at an address, which has at most `most` bytes. Returns where redirects have led.
    ///
    /// # Errors
    /// What went wrong, as a sentence.
    pub fn get(
        &self,
        url: &Url,
        accept: &'static str,
        most: u64,
        mut into: impl Write,
    ) -> Result<Url, String> {
        let (sender, mut parts) = channel(CHUNKS);
        let request = self.0.get(url.clone()).header(ACCEPT, accept);
        let runtime = runtime().map_err(|error| error.to_string())?;
        runtime.spawn(async move {
            if let Err(reason) = receive(request, &sender).await {
                let _ = sender.send(Part::Failed(reason)).await;
            }
        });
        let (mut found, mut written) = (url.clone(), 0);
        while let Some(part) = parts.blocking_recv() {
            match part {
                Part::Url(url) => found = url,
                Part::Failed(reason) => return Err(reason),
                Part::Bytes(bytes) => {
                    written += bytes.len() as u64;
                    if written > most {
                        return Err(format!("it sends more than {most} bytes"));
                    }
                    into.write_all(&bytes).map_err(|error| error.to_string())?;
                }
            }
        }
        Ok(found)
    }
}

async fn receive(request: reqwest::RequestBuilder, sender: &Sender<Part>) -> Result<(), String> {
    // Without addresses: there may be secrets in them.
    let failed = |error: reqwest::Error| first_line(&error.without_url().to_string());
    let mut answer = request.send().await.map_err(failed)?;
    if !answer.status().is_success() {
        return Err(format!("it answers {}", answer.status().as_u16()));
    }
    let _ = sender.send(Part::Url(answer.url().clone())).await;
    while let Some(bytes) = answer.chunk().await.map_err(failed)? {
        if sender.send(Part::Bytes(bytes.to_vec())).await.is_err() {
            break;
        }
    }
    Ok(())
}
