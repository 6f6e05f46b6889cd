# SPDX-License-Identifier: MIT
"""An honest engine's answers fit, however many ports, labels and containers there are, in 16 MB; what does not fit is
named."""

import itertools
import json
import subprocess

import pytest

from pullet_agent import Pullet
from pullet_image import actor
from pullet_memory import Watcher
from pullet_stub import Device, Engines

PEAK_KB = 16000
HOST = {"HostConfig": {"NetworkMode": "host", "RestartPolicy": {"Name": "always"}}}
LABELS = {f"label-{i}": "x" * 1000 for i in range(50)}


def ports(first, last, protocol):
    return {f"{port}/{protocol}": {} for port in range(first, last + 1)}


def once(pullet, want, reason=""):
    """A pass, whose processes stay small. -> the object of "app"."""
    process = pullet.spawn("--once", "--json", stdout=subprocess.PIPE)
    with Watcher(process.pid) as watcher:
        output = process.communicate(timeout=120)[0]
    entry = json.loads(output.splitlines()[-1])
    assert entry["result"] == want and reason in (entry["reason"] or ""), entry
    print(watcher.peaks)
    if b"__asan_init" not in (pullet.build / "pullet-update").read_bytes():
        assert max(watcher.peaks.values()) <= PEAK_KB, watcher.peaks
    return entry


# Case 8
def test_an_image_that_exposes_a_range_of_ports(house):
    exposed = ports(49152, 65535, "udp")

    def publish():
        return house.publish(images=actor("say", str(next(house.versions)), "wait", ExposedPorts=exposed))

    publish()
    house.configure()
    house.engine.pull(house.image)
    house.engine.run("app", house.image, ExposedPorts={"80/tcp": {}}, **HOST)
    new = publish()
    once(house.pullet, "updated")
    assert house.check(new)["Config"]["ExposedPorts"] == {**exposed, "80/tcp": {}}
    # The operator's own port stays when an image comes that has none.
    last = house.publish()
    once(house.pullet, "updated")
    assert house.check(last)["Config"]["ExposedPorts"] == {"80/tcp": {}}


# Case 8, audit 4d
def test_neighbours_that_expose_every_port_or_have_large_labels(house):
    house.adopt(**HOST)
    house.configure()
    wide = house.registry.publish("n1/wide", "stable", actor("wait", ExposedPorts=ports(1025, 65535, "tcp")))
    house.engine.pull(house.registry.ref("n1/wide:stable"))
    house.engine.run("wide", house.registry.ref("n1/wide:stable"), **HOST)
    labels = {f"label-{i}": "x" * 3900 for i in range(1000)}
    house.engine.create("labelled", house.image, Labels=labels, **HOST)
    new = house.publish()
    once(house.pullet, "updated")
    house.check(new)
    assert wide


def merge(a, b):
    if not isinstance(a, dict) or not isinstance(b, dict):
        return b
    return {**a, **{key: merge(a.get(key), value) for key, value in b.items()}}


class Crowd(Device):
    """An engine with `others` beside the container of the test, whose inspect answer has `extra`."""

    others, extra = (), {}

    async def answer(self, method, path, query, body):
        if "/networks/" in path:
            return None
        found = await super().answer(method, path, query, body)
        if path.endswith("/containers/json"):
            return [*({"State": "running", "Status": "Up", "ImageID": self.containers[entry["Id"]]["Image"],
                       "Labels": LABELS, **entry} for entry in found), *self.others]
        if path.endswith("/images/json"):
            return [{"Id": f"sha256:{i:064}", "Labels": LABELS} for i in range(1000)]
        return found

    def on_image(self, method, name, verb, rest, query, body):
        if name.startswith("sha256:000"):
            return {"Id": name, "RootFS": {"Layers": ["sha256:1"]}}
        return super().on_image(method, name, verb, rest, query, body)

    def on_container(self, method, name, verb, rest, query, body):
        if name.startswith("other-"):
            return {"Id": name, "Name": "/" + name, "HostConfig": {"NetworkMode": "host"}, "Config": {"Labels": LABELS}}
        found = super().on_container(method, name, verb, rest, query, body)
        if method != "GET" or verb != "json":
            return found
        return merge(found, self.extra)


_numbers = itertools.count(1)


@pytest.fixture
def crowd(lab, registry):
    name = f"crowd-{next(_numbers)}"
    directory = lab.path(name)
    directory.mkdir()
    engines = Engines(directory, [])
    device = engines.devices["crowd"] = Crowd("crowd")
    engines.start()
    device.url = f"unix://{engines.socket('crowd')}"
    device.pullet = Pullet(lab, device, f"{name}-pullet")
    device.pullet.configure({"app": {"image": registry.ref(f"{name}/app:stable"), "create": {"Cmd": ["serve"]},
                                     "health": "running", "health-period": "100ms"}})
    registry.publish(f"{name}/app", "stable", actor("say", "first " + name))
    once(device.pullet, "updated")
    device.publish = lambda: registry.publish(f"{name}/app", "stable", actor("say", "next " + name))
    return device


# Audit 4d, the kind
def test_a_hundred_containers_with_large_labels(crowd):
    crowd.others = [{"Id": f"other-{i}-{'0' * 60}", "Names": [f"/other-{i}"], "Labels": LABELS} for i in range(100)]
    once(crowd.pullet, "up-to-date")
    crowd.publish()
    once(crowd.pullet, "updated")


@pytest.mark.parametrize("extra", [
    {"Config": {"Env": [f"V{i}=" + "x" * 1000 for i in range(500)]}},
    {"Config": {"Cmd": ["sh", "-c", "true " + "x" * 500_000]}},
    {"Config": {"Labels": LABELS}},
    {"Mounts": [{"Type": "bind", "Source": "/tmp", "Destination": f"/d/{i}", "Mode": "", "RW": True,
                 "Propagation": "rprivate"} for i in range(500)],
     "HostConfig": {"Binds": [f"/tmp:/d/{i}" for i in range(500)]}},
    {"NetworkSettings": {"Networks": {f"net-{i}": {"NetworkID": f"{i:064}", "IPAMConfig": None, "Aliases": [f"a{i}"],
                                                   "EndpointID": f"{i:064}", "Gateway": "10.0.0.1"}
                                      for i in range(200)}},
     "HostConfig": {"NetworkMode": "net-0"}},
    {"HostConfig": {"PortBindings": {f"{port}/udp": [{"HostIp": "", "HostPort": str(port)}]
                                     for port in range(49152, 51152)}}},
    {"State": {"Health": {"Status": "healthy", "Log": [{"ExitCode": 0, "Output": "x" * 400_000}] * 5}}},
    {"ExecIDs": [f"{i:064}" for i in range(20000)], "NetworkSettings": {"Ports": ports(1, 65535, "tcp")}},
], ids=["env", "command", "labels", "mounts", "networks", "published", "health", "execs"])
def test_a_container_with_much_of_everything(crowd, extra):
    crowd.extra = extra
    crowd.publish()
    assert once(crowd.pullet, "updated")


def test_what_is_too_large_is_named(crowd):
    crowd.extra = {"Config": {"Labels": {f"label-{i}": "x" * 1000 for i in range(5000)}}}
    crowd.publish()
    once(crowd.pullet, "failed", reason="inspect container app: the answer is over 1.0 MB, most of it Config.Labels")


# Audit 4b
def test_an_image_whose_labels_would_lock_out_the_next_is_refused(house):
    _, old = house.up()
    house.publish("wait", config={"Labels": {f"l{i}": "" for i in range(6000)}})
    once(house.pullet, "refused", reason="takes more memory than allowed, most of it Config.Labels")
    house.untouched(old)
    new = house.publish()
    once(house.pullet, "updated")
    house.check(new)
