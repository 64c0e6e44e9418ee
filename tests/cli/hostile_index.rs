//! An index that somebody else has written: it cannot act, and nothing in it is trusted.

use std::fs;
use std::path::Path;
use std::time::Duration;

use assert_cmd::Command;
use eggcache::progress::Silent;
use eggcache::query::Narrow;
use eggcache::{Cache, Error, gc, list, plan, roots, stats, verify};
use rusqlite::Connection;

use crate::support::{Sandbox, assert_same, tree};

const NOW: i64 = 4_000_000_000; // in the future of every run of this test

#[track_caller]
fn assert_refused_and_rebuilt(sandbox: &Sandbox, what: &str) {
    for line in ["list", "show foo", "stats", "gc", "gc --dry-run", "materialize --into out foo"] {
        let output = sandbox.run(line).code(1);
        let stderr = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
        assert!(stderr.contains("index.sqlite is damaged"), "{what}: {line}: {stderr}");
        assert!(stderr.contains("eggcache reindex"), "{what}: {line}: {stderr}");
    }
    assert!(!sandbox.path("out").exists(), "{what}");
    sandbox.fails("verify", 4).says(&["index.sqlite is damaged"]);
    sandbox.ok("verify --repair").says(&["rebuilt from the blobs"]);
    assert_eq!(sandbox.listed(), ["bar==2.0", "foo==1.0"], "{what}");
    sandbox.ok("verify");
}

#[test]
fn a_schema_that_acts_or_differs_is_refused_and_rebuilt() {
    let edit = |from: &str, to: &str| {
        format!(
            "PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = replace(sql, '{from}', '{to}');
             PRAGMA writable_schema = RESET"
        )
    };
    for (what, sql) in [
        ("trigger", "CREATE TRIGGER t AFTER UPDATE ON eggs BEGIN DELETE FROM eggs; END".into()),
        ("view", "ALTER TABLE days RENAME TO d; CREATE VIEW days AS SELECT * FROM d".into()),
        ("more", "CREATE TABLE more (x)".into()),
        ("virtual", "CREATE VIRTUAL TABLE v USING fts5(x)".into()),
        ("index", "CREATE INDEX i ON eggs (abs(uses))".into()),
        ("column", "ALTER TABLE eggs ADD COLUMN x TEXT".into()),
        ("generated", "ALTER TABLE eggs ADD COLUMN x BLOB AS (zeroblob(1000000000))".into()),
        ("less", "DROP INDEX eggs_by_file_name".into()),
        ("statistics", "ANALYZE".into()),
        ("check", edit("(length(digest) = 64)", "(randomblob(1000000000))")),
        ("default", edit("DEFAULT 0", "DEFAULT (random())")),
        ("comment", edit("-- The egg key.", "/* */")),
        ("quoted", edit("''max-size''", "''max-size-- \n''")),
    ] as [(&str, String); 13]
    {
        let sandbox = Sandbox::with_two();
        sandbox.sql(&sql);
        assert_refused_and_rebuilt(&sandbox, what);
    }
}

#[test]
fn a_trigger_in_an_index_changes_nothing() {
    let sandbox = Sandbox::with_two();
    sandbox.sql(
        "CREATE TRIGGER t AFTER INSERT ON eggs BEGIN DELETE FROM eggs WHERE name = 'foo'; END",
    );
    sandbox.egg("new", "1.0");
    sandbox.fails("add eggs", 1).says(&["index.sqlite is damaged"]);
    sandbox.ok("reindex").says(&["set-aside"]);
    sandbox.ok("add eggs");
    assert_eq!(sandbox.listed(), ["bar==2.0", "foo==1.0", "new==1.0"]);
}

#[test]
fn rows_with_texts_that_no_egg_has_are_damage() {
    for (column, text) in [
        ("file_name", "'../../evil-1.0.egg'"),
        ("file_name", "'..'"),
        ("file_name", "'/evil-1.0.egg'"),
        ("file_name", "'sub/evil-1.0.egg'"),
        ("file_name", "'evil' || char(10) || '-1.0.egg'"),
        ("file_name", "'evil' || char(0) || '-1.0.egg'"),
        ("file_name", "'.eggcache-1.0.egg'"),
        ("file_name", "''"),
        ("name", "'fo' || char(10) || 'o'"),
        ("name", "'fo/o'"),
        ("name", "''"),
        ("version", "'1' || char(0)"),
        ("version", "'../1'"),
        ("python", "'cp/311'"),
        ("source_sha256", "'../../etc/passwd'"),
        ("source", "CAST(x'ff' AS TEXT)"),
        ("source", "printf('%.*c', 3000000, 'x')"),
    ] {
        let sandbox = Sandbox::with_two();
        sandbox.sql(&format!("UPDATE eggs SET {column} = {text} WHERE name = 'foo'"));
        let before = tree(&sandbox.path(""));
        for line in ["list", "gc --dry-run", "stats"] {
            sandbox.fails(line, 1).says(&["index.sqlite is damaged", "eggcache reindex"]);
        }
        assert_same(&before, &tree(&sandbox.path("")));
        sandbox.ok("verify --repair");
        assert_eq!(sandbox.listed(), ["bar==2.0", "foo==1.0"], "{column} = {text}");
    }
}

#[test]
fn a_size_that_differs_from_the_blob_is_found_and_mended() {
    let sandbox = Sandbox::with_two();
    let before = sandbox.json("list")["blob_bytes"].clone();
    for size in ["1", "blob_bytes + 1", "-blob_bytes", "9223372036854775807"] {
        sandbox.sql(&format!("UPDATE eggs SET blob_bytes = {size}, uses = 7 WHERE name = 'foo'"));
        sandbox
            .ok("verify")
            .says(&["`eggcache verify --repair` corrects the size in 1 index entry"]);
        assert_eq!(sandbox.json("verify")["stale_rows"].as_array().unwrap().len(), 1);
        sandbox.ok("verify --repair").says(&["size corrected in 1 index entry"]);
        assert_eq!(sandbox.json("list")["blob_bytes"], before);
        assert_eq!(sandbox.json("show foo")["uses"], 7);
    }
}

#[test]
fn absurd_numbers_stop_no_command() {
    let columns = [
        ("eggs", "files directories symlinks bytes blob_bytes uses added_at used_at build_seconds"),
        ("regrets", "blob_bytes used_at evicted_at limit_bytes asked_at"),
        ("evicted", "evicted_at"),
        (
            "days",
            "runs hits misses copied_bytes saved_seconds untimed_hits build_seconds stored \
             stored_bytes evicted evicted_bytes",
        ),
    ];
    let sandbox = Sandbox::with_two();
    sandbox.ok("gc --max-size 1B");
    sandbox.ok("add eggs");
    sandbox.shell("cp -a cache kept");
    for number in ["-1", "9223372036854775807", "-9223372036854775808"] {
        sandbox.shell("rm -rf cache && cp -a kept cache");
        let digest = "SELECT lower(hex(randomblob(32))), 1";
        sandbox.sql(&format!("INSERT INTO evicted {digest}"));
        sandbox.sql("INSERT OR IGNORE INTO days (day) VALUES (86400), (-86400), (0)");
        for (table, columns) in &columns {
            for column in columns.split_whitespace() {
                sandbox.sql(&format!("UPDATE {table} SET {column} = {number}"));
            }
        }
        sandbox
            .sql(&format!("INSERT OR IGNORE INTO days (day) VALUES (({number} / 86400) * 86400)"));
        for line in [
            "list",
            "show foo",
            "stats",
            "--json stats",
            "stats --html stats.html",
            "roots",
            "pins",
            "gc --dry-run --max-size 1kB --max-age 1d --keep-versions 1",
            "materialize --into out --all",
            "gc --max-size 1GiB",
            "verify --repair",
            "stats",
            "verify",
        ] {
            let output = sandbox.eggcache(line).output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{number}: {line}: {stderr}");
        }
    }
    sandbox.sql("UPDATE eggs SET build_seconds = 9e999; UPDATE days SET saved_seconds = 9e999");
    for line in ["--json list", "--json stats", "stats --html stats.html", "show foo"] {
        sandbox.ok(line);
    }
    sandbox.sql("UPDATE eggs SET generation = 300 WHERE name = 'foo'");
    sandbox.fails("list", 1).says(&["index.sqlite is damaged"]);
}

#[test]
fn times_in_the_future_count_as_now() {
    let sandbox = Sandbox::with_two();
    sandbox.sql(&format!("UPDATE eggs SET added_at = {NOW}, used_at = {NOW} WHERE name = 'foo'"));
    let shown = sandbox.json("show foo");
    for time in [&shown["used_at"], &shown["added_at"]] {
        assert!(time.as_i64().unwrap() < NOW, "{shown}");
    }
    // It is not the last one to be evicted for ever.
    sandbox.ok("gc");
    std::thread::sleep(Duration::from_millis(1100));
    sandbox.ok("materialize --into out bar");
    let size = sandbox.json("show bar")["blob_bytes"].as_u64().unwrap();
    sandbox.ok(&format!("gc --max-size {}B", size + 1));
    assert_eq!(sandbox.listed(), ["bar==2.0"]);
    // Nor are evictions remembered for ever, nor buildouts protected.
    sandbox.sql(&format!("UPDATE regrets SET evicted_at = {NOW}, used_at = {NOW}"));
    sandbox.ok("gc");
    let index = Connection::open(sandbox.path("cache/index.sqlite")).unwrap();
    let last: i64 =
        index.query_row("SELECT max(evicted_at) FROM regrets", [], |row| row.get(0)).unwrap();
    assert!(last < NOW);
}

#[test]
fn an_egg_of_the_future_can_be_evicted_at_once() {
    let sandbox = Sandbox::with_two();
    sandbox.sql(&format!("UPDATE eggs SET used_at = {NOW}"));
    sandbox.ok("gc --max-size 1B").says(&["Removed 2 eggs"]);
    assert!(sandbox.listed().is_empty());
}

/// Adds many rows, so that the tree of the table has several levels, and makes each page of the upper
/// levels lead to the next one only, many times: to read the table takes for ever.
fn plant_endless_table(index: &Path) {
    const PAGE: usize = 4096;
    const LEVELS: usize = 15;
    let connection = Connection::open(index).unwrap();
    connection
        .execute_batch(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000)
             INSERT INTO eggs SELECT lower(hex(randomblob(32))), file_name, name, version || i,
             python, abi, platform, libc, generation, source_sha256, variant, environment, spelling,
             files, directories, symlinks, bytes, blob_bytes, added_at, eggcache, buildout, setuptools,
             source, archive_url, choice, build_seconds, replaces, used_at, uses FROM eggs, n WHERE name = 'foo';
             PRAGMA wal_checkpoint(TRUNCATE)",
        )
        .unwrap();
    let root: u32 = connection
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'eggs'", [], |row| row.get(0))
        .unwrap();
    let root = root as usize;
    connection.close().unwrap();
    let mut file = fs::read(index).unwrap();
    let start = |page: usize| (page - 1) * PAGE;
    let number = |file: &[u8], at: usize| u32::from_be_bytes(file[at..at + 4].try_into().unwrap());
    let child = |file: &[u8], page: usize| number(file, start(page) + 8) as usize;
    // The upper pages that are reached from the root, which is one of them.
    let mut upper = vec![root];
    let mut next = 0;
    let is_upper = |file: &[u8], page: usize| file[start(page)] == 2;
    let children = |file: &[u8], page: usize| -> Vec<(usize, usize)> {
        let cells = u16::from_be_bytes(file[start(page) + 3..start(page) + 5].try_into().unwrap());
        let cell = |n: usize| {
            let at = start(page) + 12 + 2 * n;
            start(page) + u16::from_be_bytes(file[at..at + 2].try_into().unwrap()) as usize
        };
        let places = (0..usize::from(cells)).map(cell).chain([start(page) + 8]);
        places.map(|at| (at, number(file, at) as usize)).collect()
    };
    while next < upper.len() {
        let below = children(&file, upper[next]).into_iter().map(|(_, page)| page);
        upper.extend(below.filter(|&page| is_upper(&file, page)).collect::<Vec<_>>());
        next += 1;
    }
    assert!(upper.len() > LEVELS, "{} upper pages", upper.len());
    let mut leaf = child(&file, root);
    while is_upper(&file, leaf) {
        leaf = child(&file, leaf);
    }
    for level in 0..LEVELS {
        let to = if level + 1 == LEVELS { leaf } else { upper[level + 1] };
        for (at, _) in children(&file, upper[level]) {
            file[at..at + 4].copy_from_slice(&u32::try_from(to).unwrap().to_be_bytes());
        }
    }
    fs::write(index, file).unwrap();
}

#[test]
fn an_endless_table_takes_neither_time_nor_memory() {
    let sandbox = Sandbox::with_two();
    plant_endless_table(&sandbox.path("cache/index.sqlite"));
    for (line, code) in [
        ("list", 1),
        ("list nothing", 1),
        ("stats", 1),
        ("gc --dry-run", 1),
        ("gc --max-size 1B", 1),
        ("materialize --into out --all", 1),
        ("verify", 4),
        ("reindex", 0),
        ("list", 0),
    ] {
        let mut limited = sandbox.process("prlimit");
        limited.args(["--as=2000000000", "--cpu=20", crate::support::EGGCACHE]);
        limited.args(sandbox.eggcache(line).get_args());
        let output = Command::from_std(limited).timeout(Duration::from_mins(1)).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{line}: {stderr}");
        assert!(code == 0 || stderr.contains("damaged"), "{line}: {stderr}");
    }
}

/// Uses every query on a cache. Errors are fine, panics are not.
fn use_all(root: &Path, change: bool) -> Result<(), Error> {
    let mut cache = if change { Cache::open(root)? } else { Cache::open_to_read(root)? };
    let all = list::list(&cache, None, &Narrow::default())?.eggs;
    list::list(&cache, Some("fo"), &Narrow::default())?;
    stats::stats(&cache, &stats::Options::default())?;
    roots::roots(&cache, None)?;
    let rules = plan::Rules {
        max_size: Some(1),
        max_age: Some(1),
        keep_versions: Some(1),
        ..plan::Rules::default()
    };
    gc::gc(&mut cache, &gc::Options { rules, dry_run: !change, ..Default::default() }, &Silent)?;
    for egg in all {
        cache.egg(egg.digest)?;
        cache.eggs_of_project(&egg.key.name)?;
    }
    verify::verify(root, change, &eggcache::Trust::default(), &Silent).map(drop)
}

#[test]
fn random_damage_to_an_index_never_panics_and_stays_inside() {
    let sandbox = Sandbox::with_two();
    sandbox.ok("gc --max-size 1B");
    sandbox.ok("add eggs");
    let whole = fs::read(sandbox.path("cache/index.sqlite")).unwrap();
    let mut random = fastrand::Rng::with_seed(14);
    for round in 0..100 {
        let mut bytes = whole.clone();
        for _ in 0..random.usize(1..8) {
            // Most of the damage in the first pages, where the schema is, and in the headers of pages.
            let at = match random.u8(0..3) {
                0 => random.usize(0..4096),
                1 => random.usize(0..bytes.len() / 4096) * 4096 + random.usize(0..64),
                _ => random.usize(0..bytes.len()),
            };
            bytes[at] =
                if random.bool() { bytes[at] ^ (1 << random.u8(0..8)) } else { random.u8(..) };
        }
        if random.u8(0..8) == 0 {
            bytes.truncate(random.usize(0..bytes.len()));
        }
        sandbox.shell("rm -rf damaged && cp -a cache damaged");
        let index = sandbox.path("damaged/index.sqlite");
        fs::write(&index, &bytes).unwrap();
        let (kept, inside) = (tree(&sandbox.path("cache")), tree(&sandbox.path("damaged")));
        let read = use_all(&sandbox.path("damaged"), false);
        assert_same(&inside, &tree(&sandbox.path("damaged")));
        let changed = use_all(&sandbox.path("damaged"), true);
        assert_same(&kept, &tree(&sandbox.path("cache")));
        let rebuilt =
            verify::verify(&sandbox.path("damaged"), true, &eggcache::Trust::default(), &Silent);
        let is_newer = matches!(rebuilt, Err(Error::NewerSchema { .. }));
        assert!(is_newer || rebuilt.is_ok(), "{round}: {read:?} {changed:?} {rebuilt:?}");
    }
}

/// A rollback journal that a dead writer could have left, which names a super-journal.
fn with_super_journal(sandbox: &Sandbox, name: &str) {
    let mut journal = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7".to_vec();
    for field in [0u32, 1, 1, 512, 4096] {
        journal.extend(field.to_be_bytes());
    }
    journal.resize(512, 0);
    journal.extend((1u32 << 18).to_be_bytes());
    journal.extend(name.as_bytes());
    journal.extend(u32::try_from(name.len()).unwrap().to_be_bytes());
    journal.extend(name.bytes().map(u32::from).sum::<u32>().to_be_bytes());
    journal.extend(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7");
    fs::write(sandbox.path("cache/index.sqlite-journal"), journal).unwrap();
}

#[test]
fn a_journal_that_names_another_file_is_refused_and_set_aside() {
    let sandbox = Sandbox::with_two();
    let fifo = sandbox.path("x-mj0000009AB");
    sandbox.shell("mkfifo x-mj0000009AB");
    for line in ["list", "stats", "gc --dry-run", "gc", "add eggs"] {
        with_super_journal(&sandbox, fifo.to_str().unwrap());
        let mut command = Command::from_std(sandbox.eggcache(line));
        let output = command.timeout(Duration::from_secs(20)).assert().code(1);
        let stderr = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
        assert!(stderr.contains("index.sqlite-journal is not an index of eggcache"), "{stderr}");
    }
    sandbox.fails("verify", 4).says(&["index.sqlite-journal is not an index"]);
    sandbox.ok("verify --repair");
    assert_eq!(sandbox.listed(), ["bar==2.0", "foo==1.0"]);
    assert!(fifo.exists());
}

#[test]
fn shared_memory_with_another_name_is_not_overwritten() {
    let sandbox = Sandbox::with_two();
    sandbox
        .shell("rm -f cache/index.sqlite-*; echo precious >mine; ln mine cache/index.sqlite-shm");
    for line in ["gc", "add eggs", "list"] {
        sandbox.fails(line, 1).says(&["index.sqlite-shm is not an index of eggcache"]);
    }
    sandbox.ok("verify --repair");
    assert_eq!(fs::read_to_string(sandbox.path("mine")).unwrap(), "precious\n");
}

#[test]
fn a_copy_of_an_index_is_as_private_as_the_index() {
    let sandbox = Sandbox::with_two();
    // A log without shared memory is completed in a copy.
    sandbox.shell(
        "rm -f cache/index.sqlite-*; printf x%.0s $(seq 100) >cache/index.sqlite-wal; mkdir tmp",
    );
    let mut strace = sandbox.process("strace");
    strace.args(["-f", "-e", "trace=mkdir,mkdirat,openat,open,fchmod", "-o", "trace"]);
    strace.args([crate::support::EGGCACHE, "--cache", "cache", "list"]);
    strace.env("TMPDIR", sandbox.path("tmp"));
    if !strace.output().is_ok_and(|output| output.status.success()) {
        return crate::support::skip("there is no strace");
    }
    let trace = fs::read_to_string(sandbox.path("trace")).unwrap();
    let made: Vec<&str> = trace
        .lines()
        .filter(|line| {
            line.contains("/tmp/.tmp") && (line.contains("mkdir") || line.contains("O_EXCL"))
        })
        .collect();
    assert!(made.len() > 1, "{trace}");
    for line in made {
        assert!(line.contains("0700") || line.contains("0600"), "{line}");
    }
}
