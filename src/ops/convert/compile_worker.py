# Compiles Python files for eggcache, one request a line, without importing or running them.
#
# Request: flags of the header, source, name in tracebacks and target, each in hexadecimal; without a
# target, the file is only compiled. Answer: "ok", or "no" and why there is no bytecode.
import sys

sys.path[:] = [path for path in sys.path if path]  # no module comes from the current directory

import marshal
import os
import signal
from importlib.util import MAGIC_NUMBER, source_hash

try:
    import resource
except ImportError:
    resource = None


def number(value):
    return int(value & 0xFFFFFFFF).to_bytes(4, "little")


def limit(name, most):
    kind = getattr(resource, name, None)
    if kind is not None:
        try:
            resource.setrlimit(kind, (most, most))
        except (OSError, ValueError):
            pass


def compile_one(flags, source, name, target):
    with open(source, "rb") as file:
        info = os.fstat(file.fileno())
        text = file.read()
    code = compile(text, name, "exec", dont_inherit=True)
    if not target:
        return
    if flags:
        check = source_hash(text)
    else:
        check = number(int(info.st_mtime)) + number(len(text))
    bytecode = MAGIC_NUMBER + number(flags) + check + marshal.dumps(code)
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    with os.fdopen(handle, "wb") as file:
        file.write(bytecode)
        file.flush()
        os.utime(file.fileno(), ns=(info.st_mtime_ns, info.st_mtime_ns))


def answer(text):
    os.write(1, (text + "\n").encode("ascii", "backslashreplace"))


def main(seconds, memory):
    # The system ends this process if a file takes too long: no Python code could.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    limit("RLIMIT_CORE", 0)
    limit("RLIMIT_AS", memory)
    answer("ready " + sys.implementation.cache_tag)
    while True:
        line = sys.stdin.buffer.readline()
        if not line:
            break
        flags, source, name, target = line[:-1].decode("ascii").split(" ")
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            compile_one(
                int(flags),
                bytes.fromhex(source),
                bytes.fromhex(name).decode("utf-8"),
                bytes.fromhex(target),
            )
            done = "ok"
        except Exception as error:
            done = "no " + type(error).__name__
        signal.setitimer(signal.ITIMER_PROF, 0)
        answer(done)


main(float(sys.argv[1]), int(sys.argv[2]))
