# SPDX-License-Identifier: MIT
"""OpenTelemetry's own protocol definition, and VictoriaMetrics as a receiver (Debian's Prometheus is built without
one).

    pullet_otlp.py SUITE    downloads both from this suite into the cache"""

import json
import pathlib
import subprocess
import sys
import urllib.parse
import urllib.request

import pullet_engines
from pullet_lab import free_port
from pullet_sweep import LabError, stop_process, tail, wait_for

SUITE = "trixie"
NAMES = ("metrics", "logs")


def kept(suite=SUITE):
    return pullet_engines.cache() / f"otlp-{suite}"


def missing():
    """The reason why they are missing, or None."""
    return None if kept().is_dir() else f"{kept()} is not there: tests/lib/pullet_otlp.py {SUITE} brings it"


class Protocol:
    """Parses the JSON of requests strictly: a field that the definition does not have is an error."""

    def __init__(self, directory):
        include = kept() / "usr/include"
        files = sorted(path for path in (include / "opentelemetry").rglob("*.proto") if "profiles" not in str(path))
        subprocess.run(["protoc", f"-I{include}", f"--descriptor_set_out={directory}/otlp", *files], check=True)
        from google.protobuf import descriptor_pb2, json_format, message_factory
        self.parse_json = json_format.Parse
        described = descriptor_pb2.FileDescriptorSet.FromString(pathlib.Path(directory, "otlp").read_bytes())
        messages = message_factory.GetMessages(described.file)
        self.requests = {name: messages[f"opentelemetry.proto.collector.{name}.v1.Export{name.title()}ServiceRequest"]
                         for name in NAMES}

    def parse(self, name, text):
        return self.parse_json(text, self.requests[name]())


class VictoriaMetrics:
    def __init__(self, lab, name="metrics"):
        self.directory = lab.path(name)
        self.directory.mkdir()
        address = f"127.0.0.1:{free_port()}"
        self.url = "http://" + address
        self.process = lab.spawn(
            [kept() / "usr/bin/victoria-metrics", f"-httpListenAddr={address}", "-opentelemetry.usePrometheusNaming",
             f"-storageDataPath={self.directory}/data", "-search.latencyOffset=0s", "-retentionPeriod=100y"],
            log=self.directory / "log")
        lab.add(self)
        wait_for("VictoriaMetrics", self._ready, 60)

    def _ready(self):
        if self.process.poll() is not None:
            raise LabError("victoria-metrics: " + tail(self.directory / "log"))
        try:
            return self.call("/health") == b"OK"
        except OSError:
            return False

    def stop(self):
        stop_process(self.process, 10)

    def call(self, path, body=None, content_type="text/plain"):
        request = urllib.request.Request(self.url + path, body, {"Content-Type": content_type})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read()

    def take(self, message):
        """Stores a metrics request."""
        self.call("/opentelemetry/v1/metrics", message.SerializeToString(), "application/x-protobuf")

    def take_text(self, text, **labels):
        self.call("/api/v1/import/prometheus?" + urllib.parse.urlencode(
            [("extra_label", f"{key}={value}") for key, value in labels.items()]), text.encode())

    def flush(self):
        """Makes stored metrics available to queries."""
        self.call("/internal/force_flush")

    def query(self, expression):
        """-> [(labels, value)]."""
        result = json.loads(self.call("/api/v1/query?" + urllib.parse.urlencode(
            {"query": expression, "nocache": 1})))["data"]["result"]
        return [(one["metric"], float(one["value"][1])) for one in result]


if __name__ == "__main__":
    pullet_engines.bring_package(kept(sys.argv[1]), sys.argv[1], "opentelemetry-proto", "victoria-metrics")
