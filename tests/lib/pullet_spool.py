# SPDX-License-Identifier: MIT
"""What a download through the spool is asked for: images of a size, the bytes that came for them, and what is left."""

import json
import os
import random

import pytest

from pullet_image import Image, actor
from pullet_relay import Relay
from pullet_sweep import wait_for

KB, MB = 1000, 1000 * 1000
LOST = (256 + 64) << 10  # bytes that a power cut may cost: what came since the last sync, and the largest write
HEADERS = 1500  # bytes down of one request without its body, at most


class Linked:
    """A registry behind a relay: published to directly, read through the relay."""

    def __init__(self, registry, relay):
        self.behind, self.relay, self.ref = registry, relay, relay.ref

    def __getattr__(self, name):
        return getattr(self.behind, name)


@pytest.fixture
def link(lab, house):
    """The house's registry is behind this relay."""
    relay = Relay(lab, house.registry.address, http=True)
    house.registry = Linked(house.registry, relay)
    yield relay
    relay.stop()


def ballast(size, dice=None):
    return Image({"ballast": (dice.randbytes if dice else os.urandom)(size)})


def image(*sizes, version="x", dice=None, script=("wait",), **config):
    """An image with a layer for each of these sizes (or Image), lowest first, and one with its program on top."""
    base = None
    for number, size in enumerate(sizes):
        layer = size if isinstance(size, Image) else ballast(size, dice)
        layer = Image({f"{name}-{number}": content for name, content in layer.files.items()})
        layer.base, base = base, layer
    top = actor("say", "version " + version, *script, Labels={"version": version}, **config)
    top.base = base
    return top


def layers(published):
    """{digest: size} of the layers, lowest first."""
    body, _ = next(iter(published.bodies.values()))
    return {layer["digest"]: layer["size"] for layer in json.loads(body)["layers"]}


def ours(relay, digest=""):
    return [r for r in relay.requests if not r.by_engine and digest in r.path]


def down(requests):
    return sum(request.down for request in requests)


def wasted(relay, published):
    """Bytes of the layers, without headers, that came more often than once: the worst case by what the requests
    brought. 0 if each came once."""
    came = 0
    for digest, size in layers(published).items():
        found = ours(relay, digest)
        came += down(found) - size if found else 0
    return came


def left(house):
    """What is in the spool beside the account of bytes and the boot's name."""
    spool = house.pullet.state / "spool"
    return sorted(set(os.listdir(spool)) - {"budget.json", "boot"}) if spool.exists() else []


def parts(state):
    """{name: bytes} of the files that are not whole."""
    return {path.name: path.stat().st_size for path in (state / "spool").glob("*.part")}


def killed_pass(house, link, came, blob):
    """A pass whose processes are killed when so many bytes have come down and there are some in the file of this blob:
    until it has read them, all of them may be in its socket. -> the path of that file"""
    digest, size = blob
    path = house.pullet.state / "spool" / (digest.partition(":")[2] + ".part")

    def kill():
        wait_for("bytes in the file", lambda: 0 < parts(house.pullet.state).get(path.name, 0) <= size)
        house.pullet.kill9(process)

    link.at(came, kill)
    process = house.pullet.spawn("--once")
    process.wait(90)
    return path


def dice_of(seed):
    print(f"PULLET_SEED={seed}")
    return random.Random(seed)


def budget(house):
    path = house.pullet.state / "spool/budget.json"
    return json.loads(path.read_text()) if path.exists() else None
