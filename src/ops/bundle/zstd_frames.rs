//! A stream as a row of zstd frames, which is a zstd stream as well.
//!
//! A frame holds the same number of bytes however many threads compress, and is compressed by one
//! thread, without regard to the others: so the bytes are the same on every machine. (zstd's own
//! threads give bytes that depend on whether there is one or are several.) Memory is a fixed number of
//! frames, whatever the length.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rayon::prelude::*;
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

/// Bytes of the stream in one frame. docs/bundle.md has the measurement.
pub const FRAME: usize = 4 << 20;
/// docs/bundle.md has the measurement.
pub const LEVEL: i32 = 9;
/// Most frames that are compressed at once.
const MAX_AT_ONCE: usize = 8;

/// Compresses what `produce` writes, and writes it to `out`. Of nothing there is no frame.
///
/// # Errors
/// What `produce` says, unless `out` fails: then that, told by `failed`.
pub fn compress<E: Send>(
    out: &mut impl Write,
    produce: impl FnOnce(&mut dyn Write) -> Result<(), E> + Send,
    failed: impl FnOnce(io::Error) -> E,
) -> Result<(), E> {
    let at_once = rayon::current_num_threads().clamp(1, MAX_AT_ONCE);
    let (sender, receiver) = sync_channel(at_once);
    std::thread::scope(|scope| {
        let producer = scope.spawn(move || {
            let mut frames = Frames { buffer: Vec::with_capacity(FRAME), is_empty: true, sender };
            produce(&mut frames)?;
            frames.send_rest();
            Ok(())
        });
        let written = write_all(out, &receiver, at_once);
        // If that has failed, the producer ends with its next frame.
        drop(receiver);
        let outcome = producer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        written.map_err(failed).and(outcome)
    })
}

fn write_all(out: &mut impl Write, frames: &Receiver<Vec<u8>>, at_once: usize) -> io::Result<()> {
    while let Ok(first) = frames.recv() {
        let more = frames.try_iter().take(at_once - 1);
        let batch: Vec<Vec<u8>> = std::iter::once(first).chain(more).collect();
        let packed: Vec<Vec<u8>> =
            batch.into_par_iter().map(|frame| pack(&frame)).collect::<io::Result<_>>()?;
        for frame in packed {
            out.write_all(&frame)?;
        }
    }
    Ok(())
}

fn pack(frame: &[u8]) -> io::Result<Vec<u8>> {
    let mut compressor = Compressor::new(LEVEL)?;
    // Told by `zstd -t`, and by everything that unpacks.
    compressor.set_parameter(CParameter::ChecksumFlag(true))?;
    compressor.compress(frame)
}

/// Cuts what is written into frames.
struct Frames {
    buffer: Vec<u8>,
    /// Whether there is no frame yet: nothing at all is no zstd stream.
    is_empty: bool,
    sender: SyncSender<Vec<u8>>,
}

impl Frames {
    fn send_rest(self) {
        if self.is_empty || !self.buffer.is_empty() {
            // Who has gone tells why.
            let _ = self.sender.send(self.buffer);
        }
    }
}

impl Write for Frames {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(FRAME - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == FRAME {
            self.is_empty = false;
            let frame = std::mem::replace(&mut self.buffer, Vec::with_capacity(FRAME));
            self.sender.send(frame).map_err(|_| io::ErrorKind::BrokenPipe)?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(content: &[u8], threads: usize) -> Vec<u8> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut out = Vec::new();
        let write = |to: &mut dyn Write| to.write_all(content);
        pool.install(|| compress(&mut out, write, |error| error)).unwrap();
        out
    }

    #[test]
    fn the_bytes_are_the_same_with_any_number_of_threads() {
        for length in [0, 1, FRAME - 1, FRAME, FRAME + 1, 5 * FRAME + 7] {
            let content: Vec<u8> =
                (0..length).map(|at| u8::try_from(at / 7 % 251).unwrap()).collect();
            let one = packed(&content, 1);
            for threads in [2, 5] {
                assert!(one == packed(&content, threads), "{length} bytes, {threads} threads");
            }
            assert!(zstd::decode_all(&one[..]).unwrap() == content, "{length} bytes");
        }
    }

    #[test]
    fn what_cannot_be_written_ends_it_and_the_reason_is_told() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let endless = |to: &mut dyn Write| loop {
            to.write_all(&vec![0; 1 << 16])?;
        };
        let error = compress(&mut Full, endless, |error| error).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        let fails = |to: &mut dyn Write| {
            to.write_all(&[1; 9])?;
            Err(io::Error::from(io::ErrorKind::NotFound))
        };
        let error = compress(&mut Vec::new(), fails, |error| error).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
