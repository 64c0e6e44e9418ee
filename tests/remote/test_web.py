"""Pulling from a plain web server: nginx over the folder of a remote."""

import urllib.error
import urllib.request

import pytest

import faults


@pytest.fixture
def mirror(nginx, machine, keys, request):
    """A builder that pushes to a folder, readers of that folder through nginx, and the requests that nginx
    received."""

    class Mirror:
        below = request.node.name
        folder = "%s/%s" % (nginx.root, below)
        builder = machine("builder", key=keys()[0])

        def reader(self, name="reader", port=nginx.port, scheme="http", above=""):
            reader = machine(name)
            reader.trusts("%s://127.0.0.1:%d/%s%s" % (scheme, port, above, self.below), keys()[1])
            return reader

        def requests(self):
            return nginx.requests(self.below)

    mirror = Mirror()
    mirror.builder.trusts(mirror.folder, keys()[1], more=["--push"])
    return mirror


def test_eggs_pushed_into_a_folder_are_pulled_over_http(mirror):
    names = [mirror.builder.egg(name, data=[50_000]) for name in ("alpha", "beta")]
    mirror.builder.push()
    reader = mirror.reader()
    pulled = reader.pull("alpha==1.0", "beta==1.0")
    assert pulled.outcomes == dict.fromkeys(names, "pulled")
    assert reader.materialized(*names) == mirror.builder.materialized(*names)
    # Only GET, and never for a folder, which nginx would refuse. Nothing was ever withdrawn.
    asked = mirror.requests()
    statuses = sorted((method, status) for method, _, status, _, _, _ in asked)
    assert statuses == [("GET", "200")] * 4 + [("GET", "404")]
    assert len(asked) == 5 == pulled.json["requests"]


def test_https_needs_a_trusted_certificate(mirror, nginx):
    name = mirror.builder.egg("alpha")
    mirror.builder.push()
    reader = mirror.reader(port=nginx.https, scheme="https")
    done = reader.pull("alpha==1.0", code=1)
    [complaint] = done.json["complaints"]
    assert complaint.startswith("remote team: ") and "certificate" in complaint, complaint
    assert mirror.requests() == []
    reader.env["SSL_CERT_FILE"] = nginx.certificate
    assert reader.pull("alpha==1.0").outcomes == {name: "pulled"}


def test_a_redirect_from_https_to_http_is_refused(mirror, nginx):
    mirror.builder.egg("alpha")
    mirror.builder.push()
    reader = mirror.reader(port=nginx.https, scheme="https", above="downgraded/")
    reader.env["SSL_CERT_FILE"] = nginx.certificate
    done = reader.pull("alpha==1.0", code=1)
    assert done.json["complaints"] and reader.has() == []
    assert mirror.requests() == []


def test_nginx_lists_nothing(mirror, nginx):
    mirror.builder.egg("alpha")
    mirror.builder.push()
    for folder in ("v1/", "v1/projects/", "v1/projects/alpha/"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            url = "http://127.0.0.1:%d/%s/%s" % (nginx.port, mirror.below, folder)
            urllib.request.urlopen(url, timeout=20)
        assert refused.value.code == 403


def test_the_doctor_knows_whose_eggs_a_web_server_has(mirror, machine, keys, nginx):
    mirror.builder.egg("alpha")
    mirror.builder.push()
    reader = mirror.reader()
    unknown = "remote team: no egg of any project was found, so no signature was checked"
    assert unknown in str(reader.run("doctor"))
    reader.pull("alpha==1.0")
    assert "no problems" in str(reader.run("doctor"))
    stranger = machine("stranger")
    stranger.trusts("http://127.0.0.1:%d/%s" % (nginx.port, mirror.below), keys("other")[1])
    stranger.egg("beta")
    assert "no egg of beta was found" in str(stranger.run("doctor"))
    stranger.egg("alpha")
    found = str(stranger.run("doctor", code=4))
    assert ", which is not trusted" in found and "`eggcache trust team FILE.pub`" in found, found


def test_each_missing_egg_costs_one_request(mirror):
    """And the run one more, for the list of withdrawn builds."""
    mirror.builder.egg("alpha")
    mirror.builder.push()
    reader = mirror.reader()
    done = reader.pull("alpha==2.0", "gamma==1.0", code=3)
    assert done.json["missing"] == ["alpha==2.0", "gamma==1.0"]
    assert sorted(status for _, _, status, _, _, _ in mirror.requests()) == ["200", "404", "404"]


def test_an_interrupted_transfer_resumes_where_it_stopped(mirror, nginx):
    """Twice: the bytes already received are not sent again."""
    name = mirror.builder.egg("large", data=[3_000_000])
    mirror.builder.push()
    blobs = faults.Counter(lambda request: "/blobs/" in request.path)
    cut = lambda request: faults.CutShort(1_000_000) if blobs.up_to(2, request) else None  # noqa: E731
    with faults.Proxy(nginx.port, cut) as proxy:
        reader = mirror.reader(port=proxy.port)
        done = reader.pull("large==1.0")
    assert done.outcomes == {name: "pulled"}
    ranges = [(status, part) for _, path, status, _, part, _ in mirror.requests() if "/blobs/" in path]
    assert [status for status, _ in ranges] == ["200", "206", "206"], ranges
    begins = [int(part.split("=")[1].split("-")[0]) for _, part in ranges[1:]]
    assert 0 < begins[0] <= 1_000_000 < begins[1] <= 2_000_000, begins
    assert reader.materialized(name) == mirror.builder.materialized(name)
    reader.is_sound()


def test_a_blob_that_changes_during_a_transfer_is_refused(mirror, nginx):
    mirror.builder.egg("large", data=[3_000_000])
    mirror.builder.push()
    blobs = faults.Counter(lambda request: "/blobs/" in request.path)

    def other(request):
        if not blobs.is_one(request):
            return None
        return faults.CutShort(1_000_000) if blobs.count == 1 else faults.Flipped(100)

    with faults.Proxy(nginx.port, other) as proxy:
        reader = mirror.reader(port=proxy.port)
        done = reader.pull("large==1.0", code=1)
    [egg] = done.json["eggs"]
    assert "team" in egg["reason"] and "does not match the digest" in egg["reason"], egg
    assert reader.has() == []
    reader.is_sound()


def test_pushing_to_a_web_server_is_refused(mirror, machine, keys, nginx):
    writer = machine("writer", key=keys()[0])
    writer.trusts("http://127.0.0.1:%d/%s" % (nginx.port, mirror.below), keys()[1])
    writer.egg("alpha")
    done = writer.run("push", "--all", "--to", "team", code=1)
    assert done.err.startswith("error: remote team: a web server is read-only"), done.err
