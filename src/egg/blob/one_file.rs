//! Reading one file of a blob.

use std::ops::Deref;

use crate::egg::blob::frame_layout::FrameGroup;
use crate::egg::blob::reader::{Blob, Decoder};
use crate::egg::blob::{BadBlob, damaged};
use crate::egg::manifest::EntryKind;
use crate::util::hash::digest::Digest;

/// The content of a file, checked against its digest; `None` if the entry is no file or has more than `most`
/// bytes.
pub fn read<B: Deref<Target = [u8]>>(
    blob: &Blob<B>,
    entry: usize,
    most: u64,
) -> Result<Option<Vec<u8>>, BadBlob> {
    let found = &blob.manifest.entries[entry];
    let digest = match found.kind {
        EntryKind::File { size, digest } if size <= most => digest,
        _ => return Ok(None),
    };
    let mut decoder = Decoder::new();
    let mut content = Vec::new();
    for group in &blob.layout.groups {
        match group {
            FrameGroup::Small { frame, entries } if entries.contains(&entry) => {
                let mut files = blob.small_files(*frame, entries, &mut decoder)?;
                let file = files.find(|(of, _)| *of == entry);
                content = file.map(|(_, bytes)| bytes.to_vec()).unwrap_or_default();
            }
            FrameGroup::Large { entry: of, frames } if *of == entry => {
                for frame in frames.clone() {
                    content.extend_from_slice(blob.decode(frame, &mut decoder)?);
                }
            }
            _ => {}
        }
    }
    if Digest::of(&content) == digest {
        Ok(Some(content))
    } else {
        Err(damaged(format!("{} does not have its digest", found.path)))
    }
}
