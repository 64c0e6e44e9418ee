"""Measure buildouts whose index answers late: stock, without fetching ahead, and with it.

    python3 benches/latency.py CORPUS MILLISECONDS...

The archives of the corpus are served from this machine. Each answer begins after so many milliseconds, however
many are waiting. All three begin with an empty eggs directory, and the last two with an empty cache.
`egg-cache-convert = false` turns fetching ahead off, and conversion as well.
"""

import hashlib
import http.server
import os
import re
import sys
import tempfile
import threading
import time

import buildouts
import corpora
import measure
import populate

ROUNDS = int(os.environ.get("ROUNDS", "3"))
OPTIONS = {
    "stock": None,
    "without": ["buildout:egg-cache=cache", "buildout:egg-cache-convert=false"],
    "with": ["buildout:egg-cache=cache"],
}


class Index(http.server.ThreadingHTTPServer):
    """An index of a folder of archives. Projects are found by any spelling."""

    delay = 0

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.pages = folder, {}
        for name in sorted(os.listdir(folder)):
            with open(os.path.join(folder, name), "rb") as file:
                digest = hashlib.sha256(file.read()).hexdigest()
            # Of an sdist, the version begins at the last dash.
            project = name.split("-")[0] if name.endswith(".whl") else name.rpartition("-")[0]
            line = '<a href="/files/%s#sha256=%s">%s</a>\n' % (name, digest, name)
            self.pages[normalized(project)] = self.pages.get(normalized(project), "") + line
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(self.server.delay)
        _, place, name = self.path.split("/")[:3]
        path = os.path.join(self.server.folder, name)
        if place == "files" and os.path.isfile(path):
            with open(path, "rb") as file:
                self._answer(file.read(), "application/octet-stream")
        elif normalized(name) in self.server.pages:
            self._answer(self.server.pages[normalized(name)].encode(), "text/html")
        else:
            self.send_error(404)

    def _answer(self, content, kind):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


def normalized(name):
    return re.sub("[-_.]+", "-", name).lower()


def main():
    name, delays = sys.argv[1], [int(it) for it in sys.argv[2:]]
    buildout, setuptools, _ = corpora.PINNED[name]
    stock = corpora.venv(buildout, setuptools)
    package = buildouts.with_package(stock, buildout, setuptools)
    index = Index(os.path.join(populate.downloaded(name), "dist"))
    url = "http://127.0.0.1:%d/simple/" % index.server_port

    def contender(who):
        def command(into):
            program = os.path.join(package if OPTIONS[who] else stock, "bin", "buildout")
            options = ["buildout:index=" + url] + (OPTIONS[who] or [])
            return buildouts.without_pip_options(buildouts.within(into, program, "-U", *options))

        begin = lambda into: buildouts.begun(name, into)  # noqa: E731
        return measure.Contender(who, command, [], begin, buildouts.installed)

    for delay in delays:
        index.delay, left_out = delay / 1000, {}
        with tempfile.TemporaryDirectory() as folder:
            all_of_them = [contender(who) for who in OPTIONS]
            figures = measure.alternate(all_of_them, folder, ROUNDS, "warm", left_out, warm_up=False)
        if left_out:
            sys.exit("a buildout failed: %s" % left_out)
        for kind in "wall", "cpu":
            taken = {who: round(of[kind], 2) for who, of in figures.items()}
            ratios = {who: round(taken["with"] / taken[who], 3) for who in ("stock", "without")}
            print("%s, %d ms, %s: seconds %s, ratios to %s" % (name, delay, kind, taken, ratios), flush=True)


if __name__ == "__main__":
    main()
