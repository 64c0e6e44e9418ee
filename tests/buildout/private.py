"""An index that may demand a password, and a proxy. Passwords that they were sent are noted."""

import base64
import http.client
import http.server
import select
import socket
import ssl
import threading
import urllib.parse

from test_fetching_ahead import WatchedIndex

#: A proxy says by this header that it passes a request on, with the password for itself, as no proxy should.
VIA = "Via"


def basic(user, password):
    return "Basic " + base64.b64encode(("%s:%s" % (user, password)).encode()).decode()


class PrivateIndex(WatchedIndex):
    """An index that may demand a password, send requests elsewhere, and speak TLS.

    Of each request it notes the path, the passwords for itself and for a proxy, and which proxy sent it.
    """

    def __init__(self):
        super().__init__()
        self.password = None
        #: Returns where a request for a path is sent instead, or None.
        self.moved = lambda path: None

    @property
    def port(self):
        return self._server.server_port

    def note(self, request):
        names = "Authorization", "Proxy-Authorization", VIA
        return (request.path,) + tuple(request.headers.get(name) for name in names)

    def answer(self, request):
        if self.password not in (None, request.headers.get("Authorization")):
            _say(request, 401, "Who are you?", "WWW-Authenticate", 'Basic realm="private"')
        elif self.moved(request.path):
            _say(request, 302, "Elsewhere", "Location", self.moved(request.path))
        else:
            super().answer(request)

    def speak_tls(self, certificate, key):
        """Speak TLS from here on."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)


class Proxy:
    """A proxy for http and https. It notes the method, the address and the password of each request."""

    def __init__(self):
        self.requests = []
        self.password = None
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                proxy._answer(self, proxy._pass_on)

            def do_CONNECT(self):
                proxy._answer(self, proxy._connect)

            def log_message(self, *args):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def url(self, user=""):
        return "http://%s127.0.0.1:%d" % (user, self._server.server_port)

    def _answer(self, request, pass_on):
        password = request.headers.get("Proxy-Authorization")
        self.requests.append((request.command, request.path, password))
        if self.password in (None, password):
            pass_on(request)
        else:
            _say(request, 407, "Who are you?", "Proxy-Authenticate", 'Basic realm="proxy"')

    def _pass_on(self, request):
        url = urllib.parse.urlsplit(request.path)
        connection = http.client.HTTPConnection(url.netloc)
        headers = dict(request.headers.items(), **{VIA: "1.1 proxy"})
        connection.request("GET", url._replace(scheme="", netloc="").geturl(), headers=headers)
        answer = connection.getresponse()
        content = answer.read()
        request.send_response(answer.status, answer.reason)
        for name, value in answer.getheaders():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(content)
        connection.close()

    def _connect(self, request):
        host, _, port = request.path.rpartition(":")
        request.close_connection = True
        with socket.create_connection((host, int(port))) as other:
            request.send_response(200)
            request.end_headers()
            ways = {request.connection: other, other: request.connection}
            while True:
                for ready in select.select(list(ways), [], [])[0]:
                    block = ready.recv(1 << 16)
                    if not block:
                        return
                    ways[ready].sendall(block)


def _say(request, status, reason, name, value):
    """Answer with a header and no content."""
    request.send_response(status, reason)
    request.send_header(name, value)
    request.send_header("Content-Length", "0")
    request.end_headers()
