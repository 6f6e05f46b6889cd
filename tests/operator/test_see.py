# SPDX-License-Identifier: MIT
"""What an operator sees of an update, and is rid of afterwards: the history, versions beside digests, the seconds of a
trial, and what is kept of a section that is gone. operator-report 14, 21, 23."""

import json
import re
import subprocess

import pytest

from conftest import UP
from pullet_bus import Bus, resident
from pullet_sweep import wait_for
from pullet_terminal import on_terminal

LABEL = "org.opencontainers.image.version"
PREVIOUS = "localhost/pullet/previous:app"


@pytest.fixture
def bus(lab, house):
    bus = Bus(lab, f"see-bus-{house.number}")
    yield bus
    bus.stop()


def start(house, *arguments, bus=None, env=None, **options):
    pullet = house.pullet
    nobody = {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={pullet.directory}/no-bus"}
    return subprocess.Popen(
        [pullet.build / "pullet", *arguments, "--config", pullet.config, "--state-dir", pullet.state],
        stdin=subprocess.DEVNULL, text=True,
        env={**house.lab.environment, **(bus.environment if bus else nobody), **(env or {})},
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options})


def pullet(house, *arguments, status=0, **options):
    """-> (stdout, stderr)"""
    process = start(house, *arguments, **options)
    out, err = process.communicate(timeout=60)
    assert process.returncode == status, (arguments, process.returncode, out, err)
    return out, err


def log_of(house, *arguments, **options):
    return [json.loads(line) for line in pullet(house, "log", "--json", *arguments, **options)[0].splitlines()]


def release(house, version, *script):
    return house.publish(*script, config={"Labels": {LABEL: version}})


def test_history_and_versions(house, bus):
    house.configure(create=UP, agent={"interval": "1h"})
    first = release(house, "1.4.0")
    house.once("updated")
    second = release(house, "1.4.1")
    entry = house.once("updated")
    assert (entry["version_from"], entry["version_to"]) == ("1.4.0", "1.4.1")
    broken = release(house, "2.0\x1b[31m", "exit", "3")
    house.once("rolled-back")
    for _ in range(2):  # refused again: told once, by the rollback
        house.once("refused")
    last = release(house, "1.4.2")
    with resident(house.pullet, bus):
        out, err = pullet(house, "update", "app", bus=bus)
        assert re.fullmatch(r"app: updated 1\.4\.1 -> 1\.4\.2 \(sha256:\w{12}, down \d+ ms\)\n", out), out
        assert re.search(r"^app: trial 1\.4\.2 sha256:\w{12}$", err, re.M), err
        assert err.count("on trial") == 1 and "app: on trial for 1 s\n" in err, err
        pullet(house, "hold", "app", bus=bus)
        [status] = json.loads(pullet(house, "status", "--json", bus=bus)[0])
        assert (status["version"], status["target_version"]) == ("1.4.2", None)
        table = pullet(house, "status", bus=bus)[0]
        assert f" 1.4.2 {last.digest[7:14]}  " in table, table
        served = log_of(house, bus=bus)
    entries = log_of(house)
    assert entries == served
    assert [(entry["result"], entry["to"], entry.get("version_from"), entry.get("version_to"))
            for entry in entries] == [
        ("updated", first.digest, None, "1.4.0"),
        ("updated", second.digest, "1.4.0", "1.4.1"),
        ("rolled-back", broken.digest, "1.4.1", None),
        ("updated", last.digest, "1.4.1", "1.4.2"),
        ("deferred", last.digest, None, None)]
    for entry in entries[:4]:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", entry["time"])
        assert entry["duration_ms"] > 0 and entry["image"] == house.image
    assert entries[2]["reason"].startswith("it exited with status 3")
    lines = pullet(house, "log", "-n", "2", "app")[0].splitlines()
    assert re.fullmatch(r"[\d-]{10} [\d:]{8} app: updated 1\.4\.1 -> 1\.4\.2 \(sha256:\w{12}, "
                        r"took [\d.]+ s, down \d+ ms\)", lines[0]), lines
    assert re.search(r" app: held by [\w.-]+$", lines[1]) and len(lines) == 2
    assert "\x1b" not in pullet(house, "log")[0] + house.pullet.state.joinpath("app.json").read_text()


def test_what_was_rejected_has_its_version(house, bus):
    house.configure(create=UP, agent={"interval": "1h"})
    release(house, "1.4.0")
    house.once("updated")
    broken = release(house, "1.4.1", "exit", "3")
    house.once("rolled-back")
    with resident(house.pullet, bus):
        out, _ = pullet(house, "update", "app", status=1, bus=bus)
        assert "this digest was rejected before: it exited" in out
        assert out.endswith("; to try it again: pullet retry app\n"), out
        for service in (bus, None):  # from the record, too
            [status] = json.loads(pullet(house, "status", "--json", bus=service)[0])
            [rejected] = status["rejected"]
            assert (rejected["digest"], rejected["version"]) == (broken.digest, "1.4.1")
            assert f"\n  rejected 1.4.1 {broken.digest[7:14]}: it exited" in pullet(house, "status", bus=service)[0]
            assert f" Reject: {broken.digest}\n         1.4.1\n" in pullet(house, "status", "app", bus=service)[0]


def test_a_killed_update_is_told_once(house, bus):
    house.up()
    house.configure(create=UP, health_period="1500ms")
    published = release(house, "1.1")
    process = house.pullet.spawn("--once", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for("trial", lambda: '"phase": "trial"' in (house.pullet.state / "app.json").read_text())
    house.pullet.kill9(process)
    assert [entry["result"] for entry in log_of(house)] == ["updated"]
    house.once("updated")
    entries = log_of(house)
    assert [entry["to"] for entry in entries] == [entries[0]["to"], published.digest]
    assert entries[1]["version_to"] == "1.1" and entries[1]["duration_ms"] > 1500


def test_a_reference_is_named_once(house):
    house.configure()
    _, err = pullet(house, "verify", "127.0.0.1:1/app:stable", status=1)
    assert err.count("127.0.0.1:1/app:stable") == 1, err


def test_forget(house):
    first, _ = house.up()
    house.publish()
    house.once("updated")
    out, _ = pullet(house, "forget", "app", status=1)
    assert "[container app] is configured; remove its section first" in out
    assert PREVIOUS in house.engine.tags()
    record = house.pullet.state / "app.json"
    whole = record.read_text()
    house.pullet.configure({"other": {"image": house.image}}, agent={"interval": "1h"})
    assert "records without a section: app; to remove them: pullet forget --gone" in pullet(house, "status")[0]
    assert log_of(house, "app")[-1]["result"] == "updated"
    record.write_text(whole.replace('"idle"', '"revert"', 1).rstrip()[:-1] + ', "update": ' + json.dumps({
        "target": None, "synced": False, "boot_id": None, "old_id": None, "new_id": None, "policy": None,
        "serving": False, "followers": [], "starts": 0, "blame": False, "reason": None}) + "}")
    out, _ = pullet(house, "forget", "app", status=1)
    assert "an update of it is under way (phase revert)" in out
    record.write_text(whole)
    before = house.engine.inspect("app")
    for bad in ("../app", ".app", "nobody"):
        pullet(house, "forget", bad, status=1)
    pullet(house, "forget", status=2)
    pullet(house, "forget", "--gone", "app", status=2)
    assert record.exists()
    assert json.loads(pullet(house, "forget", "--gone", "--json")[0])["reason"] == "forgotten"
    assert PREVIOUS not in house.engine.tags() and not list(house.pullet.state.glob("app*"))
    assert not [image for image in house.engine.call("GET", "/images/json")
                if first.digest in str(image["RepoDigests"])]
    house.untouched(before)
    assert "nothing to forget" in pullet(house, "forget", "--gone")[1]
    assert "without a section" not in pullet(house, "status")[0]


def test_a_foreign_image_keeps_its_last_name(house):
    """Pullet removes no image that it did not bring."""
    house.adopt()
    house.configure()
    house.publish()
    house.once("updated")
    kept = house.engine.inspect_image(PREVIOUS)
    for name in kept["RepoDigests"] + kept["RepoTags"]:
        if not name.startswith("localhost/pullet/"):
            house.engine.docker("image", "rm", name)
    house.pullet.configure({"other": {"image": house.image}})
    out, _ = pullet(house, "forget", "app")
    assert f"docker image rm {PREVIOUS}" in out
    assert house.engine.inspect_image(PREVIOUS)["Id"] == kept["Id"]
    assert not (house.pullet.state / "app.json").exists()


def test_seconds_of_a_trial(house, bus):
    """pulletd says when the trial began and how long it takes; the command counts."""
    house.up()
    house.configure(create=UP, health_period="6s", agent={"interval": "1h"})
    release(house, "1.1")
    with resident(house.pullet, bus):
        with bus.listener() as listener:
            process, out, seen = on_terminal(
                lambda slave: start(house, "update", bus=bus, stderr=slave, env={"TERM": "xterm"}), 60)
        steps = [signal for signal in listener.signals if "on trial" in str(signal)]
    assert process.returncode == 0 and "updated" in out, out + seen
    assert "app: asks the registry" in seen and "downloads" in seen, seen
    counted = re.findall(r"app  \[#*\.*\]  on trial, (\d) of 6 s", seen)
    assert counted == sorted(counted) and len(set(counted)) >= 3, seen  # a slow machine may skip one
    assert len(steps) == 1, steps
    assert seen.endswith("\r\033[K")
