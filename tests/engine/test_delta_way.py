# SPDX-License-Identifier: MIT
"""The way of a delta through the pass, beside what test_delta.py has: what is remembered, told, and left behind."""

import json
import os
import subprocess
import urllib.parse

import pytest

import pullet_image
from pullet_liar import liar  # noqa: F401: a fixture
from pullet_memory import Watcher
from pullet_spool import KB, MB
from test_delta import APP, BASE, BASIS, Releases, edited, takes_deltas, warnings
from test_delta import link  # noqa: F401: a fixture


@pytest.fixture
def releases(house, link):  # noqa: F811
    if not takes_deltas(house):
        pytest.skip("podman takes the plain way")
    return Releases(house, link)


def cut_once(releases, house):
    """A delta of which half has come. -> its size"""
    releases.up(BASE, APP)
    size = releases.follow(BASE, edited(APP, fresh=400 * KB))
    releases.link.at(size // 2, releases.link.drop)
    entry = house.pullet.once().results["app"]
    assert entry["download"]["delta"], entry
    releases.link.mend()
    return size


def remembered(house):
    return house.pullet.state / "spool" / "app.delta"


def test_no_image_without_a_name_is_left(releases, house):
    """The engine keeps an image whose last name another one gets."""
    releases.up(BASE, APP)
    for _ in range(3):
        releases.follow(BASE, edited(releases.contents[1]))
        releases.by_delta(releases.update())
    nameless = urllib.parse.quote(json.dumps({"dangling": ["true"]}))
    assert house.engine.call("GET", f"/images/json?filters={nameless}") == []


def test_a_delta_is_told_with_both_numbers(releases, house):
    releases.up(BASE, APP)
    releases.follow(BASE, edited(APP))
    result = house.pullet.once()
    assert result.results["app"]["result"] == "updated", result
    line = next(line for line in result.stderr.splitlines() if "delta" in line)
    assert "loaded the image by a delta of " in line and "in place of layers of 3" in line, line


def test_a_delta_that_is_cut_again_and_again_is_given_up(releases, house):
    """Each time by a crash, as of a machine whose memory does not suffice: the fifth time the layers come."""
    cut_once(releases, house)
    known = json.loads(remembered(house).read_text())
    assert known["tries"] == 0 and known["sizes"], known
    remembered(house).write_text(json.dumps({**known, "tries": 4}))
    result = house.pullet.once()
    releases.link.settle()
    assert len(warnings(result)) == 1 and "was tried 4 times" in warnings(result)[0], result
    releases.plainly(result.results["app"], lookups=1)
    assert not remembered(house).exists()


def refuse_the_patch(liar, code):  # noqa: F811
    """The network half's next blob is the patch: it says this of it, and of no other."""
    def lie(question, fds):
        liar.lies.clear()
        return {"error": {"code": code, "text": "the registry refused access (403)"}}

    liar.lies = {"blob": lie}


@pytest.mark.parametrize("code", ["EACCES", "EREMOTEIO"])
def test_a_patch_that_is_refused(releases, house, liar, code):  # noqa: F811
    """As by a store behind the registry that serves the layers, but not this blob: no pass waits for its operator."""
    releases.up(BASE, APP)
    releases.follow(BASE, edited(APP, fresh=3 * KB))
    refuse_the_patch(liar, code)
    result = house.pullet.once(arguments=liar.arguments)
    releases.link.settle()
    assert not liar.lies and len(warnings(result)) == 1 and "(403)" in warnings(result)[0], result
    releases.plainly(result.results["app"], lookups=1)


def test_a_patch_that_never_begins_to_come(releases, house, liar):  # noqa: F811
    """Its blob alone is cut each time, so that the poll before it goes well: in the ninth pass the layers come."""
    releases.up(BASE, APP)
    releases.follow(BASE, edited(APP, fresh=3 * KB))
    for stalls in range(1, 9):
        refuse_the_patch(liar, "EPROTO" if stalls == 4 else "ECONNRESET")  # as a handshake of TLS that is cut
        entry = house.once("failed" if stalls == 4 else "deferred", arguments=liar.arguments)
        assert entry["download"]["delta"] and json.loads(remembered(house).read_text())["stalls"] == stalls, entry
    result = house.pullet.once()
    releases.link.settle()
    assert len(warnings(result)) == 1 and "lost 8 times" in warnings(result)[0], result
    releases.plainly(result.results["app"], lookups=1)


def by_delta_in_little_memory(releases, house):
    """An update whose processes are measured: none takes more than 16 MB."""
    process = house.pullet.spawn("--once", "--json", stdout=subprocess.PIPE)
    with Watcher(process.pid) as watcher:
        output = process.communicate(timeout=120)[0]
    releases.link.settle()
    releases.by_delta(json.loads(output.splitlines()[-1]))
    print(watcher.peaks)
    if b"__asan_init" not in (house.pullet.build / "pullet-update").read_bytes():
        assert max(watcher.peaks.values()) <= 16000, watcher.peaks


def test_a_large_image_takes_little_memory(releases, house):
    """Each process: that which takes the layers out of the engine, packs and loads them, and that which applies."""
    large = os.urandom(24 * MB)
    releases.up(large)
    releases.follow(edited(large))
    by_delta_in_little_memory(releases, house)


def test_zeros_before_the_rest(releases):
    """What a delta made is packed with zstd, which makes next to nothing of them: that is no bomb."""
    content = bytes(24 * MB) + APP
    releases.up(BASE, content)
    for _ in range(2):
        content = content[:24 * MB] + edited(content[24 * MB:])
        releases.follow(BASE, content)
        releases.by_delta(releases.update())


def test_zstd_as_buildkit_and_skopeo_write_it(releases, house, monkeypatch):
    """A window of 8 MiB for any layer that is larger, at their usual level: a helper takes its 16 MB at most."""
    if house.engine.kind.suite in (None, "bookworm"):
        pytest.skip("this engine's pull takes no zstd; test_a_new_packing has it")
    wide = lambda raw: subprocess.run(["zstd", "-q", "-c", "--zstd=wlog=23"], input=raw, capture_output=True, check=True).stdout  # noqa: E731
    monkeypatch.setitem(pullet_image.PACK, "zstd", wide)
    large = os.urandom(12 * MB)
    releases.options["packed"] = "zstd"
    releases.up(large)
    releases.follow(edited(large))
    by_delta_in_little_memory(releases, house)


def test_what_is_remembered_is_of_one_pair(releases, house):
    """The tag moves while the delta comes: the new pair is asked for, and its delta taken."""
    cut_once(releases, house)
    first, contents = releases.before, releases.contents
    releases.published = first
    releases.follow(contents[0], edited(APP))
    releases.by_delta(releases.update())


def test_what_is_forgotten_is_asked_again(releases, house):
    """A file that a disk has changed: one request more."""
    size = cut_once(releases, house)
    remembered(house).write_text("{")
    releases.link.reset()
    entry = releases.update()
    assert len(releases.lookups()) == 1 and not releases.layers_asked(), entry
    assert size and releases.running_as_published()


def test_a_basis_goes_with_an_image_that_shares_nothing_with_it(releases, house):
    releases.up(BASE, APP)
    releases.follow(BASE, edited(APP))
    releases.by_delta(releases.update())
    assert bool(house.engine.inspect_image(BASIS)) == house.engine.kind.containerd_store
    releases.publish(edited(BASE), edited(APP))
    releases.update()
    assert releases.running_as_published() and not house.engine.inspect_image(BASIS)


def test_layers_upon_layers_that_a_delta_made(releases):
    """containerd's store does not have these under the digests that the registry's manifest names."""
    releases.up(BASE, APP)
    releases.follow(edited(BASE), edited(APP))
    releases.by_delta(releases.update())
    releases.publish(releases.contents[0], edited(APP))
    releases.link.reset()
    releases.plainly(releases.update(), lookups=1)
    assert not [r for r in releases.layers_asked() if r.by_engine]
    assert len(releases.layers_asked()) == 2, releases.layers_asked()  # not the lowest of the three
    releases.follow(edited(releases.contents[0]), edited(APP))
    releases.by_delta(releases.update())
