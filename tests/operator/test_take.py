# SPDX-License-Identifier: MIT
"""When an update is taken, by whose order, and which comes first."""

import contextlib
import json
import pathlib
import subprocess

import pytest

from conftest import UP, window
from pullet_bus import Bus
from pullet_image import actor
from pullet_sweep import stop_process, wait_for

TELL = "update = tell: pullet update app takes it"


def costs_one_request(house, want, **fields):
    """A poll that writes nothing, begins no trial and asks the registry once."""
    mark, snapshot = house.registry.mark(), house.pullet.state_snapshot()
    entry = house.once(want)
    assert {key: entry[key] for key in fields} == fields
    assert [r.method for r in house.registry.requests(mark)] == ["HEAD"]
    assert house.pullet.state_snapshot() == snapshot
    return entry


@pytest.fixture
def service(house):
    """Starts pulletd; returns a function that runs pullet."""
    bus = Bus(house.lab, f"bus-take-{house.number}")

    def pullet(*arguments):
        done = subprocess.run([house.pullet.build / "pullet", *arguments, "--config", house.pullet.config],
                              env={**house.lab.environment, **bus.environment}, capture_output=True, text=True,
                              timeout=120, check=False)
        return done.returncode, done.stdout, done.stderr

    @contextlib.contextmanager
    def start():
        with open(house.pullet.directory / "pulletd.log", "ab") as log:
            process = house.pullet.spawn(stdout=log, stderr=log, env=bus.environment)
        try:
            bus.wait_for_pulletd()
            wait_for("rest", lambda: bus.properties("web")["NextCheck"] > 0)
            yield
        finally:
            stop_process(process)
            house.pullet.kill9(process)

    pullet.start = start
    try:
        yield pullet
    finally:
        bus.stop()


# --- update = tell ----------------------------------------------------------------------------------


def test_an_update_that_is_only_told_is_taken_by_order(house):
    _, before = house.up()
    second = house.publish()
    house.configure(update="tell")
    assert house.once("deferred", reason=TELL)["to"] == second.digest
    costs_one_request(house, "deferred", to=second.digest, reason=TELL)
    assert house.pullet.order("check")[-1]["reason"] == TELL
    house.untouched(before)
    third = house.publish("say", "again", "wait")
    assert house.once("deferred", reason=TELL)["to"] == third.digest
    costs_one_request(house, "deferred", to=third.digest, reason=TELL)
    assert house.pullet.order("update")[-1]["result"] == "updated"
    house.check(third)
    costs_one_request(house, "up-to-date")


def test_what_is_told_is_forgotten_when_the_tag_goes_back(house):
    first, before = house.up()
    house.configure(update="tell")
    second = house.publish()
    house.once("deferred", reason=TELL)
    house.registry.publish(house.repository, "stable", actor("say", "version 1", "wait", Labels={"version": "1"}))
    assert house.once("up-to-date")["to"] == first.digest
    assert "seen" not in house.pullet.record("app")
    costs_one_request(house, "up-to-date")
    house.untouched(before)
    assert second.digest != first.digest


def test_an_order_that_a_window_interrupts_is_finished_and_no_other(house):
    first, before = house.up()
    second = house.publish()
    house.configure(window=window(6, 7))
    house.once("deferred", reason="outside its window: opens ")
    # It was prepared by the schedule, and is told now.
    house.configure(update="tell", window=window(-0.5, 1))
    house.once("deferred", reason=TELL)
    house.untouched(before)
    # Another one is ordered, and waits for its window.
    house.configure(update="tell", window=window(6, 7))
    third = house.publish()
    house.once("deferred", reason=TELL)
    assert "outside its window" in house.pullet.order("update")[-1]["reason"]
    house.configure(update="tell", window=window(-0.5, 1))
    house.once("updated")
    house.check(third)
    assert third.digest not in (first.digest, second.digest)


# --- holds ------------------------------------------------------------------------------------------


def test_a_hold_goes_on_looking(house):
    first, before = house.up()
    house.pullet.order("hold")
    costs_one_request(house, "deferred", to=first.digest, reason="held by the operator")
    second = house.publish()
    costs_one_request(house, "deferred", to=second.digest, reason="held by the operator")
    house.registry.stop()
    assert house.once("deferred", reason="held by the operator")["to"] is None
    house.registry.start()
    house.configure(create=UP, hold="yes")
    house.pullet.order("release")
    costs_one_request(house, "deferred", to=second.digest, reason="hold = yes")
    house.untouched(before)
    # Its end has come.
    house.configure(create=UP)
    path = house.pullet.state / "app.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "held": True, "held_until": 1}))
    house.once("updated")
    house.check(second)


def test_a_hold_from_the_first_day_on(house):
    """Nothing is known of the container: one look adopts it."""
    _, before = house.adopt()
    house.configure(hold="yes")
    house.once("up-to-date")
    second = house.publish()
    costs_one_request(house, "deferred", to=second.digest, reason="hold = yes")
    house.untouched(before)


# --- past windows -----------------------------------------------------------------------------------


def test_an_order_past_the_operators_own_times(house):
    house.up()
    second = house.publish()
    house.configure(window=window(6, 7), download_window=window(6, 7), min_age="2d")
    entry = house.once("deferred", reason="min-age: it is taken from ")
    assert entry["reason"].endswith("; pullet update --now app takes it now")
    house.once("updated", arguments=["--now"])
    house.check(second)


def test_no_order_goes_past_what_others_said(house):
    _, before = house.up()
    house.publish("exit", 3)
    house.once("rolled-back")
    house.once("refused", "rejected before", arguments=["--now"])
    third = house.publish()
    policy = {"version": 1, "sequence": 1, "target": third.digest, "percent": 100, "halt": True}
    house.registry.publish_rollout(house.repository, "stable", policy)
    house.once("deferred", "halted", arguments=["--now"])
    house.registry.publish_rollout(house.repository, "stable", {**policy, "sequence": 2, "halt": False})
    house.pullet.order("hold")
    house.once("deferred", "held by", arguments=["--now"])
    house.pullet.order("release")
    house.configure(key=pathlib.Path(__file__).parent.parent / "data/cosign/keys/p256.pub")
    house.once("deferred", "is not signed any more", arguments=["--now"])
    house.configure(key=house.settings["key"], rollout="no")
    house.once("refused", "signature: ", arguments=["--now"])
    house.configure()
    house.once("updated", arguments=["--now"])
    house.check(third)
    assert house.engine.inspect("app")["Id"] != before["Id"]


# --- order ------------------------------------------------------------------------------------------


class Shop:
    """A compose project of three services, configured in the wrong order."""

    NAMES = ("web", "api", "db")
    DEPENDS = {"web": "api:service_started:true", "api": "db:service_healthy:false,cache:service_started:true",
               "db": ""}

    def __init__(self, house, depends=DEPENDS, labelled=NAMES, in_image=(), **settings):
        self.house, self.in_image, self.depends = house, in_image, depends
        self.settings = settings
        for name in self.NAMES:
            self.publish(name)
            house.engine.pull(self.image(name))
            house.engine.run(name, self.image(name), **UP, **(
                {"Labels": self.labels(name)} if name in labelled else {}))
        self.configure(**settings)

    def labels(self, name):
        return {"com.docker.compose.project": "shop", "com.docker.compose.service": name,
                "com.docker.compose.depends_on": self.depends[name]}

    def image(self, name):
        return self.house.registry.ref(f"{self.house.repository}/{name}:stable")

    def publish(self, *names, script=()):
        for name in names or self.NAMES:
            self.house.publish(*script, repository=f"{self.house.repository}/{name}",
                               config={"Labels": self.labels(name)} if name in self.in_image else {})

    def configure(self, **settings):
        self.house.pullet.configure({
            name: {"image": self.image(name), "health-period": "300ms", **settings.get(name, {})}
            for name in self.NAMES}, agent={"interval": "1h"})

    def once(self, *names, **options):
        """One round. -> [(container, result, reason), ...] as they ended; its log."""
        done = self.house.pullet.once(*names, **options)
        return [(one["container"], one["result"], one["reason"]) for one in
                map(json.loads, done.stdout.splitlines())], done.stderr


def ends(*names, result="updated", reason=None):
    return [(name, result, reason) for name in names]


def test_compose_says_the_order(house):
    shop = Shop(house)
    assert shop.once()[0] == ends("db", "api", "web", result="up-to-date")
    shop.publish()
    assert shop.once()[0] == ends("db", "api", "web")
    started = [house.engine.inspect(name)["State"]["StartedAt"] for name in ("db", "api", "web")]
    assert started == sorted(started)
    # What has no update delays nothing, and what is between two still orders them.
    shop.publish("web", "db")
    assert shop.once("web", "api", "db")[0] == ends("api", result="up-to-date") + ends("db", "web")


def test_what_comes_after_a_rollback_waits_for_the_next_round(house):
    shop = Shop(house)
    shop.publish("db", script=("exit", 3))
    shop.configure(db={"health-period": "1min"})  # a busy engine is late to say that it ended
    shop.publish("web", "api")
    (first, *rest), _ = shop.once()
    assert first[:2] == ("db", "rolled-back")
    assert rest == ends("api", "web", result="deferred", reason="db, which it comes after, was rolled back")
    (first, *rest), _ = shop.once()
    assert first[:2] == ("db", "refused") and rest == ends("api", "web")


def test_labels_that_an_image_can_set_do_not_count(house):
    shop = Shop(house, labelled=("db",), in_image=("web", "api"))
    shop.publish()
    assert shop.once()[0] == ends("web", "api", "db")


def test_labels_that_make_a_circle_are_ignored(house):
    shop = Shop(house, depends={**Shop.DEPENDS, "db": "web:service_started:true"}, api={"after": "db"})
    shop.publish()
    order, log = shop.once()
    assert order == ends("web", "db", "api")  # as configured
    assert log.count("ignored for the order of updates: a circle: ") == 1, log


def test_the_configuration_says_the_order(house):
    shop = Shop(house, labelled=(), web={"after": ["db", "api"]}, api={"after": "db"})
    shop.publish()
    assert shop.once()[0] == ends("db", "api", "web")
    # One that only waits delays nothing.
    shop.configure(web={"after": "db"}, db={"update": "tell"})
    shop.publish()
    assert [one[:2] for one in shop.once()[0]] == [("db", "deferred"), ("web", "updated"), ("api", "updated")]
    shop.configure(web={"after": "db"}, db={"after": "web"})
    done = house.pullet.once()
    assert done.status == 2 and "after: a circle: " in done.stderr, done


# --- by pullet --------------------------------------------------------------------------------------


def test_what_an_operator_types(house, service):
    shop = Shop(house, db={"update": "tell", "window": window(6, 7)})
    with service.start():
        assert service("update")[0] == 0
        shop.publish()
        status, out, err = service("hold", "web", "api", "--until", "3d", "--reason", "stock-taking")
        assert status == 0 and all(line.endswith(": stock-taking") for line in out.splitlines()), (out, err)
        assert [line.split(" until")[0] for line in out.splitlines()] == [
            "web: held by root", "api: held by root"]
        _, out, _ = service("check", "db")
        assert out.rstrip().endswith("update = tell: pullet update db takes it")
        api, db, _ = json.loads(service("status", "--json")[1])
        assert (api["state"], api["held_by"], api["held_reason"]) == ("held", "root", "stock-taking")
        assert api["held_until"].endswith("Z") and db["state"] == "update waits"
        status, out, _ = service("update", "db")
        assert status == 0 and "outside its window: opens " in out
        assert service("release", "web", "api")[1] == "web: released\napi: released\n"
        status, out, err = service("update", "--now", "web", "db", "api")
        assert [line.split(" sha256")[0] for line in out.splitlines()] == [
            "db: updated", "api: updated", "web: updated"], (out, err)
        for wrong in ("yesterday", "2020-01-01"):
            assert service("hold", "web", "--until", wrong)[0] == 2
