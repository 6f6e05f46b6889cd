# SPDX-License-Identifier: MIT
"""Resident pulletd: candidates, an engine that restarts, a configuration that changes."""

import os
import signal
import socket

from conftest import UP
from pullet_sweep import tail, wait_for

OFTEN = {"interval": "1s", "jitter": "0%"}


def runs(house, published, name="app"):
    def look():
        try:
            inspect = house.engine.inspect(name)
        except OSError:
            return False
        left = [n for n in house.engine.containers() if n.startswith(name + ".")]
        return (inspect and not left and inspect["State"]["Running"]
                and house.is_image(inspect, published))

    return look


def wait_until_it_runs(house, process, published, name="app"):
    try:
        wait_for("the new version", runs(house, published, name), 120, pause=0.1)
    except Exception as error:
        raise AssertionError(f"{error}; pulletd says:\n{tail(process.log, 30)}") from None


def test_new_digest_is_picked_up(house):
    house.up(agent=OFTEN, health_period="500ms")
    with house.pullet.resident() as process:
        for _ in range(2):
            wait_until_it_runs(house, process, house.publish())
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert house.engine.running() == ["app"]


def hang_up(path, times):
    """Replaces the engine for that many connections."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.settimeout(60)
        listener.bind(path)
        listener.listen()
        for _ in range(times):
            listener.accept()[0].close()
    os.unlink(path)


def test_survives_an_engine_restart(house):
    house.up(agent=OFTEN, health_period="500ms")
    with house.pullet.resident() as process:
        wait_until_it_runs(house, process, house.publish())
        house.engine.stop_daemon()
        published = house.publish()
        wait_for("the complaint", lambda: house.engine.socket in process.log.read_text())
        hang_up(house.engine.socket, 3)
        house.engine.start()
        wait_until_it_runs(house, process, published)
        assert process.poll() is None


def test_finishes_first_what_was_interrupted(house):
    house.up(health_period="1s")
    house.configure(create=UP, health_period="20s")
    published = house.publish()
    process = house.pullet.spawn("--once")
    wait_for("the swap", lambda: "app.prev" in house.engine.containers())
    house.pullet.kill9(process)
    house.registry.stop()  # an update under way needs no registry
    house.configure(create=UP, agent={"interval": "1h"}, health_period="500ms")
    with house.pullet.resident() as process:
        wait_until_it_runs(house, process, published)


def test_sighup_reloads_the_configuration(house):
    house.up(agent=OFTEN, health_period="500ms")
    with house.pullet.resident() as process:
        second = house.publish(repository=house.repository + "2")
        more = {"image": house.registry.ref(house.repository + "2:stable"), "create": UP,
                "health-period": "500ms"}
        house.pullet.configure({"app": house.settings, "more": more}, agent=OFTEN)
        process.send_signal(signal.SIGHUP)
        wait_until_it_runs(house, process, second, "more")
        # A broken configuration is reported, and touches nothing; when it is fixed, updates resume.
        whole = house.pullet.config.read_text()
        house.pullet.config.write_text("[nonsense]\n")
        process.send_signal(signal.SIGHUP)
        wait_for("a complaint", lambda: "nonsense" in process.log.read_text())
        assert "app" in house.engine.running()
        third = house.publish()
        house.pullet.config.write_text(whole)
        process.send_signal(signal.SIGHUP)
        wait_until_it_runs(house, process, third)


def test_killed_with_its_helpers_and_started_again(house):
    house.up(health_period="1s")
    house.configure(create=UP, agent=OFTEN, health_period="20s")
    published = house.publish()
    with house.pullet.resident() as process:
        wait_for("the swap", lambda: "app.prev" in house.engine.containers())
        house.pullet.kill9(process)
    assert len(house.engine.running()) <= 1
    house.configure(create=UP, agent=OFTEN, health_period="500ms")
    with house.pullet.resident() as process:
        wait_until_it_runs(house, process, published)
    assert house.engine.running() == ["app"]


def test_sigterm_during_an_update(house):
    house.up(agent=OFTEN, health_period="1s")
    house.configure(create=UP, agent=OFTEN, health_period="30s")
    published = house.publish()
    with house.pullet.resident() as process:
        wait_for("the swap", lambda: "app.prev" in house.engine.containers())
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert len(house.engine.running()) == 1
    house.configure(create=UP, health_period="1s")
    house.once("updated")
    house.check(published, policy="always")
