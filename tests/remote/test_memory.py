"""Memory use does not grow with the amount of data transferred."""

import shutil
import subprocess
import sys

import eggs

#: The most memory that a command may use, in bytes.
MOST = 96 << 20


def peak(machine, *words, code=0):
    """Returns the peak memory of a command in bytes, measured in a process without other children, and
    its error output."""
    measuring = (
        "import resource, subprocess, sys\n"
        "code = subprocess.call(sys.argv[1:], stdout=2)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)\n"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", measuring, machine.program] + [str(word) for word in words],
        env=machine.env, cwd=str(machine.folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    assert done.returncode == code, done.stderr
    return int(done.stdout), done.stderr.decode()


def test_memory_is_bounded_during_large_transfers(pool):
    """Transfers 300 MB: one egg of 160 MB, and seven of 20 MB in parallel."""
    builder, reader = pool.builder(), pool.reader()
    names = [builder.egg("large", data=[160_000_000])]
    names += [builder.egg("egg%d" % number, data=[20_000_000]) for number in range(7)]
    pushing, _ = peak(builder, "push", "--all")
    assert len(pool.names("entries")) == 8
    pulling, _ = peak(reader, "pull", "--python", eggs.PYTHON, *[
        "%s==1.0" % name.split("-")[0] for name in names
    ])
    assert reader.has() == sorted(names)
    for it in (builder, reader):
        shutil.rmtree(str(it.folder))  # pytest keeps it otherwise
    assert max(pushing, pulling) <= MOST, (pushing >> 20, pulling >> 20)
