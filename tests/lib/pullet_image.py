# SPDX-License-Identifier: MIT
"""Images made and pushed in pure Python: they need no engine, and no tool but gcc for the program.

Image is what one platform runs; RegistryClient pushes images behind a tag and returns the digests.
"""

import base64
import gzip
import hashlib
import http.client
import io
import json
import os
import pathlib
import platform
import ssl
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass, field

PROGRAMS = pathlib.Path(__file__).resolve().parent / "programs"
MEDIA = {
    "oci": {
        "index": "application/vnd.oci.image.index.v1+json",
        "manifest": "application/vnd.oci.image.manifest.v1+json",
        "config": "application/vnd.oci.image.config.v1+json",
        "layer": "application/vnd.oci.image.layer.v1.tar+gzip",
    },
    "docker": {
        "index": "application/vnd.docker.distribution.manifest.list.v2+json",
        "manifest": "application/vnd.docker.distribution.manifest.v2+json",
        "config": "application/vnd.docker.container.image.v1+json",
        "layer": "application/vnd.docker.image.rootfs.diff.tar.gzip",
    },
}
PACK = {"gzip": lambda raw: gzip.compress(raw, 6, mtime=0), "plain": lambda raw: raw,
        "zstd": lambda raw: subprocess.run(["zstd", "-q", "-c"], input=raw, capture_output=True, check=True).stdout}
ROLLOUT = "application/vnd.pullet.rollout.v1+json"
MACHINES = {"x86_64": "linux/amd64", "aarch64": "linux/arm64", "armv7l": "linux/arm/v7",
            "armv6l": "linux/arm/v6"}
USER_AGENT = "pullet-tests"


def host_platform():
    """The platform of this machine as in an index: "linux/amd64"."""
    return MACHINES[platform.machine()]


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def cohort(device, digest):
    """The position of a device in percent: the formula of pullet-rollout(5)."""
    first = hashlib.sha256(f"{device} {digest}".encode()).digest()[:4]
    return (int.from_bytes(first, "big") * 1000000 >> 32) / 10000


def layer_type(media, packed):
    """The media type of a layer that is packed like this."""
    base, mark, _ = media["layer"].rpartition("+" if "+" in media["layer"] else ".")
    return base if packed == "plain" else base + mark + packed


def to_json(value):
    return json.dumps(value, separators=(",", ":")).encode()


COMPILERS = {"linux/arm64": ["aarch64-linux-gnu-gcc"],
             "linux/arm/v7": ["arm-linux-gnueabihf-gcc", "-marm", "-march=armv7ve+simd"]}  # has division
_programs = {}


def program(name="actor", platform=None):
    """The static program programs/NAME.c as bytes; built once in each run."""
    platform = platform or host_platform()
    if (name, platform) not in _programs:
        # Without a cross compiler here the content does not matter, because nothing runs it.
        compiler = ["gcc"] if platform == host_platform() else COMPILERS.get(platform, ["gcc"])
        with tempfile.TemporaryDirectory(prefix="pullet-program-") as directory:
            out = os.path.join(directory, name)
            subprocess.run(
                [*compiler, "-static", "-nostdlib", "-ffreestanding", "-Os", "-fno-stack-protector",
                 "-fno-asynchronous-unwind-tables", "-fno-pie", "-no-pie", "-s",
                 "-Wl,--build-id=none", "-Wl,-z,norelro", "-o", out, str(PROGRAMS / (name + ".c"))],
                check=True)
            _programs[name, platform] = pathlib.Path(out).read_bytes()
    return _programs[name, platform]


@dataclass
class Image:
    """What one platform runs. files: path -> bytes (mode 0755) or (bytes, mode); the other
    settings are those of the image configuration (Cmd, Env, Labels, Healthcheck, ...)."""
    files: dict = field(default_factory=dict)
    config: dict = field(default_factory=dict)
    platform: str = field(default_factory=host_platform)
    base: "Image" = None  # its layers are below
    packed: str = "gzip"  # how its layer is pushed: "gzip", "zstd" (OCI only) or "plain"

    def stack(self):
        """The images of its layers, lowest first."""
        return [*(self.base.stack() if self.base else ()), self]

    def layers(self):
        return [image.layer() for image in self.stack()]

    def layer(self):
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for path, content in sorted(self.files.items()):
                data, mode = content if isinstance(content, tuple) else (content, 0o755)
                entry = tarfile.TarInfo(path.lstrip("/"))
                entry.size, entry.mode = len(data), mode
                tar.addfile(entry, io.BytesIO(data))
        return raw.getvalue()

    def platform_object(self):
        os_name, architecture, *variant = self.platform.split("/")
        out = {"architecture": architecture, "os": os_name}
        if variant:
            out["variant"] = variant[0]
        return out


def actor(*script, files=None, platform=None, **config):
    """An image whose command is the actor with this script ("say", "v1", "wait")."""
    content = {"actor": program("actor", platform)}
    content.update(files or {})
    settings = {"Cmd": ["/actor", *[str(word) for word in script]]}
    settings.update(config)
    return Image(content, settings, platform or host_platform())


@dataclass
class Published:
    repository: str
    tag: str
    digest: str  # digest that the tag points to
    body: bytes
    media_type: str
    manifests: dict  # platform -> digest
    configs: dict  # platform -> digest, the image's Id on a graph driver
    bodies: dict  # platform -> (manifest, its media type)


class RegistryClient:
    """Pushes by the distribution specification, as far as the tests need it."""

    def __init__(self, address, user=None, ca=None, authorization=None):
        self.address = address
        self.ca = ca
        self.authorization = authorization  # callable(scope) -> header value
        if user:
            value = "Basic " + base64.b64encode(":".join(user).encode()).decode()
            self.authorization = lambda scope: value

    def request(self, method, path, body=None, headers=None, scope=None):
        """-> (status, headers, body)"""
        headers = {"User-Agent": USER_AGENT, **(headers or {})}
        if self.authorization:
            headers["Authorization"] = self.authorization(scope)
        if self.ca:
            context = ssl.create_default_context(cafile=self.ca)
            connection = http.client.HTTPSConnection(self.address, timeout=30, context=context)
        else:
            connection = http.client.HTTPConnection(self.address, timeout=30)
        try:
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def _ask(self, want, repository, method, path, **arguments):
        status, headers, body = self.request(
            method, path, scope=f"repository:{repository}:pull,push", **arguments)
        if status not in want:
            raise RuntimeError(f"{method} {path}: {status} {body[:300]!r}")
        return status, headers

    def push_blob(self, repository, data):
        digest = digest_of(data)
        status, _ = self._ask((200, 404), repository, "HEAD", f"/v2/{repository}/blobs/{digest}")
        if status == 404:
            _, headers = self._ask((202,), repository, "POST", f"/v2/{repository}/blobs/uploads/")
            location = headers["Location"]
            if "://" in location:
                location = "/" + location.split("://", 1)[1].split("/", 1)[1]
            location += ("&" if "?" in location else "?") + "digest=" + digest
            self._ask((201,), repository, "PUT", location, body=data,
                      headers={"Content-Type": "application/octet-stream"})
        return digest

    def push_manifest(self, repository, reference, body, media_type):
        self._ask((201,), repository, "PUT", f"/v2/{repository}/manifests/{reference}", body=body,
                  headers={"Content-Type": media_type})
        return digest_of(body)

    def _push_image(self, repository, image, media):
        layers = image.layers()
        kinds = [one.packed for one in image.stack()]
        packed = [PACK[kind](layer) for kind, layer in zip(kinds, layers)]
        settings = {"created": "2020-01-01T00:00:00Z", **image.platform_object(),
                    "config": image.config,
                    "rootfs": {"type": "layers", "diff_ids": list(map(digest_of, layers))},
                    "history": [{"created": "2020-01-01T00:00:00Z", "created_by": "tests"}]
                    * len(layers)}
        config = to_json(settings)
        body = to_json({
            "schemaVersion": 2, "mediaType": media["manifest"],
            "config": {"mediaType": media["config"], "size": len(config),
                       "digest": self.push_blob(repository, config)},
            "layers": [{"mediaType": layer_type(media, kind), "size": len(one),
                        "digest": self.push_blob(repository, one)} for kind, one in zip(kinds, packed)]})
        return body, digest_of(config)

    def publish(self, repository, tag, images, media="oci", index=None):
        """Pushes one image or a list of them (one for each platform) and moves the tag to them:
        directly for a single one, through an index for several or with index=True."""
        images = images if isinstance(images, (list, tuple)) else [images]
        index = len(images) > 1 if index is None else index
        media = MEDIA[media]
        entries, manifests, configs, bodies = [], {}, {}, {}
        for image in images:
            body, config = self._push_image(repository, image, media)
            digest = digest_of(body)
            manifests[image.platform] = digest
            configs[image.platform] = config
            bodies[image.platform] = (body, media["manifest"])
            entries.append({"mediaType": media["manifest"], "size": len(body), "digest": digest,
                            "platform": image.platform_object()})
            if index:
                self.push_manifest(repository, digest, body, media["manifest"])
        kind = media["manifest"]
        if index:
            kind = media["index"]
            body = to_json({"schemaVersion": 2, "mediaType": kind, "manifests": entries})
        self.push_manifest(repository, tag, body, kind)
        return Published(repository, tag, digest_of(body), body, kind, manifests, configs, bodies)

    def publish_rollout(self, repository, tag, policy, media_type=ROLLOUT, artifact_type=ROLLOUT,
                        embedded=None, annotations=None):
        """Pushes the policy (an object, or bytes) beside the tag, in the form that `oras push` uses; with
        bytes embedded in its descriptor, and annotations of the artifact. -> its digest"""
        body = policy if isinstance(policy, bytes) else to_json(policy)
        empty = b"{}"
        manifest = {
            "schemaVersion": 2, "mediaType": MEDIA["oci"]["manifest"],
            "artifactType": artifact_type,
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "size": len(empty),
                       "digest": self.push_blob(repository, empty)},
            "layers": [{"mediaType": media_type, "size": len(body),
                        "digest": self.push_blob(repository, body),
                        "annotations": {"org.opencontainers.image.title": "rollout.json"}}]}
        if embedded is not None:
            manifest["layers"][0]["data"] = base64.b64encode(embedded).decode()
        if artifact_type is None:
            del manifest["artifactType"]
        if annotations:
            manifest["annotations"] = annotations
        return self.push_manifest(repository, tag + ".rollout", to_json(manifest),
                                  MEDIA["oci"]["manifest"])

    def point(self, published, tag=None):
        """Moves the tag to an image that was published before."""
        self.push_manifest(published.repository, tag or published.tag, published.body,
                           published.media_type)
        return published

    def single_out(self, published, platform, tag):
        """Adds a tag for the manifest of one platform."""
        body, kind = published.bodies[platform]
        self.push_manifest(published.repository, tag, body, kind)
        return Published(published.repository, tag, published.manifests[platform], body, kind,
                         {platform: published.manifests[platform]},
                         {platform: published.configs[platform]},
                         {platform: (body, kind)})

    def publish_layout(self, repository, tag, directory):
        """Pushes an OCI image layout (index.json and blobs/) as payload/build makes it."""
        directory = pathlib.Path(directory)

        def read(digest):
            return (directory / "blobs" / digest.replace(":", "/")).read_bytes()

        body = (directory / "index.json").read_bytes()
        index = json.loads(body)
        # A layout may wrap the image's own index in its outer one.
        while len(index["manifests"]) == 1 and "index" in index["manifests"][0]["mediaType"]:
            body = read(index["manifests"][0]["digest"])
            index = json.loads(body)
        manifests, configs, bodies = {}, {}, {}
        for entry in index["manifests"]:
            manifest_body = read(entry["digest"])
            manifest = json.loads(manifest_body)
            for blob in (manifest["config"], *manifest["layers"]):
                self.push_blob(repository, read(blob["digest"]))
            self.push_manifest(repository, entry["digest"], manifest_body, entry["mediaType"])
            where = entry.get("platform", {})
            name = "/".join(filter(None, [where.get("os"), where.get("architecture"),
                                          where.get("variant")]))
            manifests[name] = entry["digest"]
            configs[name] = manifest["config"]["digest"]
            bodies[name] = (manifest_body, entry["mediaType"])
        kind = index.get("mediaType", MEDIA["oci"]["index"])
        self.push_manifest(repository, tag, body, kind)
        return Published(repository, tag, digest_of(body), body, kind, manifests, configs, bodies)
