//! `eggcache check`: every kind of damage in every place is found and, in a drifted egg, repaired;
//! everything else is not reported as a problem.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::support::{
    EGGCACHE, Output, Sandbox, assert_same, assert_same_tree, chmod, names_in, text, touch, tree,
    write,
};

/// A buildout `app` in a sandbox, whose eggs are copies from the cache.
struct App {
    sandbox: Sandbox,
    /// Its eggs directory, relative to the sandbox.
    eggs: String,
}

const ALPHA: &str = "alpha-1.0-py3.11.egg";
const NATIVE: &str = "native-1.0-py3.11-linux-x86_64.egg";
const ZIPPED: &str = "zipped-1.0-py3.11.egg";
const MODULE: &str = "_native.cpython-311-x86_64-linux-gnu.so";
const TIME: i64 = 1_600_000_000;

/// Bytecode of Python 3.11 for a source with this mtime and size.
fn compiled(mtime: i64, size: usize) -> Vec<u8> {
    let fields = [0, u32::try_from(mtime).unwrap(), u32::try_from(size).unwrap()];
    let fields = fields.into_iter().flat_map(u32::to_le_bytes);
    let magic = 3495_u16.to_le_bytes().into_iter().chain(*b"\r\n");
    magic.chain(fields).chain(*b"code of the module").collect()
}

impl App {
    fn new() -> Self {
        Self::with_eggs_in("app/eggs/v5")
    }

    fn with_eggs_in(eggs: &str) -> Self {
        let sandbox = Sandbox::new();
        let source = b"x = 1\n";
        let pyc = compiled(TIME, source.len());
        let alpha = sandbox.egg_with(
            "alpha",
            "1.0",
            &[
                ("pkg/__init__.py", source),
                ("pkg/deep/er/data.txt", b"some data\n"),
                ("pkg/__pycache__/__init__.cpython-311.pyc", &pyc),
            ],
        );
        touch(&alpha.join("pkg/__init__.py"), TIME, 0);
        let built = sandbox.egg_with("native", "1.0", &[(MODULE, b"\x7fELF machine code")]);
        fs::rename(built, sandbox.path("eggs").join(NATIVE)).unwrap();
        sandbox.zipped_egg("zipped", "1.0");
        sandbox.ok("add eggs");
        sandbox.ok(&format!("materialize --into {eggs} --all"));
        let app = Self { sandbox, eggs: eggs.to_owned() };
        write(&app.path("buildout.cfg"), b"[buildout]\nparts = app\n");
        write(&app.sandbox.path("venv/bin/python3.11"), b"");
        app.script("app", &[ALPHA, NATIVE, ZIPPED]);
        app
    }

    fn path(&self, name: &str) -> PathBuf {
        self.sandbox.path("app").join(name)
    }

    fn egg(&self, name: &str) -> PathBuf {
        self.sandbox.path(&self.eggs).join(name)
    }

    /// The egg of which `name` is a copy.
    fn original(&self, name: &str) -> PathBuf {
        self.sandbox.path("eggs").join(name)
    }

    /// Writes a script that imports these eggs, as buildout generates it.
    fn script(&self, name: &str, eggs: &[&str]) {
        let python = self.sandbox.path("venv/bin/python3.11");
        let lines = eggs.iter().map(|egg| format!("  '{}',\n", self.egg(egg).display()));
        let text = format!(
            "#!{}\n\nimport sys\nsys.path[0:0] = [\n{}  ]\n\nimport alpha\n",
            python.display(),
            lines.collect::<String>()
        );
        write(&self.path(&format!("bin/{name}")), text.as_bytes());
    }

    /// The report of a check, which exits with this code.
    fn check(&self, options: &str, code: i32) -> Value {
        self.sandbox.fails(&format!("--json check app {options}"), code).json()
    }

    /// Asserts that there is exactly one problem, and returns its kind and path.
    #[track_caller]
    fn one_problem(&self, options: &str) -> (String, PathBuf) {
        let report = self.check(options, 4);
        let found = problems(&report);
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].clone()
    }

    /// Asserts that a repair restores the original egg and leaves no problem.
    #[track_caller]
    fn is_repaired(&self, egg: &str) {
        let report = self.check("--repair", 0);
        for problem in report["problems"].as_array().unwrap() {
            assert_eq!(problem["repair"], "restored", "{problem}");
        }
        assert_same_tree(&self.original(egg), &self.egg(egg));
        assert_eq!(problems(&self.check("--full", 0)), []);
        for name in names_in(&self.sandbox.path(&self.eggs)) {
            assert!(!name.starts_with(".eggcache-"), "{name}");
        }
    }
}

fn listed(findings: &Value) -> Vec<(String, PathBuf)> {
    let findings = findings.as_array().unwrap();
    findings.iter().map(|it| (text(&it["kind"]).into(), text(&it["path"]).into())).collect()
}

fn problems(report: &Value) -> Vec<(String, PathBuf)> {
    listed(&report["problems"])
}

fn kinds(findings: &Value) -> Vec<String> {
    listed(findings).into_iter().map(|(kind, _)| kind).collect()
}

#[test]
fn a_healthy_buildout_has_no_problem() {
    for eggs in ["app/eggs", "app/eggs/v5", "app/eggs/v5/cp311"] {
        let app = App::with_eggs_in(eggs);
        for options in ["", "--full", "--repair"] {
            let report = app.check(options, 0);
            assert_eq!(problems(&report), [], "{eggs}");
            assert_eq!(kinds(&report["notes"]), ["interpreter", "not-relocatable"], "{eggs}");
            assert_eq!((&report["eggs"], &report["compared"]), (&3.into(), &3.into()));
            assert_eq!(report["scripts"], 1);
        }
        app.sandbox.ok("check app").says(&["self-contained: 3 eggs", "0 problems, 2 notes"]);
    }
}

#[test]
fn a_check_changes_nothing() {
    let app = App::new();
    fs::remove_file(app.egg(ALPHA).join("alpha.py")).unwrap();
    let before = tree(&app.path(""));
    app.check("--full", 4);
    assert_same(&before, &tree(&app.path("")));
}

/// A kind of damage to a file.
type Damage = (&'static str, fn(&Path));

const DAMAGES: [Damage; 7] = [
    ("deleted", |path| fs::remove_file(path).unwrap()),
    ("emptied", |path| fs::write(path, "").unwrap()),
    ("truncated", |path| {
        let content = fs::read(path).unwrap();
        fs::write(path, &content[..content.len() - 1]).unwrap();
    }),
    ("grown", |path| {
        let content = fs::read(path).unwrap();
        fs::write(path, [&content[..], b"#"].concat()).unwrap();
    }),
    ("flipped", |path| {
        let mut content = fs::read(path).unwrap();
        *content.last_mut().unwrap() ^= 1;
        fs::write(path, content).unwrap();
    }),
    ("a symlink", |path| {
        fs::remove_file(path).unwrap();
        symlink("alpha.py", path).unwrap();
    }),
    ("a directory", |path| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    }),
];

const PLACES: [(&str, &str); 6] = [
    (ALPHA, "alpha.py"),
    (ALPHA, "pkg/deep/er/data.txt"),
    (ALPHA, "alpha-1.0.dist-info/METADATA"),
    (ALPHA, "pkg/__pycache__/__init__.cpython-311.pyc"),
    (NATIVE, MODULE),
    (ZIPPED, ""),
];

#[test]
fn every_kind_of_damage_in_every_place_is_found_and_repaired() {
    let app = App::new();
    for (egg, place) in PLACES {
        for (what, damage) in DAMAGES {
            let path = app.egg(egg);
            let path = if place.is_empty() { path } else { path.join(place) };
            if egg == ZIPPED && what == "deleted" {
                continue; // an egg that is gone has a test of its own
            }
            damage(&path);
            let report = app.check("", 4);
            let short = path.strip_prefix(app.path("").canonicalize().unwrap()).unwrap();
            let is_named = |(_, path): &(String, PathBuf)| path == short;
            assert!(problems(&report).iter().any(is_named), "{what} {place}: {report:#}");
            let is_of_egg = |it: &Value| it["egg"] == egg;
            let found = report["problems"].as_array().unwrap();
            assert!(found.iter().all(is_of_egg), "{what} {place}: {report:#}");
            app.is_repaired(egg);
        }
    }
}

#[test]
fn an_executable_bit_that_differs_is_found_and_repaired() {
    let app = App::new();
    // What a umask can remove is no problem.
    for place in ["pkg", ""] {
        chmod(&app.egg(ALPHA).join(place), 0o700);
        assert_eq!(problems(&app.check("", 0)), [], "{place}");
        chmod(&app.egg(ALPHA).join(place), 0o755);
    }
    chmod(&app.egg(ALPHA).join("alpha.py"), 0o700);
    assert_eq!(app.one_problem("").0, "changed");
    app.is_repaired(ALPHA);
}

#[test]
fn a_full_check_finds_changes_that_keep_size_and_time() {
    let app = App::new();
    for (egg, place) in PLACES {
        let path = if place.is_empty() { app.egg(egg) } else { app.egg(egg).join(place) };
        let seen = tree(&path).into_values().next().unwrap();
        let mut content = fs::read(&path).unwrap();
        *content.last_mut().unwrap() ^= 1;
        fs::write(&path, content).unwrap();
        touch(&path, seen.mtime.0, seen.mtime.1);
        assert_eq!(problems(&app.check("", 0)), [], "{place}");
        assert_eq!(app.one_problem("--full").0, "changed", "{place}");
        app.check("--full --repair", 0);
        assert_same_tree(&app.original(egg), &app.egg(egg));
    }
}

#[test]
fn a_file_that_is_only_touched_is_a_note() {
    let app = App::new();
    touch(&app.egg(ALPHA).join("alpha.py"), TIME + 5, 0);
    let report = app.check("", 0);
    assert!(kinds(&report["notes"]).contains(&"touched".into()));
    app.sandbox.ok("check app").says(&["alpha.py: same content, different mtime"]);
    app.is_repaired(ALPHA);
}

#[test]
fn added_files_are_a_problem_and_are_never_lost() {
    let app = App::new();
    let place = "pkg/hotfix/patch.py";
    for round in 0..2 {
        write(&app.egg(ALPHA).join(place), format!("round = {round}\n").as_bytes());
        let report = app.check("", 4);
        assert_eq!(kinds(&report["problems"]), ["added", "added"]);
        app.sandbox.ok("check app --repair").says(&["set-aside", "patch.py"]);
        assert_same_tree(&app.original(ALPHA), &app.egg(ALPHA));
    }
    let aside = app.sandbox.path(&app.eggs).join("set-aside");
    let folders = [format!("{ALPHA}.added"), format!("{ALPHA}-1.added")];
    for (round, folder) in folders.iter().enumerate() {
        let content = fs::read_to_string(aside.join(folder).join(place)).unwrap();
        assert_eq!(content, format!("round = {round}\n"));
    }
    let report = app.check("", 0);
    assert!(kinds(&report["notes"]).contains(&"leftover".into()), "the leftover is noted");
}

/// Buildout takes packages of its Python where their version fits. They are not in the buildout.
#[test]
fn packages_of_the_python_that_scripts_import_are_noted() {
    let app = App::new();
    let bundle = "bundle app -o app.tar.zst";
    assert_eq!(app.sandbox.json(bundle)["needs_packages"], false);
    let script = fs::read_to_string(app.path("bin/app")).unwrap();
    let packages = app.sandbox.path("venv/lib/python3.11/site-packages");
    let more = format!("sys.path[0:0] = [\n  '{}',\n", packages.display());
    let script = script.replace("sys.path[0:0] = [\n", &more);
    write(&app.path("bin/app"), script.as_bytes());
    write(&app.path("bin/other"), script.as_bytes());
    let report = app.check("", 0);
    assert_eq!(kinds(&report["notes"])[..2], ["interpreter", "packages"]);
    let output = app.sandbox.ok("check app");
    output.says(&["imports packages that are installed beside", "(and 1 more script)"]);
    let metadata =
        b"Name: gamma\nVersion: 1.0\nRequires-Dist: wheel\nRequires-Dist: packaging>=24\n";
    let egg = app.egg("gamma-1.0-py3.11.egg");
    write(&egg.join("gamma-1.0.dist-info/METADATA"), metadata);
    write(&app.path("bin/other"), script.replace(ALPHA, "gamma-1.0-py3.11.egg").as_bytes());
    for (name, version) in [("packaging", "26.4"), ("wheel", "0.48"), ("pip", "26.0")] {
        let metadata = format!("Name: {name}\nVersion: {version}\n");
        let info = packages.join(format!("{name}-{version}.dist-info/METADATA"));
        write(&info, metadata.as_bytes());
    }
    let named = "bin/app: imports packaging 26.4 and wheel 0.48, which are installed beside";
    app.sandbox.ok("check app").says(&[named, "(and 1 more script)"]);
    fs::remove_dir_all(egg).unwrap();
    write(&app.path("bin/other"), script.as_bytes());
    output.says(&["self-contained, but for packages of its Python: 3 eggs"]);
    assert_eq!(app.sandbox.json(bundle)["needs_packages"], true);
    fs::remove_file(app.sandbox.path("app.tar.zst")).unwrap();
    let hint = "hint: bin/app (and 1 more script) imports packages that are installed beside";
    app.sandbox.ok(bundle).says(&[hint, "`--exclude bin/app`", "with packages of its Python"]);
    let without = app.sandbox.ok("bundle app -o less.tar --exclude bin/app --exclude bin/other");
    assert!(!without.stderr.contains("packages"), "{}", without.stderr);
    app.sandbox
        .ok(bundle)
        .says(&["with packages of its Python: 3 eggs", "a pin of another version"]);
}

#[test]
fn bytecode_that_python_adds_is_not_a_problem() {
    let app = App::new();
    let source = app.egg(ALPHA).join("alpha.py");
    let seen = tree(&source).into_values().next().unwrap();
    let pyc = app.egg(ALPHA).join("__pycache__/alpha.cpython-311.pyc");
    write(&pyc, &compiled(seen.mtime.0, 6));
    let report = app.check("--full", 0);
    assert_eq!(problems(&report), []);
    assert_eq!(kinds(&report["notes"]), ["interpreter", "not-relocatable"]);
    assert_eq!(report["bytecode"], 1);
    // It stays, as nothing needs a repair.
    app.check("--repair", 0);
    assert!(pyc.exists());
}

#[test]
fn bytecode_that_does_not_match_its_source_is_a_problem() {
    let app = App::new();
    let seen = tree(&app.egg(ALPHA).join("alpha.py")).into_values().next().unwrap();
    for place in ["__pycache__/alpha.cpython-311.pyc", "alpha.pyc"] {
        for content in [compiled(seen.mtime.0 - 9, 6), compiled(seen.mtime.0, 7), vec![0; 9]] {
            write(&app.egg(ALPHA).join(place), &content);
            let (kind, path) = app.one_problem("");
            assert_eq!(kind, "stale-bytecode");
            assert!(path.ends_with(place), "{path:?}");
            app.is_repaired(ALPHA);
        }
    }
    write(&app.egg(ALPHA).join("gone.pyc"), &compiled(1, 1));
    let report = app.check("", 0);
    assert!(kinds(&report["notes"]).contains(&"sourceless".into()));
}

#[test]
fn a_missing_egg_that_scripts_use_is_restored() {
    let app = App::new();
    for egg in [ALPHA, ZIPPED] {
        let path = app.egg(egg);
        fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path)).unwrap();
        let (kind, _) = app.one_problem("");
        assert_eq!(kind, "missing-egg");
        app.is_repaired(egg);
    }
    app.script("other", &["unknown-1.0-py3.11.egg"]);
    let report = app.check("--repair", 4);
    assert_eq!(kinds(&report["problems"]), ["missing-egg"]);
    assert!(kinds(&report["notes"]).contains(&"left".into()));
}

#[test]
fn an_egg_with_several_candidates_in_the_cache_is_left() {
    let app = App::new();
    app.sandbox.ok(&format!("add --environment other eggs/{ALPHA}"));
    assert_eq!(problems(&app.check("", 0)), [], "intact, whichever build it is");
    fs::remove_file(app.egg(ALPHA).join("alpha.py")).unwrap();
    let before = tree(&app.egg(ALPHA));
    let report = app.check("--repair", 4);
    assert_eq!(kinds(&report["problems"]), ["missing"]);
    app.sandbox.fails("check app --repair", 4).says(&["several eggs in the cache match"]);
    assert_same(&before, &tree(&app.egg(ALPHA)));
}

#[test]
fn the_closest_candidate_is_compared() {
    let app = App::new();
    let other = app.sandbox.other_build("alpha", "1.0");
    app.sandbox.ok(&format!("add --environment other {}", other.display()));
    assert_eq!(problems(&app.check("--full", 0)), []);
    fs::remove_file(app.egg(ALPHA).join("alpha.py")).unwrap();
    app.is_repaired(ALPHA);
}

#[test]
fn an_egg_that_is_not_in_the_cache_is_still_examined() {
    let app = App::new();
    let egg = app.egg("own-1.0-py3.11.egg");
    crate::support::make_egg(&egg, "own", "1.0", &[]);
    app.script("own", &["own-1.0-py3.11.egg"]);
    let report = app.check("--full --repair", 0);
    assert!(kinds(&report["notes"]).contains(&"not-in-cache".into()));
    assert_eq!(report["compared"], 3);
    write(&egg.join("own.pyc"), &compiled(1, 1));
    assert_eq!(app.one_problem("").0, "stale-bytecode");
    fs::remove_file(egg.join("own.pyc")).unwrap();
    fs::remove_dir_all(egg.join("own-1.0.dist-info")).unwrap();
    assert_eq!(app.one_problem("").0, "incomplete");
    fs::remove_dir_all(&egg).unwrap();
    fs::write(&egg, "PK\x03\x04 half a zip file").unwrap();
    assert_eq!(app.one_problem("").0, "incomplete");
}

#[test]
fn another_build_of_an_egg_is_not_a_problem() {
    let app = App::new();
    let url = "alpha-1.0.dist-info/direct_url.json";
    write(&app.original(ALPHA).join(url), b"{\"url\": \"file:///tmp/one\"}");
    app.sandbox.ok(&format!("add --replace eggs/{ALPHA}"));
    app.is_rebuilt(url);
    let report = app.check("--full", 0);
    assert!(kinds(&report["notes"]).contains(&"other-build".into()), "{report:#}");
    assert_eq!(report["compared"], 2);
    // A file that every build has is reported as missing, but another build is never replaced.
    fs::remove_file(app.egg(ALPHA).join("pkg/__init__.py")).unwrap();
    let report = app.check("--repair", 4);
    assert_eq!(kinds(&report["problems"]), ["missing"]);
}

impl App {
    /// Gives an egg the metadata of another build.
    fn is_rebuilt(&self, url: &str) {
        write(&self.egg(ALPHA).join(url), b"{\"url\": \"file:///tmp/another\"}");
        touch(&self.egg(ALPHA).join("alpha-1.0.dist-info/METADATA"), TIME + 77, 0);
    }
}

#[test]
fn every_reference_out_of_the_buildout_is_a_problem() {
    let app = App::new();
    let out = app.sandbox.path("outside");
    write(&out.join("file"), b"");
    write(&out.join("shared-1.0-py3.11.egg/x.py"), b"");
    let out = out.canonicalize().unwrap();
    let named = |text: &str| text.replace("OUT", out.to_str().unwrap());
    let import = "#!OUT/../venv/bin/python3.11\nimport sys\nsys.path[0:0] = [\n  'OUT/shared-1.0-py3.11.egg',\n  ]\n";
    let relative = "#!/bin/sh\nbase = os.path.dirname(base)\nsys.path[0:0] = [\n  join(base, '../outside'),\n  ]\n";
    let eggs = app.eggs.strip_prefix("app/").unwrap();
    let cases = [
        ("path", "bin/shared".to_owned(), import),
        ("path", "bin/relative".to_owned(), relative),
        ("path", "bin/conf".to_owned(), "#!/bin/sh\nexec x -C OUT/file\n"),
        ("path", "parts/instance/etc/zope.conf".to_owned(), "%define X OUT/file\n"),
        ("path", "parts/a.cfg".to_owned(), "x = OUT/file\n"),
        ("path", "develop-eggs/a.pth".to_owned(), "../../outside\n"),
        ("path", format!("{eggs}/easy-install.pth"), "OUT\n"),
        ("path", format!("{eggs}/{ALPHA}/a.pth"), "OUT\n"),
        ("develop-egg", "develop-eggs/a.egg-link".to_owned(), "OUT\n../"),
        ("develop-egg", "develop-eggs/b.egg-link".to_owned(), "../src/gone\n"),
    ];
    for (kind, path, content) in cases {
        write(&app.path(&path), named(content).as_bytes());
        let report = app.check("", 4);
        assert!(problems(&report).contains(&(kind.to_owned(), path.clone().into())), "{report:#}");
        assert!(app.sandbox.run("check app").get_output().stderr.ends_with(b"\n"));
        fs::remove_file(app.path(&path)).unwrap();
    }
    for path in ["bin/link", "parts/link", "link", &format!("{eggs}/{ALPHA}/pkg/link")] {
        for target in [&*out, Path::new("/etc/passwd"), Path::new("../../../../../../../gone")] {
            fs::create_dir_all(app.path(path).parent().unwrap()).unwrap();
            symlink(target, app.path(path)).unwrap();
            let report = app.check("", 4);
            let problem = ("symlink".to_owned(), path.into());
            assert!(problems(&report).contains(&problem), "{path}: {report:#}");
            app.sandbox.fails("check app", 4).says(&["not self-contained"]);
            fs::remove_file(app.path(path)).unwrap();
        }
    }
    assert_eq!(problems(&app.check("", 0)), []);
}

#[test]
fn references_within_the_buildout_are_not_problems() {
    let app = App::new();
    let root = app.path("").canonicalize().unwrap();
    let root = root.to_str().unwrap().trim_end_matches('/');
    let eggs = app.eggs.strip_prefix("app/").unwrap();
    write(&app.path("src/dev/setup.py"), b"");
    write(&app.path("develop-eggs/dev.egg-link"), format!("{root}/src/dev\n.\n").as_bytes());
    write(&app.path("develop-eggs/dev.pth"), b"import os\n../src/dev\n");
    write(&app.path("parts/etc/a.conf"), format!("x {root}/var /dev/null /plone/x\n").as_bytes());
    let relative = format!(
        "#!/usr/bin/env python\nbase = os.path.dirname(base)\nsys.path[0:0] = [\n  \
         join(base, '{eggs}/{ALPHA}'),\n  ]\n"
    );
    write(&app.path("bin/relative"), relative.as_bytes());
    symlink("src/dev", app.path("link")).unwrap();
    symlink(app.path("src"), app.path("absolute")).unwrap();
    symlink(app.sandbox.path("venv/bin/python3.11"), app.path("bin/python3")).unwrap();
    fs::hard_link(app.path("src/dev/setup.py"), app.path("src/copy.py")).unwrap();
    symlink("/nowhere", app.path("src/dev/.git-link")).unwrap();
    fs::remove_file(app.path("src/dev/.git-link")).unwrap();
    write(&app.path("src/.git/config"), b"");
    symlink("/nowhere", app.path("src/.git/link")).unwrap();
    let report = app.check("", 0);
    assert_eq!(problems(&report), []);
    let mut notes = kinds(&report["notes"]);
    notes.sort();
    let texts_and_link = ["not-relocatable"; 3];
    let expected = [&["develop-egg", "interpreter", "interpreter"][..], &texts_and_link].concat();
    assert_eq!(notes, expected, "{report:#}");
}

#[test]
fn a_hard_link_to_an_outside_file_is_found_and_repaired() {
    let app = App::new();
    let (inside, outside) = (app.egg(ALPHA).join("alpha.py"), app.sandbox.path("shared.py"));
    fs::hard_link(&inside, &outside).unwrap();
    assert_eq!(app.one_problem("").0, "hard-link");
    app.is_repaired(ALPHA);
    assert_eq!(fs::read(&outside).unwrap(), b"x = 1\n");

    let blob = app.sandbox.blob("alpha==1.0");
    fs::create_dir_all(app.path("parts")).unwrap();
    fs::hard_link(&blob, app.path("parts/blob")).unwrap();
    app.sandbox.fails("check app", 4).says(&["parts/blob", "hard-linked to the blob"]);
    app.check("--repair", 4);
}

#[test]
fn a_symlink_to_a_shared_egg_is_replaced_with_a_copy() {
    let app = App::new();
    fs::remove_dir_all(app.egg(ALPHA)).unwrap();
    symlink(app.original(ALPHA), app.egg(ALPHA)).unwrap();
    let before = tree(&app.original(ALPHA));
    assert_eq!(app.one_problem("").0, "symlink");
    app.is_repaired(ALPHA);
    assert!(!app.egg(ALPHA).is_symlink());
    assert_same(&before, &tree(&app.original(ALPHA)));
}

#[test]
fn nothing_outside_the_eggs_directory_is_ever_repaired() {
    let app = App::new();
    for folder in ["app/develop-eggs", "shared"] {
        app.sandbox.ok(&format!("materialize --into {folder} alpha==1.0"));
        fs::remove_file(app.sandbox.path(folder).join(ALPHA).join("alpha.py")).unwrap();
    }
    let before = tree(&app.sandbox.path("shared"));
    let develop = tree(&app.path("develop-eggs"));
    let report = app.check("--repair", 4);
    assert_eq!(kinds(&report["problems"]), ["missing"]);
    assert!(kinds(&report["notes"]).contains(&"left".into()));
    let report = app.check("--repair --eggs shared", 4);
    assert!(
        kinds(&report["problems"]).contains(&"path".into()),
        "the folder is outside the buildout"
    );
    assert_same(&before, &tree(&app.sandbox.path("shared")));
    assert_same(&develop, &tree(&app.path("develop-eggs")));
}

#[test]
fn an_extension_module_for_another_python_is_a_problem() {
    let app = App::new();
    let egg = app.egg("ext-1.0-py3.11-linux-x86_64.egg");
    crate::support::make_egg(
        &egg,
        "ext",
        "1.0",
        &[("pkg/_x.cpython-312-x86_64-linux-gnu.so", b"code")],
    );
    app.script("ext", &["ext-1.0-py3.11-linux-x86_64.egg"]);
    let (kind, path) = app.one_problem("");
    assert_eq!(kind, "other-python");
    assert!(path.ends_with("pkg/_x"), "{path:?}");
    write(&egg.join("pkg/_x.cpython-311-x86_64-linux-gnu.so"), b"code");
    assert_eq!(problems(&app.check("", 0)), []);
}

#[test]
fn an_egg_for_another_python_than_its_script_runs_is_a_problem() {
    let app = App::new();
    write(&app.sandbox.path("venv/bin/python3.11"), b"");
    let egg = "new-1.0-py3.12.egg";
    crate::support::make_egg(&app.egg(egg), "new", "1.0", &[]);
    assert_eq!(problems(&app.check("", 0)), [], "nothing uses it");
    app.script("new", &[egg]);
    let (kind, path) = app.one_problem("");
    assert_eq!((kind.as_str(), path.to_str().unwrap()), ("other-python", "bin/new"));
}

#[test]
fn a_missing_interpreter_is_a_problem() {
    let app = App::new();
    fs::remove_file(app.sandbox.path("venv/bin/python3.11")).unwrap();
    assert_eq!(app.one_problem("").0, "interpreter");
}

#[test]
fn an_egg_that_no_script_uses_is_a_note() {
    let app = App::new();
    app.script("app", &[ALPHA, NATIVE]);
    let report = app.check("", 0);
    assert!(
        listed(&report["notes"])
            .iter()
            .any(|(kind, path)| { kind == "unused" && path.ends_with(ZIPPED) })
    );
    // An egg recorded for a recipe in .installed.cfg is used.
    write(
        &app.path(".installed.cfg"),
        format!("[app]\n__buildout_signature__ = {ZIPPED} x\n").as_bytes(),
    );
    assert!(!kinds(&app.check("", 0)["notes"]).contains(&"unused".into()));
    // So is one whose project a recipe needs, although buildout ran with a package of its Python.
    let project = ZIPPED.split('-').next().unwrap();
    for (digest, is_used) in [("0".repeat(32), true), ("0".repeat(31), false)] {
        let installed = format!("[app]\n__buildout_signature__ = x {project}-{digest}\n");
        write(&app.path(".installed.cfg"), installed.as_bytes());
        let is_unused = kinds(&app.check("", 0)["notes"]).contains(&"unused".into());
        assert_eq!(is_unused, !is_used, "{installed}");
    }
}

#[test]
fn run_paths_are_reported() {
    let app = App::new();
    let egg = app.egg("lib-1.0-py3.11-linux-x86_64.egg");
    crate::support::make_egg(&egg, "lib", "1.0", &[]);
    app.script("lib", &["lib-1.0-py3.11-linux-x86_64.egg"]);
    app.sandbox.shell(&format!(
        "cc -x c -shared -nostdlib -o {0}/one.so -Wl,-rpath,/opt/none:/usr/lib /dev/null && \
         cc -x c -shared -nostdlib -o {0}/two.so -Wl,-rpath,'$ORIGIN/lib' /dev/null && \
         cc -x c -shared -nostdlib -o {0}/three.so -Wl,-rpath,'$ORIGIN/../../../..' /dev/null",
        egg.display()
    ));
    let folder = egg.parent().unwrap().display();
    app.sandbox.shell(&format!(
        "cc -x c -shared -nostdlib -o '{0}/four.so' -Wl,-rpath,'{folder}' /dev/null",
        egg.display()
    ));
    let report = app.check("", 0);
    let notes = report["notes"].as_array().unwrap();
    let run_paths: Vec<(&str, &str)> = notes
        .iter()
        .filter(|note| note["kind"] == "run-path")
        .map(|note| (text(&note["path"]).rsplit('/').next().unwrap(), text(&note["what"])))
        .collect();
    let absolute = format!(
        "looks for libraries in {folder}, an absolute path; one that begins with $ORIGIN moves with the \
         buildout"
    );
    assert_eq!(
        run_paths,
        [
            ("", "shared objects with a run path relative to themselves: 1"),
            ("four.so", &*absolute),
            ("one.so", "looks for libraries in /opt/none, outside the buildout"),
            ("three.so", "looks for libraries in $ORIGIN/../../../.., outside the buildout"),
        ]
    );
}

const CALC: &str = "calc-1.0-py3.11-linux-x86_64.egg";
const LIBRARY: &str = "libcalc.so.1";

/// A buildout with an egg whose module needs a library, which is in `folder` of the sandbox, by this run path.
fn app_that_needs(folder: &str, run_path: &str) -> App {
    let app = App::new();
    let egg = app.egg(CALC);
    crate::support::make_egg(&egg, "calc", "1.0", &[]);
    app.script("calc", &[CALC]);
    let library = app.sandbox.path(folder).join(LIBRARY);
    fs::create_dir_all(library.parent().unwrap()).unwrap();
    app.sandbox.shell(&format!(
        "cc -x c -shared -nostdlib -o {0} -Wl,-soname,{LIBRARY} /dev/null && \
         cc -shared -nostdlib -o {1}/_calc.so -Wl,--no-as-needed {0} -Wl,-rpath,'{run_path}'",
        library.display(),
        egg.display()
    ));
    app
}

const PART: &str = "app/parts/calc/lib";
const TO_PART: &str = "$ORIGIN/../../../parts/calc/lib";

#[test]
fn a_library_that_is_gone_from_parts_is_a_problem() {
    let app = app_that_needs(PART, TO_PART);
    assert_eq!(problems(&app.check("", 0)), []);
    let library = app.sandbox.path(PART).join(LIBRARY);
    fs::rename(&library, app.path("parts/calc").join(LIBRARY)).unwrap();
    assert_eq!(problems(&app.check("", 0)), [], "a script may name the folder");
    fs::remove_dir_all(app.path("parts/calc")).unwrap();
    let (kind, path) = app.one_problem("");
    assert_eq!((&kind[..], path.file_name().unwrap().to_str()), ("library", Some("_calc.so")));
    let missing = "_calc.so: needs libcalc.so.1, which is missing in parts/calc/lib";
    let check = app.sandbox.fails("check app", 4);
    check.says(&[missing, "not self-contained"]);
    assert!(!check.stderr.contains("--repair"), "{}", check.stderr);
    app.sandbox.fails("bundle app -o app.tar", 4).says(&[missing, "not bundled"]);
    fs::remove_file(app.path("bin/calc")).unwrap();
    assert_eq!(problems(&app.check("", 0)), [], "no script uses the egg");
}

#[test]
fn a_run_path_that_misses_the_library_of_a_part_is_a_problem() {
    let app = app_that_needs(PART, "$ORIGIN/../../parts/calc/lib");
    assert_eq!(app.one_problem("").0, "library");
    let missed = "_calc.so: needs libcalc.so.1, which is in parts/calc/lib, but its run path leads to \
                  eggs/parts/calc/lib, which does not exist";
    app.sandbox.fails("bundle app -o app.tar", 4).says(&[missed, "not bundled"]);
}

#[test]
fn a_library_that_another_egg_may_have_loaded_is_no_problem() {
    let app = app_that_needs(PART, TO_PART);
    fs::remove_dir_all(app.path("parts/calc")).unwrap();
    let other = app.egg("other-1.0-py3.11-linux-x86_64.egg");
    crate::support::make_egg(&other, "other", "1.0", &[("other.libs/libcalc.so.1", b"\x7fELF")]);
    assert_eq!(problems(&app.check("", 0)), []);
    // As a driver is, or a library of the Python: it was never in this buildout.
    for run_path in ["$ORIGIN/lib", "$ORIGIN/../nvidia/lib", "$ORIGIN/../../../parts/$PLATFORM"] {
        let app = app_that_needs("outside", run_path);
        assert_eq!(problems(&app.check("", 0)), [], "{run_path}");
    }
}

#[test]
fn a_library_that_only_a_folder_outside_has_is_a_problem() {
    let outside = "$ORIGIN/../../../../outside";
    let app = app_that_needs("outside", outside);
    assert_eq!(app.one_problem("").0, "library");
    app.sandbox.fails("check app", 4).says(&["needs libcalc.so.1, which only ", "/outside has"]);
    let library = app.sandbox.path("outside").join(LIBRARY);
    write(&app.sandbox.path("venv/lib/python3.11/os.py"), b"");
    fs::rename(&library, app.sandbox.path("venv/lib").join(LIBRARY)).unwrap();
    assert_eq!(problems(&app.check("", 0)), [], "a library that was never found is not judged");
    let app = app_that_needs("venv/lib", "$ORIGIN/../../../../venv/lib");
    write(&app.sandbox.path("venv/lib/python3.11/os.py"), b"");
    assert_eq!(problems(&app.check("", 0)), [], "it is of the Python in use");
    let app = app_that_needs(PART, &format!("{outside}:{TO_PART}"));
    write(&app.sandbox.path("outside").join(LIBRARY), b"\x7fELF");
    assert_eq!(problems(&app.check("", 0)), [], "a part has it, too");
}

#[test]
fn outside_parts_in_installed_cfg_are_reported_per_folder() {
    let app = App::new();
    write(&app.sandbox.path("outside/a"), b"");
    write(&app.sandbox.path("outside/b"), b"");
    let out = app.sandbox.path("outside").canonicalize().unwrap();
    let out = out.display();
    let text =
        format!("[app]\n__buildout_installed__ = {out}/a\n\t{out}/b\n_e = {out}\n_d = {out}\n");
    write(&app.path(".installed.cfg"), text.as_bytes());
    let report = app.check("", 4);
    assert_eq!(kinds(&report["problems"]), ["path", "path"]);
    app.sandbox.fails("check app", 4).says(&["lists 2 installed paths in", "eggs-directory"]);
    assert!(kinds(&report["notes"]).contains(&"path".into()));
}

#[test]
fn a_buildout_that_was_moved_uses_the_eggs_of_its_old_folder() {
    let app = App::new();
    app.sandbox.shell("cp -a app moved");
    let moved = app.sandbox.fails("check moved", 4);
    moved.says(&["not self-contained", "bin/app: imports 3 eggs from", "/app/eggs/v5, outside"]);
    app.sandbox.shell("mv app gone");
    app.sandbox.fails("check moved", 4).says(&["bin/app: imports 3 eggs from"]);
    app.sandbox.fails("check gone", 4).says(&["1 problem"]);
}

#[test]
fn check_refuses_a_folder_that_is_not_a_buildout() {
    let app = App::new();
    app.sandbox.fails("check eggs", 2).says(&["eggs is not a buildout"]);
    app.sandbox.fails("check nowhere", 2).says(&["nowhere is not a folder"]);
    app.sandbox.fails("check app --eggs nowhere", 2).says(&["nowhere is not a folder with eggs"]);
    app.sandbox.fails("check", 2);
}

#[test]
fn without_a_cache_nothing_is_compared_and_no_cache_is_made() {
    let app = App::new();
    app.sandbox.shell("mv cache elsewhere");
    let output = app.sandbox.ok("check app");
    output.says(&["no cache at cache", "0 of them compared", "0 problems"]);
    assert!(!app.sandbox.path("cache").exists());
    fs::remove_dir_all(app.egg(ALPHA).join("alpha-1.0.dist-info")).unwrap();
    assert_eq!(app.one_problem("--repair").0, "incomplete");
}

#[test]
fn a_damaged_blob_restores_nothing() {
    let app = App::new();
    fs::remove_file(app.egg(ALPHA).join("alpha.py")).unwrap();
    crate::damage::flip_last_bit(&app.sandbox.blob("alpha==1.0"));
    let before = tree(&app.egg(ALPHA));
    let report = app.check("--repair", 4);
    assert_eq!(kinds(&report["problems"]), ["missing"]);
    assert_same(&before, &tree(&app.egg(ALPHA)));
}

#[test]
fn only_a_few_problems_per_egg_are_printed_by_default() {
    let app = App::new();
    for name in ["a", "b", "c", "d", "e"] {
        write(&app.egg(ALPHA).join(name), b"");
    }
    let few = app.sandbox.fails("check app", 4);
    few.says(&["alpha-1.0-py3.11.egg: 5 problems\n    a: not part", "and 2 more; -v shows them"]);
    assert!(!few.stderr.contains("    e:"));
    assert_eq!(few.stdout, "");
    app.sandbox.fails("-v check app", 4).says(&["    a: not part", "    e: not part"]);
    let quiet = app.sandbox.fails("-q check app", 4);
    assert!(quiet.stderr.contains("5 problems") && !quiet.stderr.contains("note"));
}

#[test]
fn fifos_and_devices_do_not_block_a_check() {
    let app = App::new();
    let eggs = app.eggs.strip_prefix("app/").unwrap();
    write(&app.path(".installed.cfg"), b"[app]\n");
    fs::create_dir_all(app.path("develop-eggs")).unwrap();
    fs::remove_file(app.path("buildout.cfg")).unwrap();
    for (fifo, code) in [
        ("develop-eggs/a.pth".to_owned(), 4),
        ("develop-eggs/a.egg-link".to_owned(), 4),
        (format!("{eggs}/a.pth"), 4),
        (format!("{eggs}/{ALPHA}/a.pth"), 4),
        ("buildout.cfg".to_owned(), 1),
    ] {
        for what in ["mkfifo", "ln -s /dev/zero"] {
            app.sandbox.shell(&format!("{what} 'app/{fifo}'"));
            let mut check = assert_cmd::Command::from_std(app.sandbox.eggcache("check app"));
            let assert = check.timeout(Duration::from_secs(20)).assert();
            Output::of(&assert.code(code)).says(&[fifo.rsplit('/').next().unwrap()]);
            fs::remove_file(app.path(&fifo)).unwrap();
        }
    }
}

#[test]
fn an_eggs_directory_with_two_names_hides_no_hard_link() {
    let app = App::new();
    let eggs = app.eggs.strip_prefix("app/").unwrap();
    symlink(eggs, app.path("develop-eggs")).unwrap();
    assert_eq!(app.check("", 0)["eggs"], 3);
    fs::hard_link(app.egg(ALPHA).join("alpha.py"), app.sandbox.path("shared.py")).unwrap();
    assert_eq!(app.one_problem("").0, "hard-link");
}

#[test]
fn a_script_named_python_does_not_make_a_virtual_environment() {
    let app = App::new();
    write(&app.sandbox.path("outside/data"), b"");
    app.script("python", &[ALPHA, NATIVE, ZIPPED]);
    fs::create_dir_all(app.path("lib")).unwrap();
    symlink("../../outside", app.path("lib/data")).unwrap();
    assert_eq!(app.one_problem(""), ("symlink".to_owned(), "lib/data".into()));
    // A virtual environment in the buildout is recognized.
    fs::remove_file(app.path("bin/python")).unwrap();
    symlink(app.sandbox.path("venv/bin/python3.11"), app.path("bin/python")).unwrap();
    write(&app.path("pyvenv.cfg"), b"home = /usr/bin\n");
    assert_eq!(problems(&app.check("", 0)), []);
}

#[test]
fn a_symlink_through_the_buildout_name_is_not_relocatable() {
    let app = App::new();
    write(&app.path("parts/real"), b"");
    symlink("../../app/parts/real", app.path("parts/link")).unwrap();
    symlink("../parts/real", app.path("parts/movable")).unwrap();
    let report = app.check("", 0);
    let links: Vec<_> =
        listed(&report["notes"]).into_iter().filter(|it| it.1.starts_with("parts")).collect();
    assert_eq!(links, [("not-relocatable".to_owned(), "parts/link".into())]);
}

#[test]
fn an_overlong_path_in_a_file_does_not_slow_a_check() {
    let app = App::new();
    write(&app.path("parts/a.cfg"), "/a".repeat(500_000).as_bytes());
    let mut check = assert_cmd::Command::from_std(app.sandbox.eggcache("check app"));
    check.timeout(Duration::from_secs(20)).assert().code(0);
}

#[test]
fn check_leaves_a_folder_that_is_not_a_cache_unchanged() {
    let app = App::new();
    app.sandbox.shell("mv cache elsewhere; mkdir cache; echo mine >cache/file");
    app.sandbox.ok("check app").says(&["is not a cache"]);
    assert_eq!(names_in(&app.sandbox.path("cache")), ["file"]);
}

#[test]
fn a_repair_follows_no_symlink_out_of_the_eggs_directory() {
    let app = App::new();
    fs::create_dir(app.sandbox.path("outside")).unwrap();
    symlink(app.sandbox.path("outside"), app.egg("set-aside")).unwrap();
    write(&app.egg(ALPHA).join("added.py"), b"mine\n");
    app.sandbox.fails("check app --repair", 4).says(&["set-aside"]);
    assert_eq!(names_in(&app.sandbox.path("outside")), [""; 0]);
    assert_eq!(fs::read(app.egg(ALPHA).join("added.py")).unwrap(), b"mine\n");
}

#[test]
fn names_in_a_buildout_cannot_control_the_terminal() {
    let app = App::new();
    let evil = "evil\u{1b}]0;title\u{7}";
    symlink("/nowhere", app.path(evil)).unwrap();
    fs::rename(app.egg(ALPHA), app.egg(&format!("{evil}-1.0-py3.11.egg"))).unwrap();
    symlink("/nowhere", app.egg(&format!("{evil}-1.0-py3.11.egg")).join(evil)).unwrap();
    for line in ["check app", "check app -v", "check app --repair -v", "add app -v", "list"] {
        let mut run = assert_cmd::Command::from_std(app.sandbox.eggcache(line));
        let output = Output::of(&run.args(["--color", "always"]).assert());
        assert!(!output.stdout.contains("\u{1b}]") && !output.stderr.contains("\u{1b}]"), "{line}");
    }
}

#[test]
fn check_uses_the_cache_that_the_buildout_configures() {
    let app = App::new();
    app.sandbox.shell("mv cache named; mkdir home");
    let compared = |words: &[&str]| {
        let mut check = app.sandbox.process(EGGCACHE);
        let output = check.args(words).args(["--json", "check", "app"]).output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["compared"].clone()
    };
    assert_eq!(compared(&[]), 0);
    write(&app.path("base.cfg"), b"[buildout]\negg-cache = ../named\n");
    write(&app.path("buildout.cfg"), b"[buildout]\nextends = base.cfg\nparts = app\n");
    assert_eq!(compared(&[]), 3);
    assert_eq!(compared(&["--cache", "elsewhere"]), 0, "the option takes precedence");
    let mut check = app.sandbox.process(EGGCACHE);
    let output = check.args(["--json", "check", "app"]).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        text(&report["cache"]),
        app.sandbox.path("named").canonicalize().unwrap().to_str().unwrap()
    );
    write(&app.path("buildout.cfg"), b"[buildout]\nparts = app\n");
    write(&app.sandbox.path(".buildout/default.cfg"), b"[buildout]\negg-cache = ~/named\n");
    assert_eq!(compared(&[]), 3);
    let mut bundle = app.sandbox.process(EGGCACHE);
    let output = bundle.args(["--json", "bundle", "app", "-o", "app.tar"]).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["known_eggs"], 3);
}

#[test]
fn a_python_in_the_bin_of_a_home_does_not_own_the_home() {
    let app = App::new();
    write(&app.sandbox.path("bin/python3.11"), b"");
    write(&app.sandbox.path("outside/file"), b"");
    let top = app.sandbox.path("").canonicalize().unwrap();
    let script = format!("#!{0}/bin/python3.11\nx = '{0}/outside/file'\n", top.display());
    write(&app.path("bin/leak"), script.as_bytes());
    assert_eq!(app.one_problem(""), ("path".to_owned(), "bin/leak".into()));
    fs::create_dir_all(app.sandbox.path("lib/python3.11")).unwrap();
    assert_eq!(problems(&app.check("", 0)), [], "the path is inside the Python installation");
}

#[test]
fn a_buildout_that_has_installed_nothing_is_a_problem() {
    let app = App::new();
    let nothing = [("not-installed".to_owned(), PathBuf::new())];
    for name in ["app", "tool"] {
        fs::rename(app.path("bin/app"), app.path("bin").join(name)).unwrap();
        app.check("", 0);
        fs::rename(app.path("bin").join(name), app.path("bin/app")).unwrap();
    }
    // What was there before a first run: the script of a bootstrap, and a virtual environment.
    write(&app.path("bin/buildout"), b"#!/bin/sh\n");
    fs::remove_file(app.path("bin/app")).unwrap();
    assert_eq!(problems(&app.check("", 4)), nothing);
    write(&app.path("bin/activate"), b"# by a virtual environment\n");
    app.check("", 0);
    write(&app.path("pyvenv.cfg"), b"version = 3.11.2\n");
    assert_eq!(problems(&app.check("", 4)), nothing);
    app.sandbox.fails("check app", 4).says(&["not installed: ", "hint: run buildout to its end"]);
    app.sandbox.fails("bundle app -o app.tar", 4).says(&["buildout has installed nothing here"]);
    app.sandbox.fails("sbom app", 4).says(&["has not installed all of it", "hint: "]);
    for (configuration, code) in
        [("parts =", 0), ("extends = base.cfg", 4), ("parts = app\ninstalled = .parts.cfg", 0)]
    {
        write(&app.path("buildout.cfg"), format!("[buildout]\n{configuration}\n").as_bytes());
        app.check("", code);
    }
}

#[test]
fn a_part_that_is_not_installed_is_a_note() {
    let app = App::new();
    write(&app.path(".installed.cfg"), b"[buildout]\nparts = app\n\n[app]\n");
    let noted = || {
        let report = app.check("", 0);
        let notes = report["notes"].as_array().unwrap().iter();
        let notes = notes.filter(|note| note["kind"] == "not-installed");
        notes.map(|note| text(&note["what"]).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(noted(), [""; 0]);
    write(&app.path("buildout.cfg"), b"[buildout]\nparts =\n  app\n  ${x:parts}\n  test docs\n");
    let expected = ["docs", "test"].map(|it| format!("buildout has not installed the part {it}"));
    assert_eq!(noted(), expected);
    app.sandbox
        .ok("bundle app -o app.tar")
        .says(&["note: buildout has not installed the part test"]);
}
