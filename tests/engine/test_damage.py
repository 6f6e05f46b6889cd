# SPDX-License-Identifier: MIT
"""A store that is damaged all the same, as a card does that lies about flushes: made good by removing the
image and pulling it again where that can work, told as engine-store-damaged where not, and never put
down to the release."""

import os
import pathlib

import pytest

from pullet_image import Image, actor
from pullet_lab import stop_process

pytestmark = pytest.mark.skipif(os.environ.get("PULLET_ENGINE", "machine") not in (
    "machine", "bookworm", "trixie", "sid"), reason="it is overlay2's files that are damaged here")
UP = {"HostConfig": {"NetworkMode": "none", "RestartPolicy": {"Name": "always"}}}


class Store:
    """The layers of one image in the files of overlay2 and layerdb."""

    def __init__(self, engine, reference):
        self.root = engine.storage / "data"
        data = engine.inspect_image(reference)["GraphDriver"]["Data"]
        # Only its own, on top of what it shares with the running one.
        self.layer = pathlib.Path(data["UpperDir"]).parent

    def empty_files(self):
        for path in (self.layer / "diff").rglob("*"):
            if path.is_file():
                os.truncate(path, 0)

    def empty_link(self):
        os.truncate(self.layer / "link", 0)

    def empty_lower(self):
        os.truncate(self.layer / "lower", 0)

    def lose_directory(self):
        (self.layer / "diff").rename(self.layer / "lost")

    def lose_layer(self):
        for entry in (self.root / "image/overlay2/layerdb/sha256").glob("*/cache-id"):
            if entry.read_text() == self.layer.name:
                os.truncate(entry.parent / "diff", 0)


BASE = Image({"below": b"of all versions"})


def publish(house, number):
    """A version with one layer of its own."""
    image = actor("say", number, "wait", files={"version": str(number).encode()})
    image.base = BASE
    return house.registry.publish(house.repository, "stable", image)


def boot(engine, damage=lambda: None):
    """The engine goes down and comes again, and its containers with it."""
    engine.stop_daemon()
    stop_process(engine.containerd, 5)
    damage()
    engine._start_containerd()
    engine.start()


@pytest.fixture
def waiting(house):
    """Version 1 runs, version 2 is in the engine, pulled by Pullet and waiting for its window."""
    publish(house, 1)
    house.configure(create=UP)
    house.once("updated")
    house.old = house.engine.inspect("app")
    new = publish(house, 2)
    house.pinned = house.registry.ref(house.repository) + "@" + new.digest
    house.engine.pull(house.pinned)
    return new


@pytest.mark.parametrize("damage", ["empty_link", "empty_lower", "lose_directory"])
def test_what_the_engine_sees_is_made_good(house, engine, waiting, damage):
    store = Store(engine, house.pinned)
    boot(engine, getattr(store, damage))
    house.once("updated")
    house.check(waiting)
    assert not house.pullet.record("app")["rejected"]


def test_a_torn_program_after_a_lost_record(house, engine, waiting):
    """Nothing tells a torn image from a bad one but a second try."""
    boot(engine, Store(engine, house.pinned).empty_files)
    (house.pullet.state / "app.json").write_bytes(b"")
    house.once("updated")
    house.check(waiting)
    assert not house.pullet.record("app")["rejected"]


def test_a_bad_program_is_still_rejected(house):
    """The same picture, and it is the release: pulled in this boot, tried once."""
    publish(house, 1)
    house.configure(create=UP)
    house.once("updated")
    image = actor("wait", files={"actor": b"this is no program\n"})
    bad = house.registry.publish(house.repository, "stable", image)
    house.once("rolled-back", reason="exec format error")
    assert [entry["digest"] for entry in house.pullet.record("app")["rejected"]] == [bad.digest]


def test_what_cannot_be_made_good_is_told(house, engine, waiting):
    """layerdb lost a layer: not even removing the image helps."""
    boot(engine, Store(engine, house.pinned).lose_layer)
    house.once("failed", reason="engine-store-damaged: ")
    record = house.pullet.record("app")
    assert not record["rejected"] and record["last_error"].startswith("engine-store-damaged: ")
    runs = house.engine.inspect("app")
    assert runs["Id"] == house.old["Id"] and runs["State"]["Running"]
    # It is not tried at every poll, and nothing is written for it.
    before, mark = house.pullet.state_snapshot(), house.registry.mark()
    house.once("failed", reason="pullet retry app")
    assert house.pullet.state_snapshot() == before
    assert not [r for r in house.registry.requests(mark) if r.by_engine]
    # The next release has layers of its own.
    new = publish(house, 3)
    house.once("updated")
    house.check(new)
