# SPDX-License-Identifier: MIT
"""The package under test: for this machine's suite, built with its own tools, or for PULLET_SUITE, built in a tree of
that suite."""

import os
import pathlib
import re
import subprocess

TOP = pathlib.Path(__file__).resolve().parents[2]


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout.strip()


HERE = run("sh", "-c", ". /etc/os-release; echo $VERSION_CODENAME")
SUITE = os.environ.get("PULLET_SUITE") or HERE
ARCH = run("dpkg", "--print-architecture")


def build(out, *arguments, suite=SUITE, **options):
    """-> the package; all files of the build are in the directory out."""
    where = ["--here"] if suite == HERE else [suite, ARCH]
    run(TOP / "packaging/build-deb", *where, "--out", out, *arguments, **options)
    (deb,) = out.glob("pullet_*.deb")
    return deb


def newer(deb, out):
    """-> the same package with the next version number."""
    run("dpkg-deb", "-R", deb, out / "tree")
    control = out / "tree/DEBIAN/control"
    control.write_text(re.sub("^(Version: .*)$", r"\1+1", control.read_text(), flags=re.M))
    run("dpkg-deb", "-b", "--root-owner-group", out / "tree", out)
    (next_one,) = out.glob("pullet_*.deb")
    return next_one
