"""Real servers on free ports of the loopback: SeaweedFS as an S3 store, Azurite as an Azure store, and nginx
as a web server. A folder has the same interface."""

import base64
import contextlib
import datetime
import email.utils
import hmac
import ipaddress
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
import urllib.parse
import urllib.request
import xml.etree.ElementTree

BUCKET = "eggs"
ACCESS_KEY = "the-writer-of-the-tests"
SECRET_KEY = "a-secret-that-nobody-shall-ever-see-printed"
#: Seconds that a server may take to start, even on a busy machine.
UP = 120

WITHOUT_WEED = "these tests need SeaweedFS: `%s -m pip install -r tests/requirements.txt`" % sys.executable
WITHOUT_AZURITE = "these tests need Azurite, the emulator of Azure's storage: `make azure`"
WITHOUT_NGINX = "these tests need nginx: `apt-get install --no-install-recommends nginx`"


def free_ports(count):
    """Returns different ports that were free a moment ago."""
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
            output = open(log, errors="replace").read()[-2000:] if log and os.path.exists(log) else ""
            raise AssertionError("%s in %d s\n%s" % (what, UP, output))
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
    """SeaweedFS with one bucket, which anyone may read and one identity may write."""

    def __init__(self, folder, program=None):
        beside = os.path.join(os.path.dirname(sys.executable), "weed")
        self.program = program or (beside if os.path.exists(beside) else shutil.which("weed"))
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

    #: The environment of a user who may write, and of one who may not.
    credentials = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    nobody = {}

    def url(self, prefix):
        return "s3://%s/%s" % (BUCKET, prefix)

    def options(self, port=None):
        """Options for `remote add`; with a port, for a server there instead of the store."""
        return ["--endpoint", "http://127.0.0.1:%d" % (port or self.ports["s3"])]

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
        # Writing needs the volume server, reading needs the S3 server.
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
        """Kills the server; unlike in a power cut, the system still writes out its caches."""
        stop(self.process, signal.SIGKILL)

    def stop(self):
        stop(self.process)

    def read(self, name):
        """The bytes of an object, read anonymously; None if there is none."""
        try:
            return self._ask("GET", "s3", "/%s/%s" % (BUCKET, name))
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def write(self, name, data):
        """Writes or replaces an object, bypassing S3."""
        self._ask("PUT", "filer", "/buckets/%s/%s" % (BUCKET, name), data)

    def remove(self, name):
        """Removes an object, bypassing S3."""
        self._ask("DELETE", "filer", "/buckets/%s/%s" % (BUCKET, name))

    def names(self, folder):
        """Lists everything below a folder, bypassing S3, where anonymous listing is forbidden."""
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


class Folder:
    """A folder with a subfolder for each pool."""

    credentials = nobody = {}

    def __init__(self, folder):
        self.folder = folder

    def url(self, prefix):
        return self._path(prefix)

    def options(self):
        return []

    def read(self, name):
        with open(self._path(name), "rb") as file:
            return file.read()

    def remove(self, name):
        os.remove(self._path(name))

    def names(self, folder):
        files = [os.path.join(at, name) for at, _, names in os.walk(self._path(folder)) for name in names]
        return [os.path.relpath(path, self.folder) for path in files]

    def _path(self, name):
        return os.path.join(self.folder, name)


class Azurite:
    """Azurite with one container, which anyone may read and list."""

    program = os.environ.get("EGGCACHE_AZURITE")
    #: The documented credentials of every Azurite.
    account = "devstoreaccount1"
    key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
    nobody = {"AZURE_STORAGE_ACCOUNT_NAME": account}
    credentials = {"AZURE_STORAGE_ACCOUNT_KEY": key, **nobody}

    def __init__(self, folder):
        [self.port] = free_ports(1)
        log = os.path.join(folder, "log")
        words = [
            self.program, "--location", folder, "--blobHost", "127.0.0.1", "--blobPort", str(self.port),
            "--skipApiVersionCheck", "--disableTelemetry", "--silent",
        ]
        with open(log, "wb") as file:
            self.process = subprocess.Popen(words, stdout=file, stderr=file, stdin=subprocess.DEVNULL)
        wait_until(lambda: is_up(self.port), "Azurite is not up", log)
        self._ask("PUT", "", {"restype": "container"}, {"x-ms-blob-public-access": "container"})

    def stop(self):
        stop(self.process)

    def url(self, prefix):
        return "az://%s/%s" % (BUCKET, prefix)

    def options(self):
        return ["--endpoint", "http://127.0.0.1:%d/%s" % (self.port, self.account)]

    def read(self, name):
        return self._ask("GET", "/" + name)

    def remove(self, name):
        self._ask("DELETE", "/" + name)

    def names(self, folder):
        query = {"comp": "list", "prefix": folder.rstrip("/") + "/", "restype": "container"}
        listing = xml.etree.ElementTree.fromstring(self._ask("GET", "", query))
        return [name.text for name in listing.iterfind("Blobs/Blob/Name")]

    def _ask(self, method, name, query={}, headers={}):
        """Sends a request as the owner of the account, signed as "Authorize with Shared Key" in the
        documentation of Azure Storage describes."""
        path = "/%s/%s%s" % (self.account, BUCKET, name)
        date = email.utils.formatdate(usegmt=True)
        headers = {**headers, "x-ms-date": date, "x-ms-version": "2021-12-02"}
        signed = [method] + [""] * 11 + ["%s:%s" % it for it in sorted(headers.items())]
        signed += ["/%s%s" % (self.account, path)] + ["%s:%s" % it for it in sorted(query.items())]
        digest = hmac.digest(base64.b64decode(self.key), "\n".join(signed).encode(), "sha256")
        signature = base64.b64encode(digest).decode()
        headers["Authorization"] = "SharedKey %s:%s" % (self.account, signature)
        url = "http://127.0.0.1:%d%s?%s" % (self.port, path, urllib.parse.urlencode(query))
        request = urllib.request.Request(url, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.read()


def make_certificate(certificate, key):
    """Creates a self-signed certificate for 127.0.0.1, and its key."""
    # Imported here because `make bench`, which runs only SeaweedFS, does not install it.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "eggcache tests")])
    now = datetime.datetime.now(datetime.timezone.utc)
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(here, critical=False)
        .sign(secret, hashes.SHA256())
    )
    with open(certificate, "wb") as file:
        file.write(made.public_bytes(serialization.Encoding.PEM))
    with open(key, "wb") as file:
        file.write(secret.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ))


class Nginx:
    """nginx over a folder, without directory listings."""

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
    server {{
        listen 127.0.0.1:{https} ssl;
        ssl_certificate {folder}/certificate;
        ssl_certificate_key {folder}/key;
        root {root};
        access_log {folder}/access.log short;
        rewrite ^/downgraded/(.*)$ http://127.0.0.1:{port}/$1 redirect;
    }}
}}
"""

    def __init__(self, folder):
        path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
        self.program = shutil.which("nginx", path=path)
        assert self.program, WITHOUT_NGINX
        self.root = os.path.join(folder, "root")
        os.makedirs(self.root)
        # nginx drops its privileges, but only the owner can enter pytest's folders.
        user = "user root;\n" if os.geteuid() == 0 else ""
        self.port, self.https = free_ports(2)
        self.certificate = os.path.join(folder, "certificate")
        make_certificate(self.certificate, os.path.join(folder, "key"))
        self.access_log = os.path.join(folder, "access.log")
        conf = os.path.join(folder, "nginx.conf")
        with open(conf, "w") as file:
            file.write(user + self.CONF.format(
                folder=folder, root=self.root, port=self.port, https=self.https
            ))
        log = os.path.join(folder, "error.log")
        with open(os.path.join(folder, "output"), "wb") as output:
            self.process = subprocess.Popen(
                [self.program, "-c", conf, "-p", folder, "-e", log], stdout=output, stderr=output
            )
        wait_until(lambda: is_up(self.port), "nginx is not up", log)

    def stop(self):
        stop(self.process)

    def requests(self, below):
        """The requests below a folder: method, path, status, bytes, range and authorization."""
        pattern = re.compile(r'(\S+) (\S+) (\d+) (\d+) "(.*?)" "(.*?)"')
        with open(self.access_log) as file:
            found = [pattern.match(line).groups() for line in file]
        return [it for it in found if it[1].startswith("/%s/" % below)]
