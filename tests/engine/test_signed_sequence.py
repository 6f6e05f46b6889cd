# SPDX-License-Identifier: MIT
"""A signed sequence number never goes down: old versions with their old signatures, equal and missing numbers, lost records,
rollbacks; and signatures that expire, with a clock and without."""

import datetime
import os
import subprocess
import time

import pytest

from conftest import UP, window
from pullet_clock import preloaded
from pullet_signer import refused, signing  # noqa: F401 (signing: a fixture)


def sequences(house):
    return sorted(entry["seq"] for entry in house.pullet.record("app").get("sequences", []))


@pytest.mark.parametrize("form", ["classic", "bundle"])
def test_an_old_version_with_its_old_signature(house, signing, form):
    first, _ = signing.up(form=form, seq=41)
    second = signing.publish(form=form, seq=42)
    house.once("updated")
    before = house.check(second)
    assert sequences(house) == [42]
    house.registry.point(first)
    refused(house, before, "41", "42")
    snapshot = house.pullet.state_snapshot()
    refused(house, before, "41", "42")
    assert house.pullet.state_snapshot() == snapshot
    house.registry.point(second)
    house.once("up-to-date")
    third = signing.publish(form=form, seq=10**17)  # a jump of any size
    house.once("updated")
    house.check(third)
    assert sequences(house) == [10**17]


def test_an_equal_number_for_another_image(house, signing):
    _, before = signing.up(seq=7)
    signing.publish(seq=7)
    refused(house, before, "7")
    signing.publish(seq=8)
    house.once("updated")


def test_a_missing_number_after_one(house, signing):
    _, before = signing.up(seq=7)
    second = signing.publish()
    refused(house, before, "seq")
    signing.sign(second, form="bundle", seq=8)  # signed once more, with a number
    house.once("updated")
    house.check(second)


def test_the_first_number(house, signing):
    """Versions without numbers are taken until one has a number."""
    signing.up()
    signing.publish()
    house.once("updated")
    assert sequences(house) == []
    second = signing.publish(seq=3)
    house.once("updated")
    assert sequences(house) == [3]
    before = house.check(second)
    signing.publish()
    refused(house, before, "seq")


def test_the_highest_of_several(house, signing):
    _, before = signing.up(seq=5)
    second = signing.publish(seq=4)
    refused(house, before)
    signing.sign(second, seq=6)
    house.once("updated")
    house.check(second)
    assert sequences(house) == [6]


def test_each_key_counts_for_itself(house, signing):
    first, _ = signing.up("prod", "other", seq=100)
    second = signing.publish("other", seq=5)
    house.once("updated")
    before = house.check(second)
    assert sequences(house) == [5, 100]
    house.registry.point(first)  # the newest of its key, and not the newest
    refused(house, before, "older")
    signing.publish("other", seq=4)
    refused(house, before)
    signing.publish("prod", seq=99)
    refused(house, before)
    signing.publish("prod", seq=101)
    house.once("updated")


def test_two_keys_in_two_formats(house, signing):
    """Both sign each version, and one of them would do. The other's statement of an old version does not bring that back."""
    signing.configure("prod", "other", create=UP)
    first = house.publish()
    for number in (41, 42):
        second = first if number == 41 else house.publish()
        signing.sign(second, "prod", "classic", seq=number)
        signing.sign(second, "other", "bundle", seq=number)
        house.once("updated")
    before = house.check(second)
    assert sequences(house) == [42, 42]
    house.registry.point(first)
    refused(house, before, "41", "42")
    signing.signer.remove(first.digest)
    signing.sign(first, "other", "bundle", seq=41)
    refused(house, before, "41", "42")


@pytest.mark.parametrize("lost", ["removed", "garbage", "all of the state"])
@pytest.mark.parametrize("form", ["classic", "bundle"])
def test_a_lost_record(house, signing, lost, form):
    """The floor is that of the version that runs."""
    first, _ = signing.up(form=form, seq=41)
    second = signing.publish(form=form, seq=42)
    house.once("updated")
    before = house.check(second)
    record = house.pullet.state / "app.json"
    if lost == "garbage":
        record.write_bytes(os.urandom(300))
    elif lost == "removed":
        record.unlink()
    else:
        subprocess.run(["rm", "-rf", house.pullet.state], check=True)
    house.registry.point(first)
    refused(house, before, "41", "42")
    third = signing.publish(form=form, seq=43)
    house.once("updated")
    house.check(third)


def test_others_update_it(house, signing):
    """What runs has not been verified here, and its number is none of the record's."""
    signing.up(seq=10)
    older, newer = signing.publish(seq=11), signing.publish(seq=12)
    house.engine.remove_container("app")
    _, before = house.adopt(newer)
    house.once("up-to-date")
    house.registry.point(older)
    refused(house, before, "11", "12")


def test_a_lost_record_and_a_registry_without_the_running_version(house, signing):
    """The registry no longer has the running version's signature: no floor can be known, and what is signed is taken."""
    signing.up(seq=41)
    second = signing.publish(seq=42)
    house.once("updated")
    (house.pullet.state / "app.json").unlink()
    signing.signer.remove(second.digest)
    third = signing.publish(seq=50)
    house.once("updated")
    house.check(third)


def test_a_record_that_is_lost_in_the_middle_of_an_update(house, signing):
    first, _ = signing.up(seq=41)
    signing.publish(seq=42)
    house.once("updated")
    third = signing.publish(seq=43)
    signing.configure(window=window(6, 7))
    house.once("deferred", reason="window")
    (house.pullet.state / "app.json").unlink()
    house.registry.point(first)
    signing.configure()
    before = house.engine.inspect("app")
    refused(house, before, "41", "42")
    house.registry.point(third)
    house.once("updated")
    house.check(third)


def test_the_operators_rollback_is_exempt(house, signing):
    first, _ = signing.up(seq=41)
    second = signing.publish(seq=42)
    house.once("updated")
    assert house.pullet.order("rollback")[-1]["result"] == "updated"
    before = house.check(first)
    assert sequences(house) == [42]  # and it lowers nothing
    house.once("refused", reason="rejected")
    third = signing.publish(seq=42)
    refused(house, before, "42")
    signing.sign(third, seq=43)
    house.once("updated")
    house.check(third)
    assert second.digest in str(house.pullet.record("app")["rejected"])


def test_a_version_that_is_rolled_back_raises_nothing(house, signing):
    first, _ = signing.up(seq=5)
    signing.publish(seq=6)
    house.once("updated")
    broken = house.publish("exit", 3)
    signing.sign(broken, seq=99)
    house.once("rolled-back")
    assert sequences(house) == [6]
    fixed = signing.publish(seq=7)
    house.once("updated")
    house.check(fixed)


def test_a_check_raises_nothing(house, signing):
    _, before = signing.up(seq=5)
    signing.publish(seq=9)
    house.pullet.order("check")
    house.untouched(before)
    assert sequences(house) == [5]


# --- expires ----------------------------------------------------------------------------------------


def at(seconds):
    when = datetime.datetime.fromtimestamp(time.time() + seconds, datetime.timezone.utc)
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture(scope="session")
def past(tmp_path_factory):
    """An environment in which every program reads the year 1970."""
    return preloaded(tmp_path_factory.mktemp("past"), "past-clock.c")


@pytest.fixture(scope="session")
def later(tmp_path_factory):
    """The same two hours from now."""
    return preloaded(tmp_path_factory.mktemp("later"), "offset-clock.c", CLOCK_OFFSET="7200")


@pytest.mark.parametrize("form", ["classic", "bundle"])
def test_a_signature_that_has_expired(house, signing, form):
    _, before = signing.up(form=form, seq=1, expires=at(3600))
    second = signing.publish(form=form, seq=2, expires=at(-60))
    refused(house, before, "expire")
    signing.sign(second, form=form, seq=3, expires=at(3600))
    house.once("updated")
    house.check(second)


def test_without_a_clock_it_does_not_count(house, signing, past):
    signing.up(seq=1)
    second = signing.publish(seq=2, expires="2001-01-01T00:00:00Z")
    signing.configure(health_period="7s")  # the engine has another year here, and its old events seem new
    house.once("updated", env=past)
    house.check(second)


def test_it_expires_while_it_runs(house, signing, later):
    """What runs goes on, and is told; nothing is asked more often."""
    first, before = signing.up(seq=1, expires=at(3600))
    house.once("up-to-date", env=later)
    house.untouched(before)
    snapshot, mark = house.pullet.state_snapshot(), house.registry.mark()
    house.once("up-to-date", env=later)
    assert [r.method for r in house.registry.requests(mark)] == ["HEAD"]
    assert house.pullet.state_snapshot() == snapshot
    second = signing.publish(seq=2, expires=at(4 * 3600))
    house.once("updated", env=later)
    house.check(second)


@pytest.mark.parametrize("form", ["classic", "bundle"])
def test_it_is_signed_again_while_it_runs(house, signing, later, form):
    """The registry is asked when it expires, and later on; an operator's order asks at once. Who signs it again ends the alarm."""
    first, before = signing.up(form=form, seq=1, expires=at(3600))
    house.once("up-to-date", env=later)
    expires = house.pullet.record("app")["current"]["signature"]["expires"]
    signing.sign(first, "thief", form, seq=3, expires=at(4 * 3600))
    signing.sign(first, form=form, seq=2, expires=at(1800))
    assert house.pullet.order("update", env=later)[-1]["result"] == "up-to-date"
    assert house.pullet.record("app")["current"]["signature"]["expires"] == expires
    assert sequences(house) == [1]
    signing.sign(first, form=form, seq=2, expires=at(4 * 3600))
    assert house.pullet.order("update", env=later)[-1]["result"] == "up-to-date"
    assert house.pullet.record("app")["current"]["signature"]["expires"] > expires
    assert sequences(house) == [2]
    house.untouched(before)
    mark = house.registry.mark()
    house.once("up-to-date", env=later)
    assert [r.method for r in house.registry.requests(mark)] == ["HEAD"]


def test_it_is_signed_again_before_it_expires(house, signing, later):
    first, before = signing.up(seq=1, expires=at(3600))
    signing.sign(first, seq=2, expires=at(4 * 3600))
    house.once("up-to-date", env=later)
    assert sequences(house) == [2]
    house.untouched(before)


def test_it_expires_while_it_waits(house, signing, later):
    _, before = signing.up(seq=1)
    second = house.publish()
    signing.sign(second, seq=2, expires=at(3600))
    signing.configure(window=window(6, 7))
    house.once("deferred", reason="window")
    assert house.pullet.record("app")["phase"] == "prepare"
    signing.configure()
    entry = house.once("refused", env=later)
    assert "expire" in entry["reason"], entry
    house.untouched(before)
    signing.sign(second, seq=3, expires=at(4 * 3600))
    house.once("updated", env=later)
    house.check(second)


def test_an_operators_rollback_to_what_has_expired(house, signing, later):
    first, _ = signing.up(seq=1, expires=at(3600))
    second = signing.publish(seq=2)
    house.once("updated")
    done = house.pullet.order("rollback", env=later)[-1]
    assert (done["result"], done["to"]) == ("updated", first.digest), done
    house.check(first)
    assert second.digest in str(house.pullet.record("app")["rejected"])
