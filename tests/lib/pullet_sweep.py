# SPDX-License-Identifier: MIT
"""Starts, awaits and ends processes, and removes everything of a test, however it ended.

    pullet_sweep.py DIRECTORY    waits until standard input is closed, then ends all processes of the directory"""

import contextlib
import ctypes
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

CGROUPS = pathlib.Path("/sys/fs/cgroup")
MARK = "PULLET_LAB"  # in the environment of every process that we start


class LabError(Exception):
    """The machine lacks something that a test needs; the text says what and why."""


def processes_of(directory):
    """All processes with the path of directory on the command line or in the environment variable MARK, and all their
    descendants."""
    needle, mine = os.fsencode(directory), set()
    parents = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            command = pathlib.Path("/proc", entry, "cmdline").read_bytes()
            stat = pathlib.Path("/proc", entry, "stat").read_text()
            try:
                environment = pathlib.Path("/proc", entry, "environ").read_bytes()
            except PermissionError:
                environment = b""
        except OSError:
            continue
        state, parent = stat.rpartition(")")[2].split()[:2]
        if state == "Z":
            continue
        parents[int(entry)] = int(parent)
        if needle in command or os.fsencode(MARK + "=") + needle in environment:
            mine.add(int(entry))
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in mine} - mine
        mine |= more
        grown = bool(more)
    return mine


def own_line():
    """This process and its ancestors, which must not be ended."""
    line, pid = set(), os.getpid()
    while pid > 1:
        line.add(pid)
        try:
            stat = pathlib.Path("/proc", str(pid), "stat").read_text()
        except OSError:
            break
        pid = int(stat.rpartition(")")[2].split()[1])
    return line


def sweep(directory, spare=()):
    """Ends all processes of directory, and unmounts everything in it. -> pids that remain."""
    keep = own_line() | set(spare)
    left = set()
    for _ in range(100):
        left = processes_of(directory) - keep
        if not left:
            break
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    libc = ctypes.CDLL(None, use_errno=True)
    mounts = []
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        where = line.split()[4].encode().decode("unicode_escape")
        if where.startswith(os.fspath(directory) + "/"):
            mounts.append(where)
    for where in reversed(mounts):
        libc.umount2(os.fsencode(where), 2)  # MNT_DETACH
    return left


def remove_cgroups(containers):
    """Removes the cgroups of containers that have exited, by their ids."""
    for identity in containers:
        for where in (*CGROUPS.glob("*/docker/" + identity), *CGROUPS.glob("docker/" + identity)):
            with contextlib.suppress(OSError):
                where.rmdir()


def remove(directory, spare=()):
    """sweep(), then removes the directory and the cgroups of its containers."""
    directory = pathlib.Path(directory)
    sweep(directory, spare)
    remove_cgroups(path.name for path in directory.glob("*/data/containers/*"))
    for _ in range(20):
        shutil.rmtree(directory, ignore_errors=True)
        if not directory.exists():
            return
        time.sleep(0.05)


def stop_process(process, seconds=10.0, sign=signal.SIGTERM):
    """SIGTERM, then SIGKILL to its whole process group."""
    if process is None or process.poll() is not None:
        return
    process.send_signal(signal.SIGCONT)
    process.send_signal(sign)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(what, condition, seconds=60.0, pause=0.02):
    """Returns the first true value of condition(). For conditions without an event."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise LabError(f"waited {seconds:g} s in vain: {what}")
        time.sleep(pause)


def tail(path, lines=15):
    try:
        return "\n".join(pathlib.Path(path).read_text(errors="replace").splitlines()[-lines:])
    except OSError as error:
        return str(error)


def handle_signals():
    """SIGTERM and SIGHUP end this program like Ctrl-C: through every finally and atexit."""
    def leave(number, _frame):
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)


def _guard(directory):
    """Sleeps until the pipe from the Lab closes, however the Lab ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.read(0, 4096):
        pass
    if os.path.isdir(directory):
        remove(directory)


if __name__ == "__main__":
    _guard(sys.argv[1])
