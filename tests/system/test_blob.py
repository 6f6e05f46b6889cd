# SPDX-License-Identifier: MIT
"""Blobs brought into a file by pullet-fetch, over connections and registries that fail on the way."""
import json
import os
import re
import socket
import threading
import time

import pytest

import pullet_trace
from pullet_relay import Relay
from pullet_sweep import wait_for
from registryd import Answer, Registry, on, sha256
from test_fetch import PROGRAM, Child, certificate, check_memory, fetch, nowhere, registry  # noqa: F401
from test_http import docker_registry  # noqa: F401
from test_session import Tokens, cache, dropped_user  # noqa: F401

PIECE = 16 * 1024       # libcurl's
SYNC = 256 * 1024
DATA = bytes(os.urandom(4096)) * 25 + b"the end"  # 102,407 bytes
DIGEST = sha256(DATA)


class Blob:
    """Serves one blob. cut: bytes of a body after which the connection is closed, one for each answer; None: whole."""

    def __init__(self, registry, data=DATA, digest=None, ranges=True):
        self.registry, self.data, self.ranges = registry, data, ranges
        self.cuts, self.asked, self.sent = [], [], 0
        self.digest = digest or sha256(data)
        registry.hooks.append(on("GET", f"/blobs/{self.digest}", self.answer))

    def answer(self, seen):
        asked = seen.headers.get("Range")
        first = int(re.fullmatch(r"bytes=(\d+)-", asked).group(1)) if asked else 0
        self.asked.append(first)
        cut = self.cuts.pop(0) if self.cuts else None
        if asked and self.ranges and first >= len(self.data):
            return Answer(416, {"Content-Range": f"bytes */{len(self.data)}"})
        status, head = 200, ""
        if asked and self.ranges:
            status, head = 206, f"Content-Range: bytes {first}-{len(self.data) - 1}/{len(self.data)}\r\n"
        else:
            first = 0
        body = self.data[first:]
        part = body if cut is None else body[:cut]
        self.sent += len(part)

        def send(s):
            s.sendall(f"HTTP/1.1 {status} X\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + part)
            if cut is None:
                s.settimeout(10)
                s.recv(1)  # the client ends the connection
        return Answer(raw=send)


class Bring:
    """Requests of a blob on one connection; the file is as the last request left it."""

    def __init__(self, fetch, registry, directory):
        self.fetch, self.registry = fetch, registry
        self.path = directory / "spool.part"
        self.path.write_bytes(b"")
        self.child, self.took = None, None  # took: seconds of the last request

    def start(self, **options):
        self.child = Child(self.fetch.config, options=self.fetch.options, host=self.registry.host, **options)
        return self.child

    def send(self, fds, **fields):
        question = {"op": "blob", "image": f"{self.registry.host}/app", "digest": DIGEST, "size": len(DATA),
                    "offset": self.path.stat().st_size, "speed": 0, "allowance": 2**63 - 1, "ms": 60000,
                    "manifest": False, **fields}
        socket.send_fds(self.child.ours, [json.dumps(question).encode() + b"\n"], fds)

    def receive(self):
        self.progress = []
        while "progress" in (reply := self.child.receive()):
            self.progress.append(reply["progress"])
        return reply

    def __call__(self, **fields):
        if not self.child:
            self.start()
        with open(self.path, "rb+") as f:
            began = time.monotonic()
            self.send([f.fileno()], **fields)
            reply = self.receive()
            self.took = time.monotonic() - began
            return reply

    def fails(self, code, text="", **fields):
        reply = self(**fields)
        assert reply.get("error", {}).get("code") == code, reply
        assert text in reply["error"]["text"]
        return reply

    @property
    def data(self):
        return self.path.read_bytes()


@pytest.fixture
def bring(fetch, registry, tmp_path):
    bring = Bring(fetch, registry, tmp_path)
    yield bring
    if bring.child:
        bring.child.end()
        assert bring.child.proc.returncode == 0


def whole(reply, data=DATA):
    assert reply == {"bytes": len(data), "end": "whole"}
    return True


# The way of the bytes

def test_whole(bring, registry):
    blob = Blob(registry)
    assert whole(bring()) and bring.data == DATA
    seen = registry.seen[0]
    assert seen.path == f"/v2/app/blobs/{DIGEST}" and "Range" not in seen.headers and "Accept" not in seen.headers
    assert seen.headers["Accept-Encoding"] == "identity"
    # What is there already needs no request.
    assert whole(bring()) and len(blob.asked) == 1


@pytest.mark.parametrize("at", [0, 1, PIECE - 1, PIECE, PIECE + 1, SYNC - 1, SYNC, SYNC + 1, 2 * SYNC, 2 * SYNC + 6])
def test_cut_and_resumed(bring, registry, at):
    data = (DATA * 6)[:2 * SYNC + 7]
    blob = Blob(registry, data)
    blob.cuts = [at]
    assert whole(bring(digest=blob.digest, size=len(data)), data) and bring.data == data
    assert blob.asked == [0, at] and blob.sent == len(data)
    assert "If-Range" not in registry.seen[1].headers


def test_cut_all_the_time(bring, registry):
    blob = Blob(registry)
    blob.cuts = [5000] * 30
    assert whole(bring()) and bring.data == DATA
    assert blob.asked == list(range(0, len(DATA), 5000)) and blob.sent == len(DATA)


def test_three_attempts_in_vain(bring, registry):
    blob = Blob(registry)
    blob.cuts = [1000, 0, 0, 1000, 0, 0, 0]
    reply = bring.fails("ECONNRESET", f"{DIGEST}, 2000 of {len(DATA)} bytes")
    assert reply["bytes"] == 2000 and bring.data == DATA[:2000]
    assert blob.asked == [0, 1000, 1000, 1000, 2000, 2000, 2000]
    # The next request goes on there.
    assert whole(bring()) and bring.data == DATA and blob.sent == len(DATA)


@pytest.mark.parametrize("offset", [1, PIECE, len(DATA) - 1])
def test_what_is_there_is_not_fetched_again(bring, registry, offset):
    blob = Blob(registry)
    bring.path.write_bytes(DATA[:offset])
    assert whole(bring()) and bring.data == DATA
    assert blob.asked == [offset] and blob.sent == len(DATA) - offset


def test_no_server(bring):
    bring.path.write_bytes(DATA[:9])
    with socket.create_server(("127.0.0.1", 0)) as closed:
        host = "127.0.0.1:%d" % closed.getsockname()[1]
    bring.registry = type("Nowhere", (), {"host": host})
    assert bring.fails("ECONNREFUSED", "9 of")["bytes"] == 9


# Registries that answer something else

def test_answer_from_the_start_is_written_over(bring, registry):
    blob = Blob(registry, ranges=False)
    blob.cuts = [30000, 40000, 20000, 25000, 50000]
    assert whole(bring()) and bring.data == DATA
    assert blob.asked == [0, 30000, 40000, 40000, 40000, 50000]


@pytest.mark.parametrize("answer", [
    Answer(416), Answer(416, {"Content-Range": f"bytes */{len(DATA)}"}), Answer(206, {}, DATA[7:]),
    Answer(206, {"Content-Range": f"bytes 7-{len(DATA) - 1}/*"}, DATA[7:]),
    Answer(206, {"Content-Range": f"bytes 7-{len(DATA) - 1}/{len(DATA) + 1}"}, DATA[7:]),
    Answer(206, {"Content-Range": f"bytes 7-99/{len(DATA)}"}, DATA[7:100]),
    Answer(206, {"Content-Type": "multipart/byteranges; boundary=x"}, b"--x")],
    ids=["416", "416 with the size", "no range", "no size", "another size", "a part of it", "multipart"])
def test_registry_whose_ranges_are_of_no_use(bring, registry, answer):
    """Then the whole is asked for, also after a cut, and written over what is there."""
    blob = Blob(registry, ranges=False)
    registry.hooks.insert(0, lambda seen: answer if seen.headers.get("Range") else None)
    bring.path.write_bytes(DATA[:7])
    blob.cuts = [40000]
    assert whole(bring()) and bring.data == DATA
    assert blob.asked == [0, 0] and len(registry.seen) == 4


def test_slice_ends_where_the_registry_cannot_resume(bring, registry):
    """What began at the start goes on after the end of the slice: the next one would bring the same bytes."""
    slow = Slow(registry)
    bring.path.write_bytes(DATA[:50000])
    bring.start()
    with open(bring.path, "rb+") as f:
        slow.go.release(1)
        end = time.monotonic() + 4
        bring.send([f.fileno()], ms=3000, **{"ms-whole": 60000})
        wait_for("the end of the slice", lambda: time.monotonic() > end)
        slow.go.release(20)
        assert whole(bring.receive())
    assert bring.data == DATA and len(registry.seen) == 1


def test_registry_that_cannot_resume(bring, registry):
    blob = Blob(registry, ranges=False)
    bring.path.write_bytes(DATA[:50000])
    blob.cuts = [20000, 0, 30000]
    reply = bring.fails("EREMOTEIO", "this registry cannot resume")
    assert reply["bytes"] == 50000 and bring.data == DATA[:50000]
    assert whole(bring()) and bring.data == DATA


@pytest.mark.parametrize("value", [
    None, "", "bytes", "bytes 0-9", "bytes 7-102406/*", "bytes */102407", "octets 7-102406/102407",
    "bytes 0-102406/102407", "bytes 8-102406/102407", "bytes 7-102405/102407", "bytes 7-102407/102407",
    "bytes 7-102406/102407, bytes 7-102406/102407", "bytes 18446744073709551623-102406/102407"])
def test_wrong_content_range(bring, registry, value):
    answers = []

    def answer(seen):
        answers.append(seen)
        return Answer(206, {"Content-Range": value} if value is not None else {}, b"X" * (len(DATA) - 7))
    registry.hooks.append(on("GET", "/blobs/", answer))
    bring.path.write_bytes(DATA[:7])
    assert bring.fails("EPROTO", "127.0.0.1")["bytes"] == 7
    assert bring.data == DATA[:7] and len(answers) == 3


@pytest.mark.parametrize("size", [len(DATA) - 1, len(DATA) + 1])
@pytest.mark.parametrize("there", [0, 7])
def test_descriptor_of_another_size(bring, registry, size, there):
    """What headers claim costs no byte, on the way or of the file."""
    blob = Blob(registry)
    bring.path.write_bytes(DATA[:there])
    assert bring.fails("EPROTO", f"its blob has {len(DATA)} bytes", size=size)["bytes"] == there
    assert bring.data == DATA[:there] and blob.asked == [there, 0, there]


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "text/html; charset=utf-8", "Content-Length": len(DATA)}])
def test_login_page_of_a_hotel(bring, registry, headers):
    page = b"<html>Welcome"
    head = "".join(f"{k}: {v}\r\n" for k, v in {"Content-Length": len(page), **headers}.items()).encode()
    registry.hooks.append(on("GET", "/blobs/", Answer(raw=lambda s: s.sendall(
        b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + page))))
    bring.path.write_bytes(DATA[:5000])
    assert bring.fails("EPROTO")["bytes"] == 5000 and bring.data == DATA[:5000]
    registry.hooks.clear()
    Blob(registry)
    assert whole(bring()) and bring.data == DATA


def test_longer_without_a_length(bring, registry):
    registry.hooks.append(on("GET", "/blobs/", Answer(raw=lambda s: s.sendall(
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + DATA + b"X" * 500000))))
    assert bring.fails("EBADMSG", "more bytes")["bytes"] == 0
    assert bring.data == b""


def test_shorter_without_a_length(bring, registry):
    registry.hooks.append(on("GET", "/blobs/", lambda seen: Answer(416) if seen.headers.get("Range") else Answer(
        raw=lambda s: s.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + DATA[:-1]))))
    reply = bring.fails("EPROTO", "416")
    assert reply["bytes"] == len(DATA) - 1 and len(registry.seen) == 4


def test_other_bytes(bring, registry):
    other = bytes([DATA[0] ^ 1]) + DATA[1:]
    blob = Blob(registry, other, DIGEST)
    reply = bring.fails("EBADMSG", sha256(other))
    assert reply["bytes"] == 0 and bring.data == b""
    blob.data = DATA
    assert whole(bring()) and bring.data == DATA


def test_damage_of_what_was_there(bring, registry):
    Blob(registry)
    bring.path.write_bytes(b"X" + DATA[1:5000])
    assert bring.fails("EBADMSG")["bytes"] == 0
    assert whole(bring()) and bring.data == DATA


def test_other_encoding(bring, registry):
    registry.hooks.append(on("GET", "/blobs/", Answer(200, {"Content-Encoding": "gzip"}, DATA)))
    assert bring.fails("EPROTO", "Content-Encoding: gzip")["bytes"] == 0


def test_gone(bring, registry):
    bring.path.write_bytes(DATA[:7])
    assert bring.fails("ENOENT")["bytes"] == 7 and len(registry.seen) == 1


def test_busy(bring, registry):
    registry.hooks.append(on("GET", "/blobs/", Answer(429, {"Retry-After": "77"})))
    reply = bring.fails("EBUSY")
    assert reply["error"]["retry-after"] == 77 and reply["bytes"] == 0 and len(registry.seen) == 1


def test_document(bring, registry):
    document = json.dumps({"mediaType": "application/vnd.oci.image.index.v1+json"}).encode()
    digest = registry.put("app", "stable", document)
    bring.path.write_bytes(document[:9])
    assert whole(bring(manifest=True, digest=digest, size=len(document)), document)
    assert bring.data == document
    assert registry.seen[0].path == f"/v2/app/manifests/{digest}" and "Range" not in registry.seen[0].headers
    assert "oci.image.index" in registry.seen[0].headers["Accept"]


# Redirects, tokens, mirrors

def test_redirect_with_an_expiring_url(bring, registry):
    """Each attempt begins at the registry, and its token does not go on to the storage."""
    tokens = Tokens(registry)
    with Registry("127.0.0.2") as storage:
        blob = Blob(storage, digest="once")
        blob.cuts = [40000, 30000]
        urls = []

        def redirect(seen):
            urls.append(f"{storage.url}/blobs/once?{len(urls)}")
            return Answer(307, {"Location": urls[-1]}, b"<a href=>")
        registry.hooks.append(on("GET", "/blobs/", redirect))
        storage.hooks.insert(0, lambda seen: None if storage.url + seen.path == urls[-1] else Answer(403))
        registry.hooks.remove(tokens.guard)
        registry.hooks.insert(0, guard_blobs(tokens))
        assert whole(bring()) and bring.data == DATA
        assert blob.asked == [0, 40000, 70000] and len(urls) == 3
        assert [s.headers["Range"] for s in storage.seen[1:]] == ["bytes=40000-", "bytes=70000-"]
        assert not any(s.authorization for s in storage.seen)
        assert registry.seen[-1].authorization == "Bearer token1" and len(tokens.asked) == 1


def guard_blobs(tokens):
    """The tokens of Tokens, for blobs."""
    def guard(seen):
        if "/blobs/" not in seen.path or seen.authorization in tokens.valid:
            return None
        return Answer(401, {"WWW-Authenticate": f'Bearer realm="{tokens.realm}",service="s"'})
    return guard


def test_token_that_ends_in_the_middle(bring, registry):
    tokens = Tokens(registry)
    registry.hooks.remove(tokens.guard)
    registry.hooks.insert(0, guard_blobs(tokens))
    blob = Blob(registry)
    blob.cuts = [30000, 30000]
    answer = blob.answer

    def forget(seen):
        tokens.valid.clear()
        return answer(seen)
    registry.hooks[-1] = on("GET", "/blobs/", forget)
    assert whole(bring()) and bring.data == DATA
    assert blob.asked == [0, 30000, 60000] and len(tokens.asked) == 3 and blob.sent == len(DATA)


def with_mirror(fetch, registry, mirror):
    fetch.configure(registry.host, mirror=mirror.url)


def test_mirror_is_asked_as_long_as_it_gives_something(bring, fetch, registry):
    blob = Blob(registry)
    with Registry("127.0.0.3") as mirror:
        with_mirror(fetch, registry, mirror)
        other = Blob(mirror)
        other.cuts = [10000, 20000, 0]
        assert whole(bring()) and bring.data == DATA
        assert other.asked == [0, 10000, 30000] and blob.asked == [30000]


def test_mirror_without_the_blob(bring, fetch, registry):
    blob = Blob(registry)
    with Registry("127.0.0.3") as mirror:
        with_mirror(fetch, registry, mirror)
        blob.cuts = [1000]
        assert whole(bring()) and bring.data == DATA
        assert len(mirror.seen) == 1 and blob.asked == [0, 1000]


def test_mirror_that_lies(bring, fetch, registry):
    blob = Blob(registry)
    with Registry("127.0.0.3") as mirror:
        with_mirror(fetch, registry, mirror)
        other = Blob(mirror, DATA[:-1] + b"X", DIGEST)
        assert whole(bring()) and bring.data == DATA
        assert other.asked == [0] and blob.asked == [0]


def test_mirror_and_registry_fail(bring, fetch, registry):
    with Registry("127.0.0.3") as mirror:
        with_mirror(fetch, registry, mirror)
        mirror.hooks.append(on("GET", "/blobs/", Answer(500)))
        bring.fails("ENOENT", "its mirror: the registry failed (500)")


# TLS and HTTP/2

def test_tls_and_its_cuts(bring, fetch, cache, certificate, tmp_path):
    """The connections after the first resume its TLS session."""
    with Registry("127.0.0.1", None, *certificate) as registry:
        fetch.configure(registry.host, ca=certificate[0])
        bring.registry = registry
        blob = Blob(registry)
        blob.cuts = [30000, 30000]
        assert whole(bring()) and bring.data == DATA
        assert blob.asked == [0, 30000, 60000] and registry.resumed == [False, True, True]


def push_blob(certificate, port, data):
    """Pushes a blob to docker_registry's app0."""
    import http.client
    import ssl
    connection = http.client.HTTPSConnection("localhost", port, context=ssl.create_default_context(cafile=certificate))
    connection.request("POST", "/v2/app0/blobs/uploads/")
    response = connection.getresponse()
    response.read()
    where = "/" + response.headers["Location"].split("/", 3)[3]
    connection.request("PUT", f"{where}&digest={sha256(data)}", data, {"Content-Type": "application/octet-stream"})
    assert connection.getresponse().status == 201
    connection.close()


@pytest.fixture
def http2(bring, fetch, certificate, docker_registry):
    """The fields of a request for a blob of 4 MB of a real registry."""
    data = DATA * 40
    push_blob(certificate[0], docker_registry.port, data)
    host = f"localhost:{docker_registry.port}"
    fetch.configure(host, ca=certificate[0])
    bring.registry = type("Real", (), {"host": host})
    return {"image": f"{host}/app0", "digest": sha256(data), "size": len(data)}


def test_http2_from_a_real_registry(bring, http2):
    assert bring(**http2, allowance=1000000)["end"] == "allowance"
    assert len(bring.data) < http2["size"]
    assert whole(bring(**http2), DATA * 40) and bring.data == DATA * 40


def test_http2_with_a_cap(bring, http2):
    assert bring(**http2, speed=50000, ms=4000)["end"] == "time"
    first = bring.child.traffic["bytes"]
    print(f"{first} bytes on the wire, {len(bring.data)} in the file")
    assert 50000 < first < 50000 * (bring.took + 2) * 1.1  # the receive buffer takes two seconds' at once
    # What the registry had under way when the time was over still comes.
    assert whole(bring(**http2), DATA * 40) and bring.data == DATA * 40
    assert bring.child.traffic["bytes"] < http2["size"] * 1.1 + 100000


def test_http2_cut_and_resumed(bring, fetch, certificate, cache, lab, docker_registry, http2):
    """Four cuts, of which each costs a handshake and the piece of a TLS record (16 kB) that was there."""
    relay = Relay(lab, docker_registry.address)
    for million in range(1, 5):
        relay.at(million * 1000000, lambda: relay.drop(stay_away=False))
    host = f"localhost:{relay.port}"
    fetch.configure(host, ca=certificate[0])
    bring.registry = type("Relayed", (), {"host": host})
    assert whole(bring(**{**http2, "image": f"{host}/app0"}), DATA * 40) and bring.data == DATA * 40
    relay.settle()
    print(f"{relay.up} bytes up, {relay.down} down")
    assert relay.connections == 5 and relay.up + relay.down < http2["size"] * 1.02


# Limits

class Slow:
    """Sends the blob in pieces, each when the test says so."""

    def __init__(self, registry):
        self.go, self.at = threading.Semaphore(0), 0
        registry.hooks.append(on("GET", "/blobs/", Answer(raw=self.send)))

    def send(self, s):
        self.socket = s
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(DATA))
        while self.at < len(DATA) and self.go.acquire(timeout=30):
            s.sendall(DATA[self.at:self.at + 10000])
            self.at += 10000


def test_time_ends_in_the_middle(bring, registry):
    slow = Slow(registry)
    slow.go.release(3)
    reply = bring(ms=4000)
    assert (reply["bytes"], reply["end"]) == (30000, "time") and bring.data == DATA[:30000]
    assert bring.progress in ([], [30000])
    registry.hooks.clear()
    blob = Blob(registry)
    assert whole(bring()) and blob.asked == [30000]


def test_allowance_ends_in_the_middle(bring, registry):
    blob = Blob(registry, DATA * 100)
    reply = bring(digest=blob.digest, size=len(DATA) * 100, allowance=3000000)
    assert reply["end"] == "allowance" and 2000000 < reply["bytes"] < 3000000
    assert bring.data == (DATA * 100)[:reply["bytes"]]
    assert 3000000 <= bring.child.traffic["bytes"] < 3500000


def test_no_allowance_at_all(bring, registry):
    Blob(registry)
    reply = bring(allowance=0)
    assert (reply["end"], reply["bytes"]) == ("allowance", 0) and not registry.seen


def test_hang_up_ends_it(bring, registry):
    slow = Slow(registry)
    bring.start()
    with open(bring.path, "rb+") as f:
        bring.send([f.fileno()])
        slow.go.release(2)
        assert bring.child.receive()["progress"] == 20000
    bring.child.end()
    bring.child = None
    assert bring.data == DATA[:20000]


def test_caller_that_reads_late_sees_each_second_once(bring, registry):
    slow = Slow(registry)
    bring.start()
    with open(bring.path, "rb+") as f:
        bring.send([f.fileno()])
        for n in range(1, 4):
            slow.go.release()
            assert bring.child.receive()["progress"] == n * 10000
        slow.go.release(20)
        assert whole(bring.receive())


@pytest.mark.parametrize("tls", [False, True])
def test_cap_is_seen_at_the_server(bring, fetch, certificate, tls):
    """What the client has acknowledged at the end is the receive buffer and the bytes of its seconds, plus a tenth. The first
    connection of the session is without a cap."""
    speed = 20000
    with Registry("127.0.0.1", None, *(certificate if tls else ())) as registry:
        if tls:
            fetch.configure(registry.host, ca=certificate[0])
        bring.registry = registry
        registry.put("app", "stable", b'{"mediaType": "x"}')
        blob = Blob(registry, DATA * 10)
        bring.start()
        bring.child.send({"op": "resolve", "image": f"{registry.host}/app:stable"})
        assert "digest" in bring.child.receive()
        reply = bring(digest=blob.digest, size=len(blob.data), ms=5000, speed=speed)
        assert reply["end"] == "time"
        moved = bring.child.traffic["bytes"]
        print(f"{reply['bytes']} bytes of payload, {moved} on the wire")
        assert speed < moved < speed * (bring.took + 2) * 1.1
        assert registry.connections == 2


# Descriptors

@pytest.mark.parametrize("n", [0, 2])
def test_descriptors_missing_and_too_many(bring, registry, n):
    Blob(registry)
    bring.start()
    with open(bring.path, "rb+") as f:
        bring.send(n * [f.fileno()])
        assert bring.receive()["error"]["code"] == "EBADMSG"
    assert whole(bring())


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY, os.O_RDWR | os.O_APPEND, os.O_PATH])
def test_file_that_is_not_open_for_both(bring, registry, flags):
    Blob(registry)
    bring.start()
    fd = os.open(bring.path, flags)
    bring.send([fd])
    assert bring.receive()["error"]["code"] == "EBADF" and not registry.seen
    os.close(fd)


@pytest.mark.parametrize("kind", ["directory", "pipe", "socket", "device", "three"])
def test_no_file(bring, registry, kind):
    Blob(registry)
    bring.start()
    ends = os.pipe() if kind == "pipe" else ()
    fds = {"directory": [os.open("/", os.O_RDONLY)], "pipe": ends[1:], "socket": [bring.child.ours.fileno()],
           "device": [os.open("/dev/null", os.O_RDWR)], "three": 3 * [os.open(bring.path, os.O_RDWR)]}[kind]
    bring.send(fds)
    assert bring.receive()["error"]["code"] == "EBADMSG" and not registry.seen
    assert bring.child.receive() is None  # and the connection ends


def test_file_without_the_bytes_that_it_has(bring, registry):
    Blob(registry)
    bring.path.write_bytes(b"1234")
    assert bring.fails("EINVAL", offset=5)["bytes"] == 5
    assert not registry.seen


def test_full_disk(bring, fetch, registry):
    """/dev/full is no file, but a limit of the file's size is as good. No other server is asked."""
    Blob(registry)
    with Registry("127.0.0.3") as mirror:
        with_mirror(fetch, registry, mirror)
        Blob(mirror)
        bring.path.write_bytes(DATA[:50000])
        bring.start(prefix=("env", "--ignore-signal=XFSZ", "prlimit", "--fsize=50000"))
        reply = bring.fails("EFBIG", "cannot write the file")
        assert reply["bytes"] == 50000 and len(mirror.seen) == 1 and not registry.seen


def test_descriptors_are_closed(bring, registry):
    Blob(registry)
    bring.start()
    count = lambda: len(os.listdir(f"/proc/{bring.child.proc.pid}/fd"))  # noqa: E731
    assert whole(bring())
    before = count()
    for n in (1, 2, 1, 2):
        with open(bring.path, "rb+") as f:
            bring.send(n * [f.fileno()])
            bring.receive()
    assert count() == before


def test_blob_with_others_in_a_batch(bring, registry):
    Blob(registry)
    bring.start()
    with open(bring.path, "rb+") as f:
        bring.send([f.fileno()], more=True)
        bring.send([])
        assert [bring.receive()["error"]["code"] for _ in range(2)] == ["EBADMSG"] * 2
    assert not registry.seen


# Traffic

def test_traffic_is_counted_across_processes(bring, cache, registry):
    Blob(registry)
    counts = []
    for _ in range(2):
        bring.path.write_bytes(b"")
        assert bring.start() and whole(bring())
        counts.append(bring.child.traffic)
        bring.child.end()
    bring.child = None
    assert counts[0]["id"] == counts[1]["id"] and len(DATA) < counts[0]["bytes"] < len(DATA) * 1.05
    # The first process went on to count its end.
    assert 2 * counts[0]["bytes"] <= counts[1]["bytes"] < 2 * counts[0]["bytes"] + 2000
    line = (cache / "traffic").read_text().split()
    assert line[0] == counts[0]["id"] and int(line[1]) >= counts[1]["bytes"]


@pytest.mark.parametrize("text", ["", "x", "a b\n", "a" * 61, "\0" * 61])
def test_traffic_file_that_is_damaged(bring, cache, registry, text):
    Blob(registry)
    (cache / "traffic").write_text(text)
    if os.geteuid() == 0:
        os.chown(cache / "traffic", dropped_user().pw_uid, -1)
    bring()
    traffic = bring.child.traffic
    assert len(traffic["id"]) > 16 and traffic["bytes"] < len(DATA) * 1.05
    assert (cache / "traffic").read_text().startswith(traffic["id"])


def test_traffic_without_a_cache(bring, registry):
    Blob(registry)
    counts = []
    for new in (False, False, True):
        if new:
            bring.child.end()
            bring.start()
        bring.path.write_bytes(b"")
        bring()
        counts.append(bring.child.traffic)
    assert counts[0]["id"] == counts[1]["id"] != counts[2]["id"]
    assert counts[1]["bytes"] >= 2 * len(DATA) > counts[2]["bytes"]


def test_traffic_is_what_the_kernel_sent(bring, fetch, certificate):
    """The server's own counters of the same connection say the same."""
    with Registry("127.0.0.1", None, *certificate) as registry:
        fetch.configure(registry.host, ca=certificate[0])
        bring.registry = registry
        Blob(registry)
        seen = {}

        def read_counters(s):
            info = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
            number = lambda at, n: int.from_bytes(info[at:at + n], "little")  # noqa: E731
            seen["bytes"] = number(120, 8) + number(128, 8)
            seen["segments"] = number(136, 4) + number(140, 4)
        answer = registry.hooks[-1]

        def watch(request):
            send = answer(request).raw

            def raw(s):
                send(s)
                read_counters(s)
            return Answer(raw=raw)
        registry.hooks[-1] = on("GET", "/blobs/", watch)
        bring()
        traffic = bring.child.traffic["bytes"]
        bring.child.end()
        bring.child = None
        registry.server.shutdown()
        expected = seen["bytes"] + 52 * seen["segments"]
        print(f"counted {traffic}, the server {expected}")
        assert abs(traffic - expected) < 0.01 * expected


# What it costs

@pytest.mark.parametrize("tls", [False, True])
def test_memory_is_flat(bring, fetch, certificate, tls):
    data = DATA * 400  # 41 MB
    with Registry("127.0.0.1", None, *(certificate if tls else ())) as registry:
        if tls:
            fetch.configure(registry.host, ca=certificate[0])
        bring.registry = registry
        blob = Blob(registry, data)
        bring.start(measured=True)
        assert whole(bring(digest=blob.digest, size=len(data)), data)
        fetch.rss_kb = int(bring.child.end()[0].split()[-1])
        bring.child = None
        check_memory(fetch)


CALLER = """
import json, socket, subprocess, sys
ours, theirs = socket.socketpair()
with open(sys.argv[1], "rb+") as f:
    socket.send_fds(ours, [sys.argv[2].encode() + b"\\n"], [f.fileno()])
child = subprocess.Popen([*sys.argv[3:], "--fd", str(theirs.fileno())], pass_fds=[theirs.fileno()])
theirs.close()
while "end" not in ours.makefile().readline():
    pass
ours.close()
child.wait()
"""


def writes_and_syncs(fetch, registry, blob, path):
    """w: a write to the file; s: a sync of it; R: the reply."""
    question = {"op": "blob", "image": f"{registry.host}/app", "digest": blob.digest, "size": len(blob.data),
                "offset": path.stat().st_size, "speed": 0, "allowance": 2**63 - 1, "ms": 60000, "manifest": False}
    trace = pullet_trace.run(
        ["/usr/bin/python3", "-I", "-S", "-c", CALLER, str(path), json.dumps(question), str(PROGRAM), "--config",
         str(fetch.config), *nowhere(fetch.config), "--registry", registry.host],
        env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})
    assert path.read_bytes() == blob.data
    letters = {"pwrite64 spool.part": "w", "fdatasync spool.part": "s", "write socket": "R"}
    return "".join(letters.get(call.text, "") for call in trace.calls)


def test_synced_each_256_kib_and_before_the_reply(fetch, registry, tmp_path):
    blob = Blob(registry, DATA * 6)
    blob.cuts = [300000]
    path = tmp_path / "spool.part"
    path.write_bytes(b"")
    calls = writes_and_syncs(fetch, registry, blob, path)
    assert re.fullmatch("(w{1,17}s){3}", calls.replace("R", "")) and calls.endswith("sR"), calls


@pytest.mark.parametrize("have", [SYNC, 300000, len(DATA) * 6])
def test_what_another_process_wrote_is_synced_before_the_reply(fetch, registry, tmp_path, have):
    """It may have been killed before its sync."""
    blob = Blob(registry, DATA * 6)
    path = tmp_path / "spool.part"
    path.write_bytes(blob.data[:have])
    calls = writes_and_syncs(fetch, registry, blob, path)
    assert re.fullmatch("(w{1,17}s)*s?R", calls) and calls.endswith("sR"), calls
    assert not registry.seen if have == len(blob.data) else len(registry.seen) == 1
