"""Places to measure in: a new file system on a loop device, or a plain folder.

    FILESYSTEMS="ext4 btrfs xfs"    file systems to measure on; `folder` is a plain folder below build/bench

A new file system is not slowed down by earlier use. It needs Linux, root, loop devices and the mkfs
program of its kind; without them, the measurements use a plain folder, and the results say so.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time

from corpora import BUILD

MKFS = {
    # Without lazy initialization, which would run in the background during the measurement.
    "ext4": ["mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0"],
    "btrfs": ["mkfs.btrfs", "-q"],
    "xfs": ["mkfs.xfs", "-q"],
}
SIZE = 128 << 30  # sparse


class Place:
    def __init__(self, path, kind, medium):
        self.path = path
        self.kind = kind
        self.medium = medium


def chosen():
    """The kinds to measure on that can be created here; the first is the main one."""
    wanted = os.environ.get("FILESYSTEMS", "ext4 btrfs xfs").split()
    able = [kind for kind in wanted if kind == "folder" or not missing(kind)]
    for kind in wanted:
        if kind not in able:
            print("!!! without %s: %s" % (kind, missing(kind)), file=sys.stderr, flush=True)
    if not able:
        print("!!! measuring in a plain folder", file=sys.stderr, flush=True)
    return able or ["folder"]


def missing(kind):
    """Why a file system of this kind cannot be created here; empty if it can."""
    if kind not in MKFS:
        return "unknown kind of file system"
    if os.geteuid() != 0:
        return "only root can mount"
    for program in (MKFS[kind][0], "losetup", "mount"):
        if shutil.which(program) is None:
            return program + " is not installed"
    return "" if os.path.exists("/dev/loop-control") else "no loop devices"


def free():
    """Available bytes, less a reserve for other users of the disk."""
    os.makedirs(BUILD, exist_ok=True)
    return int(shutil.disk_usage(BUILD).free * 0.9)


@contextlib.contextmanager
def fresh(kind):
    """A new `Place` of this kind, removed at the end even after an error."""
    os.makedirs(BUILD, exist_ok=True)
    work = tempfile.mkdtemp(prefix="run-", dir=BUILD)
    try:
        if kind == "folder":
            yield Place(work, kind_of(work), "folder")
        else:
            with mounted(kind, work) as (path, direct):
                yield Place(path, kind, "loop device, direct I/O" if direct else "loop device")
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextlib.contextmanager
def mounted(kind, work):
    image, path = os.path.join(work, "image"), os.path.join(work, "mounted")
    os.mkdir(path)
    with open(image, "w") as file:
        file.truncate(SIZE)
    subprocess.check_call(MKFS[kind] + [image], stdout=subprocess.DEVNULL)
    attach = ["losetup", "--find", "--show"]
    try:
        # Without direct I/O, everything would be in the page cache twice.
        device = output_of(attach + ["--direct-io=on", image])
        direct = True
    except subprocess.CalledProcessError:
        device = output_of(attach + [image])
        direct = False
    try:
        subprocess.check_call(["mount", "-t", kind, device, path])
    finally:
        # The device is in use until it is unmounted; the kernel then frees it.
        subprocess.check_call(["losetup", "-d", device])
    try:
        yield path, direct
    finally:
        for _ in range(20):
            if subprocess.call(["umount", path]) == 0:
                break
            time.sleep(0.5)
        else:
            sys.exit("%s is still mounted" % path)


def kind_of(path):
    return output_of(["stat", "-f", "-c", "%T", path]).replace("ext2/ext3", "ext4")


def output_of(command):
    return subprocess.check_output(command, stderr=subprocess.DEVNULL).decode().strip()
