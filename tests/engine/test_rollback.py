# SPDX-License-Identifier: MIT
"""A digest that does not work is rolled back and rejected, and the next one is taken."""

import pytest

from conftest import ONE_SHOT, UP
from pullet_image import Image, program

SICK = {"Test": ["CMD", "/actor", "exit", "1"], "Interval": 10**8, "Timeout": 10**9, "Retries": 1}


def garbage():
    return Image({"actor": b"\x7fNOT a program\n" * 8}, {"Cmd": ["/actor"]})


BAD = {
    "exits at once": dict(script=("exit", 3), reason="3"),
    "exits 0 but must stay up": dict(script=("exit", 0), reason="exit"),
    "exits after 1 s": dict(script=("sleep", 1000, "exit", 4), reason="4"),
    "unhealthy": dict(script=("wait",), config={"Healthcheck": SICK}, reason="health"),
    "no program": dict(images=garbage(), reason="exec format error"),
    "no such command": dict(images=Image({"actor": program()}, {"Cmd": ["/nothing"]}),
                            reason="/nothing"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_version(house, kind):
    first, _ = house.up()
    if "after" in kind:
        house.configure(create=UP, health_period="4s")
    case = dict(BAD[kind])
    reason, script = case.pop("reason"), case.pop("script", ())
    second = house.publish(*script, **case)

    entry = house.once("rolled-back")
    assert (entry["from"], entry["to"]) == (first.digest, second.digest)
    assert reason in entry["reason"], entry
    assert entry["downtime_ms"] is None or entry["downtime_ms"] >= 0
    before = house.check(first, policy="always")
    assert house.engine.tags()[house.image] == before["Image"]
    assert house.most_running(house.start) == 1

    # It is not tried again: one request, the same reason, nothing is touched or written.
    house.once("refused")
    snapshot, mark = house.pullet.state_snapshot(), house.registry.mark()
    entry = house.once("refused")
    assert reason in entry["reason"] and entry["to"] == second.digest
    assert [r.method for r in house.registry.requests(mark)] == ["HEAD"]
    assert house.pullet.state_snapshot() == snapshot
    house.untouched(before)

    third = house.publish()
    house.once("updated")
    house.check(third, policy="always")


def test_the_image_of_a_bad_version_is_removed(house):
    house.up()
    house.publish("exit", 1)
    images = len(house.engine.call("GET", "/images/json?all=1"))
    house.once("rolled-back")
    assert len(house.engine.call("GET", "/images/json?all=1")) == images


def test_tag_moved_back_after_a_rollback_is_up_to_date(house):
    first, _ = house.up()
    house.publish("exit", 1)
    house.once("rolled-back")
    before = house.engine.inspect("app")
    house.registry.point(first)
    house.once("up-to-date")
    house.untouched(before)


def test_adopted_container_comes_back_as_it_was(house):
    first, before = house.adopt(HostConfig={"RestartPolicy": {"Name": "unless-stopped"}})
    house.configure()
    house.publish("exit", 1)
    house.once("rolled-back")
    after = house.check(first, policy="unless-stopped")
    assert after["Id"] == before["Id"]
    assert after["Config"] == before["Config"]


def test_one_shot_that_fails_leaves_the_old_one_as_it_was(house):
    first = house.publish("exit", 0)
    house.configure(create=ONE_SHOT)
    house.once("updated")
    before = house.engine.inspect("app")
    house.publish("exit", 5)
    house.once("rolled-back", reason="5")
    after = house.check(first, state="exited")
    assert after["Id"] == before["Id"]
    assert after["State"]["StartedAt"] == before["State"]["StartedAt"]  # did not run again


def test_first_container_that_fails_is_rolled_back_to_none(house):
    house.publish("exit", 9)
    house.configure(create=UP)
    house.once("rolled-back", reason="9")
    assert house.engine.containers() == {}
    house.once("refused")
    second = house.publish()
    house.once("updated")
    house.check(second)


@pytest.mark.parametrize("health, script, want", [
    ("exit", ("sleep", 300), "updated"),
    ("exit", ("exit", 2), "rolled-back"),
    ("exit", ("wait",), "rolled-back"),
    ("running", ("wait",), "updated"),
    ("running", ("exit", 0), "rolled-back"),
    ("healthcheck", ("wait",), "rolled-back"),  # it has none
])
def test_kinds_of_health(house, health, script, want):
    first = house.publish("wait")
    house.configure(create=ONE_SHOT)
    house.once("updated")
    second = house.publish(*script)
    period = "30s" if "sleep" in script else "700ms"
    house.configure(create=ONE_SHOT, health=health, health_period=period)
    house.once(want)
    ended = (want, health) == ("updated", "exit")
    house.check(second if want == "updated" else first, state="exited" if ended else "running")


def test_stop_timeout_of_a_stubborn_container(house):
    _, before = house.adopt(house.publish("stubborn"), StopTimeout=600)
    house.configure(stop_timeout="1s")
    second = house.publish()
    house.once("updated")
    assert house.check(second)["Id"] != before["Id"]
