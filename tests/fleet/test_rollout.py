# SPDX-License-Identifier: MIT
"""The whole story of tests/fleet/run on three quick machines, with deltas and signatures: real agents from the package, real engines, one
real registry."""

import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def test_a_rollout_over_three_devices(tmp_path):
    package = ["--package", os.environ["PULLET_DEBS"].split(":")[0]] if os.environ.get("PULLET_DEBS") else []
    done = subprocess.run([sys.executable, HERE / "run", "--machines", "namespaces", "--devices", "3", "--interval", "2s", "--deltas", "--signed",
                           "--out", tmp_path, *package],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    run = json.loads((tmp_path / "run.json").read_text())
    ran = sorted(device["end"]["traces"] for device in run["devices"])
    assert ran == [["v1", "v2", "v3", "v4"], ["v1", "v2", "v4"], ["v1", "v2", "v4"]]
    assert all(device["traffic"][-1]["down"] > 150_000 for device in run["devices"])  # the first version, plainly
    assert all(version["delta"]["size"] < 5_000 for version in run["versions"][1:])
    assert json.loads((tmp_path / "verdict.json").read_text())["passed"]
    assert (tmp_path / "fleet.png").stat().st_size > 10_000
