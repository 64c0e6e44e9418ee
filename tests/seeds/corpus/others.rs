//! ELF objects, compiled files, lists of remotes, policies, files of buildouts and caches,
//! requests and archives.

use std::fs;

use eggcache::progress::Silent;
use eggcache::{bundle, check};

use crate::forge::{elf, verneed};
use crate::properties::entry::SIGNED;
use crate::properties::statement::SIGNED as STATEMENT;

type Seeds = Vec<(&'static str, Vec<u8>)>;

fn texts(seeds: &[(&'static str, &str)]) -> Seeds {
    seeds.iter().map(|&(name, text)| (name, text.as_bytes().to_vec())).collect()
}

pub fn objects() -> Seeds {
    let strings = b"\0libc.so.6\0GLIBC_2.17\0libc.musl-x86_64.so.1\0";
    let glibc = elf(&verneed(11, 0, 1), strings, &[1], 1);
    let changed = |at: usize, with: &[u8]| {
        let mut object = glibc.clone();
        object[at..at + with.len()].copy_from_slice(with);
        object
    };
    vec![
        ("good-glibc", glibc.clone()),
        ("good-musl", elf(&[], strings, &[22], 1)),
        ("good-many-needs", elf(&verneed(11, 32, u16::MAX).repeat(20), strings, &[1; 50], 1)),
        ("bad-empty", Vec::new()),
        ("bad-magic-only", b"\x7fELF".to_vec()),
        ("bad-cut-off", glibc[..glibc.len() / 2].to_vec()),
        ("bad-class", changed(4, &[9])),
        ("bad-sections-elsewhere", changed(40, &u64::MAX.to_le_bytes())),
        ("bad-no-sections", changed(60, &[0, 0])),
    ]
}

pub fn compiled_files() -> Seeds {
    let file = |magic: u16, code: &[u8]| {
        [&magic.to_le_bytes()[..], b"\r\n\0\0\0\0mtimsize", code].concat()
    };
    let module = |numbers: usize, after_line: usize| {
        let constants = b"\xa9\x04>\x02\0\0\0z\x02-az\x02-bg12345678i\x01\0\0\0N";
        let names = b")\x01\xda\x01a";
        let texts = b"z\x01-".repeat(after_line);
        let empty = b")\0".repeat(3);
        let parts = [b"s\0\0\0\0", &constants[..], names, &empty, b"z\x01-Z\x01-line", &texts];
        [&b"c"[..], &vec![0; numbers], &parts.concat()].concat()
    };
    vec![
        ("good-3.10", file(3439, &module(24, 1))),
        ("good-3.11", file(3495, &module(20, 2))),
        ("good-3.14-slice", file(3627, b":i\x01\0\0\0i\x01\0\0\0N")),
        ("good-large-number", file(3531, b")\x02l\xfe\xff\xff\xff1234(\0\0\0\0")),
        ("bad-empty", Vec::new()),
        ("bad-cut-off", file(3495, &module(20, 1))),
        ("bad-magic", file(3496, b"N")),
        ("bad-object-in-itself", file(3495, b"\xa9\x01r\0\0\0\0")),
        ("bad-many-objects", file(3495, b"(\xff\xff\xff\x7fN")),
        ("bad-deep", file(3495, &b")\x01".repeat(1 << 15))),
    ]
}

pub fn entry_lists() -> Seeds {
    let signed = SIGNED.trim_end();
    let among = format!("\n{{}}\n{signed}\n{signed}\nx\u{0}\n");
    let other = signed.replace("foo-1.0-py3.11.egg", "bar-1.0-py3.11.egg");
    let newer = signed.replace("\\\"format\\\":1", "\\\"format\\\":2");
    let unsigned =
        format!("{},\"signatures\":[]}}", signed.split(",\"signatures\"").next().unwrap());
    let long = signed.replace("untrusted comment: eggcache", &"c".repeat(70_000));
    let comment = signed.replace("timestamp:", "timestamp:9");
    let mut seeds = texts(&[
        ("good-signed", signed),
        ("good-among-damage", &among),
        ("bad-empty", ""),
        ("bad-another-text", &other),
        ("bad-newer-format", &newer),
        ("bad-unsigned", &unsigned),
        ("bad-long-line", &long),
        ("bad-trusted-comment", &comment),
        ("bad-nested", &"[".repeat(10_000)),
    ]);
    seeds.push(("bad-not-utf8", b"{\"entry\":\"\xff\",\"signatures\":[]}\n".to_vec()));
    seeds
}

pub fn statements() -> Seeds {
    let signed = STATEMENT.trim_end();
    let unsigned: String = serde_json::from_str::<serde_json::Value>(signed).unwrap()["entry"]
        .as_str()
        .unwrap()
        .to_owned();
    let newer = unsigned.replace("\"number\":1", "\"number\":2");
    texts(&[
        ("good-signed", signed),
        ("good-with-an-end-of-line", STATEMENT),
        ("bad-empty", ""),
        ("bad-unsigned", &unsigned),
        ("bad-unsigned-and-newer", &newer),
        ("bad-another-number", &signed.replace("\\\"number\\\":1", "\\\"number\\\":2")),
        ("bad-two", &format!("{signed}\n{signed}")),
        ("bad-without-signatures", &signed.replace("RUSv", "RUSw")),
        ("bad-nested", &"[".repeat(10_000)),
    ])
}

pub fn policies() -> Seeds {
    texts(&[
        ("good-empty", ""),
        (
            "good-all",
            "[gc]\nmax-age = \"90d\"\nmax-size = \"20GiB\"\nkeep-versions = 3\ngrace = \"30d\"\n",
        ),
        ("good-comment", "# nothing yet\n[gc]\n"),
        ("good-large", "[gc]\nmax-age = \"99999d\"\nmax-size = \"9999TiB\"\n"),
        ("good-larger-than-any-disk", "[gc]\nmax-size = \"99999999999999999999TiB\"\n"),
        ("bad-negative", "[gc]\nkeep-versions = -1\n"),
        ("bad-key", "[gc]\nmax-agee = \"90d\"\n"),
        ("bad-table", "gc = 1\n"),
        ("bad-nested", &"[".repeat(10_000)),
        ("bad-deep-array", &format!("a = {}", "[".repeat(10_000))),
    ])
}

pub fn buildout_files() -> Seeds {
    texts(&[
        (
            "good-plain",
            "[buildout]\nparts = app\n\n[app]\nrecipe = zc.recipe.egg\neggs =\n    a\n    b\n",
        ),
        ("good-operators", "[buildout]\nparts += a\nparts -= b\nfind-links +=\n  /srv/a\n"),
        (
            "good-conditional",
            "[versions:python_version < '3.9']\na = 1\n[versions : not x] # why\n",
        ),
        ("good-macro", "[a]\n<= b\nx = ${b:y}\n"),
        (
            "good-script",
            "#!/usr/bin/python3.11\nsys.path[0:0] = [\n  '/srv/eggs/v5/a-1.0-py3.11.egg',\n]\n[x]\na=b\n",
        ),
        ("bad-empty", ""),
        ("bad-no-section", "a = b\n  c\n"),
        ("bad-headers-only", "[\n]\n[]\n[:]\n[a\n"),
        ("bad-continuations", &" x\n".repeat(3000)),
        ("bad-one-long-line", &"[a".repeat(5000)),
    ])
}

pub fn cache_files() -> Seeds {
    let root = r#"{"directory":"/srv/app","identity":[1,2],"machine":"m","eggs_directory":"/srv/app/eggs","python":"cp311","buildout":"6.0.1","first_run":1,"last_run":2,"eggs":[]}"#;
    let remote = r#"[{"name":"team","url":"file:///srv/eggs/","trusted":[]}]"#;
    let pin = r#"{"what":"zope.*","note":"why","pinned_at":1}"#;
    [
        ("good-index-of-nothing", 0, ""),
        ("bad-index-header", 0, "SQLite format 3\0\u{10}\0\u{1}\u{1}\0@  \0\0\0\u{1}\0\0\0\u{1}"),
        ("bad-index-text", 0, "no database"),
        ("good-log-of-nothing", 1, ""),
        ("good-log-text", 1, "no log"),
        ("good-policy", 2, "[gc]\nmax-age = \"90d\"\n"),
        ("good-policy-unread", 2, "[gc\n"),
        ("good-remotes", 3, remote),
        ("good-remotes-unread", 3, "[1]"),
        ("good-root", 4, root),
        ("good-root-unread", 4, "{}"),
        ("good-pin", 5, pin),
        ("bad-pin", 5, "{\"what\":\"<<\"}"),
        ("good-copies", 6, "{}"),
        ("good-tag", 7, "other text"),
    ]
    .map(|(name, choice, text)| (name, [&[choice], text.as_bytes()].concat()))
    .to_vec()
}

pub fn requests() -> Seeds {
    let host = r#"{"implementation":"cp","python":"3.11","soabi":"cpython-311","platform":"linux-x86_64","libc":"glibc 2.99","generation":5,"environment":""}"#
        .replace("3.11", "3\u{b7}11")
        .replace("2.99", "2");
    let open = format!(
        r#"{{"op":"open","cache":"@cache","host":{host},"buildout":"6","setuptools":"80","eggs_directory":"@eggs","configuration":"x"}}"#
    );
    let find = r#"{"op":"find","name":"x","variant":"","version":"1"}"#;
    let close = r#"{"op":"close"}"#;
    let lines = |lines: &[&str]| (lines.join("\n") + "\n").into_bytes();
    vec![
        ("good-open", lines(&[&open, find, close])),
        ("good-two-sessions", lines(&[&open, &open, find])),
        (
            "good-all",
            lines(&[
                &open,
                r#"{"op":"look","wanted":[{"name":"x","version":"1"}]}"#,
                r#"{"op":"lease","name":"x","variant":"","version":"2"}"#,
                r#"{"op":"store","path":"@egg","source_sha256":"","variant":"","source":null,"build_seconds":1}"#,
                r#"{"op":"settle"}"#,
                r#"{"op":"root","directory":"@","eggs_directory":"@eggs","eggs":[],"whole":true}"#,
                close,
            ]),
        ),
        ("good-close", lines(&[close])),
        ("bad-not-open", lines(&[find])),
        ("bad-op", lines(&[r#"{"op":"fly"}"#])),
        ("bad-empty", Vec::new()),
        ("bad-nested", lines(&[&"[".repeat(10_000)])),
        ("bad-not-utf8", b"{\"op\":\"\xff\"}\n".to_vec()),
        ("bad-path", lines(&[r#"{"op":"store","path":"/etc/passwd"}"#])),
    ]
}

pub fn archives() -> Seeds {
    let dir = tempfile::tempdir().unwrap();
    let app = dir.path().join("app");
    for (path, content) in
        [("buildout.cfg", "[buildout]\nparts =\n"), ("parts/app/app.conf", "port = 8080\n")]
    {
        let path = app.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    fs::create_dir_all(app.join("eggs")).unwrap();
    std::os::unix::fs::symlink("app/app.conf", app.join("parts/link")).unwrap();
    let checked = check::check(None, &app, &check::Options::default(), &Silent).unwrap();
    let output = dir.path().join("app.tar");
    let mtimes = bundle::Mtimes::Given(0);
    let options = bundle::Options { output: output.clone(), mtimes, ..bundle::Options::default() };
    bundle::bundle(None, &checked, &options, &Silent).unwrap();
    let tar = fs::read(output).unwrap();
    let plain = |tar: &[u8]| [b"t", tar].concat();
    let changed = |from: &[u8], to: &[u8]| {
        let mut tar = tar.clone();
        let at = tar.windows(from.len()).position(|found| found == from).unwrap();
        tar[at..at + to.len()].copy_from_slice(to);
        plain(&tar)
    };
    vec![
        ("good-plain", plain(&tar)),
        ("good-compressed", [b"z", &tar[..]].concat()),
        ("bad-empty", plain(b"")),
        ("bad-cut-off", plain(&tar[..1000])),
        ("bad-content", changed(b"port = 8080", b"port = 8081")),
        ("bad-member", changed(b"app/parts/app/app.conf\0", b"app/parts/app/../conf\0")),
        ("bad-version", changed(b"\"format\":1", b"\"format\":9")),
        ("bad-zeros", plain(&[0; 4096])),
        ("bad-twice", plain(&[&tar[..], &tar[..]].concat())),
    ]
}
