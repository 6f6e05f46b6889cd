# SPDX-License-Identifier: MIT
"""The command on a real engine: an update over a slow link, followed to its end, also if pulletd is restarted during
it."""

import contextlib
import json
import random
import re
import subprocess

import pytest

from conftest import UP
from pullet_bus import Bus
from pullet_image import actor
from pullet_relay import Relay
from pullet_sweep import stop_process, wait_for
from pullet_terminal import on_terminal

SIZE = 1_600_000


@pytest.fixture
def bus(lab, house):
    bus = Bus(lab, f"bus-{house.number}")
    yield bus
    bus.stop()


@contextlib.contextmanager
def resident(house, bus):
    with open(house.pullet.directory / "pulletd.log", "ab") as out:
        process = house.pullet.spawn(stdout=out, stderr=out, env=bus.environment)
    try:
        bus.wait_for_pulletd()
        wait_for("rest", lambda: bus.properties()["NextCheck"] > 0)
        yield process
        stop_process(process, 60)
    finally:
        house.pullet.kill9(process)


def command(house, bus, *arguments, env=None, **options):
    pullet = house.pullet
    return subprocess.Popen(
        [pullet.build / "pullet", *arguments, "--config", pullet.config, "--state-dir", pullet.state],
        stdin=subprocess.DEVNULL, text=True,
        env={**house.lab.environment, **bus.environment, **(env or {})},
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options})


def large(number):
    """An image that does not compress."""
    return actor("say", f"large {number}", "wait", files={"filler": random.Random(number).randbytes(SIZE)})


@pytest.fixture
def relay(lab, house):
    return Relay(lab, house.registry.address, rate=600_000)


@pytest.fixture
def slow(house, relay):
    """The container runs a first version; a large second one is published behind a slow link."""
    house.publish()
    house.configure(create=UP, image=f"{relay.address}/{house.repository}:stable",
                    agent={"interval": "1h"})
    house.once("updated")
    return house.publish(images=large(house.number))


def test_progress_of_an_update(house, bus, slow):
    with resident(house, bus):
        process = command(house, bus, "update", "app")
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, out + err
    assert re.fullmatch(r"app: updated sha256:\w{12} -> sha256:\w{12} \(down \d+ ms\)\n", out)
    lines = err.splitlines()
    phases = [re.fullmatch(r"app: (\w+) sha256:\w{12}", line) for line in lines]
    assert [m[1] for m in phases if m] == ["prepare", "trial", "commit"]
    [first, *_] = [line for line, m in zip(lines, phases) if not m]
    numbers = re.fullmatch(r"app: ([\d.]+) (k|M)B of ([\d.]+) MB \((\d+)%\), ([\d.]+) (k|M)B/s, "
                           r"([\d:-]+) to go", first)
    assert numbers and float(numbers[3]) >= SIZE / 1e6, first
    house.check(slow)


def test_bar_on_a_terminal(house, bus, slow):
    with resident(house, bus):
        process, out, seen = on_terminal(lambda slave: command(
            house, bus, "update", stderr=slave, env={"TERM": "xterm", "COLUMNS": "80"}))
    assert process.returncode == 0 and out.startswith("app: updated"), out + seen
    bars = re.findall(r"\r\033\[Kapp  \[(#*)(\.*)\]  +(\d+)%  \S+ .B of \S+ MB  \S+ .?B/s  [\d:-]+", seen)
    assert len(bars) > 3 and len({bar[0] for bar in bars}) > 2, seen
    assert seen.endswith("\r\033[K")  # the bar is removed before the result


def test_restart_during_an_update(house, bus, slow):
    """As an upgrade of the package restarts it: the update is completed and its result reported."""
    with resident(house, bus) as daemon:
        process = command(house, bus, "update", "app", "--json")
        wait_for("bytes", lambda: bus.properties()["Progress"][0] > 0, 60)
        stop_process(daemon, 60)
        assert daemon.returncode == 0
    assert process.poll() is None
    with resident(house, bus):
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    assert "pulletd stopped" in err and "pulletd is back" in err
    assert json.loads(out)["result"] == "updated", out
    house.check(slow)


def test_rollback_and_retry(house, bus, relay, slow):
    relay.rate = None
    with resident(house, bus):
        first = json.loads(command(house, bus, "status", "--json").communicate()[0])[0]["current"]
        assert "updated" in command(house, bus, "update").communicate(timeout=120)[0]
        out, _ = command(house, bus, "rollback", "app", "--json").communicate(timeout=60)
        assert json.loads(out)["to"] == first
        [status] = json.loads(command(house, bus, "status", "app", "--json").communicate()[0])
        assert [entry["digest"] for entry in status["rejected"]] == [slow.digest]
        process = command(house, bus, "update", "app")
        assert "rejected before" in process.communicate(timeout=60)[0] and process.returncode == 1
        process = command(house, bus, "rollback", "app")
        assert process.communicate(timeout=60)[0].startswith("app: refused") and process.returncode == 1
        assert "1 rejected digest" in command(house, bus, "retry", "app").communicate(timeout=60)[0]
        assert "updated" in command(house, bus, "update").communicate(timeout=120)[0]
    house.check(slow)
