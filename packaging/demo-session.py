# SPDX-License-Identifier: MIT
"""The part of packaging/demo that a person watches. Everything it says about the agent is printed
by the agent or read back from the engine, the registry and the kernel."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

TOP = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / "tests/lib"))

from pullet_agent import Pullet  # noqa: E402
from pullet_engine import Engine  # noqa: E402
from pullet_image import Image, actor, host_platform  # noqa: E402
from pullet_lab import Lab  # noqa: E402
from pullet_memory import Watcher, private_memory, resident_memory  # noqa: E402
from pullet_registry import Registry  # noqa: E402
from pullet_relay import Relay  # noqa: E402
from pullet_sweep import LabError, handle_signals, tail, wait_for  # noqa: E402

COLOUR = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
WORDS = {"updated": "32", "up-to-date": "32", "rolled-back": "33", "deferred": "33",
         "refused": "33", "failed": "31"}
ARM = "linux/arm/v6"
BINFMT_ARM = (r":%s:M::\x7fELF\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x28\x00:"
              r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:"
              r"%s:F")


def paint(code, text):
    return f"\033[{code}m{text}\033[0m" if COLOUR else text


def title(text):
    print("\n" + paint("1;36", text), flush=True)


def note(text):
    print(f"  {text}", flush=True)


def kilo(size):
    return f"{size / 1000:.1f} kB"


def mega(kibibytes):
    return f"{kibibytes * 1024 / 1e6:.2f} MB"


class Binfmt:
    """Lets this kernel run arm programs through qemu-user, unless it does so already."""

    def __init__(self, lab):
        self.entry, self.why_not = None, None
        directory = pathlib.Path("/proc/sys/fs/binfmt_misc")
        if not (directory / "register").exists():
            directory = lab.path("binfmt_misc")
            directory.mkdir()
            done = subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(directory)],
                                  capture_output=True, text=True, check=False)
            if done.returncode:
                self.why_not = "this kernel has no binfmt_misc: " + done.stderr.strip()
                return
        qemu = shutil.which("qemu-arm-static", path=lab.environment["PATH"])
        if host_platform().startswith("linux/arm"):
            return
        if self._is_there(directory):
            return
        if not qemu:
            self.why_not = "qemu-user-static is not installed"
            return
        name = f"pullet-demo-{os.getpid()}"
        try:
            (directory / "register").write_text(BINFMT_ARM % (name, qemu))
        except OSError as error:
            self.why_not = f"this kernel does not let us register qemu-arm: {error.strerror}"
            return
        self.entry = directory / name
        lab.add(self)

    @staticmethod
    def _is_there(directory):
        for entry in directory.iterdir():
            with contextlib.suppress(OSError):
                text = entry.read_text()
                if re.search(r"^enabled", text) and "0200280" in text:
                    return "F" in re.search(r"flags: *(.*)", text)[1]
        return False

    def stop(self):
        self.entry.write_text("-1")


class Demo:
    def __init__(self, lab):
        self.lab = lab
        self.engine = Engine(lab)
        self.registry = Registry(lab)
        self.relay = Relay(lab, self.registry.address)
        self.pullet = Pullet(lab, self.engine)
        self.platform = host_platform()
        self.binfmt = Binfmt(lab)
        self.containers = {}
        self.rows = []
        self.peaks = {}
        self.site = None  # the last version of it that was published

    # -- what is published

    def payload(self, version, broken=False):
        """The hello image for three platforms, from payload/build."""
        out = self.lab.path("payload-" + version)
        done = subprocess.run([TOP / "payload/build", "--version", version, "--out", out],
                              capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"payload/build failed: {done.stderr}{done.stdout}")
        if not broken:
            return self.registry.publish_layout("hello", "stable", out / "image")
        programs = {ARM: "armhf", "linux/arm64": "arm64", "linux/amd64": "amd64"}
        return self.registry.publish("hello", "stable", [
            Image({"hello": (out / directory / "hello").read_bytes()[:40]}, {"Cmd": ["/hello"]},
                  platform) for platform, directory in programs.items()])

    def publish(self, version, broken=False):
        hello = self.payload(version, broken)
        if broken:
            clock = ("say", f"clock {version}", "sleep", 700, "say", "giving up", "exit", 3)
        else:
            clock = ("say", f"clock {version}", "wait")
        self.registry.publish("clock", "stable", actor(*clock))
        if not self.binfmt.why_not and self.platform != ARM:
            self.registry.single_out(hello, ARM, "stable-arm")
        size = sum(len(body) for body, _ in hello.bodies.values())
        note(f"published hello:stable = {version}, {hello.digest[:19]}..., "
             f"{len(hello.manifests)} platforms ({size} bytes of manifests)")
        note(f"published clock:stable = {version}")

    def configure(self, **agent):
        keys = {
            "hello": {"image": f"{self.relay.address}/hello:stable",
                      "create": {"HostConfig": {"NetworkMode": "none"}}, "health-period": "10s"},
            "clock": {"image": f"{self.relay.address}/clock:stable",
                      "create": {"HostConfig": {"NetworkMode": "none",
                                                "RestartPolicy": {"Name": "always"}}},
                      "health-period": "2s"},
        }
        if self.site:
            keys["site"] = {"image": f"{self.relay.address}/site:stable", "health-period": "1s",
                            "create": {"HostConfig": {"NetworkMode": "none"}}}
        if "hello-arm" in self.containers:
            keys["hello-arm"] = {"image": f"{self.relay.address}/hello:stable-arm",
                                 "health-period": "10s"}
        self.pullet.configure(keys, agent=agent)

    # -- what the agent does

    def prompt(self, *arguments, comment=""):
        """The command, without the directories."""
        command = " ".join(self.pullet.command(*arguments))
        for directory in (self.pullet.build, self.pullet.directory):
            command = command.replace(f"{directory}/", "")
        print("  " + paint("1", "$ " + command) + paint("2", comment), flush=True)

    @staticmethod
    def agent_line(line):
        if re.match(r"pulletd: \S+: \S+ sha256", line):  # a change of phase
            print("  " + paint("2", line), flush=True)
            return
        for word, code in WORDS.items():
            line = re.sub(rf"(?<=: ){word}\b", paint(code, word), line, count=1)
        print("  " + line, flush=True)

    def update(self, what, *names):
        """One pass, with the agent's own words on the screen and its costs in the table. -> bytes that were received"""
        self.relay.settle()
        self.relay.reset()
        mark = self.registry.mark()
        self.prompt("--once", *names)
        start = time.monotonic()
        process = self.pullet.spawn("--once", *names, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                    text=True)
        downtimes = []
        with Watcher(process.pid) as watcher:
            for line in process.stdout:
                self.agent_line(line.rstrip("\n"))
                downtimes += map(int, re.findall(r"\bdown (\d+) ms", line))
            status = process.wait()
        seconds = time.monotonic() - start
        for name, peak in watcher.peaks.items():
            self.peaks[name] = max(peak, self.peaks.get(name, 0))
        self.relay.settle()
        self.rows.append((what, status, seconds, ", ".join(f"{d} ms" for d in downtimes) or "-",
                          len(self.registry.requests(mark)), self.relay.up, self.relay.down))
        return self.relay.down

    def show(self):
        """What the engine says, independent of the agent."""
        for name, state in sorted(self.engine.containers().items()):
            words = self.engine.logs(name).strip().splitlines()
            note(f"engine: {name} is {state}; its log: "
                 + paint("1", words[-1] if words else "(empty)"))

    def expect(self, log, name):
        words = self.engine.logs(name)
        if log not in words:
            raise LabError(f"the log of {name} should say {log!r} and says {words!r}")

    # -- the session

    def adopt_arm(self):
        if self.platform == ARM:
            return
        if self.binfmt.why_not:
            note("the arm program is not run: " + self.binfmt.why_not)
            return
        reference = f"{self.relay.address}/hello:stable-arm"
        self.engine.pull(reference)
        self.engine.run("hello-arm", reference)
        state = self.engine.wait("hello-arm", lambda c: c["State"]["Status"] == "exited")["State"]
        if state["ExitCode"]:
            note(f"the arm program does not run through qemu here (status {state['ExitCode']})")
            self.engine.remove_container("hello-arm")
            return
        note("hello-arm was made by hand, from the arm image: the agent finds it and takes it on")
        self.containers["hello-arm"] = True

    def main(self):
        title("A Docker engine and a registry, private to this demo")
        note(f"engine {self.engine.release} and docker-registry, in {self.lab.directory}")
        title("Version 1 is published; no container is there yet")
        self.publish("v1")
        self.adopt_arm()
        self.configure()
        note("pullet.conf:")
        for line in self.pullet.config.read_text().splitlines():
            note(paint("2", "  " + line))
        for path in sorted(self.pullet.directory.glob("*.create.json")):
            note(f"{path.name}: " + paint("2", path.read_text()))
        self.update("first containers (v1)")
        self.show()
        self.expect("Hello Docker World!", "hello")
        self.update("no news")

        title("Version 2 is published")
        self.publish("v2")
        self.update("v1 -> v2")
        self.show()
        self.expect("clock v2", "clock")

        title("Version 3 is published, and it is broken")
        note("its hello is cut off after 40 bytes, its clock gives up after 0.7 s")
        self.publish("v3", broken=True)
        self.update("v3 tried, back to v2")
        self.show()
        self.expect("clock v2", "clock")
        note("the next pass remembers:")
        self.update("v3 again: refused")

        title("Version 4 heals it, found by the resident service")
        self.configure(interval="1s", jitter="0%")
        self.serve()
        self.show()
        self.expect("clock v4", "clock")
        self.expect("Hello Docker World!", "hello")

        title("A larger image, and what a delta saves")
        self.deltas()
        self.summary()

    def publish_site(self, version):
        """This machine's Python modules, of which each version changes every tenth, and 4 kB that are in no other version."""
        modules = sorted(pathlib.Path(os.__file__).parent.glob("*.py"))
        files = {f"modules/{path.name}": (path.read_bytes(), 0o644) for path in modules}
        for path in modules[int(version[1:])::10]:
            lines = path.read_bytes().splitlines(keepends=True)
            lines.insert(len(lines) // 2, f"# changed in {version}\n".encode())
            files[f"modules/{path.name}"] = (b"".join(lines), 0o644)
        files["new"] = (os.urandom(4000), 0o644)
        image = actor("say", f"site {version}", "wait", files=files, Labels={"version": version})
        before, self.site = self.site, self.registry.publish("site", version, image)
        layers = json.loads(self.site.bodies[self.platform][0])["layers"]
        note(f"published site:{version}, {kilo(sum(layer['size'] for layer in layers))} of layers")
        return before

    def make_delta(self, old, new):
        """As a CI does it: after the image, and before its tag moves."""
        words = ["delta", "make", *(f"{self.registry.ref('site')}:{one.tag}" for one in (old, new))]
        print("  " + paint("1", "$ pullet " + " ".join(words)), flush=True)
        done = subprocess.run([self.pullet.build / "pullet", "--config", self.pullet.config, *words], text=True, check=False,
                              env={**self.lab.environment, "HOME": str(self.lab.directory)}, capture_output=True)
        for line in done.stdout.splitlines():
            note(line)
        if done.returncode:
            raise LabError(f"pullet delta make: {done.stderr}")

    def deltas(self):
        if not (self.pullet.build / "pullet-delta").exists():
            note("pullet-delta is not built here: libdivsufsort-dev was not there")
            return
        self.publish_site("v1")
        self.registry.point(self.site, "stable")
        self.configure()
        self.update("site: v1", "site")
        self.make_delta(self.publish_site("v2"), self.site)
        self.registry.point(self.site, "stable")
        by_delta = self.update("site: v2, by delta", "site")
        self.expect("site v2", "site")
        note("the next version with as many changes, and deltas = no:")
        self.publish_site("v3")
        self.registry.point(self.site, "stable")
        self.configure(deltas="no")
        plain = self.update("site: v3, plainly", "site")
        self.expect("site v3", "site")
        note(paint("1", f"received: {kilo(by_delta)} by delta, {kilo(plain)} plainly (1/{plain // by_delta})"))

    def serve(self):
        self.prompt("&", comment="     # interval = 1s")
        with self.pullet.resident() as process:
            time.sleep(1.5)
            self.publish("v4")

            def healed():
                if process.poll() is not None:
                    raise LabError(f"pulletd ended:\n{tail(process.log)}")
                clock = self.engine.inspect("clock")
                names = self.engine.containers()
                return (clock and clock["State"]["Running"] and "clock v4" in self.engine.logs("clock")
                        and all("." not in name for name in names)
                        and len(re.findall(r"updated", process.log.read_text()))
                        >= 2 + len(self.containers))

            try:
                wait_for("v4 to be found", healed, 40, pause=0.1)
            except LabError:
                print(process.log.read_text())
                raise
            for line in process.log.read_text().splitlines():
                if re.search(r"updated|rolled-back|failed", line):
                    self.agent_line(line)
            time.sleep(1.5)  # at rest again
            self.rest = (private_memory(process.pid), resident_memory(process.pid))

    def summary(self):
        title("Summary")
        form = "  {:<24} {:>8}  {:<16} {:>8} {:>10} {:>10}"
        print(paint("1", form.format("pass", "time", "downtime", "requests", "sent", "received")))
        for what, _, seconds, down, requests, up, received in self.rows:
            print(form.format(what, f"{seconds:.2f} s", down, requests, kilo(up), kilo(received)))
        note("time includes the health period (2 s for clock); requests and bytes include the "
             "engine's pulls")
        print()
        private, resident = self.rest
        note(f"pulletd at rest: {mega(private)} of private memory ({mega(resident)} resident)")
        for name, peak in sorted(self.peaks.items()):
            note(f"{name} during a pass: {mega(peak)} resident at its peak, then gone"
                 if name != "pulletd" else f"{name} during a pass: {mega(peak)} resident at its peak")


def main():
    handle_signals()
    start = time.monotonic()
    lab = None
    try:
        with Lab() as lab:
            Demo(lab).main()
            title("Taking everything down")
    except LabError as error:
        print(paint("31", f"demo: {error}"), file=sys.stderr)
        return 1
    except (KeyboardInterrupt, SystemExit):
        print("\ndemo: interrupted; everything is taken down", file=sys.stderr)
        return 130
    note(f"done in {time.monotonic() - start:.0f} s; nothing is left running")
    return 0


if __name__ == "__main__":
    sys.exit(main())
