# SPDX-License-Identifier: MIT
"""Updates by delta, on a real engine, counted at a relay: what came, what was asked for, and what runs in the end. A delta
that is wrong, or cannot be used, costs the bytes of the plain way and no more. The deltas are made by pullet_delta.py."""

import io
import json
import os
import random
import tarfile
import urllib.parse

import pytest

from pullet_delta import WRONG, WRONG_ARTIFACT, diff_ids, flood, plain_size, publish_delta
from pullet_delta import edited as delta_edited
from pullet_house import UP
from pullet_image import MEDIA, Image, actor, digest_of, host_platform
from pullet_liar import liar  # noqa: F401 (a fixture)
from pullet_spool import HEADERS, KB, down, layers, left, link, ours  # noqa: F401 (link: a fixture)
from pullet_sweep import processes_of, wait_for

DICE = random.Random(13)
BASIS = "localhost/pullet/basis:app"
OTHER_PLATFORM = "linux/arm/v7" if host_platform() != "linux/arm/v7" else "linux/amd64"
DOCUMENTS = 6 * KB  # manifest, index, config and the delta's manifest
# What WRONG has is tested of each part by itself; here, one of each kind, or all with PULLET_EVERY_WRONG=1.
SAMPLE = ("from another image", "a size too few", "sizes over 16 GiB", "a larger patch than the layers", "no patch",
          "other sizes than the artifact's", "of other old data", "damaged frames", "a window of 8 MiB", "literals with a rest",
          "a bomb", "other content")
CHOSEN = tuple(WRONG) if os.environ.get("PULLET_EVERY_WRONG") == "1" else SAMPLE


def edited(data, **how):
    return delta_edited(data, DICE, **how)


def stack(version, *contents, packed="gzip", script=("wait",), platform=None, **config):
    """An image with a layer for each of the contents, and its program on top."""
    base = None
    for number, content in enumerate(contents):
        base = Image({f"file-{number}": (content, 0o644)}, base=base, packed=packed)
    top = actor("say", "version " + version, *script, Labels={"version": version}, platform=platform, **config)
    top.base, top.packed = base, packed
    return top


class Releases:
    """The versions of one container: the contents of the last one, and what was published."""

    def __init__(self, house, link, **options):
        self.house, self.link, self.options = house, link, options
        self.contents, self.published, self.delta = None, None, None

    def publish(self, *contents, index=False, beside=(), **options):
        """beside: images of other platforms."""
        self.contents = contents
        version = str(next(self.house.versions))
        image = stack(version, *contents, **{**self.options, **options})
        self.before, self.published = self.published, self.house.registry.publish(
            self.house.repository, "stable", [image, *beside], index=index or bool(beside))
        self.files = {f"file-{number}": content for number, content in enumerate(contents)} | {"actor": image.files["actor"]}
        return self.published

    def up(self, *contents, **options):
        self.publish(*contents, **options)
        self.house.configure(create=UP)
        self.house.once("updated")
        self.runs()

    def follow(self, *contents, wrong=None, embedded=None, **options):
        """The next version with the delta from the last one. -> its size"""
        old = self.published
        new = self.publish(*contents, **options)
        self.delta = publish_delta(self.house.registry, self.house.repository, old, new, wrong=wrong, embedded=embedded)
        self.link.reset()
        return len(self.delta.patch)

    def update(self, want="updated", **options):
        entry = self.house.once(want, **options)
        self.link.settle()
        return entry

    # -- what came

    def asked(self, what):
        return [r for r in ours(self.link) if r.path.endswith(what)]

    def lookups(self):
        return [r for r in ours(self.link) if "/manifests/delta-" in r.path]

    def layers_asked(self):
        return [r for r in self.link.requests if r.path.rpartition("/")[2] in layers(self.published)]

    def by_delta(self, entry, requests=8):
        """The update that has just been made came by the delta, and no byte more. requests: the poll's and the pass's HEAD,
        manifest, config, rollout policy, delta; an index and a patch that is not embedded are one more each."""
        mine = ours(self.link)
        text = "\n".join(map(str, self.link.requests))
        print(f"{down(mine)} bytes in {len(mine)} requests for {len(self.delta.patch)}; engine: "
              f"{down(self.link.requests) - down(mine)}")
        assert len(self.lookups()) == 1, text
        assert not self.layers_asked(), text
        assert not [r for r in self.link.requests if r.by_engine and "/blobs/" in r.path], text
        assert len(mine) <= requests, text
        fetched = [r.path for r in mine if r.method == "GET"]
        assert len(set(fetched)) == len(fetched), text
        assert down(mine) <= len(self.delta.patch) + DOCUMENTS + HEADERS * len(mine), text
        assert entry["result"] == "updated" and self.running_as_published()

    def plainly(self, entry=None, lookups=None):
        """It came by the layers, each once."""
        text = "\n".join(map(str, self.link.requests))
        asked = [r.path for r in self.layers_asked() if not r.by_engine]
        assert asked and len(set(asked)) == len(asked), text
        if lookups is not None:
            assert len(self.lookups()) == lookups, text
        assert not entry or entry["result"] == "updated"
        assert not self.house.pullet.record("app")["rejected"]
        assert self.running_as_published()

    # -- what runs

    def runs(self):
        self.house.check(self.published)
        data = self.house.engine.call("GET", "/containers/app/archive?path=/")
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            have = {entry.name.strip("./"): tar.extractfile(entry).read() for entry in tar if entry.isfile()}
        wrong = [name for name, content in self.files.items() if have.get(name) != content]
        assert not wrong, wrong
        assert left(self.house) == []

    def running_as_published(self):
        """Files and what the engine says of the image are as after a pull."""
        self.runs()
        engine = self.house.engine
        name = f"{self.house.image.rpartition(':')[0]}@{self.published.digest}"
        image = engine.inspect_image(name)
        assert image and name in image["RepoDigests"], image
        want = diff_ids(self.house.registry, self.published, host_platform())
        told = image["RootFS"].get("Layers") or []
        if told != want:  # 28.5 tells nothing of an image without the files of its layers
            assert engine.kind.containerd_store and told == []
            image = engine.inspect_image(BASIS)
            assert image["RootFS"]["Layers"] == want
        assert image["Config"]["Labels"]["version"]
        return True


@pytest.fixture
def releases(house, link):
    return Releases(house, link)


def takes_deltas(house):
    return house.engine.kind.program != "podman"


@pytest.fixture(autouse=True)
def only_where_deltas_are(request, house):
    if not takes_deltas(house) and "plain_way" not in request.node.name:
        pytest.skip("podman takes the plain way")


BASE, APP = DICE.randbytes(200 * KB), DICE.randbytes(300 * KB)


# --- the matrix ---------------------------------------------------------------------------------


@pytest.mark.parametrize("packed, shared, index", [
    ("gzip", True, False), ("gzip", False, True), ("plain", True, True), ("plain", False, False), ("zstd", True, True),
    ("zstd", False, False)], ids=lambda value: {True: "yes", False: "no"}.get(value, value))
def test_an_update_by_delta(releases, house, packed, shared, index):
    if packed == "zstd" and house.engine.kind.suite in (None, "bookworm"):
        pytest.skip("this engine's pull takes no zstd; test_a_new_packing has it")
    releases.options["packed"] = packed
    releases.up(BASE, APP, index=index)
    size = releases.follow(BASE if shared else edited(BASE), edited(APP), index=index)
    assert size < 2048 and releases.delta.shared == shared
    releases.by_delta(releases.update(), requests=7 if index else 6)
    # On top of the first delta; this patch does not fit into its manifest.
    size = releases.follow(releases.contents[0], edited(releases.contents[1], fresh=5 * KB), index=index)
    assert size > 2048
    releases.by_delta(releases.update(), requests=8 if index else 7)
    # A poll after that is one request.
    releases.link.reset()
    before = house.pullet.state_snapshot()
    releases.update("up-to-date")
    assert [r.method for r in releases.link.requests] == ["HEAD"]
    assert house.pullet.state_snapshot() == before


@pytest.mark.parametrize("packed", ["zstd", "plain"])
def test_a_new_packing(releases, packed):
    releases.up(BASE, APP)
    releases.follow(BASE, edited(APP), packed=packed)
    releases.by_delta(releases.update())


def test_an_index_of_two_platforms(releases):
    def beside():
        return [stack("x", DICE.randbytes(90 * KB), platform=OTHER_PLATFORM)]

    releases.up(BASE, APP, beside=beside())
    releases.follow(BASE, edited(APP), beside=beside())
    releases.by_delta(releases.update())


def test_a_delta_that_looks_like_an_image(releases):
    """GitLab's registry takes no artifact type that it does not know, and no config of one."""
    releases.up(BASE, APP)
    config = {"mediaType": MEDIA["oci"]["config"], "digest": digest_of(b"{}"), "size": 2}
    releases.follow(BASE, edited(APP), wrong=lambda delta: delta.document.update(artifactType=None, config=config))
    releases.by_delta(releases.update())


def test_a_container_of_the_operator(releases, house):
    """Its image was pulled by the engine."""
    house.adopt(releases.publish(BASE, APP))
    house.configure()
    house.once("up-to-date")
    releases.follow(edited(BASE), edited(APP))
    releases.by_delta(releases.update())


def test_layers_that_move_split_and_merge(releases):
    """The patch is of all upper layers together."""
    releases.up(BASE, APP)
    releases.follow(APP[:150 * KB], BASE + b"!", APP[150 * KB:])
    releases.by_delta(releases.update())
    releases.follow(BASE + APP)
    releases.by_delta(releases.update())


def test_what_is_left_in_the_engine(releases, house):
    """After three updates by delta nothing of the first ones is there. Docker 26's containerd store lists no image whose
    blobs it lacks, but inspects it."""
    releases.up(BASE, APP)
    versions = [releases.published]
    for _ in range(3):
        releases.follow(BASE, edited(releases.contents[1]))
        releases.by_delta(releases.update())
        versions.append(releases.published)
    pinned = [f"{house.image.rpartition(':')[0]}@{version.digest}" for version in versions]
    assert [bool(house.engine.inspect_image(name)) for name in pinned] == [False, False, True, True]
    assert house.engine.inspect_image("localhost/pullet/previous:app") and not house.engine.inspect_image("localhost/pullet/next:app")
    assert bool(house.engine.inspect_image(BASIS)) == house.engine.kind.containerd_store
    listed = {name for image in house.engine.call("GET", "/images/json") for name in image["RepoTags"] or []}
    assert listed <= {house.image, *pinned[2:], "localhost/pullet/previous:app", BASIS, "<none>:<none>"}, listed


# --- when there is no lookup --------------------------------------------------------------------


def test_another_configuration_asks_for_nothing(releases):
    releases.up(BASE, APP)
    releases.follow(BASE, APP, Env=["CHANGED=yes"])
    releases.update()
    assert not releases.lookups() and not releases.layers_asked()
    assert releases.running_as_published()


def test_little_to_come_is_not_looked_up(releases):
    small = DICE.randbytes(60 * KB)
    releases.up(BASE, small)
    releases.follow(BASE, edited(small))
    releases.plainly(releases.update(), lookups=0)


def test_deltas_can_be_turned_off(releases, house):
    releases.up(BASE, APP)
    house.configure(create=UP, agent={"deltas": "no"})
    releases.follow(BASE, edited(APP))
    releases.plainly(releases.update(), lookups=0)


def test_podman_takes_the_plain_way(releases, house):
    if takes_deltas(house):
        pytest.skip("podman's")
    releases.up(BASE, APP)
    releases.follow(BASE, edited(APP))
    releases.plainly(releases.update(), lookups=0)


def test_the_first_version_is_not_looked_up(releases):
    releases.link.reset()
    releases.up(BASE, APP)
    assert not releases.lookups()


# --- before and after ---------------------------------------------------------------------------


def test_a_bad_version_by_delta_is_rolled_back(releases, house):
    """And the one after it comes by a delta from the version that runs."""
    releases.up(BASE, APP)
    good, contents = releases.published, releases.contents
    releases.follow(BASE, edited(APP), script=("exit", 3))
    releases.update("rolled-back")
    house.check(good)
    assert [entry["digest"] for entry in house.pullet.record("app")["rejected"]] == [releases.published.digest]
    assert not releases.layers_asked() and left(house) == []
    releases.published = good
    releases.follow(BASE, edited(contents[1]))
    releases.by_delta(releases.update())


def test_an_operator_goes_back_and_the_next_version_comes_by_delta(releases, house):
    releases.up(BASE, APP)
    first = releases.published
    releases.follow(BASE, edited(APP))
    releases.by_delta(releases.update())
    releases.link.reset()
    assert house.pullet.order("rollback")[-1]["result"] == "updated"
    house.check(first)
    assert not [r for r in releases.link.requests if "/blobs/" in r.path]
    releases.published = first
    releases.follow(BASE, edited(APP))
    releases.by_delta(releases.update())


def test_plain_after_delta_and_delta_after_plain(releases):
    releases.up(BASE, APP)
    releases.follow(BASE, edited(APP))
    releases.by_delta(releases.update())
    releases.publish(BASE, edited(APP))
    releases.link.reset()
    releases.plainly(releases.update(), lookups=1)
    releases.follow(BASE, edited(releases.contents[1]))
    releases.by_delta(releases.update())


@pytest.mark.parametrize("how", ["removed", "pruned"])
def test_a_basis_that_was_removed(releases, house, how):
    """containerd's store has the running image's content under a name of its own; other stores have it as long as it runs."""
    releases.up(BASE, APP)
    releases.follow(BASE, edited(APP))
    releases.by_delta(releases.update())
    before = house.check(releases.published)
    if how == "pruned":
        filters = urllib.parse.quote(json.dumps({"dangling": ["false"]}))
        house.engine.call("POST", f"/images/prune?filters={filters}")
    elif house.engine.kind.containerd_store:
        house.engine.call("DELETE", f"/images/{BASIS}?force=1")
    house.untouched(before)
    releases.follow(BASE, edited(releases.contents[1]))
    if house.engine.kind.containerd_store:
        releases.plainly(releases.update())
        releases.follow(BASE, edited(releases.contents[1]))
    releases.by_delta(releases.update())


# --- deltas that are wrong ----------------------------------------------------------------------


def warnings(result):
    """What was said about the delta."""
    return [line for line in result.stderr.splitlines() if "delta" in line.lower()]


def test_wrong_deltas_cost_their_layers(releases, house):
    """One device, one version after the other, each with a delta that is wrong in another way."""
    releases.up(BASE, APP)
    for number, wrong in enumerate(CHOSEN):
        releases.follow(BASE, edited(releases.contents[1], fresh=3 * KB * (number % 2)), wrong=wrong)
        result = house.pullet.once()
        releases.link.settle()
        entry = result.results["app"]
        assert entry["result"] == "updated", (wrong, result)
        try:
            releases.plainly(entry, lookups=1)
            assert len(warnings(result)) == 1, result
            fetched = releases.asked(releases.delta.digest)
            assert len(fetched) <= (wrong not in WRONG_ARTIFACT), fetched
        except AssertionError as error:
            raise AssertionError(f"{wrong}: {error}") from None


def test_a_flood_ends_at_the_digest(releases, house):
    """Its artifact says a gigabyte too, so that only the first layer's digest shows what it is."""
    releases.up(BASE, APP)
    releases.follow(BASE, edited(APP), wrong=flood(1 << 30))
    releases.plainly(releases.update(), lookups=1)


def test_a_wrong_delta_is_not_asked_again(releases, house):
    """The link drops in the plain way after it, so that several passes are needed."""
    releases.up(BASE, APP)
    releases.follow(BASE, edited(APP, fresh=3 * KB), wrong="other content")
    said, passes = [], 0
    releases.link.at(len(releases.delta.patch) + DOCUMENTS + 100 * KB, lambda: releases.link.drop())
    while passes < 5:
        result = house.pullet.once()
        said += warnings(result)
        passes += 1
        if result.results["app"]["result"] == "updated":
            break
        releases.link.mend()
    assert passes > 1
    assert len(releases.lookups()) == 1 and len(releases.asked(releases.delta.digest)) == 1
    assert len(said) == 1, said
    assert not house.pullet.record("app")["rejected"] and releases.running_as_published()


def test_the_patch_is_fetched_once_over_a_link_that_drops(releases, house):
    releases.up(BASE, APP)
    size = releases.follow(BASE, edited(APP, fresh=400 * KB))
    releases.link.at(size // 2, lambda: releases.link.drop())
    entry = house.pullet.once().results["app"]
    assert entry["result"] != "updated", entry
    assert entry["download"]["delta"] is True and entry["download"]["of"] == size, entry
    assert entry["download"]["plain"] == plain_size(releases.published, releases.delta.shared), entry
    releases.link.mend()
    entry = house.once("updated")
    releases.link.settle()
    assert len(releases.lookups()) == 1 and not releases.layers_asked()
    came = down(releases.asked(releases.delta.digest))
    assert came <= size + HEADERS * 4, (came, size)
    assert releases.running_as_published()


# --- a network half that lies -------------------------------------------------------------------


def of_delta(releases, **changes):
    delta = releases.delta
    real = {"digest": delta.digest, "size": len(delta.patch), "shared": delta.shared, "sizes": [len(new) for new in delta.news]}
    return {"delta": {**real, **changes}}


def new_of(releases):
    return releases.delta.new


def pour(fd, pieces):
    """-> how many bytes the other side took"""
    taken = 0
    os.set_blocking(fd, True)
    try:
        for piece in pieces:
            while piece:
                count = os.write(fd, piece)
                taken, piece = taken + count, piece[count:]
    except BrokenPipeError:
        pass
    return taken


LIES = {
    "a delta of other sizes": lambda r: {"delta": lambda q, fds: of_delta(r, sizes=[len(new) + 512 for new in r.delta.news])},
    "a delta of a terabyte": lambda r: {"delta": lambda q, fds: of_delta(r, sizes=[1 << 40] * len(r.delta.news))},
    "a delta of a hundred thousand layers": lambda r: {"delta": lambda q, fds: of_delta(r, sizes=[1] * 100_000)},
    "a delta that shares all": lambda r: {"delta": lambda q, fds: of_delta(r, shared=1000)},
    "a delta of a negative size": lambda r: {"delta": lambda q, fds: of_delta(r, size=-1)},
    "a delta with other data": lambda r: {"delta": lambda q, fds: of_delta(r, data="AAAA")},
    "a delta of no object": lambda r: {"delta": lambda q, fds: {"delta": [1]}},
    "no answer to delta": lambda r: {"delta": lambda q, fds: None},
    "other content": lambda r: {"patch": lambda q, fds: {
        "bytes": pour(fds[2], [bytes(byte ^ 1 for byte in new_of(r))])}},
    "more content": lambda r: {"patch": lambda q, fds: {"bytes": pour(fds[2], [new_of(r), b"more" * 100_000])}},
    "less content": lambda r: {"patch": lambda q, fds: {"bytes": pour(fds[2], [new_of(r)[:-1]])}},
    "the layers in another order": lambda r: {"patch": lambda q, fds: {"bytes": pour(fds[2], reversed(r.delta.news))}},
    "an answer before the content": lambda r: {"patch": lambda q, fds: {"bytes": len(new_of(r))}},
    "another number": lambda r: {"patch": lambda q, fds: {"bytes": pour(fds[2], [new_of(r)]) * 0 - 5}},
    "no answer to patch": lambda r: {"patch": lambda q, fds: None},
    "an answer that never ends": lambda r: {"patch": lambda q, fds: b'{"bytes":' + b"1" * (8 << 20)},
}


def test_a_network_half_that_lies(releases, house, liar):
    """What it makes up is never loaded: the pass takes the plain way, or fails and the next one does. One device, one version
    after the other."""
    releases.up(BASE, APP)
    for name, lie in LIES.items():
        releases.follow(BASE, edited(releases.contents[1], fresh=3 * KB)[-len(APP) - 3 * KB:])
        liar.lies, words = lie(releases), []
        liar.asked.clear()
        while len(words) < 3 and words[-1:] != ["updated"]:
            result = house.pullet.once(arguments=liar.arguments)
            words.append(result.results["app"]["result"])
        print(f"{name}: {words}\n{result}")
        assert words[-1] == "updated" and set(words) <= {"updated", "failed", "deferred"}, (name, result)
        assert set(liar.lies) & set(liar.operations()), name
        assert not house.pullet.record("app")["rejected"], name
        assert releases.running_as_published(), name


def test_a_registry_that_is_busy_when_it_is_asked(releases, house, liar):
    """The layers do not come for it: the delta is there, and is asked for again."""
    releases.up(BASE, APP)
    releases.follow(BASE, edited(APP))
    liar.lies = {"delta": lambda q, fds: {"error": {"code": "EBUSY", "text": "the registry is busy (429)"}}}
    entry = house.pullet.once(arguments=liar.arguments).results["app"]
    assert entry["result"] == "failed" and "is busy" in entry["reason"], entry
    assert not releases.layers_asked() and not releases.lookups()
    releases.link.reset()
    releases.by_delta(releases.update())


def test_content_without_an_end(releases, house, liar):
    """The engine half hangs up when it has what it asked for."""
    releases.up(BASE, APP)
    releases.follow(BASE, edited(APP))
    taken = []

    def flood_it(question, fds):
        def pieces():
            while not liar.over.is_set():
                yield bytes(65536)

        taken.append(pour(fds[2], pieces()))
        return {"bytes": taken[-1]}

    liar.lies = {"patch": flood_it}
    result = house.pullet.once(arguments=liar.arguments)
    print(result, taken)
    assert taken and taken[0] <= len(new_of(releases)) + (2 << 20)
    if result.results["app"]["result"] != "updated":
        house.once("updated", arguments=liar.arguments)
    assert not house.pullet.record("app")["rejected"]
    assert releases.running_as_published()


def test_a_stall_ends_with_the_pass(releases, house, liar):
    """SIGTERM ends a pass that waits for content, and nothing is left; the next one goes on."""
    releases.up(BASE, APP)
    releases.follow(BASE, edited(APP))

    def stall(question, fds):
        process.terminate()
        liar.over.wait(60)

    liar.lies = {"patch": stall}
    process = house.pullet.spawn("--once", "--json", *liar.arguments)
    process.wait(60)
    assert not processes_of(house.pullet.mark) or wait_for("the helpers to end", lambda: not processes_of(house.pullet.mark))
    liar.lies = {}
    house.once("updated")
    assert releases.running_as_published()

