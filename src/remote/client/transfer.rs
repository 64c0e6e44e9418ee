//! The bytes of blobs: downloads and uploads that hold only a part of a blob in memory, for as long as
//! bytes keep moving.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use object_store::path::Path as ObjectPath;
use object_store::{GetOptions, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use tokio::sync::mpsc::{Sender, channel};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::{JoinError, JoinSet};
use tracing::debug;

use super::error_text::{is_failure, reason};
use super::runtime::runtime;
use super::{Client, Patience};
use crate::disk::mmap::Mapped;
use crate::error::{Error, OrLog, Result};
use crate::util::hash::digest::Digest;
use crate::util::progress::Progress;

/// A larger blob is uploaded in parts of this many bytes, which are read one by one.
const PART: usize = 8 << 20;
/// Parts of one upload that are sent at the same time.
const PARTS_AT_A_TIME: usize = 2;
/// Memory for the parts of all uploads, in bytes.
const ROOM_FOR_PARTS: usize = 4 * PART;
/// Chunks of one download that wait to be written.
const CHUNKS: usize = 16;

type Chunk = Result<Vec<u8>, Broken>;

/// Why a download has ended early.
enum Broken {
    Absent,
    /// The remote has failed.
    Failed(object_store::Error),
    /// This object is wrong.
    Wrong(String),
}

impl Client {
    /// Writes the bytes of an object to `into` and returns their digest; `None` if it does not exist. A
    /// connection that breaks is resumed at the same byte.
    ///
    /// # Errors
    /// [`Error::Remote`], also if the object does not have exactly this many bytes.
    pub fn download(
        &self,
        name: &str,
        bytes: u64,
        mut into: impl Write,
        progress: &dyn Progress,
    ) -> Result<Option<Digest>> {
        self.begin_request()?;
        let begun = Instant::now();
        // The channel is short: it bounds the memory, and a slow disk slows the download.
        let (sender, mut chunks) = channel(CHUNKS);
        let (store, path, patience) = (self.store.clone(), self.path(name), self.patience);
        runtime()?.spawn(async move {
            if let Err(broken) = receive(store, path, bytes, patience, &sender).await {
                let _ = sender.send(Err(broken)).await;
            }
        });
        let (mut hasher, mut written) = (blake3::Hasher::new(), 0);
        while let Some(chunk) = chunks.blocking_recv() {
            if progress.is_over() {
                return Err(self.error(format!("the download of {name} was cancelled")));
            }
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(Broken::Absent) => return Ok(None),
                Err(Broken::Failed(error)) => return Err(self.failed(&error)),
                Err(Broken::Wrong(reason)) => return Err(self.error(reason)),
            };
            written += chunk.len() as u64;
            if written > bytes {
                return Err(self.error(format!("it sent more than the {bytes} bytes of {name}")));
            }
            hasher.update(&chunk);
            into.write_all(&chunk).map_err(|source| Error::Io {
                action: "write",
                path: name.into(),
                source,
            })?;
            progress.advance(chunk.len() as u64);
        }
        let (remote, ms) = (self.name(), begun.elapsed().as_millis());
        debug!(remote, op = "download", object = name, written, bytes, ms, "request");
        if written < bytes {
            return Err(self.error(format!("it sent {written} of the {bytes} bytes of {name}")));
        }
        Ok(Some(Digest::from(*hasher.finalize().as_bytes())))
    }

    /// Writes an object that may be large, whether it exists or not.
    pub(crate) fn upload(
        &self,
        name: &str,
        bytes: Arc<Mapped>,
        progress: &dyn Progress,
    ) -> Result<()> {
        let length = bytes.len();
        let (store, path, patience) = (self.store.clone(), self.path(name), self.patience);
        let answer = self
            .ask(("upload", name), None, async move { send(store, path, bytes, patience).await })?;
        answer.map_err(|error| self.failed(&error))?;
        progress.advance(length as u64);
        Ok(())
    }

    /// Writes an object of at most [`PART`] bytes if it does not exist. Returns whether it has, which a
    /// store without conditional writes never does.
    pub(crate) fn upload_new(
        &self,
        name: &str,
        bytes: Arc<Mapped>,
        progress: &dyn Progress,
    ) -> Result<bool> {
        let length = bytes.len();
        let (store, path, patience) = (self.store.clone(), self.path(name), self.patience);
        let answer = self.ask(("create", name), None, async move {
            let (payload, _room) = part(&bytes, 0).await;
            let create = store.put_opts(&path, payload, PutMode::Create.into());
            in_time(patience.sending(length), create).await.map(drop)
        })?;
        match answer {
            Ok(()) => progress.advance(length as u64),
            Err(error) if !is_failure(&error) => return Ok(false),
            Err(object_store::Error::NotImplemented { .. }) => return Ok(false),
            Err(error) => return Err(self.failed(&error)),
        }
        Ok(true)
    }
}

/// Waits for an answer, no longer than `limit`.
pub(super) async fn in_time<T>(
    limit: Duration,
    request: impl Future<Output = object_store::Result<T>>,
) -> object_store::Result<T> {
    tokio::time::timeout(limit, request).await.unwrap_or_else(|_| Err(too_slow(SILENT)))
}

const SILENT: &str = "it does not answer in time";

fn too_slow(reason: &'static str) -> object_store::Error {
    object_store::Error::Generic { store: "remote", source: reason.into() }
}

async fn send(
    store: Arc<dyn ObjectStore>,
    path: ObjectPath,
    bytes: Arc<Mapped>,
    patience: Patience,
) -> object_store::Result<()> {
    let length = bytes.len();
    if length <= PART {
        let (payload, _room) = part(&bytes, 0).await;
        return in_time(patience.sending(length), store.put(&path, payload)).await.map(drop);
    }
    let mut upload = in_time(patience.answer, store.put_multipart(&path)).await?;
    let sent = match send_parts(upload.as_mut(), &bytes, patience).await {
        Ok(()) => in_time(patience.sending(length), upload.complete()).await.map(drop),
        failed => failed,
    };
    if sent.is_err() {
        in_time(patience.answer, upload.abort()).await.or_log();
    }
    sent
}

/// Sends the parts of a large object, and waits until all have arrived.
async fn send_parts(
    upload: &mut dyn MultipartUpload,
    bytes: &Mapped,
    patience: Patience,
) -> object_store::Result<()> {
    let mut parts = JoinSet::new();
    let arrived = |part: Option<Result<_, JoinError>>| match part {
        None => Ok(()),
        Some(part) => part.map_err(|source| object_store::Error::JoinError { source })?,
    };
    for begin in (0..bytes.len()).step_by(PART) {
        if parts.len() >= PARTS_AT_A_TIME {
            arrived(parts.join_next().await)?;
        }
        let (payload, room) = part(bytes, begin).await;
        let sending = in_time(patience.sending(payload.content_length()), upload.put_part(payload));
        parts.spawn(async move {
            let sent = sending.await;
            drop(room);
            sent
        });
    }
    while !parts.is_empty() {
        arrived(parts.join_next().await)?;
    }
    Ok(())
}

/// A part of an object in memory, with a permit for the memory that it takes.
async fn part(bytes: &Mapped, begin: usize) -> (PutPayload, SemaphorePermit<'static>) {
    static ROOM: Semaphore = Semaphore::const_new(ROOM_FOR_PARTS);
    let end = bytes.len().min(begin + PART);
    let length = u32::try_from(end - begin).expect("a part is small");
    let room = ROOM.acquire_many(length).await.expect("it is never closed");
    let mut copy = Vec::with_capacity(end - begin);
    for piece in bytes[begin..end].chunks(1 << 20) {
        copy.extend_from_slice(piece);
        bytes.forget();
    }
    (PutPayload::from(copy), room)
}

/// Where a download was when it last made progress.
struct Pace {
    /// Bytes that had arrived.
    from: u64,
    since: Instant,
}

/// Why a connection ended before the last byte.
enum Interrupted {
    TooSlow,
    Broken(object_store::Error),
}

/// Sends the bytes of an object to `sender`. Resumes a connection that breaks, as long as the download
/// makes progress.
async fn receive(
    store: Arc<dyn ObjectStore>,
    path: ObjectPath,
    bytes: u64,
    patience: Patience,
    sender: &Sender<Chunk>,
) -> Result<(), Broken> {
    let (mut at, mut broken_at) = (0, None);
    let mut pace = Pace { from: 0, since: Instant::now() };
    while at < bytes || broken_at.is_none() {
        let range = (at > 0).then(|| (at..bytes).into());
        let options = GetOptions { range, ..GetOptions::default() };
        let left = patience.answer.saturating_sub(pace.since.elapsed());
        let failure = match tokio::time::timeout(left, store.get_opts(&path, options)).await {
            Err(_) => return Err(Broken::Failed(too_slow(SILENT))),
            Ok(Err(object_store::Error::NotFound { .. })) => return Err(Broken::Absent),
            Ok(Err(error)) => error,
            Ok(Ok(found)) if found.meta.size != bytes => {
                let reason = format!("{path} has {} bytes instead of {bytes}", found.meta.size);
                return Err(Broken::Wrong(reason));
            }
            Ok(Ok(found)) => match pass_on(found, &mut at, &mut pace, patience, sender).await {
                Ok(()) => return Ok(()),
                Err(Interrupted::TooSlow) => {
                    return Err(Broken::Failed(too_slow("it sends too slowly")));
                }
                Err(Interrupted::Broken(failure)) => failure,
            },
        };
        // A few bytes for each connection, or a long wait for each, would never end.
        if broken_at == Some(pace.from) || pace.since.elapsed() >= patience.answer {
            return Err(Broken::Failed(failure));
        }
        broken_at = Some(pace.from);
        debug!(object = %path, at, failure = reason(&failure), "resuming a download");
    }
    Ok(())
}

/// Sends the bytes of one connection to `sender`.
async fn pass_on(
    found: object_store::GetResult,
    at: &mut u64,
    pace: &mut Pace,
    patience: Patience,
    sender: &Sender<Chunk>,
) -> Result<(), Interrupted> {
    let mut stream = found.into_stream();
    let mut begun = Instant::now();
    loop {
        let left = patience.stall.saturating_sub(pace.since.max(begun).elapsed());
        let chunk = match tokio::time::timeout(left, stream.next()).await {
            Err(_) => return Err(Interrupted::TooSlow),
            Ok(None) => return Ok(()),
            Ok(Some(chunk)) => chunk.map_err(Interrupted::Broken)?,
        };
        *at += chunk.len() as u64;
        let waited = Instant::now();
        if sender.send(Ok(chunk.to_vec())).await.is_err() {
            // The download was cancelled.
            return Ok(());
        }
        if *at >= pace.from + Patience::LEAST {
            *pace = Pace { from: *at, since: Instant::now() };
        } else {
            // The time that the disk takes does not count.
            pace.since += waited.elapsed();
            begun += waited.elapsed();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::remote::client::tests::client;
    use crate::remote::config::Remote;
    use crate::util::environment::Environment;
    use crate::util::progress::Silent;

    /// Checks that at least one of three attempts takes no longer than the patience of a build: the
    /// machine may be busy during one of them.
    fn ends_in_time(attempt: impl Fn()) {
        let took = |_| {
            let begun = Instant::now();
            attempt();
            begun.elapsed()
        };
        assert!((0..3).map(took).any(|took| took < Patience::BUILD.answer * 3 / 2));
    }

    #[test]
    fn a_build_waits_once_for_a_blob_that_does_not_come() {
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
    fn a_build_does_not_wait_for_a_store_that_is_silent() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let remote = Remote {
            endpoint: Some(url.parse().unwrap()),
            ..Remote::new("store", "s3://eggs").unwrap()
        };
        // The system accepts the connections, and no program reads from them.
        let client = || Client::new(&remote, Patience::BUILD, &Environment::default()).unwrap();
        let says = "remote store: it does not answer in time";
        ends_in_time(|| assert_eq!(client().list("v1").unwrap_err().to_string(), says));
        for bytes in [1000, 2 * PART as u64] {
            ends_in_time(|| {
                let file = tempfile::tempfile().unwrap();
                file.set_len(bytes).unwrap();
                let bytes = crate::disk::mmap::map(file).unwrap();
                let refused = client().upload("a", bytes.into(), &Silent).unwrap_err();
                assert_eq!(refused.to_string(), says);
            });
        }
    }
}
