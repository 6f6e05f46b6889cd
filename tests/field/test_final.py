# SPDX-License-Identifier: MIT
"""A final answer about a digest is remembered and costs nothing again; what is checked is what runs."""

import base64
import gzip
import json
import threading

from conftest import UP, window
from pullet_image import MEDIA, actor, digest_of, to_json
from registryd import Answer, Front

OCI = MEDIA["oci"]


def push(registry, repository, layers, packed=None, layer_type=OCI["layer"], config_type=OCI["config"], more=(),
         settings=(), tag="stable", **top):
    """Pushes a manifest by hand; packed are the layers as they are in the registry. -> its digest"""
    packed = packed or [gzip.compress(layer, 6, mtime=0) for layer in layers]
    config = to_json({**actor("wait").platform_object(), "config": {"Cmd": ["/actor", "wait"]},
                      "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
                      **dict(settings)})
    body = to_json({
        "schemaVersion": 2, "mediaType": OCI["manifest"],
        "config": {"mediaType": config_type, "size": len(config),
                   "digest": registry.push_blob(repository, config)},
        "layers": [{"mediaType": layer_type, "size": len(one), "digest": registry.push_blob(repository, one),
                    **dict(more)} for one in packed], **top})
    return registry.push_manifest(repository, tag, body, OCI["manifest"])


def fat(*script, **options):
    """An image with a layer that is worth counting."""
    return actor(*(script or ("wait",)), files={"fat": bytes(range(256)) * 1000}, **options)


class Meter:
    """What the agent and the engine get from the registry."""

    def __init__(self, registry):
        self.registry, self.since = registry, registry.mark()

    def read(self):
        """-> (requests, bytes of blobs) since the last call"""
        requests = self.registry.requests(self.since)
        self.since = self.registry.mark()
        return ([f"{r.method} {r.path}" for r in requests],
                sum(r.size for r in requests if "/blobs/" in r.path and r.method == "GET"))


def refused_once_and_for_all(house, before, words, meter, first=8000, polls=2):
    """The first answer costs documents, no layer; each later one a HEAD. The container runs on."""
    house.once("refused", reason=words)
    assert meter.read()[1] < first
    for _ in range(polls):
        house.once("refused", reason="this digest was rejected before: ")
        requests, blobs = meter.read()
        assert blobs == 0 and len(requests) == 1 and requests[0].startswith("HEAD "), requests
    house.untouched(before)
    assert words in house.pullet.record("app")["rejected"][-1]["reason"]


# case 6
def test_a_release_for_another_machine_was_pushed_as_a_plain_manifest(house):
    _, before = house.up()
    meter = Meter(house.registry)
    house.publish(images=fat(platform="linux/s390x"), index=False)
    refused_once_and_for_all(house, before, "the image is for linux/s390x", meter)


# case 6
def test_the_index_calls_a_release_for_another_machine_ours(house):
    _, before = house.up()
    meter = Meter(house.registry)
    other = fat(platform="linux/s390x")
    other.platform_object = actor("wait").platform_object  # as its index and its config say
    published = house.publish(images=other, index=True)
    body = json.loads(published.body)
    entry = body["manifests"][0]
    inner = push(house.registry, house.repository, [fat().layer()], settings={"architecture": "s390x"}, tag="inner")
    status, _, text = house.registry.request("GET", f"/v2/{house.repository}/manifests/{inner}",
                                             headers={"Accept": OCI["manifest"]})
    assert status == 200
    entry.update(digest=inner, size=len(text))
    house.registry.push_manifest(house.repository, "stable", to_json(body), OCI["index"])
    refused_once_and_for_all(house, before, "the image is for linux/s390x", meter)


# case 6
def test_no_manifest_of_the_index_is_for_this_machine(house):
    _, before = house.up()
    meter = Meter(house.registry)
    house.publish(images=[fat(platform="linux/s390x"), fat(platform="linux/ppc64le")])
    refused_once_and_for_all(house, before, "no manifest for", meter)


def zstd(data):
    """A frame of RFC 8878 whose blocks are stored as they are: a window of 128 kB, the largest block."""
    blocks = [data[i:i + 65536] for i in range(0, len(data), 65536)]
    headers = [(len(block) << 3 | (block is blocks[-1])).to_bytes(3, "little") for block in blocks]
    return b"\x28\xb5\x2f\xfd\x00\x38" + b"".join(map(bytes.__add__, headers, blocks))


# case 7
def test_a_build_with_zstd_layers_on_an_old_engine(house):
    _, before = house.up()
    meter = Meter(house.registry)
    layer = fat().layer()
    packed = zstd(layer)
    push(house.registry, house.repository, [layer], [packed], OCI["layer"].replace("gzip", "zstd"))
    house.pullet.config.write_text(house.pullet.config.read_text().replace("[agent]\n", "[agent]\ndownload = engine\n"))
    if house.engine.kind.program == "podman" or int(house.engine.release.split(".")[0]) >= 23:
        house.once("updated")
        return
    refused_once_and_for_all(house, before, "zstd", meter)
    # Another engine may be able to: here one that is said to have refused it.
    path = house.pullet.directory / "state" / "app.json"
    path.write_text(path.read_text().replace(house.engine.release, "19.03.1"))
    house.once("refused", reason="a layer is compressed by zstd")


# cases 7, 20; audit 4, 6, 14, 20
def test_something_under_the_tag_that_no_engine_should_get(house):
    _, before = house.up()
    meter = Meter(house.registry)
    for words, options in [
            ("foreign", {"layer_type": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"}),
            ("encrypted", {"layer_type": OCI["layer"] + "+encrypted"}),
            ("urls", {"more": {"urls": ["http://127.0.0.1:9/layer"]}}),
            ("it is no image", {"config_type": "application/vnd.cncf.helm.config.v1+json"}),
            ("more than the 262144", {"settings": {"config": {"Labels": {"x": "y" * 300000}}}}),
            ("more than the 262144", {"settings": {"config": {"Env": ["X=" + "y" * 1100000]}}}),
            ("is misspelled", {"Layers": []}),
            ("is misspelled", {"settings": {"Architecture": "s390x"}}),
            ("not of the manifest's 1 layers", {"settings": {"rootfs": {"type": "layers", "diff_ids": []}}})]:
        push(house.registry, house.repository, [fat().layer()], **options)
        refused_once_and_for_all(house, before, words, meter, first=400000, polls="Layers" in options)
    assert len(house.pullet.record("app")["rejected"]) == 9


# audit 6
def test_an_index_offers_the_engine_another_list_than_us(house):
    _, before = house.up()
    published = house.publish(images=fat("say", "good", "wait"), index=True)
    bad = house.registry.publish(house.repository, "other", fat("say", "bad", "wait"), index=True)
    body = published.body[:-1] + b',"Manifests":' + to_json(json.loads(bad.body)["manifests"]) + b"}"
    house.registry.push_manifest(house.repository, "stable", body, OCI["index"])
    house.once("refused", reason="the key \"Manifests\" is misspelled")
    house.untouched(before)


def test_an_old_registry_has_a_signed_manifest_of_schema_1(house):
    """Its digest is of the document without the signatures."""
    _, before = house.up()
    payload = b'{\n   "schemaVersion": 1,\n   "fsLayers": [],\n   "history": []\n}'
    protected = base64.urlsafe_b64encode(to_json({"formatLength": len(payload) - 2, "formatTail": "Cn0"})).decode()
    signatures = b',\n   "signatures": [{"signature": "x", "protected": "%s"}]' % protected.encode()
    old = Answer(200, {"Content-Type": "application/vnd.docker.distribution.manifest.v1+prettyjws",
                       "Docker-Content-Digest": digest_of(payload)}, payload[:-2] + signatures + payload[-2:])
    with Front(house.registry) as front:
        house.registry = front
        front.hooks.append(lambda seen: old if "/manifests/stable" in seen.path or digest_of(payload) in seen.path
                           else None)
        house.lab.announce(front.host)
        house.configure(create=UP)
        house.once("refused", reason="Docker's schema 1")
        mark = len(front.seen)
        house.once("refused", reason="this digest was rejected before: ")
        assert [seen.method for seen in front.seen[mark:]] == ["HEAD"]
    house.untouched(before)


def test_a_prune_removes_what_waits_for_its_window(house):
    _, before = house.up()
    meter = Meter(house.registry)
    second = house.publish(images=fat())
    house.configure(create=UP, window=window(6, 7))
    for _ in range(3):
        house.once("deferred", reason="outside its window")
        assert meter.read()[1] > 0
        house.engine.request("POST", '/images/prune?filters={"dangling":{"false":true}}')
    house.once("deferred", reason="docker image prune -a?")
    meter.read()
    house.once("deferred", reason="docker image prune -a?")
    assert meter.read()[1] == 0
    house.untouched(before)
    # When the window opens, it is used at once.
    house.configure(create=UP, window="00:00-24:00")
    house.once("updated")
    house.check(second)


# case 7: what was pulled whole and could not be used
def test_a_broken_layer_is_downloaded_once(house):
    _, before = house.up()
    meter = Meter(house.registry)
    bad = b"this is no tar" * 5000
    push(house.registry, house.repository, [bad])
    house.once("refused", reason="the engine says: ")
    assert meter.read()[1] > 0
    for _ in range(2):
        house.once("refused", reason="this digest was rejected before: ")
        assert meter.read()[1] == 0
    house.untouched(before)
    assert house.engine.release == house.pullet.record("app")["rejected"][0]["engine"]
    # Freed by hand it is tried once more, and a good release is taken all the same.
    house.pullet.order("retry")
    house.once("refused", reason="the engine says: ")
    house.once("refused", reason="this digest was rejected before: ")
    house.publish()
    house.once("updated")


# case 7: a link that is cut is no final answer
def test_a_layer_that_the_registry_lost_is_asked_for_again(house):
    _, before = house.up()
    layer = fat("say", "lost", "wait").layer()
    push(house.registry, house.repository, [layer])
    lost = digest_of(gzip.compress(layer, 6, mtime=0))
    status, _, _ = house.registry.request("DELETE", f"/v2/{house.repository}/blobs/{lost}")
    assert status == 202
    house.once("failed")
    assert house.pullet.record("app")["rejected"] == []
    house.untouched(before)
    house.registry.push_blob(house.repository, gzip.compress(layer, 6, mtime=0))
    house.once("updated")


# An operator's container that runs what an update would not take is as good as it was.
def test_a_container_that_runs_it_already_is_left_in_peace(house):
    push(house.registry, house.repository, [fat().layer()],
         settings={"config": {"Cmd": ["/actor", "wait"], "Labels": {"x": "y" * 300000}}})
    house.configure()
    house.engine.pull(house.image)
    house.engine.run("app", house.image, **UP)
    house.once("up-to-date")
    assert house.pullet.record("app")["rejected"] == []


class Unit:
    """A systemd unit with ExecStartPre=docker rm -f app, ExecStart=docker run --name app IMAGE, Restart=always."""

    def __init__(self, engine, image):
        self.engine, self.image, self.over = engine, image, threading.Event()
        self.starts = 0
        self.run()
        self.thread = threading.Thread(target=self.loop, daemon=True)
        self.thread.start()

    def run(self):
        self.engine.request("DELETE", "/containers/app?force=1")
        _, answer = self.engine.request("POST", "/containers/create?name=app", {"Image": self.image, "HostConfig": {
            "NetworkMode": "none"}})
        self.identity = answer.get("Id", "app")
        self.engine.request("POST", f"/containers/{self.identity}/start")
        self.starts += 1

    def loop(self):
        while not self.over.is_set():
            self.engine.request("POST", f"/containers/{self.identity}/wait")
            if not self.over.is_set():
                self.run()

    def stop(self):
        self.over.set()
        self.engine.request("DELETE", f"/containers/{self.identity}?force=1")
        self.thread.join(30)


# case 9
def test_a_systemd_unit_with_docker_run_fights_every_update(house):
    house.publish()
    house.engine.pull(house.image)
    unit = Unit(house.engine, house.image)
    try:
        house.configure(health_period="20s", stop_timeout="1s")
        house.once("up-to-date")
        second = house.publish()
        for _ in range(4):
            result = house.pullet.once(arguments=["--debug"])
            entry = result.results["app"]
            assert entry["result"] in ("failed", "deferred"), result
            assert entry["downtime_ms"] != 0, entry  # unknown, or as long as it was
            if entry["result"] == "deferred":
                break
        assert entry["result"] == "deferred"
        assert "a systemd unit with docker run?" in entry["reason"]
        assert house.pullet.record("app")["disturbed"]["times"] == 3
        starts, meter = unit.starts, Meter(house.registry)
        for _ in range(2):
            house.once("deferred", reason="a systemd unit with docker run?")
            assert meter.read()[1] == 0
        assert unit.starts == starts
        assert not house.is_image(house.engine.inspect("app"), second)
    finally:
        unit.stop()
    # Another digest, or the operator's word, frees it.
    house.configure()
    house.engine.run("app", house.image, **UP)
    house.pullet.order("retry")
    house.once("updated" if not house.is_image(house.engine.inspect("app"), second) else "up-to-date")


# case 9: the time of a trial would never be over
def test_something_pauses_the_new_version_again_and_again(house):
    first, _ = house.up()
    house.publish()
    house.configure(create=UP, health_period="10min")
    over = threading.Event()

    def pause():
        while not over.wait(0.05):
            if house.engine.inspect("app.prev"):
                for verb in ("pause", "unpause"):
                    house.engine.request("POST", f"/containers/app/{verb}")

    thread = threading.Thread(target=pause, daemon=True)
    thread.start()
    try:
        house.once("failed", reason="the new container was stopped externally")
        assert house.pullet.record("app")["disturbed"]["times"] > 0
    finally:
        over.set()
        thread.join(30)
    house.check(first)


# case 9, after the verdict: compose, run by cron with a tag of its own, takes every update back
def test_something_puts_the_old_version_back_after_every_update(house):
    house.up(health_period="50ms")
    house.registry.point(house.publish(), "other")
    old = house.engine.inspect("app")["Image"]
    house.once("updated")
    for _ in range(3):
        house.engine.request("DELETE", "/containers/app?force=1")
        house.engine.run("app", old, **UP)
        house.once("updated")
    house.engine.request("DELETE", "/containers/app?force=1")
    house.engine.run("app", old, **UP)
    house.once("deferred", reason="something starts, stops or removes this container")
    house.publish()
    house.once("updated")
