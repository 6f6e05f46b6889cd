# SPDX-License-Identifier: MIT
"""The power-cut campaign: all data of a device is on one ext4 file system that is shut down at some instant of an
update. Data that was not on the disk is lost and all processes are killed; the machine boots again, and one pass must
repair everything. tests/engine/powercut runs all of it.

The same device is used for many updates. Every version has layers of its own with random bytes, so that a corrupt
file is detected by its content.
"""

import contextlib
import fcntl
import functools
import io
import json
import os
import pathlib
import random
import re
import shutil
import signal
import struct
import subprocess
import tarfile
import threading
import uuid
from dataclasses import dataclass, field

import pullet_trace
from pullet_crash import BASIS, KEPT, difference, spread
from pullet_agent import Pullet
from pullet_delta import publish_delta
from pullet_engine import Engine
from pullet_image import Image, actor
from pullet_relay import Relay
from pullet_spool import HEADERS, LOST, MB, Linked, down, layers, left, ours
from pullet_sweep import MARK, LabError, remove_cgroups, sweep, wait_for

# linux, fs/ext4/ext4.h: EXT4_IOC_SHUTDOWN is _IOR('X', 125, __u32)
EXT4_IOC_SHUTDOWN = 0x8004587D
JOURNALS = {"journal lost": 2, "journal written": 1}  # EXT4_GOING_FLAGS_NOLOGFLUSH, _LOGFLUSH
BOOT_ID = "/proc/sys/kernel/random/boot_id"
NAME = "app"
RATE = 6 * MB  # of a link, in a campaign with deltas
FRESH = 700_000  # bytes of each version that are in no other: more than a cut may cost
# Cuts within microseconds after a directory has got so many new entries.
CUTTER = """
    #include <fcntl.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <sys/inotify.h>
    #include <sys/ioctl.h>
    #include <unistd.h>

    int main(int argc, char **argv)
    {
        char buf[4096];
        int disk = open(argv[1], O_RDONLY), watch = inotify_init(), n = atoi(argv[3]), how = atoi(argv[4]);

        if (argc != 5 || disk < 0 || inotify_add_watch(watch, argv[2], IN_MOVED_TO) < 0)
            return 1;
        puts("ready");
        fflush(stdout);
        while (n > 0) {
            long size = read(watch, buf, sizeof(buf));

            for (long at = 0; at < size; n--)
                at += (long)sizeof(struct inotify_event) + ((struct inotify_event *)(buf + at))->len;
        }
        return ioctl(disk, 0x8004587Du, &how);
    }
    """
NO_SYNC = """
    int fsync(int fd) { return 0; }
    int fdatasync(int fd) { return 0; }
    int syncfs(int fd) { return 0; }
    void sync(void) { }
    """


# --- the machine -------------------------------------------------------------------------------


class Disk:
    """An ext4 file system in a file (in memory, so that sync by other programs costs nothing)."""

    def __init__(self, lab, name="disk", megabytes=384):
        self.path, self.store = lab.path(name), lab.path(name + "-store")
        self.path.mkdir()
        self.store.mkdir()
        self._run("mount", "-t", "tmpfs", "tmpfs", self.store)
        self.image, self.life = self.store / "0", 0
        with open(self.image, "wb") as image:
            image.truncate(megabytes << 20)
        self._run("mkfs.ext4", "-q", self.image)
        self._mount()

    @staticmethod
    def _run(*command):
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False,
                              env={**os.environ, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        if done.returncode:
            raise LabError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")

    def _mount(self):
        self._run("mount", "-o", "loop", self.image, self.path)

    def cut(self, flag):
        """From this instant on nothing reaches the disk. Flushing the journal first is equivalent to one of its
        commits, every 5 s, just before."""
        fd = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", flag))
        finally:
            os.close(fd)

    def unmount(self):
        sweep(self.path)
        wait_for(f"{self.path} to be let go", lambda: subprocess.run(
            ["umount", str(self.path)], capture_output=True, check=False).returncode == 0)

    def renew(self):
        """Mounts the disk again, which replays the journal. It uses another file, because a process that copied the
        mount into its own namespace keeps the old file system in use."""
        self.unmount()
        self.life += 1
        old, self.image = self.image, self.store / str(self.life)
        self._run("cp", "--sparse=always", old, self.image)
        old.unlink()
        self._mount()

    def close(self):
        self.unmount()
        subprocess.run(["umount", "-l", str(self.store)], check=False)
        self.path.rmdir()
        self.store.rmdir()


class Machine:
    """A disk, and an engine and an agent with all their data on it."""

    def __init__(self, lab, name, sync=True):
        self.lab, self.disk = lab, Disk(lab, name)
        self.engine = Engine(lab, name + "-run", storage=self.disk.path)
        self.pullet = Pullet(lab, self.engine, name + "-pullet")
        self.pullet.state = self.disk.path / "state"
        self.boot_id = self.pullet.directory / "boot-id"
        # A program under ptrace cannot look for leaks.
        self.environment = {**lab.environment, MARK: self.pullet.mark,
                            "ASAN_OPTIONS": "detect_leaks=0"}
        if not sync:
            self.environment["LD_PRELOAD"] = str(self._no_sync())
            self.environment["ASAN_OPTIONS"] += ":verify_asan_link_order=0"
        self._boot()

    def _no_sync(self):
        """A preloaded library that turns sync(2) and similar calls of the agent into no-ops."""
        library = self.pullet.directory / "nosync.so"
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, "-x", "c", "-"], check=True,
                       input=NO_SYNC.encode())
        return library

    @functools.cached_property
    def cutter(self):
        program = self.pullet.directory / "cutter"
        subprocess.run(["gcc", "-w", "-o", program, "-x", "c", "-"], check=True, input=CUTTER.encode())
        return program

    def _boot(self):
        self.boot_id.write_text(str(uuid.uuid4()) + "\n")

    def command(self):
        """The command for one pass in the current boot."""
        return ["unshare", "--mount", "sh", "-c", f'mount --bind "$0" {BOOT_ID} && exec "$@"',
                str(self.boot_id), *self.pullet.command("--once", "--json")]

    def play(self, strike=None):
        return pullet_trace.run(self.command(), strike, self.environment)

    def power_off(self):
        """Kills everything else after the disk has been cut."""
        self.engine.power_off()
        left = sweep(self.pullet.directory)
        if left:
            raise LabError(f"these survive a power cut: {left}")
        with contextlib.suppress(OSError):  # of the disk that was cut
            remove_cgroups(os.listdir(self.disk.path / "data/containers"))

    def power_on(self):
        self.disk.renew()
        self._boot()
        self.engine.power_on()

    def close(self):
        self.engine.stop()
        sweep(self.pullet.directory)
        self.disk.close()
        for directory in (self.engine.directory, self.pullet.directory):
            shutil.rmtree(directory, ignore_errors=True)


# --- when --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Instant:
    """delay seconds after the nth call of the agent that changes any state, or after its first call with this text (how
    many calls there are depends on how the bytes arrive), while the agent goes on. Whether the journal is flushed.
    layer: not before the engine has registered so many new layers, when most of their files are
    not on the disk and their source is not registered yet."""
    call: int | str
    delay: float
    journal: str
    layer: int = 0

    def __str__(self):
        later = f" and {self.delay * 1000:.0f} ms" if self.delay else ""
        later += f", with layer {self.layer}" if self.layer else ""
        return f"cut at call {self.call}{later}, {self.journal}"


class Cut:
    """Cuts the power at one instant: pass strike to a pass, then call finish()."""

    def __init__(self, machine, instant):
        self.machine, self.instant, self.calls = machine, instant, 0
        self.at, self.timer, self.struck = None, None, False

    def _now(self):
        self.struck = True
        self.machine.disk.cut(JOURNALS[self.instant.journal])
        for pid in _agents(self.machine.pullet):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _start_cutter(self):
        """Returns when the cutter is watching"""
        disk = self.machine.disk.path
        self.cutter = subprocess.Popen(
            [self.machine.cutter, disk, disk / "data/image/overlay2/layerdb/sha256", str(self.instant.layer),
             str(JOURNALS[self.instant.journal])], stdout=subprocess.PIPE)
        if self.cutter.stdout.readline() != b"ready\n":
            raise LabError("cannot watch the engine's books")
        self.timer = threading.Thread(target=lambda: (self.cutter.wait(20), self._now()))
        self.timer.start()

    def strike(self, call, side, _number):
        if side != "before" or not call.program.startswith("pullet"):
            return None
        self.calls += 1
        self.at = str(call)
        if self.instant.call not in (call.text, self.calls):
            return None
        if self.instant.layer:
            return self._start_cutter
        if not self.instant.delay:
            return self._now
        self.timer = threading.Timer(self.instant.delay, self._now)
        return self.timer.start

    def finish(self):
        """Cuts now if the pass ended before the instant."""
        if self.timer:
            self.timer.join()
        elif not self.struck:
            self.at = "the end"
            self._now()
        self.machine.power_off()


def _agents(pullet):
    """The processes of a pass, by the mark in their environment."""
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if entry.isdigit() and os.fsencode(f"{MARK}={pullet.mark}") in pathlib.Path(
                    "/proc", entry, "environ").read_bytes():
                yield int(entry)


# --- the campaign ------------------------------------------------------------------------------


@dataclass
class Version:
    """An image and its files."""
    number: int
    published: object
    files: dict
    delta: object = None  # from the version before


@dataclass
class Trial:
    instants: list
    faults: list = field(default_factory=list)
    story: list = field(default_factory=list)  # log of the trial, line by line

    def __str__(self):
        return "\n".join([" and ".join(map(str, self.instants)),
                          *(f"    {line}" for line in self.faults + self.story)])


class Life:
    """One device over many updates. deltas: beside each version is the delta from the one that runs, which is fetched
    through a relay."""

    def __init__(self, lab, registry, dice, sync=True, deltas=False, tell=print):
        name = "m" + uuid.uuid4().hex[:6]
        self.deltas = deltas
        if deltas:
            self.relay = Relay(lab, registry.address, rate=RATE, http=True)
            registry = Linked(registry, self.relay)
        self.registry = registry
        self.dice, self.repository, self.plain, self.tell = dice, "power/" + name, 0, tell
        self.image = registry.ref(self.repository + ":stable")
        self.machine = Machine(lab, name, sync)
        self.engine, self.pullet = self.machine.engine, self.machine.pullet
        # By the mark a container's process is found after its parents have died.
        self.pullet.configure({NAME: {"image": self.image, "health-period": "200ms", "create": {
            "Env": [f"{MARK}={self.engine.directory}"],
            "HostConfig": {"NetworkMode": "none", "RestartPolicy": {"Name": "always"}}}}})
        self.number, self.rejected, self.previous, self.current = 0, [], None, None
        self.versions = {}
        for _ in range(2):
            self.previous, self.current = self.current, self.publish()
            trace = self.machine.play()
            if self.result(trace).get("result") != "updated":
                raise LabError(f"undisturbed: {trace}")
        faults = self.faults_of_the_world()
        if faults:
            raise LabError(f"undisturbed: {faults}")
        self.calls = [call for call in trace.calls if call.program.startswith("pullet")]
        self.pull = self.call_after("POST /images/load") - 1
        if deltas:
            self.save = self.call_after(r"GET /images/.*/get$") - 1
            if self.layers_asked(self.current):
                raise LabError(f"undisturbed: it came without the delta: {self.relay.requests}")

    def call_after(self, text, since=0):
        """The number of the call after the next one that begins with this pattern."""
        return next(i + 1 for i, call in enumerate(self.calls, 1)
                    if i > since and re.match(text, call.text))

    def contents(self):
        """-> files of two layers. With deltas, those of the version that runs, with some new bytes in each file."""
        if not self.deltas or not self.current:
            return [{f"{where}/{i}": self.dice.randbytes(self.dice.randint(1, 30000))
                     for i in range(30)} for where in ("below", "above")]

        def edited(data):
            at = self.dice.randrange(len(data))
            return data[:at] + self.dice.randbytes(min(16, len(data) - at)) + data[at + 16:]

        below, above = ({path: edited(data) for path, data in self.current.files.items() if path.startswith(where)}
                        for where in ("below", "above"))
        return below, {**above, "above/fresh": self.dice.randbytes(FRESH)}

    def layers_asked(self, version):
        return [r for r in ours(self.relay) if r.path.rpartition("/")[2] in layers(version.published)]

    def publish(self, good=True):
        """Publishes a version in which every layer is new. A bad version has no program."""
        self.number += 1
        below, above = self.contents()
        image = actor("say", self.number, "wait", files=above,
                      Labels={"version": str(self.number)})
        if not good:
            image.config["Cmd"] = ["/no-such-program"]
        image.base = Image(below)
        version = Version(self.number, self.registry.publish(self.repository, "stable", image),
                          {**below, **image.files})
        self.versions[str(self.number)] = version
        if self.deltas and self.current:
            version.delta = publish_delta(self.registry, self.repository, self.current.published, version.published)
            self.relay.reset()
        return version

    @staticmethod
    def result(trace):
        """The result object of a pass; empty if there is none."""
        for line in trace.output.splitlines():
            if line.startswith("{") and (entry := json.loads(line)).get("container") == NAME:
                return entry
        return {}

    # -- the promises

    def torn(self, what, container):
        """Compares every file of a container's image with the published one."""
        label = self.engine.inspect(container)["Config"]["Labels"].get("version")
        version = self.versions[label]
        data = self.engine.call("GET", f"/containers/{container}/archive?path=/")
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            have = {entry.name.strip("./"): tar.extractfile(entry).read()
                    for entry in tar if entry.isfile()}
        torn = [path for path, content in version.files.items() if have.get(path) != content]
        return [f"{what}, version {label}: {len(torn)} of {len(version.files)} files are torn: {torn[:3]}"
                ] if torn else []

    def torn_image(self, what, image):
        try:
            self.engine.create("probe", image)
            return self.torn(what, "probe")
        except LabError as error:
            return [f"{what} is torn: {error}"]
        finally:
            self.engine.remove_container("probe")
            # Otherwise it is there again after the next cut.
            subprocess.run(["sync", "-f", str(self.machine.disk.path)], check=True)

    def listed(self):
        """The names of all images. containerd's store gives each tag a digest beside it, and Docker 26 lists there no image
        whose blobs it lacks, but inspects it."""
        names = {reference for image in self.engine.call("GET", "/images/json")
                 for reference in (image["RepoTags"] or []) + (image["RepoDigests"] or [])
                 if not reference.startswith(("<none>", KEPT + "@", BASIS + "@"))}
        pinned = [f"{self.registry.ref(self.repository)}@{version.published.digest}" for version in self.versions.values()]
        return sorted(names | {name for name in (self.image, f"{KEPT}:{NAME}", *pinned[-30:]) if self.basis()
                               and self.engine.inspect_image(name)})

    def faults_of_the_world(self):
        """All defects of the state while no update is under way."""
        inspect, record = self.engine.inspect(NAME), self.pullet.record(NAME)
        if not inspect or not record:
            return [f"there is no container: {self.engine.containers()}"] * (not inspect) + [
                "there is no record"] * (not record)
        now, before = (v.published.digest for v in (self.current, self.previous))
        pinned = self.registry.ref(self.repository) + "@"
        want = {"containers": {NAME: "running"}, "version": str(self.current.number),
                "policy": "always", "phase": "idle", "current": now, "previous": before,
                "rejected": self.rejected[-16:], "state": [NAME + ".json"], "spool": [],
                "images": sorted([self.image, pinned + now, pinned + before, f"{KEPT}:{NAME}", *self.basis()])}
        have = {"containers": self.engine.containers(),
                "version": inspect["Config"]["Labels"].get("version"),
                "policy": inspect["HostConfig"]["RestartPolicy"]["Name"], "phase": record["phase"],
                "current": record["current"]["digest"], "previous": record["previous"]["digest"],
                "rejected": [entry["digest"] for entry in record["rejected"]],
                "state": sorted(set(os.listdir(self.pullet.state)) - {"spool"}), "spool": left(self),
                "images": self.listed()}
        return (difference(want, have) + self.torn("the container", NAME)
                or self.torn_image("the kept image", f"{KEPT}:{NAME}"))

    def basis(self):
        """The name of what a delta has made, in containerd's store."""
        return [f"{BASIS}:{NAME}"] if self.deltas and self.engine.kind.containerd_store else []

    def faults_of_the_link(self, version, trial, good):
        """The patch came once, but for what a cut may cost. A bad version that cannot be started after a cut may be a damaged
        one: it is brought once more."""
        patch = version.delta.patch
        mine = ours(self.relay, version.delta.digest)
        if self.layers_asked(version):
            self.plain += 1
            self.tell(f"by layers after all: {trial}")
        most = len(patch) * (1 if good else 2) + len(trial.instants) * LOST + HEADERS * len(mine)
        return [f"{down(mine)} bytes of a patch of {len(patch)}, {most} at most"] if down(mine) > most else []

    def faults_of_a_boot(self):
        """All defects after a boot, before the next pass."""
        running, faults = self.engine.running(), []
        if len(running) > 1:
            faults.append(f"{running} run at once")
        try:
            record = self.pullet.record(NAME)
        except ValueError as error:
            return faults + [f"the record is torn: {error}"]
        update = record.get("update", {})
        if record["phase"] in ("prepare", "trial", "commit") and update["synced"]:
            faults += self.torn_image("the image that the record calls synced",
                                      f"{self.image.rpartition(':')[0]}@{update['target']['digest']}")
        return faults

    # -- a trial

    def cut(self, instant, trial):
        cut = Cut(self.machine, instant)
        trace = self.machine.play(cut.strike)
        cut.finish()
        trial.story += [f"a pass, cut before {cut.at}:", *trace.output.splitlines()]
        self.machine.power_on()
        trial.faults += self.faults_of_a_boot()

    def trial(self, instants, good=True):
        """A new version, a power cut at each of the instants, one more pass. -> Trial"""
        trial, new = Trial(instants), self.publish(good)
        try:
            for instant in instants:
                self.cut(instant, trial)
            trace = self.machine.play()
            trial.story += [f"the pass after it, {'good' if good else 'bad'} version:",
                            *trace.output.splitlines()]
            if good:
                self.previous, self.current = self.current, new
            else:
                self.rejected.append(new.published.digest)
            word = self.result(trace).get("result")
            if word not in (("updated", "up-to-date") if good else ("rolled-back", "refused")):
                trial.faults.append(f"the pass after it said {word}")
            trial.faults += self.faults_of_the_world()
            if self.deltas:
                self.relay.settle()
                trial.story += map(str, self.relay.requests)
                trial.faults += self.faults_of_the_link(new, trial, good)
        except (LabError, TimeoutError) as error:
            trial.faults.append(str(error))
        return trial

    def with_layer(self, n):
        """The instant after the engine has registered the nth layer of a pull, and has written that."""
        return Instant(self.pull, 0, "journal written", n)

    def instants(self, count):
        """Half of them are spread over all calls, half over the time of the pull (with deltas, of the save, the apply and
        the load) and afterwards; some are at the registration of a layer (containerd's is a database)."""
        layers = 0 if self.engine.kind.containerd_store else count // 5
        calls = [(call, 0) for call in range(1, len(self.calls) + 1)]
        since = self.save if self.deltas else self.pull
        times = [(since, ms / 1000) for ms in range(1, 900 if self.deltas else 600)]
        rest = count - layers
        chosen = spread(calls, rest - rest // 2, self.dice) + spread(times, rest // 2, self.dice)
        instants = [Instant(*where, self.dice.choice(list(JOURNALS))) for where in chosen]
        instants += [self.with_layer(1 + i % 2) for i in range(layers)]
        self.dice.shuffle(instants)
        return instants

    def end(self):
        self.machine.close()
        if self.deltas:
            self.relay.stop()


class Campaign:
    """Power cuts, counted and reported. A device with a loss is replaced by a new one."""

    def __init__(self, lab, registry, seed, sync=True, tell=print, deltas=False):
        self.lab, self.registry, self.sync, self.tell, self.deltas = lab, registry, sync, tell, deltas
        self.dice = random.Random(seed)
        self.trials = self.cuts = self.lost = self.plain = 0
        self.life = None

    def begin(self):
        self.life = self.life or Life(self.lab, self.registry, self.dice, self.sync, self.deltas, self.tell)

    def run(self, cuts, stop=False):
        """Makes that many cuts; every fourth version is bad, every fifth update is cut twice."""
        goal = self.cuts + cuts
        todo = []
        while self.cuts < goal and not (stop and self.lost):
            self.begin()
            todo = todo or self.life.instants(goal - self.cuts)
            twice = self.trials % 5 == 4 and len(todo) > 1
            self.trial([todo.pop() for _ in range(1 + twice)], good=self.trials % 4 != 3)
        return self

    def trial(self, instants, good):
        self.begin()
        trial = self.life.trial(instants, good)
        self.trials += 1
        self.cuts += len(instants)
        if trial.faults:
            self.lost += 1
            self.tell(f"LOST: {trial}")
            self.end()
        return trial

    def end(self):
        if self.life:
            self.plain += self.life.plain
            self.life.end()
        self.life = None

    def summary(self):
        plain = self.plain + (self.life.plain if self.life else 0)
        return (f"{self.cuts} power cuts {'with' if self.sync else 'without'} sync, in "
                f"{self.trials} updates" + (f" by delta, {plain} of them plainly" if self.deltas else "")
                + f": {self.lost} lost")
