# SPDX-License-Identifier: MIT
"""A synthetic run in the form of tests/fleet/run, for the tests of verdict and report."""

PERCENT = {"v1": [(5, 100)], "v2": [(110, 20), (200, 50), (290, 100)], "v3": [(430, 34), (520, 0)], "v4": [(560, 100)]}
PUBLISHED = {"v1": 0, "v2": 108, "v3": 428, "v4": 558}
COHORTS = [{"v1": 60, "v2": 8, "v3": 71, "v4": 30}, {"v1": 11, "v2": 33, "v3": 12, "v4": 80}, {"v1": 90, "v2": 44, "v3": 55, "v4": 10},
           {"v1": 40, "v2": 61, "v3": 26, "v4": 50}, {"v1": 5, "v2": 72, "v3": 92, "v4": 66}, {"v1": 77, "v2": 95, "v3": 40, "v4": 3}]


class Made:
    """The events of one device."""

    def __init__(self, name, cohorts, slow):
        self.slow, self.runs, self.serial = slow, None, 0
        self.device = {"name": name, "machine_id": "0" * 32, "link": "64 kbit/s, 600 ms" if slow else "unshaped", "cohorts": cohorts,
                       "events": [], "traffic": [{"t": 1, "down": 0, "up": 0}],
                       "end": {"answers": True, "containers": ["app"], "running": [], "phase": "idle", "rejected": [], "traces": []}}

    def add(self, t, kind, **more):
        self.device["events"].append({"t": t, "kind": kind, **more})

    def start(self, t, version):
        self.serial += 1
        self.runs = (version, f"c{self.serial}")
        self.add(t, "start", version=version, id=self.runs[1])
        if version not in self.device["end"]["traces"]:
            self.device["end"]["traces"].append(version)

    def die(self, t):
        self.add(t, "die", version=self.runs[0], id=self.runs[1])

    def phase(self, t, phase, version):
        self.add(t, "phase", phase=phase, version=version)

    def traffic(self, t, amount):
        last = self.device["traffic"][-1]
        self.device["traffic"].append({"t": t, "down": last["down"] + amount, "up": last["up"] + amount // 6})

    def prepare(self, t, version):
        self.phase(t, "prepare", version)
        end = t + (34 if self.slow else 9)
        self.traffic(end, 71000 + 900 * self.serial)
        return end

    def update(self, t, version):
        t = self.prepare(t, version)
        self.phase(t, "trial", version)
        if self.runs:
            self.die(t + 1)
        self.start(t + 2.2, version)
        self.phase(t + 9, "commit", version)
        self.phase(t + 11, "idle", version)
        self.add(t + 11, "result", result="updated", version=version, text=f"app: updated {version}")
        self.device["end"]["running"] = [version]

    def roll_back(self, t, version):
        old, t = self.runs[0], self.prepare(t, version)
        self.phase(t, "trial", version)
        self.die(t + 1)
        self.start(t + 2.2, version)
        self.die(t + 4)
        self.phase(t + 5, "revert", version)
        self.start(t + 7, old)
        self.phase(t + 9, "idle", version)
        self.device["end"]["rejected"].append(version)
        self.add(t + 9, "result", result="rolled-back", version=version, text=f"app: rolled-back {version}: it exited with status 3")


def synthetic():
    policies = [{"t": t, "version": version, "percent": percent, "halt": percent == 0, "sequence": i} for i, (t, version, percent) in
                enumerate(sorted((t, version, percent) for version, steps in PERCENT.items() for t, percent in steps), 1)]
    devices = []
    for i, cohorts in enumerate(COHORTS):
        made = Made(f"pi{i + 1}", cohorts, slow=i in (1, 4))

        def allowed(version):
            return next(t for t, percent in PERCENT[version] if cohorts[version] < percent)

        made.update(allowed("v1") + 3 + i, "v1")
        if i == 5:  # its link is cut when its turn for v2 comes
            made.add(262, "link-down")
            made.add(356, "link-up")
            made.update(365, "v2")
        elif i == 4:  # a power cut during its update
            made.prepare(allowed("v2") + 6, "v2")
            made.add(allowed("v2") + 22, "power-cut")
            made.add(allowed("v2") + 30, "power-on")
            made.start(allowed("v2") + 66, "v1")
            made.update(allowed("v2") + 72, "v2")
        else:
            made.update(allowed("v2") + 5 + 2 * i, "v2")
        if cohorts["v3"] < 34:
            made.roll_back(436 + 3 * i, "v3")
        made.update(allowed("v4") + 4 + 2 * i, "v4")
        devices.append(made.device)
    return {"title": "A made-up fleet", "subtitle": "6 devices that never were", "note": "Nothing here happened.", "ended": 640, "trouble": None,
            "broken": "v3", "policies": policies, "devices": devices,
            "versions": [{"name": name, "digest": "sha256:" + name[1] * 64, "t": t} for name, t in PUBLISHED.items()]}


def synthetic_deltas():
    """The same with deltas beside v2, v3 and v4."""
    run = synthetic()
    for version in run["versions"]:
        first = version["name"] == "v1"
        version.update(layers={version["name"]: 150_000}, delta=None if first else {"from": "v1", "size": 3_000, "plain": 150_000})
    for device in run["devices"]:
        device["traffic"] = [{"t": 0, "down": 0, "up": 0}, {"t": 640, "down": 260_000, "up": 90_000}]
    return run


def synthetic_signed():
    """The same with a version that nobody signed, and with v1 put back, at the time 420."""
    run = synthetic()
    run["foreign"] = "foreign"
    for device in run["devices"]:
        device["events"] += [{"t": t, "kind": "result", "result": "refused", "version": version,
                              "text": f"app: refused v2 -> {version}: signature: {why}"}
                             for t, version, why in ((420, "foreign", "there is none"), (424, "v1", "its seq is 1, and 2 was seen"))]
        device["events"].sort(key=lambda event: event["t"])
    return run


def synthetic_large():
    """The same with a layer of 5 MB in v2 and later: pi1's link drops, pi2 has a budget."""
    run = synthetic()
    for version in run["versions"]:
        version["layers"] = {version["name"]: 60_000, **({"large": 5_000_000} if version["name"] != "v1" else {})}
    for device in run["devices"]:
        device.update(drops=0, budget=None, traffic=[{"t": 0, "down": 0, "up": 0}, {"t": 340, "down": 2_930_000, "up": 20_000},
                                                     {"t": 640, "down": 5_300_000, "up": 40_000}])
    run["devices"][0]["drops"], thrifty = 10, run["devices"][1]
    thrifty["budget"] = 3_000_000
    thrifty["events"] += [
        {"t": 330, "kind": "result", "result": "deferred", "version": "v2", "text": "app: deferred: the budget of the day is used up"},
        {"t": 340, "kind": "order"}]
    thrifty["events"].sort(key=lambda event: event["t"])
    return run
