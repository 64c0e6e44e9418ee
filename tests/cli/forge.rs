//! Files that only an attacker would make: blobs, zip files and objects with correct checksums
//! around hostile content. Written from docs/reference/format.md and from the specifications of the
//! formats, without the code under test.

pub const HEADER: usize = 128;

/// The key of the egg foo 1.0, as in the first line of a manifest.
pub const KEY: &str = concat!(
    r#"{"name":"foo","version":"1.0","python":"cp311","abi":"","platform":"","libc":"","#,
    r#""generation":5,"source_sha256":"","variant":"","environment":""}"#
);
pub const PROVENANCE: &str = r#"{"added_at":1700000000,"eggcache":"0.1.0"}"#;

/// The first line of a manifest of the egg foo 1.0.
pub fn content(entries: &str) -> String {
    format!(r#"{{"format":1,"file_name":"foo-1.0-py3.11.egg","key":{KEY},"entries":[{entries}]}}"#)
}

/// The second line.
pub fn placement(frame_size: u32, frames: &str) -> String {
    format!(r#"{{"frame_size":{frame_size},"frames":[{frames}],"provenance":{PROVENANCE}}}"#)
}

pub fn directory(path: &str) -> String {
    format!(r#"{{"path":"{path}","kind":"directory","mode":493,"mtime":[0,0]}}"#)
}

pub fn file(path: &str, size: u64, digest: blake3::Hash) -> String {
    format!(
        r#"{{"path":"{path}","kind":"file","mode":420,"mtime":[0,0],"size":{size},"digest":"{digest}"}}"#
    )
}

pub fn empty_file(path: &str) -> String {
    file(path, 0, blake3::hash(b""))
}

pub fn symlink(path: &str, target: &str) -> String {
    format!(r#"{{"path":"{path}","kind":"symlink","mode":511,"mtime":[0,0],"target":"{target}"}}"#)
}

pub fn frame(offset: u64, stored: &[u8], encoding: &str) -> String {
    let (length, digest) = (stored.len(), blake3::hash(stored));
    format!(
        r#"{{"offset":{offset},"stored":{length},"encoding":"{encoding}","digest":"{digest}"}}"#
    )
}

/// The header of a blob, with correct checksums.
pub fn header(manifest: &[u8], manifest_size: u64, gap: usize, data_len: usize) -> Vec<u8> {
    let data_offset = HEADER + manifest.len() + gap;
    let mut header = b"\x89egg\r\n\x1a\n\x01\0\0\0\0\0\0\0".to_vec();
    for number in [manifest.len(), usize::try_from(manifest_size).unwrap(), data_offset] {
        header.extend((number as u64).to_le_bytes());
    }
    header.extend(((data_offset + data_len) as u64).to_le_bytes());
    header.extend(blake3::hash(manifest).as_bytes());
    header.resize(HEADER, 0);
    seal_header(&mut header);
    header
}

pub fn seal_header(blob: &mut [u8]) {
    let digest = blake3::hash(&blob[..96]);
    blob[96..HEADER].copy_from_slice(digest.as_bytes());
}

/// A blob with an arbitrary manifest text, gap and frames.
pub fn seal(text: &[u8], gap: &[u8], data: &[u8]) -> Vec<u8> {
    let manifest = zstd::bulk::compress(text, 3).unwrap();
    let header = header(&manifest, text.len() as u64, gap.len(), data.len());
    [&header, &manifest, gap, data].concat()
}

/// A blob with these two lines and frames.
pub fn blob(content: &str, placement: &str, data: &[u8]) -> Vec<u8> {
    seal(format!("{content}\n{placement}\n").as_bytes(), b"", data)
}

/// A member of a zip file, stored without compression.
#[derive(Clone)]
pub struct Member<'a> {
    pub name: &'a [u8],
    pub content: &'a [u8],
}

/// A zip file (APPNOTE.TXT 4.3) with arbitrary names, valid or not, flagged as UTF-8.
pub fn zip(members: &[Member<'_>]) -> Vec<u8> {
    let (mut zip, mut directory) = (Vec::new(), Vec::new());
    for &Member { name, content } in members {
        let offset = u32::try_from(zip.len()).unwrap();
        let size = u32::try_from(content.len()).unwrap().to_le_bytes();
        // Version 2.0, UTF-8 names, stored, 1980-01-01, checksum, both sizes, length of the name.
        let mut common = b"\x14\0\0\x08\0\0\0\0\x21\0".to_vec();
        common.extend(crc32(content).to_le_bytes());
        common.extend([size, size].concat());
        common.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        common.extend([0, 0]);
        zip.extend([b"PK\x03\x04", &common[..], name, content].concat());
        directory.extend([b"PK\x01\x02\x14\0", &common[..], &[0; 10]].concat());
        directory.extend(offset.to_le_bytes());
        directory.extend(name);
    }
    end_of_zip(zip, &directory, members.len())
}

/// A zip file whose members all share the same compressed bytes: small, but with huge content.
pub fn overlapping_zip(names: &[String], content: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("x", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(content).unwrap();
    let one = zip.finish().unwrap().into_inner();
    let at = one.windows(4).rposition(|found| found == b"PK\x01\x02").unwrap();
    let entry = &one[at..];
    let mut directory = Vec::new();
    for name in names {
        directory.extend(&entry[..28]);
        directory.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        directory.extend([0; 4]);
        directory.extend(&entry[34..46]);
        directory.extend(name.bytes());
    }
    end_of_zip(one[..at].to_vec(), &directory, names.len())
}

fn end_of_zip(mut zip: Vec<u8>, directory: &[u8], members: usize) -> Vec<u8> {
    let begin = u32::try_from(zip.len()).unwrap();
    let members = u16::try_from(members).unwrap().to_le_bytes();
    zip.extend(directory);
    zip.extend([b"PK\x05\x06\0\0\0\0", &members[..], &members].concat());
    zip.extend(u32::try_from(directory.len()).unwrap().to_le_bytes());
    zip.extend(begin.to_le_bytes());
    zip.extend([0, 0]);
    zip
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

/// A 64-bit ELF object with these version requirements (`.gnu.version_r`, as bytes), strings and
/// `DT_NEEDED` entries, which `dynamics` sections contain.
pub fn elf(verneed: &[u8], strings: &[u8], needed: &[u64], dynamics: usize) -> Vec<u8> {
    let mut dynamic: Vec<u8> =
        needed.iter().flat_map(|name| [1, *name]).flat_map(u64::to_le_bytes).collect();
    dynamic.extend([0; 16]);
    let extra = vec![(6, &dynamic[..]); dynamics.saturating_sub(1)];
    object(strings, &[&[(0x6fff_fffe, verneed), (6, &dynamic)], &extra[..]].concat())
}

/// A 64-bit ELF object with sections of these types and contents, which have these strings.
pub fn object(strings: &[u8], contents: &[(u32, &[u8])]) -> Vec<u8> {
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(64, 0);
    // Kind, offset and length of each section; the second section holds the strings of all.
    let mut sections: Vec<(u32, usize, usize)> = vec![(0, 0, 0)];
    let mut last: Option<&[u8]> = None;
    for &(kind, bytes) in &[&[(3, strings)], contents].concat() {
        // Sections of the same bytes are at the same place.
        if last.is_none_or(|last| !std::ptr::eq(last, bytes)) {
            elf.resize(elf.len().next_multiple_of(16), 0);
            elf.extend(bytes);
        }
        sections.push((kind, elf.len() - bytes.len(), bytes.len()));
        last = Some(bytes);
    }
    elf.resize(elf.len().next_multiple_of(16), 0);
    let table = elf.len() as u64;
    for &(kind, offset, length) in &sections {
        elf.extend([0, kind].map(u32::to_le_bytes).concat());
        elf.extend([0, 0, offset as u64, length as u64].map(u64::to_le_bytes).concat());
        elf.extend([1_u32, 1].map(u32::to_le_bytes).concat());
        elf.extend([1_u64, 0].map(u64::to_le_bytes).concat());
    }
    elf[16..24].copy_from_slice(&[3, 0, 62, 0, 1, 0, 0, 0]); // a shared object for x86-64
    elf[40..48].copy_from_slice(&table.to_le_bytes());
    elf[52..58].copy_from_slice(&[64, 0, 56, 0, 0, 0]);
    elf[58..60].copy_from_slice(&64_u16.to_le_bytes());
    elf[60..62].copy_from_slice(&u16::try_from(sections.len()).unwrap().to_le_bytes());
    elf[62..64].copy_from_slice(&1_u16.to_le_bytes());
    elf
}

/// A requirement for one version of a library: `next` is the offset of the next requirement,
/// `again` how many versions it claims to have.
pub fn verneed(version: u32, next: u32, again: u16) -> Vec<u8> {
    let mut need = [1_u16, again].map(u16::to_le_bytes).concat();
    need.extend([1, 16, next].map(u32::to_le_bytes).concat());
    need.extend([0, 0, version, 0].map(u32::to_le_bytes).concat());
    need
}
