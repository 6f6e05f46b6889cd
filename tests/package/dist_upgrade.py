# SPDX-License-Identifier: MIT
"""A machine goes from Debian 12 to 13, systemd, engine, libraries and all, in the middle of an update. It has
both of pullet's packages from one signed repository. Not in ctest: it brings a whole Debian (tests/package/all)."""

import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from pullet_deb import TOP, build, run  # noqa: E402
from pullet_engines import mirror  # noqa: E402
from pullet_follower import Follower  # noqa: E402
from pullet_lab import Lab  # noqa: E402
from pullet_registry import Registry  # noqa: E402
from pullet_machine import Machine  # noqa: E402


class Device(Follower, Machine):
    patience = 300.0


@pytest.fixture
def device():
    with Lab() as lab, Device(lab, "bookworm") as device:
        yield device


def make_repository(device, tmp_path):
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    env = {**os.environ, "GNUPGHOME": str(home)}
    key = "pullet@test.example"
    run("gpg", "--batch", "--passphrase", "", "--quick-generate-key", key, "ed25519", env=env)
    debs = []
    for suite in ("bookworm", "trixie"):
        (tmp_path / suite).mkdir()
        debs.append(build(tmp_path / suite, suite=suite))
    run(TOP / "packaging/apt-repo", "--key", key, device.shared / "repo", *debs, env=env)
    run("gpgconf", "--kill", "all", env=env)


def use(device, suite):
    """As apt-repo says, and Debian's own of the same suite."""
    device.sh("cp /lab/repo/pullet.gpg /usr/share/keyrings/")
    device.write("/etc/apt/sources.list", f"deb {mirror()} {suite} main\n")
    device.write("/etc/apt/sources.list.d/pullet.list",
                 f"deb [signed-by=/usr/share/keyrings/pullet.gpg] file:/lab/repo {suite} main\n")
    device.sh("apt-get update")


def test_from_12_to_13_amid_an_update(device, tmp_path):
    registry = Registry(device.lab)
    make_repository(device, tmp_path)
    use(device, "bookworm")
    device.sh("apt-get install -y --no-install-recommends pullet")
    device.sh("echo '# mine' >>/etc/pullet/pullet.conf")
    first = device.publish(registry)
    device.configure(registry, health_period="10s")
    device.sh("systemctl reload pulletd")
    device.settle(first)
    before = device.sh("dpkg-query -W -f '${Version}' pullet")

    use(device, "trixie")
    device.sh("apt-get full-upgrade -y --download-only", timeout=1800)
    second = device.publish(registry)
    device.phase("trial")
    device.sh("apt-get full-upgrade -y", timeout=3600)
    after = device.sh("dpkg-query -W -f '${Version}' pullet")
    assert "~deb12" in before and "~deb13" in after
    assert device.sh("cat /etc/debian_version").startswith("13")
    device.sh("dpkg --compare-versions " + after + " gt " + before)
    # The tree is one without manuals.
    changed = device.sh("dpkg --audit; dpkg --verify pullet | grep -v /usr/share/ || true")
    assert changed.split() == ["??5??????", "c", "/etc/pullet/pullet.conf"], changed
    device.sh("grep -q '# mine' /etc/pullet/pullet.conf")
    for unit in ("pulletd.service", "pullet-update.socket", "pullet-fetch.socket", "pullet-unit.socket"):
        assert device.sh(f"systemctl is-enabled {unit}; systemctl is-active {unit}") == "enabled\nactive\n"
    device.settle(second)

    # What runs may be of before; from the next boot on all is Debian 13's.
    device.power_off()
    device.start()
    device.settle(device.publish(registry))
    assert device.show("pulletd", "NRestarts")["NRestarts"] == "0"
