# SPDX-License-Identifier: MIT
"""The power is cut at instants spread over updates: one pass repairs everything, and no file of any image is corrupt.
Without sync(2) there are losses, which shows that the test can fail. tests/engine/powercut --all makes a hundred
cuts."""

import os
import time

import pytest

from pullet_powercut import Campaign, Instant

SEED = int(os.environ.get("PULLET_SEED", time.time_ns() % 10**9))
CUTS, CONTROL_CUTS = 20, 12

pytestmark = pytest.mark.skipif(os.environ.get("PULLET_ENGINE") == "podman",
                                reason="podman's storage lies where its tree does")


@pytest.fixture
def campaign(lab, registry, request):
    print(f"PULLET_SEED={SEED}")
    campaign = Campaign(lab, registry, SEED, sync=request.param)
    yield campaign
    campaign.end()


@pytest.mark.parametrize("campaign", [True], indirect=True, ids=["sync"])
def test_power_cuts(campaign):
    campaign.run(CUTS)
    print(campaign.summary())
    assert campaign.cuts >= CUTS
    assert campaign.lost == 0


@pytest.mark.parametrize("campaign", [False], indirect=True, ids=["no sync"])
def test_without_sync_losses_are_seen(campaign):
    """The negative control: the power is cut when the record has just been written that the image is synced. Other
    programs may sync at that time, so it may take several attempts."""
    for _ in range(CONTROL_CUTS):
        campaign.begin()
        synced = campaign.life.call_after("rename", campaign.life.pull)
        done = campaign.trial([Instant(synced, 0, "journal written")], good=True)
        if any("torn" in fault for fault in done.faults):
            break
    print(campaign.summary(), done)
    assert any("torn" in fault for fault in done.faults)
