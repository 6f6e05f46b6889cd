# SPDX-License-Identifier: MIT
"""Polls with and without a new image: up-to-date, updated, first containers, several containers."""

import os

import pytest

from conftest import ONE_SHOT, UP
from pullet_image import Image, actor, host_platform

OTHER = "linux/s390x"
KEEP = "localhost/pullet/previous"


def test_quiet_poll_costs_one_request_and_writes_nothing(house):
    _, before = house.up()
    house.once("up-to-date")
    snapshot, mark = house.pullet.state_snapshot(), house.registry.mark()
    entry = house.once("up-to-date")
    requests = house.registry.requests(mark)
    assert [(r.method, r.status) for r in requests] == [("HEAD", 200)], requests
    assert house.pullet.state_snapshot() == snapshot
    assert entry["from"] == entry["to"]
    house.untouched(before)


def test_long_running_container_is_replaced(house):
    first, before = house.up()
    second = house.publish()
    entry = house.once("updated")
    assert (entry["from"], entry["to"]) == (first.digest, second.digest)
    after = house.check(second, policy="always")
    assert after["Id"] != before["Id"]
    assert house.engine.logs("app") == "version 2\n"
    assert 0 <= entry["downtime_ms"] < 60000
    assert house.most_running(house.start) == 1
    house.once("up-to-date")


def test_adopted_container_is_replaced(house):
    house.adopt(HostConfig={"RestartPolicy": {"Name": "unless-stopped"}})
    house.configure()
    second = house.publish()
    house.once("updated")
    house.check(second, policy="unless-stopped")


def test_adopted_container_of_the_same_image_is_left_alone(house):
    _, before = house.adopt()
    house.configure()
    house.once("up-to-date")
    house.untouched(before)
    mark = house.registry.mark()
    house.once("up-to-date")
    assert [r.method for r in house.registry.requests(mark)] == ["HEAD"]


def test_one_shot_that_exits_0_is_updated(house):
    for version in (1, 2):
        published = house.publish("exit", 0)
        house.configure(create=ONE_SHOT)
        house.once("updated")
        house.check(published, state="exited")
        assert house.engine.logs("app") == f"version {version}\n"
    house.once("up-to-date")
    assert house.engine.logs("app") == "version 2\n"


def test_crash_looping_container_gets_its_fix(house):
    house.adopt(house.publish("exit", 1), HostConfig={"RestartPolicy": {"Name": "always"}})
    house.configure()
    second = house.publish()
    house.once("updated")
    house.check(second, policy="always")


def test_healthy_container_passes_by_its_own_check(house):
    check = {"Test": ["CMD", "/actor", "exit", "0"], "Interval": 10**8, "Timeout": 10**9,
             "Retries": 100}
    house.up(health_period="1s")
    house.configure(create=UP, health_period="10min")
    second = house.publish("wait", config={"Healthcheck": check})
    house.once("updated")  # as soon as it is healthy, not after the whole period
    assert house.check(second)["State"]["Health"]["Status"] == "healthy"


def test_create_makes_the_first_container(house):
    published = house.publish()
    house.configure(create={**UP, "Env": ["COLOUR=green"], "Hostname": "hen"})
    entry = house.once("updated")
    assert entry["from"] is None and entry["to"] == published.digest
    inspect = house.check(published, policy="always")
    assert "COLOUR=green" in inspect["Config"]["Env"]
    assert inspect["Config"]["Hostname"] == "hen"
    assert inspect["Config"]["Image"] == house.image
    assert inspect["Config"]["Labels"]["pullet.target"] == published.digest


def test_create_file_is_found_beside_the_configuration(house):
    house.publish()
    house.configure(create=UP)
    assert "create = app.create.json" in house.pullet.config.read_text()
    house.once("updated", cwd="/")


def test_missing_container_without_create_is_a_clear_failure(house):
    house.publish()
    house.configure()
    entry = house.once("failed", reason="create")
    assert "container" in entry["reason"]
    assert house.engine.containers() == {}


def test_broken_create_file_is_a_clear_failure(house):
    house.publish()
    house.configure(create="app.json")
    (house.pullet.directory / "app.json").write_text("{ not json")
    result = house.pullet.once()
    assert result.results["app"]["result"] in ("failed", "refused")
    assert "app.json" in result.results["app"]["reason"]
    assert house.engine.containers() == {}


def test_an_image_for_another_platform_restarts_nothing(house):
    script = ("say", "same", "wait")
    house.publish(images=[actor(*script), actor(*script, platform=OTHER)])
    house.configure(create=UP)
    house.once("updated")
    before = house.engine.inspect("app")
    second = house.publish(images=[actor(*script), actor("say", "new", platform=OTHER)])
    assert house.once("up-to-date")["to"] == second.digest
    house.untouched(before)
    mark, snapshot = house.registry.mark(), house.pullet.state_snapshot()
    house.once("up-to-date")
    assert [r.method for r in house.registry.requests(mark)] == ["HEAD"]
    assert house.pullet.state_snapshot() == snapshot


def test_index_without_this_platform_is_refused(house):
    _, before = house.up()
    house.publish(images=[actor("wait", platform=OTHER), actor("wait", platform="windows/amd64")])
    entry = house.once("refused")
    assert host_platform() in entry["reason"], entry
    house.untouched(before)


@pytest.mark.parametrize("media", ["oci", "docker"])
@pytest.mark.parametrize("index", [True, False], ids=["index", "manifest"])
def test_media_types(house, media, index):
    house.configure(create=UP)
    for _ in range(2):
        published = house.publish(media=media, index=index)
        assert house.once("updated")["to"] == published.digest
        house.check(published)
    house.once("up-to-date")


def test_pinned_reference(house):
    first = house.publish()
    house.publish()
    house.pullet.configure({"app": {"image": house.registry.ref(house.repository) + "@" + first.digest,
                                    "create": UP}})
    house.once("updated")
    house.check(first)
    mark = house.registry.mark()
    house.once("up-to-date")
    assert len(house.registry.requests(mark)) <= 1


def test_local_tag_moves_and_the_previous_image_is_kept(house):
    first, before = house.up()
    assert house.engine.tags()[house.image] == before["Image"]
    second = house.publish()
    house.once("updated")
    after = house.check(second)
    assert after["Config"]["Image"] == house.image
    tags = house.engine.tags()
    assert tags[house.image] == after["Image"]
    assert tags[f"{KEEP}:app"] == before["Image"]
    assert house.is_image(before, first)


def test_older_images_that_pullet_pulled_are_removed_and_no_others(house):
    _, by_hand = house.adopt()
    house.engine.call("POST", f"/images/{by_hand['Image']}/tag?repo=mine&tag=1")
    foreign = house.registry.publish("foreign", "stable", actor("exit", 7))
    house.engine.pull(house.registry.ref("foreign@" + foreign.digest))  # dangling: no tag
    house.configure()
    ids = [by_hand["Image"]]
    for _ in range(3):
        published = house.publish()
        house.once("updated")
        ids.append(house.check(published)["Image"])
    here = [house.engine.inspect_image(i) is not None for i in ids]
    assert here == [True, False, True, True], here
    assert house.engine.tags()[f"{KEEP}:app"] == ids[2]
    assert house.engine.inspect_image(house.registry.ref("foreign@" + foreign.digest))


def test_untagged_image_of_an_operator_is_not_removed(house):
    _, by_hand = house.adopt()  # the image loses its tag when the tag moves
    house.configure()
    for _ in range(3):
        house.publish()
        house.once("updated")
    assert house.engine.inspect_image(by_hand["Image"])


def test_several_containers_are_updated_one_after_the_other(house):
    names = ["one", "two", "three"]
    images = {n: house.registry.ref(f"{house.repository}-{n}:stable") for n in names}

    def publish():
        return {n: house.publish(repository=f"{house.repository}-{n}") for n in names}

    def configure(**periods):
        house.pullet.configure({n: {"image": images[n], "create": UP, "health-period": periods.get(n, "500ms")} for n in names})

    publish()
    configure()
    result = house.pullet.once()
    assert result.status == 0, result
    assert [r["result"] for r in result.results.values()] == ["updated"] * 3
    published = publish()
    published["two"] = house.publish("exit", 1, repository=f"{house.repository}-two")
    configure(two="1min")  # a busy engine is late to say that it ended
    result = house.pullet.once()
    assert result.status == 1, result
    assert list(result.results) == names  # in the order of the configuration
    words = [result.results[n]["result"] for n in names]
    assert words == ["updated", "rolled-back", "updated"]
    assert house.engine.running() == sorted(names)
    house.check(published["three"], name="three")
    result = house.pullet.once("three", "one")
    assert set(result.results) == {"one", "three"} and result.status == 0, result


def test_what_the_operator_set_is_kept(house, tmp_path):
    first = house.publish(config={"Env": ["IMAGE=1", "BOTH=image"], "WorkingDir": "/one",
                                  "Labels": {"of-image": "1"}})
    host = {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 4},
            "Binds": [f"{tmp_path}:/data:ro"], "Memory": 64 << 20, "CapDrop": ["NET_RAW"],
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
            "Tmpfs": {"/run": "size=1m"}, "ReadonlyRootfs": True}
    _, before = house.adopt(first, Env=["MINE=1", "BOTH=mine"], Labels={"mine": "yes"},
                            Hostname="coop", User="65534", StopTimeout=3, HostConfig=host)
    house.configure()
    second = house.publish(config={"Env": ["IMAGE=2", "BOTH=image"], "WorkingDir": "/two",
                                   "Labels": {"of-image": "2"}})
    house.once("updated")
    after = house.check(second, policy="on-failure")
    assert sorted(e for e in after["Config"]["Env"] if not e.startswith("PATH=")) == [
        "BOTH=mine", "IMAGE=2", "MINE=1"]
    assert after["Config"]["WorkingDir"] == "/two"
    assert after["Config"]["Labels"]["of-image"] == "2"
    assert after["Config"]["Labels"]["mine"] == "yes"
    for key in ("Hostname", "User", "StopTimeout"):
        assert after["Config"][key] == before["Config"][key], key
    for key in ("RestartPolicy", "Binds", "Memory", "CapDrop", "LogConfig", "Tmpfs",
                "ReadonlyRootfs", "NetworkMode"):
        assert after["HostConfig"][key] == before["HostConfig"][key], key


def test_anonymous_volume_goes_with_the_container(house):
    first = house.publish(config={"Volumes": {"/data": {}}})
    _, before = house.adopt(first)
    house.configure()
    second = house.publish(config={"Volumes": {"/data": {}}})
    house.once("updated")
    after = house.check(second)
    assert after["Mounts"][0]["Name"] == before["Mounts"][0]["Name"]


def test_drop_ins_are_read(house):
    published = house.publish()
    house.pullet.configure({})
    drop_ins = house.pullet.directory / "conf.d"
    drop_ins.mkdir()
    (drop_ins / "app.json").write_text('{"HostConfig": {"NetworkMode": "none"}}')
    (drop_ins / "app.conf").write_text(
        f"[container app]\nimage = {house.image}\ncreate = app.json\nhealth-period = 1s\n")
    house.once("updated")
    house.check(published)


def test_state_directory_is_made(house):
    assert not house.pullet.state.exists()
    house.up()
    assert (house.pullet.state / "app.json").is_file()
    assert next(iter(house.pullet.record("app"))) == "version"


def test_our_labels_on_an_image_are_not_ours(house):
    """An image can have any label; neither phase nor restart policy may be read from it."""
    labels = {"pullet.target": "sha256:" + "0" * 64, "pullet.policy": "always"}
    house.adopt(house.publish(config={"Labels": labels}),
                HostConfig={"NetworkMode": "none", "RestartPolicy": {"Name": "unless-stopped"}})
    house.configure()
    house.once("up-to-date")
    inspect = house.engine.inspect("app")
    assert inspect["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    published = house.publish()
    house.once("updated")
    house.check(published, policy="unless-stopped")


def test_one_image_behind_two_names(house):
    """Two repositories with the same image, two containers without records: the image that one of them pulled is not
    treated as incomplete for the other."""
    names = {"app": house.repository, "too": house.repository + "-too"}

    def publish(version):
        image = actor("say", version, "wait", files={"version": version.encode()})
        for repository in names.values():
            house.publish(repository=repository, images=image)

    publish("1")
    references = {name: house.registry.ref(repository + ":stable") for name, repository in names.items()}
    for name, reference in references.items():
        house.engine.pull(reference)
        house.engine.run(name, reference, HostConfig={"NetworkMode": "none"})
    house.pullet.configure({name: {"image": reference, "health-period": "300ms"}
                            for name, reference in references.items()})
    publish("2")
    results = house.pullet.once().results
    assert {name: (r["result"], r["reason"]) for name, r in results.items()} == {
        "app": ("updated", None), "too": ("updated", None)}


def test_nothing_is_pulled_twice(house):
    """Neither the first time without a record, nor if most of the image is in the engine."""
    house.configure(create=UP)
    below = Image({"below": os.urandom(5000)}, base=Image({"lowest": os.urandom(5000)}))
    for number in (1, 2):
        image = actor("say", number, "wait", files={"version": str(number).encode()})
        image.base = below
        house.registry.publish(house.repository, "stable", image)
        mark = house.registry.mark()
        house.once("updated")
        blobs = [r.path for r in house.registry.requests(mark) if "/blobs/" in r.path and not r.by_engine]
        assert blobs and sorted(blobs) == sorted(set(blobs))
