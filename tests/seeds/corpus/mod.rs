//! Starting points for the fuzzers: real inputs, and inputs known to be hostile.

mod blobs;
mod others;
mod wheels;
mod zip_eggs;

use crate::forge::{content, directory, file, symlink};

pub struct Seed {
    pub target: &'static str,
    pub name: String,
    pub content: Vec<u8>,
}

pub fn seeds() -> Vec<Seed> {
    let mut seeds = Vec::new();
    let mut add = |target: &'static str, all: Vec<(&str, Vec<u8>)>| {
        let seed = |(name, content): (&str, Vec<u8>)| Seed { target, name: name.into(), content };
        seeds.extend(all.into_iter().map(seed));
    };
    add("manifest", manifests());
    add("blob", blobs::blobs());
    add("egg_name", egg_names());
    add("metadata", metadata());
    add("zip_egg", zip_eggs::zip_eggs());
    add("round_trip", round_trips());
    add("elf", others::objects());
    add("entry_list", others::entry_lists());
    add("statement", others::statements());
    add("policy", others::policies());
    add("buildout_file", others::buildout_files());
    add("cache_file", others::cache_files());
    add("requests", others::requests());
    add("archive", others::archives());
    add("wheel", wheels::wheels());
    add("bytecode", others::compiled_files());
    seeds
}

fn hash(bytes: &[u8]) -> blake3::Hash {
    blake3::hash(bytes)
}

/// The entries of an egg: its root directory and these.
fn below(entries: &[String]) -> String {
    [directory(""), entries.join(",")].join(",").trim_end_matches(',').to_owned()
}

fn manifests() -> Vec<(&'static str, Vec<u8>)> {
    let of = |entries: &[String]| content(&below(entries)).into_bytes();
    let small = |path: &str| file(path, 3, hash(b"abc"));
    let deep: Vec<String> = (1..40).map(|depth| directory(&["d"; 40][..depth].join("/"))).collect();
    let chain = |length: usize| -> Vec<String> {
        let mut links: Vec<String> = (0..length)
            .map(|at| symlink(&format!("l{at:03}"), &format!("l{:03}", at + 1)))
            .collect();
        links.push(small(&format!("l{length:03}")));
        links
    };
    // The longest permitted chain, which goes deeper with each link, and many links into it.
    let down = "x/".repeat(200);
    let into = (1..=39).map(|at| symlink(&format!("a{:02}", at - 1), &format!("a{at:02}/{down}")));
    let ways = (0..200).map(|at| symlink(&format!("b{at:03}"), "a00"));
    let tangle: Vec<String> = into.chain(ways).collect();
    let native = content(&below(&[small("_a.cpython-311-x86_64-linux-gnu.so")]))
        .replace("foo-1.0-py3.11.egg", "foo-1.0-py3.11-linux-x86_64.egg")
        .replace(
            r#""abi":"","platform":"","libc":"""#,
            r#""abi":"cpython-311-x86_64-linux-gnu","platform":"linux-x86_64","libc":"glibc 2.17""#,
        );
    let named = |name: &str| content(&directory("")).replace("foo-1.0-py3.11.egg", name);
    vec![
        ("good-package", of(&[directory("EGG-INFO"), small("EGG-INFO/PKG-INFO"), small("foo.py")])),
        ("good-nothing-in-it", of(&[])),
        ("good-zipped", content(&small("")).into_bytes()),
        ("good-native", native.into_bytes()),
        ("good-odd-names", of(&[small("#a"), small("..b"), small("a\\\\b"), small("\u{fc}")])),
        ("good-escaped-name", of(&[small("\\u00fc\\n\\\"")])),
        ("good-case-differs", of(&[directory("A"), small("A/x"), directory("a"), small("a/x")])),
        ("good-deep", of(&deep)),
        (
            "good-symlinks",
            of(&[small("a"), symlink("b", "a"), directory("d"), symlink("d/u", "../b")]),
        ),
        ("good-dangling-symlink", of(&[symlink("b", "no/such")])),
        ("good-chain-of-symlinks", of(&chain(39))),
        ("good-file-of-terabytes", of(&[file("a", 1 << 43, hash(b""))])),
        ("bad-chain-of-symlinks", of(&chain(50))),
        ("bad-tangle-of-symlinks", of(&tangle)),
        ("bad-loop-of-symlinks", of(&[symlink("a", "b"), symlink("b", "a")])),
        ("bad-symlink-to-itself", of(&[symlink("a", "a")])),
        ("bad-symlink-up", of(&[symlink("a", "../x")])),
        ("bad-symlink-absolute", of(&[symlink("a", "/etc/passwd")])),
        (
            "bad-symlink-through-another",
            of(&[symlink("a", "d/up/../x"), directory("d"), symlink("d/up", "..")]),
        ),
        ("bad-symlink-of-nothing", of(&[symlink("a", "")])),
        ("bad-symlink-as-directory", of(&[symlink("a", "."), small("a/b")])),
        ("bad-traversal", of(&[small("../x")])),
        ("bad-traversal-inside", of(&[directory("a"), small("a/../../x")])),
        ("bad-absolute", of(&[small("/etc/cron.d/x")])),
        ("bad-nul", of(&[small("a\\u0000b")])),
        ("bad-dot", of(&[small("./a")])),
        ("bad-slashes", of(&[directory("a"), small("a//b")])),
        ("bad-long-component", of(&[small(&"a".repeat(256))])),
        ("bad-long-path", of(&[small(&"a/".repeat(3000))])),
        ("bad-duplicate", of(&[small("a"), small("a")])),
        ("bad-order", of(&[small("b"), small("a")])),
        ("bad-orphan", of(&[small("a/b")])),
        ("bad-file-as-directory", of(&[small("a"), small("a/b")])),
        ("bad-no-root", content(&small("a")).into_bytes()),
        (
            "bad-size-overflows",
            of(&[file("a", u64::MAX, hash(b"")), file("b", u64::MAX, hash(b""))]),
        ),
        ("bad-setuid", of(&[small("a").replace("420", "2541")])),
        ("bad-nanoseconds", of(&[small("a").replace("[0,0]", "[0,1000000000]")])),
        ("bad-file-name-traversal", named("../foo-1.0.egg").into_bytes()),
        ("bad-file-name-long", named(&format!("foo-{}.egg", "1".repeat(300))).into_bytes()),
        ("bad-field-twice", of(&[small("a").replace("\"mode\"", "\"path\":\"b\",\"mode\"")])),
        ("bad-unknown-field", of(&[small("a").replace("\"mode\"", "\"uid\":0,\"mode\"")])),
        (
            "bad-format",
            content(&directory("")).replace("\"format\":1", "\"format\":2").into_bytes(),
        ),
        ("bad-nested", "[".repeat(10_000).into_bytes()),
        ("bad-not-utf8", [&of(&[small("a")])[..20], b"\xff"].concat()),
    ]
}

fn egg_names() -> Vec<(&'static str, Vec<u8>)> {
    [
        ("good-plain", "foo-1.0-py3.11.egg"),
        ("good-native", "zope.interface-8.7-py3.11-linux-x86_64.egg"),
        ("good-macos", "foo_bar-1.0+abc.1-py3.11-macosx-11.0-arm64.egg"),
        ("good-any-python", "Foo-2.0.egg"),
        ("good-post-release", "foo-1.0_1-py3.egg"),
        ("good-epoch", "foo-1!2.0rc1.dev3-py2.7.egg"),
        ("good-unlike-pep-440", "foo-2004d_final-py2.4.egg"),
        ("good-version-of-many-digits", "foo-99999999999999999999999999.1-py3.egg"),
        ("good-not-ascii", "\u{130}\u{3a3}-1\u{663}-py3.egg"),
        ("good-backslash", "a\\..\\b-1.egg"),
        ("bad-empty", ""),
        ("bad-suffix-only", ".egg"),
        ("bad-no-version", "foo.egg"),
        ("bad-tag", "foo-1.0-cp311.egg"),
        ("bad-empty-platform", "foo-1.0-py3.11-.egg"),
        ("bad-empty-python", "foo-1.0-py.egg"),
        ("bad-empty-version", "foo-.egg"),
        ("bad-traversal", "../foo-1.0.egg"),
        ("bad-hidden", ".eggcache-1.0.egg"),
        ("bad-nul", "foo-1.0\0.egg"),
        ("bad-separators", "-_.-_.-_."),
    ]
    .map(|(name, text)| (name, text.as_bytes().to_vec()))
    .to_vec()
}

fn metadata() -> Vec<(&'static str, Vec<u8>)> {
    let long = |field: &str| format!("Name: a{field}\nVersion: 1\n", field = field.repeat(5000));
    let many: Vec<String> = (0..400).map(|at| format!("Requires-Dist: p{at}\n")).collect();
    vec![
        ("good-plain", b"Metadata-Version: 2.1\nName: Foo.Bar\nVersion: 1.0\n".to_vec()),
        (
            "good-windows",
            b"Metadata-Version: 2.1\r\nName: foo\r\nVersion: 1.0\r\n\r\nText\r\n".to_vec(),
        ),
        (
            "good-description",
            b"Name: foo\nVersion: 1.0\nSummary: a\n  b\n\nName: bar\nVersion: 2\n".to_vec(),
        ),
        ("good-folded", b"Name:\n foo\nVersion: 1.0\n".to_vec()),
        (
            "good-description-is-latin-1",
            b"Name: foo\nVersion: 1.0\nAuthor: J\xfcrgen\n\n\xe9\n".to_vec(),
        ),
        ("good-encoded-word", b"Name: =?utf-8?q?f=C3=BC?=\nVersion: =?utf-8?b?MS4w?=\n".to_vec()),
        ("good-twice", b"Name: a\nName: b\nVersion: 1\nVersion: 2\n".to_vec()),
        ("good-many-headers", format!("Name: a\nVersion: 1\n{}", many.concat()).into_bytes()),
        ("bad-empty", Vec::new()),
        ("bad-no-version", b"Name: foo\n".to_vec()),
        ("bad-version-in-description", b"Name: foo\n\nVersion: 1\n".to_vec()),
        ("bad-blank", b"Name: \nVersion: 1\n".to_vec()),
        ("bad-name-of-thousands", long("aa").into_bytes()),
        ("bad-bytes", b"\xff\xfe\0N\0a\0m\0e\0".to_vec()),
        ("bad-colons", ":".repeat(3000).into_bytes()),
        ("bad-folds", "\n ".repeat(3000).into_bytes()),
        ("bad-encoded-words", format!("Name: {}\n", "=?utf-8?b?".repeat(500)).into_bytes()),
    ]
}

fn round_trips() -> Vec<(&'static str, Vec<u8>)> {
    let files = |files: &[(&str, u8, u16, &[u8])]| {
        let mut bytes = Vec::new();
        for (path, kind, size, seed) in files {
            bytes.extend([u8::try_from(path.len()).unwrap(), *kind]);
            bytes.extend(size.to_le_bytes());
            bytes.extend(path.bytes());
            bytes.push(u8::try_from(seed.len()).unwrap());
            bytes.extend(*seed);
        }
        bytes
    };
    vec![
        ("good-nothing", Vec::new()),
        (
            "good-small",
            files(&[("a.py", 2, 20, b"import os\n"), ("b/c.py", 2, 1, b"x"), ("d", 2, 0, b"")]),
        ),
        (
            "good-large",
            files(&[("a", 7, 60_000, b"import"), ("b", 2, 5, b"small"), ("c", 6, 65_535, b"xyz")]),
        ),
        (
            "good-boundaries",
            files(&[("a", 5, 65_535, b"y"), ("b", 2, 4, b"y"), ("c", 6, 65_535, b"z")]),
        ),
        ("good-symlinks", files(&[("a/b", 1, 0, b"../c"), ("c", 2, 3, b"abc"), ("d", 0, 0, b"")])),
        ("bad-symlink-up", files(&[("a", 1, 0, b"../c")])),
        ("bad-file-as-directory", files(&[("a", 2, 3, b"abc"), ("a/b", 2, 3, b"abc")])),
    ]
}
