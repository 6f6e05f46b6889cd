# SPDX-License-Identifier: MIT
"""The power is cut at instants spread over updates: one pass repairs everything, and no file of any image is corrupt.
Without sync(2) there are losses, which shows that the test can fail. The same with updates by delta, whose patch comes
once. tests/engine/powercut --all [--delta] makes a hundred cuts."""

import os
import time

import pytest

from pullet_powercut import Campaign, Instant

SEED = int(os.environ.get("PULLET_SEED", time.time_ns() % 10**9))
CUTS, DELTA_CUTS, CONTROL_CUTS = 20, 8, 12

pytestmark = pytest.mark.skipif(os.environ.get("PULLET_ENGINE") == "podman",
                                reason="podman's storage lies where its tree does")


@pytest.fixture
def campaign(lab, registry, request):
    print(f"PULLET_SEED={SEED}")
    campaign = Campaign(lab, registry, SEED, **request.param)
    yield campaign
    campaign.end()


@pytest.mark.parametrize("campaign, cuts", [({}, CUTS), ({"deltas": True}, DELTA_CUTS)], indirect=["campaign"],
                         ids=["plain", "by delta"])
def test_power_cuts(campaign, cuts):
    campaign.run(cuts)
    print(campaign.summary())
    assert campaign.cuts >= cuts
    assert campaign.lost == 0
    assert campaign.plain <= 1  # what was fetched by delta comes by it after a cut, too


@pytest.mark.parametrize("campaign", [{"sync": False}], indirect=True, ids=["no sync"])
def test_without_sync_losses_are_seen(campaign):
    """The negative control: the power is cut when the record has just been written that the image is synced, and its
    files in the spool are about to be removed. Other programs may sync at that time, so it may take several attempts."""
    for _ in range(CONTROL_CUTS):
        done = campaign.trial([Instant("unlinkat app.load", 0, "journal written")], good=True)
        if any("torn" in fault for fault in done.faults):
            break
    print(campaign.summary(), done)
    assert any("torn" in fault for fault in done.faults)
