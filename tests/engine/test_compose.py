# SPDX-License-Identifier: MIT
"""Services of docker compose: after Pullet updated one, compose works as if it had made the update itself.

Version 1 has the image's id in the hash of a service's settings, so its next `up` recreates an updated service once,
from the new image; all other promises are the same for both."""

import itertools
import os

import pytest

from pullet_compose import Project, program
from pullet_agent import Pullet
from pullet_engine import Engine
from pullet_image import actor
from pullet_network import own_network
from pullet_registry import Registry
from pullet_sweep import LabError, wait_for
from pullet_meddler import DOWN, EVERY, MADE, ON_TRIAL, Meddler, moments
from test_recreate import look

SUITES = ["bookworm", "trixie"] + (["sid"] if os.path.exists(program("sid")) else [])
HEALTHY = {"test": ["CMD", "/actor", "exists", "/actor"], "interval": "300ms", "timeout": "5s",
           "retries": 10}
SICK = {**HEALTHY, "test": ["CMD", "/actor", "exists", "/missing"], "retries": 1}


@pytest.fixture(scope="module")
def network():
    with own_network():
        yield


@pytest.fixture(scope="module")
def engine(lab, network):
    """The engine is in a network namespace of its own, so that compose can create bridges and publish ports."""
    engine = Engine(lab, "compose-engine")
    yield engine
    engine.stop()


@pytest.fixture(scope="module")
def registry(lab, network):
    registry = Registry(lab, "compose-registry")
    yield registry
    registry.stop()


_numbers = itertools.count(1)


class Site(Project):
    """A compose project, and the agent that manages some of its services."""

    def __init__(self, lab, engine, registry, suite):
        super().__init__(lab, engine, suite, f"p{next(_numbers)}")
        self.registry = registry
        self.pullet = Pullet(lab, engine, self.name + "-pullet")
        self.versions = itertools.count(1)
        self.published = {}
        self.services = {}

    def image(self, service):
        return self.registry.ref(f"{self.name}/{service}:stable")

    def publish(self, service, *script, **config):
        version = str(next(self.versions))
        self.published[service] = self.registry.publish(
            f"{self.name}/{service}", "stable",
            actor("say", "version " + version, *(script or ("wait",)), **config))
        return version

    def up(self, services, *arguments, **more):
        """Publishes missing images, and starts the project."""
        for name, service in services.items():
            if "image" not in service and name not in self.published:
                self.publish(name)
        self.services = {name: {"image": self.image(name), **service}
                         for name, service in services.items()}
        self.write(self.services, **more)
        return self("up", "-d", *arguments)

    def follow(self, *containers, **settings):
        """Configures the containers that Pullet manages, by service or (service, number)."""
        configured = {}
        for one in containers:
            service, number = one if isinstance(one, tuple) else (one, 1)
            checked = "healthcheck" in self.services[service]
            configured[self.container(service, number)] = {
                "image": self.services[service]["image"],
                "health-period": "60s" if checked else "700ms", **settings}
        self.pullet.configure(configured)

    def once(self, *want, reason=None):
        """Runs one pass; the results must be want, in the order of the configuration."""
        result = self.pullet.once()
        assert tuple(r["result"] for r in result.results.values()) == want, str(result)
        if reason:
            assert all(reason in r["reason"] for r in result.results.values()), str(result)
        return result

    def inspect(self, service, number=1):
        return self.engine.inspect(self.container(service, number))

    def runs(self, service, version, number=1):
        """The container of this service runs that version, alone under its names."""
        name = self.container(service, number)
        inspect = self.engine.inspect(name)
        assert inspect and inspect["State"]["Running"], (name, inspect and inspect["State"])
        wait_for(f"{name} to say version {version}",  # `up -d` does not wait for a first line
                 lambda: f"version {version}\n" in self.engine.logs(name), 20)
        assert not [n for n in self.engine.containers() if n.startswith(name + ".")]
        return inspect

    def settled(self):
        """compose finds nothing to do."""
        before = self.lives()
        said = self("up", "-d")
        assert self.lives() == before, said
        for word in ("Recreat", "Creating", "Starting", "rphan"):
            assert word not in said, said

    def expect_up_changes_nothing(self, *updated):
        """`up -d` after Pullet updated those services."""
        if not self.v1:
            return self.settled()
        before = self.lives()
        self("up", "-d", "--no-recreate")
        assert self.lives() == before
        self("up", "-d")
        names = {self.container(*one) if isinstance(one, tuple) else self.container(one)
                 for one in updated}
        after = self.lives()
        assert set(after) == set(before)
        assert {name for name in after if after[name] != before[name]} == names
        return self.settled()

    def down(self, *arguments):
        said = self("down", *arguments)
        assert "rphan" not in said
        assert not self.containers()
        left = [n["Name"] for n in self.engine.call("GET", "/networks")
                if n["Name"].startswith(self.name + "_")]
        assert not left, left


@pytest.fixture(params=SUITES)
def site(request, lab, engine, registry):
    if not os.path.exists(program(request.param)):
        if request.param == "bookworm":
            raise LabError(f"{program(request.param)} is missing: install docker-compose")
        pytest.skip(f"no docker-compose of {request.param}: "
                    f"tests/lib/pullet_compose.py {request.param} brings it")
    site = Site(lab, engine, registry, request.param)
    yield site
    engine.clear()
    engine.call("POST", "/networks/prune")
    engine.call("POST", "/volumes/prune")


def rich(site):
    """A service with a bit of everything."""
    (site.directory / "web.env").write_text("FROM_FILE=1\nBOTH=file\n")
    (site.directory / "key").write_text("secret")
    (site.directory / "conf").write_text("config")
    service = {
        "restart": "always", "init": True, "hostname": "box", "user": "7", "working_dir": "/work",
        "environment": {"BOTH": "here", "MINE": "1"}, "env_file": ["./web.env"],
        "labels": {"mine.label": "x y", "mine.empty": ""},
        "ports": ["127.0.0.1:18080:80", "81", "5353:53/udp"], "expose": ["82"],
        "volumes": ["data:/data", "/anonymous", "./conf:/conf:ro",
                    {"type": "tmpfs", "target": "/t", "tmpfs": {"size": 65536}},
                    {"type": "volume", "source": "more", "target": "/more", "read_only": True}],
        "tmpfs": ["/tt"], "networks": {
            "front": {"aliases": ["www"], "ipv4_address": "10.89.1.9"}, "back": {}},
        "healthcheck": HEALTHY, "depends_on": {"db": {"condition": "service_healthy"}},
        "logging": {"driver": "json-file", "options": {"max-size": "1m"}},
        "cap_drop": ["ALL"], "cap_add": ["NET_BIND_SERVICE"], "dns": ["9.9.9.9"],
        "extra_hosts": ["a:10.0.0.1"], "sysctls": {"net.core.somaxconn": 99},
        "ulimits": {"nofile": {"soft": 100, "hard": 200}}, "stop_signal": "SIGINT",
        "stop_grace_period": "3s", "shm_size": 1048576, "mem_limit": "64m",
        "security_opt": ["no-new-privileges"], "devices": ["/dev/null:/dev/zilch"],
        "group_add": ["44"], "secrets": ["key", {"source": "key", "target": "other"}],
    }
    top = {"networks": {
               "front": {"ipam": {"config": [{"subnet": "10.89.1.0/24"}]}}, "back": {}},
           "volumes": {"data": {}, "more": {}}, "secrets": {"key": {"file": "./key"}}}
    if not site.v1:
        service["configs"] = ["conf", {"source": "conf", "target": "/etc/deep/conf"}]
        top["configs"] = {"conf": {"file": "./conf"}}
    return service, top


def test_a_project_goes_on_as_before(site):
    """up, ps, logs, stop, start, restart, down."""
    web, top = rich(site)
    site.up({"web": web,
             "db": {"healthcheck": HEALTHY, "networks": ["back"], "restart": "unless-stopped"},
             "side": {"network_mode": "none"}, "bare": {"network_mode": "host"}}, **top)
    before = site.lives()
    second = site.publish("web", Env=["NEW=1"])
    site.follow("web")
    site.once("updated")
    inspect = site.runs("web", second)
    assert inspect["HostConfig"]["RestartPolicy"]["Name"] == "always"
    assert {name for name, life in site.lives().items() if before[name] != life} \
        == {site.container("web")}
    assert set(site("ps", "-q", "web").split()) == {inspect["Id"]}
    assert set(site("ps", "-q").split()) == {i["Id"] for i in site.containers().values()}
    assert f"version {second}" in site("logs", "--no-color", "web")
    assert site("port", "web", "80").strip() == "127.0.0.1:18080"
    site("exec", "-T", "web", "/actor", "exists", "/run/secrets/other")

    site.expect_up_changes_nothing("web")
    site.once("up-to-date")
    site("stop")
    assert not any(i["State"]["Running"] for i in site.containers().values())
    site("start")
    site.runs("web", second)
    site("restart", "web")
    site.runs("web", second)
    site.settled()
    site.once("up-to-date")
    site.down()


def test_the_successor_is_as_compose_makes_it(site):
    web, top = rich(site)
    site.up({"web": web, "db": {"healthcheck": HEALTHY, "networks": ["back"]}}, **top)
    volumes = {m["Destination"]: m.get("Name") for m in site.inspect("web")["Mounts"]}
    site.publish("web", Env=["NEW=1"], Labels={"vendor": "us"}, ExposedPorts={"90/tcp": {}})
    site.follow("web")
    site.once("updated")
    mine = site.inspect("web")
    site("up", "-d", "--force-recreate")
    theirs = site.inspect("web")
    assert mine["Id"] != theirs["Id"]
    assert volumes == {m["Destination"]: m.get("Name") for m in mine["Mounts"]}

    theirs["Config"]["Labels"].pop("com.docker.compose.replace", None)
    if site.v1:
        for inspect in (mine, theirs):
            del inspect["Config"]["Labels"]["com.docker.compose.config-hash"]
        theirs["Config"]["Env"] = [e for e in theirs["Config"]["Env"] if "affinity:" not in e]
    # Volumes without a name are compared as mount points, wherever compose wrote them.
    for inspect in (mine, theirs):
        inspect["HostConfig"]["Binds"] = [b for b in inspect["HostConfig"]["Binds"] or []
                                          if not b.endswith(":/anonymous:rw")]
    mine, theirs = look(mine, {}), look(theirs, {})
    for part, value in theirs.items():
        assert mine[part] == value


def test_operator_recreates_and_pulls(site):
    """--force-recreate, and `pull` with `up -d`: Pullet manages the container that it finds."""
    site.up({"web": {"restart": "always"}})
    second = site.publish("web")
    site.follow("web")
    site.once("updated")
    site("up", "-d", "--force-recreate")
    site.runs("web", second)
    site.once("up-to-date")
    site.settled()

    third = site.publish("web")
    site("pull")
    site("up", "-d")
    inspect = site.runs("web", third)
    site.once("up-to-date")
    assert site.inspect("web")["Id"] == inspect["Id"]
    site.settled()

    fourth = site.publish("web")
    site.once("updated")
    site.runs("web", fourth)
    site("pull")
    site.expect_up_changes_nothing("web")
    site.once("up-to-date")
    site.down()


def test_a_rollback_leaves_the_project_as_it_was(site):
    """Version 1 also changes nothing here: image and container are the old ones."""
    site.up({"web": {"restart": "always", "healthcheck": HEALTHY},
             "db": {"image": site.image("web")}})
    before = site.containers()
    site.publish("web", "exit", 3)
    site.follow("web")
    site.once("rolled-back")
    after = site.containers()
    assert {n: i["Id"] for n, i in after.items()} == {n: i["Id"] for n, i in before.items()}
    site.settled()
    site.once("refused", reason="rejected before")
    site.runs("web", "1")
    assert site.inspect("web")["HostConfig"]["RestartPolicy"]["Name"] == "always"
    site.down()


def test_scaled_service(site):
    """Two containers of one service, one after the other; a third comes from the new image."""
    site.services = {"worker": {"image": site.image("worker")}}
    first = site.publish("worker")
    site.write(site.services)
    site("up", "-d", "--scale", "worker=2")
    site.follow("worker", ("worker", 2))
    site.once("up-to-date", "up-to-date")
    second = site.publish("worker")
    assert first != second
    site.once("updated", "updated")
    for number in (1, 2):
        inspect = site.runs("worker", second, number)
        assert inspect["Config"]["Labels"]["com.docker.compose.container-number"] == str(number)
    before = site.lives()
    if site.v1:
        site("up", "-d", "--scale", "worker=3", "--no-recreate")
    else:
        site("up", "-d", "--scale", "worker=3")
    after = site.lives()
    assert {name: after[name] for name in before} == before
    assert len(after) == 3
    site.runs("worker", second, 3)
    site("up", "-d", "--scale", "worker=2", "--no-recreate")
    assert site.lives() == before
    site.down()


def test_profile_and_one_shot(site):
    site.up({"job": {"restart": "no"}, "tool": {"profiles": ["debug"], "depends_on": ["job"]}},
            "job")
    site("--profile", "debug", "up", "-d")
    site.publish("job", "exit", 0)
    site("pull", "job")
    site("--profile", "debug", "up", "-d")
    site.engine.wait(site.container("job"), lambda i: i["State"]["Status"] == "exited")
    job = site.publish("job", "say", "done", "exit", 0)
    tool = site.publish("tool")
    site.follow("job", "tool")
    site.once("updated", "updated")
    assert f"version {job}\ndone\n" in site.engine.logs(site.container("job"))
    site.runs("tool", tool)
    identities = {name: life[0] for name, life in site.lives().items()}
    site("--profile", "debug", "up", "-d", *(["--no-recreate"] if site.v1 else []))
    assert {name: life[0] for name, life in site.lives().items()} == identities
    site("--profile", "debug", "down")
    assert not site.containers()


def test_stopped_project_is_left_alone(site):
    site.up({"web": {"restart": "always"}, "side": {"restart": "unless-stopped"}})
    site.publish("web"), site.publish("side")
    site("stop")
    before = site.lives()
    site.follow("web", "side")
    site.once("deferred", "deferred", reason="stopped by the operator")
    assert site.lives() == before
    site("start")
    site.once("updated", "updated")
    site.down()


BUSY = ["touch", "/at-the-top", "touch", "/etc/mine", "touch", "/run/mine", "wait"]
COPIES = {  # reference of the service to the secret or config "it" -> its path in the container
    "config": ("configs", "it", "/it"),
    "config-below": ("configs", {"source": "it", "target": "/opt/deep/it.conf"}, "/opt/deep/it.conf"),
    "config-over-the-image's": ("configs", {"source": "it", "target": "/etc/app.conf", "mode": 0o600},
                                "/etc/app.conf"),
    "secret": ("secrets", "it", "/run/secrets/it"),
    "secret-elsewhere": ("secrets", {"source": "it", "target": "/etc/it", "uid": "7"}, "/etc/it"),
}


@pytest.mark.parametrize("kind", COPIES)
def test_copied_config_or_secret_is_refused(site, kind):
    """compose copies it into the container's file system, and a successor would not have it. Mounts, files of the
    program and a created working directory are no reason to refuse."""
    if site.v1:
        pytest.skip("version 1 mounts secrets, and has no configs")
    of, entry, path = COPIES[kind]
    (site.directory / "file").write_text("mounted")
    site.environment["IT"] = "content"
    site.publish("web", *BUSY, files={"etc/app.conf": (b"default", 0o644)})
    site.up({"web": {"restart": "always", of: [entry], "volumes": ["data:/data"],
                     "working_dir": "/new"}},
            volumes={"data": {}}, **{of: {"it": {"environment": "IT"}}})
    second = site.publish("web", *BUSY)
    site.follow("web")
    before, mark = site.containers(), site.registry.mark()
    site.once("refused", reason=path + " looks as if compose had put it")
    assert site.containers() == before
    assert not [r for r in site.registry.requests(mark)
                if r.by_engine or ("/blobs/" in r.path and r.size > 2000)]  # the config

    # The same from a file. compose does not see that as a change of the service.
    site.write(site.services, volumes={"data": {}}, **{of: {"it": {"file": "./file"}}})
    site("up", "-d", "--force-recreate")
    site.once("updated")
    site.runs("web", second)
    site("exec", "-T", "web", "/actor", "exists", path)
    site.settled()
    site.down("-v")


def test_files_of_a_program_are_its_own(site):
    site.publish("web", *BUSY)
    site.up({"web": {"restart": "always", "working_dir": "/new"}})
    second = site.publish("web", *BUSY)
    site.follow("web")
    site.once("updated")
    site.runs("web", second)


def namespace(site, service, kind):
    return os.readlink(f"/proc/{site.inspect(service)['State']['Pid']}/ns/{kind}")


def test_service_in_anothers_network(site):
    """It is a follower of the container whose network it uses. With version 2 its settings name that container's id,
    so the next `up` recreates it once; version 1 does not recreate it with the other one."""
    site.up({"app": {"restart": "always"}, "side": {"restart": "always", "network_mode": "service:app"},
             "spy": {"pid": "service:app", "network_mode": "none"}})
    before = site.lives()
    second = site.publish("app")
    site.follow("app")
    site.once("updated")
    site.runs("app", second)
    assert len(site.lives()) == len(before)
    assert namespace(site, "side", "net") == namespace(site, "app", "net")
    assert namespace(site, "spy", "pid") == namespace(site, "app", "pid")
    assert site.inspect("side")["HostConfig"]["RestartPolicy"]["Name"] == "always"

    before = site.lives()
    site("up", "-d", "--no-recreate")
    assert site.lives() == before
    site("up", "-d", *(["--always-recreate-deps"] if site.v1 else []))
    changed = {name for name, life in site.lives().items() if life != before[name]}
    assert changed == {site.container(s) for s in ("side", "spy", *(["app"] if site.v1 else []))}
    assert namespace(site, "side", "net") == namespace(site, "app", "net")
    site.settled()
    site.once("up-to-date")
    site.down()


FORCE = "up -d --force-recreate"
BETWEEN = [*((command, ON_TRIAL) for command in ("up -d", FORCE, "restart", "down")),
           (FORCE, MADE), (FORCE, DOWN)]
BETWEEN_V1 = [(FORCE, ON_TRIAL), ("down", ON_TRIAL)]
if moments(()):
    BETWEEN = BETWEEN_V1 = list(itertools.product(("up -d", FORCE, "restart", "down"), EVERY))


@pytest.mark.parametrize("command, moment", BETWEEN, ids=str)
def test_operator_comes_in_between(site, command, moment):
    """compose finds two containers where it expects one, and runs completely at one moment of an update. It may fail
    then, with a new container named ID_NAME that may not be started: the operator repeats the command. Pullet leaves
    nothing behind, and the digest is not rejected."""
    if site.v1 and (command, moment) not in BETWEEN_V1:
        pytest.skip("version 2 has it")
    site.up({"web": {"restart": "always"}, "db": {}})
    second = site.publish("web")
    name, both = site.container("web"), sorted([site.container("web"), site.container("db")])
    meddler = Meddler(site.lab.path(site.name + ".sock"), site.engine)
    settings = {"image": site.image("web"), "health-period": "700ms"}
    site.pullet.configure({name: settings}, agent=meddler.agent)
    status = []
    struck = meddler.strike_at(moment, lambda: status.append(site.status(*command.split())))
    try:
        site.pullet.once()
        assert struck and not meddler.faults, meddler.faults
        entry = site.pullet.once().results[name]
    finally:
        meddler.stop()
    assert not [n for n in site.engine.containers() if n.endswith((".next", ".prev"))]
    assert (entry["result"] in ("updated", "up-to-date")
            or "there is no container" in entry["reason"]), entry
    record = site.pullet.record(name)
    assert (record["phase"], record["rejected"]) == ("idle", [])
    if command == "down":
        site("down")
        assert not site.containers()
        return
    if sorted(site.containers()) != both or not all(
            i["State"]["Running"] for i in site.containers().values()):
        assert status != [0]
        site("down")  # --force-recreate may fail again because of its own remains
        site("up", "-d")
    site.pullet.configure({name: settings})
    assert site.pullet.once().results[name]["result"] in ("updated", "up-to-date")
    site.runs("web", second)
    assert sorted(site.containers()) == both
    assert all(i["State"]["Running"] for i in site.containers().values())
    assert site.inspect("web")["HostConfig"]["RestartPolicy"]["Name"] == "always"
    if site.v1:
        site("up", "-d")
    site.settled()
