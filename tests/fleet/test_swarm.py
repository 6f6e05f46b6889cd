# SPDX-License-Identifier: MIT
"""A fleet under a virtual clock, with the agent's own schedule and policy code: no herd, and when each device gets a
version. The large runs are tests/fleet/swarm."""

import hashlib
import json
import os
import pathlib
import subprocess

import pytest

BUILD = pathlib.Path(os.environ["PULLET_BUILD"])
BASE = 1800000000
INTERVAL = 900


def simulate(*arguments):
    done = subprocess.run([BUILD / "tests/simulate", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def busiest_tenth(story):
    """Recomputed here: the load in the busiest tenth of an interval relative to the mean, over whole intervals."""
    counts, tenth = story["requests_per_s"], 10
    assert story["slice_s"] * 100 == story["interval_s"]
    return max(sum(counts[i:i + tenth]) for i in range(len(counts) - tenth + 1)) / (sum(counts) / len(counts) * tenth)


@pytest.mark.parametrize("jitter", [0, 10, 50])
def test_no_herd_after_a_power_cut(jitter):
    """1,000 devices that boot in one second: at most 1.5 times the mean in any tenth of an interval."""
    story = simulate("--devices", 1000, "--jitter", jitter, "--length", 8 * INTERVAL)
    assert busiest_tenth(story) <= 1.5
    assert story["herd_factor"] == pytest.approx(busiest_tenth(story), rel=1e-3)
    assert sum(story["requests_per_s"]) * story["slice_s"] == pytest.approx(8000, rel=.02)  # one poll an interval


def test_clones_are_a_herd():
    """The measure can fail: machines with the same id."""
    assert simulate("--devices", 1000, "--cloned")["herd_factor"] > 5


@pytest.fixture
def policy(tmp_path):
    def write(**keys):
        path = tmp_path / "policy.json"
        target = "sha256:" + hashlib.sha256(b"x").hexdigest()
        path.write_text(json.dumps({"version": 1, "sequence": 1, "target": target, **keys}))
        return path
    return write


def share_at(story, seconds):
    return story["share"][int(seconds / story["slice_s"]) - 1]


def test_percent(policy):
    story = simulate("--devices", 10000, "--policy", policy(percent=10), "--publish", INTERVAL, "--length", 4 * INTERVAL)
    assert story["share"][-1] == pytest.approx(.1, abs=.012)  # four standard deviations
    assert share_at(story, INTERVAL) == 0


def test_steps_only_add(policy):
    """1 % at once, 50 % two intervals later, all after four."""
    def at(intervals):
        return f"2027-01-15T{8 + intervals * INTERVAL // 3600:02}:{intervals * INTERVAL // 60 % 60:02}:00Z"

    ramp = [(0, 1), (2, 1), (2, 50), (4, 50), (4, 100)]
    path = policy(ramp=[{"at": at(when), "percent": percent} for when, percent in ramp])
    story = simulate("--devices", 10000, "--policy", path, "--publish", 0, "--length", 6 * INTERVAL)
    assert share_at(story, 2 * INTERVAL) == pytest.approx(.01, abs=.004)
    assert share_at(story, 4 * INTERVAL) == pytest.approx(.5, abs=.02)
    assert share_at(story, 6 * INTERVAL) == 1
    assert story["share"] == sorted(story["share"])


def test_what_it_costs(policy):
    story = simulate("--devices", 1000, "--policy", policy(percent=0), "--publish", INTERVAL, "--length", 3 * INTERVAL,
                     "--quiet", "1,600", "--news", "3,4000", "--wait", "2,2000", "--pull", "3,24000")
    slices = int(INTERVAL / story["slice_s"])
    first, second, third = (sum(story["bytes_per_s"][i * slices:(i + 1) * slices]) * story["slice_s"] for i in range(3))
    assert first == pytest.approx(600_000, rel=.05)
    assert second == pytest.approx(4_000_000, rel=.05)
    assert third == pytest.approx(2_000_000, rel=.05)
    everybody = simulate("--devices", 1000, "--publish", INTERVAL, "--length", 3 * INTERVAL, "--quiet", "1,600",
                         "--news", "3,4000", "--pull", "3,24000")
    assert sum(everybody["bytes_per_s"]) * story["slice_s"] == pytest.approx(1000 * (600 + 4000 + 24000 + 600), rel=.05)


def test_bad_policy_is_reported(policy):
    done = subprocess.run([BUILD / "tests/simulate", "--policy", policy(percent=101)], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 2 and "percent" in done.stderr
