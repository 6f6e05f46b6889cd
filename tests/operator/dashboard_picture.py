# SPDX-License-Identifier: MIT
"""Draws the panels of the dashboard as SVG from the results of a real Prometheus: Debian has no Grafana."""

import html

COLUMN, ROW, GAP, HEAD = 50, 30, 8, 24
COLORS = ["#5794f2", "#73bf69", "#f2cc0c", "#ff780a", "#f2495c", "#b877d9", "#8ab8ff", "#96d98d"]
UNITS = {"s": " s", "Bps": " B/s", "short": ""}


def draw(path, results):
    """results: (panel, legend, [(labels, [(time, value)])]), as the dashboard has them."""
    panels = {}
    for panel, legend, series in results:
        panels.setdefault(panel["id"], (panel, []))[1].extend((name(legend, labels), points) for labels, points in series)
    height = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p, _ in panels.values()) * ROW
    times = [at for _, lines in panels.values() for _, points in lines for at, _ in points]
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {24 * COLUMN} {height}" font-family="sans-serif" '
           f'font-size="12" fill="#ccccdc"><rect width="100%" height="100%" fill="#111217"/>']
    for panel, lines in panels.values():
        out += draw_panel(panel, lines, (min(times), max(times)))
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(out) + "\n</svg>\n")


def name(legend, labels):
    for label, value in labels.items():
        legend = legend.replace("{{" + label + "}}", value)
    return legend or ", ".join(labels.values())


def text(x, y, words, more=""):
    return f'<text x="{x:.0f}" y="{y:.0f}" {more}>{html.escape(words)}</text>'


def show(value, unit):
    return (f"{value:.0f}" if abs(value - round(value)) < 0.05 or value >= 100 else f"{value:.1f}") + UNITS[unit]


def draw_panel(panel, lines, span):
    grid, unit = panel["gridPos"], panel["fieldConfig"]["defaults"]["unit"]
    x, y = grid["x"] * COLUMN + GAP / 2, grid["y"] * ROW + GAP / 2
    w, h = grid["w"] * COLUMN - GAP, grid["h"] * ROW - GAP
    out = [f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="3" fill="#181b1f" stroke="#2c3235"/>',
           text(x + 10, y + 18, panel["title"], 'font-weight="bold"')]
    last = [(label, points[-1][1]) for label, points in lines]
    if panel["type"] == "stat":
        out.append(text(x + w / 2, y + h - 24, show(sum(value for _, value in last), unit),
                        'font-size="36" text-anchor="middle" fill="#73bf69"'))
    elif panel["type"] == "table":
        rows = sorted(last, key=lambda row: -row[1])[:int((h - HEAD) / 18)]
        out += [text(x + 20, y + HEAD + 18 * (number + 1), f"{label}: {show(value, unit)}")
                for number, (label, value) in enumerate(rows)]
    else:
        out += draw_lines(panel, lines, span, (x + 50, y + HEAD + 8, w - 65, h - HEAD - 50), unit)
    return out


def draw_lines(panel, lines, span, box, unit):
    x, y, w, h = box
    stacked = "custom" in panel["fieldConfig"]["defaults"]
    times = sorted({at for _, points in lines for at, _ in points})
    bottom = dict.fromkeys(times, 0.0)
    areas = []
    for label, points in lines:
        values = dict(points)
        if stacked:
            top = {at: bottom[at] + values.get(at, 0) for at in times}
            areas.append((label, [(at, top[at]) for at in times] + [(at, bottom[at]) for at in reversed(times)]))
            bottom = top
        else:
            areas.append((label, points))
    most = max((value for _, points in areas for _, value in points), default=0) or 1
    out, along = [], x
    for part in (0, 0.5, 1):
        at = y + h * (1 - part)
        out += [f'<path d="M{x:.0f} {at:.0f}h{w:.0f}" stroke="#2c3235"/>',
                text(x - 6, at + 4, show(most * part, unit), 'text-anchor="end" font-size="10"')]
    for number, (label, points) in enumerate(areas):
        color = COLORS[number % len(COLORS)]
        path = " ".join(f"{x + w * (at - span[0]) / (span[1] - span[0]):.1f},{y + h * (1 - value / most):.1f}"
                        for at, value in points)
        out.append(f'<polygon points="{path}" fill="{color}" fill-opacity="0.6"/>' if stacked else
                   f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.5"/>')
        out += [f'<rect x="{along:.0f}" y="{y + h + 18:.0f}" width="10" height="4" fill="{color}"/>',
                text(along + 14, y + h + 24, label, 'font-size="10"')]
        along += 24 + 6 * len(label)
    return out
