//! Blobs with correct checksums.

use super::{below, hash};
use crate::forge::{self, content, empty_file, file, frame, placement};

type Seeds = Vec<(&'static str, Vec<u8>)>;

pub fn blobs() -> Seeds {
    [sound(), of_bad_frames(), of_bad_lengths()].concat()
}

/// Two lines and frames, which the harness seals as `how` says.
fn lines(how: &str, content: &str, placement: &str, data: &[u8]) -> Vec<u8> {
    [format!("{how}{content}\n{placement}\n").as_bytes(), data].concat()
}

/// A blob to be used as it is.
fn raw(blob: &[u8]) -> Vec<u8> {
    [b"r", blob].concat()
}

/// The manifest line and the placement line of an egg with one small file.
fn small() -> (String, String) {
    (content(&below(&[file("a", 3, hash(b"abc"))])), placement(4096, &frame(0, b"abc", "raw")))
}

/// A large file of sevens, zeros and ones, one per frame, with small files around it.
fn large() -> (String, String, Vec<u8>) {
    let large = [vec![7; 4096], vec![0; 4096], vec![1; 100]].concat();
    let mut stored = b"first".to_vec();
    let mut frames = vec![frame(0, b"first", "raw")];
    for part in large.chunks(4096) {
        let dense = zstd::bulk::compress(part, 3).unwrap();
        frames.push(frame(stored.len() as u64, &dense, "zstd"));
        stored.extend(dense);
    }
    frames.push(frame(stored.len() as u64, b"last", "raw"));
    stored.extend(b"last");
    let entries = below(&[
        file("a", 5, hash(b"first")),
        file("b", large.len() as u64, hash(&large)),
        empty_file("c"),
        file("d", 4, hash(b"last")),
    ]);
    (content(&entries), placement(4096, &frames.join(",")), stored)
}

const MIB: usize = 1 << 20;

fn zeros() -> Vec<u8> {
    zstd::bulk::compress(&vec![0; 4 * MIB], 3).unwrap()
}

fn sound() -> Seeds {
    let (abc, one) = small();
    let (mixed, whole, stored) = large();
    let zeros = zeros();
    let bomb = content(&below(&[file("a", 4 << 20, hash(&vec![0; 4 * MIB]))]));
    let bombs = placement(4 << 20, &frame(0, &zeros, "zstd"));
    let entries: Vec<String> = (0..20_000).map(|at| empty_file(&format!("{at:05}"))).collect();
    let none = placement(4096, "");
    let many = format!("{}\n{none}\n", content(&below(&entries)));
    let zipped = |size: u64| content(&file("", size, hash(b"abc")));
    vec![
        ("good-raw", raw(&forge::blob(&mixed, &whole, &stored))),
        ("good-small", lines("s", &abc, &one, b"abc")),
        ("good-large", lines("s", &mixed, &whole, &stored)),
        ("good-gap", lines("g", &abc, &one, b"abc")),
        ("good-empty", lines("s", &content(&below(&[empty_file("a")])), &none, b"")),
        ("good-zipped-egg", lines("s", &zipped(3), &one, b"abc")),
        ("good-four-mebibytes-of-zeros", lines("s", &bomb, &bombs, &zeros)),
        ("good-twenty-thousand-entries", raw(&forge::seal(many.as_bytes(), b"", b""))),
        ("good-mended", lines("m", &mixed, &whole, b"content")),
        ("good-mended-zipped-egg", lines("m", &zipped(99_999), &placement(8192, ""), b"\0")),
    ]
}

fn of_bad_frames() -> Seeds {
    let (abc, one) = small();
    let zeros = zeros();
    let ones = [1; 4096];
    let of = |files: &[String]| content(&below(files));
    let two = of(&[file("a", 4096, hash(&ones)), file("b", 4096, hash(&ones))]);
    let at = |offset: u64| frame(offset, &ones, "raw");
    let placed = |frames: &[String]| placement(4096, &frames.join(","));
    let tiny = placed(&vec![frame(0, b"x", "zstd"); 100]);
    let a = |size: u64| of(&[file("a", size, hash(b""))]);
    let with = |from: &str, to: &str| lines("s", &abc, &one.replace(from, to), b"abc");
    let nothing = of(&[file("a", 0, hash(b"x"))]);
    vec![
        ("bad-dirty-gap", lines("d", &abc, &one, b"abc")),
        ("bad-digest", lines("s", &abc, &one, b"abd")),
        ("bad-overlapping-frames", lines("s", &two, &placed(&[at(0), at(0)]), &ones)),
        ("bad-frames-in-disorder", lines("s", &two, &placed(&[at(4096), at(0)]), &[1; 8192])),
        ("bad-frame-beyond-the-end", with("\"offset\":0", "\"offset\":18446744073709551615")),
        ("bad-frame-of-no-bytes", lines("s", &abc, &placed(&[frame(0, b"", "zstd")]), b"")),
        ("bad-terabytes-in-tiny-frames", lines("s", &a(100 * 4096), &tiny, b"x")),
        ("bad-terabytes-in-one-frame", lines("s", &a(1 << 43), &tiny, b"x")),
        (
            "bad-larger-than-it-says",
            lines("s", &a(4095), &placed(&[frame(0, &zeros, "zstd")]), &zeros),
        ),
        ("bad-frame-size-of-one", with("4096", "1")),
        ("bad-frame-size-of-gibibytes", with("4096", "1073741824")),
        ("bad-digest-of-nothing", lines("s", &nothing, &placement(4096, ""), b"")),
        (
            "bad-more-frames",
            lines("s", &abc, &placed(&vec![frame(0, b"abc", "raw"); 2]), b"abcabc"),
        ),
    ]
}

fn of_bad_lengths() -> Seeds {
    let (abc, one) = small();
    let sealed = forge::blob(&abc, &one, b"abc");
    let claims = |at: usize, claim: u64| {
        let mut blob = sealed.clone();
        blob[at..at + 8].copy_from_slice(&claim.to_le_bytes());
        forge::seal_header(&mut blob);
        raw(&blob)
    };
    let text = format!("{abc}\n{one}\n");
    let of_text = |text: String| raw(&forge::seal(text.as_bytes(), b"", b"abc"));
    let mut newer = sealed.clone();
    newer[8] = 2;
    vec![
        ("bad-one-line", of_text(abc.clone())),
        ("bad-three-lines", of_text(format!("{text}\n"))),
        ("bad-manifest-shorter-than-it-says", claims(24, text.len() as u64 + 1)),
        ("bad-manifest-longer-than-it-says", claims(24, text.len() as u64 - 1)),
        ("bad-manifest-of-exabytes", claims(24, u64::MAX)),
        ("bad-manifest-stored-in-exabytes", claims(16, u64::MAX)),
        ("bad-manifest-stored-beyond-data", claims(16, 1 << 20)),
        ("bad-data-offset", claims(32, u64::MAX - 64)),
        ("bad-length", claims(40, 1 << 40)),
        ("bad-cut-off", raw(&sealed[..100])),
        ("bad-newer-format", raw(&newer)),
    ]
}
