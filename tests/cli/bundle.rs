//! Bundles: equal bytes at any place and time, which files are included, and that nothing
//! incomplete passes for a bundle.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::{Value, json};

use crate::serve::Server;
use crate::support::{
    Content, Mount, Output, Sandbox, chmod, host, names_in, noise, text, touch, tree, write,
};

const ALPHA: &str = "alpha-1.0-py3.11.egg";
const BETA: &str = "beta-1.0-py3.11.egg";
const OLD: &str = "old-1.0-py3.11.egg";
const TIME: i64 = 1_600_000_000;
const SOURCE: &[u8] = b"x = 1\n";
const PYC: &str = "pkg/__pycache__/__init__.cpython-311.pyc";

/// Bytecode of Python 3.11 for a source with this mtime and size.
fn compiled(mtime: i64, size: usize) -> Vec<u8> {
    let fields = [0, u32::try_from(mtime).unwrap(), u32::try_from(size).unwrap()];
    let fields = fields.into_iter().flat_map(u32::to_le_bytes);
    let magic = 3495_u16.to_le_bytes().into_iter().chain(*b"\r\n");
    magic.chain(fields).chain(*b"code of the module").collect()
}

/// A cache with three eggs, and the buildout `app` that uses two of them.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    let pyc = compiled(TIME, SOURCE.len());
    let files = [("pkg/__init__.py", SOURCE), (PYC, &pyc[..]), ("pkg/data.bin", &noise(50_000))];
    let alpha = sandbox.egg_with("alpha", "1.0", &files);
    // Not the last moment of a second, which Python rounds up to the next second.
    touch(&alpha.join("pkg/__init__.py"), TIME, 500_000_000);
    sandbox.zipped_egg("beta", "1.0");
    sandbox.egg("old", "1.0");
    sandbox.ok("add eggs");
    buildout(&sandbox, "app");
    sandbox
}

/// Makes a relocatable buildout in a folder of this name.
fn buildout(sandbox: &Sandbox, name: &str) -> PathBuf {
    let app = sandbox.path(name);
    sandbox.ok(&format!("materialize --into {name}/eggs/v5 --all"));
    write(&app.join("buildout.cfg"), b"[buildout]\nparts = app\n");
    let script = format!(
        "#!/usr/bin/python3.11\n\nimport os\njoin = os.path.join\n\
         base = os.path.dirname(os.path.abspath(os.path.realpath(__file__)))\n\
         base = os.path.dirname(base)\nimport sys\nsys.path[0:0] = [\n  \
         join(base, 'eggs/v5/{ALPHA}'),\n  join(base, 'eggs/v5/{BETA}'),\n  ]\n\nimport alpha\n"
    );
    write(&app.join("bin/app"), script.as_bytes());
    chmod(&app.join("bin/app"), 0o755);
    write(&app.join("parts/app/etc/app.conf"), b"port = 8080\n");
    fs::create_dir_all(app.join("parts/empty")).unwrap();
    app
}

/// Bundles `app` and returns the report.
fn bundled(sandbox: &Sandbox, options: &str) -> Value {
    sandbox.json(&format!("bundle app {options}"))
}

fn left_out(report: &Value) -> Vec<(&str, &str)> {
    let left_out = report["left_out"].as_array().unwrap();
    left_out.iter().map(|it| (text(&it["path"]), text(&it["why"]))).collect()
}

fn manifest(sandbox: &Sandbox, archive: &str) -> Value {
    let script = format!("tar -xOf {archive} --wildcards '*.eggcache-bundle.json'");
    sandbox.shell(&script).json()
}

/// The paths in an archive according to its manifest, without the manifest itself.
fn paths(sandbox: &Sandbox, archive: &str) -> Vec<String> {
    let manifest = manifest(sandbox, archive);
    let entries = manifest["entries"].as_array().unwrap();
    entries.iter().map(|entry| text(&entry["path"]).to_owned()).collect()
}

/// The problems found by a verification, which exits with code 4.
#[track_caller]
fn problems(sandbox: &Sandbox, archive: &str) -> Vec<(String, String)> {
    let report = sandbox.fails(&format!("--json bundle --verify {archive}"), 4).json();
    let problems = report["problems"].as_array().unwrap();
    let problem = |it: &Value| (text(&it["path"]).to_owned(), text(&it["what"]).to_owned());
    problems.iter().map(problem).collect()
}

#[test]
fn a_bundle_is_reproducible_with_any_number_of_threads() {
    let sandbox = sandbox();
    write(&sandbox.path("app/parts/big"), &noise(9 << 20));
    let mut archives = Vec::new();
    for (number, threads) in ["1", "2", "7"].into_iter().enumerate() {
        let mut process = sandbox.eggcache(&format!("bundle app -o {number}.tar.zst"));
        process.env("RAYON_NUM_THREADS", threads);
        Command::from_std(process).assert().success();
        archives.push(fs::read(sandbox.path(&format!("{number}.tar.zst"))).unwrap());
    }
    assert!(archives.iter().all(|archive| *archive == archives[0]));
    // Others can verify the digest that the command prints.
    let report = bundled(&sandbox, "-o again.tar.zst");
    sandbox.shell(&format!("echo '{}  again.tar.zst' | sha256sum -c", text(&report["sha256"])));
    let told = sandbox.ok("bundle app -o again.tar.zst").stdout;
    sandbox.shell(&format!("echo '{}' | sha256sum -c", told.trim()));
    assert_eq!(report["archive_bytes"], archives[0].len());
}

#[test]
fn equal_buildouts_make_equal_bundles_in_any_folder_at_any_time() {
    let sandbox = sandbox();
    fs::create_dir(sandbox.path("deep")).unwrap();
    let other = sandbox.path("deep/elsewhere");
    // Different inodes in a different order, another umask, another time, and bytecode from a run.
    sandbox
        .shell("umask 077; mkdir deep/elsewhere; cp -r app/parts app/buildout.cfg deep/elsewhere");
    buildout(&sandbox, "deep/elsewhere");
    chmod(&other.join("bin/app"), 0o700);
    chmod(&other.join("buildout.cfg"), 0o600);
    for path in ["bin/app", "bin", "buildout.cfg", "parts/app/etc/app.conf", "eggs", ""] {
        touch(&other.join(path), 1_700_000_000, 5);
    }
    let egg = other.join("eggs/v5").join(ALPHA);
    let own = fs::metadata(egg.join("alpha.py")).unwrap();
    write(&egg.join("__pycache__/alpha.cpython-311.pyc"), &compiled(own.mtime(), SOURCE.len()));
    for options in ["", "--mtime 1500000000"] {
        let first = bundled(&sandbox, &format!("--prefix opt/app -o one.tar.zst {options}"));
        let line = format!("bundle deep/elsewhere --prefix opt/app -o two.tar.zst {options}");
        let second = sandbox.json(&line);
        assert_eq!(first["sha256"], second["sha256"], "{options}");
        assert_eq!(first["known_eggs"], 2);
        let run = format!("eggs/v5/{ALPHA}/__pycache__");
        assert!(left_out(&second).contains(&(run.as_str(), "bytecode")));
    }
    let report = sandbox.json("bundle deep/elsewhere -o run.tar --include *.pyc");
    assert!(!left_out(&report).iter().any(|(_, why)| *why == "bytecode"), "{report:#}");
    let run = format!("eggs/v5/{ALPHA}/__pycache__/alpha.cpython-311.pyc");
    assert!(paths(&sandbox, "run.tar").contains(&run));
}

#[test]
fn tar_unpacks_a_bundle_to_the_same_files() {
    let sandbox = sandbox();
    symlink("app", sandbox.path("app/bin/link")).unwrap();
    symlink(format!("./{}//../app.conf", "x/../".repeat(30)), sandbox.path("app/parts/long"))
        .unwrap();
    let deep = sandbox.path("app/parts").join("deep/".repeat(30)).join("é".repeat(60));
    write(&deep, b"far");
    fs::hard_link(sandbox.path("app/buildout.cfg"), sandbox.path("app/parts/hard.cfg")).unwrap();
    fs::remove_dir_all(sandbox.path("app/eggs/v5").join(OLD)).unwrap();
    chmod(&sandbox.path("app/parts/app/etc/app.conf"), 0o600);
    sandbox.ok("bundle app -o app.tar.zst --mtime 1500000000").says(&[" KiB compressed)"]);
    sandbox.ok("bundle app -o app.tar --mtime 1500000000").says(&[" KiB as tar)"]);
    sandbox.shell("zstd -qt app.tar.zst && zstd -qdc app.tar.zst | cmp - app.tar");
    fs::create_dir(sandbox.path("out")).unwrap();
    sandbox.shell("umask 022; tar -xf app.tar.zst -C out");
    assert!(sandbox.path("out/app/.eggcache-bundle.json").is_file());
    let (there, mut unpacked) = (tree(&sandbox.path("app")), tree(&sandbox.path("out/app")));
    unpacked.remove(Path::new(".eggcache-bundle.json"));
    for (path, seen) in &there {
        let found = &unpacked[path];
        assert_eq!(found.content, seen.content, "{}", path.display());
        if seen.content == Content::Directory || path.as_os_str().is_empty() {
            continue;
        }
        let mode =
            if matches!(seen.content, Content::Symlink(_)) { 0o777 } else { seen.mode | 0o444 };
        assert_eq!(found.mode & 0o777, mode & 0o777, "{}", path.display());
        let mtime = if path.starts_with("eggs") { seen.mtime.0 } else { 1_500_000_000 };
        assert_eq!(found.mtime, (mtime, 0), "{}", path.display());
    }
    assert_eq!(there.len(), unpacked.len());
    let output = sandbox.json("check --full out/app");
    assert_eq!(output["problems"], Value::Array(Vec::new()));
    // Bundling the unpacked buildout gives the same bytes.
    sandbox.ok("bundle out/app -o again.tar.zst --mtime 1500000000");
    sandbox.shell("cmp app.tar.zst again.tar.zst");
}

#[test]
fn a_buildout_with_problems_is_not_bundled() {
    let sandbox = sandbox();
    fs::create_dir(sandbox.path("outside")).unwrap();
    symlink(sandbox.path("outside"), sandbox.path("app/parts/leak")).unwrap();
    sandbox.fails("bundle app -o app.tar.zst", 4).says(&["parts/leak", "outside", "not bundled"]);
    let report = sandbox.fails("--json bundle app -o app.tar.zst", 4).json();
    assert_eq!(report["problems"][0]["kind"], "symlink");
    fs::remove_file(sandbox.path("app/parts/leak")).unwrap();
    // A change that keeps size and time is found as well.
    let data = sandbox.path("app/eggs/v5").join(ALPHA).join("pkg/data.bin");
    let mtime = fs::metadata(&data).unwrap();
    let mut content = fs::read(&data).unwrap();
    content[7] ^= 1;
    fs::write(&data, content).unwrap();
    touch(&data, mtime.mtime(), mtime.mtime_nsec());
    sandbox.fails("bundle app -o app.tar.zst", 4).says(&["data.bin"]);
    assert!(!sandbox.path("app.tar.zst").exists());
    sandbox.ok("check --full --repair app");
    sandbox.ok("bundle app -o app.tar.zst");
}

#[test]
fn files_a_deployment_does_not_need_are_left_out_by_default() {
    let sandbox = sandbox();
    for path in [
        "var/log/x.log",
        "var/templates/a.pt",
        "downloads/dist/a.zip",
        "dl/b.zip",
        "src/app/.git/config",
        "src/app/app.py",
        "src/app/__pycache__/app.cpython-311.pyc",
        ".eggcache-left",
        "eggs/v5/set-aside/x/y",
        "parts/app/secret.key",
        "parts/app/x.log",
    ] {
        write(&sandbox.path("app").join(path), b"content\n");
    }
    write(&sandbox.path("app/buildout.cfg"), b"[buildout]\nparts = app\ndownload-cache = dl\n");
    let _socket = UnixListener::bind(sandbox.path("app/parts/socket")).unwrap();
    let report = bundled(&sandbox, "-o app.tar.zst --exclude *.key");
    let old = format!("eggs/v5/{OLD}");
    let expected = [
        (".eggcache-left", "temporary"),
        ("dl", "cache"),
        ("downloads", "cache"),
        (&old, "unused-egg"),
        ("eggs/v5/set-aside", "leftover"),
        ("parts/app/secret.key", "excluded"),
        ("parts/socket", "special"),
        ("src/app/.git", "version-control"),
        ("src/app/__pycache__", "bytecode"),
        ("var", "data"),
    ];
    assert_eq!(left_out(&report), expected);
    let members = paths(&sandbox, "app.tar.zst");
    for path in ["src/app/app.py", "parts/app/x.log", "parts/empty", "bin/app", "eggs/v5"] {
        assert!(members.contains(&path.to_owned()), "{path}");
    }
    let options = "--unused --include var/templates --include downloads --exclude *.log";
    let report = bundled(&sandbox, &format!("-o app.tar {options}"));
    assert_eq!(report["eggs"], 3);
    let members = paths(&sandbox, "app.tar");
    for path in ["var", "var/templates/a.pt", "downloads/dist/a.zip", old.as_str()] {
        assert!(members.contains(&path.to_owned()), "{path}");
    }
    for path in ["var/log", "var/log/x.log", "parts/app/x.log", "dl"] {
        assert!(!members.contains(&path.to_owned()), "{path}");
    }
    assert!(left_out(&report).contains(&("var/log", "data")));
    sandbox.ok("bundle --verify app.tar");
}

#[test]
fn bytecode_and_sources_in_a_bundle_have_matching_times() {
    let sandbox = sandbox();
    let egg = sandbox.path("app/eggs/v5").join(ALPHA);
    // An egg that is not in the cache keeps its own times.
    let other = sandbox.path("app/eggs/v5/other-1.0-py3.11.egg");
    let files: [(&str, &[u8]); 1] = [("__pycache__/other.cpython-311.pyc", &compiled(TIME, 6))];
    crate::support::make_egg(&other, "other", "1.0", &files);
    touch(&other.join("other.py"), TIME, 999_999_999);
    let script = sandbox.path("app/bin/app");
    let content = fs::read_to_string(&script).unwrap();
    fs::write(&script, content.replace(BETA, "other-1.0-py3.11.egg")).unwrap();
    // A touched source gets the time recorded in its bytecode.
    touch(&egg.join("pkg/__init__.py"), TIME + 100, 0);
    write(&egg.join(PYC), &compiled(TIME + 100, SOURCE.len()));
    touch(&egg.join(PYC), TIME + 100, 0);
    let report = bundled(&sandbox, "-o app.tar.zst --mtime 0");
    let stale: Vec<_> =
        left_out(&report).into_iter().filter(|(_, why)| *why == "stale-bytecode").collect();
    let other_pyc = "eggs/v5/other-1.0-py3.11.egg/__pycache__/other.cpython-311.pyc";
    // Python rounds the last moment of a second up to the next second.
    assert_eq!(
        stale,
        [
            (format!("eggs/v5/{ALPHA}/{PYC}").as_str(), "stale-bytecode"),
            (other_pyc, "stale-bytecode")
        ]
    );
    assert_eq!((&report["eggs"], &report["known_eggs"]), (&2.into(), &1.into()));
    sandbox.ok("check --full --repair app");
    touch(&other.join("other.py"), TIME, 0);
    let report = bundled(&sandbox, "-o app.tar.zst --mtime 0");
    assert!(!left_out(&report).iter().any(|(_, why)| why.contains("stale")));
    let manifest = manifest(&sandbox, "app.tar.zst");
    let mtime = |path: &str| {
        let entries = manifest["entries"].as_array().unwrap();
        entries.iter().find(|it| it["path"] == path).unwrap()["mtime"].clone()
    };
    assert_eq!(mtime(&format!("eggs/v5/{ALPHA}/pkg/__init__.py")), TIME);
    assert_eq!(mtime("eggs/v5/other-1.0-py3.11.egg/other.py"), TIME);
    assert_eq!(mtime("bin/app"), 0);
}

#[test]
fn files_outside_eggs_get_the_given_mtime() {
    let sandbox = sandbox();
    touch(&sandbox.path("app/bin/app"), TIME + 7, 9);
    let mtimes = |options: &str, epoch: Option<&str>| {
        let mut process = sandbox.eggcache(&format!("--json bundle app -o app.tar {options}"));
        if let Some(epoch) = epoch {
            process.env("SOURCE_DATE_EPOCH", epoch);
        }
        let report = Output::of(&Command::from_std(process).assert().success()).json();
        let manifest = manifest(&sandbox, "app.tar");
        let entries = manifest["entries"].as_array().unwrap();
        let script = entries.iter().find(|it| it["path"] == "bin/app").unwrap()["mtime"].clone();
        (report["mtime"].clone(), script)
    };
    let newest = tree(&sandbox.path("app/eggs/v5").join(ALPHA)).values().map(|it| it.mtime.0).max();
    let (given, script) = mtimes("", None);
    assert!(given.as_i64() >= newest && script == given, "{given}");
    assert_eq!(mtimes("", Some("1234")), (1234.into(), 1234.into()));
    assert_eq!(mtimes("--mtime 99", Some("1234")), (99.into(), 99.into()));
    assert_eq!(mtimes("--mtime source", None), (Value::Null, (TIME + 7).into()));
    sandbox.fails("bundle app -o app.tar --mtime yesterday", 2).says(&["nor `source`"]);
}

#[test]
fn a_bundle_lists_its_eggs_and_the_digest_of_every_file() {
    let sandbox = sandbox();
    let report = bundled(&sandbox, "-o app.tar.zst --prefix srv/app/");
    let manifest = manifest(&sandbox, "app.tar.zst");
    assert_eq!((text(&report["prefix"]), &manifest["format"]), ("srv/app", &1.into()));
    let first = sandbox.shell("tar -tf app.tar.zst").stdout;
    assert_eq!(first.lines().next(), Some("srv/app/.eggcache-bundle.json"));
    let egg = &manifest["eggs"][0];
    assert_eq!((text(&egg["name"]), text(&egg["version"])), ("alpha", "1.0"));
    assert_eq!(text(&egg["digest"]), sandbox.digest("alpha==1.0"));
    sandbox.shell("tar -xf app.tar.zst");
    for entry in manifest["entries"].as_array().unwrap() {
        if entry["kind"] == "file" {
            let (digest, path) = (text(&entry["sha256"]), text(&entry["path"]));
            sandbox.shell(&format!("echo '{digest}  srv/app/{path}' | sha256sum -c"));
        }
    }
    sandbox.ok("bundle app -o bare.tar --prefix ./");
    sandbox.shell("tar -tf bare.tar | grep -qx bin/app");
    sandbox.ok("bundle --verify bare.tar").says(&["2 eggs", "no problem"]);
}

#[test]
fn every_change_to_an_archive_is_found() {
    let sandbox = sandbox();
    sandbox.ok("bundle app -o app.tar.zst");
    sandbox.ok("bundle --verify app.tar.zst").says(&["no problem"]);
    let whole = fs::read(sandbox.path("app.tar.zst")).unwrap();
    let changed = |content: &[u8]| {
        fs::write(sandbox.path("changed.tar.zst"), content).unwrap();
        assert!(!problems(&sandbox, "changed.tar.zst").is_empty());
    };
    for part in 0..16 {
        let at = whole.len() * part / 16;
        changed(&whole[..at]);
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (part % 8);
        changed(&flipped);
    }
    changed(&whole[..whole.len() - 1]);
    changed(&[&whole[..], b"more"].concat());
    changed(&[&whole[..], &whole[..]].concat());
    changed(b"");
    changed(&noise(5000));
}

#[test]
fn a_member_that_was_changed_added_or_removed_is_named() {
    let sandbox = sandbox();
    sandbox.ok("bundle app -o app.tar");
    let list = |script: &str| {
        sandbox.shell(&format!("rm -rf x; mkdir x; tar -xf app.tar -C x; cd x; {script}"));
        // The manifest must stay the first member.
        let pack = "cd x && tar --owner=0 --group=0 --no-recursion -cf ../changed.tar \
                    app/.eggcache-bundle.json $(find app -mindepth 1 ! -name '.eggcache-b*' | sort)";
        sandbox.shell(pack);
    };
    list("true");
    sandbox.ok("bundle --verify changed.tar");
    for (script, path, what) in [
        (
            "printf 'port = 9999\\n' > app/parts/app/etc/app.conf; touch -d @0 app/parts/app/etc/app.conf",
            "app/parts/app/etc/app.conf",
            "different mtime",
        ),
        (
            "cp -a app/bin ref; sed -i s/alpha/other/ app/bin/app; \
             touch -r ref/app app/bin/app; touch -r ref app/bin",
            "app/bin/app",
            "different content",
        ),
        (
            "touch -r app/bin/app ref; chmod 4755 app/bin/app; touch -r ref app/bin/app",
            "app/bin/app",
            "different mode",
        ),
        ("touch -r app/bin ref; rm app/bin/app; touch -r ref app/bin", "app/bin/app", "missing"),
        (
            "touch -r app/bin ref; touch app/bin/evil; touch -r ref app/bin",
            "app/bin/evil",
            "not in the manifest",
        ),
        (
            "touch -r app/bin ref; ln -sf evil app/bin/app; touch -h -r ref app/bin/app app/bin",
            "app/bin/app",
            "different mode",
        ),
    ] {
        list(script);
        let found = problems(&sandbox, "changed.tar");
        assert_eq!(found.len(), 1, "{script}: {found:?}");
        assert!(found[0].0 == path && found[0].1.contains(what), "{script}: {found:?}");
    }
    sandbox.shell("cd x && tar -cf ../changed.tar app/bin");
    assert!(problems(&sandbox, "changed.tar")[0].1.contains("not a bundle"));
    sandbox.fails("bundle --verify missing.tar", 1).says(&["missing.tar"]);
    write(&sandbox.path("other.txt"), "secret ".repeat(200).as_bytes());
    let other = sandbox.fails("bundle --verify other.txt", 4);
    other.says(&["other.txt: not a bundle"]);
    assert!(!other.stderr.contains("secret"), "no content is printed");
}

#[test]
fn an_archive_that_would_contain_itself_is_refused() {
    let sandbox = sandbox();
    sandbox
        .fails("bundle app -o app/app.tar.zst", 2)
        .says(&["is inside the buildout that goes into it"]);
    sandbox.ok("bundle app -o app/app.tar.zst --exclude *.tar.zst");
    fs::create_dir(sandbox.path("app/var")).unwrap();
    sandbox.ok("bundle app -o app/var/app.tar.zst --exclude *.tar.zst");
    sandbox.shell("cmp app/app.tar.zst app/var/app.tar.zst");
}

#[test]
fn invalid_bundle_options_are_usage_errors() {
    let sandbox = sandbox();
    for (line, reason) in [
        ("bundle app -o app.zip", "ends in neither .tar.zst nor .tar"),
        ("bundle app -o app.tar --prefix /srv/app", "relative"),
        ("bundle app -o app.tar --prefix ../app", "relative"),
        ("bundle eggs -o app.tar", "is not a buildout"),
        ("bundle app", "--output"),
        ("bundle", "BUILDOUT"),
        ("bundle app --verify app.tar", "cannot be used with"),
    ] {
        sandbox.fails(line, 2).says(&[reason]);
    }
    sandbox.fails("bundle app -o no/such/app.tar", 1).says(&["no/such"]);
    let name = std::ffi::OsString::from("parts/\u{1}");
    fs::write(sandbox.path("app").join(name), "").unwrap();
    let name: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"app/parts/\xff");
    fs::write(sandbox.path("").join(name), "").unwrap();
    sandbox.fails("bundle app -o app.tar", 1).says(&["not UTF-8"]);
}

#[test]
fn an_equal_egg_with_another_label_changes_no_byte() {
    let sandbox = sandbox();
    bundled(&sandbox, "-o one.tar.zst");
    sandbox.ok(&format!("add --environment el9 eggs/{ALPHA}"));
    let again = sandbox.ok("bundle app -o two.tar.zst");
    assert!(!again.stderr.contains("not in the cache"), "{}", again.stderr);
    sandbox.shell("cmp one.tar.zst two.tar.zst");
    let digest = |archive: &str| manifest(&sandbox, archive)["eggs"][0]["digest"].clone();
    let label =
        |label: &str| sandbox.json(&format!("show alpha --environment={label}"))["digest"].clone();
    assert_eq!(digest("two.tar.zst"), label(""));
    // The one that the last run has used comes first.
    let mut host = host();
    host["environment"] = "el9".into();
    let mut server = Server::open(&sandbox, &host);
    let (folder, eggs) = (sandbox.path("app"), sandbox.path("app/eggs/v5"));
    server.ask(&json!({
        "op": "root", "directory": folder, "eggs_directory": eggs, "eggs": [eggs.join(ALPHA)], "whole": false,
    }));
    server.close();
    bundled(&sandbox, "-o three.tar.zst");
    assert_eq!(digest("three.tar.zst"), label("el9"));
    fs::remove_file(sandbox.path("app/eggs/v5").join(ALPHA).join("pkg/data.bin")).unwrap();
    sandbox.ok("check app --repair").says(&["restored"]);
}

#[test]
fn an_egg_is_named_as_its_metadata_does() {
    let sandbox = Sandbox::new();
    sandbox.egg("Zope.Interface", "1.0");
    sandbox.ok("add eggs");
    sandbox.egg("zc.mine", "1.0");
    write(&sandbox.path("app/buildout.cfg"), b"[buildout]\n");
    sandbox.shell("mkdir -p app/eggs && cp -rp eggs app/eggs/v5");
    let output = sandbox.ok("bundle app -o app.tar --unused");
    output.says(&[
        "1 of 2 eggs are not in the cache: their bytes may differ in another buildout: zc.mine 1.0",
    ]);
    let manifest = manifest(&sandbox, "app.tar");
    let names = [0, 1].map(|at| text(&manifest["eggs"][at]["name"]).to_owned());
    assert_eq!(names, ["Zope.Interface", "zc.mine"]);
    let verified = sandbox.ok("bundle --verify app.tar").stderr;
    assert!(!verified.contains("withdrawn"), "without a remote: {verified}");
    sandbox.ok("keygen key");
    let remote = format!("remote add team {} --key key.pub", sandbox.path("pool").display());
    sandbox.ok(&remote);
    sandbox.ok("bundle --verify app.tar").says(&["; 1 of 2 eggs cannot be compared with them"]);
}

#[test]
fn a_buildout_is_bundled_without_a_cache() {
    let sandbox = sandbox();
    fs::remove_dir_all(sandbox.path("cache")).unwrap();
    let output = sandbox.ok("bundle app -o app.tar.zst");
    output.says(&["eggs are not compared", "2 of 2 eggs are not in the cache"]);
    assert!(!sandbox.path("cache").exists());
    sandbox.ok("bundle --verify app.tar.zst");
}

#[test]
fn a_bundle_replaces_the_previous_one_only_when_complete() {
    let sandbox = sandbox();
    let Some(_mount) = Mount::new(&sandbox.path("out"), "2m") else { return };
    sandbox.ok("bundle app -o out/app.tar.zst");
    let before = fs::read(sandbox.path("out/app.tar.zst")).unwrap();
    write(&sandbox.path("app/parts/big"), &noise(12 << 20));
    for archive in ["out/app.tar.zst", "out/app.tar"] {
        sandbox.fails(&format!("bundle app -o {archive}"), 1).says(&["No space left", archive]);
    }
    assert_eq!(names_in(&sandbox.path("out")), ["app.tar.zst"]);
    assert!(fs::read(sandbox.path("out/app.tar.zst")).unwrap() == before);
    fs::remove_file(sandbox.path("app/parts/big")).unwrap();
    sandbox.ok("bundle app -o out/app.tar.zst --mtime 0");
    assert!(fs::read(sandbox.path("out/app.tar.zst")).unwrap() != before);
}

#[test]
fn verifying_an_archive_bomb_needs_bounded_memory() {
    let sandbox = sandbox();
    sandbox.ok("bundle app -o app.tar");
    let tar = fs::read(sandbox.path("app.tar")).unwrap();
    let manifest_end = {
        let size = std::str::from_utf8(&tar[124..135]).unwrap();
        512 + usize::from_str_radix(size, 8).unwrap().next_multiple_of(512)
    };
    for kind in *b"LKx" {
        // The name of the second member is 3 GiB long.
        let script = format!(
            "import tarfile, sys\nheader = tarfile.TarInfo('././@LongLink')\n\
             header.size = 3 << 30\nheader.type = bytes([{kind}])\n\
             sys.stdout.buffer.write(header.tobuf(tarfile.GNU_FORMAT))\n\
             for _ in range(3 << 10): sys.stdout.buffer.write(b'a' * (1 << 20))\n"
        );
        write(&sandbox.path("bomb.py"), script.as_bytes());
        fs::write(sandbox.path("head"), &tar[..manifest_end]).unwrap();
        fs::write(sandbox.path("tail"), &tar[manifest_end..]).unwrap();
        sandbox.shell("{ cat head; python3 bomb.py; cat tail; } | zstd -q -1 -f -o bomb.tar.zst");
        let verify = "ulimit -v 2000000; $EGGCACHE --json bundle --verify bomb.tar.zst || true";
        let report = sandbox.shell(verify).json();
        let problem = &report["problems"][0];
        // Only the extensions of GNU tar are written and interpreted.
        let says = if kind == b'x' { "not in the manifest" } else { "too long" };
        assert!(text(&problem["what"]).contains(says), "{problem}");
    }
}

#[test]
fn the_number_of_reported_bundle_problems_is_limited() {
    let sandbox = sandbox();
    sandbox.ok("bundle app -o app.tar");
    sandbox.shell(
        "tar -xf app.tar && mkdir more && cd more && seq 3000 | xargs touch && cd .. && \
         tar --owner=0 --group=0 -cf many.tar app/.eggcache-bundle.json more",
    );
    let found = problems(&sandbox, "many.tar");
    assert_eq!(found.len(), 1001);
    assert!(found[1000].1.contains("more problems"), "{:?}", found[1000]);
}

#[test]
fn an_egg_that_a_part_links_to_counts_as_used() {
    let sandbox = sandbox();
    fs::create_dir_all(sandbox.path("app/parts/omelette")).unwrap();
    let target = format!("../../eggs/v5/{OLD}/old.py");
    symlink(target, sandbox.path("app/parts/omelette/old.py")).unwrap();
    bundled(&sandbox, "-o app.tar");
    assert!(paths(&sandbox, "app.tar").contains(&format!("eggs/v5/{OLD}/old.py")));
}
