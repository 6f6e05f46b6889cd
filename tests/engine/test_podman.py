# SPDX-License-Identifier: MIT
"""Differences of podman's Docker-compatible socket. These tests run only with podman."""

import pytest

from conftest import UP
from pullet_sweep import wait_for

CHECK = {"Test": ["CMD", "/actor", "exit", "0"], "Interval": 3600 * 10**9, "Retries": 1}
SICK = {**CHECK, "Test": ["CMD", "/actor", "exit", "1"]}


@pytest.fixture(autouse=True)
def only_podman(engine):
    if engine.kind.program != "podman":
        pytest.skip("for podman only")


def check_now(house, container):
    """Runs a health check, as systemd does at each interval on a machine with systemd."""
    house.engine.call("GET", f"/v4.0.0/libpod/containers/{container}/healthcheck", versioned=False)


@pytest.mark.parametrize("check, want", [(CHECK, "updated"), (SICK, "rolled-back")],
                         ids=["healthy", "unhealthy"])
def test_health_is_what_podman_says(house, check, want):
    """podman keeps a HEALTHCHECK in images of docker's format, not in OCI's."""
    first, _ = house.up()
    house.configure(create=UP, health_period="10min")
    second = house.publish("wait", media="docker", config={"Healthcheck": check})
    process = house.pullet.spawn("--once", "--json")
    try:
        wait_for("the new one", lambda: house.engine.containers() == {
            "app": "running", "app.prev": "exited"})
        check_now(house, "app")
        assert process.wait(120) == (want != "updated")  # at once, not after the whole period
    finally:
        house.pullet.kill9(process)
    house.check(second if want == "updated" else first, policy="always")


def test_never_checked_is_not_healthy(house):
    """Without systemd the check does not run, and the new container must not be trusted."""
    first, _ = house.up()
    check = {**CHECK, "Interval": 10**8, "Timeout": 10**9}
    house.publish("wait", media="docker", config={"Healthcheck": check})
    house.once("rolled-back", reason="health")
    house.check(first, policy="always")


def test_what_podman_fills_in_does_not_stay(house):
    """Successors get the defaults of the new image and their own host name."""
    house.adopt(house.publish(config={"WorkingDir": "/one"}), Env=["MINE=1"])
    house.configure()
    second = house.publish(config={"StopSignal": "SIGINT", "Env": ["HOME=/new", "PATH=/new"]})
    house.once("updated")
    house.check(second)
    config = house.engine.call("GET", "/containers/app/json")["Config"]
    environment = dict(variable.split("=", 1) for variable in config["Env"])
    assert environment["HOSTNAME"] == config["Hostname"] == house.engine.inspect("app")["Id"][:12]
    assert environment["HOME"] == environment["PATH"] == "/new" and environment["MINE"] == "1"
    assert (config["WorkingDir"], config["StopSignal"]) == ("/", "2")
