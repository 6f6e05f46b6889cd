#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""gates.py format|names|plan|sizes: the rules of agent/README.md that a machine can check."""
import ast
import functools
import pathlib
import re
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
AGENT = TOP / "agent"
FILE_LINES_MAX, UTIL_LINES_MAX, FUNCTION_LINES_MAX = 600, 280, 80


def c_files(*folders):
    return sorted(f for folder in folders for f in (TOP / folder).rglob("*.[ch]"))


def check_format():
    files = c_files("agent", "tests")
    r = subprocess.run(["clang-format", "--dry-run", "--Werror", *map(str, files)], cwd=TOP,
                       capture_output=True, text=True)
    return r.stderr.splitlines()


def python_files():
    for f in sorted(f for folder in ("tests", "packaging", "payload") for f in (TOP / folder).rglob("*")):
        if f.is_file() and (f.suffix == ".py" or f.suffix == "" and f.read_bytes().startswith(b"#!/usr/bin/python3")):
            yield f


def module_of(name, importer):
    """-> the file of the tests that an import means, or None"""
    return next((m for m in (importer.parent / f"{name}.py", TOP / "tests" / "lib" / f"{name}.py",
                             *sorted(TOP.glob(f"tests/*/{name}.py"))) if m.is_file()), None)


@functools.cache
def names_of(module):
    """-> the names that another file may import from it"""
    names = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
            names |= names_of(module_of(node.module, module))
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def check_names():
    """Each name that a script or a test uses is there, also in those that run seldom."""
    files = list(python_files())
    # F811: a fixture is imported, and is a parameter.
    faults = subprocess.run(["flake8", "--isolated", "--select", "F,E9", "--extend-ignore", "F811", *map(str, files)],
                            capture_output=True, text=True).stdout.splitlines()
    for f in files:
        for node in ast.walk(ast.parse(f.read_text())):
            module = isinstance(node, ast.ImportFrom) and module_of(node.module, f)
            if module:
                faults += [f"{f}:{node.lineno}: {alias.name} is not in {module.relative_to(TOP)}"
                           for alias in node.names if alias.name not in names_of(module) | {"*"}]
    return faults


def files_not_in_tables():
    """The README of each folder has each of its files, and no other."""
    for folder in sorted(f for f in AGENT.iterdir() if f.is_dir()):
        page = (folder / "README.md").read_text()
        named = re.findall(r"(?<=`)[\w-]+\.c(?=`)", "".join(re.findall(r"^\| (`.*?) \|", page, re.M)))
        there = [f.name for f in folder.glob("*.c")]
        yield from (f"agent/{folder.name}/README.md and its folder differ: {name}"
                    for name in sorted(set(there) ^ set(named) | {name for name in named if named.count(name) > 1}))
        if f"| `{folder.name}` |" not in (AGENT / "README.md").read_text():
            yield f"agent/README.md lacks the folder {folder.name}"


def check_plan():
    """The table in agent/README.md is the one in the code, row by row, and those of its folders name each file."""
    names = dict(re.findall(r'\[ACT_(\w+)\] = "([^"]*)"', (AGENT / "update" / "plan.c").read_text()))
    code = "".join((AGENT / "update" / f"plan-{part}.c").read_text() for part in ("take", "swap"))
    whom = {"ONE": "", "EACH": ", each", "EACH_BACK": ", each, last first"}
    rows = [f"| {block.lower()} | {unless} | {names[action]}{whom[of]} |" for block, unless, action, of in
            re.findall(r'ROW\((\w+),\s*"([^"]*)",\s*(\w+),\s*(\w+)', code)]
    page = [line for line in (AGENT / "README.md").read_text().splitlines()
            if re.match(r"\| (ask|repair|take|rollback|prepare|trial|commit|revert) \|", line)]
    faults = list(files_not_in_tables())
    if rows != page or not rows:
        faults += [f"plan and agent/README.md differ: {r}" for r in sorted(set(rows) ^ set(page))] or ["order differs"]
    return faults


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
    problems = {"format": check_format, "names": check_names, "plan": check_plan, "sizes": check_sizes}[sys.argv[1]]()
    print("\n".join(problems))
    sys.exit(1 if problems else 0)
