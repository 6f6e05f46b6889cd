# SPDX-License-Identifier: MIT
"""A temporary directory with a private engine, a private registry and the agent, which is removed however the test
ends. They are in pullet_engine, pullet_registry and pullet_agent; the removal is in pullet_sweep.

    with Lab() as lab:
        engine, registry = Engine(lab), Registry(lab)
        image = registry.publish("app", "stable", actor("wait"))
        pullet = Pullet(lab, engine)
        pullet.configure({"app": {"image": registry.ref("app:stable"), "create": {...}}})
        print(pullet.once().results)

Nothing here touches an engine of the machine. Standard library only; root is needed.
"""

import atexit
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile

import pullet_sweep
from pullet_sweep import CGROUPS, MARK, LabError, remove

TOP = pathlib.Path(__file__).resolve().parents[2]


class Lab:
    """A temporary directory with its processes. close() stops them in reverse order; a guard process does it if this
    program is killed before."""

    def __init__(self, parent=None):
        # Short on purpose: a unix socket's path has 107 characters at most.
        base = parent or tempfile.gettempdir()
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="pullet-", dir=base)).resolve()
        if len(str(self.directory)) > 60:
            os.rmdir(self.directory)
            self.directory = pathlib.Path(tempfile.mkdtemp(prefix="pullet-", dir="/tmp")).resolve()
        self.environment = {name: value for name, value in os.environ.items()
                            if not name.lower().endswith("_proxy")
                            and not name.startswith(("DOCKER_", "REGISTRY_"))}
        self.environment["PATH"] = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
        if os.environ.get("PULLET_ENGINE_PATH"):  # another engine than the machine's
            self.environment["PATH"] = (os.environ["PULLET_ENGINE_PATH"] + ":"
                                        + self.environment["PATH"])
        self.environment[MARK] = str(self.directory)
        self._resources = []
        self._registries = []
        self._guard = subprocess.Popen(
            [sys.executable, pullet_sweep.__file__, str(self.directory)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True, close_fds=True)
        atexit.register(self.close)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def add(self, resource):
        self._resources.append(resource)
        return resource

    def path(self, name):
        return self.directory / name

    def announce(self, registry=None):
        """Tells the engine of a registry's address: docker accepts any on loopback, other engines need configuration."""
        self._registries += [registry] if registry else []
        for engine in self._resources:
            if hasattr(engine, "trust"):
                engine.trust(self._registries)

    def spawn(self, command, log=None, **options):
        """Starts a process in a session of its own, so that its whole group can be stopped."""
        binary = shutil.which(command[0], path=self.environment["PATH"])
        if not binary:
            raise LabError(f"{command[0]} is not installed")
        out = open(log, "ab") if log else subprocess.DEVNULL
        try:
            return subprocess.Popen(
                [binary, *map(str, command[1:])], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                env={**self.environment, **options.pop("env", {})}, start_new_session=True,
                **options)
        finally:
            if log:
                out.close()

    def close(self):
        atexit.unregister(self.close)
        while self._resources:
            try:
                self._resources.pop().stop()
            except Exception as error:  # the rest must be stopped all the same
                print(f"taking down: {error}", file=sys.stderr)
        remove(self.directory, spare={self._guard.pid})
        if self._guard.poll() is None:
            self._guard.stdin.close()
            self._guard.wait()


def mount_cgroups(lab):
    """Mounts cgroups where the machine has none; they are unmounted with the Lab."""
    if any(CGROUPS.iterdir() if CGROUPS.is_dir() else ()):
        return
    done = subprocess.run(["mount", "-t", "cgroup2", "cgroup2", str(CGROUPS)],
                          capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError("no cgroups are mounted on /sys/fs/cgroup, and mounting them failed: "
                       + done.stderr.strip())

    class Mounted:
        @staticmethod
        def stop():
            subprocess.run(["umount", "-l", str(CGROUPS)], check=False)

    lab.add(Mounted())


_ports = []


def free_port():
    """A port that refuses connections, and that nobody gets but a server that is told of it: it stays bound, also while
    that server is down."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    _ports.append(held)
    return held.getsockname()[1]
