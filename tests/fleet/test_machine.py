# SPDX-License-Identifier: MIT
"""The package on a booted Debian: apt installs it, systemd runs it, and the container keeps running through faults of
the service, the engine, the package and the power. The machine is a tree with its own systemd in namespaces
(tests/lib/pullet_machine.py); tests/fleet/device does the same on emulated ones."""

import fcntl
import json
import os
import pathlib
import random
import re
import shutil
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from pullet_deb import SUITE, TOP, build, newer, run  # noqa: E402
from pullet_follower import Follower  # noqa: E402
from pullet_lab import Lab  # noqa: E402
from pullet_registry import Registry  # noqa: E402
from pullet_sweep import handle_signals, wait_for  # noqa: E402
from pullet_machine import Machine  # noqa: E402

POWER_CUTS = int(os.environ.get("PULLET_CUTS", "3"))


def pytest_configure():
    handle_signals()


@pytest.fixture(scope="module")
def lab():
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="module")
def registry(lab):
    return Registry(lab)


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """The package, and the same with the next version number."""
    if os.environ.get("PULLET_DEBS"):
        return [pathlib.Path(name) for name in os.environ["PULLET_DEBS"].split(":")]
    one = build(tmp_path_factory.mktemp("one"))
    return one, newer(one, tmp_path_factory.mktemp("two"))


class Device(Follower, Machine):
    """A machine with pullet, which follows app:stable."""

    def etc(self, path):
        return pathlib.Path(f"/proc/{self.init}/root/etc/{path}")

    def status(self):
        return self.show("pulletd", "StatusText")["StatusText"]

    def journal(self, *arguments):
        return self.sh("journalctl --no-pager -q " + " ".join(arguments))

    def probe(self, unit, *attempts, more=""):
        """-> {attempt: "ok" or an error's name}, attempted in the sandbox of the installed unit: an instance of the
        template, or a copy, with a drop-in that replaces only the program."""
        name = unit.replace("@.", "@probe.")
        if name == unit:
            name = "probe-" + unit
            self.sh(f"cp $(systemctl show -P FragmentPath {unit}) /run/systemd/system/{name}")
        self.sh(f"mkdir -p /run/systemd/system/{name}.d")
        self.write(f"/run/systemd/system/{name}.d/probe.conf", f"""[Service]
Type=oneshot
ExecStart=
ExecStart=/lab/probe {" ".join(attempts)}
StandardInput=null
StandardOutput=truncate:/run/probe
RuntimeMaxSec=infinity
RuntimeDirectoryPreserve=yes
Restart=no
WatchdogSec=0
{more}
""")
        self.sh(f"systemctl daemon-reload; systemctl start {name}")
        return dict(line.rsplit(" ", 1) for line in self.sh("cat /run/probe").splitlines())


@pytest.fixture(scope="module")
def device(lab, registry, packages):
    device = Device(lab, SUITE).start()
    shutil.copy(packages[0], device.shared / "one.deb")
    shutil.copy(packages[1], device.shared / "two.deb")
    run("gcc", "-static", "-o", device.shared / "probe", pathlib.Path(__file__).with_name("probe.c"))
    yield device
    device.stop()


def test_apt_installs_it_and_it_runs(device, registry):
    device.sh("apt-get install -y --no-install-recommends /lab/one.deb")
    state = device.show("pulletd", "ActiveState", "SubState", "User", "NRestarts", "StatusText")
    assert (state["ActiveState"], state["SubState"], state["NRestarts"]) == ("active", "running", "0"), state
    assert "org.pullet.Agent1" in device.sh("busctl --no-pager list")  # the bus has read the new user
    first = device.publish(registry)
    device.configure(registry)
    device.sh("systemctl reload pulletd")
    device.settle(first)
    wait_for("rest", lambda: re.fullmatch(r"1 container, next check at \d\d:\d\d:\d\d", device.status()), pause=0.1)


def test_it_is_locked_in(device):
    """The restrictions of the units, read from the kernel."""
    pid = device.show("pulletd", "MainPID")["MainPID"]
    status = dict(line.split(":", 1) for line in device.sh(f"cat /proc/{pid}/status").splitlines() if ":" in line)
    assert status["CapEff"].strip() == status["CapBnd"].strip() == "0" * 16
    assert status["NoNewPrivs"].strip() == "1" and status["Seccomp"].strip() == "2"
    assert int(status["Uid"].split()[0]) != 0
    mine, its = (device.sh(f"readlink /proc/{of}/ns/net") for of in ("1", pid))
    assert mine != its
    assert device.sh(f"nsenter -t {pid} -n cat /proc/net/dev").count(":") == 1  # loopback alone


def test_sandbox_of_pulletd(device):
    """pulletd reads the records and reaches the two sockets and the bus; it does not reach Docker, the network or any
    secret."""
    device.sh("mkdir -p -m 700 /etc/credstore")
    assert device.probe(
        "pulletd.service", "connect=/run/dbus/system_bus_socket", "connect=/run/pullet/update.sock",
        "connect=/run/pullet/fetch.sock", "read=/var/lib/pullet/app.json", "write=/run/pullet/metrics",
        "write=/var/lib/pullet", "connect=/run/docker.sock", "connect=/run/containerd/containerd.sock",
        "read=/run/pullet-fetch", "read=/run/user", "read=/etc/credstore", "send=127.0.0.1") == {
            "connect /run/dbus/system_bus_socket": "ok", "connect /run/pullet/update.sock": "ok",
            "connect /run/pullet/fetch.sock": "ok", "read /var/lib/pullet/app.json": "ok",
            "write /run/pullet/metrics": "ok",
            "write /var/lib/pullet": "EROFS", "connect /run/docker.sock": "EACCES",
            "connect /run/containerd/containerd.sock": "EACCES", "read /run/pullet-fetch": "EACCES",
            "read /run/user": "EACCES", "read /etc/credstore": "EACCES", "send 127.0.0.1": "EAFNOSUPPORT"}


def test_sandbox_of_pullet_update(device):
    """pullet-update reaches Docker's socket, the records and pullet-fetch, and nothing else."""
    assert device.probe(
        "pullet-update@.service", "connect=/run/docker.sock", "write=/var/lib/pullet",
        "connect=/run/pullet/fetch.sock", "connect=/run/pullet/update.sock", "connect=/run/dbus/system_bus_socket",
        "connect=/run/containerd/containerd.sock", "read=/run/pullet-fetch", "read=/run/user", "read=/etc/credstore",
        "write=/etc", "send=127.0.0.1") == {
            "connect /run/docker.sock": "ok", "write /var/lib/pullet": "ok", "connect /run/pullet/fetch.sock": "ok",
            "connect /run/pullet/update.sock": "EACCES", "connect /run/dbus/system_bus_socket": "EACCES",
            "connect /run/containerd/containerd.sock": "EACCES", "read /run/pullet-fetch": "EACCES",
            "read /run/user": "EACCES", "read /etc/credstore": "EACCES", "write /etc": "EROFS",
            "send 127.0.0.1": "EAFNOSUPPORT"}


def test_sandbox_of_pullet_fetch(device):
    """pullet-fetch reaches its cache and the network, except link-local and multicast addresses. These addresses
    belong to this machine here, so that only the filter can refuse them."""
    device.sh("touch /run/probe-net; unshare --net=/run/probe-net true; install -m 600 /dev/null /etc/pullet/other.json")
    for command in ("link set lo up", "addr add 169.254.169.254/32 dev lo", "route add 224.0.0.0/4 dev lo"):
        run("nsenter", f"--net=/proc/{device.init}/root/run/probe-net", "ip", *command.split())
    assert device.probe(
        "pullet-fetch@.service", "send=127.0.0.1", "write=/run/pullet-fetch", "read=/etc/pullet/pullet.conf",
        "send=169.254.169.254", "send=224.0.0.1", "connect=/run/docker.sock",
        "connect=/run/containerd/containerd.sock", "connect=/run/dbus/system_bus_socket",
        "connect=/run/pullet/fetch.sock", "read=/var/lib/pullet", "read=/etc/pullet/other.json",
        "read=/etc/credstore", "read=/run/user", "write=/etc", more="NetworkNamespacePath=/run/probe-net") == {
            "send 127.0.0.1": "ok", "write /run/pullet-fetch": "ok", "read /etc/pullet/pullet.conf": "ok",
            "send 169.254.169.254": "EPERM", "send 224.0.0.1": "EPERM", "connect /run/docker.sock": "EACCES",
            "connect /run/containerd/containerd.sock": "EACCES", "connect /run/dbus/system_bus_socket": "EACCES",
            "connect /run/pullet/fetch.sock": "EACCES", "read /var/lib/pullet": "EACCES",
            "read /etc/pullet/other.json": "EACCES", "read /etc/credstore": "EACCES", "read /run/user": "EACCES",
            "write /etc": "EROFS"}
    device.sh("umount /run/probe-net; rm /run/probe-net /etc/pullet/other.json")


def test_the_network_cache_is_kept_and_private(device):
    """The cache of pullet-fetch belongs to its user and outlives the process."""
    assert device.sh("stat -c '%U %a' /run/pullet-fetch") == "pullet-fetch 700\n"


def test_update_in_the_journal(device, registry):
    version = device.publish(registry)
    device.settle(version)
    entries = [json.loads(line) for line in
               device.journal("-o json -u pulletd PULLET_CONTAINER=app").splitlines()]
    phases = {entry["MESSAGE"].split()[1]: entry.get("PULLET_PHASE") for entry in entries}
    assert {"prepare", "trial", "commit", "idle", "updated"} <= set(phases), phases
    # A result does not show it: an interrupted pass logs the same line in every phase.
    assert all(phase == (None if word == "updated" else word) for word, phase in phases.items()), phases
    assert all(entry["MESSAGE_ID"] and entry["PULLET_DIGEST"].startswith("sha256:") for entry in entries)
    told = device.journal("-x -u pulletd")
    assert "The trial of a new version of app has begun" in told and "Defined-By: Pullet" in told


def test_quiet_day(device, registry):
    """A quiet poll logs no line, and systemd logs none about it."""
    since = device.sh("date +%s.%N").strip()
    before, mark = device.record(), registry.mark()
    wait_for("four polls", lambda: len(registry.requests(mark)) >= 4, pause=0.1)
    told = device.journal(f"--since @{since}")
    assert "pullet" not in told, told
    assert device.record() == before


def test_what_pullet_update_logs_is_kept(device):
    """Its own messages of every level are kept, and systemd's messages about its starts are dropped."""
    since = device.sh("date +%s.%N").strip()
    records = os.open(f"/proc/{device.init}/root/var/lib/pullet", os.O_DIRECTORY)
    try:
        fcntl.flock(records, fcntl.LOCK_EX)
        wait_for("the line", lambda: "locked" in device.journal(f"--since @{since} -u 'pullet-update@*'"), pause=0.1)
    finally:
        os.close(records)
    assert "Started" not in device.journal(f"--since @{since} -u 'pullet-update@*'")


def test_reload(device, registry):
    pid = device.show("pulletd", "MainPID")["MainPID"]
    good = device.etc("pullet/conf.d/app.conf").read_text()
    device.etc("pullet/conf.d/app.conf").write_text(good + "nonsense = 1\n")
    assert device.sh("systemctl reload pulletd", check=False) is None
    wait_for("the complaint", lambda: "unknown key 'nonsense'" in device.journal("-u pulletd"), pause=0.1)
    assert device.version()
    wait_for("it in the status", lambda: re.search("nonsense.*; updates are suspended", device.status()), pause=0.1)
    device.etc("pullet/conf.d/app.conf").write_text(good)
    device.sh("systemctl reload pulletd")
    device.settle(device.publish(registry))
    assert device.show("pulletd", "MainPID")["MainPID"] == pid


def test_engine_restarts(device, registry):
    """The agent keeps running without the engine, reports that once, and continues when it is back."""
    pid = device.show("pulletd", "MainPID")["MainPID"]
    device.sh("systemctl stop docker.socket docker.service")
    wait_for("the complaint", lambda: "docker.sock" in device.journal("-u pulletd -n 20"), pause=0.1)
    device.sh("systemctl start docker.service")
    device.settle(device.publish(registry))
    assert device.show("pulletd", "MainPID")["MainPID"] == pid


def test_without_dockers_group(device, registry):
    """Each job has the current groups: a missing group is reported, and updates continue once it exists."""
    device.sh("gpasswd -d pullet-update docker")
    wait_for("the complaint", lambda: "app is failing" in device.status(), pause=0.1)
    assert "ermission denied" in device.journal("-u pulletd -n 20")
    device.sh("usermod --append --groups docker pullet-update")
    device.settle(device.publish(registry))


ORDER = "busctl --system call org.pullet.Agent1 /org/pullet/Agent1/container/app org.pullet.Agent1.Container "


def test_methods_on_the_system_bus(device):
    """Every user may read; only root, and users whom polkit authorizes, may call methods."""
    told = device.sh("busctl --system introspect org.pullet.Agent1 /org/pullet/Agent1/container/app", user="nobody")
    assert re.search(r"^\.Phase +property +s +\"idle\"", told, re.M) and re.search(r"^\.Hold +method", told, re.M), told
    assert device.sh(ORDER + "Hold", user="nobody", check=False) is None
    assert "interactive authentication required" in device.sh(ORDER + "Hold 2>&1 || true", user="nobody")
    held = ("busctl --system get-property org.pullet.Agent1 /org/pullet/Agent1/container/app "
            "org.pullet.Agent1.Container Held")
    device.sh(ORDER + "Hold")
    wait_for("held", lambda: device.sh(held, user="nobody") == "b true\n", pause=0.1)
    rules = device.etc("polkit-1/rules.d/50-pullet.rules")
    page = (TOP / "packaging/man/org.pullet.Agent1.5").read_text()
    rule = re.search(r"^polkit\.addRule.*?^}\);\n", page, re.M | re.S)[0]
    rules.write_text(rule.replace('"hello"', '"app"').replace('"operators"', '"nogroup"'))
    device.sh("systemctl try-restart polkit")
    device.sh(ORDER + "Release", user="nobody")
    wait_for("released", lambda: device.sh(held) == "b false\n", pause=0.1)
    rules.unlink()


def test_watchdog_bites(device, registry):
    """A daemon that hangs during an update is restarted; the update is completed."""
    drop_in = device.etc("systemd/system/pulletd.service.d")
    drop_in.mkdir(parents=True)
    (drop_in / "watchdog.conf").write_text("[Service]\nWatchdogSec=2\nRestartSec=100ms\n")
    device.configure(registry, health_period="3s")
    device.sh("systemctl daemon-reload; systemctl restart pulletd")
    version = device.publish(registry)
    device.phase("trial")
    device.sh("kill -STOP $(systemctl show -P MainPID pulletd)")
    wait_for("the restart", lambda: device.show("pulletd", "NRestarts")["NRestarts"] != "0", 60, 0.1)
    device.settle(version)
    assert "atchdog" in device.journal("-u pulletd")
    shutil.rmtree(drop_in)
    device.sh("systemctl daemon-reload; systemctl restart pulletd")


def test_stop_amid_an_update(device, registry):
    """After the service has stopped, no process of it is left, and one container runs."""
    device.configure(registry, health_period="30s")
    device.sh("systemctl reload pulletd")
    version = device.publish(registry)
    device.phase("trial")
    device.sh("systemctl stop pulletd")
    assert device.sh("systemctl list-units --no-legend --plain 'pullet-update@*'").strip() == ""
    assert device.sh("ps -u pullet,pullet-update -o comm= || true") == ""
    running = device.sh("docker ps --format '{{.Names}}'").split()
    assert len(running) == 1, running
    device.configure(registry)
    device.sh("systemctl start pulletd")
    device.settle(version)


def test_upgrade_amid_an_update(device, registry):
    device.configure(registry, health_period="3s")
    device.sh("systemctl reload pulletd")
    version = device.publish(registry)
    device.phase("trial")
    device.sh("apt-get install -y --no-install-recommends /lab/two.deb")
    assert device.sh("dpkg-query -W -f '${Version}' pullet").count("+1")
    device.settle(version)
    assert device.show("pulletd", "ActiveState")["ActiveState"] == "active"


def test_credentials(device, lab):
    """pullet-fetch and pullet-update load the credential for each job; they also start without it."""
    private = Registry(lab, name="private", user=("me", "secret"))
    device.configure(private, more=f"[registry {private.address}]\ncredentials = registry-auth\n")
    first = device.publish(private)
    (device.etc("credstore")).mkdir(mode=0o700, exist_ok=True)
    credential = device.etc("credstore/registry-auth")
    credential.write_text(json.dumps({"auths": {private.address: {"username": "me", "password": "secret"}}}))
    credential.chmod(0o600)
    device.settle(first)


def test_power_goes(device, registry):
    """The power is cut at random moments of an update: after the boot the old or the new container runs, and the
    update is completed."""
    device.configure(registry, health_period="500ms")
    device.sh("systemctl restart pulletd")
    device.settle(device.publish(registry))
    dice = random.Random(int(os.environ.get("PULLET_SEED", "1")))
    for _ in range(POWER_CUTS):
        version = device.publish(registry)
        device.phase(dice.choice(["prepare", "trial", "commit"]), "idle")
        time.sleep(dice.random() * 0.5)
        device.power_off()
        device.start()
        device.settle(version)


def test_removal_leaves_the_container(device):
    before = device.inspect()
    device.sh("apt-get purge -y pullet")
    after = device.inspect()
    assert after["Id"] == before["Id"] and after["State"]["StartedAt"] == before["State"]["StartedAt"]
    assert device.sh("ls -d /etc/pullet /var/lib/pullet /run/pullet 2>/dev/null || true").strip() in ("", "/etc/pullet")
