"""A proxy on the loopback that spoils the answers of a server: `Proxy(port, rule)`.

The rule gets each `Request` and returns the fault to apply, or None.
"""

import http.client
import socket
import struct
import threading
import time


class Request:
    def __init__(self, method, path, headers, body):
        self.method, self.path, self.headers, self.body = method, path, headers, body


class Counter:
    """Counts the requests of one kind."""

    def __init__(self, is_of_kind=lambda request: True):
        self.is_of_kind = is_of_kind
        self.count = 0
        self.lock = threading.Lock()

    def is_one(self, request):
        if not self.is_of_kind(request):
            return False
        with self.lock:
            self.count += 1
        return True

    def up_to(self, count, request):
        """Whether the request is among the first `count` of its kind."""
        return self.is_one(request) and self.count <= count


class Answer:
    """An answer of the server behind the proxy."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def head(self, length=None):
        lines = ["HTTP/1.1 %d %s" % (self.status, http.client.responses.get(self.status, "So"))]
        dropped = ("content-length", "connection", "transfer-encoding", "keep-alive")
        lines += ["%s: %s" % it for it in self.headers if it[0].lower() not in dropped]
        if length is not None:
            lines.append("Content-Length: %d" % length)
        return ("\r\n".join(lines + ["Connection: close"]) + "\r\n\r\n").encode("latin-1")


class Fault:
    """No fault: passes the answer on unchanged."""

    def spoil(self, client, request, forward):
        answer = forward(request)
        length = len(answer.body)
        if request.method == "HEAD":
            length = int(dict(answer.headers).get("Content-Length", 0))
        client.sendall(answer.head(length) + answer.body)


class Status(Fault):
    def __init__(self, status, body="", **headers):
        named = [(name.replace("_", "-"), value) for name, value in headers.items()]
        self.answer = Answer(status, named, body.encode())

    def spoil(self, client, request, forward):
        client.sendall(self.answer.head(len(self.answer.body)) + self.answer.body)


class Silent(Fault):
    """Accepts the request, and never answers."""

    def spoil(self, client, request, forward):
        client.settimeout(None)
        client.recv(1)  # until the client gives up


class Slow(Fault):
    """Sends one byte every `seconds`."""

    def __init__(self, seconds=1.0):
        self.seconds = seconds

    def spoil(self, client, request, forward):
        answer = forward(request)
        client.sendall(answer.head(len(answer.body)))
        for byte in answer.body:
            client.sendall(bytes([byte]))
            time.sleep(self.seconds)


class CutShort(Fault):
    """Sends the first bytes of the body, then closes the connection."""

    def __init__(self, bytes):
        self.bytes = bytes

    def spoil(self, client, request, forward):
        answer = forward(request)
        client.sendall(answer.head(len(answer.body)) + answer.body[: self.bytes])


class Unreadable(CutShort):
    """Only the first bytes of the object can be read, although it claims to be longer."""

    def spoil(self, client, request, forward):
        answer = forward(request)
        headers = dict(request.headers)
        begin = int(headers.get("range", headers.get("Range", "bytes=0-")).split("=")[1].split("-")[0])
        client.sendall(answer.head(len(answer.body)) + answer.body[: max(0, self.bytes - begin)])


class Reset(CutShort):
    """Sends the first bytes of the body, then resets the connection."""

    def spoil(self, client, request, forward):
        super().spoil(client, request, forward)
        time.sleep(0.2)  # until the client has received them
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Changed(Fault):
    """Replaces the body with what `change` makes of it."""

    def __init__(self, change):
        self.change = change

    def spoil(self, client, request, forward):
        answer = forward(request)
        if answer.status in (200, 206) and request.method == "GET":
            answer.body = self.change(answer.body)
        client.sendall(answer.head(len(answer.body)) + answer.body)


class Flipped(Changed):
    """Flips one bit of the body: at an offset (int), or at a fraction of its length (float)."""

    def __init__(self, at):
        def change(body):
            place = int(at * len(body)) if isinstance(at, float) else at % len(body)
            changed = bytearray(body)
            changed[place] ^= 1
            return bytes(changed)

        super().__init__(change)


class Endless(Fault):
    """Sends a body without end; with `length`, the header claims that length."""

    def __init__(self, length=None):
        self.length = length

    def spoil(self, client, request, forward):
        answer = forward(request)
        if self.length is None:
            answer.headers.append(("X-Chunked", "yes"))
            head = answer.head().replace(b"X-Chunked: yes", b"Transfer-Encoding: chunked")
            piece = b"10000\r\n" + bytes(0x10000) + b"\r\n"
        else:
            head, piece = answer.head(self.length), bytes(0x10000)
        client.sendall(head)
        while True:
            client.sendall(piece)


class Proxy:
    """Listens on a free port and forwards to the server on `port`."""

    def __init__(self, port, rule=lambda request: None):
        self.behind = port
        self.rule = rule
        #: Every request received.
        self.requests = []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        # close() does not wake a thread that waits in accept().
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _listen(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client):
        with client:
            try:
                client.settimeout(200)
                request = read_request(client)
                if request is None:
                    return
                self.requests.append(request)
                fault = self.rule(request) or Fault()
                fault.spoil(client, request, self._forward)
            except OSError:
                pass  # the client has given up

    def _forward(self, request):
        server = http.client.HTTPConnection("127.0.0.1", self.behind, timeout=200)
        try:
            server.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers:
                if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                    server.putheader(name, value)
            if request.body or request.method in ("PUT", "POST"):
                server.putheader("Content-Length", str(len(request.body)))
            server.putheader("Connection", "close")
            server.endheaders(request.body)
            answer = server.getresponse()
            return Answer(answer.status, answer.getheaders(), answer.read())
        except http.client.HTTPException as error:
            raise OSError(str(error))
        finally:
            server.close()


def read_request(client):
    """Reads the single request of a connection; None if there is none."""
    file = client.makefile("rb")
    line = file.readline().decode("latin-1").split()
    if len(line) != 3:
        return None
    headers = []
    while True:
        header = file.readline().decode("latin-1").strip()
        if not header:
            break
        name, _, value = header.partition(":")
        headers.append((name, value.strip()))
    found = {name.lower(): value for name, value in headers}
    if "chunked" in found.get("transfer-encoding", ""):
        body = b""
        while True:
            length = int(file.readline(), 16)
            body += file.read(length)
            file.readline()
            if length == 0:
                break
    else:
        body = file.read(int(found.get("content-length", 0)))
    return Request(line[0], line[1], headers, body)
