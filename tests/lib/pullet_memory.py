# SPDX-License-Identifier: MIT
"""Memory use of processes."""

import contextlib
import os
import pathlib
import re
import threading


class Watcher:
    """Samples a process and its descendants, and keeps the peak memory of each program (kB)."""

    def __init__(self, pid):
        self.pid, self.peaks = pid, {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()

    def _family(self):
        family, new = [], [self.pid]
        while new:
            family += new
            found = []
            for pid in new:
                with contextlib.suppress(OSError):
                    found += map(int, pathlib.Path(f"/proc/{pid}/task/{pid}/children")
                                 .read_text().split())
            new = found
        return family

    def _watch(self):
        while not self._end.wait(0.003):
            for pid in self._family():
                with contextlib.suppress(OSError):
                    name = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
                    status = pathlib.Path(f"/proc/{pid}/status").read_text()
                    found = re.search(r"VmHWM:\s+(\d+)", status)
                    if found:  # it may have just exited
                        self.peaks[name] = max(int(found[1]), self.peaks.get(name, 0))


def private_memory(pid, kinds="Clean|Dirty|Hugetlb"):
    """The unique set size (USS) of this process in kB."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(map(int, re.findall(rf"^Private_(?:{kinds}):\s+(\d+)", text, re.M)))


def resident_memory(pid):
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Rss:\s+(\d+)", text, re.M)[1])
