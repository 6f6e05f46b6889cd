# SPDX-License-Identifier: MIT
"""The Lab itself, which the other tests need."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from pullet_image import actor
from pullet_lab import TOP, Lab, free_port
from pullet_relay import Relay
from pullet_sweep import processes_of, wait_for


def test_images_pull_run_and_stop(engine, registry):
    since, mark = time.time(), registry.mark()
    published = registry.publish("lab", "one", [actor("say", "hi", "wait"),
                                                actor("wait", platform="linux/s390x")])
    engine.pull(registry.ref("lab@" + published.digest))
    assert {r.method for r in registry.requests(mark) if r.by_engine} >= {"GET"}
    engine.run("lab", registry.ref("lab@" + published.digest))
    wait_for("it to be up", lambda: engine.logs("lab"))
    engine.call("POST", "/containers/lab/stop?t=20")
    assert engine.inspect("lab")["State"]["ExitCode"] == 0
    assert engine.logs("lab") == "hi\n"
    actions = [event["Action"] for event in engine.events(since)]
    # More of them, and in another order, by the engine and its release.
    assert [a for a in actions if a in ("create", "start", "die")] == ["create", "start", "die"]
    engine.clear()
    assert engine.containers() == {} and engine.call("GET", "/images/json?all=1") == []


def test_hello_image_runs(lab, engine, registry):
    """Its manifest embeds what it refers to."""
    out = lab.path("payload")
    subprocess.run([TOP / "payload/build", "--out", out], check=True, stdout=subprocess.DEVNULL)
    published = registry.publish_layout("hello", "1", out / "image")
    engine.pull(registry.ref("hello@" + published.digest))
    engine.run("hello", registry.ref("hello@" + published.digest), HostConfig={"NetworkMode": "none"})
    wait_for("it to end", lambda: engine.inspect("hello")["State"]["Status"] == "exited")
    assert engine.inspect("hello")["State"]["ExitCode"] == 0
    assert engine.logs("hello") == "Hello Docker World!\n"
    engine.clear()


def test_relay_counts(lab, engine, registry):
    relay = Relay(lab, registry.address)
    registry.publish("relayed", "one", actor("exit", 0))
    engine.pull(f"{relay.address}/relayed:one")
    relay.settle()
    assert relay.connections >= 1 and relay.up > 300 and relay.down > 800
    engine.clear()


def test_nothing_is_left_after_a_kill_9():
    """The guard removes what a killed test leaves."""
    script = ("import sys, time; sys.path.insert(0, sys.argv[1]); from pullet_engine import *\n"
              "from pullet_lab import *; from pullet_registry import *; from pullet_image import *\n"
              "lab = Lab(); engine = Engine(lab); registry = Registry(lab)\n"
              "registry.publish('x', 'y', actor('stubborn')); engine.pull(registry.ref('x:y'))\n"
              "engine.run('xx', registry.ref('x:y')); print(lab.directory, flush=True)\n"
              "time.sleep(60)\n")
    process = subprocess.Popen([sys.executable, "-c", script, str(TOP / "tests/lib")],
                               stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        directory = process.stdout.readline().strip()
        assert len(processes_of(directory)) >= 5  # engine, containerd, registry, shim, container
        os.kill(process.pid, signal.SIGKILL)
        wait_for("the guard", lambda: not os.path.exists(directory))
        wait_for("the last process", lambda: not processes_of(directory))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_port_stays_with_its_server():
    """Before it starts, and while it is down."""
    port = free_port()
    for _ in range(2):
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        with socket.create_server(("127.0.0.1", port)):
            socket.create_connection(("127.0.0.1", port)).close()


def test_closing_ends_everything():
    with Lab() as lab:
        directory = lab.directory
        lab.spawn(["sleep", "600"])
    assert not directory.exists() and not processes_of(directory)
