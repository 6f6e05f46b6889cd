# SPDX-License-Identifier: MIT
"""What a whole look at a new version of the hello image costs: the real pullet-fetch, docker-registry over TLS, and a
relay that counts bytes."""
import base64
import hashlib
import json
import os
import subprocess

import pytest

from pullet_lab import TOP, Lab
from pullet_registry import Registry
from pullet_relay import Relay
from test_fetch import Child, environment, fetch  # noqa: F401
from test_session import cache  # noqa: F401

# One with a full handshake, one that resumes the session of the first.
BUDGET = [6000, 4000]


@pytest.fixture(scope="module")
def hello():
    """A registry with the image, a relay to it, and the digest."""
    if not os.access("/usr/bin/docker-registry", os.X_OK):
        pytest.skip("no docker-registry")
    with Lab() as lab:
        registry = Registry(lab, tls=True)
        subprocess.run([TOP / "payload/build", "--out", lab.path("payload")], check=True, stdout=subprocess.DEVNULL)
        published = registry.publish_layout("hello", "1", lab.path("payload") / "image")
        yield registry, Relay(lab, registry.address), published


def look(fetch, image, documents):  # noqa: F811
    child = Child(fetch.config, options=fetch.options, host=image.split("/")[0])
    child.send({"image": image, "os": "linux", "architecture": "arm", "variant": "v6", "known": [],
                "read-config": True, "documents": documents})
    reply = child.receive()
    child.end()
    assert child.proc.returncode == 0 and "error" not in reply, reply
    return reply


def test_three_requests_bring_all_of_it(fetch, cache, hello):  # noqa: F811
    registry, relay, published = hello
    fetch.configure(relay.address, ca=registry.ca)
    for limit in BUDGET:
        relay.reset()
        mark = registry.mark()
        reply = look(fetch, f"{relay.address}/hello:1", {})
        relay.settle()
        print(f"{relay.up} B up + {relay.down} B down = {relay.up + relay.down} B, {relay.connections} connection")
        assert [(r.method, r.path.rpartition("/")[2]) for r in registry.requests(mark)] == [
            ("HEAD", "1"), ("GET", published.digest), ("GET", published.manifests["linux/arm/v6"])]
        assert relay.connections == 1
        assert relay.up + relay.down <= limit
    # All that the engine is given: index, manifest and config, and the layer in the manifest.
    documents = {digest: text.encode() for digest, text in reply["documents"].items()}
    assert all(digest == "sha256:" + hashlib.sha256(text).hexdigest() for digest, text in documents.items())
    assert set(documents) == {published.digest, reply["manifest"], reply["config"]}
    (layer,) = json.loads(documents[reply["manifest"]])["layers"]
    assert len(base64.b64decode(layer["data"])) == reply["layer-bytes"]
    # And then nothing is left to ask for.
    mark = registry.mark()
    again = look(fetch, f"{relay.address}/hello@{published.digest}", reply["documents"])
    assert {**again, "documents": reply["documents"]} == reply
    assert registry.requests(mark) == []
