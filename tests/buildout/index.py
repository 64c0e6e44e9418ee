"""A package index: serves folders of archives as PEP 503 describes, with the SHA-256 in each link."""

import hashlib
import http.server
import os
import threading
import urllib.parse


class Index:
    """A web server on a free port of this machine. Each folder has a URL of its own."""

    def __init__(self):
        self._folders = {}
        #: The names of files that are yanked.
        self.yanked = set()
        #: What was noted of all requests: their paths.
        self.requests = []
        index = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                index.requests.append(index.note(self))
                index.answer(self)

            # As uv asks before it reads the metadata of a wheel.
            do_HEAD = do_GET

            def log_message(self, *args):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def serve(self, folder, has_digests=True):
        """Serve a folder; return its URL. A folder that is moved away is not found any more."""
        name = "%s%d" % (os.path.basename(str(folder)), len(self._folders))
        self._folders[name] = str(folder), has_digests
        return "http://127.0.0.1:%d/%s/" % (self._server.server_port, name)

    def note(self, request):
        return request.path

    def answer(self, request):
        path = urllib.parse.unquote(urllib.parse.urlsplit(request.path).path)
        name, _, rest = path.lstrip("/").partition("/")
        folder, has_digests = self._folders.get(name, ("/no/such/folder", True))
        target = os.path.join(folder, rest)
        if os.path.isfile(os.path.join(target, "index.html")):
            target = os.path.join(target, "index.html")
        if os.path.isdir(target):
            names = sorted(os.listdir(target))
            links = (link(target, name, has_digests, name in self.yanked) for name in names)
            content, kind = "\n".join(links).encode("utf-8"), "text/html"
        elif os.path.isfile(target):
            with open(target, "rb") as file:
                content = file.read()
            kind = "text/html" if target.endswith(".html") else "application/octet-stream"
        else:
            request.send_error(404)
            return
        request.send_response(200)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(content)


def link(folder, name, has_digest, is_yanked):
    path = os.path.join(folder, name)
    if os.path.isdir(path):
        return '<a href="%s/">%s</a>' % (name, name)
    fragment = ""
    if has_digest:
        with open(path, "rb") as file:
            fragment = "#sha256=" + hashlib.sha256(file.read()).hexdigest()
    yanked = ' data-yanked=""' if is_yanked else ""
    return '<a href="%s%s"%s>%s</a>' % (urllib.parse.quote(name), fragment, yanked, name)
