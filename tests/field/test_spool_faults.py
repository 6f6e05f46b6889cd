# SPDX-License-Identifier: MIT
"""Downloads through the spool whose registry, engine or files are at fault: nothing comes twice that is here, nothing is asked
too early, and the numbers that are shown stay true."""

import contextlib
import os
import threading

import pytest

from pullet_house import UP
from pullet_image import Image, actor
from pullet_liar import liar  # noqa: F401 (a fixture)
from pullet_meddler import CUT, Meddler
from pullet_spool import KB, ballast, down, image, killed_pass, layers, left, link, ours, parts  # noqa: F401 (link: a fixture)
from pullet_sweep import tail, wait_for
from registryd import Answer, Front, is_engine


def publish(house, *sizes, **options):
    return house.publish(images=image(*sizes, version=str(next(house.versions)), **options), index=False)


# --- a registry --------------------------------------------------------------------------------


def test_a_registry_that_is_busy_in_the_middle_is_left_alone(house):
    """pulletd tries a download again within seconds, but not before the time of Retry-After is over."""
    seconds, part, answered = 14, 60 * KB, []

    def busy(seen):
        if blob not in seen.path or is_engine(seen) or len(answered) == 2:
            return None
        answered.append(seen)
        if len(answered) == 2:
            return Answer(429, {"Retry-After": str(seconds)})
        body = front.serve(seen).body
        return Answer(raw=lambda s: cut(s, body, part))

    def cut(connection, body, n):
        with contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:n])
        connection.close()

    with Front(house.registry) as front:
        house.registry = front
        house.lab.announce(front.host)
        house.up()
        new = publish(house, 300 * KB)
        blob = next(iter(layers(new)))
        house.configure(create=UP, agent={"interval": "10s", "jitter": "0%"})
        front.hooks.append(busy)
        with house.pullet.resident() as process:
            wait_for("the busy registry", lambda: len(answered) == 2 or process.poll() is not None, 60)
            at, n = answered[1].at, len(front.seen)
            wait_for("the next request", lambda: len(front.seen) > n, 60)
            assert front.seen[n].at - at >= seconds - 0.1, (front.seen[n], front.seen[n].at - at, tail(process.log, 50))
            wait_for("the update", lambda: house.pullet.record("app")["phase"] == "idle" and
                     house.is_image(house.engine.inspect("app") or {"Image": ""}, new), 60)
        ranges = [seen.headers.get("Range") for seen in front.seen if blob in seen.path and not is_engine(seen)]
        assert ranges == [None, f"bytes={part}-", f"bytes={part}-"], ranges
        assert left(house) == []


def test_a_link_that_is_dead_is_told_also_in_short_slices(house):
    """A slice of this interval ends before the time after which a connection counts as dead."""
    over = threading.Event()

    def stall(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % layers(new)[blob])
        over.wait(120)

    with Front(house.registry) as front:
        house.registry = front
        house.lab.announce(front.host)
        house.up()
        new = publish(house, 300 * KB)
        blob = next(iter(layers(new)))
        house.configure(create=UP, agent={"interval": "11s"})
        front.hooks.append(lambda seen: Answer(raw=stall) if blob in seen.path and not is_engine(seen) else None)
        try:
            entry = house.once("deferred", reason="waits for the link: nothing came in ", timeout=60)
            assert entry["download"]["waits"] == "link" and not entry["download"]["again"], entry
        finally:
            over.set()
        front.hooks.clear()
        house.once("updated")
        house.check(new)


# --- the files ---------------------------------------------------------------------------------


def test_a_file_that_is_longer_than_its_blob_begins_anew_once(house, link):
    """The next pass goes on with what has come since."""
    old, _ = house.up()
    new = publish(house, 400 * KB)
    blob, size = next(iter(layers(new).items()))
    link.reset()
    path = killed_pass(house, link, 100 * KB, (blob, size))
    with path.open("ab") as f:
        f.truncate(size + 70 * KB)
    link.settle()
    link.reset()
    link.line = 100 * KB
    killed_pass(house, link, 150 * KB, (blob, size))
    assert parts(house.pullet.state)[path.name] < size
    link.line = None
    house.once("updated")
    house.check(new)
    link.settle()
    assert [r.offset > 0 for r in ours(link, blob)] == [False, True], link.requests


@pytest.mark.parametrize("kind", ["symlink", "pipe", "directory"])
@pytest.mark.parametrize("suffix", ["", ".part"])
def test_something_else_in_the_place_of_a_file(house, kind, suffix):
    house.up()
    new = publish(house, 100 * KB)
    spool = house.pullet.state / "spool"
    path = spool / (next(iter(layers(new))).partition(":")[2] + suffix)
    victim = house.pullet.directory / "victim"
    victim.write_text("untouched")
    {"symlink": lambda: path.symlink_to(victim), "pipe": lambda: os.mkfifo(path), "directory": path.mkdir}[kind]()
    house.once("updated")
    house.check(new)
    assert left(house) == [] and victim.read_text() == "untouched"


def test_a_layer_twice_counts_once(house, link):
    """Empty layers, or steps that make the same file, are the same blob."""
    house.up()
    lower, upper, top = ballast(200 * KB), Image({}), image(200 * KB)
    upper.files.update(lower.files)
    upper.base, top.base.base = lower, upper
    published = house.registry.publish(house.repository, "stable", top)
    sizes = layers(published)
    link.line = 150 * KB
    link.reset()
    events = house.pullet.order("update")
    progress = [e for e in events if e.get("event") == "progress"]
    download = [e for e in progress if e["total"] == sum(sizes.values())]
    assert download and all(e["current"] <= e["total"] for e in progress), progress
    house.check(published)
    for digest, size in sizes.items():
        assert len(ours(link, digest)) == 1 and down(ours(link, digest)) < size + 2 * KB


def test_a_layer_that_another_image_has_does_not_come(house, link):
    """As with a pull: of two applications with the same new base the second gets what is its own."""
    other, base = f"{house.repository}/other", ballast(400 * KB)
    house.registry.publish(other, "stable", image(version="1"))
    house.up()
    app = {"image": house.image, "create": UP, "health-period": "300ms"}
    house.pullet.configure({"app": app, "other": {**app, "image": link.ref(f"{other}:stable")}})
    assert house.pullet.once("other").results["other"]["result"] == "updated"
    first = house.registry.publish(other, "stable", image(base, 90 * KB, version="2"))
    new = house.registry.publish(house.repository, "stable", image(base, 100 * KB, version="2"))
    shared = next(iter(layers(new)))
    assert shared in layers(first)
    link.reset()
    results = house.pullet.once().results
    assert {name: entry["result"] for name, entry in results.items()} == {"app": "updated", "other": "updated"}
    house.check(new)
    house.check(first, "other")
    link.settle()
    assert len(ours(link, shared)) == 1 and len(ours(link)) > 1, link.requests


# --- the engine --------------------------------------------------------------------------------


@pytest.fixture
def unpacked(house, link):
    """A version whose layer the engine cannot unpack, and the names of that layer's files in the spool."""
    if house.engine.kind.program == "podman" or int(house.engine.release.split(".")[0]) >= 23:
        pytest.skip("this engine takes zstd")
    house.up()
    wide = Image({"wide": os.urandom(200 * KB)}, packed="zstd")
    top = actor("wait", Labels={"version": "2"})
    top.base = wide
    new = house.publish(images=top, index=False)
    house.configure(create=UP)
    layer = house.pullet.state / "spool" / next(iter(layers(new))).partition(":")[2]
    return new, layer.with_suffix(".tar"), layer.with_suffix(".tar.part")


def test_a_tar_that_changed_on_the_disk_is_made_again(house, unpacked):
    """The version is not to blame."""
    new, tar, _ = unpacked
    tar.parent.mkdir(exist_ok=True)
    tar.write_bytes(os.urandom(100 * KB))
    house.once("updated")
    house.check(new)
    assert left(house) == []


def test_a_tar_that_cannot_be_made_leaves_the_room(house, unpacked, liar):
    new, _, part = unpacked
    sizes = []

    def full(question, fds):
        os.write(fds[1], bytes(100 * KB))
        sizes.append(part.stat().st_size)
        return {"error": {"code": "EFBIG", "text": "it unpacks to more than there is room"}}

    liar.lies = {"unpack": full}
    entry = house.pullet.once(arguments=liar.arguments).results["app"]
    assert entry["result"] == "failed" and "more than there is room" in entry["reason"], entry
    assert sizes == [100 * KB] and part.stat().st_size == 0
    liar.lies = {}
    house.once("updated")
    house.check(new)


@pytest.mark.parametrize("fault", [(500, "the engine is shutting down"), (503, "try again"), CUT], ids=str)
def test_an_engine_that_refuses_a_load_costs_no_byte(house, link, fault):
    """The layers that it has are not downloaded for it."""
    base = ballast(400 * KB)
    published = house.registry.publish(house.repository, "stable", image(base, version="1"))
    house.configure(create=UP)
    house.once("updated")
    house.check(published)
    new = house.registry.publish(house.repository, "stable", image(base, 200 * KB, version="2"))
    struck = []

    def strike(call):
        if call.path == "/images/load" and call.done and len(struck) < 3:
            struck.append(call)
            return fault
        return None

    meddler = Meddler(house.pullet.directory / "docker.sock", house.engine, strike)
    try:
        house.configure(create=UP, agent={"engine": meddler.url})
        link.reset()
        results = []
        while results[-1:] != ["updated"]:
            results.append(house.pullet.once().results["app"]["result"])
            assert len(results) < 5, results
    finally:
        meddler.stop()
    house.check(new)
    link.settle()
    shared = next(iter(layers(new)))
    assert len(struck) == 3 and shared in layers(published)
    assert not ours(link, shared), link.requests
    for digest in layers(new):
        assert len(ours(link, digest)) <= 1, link.requests
