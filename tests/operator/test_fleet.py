# SPDX-License-Identifier: MIT
"""A fleet: the package of its configuration, and the first boot of a device from its repository."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from pullet_deb import SUITE, TOP, build, run, signer  # noqa: E402
from pullet_follower import CREATE, Follower  # noqa: E402
from pullet_lab import Lab  # noqa: E402
from pullet_machine import Machine  # noqa: E402
from pullet_registry import Registry  # noqa: E402
from pullet_sweep import handle_signals, wait_for  # noqa: E402
from pullet_web import web  # noqa: E402

BUILD = pathlib.Path(os.environ.get("PULLET_BUILD") or TOP / "build")
CONFIG_DEB = TOP / "packaging/config-deb"


handle_signals()


class Fleet:
    """A directory for packaging/config-deb."""

    def __init__(self, directory):
        self.top = directory / "acme-fleet"
        self.top.mkdir()

    def write(self, name, text):
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def make(self, out, *options, **more):
        done = subprocess.run([CONFIG_DEB, "--pullet", BUILD / "pullet", "--out", out, *options, self.top],
                              capture_output=True, text=True, check=False, **more)
        return done.returncode, done.stdout.strip(), done.stderr


@pytest.fixture
def fleet(tmp_path):
    return Fleet(tmp_path)


# One of cosign's.
PUBLIC = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE07ZvbJdZE1RfVg59U3AEKcTwt2PB
M4J4HKWXkF/UqUZfpqvlRBmop7SWwWdNFWgjAJ7thHXmqMzFYSG2L33DHA==
-----END PUBLIC KEY-----
"""


def fill(fleet):
    fleet.write("conf.d/acme.conf", "[container app]\nimage = registry.example/app:stable\ncreate = app.json\n"
                "key = /etc/pullet/keys/acme.pub\nrevoked = revoked\n\n[registry registry.example]\ncredentials = registry-auth\n")
    fleet.write("conf.d/app.json", json.dumps(CREATE))
    fleet.write("keys/acme.pub", PUBLIC)
    fleet.write("keys/revoked", "# lost in May\nsha256:" + "ab" * 32 + "\n")
    fleet.write("auth.d/acme.json", '{"auths": {}}')
    fleet.write("notify.d/mail", "#!/bin/sh\n")
    fleet.write("certs.d/registry.example/client.key", "secret\n")
    fleet.write("root/etc/systemd/system/probe.service", "[Service]\nExecStart=true\n")
    fleet.write("README.md", "not for devices\n")


def test_places_modes_and_fields(fleet, tmp_path):
    fill(fleet)
    status, deb, said = fleet.make(tmp_path)
    assert status == 0, said
    assert deb == f"{tmp_path}/acme-fleet_1_all.deb"
    secrets = re.findall(r"warning: \S+/acme-fleet/(\S+) is in the package: whoever can fetch", said)
    assert secrets == ["auth.d/acme.json", "certs.d/registry.example/client.key"]
    listed = {line.split()[5][1:]: line.split()[:2] for line in run("dpkg-deb", "-c", deb).splitlines()}
    assert {path: mode for path, (mode, _) in listed.items() if not path.endswith("/")} == {
        "/etc/pullet/conf.d/acme.conf": "-rw-r--r--", "/etc/pullet/conf.d/app.json": "-rw-r--r--",
        "/etc/pullet/keys/acme.pub": "-rw-r--r--", "/etc/pullet/keys/revoked": "-rw-r--r--", "/etc/pullet/auth.d/acme.json": "-rw-------",
        "/etc/pullet/notify.d/mail": "-rwxr-xr-x", "/etc/docker/certs.d/registry.example/client.key": "-rw-------",
        "/etc/systemd/system/probe.service": "-rw-r--r--"}
    assert {owner for _, owner in listed.values()} == {"root/root"}
    assert listed["/etc/pullet/auth.d/"][0] == "drwx------"
    assert run("dpkg-deb", "-f", deb, "Depends") == "pullet"
    # Nothing to ask about: see packaging/fleet.md.
    assert "conffiles" not in run("dpkg-deb", "-I", deb)


def test_same_directory_same_bytes(fleet, tmp_path):
    fill(fleet)
    (tmp_path / "twice").mkdir()
    one = fleet.make(tmp_path)[1]
    two = fleet.make(tmp_path / "twice", umask=0o077, env={"PATH": "/usr/bin:/bin", "TZ": "Asia/Tokyo", "LC_ALL": "C"})[1]
    assert pathlib.Path(one).read_bytes() == pathlib.Path(two).read_bytes()


@pytest.mark.parametrize("name,text,said", [
    ("conf.d/acme.conf", "[container app]\nimgae = x/y:z\n", r"acme-fleet/conf\.d/acme\.conf:2: .*'imgae'"),
    ("conf.d/acme.conf", "[container app]\nimage = x/y:z\ncreate = lost.json\n",
     r"acme-fleet/conf\.d/lost\.json: No such file"),
    ("conf.d/acme.conf", "[registry x.example]\nca = /etc/pullet/ca/lost.pem\n[container app]\nimage = x.example/y:z\n",
     r"acme-fleet/ca/lost\.pem: No such file"),
    ("confd/acme.conf", "", r"acme-fleet/confd/acme\.conf: no place for it on a device"),
    ("conf.d/acme.cnf", "", r"acme-fleet/conf\.d/acme\.cnf: no place for it on a device"),
    ("conf.d/sub/acme.conf", "", r"subdirectories are not read"),
    ("keys/acme.key", "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n", r"acme-fleet/keys/acme\.key is a private key.*: put the \.pub file there"),
    ("keys/acme.pub", "-----BEGIN PRIVATE KEY-----\n", r"acme-fleet/keys/acme\.pub is a private key"),
    ("conf.d/acme.conf", "[container app]\nimage = x/y:z\nkey = lost.pub\n", r"acme-fleet/conf\.d/acme\.conf:3: key: \S*keys/lost\.pub: No such file"),
    ("README", "", r"acme-fleet: no files"),
])
def test_fault_makes_no_package(fleet, tmp_path, name, text, said):
    fleet.write(name, text)
    status, _, found = fleet.make(tmp_path)
    assert status == 1 and re.search(said, found), found
    assert not list(tmp_path.glob("*.deb"))


def test_version_is_the_time_of_the_commit(fleet, tmp_path):
    fill(fleet)
    git = ["git", "-C", fleet.top, "-c", "user.name=a", "-c", "user.email=a@b.example"]
    run(*git, "init", "-q")
    run(*git, "add", "-A")
    run(*git, "commit", "-q", "-m", "all", "--date", "2026-01-02T03:04:05Z",
        env={"GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z", "PATH": "/usr/bin:/bin"})
    assert fleet.make(tmp_path)[1].endswith("/acme-fleet_20260102.030405_all.deb")
    fleet.write("keys/acme.pub", "another\n")
    assert "not committed" in fleet.make(tmp_path)[2]


# --- on a device -------------------------------------------------------------------------------


class Device(Follower, Machine):
    pass


@pytest.fixture(scope="module")
def lab():
    with Lab() as lab:
        yield lab


def test_first_boot_upgrade_and_removal(lab, fleet, tmp_path):
    """The card has first-boot.sh and the key. There is no network at first; then the device comes up by itself, takes a
    new configuration from the repository without a question, and forgets it with the package."""
    registry, repo = Registry(lab), tmp_path / "release/apt"
    build(tmp_path / "release")
    with Device(lab, SUITE) as device, signer() as (key, env), web(repo) as (url, server):
        def offer(version):
            status, deb, said = fleet.make(tmp_path, "--version", version)
            assert status == 0, said
            run(TOP / "packaging/apt-repo", "--key", key, repo, deb, env=env)

        first = device.publish(registry)
        fleet.write("conf.d/app.json", json.dumps(CREATE))
        fleet.write("conf.d/acme.conf", "[agent]\ninterval = 1s\nring = all\n\n[container app]\n"
                    f"image = {device.ref(registry)}\nhealth-period = 500ms\ncreate = app.json\n")
        offer("1")
        device.sh("mkdir -p /boot/firmware /etc/systemd/system/pullet-first-boot.service.d; hostname canary-kitchen; "
                  "rm -f /etc/apt/sources.list /etc/apt/sources.list.d/* /etc/apt/apt.conf.d/*roxy*")
        device.write("/etc/systemd/system/pullet-first-boot.service.d/soon.conf", "[Service]\nRestartSec=100ms\n")
        device.write("/etc/apt/apt.conf.d/direct", 'Acquire::http::Proxy "DIRECT";\n')
        script = (TOP / "packaging/examples/first-boot.sh").read_text()
        device.write("/boot/firmware/first-boot.sh", script.replace("https://apt.fleet.example", url))
        shutil.copy(repo / "pullet.gpg", device.shared)
        device.sh("cp /lab/pullet.gpg /boot/firmware")

        server.refuse = True
        device.sh("sh /boot/firmware/first-boot.sh")
        wait_for("a second try", lambda: int(device.show("pullet-first-boot", "NRestarts")["NRestarts"]) >= 2, 60)
        server.refuse = False
        device.settle(first)
        wait_for("its end", lambda: device.sh("systemctl is-enabled pullet-first-boot || true") == "disabled\n", 60)
        assert device.show("pullet-first-boot", "Result", "ActiveState") == {"Result": "success", "ActiveState": "inactive"}
        assert "ring = canary" in device.sh("cat /etc/pullet/conf.d/zz-device.conf")
        device.sh("pullet config check; sh /boot/firmware/first-boot.sh")
        wait_for("the second run", lambda: device.sh("systemctl is-enabled pullet-first-boot || true") == "disabled\n", 60)

        # Somebody has edited a file of the fleet on the device; a new version has one file less and one more.
        device.sh("echo '# local' >>/etc/pullet/conf.d/acme.conf")
        (fleet.top / "conf.d/app.json").rename(fleet.top / "conf.d/new.json")
        fleet.write("conf.d/more.conf", "[container more]\nimage = " + registry.ref("more:stable") + "\n")
        text = (fleet.top / "conf.d/acme.conf").read_text().replace("app.json", "new.json")
        fleet.write("conf.d/acme.conf", text)
        offer("2")
        device.sh("apt-get update --error-on=any && apt-get -y upgrade </dev/null")
        assert "local" not in device.sh("cat /etc/pullet/conf.d/acme.conf")
        assert device.sh("ls /etc/pullet/conf.d").split() == ["acme.conf", "more.conf", "new.json", "zz-device.conf"]
        wait_for("both", lambda: device.show("pulletd", "StatusText")["StatusText"].startswith("2 containers"), 60)

        device.sh("apt-get -y remove acme-fleet")
        assert device.sh("ls /etc/pullet/conf.d").split() == ["zz-device.conf"]
        wait_for("none", lambda: json.loads(device.sh("pullet status --json")) == [], 60)
        assert device.version() == first
