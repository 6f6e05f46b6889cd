# SPDX-License-Identifier: MIT
"""Images that lie as files before the engine has them, and the driver that gives them to it and takes layers out of it."""

import gzip
import itertools
import json
import os
import pathlib
import subprocess

from pullet_image import MEDIA, Image, actor, digest_of, to_json

BUILD = pathlib.Path(os.environ["PULLET_BUILD"])
_numbers = itertools.count(1)


def zstd(raw, *options):
    return subprocess.run(["zstd", "-q", "-c", *options], input=raw, capture_output=True, check=True).stdout


PACK = {"gzip": lambda raw: gzip.compress(raw, 6, mtime=0), "zstd": zstd, "plain": lambda raw: raw}


class Files:
    """An image in the registry and as the files of a spool. layers: (uncompressed tar, how it is packed)."""

    def __init__(self, registry, directory, layers, index=False, media="oci", platform=None,
                 wrong=False, address=None, **config):
        self.directory = directory
        self.repository = f"load{next(_numbers)}/app"
        self.name = f"{address or registry.address}/{self.repository}"
        platform = platform or Image().platform_object()
        media, raws = MEDIA[media], [raw for raw, _ in layers]
        self.raws = raws
        self.config = to_json({
            "created": "2020-01-01T00:00:00Z", **platform, "config": config,
            "rootfs": {"type": "layers", "diff_ids": [
                digest_of(raw + b"wrong" if wrong and len(raw) > 200_000 else raw) for raw in raws]},
            "history": [{"created": "2020-01-01T00:00:00Z", "created_by": "tests"}] * len(layers)})
        self.blobs = [(how if callable(how) else PACK[how])(raw) for raw, how in layers]
        base, mark, _ = media["layer"].rpartition("+" if "+" in media["layer"] else ".")
        names = ["gzip" if callable(how) else how for _, how in layers]
        types = [base if name == "plain" else base + mark + name for name in names]
        self.manifest = to_json({
            "schemaVersion": 2, "mediaType": media["manifest"],
            "config": {"mediaType": media["config"], "size": len(self.config),
                       "digest": digest_of(self.config)},
            "layers": [{"mediaType": kind, "size": len(blob), "digest": digest_of(blob)}
                       for blob, kind in zip(self.blobs, types)]})
        self.top, self.type = self.manifest, media["manifest"]
        for blob in (self.config, *self.blobs):
            registry.push_blob(self.repository, blob)
        registry.push_manifest(self.repository, digest_of(self.manifest), self.manifest, self.type)
        if index:
            self.type = media["index"]
            self.top = to_json({
                "schemaVersion": 2, "mediaType": self.type, "manifests": [
                    {"mediaType": media["manifest"], "size": len(self.manifest),
                     "digest": digest_of(self.manifest), "platform": platform}]})
        registry.push_manifest(self.repository, "stable", self.top, self.type)

    @property
    def pinned(self):
        return f"{self.name}@{digest_of(self.top)}"

    def file(self, data, digest=None, **more):
        """A file of these bytes, under the digest of its own or another one."""
        path = self.directory / str(next(_numbers))
        path.write_bytes(data)
        return {"digest": digest or digest_of(data), "path": str(path), **more}

    def start(self, engine, *what, layers=None, **changes):
        """Starts the driver; layers are the files of all, None for those that are left out."""
        blobs = self.blobs if layers is None else layers
        names = [digest_of(blob) for blob in self.blobs]
        order = {"socket": engine.socket, "image": self.name + ":stable", "keep": "app", "type": self.type,
                 "top": self.file(self.top), "manifest": self.file(self.manifest),
                 "config": self.file(self.config), "do": what or ["load"],
                 "layers": [blob if isinstance(blob, dict) else
                            self.file(blob) if blob is not None else {"digest": name}
                            for blob, name in zip(blobs, names)], **changes}
        return start_driver(order)

    def load(self, engine, *what, **changes):
        """Runs the driver. -> its answer"""
        return answer_of(self.start(engine, *what, **changes))

    def rebuilt(self, number, how="zstd", raw=None):
        """A layer as a delta makes it: under another digest than the registry's."""
        raw = raw or self.raws[number]
        return self.file(zstd(raw, "-1", "--no-check") if how == "zstd" else PACK[how](raw), rebuilt=how)


def start_driver(order):
    process = subprocess.Popen([BUILD / "tests/load-driver"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdin.write(json.dumps(order))
    process.stdin.close()
    process.stdin = None
    return process


def answer_of(process):
    out, errors = process.communicate()
    assert process.returncode == 0, errors
    return json.loads(out)


def save(socket, image, raws, path, most=1 << 32):
    """Takes layers out of the engine, by their content, into the file path. -> the driver's answer"""
    return answer_of(start_driver({"socket": str(socket), "save": {
        "image": image, "layers": [digest_of(raw) for raw in raws], "path": str(path), "max": most}}))


def inspect(engine, name, platform=None):
    """What engine_inspect_platform() and engine_identify_image() say. -> the driver's answer"""
    return answer_of(start_driver({"socket": engine.socket, "inspect": name,
                                   **({"platform": platform} if platform else {})}))


def content(path, place):
    """What the driver's answer says to be there."""
    with open(path, "rb") as file:
        file.seek(place[0])
        return file.read(place[1])


def layer(**files):
    return Image(files).layer()


def app(version="1"):
    return actor("say", "version " + version, "wait").layer()
