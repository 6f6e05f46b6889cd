# SPDX-License-Identifier: MIT
"""The package under test: for this machine's suite, built with its own tools, or for PULLET_SUITE, built in a tree of
that suite."""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

from pullet_engines import cache

TOP = pathlib.Path(__file__).resolve().parents[2]


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout.strip()


HERE = run("sh", "-c", ". /etc/os-release; echo $VERSION_CODENAME")
SUITE = os.environ.get("PULLET_SUITE") or HERE
ARCH = run("dpkg", "--print-architecture")


def sources():
    """A hash of what build-deb builds: the files that git tracks, as they are now."""
    names = run("git", "-c", f"safe.directory={TOP}", "-C", TOP, "ls-files", "-z").split("\0")
    found = hashlib.sha256()
    for path in (TOP / name for name in sorted(names) if name):
        if path.is_file() and not path.is_relative_to(TOP / "tests"):
            found.update(f"{path.relative_to(TOP)}\0{path.stat().st_mode}\0".encode() + path.read_bytes())
    return found.hexdigest()[:16]


def build(out, suite=SUITE):
    """-> the package; the directory out has all files of its release: the build's, SHA256SUMS, and apt, a repository
    that is signed by a key of its own. It is built once for all tests of the same sources."""
    cache().mkdir(parents=True, exist_ok=True)
    name = f"deb-{suite}-{ARCH}-"
    with open(cache() / (name + "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = cache() / (name + sources())
        if not kept.is_dir():
            for old in cache().glob(name + "*"):
                if old.is_dir() and old.stat().st_mtime < time.time() - 3600:
                    shutil.rmtree(old, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix=name, dir=cache()) as new:
                release(pathlib.Path(new) / "release", suite)
                (pathlib.Path(new) / "release").rename(kept)
        shutil.copytree(kept, out, dirs_exist_ok=True)
    (deb,) = out.glob("pullet_*.deb")
    return deb


def release(out, suite):
    with signer() as (key, env):
        run(TOP / "packaging/release", "--working-tree", "--key", key, "--out", out, "--only",
            "here" if suite == HERE else f"{suite}/{ARCH}", env=env)
    for file in (out / "build").iterdir():
        file.rename(out / file.name)
    (out / "build").rmdir()


@contextlib.contextmanager
def signer():
    """A new secret key. -> its name and the environment in which gpg has it."""
    with tempfile.TemporaryDirectory(prefix="gpg-") as home:
        env = {**os.environ, "GNUPGHOME": home}
        run("gpg", "--batch", "--passphrase", "", "--quick-generate-key", "pullet@test.example", "ed25519", env=env)
        try:
            yield "pullet@test.example", env
        finally:
            run("gpgconf", "--kill", "all", env=env)


def newer(deb, out):
    """-> the same package with the next version number."""
    run("dpkg-deb", "-R", deb, out / "tree")
    control = out / "tree/DEBIAN/control"
    control.write_text(re.sub("^(Version: .*)$", r"\1+1", control.read_text(), flags=re.M))
    run("dpkg-deb", "-b", "--root-owner-group", out / "tree", out)
    (next_one,) = out.glob("pullet_*.deb")
    return next_one
