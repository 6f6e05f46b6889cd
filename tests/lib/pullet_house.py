# SPDX-License-Identifier: MIT
"""Fixtures of the tests that run the built programs against a real engine and a real registry, both started
privately: each test has a repository, a configuration and the container "app" of its own. PULLET_BUILD names the build
directory, PULLET_SKIP_ENGINE=1 skips (exit status 77); a machine that cannot run an engine fails loudly."""

import itertools
import os
import time

import pytest

import expected_skips
from pullet_agent import Pullet
from pullet_engine import Engine
from pullet_image import actor
from pullet_lab import Lab
from pullet_registry import Registry
from pullet_sweep import LabError, handle_signals

UP = {"HostConfig": {"NetworkMode": "none", "RestartPolicy": {"Name": "always"}}}
ONE_SHOT = {"HostConfig": {"NetworkMode": "none"}}


def window(*hours):
    """From one hour to another, counted from now, in the form of the configuration. (6, 7): closed now."""
    return "-".join(time.strftime("%H:%M", time.localtime(time.time() + hour * 3600)) for hour in hours)


def pytest_configure(config):
    if os.environ.get("PULLET_SKIP_ENGINE") == "1":
        pytest.exit("skipped: PULLET_SKIP_ENGINE=1", returncode=77)
    handle_signals()


def pytest_collection_modifyitems(items):
    for item in items:
        why = expected_skips.reason(os.environ.get("PULLET_ENGINE", "machine"), item.path.stem,
                            item.name)
        if why:
            item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="session")
def lab():
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="session")
def engine(lab):
    try:
        return Engine(lab)
    except LabError as error:
        pytest.exit(f"no engine can be started here: {error}\n"
                    "(PULLET_SKIP_ENGINE=1 skips these tests)", returncode=1)


@pytest.fixture(scope="session")
def registry(lab):
    try:
        return Registry(lab)
    except LabError as error:
        pytest.exit(f"no registry can be started here: {error}", returncode=1)


_numbers = itertools.count(1)


def layers_read(house, published):
    """How often a blob was read that is no config of it."""
    return sum("/blobs/" in request.path and not request.path.endswith(tuple(published.configs.values()))
               for request in house.registry.requests())


class House:
    """The fixture of one test: a repository and a configuration of its own, the container "app"."""

    def __init__(self, lab, engine, registry):
        self.lab, self.engine, self.registry = lab, engine, registry
        self.number = next(_numbers)
        self.repository = f"t{self.number}/app"
        self.pullet = Pullet(lab, engine, f"pullet-{self.number}")
        self.versions = itertools.count(1)
        self.settings = {}

    @property
    def image(self):
        return self.registry.ref(self.repository + ":stable")

    def publish(self, *script, images=None, repository=None, **options):
        """Publishes a new image behind the tag; without a script its container runs until it is stopped."""
        version = str(next(self.versions))
        config = options.pop("config", {})
        config = {**config, "Labels": {"version": version, **config.get("Labels", {})}}
        if images is None:
            images = actor("say", "version " + version, *(script or ("wait",)), **config)
        return self.registry.publish(repository or self.repository, "stable", images, **options)

    def configure(self, agent=None, registries=None, more="", **settings):
        """The container "app", with these keys (health_period for health-period)."""
        self.settings = {"image": self.image, "health-period": "700ms",
                         **{key.replace("_", "-"): value for key, value in settings.items()}}
        self.pullet.configure({"app": self.settings}, agent=agent, registries=registries, more=more)

    def once(self, want, reason=None, **options):
        """Runs one pass; the result must be want. -> the object of "app"."""
        result = self.pullet.once(**options)
        entry = result.results.get("app") if result.stdout.startswith("{") else None
        assert entry and entry["result"] == want, f"wanted {want}:\n{result}"
        bad = want in ("failed", "refused", "rolled-back")
        assert result.status == (1 if bad else 0), result
        if reason:
            assert reason in (entry["reason"] or ""), result
        return entry

    def up(self, create=UP, **settings):
        """Lets the agent create the first container from a first version. -> (published, inspect)"""
        published = self.publish()
        self.configure(create=create, **settings)
        self.once("updated")
        return published, self.check(published)

    def adopt(self, published=None, name="app", **body):
        """Creates a container from the tag as an operator does."""
        published = published or self.publish()
        self.engine.pull(self.image)
        self.engine.run(name, self.image, **body)
        return published, self.engine.inspect(name)

    def is_image(self, inspect, published):
        """A graph driver names an image by its config, containerd by index or manifest."""
        return inspect["Image"] in {published.digest, *published.configs.values(),
                                    *published.manifests.values()}

    def check(self, published, name="app", state="running", policy=None):
        """The container exists, alone under its names, with that version and state."""
        inspect = self.engine.inspect(name)
        assert inspect, f"no container {name}: {self.engine.containers()}"
        left = [other for other in self.engine.containers() if other.startswith(name + ".")]
        assert not left, left
        assert self.is_image(inspect, published), (inspect["Image"], published)
        assert inspect["State"]["Status"] == state, inspect["State"]
        if policy:
            assert inspect["HostConfig"]["RestartPolicy"]["Name"] == policy
        return inspect

    def untouched(self, before):
        """It is the same container, and it was never stopped in between."""
        after = self.engine.inspect("app")
        assert after, f"no container app: {self.engine.containers()}"
        assert after["Id"] == before["Id"]
        for key in ("Status", "StartedAt", "FinishedAt", "Pid"):
            assert after["State"][key] == before["State"][key]
        assert after["HostConfig"]["RestartPolicy"] == before["HostConfig"]["RestartPolicy"]
        left = [name for name in self.engine.containers() if name.startswith("app.")]
        assert not left, left

    def most_running(self, since, name="app"):
        """The most containers of this name (and .next, .prev) that ever ran at once."""
        alive, most = {entry["Id"] for entry in self.engine.call("GET", "/containers/json")}, 0
        now = set(alive)
        history = []
        for event in self.engine.events(since):
            if event["Actor"]["Attributes"].get("name", "").split(".")[0] == name:
                history.append((event["Action"], event["Actor"]["ID"]))
        ours = {identity for _, identity in history}
        now &= ours
        most = len(now)
        for action, identity in reversed(history):  # newest first
            if action == "start":
                now.discard(identity)
            elif action == "die":
                now.add(identity)
            most = max(most, len(now))
        return most


@pytest.fixture
def house(lab, engine, registry):
    house = House(lab, engine, registry)
    house.start = time.time()
    yield house
    if engine.process.poll() is not None:
        engine.start()
    if registry.process.poll() is not None:
        registry.start()
    engine.clear()
