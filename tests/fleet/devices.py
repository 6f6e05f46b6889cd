# SPDX-License-Identifier: MIT
"""The devices of a fleet story, and the links between them and the registry.

A device tells what happens on it by lines in a file on the host: the engine's container events and Pullet's journal entries.
Nobody asks it while the story goes on."""

import json
import pathlib
import re
import shutil
import subprocess
import threading
import time

import pullet_qemu as qemu
from pullet_lab import Relay
from pullet_machine import Machine

# What each version leaves behind, by itself: a file of its name in here.
TRACES = "/var/lib/fleet"
ENGINE = re.compile(r"@engine (\d+) (\w+) (\w+) (\w+)$")
RESULT = re.compile(r"app: (updated|rolled-back|deferred|refused|failed)\b")

# The engine's events go to the journal too, so that one stream leaves the device.
ENGINE_WITNESS = """[Unit]
After=docker.service
[Service]
Restart=always
RestartSec=500ms
ExecStart=docker events --since 1 --filter type=container --filter event=start --filter event=die \
	--format '@engine {{.TimeNano}} {{.Action}} {{.ID}} {{index .Actor.Attributes "version"}}'
[Install]
WantedBy=multi-user.target
"""
JOURNAL_WITNESS = """[Service]
Restart=always
RestartSec=500ms
StandardOutput=append:/lab/witness
ExecStart=journalctl --follow --no-tail --boot --output=json --output-fields=MESSAGE,PULLET_PHASE,PULLET_DIGEST \
	PULLET_CONTAINER=app + _SYSTEMD_UNIT=fleet-engine.service
[Install]
WantedBy=multi-user.target
"""

CREATE = {"HostConfig": {"NetworkMode": "none", "RestartPolicy": {"Name": "always"}, "Binds": [TRACES + ":/data"]}}


def configuration(image, interval):
    host = image.partition("/")[0]
    return (f"[agent]\ninterval = {interval}\n\n[registry {host}]\ninsecure = yes\n\n"
            f"[container app]\nimage = {image}\nhealth = running\nhealth-period = 3s\nstop-timeout = 2s\ncreate = app.json\n")


class Link(Relay):
    """One device's way to the registry: its bytes are counted, it can be slow, and it can be cut. Then nothing gets through and nothing
    is refused, as with a pulled cable. bits: a second, one after the other whatever the connection; delay: there and back."""

    chunk = 1400

    def __init__(self, lab, target, bits=None, delay=0.0):
        self._bits, self._delay = bits, delay
        self._plugged, self._line = threading.Event(), threading.Lock()
        self._plugged.set()
        super().__init__(lab, target)

    def cut(self):
        self._plugged.clear()

    def mend(self):
        self._plugged.set()

    def stop(self):
        self.mend()
        super().stop()

    def carry(self, size, way):
        if way == "up":
            time.sleep(self._delay)
        if self._bits:
            with self._line:
                time.sleep(size * 8 / self._bits)
        self._plugged.wait()


class Device:
    """start(interval), sh(script), power_cut(), power_on(), link_down(), link_up(), stop(); out: where its witnesses' lines arrive."""

    def __init__(self, name, machine_id, link, words):
        self.name, self.machine_id, self.link, self.words = name, machine_id, link, words
        self.cohorts, self.traffic = {}, []
        self.events = []  # as they came; Fleet.run_json() puts them in order
        self.skew = [0.0]  # the host's clock less the device's, by boot
        self._seen, self._position, self._rest = set(), 0, ""

    def cpu_seconds(self):
        """What emulating it has cost."""
        return 0.0

    def sample(self, t):
        self.traffic.append({"t": t, "down": self.link.down, "up": self.link.up})

    def read(self, digests):
        """New events since the last call: [(its own clock, event)], each once."""
        try:
            with open(self.out, errors="replace") as file:
                file.seek(self._position)
                text = self._rest + file.read()
                self._position = file.tell()
        except FileNotFoundError:
            return []
        *lines, self._rest = text.split("\n")
        return [event for event in (self._parse(line, digests) for line in lines) if event]

    def _parse(self, line, digests):
        try:
            entry = json.loads(line)
            text, at = entry.get("MESSAGE") or "", int(entry["__REALTIME_TIMESTAMP"]) / 1e6
        except (ValueError, AttributeError, KeyError):
            return None  # the rest of a line that a power cut tore
        if not isinstance(text, str):  # bytes that are no text
            return None
        engine, phase = ENGINE.match(text), entry.get("PULLET_PHASE")
        version = digests.get(entry.get("PULLET_DIGEST"), entry.get("PULLET_DIGEST"))
        if engine:
            at, event = int(engine[1]) / 1e9, {"kind": engine[2], "id": engine[3][:12], "version": engine[4]}
        elif RESULT.match(text):
            for digest, name in digests.items():
                text = text.replace(digest[:19], name)
            event = {"kind": "result", "result": RESULT.match(text)[1], "version": version, "text": text}
        elif phase:
            event = {"kind": "phase", "phase": phase, "version": version}
        else:
            return None
        key = (at, *event.values())
        if key in self._seen:  # a witness that started again tells all again
            return None
        self._seen.add(key)
        return at, event

    def end(self, digests):
        """What the device is when all is over."""
        out = {"answers": False, "containers": [], "running": [], "phase": None, "rejected": [], "traces": []}
        try:
            text = self.sh("docker ps -a --format '{{.Names}} {{.State}} {{.Label \"version\"}}'; echo; pullet status --json; echo; "
                           f"ls {TRACES}", timeout=300)
        except Exception as error:  # whatever it is: a device that does not answer is what is to be found out
            out["error"] = str(error)
            return out
        containers, status, traces = text.split("\n\n", 2)
        rows, status = [line.split(" ") for line in containers.splitlines()], json.loads(status)[0]
        out.update(answers=True, containers=[row[0] for row in rows], running=[row[2] for row in rows if row[1] == "running"],
                   phase=status["phase"], traces=traces.split(),
                   rejected=[digests.get(one["digest"], one["digest"]) for one in status["rejected"]])
        return out


class NamespaceDevice(Device):
    """On this machine's kernel, without emulation: a Debian tree with a systemd and an engine of its own. Its link is shaped by the
    relay, as namespaces share the loopback interface. A power cut kills it all at once; what the kernel has in memory is not lost."""

    def __init__(self, lab, golden, name, machine_id, link, words):
        super().__init__(name, machine_id, link, words)
        self.machine = Machine(lab, golden.suite, name)
        upper = self.machine.disk / "upper"
        shutil.rmtree(upper)
        subprocess.run(["cp", "-a", golden.upper, upper], check=True)
        (upper / "etc/machine-id").write_text(machine_id + "\n")
        self.out = self.machine.shared / "witness"
        self.sh = self.machine.sh

    def start(self, interval):
        etc = self.machine.disk / "upper/etc"
        (etc / "pullet/conf.d").mkdir(parents=True, exist_ok=True)
        (etc / "pullet/conf.d/app.json").write_text(json.dumps(CREATE))
        (etc / "pullet/conf.d/app.conf").write_text(configuration(self.link.address + "/app:stable", interval))
        for unit, text in (("fleet-engine.service", ENGINE_WITNESS), ("fleet-journal.service", JOURNAL_WITNESS)):
            (etc / "systemd/system" / unit).write_text(text)
            wanted = etc / "systemd/system/multi-user.target.wants" / unit
            wanted.parent.mkdir(exist_ok=True)
            wanted.symlink_to("../" + unit)
        self.machine.start()

    def power_cut(self):
        self.machine.power_off()

    def power_on(self):
        self.machine.start()

    def link_down(self):
        self.link.cut()

    def link_up(self):
        self.link.mend()


class NamespaceGolden:
    """A machine with the package installed by apt, whose disk the devices start from."""

    def __init__(self, lab, package, suite="bookworm"):
        self.suite = suite
        machine = Machine(lab, suite, "golden")
        shutil.copy(package, machine.shared / "pullet.deb")
        machine.start()
        machine.sh("apt-get install -y --no-install-recommends /lab/pullet.deb; sync")
        machine.power_off()
        self.upper = machine.disk / "upper"
        (self.upper / "etc/machine-id").unlink()
        shutil.rmtree(self.upper / "var/log/journal", ignore_errors=True)


class QemuDevice(Device):
    """An emulated one, a clone of the golden machine, or with cold booted from its disk. The link is shaped in the guest, where its own
    TCP feels it; what passes is counted outside, without headers. A cut link is a pulled plug; a power cut loses what was not written."""

    def __init__(self, lab, golden, name, machine_id, link, words, cold=False):
        super().__init__(name, machine_id, link, words)
        self.lab, self.golden, self.cold, self.machine = lab, golden, cold, None
        self.out = lab.path(name) / "journal"

    def start(self, interval):
        if self.cold:
            self.machine = qemu.Device(self.lab, self.golden.base, self.name, self.machine_id, self.golden.disk).boot()
            self.sh(f"systemctl stop pulletd; echo {self.machine_id} >/etc/machine-id; echo {self.name} >/etc/hostname")
        else:
            self.machine = self.golden.clone(self.name, self.machine_id)
        self.skew[-1] = self._measure_skew()
        image = f"{qemu.HOST}:{self.link.address.rpartition(':')[2]}/app:stable"
        self.machine.write("/etc/pullet/conf.d/app.json", json.dumps(CREATE))
        self.machine.write("/etc/pullet/conf.d/app.conf", configuration(image, interval))
        self.sh("systemctl start pulletd; sync")

    def sh(self, script, timeout=600):
        return self.machine.sh(script, timeout=timeout)

    def cpu_seconds(self):
        return self.machine.cpu_seconds() if self.machine else 0.0

    def _measure_skew(self):
        """The shortest of some questions says it best."""
        best = None
        for _ in range(5):
            before = time.time()
            its, after = self.machine.agent.command("guest-get-time") / 1e9, time.time()
            if best is None or after - before < best[0]:
                best = (after - before, (before + after) / 2 - its)
        return best[1]

    def power_cut(self):
        self.machine.power_cut()

    def power_on(self):
        self.machine.boot()
        self.skew[-1] = self._measure_skew()

    def link_down(self):
        self.machine.cut_off()

    def link_up(self):
        self.machine.reconnect()


# The thin link of each boot, before anything goes over it.
SHAPE = """[Unit]
BindsTo=sys-subsystem-net-devices-eth0.device
After=sys-subsystem-net-devices-eth0.device
Before=systemd-networkd.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=modprobe ifb numifbs=1
ExecStart=modprobe sch_netem
ExecStart=ip link set ifb0 up
ExecStart=tc qdisc replace dev eth0 root netem NETEM
ExecStart=tc qdisc add dev eth0 ingress
ExecStart=tc filter add dev eth0 parent ffff: matchall action mirred egress redirect dev ifb0
ExecStart=tc qdisc replace dev ifb0 root netem NETEM
[Install]
WantedBy=multi-user.target
"""


def qemu_golden(lab, arch, packages, bits, delay, log):
    """The machine that all others are made from: the package by apt, the witness, the thin link."""
    shape = SHAPE.replace("NETEM", f"rate {bits}bit delay {round(delay * 500)}ms")
    setup = "".join(f"cat >/etc/systemd/system/{unit} <<'END'\n{text}END\nsystemctl enable --now {unit}\n"
                    for unit, text in (("fleet-engine.service", ENGINE_WITNESS), ("fleet-link.service", shape)))
    return qemu.Golden(lab, qemu.Base("trixie", arch, log=log), packages, setup, log=log)


def build_package(directory):
    """The .deb for this machine's own suite and architecture."""
    top = pathlib.Path(__file__).resolve().parents[2]
    done = subprocess.run([top / "packaging/build-deb", "--here", "--out", directory], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError("packaging/build-deb: " + done.stderr[-2000:])
    return next(pathlib.Path(directory).glob("pullet_*.deb"))


