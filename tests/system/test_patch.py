# SPDX-License-Identifier: MIT
"""pullet-fetch applies a patch in a process that can do nothing else, and finds the delta between two images."""
import base64
import hashlib
import json
import os
import pathlib
import random
import signal
import socket
import struct

import pytest

from registryd import OCI_INDEX, OCI_MANIFEST, Answer, index, manifest, on
from test_fetch import Child, check_memory, environment, fetch, registry  # noqa: F401
from test_unpack import MIB, text, zstd

WINDOW_LOG = 21
TYPE = "application/vnd.pullet.delta.v1"


def number(*values):
    out = bytearray()
    for value in values:
        while value > 127:
            out.append(value & 127 | 128)
            value >>= 7
        out.append(value)
    return bytes(out)


def pack(old_size, new_size, control=b"", runs=b"", values=b"", literal=b"", window_log=0):
    frames = [zstd(stream, window_log=window_log, size=not window_log) for stream in (control, runs, values, literal)]
    return b"PLD1\n\0\0\0" + struct.pack("<6Q", old_size, new_size, *map(len, frames)) + b"".join(frames)


def literal(new, old_size=0):
    return pack(old_size, len(new), number(0, len(new), 0), literal=new)


class Patching:
    """A request to patch. Reads the pipe to its end unless read=False."""

    def __init__(self, fetch, old, patch, parts=None, max_bytes=2**40, measured=False, read=True, prefix=()):
        self.child = Child(fetch.config, measured, fetch.options, "registry.example", prefix)
        (fetch.directory / "old").write_bytes(old)
        (fetch.directory / "patch").write_bytes(patch)
        self.pipe, theirs = os.pipe()
        parts = [[0, len(old)]] if parts is None else parts
        with open(fetch.directory / "old", "rb") as old, open(fetch.directory / "patch", "rb") as patch:
            patch.seek(3)  # wherever the caller's offset is
            line = json.dumps({"op": "patch", "old": parts, "max": max_bytes}).encode() + b"\n"
            socket.send_fds(self.child.ours, [line], [old.fileno(), patch.fileno(), theirs])
        os.close(theirs)
        self.new, self.fetch = b"", fetch
        if not read:
            return
        digest, self.size = hashlib.sha256(), 0
        while piece := os.read(self.pipe, 65536):
            digest.update(piece)
            self.size += len(piece)
            self.new += piece if self.size < MIB else b""
        self.digest = digest.digest()
        self.reply = self.child.receive()
        self.end()

    def end(self):
        os.close(self.pipe)
        out, self.fetch.stderr = self.child.end()
        self.fetch.rss_kb = int(out.split()[-1]) if out else None
        assert self.child.proc.returncode == 0, self.fetch.stderr

    def failed(self, code, *texts):
        assert self.reply["error"]["code"] == code, self.reply
        for part in texts:
            assert part in self.reply["error"]["text"], self.reply


def test_applied(fetch):
    patched = Patching(fetch, b"The quick fox", pack(13, 14, number(13, 1, 0), number(7, 2, 4, 0), b"\x02\x09", b"!"))
    assert patched.reply == {"bytes": 14}
    assert patched.new == b"The quiet fox!"


def test_parts_of_the_old_file(fetch):
    patch = pack(8, 8, number(8, 0, 0), number(8, 0))
    assert Patching(fetch, b"0123456789", patch, [[7, 3], [0, 2], [7, 3]]).new == b"78901789"


def test_nothing_is_made(fetch):
    assert Patching(fetch, b"", pack(0, 0), []).reply == {"bytes": 0}


@pytest.mark.parametrize("patch, code, why", [
    (b"", "EBADMSG", "header"),
    (b"PLD1\n\0\0\0", "EBADMSG", "header"),
    (literal(b"new")[:-1], "EBADMSG", "not the rest of it"),
    (literal(b"new", old_size=4), "EBADMSG", "for old data of 4 bytes, not 3"),
    (pack(3, 1001, number(0, 1001, 0), literal=bytes(1001)), "EFBIG", "more than the 1000"),
    (pack(3, 4, number(4, 0, 0), number(4, 0)), "EBADMSG", "copies more"),
    (pack(3, 9, number(0, 9, 0), literal=b"12345678"), "EBADMSG", "literal stream ends too early"),
], ids=["empty", "short", "cut", "of-another", "max", "outside", "ends-early"])
def test_refused(fetch, patch, code, why):
    patched = Patching(fetch, b"old", patch, max_bytes=1000)
    patched.failed(code, why)
    assert len(patched.new) <= 1000


def test_window(fetch):
    data = random.Random(1).randbytes(3 * MIB)
    good, bad = (pack(0, len(data), number(0, len(data), 0), literal=data, window_log=log) for log in (WINDOW_LOG, WINDOW_LOG + 1))
    assert Patching(fetch, b"", good).digest == hashlib.sha256(data).digest()
    Patching(fetch, b"", bad).failed("EBADMSG", "too much memory")


def test_memory(fetch):
    """100 MB, and four windows of 2 MiB that are all used: a million small operations behind one large copy."""
    old, n = text(MIB) * 100, 1300000
    back = 2 * len(old) - 1
    patch = pack(len(old), len(old) + 6 * n, number(len(old), 0, back) + number(4, 2, 7) * n,
                 number(len(old), 0) + number(2, 2) * n, b"\x01\x02" * n, b"xy" * n, WINDOW_LOG)
    unit = old[:2] + bytes([(old[2] + 1) & 255, (old[3] + 2) & 255]) + b"xy"
    patched = Patching(fetch, old, patch, measured=True)
    assert patched.reply == {"bytes": len(old) + 6 * n}
    assert patched.digest == hashlib.sha256(old + unit * n).digest()
    check_memory(fetch)


def status(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


class Blocked(Patching):
    """In the middle of a patch, since the pipe is full."""

    def __init__(self, fetch):
        super().__init__(fetch, b"", literal(bytes(MIB)), [], read=False)
        self.new = os.read(self.pipe, 1)
        self.pid = self.child.proc.pid

    def hang_up(self):
        """It ends by itself, though the pipe stays open and is not read, and not by a system call that its filter forbids."""
        self.child.ours.close()
        assert self.child.proc.wait(100) == 1


def test_a_filter_holds_it(fetch):
    blocked = Blocked(fetch)
    state = status(blocked.pid)
    assert (state["Seccomp"], state["NoNewPrivs"]) == ("2", "1"), state
    blocked.hang_up()


def test_caller_that_hangs_up(fetch):
    blocked = Blocked(fetch)
    blocked.hang_up()
    os.close(blocked.pipe)


def test_reader_that_stops(fetch):
    blocked = Blocked(fetch)
    os.close(blocked.pipe)
    assert blocked.child.receive()["error"]["code"] == "EPIPE"
    blocked.child.end()
    assert blocked.child.proc.returncode == 0


def test_sigterm(fetch):
    blocked = Blocked(fetch)
    blocked.child.proc.send_signal(signal.SIGTERM)
    assert blocked.child.receive()["error"]["code"] == "ECANCELED"
    blocked.child.end()


@pytest.mark.parametrize("files", [0, 2])
def test_without_its_files(fetch, files):
    child = Child(fetch.config, options=fetch.options, host="registry.example")
    with open(fetch.directory / "file", "w+b") as file:
        socket.send_fds(child.ours, [b'{"op": "patch", "old": [], "max": 1}\n'], [file.fileno()] * files)
        assert child.receive()["error"]["code"] == "EBADMSG"
    child.end()


def test_ends_after_one_patch(fetch):
    patched = Patching(fetch, b"", literal(bytes(MIB)), [], read=False)
    socket.send_fds(patched.child.ours, [b'{"op": "patch", "old": [], "max": 1}\n'], [])
    while os.read(patched.pipe, 65536):
        pass
    assert patched.child.receive() == {"bytes": MIB}
    with pytest.raises(ConnectionResetError):
        patched.child.receive()
    patched.end()


def test_a_process_that_has_asked_a_registry_applies_nothing(fetch, registry):
    child = Child(fetch.config, options=fetch.options, host=registry.host)
    child.send({"op": "resolve", "image": f"{registry.host}/app"})
    assert child.receive()["error"]["code"] == "ENOENT"
    with open(fetch.directory / "file", "w+b") as file:
        socket.send_fds(child.ours, [b'{"op": "patch", "old": [], "max": 1}\n'], [file.fileno()] * 3)
        assert child.receive()["error"]["code"] == "EPERM"
    child.end()


def test_not_in_a_batch(fetch):
    child = Child(fetch.config, options=fetch.options, host="registry.example")
    with open(fetch.directory / "file", "w+b") as file:
        lines = b'{"op": "patch", "old": [], "max": 1, "more": true}\n{"op": "check", "image": "registry.example/app"}\n'
        socket.send_fds(child.ours, [lines], [file.fileno()] * 3)
        assert child.receive()["error"]["code"] == "EPERM"
        assert child.receive() == {}
    child.end()


# The delta beside an image

FROM, TO = ("sha256:" + digit * 64 for digit in "fe")
TAG = "delta-" + "f" * 32 + "-" + "e" * 32
DELTA = {"shared": 1, "sizes": [10240, 2048]}


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def artifact(patch, embedded=False, annotations=(), layer=(), **changes):
    described = {"mediaType": TYPE, "digest": sha256(patch), "size": len(patch)}
    if embedded:
        described["data"] = base64.b64encode(patch).decode()
    notes = {"from": FROM, "to": TO, "shared": "1", "sizes": "10240,2048", **dict(annotations)}
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": TYPE,
                       "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": sha256(b"{}"), "size": 2, "data": "e30="},
                       "layers": [{**described, **dict(layer)}],
                       "annotations": {f"vnd.pullet.delta.{k}": v for k, v in notes.items() if v is not None},
                       **changes}).encode()


def ask(fetch, registry, source=FROM, target=TO):
    child = Child(fetch.config, options=fetch.options, host=registry.host)
    child.send({"op": "delta", "image": f"{registry.host}/app:stable", "from": source, "to": target})
    reply = child.receive()
    fetch.stderr = child.end()[1]
    assert child.proc.returncode == 0, fetch.stderr
    return reply


def test_no_delta(fetch, registry):
    assert ask(fetch, registry) == {"delta": None}
    assert [(seen.method, seen.path) for seen in registry.seen] == [("GET", f"/v2/app/manifests/{TAG}")]


def test_delta(fetch, registry):
    patch = b"a patch" * 1000
    registry.put("app", TAG, artifact(patch), OCI_MANIFEST)
    assert ask(fetch, registry) == {"delta": {"digest": sha256(patch), "size": 7000, **DELTA}}
    assert len(registry.methods()) == 1
    assert ask(fetch, registry, TO, FROM) == {"delta": None}


@pytest.mark.parametrize("n", [1, 2048, 2049, 5000])
def test_small_delta_comes_along(fetch, registry, n):
    patch = bytes(i * 7 & 255 for i in range(n))
    registry.put("app", TAG, artifact(patch, True), OCI_MANIFEST)
    with_data = {"data": patch.hex()} if n <= 2048 else {}
    assert ask(fetch, registry) == {"delta": {"digest": sha256(patch), "size": n, **with_data, **DELTA}}


@pytest.mark.parametrize("changes, why", [
    ({"annotations": {"from": TO}}, "not between these two images"),
    ({"annotations": {"to": FROM}}, "not between these two images"),
    ({"annotations": {"from": None}}, "not between these two images"),
    ({"annotations": {"shared": None}}, "no number of layers"),
    ({"annotations": {"shared": "-1"}}, "no number of layers"),
    ({"annotations": {"shared": "1 "}}, "no number of layers"),
    ({"annotations": {"shared": "513"}}, "no number of layers"),
    ({"annotations": {"shared": "512"}}, "for more than an image has"),
    ({"annotations": {"shared": 1}}, "no number of layers"),
    ({"annotations": {"sizes": None}}, "no list of sizes"),
    ({"annotations": {"sizes": ""}}, "no list of sizes"),
    ({"annotations": {"sizes": "1,"}}, "no list of sizes"),
    ({"annotations": {"sizes": ",1"}}, "no list of sizes"),
    ({"annotations": {"sizes": "1;2"}}, "no list of sizes"),
    ({"annotations": {"sizes": "99999999999999999999"}}, "no list of sizes"),
    ({"annotations": {"sizes": "17179869184,1"}}, "more than 16 GiB"),
    ({"annotations": {"sizes": "1," * 512 + "1"}}, "no list of sizes"),
    ({"layer": {"mediaType": "application/octet-stream"}}, "its layer is of type"),
    ({"layer": {"size": 0}}, "no bytes"),
    ({"layer": {"size": -1}}, ""),
    ({"layer": {"digest": "sha256:1"}}, ""),
    ({"artifactType": "application/vnd.pullet.rollout.v1+json"}, "an artifact of type"),
    ({"layers": []}, "one layer"),
    ({"layers": [{}, {}]}, "one layer"),
], ids=lambda x: json.dumps(x)[:60] if isinstance(x, dict) else "")
def test_invalid_delta(fetch, registry, changes, why):
    registry.put("app", TAG, artifact(b"patch", **changes), OCI_MANIFEST)
    error = ask(fetch, registry)["error"]
    assert error["code"] == "EBADMSG"
    assert f"app:{TAG}: " in error["text"] and why in error["text"]


@pytest.mark.parametrize("document, media_type", [
    (b"{", OCI_MANIFEST), (b"[]", OCI_MANIFEST), (manifest(), OCI_MANIFEST), (index([("linux/arm/v7", manifest())]), OCI_INDEX),
    (artifact(b"patch", more="x" * 2 * MIB), OCI_MANIFEST), (b"<html>", "text/html"),
], ids=["cut", "list", "image", "index", "too-large", "page"])
def test_what_is_no_delta(fetch, registry, document, media_type):
    registry.put("app", TAG, document, media_type)
    assert ask(fetch, registry)["error"]["code"] == "EBADMSG"


@pytest.mark.parametrize("http_status, code", [(401, "EACCES"), (403, "EACCES"), (500, "EREMOTEIO")])
def test_registry_that_refuses(fetch, registry, http_status, code):
    registry.hooks.append(on(path=f"/v2/app/manifests/{TAG}", answer=Answer(http_status)))
    assert ask(fetch, registry)["error"]["code"] == code


@pytest.mark.parametrize("question", [{}, {"from": FROM}, {"from": FROM, "to": "sha256:1"}, {"from": FROM, "to": 1}])
def test_invalid_question(fetch, registry, question):
    child = Child(fetch.config, options=fetch.options, host=registry.host)
    child.send({"op": "delta", "image": f"{registry.host}/app", **question})
    assert child.receive()["error"]["code"] == "EBADMSG"
    child.end()
