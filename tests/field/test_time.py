# SPDX-License-Identifier: MIT
"""A verdict never comes before the container could answer: by the times of its own HEALTHCHECK, and after the
restarts that its restart policy is there for."""

import os
import threading
import time

import pytest

from pullet_house import UP
from pullet_image import actor

S = 10**9
HEALTHY = {"Test": ["CMD", "/actor", "exit", "0"]}


def policy(name, most=0):
    return {"HostConfig": {"NetworkMode": "none",
                           "RestartPolicy": {"Name": name, "MaximumRetryCount": most}}}


def starts(house, version="2"):
    return sum(event["Action"] == "start" for event in house.engine.events(house.start)
               if event["Actor"]["Attributes"].get("version") == version)


def test_a_health_check_that_comes_after_the_health_period_is_waited_for(house):  # case 1
    house.up()
    second = house.publish("wait", config={"Healthcheck": {**HEALTHY, "Interval": 3 * S}})
    house.once("updated")
    assert house.check(second)["State"]["Health"]["Status"] == "healthy"


def test_the_operators_own_times_come_before_those_of_the_image(house):
    """docker run --health-interval: the image alone would have been healthy after two minutes."""
    body = {**UP, "Healthcheck": {"Interval": 2 * S}}
    first = house.publish("wait", config={"Healthcheck": {**HEALTHY, "Interval": 120 * S}})
    house.adopt(first, **body)
    house.configure()
    second = house.publish("wait", config={"Healthcheck": {**HEALTHY, "Interval": 120 * S}})
    house.once("updated")
    house.check(second)


@pytest.mark.parametrize("test", [["NONE"], []])
def test_a_health_check_that_was_switched_off_is_not_waited_for(house, test):
    house.adopt(**UP, Healthcheck={"Test": ["NONE"]})
    house.configure()
    second = house.publish("wait", config={"Healthcheck": {"Test": test, "StartPeriod": 3600 * S}})
    house.once("updated")
    house.check(second)


def test_failures_within_the_start_period_are_waited_out(house):
    house.up()
    check = {"Test": ["CMD", "/actor", "exists", "/ready"], "Interval": S // 2, "Retries": 1,
             "Timeout": S, "StartPeriod": 30 * S}
    second = house.publish("sleep", 2500, "touch", "/ready", "wait", config={"Healthcheck": check})
    house.once("updated")
    house.check(second)


def test_an_app_that_migrates_and_exits_is_started_again(house):  # case 10
    house.up()
    second = house.publish("first", "/migrated", "exit", 0, "wait")
    house.once("updated")
    house.check(second, policy="always")
    assert starts(house) == 2


@pytest.mark.parametrize("name, most, script, want, count", [
    ("unless-stopped", 0, ("first", "/a", "exit", 7, "first", "/b", "exit", 0), "updated", 3),
    ("on-failure", 0, ("first", "/a", "exit", 1), "updated", 2),
    ("on-failure", 1, ("first", "/a", "exit", 1, "first", "/b", "exit", 1), "rolled-back", 2),
    ("always", 0, ("exit", 1), "rolled-back", 3),
    ("no", 0, ("first", "/a", "exit", 1), "rolled-back", 1),
])
def test_restarts_are_granted_as_the_policy_grants_them(house, name, most, script, want, count):
    house.adopt(**policy(name, most))
    house.configure()
    second = house.publish(*script, "wait")
    house.once(want)
    assert starts(house) == count
    if want == "updated":
        house.check(second, policy=name)


def test_a_one_shot_that_succeeds_at_the_second_try(house):
    house.adopt(house.publish("exit", 0), **policy("on-failure"))
    house.configure(health="exit", health_period="5s")
    second = house.publish("first", "/a", "exit", 1, "exit", 0)
    house.once("updated")
    house.check(second, state="exited")


def test_each_start_has_a_health_period_of_its_own(house):
    """It runs for less than the period each time."""
    house.up()
    house.configure(create=UP, health_period="2500ms")
    house.publish("sleep", 1000, "exit", 5)
    entry = house.once("rolled-back", reason="it exited with status 5; started 3 times")
    assert entry["downtime_ms"] >= 3000


def during_trial(house, act):
    """Runs a pass, and act once the new container is up on trial."""
    old = house.engine.inspect("app")["Id"]

    def meddle():
        house.engine.wait("app", lambda now: now["Id"] != old and now["State"]["Running"])
        act()

    thread = threading.Thread(target=meddle)
    thread.start()
    result = house.pullet.once()
    thread.join()
    return result.results["app"]


def test_a_container_that_is_stopped_on_trial_is_not_started_again(house):
    house.up(health_period="3s")
    house.configure(create=UP, health_period="3s")
    house.publish("wait")
    stopped = []

    def stop():
        if not stopped:
            stopped.append(house.engine.call("POST", "/containers/app/stop"))

    entry = during_trial(house, stop)
    # The second try of the same pass is left alone, and nothing was blamed.
    assert entry["result"] == "updated", entry
    assert house.pullet.record("app")["rejected"] == []


def test_a_restart_by_hand_within_the_trial_begins_the_time_anew(house):
    house.up()
    house.configure(create=UP, health_period="8s")
    second = house.publish("wait")
    restarted = []

    def restart():
        time.sleep(2)  # of the trial's time
        restarted.append(time.monotonic())
        house.engine.call("POST", "/containers/app/restart")

    entry = during_trial(house, restart)
    assert entry["result"] == "updated", entry
    assert time.monotonic() - restarted[0] > 7.5
    house.check(second)


def with_sidecar(house, *script):
    house.registry.publish(house.repository + "/side", "stable", actor(*script))
    side = house.registry.ref(house.repository + "/side:stable")
    house.engine.pull(side)
    house.adopt(HostConfig={"NetworkMode": "none", "IpcMode": "shareable", "RestartPolicy": {"Name": "always"}})
    house.engine.run("side", side, HostConfig={"NetworkMode": "none", "IpcMode": "container:app",
                                               "RestartPolicy": {"Name": "always"}})
    house.engine.wait("side", lambda now: now["State"]["Running"])
    house.configure(health_period="1500ms")


def ipc(house, name):
    return os.readlink(f"/proc/{house.engine.inspect(name)['State']['Pid']}/ns/ipc")


@pytest.mark.parametrize("exits, want", [(2, "updated"), (3, "rolled-back")])
def test_a_sidecar_that_exits_at_first_is_started_again(house, exits, want):
    with_sidecar(house, *[word for i in range(exits) for word in ("first", f"/{i}", "exit", "1")], "wait")
    second = house.publish("wait")
    entry = house.once(want)
    if want == "rolled-back":
        assert "container side, which depends on it, did not stay up" in entry["reason"]
    else:
        house.check(second)
        assert ipc(house, "side") == ipc(house, "app")


def test_a_sidecar_joins_a_container_that_was_started_again(house):
    with_sidecar(house, "wait")
    house.configure(health_period="4s")
    second = house.publish("first", "/a", "sleep", 700, "first", "/b", "exit", 0, "wait")
    house.once("updated")
    house.check(second)
    assert ipc(house, "side") == ipc(house, "app")
