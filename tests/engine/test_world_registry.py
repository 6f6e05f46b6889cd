# SPDX-License-Identifier: MIT
"""The registry misbehaves towards the whole of us, the engine's own pull included: a clear line, the
container runs on, nothing is held against the digest, and once it behaves the update is made."""

import pytest

from conftest import UP
from pullet_lab import tail, wait_for
from registryd import Answer, Front, on

OFTEN = {"interval": "1s", "jitter": "0%"}


@pytest.fixture
def front(house):
    with Front(house.registry) as front:
        house.registry = front
        house.lab.announce(front.host)
        yield front


def test_the_daemon_obeys_retry_after(house, front):
    """Of each registry by itself: a container from another one is polled on."""
    seconds = 5
    house.up()
    other = house.publish(repository="other/app")
    settings = {"image": front.behind.ref("other/app:stable"), "create": UP, "health-period": "500ms"}
    house.pullet.configure({"app": house.settings, "other": settings}, agent=OFTEN)
    front.hooks.append(on("HEAD", answer=Answer(429, {"Retry-After": str(seconds)})))
    front.seen.clear()
    with house.pullet.resident() as process:
        wait_for("three questions", lambda: len(front.seen) >= 3 or process.poll() is not None, 60)
        log = tail(process.log, 100)
    asked = [seen.at for seen in front.seen]
    for earlier, later in zip(asked, asked[1:]):
        assert later - earlier >= seconds - 0.1, asked
    assert "429" in log and f"{seconds} s" in log, log
    polls = [r for r in front.requests() if "/other/" in r.path and r.method == "HEAD"]
    assert len(polls) > len(asked), polls
    house.check(other, "other")
