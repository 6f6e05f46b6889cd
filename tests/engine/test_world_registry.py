# SPDX-License-Identifier: MIT
"""The registry misbehaves towards Pullet and the engine's own pull (download = engine): the reason is reported, the container keeps
running, the digest is not rejected, and the update is made when the registry works again."""

import contextlib
import os
import signal
import threading

import pytest

from conftest import UP
from pullet_image import actor
from pullet_sweep import tail, wait_for
from registryd import Answer, Front, is_engine, on

OFTEN = {"interval": "1s", "jitter": "0%"}
MB = 1000 * 1000
BY_ENGINE = {"download": "engine"}


@pytest.fixture
def front(house):
    with Front(house.registry) as front:
        house.registry = front
        house.lab.announce(front.host)
        yield front


def to_engine(path, answer):
    """A hook that applies to the engine alone."""
    return lambda seen: answer(seen) if is_engine(seen) and path in seen.path else None


def head(status, **fields):
    return b"".join([b"HTTP/1.1 %d OK\r\nContent-Type: application/octet-stream\r\n" % status,
                     *(b"%s: %s\r\n" % (k.replace("_", "-").encode(), str(v).encode())
                       for k, v in fields.items()), b"\r\n"])


class Endless:
    """One body without an end, counted."""

    def __init__(self, length=None):
        self.sent, self.length, self.over = 0, length, threading.Event()

    def __call__(self, seen):
        return Answer(raw=self.send)

    def send(self, connection):
        fields = {"Content_Length": self.length} if self.length else {"Connection": "close"}
        noise = os.urandom(65536)
        with contextlib.suppress(OSError):
            connection.sendall(head(200, **fields))
            while not self.length or self.sent < self.length:
                connection.sendall(noise)
                self.sent += len(noise)
        self.over.set()


class Dribble:
    """Forwards one byte a second until the test ends."""

    def __init__(self, front):
        self.front, self.begun, self.over = front, threading.Event(), threading.Event()

    def __call__(self, seen):
        body = self.front.serve(seen).body
        return Answer(raw=lambda connection: self.send(connection, body))

    def send(self, connection, body):
        with contextlib.suppress(OSError):
            connection.sendall(head(200, Content_Length=len(body)))
            for i in range(len(body)):
                connection.sendall(body[i:i + 1])
                self.begun.set()
                if self.over.wait(1):
                    break


def behave(house, front, second):
    """containerd resumes after the bytes that it has, and discards them if they are wrong."""
    front.hooks.clear()
    told = []
    while not told or told[-1]["result"] != "updated":
        told.append(house.pullet.once().results["app"])
        assert len(told) < (4 if house.engine.kind.containerd_store else 2), told
    house.check(second, policy="always")


def refuse_then_update(house, front, hook, *reasons):
    """A pass with the hook fails for one of the reasons and touches nothing; one without it updates."""
    _, before = house.up(agent=BY_ENGINE)
    second = house.publish()
    front.hooks.append(hook)
    entry = house.once("failed")
    assert any(reason in entry["reason"] for reason in reasons), entry
    house.untouched(before)
    assert house.pullet.record("app")["rejected"] == []
    behave(house, front, second)


def test_the_daemon_obeys_retry_after(house, front):
    """This holds for each registry: a container from another one is still polled."""
    seconds = 5
    house.up()
    other = house.publish(repository="other/app")
    settings = {"image": front.behind.ref("other/app:stable"), "create": UP, "health-period": "500ms"}
    house.pullet.configure({"app": house.settings, "other": settings}, agent=OFTEN)
    front.hooks.append(on("HEAD", answer=Answer(429, {"Retry-After": str(seconds)})))
    front.seen.clear()
    with house.pullet.resident() as process:
        wait_for("three questions", lambda: len(front.seen) >= 3 or process.poll() is not None, 60)
        log = tail(process.log, 100)
    asked = [seen.at for seen in front.seen]
    for earlier, later in zip(asked, asked[1:]):
        assert later - earlier >= seconds - 0.1, asked
    assert "429" in log and f"{seconds} s" in log, log
    polls = [r for r in front.requests() if "/other/" in r.path and r.method == "HEAD"]
    assert len(polls) > len(asked), polls
    house.check(other, "other")


def test_rate_limit_in_the_pull(house, front):
    """The engine gets the error, and reports it in the registry's words."""
    refuse_then_update(
        house, front, to_engine("/manifests/", lambda seen: Answer(
            429, {"Retry-After": "5", "Content-Type": "application/json"},
            {"errors": [{"code": "TOOMANYREQUESTS", "message": "pull rate limit"}]})),
        "toomanyrequests", "429")


def test_engine_is_given_another_manifest(house, front):
    """The engine asks for the announced digest, and another manifest is sent."""
    def other(seen):
        body = b'{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json"}'
        return Answer(200, {"Content-Type": "application/vnd.oci.image.manifest.v1+json",
                            "Docker-Content-Digest": seen.path.rpartition("/")[2]},
                      body if seen.method == "GET" else b"")

    refuse_then_update(house, front, to_engine("/manifests/sha256:", other), "pull 127.0.0.1")


def test_engine_is_given_other_bytes(house, front):
    """A layer or the configuration has other content than its digest."""
    refuse_then_update(house, front,
                       to_engine("/blobs/", lambda seen: Answer(200, {}, b"something else")),
                       "pull 127.0.0.1")


def test_registry_flaps(house, front):
    """An error, a truncated stream or no response, at increasing intervals."""
    _, before = house.up()
    second = house.publish()
    kinds = [Answer(503), Answer(raw=lambda connection: None),
             Answer(raw=lambda connection: connection.sendall(head(200, Content_Length=900)))]
    asked = []

    def flap(seen):
        asked.append(seen)
        spell = int((2 * len(asked)) ** 0.5)
        return kinds[spell % len(kinds)] if spell * (spell + 1) == 2 * len(asked) else None

    front.hooks.append(flap)
    for _ in range(30):
        entry = house.pullet.once().results["app"]
        if entry["result"] == "updated":
            break
        assert entry["result"] in ("failed", "deferred") and entry["reason"], entry
        house.untouched(before)
    assert entry["result"] == "updated", entry
    house.check(second, policy="always")
    assert house.pullet.record("app")["rejected"] == []


@pytest.mark.parametrize("length", [None, 10_000 * MB], ids=["endless", "10 GB"])
def test_layer_without_end(house, front, length):
    """The engine accepts everything until the disk is full; Pullet knows the expected size."""
    endless = Endless(length)
    _, before = house.up(agent=BY_ENGINE)
    second = house.publish(images=actor("wait", files={"ballast": os.urandom(300_000)}))
    config, = second.configs.values()
    front.hooks.append(to_engine("/blobs/", lambda seen: (
        None if config in seen.path else endless(seen))))
    entry = house.once("failed", reason="more than the")
    assert "bytes that the manifest says" in entry["reason"], entry
    assert endless.over.wait(120)  # it closed the connection
    assert endless.sent < 2000 * MB
    house.untouched(before)
    if house.engine.kind.containerd_store:
        # containerd keeps the oversized blob, requests no more of it, and discards it after a day.
        front.hooks.clear()
        house.once("failed", reason="failed size validation")
        house.untouched(before)
        second = house.publish()
    behave(house, front, second)


def test_one_byte_a_second(house, front):
    """The pull stalls, and the container runs; a request to stop is not delayed."""
    dribble = Dribble(front)
    _, before = house.up(agent=BY_ENGINE)
    second = house.publish()
    front.hooks.append(to_engine("/blobs/", dribble))
    process = house.pullet.spawn("--once", "--json")
    try:
        assert dribble.begun.wait(120)
        house.untouched(before)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
    finally:
        dribble.over.set()
        house.pullet.kill9(process)
    house.untouched(before)
    behave(house, front, second)


@pytest.mark.skipif(os.environ.get("PULLET_EVERY_MOMENT") != "1", reason="takes a quarter of an hour")
def test_one_byte_a_second_is_given_up(house, front):
    dribble = Dribble(front)
    _, before = house.up(agent=BY_ENGINE)
    house.publish()
    front.hooks.append(to_engine("/blobs/", dribble))
    try:
        house.once("failed", timeout=1200)
    finally:
        dribble.over.set()
    house.untouched(before)
