//! The bytes of blobs on their way: a few of them in memory at a time, and for as long as they come.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use object_store::path::Path as ObjectPath;
use object_store::{GetOptions, MultipartUpload, ObjectStore, PutPayload};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::{JoinError, JoinSet};

use super::error_text::reason;
use super::{PART, PARTS_ON_THEIR_WAY, Patience, ROOM_FOR_PARTS};
use crate::disk::mmap::Mapped;

/// Sends the parts of a large object, and waits until all have arrived.
pub(super) async fn send_parts(
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
        if parts.len() >= PARTS_ON_THEIR_WAY {
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

/// Waits so long for an answer.
pub(super) async fn in_time<T>(
    limit: Duration,
    request: impl Future<Output = object_store::Result<T>>,
) -> object_store::Result<T> {
    tokio::time::timeout(limit, request).await.unwrap_or_else(|_| {
        let source = "it does not answer in time".into();
        Err(object_store::Error::Generic { store: "remote", source })
    })
}

/// A part of an object in memory, and the room that it takes there as long as it is on its way.
pub(super) async fn part(bytes: &Mapped, begin: usize) -> (PutPayload, SemaphorePermit<'static>) {
    static ROOM: Semaphore = Semaphore::const_new(ROOM_FOR_PARTS);
    let end = bytes.len().min(begin + PART);
    let length = u32::try_from(end - begin).expect("a part is small");
    let room = ROOM.acquire_many(length).await.expect("nobody closes it");
    let mut copy = Vec::with_capacity(end - begin);
    for piece in bytes[begin..end].chunks(1 << 20) {
        copy.extend_from_slice(piece);
        bytes.forget();
    }
    (PutPayload::from(copy), room)
}

/// What ends a transfer.
pub(super) enum Broken {
    Absent,
    /// The remote is done without.
    Failed(String),
    /// This object is.
    Wrong(String),
}

/// What keeps a transfer from going on.
enum Interrupted {
    /// Whoever waits has waited long enough.
    Slow,
    Broken(String),
}

pub(super) type Chunk = Result<Vec<u8>, Broken>;

/// How far a transfer had come when it last made progress.
struct Pace {
    /// Bytes that had arrived.
    from: u64,
    since: Instant,
}

/// Sends the bytes of an object, and goes on where a transfer breaks as long as there is progress.
pub(super) async fn transfer(
    store: Arc<dyn ObjectStore>,
    path: ObjectPath,
    bytes: u64,
    patience: Patience,
    sender: &mpsc::SyncSender<Chunk>,
) -> Result<(), Broken> {
    let (mut at, mut broken_at) = (0, None);
    let mut pace = Pace { from: 0, since: Instant::now() };
    while at < bytes || broken_at.is_none() {
        let range = (at > 0).then(|| (at..bytes).into());
        let options = GetOptions { range, ..GetOptions::default() };
        let left = patience.answer.saturating_sub(pace.since.elapsed());
        let failure = match tokio::time::timeout(left, store.get_opts(&path, options)).await {
            Err(_) => return Err(Broken::Failed("it does not answer in time".into())),
            Ok(Err(object_store::Error::NotFound { .. })) => return Err(Broken::Absent),
            Ok(Err(error)) => reason(&error),
            Ok(Ok(found)) if found.meta.size != bytes => {
                let reason = format!("{path} has {} bytes in place of {bytes}", found.meta.size);
                return Err(Broken::Wrong(reason));
            }
            Ok(Ok(found)) => match pass_on(found, &mut at, &mut pace, patience, sender).await {
                Ok(()) => return Ok(()),
                Err(Interrupted::Slow) => {
                    return Err(Broken::Failed("it sends too slowly".into()));
                }
                Err(Interrupted::Broken(failure)) => failure,
            },
        };
        // A few bytes with each attempt would take forever, and so would a wait for each.
        if broken_at == Some(pace.from) || pace.since.elapsed() >= patience.answer {
            return Err(Broken::Failed(failure));
        }
        broken_at = Some(pace.from);
    }
    Ok(())
}

async fn pass_on(
    found: object_store::GetResult,
    at: &mut u64,
    pace: &mut Pace,
    patience: Patience,
    sender: &mpsc::SyncSender<Chunk>,
) -> Result<(), Interrupted> {
    let mut stream = found.into_stream();
    let mut begun = Instant::now();
    loop {
        let left = patience.stall.saturating_sub(pace.since.max(begun).elapsed());
        let chunk = match tokio::time::timeout(left, stream.next()).await {
            Err(_) => return Err(Interrupted::Slow),
            Ok(None) => return Ok(()),
            Ok(Some(chunk)) => chunk.map_err(|error| Interrupted::Broken(reason(&error)))?,
        };
        *at += chunk.len() as u64;
        let waited = Instant::now();
        if !send(sender, Ok(chunk.to_vec())).await {
            return Ok(());
        }
        if *at >= pace.from + Patience::LEAST {
            *pace = Pace { from: *at, since: Instant::now() };
        } else {
            // What the disk takes is not the remote's.
            pace.since += waited.elapsed();
            begun += waited.elapsed();
        }
    }
}

/// Hands a chunk over without keeping the other transfers waiting; whether anybody wants it.
pub(super) async fn send(sender: &mpsc::SyncSender<Chunk>, mut chunk: Chunk) -> bool {
    loop {
        chunk = match sender.try_send(chunk) {
            Ok(()) => return true,
            Err(mpsc::TrySendError::Disconnected(_)) => return false,
            Err(mpsc::TrySendError::Full(back)) => back,
        };
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
