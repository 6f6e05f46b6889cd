# SPDX-License-Identifier: MIT
"""Networks, addresses and ports that a start needs, on an engine with bridges in a network namespace of its own."""

import contextlib
import shutil
import socket
import subprocess

import pytest

from pullet_bridge import BridgedEngine
from pullet_house import House, layers_read
from pullet_network import own_network
from pullet_registry import Registry

ALWAYS = {"RestartPolicy": {"Name": "always"}}


@pytest.fixture(scope="module")
def bridged(lab):
    with own_network():
        program = lab.path("runtime")
        program.symlink_to(shutil.which("runc"))
        engine = BridgedEngine(lab, arguments=("--add-runtime", f"mine={program}"))
        registry = Registry(lab, "bridged-registry")
        yield lambda: House(lab, engine, registry)
        engine.stop()


@pytest.fixture
def home(bridged):
    house = bridged()
    yield house
    house.engine.clear()
    house.engine.call("POST", "/networks/prune")


def network(home, name="n1", subnet="10.77.1.0/24"):
    return home.engine.call("POST", "/networks/create", {
        "Name": name, "IPAM": {"Config": [{"Subnet": subnet}]}})["Id"]


@contextlib.contextmanager
def listener(port):
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("0.0.0.0", port))
        sock.listen()
        yield


def no_blame(home):
    assert not home.pullet.record("app")["rejected"]




def test_a_network_under_its_id_and_its_name(home):  # case 23
    home.publish()
    home.engine.pull(home.image)
    short = network(home)[:12]
    home.engine.docker("run", "-d", "--name", "app", "--restart", "always", "--network", short,
                       "--network-alias", "foo", home.image)
    home.configure()
    second = home.publish()
    home.once("updated")
    networks = home.check(second, policy="always")["NetworkSettings"]["Networks"]
    assert list(networks) == ["n1"] and "foo" in networks["n1"]["Aliases"]
    home.engine.call("POST", "/containers/app/restart")
    home.check(second)


def test_a_first_container_whose_port_is_taken(home):  # operator-report 12
    first = home.publish()
    home.configure(create={"ExposedPorts": {"80/tcp": {}}, "HostConfig": {
        **ALWAYS, "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8085"}]}}})
    with listener(8085):
        home.once("failed", reason="the host could not start it: ")
        no_blame(home)
        assert home.engine.containers() == {}
        downloaded = layers_read(home, first)
        for _ in range(3):
            home.once("failed", reason="8085")
        assert layers_read(home, first) == downloaded
    home.once("updated")
    home.check(first, policy="always")


def start_of(home, **host):
    home.adopt(HostConfig={**ALWAYS, "NetworkMode": "bridge", **host}, ExposedPorts={"80/tcp": {}})
    home.configure()
    home.once("up-to-date")
    return home.engine.inspect("app")


def deferred_then_updated(home, before, named, mend):
    second = home.publish()
    home.once("deferred", reason=named + ", so the container could not be started again")
    home.untouched(before)
    mend()
    home.once("updated")
    home.check(second, policy="always")


def test_a_port_on_an_address_that_is_gone(home):
    """DHCP gave the machine another one."""
    def change(verb):
        subprocess.run(["ip", "address", verb, "10.79.0.7/32", "dev", "lo"], check=True)

    change("add")
    before = start_of(home, PortBindings={"80/tcp": [{"HostIp": "10.79.0.7", "HostPort": "8087"}]})
    change("del")
    deferred_then_updated(home, before, "port 80/tcp: 10.79.0.7 is no address of this machine", lambda: change("add"))


def test_a_runtime_whose_program_is_gone(home):
    program = home.lab.path("runtime")
    before = start_of(home, Runtime="mine")
    program.unlink()
    deferred_then_updated(home, before, f"runtime mine: {program} is not there",
                          lambda: program.symlink_to(shutil.which("runc")))


def test_a_port_that_another_container_takes_from_one_that_is_down(home):
    """A one-shot has ended; its port is not its own any more."""
    home.adopt(home.publish("exit", 0), ExposedPorts={"80/tcp": {}}, HostConfig={
        "NetworkMode": "bridge", "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8086"}]}})
    home.engine.wait("app", lambda now: now["State"]["Status"] == "exited")
    home.configure()
    home.once("up-to-date")
    second = home.publish("exit", 0)
    with listener(8086):
        home.once("failed", reason="8086")
        no_blame(home)
    home.once("updated")
    home.check(second, state="exited")


def test_a_network_that_was_removed_under_a_container_that_is_down(home):
    network(home)
    home.adopt(home.publish("exit", 0), HostConfig={"NetworkMode": "n1"})
    home.engine.wait("app", lambda now: now["State"]["Status"] == "exited")
    home.configure()
    home.once("up-to-date")
    home.engine.call("DELETE", "/networks/n1")
    second = home.publish("exit", 0)
    home.once("deferred", reason="network n1 is not there, so the container could not be started again")
    no_blame(home)
    network(home)
    home.once("updated")
    home.check(second, state="exited")


def test_an_address_that_another_container_has_now(home):
    network(home)
    home.adopt(home.publish("exit", 0), HostConfig={"NetworkMode": "n1"}, NetworkingConfig={
        "EndpointsConfig": {"n1": {"IPAMConfig": {"IPv4Address": "10.77.1.9"}}}})
    home.engine.wait("app", lambda now: now["State"]["Status"] == "exited")
    home.configure()
    home.once("up-to-date")
    home.engine.run("other", home.image, Cmd=["/actor", "wait"], HostConfig={"NetworkMode": "n1"},
                    NetworkingConfig={"EndpointsConfig": {"n1": {"IPAMConfig": {"IPv4Address": "10.77.1.9"}}}})
    home.publish("exit", 0)
    home.once("deferred", reason="container other has the address 10.77.1.9 of network n1")
    home.engine.remove_container("other")
    home.once("updated")


def test_a_container_whose_network_it_shares_is_down(home):
    home.publish()
    home.engine.pull(home.image)
    home.engine.run("vpn", home.image)
    home.adopt(HostConfig={**ALWAYS, "NetworkMode": "container:vpn"})
    home.configure()
    home.once("up-to-date")
    before = home.engine.inspect("app")
    home.engine.call("POST", "/containers/vpn/stop")
    second = home.publish()
    home.once("deferred", reason="container vpn, whose namespace it shares, does not run")
    home.untouched(before)
    home.engine.call("POST", "/containers/vpn/start")
    home.once("updated")
    home.check(second, policy="always")
