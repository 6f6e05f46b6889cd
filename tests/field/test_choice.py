# SPDX-License-Identifier: MIT
"""What the operator chose when the container was created, also where inspect does not repeat it."""

import io
import tarfile
import time

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


def test_labels_of_an_image_lock_out_no_successor(house):  # audit 4a
    before = {"Labels": {"com.docker.swarm.service.id": "x", "com.docker.swarm.task.id": "y"}}
    house.publish()
    house.up()
    house.publish(config=before)
    house.once("updated")
    third = house.publish()
    house.once("updated")
    house.check(third)
    house.publish(config=before)
    house.once("updated")
    fifth = house.publish(config=before)
    house.once("updated")
    house.check(fifth)


def compose_copied(house, image_labels, **labels):
    """A container of compose with a secret in it."""
    house.adopt(house.publish(config={"Labels": image_labels}),
                Labels={"com.docker.compose.project": "p", "com.docker.compose.config-hash": "c", **labels})
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        entry = tarfile.TarInfo("secret")
        entry.size, entry.mode, entry.mtime = 2, 0o444, int(time.time())
        tar.addfile(entry, io.BytesIO(b"s\n"))
    house.engine.call("PUT", "/containers/app/archive?path=/", file.getvalue(),
                      headers={"Content-Type": "application/x-tar"})
    house.configure()


@pytest.mark.parametrize("labels", [
    {"pullet.target": "sha256:" + "1" * 64, "pullet.policy": "no"},
    {"com.docker.compose.version": "1.29"},
    {"com.docker.compose.project": "p", "com.docker.compose.version": "1.29"}], ids=["pullet", "compose", "built"])
def test_labels_of_an_image_switch_off_no_guard(house, labels):  # audit 13
    compose_copied(house, labels)
    before = house.engine.inspect("app")
    house.publish()
    house.once("refused", "/secret")
    house.untouched(before)


@pytest.mark.parametrize("lost", [False, True], ids=["", "record lost"])
def test_a_sidecar_of_the_same_image_gets_its_own_update(house, lost):  # case 20
    first = house.publish()
    house.adopt(first, HostConfig={"RestartPolicy": ALWAYS})
    house.engine.run("tail", house.image, HostConfig={"NetworkMode": "container:app", "RestartPolicy": ALWAYS})
    house.pullet.configure({name: {"image": house.image, "health-period": "300ms"} for name in ("app", "tail")})
    for _ in range(2):
        published = house.publish()
        assert house.pullet.once("app").results["app"]["result"] == "updated"
        label = house.engine.inspect("tail")["Config"]["Labels"].get("pullet.target")
        assert label != published.digest
        if lost:
            (house.pullet.state / "tail.json").unlink(missing_ok=True)
        assert house.pullet.once("tail").results["tail"]["result"] == "updated"
        house.check(published)
        house.check(published, "tail")
        assert {e["result"] for e in house.pullet.once().results.values()} == {"up-to-date"}


@pytest.mark.parametrize("key", [None, "copied"])
def test_files_that_the_application_unpacked_are_its_own(house, key):  # case 24
    """Archives have whole seconds: those of later versions are no sign, and the others can be declared."""
    house.adopt(Labels={"com.docker.compose.project": "p"})
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        entry = tarfile.TarInfo("data")
        entry.size, entry.mode, entry.mtime = 2, 0o644, int(time.time()) + (0 if key else 3600)
        tar.addfile(entry, io.BytesIO(b"s\n"))
    house.engine.call("PUT", "/containers/app/archive?path=/", file.getvalue(),
                      headers={"Content-Type": "application/x-tar"})
    house.configure()
    second = house.publish()
    if key:
        house.once("refused", "set copied = ignore")
        house.configure(copied="ignore")
    house.once("updated")
    house.check(second)
