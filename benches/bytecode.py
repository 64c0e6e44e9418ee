"""What complete bytecode saves where Python cannot write it: the time to import requests and bs4.

    python3 benches/bytecode.py

makes the eggs of both and of what they need three times with `eggcache convert`: as stock buildout, with
`--compile-all`, and with `--compile-all --unchecked`. It then imports them in turns from new processes that
write no bytecode, as from a read-only deployment, and prints medians.
"""

import glob
import os
import resource
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAM = os.path.join(ROOT, "target", "release", "eggcache")
PINS = (
    "requests==2.32.3 urllib3==2.2.3 idna==3.10 certifi==2024.8.30 charset-normalizer==3.4.0 "
    "beautifulsoup4==4.12.3 soupsieve==2.6"
).split()
MODES = {"stock": [], "all": ["--compile-all"], "all-unchecked-hash": ["--compile-all", "--unchecked"]}
RUNS = 25
IMPORTS = "import sys; sys.path[:0] = sys.argv[1:]; import requests, bs4"


def cpu_of_import(python, eggs):
    """User and system time of a process that imports both, in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.check_call([python, "-B", "-I", "-S", "-c", IMPORTS] + eggs)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    with tempfile.TemporaryDirectory() as folder:
        venv = os.path.join(folder, "venv")
        subprocess.check_call([sys.executable, "-m", "venv", venv])
        python, wheels = os.path.join(venv, "bin", "python"), os.path.join(folder, "wheels")
        pip = [python, "-m", "pip", "-q", "--disable-pip-version-check"]
        subprocess.check_call(pip + ["download", "--no-deps", "--only-binary", ":all:", "-d", wheels] + PINS)
        eggs = {}
        for mode, options in MODES.items():
            into = os.path.join(folder, mode)
            command = [PROGRAM, "-q", "convert", "--python", python, "--into", into] + options
            subprocess.check_call(command + glob.glob(os.path.join(wheels, "*.whl")))
            eggs[mode] = glob.glob(os.path.join(into, "*.egg"))
            assert len(eggs[mode]) == len(PINS)
        times = {mode: [] for mode in MODES}
        for _ in range(RUNS):
            for mode in MODES:
                times[mode].append(cpu_of_import(python, eggs[mode]))
    for mode in MODES:
        print("%-20s %4.0f ms of CPU" % (mode, 1000 * statistics.median(times[mode])))


if __name__ == "__main__":
    main()
