"""The memory of a program and the processes below it is added up, without what others use."""

import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "benches"))

import processes  # noqa: E402  benches/ is not a package

MIB = 1 << 20
FILLED = "import time; kept = bytearray(%d << 20); time.sleep(0.5)"


def test_memory_of_a_program_includes_its_children_and_nothing_else(tmp_path):
    program = str(tmp_path / "measured-program")
    shutil.copy(shutil.which("sh"), program)
    filled = [sys.executable, "-c", FILLED % 40]
    with processes.Peaks("measured-") as found:
        other = subprocess.Popen([sys.executable, "-c", FILLED % 100])
        # Not its last command, which a shell may become.
        subprocess.check_call([program, "-c", '"$@"; exit', "sh"] + filled)
        other.wait()
    assert 40 * MIB < found.of_program < 70 * MIB
    assert found.processes == 2
    assert 140 * MIB < found.of_all < 200 * MIB


def test_memory_that_a_child_shares_counts_once():
    code = (
        "import os, time\n"
        "kept = bytearray(os.urandom(1)) * (50 << 20)\n"
        "child = os.fork()\n"
        "time.sleep(0.5)\n"
        "child and os.wait()\n"
    )
    with processes.Peaks(os.path.basename(os.path.realpath(sys.executable))) as found:
        subprocess.check_call([sys.executable, "-c", code])
    assert found.processes == 2
    assert 50 * MIB < found.of_program < 80 * MIB
