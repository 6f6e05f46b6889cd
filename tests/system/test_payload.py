"""The hello image: the output of payload/build, byte by byte, and that it runs."""

import base64
import gzip
import hashlib
import io
import json
import platform
import shutil
import struct
import subprocess
import tarfile
from pathlib import Path

import pytest

BUILD = Path(__file__).resolve().parents[2] / "payload/build"
TEXT = b"Hello Docker World!\n"
FORMS = {"small": "hello", "clean": "hello-clean"}
LIMITS = {
    ("armhf", "small"): 92,
    ("armhf", "clean"): 120,
    ("arm64", "small"): 136,
    ("arm64", "clean"): 172,
    ("amd64", "small"): 124,
    ("amd64", "clean"): 162,
}
RUNNERS = {
    "armhf": [
        ["qemu-arm-static", "-cpu", "arm926"],
        ["qemu-arm-static", "-cpu", "arm1176"],
        ["qemu-arm-static", "-cpu", "cortex-a7"],
    ],
    "arm64": [["qemu-aarch64-static"]],
    "amd64": [["qemu-x86_64-static"]],
}
MACHINES = {"armv7l": "armhf", "aarch64": "arm64", "x86_64": "amd64"}
PLATFORMS = {
    "armhf": {"architecture": "arm", "os": "linux", "variant": "v6"},
    "arm64": {"architecture": "arm64", "os": "linux"},
    "amd64": {"architecture": "amd64", "os": "linux"},
}
OCI = "application/vnd.oci.image."

programs = pytest.mark.parametrize("arch, form", LIMITS)


def build(out, version):
    subprocess.run(
        [BUILD, "--version", version, "--out", out], check=True, stdout=subprocess.DEVNULL
    )
    return out


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return build(tmp_path_factory.mktemp("payload"), "1")


@pytest.fixture(scope="module")
def out2(tmp_path_factory):
    return build(tmp_path_factory.mktemp("payload"), "2")


def tree(path):
    return {
        str(p.relative_to(path)): (p.stat().st_mode, p.read_bytes())
        for p in path.rglob("*")
        if p.is_file()
    }


# The programs


@programs
def test_size(out, arch, form):
    assert (out / arch / FORMS[form]).stat().st_size <= LIMITS[arch, form]


@programs
def test_runs(out, arch, form):
    program = out / arch / FORMS[form]
    runners = [r for r in RUNNERS[arch] if shutil.which(r[0])]
    if MACHINES.get(platform.machine()) == arch:
        runners.append([])
    if not runners:
        pytest.skip(f"nothing here runs {arch}")
    for runner in runners:
        run = subprocess.run([*runner, program], capture_output=True, timeout=60)
        assert (run.stdout, run.stderr, run.returncode) == (TEXT, b"", 0), runner


@programs
def test_header(out, arch, form):
    """The rules that let a program run with any page size, any kernel and qemu."""
    data = (out / arch / FORMS[form]).read_bytes()
    wide = arch != "armhf"
    word, ehsize, phentsize = ("Q", 64, 56) if wide else ("I", 52, 32)
    machine = {"armhf": 40, "arm64": 183, "amd64": 62}[arch]

    assert data[:16] == b"\x7fELF" + bytes([2 if wide else 1, 1, 1]) + bytes(9)
    header = struct.unpack_from(f"<HHI{word}{word}{word}IHHHHHH", data, 16)
    e_type, e_machine, _, entry, phoff, _, flags, e_ehsize, e_phentsize, phnum, *_ = header
    assert (e_type, e_machine, e_ehsize, e_phentsize, phnum) == (2, machine, ehsize, phentsize, 1)
    assert phoff + phentsize <= len(data)

    if wide:
        p_type, p_flags, offset, vaddr, _, filesz, memsz, align = struct.unpack_from(
            "<IIQQQQQQ", data, phoff
        )
    else:
        p_type, offset, vaddr, _, filesz, memsz, p_flags, align = struct.unpack_from(
            "<8I", data, phoff
        )
    assert (p_type, p_flags) == (1, 5), "PT_LOAD, R+X"
    assert filesz == memsz == len(data)
    assert offset == 0
    assert vaddr % 65536 == offset % 65536
    assert vaddr >= 65536, "mmap_min_addr"
    assert vaddr + memsz < (1 << 39 if wide else 0x40000000), "the smallest address spaces"
    assert vaddr <= entry < vaddr + filesz
    if arch == "armhf":
        assert flags >> 24 == 5, "EABI 5; 32-bit emulation on arm64 refuses 0"
        assert entry & 1, "Thumb"
    if arch == "arm64":
        assert entry % 4 == 0
    if form == "clean":
        assert align == 65536
        assert phoff == ehsize


@pytest.mark.parametrize("arch", PLATFORMS)
def test_readelf_is_silent(out, arch):
    run = subprocess.run(
        ["readelf", "-hlSW", out / arch / "hello-clean"], capture_output=True, text=True
    )
    output = run.stdout + run.stderr
    assert run.returncode == 0
    assert run.stderr == ""
    for complaint in ("Warning", "Error", "corrupt", "unknown", "unrecognized"):
        assert complaint.lower() not in output.lower()


# The image


def blob(out, descriptor):
    data = (out / "image/blobs" / descriptor["digest"].replace(":", "/")).read_bytes()
    assert len(data) == descriptor["size"]
    assert descriptor["digest"] == "sha256:" + hashlib.sha256(data).hexdigest()
    return data


def images(out):
    """Walk the layout; yield platform, manifest, configuration and layer of each image."""
    (top,) = json.loads((out / "image/index.json").read_bytes())["manifests"]
    assert top["mediaType"] == OCI + "index.v1+json"
    for entry in json.loads(blob(out, top))["manifests"]:
        assert entry["mediaType"] == OCI + "manifest.v1+json"
        manifest = json.loads(blob(out, entry))
        (layer,) = manifest["layers"]
        assert manifest["config"]["mediaType"] == OCI + "config.v1+json"
        assert layer["mediaType"] == OCI + "layer.v1.tar+gzip"
        for descriptor in (manifest["config"], layer):
            assert base64.b64decode(descriptor["data"], validate=True) == blob(out, descriptor)
        config = json.loads(blob(out, manifest["config"]))
        yield entry, manifest, config, blob(out, layer)


def test_layout(out):
    assert json.loads((out / "image/oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((out / "image/index.json").read_bytes())
    assert index["schemaVersion"] == 2
    (top,) = index["manifests"]
    assert top["annotations"] == {"org.opencontainers.image.ref.name": "1"}


def test_every_blob_is_referenced_and_right(out):
    (top,) = json.loads((out / "image/index.json").read_bytes())["manifests"]
    named = {top["digest"]}
    for entry, manifest, _, _ in images(out):
        named |= {entry["digest"], manifest["config"]["digest"], manifest["layers"][0]["digest"]}
    stored = {"sha256:" + p.name for p in (out / "image/blobs/sha256").iterdir()}
    assert stored == named
    assert len(stored) == 1 + 3 * 3


def test_images(out):
    seen = []
    for entry, manifest, config, layer in images(out):
        arch = next(a for a, p in PLATFORMS.items() if p == entry["platform"])
        seen.append(arch)
        assert manifest["schemaVersion"] == 2
        assert {k: config[k] for k in PLATFORMS[arch]} == PLATFORMS[arch]
        assert config["config"] == {
            "Cmd": ["/hello"],
            "Labels": {"org.opencontainers.image.version": "1"},
        }
        archive = gzip.decompress(layer)
        assert config["rootfs"] == {
            "type": "layers",
            "diff_ids": ["sha256:" + hashlib.sha256(archive).hexdigest()],
        }
        assert len(archive) == 2048 and archive.endswith(bytes(1024)), "with both end blocks"
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            (member,) = tar.getmembers()
            assert (member.name, member.mode, member.uid) == ("hello", 0o555, 0)
            assert tar.extractfile(member).read() == (out / arch / "hello").read_bytes()
    assert sorted(seen) == sorted(PLATFORMS)


def test_build_is_reproducible(out, tmp_path):
    assert tree(build(tmp_path, "1")) == tree(out)


def test_rebuild_leaves_no_stale_blob(out2, tmp_path):
    build(tmp_path, "1")
    assert tree(build(tmp_path, "2")) == tree(out2)


def test_version_changes_the_digest_but_not_the_layer(out, out2):
    for (entry1, manifest1, _, _), (entry2, manifest2, config2, _) in zip(images(out), images(out2)):
        assert entry1["digest"] != entry2["digest"]
        assert manifest1["layers"] == manifest2["layers"]
        assert config2["config"]["Labels"] == {"org.opencontainers.image.version": "2"}


def test_bad_version_is_refused(tmp_path):
    run = subprocess.run([BUILD, "--version", "a b", "--out", tmp_path], capture_output=True)
    assert run.returncode == 2
    assert not list(tmp_path.iterdir())


def test_missing_assembler_is_named(tmp_path):
    run = subprocess.run(
        ["/usr/bin/python3", BUILD, "--out", tmp_path],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert "apt-get install binutils-arm-linux-gnueabihf binutils-aarch64-linux-gnu" in run.stderr


@pytest.mark.skipif(not shutil.which("skopeo"), reason="no skopeo")
def test_skopeo_copies_it_unchanged(out, tmp_path):
    subprocess.run(
        [
            "skopeo", "copy", "--quiet", "--all", "--preserve-digests",
            f"oci:{out}/image:1", f"oci:{tmp_path}/copy:1",
        ],
        check=True,
    )  # fmt: skip
    assert tree(tmp_path / "copy/blobs") == tree(out / "image/blobs")
