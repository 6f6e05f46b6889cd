# SPDX-License-Identifier: MIT
"""Orders over D-Bus neither pester a registry nor starve the round, whoever sends them."""

import pytest

from pullet_bus import Bus, Polkit
from pullet_sweep import wait_for
from registryd import Answer, Front, on

HOUR = 3600


@pytest.fixture
def front(house):
    with Front(house.registry) as front:
        house.lab.announce(front.host)
        house.registry = front
        yield front


@pytest.fixture
def bus(house):
    bus = Bus(house.lab, "orders")
    yield bus
    bus.stop()


def finished(bus, method, user=None):
    with bus.listener() as listener:
        bus.order(method, user=user)
        return listener.wait_finished(method.lower())


# security-audit 11
def test_a_registry_that_sent_retry_after_is_left_alone_by_orders(house, front, bus):
    house.up()
    front.hooks.append(on("HEAD", answer=Answer(429, {"Retry-After": str(HOUR)})))
    front.seen.clear()
    process = house.pullet.spawn(env=bus.environment)
    try:
        bus.wait_for_pulletd()
        finished(bus, "Check")
        wait_for("one question", lambda: front.seen or process.poll() is not None, 60)
        asked = len(front.seen)
        with Polkit(bus, "yes"):
            for method, user in (("Check", None), ("Check", "nobody"), ("Update", "nobody")):
                told = finished(bus, method, user)
                assert told["result"] == "deferred" and "accepts no request" in told["reason"], told
        # These need no registry.
        assert "rejected" in finished(bus, "Retry")["reason"]
        assert finished(bus, "Hold")["result"] == "deferred"
        assert "released" in finished(bus, "Release")["reason"]
        assert len(front.seen) == asked
        front.hooks.clear()  # root knows that it is well again
        assert finished(bus, "Update")["result"] == "up-to-date"
        assert len(front.seen) > asked
    finally:
        house.pullet.kill9(process)
