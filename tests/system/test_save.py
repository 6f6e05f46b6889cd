# SPDX-License-Identifier: MIT
"""engine_save() and what an engine does not do on demand: foreign files, damage, a stream that is cut. Real engines are in
tests/engine/test_save.py."""

import errno
import gzip
import io
import itertools
import os
import pathlib
import subprocess
import sys
import tarfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from pullet_files import content, layer, save, zstd  # noqa: E402
from pullet_image import digest_of, to_json  # noqa: E402
from pullet_stub import Device, Engines, tar_of  # noqa: E402

RAWS = [layer(big=os.urandom(300_000)), layer(small=b"1")]
LAYER = "application/vnd.oci.image.layer.v1.tar"
_numbers = itertools.count(1)


class Stub(Device):
    tar = b""

    def save(self, reference):
        self.image_id("image" if reference == "image" else "none")
        return self.tar


@pytest.fixture(scope="session")
def engines(tmp_path_factory):
    engines = Engines(tmp_path_factory.mktemp("stub"), [])
    engines.devices["save"] = Stub("save")
    engines.devices["save"].images["image"] = {"digests": set()}
    engines.start()
    yield engines
    assert not engines.trouble


@pytest.fixture
def run(engines, tmp_path):
    def run(tar, raws=RAWS, cut=None, most=1 << 32):
        device = engines.devices["save"]
        device.tar, device.cut = tar, cut
        path = tmp_path / f"out-{next(_numbers)}"
        done = save(engines.socket("save"), "image", raws, path, most)
        for raw, place in zip(raws, done["layers"]):
            assert not place or content(path, place) == raw
        # Nothing but what was found lies there.
        if done["save"]["code"] in (0, -errno.ENODATA):
            ends = [sum(place) for place in done["layers"] if place]
            assert path.stat().st_size == max(ends, default=0)
        return done

    return run


def blob(data):
    return "blobs/sha256/" + digest_of(data)[7:]


def documents(raws=RAWS, blobs=None, types=(LAYER, LAYER)):
    config = to_json({"rootfs": {"type": "layers", "diff_ids": list(map(digest_of, raws))}})
    manifest = to_json({
        "schemaVersion": 2, "config": {"digest": digest_of(config), "size": len(config)},
        "layers": [{"mediaType": kind, "digest": digest_of(each), "size": len(each)}
                   for each, kind in zip(blobs or raws, types)]})
    return {blob(config): config, blob(manifest): manifest}


def test_foreign_files_are_passed_over(run):
    packed = gzip.compress(RAWS[0])
    files = {
        "a": RAWS[1], "foreign": os.urandom(200_000), blob(packed): packed,
        "garbled": packed[:1000] + os.urandom(100_000), "cut": packed[:-9], "half": packed[:100_000],
        "zstd": zstd(RAWS[0])[:100_000], "other": b"\x28\xb5\x2f\xfd" + os.urandom(200_000), "empty": b"",
        "short": b"\x1f\x8b", "json": b"{" + os.urandom(60_000), "deep": b'{"layers":' + b"[" * 60_000,
        "bomb": zstd(bytes(50_000_000)), "a-large-one": os.urandom(3_000_000)}
    for order in (list(files), list(files)[::-1]):
        done = run(tar_of({name: files[name] for name in order}))
        assert done["save"]["code"] == 0 and done["manifest"] is None, done


@pytest.mark.parametrize("way", ["gzip", "zstd", "plain", "members", "window", "skippable"])
def test_each_way_to_pack_a_layer(run, way):
    pack = {
        "gzip": gzip.compress, "zstd": zstd, "plain": lambda raw: raw,
        "members": lambda raw: gzip.compress(raw[:100_000]) + gzip.compress(raw[100_000:]),
        "window": lambda raw: zstd(raw, "--long=22"),
        "skippable": lambda raw: zstd(raw) + b"\x50\x2a\x4d\x18\5\0\0\0hello"}[way]
    blobs = list(map(pack, RAWS))
    assert run(tar_of({blob(each): each for each in blobs}))["save"]["code"] == 0
    done = run(tar_of({f"{i}/layer.tar": each for i, each in enumerate(blobs)}))
    assert done["save"]["code"] == 0, done


def test_a_layer_that_needs_too_much_memory(run):
    large = layer(big=os.urandom(9_000_000))
    for log, code in ((23, 0), (24, -errno.ENODATA), (27, -errno.ENODATA)):
        done = run(tar_of({"l": zstd(large, f"--long={log}")}), [large])
        assert done["save"]["code"] == code, (log, done)
        assert done["grown"] < 14_000, done  # kB; with the sanitizers'


def test_the_manifest_that_the_engine_knows(run):
    blobs = [gzip.compress(raw) for raw in RAWS]
    files = {blob(each): each for each in blobs}
    own = documents(blobs=blobs)
    other = documents(raws=RAWS[::-1], blobs=blobs)
    for docs in ({**own, **files}, {**files, **own}, {**other, **files, **own}):
        for raws in (RAWS, RAWS[1:]):
            done = run(tar_of(docs), raws)
            assert [each["digest"] for each in done["manifest"]["layers"]] == list(map(digest_of, blobs))
    # Those of another image, and what is none.
    foreign = documents(blobs=blobs, types=("application/x", LAYER))
    for docs in (other, foreign, {"m": own[list(own)[1]]}, {"c": own[list(own)[0]]}):
        assert run(tar_of({**docs, **files}))["manifest"] is None
    # More than may be kept: the layers are there all the same.
    many = {f"{i}": b"{%d" % i for i in range(2500)}
    done = run(tar_of({**many, **files, **own}))
    assert done["save"]["code"] == 0 and done["manifest"] is None and done["grown"] < 14_000, done


def test_documents_do_not_count_as_bytes_of_the_file(run):
    done = run(tar_of({**documents(), **{blob(raw): raw for raw in RAWS}, **documents()}),
               most=sum(map(len, RAWS)))
    assert done["save"]["code"] == 0 and done["manifest"], done


def test_a_stream_that_is_cut(run):
    tar = tar_of({**documents(), **{blob(raw): raw for raw in RAWS}})
    for cut in (0, 1, 511, 513, 2000, len(tar) // 2, len(tar) - 20_000, len(tar) - 1):
        done = run(tar, cut=cut)
        assert done["save"]["code"] == -errno.ECONNRESET, (cut, done)
        # The answer is whole, and the tar is not.
        done = run(tar[:cut])
        assert done["save"]["code"] == (0 if cut == len(tar) - 1 else -errno.EIO), (cut, done)


def test_what_is_no_tar(run):
    for tar in (os.urandom(100_000), b"no tar" * 1000, b"{}", bytes(1024)):
        done = run(tar)
        assert done["save"]["code"] == (-errno.ENODATA if tar == bytes(1024) else -errno.EIO), done


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_each_form_of_a_tar(run, form):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, raw in zip(("d" * 60 + "/" + "n" * 90, "l"), RAWS):
            entry = tarfile.TarInfo("d" * 90)
            entry.type = tarfile.DIRTYPE
            tar.addfile(entry)
            entry = tarfile.TarInfo(name)
            entry.size = len(raw)
            entry.mtime = 1.5 if form == tarfile.PAX_FORMAT else 1
            tar.addfile(entry, io.BytesIO(raw))
            link = tarfile.TarInfo("again")
            link.type, link.linkname = tarfile.SYMTYPE, "l"
            tar.addfile(link)
    done = run(out.getvalue())
    assert done["save"]["code"] == 0, done


def test_the_tar_of_the_tar_command(run, tmp_path):
    for name, raw in zip("ab", RAWS):
        (tmp_path / name).write_bytes(raw)
    done = run(subprocess.run(["tar", "-C", tmp_path, "-c", "a", "b"], capture_output=True, check=True).stdout)
    assert done["save"]["code"] == 0, done
