# SPDX-License-Identifier: MIT
"""Quick devices on this machine's kernel, without emulation."""

import json
import pathlib
import shutil
import subprocess

from devices import CREATE, ENGINE_WITNESS, Device
from pullet_machine import Machine

JOURNAL_WITNESS = """[Service]
Restart=always
RestartSec=500ms
StandardOutput=append:/lab/witness
ExecStart=journalctl --follow --no-tail --boot --output=json --output-fields=MESSAGE,PULLET_PHASE,PULLET_DIGEST \
	PULLET_CONTAINER=app + _SYSTEMD_UNIT=fleet-engine.service
[Install]
WantedBy=multi-user.target
"""


class NamespaceDevice(Device):
    """On this machine's kernel, without emulation: a Debian tree with a systemd and an engine of its own. Its link is shaped by the
    relay, as namespaces share the loopback interface. A power cut kills all processes at once; data in the kernel's
    memory is not lost."""

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
        (etc / "pullet/conf.d/app.conf").write_text(self.configuration(interval))
        if self.key:
            (etc / "pullet/keys").mkdir(exist_ok=True)
            shutil.copy(self.key, etc / "pullet/keys")
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


def build_package(directory):
    """The .deb for this machine's own suite and architecture."""
    top = pathlib.Path(__file__).resolve().parents[2]
    done = subprocess.run([top / "packaging/build-deb", "--here", "--out", directory], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError("packaging/build-deb: " + done.stderr[-2000:])
    return next(pathlib.Path(directory).glob("pullet_*.deb"))


