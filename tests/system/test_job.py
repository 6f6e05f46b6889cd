# SPDX-License-Identifier: MIT
"""The job that pulletd sends to pullet-update over a socket: its form, its end, and the lock that it waits for."""

import contextlib
import fcntl
import itertools
import json
import os
import pathlib
import resource
import signal
import socket
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from pullet_bus import Polkit, configure, resident, write_record  # noqa: E402
from pullet_clock import preloaded  # noqa: E402
from pullet_sweep import MARK, wait_for  # noqa: E402

_numbers = itertools.count(1)


class Job:
    """pullet-update with this job on a socket that is its standard input and output, as systemd starts it."""

    def __init__(self, pullet, job, arguments=(), **environment):
        self.socket, other = socket.socketpair()
        self.socket.settimeout(60)
        self.log = pullet.directory / "update.log"
        with other, open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [pullet.build / "pullet-update", "--config", pullet.config, "--state-dir", pullet.state, *arguments],
                stdin=other, stdout=other, stderr=log, env={**pullet.lab.environment, MARK: pullet.mark, **environment})
        self.send(job)

    def send(self, job):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(job if isinstance(job, bytes) else (json.dumps(job) + "\n").encode())

    def events(self):
        """All events until the end -> events, exit status."""
        data = b""
        with self.socket:
            with contextlib.suppress(ConnectionResetError):
                while more := self.socket.recv(65536):
                    data += more
        return [json.loads(line) for line in data.decode().splitlines()], self.process.wait(60)

    def stop(self):
        self.socket.shutdown(socket.SHUT_WR)


def job(operation, *containers):
    return {"operation": operation, "containers": list(containers)}


def test_each_container_has_an_end(pullet):
    configure(pullet, "app", "db", "web")
    for one in ("poll", "check"):
        events, status = Job(pullet, job(one, "app", "db", "web")).events()
        assert [(e["event"], e["container"], e["result"]) for e in events] == [
            ("result", name, "failed") for name in ("app", "db", "web")]
        assert all("cannot connect" in e["reason"] for e in events) and status == 1
    events, status = Job(pullet, job("hold", "app")).events()
    assert len(events) == 1 and events[0]["container"] == "app" and status == 1


@pytest.mark.parametrize("operation", ["poll", "hold"])
def test_a_configuration_that_is_broken_fails_each_container(pullet, operation):
    names = ["app"] if operation == "hold" else ["app", "db"]
    pullet.config.write_text("[nonsense]\n")
    events, status = Job(pullet, job(operation, *names)).events()
    assert [(e["container"], e["result"]) for e in events] == [(name, "failed") for name in names]
    assert all("nonsense" in e["reason"] for e in events) and status == 2
    configure(pullet, "app")
    events, status = Job(pullet, job("poll", "app", "gone")).events()
    assert [e["result"] for e in events] == ["failed"] * 2 and status == 2
    assert "no [container gone]" in events[0]["reason"]


@pytest.mark.parametrize("line, said", [
    (b"nonsense\n", "job"), (b'{"operation":"poll"}\n', "missing operand"), (b'{"operation":"frob","containers":["app"]}\n', "job"),
    (b'{"operation":"poll","containers":[1]}\n', "job"), (b'{"operation":"poll","containers":[]}\n', "missing operand"),
    (b'{"operation":"rollback","containers":["app","db"]}\n', "extra operand 'db'"),
    (json.dumps(job("poll", *map(str, range(1025)))).encode() + b"\n", "job"), (b"x" * 300_000, "bytes")])
def test_an_invalid_job_is_refused(pullet, line, said):
    configure(pullet, "app", "db")
    one = Job(pullet, line)
    assert one.events() == ([], 2)
    assert said in one.log.read_text()


def test_a_hang_up_before_the_job_ends_it(pullet):
    one = Job(pullet, b"")
    one.socket.close()
    assert one.process.wait(30) == 2


def catches(pid, number):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    mask = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return int(mask, 16) >> (number - 1) & 1


def test_a_socket_that_cannot_be_taken_over_is_an_error(pullet):
    configure(pullet, "app")
    one = Job(pullet, b"", ASAN_OPTIONS="detect_leaks=0")  # which needs descriptors of its own
    wait_for("its handlers", lambda: catches(one.process.pid, signal.SIGTERM), 10)
    resource.prlimit(one.process.pid, resource.RLIMIT_NOFILE, (3, 3))
    one.send(job("poll", "app"))
    assert one.events() == ([], 2)
    assert "cannot take over the socket" in one.log.read_text()


# --- the lock -----------------------------------------------------------------------------------


@contextlib.contextmanager
def locked(pullet):
    """The state directory is locked by this process."""
    pullet.state.mkdir(mode=0o700, exist_ok=True)
    fd = os.open(pullet.state, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def waits(one):
    wait_for("a word about the lock", lambda: "waiting for" in one.log.read_text())
    return one.log.read_text()


def test_the_holder_of_the_lock_is_named(pullet):
    configure(pullet, "app")
    with locked(pullet):
        one = Job(pullet, job("poll", "app"))
        assert f"waiting for process {os.getpid()} (" in waits(one)
        assert one.process.poll() is None
    events, _ = one.events()
    assert "cannot connect" in events[0]["reason"]  # it continued


@pytest.mark.parametrize("how", ["shutdown", "close", "SIGTERM"])
def test_a_wait_for_the_lock_ends(pullet, how):
    configure(pullet, "app", "db")
    with locked(pullet):
        one = Job(pullet, job("poll", "app", "db"))
        waits(one)
        if how == "close":
            one.socket.close()
            assert one.process.wait(30) == 0
            return
        if how == "shutdown":
            one.stop()
        else:
            one.process.send_signal(signal.SIGTERM)
        events, status = one.events()
        assert [(e["result"], e["reason"]) for e in events] == [("deferred", "stopped by a signal")] * 2
        assert status == 0


def test_a_hang_up_before_the_lock_is_tried_counts(pullet):
    configure(pullet, "app")
    with locked(pullet):
        one = Job(pullet, job("poll", "app"))
        one.stop()
        events, _ = one.events()
        assert events[0]["reason"] == "stopped by a signal"


def test_a_signal_right_before_an_answer_is_awaited_counts(pullet):
    """The handler has run then, and nothing interrupts the wait."""
    configure(pullet, "app")
    path = str(pullet.directory / "silent.sock")
    with socket.create_server(path, family=socket.AF_UNIX), open(os.devnull) as null:
        one = subprocess.run(
            [pullet.build / "pullet-update", "--config", pullet.config, "--state-dir", pullet.state, "--fetch-socket", path,
             "--verify", "127.0.0.1:1/app:stable"], stdin=null, capture_output=True, text=True, timeout=30,
            env={**pullet.lab.environment, MARK: pullet.mark, **preloaded(pullet.directory, "late-signal.c")})
    assert one.returncode == 1 and "interrupted" in one.stdout + one.stderr, one


FAST_CLOCK = r"""
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
/* A second of the machine is ten minutes of the program. */
int clock_gettime(clockid_t clock, struct timespec *ret)
{
	int r = (int)syscall(SYS_clock_gettime, clock, ret);
	if (clock == CLOCK_BOOTTIME)
		ret->tv_sec = ret->tv_sec * 600 + ret->tv_nsec / 1666667;
	return r;
}
"""


def test_a_lock_is_not_waited_for_without_end(pullet):
    """A holder that is stopped (Ctrl-Z on pulletd --once) delays the service, which reports it each time."""
    library = pullet.lab.path("fast-clock.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", library], input=FAST_CLOCK, text=True, check=True)
    configure(pullet, "app")
    environment = dict(pullet.lab.environment)
    try:
        pullet.lab.environment.update(LD_PRELOAD=str(library), ASAN_OPTIONS="verify_asan_link_order=0")
        with locked(pullet):
            events, status = Job(pullet, job("poll", "app")).events()
    finally:
        pullet.lab.environment.clear()
        pullet.lab.environment.update(environment)
    assert events[0]["result"] == "failed" and status == 1
    assert f"locked by process {os.getpid()}" in events[0]["reason"] and "10 minutes" in events[0]["reason"]


# --- the service ----------------------------------------------------------------------------------


def test_a_unit_that_dies_fails_one_job(bus, pullet):
    """pullet-update as a unit: pulletd connects, and a connection that ends without a result is a failure."""
    path = pullet.lab.path("update.sock")
    write_record(pullet.state, "app")
    with socket.socket(socket.AF_UNIX) as listener, open(pullet.directory / "pulletd.log", "ab") as log:
        listener.bind(str(path))
        listener.listen()
        process = pullet.spawn("--update-socket", path, stdout=log, stderr=log, env=bus.environment)
        try:
            bus.wait_for_pulletd()
            with bus.listener() as signals:
                for number in (1, 2):
                    bus.order("Hold")
                    connection, _ = listener.accept()
                    with connection:
                        assert json.loads(connection.makefile().readline()) == {
                            **job("hold", "app"), "hold": {"until": 0, "reason": "", "uid": os.getuid()}}
                    result = signals.wait_finished("hold", number=number)
                    assert result["result"] == "failed"
                    assert result["reason"].startswith("pullet-update ended without a result; see: pullet config check")
            assert process.poll() is None
        finally:
            pullet.kill9(process)


def test_stopping_waits_for_the_unit(bus, pullet):
    path = pullet.lab.path("stop.sock")
    write_record(pullet.state, "app")
    with socket.socket(socket.AF_UNIX) as listener, open(pullet.directory / "pulletd.log", "ab") as log:
        listener.bind(str(path))
        listener.listen()
        process = pullet.spawn("--update-socket", path, stdout=log, stderr=log, env=bus.environment)
        try:
            bus.wait_for_pulletd()
            bus.order("Update")
            connection, _ = listener.accept()
            with connection, connection.makefile() as lines:
                lines.readline()
                process.send_signal(signal.SIGTERM)
                assert lines.readline() == ""  # shut down in that direction
                assert process.poll() is None  # it waits for the end
            assert process.wait(30) == 0
            text = (pullet.directory / "pulletd.log").read_text()
            assert "app: deferred: stopped by a signal" in text and "failed" not in text, text
        finally:
            pullet.kill9(process)


def test_reload_notifies_with_the_monotonic_clock(bus, pullet):
    path = pullet.lab.path("notify")
    write_record(pullet.state, "app")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(path))
        notify.settimeout(30)
        bus.environment["NOTIFY_SOCKET"] = str(path)
        with resident(pullet, bus) as process:
            times = []
            for _ in range(3):
                before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
                process.send_signal(signal.SIGHUP)
                while "RELOADING=1" not in (text := notify.recv(4096).decode()):
                    pass
                times.append(int(text.partition("MONOTONIC_USEC=")[2].split()[0]))
                assert before <= times[-1] <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            assert any(at % 1000 for at in times)  # not cut to milliseconds


# --- the jobs of pulletd -------------------------------------------------------------------


class Units:
    """Accepts the jobs of pulletd, one after the other."""

    def __init__(self, bus, pullet):
        self.path = pullet.lab.path(f"update-{next(_numbers)}.sock")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen()
        self.listener.settimeout(60)
        self.log = open(pullet.directory / "pulletd.log", "ab")
        self.pullet, self.process = pullet, pullet.spawn(
            "--update-socket", self.path, stdout=self.log, stderr=self.log, env=bus.environment)
        bus.wait_for_pulletd()

    @contextlib.contextmanager
    def next(self):
        """-> the job, and a function that sends events of it."""
        connection, _ = self.listener.accept()
        with connection:
            yield json.loads(connection.makefile().readline()), lambda event: connection.sendall(
                (json.dumps(event) + "\n").encode())

    def close(self):
        self.listener.close()
        self.log.close()
        self.pullet.kill9(self.process)


@pytest.fixture
def units(bus, pullet):
    names = ("app", "db", "web")
    configure(pullet, *names)
    for name in names:
        write_record(pullet.state, name)
    units = Units(bus, pullet)
    yield units
    units.close()


def result(name, word="up-to-date"):
    return {"event": "result", "container": name, "image": f"127.0.0.1:1/{name}:stable", "result": word,
            "from": None, "to": None, "reason": None, "downtime_ms": None}


def test_checks_requested_together_are_one_job(bus, pullet, units):
    """pullet check asks for each container; the registry is asked for all of them at once."""
    bus.order("Hold", "app")
    with units.next() as (first, say):
        assert {**first, "hold": None} == {**job("hold", "app"), "hold": None}
        with bus.listener() as listener:
            check = subprocess.Popen(
                [pullet.build / "pullet", "check", "--config", pullet.config], stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True, env={**pullet.lab.environment, **bus.environment})
            # pullet waits for the result of each.
            for _ in range(3):
                assert "waiting for the end of hold of app" in check.stderr.readline()
            assert not listener.signals
        say(result("app", "deferred"))
    jobs = []
    for _ in range(2):
        with units.next() as (one, say):
            jobs.append(one)
            for name in one["containers"]:
                say({"event": "candidate", "container": name} if len(jobs) == 1 and name == "db" else result(name))
    out, _ = check.communicate(timeout=60)
    assert sorted(line.split(":")[0] for line in out.splitlines()) == ["app", "db", "web"]
    assert jobs == [job("check", "app", "db", "web"), job("check", "db")]


def test_a_candidate_gets_a_job_of_its_own(bus, pullet):
    configure(pullet, "app", "db", interval="1s", jitter="0%")
    for name in ("app", "db"):
        write_record(pullet.state, name)
    units = Units(bus, pullet)
    try:
        with units.next() as (first, say):
            assert first == job("poll", "app", "db")
            say({"event": "candidate", "container": "db"})
            say(result("app"))
        with units.next() as (second, say):
            assert second == job("update", "db")
            say(result("db", "updated"))
        with units.next() as (third, _):
            assert third == job("poll", "app", "db")
    finally:
        units.close()


def test_users_other_than_root_cause_one_request_in_30_seconds(bus, pullet, units):
    """The first check asks the registry; the next one gets the same result and starts no job. Root is not limited."""
    with Polkit(bus, "yes"), bus.listener() as listener:
        bus.order("Check", user="nobody")
        with units.next() as (one, say):
            assert one == job("check", "app")
            say(result("app"))
        first = listener.wait_finished("check")
        for number in (2, 3):
            bus.order("Check", user="nobody")
            assert listener.wait_finished("check", number=number) == first
        bus.order("Check")
        with units.next() as (one, say):
            assert one == job("check", "app")
            say(result("app", "failed"))
        # The result of a hold is not the registry's answer, which is asked again.
        bus.order("Hold")
        with units.next() as (one, say):
            say(result("app", "deferred"))
        listener.wait_finished("hold")
        bus.order("Check", user="nobody")
        with units.next() as (one, say):
            assert one == job("check", "app")


def test_a_stream_of_checks_does_not_delay_the_round(bus, pullet):
    """A user who may check without a password must not be able to delay updates forever."""
    configure(pullet, "app", "db", interval="1s", jitter="0%")
    for name in ("app", "db"):
        write_record(pullet.state, name)
    units = Units(bus, pullet)
    try:
        seen, hung = [], time.monotonic() + 60
        while seen.count("poll") < 3:
            assert time.monotonic() < hung, seen
            with units.next() as (one, say):
                seen.append(one["operation"])
                # Each time another check arrives before this one ends.
                bus.order("Check", "app" if one["containers"] == ["db"] else "db")
                for name in one["containers"]:
                    say(result(name))
        assert seen.count("check") > 3
    finally:
        units.close()
