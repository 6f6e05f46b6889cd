# SPDX-License-Identifier: MIT
"""A full disk: the engine's or Pullet's, before and during an update."""

import contextlib
import os
import pathlib
import re
import subprocess

import pytest

from conftest import UP
from pullet_image import Image, actor
from pullet_engine import Engine
from pullet_meddler import DOWN, MADE, ON_TRIAL, PULLING, WON, Meddler, Moment, moments
from pullet_spool import layers

MB = 1000 * 1000


class Disk:
    """A file system whose free space the test sets."""

    def __init__(self, where):
        self.where = pathlib.Path(where)
        self.where.mkdir(parents=True, exist_ok=True)
        self._mount("-t", "tmpfs", "-o", "size=1g", "disk", self.where)

    @staticmethod
    def _mount(*arguments):
        subprocess.run(["mount", *map(str, arguments)], check=True)

    def used(self):
        s = os.statvfs(self.where)
        return (s.f_blocks - s.f_bfree) * s.f_frsize

    def leave(self, free):
        self._mount("-o", f"remount,size={self.used() + free}", self.where)


class EngineOnDisk(Engine):
    disk = None

    def start(self):
        self.disk = self.disk or Disk(self.directory / "data")
        super().start()


@pytest.fixture(scope="module")
def engine(lab):
    if os.environ.get("PULLET_ENGINE", "machine") != "machine":
        pytest.skip("that engine keeps its images elsewhere")
    return EngineOnDisk(lab, "disk-engine")


@pytest.fixture
def meddler(house):
    meddler = Meddler(house.pullet.directory / "docker.sock", house.engine)
    yield meddler
    meddler.stop()


@pytest.fixture
def state(house):
    """A small file system for the state directory."""
    disk = Disk(house.pullet.state)
    disk.leave(MB)
    yield disk
    subprocess.run(["umount", "-l", disk.where], check=True)


@pytest.fixture
def disk(engine):
    yield engine.disk
    engine.disk.leave(1000 * MB)


def ballast(size, base=None):
    """An image with that many incompressible bytes."""
    image = actor("say", "up", "wait", files={"ballast": os.urandom(size)})
    image.base = base
    return image


def numbers(entry):
    """The needed and the free space in MB, from the message."""
    found = re.search(r"needs about (\d+) MB, and \S+ has (\d+) MB free", entry["reason"])
    assert found, entry
    return int(found[1]), int(found[2])


def test_insufficient_disk_space_is_reported_before_the_pull(house, disk):
    _, before = house.up()
    second = house.publish(images=ballast(20 * MB))
    disk.leave(50 * MB)
    mark = house.registry.mark()
    need, free = numbers(house.once("deferred", reason=str(disk.where)))
    assert 60 < need < 120 and 45 < free <= 50
    assert not [r for r in house.registry.requests(mark) if r.by_engine]
    snapshot = house.pullet.state_snapshot()
    house.once("deferred")
    assert house.pullet.state_snapshot() == snapshot
    house.untouched(before)
    disk.leave((need + 1) * MB)
    house.once("updated")
    house.check(second)


def test_layers_in_the_engine_need_no_disk_space(house, disk):
    base = Image({"base": os.urandom(20 * MB)})
    house.publish(images=ballast(1000, base))
    house.configure(create=UP)
    house.once("updated")
    second = house.publish(images=ballast(1001, base))
    disk.leave(30 * MB)
    house.once("updated")
    house.check(second)
    house.publish(images=ballast(1002, Image({"base": os.urandom(20 * MB)})))
    assert numbers(house.once("deferred"))[0] > 60


def test_the_previous_image_is_removed_for_disk_space(house, disk):
    """A device with two versions can still take a third."""
    house.publish(images=ballast(20 * MB))
    house.configure(create=UP)
    house.once("updated")
    second = house.publish(images=ballast(20 * MB))
    house.once("updated")
    kept = "localhost/pullet/previous:app"
    third = house.publish(images=ballast(20 * MB))
    disk.leave(60 * MB)  # removing the previous image would not be enough
    house.once("deferred")
    assert kept in house.engine.tags()
    assert "free disk space there" in house.pullet.order("check")[-1]["reason"]
    disk.leave(75 * MB)
    assert "only a check" in house.pullet.order("check")[-1]["reason"]
    assert kept in house.engine.tags()  # a check removes nothing
    house.once("updated")
    house.check(third)
    assert house.engine.tags()[kept] in (second.digest, *second.configs.values())
    assert len(house.engine.call("GET", "/images/json")) == 2


def test_disk_runs_full_in_the_pull(house, disk):
    """An image that unpacks to more than estimated."""
    _, before = house.up()
    image = actor("wait", files={"zeros": bytes(80 * MB)})
    second = house.publish(images=image)
    used = disk.used()
    disk.leave(40 * MB)
    house.once("failed", reason="no space left on device")
    house.untouched(before)
    assert disk.used() - used < 1 * MB
    assert house.pullet.record("app")["rejected"] == []
    house.once("failed", reason="no space left on device")
    disk.leave(200 * MB)
    house.once("updated")
    house.check(second)


def test_disk_runs_full_in_the_load(house, disk):
    """The layers that the image shares with the one that runs are not downloaded for it."""
    base = Image({"base": os.urandom(2 * MB)})
    first = house.publish(images=ballast(1000, base))
    house.configure(create=UP)
    house.once("updated")
    image = actor("wait", files={"zeros": bytes(80 * MB)})
    image.base = base
    second = house.publish(images=image)
    disk.leave(40 * MB)
    mark = house.registry.mark()
    house.once("failed", reason="no space left on device")
    house.once("failed", reason="no space left on device")
    disk.leave(200 * MB)
    house.once("updated")
    house.check(second)
    (shared,) = set(layers(second)) & set(layers(first))
    assert not [r for r in house.registry.requests(mark) if shared in r.path]


@pytest.mark.parametrize("moment", (Moment(3, False, "creating"), DOWN), ids=str)
def test_engines_disk_runs_full_in_between(house, disk, meddler, moment):
    """Another program fills it completely. The old container runs, or is started again after the new one is removed;
    the digest is not rejected."""
    first, _ = house.up()
    second = house.publish()
    house.configure(create=UP, agent=meddler.agent)
    struck = meddler.strike_at(moment, lambda: disk.leave(0))
    entry = house.pullet.once().results["app"]
    assert struck and not meddler.faults, meddler.faults
    if moment == DOWN:
        assert entry["result"] == "deferred" and "has 0 MB free" in entry["reason"], entry
    else:
        assert entry["result"] == "failed" and "no space left on device" in entry["reason"], entry
    house.check(first, policy="always")
    assert house.pullet.record("app")["rejected"] == []
    disk.leave(100 * MB)
    assert house.pullet.once().results["app"]["result"] in ("updated", "up-to-date")
    house.check(second, policy="always")


@pytest.mark.parametrize("moment", moments((PULLING, MADE, ON_TRIAL, WON)), ids=str)
def test_record_cannot_be_written(house, state, meddler, moment):
    """A step that cannot be recorded is not taken: the update stops where a container runs, and continues when there
    is space. No partial record is left."""
    house.up()
    second = house.publish()
    house.configure(create=UP, agent=meddler.agent, health_period="300ms")
    blocks = state.where / "ballast"

    def fill():
        with open(blocks, "wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4096)):
                pass

    struck = meddler.strike_at(moment, fill)
    told = [house.pullet.once().results["app"] for _ in range(2)]
    assert struck and not meddler.faults, meddler.faults
    for entry in told:
        assert entry["result"] == "failed" and "No space left on device" in entry["reason"], told
    assert len(house.engine.running()) == 1
    blocks.unlink()
    house.once("updated")
    house.check(second, policy="always")
    assert house.most_running(house.start) == 1
    assert sorted(path.name for path in house.pullet.state.iterdir() if path.name != "spool") == ["app.json"]
