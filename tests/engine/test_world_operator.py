# SPDX-License-Identifier: MIT
"""An operator acts at chosen moments of an update: Pullet leaves nothing behind, the digest is not rejected,
containers that the operator created or stopped are left alone, and in the end one runs. PULLET_EVERY_MOMENT=1: at
every moment."""

import itertools

import pytest

from conftest import UP
from pullet_meddler import (
    ASIDE, CHANGES, CLEANING, CUT, DOWN, MADE, ON_TRIAL, PULLING, TAGGED, WON, Meddler, moments)


class Operator:
    """Does what `docker` would do; a missing container is no error."""

    def __init__(self, engine, image):
        self.engine, self.image = engine, image

    def _post(self, path, body=None):
        self.engine.request("POST", path, body)

    def stop(self):
        self._post("/containers/app/stop")

    def restart(self):
        self._post("/containers/app/restart")

    def pause(self):
        self._post("/containers/app/pause")

    def rename(self):
        self._post("/containers/app/rename?name=mine")

    def remove(self):
        self.engine.request("DELETE", "/containers/app?force=1")

    def remove_all(self):
        for name in ("app", "app.next", "app.prev"):
            self.engine.request("DELETE", f"/containers/{name}?force=1")

    def recreate(self):
        self.remove()
        self._post("/containers/create?name=app", {
            "Image": self.image, "Labels": {"mine": "yes"}, **UP})
        self._post("/containers/app/start")

    def move_out(self):
        """Runs the same image under another name."""
        self.remove_all()
        self._post("/containers/create?name=mine", {"Image": self.image, **UP})
        self._post("/containers/mine/start")

    def start_old(self):
        self._post("/containers/app.prev/start")

    def prune(self):
        self._post("/containers/prune")
        self._post('/images/prune?filters={"dangling":{"false":true}}')
        self._post("/networks/prune")
        self._post("/volumes/prune")


FEW = {
    "stop": (MADE, ON_TRIAL, WON), "restart": (ON_TRIAL,), "pause": (MADE, ON_TRIAL),
    "rename": (PULLING, ON_TRIAL), "remove": (MADE, DOWN, ON_TRIAL, WON), "remove_all": (ASIDE,),
    "recreate": (DOWN, ON_TRIAL), "move_out": (TAGGED,), "start_old": (ON_TRIAL,),
    "prune": (MADE, DOWN, CLEANING),
}
TRIALS = [(deed, moment) for deed, few in FEW.items() for moment in moments(few)]


@pytest.fixture
def meddler(house):
    meddler = Meddler(house.pullet.directory / "docker.sock", house.engine)
    yield meddler
    meddler.stop()


def test_changes_are_those(house, meddler):
    """The changes that the moments refer to."""
    house.up()
    house.configure(agent=meddler.agent)
    house.publish()
    house.once("updated")
    assert tuple(meddler.changes()) == CHANGES


@pytest.mark.parametrize("deed, moment", TRIALS, ids=str)
def test_operator(house, meddler, deed, moment):
    engine = house.engine
    first, _ = house.up()
    second = house.publish()
    house.configure(create=UP, agent=meddler.agent, health_period="300ms")
    struck = meddler.strike_at(moment, getattr(Operator(engine, house.image), deed))
    told = [house.pullet.once().results["app"] for _ in range(2)]
    assert struck and not meddler.faults, meddler.faults
    state = engine.containers()["app"]
    if deed in ("stop", "pause") and state != "running":
        assert state == {"stop": "exited", "pause": "paused"}[deed], state
        engine.call("POST", f"/containers/app/{'start' if deed == 'stop' else 'unpause'}")
        told.append(house.pullet.once().results["app"])

    if told[-1]["result"] == "refused":
        # With containerd's store a prune also removes the image of a container whose tag has moved.
        assert deed == "prune" and engine.kind.containerd_store, told
        assert "image" in told[-1]["reason"] and "no longer readable" in told[-1]["reason"]
        house.check(first, policy="always")
        return

    # A reason whenever the update was not made, and one that fits every moment.
    for entry in told:
        assert entry["reason"] or entry["result"] in ("updated", "up-to-date"), told
        assert entry["result"] in ("updated", "up-to-date", "deferred", "failed"), told
    assert told[-1]["result"] in ("updated", "up-to-date"), told
    inspect = house.check(second, policy="always")
    record = house.pullet.record("app")
    assert (record["phase"], record["rejected"]) == ("idle", []), told
    others = {name: state for name, state in engine.containers().items() if name != "app"}
    if deed == "recreate":
        assert inspect["Config"]["Labels"].get("mine") == "yes", told
    if deed == "move_out":
        assert others == {"mine": "running"}
    elif deed != "rename":
        assert others == {}
    elif others:  # before any decision the name was free, and the container is the operator's
        assert others == {"mine": "running"} and moment.change <= 4, (others, told)
    if deed not in ("recreate", "rename", "start_old", "restart"):  # the operator may start two
        assert house.most_running(house.start) == 1


def test_stopped_on_trial_and_again(house, meddler):
    """An operator stops each new container: the old one runs, and a later pass tries again."""
    first, _ = house.up()
    second = house.publish()
    house.configure(create=UP, agent=meddler.agent, health_period="10s")
    trials = itertools.count(1)

    def strike(call):
        if call.done and str(call) == "POST /containers/ID/start" and next(trials) in (1, 3):
            house.engine.call("POST", "/containers/app/stop")  # 2 and 4 are the old one

    meddler.strike = strike
    house.once("failed", reason="was stopped externally")
    house.check(first, policy="always")
    assert house.pullet.record("app")["rejected"] == []
    house.configure(create=UP, health_period="300ms")
    house.once("updated")
    house.check(second, policy="always")


def test_stopped_while_no_pass_ran(house, meddler):
    """Each start is counted, its answer is lost, and an operator stops the container before the next pass."""
    first, _ = house.up()
    house.publish()
    house.configure(create=UP, agent=meddler.agent, health_period="10s")

    def strike(call):
        if call.done and str(call) == "POST /containers/ID/start" and house.engine.inspect("app.prev"):
            house.engine.call("POST", "/containers/app/stop")
            return CUT
        return None

    meddler.strike = strike
    for _ in range(3):
        house.once("failed")
        assert house.pullet.record("app")["phase"] == "trial"
    meddler.strike = lambda call: None
    house.pullet.once(timeout=60)
    assert house.pullet.record("app")["rejected"] == []
