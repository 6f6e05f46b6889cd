# SPDX-License-Identifier: MIT
"""The operations of an operator: check, rollback, hold, release, retry, each a job of pullet-update."""

import signal
import subprocess

import pytest

from conftest import UP


def order(house, what, want, reason=None):
    """-> the result of the operation, which must be want."""
    entry = house.pullet.order(what)[-1]
    assert entry["result"] == want, entry
    if reason:
        assert reason in (entry["reason"] or ""), entry
    return entry


def update(house, **options):
    """A second version replaces the first -> (first, second), both published."""
    first, _ = house.up(**options)
    second = house.publish()
    house.once("updated")
    house.check(second)
    return first, second


def test_check_reports_a_candidate_and_takes_nothing(house):
    first, before = house.up()
    house.once("up-to-date")
    snapshot = house.pullet.state_snapshot()
    assert order(house, "check", "up-to-date")["to"] == first.digest
    second = house.publish()
    images = house.engine.call("GET", "/images/json?all=1")
    mark = house.registry.mark()
    entry = order(house, "check", "deferred", "only a check")
    assert (entry["from"], entry["to"]) == (first.digest, second.digest)
    assert not [r for r in house.registry.requests(mark) if "/blobs/" in r.path and r.size > 2000]  # the config
    assert house.engine.call("GET", "/images/json?all=1") == images
    assert house.pullet.state_snapshot() == snapshot
    house.untouched(before)
    house.once("updated")
    house.check(second)


def test_check_of_a_rejected_digest(house):
    house.up()
    house.publish("exit", 3)
    house.once("rolled-back")
    order(house, "check", "refused", "status 3")


def test_rollback_needs_no_registry_and_lasts(house):
    first, second = update(house)
    house.registry.stop()
    entry = order(house, "rollback", "updated", "by the operator")
    assert (entry["from"], entry["to"]) == (second.digest, first.digest)
    assert entry["downtime_ms"] >= 0
    before = house.check(first, policy="always")
    assert house.engine.tags()[house.image] == before["Image"]
    assert house.most_running(house.start) == 1
    house.registry.start()

    # The tag still points to the rejected image, which is not taken again until retry.
    entry = house.once("refused", "by the operator")
    assert entry["to"] == second.digest
    house.untouched(before)
    order(house, "retry", "deferred", "1 rejected digest is")
    house.once("updated")
    house.check(second)


def test_rollback_of_an_adopted_container(house):
    first, before = house.adopt(HostConfig={"RestartPolicy": {"Name": "unless-stopped"}})
    house.configure()
    house.once("up-to-date")
    house.publish()
    house.once("updated")
    order(house, "rollback", "updated")
    after = house.check(first, policy="unless-stopped")
    assert after["Config"]["Image"] == before["Config"]["Image"]


def test_rollback_twice_does_not_go_forward(house):
    first, _ = update(house)
    order(house, "rollback", "updated")
    before = house.check(first)
    order(house, "rollback", "refused", "pullet retry app")
    house.untouched(before)
    assert house.pullet.record("app")["last_error"] is None


def test_rollback_without_a_previous_image(house):
    _, before = house.up()
    order(house, "rollback", "refused", "no version to go back to")
    house.untouched(before)
    assert house.pullet.record("app")["last_error"] is None


def test_rollback_when_the_image_is_gone(house):
    first, second = update(house)
    image = house.engine.inspect_image("localhost/pullet/previous:app")["Id"]
    house.engine.call("DELETE", f"/images/{image}?force=1")
    before = house.check(second)
    order(house, "rollback", "refused", "no longer in the engine")
    house.untouched(before)


def test_rollback_after_the_container_was_replaced(house):
    update(house)
    other = house.publish()
    house.engine.remove_container("app")
    _, before = house.adopt(other)
    order(house, "rollback", "refused", "was replaced since")
    house.untouched(before)


def test_rollback_leaves_alone_what_was_stopped(house):
    update(house)
    house.engine.call("POST", "/containers/app/stop?t=1")
    before = house.engine.inspect("app")
    order(house, "rollback", "deferred", "stopped")
    house.untouched(before)


def test_rollback_to_a_version_that_fails_now(house):
    """The container that ran is started again, and the previous image is kept."""
    first, second = update(house)
    house.configure(create=UP, health="healthcheck")  # it has none: fails
    entry = order(house, "rollback", "rolled-back", "healthcheck")
    assert (entry["from"], entry["to"]) == (second.digest, first.digest)
    house.check(second)
    house.configure(create=UP)
    house.once("up-to-date")
    order(house, "rollback", "refused", "healthcheck")
    # The previous image is still kept.
    order(house, "retry", "deferred")
    order(house, "rollback", "updated")
    house.check(first)


def test_rollback_overrides_hold_and_window(house):
    first, _ = update(house)
    order(house, "hold", "deferred")
    house.configure(create=UP, hold="yes", window="Mon 00:00-00:01")
    order(house, "rollback", "updated")
    house.check(first)


def test_rollback_that_was_killed_goes_on(house):
    first, _ = update(house, health_period="2s")
    process = subprocess.Popen(
        [house.pullet.build / "pullet-update", "--config", house.pullet.config, "--state-dir",
         house.pullet.state, "--rollback", "app"], stdout=subprocess.PIPE, text=True)
    assert '"prepare"' in process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    # An ordinary pass completes it, although the tag points to another image.
    house.once("updated", "by the operator")
    house.check(first)
    house.once("refused", "by the operator")


def test_hold_until_released(house):
    _, before = house.up()
    order(house, "hold", "deferred", "held")
    second = house.publish()
    mark = house.registry.mark()
    house.once("deferred", "held by the operator")
    assert [r.method for r in house.registry.requests(mark)] == ["HEAD"]
    house.untouched(before)
    snapshot = house.pullet.state_snapshot()
    order(house, "hold", "deferred", "held")
    assert house.pullet.state_snapshot() == snapshot
    order(house, "check", "deferred", "there is an update")
    order(house, "release", "deferred", "released")
    house.once("updated")
    house.check(second)
    order(house, "release", "deferred", "not held")


@pytest.mark.parametrize("known", [True, False])
def test_hold_without_an_engine(house, known):
    if known:
        house.up()
    else:
        house.publish()
        house.configure(create=UP)
    house.engine.stop_daemon()
    if known:
        order(house, "hold", "deferred", "held")
        assert house.pullet.record("app")["held"] is True
    else:
        # The engine alone may know of an update under way.
        order(house, "hold", "failed", "engine")
    house.engine.start()


def test_hold_without_a_record(house):
    house.publish()
    house.configure(create=UP)
    order(house, "hold", "deferred", "held")
    house.once("deferred", "held")
    assert house.engine.containers() == {}


def test_release_does_not_overrule_the_configuration(house):
    house.up()
    house.configure(create=UP, hold="yes")
    order(house, "hold", "deferred")
    order(house, "release", "deferred", "hold = yes in the configuration stays")
    house.publish()
    house.once("deferred", "hold = yes")


def test_retry_forgets_what_was_rejected(house):
    house.up()
    house.publish("exit", 3)
    house.once("rolled-back")
    order(house, "retry", "deferred", "1 rejected digest is forgotten")
    record = house.pullet.record("app")
    assert (record["rejected"], record["last_error"]) == ([], None)
    house.once("rolled-back", "3")
    order(house, "retry", "deferred")
    order(house, "retry", "deferred", "nothing was rejected")


def test_operations_exclude_each_other(house):
    house.up()
    done = subprocess.run([house.pullet.build / "pullet-update", "--config", house.pullet.config,
                           "--hold", "--retry", "app"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "mutually exclusive" in done.stderr
