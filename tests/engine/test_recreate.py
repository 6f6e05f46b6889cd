# SPDX-License-Identifier: MIT
"""agent/recreate against the engine itself. A container is created with `docker create`, and its successor by
recreate from the engine's inspect; a third one is created by the same `docker create` with the new image. The
successor and the third one must be equal, field by field, and so must the successor's successor.
PULLET_RECORD=DIRECTORY saves all inputs and outputs."""

import hashlib
import io
import json
import os
import pathlib
import re
import subprocess
import tarfile

import pytest

from pullet_engine import Engine
from pullet_image import program
from pullet_lab import TOP

AGENT = TOP / "agent"
BASE = ("create-body", "digest", "json", "error", "port-set", "ref", "util")
SOURCES = [*sorted(AGENT.glob("recreate/*.c")), *(AGENT / f"base/{name}.c" for name in BASE),
           AGENT / "engine/podman.c", TOP / "tests/lib/recreate-driver.c"]
FOLDERS = ("base", "transport", "signature", "engine", "recreate")
TARGET = "sha256:" + "7" * 64

IMAGES = {
    "base": (
        {"Cmd": ["/actor", "wait"], "Env": ["PATH=/old", "SAME=1", "OLD=1"], "User": "7:7",
         "Labels": {"version": "1", "vendor": "us"}, "ExposedPorts": {"80/tcp": {}, "81/tcp": {}},
         "Volumes": {"/data": {}}, "WorkingDir": "/srv", "StopSignal": "SIGQUIT",
         "Healthcheck": {"Test": ["CMD", "/actor", "say", "old"], "Interval": 30000000000,
                         "Retries": 2}},
        {"Cmd": ["/actor", "say", "new", "wait"], "Env": ["PATH=/new", "SAME=1", "NEW=1"],
         "User": "8:8", "Labels": {"version": "2", "vendor": "us", "pullet.policy": "always"},
         "ExposedPorts": {"80/tcp": {}, "82/tcp": {}}, "Volumes": {"/data": {}, "/more": {}},
         "WorkingDir": "/new", "StopSignal": "SIGINT",
         "Healthcheck": {"Test": ["CMD", "/actor", "say", "new"], "Interval": 40000000000,
                         "Retries": 5}}),
    "entry": ({"Entrypoint": ["/actor", "say", "old"], "Cmd": ["wait"]},
              {"Entrypoint": ["/actor", "say", "new"], "Cmd": ["sleep", "1", "wait"]}),
    "bare": ({}, {"Entrypoint": ["/actor"], "Env": ["A=1"]}),
    "plain": ({"Cmd": ["/actor", "wait"]}, {"Cmd": ["/actor", "say", "new", "wait"]}),
}

# name: (image, arguments of docker create, command, more)
#   then: docker commands afterwards, {} for the container; start: start old, then the successor;
#   mac: of the main network (docker itself asks for an API that an old engine has not);
#   differs: keys of HostConfig that may
CASES = {
    "defaults": ("base", [], [], {"start": True}),
    "config": ("base", [
        "--env", "OLD=2", "--env", "MINE=x=y", "--label", "mine=1", "--label", "version=1b",
        "--user", "3", "--workdir", "/w", "--expose", "9000", "--hostname", "box",
        "--domainname", "lan", "--stop-signal", "SIGUSR1", "--stop-timeout", "4",
        "--restart", "on-failure:3", "-t", "-i"], ["/actor", "say", "mine", "wait"], {}),
    "unset-variable": ("base", ["--env", "SAME=", "--restart", "always"], [], {}),
    "health": ("base", ["--health-interval", "9s", "--health-timeout", "3s"], [], {}),
    "health-command": ("base", ["--health-cmd", "/actor exit 0", "--health-start-period", "1m"],
                       [], {}),
    "no-health": ("base", ["--no-healthcheck"], [], {}),
    "entry": ("entry", [], [], {}),
    "entry-command": ("entry", [], ["say", "mine", "wait"], {}),
    "entry-own": ("entry", ["--entrypoint", "/actor"], ["wait"], {"start": True}),
    "entry-own-alone": ("entry", ["--entrypoint", "/actor"], [], {}),
    "entry-reset": ("entry", ["--entrypoint", ""], ["/actor", "wait"], {"start": True}),
    "bare": ("bare", [], ["/actor", "wait"], {}),
    "resources": ("plain", [
        "--memory", "64m", "--memory-swap", "128m", "--cpus", "0.5", "--cpu-shares", "300",
        "--pids-limit", "50", "--ulimit", "nofile=100:200", "--shm-size", "16m",
        "--oom-score-adj", "100", "--blkio-weight", "0"], [], {}),
    "security": ("plain", [
        "--cap-drop", "ALL", "--cap-add", "NET_ADMIN", "--security-opt", "no-new-privileges",
        "--security-opt", "seccomp=unconfined", "--read-only", "--tmpfs", "/run:size=1m",
        "--init", "--device", "/dev/null:/dev/zilch", "--group-add", "44"], [], {}),
    "privileged": ("plain", ["--privileged"], [], {}),
    "unmasked": ("plain", ["--security-opt", "systempaths=unconfined"], [], {}),
    "logging": ("plain", ["--log-driver", "json-file", "--log-opt", "max-size=1m",
                          "--restart", "unless-stopped"], [], {}),
    "names": ("plain", ["--dns", "9.9.9.9", "--dns-search", "lan", "--dns-option", "ndots:1",
                        "--add-host", "a:10.0.0.1"], [], {}),
    "sysctl": ("plain", ["--sysctl", "net.core.somaxconn=99"], [], {"start": True}),
    "volumes": ("base", ["-v", "named:/named", "-v", "/srv:/host:ro", "-v", "/anonymous",
                         "--mount", "type=volume,dst=/mounted",
                         "--mount", "type=volume,src=named2,dst=/named2,readonly",
                         "--mount", "type=bind,src=/srv,dst=/bound,readonly",
                         "--mount", "type=tmpfs,dst=/t,tmpfs-size=65536"], [], {"start": True}),
    "volumes-from": ("base", ["--volumes-from", "peer", "--volumes-from", "holder:ro"], [], {}),
    "volumes-from-plain": ("plain", ["--volumes-from", "holder:ro"], [], {"start": True}),
    "ports": ("base", ["-p", "127.0.0.1:18080:80", "-p", "82", "-p", "5353:53/udp"], [], {}),
    "all-ports": ("base", ["-P"], [], {}),
    "host": ("base", ["--network", "host"], [], {}),
    "none": ("base", ["--network", "none"], [], {"start": True}),
    "uts": ("plain", ["--uts", "host", "--pid", "host", "--ipc", "host"], [], {}),
    "joined": ("plain", ["--network", "container:peer", "--pid", "container:peer",
                         "--ipc", "container:holder"], [], {"start": True}),
    "links": ("plain", ["--link", "peer:friend"], [], {"start": True}),
    "mac": ("plain", [], [], {"start": True, "mac": "0a:00:00:00:00:09"}),
    "network": ("plain", ["--network", "front"], [], {"start": True}),
    "network-full": ("plain", [
        "--network", "front", "--ip", "10.77.1.9", "--network-alias", "web", "--network-alias",
        "www"], [], {"start": True, "mac": "0a:00:00:00:00:0a"}),
    "network-id": ("plain", ["--network", "{front_id}", "--ip", "10.77.1.9"], [], {"start": True}),
    "networks": ("plain", ["--network", "front", "--ip", "10.77.1.9", "--network-alias", "web"], [],
                 {"start": True, "then": [
                     ["network", "connect", "--ip", "10.77.2.9", "--alias", "db", "back", "{}"]]}),
    "bridge-and-network": ("plain", [], [], {"start": True, "then": [
        ["network", "connect", "--alias", "x", "back", "{}"]]}),
    "moved": ("plain", ["--network", "front"], [], {"start": True, "then": [
        ["network", "connect", "back", "{}"], ["network", "disconnect", "front", "{}"]],
        "differs": ["NetworkMode"]}),
    "network-link": ("plain", ["--network", "front", "--link", "neighbour:friend"], [],
                     {"start": True}),
}


class NetworkedEngine(Engine):
    """An engine with a bridge, in a network namespace of its own."""

    def start(self):
        spawn = self.lab.spawn

        def in_namespace(command, **options):
            command = [word for word in map(str, command)]
            if "--bridge" in command:
                at = command.index("--bridge")
                del command[at:at + 2]
            return spawn(["unshare", "-n", "--", "sh", "-c", 'ip link set lo up && exec "$@"',
                          "sh", *command], **options)

        self.lab.spawn = in_namespace
        try:
            super().start()
        finally:
            self.lab.spawn = spawn
        newest = self.call("GET", "/version", versioned=False)["ApiVersion"]
        self.minor = min(int(newest.split(".")[1]), 51)
        self.version = f"v1.{self.minor}"

    def load(self, tag, config):
        layer, out = io.BytesIO(), io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as tar:
            entry = tarfile.TarInfo("actor")
            entry.size, entry.mode = len(program()), 0o755
            tar.addfile(entry, io.BytesIO(program()))
        document = {"architecture": "amd64", "os": "linux", "config": config, "rootfs": {
            "type": "layers",
            "diff_ids": ["sha256:" + hashlib.sha256(layer.getvalue()).hexdigest()]}}
        machine = os.uname().machine
        document["architecture"] = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, "arm")
        files = {"config.json": json.dumps(document).encode(), "layer.tar": layer.getvalue(),
                 "manifest.json": json.dumps([{"Config": "config.json", "RepoTags": [tag],
                                               "Layers": ["layer.tar"]}]).encode()}
        with tarfile.open(fileobj=out, mode="w") as tar:
            for name, data in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
        self.call("POST", "/images/load?quiet=1", out.getvalue(),
                  headers={"Content-Type": "application/x-tar"})


@pytest.fixture(scope="module")
def engine(lab):
    engine = NetworkedEngine(lab, "networked")
    for name, (old, new) in IMAGES.items():
        engine.load(f"old/{name}:1", old)
        engine.load(f"new/{name}:1", new)
    engine.docker("network", "create", "--subnet", "10.77.1.0/24", "front")
    engine.docker("network", "create", "--subnet", "10.77.2.0/24", "back")
    engine.docker("run", "-d", "--name", "peer", "--ipc", "shareable", "old/base:1")
    engine.docker("run", "-d", "--name", "holder", "--ipc", "shareable", "-v", "/held", "-v",
                  "kept:/kept", "old/plain:1")
    engine.docker("run", "-d", "--name", "neighbour", "--network", "front", "old/plain:1")
    yield engine
    engine.stop()


@pytest.fixture(scope="session")
def driver(lab):
    out = lab.path("recreate-driver")
    subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-g", *(f"-I{AGENT / f}" for f in FOLDERS), *SOURCES, "-ljansson",
                    "-o", out], check=True)

    def run(**arguments):
        done = subprocess.run([out], input=json.dumps(arguments), capture_output=True, text=True,
                              check=True)
        return json.loads(done.stdout)

    return run


ANONYMOUS = re.compile("[0-9a-f]{64}")


def filled(value):
    return {k: v for k, v in (value or {}).items() if v not in (None, "", [], {}, 0)}


def endpoint(container, seen):
    """The configuration among it."""
    out = {key: seen.get(key) for key in ("Links", "DriverOpts", "GwPriority")}
    out["IPAMConfig"] = filled(seen.get("IPAMConfig"))
    out["Aliases"] = sorted(a for a in seen.get("Aliases") or [] if a != container["Id"][:12])
    return filled(out)


def same_reference(names, text):
    head, colon, rest = text.partition("container:")
    container, more, options = (rest if colon else head).partition(":")
    return (colon and head + colon) + names.get(container, container) + more + options


def look(container, names):
    """The values that must be equal, normalised for comparison."""
    config = {k: v for k, v in container["Config"].items() if k != "Image"}
    config["Labels"] = {k: v for k, v in config["Labels"].items() if not k.startswith("pullet.")}
    if config["Hostname"] == container["Id"][:12]:
        config["Hostname"] = "(short id)"
    if container["HostConfig"]["NetworkMode"].startswith("container:"):
        config["Hostname"] = config["Domainname"] = "(of the other one)"
    host = {k: v for k, v in container["HostConfig"].items()
            if k not in ("RestartPolicy", "Mounts", "ContainerIDFile", "ConsoleSize")}
    if host["NetworkMode"] == "default":
        host["NetworkMode"] = "bridge"
    for mode in ("NetworkMode", "PidMode", "IpcMode"):
        host[mode] = same_reference(names, host[mode])
    # podman lists all volumes there, including anonymous ones, and the limits of its service.
    host["Binds"] = sorted(ANONYMOUS.sub("(anonymous)", bind) for bind in host["Binds"] or [])
    host["Ulimits"] = [limit for limit in host["Ulimits"] or []
                       if limit["Name"] not in ("RLIMIT_NOFILE", "RLIMIT_NPROC")]
    host["VolumesFrom"] = [same_reference(names, t) for t in host["VolumesFrom"] or []]
    host["Links"] = sorted(t.split(":")[0] + t[t.rindex("/"):] for t in host["Links"] or [])
    config["Env"] = sorted(config["Env"] or [])
    host["Annotations"] = {k: v for k, v in (host.get("Annotations") or {}).items()
                           if not k.startswith(("io.", "org."))}
    points = sorted((m["Type"], m["Destination"], m["RW"], m.get("Driver"), m["Propagation"],
                     "(anonymous)" if ANONYMOUS.fullmatch(m.get("Name", "")) else m.get("Name"),
                     m["Source"] if m["Type"] == "bind" else None) for m in container["Mounts"])
    networks = {name: endpoint(container, seen)
                for name, seen in container["NetworkSettings"]["Networks"].items()}
    return {"config": config, "host": host, "points": points, "networks": networks}


def volumes(container):
    return {m["Destination"]: m["Name"] for m in container["Mounts"] if m["Type"] == "volume"}


class Bench:
    def __init__(self, engine, driver):
        self.engine, self.driver, self.made = engine, driver, []

    def create(self, name, case, generation):
        image, arguments, command, more = case
        front = self.engine.call("GET", "/networks/front")["Id"]
        arguments = [a.replace("{front_id}", front) for a in arguments]
        self.made.append(name)
        if "mac" in more and self.engine.minor < 44:
            return self.create_with_mac(name, f"{generation}/{image}:1", arguments, more["mac"])
        if "mac" in more:
            arguments += ["--mac-address", more["mac"]]
        self.engine.docker("create", "--name", name, *arguments, f"{generation}/{image}:1", *command)
        for line in more.get("then", ()):
            self.engine.docker(*[word.replace("{}", name) for word in line])

    def create_with_mac(self, name, image, arguments, mac):
        words = dict(zip(arguments[::2], arguments[1::2]))
        aliases = [b for a, b in zip(arguments, arguments[1:]) if a == "--network-alias"]
        network = words.get("--network", "default")
        body = {"Image": image, "MacAddress": mac, "HostConfig": {"NetworkMode": network},
                "AttachStdout": True, "AttachStderr": True}
        if network != "default":
            body["NetworkingConfig"] = {"EndpointsConfig": {network: {
                "Aliases": aliases, "IPAMConfig": {"IPv4Address": words["--ip"]}}}}
        self.engine.call("POST", f"/containers/create?name={name}", body)

    def image(self, name):
        """The image as engine_inspect_image() returns it."""
        image = self.engine.inspect_image(name)
        if self.engine.kind.program == "podman":
            own = self.engine.call("GET", f"/v4.0.0/libpod/images/{name}/json", versioned=False)
            image["Config"].update({"Healthcheck": own["Healthcheck"]} if "Healthcheck" in own else {})
        return image

    def plan(self, container, new, record=None):
        engine = self.engine
        inputs = {
            # podman's own words: the Lab translates them into docker's.
            "container": engine.call("GET", f"/containers/{container['Id']}/json")
            if engine.kind.program == "podman" else container,
            "image": new, "target": TARGET, "api_minor": engine.minor,
            "old_image": self.image(container["Image"]), "new_image": self.image(new), "names": {},
            "host_name": os.uname().nodename, "podman": engine.kind.program == "podman"}
        references = self.driver(**inputs).get("references")
        if references is None:  # refused because a name is missing: resolve those first
            references = ["peer", "holder"]
            host = container["HostConfig"]
            for text in [host["NetworkMode"], host["PidMode"], host["IpcMode"]]:
                if text.startswith("container:"):
                    references.append(text.partition(":")[2])
            references += [t.partition(":")[0] for t in host["VolumesFrom"] or []]
        for reference in references:
            other = engine.inspect(reference)
            if other:
                inputs["names"][reference] = other["Name"]
        plan = self.driver(**inputs)
        directory = os.environ.get("PULLET_RECORD")
        if directory and record:
            pathlib.Path(directory, f"{record}-{engine.minor}.json").write_text(
                json.dumps({**inputs, "plan": plan}, indent=1, sort_keys=True))
        assert "refused" not in plan, plan
        return plan

    def follow(self, name, plan):
        engine = self.engine
        self.made.append(name)
        answer = engine.call("POST", f"/containers/create?name={name}", plan["body"])
        assert not [w for w in answer["Warnings"] or [] if "MacAddress" in w or "Migrated" in w]
        for entry in plan["connect"]:
            engine.call("POST", f"/networks/{entry['Network']}/connect",
                        {"Container": answer["Id"], **entry["Body"]})
        return engine.inspect(name)

    def names(self):
        """Names of the ids of containers and networks."""
        out = {n["Id"]: n["Name"] for n in self.engine.call("GET", "/networks")}
        for entry in self.engine.call("GET", "/containers/json?all=1"):
            name = self.engine.inspect(entry["Id"])["Name"].lstrip("/")
            for known in (entry["Id"], entry["Id"][:12]):
                out[known] = name
        return out

    def clear(self):
        for name in self.made:
            self.engine.remove_container(name)


@pytest.fixture
def bench(engine, driver):
    bench = Bench(engine, driver)
    yield bench
    bench.clear()


@pytest.mark.parametrize("name", CASES)
def test_successor(bench, name):
    engine = bench.engine
    case = image, arguments, _, more = CASES[name]
    bench.create("app", case, "old")
    if more.get("start"):
        engine.call("POST", "/containers/app/start")
    old = engine.inspect("app")
    plan = bench.plan(old, f"new/{image}:1", record=name)
    successor = bench.follow("app.next", plan)
    bench.create("model", case, "new")
    model = engine.inspect("model")
    names = bench.names()
    mine, wanted = look(successor, names), look(model, names)
    for key in more.get("differs", ()):
        mine["host"].pop(key), wanted["host"].pop(key)
    for part, value in wanted.items():
        assert mine[part] == value

    # The data is kept, whatever the volume's name.
    before, after = volumes(old), volumes(successor)
    assert {path: after.get(path) for path in before} == before
    # Only Pullet starts it, and the restart policy is kept for later.
    assert successor["HostConfig"]["RestartPolicy"]["Name"] in ("no", "")
    policy = arguments[arguments.index("--restart") + 1] if "--restart" in arguments else "no"
    assert successor["Config"]["Labels"]["pullet.policy"] == plan["policy"] == policy
    assert successor["Config"]["Labels"]["pullet.target"] == TARGET

    if more.get("start"):
        engine.remove_container("model")
        engine.call("POST", "/containers/app/stop?t=1")
        engine.call("POST", "/containers/app.next/start")
        successor = engine.wait("app.next", lambda c: c["State"]["Running"])
        assert look(successor, names)["networks"] == mine["networks"]
        for network, seen in old["NetworkSettings"]["Networks"].items():
            now = successor["NetworkSettings"]["Networks"][network]
            if filled(seen.get("IPAMConfig")):
                assert now["IPAddress"] == seen["IPAddress"]
            if "mac" in more:
                assert now["MacAddress"] == seen["MacAddress"] == more["mac"]

    # Further generations are equal.
    engine.remove_container("model")
    again = bench.follow("app.again", bench.plan(successor, f"new/{image}:1"))
    names = bench.names()
    assert look(again, names) == look(successor, names)
    assert volumes(again) == volumes(successor)


def test_interface_sysctl(bench):
    """A setting that an older engine accepted for the container moves to where this one expects it."""
    engine = bench.engine
    if engine.minor < 48:
        pytest.skip(f"speaks 1.{engine.minor}, which takes it as it is")
    bench.create("app", ("plain", ["--network", "front"], [], {}), "old")
    old = engine.inspect("app")
    old["HostConfig"]["Sysctls"] = {"net.ipv4.conf.eth0.log_martians": "1",
                                    "net.ipv4.conf.eth0.forwarding": "0",
                                    "net.core.somaxconn": "99"}
    successor = bench.follow("app.next", bench.plan(old, "new/plain:1"))
    engine.call("POST", "/containers/app.next/start")
    seen = successor["NetworkSettings"]["Networks"]["front"]["DriverOpts"]
    assert sorted(seen["com.docker.network.endpoint.sysctls"].split(",")) == [
        "net.ipv4.conf.IFNAME.forwarding=0", "net.ipv4.conf.IFNAME.log_martians=1"]
    assert successor["HostConfig"]["Sysctls"] == {"net.core.somaxconn": "99"}


def test_first(bench, driver):
    engine = bench.engine
    body = {"Cmd": ["/actor", "wait"], "MacAddress": "0a:00:00:00:00:0b",
            "HostConfig": {"NetworkMode": "front", "RestartPolicy": {"Name": "always"}},
            "NetworkingConfig": {"EndpointsConfig": {
                "front": {"IPAMConfig": {"IPv4Address": "10.77.1.11"}},
                "back": {"Aliases": ["x"]}}}}
    plan = driver(first=body, image="new/plain:1", target=TARGET, api_minor=engine.minor)
    bench.follow("first", plan)
    engine.call("POST", "/containers/first/start")
    made = engine.inspect("first")
    networks = made["NetworkSettings"]["Networks"]
    assert sorted(networks) == ["back", "front"]
    assert networks["front"]["IPAddress"] == "10.77.1.11"
    assert networks["front"]["MacAddress"] == body["MacAddress"]
    assert "x" in networks["back"]["Aliases"]
    assert made["HostConfig"]["RestartPolicy"]["Name"] == "no"
    assert made["Config"]["Labels"]["pullet.policy"] == "always"
