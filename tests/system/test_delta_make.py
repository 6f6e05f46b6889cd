# SPDX-License-Identifier: MIT
"""pullet delta make and show beside a real registry: what is pushed, what is not, and what is said about it."""

import http.client
import http.server
import json
import os
import pathlib
import random
import re
import subprocess
import textwrap
import threading

import pytest

from pullet_delta import publish_delta
from pullet_image import MEDIA, Image, digest_of, to_json
from pullet_registry import Registry

BUILD = pathlib.Path(os.environ.get("PULLET_BUILD", "build"))
PATCH = "application/vnd.pullet.delta.v1"


def words(seed, n):
    return b" ".join(b"%d" % w for w in random.Random(seed).choices(range(10**9), k=n // 10))


BASE = {"base": words(1, 50_000)}
OLD = words(2, 300_000)
NEW = OLD[:1000] + b"changed" + OLD[1000:]


def image(content, platform=None, base=None):
    options = {"platform": platform} if platform else {}
    return Image({"app": content}, base=Image(BASE if base is None else base, **options), **options)


class Publisher:
    def __init__(self, registry, directory):
        self.registry, self.directory = registry, directory
        self.config = directory / "pullet.conf"
        self.config.write_text("")

    def run(self, *arguments, status=0, **options):
        done = subprocess.run([BUILD / "pullet", "delta", *arguments, "--config", self.config], capture_output=True, text=True,
                              env={**os.environ, "HOME": str(self.directory), "TMPDIR": str(self.directory)}, check=False, **options)
        assert done.returncode == status, done
        assert not [p for p in self.directory.iterdir() if p.name.startswith("pullet-delta")]  # nothing is left
        return done.stdout if status == 0 else done.stderr

    def json(self, *arguments, **options):
        return json.loads(self.run(*arguments, "--json", **options))

    def manifest(self, repository, tag):
        status, _, body = self.registry.request("GET", f"/v2/{repository}/manifests/{tag}", headers={"Accept": MEDIA["oci"]["manifest"]})
        return json.loads(body) if status == 200 else None


@pytest.fixture(scope="module")
def registry(lab):
    return Registry(lab, "registry-delta")


@pytest.fixture
def publisher(registry, tmp_path):
    return Publisher(registry, tmp_path)


def chain(layers):
    digest = ""
    for layer in layers:
        one = digest_of(layer)
        digest = digest_of(f"{digest} {one}".encode()) if digest else one
    return digest


def tag_of(old, new):
    return f"delta-{chain(old.layers())[7:39]}-{chain(new.layers())[7:39]}"


def test_make_show_and_make_again(publisher, registry):
    old, new = image(OLD), image(NEW)
    first, second = registry.publish("first", "1", old), registry.publish("first", "2", new)
    told = publisher.run("make", registry.ref("first:1"), registry.ref("first:2"))
    tag = tag_of(old, new)
    assert told.startswith("amd64: 1 layer shared, ") and told.endswith(f"), {tag}\n") and " instead of " in told and "(1/" in told
    manifest = publisher.manifest("first", tag)
    platform = old.platform
    (layer,) = manifest["layers"]
    assert manifest["artifactType"] == layer["mediaType"] == PATCH
    assert manifest["subject"]["digest"] == second.manifests[platform]
    assert manifest["annotations"] == {
        "vnd.pullet.delta.from": chain(old.layers()), "vnd.pullet.delta.to": chain(new.layers()), "vnd.pullet.delta.shared": "1",
        "vnd.pullet.delta.sizes": str(len(new.layers()[1]))}
    status, _, patch = registry.request("GET", f"/v2/first/blobs/{layer['digest']}")
    assert status == 200 and patch.startswith(b"PLD1\n\0\0\0") and len(patch) == layer["size"] <= 2048 and "data" in layer
    shown = publisher.json("show", registry.ref("first:2"))
    assert shown["digest"] == second.digest and [row["from"] for row in shown["deltas"]] == [chain(old.layers())]
    assert shown["deltas"][0]["bytes"] == layer["size"] and shown["deltas"][0]["shared"] == 1
    assert tag in publisher.run("show", registry.ref("first:2"))
    assert "no delta leads to" in publisher.run("show", registry.ref("first:1"))
    mark = registry.mark()
    assert f"{tag} is there already" in publisher.run("make", first.digest, registry.ref("first:2"))
    asked = registry.requests(mark)
    assert not [r for r in asked if r.method in ("PUT", "POST")]
    blobs = {json.loads(body)["layers"][1]["digest"] for body in (first.body, second.body)}
    assert not [r for r in asked if r.path.split("/")[-1] in blobs]  # no layer is brought for nothing


def test_a_dry_run_pushes_nothing(publisher, registry):
    old, new = image(OLD), image(NEW)
    registry.publish("dry", "1", old)
    registry.publish("dry", "2", new)
    mark = registry.mark()
    assert "not pushed (--dry-run)" in publisher.run("make", "--dry-run", registry.ref("dry:1"), registry.ref("dry:2"))
    assert not [r for r in registry.requests(mark) if r.method not in ("GET", "HEAD")]
    assert publisher.manifest("dry", tag_of(old, new)) is None


def test_what_does_not_pay_is_not_pushed(publisher, registry):
    dice = random.Random(3)
    registry.publish("pays", "1", image(dice.randbytes(100_000)))
    registry.publish("pays", "2", image(dice.randbytes(100_000)))
    registry.publish("pays", "3", image(b"small"))
    registry.publish("pays", "4", image(b"small"))
    registry.publish("pays", "5", Image(BASE))
    mark = registry.mark()
    make = lambda old, new: publisher.json("make", registry.ref(f"pays:{old}"), registry.ref(f"pays:{new}"))["deltas"][0]
    assert make(1, 2)["result"] == "does-not-pay"
    assert "65536" in make(1, 3)["text"]
    assert "the same image" in make(3, 4)["text"]
    assert "all layers of NEW" in make(3, 5)["text"]
    assert not [r for r in registry.requests(mark) if r.method not in ("GET", "HEAD")]


def test_each_platform_that_both_have(publisher, registry):
    arm, amd, odd = (lambda content, p=p: image(content, p) for p in ("linux/arm/v7", "linux/amd64", "linux/riscv64"))
    registry.publish("index", "1", [arm(OLD), amd(OLD)])
    registry.publish("index", "2", [arm(NEW), amd(NEW + b"!"), odd(NEW + b"odd")])
    ends = registry.ref("index:1"), registry.ref("index:2")
    assert "no image of the platform s390x" in publisher.run("make", "--platform", "s390x", *ends, status=1)
    rows = publisher.json("make", "--platform", "arm/v7", *ends)["deltas"]
    assert [(row["platform"], row["result"]) for row in rows] == [("arm/v7", "pushed")]
    rows = publisher.json("make", *ends)["deltas"]
    assert [(row["platform"], row["result"]) for row in rows] == [("arm/v7", "present"), ("amd64", "pushed"), ("riscv64", "missing")]
    assert publisher.manifest("index", tag_of(amd(OLD), amd(NEW + b"!")))
    # A single image fits the entry of its platform.
    registry.publish("index", "3", amd(OLD + b"?"))
    rows = publisher.json("make", registry.ref("index:3"), ends[1])["deltas"]
    assert [row["result"] for row in rows] == ["missing", "pushed", "missing"]
    assert len(publisher.json("show", ends[1])["deltas"]) == 3


def test_the_last_of_a_list(publisher, registry):
    releases = [registry.publish("list", str(n), image(OLD + b"%d" % n)) for n in range(4)]
    listed = publisher.directory / "releases"
    listed.write_text("# the newest last\n" + "".join(r.digest + "\n" for r in releases) + "sha256:" + "0" * 64 + "\n")
    rows = publisher.json("make", "--from", "3", listed, registry.ref("list:3"))["deltas"]
    assert [(row["old"], row["result"]) for row in rows] == [(releases[2].digest, "pushed"), (releases[3].digest, "not-needed")]
    rows = publisher.json("make", "--from", "9", "-", registry.ref("list:3"), input=listed.read_text())["deltas"]
    assert [row["result"] for row in rows] == ["pushed", "pushed", "present", "not-needed"]
    assert "not a number" in publisher.run("make", "--from", "0", listed, registry.ref("list:3"), status=2)


def test_other_repositories_are_refused(publisher, registry):
    registry.publish("here", "1", image(OLD))
    told = publisher.run("make", registry.ref("there:1"), registry.ref("here:1"), status=2)
    assert "is of another repository" in told and "copy OLD there first" in told
    assert "does not have it" in publisher.run("make", registry.ref("here:0"), registry.ref("here:1"), status=1)


def test_a_damaged_layer_is_seen(publisher, registry):
    registry.publish("hash", "1", image(OLD))
    new = registry.publish("hash", "2", image(NEW + b"damaged"))
    digest = json.loads(new.body)["layers"][1]["digest"][7:]
    data = registry.directory / "data/docker/registry/v2/blobs/sha256" / digest[:2] / digest / "data"
    whole = data.read_bytes()
    data.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    told = publisher.run("make", registry.ref("hash:1"), registry.ref("hash:2"), status=1)
    assert "hash to" in told and digest in told
    # A config that names another tar.
    manifest = json.loads(registry.publish("hash", "3", image(NEW + b"other")).body)
    _, _, config = registry.request("GET", f"/v2/hash/blobs/{manifest['config']['digest']}")
    config = json.loads(config)
    config["rootfs"]["diff_ids"][1] = digest_of(b"another")
    text = json.dumps(config).encode()
    manifest["config"] = {**manifest["config"], "digest": registry.push_blob("hash", text), "size": len(text)}
    registry.push_manifest("hash", "3", json.dumps(manifest).encode(), MEDIA["oci"]["manifest"])
    told = publisher.run("make", registry.ref("hash:1"), registry.ref("hash:3"), status=1)
    assert "its tar hashes to" in told and digest_of(b"another") in told


@pytest.mark.parametrize("wrong", ["another shared", "a size too many", "a size too few", "sizes over 16 GiB", "sizes that overflow",
                                   "a larger patch than the layers", "another type of patch", "two patches", "to another image",
                                   "another type of artifact", "no annotations"])
def test_a_delta_that_devices_refuse_is_shown_so_and_replaced(publisher, registry, wrong):
    repository = "refused-" + wrong.lower().replace(" ", "-")
    old, new = (registry.publish(repository, tag, image(content)) for tag, content in (("1", OLD), ("2", NEW)))
    publish_delta(registry, repository, old, new, wrong=wrong)
    (row,) = publisher.json("show", registry.ref(f"{repository}:2"))["deltas"]
    assert row["fault"] and "is not valid: " + row["fault"] in publisher.run("show", registry.ref(f"{repository}:2"))
    (row,) = publisher.json("make", registry.ref(f"{repository}:1"), registry.ref(f"{repository}:2"))["deltas"]
    assert row["result"] == "pushed"
    (row,) = publisher.json("show", registry.ref(f"{repository}:2"))["deltas"]
    assert row["fault"] is None


def test_a_delta_that_looks_like_an_image_is_one(publisher, registry):
    """As another program may push it: pullet-delta(5) lets artifactType be missing."""
    old, new = (registry.publish("plain", tag, image(content)) for tag, content in (("1", OLD), ("2", NEW)))
    config = {"mediaType": MEDIA["oci"]["config"], "digest": digest_of(b"{}"), "size": 2}
    publish_delta(registry, "plain", old, new, wrong=lambda delta: delta.document.update(artifactType=None, config=config))
    (row,) = publisher.json("show", registry.ref("plain:2"))["deltas"]
    assert row["fault"] is None and row["shared"] == 1
    assert publisher.json("make", registry.ref("plain:1"), registry.ref("plain:2"))["deltas"][0]["result"] == "present"


def test_an_index_without_platforms(publisher, registry):
    """Nothing was made, and that is said: a device finds no image there."""
    ends = registry.ref("bare:1"), registry.ref("bare:2")
    for tag, content in (("1", OLD), ("2", NEW)):
        single = registry.publish("bare", tag, image(content))
        entry = {"mediaType": single.media_type, "digest": single.digest, "size": len(single.body)}
        registry.push_manifest("bare", tag, to_json({"schemaVersion": 2, "mediaType": MEDIA["oci"]["index"], "manifests": [entry]}),
                               MEDIA["oci"]["index"])
    assert "lists no image with its platform" in publisher.run("make", *ends, status=1)
    assert "lists no image with its platform" in publisher.run("show", ends[1], status=1)


def test_no_room_for_the_layers(publisher, registry, tmp_path):
    """In the unpacked layers, and in what comes from the registry."""
    small = tmp_path / "small"
    small.mkdir()
    for name, old, new in (("unpacked", OLD * 3, NEW), ("packed", OLD, NEW + random.Random(6).randbytes(600_000))):
        registry.publish(name, "1", image(old))
        registry.publish(name, "2", image(new))
        done = subprocess.run(["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=600k tmpfs "$TMPDIR" && exec "$@"', "sh", BUILD / "pullet", "delta",
                               "make", registry.ref(name + ":1"), registry.ref(name + ":2"), "--config", publisher.config],
                              capture_output=True, text=True, env={**os.environ, "HOME": str(tmp_path), "TMPDIR": str(small)}, check=False)
        assert done.returncode == 1 and "No space left on device; set TMPDIR to a directory with more room" in done.stderr, done


class Gate:
    """Stands before a registry: answers pushes by refuse, if that is set, and makes the URLs of uploads relative."""

    def __init__(self, registry):
        gate = self
        self.refuse, self.uploads = None, []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def any(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.command in ("POST", "PUT") and gate.refuse:
                    return self.say(gate.refuse, {}, json.dumps({"errors": [{"code": "DENIED", "message": "read only"}]}).encode())
                connection = http.client.HTTPConnection(registry.address)
                connection.request(self.command, self.path, body, {k: v for k, v in self.headers.items() if k in ("Accept", "Content-Type")})
                answer = connection.getresponse()
                headers = {k: v for k, v in answer.getheaders() if k in ("Content-Type", "Docker-Content-Digest", "Link", "Location")}
                if "Location" in headers:
                    headers["Location"] = re.sub("^http://[^/]+", "", headers["Location"])
                    gate.uploads += [len(body)] * (self.command == "PUT" and "/uploads/" in self.path)
                self.say(answer.status, headers, answer.read(), answer.getheader("Content-Length"))

            def say(self, status, headers, body, length=None):
                self.send_response(status)
                for item in {**headers, "Content-Length": length if self.command == "HEAD" else str(len(body))}.items():
                    self.send_header(*item)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_HEAD = do_POST = do_PUT = any

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = "127.0.0.1:%d" % self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def stop(self):
        self.http.shutdown()
        self.http.server_close()


def test_a_push_that_is_refused_and_a_large_one(lab, publisher, registry):
    gate = Gate(registry)
    lab.add(gate)
    dice = random.Random(4)
    old = image(dice.randbytes(600_000))
    new = image(old.files["app"] + dice.randbytes(300_000))
    registry.publish("gate", "1", old)
    registry.publish("gate", "2", new)
    ends = f"{gate.address}/gate:1", f"{gate.address}/gate:2"
    gate.refuse = 403
    told = publisher.run("make", *ends, status=1)
    assert tag_of(old, new) in told and "read only" in told and "pullet login" in told
    assert publisher.manifest("gate", tag_of(old, new)) is None
    gate.refuse = None
    publisher.run("make", *ends)
    (layer,) = publisher.manifest("gate", tag_of(old, new))["layers"]
    assert 300_000 < layer["size"] < 301_000 and "data" not in layer
    assert gate.uploads == [layer["size"], 2]  # the patch once, and the empty config


def test_a_login_is_needed(lab, tmp_path):
    registry = Registry(lab, "registry-login", user=("ci", "secret"))
    registry.publish("app", "1", image(OLD))
    registry.publish("app", "2", image(NEW))
    ends = registry.ref("app:1"), registry.ref("app:2")
    publisher = Publisher(registry, tmp_path)
    assert "requires a user name and a password" in publisher.run("make", *ends, status=1)
    (tmp_path / ".docker").mkdir()
    registry.config_json(tmp_path / ".docker/config.json", ("ci", "secret"))
    publisher.run("make", *ends)
    assert len(publisher.json("show", registry.ref("app:2"))["deltas"]) == 1


EXAMPLES = sorted((pathlib.Path(__file__).resolve().parents[2] / "packaging/examples").glob("delta-*.yml"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_word_for_word(registry, tmp_path, example):
    """From the push of the image on: what stands before needs the CI."""
    script = textwrap.dedent(re.search(r"^ *# publish\n(.*?)^ *# end$", example.read_text(), re.M | re.S)[1])
    name = example.stem
    conf = tmp_path / ".config/containers"
    conf.mkdir(parents=True)
    (conf / "registries.conf").write_text(f'[[registry]]\nlocation = "{registry.address}"\ninsecure = true\n')
    (conf / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    environment = {**os.environ, "HOME": str(tmp_path), "PATH": f"{BUILD.resolve()}:{os.environ['PATH']}", "IMAGE": registry.ref(name)}
    for build, content in (("build-1", OLD), ("build-2", NEW)):
        registry.publish(name + "-built", build, [image(content), image(content + b"arm", "linux/arm64")])
        archive = tmp_path / "app.tar"
        archive.unlink(missing_ok=True)
        subprocess.run(["skopeo", "copy", "--all", f"docker://{registry.ref(name + '-built')}:{build}", f"oci-archive:{archive}"],
                       env=environment, check=True, capture_output=True)
        mark = registry.mark()
        done = subprocess.run(["sh", "-euc", script], cwd=tmp_path, env={**environment, "BUILD": build}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done
    assert done.stdout.count(" instead of ") == 2
    pushed = [r.path.rsplit("/", 1)[1] for r in registry.requests(mark) if r.method == "PUT" and "/manifests/" in r.path]
    tags = [tag for tag in pushed if not tag.startswith("sha256:")]
    assert tags[0] == "build-2" and tags[-1] == "stable" and all(t.startswith("delta-") for t in tags[1:-1]) and len(tags) == 4


def test_without_the_package(tmp_path):
    alone = tmp_path / "pullet"
    alone.write_bytes((BUILD / "pullet").read_bytes())
    alone.chmod(0o755)
    done = subprocess.run([alone, "delta", "show", "registry.example/app:1"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "needs the package pullet-publish: apt install pullet-publish" in done.stderr
