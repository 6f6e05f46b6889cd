# SPDX-License-Identifier: MIT
"""pullet verify and pullet-update --verify: each signature of a real registry, and why it counts or does not; and the CI of the
examples, which signs before the tag moves. No engine, no daemon, no root."""

import itertools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import textwrap

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

import pullet_cosign  # noqa: E402
from pullet_bus import write_record  # noqa: E402
from pullet_image import actor  # noqa: E402
from pullet_registry import Registry  # noqa: E402
from pullet_signer import Key, Signer  # noqa: E402

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ["PULLET_BUILD"]).resolve()
_numbers = itertools.count(1)
FAR = "2099-01-01T00:00:00Z"


class Fixture:
    """An image with two platforms, a configuration, and keys in the directory keys beside it."""

    def __init__(self, lab, pullet):
        self.lab, self.pullet, self.registry = lab, pullet, Registry(lab, f"verified-{next(_numbers)}")
        self.published = self.registry.publish("app", "stable", [actor("wait"), actor("wait", platform="linux/arm/v7")])
        self.manifest = self.published.manifests[actor("wait").platform]
        self.image = self.registry.ref("app:stable")
        self.keys = pullet.directory / "keys"
        self.keys.mkdir()
        self.signer = Signer(self.registry, "app")

    def key(self, name, **options):
        return Key(self.keys, name, **options)

    def configure(self, **settings):
        self.pullet.configure({"app": {"image": self.image, **settings}})

    def run(self, *arguments, status=0, program="pullet", command=("verify",), user=None, programs=BUILD):
        done = subprocess.run([programs / program, *command, *arguments, "--config", self.pullet.config, "--state-dir", self.pullet.state],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60,
                              env={**os.environ, **self.lab.environment}, user=user)
        assert done.returncode == status, (arguments, done)
        return done

    def app(self, status=0):
        """-> the object of the container"""
        [one] = json.loads(self.run(self.image, "--json", status=status).stdout)["containers"]
        assert one["container"] == "app" and one["allowed"] == (status == 0) == (one["reason"] is None)
        return one


@pytest.fixture
def fixture(lab, pullet):
    return Fixture(lab, pullet)


def test_each_signature_is_shown(fixture):
    prod, cto, other = (fixture.key(name) for name in ("prod", "cto", "other"))
    digest = fixture.published.digest
    fixture.signer.classic(digest, prod, seq=7, image=fixture.signer.image)
    fixture.signer.bundle(digest, cto, seq=9, expires=FAR)
    fixture.signer.classic(digest, other)
    fixture.configure(key=["prod.pub", "cto.pub"])
    found = json.loads(fixture.run(fixture.image, "--json").stdout)
    assert list(found)[:6] == ["image", "digest", "manifest", "config", "platform", "layer_bytes"]
    assert (found["digest"], found["manifest"]) == (digest, fixture.manifest)
    [one] = found["containers"]
    assert one["allowed"] and one["reason"] is None and sorted(one["signed_by"]) == ["cto.pub", "prod.pub"]
    rows = {row["key"]: row for row in one["signatures"]}
    assert len(one["signatures"]) == 3
    assert rows["prod.pub"] == {"digest": digest, "format": "signature", "key": "prod.pub", "key_id": prod.id, "seq": 7,
                                "expires": None, "counts": True, "reason": None}
    assert rows["cto.pub"] == {"digest": digest, "format": "bundle", "key": "cto.pub", "key_id": cto.id, "seq": 9,
                               "expires": FAR, "counts": True, "reason": None}
    assert rows[None]["key_id"] is None and not rows[None]["counts"] and rows[None]["reason"]
    # The same from the program that judges.
    assert json.loads(fixture.run(program="pullet-update", command=("--verify", fixture.image)).stdout) == found
    text = fixture.run(fixture.image).stdout
    assert re.search(r"^ May run: app: yes, signed by (prod.pub and cto.pub|cto.pub and prod.pub)$", text, re.M), text
    assert re.search(r"^KEY +FORMAT +SEQ +EXPIRES +COUNTS$", text, re.M), text
    assert re.search(r"^prod\.pub +signature +7 +- +yes$", text, re.M), text
    assert re.search(rf"^cto\.pub +bundle +9 +{FAR} +yes$", text, re.M), text
    assert re.search(r"^- +signature +- +- +no: \w", text, re.M), text
    assert "no key is set" not in text


def test_without_root_and_for_another_platform(fixture):
    prod = fixture.key("prod")
    fixture.signer.classic(fixture.published.digest, prod)
    fixture.configure(key="prod.pub")
    # A user who may not enter the build directory, and cannot read records.
    programs = fixture.lab.path("programs")
    programs.mkdir()
    for name in ("pullet", "pullet-update", "pullet-fetch"):
        shutil.copy(BUILD / name, programs)
    fixture.lab.directory.chmod(0o755)
    fixture.pullet.state.mkdir(mode=0o700, exist_ok=True)
    text = fixture.run(fixture.image, user="nobody", programs=programs).stdout
    assert "yes, signed by prod.pub" in text and "Without root" in text
    assert "Without root" not in fixture.run(fixture.image).stdout
    found = json.loads(fixture.run(fixture.image, "--json", "--platform", "linux/arm/v7").stdout)
    assert found["manifest"] == fixture.published.manifests["linux/arm/v7"] and found["containers"][0]["allowed"]


def test_what_is_refused_says_why(fixture):
    prod = fixture.key("prod")
    fixture.key("cto")
    fixture.configure(key="prod.pub")
    one = fixture.app(status=1)
    assert one["signatures"] == [] and one["signed_by"] == []
    text = fixture.run(fixture.image, status=1).stdout
    assert "May run: app: " in text and "KEY" not in text and "signed by" not in text
    fixture.signer.bundle(fixture.published.digest, prod, image="registry.example/other")
    one = fixture.app(status=1)
    [row] = one["signatures"]
    assert row["key"] == "prod.pub" and not row["counts"] and "registry.example/other" in row["reason"]
    assert one["signed_by"] == []
    assert re.search(r"^prod\.pub +bundle +- +- +no: .*registry\.example/other", fixture.run(fixture.image, status=1).stdout, re.M)
    fixture.signer.classic(fixture.published.digest, prod)
    assert fixture.app()["signed_by"] == ["prod.pub"]
    # Two keys must have signed, and one has.
    fixture.configure(**{"key": ["prod.pub", "cto.pub"], "key-threshold": "2"})
    assert "2" in fixture.app(status=1)["reason"]
    # A key that is revoked.
    fixture.configure(key="prod.pub", revoked="prod.pub")
    assert all("revoked" in row["reason"] for row in fixture.app(status=1)["signatures"] if row["format"] == "signature")


def test_a_signature_of_this_platform_alone(fixture):
    prod = fixture.key("prod")
    fixture.signer.classic(fixture.manifest, prod)
    fixture.configure(key="prod.pub")
    [row] = fixture.app()["signatures"]
    assert row["digest"] == fixture.manifest and row["counts"]
    assert "yes, for this platform alone" in fixture.run(fixture.image).stdout
    # The other platform's is not signed.
    fixture.run(fixture.image, "--platform", "linux/arm/v7", status=1)


def test_records_count(fixture):
    """A lower number than this device has seen. It says nothing of another machine."""
    prod = fixture.key("prod")
    fixture.signer.classic(fixture.published.digest, prod, seq=41)
    fixture.configure(key="prod.pub")
    assert fixture.app()["signed_by"] == ["prod.pub"]
    write_record(fixture.pullet.state, "app", sequences=[{"key": prod.id, "seq": 42, "digest": "sha256:" + "a" * 64}])
    one = fixture.app(status=1)
    assert "41" in one["reason"] and "42" in one["reason"] and one["signatures"][0]["seq"] == 41
    fixture.run(fixture.image, "--platform", actor("wait").platform)


def test_two_containers_with_keys_of_their_own(fixture):
    prod = fixture.key("prod")
    fixture.key("other")
    fixture.signer.classic(fixture.published.digest, prod)
    fixture.pullet.configure({name: {"image": fixture.image, **more} for name, more in
                              {"app": {"key": "prod.pub"}, "free": {}, "strict": {"key": "other.pub"}}.items()})
    text = fixture.run(fixture.image, status=1).stdout
    assert "May run: app: yes, signed by prod.pub\n" in text and "May run: free: yes (no key is set" in text
    assert "\napp:\nKEY " in text and "\nstrict:\nKEY " in text and "\nfree:\n" not in text


def test_usage(fixture):
    fixture.configure()
    for arguments, words in {("--verify", "UPPER"): "lower case", ("--verify", fixture.image, "app"): "not 'app'",
                             ("--verify", fixture.image, "--poll"): "not 'poll'",
                             ("--verify", fixture.image, "--platform", "arm"): "not of the form"}.items():
        done = fixture.run(program="pullet-update", command=arguments, status=2)
        assert words in done.stderr and not done.stdout


def test_rollout_prints_how_its_policy_is_signed(fixture):
    fixture.key("prod")
    fixture.configure()
    assert "cosign" not in fixture.run("--percent", "5", fixture.image, command=("rollout", "set")).stdout
    fixture.configure(key="prod.pub")
    for command in (("rollout", "set", "--percent", "10"), ("rollout", "halt"), ("rollout", "clear")):
        text = fixture.run(fixture.image, command=command).stdout
        line = re.search(r"^cosign sign --key KEY --tlog-upload=false -y (\S+)@(sha256:\S+)$", text, re.M)
        assert line and line[1] == fixture.registry.ref("app"), text
        status, headers, body = fixture.registry.request(
            "GET", "/v2/app/manifests/stable.rollout", headers={"Accept": "application/vnd.oci.image.manifest.v1+json"})
        assert status == 200 and headers["Docker-Content-Digest"] == line[2]
        assert json.loads(body)["annotations"] == {"vnd.pullet.rollout.image": line[1], "vnd.pullet.rollout.tag": "stable"}
    assert "cosign" not in fixture.run(fixture.image, command=("rollout", "show")).stdout


# --- the CI ------------------------------------------------------------------------------------------

COSIGN = """#!/bin/sh
skopeo inspect --raw docker://$IMAGE:stable 2>/dev/null | sha256sum >>stable
printf '%s\\n' "$@" >>arguments
"""
EXAMPLES = sorted((TOP / "packaging/examples").glob("sign-*.yml"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_sign_before_the_tag_moves(fixture, tmp_path, example):
    script = textwrap.dedent(re.search(r"^ *# publish\n(.*?)^ *# end$", example.read_text(), re.M | re.S)[1])
    conf = tmp_path / ".config/containers"
    conf.mkdir(parents=True)
    (conf / "registries.conf").write_text(f'[[registry]]\nlocation = "{fixture.registry.address}"\ninsecure = true\n')
    (conf / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    (tmp_path / "cosign").write_text(COSIGN)
    (tmp_path / "cosign").chmod(0o755)
    image = fixture.registry.ref("ci")
    environment = {**os.environ, "HOME": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}", "IMAGE": image, "SEQ": "7",
                   "BUILD": "build-7"}
    subprocess.run(["skopeo", "copy", "--all", f"docker://{fixture.image}", f"oci-archive:{tmp_path}/app.tar"], env=environment,
                   check=True, capture_output=True)
    done = subprocess.run(["sh", "-euc", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    status, headers, _ = fixture.registry.request(
        "GET", "/v2/ci/manifests/stable", headers={"Accept": "application/vnd.oci.image.index.v1+json"})
    digest = headers["Docker-Content-Digest"]
    assert status == 200 and (tmp_path / "arguments").read_text().split("\n") == [
        "sign", "--key", "env://COSIGN_KEY", "--tlog-upload=false", "-y", "-a", f"image={image}", "-a", "seq=7", f"{image}@{digest}", ""]
    # There was no such tag when it was signed.
    assert (tmp_path / "stable").read_text().startswith("e3b0c44298fc1c14")


# --- the ten lines of pullet-signing(7) --------------------------------------------------------------


def example(page="pullet-signing.7"):
    """The first example of a page, line by line."""
    text = (TOP / "packaging/man" / page).read_text()
    text = re.search(r"^\.SH EXAMPLES\n.*?^\.EX\n(.*?)^\.EE\n", text, re.M | re.S)[1]
    return text.replace("\\-", "-").replace("\\e", "\\").splitlines()


@pytest.mark.parametrize("suite", pullet_cosign.SUITES)
def test_ten_lines_from_nothing_to_a_signed_fleet(lab, pullet, tmp_path, suite):
    if pullet_cosign.missing(suite):
        pytest.skip(pullet_cosign.missing(suite))
    registry = Registry(lab, f"verified-{next(_numbers)}")
    registry.publish("app", "build-42", [actor("wait"), actor("wait", platform="linux/arm/v7")])
    cosign = pullet_cosign.Cosign(lab, suite, [registry.address])
    conf = cosign.directory / ".config/containers"
    conf.mkdir(parents=True)
    (conf / "registries.conf").write_text(f'[[registry]]\nlocation = "{registry.address}"\ninsecure = true\n')
    (conf / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    lines = "\n".join(example()).replace("registry.example:5000", registry.address)
    if suite == "sid":
        lines = lines.replace("--tlog-upload=false", "--use-signing-config=false --tlog-upload=false")
    lines = lines.splitlines()
    assert len(lines) == 10
    # The CI's.
    cosign.run("sh", "-euc", "\n".join(lines[:5]))
    # The fleet owner's, and the device's: apt puts the files of the package in place.
    assert lines[8] == "apt install ./acme-fleet_1_all.deb"
    lines[8] = f"dpkg-deb -x ./acme-fleet_*_all.deb {tmp_path}"
    done = subprocess.run(["sh", "-euc", "\n".join([lines[1], *lines[5:9]]).replace("packaging/", f"{TOP}/packaging/")],
                          cwd=cosign.directory, capture_output=True, text=True, check=False,
                          env={**os.environ, **lab.environment, "PATH": f"{BUILD}:{os.environ['PATH']}"})
    assert done.returncode == 0, done
    config = tmp_path / "etc/pullet/pullet.conf"
    config.write_text("")
    image = registry.ref("app:stable")

    def run(*words):
        return subprocess.run([BUILD / "pullet", *words, "--config", config, "--state-dir", tmp_path], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=True, env={**os.environ, **lab.environment}).stdout

    assert lines[9] == "pullet verify $image:stable"
    text = run("verify", image)
    assert " May run: app: yes, signed by prod.pub\n" in text
    kind = "bundle" if suite == "sid" else "signature"
    assert re.search(rf"^prod\.pub +{kind} +42 +- +yes$", text, re.M), text
    # And its policy, by the command that is printed.
    line = run("rollout", "set", "--percent", "10", image).splitlines()[-1].replace("KEY", "prod.key")
    if suite == "sid":
        line = line.replace("--tlog-upload=false", "--use-signing-config=false --tlog-upload=false")
    cosign.run("sh", "-euc", line)
    place = line.rpartition("@")[2].replace(":", "-") + ("" if suite == "sid" else ".sig")
    accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"
    assert registry.request("GET", f"/v2/app/manifests/{place}", headers={"Accept": accept})[0] == 200
