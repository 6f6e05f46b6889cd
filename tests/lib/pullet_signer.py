# SPDX-License-Identifier: MIT
"""Signatures of images as cosign and skopeo write them, made with openssl and pushed as a test wants them: a test that needs
no cosign signs with this. tests/engine/test_cosign.py shows that cosign itself verifies them.

    key = Key(directory, "prod")
    signer = Signer(registry, "t1/app")
    signer.classic(digest, key, seq=7)
    signer.bundle(digest, key, image="registry.example/t1/app")
"""

import base64
import hashlib
import json
import os
import pathlib
import subprocess

import pytest

from pullet_image import MEDIA, digest_of, to_json
from registryd import Answer, Front

SIMPLE_LAYER = "application/vnd.dev.cosign.simplesigning.v1+json"
SIMPLE_TYPE = "cosign container image signature"
SIMPLE_ARTIFACT = "application/vnd.dev.cosign.artifact.sig.v1+json"
SIGNATURE = "dev.cosignproject.cosign/signature"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
EMPTY = "application/vnd.oci.empty.v1+json"
IN_TOTO = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
SIGNED = "https://sigstore.dev/cosign/sign/v1"
ATTESTED = "https://example.org/a-test-report/v1"
KINDS = {"p256": ("EC", "ec_paramgen_curve:P-256"), "p384": ("EC", "ec_paramgen_curve:P-384"),
         "rsa": ("RSA", "rsa_keygen_bits:2048"), "rsa3072": ("RSA", "rsa_keygen_bits:3072"),
         "rsa1024": ("RSA", "rsa_keygen_bits:1024"), "pss": ("RSA-PSS", "rsa_keygen_bits:2048"), "ed25519": ("ED25519", None)}


def openssl(*arguments, data=None):
    return subprocess.run(["openssl", *map(str, arguments)], input=data, capture_output=True, check=True).stdout


def text64(data):
    return base64.b64encode(data).decode()


class Key:
    """A key pair: private is the path of openssl's PEM, public that of the file for a device."""

    def __init__(self, directory, name, kind="p256"):
        self.name, self.kind = name, kind
        self.private = pathlib.Path(directory, name + ".pem")
        self.public = pathlib.Path(directory, name + ".pub")
        algorithm, option = KINDS[kind]
        openssl("genpkey", "-algorithm", algorithm, *(("-pkeyopt", option) if option else ()), "-out", self.private)
        self._finish()

    @classmethod
    def of_files(cls, private, public):
        """A pair that something else has made, as PEM of openssl."""
        key = cls.__new__(cls)
        key.name, key.kind, key.private, key.public = pathlib.Path(public).stem, None, pathlib.Path(private), pathlib.Path(public)
        key._finish()
        return key

    def _finish(self):
        if not self.public.exists():
            openssl("pkey", "-in", self.private, "-pubout", "-out", self.public)
        self.der = openssl("pkey", "-pubin", "-in", self.public, "-outform", "DER")
        self.id = digest_of(self.der)

    def sign(self, data):
        """ECDSA in DER, or PKCS#1 v1.5, with SHA-256."""
        return openssl("dgst", "-sha256", "-sign", self.private, data=data)


# --- what is signed ---------------------------------------------------------------------------------


def simple(digest, reference, optional=None, kind=SIMPLE_TYPE):
    """The payload of a classic signature, byte for byte as cosign writes it."""
    return to_json({"critical": {"identity": {"docker-reference": reference}, "image": {"docker-manifest-digest": digest},
                                 "type": kind}, "optional": optional or None})


def statement(digest, annotations=None, predicate=SIGNED):
    """The payload of a bundle, byte for byte as cosign writes it."""
    return to_json({"_type": STATEMENT, "subject": [{"digest": {"sha256": digest.partition(":")[2]},
                                                     "annotations": annotations or {}}],
                    "predicateType": predicate, "predicate": {}})


def pae(payload, kind=IN_TOTO):
    """What DSSE signs of a payload."""
    return b"DSSEv1 %d %s %d " % (len(kind), kind.encode(), len(payload)) + payload


def bundle(payload, signature, key=None, kind=IN_TOTO):
    hint = text64(hashlib.sha256(key.der).digest()) if key else ""
    return to_json({"mediaType": BUNDLE, "verificationMaterial": {"publicKey": {"hint": hint}},
                    "dsseEnvelope": {"payload": text64(payload), "payloadType": kind,
                                     "signatures": [{"sig": text64(signature)}]}})


def words(annotations):
    """Annotations are text, sorted by their key; seq = None is left out."""
    return {key: str(value) for key, value in sorted(annotations.items()) if value is not None}


# --- where it is ------------------------------------------------------------------------------------


def tag_of(digest, suffix=""):
    return digest.replace(":", "-") + suffix


class Signer:
    """Signs what is in one repository of a registry. host is the name by which devices know it, if it is another one
    than the registry's."""

    def __init__(self, registry, repository, host=None):
        self.registry, self.repository = registry, repository
        self.image = f"{host or registry.address}/{repository}"

    # -- whole signatures

    def classic(self, digest, key, reference=None, kind=SIMPLE_TYPE, **annotations):
        """As `cosign sign` 2.5 does, and 3.1 with --new-bundle-format=false."""
        payload = simple(digest, reference or self.image, words(annotations), kind)
        self.push_classic(digest, payload, key.sign(payload))

    def bundle(self, digest, key, predicate=SIGNED, image=None, **annotations):
        """As `cosign sign` 3.1 does with -a image=HOST/PATH; image = False leaves that out."""
        if image is not False:
            annotations["image"] = image or self.image
        payload = statement(digest, words(annotations), predicate)
        self.push_bundle(digest, bundle(payload, key.sign(pae(payload)), key))

    def referrer(self, digest, key, **annotations):
        """A classic layer in a referrer, as cosign 2.5 with --registry-referrers-mode=oci-1-1 does."""
        payload = simple(digest, self.image, words(annotations))
        layer = self._layer(payload, key.sign(payload))
        config = b"{}"
        self._push_referrer(digest, {
            "schemaVersion": 2, "mediaType": MEDIA["oci"]["manifest"],
            "config": {"mediaType": SIMPLE_ARTIFACT, "size": len(config), "digest": self._blob(config)},
            "layers": [layer], "subject": self._subject(digest)}, SIMPLE_ARTIFACT)

    def sign(self, form, digest, key, **annotations):
        """form: "classic", "bundle" or "referrer"."""
        getattr(self, form)(digest, key, **annotations)

    # -- parts, as anybody who may push can bring them

    def push_classic(self, digest, payload, signature, place=None):
        """One more layer at the tag of the digest (or of place)."""
        tag = tag_of(place or digest, ".sig")
        manifest = self.manifest(tag)
        if not manifest:
            manifest = {"schemaVersion": 2, "mediaType": MEDIA["oci"]["manifest"], "layers": []}
        manifest["layers"].append(self._layer(payload, signature))
        config = to_json({"architecture": "", "created": "0001-01-01T00:00:00Z", "os": "", "config": {}, "rootfs": {
            "type": "layers", "diff_ids": [layer["digest"] for layer in manifest["layers"]]}})  # cosign counts them
        manifest["config"] = {"mediaType": MEDIA["oci"]["config"], "size": len(config), "digest": self._blob(config)}
        self._put(tag, manifest)

    def push_bundle(self, digest, data, subject=None):
        """A referrer with this bundle, in the fallback tag too where the registry has no referrers API."""
        empty = b"{}"
        self._push_referrer(digest, {
            "schemaVersion": 2, "mediaType": MEDIA["oci"]["manifest"],
            "config": {"mediaType": EMPTY, "size": len(empty), "digest": self._blob(empty), "artifactType": BUNDLE},
            "layers": [{"mediaType": BUNDLE, "size": len(data), "digest": self._blob(data)}],
            "annotations": {"dev.sigstore.bundle.content": "dsse-envelope", "dev.sigstore.bundle.predicateType": SIGNED,
                            "org.opencontainers.image.created": "2026-11-28T17:13:46Z"},
            "subject": self._subject(subject or digest), "artifactType": BUNDLE}, EMPTY)

    def remove(self, digest):
        """Takes all signatures of a digest away, as one who may push and means to withhold."""
        for suffix in (".sig", ""):
            tag = tag_of(digest, suffix)
            status, headers, _ = self._request("GET", tag)
            if status == 200:
                status, _, _ = self._request("DELETE", headers["Docker-Content-Digest"])
                assert status == 202, status

    def manifest(self, reference):
        """The manifest or index behind a tag or digest as an object, or None."""
        status, _, body = self._request("GET", reference)
        return json.loads(body) if status == 200 else None

    # -- the registry

    def _request(self, method, reference, body=None, kind=None):
        accept = ", ".join((MEDIA["oci"]["manifest"], MEDIA["oci"]["index"], MEDIA["docker"]["manifest"], MEDIA["docker"]["index"]))
        headers = {"Accept": accept, **({"Content-Type": kind} if kind else {})}
        return self.registry.request(method, f"/v2/{self.repository}/manifests/{reference}", body=body, headers=headers,
                                     scope=f"repository:{self.repository}:pull,push")

    def _blob(self, data):
        return self.registry.push_blob(self.repository, data)

    def _put(self, reference, manifest):
        body = to_json(manifest)
        self.registry.push_manifest(self.repository, reference, body, manifest["mediaType"])
        return body

    def _layer(self, payload, signature):
        text = signature if isinstance(signature, str) else text64(signature)
        return {"mediaType": SIMPLE_LAYER, "size": len(payload), "digest": self._blob(payload),
                "annotations": {SIGNATURE: text}}

    def _subject(self, digest):
        status, headers, body = self._request("GET", digest)
        assert status == 200, f"{self.repository}@{digest}: {status}"
        return {"mediaType": headers["Content-Type"], "size": len(body), "digest": digest}

    def _push_referrer(self, digest, manifest, artifact_type):
        body = to_json(manifest)
        self._put(digest_of(body), manifest)
        if getattr(self.registry, "has_referrers", False):
            return
        index = self.manifest(tag_of(digest)) or {"schemaVersion": 2, "mediaType": MEDIA["oci"]["index"], "manifests": []}
        index["manifests"].append({"mediaType": manifest["mediaType"], "size": len(body), "digest": digest_of(body),
                                   "artifactType": artifact_type})
        self._put(tag_of(digest), index)


# --- a registry with the referrers API --------------------------------------------------------------


class Referrers(Front):
    """The referrers API of the distribution specification 1.1 before a registry that lacks it. It knows what is pushed
    through it."""

    has_referrers = True

    def __init__(self, behind, **options):
        super().__init__(behind, **options)
        self.address, self.listed = self.host, {}  # (repository, digest of the subject): descriptors, oldest first

    def request(self, method, path, body=None, headers=None, scope=None):
        """As a client of this registry: what it pushes is listed."""
        if method == "PUT" and "/manifests/" in path:
            self._note(path, body, (headers or {}).get("Content-Type"))
        return self.behind.request(method, path, body, headers, scope)

    def push_blob(self, repository, data):
        return self.behind.push_blob(repository, data)

    def push_manifest(self, repository, reference, body, media_type):
        self._note(f"/v2/{repository}/manifests/{reference}", body, media_type)
        return self.behind.push_manifest(repository, reference, body, media_type)

    def _note(self, path, body, media_type):
        """-> the digest of the manifest's subject, or None."""
        manifest = json.loads(body)
        if "subject" not in manifest:
            return None
        entry = {"mediaType": media_type, "digest": digest_of(body), "size": len(body),
                 "artifactType": manifest.get("artifactType") or manifest["config"]["mediaType"]}
        if "annotations" in manifest:
            entry["annotations"] = manifest["annotations"]
        listed = self.listed.setdefault((path[4:].partition("/manifests/")[0], manifest["subject"]["digest"]), [])
        if entry not in listed:
            listed.append(entry)
        return manifest["subject"]["digest"]

    def serve(self, seen):
        path = seen.path.partition("?")[0]
        repository, _, digest = path.removeprefix("/v2/").partition("/referrers/")
        if digest:
            return Answer(200, {"Content-Type": MEDIA["oci"]["index"]},
                          {"schemaVersion": 2, "mediaType": MEDIA["oci"]["index"],
                           "manifests": self.listed.get((repository, digest), [])})
        answer = super().serve(seen)
        if seen.method == "PUT" and "/manifests/" in path and answer.status == 201:
            subject = self._note(path, seen.body, seen.headers.get("Content-Type"))
            if subject:
                answer.headers["OCI-Subject"] = subject
        return answer


# --- a house with keys ------------------------------------------------------------------------------


class Signing:
    """A house whose container takes signed images only: keys by name, and a signer of its repository."""

    def __init__(self, house):
        self.house = house
        self.directory = house.pullet.directory / "keys"
        self.directory.mkdir(exist_ok=True)
        self.made = {}

    @property
    def signer(self):
        host, _, _ = self.house.image.partition("/")
        return Signer(self.house.registry, self.house.repository, host)

    def key(self, name="prod", kind="p256"):
        if name not in self.made:
            self.made[name] = Key(self.directory, name, kind)
        return self.made[name]

    def configure(self, *names, **settings):
        """The container "app" with these keys, "prod" without any."""
        for name in names or ("prod",):
            self.key(name)
        self.house.configure(**{"key": [name + ".pub" for name in names or ("prod",)], **settings})

    def sign(self, published, name="prod", form="classic", **annotations):
        """published: an image, or a digest."""
        self.signer.sign(form, getattr(published, "digest", published), self.key(name), **annotations)
        return published

    def publish(self, name="prod", form="classic", options=None, **annotations):
        """The next version, signed."""
        return self.sign(self.house.publish(**(options or {})), name, form, **annotations)

    def up(self, *names, form="classic", create=None, settings=None, **annotations):
        """The first version runs. -> (published, inspect)"""
        from pullet_house import UP
        self.configure(*names, create=create or UP, **(settings or {}))
        published = self.publish(*names[:1] or ("prod",), form, **annotations)
        self.house.once("updated")
        return published, self.house.check(published)

    def signed_by(self, name="app"):
        """The names of the keys that the record has for what runs."""
        current = self.house.pullet.record(name)["current"]
        return [key["name"] for key in current.get("signature", {}).get("keys", [])]

    def verify(self, image=None, status=0):
        """`pullet verify --json` -> its object"""
        done = subprocess.run([self.house.pullet.build / "pullet", "verify", image or self.house.image, "--json",
                               "--config", self.house.pullet.config, "--state-dir", self.house.pullet.state],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=120,
                              env={**os.environ, **self.house.lab.environment})
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        return json.loads(done.stdout)


@pytest.fixture
def signing(house):
    return Signing(house)


def refused(house, before, *words):
    """It is refused for its signature, with these words, and what ran goes on. -> the object of the container"""
    entry = house.once("refused")
    assert entry["reason"].startswith("signature: "), entry
    assert all(word in entry["reason"] for word in words), entry
    house.untouched(before)
    return entry
