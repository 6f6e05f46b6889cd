# SPDX-License-Identifier: MIT
"""Hooks with an end: before-unit, health-unit and after-unit, at a real engine. The starter is a fake here, which is asked
and answers as pullet-unit@.service does; that one runs on a booted machine in tests/fleet/test_machine.py."""

import json
import signal
import socket
import threading

import pytest

from pullet_sweep import wait_for

YES = {"result": "success", "status": 0}
NO = {"result": "exit-code", "status": 3}
UNITS = {"before_unit": "lock.service", "health_unit": "probe@.service", "after_unit": "tell.service"}
KEYS = ["before-unit", "health-unit", "after-unit"]


class Starter:
    """Answers each key by what is in answers: an answer, a function of no argument that gives one, or None for no
    answer until the client has gone. seen: a line for each request, with what runs at that time."""

    def __init__(self, house):
        self.house, self.answers, self.seen = house, dict.fromkeys(KEYS, YES), []
        self.path = house.pullet.directory / "unit.sock"
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(str(self.path))
        self.server.listen()
        self.arguments = ("--unit-socket", str(self.path))
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        self.path.unlink()

    def _serve(self):
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            with connection, connection.makefile() as lines:
                request = json.loads(lines.readline())
                assert request.pop("container") == "app" and len(request) == 1
                answer = self.answers[request["key"]]
                self.seen.append((request["key"], self.house.version(), sorted(self.house.engine.containers())))
                answer = answer() if callable(answer) else answer
                if answer is None:
                    lines.readline()
                else:
                    connection.sendall(json.dumps(answer).encode() + b"\n")

    def keys(self):
        seen, self.seen[:] = [key for key, *_ in self.seen], []
        return seen


@pytest.fixture
def home(house):
    """A house whose app runs its first version and has all hooks, and a second version."""
    def version():
        app = house.engine.inspect("app")
        return app and app["State"]["Running"] and app["Config"]["Labels"]["version"]

    house.version = version
    house.starter = Starter(house)
    house.first, house.before = house.up()
    house.configure(**UNITS)
    house.second = house.publish()
    yield house
    if house.starter:
        house.starter.close()


def once(home, want, reason=None, **options):
    arguments = home.starter.arguments if home.starter else ("--unit-socket", str(home.pullet.directory / "absent"))
    return home.once(want, reason, arguments=arguments, **options)


def test_each_is_asked_once_at_its_time(home):
    once(home, "updated")
    home.check(home.second)
    assert home.starter.seen == [("before-unit", "1", ["app"]), ("health-unit", "2", ["app", "app.prev"]),
                                 ("after-unit", "2", ["app"])]
    once(home, "up-to-date")
    assert len(home.starter.seen) == 3


def test_a_lock_defers_and_nothing_is_forgotten(home):
    home.starter.answers["before-unit"] = NO
    assert home.pullet.order("check", arguments=home.starter.arguments)[-1]["result"] == "deferred"
    assert home.starter.keys() == []
    once(home, "deferred", "before-unit lock.service ended with status 3")
    home.untouched(home.before)
    assert home.engine.inspect_image(home.registry.ref(home.repository) + "@" + home.second.digest)
    mark = home.registry.mark()
    once(home, "deferred", "before-unit lock.service ended with status 3")
    assert not [r for r in home.registry.requests(mark) if "/blobs/" in str(r)]
    assert home.pullet.record("app")["deferred"] == {"digest": home.second.digest, "times": 2}
    home.starter.answers["before-unit"] = YES
    once(home, "updated")
    assert home.starter.keys() == ["before-unit", "before-unit", *KEYS]
    assert "deferred" not in home.pullet.record("app")


def test_a_dump_that_hangs_or_fails_or_is_not_there_defers(home):
    missing = "systemd does not start lock.service: Unit lock.service not found"
    for answer, reason in [({"result": "timeout", "status": 0}, "before-unit lock.service did not end within 300 s"),
                           ({"result": "signal", "status": 9}, "before-unit lock.service failed: signal"),
                           ({"error": missing}, "before-unit lock.service did not run: " + missing),
                           ({"error": 1}, "before-unit lock.service did not run"),
                           ([], "before-unit lock.service did not run")]:
        home.starter.answers["before-unit"] = answer
        once(home, "deferred", reason)
    home.starter.close()
    home.starter = None
    once(home, "deferred", "before-unit lock.service did not run: cannot connect to")
    home.untouched(home.before)


def test_deferrals_have_an_end_and_the_update_goes_on(home):
    home.configure(**UNITS, before_unit_deferrals=2)
    home.starter.answers["before-unit"] = NO
    once(home, "deferred")
    once(home, "deferred")
    once(home, "updated")
    assert home.starter.keys() == ["before-unit", "before-unit", "health-unit", "after-unit"]


def test_deferrals_have_an_end_and_the_version_is_given_up(home):
    home.configure(**UNITS, before_unit_deferrals=2, before_unit_then="give-up")
    home.starter.answers["before-unit"] = {"error": "no such unit"}
    once(home, "deferred")
    home.starter.answers["before-unit"] = NO
    once(home, "refused", "given up: before-unit lock.service ended with status 3")
    home.untouched(home.before)
    assert not home.engine.inspect_image(home.registry.ref(home.repository) + "@" + home.second.digest)
    home.starter.answers["before-unit"] = YES
    once(home, "refused", "given up")
    told = home.pullet.record("app")["history"][-1]  # once, for pullet log
    assert (told["result"], told["to"]) == ("refused", home.second.digest), told
    assert told["reason"] == "given up: before-unit lock.service ended with status 3"
    assert home.starter.keys() == ["before-unit", "before-unit"]
    home.pullet.order("retry")
    once(home, "updated")
    third = home.publish()
    once(home, "updated")
    home.check(third)


def test_a_bad_probe_rolls_back(home):
    home.starter.answers["health-unit"] = {"result": "exit-code", "status": 1}
    once(home, "rolled-back", "health-unit probe@app.service ended with status 1")
    home.check(home.first, policy="always")
    assert home.starter.keys() == KEYS
    once(home, "refused", "health-unit probe@app.service ended with status 1")
    assert home.starter.keys() == []


def test_a_probe_that_does_not_run_is_no_fault_of_the_version(home):
    for answer in ({"error": "Unit probe@app.service not found"}, {"result": "exit-code", "status": 203}):
        home.starter.answers["health-unit"] = answer
        once(home, "failed", "health-unit probe@")
        home.check(home.first, policy="always")
        record = home.pullet.record("app")
        assert record["phase"] == "prepare" and record["rejected"] == []
    home.starter.answers["health-unit"] = YES
    once(home, "updated")
    home.check(home.second)


def test_a_rollback_by_hand_waits_for_no_lock(home):
    """And an after-unit that fails changes nothing."""
    once(home, "updated")
    home.starter.keys()
    home.starter.answers["before-unit"] = home.starter.answers["after-unit"] = NO
    events = home.pullet.order("rollback", arguments=home.starter.arguments)
    assert events[-1]["result"] == "updated", events
    assert home.starter.keys() == ["health-unit", "after-unit"]


@pytest.mark.parametrize("key, number", [*((key, signal.SIGKILL) for key in KEYS), ("health-unit", signal.SIGTERM)])
def test_killed_while_it_asks_it_asks_again(home, key, number):
    home.starter.answers[key] = None
    process = home.pullet.spawn("--once", *home.starter.arguments)
    wait_for(key, lambda: home.starter.seen and home.starter.seen[-1][0] == key, pause=0.02)
    if number == signal.SIGKILL:
        home.pullet.kill9(process)
    else:
        process.terminate()
        process.wait(60)
    asked = home.starter.keys()
    assert asked[-1] == key and home.version() == ("1" if key == "before-unit" else "2")
    home.starter.answers[key] = YES
    home.pullet.once(arguments=home.starter.arguments)
    home.check(home.second, policy="always")
    assert home.starter.keys() == KEYS[KEYS.index(key):]
    assert "deferred" not in home.pullet.record("app")


def test_what_dies_while_it_is_probed_is_no_good_version(home):
    """The probe says yes, and the container has ended meanwhile."""
    home.configure(**UNITS, health="running", stop_timeout="1s")
    third = home.publish("sleep", "1500", "exit", "5")

    def answer():
        wait_for("the end", lambda: not home.engine.inspect("app")["State"]["Running"], pause=0.05)
        return YES

    home.starter.answers["health-unit"] = answer
    once(home, "rolled-back", "exited with status 5")
    home.check(home.first)
    assert third.digest in [r["digest"] for r in home.pullet.record("app")["rejected"]]
