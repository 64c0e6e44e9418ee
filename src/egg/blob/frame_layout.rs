//! How the files of an egg are divided into frames.
//!
//! The rule is fixed and depends on the sizes alone, so a manifest contains no placement that a reader
//! would have to trust. The entries are taken in order:
//!
//! - An empty file is in no frame.
//! - A file larger than the frame size closes the open frame and gets its own frames, all of the frame
//!   size except the last.
//! - Any other file goes into the open frame, or opens a new one if it does not fit.

use std::ops::Range;

use crate::egg::manifest::{Entry, EntryKind};

/// The frame sizes that a reader accepts. A frame size is always a power of two, so that a frame of a
/// large file is a subtree of that file's BLAKE3.
pub const FRAME_SIZES: std::ops::RangeInclusive<u32> = 4 << 10..=4 << 20;

/// Frames that can be encoded or decoded independently of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameGroup {
    /// One frame with several whole files, one after the other.
    Small { frame: usize, entries: Vec<usize> },
    /// One file in several frames.
    Large { entry: usize, frames: Range<usize> },
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    pub groups: Vec<FrameGroup>,
    /// Size of each frame's content, in bytes.
    pub frame_sizes: Vec<u32>,
    /// The entries that are empty files.
    pub empty: Vec<usize>,
}

impl Layout {
    /// Computes the layout. `frame_size` must be a power of two within [`FRAME_SIZES`], and the sum of
    /// all sizes at most [`crate::egg::manifest::MAX_SIZE`].
    #[must_use]
    pub fn of(entries: &[Entry], frame_size: u32) -> Self {
        let mut layout = Self::default();
        let mut open: Vec<usize> = Vec::new();
        let mut open_size = 0;
        for (index, entry) in entries.iter().enumerate() {
            let EntryKind::File { size, .. } = entry.kind else { continue };
            if size == 0 {
                layout.empty.push(index);
            } else if let Ok(size) = u32::try_from(size)
                && size <= frame_size
            {
                if open_size + size > frame_size {
                    layout.close(&mut open, &mut open_size);
                }
                open.push(index);
                open_size += size;
            } else {
                layout.close(&mut open, &mut open_size);
                let first = layout.frame_sizes.len();
                let mut rest = size;
                while rest > 0 {
                    let part = u32::try_from(rest).map_or(frame_size, |rest| rest.min(frame_size));
                    layout.frame_sizes.push(part);
                    rest -= u64::from(part);
                }
                let frames = first..layout.frame_sizes.len();
                layout.groups.push(FrameGroup::Large { entry: index, frames });
            }
        }
        layout.close(&mut open, &mut open_size);
        layout
    }

    fn close(&mut self, open: &mut Vec<usize>, open_size: &mut u32) {
        if !open.is_empty() {
            let entries = std::mem::take(open);
            self.groups.push(FrameGroup::Small { frame: self.frame_sizes.len(), entries });
            self.frame_sizes.push(std::mem::take(open_size));
        }
    }
}

/// The number of frames of a layout, without computing it.
#[must_use]
pub fn count_frames(entries: &[Entry], frame_size: u32) -> u64 {
    let (mut frames, mut open_size) = (0, 0);
    for entry in entries {
        let EntryKind::File { size, .. } = entry.kind else { continue };
        if size > u64::from(frame_size) {
            frames += u64::from(open_size > 0) + size.div_ceil(u64::from(frame_size));
            open_size = 0;
        } else if open_size + size > u64::from(frame_size) {
            frames += 1;
            open_size = size;
        } else {
            open_size += size;
        }
    }
    frames + u64::from(open_size > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::egg::manifest::Mtime;
    use crate::egg::path::EggPath;
    use crate::util::hash::digest::Digest;

    const SIZE: u32 = 4 << 10;

    fn entries(sizes: &[u64]) -> Vec<Entry> {
        let file = |(index, size): (usize, &u64)| Entry {
            path: EggPath::new(format!("{index:09}")).unwrap(),
            mode: 0o644,
            mtime: Mtime(0, 0),
            kind: EntryKind::File { size: *size, digest: Digest::of(b"") },
        };
        sizes.iter().enumerate().map(file).collect()
    }

    #[test]
    fn files_of_boundary_sizes_are_placed() {
        let size = u64::from(SIZE);
        let layout = Layout::of(&entries(&[1, size - 1, 1, size, size + 1, 0, 2]), SIZE);
        assert_eq!(
            layout.groups,
            [
                FrameGroup::Small { frame: 0, entries: vec![0, 1] },
                FrameGroup::Small { frame: 1, entries: vec![2] },
                FrameGroup::Small { frame: 2, entries: vec![3] },
                FrameGroup::Large { entry: 4, frames: 3..5 },
                FrameGroup::Small { frame: 5, entries: vec![6] },
            ]
        );
        assert_eq!(layout.frame_sizes, [SIZE, 1, SIZE, SIZE, 1, 2]);
        assert_eq!(layout.empty, [5]);
    }

    proptest! {
        #[test]
        fn every_byte_is_in_exactly_one_frame(sizes in prop::collection::vec(0_u64..20_000, 0..40)) {
            let entries = entries(&sizes);
            let layout = Layout::of(&entries, SIZE);
            let total: u64 = layout.frame_sizes.iter().map(|size| u64::from(*size)).sum();
            prop_assert_eq!(total, sizes.iter().sum::<u64>());
            prop_assert!(layout.frame_sizes.iter().all(|size| (1..=SIZE).contains(size)));
            prop_assert_eq!(layout.frame_sizes.len() as u64, count_frames(&entries, SIZE));
            let mut frame = 0;
            let mut seen = layout.empty.clone();
            for group in &layout.groups {
                match group {
                    FrameGroup::Small { frame: at, entries } => {
                        prop_assert_eq!(*at, frame);
                        prop_assert_eq!(
                            entries.iter().map(|&entry| sizes[entry]).sum::<u64>(),
                            u64::from(layout.frame_sizes[*at])
                        );
                        seen.extend(entries);
                        frame += 1;
                    }
                    FrameGroup::Large { entry, frames } => {
                        prop_assert_eq!(frames.start, frame);
                        seen.push(*entry);
                        frame = frames.end;
                    }
                }
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..sizes.len()).collect::<Vec<_>>());
        }
    }
}
