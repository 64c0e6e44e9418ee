"""`eggcache sbom`, and the files beside a bundle: validated by the libraries of their standards."""

import base64
import hashlib
import json
import os

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cyclonedx.model.bom import Bom
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def metadata(*lines):
    """A wheel's METADATA with these further lines; {} stands for name and version."""
    return "\n".join(("Metadata-Version: 2.4",) + lines) + "\n"


@pytest.fixture
def site(newest_world):
    """A buildout of wheels with every form of license, C code, a develop egg and an unused egg."""
    world = newest_world
    licenses = {
        "alpha": ["License-Expression: MIT OR (Apache-2.0 AND LicenseRef-own)", "Requires-Dist: be-ta[x]"],
        "be-ta": ["License: ZPL 2.1", "Requires-Dist: gamma; extra == 'x'", "Provides-Extra: x"],
        "gamma": ["Classifier: License :: OSI Approved :: BSD License", "Summary: Ga\u202emma"],
        "delta": ["License: Acme License", "        Do no evil."],
        "epsilon": [],
    }
    for name, lines in licenses.items():
        info = "%s-1.0.dist-info/METADATA" % name.replace("-", "_")
        text = metadata("Name: " + name, "Version: 1.0", *lines)
        world.wheel(name, "1.0", more={info: text})
    world.c_sdist("native", "1.0")
    own = world.path / "site" / "src" / "own"
    project = world.project(
        "site",
        "alpha delta epsilon native own",
        options="develop = src/own\nrelative-paths = true",
        versions="\n".join("%s = 1.0" % name for name in list(licenses) + ["native"]),
    )
    own.mkdir(parents=True)
    (own / "setup.py").write_text(
        "from setuptools import setup\nsetup(name='own', version='2.0', py_modules=[],"
        " install_requires=['delta'], license='MIT')\n"
    )
    (own / ".git").mkdir()
    (own / ".git" / "HEAD").write_text(COMMIT + "\n")
    project.run()
    return project


def bill(site, standard, *options):
    path = str(site.path.parent / ("bill.%s.json" % standard))
    site.world.eggcache("sbom", str(site.path), "--format", standard, "-o", path, *options)
    return path


def cyclonedx(path):
    """Validate a document; return the library's model of it."""
    with open(path) as file:
        text = file.read()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = Bom.from_json(json.loads(text))
    document.validate()
    return document


def spdx(path):
    """Validate a document; return the library's model of it."""
    document = parse_file(path)
    assert validate_full_spdx_document(document) == []
    return document


def test_a_bill_is_valid_cyclonedx(site):
    document = cyclonedx(bill(site, "cyclonedx"))
    components = {it.name: it for it in document.components}
    names = {"alpha", "be-ta", "gamma", "delta", "epsilon", "native", "own"}
    assert names <= set(components) <= names | {"zc.buildout", "zc.recipe.egg", "setuptools", "pip"}
    archive = site.world.index / "native" / "native-1.0.tar.gz"
    [found] = components["native"].hashes
    assert found.content == hashlib.sha256(archive.read_bytes()).hexdigest()
    # The index of the tests has no domain.
    assert not components["native"].external_references
    [module] = components["native"].components
    assert module.name.startswith("_native") and module.name.endswith(".so")
    purl = components["be-ta"].purl
    assert (purl.type, purl.name, purl.version) == ("pypi", "be-ta", "1.0")
    assert purl.qualifiers["download_url"].startswith(site.world.index_url + "be-ta/")
    assert components["own"].purl is None
    [commit] = components["own"].external_references
    assert (commit.type.value, str(commit.url)) == ("vcs", "swh:1:rev:" + COMMIT)
    by_ref = {it.bom_ref: it.name for it in document.components}
    needs = {by_ref.get(it.ref): {by_ref[of.ref] for of in it.dependencies} for it in document.dependencies}
    assert (needs["alpha"], needs["be-ta"], needs["own"]) == ({"be-ta"}, {"gamma"}, {"delta"})


def test_a_bill_is_valid_spdx(site):
    document = spdx(bill(site, "spdx"))
    packages = {it.name: it for it in document.packages}
    assert str(packages["alpha"].license_declared) == "MIT OR (Apache-2.0 AND LicenseRef-own)"
    assert str(packages["be-ta"].license_declared) == "ZPL-2.1"
    names = {it.license_name for it in document.extracted_licensing_info}
    assert names == {"BSD License", "Acme License", "LicenseRef-own"}
    assert packages["native"].checksums[0].value
    [commit] = packages["own"].external_references
    assert (commit.category.name, commit.locator) == ("PERSISTENT_ID", "swh:1:rev:" + COMMIT)


def test_two_runs_give_the_same_bill(site):
    for standard in "cyclonedx", "spdx":
        with open(bill(site, standard)) as one:
            before = one.read()
        site.run()
        with open(bill(site, standard)) as other:
            assert other.read() == before


def signed_bundle(site, monkeypatch):
    folder = site.path.parent
    paths = [str(folder / name) for name in ("key", "a.tar.zst", "a.spdx.json", "a.intoto.json")]
    key, archive, sbom, provenance = paths
    site.world.eggcache("keygen", key)
    monkeypatch.setenv("EGGCACHE_SIGNING_KEY", key)
    beside = ["--sbom", sbom, "--provenance", provenance]
    site.world.eggcache("bundle", str(site.path), "-o", archive, *beside)
    return paths


def pre_authentication_encoding(kind, payload):
    kind = kind.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def test_the_signature_of_a_provenance_is_verified_by_another_program(site, monkeypatch):
    key, archive, sbom, provenance = signed_bundle(site, monkeypatch)
    spdx(sbom)
    with open(key + ".pub") as file:
        public = base64.b64decode(file.read().splitlines()[-1])
    algorithm, key_id, raw = public[:2], public[2:10], public[10:]
    with open(provenance) as file:
        envelope = json.load(file)
    payload = base64.b64decode(envelope["payload"])
    [signature] = envelope["signatures"]
    assert algorithm == b"Ed" and signature["keyid"] == key_id[::-1].hex().upper()
    signed = pre_authentication_encoding(envelope["payloadType"], payload)
    public_key = Ed25519PublicKey.from_public_bytes(raw)
    public_key.verify(base64.b64decode(signature["sig"]), signed)
    with pytest.raises(InvalidSignature):
        public_key.verify(base64.b64decode(signature["sig"]), signed + b" ")
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    statement = json.loads(payload)
    [subject] = statement["subject"]
    with open(archive, "rb") as file:
        assert subject["digest"]["sha256"] == hashlib.sha256(file.read()).hexdigest()
    assert subject["name"] == os.path.basename(archive)
    definition = statement["predicate"]["buildDefinition"]
    sources = {it["name"].split("-")[0]: it.get("digest") for it in definition["resolvedDependencies"]}
    native = site.world.index / "native" / "native-1.0.tar.gz"
    assert sources["native"] == {"sha256": hashlib.sha256(native.read_bytes()).hexdigest()}
    assert sources["own"] == {"gitCommit": COMMIT}


def test_a_changed_provenance_is_refused(site, monkeypatch):
    key, archive, sbom, provenance = signed_bundle(site, monkeypatch)
    command = ["bundle", "--verify", archive, "--provenance", provenance, "--key", key + ".pub"]
    site.world.eggcache(*command, "--sbom", sbom)
    with open(provenance) as file:
        envelope = json.load(file)
    statement = base64.b64decode(envelope["payload"]).replace(b'"unused":false', b'"unused":true')
    envelope["payload"] = base64.b64encode(statement).decode()
    with open(provenance, "w") as file:
        json.dump(envelope, file)
    assert site.world.eggcache(*command, check=False).returncode == 4
