# SPDX-License-Identifier: MIT
"""Protected registries: Basic and Bearer authentication, TLS with a private CA."""

import itertools

import pytest

from conftest import UP, House
from pullet_registry import Registry

USER = ("fleet", "p+s/word?:x")
numbers = itertools.count(1)


@pytest.fixture
def build(lab, engine):
    """A function: a registry with these options -> a House at it."""
    registries = []

    def make(**options):
        registry = Registry(lab, f"registry-{next(numbers)}", **options)
        registries.append(registry)
        return House(lab, engine, registry)

    yield make
    for registry in registries:
        registry.stop()
    engine.clear()


def update_twice(house, **settings):
    for _ in range(2):
        published = house.publish()
        house.configure(create=UP, registries={house.registry.address: settings})
        house.once("updated")
        house.check(published)
    mark = house.registry.mark()
    house.once("up-to-date")
    return house.registry.requests(mark)


def test_basic_authentication(build):
    house = build(user=USER)
    path = house.registry.config_json(house.pullet.directory / "auth.json", USER)
    requests = update_twice(house, credentials=path)
    assert [(r.method, r.status) for r in requests] == [("HEAD", 200)], requests


def test_wrong_password_fails_and_touches_nothing(build):
    house = build(user=USER)
    path = house.registry.config_json(house.pullet.directory / "auth.json", (USER[0], "wrong"))
    house.publish()
    house.configure(create=UP, registries={house.registry.address: {"credentials": path}})
    entry = house.once("failed")
    assert "401" in entry["reason"] or "auth" in entry["reason"].lower(), entry
    assert USER[1] not in str(entry) and "wrong" not in entry["reason"]
    assert house.engine.containers() == {}


def test_no_password_fails(build):
    house = build(user=USER)
    house.publish()
    house.configure(create=UP)
    house.once("failed")


def test_tls_with_a_ca_of_its_own(build):
    house = build(tls=True)
    requests = update_twice(house, ca=house.registry.ca)
    assert [(r.method, r.status) for r in requests] == [("HEAD", 200)], requests


def test_tls_with_an_unknown_ca_is_never_trusted(build):
    """This also holds for loopback, against a man in the middle."""
    house, other = build(tls=True), build(tls=True)
    house.publish()
    house.configure(create=UP, registries={house.registry.address: {"ca": other.registry.ca}})
    entry = house.once("failed")
    assert "certificate" in entry["reason"].lower() or "SSL" in entry["reason"], entry
    assert house.engine.containers() == {}


def test_tls_and_basic_authentication(build):
    house = build(tls=True, user=USER)
    path = house.registry.config_json(house.pullet.directory / "auth.json", USER)
    update_twice(house, ca=house.registry.ca, credentials=path)


def test_anonymous_bearer_token(build):
    house = build(bearer=True)
    requests = update_twice(house)
    assert [r.status for r in requests if r.status != 401] == [200], requests
    assert len(requests) <= 2, requests
    assert house.registry.tokens.requests


def test_bearer_token_for_a_user(build):
    house = build(bearer=USER)
    path = house.registry.config_json(house.pullet.directory / "auth.json", USER)
    update_twice(house, credentials=path)
