# SPDX-License-Identifier: MIT
"""With a key, a container takes what the owner of the key has signed, in each form, and nothing else: registry and engine are
real, signatures are made with openssl by pullet_signer.py. Sequence numbers are in test_signed_sequence.py, keys and policies in
test_signed_keys.py; test_cosign.py has the signatures of cosign itself."""

import json
import random
import subprocess

import pytest

from conftest import UP, window
from pullet_bus import Bus, resident
from pullet_delta import publish_delta
from pullet_image import MEDIA, Image, actor, host_platform, to_json
from pullet_signer import (ATTESTED, IN_TOTO, Referrers, Signer, bundle, pae, signing, simple, statement, tag_of, text64)  # noqa: F401 (signing: a fixture)
from pullet_spool import KB, down, link, ours  # noqa: F401 (link: a fixture)
from registryd import Answer, Front

FORMS = ["classic", "bundle", "referrer"]
OTHER_PLATFORM = "linux/arm/v7" if host_platform() != "linux/arm/v7" else "linux/amd64"


@pytest.fixture
def api(house, lab):
    """The house's registry has the referrers API."""
    with Referrers(house.registry) as front:
        lab.announce(front.address)
        house.registry = front
        yield front
        house.registry = front.behind


def refused(house, before, published, reason=None):
    """It is refused for its signature: nothing of the image came, what ran goes on, and the digest is not rejected."""
    mark = house.registry.mark()
    entry = house.once("refused", reason=reason)
    assert entry["reason"].startswith("signature: "), entry
    house.untouched(before)
    layers = [layer["digest"] for body, _ in published.bodies.values() for layer in json.loads(body)["layers"]]
    came = [r.path for r in house.registry.requests(mark) if r.path.endswith(tuple(layers))]
    assert not came, came
    assert not [tag for tag in house.engine.tags() if tag == house.image and house.engine.tags()[tag] != before["Image"]]
    assert not house.pullet.record("app").get("rejected")
    return entry


# --- taken ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["p256", "rsa"])
@pytest.mark.parametrize("form", FORMS)
def test_signed(house, signing, form, kind):
    signing.key(kind=kind)
    signing.up(form=form, seq=1)
    assert signing.signed_by() == ["prod.pub"]
    second = signing.publish(form=form, seq=2)
    house.once("updated")
    house.check(second)
    assert signing.signed_by() == ["prod.pub"]


@pytest.mark.parametrize("form", ["bundle", "referrer"])
def test_signed_in_a_registry_with_the_referrers_api(house, signing, api, form):
    signing.up(form=form, seq=1)
    second = signing.publish(form=form, seq=2)
    house.once("updated")
    house.check(second)
    assert [s.path for s in api.seen if "/referrers/" in s.path]
    assert not signing.signer.manifest(tag_of(second.digest))


def test_a_ci_that_signs_later_than_it_pushes(house, signing):
    _, before = signing.up()
    second = house.publish()
    entry = refused(house, before, second)
    assert "no signature" in entry["reason"] or "not signed" in entry["reason"], entry
    snapshot = house.pullet.state_snapshot()
    assert house.once("refused") == entry
    assert house.pullet.state_snapshot() == snapshot
    signing.sign(second)
    house.once("updated")
    house.check(second)


def test_the_first_container(house, signing):
    """Where nothing runs yet, an unsigned image makes no container either."""
    first = house.publish()
    signing.configure(create=UP)
    house.once("refused")
    assert not house.engine.containers()
    signing.sign(first)
    house.once("updated")
    house.check(first)


def test_what_runs_unsigned_goes_on_when_a_key_comes(house, signing):
    first, before = house.up()
    signing.configure()
    mark = house.registry.mark()
    house.once("up-to-date")
    assert [r.method for r in house.registry.requests(mark)] == ["HEAD"]
    house.untouched(before)
    second = signing.publish(seq=3)
    house.once("updated")
    house.check(second)
    result = house.pullet.order("rollback")[-1]  # an unsigned image is not gone back to
    assert result["result"] == "refused" and result["reason"].startswith("signature: "), result
    house.check(second)


@pytest.mark.parametrize("download", ["spool", "engine"])
def test_each_way_of_download(house, signing, download):
    signing.up(settings={"agent": {"download": download}})
    second = signing.publish()
    house.once("updated")
    house.check(second)
    third = house.publish()
    refused(house, house.engine.inspect("app"), third)


def test_a_delta_needs_no_signature_of_its_own(house, signing, link):
    if house.engine.kind.program == "podman":
        pytest.skip("podman takes the plain way")
    content = random.Random(14).randbytes(100_000)

    def version(change):
        return {"images": actor("say", change, "wait", files={"file": (content + change.encode(), 0o644)})}

    first, _ = signing.up()
    old = signing.publish(options=version("one"))
    house.once("updated")
    new = signing.publish(options=version("two"))
    publish_delta(house.registry, house.repository, old, new)
    link.reset()
    house.once("updated")
    link.settle()
    house.check(new)
    assert [r for r in ours(link) if "/manifests/delta-" in r.path and r.status == 200]
    layers = [layer["digest"] for layer in json.loads(new.bodies[host_platform()][0])["layers"]]
    assert not [r for r in link.requests if r.path.endswith(tuple(layers))]
    third = house.publish(**version("three"))
    publish_delta(house.registry, house.repository, new, third)
    refused(house, house.engine.inspect("app"), third)


# --- an index, and a platform's manifest ------------------------------------------------------------


def platforms(house, version):
    return house.publish(images=[actor("say", version, "wait", Labels={"version": version}),
                                 Image({"actor": b"other " + version.encode()}, {"Cmd": ["/actor"]}, OTHER_PLATFORM)])


@pytest.mark.parametrize("form", ["classic", "bundle"])
def test_a_signed_manifest_of_the_platform_is_what_is_pulled(house, signing, form):
    """Twice in a row, with a rollback; the index is not signed."""
    signing.configure(create=UP)
    seen = []
    for number in (1, 2):
        published = platforms(house, f"v{number}")
        signing.sign(published.manifests[host_platform()], form=form, seq=number)
        mark = house.registry.mark()
        house.once("updated")
        house.check(published)
        record = house.pullet.record("app")["current"]
        assert record["pulled"] == published.manifests[host_platform()], record
        pulled = [r.path.rpartition("/")[2] for r in house.registry.requests(mark) if r.by_engine and "/manifests/" in r.path]
        assert published.digest not in pulled, pulled
        snapshot, mark = house.pullet.state_snapshot(), house.registry.mark()
        house.once("up-to-date")
        assert [r.method for r in house.registry.requests(mark)] == ["HEAD"]
        assert house.pullet.state_snapshot() == snapshot
        seen.append(published)
    assert house.pullet.order("rollback")[-1]["to"] == seen[0].digest
    house.check(seen[0])
    third = platforms(house, "v3")
    signing.sign(third.manifests[host_platform()], form=form, seq=3)
    house.once("updated")
    house.check(third)


@pytest.mark.parametrize("form", ["classic", "bundle"])
def test_a_signed_index(house, signing, form):
    signing.configure(create=UP)
    published = platforms(house, "v1")
    signing.sign(published, form=form, seq=1)
    house.once("updated")
    house.check(published)


def test_another_platforms_manifest_that_is_signed(house, signing):
    _, before = signing.up()
    published = platforms(house, "v2")
    signing.sign(published.manifests[OTHER_PLATFORM])
    refused(house, before, published)


# --- another reference ------------------------------------------------------------------------------


def test_the_reference_changes_while_a_version_waits(house, signing):
    """What was verified for one tag was not for another, to which a thief who may push copies it."""
    signing.up()
    second = signing.publish(tag="stable")
    signing.configure(window=window(6, 7))
    house.once("deferred", reason="window")
    house.registry.point(second, "prod")
    before = house.engine.inspect("app")
    signing.configure(image=house.registry.ref(house.repository + ":prod"))
    refused(house, before, second)
    signing.configure()
    house.once("updated")
    house.check(second)


def test_the_reference_has_changed_since_a_version_ran(house, signing):
    signing.configure(create=UP)
    first = signing.publish(tag="stable")
    house.once("updated")
    second = house.registry.publish(house.repository, "prod", actor("say", "prod", "wait"))
    signing.sign(second, tag="prod")
    signing.configure(image=house.registry.ref(house.repository + ":prod"))
    house.once("updated")
    before = house.check(second)
    house.registry.point(first, "prod")
    assert "stable" in house.once("refused", reason="signature: ")["reason"]
    house.untouched(before)


# --- not taken --------------------------------------------------------------------------------------


def altered(payload, change):
    value = json.loads(payload)
    change(value)
    return to_json(value)


class Forger:
    """What somebody who may push, and has signatures of this key for other things, can put beside an image."""

    def __init__(self, signing, published):
        self.signing, self.digest = signing, published.digest
        self.signer, self.key = signing.signer, signing.key()
        self.image = self.signer.image

    def simple(self, payload, sign=None):
        self.signer.push_classic(self.digest, payload, (sign or self.key.sign)(payload))

    def statement(self, payload, kind=IN_TOTO, sign=None):
        self.signer.push_bundle(self.digest, bundle(payload, (sign or self.key.sign)(pae(payload, kind)), self.key, kind))

    def good(self, form):
        return (simple(self.digest, self.image) if form == "simple" else statement(self.digest, {"image": self.image}))

    def edit(self, form, change):
        getattr(self, form)(altered(self.good(form), change))

    def text(self, form, old, new):
        payload = self.good(form)
        assert old in payload
        getattr(self, form)(payload.replace(old, new, 1))


def elsewhere(form):
    """The very signature that this key made for the same image in another repository."""
    def forge(f):
        other = Signer(f.signer.registry, f.signer.repository, "registry.example")
        getattr(other, form)(f.digest, f.key)
    return forge


def other_digest(form):
    def forge(f):
        digest = "sha256:" + "ab" * 32
        if form == "simple":
            f.simple(simple(digest, f.image))
        else:
            f.statement(statement(digest, {"image": f.image}))
    return forge


def text_of_signature(how):
    def forge(f):
        payload = f.good("simple")
        f.signer.push_classic(f.digest, payload, how(f.key.sign(payload)))
    return forge


def url_alphabet(f):
    payload = f.good("simple")
    texts = (text64(f.key.sign(payload)) for _ in range(100))
    text = next(text for text in texts if "+" in text or "/" in text)
    f.signer.push_classic(f.digest, payload, text.replace("+", "-").replace("/", "_"))


def broken_bundle(change):
    def forge(f):
        payload = f.good("statement")
        value = json.loads(bundle(payload, f.key.sign(pae(payload)), f.key))
        change(value)
        f.signer.push_bundle(f.digest, to_json(value))
    return forge


def blob_signature(f):
    """cosign sign-blob over the digest's name, as a bundle."""
    data = f.digest.encode()
    f.signer.push_bundle(f.digest, to_json({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "verificationMaterial": {"publicKey": {"hint": ""}},
        "messageSignature": {"messageDigest": {"algorithm": "SHA2_256", "digest": text64(b"\0" * 32)},
                             "signature": text64(f.key.sign(data))}}))


def other_subject(f):
    """The signature of the version before, in a referrer that says it is for this one."""
    first = f.signing.first
    payload = statement(first.digest, {"image": f.image})
    f.signer.push_bundle(f.digest, bundle(payload, f.key.sign(pae(payload)), f.key))
    f.signer.push_classic(f.digest, simple(first.digest, f.image), f.key.sign(simple(first.digest, f.image)))


FORGED = {
    "wrong key": lambda f: (f.signer.classic(f.digest, f.signing.key("thief")), f.signer.bundle(f.digest, f.signing.key("thief"))),
    "another repository": lambda f: (elsewhere("classic")(f), elsewhere("bundle")(f)),
    "another digest": lambda f: (other_digest("simple")(f), other_digest("statement")(f)),
    "the last version's": other_subject,
    "another tag": lambda f: (f.signer.classic(f.digest, f.key, tag="beta"), f.signer.bundle(f.digest, f.key, tag="beta"),
                              f.signer.classic(f.digest, f.key, reference=f.image + ":beta")),
    "attestation": lambda f: (f.signer.bundle(f.digest, f.key, predicate=ATTESTED), f.signer.push_classic(
        f.digest, statement(f.digest, {"image": f.image}, ATTESTED), "")),
    "sign-blob": blob_signature,
    "bundle without image": lambda f: f.signer.bundle(f.digest, f.key, image=False),
    "empty signature": text_of_signature(lambda s: ""),
    "trailing bytes of DER": text_of_signature(lambda s: s + b"\0"),
    "base64 with blanks": text_of_signature(lambda s: text64(s)[:20] + "\n" + text64(s)[20:]),
    "base64 of URLs": url_alphabet,
    "base64 without its end": text_of_signature(lambda s: (text64(s).rstrip("=") if text64(s).endswith("=")
                                                            else text64(s)[:-1])),
    "a bit": lambda f: (f.simple(f.good("simple"), lambda p: f.key.sign(p[:-1] + b" ")),
                        f.statement(f.good("statement"), sign=lambda p: f.key.sign(p[:-1] + b" "))),
    "payload without PAE": lambda f: f.statement(f.good("statement"), sign=lambda p: f.key.sign(f.good("statement"))),
    "another payload type": lambda f: f.statement(f.good("statement"), kind="application/json"),
    "payload type that is not signed": broken_bundle(lambda v: v["dsseEnvelope"].update(payloadType="application/json")),
    "no signature in the envelope": broken_bundle(lambda v: v["dsseEnvelope"].update(signatures=[])),
    "another type": lambda f: (f.signer.classic(f.digest, f.key, kind="atomic container signature"),
                               f.edit("statement", lambda v: v.update(_type="https://in-toto.io/Statement/v0.1"))),
    "unknown critical fields": lambda f: (f.edit("simple", lambda v: v["critical"].update(more="1")),
                                          f.edit("simple", lambda v: v.update(more="1")),
                                          f.edit("statement", lambda v: v.update(more="1"))),
    "keys twice": lambda f: (f.text("simple", b'{"critical"', b'{"optional":null,"critical"'),
                             f.text("statement", b'"predicateType"', b'"predicateType":"%s","predicateType"' % ATTESTED.encode())),
    "keys in other case": lambda f: (f.text("simple", b'"optional"', b'"Optional":{},"optional"'),
                                     f.text("statement", b'"predicate":', b'"Predicate":{},"predicate":')),
    "two subjects": lambda f: f.edit("statement", lambda v: v["subject"].append(v["subject"][0])),
    "no subject": lambda f: f.edit("statement", lambda v: v["subject"].clear()),
    "two digests": lambda f: f.edit("statement", lambda v: v["subject"][0]["digest"].update(sha512="ab" * 64)),
    "bytes behind it": lambda f: (f.simple(f.good("simple") + b"{}"), f.statement(f.good("statement") + b"{}")),
    "nothing at all": lambda f: (f.simple(b"{}"), f.statement(b"{}")),
    "seq that is none": lambda f: [f.signer.sign(form, f.digest, f.key, seq=text) for form, text in (
        ("classic", "007"), ("bundle", "0"), ("classic", "-5"), ("bundle", "1e3"), ("classic", "9" * 19), ("bundle", ""))],
    "expires that is none": lambda f: [f.signer.sign(form, f.digest, f.key, expires=text) for form, text in (
        ("classic", "tomorrow"), ("bundle", "2099-13-01T00:00:00Z"), ("classic", ""), ("bundle", "4102444800"))],
}
GROUPS = [list(FORGED)[start::5] for start in range(5)]


@pytest.mark.parametrize("group", range(len(GROUPS)))
def test_forged(house, signing, group):
    """Each by itself, beside a new version; then the same without the fault, and the version is taken."""
    signing.first, before = signing.up()
    for name in GROUPS[group]:
        published = house.publish()
        FORGED[name](Forger(signing, published))
        try:
            refused(house, before, published)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error
    form, forger = ("simple", "statement")[group % 2], Forger(signing, published)
    getattr(forger, form)(forger.good(form))
    house.once("updated")
    house.check(published)


def test_forged_in_a_registry_with_the_referrers_api(house, signing, api):
    signing.first, before = signing.up()
    for name in ("wrong key", "another repository", "attestation", "sign-blob", "the last version's"):
        published = house.publish()
        FORGED[name](Forger(signing, published))
        refused(house, before, published)
    signing.sign(published, form="bundle")
    house.once("updated")


@pytest.mark.parametrize("form", ["classic", "bundle"])
def test_newest_of_many(house, signing, form):
    """The right one counts behind sixteen that do not; before them it is not found, and the reason says that there are more."""
    _, before = signing.up()
    second, third = house.publish(), None
    for _ in range(18):
        signing.sign(second, "thief", form)
    signing.sign(second, form=form)
    house.once("updated")
    before = house.check(second)
    third = signing.publish(form=form)
    for _ in range(18):
        signing.sign(third, "thief", form)
    refused(house, before, third)


# --- registries -------------------------------------------------------------------------------------


def is_signature(seen):
    name = seen.path.partition("?")[0].rpartition("/")[2]
    return "/referrers/" in seen.path or ("/manifests/" in seen.path and name.startswith("sha256-"))


@pytest.mark.parametrize("status", [500, 503, 403, 429])
def test_a_registry_that_fails_for_signatures(house, signing, lab, status):
    """It is not accepted, it is no verdict on the image, and the next poll asks again."""
    with Front(house.registry) as front:
        lab.announce(front.host)
        front.address, house.registry = front.host, front
        _, before = signing.up()
        second = signing.publish()
        front.hooks.append(lambda seen: Answer(status, {}, b"") if is_signature(seen) else None)
        entry = house.once("failed")
        house.untouched(before)
        assert str(status) in entry["reason"] or "429" in entry["reason"] or "too many" in entry["reason"], entry
        assert not house.pullet.record("app").get("rejected")
        front.hooks.clear()
        house.once("updated")
        house.check(second)
        house.registry = front.behind


def test_a_registry_that_withholds(house, signing, lab):
    with Front(house.registry) as front:
        lab.announce(front.host)
        front.address, house.registry = front.host, front
        _, before = signing.up()
        second = signing.publish()
        none = Answer(404, {"Content-Type": "application/json"}, {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "unknown"}]})
        front.hooks.append(lambda seen: none if is_signature(seen) else None)
        refused(house, before, second)
        front.hooks.clear()
        house.once("updated")
        house.registry = front.behind


def test_a_poll_without_news_is_one_request(house, signing):
    signing.up(seq=1)
    second = signing.publish(seq=2)
    house.once("updated")
    snapshot, mark = house.pullet.state_snapshot(), house.registry.mark()
    house.once("up-to-date")
    assert [r.method for r in house.registry.requests(mark)] == ["HEAD"]
    assert house.pullet.state_snapshot() == snapshot
    house.check(second)


def test_verified_once(house, signing):
    """A candidate that waits is not verified again at each poll."""
    _, before = signing.up()
    signing.publish()
    signing.configure(window=window(6, 7))
    house.once("deferred", reason="window")
    mark = house.registry.mark()
    house.once("deferred", reason="window")
    assert not [r.path for r in house.registry.requests(mark) if "/sha256-" in r.path or "/referrers/" in r.path]
    house.untouched(before)
    signing.configure()
    mark = house.registry.mark()
    house.once("updated")
    assert not [r.path for r in house.registry.requests(mark) if "/sha256-" in r.path or "/referrers/" in r.path]


@pytest.mark.parametrize("form", ["classic", "bundle", "bundle by API"])
def test_cost(house, signing, link, lab, form):
    """Signatures add three requests and 6 kB to an update."""
    if form == "bundle by API":
        house.registry = house.registry.behind  # the link counts what is behind the API too, which is as many
        with Referrers(house.registry) as front:
            lab.announce(front.address)
            house.registry = front
            _cost(house, signing, "bundle", front)
            house.registry = front.behind
    else:
        _cost(house, signing, form, None, link)


def _cost(house, signing, form, front, link=None):
    house.configure(create=UP)
    house.publish()
    house.once("updated")
    signing.publish(form=form, seq=1)
    costs = []
    for keys in ((), ("prod",), ("prod",)):  # the second learns where the signatures are
        signing.configure(*keys) if keys else house.configure()
        number = len(costs) + 2
        signing.publish(form=form, seq=number)
        if link:
            link.reset()
        before = len(front.seen) if front else 0
        house.once("updated")
        if link:
            link.settle()
            costs.append((len(ours(link)), down(ours(link)) + sum(r.up for r in ours(link))))
        else:
            mine = [s for s in front.seen[before:] if not s.headers.get("User-Agent", "").startswith("docker/")]
            costs.append((len(mine), 0))
    print(f"{form}: requests and bytes without a key, at first, afterwards: {costs}")
    assert costs[2][0] <= costs[0][0] + 3, costs
    assert costs[2][1] <= costs[0][1] + 6 * KB, costs


# --- for people -------------------------------------------------------------------------------------


def test_pullet_verify(house, signing):
    signing.configure(create=UP)
    published = house.publish()
    (entry,) = signing.verify(status=1)["containers"]
    assert entry["allowed"] is False and entry["signatures"] == [] and entry["reason"], entry
    signing.sign(published, "thief")
    signing.sign(published, form="bundle", seq=7, expires="2099-01-01T00:00:00Z")
    (entry,) = signing.verify()["containers"]
    assert entry["allowed"] is True and entry["signed_by"] == ["prod.pub"], entry
    ours_ = [one for one in entry["signatures"] if one["counts"]]
    others = [one for one in entry["signatures"] if not one["counts"]]
    assert len(ours_) == 1 and len(others) == 1, entry
    assert {"digest": published.digest, "format": "bundle", "key": "prod.pub", "key_id": signing.key().id, "seq": 7,
            "expires": "2099-01-01T00:00:00Z", "counts": True, "reason": None} == ours_[0]
    assert others[0]["key"] is None and others[0]["format"] == "signature" and others[0]["reason"], others


def test_pullet_verify_knows_what_an_update_would(house, signing, lab):
    """The version that runs was not verified here, and says which seq must not be gone below."""
    old, new = signing.publish(seq=41), signing.publish(seq=42)
    house.configure()
    _, before = house.adopt(new)
    house.once("up-to-date")
    signing.configure()
    house.registry.point(old)
    (entry,) = signing.verify(status=1)["containers"]
    assert "41" in entry["reason"] and "42" in entry["reason"], entry
    refused(house, before, old)
    third = signing.publish(seq=43)
    assert signing.verify()["containers"][0]["allowed"] is True
    house.once("updated")
    house.check(third)


def test_pullet_verify_needs_no_more_than_an_update(house, signing, lab):
    """A place that fails after another one sufficed."""
    with Front(house.registry) as front:
        lab.announce(front.host)
        front.address, house.registry = front.host, front
        signing.up(seq=1)
        second = signing.publish(seq=2)
        front.hooks.append(lambda seen: Answer(500, {}, b"") if "/referrers/" in seen.path else None)
        assert signing.verify()["containers"][0]["allowed"] is True
        house.once("updated")
        house.check(second)
        house.registry = front.behind


def test_status_names_the_key(house, signing, lab):
    signing.up(settings={"agent": {"interval": "1h"}})
    bus = Bus(lab, f"bus-{house.number}")
    try:
        with resident(house.pullet, bus):
            done = subprocess.run([house.pullet.build / "pullet", "status", "--json", "--config", house.pullet.config,
                                   "--state-dir", house.pullet.state], capture_output=True, text=True, check=True,
                                  env={**lab.environment, **bus.environment})
            (status,) = json.loads(done.stdout)
            assert status["signed_by"] == ["prod.pub"], status
    finally:
        bus.stop()


# --- indexes ----------------------------------------------------------------------------------------


def test_an_index_of_somebody_else_rejects_no_manifest(house, signing):
    """It lists the owner's manifest, with a false size: it can never be used, and the manifest can."""
    _, before = signing.up()
    second = signing.publish()
    entry = {"mediaType": second.media_type, "digest": second.digest, "size": len(second.body) + 1,
             "platform": {"os": "linux", "architecture": host_platform().split("/")[1]}}
    house.registry.push_manifest(house.repository, "stable", to_json(
        {"schemaVersion": 2, "mediaType": MEDIA["oci"]["index"], "manifests": [entry]}), MEDIA["oci"]["index"])
    house.once("refused")
    house.untouched(before)
    house.registry.point(second)
    house.once("updated")
    house.check(second)


def test_the_index_moves_and_the_older_one_is_gone(house, signing, lab):
    """The container and its image are lost: it is pulled by what the registry has now."""
    with Front(house.registry) as front:
        lab.announce(front.host)
        front.address, house.registry = front.host, front
        manifest = house.publish()
        entry = {"mediaType": manifest.media_type, "digest": manifest.digest, "size": len(manifest.body),
                 "platform": {"os": "linux", "architecture": host_platform().split("/")[1]}}

        def push(number):
            index = to_json({"schemaVersion": 2, "mediaType": MEDIA["oci"]["index"], "manifests": [entry],
                             "annotations": {"number": number}})
            return signing.sign(house.registry.push_manifest(house.repository, "stable", index, MEDIA["oci"]["index"]))

        signing.configure(create=UP)
        gone = push("1")
        house.once("updated")
        push("2")
        house.once("up-to-date")
        image = house.engine.inspect("app")["Image"]
        house.engine.remove_container("app")
        house.engine.request("DELETE", f"/images/{image}?force=1")
        none = Answer(404, {"Content-Type": "application/json"}, {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "unknown"}]})
        front.hooks.append(lambda seen: none if gone in seen.path else None)
        house.once("updated")
        house.check(manifest)
        house.registry = front.behind
