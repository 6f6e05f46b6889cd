# SPDX-License-Identifier: MIT
"""A proxy between the agent and the engine that acts just before or just after one call, so that a test can reproduce
every moment of an update."""

import contextlib
import os
import re
import threading
from dataclasses import dataclass

from pullet_versions import VersionProxy

HANG, CUT = "hang", "cut"  # what strike() may return, beside (status, message)


@dataclass
class Call:
    number: int  # of all calls
    change: int  # counts only calls that change something; None for the others
    method: str
    path: str  # without version and query
    done: bool = False  # the engine has done it, its response is not delivered yet

    def __str__(self):
        return f"{self.method} {re.sub('[0-9a-f]{64}', 'ID', self.path)}"


CHANGES = (  # of an update that succeeds, with download = engine
    "POST /images/create", "POST /images/sha256:ID/tag", "POST /containers/create",
    "POST /images/sha256:ID/tag", "POST /containers/ID/update", "POST /containers/ID/rename",
    "POST /containers/ID/rename", "POST /containers/ID/stop", "POST /containers/ID/start",
    "POST /containers/ID/update", "POST /images/sha256:ID/tag", "POST /images/sha256:ID/tag",
    "DELETE /containers/ID")


@dataclass(frozen=True)
class Moment:
    """Just before, or just after, the nth change."""
    change: int
    done: bool
    name: str

    def __str__(self):
        return self.name

    def is_at(self, call):
        return (call.change, call.done) == (self.change, self.done)


# One of each phase, and those with the fewest running containers.
PULLING, MADE, ASIDE, DOWN, ON_TRIAL, WON, TAGGED, CLEANING = (
    Moment(1, False, "pulling"), Moment(3, True, "made"), Moment(6, True, "aside"),
    Moment(9, False, "down"), Moment(9, True, "on trial"), Moment(10, True, "won"), Moment(12, True, "tagged"),
    Moment(13, False, "cleaning"))
EVERY = tuple(Moment(n, done, f"{'after' if done else 'before'} {n} {text}")
              for n, text in enumerate(CHANGES, 1) for done in (False, True))


def moments(few):
    """The moments that a test uses: a few, or every one with PULLET_EVERY_MOMENT=1."""
    return EVERY if os.environ.get("PULLET_EVERY_MOMENT") == "1" else few


class Meddler(VersionProxy):
    """strike(call) is called before (call.done: after) each call. Its return value decides what happens to the call:
    None: it is passed on; HANG: it is never answered; CUT: the connection is closed without a response; (status,
    message): the engine's error. calls: all calls so far."""

    def __init__(self, path, engine, strike=lambda call: None, **versions):
        self.url = f"unix://{path}"
        # Moments are counted in an update that the engine downloads.
        self.agent = {"engine": self.url, "download": "engine"}
        self.strike, self.calls, self.faults = strike, [], []
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        super().__init__(path, engine.socket, **versions)

    def stop(self):
        self._stopped.set()
        super().stop()

    def strike_at(self, moment, deed):
        """Acts once; the return value is as for strike. -> a list that contains the call afterwards."""
        struck = []

        def strike(call):
            if not struck and moment.is_at(call):
                struck.append(str(call))
                return deed()
            return None

        self.strike = strike
        return struck

    def changes(self):
        return [str(call) for call in self.calls if call.change]

    def forward(self, client, request):
        head, _, body = request.partition(b"\r\n\r\n")
        method, path = head.decode("latin-1").split(" ")[:2]
        path = re.sub(r"^/v[0-9.]+", "", path).partition("?")[0]
        with self._lock:
            change = len(self.changes()) + 1 if method != "GET" else None
            call = Call(len(self.calls) + 1, change, method, path)
            self.calls.append(call)
        if self.meddle(client, call):
            return
        if path == "/events":
            super().forward(client, request)
            return
        length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.I)
        while length and len(body) < int(length[1]):
            more = client.recv(65536)
            body += more
            request += more
        answer = b""
        with self.connect() as real:
            real.sendall(request)
            while data := real.recv(65536):
                answer += data
        call.done = True
        if not self.meddle(client, call):
            client.sendall(answer)

    def meddle(self, client, call):
        """True if the call has been answered or dropped."""
        try:
            what = self.strike(call)
        except Exception as error:  # for the test to see
            self.faults.append(error)
            raise
        if what is None:
            return False
        if what == HANG:
            client.settimeout(0.5)
            while not self._stopped.is_set():
                with contextlib.suppress(TimeoutError):
                    if not client.recv(1):
                        break
        elif what != CUT:
            self.answer(client, what[0], {"message": what[1]})
        return True
