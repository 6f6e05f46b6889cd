# SPDX-License-Identifier: MIT
"""A download of hours holds nobody: pullet-update ends it after a slice, and pulletd goes on with it behind the other
containers. This test is pullet-update."""

import contextlib
import json
import pathlib
import signal
import socket
import subprocess
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from pullet_bus import NAME, PATH, CallError, configure  # noqa: E402
from pullet_sweep import wait_for  # noqa: E402
from pullet_terminal import on_terminal  # noqa: E402
from test_job import Units, result  # noqa: E402
from test_pullet import A, B, command, release, written  # noqa: E402, F401

NAMES = "app", "db", "web"
pytestmark = pytest.mark.usefixtures("bus")


@pytest.fixture
def units(bus, pullet):
    """pulletd at rest, with three containers."""
    for name in NAMES:
        written(pullet, name, held=False, last_error=None, rejected=[])
    configure(pullet, *NAMES, budget="20M/day")
    units = Units(bus, pullet)
    wait_for("rest", lambda: bus.properties()["NextCheck"] > 0)
    yield units
    units.close()


def part(name, of=1000, come=400, waits=None, again=True, word="deferred", **fields):
    """A result of a download that is not at its end."""
    return {**result(name, word), "from": A, "to": B, "reason": f"downloading {100 * come // of} %, {come} of {of} B",
            "download": {"bytes": come, "of": of, "bytes_s": 20, "eta_s": (of - come) // 20, "waits": waits, "again": again},
            **fields}


def progress(name, current, total):
    return {"event": "progress", "container": name, "current": current, "total": total}


def step(name, text, began_ms=0):
    return {"event": "step", "container": name, "step": text, "began_ms": began_ms, "ms": 0}


def prepared(pullet, held=False):
    """The record of app, whose update to B downloads."""
    written(pullet, "app", phase="prepare", held=held, last_error=None, rejected=[], update={
        "target": release(B), "synced": False, "boot_id": None, "old_id": None, "new_id": None, "policy": None, "serving": True,
        "followers": [], "starts": 0, "blame": False, "reason": None})


def ask(units, operation, *names):
    """The next job, which has to be this one."""
    @contextlib.contextmanager
    def job():
        with units.next() as (asked, say):
            assert (asked["operation"], asked["containers"]) == (operation, list(names))
            yield say
    return job()


def log_of(pullet):
    return (pullet.directory / "pulletd.log").read_text()


def test_the_others_have_their_turn(bus, pullet, units):
    """A round finds two; the long one goes on when the other has ended, and when an order has."""
    with bus.listener() as listener:
        bus.order("Update", "app")
        with ask(units, "update", "app") as say:
            bus.order("Check", "web")
            bus.order("Update", "db")
            say(progress("app", 300, 1000))
            say(part("app"))
        with ask(units, "check", "web") as say:
            say(result("web"))
        with ask(units, "update", "db") as say:
            say(part("db", come=10))
        with ask(units, "update", "app") as say:
            say(part("app", come=800))
        with ask(units, "update", "db") as say:
            say({**result("db", "updated"), "from": A, "to": B})
        assert bus.properties()["Download"] == [800, 1000, 20, ""]
        with ask(units, "update", "app") as say:
            assert bus.properties()["Operation"] == "update"
            assert bus.properties()["Download"] == [800, 1000, 20, ""]  # it stands until it moves
            say(step("app", "loads the image into the engine"))
            say(progress("app", 0, 2000))
            wait_for("the load", lambda: bus.properties()["Progress"] == [0, 2000])
            assert bus.properties()["Download"][1] == 0
            say({**result("app", "updated"), "from": A, "to": B})
        assert [one["result"] for one in (listener.wait_finished("update"),)] == ["updated"]
        assert len(listener.finished("update")) == len(listener.finished("update", "db")) == 1
    log = log_of(pullet)
    assert log.count("downloading 40 %") == 1 and "downloading 80 %" not in log, log
    assert log.count("app: updated") == 1, log


def test_a_client_waits_for_the_end(bus, pullet, units, command):
    """One bar from the first byte to the result."""
    done = []

    def serve():
        with ask(units, "update", "app") as say:
            say({"event": "phase", "container": "app", "phase": "prepare", "digest": B, "version": "1.1"})
            say(step("app", "downloads"))
            say(progress("app", 250_000, 1_000_000))
            say(part("app", of=1_000_000, come=400_000))
        with ask(units, "update", "app") as say:
            say(step("app", "asks the registry"))
            say(step("app", "downloads"))
            say(progress("app", 500_000, 1_000_000))
            say(step("app", "loads the image into the engine"))
            say(progress("app", 300_000, 1_200_000))
            say(progress("app", 1_200_000, 1_200_000))
            say({"event": "step", "container": "app", "step": "on trial", "began_ms": 1, "ms": 1000})
            done.append(True)
            say({**result("app", "updated"), "from": A, "to": B})

    server = threading.Thread(target=serve)
    server.start()
    process, out, seen = on_terminal(lambda slave: command.start("update", "app", stderr=slave, env={"TERM": "xterm"}), 60)
    server.join()
    assert process.returncode == 0 and out.count("\n") == 1 and "app: updated" in out and done, out + seen
    shown = seen.split("\r\033[K")
    for text in ("25%  250.0 kB of 1.0 MB", "40%  400.0 kB of 1.0 MB", "50%  500.0 kB of 1.0 MB",
                 "loads 300.0 kB of 1.2 MB", "the engine unpacks it", "on trial, 1 of 1 s"):
        assert any(text in line for line in shown), (text, shown)
    # While the second slice asks the registry, the bar stands where it was.
    assert "asks the registry" not in seen
    first = next(n for n, line in enumerate(shown) if "25%" in line)
    assert all("app  [" in line for line in shown[first:-1] if line.strip()), "\n".join(shown)


def test_a_wait_is_told_once(bus, pullet, units, command):
    with bus.listener() as listener:
        for come in (400, 410):  # bytes that were on their way
            bus.order("Update")
            with ask(units, "update", "app") as say:
                say(part("app", come=come, waits="window", again=False, reason=f"downloading {come}, waits for its window at 02:00"))
            listener.wait_finished("update", number=1 if come == 400 else 2)
    assert log_of(pullet).count("waits for its window") == 1
    one = command.json("status", "app")[0]
    assert one["state"] == "downloading" and one["reason"].endswith("waits for its window at 02:00")
    assert one["download"] == {"bytes": 410, "of": 1000, "bytes_s": 20, "eta_s": 29, "waits": "window", "delta": False, "plain": None}
    table = command("status")[0]
    assert "downloading 41 %" in table and "\n  downloading 410, waits for its window at 02:00\n" in table
    # What moved is in no container's hands.
    bus.order("Update")
    with ask(units, "update", "app") as say:
        say({"event": "traffic", "day": 20_000_001, "month": 30_000_000})
        say(part("app", waits="budget", again=False))
    wait_for("the bytes", lambda: bus.busctl("get-property", NAME, PATH, NAME, "Traffic") == [20_000_001, 20_000_000, 30_000_000, 0])
    wait_for("the end", lambda: bus.properties()["Download"] == [400, 1000, 20, "budget"])
    assert "budget of the day: 20.0 MB of 20.0 MB used" in command("status")[0]
    process = command.start("update", "app", "--now")
    with ask(units, "update-now", "app") as say:
        say({**result("app", "updated"), "from": A, "to": B})
    out, said = process.communicate(timeout=20)
    assert process.returncode == 0 and "app: past the budget of the day: 600 B to come" in said, (out, said)
    assert command.json("status", "app")[0]["download"] is None


def test_a_stop_costs_nothing(bus, pullet, units, command):
    """The client waits for the next pulletd, which goes on with what the record says."""
    process = command.start("update", "app")
    with ask(units, "update", "app") as say:
        wait_for("the operation", lambda: bus.properties()["Operation"] == "update")
        prepared(pullet, held=False)
        units.process.send_signal(signal.SIGTERM)
        wait_for("the word about it", lambda: stops(bus))
        say(part("app"))
    assert units.process.wait(30) == 0
    again = Units(bus, pullet)
    try:
        with bus.listener() as listener, ask(again, "finish", "app") as say:
            # It has the name a moment before it sends signals.
            wait_for("a signal", lambda: (say(progress("app", 1, 2)), listener.changes("Progress"))[1])
            say(part("app", come=600))
        with ask(again, "finish", "app") as say:
            say({**result("app", "updated"), "from": A, "to": B})
        out, said = process.communicate(timeout=20)
        assert process.returncode == 0 and "app: updated" in out and "deferred" not in out, (out, said)
    finally:
        again.close()


def stops(bus):
    """pulletd refuses requests."""
    with contextlib.suppress(CallError):
        bus.order("Check", "web")
        return False
    return True


@pytest.mark.parametrize("how", ["hold", "hold =", "reload"])
def test_no_slice_for_what_is_held_or_gone(bus, pullet, how):
    prepared(pullet, held=False)
    for name in NAMES[1:]:
        written(pullet, name, held=False, last_error=None, rejected=[])
    configure(pullet, *NAMES)
    units = Units(bus, pullet)
    try:
        with ask(units, "finish", "app") as say:
            if how == "hold":
                bus.order("Hold", "app")
            elif how == "reload":
                configure(pullet, *NAMES[1:])
            else:
                text = pullet.config.read_text()
                pullet.config.write_text(text.replace("[container app]", "[container app]\nhold = yes"))
            if how != "hold":
                units.process.send_signal(signal.SIGHUP)
                wait_for("the reload", lambda: "configuration reloaded" in log_of(pullet))
            say(part("app"))
        if how == "hold":
            with ask(units, "hold", "app") as say:
                prepared(pullet, held=True)
                say(result("app", "deferred"))
        bus.order("Check", "web")
        with ask(units, "check", "web") as say:
            say(result("web"))
        wait_for("the end", lambda: bus.properties("web")["Operation"] == "")
        bus.order("Check", "db")
        with ask(units, "check", "db") as say:
            say(result("db"))
        if how != "reload":
            assert bus.properties()["Download"][1] == 0
    finally:
        units.close()


def once(pullet, bus, socket_path):
    return pullet.spawn("--once", "--json", "--update-socket", socket_path, stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE, text=True, env=bus.environment)


def test_once_goes_on_until_the_end(bus, pullet):
    configure(pullet, *NAMES)
    path = pullet.lab.path("once.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    listener.settimeout(60)
    process = once(pullet, bus, path)

    def serve(*events):
        connection, _ = listener.accept()
        with connection:
            asked = json.loads(connection.makefile().readline())
            for event in events:
                connection.sendall((json.dumps(event) + "\n").encode())
            return asked["operation"], asked["containers"]

    assert serve({"event": "candidate", "container": "app", "to": B, "operation": "update", "after": []},
                 {"event": "candidate", "container": "db", "to": B, "operation": "update", "after": []},
                 {"event": "candidate", "container": "web", "to": B, "operation": "update", "after": ["app"]}) == ("poll", list(NAMES))
    assert serve(part("app")) == ("update", ["app"])
    assert serve(part("db")) == ("update", ["db"])
    # web comes after app, which is not at its end: it waits for the next round.
    assert serve(part("app", come=900)) == ("update", ["app"])
    assert serve({**result("db", "updated"), "from": A, "to": B}) == ("update", ["db"])
    assert serve({**result("app", "updated"), "from": A, "to": B}) == ("update", ["app"])
    out, said = process.communicate(timeout=20)
    listener.close()
    assert process.returncode == 0, said
    results = {one["container"]: (one["result"], one["reason"]) for one in map(json.loads, out.splitlines())}
    assert len(out.splitlines()) == 3 and results == {
        "app": ("updated", None), "db": ("updated", None),
        "web": ("deferred", "app, which it comes after, is still downloading")}
