# SPDX-License-Identifier: MIT
"""A terminal that shows what a command writes to it."""

import contextlib
import os
import pty


def on_terminal(start, seconds=120):
    """start(slave) starts the command with that end of a terminal. -> (the process, its standard output, what the terminal got)"""
    master, slave = pty.openpty()
    process = start(slave)
    os.close(slave)
    seen = ""
    with contextlib.suppress(OSError):  # the end of a terminal
        while data := os.read(master, 4096):
            seen += data.decode()
    out, _ = process.communicate(timeout=seconds)
    os.close(master)
    return process, out, seen
