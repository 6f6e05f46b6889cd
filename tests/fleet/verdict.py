# SPDX-License-Identifier: MIT
"""The verdict over a run of the fleet. Pure: from the JSON of tests/fleet/run (described in tests/fleet/README.md) to
checks that can fail, and to the figures of the report."""

END = float("inf")


def spans(device, until):
    """When a container of the app ran, by the engine's own events: [(from, to, version)]. An overloaded engine may
    lose one: a version that Pullet commits runs from then on at the latest."""
    out, running = [], {}
    for event in device["events"]:
        kind, now, version = event["kind"], event["t"], event.get("version")
        if kind == "start":
            running[event["id"]] = (now, version)
        elif kind == "phase" and event["phase"] == "commit" and version not in [other for _, other in running.values()]:
            running["lost " + version] = (now, version)
        elif kind == "die":
            began = running.pop(event["id"], running.pop("lost " + version, None))
            out += [(began[0], now, version)] if began else []
        elif kind == "power-cut":
            out += [(began, now, version) for began, version in running.values()]
            running = {}
    out += [(began, until, version) for began, version in running.values()]
    return sorted(out)


def gaps(device, until):
    """When none ran, after the first start: [(from, to, why)], why being the version that came next,
    or "power" while the device was off or starting."""
    out, end = [], None
    cuts = [event["t"] for event in device["events"] if event["kind"] == "power-cut"]
    for began, to, version in [*spans(device, until), (until, until, None)]:
        if end is not None and began > end:
            power = any(end <= cut <= began for cut in cuts)
            out.append((end, began, "power" if power else version))
        end = max(end or 0, to)
    return out


def phases(device, until):
    """The phases of Pullet: [(from, to, phase, version)], without idle."""
    out, current = [], None
    for event in [*device["events"], {"t": until, "kind": "phase", "phase": "idle"}]:
        if event["kind"] not in ("phase", "power-cut"):
            continue
        if current:
            out.append((current[0], event["t"], *current[1:]))
        current = None
        if event["kind"] == "phase" and event["phase"] != "idle":
            current = (event["t"], event["phase"], event["version"])
    return out


def outages(device, down, up, until):
    """[(from, to)] between the events of the kinds down and up."""
    out, since = [], None
    for event in device["events"]:
        if event["kind"] == down and since is None:
            since = event["t"]
        elif event["kind"] == up and since is not None:
            out.append((since, event["t"]))
            since = None
    return out + ([(since, until)] if since is not None else [])


def allowed_at(run, device, version):
    """The time when the policies first admit the device to version; END if never."""
    cohort = device["cohorts"][version]
    times = [policy["t"] for policy in run["policies"]
             if policy["version"] == version and not policy["halt"] and cohort < policy["percent"]]
    return min(times, default=END)


def first_start(device, version):
    return min((event["t"] for event in device["events"]
                if event["kind"] == "start" and event["version"] == version), default=END)


def reached_at(device, version):
    """The time when the update to version was complete: Pullet reported it, or went idle after its commit (a pass
    that only completes an update after a power cut reports no result)."""
    committed = False
    for event in device["events"]:
        if event.get("version") == version and event["kind"] == "result" and event["result"] == "updated":
            return event["t"]
        if event["kind"] == "phase":
            if committed and event["phase"] == "idle":
                return event["t"]
            committed = event["phase"] == "commit" and event["version"] == version
    return END


def took(device, version):
    """Whether it ever ran here, by the engine's events or by the file that each version writes."""
    return first_start(device, version) < END or version in device["end"]["traces"]


def names(devices):
    return ", ".join(device["name"] for device in devices) or "none"


def _lost(run):
    return [d for d in run["devices"] if not d["end"]["answers"] or d["end"]["phase"] != "idle"
            or d["end"]["containers"] != ["app"] or len(d["end"]["running"]) != 1]


def _early(run):
    """Devices that started a version before the policies admitted them."""
    return [d for d in run["devices"] for v in run["versions"]
            if took(d, v["name"]) and first_start(d, v["name"]) < allowed_at(run, d, v["name"])
            or took(d, v["name"]) and allowed_at(run, d, v["name"]) == END]


def _missed(run):
    """(policy, device): the device did not have the version when the next policy was set, without an interruption."""
    out = []
    for policy, after in zip(run["policies"], run["policies"][1:] + [{"t": run["ended"]}]):
        version = policy["version"]
        if policy["halt"] or version == run["broken"]:
            continue
        for device in run["devices"]:
            cut_off = any(a < after["t"] < b for a, b in
                          outages(device, "link-down", "link-up", run["ended"]))
            if allowed_at(run, device, version) <= policy["t"] and not cut_off \
                    and reached_at(device, version) > after["t"]:
                out.append((policy, device))
    return out


def _cut_amid_an_update(run):
    for device in run["devices"]:
        for event in device["events"]:
            if event["kind"] == "power-cut" and any(
                    a <= event["t"] <= b for a, b, *_ in phases(device, run["ended"])):
                yield device


def _missed_news(run):
    """Devices whose link was down while a policy admitted them, and that got the version later."""
    for device in run["devices"]:
        for a, b in outages(device, "link-down", "link-up", run["ended"]):
            if any(a <= allowed_at(run, device, v["name"]) < b <= reached_at(device, v["name"]) < END
                   for v in run["versions"]):
                yield device


def large(run):
    """Whether a layer is large enough for the bytes of a download to count beside all others."""
    return any(size >= 1_000_000 for version in run["versions"] for size in version.get("layers", {}).values())


def excess(run, device):
    """Bytes down over those of the layers that it had to fetch, as a ratio; 4 kB a minute are left to polls."""
    wanted = {}
    for version in run["versions"]:
        if took(device, version["name"]):
            wanted.update(version["layers"])
    return (device["traffic"][-1]["down"] - run["ended"] / 60 * 4000) / sum(wanted.values())


def kept_its_budget(device):
    """Until somebody told it to go on, and said what it waited for before that. The headers of packets are in its budget, and
    not in what the link counts."""
    order = next((event["t"] for event in device["events"] if event["kind"] == "order"), END)
    spent = max((sample["down"] + sample["up"] for sample in device["traffic"] if sample["t"] <= order), default=0)
    said = any(event["kind"] == "result" and "budget" in event["text"] and event["t"] < order for event in device["events"])
    return said and 0.75 * device["budget"] < spent <= device["budget"]


def download_checks(run):
    devices = run["devices"]
    ratios = {d["name"]: excess(run, d) for d in devices}
    worst = max(ratios, key=ratios.get)
    dropping, thrifty = [d for d in devices if d["drops"]], [d for d in devices if d["budget"]]
    return [
        ("no byte of a layer came twice", ratios[worst] <= 1.05, f"{worst}: {ratios[worst]:.3f} of the layers' bytes, the most"),
        ("a link dropped again and again", dropping, ", ".join(f"{d['name']}: {d['drops']} times" for d in dropping) or "none"),
        ("a budget was kept until an operator passed it", thrifty and all(map(kept_its_budget, thrifty)), f"with a budget: {names(thrifty)}"),
    ]


def saved(run, device):
    """Bytes of layers that deltas spared it: {version: bytes}."""
    return {version["name"]: version["delta"]["plain"] - version["delta"]["size"] for version in run["versions"]
            if version.get("delta") and took(device, version["name"])}


def needed(run, device):
    """Bytes of deltas, and of the layers of versions without one, that it had to fetch."""
    return sum(version["delta"]["size"] if version.get("delta") else sum(version["layers"].values())
               for version in run["versions"] if took(device, version["name"]))


def delta_check(run):
    """A layer that came although there was a delta is more than what is left to polls and documents: 3 kB for 2 s, 8 kB a version."""
    most = {d["name"]: needed(run, d) + run["ended"] / 2 * 3000 + 8000 * len(run["versions"]) for d in run["devices"]}
    plain = {d["name"]: needed(run, d) + sum(saved(run, d).values()) for d in run["devices"]}
    down = {d["name"]: d["traffic"][-1]["down"] if d["traffic"] else 0 for d in run["devices"]}
    worst = max(down, key=lambda name: down[name] / (plain[name] or 1), default=None)
    spared = worst and all(sum(saved(run, d).values()) and down[d["name"]] < min(most[d["name"]], plain[d["name"]] * 0.8)
                           for d in run["devices"])
    return ("deltas came instead of layers", spared,
            worst and f"{worst}: {down[worst]} bytes down, all else included, where the layers alone are {plain[worst]}; the most")


def foreign_check(run):
    """What its owner did not sign was never started, nor v1 after v2; every device said why."""
    foreign, (first, second) = run["foreign"], [version["name"] for version in run["versions"][:2]]
    took_it = [d for d in run["devices"] if took(d, foreign) or foreign in d["end"]["traces"]]
    went_back = [d for d in run["devices"] if any(
        e["kind"] == "phase" and e["phase"] == "prepare" and e["version"] == first and e["t"] > reached_at(d, second) for e in d["events"])]
    silent = [d for d in run["devices"] for version in (foreign, first) if not any(
        e["kind"] == "result" and e["result"] == "refused" and e["version"] == version and "signature: " in e["text"] for e in d["events"])]
    return ("none took what was not signed, or what was signed long ago", run["devices"] and not (took_it or went_back or silent),
            f"took it: {names(took_it)}; went back: {names(went_back)}; did not refuse: {names(silent)}")


def checks(run):
    """-> [{"name", "passed", "text"}]"""
    devices, last, broken = run["devices"], run["versions"][-1]["name"], run["broken"]
    canaries = [d for d in devices if allowed_at(run, d, broken) < END]
    victims = [d for d in devices if took(d, broken)]
    halted = [p["t"] for p in run["policies"] if p["version"] == broken and p["halt"]]
    lost, early, missed = _lost(run), _early(run), _missed(run)
    elsewhere = [d for d in devices if d["end"]["running"] != [last]]
    on_broken = [d for d in devices if broken in d["end"]["running"]]
    forgot = [d for d in canaries if broken not in d["end"]["rejected"] or not any(
        e["kind"] == "result" and e["result"] == "rolled-back" and e["version"] == broken
        for e in d["events"])]
    after_halt = [d for d in devices for e in d["events"] if halted and e["kind"] == "start"
                  and e["version"] == broken and e["t"] > halted[0]]
    cut, cut_off = list(_cut_amid_an_update(run)), list(_missed_news(run))
    others = [d for d in victims if d not in canaries]
    rows = [
        ("the story was told to its end", not run["trouble"], run["trouble"] or "it was"),
        ("no device is lost", devices and not lost,
         f"{len(devices) - len(lost)} of {len(devices)} answer, idle, with one container; lost: {names(lost)}"),
        (f"every device is on {last}", not elsewhere, f"elsewhere: {names(elsewhere)}"),
        (f"none is on {broken}", not on_broken, f"on it: {names(on_broken)}"),
        (f"only canaries ever ran {broken}", canaries and not others,
         f"canaries: {names(canaries)}; others that ran it: {names(others)}"),
        (f"every canary tried {broken}, went back and remembers it",
         canaries and not forgot and all(d in victims for d in canaries),
         f"not so: {names(forgot + [d for d in canaries if d not in victims])}"),
        (f"{broken} was halted, and nobody started it after that", halted and not after_halt,
         f"halts: {len(halted)}; after it: {names(after_halt)}"),
        ("nobody took a version before the policy let it", not early, f"too early: {names(early)}"),
        ("each step reached its cohort before the next one", not missed,
         "missed: " + (", ".join(f"{d['name']} at {p['version']} {p['percent']} %" for p, d in missed) or "none")),
        ("the power was cut in the middle of an update", cut, f"cut: {names(cut)}"),
        ("a device was cut off from news and caught up", cut_off, f"cut off: {names(cut_off)}"),
    ]
    rows += download_checks(run) if large(run) else []
    rows += [foreign_check(run)] if run.get("foreign") else []
    rows += [delta_check(run)] if any(version.get("delta") for version in run["versions"]) else []
    return [{"name": name, "passed": bool(passed), "text": text} for name, passed, text in rows]


def figures(run):
    """The numbers of the report, by device and by version."""
    until, out = run["ended"], {"devices": {}, "versions": {}}
    for device in run["devices"]:
        holes = gaps(device, until)
        out["devices"][device["name"]] = {
            "down_bytes": device["traffic"][-1]["down"] if device["traffic"] else 0,
            "up_bytes": device["traffic"][-1]["up"] if device["traffic"] else 0,
            "bytes_by_version": bytes_by_version(run, device),
            "bytes_saved": sum(saved(run, device).values()),
            "swap_downtime": round(sum(b - a for a, b, why in holes if why != "power"), 3),
            "power_downtime": round(sum(b - a for a, b, why in holes if why == "power"), 3),
            "longest_swap": round(max((b - a for a, b, why in holes if why != "power"), default=0), 3),
        }
    for version in run["versions"]:
        name = version["name"]
        waits = {d["name"]: round(reached_at(d, name) - allowed_at(run, d, name), 1)
                 for d in run["devices"] if reached_at(d, name) < END and allowed_at(run, d, name) < END}
        out["versions"][name] = {"seconds_to_reach": waits, "slowest": max(waits.values(), default=None)}
    return out


def bytes_by_version(run, device):
    """Bytes both ways while version was the newest one published."""
    out = {version["name"]: 0 for version in run["versions"]}
    before = 0
    for sample in device["traffic"]:
        newest = [v["name"] for v in run["versions"] if v["t"] is not None and v["t"] <= sample["t"]]
        total = sample["down"] + sample["up"]
        if newest:
            out[newest[-1]] += total - before
        before = total
    return out


def share_curve(run):
    """[(t, {version: devices that run it})], at each change."""
    points = [(event, step, version) for device in run["devices"]
              for a, b, version in spans(device, run["ended"]) for event, step in ((a, 1), (b, -1))
              if event < run["ended"]]
    counts, out = {version["name"]: 0 for version in run["versions"]}, []
    for t, step, version in sorted(points, key=lambda point: point[:2]):
        counts[version] += step
        out.append((t, dict(counts)))
    return out


def verdict(run):
    rows = checks(run)
    return {"passed": all(row["passed"] for row in rows), "checks": rows, "figures": figures(run)}
