//! BLAKE3 of a large file, computed frame by frame in any order.
//!
//! A frame of a large file begins at a multiple of the frame size, which is a power of two. Its bytes
//! are therefore a subtree of the file's BLAKE3 tree (section 2.1 of the BLAKE3 paper). The digest of
//! the file follows from the chaining values of all frames, so frames can be hashed in parallel.

use blake3::hazmat::{self, ChainingValue, HasherExt, Mode};

use crate::util::hash::digest::Digest;

/// The chaining value of one frame of a file that has several.
#[must_use]
pub fn of_frame(frame: usize, frame_size: u32, content: &[u8]) -> ChainingValue {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(frame as u64 * u64::from(frame_size));
    hasher.update(content);
    hasher.finalize_non_root()
}

/// The digest of a file of at least two frames, from their chaining values in order.
#[must_use]
pub fn merge(frames: &[ChainingValue]) -> Digest {
    let (left, right) = halves(frames);
    hazmat::merge_subtrees_root(&merge_inner(left), &merge_inner(right), Mode::Hash).into()
}

fn merge_inner(frames: &[ChainingValue]) -> ChainingValue {
    if let [one] = frames {
        return *one;
    }
    let (left, right) = halves(frames);
    hazmat::merge_subtrees_non_root(&merge_inner(left), &merge_inner(right), Mode::Hash)
}

/// The left subtree is complete: it has the largest power of two frames that is less than all.
fn halves(frames: &[ChainingValue]) -> (&[ChainingValue], &[ChainingValue]) {
    debug_assert!(frames.len() > 1, "a file of one frame is hashed as a whole");
    frames.split_at(frames.len().next_power_of_two() / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_a_file_follows_from_its_frames() {
        const SIZE: u32 = 4096;
        let bytes: Vec<u8> = (0..SIZE * 9).map(|i| (i * 7 % 251) as u8).collect();
        for len in
            [SIZE + 1, 2 * SIZE, 2 * SIZE + 1, 3 * SIZE, 5 * SIZE - 1, 8 * SIZE, 8 * SIZE + 1025]
        {
            let bytes = &bytes[..len as usize];
            let frames: Vec<_> = bytes
                .chunks(SIZE as usize)
                .enumerate()
                .map(|(frame, content)| of_frame(frame, SIZE, content))
                .collect();
            assert_eq!(merge(&frames), Digest::of(bytes), "{len}");
        }
    }
}
