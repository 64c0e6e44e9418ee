"""Real servers on free ports of the loopback: SeaweedFS as an S3 store, and nginx as a web server."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

BUCKET = "eggs"
ACCESS_KEY = "the-writer-of-the-tests"
SECRET_KEY = "a-secret-that-nobody-shall-ever-see-printed"
#: Seconds in which a server is up, on a machine that does much else.
UP = 120

WITHOUT_WEED = "these tests need SeaweedFS: `%s -m pip install -r tests/requirements.txt`" % sys.executable
WITHOUT_NGINX = "these tests need nginx: `apt-get install --no-install-recommends nginx`"


def free_ports(count):
    """Ports that nobody had a moment ago, none twice."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for it in sockets:
            it.bind(("127.0.0.1", 0))
        return [it.getsockname()[1] for it in sockets]


def is_up(port):
    with contextlib.closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition, what, log=None):
    end = time.monotonic() + UP
    while not condition():
        if time.monotonic() > end:
            told = open(log, errors="replace").read()[-2000:] if log and os.path.exists(log) else ""
            raise AssertionError("%s in %d s\n%s" % (what, UP, told))
        time.sleep(0.05)


def stop(process, how=signal.SIGTERM):
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


class Weed:
    """SeaweedFS with one bucket, which everybody may read and one identity write."""

    def __init__(self, folder):
        beside = os.path.join(os.path.dirname(sys.executable), "weed")
        self.program = beside if os.path.exists(beside) else shutil.which("weed")
        assert self.program, WITHOUT_WEED
        self.folder = folder
        self.data = os.path.join(folder, "data")
        self.log = os.path.join(folder, "log")
        os.makedirs(self.data)
        names = ["master", "volume", "filer", "s3"]
        ports = iter(free_ports(2 * len(names)))
        self.ports = {name: next(ports) for name in names}
        self.grpc = {name: next(ports) for name in names}
        writer = {
            "name": "writer",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List"],
        }
        everybody = {"name": "anonymous", "actions": ["Read"]}
        with open(os.path.join(folder, "s3.json"), "w") as file:
            json.dump({"identities": [writer, everybody]}, file)
        self.process = None
        self.start()

    @property
    def endpoint(self):
        return "http://127.0.0.1:%d" % self.ports["s3"]

    def start(self):
        words = [
            self.program, "server", "-dir=" + self.data, "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            "-filer", "-s3", "-s3.config=" + os.path.join(self.folder, "s3.json"),
            "-s3.port.iceberg=0", "-s3.port.lance=0",
            "-filer.localSocket=" + os.path.join(self.folder, "filer.sock"),
            "-s3.localSocket=" + os.path.join(self.folder, "s3.sock"),
            "-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=40",
            "-volume.preStopSeconds=0",
        ]
        words += ["-%s.port=%d" % it for it in self.ports.items()]
        words += ["-%s.port.grpc=%d" % it for it in self.grpc.items()]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder
            )
        wait_until(self._is_ready, "SeaweedFS is not up", self.log)

    def _is_ready(self):
        assert self.process.poll() is None, "SeaweedFS ended:\n" + open(self.log).read()[-2000:]
        if not all(is_up(port) for port in self.ports.values()):
            return False
        # What is written needs the volume, what is read the S3 side of it.
        try:
            self._ask("PUT", "filer", "/buckets/%s/ready" % BUCKET, b"ready")
            return self._ask("GET", "s3", "/%s/ready" % BUCKET) == b"ready"
        except OSError:
            return False

    def _ask(self, method, server, path, body=None):
        url = "http://127.0.0.1:%d%s" % (self.ports[server], path)
        request = urllib.request.Request(url, body, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.read()

    def kill(self):
        """As a power cut would, but for what the system has in memory."""
        stop(self.process, signal.SIGKILL)

    def stop(self):
        stop(self.process)

    def read(self, name):
        """The bytes of an object, whoever asks; None if there is none."""
        try:
            return self._ask("GET", "s3", "/%s/%s" % (BUCKET, name))
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def remove(self, name):
        """Takes an object away, past S3."""
        self._ask("DELETE", "filer", "/buckets/%s/%s" % (BUCKET, name))

    def names(self, folder):
        """Everything below a folder: the folders are read past S3, where nobody may list."""
        found, path = [], "/buckets/%s/%s/" % (BUCKET, folder.rstrip("/"))
        url = "http://127.0.0.1:%d%s?limit=100000" % (self.ports["filer"], path)
        request = urllib.request.Request(url, headers={"Accept": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                entries = json.load(answer)["Entries"] or []
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return []
            raise
        for entry in entries:
            name = entry["FullPath"][len("/buckets/%s/" % BUCKET):]
            is_folder = entry["Mode"] & 0x80000000
            found += self.names(name) if is_folder else [name]
        return found


class Nginx:
    """nginx over a folder; it lists nothing."""

    CONF = """
worker_processes 1;
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    log_format short '$request_method $uri $status $body_bytes_sent "$http_range" "$http_authorization"';
    server {{
        listen 127.0.0.1:{port};
        root {root};
        autoindex off;
        access_log {folder}/access.log short;
    }}
}}
"""

    def __init__(self, folder):
        path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
        self.program = shutil.which("nginx", path=path)
        assert self.program, WITHOUT_NGINX
        self.root = os.path.join(folder, "root")
        os.makedirs(self.root)
        # nginx drops its rights, and the folders of pytest are for their owner alone.
        user = "user root;\n" if os.geteuid() == 0 else ""
        [self.port] = free_ports(1)
        self.access_log = os.path.join(folder, "access.log")
        conf = os.path.join(folder, "nginx.conf")
        with open(conf, "w") as file:
            file.write(user + self.CONF.format(folder=folder, root=self.root, port=self.port))
        log = os.path.join(folder, "error.log")
        with open(os.path.join(folder, "output"), "wb") as output:
            self.process = subprocess.Popen(
                [self.program, "-c", conf, "-p", folder, "-e", log], stdout=output, stderr=output
            )
        wait_until(lambda: is_up(self.port), "nginx is not up", log)

    def stop(self):
        stop(self.process)

    def requests(self, below):
        """What was asked for below a folder: method, path, status, bytes, range."""
        pattern = re.compile(r'(\S+) (\S+) (\d+) (\d+) "(.*?)" "(.*?)"')
        with open(self.access_log) as file:
            found = [pattern.match(line).groups() for line in file]
        return [it for it in found if it[1].startswith("/%s/" % below)]
