//! Small wheels, good and bad.

use std::collections::{HashMap, HashSet};
use std::io::{Cursor, Write};
use std::path::Path;

use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, ZipWriter};

use super::Reason;
use super::archive::Archive;
use super::plan::{Bytecode, Origin, Original, Plan};
use super::target::Target;
use super::target::tests::target;
use crate::util::hash::sha256::Sha256;

const METADATA: &str = "foo_bar-1.0.dist-info/METADATA";
const WHEEL: &str = "foo_bar-1.0.dist-info/WHEEL";
const RECORD: &str = "foo_bar-1.0.dist-info/RECORD";
const TOP_LEVEL: &str = "foo_bar-1.0.dist-info/top_level.txt";
const ENTRY_POINTS: &str = "foo_bar-1.0.dist-info/entry_points.txt";
const EGG: &str = "Foo.Bar-1.0-py3.11-linux-x86_64";

/// A zip file with these members, each with its external attributes.
fn zip(members: &[(&str, &[u8], u32)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content, attributes) in members {
        let options = SimpleFileOptions::default().external_attributes(*attributes);
        zip.start_file(*name, options).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A wheel of Foo.Bar 1.0 with these files. The usual metadata is added; a file in the list replaces it,
/// and one with an empty content, of metadata, leaves it out.
fn wheel(files: &[(&str, &str)]) -> Vec<u8> {
    let has = |name: &str| files.iter().any(|(other, _)| *other == name);
    let mut all: Vec<(&str, &str)> = files.to_vec();
    let usual = [
        (METADATA, "Metadata-Version: 2.1\nName: Foo.Bar\nVersion: 1.0\n"),
        (WHEEL, "Wheel-Version: 1.0\n"),
    ];
    all.extend(usual.into_iter().filter(|(name, _)| !has(name)));
    all.retain(|(name, content)| !content.is_empty() || ![METADATA, WHEEL, RECORD].contains(name));
    let mut record: Vec<String> =
        all.iter().map(|(name, content)| format!("{name},sha256=x,{}\n", content.len())).collect();
    record.push(format!("{RECORD},,\n"));
    let record = record.concat();
    if !has(RECORD) {
        all.push((RECORD, &record));
    }
    let members: Vec<_> =
        all.iter().map(|(name, content)| (*name, content.as_bytes(), 0o100_644 << 16)).collect();
    zip(&members)
}

fn plan(wheel: Vec<u8>, target: &Target, origin: Origin) -> Result<(Plan, Archive), Reason> {
    let path = Path::new("/a b/foo_bar-1.0-py3-none-any.whl");
    let original = Original { path, sha256: Sha256::of(b"abc") };
    let mut archive = Archive::from_bytes(wheel)?;
    let plan = Plan::of(&mut archive, original, target, origin)?;
    Ok((plan, archive))
}

fn exact(files: &[(&str, &str)]) -> Result<(Plan, Archive), Reason> {
    plan(wheel(files), &target(), Origin::Exact)
}

/// The paths in the egg, with a `+` where bytecode stays, and a `-` for what is removed again.
fn placed(files: &[(&str, &str)]) -> Vec<String> {
    let (plan, archive) = exact(files).unwrap();
    let mut paths: Vec<String> = plan
        .files(&archive.members)
        .map(|file| {
            let kept = if file.keeps_bytecode { "+" } else { "" };
            let removed = if file.is_removed { "-" } else { "" };
            format!("{}{kept}{removed}", file.path)
        })
        .filter(|path| !path.contains(".dist-info/"))
        .collect();
    paths.sort();
    paths
}

/// The RECORD of the egg, without the rows of metadata.
fn record(files: &[(&str, &str)], compiled: &[&str], target: &Target) -> Vec<String> {
    let (plan, archive) = plan(wheel(files), target, Origin::Exact).unwrap();
    let compiled: HashSet<String> = compiled.iter().map(|path| (*path).to_owned()).collect();
    let bytecode = Bytecode::of(target, 0);
    let metadata = plan.metadata(&archive.members, &compiled, &HashMap::new(), &bytecode);
    let (_, text) = metadata.iter().find(|(path, _)| path.ends_with("/RECORD")).unwrap();
    let text = String::from_utf8(text.clone()).unwrap();
    let rows = text.split_terminator("\r\n").filter(|row| !row.contains(".dist-info/"));
    rows.map(str::to_owned).collect()
}

#[test]
fn the_egg_has_the_name_of_the_metadata() {
    let (plan, archive) = exact(&[("foo.py", "")]).unwrap();
    assert_eq!(plan.egg_name, format!("{EGG}.egg"));
    let paths: Vec<&str> = plan.files(&archive.members).map(|file| file.path).collect();
    assert_eq!(
        paths,
        ["foo.py", &format!("{EGG}.dist-info/METADATA"), &format!("{EGG}.dist-info/WHEEL")]
    );
}

#[test]
fn bytecode_stays_in_packages_that_top_level_names() {
    let files = [
        ("a/__init__.py", "1"),
        ("a/b.py", "1"),
        ("c/__init__.py", "1"),
        ("d.py", "1"),
        (TOP_LEVEL, "a\n\nd\nmissing\n"),
    ];
    assert_eq!(placed(&files), ["a/__init__.py+", "a/b.py+", "c/__init__.py", "d.py"]);
    assert_eq!(placed(&files[..4]), ["a/__init__.py", "a/b.py", "c/__init__.py", "d.py"]);
}

#[test]
fn schemes_are_merged_or_dropped() {
    let files = [
        ("foo_bar-1.0.data/purelib/a/x.py", "1"),
        ("foo_bar-1.0.data/platlib/a/y.so", "1"),
        ("foo_bar-1.0.data/scripts/run", "#!python\n"),
        ("foo_bar-1.0.data/scripts/tool", "#!python\n"),
        ("foo_bar-1.0.data/headers/a.h", "1"),
        ("foo_bar-1.0.data/data/share/a/x.py", "1"),
        (ENTRY_POINTS, "[console_scripts]\ntool = a.x:main\n"),
        (TOP_LEVEL, "a\n"),
    ];
    assert_eq!(placed(&files), ["a/x.py+", "a/y.so+"]);
    let rows = record(&files, &["a/x.py", "../../share/a/x.py"], &target());
    let paths: Vec<&str> = rows.iter().map(|row| row.split(',').next().unwrap()).collect();
    assert_eq!(
        paths,
        [
            "../../bin/run",
            "../../bin/tool",
            "../../include/site/python3.11/foo-bar/a.h",
            "../../share/a/__pycache__/x.cpython-311.pyc",
            "../../share/a/x.py",
            "a/__pycache__/x.cpython-311.pyc",
            "a/x.py",
            "a/y.so",
            // pip generates this script instead, and leaves the row alone.
            "foo_bar-1.0.data/scripts/tool",
        ]
    );
    let target = Target { is_virtual: false, pip: Some("24.0".into()), ..target() };
    let rows = record(&files, &[], &target);
    assert!(
        rows.iter().any(|row| row.starts_with("../../include/python/foo-bar/a.h,")),
        "{rows:?}"
    );
}

#[test]
fn lonely_namespace_declarations_are_removed() {
    let declaration = "__import__('pkg_resources').declare_namespace(__name__)\n";
    let files = [
        ("ns/__init__.py", declaration),
        ("ns/a/__init__.py", "1"),
        ("both/__init__.py", declaration),
        ("both/other.py", "1"),
        (TOP_LEVEL, "ns\nboth\n"),
    ];
    assert_eq!(
        placed(&files),
        ["both/__init__.py+", "both/other.py+", "ns/__init__.py+-", "ns/a/__init__.py+"]
    );
}

#[test]
fn metadata_is_what_pip_writes() {
    let files = [("a.py", "1"), (ENTRY_POINTS, "[console_scripts]\nrun = a:main\n")];
    let (plan, archive) = exact(&files).unwrap();
    let none = (HashSet::new(), HashMap::new());
    let found = plan.metadata(&archive.members, &none.0, &none.1, &Bytecode::of(&target(), 0));
    let find = |name: &str| {
        let found = found.iter().find(|(path, _)| path == &format!("{EGG}.dist-info/{name}"));
        String::from_utf8(found.unwrap().1.clone()).unwrap()
    };
    assert_eq!((find("INSTALLER").as_str(), find("REQUESTED").as_str()), ("pip\n", ""));
    let digest = Sha256::of(b"abc");
    assert_eq!(
        find("direct_url.json"),
        format!(
            "{{\"archive_info\": {{\"hash\": \"sha256={digest}\", \"hashes\": {{\"sha256\": \
             \"{digest}\"}}}}, \"url\": \"file:///a%20b/foo_bar-1.0-py3-none-any.whl\"}}"
        )
    );
    let script =
        b"#!/venv/bin/python\nimport sys\nfrom a import main\nif __name__ == '__main__':\n    \
        sys.argv[0] = sys.argv[0].removesuffix('.exe')\n    sys.exit(main())\n";
    let row = format!("../../bin/run,{},{}\r\n", Sha256::of(script).in_record(), script.len());
    let rows = find("RECORD");
    assert!(rows.starts_with(&row), "{rows}");
    let info = "foo_bar-1.0.dist-info";
    for row in [
        format!("{info}/RECORD,,\r\n"),
        format!("{info}/INSTALLER,{},4\r\n", Sha256::of(b"pip\n").in_record()),
        format!("{info}/REQUESTED,{},0\r\n", Sha256::of(b"").in_record()),
    ] {
        assert!(rows.contains(&row), "{rows}");
    }
}

#[test]
fn an_old_pip_does_not_record_the_digest_of_an_archive() {
    let old = Target { pip: Some("23.0.1".into()), ..target() };
    let (plan, archive) = plan(wheel(&[("a.py", "1")]), &old, Origin::Exact).unwrap();
    let bytecode = Bytecode::of(&old, 0);
    let metadata = plan.metadata(&archive.members, &HashSet::new(), &HashMap::new(), &bytecode);
    let expected = r#"{"archive_info": {}, "url": "file:///a%20b/foo_bar-1.0-py3-none-any.whl"}"#;
    assert!(metadata.iter().any(|(_, content)| content == expected.as_bytes()));
}

#[test]
fn a_portable_egg_names_no_path() {
    let files = [("a.py", "1"), (ENTRY_POINTS, "[console_scripts]\nrun = a:main\n")];
    let metadata = |target: &Target| {
        let (plan, archive) = plan(wheel(&files), target, Origin::Portable).unwrap();
        let bytecode = Bytecode::of(target, 0);
        plan.metadata(&archive.members, &HashSet::new(), &HashMap::new(), &bytecode)
    };
    let other = Target {
        executable: "/another/python".into(),
        pip: Some("23.2.1".into()),
        is_virtual: false,
        ..target()
    };
    assert_eq!(metadata(&target()), metadata(&other));
    let [.., (_, direct_url), _] = &metadata(&other)[..] else { panic!() };
    let direct_url = String::from_utf8_lossy(direct_url);
    assert!(
        direct_url.ends_with("\"url\": \"file:///foo_bar-1.0-py3-none-any.whl\"}"),
        "{direct_url}"
    );
}

#[test]
fn unusual_wheels_are_left_to_buildout() {
    for (files, reason) in [
        (&[(METADATA, "")][..], "its METADATA is missing"),
        (&[(WHEEL, "")], "its WHEEL is missing"),
        (&[(RECORD, "")], "its RECORD is missing"),
        (&[(WHEEL, "Wheel-Version: 2.0\n")], "another Wheel-Version"),
        (&[(METADATA, "Name: other\nVersion: 1.0\n")], "its name is"),
        (&[("other-1.dist-info/x", "1")], "no or more than one"),
        (&[("other-1.dist-info/", "")], "no or more than one"),
        (&[(ENTRY_POINTS, "[other]\njust a line\n")], "unusual entry point"),
        (&[(ENTRY_POINTS, "[ console_scripts ]\na = b:c\n")], "unusual section"),
        (&[(METADATA, "Name: Foo.Bar\nVersion: 1.0\nRequires-Dist: !\n")], "unusual requirement"),
        (&[("foo.egg-info/PKG-INFO", "1")], "part of another distribution"),
        (&[("foo_bar-1.0.dist-info/INSTALLER", "x")], "pip's own files"),
        (&[("foo_bar-1.0.dist-info/direct_url.json", "x")], "pip's own files"),
        (&[("a/__pycache__/x.cpython-311.pyc", "1")], "is bytecode"),
        (&[("a/x.pyc", "1")], "is bytecode"),
        (&[("a/.py", "1")], "without a module"),
        (&[("x.data/other/a", "1")], "unknown installation scheme"),
        (&[("x.data/scripts", "1")], "unknown installation scheme"),
        (&[("x.data/data/lib/a", "1")], "is data in lib"),
        (&[("x.data/purelib/b-1.dist-info/a", "1")], "metadata outside"),
        (&[("a/x.py", "1"), ("x.data/purelib/a/x.py", "1")], "are one file"),
        (&[("a", "1"), ("x.data/purelib/a/x.py", "1")], "are one file"),
        (&[("a/x.py", "1"), ("x.data/purelib/A/y.py", "1")], "differ only in case"),
        (&[("a/x.py", "1"), ("a/X.py", "1")], "differ only in case"),
        (&[("bin/x.py", "1"), ("x.data/scripts/y", "1")], "bin is a package"),
        (&[("bin/x.py", "1"), (ENTRY_POINTS, "# console_scripts\n")], "bin is a package"),
        (&[(TOP_LEVEL, "a/b\n")], "top_level.txt names"),
        (&[(TOP_LEVEL, "..\n")], "top_level.txt names"),
        (&[(TOP_LEVEL, "share\n")], "top_level.txt names"),
        (&[(TOP_LEVEL, "etc\n"), ("x.data/data/etc/y", "1")], "top_level.txt names"),
        (&[(TOP_LEVEL, "a\na\n")], "top_level.txt names"),
        (&[(TOP_LEVEL, "é\n")], "not ASCII"),
        (&[(RECORD, "../x,,\n")], "outside of the egg"),
        (&[(RECORD, "a,,\n"), ("a/x.py", "1")], "names the directory a"),
        (&[(RECORD, "a,b,c,d\n")], "its RECORD has a row"),
        (&[(RECORD, &"a,,\n".repeat(13))], "more than 12 rows in RECORD"),
        (&[(ENTRY_POINTS, "[console_scripts]\npip = a:b\n")], "it is pip"),
        (&[("ns/__init__.py", "# é")], "not ASCII"),
    ] {
        let error = exact(files).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(reason), "{files:?}: {error}");
    }
}

#[test]
fn members_that_are_not_plain_files_are_refused() {
    for (name, attributes, reason) in [
        ("a", 0o120_777 << 16, "is a symlink"),
        ("a", 0o020_666 << 16, "is not a regular file"),
        ("a", 0o010_666 << 16, "is not a regular file"),
        ("a\nb", 0, "strange characters"),
        ("a\\b", 0, "strange characters"),
        ("/a", 0, "does not stay inside"),
        ("a/../../b", 0, "does not stay inside"),
        ("a//b", 0, "does not stay inside"),
    ] {
        let error = Archive::from_bytes(zip(&[(name, b"1", attributes)])).unwrap_err().to_string();
        assert!(error.contains(reason), "{name:?}: {error}");
    }
}

#[test]
fn only_regular_files_with_an_x_bit_are_executable() {
    for (attributes, expected) in
        [(0o100_755 << 16, true), (0o100_644 << 16, false), (0o755 << 16, false), (0, false)]
    {
        let archive = Archive::from_bytes(zip(&[("a", b"1", attributes)])).unwrap();
        assert_eq!(archive.members[0].is_executable, expected, "{attributes:o}");
    }
}

#[test]
fn the_newest_file_gives_the_time() {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, day) in [("a", 1), ("b", 31), ("c", 2)] {
        let time = zip::DateTime::from_date_and_time(2024, 12, day, 1, 2, 4).unwrap();
        zip.start_file(name, SimpleFileOptions::default().last_modified_time(time)).unwrap();
    }
    let archive = Archive::from_bytes(zip.finish().unwrap().into_inner()).unwrap();
    assert_eq!(archive.newest, 1_735_606_924);
}

/// Changes each occurrence of `from`.
fn replaced(mut bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    for at in 0..bytes.len() - from.len() {
        if bytes[at..].starts_with(from) {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
    }
    bytes
}

#[test]
fn two_members_with_one_name_are_refused() {
    let bytes = replaced(zip(&[("aaaa", b"1", 0), ("bbbb", b"2", 0)]), b"bbbb", b"aaaa");
    let error = Archive::from_bytes(bytes).unwrap_err().to_string();
    assert!(error.contains("the same name"), "{error}");
}

#[test]
fn what_python_cannot_unpack_is_refused() {
    let whole = zip(&[("a", b"1", 0), ("b", b"1", 0)]);
    let last = (0..whole.len()).rfind(|&at| whole[at..].starts_with(b"PK\x01\x02")).unwrap();
    // The version that is needed, and flags: patched data, strong encryption, a masked directory.
    for (at, byte, is_refused) in [
        (6, 63, false),
        (6, 64, true),
        (7, 1, true),
        (8, 0x20, true),
        (8, 0x40, true),
        (9, 0x20, true),
    ] {
        let mut bytes = whole.clone();
        bytes[last + at] = byte;
        let found = Archive::from_bytes(bytes).map(|_| ()).map_err(|reason| reason.to_string());
        let expected = Err("b needs a newer version of zip".to_owned());
        assert_eq!(found, if is_refused { expected } else { Ok(()) }, "{at} {byte}");
    }
}

#[test]
fn absurd_sizes_are_refused() {
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for options in [stored, SimpleFileOptions::default()] {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file("a", options).unwrap();
        zip.write_all(&[7; 0x0101]).unwrap();
        let bytes = zip.finish().unwrap().into_inner();
        // The length of the content, in both headers and as both sizes if it is stored.
        let bytes = replaced(bytes, &[1, 1, 0, 0], &[0xff, 0xff, 0xff, 0x7f]);
        assert!(Archive::from_bytes(bytes).is_err());
    }
}

#[test]
fn a_truncated_or_damaged_wheel_is_refused_and_never_panics() {
    let whole = wheel(&[("a/__init__.py", "x = 1\n"), (TOP_LEVEL, "a\n")]);
    for length in 0..whole.len() {
        let cut = whole[..length].to_vec();
        assert!(plan(cut, &target(), Origin::Exact).is_err(), "{length}");
    }
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0xff;
        if let Ok((plan, mut archive)) = plan(damaged, &target(), Origin::Exact) {
            let members = archive.members.clone();
            for file in plan.files(&members) {
                let _ = archive.content(file.member, 1 << 20);
            }
        }
    }
}

#[test]
fn damaged_content_is_found() {
    let content: Vec<u8> = (0..=u8::MAX).collect();
    let mut bytes = zip(&[("a", &content, 0)]);
    bytes[40] ^= 0x55;
    let mut archive = Archive::from_bytes(bytes).unwrap();
    let member = archive.members[0].clone();
    let error = archive.content(&member, 1 << 20).unwrap_err().to_string();
    assert_eq!(error, "a is damaged");
    assert!(archive.content(&member, 10).unwrap_err().to_string().contains("is too long"));
}
