//! Archives made to harm the person who unpacks them: `bundle --verify` reports each.

use std::fmt::Write;
use std::fs;
use std::os::unix::process::ExitStatusExt;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

use crate::support::{Sandbox, names_in, text, write};

const TIME: u64 = 1_600_000_000;

/// An archive whose manifest agrees with its members, unless a test changes one of them.
struct Forgery {
    prefix: String,
    entries: Vec<Value>,
    members: Vec<Vec<u8>>,
}

impl Forgery {
    fn new() -> Self {
        Self { prefix: "app".into(), entries: Vec::new(), members: Vec::new() }
    }

    fn with_prefix(prefix: &str) -> Self {
        Self { prefix: prefix.into(), ..Self::new() }
    }

    fn name(&self, path: &str) -> String {
        if self.prefix.is_empty() { path.into() } else { format!("{}/{path}", self.prefix) }
    }

    fn listed(mut self, entry: Value) -> Self {
        self.entries.push(entry);
        self
    }

    fn member(mut self, header: &mut Header, content: &[u8]) -> Self {
        self.members.push(packed(header, content));
        self
    }

    fn folder(self, path: &str) -> Self {
        let name = format!("{}/", self.name(path));
        self.listed(json!({"path": path, "kind": "directory", "mtime": TIME}))
            .member(&mut header(&name, EntryType::Directory, 0o755, 0), b"")
    }

    fn listed_file(self, path: &str, content: &[u8]) -> Self {
        let sha256 = Sha256::digest(content).iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        });
        self.listed(json!({"path": path, "kind": "file", "size": content.len(),
                           "executable": false, "sha256": sha256, "mtime": TIME}))
    }

    /// A file whose header a test changes.
    fn file_with(self, path: &str, change: impl FnOnce(&mut Header)) -> Self {
        let mut header = header(&self.name(path), EntryType::Regular, 0o644, 5);
        change(&mut header);
        self.listed_file(path, b"text\n").member(&mut header, b"text\n")
    }

    fn file(self, path: &str) -> Self {
        self.file_with(path, |_| ())
    }

    fn symlink(self, path: &str, target: &str) -> Self {
        let mut header = header(&self.name(path), EntryType::Symlink, 0o777, 0);
        header.set_link_name_literal(target).unwrap();
        self.listed(json!({"path": path, "kind": "symlink", "target": target, "mtime": TIME}))
            .member(&mut header, b"")
    }

    /// The archive without its end.
    fn open_archive(&self) -> Vec<u8> {
        let manifest = json!({"format": 1, "eggcache": "0.1.0", "prefix": self.prefix,
                              "eggs": [], "entries": self.entries});
        let manifest = manifest.to_string();
        let name = self.name(".eggcache-bundle.json");
        let mut first = header(&name, EntryType::Regular, 0o644, manifest.len() as u64);
        let mut archive = packed(&mut first, manifest.as_bytes());
        archive.extend(self.members.concat());
        archive
    }

    /// The problems that `bundle --verify` finds.
    fn problems(&self, sandbox: &Sandbox) -> Vec<(String, String)> {
        problems(sandbox, &[self.open_archive(), vec![0; 1024]].concat())
    }
}

#[test]
fn an_archive_that_ends_in_endless_zeros_is_a_problem() {
    let sandbox = Sandbox::new();
    let archive = Forgery::new().folder("a").open_archive();
    assert_eq!(problems(&sandbox, &[&archive[..], &vec![0; 1 << 20]].concat()), []);
    let says = "more than 1 MiB of zeros after the end of the archive";
    assert_eq!(
        problems(&sandbox, &[&archive[..], &vec![0; 3 << 20]].concat()),
        [(String::new(), says.to_owned())]
    );
    // A device can be endless.
    sandbox.fails("bundle --verify /dev/zero", 1).says(&["it is a device"]);
}

fn problems(sandbox: &Sandbox, archive: &[u8]) -> Vec<(String, String)> {
    fs::write(sandbox.path("forged.tar"), archive).unwrap();
    let output = sandbox.eggcache("--json bundle --verify forged.tar").output().unwrap();
    assert_eq!(output.status.signal(), None);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let problem = |it: &Value| (text(&it["path"]).to_owned(), text(&it["what"]).to_owned());
    let found: Vec<_> = report["problems"].as_array().unwrap().iter().map(problem).collect();
    assert_eq!(output.status.code(), Some(if found.is_empty() { 0 } else { 4 }));
    found
}

/// A header of GNU tar. The name is taken as it is.
fn header(name: &str, kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(TIME);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_username("root").unwrap();
    header.set_groupname("root").unwrap();
    header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
    header
}

fn packed(header: &mut Header, content: &[u8]) -> Vec<u8> {
    header.set_cksum();
    let mut bytes = [header.as_bytes(), content].concat();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// Sets a field of a header, which begins at this offset.
fn set(header: &mut Header, at: usize, bytes: &[u8]) {
    header.as_mut_bytes()[at..at + bytes.len()].copy_from_slice(bytes);
}

#[track_caller]
fn assert_found(forgery: &Forgery, path: &str, what: &str) {
    let sandbox = Sandbox::new();
    let found = forgery.problems(&sandbox);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].0 == path && found[0].1.contains(what), "{found:?}");
}

#[test]
fn a_forged_archive_without_harm_verifies() {
    let forgery = Forgery::new()
        .folder("bin")
        .file("bin/run")
        .symlink("bin/python", "/usr/bin/python3")
        .file("README")
        .file("readme");
    assert_eq!(forgery.problems(&Sandbox::new()), []);
    assert_eq!(Forgery::with_prefix("").file("run").problems(&Sandbox::new()), []);
}

#[test]
fn a_member_that_leaves_its_folder_is_found() {
    for path in ["../evil", "bin/../../evil", "/evil", "./evil", "bin/./evil", "bin//evil", ".."] {
        let forgery = Forgery::new().folder("bin").file(path);
        assert_found(&forgery, &format!("app/{path}"), "its path is not inside the archive");
    }
    for path in ["/etc/evil", "../evil"] {
        assert_found(&Forgery::with_prefix("").file(path), path, "not inside the archive");
    }
}

#[test]
fn a_folder_of_the_archive_that_leaves_the_current_one_is_found() {
    for prefix in ["/etc", "..", "a/../../b", "a//b", "./a", "a/"] {
        let found = Forgery::with_prefix(prefix).file("evil").problems(&Sandbox::new());
        assert!(found.iter().any(|(_, what)| what.contains("folder")), "{prefix}: {found:?}");
    }
}

#[test]
fn a_member_behind_a_symlink_or_a_file_is_found() {
    let behind = Forgery::new().symlink("a", "/etc").file("a/evil");
    assert_found(&behind, "app/a/evil", "app/a is not a folder");
    let deep = Forgery::new().folder("a").symlink("a/b", "..").file("a/b/evil");
    assert_found(&deep, "app/a/b/evil", "app/a/b is not a folder");
    let later = Forgery::new().file("a/evil").symlink("a", "/etc");
    assert_found(&later, "app/a/evil", "app/a is not a folder");
    assert_found(&Forgery::new().file("a").file("a/evil"), "app/a/evil", "app/a is not a folder");
    assert_found(&Forgery::new().file("a/evil"), "app/a/evil", "app/a is not in the archive");
}

#[test]
fn a_name_that_occurs_twice_is_found() {
    let twice = Forgery::new().file("a").file("a");
    assert_found(&twice, "app/a", "twice in the manifest");
    let changes = Forgery::new().symlink("a", "/etc").folder("a").file("a/evil");
    let found = changes.problems(&Sandbox::new());
    assert!(found.iter().any(|it| it.1.contains("twice in the manifest")), "{found:?}");
    let listed_twice = Forgery::new().listed_file("a", b"text\n").file("a");
    assert_found(&listed_twice, "app/a", "twice in the manifest");
    let itself = Forgery::new().symlink(".eggcache-bundle.json", "/etc/passwd");
    assert_found(&itself, "app/.eggcache-bundle.json", "the name of the manifest");
    let again = header("app/a", EntryType::Regular, 0o644, 5);
    let not_listed = Forgery::new().file("a").member(&mut again.clone(), b"text\n");
    assert_found(&not_listed, "app/a", "duplicate");
}

#[test]
fn a_symlink_that_is_another_name_of_a_member_elsewhere_is_found() {
    // Where file names differ in more than their case, this unpacks into the symlink.
    let forgery = Forgery::new().symlink("LIB", "/etc").folder("lib").file("lib/evil");
    assert_found(&forgery, "app/LIB", "differs from app/lib only by case");
    let forgery = Forgery::new().symlink("\u{212a}ey", "/etc/key").file("key");
    assert_found(&forgery, "app/\u{212a}ey", "differs from app/key only by case");
    let forgery = Forgery::new().symlink("LIB", "/etc").file("lib");
    assert_found(&forgery, "app/LIB", "differs from app/lib only by case");
}

#[test]
fn a_member_of_another_kind_is_found() {
    for kind in [
        EntryType::Link,
        EntryType::Char,
        EntryType::Block,
        EntryType::Fifo,
        EntryType::Continuous,
        EntryType::GNUSparse,
        EntryType::XHeader,
        EntryType::XGlobalHeader,
        EntryType::Directory,
    ] {
        let forgery = Forgery::new().file_with("a", |header| header.set_entry_type(kind));
        assert_found(&forgery, "app/a", "not a file");
    }
    let folder = Forgery::new().file_with("a", |header| set(header, 0, b"app/a/"));
    assert_found(&folder, "app/a", "unusual name");
}

#[test]
fn a_header_that_programs_read_differently_is_found() {
    type Change = fn(&mut Header);
    let changes: [Change; 8] = [
        // 5 to a program that reads the last 8 bytes.
        |it| set(it, 124, &[0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5]),
        |it| set(it, 124, b"          5 "),
        |it| set(it, 100, b"    644\0"),
        |it| set(it, 108, &[0x80, 0, 0, 0, 0, 0, 0, 0]),
        // As root, tar gives the file to this user and not to the one of the number.
        |it| it.set_username("daemon").unwrap(),
        |it| it.set_groupname("daemon").unwrap(),
        |it| it.set_link_name_literal("/etc/passwd").unwrap(),
        // Programs differ in whether the name is app/a or evil/app/a.
        |it| {
            set(it, 257, b"ustar\x0000");
            set(it, 345, b"\0evil");
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let found = Forgery::new().file_with("a", change).problems(&Sandbox::new());
        assert_eq!(found.len(), 1, "{number}: {found:?}");
        assert!(found[0].1.contains("unusual header"), "{number}: {found:?}");
    }
}

#[test]
fn a_folder_or_symlink_with_content_is_found() {
    let hidden = packed(&mut header("app/evil", EntryType::Regular, 0o644, 0), b"");
    for (kind, mode, entry) in [
        (EntryType::Directory, 0o755, json!({"path": "a", "kind": "directory", "mtime": TIME})),
        (
            EntryType::Symlink,
            0o777,
            json!({"path": "a", "kind": "symlink", "target": "b", "mtime": TIME}),
        ),
    ] {
        let name = if kind == EntryType::Directory { "app/a/" } else { "app/a" };
        // To a program that ignores the size, the content is a member.
        let mut header = header(name, kind, mode, 512);
        if kind == EntryType::Symlink {
            header.set_link_name_literal("b").unwrap();
        }
        let forgery = Forgery::new().listed(entry).member(&mut header, &hidden);
        assert_found(&forgery, "app/a", "unusual header");
    }
}

#[test]
fn a_long_name_that_programs_read_differently_is_found() {
    let long = |name: &[u8], size: &[u8]| {
        let mut long = header("././@LongLink", EntryType::GNULongName, 0, name.len() as u64);
        set(&mut long, 124, size);
        packed(&mut long, name)
    };
    let mut forgery = Forgery::new();
    forgery.members.push(long(b"app/a\0b\0", b"00000000010"));
    let cut = forgery
        .listed_file("a\0b", b"text\n")
        .member(&mut header("app/a", EntryType::Regular, 0o644, 5), b"text\n");
    let found = cut.problems(&Sandbox::new());
    assert!(found.iter().any(|it| it.1.contains("not inside the archive")), "{found:?}");
    let mut forgery = Forgery::new();
    forgery.members.push(long(b"app/a\0", &[0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 6]));
    let lying = forgery.file("a").problems(&Sandbox::new());
    assert!(lying.iter().any(|it| it.1.contains("cannot be read to its end")), "{lying:?}");
}

#[test]
fn an_archive_that_cannot_be_read_is_described_in_plain_words() {
    let sandbox = Sandbox::new();
    let forgery = Forgery::new().file("a").file("b");
    let whole = forgery.open_archive();
    let second = whole.len() - 1024;
    let change = |at: usize, byte: u8| {
        let mut changed = whole.clone();
        changed[at] = byte;
        changed
    };
    for (archive, says) in [
        (whole[..second + 100].to_vec(), "it ends early"),
        (whole[..whole.len() - 600].to_vec(), "it ends early"),
        (change(second + 200, b'x'), "the header after app/a is not valid"),
        (change(second + 124, b'x'), "the header after app/a is not valid"),
    ] {
        let found = problems(&sandbox, &archive);
        let what = format!("cannot be read to its end: {says}");
        assert!(found.iter().any(|it| it.0.is_empty() && it.1 == what), "{found:?}");
    }
}

#[test]
fn damaged_compressed_data_is_described_in_plain_words() {
    let sandbox = Sandbox::new();
    let whole = [Forgery::new().file("a").open_archive(), vec![0; 1024]].concat();
    fs::write(sandbox.path("whole.tar"), whole).unwrap();
    sandbox.shell("zstd -q --check whole.tar -o whole.tar.zst");
    let mut damaged = fs::read(sandbox.path("whole.tar.zst")).unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    let found = problems(&sandbox, &damaged);
    let what = "cannot be read to its end: its compressed data is damaged";
    assert!(found.iter().any(|it| it.1 == what), "{found:?}");
    let cut = &damaged[..damaged.len() - 2];
    let found = problems(&sandbox, cut);
    assert!(found.iter().any(|it| it.1.contains("it ends early")), "{found:?}");
}

#[test]
fn a_bundle_with_names_and_targets_of_any_length_verifies() {
    let sandbox = Sandbox::new();
    for length in [1, 60, 80, 95, 96, 97, 98, 99, 100, 101, 150, 255] {
        let folder = sandbox.path(&format!("app/{}", "d".repeat(length)));
        write(&folder.join("x".repeat(length)), b"text\n");
        std::os::unix::fs::symlink("x".repeat(length), folder.join("link")).unwrap();
    }
    write(&sandbox.path("app/buildout.cfg"), b"[buildout]\nparts =\n");
    sandbox.ok("bundle app -o app.tar");
    sandbox.ok("bundle --verify app.tar");
    sandbox.shell("mkdir x && cd x && tar xf ../app.tar && tar --owner=0 --group=0 --no-recursion \
                   -cf ../again.tar app/.eggcache-b* $(find app -mindepth 1 ! -name '.eggcache-b*')");
    sandbox.ok("bundle --verify again.tar");
}

#[test]
fn tar_unpacks_a_verified_archive_into_its_folder_only() {
    let sandbox = Sandbox::new();
    let forgery = Forgery::new().folder("bin").file("bin/run").symlink("etc", "/etc");
    assert_eq!(forgery.problems(&sandbox), []);
    sandbox.shell("mkdir unpacked && cd unpacked && tar xf ../forged.tar");
    assert_eq!(names_in(&sandbox.path("unpacked")), ["app"]);
    assert_eq!(names_in(&sandbox.path("unpacked/app")), [".eggcache-bundle.json", "bin", "etc"]);
}
