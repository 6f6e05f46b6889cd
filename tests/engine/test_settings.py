# SPDX-License-Identifier: MIT
"""Settings of the operator stay, settings of the image follow the image. TABLE has one container in each row; all of
them are updated in one pass, to a bad version first (rolled back), then to 2, then to 3, and the whole inspect is
compared field by field each time. Finally each is created by the same `docker create` from version 3: Pullet's must
be equal, and runc must have got the same configuration."""

import contextlib
import json
import pathlib
import re
import shlex
import subprocess
from dataclasses import dataclass

import pytest

from pullet_bridge import BridgedEngine
from pullet_agent import Pullet
from pullet_image import Image, program
from pullet_network import own_network
from pullet_registry import Registry
from pullet_sweep import CGROUPS

SECOND = 1_000_000_000

# What the versions of an image set.
IMAGES = {
    "rich": [
        {"Cmd": ["/actor", "say", "1", "wait"], "Env": ["PATH=/1", "SAME=1", "OLD=1", "MODE=1"],
         "User": "7:7", "Labels": {"version": "1", "vendor": "one", "first": "1"},
         "ExposedPorts": {"80/tcp": {}, "81/tcp": {}}, "Volumes": {"/data": {}, "/first": {}},
         "WorkingDir": "/1", "StopSignal": "SIGINT", "Shell": ["/1"], "OnBuild": ["RUN 1"],
         "Healthcheck": {"Test": ["CMD", "/actor", "say", "1"], "Interval": 30 * SECOND,
                         "Timeout": 10 * SECOND, "Retries": 2}},
        {"Cmd": ["/actor", "say", "2", "wait"], "Env": ["PATH=/2", "SAME=2", "NEW=2", "MODE=2"],
         "User": "8:8", "Labels": {"version": "2", "vendor": "two", "pullet.policy": "always"},
         "ExposedPorts": {"80/tcp": {}, "82/tcp": {}}, "Volumes": {"/data": {}, "/second": {}},
         "WorkingDir": "/2", "StopSignal": "SIGTERM", "Shell": ["/2"], "OnBuild": ["RUN 2"],
         "Healthcheck": {"Test": ["CMD", "/actor", "say", "2"], "Interval": 40 * SECOND,
                         "StartPeriod": 5 * SECOND, "Retries": 5}},
        {"Cmd": ["/actor", "say", "3", "wait"], "Env": ["NEW=3"], "Labels": {"version": "3"}},
    ],
    "entry": [
        {"Entrypoint": ["/actor", "say", "1"], "Cmd": ["wait"]},
        {"Entrypoint": ["/actor", "say", "2"], "Cmd": ["sleep", "1", "wait"]},
        {"Entrypoint": ["/actor"], "Cmd": ["say", "3", "wait"]},
    ],
    "plain": [
        {"Cmd": ["/actor", "say", "1", "wait"]},
        {"Cmd": ["/actor", "say", "2", "wait"], "Env": ["NEW=2"], "User": "8:8",
         "WorkingDir": "/2", "Labels": {"version": "2"}, "ExposedPorts": {"82/tcp": {}},
         "Volumes": {"/second": {}}, "StopSignal": "SIGTERM",
         "Healthcheck": {"Test": ["CMD", "/actor", "say", "2"], "Interval": 40 * SECOND}},
        {"Cmd": ["/actor", "say", "3", "wait"]},
    ],
}
BAD = {"Entrypoint": ["/actor"], "User": "9", "Env": ["BAD=1"]}  # and another /actor, that fails


@dataclass
class Row:
    """docker create OPTIONS IMAGE COMMAND, or a body for the API. stays: values that the image sets too, and that the
    container keeps; all other values of the image follow the image. untold: values that were set, but cannot be
    distinguished from those of the image."""
    image: str
    options: str = ""
    command: str = ""
    stays: str = ""
    untold: str = ""
    then: tuple = ()  # docker commands afterwards, {} is the container
    body: dict = None
    first: bool = False  # made by the agent, from a file
    health: str = "running"
    since: int = 0  # minor number of the API that knows these options


TABLE = {
    # Settings of images, and which one wins.
    "defaults": Row("rich"),
    "command": Row("rich", "", "/actor say mine wait", "Cmd"),
    "env": Row("rich", "-e OLD=mine -e MINE=x=y -e EMPTY= -e MODE", "", "Env.OLD Env.MODE"),
    "env-of-same-value": Row("rich", "-e SAME=1 -e MINE=x", "", "Env.SAME"),
    "labels": Row("rich", "-l mine=1 -l version=1b -l empty=", "", "Labels.version"),
    "user": Row("rich", "-u 3:3 -w /w --stop-signal SIGUSR1 --stop-timeout 1", "",
                "User WorkingDir StopSignal"),
    "set-as-in-1": Row("rich", "-u 7:7 -w /1 --stop-signal SIGINT -l vendor=one -e PATH=/1 -v /data",
                       untold="User WorkingDir StopSignal Labels.vendor Env.PATH Volumes./data"),
    "file-as-in-1": Row("rich", stays="User Labels.vendor Env.OLD", first=True, body={
        "User": "7:7", "Labels": {"vendor": "one"}, "Env": ["OLD=1", "MINE=1"],
        "HostConfig": {"NetworkMode": "front"}}),
    "no-health": Row("rich", "--no-healthcheck", "", "Healthcheck.Test"),
    "health-in-part": Row("rich", "--health-interval 9s --health-retries 4", "",
                          "Healthcheck.Interval Healthcheck.Retries"),
    "health": Row("rich", "--health-cmd '/actor exit 0' --health-interval 9s --health-timeout 3s "
                  "--health-retries 4 --health-start-period 1m", "",
                  "Healthcheck.Test Healthcheck.Interval Healthcheck.Timeout Healthcheck.Retries "
                  "Healthcheck.StartPeriod"),
    "entry": Row("entry"),
    "entry-command": Row("entry", "", "say mine wait", "Cmd"),
    "entry-own": Row("entry", "--entrypoint /actor", "wait", "Entrypoint Cmd"),
    "entry-own-alone": Row("entry", "--entrypoint /actor", "", "Entrypoint Cmd", health="exit"),
    "entry-reset": Row("entry", "--entrypoint ''", "/actor wait", "Entrypoint Cmd"),
    "unset": Row("plain"),
    "set": Row("plain", "-e NEW=mine -u 3 -w /w -l version=mine --stop-signal SIGINT "
               "--health-interval 9s --health-cmd true", "/actor wait",
               "Cmd Env.NEW User WorkingDir Labels.version StopSignal Healthcheck.Test "
               "Healthcheck.Interval"),

    "set-as-in-2": Row("rich", "-u 8:8 -w /2 --stop-signal SIGTERM -l vendor=two --expose 82 "
                       "--health-interval 40s --health-retries 5 -e NEW=2",
                       "/actor say 2 wait", "User WorkingDir StopSignal Labels.vendor "
                       "ExposedPorts.82/tcp Healthcheck.Interval Healthcheck.Retries Env.NEW Cmd"),
    "entry-as-in-2": Row("entry", stays="Entrypoint Cmd", body={
        "Entrypoint": ["/actor", "say", "2"], "Cmd": ["wait"]}),

    "health-start-interval": Row("rich", "--health-start-interval 2s", "",
                                 "Healthcheck.StartInterval", since=44),
    "files-of-them": Row("rich", "--env-file {env} --label-file {labels}", "",
                         "Env.OLD Labels.version"),

    # The process and its surroundings.
    "process": Row("plain", "-t -i --hostname box --domainname lan --init --group-add 44 "
                   "--group-add 7 --restart on-failure:3"),
    "attached": Row("plain", "-i -a stdin -a stderr --init=false --restart unless-stopped"),
    "limits": Row("plain", "--ulimit nofile=100:200 --ulimit core=0 --sysctl net.core.somaxconn=99 "
                  "--sysctl kernel.msgmax=65536 --restart always --stop-timeout 0"),
    "runtime": Row("plain", "--runtime other --cgroup-parent docker/settings --isolation default"),
    "log": Row("plain", "--log-driver local --log-opt max-size=1m --log-opt max-file=2"),
    "log-options": Row("plain", "--log-opt max-file=2"),
    "no-log": Row("plain", "--log-driver none"),
    "names": Row("plain", "--dns 9.9.9.9 --dns-search lan --dns-option ndots:1 "
                 "--add-host a:10.0.0.1 --add-host b:host-gateway"),

    # Resources.
    "memory": Row("plain", "-m 64m --memory-swap 128m --memory-reservation 32m --oom-score-adj 100 "
                  "--memory-swappiness 10 --oom-kill-disable --shm-size 16m --pids-limit 50"),
    "memory-alone": Row("plain", "-m 64m --pids-limit -1"),
    "swap": Row("plain", "-m 64m --memory-swap -1 --pids-limit 0"),
    "cpu": Row("plain", "--cpus 0.5 -c 300 --cpuset-cpus 0 --cpuset-mems 0"),
    "quota": Row("plain", "--cpu-period 50000 --cpu-quota 25000"),
    "disk": Row("plain", "--device-read-bps {disk}:1mb --device-write-bps {disk}:2mb "
                "--device-read-iops {disk}:100 --device-write-iops {disk}:200 --blkio-weight 300 "
                "--blkio-weight-device {disk}:200"),
    "devices": Row("plain", "--device /dev/null:/dev/zilch --device /dev/zero:/dev/naught:r "
                   "--device-cgroup-rule 'c 1:3 rwm' --gpus 'count=1,\"capabilities=utility\"'"),

    "annotations": Row("plain", "--annotation mine=1 --annotation org.example.b=", since=43),

    # Security.
    "caps": Row("plain", "--cap-drop ALL --cap-add NET_ADMIN --cap-add CHOWN "
                "--security-opt no-new-privileges --security-opt seccomp=unconfined "
                "--security-opt apparmor=unconfined"),
    "seccomp": Row("plain", "--security-opt seccomp={seccomp} --security-opt label=disable"),
    "unmasked": Row("plain", "--security-opt systempaths=unconfined"),
    "privileged": Row("plain", "--privileged --runtime other"),
    "read-only": Row("plain", "--read-only --tmpfs /run:size=1m,mode=700 --tmpfs /t"),

    # Namespaces.
    "host": Row("plain", "--network host --pid host --ipc host --uts host --userns host "
                "--cgroupns host"),
    "host-name": Row("plain", "--network host --hostname box --add-host a:10.0.0.1"),
    "uts": Row("plain", "--uts host"),
    "private": Row("plain", "--ipc private --cgroupns private"),
    "shareable": Row("plain", "--ipc shareable --network none"),
    "no-ipc": Row("plain", "--ipc none"),
    "joined": Row("plain", "--network container:peer --pid container:peer --ipc container:holder"),
    "joined-by-id": Row("plain", "--network container:{peer} --ipc container:{holder_short}"),

    # Networks.
    "bridge-mac": Row("plain", "--mac-address 0a:00:00:00:00:01"),
    "links": Row("plain", "--link peer:friend --link holder"),
    "network": Row("plain", "--network front"),
    "network-all": Row("plain", "--network front --ip 10.88.1.9 --network-alias web --link "
                       "neighbour:friend --network-alias www --mac-address 0a:00:00:00:00:02"),
    "network-id": Row("plain", "--network {front} --ip 10.88.1.10"),
    "network-ipv6": Row("plain", "--network six --ip6 fd88::9 --link-local-ip 169.254.88.9"),
    "networks": Row("plain", "--network front --ip 10.88.1.11 --network-alias web", then=(
        "network connect --ip 10.88.2.11 --alias db --link neighbour:b back {}",
        "network connect six {}")),
    "networks-at-once": Row("plain", "--network name=front,ip=10.88.1.12,alias=web,"
                            "mac-address=0a:00:00:00:00:03 --network name=back,alias=db", since=44),
    "gateway": Row("plain", "--network name=front,gw-priority=1 --network name=back,gw-priority=2,"
                   "driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1",
                   since=48),
    "bridge-and-more": Row("plain", then=("network connect --alias x back {}",)),
    "ports": Row("rich", "--expose 9000 -p 127.0.0.1:18080:80 -p 82 -p 5353:53/udp "
                 "-p 19000-19001:7000-7001", "", "ExposedPorts.80/tcp ExposedPorts.82/tcp"),
    "all-ports": Row("rich", "-P"),

    # Mounts.
    "binds": Row("plain", "-v named:/named -v named2:/named2:ro,nocopy -v {host}:/host:ro "
                 "-v {host}:/slave:rslave -v {host}:/shared:rshared -v /anonymous "
                 "-v {host}/file:/file --volume-driver local"),
    "mounts": Row("plain", "--mount type=volume,dst=/mounted "
                  "--mount type=volume,src=named3,dst=/named3,readonly,volume-nocopy,"
                  "volume-label=a=b "
                  "--mount type=volume,src=named4,dst=/named4,volume-driver=local,"
                  "volume-opt=type=tmpfs,volume-opt=device=tmpfs,volume-opt=o=size=1m "
                  "--mount type=volume,dst=/unnamed,volume-label=a=b,volume-nocopy "
                  "--mount type=bind,src={host},dst=/bound,readonly,bind-propagation=rslave,"
                  "bind-nonrecursive "
                  "--mount type=tmpfs,dst=/t,tmpfs-size=65536,tmpfs-mode=0700"),
    "mounts-of-today": Row("plain", "--mount type=bind,src={host},dst=/bound,readonly,"
                           "bind-recursive=writable --mount type=bind,src={host},dst=/other,"
                           "bind-recursive=disabled", since=44),
    "volumes-of-image": Row("rich", "-v named5:/data --mount type=bind,src={host},dst=/first"),
    "volumes-as-in-2": Row("rich", "-v /second", "", "Volumes./second"),
    "volumes-from": Row("rich", "--volumes-from holder:ro --volumes-from peer"),
    "volumes-from-id": Row("rich", "--volumes-from {peer_short}:ro"),

    # Some of everything.
    "server": Row("rich", "--restart always -p 18443:443 -p 18081:80/tcp --network front --ip 10.88.1.20 "
                  "--network-alias api -e MODE=mine -e SECRET=a=b -l com.example.team=x -v named6:/data "
                  "-v {host}/file:/etc/app.conf:ro --tmpfs /run -m 64m --cpus 0.7 --pids-limit 100 "
                  "--cap-drop ALL --cap-add NET_BIND_SERVICE --security-opt no-new-privileges --init "
                  "--log-opt max-size=2m --log-opt max-file=3 --ulimit nofile=512 --stop-timeout 2 "
                  "--health-cmd '/actor exit 0' --health-interval 50s --dns 9.9.9.9", "/actor wait",
                  "Cmd Env.MODE Healthcheck.Test Healthcheck.Interval ExposedPorts.80/tcp",
                  then=("network connect --alias api back {}",)),
    "device": Row("plain", "--restart unless-stopped --network host --device /dev/null:/dev/ttyAMA0 "
                  "--device-cgroup-rule 'c 188:* rmw' --group-add 20 --cap-add SYS_NICE -v {host}:/run/host:ro,rslave "
                  "-e TZ=Europe/Berlin --cpuset-cpus 0 --ulimit rtprio=0 --oom-score-adj 300 "
                  "--log-driver local --read-only --tmpfs /tmp:size=4m -w /w --hostname pi", "", "WorkingDir"),
    "worker": Row("entry", "--restart on-failure:5 --network none --ipc private --pid host --user 1:1 "
                  "--mount type=tmpfs,dst=/scratch,tmpfs-size=65536 --mount type=volume,dst=/spool "
                  "--volumes-from holder:ro --memory 48m --memory-swap 48m --shm-size 1m "
                  "--sysctl kernel.shmmax=1048576 -l a= --stop-signal SIGQUIT --stop-timeout 1",
                  "say mine wait", "Cmd"),

    # Settings without an option of docker run.
    "bare-body": Row("rich", body={}),
    "body": Row("plain", body={
        "Tty": True, "StopTimeout": 0, "Shell": ["/sh"], "OnBuild": ["RUN x"], "Volumes": {"/v": {}},
        "HostConfig": {"Binds": ["/bare"], "MaskedPaths": ["/proc/kcore"], "ReadonlyPaths": [],
                       "ConsoleSize": [40, 100], "ContainerIDFile": "/run/cid", "Init": False, "OomKillDisable": False,
                       "LogConfig": {"Type": "json-file", "Config": {}},
                       "NetworkMode": "bridge", "RestartPolicy": {"Name": "", "MaximumRetryCount": 0},
                       "DeviceRequests": [{"Driver": "nvidia", "DeviceIDs": ["0"],
                                           "Capabilities": [["gpu", "utility"]],
                                           "Options": {"a": "b"}}]}}),
    "no-network": Row("plain", body={"NetworkDisabled": True}),
}

# --- the comparison --------------------------------------------------------------------------

HEX = re.compile("[0-9a-f]{64}")
# These are no settings, but its history, and values that the engine sets at each start.
HISTORY = {"State", "Created", "Image", "ExecIDs", "GraphDriver", "Storage",
           "ImageManifestDescriptor"}
FOUND = {"SandboxID", "SandboxKey", "EndpointID", "IPAddress", "GlobalIPv6Address", "MacAddress",
         "DNSNames"}  # of aliases, names and short ids, which are compared
OURS = {"pullet.target", "pullet.policy", "pullet.own"}
IN_MEMORY = {"/named4"}  # volumes, but of tmpfs


def is_unnamed(mount):
    if mount["Type"] == "volume" and "Name" not in mount:  # Docker 28, of Binds: ["/bare"]
        mount["Name"] = pathlib.Path(mount["Source"]).parent.name
    return mount["Type"] == "volume" and bool(HEX.fullmatch(mount["Name"]))


def settings(row, inspect, named=True):
    """All values that a successor must have too: path -> value, ids replaced."""
    text = json.dumps(inspect).replace(inspect["Id"], "(id)").replace(inspect["Id"][:12], "(short)")
    out = {key: value for key, value in json.loads(text).items() if key not in HISTORY}
    config, host, network = out["Config"], out["HostConfig"], out["NetworkSettings"]
    # The order is random, and anonymous volumes have got a name.
    host["Links"] = sorted(host["Links"] or [])
    host["VolumesFrom"] = [re.sub("^[0-9a-f]{12,64}", "peer", text)
                           for text in host["VolumesFrom"] or []]
    host["Binds"] = sorted(bind[65:] if HEX.match(bind) else bind for bind in host["Binds"] or [])
    config["Labels"] = {k: v for k, v in (config["Labels"] or {}).items() if k not in OURS}
    config["Env"] = {line.partition("=")[0]: line for line in config["Env"] or []}
    out["Mounts"] = {m["Destination"]: m for m in out["Mounts"]}
    for mount in filter(is_unnamed, out["Mounts"].values()):
        mount.pop("Mode")  # says whether the create body had its name
        if not named:
            mount["Name"] = mount["Source"] = "(unnamed)"
    asked = {}
    for mount in host.pop("Mounts", None) or []:
        if HEX.fullmatch(mount.get("Source", "")):
            del mount["Source"]
        asked[mount["Target"]] = mount
    host["Mounts"] = {k: v for k, v in asked.items() if v != {"Type": "volume", "Target": k}}
    for ports in network["Ports"].values():
        for port in ports or []:
            if int(port["HostPort"]) >= 32768:
                port["HostPort"] = "(any)"
    for name, seen in [(None, network), *network["Networks"].items()]:
        own = seen.get("IPAMConfig") or {}
        keep = {"IPAddress"} if own.get("IPv4Address") else set()
        keep |= {"GlobalIPv6Address"} if own.get("IPv6Address") else set()
        keep |= {"MacAddress"} if name and "--mac-address" in row.options else set()
        for key in FOUND - keep:
            seen.pop(key, None)
    return {path: value for path, value in flat(out).items() if path != "Mounts"}  # none at all


def flat(value, path=()):
    if not isinstance(value, dict) or not value:
        return {".".join(path): value}
    return {k: v for key, inner in value.items() for k, v in flat(inner, (*path, key)).items()}


def differences(a, b):
    """Paths whose values differ; for a value with parts elsewhere, empty equals missing."""
    def parts(paths):
        return {path[:n] for path in paths for n in range(len(path)) if path[n] == "."}

    inner = parts(a) | parts(b)
    missing = object()
    return {path: (a.get(path), b.get(path)) for path in a.keys() | b.keys()
            if a.get(path, missing) != b.get(path, missing)
            and not (path in inner and not a.get(path) and not b.get(path))}


def of_image(image, generation):
    """The settings that a container without its own ones gets from the image, as in settings()."""
    config = {k: v for k, v in IMAGES[image][generation - 1].items()
              if k not in ("Shell", "OnBuild")}
    config["Env"] = {line.partition("=")[0]: line for line in config.get("Env", [])}
    config["Labels"] = {k: v for k, v in config.get("Labels", {}).items() if k not in OURS}
    return flat(config, ("Config",))


def following(row, before, after):
    """Paths that change with the image, and prefixes of those that may change with them."""
    changes = differences(of_image(row.image, before), of_image(row.image, after))
    own = {"Config." + name for name in row.stays.split()}
    must = changes.keys() - own
    may = {"Path", "Args"} if must & {"Config.Cmd", "Config.Entrypoint"} else set()
    for path in must:
        kind, _, name = path.removeprefix("Config.").partition(".")
        if kind == "ExposedPorts":
            may.add("NetworkSettings.Ports." + name)
        if kind == "Volumes" and changes[path][1] is not None:
            may.add("Mounts." + name + ".")
    return must, tuple(may)


def runtime(engine, inspect):
    """The configuration for runc: path -> value, ids replaced."""
    found, = engine.directory.glob(f"state/io.containerd.runtime.v*/moby/{inspect['Id']}/config.json")
    text = found.read_text().replace(inspect["Name"] + ".prev/", inspect["Name"] + "/")  # links
    for mount in filter(is_unnamed, inspect["Mounts"]):
        text = text.replace(mount["Name"], "(unnamed)")
    told = json.loads(text.replace(inspect["Id"], "(id)").replace(inspect["Id"][:12], "(short)"))
    told["mounts"] = {mount["destination"]: mount for mount in told["mounts"]}
    told["process"]["env"].sort()
    told["process"]["user"].get("additionalGids", []).sort()  # a set: the engine's order is random
    del told["root"]["path"]
    return flat(told)


# --- the containers' lives ---------------------------------------------------------------------


class Bench:
    def __init__(self, lab):
        tools = lab.path("tools")
        tools.mkdir()
        # With this hook an engine assumes that it has GPUs.
        self.script(tools / "nvidia-container-runtime-hook", "exit 0")
        # A machine without all capabilities can run privileged containers only this way.
        self.script(tools / "lesser-runc", """
            for word; do
                [ -z "$bundle" ] || { bundle=$word; break; }
                [ "$word" != --bundle ] || bundle=next
            done
            [ ! -f "$bundle/config.json" ] || sed -i 's/"CAP_SYS_RESOURCE",//g' "$bundle/config.json"
            exec runc "$@\"""")
        lab.environment["PATH"] = f"{tools}:{lab.environment['PATH']}"
        self.engine = BridgedEngine(lab, arguments=[
            "--add-runtime", f"other={tools}/lesser-runc", "--log-opt", "max-size=10m"])
        self.registry = Registry(lab)
        self.pullet = Pullet(lab, self.engine)
        self.publish(1)
        for image in IMAGES:
            self.engine.pull(self.registry.ref(image + ":stable"))
        self.surround(lab)
        newest = self.engine.call("GET", "/version", versioned=False)["ApiVersion"]
        self.rows = {name: row for name, row in TABLE.items()
                     if row.since <= int(newest.partition(".")[2])}

    @staticmethod
    def script(path, text):
        path.write_text("#!/bin/sh\n" + text)
        path.chmod(0o755)

    def publish(self, generation):
        for image, versions in IMAGES.items():
            config = versions[generation - 1] if generation else BAD
            files = {"actor": program("actor" if generation else "fails")}
            self.registry.publish(image, "stable", Image(files, config))

    def surround(self, lab):
        """Creates everything that the containers share or refer to."""
        docker, plain = self.engine.docker, self.registry.ref("plain:stable")
        docker("network", "create", "--subnet", "10.88.1.0/24", "front")
        docker("network", "create", "--subnet", "10.88.2.0/24", "back")
        docker("network", "create", "--ipv6", "--subnet", "10.88.3.0/24", "--subnet", "fd88::/64",
               "six")
        docker("run", "-d", "--name", "peer", "--ipc", "shareable", "-v", "/peers", plain)
        docker("run", "-d", "--name", "holder", "--ipc", "shareable", "-v", "/held",
               "-v", "kept:/kept", plain)
        docker("run", "-d", "--name", "neighbour", "--network", "front", plain)
        docker("network", "connect", "back", "neighbour")
        host = lab.path("host")
        host.mkdir()
        (host / "file").write_text("mine")
        for how in (("--bind", host), ("--make-shared",)):  # where the engine sees it
            subprocess.run([*self.engine.enter, "mount", *how, host], check=True)
        seccomp = lab.path("seccomp.json")
        seccomp.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}))
        disks = sorted(path for path in pathlib.Path("/dev").iterdir() if path.is_block_device())
        lists = {"env": "OLD=file\nMINE=file\n", "labels": "mine=file\nversion=file\n"}
        for name, text in lists.items():
            lab.path(name + ".list").write_text(text)
        self.words = {"env": lab.path("env.list"), "labels": lab.path("labels.list"), "host": host, "seccomp": seccomp, "disk": disks[0],
                      "front": self.engine.call("GET", "/networks/front")["Id"]}
        for name in ("peer", "holder"):
            identity = self.engine.inspect(name)["Id"]
            self.words |= {name: identity, name + "_short": identity[:12]}

    def make(self, name, row, by_hand=False):
        engine, image = self.engine, self.registry.ref(row.image + ":stable")
        if row.first and not by_hand:
            self.pullet.configure({name: self.section(row) | {"create": row.body}})
            assert self.pullet.once().status == 0
            return
        if row.body is not None:
            engine.call("POST", f"/containers/create?name={name}", {"Image": image, **row.body})
        else:
            options = shlex.split(row.options.format(**self.words))
            engine.docker("create", "--name", name, *options, image, *shlex.split(row.command))
        for line in row.then:
            engine.docker(*line.format(name).split())
        engine.call("POST", f"/containers/{name}/start")
        if row.health == "exit":
            engine.wait(name, lambda c: c["State"]["Status"] == "exited")

    def section(self, row, period="100ms"):
        return {"image": self.registry.ref(row.image + ":stable"), "health": row.health, "health-period": period}

    def update(self, want):
        period = "100ms" if want == "updated" else "1min"  # a bad version ends it, and a busy engine is late to say so
        self.pullet.configure({name: self.section(row, period) for name, row in self.rows.items()})
        result = self.pullet.once(timeout=1200)
        return {name: entry["reason"] or entry["result"]
                for name, entry in result.results.items() if entry["result"] != want}

    def look(self):
        return {name: Look(row, self.engine, self.engine.inspect(name))
                for name, row in self.rows.items()}

    def live(self):
        """generation -> name -> its Look, and the errors on the way there."""
        looks, faults = {}, {}
        for name, row in self.rows.items():
            self.make(name, row)
        looks["1"] = self.look()
        for look in looks["1"].values():
            look.leave_files()
        for generation, version, want in (("bad", 0, "rolled-back"), ("2", 2, "updated"),
                                          ("3", 3, "updated")):
            self.publish(version)
            faults[generation] = self.update(want)
            looks[generation] = self.look()
        for name, row in self.rows.items():
            self.engine.call("DELETE", f"/containers/{name}?force=1")
            self.make(name, row, by_hand=True)
        looks["hand"] = self.look()
        return looks, faults

    def stop(self):
        self.engine.stop()
        self.registry.stop()
        for where in (*CGROUPS.glob("*/docker/settings"), *CGROUPS.glob("docker/settings")):
            for path in (*where.iterdir(), where):
                with contextlib.suppress(OSError):
                    path.rmdir()


class Look:
    """A container at one time."""

    def __init__(self, row, engine, inspect):
        self.row, self.inspect = row, inspect
        self.settings = settings(row, inspect)
        self.told = runtime(engine, inspect) if inspect["State"]["Running"] else {}
        self.files = {where: self.path(where, mount).exists() for where, mount in self.places()}

    def places(self):
        """Where files of the container's own can be, and the mount, None for a tmpfs."""
        for where in self.inspect["HostConfig"].get("Tmpfs") or {}:
            yield where, None
        for mount in self.inspect["Mounts"]:
            if mount["Type"] in ("volume", "tmpfs"):
                yield mount["Destination"], mount

    def path(self, where, mount):
        inside = f"/proc/{self.inspect['State']['Pid']}/root{where}"
        on_disk = mount and mount["Type"] == "volume" and where not in IN_MEMORY
        return pathlib.Path(mount["Source"] if on_disk else inside, "kept")

    def leave_files(self):
        for where, mount in self.places():
            self.path(where, mount).write_text("mine")


@pytest.fixture(scope="module")
def history(lab):
    with own_network():
        bench = Bench(lab)
        try:
            yield bench.live()
        finally:
            bench.stop()


@pytest.fixture
def known(history, name):
    """Only where the engine has the options of that row."""
    if name not in history[0]["1"]:
        pytest.skip(f"speaks no API 1.{TABLE[name].since}, which has these options")


@pytest.mark.parametrize("generation", ["bad", "2", "3"])
def test_pass(history, generation):
    """One pass for all of them, and none is left out."""
    _, faults = history
    assert faults[generation] == {}


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("name", TABLE)
def test_rollback(history, name):
    """A rollback restores the container as it was."""
    looks, _ = history
    old, back = looks["1"][name], looks["bad"][name]
    assert back.inspect["Id"] == old.inspect["Id"]
    assert differences(old.settings, back.settings) == {}
    assert differences(old.told, back.told) == {}


@pytest.mark.parametrize("generation", [2, 3])
@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("name", TABLE)
def test_update(history, name, generation):
    """Exactly the values in the table change."""
    looks, _ = history
    before, after = looks[str(generation - 1)][name], looks[str(generation)][name]
    assert after.inspect["Image"] != before.inspect["Image"]
    must, may = following(TABLE[name], generation - 1, generation)
    changed = differences(before.settings, after.settings)
    assert {path: both for path, both in changed.items()
            if path not in must and not path.startswith(may)} == {}
    assert must - changed.keys() == set()


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("name", TABLE)
def test_by_hand(history, name):
    looks, _ = history
    mine, hand = looks["3"][name], looks["hand"][name]
    earlier = {m["Destination"] for m in mine.inspect["Mounts"]} - {
        m["Destination"] for m in hand.inspect["Mounts"]}
    assert earlier <= {path for version in IMAGES[TABLE[name].image]
                       for path in version.get("Volumes", ())}
    without = tuple(f"{key}.{path}." for path in earlier for key in ("Mounts", "mounts"))

    def common(fields):
        return {path: value for path, value in fields.items() if not path.startswith(without)}

    untold = {"Config." + path for path in TABLE[name].untold.split()}
    assert differences(common(settings(TABLE[name], mine.inspect, named=False)),
                       settings(TABLE[name], hand.inspect, named=False)).keys() == untold
    if not untold:
        assert differences(common(mine.told), hand.told) == {}


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("name", TABLE)
def test_data(history, name):
    """Files in volumes are kept, whatever the volume's name; files in memory are not."""
    looks, _ = history
    old = looks["1"][name]
    for generation in ("2", "3"):
        new = looks[generation][name]
        for where, mount in old.places():
            in_memory = not mount or mount["Type"] == "tmpfs" or where in IN_MEMORY
            assert new.files[where] is not in_memory, (generation, where)
        names = {m["Destination"]: m.get("Name") for m in new.inspect["Mounts"]}
        for mount in old.inspect["Mounts"]:
            assert names[mount["Destination"]] == mount.get("Name")


def test_count(history, capsys):
    looks, _ = history
    count = sum(len(look.settings) + len(look.told) for look in looks["3"].values())
    rows = [TABLE[name] for name in looks["3"]]
    options = sum(len(re.findall(r"(?<!\S)--?[a-z]", row.options)) for row in rows)
    with capsys.disabled():
        print(f" {count} fields of {len(rows)} containers, {options} options ", end="")
    assert count > 100 * len(rows)
