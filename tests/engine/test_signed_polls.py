# SPDX-License-Identifier: MIT
"""What the resident pulletd asks a registry for signatures, between two versions: a version that nobody has signed yet, and a
signature of what runs that has expired."""

import pytest

from pullet_bus import Bus, resident
from pullet_signer import signing  # noqa: F401 (a fixture)
from pullet_sweep import tail, wait_for

OFTEN = {"interval": "1s", "jitter": "0%"}


@pytest.fixture
def bus(house, lab):
    bus = Bus(lab, f"bus-{house.number}")
    yield bus
    bus.stop()


def polls(house, mark):
    return [r for r in house.registry.requests(mark) if r.method == "HEAD" and r.path.endswith("/manifests/stable")]


def questions(house, mark):
    """How often the place of classic signatures was asked."""
    return [r for r in house.registry.requests(mark) if r.path.endswith(".sig")]


def test_a_version_that_nobody_signs_is_asked_for_less_often(house, signing, bus):
    """A poll of it is one request then. An operator who asks is answered at once, and so is a change of the configuration."""
    signing.up(seq=1, settings={"agent": OFTEN})
    with resident(house.pullet, bus) as process:
        second = house.publish()
        mark = house.registry.mark()
        wait_for("a few polls", lambda: len(polls(house, mark)) >= 45, 120, 0.3)
        seen, asked = len(polls(house, mark)), len(questions(house, mark))
        assert 2 <= asked <= seen // 3, (seen, asked)  # a pass that asks polls twice: at each poll it would be half of them
        assert bus.properties("app")["LastError"].startswith("signature: "), tail(process.log)
        signing.sign(second, seq=2)
        with bus.listener() as listener:
            bus.order("Update")
            listener.wait_finished("update")
        house.check(second)
