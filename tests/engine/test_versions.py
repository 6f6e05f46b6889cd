# SPDX-License-Identifier: MIT
"""Engines with other API versions, with the same containers."""

import contextlib

import pytest

from conftest import UP
from pullet_versions import VersionProxy

OLDEST, NEWEST = (1, 41), (1, 51)  # that the agent speaks


@pytest.fixture
def between(house):
    """A function: the engine as one of these versions -> the proxy, its URL in the configuration."""
    with contextlib.ExitStack() as stack:
        def put(minimum=None, maximum=None):
            path = house.pullet.directory / "docker.sock"
            proxy = VersionProxy(path, house.engine.socket, minimum, maximum)
            stack.callback(proxy.stop)
            house.configure(create=UP, agent={"engine": f"unix://{path}"})
            return proxy

        yield put


def newest(house):
    version = house.engine.call("GET", "/version", versioned=False)["ApiVersion"]
    return tuple(map(int, version.split(".")))


def test_engine_that_takes_its_newest_version_only(house, between):
    """Engine 29 requires 1.44: no call, not even the first, may use an older version."""
    spoken = "%d.%d" % min(newest(house), NEWEST)
    published = house.publish()
    proxy = between(minimum=spoken)
    for _ in range(2):
        house.once("updated")
        house.check(published)
        published = house.publish()
    house.publish("exit", 1)
    house.once("rolled-back")
    assert set(proxy.asked) == {spoken}


def test_oldest_version_that_is_spoken(house, between):
    spoken = "%d.%d" % OLDEST
    published = house.publish()
    proxy = between(maximum=spoken)
    house.once("updated")
    house.check(published)
    assert set(proxy.asked) == {spoken}


@pytest.mark.parametrize("minimum, maximum, words", [
    ("1.60", "1.62", ["1.60", "1.51"]),
    ("1.12", "1.40", ["1.40", "1.41", "20.10"]),
])
def test_engine_with_incompatible_versions(house, between, minimum, maximum, words):
    """The versions of both sides are reported, and no other request is sent."""
    _, before = house.up()
    house.publish()
    proxy = between(minimum, maximum)
    entry = house.once("failed", reason="engine")
    assert all(word in entry["reason"] for word in words), entry
    assert proxy.asked == []
    house.untouched(before)
