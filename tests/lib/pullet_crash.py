# SPDX-License-Identifier: MIT
"""The crash campaign: an update is killed at every system call that can change any state, and one more pass must
repair everything. tests/engine/crash runs all of it.

A scenario is set up (the old container runs, the new image is published), runs once without a fault, and its final
state is recorded. A trial sets up the same scenario, kills the update at one instant, runs one more pass, and checks
the promises: the final state is the recorded one, two containers never ran at once, there was always a container, and
the record was never broken.
"""

import json
import random
import re
import shutil
import time
import urllib.parse
from dataclasses import dataclass

import pullet_trace
from pullet_agent import Pullet
from pullet_delta import publish_delta
from pullet_image import actor
from pullet_signer import Key, Signer
from pullet_sweep import LabError

KEPT = "localhost/pullet/previous"
BASIS = "localhost/pullet/basis"  # content that a delta made, in containerd's store
VICTIMS = ("process", "group")
SIDES = ("before", "after")
GOES_ON = re.compile(r"(POST|PUT|DELETE|connect|clone|v?fork|exec|kill|\w+ (pipe|socket))")


@dataclass(frozen=True)
class Story:
    """A scenario: the old and the new version, and what else exists."""
    name: str
    says: str
    old: tuple = ("wait",)  # script of the old version; None: there is none
    new: tuple = ("wait",)
    policy: str = "always"
    managed: bool = False  # the old one is the result of an update, and there is a previous image
    followed: bool = False  # another container shares its network
    delta: bool = False  # the new one comes by a delta from the old one
    signed: bool = False  # each version is signed, with a sequence number
    results: tuple = ("updated", "up-to-date")  # results that the pass after the kill may have
    ends: str = "running"


STORIES = (
    Story("update", "a container that Pullet updated, with a previous image", managed=True),
    Story("delta", "the new one comes by delta", managed=True, delta=True),
    Story("signed", "a key is set, and each version is signed", managed=True, signed=True),
    Story("adopt", "a container that an operator made by hand", policy="unless-stopped"),
    Story("rollback", "the new one exits 1", new=("exit", 1), results=("rolled-back", "refused")),
    Story("unstartable", "the new one cannot be started", new=None,
          results=("rolled-back", "refused")),
    Story("first", "there is no container yet", old=None),
    Story("one-shot", "runs once and exits 0", old=("exit", 0), new=("exit", 0), policy="no",
          ends="exited"),
    Story("crash-loop", "the old one exits 1 again and again", old=("exit", 1)),
    Story("followed", "another container shares its network", followed=True),
    Story("followed-back", "the same, and the new one exits 1", followed=True, new=("exit", 1),
          policy="no", results=("rolled-back", "refused")),
)


@dataclass(frozen=True)
class Instant:
    """When and which process to kill: at one call of an undisturbed pass, or at the nth call of any pass."""
    call: object
    side: str
    victim: str

    def strike(self, call, side, number):
        if side == self.side and self.call in (call, number):
            return self.victim
        return None

    def __str__(self):
        what = f"call {self.call}" if isinstance(self.call, int) else self.call
        return f"{self.victim} killed {self.side} {what}"


@dataclass
class Trial:
    instants: list
    passes: list  # Trace
    faults: list

    def met(self):
        return all(trace.struck for trace in self.passes[:-1])

    def __str__(self):
        lines = [f"    {fault}" for fault in self.faults]
        for trace in self.passes:
            lines.append(f"  pass, struck {trace.struck}:" if trace.struck else "  pass:")
            lines += ["    " + line for line in str(trace).splitlines()]
        return "\n".join([" and ".join(map(str, self.instants)), *lines])


class History:
    """The engine's events of some containers: the largest number that ran at once, and the smallest number that
    existed after the first was created."""

    def __init__(self, engine, names):
        self.engine, self.names = engine, names
        self.exist, self.run, self.most, self.fewest = set(), set(), 0, None
        self.since = time.time()

    def _note(self):
        self.most = max(self.most, len(self.run))
        if self.exist or self.fewest is not None:
            self.fewest = min(len(self.exist), self.fewest or 99)

    def _look(self):
        """-> (all containers, running containers), read from the engine."""
        ours = [entry for entry in self.engine.call("GET", "/containers/json?all=1")
                if entry["Names"][0].lstrip("/") in self.names]
        return ({entry["Id"] for entry in ours},
                {entry["Id"] for entry in ours if entry["State"] in ("running", "paused")})

    def read(self):
        """All events since the last time."""
        changes = {"create": self.exist.add, "destroy": self.exist.discard, "start": self.run.add,
                   "die": self.run.discard}
        until = time.time()
        for event in self.engine.events(self.since, until):
            if (event["Actor"]["Attributes"]["name"] in self.names
                    and event["Action"] in changes):
                changes[event["Action"]](event["Actor"]["ID"])
                self._note()
        self.since = until
        if self.exist != self._look()[0]:
            raise LabError(f"events were lost: {self.exist} instead of {self._look()[0]}")

    def begin_again(self):
        """Starts over after the engine was started, which drops its events."""
        self.since = time.time()
        self.exist, self.run = self._look()
        self._note()


class Scene:
    """One scenario on one engine: sets it up for each trial, and has its expected final state."""

    def __init__(self, lab, engine, registry, story, name=None):
        self.lab, self.engine, self.registry, self.story = lab, engine, registry, story
        self.name = name or story.name
        self.repository = f"crash/{self.name}"
        self.image = registry.ref(self.repository + ":stable")
        self.pullet = Pullet(lab, engine, "crash-" + self.name)
        # A program under ptrace cannot look for leaks.
        self.environment = {**lab.environment, "PULLET_LAB": self.pullet.mark,
                            "ASAN_OPTIONS": "detect_leaks=0"}
        self.body = {"HostConfig": {"NetworkMode": "none", "RestartPolicy": {"Name": story.policy}},
                     "Env": ["OPERATOR=yes"], "Labels": {"operator": "yes"}}
        self.record = self.key = None
        self.names = [self.name] + [self.name + "-side"] * story.followed
        self.old_id = self.old = self.new = None
        self.histories = []
        self._prepare()

    # -- the scene

    def _publish(self, version, script):
        script = ("say", version, *script) if script else ()
        files = {"version": version.encode()}
        if self.story.delta:  # more than what is not worth a question
            files["data"] = random.Random(13).randbytes(100_000) + version.encode() * 8
        image = actor(*script, files=files, Labels={"version": version})
        if not script:
            image.config["Cmd"] = ["/no-such-program"]
        published = self.registry.publish(self.repository, "stable", image)
        if self.key:
            Signer(self.registry, self.repository).classic(published.digest, self.key, seq=int(version[1:]) + 1)
        return published

    def _prepare(self):
        """Creates the scenario for the first time, and keeps its parts for set_up()."""
        story = self.story
        keys = {}
        if story.signed:
            (self.pullet.directory / "keys").mkdir()
            self.key = Key(self.pullet.directory / "keys", "prod")
            keys["key"] = "prod.pub"
        # A bad version ends its trial, and a busy engine is late to say so.
        period = "1min" if "rolled-back" in story.results else "200ms"
        self.pullet.configure({self.name: {"image": self.image, "health-period": period,
                                           "create": self.body, **keys}})
        if story.managed:
            self._publish("v0", ("wait",))
            self._pass("updated")
        if story.old:
            self.old = self._publish("v1", story.old)
        if story.managed:
            self._pass("updated")
            inspect = self.engine.inspect(self.name)
            self.body = {**inspect["Config"], "HostConfig": inspect["HostConfig"]}
            del self.body["Hostname"]
            self.record = (self.pullet.state / f"{self.name}.json").read_bytes()
        elif story.old:
            self.engine.pull(self.image)
        if story.followed:
            side = self.registry.publish(f"crash/{self.names[1]}", "stable", actor("wait"))
            self.side_image = self.registry.ref(f"{side.repository}:stable")
            self.engine.pull(self.side_image)
        self.references = self._references()
        self.new = self._publish("v2", story.new)
        if story.delta:
            publish_delta(self.registry, self.repository, self.old, self.new)

    def _pass(self, want):
        result = self.pullet.once()
        if result.results[self.name]["result"] != want:
            raise LabError(f"{self.name}: wanted {want}: {result}")

    def _references(self):
        """tag or digest -> id of its image, for all images of Pullet."""
        ours = (self.registry.ref(self.repository) + ":", self.registry.ref(self.repository) + "@",
                f"{KEPT}:{self.name}", f"{BASIS}:{self.name}")
        out = {reference: image["Id"] for image in self.engine.call("GET", "/images/json")
               for reference in (image["RepoTags"] or []) + (image["RepoDigests"] or [])
               if reference.startswith(ours)}
        if self.story.delta:  # Docker 26's containerd store lists no image whose blobs it lacks, but inspects it
            known = [self.image, *(ours[1] + version.digest for version in (self.old, self.new) if version)]
            out |= {name: image["Id"] for name in known if (image := self.engine.inspect_image(name))}
        return out

    def _images(self):
        """The references, without the digest of an image that was pulled by a tag and has lost it: a graph driver
        still reports that digest, containerd and podman do not."""
        references = self._references()
        if self.engine.kind.keeps_digests or not self.old or self.story.results[0] != "updated":
            return references
        gone = f"{self.registry.ref(self.repository)}@{self.old.digest}"
        return {name: image for name, image in references.items() if name != gone}

    def _restore_images(self):
        now = self._references()
        for reference, image in sorted(self.references.items(), key=lambda item: "@" not in item[0]):
            if now.get(reference) == image:
                continue
            if "@" in reference:
                self.engine.pull(reference)
            else:
                repository, tag = reference.rsplit(":", 1)
                self.engine.call("POST", f"/images/{image}/tag?" + urllib.parse.urlencode(
                    {"repo": repository, "tag": tag}))
        for reference in set(now) - set(self.references):
            self.engine.request("DELETE", f"/images/{reference}?force=1")
        if self._references() != self.references:
            raise LabError(f"{self.name}: cannot restore the images: {self._references()}")

    def slots(self, names=None):
        return [name + slot for name in names or self.names for slot in ("", ".next", ".prev")]

    def survives_engine(self):
        """dockerd stops its containers when it stops. "no" stays down after it, and "unless-stopped" (20.10 at least
        treats its own crash as a manual stop), with or without Pullet."""
        return self.story.policy == "always" or self.story.ends == "exited"

    def set_up(self):
        """Sets the scenario up again; the old container runs."""
        for slot in self.slots():
            self.engine.remove_container(slot)
        self._restore_images()
        shutil.rmtree(self.pullet.state, ignore_errors=True)
        if self.record:
            self.pullet.state.mkdir(mode=0o700)
            (self.pullet.state / f"{self.name}.json").write_bytes(self.record)
        self.old_id = None
        self.histories = [History(self.engine, self.slots([name])) for name in self.names]
        if self.story.old:
            self.old_id = self.engine.create(self.name, self.image, **self.body)
            self.engine.call("POST", f"/containers/{self.old_id}/start")
            ready = (lambda i: i["RestartCount"] > 0) if self.story.name == "crash-loop" else (
                lambda i: i["State"]["Status"] == ("exited" if self.story.ends == "exited"
                                                   else "running"))
            self.engine.wait(self.name, ready)
        if self.story.followed:
            self.engine.run(self.names[1], self.side_image, HostConfig={
                "NetworkMode": "container:" + self.name,
                "RestartPolicy": {"Name": self.story.policy}})

    # -- what it looks like

    def picture(self):
        """All state that Pullet is responsible for, without values that differ between runs."""
        containers, ids = {}, {}
        for slot in self.slots():
            inspect = self.engine.inspect(slot)
            if not inspect:
                continue
            ids[inspect["Id"]] = slot
            containers[slot] = {
                "config": filled({**inspect["Config"], "Hostname": None}),
                "host": filled(inspect["HostConfig"]), "image": inspect["Image"],
                "status": inspect["State"]["Status"], "exit": inspect["State"]["ExitCode"],
                "the old one": inspect["Id"] == self.old_id}
        text = re.sub("[0-9a-f]{64}", lambda found: ids.get(found[0], found[0]),
                      json.dumps(containers))
        record = self.pullet.record(self.name) or {}
        for key in ("downtime_ms", "last_error", "statement"):
            record.pop(key, None)
        for rejected in record.get("rejected", ()):
            del rejected["reason"]
        # What happened is the same, and once; how long it took is not.
        if "history" in record:
            record["history"] = [{key: entry.get(key) for key in ("result", "from", "to")}
                                 for entry in record["history"]]
        files = sorted(str(path.relative_to(self.pullet.state))
                       for path in self.pullet.state.rglob("*") if path.name != "budget.json")
        return {"containers": json.loads(text), "images": self._images(), "record": record,
                "files": files}

    # -- a pass of the real programs

    def play(self, strike=None):
        return pullet_trace.run(self.pullet.command("--once", "--json"), strike, self.environment)

    def last_word(self, trace):
        for line in trace.output.splitlines():
            if line.startswith("{"):
                entry = json.loads(line)
                if entry.get("container") == self.name:
                    return entry["result"]
        return None

    def learn(self):
        """Runs the scenario undisturbed: records its calls and its final state, which must be right."""
        self.set_up()
        trace = self.play()
        if self.last_word(trace) != self.story.results[0]:
            raise LabError(f"{self.name}, undisturbed: {trace}")
        self.calls, self.good = trace.calls, self.picture()
        if self.story.delta and not any(call.text.endswith("/get") for call in trace.calls):
            raise LabError(f"{self.name}, undisturbed: it came without the delta: {trace}")
        faults = self.broken_promises(self.good) + self._faults_of_the_end()
        if faults:
            raise LabError(f"{self.name}, undisturbed: {faults} {self.good}")

    def _faults_of_the_end(self):
        won = self.story.results[0] == "updated"
        winner, loser = (self.new, self.old) if won else (self.old, self.new)
        there, images = self.good["containers"].get(self.name, {}), self.good["images"]
        repository = self.registry.ref(self.repository)
        kept = {f"{KEPT}:{self.name}"} if won and self.old else set()
        if self.story.delta and self.engine.kind.containerd_store:
            kept.add(f"{BASIS}:{self.name}")
        if kept and self.engine.kind.keeps_digests:
            kept.add(f"{repository}@{self.old.digest}")
        record = self.good["record"]
        want = {
            "containers": self.names, "status": self.story.ends, "the old one": not won,
            "policy": self.story.policy, "operator's": ["yes", True],
            "images": sorted({self.image, f"{repository}@{winner.digest}", *kept}),
            "image": images.get(f"{repository}@{winner.digest}"), "tag": there.get("image"),
            "phase": "idle", "rejected": [] if won else [loser.digest]}
        config = there.get("config", {})
        have = {
            "containers": list(self.good["containers"]), "status": there.get("status"),
            "the old one": there.get("the old one"),
            "policy": there.get("host", {}).get("RestartPolicy", {}).get("Name"),
            "operator's": [config.get("Labels", {}).get("operator"),
                           "OPERATOR=yes" in config.get("Env", [])],
            "images": sorted(images), "image": there.get("image"),
            "tag": images.get(self.image), "phase": record.get("phase"),
            "rejected": [entry["digest"] for entry in record.get("rejected", ())]}
        return difference(want, have)

    def instants(self):
        """Before every call, and after those that make another process act. After any other call the state is the
        same as before the next one."""
        return [Instant(call, side, victim) for call in self.calls for side in SIDES
                for victim in VICTIMS if side == "before" or GOES_ON.match(call.text)]

    def broken_promises(self, picture):
        faults = difference(self.good, picture)
        for name, history in zip(self.names, self.histories):
            history.read()
            if history.most > 1:
                faults.append(f"{name}: {history.most} ran at once")
            if self.story.old and history.fewest < 1:
                faults.append(f"{name}: for a while there was no container at all")
        return faults

    def _kill_engine(self):
        for history in self.histories:
            history.read()
        self.engine.kill9()

    def _start_engine(self):
        self.engine.start()
        for history in self.histories:
            history.begin_again()

    def _disturbed(self, instant):
        if instant.victim != "engine":
            return self.play(instant.strike)
        trace = self.play(lambda *call: self._kill_engine if instant.strike(*call) else None)
        if trace.struck:
            self._start_engine()
        return trace

    def trial(self, *instants):
        """Sets up the scenario, kills a pass at each of the instants, and runs one more pass. -> Trial"""
        self.set_up()
        passes = [self._disturbed(instant) for instant in instants] + [self.play()]
        faults = self.broken_promises(self.picture())
        word = self.last_word(passes[-1])
        if word not in self.story.results:
            faults.append(f"the pass after it said {word}")
        if fetched_twice(passes):
            faults.append("what had been fetched was fetched again")
        return Trial(instants, passes, faults)


def fetched_twice(passes):
    """Whether a pull was requested although an earlier one had completed."""
    whole = False
    for trace in passes:
        texts = [call.text for call in trace.calls if call.program == "pullet-update"]
        pulls = [i for i, text in enumerate(texts) if text.startswith("POST /images/create")]
        if whole and pulls:
            return True
        whole = whole or any(text.startswith("GET") for i in pulls for text in texts[i + 1:])
    return False


def filled(settings):
    """Without empty values: a restart of the engine turns null into []."""
    return {key: value for key, value in settings.items() if value not in (None, "", [], {})}


def difference(want, have, where=""):
    """-> lines, one for each place where the two differ."""
    if want == have:
        return []
    if not isinstance(want, dict) or not isinstance(have, dict):
        return [f"{where}: {json.dumps(have)} instead of {json.dumps(want)}"]
    nothing = object()
    out = []
    for key in sorted({*want, *have}):
        a, b, here = want.get(key, nothing), have.get(key, nothing), f"{where} {key}".strip()
        if a is nothing:
            out.append(f"{here}: left over")
        elif b is nothing:
            out.append(f"{here}: gone")
        else:
            out += difference(a, b, here)
    return out


def one_of_both(instants, dice):
    """Each of them for one victim only."""
    places = {}
    for instant in instants:
        places.setdefault((instant.call, instant.side), []).append(instant)
    return [dice.choice(both) for both in places.values()]


def spread(items, count, dice):
    """count of the items, one out of each stretch of the list."""
    count = min(count, len(items))
    return [items[int((i + dice.random()) * len(items) / count)] for i in range(count)]


class Campaign:
    """All trials of all scenarios, counted and reported."""

    def __init__(self, lab, engine, registry, seed, tell=print):
        self.lab, self.engine, self.registry = lab, engine, registry
        self.dice, self.tell = random.Random(seed), tell
        self.points = self.trials = self.lost = self.missed = 0
        self.lengths = {}  # of the pass after a kill, by its instant

    def scene(self, story):
        """A scenario alone on its engine, because other containers would be observed too."""
        self.engine.clear()
        scene = Scene(self.lab, self.engine, self.registry, story)
        scene.learn()
        self.points += len(scene.calls)
        return scene

    def trial(self, scene, *instants, tries=4):
        """One trial, repeated if the pass took another path and did not reach the instant."""
        for _ in range(tries):
            trial = scene.trial(*instants)
            if trial.met() or trial.faults:
                break
        self.trials += 1
        self.missed += not trial.met()
        if len(instants) == 1:
            self.lengths[instants] = len(trial.passes[1].calls)
        if trial.faults:
            self.lost += 1
            self.tell(f"LOST: {scene.name}: {trial}")
        return trial

    def engine_trial(self, scene):
        """dockerd itself is killed, at any call."""
        return self.trial(scene, Instant(self.dice.choice(scene.calls), self.dice.choice(SIDES),
                                         "engine"))

    def pair(self, scene, instants):
        """Killed again, at any call of the pass that recovers."""
        first = self.dice.choice(instants)
        length = self.lengths.get((first,)) or max(
            20, len(scene.calls) - scene.calls.index(first.call))
        second = Instant(self.dice.randint(1, length), self.dice.choice(SIDES),
                         self.dice.choice(VICTIMS))
        return self.trial(scene, first, second, tries=1)

    def summary(self):
        return (f"{self.points} points, {self.trials} trials, {self.missed} not met, "
                f"{self.lost} lost")
