# SPDX-License-Identifier: MIT
"""What is told is true: what the record and the operations say follows what is so now. operator-report 2, 3, 13, 16, 24;
field-reports 19."""

import os
import stat

import pytest

from conftest import UP, window
from pullet_image import actor


def last_error(house):
    return house.pullet.record("app")["last_error"]


def poll(house, want, reason=""):
    house.once(want, reason=reason or None)
    return last_error(house)


# operator-report 2
def test_the_tag_came_back_while_updates_were_held(house):
    house.up()
    house.once("up-to-date")
    house.registry.stop()
    assert poll(house, "failed")
    house.configure(create=UP, hold="yes")
    assert poll(house, "deferred", "hold = yes") is None


def test_the_registry_came_back_with_an_image_that_must_wait(house):
    house.up()
    house.once("up-to-date")
    house.registry.stop()
    assert poll(house, "failed")
    house.registry.start()
    house.publish()
    house.configure(create=UP, min_age="1h")
    assert poll(house, "deferred", "min-age") is None


def test_a_rejected_image_is_the_error_again_after_the_registry_was_away(house):
    house.up()
    house.publish("exit", 3)
    house.once("rolled-back")
    rejection = last_error(house)
    house.registry.stop()
    assert poll(house, "failed") != rejection
    house.registry.start()
    assert poll(house, "refused", rejection) == rejection


def check(house, want, reason, status=None):
    """What an update would answer, and nothing is done for it: no layer comes, no container changes."""
    mark, containers = house.registry.mark(), house.engine.containers()
    entry = house.pullet.order("check")[-1]
    assert entry["result"] == want and reason in (entry["reason"] or ""), entry
    assert house.engine.containers() == containers
    assert not [r for r in house.registry.requests(mark) if "/blobs/" in r.path and r.size > 2000]
    return entry


def published(house, **options):
    """A version with a layer that is worth counting."""
    return house.publish(images=actor("wait", files={"fat": bytes(range(256)) * 1000}, **options), index=False)


# operator-report 13, field-reports 19
@pytest.mark.parametrize("script, words", [
    (("cry", "giving up: no database", "say", "starting web v3"), "giving up: no database"),
    (("cry", "deprecated option", "sleep", 1000, "say", "FATAL: no database"), "FATAL: no database"),
    (("say", "größer als erlaubt: 20 €", "say", "", "cry", "  "), "größer als erlaubt: 20 €"),
    (("say", "a\x1b[2Jb\u202ec"), "a?[2Jb???c")])
def test_the_last_words_of_a_version_that_gave_up(house, script, words):
    house.up()
    house.configure(create=UP, health_period="30s")
    house.publish(*script, "exit", 3)
    house.once("rolled-back", reason="; last log line: " + words)
    record = house.pullet.record("app")
    assert record["last_error"].endswith("last log line: " + words)
    assert record["rejected"][-1]["reason"] == record["last_error"]


def test_the_last_words_are_those_of_the_one_that_gave_up(house):
    """A container that depends on the new version, not the new version itself."""
    house.up()
    house.publish(
        "say", "no database", "exit", 3, repository=house.repository + "/side")
    side = house.image.replace(":stable", "/side:stable")
    house.engine.pull(side)
    house.engine.run("side", side, HostConfig={"NetworkMode": "container:app", "RestartPolicy": {"Name": "always"}})
    house.publish()
    house.once("rolled-back", reason="container side, which depends on it, did not stay up; last log line: no database")


def test_last_words_that_are_cut_within_a_character(house):
    """The record is written all the same, and the old one runs."""
    first, _ = house.up()
    house.publish("say", "x" + "€" * 300, "exit", 3)
    reason = house.once("rolled-back", reason="last log line: x€")["reason"]
    assert reason.endswith("€") and house.pullet.record("app")["last_error"] == reason
    house.check(first)


# operator-report 16
def test_check_of_a_container_that_removes_itself(house):
    house.adopt(HostConfig={"NetworkMode": "none", "AutoRemove": True})
    house.configure()
    published(house)
    entry = check(house, "refused", "--rm")
    assert house.once("refused")["reason"] == entry["reason"]


def test_check_of_a_container_that_was_stopped(house):
    house.up()
    house.engine.call("POST", "/containers/app/stop?t=0")
    published(house)
    entry = check(house, "deferred", "stopped")
    assert house.once("deferred")["reason"] == entry["reason"]


def test_check_of_an_image_for_another_machine(house):
    house.up()
    published(house, platform="linux/s390x")
    assert check(house, "refused", "the image is for linux/s390x")
    house.once("refused", reason="the image is for linux/s390x")


def test_check_while_another_container_has_the_name_of_the_next_one(house):
    house.up()
    house.engine.create("app.next", house.image)
    published(house)
    entry = check(house, "failed", "app.next")
    assert house.once("failed")["reason"] == entry["reason"]
    house.engine.call("DELETE", "/containers/app.next")
    check(house, "deferred", "there is an update; only a check was asked for")


def test_check_of_a_container_whose_device_was_unplugged(house):
    node = house.lab.path(f"ttyUSB{house.number}")
    os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    house.adopt(HostConfig={**UP["HostConfig"], "Devices": [
        {"PathOnHost": str(node), "PathInContainer": "/dev/thing", "CgroupPermissions": "rwm"}]})
    house.configure()
    house.once("up-to-date")
    published(house)
    node.unlink()
    entry = check(house, "deferred", f"there is an update; {node} is not there")
    assert entry["reason"].endswith(house.once("deferred")["reason"])


def test_check_outside_a_window_and_of_a_held_container(house):
    house.up()
    published(house)
    house.configure(create=UP, window=window(6, 7))
    check(house, "deferred", "there is an update; outside its window")
    house.configure(create=UP, download_window=window(6, 7))
    check(house, "deferred", "outside its download-window")
    house.configure(create=UP, hold="yes")
    check(house, "deferred", "there is an update; hold = yes")
    house.configure(create=UP)
    check(house, "deferred", "only a check was asked for")
    house.once("updated")


# operator-report 3.4
def test_an_image_that_was_built_here(house):
    """No registry can ever have it, whatever that registry says."""
    house.adopt()
    local = house.registry.ref(f"{house.repository}-local:latest")
    house.engine.docker("commit", "app", local)
    house.engine.remove_container("app")
    house.engine.run("app", local)
    house.configure(image=local)
    house.once("failed", "the image that runs came from no registry: it was built or loaded here")
