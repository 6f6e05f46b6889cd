# SPDX-License-Identifier: MIT
"""What the engine fixes at a start (log tags, the journal's CONTAINER_NAME) has the container's own name."""

import pytest

from pullet_house import UP
from pullet_image import actor

SICK = {"Test": ["CMD", "/actor", "exit", "1"], "Interval": 10**8, "Timeout": 10**9, "Retries": 1}


def last_start(house, identity):
    return [event["Actor"]["Attributes"]["name"] for event in house.engine.events(house.start)
            if event["Action"] == "start" and event["Actor"]["ID"] == identity][-1]


@pytest.mark.parametrize("script, check", [(("exit", 1), None), (("wait",), SICK)], ids=["exits", "sick"])
def test_after_a_rollback_the_old_one_was_started_under_its_name(house, script, check):  # case 16a
    first, before = house.up()
    house.publish(*script, config={"Healthcheck": check} if check else {})
    house.once("rolled-back")
    house.check(first, policy="always")
    assert last_start(house, before["Id"]) == "app"
    assert house.most_running(house.start) == 1


def test_the_image_is_written_as_the_operator_wrote_it(house):
    """docker run REGISTRY/app, and image = REGISTRY/app:latest: the log tag {{.ImageName}} and docker ps show it."""
    name = house.registry.ref(house.repository)
    house.registry.publish(house.repository, "latest", actor("wait"))
    house.engine.pull(name + ":latest")
    log = {"Type": "json-file", "Config": {"tag": "{{.ImageName}}"}}
    house.engine.run("app", name, HostConfig={"LogConfig": log})
    house.configure(image=name + ":latest")
    new = house.registry.publish(house.repository, "latest", actor("say", "new", "wait"))
    house.once("updated")
    assert house.check(new)["Config"]["Image"] == name
    # One that pins what ran before does not stay.
    house.engine.remove_container("app")
    house.engine.run("app", f"{name}:latest@{new.digest}")
    newer = house.registry.publish(house.repository, "latest", actor("say", "newer", "wait"))
    house.once("updated")
    assert house.check(newer)["Config"]["Image"] == name + ":latest"


def test_a_name_that_is_taken_leaves_nothing_down(house):
    """Somebody made app.next while the new one was on trial."""
    first, before = house.up()
    house.configure(create=UP, health_period="30s")
    house.publish("sleep", 1000, "exit", 1)
    process = house.pullet.spawn("--once", "--json")
    try:
        house.engine.wait("app", lambda now: now["Id"] != before["Id"] and now["State"]["Running"])
        house.engine.create("app.next", house.image)
        assert process.wait(120) == 1
    finally:
        house.pullet.kill9(process)
    house.engine.call("DELETE", "/containers/app.next")
    house.check(first, policy="always")
