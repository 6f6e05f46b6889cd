# SPDX-License-Identifier: MIT
"""A private engine, a private registry and the agent, brought up in a temporary directory and
taken down whatever happens. Used by tests/engine, tests/bench and packaging/demo.

    with Lab() as lab:
        engine, registry = Engine(lab), Registry(lab)
        image = registry.publish("app", "stable", actor("wait"))
        pullet = Pullet(lab, engine)
        pullet.configure({"app": {"image": registry.ref("app:stable"), "create": {...}}})
        print(pullet.once().results)

Nothing here touches an engine of the machine. Standard library only; root is needed.
"""

import atexit
import base64
import contextlib
import ctypes
import ctypes.util
import hashlib
import http.client
import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import uuid
from dataclasses import dataclass

import pullet_engines
from pullet_image import (  # noqa: F401 (handed on)
    USER_AGENT, Image, Published, RegistryClient, actor, host_platform, program)
from pullet_versions import VersionProxy

TOP = pathlib.Path(__file__).resolve().parents[2]
CGROUPS = pathlib.Path("/sys/fs/cgroup")
MARK = "PULLET_LAB"  # in the environment of everything we start


class LabError(Exception):
    """The machine cannot do what a test needs; the text says what and why."""


# --- processes ---------------------------------------------------------------------------------


def processes_of(directory):
    """Everything that runs on behalf of directory: its path on the command line or in MARK of the
    environment, and all descendants of those."""
    needle, mine = os.fsencode(directory), set()
    parents = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            command = pathlib.Path("/proc", entry, "cmdline").read_bytes()
            stat = pathlib.Path("/proc", entry, "stat").read_text()
            try:
                environment = pathlib.Path("/proc", entry, "environ").read_bytes()
            except PermissionError:
                environment = b""
        except OSError:
            continue
        state, parent = stat.rpartition(")")[2].split()[:2]
        if state == "Z":
            continue
        parents[int(entry)] = int(parent)
        if needle in command or os.fsencode(MARK + "=") + needle in environment:
            mine.add(int(entry))
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in mine} - mine
        mine |= more
        grown = bool(more)
    return mine


def _own_line():
    """This process and its ancestors: never to be ended by us."""
    line, pid = set(), os.getpid()
    while pid > 1:
        line.add(pid)
        try:
            stat = pathlib.Path("/proc", str(pid), "stat").read_text()
        except OSError:
            break
        pid = int(stat.rpartition(")")[2].split()[1])
    return line


def sweep(directory, spare=()):
    """Ends what still runs for directory, unmounts what is mounted in it. -> pids that stay."""
    keep = _own_line() | set(spare)
    left = set()
    for _ in range(100):
        left = processes_of(directory) - keep
        if not left:
            break
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    libc = ctypes.CDLL(None, use_errno=True)
    mounts = []
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        where = line.split()[4].encode().decode("unicode_escape")
        if where.startswith(os.fspath(directory) + "/"):
            mounts.append(where)
    for where in reversed(mounts):
        libc.umount2(os.fsencode(where), 2)  # MNT_DETACH
    return left


def remove_cgroups(containers):
    """Those of containers that run no more, by their ids."""
    for identity in containers:
        for where in (*CGROUPS.glob("*/docker/" + identity), *CGROUPS.glob("docker/" + identity)):
            with contextlib.suppress(OSError):
                where.rmdir()


def remove(directory, spare=()):
    """sweep(), then the directory itself and the cgroups of its containers go too."""
    directory = pathlib.Path(directory)
    sweep(directory, spare)
    remove_cgroups(path.name for path in directory.glob("*/data/containers/*"))
    for _ in range(20):
        shutil.rmtree(directory, ignore_errors=True)
        if not directory.exists():
            return
        time.sleep(0.05)


def stop_process(process, seconds=10.0, sign=signal.SIGTERM):
    """SIGTERM, then SIGKILL to its whole process group."""
    if process is None or process.poll() is not None:
        return
    process.send_signal(signal.SIGCONT)
    process.send_signal(sign)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(what, condition, seconds=60.0, pause=0.02):
    """Returns condition()'s first true value. For what has no event to wait for."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise LabError(f"waited {seconds:g} s in vain: {what}")
        time.sleep(pause)


def tail(path, lines=15):
    try:
        return "\n".join(pathlib.Path(path).read_text(errors="replace").splitlines()[-lines:])
    except OSError as error:
        return str(error)


def handle_signals():
    """SIGTERM and SIGHUP end this program like Ctrl-C: through every finally and atexit."""
    def leave(number, _frame):
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)


# --- the laboratory ----------------------------------------------------------------------------


class Lab:
    """A temporary directory and what lives in it. close() stops things in reverse order; a small
    guard process does it when this program is killed before it can."""

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
            [sys.executable, os.path.abspath(__file__), "guard", str(self.directory)],
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
        """A registry's address: docker's engine takes any on loopback, another one must be told."""
        self._registries += [registry] if registry else []
        for engine in self._resources:
            if isinstance(engine, Engine):
                engine.trust(self._registries)

    def spawn(self, command, log=None, **options):
        """A process of ours in a session of its own, so that its group can be ended as a whole."""
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
            except Exception as error:  # the rest must go down all the same
                print(f"taking down: {error}", file=sys.stderr)
        remove(self.directory, spare={self._guard.pid})
        if self._guard.poll() is None:
            self._guard.stdin.close()
            self._guard.wait()


def _guard(directory):
    """Sleeps until the pipe from the laboratory closes, which it does however that one ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.read(0, 4096):
        pass
    if os.path.isdir(directory):
        remove(directory)


def mount_cgroups(lab):
    """Mounts cgroups where the machine has none; unmounted again with the laboratory."""
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


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# --- the engine --------------------------------------------------------------------------------


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
    network none or host. storage is a directory for what outlives the machine's power, if that shall
    not be in the engine's own."""

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
        """Everything from nothing, as at boot."""
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
        """Everything is dead at once, and what a machine keeps in memory is gone."""
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
        # Of our own, as dockerd would otherwise share one it finds running on the machine.
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
        """The whole of it, containers too."""
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
        """As `systemctl stop docker` does: the containers are stopped, the engine is gone."""
        stop_process(self.process, 30)
        self._stop_proxy()

    def kill9(self):
        """As if dockerd had crashed: containers go on, as does containerd."""
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
        """None when there is no such container."""
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
        if isinstance(answer, bytes):  # podman does not say that it is JSON
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
        """The command of the engine's own suite."""
        done = subprocess.run([*self.enter, "docker", "-H", self.url, *arguments], check=False,
                              capture_output=True, text=True,
                              env={**self.lab.environment, "DOCKER_CONTEXT": ""})
        if done.returncode:
            raise LabError(f"docker {' '.join(arguments)}: {done.stderr}")
        return done.stdout.strip()

    def remove_container(self, name):
        if self.kind.program == "podman":  # which lets go of none that others share something with
            self.request("DELETE", f"/v4.0.0/libpod/containers/{name}?force=1&v=1&depend=1",
                         versioned=False)
        else:
            self.request("DELETE", f"/containers/{name}?force=1&v=1")

    def clear(self):
        """All containers and all images."""
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


# --- the registry ------------------------------------------------------------------------------


@dataclass
class Request:
    method: str
    path: str
    status: int
    size: int
    agent: str

    @property
    def by_engine(self):
        return self.agent.startswith(("docker/", "containers/"))  # podman's


_ACCESS = re.compile(r'"([A-Z]+) (\S+) HTTP/[\d.]+" (\d+) (\d+) "[^"]*" "([^"]*)"')


class Authority:
    """A private CA, by openssl."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(exist_ok=True)
        self.certificate = self.directory / "ca.crt"
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                      "-nodes", "-days", "30", "-subj", "/CN=pullet test CA",
                      "-keyout", "ca.key", "-out", "ca.crt")

    def _openssl(self, *arguments):
        done = subprocess.run(["openssl", *arguments], cwd=self.directory, capture_output=True,
                              text=True, check=False)
        if done.returncode:
            raise LabError(f"openssl {arguments[0]}: {done.stderr}")

    def issue(self, name):
        """A server certificate for loopback -> (certificate, key)."""
        (self.directory / "ext").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                      "-subj", "/CN=" + name, "-keyout", name + ".key", "-out", name + ".csr")
        self._openssl("x509", "-req", "-in", name + ".csr", "-CA", "ca.crt", "-CAkey", "ca.key",
                      "-CAcreateserial", "-days", "30", "-extfile", "ext", "-out", name + ".crt")
        return self.directory / (name + ".crt"), self.directory / (name + ".key")


def bcrypt(password):
    library = ctypes.CDLL(ctypes.util.find_library("crypt") or "libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    return library.crypt(password.encode(), b"$2b$04$abcdefghijklmnopqrstuu").decode()


class TokenServer:
    """Hands out Bearer tokens as Docker Hub does, to anybody or to one user; with an authority
    over TLS. What it is asked goes through a relay, so that its bytes can be counted."""

    def __init__(self, lab, service, user=None, authority=None):
        self.directory = lab.path("token-" + uuid.uuid4().hex[:8])
        self.directory.mkdir()
        self.service, self.user, self.requests = service, user, []
        self.certificate = self.directory / "token.crt"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30",
                        "-subj", "/CN=token", "-keyout", "token.key", "-out", "token.crt"],
                       cwd=self.directory, check=True, capture_output=True)
        der = ssl.PEM_cert_to_DER_cert(self.certificate.read_text())
        self.header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                server.answer(self)

            def do_POST(self):  # containerd asks the OAuth 2 way, with a password in the form
                size = int(self.headers.get("Content-Length", 0))
                server.answer(self, urllib.parse.parse_qs(self.rfile.read(size).decode()))

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        scheme = "http"
        if authority:
            scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*map(str, authority.issue("token")))
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True,
                                                   do_handshake_on_connect=False)
        self.relay = Relay(lab, "127.0.0.1:%d" % self.http.server_address[1])
        self.realm = f"{scheme}://{self.relay.address}/token"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        lab.add(self)

    def stop(self):
        self.http.shutdown()
        self.http.server_close()

    def token(self, scopes):
        def part(data):
            return base64.urlsafe_b64encode(data).rstrip(b"=")

        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        now = int(time.time())
        claims = {"iss": "tests", "sub": "", "aud": self.service, "exp": now + 300, "nbf": now - 10,
                  "iat": now, "jti": uuid.uuid4().hex, "access": access}
        text = part(json.dumps(self.header).encode()) + b"." + part(json.dumps(claims).encode())
        done = subprocess.run(["openssl", "dgst", "-sha256", "-sign", "token.key"], input=text,
                              cwd=self.directory, check=True, capture_output=True)
        return (text + b"." + part(done.stdout)).decode()

    def answer(self, handler, form=None):
        query = form or urllib.parse.parse_qs(urllib.parse.urlsplit(handler.path).query)
        given = handler.headers.get("Authorization")
        self.requests.append((handler.path, given))
        want = self.user and "Basic " + base64.b64encode(":".join(self.user).encode()).decode()
        if form and self.user:
            given = (form.get("username"), form.get("password"))
            want = tuple([word] for word in self.user)
        body = json.dumps({"errors": []})
        status = 401
        if not want or given == want:
            status = 200
            token = self.token(" ".join(query.get("scope", [])).split())
            body = json.dumps({"token": token, "access_token": token, "expires_in": 300})
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body.encode())


class Registry(RegistryClient):
    """docker-registry on a free port of the loopback interface.

    tls: with a certificate of a CA of its own (self.ca is its path); user: (name, password) of
    Basic authentication; bearer: a token server, for anybody or (name, password)."""

    def __init__(self, lab, name="registry", tls=False, user=None, bearer=None):
        self.lab, self.directory = lab, lab.path(name)
        self.directory.mkdir()
        self.port = free_port()
        self.log = self.directory / "log"
        self.process, self._sentinels = None, 0
        self.tokens = None
        config = {
            "version": "0.1",
            "log": {"level": "warn", "accesslog": {"disabled": False}},
            "storage": {"filesystem": {"rootdirectory": str(self.directory / "data")},
                        "delete": {"enabled": True}},
            "http": {"addr": f"127.0.0.1:{self.port}", "secret": "tests"},
        }
        authority = certificate = None
        if tls:
            authority = Authority(self.directory / "ca")
            certificate = authority.certificate
            chain, key = authority.issue("registry")
            config["http"]["tls"] = {"certificate": str(chain), "key": str(key)}
        if user:
            (self.directory / "htpasswd").write_text(f"{user[0]}:{bcrypt(user[1])}\n")
            config["auth"] = {"htpasswd": {"realm": "tests",
                                           "path": str(self.directory / "htpasswd")}}
        if bearer:
            self.tokens = TokenServer(lab, "tests", bearer if isinstance(bearer, tuple) else None,
                                      authority)
            config["auth"] = {"token": {"realm": self.tokens.realm, "service": "tests",
                                        "issuer": "tests",
                                        "rootcertbundle": str(self.tokens.certificate)}}
        # YAML is a superset of JSON.
        (self.directory / "config.yml").write_text(json.dumps(config))
        super().__init__(f"127.0.0.1:{self.port}", user=user, ca=certificate and str(certificate))
        if self.tokens:
            self.authorization = lambda scope: "Bearer " + self.tokens.token([scope] if scope else [])
        lab.add(self)
        lab.announce(self.address)
        self.start()

    def ref(self, name):
        return f"{self.address}/{name}"

    def start(self):
        self.process = self.lab.spawn(["docker-registry", "serve", self.directory / "config.yml"],
                                      log=self.log)

        def answers():
            if self.process.poll() is not None:
                raise LabError(f"docker-registry ended:\n{tail(self.log)}")
            try:
                return self.request("GET", "/v2/")[0] in (200, 401)
            except OSError:
                return False

        wait_for("docker-registry to answer", answers)

    def stop(self):
        stop_process(self.process, 5)

    def pause(self):
        """It accepts connections and says nothing, like a dead link."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def mark(self):
        """A point in time for requests()."""
        self._sentinels += 1
        sentinel = f"/v2/?sentinel={self._sentinels}"
        self.request("GET", sentinel)
        wait_for("the access log", lambda: sentinel + " " in self.log.read_text(errors="replace"))
        return self._sentinels

    def requests(self, since=0):
        """Every request since mark(), but for our own."""
        self.mark()
        text = self.log.read_text(errors="replace")
        if since:
            text = text[text.index(f"sentinel={since} "):]
        return [Request(m[1], m[2], int(m[3]), int(m[4]), m[5]) for m in _ACCESS.finditer(text)
                if m[5] != USER_AGENT]

    def config_json(self, path, user):
        """Writes credentials in the form of docker's config.json."""
        auth = base64.b64encode(":".join(user).encode()).decode()
        path = pathlib.Path(path)
        path.write_text(json.dumps({"auths": {self.address: {"auth": auth}}}))
        path.chmod(0o600)
        return path


class Relay:
    """Passes TCP on to a registry and counts connections and bytes (payload, both ways). rate: bytes a
    second that a connection brings down; None: as many as come."""

    chunk = 65536

    def __init__(self, lab, target, rate=None):
        host, port = target.rsplit(":", 1)
        self._target = (host, int(port))
        self.rate = rate
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._open = 0
        self.reset()
        threading.Thread(target=self._accept, daemon=True).start()
        lab.add(self)
        lab.announce(self.address)

    def carry(self, size, way):
        """Takes the time that a piece needs on this link."""
        if self.rate and way == "down":
            time.sleep(size / self.rate)

    def reset(self):
        self.connections = self.up = self.down = 0

    def settle(self, seconds=5):
        """Waits until nothing is under way, so that the counts are whole."""
        with contextlib.suppress(LabError):
            wait_for("connections to end", lambda: self._open == 0, seconds)

    def stop(self):
        self._listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open += 2
            try:
                server = socket.create_connection(self._target, timeout=10)
            except OSError:
                client.close()
                with self._lock:
                    self._open -= 2
                continue
            server.settimeout(None)
            for source, sink, way in ((client, server, "up"), (server, client, "down")):
                threading.Thread(target=self._pump, args=(source, sink, way), daemon=True).start()

    def _pump(self, source, sink, way):
        try:
            while data := source.recv(self.chunk):
                self.carry(len(data), way)
                with self._lock:
                    setattr(self, way, getattr(self, way) + len(data))
                sink.sendall(data)
        except OSError:
            pass
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
        with self._lock:
            self._open -= 1


# --- the agent ---------------------------------------------------------------------------------


@dataclass
class Result:
    status: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def results(self):
        """Container name -> its object of --json. Raises when a line is no object."""
        return {entry["container"]: entry
                for entry in map(json.loads, self.stdout.splitlines())}

    def __str__(self):
        return f"status {self.status}\n{self.stdout}{self.stderr}"


class Pullet:
    """The built programs, a configuration and a state directory."""

    def __init__(self, lab, engine, name="pullet", build=None):
        self.lab, self.engine = lab, engine
        self.build = pathlib.Path(build or os.environ.get("PULLET_BUILD") or TOP / "build")
        self.program = self.build / "pulletd"
        self.directory = lab.path(name)
        self.directory.mkdir(exist_ok=True)
        self.config = self.directory / "pullet.conf"
        self.state = self.directory / "state"
        self.mark = f"{self.directory}/run-{uuid.uuid4().hex[:6]}"
        if not os.access(self.program, os.X_OK):
            raise LabError(f"{self.program} is not there: build first, or set PULLET_BUILD")

    def configure(self, containers, registries=None, agent=None, more=""):
        """Writes the configuration. A `create` that is a dict becomes a file beside it; a list as a
        value becomes a repeated key."""
        lines = ["[agent]"]
        for key, value in {"engine": self.engine.url, **(agent or {})}.items():
            lines.append(f"{key} = {value}")
        for host, keys in (registries or {}).items():
            lines += ["", f"[registry {host}]", *(f"{k} = {v}" for k, v in keys.items())]
        for name, keys in containers.items():
            lines += ["", f"[container {name}]"]
            for key, value in {"health-period": "2s", **keys}.items():
                if key == "create" and isinstance(value, dict):
                    (self.directory / f"{name}.create.json").write_text(json.dumps(value))
                    value = f"{name}.create.json"
                for one in value if isinstance(value, list) else [value]:
                    lines.append(f"{key} = {one}")
        self.config.write_text("\n".join(lines) + "\n" + more)

    def command(self, *arguments):
        return [str(self.program), "--config", str(self.config), "--state-dir", str(self.state),
                *arguments]

    def spawn(self, *arguments, **options):
        environment = {**self.lab.environment, MARK: self.mark, **options.pop("env", {})}
        return subprocess.Popen(self.command(*arguments), stdin=subprocess.DEVNULL,
                                env=environment, start_new_session=True, **options)

    def once(self, *names, timeout=120, text=False, arguments=(), **options):
        """One pass in the foreground, to its end."""
        start = time.monotonic()
        process = self.spawn("--once", *([] if text else ["--json"]), *arguments, *names,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.kill9(process)
            out, err = process.communicate()
            raise LabError(f"pulletd --once did not end in {timeout} s:\n"
                           f"{out.decode()}{err.decode()}") from None
        return Result(process.returncode, out.decode(errors="replace"),
                      err.decode(errors="replace"), time.monotonic() - start)

    def order(self, what, name="app", timeout=120, **options):
        """One pass for that purpose by pullet-update itself -> its events, the result the last."""
        done = subprocess.run(
            [self.build / "pullet-update", "--config", self.config, "--state-dir", self.state,
             "--" + what, name], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=timeout, check=False, env={**self.lab.environment, MARK: self.mark}, **options)
        events = [json.loads(line) for line in done.stdout.splitlines()]
        if not events or "result" not in events[-1]:
            raise LabError(f"pullet-update --{what} {name}: status {done.returncode}\n{done.stderr}")
        return events

    def kill9(self, process):
        """SIGKILL to the process, its group, and helpers wherever they went."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for _ in range(50):
            left = processes_of(self.mark) - _own_line()
            if not left:
                break
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.005)
        process.wait()

    @contextlib.contextmanager
    def resident(self, *arguments, log=None):
        """The service in the background; ended with SIGTERM."""
        path = log or self.directory / "pulletd.log"
        with open(path, "ab") as out:
            process = self.spawn(*arguments, stdout=out, stderr=out)
        process.log = path
        try:
            yield process
        finally:
            stop_process(process, 15)
            self.kill9(process)

    def record(self, name):
        """The record as an object, or None."""
        try:
            return json.loads((self.state / f"{name}.json").read_text())
        except FileNotFoundError:
            return None

    def state_snapshot(self):
        """Everything a write would change: for "not a byte was written"."""
        out = {}
        for path in [self.state, *sorted(self.state.rglob("*"))]:
            s = path.stat()
            content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
            out[str(path)] = (s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns, content)
        return out


class Watcher:
    """Looks at a process and its descendants often, and keeps each program's peak memory (kB)."""

    def __init__(self, pid):
        self.pid, self.peaks = pid, {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()

    def _family(self):
        family, new = [], [self.pid]
        while new:
            family += new
            found = []
            for pid in new:
                with contextlib.suppress(OSError):
                    found += map(int, pathlib.Path(f"/proc/{pid}/task/{pid}/children")
                                 .read_text().split())
            new = found
        return family

    def _watch(self):
        while not self._end.wait(0.003):
            for pid in self._family():
                with contextlib.suppress(OSError):
                    name = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
                    status = pathlib.Path(f"/proc/{pid}/status").read_text()
                    found = re.search(r"VmHWM:\s+(\d+)", status)
                    if found:  # not so when it has just ended
                        self.peaks[name] = max(int(found[1]), self.peaks.get(name, 0))


def private_memory(pid, kinds="Clean|Dirty|Hugetlb"):
    """What would be free without this process: USS, in kB."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(map(int, re.findall(rf"^Private_(?:{kinds}):\s+(\d+)", text, re.M)))


def resident_memory(pid):
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Rss:\s+(\d+)", text, re.M)[1])


if __name__ == "__main__" and sys.argv[1:2] == ["guard"]:
    _guard(sys.argv[2])
