# SPDX-License-Identifier: MIT
"""C files of this folder that are preloaded into the programs under test."""

import os
import pathlib
import subprocess

LIB = pathlib.Path(__file__).resolve().parent


def preloaded(directory, source, **more):
    """-> an environment in which every program is preloaded with source, a C file beside this one, built into directory."""
    library = directory / source.replace(".c", ".so")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, LIB / source], check=True)
    options = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
    return {"LD_PRELOAD": str(library), "ASAN_OPTIONS": options.strip(":"), **more}
