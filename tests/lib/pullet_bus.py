# SPDX-License-Identifier: MIT
"""A private system bus, a fake polkit with chosen answers, and a listener for signals. The client is busctl."""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import threading
import types

from pullet_agent import Pullet
from pullet_lab import TOP
from pullet_sweep import LabError, stop_process, tail, wait_for

NAME, PATH = "org.pullet.Agent1", "/org/pullet/Agent1"
CONTAINER = NAME + ".Container"

# As /usr/share/dbus-1/system.conf: what no policy allows is refused.
CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
    <allow send_destination="org.freedesktop.PolicyKit1"/>
  </policy>
  <policy user="root">
    <allow own="org.freedesktop.PolicyKit1"/>
    <allow send_destination="org.freedesktop.DBus"
           send_interface="org.freedesktop.DBus.Monitoring"/>
  </policy>
  <include>{policy}</include>
</busconfig>
"""


class CallError(Exception):
    """The error of a method call."""


def path_of(name):
    """The object path of a container."""
    return PATH + "/container/" + "".join(
        c if c.isalpha() or (c.isdigit() and n) else f"_{ord(c):02x}" for n, c in enumerate(name))


def plain(value):
    """busctl's {"type", "data"} without the types."""
    if isinstance(value, dict) and set(value) == {"type", "data"}:
        return plain(value["data"])
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value


class Bus:
    def __init__(self, lab, name="bus", start=True):
        self.lab, self.directory = lab, lab.path(name)
        self.directory.mkdir()
        os.chmod(lab.directory, 0o711)  # for other users
        self.socket = self.directory / "socket"
        self.address = f"unix:path={self.socket}"
        self.environment = {"DBUS_SYSTEM_BUS_ADDRESS": self.address}
        (self.directory / "bus.conf").write_text(CONFIG.format(
            socket=self.socket, policy=TOP / "systemd/org.pullet.Agent1.conf"))
        self.process = None
        lab.add(self)
        if start:
            self.start()

    def start(self):
        with contextlib.suppress(FileNotFoundError):
            self.socket.unlink()
        self.process = self.lab.spawn(
            ["dbus-daemon", "--config-file", self.directory / "bus.conf", "--nofork", "--nopidfile",
             "--nosyslog"], log=self.directory / "log")
        wait_for("the bus", self.socket.exists)

    def stop(self):
        stop_process(self.process, 5)

    def busctl(self, *arguments, user=None, timeout=60):
        """-> the reply, parsed. Raises CallError with the error's text."""
        done = subprocess.run(
            ["busctl", "--system", "--json=short", f"--timeout={timeout}", *map(str, arguments)],
            env={**self.lab.environment, **self.environment}, capture_output=True, text=True,
            check=False, user=user, extra_groups=[] if user else None)
        if done.returncode:
            raise CallError(done.stderr.strip())
        return plain(json.loads(done.stdout)) if done.stdout.strip() else None

    def has(self, name=NAME):
        try:
            return self.busctl("call", "org.freedesktop.DBus", "/org/freedesktop/DBus",
                               "org.freedesktop.DBus", "NameHasOwner", "s", name)[0]
        except CallError:
            return False

    def wait_for_pulletd(self):
        wait_for("pulletd on the bus", self.has)

    def order(self, method, name="app", **options):
        return self.busctl("call", NAME, path_of(name), CONTAINER, method, **options)

    def properties(self, name="app", **options):
        return self.busctl("call", NAME, path_of(name), "org.freedesktop.DBus.Properties", "GetAll",
                           "s", CONTAINER, **options)[0]

    def objects(self):
        """Names of all containers."""
        return sorted(interfaces[CONTAINER]["Name"] for interfaces in self.busctl(
            "call", NAME, PATH, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")[0].values()
            if CONTAINER in interfaces)

    @contextlib.contextmanager
    def listener(self):
        with Listener(self) as listener:
            yield listener


class Listener:
    """Collects the signals of pulletd: (member, path, arguments)."""

    def __init__(self, bus):
        self.signals, self.process = [], subprocess.Popen(
            ["busctl", "--system", "--json=short", "monitor",
             f"--match=type='signal',path_namespace='{PATH}'"],
            env={**bus.lab.environment, **bus.environment}, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)
        # It prints a line when it listens.
        line = self.process.stderr.readline()
        if "Monitoring" not in line:
            raise LabError(f"busctl monitor: {line}")
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self._thread.join()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()

    def _read(self):
        for line in self.process.stdout:
            message = json.loads(line)
            self.signals.append((message["member"], message["path"],
                                 plain(message["payload"]["data"])))

    def changes(self, key, name="app"):
        """All announced values of a property, in order."""
        return [arguments[1][key] for member, path, arguments in list(self.signals)
                if member == "PropertiesChanged" and path == path_of(name) and key in arguments[1]]

    def finished(self, operation, name="app"):
        """Results of all Finished signals."""
        return [json.loads(arguments[1]) for member, path, arguments in list(self.signals)
                if member == "Finished" and path == path_of(name) and arguments[0] == operation]

    def wait_finished(self, operation, name="app", number=1, seconds=60):
        wait_for(f"the end of {operation}",
                 lambda: len(self.finished(operation, name)) >= number, seconds)
        return self.finished(operation, name)[number - 1]


class Polkit:
    """answer: yes, no, challenge, error or silence."""

    def __init__(self, bus, answer):
        program = bus.lab.path("fake-polkit")
        if not program.exists():
            flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libsystemd"], check=True,
                                   capture_output=True, text=True).stdout.split()
            subprocess.run(["cc", "-o", program, TOP / "tests/lib/fake-polkit.c", *flags], check=True)
        self.log = bus.directory / f"polkit-{answer}"
        self.log.write_text("")
        self.process = bus.lab.spawn([program, answer], log=self.log, env=bus.environment)
        wait_for("polkit", lambda: self.log.read_text().startswith("ready"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        stop_process(self.process, 5)

    @property
    def questions(self):
        """(action, container, subject, flags) of each."""
        return [tuple(line.split(" ")) for line in self.log.read_text().splitlines()[1:]]


def interfaces(xml):
    """Interface -> its members, each as a tuple of strings, for comparing. Comments do not count."""
    found = {}
    xml = re.sub(r"<!--.*?-->", "", xml, flags=re.S)
    for name, body in re.findall(r'<interface name="([^"]+)">(.*?)</interface>', xml, re.S):
        members = set()
        for kind, head, rest in re.findall(
                r"<(method|signal|property)\s+([^>]*?)(?:/>|>(.*?)</\1>)", body, re.S):
            arguments = tuple(sorted(re.findall(r'(\w+)="([^"]*)"', head)))
            inner = tuple(tuple(sorted(re.findall(r'(\w+)="([^"]*)"', one)))
                          for one in re.findall(r"<(?:arg|annotation)\s+([^>]*?)/>", rest))
            members.add((kind, arguments, inner))
        found[name] = members
    return found


def hanging_engine(lab, name):
    """An engine that accepts connections and never answers: its path, and a function that stops it."""
    import socket
    path = lab.path(name)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(16)
    return path, listener


def write_record(state, name, **fields):
    """Writes a record as pullet-update does, in phase idle."""
    record = {"version": 1, "phase": "idle", "current": None, "previous": None, "rejected": [],
              "held": False, "last_error": None, "downtime_ms": -1, **fields}
    pathlib.Path(state).mkdir(mode=0o700, exist_ok=True)
    (pathlib.Path(state) / f"{name}.json").write_text(json.dumps(record))


# --- pulletd on the bus -------------------------------------------------------------------------


def idle_pullet(lab, name):
    """A Pullet without an engine that polls once an hour."""
    pullet = Pullet(lab, types.SimpleNamespace(url=f"unix://{lab.path('no-engine')}"), name)
    configure(pullet, "app")
    return pullet


def configure(pullet, *names, **agent):
    pullet.configure({name: {"image": f"127.0.0.1:1/{name}:stable"} for name in names},
                     agent={"interval": "1h", **agent})


@contextlib.contextmanager
def resident(pullet, bus, rest=True):
    """pulletd on this bus, after the first jobs have ended, or without rest at once."""
    with open(pullet.directory / "pulletd.log", "ab") as out:
        process = pullet.spawn(stdout=out, stderr=out, env=bus.environment)
    process.log = pullet.directory / "pulletd.log"
    try:
        if bus.process and bus.process.poll() is None:
            bus.wait_for_pulletd()
            wait_for("rest", lambda: not rest or bus.properties()["NextCheck"] > 0)
        yield process
        assert process.poll() is None, tail(process.log)
        stop_process(process, 15)
        assert process.returncode == 0, tail(process.log)
    finally:
        pullet.kill9(process)
