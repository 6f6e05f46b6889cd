# SPDX-License-Identifier: MIT
"""Others work on the same engine, and worked on it before Pullet came: what they made can be gone back to, and none of
what they do blocks the machine."""

import pathlib
import shutil

import pytest

from conftest import UP
from pullet_meddler import MADE, ON_TRIAL, WON, Meddler


def order(house, what, want, reason=None):
    """-> the result of the operation, which must be want."""
    entry = house.pullet.order(what)[-1]
    assert entry["result"] == want, entry
    assert not reason or reason in (entry["reason"] or ""), entry
    return entry


def undo(house, first, second, digest):
    """The first update can be rolled back by hand, and what was rolled back is not taken again."""
    before = house.engine.inspect("app")
    entry = house.once("updated")
    assert (entry["from"], entry["to"]) == (digest, second.digest)
    house.check(second)
    entry = order(house, "rollback", "updated", "by the operator")
    assert (entry["from"], entry["to"]) == (second.digest, digest)
    after = house.check(first, policy="always")
    assert after["Image"] == before["Image"] and after["Config"]["Image"] == before["Config"]["Image"]
    house.once("refused", reason="by the operator")
    third = house.publish()
    assert house.once("updated")["from"] == digest
    house.check(third)
    order(house, "rollback", "updated")
    house.check(first)
    rejected = [entry["digest"] for entry in house.pullet.record("app")["rejected"]]
    assert rejected == [second.digest, third.digest]


# operator-report 1
def test_the_first_update_after_adoption_is_undone(house):
    first, _ = house.adopt(HostConfig=UP["HostConfig"])
    house.configure()
    undo(house, first, house.publish(), first.digest)


# operator-report 1: how cards are provisioned
def test_the_image_came_by_docker_load(house):
    first = house.publish()
    house.engine.pull(house.image)
    archive = house.lab.path("image.tar")
    house.engine.docker("save", "-o", str(archive), house.image)
    house.engine.clear()
    house.engine.docker("load", "-i", str(archive))
    house.engine.run("app", house.image, **UP)
    house.configure()
    listed = house.engine.inspect_image(house.image)["RepoDigests"] or [None]
    undo(house, first, house.publish(), (listed[0] or "").rpartition("@")[2] or None)


def test_the_image_was_pulled_by_digest_and_named_otherwise(house):
    first = house.publish()
    pinned = f"{house.registry.ref(house.repository)}@{first.digest}"
    house.engine.pull(pinned)
    house.engine.docker("tag", pinned, "mine:latest")
    house.engine.run("app", "mine:latest", **UP)
    house.configure()
    second = house.publish()
    house.once("updated")
    assert order(house, "rollback", "updated")["to"] == first.digest
    house.check(first)
    house.once("refused", reason="by the operator")
    assert house.pullet.record("app")["rejected"][0]["digest"] == second.digest


def test_pullet_was_purged_and_comes_back(house):
    first, _ = house.up()
    second = house.publish()
    house.once("updated")
    shutil.rmtree(house.pullet.directory / "state")
    (house.pullet.directory / "state").mkdir()
    # The image that can be gone back to is known to the engine.
    assert order(house, "rollback", "updated")["to"] == first.digest
    house.check(first, policy="always")
    shutil.rmtree(house.pullet.directory / "state")
    (house.pullet.directory / "state").mkdir()
    third = house.publish()
    assert house.once("updated")["from"] == first.digest
    order(house, "rollback", "updated")
    house.check(first)
    assert second.digest != third.digest


def test_a_version_without_a_digest_and_a_key(house, tmp_path):
    """No signature can be checked of what has no digest."""
    house.adopt(HostConfig=UP["HostConfig"])
    house.configure()
    second = house.publish()
    house.once("updated")
    path = house.pullet.directory / "state" / "app.json"
    record = house.pullet.record("app")
    path.write_text(path.read_text().replace(f'"digest": "{record["previous"]["digest"]}"', '"digest": null'))
    assert house.pullet.record("app")["previous"]["digest"] is None
    house.configure(key=pathlib.Path(__file__).parent.parent / "data/cosign/keys/p256.pub")
    order(house, "rollback", "refused", "key= is set")
    house.check(second)


def test_an_operator_replaced_the_version_before_an_update(house):
    house.up()
    other = house.publish()
    house.engine.remove_container("app")
    house.adopt(other, HostConfig=UP["HostConfig"])
    house.publish()
    assert house.once("updated")["from"] is None
    assert order(house, "rollback", "updated")["to"] == other.digest
    house.check(other)


@pytest.fixture
def meddler(house):
    meddler = Meddler(house.pullet.directory / "docker.sock", house.engine)
    yield meddler
    meddler.stop()


def prune(house, containers=False):
    if containers:
        house.engine.request("POST", "/containers/prune")
    house.engine.request("POST", '/images/prune?filters={"dangling":{"false":true}}')


def meddle(house, meddler, moment, deed, **settings):
    """A second version is published, and one pass made in which the deed is done. -> (second, result)"""
    second = house.publish(*settings.pop("script", ()))
    house.configure(create=UP, agent=meddler.agent, **{"health_period": "300ms", **settings})
    struck = meddler.strike_at(moment, deed)
    told = house.pullet.once().results["app"]
    assert struck and not meddler.faults, (told, meddler.faults)
    house.configure(create=UP)
    return second, told


# case 21
@pytest.mark.parametrize("containers", [False, True], ids=["images", "system"])
@pytest.mark.parametrize("moment", [ON_TRIAL, WON], ids=str)
def test_a_prune_in_the_middle_of_a_trial(house, meddler, moment, containers):
    house.up()
    second, told = meddle(house, meddler, moment, lambda: prune(house, containers))
    assert told["result"] == "updated", told
    inspect = house.check(second, policy="always")
    assert house.engine.tags()[house.image] == inspect["Image"]
    third = house.publish()
    house.once("updated")
    house.check(third)


# case 21
def test_a_prune_in_a_trial_while_the_registry_is_away(house, meddler):
    """The local tag stays where it is, and the update ends; later the image that runs is pulled again."""
    house.up()

    def deed():
        prune(house)
        house.registry.stop()

    second, told = meddle(house, meddler, ON_TRIAL, deed)
    assert told["result"] == "updated", told
    house.check(second, policy="always")
    assert house.pullet.record("app")["phase"] == "idle"
    house.registry.start()
    house.once("up-to-date")
    third = house.publish()
    house.once("updated")
    house.check(third)


# case 21
def test_a_prune_in_the_trial_of_a_bad_version(house, meddler):
    first, _ = house.up()
    _, told = meddle(house, meddler, ON_TRIAL, lambda: prune(house), script=("exit", 3), health_period="1min")
    assert told["result"] == "rolled-back", told
    house.check(first, policy="always")
    third = house.publish()
    house.once("updated")
    house.check(third)


# case 28
def test_the_image_of_what_runs_was_removed_by_hand(house):
    """As containerd's store does when the tag is pulled by hand, and a prune of all images."""
    _, before = house.up()
    house.publish()
    house.engine.pull(house.image)
    prune(house)
    third = house.publish()
    house.once("updated")
    house.check(third)
    assert house.engine.inspect("app")["Id"] != before["Id"]


# case 25
@pytest.mark.parametrize("name", ["app.next", "app.prev"])
def test_a_container_of_others_has_a_name_that_is_needed(house, name):
    """It is told at each pass and by the poll, not only when there is news."""
    _, before = house.up()
    house.once("up-to-date")
    house.engine.run(name, house.image, **UP)
    for _ in range(2):
        house.once("failed", reason=f"a container named {name} is in the way")
    house.publish()
    house.once("failed", reason=f"a container named {name} is in the way")
    assert house.engine.inspect("app")["Id"] == before["Id"]
    house.engine.remove_container(name)
    house.once("updated")


# case 25
def test_compose_left_a_container_that_was_never_started(house):
    first, _ = house.up()
    house.once("up-to-date")
    house.engine.remove_container("app")
    house.engine.create("app", house.image, **UP)
    for _ in range(2):
        house.once("failed", reason="created and never started; docker start app")
    house.publish()
    house.once("failed", reason="created and never started")
    house.engine.call("POST", "/containers/app/start")
    house.once("updated")
    assert first.digest == house.pullet.record("app")["previous"]["digest"]


# case 25
def test_compose_started_what_was_being_prepared(house, meddler):
    house.up()
    second, told = meddle(house, meddler, MADE,
                          lambda: house.engine.request("POST", "/containers/app.next/start") and None)
    assert told["result"] == "updated", told
    house.check(second, policy="always")
    # One that is left of an update which was given up runs beside it: it is ours to remove.
    house.engine.run("app.next", house.image, Labels={"pullet.target": second.digest, "pullet.policy": "always"})
    house.once("up-to-date")
    house.check(second, policy="always")


# cases 26, 27
@pytest.mark.parametrize("option, settings", [
    ("--umask", {"umask": "0077"}), ("--timeout", {"timeout": 3600}),
    ("--secret", {"secrets": [{"Source": "tok", "Target": "tok", "Mode": 0o444}]}),
    ("--health-on-failure", {"healthconfig": {"Test": ["CMD", "/actor", "exit", "0"], "Interval": 3600 * 10**9},
                             "health_check_on_failure_action": 3}),
    ("--log-opt", {"log_configuration": {"driver": "k8s-file", "size": 10**6}}),
    ("--pod", {"pod": "mypod"})], ids=lambda value: value if isinstance(value, str) else "")
def test_podman_can_do_what_docker_s_api_cannot_say(house, option, settings):
    engine = house.engine
    if engine.kind.program != "podman":
        pytest.skip("for podman only")

    def libpod(method, path, body=None):
        return engine.request(method, "/v4.0.0/libpod" + path, body, versioned=False)

    house.publish()
    engine.pull(house.image)
    libpod("POST", "/secrets/create?name=tok", {"password": "x"})
    libpod("POST", "/pods/create", {"name": "mypod", "no_infra": True})
    made = libpod("POST", "/containers/create", {"name": "app", "image": house.image, **settings})
    assert made[0] == 201, made
    engine.call("POST", "/containers/app/start")
    before = engine.inspect("app")
    house.configure()
    house.publish()
    mark = house.registry.mark()
    house.once("refused", reason=f"podman's {option}, which Docker's API cannot say")
    house.untouched(before)
    assert not [r for r in house.registry.requests(mark) if "/blobs/" in r.path and r.size > 4000]
    engine.remove_container("app")
    libpod("DELETE", "/pods/mypod?force=true")
    libpod("DELETE", "/secrets/tok")
