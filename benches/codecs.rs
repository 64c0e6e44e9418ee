//! Measures the cost of frame sizes, encodings and levels, for docs/explanation/performance.md.
//!
//! ```text
//! codecs EGGS_DIRECTORY >ROWS.json
//! ```
//!
//! The files of all eggs are arranged in frames as in a blob. Each frame is encoded and decoded
//! separately, on one core, and the best of a few rounds counts.
#![allow(clippy::print_stdout, reason = "the rows are the output")]

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use eggcache::internals::frame_layout::{FrameGroup, Layout};
use eggcache::internals::manifest::{Entry, EntryKind};
use eggcache::internals::scan;

const FRAME_SIZES: [u32; 5] = [64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20];
/// The frame size that levels are compared with.
const MAIN_SIZE: u32 = 256 << 10;
const LEVELS: [i32; 6] = [-5, 1, 3, 6, 9, 15];
/// If zstd does not make a frame smaller than this share of its content, it is stored raw.
const RAW_FROM: [f64; 3] = [0.95, 0.9, 0.8];
const ROUNDS: usize = 3;
/// If there are more bytes than this, only evenly spread frames are measured.
const SAMPLE: usize = 128 << 20;

#[derive(Clone, Copy)]
enum Codec {
    Raw,
    Lz4,
    Zstd(i32),
}

fn main() -> Result<()> {
    let eggs = std::env::args().nth(1).context("codecs EGGS_DIRECTORY")?;
    let eggs = read(Path::new(&eggs))?;
    let mut rows = Vec::new();
    for size in FRAME_SIZES {
        let frames = sample(frames(&eggs, size));
        let levels = if size == MAIN_SIZE { &LEVELS[..] } else { &[3] };
        for codec in levels.iter().map(|&level| Codec::Zstd(level)) {
            rows.push(row(&frames, size, codec, 1.0)?);
        }
        if size == MAIN_SIZE {
            rows.push(row(&frames, size, Codec::Raw, 1.0)?);
            rows.push(row(&frames, size, Codec::Lz4, 1.0)?);
            for share in RAW_FROM {
                rows.push(row(&frames, size, Codec::Zstd(3), share)?);
            }
        }
    }
    println!("{}", serde_json::to_string_pretty(&rows)?);
    Ok(())
}

type Files = Vec<(Entry, Vec<u8>)>;

fn read(eggs: &Path) -> Result<Vec<Files>> {
    let mut found = Vec::new();
    for egg in std::fs::read_dir(eggs)? {
        let egg = egg?.path();
        let content = |entry: Entry| match entry.kind {
            EntryKind::File { .. } => {
                let content = std::fs::read(scan::path_of(&egg, &entry))?;
                Ok((entry, content))
            }
            _ => Ok((entry, Vec::new())),
        };
        found.push(scan::list(&egg)?.into_iter().map(content).collect::<Result<_>>()?);
    }
    Ok(found)
}

/// The content of every frame of every egg.
fn frames(eggs: &[Files], size: u32) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for files in eggs {
        let entries: Vec<Entry> = files.iter().map(|(entry, _)| entry.clone()).collect();
        for unit in Layout::of(&entries, size).groups {
            match unit {
                FrameGroup::Small { entries, .. } => {
                    frames.push(entries.iter().flat_map(|&it| files[it].1.clone()).collect());
                }
                FrameGroup::Large { entry, .. } => {
                    frames.extend(files[entry].1.chunks(size as usize).map(<[u8]>::to_vec));
                }
            }
        }
    }
    frames
}

fn sample(frames: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let bytes: usize = frames.iter().map(Vec::len).sum();
    frames.into_iter().step_by(bytes.div_ceil(SAMPLE).max(1)).collect()
}

fn row(frames: &[Vec<u8>], size: u32, codec: Codec, raw_from: f64) -> Result<serde_json::Value> {
    let mut compressor = zstd::bulk::Compressor::new(match codec {
        Codec::Zstd(level) => level,
        _ => 1,
    })?;
    let begin = Instant::now();
    let stored: Vec<Option<Vec<u8>>> = frames
        .iter()
        .map(|frame| {
            let stored = match codec {
                Codec::Raw => return Ok(None),
                Codec::Lz4 => lz4_flex::block::compress(frame),
                Codec::Zstd(_) => compressor.compress(frame)?,
            };
            #[expect(clippy::cast_precision_loss, reason = "a share of a frame")]
            let share = stored.len() as f64 / frame.len() as f64;
            Ok((share < raw_from).then_some(stored))
        })
        .collect::<Result<_>>()?;
    let encode = begin.elapsed();
    let mut decode = Duration::MAX;
    let mut decompressor = zstd::bulk::Decompressor::new()?;
    let mut buffer = vec![0; size as usize];
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        for (frame, stored) in frames.iter().zip(&stored) {
            let buffer = &mut buffer[..frame.len()];
            let len = match (codec, stored) {
                (Codec::Zstd(_), Some(stored)) => {
                    decompressor.decompress_to_buffer(stored, buffer)?
                }
                (_, Some(stored)) => lz4_flex::block::decompress_into(stored, buffer)?,
                (_, None) => frame.len(),
            };
            ensure!(len == frame.len(), "a frame decodes to a different size");
        }
        decode = decode.min(begin.elapsed());
    }
    let bytes: usize = frames.iter().map(Vec::len).sum();
    let kept =
        frames.iter().zip(&stored).map(|(frame, it)| it.as_ref().map_or(frame.len(), Vec::len));
    Ok(serde_json::json!({
        "frame_size": size,
        "codec": match codec {
            Codec::Raw => "raw",
            Codec::Lz4 => "lz4",
            Codec::Zstd(_) => "zstd",
        },
        "level": if let Codec::Zstd(level) = codec { Some(level) } else { None },
        "raw_from": raw_from,
        "frames": frames.len(),
        "raw_frames": stored.iter().filter(|it| it.is_none()).count(),
        "bytes": bytes,
        "stored": kept.sum::<usize>(),
        "encode_seconds": encode.as_secs_f64(),
        "decode_seconds": decode.as_secs_f64(),
    }))
}
