# SPDX-License-Identifier: MIT
"""Reports of a device: to collectors that record them, to a real receiver, to collectors that misbehave, and in a
file. The registry and the agent are real, the engine is simulated."""

import base64
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

import pullet_otlp  # noqa: E402
from pullet_agent import Pullet  # noqa: E402
from pullet_image import actor  # noqa: E402
from pullet_lab import Lab, free_port  # noqa: E402
from pullet_registry import Registry  # noqa: E402
from pullet_sweep import handle_signals, wait_for  # noqa: E402
from pullet_stub import Engines  # noqa: E402
from registryd import Answer, Registry as Server  # noqa: E402

handle_signals()
CREATE = {"HostConfig": {"NetworkMode": "none", "RestartPolicy": {"Name": "always"}}}
BUILD = pathlib.Path(os.environ["PULLET_BUILD"])


class Collector(Server):
    """Stores all posts. answer: the response to every request."""

    def __init__(self):
        super().__init__()
        self.answer = lambda _seen: Answer(200, {"Content-Type": "application/json"}, {})
        self.hooks.append(lambda seen: self.answer(seen))

    def bodies(self, path):
        return [json.loads(seen.body) for seen in list(self.seen) if seen.path == path]

    def events(self, container="app"):
        """(event's name, attributes) of all, in order."""
        return [(record["eventName"], attributes) for body in self.bodies("/v1/logs")
                for scope in body["resourceLogs"][0]["scopeLogs"] for record in scope["logRecords"]
                if (attributes := plain(record["attributes"]))["container.name"] == container]

    def results(self):
        return [attributes for name, attributes in self.events() if name == "pullet.result"]

    def metrics(self):
        """Of the newest report: name -> [(attributes, value)]."""
        body = self.bodies("/v1/metrics")[-1]
        return {m["name"]: [(plain(p["attributes"]), float(p.get("asInt", p.get("asDouble"))))
                            for p in (m.get("sum") or m["gauge"])["dataPoints"]]
                for m in body["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]}


def plain(attributes):
    return {a["key"]: a["value"]["stringValue"] for a in attributes}


class House:
    """A device with one container, its registry and its engine."""

    def __init__(self, lab, name, registry, engines):
        self.registry, self.name, self.versions = registry, name, 0
        self.device = engines.devices[name]
        self.device.url = f"unix://{engines.socket(name)}"
        self.pullet = Pullet(lab, self.device, name)

    def configure(self, report, **agent):
        self.pullet.configure(
            {"app": {"image": f"{self.registry.address}/{self.name}:stable", "create": CREATE, "health": "running",
                     "health-period": "300ms"}},
            agent={"interval": "1s", "device-id": self.name, **agent},
            more="[report]\n" + "".join(f"{key} = {value}\n" for key, value in report.items()))

    def publish(self, broken=False):
        self.versions += 1
        image = actor("say", f"{self.name} {self.versions}", "wait")
        done = self.registry.publish(self.name, f"v{self.versions}", image)
        if broken:
            self.device.broken.update(done.configs.values())
        self.registry.point(done, "stable")
        return done

    def runs(self, published):
        return any(c["Name"] == "/app" and c["State"]["Running"] and c["Image"] in published.configs.values()
                   for c in list(self.device.containers.values()))

    def wait_for(self, published):
        wait_for("the version", lambda: self.runs(published) and self.pullet.record("app")
                 and self.pullet.record("app")["phase"] == "idle", 120)


@pytest.fixture(scope="module")
def lab():
    with Lab() as lab:
        lab.environment["DBUS_SYSTEM_BUS_ADDRESS"] = f"unix:path={lab.path('no-bus')}"
        yield lab


@pytest.fixture(scope="module")
def engines(lab):
    directory = lab.path("engines")
    directory.mkdir()
    names = ["told", "asked", "stall", "down", "error", "garbage", "filed", "many"]
    engines = Engines(directory, names)
    engines.start()
    return engines


@pytest.fixture(scope="module")
def registry(lab):
    return Registry(lab)


@pytest.fixture
def collector():
    with Collector() as collector:
        yield collector


class Activator:
    """pullet-fetch as systemd starts it: one process a connection, the connection as its standard input."""

    def __init__(self, lab, config):
        self.path = lab.path("fetch.sock")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen(4)
        self.command = [BUILD / "pullet-fetch", "--config", config]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            process = subprocess.Popen(self.command, stdin=connection, stdout=subprocess.DEVNULL)
            connection.close()
            threading.Thread(target=process.wait, daemon=True).start()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def test_many_containers_are_reported_in_several_posts(lab, engines, registry, collector):
    """All of them at once exceed the length of one line to pullet-fetch."""
    house = House(lab, "many", registry, engines)
    names = {f"container-{number}" for number in range(150)}
    house.pullet.configure({name: {"image": f"{registry.address}/many:stable"} for name in names},
                           agent={"interval": "1d"}, more=f"[report]\nurl = {collector.url}\ninterval = 1s\n")
    with house.pullet.resident():
        wait_for("all of them", lambda: names <= {
            plain(point["attributes"])["container.name"] for body in collector.bodies("/v1/metrics")
            for metric in body["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
            if metric["name"] == "pullet.container.info" for point in metric["gauge"]["dataPoints"]}, 120)


def test_an_update_and_a_rollback_are_reported(lab, engines, registry, collector):
    house = House(lab, "told", registry, engines)
    house.configure({"url": collector.url + "/"}, ring="canary")
    activator = Activator(lab, house.pullet.config)
    first = house.publish()
    with house.pullet.resident("--fetch-socket", str(activator.path)):
        house.wait_for(first)
        second = house.publish()
        house.wait_for(second)
        broken = house.publish(broken=True)
        wait_for("the rollback", lambda: "rolled-back" in [r["pullet.result"] for r in collector.results()], 120)
        wait_for("its metrics", lambda: ({"pullet.result": "rolled-back", "container.name": "app"}, 1)
                 in collector.metrics()["pullet.passes"], 60)
    activator.close()

    results = [r for r in collector.results() if r["pullet.result"] in ("updated", "rolled-back")]
    assert [(r["pullet.result"], r.get("pullet.digest.from"), r["pullet.digest.to"]) for r in results] == [
        ("updated", None, first.digest), ("updated", first.digest, second.digest),
        ("rolled-back", second.digest, broken.digest)]
    assert "exec format error" in results[-1]["pullet.reason"] and "pullet.reason" not in results[0]
    phases = [(a["pullet.phase"], a["oci.manifest.digest"]) for name, a in collector.events()
              if name == "pullet.phase"]
    assert [phase for phase, digest in phases if digest == second.digest][:4] == ["prepare", "trial", "commit", "idle"]
    assert [phase for phase, digest in phases if digest == broken.digest][:3] == ["prepare", "trial", "revert"]

    metrics = collector.metrics()
    (info, one), = metrics["pullet.container.info"]
    assert one == 1 and info["container.name"] == "app" and info["oci.manifest.digest"] == second.digest
    assert info["container.image.name"] == f"{registry.address}/told:stable" and info["pullet.phase"] == "idle"
    assert metrics["pullet.rejected"][0][1] == 1
    passes = {a["pullet.result"]: value for a, value in metrics["pullet.passes"]}
    assert passes["updated"] == 2 and passes["rolled-back"] == 1 and passes["up-to-date"] >= 0
    assert 0 < metrics["pullet.update.downtime"][0][1] <= metrics["pullet.update.duration"][0][1] < 120
    for kind, path in (("resourceMetrics", "/v1/metrics"), ("resourceLogs", "/v1/logs")):
        for body in collector.bodies(path):
            resource = plain(body[kind][0]["resource"]["attributes"])
            assert resource.pop("service.version")
            assert resource == {"service.name": "pullet", "service.instance.id": "told", "host.id": "told",
                                "pullet.ring": "canary"}
    assert {seen.method for seen in collector.seen} == {"POST"}
    assert {seen.headers["Content-Type"] for seen in collector.seen} == {"application/json"}


def test_a_real_receiver_takes_it(lab, engines, registry, collector, tmp_path):
    """Checked against OpenTelemetry's own definition, and stored in VictoriaMetrics and queried through its API."""
    if pullet_otlp.missing():
        pytest.skip(pullet_otlp.missing())
    protocol, store = pullet_otlp.Protocol(tmp_path), pullet_otlp.VictoriaMetrics(lab)
    house = House(lab, "asked", registry, engines)
    textfile = house.pullet.directory / "pullet.prom"
    report = {"url": collector.url, "textfile": textfile, "interval": "1s"}
    house.configure(report, interval="1h", ring="canary")
    version = house.publish()
    assert house.pullet.once().results["app"]["result"] == "updated"
    registry.pause()  # so that at least one report has no result yet
    with house.pullet.resident() as process:
        wait_for("a report", lambda: collector.bodies("/v1/metrics"), 60)
        registry.resume()
        # There is no poll within the hour: these reports are heartbeats.
        wait_for("three reports", lambda: len(collector.bodies("/v1/metrics")) >= 3, 60)
        house.configure(report, interval="1s", ring="canary")
        process.send_signal(signal.SIGHUP)
        wait_for("an event", lambda: collector.bodies("/v1/logs"), 60)
        wait_for("a pass", lambda: "pullet.last_contact.timestamp" in collector.metrics(), 60)
        told = textfile.read_text()
    for seen in collector.seen:
        message = protocol.parse(seen.path.removeprefix("/v1/"), seen.body)
        if seen.path == "/v1/metrics":
            store.take(message)
    store.flush()
    version_of = f'pullet_container_info{{oci_manifest_digest="{version.digest}"}}'
    # There are two series, without and with a result; the newer one is valid.
    wait_for("both series", lambda: {labels.get("pullet_result") for labels, _ in store.query(version_of)}
             == {None, "up-to-date"}, 60)
    for labels, value in store.query(version_of):
        assert value == 1 and labels["container_name"] == "app" and labels["pullet_phase"] == "idle"
        assert labels["service.instance.id" if "service.instance.id" in labels else "service_instance_id"] == "asked"
    newest, _ = max(store.query(f"timestamp({version_of})"), key=lambda one: one[1])
    assert newest["pullet_result"] == "up-to-date"
    # Both paths give the same names.
    store.take_text(told, way="file")
    store.flush()
    of_file = {line.split("{")[0] for line in told.splitlines() if line[0] != "#"}
    wait_for("the file's", lambda: store.query('count({way="file"})')
             and store.query('count({way="file"})')[0][1] == len(strict(told)), 60)
    wait_for(f"the names of the file: {sorted(of_file)}", lambda: of_file - {"pullet_agent_info"} == {
        labels["__name__"] for labels, _ in store.query('{way="",__name__=~"pullet.*"}')}, 60)
    assert len(of_file) > 4


class Stalling:
    """Accepts a report and does not answer; records whether the sender has given up."""

    def __init__(self):
        self.given_up = []

    def __call__(self, _seen):
        ended = threading.Event()
        self.given_up.append(ended)

        def hold(connection):
            with contextlib.suppress(OSError):
                connection.recv(1)
            ended.set()

        return Answer(raw=hold)

    def waits(self):
        return [ended for ended in list(self.given_up) if not ended.is_set()]


def test_a_stalled_collector_delays_nothing(lab, engines, registry, collector):
    stalling = collector.answer = Stalling()
    house = House(lab, "stall", registry, engines)
    house.configure({"url": collector.url})
    with house.pullet.resident():
        for _ in range(3):  # a busy machine may take longer for an update than one report has
            wait_for("a report to hang", stalling.waits, 120)
            before = stalling.waits()
            house.wait_for(house.publish())
            assert len(stalling.waits()) <= 1
            if before and before == stalling.waits():
                return
        pytest.fail("no update ended while a report hung")


@pytest.mark.parametrize("kind", ["down", "error", "garbage"])
def test_a_bad_collector_delays_nothing(lab, engines, registry, collector, kind):
    garbage = Answer(raw=lambda connection: connection.sendall(b"\xff\x00 200 OK\r\n" * 1000))
    collector.answer = lambda _seen: garbage if kind == "garbage" else Answer(500, body=b"no")
    url = f"http://127.0.0.1:{free_port()}" if kind == "down" else collector.url
    house = House(lab, kind, registry, engines)
    house.configure({"url": url})
    log = house.pullet.directory / "pulletd.log"
    with house.pullet.resident():
        wait_for("the complaint", lambda: "report: " in log.read_text(), 60)
        house.wait_for(house.publish())
    # A lasting failure is logged once.
    complaints = [line for line in log.read_text().splitlines() if "report: " in line]
    assert len(set(complaints)) == len(complaints) <= 2, complaints
    assert url + "/v1/metrics: " in complaints[0], complaints
    if kind == "error":
        assert "HTTP status 500" in complaints[0], complaints


def strict(text):
    """Names and types of the exposition format, or an assertion; samples: {name{labels}: value}."""
    samples, typed = {}, {}
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in typed and kind in ("gauge", "counter")
            typed[name] = kind
        elif not line.startswith("# HELP "):
            key, value = line.rsplit(" ", 1)
            assert key.split("{")[0] in typed and key not in samples, line
            samples[key] = float(value)
    return samples


def test_the_file(lab, engines, registry):
    """The file is readable for all, complete at any moment, and the only file that a quiet poll writes."""
    house = House(lab, "filed", registry, engines)
    directory = lab.path("tmpfs")
    house.configure({"textfile": directory / "pullet.prom"})
    house.publish()
    assert house.pullet.once().results["app"]["result"] == "updated"
    with house.pullet.resident():
        log = house.pullet.directory / "pulletd.log"
        wait_for("the complaint", lambda: "pullet.prom: No such file or directory" in log.read_text(), 60)
        before = house.pullet.state_snapshot()
        directory.mkdir(mode=0o755)
        path = directory / "pullet.prom"
        wait_for("the file", path.exists, 60)
        key = 'pullet_passes_total{container_name="app",pullet_result="up-to-date"}'
        first = strict(path.read_text())[key]
        wait_for("the next", lambda: strict(path.read_text())[key] > first, 60)
        assert house.pullet.state_snapshot() == before
    assert path.stat().st_mode & 0o777 == 0o644 and os.listdir(directory) == ["pullet.prom"]
    assert log.read_text().count("No such file") == 1 and log.read_text().count("reporting resumed") == 1


def ask(config, question):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = subprocess.Popen([BUILD / "pullet-fetch", "--config", config], stdin=theirs)
        theirs.close()
        ours.sendall(json.dumps(question).encode() + b"\n")
        answer = json.loads(ours.makefile().readline())
        assert process.wait(60) == 0
    answer.pop("traffic", None)
    return answer


def test_a_request_cannot_choose_the_collector(tmp_path, collector):
    """pullet-fetch posts to the URL in the configuration, whatever is in the request."""
    config = tmp_path / "pullet.conf"
    config.write_text("")
    question = {"op": "report", "url": collector.url, "metrics": "{}"}
    assert ask(config, question)["error"]["code"] == "EPERM" and not collector.seen
    with Collector() as other:
        config.write_text(f"[report]\nurl = {collector.url}\n")
        assert ask(config, {**question, "url": other.url}) == {} and not other.seen
    assert [seen.path for seen in collector.seen] == ["/v1/metrics"]


def let_in(name, password):
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@pytest.mark.parametrize("key", ["auth", "username"])
def test_collector_with_a_password(tmp_path, collector, key):
    config, credentials = tmp_path / "pullet.conf", tmp_path / "collector.json"
    config.write_text(f"[report]\nurl = {collector.url}/otlp\ncredentials = {credentials}\n")
    auth = ({"auth": base64.b64encode(b"pi:secret").decode()} if key == "auth" else
            {"username": "pi", "password": "secret"})
    host = collector.url.removeprefix("http://")
    credentials.write_text(json.dumps({"auths": {host: auth}}))
    credentials.chmod(0o600)
    collector.answer = lambda seen: Answer(
        200 if seen.headers.get("Authorization") == let_in("pi", "secret") else 401, {}, {})
    question = {"op": "report", "metrics": "{}", "logs": "{}"}
    assert ask(config, question) == {}
    assert [seen.path for seen in collector.seen] == ["/otlp/v1/metrics", "/otlp/v1/logs"]
    config.write_text(f"[report]\nurl = {collector.url}/otlp\n")
    assert "401" in ask(config, question)["error"]["text"]


def test_a_password_is_not_sent_in_the_clear(tmp_path):
    config, credentials = tmp_path / "pullet.conf", tmp_path / "collector.json"
    credentials.write_text(json.dumps({"auths": {"collector.example:4318": {
        "username": "pi", "password": "secret"}}}))
    credentials.chmod(0o600)
    for url, why in (("http://collector.example:4318", "a password is sent over https only"),
                     ("https://other.example:4318", "has no user and password for other.example:4318")):
        config.write_text(f"[report]\nurl = {url}\ncredentials = {credentials}\n")
        error = ask(config, {"op": "report", "metrics": "{}"})["error"]
        assert why in error["text"] and "secret" not in error["text"]


def test_a_large_report_goes_through(tmp_path, collector):
    """As many containers as fit into a line between pulletd and pullet-fetch."""
    config = tmp_path / "pullet.conf"
    config.write_text(f"[report]\nurl = {collector.url}\n")
    point = {"attributes": [{"key": "container.name", "value": {"stringValue": "a" * 20}},
                            {"key": "pullet.result", "value": {"stringValue": "up-to-date"}}],
             "startTimeUnixNano": "1800000000000000000", "timeUnixNano": "1800000000000000000", "asInt": "7"}
    metrics = {"resourceMetrics": [point] * 650}
    assert len(json.dumps(metrics)) > 160000
    assert ask(config, {"op": "report", "metrics": json.dumps(metrics), "logs": "{}"}) == {}
    assert collector.bodies("/v1/metrics") == [metrics] and collector.bodies("/v1/logs") == [{}]
