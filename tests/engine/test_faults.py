# SPDX-License-Identifier: MIT
"""Faults: there is always a container, and never two. Kills are in test_crash.py, faults of other programs in
test_world_*.py."""

import shutil
import signal
import time

from conftest import UP
from pullet_sweep import wait_for


def test_registry_gone_and_back(house):
    _, before = house.up()
    second = house.publish()
    house.registry.stop()
    house.once("failed", reason=str(house.registry.port))
    snapshot = house.pullet.state_snapshot()
    house.once("failed")
    assert house.pullet.state_snapshot() == snapshot  # a long outage causes no writes
    house.untouched(before)
    house.registry.start()
    house.once("updated")
    house.check(second)


def test_registry_that_says_nothing(house):
    """It accepts the connection and sends nothing, like a dead link: the wait is bounded, and nothing is touched."""
    _, before = house.up()
    second = house.publish()
    house.registry.pause()
    try:
        house.once("failed", timeout=300)
    finally:
        house.registry.resume()
    house.untouched(before)
    house.once("updated")
    house.check(second)


def test_image_gone_from_the_registry(house):
    _, before = house.up()
    house.pullet.configure({"app": {"image": house.registry.ref("no/such:image")}})
    house.once("failed", reason="no/such")
    house.untouched(before)


def test_engine_gone_and_back(house):
    house.up()
    second = house.publish()
    house.engine.stop_daemon()
    house.once("failed", reason=house.engine.socket)
    house.engine.start()
    house.once("updated")
    house.check(second, policy="always")


def test_broken_record_is_set_aside(house):
    _, before = house.up()
    path = house.pullet.state / "app.json"
    whole = path.read_bytes()
    for broken in (b"", whole[:-10], b"\x00" * len(whole), b"[]", b'{"version": 99}'):
        path.write_bytes(broken)
        aside = house.pullet.state / "app.json.broken"
        aside.unlink(missing_ok=True)
        house.once("up-to-date")
        assert aside.read_bytes() == broken
        house.untouched(before)
    assert house.pullet.record("app")["version"]
    second = house.publish()
    house.once("updated")
    house.check(second, policy="always")


def test_lost_state_directory(house):
    _, before = house.up()
    shutil.rmtree(house.pullet.state)
    house.once("up-to-date")
    house.untouched(before)


def test_record_lost_in_the_middle_of_an_update(house):
    house.up(health_period="1s")
    house.configure(create=UP, health_period="20s")
    second = house.publish()
    process = house.pullet.spawn("--once", "--json")
    wait_for("the swap", lambda: house.engine.containers().get("app.prev") == "exited")
    house.pullet.kill9(process)
    (house.pullet.state / "app.json").unlink()
    house.configure(create=UP, health_period="1s")
    assert house.pullet.once().results["app"]["result"] in ("updated", "rolled-back", "up-to-date")
    house.pullet.once()
    house.check(second, policy="always")


def test_sigterm_in_the_middle_leaves_a_running_container(house):
    house.up(health_period="1s")
    house.configure(create=UP, health_period="30s")
    second = house.publish()
    process = house.pullet.spawn("--once", "--json")
    try:
        wait_for("the swap", lambda: "app.prev" in house.engine.containers())
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    finally:
        house.pullet.kill9(process)
    assert len(house.engine.running()) == 1
    house.configure(create=UP, health_period="1s")
    house.once("updated")
    house.check(second, policy="always")


def test_two_passes_at_once(house):
    house.up()
    second = house.publish()
    since = time.time()
    processes = [house.pullet.spawn("--once", "--json") for _ in range(3)]
    try:
        assert [p.wait(60) for p in processes] == [0, 0, 0]
    finally:
        for process in processes:
            house.pullet.kill9(process)
    house.check(second)
    assert house.most_running(since) == 1
