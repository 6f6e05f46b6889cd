# SPDX-License-Identifier: MIT
"""pullet rollout, and other tools, with a real registry: devices read the policies that they write."""

import json
import os
import pathlib
import re
import socket
import subprocess

import pytest

from pullet_image import MEDIA, ROLLOUT, actor, digest_of
from pullet_registry import Registry

BUILD = pathlib.Path(os.environ.get("PULLET_BUILD", "build"))
MANUAL = pathlib.Path(__file__).resolve().parents[2] / "packaging/man/pullet-rollout.5"
HOUR = ["2026-12-01T08:00:00Z", "2126-12-01T09:00:00Z"]


class Operator:
    """Runs commands on a machine without a configuration."""

    def __init__(self, registry, directory, repository):
        self.registry, self.directory, self.repository = registry, directory, repository
        self.image = registry.ref(repository + ":stable")
        self.config = directory / "pullet.conf"
        self.config.write_text("")
        self.environment = {**os.environ, "HOME": str(directory)}

    def run(self, *words, status=0):
        done = subprocess.run([BUILD / "pullet", "--config", self.config, "rollout", *words, self.image],
                              capture_output=True, text=True, check=False, env=self.environment)
        assert done.returncode == status, done
        return done.stdout if status == 0 else done.stderr

    def json(self, *words):
        return json.loads(self.run(*words, "--json"))

    def publish(self, version):
        return self.registry.publish(self.repository, "stable",
                                     actor("wait", Labels={"version": str(version)}))

    def policy(self):
        """The policy in the registry, read by the specification."""
        base = f"/v2/{self.repository}"
        scope = f"repository:{self.repository}:pull"
        status, headers, body = self.registry.request("GET", base + "/manifests/stable.rollout",
                                                      scope=scope, headers={"Accept": MEDIA["oci"]["manifest"]})
        assert status == 200, body
        manifest = json.loads(body)
        assert manifest["artifactType"] == ROLLOUT and headers["Content-Type"] == manifest["mediaType"]
        (layer,) = manifest["layers"]
        status, _, body = self.registry.request("GET", f"{base}/blobs/{layer['digest']}", scope=scope)
        assert status == 200 and digest_of(body) == layer["digest"] and len(body) == layer["size"]
        assert layer["mediaType"] == ROLLOUT
        return json.loads(body)


@pytest.fixture
def operator(registry, tmp_path):
    return Operator(registry, tmp_path, "ops/" + re.sub(r"\W", "-", tmp_path.name).strip("-"))


def test_set_show_halt_resume(operator):
    first = operator.publish(1)
    assert "Policy: none; devices update at once" in operator.run("show")
    told = operator.run("set", "--percent", "12.5%", "--ring", "canary=100%,lab=0.5",
                        "--minimum-version", "0.1.0")
    assert told == operator.run("show")
    assert f"Digest: {first.digest}\n" in told and "Policy: sequence 1, for this image\n" in told
    assert " Share: 12.5 % of the devices now\n" in told and " canary: 100 %" in told
    assert operator.policy() == {
        "version": 1, "sequence": 1, "target": first.digest, "percent": 12.5,
        "rings": {"canary": {"percent": 100}, "lab": {"percent": 0.5}}, "minimum-version": "0.1.0"}
    second = operator.publish(2)
    assert f"for another image, {first.digest}: no device updates" in operator.run("show")
    ramp = ",".join(f"{at}={share}" for at, share in zip(HOUR, (1, 100)))
    told = operator.run("set", "--ramp", ramp, "--not-before", HOUR[0])
    assert f"100 % from {HOUR[1]}\n" in told
    policy = operator.policy()
    assert policy == {"version": 1, "sequence": 2, "target": second.digest, "not-before": HOUR[0],
                      "ramp": [{"at": HOUR[0], "percent": 1}, {"at": HOUR[1], "percent": 100}]}
    assert "Halted: yes" in operator.run("halt")
    assert operator.policy() == {**policy, "sequence": 3, "halt": True}
    assert "Halted" not in operator.run("resume")
    assert operator.policy() == {**policy, "sequence": 4, "halt": False}


def test_a_ring_alone(operator):
    """The other devices have no share then."""
    operator.publish(1)
    assert " Share: 0 % of the devices now\n" in operator.run("set", "--ring", "canary=100")
    assert operator.policy()["percent"] == 0 and operator.policy()["rings"] == {"canary": {"percent": 100}}


def test_json_for_scripts(operator):
    first = operator.publish(1)
    empty = operator.json("show")
    assert empty == {"image": operator.image, "digest": first.digest, "policy": None, "fault": None,
                     "published": None}
    written = operator.json("set", "--percent", "1")
    assert written["published"] == operator.registry.request(
        "HEAD", f"/v2/{operator.repository}/manifests/stable.rollout",
        headers={"Accept": MEDIA["oci"]["manifest"]})[1]["Docker-Content-Digest"]
    assert written["policy"] == operator.policy() == operator.json("show")["policy"]


def test_target_ahead_of_the_image(operator):
    operator.publish(1)
    digest = "sha256:" + "5" * 64
    operator.run("set", "--percent", "1", "--target", digest)
    assert operator.policy()["target"] == digest


def test_the_writers_own_keys_survive_a_halt(operator):
    published = operator.publish(1)
    policy = {"version": 1, "sequence": 41, "target": published.digest, "percent": 3, "x-ticket": [1]}
    operator.registry.publish_rollout(operator.repository, "stable", policy)
    operator.run("halt")
    assert operator.policy() == {**policy, "sequence": 42, "halt": True}


def test_what_is_not_valid_is_shown_and_replaced_on_demand(operator):
    operator.publish(1)
    operator.registry.publish_rollout(operator.repository, "stable", b'{"version": 1}')
    told = operator.run("show")
    assert "not valid, no device updates: " in told and '"sequence"' in told
    for words in (["set", "--percent", "1"], ["halt"]):
        assert "--sequence N" in operator.run(*words, status=1)
    operator.run("set", "--percent", "1", "--sequence", "9")
    assert operator.policy()["sequence"] == 9
    assert "has 9, and devices refuse" in operator.run("set", "--percent", "1", "--sequence", "9", status=1)


@pytest.mark.parametrize("words,why", [
    ([], "missing option --percent, --ramp or --ring"),
    (["--percent", "1", "--ramp", f"{HOUR[0]}=1"], "options --percent and --ramp are mutually exclusive"),
    (["--percent", "101"], "--percent: '101' is not a percentage from 0 to 100"),
    (["--percent", "ten"], "--percent: 'ten' is not a percentage"),
    (["--percent", "10%%"], "--percent: '10%%' is not a percentage"),
    (["--ramp", "tomorrow=5"], "--ramp: 'tomorrow' is not a time like 2026-12-01T08:00:00Z"),
    (["--ramp", f"{HOUR[0]}=-1"], "--ramp: '-1' is not a percentage"),
    (["--ring", "canary=x"], "--ring: 'x' is not a percentage"),
    (["--percent", "1", "--ring", "canary"], "'canary' has no =NUMBER"),
    (["--percent", "1", "--ring", "a b=1"], "not a valid ring name"),
    (["--percent", "1", "--not-before", "tomorrow"], "not a time of RFC 3339"),
    (["--percent", "1", "--target", "stable"], '"target"'),
    (["--percent", "1", "--sequence", "-1"], "not a positive integer"),
    (["--ramp", f"{HOUR[1]}=1,{HOUR[0]}=2"], "decreases"),
])
def test_nothing_wrong_is_pushed(operator, words, why):
    operator.publish(1)
    assert why in operator.run("set", *words, status=2)
    assert operator.json("show")["policy"] is None


def test_halt_without_a_policy(operator):
    operator.publish(1)
    assert "pullet rollout set --percent 0" in operator.run("halt", status=1)


def test_no_such_image(operator):
    assert "does not have it" in operator.run("show", status=1)
    operator.image += "@sha256:" + "1" * 64
    assert "needs a tag" in operator.run("show", status=1)


@pytest.mark.parametrize("how", ["basic", "bearer"])
def test_authentication(lab, tmp_path, how):
    """Writing requires credentials that may push, from the configuration or from docker login."""
    user = ("jo", "s3cret")
    registry = Registry(lab, "guarded-" + how, **({"user": user} if how == "basic" else {"bearer": user}))
    operator = Operator(registry, tmp_path, "ops/guarded")
    operator.publish(1)
    operator.run("show", status=1)
    (tmp_path / ".docker").mkdir()
    registry.config_json(tmp_path / ".docker/config.json", user)
    operator.run("set", "--percent", "1")
    assert operator.policy()["sequence"] == 1
    (tmp_path / ".docker/config.json").unlink()
    registry.config_json(tmp_path / "auth.json", user)
    operator.config.write_text(f"[registry {registry.address}]\ncredentials = auth.json\n")
    operator.run("halt")
    assert operator.policy()["halt"] is True


def test_a_devices_socket_publishes_nothing(operator):
    """As systemd starts it: without --publish."""
    operator.publish(1)
    policy = {"version": 1, "sequence": 1, "target": "sha256:" + "0" * 64, "percent": 100}
    ours, theirs = socket.socketpair()
    process = subprocess.Popen([BUILD / "pullet-fetch", "--config", operator.config], stdin=theirs)
    theirs.close()
    question = {"op": "publish", "image": operator.image, "policy": policy}
    ours.sendall(json.dumps(question).encode() + b"\n")
    with ours.makefile() as answer:
        error = json.loads(answer.readline())["error"]
    ours.close()
    assert process.wait(60) == 0
    assert error == {"code": "EPERM", "text": "this socket publishes nothing: use pullet rollout or pullet delta"}
    assert operator.json("show")["policy"] is None


def examples():
    text = MANUAL.read_text().replace("\\-", "-").replace("\\e", "\\")
    return re.findall(r"^\.EX\n(.*?)^\.EE\n", text, re.M | re.S)


def test_formula_of_the_manual():
    (script,) = [text for text in examples() if "sha256sum" in text and "curl" not in text]
    done = subprocess.run(["sh", "-eu", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == re.search(r"# (\d+):", script)[1] + "\n"


def test_example_policies_of_the_manual_by_its_curl_script(operator):
    """pullet reads both documents, pushed with the script of the manual."""
    operator.publish(1)
    (script,) = [text for text in examples() if "curl" in text]
    documents = [text for text in examples() if text.startswith("{")]
    assert len(documents) == 3
    for document in documents:
        (operator.directory / "rollout.json").write_text(document)
        subprocess.run(["sh", "-eu", "-c", script], check=True, cwd=operator.directory,
                       env={**os.environ, "no_proxy": "*", "repository":
                            f"http://{operator.registry.address}/v2/{operator.repository}"})
        assert operator.json("show")["policy"] == json.loads(document)
        assert operator.policy() == json.loads(document)
