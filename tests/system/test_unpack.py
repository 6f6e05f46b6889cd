# SPDX-License-Identifier: MIT
"""pullet-fetch turns a layer in zstd into a plain tar."""
import array
import ctypes
import fcntl
import json
import os
import random
import socket

import pytest

from test_fetch import Child, check_memory, environment, fetch, registry, sanitized  # noqa: F401

ZSTD = ctypes.CDLL("libzstd.so.1")
for name in ("ZSTD_createCCtx", "ZSTD_compressBound", "ZSTD_compress2"):
    getattr(ZSTD, name).restype = ctypes.c_size_t
LEVEL, WINDOW_LOG, CONTENT_SIZE, CHECKSUM = 100, 101, 200, 201
MIB = 1024 * 1024


def zstd(data, level=3, window_log=0, size=False, checksum=False):
    """One frame; without its size, as from a stream."""
    context = ctypes.c_void_p(ZSTD.ZSTD_createCCtx())
    for parameter, value in ((LEVEL, level), (WINDOW_LOG, window_log), (CONTENT_SIZE, size), (CHECKSUM, checksum)):
        ZSTD.ZSTD_CCtx_setParameter(context, parameter, int(value))
    bound = ZSTD.ZSTD_compressBound(ctypes.c_size_t(len(data)))
    out = ctypes.create_string_buffer(bound)
    n = ZSTD.ZSTD_compress2(context, out, ctypes.c_size_t(bound), data, ctypes.c_size_t(len(data)))
    ZSTD.ZSTD_freeCCtx(context)
    assert n <= bound
    return out.raw[:n]


def skippable(data):
    return b"\x50\x2a\x4d\x18" + len(data).to_bytes(4, "little") + data


def text(n, seed=1):
    """n bytes that take some work: words in a random order."""
    r = random.Random(seed)
    words = [r.randbytes(r.randrange(3, 40)) for _ in range(500)]
    return b"".join(r.choices(words, k=n // 20 + 1))[:n].ljust(n, b"x")


class Unpacked:
    def __init__(self, fetch, packed, max_bytes=2**62, measured=False, before=b"left from before"):
        self.fetch, self.directory = fetch, fetch.directory
        self.child = Child(fetch.config, measured, fetch.options, "registry.example")
        (self.directory / "in").write_bytes(packed)
        (self.directory / "out").write_bytes(before)
        self.files = [open(self.directory / "in", "rb"), open(self.directory / "out", "r+b")]
        for file in self.files:
            file.seek(3)  # wherever the caller's offset is
        self.request(max_bytes, self.files)
        self.reply = self.child.receive()
        out, fetch.stderr = self.child.end()
        assert self.child.proc.returncode == 0, fetch.stderr
        if measured:
            fetch.rss_kb = int(out.split()[-1])

    def request(self, max_bytes, files):
        line = json.dumps({"op": "unpack", "max": max_bytes}).encode() + b"\n"
        descriptors = array.array("i", [f.fileno() for f in files])
        self.child.ours.sendmsg([line], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)] if files else [])

    @property
    def out(self):
        return (self.directory / "out").read_bytes()

    def failed(self, code, *texts):
        assert self.reply["error"]["code"] == code, self.reply
        for part in texts:
            assert part in self.reply["error"]["text"], self.reply


DATA = text(300000)
CHECKED = zstd(DATA, checksum=True)


@pytest.mark.parametrize("packed, data", [
    (zstd(DATA), DATA),
    (zstd(DATA, size=True, checksum=True), DATA),
    (zstd(DATA) + zstd(b"") + zstd(DATA[::-1], 19), DATA + DATA[::-1]),
    (skippable(b"TOC") + zstd(DATA) + skippable(bytes(100000)) + zstd(b"x"), DATA + b"x"),
    (zstd(DATA + bytes(1000000)), DATA + bytes(1000000)),  # output without input
    (zstd(b""), b""),
    (zstd(DATA[:65536]), DATA[:65536]),
    (zstd(DATA[:131072]) * 3, DATA[:131072] * 3),
], ids=["frame", "sized", "frames", "skippable", "zeros", "empty", "piece", "pieces"])
def test_unpacked(fetch, packed, data):
    unpacked = Unpacked(fetch, packed)
    assert unpacked.reply == {"bytes": len(data)}
    assert unpacked.out == data


@pytest.mark.parametrize("packed", [
    b"", b"\x28", DATA, zstd(DATA)[:-1], zstd(DATA)[:1000], zstd(DATA) + b"\x00", zstd(DATA) + b"garbage",
    zstd(DATA) + skippable(b"more")[:-1], CHECKED[:1000] + bytes([CHECKED[1000] ^ 1]) + CHECKED[1001:],
    CHECKED[:-1] + bytes([CHECKED[-1] ^ 1]), b"\x1f\x8b\x08" + bytes(20),
], ids=["empty", "start", "plain", "cut", "cut-early", "nul", "garbage", "cut-skippable", "other", "checksum", "gzip"])
def test_what_is_no_zstd(fetch, packed):
    Unpacked(fetch, packed).failed("EBADMSG", "zstd")


def test_the_most_bytes_that_are_taken(fetch):
    packed = zstd(DATA)
    assert Unpacked(fetch, packed, len(DATA)).reply == {"bytes": len(DATA)}
    less = Unpacked(fetch, packed, len(DATA) - 1)
    less.failed("EFBIG", f"more than {len(DATA) - 1} bytes")
    assert len(less.out) < len(DATA)


def test_a_bomb(fetch):
    bomb = zstd(bytes(64 * MIB))
    assert len(bomb) * 1032 < 64 * MIB
    unpacked = Unpacked(fetch, bomb, measured=True)
    unpacked.failed("EFBIG", f"more than {1032 * len(bomb)} bytes")
    assert len(unpacked.out) <= 1032 * len(bomb)
    check_memory(fetch)


@pytest.mark.parametrize("window_log, fits", [(23, True), (24, False)])
def test_window(fetch, window_log, fits):
    data = text(MIB) * 20
    unpacked = Unpacked(fetch, zstd(data, window_log=window_log), measured=True)
    if fits:
        assert unpacked.reply == {"bytes": len(data)}
        assert unpacked.out == data
    else:
        unpacked.failed("EKEYREJECTED", "window over 8 MiB")
    check_memory(fetch)


@pytest.mark.parametrize("files", [0, 1])
def test_without_two_files(fetch, files):
    child = Child(fetch.config, options=fetch.options, host="registry.example")
    with open(fetch.directory / "in", "w+b") as file:
        line = b'{"op": "unpack", "max": 1}\n'
        socket.send_fds(child.ours, [line], [file.fileno()] * files)
        assert child.receive()["error"]["code"] == "EBADMSG"
    child.end()


def test_a_process_that_has_asked_a_registry_unpacks_nothing(fetch, registry):
    child = Child(fetch.config, options=fetch.options, host=registry.host)
    child.send({"op": "resolve", "image": f"{registry.host}/app"})
    assert child.receive()["error"]["code"] == "ENOENT"
    with open(fetch.directory / "in", "w+b") as file:
        socket.send_fds(child.ours, [b'{"op": "unpack", "max": 1}\n'], [file.fileno()] * 2)
        assert child.receive()["error"]["code"] == "EPERM"
    child.end()


def test_a_file_that_cannot_grow(fetch):
    """As on a full disk."""
    child = Child(fetch.config, options=fetch.options, host="registry.example")
    (fetch.directory / "in").write_bytes(zstd(DATA))
    with open(fetch.directory / "in", "rb") as packed, os.fdopen(os.memfd_create("out", os.MFD_ALLOW_SEALING), "r+b") as out:
        out.truncate(100000)
        fcntl.fcntl(out, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        socket.send_fds(child.ours, [b'{"op": "unpack", "max": 1000000}\n'], [packed.fileno(), out.fileno()])
        assert child.receive()["error"]["code"] == "EPERM"
    child.end()


def test_a_caller_that_hangs_up(fetch):
    """Ends a long unpacking: the process does not go on to the end of the file."""
    child = Child(fetch.config, options=fetch.options, host="registry.example")
    (fetch.directory / "in").write_bytes(zstd(text(MIB)) * 3000)
    with open(fetch.directory / "in", "rb") as packed, open(fetch.directory / "out", "w+b") as out:
        socket.send_fds(child.ours, [b'{"op": "unpack", "max": 4611686018427387904}\n'], [packed.fileno(), out.fileno()])
        while os.fstat(out.fileno()).st_size < MIB:
            pass
        child.end()
    assert (fetch.directory / "out").stat().st_size < 3000 * MIB
