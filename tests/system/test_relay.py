# SPDX-License-Identifier: MIT
"""The relay itself, which other tests count with."""

import contextlib
import http.client
import os
import pathlib
import socket
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from pullet_lab import Lab  # noqa: E402
from pullet_relay import Relay, fastest  # noqa: E402
from pullet_sweep import wait_for  # noqa: E402
from registryd import Answer, Registry  # noqa: E402

BODY = os.urandom(300_000)


class Server(Registry):
    def serve(self, seen):
        start = int(seen.headers.get("Range", "bytes=0-")[6:-1])
        return Answer(206 if start else 200, {}, BODY[start:])


@pytest.fixture(scope="module")
def lab():
    with Lab() as lab:
        yield lab


@pytest.fixture
def server():
    with Server() as server:
        yield server


def get(relay, start=0):
    """-> the bytes that arrived; a reset is an end."""
    connection, out = http.client.HTTPConnection(relay.address, timeout=30), b""
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", "/v2/x/blobs/y", headers={"Range": f"bytes={start}-"} if start else {})
        response = connection.getresponse()
        while more := response.read1(65536):
            out += more
    return out


def test_cuts_lose_nothing_that_was_counted(lab, server):
    relay, have = Relay(lab, server.host, cut_every=70_000, refusals=1, http=True), b""
    while len(have) < len(BODY):
        have += get(relay, len(have))
    relay.settle()
    assert have == BODY and relay.cuts == 4
    seen = [request for request in relay.requests if request.status]
    assert relay.connections - len(seen) == 4  # the refused ones
    assert relay.down == sum(request.down for request in seen)
    assert 0 < relay.down - len(BODY) < 300 * len(seen)  # the headers
    assert [request.offset for request in seen][0] == 0 and seen[-1].offset > 200_000
    assert [request.status for request in seen] == [200] + [206] * (len(seen) - 1)


def test_a_registry_without_ranges(lab, server):
    relay = Relay(lab, server.host, http=True)
    assert get(relay, 100) == BODY[100:]
    relay.ranges = False
    assert get(relay, 100) == BODY
    assert [request.range for request in relay.requests] == ["bytes=100-"] * 2


def test_drops_stalls_and_marks(lab, server):
    relay, happened = Relay(lab, server.host), []
    relay.at(100_000, lambda: happened.append(relay.arrived()) or relay.drop())
    first = get(relay)
    assert happened == [100_000] and 99_000 < len(first) < 100_000
    assert get(relay) == b""  # it is away
    relay.mend()
    assert get(relay) == BODY
    relay.settle()
    assert 0 < relay.down - len(BODY) - 100_000 < 300


def test_a_mark_waits_until_the_client_has_read(lab, server):
    relay, happened = Relay(lab, server.host), threading.Event()
    relay.at(20_000, happened.set)
    with socket.create_connection(("127.0.0.1", int(relay.address.split(":")[1]))) as client:
        client.sendall(b"GET /v2/x/blobs/y HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for("the bytes", lambda: relay.arrived() == 20_000)
        assert len(client.recv(19_999, socket.MSG_WAITALL)) == 19_999
        assert not happened.wait(0.2)
        assert len(client.recv(1)) == 1 and happened.wait(5)


def test_what_a_client_that_died_did_not_get_is_not_counted(lab, server):
    relay = Relay(lab, server.host, http=True)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        client.connect(("127.0.0.1", int(relay.address.split(":")[1])))
        client.sendall(b"GET /v2/x/blobs/y HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(1000)
    relay.settle()
    assert relay.down == relay.requests[0].down < 100_000


def test_the_line_is_exact(lab, server):
    relay = Relay(lab, server.host, line=200_000)
    with relay.record(0.02) as points:
        start = time.monotonic()
        assert get(relay) == BODY
    assert time.monotonic() - start >= 1.5
    assert fastest(points, 0.5) <= 130_000
