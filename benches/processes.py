"""The memory of the processes that this one has started, and of those below them.

    with Peaks("eggcache") as found:
        subprocess.check_call(...)
    print(found.of_program, found.of_all)

Memory that processes share counts once: it is divided among them (`Pss` in /proc/PID/smaps_rollup).
"""

import os
import re
import threading

#: Seconds between two looks.
EVERY = 0.02


class Peaks:
    """The most bytes at any look, while the block runs.

    `of_program` is that of all processes whose program has a name that begins like this, with the processes
    that they have started, and `processes` is how many these were then. `of_all` is that of all processes.
    """

    def __init__(self, program):
        self._program = program
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.of_program = self.of_all = self.processes = 0

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._is_over.set()
        self._thread.join()

    def _watch(self):
        while not self._is_over.wait(EVERY):
            children = by_parent()
            started = list(below(os.getpid(), children))
            ours = set()
            for pid in started:
                if pid not in ours and executed(pid).startswith(self._program):
                    ours.update([pid], below(pid, children))
            sizes = {pid: shared_fairly(pid) for pid in started}
            of_ours = sum(sizes[pid] for pid in ours)
            if of_ours > self.of_program:
                self.of_program, self.processes = of_ours, len(ours)
            self.of_all = max(self.of_all, sum(sizes.values()))


def by_parent():
    """The processes of each process."""
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            # After the name of the program, which may have any character.
            fields = read(name, "stat").rpartition(")")[2].split()
            if fields:
                children.setdefault(int(fields[1]), []).append(int(name))
    return children


def below(pid, children):
    for child in children.get(pid, ()):
        yield child
        yield from below(child, children)


def executed(pid):
    """The name of the program that a process executes; empty if it has ended."""
    try:
        return os.path.basename(os.readlink("/proc/%d/exe" % pid))
    except OSError:
        return ""


def shared_fairly(pid):
    found = re.search(r"^Pss: +(\d+) kB", read(pid, "smaps_rollup"), re.M)
    return int(found[1]) * 1024 if found else 0


def read(pid, name):
    """A file of a process; empty if it has ended."""
    try:
        with open("/proc/%s/%s" % (pid, name)) as file:
            return file.read()
    except OSError:
        return ""
