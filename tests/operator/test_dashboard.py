# SPDX-License-Identifier: MIT
"""The dashboard and the alerts of packaging/examples: Prometheus scrapes what real agents write, and every expression has
a result; promtool tests each alert. The engines are simulated.

With PULLET_PICTURE=FILE.svg twelve devices make a rollout in steps, and the panels of its results are drawn there."""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

import dashboard_picture  # noqa: E402
from pullet_agent import Pullet  # noqa: E402
from pullet_image import actor  # noqa: E402
from pullet_lab import Lab, free_port  # noqa: E402
from pullet_registry import Registry  # noqa: E402
from pullet_stub import Engines  # noqa: E402
from pullet_sweep import handle_signals, stop_process, tail, wait_for  # noqa: E402
from pullet_web import web  # noqa: E402

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "packaging/examples"
PICTURE = os.environ.get("PULLET_PICTURE")
CREATE = {"HostConfig": {"NetworkMode": "none", "RestartPolicy": {"Name": "always"}}}


handle_signals()


def promtool(*arguments):
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Prometheus:
    """Scrapes the files of the devices each second."""

    def __init__(self, lab, url, names):
        directory = lab.path("prometheus")
        directory.mkdir()
        jobs = [{"job_name": f"node-{name}", "metrics_path": f"/{name}/pullet.prom", "static_configs": [
            {"targets": [url.removeprefix("http://")], "labels": {"instance": name}}]} for name in names]
        config = directory / "prometheus.yml"
        config.write_text(json.dumps({"global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                                      "rule_files": [str(EXAMPLES / "alerts.yaml")], "scrape_configs": jobs}))
        promtool("check", "config", config)
        self.log = directory / "log"
        address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{address}/api/v1/"
        self.process = lab.spawn(["prometheus", f"--config.file={config}", f"--storage.tsdb.path={directory}/data",
                                  f"--web.listen-address={address}"], log=self.log)
        lab.add(self)

    def stop(self):
        stop_process(self.process, 10)

    def call(self, path, **values):
        """None while it does not answer yet."""
        try:
            with urllib.request.urlopen(self.url + path + "?" + urllib.parse.urlencode(values), timeout=30) as answer:
                return json.load(answer)["data"]
        except ConnectionError:
            assert self.process.poll() is None, tail(self.log)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{values}: {error.read().decode()}") from error
        except urllib.error.URLError:
            assert self.process.poll() is None, tail(self.log)
        return None

    def query(self, expression):
        """-> [(labels, value)]."""
        data = self.call("query", query=expression) or {"result": []}
        return [(one["metric"], float(one["value"][1])) for one in data["result"]]

    def over_time(self, expression, begin, end):
        """-> [(labels, [(time, value)])]."""
        data = self.call("query_range", query=expression, start=begin, end=end, step=1)
        return [(one["metric"], [(at, float(value)) for at, value in one["values"]]) for one in data["result"]]


class Crowd:
    """Devices that follow app:stable and write their metrics to DIRECTORY/NAME/pullet.prom."""

    def __init__(self, lab, directory, count):
        self.registry, self.versions, self.sequence = Registry(lab), 0, 0
        self.names = [f"pi-{number + 1:02}" for number in range(count)]
        self.engines = Engines(lab.path("engines"), self.names)
        self.engines.directory.mkdir()
        self.engines.start()
        self.agents = {}
        for name, device in self.engines.devices.items():
            device.url = f"unix://{self.engines.socket(name)}"
            (directory / name).mkdir(parents=True)
            agent = self.agents[name] = Pullet(lab, device, name)
            agent.configure({"app": {"image": self.registry.ref("app:stable"), "create": CREATE, "health": "running",
                                     "health-period": "300ms"}},
                            agent={"interval": "1s", "device-id": name},
                            more=f"[report]\ntextfile = {directory}/{name}/pullet.prom\n")

    def publish(self, name, broken=()):
        self.versions += 1
        image = actor("say", f"version {self.versions}", "wait")
        done = self.registry.publish("app", name, image)
        for device in broken:
            self.engines.devices[device].broken.update(done.configs.values())
        return done

    def policy(self, published, **keys):
        self.sequence += 1
        self.registry.publish_rollout("app", "stable", {"version": 1, "sequence": self.sequence, "target": published.digest, **keys})

    def have(self, published, names):
        records = [self.agents[name].record("app") or {} for name in names]
        return all((record.get("current") or {}).get("digest") == published.digest for record in records)


@pytest.fixture
def lab():
    with Lab() as lab:
        lab.environment["DBUS_SYSTEM_BUS_ADDRESS"] = f"unix:path={lab.path('no-bus')}"
        yield lab


def expressions():
    """(panel, legend, expression) of the dashboard."""
    for panel in json.loads((EXAMPLES / "grafana-dashboard.json").read_text())["panels"]:
        for target in panel["targets"]:
            yield panel, target["legendFormat"], target["expr"].replace("$container", ".*")


def roll_out(crowd):
    """A version for a tenth, a half and all devices, each for ten seconds; the next is broken and halted."""
    third = crowd.publish("stable")
    for percent in (10, 50, 100):
        crowd.policy(third, percent=percent)
        time.sleep(10)
    wait_for("the third version", lambda: crowd.have(third, crowd.names), 60)
    broken = crowd.publish("stable", broken=crowd.names)
    crowd.policy(broken, percent=25)
    time.sleep(10)
    crowd.policy(broken, percent=25, halt=True)
    time.sleep(10)


def test_every_expression_has_a_result(lab, tmp_path):
    crowd = Crowd(lab, tmp_path / "files", 12 if PICTURE else 2)
    with contextlib.ExitStack() as stack:
        url, _ = stack.enter_context(web(tmp_path / "files"))
        prometheus = Prometheus(lab, url, crowd.names)
        begin = time.time()
        first = crowd.publish("stable")
        for agent in crowd.agents.values():
            stack.enter_context(agent.resident())
        wait_for("the first version", lambda: crowd.have(first, crowd.names), 60)
        wait_for("the first scrapes", lambda: len(prometheus.query("pullet_container_info")) == len(crowd.names), 60)
        second = crowd.publish("stable", broken=crowd.names[:1])
        wait_for("the second version", lambda: crowd.have(second, crowd.names[1:]), 60)
        rolled_back = 'pullet_passes_total{pullet_result="rolled-back"} > 0'
        wait_for("the rollback", lambda: prometheus.query(rolled_back), 60)

        for panel, _, expression in expressions():
            wait_for(f"{panel['title']}: {expression}", lambda expression=expression: prometheus.query(expression), 120)
        curve = next(expression for panel, _, expression in expressions() if panel["title"].startswith("Rollout"))
        wait_for("the rollout curve", lambda: {labels["version"]: value for labels, value in prometheus.query(curve)} == {
            first.digest[7:19]: 1, second.digest[7:19]: len(crowd.names) - 1}, 120)
        wait_for("the alerts", lambda: {alert["labels"]["alertname"] for alert in prometheus.call("alerts")["alerts"]
                                        if alert["state"] == "firing"} >= {"PulletRolledBack", "PulletRolloutFails"}, 120)
        if PICTURE:
            roll_out(crowd)
            dashboard_picture.draw(PICTURE, [(panel, legend, prometheus.over_time(expression, begin, time.time()))
                                             for panel, legend, expression in expressions()])


def test_alerts():
    promtool("check", "rules", EXAMPLES / "alerts.yaml")
    promtool("test", "rules", pathlib.Path(__file__).with_name("alerts-test.yaml"))
    # Every metric that is asked for exists, by its name in Prometheus.
    documented = set(re.findall(r"^\S* +(pullet_\w+)$", (EXAMPLES.parent / "man/pullet.conf.5").read_text(), re.M))
    text = (EXAMPLES / "alerts.yaml").read_text() + (EXAMPLES / "grafana-dashboard.json").read_text()
    assert set(re.findall(r"pullet_\w+(?=[{)\[ ])", text)) - {"pullet_result", "pullet_phase"} <= documented


def test_dashboard_is_small():
    assert (EXAMPLES / "grafana-dashboard.json").stat().st_size < 10000
