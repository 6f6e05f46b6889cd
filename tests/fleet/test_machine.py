# SPDX-License-Identifier: MIT
"""The package on a booted Debian: apt installs it, systemd runs it, and whatever happens to the service, the
engine, the package or the power, the container runs. The machine is a tree with its own systemd in namespaces
(tests/lib/pullet_machine.py); tests/fleet/device does the same on emulated ones."""

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

from pullet_deb import SUITE, TOP, build, newer  # noqa: E402
from pullet_follower import Follower  # noqa: E402
from pullet_lab import Lab, Registry, handle_signals, wait_for  # noqa: E402
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
    """This version, and the next."""
    if os.environ.get("PULLET_DEBS"):
        return [pathlib.Path(name) for name in os.environ["PULLET_DEBS"].split(":")]
    one = build(tmp_path_factory.mktemp("one"))
    return one, newer(one, tmp_path_factory.mktemp("two"))


class Device(Follower, Machine):
    """A machine with pullet on it, which follows app:stable."""

    def etc(self, path):
        return pathlib.Path(f"/proc/{self.init}/root/etc/{path}")

    def status(self):
        return self.show("pulletd", "StatusText")["StatusText"]

    def journal(self, *arguments):
        return self.sh("journalctl --no-pager -q " + " ".join(arguments))


@pytest.fixture(scope="module")
def device(lab, registry, packages):
    device = Device(lab, SUITE).start()
    shutil.copy(packages[0], device.shared / "one.deb")
    shutil.copy(packages[1], device.shared / "two.deb")
    yield device
    device.stop()


def test_apt_installs_it_and_it_runs(device, registry):
    device.sh("apt-get install -y --no-install-recommends /lab/one.deb")
    state = device.show("pulletd", "ActiveState", "SubState", "User", "NRestarts", "StatusText")
    assert (state["ActiveState"], state["SubState"], state["NRestarts"]) == ("active", "running", "0"), state
    assert "org.pullet.Agent1" in device.sh("busctl --no-pager list")  # the bus knows the user that is new
    first = device.publish(registry)
    device.configure(registry)
    device.sh("systemctl reload pulletd")
    device.settle(first)
    wait_for("rest", lambda: re.fullmatch(r"1 container, next look at \d\d:\d\d:\d\d", device.status()), 30, 0.1)


def test_it_is_locked_in(device):
    """The unit's promises as the kernel sees them."""
    pid = device.show("pulletd", "MainPID")["MainPID"]
    status = dict(line.split(":", 1) for line in device.sh(f"cat /proc/{pid}/status").splitlines() if ":" in line)
    assert status["CapEff"].strip() == status["CapBnd"].strip() == "0" * 16
    assert status["NoNewPrivs"].strip() == "1" and status["Seccomp"].strip() == "2"
    assert int(status["Uid"].split()[0]) != 0
    mine, its = (device.sh(f"readlink /proc/{of}/ns/net") for of in ("1", pid))
    assert mine != its
    assert device.sh(f"nsenter -t {pid} -n cat /proc/net/dev").count(":") == 1  # loopback alone


def test_update_in_the_journal(device, registry):
    version = device.publish(registry)
    device.settle(version)
    entries = [json.loads(line) for line in
               device.journal("-o json -u pulletd PULLET_CONTAINER=app").splitlines()]
    phases = {entry["MESSAGE"].split()[1]: entry.get("PULLET_PHASE") for entry in entries}
    assert {"prepare", "trial", "commit", "idle", "updated"} <= set(phases), phases
    # A result is none: the same line comes when a pass is interrupted, wherever its update stands.
    assert all(phase == (None if word == "updated" else word) for word, phase in phases.items()), phases
    assert all(entry["MESSAGE_ID"] and entry["PULLET_DIGEST"].startswith("sha256:") for entry in entries)
    told = device.journal("-x -u pulletd")
    assert "A new version of app is on trial" in told and "Defined-By: Pullet" in told


def test_quiet_day(device):
    """Many polls, no line; nor one of systemd's about them."""
    since = device.sh("date +%s.%N").strip()
    before = device.record()
    time.sleep(4)  # nothing is to happen: there is no event to wait for
    told = device.journal(f"--since @{since}")
    assert "pullet" not in told, told
    assert device.record() == before


def test_reload(device, registry):
    pid = device.show("pulletd", "MainPID")["MainPID"]
    good = device.etc("pullet/conf.d/app.conf").read_text()
    device.etc("pullet/conf.d/app.conf").write_text(good + "nonsense = 1\n")
    device.sh("systemctl reload pulletd")
    wait_for("the complaint", lambda: "unknown key 'nonsense'" in device.journal("-u pulletd"), 20, 0.1)
    assert device.version()
    wait_for("it in the status", lambda: re.search("nonsense.*; no update is made", device.status()), 20, 0.1)
    device.etc("pullet/conf.d/app.conf").write_text(good)
    device.sh("systemctl reload pulletd")
    device.settle(device.publish(registry))
    assert device.show("pulletd", "MainPID")["MainPID"] == pid


def test_engine_restarts(device, registry):
    """The agent outlives the engine, says so once, and goes on when it is back."""
    pid = device.show("pulletd", "MainPID")["MainPID"]
    device.sh("systemctl stop docker.socket docker.service")
    wait_for("the complaint", lambda: "docker.sock" in device.journal("-u pulletd -n 20"), 30, 0.1)
    device.sh("systemctl start docker.service")
    device.settle(device.publish(registry))
    assert device.show("pulletd", "MainPID")["MainPID"] == pid


def test_without_dockers_group(device, registry):
    """It starts all the same, says what is missing, and goes on when that is there."""
    device.sh("gpasswd -d pullet docker; systemctl restart pulletd")
    wait_for("the complaint", lambda: "trouble with app" in device.status(), 30, 0.1)
    assert "ermission denied" in device.journal("-u pulletd -n 20")
    device.sh("usermod --append --groups docker pullet; systemctl restart pulletd")
    device.settle(device.publish(registry))


ORDER = "busctl --system call org.pullet.Agent1 /org/pullet/Agent1/container/app org.pullet.Agent1.Container "


def test_orders_on_the_system_bus(device):
    """Anybody may read; orders are for root, and for whom polkit lets."""
    told = device.sh("busctl --system introspect org.pullet.Agent1 /org/pullet/Agent1/container/app", user="nobody")
    assert re.search(r"^\.Phase +property +s +\"idle\"", told, re.M) and re.search(r"^\.Hold +method", told, re.M), told
    assert device.sh(ORDER + "Hold", user="nobody", check=False) is None
    assert "a password is wanted" in device.sh(ORDER + "Hold 2>&1 || true", user="nobody")
    held = ("busctl --system get-property org.pullet.Agent1 /org/pullet/Agent1/container/app "
            "org.pullet.Agent1.Container Held")
    device.sh(ORDER + "Hold")
    wait_for("held", lambda: device.sh(held, user="nobody") == "b true\n", 30, 0.1)
    rules = device.etc("polkit-1/rules.d/50-pullet.rules")
    page = (TOP / "packaging/man/org.pullet.Agent1.5").read_text()
    rule = re.search(r"^polkit\.addRule.*?^}\);\n", page, re.M | re.S)[0]
    rules.write_text(rule.replace('"hello"', '"app"').replace('"operators"', '"nogroup"'))
    device.sh("systemctl try-restart polkit")
    device.sh(ORDER + "Release", user="nobody")
    wait_for("released", lambda: device.sh(held) == "b false\n", 30, 0.1)
    rules.unlink()


def test_watchdog_bites(device, registry):
    """A daemon that stands still is replaced, in the middle of an update; the update ends well."""
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
    """By the credential that both halves load; a missing one is no reason not to start."""
    private = Registry(lab, name="private", user=("me", "secret"))
    device.configure(private, more=f"[registry {private.address}]\ncredentials = registry-auth\n")
    first = device.publish(private)
    (device.etc("credstore")).mkdir(mode=0o700, exist_ok=True)
    credential = device.etc("credstore/registry-auth")
    credential.write_text(json.dumps({"auths": {private.address: {"username": "me", "password": "secret"}}}))
    credential.chmod(0o600)
    device.sh("systemctl restart pulletd")
    device.settle(first)


def test_power_goes(device, registry):
    """Switched off at random moments of an update, and on again: the container runs, as old or new, and the
    update ends well."""
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
