//! The client of one remote: a few requests to an object store, each of which the calling thread waits
//! for.
//!
//! One thread of its own does all input and output ([`mod@runtime`]), so requests of several threads run at
//! the same time. [`Patience`] bounds how long they take. A remote that has failed once is not asked
//! again: its delay is spent once, and not for each egg.
//!
//! No error shows the query of an address or a header: there are secrets in them.

mod backends;
mod bounded_answer;
mod error_text;
mod folder;
mod folder_store;
mod http;
mod lines;
mod objects;
mod patience;
mod redirects;
mod runtime;
mod transfer;
mod web;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use tokio::sync::oneshot;

pub(in crate::remote) use backends::has_credentials;
pub use backends::make_folder;
use backends::{Opened, open};
pub(crate) use error_text::first_line;
use error_text::{answer_name, is_failure, reason};
pub use lines::ListEnd;
pub(crate) use lines::MAX_LIST;
pub use objects::{ObjectInfo, Version};
pub use patience::Patience;
use runtime::runtime;
use tracing::{debug, warn};
pub use web::Web;

use crate::error::{Error, Result};
use crate::remote::config::{Remote, without_secrets};
use crate::util::environment::Environment;

/// The client of one remote. Clones share their state.
#[derive(Debug, Clone)]
pub struct Client {
    name: Arc<str>,
    store: Arc<dyn ObjectStore>,
    prefix: ObjectPath,
    /// Its path, if it is a folder.
    folder: Option<Arc<Path>>,
    patience: Patience,
    /// The variables that could hold credentials, if none of them is set.
    unset: &'static [&'static str],
    /// The first failure.
    down: Arc<Mutex<Option<String>>>,
    requests: Arc<AtomicU64>,
}

impl Client {
    /// Opens a remote without a request. Makes the folder of one that built eggs are pushed to.
    ///
    /// # Errors
    /// [`Error::NoRemoteFolder`], or
    /// [`Error::Remote`] if its address or its settings in the environment are invalid.
    pub fn new(remote: &Remote, patience: Patience, environment: &Environment) -> Result<Self> {
        let bad = |error: object_store::Error| Error::Remote {
            name: remote.name.clone(),
            reason: reason(&error),
        };
        if !remote.push {
            remote.check_folder()?;
        }
        // First, because it chooses the implementation of TLS.
        runtime()?;
        let Opened { store, prefix, unset } = open(remote, patience, environment).map_err(bad)?;
        debug!(
            remote = remote.name,
            url = %without_secrets(&remote.url),
            anonymous = !unset.is_empty() || remote.foreign.is_some(),
            "opened a remote"
        );
        Ok(Self { unset, ..Self::with_store(remote, store, prefix, patience) })
    }

    /// The client of a remote that cannot be opened, and is not asked for anything.
    #[must_use]
    pub fn unusable(remote: &Remote, patience: Patience, reason: &str) -> Self {
        let empty = Arc::new(InMemory::new());
        let client = Self::with_store(remote, empty, ObjectPath::default(), patience);
        client.give_up(reason);
        client
    }

    fn with_store(
        remote: &Remote,
        store: Arc<dyn ObjectStore>,
        prefix: ObjectPath,
        patience: Patience,
    ) -> Self {
        Self {
            name: remote.name.as_str().into(),
            store,
            prefix,
            folder: remote.folder().map(Into::into),
            patience,
            unset: &[],
            down: Arc::default(),
            requests: Arc::default(),
        }
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the caller continues without this remote if it fails.
    #[must_use]
    pub fn is_optional(&self) -> bool {
        self.patience.is_optional
    }

    /// How many requests were made so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Why this remote is not asked any more, if it is not.
    #[must_use]
    pub fn down(&self) -> Option<String> {
        self.lock_down().clone()
    }

    /// Asks this remote for nothing from now on.
    pub fn give_up(&self, reason: &str) {
        self.lock_down().get_or_insert_with(|| {
            warn!(remote = &*self.name, reason, "not asked again");
            reason.to_owned()
        });
    }

    fn lock_down(&self) -> MutexGuard<'_, Option<String>> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The path of an object in the store.
    fn path(&self, name: &str) -> ObjectPath {
        name.split('/').fold(self.prefix.clone(), ObjectPath::join)
    }

    fn error(&self, reason: String) -> Error {
        Error::Remote { name: self.name.to_string(), reason }
    }

    /// The reason of a failure, and for a request that was denied which credentials are not set.
    fn reason(&self, error: &object_store::Error) -> String {
        use object_store::Error::{PermissionDenied, Unauthenticated};
        let reason = reason(error);
        match (error, self.unset) {
            (PermissionDenied { .. } | Unauthenticated { .. }, [others @ .., last]) => {
                let others = others.join(", ");
                format!("{reason}; no credentials: {others} and {last} are not set")
            }
            _ => reason,
        }
    }

    /// Gives up after an answer that the request does not allow, and returns the error for it.
    fn failed(&self, error: &object_store::Error) -> Error {
        let reason = self.reason(error);
        self.give_up(&reason);
        self.error(reason)
    }

    /// Counts a request; an error if the remote is not asked any more.
    fn begin_request(&self) -> Result<()> {
        if let Some(reason) = self.down() {
            return Err(self.error(reason));
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Makes one request and waits for its answer, no longer than `limit`. The log names it after `op`
    /// and its object.
    fn ask<T: Send + 'static>(
        &self,
        (op, object): (&str, &str),
        limit: Option<Duration>,
        request: impl Future<Output = object_store::Result<T>> + Send + 'static,
    ) -> Result<object_store::Result<T>> {
        self.begin_request()?;
        let begun = Instant::now();
        let (sender, receiver) = oneshot::channel();
        runtime()?.spawn(async move {
            let answer = match limit {
                None => Some(request.await),
                Some(limit) => tokio::time::timeout(limit, request).await.ok(),
            };
            let _ = sender.send(answer);
        });
        let answer = receiver.blocking_recv();
        let (remote, ms) = (&*self.name, begun.elapsed().as_millis());
        let failure = match answer {
            Ok(Some(answer)) if !answer.as_ref().is_err_and(is_failure) => {
                let outcome = answer.as_ref().err().map_or("ok", answer_name);
                debug!(remote, op, object, outcome, ms, "request");
                return Ok(answer);
            }
            Ok(Some(Err(error))) => self.reason(&error),
            Ok(Some(Ok(_))) => unreachable!("an answer is no failure"),
            Ok(None) => "it does not answer in time".into(),
            Err(_) => "the request was dropped".into(),
        };
        debug!(remote, op, object, failure, ms, "request");
        self.give_up(&failure);
        Err(self.error(failure))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc;

    use super::*;

    /// A client of a web server that gives each connection to `answer`.
    pub(super) fn client(answer: fn(TcpStream)) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                std::thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let _ = stream.read(&mut [0; 4096]);
                    answer(stream);
                });
            }
        });
        Client::new(&Remote::new("web", &url).unwrap(), Patience::BUILD, &Environment::default())
            .unwrap()
    }

    #[test]
    fn addresses_on_a_web_server_have_no_empty_folder() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, asked) = mpsc::channel();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(std::io::Result::ok) {
                let mut request = [0; 4096];
                let length = stream.read(&mut request).unwrap();
                let line = String::from_utf8_lossy(&request[..length]).into_owned();
                sender.send(line.lines().next().unwrap_or_default().to_owned()).unwrap();
                let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
            }
        });
        for path in ["pool", "pool/"] {
            let remote = Remote::new("web", &format!("http://{address}/{path}")).unwrap();
            let client = Client::new(&remote, Patience::BUILD, &Environment::default()).unwrap();
            assert!(client.get("v1/entries/a").unwrap().is_none());
            assert_eq!(asked.recv().unwrap(), "GET /pool/v1/entries/a HTTP/1.1");
        }
    }

    /// The address of a server that answers every request so.
    fn server(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(std::io::Result::ok) {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        format!("http://{address}")
    }

    /// `object_store` keeps the type of this error to itself, so its text is read.
    #[test]
    fn the_text_of_an_answer_is_as_expected() {
        let url = server(
            "HTTP/1.1 400 Bad Request\r\nContent-Length: 66\r\n\r\n\
             <Error><Code>InvalidArgument</Code><Message>hunter2</Message></Err>",
        );
        let remote =
            Remote { endpoint: Some(url.parse().unwrap()), ..Remote::new("s", "s3://e").unwrap() };
        for remote in [remote, Remote::new("s", &url).unwrap()] {
            let client = Client::new(&remote, Patience::BUILD, &Environment::default()).unwrap();
            let refused = client.get("a").unwrap_err().to_string();
            assert_eq!(refused, "remote s: it answers 400 Bad Request (InvalidArgument)");
        }
    }

    #[test]
    fn a_denied_request_names_the_credentials_that_are_not_set() {
        let url = server(
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 47\r\n\r\n\
             <Error><Code>InvalidAccessKeyId</Code></Error>\n",
        );
        let endpoint = Some(url.parse().unwrap());
        let key = [("AWS_ACCESS_KEY_ID", "me"), ("AWS_SECRET_ACCESS_KEY", "hunter2")];
        for (store, with_key, says) in [
            ("s3://eggs", false, "AWS_ACCESS_KEY_ID, AWS_WEB_IDENTITY_TOKEN_FILE, "),
            ("s3://eggs", true, ""),
        ] {
            let remote = Remote { endpoint: endpoint.clone(), ..Remote::new("s", store).unwrap() };
            let environment = key.into_iter().filter(|_| with_key).collect();
            let client = Client::new(&remote, Patience::BUILD, &environment).unwrap();
            let refused = client.get("a").unwrap_err().to_string();
            assert!(refused.contains("access denied (403, InvalidAccessKeyId)"), "{refused}");
            assert!(refused.contains(says) && !refused.contains("hunter2"), "{refused}");
            assert_eq!(refused.contains("are not set"), !with_key, "{refused}");
        }
    }
}
