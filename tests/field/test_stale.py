# SPDX-License-Identifier: MIT
"""An engine that is killed in the middle of a start keeps something of it in /run, and never starts that container again.
It is made anew in the same pass; no version is blamed."""

import subprocess

import pytest

from pullet_house import UP
from pullet_sweep import LabError, wait_for


def cut_start(house, container):
    """Leaves what containerd leaves when it is killed in the middle of a start of this container."""
    (tasks,) = (house.engine.directory / "state").glob("io.containerd.runtime.v*/moby")
    (tasks / container).mkdir()


def test_the_new_container_is_made_anew(house):
    house.publish("stubborn")  # stopping it leaves the time to interfere
    house.configure(create=UP, health_period="300ms", stop_timeout="1s")
    house.once("updated")
    second = house.publish()
    process = house.pullet.spawn("--once", "--json", stdout=subprocess.PIPE, text=True)
    cut_start(house, wait_for("NAME.next", lambda: house.engine.inspect("app.next"), pause=0.01)["Id"])
    assert '"updated"' in process.communicate()[0]
    house.check(second, policy="always")
    assert not house.pullet.record("app")["rejected"]


def test_the_old_container_is_made_anew(house):
    first, before = house.up(health_period="300ms")
    house.engine.call("POST", "/containers/app/stop?t=0")
    cut_start(house, before["Id"])
    with pytest.raises(LabError, match="file exists"):
        house.engine.call("POST", "/containers/app/start")
    house.once("updated")
    assert house.check(first, policy="always")["Id"] != before["Id"]
