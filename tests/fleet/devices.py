# SPDX-License-Identifier: MIT
"""The devices of a fleet story, and the links between them and the registry.

A device writes its events as lines to a file on the host: the engine's container events and Pullet's journal entries.
It is not queried during the run."""

import json
import re
import time

from pullet_relay import Relay

# Each version writes a file with its name to this directory.
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

CREATE = {"HostConfig": {"NetworkMode": "none", "RestartPolicy": {"Name": "always"}, "Binds": [TRACES + ":/data"]}}


def configuration(image, interval, budget=None, key=None):
    """key: the name of the only one that signs. Policies are required then, or none would count while it is being signed."""
    host = image.partition("/")[0]
    signed = f"key = {key}\nrollout = required\n" if key else ""
    agent = f"[agent]\ninterval = {interval}\n" + (f"budget = {budget}/day\n" if budget else "")
    return (f"{agent}\n[registry {host}]\ninsecure = yes\n\n"
            f"[container app]\nimage = {image}\nhealth = running\nhealth-period = 3s\nstop-timeout = 2s\ncreate = app.json\n{signed}")


class Link(Relay):
    """The link of one device to the registry: its bytes are counted, it can be slow, and it can be cut; then nothing
    passes and nothing is refused, as with an unplugged cable. bits: per second and way, shared by all connections;
    delay: round trip."""

    chunk = 1400

    def __init__(self, lab, target, bits=None, delay=0.0, **more):
        self._delay = delay
        super().__init__(lab, target, line=bits and bits // 8, **more)

    cut = Relay.stall

    def carry(self, size, way):
        if way == "up":
            time.sleep(self._delay)
        super().carry(size, way)


class Device:
    """start(interval), sh(script), power_cut(), power_on(), link_down(), link_up(), stop(); out: the file with the
    lines of its events."""

    def __init__(self, name, machine_id, link, words):
        self.name, self.machine_id, self.link, self.words = name, machine_id, link, words
        self.cohorts, self.traffic, self.budget = {}, [], None  # budget: bytes a day
        self.image, self.key = link and link.address + "/app:stable", None  # key: the file of the public key, if there is one
        self.events = []  # in order of arrival; Fleet.run_json() sorts them
        self.skew = [0.0]  # the host's clock less the device's, by boot
        self._seen, self._position, self._rest = set(), 0, ""

    def cpu_seconds(self):
        """CPU time of its emulation."""
        return 0.0

    def configuration(self, interval):
        return configuration(self.image, interval, self.budget, self.key and self.key.name)

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
            return None  # the rest of a line that a power cut truncated
        if not isinstance(text, str):  # bytes that are not text
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
        if key in self._seen:  # after a restart all entries are written again
            return None
        self._seen.add(key)
        return at, event

    def end(self, digests):
        """The state of the device at the end."""
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
