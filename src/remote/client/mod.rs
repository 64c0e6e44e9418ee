//! Objects on a remote: the few requests that are made of an object store, each waited for by the
//! thread that makes it.
//!
//! One thread of its own does all the input and output, so requests of several threads go on beside
//! each other. How long it may all take is bounded by [`Patience`]. A remote that has failed is done
//! without from then on: the delay is spent once and not for each egg.
//!
//! No error tells an address with what follows a `?`, nor a header: there are secrets in them.

mod backends;
mod error_text;
mod folder;
mod patience;
mod runtime;
mod transfer;

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload, UpdateVersion};

use backends::open;
pub(crate) use error_text::first_line;
use error_text::{is_failure, reason};
pub use patience::Patience;
use runtime::runtime;
use transfer::{Broken, in_time, part, send, send_parts, transfer};

use crate::disk::mmap::Mapped;
use crate::error::{Error, Result};
use crate::remote::config::Remote;
use crate::util::clock::now;
use crate::util::hash::digest::Digest;
use crate::util::progress::Progress;

/// Largest object that is read into memory, in bytes: a list or a set of some ten thousand entries.
const MAX_SMALL: u64 = 32 << 20;
/// Beyond this many bytes a blob is uploaded in parts of as many, which are read one by one.
const PART: usize = 8 << 20;
/// Parts of one upload that are on their way at a time.
const PARTS_ON_THEIR_WAY: usize = 2;
/// What all that are on their way take of memory, in bytes.
const ROOM_FOR_PARTS: usize = 4 * PART;

/// One remote.
#[derive(Debug, Clone)]
pub struct Client {
    name: Arc<str>,
    store: Arc<dyn ObjectStore>,
    prefix: ObjectPath,
    /// Where it is, if it is a folder.
    folder: Option<Arc<Path>>,
    patience: Patience,
    /// What has failed, once something has.
    down: Arc<Mutex<Option<String>>>,
    requests: Arc<AtomicU64>,
}

/// A small object, and what it takes to replace just this version of it.
#[derive(Debug)]
pub struct Fetched {
    pub bytes: Vec<u8>,
    pub version: Version,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(UpdateVersion);

#[cfg(test)]
impl Version {
    pub(crate) fn unknown() -> Self {
        Self(UpdateVersion { e_tag: None, version: None })
    }
}

/// An object in a listing.
#[derive(Debug, Clone)]
pub struct ObjectInfo {
    /// As it was named when it was written.
    pub name: String,
    pub bytes: u64,
    /// Seconds since the Unix epoch, by the clock of the store.
    pub modified_at: i64,
}

impl Client {
    /// A client of a remote. Nothing is asked of it yet.
    ///
    /// # Errors
    /// [`Error::Remote`] if its address or what the environment says of it cannot be understood.
    pub fn new(remote: &Remote, patience: Patience) -> Result<Self> {
        let bad = |error: object_store::Error| Error::Remote {
            name: remote.name.clone(),
            reason: reason(&error),
        };
        // Before any client is made, as that chooses how TLS is done.
        runtime();
        let (store, prefix) = open(remote, patience).map_err(bad)?;
        Ok(Self::of(remote, store, prefix, patience))
    }

    /// A client of a remote that cannot be opened, and is done without from the beginning.
    #[must_use]
    pub fn unusable(remote: &Remote, patience: Patience, reason: &str) -> Self {
        let nothing = Arc::new(InMemory::new());
        let client = Self::of(remote, nothing, ObjectPath::default(), patience);
        client.give_up(reason);
        client
    }

    fn of(
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
            down: Arc::default(),
            requests: Arc::default(),
        }
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many requests were made so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Why this remote is done without, once it is.
    #[must_use]
    pub fn down(&self) -> Option<String> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Does without this remote from now on.
    pub fn give_up(&self, reason: &str) {
        self.down
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(|| reason.to_owned());
    }

    fn path(&self, name: &str) -> ObjectPath {
        name.split('/').fold(self.prefix.clone(), ObjectPath::join)
    }

    fn error(&self, reason: String) -> Error {
        Error::Remote { name: self.name.to_string(), reason }
    }

    /// The error for an answer that nothing was asked for which it could be.
    fn failed(&self, error: &object_store::Error) -> Error {
        let reason = reason(error);
        self.give_up(&reason);
        self.error(reason)
    }

    /// Makes one request and waits for its answer, for as long as patience has it.
    fn ask<T: Send + 'static>(
        &self,
        limit: Option<Duration>,
        request: impl Future<Output = object_store::Result<T>> + Send + 'static,
    ) -> Result<object_store::Result<T>> {
        if let Some(reason) = self.down() {
            return Err(self.error(reason));
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = mpsc::sync_channel(1);
        runtime().spawn(async move {
            let answer = match limit {
                None => Some(request.await),
                Some(limit) => tokio::time::timeout(limit, request).await.ok(),
            };
            let _ = sender.send(answer);
        });
        let failure = match receiver.recv() {
            Ok(Some(answer)) if !answer.as_ref().is_err_and(is_failure) => return Ok(answer),
            Ok(Some(Err(error))) => reason(&error),
            Ok(Some(Ok(_))) => unreachable!("an answer is no failure"),
            Ok(None) => "it does not answer in time".into(),
            Err(_) => "the request was dropped".into(),
        };
        self.give_up(&failure);
        Err(self.error(failure))
    }

    /// Reads a small object; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Remote`]
    pub fn get(&self, name: &str) -> Result<Option<Fetched>> {
        let (store, path) = (self.store.clone(), self.path(name));
        let answer = self.ask(Some(self.patience.answer), async move {
            let found = store.get(&path).await?;
            let version = Version(UpdateVersion {
                e_tag: found.meta.e_tag.clone(),
                version: found.meta.version.clone(),
            });
            let mut bytes = Vec::new();
            let mut stream = found.into_stream();
            while let Some(chunk) = stream.next().await {
                bytes.extend_from_slice(&chunk?);
                if bytes.len() as u64 > MAX_SMALL {
                    let source = format!("{path} is larger than {MAX_SMALL} bytes").into();
                    return Err(object_store::Error::Generic { store: "remote", source });
                }
            }
            Ok(Fetched { bytes, version })
        })?;
        match answer {
            Ok(fetched) => Ok(Some(fetched)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Writes a small object that is not there yet; whether it was not.
    ///
    /// # Errors
    /// [`Error::Remote`]
    pub fn create(&self, name: &str, bytes: Vec<u8>) -> Result<bool> {
        self.put(name, bytes, PutMode::Create)
    }

    /// Writes a small object in place of this version of it, or of none; whether it was still there.
    ///
    /// # Errors
    /// [`Error::Remote`]
    pub fn replace(&self, name: &str, bytes: Vec<u8>, version: Option<&Version>) -> Result<bool> {
        match version {
            None => self.create(name, bytes),
            Some(Version(version)) => self.put(name, bytes, PutMode::Update(version.clone())),
        }
    }

    fn put(&self, name: &str, bytes: Vec<u8>, mode: PutMode) -> Result<bool> {
        let (store, path, folder) = (self.store.clone(), self.path(name), self.folder.clone());
        let answer = self.ask(Some(self.patience.answer), async move {
            let payload = PutPayload::from(bytes);
            match (mode, folder) {
                (PutMode::Update(version), Some(folder)) => {
                    folder::replace(store, folder, path, payload, version).await
                }
                (mode, _) => store.put_opts(&path, payload, mode.into()).await.map(drop),
            }
        })?;
        match answer {
            Ok(()) => Ok(true),
            Err(
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. }
                | object_store::Error::NotModified { .. },
            ) => Ok(false),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Removes an object; one that is not there is removed already.
    ///
    /// # Errors
    /// [`Error::Remote`]
    pub fn remove(&self, name: &str) -> Result<()> {
        let (store, path) = (self.store.clone(), self.path(name));
        match self.ask(Some(self.patience.answer), async move { store.delete(&path).await })? {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Removes an object where that is allowed; whether it is.
    ///
    /// # Errors
    /// [`Error::Remote`]
    pub fn try_remove(&self, name: &str) -> Result<bool> {
        let (store, path) = (self.store.clone(), self.path(name));
        let removed = self.ask(Some(self.patience.answer), async move {
            match store.delete(&path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(true),
                Err(
                    object_store::Error::PermissionDenied { .. }
                    | object_store::Error::Unauthenticated { .. },
                ) => Ok(false),
                Err(error) => Err(error),
            }
        })?;
        removed.map_err(|error| self.failed(&error))
    }

    /// Everything below a folder.
    ///
    /// # Errors
    /// [`Error::Remote`]
    pub fn list(&self, folder: &str) -> Result<Vec<ObjectInfo>> {
        let (store, path, patience) = (self.store.clone(), self.path(folder), self.patience);
        let skipped =
            if self.prefix.as_ref().is_empty() { 0 } else { self.prefix.as_ref().len() + 1 };
        let answer = self.ask(None, async move {
            let (mut listing, mut all) = (store.list(Some(&path)), Vec::new());
            while let Some(meta) = in_time(patience.answer, listing.try_next()).await? {
                all.push(ObjectInfo {
                    name: meta.location.as_ref()[skipped..].to_owned(),
                    bytes: meta.size,
                    modified_at: meta.last_modified.timestamp(),
                });
            }
            Ok(all)
        })?;
        answer.map_err(|error| self.failed(&error))
    }

    /// Length of an object in bytes; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Remote`]
    pub fn length(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.head(name)?.map(|listed| listed.bytes))
    }

    /// What a listing would say of an object; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Remote`]
    pub fn head(&self, name: &str) -> Result<Option<ObjectInfo>> {
        let (store, path) = (self.store.clone(), self.path(name));
        match self.ask(Some(self.patience.answer), async move { store.head(&path).await })? {
            Ok(meta) => Ok(Some(ObjectInfo {
                name: name.to_owned(),
                bytes: meta.size,
                modified_at: meta.last_modified.timestamp(),
            })),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// What time it is by the clock of the store, in seconds since the Unix epoch: when it has written
    /// an object, which is removed again.
    ///
    /// # Errors
    /// [`Error::Remote`]
    pub fn clock(&self, name: &str) -> Result<i64> {
        self.put(name, b"now".to_vec(), PutMode::Overwrite)?;
        let written = self.head(name)?;
        self.remove(name)?;
        // Another process that asks the same may have removed it.
        Ok(written.map_or_else(now, |listed| listed.modified_at))
    }

    /// Writes the bytes of an object somewhere, of which there are to be so many, and answers their
    /// digest; `None` if there is no such object. A transfer that breaks goes on where it broke.
    ///
    /// # Errors
    /// [`Error::Remote`], also if there are more or fewer.
    pub fn download(
        &self,
        name: &str,
        bytes: u64,
        mut into: impl Write,
        progress: &dyn Progress,
    ) -> Result<Option<Digest>> {
        if let Some(reason) = self.down() {
            return Err(self.error(reason));
        }
        // The bytes come through a channel that holds few of them: memory is bounded, and a slow disk
        // slows the transfer.
        let (sender, chunks) = mpsc::sync_channel(16);
        let (store, path, patience) = (self.store.clone(), self.path(name), self.patience);
        self.requests.fetch_add(1, Ordering::Relaxed);
        runtime().spawn(async move {
            let failure = transfer(store, path, bytes, patience, &sender).await.err();
            if let Some(failure) = failure {
                send(&sender, Err(failure)).await;
            }
        });
        let (mut hasher, mut written) = (blake3::Hasher::new(), 0);
        for chunk in chunks {
            if progress.is_over() {
                return Err(self.error(format!("nobody waits for {name} any more")));
            }
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(Broken::Absent) => return Ok(None),
                Err(Broken::Failed(reason)) => {
                    self.give_up(&reason);
                    return Err(self.error(reason));
                }
                Err(Broken::Wrong(reason)) => return Err(self.error(reason)),
            };
            written += chunk.len() as u64;
            if written > bytes {
                return Err(self.error(format!("it sends more than the {bytes} bytes of {name}")));
            }
            hasher.update(&chunk);
            into.write_all(&chunk).map_err(|source| Error::Io {
                action: "write",
                path: name.into(),
                source,
            })?;
            progress.advance(chunk.len() as u64);
        }
        if written < bytes {
            return Err(self.error(format!("it sends {written} of the {bytes} bytes of {name}")));
        }
        Ok(Some(Digest::from(*hasher.finalize().as_bytes())))
    }

    /// Writes an object that may be large, whether it is there or not.
    ///
    /// # Errors
    /// [`Error::Remote`]
    pub(crate) fn upload(&self, name: &str, bytes: Mapped, progress: &dyn Progress) -> Result<()> {
        let length = bytes.len();
        let (store, path, patience) = (self.store.clone(), self.path(name), self.patience);
        let answer = self.ask(None, async move {
            if length <= PART {
                let (payload, _room) = part(&bytes, 0).await;
                let sending = store.put(&path, payload);
                return in_time(patience.sending(length), sending).await.map(drop);
            }
            let mut upload = in_time(patience.answer, store.put_multipart(&path)).await?;
            let sent = match send_parts(upload.as_mut(), &bytes, patience).await {
                Ok(()) => in_time(patience.sending(length), upload.complete()).await.map(drop),
                failed => failed,
            };
            if sent.is_err() {
                let _ = in_time(patience.answer, upload.abort()).await;
            }
            sent
        })?;
        answer.map_err(|error| self.failed(&error))?;
        progress.advance(length as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::time::Instant;

    use super::*;
    use crate::util::progress::Silent;

    /// A client of a web server that gives each connection to `answer`.
    fn client(answer: fn(TcpStream)) -> Client {
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
        Client::new(&Remote::new("web", &url).unwrap(), Patience::BUILD).unwrap()
    }

    /// That something takes no longer than the patience of a build, of three times once: the machine may
    /// have had other things to do.
    fn ends_in_time(attempt: impl Fn()) {
        let took = |_| {
            let begun = Instant::now();
            attempt();
            begun.elapsed()
        };
        assert!((0..3).map(took).any(|took| took < Patience::BUILD.answer * 3 / 2));
    }

    #[test]
    fn a_build_waits_for_a_blob_once_and_not_with_each_attempt() {
        const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
            Content-Length: 100000\r\n\r\n";
        let silent = |stream: TcpStream| {
            std::thread::sleep(Duration::from_mins(1));
            drop(stream);
        };
        let slow = |mut stream: TcpStream| {
            let _ = stream.write_all(HEAD);
            while stream.write_all(b"a").is_ok() {
                std::thread::sleep(Duration::from_millis(100));
            }
        };
        for (answer, says) in
            [(silent as fn(TcpStream), "it does not answer in time"), (slow, "it sends too slowly")]
        {
            ends_in_time(|| {
                let client = client(answer);
                let refused = client.download("a", 100_000, tempfile::tempfile().unwrap(), &Silent);
                assert_eq!(refused.unwrap_err().to_string(), format!("remote web: {says}"));
                assert_eq!(client.down().as_deref(), Some(says));
            });
        }
    }

    #[test]
    fn an_object_of_a_web_server_has_no_empty_folder_in_its_address() {
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
            let client = Client::new(&remote, Patience::BUILD).unwrap();
            assert!(client.get("v1/entries/a").unwrap().is_none());
            assert_eq!(asked.recv().unwrap(), "GET /pool/v1/entries/a HTTP/1.1");
        }
    }

    #[test]
    fn who_may_not_remove_something_is_told_and_may_do_all_else() {
        let client = client(|mut stream| {
            let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
        });
        assert!(!client.try_remove("a").unwrap());
        assert_eq!(client.down(), None);
    }

    #[test]
    fn a_build_does_not_wait_for_a_store_that_is_silent() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let remote = Remote {
            endpoint: Some(url.parse().unwrap()),
            ..Remote::new("store", "s3://eggs").unwrap()
        };
        // Its connections are taken by the system, and by nobody else.
        let client = || Client::new(&remote, Patience::BUILD).unwrap();
        let says = "remote store: it does not answer in time";
        ends_in_time(|| assert_eq!(client().list("v1").unwrap_err().to_string(), says));
        for bytes in [1000, 2 * PART as u64] {
            ends_in_time(|| {
                let file = tempfile::tempfile().unwrap();
                file.set_len(bytes).unwrap();
                let bytes = crate::disk::mmap::map(file).unwrap();
                let refused = client().upload("a", bytes, &Silent).unwrap_err();
                assert_eq!(refused.to_string(), says);
            });
        }
    }
}
