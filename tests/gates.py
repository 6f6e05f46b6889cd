#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""gates.py format|layers|plan|sizes: the rules of agent/README.md that a machine can check."""
import pathlib
import re
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
AGENT = TOP / "agent"
FILE_LINES_MAX, UTIL_LINES_MAX, FUNCTION_LINES_MAX = 600, 250, 80


def c_files(*folders):
    return sorted(f for folder in folders for f in (TOP / folder).rglob("*.[ch]"))


def check_format():
    files = c_files("agent", "tests")
    r = subprocess.run(["clang-format", "--dry-run", "--Werror", *map(str, files)], cwd=TOP,
                       capture_output=True, text=True)
    return r.stderr.splitlines()


def read_layers():
    """The rows `| 3 heart | `plan` ... |` of the table in agent/README.md: module -> layer."""
    layers = {}
    for line in (AGENT / "README.md").read_text().splitlines():
        row = re.match(r"\|\s*(\d)\s+\w+\s*\|(.*)\|\s*$", line)
        if row:
            for name in re.findall(r"`([a-z0-9-]+)`", row[2]):
                layers[name] = int(row[1])
    return layers


def check_layers():
    layers, faults = read_layers(), []
    for f in c_files("agent"):
        if f.stem not in layers:
            faults.append(f"{f.name}: not in the layer table of agent/README.md")
            continue
        for include in re.findall(r'^#include "([a-z0-9-]+)\.h"', f.read_text(), re.M):
            if layers.get(include, 9) > layers[f.stem]:
                faults.append(f"{f.name} (layer {layers[f.stem]}) includes {include}.h upwards")
    for header, owners in {"curl/curl.h": {"http"}, "openssl/": {"hash", "base64", "verify"},
                           "systemd/sd-event.h": {"helper", "bus"},
                           "systemd/sd-bus.h": {"bus", "polkit", "client"}}.items():
        for f in c_files("agent"):
            if f"#include <{header}" in f.read_text() and f.stem not in owners:
                faults.append(f"{f.name}: only {', '.join(sorted(owners))} may see <{header}>")
    stale = set(layers) - {f.stem for f in c_files("agent")}
    return faults + [f"agent/README.md names {m}, which is not there" for m in sorted(stale)]


def check_plan():
    """The table in agent/README.md is the one in plan.c, row by row."""
    code = (AGENT / "plan.c").read_text()
    names = dict(re.findall(r'\[ACT_(\w+)\] = "([^"]*)"', code))
    whom = {"ONE": "", "EACH": ", each", "EACH_BACK": ", each, last first"}
    rows = [f"| {phase.lower()} | {unless} | {names[action]}{whom[of]} |" for phase, unless, action, of in
            re.findall(r'\{\{PHASE_(\w+),\s*"([^"]*)",\s*ACT_(\w+),\s*(\w+)\}', code)]
    page = [line for line in (AGENT / "README.md").read_text().splitlines()
            if re.match(r"\| (idle|prepare|trial|commit|revert) \|", line)]
    if rows == page and rows:
        return []
    return [f"plan.c and agent/README.md differ: {r}" for r in set(rows) ^ set(page)] or ["order differs"]


def check_sizes():
    faults = []
    for f in c_files("agent"):
        lines = f.read_text().splitlines()
        most = UTIL_LINES_MAX if f.stem == "util" else FILE_LINES_MAX
        if len(lines) > most:
            faults.append(f"{f.name}: {len(lines)} lines, {most} at most")
        start = None
        for n, line in enumerate(lines, 1):
            if line == "{":
                start = n
            elif line == "}" and start:
                if n - start - 1 > FUNCTION_LINES_MAX:
                    faults.append(f"{f.name}:{start}: function of {n - start - 1} lines, "
                                  f"{FUNCTION_LINES_MAX} at most")
                start = None
    return faults


if __name__ == "__main__":
    problems = {"format": check_format, "layers": check_layers, "plan": check_plan, "sizes": check_sizes}[sys.argv[1]]()
    print("\n".join(problems))
    sys.exit(1 if problems else 0)
