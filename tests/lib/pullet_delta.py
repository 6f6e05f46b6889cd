# SPDX-License-Identifier: MIT
"""Deltas made and applied in pure Python, from pullet-delta(5) and not from Pullet's own code: a second opinion of the
format, and every way to make one wrong.

publish_delta() puts the delta between two published images beside them; WRONG names the ways that are refused."""

import base64
import gzip
import json
import re
import struct
import subprocess
from dataclasses import dataclass, field

from pullet_image import MEDIA, digest_of, host_platform, to_json

MAGIC = b"PLD1\n\0\0\0"
MEDIA_TYPE = "application/vnd.pullet.delta.v1"
EMBEDDED_MAX = 2048
HEADER = struct.Struct("<8s6Q")
BLOCK = 64  # bytes that must agree before another place of the old data is looked at
GAP = 32    # bytes that may differ before the copy ends


class Malformed(Exception):
    """The patch is not valid, or does not fit the old data."""


# --- the format --------------------------------------------------------------------------------


def zstd(data, window=21, level=6):
    """One frame. The tool does not know the size of its standard input, so that the frame has this window."""
    return subprocess.run(["zstd", "-q", "-c", f"-{level}", f"--zstd=wlog={window}"], input=data,
                          capture_output=True, check=True).stdout


def unzstd(data, window=21):
    done = subprocess.run(["zstd", "-q", "-d", "-c", f"--memory={1 << window}"], input=data,
                          capture_output=True, check=False)
    if done.returncode:
        raise Malformed("zstd: " + done.stderr.decode(errors="replace").strip())
    return done.stdout


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])


def zigzag(value):
    return value << 1 if value >= 0 else (-value << 1) - 1


def common(a, i, b, j):
    """The length of what is equal from a[i:] and b[j:] on."""
    length, step = 0, 64
    while step:
        part = a[i + length:i + length + step]
        if part and part == b[j + length:j + length + step]:
            length += len(part)
            step *= 2
        else:
            step //= 2
    return length


def stretch(old, pos, new, at):
    """How far a copy goes on at this alignment: over at most GAP bytes that differ at once, if BLOCK bytes agree after
    them."""
    length = common(old, pos, new, at)
    while True:
        for gap in range(1, GAP + 1):
            more = common(old, pos + length + gap, new, at + length + gap)
            if more >= BLOCK:
                length += gap + more
                break
        else:
            return length


def matches(old, new):
    """-> [(position in new, position in old, length)], which do not overlap."""
    blocks = {}
    for pos in range(0, len(old) - BLOCK + 1, BLOCK):
        blocks.setdefault(old[pos:pos + BLOCK], pos)
    found, at = [], 0
    length = stretch(old, 0, new, 0)
    if length >= BLOCK:
        found.append((0, 0, length))
        at = length
    while at + BLOCK <= len(new):
        pos = blocks.get(new[at:at + BLOCK])
        if pos is None:
            at += 1
            continue
        length = stretch(old, pos, new, at)
        found.append((at, pos, length))
        at += length
    return found


def operations(old, new):
    """-> [(copy, literal, jump)], the places of the copies: [(position in new, position in old, length)], literal"""
    copies = matches(old, new)
    if new and (not copies or copies[0][:2] != (0, 0)):
        copies.insert(0, (0, 0, 0))
    ops, literal = [], bytearray()
    for number, (at, pos, length) in enumerate(copies):
        following = copies[number + 1] if number + 1 < len(copies) else (len(new), pos + length, 0)
        literal += new[at + length:following[0]]
        ops.append((length, following[0] - at - length, following[1] - pos - length))
    return ops, copies, bytes(literal)


def differences(old, new, copies):
    """-> [(bytes equal, bytes differing)], the values"""
    difference = bytearray()
    for at, pos, length in copies:
        a, b = old[pos:pos + length], new[at:at + length]
        if a == b:
            difference += bytes(length)
        else:
            difference += bytes((y - x) & 255 for x, y in zip(a, b))
    runs, at = [], 0
    for differing in re.finditer(rb"[^\0]+", difference):
        runs.append((differing.start() - at, len(differing[0])))
        at = differing.end()
    if at < len(difference):
        runs.append((len(difference) - at, 0))
    return runs, bytes(difference.replace(b"\0", b""))


def streams(ops, runs):
    control = b"".join(varint(copy) + varint(literal) + varint(zigzag(jump)) for copy, literal, jump in ops)
    return control, b"".join(varint(same) + varint(differ) for same, differ in runs)


def pack(old_size, new_size, frames, lengths=None, magic=MAGIC):
    """A patch of four frames."""
    return HEADER.pack(magic, old_size, new_size, *(lengths or map(len, frames))) + b"".join(frames)


def make(old, new, window=21):
    ops, copies, literal = operations(old, new)
    runs, values = differences(old, new, copies)
    control, runs = streams(ops, runs)
    return pack(len(old), len(new), [zstd(part, window) for part in (control, runs, values, literal)])


class Stream:
    """The content of a frame, read in pieces."""

    def __init__(self, name, frame):
        self.name, self.data, self.at = name, unzstd(frame), 0

    def take(self, size):
        if size > len(self.data) - self.at:
            raise Malformed(f"{self.name} ends early")
        self.at += size
        return self.data[self.at - size:self.at]

    def varint(self):
        value = 0
        for shift in range(0, 63, 7):
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise Malformed(f"{self.name}: a number of more than 63 bits")

    def end(self):
        if self.at != len(self.data):
            raise Malformed(f"{self.name} has a rest")


def add_differences(part, runs, values, state):
    """Adds the values to a copy. state: [bytes equal, bytes differing] of the run that goes on."""
    out = bytearray(part)
    at = 0
    while at < len(out):
        if state == [0, 0]:
            state[:] = [runs.varint(), runs.varint()]
            if state == [0, 0]:
                raise Malformed("an empty run")
        same = min(state[0], len(out) - at)
        state[0] -= same
        at += same
        differ = min(state[1], len(out) - at)
        for value in values.take(differ):
            out[at] = (out[at] + value) & 255
            at += 1
        state[1] -= differ
    return bytes(out)


def apply(old, patch):
    if len(patch) < HEADER.size:
        raise Malformed("too short for a header")
    magic, old_size, new_size, *lengths = HEADER.unpack_from(patch)
    if magic != MAGIC:
        raise Malformed("wrong magic")
    if sum(lengths) != len(patch) - HEADER.size:
        raise Malformed("the frames are not the rest of the file")
    if old_size != len(old):
        raise Malformed(f"it is of {old_size} bytes, not of {len(old)}")
    at, parts = HEADER.size, []
    for name, length in zip(("control", "runs", "values", "literal"), lengths):
        parts.append(Stream(name, patch[at:at + length]))
        at += length
    control, runs, values, literal = parts
    new, pos, state, empty = bytearray(), 0, [0, 0], False
    while len(new) < new_size:
        copy, size, jump = control.varint(), control.varint(), control.varint()
        if copy + size > new_size - len(new):
            raise Malformed("more than the new size")
        if not 0 <= pos <= len(old) or copy > len(old) - pos:
            raise Malformed("a copy from outside of the old data")
        if not copy + size and empty:
            raise Malformed("two operations that make nothing")
        empty = not copy + size
        new += add_differences(old[pos:pos + copy], runs, values, state) + literal.take(size)
        pos += copy + ((jump >> 1) ^ -(jump & 1))
    for part in parts:
        part.end()
    if state != [0, 0]:
        raise Malformed("a run that is longer than the copies")
    return bytes(new)


def edited(data, dice, places=20, fresh=0):
    """The same with some bytes changed, and so many new ones at the end."""
    out = bytearray(data)
    for place in dice.sample(range(len(out)), places):
        out[place] ^= dice.randrange(1, 256)
    return bytes(out) + dice.randbytes(fresh)


# --- images ------------------------------------------------------------------------------------


def chain_ids(diff_ids):
    """The ChainID of each layer, lowest first (image-spec, config.md)."""
    out = []
    for diff_id in diff_ids:
        out.append(digest_of(f"{out[-1]} {diff_id}".encode()) if out else diff_id)
    return out


def inflate(blob):
    if blob[:2] == b"\x1f\x8b":
        return gzip.decompress(blob)
    if blob[:4] == b"\x28\xb5\x2f\xfd":
        return unzstd(blob, 27)
    return blob


def get_blob(registry, repository, digest):
    status, _, body = registry.request("GET", f"/v2/{repository}/blobs/{digest}",
                                       scope=f"repository:{repository}:pull")
    assert status == 200 and digest_of(body) == digest, f"{repository}@{digest}: {status}"
    return body


def diff_ids(registry, published, platform):
    manifest = json.loads(published.bodies[platform][0])
    return json.loads(get_blob(registry, published.repository,
                               manifest["config"]["digest"]))["rootfs"]["diff_ids"]


def layer_tars(registry, published, platform, first):
    """The uncompressed layers from number first on."""
    manifest = json.loads(published.bodies[platform][0])
    return [inflate(get_blob(registry, published.repository, layer["digest"]))
            for layer in manifest["layers"][first:]]


def plain_size(published, shared, platform=None):
    """Bytes of the layers that a delta stands for, as the registry has them."""
    manifest = json.loads(published.bodies[platform or host_platform()][0])
    return sum(layer["size"] for layer in manifest["layers"][shared:])


@dataclass
class Delta:
    """The delta of one platform, to be pushed, or to be made wrong before."""
    old: bytes
    news: list  # the new layers
    shared: int
    chains: tuple  # ChainIDs of both images
    subject: dict
    patch: bytes = None
    notes: dict = field(default_factory=dict)       # annotations that differ
    descriptor: dict = field(default_factory=dict)  # fields of the patch's descriptor that differ
    document: dict = field(default_factory=dict)    # fields of the manifest that differ; None: it has it not
    body: bytes = None  # instead of the manifest
    pushed: str = None  # digest of the artifact

    @property
    def new(self):
        return b"".join(self.news)

    @property
    def tag(self):
        return "delta-" + "-".join(chain.removeprefix("sha256:")[:32] for chain in self.chains)

    @property
    def digest(self):
        """Of the patch."""
        return digest_of(self.patch)

    def manifest(self, embedded=None):
        layer = {"mediaType": MEDIA_TYPE, "digest": self.digest, "size": len(self.patch)}
        if embedded if embedded is not None else len(self.patch) <= EMBEDDED_MAX:
            layer["data"] = base64.b64encode(self.patch).decode()
        manifest = {
            "schemaVersion": 2, "mediaType": MEDIA["oci"]["manifest"], "artifactType": MEDIA_TYPE,
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest_of(b"{}"), "size": 2,
                       "data": "e30="},
            "layers": [{**layer, **self.descriptor}], "subject": self.subject,
            "annotations": {"vnd.pullet.delta.from": self.chains[0], "vnd.pullet.delta.to": self.chains[1],
                            "vnd.pullet.delta.shared": str(self.shared),
                            "vnd.pullet.delta.sizes": ",".join(str(len(new)) for new in self.news), **self.notes},
            **self.document}
        return {key: value for key, value in manifest.items() if value is not None}

    def push(self, registry, repository, embedded=None):
        registry.push_blob(repository, b"{}")
        registry.push_blob(repository, self.patch)
        body = self.body or to_json(self.manifest(embedded))
        self.pushed = registry.push_manifest(repository, self.tag, body, MEDIA["oci"]["manifest"])
        return self


def make_delta(registry, repository, old, new, platform=None):
    """The delta from one published image (pullet_image.Published) to another, not pushed yet."""
    platform = platform or host_platform()
    was, will = diff_ids(registry, old, platform), diff_ids(registry, new, platform)
    shared = 0
    while shared < min(len(was), len(will)) and was[shared] == will[shared]:
        shared += 1
    body, kind = new.bodies[platform]
    delta = Delta(b"".join(layer_tars(registry, old, platform, shared)), layer_tars(registry, new, platform, shared),
                  shared, (chain_ids(was)[-1], chain_ids(will)[-1]),
                  {"mediaType": kind, "digest": digest_of(body), "size": len(body)})
    delta.patch = make(delta.old, delta.new)
    return delta


def publish_delta(registry, repository, old, new, platform=None, wrong=None, embedded=None):
    """Puts the delta between two images of the repository beside them -> Delta. wrong: a name in WRONG, or a function
    that changes the Delta. embedded: whether the manifest has the patch; None: as the publisher does."""
    delta = make_delta(registry, repository, old, new, platform)
    if wrong:
        (WRONG[wrong] if isinstance(wrong, str) else wrong)(delta)
    return delta.push(registry, repository, embedded)


# --- ways to make it wrong ---------------------------------------------------------------------

OTHER = "sha256:" + "0123456789abcdef" * 4


def _note(**notes):
    return lambda delta: delta.notes.update({"vnd.pullet.delta." + name: value for name, value in notes.items()})


def _sizes(change):
    """sizes as text of the real ones."""
    return lambda delta: _note(sizes=",".join(map(str, change([len(new) for new in delta.news]))))(delta)


def _descriptor(**fields):
    return lambda delta: delta.descriptor.update(fields)


def _document(**fields):
    return lambda delta: delta.document.update(fields)


def _bytes(change):
    """Another patch; the artifact fits it."""

    def wrong(delta):
        delta.patch = change(delta)

    return wrong


def _frames(ops=None, runs=None, values=None, literal=None, change=lambda frames: frames):
    """A patch of its own for these streams, of which those that are not given are those of a patch that makes all of
    the new data of literals."""

    def wrong(delta):
        new = delta.new
        control, run = streams(ops(delta) if ops else [(0, len(new), 0)], runs or [])
        delta.patch = pack(len(delta.old), len(new), change(
            [zstd(control), zstd(run), zstd(values or b""), zstd(new if literal is None else literal(new))]))

    return wrong


def _header(**fields):
    def wrong(delta):
        names = ("magic", "old", "new", "control", "runs", "values", "literal")
        header = dict(zip(names, HEADER.unpack_from(delta.patch)))
        for name, change in fields.items():
            header[name] = change(header[name])
        delta.patch = HEADER.pack(*(header[name] for name in names)) + delta.patch[HEADER.size:]

    return wrong


def _overflow(delta):
    """Four lengths whose sum is right when it overflows."""
    half = 1 << 63
    _header(control=lambda n: n + half, literal=lambda n: n + half)(delta)


def other_content(delta):
    """A valid patch that makes other bytes, as many of them."""
    new = bytearray(delta.new)
    new[len(new) // 2] ^= 1
    delta.patch = make(delta.old, bytes(new))


def _zeros(size, window=21):
    """A frame of size bytes of zeros."""
    return subprocess.run(f"head -c {size} /dev/zero | zstd -q -c -3 --zstd=wlog={window}", shell=True, check=True,
                          capture_output=True).stdout


def bomb(size):
    """Literals that inflate to more than the new data."""
    return _frames(change=lambda frames: [*frames[:3], _zeros(size)])


def flood(size):
    """A valid patch that makes size bytes of zeros, and says so everywhere: the artifact's sizes are those of the
    patch, and only the digest of the layers is not."""

    def wrong(delta):
        control, _ = streams([(0, size, 0)], [])
        delta.patch = pack(len(delta.old), size, [zstd(control), zstd(b""), zstd(b""), _zeros(size)])
        _note(sizes=",".join(map(str, [size - len(delta.news) + 1] + [1] * (len(delta.news) - 1))))(delta)

    return wrong


# What the artifact says is wrong: nobody needs the patch to see it.
WRONG_ARTIFACT = {
    "from another image": _note(**{"from": OTHER}),
    "to another image": _note(to=OTHER),
    "another shared": lambda delta: _note(shared=str(delta.shared + 1))(delta),
    "no number in shared": _note(shared="x"),
    "a size too few": _sizes(lambda sizes: sizes[:-1]),
    "a size too many": _sizes(lambda sizes: [*sizes, 512]),
    "no number in sizes": _sizes(lambda sizes: [*sizes[:-1], "-1"]),
    "sizes over 16 GiB": _sizes(lambda sizes: [*sizes[:-1], (16 << 30) + 1]),
    "sizes that overflow": _sizes(lambda sizes: [*sizes[:-1], (1 << 64) - sum(sizes[:-1]) + 512]),
    "no annotations": _document(annotations={}),
    "a larger patch than the layers": _descriptor(size=1 << 30),
    "a negative size": _descriptor(size=-1),
    "another type of patch": _descriptor(mediaType="application/octet-stream"),
    "another type of artifact": _document(artifactType="application/vnd.pullet.rollout.v1+json"),
    "no patch": _document(layers=[]),
    "two patches": lambda delta: delta.document.update(layers=delta.manifest()["layers"] * 2),
}
# The bytes of the patch are wrong.
WRONG_PATCH = {
    "another magic": _header(magic=lambda magic: b"PLD2\n\0\0\0"),
    "of other old data": _header(old=lambda n: n + 1),
    "to more data": _header(new=lambda n: n + 1),
    "to less data": _header(new=lambda n: n - 1),
    "other sizes than the artifact's": _sizes(lambda sizes: [*sizes[:-1], sizes[-1] + 512]),
    "lengths that overflow": _overflow,
    "a length too many": _header(literal=lambda n: n + 1),
    "cut short": _bytes(lambda delta: delta.patch[:len(delta.patch) // 2]),
    "a header only": _bytes(lambda delta: delta.patch[:HEADER.size]),
    "nothing": _bytes(lambda delta: b""),
    "a rest": _bytes(lambda delta: delta.patch + b"\0"),
    "damaged frames": _bytes(lambda delta: delta.patch[:HEADER.size] + bytes(
        byte ^ 85 for byte in delta.patch[HEADER.size:])),
    "a window of 8 MiB": _frames(change=lambda frames: [*frames[:3], _zeros(16 << 20, 23)]),
    "a copy of more than the old data": _frames(ops=lambda delta: [(len(delta.old) + 1, 0, 0)]),
    "a copy of more than the new data": _frames(ops=lambda delta: [(len(delta.new) + 1, 0, 0)]),
    "a copy from before the old data": _frames(ops=lambda delta: [(0, 1, -1), (1, len(delta.new) - 2, 0)],
                                               runs=[(1, 0)]),
    "a jump behind the old data": _frames(ops=lambda delta: [(0, 1, 1 << 40), (1, len(delta.new) - 2, 0)],
                                          runs=[(1, 0)]),
    "empty runs": _frames(ops=lambda delta: [(1, len(delta.new) - 1, 0)], runs=[(0, 0), (1, 0)],
                          literal=lambda new: new[1:]),
    "operations that make nothing": _frames(ops=lambda delta: [(0, 0, 0)] * 3 + [(0, len(delta.new), 0)]),
    "a number over 63 bits": _frames(change=lambda frames: [zstd(b"\xff" * 10 + b"\1\0\0"), *frames[1:]]),
    "control that ends early": _frames(change=lambda frames: [zstd(b""), *frames[1:]]),
    "literals that end early": _frames(literal=lambda new: new[:-1]),
    "literals with a rest": _frames(literal=lambda new: new + b"x"),
    "values with a rest": _frames(values=b"x"),
    "runs with a rest": _frames(runs=[(1, 1)]),
    "a bomb": bomb(64 << 20),
    "other content": other_content,
}
WRONG = {**WRONG_ARTIFACT, **WRONG_PATCH}

