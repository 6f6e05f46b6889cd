# SPDX-License-Identifier: MIT
"""A rollout policy that somebody removes, rewrites or makes up holds the device; the operator has a way back."""

import json
import os
import pathlib
import subprocess

import pytest

from pullet_image import MEDIA

BUILD = pathlib.Path(os.environ.get("PULLET_BUILD", "build"))


class Fleet:
    """The operator's side: policies beside the image of a house."""

    def __init__(self, house):
        self.house = house

    def policy(self, published, sequence, **keys):
        body = {"version": 1, "sequence": sequence, "target": published.digest, "percent": 100, **keys}
        self.house.registry.publish_rollout(self.house.repository, "stable", body)

    def delete(self):
        """As a retention rule for odd tags does."""
        base = f"/v2/{self.house.repository}/manifests/"
        accept = {"Accept": MEDIA["oci"]["manifest"]}
        registry = self.house.registry
        _, headers, _ = registry.request("HEAD", base + "stable.rollout", headers=accept)
        status, _, body = registry.request("DELETE", base + headers["Docker-Content-Digest"])
        assert status == 202, body

    def rollout(self, *words):
        done = subprocess.run([BUILD / "pullet", "--config", self.house.pullet.config, "rollout", *words,
                               self.house.image], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done
        return done.stdout

    def remembered(self):
        record = self.house.pullet.record("app")
        return record.get("rollout_sequence"), record.get("rollout_state")

    def halted(self):
        """A device that runs the first version, and has seen that the second is halted (sequence 5)."""
        _, before = self.house.up()
        second = self.house.publish()
        self.policy(second, 5, halt=True)
        self.house.once("deferred", reason="halted (sequence 5)")
        return second, before


@pytest.fixture
def fleet(house):
    return Fleet(house)


# security-audit 7
def test_a_retention_rule_removes_a_halt(house, fleet):
    second, before = fleet.halted()
    fleet.delete()
    house.once("deferred", reason="(sequence 5) was removed")
    snapshot = house.pullet.state_snapshot()
    house.once("deferred", reason="free this device with pullet retry app")
    assert house.pullet.state_snapshot() == snapshot
    house.untouched(before)
    told = house.pullet.order("retry")[-1]
    assert told["reason"] == "the rollout policy is forgotten"
    house.once("updated")
    house.check(second)


# security-audit 7: seen, but not for this image
def test_the_policy_of_the_version_before_is_removed(house, fleet):
    first, before = house.up()
    fleet.policy(first, 5)
    second = house.publish()
    house.once("deferred", reason="for another image")
    assert fleet.remembered() == (None, "seen")
    fleet.delete()
    house.once("deferred", reason="was removed")
    house.untouched(before)
    house.configure(rollout="no")
    house.once("updated")
    house.check(second)


# security-audit 8
def test_a_sequence_that_nobody_can_exceed(house, fleet):
    first, before = house.up()
    second = house.publish()
    fleet.policy(first, 10 ** 6)
    house.once("deferred", reason="for another image")
    fleet.policy(second, 2 ** 53)
    house.once("deferred", reason="too high: at most ")
    assert fleet.remembered() == (None, "seen")
    house.untouched(before)
    fleet.rollout("set", "--percent", "100", "--sequence", "7")
    house.once("updated")
    house.check(second)
    assert fleet.remembered() == (7, "seen")


# security-audit, section e
def test_a_halt_is_rewritten_under_its_number(house, fleet):
    second, before = fleet.halted()
    fleet.policy(second, 5)
    house.once("deferred", reason="its sequence is still 5")
    house.untouched(before)
    fleet.policy(second, 6)
    house.once("updated")


# operator-report 11
def test_no_rollouts_any_more(house, fleet):
    second, _ = fleet.halted()
    assert "ends all rollouts" in fleet.rollout("clear")
    house.once("updated")
    house.check(second)
    assert fleet.remembered() == (6, "cleared")
    third = house.publish()
    fleet.delete()  # a device that has seen the end of all rollouts needs it no longer
    house.once("updated")
    house.check(third)
    fourth = house.publish()
    fleet.policy(fourth, 5)  # an old one that is put back
    house.once("deferred", reason="too old")
    fleet.policy(fourth, 7, percent=0)
    house.once("deferred", reason="covers 0 %")
    fleet.delete()
    house.once("deferred", reason="was removed")


# operator-report 11: the policy was deleted by hand before
def test_rollouts_end_without_a_policy_to_replace(house, fleet):
    second, _ = fleet.halted()
    fleet.delete()
    fleet.rollout("clear")
    house.once("updated")
    house.check(second)
    house.publish()
    house.configure(rollout="required")
    house.once("deferred", reason="ends all rollouts")


# security-audit 21
@pytest.mark.parametrize("damage", [
    lambda text: text.replace('"version": 1', '"version": 2'),
    lambda text: text[:-3],
    lambda text: text.replace('"downtime_ms": -1', '"downtime_ms": "?"'),
], ids=["newer", "cut", "value"])
def test_a_damaged_record_does_not_undo_a_halt(house, fleet, damage):
    second, before = fleet.halted()
    path = house.pullet.state / "app.json"
    path.write_text(damage(path.read_text()))
    fleet.policy(second, 4)
    house.once("deferred", reason="too old: its sequence is 4, but 5")
    fleet.delete()
    house.once("deferred", reason="was removed")
    house.untouched(before)


# security-audit 21: nothing can be read
def test_an_empty_record_and_rollout_required(house, fleet):
    second, before = fleet.halted()
    house.configure(rollout="required")
    (house.pullet.state / "app.json").write_text("")
    fleet.policy(second, 4)
    house.once("deferred", reason="lost with a damaged record")
    house.once("deferred", reason="pullet retry app")
    house.untouched(before)
    house.pullet.order("retry")
    house.once("updated")


# security-audit 21: what failed on trial is not tried again
def test_a_damaged_record_keeps_what_was_rejected(house):
    house.up()
    house.publish("say", "version 2", "exit", 3)
    house.once("rolled-back")
    path = house.pullet.state / "app.json"
    record = json.loads(path.read_text())
    record["current"] = 7
    path.write_text(json.dumps(record))
    assert "rejected" in house.once("refused")["reason"]
