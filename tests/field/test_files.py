# SPDX-License-Identifier: MIT
"""Docker's own files, with a real engine and a real registry; tests/system/test_files.py has the rest."""

import base64
import itertools
import json

import pytest

from pullet_house import UP, House
from pullet_registry import Registry
from pullet_sweep import wait_for
from registryd import Answer, Front, on

USER = ("fleet", "p+s/word?:x")
numbers = itertools.count(1)


@pytest.fixture
def build(lab, engine):
    """A function: a registry with these options -> a House at it."""
    registries = []

    def make(**options):
        registry = Registry(lab, f"files-{next(numbers)}", **options)
        registries.append(registry)
        return House(lab, engine, registry)

    yield make
    for registry in registries:
        registry.stop()
    engine.clear()


def logins(house, **users):
    """config.json with a login for each key; "" is all of the registry."""
    path = house.pullet.directory / "config.json"
    path.write_text(json.dumps({"auths": {
        house.registry.address + key: {"auth": base64.b64encode(":".join(user).encode()).decode()}
        for key, user in users.items()}}))
    path.chmod(0o600)
    return path


def test_the_engine_pulls_with_the_login_of_the_namespace(build):
    """Case 18."""
    house = build(user=USER)
    namespace = "/" + house.repository.split("/")[0]
    path = logins(house, **{"": ("another", "wrong"), namespace: USER, namespace + "/other": ("x", "y")})
    published = house.publish()
    house.configure(create=UP, registries={house.registry.address: {"credentials": path}})
    house.once("updated")
    house.check(published)
    logins(house, **{"": USER, namespace: ("another", "wrong")})
    house.publish()
    assert f'"{house.registry.address}{namespace}" in {path}' in house.once("failed")["reason"]


def test_a_token_server_on_a_sister_host(build):
    """Cases 12 of the audit and 13: what the network half withholds, the engine is not handed."""
    house = build(bearer=USER)
    tokens = house.registry.tokens
    published = house.publish()
    sister = tokens.realm.replace("127.0.0.1", "localhost")
    config = json.loads((house.registry.directory / "config.yml").read_text())
    config["auth"]["token"]["realm"] = sister
    (house.registry.directory / "config.yml").write_text(json.dumps(config))
    house.registry.stop()
    house.registry.start()
    path = logins(house, **{"": USER})
    origin = sister.rpartition("/")[0]
    house.configure(create=UP, registries={house.registry.address: {"credentials": path}})
    house.once("failed", f"set token-server = {origin} in [registry {house.registry.address}]")
    assert not [given for _, given in tokens.requests if given], "no login went there"
    house.configure(create=UP, registries={house.registry.address: {"credentials": path,
                                                                    "token-server": origin}})
    house.once("updated")
    house.check(published)


def test_a_login_that_breaks_in_the_middle_of_a_trial(build):
    """What has begun ends without it."""
    house = build(user=USER)
    path = logins(house, **{"": USER})
    registries = {house.registry.address: {"credentials": path}}
    house.publish()
    house.configure(create=UP, registries=registries)
    house.once("updated")
    published = house.publish()
    house.configure(create=UP, registries=registries, health_period="2s")
    process = house.pullet.spawn("--once")
    wait_for("the trial", lambda: house.pullet.record("app")["phase"] == "trial")
    house.pullet.kill9(process)
    path.write_text("{")
    house.once("updated")
    house.check(published)
    assert str(path) in house.once("failed")["reason"]


def test_the_page_of_a_captive_portal_is_no_image(build):
    """It is told, and nothing is remembered about the digest of a page; the next answer counts."""
    house = build()
    with Front(house.registry) as front:
        house.lab.announce(front.host)
        house.registry = front
        _, before = house.up()
        front.hooks.append(on("HEAD", "/manifests/", Answer(200, {"Content-Type": "text/html"})))
        front.hooks.append(on("GET", "/manifests/", Answer(200, {"Content-Type": "text/html"}, b"<html>log in")))
        house.once("failed", "sent as text/html")
        assert not house.pullet.record("app").get("rejected")
        house.untouched(before)
        front.hooks.clear()
        published = house.publish()
        house.once("updated")
        house.check(published)
