//! `bundle --sbom --provenance`: what is written beside an archive, and what `--verify` finds.
//! `tests/buildout/test_sbom.py` verifies the signature with another program.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Output, Sandbox, text, write};

/// A signing key, and a buildout with one egg, an unused one and a bundle with both files beside it.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.ok("keygen key");
    sandbox.ok("keygen stranger");
    sandbox.egg("foo", "1.0");
    sandbox.egg("spare", "2.0");
    sandbox.ok("add eggs");
    sandbox.ok("materialize --into app/eggs --all");
    write(&sandbox.path("app/buildout.cfg"), b"[buildout]\n");
    write(&sandbox.path("app/.installed.cfg"), b"[app]\neggs = foo-1.0-py3.11.egg\n");
    sandbox.ok("bundle app -o a.tar --sbom a.cdx.json --provenance a.intoto.json");
    sandbox
}

const VERIFY: &str = "bundle --verify a.tar --provenance a.intoto.json";

fn read(sandbox: &Sandbox, name: &str) -> Value {
    serde_json::from_slice(&fs::read(sandbox.path(name)).unwrap()).unwrap()
}

/// The decoded payload of an envelope.
pub fn statement(sandbox: &Sandbox) -> Value {
    let script = "python3 -c \"import base64, json; \
        print(base64.b64decode(json.load(open('a.intoto.json'))['payload']).decode())\"";
    Output::json(&sandbox.shell(script))
}

fn sha256(sandbox: &Sandbox, name: &str) -> String {
    let output = sandbox.shell(&format!("sha256sum {name}")).stdout;
    output.split(' ').next().unwrap().to_owned()
}

#[test]
fn a_provenance_names_archive_eggs_and_bill() {
    let sandbox = sandbox();
    let statement = statement(&sandbox);
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(statement["predicateType"], "https://slsa.dev/provenance/v1");
    let archive = json!([{"name": "a.tar", "digest": {"sha256": sha256(&sandbox, "a.tar")}}]);
    assert_eq!(statement["subject"], archive);
    let build = &statement["predicate"]["buildDefinition"];
    assert_eq!(build["externalParameters"]["prefix"], "app");
    let eggs = build["resolvedDependencies"].as_array().unwrap();
    assert_eq!((eggs.len(), text(&eggs[0]["uri"])), (1, "pkg:pypi/foo@1.0"));
    assert_eq!(text(&eggs[0]["annotations"]["digest"]), sandbox.digest("foo"));
    let bill = &statement["predicate"]["runDetails"]["byproducts"][0];
    assert_eq!(text(&bill["digest"]["sha256"]), sha256(&sandbox, "a.cdx.json"));
}

#[test]
fn a_bill_beside_an_archive_is_of_the_archive() {
    let sandbox = sandbox();
    let bill = read(&sandbox, "a.cdx.json");
    let hash = &bill["metadata"]["component"]["hashes"][0]["content"];
    assert_eq!(text(hash), sha256(&sandbox, "a.tar"));
    assert_eq!(bill["components"].as_array().unwrap().len(), 1, "the unused egg is not in it");
    sandbox.ok("bundle app -o a.tar --sbom a.spdx.json --unused");
    let bill = read(&sandbox, "a.spdx.json");
    assert_eq!(
        (text(&bill["spdxVersion"]), bill["packages"].as_array().unwrap().len()),
        ("SPDX-2.3", 3)
    );
}

#[test]
fn a_provenance_by_the_key_is_verified() {
    let sandbox = sandbox();
    let key = fs::read_to_string(sandbox.path("key.pub")).unwrap();
    let key = key.lines().last().unwrap();
    for key in ["key.pub", key] {
        sandbox.ok(&format!("{VERIFY} --key {key} --sbom a.cdx.json")).says(&[", signed by "]);
    }
    let report = sandbox.json(&format!("{VERIFY} --key key.pub"));
    assert_eq!(text(&report["signed_by"]).len(), 16);
}

#[test]
fn another_key_archive_or_bill_is_a_problem() {
    let sandbox = sandbox();
    let by_other = sandbox.fails(&format!("{VERIFY} --key stranger.pub"), 4);
    by_other.says(&["a.intoto.json: no signature in it is by key "]);
    fs::write(sandbox.path("b.cdx.json"), "{}").unwrap();
    let bill = sandbox.fails(&format!("{VERIFY} --key key.pub --sbom b.cdx.json"), 4);
    bill.says(&["it does not name b.cdx.json with these bytes"]);
    sandbox.ok("bundle app -o b.tar --unused");
    let archive = sandbox.fails(&VERIFY.replace("a.tar", "b.tar --key key.pub"), 4);
    archive.says(&["it is of another archive"]);
    for text in ["", "{}", r#"{"payloadType": "x", "payload": "", "signatures": []}"#] {
        fs::write(sandbox.path("a.intoto.json"), text).unwrap();
        sandbox.fails(&format!("{VERIFY} --key key.pub"), 4).says(&["a.intoto.json: "]);
    }
}

#[test]
fn options_that_need_each_other_are_asked_for() {
    let sandbox = sandbox();
    sandbox.fails(VERIFY, 2).says(&["--provenance needs --key"]);
    sandbox
        .fails("bundle --verify a.tar --sbom a.cdx.json", 2)
        .says(&["--sbom needs --provenance"]);
    sandbox.fails("bundle --verify a.tar --key key.pub", 2);
    fs::remove_file(sandbox.path("key")).unwrap();
    sandbox.fails("bundle app -o c.tar --provenance c.json", 1).says(&["EGGCACHE_SIGNING_KEY"]);
    assert!(!sandbox.path("c.tar").exists());
}

#[test]
fn equal_bundles_have_equal_files_beside_them() {
    let sandbox = sandbox();
    let bundle = |name: &str| {
        sandbox.shell(&format!(
            "mkdir -p {name} && SOURCE_DATE_EPOCH=1600000000 \"$EGGCACHE\" --cache cache bundle app -q \
             -o {name}/a.tar --sbom {name}/a.cdx.json --provenance {name}/a.json"
        ));
        ["a.tar", "a.cdx.json", "a.json"]
            .map(|file| fs::read(sandbox.path(&format!("{name}/{file}"))).unwrap())
    };
    assert_eq!(bundle("one"), bundle("two"));
}
