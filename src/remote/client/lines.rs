//! Lists and sets, line by line. An object of any length takes the memory of one line and a few chunks.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use object_store::path::Path as ObjectPath;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt};
use tokio::sync::mpsc::{Sender, channel};
use tracing::debug;

use super::Client;
use super::runtime::runtime;
use super::transfer::in_time;
use crate::error::Result;
use crate::util::hash::digest::Digest;

/// Largest list or set that is read, in bytes: one of about ten thousand entries has 12 MB.
pub(crate) const MAX_LIST: u64 = 32 << 20;
/// Longer lines are skipped.
const MAX_LINE: usize = 256 << 10;
/// Chunks of one list that wait to be checked.
const CHUNKS: usize = 2;

/// A part of the object, its end, or why there is no more.
type Chunk = object_store::Result<Part>;

enum Part {
    Bytes(Vec<u8>),
    End,
    /// The object is larger than [`MAX_LIST`].
    TooLarge,
}

/// How the reading of a list ended.
#[derive(Debug, PartialEq, Eq)]
pub enum ListEnd {
    Absent,
    TooLarge,
    /// The caller wanted no more lines.
    Stopped,
    Complete {
        /// Of all its bytes.
        digest: Digest,
        is_empty: bool,
    },
}

impl Client {
    /// Calls `each` with every line of a list or a set while it arrives. The time that `each` takes does
    /// not count as the remote's.
    pub fn read_lines(
        &self,
        name: &str,
        mut each: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<ListEnd> {
        self.begin_request()?;
        let begun = Instant::now();
        let (sender, mut chunks) = channel(CHUNKS);
        let (store, path, limit) = (self.store.clone(), self.path(name), self.patience.answer);
        runtime()?.spawn(async move {
            let end = send_chunks(store, path, limit, &sender).await;
            let _ = sender.send(end).await;
        });
        let (mut lines, mut hasher, mut bytes) = (LineBuffer::default(), blake3::Hasher::new(), 0);
        let end = loop {
            match chunks.blocking_recv() {
                Some(Ok(Part::Bytes(chunk))) => {
                    hasher.update(&chunk);
                    bytes += chunk.len();
                    if lines.add(&chunk, &mut each).is_break() {
                        break ListEnd::Stopped;
                    }
                }
                Some(Ok(Part::TooLarge)) => break ListEnd::TooLarge,
                Some(Ok(Part::End)) => {
                    break match lines.end(&mut each) {
                        ControlFlow::Break(()) => ListEnd::Stopped,
                        ControlFlow::Continue(()) => {
                            let digest = Digest::from(*hasher.finalize().as_bytes());
                            ListEnd::Complete { digest, is_empty: bytes == 0 }
                        }
                    };
                }
                Some(Err(StoreError::NotFound { .. })) => break ListEnd::Absent,
                Some(Err(error)) => return Err(self.failed(&error)),
                None => {
                    let reason = "the request was dropped";
                    self.give_up(reason);
                    return Err(self.error(reason.to_owned()));
                }
            }
        };
        let (remote, ms) = (self.name(), begun.elapsed().as_millis());
        debug!(remote, op = "lines", object = name, bytes, ?end, ms, "request");
        Ok(end)
    }
}

/// Sends the bytes of an object to `sender`. Returns its end, which is still to be sent.
async fn send_chunks(
    store: Arc<dyn ObjectStore>,
    path: ObjectPath,
    limit: Duration,
    sender: &Sender<Chunk>,
) -> object_store::Result<Part> {
    let (begun, mut waited) = (Instant::now(), Duration::ZERO);
    let found = in_time(limit, store.get(&path)).await?;
    if found.meta.size > MAX_LIST {
        return Ok(Part::TooLarge);
    }
    let (mut stream, mut bytes) = (found.into_stream(), 0);
    loop {
        let left = limit.saturating_sub(begun.elapsed().saturating_sub(waited));
        let next = in_time(left, async { Ok(stream.next().await) }).await?;
        let Some(chunk) = next.transpose()? else { return Ok(Part::End) };
        bytes += chunk.len() as u64;
        if bytes > MAX_LIST {
            return Ok(Part::TooLarge);
        }
        let waiting = Instant::now();
        if sender.send(Ok(Part::Bytes(chunk.to_vec()))).await.is_err() {
            // The caller wants no more.
            return Ok(Part::End);
        }
        waited += waiting.elapsed();
    }
}

/// The part of a line that has arrived.
#[derive(Debug, Default)]
struct LineBuffer {
    line: Vec<u8>,
    is_too_long: bool,
}

impl LineBuffer {
    /// Adds bytes, and passes on the lines that they complete.
    fn add(
        &mut self,
        mut bytes: &[u8],
        each: &mut impl FnMut(&str) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        while let Some(at) = bytes.iter().position(|&byte| byte == b'\n') {
            self.push(&bytes[..at]);
            self.end(each)?;
            bytes = &bytes[at + 1..];
        }
        self.push(bytes);
        ControlFlow::Continue(())
    }

    fn push(&mut self, bytes: &[u8]) {
        self.is_too_long |= self.line.len() + bytes.len() > MAX_LINE;
        if !self.is_too_long {
            self.line.extend_from_slice(bytes);
        }
    }

    /// Passes on what has arrived of the line. The last line may have no line end.
    fn end(&mut self, each: &mut impl FnMut(&str) -> ControlFlow<()>) -> ControlFlow<()> {
        let is_wanted = !self.is_too_long && !self.line.is_empty();
        let flow = if is_wanted {
            let text = String::from_utf8_lossy(&self.line);
            each(text.strip_suffix('\r').unwrap_or(&text))
        } else {
            ControlFlow::Continue(())
        };
        self.line.clear();
        self.is_too_long = false;
        flow
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::remote::client::tests::client;

    /// The lines of a text that arrives in pieces of this length.
    fn lines(text: &[u8], piece: usize) -> Vec<String> {
        let (mut buffer, mut found) = (LineBuffer::default(), Vec::new());
        let mut each = |line: &str| {
            found.push(line.to_owned());
            ControlFlow::Continue(())
        };
        for bytes in text.chunks(piece) {
            assert!(buffer.add(bytes, &mut each).is_continue());
        }
        assert!(buffer.end(&mut each).is_continue());
        found
    }

    #[test]
    fn lines_are_the_same_however_they_arrive() {
        let text = "one\ntwo\r\n\n\u{20ac}\nlast".as_bytes();
        for piece in 1..=text.len() {
            assert_eq!(lines(text, piece), ["one", "two", "\u{20ac}", "last"]);
        }
        assert_eq!(lines(b"\xff\n", 1), ["\u{fffd}"]);
    }

    #[test]
    fn a_line_without_end_takes_no_memory_and_the_next_one_counts() {
        let mut text = vec![b'a'; 3 * MAX_LINE];
        text.extend(b"\nnext\n");
        assert_eq!(lines(&text, 1000), ["next"]);
    }

    #[test]
    fn a_list_that_claims_to_be_huge_is_not_read() {
        let client = client(|mut stream| {
            let _ = stream.write_all(
                b"HTTP/1.1 200 OK\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
                  Content-Length: 1000000000000\r\n\r\nline\n",
            );
        });
        let end = client.read_lines("a", |_| ControlFlow::Continue(())).unwrap();
        assert_eq!((end, client.down()), (ListEnd::TooLarge, None));
    }

    #[test]
    fn a_list_is_read_no_further_than_its_caller_wants() {
        let client = client(|mut stream| {
            let _ = stream.write_all(
                b"HTTP/1.1 200 OK\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
                  Content-Length: 8\r\n\r\none\ntwo\n",
            );
        });
        let mut found = Vec::new();
        let end = client.read_lines("a", |line| {
            found.push(line.to_owned());
            ControlFlow::Break(())
        });
        assert_eq!((end.unwrap(), found), (ListEnd::Stopped, vec!["one".to_owned()]));
    }
}
