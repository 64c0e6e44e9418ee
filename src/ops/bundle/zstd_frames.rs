//! A stream as a sequence of zstd frames, which is a zstd stream, too.
//!
//! Each frame has a fixed number of bytes and is compressed by one thread independently of the others,
//! so the result is the same for any number of threads. (The output of zstd's own threads depends on
//! whether there is one or several.) Memory is bounded by a fixed number of frames.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rayon::prelude::*;
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

/// Bytes of the stream in one frame. docs/reference/bundle.md has the measurement.
pub const FRAME: usize = 4 << 20;
/// docs/reference/bundle.md has the measurement.
pub const LEVEL: i32 = 9;
/// Most frames that are compressed at once.
const MAX_AT_ONCE: usize = 8;

/// Compresses what `produce` writes, and writes it to `out`.
///
/// # Errors
/// The error of `produce`; or, if `out` fails, that error, converted by `failed`.
pub fn compress<E: Send>(
    out: &mut impl Write,
    produce: impl FnOnce(&mut dyn Write) -> Result<(), E> + Send,
    failed: impl FnOnce(io::Error) -> E,
) -> Result<(), E> {
    let at_once = rayon::current_num_threads().clamp(1, MAX_AT_ONCE);
    let (sender, receiver) = sync_channel(at_once);
    std::thread::scope(|scope| {
        let produce = move || {
            let mut frames = Frames { buffer: Vec::with_capacity(FRAME), is_empty: true, sender };
            produce(&mut frames)?;
            frames.send_rest();
            Ok(())
        };
        let producer = match std::thread::Builder::new().spawn_scoped(scope, produce) {
            Ok(producer) => producer,
            Err(error) => return Err(failed(error)),
        };
        let written = write_all(out, &receiver, at_once);
        // After a failure, the producer ends with its next frame.
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
    // `zstd -t` and every decoder verify it.
    compressor.set_parameter(CParameter::ChecksumFlag(true))?;
    compressor.compress(frame)
}

/// Splits a stream into frames.
struct Frames {
    buffer: Vec<u8>,
    /// Whether there is no frame yet. Even an empty stream needs one.
    is_empty: bool,
    sender: SyncSender<Vec<u8>>,
}

impl Frames {
    fn send_rest(self) {
        if self.is_empty || !self.buffer.is_empty() {
            // The receiver has gone only after an error of its own.
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
    fn the_number_of_threads_does_not_change_the_bytes() {
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
    fn a_failed_writer_ends_compression_with_its_error() {
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
