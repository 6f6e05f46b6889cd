# SPDX-License-Identifier: MIT
"""A container that is down is left alone only if an operator stopped it; one that has failed gets its fix, or is told
as failed."""

import os
import signal
import stat
import subprocess

import pytest

from pullet_sweep import wait_for

UNLESS = {"HostConfig": {"NetworkMode": "none", "RestartPolicy": {"Name": "unless-stopped"}}}
ALWAYS = {"HostConfig": {"NetworkMode": "none", "RestartPolicy": {"Name": "always"}}}


class Device:
    def __init__(self, house):
        self.path = house.lab.path(f"device-{house.number}")
        self.plug()
        self.body = {"HostConfig": {**UNLESS["HostConfig"], "Devices": [
            {"PathOnHost": str(self.path), "PathInContainer": "/dev/thing", "CgroupPermissions": "rwm"}]}}

    def plug(self):
        os.mknod(self.path, stat.S_IFCHR | 0o666, os.makedev(1, 3))

    def unplug(self):
        self.path.unlink()


@pytest.fixture
def without_its_device(house):
    """It was unplugged while the engine was down."""
    device = Device(house)
    house.adopt(**device.body)
    house.configure()
    house.once("up-to-date")
    house.engine.stop_daemon()
    device.unplug()
    house.engine.start()
    state = house.engine.wait("app", lambda now: not now["State"]["Running"])["State"]
    assert state["Error"], state
    return device


def test_an_unplugged_device_is_told_at_each_poll(house, without_its_device):  # case 5
    for _ in range(2):
        entry = house.once("failed", reason="the engine could not start it: ")
        assert str(without_its_device.path) in entry["reason"]
    before = house.pullet.state_snapshot()
    house.once("failed")
    assert house.pullet.state_snapshot() == before
    without_its_device.plug()
    house.engine.call("POST", "/containers/app/start")
    house.once("up-to-date")
    assert not house.pullet.record("app")["last_error"]


def test_a_container_that_lost_its_device_is_updated(house, without_its_device):  # case 5
    second = house.publish()
    without_its_device.plug()
    house.once("updated")
    house.check(second, policy="unless-stopped")


def test_an_app_that_removes_its_own_program_gets_its_fix(house):  # audit 5
    """The engine gives up to restart it."""
    house.adopt(house.publish("wait"), **ALWAYS)
    house.configure()
    house.once("up-to-date")
    state = house.engine.inspect("app")["State"]
    os.unlink(f"/proc/{state['Pid']}/root/actor")
    os.kill(state["Pid"], signal.SIGKILL)
    house.engine.wait("app", lambda now: now["State"]["Error"] and not now["State"]["Running"])
    house.once("failed", reason="the engine could not start it: ")
    second = house.publish()
    house.once("updated")
    house.check(second, policy="always")


def test_a_container_that_never_came_up_gets_its_fix(house):
    house.engine.pull((house.publish("wait"), house.image)[1])
    house.engine.create("app", house.image, **{**ALWAYS, "Entrypoint": ["/nothing"]})
    house.configure(health="running")
    assert house.engine.request("POST", "/containers/app/start")[0] >= 400
    house.once("failed", reason="/nothing")


@pytest.mark.parametrize("how", ["stop", "kill"])
@pytest.mark.parametrize("restarted", [False, True])
def test_a_container_that_somebody_stopped_is_left_alone(house, how, restarted):
    house.adopt(**UNLESS)
    house.configure()
    house.once("up-to-date")
    house.engine.call("POST", f"/containers/app/{how}")
    house.engine.wait("app", lambda now: not now["State"]["Running"])
    if restarted:
        house.engine.restart()
    before = house.engine.inspect("app")
    house.once("up-to-date")
    house.publish()
    house.once("deferred", reason="stopped by the operator")
    house.untouched(before)


@pytest.mark.parametrize("policy", ["no", "on-failure"])
def test_a_container_without_a_policy_to_run_that_somebody_stopped_is_left_alone(house, policy):
    """docker run without --restart, or a unit with docker start -a, and docker stop."""
    house.adopt(house.publish("stubborn"), StopTimeout=1,
                HostConfig={"NetworkMode": "none", "RestartPolicy": {"Name": policy}})
    house.configure()
    house.once("up-to-date")
    house.engine.call("POST", "/containers/app/stop")
    before = house.engine.inspect("app")
    house.publish()
    house.once("deferred", reason="stopped by the operator")
    house.untouched(before)


def test_a_container_whose_restarts_are_over_is_told_and_gets_its_fix(house):
    """docker run --restart on-failure:1"""
    house.adopt(house.publish("exit", 3), HostConfig={
        "NetworkMode": "none", "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 1}})
    house.engine.wait("app", lambda now: now["State"]["Status"] == "exited" and now["RestartCount"] == 1)
    house.configure(health="running")
    for _ in range(2):
        house.once("failed", reason="it is down, and no operator stopped it: ")
    second = house.publish()
    house.once("updated")
    house.check(second, policy="on-failure")


def test_a_container_that_was_told_to_reload_and_failed_later_gets_its_fix(house):
    """logrotate says docker kill --signal HUP. Later the container ends by itself, and the engine, which takes the
    signal for a stop, does not start it again."""
    house.adopt(house.publish("wait"), **ALWAYS)
    house.configure()
    house.once("up-to-date")
    pid = house.engine.inspect("app")["State"]["Pid"]
    house.engine.call("POST", "/containers/app/kill?signal=HUP")
    house.engine.call("POST", "/containers/app/kill?signal=USR1")
    assert house.engine.inspect("app")["State"]["Pid"] == pid
    os.kill(pid, signal.SIGKILL)
    house.engine.wait("app", lambda now: not now["State"]["Running"] and not now["State"]["Restarting"])
    house.once("failed", reason="no operator stopped it")
    second = house.publish()
    house.once("updated")
    house.check(second, policy="always")


def test_a_container_whose_removal_failed(house):
    """The engine calls it dead: it can neither be started nor updated."""
    house.adopt(**ALWAYS)
    house.configure()
    house.once("up-to-date")
    keep = house.engine.storage / "data/containers" / house.engine.inspect("app")["Id"] / "keep"
    keep.touch()
    subprocess.run(["chattr", "+i", keep], check=True)
    try:
        house.engine.request("DELETE", "/containers/app?force=1")
        assert house.engine.inspect("app")["State"]["Status"] == "dead"
        house.publish()
        house.once("failed", reason="its removal failed")
    finally:
        subprocess.run(["chattr", "-i", keep], check=True)


def test_a_crash_loop_that_somebody_stopped_is_left_alone(house):
    """docker stop between two restarts leaves the status of the crash behind."""
    house.adopt(house.publish("exit", 3), **ALWAYS)
    house.configure()
    wait_for("the third life", lambda: house.engine.inspect("app")["RestartCount"] >= 2)
    house.engine.call("POST", "/containers/app/stop")
    before = house.engine.wait("app", lambda now: now["State"]["Status"] == "exited")
    assert before["State"]["ExitCode"] == 3
    house.publish()
    house.once("deferred", reason="stopped by the operator")
    house.untouched(before)
