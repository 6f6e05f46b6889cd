# SPDX-License-Identifier: MIT
"""Fixtures: a private bus and a pulletd on it."""

import itertools
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from pullet_bus import Bus, idle_pullet, resident, write_record  # noqa: E402
from pullet_lab import Lab  # noqa: E402
from pullet_sweep import handle_signals  # noqa: E402

handle_signals()
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def lab():
    with Lab() as lab:
        yield lab


@pytest.fixture
def bus(lab):
    bus = Bus(lab, f"bus-{next(_numbers)}")
    yield bus
    bus.stop()


@pytest.fixture
def pullet(lab):
    return idle_pullet(lab, f"pullet-{next(_numbers)}")


@pytest.fixture
def daemon(bus, pullet):
    write_record(pullet.state, "app")
    with resident(pullet, bus) as process:
        yield process
