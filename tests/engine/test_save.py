# SPDX-License-Identifier: MIT
"""engine_save() on a real engine: what it takes out of an image are the bytes of its layers, whatever the engine and
however the registry had packed them. A stub that misbehaves is in tests/system/test_save.py."""

import errno
import os

import pytest

from pullet_files import Files, app, content, layer, save
from pullet_image import digest_of


@pytest.fixture
def files(registry, tmp_path, engine):
    def make(layers, **options):
        image = Files(registry, tmp_path, layers, **options)
        engine.pull(image.pinned)
        return image

    yield make
    engine.clear()


def kinds(engine):
    return ["gzip", "plain"] if engine.release.startswith("20.") else ["gzip", "zstd", "plain"]


def test_layers_are_those_of_their_diff_ids(files, tmp_path, engine):
    for how in kinds(engine):
        # Of layers that it has unpacked already containerd's store brings no other files.
        raws = [layer(base=os.urandom(3_000_000)), layer(big=os.urandom(300_000)), layer(how=how.encode())]
        image = files([(raw, how) for raw in raws], index=how != "plain",
                      media="docker" if how == "gzip" else "oci")
        for first in range(len(raws)):
            path = tmp_path / f"{how}-{first}"
            path.write_bytes(b"what was there")
            done = save(engine.socket, image.pinned, raws[first:], path)
            assert done["save"]["code"] == 0, done
            assert [content(path, place) for place in done["layers"]] == raws[first:]
            assert path.read_bytes()[:14] == b"what was there"
            assert path.stat().st_size == 14 + sum(map(len, raws[first:]))
            if engine.kind.containerd_store:
                assert [each["digest"] for each in done["manifest"]["layers"]] == list(map(digest_of, image.blobs))
            print(how, first, done["grown"])


def test_the_same_layer_twice_lies_there_once(files, tmp_path, engine):
    raws = [layer(big=os.urandom(300_000)), app(), layer(tiny=b"1"), app()]
    image = files([(raw, "gzip") for raw in raws])
    done = save(engine.socket, image.pinned, raws[1:], tmp_path / "out")
    assert done["save"]["code"] == 0, done
    assert [content(tmp_path / "out", place) for place in done["layers"]] == raws[1:]
    assert (tmp_path / "out").stat().st_size == len(raws[1]) + len(raws[2])


def test_what_the_engine_does_not_have(files, tmp_path, engine):
    raws = [layer(big=os.urandom(300_000)), app()]
    image = files([(raw, "gzip") for raw in raws])
    done = save(engine.socket, image.pinned, [raws[0], layer(other=b"1")], tmp_path / "out")
    assert done["save"]["code"] == -errno.ENODATA and done["layers"][0] and not done["layers"][1], done
    assert (tmp_path / "out").stat().st_size == len(raws[0])
    done = save(engine.socket, image.name + ":none", raws, tmp_path / "none")
    assert done["save"]["code"] == -errno.ENOENT, done


def test_the_file_has_no_more_bytes_than_allowed(files, tmp_path, engine):
    raws = [layer(big=os.urandom(300_000)), app()]
    image = files([(raw, "gzip") for raw in raws])
    size = sum(map(len, raws))
    assert save(engine.socket, image.pinned, raws, tmp_path / "out", size)["save"]["code"] == 0
    done = save(engine.socket, image.pinned, raws, tmp_path / "less", size - 1)
    assert done["save"]["code"] == -errno.ENODATA, done
    assert (tmp_path / "less").stat().st_size in map(len, raws)


def test_memory_does_not_grow_with_the_image(files, tmp_path, engine):
    for how in kinds(engine):
        raws = [layer(big=os.urandom(1_000_000) * 50), layer(how=how.encode())]
        image = files([(raw, how) for raw in raws])
        done = save(engine.socket, image.pinned, raws, tmp_path / how)
        assert done["save"]["code"] == 0, done
        print(how, done["grown"])
        assert done["grown"] < 12_288, done  # kB; with the sanitizers'
