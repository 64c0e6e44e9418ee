//! Blobs and eggs made by an attacker: whatever they claim, memory stays small, nothing outside is
//! touched, and nothing incomplete is left behind.

use std::fs;
use std::path::PathBuf;

use crate::forge::{self, Member, content, directory, empty_file, file, frame, placement, symlink};
use crate::support::{Mount, Sandbox, metadata, names_in, skip, write};

/// The most memory that a command may use for a hostile blob, in MiB.
const MEMORY: u64 = 256;

/// Runs a command with at most 1 GiB of address space and expects the exit code `code`; asserts
/// that it needed at most [`MEMORY`], and returns its messages.
#[track_caller]
fn bounded(sandbox: &Sandbox, line: &str, code: i32) -> String {
    const SCRIPT: &str = "\
import resource, subprocess, sys
limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
code = subprocess.run(sys.argv[1:], preexec_fn=limit).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
sys.exit(code if code >= 0 else 100)
";
    let mut python = sandbox.process("python3");
    python.args(["-c", SCRIPT]).arg(crate::support::EGGCACHE).args(["--cache", "cache", "-q"]);
    let output = python.args(line.split_whitespace()).env("RAYON_NUM_THREADS", "2").output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{line}: {said}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    let peak: u64 = stdout.lines().last().unwrap().parse().unwrap();
    if std::env::var_os("EGGCACHE_PEAKS").is_some() {
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        skip(&format!("{test}: {line}: {peak} MiB"));
    }
    assert!(peak <= MEMORY, "{line} needs {peak} MiB");
    said
}

/// Writes a blob to the path of its digest.
fn plant(sandbox: &Sandbox, content: &str, blob: &[u8]) -> PathBuf {
    let digest = blake3::hash(content.as_bytes()).to_hex();
    let path = sandbox.path("cache/blobs").join(&digest[..2]).join(&*digest);
    write(&path, blob);
    path
}

/// A cache with one sound egg, and one whose blob an attacker wrote.
fn with_blob(content: &str, blob: &[u8]) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.added("sound", "1.0");
    plant(&sandbox, content, blob);
    sandbox
}

/// Asserts that every command that opens blobs refuses this one and accepts the sound one beside
/// it.
#[track_caller]
fn is_refused(content: &str, blob: &[u8], reason: &str) {
    let sandbox = with_blob(content, blob);
    let said = bounded(&sandbox, "reindex", 4);
    assert!(said.contains(reason), "{reason:?} is not in: {said}");
    let said = bounded(&sandbox, "verify", 4);
    assert!(said.contains(reason), "{reason:?} is not in: {said}");
    assert_eq!(sandbox.listed(), ["sound==1.0"]);
    bounded(&sandbox, "materialize --into out --all", 0);
    assert_eq!(names_in(&sandbox.path("out")), ["sound-1.0-py3.11.egg"]);
}

fn below(entries: impl IntoIterator<Item = String>) -> String {
    let mut all = directory("");
    for entry in entries {
        all.push(',');
        all.push_str(&entry);
    }
    content(&all)
}

fn unframed(content: &str) -> Vec<u8> {
    forge::blob(content, &placement(4096, ""), b"")
}

/// A manifest with the most entries that an egg may have, or an eighth of that in a quick test.
fn largest(entry: impl Fn(&str) -> String) -> String {
    let size = if thorough() { 64 << 20 } else { 8 << 20 };
    let most = size / (entry("00000").len() + 1) - 10;
    below((0..most.min((1 << 20) - 1)).map(|at| entry(&format!("{at:05x}"))))
}

/// Whether to test the full size, which takes minutes in a build without optimization.
fn thorough() -> bool {
    std::env::var_os("EGGCACHE_THOROUGH").is_some()
}

#[test]
fn a_highly_compressed_manifest_needs_little_memory() {
    let entry = symlink("a", "a");
    let text = below(vec![entry.clone(); (64 << 20) / (entry.len() + 1) - 10]);
    let blob = unframed(&text);
    assert!(blob.len() < 20_000, "{}", blob.len());
    is_refused(&text, &blob, "entr");
}

#[test]
fn an_oversized_manifest_is_not_decoded() {
    let text = content(&" ".repeat(65 << 20));
    is_refused(&text, &unframed(&text), "too large");
}

#[test]
fn an_egg_with_the_most_directories_needs_little_memory() {
    let text = largest(directory);
    let sandbox = with_blob(&text, &unframed(&text));
    bounded(&sandbox, "reindex", 0);
    assert_eq!(sandbox.listed(), ["foo==1.0", "sound==1.0"]);
}

#[test]
fn an_egg_with_the_most_files_needs_little_memory() {
    let text = largest(empty_file);
    let sandbox = with_blob(&text, &unframed(&text));
    bounded(&sandbox, "reindex", 0);
    assert_eq!(sandbox.listed(), ["foo==1.0", "sound==1.0"]);
}

#[test]
fn an_egg_with_too_many_symlinks_is_refused() {
    let text = largest(|path| symlink(path, "x"));
    is_refused(&text, &unframed(&text), "too many symlinks");
}

#[test]
fn an_egg_with_the_most_frames_needs_little_memory() {
    let most = if thorough() { 500_000 } else { 50_000 };
    let text = below([file("a", most * 4096, blake3::hash(b""))]);
    let frames: Vec<String> = (0..most).map(|at| frame(at, b"x", "zstd")).collect();
    let data = vec![b'x'; usize::try_from(most).unwrap()];
    let sandbox = with_blob(&text, &forge::blob(&text, &placement(4096, &frames.join(",")), &data));
    bounded(&sandbox, "reindex", 0);
    bounded(&sandbox, "materialize --into out foo", 1);
    assert_eq!(names_in(&sandbox.path("out")), [""; 0]);
    sandbox.assert_tidy();
}

#[test]
fn long_chains_of_symlinks_do_not_keep_a_reader_busy() {
    // The longest permitted chain, each link of it as deep as permitted, and many links into it.
    let deep = "x/".repeat(2040);
    let chain = (1..=39).map(|at| symlink(&format!("a{:02}", at - 1), &format!("a{at:02}/{deep}")));
    let count = if thorough() { 60_000 } else { 1000 };
    let ways = (0..count).map(|at| symlink(&format!("b{at:05x}"), "a00"));
    let text = below(chain.chain(ways));
    is_refused(&text, &unframed(&text), "leaves the egg");
}

#[test]
fn an_egg_larger_than_the_free_space_is_not_begun() {
    const FRAME: usize = 4 << 20;
    let zeros = zstd::bulk::compress(&vec![0; FRAME], 19).unwrap();
    let count = 10_000;
    let frames: Vec<String> =
        (0..count).map(|at| frame((at * zeros.len()) as u64, &zeros, "zstd")).collect();
    let text = below([file("zeros", (count * FRAME) as u64, blake3::hash(b""))]);
    let blob = forge::blob(&text, &placement(4 << 20, &frames.join(",")), &zeros.repeat(count));
    assert!(blob.len() < 4 << 20, "{}", blob.len());
    let sandbox = with_blob(&text, &blob);
    bounded(&sandbox, "reindex", 0);
    let Some(_mount) = Mount::new(&sandbox.path("out"), "32m") else { return };
    let said = bounded(&sandbox, "materialize --into out --all", 1);
    assert!(said.contains("needs 39.1 GiB") && said.contains("are free"), "{said}");
    assert_eq!(names_in(&sandbox.path("out")), ["sound-1.0-py3.11.egg"]);
    sandbox.assert_tidy();
}

#[test]
fn overlapping_frames_are_refused() {
    let stored = [1; 4096];
    let two = ["a", "b"].map(|path| file(path, 4096, blake3::hash(&stored)));
    let text = below(two);
    let twice = |second: u64| {
        let frames = [frame(0, &stored, "raw"), frame(second, &stored, "raw")].join(",");
        placement(4096, &frames)
    };
    is_refused(&text, &forge::blob(&text, &twice(0), &stored), "frames");
    is_refused(&text, &forge::blob(&text, &twice(4095), &[1; 8191]), "frames");
    for (gap, accepted) in [(0, true), (65536, true), (65537, false)] {
        let data = [&stored[..], &vec![0; gap], &stored].concat();
        let blob = forge::blob(&text, &twice(4096 + gap as u64), &data);
        if accepted {
            let sandbox = with_blob(&text, &blob);
            bounded(&sandbox, "reindex", 0);
            sandbox.ok("materialize --into out foo");
        } else {
            is_refused(&text, &blob, "frames");
        }
    }
}

#[test]
fn lengths_in_a_manifest_are_not_trusted() {
    let abc = blake3::hash(b"abc");
    let one = placement(4096, &frame(0, b"abc", "raw"));
    for (size, from, to) in [
        (u64::MAX, "", ""),
        (1 << 44, "", ""),
        ((1 << 44) + 1, "", ""),
        (3, r#""stored":3"#, r#""stored":18446744073709551615"#),
        (3, r#""offset":0"#, r#""offset":18446744073709551615"#),
        (3, r#""offset":0"#, r#""offset":18446744073709551614"#),
        (3, r#""frame_size":4096"#, r#""frame_size":4294967295"#),
        (3, r#""frame_size":4096"#, r#""frame_size":2147483648"#),
        (3, r#""frame_size":4096"#, r#""frame_size":0"#),
    ] {
        let text = below([file("a", size, abc)]);
        is_refused(&text, &forge::blob(&text, &one.replace(from, to), b"abc"), "damaged");
    }
}

#[test]
fn escaping_and_duplicate_names_are_refused() {
    for paths in [
        &["../a"][..],
        &["/etc/a"],
        &["a/../../b"],
        &["a", "a"],
        &["b", "a"],
        &["a/b"],
        &["a\\u0000"],
        &["."],
        &[".."],
        &["a/"],
    ] {
        let text = below(paths.iter().map(|path| empty_file(path)));
        is_refused(&text, &unframed(&text), "damaged");
    }
    let text = below([symlink("a", ".."), empty_file("b")]);
    is_refused(&text, &unframed(&text), "leaves the egg");
    let text = below([]).replace("foo-1.0-py3.11.egg", "../foo-1.0-py3.11.egg");
    is_refused(&text, &unframed(&text), "has no egg name");
}

/// Mounts a file system at `at` for which `a` and `A` are the same name; `None`, with a message, if
/// that is impossible here.
fn mount_that_ignores_case(sandbox: &Sandbox, at: &str) -> Option<Mounted> {
    if !rustix::process::geteuid().is_root() {
        skip("only root can mount a file system");
        return None;
    }
    fs::create_dir_all(sandbox.path(at)).unwrap();
    let script = format!("truncate -s 8M fat && mkfs.vfat fat && mount -o loop fat {at}");
    let made = sandbox.process("sh").args(["-c", &script]).output().unwrap();
    if !made.status.success() {
        skip("no file system that ignores case can be made here (mkfs.vfat, mount)");
        return None;
    }
    Some(Mounted(sandbox.path(at)))
}

struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn names_that_collide_where_case_is_ignored_are_refused() {
    let colliding = [
        below([empty_file("Readme"), empty_file("readme")]),
        below([directory("A"), directory("a")]),
        below([directory("A"), empty_file("A/x"), empty_file("a")]),
    ];
    let sandbox = Sandbox::new();
    let Some(_mounted) = mount_that_ignores_case(&sandbox, "fat") else { return };
    for text in colliding {
        plant(&sandbox, &text, &unframed(&text));
        sandbox.ok("reindex");
        sandbox.ok("materialize --into out foo");
        let said = sandbox.fails("materialize --into fat foo", 1);
        said.says(&["foo-1.0-py3.11.egg", "File exists"]);
        assert_eq!(names_in(&sandbox.path("fat")), [""; 0]);
        fs::remove_dir_all(sandbox.path("cache/blobs")).unwrap();
        fs::remove_dir_all(sandbox.path("out")).unwrap();
    }
}

fn is_refused_zip(zip: &[u8], reason: &str) {
    let sandbox = Sandbox::new();
    sandbox.egg("sound", "1.0");
    write(&sandbox.path("eggs/foo-1.0-py3.11.egg"), zip);
    let said = bounded(&sandbox, "add eggs", 1);
    assert!(said.contains(reason), "{reason:?} is not in: {said}");
    assert_eq!(sandbox.listed(), ["sound==1.0"]);
    sandbox.assert_tidy();
}

#[test]
fn a_zipped_egg_with_a_member_outside_it_is_refused() {
    let metadata = metadata("foo", "1.0");
    let info = Member { name: b"EGG-INFO/PKG-INFO", content: metadata.as_bytes() };
    for name in [&b"../x"[..], b"/x", b"a/../../x", b"a//x", b"./x", b"a\0x", b"..", b""] {
        let bad = Member { name, content: b"x" };
        is_refused_zip(&forge::zip(&[info.clone(), bad]), "it contains a file whose");
    }
}

#[test]
fn a_zipped_egg_of_bombs_needs_little_memory() {
    let zeros = vec![0; 16 << 20];
    let metadata: Vec<String> = (0..100).map(|at| format!("{at}.dist-info/METADATA")).collect();
    is_refused_zip(&forge::overlapping_zip(&metadata, &zeros), "too large for a zipped egg");
    let long = format!("Name: {}\nVersion: 1.0\n", "a".repeat(15 << 20));
    is_refused_zip(&forge::overlapping_zip(&metadata[..10], long.as_bytes()), "no metadata");
}

#[test]
fn a_wheel_of_deep_directories_needs_little_memory() {
    let sandbox = Sandbox::new();
    // The paths of the directories above each file have 4 MB.
    let deep: Vec<String> = (0..200).map(|top| format!("{top}/{}x", "a/".repeat(2000))).collect();
    let mut files: Vec<(&str, &str)> = deep.iter().map(|path| (path.as_str(), "")).collect();
    // So that nothing is written even if the directories are accepted.
    files.push(("alpha-1.0.dist-info/INSTALLER", ""));
    let wheel = crate::convert::wheel(&sandbox, ".", &files, "");
    bounded(&sandbox, &format!("convert {} --into out", wheel.display()), 0);
    assert!(names_in(&sandbox.path("out")).is_empty());
}

#[test]
fn a_shared_object_with_endless_entries_needs_little_memory() {
    let need = forge::verneed(1, 32, u16::MAX).repeat(2000);
    let strings = [&[0][..], &[b'G'; 4000], &[0]].concat();
    for object in [
        forge::elf(&need, &strings, &[], 1),
        forge::elf(b"", &strings, &vec![1; 60_000], 1),
        forge::elf(b"", &strings, &vec![1; 50_000], 60_000),
    ] {
        let sandbox = Sandbox::new();
        sandbox.egg_with("foo", "1.0", &[("foo.so", &object)]);
        bounded(&sandbox, "add eggs", 0);
        assert_eq!(sandbox.listed(), ["foo==1.0"]);
    }
}
