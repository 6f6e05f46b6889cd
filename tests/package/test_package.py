# SPDX-License-Identifier: MIT
"""The .deb: built twice the same, clean by Debian's own judges, small; it installs, upgrades, leaves and
forgets in a clean tree, with and without Docker, and comes from a signed repository. For this machine's
suite, or for that of PULLET_SUITE by the tools of that suite (tests/package/all)."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from pullet_deb import ARCH, HERE, SUITE, build, newer, signer  # noqa: E402
from pullet_engines import cache, debian  # noqa: E402
from pullet_web import web  # noqa: E402

TOP = pathlib.Path(__file__).resolve().parents[2]
APT_REPO = TOP / "packaging/apt-repo"


def run(*command, check=True, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)
    assert not check or done.returncode == 0, f"{command}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done


def field(deb, name):
    return run("dpkg-deb", "-f", deb, name).stdout.strip()


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """(pullet.deb, the directory of all that was built)."""
    out = tmp_path_factory.mktemp("deb")
    return build(out), out


@pytest.fixture(scope="session")
def upgrade(built, tmp_path_factory):
    return newer(built[0], tmp_path_factory.mktemp("newer"))


def test_built_twice_the_same(built, tmp_path):
    """In another directory, with another umask, home, locale and time zone."""
    copy = tmp_path / "elsewhere"
    run("git", "-c", f"safe.directory={TOP}", "clone", "-q", "--shared", TOP, copy)
    for name in run("git", "-c", f"safe.directory={TOP}", "-C", TOP, "ls-files", "-m", "-o",
                    "--exclude-standard").stdout.splitlines():
        if (TOP / name).exists():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(TOP / name, copy / name)
    shutil.rmtree(copy / ".git")
    out = tmp_path / "out"
    where = ["--here"] if SUITE == HERE else [SUITE, ARCH]
    run(TOP / "packaging/build-deb", *where, "--out", out, "--source", copy, umask=0o027, env={
        **os.environ, "TZ": "Pacific/Chatham", "LC_ALL": "C", "HOME": "/", "TMPDIR": str(tmp_path)})
    (again,) = out.glob("pullet_*.deb")
    deb, _ = built
    assert again.name == deb.name and again.read_bytes() == deb.read_bytes()
    symbols = next(out.glob("pullet-dbgsym_*.deb"))
    assert symbols.read_bytes() == (built[1] / symbols.name).read_bytes()


def test_debians_judges(built, judges):
    """Neither lintian, the suite's own, nor blhc has anything to say. There are no overrides."""
    shutil.copytree(built[1], judges.shared, dirs_exist_ok=True)
    assert judges.sh("lintian --allow-root --fail-on error,warning /lab/*.changes").stdout == ""
    judges.sh("blhc --all /lab/*.log")
    assert not run("dpkg-deb", "-c", built[0]).stdout.count("lintian")


def test_binaries_are_hardened(built, tmp_path):
    run("dpkg-deb", "-x", built[0], tmp_path)
    programs = [path for path in tmp_path.rglob("*") if path.is_file() and path.read_bytes()[:4] == b"\x7fELF"]
    assert len(programs) == 5
    for program in programs:
        run("hardening-check", "--nocfprotection", program)
        # They look for the package's own library in one directory, which is root's.
        found = re.findall(r"R(?:UN)?PATH.*\[(.*)\]", run("readelf", "-d", program).stdout)
        assert all(re.fullmatch("/usr/lib/[a-z0-9_-]+/pullet", path) for path in found), found


def test_small_and_modest(built):
    deb, _ = built
    assert int(field(deb, "Installed-Size")) <= 880
    depends = {re.match(r"[\w.+-]+", word.strip())[0] for word in field(deb, "Depends").split(",")}
    assert depends - {"passwd", "systemd"} <= {"libc6", "libcurl4", "libcurl4t64", "libjansson4", "libsmartcols1", "libssl3", "libssl3t64",
                                     "libsystemd0", "libzstd1", "zlib1g"}, depends
    assert "docker" not in field(deb, "Depends")
    assert not field(deb, "Conflicts")


def test_the_publishers_package(built, tmp_path):
    """The tools of a publisher are in a package of their own, and make the devices' package no larger."""
    (deb,) = built[1].glob("pullet-publish_*.deb")
    depends = {re.match(r"[\w.+-]+", word.strip())[0] for word in field(deb, "Depends").split(",")}
    assert depends - {"pullet"} <= {"libc6", "libdivsufsort3", "libjansson4", "libssl3", "libssl3t64", "libzstd1", "zlib1g"}, depends
    assert f"pullet (= {field(built[0], 'Version')})" in field(deb, "Depends")
    assert int(field(deb, "Installed-Size")) <= 120
    run("dpkg-deb", "-x", deb, tmp_path)
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {"usr/libexec/pullet/pullet-delta", "usr/share/man/man1/pullet-delta.1.gz", "usr/share/man/man5/pullet-delta.5.gz",
            "usr/share/doc/pullet-publish/examples/delta-github.yml", "usr/share/doc/pullet-publish/examples/delta-gitlab.yml"} <= files
    run("hardening-check", "--nocfprotection", tmp_path / "usr/libexec/pullet/pullet-delta")
    (doc,) = built[1].glob("pullet-doc_*.deb")
    listed = run("dpkg-deb", "-c", doc).stdout
    assert all(f"usr/share/doc/pullet/examples/sign-{ci}.yml" in listed for ci in ("github", "gitlab"))
    listed = run("dpkg-deb", "-c", built[0]).stdout
    assert "man7/pullet-signing.7.gz" in listed
    assert "pullet-delta" not in listed and "divsufsort" not in field(built[0], "Depends")


# --- in a clean tree ----------------------------------------------------------------------------


def clean_tree(libraries):
    """A minimal tree with the libraries, made once."""
    return debian(cache() / f"install-{SUITE}", SUITE, ["gpgv", *libraries], without=())


class Tree:
    """A clean tree in a namespace of its own; what happens in it is gone with it."""

    SETUP = """set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay /mnt/root -o "lowerdir=$1,upperdir=/mnt/upper,workdir=/mnt/work"
for of in proc sys dev; do mount --rbind /$of /mnt/root/$of; done
mkdir -p /mnt/root/lab
mount --bind "$2" /mnt/root/lab
echo ready
exec sleep infinity"""

    def __init__(self, base, shared):
        self.shared = shared
        self.process = subprocess.Popen(["unshare", "-m", "sh", "-c", self.SETUP, "-", str(base), str(shared)],
                                        stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def sh(self, script, check=True):
        return run("nsenter", "-m", "-t", self.process.pid, "chroot", "/mnt/root", "env", "-i",
                   "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "sh", "-euc", script,
                   check=check)

    def files(self):
        """Every path with its kind and mode; caches, logs and dpkg's own books left out."""
        found = self.sh("find / -xdev \\( -path /lab -o -path /tmp -o -path /var/cache -o -path /var/log "
                        "-o -path /var/lib/dpkg -o -path /var/lib/apt -o -path /root -o -path /run/systemd "
                        "\\) -prune -o -printf '%p %y %m\\n'").stdout
        return {line for line in found.splitlines()
                if not re.search(r"__pycache__|/etc/\.pwd\.lock|/etc/(passwd|group|shadow|gshadow)-", line)}

    def accounts(self):
        return self.sh("cut -d: -f1 /etc/passwd; cut -d: -f1,4 /etc/group").stdout

    def close(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def judges(tmp_path):
    """Where lintian and blhc are: here, or in a tree of the suite."""
    base = "/" if SUITE == HERE else debian(cache() / f"lintian-{SUITE}", SUITE, ["lintian", "blhc"])
    tree = Tree(base, tmp_path)
    yield tree
    tree.close()


@pytest.fixture
def tree(built, tmp_path):
    libraries = [re.match(r"[\w.+-]+", word.strip())[0] for word in field(built[0], "Depends").split(",")]
    tree = Tree(clean_tree(libraries), tmp_path)
    yield tree
    tree.close()


def test_install_upgrade_remove_purge(tree, built, upgrade, tmp_path):
    shutil.copy(built[0], tmp_path / "one.deb")
    shutil.copy(upgrade, tmp_path / "two.deb")
    before, accounts = tree.files(), tree.accounts()

    done = tree.sh("apt-get install -y --no-install-recommends /lab/one.deb 2>&1")  # Docker is not there
    assert not re.search("error|fail|warn", done.stdout, re.I), done.stdout
    assert tree.sh("stat -c '%U:%G %a' /var/lib/pullet").stdout == "pullet-update:pullet 750\n"
    tree.sh("pulletd --version; dpkg --verify pullet")
    # Its own files and what they make necessary, nothing else.
    own = set(tree.sh("dpkg -L pullet").stdout.splitlines())
    strange = {line for line in tree.files() - before if line.split()[0] not in own
               and not re.search(r"pullet|run-credentials|deb-systemd-helper-enabled|\.target\.wants d", line)}
    assert not strange, strange
    # By the suite's own systemd, as an operator asks it.
    for unit, most in {"pulletd.service": 2, "pullet-update@.service": 5, "pullet-fetch@.service": 10}.items():
        tree.sh(f"systemd-analyze security --offline=true --threshold={most} --no-pager {unit}")
    tree.sh("systemd-analyze verify --man=no pulletd.service pullet-update.socket pullet-update@.service "
            "pullet-fetch.socket pullet-fetch@.service pullet-unit.socket pullet-unit@.service 2>&1 | grep pullet && exit 1 || true")

    # What the operator wrote and what the agent remembers outlive an upgrade and a removal.
    tree.sh("echo '# mine' >>/etc/pullet/pullet.conf; echo '{}' >/var/lib/pullet/hello.json")
    tree.sh("dpkg -i /lab/two.deb")
    assert tree.sh("dpkg-query -W -f '${Version}' pullet").stdout.count("+1")
    tree.sh("grep -q '# mine' /etc/pullet/pullet.conf; test -e /var/lib/pullet/hello.json")
    tree.sh("dpkg -r pullet")
    tree.sh("grep -q '# mine' /etc/pullet/pullet.conf; test -e /var/lib/pullet/hello.json; ! test -e /usr/sbin/pulletd")
    tree.sh("dpkg -i /lab/two.deb; dpkg -r pullet; dpkg -P pullet")

    assert tree.files() - before == set()
    assert tree.accounts() == accounts
    assert "ullet" not in tree.sh("journalctl --list-catalog; grep -s -A3 -F pullet /var/lib/dpkg/status "
                                  "/var/lib/dpkg/triggers/* || true; ls /var/lib/dpkg/info").stdout


def test_docker_comes_later(tree, built, tmp_path):
    """Its group is joined as soon as its daemon's file arrives, and on an install after Docker at once."""
    shutil.copy(built[0], tmp_path / "one.deb")
    fake = tmp_path / "fake"
    (fake / "usr/bin").mkdir(parents=True)
    (fake / "usr/bin/dockerd").write_text("#!/bin/sh\n")
    (fake / "DEBIAN").mkdir()
    (fake / "DEBIAN/control").write_text("Package: fake-engine\nVersion: 1\nArchitecture: all\n"
                                         "Maintainer: nobody <n@b.example>\nDescription: stands for an engine\n")
    (fake / "DEBIAN/postinst").write_text("#!/bin/sh\nset -e\ngetent group docker || groupadd -r docker\n")
    (fake / "DEBIAN/postinst").chmod(0o755)
    run("dpkg-deb", "-b", "--root-owner-group", fake, tmp_path / "fake.deb")

    tree.sh("dpkg -i /lab/one.deb")
    assert "docker" not in tree.sh("id -nG pullet-update").stdout
    tree.sh("dpkg -i /lab/fake.deb")
    assert "docker" in tree.sh("id -nG pullet-update").stdout
    for user in ("pullet", "pullet-fetch"):
        assert "docker" not in tree.sh(f"id -nG {user}").stdout
    tree.sh("dpkg -P pullet; dpkg -i /lab/one.deb")
    assert "docker" in tree.sh("id -nG pullet-update").stdout


def test_records_are_handed_over(tree, built, upgrade, tmp_path):
    """From a version that kept the records as the user pullet, a member of Docker's group."""
    shutil.copy(built[0], tmp_path / "one.deb")
    shutil.copy(upgrade, tmp_path / "two.deb")
    tree.sh("""groupadd -r docker; dpkg -i /lab/one.deb; userdel pullet-update; usermod -aG docker pullet
cd /var/lib/pullet; echo '{}' >app.json; echo '{}' >app.json.kept; chmod 600 app.json*
chown -R pullet:pullet .; chmod 700 .
ln -s /etc/passwd x; chown -h pullet:pullet x
dpkg -i /lab/two.deb""")
    found = tree.sh("stat -c '%n %U:%G %a' /var/lib/pullet /var/lib/pullet/* /etc/passwd; id -nG pullet").stdout
    assert found.splitlines() == [
        "/var/lib/pullet pullet-update:pullet 750", "/var/lib/pullet/app.json pullet-update:pullet 640",
        "/var/lib/pullet/app.json.kept pullet-update:pullet 600", "/var/lib/pullet/x pullet-update:pullet 777",
        "/etc/passwd root:root 644", "pullet"]
    assert "docker" in tree.sh("id -nG pullet-update").stdout


def test_signed_repository(tree, built, upgrade, tmp_path):
    """An apt client installs from that of a release, upgrades when it is signed again, and refuses it when a byte was
    changed."""
    repo = tmp_path / "repo"
    shutil.copytree(built[1] / "apt", repo)
    with web(repo) as (url, _):
        tree.sh(f"""cp /lab/repo/pullet.gpg /usr/share/keyrings/
rm -f /etc/apt/sources.list /etc/apt/sources.list.d/* /etc/apt/apt.conf.d/*roxy*
echo 'deb [signed-by=/usr/share/keyrings/pullet.gpg] {url} {SUITE} main' >/etc/apt/sources.list
apt-get -o Acquire::http::Proxy=DIRECT update 2>&1
apt-get -y -o Acquire::http::Proxy=DIRECT install --no-install-recommends pullet""")
        inrelease = repo / f"dists/{SUITE}/InRelease"
        later = inrelease.stat().st_mtime + 2
        with signer() as (key, env):
            run(APT_REPO, "--key", key, repo, upgrade, env=env)
        for path in (repo / "dists").rglob("*"):
            os.utime(path, (later, later))  # HTTP counts in seconds, and an installation may take less
        tree.sh("cp /lab/repo/pullet.gpg /usr/share/keyrings/; apt-get -o Acquire::http::Proxy=DIRECT update; "
                "apt-get -y -o Acquire::http::Proxy=DIRECT upgrade; dpkg-query -W -f '${Version}' pullet | grep -F +1")

        inrelease.write_text(inrelease.read_text().replace("Origin: Pullet", "Origin: Nobody"))
        done = tree.sh("rm -rf /var/lib/apt/lists/*; apt-get -o Acquire::http::Proxy=DIRECT update 2>&1", check=False)
        assert "BADSIG" in done.stdout + done.stderr or "not signed" in done.stdout + done.stderr, done.stdout


def test_release_says_what_it_holds(built, tmp_path):
    """Checksums of every package and of the changes, with a signature by the key that devices have."""
    out = built[1]
    named = {line.split()[1] for line in (out / "SHA256SUMS").read_text().splitlines()}
    assert named == {path.name for path in out.glob("*.deb")} | {"CHANGELOG"}
    run("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=out)
    run("gpgv", "--keyring", out / "apt/pullet.gpg", out / "SHA256SUMS.asc", out / "SHA256SUMS")
    assert (out / "changelog").read_text() == (TOP / "packaging/debian/changelog").read_text()
    # What unattended-upgrades is told to trust in packaging/fleet.md.
    assert "Origin: Pullet\n" in (out / f"apt/dists/{SUITE}/Release").read_text()
    (out / "SHA256SUMS").write_text((out / "SHA256SUMS").read_text() + "\n")
    assert run("gpgv", "--keyring", out / "apt/pullet.gpg", out / "SHA256SUMS.asc", out / "SHA256SUMS", check=False).returncode
