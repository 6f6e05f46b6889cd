#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""swarm_report.py SWARM.json DIRECTORY: swarm.svg, swarm.png and swarm.html. Pure but for write()."""

import html
import json
import pathlib
import shutil
import subprocess
import sys

import report

LEFT, RIGHT, HEIGHT = 84, 1176, 170
HUES = ["#d55e00", "#0072b2", "#009e73"]  # of the scenarios


def number(value):
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"


class Chart:
    """Lines over time in a frame."""

    def __init__(self, canvas, top, title, end_s, most, unit, hours):
        self.canvas, self.top, self.end, self.most = canvas, top, end_s, most or 1
        self.bottom = top + HEIGHT
        canvas.text(LEFT, top - 10, title, "text head")
        canvas.box(LEFT, top, RIGHT - LEFT, HEIGHT, "panel")
        for value in report.round_ticks(self.most):
            canvas.line(LEFT, self.y(value), RIGHT, self.y(value), "grid", stroke_width=1)
            canvas.text(LEFT - 8, self.y(value) + 4, number(value) + unit, "dim small end")
        step = 7200 if hours else 60 * max(1, round(end_s / 60 / 14))
        for t in range(0, int(end_s) + 1, step):
            canvas.line(self.x(t), top, self.x(t), self.bottom, "grid", stroke_width=1)
            canvas.text(self.x(t), self.bottom + 15, f"{t // 3600} h" if hours else f"{t // 60} min",
                        "dim small middle")

    def x(self, t):
        return LEFT + (RIGHT - LEFT) * t / self.end

    def y(self, value):
        return self.bottom - HEIGHT * 0.94 * value / self.most

    def line(self, values, step_s, hue, width=1.8):
        """Draws at most one point for each pixel, the highest."""
        span = max(1, len(values) // (RIGHT - LEFT))
        points = [(self.x(i * step_s), self.y(max(values[i:i + span]))) for i in range(0, len(values), span)]
        self.canvas.path("M" + " L".join(f"{x:.1f},{y:.1f}" for x, y in points), fill="none", stroke=hue,
                         stroke_width=width, stroke_linejoin="round")

    def mark(self, t, text):
        self.canvas.line(self.x(t), self.top, self.x(t), self.bottom, "ink", stroke_width=1, stroke_dasharray="4 3")
        self.canvas.text(self.x(t) + 4, self.top + 12, text, "text small halo")


def per_second(times, step_s, end_s):
    bins = [0] * (int(end_s / step_s) + 1)
    for t in times:
        if 0 <= t < end_s:
            bins[int(t / step_s)] += 1
    return [n / step_s for n in bins]


def legend(canvas, y, entries):
    x = LEFT
    for hue, text in entries:
        canvas.box(x, y - 9, 22, 6, fill=hue, rx=3)
        canvas.text(x + 30, y - 2, text, "text")
        x += 54 + 7.2 * len(text)


def draw_real(canvas, real, top):
    end = real["ended_s"]
    step = max(1, real["interval_s"] / 60)
    polls = per_second([t for t, engine in real["requests"] if not engine], step, end)
    pulls = per_second([t for t, engine in real["requests"] if engine], step, end)
    chart = Chart(canvas, top, f"{real['devices']:,} real agents, booted in one second: requests a second at the registry",
                  end, max(polls + pulls), "", False)
    chart.line(pulls, step, "#e69f00")
    chart.line(polls, step, "#0072b2")
    legend(canvas, top + HEIGHT + 38, [("#0072b2", "the agents' requests"), ("#e69f00", "the engines' pulls")])
    chart = Chart(canvas, top + 270, "the same: devices on version 2", end, real["devices"], "", False)
    steps = per_second(real["taken"], 1, end)
    total, curve = 0, []
    for n in steps:
        total += n
        curve.append(total)
    chart.line(curve, 1, "#009e73", 2.4)
    for one in real["steps"]:
        chart.mark(one["t"], f"{one['percent']} %")


def draw_virtual(canvas, virtual, top):
    stories = list(virtual["stories"].items())
    what = [("requests a second at the registry", "requests_per_s", ""),
            ("bytes a second from the registry", "bytes_per_s", "B"),
            ("share of devices on the new version", "share", "")]
    for i, (title, key, unit) in enumerate(what):
        most = max(max(story[key]) for _, story in stories)
        end = stories[0][1]["slice_s"] * len(stories[0][1][key])
        chart = Chart(canvas, top + i * 240, f"{virtual['devices']:,} devices under a virtual clock: {title}", end,
                      most, unit, True)
        for (_, story), hue in zip(stories, HUES):
            chart.line(story[key], story["slice_s"], hue)
        chart.mark(stories[0][1]["publish_s"], "published")
    legend(canvas, top + 3 * 240 - 22, [(hue, name) for (name, _), hue in zip(stories, HUES)])


def svg(result):
    canvas = report.Canvas()
    draw_real(canvas, result["real"], 96)
    draw_virtual(canvas, result["virtual"], 660)
    good = all(row["passed"] for row in result["checks"])
    canvas.text(LEFT - 60, 40, "A large fleet and one registry", "text title")
    canvas.text(RIGHT, 40, "all checks passed" if good else "A CHECK FAILED", "text head end")
    return ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1200 1380" role="img">'
            f"<style>{report.STYLE}@media (prefers-color-scheme:dark){{{report.DARK}}}</style>"
            '<rect class="page" width="1200" height="1380"/>' + "".join(canvas.parts) + "</svg>\n")


def page(result):
    checks = report.table(["check", "", "what was seen"],
                          [(row["name"], ("passed", "passed") if row["passed"] else ("failed", "FAILED"), row["text"])
                           for row in result["checks"]])
    prices = report.table(["what", ("n", "requests"), ("n", "bytes, both ways, without TLS")],
                          [(kind, ("n", n), ("n", size)) for kind, (n, size) in result["real"]["prices"].items()])
    peaks = report.table(["policy", ("n", "requests/s, mean before"), ("n", "requests/s, peak"), ("n", "MB/s, peak")],
                         [(name, ("n", f"{mean_before(story):.0f}"), ("n", f"{max(story['requests_per_s']):.0f}"),
                           ("n", f"{max(story['bytes_per_s']) / 1e6:.1f}"))
                          for name, story in result["virtual"]["stories"].items()])
    return (f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{html.escape("A large fleet")}</title>'
            f"<style>{report.PAGE}</style></head><body>{svg(result)}<h2>Checks</h2>{checks}<h2>What a poll costs</h2>"
            f"{prices}<h2>{result['virtual']['devices']:,} devices</h2>{peaks}</body></html>\n")


def mean_before(story):
    values = story["requests_per_s"][:int(story["publish_s"] / story["slice_s"])]
    return sum(values) / len(values)


def write(result, directory):
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "swarm.json").write_text(json.dumps(result) + "\n")
    (directory / "swarm.svg").write_text(svg(result))
    (directory / "swarm.html").write_text(page(result))
    if shutil.which("rsvg-convert"):
        subprocess.run(["rsvg-convert", "-z", "1.5", "-o", directory / "swarm.png", directory / "swarm.svg"], check=True)
    else:
        print("no swarm.png: rsvg-convert is not installed (librsvg2-bin)", file=sys.stderr)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    write(json.loads(pathlib.Path(sys.argv[1]).read_text()), sys.argv[2])
