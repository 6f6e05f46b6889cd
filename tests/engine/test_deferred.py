# SPDX-License-Identifier: MIT
"""Updates that are deferred with a reason: a stopped or paused container, a hold, a closed window."""

import pytest

from conftest import window


@pytest.mark.parametrize("policy", ["always", "unless-stopped"])
def test_stopped_by_an_operator(house, policy):
    house.adopt(HostConfig={"RestartPolicy": {"Name": policy}})
    house.engine.call("POST", "/containers/app/stop?t=5")
    before = house.engine.inspect("app")
    house.configure()
    second = house.publish()
    house.once("deferred", reason="stopped")
    house.untouched(before)
    house.engine.call("POST", "/containers/app/start")
    house.once("updated")
    house.check(second, policy=policy)


def test_paused(house):
    house.adopt()
    house.engine.call("POST", "/containers/app/pause")
    before = house.engine.inspect("app")
    house.configure()
    house.publish()
    house.once("deferred", reason="paused")
    house.untouched(before)
    house.engine.call("POST", "/containers/app/unpause")
    house.once("updated")


def test_hold(house):
    _, before = house.up()
    second = house.publish()
    house.configure(hold="yes")
    house.once("deferred", reason="hold")
    house.untouched(before)
    house.configure(hold="no")
    house.once("updated")
    house.check(second)


def test_window_shut_then_open(house):
    _, before = house.up()
    second = house.publish()
    house.configure(window=[window(6, 7), window(9, 10)])
    entry = house.once("deferred", reason="window")
    assert entry["to"] == second.digest
    assert house.engine.inspect("app")["State"]["StartedAt"] == before["State"]["StartedAt"]
    # Everything is pulled; further passes fetch nothing.
    mark = house.registry.mark()
    house.once("deferred")
    assert not [r for r in house.registry.requests(mark) if "/blobs/" in r.path]
    house.configure(window=[window(6, 7), window(-0.5, 0.5)])
    house.once("updated")
    house.check(second)


def test_tag_moved_back_while_waiting_leaves_nothing(house):
    first, before = house.up()
    house.publish()
    house.configure(window=window(6, 7))
    house.once("deferred")
    house.registry.point(first)
    house.once("up-to-date")
    house.untouched(before)


def test_newer_version_while_waiting_replaces_the_target(house):
    house.up()
    house.publish()
    house.configure(window=window(6, 7))
    house.once("deferred")
    third = house.publish()
    assert house.once("deferred")["to"] == third.digest
    house.configure()
    house.once("updated")
    house.check(third)


def test_an_operators_container_with_our_name_is_refused(house):
    _, before = house.up()
    house.engine.run("app.next", house.image, HostConfig={"RestartPolicy": {"Name": "no"}})
    foreign = house.engine.inspect("app.next")
    house.publish()
    house.once("failed", reason="app.next")
    assert house.engine.inspect("app")["Id"] == before["Id"]
    assert house.engine.inspect("app.next")["State"] == foreign["State"]
