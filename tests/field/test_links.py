# SPDX-License-Identifier: MIT
"""References to a container by others that renaming and removing it would break: links on the default bridge, and ids. All
of the file runs in a network namespace of its own."""

import time

import pytest

from pullet_bridge import BridgedEngine
from pullet_house import House
from pullet_image import actor
from pullet_network import own_network
from pullet_registry import Registry

ALWAYS = {"Name": "always"}


@pytest.fixture(scope="module")
def bridged(lab):
    with own_network():
        engine = BridgedEngine(lab)
        registry = Registry(lab, "bridged-registry")
        try:
            yield engine, registry
        finally:
            engine.stop()
            registry.stop()


@pytest.fixture
def town(lab, bridged):
    """A house with a bridge network, and links as compose files of version 1 have."""
    house = House(lab, *bridged)
    house.start = time.time()
    house.registry.publish(house.repository + "/side", "stable", actor("wait"))
    house.side = house.registry.ref(house.repository + "/side:stable")
    house.engine.pull(house.side)
    house.adopt(HostConfig={"RestartPolicy": ALWAYS, "NetworkMode": "default"})
    house.configure()
    yield house
    clear(house.engine)


def clear(engine):
    """A container with links to it has several names."""
    for container in engine.call("GET", "/containers/json?all=1"):
        engine.call("DELETE", f"/containers/{container['Id']}?force=1&v=1")


def side(house, name, **host):
    return house.engine.run(name, house.side,
                            HostConfig={"RestartPolicy": ALWAYS, "NetworkMode": "default", **host})


def links(house, name):
    return house.engine.inspect(name)["HostConfig"]["Links"]


def starts_again(house, *names):
    """As after a crash or a reboot."""
    for name in names:
        house.engine.call("POST", f"/containers/{name}/restart?t=0")
        assert house.engine.inspect(name)["State"]["Running"], name


def test_docker_run_link_still_starts_after_the_update_of_the_linked_one(town):  # case 3
    side(town, "web", Links=["app:database"])
    side(town, "far", Links=["web:w", "app:d"])
    before = {name: town.engine.inspect(name)["Id"] for name in ("web", "far")}
    second = town.publish()
    town.once("updated")
    town.check(second, policy="always")
    assert links(town, "web") == ["/app:/web/database"]
    assert sorted(links(town, "far")) == ["/app:/far/d", "/web:/far/w"]
    starts_again(town, "web", "far")
    kept = {name: town.engine.inspect(name)["Id"] for name in before}
    assert not set(kept.values()) & set(before.values())

    town.publish("exit", 3)
    town.once("rolled-back")
    town.check(second, policy="always")
    assert links(town, "web") == ["/app:/web/database"]
    assert {name: town.engine.inspect(name)["Id"] for name in before} == kept
    starts_again(town, "web", "far")


def test_a_linking_container_gets_its_own_update(town):
    """And a link that leads nowhere is refused before anything is touched."""
    side(town, "web", Links=["app:database"])
    town.pullet.configure({"web": {"image": town.side, "health-period": "300ms"}})
    published = town.publish(repository=town.repository + "/side")
    assert town.pullet.once().results["web"]["result"] == "updated"
    town.check(published, "web", policy="always")
    assert links(town, "web") == ["/app:/web/database"]
    town.engine.call("DELETE", "/containers/app?force=1")
    town.publish(repository=town.repository + "/side")
    entry = town.pullet.once().results["web"]
    assert entry["result"] == "refused" and "Links refers to container app" in entry["reason"], entry
    town.check(published, "web", policy="always")


def test_volumes_from_an_id_can_be_updated_later(town):
    """docker run --volumes-from ID: the id would be gone when the one with the volumes is updated itself."""
    short = town.engine.inspect("app")["Id"][:12]
    side(town, "data", VolumesFrom=[short])
    side(town, "named", VolumesFrom=["app:ro"])
    named = town.engine.inspect("named")["Id"]
    town.publish()
    town.once("updated")
    assert town.engine.inspect("data")["HostConfig"]["VolumesFrom"] == ["app"]
    assert town.engine.inspect("named")["Id"] == named  # it needs nothing
