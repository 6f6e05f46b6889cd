# SPDX-License-Identifier: MIT
"""A network half that was broken into, where a key is set: it can withhold, and nothing more. Registry and engine are real, and
the version that the tag points to is signed or not, as each test says."""

import base64
import copy
import json
import random

import pytest

from conftest import UP
from test_damage import Store, boot
from pullet_image import actor, digest_of
from pullet_liar import liar  # noqa: F401 (a fixture)
from pullet_signer import pae, signing, simple, statement, text64  # noqa: F401 (signing: a fixture)

KB = 1024
ENDS = {"refused", "failed", "deferred"}  # of a pass that took nothing


def pair(payload, signature, kind="simple"):
    return {"format": kind, "payload": text64(payload), "signature": text64(signature)}


def classic(signing, digest, name="prod", image=None, **optional):
    payload = simple(digest, image or signing.signer.image, {key: str(value) for key, value in optional.items()})
    return pair(payload, signing.key(name).sign(payload))


def bundled(signing, digest, name="prod", image=None, **annotations):
    payload = statement(digest, {"image": image or signing.signer.image, **annotations})
    return pair(payload, signing.key(name).sign(pae(payload)), "bundle")


def answers(*pairs, **more):
    return lambda question, fds: {"signatures": list(pairs), "left": 0, **more}


def nothing_is_taken(house, liar, before, times=1):
    """-> the last result"""
    for _ in range(times):
        entry = house.pullet.once(arguments=liar.arguments).results["app"]
        assert entry["result"] in ENDS, entry
        house.untouched(before)
        record = house.pullet.record("app")
        assert record["phase"] == "idle" and not record["rejected"] and "signed" not in record, record
    return entry


def is_taken(house, liar, published):
    """By an honest one."""
    liar.lies = {}
    entry = house.pullet.once(arguments=liar.arguments).results["app"]
    assert entry["result"] == "updated", entry
    return house.check(published)


def flipped(entry, key, number):
    data = bytearray(base64.b64decode(entry[key]))
    number %= 8 * len(data)
    data[number // 8] ^= 1 << number % 8
    return {**entry, key: text64(bytes(data))}


def test_what_is_withheld(house, signing, liar):
    """The version is signed, and nobody learns of it: it is refused until somebody does, and is not rejected."""
    first, before = signing.up(seq=1)
    second = signing.publish(seq=2)
    for lie in (answers(), answers(left=40), lambda q, fds: None):
        liar.lies = {"signatures": lie}
        nothing_is_taken(house, liar, before)
    is_taken(house, liar, second)
    assert first.digest != second.digest


def test_signatures_of_others(house, signing, liar):
    """Right key, and for another image, repository, tag or place; and an image that is signed by another key."""
    first, before = signing.up(seq=5)
    stolen = house.publish()  # unsigned: by a stolen password
    image, digest = signing.signer.image, stolen.digest
    host, _, path = image.partition("/")
    lies = {
        "the version before": [classic(signing, first.digest, seq=5), bundled(signing, first.digest, seq="6")],
        "another repository": [classic(signing, digest, image=f"{host}/other/app", seq=6),
                               bundled(signing, digest, image=f"other.example/{path}", seq="6")],
        "another tag": [classic(signing, digest, seq=6, tag="beta"), bundled(signing, digest, seq="6", tag="beta")],
        "another key": [classic(signing, digest, "thief", seq=6), bundled(signing, digest, "thief", seq="6")],
        "an old seq": [classic(signing, digest, seq=4), bundled(signing, digest, seq="4")],
        "the same seq": [classic(signing, digest, seq=5), bundled(signing, digest, seq="5")],
        "no seq": [classic(signing, digest), bundled(signing, digest)],
    }
    other = classic(signing, first.digest, seq=6)
    lies["parts of two"] = [{**classic(signing, digest, "thief", seq=6), "signature": other["signature"]}]
    mixed = classic(signing, digest, seq=6)
    lies["the other format"] = [{**mixed, "format": "bundle"}, {**bundled(signing, digest, seq="6"), "format": "simple"}]
    for name, pairs in lies.items():
        liar.lies = {"signatures": answers(*pairs)}
        entry = nothing_is_taken(house, liar, before)
        assert entry["result"] == "refused" and entry["reason"].startswith("signature: "), (name, entry)
    # What decides is what the liar said before: the same with a statement that is right.
    liar.lies = {"signatures": answers(*lies["another key"], classic(signing, digest, seq=6))}
    entry = house.pullet.once(arguments=liar.arguments).results["app"]
    assert entry["result"] == "updated", entry


def test_flipped_bits(house, signing, liar):
    """Sixteen at a time, in payload and signature of both formats."""
    _, before = signing.up(seq=1)
    second = house.publish()
    good = [classic(signing, second.digest, seq=2), bundled(signing, second.digest, seq="2")]
    dice = random.Random(14)
    for _ in range(6):
        bad = [flipped(dice.choice(good), dice.choice(("payload", "signature")), dice.randrange(1 << 16)) for _ in range(16)]
        liar.lies = {"signatures": answers(*bad)}
        entry = nothing_is_taken(house, liar, before)
        assert entry["result"] == "refused", entry
    liar.lies = {"signatures": answers(*bad[:8], *good)}
    entry = house.pullet.once(arguments=liar.arguments).results["app"]
    assert entry["result"] == "updated", entry
    house.check(second)


FLOODS = {
    "seventeen": lambda good: {"signatures": [good] * 17, "left": 0},
    "a thousand": lambda good: {"signatures": [good] * 1000, "left": 0},
    "a payload of 17 KB": lambda good: {"signatures": [{**good, "payload": text64(b"{" * 17 * KB)}], "left": 0},
    "payloads of 200 KB": lambda good: {"signatures": [{**good, "payload": text64(b" " * 16 * KB)}] * 13, "left": 0},
    "a signature of 2 KB": lambda good: {"signatures": [{**good, "signature": text64(bytes(2 * KB))}], "left": 0},
    "an empty signature": lambda good: {"signatures": [{**good, "signature": ""}], "left": 0},
    "an empty payload": lambda good: {"signatures": [{**good, "payload": ""}], "left": 0},
    "blanks in base64": lambda good: {"signatures": [{**good, "signature": " " + good["signature"]}], "left": 0},
    "another format": lambda good: {"signatures": [{**good, "format": "atomic"}], "left": 0},
    "no list": lambda good: {"signatures": good, "left": 0},
    "numbers": lambda good: {"signatures": [1, 2, 3], "left": -1},
    "nothing": lambda good: {},
    "a refusal": lambda good: {"error": {"code": "EKEYREJECTED", "text": "never"}},
    "an absence": lambda good: {"error": {"code": "ENOENT", "text": "nothing here"}},
    "no JSON": lambda good: b"[" * 70000 + b"\n",
    "a line without an end": lambda good: b'{"signatures":' + b"1" * (1 << 20),
}


def test_floods_and_nonsense(house, signing, liar):
    """None of them is taken for an image, and none outlasts the next, honest pass."""
    _, before = signing.up(seq=1)
    second = signing.publish("thief", seq=2)  # the liar's word alone
    bad = classic(signing, second.digest, "thief", seq=2)
    for flood in FLOODS.values():
        liar.lies = {"signatures": lambda q, fds, flood=flood: flood(copy.deepcopy(bad))}
        nothing_is_taken(house, liar, before)
    signing.sign(second, seq=2)
    is_taken(house, liar, second)


def test_another_answer_to_each_question(house, signing, liar):
    """The digest of the tag, its manifest and its signatures are of different images: what is signed is what runs."""
    first, before = signing.up(seq=1)
    second = signing.publish(seq=2)
    stolen = house.publish()
    house.registry.point(second)

    def manifest_of(published):
        return lambda q, fds: {"digest": second.digest, "manifest": published.digest, "layer-bytes": 1, "zstd": False,
                               "config": published.configs[next(iter(published.configs))], "os": "linux"}

    liar.lies = {None: manifest_of(stolen)}
    entry = house.pullet.once(arguments=liar.arguments).results["app"]
    after = house.engine.inspect("app")
    assert not house.is_image(after, stolen), entry
    liar.lies = {None: lambda q, fds: {**manifest_of(second)(q, fds), "digest": stolen.digest, "manifest": second.digest}}
    for _ in range(2):
        house.pullet.once(arguments=liar.arguments)
        assert not house.is_image(house.engine.inspect("app"), stolen)
    assert first.digest != second.digest and before


@pytest.mark.parametrize("back", [False, True], ids=["the tag stays", "the tag goes back"])
def test_an_older_index_that_is_said_to_have_what_runs(house, engine, signing, liar, back):
    """It is noted, and when the store is repaired, nothing comes that the older index has."""
    def publish(seq):
        image = actor("say", f"version {seq}", "wait", files={"version": f"{seq} of {house.repository}".encode()})
        return signing.publish(seq=seq, options={"images": image, "index": True})

    signing.configure(create=UP)
    first = publish(41)
    house.once("updated")
    publish(42)
    house.once("updated")
    runs = house.pullet.record("app")["current"]
    liar.lies = {"resolve": lambda q, fds: {"digest": first.digest},
                 None: lambda q, fds: {"digest": first.digest, "manifest": runs["manifest"], "manifest-known": True}}
    entry = house.pullet.once(arguments=liar.arguments).results["app"]
    assert entry["result"] == "up-to-date" and house.pullet.record("app")["current"]["digest"] == first.digest, entry
    boot(engine, Store(engine, engine.inspect("app")["Image"]).lose_directory)
    engine.wait("app", lambda inspect: inspect["State"]["Error"])
    liar.lies = {}
    if back:
        house.registry.point(first)
    for _ in range(3):
        entry = house.pullet.once(arguments=liar.arguments).results["app"]
        inspect = house.engine.inspect("app")
        assert not inspect or not house.is_image(inspect, first), entry
    third = publish(43)
    house.once("updated")
    house.check(third)


def policy_of(published, **keys):
    return json.dumps({"version": 1, "target": published.digest, "sequence": 1, "percent": 100, **keys})


def rollout_answer(manifest, policy, target, halt):
    reply = {"rollout": {"sequence": 1, "document": digest_of(policy.encode()), "target": target, "halt": halt,
                         "minimum-version": "", "not-before": 0, "points": [0, 1000000]}}
    return {**reply, **({"manifest": manifest, "policy": policy} if manifest else {})}


@pytest.mark.parametrize("how", ["invented", "another text", "without text", "no artifact"])
def test_a_policy_that_is_made_up(house, signing, liar, how):
    """A halt that nobody signed holds nothing, and one that somebody signed is not lifted by another reading of it."""
    signing.configure(create=UP, rollout="required" if how == "another text" else "auto")
    first = signing.publish(seq=1)
    body = {"version": 1, "target": first.digest, "sequence": 1, "percent": 100}
    repository, registry = house.repository, house.registry
    if how == "another text":
        signing.sign(registry.publish_rollout(repository, "stable", body))
    house.once("updated")
    before = house.check(first)
    second = signing.publish(seq=2)
    halt = {**body, "target": second.digest, "sequence": 2, "halt": True}
    real = registry.publish_rollout(repository, "stable", halt)
    if how == "another text":
        signing.sign(real)
    manifest = registry.request("GET", f"/v2/{repository}/manifests/{real}", headers={
        "Accept": "application/vnd.oci.image.manifest.v1+json"})[2].decode()
    text = json.dumps({**halt, "halt": how != "another text"})
    given = {"invented": (manifest, text), "another text": (manifest, text), "without text": (None, text),
             "no artifact": ("{}", text)}[how]
    liar.lies = {"rollout": lambda q, fds: rollout_answer(*given, second.digest, how != "another text")}
    entry = house.pullet.once(arguments=liar.arguments).results["app"]
    if how == "another text":
        assert entry["result"] == "deferred" and "rollout" in entry["reason"], entry
        house.untouched(before)
        return
    assert entry["result"] == "updated", entry
    house.check(second)
