# SPDX-License-Identifier: MIT
"""Devices that qemu emulates, all of them made from one golden machine."""

import json
import time

import pullet_qemu as qemu
from devices import CREATE, ENGINE_WITNESS, Device

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


def make_golden(lab, suite, arch, packages, bits, delay, log):
    """The machine that all others are made from: the package by apt, the witness, the thin link."""
    shape = SHAPE.replace("NETEM", f"rate {bits}bit delay {round(delay * 500)}ms")
    setup = "".join(f"cat >/etc/systemd/system/{unit} <<'END'\n{text}END\nsystemctl enable --now {unit}\n"
                    for unit, text in (("fleet-engine.service", ENGINE_WITNESS), ("fleet-link.service", shape)))
    return qemu.Golden(lab, qemu.Base(suite, arch, log=log), packages, setup, log=log)


class EmulatedDevice(Device):
    """An emulated one, a clone of the golden machine, or with cold booted from its disk. The link is shaped in the guest, where its own
    TCP feels it; what passes is counted outside, without headers. A cut link is a pulled plug; a power cut loses what was not written."""

    def __init__(self, lab, golden, name, machine_id, link, words, cold=False):
        super().__init__(name, machine_id, link, words)
        self.lab, self.golden, self.cold, self.machine = lab, golden, cold, None
        self.out = lab.path(name) / "journal"
        self.image = f"{qemu.HOST}:{link.address.rpartition(':')[2]}/app:stable"

    def start(self, interval):
        if self.cold:
            self.machine = qemu.Device(self.lab, self.golden.base, self.name, self.machine_id, self.golden.disk).boot()
            self.sh(f"systemctl stop pulletd; echo {self.machine_id} >/etc/machine-id; echo {self.name} >/etc/hostname")
        else:
            self.machine = self.golden.clone(self.name, self.machine_id)
        self.skew[-1] = self._measure_skew()
        self.machine.write("/etc/pullet/conf.d/app.json", json.dumps(CREATE))
        self.machine.write("/etc/pullet/conf.d/app.conf", self.configuration(interval))
        if self.key:
            self.machine.write(f"/etc/pullet/keys/{self.key.name}", self.key.read_text())
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
