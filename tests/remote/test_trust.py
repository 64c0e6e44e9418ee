"""An egg of a remote is accepted only if a key trusted for that remote has signed it.

The remote is a folder, and anyone who can write to it can change anything in it.
"""

import json
import shutil

import minisign
import pytest

import eggs


@pytest.fixture
def pool(machine, keys, tmp_path):
    """A folder as the remote, a builder that pushes to it, and ways to manipulate its files."""

    class Pool:
        folder = tmp_path / "pool"

        def __init__(self):
            self.builder = self.of("builder")

        def of(self, name, signs="builders", trusts=("builders",)):
            """A machine that signs with one key and trusts some keys."""
            it = machine(name, key=keys(signs)[0])
            it.trusts(self.folder, *[keys(name)[1] for name in trusts], more=["--push"])
            return it

        def reader(self, *trusted):
            return self.of("reader", trusts=trusted or ("builders",))

        def list(self, name):
            tag = "cp" + eggs.PYTHON.replace(".", "")
            return self.folder / "v1" / "projects" / name / tag

        def lines(self, name):
            return [json.loads(line) for line in self.list(name).read_text().splitlines()]

        def write(self, name, lines):
            self.list(name).parent.mkdir(exist_ok=True, parents=True)
            self.list(name).write_text("".join(json.dumps(line) + "\n" for line in lines))

        def blob(self, line):
            """The file of the blob named in an entry."""
            digest = json.loads(line["entry"])["blob"]
            return self.folder / "v1" / "blobs" / digest[:2] / digest

    return Pool()


def sign(secret, text):
    """Signs with another program than eggcache."""
    return bytes(minisign.SecretKey.from_file(str(secret)).sign(text.encode())).decode()


def refused(reader, *names, says):
    """Asserts that a pull accepts nothing and that its problems name the remote, the egg and the reason."""
    names = names or ("alpha==1.0",)
    done = reader.run("pull", "--python", eggs.PYTHON, *names, code=1)
    problems = [line for line in done.err.splitlines() if line.startswith("problem: ")]
    told = [line for line in problems if "remote team: " in line]
    for text in says:
        assert any(text in line for line in told), "%r is not said\n%s" % (text, done)
    assert reader.has() == []
    reader.is_sound()
    # The JSON report has the same, with the same exit code.
    told = reader.pull(*names, code=1).json
    reasons = told["complaints"] + [egg.get("reason", "") for egg in told["eggs"]]
    assert any(says[-1] in reason for reason in reasons), told
    return done


def test_an_unsigned_entry_is_refused(pool):
    name = pool.builder.egg("alpha")
    pool.builder.push()
    [line] = pool.lines("alpha")
    pool.write("alpha", [{**line, "signatures": []}])
    refused(pool.reader(), says=[name, "the entry is not signed"])


def test_a_signature_of_another_text_is_refused(pool):
    """The text has another file name than the signed one."""
    pool.builder.egg("alpha")
    pool.builder.push()
    [line] = pool.lines("alpha")
    entry = line["entry"].replace('"file_name":"alpha', '"file_name":"Alpha')
    assert entry != line["entry"]
    pool.write("alpha", [{**line, "entry": entry}])
    refused(pool.reader(), says=["Alpha-1.0", "does not match its content"])


def test_an_invalid_signature_is_refused(pool):
    name = pool.builder.egg("alpha")
    pool.builder.push()
    [line] = pool.lines("alpha")
    pool.write("alpha", [{**line, "signatures": ["untrusted comment: x\nRUTE\n"]}])
    refused(pool.reader(), says=[name, "its signature is malformed"])


def test_a_key_that_is_not_trusted_is_named(pool, keys):
    name = pool.builder.egg("alpha")
    pool.builder.push()
    [line] = pool.lines("alpha")
    [signature] = line["signatures"]
    key_id = minisign.Signature.from_bytes(signature.encode())._key_id[::-1].hex().upper()
    done = refused(pool.reader("others"), says=[name, key_id, "which is not trusted"])
    assert "expired" not in done.err


def test_a_remote_without_trusted_keys_is_not_asked(pool, machine):
    pool.builder.egg("alpha")
    pool.builder.push()
    reader = machine("reader")
    reader.trusts(pool.folder)
    done = reader.run("pull", "--python", eggs.PYTHON, "alpha==1.0", code=1)
    assert "no key is trusted for team" in done.err


def test_a_key_is_trusted_until_the_given_day(pool, keys):
    name = pool.builder.egg("alpha")
    pool.builder.push()
    reader = pool.reader()
    reader.run("-q", "trust", "team", keys()[1], "--until", "2020-02-29")
    refused(reader, says=[name, "which was trusted until 2020-02-29"])
    reader.run("-q", "trust", "team", keys()[1], "--until", "2999-12-31")
    assert reader.pull("alpha==1.0").outcomes == {name: "pulled"}


def test_signatures_of_a_distrusted_key_are_rejected(pool, keys):
    name = pool.builder.egg("alpha")
    pool.builder.push()
    reader = pool.reader("builders", "others")
    reader.run("-q", "trust", "team", keys()[1], "--remove")
    refused(reader, says=[name, "which is not trusted"])


def test_one_trusted_signature_of_several_is_enough(pool, keys):
    """Like during a change of keys: the old one has expired, and the new one has signed as well."""
    name = pool.builder.egg("alpha")
    pool.builder.push()
    [line] = pool.lines("alpha")
    line["signatures"].append(sign(keys("new")[0], line["entry"]))
    pool.write("alpha", [line])
    reader = pool.reader("builders", "new")
    reader.run("-q", "trust", "team", keys()[1], "--until", "2020-01-01")
    assert reader.pull("alpha==1.0").outcomes == {name: "pulled"}


def test_an_entry_in_the_list_of_another_project_is_ignored(pool):
    """The list of `beta` contains the entry signed for `alpha`."""
    pool.builder.egg("alpha")
    pool.builder.push()
    pool.write("beta", pool.lines("alpha"))
    reader = pool.reader()
    done = reader.pull("beta==1.0", code=3)
    assert done.json["missing"] == ["beta==1.0"] and reader.has() == []


def test_an_entry_signed_for_another_version_is_refused(pool):
    """An attacker removes the newer version and passes the older one off as it."""
    pool.builder.egg("alpha")
    pool.builder.egg("alpha", "2.0")
    pool.builder.push()
    older = next(it for it in pool.lines("alpha") if '"version":"1.0"' in it["entry"])
    entry = older["entry"].replace('"version":"1.0"', '"version":"2.0"')
    pool.write("alpha", [{**older, "entry": entry}])
    refused(pool.reader(), "alpha==2.0", says=["does not match its content"])


def test_a_misplaced_entry_fails_a_push_with_a_reason(pool):
    """A publisher that reads the entry of `beta` gets the one of `alpha`."""
    pool.builder.egg("alpha")
    pool.builder.push()
    [alpha] = (pool.folder / "v1" / "entries" / "alpha").iterdir()
    writer = pool.of("writer")
    name = writer.egg("beta")
    other = pool.of("other")
    other.egg("beta")
    other.push("beta==1.0")
    [beta] = (pool.folder / "v1" / "entries" / "beta").iterdir()
    shutil.copy(str(alpha), str(beta))
    done = writer.push(code=1)
    [egg] = done.json["eggs"]
    assert egg["outcome"] == "failed" and egg["file_name"] == name
    assert "remote team" in egg["reason"] and "the entry is for another egg, alpha-1.0" in egg["reason"], egg


def test_a_blob_under_the_name_of_another_is_refused(pool):
    name = pool.builder.egg("alpha")
    pool.builder.egg("beta")
    pool.builder.push()
    [alpha], [beta] = pool.lines("alpha"), pool.lines("beta")
    shutil.copy(str(pool.blob(beta)), str(pool.blob(alpha)))
    refused(pool.reader(), says=[name, "bytes instead of"])


def test_a_changed_blob_of_the_same_length_is_refused(pool):
    name = pool.builder.egg("alpha", data=[10_000])
    pool.builder.push()
    [line] = pool.lines("alpha")
    blob = pool.blob(line)
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(bytes(data))
    refused(pool.reader(), says=[name, "its blob does not match the digest in its entry"])


def test_a_signed_entry_whose_blob_is_of_another_egg_is_refused(pool, keys):
    """A trusted key has signed a false statement: the key of `beta` with the blob of `alpha`."""
    name = pool.builder.egg("alpha")
    pool.builder.push()
    [line] = pool.lines("alpha")
    entry = json.loads(line["entry"])
    entry["key"]["name"], entry["file_name"] = "beta", name.replace("alpha", "beta")
    text = json.dumps(entry, separators=(",", ":"))
    pool.write("beta", [{"entry": text, "signatures": [sign(keys()[0], text)]}])
    refused(pool.reader(), "beta==1.0", says=["beta-1.0", "its blob contains another egg"])


def test_a_remote_is_skipped_after_three_forged_entries(pool):
    names = [pool.builder.egg("egg%d" % number) for number in range(5)]
    pool.builder.push()
    for number in range(4):
        [line] = pool.lines("egg%d" % number)
        pool.write("egg%d" % number, [{**line, "signatures": []}])
    reader = pool.reader()
    wanted = ["egg%d==1.0" % number for number in range(5)]
    reader.pull(*wanted, code=1)
    assert len(names) == 5 and reader.has() in ([], names[4:])
    reader.is_sound()


def test_an_egg_refused_at_one_remote_comes_from_the_next(pool, tmp_path, keys):
    name = pool.builder.egg("alpha")
    pool.builder.push()
    second = tmp_path / "second"
    shutil.copytree(str(pool.folder), str(second))
    [line] = pool.lines("alpha")
    pool.write("alpha", [{**line, "signatures": []}])
    reader = pool.reader()
    reader.trusts(second, keys()[1], name="second")
    done = reader.pull("alpha==1.0")
    assert done.outcomes == {name: "pulled"}
    assert [egg["remote"] for egg in done.json["eggs"]] == ["second"]
    assert any("the entry is not signed" in it for it in done.json["complaints"])


@pytest.mark.parametrize("fault", ["gone", "damaged", "of another egg"])
def test_an_unusable_blob_is_replaced_from_the_next_remote(pool, tmp_path, keys, fault):
    """Like a mirror that already has the list but not yet the blob."""
    name = pool.builder.egg("alpha", data=[10_000])
    pool.builder.egg("beta", data=[10_000])
    pool.builder.push()
    second = tmp_path / "second"
    shutil.copytree(str(pool.folder), str(second))
    [alpha], [beta] = pool.lines("alpha"), pool.lines("beta")
    blob = pool.blob(alpha)
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.unlink()
    if fault == "damaged":
        blob.write_bytes(bytes(data))
    elif fault == "of another egg":
        shutil.copy(str(pool.blob(beta)), str(blob))
    reader = pool.reader()
    reader.trusts(second, keys()[1], name="second")
    done = reader.pull("alpha==1.0", "beta==1.0")
    assert set(done.outcomes.values()) == {"pulled"}, str(done)
    remotes = {egg["file_name"]: egg["remote"] for egg in done.json["eggs"]}
    assert remotes.pop(name) == "second" and list(remotes.values()) == ["team"]
    reader.is_sound()
    # If the next remote does no better, the first reason is reported.
    other = pool.of("other")
    pool.blob(alpha).unlink(missing_ok=True)
    shutil.copytree(str(pool.folder), str(tmp_path / "third"))
    other.trusts(tmp_path / "third", keys()[1], name="third")
    [egg] = other.pull("alpha==1.0", code=1).json["eggs"]
    assert egg["remote"] == "team" and "remote team: its blob is gone" in egg["reason"], egg


def test_other_minisign_programs_read_keys_and_signatures(pool, keys):
    """And eggcache reads their signatures: the format is that of minisign."""
    name = pool.builder.egg("alpha")
    pool.builder.push()
    [line] = pool.lines("alpha")
    public = minisign.PublicKey.from_file(str(keys()[1]))
    signature = minisign.Signature.from_bytes(line["signatures"][0].encode())
    public.verify(line["entry"].encode(), signature)
    with pytest.raises(minisign.VerifyError):
        public.verify(line["entry"].encode() + b" ", signature)
    pool.write("alpha", [{**line, "signatures": [sign(keys()[0], line["entry"])]}])
    assert pool.reader().pull("alpha==1.0").outcomes == {name: "pulled"}
