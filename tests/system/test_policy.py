# SPDX-License-Identifier: MIT
"""The rollout policy, requested by pullet-fetch from a registry that misbehaves."""

import json

import pytest

from registryd import Answer, OCI_INDEX, OCI_MANIFEST, index, manifest, on, sha256
from test_fetch import (Child, basic, check_memory, environment, fetch, raw, registry)  # noqa: F401

TYPE = "application/vnd.pullet.rollout.v1+json"
TARGET = "sha256:" + "a" * 64
POLICY = {"version": 1, "sequence": 3, "target": TARGET, "percent": 12.5,
          "rings": {"canary": {"percent": 100, "not-before": "2026-12-01T12:00:00Z"}}}
GENERAL = {"sequence": 3, "document": sha256(json.dumps(POLICY).encode()), "target": TARGET, "halt": False, "minimum-version": "", "not-before": 0,
           "points": [0, 125000]}


def artifact(body, layers=None, **changes):
    """The manifest, as oras writes it."""
    layer = {"mediaType": TYPE, "digest": sha256(body), "size": len(body)}
    whole = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": TYPE,
             "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": sha256(b"{}"),
                        "size": 2},
             "layers": [layer] if layers is None else layers(layer), **changes}
    return json.dumps({key: value for key, value in whole.items() if value is not None}).encode()


def put(registry, policy=POLICY, blob=None, document=None, **changes):
    """-> path of the blob"""
    body = policy if isinstance(policy, bytes) else json.dumps(policy).encode()
    document = artifact(body, **changes) if document is None else document
    registry.put("app", "stable.rollout", document, OCI_MANIFEST)
    path = "/v2/app/blobs/" + sha256(body)
    registry.hooks.append(on("GET", path, blob or Answer(200, body=body)))
    return path


def ask(fetch, registry, ring=None, image="app:stable", measured=False, **more):
    child = Child(fetch.config, measured, host=registry.host)
    question = {"op": "rollout", "image": f"{registry.host}/{image}", **more}
    try:
        child.send({**question, "ring": ring} if ring else question)
        reply = child.receive()
    finally:
        out, fetch.stderr = child.end()
    assert child.proc.returncode == 0, fetch.stderr
    if measured:
        fetch.rss_kb = int(out.split()[-1])
    return reply


def fails(fetch, registry, code, *texts):
    error = ask(fetch, registry, measured=True)["error"]
    check_memory(fetch)
    assert code in (None, error["code"]), error
    for text in texts:
        assert text in error["text"], error
    return error


def test_policy_is_two_requests(fetch, registry):
    path = put(registry)
    assert ask(fetch, registry) == {"rollout": GENERAL}
    assert [(s.method, s.path) for s in registry.seen] == [
        ("GET", "/v2/app/manifests/stable.rollout"), ("GET", path)]


def test_reply_has_only_the_rules_of_the_ring(fetch, registry):
    put(registry)
    assert ask(fetch, registry, "canary") == {
        "rollout": {**GENERAL, "points": [0, 1000000], "not-before": 1796126400}}
    assert ask(fetch, registry, "other") == {"rollout": GENERAL}


def test_no_policy(fetch, registry):
    assert ask(fetch, registry) == {"rollout": None}
    assert registry.methods() == ["GET"]


def put_with_text(registry, policy, **changes):
    """-> what an engine half that verifies the policy is told of it"""
    put(registry, policy, **changes)
    manifest = artifact(policy, **changes)
    assert registry.documents["app", "stable.rollout"][0] == manifest
    return {"manifest": manifest.decode(), "policy": policy.decode()}


def test_policy_with_its_text(fetch, registry):
    """As the registry has it, byte by byte, in the same two requests."""
    policy = json.dumps({**POLICY, "x-why": "\u00e4\u20ac \U0001f600"}, ensure_ascii=False, indent="\t").encode()
    texts = put_with_text(registry, policy, annotations={"x": '\\"\n'})
    assert ask(fetch, registry, **{"with-text": True}) == {"rollout": {**GENERAL, "document": sha256(policy)}, **texts}
    assert len(registry.seen) == 2
    assert ask(fetch, registry) == {"rollout": {**GENERAL, "document": sha256(policy)}}
    registry.documents.clear()
    assert ask(fetch, registry, **{"with-text": True}) == {"rollout": None}


def test_the_longest_texts(fetch, registry):
    """They fit into a line, however much of them is escaped."""
    policy = json.dumps(POLICY).encode()
    policy += b"\n" * (16384 - len(policy))
    size = len(artifact(policy, annotations={"x": ""}))
    texts = put_with_text(registry, policy, annotations={"x": '"' * ((65536 - size) // 2)})
    assert len(texts["manifest"]) in (65535, 65536)
    assert ask(fetch, registry, measured=True, **{"with-text": True}) == {
        "rollout": {**GENERAL, "document": sha256(policy)}, **texts}
    check_memory(fetch)
    put(registry, policy, annotations={"x": " " * (65537 - size)})
    reply = ask(fetch, registry, **{"with-text": True})
    assert reply["error"]["code"] == "EBADMSG" and "65537 bytes, 65536 at most" in reply["error"]["text"]
    assert set(reply) == {"error", "manifest"} and reply["manifest"] == ""


@pytest.mark.parametrize("policy", [b"{}", b'{"version": 1, "sequence": 0}', b"no JSON"], ids=range(3))
def test_the_text_of_an_invalid_policy(fetch, registry, policy):
    """Whoever wrote it may not have signed it: then it counts as none."""
    texts = put_with_text(registry, policy)
    reply = ask(fetch, registry, **{"with-text": True})
    assert "is no valid policy" in reply.pop("error")["text"] and reply == texts
    assert set(ask(fetch, registry)) == {"error"}


@pytest.mark.parametrize("document", [b"{}", b"no JSON", manifest()], ids=range(3))
def test_the_text_of_what_is_no_artifact(fetch, registry, document):
    put(registry, document=document)
    reply = ask(fetch, registry, **{"with-text": True})
    assert reply["error"]["code"] in ("EBADMSG", "EKEYREJECTED") and reply["manifest"] == document.decode()
    assert set(reply) == {"error", "manifest"}


@pytest.mark.parametrize("document", [b"\xff\xfe", b"{}\0{}", b"\0"], ids=range(3))
def test_what_is_no_text_is_not_carried(fetch, registry, document):
    put(registry, document=document)
    reply = ask(fetch, registry, **{"with-text": True})
    assert set(reply) == {"error", "manifest"} and reply["manifest"] == ""


def test_the_text_beside_a_failure(fetch, registry):
    put(registry, blob=Answer(429, {"Retry-After": "77"}))
    reply = ask(fetch, registry, **{"with-text": True})
    assert reply["error"]["retry-after"] == 77 and set(reply) == {"error", "manifest"}


def errors(code):
    body = json.dumps({"errors": [{"code": code, "message": "not here"}]})
    return Answer(404, {"Content-Type": "application/json"}, body.encode())


@pytest.mark.parametrize("answer", [
    errors("MANIFEST_UNKNOWN"), errors("NAME_UNKNOWN"), errors("NOT_FOUND"), Answer(404)])
def test_no_policy_in_the_words_of_registries(fetch, registry, answer):
    registry.hooks.append(on("GET", "/manifests/", answer))
    assert ask(fetch, registry) == {"rollout": None}


@pytest.mark.parametrize("answer", [
    Answer(404, {"Content-Type": "text/html"}, b"<html>404 not found"),
    Answer(404, {"Content-Type": "application/json"}, b'{"message": "no route"}'),
    Answer(404, {"Content-Type": "application/json"}, b'{"errors": "MANIFEST_UNKNOWN"}'),
    errors("DENIED"), errors("UNAUTHORIZED"), errors("manifest_unknown"),
], ids=range(6))
def test_a_404_of_something_else_is_no_absence(fetch, registry, answer):
    """A captive portal, a proxy without a route, a registry that hides what may not be seen."""
    registry.hooks.append(on("GET", "/manifests/", answer))
    fails(fetch, registry, "EREMOTEIO", "app:stable.rollout: ", "the 404 is not the registry's own")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_404_behind_a_redirect_is_no_absence(fetch, registry, host):
    registry.hooks.append(on("GET", "/manifests/", Answer(
        307, {"Location": f"http://{host}:{registry.port}/elsewhere"})))
    registry.hooks.append(on("GET", "/elsewhere", errors("MANIFEST_UNKNOWN")))
    error = ask(fetch, registry)["error"]
    assert error["code"] == "EREMOTEIO"
    assert "the 404 is not the registry's own: it came after a redirect" in error["text"]


CLEAR = {"version": 1, "sequence": 9, "clear": True, "x-why": "done"}


def test_policy_that_ends_all_rollouts(fetch, registry):
    put(registry, CLEAR)
    assert ask(fetch, registry, "canary") == {"rollout": {
        "sequence": 9, "clear": True, "document": sha256(json.dumps(CLEAR).encode())}}


@pytest.mark.parametrize("image", ["app@" + TARGET, "app:stable@" + TARGET, "app:" + "t" * 121])
def test_no_request_where_no_policy_can_exist(fetch, registry, image):
    assert ask(fetch, registry, image=image) == {"rollout": None}
    assert registry.seen == []


def test_credentials_are_sent(fetch, registry):
    fetch.configure(registry.host, credentials=fetch.credentials(registry.host))
    put(registry)
    ask(fetch, registry)
    assert {s.authorization for s in registry.seen} == {basic()}


@pytest.mark.parametrize("document,why", [
    (b"", "manifest"),
    (b"[]", "schemaVersion"),
    (b"{", "manifest"),
    (manifest(), "its layer is of type application/vnd.oci.image.layer.v1.tar+gzip"),
    (artifact(b"", layers=lambda layer: []), "not an artifact with one layer"),
    (artifact(b"", layers=lambda layer: [layer, layer]), "not an artifact with one layer"),
    (artifact(b"", layers=lambda layer: layer), "not an artifact with one layer"),
    (artifact(b"", layers=lambda layer: ["x"]), "its layer is of type ?"),
    (artifact(b"", artifactType="text/plain"), "an artifact of type text/plain"),
    (artifact(b"", artifactType=7), "an artifact of type ?"),
    (artifact(b"", layers=lambda layer: [{**layer, "digest": "sha256:../../../etc/passwd"}]), "digest"),
    (artifact(b"", layers=lambda layer: [{**layer, "size": -1}]), "size"),
    (artifact(b"", layers=lambda layer: [{**layer, "size": 20000}]), "20000 bytes, 16384 at most"),
    (b'{"schemaVersion": 2, "layers": ' + b"[" * 3000 + b"]" * 3000 + b"}", "deep"),
    (b'{"schemaVersion": 2, "layers": [' + b"{}," * 200000 + b"{}]}", "600036 bytes, 65536 at most"),
    (b'{"schemaVersion": 2, "layers": [' + b"{}," * 20000 + b"{}]}", "memory"),
], ids=range(16))
def test_not_an_artifact(fetch, registry, document, why):
    put(registry, document=document)
    error = fails(fetch, registry, None, "app:stable.rollout: ", why)
    assert error["code"] in ("EBADMSG", "EKEYREJECTED", "EFBIG")
    assert registry.methods() == ["GET"]


def test_index_in_place_of_the_policy(fetch, registry):
    registry.put("app", "stable.rollout", index([("linux/arm/v7", manifest())]), OCI_INDEX)
    fails(fetch, registry, "EBADMSG", "not an artifact")


def test_manifest_is_not_what_the_registry_says(fetch, registry):
    put(registry)
    registry.hooks.append(on("GET", "/manifests/", Answer(
        200, {"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": TARGET}, artifact(b"x"))))
    fails(fetch, registry, "EBADMSG", f"says {TARGET}, but sent {sha256(artifact(b'x'))}")


@pytest.mark.parametrize("blob,code,why", [
    (Answer(200, body=json.dumps({**POLICY, "percent": 100}).encode()), "EBADMSG", "something else"),
    (Answer(200, body=b""), "EBADMSG", "something else"),
    (Answer(404), "EBADMSG", "lacks its blob"),
    (Answer(200, body=b" " * 3000000), "EFBIG", ""),
    (Answer(500), "EREMOTEIO", "failed (500)"),
    (Answer(403), "EACCES", "refused access (403)"),
    (Answer(302, {"Location": "file:///etc/passwd"}), "EPROTO", "redirects"),
    (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"), "ECONNRESET", ""),
])
def test_blob_that_is_none(fetch, registry, blob, code, why):
    put(registry, blob=blob)
    fails(fetch, registry, code, "app:stable.rollout: ", why)


def test_invalid_policy(fetch, registry):
    for body in (b"{}", b"[" * 5000, b'{"version": 1, "sequence": 1e400}', b"\xff\xfe", b"\0"):
        registry.hooks.clear()
        put(registry, body)
        fails(fetch, registry, "EBADMSG", "app:stable.rollout is no valid policy: ")


def test_retry_after_of_a_policy(fetch, registry):
    registry.hooks.append(on(answer=Answer(429, {"Retry-After": "77"})))
    assert fails(fetch, registry, "EBUSY", "Retry-After: 77 s")["retry-after"] == 77


def test_blob_behind_a_redirect(fetch, registry):
    """As cloud registries do; credentials are not sent to the other host."""
    body = json.dumps(POLICY).encode()
    fetch.configure(registry.host, credentials=fetch.credentials(registry.host))
    put(registry, blob=Answer(307, {"Location": f"http://localhost:{registry.port}/cdn"}))
    registry.hooks.append(on("GET", "/cdn", Answer(200, body=body)))
    assert ask(fetch, registry) == {"rollout": GENERAL}
    assert registry.seen[-1].path == "/cdn" and registry.seen[-1].authorization is None


def test_publishing_is_refused(fetch, registry):
    child = Child(fetch.config, host=registry.host)
    child.send({"op": "publish", "image": f"{registry.host}/app:stable", "policy": POLICY})
    reply = child.receive()
    child.end()
    assert reply["error"]["code"] == "EPERM" and registry.seen == []


def test_upload_to_another_location(fetch, registry):
    """An operator pushes to a registry that redirects the upload to another host, or to an invalid location."""
    for location, why in ((None, "valid upload URL"), ("ftp://x/", "valid upload URL")):
        registry.hooks[:] = [on("POST", "/uploads/", Answer(202, {"Location": location} if location else {}))]
        child = Child(fetch.config, options=["--publish"], host=registry.host)
        child.send({"op": "publish", "image": f"{registry.host}/app:stable", "policy": POLICY})
        reply = child.receive()
        child.end()
        assert why in reply["error"]["text"], reply
