# SPDX-License-Identifier: MIT
"""engine_load() on a real engine: an image from files is, afterwards, as after a pull, and the engine gets no
blob from the registry. What is incomplete or wrong is told, and nothing of it is left."""

import errno
import io
import json
import os
import signal
import subprocess
import tarfile

import pytest

from pullet_files import PACK, Files, app, content, inspect, layer, save
from pullet_image import Image, digest_of
from pullet_relay import Relay

NEXT = "localhost/pullet/next:app"
ACTOR = {"Cmd": ["/actor", "say", "it runs", "wait"]}


@pytest.fixture
def files(registry, tmp_path, engine):
    def make(layers=None, **options):
        layers = layers or [(layer(big=os.urandom(300_000)), "gzip"), (app(), "gzip")]
        return Files(registry, tmp_path, layers, **{**ACTOR, **options})

    yield make
    engine.clear()


def is_graph_driver(engine):
    return engine.kind.keeps_digests


def steps(engine):
    """Only a graph driver needs the pull."""
    return ("load", "pull") if is_graph_driver(engine) else ("load",)


def facts(engine, name):
    seen = engine.inspect_image(name)
    return seen and {key: sorted(seen[key]) if isinstance(seen[key], list) else seen[key] for key in
                     ("Id", "RepoTags", "RepoDigests", "Size", "RootFS", "Config", "Architecture",
                      "Os", "Created")}


def drop(engine, name):
    return engine.request("DELETE", f"/images/{name}")


def left(engine, image):
    """What a load has left of itself, by name."""
    return [name for name in (NEXT, image.pinned) if engine.inspect_image(name)] \
        + sorted(engine.containers())


def runs(engine, name):
    engine.run("tried", name)
    engine.wait("tried", lambda c: "it runs" in engine.logs("tried"))
    engine.remove_container("tried")


def kinds(engine):
    return ["gzip", "plain"] if engine.release.startswith("20.") else ["gzip", "zstd", "plain"]


def test_tar_is_what_tarfile_makes(files, tmp_path, engine):
    image = files([(layer(a=b"1" * 700), "gzip"), (app(), "plain"), (layer(a=b"1" * 700), "gzip")],
                  index=True)
    for one_name in (False, True):
        out = tmp_path / "tar"
        image.load(engine, "tar", socket=str(out), **{"one-name": one_name},
                   layers=[image.blobs[0], image.blobs[1], None])

        def blob(data):
            return "blobs/sha256/" + digest_of(data)[7:]

        names = [image.pinned, NEXT][:1 if one_name else 2]
        entry = {"mediaType": image.type, "digest": digest_of(image.top), "size": len(image.top)}
        content = {
            "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
            "index.json": {"schemaVersion": 2, "manifests": [
                {**entry, "annotations": {"io.containerd.image.name": name}} for name in names]},
            "manifest.json": [{"Config": blob(image.config), "RepoTags": [NEXT],
                               "Layers": list(map(blob, image.blobs))}],
            **{blob(data): data for data in (image.manifest, image.top, image.config,
                                             *image.blobs[:2])}}
        want = io.BytesIO()
        with tarfile.open(fileobj=want, mode="w", format=tarfile.GNU_FORMAT) as tar:
            for name, data in content.items():
                if not isinstance(data, bytes):
                    data = json.dumps(data, separators=(",", ":")).encode()
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        got = out.read_bytes()
        assert got == want.getvalue()[:len(got)]  # tarfile fills it up to a record
        assert not want.getvalue()[len(got):].strip(b"\0") and got[-1024:] == bytes(1024)
        subprocess.run(["tar", "-tf", out], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("media, index", [("oci", False), ("oci", True), ("docker", False)])
def test_an_image_is_as_after_a_pull(files, registry, engine, index, media):
    for how in kinds(engine) if index else ["gzip"]:
        image = files([(layer(big=os.urandom(300_000)), how), (app(how), how)], index=index,
                      media=media)
        mark = registry.mark()
        done = image.load(engine, *steps(engine))
        requests = registry.requests(mark)
        assert all(done[step]["code"] == 0 for step in steps(engine)), (how, done)
        assert done["sent"] == done["of"] > 300_000
        assert not [r for r in requests if "/blobs/" in r.path], requests
        # GET /v2/, the document, and the manifest behind an index
        assert len(requests) == (2 + index if is_graph_driver(engine) else 0), requests
        assert left(engine, image) == [NEXT, image.pinned]
        runs(engine, image.pinned)
        drop(engine, NEXT)
        loaded = facts(engine, image.pinned)
        drop(engine, image.pinned)
        assert not left(engine, image)
        engine.pull(image.pinned)
        assert loaded == facts(engine, image.pinned), how
        engine.clear()


@pytest.mark.parametrize("index", [False, True], ids=["manifest", "index"])
def test_bytes_between_engine_and_registry(lab, files, registry, engine, index):
    relay = Relay(lab, registry.address)
    image = files(index=index, address=relay.address)
    done = image.load(engine, *steps(engine))
    relay.settle()
    assert done[steps(engine)[-1]]["code"] == 0, done
    print(f"{engine.release} {engine.kind.name} index={index}: up {relay.up} down {relay.down}")
    if is_graph_driver(engine):
        assert 0 < relay.down <= 2600 and 0 < relay.up <= 1900  # 0.3 kB of it: tries TLS first
    else:
        assert relay.connections == 0


def test_layers_that_the_engine_has_are_left_out(files, engine):
    base = layer(big=os.urandom(300_000))
    first, second = (files([(base, "gzip"), (app(version), "gzip")], index=True)
                     for version in "12")
    engine.pull(first.pinned)
    done = second.load(engine, *steps(engine), layers=[None, second.blobs[1]])
    assert all(done[step]["code"] == 0 for step in steps(engine)), done
    assert done["of"] < 30_000
    runs(engine, second.pinned)


def test_zstd_reaches_an_old_engine_unpacked(files, engine):
    image = files([(layer(big=os.urandom(300_000)), "zstd"), (app(), "gzip")], index=True)
    done = image.load(engine, *steps(engine), layers=[image.file(image.raws[0]), image.blobs[1]])
    if not engine.release.startswith("20."):
        assert (done["load"]["code"], done["sent"]) == (-errno.EKEYREJECTED, 0), done
        return
    assert all(done[step]["code"] == 0 for step in steps(engine)), done
    runs(engine, image.pinned)


def refused(engine, image, code, words=None, **changes):
    """The load ends with this error, nothing of it is left, and then a good one works."""
    done = image.load(engine, **changes)
    assert done["load"]["code"] == -code, done
    assert not words or words in done["load"]["error"], done
    assert done["load"]["origin"] == 0, done
    assert not left(engine, image), left(engine, image)
    done = image.load(engine, *steps(engine))
    assert all(done[step]["code"] == 0 for step in steps(engine)), done
    runs(engine, image.pinned)


def test_a_layer_that_is_nowhere(files, engine):
    image = files()
    refused(engine, image, errno.ENODATA, layers=[None, image.blobs[1]])


def test_a_file_that_is_cut_short(files, engine):
    image = files()
    name, size = digest_of(image.blobs[0]), len(image.blobs[0])
    refused(engine, image, errno.EBADMSG, "shorter",
            layers=[image.file(image.blobs[0][:-5000], name, size=size), image.blobs[1]])


@pytest.mark.parametrize("what", ["a tar", "no tar"])
def test_other_bytes_under_a_good_name(files, engine, what):
    image = files()
    other = layer(other=os.urandom(300_000)) if what == "a tar" else os.urandom(300_000)
    refused(engine, image, errno.EBADMSG, "the file of layer 1 is not",
            layers=[image.file(PACK["gzip"](other), digest_of(image.blobs[0])), image.blobs[1]])


def test_documents_are_checked_before_a_byte_is_sent(files, engine):
    image = files(index=True)
    other = image.config.replace(b"it runs", b"it ruins")
    foreign = files(index=True)
    for code, changes in [
            (errno.EBADMSG, {"config": image.file(other, digest_of(image.config))}),
            (errno.EBADMSG, {"manifest": image.file(foreign.manifest, digest_of(image.manifest))}),
            (errno.EBADMSG, {"top": image.file(foreign.top, digest_of(image.top))}),
            (errno.EKEYREJECTED, {"config": image.file(other)}),
            (errno.EKEYREJECTED, {"manifest": image.file(foreign.manifest)}),
            (errno.EKEYREJECTED, {"top": image.file(foreign.top)}),
            (errno.EKEYREJECTED, {"layers": [image.blobs[1], image.blobs[0]]}),
            (errno.EKEYREJECTED, {"layers": image.blobs[:1]})]:
        if isinstance(changes.get("layers"), list):
            changes["layers"] = [image.file(blob) for blob in changes["layers"]]
        done = image.load(engine, **changes)
        assert (done["load"]["code"], done["sent"]) == (-code, 0), (changes, done)
    assert not left(engine, image)


# What a publisher may push: tar, as the config has it, and how it is packed.
FAULTS = {
    "diff-id": {"wrong": True},
    "no-tar": {"raw": os.urandom(300_000)},
    "cut": {"pack": lambda raw: PACK["gzip"](raw)[:-5000]},
    "garbled": {"pack": lambda raw: PACK["gzip"](raw)[:200_000] + bytes(100_000)},
    "no-gzip": {"pack": lambda raw: raw[::-1]},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_image_that_no_engine_can_unpack(files, engine, fault):
    fault = FAULTS[fault]
    bad = (fault.get("raw") or layer(big=os.urandom(300_000)), fault.get("pack", "gzip"))
    image = files([bad, (app(), "gzip")], wrong="wrong" in fault)
    done = image.load(engine)
    print(done["load"]["error"])
    assert done["load"]["code"] == -errno.EKEYREJECTED, done
    assert not left(engine, image)
    # With a layer left out it may be the engine's fault.
    shared = files([(app(), "gzip"), bad], wrong="wrong" in fault)
    engine.pull(files([(app(), "gzip")]).pinned)
    done = shared.load(engine, layers=[None, shared.blobs[1]])
    assert done["load"]["code"] == -errno.EIO, done


def test_an_engine_that_dies_in_the_middle(files, engine):
    image = files([(layer(big=os.urandom(3_000_000)), "plain"), (app(), "plain")])
    driver = image.start(engine, **{"pause-at": 1_000_000})
    assert os.WIFSTOPPED(os.waitpid(driver.pid, os.WUNTRACED)[1])
    engine.kill9()
    driver.send_signal(signal.SIGCONT)
    done = json.loads(driver.communicate()[0])
    assert done["load"]["code"] == -errno.ECONNRESET, done
    assert 1_000_000 < done["sent"] < done["of"]
    engine.start()
    done = image.load(engine, *steps(engine))
    assert all(done[step]["code"] == 0 for step in steps(engine)), done
    runs(engine, image.pinned)


def test_memory_does_not_grow_with_the_image(files, engine):
    image = files([(layer(big=bytes(200_000_000)), "plain"), (app(), "gzip")])
    done = image.load(engine)
    assert done["load"]["code"] == 0 and done["of"] > 200_000_000, done
    assert done["grown"] < 8192, done  # kB; with the sanitizers'


def test_the_image_outlives_a_prune(files, engine):
    """That is what the tag is for. A plain prune takes images that are known by a digest only."""
    image = files()
    assert image.load(engine)["load"]["code"] == 0
    engine.call("POST", "/images/prune")
    if is_graph_driver(engine):
        assert image.load(engine, "pull")["pull"]["code"] == 0
        engine.call("POST", "/images/prune")
    runs(engine, image.pinned)


def test_a_pull_that_has_something_to_come_ends(files, engine):
    image = files()
    done = image.load(engine, "pull")
    assert done["pull"]["code"] == -errno.ENODATA, done
    assert "load is not complete" in done["pull"]["error"]
    assert not left(engine, image)


def test_the_proof_leaves_no_container_and_no_volume(files, engine):
    image = files(Volumes={"/data": {}})
    old = files()
    engine.pull(old.pinned)
    engine.create("pullet-load-app", old.pinned)  # as after a crash
    assert image.load(engine)["load"]["code"] == 0
    if engine.kind.containerd_store:
        assert not engine.containers()
        assert not engine.call("GET", "/volumes")["Volumes"]


def test_an_image_of_another_platform(files, engine):
    """containerd's store does not unpack it unless it is asked to."""
    image = files(index=True, platform={"os": "linux", "architecture": "s390x"})
    done = image.load(engine, *steps(engine)[:1], platform="linux/s390x")
    assert done["load"]["code"] == 0, done
    if engine.kind.containerd_store and engine.release.startswith("28."):
        seen, = engine.call("GET", "/v1.47/images/json?manifests=1", versioned=False)
        assert [m["ImageData"]["Size"]["Unpacked"] > 300_000 for m in seen["Manifests"]] == [True]


# --- layers that a delta made ------------------------------------------------------------------

BASIS = "localhost/pullet/basis:app"


def ways(engine):
    """How a rebuilt layer is packed."""
    return ["plain"] if engine.release.startswith("20.") else ["zstd", "plain"]


def rebuilds(engine):
    if engine.kind.program == "podman":
        pytest.skip("podman takes no image with two manifests")


def loaded(engine, image, *what, **changes):
    """The image is loaded without a blob of the registry, and runs."""
    done = image.load(engine, *(what or steps(engine)), **changes)
    assert all(done[step]["code"] == 0 for step in what or steps(engine)), done
    runs(engine, image.pinned)
    return done


def rename(engine, old, new):
    repository, tag = new.rsplit(":", 1)
    engine.call("POST", f"/images/{old}/tag?repo={repository}&tag={tag}")
    drop(engine, old)


@pytest.mark.parametrize("media, index", [("oci", True), ("docker", False)])
def test_a_rebuilt_image_is_as_after_a_pull(files, registry, engine, index, media):
    rebuilds(engine)
    for how in ways(engine):
        image = files(index=index, media=media)
        mark = registry.mark()
        done = loaded(engine, image, layers=[image.rebuilt(i, how) for i in range(2)])
        requests = registry.requests(mark)
        assert not [r for r in requests if "/blobs/" in r.path], requests
        assert len(requests) == (2 + index if is_graph_driver(engine) else 0), requests
        assert done["of"] > 300_000
        if not is_graph_driver(engine):  # this is what tells the layers
            assert engine.inspect_image(NEXT)["RootFS"]["Layers"] == list(map(digest_of, image.raws))
        seen = inspect(engine, image.pinned)
        for name in (NEXT, image.pinned):
            drop(engine, name)
        assert not left(engine, image)
        engine.pull(image.pinned)
        assert_same(engine, image, seen, inspect(engine, image.pinned))
        engine.clear()


UNLIKE = ("RepoTags", "Size", "Metadata", "Descriptor", "Identity")  # of names, moments, and files that are not here


def assert_same(engine, image, seen, pulled):
    """The two answers of the driver agree."""
    for kind in ("image", "identified"):
        mine, theirs = seen[kind], pulled[kind]
        assert theirs["RootFS"]["Layers"] == list(map(digest_of, image.raws))
        assert theirs["RepoDigests"] == mine["RepoDigests"] == [image.pinned]
        keys = [key for key in {**mine, **theirs} if key not in UNLIKE and mine.get(key) != theirs.get(key)]
        assert not keys, [(key, mine.get(key), theirs.get(key)) for key in keys]


def test_rebuilt_layers_beside_those_of_the_registry(files, registry, engine):
    rebuilds(engine)
    base = layer(big=os.urandom(300_000))
    old = files([(base, "gzip"), (layer(old=b"1"), "gzip")], media="docker")
    engine.pull(old.pinned)
    mark = registry.mark()
    image = files([(base, "gzip"), (layer(new=os.urandom(200_000)), "gzip"), (app(), "gzip")])
    done = loaded(engine, image, layers=[None, image.rebuilt(1, ways(engine)[0]), image.blobs[2]])
    assert 200_000 < done["of"] < 300_000
    assert not [r for r in registry.requests(mark) if "/blobs/" in r.path]


def basis_of(engine, image):
    """Where the engine has the content of an image of which layers were rebuilt."""
    return image.pinned if is_graph_driver(engine) else BASIS


def test_one_delta_after_the_other(files, registry, tmp_path, engine):
    """Each is made of what the one before has left; older images are removed, and an operator prunes."""
    rebuilds(engine)
    base = layer(big=os.urandom(300_000))
    images = [files([(base, "gzip"), (layer(version=b"%d" % i * 100_000), "gzip"), (app(), "gzip")], index=i == 2)
              for i in range(4)]
    engine.pull(images[0].pinned)
    name = images[0].pinned
    mark = registry.mark()
    for old, new in zip(images, images[1:]):
        out = tmp_path / f"old-{new.repository[:5]}"
        done = save(engine.socket, name, old.raws[1:], out)
        assert done["save"]["code"] == 0, done
        assert [content(out, place) for place in done["layers"]] == old.raws[1:]
        shared = done["manifest"]["layers"] if done["manifest"] else None
        assert shared or is_graph_driver(engine)
        loaded(engine, new, layers=[None, new.rebuilt(1, ways(engine)[-1]), new.rebuilt(2, ways(engine)[0])],
               shared=shared)
        rename(engine, NEXT, BASIS)
        drop(engine, old.pinned)
        name = basis_of(engine, new)
        engine.call("POST", "/images/prune")
        if new is images[2]:
            engine.restart()
        runs(engine, new.pinned)
        for each in (name, new.pinned):
            assert inspect(engine, each)["identified"]["RootFS"]["Layers"] == list(map(digest_of, new.raws))
        assert not engine.inspect_image(old.pinned)
    assert not [r for r in registry.requests(mark) if "/blobs/" in r.path]


def test_a_plain_update_after_a_delta(files, registry, tmp_path, engine):
    """The lowest layer is in containerd's store by another file than the registry's: the local manifest goes on saying
    by which."""
    rebuilds(engine)
    base = layer(big=os.urandom(300_000))
    old, new = (files([(base, "gzip"), (layer(version=version * 100), "gzip"), (app(), "gzip")]) for version in (b"1", b"2"))
    loaded(engine, old, layers=[old.rebuilt(i, ways(engine)[0]) for i in range(3)])
    rename(engine, NEXT, BASIS)
    manifest = save(engine.socket, basis_of(engine, old), [], "none")["manifest"]
    mark = registry.mark()
    done = loaded(engine, new, layers=[None, *new.blobs[1:]], shared=manifest and manifest["layers"])
    assert done["of"] < 30_000 and not [r for r in registry.requests(mark) if "/blobs/" in r.path]
    rename(engine, NEXT, BASIS)
    drop(engine, old.pinned)
    engine.call("POST", "/images/prune")
    assert inspect(engine, new.pinned)["identified"]["RootFS"]["Layers"] == list(map(digest_of, new.raws))
    done = save(engine.socket, basis_of(engine, new), new.raws, tmp_path / "out")
    assert done["save"]["code"] == 0, done
    runs(engine, new.pinned)


def test_a_basis_that_was_pruned(files, tmp_path, engine):
    """The image goes on to run; a delta on top of it cannot be."""
    rebuilds(engine)
    if is_graph_driver(engine):
        pytest.skip("the image itself is the basis")
    image = files(Env=["A=b"], Labels={"a": "b"}, Volumes={"/data": {}}, ExposedPorts={"80/tcp": {}},
                  User="7", WorkingDir="/data", StopSignal="SIGINT",
                  layers=[(layer(big=os.urandom(300_000)), "gzip"), (layer(new=os.urandom(1000)), "gzip")])
    # Its layer is new: a file of one that was here before would be found.
    image_alone = files([(layer(alone=os.urandom(1000)), "gzip")], Cmd=None)
    for each in (image, image_alone):
        loaded_only = each.load(engine, layers=[each.rebuilt(i) for i in range(len(each.raws))])
        assert loaded_only["load"]["code"] == 0, loaded_only
        whole = inspect(engine, each.pinned)
        assert whole["image"]["Config"].get("Cmd") == (None if each is image_alone else ACTOR["Cmd"])
        drop(engine, NEXT)
        engine.restart()
        done = save(engine.socket, each.pinned, each.raws, tmp_path / "out")
        assert done["save"]["code"] == -errno.ENODATA and done["manifest"] is None, done
        assert (tmp_path / "out").stat().st_size == 0
        # What the engine does not tell of it, a container does.
        alone = inspect(engine, each.pinned)["image"]
        assert {key: value for key, value in alone["Config"].items() if value} \
            == {key: value for key, value in whole["image"]["Config"].items() if value}
        assert (alone["Os"], alone["Architecture"]) == (whole["image"]["Os"], whole["image"]["Architecture"])
        assert not engine.containers() and not engine.call("GET", "/volumes")["Volumes"]


def test_the_platform_of_a_rebuilt_image(files, engine):
    rebuilds(engine)
    image = files(index=True)
    done = image.load(engine, *steps(engine), layers=[image.rebuilt(i, ways(engine)[0]) for i in range(2)])
    assert all(done[step]["code"] == 0 for step in steps(engine)), done
    own, other = Image().platform, "linux/s390x"
    for name in (image.pinned, NEXT):
        answer = inspect(engine, name, own)
        assert answer["inspect"]["code"] == 0 and answer["image"]["Config"]["Cmd"] == ACTOR["Cmd"], answer
    if engine.release.startswith("28.") and not is_graph_driver(engine):
        assert inspect(engine, image.pinned, other)["inspect"]["code"] == -errno.ENOENT
    rename(engine, NEXT, BASIS)
    assert inspect(engine, image.pinned, own)["identified"]["RootFS"]["Layers"] == list(map(digest_of, image.raws))


@pytest.mark.parametrize("shared", [False, True], ids=["whole", "upper"])
def test_a_rebuilt_layer_with_other_content(files, engine, shared):
    rebuilds(engine)
    base = layer(big=os.urandom(300_000))
    image = files([(base, "gzip"), (app(), "gzip")])
    if shared:
        engine.pull(files([(base, "gzip")]).pinned)
    for how in ways(engine):
        lower = None if shared else image.rebuilt(0, how)
        refused(engine, image, errno.EIO, layers=[lower, image.rebuilt(1, how, raw=layer(actor=b"other"))])
        for name in (NEXT, image.pinned):
            drop(engine, name)
    assert image.load(engine, layers=[image.rebuilt(0, ways(engine)[0])] * 2)["load"]["code"] == -errno.EIO
    assert not left(engine, image)


def test_a_rebuilt_file_that_was_changed(files, engine):
    rebuilds(engine)
    image = files()
    other = image.rebuilt(0, ways(engine)[0])
    good = dict(other)
    with open(other["path"], "r+b") as file:
        file.seek(1000)
        file.write(b"other")
    refused(engine, image, errno.EBADMSG, "the file of layer 1 is not",
            layers=[good, image.rebuilt(1, ways(engine)[0])])


def test_a_basis_that_the_engine_does_not_have(files, engine):
    """Neither the snapshot nor the file of a layer that is left out."""
    rebuilds(engine)
    image = files()
    refused(engine, image, errno.ENODATA, layers=[None, image.rebuilt(1, ways(engine)[0])],
            shared=[{"mediaType": "application/vnd.oci.image.layer.v1.tar", "size": 10,
                     "digest": digest_of(b"nowhere")}])


def test_what_an_engine_cannot_take(files, engine):
    image = files()
    how = {"podman": "plain"}.get(engine.kind.program, "zstd")
    done = image.load(engine, layers=[image.rebuilt(i, how) for i in range(2)])
    if engine.kind.program == "podman" or engine.release.startswith("20."):
        assert (done["load"]["code"], done["sent"]) == (-errno.EOPNOTSUPP, 0), done
    else:
        assert done["load"]["code"] == 0, done
