# SPDX-License-Identifier: MIT
"""Emulated ARM devices: Debian with systemd, Docker and Pullet from its .deb, on qemu without KVM.

    with Lab() as lab:
        registry = Registry(lab)
        debs = build_debs(lab.path("debs"))                        # cross-built, [Path]
        golden = Golden(lab, Base("trixie", "arm64"), debs)        # boots once, installs, freezes: a minute or more
        device = golden.clone("d1", machine_id="0123...")          # runs in seconds, with an identity of its own
        device.sh("docker ps")                                     # -> its output; DeviceError, or None with check=False
        device.write("/etc/pullet/conf.d/app.conf", text)
        device.sh("systemctl start pulletd")                       # enabled in a clone, and not started yet

    device.sh(script, check=True, timeout=PATIENCE)   through the guest's agent, not its network; standard error with it
    device.write(path, text or bytes, mode=0o644)
    device.journal()                the entries so far, as dicts (JOURNAL_FIELDS of pullet_debian), over all boots
    device.wait_journal(condition, seconds=PATIENCE, since=0)   the first entry at or after that index which fulfils it
    device.shape(rate="64kbit", delay="300ms")    the link, both ways;  device.unshape()
    device.cut_off(), device.reconnect()          the cable is unplugged, and plugged in again
    device.power_cut()              data that the guest had not written to its disk is lost
    device.boot()                   a cold boot from the current disk
    device.shut_down() orderly
    device.cpu_seconds(), device.running, device.name, device.machine_id, device.directory (console, qemu.log)
    device.install(*debs)           by apt
    device.close()                  also by the end of the Lab, whatever happens

golden.clone(name, machine_id, drop_unflushed=True): its disk has a write-back cache of its own, and a power cut loses
everything that the guest did not flush; power_cut(disk_too=False) spares that cache. A Device can be used without a
Golden: Device(lab, base, name).boot().
The host is 10.0.2.2 there: guest_ref(registry, "app:stable") is what a device calls an image; its configuration needs
`[registry 10.0.2.2:PORT]` with `insecure = yes`. Different devices may be used from different threads.
Emulation is slow and the machine may be busy: all limits are generous, and all waits are for events."""

import base64
import contextlib
import fcntl
import hashlib
import inspect
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time

from pullet_debian import GOLDEN_ID, HOST_PACKAGES, Base, install_missing  # noqa: F401 (handed on)
from pullet_engines import cache
from pullet_sweep import LabError, stop_process, tail, wait_for

TOP = pathlib.Path(__file__).resolve().parents[2]
HOST = "10.0.2.2"  # this machine in qemu's user network
PLATFORMS = {"arm64": "linux/arm64", "armhf": "linux/arm/v7"}
PATIENCE = 3600.0  # for a boot under emulation on a busy machine
EMULATORS = {"arm64": ["qemu-system-aarch64", "-cpu", "max,pauth-impdef=on"],
             "armhf": ["qemu-system-arm", "-cpu", "cortex-a7"]}
NICE = os.environ.get("PULLET_NICE", "5")  # other programs may use this machine


class DeviceError(LabError):
    """A command failed on a device; the text has its output."""


def guest_ref(registry, name):
    return f"{HOST}:{registry.port}/{name}"


def build_debs(out, arch="arm64", suite="trixie", bump=None):
    """Builds the package for a device from this checkout. bump is appended to its version. -> paths"""
    out.mkdir(parents=True, exist_ok=True)
    command = [TOP / "packaging/build-deb", "--out", out, arch, suite]
    if bump:
        source = out / "source"
        shutil.copytree(TOP, source, symlinks=True,
                        ignore=shutil.ignore_patterns(".git", "build*", "out", "__pycache__", ".pytest_cache"))
        changelog = source / "packaging/debian/changelog"
        changelog.write_text(changelog.read_text().replace(")", bump + ")", 1))
        command += ["--source", source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if bump:
        shutil.rmtree(source)
    if done.returncode:
        raise LabError(f"build-deb {arch} {suite}: {done.stderr[-2000:]}")
    return [path for path in out.glob(f"pullet_*_{arch}.deb")]


# --- talking to qemu and to the guest ----------------------------------------------------------


class Lines:
    """JSON lines over a unix socket that qemu listens on."""

    def __init__(self, path, process):
        self.socket = socket.socket(socket.AF_UNIX)
        self.rest = b""

        def connected():
            if process.poll() is not None:
                raise DeviceError("qemu ended")
            try:
                self.socket.connect(os.fspath(path))
                return True
            except OSError:
                return False

        wait_for(f"{path.name} to listen", connected, 60)

    def send(self, value):
        self.socket.sendall(json.dumps(value).encode() + b"\n")

    def receive(self, seconds):
        self.socket.settimeout(seconds)
        while b"\n" not in self.rest:
            more = self.socket.recv(1 << 20)
            if not more:
                raise DeviceError("qemu is gone")
            self.rest += more
        line, self.rest = self.rest.split(b"\n", 1)
        return line

    def close(self):
        self.socket.close()


class Monitor:
    """qemu itself: QMP."""

    def __init__(self, path, process):
        self.lines, self.events, self.lock = Lines(path, process), [], threading.Lock()
        self.lines.receive(60)
        self.command("qmp_capabilities")

    def command(self, name, /, **arguments):
        with self.lock:
            self.lines.send({"execute": name, "arguments": arguments})
            while True:
                answer = self._next()
                if "error" in answer:
                    raise DeviceError(f"{name}: {answer['error']['desc']}")
                if "return" in answer:
                    return answer["return"]

    def _next(self):
        answer = json.loads(self.lines.receive(PATIENCE))
        if "event" in answer:
            self.events.append(answer)
        return answer

    def wait_migration(self):
        """Waits until a machine state is saved or restored."""
        with self.lock:
            while True:
                while self.events:
                    event = self.events.pop(0)
                    status = event["data"]["status"] if event["event"] == "MIGRATION" else None
                    if status == "completed":
                        return
                    if status == "failed":
                        raise DeviceError("qemu could not carry the machine's state over")
                self._next()

    def close(self):
        self.lines.close()


class Agent:
    """qemu-guest-agent, over a virtual serial line. One request at a time."""

    def __init__(self, path, process):
        self.lines, self.lock = Lines(path, process), threading.Lock()
        mark = int.from_bytes(os.urandom(4), "big")
        # Waits in the socket until the guest opens its end.
        self.lines.socket.sendall(b"\xff")
        self.lines.send({"execute": "guest-sync-delimited", "arguments": {"id": mark}})
        while self._receive() != {"return": mark}:
            pass

    def _receive(self):
        line = self.lines.receive(PATIENCE).rpartition(b"\xff")[2]
        try:
            return json.loads(line)
        except ValueError:
            return None

    def command(self, name, **arguments):
        with self.lock:
            self.lines.send({"execute": name, "arguments": arguments})
            answer = self._receive()
        if not answer or "error" in answer:
            raise DeviceError(f"{name}: {answer and answer['error']['desc']}")
        return answer["return"]

    def close(self):
        self.lines.close()


# --- a device ----------------------------------------------------------------------------------

_IDENTITY = """
date -s @{now} >/dev/null
echo {machine_id} >/etc/machine-id
echo {name} >/etc/hostname; hostname {name}
{{ echo {name} {machine_id}; cat /proc/uptime; }} >/dev/urandom
rm -f /var/lib/docker/engine-id /var/lib/systemd/random-seed
systemctl restart systemd-journald
systemctl restart journal-to-host
"""
# The queues are in the guest, where its own TCP notices them. Incoming packets go through a device of their own.
_SHAPE = """
modprobe ifb numifbs=1; modprobe sch_netem
ip link show ifb0 >/dev/null 2>&1 || ip link add ifb0 type ifb
ip link set ifb0 up
tc qdisc replace dev eth0 root netem {netem}
tc qdisc show dev eth0 | grep -q ingress || tc qdisc add dev eth0 ingress
tc filter replace dev eth0 parent ffff: protocol all prio 1 handle 1 matchall action mirred egress redirect dev ifb0
tc qdisc replace dev ifb0 root netem {netem}
"""
_UNSHAPE = "tc qdisc del dev eth0 root || true; tc qdisc del dev eth0 ingress || true"


class Device:
    """One machine. Its disk is an overlay over backing (the base's image), or a copy with a volatile cache."""

    def __init__(self, lab, base, name, machine_id=GOLDEN_ID, backing=None, memory=1024, cpus=1,
                 drop_unflushed=False):
        self.lab, self.base, self.name, self.machine_id = lab, base, name, machine_id
        self.memory, self.cpus = memory, cpus
        self.directory = lab.path(name)
        self.directory.mkdir()
        self.process = self.monitor = self.agent = self.cache = None
        self._cpu_before = 0.0
        self._entries, self._read = [], 0
        self._journal_lock = threading.Lock()
        self.disk = self.directory / ("disk.raw" if drop_unflushed else "disk.qcow2")
        backing = backing or base.disk
        if drop_unflushed:
            _run("qemu-img", "convert", "-O", "raw", backing, self.disk)
        else:
            _run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", backing, self.disk)
        self.drops_unflushed = drop_unflushed
        lab.add(self)

    # Life

    def boot(self):
        """A cold boot from the disk, until systemd has started everything."""
        self._start()
        self.agent = self._agent()
        self.sh("systemctl is-system-running --wait || true", timeout=PATIENCE)
        return self

    def prepare(self, debs, setup, log):
        """Boots the golden machine with its memory in a file. The file is on a tmpfs, which the Lab unmounts, because
        on a disk the kernel would write it out again and again."""
        start = time.monotonic()
        memory = self.directory / "memory"
        memory.mkdir()
        _run("mount", "-t", "tmpfs", "tmpfs", memory)
        self._start(ram=memory / "ram", share=True)
        self.agent = self._agent()
        log(f"the agent answers after {time.monotonic() - start:.0f} s")
        self.sh("systemctl is-system-running --wait || true", timeout=PATIENCE)
        self.sh("systemctl start docker; docker info", timeout=PATIENCE)
        log(f"Docker answers after {time.monotonic() - start:.0f} s")
        self.install(*debs)
        if debs:
            self.sh("systemctl stop pulletd")
            log(f"the package is installed after {time.monotonic() - start:.0f} s")
        self.sh(setup + "\nsync", timeout=PATIENCE)

    def _agent(self):
        return Agent(self.directory / "agent.sock", self.process)

    def _start(self, ram=None, share=False, incoming=False):
        if self.running:
            raise DeviceError(f"{self.name} runs already")
        for name in ("agent.sock", "monitor.sock"):
            (self.directory / name).unlink(missing_ok=True)
        if not self.drops_unflushed:
            drive = f"file={self.disk},format=qcow2"
        else:
            drive = f"format=raw,file.driver=nbd,file.server.type=unix,file.server.path={self._serve_disk()}"
        machine, more = "virt", ["-incoming", "defer"] if incoming else []
        if ram:
            machine += ",memory-backend=ram"
            more += ["-object", f"memory-backend-file,id=ram,size={self.memory}M,mem-path={ram},"
                     f"share={'on' if share else 'off'}"]
        append = (f"root={self.base.root} rw console=ttyAMA0 quiet loglevel=4 systemd.show_status=0 net.ifnames=0"
                  + (" apparmor=0" if self.base.suite == "bookworm" else ""))  # its docker wants apparmor's tools
        self.process = self.lab.spawn(
            ["nice", "-n", NICE, *EMULATORS[self.base.arch], "-M", machine, "-accel", "tcg,thread=multi,tb-size=256",
             "-m", str(self.memory), "-smp", str(self.cpus), "-nodefaults", "-display", "none",
             "-kernel", self.base.kernel, "-initrd", self.base.initrd, "-append", append,
             "-drive", f"if=none,id=disk,cache=writeback,{drive}", "-device", "virtio-blk-device,drive=disk",
             "-netdev", "user,id=net", "-device", "virtio-net-device,netdev=net,id=nic",
             "-device", "virtio-rng-device", "-device", "virtio-serial-device",
             "-chardev", f"socket,id=agent,path={self.directory}/agent.sock,server=on,wait=off",
             "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
             "-chardev", f"file,id=journal,path={self.directory}/journal,append=on",
             "-device", "virtserialport,chardev=journal,name=journal",
             "-chardev", f"file,id=console,path={self.directory}/console,append=on", "-serial", "chardev:console",
             "-qmp", f"unix:{self.directory}/monitor.sock,server=on,wait=off", *more],
            log=self.directory / "qemu.log")
        try:
            self.monitor = Monitor(self.directory / "monitor.sock", self.process)
        except DeviceError as error:
            raise DeviceError(f"{self.name}: {error}: {tail(self.directory / 'qemu.log')}") from error

    def _serve_disk(self):
        """A disk with a volatile cache: nbdkit holds all data that was not flushed, and is killed in a power cut."""
        path = self.directory / "disk.sock"
        if self.cache and self.cache.poll() is None:
            return path
        path.unlink(missing_ok=True)
        self.cache = self.lab.spawn(
            ["nbdkit", "--foreground", "--unix", path, "--filter=cache", "file", self.disk, "cache=writeback"],
            log=self.directory / "nbdkit.log", env={"TMPDIR": str(self.directory)})
        wait_for("nbdkit", lambda: path.exists() or self.cache.poll() is not None, 60)
        return path

    def _resume(self, golden):
        """Resumes the frozen machine, with another identity."""
        self._start(ram=golden.ram, incoming=True)
        for capability in ("x-ignore-shared", "events"):
            self.monitor.command("migrate-set-capabilities",
                                 capabilities=[{"capability": capability, "state": True}])
        self.monitor.command("migrate-incoming", uri=f"exec:cat {golden.state}")
        self.monitor.wait_migration()
        self.monitor.command("cont")
        self.agent = self._agent()
        self.sh(_IDENTITY.format(now=f"{time.time():.3f}", machine_id=self.machine_id, name=self.name))
        return self

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def power_cut(self, disk_too=True):
        self._cpu_before = self.cpu_seconds()
        for process in (self.cache if disk_too else None, self.process):
            if process and process.poll() is None:
                process.kill()
                process.wait()
        self._disconnect()

    def shut_down(self):
        """Shuts down as an operator does."""
        with contextlib.suppress(DeviceError, OSError):  # it sends no response
            self.agent.command("guest-shutdown", mode="powerdown")
        self._cpu_before = self.cpu_seconds()
        self.process.wait(PATIENCE)
        if self.cache:
            stop_process(self.cache, 60)
        self._disconnect()

    def _disconnect(self):
        for line in (self.monitor, self.agent):
            if line:
                line.close()
        self.monitor = self.agent = None

    def stop(self):  # the name that the Lab calls
        self.power_cut()

    def close(self):
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def cpu_seconds(self):
        """CPU time of its emulation over all boots."""
        try:
            fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
            now = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except (AttributeError, OSError):
            now = 0.0
        return self._cpu_before + now

    # What goes on in it

    def sh(self, script, check=True, timeout=PATIENCE):
        """Runs script in the machine. -> its output, standard error with it; None if it failed and check is off."""
        status, out = self._execute(script, timeout)
        if status and check:
            raise DeviceError(f"{self.name}: {script}\nstatus {status}: {out[-3000:]}")
        return out if status == 0 else None

    def _execute(self, script, timeout):
        agent = self.agent
        if not agent:
            raise DeviceError(f"{self.name} is off")
        try:
            pid = agent.command(
                "guest-exec", path="/bin/sh", arg=["-euc", "exec 2>&1\n" + script],
                env=["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "SYSTEMD_PAGER=",
                     "DEBIAN_FRONTEND=noninteractive", f"SYSTEMD_BUS_TIMEOUT={PATIENCE:.0f}"], **{"capture-output": True})["pid"]
            end, pause = time.monotonic() + timeout, 0.02
            while True:
                answer = agent.command("guest-exec-status", pid=pid)
                if answer["exited"]:
                    out = base64.b64decode(answer.get("out-data", "")).decode(errors="replace")
                    return answer.get("exitcode", 128 + answer.get("signal", 0)), out
                if time.monotonic() > end:
                    raise DeviceError(f"{self.name}: {script}\ntook longer than {timeout:g} s")
                time.sleep(pause)  # the guest agent has no event for this
                pause = min(0.5, pause * 1.5)
        except OSError as error:
            raise DeviceError(f"{self.name}: {script}\n{error or type(error).__name__}; its console: "
                              + tail(self.directory / "console")) from error

    def write(self, path, content, mode=0o644):
        data = content.encode() if isinstance(content, str) else content
        self.sh(f"mkdir -p '{os.path.dirname(path)}'")
        handle = self.agent.command("guest-file-open", path=path, mode="w")
        try:
            for start in range(0, len(data), 1 << 16):
                piece = base64.b64encode(data[start:start + (1 << 16)]).decode()
                self.agent.command("guest-file-write", handle=handle, **{"buf-b64": piece})
        finally:
            self.agent.command("guest-file-close", handle=handle)
        self.sh(f"chmod {mode:o} '{path}'")

    def install(self, *debs):
        for deb in debs:
            self.write("/root/" + deb.name, deb.read_bytes())
        if debs:
            self.sh("apt-get install -y --no-install-recommends " + " ".join("/root/" + deb.name for deb in debs),
                    timeout=PATIENCE)

    def journal(self):
        """The entries so far, including those that the disk of the device lost in a power cut."""
        with self._journal_lock:
            with contextlib.suppress(FileNotFoundError), open(self.directory / "journal", "rb") as file:
                file.seek(self._read)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._read += len(line)
                    with contextlib.suppress(ValueError):  # a line that a power cut truncated
                        self._entries.append(json.loads(line))
            return list(self._entries)

    def wait_journal(self, condition, seconds=PATIENCE, since=0):
        def found():
            if not self.running:
                raise DeviceError(f"{self.name} is off")
            return next((entry for entry in self.journal()[since:] if condition(entry)), None)

        return wait_for(f"an entry in the journal of {self.name}", found, seconds, 0.1)

    # Its link

    def shape(self, rate=None, delay=None, loss=None):
        netem = " ".join(f"{key} {value}" for key, value in
                         (("rate", rate), ("delay", delay), ("loss", loss)) if value)
        self.sh(_SHAPE.format(netem=netem))

    def unshape(self):
        self.sh(_UNSHAPE)

    def cut_off(self):
        self.monitor.command("set_link", name="nic", up=False)

    def reconnect(self):
        self.monitor.command("set_link", name="nic", up=True)


def _run(*command):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{' '.join(map(str, command))}: {done.stderr}")
    return done.stdout


def _version():
    return _run("qemu-system-aarch64", "--version")


# --- many devices ------------------------------------------------------------------------------


class Golden:
    """A machine that was booted once with the packages installed, and frozen: Docker runs, pulletd is enabled and
    stopped. Clones map its memory copy-on-write. setup: a shell script that runs in it before. It is kept in the
    cache until another one is made and no process uses it any more."""

    def __init__(self, lab, base, debs=(), setup="", memory=1024, cpus=1, log=None):
        self.lab, self.base, self.memory, self.cpus = lab, base, memory, cpus
        self.log = log or (lambda _: None)
        code = [inspect.getsource(what) for what in (Device._start, Device.prepare, Golden._freeze)]
        recipe = [*code, base.directory.name, setup, memory, cpus, _version(), *(deb.read_bytes() for deb in debs)]
        self.directory = cache() / ("golden-" + hashlib.sha256(repr(recipe).encode()).hexdigest()[:12])
        self.disk, self.ram, self.state = (self.directory / name for name in ("disk.qcow2", "ram", "state"))
        self._lock = None
        while not self.directory.is_dir() or not self._lock:
            self._lock = open(f"{self.directory}.lock", "w")
            fcntl.flock(self._lock, fcntl.LOCK_SH)  # as long as this process lives, shared with others
            if not self.directory.is_dir():
                fcntl.flock(self._lock, fcntl.LOCK_EX)
                if not self.directory.is_dir():
                    self._make(debs, setup)
                fcntl.flock(self._lock, fcntl.LOCK_SH)
        self._remove_others()

    def _make(self, debs, setup):
        start = time.monotonic()
        with Device(self.lab, self.base, "golden", memory=self.memory, cpus=self.cpus) as machine:
            machine.prepare(debs, setup, self.log)
            self._freeze(machine)
            new = pathlib.Path(tempfile.mkdtemp(prefix="golden.", dir=cache()))
            shutil.move(machine.disk, new)
            shutil.move(machine.directory / "state", new)
            _run("cp", "--sparse=always", machine.directory / "memory/ram", new)
            _run("umount", machine.directory / "memory")
            new.rename(self.directory)
            self.log(f"frozen after {time.monotonic() - start:.0f} s, {machine.cpu_seconds():.0f} s of CPU")

    def _remove_others(self):
        for path in cache().glob("golden-*.lock"):
            with open(path, "w") as lock, contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path.with_suffix(""), ignore_errors=True)
                path.unlink(missing_ok=True)

    def _freeze(self, machine):
        for capability in ("x-ignore-shared", "events"):
            machine.monitor.command("migrate-set-capabilities",
                                    capabilities=[{"capability": capability, "state": True}])
        machine.monitor.command("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
        machine.monitor.command("stop")
        machine.monitor.command("migrate", uri=f"exec:cat >{machine.directory}/state")
        machine.monitor.wait_migration()
        machine._cpu_before = machine.cpu_seconds()
        machine.monitor.command("quit")  # the disk is written in order
        machine.process.wait(60)

    def clone(self, name, machine_id=None, drop_unflushed=False):
        """A device that continues from the frozen golden machine within seconds. Its clock is right, and it has its
        own name and machine id (32 hexadecimal digits; by default made from the name)."""
        machine_id = machine_id or hashlib.sha256(name.encode()).hexdigest()[:32]
        if not re.fullmatch("[0-9a-f]{32}", machine_id):
            raise DeviceError(f"{machine_id}: no machine id")
        return Device(self.lab, self.base, name, machine_id, self.disk, self.memory, self.cpus,
                      drop_unflushed)._resume(self)
