# SPDX-License-Identifier: MIT
"""The engine is stopped, restarted, killed or upgraded during an update, or between two: the reason is reported, the
digest is not rejected, and the next pass completes the update."""

import threading

import pytest

from conftest import UP
from pullet_meddler import DOWN, EVERY, ON_TRIAL, PULLING, WON, Meddler, moments


class Upgraded(Meddler):
    """An engine that reports API 1.41 like Docker 20.10, and after upgrade() only 1.44 like Docker 29, whatever its
    real version is."""

    OLD, NEW = "1.41", "1.44"

    def __init__(self, path, engine):
        self.real = engine.version.encode()
        super().__init__(path, engine, maximum=self.OLD)

    def upgrade(self):
        self.minimum = self.maximum = self.NEW
        self.asked.clear()

    def forward(self, client, request):
        old, new = (b"/v%s/" % version.encode() for version in (self.OLD, self.NEW))
        if b"/%s/" % self.real not in (old, new):  # the agent supports both
            super().forward(client, request)
            return
        line, _, rest = request.partition(b"\r\n")
        line = line.replace(old, b"/%s/" % self.real).replace(new, b"/%s/" % self.real)
        super().forward(client, line + b"\r\n" + rest)


@pytest.fixture
def between(house):
    """A function that puts a proxy of that class between the agent and the engine, with a second version published ->
    the proxy, that version."""
    meddlers = []

    def put(kind=Meddler):
        house.up()
        meddlers.append(kind(house.pullet.directory / "docker.sock", house.engine))
        house.configure(create=UP, agent=meddlers[0].agent, health_period="700ms")
        return meddlers[0], house.publish()

    yield put
    for meddler in meddlers:
        meddler.stop()


def finish(house, second, told):
    """Runs the passes that the service would run, whatever their results, and checks the engine."""
    told = [told, *(house.pullet.once().results["app"] for _ in range(2))]
    for entry in told:
        assert entry["result"] in ("updated", "up-to-date") or (
            entry["result"] == "failed" and "engine" in entry["reason"]), told
    assert told[-1]["result"] == "up-to-date", told
    house.check(second, policy="always")
    record = house.pullet.record("app")
    assert (record["phase"], record["rejected"]) == ("idle", []), told


@pytest.mark.parametrize("moment", moments((PULLING, ON_TRIAL)), ids=str)
def test_restarted(house, between, moment):
    """As `systemctl restart docker` does: its containers are stopped, and those with a restart policy are started
    again; containers on trial have none."""
    meddler, second = between()
    struck = meddler.strike_at(moment, house.engine.restart)
    told = house.pullet.once().results["app"]
    assert struck and not meddler.faults, meddler.faults
    finish(house, second, told)


@pytest.mark.parametrize("moment", moments((ON_TRIAL,)), ids=str)
def test_stopped_meanwhile(house, between, moment):
    """It stops its containers first, and then itself, while the agent observes it."""
    meddler, second = between()
    going = threading.Thread(target=house.engine.stop_daemon)
    struck = meddler.strike_at(moment, going.start)
    told = house.pullet.once().results["app"]
    assert struck and not meddler.faults, meddler.faults
    going.join()
    house.engine.start()
    finish(house, second, told)


@pytest.mark.parametrize("moment", moments((DOWN, WON)), ids=str)
def test_killed(house, between, moment):
    meddler, second = between()

    def kill():
        house.engine.kill9()
        house.engine.start()

    struck = meddler.strike_at(moment, kill)
    told = house.pullet.once().results["app"]
    assert struck and not meddler.faults, meddler.faults
    finish(house, second, told)


@pytest.mark.parametrize("moment", moments((DOWN, WON)), ids=str)
def test_upgraded(house, between, moment):
    """It rejects the old API version: the pass fails without rejecting the digest, and the next pass asks for the
    version again."""
    meddler, second = between(Upgraded)

    def upgrade():
        meddler.upgrade()
        return None if moment.done else (400, meddler.complain(Upgraded.OLD))

    struck = meddler.strike_at(moment, upgrade)
    result = house.pullet.once()
    told = result.results["app"]
    assert struck and not meddler.faults, meddler.faults
    if moment not in EVERY[-2:]:  # after the last call there is none to reject
        assert told["result"] == "failed" and "version 1.41 is too old" in told["reason"], result
    meddler.asked.clear()
    finish(house, second, told)
    assert set(meddler.asked) == {Upgraded.NEW}


def test_upgraded_between_two_passes(house, between):
    """A container that was created with the old version is found and recreated with the new one."""
    meddler, second = between(Upgraded)
    house.once("updated")
    meddler.upgrade()
    house.once("up-to-date")
    house.check(second)
    third = house.publish()
    house.once("updated")
    house.check(third, policy="always")
    assert set(meddler.asked) == {Upgraded.NEW}
