# SPDX-License-Identifier: MIT
"""The units as installed: systemd-analyze verifies them, their exposure is limited, and each journal entry has its
text in the catalog."""

import ipaddress
import os
import pathlib
import re
import shutil
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ["PULLET_BUILD"])

# Exposure by `systemd-analyze security`, times ten.
MOST = {"pulletd.service": 2, "pullet-update@.service": 5, "pullet-fetch@.service": 10, "pullet-unit@.service": 15,
        "pullet-notify@.service": 20}


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A root directory with the files where the package installs them."""
    root = tmp_path_factory.mktemp("root")
    done = run("cmake", "--install", str(BUILD), "--prefix", "/usr",
               env={**os.environ, "DESTDIR": str(root)})
    assert done.returncode == 0, done.stderr
    # The package is configured with /usr, whatever the prefix of this build is.
    for unit in (root / "usr/lib/systemd/system").glob("pullet*"):
        unit.write_text(unit.read_text().replace("/usr/local/", "/usr/"))
    return root


@pytest.mark.parametrize("unit", MOST)
def test_exposure(root, unit):
    done = run("systemd-analyze", "security", "--offline=true", f"--root={root}",
               f"--threshold={MOST[unit]}", "--no-pager", unit)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Overall exposure level for .*: \d", done.stdout), done.stdout


def test_a_weaker_unit_is_noticed(root, tmp_path):
    """The check can fail: with network access pulletd exceeds its threshold."""
    unit = tmp_path / "pulletd.service"
    text = (root / "usr/lib/systemd/system/pulletd.service").read_text()
    unit.write_text(text.replace("PrivateNetwork=yes", "").replace("IPAddressDeny=any", ""))
    done = run("systemd-analyze", "security", "--offline=true", f"--threshold={MOST[unit.name]}", str(unit))
    assert done.returncode != 0


def test_units_verify(root):
    """systemd-analyze verify reports nothing about our units. Other units are stubs."""
    system = root / "usr/lib/systemd/system"
    outline = {"service": "[Service]\nExecStart=/usr/sbin/pulletd\n",
               "socket": "[Socket]\nListenStream=/run/x\nService=docker.service\n",
               "mount": "[Mount]\nWhat=none\nWhere=/\n"}
    for name in ("docker.service", "dbus.socket", "time-sync.target", "sysinit.target", "basic.target",
                 "sockets.target", "multi-user.target", "shutdown.target", "system.slice", "-.slice",
                 "-.mount"):
        (system / name).write_text("[Unit]\nDescription=not ours\n"
                                   + outline.get(name.rpartition(".")[2], ""))
    (root / "bin").mkdir()
    shutil.copy("/bin/sh", root / "bin/sh")
    done = run("systemd-analyze", "verify", f"--root={root}", "--man=no", *MOST, "pullet-update.socket", "pullet-fetch.socket",
               "pullet-unit.socket")
    complaints = [line for line in done.stderr.splitlines() if "pullet" in line]
    assert not complaints and done.returncode == 0, done.stderr


def test_every_message_has_its_text():
    code = (TOP / "agent/daemon/show.c").read_text()
    ids = re.findall(r'"([0-9a-f]{32})"', code)
    catalog = (TOP / "systemd/pullet.catalog").read_text()
    entries = re.findall(r"^-- ([0-9a-f]{32})$", catalog, re.M)
    assert sorted(ids) == sorted(entries) and len(set(ids)) == len(ids) > 0
    for entry in re.split(r"^-- [0-9a-f]{32}$", catalog, flags=re.M)[1:]:
        assert re.match(r"\nSubject: \S.*\nDefined-By: Pullet\nDocumentation: \S+\n\n\S", entry), entry
    assert set(re.findall(r"@(\w+)@", catalog)) <= {"PULLET_CONTAINER", "PULLET_PHASE", "PULLET_DIGEST"}


def test_catalog_compiles(tmp_path):
    (tmp_path / "usr/lib/systemd/catalog").mkdir(parents=True)
    (tmp_path / "var/lib/systemd/catalog").mkdir(parents=True)
    text = (TOP / "systemd/pullet.catalog").read_text()
    (tmp_path / "usr/lib/systemd/catalog/pullet.catalog").write_text(text)
    done = run("journalctl", f"--root={tmp_path}", "--update-catalog")
    assert done.returncode == 0, done.stderr
    done = run("journalctl", f"--root={tmp_path}", "--list-catalog")
    assert done.stdout.count("Pullet:") + done.stdout.count("PULLET_CONTAINER") >= 10, done.stdout


def test_sysusers_and_tmpfiles(tmp_path):
    """Users without a shell, and the directories with their owners and modes."""
    (tmp_path / "etc").mkdir()
    done = run("systemd-sysusers", f"--root={tmp_path}", str(TOP / "systemd/pullet.sysusers"))
    assert done.returncode == 0, done.stderr
    users = re.findall(r"^([\w-]+):.*?:(\d+):.*nologin$", (tmp_path / "etc/passwd").read_text(), re.M)
    assert {name for name, _ in users} >= {"pullet", "pullet-update", "pullet-fetch"}
    groups = dict(re.findall(r"^([\w-]+):.*?:(\d+):$", (tmp_path / "etc/group").read_text(), re.M))
    done = run("systemd-tmpfiles", f"--root={tmp_path}", "--create", str(TOP / "systemd/pullet.tmpfiles"))
    assert done.returncode == 0, done.stderr
    records = (tmp_path / "var/lib/pullet").stat()
    assert records.st_mode & 0o7777 == 0o750
    assert (records.st_uid, records.st_gid) == (int(dict(users)["pullet-update"]), int(groups["pullet"]))


def settings(unit):
    """{key: last value} of a unit as installed."""
    lines = (TOP / "systemd" / unit).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if re.match(r"\w+=", line))


def test_privileges_follow_the_processes():
    """The users of the units, and the users that may open their sockets."""
    daemon, update = settings("pulletd.service.in"), settings("pullet-update@.service.in")
    fetch = settings("pullet-fetch@.service.in")
    assert [unit["User"] for unit in (daemon, update, fetch)] == ["pullet", "pullet-update", "pullet-fetch"]
    # A directory of its own, and not that of the records.
    assert daemon["StateDirectory"] == "pulletd" != update["StateDirectory"] and "LoadCredential" not in daemon
    assert update["StateDirectory"] == "pullet" and update["Group"] == daemon["Group"]
    for unit in (daemon, update, fetch):
        assert "docker" not in unit.get("SupplementaryGroups", "")  # the unit would fail without that group
    assert update["StopPropagatedFrom"] == "pulletd.service" and int(update["TimeoutStopSec"]) >= 120
    socket = settings("pullet-update.socket")
    assert (socket["SocketUser"], socket["SocketMode"]) == (daemon["User"], "0600")
    socket = settings("pullet-fetch.socket")
    assert (socket["SocketUser"], socket["SocketGroup"], socket["SocketMode"]) == (update["User"], "pullet", "0660")


def test_network_of_pullet_fetch():
    """Its allow list is all unicast addresses but link-local, no more and no less."""
    text = (TOP / "systemd/pullet-fetch@.service.in").read_text()
    words = [word for line in re.findall(r"^IPAddressAllow=(.*)$", text, re.M) for word in line.split()]
    allowed = [ipaddress.ip_network(word) for word in words]
    unicast = [ipaddress.ip_network(word) for word in ("0.0.0.0/1", "128.0.0.0/2", "192.0.0.0/3")]
    link_local = ipaddress.ip_network("169.254.0.0/16")
    want = [part for network in unicast for part in
            (network.address_exclude(link_local) if link_local.subnet_of(network) else [network])]
    assert set(network for network in allowed if network.version == 4) == set(ipaddress.collapse_addresses(want))
    for word in ("fe80::1", "ff02::1"):
        assert not any(ipaddress.ip_address(word) in network for network in allowed)
    for word in ("::1", "2001:db8::1", "fd00::1"):
        assert any(ipaddress.ip_address(word) in network for network in allowed)
