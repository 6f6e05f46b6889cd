# SPDX-License-Identifier: MIT
"""The output for scripts: objects, lines, exit statuses, configuration errors."""

import json
import re

import pytest

from conftest import UP

KEYS = ["container", "image", "result", "from", "to", "reason", "downtime_ms"]


def test_objects_have_exactly_the_keys_of_the_contract(house):
    first = house.publish()
    house.configure(create=UP)
    seen = []
    for script in (None, (), (), ("exit", 1), ("exit", 1)):
        if script is not None and len(seen) > 1:
            if not (script and seen[-1] == "rolled-back"):
                house.publish(*script)
        result = house.pullet.once()
        (line,) = result.stdout.splitlines()
        entry = json.loads(line)
        assert list(entry) == KEYS, line
        assert entry["container"] == "app" and entry["image"] == house.image
        seen.append(entry["result"])
        for key in ("from", "to"):
            assert entry[key] is None or re.fullmatch("sha256:[0-9a-f]{64}", entry[key])
        assert entry["reason"] is None or isinstance(entry["reason"], str)
        assert entry["downtime_ms"] is None or isinstance(entry["downtime_ms"], int)
        assert (entry["reason"] is None) == (entry["result"] in ("updated", "up-to-date")), entry
    assert seen == ["updated", "up-to-date", "updated", "rolled-back", "refused"]
    assert first.digest


def test_text_has_one_line_a_container(house):
    house.publish()
    house.configure(create=UP)
    for word in ("updated", "up-to-date"):
        result = house.pullet.once(text=True)
        assert result.status == 0
        (line,) = result.stdout.splitlines()
        assert line.startswith("app: " + word), line


def test_a_quiet_pass_prints_nothing_on_stderr(house):
    house.up()
    house.once("up-to-date")
    assert house.pullet.once().stderr == ""


def test_unknown_container_is_a_usage_error(house):
    house.publish()
    house.configure(create=UP)
    result = house.pullet.once("nobody")
    assert result.status == 2 and result.stdout == "" and "nobody" in result.stderr, result
    assert house.engine.containers() == {}


def test_unknown_option_is_a_usage_error(house):
    house.configure()
    result = house.pullet.once(arguments=["--no-such-option"])
    assert result.status == 2 and result.stdout == "", result


def test_missing_configuration(house):
    result = house.pullet.once()
    assert result.status == 2 and str(house.pullet.config) in result.stderr, result


@pytest.mark.parametrize("text, words", [
    ("[container app]\nimage = x/y:z\ncolour = green\n", ["3", "colour"]),
    ("[agent]\ninterval = often\n", ["2", "interval"]),
    ("[contaner app]\nimage = x/y:z\n", ["1", "contaner"]),
    ("[container app]\nhealth = auto\n", ["app", "image"]),
    ("[container app]\nimage = UPPER CASE\n", ["2", "image"]),
    ("[container app]\nimage = x/y:z\nhealth = maybe\n", ["3", "health"]),
    ("[container app]\nimage = x/y:z\nhold = perhaps\n", ["3", "hold"]),
    ("[container app]\nimage = x/y:z\nwindow = Mon..Blursday\n", ["3", "window"]),
    ("image = x/y:z\n", ["1", "image"]),
    ("[container app]\nimage = " + "x" * 10000 + "\n", ["2"]),
    ("[container app\nimage = x/y:z\n", ["1"]),
    ("\x00\x01\xff garbage \xfe", ["1"]),
])
def test_garbage_in_the_configuration(house, text, words):
    house.pullet.config.write_bytes(text.encode("latin-1"))
    result = house.pullet.once()
    assert result.status == 2 and result.stdout == "", result
    where = re.search(re.escape(str(house.pullet.config)) + r":(\d+): (.*)", result.stderr)
    assert where, result
    for word in words:
        assert word in (where[1] if word.isdigit() else where[2]), result


def test_garbage_in_a_drop_in_names_the_drop_in(house):
    house.publish()
    house.configure(create=UP)
    drop_ins = house.pullet.directory / "conf.d"
    drop_ins.mkdir()
    (drop_ins / "10-x.conf").write_text("\n\n[agent]\nnoise = 1\n")
    result = house.pullet.once()
    assert result.status == 2
    assert f"{drop_ins}/10-x.conf:4: " in result.stderr and "noise" in result.stderr, result
    assert house.engine.containers() == {}


def test_engine_option_overrides_the_configuration(house):
    house.publish()
    house.configure(create=UP, agent={"engine": "unix:///nowhere/docker.sock"})
    house.once("failed", reason="/nowhere/docker.sock")
    result = house.pullet.once(arguments=["--engine", house.engine.url])
    assert result.status == 0 and result.results["app"]["result"] == "updated", result
