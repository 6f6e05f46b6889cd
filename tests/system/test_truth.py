# SPDX-License-Identifier: MIT
"""What is told is true: status, its JSON and the properties follow what is so now. operator-report 2, 9, 10, 15."""

import json
import signal

import pytest

from pullet_bus import NAME, PATH, configure, resident, write_record
from pullet_sweep import wait_for
from test_job import Units, result
from test_pullet import A, B, C, command, release, written  # noqa: F401

pytestmark = pytest.mark.usefixtures("bus")


@pytest.fixture
def units(bus, pullet):
    written(pullet, held=False, last_error=None, rejected=[])
    units = Units(bus, pullet)
    yield units
    units.close()


def answer(units, bus, method, word, operation=None, **fields):
    """The operation ends with this result."""
    with bus.listener() as listener:
        bus.order(method)
        with units.next() as (_, say):
            say({**result("app", word), "from": A, **fields})
        listener.wait_finished(operation or method.lower())


def told(command):
    one = command.json("status")[0]
    return {key: one[key] for key in ("state", "last_error", "target", "result", "reason")}


def test_the_engine_was_stopped(command, pullet, bus):
    """The card is not written for it, and the status has it all the same."""
    written(pullet, held=False, last_error=None, rejected=[])
    with resident(pullet, bus):
        assert told(command)["state"] == "up to date"
        before = pullet.state_snapshot()
        command("update", status=1)
        one = told(command)
        assert (one["state"], one["result"]) == ("error", "failed") and "cannot connect" in one["last_error"]
        assert one["reason"] == one["last_error"] == bus.properties()["LastError"]
        assert "cannot connect" in command("status")[0]
        assert pullet.record("app")["last_error"] is None and pullet.state_snapshot() == before
        # An order that needs no engine does not make it well.
        for order in ("hold", "release", "retry"):
            command(order, "app")
            assert "cannot connect" in told(command)["last_error"], order


@pytest.mark.parametrize("word, fields, state", [
    ("deferred", {"to": B, "reason": "outside its window"}, "update waits"),
    ("deferred", {"to": A, "reason": "registry 127.0.0.1:1 accepts no request for another 60 s"}, "up to date"),
    ("refused", {"to": B, "reason": "the image is for linux/s390x"}, "error"),
    ("updated", {"to": B}, "up to date"), ("up-to-date", {"to": A}, "up to date")])
def test_an_error_is_gone_with_the_next_pass_that_ends_otherwise(command, bus, units, word, fields, state):
    answer(units, bus, "Update", "failed", reason="the registry does not have it")
    assert told(command)["last_error"] == "the registry does not have it"
    answer(units, bus, "Update", word, **fields)
    assert (told(command)["last_error"], told(command)["state"]) == (
        fields["reason"] if word == "refused" else None, state)


def test_why_an_update_waits_is_known_after_a_reload(command, pullet, bus, units):
    answer(units, bus, "Update", "deferred", to=B, reason="outside its window")
    configure(pullet, "app", "db")
    units.process.send_signal(signal.SIGHUP)
    wait_for("the reload", lambda: len(bus.objects()) == 2)
    assert told(command) == {"state": "update waits", "last_error": None, "target": B, "result": "deferred",
                             "reason": "outside its window"}
    assert "outside its window" in command("status")[0]
    # Another image is another matter.
    pullet.config.write_text(pullet.config.read_text().replace("app:stable", "app:edge"))
    units.process.send_signal(signal.SIGHUP)
    wait_for("the reload", lambda: bus.properties()["Image"].endswith("app:edge"))
    assert told(command)["target"] is None


def test_a_reload_in_the_middle_of_an_update_shows_it_still(pullet, bus, units):
    bus.order("Update")
    with units.next() as (_, say):
        wait_for("the operation", lambda: bus.properties()["Operation"] == "update")
        configure(pullet, "app", "db")
        units.process.send_signal(signal.SIGHUP)
        wait_for("the reload", lambda: len(bus.objects()) == 2)
        assert bus.properties()["Operation"] == "update"
        say(result("app"))
    wait_for("its end", lambda: not bus.properties()["Operation"])


def test_a_hold_does_not_forget_the_update_that_waits(command, bus, units):
    answer(units, bus, "Check", "deferred", to=B, reason="there is an update; only a check was asked for")
    answer(units, bus, "Hold", "deferred", to=A, reason="held by the operator")
    answer(units, bus, "Update", "deferred", to=None, reason="held by the operator")
    assert (told(command)["target"], told(command)["reason"]) == (B, "held by the operator")


def test_a_version_that_waits_keeps_its_name(command, bus, units):
    """A pass that ends before it reads the image again does not know it."""
    answer(units, bus, "Check", "deferred", to=B, version_to="1.4.2", reason="there is an update; only a check was asked for")
    answer(units, bus, "Update", "deferred", to=B, reason="outside its window")
    one = command.json("status")[0]
    assert (one["target"], one["target_version"], one["reason"]) == (B, "1.4.2", "outside its window")
    answer(units, bus, "Update", "deferred", to=C, reason="outside its window")
    assert command.json("status")[0]["target_version"] is None


def test_after_a_retry_the_update_waits(command, bus, units):
    answer(units, bus, "Update", "rolled-back", to=B, reason="it exited with status 3")
    assert told(command)["state"] == "error"  # this stub writes no record
    answer(units, bus, "Retry", "deferred", to=A, reason="1 rejected digest is forgotten")
    assert (told(command)["state"], told(command)["target"]) == ("update waits", B)


def test_a_refused_rollback_is_no_error_of_the_container(command, bus, units):
    answer(units, bus, "Update", "up-to-date", to=A)
    answer(units, bus, "Rollback", "refused", reason="there is no version to go back to")
    assert told(command)["state"] == "up to date"


def test_the_clock_is_wrong(command, bus, units):
    answer(units, bus, "Update", "up-to-date", to=A)
    answer(units, bus, "Update", "deferred", to=None, reason="the clock is not set: not yet valid")
    one = told(command)
    assert (one["state"], one["last_error"], one["reason"]) == (
        "check waits", None, "the clock is not set: not yet valid")
    assert "\n  the clock is not set" in command("status")[0]
    answer(units, bus, "Update", "up-to-date", to=A)
    assert (told(command)["state"], told(command)["reason"]) == ("up to date", None)


def test_a_retry_that_cannot_be_written_mends_nothing(command, bus, units):
    answer(units, bus, "Update", "refused", to=B, reason="this digest was rejected before: it exited with status 3")
    answer(units, bus, "Retry", "failed", reason="app.json.new: No space left on device")
    assert told(command)["last_error"] == "it exited with status 3"


def test_only_what_ran_was_rolled_back(command, pullet, bus):
    one = {"digest": C, "manifest": None, "reason": "the image is for linux/s390x", "engine": "20.10.24"}
    written(pullet, held=False, last_error=one["reason"], rejected=[one])
    with resident(pullet, bus):
        assert told(command)["state"] == "error" and not bus.properties()["RolledBack"]
        assert command("status")[0].count("the image is for") == 1
        written(pullet, held=False, last_error=one["reason"], rejected=[{k: v for k, v in one.items() if k != "engine"}])
        wait_for("the state", lambda: told(command)["state"] == "rolled back")
    assert json.loads(command("status", "--json")[0])[0]["state"] == "rolled back"


def test_what_waited_before_a_restart_waits_still(command, pullet, bus):
    written(pullet, held=False, last_error=None, rejected=[], seen={"digest": B, "at": 1})
    with resident(pullet, bus):
        assert told(command)["state"] == "update waits" and told(command)["target"] == B
    assert json.loads(command("status", "--json")[0])[0]["state"] == "update waits"


# --- the configuration --------------------------------------------------------------------------


def breaks(pullet):
    more = pullet.directory / "conf.d"
    more.mkdir(exist_ok=True)
    (more / "zz.conf").write_text("\n[container zz]\nimagge = x\n")
    return f"{more}/zz.conf:3: "


def config_error(bus):
    return bus.busctl("get-property", NAME, PATH, NAME, "ConfigError")


@pytest.mark.parametrize("how", ["reload", "check"])
def test_a_broken_configuration_is_told_and_its_end(command, pullet, bus, how):
    """With or without a reload after the edit."""
    written(pullet, held=False, last_error=None, rejected=[])
    with resident(pullet, bus) as process:
        where = breaks(pullet)
        if how == "reload":
            process.send_signal(signal.SIGHUP)
        else:
            out, _ = command("check", status=2)
            assert where in out
        wait_for("the fault", lambda: where in told(command)["last_error"] if told(command)["last_error"] else False)
        table, _ = command("status")
        assert table.startswith(where) and "updates are suspended" in table and table.count(where) == 1
        assert told(command)["state"] == "error"
        _, err = command("update", "zz", status=2)
        assert where in err
        (pullet.directory / "conf.d/zz.conf").unlink()
        if how == "reload":
            process.send_signal(signal.SIGHUP)
        else:
            command("check", status=1)
        wait_for("its end", lambda: where not in (told(command)["last_error"] or ""))
        assert where not in command("status")[0]


def test_what_a_broken_configuration_answered_is_over_with_it(command, pullet, bus):
    """An order meets the fault; the reload that mends it leaves nothing of it, and the next check is known."""
    written(pullet, held=False, last_error=None, rejected=[])
    with resident(pullet, bus) as process:
        where = breaks(pullet)
        assert where in command("update", status=2)[0]
        (pullet.directory / "conf.d/zz.conf").unlink()
        process.send_signal(signal.SIGHUP)
        wait_for("its end", lambda: not bus.properties()["LastError"])
        assert told(command) == {"state": "up to date", "last_error": None, "target": None, "result": None,
                                 "reason": None}
        breaks(pullet)
        command("update", status=2)
        (pullet.directory / "conf.d/zz.conf").unlink()
        command("check", status=1)
        wait_for("the schedule", lambda: bus.properties()["NextCheck"] > 0)


def test_an_edit_while_a_job_runs_is_known_to_the_next(pullet, bus, units):
    """Its own request came before the edit."""
    bus.order("Update")
    with units.next() as (_, say):
        breaks(pullet)
        bus.order("Check")
        wait_for("the fault", lambda: config_error(bus))
        (pullet.directory / "conf.d/zz.conf").unlink()
        say({**result("app", "up-to-date"), "from": A})
    with units.next() as (_, say):
        assert config_error(bus) == ""
        say({**result("app", "up-to-date"), "from": A})


def test_a_section_is_renamed_and_nobody_reloads(command, pullet, bus):
    """What is shown is what the next job follows; the others are not at fault."""
    written(pullet, held=False, last_error=None, rejected=[])
    configure(pullet, "app", "old")
    with resident(pullet, bus):
        configure(pullet, "app", "new")
        command("check", "app", status=1)
        wait_for("the new one", lambda: bus.objects() == ["app", "new"])
        assert "cannot connect" in told(command)["last_error"]
        pullet.config.write_text(pullet.config.read_text().replace("app:stable", "app:edge"))
        command("check", "app", status=1)
        wait_for("the image", lambda: bus.properties()["Image"].endswith("app:edge"))


def test_what_was_edited_is_read_before_a_name_is_unknown(command, pullet, bus):
    """A section that is new, and one whose error hid them all when pulletd started."""
    configure(pullet, "app")
    with resident(pullet, bus):
        assert "no [container new]" in command("update", "new", status=2)[1]
        configure(pullet, "app", "new")
        out, _ = command("update", "new", status=1)
        assert out.startswith("new: failed: ") and "cannot connect" in out
        configure(pullet, "app", "new", "newer")
        assert "Name: newer" in command("status", "newer")[0]


@pytest.mark.parametrize("words, status", [(("status",), 0), (("check",), 1), (("hold", "app"), 0)])
def test_an_error_at_the_start_is_over_when_the_file_is_mended(command, pullet, bus, words, status):
    written(pullet, held=False, last_error=None, rejected=[])
    where = breaks(pullet)
    with open(pullet.directory / "pulletd.log", "ab") as out:
        process = pullet.spawn(stdout=out, stderr=out, env=bus.environment)
    try:
        bus.wait_for_pulletd()
        assert where in command(*words, status=2)[1]
        (pullet.directory / "conf.d/zz.conf").unlink()
        out, err = command(*words, status=status)
        assert "app" in out and where not in out + err, (out, err)
    finally:
        pullet.kill9(process)


def test_metrics_of_a_section_that_was_removed_and_of_a_file_that_is_not_wanted(pullet, bus):
    file = pullet.directory / "pullet.prom"
    configure(pullet, "app", "old")
    plain = pullet.config.read_text()
    pullet.config.write_text(plain + f"\n[report]\ntextfile = {file}\n")
    with resident(pullet, bus) as process:
        wait_for("the metrics", lambda: file.exists() and 'container_name="old"' in file.read_text())
        configure(pullet, "app")
        more = pullet.config.read_text()
        pullet.config.write_text(more + f"\n[report]\ntextfile = {file}\n")
        process.send_signal(signal.SIGHUP)
        wait_for("the section's end", lambda: 'container_name="old"' not in file.read_text())
        pullet.config.write_text(more)
        process.send_signal(signal.SIGHUP)
        wait_for("the file's end", lambda: not file.exists())


def test_a_mistyped_tag_is_mended(command, pullet, bus):
    """The record still has what the registry said of the tag before."""
    written(pullet, held=False, last_error="127.0.0.1:1/app:stabel: the registry does not have it", rejected=[])
    with resident(pullet, bus) as process:
        assert told(command)["state"] == "error"
        pullet.config.write_text(pullet.config.read_text().replace("app:stable", "app:edge"))
        process.send_signal(signal.SIGHUP)
        wait_for("the reload", lambda: bus.properties()["Image"].endswith("app:edge"))
        assert told(command)["last_error"] is None


def test_a_broken_configuration_at_boot_waits_for_its_end(command, pullet, bus):
    """One line in the journal, no restarts; and the reload that mends it begins at once."""
    write_record(pullet.state, "app", phase="prepare", update={
        "target": release(B), "rollback": False, "synced": True, "boot_id": "x", "old_id": "o",
        "new_id": "n", "policy": "always", "serving": True, "followers": [], "starts": 0,
        "blame": False, "reason": None})
    where = breaks(pullet)
    log = pullet.directory / "pulletd.log"
    with open(log, "ab") as out:
        process = pullet.spawn(stdout=out, stderr=out, env=bus.environment)
    try:
        bus.wait_for_pulletd()
        _, err = command("status", status=2)
        assert where in err and "updates are suspended" in err
        _, err = command("update", status=2)
        assert where in err
        assert log.read_text().count(where) == 1
        (pullet.directory / "conf.d/zz.conf").unlink()
        process.send_signal(signal.SIGHUP)
        wait_for("the job of the interrupted update", lambda: "cannot connect" in bus.properties()["LastError"])
        assert process.poll() is None
    finally:
        pullet.kill9(process)
