#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""report.py RUN.json DIRECTORY: fleet.svg, fleet.png and report.html from what tests/fleet/run wrote.
Pure but for main(): the same run gives the same picture."""

import html
import json
import pathlib
import shutil
import subprocess
import sys


import verdict as v

WIDTH, LEFT, RIGHT = 1200, 168, 1176
LANE = 46
# The colours of Okabe and Ito, which colour-blind readers can distinguish. From old to new; the broken version has
# its own.
COLOURS = ["#56b4e9", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#f0e442"]
BROKEN = "#d55e00"
PALE = {"#56b4e9", "#cc79a7", "#e69f00", "#f0e442"}  # dark letters on these

STYLE = """
.page{fill:#ffffff} .panel{fill:#f5f6f8} .text{fill:#1b1f24} .dim{fill:#5c6670} .grid{stroke:#dfe3e8}
.axis{stroke:#9aa4ae} .ink{stroke:#1b1f24} .policy{stroke:#1b1f24;fill:none} .flag{fill:#1b1f24} .flagtext{fill:#ffffff}
.spared{stroke:#5c6670;stroke-dasharray:3 2} .off{fill:#30363d} .gap{fill:#1b1f24} .cable{fill:#8b949e;fill-opacity:.30} .cableink{stroke:#6e7781}
.on{fill:#ffffff} .onlight{fill:#1b1f24} .halo{stroke:#ffffff;stroke-width:3px;paint-order:stroke;stroke-linejoin:round} text{font-family:"DejaVu Sans",system-ui,sans-serif;font-size:12px}
.small{font-size:11px} .tiny{font-size:10px} .title{font-size:22px;font-weight:bold} .head{font-size:14px;font-weight:bold}
.bold{font-weight:bold} .end{text-anchor:end} .middle{text-anchor:middle}
"""
DARK = """
.page{fill:#0d1117} .panel{fill:#161b22} .text{fill:#e6edf3} .dim{fill:#9aa4ae} .grid{stroke:#2a313a} .axis{stroke:#5c6670}
.ink,.policy{stroke:#e6edf3} .flag{fill:#e6edf3} .flagtext{fill:#0d1117} .off{fill:#6e7781} .gap{fill:#e6edf3} .cable{fill:#8b949e} .halo{stroke:#0d1117}
"""


class Canvas:
    def __init__(self):
        self.parts = []

    def add(self, tag, text=None, tip=None, **attributes):
        inner = (f"<title>{html.escape(tip)}</title>" if tip else "") + html.escape(text or "")
        written = "".join(f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(round(value, 2) if isinstance(value, float) else value))}"'
                          for key, value in attributes.items() if value is not None)
        self.parts.append(f"<{tag}{written}>{inner}</{tag}>" if inner else f"<{tag}{written}/>")

    def text(self, x, y, text, css="text", **more):
        self.add("text", text, x=x, y=y, class_=css, **more)

    def box(self, x, y, width, height, css=None, **more):
        self.add("rect", x=x, y=y, width=max(width, 0), height=height, class_=css, **more)

    def line(self, x1, y1, x2, y2, css, **more):
        self.add("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=css, **more)

    def path(self, d, css=None, **more):
        self.add("path", d=d, class_=css, **more)

    def open(self, **attributes):
        self.parts.append("<g" + "".join(f' {key}="{html.escape(str(value))}"' for key, value in attributes.items()) + ">")

    def close(self):
        self.parts.append("</g>")


def clock(seconds):
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def bytes_text(count):
    return f"{count / 1000:.0f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"


def seconds_text(seconds):
    return f"{seconds:.1f} s" if seconds < 99.5 else f"{seconds / 60:.1f} min"


def on(colour):
    return "onlight" if colour in PALE else "on"


def colours(run):
    good = iter(COLOURS * 9)
    return {one["name"]: BROKEN if one["name"] == run["broken"] else next(good) for one in run["versions"]}


def ticks(most, count=8):
    """Round steps of an axis from 0 to most."""
    for step in (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 86400):
        if most / step <= count:
            return [i * step for i in range(int(most / step) + 1)]
    return [0]


def round_ticks(most, count=4):
    step = 10 ** -3
    while True:
        for times in (1, 2, 5):
            if most / (step * times) <= count:
                return [i * step * times for i in range(int(most / (step * times)) + 1)]
        step *= 10


# --- the timeline --------------------------------------------------------------------------------


def bolt(canvas, x, y, tip):
    canvas.path(f"M{x - 1:.1f},{y - 11} l-6,12 h5 l-2,10 l8,-13 h-5 l3,-9 z", tip=tip, fill="#f0e442",
                stroke="#1b1f24", stroke_width=1.2, stroke_linejoin="round")


def back_arrow(canvas, x, y, tip):
    canvas.add("circle", tip=tip, cx=x, cy=y, r=8.5, fill=BROKEN, stroke="#ffffff", stroke_width=1.5)
    canvas.path(f"M{x + 3.5:.1f},{y + 3} a4,4 0 1 0 -6.6,-3.2 m-2,-3.6 l1.8,4.2 l4.2,-1.6", stroke="#ffffff",
                stroke_width=1.6, fill="none", stroke_linecap="round", stroke_linejoin="round")


def draw_running(canvas, run, device, at, y, hue):
    """Draws the thick bar: the versions that ran."""
    until = run["ended"]
    for a, b, version in v.spans(device, until):
        width = max(at(b) - at(a), 0.8)
        canvas.box(at(a), y, width, 18, fill=hue[version], tip=f"{device['name']}: {version} ran {clock(a)} to {clock(b)}")
        went_back = any(e["kind"] == "result" and e["result"] == "rolled-back" and abs(at(e["t"]) - at(a)) < 12 for e in device["events"])
        if width > 44:
            canvas.text(at(a) + (22 if went_back else 6), y + 13.2, version, on(hue[version]) + " bold small")
    for a, b, why in v.gaps(device, until):
        if why == "power":
            continue
        canvas.box(at(a), y, max(at(b) - at(a), 1.2), 18, "gap", tip=f"{device['name']}: nothing ran for {b - a:.2f} s")
    for a, b in v.outages(device, "power-cut", "power-on", until):
        end = next((to for frm, to, why in v.gaps(device, until) if why == "power" and frm <= a <= to), b)
        canvas.box(at(a), y, at(end) - at(a), 18, "off", tip=f"{device['name']}: off and starting for {end - a:.0f} s")
        if at(end) - at(a) > 40:
            canvas.text((at(a) + at(end)) / 2 + 4, y + 13, "off" if at(end) - at(a) < 90 else "off, starting", "on small middle")


def draw_phases(canvas, run, device, at, y, hue):
    """Draws the thin bar below: the phases of Pullet."""
    for a, b, phase, version in v.phases(device, run["ended"]):
        x, width = at(a), max(at(b) - at(a), 1.5)
        tip = f"{device['name']}: {phase} of {version}, {clock(a)} to {clock(b)}"
        if phase == "prepare":
            canvas.box(x, y, width, 8, fill=hue[version], fill_opacity=".35", tip=tip)
        else:
            canvas.box(x, y, width, 8, fill=hue[version], tip=tip)
        if phase in ("trial", "revert"):
            canvas.box(x, y, width, 8, fill=f"url(#{phase})")


def draw_lane(canvas, run, device, at, y, hue):
    canvas.open(**{"class": "lane", "data-device": device["name"]})
    until = run["ended"]
    canvas.text(24, y + 13, device["name"], "text bold")
    canvas.text(24, y + 27, device["link"], "dim tiny")
    draw_running(canvas, run, device, at, y, hue)
    draw_phases(canvas, run, device, at, y + 20, hue)
    for a, b in v.outages(device, "link-down", "link-up", until):
        canvas.box(at(a), y - 5, at(b) - at(a), 38, "cable", tip=f"{device['name']}: link down {clock(a)} to {clock(b)}")
        canvas.box(at(a), y - 5, at(b) - at(a), 38, "cableink", fill="url(#cable)", stroke_width=1, stroke_dasharray="4 3")
        canvas.text(at(a) + 5, y + 29, "no link", "text tiny bold halo")
    for event in device["events"]:
        if event["kind"] == "power-cut":
            bolt(canvas, at(event["t"]), y + 9, f"{device['name']}: power cut at {clock(event['t'])}")
        if event["kind"] == "result" and event["result"] == "rolled-back":
            back_arrow(canvas, at(event["t"]), y + 9, f"{device['name']}: {event['text']}")
    canvas.close()


def draw_policies(canvas, run, at, top, bottom, hue):
    """Draws a line and a flag for each policy; flags that would overlap go to another row."""
    ends = [0, 0, 0]
    for policy in run["policies"]:
        x = at(policy["t"])
        label = f"{policy['version']} halted" if policy["halt"] else f"{policy['version']} to {policy['percent']:g} %"
        width = 7.0 * len(label) + 12
        left = min(x, RIGHT - width)
        row = next((i for i, end in enumerate(ends) if left >= end), len(ends) - 1)
        ends[row] = left + width + 4
        y = top - 20 - row * 20
        canvas.line(x, y + 16, x, bottom, "ink", stroke_width=1, stroke_dasharray="2 3", stroke_opacity=".7")
        colour = hue[policy["version"]]
        canvas.box(left, y, width, 16, rx=3, fill=colour, tip=f"policy {policy['sequence']} at {clock(policy['t'])}: {label}")
        if policy["halt"]:
            canvas.box(left, y, width, 16, rx=3, fill="#1b1f24", stroke=colour, stroke_width=2)
        canvas.text(left + width / 2, y + 12, label, ("on" if policy["halt"] else on(colour)) + " small bold middle")


def time_axis(canvas, run, at, y, top):
    for t in ticks(run["ended"], 12):
        canvas.line(at(t), top, at(t), y, "grid", stroke_width=1)
        canvas.text(at(t), y + 15, clock(t), "dim small middle")


# --- the curve -----------------------------------------------------------------------------------


def draw_curve(canvas, run, at, top, height, hue):
    """Shares stacked, the newest version at the bottom, so that the policy's line is its mark."""
    bottom, many = top + height, len(run["devices"])
    canvas.box(LEFT, top, RIGHT - LEFT, height, "panel")
    for percent in (0, 25, 50, 75, 100):
        y = bottom - height * percent / 100
        canvas.line(LEFT, y, RIGHT, y, "grid", stroke_width=1)
        canvas.text(LEFT - 8, y + 4, f"{percent} %", "dim small end")
    curve = [(0, {one["name"]: 0 for one in run["versions"]}), *v.share_curve(run), ]
    below = {t: 0 for t in range(len(curve))}
    for one in reversed(run["versions"]):
        lower, upper = [], []
        for i, (t, counts) in enumerate(curve):
            end = curve[i + 1][0] if i + 1 < len(curve) else run["ended"]
            share = counts[one["name"]] / many * height
            lower += [(at(t), bottom - below[i]), (at(end), bottom - below[i])]
            below[i] += share
            upper += [(at(t), bottom - below[i]), (at(end), bottom - below[i])]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in upper + lower[::-1])
        canvas.add("polygon", tip=one["name"], points=points, fill=hue[one["name"]], fill_opacity=".9")
    d, before = "", None
    for policy in run["policies"]:
        percent = 0 if policy["halt"] else policy["percent"]
        y = bottom - height * percent / 100
        d += f"M{at(policy['t']):.1f},{bottom:.1f} V{y:.1f} " if before is None else f"H{at(policy['t']):.1f} V{y:.1f} "
        before = policy
    if before:
        canvas.path(d + f"H{RIGHT}", "page-line", fill="none", stroke="#ffffff", stroke_width=4.5, stroke_opacity=".75")
        canvas.path(d + f"H{RIGHT}", fill="none", stroke="#1b1f24", stroke_width=2)


# --- the small panels ----------------------------------------------------------------------------


def bars(canvas, x, y, width, title, unit, rows, most):
    """Horizontal bars, a row a device: rows = [(name, [(value, colour, hatch, tip)], label)]. Without a colour only its
    edge is drawn."""
    canvas.text(x, y, title, "text head")
    left, right, top = x + 58, x + width - 62, y + 14
    scale = (right - left) / (most or 1)
    steps = round_ticks(most or 1)
    for step in steps:
        canvas.line(left + step * scale, top, left + step * scale, top + len(rows) * 22, "grid", stroke_width=1)
        canvas.text(left + step * scale, top + len(rows) * 22 + 14, f"{step:g}", "dim tiny middle")
    canvas.text(right + 6, top + len(rows) * 22 + 14, unit, "dim tiny")
    for i, (name, parts, label) in enumerate(rows):
        at, line = left, top + i * 22 + 4
        canvas.text(left - 8, line + 11, name, "text small end")
        for value, colour, hatch, tip in parts:
            canvas.box(at, line, value * scale, 14, None if colour else "spared", fill=colour or "none", tip=tip)
            if hatch:
                canvas.box(at, line, value * scale, 14, fill="url(#trial)")
            at += value * scale
        canvas.text(at + 5, line + 11, label, "text small")


def draw_bytes(canvas, run, x, y, width, hue, figures):
    rows = []
    for device in run["devices"]:
        spent, spared = (figures["devices"][device["name"]][key] for key in ("bytes_by_version", "bytes_saved"))
        parts = [(count / 1000, hue[name], False, f"{device['name']}, {name}: {count} bytes") for name, count in spent.items()]
        parts += [(spared / 1000, None, False, f"{device['name']}: {spared} bytes of layers saved by deltas")] if spared else []
        rows.append((device["name"], parts, bytes_text(sum(spent.values())) + (f", saved {bytes_text(spared)}" if spared else "")))
    most = max(sum(part[0] for part in row[1]) for row in rows)
    saving = any(figures["devices"][device["name"]]["bytes_saved"] for device in run["devices"])
    bars(canvas, x, y, width, "Bytes over the link" + ("; dashed: saved by deltas" if saving else ""), "kB", rows, most * (1.4 if saving else 1))


def draw_downtime(canvas, run, x, y, width, figures):
    rows = []
    for device in run["devices"]:
        one = figures["devices"][device["name"]]
        label = f"{one['swap_downtime']:.1f} s" + (f" + {one['power_downtime']:.0f} s" if one["power_downtime"] else "")
        rows.append((device["name"], [(one["swap_downtime"], "#cc79a7", False, "swaps and rollback"),
                                      (one["power_downtime"], "#8b949e", True, "power cut, until the container ran again")], label))
    bars(canvas, x, y, width, "Without a container", "s", rows, max(sum(p[0] for p in row[1]) for row in rows))
    canvas.box(x + width - 205, y - 10, 10, 10, fill="#cc79a7")
    canvas.text(x + width - 191, y - 1, "swaps", "dim small")
    canvas.box(x + width - 142, y - 10, 10, 10, fill="#8b949e")
    canvas.box(x + width - 142, y - 10, 10, 10, fill="url(#trial)")
    canvas.text(x + width - 128, y - 1, "power cut, start", "dim small")


def draw_waits(canvas, run, x, y, width, hue, figures):
    """Draws one dot for each device: the time from its admission by the policy to its update."""
    canvas.text(x, y, "From allowed to updated", "text head")
    rows = [one["name"] for one in run["versions"] if one["name"] != run["broken"]]
    left, right, top = x + 34, x + width - 24, y + 14
    high = max(22 * len(run["devices"]) / max(len(rows), 1), 22)
    most = max([s for name in rows for s in figures["versions"][name]["seconds_to_reach"].values()], default=1)
    scale = (right - left) / (most * 1.06)
    for step in round_ticks(most * 1.06, 5):
        canvas.line(left + step * scale, top, left + step * scale, top + high * len(rows), "grid", stroke_width=1)
        canvas.text(left + step * scale, top + high * len(rows) + 14, f"{step:g}", "dim tiny middle")
    canvas.text(right + 4, top + high * len(rows) + 14, "s", "dim tiny")
    for i, name in enumerate(rows):
        middle = top + high * (i + 0.5)
        canvas.text(left - 8, middle + 4, name, "text small bold end")
        canvas.line(left, middle, right, middle, "axis", stroke_width=1)
        for device, seconds in figures["versions"][name]["seconds_to_reach"].items():
            canvas.add("circle", tip=f"{device}: {seconds:.0f} s", cx=left + seconds * scale, cy=middle, r=5.5,
                       fill=hue[name], fill_opacity=".8", stroke="#ffffff", stroke_width=1)


# --- the whole -----------------------------------------------------------------------------------

PATTERNS = """<defs>
<pattern id="trial" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="2" height="5" fill="#ffffff" fill-opacity=".65"/></pattern>
<pattern id="revert" width="4" height="4" patternUnits="userSpaceOnUse"><rect width="2" height="4" fill="#1b1f24" fill-opacity=".75"/></pattern>
<pattern id="cable" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(-45)"><rect width="1.2" height="7" fill="#6e7781" fill-opacity=".8"/></pattern>
</defs>"""


def draw_legend(canvas, run, y, hue):
    x = 24

    def entry(width, label, draw):
        nonlocal x
        draw(x)
        canvas.text(x + width + 6, y + 4, label, "text small")
        x += width + 6 + 6.6 * len(label) + 16

    def swatch(css=None, height=12, **more):
        return lambda at: canvas.box(at, y - height / 2, 16, height, css, **more)

    def both(*draws):
        return lambda at: [draw(at) for draw in draws]

    grey = "#6e7781"
    for one in run["versions"]:
        entry(16, one["name"] + (" (broken)" if one["name"] == run["broken"] else ""), swatch(fill=hue[one["name"]]))
    entry(16, "prepare", swatch(height=8, fill=grey, fill_opacity=".35"))
    entry(16, "trial", both(swatch(height=8, fill=grey), swatch(height=8, fill="url(#trial)")))
    entry(16, "revert", both(swatch(height=8, fill=BROKEN), swatch(height=8, fill="url(#revert)")))
    entry(4, "nothing runs", lambda at: canvas.box(at, y - 7, 3, 14, "gap"))
    entry(16, "off", swatch("off"))
    entry(16, "no link", both(swatch("cable", 14), swatch(height=14, fill="url(#cable)")))
    entry(16, "power cut", lambda at: bolt(canvas, at + 8, y, None))
    entry(18, "rolled back", lambda at: back_arrow(canvas, at + 9, y, None))
    entry(16, "policy", lambda at: canvas.line(at, y, at + 16, y, "ink", stroke_width=1, stroke_dasharray="2 3"))


def draw_header(canvas, run, result):
    canvas.text(24, 40, run["title"], "text title")
    passed = result["passed"]
    canvas.box(RIGHT - 104, 20, 104, 28, rx=14, fill="#009e73" if passed else BROKEN)
    canvas.text(RIGHT - 52, 39, "PASSED" if passed else "FAILED", "on bold middle", style="font-size:14px")
    canvas.text(24, 62, run["subtitle"], "dim")


def svg(run, result=None):
    """The whole picture as text."""
    result = result or v.verdict(run)
    canvas, hue = Canvas(), colours(run)
    many, until = len(run["devices"]), run["ended"] or 1

    def at(t):
        return LEFT + (RIGHT - LEFT) * min(t, until) / until

    lanes = 176
    bottom = lanes + many * LANE
    curve = bottom + 66
    panels = curve + 150 + 70
    height = panels + 22 * many + 52
    canvas.box(0, 0, WIDTH, height, "page")
    draw_header(canvas, run, result)
    draw_legend(canvas, run, 90, hue)
    canvas.box(LEFT, lanes - 8, RIGHT - LEFT, bottom - lanes + 8, "panel")
    time_axis(canvas, run, at, bottom, lanes - 8)
    draw_policies(canvas, run, at, lanes - 10, bottom, hue)
    for i, device in enumerate(run["devices"]):
        draw_lane(canvas, run, device, at, lanes + i * LANE + 4, hue)
    canvas.text(24, curve - 18, "The rollout", "text head")
    canvas.text(LEFT, curve - 18, "share of devices on each version, the newest at the bottom; black line: what the policy allows of it", "dim small")
    draw_curve(canvas, run, at, curve, 150, hue)
    time_axis(canvas, run, at, curve + 150, curve + 150)
    third = (RIGHT - 24) / 3
    figures = result["figures"]
    draw_bytes(canvas, run, 24, panels, third - 24, hue, figures)
    draw_downtime(canvas, run, 24 + third, panels, third - 12, figures)
    draw_waits(canvas, run, 48 + 2 * third, panels, third - 24, hue, figures)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" '
            f'aria-label="{html.escape(run["title"])}">'
            f"<style>{STYLE}@media (prefers-color-scheme: dark){{{DARK}}}</style>{PATTERNS}" + "\n".join(canvas.parts) + "</svg>\n")


PAGE = """
:root{color-scheme:light dark;--page:#fff;--text:#1b1f24;--dim:#5c6670;--line:#dfe3e8;--good:#00795a;--bad:#b34700}
@media (prefers-color-scheme:dark){:root{--page:#0d1117;--text:#e6edf3;--dim:#9aa4ae;--line:#2a313a;--good:#3fc79a;--bad:#ff8a4c}}
body{background:var(--page);color:var(--text);font:15px/1.5 system-ui,"DejaVu Sans",sans-serif;max-width:1200px;margin:0 auto;padding:16px}
svg{width:100%;height:auto;display:block} table{border-collapse:collapse;margin:8px 0 24px;width:100%}
th,td{text-align:left;padding:5px 12px 5px 0;border-bottom:1px solid var(--line);vertical-align:top;font-variant-numeric:tabular-nums}
th{font-weight:600;color:var(--dim)} td.n,th.n{text-align:right} .passed{color:var(--good)} .failed{color:var(--bad);font-weight:600}
h2{font-size:17px;margin:28px 0 4px} code{font-size:13px} .dim{color:var(--dim)} details{margin:12px 0} summary{cursor:pointer}
"""


def table(head, rows):
    """Cells are texts, or (class, text)."""
    def cell(tag, value):
        css, text = value if isinstance(value, tuple) else (None, value)
        return f"<{tag}" + (f' class="{css}"' if css else "") + f">{html.escape(str(text))}</{tag}>"

    return ("<table><tr>" + "".join(cell("th", one) for one in head) + "</tr>"
            + "".join("<tr>" + "".join(cell("td", one) for one in row) + "</tr>" for row in rows) + "</table>")


def event_text(event):
    words = {"start": "{version} started", "die": "{version} ended", "phase": "Pullet: {phase} {version}",
             "result": "Pullet: {text}", "power-cut": "power cut", "power-on": "power on",
             "link-down": "link down", "link-up": "link up", "order": "told to update now"}
    return words[event["kind"]].format(**{"version": "", **event})


def page(run, result=None):
    """report.html: self-contained."""
    result = result or v.verdict(run)
    numbers = result["figures"]["devices"]
    checks = table(["check", "", "what was seen"],
                   [(row["name"], ("passed", "passed") if row["passed"] else ("failed", "FAILED"), row["text"])
                    for row in result["checks"]])
    devices = table(
        ["device", "link", "cohort of " + ", ".join(one["name"] for one in run["versions"]), ("n", "bytes down"), ("n", "up"),
         ("n", "swaps, s"), ("n", "longest, s"), ("n", "power cut, s"), "ran", "remembers as bad"],
        [(d["name"], d["link"], ", ".join(f"{d['cohorts'][one['name']]:.1f}" for one in run["versions"]),
          ("n", numbers[d["name"]]["down_bytes"]), ("n", numbers[d["name"]]["up_bytes"]), ("n", numbers[d["name"]]["swap_downtime"]),
          ("n", numbers[d["name"]]["longest_swap"]), ("n", numbers[d["name"]]["power_downtime"]),
          ", ".join(one["name"] for one in run["versions"] if v.took(d, one["name"])), ", ".join(d["end"]["rejected"]))
         for d in run["devices"]])
    versions = table(["version", "digest", "published", ("n", "slowest device, s from allowed to updated")],
                     [(one["name"], one["digest"], "never" if one["t"] is None else clock(one["t"]), ("n", result["figures"]["versions"][one["name"]]["slowest"] or "-"))
                      for one in run["versions"]])
    log = table(["time", "device", "event"], [(clock(event["t"]), d["name"], event_text(event)) for event, d in sorted(
        ((event, d) for d in run["devices"] for event in d["events"]), key=lambda pair: pair[0]["t"])])
    return (f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            f'<title>{html.escape(run["title"])}</title><style>{PAGE}</style></head><body>'
            f'{svg(run, result)}<h2>Verdict</h2>{checks}<h2>Devices</h2>{devices}<h2>Versions</h2>{versions}'
            f'<p class="dim">A device may take a version when its cohort, a hash of its machine id and the digest in percent, is below '
            f'the percentage of the policy. {html.escape(run["note"])}</p>'
            f'<details><summary>Every event</summary>{log}</details></body></html>\n')


def write(run, directory):
    """-> the verdict. All files of the report, run.json and verdict.json among them."""
    directory, result = pathlib.Path(directory), v.verdict(run)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "run.json").write_text(json.dumps(run, indent=1) + "\n")
    (directory / "verdict.json").write_text(json.dumps(result, indent=1) + "\n")
    (directory / "fleet.svg").write_text(svg(run, result))
    (directory / "report.html").write_text(page(run, result))
    if shutil.which("rsvg-convert"):
        subprocess.run(["rsvg-convert", "-z", "1.5", "-o", directory / "fleet.png", directory / "fleet.svg"], check=True)
    else:
        print("no fleet.png: rsvg-convert is not installed (librsvg2-bin)", file=sys.stderr)
    return result


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    result = write(json.loads(pathlib.Path(sys.argv[1]).read_text()), sys.argv[2])
    for row in result["checks"]:
        print(f"{'passed' if row['passed'] else 'FAILED'}  {row['name']}: {row['text']}")
    sys.exit(0 if result["passed"] else 1)


if __name__ == "__main__":
    main()
