# SPDX-License-Identifier: MIT
"""Engines other than the machine's: Debian's docker.io and podman of other suites, each in a tree of
its own. A tree is made once by mmdebstrap and kept in a cache; an engine runs in a mount namespace
whose root is that tree, with this machine's processes, devices and temporary files."""

import fcntl
import os
import pathlib
import shutil
import subprocess
import tempfile
from dataclasses import dataclass

PACKAGES = {  # suite -> what its tree holds
    "bookworm": ["mount", "docker.io"],
    "trixie": ["mount", "docker.io", "docker-cli", "podman", "catatonit", "aardvark-dns",
               "nftables"],
    "sid": ["mount", "docker.io", "docker-cli"],
}


@dataclass(frozen=True)
class Kind:
    """One row of the matrix."""
    name: str
    about: str
    suite: str = None  # suite of its tree; None: the machine's own
    program: str = "dockerd"
    containerd_store: bool = False
    minimum: str = None  # oldest API version that it accepts, by a proxy; None: no proxy
    cgroup2: bool = False

    @property
    def keeps_digests(self):
        """Whether an image that was pulled by its tag is still known by its digest after the tag has moved."""
        return self.program == "dockerd" and not self.containerd_store


KINDS = {kind.name: kind for kind in [
    Kind("machine", "the machine's own docker.io, or that of PULLET_ENGINE_PATH"),
    Kind("bookworm", "docker.io 20.10", "bookworm"),
    Kind("trixie", "docker.io 26.1", "trixie"),
    Kind("trixie-containerd", "docker.io 26.1, containerd image store", "trixie",
         containerd_store=True),
    Kind("sid", "docker.io 28.5", "sid"),
    Kind("sid-containerd", "docker.io 28.5, containerd image store", "sid", containerd_store=True),
    Kind("sid-minimum", "docker.io 28.5, containerd image store, API 1.44 or newer only, as "
         "Engine 29", "sid", containerd_store=True, minimum="1.44"),
    Kind("sid-cgroup2", "docker.io 28.5 on cgroup v2 alone", "sid", cgroup2=True),
    Kind("podman", "podman 5's Docker-compatible socket", "trixie", program="podman"),
]}


class EngineError(Exception):
    """The engine is not available; the text gives the reason."""


def chosen():
    """The kind that PULLET_ENGINE names."""
    name = os.environ.get("PULLET_ENGINE") or "machine"
    if name not in KINDS:
        raise EngineError(f"PULLET_ENGINE={name}: there are {', '.join(KINDS)}")
    return KINDS[name]


# --- trees -------------------------------------------------------------------------------------


def cache():
    base = os.environ.get("XDG_CACHE_HOME") or "/var/cache"
    return pathlib.Path(os.environ.get("PULLET_TREES") or base + "/pullet-tests")


def tree(suite):
    path = cache() / suite
    if not path.is_dir():
        raise EngineError(f"{path} is not there: `tests/engine/matrix --trees` makes it")
    return path


def _apt(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def mirror():
    """The Debian mirror of this machine."""
    for line in _apt("apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)"):
        label, _, uri = line.rpartition(" ")
        if label == "Debian":
            return uri
    raise EngineError("apt knows no Debian mirror here: `apt-get update` first")


def debian(path, suite, packages, log=None, without=("doc", "man", "locale"), finish=None):
    """Makes a tree of a suite with these packages at path, once; other processes wait meanwhile. finish(tree) is
    called at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(path.name + ".lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.is_dir():
            _debootstrap(path, suite, packages, log, without, finish)
    return path


def _debootstrap(path, suite, packages, log, without, finish):
    if not shutil.which("mmdebstrap"):
        raise EngineError("mmdebstrap is not installed")
    new = pathlib.Path(tempfile.mkdtemp(prefix=path.name + ".", dir=path.parent))
    # apt in the tree needs the proxies and certificates of this machine to reach the mirror.
    settings = _apt("apt-config", "dump", "--format", '%F "%v";%n', "Acquire")
    # Sid's index is valid for a week, and a mirror may lag behind.
    settings += ['Acquire::Check-Valid-Until "false";', 'Acquire::Languages "none";']
    command = ["mmdebstrap", "--variant=apt", "--include=" + ",".join(packages),
               *(f"--aptopt={line}" for line in settings if line),
               *(f"--dpkgopt=path-exclude=/usr/share/{of}/*" for of in without),
               suite, str(new), f"deb {mirror()} {suite} main"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log or subprocess.PIPE,
                              stderr=log or subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            raise EngineError(f"mmdebstrap {suite}: status {done.returncode}"
                              + (f", see {log.name}" if log else ": " + done.stdout[-2000:]))
        if finish:
            finish(new)
        new.chmod(0o755)
        new.rename(path)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def bring_package(target, suite, *names):
    """Unpacks packages of a suite at target, unless they are there already. For programs that need only libc."""
    if target.is_dir():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{names[0]}-", dir=target.parent) as directory:
        for part in ("lists/partial", "archives/partial"):
            os.makedirs(f"{directory}/{part}")

        def apt(*arguments):
            options = {"Dir::Etc::SourceList": directory + "/sources.list",
                       "Dir::Etc::SourceParts": "-", "Dir::State::Lists": directory + "/lists",
                       "Dir::Cache": directory, "APT::Sandbox::User": "root",
                       "Acquire::Languages": "none", "Acquire::Check-Valid-Until": "false"}
            return subprocess.run(
                ["apt-get", "-qq", *(f"-o{k}={v}" for k, v in options.items()), *arguments],
                cwd=directory, stdin=subprocess.DEVNULL, check=True)

        pathlib.Path(directory, "sources.list").write_text(f"deb {mirror()} {suite} main\n")
        apt("update")
        apt("download", *names)
        for package in pathlib.Path(directory).glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, directory + "/tree"], check=True)
        os.rename(directory + "/tree", target)


def make_tree(suite, log=None):
    """Makes the tree of a suite's engines, unless it is there already."""
    return debian(cache() / suite, suite, PACKAGES[suite], log)


# --- a namespace -------------------------------------------------------------------------------

# An overlay in memory keeps the tree as it was made. Temporary files, the engine's among them, are
# the machine's, so that a path means the same inside and outside.
_SETUP = """
set -e
lab=$1 tree=$2 cgroup2=$3; shift 3
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work
mount -t overlay overlay "$tree" -o "lowerdir=$tree,upperdir=/mnt/upper,workdir=/mnt/work"
cd "$tree"
for of in proc sys dev; do mount --rbind /$of $of; done
mount -t tmpfs tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
if [ -n "$cgroup2" ]; then
	umount -R sys/fs/cgroup
	mount -t cgroup2 cgroup2 sys/fs/cgroup
fi
for of; do
	mkdir -p "./$of"
	mount --bind "$of" "./$of"
done
mount --rbind "$lab" "./$lab"
mkdir -p old
pivot_root . old
umount -l /old
touch /run/pullet-ready
exec sleep infinity
"""


class Namespace:
    """A mount namespace with a tree as its root, which exists as long as its process. enter is the prefix of a
    command."""

    def __init__(self, lab, kind):
        if os.geteuid() != 0:
            raise EngineError("an engine in a tree needs root")
        temporary = sorted({str(pathlib.Path(tempfile.gettempdir()).resolve()),
                            str(lab.directory.parent)})
        self.process = subprocess.Popen(
            ["unshare", "-m", "--propagation", "private", "sh", "-c", _SETUP, "sh",
             str(lab.directory), str(tree(kind.suite)), "yes" if kind.cgroup2 else "", *temporary],
            env={**lab.environment, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            start_new_session=True)
        self.root = pathlib.Path(f"/proc/{self.process.pid}/root")
        self.enter = ["nsenter", f"--mount=/proc/{self.process.pid}/ns/mnt", "--"]

    def ready(self):
        if self.process.poll() is not None:
            raise EngineError("a namespace for the engine: "
                              + self.process.stderr.read().decode(errors="replace"))
        return (self.root / "run/pullet-ready").exists()

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()


# --- podman ------------------------------------------------------------------------------------


def trust(namespace, registries):
    """Tells podman of a registry with plain HTTP. This must happen before it starts: when it reads the file again on
    SIGHUP, it loses the place of its volumes."""
    (namespace.root / "etc/containers/registries.conf").write_text("".join(
        f'[[registry]]\nlocation = "{address}"\ninsecure = true\n' for address in registries))


def podman(namespace, directory, url):
    """The command of podman's service. The clean-up of its containers expects the default paths."""
    (namespace.root / "etc/containers/containers.conf").write_text(
        '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        'runtime = "runc"\n')  # crun starts nothing beside cgroup v1
    (directory / "data").mkdir(exist_ok=True)
    return ["sh", "-c", 'where=/var/lib/containers; mkdir -p $where; '
            'mountpoint -q $where || mount --bind "$0" $where; '
            'exec podman system service --time 0 "$1"', directory / "data", url]


def mend_inspect(container):
    """Removes the values that podman fills in when it starts a container, and uses docker's word for its exit."""
    config, state = container["Config"], container["State"]
    own = ("container=podman", "HOME=", "HOSTNAME=" + config["Hostname"], "PATH=/usr/local/sbin:")
    config["Env"] = [e for e in config["Env"] or [] if not e.startswith(own)]
    state["Status"] = {"stopped": "exited"}.get(state["Status"], state["Status"])
