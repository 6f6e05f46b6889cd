# SPDX-License-Identifier: MIT
"""What the operator chose when the container was created, also where inspect does not repeat it."""

import pytest

from pullet_image import actor, host_platform

MINE, OTHER = host_platform(), "linux/386"
ALWAYS = {"Name": "always"}


def both(version, *platforms):
    return [actor("say", version, "wait", platform=platform,
                  Labels={"version": version, "platform": platform})
            for platform in platforms or (MINE, OTHER)]


def pull_other(house, reference=None, platform=OTHER):
    reference = reference or house.image
    house.engine.call("POST", f"/images/create?fromImage={reference}&platform={platform}")


def platform_of(house):
    return house.engine.inspect("app")["Config"]["Labels"]["platform"]


def run_other(house):
    """docker run --platform linux/386"""
    pull_other(house)
    answer = house.engine.call("POST", f"/containers/create?name=app&platform={OTHER}",
                               {"Image": house.image, "HostConfig": {"RestartPolicy": ALWAYS, "NetworkMode": "none"}})
    house.engine.call("POST", f"/containers/{answer['Id']}/start")
    house.configure()


def test_docker_run_platform_keeps_its_platform(house):  # case 4
    house.publish(images=both("1"))
    run_other(house)
    assert platform_of(house) == OTHER
    for version in ("2", "3"):  # the second by the record, which needs no look at the old index
        second = house.publish(images=both(version))
        house.once("updated")
        house.check(second, policy="always")
        assert platform_of(house) == OTHER
    house.once("up-to-date")
    house.publish("exit", 1, images=[actor("exit", 1, platform=platform) for platform in (MINE, OTHER)])
    house.once("rolled-back")
    assert platform_of(house) == OTHER
    assert house.pullet.record("app")["platform"] == OTHER


def test_a_platform_that_is_gone_from_the_index_is_refused_before_a_download(house):
    house.publish(images=both("1"))
    run_other(house)
    before = house.engine.inspect("app")
    house.publish(images=both("2", MINE), index=True)
    house.once("refused", "--platform linux/386")
    house.untouched(before)


def test_an_image_that_had_one_platform_only_is_no_choice(house):
    """The publisher adds the machine's own platform, as many did for 64-bit Pis."""
    house.publish(images=both("1", OTHER))
    run_other(house)
    second = house.publish(images=both("2"))
    house.once("updated")
    house.check(second, policy="always")
    assert platform_of(house) == MINE


def test_another_platform_of_the_new_index_was_pulled_by_hand(house):  # case 22
    house.adopt(house.publish(images=both("1")), HostConfig={"RestartPolicy": ALWAYS})
    house.configure()
    before = house.engine.inspect("app")
    second = house.publish(images=both("2"))
    pull_other(house)
    pinned = house.image.rsplit(":", 1)[0] + "@" + second.digest
    if house.engine.call("GET", f"/images/{pinned}/json")["Id"] != second.digest:  # a graph driver
        house.once("refused", "docker rmi " + pinned)
        house.untouched(before)
        house.engine.call("DELETE", f"/images/{pinned}")
    house.once("updated")
    house.check(second, policy="always")
    assert platform_of(house) == MINE


def test_the_machines_platform_is_here_where_another_was_chosen(house):
    """docker pull without --platform, as a cron job does."""
    house.publish(images=both("1"))
    run_other(house)
    second = house.publish(images=both("2"))
    house.engine.pull(house.image)
    pinned = house.image.rsplit(":", 1)[0] + "@" + second.digest
    if house.engine.call("GET", f"/images/{pinned}/json")["Id"] != second.digest:
        house.once("refused", "docker rmi " + pinned)
        house.engine.call("DELETE", f"/images/{pinned}")
    house.once("updated")
    assert platform_of(house) == OTHER
