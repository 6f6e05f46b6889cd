# SPDX-License-Identifier: MIT
"""Signatures beside an image, carried by pullet-fetch: from what cosign and skopeo wrote (tests/data/cosign-registry), and from
registries that misbehave. pullet-fetch judges none of them."""

import base64
import json
import pathlib

import pytest

from pullet_registry import Registry as DockerRegistry
from registryd import Answer, OCI_INDEX, OCI_MANIFEST, Registry, make_certificate, manifest, on, sha256
from test_fetch import (Child, basic, check_memory, environment, fetch, raw, registry)  # noqa: F401

DATA = pathlib.Path(__file__).resolve().parents[1] / "data" / "cosign-registry"
SIMPLE = "application/vnd.dev.cosign.simplesigning.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
CLASSIC = "application/vnd.dev.cosign.artifact.sig.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
STATEMENT = "application/vnd.in-toto+json"
PREDICATE, SIGN = "dev.sigstore.bundle.predicateType", "https://sigstore.dev/cosign/sign/v1"
SIGNATURE = "dev.cosignproject.cosign/signature"
IMAGE = "sha256:" + "1" * 64  # the digest that is asked for where nothing real is
PLACES = ("tag", "referrers", "fallback")
PAIRS_MAX, PAYLOAD_MAX, LINE_MAX = 16, 16 * 1024, 256 * 1024


def text(data):
    return base64.b64encode(data).decode()


def simple(payload, signature):
    return {"format": "simple", "payload": text(payload), "signature": text(signature)}


def bundled(payload, signature):
    return {**simple(payload, signature), "format": "bundle"}


class Beside:
    """A repository of the fake registry, with what stands beside an image. blobs, referrers: {digest: bytes}."""

    def __init__(self, registry, name="app"):
        self.registry, self.name, self.blobs, self.referrers = registry, name, {}, {}
        registry.hooks.append(self._answer)

    def _answer(self, seen):
        start, _, last = seen.path.rpartition("/")
        for kind, what, content in (("blobs", self.blobs, "application/octet-stream"),
                                    ("referrers", self.referrers, OCI_INDEX)):
            if start == f"/v2/{self.name}/{kind}" and last in what:
                return Answer(200, {"Content-Type": content}, what[last])
        return None

    def put_blob(self, data):
        self.blobs[sha256(data)] = data
        return {"mediaType": "text/plain", "digest": sha256(data), "size": len(data)}

    def put(self, tag, document):
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        return self.registry.put(self.name, tag, data, OCI_INDEX if b'"manifests"' in data else OCI_MANIFEST)

    def layer(self, payload, signature, **changes):
        return {**self.put_blob(payload), "mediaType": SIMPLE, "annotations": {SIGNATURE: text(signature)}, **changes}

    def bundle(self, payload, *signatures, **changes):
        envelope = {"payload": text(payload), "payloadType": STATEMENT,
                    "signatures": [{"sig": text(one)} for one in signatures]}
        whole = {"mediaType": BUNDLE, "verificationMaterial": {}, "dsseEnvelope": envelope, **changes}
        return {**self.put_blob(json.dumps(whole).encode()), "mediaType": BUNDLE}

    def manifest(self, layers, subject=None, **changes):
        """The bytes of a manifest, which are not put yet."""
        whole = {"schemaVersion": 2, "mediaType": OCI_MANIFEST,
                 "config": {"mediaType": EMPTY, "digest": sha256(b"{}"), "size": 2}, "layers": layers}
        if subject:
            whole["subject"] = {"mediaType": OCI_INDEX, "digest": subject, "size": 5}
        return json.dumps({**whole, **changes}).encode()

    def refer(self, layers, artifact=BUNDLE, subject=IMAGE, **changes):
        """Puts a manifest -> its entry in a list of referrers."""
        data = self.manifest(layers, subject)
        entry = {"mediaType": OCI_MANIFEST, "digest": self.put(None, data), "size": len(data),
                 "artifactType": artifact, **changes}
        return {key: value for key, value in entry.items() if value is not None}

    def list(self, entries, place="referrers", image=IMAGE):
        data = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()
        if place == "referrers":
            self.referrers[image] = data
        else:
            self.put(image.replace(":", "-"), data)

    def tag(self, layers, image=IMAGE):
        self.put(image.replace(":", "-") + ".sig", self.manifest(layers))

    def paths(self):
        return [seen.path.removeprefix(f"/v2/{self.name}/") for seen in self.registry.seen]


@pytest.fixture
def beside(registry):
    return Beside(registry)


def ask(fetch, registry, place="tag", digest=IMAGE, image="app:stable", measured=False, options=None):
    child = Child(fetch.config, measured, options or fetch.options, registry.host)
    try:
        child.send({"op": "signatures", "image": f"{registry.host}/{image}", "digest": digest, "place": place})
        reply = child.receive()
        fetch.traffic = child.traffic
    finally:
        out, fetch.stderr = child.end()
    assert child.proc.returncode == 0, fetch.stderr
    if measured:
        fetch.rss_kb = int(out.split()[-1])
    assert len(json.dumps(reply)) < LINE_MAX
    return reply


def carried(fetch, registry, place="tag", left=0, **options):
    """The pairs of a reply that leaves out so many."""
    reply = ask(fetch, registry, place, **options)
    assert "error" not in reply, reply
    assert set(reply) == {"signatures", "left"} and reply["left"] == left, reply
    return reply["signatures"]


def fails(fetch, registry, code, *texts, **options):
    error = ask(fetch, registry, **options).get("error")
    assert error and error["code"] == code, error
    for one in ("app: signatures of " + IMAGE, *texts):
        assert one in error["text"], error
    return error


# What cosign and skopeo wrote

def files(name):
    """-> (documents by tag, manifests by digest, blobs by digest, referrers by the first digits of a digest)"""
    found = {"tag": {}, "manifest": {}, "blob": {}, "referrers": {}}
    for path in sorted((DATA / name).iterdir()):
        kind, _, rest = path.name.partition("-")
        data = path.read_bytes()
        key = rest.removesuffix(".json") if kind in ("tag", "referrers") else sha256(data)
        assert kind in ("tag", "referrers") or key[7:19] == rest[:12]
        found[kind][key] = data
    return found["tag"], found["manifest"], found["blob"], found["referrers"]


def load(beside, name):
    tags, manifests, blobs, referrers = files(name)
    for tag, data in tags.items():
        beside.put(tag, data)
    for data in manifests.values():
        beside.put(None, data)
    beside.blobs.update(blobs)
    beside.referrers = {json.loads(next(iter(manifests.values())))["subject"]["digest"]: data for data in referrers.values()}


def expected(name, tag=None):
    """The pairs of a folder, newest first, as Python reads them."""
    tags, manifests, blobs, referrers = files(name)
    if tag and tag.endswith(".sig"):
        documents = [tags[tag]]
    else:
        listed = tags[tag] if tag else next(iter(referrers.values()))
        documents = [manifests[entry["digest"]] for entry in reversed(json.loads(listed)["manifests"])]
    pairs = []
    for document in documents:
        if json.loads(document).get("annotations", {}).get(PREDICATE, SIGN) != SIGN:
            continue  # an attestation
        for layer in reversed(json.loads(document)["layers"]):
            blob = blobs[layer["digest"]]
            if layer["mediaType"] == SIMPLE:
                pairs.append({"format": "simple", "payload": text(blob), "signature": layer["annotations"][SIGNATURE]})
            else:
                envelope = json.loads(blob)["dsseEnvelope"]
                pairs.append({"format": "bundle", "payload": envelope["payload"], "signature": envelope["signatures"][0]["sig"]})
    return pairs


def names():
    """(folder, place, digest, how many pairs)"""
    for name, place, n in (("classic25", "tag", 2), ("twice25", "tag", 2), ("skopeo118", "tag", 1), ("both", "tag", 1),
                           ("both", "fallback", 1), ("bundle31", "fallback", 3), ("classic25-oci11", "fallback", 1),
                           ("attest31", "fallback", 0), ("bundle31-referrers-api", "referrers", 1),
                           ("classic25-oci11-referrers-api", "referrers", 1)):
        yield name, place, n


def digest_of(name, place):
    tags, manifests, _, referrers = files(name)
    if referrers:
        return json.loads(next(iter(manifests.values())))["subject"]["digest"], None
    tag = next(tag for tag in tags if tag.endswith(".sig") == (place == "tag"))
    return tag.removesuffix(".sig").replace("-", ":"), tag


@pytest.mark.parametrize("name, place, n", names())
def test_what_was_signed(fetch, registry, beside, name, place, n):
    load(beside, name)
    digest, tag = digest_of(name, place)
    pairs = carried(fetch, registry, place, digest=digest)
    assert len(pairs) == n and pairs == expected(name, tag)
    for other in set(PLACES) - {place} - ({"tag", "fallback"} if name == "both" else set()):
        assert carried(fetch, registry, other, digest=digest) == []


def test_what_was_signed_in_docker_s_registry(fetch, lab):
    """distribution 2.8, which has no referrers API and answers with a page of text."""
    docker = DockerRegistry(lab, "registry-signatures")
    docker.host = docker.address
    for name, place, n in names():
        tags, manifests, blobs, referrers = files(name)
        if referrers:
            continue
        repository, (digest, tag) = name.replace("31", "-3"), digest_of(name, place)
        for data in blobs.values():
            docker.push_blob(repository, data)
        for reference, data in [*((sha256(data), data) for data in manifests.values()), *tags.items()]:
            docker.push_manifest(repository, reference, data, OCI_INDEX if b'"manifests"' in data else OCI_MANIFEST)
        image = f"{repository}:stable"
        since = docker.mark()
        assert carried(fetch, docker, place, digest=digest, image=image) == expected(name, tag)
        requests = docker.requests(since)
        blobs = n if name != "classic25" else 1  # of two signers
        assert len(requests) == (1 + blobs if place == "tag" else 1 + len(manifests) + blobs), requests
        assert carried(fetch, docker, "referrers", digest=digest, image=image) == []


# Requests and bytes

def test_a_signature_at_a_tag_is_two_requests(fetch, registry, beside):
    load(beside, "classic25")
    digest, tag = digest_of("classic25", "tag")
    assert len(carried(fetch, registry, digest=digest)) == 2
    assert beside.paths() == [f"manifests/{tag}", "blobs/" + next(d for d in beside.blobs if len(beside.blobs[d]) == 288)]
    assert registry.connections == 1


@pytest.mark.parametrize("place, name", [("referrers", "bundle31-referrers-api"), ("fallback", "both")])
def test_a_bundle_is_three_requests(fetch, registry, beside, place, name):
    load(beside, name)
    digest, tag = digest_of(name, place)
    assert len(carried(fetch, registry, place, digest=digest)) == 1
    first = f"referrers/{digest}" if place == "referrers" else f"manifests/{tag}"
    assert [path.split(":")[0] for path in beside.paths()] == [first.split(":")[0], "manifests/sha256", "blobs/sha256"]
    assert beside.paths()[0] == first and registry.connections == 1


def test_no_signature_is_one_request_a_place(fetch, registry, beside):
    for place in PLACES:
        assert carried(fetch, registry, place) == []
    hex64 = "1" * 64
    assert beside.paths() == [f"manifests/sha256-{hex64}.sig", f"referrers/sha256:{hex64}", f"manifests/sha256-{hex64}"]
    assert [seen.method for seen in registry.seen] == ["GET"] * 3


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return make_certificate(str(tmp_path_factory.mktemp("tls")))


@pytest.mark.parametrize("name, place", [("classic25", "tag"), ("bundle31-referrers-api", "referrers"), ("both", "fallback")])
def test_bytes_on_the_wire(fetch, authority, name, place):
    """Over TLS, both ways with the headers of packets, behind a request of the update on the same connection."""
    with Registry(certificate=authority[0], key=authority[1]) as registry:
        fetch.configure(registry.host, ca=authority[0])
        load(Beside(registry), name)
        registry.put("app", "stable", manifest())
        child = Child(fetch.config, options=fetch.options, host=registry.host)
        child.send({"op": "resolve", "image": f"{registry.host}/app:stable"})
        assert child.receive()["digest"]
        before = child.traffic["bytes"]
        child.send({"op": "signatures", "image": f"{registry.host}/app:stable", "digest": digest_of(name, place)[0], "place": place})
        assert child.receive()["signatures"]
        added = child.traffic["bytes"] - before
        child.end()
        print(f"{place}: {added} bytes behind {before}")
        assert registry.connections == 1 and 1000 < added < 6000


# Which, and how many

def test_the_newest_sixteen_layers(fetch, registry, beside):
    beside.tag([beside.layer(b"{%d}" % i, b"s%d" % i) for i in range(20)])
    assert carried(fetch, registry, left=4) == [simple(b"{%d}" % i, b"s%d" % i) for i in range(19, 3, -1)]
    assert len(registry.seen) == 1 + PAIRS_MAX and registry.connections == 1


@pytest.mark.parametrize("place", ["referrers", "fallback"])
def test_the_newest_sixteen_referrers(fetch, registry, beside, place):
    """What is no signature by its type counts for nothing: an image may have many."""
    artifact = BUNDLE if place == "referrers" else EMPTY
    entries = []
    for i in range(20):
        entries.append(beside.refer([beside.bundle(b"{%d}" % i, b"s%d" % i)], artifact))
        entries.append({**entries[-1], "artifactType": "application/spdx+json"})
    beside.list(entries, place)
    assert carried(fetch, registry, place, left=4) == [bundled(b"{%d}" % i, b"s%d" % i) for i in range(19, 3, -1)]
    assert len(registry.seen) == 1 + 2 * PAIRS_MAX and registry.connections == 1


def test_a_list_in_pages(fetch, registry, beside):
    """The first one counts, and more are left."""
    beside.list([beside.refer([beside.bundle(b"{1}", b"a")])])
    link = {"Link": f"</v2/app/referrers/{IMAGE}?last=x>; rel=\"next\"", "Content-Type": OCI_INDEX}
    registry.hooks.insert(0, on("GET", "/referrers/", Answer(200, link, beside.referrers[IMAGE])))
    assert carried(fetch, registry, "referrers", left=1) == [bundled(b"{1}", b"a")]


def test_classic_layers_and_bundles_in_referrers(fetch, registry, beside):
    beside.list([beside.refer([beside.layer(b"{1}", b"a"), beside.layer(b"{1}", b"b")], CLASSIC),
                 beside.refer([beside.bundle(b"{2}", b"c", b"d")], None)])
    assert carried(fetch, registry, "referrers") == [bundled(b"{2}", b"c"), bundled(b"{2}", b"d"),
                                                     simple(b"{1}", b"b"), simple(b"{1}", b"a")]
    assert len(registry.seen) == 5


@pytest.mark.parametrize("place", ["referrers", "fallback"])
def test_attestations_cost_nothing(fetch, registry, beside, place):
    """Provenance and SBOMs beside a signature, which a list through the API tells apart, and a fallback list not."""
    def attest(i, predicate):
        entry = beside.refer([beside.bundle(b"{%d}" % i + b" " * 15000, b"a")], BUNDLE if place == "referrers" else EMPTY,
                             annotations={PREDICATE: predicate})
        manifest = json.dumps({**json.loads(registry.documents["app", entry["digest"]][0]), "annotations": {PREDICATE: predicate}}).encode()
        entry = {**entry, "digest": beside.put(None, manifest), "size": len(manifest)}
        return entry if place == "referrers" else {key: entry[key] for key in ("mediaType", "digest", "size", "artifactType")}

    signature = beside.refer([beside.bundle(b"{1}", b"a")], BUNDLE if place == "referrers" else EMPTY)
    beside.list([signature, *(attest(i, "https://slsa.dev/provenance/v1") for i in range(5))], place)
    assert carried(fetch, registry, place) == [bundled(b"{1}", b"a")]
    assert len(registry.seen) == (3 if place == "referrers" else 8)
    beside.list([attest(7, SIGN)], place)
    assert len(carried(fetch, registry, place)) == 1


def test_an_attestation_that_does_not_say_so_is_carried(fetch, registry, beside):
    """It is for the engine half to see that it is none."""
    statement = json.dumps({"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://slsa.dev/provenance/v1"}).encode()
    beside.list([beside.refer([beside.bundle(statement, b"a")])])
    assert carried(fetch, registry, "referrers") == [bundled(statement, b"a")]


def test_a_repeated_signature_is_carried_once(fetch, registry, beside):
    layer, other = beside.layer(b"{1}", b"a"), beside.layer(b"{2}", b"a")
    beside.tag([layer, other, layer])
    assert carried(fetch, registry) == [simple(b"{1}", b"a"), simple(b"{2}", b"a")]
    entry = beside.refer([beside.bundle(b"{1}", b"a")])
    beside.list([entry, entry])
    assert carried(fetch, registry, "referrers") == [bundled(b"{1}", b"a")]


def test_embedded_content_needs_no_request(fetch, registry, beside):
    def embed(descriptor, data):
        return {**descriptor, "data": text(data)}

    beside.tag([embed(beside.layer(b"{1}", b"a"), b"{1}")])
    assert carried(fetch, registry) == [simple(b"{1}", b"a")] and len(registry.seen) == 1
    descriptor = beside.bundle(b"{2}", b"b")
    entry = beside.refer([embed(descriptor, beside.blobs[descriptor["digest"]])])
    beside.list([embed(entry, registry.documents["app", entry["digest"]][0])])
    assert carried(fetch, registry, "referrers") == [bundled(b"{2}", b"b")] and len(registry.seen) == 2
    # Content that does not hash is asked for.
    beside.tag([embed(beside.layer(b"{1}", b"a"), b"{9}")])
    assert carried(fetch, registry) == [simple(b"{1}", b"a")] and len(registry.seen) == 4


def test_all_payloads_fit_into_a_line(fetch, registry, beside):
    """8 of 16 KiB; a small one behind them finds no room either."""
    payloads = [bytes([i]) * PAYLOAD_MAX for i in range(10)]
    beside.tag([beside.layer(b"{}", b"s" * 1536), *(beside.layer(one, b"s" * 1536) for one in payloads)])
    pairs = carried(fetch, registry, left=3, measured=True)
    assert pairs == [simple(one, b"s" * 1536) for one in payloads[:1:-1]]
    check_memory(fetch)


def test_the_largest_of_everything(fetch, registry, beside):
    """16 manifests of 256 KiB, each for a bundle of 64 KiB, in the memory of a helper."""
    entries = []
    for i in range(20):
        padding = " " * (64 * 1024 - 200 - len(json.dumps({"dsseEnvelope": text(b"%d" % i * 4000)})))
        layer = beside.bundle(b"%d" % i * 4000, b"s", x=padding)
        data = beside.manifest([layer], IMAGE)
        data += b" " * (256 * 1024 - len(data))
        entries.append({"mediaType": OCI_MANIFEST, "digest": beside.put(None, data), "size": len(data)})
    assert 60 * 1024 < max(map(len, beside.blobs.values())) <= 64 * 1024
    beside.list(entries)
    assert len(carried(fetch, registry, "referrers", left=4, measured=True)) == PAIRS_MAX
    check_memory(fetch)


# What is left out, beside what counts

def check_left(fetch, registry, beside, wrong, left=1):
    """A good layer before and behind the wrong one."""
    beside.tag([beside.layer(b"{1}", b"a"), wrong, beside.layer(b"{2}", b"b")])
    assert carried(fetch, registry, left=left) == [simple(b"{2}", b"b"), simple(b"{1}", b"a")]


@pytest.mark.parametrize("change", [
    {"annotations": {}}, {"annotations": None}, {"annotations": {SIGNATURE: ""}}, {"annotations": {SIGNATURE: "c2 ln"}},
    {"annotations": {SIGNATURE: "c2ln\n"}}, {"annotations": {SIGNATURE: "c2_-"}}, {"annotations": {SIGNATURE: "c2l"}},
    {"annotations": {SIGNATURE: 7}}, {"annotations": {SIGNATURE: text(b"s" * 1537)}}, {"size": 0}, {"size": -1},
    {"size": "3"}, {"size": PAYLOAD_MAX + 1}, {"digest": "sha256:../../../etc/passwd"}, {"digest": None},
    {"urls": ["http://127.0.0.1:1/x"]}], ids=range(16))
def test_a_layer_that_is_not_valid(fetch, registry, beside, change):
    check_left(fetch, registry, beside, {**beside.layer(b"{x}", b"x"), **change})
    assert len(registry.seen) == 3  # its blob was not asked for


def test_a_layer_of_another_kind_counts_for_nothing(fetch, registry, beside):
    check_left(fetch, registry, beside, {**beside.layer(b"{x}", b"x"), "mediaType": "text/plain"}, left=0)
    check_left(fetch, registry, beside, beside.bundle(b"{x}", b"x"), left=0)
    check_left(fetch, registry, beside, "nothing", left=0)


@pytest.mark.parametrize("answer", [
    Answer(404), Answer(404, {"Content-Type": "text/html"}, b"<html>404"), Answer(200, body=b"{y}"), Answer(200, body=b"{x}\n"),
    Answer(200, body=b""), Answer(200, body=b"x" * 70000), Answer(200, {"Content-Encoding": "identity"}, b"{X}")],
    ids=range(7))
def test_a_blob_that_is_gone_or_another(fetch, registry, beside, answer):
    wrong = beside.layer(b"{x}", b"x")
    registry.hooks.insert(0, on("GET", "/blobs/" + wrong["digest"], answer))
    check_left(fetch, registry, beside, wrong)


def test_a_descriptor_with_another_size(fetch, registry, beside):
    """Also where the same blob is listed twice, with two sizes."""
    check_left(fetch, registry, beside, {**beside.layer(b"{x}", b"x"), "size": 4})
    beside.tag([beside.layer(b"{1}", b"a"), {**beside.layer(b"{1}", b"b"), "size": 2}])
    assert carried(fetch, registry, left=2) == []
    beside.tag([{**beside.layer(b"{1}", b"b"), "size": 2}, beside.layer(b"{1}", b"a")])
    assert carried(fetch, registry, left=1) == [simple(b"{1}", b"a")]


WRONG_BUNDLES = {
    "an image's": lambda b: b.manifest([b.layer(b"{}", b"")], IMAGE),
    "subject of another": lambda b: b.manifest([b.bundle(b"{x}", b"x")], "sha256:" + "2" * 64),
    "no subject": lambda b: b.manifest([b.bundle(b"{x}", b"x")]),
    "subject in other case": lambda b: b.manifest([b.bundle(b"{x}", b"x")], Subject={"digest": IMAGE}),
    "key twice": lambda b: b.manifest([b.bundle(b"{x}", b"x")], IMAGE)[:-1] + b',"layers":[]}',
    "an index": lambda b: json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [], "subject": {"digest": IMAGE}}).encode(),
    "no JSON": lambda b: b"<html>",
    "nothing": lambda b: b"\n",
    "message signature": lambda b: b.manifest([b.bundle(b"{x}", b"x", messageSignature={"signature": "c2ln"})], IMAGE),
    "sign-blob": lambda b: b.manifest([b.bundle(b"{x}", b"x", dsseEnvelope=None, messageSignature={"signature": "c2ln"})], IMAGE),
    "another payload type": lambda b: b.manifest([b.bundle(b"{x}", b"x", dsseEnvelope={
        "payload": "e30=", "payloadType": "text/plain", "signatures": [{"sig": "c2ln"}]})], IMAGE),
    "another version": lambda b: b.manifest([b.bundle(b"{x}", b"x", mediaType="application/vnd.dev.sigstore.bundle.v0.4+json")], IMAGE),
    "no signatures": lambda b: b.manifest([b.bundle(b"{x}")], IMAGE),
    "five signatures": lambda b: b.manifest([b.bundle(b"{x}", *[b"%d" % i for i in range(5)])], IMAGE),
    "payload of 16 KiB and one": lambda b: b.manifest([b.bundle(b"x" * (PAYLOAD_MAX + 1), b"x")], IMAGE),
    "bundle of 64 KiB and more": lambda b: b.manifest([b.bundle(b"{x}", b"x", x="x" * 65536)], IMAGE),
    "depth": lambda b: b.manifest([b.bundle(b"{x}", b"x")], IMAGE, x=json.loads("[" * 500 + "]" * 500)),
    "memory": lambda b: b.manifest([{}] * 70000, IMAGE),
}


@pytest.mark.parametrize("wrong", WRONG_BUNDLES)
@pytest.mark.parametrize("place", ["referrers", "fallback"])
def test_a_referrer_that_is_not_valid(fetch, registry, beside, wrong, place):
    data = WRONG_BUNDLES[wrong](beside)
    entry = {"mediaType": OCI_MANIFEST, "digest": beside.put(None, data), "size": len(data)}
    beside.list([beside.refer([beside.bundle(b"{1}", b"a")]), entry, beside.refer([beside.bundle(b"{2}", b"b")])], place)
    assert carried(fetch, registry, place, left=1) == [bundled(b"{2}", b"b"), bundled(b"{1}", b"a")]


@pytest.mark.parametrize("change", [{"size": 1}, {"size": 0}, {"size": 256 * 1024 + 1}, {"digest": "sha256:" + "9" * 64},
                                    {"digest": "x"}], ids=range(5))
def test_an_entry_that_is_not_valid(fetch, registry, beside, change):
    good = beside.refer([beside.bundle(b"{1}", b"a")])
    beside.list([good, {**beside.refer([beside.bundle(b"{2}", b"b")]), **change}, "x", None])
    assert carried(fetch, registry, "referrers", left=3) == [bundled(b"{1}", b"a")]


def test_a_referrer_whose_bytes_are_another_s(fetch, registry, beside):
    """The registry answers for the digest with a manifest that says the same of itself."""
    good, other = beside.refer([beside.bundle(b"{1}", b"a")]), beside.refer([beside.bundle(b"{2}", b"b")])
    registry.documents["app", other["digest"]] = registry.documents["app", good["digest"]]
    beside.list([good, other])
    assert carried(fetch, registry, "referrers", left=1) == [bundled(b"{1}", b"a")]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("document", [b"{}", b"[]", b'{"manifests": {}}', b'{"layers": 7}', b" " * 300000 + b"{}"], ids=range(5))
def test_another_document_at_the_place(fetch, registry, beside, document, place):
    registry.hooks.insert(0, on("GET", answer=Answer(200, {"Content-Type": OCI_MANIFEST}, document)))
    assert carried(fetch, registry, place, left=1, measured=True) == []
    check_memory(fetch)


def test_a_list_with_more_than_fits_into_memory(fetch, registry, beside):
    """256 KiB of {} would take 30 MB."""
    beside.referrers[IMAGE] = b'{"manifests":[' + b"{}," * 80000 + b"{}]}"
    assert carried(fetch, registry, "referrers", left=1, measured=True) == []
    check_memory(fetch)


# A registry without the API, a network without the registry

@pytest.mark.parametrize("status", [400, 404, 405, 406, 501])
def test_a_registry_without_the_referrers_api(fetch, registry, status):
    registry.hooks.append(on("GET", "/referrers/", Answer(status, {"Content-Type": "text/plain"}, b"404 page not found\n")))
    assert carried(fetch, registry, "referrers") == []
    if status != 404:
        registry.hooks.append(on("GET", "/manifests/", Answer(status)))
        fails(fetch, registry, "EREMOTEIO" if status == 501 else "EPROTO", str(status))


def test_a_page_in_place_of_the_referrers_api(fetch, registry):
    """The front of a registry that lacks it: the fallback tag is asked all the same."""
    registry.hooks.append(on("GET", "/referrers/", Answer(200, {"Content-Type": "text/html"}, b"<html>log in")))
    assert carried(fetch, registry, "referrers", left=1) == []


@pytest.mark.parametrize("content", [OCI_INDEX, "application/json", "text/plain; charset=utf-8", "application/octet-stream", None])
def test_the_type_of_a_list_does_not_matter(fetch, registry, beside, content):
    beside.list([beside.refer([beside.bundle(b"{1}", b"a")])])
    registry.hooks.insert(0, on("GET", "/referrers/", Answer(200, {"Content-Type": content} if content else {}, beside.referrers[IMAGE])))
    assert carried(fetch, registry, "referrers") == [bundled(b"{1}", b"a")]


FAILURES = [
    (Answer(401), "EACCES", "authentication"),
    (Answer(403), "EACCES", "refused access (403)"),
    (Answer(500), "EREMOTEIO", "failed (500)"),
    (Answer(502, {"Content-Type": "text/html"}, b"<html>" + b" " * 20000), "EREMOTEIO", "failed (502)"),
    (Answer(429, {"Retry-After": "77"}), "EBUSY", "Retry-After: 77 s"),
    (Answer(302, {"Location": "file:///etc/passwd"}), "EPROTO", "redirects"),
    (Answer(204), "EPROTO", "204"),
    (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"), "ECONNRESET", ""),
    (raw(b""), "ECONNRESET", ""),
]


def fill(beside, place):
    """Two signatures at the place."""
    if place == "tag":
        beside.tag([beside.layer(b"{1}", b"a"), beside.layer(b"{2}", b"b")])
    else:
        beside.list([beside.refer([beside.bundle(b"{%d}" % i, b"a")]) for i in range(2)], place)


def path_of(place, step):
    """What is in the path of the first request, of those for manifests, or of those for blobs."""
    first = "/referrers/" if place == "referrers" else "/manifests/sha256-"
    return {"first": first, "manifest": "/manifests/sha256:", "blob": "/blobs/"}[step]


STEPS = [(place, step) for place in PLACES for step in ("first", "manifest", "blob") if (place, step) != ("tag", "manifest")]


@pytest.mark.parametrize("failure", range(len(FAILURES)))
@pytest.mark.parametrize("place, step", STEPS)
def test_a_failure_is_no_empty_list(fetch, registry, beside, place, step, failure):
    answer, code, why = FAILURES[failure]
    fill(beside, place)
    registry.hooks.insert(0, on("GET", path_of(place, step), answer))
    error = fails(fetch, registry, code, why, place=place)
    assert error.get("retry-after") == (77 if code == "EBUSY" else None)


@pytest.mark.parametrize("place, step", [one for one in STEPS if one[1] != "first"])
def test_one_failure_among_answers(fetch, registry, beside, place, step):
    """The second of two requests is refused, as by a token that expires in the middle."""
    fill(beside, place)
    seen = []
    registry.hooks.insert(0, on("GET", path_of(place, step), lambda one: seen.append(one) or (Answer(401) if len(seen) == 2 else None)))
    fails(fetch, registry, "EACCES", "authentication", place=place)
    assert len(seen) == 2


@pytest.mark.parametrize("place", ["tag", "fallback"])
def test_the_page_of_a_portal_is_no_empty_list(fetch, registry, place):
    registry.hooks.append(on("GET", answer=Answer(200, {"Content-Type": "text/html"}, b"<html>log in")))
    fails(fetch, registry, "EBADMSG", place=place)


@pytest.mark.parametrize("place", ["tag", "fallback"])
def test_a_404_of_something_else_is_no_empty_list(fetch, registry, place):
    registry.hooks.append(on("GET", answer=Answer(404, {"Content-Type": "text/html"}, b"<html>404 not found")))
    fails(fetch, registry, "EREMOTEIO", "the 404 is not the registry's own", place=place)


def test_no_registry(fetch):
    with Registry() as gone:
        pass
    fails(fetch, gone, "ECONNREFUSED")


@pytest.mark.parametrize("place", PLACES)
def test_blobs_behind_a_redirect(fetch, registry, beside, place):
    """As cloud registries do; credentials are not sent to the other host."""
    fetch.configure(registry.host, credentials=fetch.credentials(registry.host))
    fill(beside, place)
    registry.hooks.insert(0, on("GET", "/blobs/", lambda seen: Answer(307, {
        "Location": f"http://localhost:{registry.port}/cdn/" + seen.path.rpartition("/")[2]})))
    registry.hooks.insert(0, on("GET", "/cdn/", lambda seen: Answer(200, body=beside.blobs[seen.path.rpartition("/")[2]])))
    assert len(carried(fetch, registry, place)) == 2
    assert all(seen.authorization == (None if seen.path.startswith("/cdn/") else basic()) for seen in registry.seen)
    assert len([seen for seen in registry.seen if seen.path.startswith("/cdn/")]) == 2


# Mirrors

@pytest.fixture
def mirrored(fetch, registry):
    with Registry(address="127.0.0.2") as mirror:
        fetch.configure(registry.host, mirror=mirror.url)
        yield mirror


@pytest.mark.parametrize("place", PLACES)
def test_a_mirror_that_has_them(fetch, registry, mirrored, place):
    at_mirror = Beside(mirrored)
    fill(at_mirror, place)
    assert len(carried(fetch, registry, place)) == 2
    assert registry.seen == []


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("status", [404, 401, 500])
def test_a_mirror_that_lacks_them(fetch, registry, beside, mirrored, place, status):
    mirrored.hooks.append(on("GET", answer=Answer(status)))
    fill(beside, place)
    assert len(carried(fetch, registry, place)) == 2
    assert len(registry.seen) == (3 if place == "tag" else 5)


def test_a_mirror_that_is_down(fetch, registry, beside):
    with Registry(address="127.0.0.2") as mirror:
        fetch.configure(registry.host, mirror=mirror.url)
    fill(beside, "tag")
    assert len(carried(fetch, registry)) == 2


@pytest.mark.parametrize("place", ["referrers", "fallback"])
def test_a_mirror_with_an_empty_list(fetch, registry, beside, mirrored, place):
    """It knows the image, and not what was signed since."""
    Beside(mirrored).list([], place)
    fill(beside, place)
    assert len(carried(fetch, registry, place)) == 2
    beside.list([], place)
    assert carried(fetch, registry, place) == []


def test_a_mirror_without_the_blob(fetch, registry, beside, mirrored):
    at_mirror = Beside(mirrored)
    fill(at_mirror, "tag")
    fill(beside, "tag")
    at_mirror.blobs.clear()
    assert len(carried(fetch, registry)) == 2
    assert {path.split("/")[0] for path in beside.paths()} == {"blobs"}


# The question

@pytest.mark.parametrize("question", [{}, {"digest": IMAGE}, {"place": "tag"}, {"digest": "x", "place": "tag"},
                                      {"digest": IMAGE, "place": "there"}, {"digest": IMAGE, "place": 1}], ids=range(6))
def test_a_question_that_is_not_valid(fetch, registry, question):
    child = Child(fetch.config, host=registry.host)
    child.send({"op": "signatures", "image": f"{registry.host}/app:stable", **question})
    reply = child.receive()
    child.end()
    assert reply["error"]["code"] == "EBADMSG" and registry.seen == []
