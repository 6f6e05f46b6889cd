# SPDX-License-Identifier: MIT
"""A round: one process polls all containers, one process for each registry sends the requests, and each candidate
gets a process of its own."""

import itertools
import json
import shutil
import subprocess

import pytest

from conftest import UP
from pullet_bus import Bus
from pullet_agent import Pullet
from pullet_sweep import wait_for
from pullet_meddler import Meddler
from registryd import Answer, Front, on

MANY = 10
OFTEN = {"interval": "1s", "jitter": "0%"}
BROKEN = {"health-period": "1min"}  # it ends its trial, and a busy engine is late to say so
_numbers = itertools.count(1)


class Round:
    """A number of containers with records, each with a repository of its own, and the processes that are started for
    them."""

    def __init__(self, house, n=MANY, front=None):
        self.house, self.names = house, [f"c{i}" for i in range(n)]
        self.registry = front or house.registry
        self.published = {name: house.publish(repository=self.repository(name)) for name in self.names}
        self.programs = house.lab.path(f"programs-{next(_numbers)}")
        self.programs.mkdir()
        build = house.pullet.build
        for program in ("pulletd", "pullet", "pullet-update.real", "pullet-fetch.real"):
            shutil.copy(build / program.removesuffix(".real"), self.programs / program)
        for program in ("pullet-update", "pullet-fetch"):
            self.script(program)
        house.pullet = Pullet(house.lab, house.engine, house.pullet.directory.name, build=self.programs)
        for name in self.names:
            image = house.registry.ref(self.repository(name) + ":stable")
            house.engine.pull(image)
            house.engine.run(name, image, **UP)
        self.configure()
        self.once("up-to-date")

    def script(self, program, first=""):
        """A wrapper that counts its starts; both programs look for each other in their own directory."""
        path = self.programs / program
        new = path.with_suffix(".new")
        new.write_text(f'#!/bin/sh\necho {program} >> {self.programs}/started\n{first}\n'
                       f'exec {path}.real "$@"\n')
        new.chmod(0o755)
        new.rename(path)

    def repository(self, name):
        return f"{self.house.repository}-{name}"

    def configure(self, agent=None, **more):
        """more: keys of a container, by its name."""
        self.house.pullet.configure({
            name: {"image": self.registry.ref(self.repository(name) + ":stable"), "health-period": "500ms",
                   **more.get(name, {})} for name in self.names}, agent=agent)

    def once(self, want=None, **options):
        """-> results; all must be want except the given ones."""
        result = self.house.pullet.once(**options)
        assert set(result.results) == set(self.names), result
        if want:
            assert {entry["result"] for entry in result.results.values()} == {want}, result
        return result.results

    def started(self):
        """Processes started since the last call."""
        path = self.programs / "started"
        lines = path.read_text().split() if path.exists() else []
        path.write_text("")
        return [lines.count("pullet-update"), lines.count("pullet-fetch")]

    def untouched(self, before):
        assert {name: self.house.engine.inspect(name)["Id"] for name in self.names if name in before} == before

    def ids(self):
        return {name: self.house.engine.inspect(name)["Id"] for name in self.names}


@pytest.fixture
def calls(house):
    """All requests to the engine."""
    meddler = Meddler(house.lab.path(f"meddler-{next(_numbers)}"), house.engine)
    yield meddler
    meddler.stop()


def heads(house, mark):
    return [r.path for r in house.registry.requests(mark) if r.method == "HEAD"]


def test_a_quiet_round_is_one_process_of_each_half(house, calls):
    """One list of the engine's containers, one request for each container, and no writes."""
    many = Round(house)
    snapshot, mark, before = house.pullet.state_snapshot(), house.registry.mark(), many.ids()
    many.configure(agent={"engine": calls.url})
    many.started()
    results = many.once("up-to-date")
    assert many.started() == [1, 1]
    assert all(r["from"] == r["to"] == many.published[name].digest for name, r in results.items())
    assert sorted(heads(house, mark)) == sorted(
        f"/v2/{many.repository(name)}/manifests/stable" for name in many.names)
    looks = [str(call) for call in calls.calls if "/version" not in call.path]
    assert len(looks) == 1 and "/containers/json" in looks[0], looks
    assert house.pullet.state_snapshot() == snapshot
    many.untouched(before)


def test_one_candidate_is_one_more_process(house):
    many = Round(house, 4)
    before, mark = many.ids(), house.registry.mark()
    del before["c2"]
    second = house.publish(repository=many.repository("c2"))
    many.started()
    results = many.once()
    assert {name: r["result"] for name, r in results.items()} == {
        "c0": "up-to-date", "c1": "up-to-date", "c2": "updated", "c3": "up-to-date"}
    assert many.started()[0] == 2
    asked = heads(house, mark)
    assert all(asked.count(f"/v2/{many.repository(name)}/manifests/stable") == 1 for name in before)
    house.check(second, "c2")
    many.untouched(before)
    many.once("up-to-date")
    assert many.started() == [1, 1]


def test_a_registry_that_fails_costs_its_own_containers_their_round(house):
    many = Round(house, 3)
    with Front(house.registry) as front:
        house.lab.announce(front.host)
        many.configure(c1={"image": front.ref(many.repository("c1") + ":stable")})
        many.once("up-to-date")
        front.hooks += [on("HEAD", answer=Answer(500)), on("GET", answer=Answer(500))]
        for round_number in (1, 2):
            results = many.once()
            assert [results[name]["result"] for name in many.names] == ["up-to-date", "failed", "up-to-date"]
            if round_number == 1:
                assert house.pullet.record("c1")["last_error"] == results["c1"]["reason"]
                snapshot = house.pullet.state_snapshot()
        assert house.pullet.state_snapshot() == snapshot  # saved once
        # With the same text as in a pass.
        assert house.pullet.order("update", "c1")[-1]["reason"] == results["c1"]["reason"]
        front.hooks.clear()
        many.once("up-to-date")
        assert house.pullet.record("c1")["last_error"] is None


def test_retry_after_holds_the_registry(house, bus):
    """One of ten containers has sent a request. The others, and pullet check, are deferred without one."""
    seconds = 3
    with Front(house.registry) as front:
        house.lab.announce(front.host)
        many = Round(house, front=front)
        front.hooks.append(on("HEAD", answer=Answer(429, {"Retry-After": str(seconds)})))
        front.seen.clear()
        results = many.once()
        assert len(front.seen) == 1
        assert [results[name]["result"] for name in many.names] == ["failed"] + ["deferred"] * (MANY - 1)
        assert f"{front.host} accepts no request for another {seconds} s" in results["c9"]["reason"]

        many.configure(agent=OFTEN)
        front.seen.clear()
        process = house.pullet.spawn(env=bus.environment)
        try:
            bus.wait_for_pulletd()
            wait_for("three questions", lambda: len(front.seen) >= 3 or process.poll() is not None, 60)
            with bus.listener() as listener:
                bus.order("Check", "c5")
                said = listener.wait_finished("check", "c5")
            asked = len(front.seen)
        finally:
            house.pullet.kill9(process)
        times = [seen.at for seen in front.seen]
        assert all(later - earlier >= seconds - 0.1 for earlier, later in zip(times, times[1:])), times
        assert said["result"] == "deferred" and "accepts no request" in said["reason"] and asked == 3


@pytest.fixture
def bus(house):
    bus = Bus(house.lab, f"bus-{next(_numbers)}")
    yield bus
    bus.stop()


def test_a_poll_and_a_pass_give_the_same_result(house):
    """The round and a pass of its own give the same result for a container."""
    many = Round(house, 8)
    for name, deed in {"c1": "pause", "c2": "stop", "c3": "kill"}.items():
        house.engine.call("POST", f"/containers/{name}/{deed}")
    house.pullet.order("hold", "c4")
    house.publish("exit", 3, repository=many.repository("c6"))
    many.configure(c5={"hold": "yes"}, c6=BROKEN)
    results = many.once()
    assert results["c6"]["result"] == "rolled-back"
    house.engine.remove_container("c7")
    results = many.once()
    assert {name: r["result"] for name, r in results.items()} == {
        "c0": "up-to-date", "c1": "up-to-date", "c2": "up-to-date", "c3": "up-to-date", "c4": "deferred",
        "c5": "deferred", "c6": "refused", "c7": "failed"}
    for name in many.names:
        result = house.pullet.order("update", name)[-1]
        del result["event"]
        if name in ("c4", "c5"):  # held: the poll goes on looking
            result["to"] = results[name]["from"]
        assert result == results[name], name
    house.engine.stop_daemon()
    without = many.once("failed")
    for name in ("c0", "c7"):
        result = house.pullet.order("update", name)[-1]
        assert result["reason"] == without[name]["reason"]


def test_rejected_and_held_cost_no_process_of_their_own(house):
    many = Round(house, 3)
    house.publish("exit", 3, repository=many.repository("c0"))
    many.configure(c0=BROKEN)
    house.pullet.order("hold", "c1")
    many.once()
    many.started()
    results = many.once()
    assert [results[name]["result"] for name in many.names] == ["refused", "deferred", "up-to-date"]
    assert many.started() == [1, 1]


def test_a_tag_that_went_back_costs_one_pass(house):
    """What was waited for in between is forgotten."""
    many = Round(house, 2)
    many.configure(c0={"min-age": "2d"})
    house.publish(repository=many.repository("c0"))
    assert many.once()["c0"]["result"] == "deferred"
    house.registry.point(many.published["c0"])
    many.once("up-to-date")
    assert "seen" not in house.pullet.record("c0")
    many.started()
    many.once("up-to-date")
    assert many.started() == [1, 1]


def test_one_shots_that_ended_well_are_polled_too(house):
    house.publish("exit", 0)
    house.configure(create={"HostConfig": {"NetworkMode": "none"}})
    house.once("updated")
    mark = house.registry.mark()
    house.once("up-to-date")
    assert len(heads(house, mark)) == 1


def test_a_poll_that_crashes_costs_one_round(house):
    many = Round(house, 3)
    before = many.ids()
    many.script("pullet-update", "kill -9 $$")
    results = many.once("failed")
    assert {r["reason"] for r in results.values()} == {"pullet-update ended without a result (killed by signal 9)"}
    assert all(r["image"].endswith(":stable") for r in results.values())
    many.script("pullet-update")
    many.once("up-to-date")
    many.untouched(before)


def test_a_pullet_fetch_that_crashes_costs_its_registry_one_round(house):
    many = Round(house, 3)
    many.script("pullet-fetch", "kill -9 $$")
    results = many.once("failed")
    assert all("pullet-fetch" in r["reason"] for r in results.values())
    many.script("pullet-fetch")
    many.once("up-to-date")


def test_a_check_of_several_takes_nothing(house):
    many = Round(house, 3)
    house.publish(repository=many.repository("c1"))
    house.pullet.order("hold", "c2")
    events = json_events(house, "--check", *many.names)
    found = {event["container"]: event for event in events}
    assert found["c0"]["result"] == "up-to-date" and found["c2"]["result"] == "up-to-date"
    assert (found["c1"]["event"], "result" in found["c1"]) == ("candidate", False)


def json_events(house, *arguments):
    done = subprocess.run(
        [house.pullet.build / "pullet-update", "--config", house.pullet.config, "--state-dir", house.pullet.state,
         *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=True,
        env=house.lab.environment)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events if "container" not in event and event["event"] != "traffic"] == ["unfollowed"]
    return [event for event in events if "container" in event]


def test_a_container_with_the_image_of_another_tag_is_a_candidate(house):
    """An operator replaced the container: the record does not match it."""
    many = Round(house, 2)
    other = house.registry.ref(many.repository("c0") + ":stable")
    house.engine.remove_container("c1")
    house.engine.run("c1", other, **UP)
    events = json_events(house, "--poll", *many.names)
    assert [event["event"] for event in events if event["container"] == "c1"] == ["candidate"]
    many.once()


def test_rounds_go_on_at_their_pace(house):
    """Each round is one process, also in the service."""
    many = Round(house, 3)
    many.configure(agent=OFTEN)
    many.started()
    mark = house.registry.mark()
    with house.pullet.resident():
        wait_for("three rounds", lambda: len(heads(house, mark)) >= 9, pause=0.3)
    update, fetch = many.started()
    assert update in (3, 4, 5) and fetch <= update, (update, fetch)
