# SPDX-License-Identifier: MIT
"""Progress of a run: a table that is redrawn on a terminal; elsewhere one line for each event."""

import sys
import threading

COLOURS = {"v1": 117, "v2": 33, "v3": 208, "v4": 36}


class Show:
    def __init__(self, out=sys.stdout, terminal=None):
        self.out = out
        self.terminal = out.isatty() if terminal is None else terminal
        self.what, self._drawn, self._lock = "", 0, threading.Lock()

    def say(self, text):
        with self._lock:
            self._clear()
            print(text, file=self.out, flush=True)

    def step(self, fleet, what):
        self.what = what
        if not self.terminal:
            self.say(f"{clock(fleet.now())}  {what}")

    def event(self, fleet, device, event):
        text = words(event)
        if text and not self.terminal:
            self.say(f"{clock(fleet.now())}  {device.name}: {text}")

    def table(self, fleet):
        if not self.terminal:
            return
        with self._lock:
            rows = [f"{clock(fleet.now())}  {self.what}"[:78]]
            for device in fleet.devices:
                version, (phase, target) = fleet.running(device), fleet.phase(device)
                doing = phase if phase in (None, "idle", "off", "starting") else f"{phase} {target}"
                last = next((words(event) for event in reversed(device.events) if event["kind"] not in ("start", "die", "phase")), "")
                mark = f"\033[1;38;5;{COLOURS.get(version, 250)}m{version or '-':<3}\033[0m"
                rows.append(f"  {device.name:<6}{mark} {doing or '':<13}{device.link.down / 1000:7.0f} kB  {last[:40]}")
            self._clear()
            print("\n".join(rows), file=self.out, flush=True)
            self._drawn = len(rows)

    def _clear(self):
        if self._drawn:
            self.out.write(f"\033[{self._drawn}A\033[J")
            self._drawn = 0


def clock(seconds):
    return f"{int(seconds) // 60:2d}:{int(seconds) % 60:02d}"


def words(event):
    kind = event["kind"]
    if kind == "phase":
        return "" if event["phase"] == "idle" else f"{event['phase']} {event['version']}"
    if kind == "result":
        return event["text"].removeprefix("app: ")
    return "" if kind in ("start", "die") else kind.replace("-", " ")
