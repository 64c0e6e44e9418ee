//! Zipped eggs of x 1.0, and object files.

use std::io::{Cursor, Write};

use crate::forge::{self, Member, elf, verneed};

pub fn zip_eggs() -> Vec<(&'static str, Vec<u8>)> {
    const INFO: Member<'_> =
        Member { name: b"EGG-INFO/PKG-INFO", content: b"Name: x\nVersion: 1.0\n" };
    let members = |members: &[Member<'_>]| {
        let mut bytes = b"m".to_vec();
        for Member { name, content } in members {
            bytes.push(u8::try_from(name.len()).unwrap());
            bytes.extend(u16::try_from(content.len()).unwrap().to_le_bytes());
            bytes.extend([*name, *content].concat());
        }
        bytes
    };
    let with = |name: &[u8]| members(&[INFO, Member { name, content: b"y" }]);
    let deflated = |files: &[(&str, &[u8])]| {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in files {
            zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(content).unwrap();
        }
        [b"z", &zip.finish().unwrap().into_inner()[..]].concat()
    };
    let plain = forge::zip(&[INFO, Member { name: b"x.py", content: b"y = 1\n" }]);
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut zip = plain.clone();
        change(&mut zip);
        [b"z", &zip[..]].concat()
    };
    let end = plain.len() - 22;
    let zeros = vec![0; 4 << 20];
    let names: Vec<String> = (0..100).map(|at| format!("x-{at}.dist-info/METADATA")).collect();
    let object = |elf: Vec<u8>| [b"e", &elf[..]].concat();
    let strings = b"\0libc.so.6\0GLIBC_2.17\0libc.musl-x86_64.so.1\0";
    let glibc = elf(&verneed(11, 0, 1), strings, &[1], 1);
    let again = verneed(11, 32, u16::MAX).repeat(20);
    vec![
        ("good-plain", [b"z", &plain[..]].concat()),
        ("good-deflated", deflated(&[("EGG-INFO/PKG-INFO", INFO.content), ("x/__init__.py", b"")])),
        ("good-wheel-layout", members(&[Member { name: b"x-1.0.dist-info/METADATA", ..INFO }])),
        ("good-members", with(b"x/y.py")),
        ("good-directory", with(b"x/")),
        ("good-backslashes", with(b"..\\..\\y")),
        (
            "good-case-differs",
            members(&[
                INFO,
                Member { name: b"a", content: b"" },
                Member { name: b"A", content: b"" },
            ]),
        ),
        (
            "good-bomb-that-nobody-reads",
            deflated(&[("EGG-INFO/PKG-INFO", INFO.content), ("data", &zeros)]),
        ),
        (
            "good-object-that-is-a-bomb",
            deflated(&[("EGG-INFO/PKG-INFO", INFO.content), ("x.so", &zeros)]),
        ),
        ("good-native", object(glibc.clone())),
        ("good-musl", object(elf(b"", strings, &[22], 1))),
        ("good-object-that-is-cut-off", object(glibc[..100].to_vec())),
        ("good-object-that-says-it-often", object(elf(&again, strings, &[], 1))),
        ("good-object-of-many-sections", object(elf(b"", strings, &[1; 50], 200))),
        ("good-object-of-long-strings", object(elf(b"", &[b'G'; 9000], &[0, 1, 2], 1))),
        ("good-object-of-exabytes", {
            let mut elf = glibc;
            let table = usize::from(elf[40]) | usize::from(elf[41]) << 8;
            elf[table + 2 * 64 + 32..][..8].copy_from_slice(&[0xff; 8]);
            object(elf)
        }),
        ("bad-object-that-is-text", object(b"import os\n".to_vec())),
        ("bad-traversal", with(b"../y")),
        ("bad-traversal-inside", with(b"a/../../y")),
        ("bad-absolute", with(b"/etc/y")),
        ("bad-slashes", with(b"a//y")),
        ("good-not-utf8", with(b"f\xff.py")),
        ("bad-nul", with(b"a\0b")),
        ("bad-no-metadata", members(&[Member { name: b"x.py", content: b"" }])),
        (
            "bad-metadata-of-another",
            members(&[Member { name: INFO.name, content: b"Name: y\nVersion: 1.0\n" }]),
        ),
        ("good-duplicate-members", members(&[INFO, INFO])),
        (
            "bad-duplicate-metadata",
            members(&[INFO, Member { name: INFO.name, content: b"Name: y\nVersion: 1.0\n" }]),
        ),
        ("bad-metadata-that-is-a-bomb", deflated(&[("EGG-INFO/PKG-INFO", &zeros)])),
        (
            "bad-overlapping-bombs",
            [b"z", &forge::overlapping_zip(&names, &zeros[..1 << 16])[..]].concat(),
        ),
        ("bad-checksum", changed(&|zip| zip[50] ^= 1)),
        ("bad-number-of-members", changed(&|zip| zip[end + 8..end + 12].fill(0xff))),
        ("bad-directory-beyond-the-end", changed(&|zip| zip[end + 16..end + 20].fill(0xfe))),
        ("bad-cut-off", changed(&|zip| zip.truncate(end))),
        ("bad-empty", b"z".to_vec()),
    ]
}
