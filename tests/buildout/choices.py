"""Ask buildout which archive it chooses among many sets of places, and eggcache for the choice.

A program for the Python of a buildout: the folder to work in is its argument, and it prints one JSON
list. Only names count here, so the archives hold no more than a marker.
"""

import http.server
import json
import os
import pathlib
import random
import sys
import threading
import urllib.parse

import zc.buildout.easy_install as easy_install
from eggcache._places import Places

PYTHON = "%d.%d" % sys.version_info[:2]

#: Archives of alpha that a folder may have.
NAMES = [
    "alpha-1.0.tar.gz",
    "alpha-1.0.zip",
    "Alpha-1.0.0.tar.gz",
    "alpha-1.0-py3-none-any.whl",
    "alpha-1.0-py%s.egg" % PYTHON,
    "alpha-1.0-py%s.egg/" % PYTHON,
    "alpha-1.0-py2.6.egg",
    "alpha-1.0+local.tar.gz",
    "alpha-2.0.tar.gz",
    "alpha_beta-1.0.tar.gz",
    "alpha.zip",
]


class Site(http.server.BaseHTTPRequestHandler):
    """A page at ``/PLACE/`` links to one archive there. With ``?repo=X``, the archive is of repository X."""

    def do_GET(self):
        parts = urllib.parse.urlsplit(self.path)
        place = "".join(
            urllib.parse.parse_qs(parts.query).get("repo", parts.path.strip("/").split("/")[:1])
        )
        page = b'<a href="/%s/alpha-1.0.tar.gz">alpha</a>' % place.encode("ascii")
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *args):
        pass


class Asker:
    """Asks about sets of places, each with an empty index unless it names another."""

    def __init__(self, folder):
        self.folder = folder
        self.empty = self.make("empty", [])
        self.answers = []
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.port = server.server_address[1]

    def make(self, name, archives, marker="here"):
        """A folder with these archives. A name with a slash at its end is a directory."""
        path = self.folder / name
        path.mkdir(parents=True)
        for archive in archives:
            target = path / archive
            if archive.endswith("/"):
                target.mkdir()
                target = target / "marker"
            target.write_text(marker)
        return str(path)

    def page(self, place, host="127.0.0.1", user=""):
        return "http://%s%s:%d/%s" % (user, host, self.port, place)

    def ask(self, case, links=(), index=None, hosts=("*",), wanted="alpha==1.0", **options):
        """Note the choice of this case, and what buildout chooses."""
        if not options.get("keep_index"):
            easy_install.clear_index_cache()
        easy_install.download_cache(options.get("download_cache"))
        installer = easy_install.Installer(
            str(self.folder / "eggs"), links, index or self.empty, allow_hosts=hosts
        )
        requirement = easy_install.pkg_resources.Requirement.parse(wanted)
        choice = Places(easy_install, {}).choice(installer, requirement, "1.0", None)
        self.answers.append([case, choice, self.marker(installer._obtain(requirement))])

    def marker(self, dist):
        """What identifies an archive: the text in it, or its address."""
        if dist is None:
            return None
        scheme, _, path, _, _ = urllib.parse.urlsplit(dist.location)
        if scheme.startswith("http"):
            return path
        if os.path.isdir(path):
            path = os.path.join(path, "marker")
        return pathlib.Path(urllib.parse.unquote(path)).read_text()


def known_cases(asker):
    """Cases that differ in one thing."""
    one = [asker.make("%s/one" % name, ["alpha-1.0.tar.gz"], name) for name in ("m", "n")]
    moved = asker.make("z/moved", ["alpha-1.0.tar.gz"], "m")
    asker.ask("folder", [one[0]])
    asker.ask("moved folder", [moved])
    asker.ask("two folders", one)
    asker.ask("two folders in another order", one[::-1])
    asker.ask("first by its address", ["file://" + one[0], one[1]])
    asker.ask("second by its address", [one[0], "file://" + one[1]])
    asker.ask("both by their addresses", ["file://" + it for it in one])
    for number, folder in enumerate(one):
        asker.ask("download cache %d" % number, one, download_cache=folder)
    for number, (to, other) in enumerate([("a", "m"), ("z", "m"), ("a", "n"), ("z", "n")]):
        link = asker.folder / to / ("link%d" % number)
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(one["mn".index(other)])
        asker.ask("symlink %d" % number, [str(link), one["nm".index(other)]])
    for number, name in enumerate(NAMES):
        folder = asker.make("more%d" % number, ["alpha-1.0.tar.gz"], "m")
        more = asker.make("more%d/more" % number, [name], "more " + name)
        asker.ask("with " + name, [folder, more])
        asker.ask("itself " + name, [folder, os.path.join(more, name.strip("/"))])
        if "+local" in name:
            for wanted in ("alpha==1.0", "alpha===1.0", "alpha==1.0,!=1.0+local"):
                asker.ask("local version, %s" % wanted, [folder, more], wanted=wanted)
    for repo in ("x", "y"):
        asker.ask("query " + repo, [asker.page("links?repo=" + repo)])
    both = [asker.page("p", "localhost"), asker.page("q")]
    asker.ask("two hosts", both)
    asker.ask("two hosts, users", [asker.page("p", "localhost", "u:s@"), asker.page("q", user="v:s@")])
    asker.ask(
        "two hosts, other users", [asker.page("p", "localhost", "v:s@"), asker.page("q", user="u:s@")]
    )
    asker.ask("one host", both, hosts=("127.0.0.1*",))
    asker.ask("one host, index of two", both)
    asker.ask("one host, index of two", both, hosts=("127.0.0.1*",), keep_index=True)
    for name in ("alpha", "other"):
        index = asker.make("index-%s/%s" % (name, name), ["alpha-1.0.tar.gz"], name)
        asker.ask("index " + name, index=os.path.dirname(index))
        asker.ask("index by its address " + name, index="file://" + os.path.dirname(index))
    if hasattr(easy_install, "index_url"):
        easy_install.index_url(asker.page("q"))
        asker.ask("default index", [one[0]])
        easy_install.index_url("")


def random_cases(asker, rng, count):
    """Cases of several folders that are named in several ways."""
    folders = []
    for number in range(24):
        # Not often what eggcache leaves to buildout.
        usual = [name for name in NAMES if number % 6 == 0 or not name.endswith(("/", "+local.tar.gz"))]
        names = rng.sample(usual, rng.randrange(1, 4))
        names = [name for name in names if name + "/" not in names]
        folders.append(asker.make("%x/%s" % (rng.getrandbits(16), number), names, rng.choice("mn")))
    for number in range(count):
        links = []
        for folder in rng.sample(folders, rng.randrange(1, 4)):
            name = rng.choice([folder, "file://" + folder, "file:%s/" % folder, os.path.relpath(folder)])
            if rng.random() < 0.2:
                name = os.path.join(folder, rng.choice(os.listdir(folder)))
            links.append(name)
        if rng.random() < 0.2:
            links.append(asker.page(rng.choice("pq")))
        download_cache = folder if rng.random() < 0.2 else None
        wanted = rng.choice(["alpha==1.0"] * 6 + ["alpha===1.0", "alpha!=1.0+local,<2", "alpha<2"])
        asker.ask("random %d: %s" % (number, links), links, wanted=wanted, download_cache=download_cache)


def main(folder, seed, count):
    asker = Asker(pathlib.Path(folder).resolve())
    known_cases(asker)
    random_cases(asker, random.Random(seed), count)
    json.dump(asker.answers, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
