# SPDX-License-Identifier: MIT
"""A folder cannot include, and its program does not link, what the process must not reach: tested with the compiler,
the linker, and the flags and libraries of the build itself."""
import ast
import json
import os
import pathlib
import re
import shlex
import subprocess

import pytest

BUILD = pathlib.Path(os.environ["PULLET_BUILD"])
COMMANDS = {c["file"]: shlex.split(c["command"]) for c in json.loads((BUILD / "compile_commands.json").read_text())}
FOLDERS = ("base", "transport", "network", "signature", "engine", "recreate", "update", "daemon", "command", "publish")
# A folder sees its own headers and those of the folders below it.
SEES = {"base": "", "transport": "base", "network": "base transport", "signature": "base transport",
        "engine": "base transport signature", "recreate": "base",
        "update": "base transport signature engine recreate", "daemon": "base", "command": "base", "publish": "base transport command"}
PROGRAMS = {"pullet-fetch": "network", "pullet-update": "update", "pulletd": "daemon", "pullet": "command",
            "pullet-delta": "publish"}


def compile_probe(tmp_path, folder, text):
    """Compiles text as if it were a file of that folder; returns the error of the compiler, "" if there is none."""
    source, command = next((f, c) for f, c in COMMANDS.items() if f"/agent/{folder}/" in f)
    probe = tmp_path / "probe.c"
    probe.write_text(text)
    command = [str(probe) if word == source else word for word in command]
    command[command.index("-o") + 1] = str(tmp_path / "probe.o")
    return subprocess.run(command, cwd=BUILD, capture_output=True, text=True).stderr


def header_of(folder):
    return sorted((pathlib.Path(next(f for f in COMMANDS if f"/agent/{folder}/" in f)).parent).glob("*.h"))[0].name


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_includes_what_stands_below_it_and_nothing_else(tmp_path, folder):
    for other in FOLDERS:
        complaint = compile_probe(tmp_path, folder, f'#include "{header_of(other)}"\n')
        if other == folder or other in SEES[folder].split():
            assert not complaint
        else:
            assert "No such file or directory" in complaint


@pytest.mark.parametrize("program, call", [("pullet-fetch", "engine_close"), ("pullet-fetch", "pass_run"),
                                           ("pullet-fetch", "verify_signatures"), ("pullet", "verify_signatures"),
                                           ("pullet-update", "registry_close"), ("pullet-update", "challenge_free"),
                                           ("pulletd", "http_free"), ("pulletd", "engine_close"),
                                           ("pullet", "registry_close"), ("pullet", "engine_close"), ("pullet", "patch_make"),
                                           ("pullet-delta", "registry_close"), ("pullet-delta", "engine_close")])
def test_a_program_links_nothing_of_what_it_must_not_reach(tmp_path, program, call):
    folder = PROGRAMS[program]
    assert not compile_probe(tmp_path, folder, f"void {call}(void *);\nint main(void)\n{{\n\t{call}(0);\n\treturn 0;\n}}\n")
    link = subprocess.run(["ninja", "-C", BUILD, "-t", "commands", program], capture_output=True, text=True,
                          check=True).stdout.splitlines()[-1]
    words = shlex.split(link)
    words = words[words.index(next(w for w in words if w.endswith(("gcc", "clang", "/cc", "cc")))):]
    own = next(w for w in words if w.endswith(f"/{program}.c.o"))
    words = [str(tmp_path / "probe.o") if w == own else w for w in words if w not in ("&&", ":")]
    words[words.index("-o") + 1] = str(tmp_path / "probe")
    r = subprocess.run(words, cwd=BUILD, capture_output=True, text=True)
    assert f"undefined reference to `{call}'" in r.stderr


@pytest.mark.parametrize("program, libraries", [("pullet-fetch", "curl ssl crypto jansson zstd"), ("pullet-update", "curl ssl crypto jansson z zstd"),
                                                ("pulletd", "systemd jansson"), ("pullet", "systemd jansson")])
def test_a_program_loads_no_library_that_it_does_not_need(program, libraries):
    needed = subprocess.run(["readelf", "-d", BUILD / program], capture_output=True, text=True, check=True).stdout
    loaded = {name for name in ("curl", "crypto", "jansson", "systemd", "ssl", "z", "zstd") if f"[lib{name}.so" in needed}
    assert loaded == set(libraries.split())


def test_the_bench_compiles_with_all_that_its_folders_see():
    """tests/run does not run it."""
    bench = (pathlib.Path(__file__).resolve().parents[1] / "bench/delta").read_text()
    folders = ast.literal_eval(re.search(r"^FOLDERS = (.*)$", bench, re.M)[1])
    assert not {below for folder in folders for below in SEES[folder].split()} - set(folders)
