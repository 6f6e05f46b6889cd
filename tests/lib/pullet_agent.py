# SPDX-License-Identifier: MIT
"""The agent under test: its programs, a configuration and a state directory."""

import contextlib
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import time
import uuid
from dataclasses import dataclass

from pullet_lab import TOP
from pullet_sweep import MARK, LabError, own_line, processes_of, stop_process


@dataclass
class Result:
    status: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def results(self):
        """Container name -> its object of --json. Raises if a line is not an object."""
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
        """One pass in the foreground, until it ends."""
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

    def order(self, what, name="app", timeout=120, arguments=(), **options):
        """Runs one operation with pullet-update itself -> its events; the result is the last one."""
        done = subprocess.run(
            [self.build / "pullet-update", "--config", self.config, "--state-dir", self.state,
             *arguments, "--" + what, name], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=timeout, check=False, env={**self.lab.environment, MARK: self.mark, **options.pop("env", {})}, **options)
        events = [json.loads(line) for line in done.stdout.splitlines()]
        if not events or "result" not in events[-1]:
            raise LabError(f"pullet-update --{what} {name}: status {done.returncode}\n{done.stderr}")
        return events

    def kill9(self, process):
        """Sends SIGKILL to the process, its group and all its helpers."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for _ in range(50):
            left = processes_of(self.mark) - own_line()
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
        """All files and their times, to compare before and after: any write changes it."""
        out = {}
        for path in [self.state, *sorted(self.state.rglob("*"))]:
            s = path.stat()
            content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
            out[str(path)] = (s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns, content)
        return out
