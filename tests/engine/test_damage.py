# SPDX-License-Identifier: MIT
"""A damaged store, as after a card that lies about flushes: the image is removed and pulled again if that can help,
engine-store-damaged is reported if not, and the digest is never rejected for it."""

import io
import json
import os
import pathlib
import shutil
import tarfile
import uuid

import pytest

import pullet_trace
from pullet_image import Image, actor
from pullet_sweep import stop_process
from pullet_meddler import Meddler

pytestmark = pytest.mark.skipif(os.environ.get("PULLET_ENGINE", "machine") not in (
    "machine", "bookworm", "trixie", "sid"), reason="it is overlay2's files that are damaged here")
UP = {"HostConfig": {"NetworkMode": "none", "RestartPolicy": {"Name": "always"}}}


class Store:
    """The files of one image's layers in overlay2 and layerdb."""

    def __init__(self, engine, reference):
        self.root = engine.storage / "data"
        data = engine.inspect_image(reference)["GraphDriver"]["Data"]
        # Only its own layers, on top of those that it shares with the running image.
        self.layer = pathlib.Path(data["UpperDir"]).parent

    def empty_files(self):
        for path in (self.layer / "diff").rglob("*"):
            if path.is_file():
                os.truncate(path, 0)

    def empty_link(self):
        os.truncate(self.layer / "link", 0)

    def zeroed_lower(self):
        """As a file system leaves it after a power cut: the engine quotes the zeroes."""
        (self.layer / "lower").write_bytes(bytes((self.layer / "lower").stat().st_size))

    def empty_lower(self):
        os.truncate(self.layer / "lower", 0)

    def lose_directory(self):
        (self.layer / "diff").rename(self.layer / "lost")

    def find_directory(self):
        (self.layer / "lost").rename(self.layer / "diff")

    def lose_layer(self):
        for entry in (self.root / "image/overlay2/layerdb/sha256").glob("*/cache-id"):
            if entry.read_text() == self.layer.name:
                os.truncate(entry.parent / "diff", 0)


def base_of(house):
    """Layers that all versions of one test share, and no other test, whose damage may still be in the engine."""
    return Image({"below": house.repository.encode()})


def publish(house, number, base=None):
    """Publishes a version with one layer of its own."""
    image = actor("say", number, "wait", files={"version": f"{number} of {house.repository}".encode()})
    image.base = base or base_of(house)
    return house.registry.publish(house.repository, "stable", image)


def boot(engine, damage=lambda: None):
    """Stops the engine and its containers, and starts them again."""
    engine.stop_daemon()
    stop_process(engine.containerd, 5)
    damage()
    engine._start_containerd()
    engine.start()


@pytest.fixture
def waiting(house):
    """Version 1 runs; version 2 was pulled by Pullet and waits for its window."""
    publish(house, 1)
    house.configure(create=UP)
    house.once("updated")
    house.old = house.engine.inspect("app")
    new = publish(house, 2)
    house.pinned = house.registry.ref(house.repository) + "@" + new.digest
    house.engine.pull(house.pinned)
    return new


@pytest.mark.parametrize("damage", ["empty_link", "zeroed_lower", "empty_lower", "lose_directory"])
def test_damage_that_the_engine_reports_is_repaired(house, engine, waiting, damage):
    store = Store(engine, house.pinned)
    boot(engine, getattr(store, damage))
    house.once("updated")
    house.check(waiting)
    assert not house.pullet.record("app")["rejected"]


def test_a_corrupt_program_after_a_lost_record(house, engine, waiting):
    """Only a second attempt distinguishes a corrupt image from a bad one."""
    boot(engine, Store(engine, house.pinned).empty_files)
    (house.pullet.state / "app.json").write_bytes(b"")
    house.once("updated")
    house.check(waiting)
    assert not house.pullet.record("app")["rejected"]


def test_a_bad_program_is_still_rejected(house):
    """The symptoms are the same, but the image is at fault: it was pulled in this boot, and is tried once."""
    publish(house, 1)
    house.configure(create=UP)
    house.once("updated")
    image = actor("wait", files={"actor": b"this is no program\n"})
    bad = house.registry.publish(house.repository, "stable", image)
    house.once("rolled-back", reason="exec format error")
    assert [entry["digest"] for entry in house.pullet.record("app")["rejected"]] == [bad.digest]


def test_damage_that_cannot_be_repaired_is_reported(house, engine, waiting):
    """layerdb lost a layer: removing the image does not help."""
    boot(engine, Store(engine, house.pinned).lose_layer)
    house.once("failed", reason="engine-store-damaged: ")
    record = house.pullet.record("app")
    assert not record["rejected"] and record["last_error"].startswith("engine-store-damaged: ")
    runs = house.engine.inspect("app")
    assert runs["Id"] == house.old["Id"] and runs["State"]["Running"]
    # It is not tried again at every poll, and nothing is written.
    before, mark = house.pullet.state_snapshot(), house.registry.mark()
    house.once("failed", reason="pullet retry app")
    assert house.pullet.state_snapshot() == before
    assert not [r for r in house.registry.requests(mark) if r.by_engine or "/blobs/" in r.path]
    # The next release has layers of its own.
    new = publish(house, 3)
    house.once("updated")
    house.check(new)


class IncompleteImage:
    """The remains of a pull after a power cut: layers that the engine knows, of an image that it does not know,
    without their files on the disk."""

    def __init__(self, engine, reference):
        self.engine, self.store = engine, engine.storage / "data/image/overlay2"
        image = engine.inspect_image(reference)
        self.id, self.layers = image["Id"].partition(":")[2], image["RootFS"]["Layers"]
        data = image["GraphDriver"]["Data"]
        self.diffs = [data["UpperDir"], *data.get("LowerDir", "").split(":")]

    def leave(self, known=True, top=True):
        """known: whether the engine still knows the blobs of the layers; top: the topmost layer was unpacked, too."""
        for diff in filter(None, self.diffs):
            for path in pathlib.Path(diff).iterdir():
                os.truncate(path, 0)
        if not top:
            layer = pathlib.Path(self.diffs[0]).parent
            for entry in (self.store / "layerdb/sha256").glob("*/cache-id"):
                if entry.read_text() == layer.name:
                    shutil.rmtree(entry.parent)
            shutil.rmtree(layer)
        for part in ("content", "metadata"):
            path = self.store / "imagedb" / part / "sha256" / self.id
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        names = self.store / "repositories.json"
        have = json.loads(names.read_text())
        for repository in have["Repositories"].values():
            for name in [name for name, what in repository.items() if what.endswith(self.id)]:
                del repository[name]
        names.write_text(json.dumps(have))
        for layer in () if known else self.layers:
            of_blobs = self.store / "distribution/v2metadata-by-diffid/sha256" / layer.partition(":")[2]
            for blob in json.loads(of_blobs.read_text()):
                (self.store / "distribution/diffid-by-digest/sha256" / blob["Digest"].partition(":")[2]).unlink(
                        missing_ok=True)
            of_blobs.unlink()


def begin(house):
    """Kills a pass that is about to bring the image into the engine; then the machine boots."""
    environment = {**house.lab.environment, "ASAN_OPTIONS": "detect_leaks=0"}
    trace = pullet_trace.run(house.pullet.command("--once"), lambda call, side, _: (
        "group" if call.text.startswith(("POST /images/create", "POST /images/load")) else None), environment)
    assert trace.struck, trace
    path = house.pullet.state / "app.json"
    record = json.loads(path.read_text())
    assert record["phase"] == "prepare"
    record["update"]["boot_id"] = str(uuid.uuid4())
    path.write_text(json.dumps(record))


def content(engine, container, path):
    data = engine.call("GET", f"/containers/{container}/archive?path={path}")
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return tar.extractfile(tar.next()).read()


@pytest.mark.parametrize("whose, known, download", [
    ("this version's", True, "engine"), ("this version's", False, "engine"), ("the version's before it", False, "engine"),
    ("an operator's", True, "engine"), ("this version's", True, "spool"), ("an operator's", True, "spool")])
def test_no_layer_of_a_pull_that_was_cut_short_is_trusted(house, engine, whose, known, download):
    """The next pull treats the layer as complete and reports "Already exists", or even "Pull complete" if the engine
    finds out only by unpacking the blob that it has the layer. The next load does not read it."""
    publish(house, 1)
    house.configure(create=UP, agent={"download": download})
    house.once("updated")
    base = Image({"base": uuid.uuid4().bytes})
    new = publish(house, 2, base)
    if whose != "an operator's":
        begin(house)
    pinned = house.registry.ref(house.repository) + "@" + new.digest
    engine.pull(pinned)
    incomplete = IncompleteImage(engine, pinned)
    boot(engine, lambda: incomplete.leave(known, top=whose == "this version's"))
    if whose != "this version's":
        new = publish(house, 3, base)
    house.once("updated")
    house.check(new)
    assert content(engine, "app", "/base") == base.files["base"]
    assert not house.pullet.record("app")["rejected"]


@pytest.fixture
def broken(house, engine, request):
    """Version 2 ran, has data in an anonymous volume, and cannot start any more."""
    publish(house, 1)
    house.configure(create={**UP, "Env": ["KEY=value"], "Volumes": {"/data": {}}})
    house.once("updated")
    house.new = publish(house, 2)
    house.once("updated")
    before = engine.inspect("app")
    engine.request("PUT", "/containers/app/archive?path=/data", body=Image({"precious": b"data"}).layer(),
                   headers={"Content-Type": "application/x-tar"})
    house.store = store = Store(engine, before["Image"])
    if request.param == "its own layer":
        store.layer = pathlib.Path(before["GraphDriver"]["Data"]["UpperDir"]).parent
    boot(engine, store.lose_directory)
    engine.wait("app", lambda inspect: inspect["State"]["Error"])
    return before


IMAGE = pytest.mark.parametrize("broken", ["its image"], indirect=True)


def is_whole(house, engine, before):
    """The container was recreated, runs, and is complete."""
    after = house.check(house.new, policy="always")
    assert after["Id"] != before["Id"]
    assert after["Config"]["Env"] == before["Config"]["Env"]
    assert [mount["Name"] for mount in after["Mounts"]] == [mount["Name"] for mount in before["Mounts"]]
    assert content(engine, "app", "/data/precious") == b"data"
    record = house.pullet.record("app")
    assert record["current"]["brought"] and record["previous"] and not record["rejected"]
    assert engine.inspect_image("localhost/pullet/previous:app")
    assert {*os.listdir(house.pullet.state)} - {"spool"} == {"app.json"}


@pytest.mark.parametrize("broken", ["its image", "its own layer"], indirect=True)
def test_the_damaged_container_is_recreated(house, engine, broken, request):
    mark = house.registry.mark()
    house.once("updated", reason="recreated")
    is_whole(house, engine, broken)
    # An image that is complete is not pulled again.
    pulled = [r for r in house.registry.requests(mark) if r.by_engine]
    assert bool(pulled) == ("its image" in request.node.name), pulled
    house.once("up-to-date")


@IMAGE
def test_a_container_that_can_start_again_is_started(house, engine, broken):
    house.store.find_directory()
    house.once("up-to-date")
    assert house.check(house.new)["Id"] == broken["Id"]
    assert {*os.listdir(house.pullet.state)} - {"spool"} == {"app.json"}


@pytest.mark.parametrize("where", ["before", "after"])
@IMAGE
def test_recreating_survives_a_kill(house, engine, broken, where):
    environment = {**house.lab.environment, "ASAN_OPTIONS": "detect_leaks=0"}
    for call in ("DELETE /containers", "POST /containers/create", "DELETE /images"):
        trace = pullet_trace.run(house.pullet.command("--once"), lambda at, side, _, text=call: (
            "group" if side == where and at.text.startswith(text) else None), environment)
        assert trace.struck, trace
    # It is created from the saved spec, whatever the configuration says.
    house.configure()
    house.once("updated")
    is_whole(house, engine, broken)


@IMAGE
def test_another_version_repairs_it_too(house, engine, broken):
    house.new = publish(house, 3)
    house.once("updated")
    is_whole(house, engine, broken)


@IMAGE
def test_an_obstacle_is_reported_before_anything_is_removed(house, engine, broken):
    engine.create("app.prev", "localhost/pullet/previous:app")
    house.once("failed", reason="engine-store-damaged: container app: error creating overlay mount")
    assert engine.inspect("app")["Id"] == broken["Id"]
    house.once("failed", reason="remove it")


def test_a_trial_that_cannot_be_inspected_has_no_verdict(house, engine):
    """This happens once: recreated from an image that was pulled again, it gets an ordinary trial."""
    publish(house, 1)
    house.configure(create=UP)
    house.once("updated")
    new = publish(house, 2)
    seen = []

    def strike(call):
        if call.done and call.path.endswith("/start"):
            seen.append(call.path.removesuffix("/start"))
        elif call.done and call.method == "DELETE":
            seen.append("its end")
        elif len(seen) == 1 and call.path == f"{seen[0]}/json":
            return 500, "readlink /var/lib/docker/overlay2: invalid argument"
        return None

    meddler = Meddler(house.lab.path("meddler.sock"), engine, strike)
    try:
        house.configure(create=UP, agent=meddler.agent)
        house.once("updated")
    finally:
        meddler.stop()
    assert seen[1] == "its end" and not meddler.faults
    house.check(new)
    assert not house.pullet.record("app")["rejected"]


def test_a_release_is_not_blamed_when_the_way_back_is_damaged(house, engine):
    """The old container cannot start again, and is recreated."""
    publish(house, 1)
    house.configure(create=UP)
    house.once("updated")
    old = engine.inspect("app")
    bad = actor("sleep", "2000", "exit", "1")
    bad.base = base_of(house)
    house.registry.publish(house.repository, "stable", bad)
    damaged = []

    def strike(call):
        if call.done and not damaged and call.path.endswith("/start"):
            Store(engine, old["Image"]).lose_directory()
            damaged.append(call)

    meddler = Meddler(house.lab.path("meddler.sock"), engine, strike)
    try:
        house.configure(create=UP, health_period="6s", agent=meddler.agent)
        house.once("failed", reason="engine-store-damaged: the old container does not start any more")
        assert damaged and not meddler.faults and not house.pullet.record("app")["rejected"]
        house.once("updated", reason="recreated")
    finally:
        meddler.stop()
    after = engine.inspect("app")
    assert after["State"]["Running"] and after["Image"] == old["Image"] and after["Id"] != old["Id"]
