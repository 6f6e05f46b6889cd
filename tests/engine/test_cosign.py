# SPDX-License-Identifier: MIT
"""What cosign 2.5, cosign 3.1 and skopeo write is taken, by a registry with referrers API and by one without; and cosign
verifies what pullet_signer.py writes, so that the other tests prove something about it."""

import pytest

import pullet_cosign
from conftest import UP
from pullet_cosign import SUITES, Cosign
from pullet_image import actor
from pullet_registry import Registry
from pullet_signer import Key, Referrers, Signer, Signing

FORMS = {  # what CI does -> (suite, how)
    "2.5 classic": ("trixie", lambda c, at, key, **a: c.sign_classic(at, key, **a)),
    "2.5 referrer": ("trixie", lambda c, at, key, **a: c.sign_classic(at, key, "--registry-referrers-mode=oci-1-1",
                                                                      env={"COSIGN_EXPERIMENTAL": "1"}, **a)),
    "3.1 classic": ("sid", lambda c, at, key, **a: c.sign_classic(at, key, **a)),
    "3.1 bundle": ("sid", lambda c, at, key, **a: c.sign_bundle(at, key, **a)),
}


@pytest.fixture(scope="module")
def places(lab):
    """A registry of its own, by both ways: {"api": ..., "tags": ...}"""
    registry = Registry(lab, "cosign-registry")
    with Referrers(registry) as api:
        lab.announce(api.address)
        yield {"tags": registry, "api": api}


@pytest.fixture(scope="module")
def tools(lab, places):
    """suite -> Cosign, made when it is first asked for."""
    made = {}

    def tool(suite):
        if pullet_cosign.missing(suite):
            pytest.skip(pullet_cosign.missing(suite))
        if suite not in made:
            made[suite] = Cosign(lab, suite, [place.address for place in places.values()])
        return made[suite]

    return tool


@pytest.fixture(scope="module")
def key_of(tools):
    made = {}

    def key(suite, name="prod"):
        if (suite, name) not in made:
            made[suite, name] = tools(suite).key_pair(name)
        return made[suite, name]

    return key


class Site(Signing):
    """A house at one of the places, with the keys of cosign."""

    def follow(self, *keys, **settings):
        for key in keys:
            (self.directory / key.public.name).write_bytes(key.public.read_bytes())
        self.house.configure(create=UP, key=[key.public.name for key in keys], **settings)

    def at(self, digest):
        return f"{self.signer.image}@{digest}"


@pytest.fixture(params=["tags", "api"])
def site(house, places, request):
    before, house.registry = house.registry, places[request.param]
    site = Site(house)
    site.place = request.param
    yield site
    house.registry = before


@pytest.mark.parametrize("form", FORMS)
def test_what_cosign_signs(site, house, tools, key_of, form):
    """Twice, with seq and expires; the old version, put back, is refused; an unsigned one is refused."""
    suite, sign = FORMS[form]
    tool, key = tools(suite), key_of(suite)
    site.follow(key)
    versions = []
    for number in (1, 2):
        published = house.publish()
        house.once("refused")
        sign(tool, site.at(published.digest), key, image=site.signer.image, seq=number, expires="2099-01-01T00:00:00Z")
        house.once("updated")
        before = house.check(published)
        versions.append(published)
    assert site.signed_by() == ["prod.pub"]
    (entry,) = site.verify()["containers"]
    (one,) = [one for one in entry["signatures"] if one["counts"]]
    assert (one["seq"], one["expires"], one["format"]) == (2, "2099-01-01T00:00:00Z", "bundle" if "bundle" in form else "signature")
    assert one["key_id"] == key.id
    house.registry.point(versions[0])
    entry = house.once("refused")
    assert entry["reason"].startswith("signature: ") and "seq" in entry["reason"], entry
    house.untouched(before)


@pytest.mark.parametrize("form", FORMS)
def test_without_annotations(site, house, tools, key_of, form):
    """The classic form has the repository by itself; a bundle without it is refused, with the words that help."""
    suite, sign = FORMS[form]
    site.follow(key_of(suite))
    published = house.publish()
    sign(tools(suite), site.at(published.digest), key_of(suite))
    if "bundle" not in form:
        house.once("updated")
        house.check(published)
        return
    house.once("refused", reason="-a image=" + site.signer.image)
    sign(tools(suite), site.at(published.digest), key_of(suite), image=site.signer.image)
    house.once("updated")


@pytest.mark.parametrize("kind", ["p256", "rsa3072"])
def test_keys_of_openssl(site, house, tools, kind):
    """As an HSM has them: cosign 3.1 imports them."""
    tool = tools("sid")
    key = Key(tool.directory, f"own-{kind}-{site.place}", kind)
    tool.run("cosign", "import-key-pair", "--key", key.private.name, "--output-key-prefix", "imported-" + key.name)
    imported = Key.of_files(tool.directory / f"imported-{key.name}.key", tool.directory / f"imported-{key.name}.pub")
    assert imported.id == key.id
    site.follow(imported)
    published = house.publish()
    tool.sign_bundle(site.at(published.digest), imported, image=site.signer.image, seq=1)
    house.once("updated")
    house.check(published)


def test_every_platform(site, house, tools, key_of):
    """cosign sign -r: the index and the manifests."""
    site.follow(key_of("trixie"))
    published = house.publish(images=[actor("wait"), actor("wait", platform="linux/s390x")])
    tools("trixie").sign_classic(site.at(published.digest), key_of("trixie"), "-r", image=site.signer.image)
    house.once("updated")
    house.check(published)


def test_the_platforms_manifest_alone(site, house, tools, key_of):
    site.follow(key_of("sid"))
    published = house.publish(images=[actor("wait"), actor("wait", platform="linux/s390x")])
    manifest = next(digest for platform, digest in published.manifests.items() if platform != "linux/s390x")
    tools("sid").sign_bundle(site.at(manifest), key_of("sid"), image=site.signer.image, seq=1)
    house.once("updated")
    house.check(published)
    assert house.pullet.record("app")["current"]["pulled"] == manifest


def test_two_signers_with_two_versions_of_cosign(site, house, tools, key_of):
    keys = [key_of("trixie", "first"), key_of("sid", "second")]
    site.follow(*keys, key_threshold=2)
    published = house.publish()
    tools("trixie").sign_classic(site.at(published.digest), keys[0], image=site.signer.image, seq=1)
    house.once("refused")
    tools("sid").sign_bundle(site.at(published.digest), keys[1], image=site.signer.image, seq=1)
    house.once("updated")
    assert sorted(site.signed_by()) == ["first.pub", "second.pub"]


def test_skopeo(site, house, tools):
    """skopeo signs while it copies; the reference that it signs has the tag."""
    tool = tools("trixie")
    key = tool.skopeo_key_pair("sk-" + site.place)
    site.follow(key)
    published = house.publish(repository=house.repository + "-ci")
    tool.sign_skopeo(f"{house.registry.address}/{house.repository}-ci:stable", house.image, key, house.image)
    house.once("updated")
    assert house.pullet.record("app")["current"]["digest"] == published.digest
    assert site.signed_by() == [key.public.name]
    second = house.publish(repository=house.repository + "-ci")
    tool.sign_skopeo(f"{house.registry.address}/{house.repository}-ci:stable", house.image, key, site.signer.image + ":beta")
    entry = house.once("refused")
    assert entry["to"] == second.digest and entry["reason"].startswith("signature: "), entry


@pytest.mark.parametrize("suite", SUITES)
def test_attestations_and_signed_files_are_no_signatures(site, house, tools, key_of, suite):
    """By the right key, of the right digest: cosign 3.1 itself takes the first for a signature."""
    tool, key = tools(suite), key_of(suite)
    site.follow(key)
    published = house.publish()
    at = site.at(published.digest)
    tool.attest(at, key)
    house.once("refused")
    signed = tool.sign_blob(published.body, key)
    if suite == "sid":
        site.signer.push_bundle(published.digest, signed)
    else:
        site.signer.push_classic(published.digest, published.body, signed.decode().strip())
    house.once("refused")
    assert not house.engine.containers()


def test_a_signature_that_was_copied_with_the_image(site, house, tools, key_of):
    """Both versions of cosign say that it is signed in the other repository, too."""
    tool, key = tools("sid"), key_of("sid")
    site.follow(key)
    evil = Signer(house.registry, house.repository + "-evil")
    published = house.publish(repository=evil.repository)
    tool.sign_classic(f"{evil.image}@{published.digest}", key, image=evil.image)
    tool.sign_bundle(f"{evil.image}@{published.digest}", key, image=evil.image)
    house.publish(images=actor("say", "x", "wait"))  # the repository exists
    tool.run("cosign", "copy", "-f", f"{evil.image}:stable", house.image)
    taken, text = tool.verify(site.at(published.digest), key)
    assert taken, text
    entry = house.once("refused")
    assert entry["to"] == published.digest and evil.image in entry["reason"], entry


def test_the_policy_is_signed_by_cosign_sign_alone(site, house, tools, key_of):
    """pullet rollout's artifact, and nothing more than `cosign sign` of it, by either version."""
    keys = [key_of("trixie"), key_of("sid", "other")]
    site.follow(*keys)
    first = house.publish()
    tools("sid").sign_bundle(site.at(first.digest), keys[1], image=site.signer.image)
    house.once("updated")
    second = house.publish()
    tools("sid").sign_bundle(site.at(second.digest), keys[1], image=site.signer.image)
    body = {"version": 1, "target": second.digest, "sequence": 1, "percent": 100}
    halted = house.registry.publish_rollout(house.repository, "stable", {**body, "halt": True})
    tools("trixie").sign_classic(site.at(halted), keys[0], image=site.signer.image)
    house.once("deferred", reason="halted")
    released = house.registry.publish_rollout(house.repository, "stable", {**body, "sequence": 2})
    tools("sid").sign_bundle(site.at(released), keys[1], image=site.signer.image)
    house.once("updated")
    house.check(second)


@pytest.mark.parametrize("kind", ["p256", "rsa3072"])
@pytest.mark.parametrize("suite", SUITES)
def test_cosign_takes_what_the_tests_write(site, house, tools, suite, kind):
    tool = tools(suite)
    key = Key(tool.directory, f"ours-{site.place}-{kind}", kind)
    for form in ("classic", "bundle") if suite == "sid" else ("classic",):  # 2.5 knows no bundles of images
        published = house.publish()
        at = site.at(published.digest)
        assert not tool.verify(at, key)[0]
        site.signer.sign(form, published.digest, key, seq=5)
        taken, text = tool.verify(at, key)
        assert taken and '"seq":"5"' in text, text
        assert not tool.verify(at, Key(tool.directory, f"not-{site.place}-{kind}-{form}"))[0]
