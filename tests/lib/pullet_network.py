# SPDX-License-Identifier: MIT
"""Network namespaces with only loopback. Threads have theirs from the thread that started them, programs likewise."""

import contextlib
import ctypes
import os
import subprocess

CLONE_NEWNET = 0x40000000


def _call(name, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments):
        raise OSError(ctypes.get_errno(), f"{name}, for a network namespace: {os.strerror(ctypes.get_errno())}")


@contextlib.contextmanager
def own_network():
    """All that is started within is in a namespace of its own, sockets of this thread included."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _call("unshare", CLONE_NEWNET)
        try:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            yield
        finally:
            try:
                _call("setns", home, CLONE_NEWNET)
            except OSError:
                os._exit(1)  # everything after this would run in the wrong namespace
    finally:
        os.close(home)
