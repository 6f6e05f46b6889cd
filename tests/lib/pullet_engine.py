# SPDX-License-Identifier: MIT
"""A private engine: a containerd and dockerd, or what PULLET_ENGINE names."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.parse

import pullet_engines
from pullet_lab import mount_cgroups
from pullet_sweep import LabError, stop_process, sweep, tail, wait_for
from pullet_versions import VersionProxy


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("engine", timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Engine:
    """A private containerd and dockerd, or what PULLET_ENGINE names. Without a bridge: containers use
    network none or host. storage is a directory for the data that survives a power cut, if it is not the engine's
    own."""

    def __init__(self, lab, name="engine", storage=None):
        if os.geteuid() != 0:
            raise LabError("an engine of one's own needs root")
        self.lab = lab
        self.directory = lab.path(name)
        self.directory.mkdir()
        self.storage = storage or self.directory
        self.socket = str(self.directory / "docker.sock")
        self.url = "unix://" + self.socket
        self.log = self.directory / "dockerd.log"
        self.version = None
        self.process = self.containerd = self.namespace = self.proxy = None
        self.enter = []  # what comes before a command that runs where the engine does
        mount_cgroups(lab)
        lab.add(self)
        self.power_on()

    def power_on(self):
        """Starts everything, as at boot."""
        try:
            self.kind = pullet_engines.chosen()
            if self.kind.suite:
                self.namespace = pullet_engines.Namespace(self.lab, self.kind)
                self.enter = self.namespace.enter
                wait_for("the engine's namespace", self.namespace.ready)
        except pullet_engines.EngineError as error:
            raise LabError(str(error)) from None
        if self.kind.program == "dockerd":
            self._start_containerd()
        self.lab.announce()
        self.start()

    def power_off(self):
        """Kills everything at once, and removes what a machine keeps in memory."""
        sweep(self.directory)
        for process in (self.process, self.containerd):
            if process:
                process.wait()
        self._stop_proxy()
        if self.namespace:
            self.namespace.stop()
        for path in self.directory.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.suffix != ".log":
                path.unlink()

    def spawn(self, command, log):
        return self.lab.spawn([*self.enter, *command], log=log)

    def _start_containerd(self):
        # A private one, because dockerd would otherwise use the machine's.
        config, log = self.directory / "containerd.toml", self.directory / "containerd.log"
        address = self.directory / "containerd.sock"
        config.write_text(
            f'version = 2\nroot = "{self.storage}/containerd"\nstate = "{self.directory}/state"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]\n'
            f'[grpc]\naddress = "{address}"\n[ttrpc]\naddress = "{address}.ttrpc"\n')
        self.containerd = self.spawn(["containerd", "--config", config], log)
        self._wait(self.containerd, address, log)

    @staticmethod
    def _wait(process, path, log, ready=os.path.exists):
        def condition():
            if process.poll() is not None:
                raise LabError(f"{process.args[0]} ended with status {process.returncode}:\n"
                               + tail(log))
            return ready(path)

        try:
            wait_for(f"{path} to appear", condition, 60)
        except LabError as error:
            raise LabError(f"{error}\n{tail(log)}") from None

    def trust(self, registries):
        if self.kind.program != "podman" or (self.process and self.process.poll() is not None):
            return
        pullet_engines.trust(self.namespace, registries)
        if self.process:
            self.restart()

    def _command(self, url):
        if self.kind.program == "podman":
            return pullet_engines.podman(self.namespace, self.storage, url)
        config = self.directory / "daemon.json"
        config.write_text(json.dumps(
            {"features": {"containerd-snapshotter": True}} if self.kind.containerd_store else {}))
        return ["dockerd", "--config-file", config, "--containerd",
                self.directory / "containerd.sock", "--data-root", self.storage / "data",
                "--exec-root", self.directory / "exec", "--host", url,
                "--pidfile", self.directory / "pid", "--bridge", "none", "--iptables=false"]

    def start(self):
        real = self.socket + (".real" if self.kind.minimum else "")
        self.process = self.spawn(self._command("unix://" + real), self.log)
        if self.kind.minimum:
            self.proxy = VersionProxy(self.socket, real, self.kind.minimum)
        self._wait(self.process, self.socket, self.log, self._answers)
        version = self.call("GET", "/version", versioned=False)
        newest = tuple(map(int, version["ApiVersion"].split(".")))
        self.version = "v%d.%d" % min(newest, (1, 44))
        self.release = version["Version"]

    def _answers(self, _path):
        try:
            return self.request("GET", "/_ping", versioned=False, timeout=5)[0] == 200
        except OSError:
            return False

    def stop(self):
        """Stops everything, including the containers."""
        self.stop_daemon()
        stop_process(self.containerd, 5)
        sweep(self.directory)
        if self.namespace:
            self.namespace.stop()

    def _stop_proxy(self):
        if self.proxy:
            self.proxy.stop()
            self.proxy = None

    def stop_daemon(self):
        """Stops as `systemctl stop docker` does: the containers first, then the engine."""
        stop_process(self.process, 30)
        self._stop_proxy()

    def kill9(self):
        """Kills dockerd; the containers and containerd keep running."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._stop_proxy()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.directory / "pid")

    def restart(self):
        self.stop_daemon()
        self.start()

    # -- its HTTP interface

    def request(self, method, path, body=None, headers=None, timeout=120, versioned=True):
        """-> (status, parsed JSON, or text). A stream of objects comes back as a list."""
        connection = _UnixConnection(self.socket, timeout)
        headers = dict(headers or {})
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, (f"/{self.version}" if versioned else "") + path, body=body,
                               headers=headers)
            response = connection.getresponse()
            data, kind = response.read(), response.headers.get("Content-Type", "")
        finally:
            connection.close()
        if "json" not in kind:
            return response.status, data
        try:
            return response.status, json.loads(data) if data.strip() else None
        except ValueError:
            return response.status, [json.loads(line) for line in data.splitlines() if line.strip()]

    def call(self, method, path, body=None, **options):
        """request() that raises on an error and returns the answer alone."""
        status, answer = self.request(method, path, body, **options)
        if status >= 400:
            raise LabError(f"engine: {method} {path}: {status} {answer}")
        return answer

    def inspect(self, name):
        """None if there is no such container."""
        status, answer = self.request("GET", f"/containers/{name}/json")
        if status == 404:
            return None
        if status != 200:
            raise LabError(f"engine: inspect {name}: {status} {answer}")
        if self.kind.program == "podman":
            pullet_engines.mend_inspect(answer)
        return answer

    def inspect_image(self, name):
        status, answer = self.request("GET", f"/images/{name}/json")
        return answer if status == 200 else None

    def containers(self):
        """name -> state ("running", "exited", "created", "paused", ...) of all."""
        return {entry["Names"][0].lstrip("/"): entry["State"]
                for entry in self.call("GET", "/containers/json?all=1")}

    def running(self):
        return sorted(name for name, state in self.containers().items() if state == "running")

    def logs(self, name):
        data = self.call("GET", f"/containers/{name}/logs?stdout=1&stderr=1")
        out = b""
        while data:  # 8 bytes of header, the last 4 of them the length
            size = int.from_bytes(data[4:8], "big")
            out += data[8:8 + size]
            data = data[8 + size:]
        return out.decode(errors="replace")

    def events(self, since, until=None):
        """Container events between two time.time() values, oldest first. The engine keeps the
        last 64 to 256 of all its events."""
        until = until or time.time()
        query = {"since": f"{since:.9f}", "until": f"{until:.9f}",
                 "filters": json.dumps({"type": ["container"]})}
        if self.kind.program == "podman":  # with an end in the past it stops anywhere
            query["stream"] = "false"
            del query["until"]
        answer = self.call("GET", "/events?" + urllib.parse.urlencode(query))
        if answer is None or answer == b"":
            return []
        answer = answer if isinstance(answer, list) else [answer]
        for event in answer:
            event["Action"] = {"remove": "destroy"}.get(event["Action"], event["Action"])  # podman
        return [event for event in answer if event["timeNano"] <= until * 10**9]

    def pull(self, reference, headers=None):
        """reference: HOST/NAME:TAG or HOST/NAME@DIGEST."""
        name, tag = reference.split("@") if "@" in reference else reference.rsplit(":", 1)
        answer = self.call("POST", "/images/create?" + urllib.parse.urlencode(
            {"fromImage": name, "tag": tag}), headers=headers)
        if isinstance(answer, bytes):  # podman sends no Content-Type of JSON
            answer = [json.loads(line) for line in answer.splitlines() if line.strip()]
        for entry in answer if isinstance(answer, list) else [answer]:
            if entry and "errorDetail" in entry:
                raise LabError(f"engine: pull {reference}: {entry['errorDetail']}")

    def create(self, name, image, **body):
        host = {"NetworkMode": "none", **body.pop("HostConfig", {})}
        return self.call("POST", f"/containers/create?name={name}",
                         {"Image": image, "HostConfig": host, **body})["Id"]

    def run(self, name, image, **body):
        identity = self.create(name, image, **body)
        self.call("POST", f"/containers/{name}/start")
        return identity

    def docker(self, *arguments):
        """Runs the docker command of the engine's own suite."""
        done = subprocess.run([*self.enter, "docker", "-H", self.url, *arguments], check=False,
                              capture_output=True, text=True,
                              env={**self.lab.environment, "DOCKER_CONTEXT": ""})
        if done.returncode:
            raise LabError(f"docker {' '.join(arguments)}: {done.stderr}")
        return done.stdout.strip()

    def remove_container(self, name):
        if self.kind.program == "podman":  # which removes no container whose namespaces others share
            self.request("DELETE", f"/v4.0.0/libpod/containers/{name}?force=1&v=1&depend=1",
                         versioned=False)
        else:
            self.request("DELETE", f"/containers/{name}?force=1&v=1")

    def clear(self):
        """Removes all containers and all images."""
        for name in self.containers():
            self.remove_container(name)
        for image in self.call("GET", "/images/json?all=1"):
            self.request("DELETE", f"/images/{image['Id']}?force=1")

    def tags(self):
        """tag -> image id"""
        return {tag: image["Id"] for image in self.call("GET", "/images/json")
                for tag in image["RepoTags"] or [] if tag != "<none>:<none>"}

    def wait(self, name, condition, seconds=60, what=None):
        """Waits until condition(inspect) holds; returns that inspect."""
        def look():
            answer = self.inspect(name)
            return answer if answer and condition(answer) else None

        return wait_for(what or f"container {name} to get there", look, seconds)
