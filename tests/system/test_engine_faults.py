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

CREATE = {"Cmd": ["serve"]}


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
