# SPDX-License-Identifier: MIT
"""pullet adopt: what runs here becomes configuration, and what cannot be followed says why. operator-report 6, 20, 3.5."""

import itertools
import json
import re
import shutil
import subprocess

import pytest

from conftest import UP
from pullet_bus import NAME, PATH, Bus
from pullet_image import actor
from pullet_sweep import tail, wait_for

_numbers = itertools.count(1)
LABEL = "com.docker.compose."


class Desk:
    """The house, with pulletd on a bus, and the command."""

    def __init__(self, house):
        self.house, self.bus = house, Bus(house.lab, f"bus-{next(_numbers)}")
        self.config = house.pullet.config
        self.adopted = self.config.parent / "conf.d/adopted.conf"

    def pullet(self, *arguments, status=0, **options):
        program = self.house.pullet.build / "pullet"
        if "user" in options:  # who may not reach the directory of the build
            program = shutil.copy(program, self.house.lab.path(f"command-{next(_numbers)}"))
        done = subprocess.run(
            [program, "--config", self.config, "--state-dir",
             self.house.pullet.state, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False, timeout=60, env={**self.house.lab.environment, **self.bus.environment}, **options)
        assert done.returncode == status, (arguments, done.returncode, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def sections(self, text):
        """Name -> image of what config check finds in this text alone."""
        directory = self.house.lab.path(f"check-{next(_numbers)}")
        directory.mkdir()
        (directory / "pullet.conf").write_text(text)
        done = subprocess.run([self.house.pullet.build / "pullet", "--config", directory / "pullet.conf",
                               "config", "check", "--json"], capture_output=True, text=True, check=False,
                              env=self.house.lab.environment)
        answer = json.loads(done.stdout)
        assert done.returncode == 0 and answer["faults"] == [], (text, done.stdout)
        return answer["containers"]

    def unfollowed(self):
        return self.bus.busctl("get-property", NAME, PATH, NAME, "Unfollowed")


@pytest.fixture
def desk(house):
    desk = Desk(house)
    house.pullet.configure({}, agent={"interval": "1h"})
    with open(house.pullet.directory / "pulletd.log", "ab") as log:
        process = house.pullet.spawn(stdout=log, stderr=log, env=desk.bus.environment)
    process.log = house.pullet.directory / "pulletd.log"
    try:
        desk.bus.wait_for_pulletd()
        yield desk
        assert process.poll() is None, tail(process.log)
    finally:
        house.pullet.kill9(process)
        desk.bus.stop()


def run(house, name, image=None, **body):
    return house.engine.run(name, image or house.image, **{**UP, **body})


def test_what_runs_is_adopted_and_updated(desk, house):
    first = house.publish()
    house.engine.pull(house.image)
    run(house, "web")
    run(house, "shop-api-1", Labels={LABEL + "project": "shop", LABEL + "service": "api"})
    hint = "no container is followed yet; 2 run here: pullet adopt --write\n"
    assert desk.pullet("status") == hint
    assert desk.pullet("check") == "pullet: " + hint and desk.pullet("update") == "pullet: " + hint
    assert desk.pullet("status", "--json") == "[]\n"
    text = desk.pullet("adopt")
    assert text == (f"# compose project shop, service api\n[container shop-api-1]\nimage = {house.image}\n\n"
                    f"[container web]\nimage = {house.image}\n\n")
    assert desk.sections(text) == ["shop-api-1", "web"]
    assert not desk.adopted.exists()

    assert desk.pullet("adopt", "--write", "web") == "web: followed now\n"
    desk.adopted.write_text("# mine\n" + desk.adopted.read_text().rstrip("\n"))
    assert desk.pullet("adopt", "--write") == "shop-api-1: followed now\n"
    assert desk.adopted.read_text() == (
        f"# mine\n[container web]\nimage = {house.image}\n"
        f"# compose project shop, service api\n[container shop-api-1]\nimage = {house.image}\n\n")
    assert desk.adopted.stat().st_mode & 0o777 == 0o644
    assert [file.name for file in desk.adopted.parent.iterdir()] == ["adopted.conf"]
    assert desk.pullet("adopt") == "pullet: every container of the engine is followed\n"
    # operator-report 20: nobody waits for the next round, an hour away, to see it
    wait_for("both to be looked at", lambda: all(
        one["current"] == first.digest for one in json.loads(desk.pullet("status", "--json"))))
    second = house.publish()
    desk.adopted.write_text(desk.adopted.read_text().replace("image =", "health-period = 500ms\nimage ="))
    desk.pullet("update")
    for name in ("web", "shop-api-1"):
        house.check(second, name=name)


def test_a_round_tells_what_is_not_followed(desk, house):
    house.publish()
    house.engine.pull(house.image)
    for name in ("web", "db", "cache"):
        run(house, name)
    house.engine.create("spare", house.image)
    desk.pullet("adopt", "--write", "web")
    assert sorted(desk.unfollowed()) == ["cache", "db"]
    shown = desk.pullet("status").splitlines()
    assert shown[0].startswith("CONTAINER") and shown[1].startswith("web")
    assert shown[-1] in ("not followed: db, cache; to follow: pullet adopt",
                         "not followed: cache, db; to follow: pullet adopt")
    assert "not followed" not in desk.pullet("status", "web") + desk.pullet("status", "--json")
    # A round of several looks at the engine once, and tells.
    desk.pullet("adopt", "--write", "db")
    wait_for("both to be at rest", lambda: all(
        one["current"] and not one["last_error"] for one in json.loads(desk.pullet("status", "--json"))))
    for name in ("one", "two", "three", "four"):
        run(house, name)
    desk.pullet("check")
    assert desk.pullet("status").endswith("5 containers of this machine are not followed: pullet adopt\n")


# What the plan would refuse, or say every time; each with its name, the words that must be there, and how it is made.
def unfit(house):
    identity = house.engine.inspect_image(house.image)["Id"]
    pinned = f"{house.registry.ref(house.repository)}@{house.published.digest}"
    house.engine.docker("tag", house.image, "localhost/mine:1")
    house.engine.pull(pinned)
    by_id = "left out: its image was given by id"
    if house.engine.kind.program == "podman":  # which names one of the image's names instead
        by_id = "image = "
    return {
        "remove": ("--rm", {"HostConfig": {"AutoRemove": True}}),
        "by-digest": ("pinned by digest", {"image": pinned}),
        "task": ("swarm service", {"Labels": {"com.docker.swarm.service.id": "x"}}),
        "A.next": ("reserved", {}),
        "by-id": (by_id, {"image": identity}),
        "by-short-id": (by_id, {"image": identity[7:19]}),
        "mine": ("left out: its image was built here", {"image": "localhost/mine:1"}),
        "once": ("left out: docker compose run made it", {"Labels": {LABEL + "oneoff": "True"}}),
        "unit": ("left out: a systemd unit owns it", {"Labels": {"PODMAN_SYSTEMD_UNIT": "unit.service"}}),
    }


def test_what_cannot_be_followed_says_why(desk, house):
    house.published = house.publish()
    house.engine.pull(house.image)
    cases = unfit(house)
    for name, (_, body) in cases.items():
        run(house, name, **body)
    run(house, "labels", Labels={LABEL + "project": "p\n[agent]\nengine = unix:///evil",
                                 LABEL + "service": "\x1b[2Js\n[container x]"})
    house.engine.create("spare", house.image, HostConfig=UP["HostConfig"])
    run(house, "paused")
    house.engine.call("POST", "/containers/paused/pause")
    run(house, "stopped")
    house.engine.call("POST", "/containers/stopped/stop?t=0")
    house.engine.run("shot", house.image, Cmd=["/actor", "say", "done"])
    house.engine.wait("shot", lambda inspect: inspect["State"]["Status"] == "exited")
    text = desk.pullet("adopt")
    assert desk.sections(text) == ["labels"]
    blocks = {re.search(r"^#?\[container (.*)\]$", block, re.M)[1]: block for block in text.split("\n\n") if block}
    assert "[container x]" not in blocks["labels"].splitlines() and "\x1b" not in text
    for name, words in {**{name: words for name, (words, _) in cases.items()}, "spare": "never started",
                        "paused": "pause", "stopped": "stopped by the operator",
                        "shot": "left out: it does not run"}.items():
        assert words in blocks[name] and f"\n#[container {name}]\n#image = " in blocks[name], blocks[name]
    # What is left out on a doubt is followed once it is named.
    doubtful = ["mine", "once", "shot", "unit"]
    if house.engine.kind.program != "podman":
        doubtful = ["by-id", "by-short-id", *doubtful]
        assert f"#image = {house.image}" in blocks["by-id"] or "localhost/mine:1" in blocks["by-id"]
    assert desk.sections(desk.pullet("adopt", *doubtful)) == doubtful
    assert desk.sections(desk.pullet("adopt", "--all")) == sorted(["labels", *doubtful])
    assert "remove: not followed: it was created with --rm" in desk.pullet("adopt", "--write", "remove", status=1)
    assert not desk.adopted.exists()
    found = {one["container"]: one for one in map(json.loads, desk.pullet("adopt", "--json").splitlines())}
    assert found["labels"]["reason"] is None and "--rm" in found["remove"]["reason"]
    assert "does not run" in found["shot"]["doubt"] and found["shot"]["state"] == "exited"


def test_nothing_is_written_that_is_not_valid(desk, house):
    house.publish()
    house.engine.pull(house.image)
    run(house, "web")
    broken = desk.adopted.with_name("zz.conf")
    desk.adopted.parent.mkdir()
    broken.write_text("[container web]\nimag = x\n")
    said = desk.pullet("adopt", "--write", status=1)
    assert f"{broken}:2: unknown key" in said and not desk.adopted.exists()
    broken.unlink()
    # The configuration of pulletd is fine, and the one that is written to is not.
    other = house.lab.path(f"other-{next(_numbers)}")
    (other / "conf.d").mkdir(parents=True)
    (other / "pullet.conf").touch()
    old = other / "conf.d/adopted.conf"
    old.write_text("[container web]\nimag = x\n")
    assert f"{old}:2: unknown key" in desk.pullet("--config", other / "pullet.conf", "adopt", "--write", status=2)
    assert old.read_text() == "[container web]\nimag = x\n" and [file.name for file in old.parent.iterdir()] == [old.name]
    assert "followed now" in desk.pullet("adopt", "--write")


def test_a_service_is_not_a_container(desk, house):
    house.publish()
    house.engine.pull(house.image)
    run(house, "shop-api-1", Labels={LABEL + "project": "shop", LABEL + "service": "api"})
    words = "there is no container 'api' in the engine; there is shop-api-1, whose compose service is api"
    assert words in desk.pullet("adopt", "api", status=2)
    assert "no container 'xy' in the engine; for a list" in desk.pullet("adopt", "xy", status=2)
    house.pullet.configure({"api": {"image": house.image}}, agent={"interval": "1h"})
    assert words in house.pullet.once().results["api"]["reason"]
    assert "not followed" not in desk.pullet("adopt", "--write", "shop-api-1")
    assert "followed already" in desk.pullet("adopt", "shop-api-1", status=2)


def test_followers_and_built_images(desk, house):
    house.publish()
    house.engine.pull(house.image)
    run(house, "web")
    run(house, "side", HostConfig={"NetworkMode": "container:web", "AutoRemove": True})
    text = desk.pullet("adopt", "web")
    assert "container side, which depends on it: it was created with --rm" in text, text
    house.engine.remove_container("side")
    assert desk.sections(desk.pullet("adopt", "web")) == ["web"]


def test_everybody_may_look_and_only_root_writes(desk, house):
    house.publish()
    house.engine.pull(house.image)
    run(house, "web")
    assert "[container web]" in desk.pullet("adopt", user=65534)
    assert "asked just now" in desk.pullet("adopt", status=1, user=65534)
    assert "[container web]" in desk.pullet("adopt")


def test_no_name_is_not_that_of_a_service(desk, house):
    house.publish()
    house.engine.pull(house.image)
    run(house, "web")
    assert "no container '' in the engine; for a list" in desk.pullet("adopt", "", status=2)


def test_without_pulletd(house, desk):
    desk.bus.stop()
    assert "cannot connect to the system bus" in desk.pullet("adopt", status=1)
    desk.bus.start()
    desk.bus.wait_for_pulletd()
    desk.pullet("adopt")


def test_an_image_without_a_tag_and_one_that_was_built_here(desk, house):
    house.publish(images=actor("wait"))
    house.engine.pull(house.image)
    untagged = house.registry.ref(house.repository)
    house.engine.docker("tag", house.image, untagged + ":latest")
    run(house, "untagged", image=untagged)
    assert f"\nimage = {untagged}:latest\n" in desk.pullet("adopt", "untagged")
    house.engine.remove_container("untagged")
    house.engine.docker("tag", house.image, "shop-web:latest")
    run(house, "renamed", image="shop-web:latest")  # nobody knows whose image Docker Hub has under that name
    listed = house.engine.inspect_image("shop-web:latest")["RepoDigests"]
    text = desk.pullet("adopt", "--write")
    assert any("shop-web@" in one for one in listed) or (
        "renamed: not followed: its image was tagged here: it came from another repository\n" in text), (text, listed)
    house.engine.remove_container("renamed")
    house.engine.call("DELETE", f"/images/{house.image}")
    run(house, "web", image="shop-web:latest")
    text = desk.pullet("adopt")
    listed = house.engine.inspect_image("shop-web:latest")["RepoDigests"]
    assert listed or "left out: its image came from no registry" in text, (text, listed)
