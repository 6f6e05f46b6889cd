# SPDX-License-Identifier: MIT
"""The disk fills up: the engine's, ours, before an update and in the middle of one."""

import os
import pathlib
import re
import subprocess

import pytest

from conftest import UP
from pullet_image import Image
from pullet_lab import Engine, actor
from pullet_meddler import Meddler

MB = 1000 * 1000


class Disk:
    """A file system of its own whose free space is what a test says."""

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
def disk(engine):
    yield engine.disk
    engine.disk.leave(1000 * MB)


def ballast(size, base=None):
    """An image with so many bytes that cannot be compressed."""
    image = actor("say", "up", "wait", files={"ballast": os.urandom(size)})
    image.base = base
    return image


def numbers(entry):
    """What is needed and what is free, in MB."""
    found = re.search(r"needs about (\d+) MB, \S+ has (\d+) MB free", entry["reason"])
    assert found, entry
    return int(found[1]), int(found[2])


def test_too_little_room_is_told_before_the_pull(house, disk):
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


def test_layers_that_are_here_need_no_room(house, disk):
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


def test_the_version_before_is_given_up_where_that_makes_room(house, disk):
    """A device that holds two versions is never stuck with a third."""
    house.publish(images=ballast(20 * MB))
    house.configure(create=UP)
    house.once("updated")
    second = house.publish(images=ballast(20 * MB))
    house.once("updated")
    kept = "localhost/pullet/previous:app"
    third = house.publish(images=ballast(20 * MB))
    disk.leave(60 * MB)  # the version before would not make it enough
    house.once("deferred")
    assert kept in house.engine.tags()
    disk.leave(75 * MB)
    house.once("updated")
    house.check(third)
    assert house.engine.tags()[kept] in (second.digest, *second.configs.values())
    assert len(house.engine.call("GET", "/images/json")) == 2


def test_disk_runs_full_in_the_pull(house, disk):
    """What unpacks to more than anybody could guess."""
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
