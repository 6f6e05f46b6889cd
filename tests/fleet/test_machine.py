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
import socket
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from pullet_deb import SUITE, TOP, build, newer, run  # noqa: E402
from pullet_follower import Follower  # noqa: E402
from pullet_lab import Lab, free_port  # noqa: E402
from pullet_registry import Registry  # noqa: E402
from pullet_sweep import handle_signals, wait_for  # noqa: E402
from pullet_machine import Machine  # noqa: E402
from pullet_receiver import Post, Receiver  # noqa: E402

POWER_CUTS = int(os.environ.get("PULLET_CUTS", "3"))


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
    shutil.copy("/usr/bin/curl", device.shared / "curl")
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


UNITS = {"lock": "ExecStart=/bin/sh -c 'exit 3'", "dump@": "ExecStart=/bin/sh -c 'echo %i >>/run/dumped'",
         "hang": "ExecStart=/bin/sleep 600", "killed": "ExecStart=/bin/sh -c 'kill -9 $$$$'",
         "stays": "RemainAfterExit=yes\nExecStart=/bin/true", "none": "ExecStart=/absent",
         "simple": "Type=simple\nExecStart=/bin/sh -c 'exit 4'",
         "tell@": "LoadCredential=event:/run/pullet/events/%i.json\n"
                  "ExecStart=/bin/sh -c 'cat $$CREDENTIALS_DIRECTORY/event >>/run/told; echo >>/run/told'"}


def ask(device, request, wait=True):
    """The starter's answer to pullet-update's request, from outside of the machine."""
    with socket.socket(socket.AF_UNIX) as end:
        end.connect(f"/proc/{device.init}/root/run/pullet/unit.sock")
        end.settimeout(60)
        end.sendall((request if isinstance(request, str) else json.dumps(request)).encode() + b"\n")
        if not wait:
            wait_for("the unit", lambda: wait_active(device, "hang.service"), pause=0.05)
            return None
        with end.makefile() as answer:
            return json.loads(answer.readline())


def wait_active(device, unit):
    return device.show(unit, "ActiveState")["ActiveState"] == "activating"


@pytest.fixture(scope="class")
def units(device):
    """Units for hooks, and sections that name them: the container c-KEY has that unit under each key."""
    for name, lines in UNITS.items():
        device.write(f"/run/systemd/system/{name}.service",
                     "[Service]\n" + ("" if "Type=" in lines else "Type=oneshot\n") + lines + "\n")
    device.write("/run/systemd/system/skipped.service",
                 "[Unit]\nConditionPathExists=/absent\n[Service]\nType=oneshot\nExecStart=/bin/true\n")
    device.sh("systemctl daemon-reload; systemctl stop pulletd; systemctl start pullet-unit.socket")
    names = {name.strip("@"): name for name in (*UNITS, "skipped", "absent")}
    device.write("/etc/pullet/conf.d/hooks.conf", "[agent]\nnotify = tell@.service\n" + "".join(
        f"[container c-{name}]\nimage = registry.example/c:1\nhold = yes\nbefore-unit = {unit}.service\n"
        f"before-unit-timeout = {'2s' if name == 'hang' else '10min'}\n" for name, unit in {**names, "long": "hang"}.items()))
    yield device
    device.sh("rm /etc/pullet/conf.d/hooks.conf; systemctl start pulletd")


class TestStarter:
    """The starter alone: pulletd, which would send events of its own, is stopped meanwhile."""

    @pytest.mark.parametrize("name, answer", [
        ("lock", {"result": "exit-code", "status": 3}), ("dump", {"result": "success", "status": 0}),
        ("hang", {"result": "timeout", "status": 0}), ("killed", {"result": "signal", "status": 9}),
        ("simple", {"result": "exit-code", "status": 4}), ("none", {"result": "exit-code", "status": 203}),
        ("stays", "stays.service stays active after its end: remove RemainAfterExit=yes from it"),
        ("skipped", "skipped.service was skipped: a condition was not met"),
        ("absent", "systemd does not start absent.service: Unit absent.service not found")])
    def test_a_hook_runs_and_its_end_is_told(self, units, name, answer):
        request = {"container": "c-" + name, "key": "before-unit"}
        for _ in range(1 if name == "hang" else 2):
            assert ask(units, request) == (answer if isinstance(answer, dict) else {"error": answer})
        if name == "dump":
            assert units.sh("cat /run/dumped") == "c-dump\n" * 2
        wait_for("the end", lambda: not wait_active(units, name + ".service"), pause=0.05)

    @pytest.mark.parametrize("request_", [
        {"container": "c-lock", "key": "after-unit"}, {"container": "absent", "key": "before-unit"},
        {"container": "c-lock", "key": "unit", "unit": "dump@x.service"}, {"key": "before-unit"}, "[]", "{", "x" * 300000])
    def test_no_other_unit_is_started(self, units, request_):
        assert set(ask(units, request_)) == {"error"}

    def test_a_hook_ends_with_who_asked(self, units):
        ask(units, {"container": "c-long", "key": "before-unit"}, wait=False)
        wait_for("the end", lambda: not wait_active(units, "hang.service"), pause=0.05)

    def test_a_configuration_that_others_may_write_starts_nothing(self, units):
        units.sh("chmod o+w /etc/pullet/conf.d/hooks.conf")
        answer = ask(units, {"container": "c-dump", "key": "before-unit"})
        units.sh("chmod o-w /etc/pullet/conf.d/hooks.conf")
        assert "other users may write to it" in answer["error"]

    def test_an_event_is_told(self, units):
        """As a credential, which nobody but root and the unit may read. One of pulletd's own may come before it."""

        def is_told():
            told = units.sh("cat /run/told", check=False) or ""
            return event in [json.loads(line) for line in told.splitlines() if line.endswith("}")]

        event = {"event": "updated", "container": "app", "text": "\u00e4 'quoted'"}
        assert ask(units, {"key": "notify", "event": event}) == {"result": "success", "status": 0}
        wait_for("the event", is_told, pause=0.05)
        modes = units.sh("stat -c '%U %a' /run/pullet/events/*.json /run/pullet/events").splitlines()
        assert set(modes) == {"root 600", "root 700"} and modes[-1] == "root 700"

    def test_sandbox_of_the_starter(self, units):
        """It reaches the bus and its events; neither Docker, the records, a secret nor the network."""
        assert units.probe(
            "pullet-unit@.service", "connect=/run/dbus/system_bus_socket", "write=/run/pullet/events",
            "read=/etc/pullet/pullet.conf", "connect=/run/docker.sock", "connect=/run/pullet/update.sock",
            "connect=/run/systemd/private", "read=/var/lib/pullet", "read=/run/pullet-fetch", "write=/etc",
            "write=/run/systemd/system", "send=127.0.0.1") == {
                "connect /run/dbus/system_bus_socket": "ok", "write /run/pullet/events": "ok",
                "read /etc/pullet/pullet.conf": "ok", "connect /run/docker.sock": "EACCES",
                "connect /run/pullet/update.sock": "EACCES", "connect /run/systemd/private": "EACCES",
                "read /var/lib/pullet": "EACCES", "read /run/pullet-fetch": "EACCES", "write /etc": "EROFS",
                "write /run/systemd/system": "EROFS", "send 127.0.0.1": "EAFNOSUPPORT"}


def test_hooks_of_an_update(device, registry):
    """Real units under the real services: a lock that is held, then given back; a probe that says no; the end is told."""
    for name, lines in {"before": "ExecStart=/bin/sh -c 'test ! -e /run/locked && touch /run/before-%i'",
                        "probe": "ExecStart=/bin/sh -c 'docker exec %i /actor exists /unfit && exit 7; exit 0'",
                        "after": "ExecStart=/bin/sh -c 'echo %i >>/run/after'"}.items():
        device.write(f"/run/systemd/system/{name}@.service", f"[Service]\nType=oneshot\n{lines}\n")
    device.sh("systemctl daemon-reload; touch /run/locked")
    device.configure(registry, before_unit="before@.service", health_unit="probe@.service", after_unit="after@.service")
    device.sh("systemctl reload pulletd")
    before = device.version()
    version = device.publish(registry)
    wait_for("a deferral", lambda: "before-unit before@app.service ended with status 1" in device.journal("-u pulletd"),
             pause=0.1)
    assert device.version() == before and device.record()["deferred"]["times"] >= 1
    device.sh("rm /run/locked")
    device.settle(version)
    assert device.sh("ls /run/before-app; cat /run/after") == "/run/before-app\napp\n"
    device.files = {"unfit": b"1"}
    device.publish(registry)
    device.files = {}
    wait_for("the rollback", lambda: "health-unit probe@app.service ended with status 7" in device.journal("-u pulletd"),
             pause=0.1)
    device.settle(version)
    wait_for("the end", lambda: device.sh("cat /run/after") == "app\n" * 2, pause=0.1)
    device.configure(registry)
    device.sh("systemctl reload pulletd")


def test_the_network_cache_is_kept_and_private(device):
    """The cache of pullet-fetch belongs to its user and outlives the process."""
    assert device.sh("stat -c '%U %a' /run/pullet-fetch") == "pullet-fetch 700\n"


def test_update_in_the_journal(device, registry):
    version = device.publish(registry)
    device.settle(version)
    entries = [json.loads(line) for line in
               device.journal("-o json -u pulletd PULLET_CONTAINER=app").splitlines()]
    phases = {entry["MESSAGE"].split()[1].rstrip(":"): entry.get("PULLET_PHASE") for entry in entries}
    assert {"prepare", "trial", "commit", "idle", "updated"} <= set(phases), phases
    # A result, and a log, do not show it: an interrupted pass logs the same line in every phase.
    assert all(phase == (None if word in ("updated", "deferred", "rolled-back", "last") else word)
               for word, phase in phases.items()), phases
    assert all(entry["MESSAGE_ID"] for entry in entries)
    # A pass that ended before the registry answered, as at a stop of the service, has no digest to name.
    assert all(entry["PULLET_DIGEST"].startswith("sha256:") for entry in entries
               if entry.get("PULLET_PHASE") or entry["MESSAGE"].split()[1] == "updated"), entries
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


def test_being_told(device, registry):
    """A broken release makes one mail, and one message when the network is back; a good one the next. Its log is in the
    journal."""
    host = device.sh("uname -n").strip()
    with Post() as post:
        device.sh("cp /lab/curl /usr/local/bin; dpkg-deb -x /lab/one.deb /run/one; "
                  "cd /run/one/usr/share/doc/pullet/examples/notify.d; cp ntfy mail /etc/pullet/notify.d")
        port = free_port()
        device.write("/etc/pullet/notify-secrets/ntfy", f"url=http://127.0.0.1:{port}/topic\ntoken=tk_secret\n")
        device.write("/etc/pullet/notify-secrets/mail",
                     f"to=a@example.com\nfrom=pi@example.com\nurl=smtp://127.0.0.1:{post.server_address[1]}\n")
        device.sh("mkdir -p /run/systemd/system/pullet-notify@.service.d")
        device.write("/run/systemd/system/pullet-notify@.service.d/soon.conf", "[Service]\nRestartSec=1s\n")
        device.sh("systemctl daemon-reload")
        device.publish(registry, "say", "opening", "cry", "no database", "exit", 3)
        wait_for("the mail", lambda: post.mails, 60)
        assert f"Subject: app on {host}: rolled-back" in post.mails[0]["text"] and "\nno database\n" in post.mails[0]["text"]
        wait_for("the failure", lambda: "ntfy: exit status 7" in device.journal("-t pullet-notify"), 60)
        with Receiver(port) as ntfy:
            wait_for("the message", lambda: ntfy.requests, 60)
            mark = registry.mark()
            wait_for("polls", lambda: sum(r.method == "HEAD" for r in registry.requests(mark)) >= 3, 60)
            good = device.publish(registry)
            device.settle(good)
            wait_for("the next message", lambda: len(ntfy.requests) >= 2, 60)
            wait_for("the next mail", lambda: len(post.mails) >= 2, 60)
            assert [headers["Title"] for _, headers, _ in ntfy.requests] == [
                f"app on {host}: rolled-back", f"app on {host}: updated"]
            assert {headers["Authorization"] for _, headers, _ in ntfy.requests} == {"Bearer tk_secret"}
            ntfy.shutdown()
        assert len(post.mails) == 2
        post.shutdown()
    (entry,) = [json.loads(line) for line in device.journal("-o json PULLET_CONTAINER=app MESSAGE_ID=3bdb86002611494b8b767637a6cbd8fb").splitlines()
                if "no database" in line]
    assert entry["MESSAGE"].splitlines()[-1] in ("opening", "no database") and entry["PULLET_DIGEST"].startswith("sha256:")
    # Nobody else reads the secrets, and nothing is left.
    assert "tk_secret" not in device.journal()
    wait_for("the end", lambda: not device.sh("systemctl list-units --no-legend 'pullet-notify@*'").strip(), 60)
    device.sh("rm -r /etc/pullet/notify.d/* /etc/pullet/notify-secrets/* /run/systemd/system/pullet-notify@.service.d; "
              "systemctl daemon-reload")


def test_sandbox_of_a_notification(device):
    """It reaches the network, and neither Docker, the bus, the records nor a secret of others."""
    device.sh("cd /run/pullet/events; echo {} >probe.json; >probe.env; cd /etc; mkdir -p -m 700 credstore")
    assert device.probe(
        "pullet-notify@.service", "send=127.0.0.1", "connect=/run/docker.sock", "connect=/run/dbus/system_bus_socket",
        "connect=/run/pullet/unit.sock", "read=/run/pullet/events", "read=/var/lib/pullet", "read=/var/lib/pulletd",
        "read=/etc/pullet/notify-secrets", "read=/etc/credstore", "write=/etc") == {
            "send 127.0.0.1": "ok", "connect /run/docker.sock": "EACCES", "connect /run/dbus/system_bus_socket": "EACCES",
            "connect /run/pullet/unit.sock": "EACCES", "read /run/pullet/events": "EACCES", "read /var/lib/pullet": "EACCES",
            "read /var/lib/pulletd": "EACCES", "read /etc/pullet/notify-secrets": "EACCES", "read /etc/credstore": "EACCES",
            "write /etc": "EROFS"}


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


def test_broken_at_the_start(device, registry):
    """pulletd runs, says in its status what is wrong and where, logs it once, and goes on as soon as it is mended."""
    conf = device.etc("pullet/conf.d/app.conf")
    good = conf.read_text()
    conf.write_text(good + "hodl = yes\n")
    line = len(conf.read_text().splitlines())
    since = device.sh("date +%s.%N").strip()
    device.sh("systemctl restart pulletd")
    fault = f"/etc/pullet/conf.d/app.conf:{line}: unknown key 'hodl' in [container app]; did you mean 'hold'?"
    wait_for("the status", lambda: device.status().startswith(fault + "; updates are suspended"), pause=0.1)
    told = device.sh("pullet doctor || echo status $?")
    assert f"fault  configuration             {fault}\n       run: editor +{line} /etc/pullet/conf.d/app.conf\n" in told
    assert told.endswith("status 1\n")
    assert fault in device.sh("pullet status 2>&1 || echo status $?")
    assert device.sh("systemctl reload pulletd", check=False) is None
    assert device.show("pulletd", "ActiveState", "NRestarts") == {"ActiveState": "active", "NRestarts": "0"}
    # Once of pulletd; an event that waited for its stop, or a pass under way before the restart, may meet the fault, too.
    told = device.journal(f"--since @{since} -u pulletd -o cat").splitlines()
    assert len([line for line in told if "hodl" in line and "updates are suspended" in line]) == 1, told
    conf.write_text(good)
    device.sh("systemctl reload pulletd")
    device.settle(device.publish(registry))


def test_another_package_brings_a_drop_in(device, tmp_path):
    """dpkg's trigger reloads pulletd; a faulty one is told where it is installed."""
    containers = "pullet status --json | tr , '\\n' | sed -n 's/.*\"container\":\"\\(.*\\)\"/\\1/p'"
    interval = device.etc("pullet/conf.d/app.conf")
    before = interval.read_text()
    interval.write_text(before.replace("interval = 1s", "interval = 1h"))
    device.sh("systemctl reload pulletd")
    for version, more in enumerate(("", "nonsense = 1\n", "")):
        tree = tmp_path / str(version)
        (tree / "etc/pullet/conf.d").mkdir(parents=True)
        (tree / "DEBIAN").mkdir()
        (tree / "DEBIAN/control").write_text(f"Package: acme-fleet\nVersion: {version}\nArchitecture: all\n"
                                             "Maintainer: nobody <n@b.example>\nDescription: a fleet's\n")
        (tree / "etc/pullet/conf.d/50-fleet.conf").write_text(
            f"[container fleet]\nimage = r.example/fleet:{version}\nhold = yes\n{more}")
        run("dpkg-deb", "-b", "--root-owner-group", tree, device.shared / f"fleet{version}.deb")
    device.sh("dpkg -i /lab/fleet0.deb")
    assert device.sh(containers).split() == ["app", "fleet"]
    told = device.sh("dpkg -i /lab/fleet1.deb")
    assert "50-fleet.conf:4: unknown key 'nonsense'" in told, told
    device.sh("dpkg -i /lab/fleet2.deb")
    assert "fleet:2" in device.sh("pullet status --json")
    device.sh("dpkg -P acme-fleet")
    assert device.sh(containers).split() == ["app"]
    interval.write_text(before)
    device.sh("systemctl reload pulletd")


def doctor(device):
    """-> {(subject, command)} of the faults, and all that was said."""
    findings = json.loads(device.sh("pullet doctor --json || true").strip().splitlines()[-1])
    return {(one["subject"], one["command"]) for one in findings if not one["ok"]}, findings


def test_doctor(device, registry, lab):
    """Each planted fault is found and alone, and the command that is named for it mends it, where it is one that needs
    no editor."""
    device.configure(registry)
    conf = device.etc("pullet/conf.d/app.conf")
    conf.write_text(good := conf.read_text().replace("interval = 1s", "interval = 1h"))
    device.sh("systemctl reload pulletd; docker start app")
    faults, findings = doctor(device)
    assert not faults, findings
    assert {"engine", "container app", registry.address, "clock", "disk space", "configuration", "pulletd.service",
            "pullet-update.socket", "pullet-fetch.socket"} == {one["subject"] for one in findings}
    assert any(re.fullmatch(r"docker [\d.]+\S*, API 1\.\d+, store \w+", one["text"]) for one in findings), findings

    body = "/etc/pullet/conf.d/app.json"
    for plant, subject, command in (
            ("systemctl stop docker.socket docker", "engine", "systemctl start docker"),
            ("gpasswd -d pullet-update docker", "engine", "usermod --append --groups docker pullet-update"),
            ("systemctl stop pulletd", "pulletd.service", "systemctl start pulletd.service"),
            ("systemctl stop pullet-unit.socket", "pullet-unit.socket", "systemctl start pullet-unit.socket"),
            (f"chmod 600 {body}", "configuration", f"chmod a+r {body}"),
            ("chmod 600 /etc/pullet/conf.d/app.conf", "configuration", "chmod a+r /etc/pullet/conf.d/app.conf"),
            (f"chmod 666 {body}", "configuration", f"chmod go-w {body}"),
            ("docker pause app", "container app", "docker unpause app"),
            ("docker stop app", "container app", "docker start app"),
            ("chown root:root /var/lib/pullet/app.json; chmod 600 /var/lib/pullet/app.json", "records",
             "chown pullet-update:pullet /var/lib/pullet/app.json"),
            ("echo '{' >/var/lib/pullet/app.json", "records", "pullet check app")):
        device.sh(plant)
        faults, findings = doctor(device)
        assert faults == {(subject, command)}, (plant, findings)
        device.sh(command)
    assert doctor(device)[0] == set()

    # The rest takes an editor, or what the operator has.
    tls = Registry(lab, name="doctor-tls", tls=True)
    private = Registry(lab, name="doctor-private", user=("me", "secret"))
    for one in (tls, private):
        device.publish(one)
    shutil.copy(tls.ca, device.etc("pullet/ca.pem"))
    shutil.copy(tls.ca, device.etc("../root/ca.pem"))
    with_ca = f"[registry {tls.address}]\nca = /etc/pullet/ca.pem\n"
    device.sh("docker run -d --name shop-api-1 --network none --label com.docker.compose.service=api "
              f"{registry.ref('app:stable')}")
    at = len(good.splitlines()) + 1
    lan = registry.address.replace("127.0.0.1", "registry.lan")
    device.sh("grep -q registry.lan /etc/hosts || echo 127.0.0.1 registry.lan >>/etc/hosts")
    for more, expected in (
            (f"[container api]\nimage = {registry.ref('app:stable')}\n",
             {("container api", f"editor +{at} /etc/pullet/conf.d/app.conf")}),
            (f"[container shop-api-1]\nimage = {registry.ref('app:none')}\n",
             {(registry.address, f"editor +{at} /etc/pullet/conf.d/app.conf")}),
            (f"[container shop-api-1]\nimage = {private.ref('app:stable')}\n",
             {(private.address, f"pullet login {private.address}")}),
            ("[container shop-api-1]\nimage = 127.0.0.1:9/app\n",
             {("127.0.0.1:9", "curl -v https://127.0.0.1:9/v2/")}),
            (f"[container shop-api-1]\nimage = {tls.ref('app:stable')}\n",
             {(tls.address, f"install -D -m 644 CA.pem /etc/docker/certs.d/{tls.address}/ca.crt")}),
            (f"[container shop-api-1]\nimage = {tls.ref('app:stable')}\n{with_ca}",
             {(tls.address, f"install -D -m 644 /etc/pullet/ca.pem /etc/docker/certs.d/{tls.address}/ca.crt")}),
            (f"[container shop-api-1]\nimage = {tls.ref('app:stable')}\n{with_ca.replace('etc/pullet', 'root')}",
             {("configuration", "mv /root/ca.pem /etc/pullet/"), (tls.address, "pullet config check"),
              (tls.address, f"install -D -m 644 /root/ca.pem /etc/docker/certs.d/{tls.address}/ca.crt")}),
            (f"[container shop-api-1]\nimage = {lan}/app:stable\n[registry {lan}]\ninsecure = yes\n",
             {(lan, "editor /etc/docker/daemon.json && systemctl reload docker")}),
            (f"[agent]\nnotify = nowhere@.service\n[container shop-api-1]\nimage = {registry.ref('app:stable')}\n"
             "before-unit = nowhere@.service\nhealth-unit = nowhere.service\n",
             {(f"nowhere{of}.service", f"systemctl cat nowhere{of}.service") for of in ("@0", "@shop-api-1", "")}),
            (f"[container shop-api-1]\nimage = {registry.ref('app:stable')}\ncreate = none.json\n",
             {("configuration", f"editor +{at + 2} /etc/pullet/conf.d/app.conf")})):
        conf.write_text(good + more)
        faults, findings = doctor(device)
        assert faults == expected, (more, findings)
    device.sh(f"install -D -m 644 /etc/pullet/ca.pem /etc/docker/certs.d/{tls.address}/ca.crt")
    conf.write_text(f"{good}[container shop-api-1]\nimage = {tls.ref('app:stable')}\n{with_ca}")
    assert doctor(device)[0] == set()
    assert "only root" in device.sh("pullet doctor || true", user="nobody")
    none = "/etc/pullet/none.conf"
    assert device.sh(f"pullet --config {none} config check || true") == f"{none}: No such file or directory\n1 error\n"
    device.sh("docker rm -f shop-api-1")
    device.configure(registry)
    device.sh("systemctl reload pulletd")
    device.settle(device.publish(registry))


def test_what_runs_is_adopted(device, registry):
    """Every user may look, root writes, the services read it, and nobody restarts anything."""
    names = ["four", "one", "three", "two"]
    for name in names:
        device.sh(f"docker run -d --network none --restart always --name {name} {device.ref(registry)}")
    sections = "".join(f"[container {name}]\nimage = {device.ref(registry)}\n\n" for name in names)
    assert device.sh("pullet adopt", user="nobody") == sections
    assert device.sh("pullet adopt --write") == "".join(f"{name}: followed now\n" for name in names)
    wait_for("all to be seen", lambda: all(one["current"] for one in json.loads(device.sh("pullet status --json"))))

    def rest():  # a poll may be under way
        shown = device.sh("pullet status")
        return all(re.search(f"^{name} .*up to date", shown, re.M) for name in ["app", *names]) and shown

    shown = wait_for("all to be up to date", rest)
    assert "not followed" not in shown and device.sh("pullet config check")
    device.sh(f"rm /etc/pullet/conf.d/adopted.conf; systemctl reload pulletd; docker rm -f {' '.join(names)}")


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


def test_a_login(device, lab):
    """It counts from the next check on, for the service and for root's commands, and only the two units that need it read
    it. Once the machine has a key it is encrypted, and what cannot be decrypted any more is told with its file."""
    private = Registry(lab, name="own", tls=True, user=("me", "secret"))
    name, login = private.address.replace(":", "_") + ".json", f"pullet login {private.address} "
    device.sh(f"mkdir -p /etc/docker/certs.d/{private.address}")  # for the engine, and for Pullet
    device.write(f"/etc/docker/certs.d/{private.address}/ca.crt", pathlib.Path(private.ca).read_text())
    device.configure(private)
    version = device.publish(private)
    device.sh("systemctl reload pulletd")
    assert login.strip() in device.sh("pullet check app 2>&1 || true")
    assert f"auth.d/{name}" in device.sh(f"echo secret | {login} --user me")
    device.sh("pullet update app")  # without a restart
    device.settle(version)
    assert "nothing was written" in device.sh(f"echo wrong | {login} --user me 2>&1 || true")
    # A helper renews it.
    device.write("/usr/local/bin/docker-credential-fake", "#!/bin/sh\nread host || true\n"
                 "echo '{\"ServerURL\":\"'$host'\",\"Username\":\"me\",\"Secret\":\"secret\"}'\n")
    for unit in (TOP / "packaging/examples").glob("refresh-credentials@.*"):  # the machine has no /usr/share/doc
        device.write(f"/etc/systemd/system/{unit.name}", unit.read_text())
    for half in ("fetch", "update"):
        device.sh(f"mkdir -p /etc/systemd/system/pullet-{half}@.service.d")
        device.write(f"/etc/systemd/system/pullet-{half}@.service.d/encrypted-logins.conf",
                     (TOP / "packaging/examples/encrypted-logins.conf").read_text())
    device.sh("chmod +x /usr/local/bin/docker-credential-fake; systemd-creds setup 2>/dev/null; "
              "mkdir -p /run/systemd/system/refresh-credentials@.service.d; "
              "printf '[Service]\\nEnvironment=HELPER=fake\\n' >/run/systemd/system/refresh-credentials@.service.d/a.conf; "
              f"systemctl daemon-reload; systemctl start refresh-credentials@{private.address}.service")
    assert device.sh("cd /etc/pullet; stat -c '%n %U %a' auth.d*/*").strip() == f"auth.d.encrypted/{name} root 600"
    assert b"secret" not in (device.etc("pullet/auth.d.encrypted") / name).read_bytes()
    for user in ("pullet", "pullet-update", "pullet-fetch"):
        assert device.sh(f"cat /etc/pullet/auth.d.encrypted/{name}", user=user, check=False) is None
    assert set(device.probe("pulletd.service", "read=/run/credentials/probe-pulletd.service",
                            "read=/etc/pullet/auth.d").values()) <= {"EACCES", "ENOENT"}
    device.sh(f"pullet verify {private.address}/app:stable")
    version = device.publish(private)
    device.sh("pullet update app")
    device.settle(version)
    assert "Couldn't read" not in device.journal()
    # The key of the machine is lost.
    device.sh("rm /var/lib/systemd/credential.secret; systemd-creds setup 2>/dev/null")
    assert "see: pullet config check" in device.sh("pullet check app 2>&1 || true")
    assert f"auth.d.encrypted/{name}: " in device.sh("pullet config check 2>&1 || true")
    device.sh(f"echo secret | {login} --user me; pullet check app; pullet logout {private.address}")


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


def test_installed_again_with_what_was_left(device):
    """The first pass after a purge finds the configuration that an operator left, and has Docker's group already."""
    since = device.sh("date +%s.%N").strip()
    device.sh("apt-get install -y --no-install-recommends /lab/two.deb")
    wait_for("the record", lambda: device.record()["phase"] == "idle", device.patience, device.pause)
    told = device.journal(f"--since @{since} -u 'pullet*' -p warning")
    assert "ermission denied" not in told, told
    assert device.inspect()["State"]["Running"]
