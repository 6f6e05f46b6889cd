# SPDX-License-Identifier: MIT
"""Many requests to one registry: batches on one connection, cached tokens and TLS sessions, dropped privileges."""
import base64
import json
import os
import pathlib
import pwd
import select
import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse
import urllib.request

import pytest

from pullet_lab import free_port
from pullet_relay import Relay
from registryd import Answer, OCI_MANIFEST, Registry, manifest, on, sha256
from test_fetch import (PROGRAM, USER, Child, basic, certificate, environment, fetch,  # noqa: F401
                        nowhere, registry, sanitized)

CHALLENGE = "error=\"insufficient_scope\",scope=\"repository:secret/other:pull,push,delete\""


def dropped_user():
    """The user that a child of root changes to."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    try:
        return pwd.getpwnam("pullet-fetch")
    except KeyError:
        return pwd.getpwnam("nobody")


@pytest.fixture
def cache(fetch):
    directory = fetch.directory / "cache"
    directory.mkdir(mode=0o700)
    os.chown(directory, dropped_user().pw_uid, dropped_user().pw_gid)
    fetch.options = ("--cache-dir", str(directory))
    return directory


def ask_all(fetch, host, questions):
    """Sends a batch on a connection of its own."""
    child = Child(fetch.config, options=fetch.options, host=host)
    try:
        return batch(child, questions)
    finally:
        child.end()


def batch(child, questions):
    for i, question in enumerate(questions):
        child.send({**question, "more": True} if i + 1 < len(questions) else question)
    return [child.receive() for _ in questions]


def resolve(fetch, registry, *names):
    return ask_all(fetch, registry.host,
                   [{"op": "resolve", "image": f"{registry.host}/{name}"} for name in names])


class Tokens:
    """A token server and the registry that wants its tokens. grant: the requested scopes -> the scopes of the token."""

    def __init__(self, registry, grant=lambda scopes: scopes, realm=None):
        self.registry, self.grant = registry, grant
        self.asked, self.valid, self.fields = [], {}, {}
        self.realm = realm or registry.url + "/token"
        registry.hooks.insert(0, self.guard)
        registry.hooks.insert(0, on(path="/token", answer=self.give))

    def give(self, seen):
        query = seen.body.decode() if seen.method == "POST" else urllib.parse.urlsplit(seen.path).query
        scopes = urllib.parse.parse_qs(query)["scope"]
        self.asked.append(scopes)
        granted = self.grant(scopes)
        if isinstance(granted, Answer):
            return granted
        token = f"token{len(self.asked)}"
        self.valid[f"Bearer {token}"] = granted
        return Answer(200, body={"token": token, **self.fields})

    def guard(self, seen):
        if seen.path.startswith("/token"):
            return None
        repository = seen.path.removeprefix("/v2/").rsplit("/manifests/")[0]
        if f"repository:{repository}:pull" in self.valid.get(seen.authorization, []):
            return None
        return Answer(401, {"WWW-Authenticate": f'Bearer realm="{self.realm}",service="s",{CHALLENGE}'})


@pytest.fixture
def apps(registry):
    return put_apps(registry)


def put_apps(registry, n=3):
    return [registry.put(f"app{i}", "latest", manifest(b"%d" % i)) for i in range(n)]


def scopes(*names):
    return [f"repository:{name}:pull" for name in names]


def digests(replies):
    return [reply.get("digest") for reply in replies]


# A connection

def test_replies_come_in_the_order_of_the_batch(fetch, registry, apps):
    questions = [{"op": "resolve", "image": f"{registry.host}/app2"},
                 {"op": "resolve", "image": "Not An Image"},
                 {"image": f"{registry.host}/app1", "os": "linux", "architecture": "arm"},
                 {"op": "resolve", "image": f"{registry.host}/none"},
                 {"op": "rollout", "image": f"{registry.host}/app1"},
                 {},
                 {"op": "publish", "image": f"{registry.host}/app1"},
                 {"op": "resolve", "image": f"{registry.host}/app0@{apps[1]}"},
                 {"op": "resolve", "image": f"{registry.host}/app0"}]
    replies = ask_all(fetch, registry.host, questions)
    assert [r.get("digest") or r.get("rollout") or r["error"]["code"] if "rollout" not in r else "none"
            for r in replies] == [apps[2], "EINVAL", apps[1], "ENOENT", "none", "EBADMSG", "EPERM",
                                  apps[1], apps[0]]


def test_one_connection_serves_batch_after_batch(fetch, registry, apps):
    child = Child(fetch.config, host=registry.host)
    for _ in range(3):
        assert digests(batch(child, [{"op": "resolve", "image": f"{registry.host}/app{i}"}
                                     for i in range(3)])) == apps
    child.end()
    assert child.proc.returncode == 0
    assert registry.connections == 1 and registry.methods() == ["HEAD"] * 9


def test_the_same_tag_is_asked_once(fetch, registry, apps):
    assert digests(resolve(fetch, registry, "app0", "app1", "app0")) == [apps[0], apps[1], apps[0]]
    assert registry.methods() == ["HEAD"] * 2


def test_another_host_is_refused(fetch, registry, apps):
    with Registry("127.0.0.2") as other:
        put_apps(other)
        replies = ask_all(fetch, registry.host, [
            {"op": "resolve", "image": f"{host}/app0"} for host in (registry.host, other.host, registry.host)])
        assert digests(replies) == [apps[0], None, apps[0]]
        assert replies[1]["error"]["code"] == "EPERM" and other.host in replies[1]["error"]["text"]
        assert other.connections == 0


def test_a_report_is_refused_on_a_registrys_connection(fetch, registry):
    fetch.config.write_text(f"[report]\nurl = {registry.url}\n")
    assert ask_all(fetch, registry.host, [{"op": "report", "metrics": "{}"}])[0]["error"]["code"] == "EPERM"
    assert registry.seen == []


def test_the_socket_is_bound_to_the_first_host(fetch, registry, apps):
    ours, theirs = socket.socketpair()
    with ours, theirs, Registry("127.0.0.2") as other:
        put_apps(other)
        process = subprocess.Popen([PROGRAM, "--config", fetch.config], stdin=theirs)
        for host, answer in ((registry.host, apps[0]), (other.host, None), (registry.host, apps[0])):
            ours.sendall(json.dumps({"op": "resolve", "image": f"{host}/app0"}).encode() + b"\n")
            assert json.loads(ours.recv(65536)).get("digest") == answer
        ours.close()
        assert process.wait(10) == 0 and other.connections == 0


def test_a_batch_too_large_gets_one_answer(fetch, registry):
    child = Child(fetch.config, host=registry.host)
    for _ in range(33):
        child.send({"op": "resolve", "image": f"{registry.host}/app", "more": True})
    assert child.receive()["error"]["code"] == "E2BIG"
    assert child.receive() is None
    child.end()


def test_hanging_up_cancels_a_stalled_batch(fetch, registry):
    asked, release = threading.Event(), threading.Event()

    def hold(sock):
        asked.set()
        release.wait(60)

    registry.hooks.append(on(answer=Answer(raw=hold)))
    child = Child(fetch.config, host=registry.host)
    for i in range(3):
        child.send({"op": "resolve", "image": f"{registry.host}/app{i}", "more": i < 2})
    assert asked.wait(10)
    # Requests that arrive meanwhile are the next batch, and cancel nothing.
    child.send({"op": "resolve", "image": f"{registry.host}/app"})
    child.ours.settimeout(1)
    with pytest.raises(TimeoutError):
        child.ours.recv(1)
    child.ours.close()
    assert child.proc.wait(30) is not None
    assert len(registry.seen) == 1
    release.set()
    child.proc.communicate()


def test_twenty_questions_one_handshake(fetch, certificate, cache):
    with Registry(name="localhost", certificate=certificate[0], key=certificate[1]) as registry:
        apps = put_apps(registry, 20)
        fetch.configure(registry.host, ca=certificate[0])
        for _ in range(2):
            assert digests(resolve(fetch, registry, *(f"app{i}" for i in range(20)))) == apps
        assert registry.methods() == ["HEAD"] * 40
        assert registry.resumed == [False, True]


def test_a_tls_session_is_for_one_authority(fetch, certificate, cache, tmp_path):
    other = tmp_path / "other.crt"
    with Registry(name="localhost", certificate=certificate[0], key=certificate[1]) as registry:
        put_apps(registry)
        for ca in (certificate[0], certificate[0], str(other)):
            shutil.copyfile(certificate[0], other)
            fetch.config.write_text("")
            fetch.configure(registry.host, ca=ca)
            resolve(fetch, registry, "app0")
        assert registry.resumed == [False, True, False]


# Tokens

def test_several_repositories_one_token(fetch, registry, apps):
    tokens = Tokens(registry)
    assert digests(resolve(fetch, registry, "app0", "app1", "app2", "app0:latest")) == apps + apps[:1]
    assert tokens.asked == [scopes("app0", "app1", "app2")]
    assert registry.methods() == ["HEAD", "GET"] + ["HEAD"] * 3


def test_identity_token_asks_for_all_scopes_in_one(fetch, registry, apps):
    tokens = Tokens(registry, lambda asked: asked[0].split())
    fetch.configure(registry.host, credentials=fetch.credentials(registry.host, identitytoken="refresh"))
    assert digests(resolve(fetch, registry, "app0", "app1")) == apps[:2]
    assert tokens.asked == [[" ".join(scopes("app0", "app1"))]]


def test_a_quiet_poll_with_a_token_is_one_request(fetch, registry, apps, cache):
    tokens = Tokens(registry)
    for _ in range(3):
        assert digests(resolve(fetch, registry, "app0")) == apps[:1]
    assert registry.methods() == ["HEAD", "GET", "HEAD", "HEAD", "HEAD"]
    assert tokens.asked == [scopes("app0")]


def test_nothing_is_written_when_nothing_changed(fetch, certificate, cache):
    with Registry(name="localhost", certificate=certificate[0], key=certificate[1]) as registry:
        put_apps(registry)
        Tokens(registry)
        fetch.configure(registry.host, ca=certificate[0])
        resolve(fetch, registry, "app0")
        before = {p.name: p.stat().st_ino for p in cache.glob("token-*")}
        resolve(fetch, registry, "app0")
        assert before == {p.name: p.stat().st_ino for p in cache.glob("token-*")}
        assert len(before) == 1 and len(list(cache.iterdir())) == 3  # and a TLS session, and the traffic
        for path in cache.iterdir():
            assert path.stat().st_mode & 0o777 == 0o600


def test_without_a_token_the_challenge_is_known(fetch, registry, apps, cache):
    """An expired token causes no 401."""
    tokens = Tokens(registry)
    resolve(fetch, registry, "app0")
    change(cache, lambda j: j["tokens"][0].update(expires=1))
    registry.seen.clear()
    assert digests(resolve(fetch, registry, "app0", "app1")) == apps[:2]
    assert registry.methods() == ["GET", "HEAD", "HEAD"]
    assert tokens.asked[1:] == [scopes("app0", "app1")]


def cached(cache):
    path, = cache.glob("token-*")
    return path, json.loads(path.read_text())


def change(cache, edit):
    path, content = cached(cache)
    edit(content)
    with path.open("w") as f:
        json.dump(content, f)


@pytest.mark.parametrize("field,seconds", [
    ({}, 60), ({"expires_in": 1}, 60), ({"expires_in": -5}, 60), ({"expires_in": "900"}, 60),
    ({"expires_in": 900}, 900), ({"expires_in": 10**9}, 86400)])
def test_lifetime_of_a_token(fetch, registry, apps, cache, field, seconds):
    Tokens(registry).fields = field
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    resolve(fetch, registry, "app0")
    after = time.clock_gettime(time.CLOCK_BOOTTIME)
    token, = cached(cache)[1]["tokens"]
    assert before + seconds - 10.01 <= token["expires"] / 1000 <= after + seconds - 10


def test_a_token_that_is_refused_is_replaced_once(fetch, registry, apps, cache):
    tokens = Tokens(registry)
    resolve(fetch, registry, "app0", "app1")
    registry.seen.clear()
    tokens.valid.clear()
    assert digests(resolve(fetch, registry, "app0", "app1")) == apps[:2]
    assert tokens.asked[1:] == [scopes("app0", "app1")]
    assert registry.methods() == ["HEAD", "HEAD", "GET", "HEAD", "HEAD"]
    tokens.grant = lambda asked: []
    tokens.valid.clear()
    registry.seen.clear()
    reply, = resolve(fetch, registry, "app0")
    assert reply["error"]["code"] == "EACCES"
    assert registry.methods() == ["HEAD", "GET", "HEAD"]


def test_a_token_that_expires_in_the_middle(fetch, registry, apps):
    tokens = Tokens(registry)
    child = Child(fetch.config, host=registry.host)
    question = [{"op": "resolve", "image": f"{registry.host}/app0"}]
    assert digests(batch(child, question)) == apps[:1]
    tokens.valid.clear()
    assert digests(batch(child, question)) == apps[:1]
    child.end()
    assert len(tokens.asked) == 2


def test_a_server_that_grants_the_first_scope_only(fetch, registry, apps, cache):
    tokens = Tokens(registry, lambda asked: asked[:1])
    assert digests(resolve(fetch, registry, "app0", "app1", "app2")) == apps
    assert tokens.asked == [scopes("app0", "app1", "app2"), scopes("app1"), scopes("app2")]
    assert digests(resolve(fetch, registry, "app0", "app1", "app2")) == apps
    assert len(tokens.asked) == 3


@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_server_that_refuses_two_scopes(fetch, registry, apps, status):
    tokens = Tokens(registry, lambda asked: asked if len(asked) == 1 else Answer(status))
    assert digests(resolve(fetch, registry, "app0", "app1")) == apps[:2]
    assert tokens.asked == [scopes("app0", "app1"), scopes("app0"), scopes("app1")]


def test_a_repository_that_is_refused_is_refused_alone(fetch, registry, apps):
    tokens = Tokens(registry, lambda asked: Answer(403) if "repository:app1:pull" in asked else asked)
    replies = resolve(fetch, registry, "app0", "app1", "app2")
    assert digests(replies) == [apps[0], None, apps[2]]
    assert replies[1]["error"]["code"] == "EACCES"
    assert len(tokens.asked) == 4


@pytest.mark.parametrize("status,code", [(401, "EACCES"), (429, "EBUSY"), (500, "EREMOTEIO")])
def test_a_server_that_refuses_or_fails_is_asked_once(fetch, registry, apps, status, code):
    """Accounts get locked if a wrong password is tried again."""
    tokens = Tokens(registry, lambda asked: Answer(status, {"Retry-After": "7"}))
    replies = resolve(fetch, registry, "app0", "app1")
    assert [r["error"]["code"] for r in replies] == [code] * 2
    assert len(tokens.asked) == 1
    if status == 429:
        assert [r["error"]["retry-after"] for r in replies] == [7, 7]


def test_a_token_server_that_moved(fetch, registry, apps, cache):
    tokens = Tokens(registry)
    resolve(fetch, registry, "app0")
    change(cache, lambda j: j.update(tokens=[], realm=registry.url + "/gone"))
    assert digests(resolve(fetch, registry, "app0")) == apps[:1]
    assert len(tokens.asked) == 2


def test_a_changed_credential_uses_no_old_token(fetch, registry, apps, cache):
    tokens = Tokens(registry)
    for user in (USER, "other", None):
        fetch.config.write_text("")
        if user:
            fetch.configure(registry.host, credentials=fetch.credentials(registry.host, user=user))
        resolve(fetch, registry, "app0")
    assert [s.authorization for s in registry.seen if s.path.startswith("/token")] == [
        basic(), basic("other"), None]
    assert len(tokens.asked) == 3


def test_a_token_is_for_one_host(fetch, registry, apps, cache):
    Tokens(registry)
    with Registry() as other:
        put_apps(other)
        resolve(fetch, registry, "app0")
        resolve(fetch, other, "app0")
        assert other.seen[0].authorization is None
        # it is not sent along a redirect, either
        registry.hooks.append(lambda seen: Answer(307, {"Location": other.url + seen.path}))
        resolve(fetch, registry, "app0")
        assert registry.seen[-1].authorization and [s.authorization for s in other.seen] == [None, None]
        assert len(list(cache.glob("t*-*"))) == 1  # nothing was learned from the other host


def test_withheld_credentials_are_reported(fetch, registry, apps, cache):
    with Registry("127.0.0.2") as evil:
        tokens = Tokens(registry, realm=evil.url + "/token")
        evil.hooks.append(on(path="/token", answer=tokens.give))
        fetch.configure(registry.host, credentials=fetch.credentials(registry.host))
        for _ in range(2):  # the second time from the cache
            assert fetch.ask(f"{registry.host}/app0")["withheld"] == \
                "the credentials were not sent to 127.0.0.2, which does not belong to 127.0.0.1; if they are for it " \
                f"too, set token-server = {evil.url} in [registry {registry.host}]"
        assert [s.authorization for s in evil.seen] == [None]


BROKEN = {
    "empty": lambda path: path.write_text(""),
    "no json": lambda path: path.write_text("{"),
    "list": lambda path: path.write_text("[]"),
    "large": lambda path: path.write_text(path.read_text() + " " * 300000),
    "boot": lambda path: edit_file(path, boot="another"),
    "no boot": lambda path: edit_file(path, boot=None),
    "line break": lambda path: edit_token(path, token="a\r\nX-Evil: 1"),
    "no token": lambda path: edit_token(path, token=7),
    "no list": lambda path: edit_token(path, repositories="app0"),
    "far future": lambda path: edit_token(path, expires=2**60),
    "readable": lambda path: path.chmod(0o644),
    "symlink": lambda path: (path.rename(path.with_name("moved")), path.symlink_to("moved")),
    "fifo": lambda path: (path.unlink(), os.mkfifo(path, 0o600)),
}
if os.geteuid() == 0:
    BROKEN["foreign"] = lambda path: os.chown(path, 12345, 12345)


def edit_file(path, **fields):
    content = json.loads(path.read_text())
    content.update(fields)
    path.write_text(json.dumps(content))


def edit_token(path, **fields):
    content = json.loads(path.read_text())
    content["tokens"][0].update(fields)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_cannot_be_trusted_is_no_cache(fetch, registry, apps, cache, name):
    tokens = Tokens(registry)
    resolve(fetch, registry, "app0")
    path, _ = cached(cache)
    BROKEN[name](path)
    registry.seen.clear()
    assert digests(resolve(fetch, registry, "app0")) == apps[:1]
    assert registry.methods() == ["HEAD", "GET", "HEAD"] and len(tokens.asked) == 2
    assert digests(resolve(fetch, registry, "app0")) == apps[:1]
    assert len(tokens.asked) == 2  # and it was replaced


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_directory_that_others_may_enter_is_not_used(fetch, registry, apps, cache, mode):
    Tokens(registry)
    cache.chmod(mode)
    assert digests(resolve(fetch, registry, "app0")) == apps[:1]
    assert list(cache.iterdir()) == []


def test_the_runtime_directory_of_a_unit_is_its_cache(fetch, registry, apps, cache):
    Tokens(registry)
    os.chown(cache, os.geteuid(), os.getegid())
    ours, theirs = socket.socketpair()
    unit = subprocess.Popen([PROGRAM, "--config", fetch.config], stdin=theirs, env={**os.environ, "RUNTIME_DIRECTORY": str(cache)})
    theirs.close()
    with ours, ours.makefile("rw") as stream:
        print(json.dumps({"op": "resolve", "image": f"{registry.host}/app0"}), file=stream, flush=True)
        assert json.loads(stream.readline())["digest"] == apps[0]
    assert unit.wait(100) == 0
    assert len(list(cache.glob("t*-*"))) == 1


def test_a_child_that_was_told_no_registry_is_bound_to_the_first(fetch, registry, apps):
    child = Child(fetch.config, options=fetch.options, host=None)
    child.send({"op": "resolve", "image": f"{registry.host}/app0"})
    assert child.receive()["digest"] == apps[0]
    for other in ({"op": "resolve", "image": "127.0.0.1:9/app"}, {"op": "report", "metrics": "{}"}):
        child.send(other)
        assert child.receive()["error"]["code"] == "EPERM"
    child.end()


# Privileges that a child of root drops

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to give up")


def status_of(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.split() for key, value in (line.split(":", 1) for line in lines)}


@root_only
@pytest.mark.parametrize("options", [(), ("--publish",)])
def test_a_child_of_a_test_keeps_nothing(fetch, registry, apps, options):
    """The program's own directory would be shared by all tests (nowhere())."""
    child = Child(fetch.config, options=options, host=registry.host)
    child.send({"op": "resolve", "image": f"{registry.host}/app0"})
    assert child.receive()["digest"] == apps[0]
    assert "/run/pullet-fetch" not in {os.readlink(f"/proc/{child.proc.pid}/fd/{fd}")
                                       for fd in os.listdir(f"/proc/{child.proc.pid}/fd")}
    child.end()


@root_only
def test_a_child_of_root_changes_its_user_before_it_reads(fetch, registry, apps):
    below = os.open("/etc/shadow", os.O_RDONLY)
    ours, theirs = socket.socketpair()
    above = os.open("/etc/shadow", os.O_RDONLY)
    with ours, theirs:
        process = subprocess.Popen([PROGRAM, "--config", fetch.config, "--fd", str(theirs.fileno()),
                                    *nowhere(fetch.config), "--registry", registry.host], pass_fds=[theirs.fileno(), below, above],
                                   stdin=subprocess.DEVNULL, extra_groups=[1, 4])
        os.close(below)
        os.close(above)
        ours.sendall(json.dumps({"op": "resolve", "image": f"{registry.host}/app0"}).encode() + b"\n")
        assert json.loads(ours.recv(65536))["digest"] == apps[0]
        status = status_of(process.pid)
        files = {os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{process.pid}/fd")}
        ours.close()
        assert process.wait(10) == 0
    user = dropped_user()
    assert status["Uid"] == [str(user.pw_uid)] * 4 and status["Gid"] == [str(user.pw_gid)] * 4
    assert status["Groups"] == []
    for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(status[kind][0], 16) == 0, kind
    assert status["NoNewPrivs"] == ["1"]
    assert "/etc/shadow" not in files


@root_only
def test_files_of_root_are_read_before_the_user_changes(fetch, certificate, tmp_path):
    """Credentials and CA of the one registry are read first; such files cannot be read any more afterwards."""
    ca = tmp_path / "ca.crt"
    shutil.copyfile(certificate[0], ca)
    ca.chmod(0o600)
    with Registry(name="localhost", certificate=certificate[0], key=certificate[1]) as registry:
        apps = put_apps(registry)
        registry.hooks.append(lambda seen: None if seen.authorization == basic() else
                              Answer(401, {"WWW-Authenticate": "Basic realm=x"}))
        fetch.configure(registry.host, ca=ca, credentials=fetch.credentials(registry.host))
        assert digests(resolve(fetch, registry, "app0")) == apps[:1]


@root_only
def test_a_file_of_root_is_out_of_reach(fetch, registry, tmp_path):
    """The connection for reports reads no credentials of registries, and cannot read them later."""
    fetch.configure(registry.host, credentials=fetch.credentials(registry.host))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = subprocess.Popen([PROGRAM, "--config", fetch.config, "--fd", str(theirs.fileno()), *nowhere(fetch.config)],
                                   pass_fds=[theirs.fileno()])
        ours.sendall(b"{}\n")
        ours.recv(65536)
        # The same user and capabilities, with another view of the files.
        user = dropped_user()
        tried = subprocess.run(["nsenter", f"--mount=/proc/{process.pid}/ns/mnt", "setpriv",
                                f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups",
                                "--inh-caps=-all", "--no-new-privs", "cat", fetch.directory / "auth.json"],
                               capture_output=True)
        ours.close()
        process.wait(10)
    assert tried.returncode != 0 and b"denied" in tried.stderr


def test_a_child_ends_with_its_parent(fetch):
    """This also holds if the parent died before the child could request the signal."""
    script = ("import os, socket, subprocess, sys\n"
              "ours, theirs = socket.socketpair()\n"
              "theirs.set_inheritable(True)\n"
              "os.dup2(ours.fileno(), 100, inheritable=True)\n"  # another process keeps the other end open
              "p = subprocess.Popen([*sys.argv[1:], '--fd', str(theirs.fileno())],"
              " pass_fds=[theirs.fileno()])\n"
              "keeper = subprocess.Popen(['sleep', '600'], pass_fds=[100])\n"
              "ours.sendall(b'{\"op\": \"none\", \"more\": true}\\n')\n"
              "print(p.pid, keeper.pid, flush=True)\n"
              "sys.stdin.read()\n")
    parent = subprocess.Popen(["/usr/bin/python3", "-c", script, PROGRAM, "--config", fetch.config,
                               "--registry", "docker.io"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child, keeper = map(int, parent.stdout.readline().split())
    pidfd = os.pidfd_open(child)
    try:
        wait_until(lambda: status_of(child)["NoNewPrivs"] == ["1"])
        parent.kill()
        parent.wait()
        assert select.select([pidfd], [], [], 60)[0], "it outlived its parent"
    finally:
        os.kill(keeper, 9)
        os.close(pidfd)


def wait_until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


# A registry that behaves, over HTTP/2

@pytest.fixture
def real(lab, certificate, tmp_path):
    """Starts docker-registry over TLS, behind a relay: (relay, its own URL)."""
    program = shutil.which("docker-registry")
    if not program:
        pytest.skip("docker-registry is not installed")
    processes = []

    def start(**more):
        port = free_port()
        (tmp_path / "registry.yml").write_text(json.dumps({
            "version": 0.1, "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": str(tmp_path / "data")}},
            "http": {"addr": f"127.0.0.1:{port}",
                     "tls": {"certificate": certificate[0], "key": certificate[1]}}, **more}))
        processes.append(subprocess.Popen([program, "serve", tmp_path / "registry.yml"],
                                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        wait_until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
        return Relay(lab, f"127.0.0.1:{port}"), f"https://localhost:{port}"

    yield start
    for process in processes:
        process.terminate()
        process.wait()


def push(base, ca, repository, authorization):
    context = ssl.create_default_context(cafile=ca)
    headers = {"Authorization": authorization} if authorization else {}

    def call(method, url, data=None, **more):
        request = urllib.request.Request(urllib.parse.urljoin(base, url), data, {**headers, **more},
                                         method=method)
        return urllib.request.urlopen(request, context=context)

    data = manifest(b"{}", ())
    location = call("POST", f"/v2/{repository}/blobs/uploads/").headers["Location"]
    call("PUT", f"{location}&digest={sha256(b'{}')}", b"{}", **{"Content-Type": "application/octet-stream"})
    call("PUT", f"/v2/{repository}/manifests/latest", data, **{"Content-Type": OCI_MANIFEST})
    return sha256(data)


def test_http2_registry(fetch, certificate, cache, real):
    relay, base = real()
    apps = [push(base, certificate[0], f"app{i}", None) for i in range(20)]
    host = f"localhost:{relay.port}"
    fetch.configure(host, ca=certificate[0])
    for connections in (1, 2):
        assert digests(resolve_at(fetch, host, 20)) == apps
        assert relay.connections == connections


def resolve_at(fetch, host, n):
    return ask_all(fetch, host, [{"op": "resolve", "image": f"{host}/app{i}"} for i in range(n)])


class Issuer:
    """Signs tokens that docker-registry accepts (distribution's token authentication, JWT by RS256)."""

    def __init__(self, directory):
        self.key, self.ca = directory / "issuer.key", directory / "issuer.crt"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", self.key,
                        "-out", self.ca, "-days", "2", "-subj", "/CN=issuer"], check=True, capture_output=True)
        self.asked = []

    def sign(self, repositories, actions=("pull",)):
        def encode(data):
            return base64.urlsafe_b64encode(data).rstrip(b"=")

        now = int(time.time())
        der = "".join(self.ca.read_text().split("\n")[1:-2])
        parts = [{"typ": "JWT", "alg": "RS256", "x5c": [der]},
                 {"iss": "issuer", "aud": "reg", "sub": "", "exp": now + 300, "nbf": now - 10, "iat": now,
                  "jti": "1", "access": [{"type": "repository", "name": name, "actions": list(actions)}
                                         for name in repositories]}]
        text = b".".join(encode(json.dumps(part).encode()) for part in parts)
        signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.key], input=text,
                                   check=True, capture_output=True).stdout
        return (text + b"." + encode(signature)).decode()

    def give(self, seen):
        scopes = urllib.parse.parse_qs(urllib.parse.urlsplit(seen.path).query)["scope"]
        self.asked.append(scopes)
        return Answer(200, body={"token": self.sign([s.split(":")[1] for s in scopes]), "expires_in": 300})


def test_http2_registry_with_tokens(fetch, certificate, cache, real, tmp_path):
    """One token for ten repositories, and in the second round one connection and ten requests."""
    issuer = Issuer(tmp_path)
    with Registry(name="localhost", certificate=certificate[0], key=certificate[1]) as server:
        server.hooks.append(on(path="/token", answer=issuer.give))
        relay, base = real(auth={"token": {"realm": server.url + "/token", "service": "reg", "issuer": "issuer",
                                           "rootcertbundle": str(issuer.ca)}})
        apps = [push(base, certificate[0], f"app{i}", "Bearer " + issuer.sign([f"app{i}"], ("pull", "push")))
                for i in range(10)]
        host = f"localhost:{relay.port}"
        fetch.configure(host, ca=certificate[0])
        for _ in range(2):
            relay.reset()
            assert digests(resolve_at(fetch, host, 10)) == apps
            assert relay.connections == 1
            assert issuer.asked == [scopes(*(f"app{i}" for i in range(10)))]
        weight = len(json.loads(cached(cache)[0].read_text())["tokens"][0]["token"])
        relay.settle()
        print(f"{relay.up + relay.down} bytes, ten tokens of {weight}")
        assert relay.up + relay.down < 6000 + 10 * weight
