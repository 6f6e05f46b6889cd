# SPDX-License-Identifier: MIT
"""org.pullet.Agent1 on a private bus: the properties of pulletd, who may call its methods, and that it needs no bus.
The engine is missing, or never answers."""

import itertools
import json
import pathlib
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from pullet_bus import (  # noqa: E402
    CONTAINER, NAME, PATH, CallError, Polkit, configure, hanging_engine, interfaces, path_of, resident,
    write_record)
from pullet_agent import Pullet  # noqa: E402
from pullet_lab import TOP  # noqa: E402
from pullet_sweep import stop_process, wait_for  # noqa: E402

_numbers = itertools.count(1)
A, B, C = ("sha256:" + letter * 64 for letter in "abc")
ORDERS = {"Check": "check", "Update": "update", "UpdateNow": "update", "Rollback": "rollback", "Hold": "hold",
          "Release": "hold", "Retry": "retry"}


def test_introspection_equals_the_xml(bus, daemon):
    page = (TOP / "systemd/org.pullet.Agent1.xml").read_text()
    xml.etree.ElementTree.fromstring(page)
    said = {}
    for path in (PATH, path_of("app")):
        said.update(interfaces(bus.busctl("call", NAME, path, "org.freedesktop.DBus.Introspectable",
                                          "Introspect")[0]))
    assert "org.freedesktop.DBus.ObjectManager" in said
    ours = {name: members for name, members in said.items() if name.startswith(NAME)}
    assert ours == interfaces(page) and len(ours) == 2


def test_only_a_hold_takes_arguments():
    """No image, key or path."""
    page = (TOP / "systemd/org.pullet.Agent1.xml").read_text()
    methods = {dict(head)["name"]: [dict(one)["name"] for one in arguments]
               for kind, head, arguments in interfaces(page)[CONTAINER] if kind == "method"}
    assert methods == {**dict.fromkeys(ORDERS, []), "HoldUntil": ["until", "reason", "by"]}


def test_policy_names_every_action_and_its_owner():
    policy = xml.etree.ElementTree.parse(TOP / "systemd/org.pullet.Agent1.policy").getroot()
    actions = {action.get("id"): action for action in policy.iter("action")}
    assert set(actions) == {"org.pullet.agent1." + action for action in ORDERS.values()}
    used = set(re.findall(r'"(org\.pullet\.agent1\.\w+)"', (TOP / "agent/base/operation.c").read_text()))
    assert used == set(actions)
    user = re.search(r"^User=(\w+)", (TOP / "systemd/pulletd.service.in").read_text(), re.M)[1]
    for action in actions.values():
        # Without it polkit rejects requests of pulletd, which is not root.
        assert [a.text for a in action.findall("annotate")
                if a.get("key") == "org.freedesktop.policykit.owner"] == ["unix-user:" + user]
    assert f'<policy user="{user}">' in (TOP / "systemd/org.pullet.Agent1.conf").read_text()


def test_only_root_and_pullet_may_own_the_name(bus):
    with pytest.raises(CallError, match="denied|not allowed"):
        bus.busctl("call", "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus",
                   "RequestName", "su", NAME, "0", user="nobody")


def test_properties_mirror_the_record(bus, pullet):
    def release(digest):
        return {"digest": digest, "manifest": None, "image": digest, "brought": True, "pulled": None}

    signature = {"keys": [{"name": name, "id": C, "seq": 42} for name in ("prod.pub", "cto.pub")], "expires": 1_893_456_000}
    write_record(pullet.state, "app", current={**release(A), "signature": signature}, previous=release(B),
                 rejected=[{"digest": C, "manifest": None, "reason": "it exited with status 3"}],
                 held=True, last_error="this digest was rejected before")
    configure(pullet, "app", "9.new-one")
    with resident(pullet, bus):
        properties = bus.properties(user="nobody")
        next_check = properties.pop("NextCheck")
        error = properties.pop("LastError")
        assert properties == {
            "Name": "app", "Image": "127.0.0.1:1/app:stable", "Phase": "idle", "Operation": "",
            "Current": A, "Target": "", "Previous": B, "Rejected": [[C, "it exited with status 3"]],
            "Held": True, "HeldUntil": 0, "HeldBy": "", "HeldReason": "", "RolledBack": False, "Progress": [0, 0], "Download": [0, 0, 0, ""], "DownloadPlain": 0, "LastResult": "",
            "Version": "", "TargetVersion": "", "SignedBy": ["prod.pub", "cto.pub"],
            "SignatureExpires": 1_893_456_000_000_000, "Step": ["", 0, 0]}  # phase idle: nothing to finish
        assert next_check > 1_600_000_000 * 1_000_000
        assert error == "this digest was rejected before"  # no engine: nothing was learned
        assert bus.objects() == ["9.new-one", "app"]
        fresh = bus.properties("9.new-one")
        assert (fresh["Current"], fresh["Phase"], fresh["Rejected"]) == ("", "idle", [])
        assert (fresh["SignedBy"], fresh["SignatureExpires"]) == ([], 0)
        last = json.loads(fresh["LastResult"])  # without a record: the engine was asked
        assert last["result"] == "failed" and last["container"] == "9.new-one"
        assert "cannot connect" in last["reason"]
        version = bus.busctl("get-property", NAME, PATH, NAME, "Version")
        assert version and version in pullet.program.read_bytes().decode(errors="replace")
        with pytest.raises(CallError, match="[Uu]nknown"):
            bus.properties("other")


def test_reading_properties_leaves_an_unreadable_record(bus, pullet, daemon):
    (pullet.state / "app.json").write_text("{}")
    before = pullet.state_snapshot()
    assert bus.properties()["Phase"] == "idle"
    assert pullet.state_snapshot() == before


def test_reading_properties_writes_nothing(bus, pullet, daemon):
    before = pullet.state_snapshot()
    for _ in range(3):
        bus.objects()
    assert pullet.state_snapshot() == before


def test_hold_and_release_with_signals(bus, pullet, daemon):
    with bus.listener() as listener:
        bus.order("Hold")
        result = listener.wait_finished("hold")
        assert (result["result"], result["reason"]) == ("deferred", "held by root")
        assert pullet.record("app")["held"] is True and bus.properties()["Held"] is True
        bus.order("Release")
        assert listener.wait_finished("release")["reason"] == "released"
        assert pullet.record("app")["held"] is False
        assert listener.changes("Held") == [True, False]
        assert [value for value in listener.changes("Operation")] == ["hold", "", "release", ""]


def test_a_hold_says_by_whom_until_when_and_why(bus, pullet, daemon):
    """On whose behalf root holds is believed of root; another caller holds by his own name."""
    def hold(*arguments, **options):
        return bus.busctl("call", NAME, path_of("app"), CONTAINER, "HoldUntil", "tss", *arguments, **options)

    def held():
        return [bus.properties()[name] for name in ("Held", "HeldUntil", "HeldBy", "HeldReason")]

    until = (int(time.time()) + 3600) * 1_000_000
    with bus.listener() as listener, Polkit(bus, "yes"):
        hold(str(until), "stock-taking\n\x1b[31m", "alice")
        assert re.fullmatch(r"held by alice until \d{4}-\d\d-\d\d \d\d:\d\d: stock-taking\?\?\[31m",
                            listener.wait_finished("hold")["reason"])
        assert held() == [True, until, "alice", "stock-taking??[31m"]
        # It is the same hold, and another: the second replaces the first. And an end that has passed.
        hold("0", "x" * 500, "root", user="nobody")
        assert listener.wait_finished("hold", number=2)["reason"].startswith("held by nobody: xxx")
        assert held() == [True, 0, "nobody", "x" * 159]
        hold("1000000", "", "")
        listener.wait_finished("hold", number=3)
        assert held() == [False, 0, "", ""]


def test_retry_empties_rejected(bus, pullet, daemon):
    write_record(pullet.state, "app", last_error="bad",
                 rejected=[{"digest": C, "manifest": None, "reason": "bad"}])
    with bus.listener() as listener:
        bus.order("Retry")
        assert "1 rejected digest is forgotten" in listener.wait_finished("retry")["reason"]
        assert listener.changes("Rejected") == [[]] and listener.changes("LastError") == [""]


def test_a_request_between_polls_does_not_move_them(bus, pullet, daemon):
    due = bus.properties()["NextCheck"]
    with bus.listener() as listener:
        bus.order("Check")
        assert listener.wait_finished("check")["result"] == "failed"
    assert abs(bus.properties()["NextCheck"] - due) < 100_000


@pytest.mark.parametrize("method", ORDERS)
@pytest.mark.parametrize("answer", ["yes", "no"])
def test_polkit_authorizes_other_users(bus, pullet, daemon, method, answer):
    with Polkit(bus, answer) as polkit, bus.listener() as listener:
        if answer == "yes":
            bus.order(method, user="nobody")
            listener.wait_finished({"UpdateNow": "update-now"}.get(method, method.lower()))
        else:
            with pytest.raises(CallError, match="[Aa]ccess denied"):
                bus.order(method, user="nobody")
            assert listener.signals == []
        [(action, container, subject, flags)] = polkit.questions
        assert (action, container) == ("org.pullet.agent1." + ORDERS[method], "app")
        assert subject.startswith(":1.") and flags in ("0", "1")


def test_root_needs_no_authorization(bus, daemon):
    with Polkit(bus, "no") as polkit, bus.listener() as listener:
        bus.order("Hold")
        listener.wait_finished("hold")
        assert polkit.questions == []


def test_without_polkit_only_root(bus, pullet, daemon):
    with pytest.raises(CallError, match="[Aa]ccess denied"):
        bus.order("Hold", user="nobody")
    assert pullet.record("app")["held"] is False


@pytest.mark.parametrize("answer, said", [
    ("challenge", "password|[Ii]nteractive"), ("error", "[Aa]ccess denied")])
def test_every_other_answer_of_polkit_denies(bus, pullet, daemon, answer, said):
    with Polkit(bus, answer) as polkit:
        with pytest.raises(CallError, match=said):
            bus.order("Hold", user="nobody")
        assert len(polkit.questions) == 1
    assert pullet.record("app")["held"] is False


def test_a_hanging_polkit_blocks_no_other_call(bus, pullet, daemon):
    with Polkit(bus, "silence") as polkit, bus.listener() as listener:
        waiting = [subprocess.Popen(
            ["busctl", "--system", "call", NAME, path_of("app"), CONTAINER, "Hold"],
            env={**pullet.lab.environment, **bus.environment}, user="nobody", extra_groups=[],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(16)]
        try:
            wait_for("all questions", lambda: len(polkit.questions) == 16)
            # The limit of pending requests.
            with pytest.raises(CallError, match="too many"):
                bus.order("Hold", user="nobody")
            bus.order("Check")
            listener.wait_finished("check")
            # Without polkit there are no answers, either.
            polkit.process.kill()
            for process in waiting:
                assert "denied" in process.communicate(timeout=60)[1].lower()
        finally:
            for process in waiting:
                process.kill()
                process.wait()
                process.stderr.close()
    assert pullet.record("app")["held"] is False


def test_bus_starts_later_and_restarts(bus, pullet):
    bus.stop()
    bus.socket.unlink(missing_ok=True)
    with resident(pullet, bus) as process:
        wait_for("the passes of the start", lambda: "cannot connect" in process.log.read_text())
        for _ in range(2):
            bus.start()
            bus.wait_for_pulletd()
            assert bus.properties()["Phase"] == "idle"
            bus.stop()
            wait_for("a word about it", lambda: "disconnected" in process.log.read_text())
        assert process.poll() is None


def test_polls_go_on_without_a_bus(bus, pullet):
    configure(pullet, "app", interval="1s", jitter="0%")
    with resident(pullet, bus) as process:
        bus.stop()
        wait_for("the loss", lambda: "disconnected" in process.log.read_text())
        engine = pullet.lab.path("other-engine")
        configure(pullet, "app", interval="1s", jitter="0%", engine=f"unix://{engine}")
        wait_for("a poll", lambda: str(engine) in process.log.read_text())


def test_two_daemons_and_one_name(bus, pullet, daemon, lab):
    other = Pullet(lab, pullet.engine, f"other-{next(_numbers)}")
    configure(other, "second")
    with open(other.directory / "log", "wb") as out:
        process = other.spawn(stderr=out, env=bus.environment)
    try:
        wait_for("a complaint", lambda: "another pulletd has it" in (other.directory / "log").read_text())
        assert bus.objects() == ["app"] and process.poll() is None
    finally:
        stop_process(process)


def test_reload_adds_and_removes_objects(bus, pullet, daemon):
    with bus.listener() as listener:
        configure(pullet, "app", "more")
        daemon.send_signal(signal.SIGHUP)
        wait_for("the new object", lambda: bus.objects() == ["app", "more"])
        configure(pullet, "more")
        daemon.send_signal(signal.SIGHUP)
        wait_for("the old object's end", lambda: bus.objects() == ["more"])
        added = [arguments[0] for member, _, arguments in listener.signals
                 if member == "InterfacesAdded"]
        removed = [arguments[0] for member, _, arguments in listener.signals
                   if member == "InterfacesRemoved"]
    assert path_of("more") in added and path_of("app") in removed
    # The signals alone describe the right objects.
    known = {path_of("app")}
    for member, _, arguments in listener.signals:
        if member == "InterfacesAdded":
            known.add(arguments[0])
        elif member == "InterfacesRemoved":
            known.discard(arguments[0])
    assert known == {path_of("more")}


def test_requests_wait_for_the_running_job_and_overtake_the_round(bus, pullet, lab):
    path, listener_socket = hanging_engine(lab, f"hanging-{next(_numbers)}")
    configure(pullet, "app", "db", "web", interval="2s", jitter="0%", engine=f"unix://{path}")
    with open(pullet.directory / "pulletd.log", "ab") as out:
        process = pullet.spawn(stdout=out, stderr=out, env=bus.environment)
    try:
        bus.wait_for_pulletd()
        wait_for("the first pass", lambda: bus.properties("app")["Operation"] == "finish")
        with bus.listener() as listener:
            # The previous image may change during the job.
            with pytest.raises(CallError, match="another operation"):
                bus.order("Rollback", "app")
            bus.order("Hold", "web")
            bus.order("Hold", "web")  # the same request joins the first one
            bus.order("Hold", "db")
            bus.order("Hold", "app")
            assert bus.properties("web")["Operation"] == ""
            assert bus.properties("app")["NextCheck"] == 0
            listener_socket.close()  # every job ends quickly from now on
            path.unlink()
            for name in ("app", "db", "web"):
                listener.wait_finished("hold", name)
            order = [(operation, where.rsplit("/", 1)[1]) for operation, where in (
                (arguments[0], where) for member, where, arguments in listener.signals
                if member == "Finished")]
        assert order[:4] == [("finish", "app"), ("hold", "web"), ("hold", "db"), ("hold", "app")]
        assert order.count(("hold", "web")) == 1
    finally:
        stop_process(process)
        pullet.kill9(process)
