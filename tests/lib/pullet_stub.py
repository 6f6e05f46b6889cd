# SPDX-License-Identifier: MIT
"""A thousand engines in one process: as much of Docker's Engine API as an update needs, with one socket for each
device. Images are really pulled from the registry, each layer once; containers are entries in a table that run as
soon as they are started."""

import asyncio
import gzip
import hashlib
import io
import json
import re
import subprocess
import tarfile
import threading
import time
import urllib.parse
import urllib.request

MANIFEST = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
NEVER = "0001-01-01T00:00:00Z"


def now():
    ns = time.time_ns()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ns // 10**9)) + f".{ns % 10**9:09}Z"


def get(url, accept="*/*"):
    request = urllib.request.Request(url, headers={"Accept": accept, "User-Agent": "stub-engine"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read()


_unpacked = {}  # digest of a blob -> DiffID: of all engines, since most have the same layers
_layers = {}  # DiffID -> a blob of it


def diff_id(blob):
    """Remembers the blob as a layer. -> its DiffID"""
    digest = "sha256:" + hashlib.sha256(blob).hexdigest()
    if digest not in _unpacked:
        raw = gzip.decompress(blob) if blob[:2] == b"\x1f\x8b" else blob
        if blob[:4] == b"\x28\xb5\x2f\xfd":
            raw = subprocess.run(["zstd", "-qdc"], input=blob, capture_output=True, check=True).stdout
        _unpacked[digest] = "sha256:" + hashlib.sha256(raw).hexdigest()
    _layers.setdefault(_unpacked[digest], blob)
    return _unpacked[digest]


def tar_of(files):
    """name -> bytes"""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


class Refusal(Exception):
    """An error response of the engine: status, message."""


class Device:
    """One engine: its images, tags and containers. Images in `broken` are for another platform."""

    def __init__(self, name):
        self.name, self.count = name, 0
        self.broken = set()
        self.cut = None  # bytes of a tar after which its connection ends
        self.images = {}  # id -> {"digests", "config"}
        self.tags = {}  # repository:tag -> id
        self.layers = set()  # by DiffID
        self.containers = {}  # id -> its inspect answer
        self.starts = []  # (when, image id)

    def image_id(self, reference):
        found = self.tags.get(reference)
        if reference in self.images:
            found = reference
        for identity, image in self.images.items():
            if reference in image["digests"]:
                found = identity
        if not found:
            raise Refusal(404, f"No such image: {reference}")
        return found

    def container(self, name_or_id):
        for container in self.containers.values():
            if name_or_id == container["Name"][1:] or container["Id"].startswith(name_or_id):
                return container
        raise Refusal(404, f"No such container: {name_or_id}")

    async def pull(self, repository, digest):
        host, _, path = repository.partition("/")
        base = f"http://{host}/v2/{path}"
        manifest = json.loads(await asyncio.to_thread(get, f"{base}/manifests/{digest}", MANIFEST))
        known = self.images.get(manifest["config"]["digest"])
        config = known["config"] if known else json.loads(await asyncio.to_thread(
            get, f"{base}/blobs/{manifest['config']['digest']}"))
        for layer, of in zip(manifest["layers"], config["rootfs"]["diff_ids"]):
            if of not in self.layers:
                data = await asyncio.to_thread(get, f"{base}/blobs/{layer['digest']}")
                if "sha256:" + hashlib.sha256(data).hexdigest() != layer["digest"]:
                    raise Refusal(500, "layer verification failed")
                if diff_id(data) != of:
                    raise Refusal(500, "invalid diffID")
                self.layers.add(of)
        image = self.images.setdefault(manifest["config"]["digest"], {"digests": set()})
        image["digests"].add(f"{repository}@{digest}")
        image["config"] = config
        return {"status": "Status: Downloaded newer image"}

    def load(self, body):
        """As an engine with a graph driver: known by its config and its tags until a pull by digest."""
        with tarfile.open(fileobj=io.BytesIO(body)) as tar:
            blobs = {"sha256:" + entry.name[-64:]: tar.extractfile(entry).read()
                     for entry in tar if entry.name.startswith("blobs/")}
            image, = json.load(tar.extractfile("manifest.json"))
        config = "sha256:" + image["Config"][-64:]
        for name, of in zip(image["Layers"], json.loads(blobs[config])["rootfs"]["diff_ids"]):
            blob = blobs.get("sha256:" + name[-64:])
            if of in self.layers:
                continue
            if blob is None:
                return {"errorDetail": {"message": f"open /{name}: no such file or directory"}}
            if diff_id(blob) != of:
                return {"errorDetail": {"message": "invalid diffID for layer 1"}}
            self.layers.add(of)
        self.images.setdefault(config, {"digests": set()})["config"] = json.loads(blobs[config])
        self.tags.update({tag: config for tag in image["RepoTags"]})
        return {"stream": f"Loaded image: {image['RepoTags'][0]}\n"}

    def save(self, reference):
        """As Docker 25 and newer with a graph driver, but for what is compressed."""
        config = self.images[self.image_id(reference)]["config"]
        layers = {"blobs/sha256/" + of[7:]: _layers[of] for of in config["rootfs"]["diff_ids"]}
        text = json.dumps(config).encode()
        name = "blobs/sha256/" + hashlib.sha256(text).hexdigest()
        return tar_of({name: text, **layers, "manifest.json": json.dumps(
            [{"Config": name, "RepoTags": [], "Layers": list(layers)}]).encode()})

    def create(self, name, body):
        if any(c["Name"] == "/" + name for c in self.containers.values()):
            raise Refusal(409, f"Conflict. The container name \"/{name}\" is already in use")
        self.count += 1
        identity = hashlib.sha256(f"{self.name} {self.count}".encode()).hexdigest()
        host = body.pop("HostConfig", {})
        body.pop("NetworkingConfig", None)
        self.containers[identity] = {
            "Id": identity, "Name": "/" + name, "Image": self.image_id(body["Image"]), "Created": now(),
            "Config": body, "HostConfig": {"NetworkMode": "none", **host}, "Mounts": [], "RestartCount": 0,
            "NetworkSettings": {"Networks": {}},
            "State": {"Status": "created", "Running": False, "Restarting": False, "Paused": False,
                      "ExitCode": 0, "Error": "", "StartedAt": NEVER, "FinishedAt": NEVER}}
        return {"Id": identity, "Warnings": []}

    def start(self, container):
        self.starts.append((time.time(), container["Image"]))
        container["State"].update(Status="running", Running=True, StartedAt=now())
        if container["Image"] in self.broken:
            container["State"].update(Status="exited", Running=False, ExitCode=126, Error="exec format error", FinishedAt=now())

    @staticmethod
    def stop(container):
        container["State"].update(Status="exited", Running=False, FinishedAt=now())

    def remove_image(self, reference):
        identity = self.image_id(reference)
        if reference in self.tags:
            del self.tags[reference]
        else:
            self.images[identity]["digests"].discard(reference)
        if not self.images[identity]["digests"] and identity not in self.tags.values():
            del self.images[identity]
        return [{"Untagged": reference}]

    async def answer(self, method, path, query, body):
        """-> an object, bytes of a tar, or None for an empty answer."""
        path = re.sub(r"^/v1\.\d+", "", path)
        if path == "/version":
            return {"ApiVersion": "1.43", "MinAPIVersion": "1.24", "Os": "linux", "Arch": "amd64"}
        if path == "/info":
            return {}
        if path == "/images/load":
            return self.load(body)
        if path == "/images/create":
            return await self.pull(query["fromImage"], query["tag"])
        if path == "/containers/create":
            return self.create(query["name"], body)
        if path == "/containers/json":
            return [{"Id": c["Id"], "Names": [c["Name"]],
                     "HostConfig": {"NetworkMode": c["HostConfig"]["NetworkMode"]}}
                    for c in self.containers.values()]
        kind, rest = path.strip("/").split("/", 1)
        name, _, verb = rest.rpartition("/")
        return (self.on_image if kind == "images" else self.on_container)(method, name, verb, rest, query, body)

    def on_image(self, method, name, verb, rest, query, _body):
        if method == "DELETE":
            return self.remove_image(rest)
        if verb == "get":
            return self.save(name)
        identity = self.image_id(name)
        if verb == "tag":
            self.tags[f"{query['repo']}:{query['tag']}"] = identity
            return None
        config = self.images[identity]["config"]
        return {"Id": identity, "RepoDigests": sorted(self.images[identity]["digests"]), "Size": 1000,
                "Os": config["os"], "Architecture": config["architecture"], "Config": config.get("config", {}),
                "RootFS": {"Type": "layers", "Layers": config["rootfs"]["diff_ids"]},
                "RepoTags": [tag for tag, of in self.tags.items() if of == identity]}

    def on_container(self, method, name, verb, rest, query, body):
        container = self.container(rest if method == "DELETE" else name)
        if method == "DELETE":
            if container["State"]["Running"]:
                raise Refusal(409, "You cannot remove a running container")
            del self.containers[container["Id"]]
        elif verb == "json":
            return container
        elif verb == "changes":
            return []
        elif verb == "archive":
            raise Refusal(404, "Could not find the file")
        elif verb == "start":
            self.start(container)
        elif verb == "stop":
            self.stop(container)
        elif verb == "rename":
            container["Name"] = "/" + query["name"]
        elif verb == "update":
            container["HostConfig"]["RestartPolicy"] = body["RestartPolicy"]
            return {"Warnings": None}
        else:
            raise Refusal(501, f"{method} {verb}: not in this engine")
        return None


class Engines:
    """Serves all devices. `trouble` has all error responses except 404, which is a normal one."""

    def __init__(self, directory, names):
        self.directory = directory
        self.devices = {name: Device(name) for name in names}
        self.trouble = []

    def socket(self, name):
        return self.directory / f"{name}.sock"

    def start(self):
        """Beside everything else."""
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, daemon=True).start()
        asyncio.run_coroutine_threadsafe(self.listen(), loop).result(60)

    async def listen(self):
        for name, device in self.devices.items():
            await asyncio.start_unix_server(
                lambda reader, writer, device=device: self.serve(device, reader, writer),
                self.socket(name))

    async def serve(self, device, reader, writer):
        try:
            while line := await reader.readline():
                await self.one(device, line.decode(), reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def one(self, device, line, reader, writer):
        method, target, _ = line.split()
        length = 0
        while (header := (await reader.readline()).strip().lower()):
            if header.startswith(b"content-length:"):
                length = int(header.split(b":")[1])
        body = await reader.readexactly(length) if length else b"{}"
        url = urllib.parse.urlsplit(target)
        path = urllib.parse.unquote(url.path)
        body = body if path.endswith("/images/load") else json.loads(body)
        query = dict(urllib.parse.parse_qsl(url.query))
        if path.endswith("/events"):  # no event ever happens here: it ends when the client has waited
            await self.silence(query, reader, writer)
            return
        try:
            status, answer = 200, await device.answer(method, path, query, body)
        except Refusal as refusal:
            status, answer = refusal.args[0], {"message": refusal.args[1]}
            if status != 404:
                self.trouble.append(f"{device.name}: {method} {target}: {refusal.args[1]}")
        except (OSError, KeyError, ValueError) as error:
            status, answer = 500, {"message": f"{type(error).__name__}: {error}"}
            self.trouble.append(f"{device.name}: {method} {target}: {answer['message']}")
        kind = "x-tar" if isinstance(answer, bytes) else "json"
        data = answer if kind == "x-tar" else b"" if answer is None else json.dumps(answer).encode()
        cut = device.cut if kind == "x-tar" else None
        writer.write(f"HTTP/1.1 {status} x\r\nContent-Type: application/{kind}\r\n"
                     f"Content-Length: {len(data)}\r\n\r\n".encode() + data[:cut])
        await writer.drain()
        if cut is not None:
            raise ConnectionResetError

    @staticmethod
    async def silence(query, reader, writer):
        writer.write(b"HTTP/1.1 200 x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        await writer.drain()
        if "until" in query or query.get("stream") == "false":
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        else:
            await reader.read(1)
            raise ConnectionResetError
