//! Bills of materials: what they state of a buildout, and that equal buildouts have equal ones. The tests in
//! `tests/buildout/test_sbom.py` validate them with other programs.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use serde_json::{Value, json};

use crate::provenance::statement;
use crate::serve::Server;
use crate::support::{Output, Sandbox, chmod, host, text, touch, write};

const TIME: i64 = 1_600_000_000;
const ELF: &[u8] = b"\x7fELF is how an object begins";
const ARCHIVE: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Makes an egg in `eggs` with these lines of metadata, and files of one age.
fn egg(sandbox: &Sandbox, name: &str, version: &str, lines: &str, files: &[(&str, &[u8])]) {
    let normal = name.replace(['-', '.'], "_");
    let egg = sandbox.path(&format!("eggs/{normal}-{version}-py3.11.egg"));
    let metadata = format!("Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{lines}");
    write(&egg.join(format!("{normal}-{version}.dist-info/METADATA")), metadata.as_bytes());
    write(&egg.join(format!("{normal}.py")), b"x = 1\n");
    for (path, content) in files {
        write(&egg.join(path), content);
    }
    for entry in walkdir::WalkDir::new(&egg) {
        touch(entry.unwrap().path(), TIME, 0);
    }
}

/// A cache and the buildout `app` that uses `acme.site`, `lib` and `plug`, but not `spare`.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    let site =
        "Summary: The site\nLicense-Expression: MIT OR Apache-2.0\nRequires-Dist: lib[fast]>=2\n";
    egg(&sandbox, "acme.site", "1.0+acme", site, &[]);
    let lib = "License: Acme License\n        Do no evil.\nRequires-Dist: plug; extra == 'fast'\n\
               Requires-Dist: spare; extra == 'test'\n";
    let objects = [
        ("lib/_lib.cpython-311-x86_64-linux-gnu.so", ELF),
        ("lib.libs/libz-1f2e.so.1", ELF),
        ("lib/not_native.so", b"text"),
    ];
    egg(&sandbox, "lib", "2.1", lib, &objects);
    egg(&sandbox, "plug", "3", "Classifier: License :: OSI Approved :: MIT License\n", &[]);
    egg(&sandbox, "spare", "4", "", &[]);
    sandbox.ok(&format!("add eggs/lib-2.1-py3.11.egg --source-sha256 {ARCHIVE}"));
    sandbox.ok("add eggs");
    buildout(&sandbox, "app");
    sandbox
}

fn buildout(sandbox: &Sandbox, name: &str) {
    let app = sandbox.path(name);
    sandbox.ok(&format!("materialize --into {name}/eggs --all"));
    write(&app.join("buildout.cfg"), b"[buildout]\n");
    let eggs = ["acme_site-1.0+acme", "lib-2.1", "plug-3"];
    let list = eggs.map(|egg| format!("  join(base, 'eggs/{egg}-py3.11.egg'),\n")).concat();
    let script = format!(
        "#!/usr/bin/python3.11\n\nimport os\njoin = os.path.join\n\
         base = os.path.dirname(os.path.abspath(os.path.realpath(__file__)))\n\
         base = os.path.dirname(base)\nimport sys\nsys.path[0:0] = [\n{list}  ]\n"
    );
    write(&app.join("bin/app"), script.as_bytes());
    chmod(&app.join("bin/app"), 0o755);
}

fn document(sandbox: &Sandbox, options: &str) -> Value {
    sandbox.ok(&format!("sbom app {options}")).json()
}

fn component<'a>(document: &'a Value, name: &str) -> &'a Value {
    let mut components = document["components"].as_array().unwrap().iter();
    components.find(|it| it["name"] == name).unwrap()
}

fn names(document: &Value) -> Vec<&str> {
    document["components"].as_array().unwrap().iter().map(|it| text(&it["name"])).collect()
}

#[test]
fn a_bill_has_the_eggs_that_the_buildout_uses() {
    let sandbox = sandbox();
    let document = document(&sandbox, "");
    assert_eq!(names(&document), ["acme.site", "lib", "plug"]);
    let site = component(&document, "acme.site");
    assert_eq!(site["version"], "1.0+acme");
    assert_eq!(site["purl"], "pkg:pypi/acme.site@1.0%2Bacme");
    assert_eq!(site["description"], "The site");
    assert_eq!(site["licenses"][0]["expression"], "MIT OR Apache-2.0");
    let lib = component(&document, "lib");
    assert_eq!(lib["licenses"][0]["license"]["name"], "Acme License");
    assert_eq!(component(&document, "plug")["licenses"][0]["license"]["id"], "MIT");
    assert_eq!(lib["hashes"], json!([{"alg": "SHA-256", "content": ARCHIVE}]));
    assert_eq!(document["metadata"]["timestamp"], "2020-09-13T12:26:40Z");
    assert_eq!(document["metadata"]["component"]["name"], "app");
}

#[test]
fn a_bill_has_the_shared_objects_in_an_egg() {
    let sandbox = sandbox();
    let document = document(&sandbox, "");
    let objects = component(&document, "lib")["components"].as_array().unwrap();
    let objects: Vec<_> = objects.iter().map(|it| (text(&it["type"]), text(&it["name"]))).collect();
    let module = "_lib.cpython-311-x86_64-linux-gnu.so";
    assert_eq!(objects, [("library", "libz-1f2e.so.1"), ("file", module)]);
    let hash = &component(&document, "lib")["components"][0]["hashes"][0]["content"];
    fs::write(sandbox.path("object"), ELF).unwrap();
    let expected = sandbox.shell("sha256sum object").stdout;
    assert_eq!(Some(text(hash)), expected.split(' ').next());
}

#[test]
fn a_dependency_of_an_extra_counts_if_an_egg_asks_for_it() {
    let sandbox = sandbox();
    let document = document(&sandbox, "");
    let dependencies = document["dependencies"].as_array().unwrap();
    let of = |name: &str| {
        let found = dependencies.iter().find(|it| text(&it["ref"]).contains(name)).unwrap();
        let refs = found["dependsOn"].as_array().unwrap().iter();
        refs.map(|it| text(it).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of("buildout"), ["eggs/acme_site-1.0+acme-py3.11.egg"]);
    assert_eq!(of("acme_site"), ["eggs/lib-2.1-py3.11.egg"]);
    assert_eq!(of("lib-2.1"), ["eggs/plug-3-py3.11.egg"]);
    assert_eq!(of("plug"), [""; 0]);
}

#[test]
fn equal_buildouts_have_equal_bills() {
    let sandbox = sandbox();
    for format in ["cyclonedx", "spdx"] {
        let options = format!("--format {format}");
        let one = sandbox.ok(&format!("sbom app {options}")).stdout;
        fs::create_dir(sandbox.path("other-place")).unwrap_or_default();
        buildout(&sandbox, "other-place/app");
        let other = sandbox.ok(&format!("sbom other-place/app {options}")).stdout;
        assert_eq!(one, other);
        let zipped = sandbox.ok(&format!("sbom app {options} -o app.json")).stdout;
        assert_eq!(zipped, "");
        assert_eq!(fs::read_to_string(sandbox.path("app.json")).unwrap(), one);
    }
}

#[test]
fn another_content_has_another_serial_number() {
    let sandbox = sandbox();
    let before = document(&sandbox, "")["serialNumber"].clone();
    let metadata = sandbox.path("app/eggs/plug-3-py3.11.egg/plug-3.dist-info/METADATA");
    let changed = fs::read_to_string(&metadata).unwrap() + "License-Expression: ISC\n";
    fs::write(&metadata, changed).unwrap();
    touch(&metadata, TIME, 0);
    assert_ne!(document(&sandbox, "")["serialNumber"], before);
}

#[test]
fn the_environment_sets_the_time_of_a_bill() {
    let sandbox = sandbox();
    let at = |time: &str| {
        let mut command = sandbox.eggcache("sbom app --format spdx");
        Command::from_std({
            command.env("SOURCE_DATE_EPOCH", time);
            command
        })
        .assert()
    };
    let document = Output::of(&at("0").success()).json();
    assert_eq!(document["creationInfo"]["created"], "1970-01-01T00:00:00Z");
    at("tomorrow").code(2);
    at("-1").code(2);
}

#[test]
fn licenses_without_an_identifier_are_defined_in_spdx() {
    let sandbox = sandbox();
    let document = document(&sandbox, "--format spdx");
    let packages = document["packages"].as_array().unwrap();
    let declared = |name: &str| {
        let found = packages.iter().find(|it| it["name"] == name).unwrap();
        text(&found["licenseDeclared"]).to_owned()
    };
    assert_eq!(declared("acme.site"), "MIT OR Apache-2.0");
    assert_eq!(declared("plug"), "MIT");
    let own = &document["hasExtractedLicensingInfos"][0];
    assert_eq!(own["licenseId"], declared("lib").as_str());
    assert_eq!(
        (&own["name"], text(&own["extractedText"]).lines().count()),
        (&json!("Acme License"), 2)
    );
}

#[test]
fn develop_eggs_and_zipped_eggs_are_in_a_bill() {
    let sandbox = sandbox();
    sandbox.zipped_egg("zipped", "5");
    fs::rename(
        sandbox.path("eggs/zipped-5-py3.11.egg"),
        sandbox.path("app/eggs/zipped-5-py3.11.egg"),
    )
    .unwrap();
    let info = sandbox.path("app/src/own/own.egg-info");
    write(&info.join("PKG-INFO"), b"Metadata-Version: 2.1\nName: Own\nVersion: 6\n");
    write(&info.join("requires.txt"), b"zipped\n\n[test]\nspare\n");
    let link = format!("{}\n.", sandbox.path("app/src/own").display());
    write(&sandbox.path("app/develop-eggs/own.egg-link"), link.as_bytes());
    write(&sandbox.path("app/.installed.cfg"), b"[app]\neggs = zipped-5-py3.11.egg\n");
    let mut script = fs::read_to_string(sandbox.path("app/bin/app")).unwrap();
    script = script.replace("[\n", "[\n  join(base, 'eggs/zipped-5-py3.11.egg'),\n");
    fs::write(sandbox.path("app/bin/app"), script).unwrap();
    let document = document(&sandbox, "");
    assert_eq!(names(&document), ["acme.site", "lib", "Own", "plug", "zipped"]);
    let own = component(&document, "Own");
    assert_eq!((&own["version"], own.get("purl")), (&json!("6"), None));
    let dependencies = document["dependencies"].as_array().unwrap();
    let of_own = dependencies.iter().find(|it| text(&it["ref"]).ends_with("own.egg-link")).unwrap();
    assert_eq!(of_own["dependsOn"], json!(["eggs/zipped-5-py3.11.egg"]));
}

/// Stores an egg that was built from the archive at an address, and returns its file name.
fn stored_from(sandbox: &Sandbox, name: &str, address: &str) -> String {
    let egg = sandbox.egg(name, "1.0");
    let mut server = Server::open(sandbox, &host());
    let outcome = server.stored(&json!({
        "op": "store", "path": egg, "source_sha256": ARCHIVE, "variant": "",
        "source": format!("{name}-1.0.tar.gz"), "archive_url": address,
    }));
    assert_eq!(outcome["outcome"], "stored", "{outcome}");
    server.close();
    egg.file_name().unwrap().to_str().unwrap().to_owned()
}

/// A buildout with an egg of each address, whose bundle has all files beside it.
fn of_addresses(addresses: &[(&str, &str)]) -> Sandbox {
    let sandbox = Sandbox::new();
    let eggs = addresses.iter().map(|(name, address)| stored_from(&sandbox, name, address));
    let eggs: Vec<String> = eggs.collect();
    sandbox.ok("materialize --into app/eggs --all");
    write(&sandbox.path("app/buildout.cfg"), b"[buildout]\n");
    let installed = format!("[app]\neggs = {}\n", eggs.join(" "));
    write(&sandbox.path("app/.installed.cfg"), installed.as_bytes());
    sandbox.ok("keygen key");
    sandbox.ok("bundle app -o a.tar --sbom a.spdx.json --provenance a.intoto.json");
    sandbox
}

#[test]
fn an_egg_of_a_local_archive_has_no_purl_and_one_of_another_host_names_it() {
    let sandbox = of_addresses(&[
        ("local", "/srv/dist/local-1.0.tar.gz"),
        ("mapped", "file:///srv/dist/mapped-1.0.tar.gz"),
        ("other", "https://pypi.acme.test/other-1.0.tar.gz"),
        ("public.ns", "https://files.pythonhosted.org/packages/public-1.0.tar.gz"),
    ]);
    let expected = [
        None,
        None,
        Some("pkg:pypi/other@1.0?download_url=https:%2F%2Fpypi.acme.test%2Fother-1.0.tar.gz"),
        Some("pkg:pypi/public.ns@1.0"),
    ];
    let bill = document(&sandbox, "");
    let names = ["local", "mapped", "other", "public.ns"];
    assert_eq!(names.map(|name| component(&bill, name)["purl"].as_str()), expected);
    let bill = fs::read(sandbox.path("a.spdx.json")).unwrap();
    let bill: Value = serde_json::from_slice(&bill).unwrap();
    let packages = bill["packages"].as_array().unwrap();
    let of_spdx = names.map(|name| {
        let package = packages.iter().find(|it| it["name"] == name).unwrap();
        package["externalRefs"][0]["referenceLocator"].as_str()
    });
    assert_eq!(of_spdx, expected);
    let statement = statement(&sandbox);
    let sources = &statement["predicate"]["buildDefinition"]["resolvedDependencies"];
    let of_provenance = [0, 1, 2, 3].map(|at: usize| sources[at]["uri"].as_str());
    assert_eq!(of_provenance, expected);
}

#[test]
fn the_git_commit_of_a_develop_egg_is_stated() {
    let sandbox = of_addresses(&[("foo", "https://pypi.org/foo-1.0.tar.gz")]);
    let info = sandbox.path("app/src/own/own.egg-info/PKG-INFO");
    write(&info, b"Metadata-Version: 2.1\nName: own\nVersion: 6\n");
    let link = format!("{}\n.", sandbox.path("app/src/own").display());
    write(&sandbox.path("app/develop-eggs/own.egg-link"), link.as_bytes());
    let bundle = "bundle app -o a.tar --sbom a.spdx.json --provenance a.intoto.json";
    let sources = |statement: &Value| {
        statement["predicate"]["buildDefinition"]["resolvedDependencies"]
            .as_array()
            .unwrap()
            .clone()
    };
    sandbox.ok(bundle);
    assert_eq!(sources(&statement(&sandbox)).len(), 1, "the archive has its sources");
    let commit = "0123456789abcdef0123456789abcdef01234567";
    write(&sandbox.path("app/.git/HEAD"), b"ref: refs/heads/main\n");
    write(&sandbox.path("app/.git/refs/heads/main"), format!("{commit}\n").as_bytes());
    sandbox.ok(bundle);
    let own = &sources(&statement(&sandbox))[1];
    assert_eq!((&own["name"], &own["digest"]), (&json!("own"), &json!({"gitCommit": commit})));
    let swhid = format!("swh:1:rev:{commit}");
    let bill = document(&sandbox, "");
    let expected = json!([{"type": "vcs", "url": swhid}]);
    assert_eq!(component(&bill, "own")["externalReferences"], expected);
    let bill = fs::read_to_string(sandbox.path("a.spdx.json")).unwrap();
    assert!(bill.contains(&swhid), "{bill}");
}

#[test]
fn native_code_in_parts_is_named_as_missing_in_a_bill() {
    let sandbox = sandbox();
    let note = "with native code in parts/";
    assert!(!sandbox.ok("sbom app").stderr.contains(note));
    for name in ["libcalc/lib/libcalc.so.1", "libcalc/bin/calc", "libcalc/log/old.so"] {
        write(&sandbox.path("app/parts").join(name), ELF);
    }
    write(&sandbox.path("app/parts/libcalc/lib/notes.so"), b"text");
    let names = ["parts/libcalc/bin/calc", "parts/libcalc/lib/libcalc.so.1"];
    sandbox
        .ok("sbom app -o app.json")
        .says(&["note: 3 files with native code in parts/ are not in"]);
    assert_eq!(sandbox.json("sbom app")["unlisted"].as_array().unwrap().len(), 3);
    let bundle = "bundle app -o a.tar --exclude parts/*/log";
    assert!(!sandbox.ok(bundle).stderr.contains(note));
    let line = format!("note: 2 files {} are not in the bill: {}", note, names.join(", "));
    sandbox.ok(&format!("{bundle} --sbom a.cdx.json")).says(&[&line]);
    let report = sandbox.json(&format!("{bundle} --sbom a.cdx.json"));
    assert_eq!(report["unlisted"], json!(names));
}

#[test]
fn a_bill_needs_no_cache_and_no_bill_lacks_an_egg() {
    let sandbox = sandbox();
    fs::remove_dir_all(sandbox.path("cache")).unwrap();
    let without = sandbox.ok("sbom app");
    without.says(&["eggs are not compared", "the archive of 3 eggs is not known"]);
    assert_eq!(names(&without.json()), ["acme.site", "lib", "plug"]);
    let egg = sandbox.path("app/eggs/plug-3-py3.11.egg");
    fs::remove_dir_all(&egg).unwrap();
    fs::write(&egg, "no zip file").unwrap();
    sandbox.fails("sbom app", 1).says(&["plug-3-py3.11.egg"]);
    assert!(!Path::new(&sandbox.path("app.json")).exists());
}

#[test]
fn json_holds_the_counts_and_the_document() {
    let sandbox = sandbox();
    let report = sandbox.json("sbom app");
    assert_eq!((&report["eggs"], &report["libraries"]), (&json!(3), &json!(2)));
    assert_eq!(report["with_archive"], 1);
    assert_eq!(report["document"], document(&sandbox, ""));
    let in_file = sandbox.json("sbom app -o app.json");
    assert_eq!((in_file.get("document"), &in_file["file"]), (None, &json!("app.json")));
}
