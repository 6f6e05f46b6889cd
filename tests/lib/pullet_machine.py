# SPDX-License-Identifier: MIT
"""A Debian machine without qemu: a tree booted with its own systemd as PID 1 in namespaces of its own
(mount, process, cgroup, uts, ipc). It shares this machine's kernel and loopback interface. Its disk is a
directory, so the machine can be switched off (all processes are killed at once) and on again.

    with Machine(lab, "bookworm") as machine:
        machine.sh("apt-get install -y /lab/pullet.deb")

Needs root and mmdebstrap; trees are made once and kept beside those of the engines (pullet_engines.py)."""

import os
import pathlib
import signal
import subprocess
import time
import uuid

from pullet_engines import EngineError, cache, debian
from pullet_sweep import remove, tail, wait_for

# With the dependencies of pullet, so that its installation needs no mirror.
PACKAGES = ["systemd", "systemd-sysv", "dbus", "docker.io", "polkitd", "ca-certificates", "procps",
            "libjansson4", "libzstd1"]
OF_SUITE = {"bookworm": ["libcurl4"], "trixie": ["libcurl4t64", "docker-cli"]}


def make_tree(suite):
    """Makes the tree that the package is installed into: a small Debian with systemd, Docker and the dependencies of
    pullet."""
    return debian(cache() / f"machine-{suite}", suite, [*PACKAGES, *OF_SUITE[suite]], finish=_prepare)


def _prepare(tree):
    # Without services that a device does not have, or that need hardware.
    for unit in ("getty@.service", "console-getty.service", "systemd-udevd.service", "systemd-logind.service",
                 "systemd-timesyncd.service", "apt-daily.timer", "apt-daily-upgrade.timer",
                 "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer"):
        (tree / "etc/systemd/system" / unit).symlink_to("/dev/null")
    # Docker has no bridge and no firewall here.
    (tree / "etc/docker").mkdir(parents=True, exist_ok=True)
    (tree / "etc/docker/daemon.json").write_text('{"bridge": "none", "iptables": false, "ip6tables": false}\n')


_SETUP = """
set -e
disk=$1 tree=$2 shared=$3 boot=$4
mount --make-rprivate /
mkdir -p "$disk/upper" "$disk/work" "$disk/docker" "$disk/containerd" "$disk/root"
mount -t overlay overlay "$disk/root" -o "lowerdir=$tree,upperdir=$disk/upper,workdir=$disk/work"
cd "$disk/root"
mkdir -p lab var/lib/docker var/lib/containerd
# Layers on top of layers: the engine wants an ordinary file system.
mount --bind "$disk/docker" var/lib/docker
mount --bind "$disk/containerd" var/lib/containerd
mount --bind "$shared" lab
mount -t proc proc proc
mount --bind "$boot" proc/sys/kernel/random/boot_id
mount --rbind /sys sys
umount -R sys/fs/cgroup
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
for of in null zero full random urandom tty fuse loop-control; do
	[ ! -e /dev/$of ] || { touch dev/$of; mount --bind /dev/$of dev/$of; }
done
mkdir dev/pts dev/shm dev/mqueue
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs tmpfs dev/shm
mkdir -p .old
pivot_root . .old
umount -l /.old
rmdir /.old 2>/dev/null || true
# Credentials reach their unit by propagation; in a container systemd leaves that to who made it.
mount --make-rshared /
hostname pi
exec env -i container=docker PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --log-target=journal \
	systemd.firstboot=off
"""


class Machine:
    """start(), sh(), power_off() (like pulling the plug), start() again. The directory shared is its /lab."""

    def __init__(self, lab, suite, name="pi"):
        self.lab, self.tree = lab, make_tree(suite)
        self.directory = lab.path(name)
        self.directory.mkdir()
        self.shared = self.directory / "lab"
        self.shared.mkdir()
        self.disk = self.directory / "disk"
        (self.disk / "upper/etc").mkdir(parents=True)
        (self.disk / "upper/etc/machine-id").write_text(uuid.uuid4().hex + "\n")
        self.boot = self.directory / "boot-id"
        self.log = self.directory / "console"
        self.process = self.init = None
        lab.add(self)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def start(self):
        self.boot.write_text(f"{uuid.uuid4()}\n")
        with open(self.log, "ab") as log:
            # A cgroup of its own first: the root of the new namespace, which systemd then owns.
            self.process = subprocess.Popen(
                ["unshare", "-m", "-p", "-f", "-C", "-u", "-i", "--propagation", "private", "--kill-child",
                 "sh", "-c", _SETUP, "sh", str(self.disk), str(self.tree), str(self.shared), str(self.boot)],
                env={**self.lab.environment, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                preexec_fn=self._enter_cgroup)
        self.init = wait_for("PID 1 of the machine", self._find_init, 60)
        wait_for("the machine's bus", lambda: self.sh("test -S /run/dbus/system_bus_socket", check=False) is not None, 120, 0.1)
        self.sh("systemctl is-system-running --wait || true", timeout=300)
        return self

    def _enter_cgroup(self):
        path = self.cgroup()
        if path:
            path.mkdir(exist_ok=True)
            (path / "cgroup.procs").write_text(str(os.getpid()))

    def cgroup(self):
        """On a machine with cgroup v2 only, or with it beside v1."""
        for base in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup"):
            if pathlib.Path(base, "cgroup.procs").exists():
                return pathlib.Path(base, "pullet-" + self.directory.parent.name + "-" + self.directory.name)
        return None

    def _find_init(self):
        if self.process.poll() is not None:
            raise EngineError("the machine did not start: " + tail(self.log))
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for pid in children:
            try:
                if pathlib.Path(f"/proc/{pid}/comm").read_text() == "systemd\n":
                    return int(pid)
            except OSError:
                pass
        return None

    def sh(self, script, check=True, timeout=300, user=None):
        """Runs script in the machine. -> its output (standard error with it); None if it failed and
        check is off."""
        done = subprocess.run(
            ["nsenter", "-t", str(self.init), "-m", "-p", "-C", "-u", "-i", "-r", "-w", "env", "-i",
             "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "SYSTEMD_PAGER=",
             "DEBIAN_FRONTEND=noninteractive", *(["runuser", "-u", user, "--"] if user else []),
             "sh", "-euc", script],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=timeout, check=False)
        if done.returncode and check:
            raise EngineError(f"{script}\nstatus {done.returncode}: {done.stdout[-3000:]}")
        return done.stdout if done.returncode == 0 else None

    def write(self, path, text):
        pathlib.Path(f"/proc/{self.init}/root{path}").write_text(text)

    def power_off(self):
        """Kills all processes at once. Data in the kernel is not lost; tests/engine/powercut covers that."""
        os.kill(self.init, signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.power_off()
        for base in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup"):
            top = pathlib.Path(base, "pullet-" + self.directory.parent.name + "-" + self.directory.name)
            for _ in range(50):
                for path in sorted(top.rglob("*"), reverse=True) if top.exists() else ():
                    if path.is_dir():
                        try:
                            path.rmdir()
                        except OSError:
                            pass
                try:
                    top.rmdir()
                except OSError:
                    pass
                if not top.exists():
                    break
                time.sleep(0.05)
        remove(self.disk)
