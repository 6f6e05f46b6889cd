#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""check_plan.py ROWS-PROGRAM [--all] [--show MISTAKE]

Puts the table of agent/update/plan-*.c, as ROWS-PROGRAM prints it, into the model plan.pml, and lets spin search it:
first as it is, where no promise may break, then with one mistake after another in it, each of which must break
one. --all: more faults, which takes minutes and gigabytes. --show: how one mistake is found out."""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
AGENT = HERE.parent.parent / "agent"
# What the real plan_next() is linked with, inside spin's verifier.
HEAD = [next(AGENT.glob(f"*/{name}.c")) for name in
        "plan plan-take plan-swap plan-decide world health record record-rejected record-signature release platform digest store util json error rollout schedule calendar recreate create-body hold".split()]
# faults, hands: as many of each at most, in one search
SEARCHES, ALL_SEARCHES = [(2, 0), (0, 1)], [(3, 0), (1, 1)]
MUTANT_SEARCHES = [(1, 0), (0, 1), (2, 0)]

# Mistakes in the table: a row, named by phase and condition, moved before another; with another condition or
# other parties. Mistakes beside it: switches in the model. All must be caught.
MISTAKES = [
    ("old stopped before new is made", "trial: old is stopped", "before", "prepare: NAME.next exists"),
    ("old stopped before it is put aside", "trial: old is stopped", "before", "trial: old is named NAME.prev"),
    ("start written between stop and start", "trial: new ran, or its start is counted", "before", "trial: new ran"),
    ("new started before old is stopped", "trial: new ran", "before", "trial: old is stopped"),
    ("old removed before the verdict", "commit: old is gone", "before", "trial: the verdict is known"),
    ("old started before new is stopped", "revert: old serves again", "before", "revert: new is stopped"),
    ("trial written before new is made", "prepare: -", "before", "prepare: NAME.next exists"),
    ("a written verdict overwritten", "commit: new exists", "unless", "trial: new ran"),
    ("a bad verdict overwritten", "revert: there is a way back", "unless", "trial: old is stopped"),
    ("the tag put back without end", "revert: the local tag is where it was", "unless", "prepare: -"),
    ("names given back from the first on", "revert: old is named NAME", "whom", "EACH"),
    ("followers stopped last", "trial: old is stopped", "whom", "EACH"),
    ("followers started first", "trial: new ran", "whom", "EACH_BACK"),
    ("followers not made anew", "prepare: NAME.next exists", "whom", "ONE"),
    ("followers not brought back", "revert: old serves again", "whom", "ONE"),
    ("an update begun before it is verified", "take: the update is prepared", "before", "take: the candidate is verified"),
    ("an update begun before the policy is asked", "take: the update is prepared", "before", "take: the policy was asked"),
    ("an update begun before its signature is written down", "take: the update is prepared", "before",
     "take: its signature is written down"),
    ("a rollback begun before its image is looked for", "rollback: the update is prepared", "before",
     "rollback: its image was looked for"),
    ("a refusal forgotten by the next row", "ask: nothing was refused", "unless", "ask: the registry was asked"),
    ("the window looked at before the download only", "prepare: the window is open", "unless",
     "take: its image is here, or may be downloaded now"),
    ("images counted before they are synced", None, "beside", "M_NO_SYNC"),
    ("new made with its final restart policy", None, "beside", "M_POLICY"),
    ("starts not counted", None, "beside", "M_NO_COUNT"),
    ("what failed forgotten", None, "beside", "M_FORGET"),
]
# Rows that can be taken out without the model's noticing, and why.
HAND = "of what an operator does meanwhile, the model asks only that it ends; tests/unit and tests/engine do"
UNNOTICED = {
    "prepare: a fetch is written down": "no image is removed by hand there; else it only saves a download",
    "rollback: the previous version is not rejected": "a rollback is ordered once there, before anything was rejected",
    "rollback: its image is here": "no image is removed by hand there",
    "commit: new is named NAME": "it is, unless an operator renamed it",
    "revert: old's name is free, if it can be": "what a log is called by is not in the model",
    "revert: old has its name, if that is free": "what a log is called by is not in the model",
    "revert: the local tag is where it was": "it is, unless it came back from commit",
    "ask: nothing of an update is left": HAND,
    "take: old runs, or the candidate may mend it": HAND,
    "trial: new exists": HAND,
    "commit: new exists": HAND,
    "revert: there is a way back": HAND,
    "revert: old is stopped if another took its place": HAND,
    "revert: old is gone if another took its place": HAND,
    "revert: no other container is in the way": HAND,
}


def absent(model):
    """Conditions that are always true there: manifests, times and a damaged store are not in the model."""
    return set(re.findall(r"^#define (\w+)\s+true$", model, re.M))


def spell(text):
    return "never" if text == "-" else re.sub(r"[^A-Za-z0-9]", "_", text)


class Row:
    def __init__(self, line):
        self.phase, self.unless, self.action, self.whom, self.number = line.split("|")
        self.key = f"{self.phase}: {self.unless}"
        self.text = f"{self.phase} | {self.unless} | {self.action}"

    def promela(self, unless=None, whom=None):
        return (f"{whom or self.whom}({spell(unless or self.unless)}, "
                f"ACT_{spell(self.action)})")


def read_rows(program):
    out = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    return [Row(line) for line in out.splitlines()]


def check_names(rows, model):
    """Every name of the table means something in the model, and nothing there is left over."""
    conditions = model[model.index("/* The conditions"):model.index("/* One walk")]
    defined = set(re.findall(r"^#define (\w+)(?![\w(])", conditions, re.M))
    actions = set(re.findall(r"^inline (\w+)\(\)", model, re.M))
    faults = []
    for row in rows:
        if spell(row.unless) not in defined:
            faults.append(f"agent/update/plan-*.c has the row '{row.text}': plan.pml does not say when "
                          f"'{row.unless}' holds (#define {spell(row.unless)} ...)")
        if spell(row.action) not in actions:
            faults.append(f"agent/update/plan-*.c has the row '{row.text}': plan.pml does not say what "
                          f"'{row.action}' does (inline {spell(row.action)}() ...)")
    used = {spell(row.unless) for row in rows}
    for name in sorted(defined - used):
        if len(re.findall(rf"\b{name}\b", model)) < 2:
            faults.append(f"plan.pml defines {name}, which no row of agent/update/plan-*.c uses")
    hands = model[model.index("/* The actions on the engine"):model.index("/* A pass around the table")]
    for name in sorted(set(re.findall(r"^inline (\w+)\(\)", hands, re.M)) - {spell(r.action) for r in rows}):
        faults.append(f"plan.pml defines {name}(), which no row of agent/update/plan-*.c does")
    return faults


def number_mistakes(rows, model):
    """All mistakes by number: the removal of each row, then the listed ones. (name, row, kind, what)"""
    by_key = {}
    for row in rows:
        by_key.setdefault(row.key, row)
    mistakes = {}
    left_out = absent(model)
    for i, row in enumerate(rows, 1):
        if spell(row.unless) in left_out or row.phase == "repair":
            continue
        mistakes[i] = (f"without: {row.text}", row, "without", None)
    for i, (name, key, kind, what) in enumerate(MISTAKES, 201):
        for named in (key, what if kind in ("before", "unless") else None):
            if named and named not in by_key:
                sys.exit(f"check_plan.py: mistake '{name}' is about the row '{named}', "
                         "which agent/update/plan-*.c does not have")
        mistakes[i] = (name, by_key.get(key), kind, by_key.get(what, what))
    return mistakes


def guard(condition, text):
    return f"\tif :: {condition} -> {text} :: else fi;"


def generate(rows, mistakes):
    actions = {row.action: row.number for row in rows}
    out = [f"#define ACT_{spell(action)} {number}" for action, number in actions.items()]
    out += [f"#define {what} {i}" for i, (_, _, kind, what) in mistakes.items() if kind == "beside"]
    out += ["inline plan_next_before()", "{"]
    block = None
    for row in rows:
        if row.phase == "prepare" and row.phase != block:
            out += ["\t:: else", "\tfi", "}", "inline plan_next_swap()", "{"]
            block = None
        if row.phase != block:
            out += [*(["\t:: else", "\tfi;"] if block else []), "\tif", f"\t:: step == NO_STEP && in_{row.phase} ->"]
            block = row.phase
        gone = []
        for i, (_, about, kind, what) in mistakes.items():
            if kind == "before" and what is row:
                out.append(guard(f"mutant == {i}", about.promela()))
            if about is row and kind != "beside":
                gone.append(f"mutant != {i}")
            if about is row and kind == "unless":
                out.append(guard(f"mutant == {i}", row.promela(unless=what.unless)))
            if about is row and kind == "whom":
                out.append(guard(f"mutant == {i}", row.promela(whom=what)))
        out.append(guard(" && ".join(gone), row.promela()) if gone else row.promela())
    out += ["\t:: else", "\tfi", "}", "inline take_step()", "{", "\tif"]
    for action in actions:
        a = spell(action)
        out.append(f'\t:: step == ACT_{a} -> printf("    {action}"); who(); {a}()')
    return "\n".join([*out, "\tfi", "}", ""])


def build(folder, rows, mistakes):
    for name in ("plan.pml", "plan-agree.c"):
        shutil.copy(HERE / name, folder)
    (folder / "plan-rows.pml").write_text(generate(rows, mistakes))
    r = subprocess.run(["spin", "-a", "plan.pml"], cwd=folder, capture_output=True, text=True)
    if r.returncode or not (folder / "pan.c").exists():
        sys.exit(f"spin does not understand plan.pml:\n{r.stdout}{r.stderr}")
    subprocess.run(["gcc", "-O2", "-w", "-DNOFAIR", "-DMEMLIM=16000", "-D_GNU_SOURCE", '-DPULLET_VERSION="0"',
                    *[f"-I{AGENT / folder}" for folder in ("base", "transport", "signature", "engine", "recreate", "update")], "-I.",
                    "-ffunction-sections", "-Wl,--gc-sections", "-o", "pan", "pan.c", *HEAD, "-ljansson"],
                   cwd=folder, check=True)


class Search:
    """One run of the verifier: all that can happen with that many faults and hands."""

    def __init__(self, folder, mistake, faults, hands):
        self.where = pathlib.Path(tempfile.mkdtemp(dir=folder))
        self.environment = {**os.environ, "MUTANT": str(mistake), "FAULTS": str(faults), "HANDS": str(hands)}
        out = self.pan("-a", "-m200000", "-w22")
        self.states = int(re.search(r"(\d+) states, stored", out)[1])
        broken = re.search(r"assertion violated\s+!\((\w+)\)", out)
        self.broken = broken[1] if broken else "no_end" if "acceptance cycle" in out else None
        if not self.broken and ("errors: 0" not in out or "max search depth too small" in out or
                                "Search not completed" in out):
            sys.exit(f"spin did not finish:\n{out}")

    def pan(self, *arguments):
        return subprocess.run([self.where.parent / "pan", *arguments], cwd=self.where, env=self.environment,
                              capture_output=True, text=True).stdout

    def trail(self):
        out = self.pan("-r", "-S", "plan.pml.trail")
        return re.split(r"^(?:spin: trail ends|#processes|pan:\d)", out, flags=re.M)[0]


def search_mistake(folder, number, expected):
    states, found = 0, None
    # What is not noticed is not looked for with the largest search.
    for faults, hands in MUTANT_SEARCHES if expected else MUTANT_SEARCHES[:-1]:
        found = Search(folder, number, faults, hands)
        states += found.states
        if found.broken:
            break
    return number, states, found


def search_whole(folder, searches):
    for faults, hands in searches:
        s = Search(folder, 0, faults, hands)
        if s.broken:
            print(f"{s.trail()}broken with at most {faults} faults, {hands} hands: {s.broken.replace('_', ' ')}")
            sys.exit(1)
        print(f"up to {faults} faults, {hands} hands of an operator: {s.states} states, every promise holds",
              flush=True)


def search_mistakes(folder, mistakes):
    missed, removed, states = [], 0, 0

    def search(number):
        _, row, kind, _ = mistakes[number]
        return search_mistake(folder, number, kind != "without" or row.key not in UNNOTICED)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, n, found in pool.map(search, mistakes):
            name, row, kind, _ = mistakes[number]
            states += n
            removed += kind == "without" and found.broken is not None
            if os.environ.get("VERBOSE"):
                print(f"{name}: {found.broken}")
            if found.broken is None and not (kind == "without" and row.key in UNNOTICED):
                missed.append(f"not noticed: {name}")
            if found.broken and kind == "without" and row.key in UNNOTICED:
                missed.append(f"noticed, though check_plan.py says it is not: {name}: {found.broken}")
    rows = sum(kind == "without" for _, _, kind, _ in mistakes.values())
    planted = len(mistakes) - rows
    print(f"{removed} of {rows} rows are missed by a promise when taken out, "
          f"{planted - sum(m.startswith('not noticed') and 'without:' not in m for m in missed)} of {planted} "
          f"planted mistakes found ({states} states)")
    return missed


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--show", metavar="MISTAKE")
    o = parser.parse_args()
    rows = read_rows(o.rows)
    model = (HERE / "plan.pml").read_text()
    faults = check_names(rows, model)
    if faults:
        sys.exit("\n".join(faults))
    mistakes = number_mistakes(rows, model)
    with tempfile.TemporaryDirectory() as d:
        folder = pathlib.Path(d)
        build(folder, rows, mistakes)
        if o.show:
            number = next(i for i, m in mistakes.items() if o.show in m[0])
            found = search_mistake(folder, number, True)[2]
            print(f"{mistakes[number][0]}:\n{found.trail() if found.broken else ''}{found.broken}")
            return
        search_whole(folder, ALL_SEARCHES if o.all else SEARCHES)
        missed = search_mistakes(folder, mistakes)
        print(f"{len(rows) - sum(k == 'without' for _, _, k, _ in mistakes.values())} rows are not in the model: "
              "manifests, times, and the repair of a damaged store; tests/unit and tests/engine try them")
    if missed:
        sys.exit("\n".join(missed))


if __name__ == "__main__":
    main()
