# SPDX-License-Identifier: MIT
"""Several keys, thresholds, rotation by drop-ins, revoked keys, keys that cannot be used; and rollout policies, which count only
if they are signed by the same rule."""

import itertools
import subprocess

import pytest

from conftest import UP, window
from pullet_image import MEDIA
from pullet_signer import Key, refused, signing, simple  # noqa: F401 (signing: a fixture)
from registryd import Answer, Front

KEYS = ("a", "b")


# --- threshold --------------------------------------------------------------------------------------


@pytest.mark.parametrize("forms", itertools.product(("classic", "bundle"), repeat=2), ids="-".join)
def test_threshold(house, signing, forms):
    """Two different keys must have signed, each in whatever form."""
    signing.configure(*KEYS, create=UP, key_threshold=2)
    first = house.publish()
    for name, form in zip(KEYS, forms):
        signing.sign(first, name, form, seq=1)
    house.once("updated")
    before = house.check(first)
    assert sorted(signing.signed_by()) == ["a.pub", "b.pub"]
    second = signing.publish("a", forms[0], seq=2)
    refused(house, before)
    signing.sign(second, "a", forms[1], seq=3)  # the same key once more
    refused(house, before)
    signing.sign(second, "thief", forms[1], seq=4)
    refused(house, before)
    signing.sign(second, "b", forms[1], seq=2)
    house.once("updated")
    house.check(second)
    assert sorted(signing.signed_by()) == ["a.pub", "b.pub"]


def test_a_threshold_with_one_old_number(house, signing):
    """Each of the keys that count must not go back."""
    signing.configure(*KEYS, create=UP, key_threshold=2)
    first = house.publish()
    signing.sign(first, "a", seq=10)
    signing.sign(first, "b", seq=20)
    house.once("updated")
    before = house.check(first)
    second = house.publish()
    signing.sign(second, "a", seq=11)
    signing.sign(second, "b", seq=19)
    refused(house, before)
    signing.sign(second, "b", seq=21)
    house.once("updated")


def test_a_threshold_above_the_keys(house, signing):
    signing.configure(*KEYS, create=UP, key_threshold=3)
    result = house.pullet.once()
    assert result.status == 2 and "key-threshold" in result.stderr, result


def test_one_key_under_two_names_is_one(house, signing):
    signing.key("a")
    (signing.directory / "copy.pub").write_bytes(signing.key("a").public.read_bytes())
    house.configure(create=UP, key=["a.pub", "copy.pub"], key_threshold=2)
    result = house.pullet.once()
    assert result.status == 2 and "key-threshold" in result.stderr, result


# --- rotation ---------------------------------------------------------------------------------------


def drop_in(house, keys=(), revoked=()):
    """What a package of keys brings: the container's keys are in it, and not in the main file."""
    directory = house.pullet.directory / "conf.d"
    directory.mkdir(exist_ok=True)
    lines = ["[container app]", f"image = {house.image}", *(f"key = {name}.pub" for name in keys),
             *(f"revoked = {name}.pub" for name in revoked)]
    (directory / "keys.conf").write_text("\n".join(lines) + "\n")


def test_rotation_without_a_gap(house, signing):
    """Old key; both; CI signs with the new one; the old one is retired. At each step what is signed is taken, and nothing else."""
    for name in ("old", "new"):
        signing.key(name)
    house.configure(create=UP)
    drop_in(house, ["old"])
    first = signing.publish("old", seq=1)
    house.once("updated")
    before = house.check(first)
    second = signing.publish("new", seq=2)
    refused(house, before)
    drop_in(house, ["old", "new"])
    house.once("updated")
    house.check(second)
    assert signing.signed_by() == ["new.pub"]
    third = signing.publish("old", seq=3)
    house.once("updated")
    before = house.check(third)
    drop_in(house, ["new"])
    house.once("up-to-date")  # what runs goes on
    house.untouched(before)
    signing.publish("old", seq=4)
    refused(house, before)
    fifth = signing.publish("new", seq=5)
    house.once("updated")
    house.check(fifth)
    assert house.pullet.order("rollback")[-1]["result"] == "updated"  # to what the retired key had signed
    house.check(third)


def test_a_version_that_was_verified_while_its_key_counted(house, signing):
    """It waits for its window, and the key is retired meanwhile."""
    for name in ("old", "new"):
        signing.key(name)
    house.configure(create=UP)
    drop_in(house, ["old"])
    first = signing.publish("old", seq=1)
    house.once("updated")
    before = house.check(first)
    signing.publish("old", seq=2)
    house.configure(create=UP, window=window(6, 7))
    house.once("deferred", reason="window")
    house.configure(create=UP)
    drop_in(house, ["new"])
    refused(house, before)


# --- revoked ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["classic", "bundle"])
def test_a_revoked_key(house, signing, form):
    """It takes nothing more, even beside itself as a key; what runs goes on, and is repaired."""
    _, before = signing.up("a", "b", form=form, seq=1)
    signing.configure("a", "b", revoked="a.pub")
    house.once("up-to-date")
    house.untouched(before)
    second = signing.publish("a", form, seq=2)
    refused(house, before, "revoked")
    signing.sign(second, "b", form, seq=2)
    house.once("updated")
    house.check(second)
    assert signing.signed_by() == ["b.pub"]


def test_revoked_by_its_id(house, signing):
    _, before = signing.up("a", "b", seq=1)
    (signing.directory / "gone").write_text(f"# stolen\n{signing.key('a').id}\n")
    signing.configure("a", "b", revoked="gone")
    second = signing.publish("a", seq=2)
    refused(house, before, "revoked")
    signing.sign(second, "b", seq=2)
    house.once("updated")


def test_revoked_while_its_version_waits(house, signing):
    _, before = signing.up("a", "b", seq=1)
    signing.publish("a", seq=2)
    signing.configure("a", "b", window=window(6, 7))
    house.once("deferred", reason="window")
    signing.configure("a", "b", revoked="a.pub")
    refused(house, before)


def test_a_revoked_key_counts_in_no_threshold(house, signing):
    signing.configure("a", "b", "c", create=UP, key_threshold=2)
    first = house.publish()
    signing.sign(first, "a", seq=1)
    signing.sign(first, "b", seq=1)
    house.once("updated")
    before = house.check(first)
    signing.configure("a", "b", "c", key_threshold=2, revoked="b.pub")
    second = house.publish()
    signing.sign(second, "a", seq=2)
    signing.sign(second, "b", seq=2)
    refused(house, before)
    signing.sign(second, "c", "bundle", seq=2)
    house.once("updated")


# --- keys that cannot be used -----------------------------------------------------------------------


@pytest.mark.parametrize("kind,word", [("ed25519", "Ed25519"), ("p384", "P-384"), ("rsa1024", "2048 bits"), ("pss", "PSS"),
                                       ("private", "private"), ("two", "one"), ("garbage", ""), ("missing", "No such file")])
def test_keys_that_are_refused(house, signing, kind, word):
    """With the configuration, by name; nothing is taken meanwhile."""
    path = signing.directory / "prod.pub"
    if kind in ("private", "two", "garbage"):
        key = Key(signing.directory, "good")
        path.write_bytes({"private": key.private.read_bytes(), "two": key.public.read_bytes() * 2,
                          "garbage": key.public.read_bytes() + b"more\n"}[kind])
    elif kind != "missing":
        signing.key(kind=kind)
    house.configure(create=UP, key="prod.pub")
    house.publish()
    result = house.pullet.once()
    assert result.status == 2 and "pullet.conf:" in result.stderr and "prod.pub" in result.stderr and word in result.stderr, result
    assert not house.engine.containers()
    checked = subprocess.run([house.pullet.build / "pullet", "config", "check", "--config", house.pullet.config], check=False,
                             capture_output=True, text=True, env=house.lab.environment)
    assert checked.returncode == 2 and "prod.pub" in checked.stderr + checked.stdout, checked


# --- the policy -------------------------------------------------------------------------------------


class Policies:
    def __init__(self, house, signing):
        self.house, self.signing, self.numbers = house, signing, itertools.count(1)

    def put(self, published, names=None, **keys):
        """names: the image and the tag that the artifact is for. -> the digest of the artifact"""
        body = {"version": 1, "target": published.digest, "sequence": next(self.numbers), "percent": 100, **keys}
        annotations = names and {f"vnd.pullet.rollout.{key}": name for key, name in zip(("image", "tag"), names)}
        return self.house.registry.publish_rollout(self.house.repository, "stable", body, annotations=annotations)


@pytest.fixture
def policies(house, signing):
    return Policies(house, signing)


def test_a_thief_cannot_halt(house, signing, policies):
    """A policy that is not signed counts as none."""
    signing.up()
    second = signing.publish()
    policies.put(second, halt=True)
    house.once("updated")
    house.check(second)


@pytest.mark.parametrize("form", ["classic", "bundle"])
def test_a_signed_policy_holds(house, signing, policies, form):
    _, before = signing.up()
    second = signing.publish()
    signing.sign(policies.put(second, halt=True), form=form)
    house.once("deferred", reason="halted")
    house.untouched(before)
    snapshot = house.pullet.state_snapshot()
    house.once("deferred", reason="halted")
    assert house.pullet.state_snapshot() == snapshot
    signing.sign(policies.put(second), form=form)
    house.once("updated")
    house.check(second)


@pytest.mark.parametrize("tag", ["stable", "stable.rollout"])
def test_a_policy_with_a_signed_tag(house, signing, policies, tag):
    _, before = signing.up()
    second = signing.publish()
    signing.sign(policies.put(second, halt=True), tag=tag)
    house.once("deferred", reason="halted")
    house.untouched(before)


def test_a_policy_says_itself_for_which_image_it_is(house, signing, policies):
    """As pullet rollout writes it: cosign sign without -a is enough, also as a bundle, which names no repository."""
    _, before = signing.up()
    second = signing.publish()
    signing.sign(policies.put(second, (signing.signer.image, "stable"), halt=True), form="bundle", image=False)
    house.once("deferred", reason="halted")
    house.untouched(before)


@pytest.mark.parametrize("names, image", [((None, "beta"), None), (("registry.example/other/app", "stable"), False), ((None,), False)],
                         ids=["tag", "repository", "no tag"])
def test_a_signed_policy_of_another_image(house, signing, policies, names, image):
    """Somebody who may push has put it beside this one."""
    signing.up()
    second = signing.publish()
    artifact = policies.put(second, (names[0] or signing.signer.image, *names[1:]), halt=True)
    signing.sign(artifact, form="bundle", image=image)
    house.once("updated")
    house.check(second)


def test_a_policy_that_was_pushed_under_another_name_of_the_registry(house, signing, policies):
    """Its signature says for whom it is."""
    _, before = signing.up()
    second = signing.publish()
    signing.sign(policies.put(second, ("push.example/app", "stable"), halt=True), form="bundle")
    house.once("deferred", reason="halted")
    house.untouched(before)


@pytest.mark.parametrize("manifest", [b"{}" + b" " * 70000, b"{}" + b" " * 1200000, b'{"schemaVersion":2,"a":"\xff"}', b"[]"],
                         ids=["large", "larger", "no text", "no artifact"])
def test_what_no_key_can_have_signed_does_not_halt(house, signing, lab, manifest):
    """Whatever somebody who may push puts in the place of the policy."""
    with Front(house.registry) as front:
        lab.announce(front.host)
        front.address, house.registry = front.host, front
        signing.up()
        second = signing.publish()
        answer = Answer(200, {"Content-Type": MEDIA["oci"]["manifest"]}, manifest)
        front.hooks.append(lambda seen: answer if seen.path.endswith("/stable.rollout") else None)
        house.once("updated")
        house.check(second)
        house.registry = front.behind


def test_required_and_not_signed(house, signing, policies):
    _, before = signing.up()
    second = signing.publish()
    signing.configure(rollout="required")
    artifact = policies.put(second)
    house.once("deferred")
    house.untouched(before)
    signing.sign(artifact, "thief")
    house.once("deferred")
    house.untouched(before)
    signing.sign(artifact)
    house.once("updated")


def test_policies_that_are_signed_for_something_else(house, signing, policies):
    """Another tag, another repository, another digest, by another key: each counts as none."""
    _, before = signing.up()
    second = signing.publish()
    signing.configure(rollout="required")
    artifact = policies.put(second)
    signer, key = signing.signer, signing.key()
    signing.sign(artifact, tag="beta.rollout")
    signing.sign(artifact, form="bundle", image="registry.example/other/app")
    wrong = simple("sha256:" + "ab" * 32, signer.image)
    signer.push_classic(artifact, wrong, key.sign(wrong))
    signing.sign(artifact, "thief", "bundle")
    house.once("deferred")
    house.untouched(before)
    signing.sign(artifact)
    house.once("updated")


def test_an_old_signed_policy(house, signing, policies):
    """Put back, it is too old by its own sequence."""
    _, before = signing.up()
    second = signing.publish()
    body = {"version": 1, "target": second.digest, "sequence": 1, "percent": 100}
    repository, registry = house.repository, house.registry
    signing.sign(registry.publish_rollout(repository, "stable", body))
    signing.sign(registry.publish_rollout(repository, "stable", {**body, "sequence": 2, "halt": True}))
    house.once("deferred", reason="halted")
    registry.publish_rollout(repository, "stable", body)
    house.once("deferred", reason="too old")
    house.untouched(before)


def test_the_image_as_a_policy(house, signing, policies):
    """A signed image in the place of the policy is none."""
    signing.up()
    second = signing.publish()
    house.registry.point(second, "stable.rollout")
    house.once("updated")
    house.check(second)


def test_seq_does_not_count_for_a_policy(house, signing, policies):
    """The policy has a sequence of its own: one signed without seq, or with a low one, holds beside images that have one."""
    signing.up(seq=50)
    second = signing.publish(seq=51)
    signing.sign(policies.put(second))
    house.once("updated")
    third = signing.publish(seq=52)
    signing.sign(policies.put(third), seq=3)
    house.once("updated")
    house.check(third)


def test_a_policy_needs_as_many_keys(house, signing, policies):
    signing.configure(*KEYS, create=UP, key_threshold=2)
    for halted in (True, False):
        published = house.publish()
        for name in KEYS:
            signing.sign(published, name)
        artifact = policies.put(published, halt=True)
        signing.sign(artifact, "a")
        if halted:
            house.once("updated")  # one signer is not enough to halt
            before = house.check(published)
        else:
            signing.sign(artifact, "b")
            house.once("deferred", reason="halted")
            house.untouched(before)


def test_a_policy_by_a_key_that_is_revoked_later(house, signing, policies):
    """It counted; now it counts as none. Where there was one before, a device waits for the next that counts."""
    _, before = signing.up("a", "b")
    second = signing.publish("b")
    signing.sign(policies.put(second, halt=True), "a")
    house.once("deferred", reason="halted")
    signing.configure("a", "b", revoked="a.pub")
    assert "halted" not in house.once("deferred")["reason"]
    house.untouched(before)
    signing.sign(policies.put(second), "b")
    house.once("updated")
    house.check(second)


def test_a_thief_cannot_release(house, signing, policies):
    """An unsigned policy in the place of a signed one that halts: the device waits for a signed one."""
    _, before = signing.up()
    second = signing.publish()
    signing.sign(policies.put(second, halt=True))
    house.once("deferred", reason="halted")
    policies.put(second)
    house.once("deferred")
    signing.sign(policies.put(second), "thief")
    house.once("deferred")
    house.untouched(before)
    signing.sign(policies.put(second))
    house.once("updated")
