# SPDX-License-Identifier: MIT
"""A fleet during a run: publishes versions, reads the events of the devices, and waits for them."""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import random
import subprocess
import threading
import time
import uuid

from pullet_delta import edited, plain_size, publish_delta
from pullet_image import Image, actor
from pullet_signer import Key, Signer
from pullet_spool import layers
from verdict import END, reached_at

TOP = pathlib.Path(__file__).resolve().parents[2]
PAD = 60_000  # incompressible bytes in each image, as a load for a slow link
DATA = 150_000  # likewise, of a run with deltas: in each version some of them are others


class StoryError(Exception):
    """The run cannot continue; the text says which condition was awaited."""


def cohort(machine_id, digest):
    """The position of a device among all devices for a digest, 0 to 100: the formula of pullet-rollout(5),
    implemented independently."""
    text = f"{machine_id} {digest}".encode()
    return int(hashlib.sha256(text).hexdigest()[:8], 16) * 1_000_000 // 2**32 / 10_000


def share_of(many, percent):
    """The number of devices of a step, rounded."""
    return (many * percent + 50) // 100


def choose_ids(digests, many, steps, seed=1):
    """Chooses machine ids so that each step of a rollout reaches as many devices as its percentage says, and that
    different versions have different canaries, if there are enough devices. digests: version -> digest; steps: version ->
    [percent], rising."""
    dice, slots, turn = random.Random(seed), [{} for _ in range(many)], 0
    for version, percents in steps.items():
        edges = [0, *percents, 100]
        counts = [0, *(share_of(many, percent) for percent in percents), many]
        for low, high, first, last in zip(edges, edges[1:], counts, counts[1:]):
            for i in range(first, last):
                slots[(i + turn) % many][version] = (low, high)
        turn += counts[1]
    dice.shuffle(slots)
    return [_search(dice, digests, slot) for slot in slots]


def _search(dice, digests, slot):
    while True:
        machine_id = uuid.UUID(int=dice.getrandbits(128), version=4).hex
        if all(low <= cohort(machine_id, digests[version]) < high for version, (low, high) in slot.items()):
            return machine_id


class Version:
    """One version of the app: an image whose container writes its name to the volume, and then keeps running or
    exits. base: layers below its own. after: the version that devices come from, to which there is a delta."""

    def __init__(self, name, platform=None, broken=False, base=None, after=None, data=None):
        self.name, self.published_at, self.after, self.delta = name, None, after, None
        self.data = edited(after.data, random.Random(name), 200, 2000) if after else data or random.Random(name).randbytes(PAD)
        script = ("sleep", 1500, "say", "giving up", "exit", 3) if broken else ("wait",)
        self.image = actor("touch", f"/data/{name}", "say", f"version {name}", *script, Labels={"version": name}, platform=platform,
                           files={"pad": (self.data, 0o644)})
        self.image.base = base

    def publish(self, registry, tag):
        self.published = registry.publish("app", tag, self.image)
        self.digest, self.layers = self.published.digest, layers(self.published)
        if self.after:
            made = publish_delta(registry, "app", self.after.published, self.published, self.image.platform)
            self.delta = {"from": self.after.name, "size": len(made.patch),
                          "plain": plain_size(self.published, made.shared, self.image.platform)}


def large_base(size):
    """A layer of that many incompressible bytes."""
    return Image({"large": (random.Random(size).randbytes(size), 0o644)}) if size else None


class Owner:
    """The owner's key. A signature names the repository, and each device follows it by a link, and so an address, of its own:
    what is signed is signed for each of them."""

    def __init__(self, lab, registry):
        lab.path("owner").mkdir()
        self.registry, self.key, self.images = registry, Key(lab.path("owner"), "fleet"), []

    def equip(self, devices):
        for device in devices:
            device.key = self.key.public
            self.images.append(device.image.rpartition(":")[0])

    def sign(self, digest, form="classic", **annotations):
        signer = Signer(self.registry, "app")
        for image in self.images:
            signer.sign(form, digest, self.key, image=image, **annotations)


class Operator:
    """Controls the rollouts with `pullet rollout` and the registry alone, from a machine that is not a device."""

    def __init__(self, lab, registry):
        self.image, self.environment = registry.ref("app:stable"), {**lab.environment, "HOME": str(lab.directory)}
        self.config = lab.path("operator.conf")
        self.config.write_text("")
        self.build = pathlib.Path(os.environ.get("PULLET_BUILD") or self._make(lab.path("build")))

    @staticmethod
    def _make(build):
        for command in (["cmake", "-S", TOP, "-B", build, "-G", "Ninja"], ["ninja", "-C", build, "pullet", "pullet-fetch"]):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise StoryError(f"{command[0]}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return build

    def order(self, *words):
        """-> the resulting policy."""
        done = subprocess.run([self.build / "pullet", "--config", self.config, "rollout", *map(str, words), "--json", self.image],
                              capture_output=True, text=True, check=False, env=self.environment)
        if done.returncode:
            raise StoryError(f"pullet rollout {words[0]}: {done.stderr}")
        return json.loads(done.stdout)["policy"]

    def artifact(self, registry):
        """The digest of the policy's artifact."""
        status, headers, _ = registry.request("HEAD", "/v2/app/manifests/stable.rollout",
                                              headers={"Accept": "application/vnd.oci.image.manifest.v1+json"})
        if status != 200:
            raise StoryError(f"the registry has no policy: {status}")
        return headers["Docker-Content-Digest"]


class Fleet:
    """devices write events; a thread reads them; wait() wakes up at each event."""

    def __init__(self, registry, operator, devices, versions, show, owner=None, foreign=None):
        """owner: signs versions and policies; foreign: a version that it has not signed."""
        self.registry, self.operator, self.devices, self.versions, self.show = registry, operator, devices, versions, show
        self.owner, self.foreign = owner, foreign
        self.digests = {version.digest: version.name for version in (*versions, *([foreign] if foreign else []))}
        self.policies = []
        self.began = time.time()
        self._told, self._over, self._reading = threading.Condition(), threading.Event(), threading.Lock()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        for device in devices:
            device.cohorts = {version.name: cohort(device.machine_id, version.digest) for version in versions}

    def now(self):
        return time.time() - self.began

    # -- listening

    def start(self):
        self._listener.start()

    def stop(self):
        self._over.set()
        if self._listener.is_alive():
            self._listener.join()

    def _listen(self):
        while not self._over.wait(0.1):
            self.collect()
            self.show.table(self)

    def collect(self):
        with self._reading:
            for device in self.devices:
                for at, event in device.read(self.digests):
                    self.tell(device, {"boot": len(device.skew) - 1, "clock": at, **event})

    def tell(self, device, event, at=None):
        event["t"] = event["seen"] = self.now() if at is None else at  # t for now: _ordered() puts it right
        with self._told:
            device.events.append(event)
            self._told.notify_all()
        self.show.event(self, device, event)

    # -- interruptions of a device

    def start_all(self, interval):
        with self._side_by_side() as pool:
            list(pool.map(lambda device: self._start(device, interval), self.devices))

    def _side_by_side(self):
        return concurrent.futures.ThreadPoolExecutor(len(self.devices))

    def _start(self, device, interval):
        self.tell(device, {"kind": "power-on"})
        device.start(interval)

    def cut_power(self, device):
        """Events from before the power cut are read first."""
        now = self.now()
        device.power_cut()
        self.collect()
        device.skew.append(0.0)
        self.tell(device, {"kind": "power-cut"}, now)

    def give_power(self, device):
        self.tell(device, {"kind": "power-on"})
        device.power_on()

    def cut_link(self, device):
        device.link_down()
        self.tell(device, {"kind": "link-down"})

    def mend_link(self, device):
        self.tell(device, {"kind": "link-up"})
        device.link_up()

    def pass_the_budget(self, device):
        """An operator on the device tells it to update now."""
        self.sample()
        device.sh("systemd-run --quiet --collect pullet update --now app")
        self.tell(device, {"kind": "order"})

    def wait(self, what, condition, seconds):
        """Waits until condition() holds, which is checked at each event."""
        end = time.monotonic() + seconds
        self.show.step(self, what)
        with self._told:
            while not condition():
                left = end - time.monotonic()
                if left <= 0:
                    raise StoryError(f"waited {seconds:.0f} s in vain: {what}")
                self._told.wait(min(left, 1))

    # -- the events of the devices

    @staticmethod
    def running(device):
        """The version that runs according to the events, or None."""
        running = {}
        for event in device.events:
            if event["kind"] == "start":
                running[event["id"]] = event["version"]
            elif event["kind"] == "die":
                running.pop(event["id"], None)
            elif event["kind"] == "power-cut":
                running = {}
        return next(iter(running.values()), None)

    @staticmethod
    def phase(device):
        """(phase, version)"""
        for event in reversed(device.events):
            if event["kind"] == "phase":
                return event["phase"], event["version"]
            if event["kind"] == "power-cut":
                return "off", None
            if event["kind"] == "power-on":
                return "starting", None
        return None, None

    def settled(self, device, version):
        """Whether the device has ended on that version, and no update is under way."""
        return self.phase(device)[0] == "idle" and reached_at(vars(device), version) < END

    def went_back(self, device, version):
        return self.phase(device)[0] == "idle" and self.has_result(device, "rolled-back", version)

    @staticmethod
    def has_result(device, result, version, word=""):
        return any(event["kind"] == "result" and event["result"] == result and event["version"] == version and word in event["text"]
                   for event in device.events)

    # -- the content of the registry

    def release(self, version):
        """Moves the tag to it."""
        self.sample()
        version.published_at = self.now()
        self.show.step(self, f"{version.name} is published")
        self.registry.point(version.published, "stable")

    def roll_out(self, version, percent):
        self._policy(version, "set", "--percent", percent)
        self.show.step(self, f"{version.name} for {percent} %")

    def halt(self, version):
        self._policy(version, "halt")
        self.show.step(self, f"{version.name} is halted")

    def _policy(self, version, *words):
        self.sample()
        now, policy = round(self.now(), 3), self.operator.order(*words)  # as events are: the order of times must hold
        if self.owner:
            self.owner.sign(self.operator.artifact(self.registry))
        if policy["target"] != version.digest:
            raise StoryError(f"pullet rollout {words[0]} wrote a policy for {policy['target']}")
        self.policies.append({"t": now, "version": version.name, "percent": policy["percent"], "halt": policy.get("halt", False),
                              "sequence": policy["sequence"]})

    def put_back(self, version, signed_policy):
        """As one who has the registry's password: the tag, and a policy for all, which the owner may have been led to sign."""
        self.sample()
        self.registry.point(version.published, "stable")
        self.operator.order("set", "--percent", 100)
        if signed_policy:
            self.owner.sign(self.operator.artifact(self.registry))
        self.show.step(self, f"somebody puts {version.name} under the tag" + (", and its policy is signed" if signed_policy else ""))

    def covered(self, version, percent):
        return [device for device in self.devices if device.cohorts[version.name] < percent]

    def sample(self):
        for device in self.devices:
            device.sample(self.now())

    # -- the end

    def run_json(self, **words):
        self.sample()
        self.collect()
        ended = self.now()
        with self._side_by_side() as pool:
            ends = list(pool.map(lambda device: device.end(self.digests), self.devices))
        return {**words, "ended": ended, "policies": self.policies, "foreign": self.foreign and self.foreign.name,
                "versions": [{"name": version.name, "digest": version.digest, "t": version.published_at, "layers": version.layers,
                              "delta": version.delta}
                             for version in self.versions],
                "devices": [{"name": device.name, "machine_id": device.machine_id, "link": device.words, "cohorts": device.cohorts,
                             "budget": device.budget, "drops": device.link.cuts,
                             "events": self._ordered(device), "traffic": device.traffic, "end": end}
                            for device, end in zip(self.devices, ends)]}

    def _ordered(self, device):
        """Sorts by the host's clock; the clock of a device is corrected by the difference that was measured in that
        boot."""
        out = []
        for event in device.events:
            event = dict(event)
            seen, boot, clock = event.pop("seen"), event.pop("boot", None), event.pop("clock", None)
            event["t"] = round(seen if clock is None else clock + device.skew[boot] - self.began, 3)
            out.append(event)
        return sorted(out, key=lambda event: event["t"])


