# SPDX-License-Identifier: MIT
"""The policy beside the image decides which devices take it, and when; registry and engine are real."""

import datetime
import itertools
import time

import pytest

from conftest import UP, window
from pullet_clock import preloaded
from pullet_image import actor, cohort, to_json
from pullet_registry import Registry


class Fleet:
    """A house that numbers its policies."""

    def __init__(self, house):
        self.house = house
        self.sequence = itertools.count(1)

    def policy(self, published, **keys):
        """keys with "-" written as "_"; percent = 100 without one."""
        keys = {key.replace("_", "-"): value for key, value in keys.items()}
        if not {"percent", "ramp"} & keys.keys():
            keys["percent"] = 100
        if "sequence" not in keys:
            keys["sequence"] = next(self.sequence)
        body = {"version": 1, "target": published.digest, **keys}
        self.raw({key: value for key, value in body.items() if value is not None})
        return body

    def raw(self, body, **form):
        self.house.registry.publish_rollout(self.house.repository, "stable", body, **form)

    def held(self, before, reason):
        """The update is deferred for that reason; the container is untouched, and another poll writes nothing."""
        entry = self.house.once("deferred", reason=reason)
        self.house.untouched(before)
        snapshot = self.house.pullet.state_snapshot()
        assert self.house.once("deferred", reason=reason) == entry
        assert self.house.pullet.state_snapshot() == snapshot
        return entry


@pytest.fixture
def fleet(house):
    return Fleet(house)


def device_at(digest, low, high):
    """A device id whose position for that digest is between low and high percent."""
    return next(name for name in map("device-{}".format, itertools.count())
                if low <= cohort(name, digest) < high)


def time_text(seconds):
    """The time in that many seconds, in RFC 3339."""
    when = datetime.datetime.fromtimestamp(time.time() + seconds, datetime.timezone.utc)
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_percentage_and_cohort(house, fleet):
    _, before = house.up()
    second = house.publish()
    fleet.policy(second, percent=20)
    device = device_at(second.digest, 30, 50)
    house.configure(agent={"device-id": device})
    entry = fleet.held(before, "covers 20 % of the devices, this device is at "
                               f"{cohort(device, second.digest):g} %")
    assert entry["to"] == second.digest
    fleet.policy(second, percent=50)
    house.once("updated")
    house.check(second)


def test_machine_id_is_the_name(house, fleet):
    _, before = house.up()
    second = house.publish()
    machine = open("/etc/machine-id").read().strip()
    position = cohort(machine, second.digest)
    fleet.policy(second, percent=position)  # the first device that is not in it
    fleet.held(before, f"this device is at {position:g} %")
    fleet.policy(second, percent=round(position + 0.0001, 4))
    house.once("updated")


def test_quiet_poll_stays_one_request(house, fleet):
    first, before = house.up()
    fleet.policy(first, percent=5)
    mark = house.registry.mark()
    house.once("up-to-date")
    assert [r.method for r in house.registry.requests(mark)] == ["HEAD"]
    house.untouched(before)


def asked(house, mark):
    """The requests to the registry: method and the last two parts of the path."""
    return [(r.method, *r.path.rsplit("/", 2)[1:]) for r in house.registry.requests(mark)]


def test_waiting_costs_two_requests(house, fleet):
    """The requests are for the tag and the policy; nothing is fetched again."""
    _, before = house.up()
    second = house.publish()
    body = fleet.policy(second, halt=True)
    house.once("deferred", reason="halted")
    tag, policy = ("HEAD", "manifests", "stable"), ("GET", "manifests", "stable.rollout")
    mark = house.registry.mark()
    fleet.held(before, "halted")
    blob = ("GET", "blobs", asked(house, mark)[2][2])  # as oras pushes it
    assert asked(house, mark) == [tag, policy, blob] * 2
    fleet.raw(body, embedded=to_json(body))
    mark = house.registry.mark()
    fleet.held(before, "halted")
    assert asked(house, mark) == [tag, policy] * 2
    third = house.publish()  # the policy changes all the same
    fleet.policy(third)
    house.once("updated")
    house.check(third)


@pytest.mark.parametrize("lie", ["empty", "longer", "other"])
def test_embedded_is_something_else(house, fleet, lie):
    """An embedded policy with another digest is ignored, and the blob is fetched."""
    _, before = house.up()
    second = house.publish()
    body = fleet.policy(second, halt=True, x_pad="12")
    other = to_json({**body, "halt": False, "x-pad": "1"})
    assert len(other) == len(to_json(body))
    fleet.raw(body, embedded={"empty": b"", "longer": other + b" ", "other": other}[lie])
    fleet.held(before, "halted")


def test_closed_download_window_asks_for_no_details(house, fleet):
    _, before = house.up()
    second = house.publish()
    fleet.policy(second)
    house.configure(download_window=window(6, 7))
    house.once("deferred", reason="outside its download-window")
    mark = house.registry.mark()
    house.once("deferred", reason="outside its download-window")
    assert [what for _, _, what in asked(house, mark)][:2] == ["stable", "stable.rollout"]
    assert len(asked(house, mark)) == 3
    house.untouched(before)
    house.configure()
    house.once("updated")
    house.check(second)


def test_what_was_waited_for_runs_already(house, fleet):
    """The operator did not wait, but pulled the image and created the container."""
    house.up()
    second = house.publish()
    fleet.policy(second, halt=True)
    house.once("deferred", reason="halted")
    house.engine.pull(house.image)
    house.engine.remove_container("app")
    house.engine.run("app", house.image, **UP)
    assert house.once("up-to-date")["to"] == second.digest


def test_ring(house, fleet):
    _, before = house.up()
    second = house.publish()
    fleet.policy(second, percent=0, rings={"canary": {"percent": 100}, "lab": {"percent": 0}})
    for agent in ({}, {"ring": "lab"}, {"ring": "nobody"}):
        house.configure(agent=agent)
        fleet.held(before, "covers 0 %")
    house.configure(agent={"ring": "canary"})
    house.once("updated")


def test_halt_and_release(house, fleet):
    _, before = house.up()
    second = house.publish()
    fleet.policy(second, halt=True)
    fleet.held(before, "halted (sequence 1)")
    fleet.policy(second)
    house.once("updated")


def test_halt_stops_what_is_prepared(house, fleet):
    """The image is pulled and the window is closed; then the rollout is halted, and the window opens."""
    _, before = house.up()
    second = house.publish()
    fleet.policy(second)
    now = time.time()
    shut = "-".join(time.strftime("%H:%M", time.localtime(now + h * 3600)) for h in (6, 7))
    house.configure(window=shut)
    house.once("deferred", reason="window")
    assert house.pullet.record("app")["phase"] == "prepare"
    fleet.policy(second, halt=True)
    house.configure()
    fleet.held(before, "halted")
    house.registry.pause()  # the registry cannot say that it is resumed
    try:
        house.once("failed")
    finally:
        house.registry.resume()
    house.untouched(before)
    fleet.policy(second)
    house.once("updated")
    house.check(second)


def test_what_is_on_trial_finishes(house, fleet):
    """A halt does not stop a trial: it is committed or reverted."""
    house.up()
    house.configure(create=UP, health_period="30s")
    second = house.publish("say", "version 2", "sleep", 300, "exit", 3)
    fleet.policy(second)
    house.once("rolled-back")
    fleet.policy(second, halt=True)
    house.once("refused", reason="rejected before")


def test_policy_for_another_image(house, fleet):
    first, before = house.up()
    fleet.policy(first)
    second = house.publish()
    fleet.held(before, f"for another image, {first.digest[:19]}")
    fleet.policy(second)
    house.once("updated")


def test_replayed_policy(house, fleet):
    _, before = house.up()
    second = house.publish()
    old = fleet.policy(second)  # all may take it
    fleet.policy(second, halt=True)
    fleet.held(before, "halted")
    assert house.pullet.record("app")["rollout_sequence"] == 2
    fleet.raw(old)
    fleet.held(before, "too old: its sequence is 1, but 2 was seen before")
    fleet.policy(second)
    house.once("updated")
    assert house.pullet.record("app")["rollout_sequence"] == 3


@pytest.mark.parametrize("body,why", [
    (b"", "no valid policy"),
    (b"{", "no valid policy"),
    (b"[1]", "not a JSON object"),
    (b'{"version": 2}', "version 2, this pullet supports 1"),
    (b'{"version": 1, "sequence": 1, "target": "stable", "percent": 1}', '"target"'),
    (b" " * 20000, "20000 bytes, 16384 at most"),
])
def test_broken_policy(house, fleet, body, why):
    _, before = house.up()
    house.publish()
    fleet.raw(body)
    fleet.held(before, why)


def test_misspelt_policy_holds(house, fleet):
    _, before = house.up()
    second = house.publish()
    fleet.policy(second, Halt=True)
    fleet.held(before, 'unknown key "Halt"')


@pytest.mark.parametrize("form,why", [
    ({"media_type": "application/json"}, "its layer is of type application/json"),
    ({"artifact_type": "application/vnd.example"}, "artifact of type application/vnd.example"),
])
def test_not_a_policy(house, fleet, form, why):
    _, before = house.up()
    second = house.publish()
    fleet.raw({"version": 1, "sequence": 1, "target": second.digest, "percent": 100}, **form)
    fleet.held(before, why)
    fleet.raw({"version": 1, "sequence": 1, "target": second.digest, "percent": 100},
              artifact_type=None)  # older oras: the layer's type is enough
    house.once("updated")


def test_image_where_the_policy_should_be(house, fleet):
    _, before = house.up()
    second = house.publish()
    house.registry.point(second, "stable.rollout")
    fleet.held(before, "stable.rollout: its layer is of type")


def test_not_before_and_ramp(house, fleet):
    _, before = house.up()
    second = house.publish()
    device = device_at(second.digest, 50, 60)
    house.configure(agent={"device-id": device})
    fleet.policy(second, not_before=time_text(3600))
    fleet.held(before, "reaches this device")
    fleet.policy(second, percent=None,
                 ramp=[{"at": time_text(-3600), "percent": 0}, {"at": time_text(3600), "percent": 80}])
    fleet.held(before, "reaches this device")
    fleet.policy(second, percent=None,
                 ramp=[{"at": time_text(-3600), "percent": 0}, {"at": time_text(60), "percent": 100}])
    house.once("updated")


def test_minimum_version(house, fleet):
    _, before = house.up()
    second = house.publish()
    fleet.policy(second, minimum_version="99.1")
    fleet.held(before, "requires pullet 99.1 or newer")


def test_required(house, fleet):
    _, before = house.up()
    second = house.publish()
    house.configure(rollout="required")
    fleet.held(before, "rollout = required, and there is no policy beside")
    fleet.policy(second)
    house.once("updated")


def test_rollout_no_does_not_ask(house, fleet):
    house.up()
    second = house.publish()
    fleet.policy(second, halt=True)
    house.configure(rollout="no")
    mark = house.registry.mark()
    house.once("updated")
    assert not [r for r in house.registry.requests(mark) if ".rollout" in r.path]


def test_check_reports_the_rollout(house, fleet):
    _, before = house.up()
    second = house.publish()
    fleet.policy(second, halt=True)
    assert "halted" in house.pullet.order("check")[-1]["reason"]
    fleet.policy(second)
    assert "only a check" in house.pullet.order("check")[-1]["reason"]
    house.untouched(before)


def test_min_age_counts_from_the_first_sight(house):
    _, before = house.up()
    house.publish()
    house.configure(min_age="2d")
    entry = house.once("deferred", reason="min-age: it is taken from ")
    snapshot = house.pullet.state_snapshot()
    assert house.once("deferred") == entry
    assert house.pullet.state_snapshot() == snapshot
    house.untouched(before)
    third = house.publish()  # another digest starts again at 0
    assert house.once("deferred", reason="min-age")["to"] == third.digest
    assert house.pullet.record("app")["seen"]["digest"] == third.digest
    house.configure(min_age="1ms")
    house.once("updated")
    assert "seen" not in house.pullet.record("app")


def test_download_window(house):
    _, before = house.up()
    second = house.publish()

    house.configure(download_window=window(6, 7))
    mark = house.registry.mark()
    house.once("deferred", reason="outside its download-window")
    house.untouched(before)
    # The platform is in the image's config, and what is refused waits for no window.
    blobs = [r.path for r in house.registry.requests(mark) if "/blobs/" in r.path]
    assert all(path.endswith(tuple(second.configs.values())) for path in blobs), blobs
    house.configure(download_window=window(-0.5, 1), window=window(6, 7))
    house.once("deferred", reason="outside its window")  # pulled, but not swapped
    house.configure(download_window=window(6, 7), window=window(-0.5, 1))
    house.once("updated")  # an image in the engine needs no download
    house.check(second)




@pytest.fixture(scope="session")
def past(tmp_path_factory):
    """An environment in which every program reads the year 1970."""
    return preloaded(tmp_path_factory.mktemp("past"), "past-clock.c")


def test_before_the_clock_is_set(house, fleet, past):
    """Updates that need the time wait and report it; others are made."""
    _, before = house.up()
    second = house.publish()
    for settings, why in (({"download_window": "00:00-24:00"}, "download-window depends on it"),
                          ({"min_age": "1s"}, "min-age needs it"),
                          ({"window": "00:00-24:00"}, "window depends on it")):
        house.configure(**settings)
        house.once("deferred", reason="the clock is not set, and " + why, env=past)
        assert house.engine.inspect("app")["State"] == before["State"]
    house.configure()
    assert house.pullet.record("app")["seen"]["at"] == 0  # the first sight has no time
    fleet.policy(second, not_before="1970-01-01T00:00:01Z")
    house.once("deferred", reason="the clock is not set, and the rollout depends on it", env=past)
    house.untouched(before)
    fleet.policy(second, percent=100)
    house.configure(health_period="7s")  # the engine has another year here, and its old events seem new
    house.once("updated", env=past)
    house.check(second)


def test_certificates_wait_for_the_clock(house, lab, past):
    """A certificate that is not valid yet is not a failure."""
    house.registry = registry = Registry(lab, f"tls-{house.number}", tls=True)
    registry.publish(house.repository, "stable", actor("wait"))
    house.configure(create={"HostConfig": {"NetworkMode": "none"}},
                    registries={registry.address: {"ca": registry.ca}})
    house.once("deferred", reason="the clock is not set: ", env=past)
    assert house.pullet.order("check")[-1]["result"] == "deferred"
    assert "only a check" in house.pullet.order("check")[-1]["reason"]
