# SPDX-License-Identifier: MIT
"""Containers that share a namespace with the updated one are recreated and reverted with it."""

import os

import pytest

from pullet_image import actor

ALWAYS = {"Name": "always", "MaximumRetryCount": 0}


def house_with(house, followers, **publish):
    """Creates the container "app", and followers {name: (mode key, container)} from an image of their own. -> the
    published image"""
    first = house.publish(**publish)
    house.registry.publish(house.repository + "/side", "stable", actor("wait"))
    side = house.registry.ref(house.repository + "/side:stable")
    house.engine.pull(side)
    house.engine.pull(house.image)
    house.engine.run("app", house.image, HostConfig={"RestartPolicy": ALWAYS,
                                                     "IpcMode": "shareable"})
    for name, (key, leader) in followers.items():
        house.engine.run(name, side, Env=["OWN=1"],
                         HostConfig={key: "container:" + leader, "RestartPolicy": ALWAYS})
    house.configure()
    return first


def namespace(house, name, kind):
    pid = house.engine.inspect(name)["State"]["Pid"]
    assert pid, f"{name} does not run"
    return os.readlink(f"/proc/{pid}/ns/{kind}")


def check(house, followers, before):
    """Each follower runs in the namespace of its container, with all its settings."""
    names = house.engine.containers()
    assert not [name for name in names if name.endswith((".next", ".prev"))], names
    for name, (key, leader) in followers.items():
        kind = {"NetworkMode": "net", "PidMode": "pid", "IpcMode": "ipc"}[key]
        assert namespace(house, name, kind) == namespace(house, leader, kind), name
        now = house.engine.inspect(name)
        assert now["HostConfig"]["RestartPolicy"] == ALWAYS
        assert now["HostConfig"][key] == "container:" + house.engine.inspect(leader)["Id"]
        assert now["Config"]["Image"] == before[name]["Config"]["Image"]
        assert now["Image"] == before[name]["Image"]
        assert "OWN=1" in now["Config"]["Env"]


SETS = {
    "network": {"side": ("NetworkMode", "app")},
    "two": {"side": ("PidMode", "app"), "other": ("NetworkMode", "app")},
    "chain": {"side": ("IpcMode", "app"), "far": ("PidMode", "side")},
}


@pytest.mark.parametrize("kind", SETS)
def test_update_and_rollback(house, kind):
    followers = SETS[kind]
    house_with(house, followers)
    before = {name: house.engine.inspect(name) for name in followers}
    second = house.publish()
    house.once("updated")
    house.check(second, policy="always")
    check(house, followers, before)
    assert not {house.engine.inspect(name)["Id"] for name in followers} & \
               {entry["Id"] for entry in before.values()}

    kept = {name: house.engine.inspect(name)["Id"] for name in followers}
    house.publish("exit", 3)
    house.once("rolled-back")
    house.check(second, policy="always")
    check(house, followers, before)
    assert {name: house.engine.inspect(name)["Id"] for name in followers} == kept

    third = house.publish()
    house.once("updated")
    house.check(third, policy="always")
    check(house, followers, before)


def test_stopped_follower_stays_stopped(house):
    followers = {"side": ("NetworkMode", "app")}
    house_with(house, followers)
    house.engine.call("POST", "/containers/side/stop?t=0")
    second = house.publish()
    house.once("updated")
    app = house.check(second)
    side = house.engine.inspect("side")
    assert not side["State"]["Running"]
    assert side["HostConfig"]["NetworkMode"] == "container:" + app["Id"]
    house.engine.call("POST", "/containers/side/start")  # and can be started


def test_follower_that_cannot_live_with_the_new_one(house):
    """It shares the PID namespace, and its health is part of the verdict."""
    followers = {"side": ("NetworkMode", "app")}
    house_with(house, followers)
    before = {"side": house.engine.inspect("side")}
    first = house.engine.inspect("app")
    # The engine refuses to start the follower: the new container is a one-shot and has exited.
    house.publish("exit", 0)
    house.configure(health="exit")
    entry = house.once("rolled-back")
    assert "side" in entry["reason"], entry
    assert house.engine.inspect("app")["Id"] == first["Id"]
    check(house, followers, before)


def test_paused_or_odd_follower_refuses(house):
    followers = {"side": ("NetworkMode", "app")}
    house_with(house, followers)
    before = house.engine.inspect("app")
    house.engine.call("POST", "/containers/side/pause")
    house.publish()
    house.once("refused", "container side")
    house.untouched(before)
    house.engine.call("POST", "/containers/side/unpause")
    house.once("updated")


def test_too_many(house):
    house_with(house, {f"side{i}": ("NetworkMode", "app") for i in range(9)})
    before = house.engine.inspect("app")
    house.publish()
    house.once("refused", "more than 8")
    house.untouched(before)


@pytest.mark.parametrize("order", [("app", "side"), ("side", "app")], ids=" then ".join)
def test_follower_with_an_update_of_its_own(house, order):
    """Both are managed and have candidates in one pass: in either order each ends with its new image, and the
    follower in the other's network."""
    followers = {"side": ("NetworkMode", "app")}
    house_with(house, followers)
    before = {"side": house.engine.inspect("side")}
    images = {"app": house.image, "side": house.registry.ref(house.repository + "/side:stable")}
    house.pullet.configure({name: {"image": images[name], "health-period": "300ms"}
                            for name in order})
    news = {"app": house.publish(), "side": house.publish(repository=house.repository + "/side")}
    result = house.pullet.once()
    assert {entry["result"] for entry in result.results.values()} == {"updated"}, result
    for name, published in news.items():
        house.check(published, name, policy="always")
    before["side"]["Image"] = house.engine.inspect("side")["Image"]  # it was checked above
    check(house, followers, before)
    result = house.pullet.once()
    assert {entry["result"] for entry in result.results.values()} == {"up-to-date"}, result
