# SPDX-License-Identifier: MIT
"""Single failed responses of an engine, which must have no lasting effect."""

import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from pullet_image import actor  # noqa: E402
from pullet_agent import Pullet  # noqa: E402
from pullet_lab import Lab  # noqa: E402
from pullet_registry import Registry  # noqa: E402
from pullet_stub import Device, Engines, Refusal  # noqa: E402

CREATE = {"Cmd": ["serve"], "HostConfig": {"RestartPolicy": {"Name": "always"}}}


class Moody(Device):
    """The `at`th inspect of the container `refuses` fails."""

    def __init__(self, name):
        super().__init__(name)
        self.refuses, self.at, self.asked = None, 0, 0

    def on_container(self, method, name, verb, rest, query, body):
        if method == "GET" and verb == "json" and name == self.refuses:
            self.asked += 1
            if self.asked == self.at:
                raise Refusal(500, "context deadline exceeded")
        return super().on_container(method, name, verb, rest, query, body)

    def named(self, name):
        return next((c for c in self.containers.values() if c["Name"] == f"/{name}"), None)


class Rival(Moody):
    """Somebody removes the container that replaces another: from a call on it is being removed, as the engine calls
    it, and `lasts` calls later it is gone."""

    def __init__(self, name):
        super().__init__(name)
        self.moment, self.victim, self.left = None, None, None

    def create(self, name, body):
        made = super().create(name, body)
        self.victim = self.victim or self.containers[made["Id"]]
        return made

    def begin(self, moment, lasts):
        self.moment, self.lasts, self.victim, self.left = moment, lasts, None, None

    def on_container(self, method, name, verb, rest, query, body):
        container = self.container(rest if method == "DELETE" else name)
        if self.left is None and verb == self.moment and (container is self.victim or verb == "stop"):
            self.left = self.lasts
            self.victim["State"].update(Status="removing", Running=False)
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.containers.pop(self.victim["Id"], None)
            elif container is self.victim and method != "GET" and verb != "rename":
                raise Refusal(409, f"removal of container {name} is already in progress" if method == "DELETE" else
                              "container is marked for removal and cannot be started" if verb == "start" else
                              f"Container {name} is marked for removal and cannot be \"{verb}\".")
        return super().on_container(method, name, verb, rest, query, body)


@pytest.fixture(scope="module")
def lab():
    with Lab() as lab:
        lab.environment["DBUS_SYSTEM_BUS_ADDRESS"] = f"unix:path={lab.path('no-bus')}"
        yield lab


@pytest.fixture(scope="module")
def registry(lab):
    return Registry(lab)


@pytest.fixture(scope="module")
def engines(lab):
    directory = lab.path("engines")
    directory.mkdir()
    engines = Engines(directory, [])
    engines.devices = {name: Moody(name) for name in ("side", "create")}
    engines.devices["rival"] = Rival("rival")
    engines.start()
    return engines


class House:
    def __init__(self, lab, engines, registry, name):
        self.registry, self.name, self.versions = registry, name, 0
        self.device = engines.devices[name]
        self.device.url = f"unix://{engines.socket(name)}"
        self.pullet = Pullet(lab, self.device, name)
        self.pullet.configure({"app": {"image": f"{registry.address}/{name}:stable", "create": CREATE,
                                       "health": "running", "health-period": "100ms"}})

    def publish(self):
        self.versions += 1
        done = self.registry.publish(self.name, f"v{self.versions}", actor("say", f"{self.name} {self.versions}"))
        self.registry.point(done, "stable")
        return done

    def once(self):
        return self.pullet.once().results["app"]


def test_one_failed_inspect_loses_no_follower(lab, engines, registry):
    """A container that shares namespaces must not be taken for one that does not."""
    house = House(lab, engines, registry, "side")
    device = house.device
    house.publish()
    result = house.once()
    assert result["result"] == "updated", result["reason"]
    first = device.named("app")
    sidecar = device.create("sidecar", {"Image": first["Image"], "Cmd": ["beside"],
                                        "HostConfig": {"NetworkMode": f"container:{first['Id']}"}})["Id"]
    device.start(device.containers[sidecar])
    house.publish()
    device.refuses, refused = sidecar, 0
    # Each inspect of it fails once, one in each pass.
    for device.at in range(1, 20):
        device.asked = 0
        result = house.once()
        if device.asked < device.at:
            break
        assert result["result"] == "failed", result
        assert "context deadline exceeded" in result["reason"], result
        # During a trial the next pass completes or reverts the update.
        if house.pullet.record("app")["phase"] in ("idle", "prepare"):
            refused += 1
            assert device.named("app")["Id"] == first["Id"] and first["State"]["Running"]
            assert device.named("sidecar")["Id"] == sidecar
    assert refused >= 2 and result["result"] == "updated"
    new = device.named("app")
    assert new["Id"] != first["Id"]
    assert device.named("sidecar")["HostConfig"]["NetworkMode"] == f"container:{new['Id']}"


@pytest.mark.parametrize("mode", [0o666, 0o664])
def test_an_untrusted_create_file_is_refused(lab, engines, registry, mode):
    house = House(lab, engines, registry, "create")
    body = house.pullet.directory / "app.create.json"
    house.publish()
    os.chmod(body, mode)
    result = house.once()
    assert result["result"] == "failed" and f"run chmod go-w {body}" in result["reason"], result
    assert not house.device.containers
    os.chmod(body, 0o644)


@pytest.mark.parametrize("moment, lasts", [("rename", 4), ("stop", 30), ("start", 4), ("start", 30), ("update", 4)])
def test_a_container_that_others_remove_is_not_to_blame(lab, engines, registry, moment, lasts):
    """moment: of the update; lasts: until the removal is over, in calls of the engine."""
    house = House(lab, engines, registry, "rival")
    device = house.device
    device.begin(None, 0)
    house.publish()
    assert house.once()["result"] in ("updated", "up-to-date")
    house.publish()
    device.begin(moment, lasts)
    told = [house.once()]
    while told[-1]["result"] == "failed" and len(told) < 9:
        told.append(house.once())
    assert device.left is not None and told[-1]["result"] == "updated", told
    record = house.pullet.record("app")
    assert record["phase"] == "idle" and record["rejected"] == [], told
    assert [c["Name"] for c in device.containers.values()] == ["/app"], told
