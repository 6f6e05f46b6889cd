# SPDX-License-Identifier: MIT
"""pullet-fetch against a registry that misbehaves."""
import base64
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
from pullet_lab import free_port  # noqa: E402
from registryd import (Answer, DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX,  # noqa: E402
                       OCI_MANIFEST, Registry, index, make_certificate, manifest, on,
                       sha256)

BUILD = pathlib.Path(os.environ.get("PULLET_BUILD", HERE.parent.parent / "build"))
PROGRAM = BUILD / "pullet-fetch"
RSS_MAX_KB = 16 * 1000
USER, PASSWORD = "jo", "s3cr3t-of-the-test"

# A child's peak includes what its parent had before exec; this parent is smaller than any child.
LAUNCHER = """
import os, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
print(pid, flush=True)
status, usage = os.wait4(pid, 0)[1:]
print(usage.ru_maxrss, flush=True)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def nowhere(config):
    """The options of a pullet-fetch that keeps nothing. What it keeps otherwise is by host and port, and would be sent to the
    registry of another test that has this port later: a token, and without it a second request."""
    return "--cache-dir", f"{config.parent}/none/none"  # cannot be made


class Child:
    """One pullet-fetch on a socketpair. proc.pid is the program's own unless measured."""

    def __init__(self, config, measured=False, options=(), host="docker.io", prefix=()):
        self.ours, theirs = socket.socketpair()
        self.data = b""
        fd = theirs.fileno()
        command = [*prefix, str(PROGRAM), "--config", str(config), "--fd", str(fd), *nowhere(config), *options]
        if host:
            command += ["--registry", host]
        if measured:
            command = ["/usr/bin/python3", "-I", "-S", "-c", LAUNCHER] + command
        self.proc = subprocess.Popen(command, pass_fds=[fd], stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE, text=True)
        theirs.close()

    def send(self, question):
        self.ours.sendall(json.dumps(question).encode() + b"\n")

    def receive(self, timeout=100):
        self.ours.settimeout(timeout)
        while b"\n" not in self.data:
            more = self.ours.recv(65536)
            if not more:
                break
            self.data += more
        line, _, self.data = self.data.partition(b"\n")
        reply = json.loads(line) if line else None
        self.traffic = reply.pop("traffic", None) if reply else None  # in each reply, if anything was moved
        return reply

    def end(self):
        self.ours.close()
        try:
            out, err = self.proc.communicate(timeout=100)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.communicate()
            raise
        return out, err


class Fetch:
    def __init__(self, directory):
        self.directory = directory
        self.config = directory / "pullet.conf"
        self.config.write_text("")
        self.rss_kb = None
        self.stderr = ""
        self.options = ()
        self.prefix = ()  # of the command

    def configure(self, host, **keys):
        lines = [f"{k} = {v}" for k, v in keys.items()]
        with self.config.open("a") as f:
            f.write(f"[registry {host}]\n" + "\n".join(lines) + "\n")

    def credentials(self, host, user=USER, password=PASSWORD, **fields):
        if not fields:
            fields = {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}
        path = self.directory / "auth.json"
        path.write_text(json.dumps({"auths": {host: fields}}))
        path.chmod(0o600)
        return path

    def ask(self, image, platform="linux/arm/v7", known=(), measured=False, **more):
        os_name, architecture, *variant = platform.split("/")
        child = Child(self.config, measured, self.options, image.split("/")[0], self.prefix)
        try:
            child.send({"image": image, "os": os_name, "architecture": architecture,
                        "variant": variant[0] if variant else "", "known": list(known), **more})
            reply = child.receive()
        finally:
            out, self.stderr = child.end()
        assert child.proc.returncode == 0, self.stderr
        assert PASSWORD not in json.dumps(reply) + self.stderr
        if measured:
            self.rss_kb = int(out.split()[-1])
        return reply

    def fails(self, image, code, *texts, **kwargs):
        reply = self.ask(image, **kwargs)
        assert "error" in reply, reply
        assert reply["error"]["code"] == code, reply
        for text in texts:
            assert text in reply["error"]["text"], reply
        return reply["error"]


@pytest.fixture
def fetch(tmp_path):
    return Fetch(tmp_path)


@pytest.fixture
def registry():
    with Registry() as r:
        yield r


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    return make_certificate(str(tmp_path_factory.mktemp("tls")))


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY",
                 "no_proxy", "NO_PROXY", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)


def sanitized():
    return b"__asan_init" in PROGRAM.read_bytes()


def check_memory(fetch):
    print(f"peak {fetch.rss_kb} kB")
    assert fetch.rss_kb > 4000
    if not sanitized():
        assert fetch.rss_kb < RSS_MAX_KB


def raw(*pieces, pause=0.0, forever=False):
    """Writes the pieces as they are, then closes; with forever, the last again and again."""

    def write(sock):
        for piece in pieces:
            sock.sendall(piece)
            time.sleep(pause)
        while forever:
            sock.sendall(pieces[-1])
            time.sleep(pause)

    return Answer(raw=write)


def count_connections(registry):
    """A list that gets an element for each connection from now on."""
    connections, accept = [], registry.server.get_request

    def get_request():
        connections.append(accept())
        return connections[-1]

    registry.server.get_request = get_request
    return connections


def basic(user=USER, password=PASSWORD):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


# Ordinary requests

@pytest.mark.parametrize("media_type", [OCI_MANIFEST, DOCKER_MANIFEST])
def test_manifest(fetch, registry, media_type):
    data = manifest(b"c", (1000, 2**33), media_type)
    digest = registry.put("team/app", "stable", data)
    reply = fetch.ask(f"{registry.host}/team/app:stable")
    assert reply == {"digest": digest, "manifest": digest, "config": sha256(b"c"),
                     "layer-bytes": 1000 + 2**33}
    assert registry.methods() == ["HEAD", "GET"]
    head = registry.seen[0]
    assert head.path == "/v2/team/app/manifests/stable"
    for known in (OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST):
        assert known in head.headers["Accept"]
    assert head.headers["User-Agent"].startswith("pullet/")
    assert set(head.headers) == {"Host", "User-Agent", "Accept"}
    assert registry.seen[1].path == "/v2/team/app/manifests/" + digest


@pytest.mark.parametrize("index_type,manifest_type",
                         [(OCI_INDEX, OCI_MANIFEST), (DOCKER_LIST, DOCKER_MANIFEST)])
@pytest.mark.parametrize("platform,chosen", [
    ("linux/arm/v6", "v6"), ("linux/arm/v7", "v7"), ("linux/arm64/v8", "arm64"),
    ("linux/arm64", "arm64"), ("linux/amd64", "amd64")])
def test_index(fetch, registry, index_type, manifest_type, platform, chosen):
    members = {name: manifest(name.encode(), (i,), manifest_type)
               for i, name in enumerate(["amd64", "v6", "v7", "arm64"])}
    for data in members.values():
        registry.put("app", None, data)
    top = index([("linux/amd64", members["amd64"]), ("linux/arm/v6", members["v6"]),
                 ("linux/arm/v7", members["v7"]), ("linux/arm64/v8", members["arm64"]),
                 ("unknown/unknown", members["v6"])], index_type)
    digest = registry.put("app", "1", top)
    reply = fetch.ask(f"{registry.host}/app:1", platform)
    assert reply["digest"] == digest
    assert reply["manifest"] == sha256(members[chosen])
    assert reply["config"] == sha256(chosen.encode())


def test_quiet_poll_is_one_request(fetch, registry):
    digest = registry.put("app", "latest", manifest())
    reply = fetch.ask(f"{registry.host}/app", known=["sha256:" + "0" * 64, digest])
    assert reply == {"digest": digest, "known": True}
    assert registry.methods() == ["HEAD"]


def test_manifest_behind_new_index_is_known(fetch, registry):
    member = manifest()
    top = registry.put("app", "latest", index([("linux/arm/v7", member)]))
    reply = fetch.ask(f"{registry.host}/app", known=[sha256(member)])
    assert reply == {"digest": top, "manifest": sha256(member), "manifest-known": True}
    assert registry.methods() == ["HEAD", "GET"]


def test_pinned_and_known_needs_no_request(fetch, registry):
    digest = "sha256:" + "a" * 64
    reply = fetch.ask(f"{registry.host}/app@{digest}", known=[digest])
    assert reply == {"digest": digest, "known": True}
    assert registry.seen == []


def test_pinned_is_fetched_by_digest(fetch, registry):
    digest = registry.put("app", None, manifest())
    reply = fetch.ask(f"{registry.host}/app:tag@{digest}")
    assert reply["manifest"] == digest
    assert registry.methods() == ["GET"]


def image_config(*ids):
    return json.dumps({"rootfs": {"type": "layers", "diff_ids": list(ids)}}).encode()


IDS = [sha256(b"%d" % i) for i in range(3)]


@pytest.mark.parametrize("here,left", [
    (IDS, 0), (IDS[:2], 4), (IDS[:1] + IDS[2:], 6), (IDS[1:], 7), (IDS + IDS, 0)])
def test_layers_in_the_engine_are_not_counted(fetch, registry, here, left):
    config = image_config(*IDS)
    member = manifest(config, (1, 2, 4))
    registry.put("app", None, member)
    digest = registry.put("app", None, index([("linux/arm/v7", member)]))
    blob = f"/v2/app/blobs/{sha256(config)}"
    registry.hooks.append(on("GET", blob, Answer(200, body=config)))
    reply = fetch.ask(f"{registry.host}/app@{digest}", layers=here, measured=True)
    assert reply["layer-bytes"] == left
    assert [s.path for s in registry.seen][2:] == [blob]
    check_memory(fetch)


def test_config_that_names_more_layers_than_there_are(fetch, registry):
    config = image_config(*IDS)
    digest = registry.put("app", None, manifest(config, (1,)))
    registry.hooks.append(on("GET", "/blobs/", Answer(200, body=config)))
    fetch.fails(f"{registry.host}/app@{digest}", "EKEYREJECTED", "not of the manifest's 1 layers", layers=IDS)


def test_config_of_another_image(fetch, registry):
    digest = registry.put("app", None, manifest(image_config(*IDS), (1, 2, 4)))
    registry.hooks.append(on("GET", "/blobs/", Answer(200, body=image_config())))
    fetch.fails(f"{registry.host}/app@{digest}", "EBADMSG", "something else", layers=IDS)
    registry.hooks.clear()
    fetch.fails(f"{registry.host}/app@{digest}", "ENOENT", layers=IDS)


def test_no_platform(fetch, registry):
    digest = registry.put("app", "latest", index([("linux/amd64", manifest()), ("linux/arm64/v8", manifest())]))
    fetch.fails(f"{registry.host}/app", "EKEYREJECTED",
                "no manifest for linux/arm/v6 (it has: linux/amd64, linux/arm64/v8)",
                platform="linux/arm/v6")
    reply = fetch.ask(f"{registry.host}/app", "linux/arm/v6")
    assert (reply["digest"], reply.get("manifest")) == (digest, None)


def test_config_is_read_if_it_is_asked_for(fetch, registry):
    config = json.dumps({"os": "linux", "architecture": "s390x", **json.loads(image_config(*IDS[:2]))}).encode()
    member = manifest(config, (1, 2))
    registry.put("app", None, member)
    registry.put("app", "latest", index([("linux/arm/v7", member)]))
    registry.hooks.append(on("GET", f"/v2/app/blobs/{sha256(config)}", Answer(200, body=config)))
    reply = fetch.ask(f"{registry.host}/app", **{"read-config": True})
    assert (reply["os"], reply["architecture"], reply["variant"]) == ("linux", "s390x", "")
    assert reply["chain"] == sha256(f"{IDS[0]} {IDS[1]}".encode())
    assert registry.methods() == ["HEAD", "GET", "GET", "GET"]


# Documents

def embedded(data, kind):
    return {"mediaType": "application/vnd.oci.image." + kind, "digest": sha256(data), "size": len(data),
            "data": base64.b64encode(data).decode()}


def image_of(registry, config=image_config(*IDS[:1]), embeds=False):
    """Puts an index, a manifest and a config of one layer; their texts by digest."""
    member = json.loads(manifest(config, (1,)))
    if embeds:
        member["config"] = embedded(config, "config.v1+json")
    member = json.dumps(member).encode()
    top = index([("linux/arm/v7", member)])
    registry.put("app", None, member)
    registry.put("app", "latest", top)
    registry.hooks.append(on("GET", f"/v2/app/blobs/{sha256(config)}", Answer(200, body=config)))
    return {sha256(data): data.decode("utf-8", "replace") for data in (top, member, config)}


@pytest.mark.parametrize("embeds", [False, True])
def test_documents_of_the_first_answer_are_not_asked_for_again(fetch, registry, embeds):
    documents = image_of(registry, embeds=embeds)
    first = fetch.ask(f"{registry.host}/app", documents={}, **{"read-config": True})
    assert registry.methods() == ["HEAD", "GET", "GET"] + ["GET"] * (not embeds)
    assert first.pop("documents") == documents
    registry.seen.clear()
    again = fetch.ask(f"{registry.host}/app@{first['digest']}", documents=documents, **{"read-config": True})
    assert again.pop("documents") == {}
    assert again == first
    assert registry.seen == []


def test_document_that_was_brought_and_is_another(fetch, registry):
    documents = image_of(registry)
    brought = {digest: "{}" for digest in documents}
    reply = fetch.ask(f"{registry.host}/app", documents=brought, **{"read-config": True})
    assert registry.methods() == ["HEAD", "GET", "GET", "GET"]
    assert reply["config"] in documents


@pytest.mark.parametrize("odd", [b'"\xff"', b'"\\u0000"', b'"' + b"x" * 131000 + b'"'], ids=["bytes", "nul", "large"])
def test_document_that_cannot_be_sent_along(fetch, registry, odd):
    """Not UTF-8, with a NUL in it as text (which is sent), or too large for a line."""
    config = image_config(*IDS[:1])[:-1] + b', "config": {"Cmd": ' + odd + b"}}"
    documents = image_of(registry, config)
    reply = fetch.ask(f"{registry.host}/app", documents={}, measured=True, **{"read-config": True})
    assert "error" not in reply, reply
    if odd != b'"\\u0000"':
        del documents[sha256(config)]
    assert reply["documents"] == documents
    check_memory(fetch)


def test_credentials_and_no_request_but_the_one_that_tells_where_they_go(fetch, registry):
    """The engine gets them only if the token server may: nothing but the registry's challenge says where it is."""
    documents = image_of(registry)
    top = next(iter(documents))
    with Registry("127.0.0.2") as evil:
        evil.hooks.append(on(path="/token", answer=Answer(200, body={"token": "tok"})))
        bearer(registry, evil.url + "/token")
        fetch.configure(registry.host, credentials=fetch.credentials(registry.host))
        reply = fetch.ask(f"{registry.host}/app@{top}", documents=documents, **{"read-config": True})
        assert "credentials were not sent to 127.0.0.2" in reply["withheld"]
        assert registry.methods() == ["HEAD", "HEAD"]  # without the token, and with it
        # The engine must not get them if nobody can tell.
        registry.hooks.insert(0, on("HEAD", answer=raw(b"")))
        fetch.fails(f"{registry.host}/app@{top}", "ECONNRESET", documents=documents)


# What is said of a digest for good: by its own bytes, whatever the registry says it is.
@pytest.mark.parametrize("spoil, final", [
    (lambda m: m.update(Layers=[]), True),
    (lambda m: m["config"].update(mediaType="application/vnd.cncf.helm.config.v1+json"), True),
    (lambda m: m["config"].update(size=2**21), True),
    (lambda m: m["layers"][0].update(urls=["http://localhost/"]), True),
    (lambda m: m.update(mediaType=DOCKER_MANIFEST), False),  # sent as an OCI manifest
])
def test_refused_before_anything_else_is_downloaded(fetch, registry, spoil, final):
    document = json.loads(manifest())
    spoil(document)
    data = json.dumps(document).encode()
    digest = registry.put("app", "latest", data)
    registry.documents["app", digest] = registry.documents["app", "latest"] = (data, OCI_MANIFEST)
    reply = fetch.ask(f"{registry.host}/app", **{"read-config": True})
    assert reply["error"]["code"] == ("EKEYREJECTED" if final else "EBADMSG")
    assert reply.get("digest") == (digest if final else None)
    assert registry.methods() == ["HEAD", "GET"]


# HEAD is not supported

@pytest.mark.parametrize("status", [400, 405, 501])
def test_head_refused(fetch, registry, status):
    digest = registry.put("app", "latest", manifest())
    registry.hooks.append(on("HEAD", answer=Answer(status)))
    assert fetch.ask(f"{registry.host}/app")["digest"] == digest
    assert registry.methods() == ["HEAD", "GET"]


@pytest.mark.parametrize("value", [None, "", "sha256:abc", "sha256:" + "A" * 64,
                                   "sha256:../../" + "a" * 58, "sha512:" + "a" * 128])
def test_head_without_valid_digest(fetch, registry, value):
    data = manifest()
    digest = registry.put("app", "latest", data)
    headers = {"Content-Type": OCI_MANIFEST, "Content-Length": str(len(data))}
    if value is not None:
        headers["Docker-Content-Digest"] = value
    registry.hooks.append(on(answer=Answer(200, headers, data)))
    assert fetch.ask(f"{registry.host}/app")["digest"] == digest
    assert registry.methods() == ["HEAD", "GET"]


def test_get_says_one_digest_and_sends_another(fetch, registry):
    data = manifest()
    says = "sha256:" + "b" * 64
    registry.hooks.append(on("HEAD", answer=Answer(405)))
    registry.hooks.append(on("GET", answer=Answer(200, {"Content-Type": OCI_MANIFEST,
                                                        "Docker-Content-Digest": says}, data)))
    fetch.fails(f"{registry.host}/app", "EBADMSG", f"says {says}, but sent {sha256(data)}")


# Tokens and credentials

def bearer(registry, realm, token="tok", service="reg", scope=None):
    """Requires a token for everything except its own token server."""
    challenge = f'Bearer realm="{realm}",service="{service}"'
    if scope:
        challenge += f',scope="{scope}"'

    def hook(seen):
        if seen.path.startswith("/token") or seen.authorization == f"Bearer {token}":
            return None
        return Answer(401, {"WWW-Authenticate": challenge},
                      {"errors": [{"message": "authentication required"}]})

    registry.hooks.append(hook)


def test_bearer_anonymous(fetch, registry):
    digest = registry.put("team/app", "latest", manifest())
    bearer(registry, registry.url + "/token")
    registry.hooks.append(on("GET", "/token", Answer(200, body={"token": "tok"})))
    assert fetch.ask(f"{registry.host}/team/app")["digest"] == digest
    token, = [s for s in registry.seen if s.path.startswith("/token")]
    assert token.path == "/token?service=reg&scope=repository%3Ateam%2Fapp%3Apull"
    assert token.authorization is None
    assert registry.methods() == ["HEAD", "GET", "HEAD", "GET"]


def test_bearer_with_credentials(fetch, registry):
    registry.put("app", "latest", manifest())
    bearer(registry, registry.url + "/token?x=1", scope="repository:app:pull,push")
    registry.hooks.append(on("GET", "/token", Answer(200, body={"access_token": "tok"})))
    fetch.configure(registry.host, credentials=fetch.credentials(registry.host))
    assert "digest" in fetch.ask(f"{registry.host}/app")
    token, = [s for s in registry.seen if s.path.startswith("/token")]
    assert token.path == "/token?x=1&service=reg&scope=repository%3Aapp%3Apull"
    assert token.authorization == basic()
    assert [s.authorization for s in registry.seen if s is not token] == \
        [basic(), "Bearer tok", "Bearer tok"]


def test_identity_token(fetch, registry):
    registry.put("app", "latest", manifest())
    bearer(registry, registry.url + "/token")
    registry.hooks.append(on("POST", "/token", Answer(200, body={"access_token": "tok"})))
    fetch.configure(registry.host, credentials=fetch.credentials(
        registry.host, identitytoken="re&fresh=" + PASSWORD))
    assert "digest" in fetch.ask(f"{registry.host}/app")
    token, = [s for s in registry.seen if s.path.startswith("/token")]
    assert token.headers["Content-Type"] == "application/x-www-form-urlencoded"
    form = urllib.parse.parse_qs(token.body.decode())
    assert form["grant_type"] == ["refresh_token"]
    assert form["refresh_token"] == ["re&fresh=" + PASSWORD]
    assert form["service"] == ["reg"]


def test_challenges_among_others(fetch, registry):
    registry.put("app", "latest", manifest())

    def hook(seen):
        if seen.path.startswith("/token") or seen.authorization:
            return None
        return Answer(401, {"WWW-Authenticate": [
            "Negotiate abcd==, Basic realm=\"x, y\"",
            f'bearer Realm="{registry.url}/to\\ken" , service = "a \\"b\\""']})

    registry.hooks.append(hook)
    registry.hooks.append(on("GET", "/token", Answer(200, body={"token": "tok"})))
    assert "digest" in fetch.ask(f"{registry.host}/app")
    token, = [s for s in registry.seen if s.path.startswith("/token")]
    assert "service=a%20%22b%22" in token.path


def test_hostile_realm_never_sees_credentials(fetch, registry):
    registry.put("app", "latest", manifest())
    with Registry("127.0.0.2") as evil:
        evil.hooks.append(on(path="/token", answer=Answer(200, body={"token": "tok"})))
        bearer(registry, evil.url + "/token")
        fetch.configure(registry.host, credentials=fetch.credentials(registry.host))
        assert "digest" in fetch.ask(f"{registry.host}/app")
        assert [s.authorization for s in evil.seen] == [None]
        # and if that fails, the reason is reported
        evil.hooks.insert(0, on(answer=Answer(403, body={"details": "who are you"})))
        error = fetch.fails(f"{registry.host}/app", "EACCES", "who are you",
                            "credentials were not sent to 127.0.0.2")
        assert [s.authorization for s in evil.seen] == [None, None], error
        evil.hooks[0] = on(answer=Answer(200, body={"token": "too-little"}))
        fetch.fails(f"{registry.host}/app", "EACCES", "(401)",
                    "credentials were not sent to 127.0.0.2")


def test_identity_token_never_goes_to_hostile_realm(fetch, registry):
    registry.put("app", "latest", manifest())
    with Registry("127.0.0.2") as evil:
        evil.hooks.append(on("GET", "/token", Answer(200, body={"token": "tok"})))
        bearer(registry, evil.url + "/token")
        fetch.configure(registry.host, credentials=fetch.credentials(
            registry.host, identitytoken=PASSWORD))
        assert "digest" in fetch.ask(f"{registry.host}/app")
        assert [(s.method, s.authorization, s.body) for s in evil.seen] == [("GET", None, b"")]


@pytest.mark.parametrize("realm", [
    "file:///etc/passwd", "gopher://127.0.0.1/", "ftp://127.0.0.1/x", "//127.0.0.1/token",
    "/token", "http://user:pw@127.0.0.1/token", "http://127.0.0.1\\@evil/token", "", "http://",
    "http://127.0.0.1:99999/token"])
def test_realm_is_not_a_url(fetch, registry, realm):
    bearer(registry, realm.replace("\\", "\\\\"))
    fetch.fails(f"{registry.host}/app", "EPROTO", "token server that is no URL")
    assert registry.methods() == ["HEAD"]


def test_realm_without_tls(fetch, certificate):
    with Registry(name="localhost", certificate=certificate[0], key=certificate[1]) as registry, \
            Registry() as plain:
        plain.hooks.append(on(answer=Answer(200, body={"token": "tok"})))
        fetch.configure(registry.host, ca=certificate[0])
        for realm in (plain.url + "/token", f"http://localhost:{plain.port}/token"):
            registry.hooks.clear()
            bearer(registry, realm)
            fetch.fails(f"{registry.host}/app", "EPROTO", "without TLS")
        assert plain.seen == []


@pytest.mark.parametrize("token", ["a\r\nX-Evil: 1", "a b", "", "ä", "x" * 40000], ids=range(5))
def test_invalid_token(fetch, registry, token):
    bearer(registry, registry.url + "/token")
    registry.hooks.append(on("GET", "/token", Answer(200, body={"token": token})))
    fetch.fails(f"{registry.host}/app", "EBADMSG", "no usable token")


def test_token_answer_is_bounded(fetch, registry):
    bearer(registry, registry.url + "/token")
    registry.hooks.append(on("GET", "/token", Answer(200, body={"token": "x" * 70000})))
    fetch.fails(f"{registry.host}/app", "EFBIG", "too large")


def test_no_redirect_for_tokens(fetch, registry):
    bearer(registry, registry.url + "/token")
    registry.hooks.append(on("GET", "/token", Answer(302, {"Location": "/elsewhere"})))
    fetch.configure(registry.host, credentials=fetch.credentials(registry.host))
    fetch.fails(f"{registry.host}/app", "EREMOTEIO", "302")
    assert "/elsewhere" not in [s.path for s in registry.seen]


def test_token_server_retry_after(fetch, registry):
    bearer(registry, registry.url + "/token")
    registry.hooks.append(on("GET", "/token", Answer(429, {"Retry-After": "7"})))
    assert fetch.fails(f"{registry.host}/app", "EBUSY", "429")["retry-after"] == 7


def test_second_401(fetch, registry):
    registry.hooks.append(on(path="/token", answer=Answer(200, body={"token": "tok"})))
    registry.hooks.append(on("HEAD", answer=Answer(405)))
    bearer(registry, registry.url + "/token", token="another")
    fetch.fails(f"{registry.host}/app", "EACCES", "authentication required", f"run: pullet login {registry.host}")
    assert len([s for s in registry.seen if s.path.startswith("/token")]) == 1


def test_basic(fetch, registry):
    digest = registry.put("app", "latest", manifest())
    registry.hooks.append(lambda seen: None if seen.authorization == basic() else
                          Answer(401, {"WWW-Authenticate": 'Basic realm="registry"'}))
    fetch.fails(f"{registry.host}/app", "EACCES", f"run: pullet login {registry.host}")
    fetch.configure(registry.host, credentials=fetch.credentials(registry.host))
    registry.seen.clear()
    assert fetch.ask(f"{registry.host}/app")["digest"] == digest
    assert [s.authorization for s in registry.seen] == [basic(), basic()]


def test_basic_with_wrong_password(fetch, registry):
    registry.hooks.append(on(answer=Answer(401, {"WWW-Authenticate": 'Basic realm="registry"'})))
    fetch.configure(registry.host, credentials=fetch.credentials(registry.host))
    fetch.fails(f"{registry.host}/app", "EACCES", "(401)", "if it is outdated, run: pullet login")
    assert [s.authorization for s in registry.seen] == [basic()]  # no second attempt, because accounts get locked


def test_unknown_challenge(fetch, registry):
    registry.hooks.append(on(answer=Answer(401, {"WWW-Authenticate": "Negotiate"})))
    fetch.fails(f"{registry.host}/app", "EACCES", "authentication method")


def test_credentials_file_open_to_others(fetch, registry):
    path = fetch.credentials(registry.host)
    path.chmod(0o622)
    fetch.configure(registry.host, credentials=path)
    fetch.fails(f"{registry.host}/app", "EPERM", str(path), "other users may write")
    assert registry.seen == []


# Redirects

@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_to_another_origin_loses_authorization(fetch, registry, status):
    data = manifest()
    with Registry("127.0.0.2") as other:
        digest = other.put("app", "latest", data)

        def hook(seen):
            if seen.authorization != basic():
                return Answer(401, {"WWW-Authenticate": "Basic realm=x"})
            return Answer(status, {"Location": other.url + seen.path})

        registry.hooks.append(hook)
        fetch.configure(registry.host, credentials=fetch.credentials(registry.host))
        assert fetch.ask(f"{registry.host}/app")["digest"] == digest
        assert [(s.method, s.authorization) for s in other.seen] == [("HEAD", None), ("GET", None)]


def test_redirect_to_another_port_loses_authorization(fetch, registry):
    with Registry() as other:
        other.put("app", "latest", manifest())
        registry.hooks.append(lambda seen: Answer(302, {"Location": other.url + seen.path})
                              if seen.authorization else
                              Answer(401, {"WWW-Authenticate": "Basic realm=x"}))
        fetch.configure(registry.host, credentials=fetch.credentials(registry.host))
        fetch.ask(f"{registry.host}/app")
        assert other.seen and not [s for s in other.seen if s.authorization]


def test_foreign_401_gets_no_credentials(fetch, registry):
    with Registry("127.0.0.2") as other:
        other.hooks.append(on(answer=Answer(401, {"WWW-Authenticate": "Basic realm=x"})))
        registry.hooks.append(lambda seen: Answer(302, {"Location": other.url + seen.path}))
        fetch.configure(registry.host, credentials=fetch.credentials(registry.host))
        fetch.fails(f"{registry.host}/app", "EACCES")
        assert [s.authorization for s in other.seen] == [None]


def test_redirect_within_the_registry_keeps_authorization(fetch, registry):
    digest = registry.put("app", "latest", manifest())

    def hook(seen):
        if not seen.authorization:
            return Answer(401, {"WWW-Authenticate": "Basic realm=x"})
        if "?moved" not in seen.path:
            return Answer(307, {"Location": seen.path + "?moved"})
        seen.path = seen.path[:-6]
        return registry.serve(seen)

    registry.hooks.append(hook)
    fetch.configure(registry.host, credentials=fetch.credentials(registry.host))
    assert fetch.ask(f"{registry.host}/app")["digest"] == digest


def test_redirect_from_tls_to_plain(fetch, certificate):
    with Registry(name="localhost", certificate=certificate[0], key=certificate[1]) as registry, \
            Registry() as plain:
        plain.put("app", "latest", manifest())
        registry.hooks.append(lambda seen: Answer(302, {"Location": plain.url + seen.path}))
        fetch.configure(registry.host, ca=certificate[0])
        fetch.fails(f"{registry.host}/app", "EPROTO", "https to http")
        assert plain.seen == []


@pytest.mark.parametrize("location", ["file:///etc/passwd", "gopher://x/", "relative", "",
                                      "http://a@b/", None])
def test_redirect_to_nowhere(fetch, registry, location):
    headers = {} if location is None else {"Location": location}
    registry.hooks.append(on(answer=Answer(302, headers)))
    fetch.fails(f"{registry.host}/app", "EPROTO", "redirects")
    assert len(registry.seen) == 1


def test_redirect_loop(fetch, registry):
    registry.hooks.append(lambda seen: Answer(302, {"Location": seen.path}))
    fetch.fails(f"{registry.host}/app", "EPROTO", "more than 3 times")
    assert len(registry.seen) == 4


# Invalid bytes

def head_ok(registry, data, get):
    digest = sha256(data)
    registry.hooks.append(on("HEAD", answer=Answer(200, {"Docker-Content-Digest": digest})))
    registry.hooks.append(on("GET", answer=get))
    return digest


def test_cut_body(fetch, registry):
    data = manifest()
    head_ok(registry, data, raw(b"HTTP/1.1 200 OK\r\nContent-Type: " + OCI_MANIFEST.encode() +
                                b"\r\nContent-Length: %d\r\n\r\n" % len(data) + data[:100]))
    fetch.fails(f"{registry.host}/app", "ECONNRESET")


def test_cut_without_length(fetch, registry):
    data = manifest()
    head_ok(registry, data, raw(b"HTTP/1.0 200 OK\r\n\r\n" + data[:100]))
    fetch.fails(f"{registry.host}/app", "EBADMSG", "something else")


def test_length_too_short(fetch, registry):
    data = manifest()
    head_ok(registry, data, raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + data))
    fetch.fails(f"{registry.host}/app", "EBADMSG", "something else")


def test_length_huge(fetch, registry):
    data = manifest()
    head_ok(registry, data, raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n" + data))
    fetch.fails(f"{registry.host}/app", "ECONNRESET", measured=True)
    check_memory(fetch)


def test_other_content(fetch, registry):
    other = manifest(b"other")
    digest = head_ok(registry, manifest(),
                     Answer(200, {"Content-Type": OCI_MANIFEST}, other))
    fetch.fails(f"{registry.host}/app", "EBADMSG", digest, sha256(other))


def test_index_entry_lies_about_size(fetch, registry):
    member = manifest()
    top = json.loads(index([("linux/arm/v7", member)]))
    top["manifests"][0]["size"] += 1
    registry.put("app", None, member)
    registry.put("app", "latest", json.dumps(top).encode())
    fetch.fails(f"{registry.host}/app", "EKEYREJECTED", "bytes")


@pytest.mark.parametrize("head", [
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 500 Oops\r\n\r\n"])
def test_endless_body(fetch, registry, head):
    block = b"x" * 65536
    body = b"10000\r\n" + block + b"\r\n" if b"chunked" in head else block
    first = head[:-7] if b"chunked" in head else head
    head_ok(registry, manifest(), raw(first, body, forever=True))
    fetch.fails(f"{registry.host}/app", "EFBIG", "too large", measured=True)
    check_memory(fetch)


def test_endless_header(fetch, registry):
    registry.hooks.append(on(answer=raw(b"HTTP/1.1 200 OK\r\n", b"X-More: " + b"x" * 500 + b"\r\n",
                                        forever=True)))
    fetch.fails(f"{registry.host}/app", "EFBIG", "header", measured=True)
    check_memory(fetch)


def test_endless_interim_answers(fetch, registry):
    registry.hooks.append(on(answer=raw(b"HTTP/1.1 100 Continue\r\n\r\n", forever=True)))
    fetch.fails(f"{registry.host}/app", "EFBIG", "header")


def test_trailer_is_not_a_header(fetch, registry):
    data = manifest()
    evil = "sha256:" + "e" * 64
    registry.hooks.append(on("HEAD", answer=Answer(405)))
    registry.hooks.append(on("GET", answer=raw(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: " +
        OCI_MANIFEST.encode() + b"\r\n\r\n%x\r\n" % len(data) + data +
        b"\r\n0\r\nDocker-Content-Digest: " + evil.encode() + b"\r\n\r\n")))
    assert fetch.ask(f"{registry.host}/app")["digest"] == sha256(data)


def test_interim_response_is_not_the_answer(fetch, registry):
    digest = registry.put("app", "latest", manifest())
    evil = "sha256:" + "e" * 64
    registry.hooks.append(on("HEAD", answer=raw(
        f"HTTP/1.1 103 Early Hints\r\nDocker-Content-Digest: {evil}\r\n\r\n"
        f"HTTP/1.1 200 OK\r\nDocker-Content-Digest: {digest}\r\n\r\n".encode())))
    assert fetch.ask(f"{registry.host}/app")["digest"] == digest


# A header line that begins with a blank continues the line before it. libcurl 7.88 took one before the
# first header for the rest of a line that the last answer on the handle had left behind, and freed.

FOLDED = b" fol:ded" + b"B" * 200 + b"\r\n"


def is_sane(reply):
    """RFC 9112 5.2 lets a client refuse such an answer, as 7.88 does, or skip the line, as 8.14 does."""
    return "digest" in reply or reply["error"]["code"] == "EPROTO"


@pytest.mark.parametrize("first", range(1, 5))
def test_folded_first_header(fetch, registry, first):
    config = image_config(*IDS)
    member = manifest(config, (1, 2, 4))
    registry.put("app", None, member)
    registry.put("app", "latest", index([("linux/arm/v7", member)]))
    registry.hooks.append(on("GET", "/blobs/", Answer(200, body=config)))
    connections = count_connections(registry)
    registry.fold = lambda seen: FOLDED if len(registry.seen) >= first else b""
    assert is_sane(fetch.ask(f"{registry.host}/app", layers=IDS[:1]))
    assert registry.methods()[:first] == ["HEAD", "GET", "GET", "GET"][:first]
    assert len(connections) == 1


@pytest.mark.parametrize("before", [b"", b"X-Last: " + b"A" * 40 + b"\r\n"])
def test_folded_header_in_interim_answers(fetch, registry, before):
    registry.put("app", "latest", manifest())
    registry.interim = b"HTTP/1.1 103 Early Hints\r\n" + before + FOLDED + b"\r\n"
    registry.fold = lambda seen: FOLDED
    assert is_sane(fetch.ask(f"{registry.host}/app"))


@pytest.mark.parametrize("before", [b"", b"X-Last: " + b"A" * 40 + b"\r\n"])
def test_folded_trailer(fetch, registry, before):
    data = manifest()
    top = index([("linux/arm/v7", data)])
    registry.put("app", None, data)
    digest = registry.put("app", "latest", top)
    registry.hooks.append(on("GET", digest, Answer(200, {
        "Content-Type": OCI_INDEX, "Transfer-Encoding": "chunked", "Content-Length": []},
        b"%x\r\n" % len(top) + top + b"\r\n0\r\n" + before + FOLDED + b"\r\n")))
    registry.fold = lambda seen: FOLDED if sha256(data) in seen.path else b""
    assert is_sane(fetch.ask(f"{registry.host}/app"))


@pytest.mark.parametrize("trade", [False, True], ids=["get", "post"])
def test_folded_first_header_from_token_server(fetch, registry, trade):
    with Registry() as server:
        bearer(registry, server.url + "/token")
        if trade:
            fetch.configure(registry.host, credentials=fetch.credentials(
                registry.host, identitytoken="id"))
        for folded in [server], [registry], [registry, server]:
            server.hooks = [on(path="/token", answer=Answer(200, {}, {"token": "tok"}))]
            server.fold = registry.fold = lambda seen: b""
            registry.put("app", "latest", manifest())
            for r in folded:
                r.fold = lambda seen: FOLDED
            assert is_sane(fetch.ask(f"{registry.host}/app"))
        assert "POST" in server.methods() if trade else "GET" in server.methods()


@pytest.mark.parametrize("where", ["here", "there"])
def test_folded_first_header_after_a_redirect(fetch, registry, where):
    data = manifest()
    with Registry() as other:
        target = registry if where == "here" else other
        other.put("moved", "latest", data)
        registry.put("moved", "latest", data)
        registry.hooks.append(on(path="/app/", answer=Answer(
            307, {"Location": target.url + "/v2/moved/manifests/latest"})))
        target.fold = lambda seen: FOLDED if "/moved/" in seen.path else b""
        assert is_sane(fetch.ask(f"{registry.host}/app"))
        assert target.seen[-1].path.startswith("/v2/moved/")


@pytest.mark.parametrize("first", [1, 2])
def test_folded_first_header_from_collector(fetch, registry, first):
    fetch.config.write_text(f"[report]\nurl = {registry.url}\n")
    registry.hooks.append(on("POST", answer=Answer(200, {"X-Last": "A" * 40})))
    registry.fold = lambda seen: FOLDED if len(registry.seen) >= first else b""
    child = Child(fetch.config, host=None)
    child.send({"op": "report", "metrics": "{}", "logs": "{}"})
    reply = child.receive()
    _, errors = child.end()
    assert child.proc.returncode == 0, errors
    assert reply == {} or is_sane(reply)
    assert registry.methods()[:first] == ["POST", "POST"][:first]


def test_not_http(fetch, registry):
    registry.hooks.append(on(answer=raw(b"SSH-2.0-OpenSSH_9.2\r\n")))
    assert fetch.ask(f"{registry.host}/app")["error"]["code"] in ("EPROTO", "ECONNRESET")


LIMIT = 1024 * 1024 - 300
BOMBS = {
    "objects": b"[" + b"{}," * (LIMIT // 3) + b"{}]",
    "arrays": b"[" + b"[]," * (LIMIT // 3) + b"[]]",
    "numbers": b"[" + b"0," * (LIMIT // 2) + b"0]",
    "keys": b"{" + b",".join(b'"%x":0' % i for i in range(90000)) + b"}",
    "depth": b"[" * (LIMIT // 2) + b"]" * (LIMIT // 2),
    "unclosed": b"[" * LIMIT,
    "string": b'{"schemaVersion":2,"mediaType":"' + b"x" * LIMIT + b'"}',
    "duplicates": b'{"schemaVersion":2,"schemaVersion":2}',
    "number": b'{"schemaVersion":' + b"9" * 400000 + b"}",
    "nul": b'{"schemaVersion":2,"mediaType":"\\u0000"}',
    "trailing": manifest() + b"{}",
    "empty": b"",
    "null": b"null",
}


@pytest.mark.parametrize("name", BOMBS)
def test_json_bombs(fetch, registry, name):
    data = BOMBS[name]
    assert len(data) <= 1024 * 1024
    registry.put("app", "latest", data, OCI_MANIFEST)
    fetch.fails(f"{registry.host}/app", "EKEYREJECTED", measured=True)
    check_memory(fetch)


@pytest.mark.parametrize("name", ["objects", "keys", "depth"])
def test_json_bombs_in_errors_and_tokens(fetch, registry, name):
    data = BOMBS[name][:60000]
    registry.hooks.append(on("HEAD", answer=Answer(405)))
    registry.hooks.append(on("GET", "/manifests/", Answer(500, body=BOMBS[name])))
    fetch.fails(f"{registry.host}/app", "EREMOTEIO", "(500)", measured=True)
    check_memory(fetch)
    registry.hooks.clear()
    bearer(registry, registry.url + "/token")
    registry.hooks.append(on("GET", "/token", Answer(200, body=data)))
    fetch.fails(f"{registry.host}/app", "EFBIG" if name == "objects" else "EBADMSG", "sent no", measured=True)
    check_memory(fetch)


def test_largest_honest_documents_fit(fetch, registry):
    member = manifest(layers=range(512))
    registry.put("app", None, member)
    many = [(f"linux/arm/v{i % 3 + 5}", member) for i in range(256)]
    registry.put("app", "latest", index(many))
    assert fetch.ask(f"{registry.host}/app", measured=True)["layer-bytes"] == sum(range(512))
    check_memory(fetch)
    # Both documents are more than a line may carry.
    first = fetch.ask(f"{registry.host}/app", measured=True, documents={})
    assert list(first["documents"]) == [first["digest"]]
    check_memory(fetch)
    again = fetch.ask(f"{registry.host}/app", measured=True, documents=first["documents"])
    assert again == {**first, "documents": {}}
    check_memory(fetch)


def test_document_is_bounded(fetch, registry):
    registry.put("app", "latest", b" " * (1024 * 1024) + manifest(), OCI_MANIFEST)
    fetch.fails(f"{registry.host}/app", "EFBIG", measured=True)
    check_memory(fetch)


def test_both_manifests_and_config(fetch, registry):
    both = json.loads(manifest())
    both["manifests"] = json.loads(index([("linux/arm/v7", manifest())]))["manifests"]
    for media_type in (OCI_MANIFEST, OCI_INDEX):
        both["mediaType"] = media_type
        registry.put("app", "latest", json.dumps(both).encode())
        fetch.fails(f"{registry.host}/app", "EKEYREJECTED", "both")


def test_type_and_content_type_differ(fetch, registry):
    registry.put("app", "latest", manifest(), OCI_INDEX)
    fetch.fails(f"{registry.host}/app", "EBADMSG", "the registry says")


def test_schema_1(fetch, registry):
    old = {"schemaVersion": 1, "name": "app", "tag": "latest", "fsLayers": [], "history": []}
    registry.put("app", "latest", json.dumps(old).encode(),
                 "application/vnd.docker.distribution.manifest.v1+prettyjws")
    fetch.fails(f"{registry.host}/app", "EKEYREJECTED", "schema 1")


def test_index_in_an_index(fetch, registry):
    inner = index([("linux/arm/v7", manifest())])
    top = json.loads(index([("linux/arm/v7", inner)]))
    registry.put("app", None, inner)
    registry.put("app", "latest", json.dumps(top).encode())
    fetch.fails(f"{registry.host}/app", "EKEYREJECTED", "it has: none")
    top["manifests"][0]["mediaType"] = OCI_MANIFEST
    registry.put("app", "latest", json.dumps(top).encode())
    fetch.fails(f"{registry.host}/app", "EKEYREJECTED", "lists an index")


# Statuses

def test_missing_tag(fetch, registry):
    fetch.fails(f"{registry.host}/app:nope", "ENOENT", f"{registry.host}/app:nope",
                "does not have it")
    assert registry.methods() == ["HEAD", "GET"]


def test_missing_digest(fetch, registry):
    fetch.fails(f"{registry.host}/app@sha256:{'c' * 64}", "ENOENT", "manifest unknown")


def test_server_error(fetch, registry):
    registry.hooks.append(on("HEAD", answer=Answer(405)))
    registry.hooks.append(on("GET", answer=Answer(
        500, body={"errors": [{"message": "disk\n\u001b[31mfull " + "x" * 1000}]})))
    error = fetch.fails(f"{registry.host}/app", "EREMOTEIO", "(500)", "disk??[31mfull")
    assert len(error["text"]) < 512 and "retry-after" not in error


@pytest.mark.parametrize("status", [403, 418, 204, 304])
def test_other_statuses(fetch, registry, status):
    registry.hooks.append(on(answer=Answer(status)))
    fetch.fails(f"{registry.host}/app", "EACCES" if status == 403 else "EPROTO", str(status))


def http_date(seconds):
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + seconds))


@pytest.mark.parametrize("value,low,high", [
    ("120", 120, 120), ("999999999999999999999999", 0, 86400), (lambda: http_date(100), 90, 100),
    (lambda: http_date(10**7), 86400, 86400), (lambda: http_date(-100), 0, 0), ("0", 0, 0),
    ("soon", 0, 0), ("-5", 0, 0), ("", 0, 0)])
def test_retry_after(fetch, registry, value, low, high):
    value = value() if callable(value) else value
    registry.hooks.append(on(answer=Answer(429, {"Retry-After": value})))
    error = fetch.fails(f"{registry.host}/app", "EBUSY", "429", "Retry-After")
    assert low <= error.get("retry-after", 0) <= high
    assert len(registry.seen) == 1


def test_nothing_listens(fetch):
    fetch.fails(f"127.0.0.1:{free_port()}/app", "ECONNREFUSED")


def test_unknown_host(fetch):
    fetch.fails("pullet-test.invalid/app", "EHOSTUNREACH")


# TLS

def test_tls_with_own_authority(fetch, certificate):
    with Registry(name="localhost", certificate=certificate[0], key=certificate[1]) as registry:
        digest = registry.put("app", "latest", manifest())
        fetch.configure(registry.host, ca=certificate[0])
        assert fetch.ask(f"{registry.host}/app", measured=True)["digest"] == digest
        check_memory(fetch)


@pytest.mark.parametrize("name", ["objects", "numbers", "string"])
def test_json_bombs_behind_a_full_trust_store(fetch, certificate, name):
    """The worst case of a public registry."""
    bundle = fetch.directory / "bundle.crt"
    system = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
    if not system.exists():
        pytest.skip("no ca-certificates")
    bundle.write_bytes(system.read_bytes() + pathlib.Path(certificate[0]).read_bytes())
    with Registry(name="localhost", certificate=certificate[0], key=certificate[1]) as registry:
        registry.put("app", "latest", BOMBS[name], OCI_MANIFEST)
        fetch.configure(registry.host, ca=bundle)
        fetch.fails(f"{registry.host}/app", "EKEYREJECTED", measured=True)
        check_memory(fetch)


def test_tls_without_its_authority(fetch, certificate):
    with Registry(name="localhost", certificate=certificate[0], key=certificate[1]) as registry:
        registry.put("app", "latest", manifest())
        fetch.configure(registry.host, insecure="no")
        fetch.fails(f"{registry.host}/app", "EPROTO", "certificate", measured=True)
        assert registry.seen == []
        check_memory(fetch)


def test_tls_with_wrong_name(fetch, certificate):
    with Registry("127.0.0.3", certificate=certificate[0], key=certificate[1]) as registry:
        fetch.configure(registry.host, ca=certificate[0])
        fetch.fails(f"{registry.host}/app", "EPROTO")
        assert registry.seen == []


def test_docker_certs_d(fetch, certificate):
    """Runs in a mount namespace of its own, so that nothing outside changes."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"],
                                           capture_output=True).returncode:
        pytest.skip("needs to make a mount namespace")
    with Registry(name="localhost", certificate=certificate[0], key=certificate[1]) as registry:
        digest = registry.put("app", "latest", manifest())
        script = ('mkdir -p /etc/docker && mount -t tmpfs none /etc/docker && '
                  'mkdir -p "/etc/docker/certs.d/$1" && cp "$2" "/etc/docker/certs.d/$1/ca.crt" && '
                  'exec "$3" --config "$4"')
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.sendall(json.dumps({"image": f"{registry.host}/app", "os": "linux",
                                     "architecture": "arm", "known": [digest]}).encode() + b"\n")
            proc = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", registry.host,
                                   certificate[0], str(PROGRAM), str(fetch.config)],
                                  stdin=theirs, capture_output=True, timeout=100)
            assert proc.returncode == 0, proc.stderr
            reply = json.loads(ours.recv(65536))
            assert reply.pop("traffic") and reply == {"digest": digest, "known": True}


def test_docker_hub_is_asked_at_its_registry(fetch):
    """Runs in a network namespace of its own, so that nothing is asked: the error names the host."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode:
        pytest.skip("needs to make a network namespace")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b'{"image": "docker.io/library/hello", "os": "linux", "architecture": "arm"}\n')
        subprocess.run(["unshare", "-n", str(PROGRAM), "--config", str(fetch.config)],
                       stdin=theirs, capture_output=True, timeout=100, check=True)
        assert "registry-1.docker.io" in json.loads(ours.recv(65536))["error"]["text"]


def test_insecure_is_explicit(fetch, registry):
    """Only loopback registries are used over plain HTTP without configuration."""
    digest = registry.put("app", "latest", manifest())
    fetch.configure(registry.host, insecure="no")
    fetch.fails(f"{registry.host}/app", "EPROTO")
    assert registry.seen == []
    fetch.config.write_text("")
    fetch.configure(registry.host, insecure="yes")
    assert fetch.ask(f"{registry.host}/app")["digest"] == digest


def test_loopback_registry_that_wants_tls(fetch):
    first_bytes = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)

        def serve():
            for _ in range(3):
                sock, _ = server.accept()
                with sock:
                    data = sock.recv(65536)
                    first_bytes.append(data[:4])
                    if data[0] == 0x16:
                        return
                    sock.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n"
                                 b"Client sent an HTTP request to an HTTPS server.\n")

        thread = threading.Thread(target=serve)
        thread.start()
        fetch.fails("127.0.0.1:%d/app" % server.getsockname()[1], "EPROTO")
        thread.join()
    assert first_bytes[:2] == [b"HEAD", b"GET "] and first_bytes[2][0] == 0x16


def test_proxy_is_used_but_not_for_loopback(fetch, registry, monkeypatch):
    with Registry("127.0.0.2") as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        digest = registry.put("app", "latest", manifest())
        assert fetch.ask(f"{registry.host}/app")["digest"] == digest
        assert proxy.seen == []
        fetch.configure("registry.invalid:5000", insecure="yes")
        fetch.fails("registry.invalid:5000/app", "ENOENT")
        assert proxy.seen[0].path == "http://registry.invalid:5000/v2/app/manifests/latest"


def test_other_hosts_are_never_asked_over_plain_http(fetch, monkeypatch):
    """The proxy would see such a request, and the name can only be resolved through it."""
    with Registry("127.0.0.2") as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        fetch.fails("registry.invalid:5000/app", "EHOSTUNREACH")
        assert proxy.seen == []


# Time, signals and the socket

def test_silence_and_dribble_end_by_the_stall_limit_slow(tmp_path):
    """20 s of less than 100 bytes a second, at once for both, in real time. The limit that ended it is in its text."""
    results = {}

    def run(name, hook):
        directory = tmp_path / name
        directory.mkdir()
        fetch = Fetch(directory)
        with Registry() as registry:
            registry.hooks.append(hook)
            results[name] = fetch.ask(f"{registry.host}/app")

    def silent(sock):
        sock.settimeout(90)
        sock.recv(1)

    cases = {"silent": on(answer=Answer(raw=silent)),
             "dribble": on(answer=raw(b"HTTP/1.1 200 OK\r\nX: ", b"x", pause=1, forever=True))}
    threads = [threading.Thread(target=run, args=case) for case in cases.items()]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for name, reply in results.items():
        assert reply["error"]["code"] == "ETIMEDOUT", (name, reply)
        assert "Less than 100 bytes/sec transferred the last 20 seconds" in reply["error"]["text"], (name, reply)
    assert results.keys() == cases.keys()


@pytest.fixture
def waiting_child(fetch, registry):
    """A child whose response keeps arriving, too fast for the stall limit: without a signal it ends after the 60 s of
    a request. tests/unit/test-http.c covers a signal during silence."""
    asked = threading.Event()

    def drip(sock):
        asked.set()
        raw(b"HTTP/1.1 200 OK\r\n\r\n", b" " * 20, pause=0.1, forever=True).raw(sock)

    registry.put("app", "latest", manifest())
    registry.hooks.append(on("GET", answer=Answer(raw=drip)))
    child = Child(fetch.config, host=registry.host)
    child.send({"image": f"{registry.host}/app", "os": "linux", "architecture": "arm"})
    assert asked.wait(100)
    yield child
    if child.proc.poll() is None:
        child.proc.kill()
    child.proc.communicate()


def test_sigterm(waiting_child):
    waiting_child.proc.send_signal(signal.SIGTERM)
    assert waiting_child.receive(45)["error"]["code"] == "ECANCELED"
    assert waiting_child.proc.wait(100) == 0


def test_caller_hangs_up(waiting_child):
    waiting_child.ours.close()
    waiting_child.proc.wait(45)


@pytest.mark.parametrize("line,code", [
    (b"nonsense\n", "EBADMSG"), (b"[]\n", "EBADMSG"), (b"{}\n", "EBADMSG"),
    (b'{"image":"x","os":"linux","architecture":"arm","known":["sha256:x"]}\n', "EBADMSG"),
    (b'{"image":"Upper/Case:1","os":"linux","architecture":"arm"}\n', "EINVAL"),
    (b"x" * 300000, "EFBIG")], ids=range(6))
def test_bad_requests(fetch, line, code):
    child = Child(fetch.config)
    try:
        child.ours.sendall(line)
        assert child.receive()["error"]["code"] == code
    finally:
        child.end()


def test_request_that_never_comes(fetch):
    child = Child(fetch.config)
    child.ours.shutdown(socket.SHUT_WR)
    assert child.receive() is None
    child.end()
    assert child.proc.returncode == 0


def test_truncated_request(fetch):
    child = Child(fetch.config)
    child.ours.sendall(b'{"image"')
    child.ours.shutdown(socket.SHUT_WR)
    assert child.receive()["error"]["code"] == "EPIPE"
    child.end()


def test_standard_input_is_the_socket(fetch, registry):
    """As systemd's Accept=yes with StandardInput=socket starts it."""
    digest = registry.put("app", "latest", manifest())
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(json.dumps({"image": f"{registry.host}/app", "os": "linux",
                                 "architecture": "arm", "known": [digest]}).encode() + b"\n")
        proc = subprocess.run([PROGRAM, "--config", fetch.config], stdin=theirs,
                              capture_output=True, timeout=100)
        assert proc.returncode == 0 and proc.stdout == b""
        reply = json.loads(ours.recv(65536))
        assert reply.pop("traffic") and reply == {"digest": digest, "known": True}


def test_broken_configuration(fetch):
    fetch.config.write_text("[registry x]\ncolour = red\n")
    fetch.fails("127.0.0.1:1/app", "EINVAL", "pullet.conf:2")


@pytest.mark.parametrize("arguments,status", [
    (["--help"], 0), (["--version"], 0), (["--nonsense"], 2), (["word"], 2), (["--fd", "99"], 2),
    (["--fd", "x"], 2), (["--fd", ""], 2), (["--config"], 2)])
def test_arguments(arguments, status):
    proc = subprocess.run([PROGRAM, *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=100)
    assert proc.returncode == status
    assert (proc.stdout if status == 0 else proc.stderr) != b""


# A registry that behaves

def upload(base, repository, data):
    request = urllib.request.Request(f"{base}/v2/{repository}/blobs/uploads/", method="POST")
    location = urllib.request.urlopen(request).headers["Location"]
    location = urllib.parse.urljoin(base, location)
    request = urllib.request.Request(f"{location}&digest={sha256(data)}", data, method="PUT",
                                     headers={"Content-Type": "application/octet-stream"})
    urllib.request.urlopen(request).close()


def test_real_registry(fetch, tmp_path):
    program = shutil.which("docker-registry")
    if not program:
        pytest.skip("docker-registry is not installed")
    port = free_port()
    (tmp_path / "registry.yml").write_text(
        "version: 0.1\nlog: {level: error}\n"
        f"storage: {{filesystem: {{rootdirectory: {tmp_path / 'data'}}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n")
    proc = subprocess.Popen([program, "serve", tmp_path / "registry.yml"],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        base = f"http://127.0.0.1:{port}"
        for _ in range(200):
            try:
                urllib.request.urlopen(base + "/v2/").close()
                break
            except OSError:
                time.sleep(0.05)
        upload(base, "team/app", b"{}")
        upload(base, "team/app", b"layer0")
        member = manifest(b"{}", (6,))
        top = index([("linux/arm/v6", member)])
        for reference, data in ((sha256(member), member), ("stable", top)):
            request = urllib.request.Request(
                f"{base}/v2/team/app/manifests/{reference}", data, method="PUT",
                headers={"Content-Type": json.loads(data)["mediaType"]})
            urllib.request.urlopen(request).close()
        image = f"127.0.0.1:{port}/team/app"
        assert fetch.ask(image + ":stable") == {
            "digest": sha256(top), "manifest": sha256(member), "config": sha256(b"{}"),
            "layer-bytes": 6}
        fetch.fails(image + ":none", "ENOENT")
        fetch.fails(f"{image}@sha256:{'d' * 64}", "ENOENT", "manifest unknown")
    finally:
        proc.terminate()
        proc.wait()
