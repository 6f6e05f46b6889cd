# SPDX-License-Identifier: MIT
"""A link, a registry's text or an image's own words are never taken for a damaged store of the engine."""

import contextlib
import json
import os
import signal

import pytest

from pullet_image import actor
from pullet_sweep import wait_for
from registryd import Answer, Front, is_engine

WORDS = ("layer does not exist", "unexpected EOF",
         "open /var/lib/docker/overlay2/94/link: no such file or directory")


class Link(Front):
    """A registry behind a link. fault: an Answer, or a number of bytes after which the link cuts, for the requests of
    the engine, or of Pullet itself, whose path has part."""

    fault, part, engine, cuts = None, "/blobs/", True, 0

    def serve(self, seen):
        answer = super().serve(seen)
        if self.fault is None or seen.method != "GET" or is_engine(seen) != self.engine or self.part not in seen.path:
            return answer
        self.cuts += 1
        return self.fault if isinstance(self.fault, Answer) else Answer(raw=lambda c: self.cut(c, answer))

    def cut(self, connection, answer):
        with contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
                               b"Content-Length: %d\r\n\r\n" % len(answer.body) + answer.body[:self.fault])
        connection.close()


@pytest.fixture
def link(house):
    with Link(house.registry) as link:
        house.registry = link
        house.lab.announce(link.host)
        yield link


def is_not_the_stores(house, new, link):
    """The pass failed, nothing was counted or removed, and the update comes through once the link is well."""
    entry = house.once("failed")
    assert link.cuts and "engine-store-damaged" not in entry["reason"], entry
    record = house.pullet.record("app")
    assert not record.get("damage") and not record["rejected"], record
    link.fault = None
    house.once("updated")
    house.check(new)


@pytest.fixture
def impatient(engine):
    """An engine that gives a download up at the first cut, as others do after five in a minute."""
    config = engine.directory / "daemon.json"
    before = config.read_text()

    def load(text):
        config.write_text(text)
        seen = engine.log.read_text().count("Reloaded configuration")
        os.kill(engine.process.pid, signal.SIGHUP)
        wait_for("the configuration to be loaded",
                 lambda: engine.log.read_text().count("Reloaded configuration") > seen, 20)

    load(json.dumps({**json.loads(before), "max-download-attempts": 1}))
    yield
    load(before)


# Audit 2
@pytest.mark.parametrize("config", [True, False], ids=["config", "layer"])
def test_a_link_that_cuts_a_download(house, link, impatient, config):
    house.up(agent={"download": "engine"})
    new = house.publish()
    blob = next(iter(new.configs.values()))
    link.fault, link.part = 20, blob if config else "/blobs/"
    is_not_the_stores(house, new, link)


# Audit 9
@pytest.mark.parametrize("to_us", [False, True], ids=["to the engine", "to us"])
@pytest.mark.parametrize("words", WORDS)
def test_a_registry_that_speaks_of_a_store(house, link, words, to_us):
    house.up(agent={"download": "spool" if to_us else "engine"})
    new = house.publish()
    link.part, link.engine = "/manifests/", not to_us
    link.fault = Answer(403, {"Content-Type": "application/json"},
                        {"errors": [{"code": "DENIED", "message": words}]})
    is_not_the_stores(house, new, link)


# Audit 9, and others of the image's own words
@pytest.mark.parametrize("config", [
    {"User": "layer does not exist"}, {"User": "/d/overlay2/94/link: no such file"},
    {"Entrypoint": ["/layer does not exist"]}, {"Env": ["X=layer does not exist"], "Cmd": ["/layer does not exist"]}],
    ids=["user", "user-path", "entrypoint", "command"])
def test_an_image_whose_settings_speak_of_a_store(house, config):
    _, old = house.up()
    bad = house.publish("wait", config=config)
    result = house.pullet.once().results["app"]
    assert result["result"] in ("rolled-back", "refused") and "engine-store-damaged" not in result["reason"], str(result)
    record = house.pullet.record("app")
    assert [entry["digest"] for entry in record["rejected"]] == [bad.digest]
    assert not record.get("damage")
    assert house.engine.inspect("app")["Id"] == old["Id"]


# Audit 9
@pytest.mark.parametrize("config", [{"WorkingDir": "/file/below"}, {"Volumes": {"/file/below": {}}},
                                    {"Volumes": {"/file": {}}}], ids=["workdir", "volume", "volume-over"])
def test_a_directory_of_the_image_below_a_plain_file(house, config):
    _, old = house.up()
    image = actor("wait", files={"file": b"plain"}, **config)
    bad = house.publish(images=image)
    result = house.pullet.once().results["app"]
    assert result["result"] in ("rolled-back", "refused") and "engine-store-damaged" not in result["reason"], str(result)
    record = house.pullet.record("app")
    assert [entry["digest"] for entry in record["rejected"]] == [bad.digest]
    assert house.engine.inspect("app")["Id"] == old["Id"]
    # It costs nothing again.
    mark = house.registry.mark()
    house.once("refused")
    assert not [r for r in house.registry.requests(mark) if r.by_engine or "/blobs/" in r.path]


# Audit 9, the kind
def test_a_container_whose_last_words_speak_of_a_store(house):
    house.up()
    bad = house.publish("say", "layer does not exist", "exit", "1")
    house.once("rolled-back", reason="last log line: layer does not exist")
    assert [entry["digest"] for entry in house.pullet.record("app")["rejected"]] == [bad.digest]
