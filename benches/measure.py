"""Run contenders in turn, each into a fresh folder, warm or cold, and measure each run.

Nothing is deleted between the runs of a set: ext4 creates files slowly after many deletions.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time

CAN_BE_COLD = os.geteuid() == 0  # only root can drop the page cache
STATES = ("warm", "cold") if CAN_BE_COLD else ("warm",)


class Failed(Exception):
    """A contender could not do its work."""


class Contender:
    """A command to measure.

    `command(into)` returns the words of the command; `sources` are the paths that it reads;
    `prepare(into)` creates its starting point, and `check(into)` raises `Failed` if the work was not
    done. Neither of the latter two is measured.
    """

    def __init__(self, name, command, sources=(), prepare=None, check=None):
        self.name = name
        self.command = command
        self.sources = list(sources)
        self.prepare = prepare
        self.check = check


def alternate(contenders, folder, rounds, state, left_out, warm_up=True):
    """Run each contender once in every round; return the figures of each, by name.

    A contender that fails is left out from then on, with the reason in `left_out`. In the state warm,
    the sources of a contender are read just before each run, and a first round does not count.
    """
    runs = {contender.name: [] for contender in contenders}
    for number in range(-1 if state == "warm" and warm_up else 0, rounds):
        # Rotate the order, so that no contender always follows the same other one.
        turn = number % len(contenders)
        for contender in contenders[turn:] + contenders[:turn]:
            if contender.name in left_out:
                continue
            into = os.path.join(folder, "%s-%s-%d" % (state, contender.name, number + 1))
            try:
                if contender.prepare:
                    contender.prepare(into)
                before(state, contender.sources)
                figures = run(contender.command(into))
                if contender.check:
                    contender.check(into)
            except Failed as error:
                leave_out(left_out, contender.name, error)
                continue
            if number >= 0:
                runs[contender.name].append(figures)
    return {name: summary(figures) for name, figures in runs.items() if name not in left_out}


def leave_out(left_out, name, reason):
    left_out[name] = str(reason)
    print("!!! WITHOUT %s: %s" % (name, reason), file=sys.stderr, flush=True)


def before(state, sources):
    if state == "warm":
        # Otherwise the copies of a large corpus would push it out of memory.
        find = ["find"] + sources + ["-type", "f", "-exec", "cat", "{}", "+"]
        if sources:
            subprocess.check_call(find, stdout=subprocess.DEVNULL)
    os.sync()
    if state == "cold":
        with open("/proc/sys/vm/drop_caches", "w") as file:
            file.write("3")


def run(command):
    """Wall seconds, user and system seconds, and peak memory in bytes of a command.

    The peak is that of its largest process, and at least the memory of this program: the kernel
    counts a process from before it executes the command.
    """
    with tempfile.TemporaryFile() as errors:
        begin = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.terminate()
            process.wait()
            raise
        wall = time.monotonic() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            errors.seek(0)
            printed = errors.read().decode(errors="replace").strip().splitlines()
            why = os.path.basename(command[0]), process.returncode, " ".join(printed[-3:])
            raise Failed("%s: exit %d: %s" % why)
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def summary(runs):
    walls, cpus, peaks = zip(*runs)
    return {
        "wall": round(statistics.median(walls), 4),
        "min": round(min(walls), 4),
        "max": round(max(walls), 4),
        "cpu": round(statistics.median(cpus), 4),
        "memory": max(peaks),
        "rounds": len(runs),
    }


def contents(folder):
    """The number of regular files below a folder, and their bytes."""
    files = size = 0
    folders = [folder]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    files += 1
                    size += entry.stat(follow_symlinks=False).st_size
    return files, size


def on_disk(folder):
    """The bytes that a folder occupies on disk, directories included."""
    return int(subprocess.check_output(["du", "-sk", folder]).split()[0]) * 1024
