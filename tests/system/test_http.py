# SPDX-License-Identifier: MIT
"""Requests in bulk over one connection, HTTP/2, and TLS sessions that outlive a process."""
import errno
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
from pullet_clock import preloaded  # noqa: E402
from pullet_lab import free_port  # noqa: E402
from pullet_relay import Relay  # noqa: E402
from registryd import Answer, Registry, make_certificate, manifest, on, sha256  # noqa: E402

BUILD = pathlib.Path(os.environ.get("PULLET_BUILD", HERE.parent.parent / "build"))
DRIVER = BUILD / "tests" / "http-driver"
RSS_MAX_KB = 16 * 1000


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    return make_certificate(str(tmp_path_factory.mktemp("tls")))


# A child's peak includes what its parent had before exec; this parent is smaller than any child.
LAUNCHER = """
import os, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
status, usage = os.wait4(pid, 0)[1:]
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def start(*arguments):
    return subprocess.Popen([str(a) for a in (DRIVER, *arguments)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def perform(*arguments, env=None):
    """The results; perform.rss_kb is the peak memory."""
    process = subprocess.run(["/usr/bin/python3", "-I", "-S", "-c", LAUNCHER, str(DRIVER), *map(str, arguments)],
                             env={**os.environ, **(env or {})}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
    assert process.returncode == 0, process.stderr
    *lines, rss = process.stdout.splitlines()
    perform.rss_kb = int(rss)
    return [json.loads(line) for line in lines]


# A registry that behaves

@pytest.fixture(scope="module")
def docker_registry(tmp_path_factory, certificate):
    """Go's HTTP/2 over TLS: an object with port, and url(name) for images app0 to app29."""
    program = shutil.which("docker-registry")
    if not program:
        pytest.skip("docker-registry is not installed")
    directory, port = tmp_path_factory.mktemp("registry"), free_port()
    (directory / "registry.yml").write_text(
        "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: {directory / 'data'}}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}', tls: {{certificate: {certificate[0]}, key: {certificate[1]}}}}}\n")
    process = subprocess.Popen([program, "serve", directory / "registry.yml"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    context = ssl.create_default_context(cafile=certificate[0])
    import http.client
    for _ in range(200):
        try:
            connection = http.client.HTTPSConnection("localhost", port, context=context)
            connection.request("GET", "/v2/")
            connection.getresponse().read()
            break
        except OSError:
            time.sleep(0.05)

    def call(method, path, body=b"", headers=()):
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        response.read()
        assert response.status < 300, (path, response.status)
        return response.headers

    digests = []
    for i in range(30):
        layers = [b"{}", b"layer0"]
        for data in layers:
            location = call("POST", f"/v2/app{i}/blobs/uploads/")["Location"]
            where = "/" + location.split("/", 3)[3]
            call("PUT", f"{where}&digest={sha256(data)}", data,
                 {"Content-Type": "application/octet-stream"})
        data = manifest(b"{}", (6,))[:-1] + b', "annotations": {"n": "%d"}}' % i
        call("PUT", f"/v2/app{i}/manifests/stable", data, {"Content-Type": json.loads(data)["mediaType"]})
        digests.append(sha256(data))
    connection.close()

    class Running:
        pass
    running = Running()
    running.port, running.digests, running.address = port, digests, f"127.0.0.1:{port}"
    yield running
    process.terminate()
    process.wait()


@pytest.fixture
def relay(lab, docker_registry):
    return Relay(lab, docker_registry.address)


def heads(relay, n=10):
    return [f"https://localhost:{relay.port}/v2/app{i}/manifests/stable" for i in range(n)]


def test_many_requests_are_one_connection(docker_registry, relay, certificate):
    results = perform("--ca", certificate[0], "HEAD", *heads(relay, 30))
    assert [r["digest"] for r in results] == docker_registry.digests
    assert relay.connections == 1


def test_connection_is_kept_between_calls(docker_registry, relay, certificate):
    results = perform("--ca", certificate[0], "--twice", "HEAD", *heads(relay, 5))
    assert [r["digest"] for r in results] == 2 * docker_registry.digests[:5]
    assert relay.connections == 1


def test_bytes_of_ten_requests(docker_registry, relay, certificate, tmp_path):
    """design.md's floor is 4.0 kB with a full handshake, by curl alone."""
    arguments = "--ca", certificate[0], "--session", tmp_path, "key", "HEAD", *heads(relay)
    figures = []
    for _ in range(2):
        relay.reset()
        assert [r["status"] for r in perform(*arguments)] == [200] * 10
        relay.settle()
        figures.append(relay.up + relay.down)
    print("bytes of ten HEADs: first process %d, resumed %d" % tuple(figures))
    assert figures[0] < 6000 and figures[1] < figures[0] - 300


@pytest.mark.parametrize("tls", [False, True])
def test_http_1_is_one_connection_too(lab, certificate, tls):
    with Registry(*(("127.0.0.1", None, *certificate) if tls else ())) as registry:
        relay = Relay(lab, f"127.0.0.1:{registry.port}")
        digests = [registry.put(f"app{i}", "stable", manifest(b"%d" % i)) for i in range(10)]
        urls = [f"http{'s' if tls else ''}://127.0.0.1:{relay.port}/v2/app{i}/manifests/stable" for i in range(10)]
        assert [r["digest"] for r in perform("--ca", certificate[0], "GET", *urls)] == digests
        assert relay.connections == 1
        assert [s.path.split("/")[2] for s in registry.seen] == [f"app{i}" for i in range(10)]


def test_one_cut_answer_fails_alone():
    with Registry() as registry:
        digests = [registry.put(f"app{i}", "stable", manifest(b"%d" % i)) for i in range(5)]
        registry.hooks.append(on(path="/app2/", answer=Answer(raw=lambda s: s.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"))))
        results = perform("GET", *(f"{registry.url}/v2/app{i}/manifests/stable" for i in range(5)))
        assert [r["code"] == 0 for r in results] == [True, True, False, True, True]
        assert [r.get("digest") for r in results if r["code"] == 0] == digests[:2] + digests[3:]


def test_without_a_connection_all_fail_at_once():
    urls = [f"http://127.0.0.1:{free_port()}/{i}" for i in range(100)]
    results = perform("GET", *urls)
    assert len(results) == 100 and {r["code"] for r in results} == {-111}
    assert len({r["error"] for r in results}) == 1


@pytest.mark.parametrize("urls", [1, 3])
def test_a_request_that_cannot_be_sent_holds_up_no_other(urls, tmp_path):
    """libcurl keeps that connection, and would wait for it."""
    with Registry() as registry:
        registry.put("app", "stable", manifest())
        results = perform("--twice", "GET", *[f"{registry.url}/v2/app/manifests/stable"] * urls,
                          env=preloaded(tmp_path, "lost-send.c"))
        assert [r["code"] for r in results[:urls]] == [-errno.ECONNRESET] * urls, results
        assert [r["status"] for r in results[urls:]] == [200] * urls, results


def test_bad_url_fails_alone():
    with Registry() as registry:
        registry.put("app", "stable", manifest())
        good = f"{registry.url}/v2/app/manifests/stable"
        results = perform("GET", "ftp://x/", good, "http://u:secret@127.0.0.1/", good)
        assert [r["code"] for r in results] == [-71, 0, -71, 0]
        assert "secret" not in json.dumps(results)


# HTTP/2, misbehaving

SETTINGS, HEADERS, RST_STREAM, PING, GOAWAY, CONTINUATION = 4, 1, 3, 6, 7, 9
OK = b"\x88"  # :status 200 of RFC 7541's static table


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    """A header that no table keeps, RFC 7541 6.2.2."""
    def number(n):
        if n < 127:
            return bytes([n])
        n, out = n - 127, [127]
        while n >= 128:
            out.append(n % 128 + 128)
            n //= 128
        return bytes(out + [n])
    return b"\0" + number(len(name)) + name + number(len(value)) + value


class Http2:
    """A TLS server that takes HTTP/2 frames apart, and hands each request's stream to answer(self, socket, stream)."""

    def __init__(self, certificate, answer):
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(*certificate)
        self.tls.set_alpn_protocols(["h2"])
        self.answer, self.connections, self.requests = answer, 0, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.listener.close()

    def urls(self, n):
        return [f"https://127.0.0.1:{self.port}/{i}" for i in range(n)]

    def _accept(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        try:
            with self.tls.wrap_socket(client, server_side=True) as s:
                stream = s.makefile("rb")
                stream.read(24)  # "PRI * HTTP/2.0..."
                s.sendall(frame(SETTINGS, 0, 0))
                while head := stream.read(9):
                    size, kind = int.from_bytes(head[:3], "big"), head[3]
                    stream.read(size)
                    if kind == HEADERS:
                        self.requests += 1
                        self.answer(self, s, int.from_bytes(head[5:], "big"))
        except OSError:
            pass


def answer_ok(_server, s, stream):
    s.sendall(frame(HEADERS, 0x5, stream, OK))


def test_stream_reset_fails_alone(certificate):
    def answer(server, s, stream):
        if stream == 5:
            s.sendall(frame(RST_STREAM, 0, stream, struct.pack(">I", 2)))
        else:
            answer_ok(server, s, stream)

    with Http2(certificate, answer) as server:
        results = perform("--ca", certificate[0], "GET", *server.urls(8))
        assert [r["code"] for r in results] == [0, 0, -104, 0, 0, 0, 0, 0]
        assert server.connections == 1


@pytest.mark.parametrize("last", [3, 0x7fffffff])
def test_goaway_hides_no_request(certificate, last):
    """Each connection sends GOAWAY after its second answer, and answers no stream after the last one that it names."""
    parting = set()

    def answer(server, s, stream):
        if s not in parting or stream <= last:
            answer_ok(server, s, stream)
        if stream == 3:
            parting.add(s)
            s.sendall(frame(GOAWAY, 0, 0, struct.pack(">II", last, 0)))

    with Http2(certificate, answer) as server:
        results = perform("--ca", certificate[0], "GET", *server.urls(8))
        print(results, server.connections)
        assert len(results) == 8
        assert [r["code"] for r in results[:2]] == [0, 0]
        for r in results:
            assert r["status"] == 200 if r["code"] == 0 else r["code"] < 0 and r["error"]


def test_requests_go_out_at_the_same_time(certificate):
    """The server answers only after it has received all the other requests."""
    waiting = []

    def answer(server, s, stream):
        waiting.append(stream)
        if stream == 1 or len(waiting) == 8:
            while waiting:
                answer_ok(server, s, waiting.pop())

    with Http2(certificate, answer) as server:
        results = perform("--ca", certificate[0], "GET", *server.urls(9))  # the first alone, then eight
        assert [r["status"] for r in results] == [200] * 9
        assert server.connections == 1


def flood_pings(_server, s, _stream):
    while True:
        s.sendall(frame(PING, 0, 0, b"12345678") * 100)


def flood_settings(_server, s, _stream):
    while True:
        s.sendall(frame(SETTINGS, 0, 0, b"\0\4\0\1\0\0") * 100)


def flood_headers(_server, s, stream):
    s.sendall(frame(HEADERS, 0, stream, OK))
    while True:
        s.sendall(frame(CONTINUATION, 0, stream, literal(b"x-a", b"a" * 8000)))


def flood_interim(_server, s, stream):
    while True:
        s.sendall(frame(HEADERS, 4, stream, b"\x08\x03103" + literal(b"x-a", b"a" * 8000)))


def flood_data(_server, s, stream):
    s.sendall(frame(HEADERS, 4, stream, OK))
    while True:
        s.sendall(frame(0, 0, stream, b"a" * 16384))


def flood_other_streams(_server, s, _stream):
    """Data of streams that were not requested, and bodies for HEAD."""
    while True:
        for n in range(1, 41, 2):
            s.sendall(frame(HEADERS, 4, n, OK) + frame(0, 0, n, b"a" * 16384))


def flood_big_headers(server, s, stream):
    """As many bytes of header as a stream takes, on all streams at once, and no end."""
    if server.requests == 1:
        answer_ok(server, s, stream)
    elif server.requests == 17:
        for n in range(3, 35, 2):
            s.sendall(frame(HEADERS, 0, n, OK + literal(b"x-a", b"a" * 16000)))
            s.sendall(frame(CONTINUATION, 4, n, literal(b"x-b", b"a" * 14000)))


FLOODS = [flood_pings, flood_settings, flood_headers, flood_interim, flood_data, flood_other_streams,
          flood_big_headers]


def sanitized():
    return b"__asan_init" in DRIVER.read_bytes()


@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize("flood", FLOODS, ids=lambda f: f.__name__)
def test_flood_is_bounded(certificate, flood, method):
    with Http2(certificate, flood) as server:
        results = perform("--ca", certificate[0], "--timeout", 2000, method, *server.urls(17))
        print(perform.rss_kb, "kB", results[0], results[-1])
        assert len(results) == 17
        if not sanitized():
            assert perform.rss_kb < RSS_MAX_KB


def test_cancel_ends_all(certificate):
    running = threading.Event()

    def answer(server, s, stream):
        if server.requests == 1:
            answer_ok(server, s, stream)
        if server.requests == 17:
            running.set()

    with Http2(certificate, answer) as server:
        process = start("--ca", certificate[0], "--timeout", 60000, "GET", *server.urls(20))
        assert running.wait(30)
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=20)
        assert process.returncode == 0, errors
        assert [json.loads(line)["code"] for line in out.splitlines()] == [0] + [-125] * 19


# TLS sessions

class Tls:
    """Answers each connection once; resumed: whether each resumed a session, name: its server name (SNI)."""

    def __init__(self, certificate, version):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*certificate)
        self.context.minimum_version = self.context.maximum_version = version
        self.resumed, self.broken = [], False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            if self.broken:
                client.recv(65536)
                client.close()
                continue
            try:
                with self.context.wrap_socket(client, server_side=True) as s:
                    self.resumed.append(s.session_reused)
                    s.recv(65536)
                    s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    s.unwrap()
            except OSError:
                pass


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def tls(request, certificate):
    server = Tls(certificate, request.param)
    yield server
    server.listener.close()


@pytest.fixture
def ask(tls, certificate, tmp_path):
    """Asks in a process of its own; returns whether the server resumed a session."""
    def ask(key="key", host="localhost", ca=certificate[0]):
        count = len(tls.resumed)
        result, = perform("--ca", ca, "--session", tmp_path, key, "GET", f"https://{host}:{tls.port}/")
        ask.result = result
        return tls.resumed[count:] == [True]

    ask.file = tmp_path / "key"
    return ask


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_next_process_resumes(ask, host):
    assert not ask(host=host)
    assert ask.file.stat().st_mode & 0o777 == 0o600
    before = ask.file.read_bytes()
    assert [ask(host=host) for _ in range(3)] == [True] * 3
    assert ask.file.read_bytes() == before  # its age counts from where the certificate was checked
    assert sorted(p.name for p in ask.file.parent.iterdir()) == ["key"]


def test_another_key_does_not(ask):
    ask()
    assert not ask(key="other")


def test_another_host_does_not(ask):
    """A caller with the wrong key; an https proxy also has another name or address."""
    ask(host="localhost")
    assert not ask(host="127.0.0.1") and ask.result["code"] == 0
    ask.file.unlink()
    ask(host="127.0.0.1")
    assert not ask(host="localhost") and ask.result["code"] == 0


@pytest.mark.parametrize("damage", ["cut", "noise", "empty", "large", "directory", "fifo", "link"])
def test_damaged_file_is_replaced(ask, tmp_path, damage):
    ask()
    good = ask.file.read_bytes()
    if damage == "cut":
        ask.file.write_bytes(good[:-20])
    elif damage == "noise":
        ask.file.write_bytes(os.urandom(1000))
    elif damage == "empty":
        ask.file.write_bytes(b"")
    elif damage == "large":
        ask.file.write_bytes(good + bytes(65536))
    else:
        ask.file.unlink()
        if damage == "directory":
            ask.file.mkdir()
        elif damage == "fifo":
            os.mkfifo(ask.file)
        else:
            (tmp_path / "else").write_bytes(good)
            ask.file.symlink_to("else")
    assert not ask() and ask.result["code"] == 0
    if damage != "directory":
        assert ask.file.is_file() and not ask.file.is_symlink()
        assert ask()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_file_of_another_user_is_ignored(ask):
    ask()
    os.chown(ask.file, 1, 1)
    assert not ask()
    assert ask()


@pytest.mark.parametrize("seconds", [-13 * 3600, 3600], ids=["old", "future"])
def test_old_session_is_not_used(ask, tls, seconds):
    """The time of a session is the field [1] of its ASN.1 sequence."""
    ask()
    data = ask.file.read_bytes()
    at = data.rindex(b"\xa1\x06\x02\x04") + 4
    made, = struct.unpack(">I", data[at:at + 4])
    assert abs(made - time.time()) < 1000
    ask.file.write_bytes(data[:at] + struct.pack(">I", made + seconds) + data[at + 4:])
    assert not ask() and ask.result["code"] == 0
    assert ask()


def test_unverified_session_is_neither_kept_nor_used(ask, certificate, tmp_path):
    (tmp_path / "tls").mkdir()
    other, _ = make_certificate(str(tmp_path / "tls"))
    assert not ask(ca=other) and ask.result["code"] < 0
    assert not ask.file.exists()
    assert not ask(host="localhost.") or ask.result["code"] == 0


def test_failed_handshake_drops_the_session(ask, tls):
    ask()
    tls.broken = True
    ask()
    assert ask.result["code"] < 0 and not ask.file.exists()


@pytest.mark.parametrize("key", ["", ".x", "a/b", "..", "a" * 65, "a b"])
def test_bad_key(tmp_path, key):
    process = start("--session", tmp_path, key, "GET", "http://127.0.0.1/")
    process.communicate()
    assert process.returncode == 1
