# SPDX-License-Identifier: MIT
"""An update that is killed at any system call ends as it would have without the kill: a sample, spread over all
instants. tests/engine/crash --all runs every one. PULLET_SEED makes a run repeatable."""

import contextlib
import os
import random
import re
import subprocess
import sys
import time

import pytest

import pullet_trace
from pullet_crash import STORIES, Campaign, Scene, spread

SAMPLE = {"update": 4, "delta": 4, "signed": 3, "rollback": 3}  # of the others 1, and a pair of each
KILLS = int(os.environ.get("PULLET_KILLS", 5))  # at random times
SEED = int(os.environ.get("PULLET_SEED", time.time_ns() % 10**9))


@pytest.mark.parametrize("side, files", [("before", ["a"]), ("after", ["b"])])
def test_before_and_after_a_call(tmp_path, side, files):
    """A call is not executed if killed before it, and executed if killed after it."""
    (tmp_path / "a").write_text("")
    trace = pullet_trace.run(
        [sys.executable, "-c", f"import os; os.rename('{tmp_path}/a', '{tmp_path}/b')"],
        lambda call, where, _: "process" if (call.text, where) == ("rename a", side) else None)
    assert trace.struck == f"{side} {trace.calls[-1]}" and trace.status == -9
    assert os.listdir(tmp_path) == files


@pytest.fixture(scope="module")
def campaign(lab, engine, registry):
    print(f"PULLET_SEED={SEED}")
    campaign = Campaign(lab, engine, registry, SEED)
    yield campaign
    engine.clear()


def test_broken_promises_are_seen(lab, engine, registry):
    """Two containers at once, and remains of an update."""
    scene = Scene(lab, engine, registry, next(story for story in STORIES if story.name == "adopt"), "seen")
    scene.learn()
    scene.set_up()
    scene.play()
    engine.run("seen.next", scene.image)
    (scene.pullet.state / ".seen.json.new").write_text("")
    faults = scene.broken_promises(scene.picture())
    assert "seen: 2 ran at once" in faults
    assert "containers seen.next: left over" in faults
    assert any(fault.startswith("files") for fault in faults), faults


@pytest.mark.parametrize("story", STORIES, ids=[story.name for story in STORIES])
def test_killed_at_any_instant(campaign, story):
    scene = campaign.scene(story)
    instants = scene.instants()
    assert len(instants) > 200  # the trace is not blind
    for instant in spread(instants, SAMPLE.get(story.name, 1), campaign.dice):
        trial = campaign.trial(scene, instant)
        assert not trial.faults, trial
    trial = campaign.pair(scene, instants)
    assert not trial.faults, trial
    print(f"{story.name}: {len(scene.calls)} points; so far {campaign.summary()}")


def test_killed_while_the_spool_is_emptied(campaign):
    """A blob whose list is gone already would stay for ever."""
    scene = campaign.scene(STORIES[1])
    emptying = [instant for instant in scene.instants() if re.fullmatch("unlinkat [0-9a-f]{64}", instant.call.text)]
    for instant in spread(emptying, 2, campaign.dice):
        trial = campaign.trial(scene, instant)
        assert not trial.faults, trial
    assert emptying


def test_engine_killed_at_any_instant(campaign):
    trial = campaign.engine_trial(campaign.scene(STORIES[0]))
    assert not trial.faults, trial


def test_killed_at_random_times(house):
    """One update after the other, each killed at a random time, every fifth together with the engine."""
    dice = random.Random(SEED)
    house.up(health_period="300ms")
    house.publish()
    start = time.monotonic()
    house.once("updated")
    usual, struck = time.monotonic() - start, 0
    for number in range(1, KILLS + 1):
        second, since = house.publish(), time.time()
        process = house.pullet.spawn("--once", "--json", stdout=subprocess.DEVNULL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(dice.uniform(0, usual))
        struck += process.poll() is None
        house.pullet.kill9(process)
        if number % 5 == 0:
            house.engine.kill9()
            house.engine.start()
        result = house.pullet.once().results["app"]
        assert result["result"] in ("updated", "up-to-date"), f"{number}: {result['reason']}"
        house.check(second, policy="always")
        record = house.pullet.record("app")
        assert (record["phase"], record["rejected"]) == ("idle", []), (number, record)
        if number % 5:
            assert house.most_running(since) == 1, number
    print(f"{KILLS} kills, {struck} of them in the middle, {KILLS // 5} with the engine")
