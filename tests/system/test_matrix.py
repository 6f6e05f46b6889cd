# SPDX-License-Identifier: MIT
"""tests/engine/matrix itself: its counts, its output, and its exit status."""

import subprocess

import pytest

import expected_skips
import pullet_engines
from pullet_lab import TOP

GOOD = "def test_one(): pass\ndef test_two(): pass\n"
MIXED = ("import pytest\n" + GOOD + "def test_bad(): assert 1 == 2, 'no such luck'\n"
         "@pytest.mark.skip(reason='not today')\ndef test_not(): pass\n")


@pytest.fixture
def matrix(tmp_path):
    (tmp_path / "tests").mkdir()

    def run(*arguments, **scenarios):
        for name, text in scenarios.items():
            (tmp_path / "tests" / f"test_{name}.py").write_text(text)
        done = subprocess.run(
            [TOP / "tests/engine/matrix", "--tests", tmp_path / "tests", "--logs", tmp_path / "logs",
             "--engine", "machine", *arguments], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    return run


def rows(out):
    """{scenario: cells without their times} of the table, which ends the output."""
    lines = out.split("passed/failed/skipped, time\n")[1].splitlines()
    assert lines[0].split() == ["machine", "all"]
    return {words[0]: words[1::2] for words in map(str.split, lines[1:])}


def test_all_is_well(matrix):
    status, out, _ = matrix(one=GOOD, two=GOOD)
    assert rows(out) == {"one": ["2/0/0"] * 2, "two": ["2/0/0"] * 2, "all": ["4/0/0"] * 2}
    assert status == 0


def test_a_failure_is_reported_and_counted(matrix):
    status, out, _ = matrix(one=GOOD, two=MIXED)
    assert rows(out)["two"] == ["2/1/1"] * 2 and rows(out)["all"] == ["4/1/1"] * 2
    assert "FAILED machine two test_bad: AssertionError: no such luck" in out
    assert "skipped machine 1: not today" in out
    assert status == 1


@pytest.mark.parametrize("text", ["import no_such_module\n", "import os\nos._exit(0)\n", "\n"],
                         ids=["does not load", "vanishes", "is empty"])
def test_a_run_without_tests_has_failed(matrix, text):
    status, out, _ = matrix(one=text)
    assert rows(out)["one"] == ["0/1/0"] * 2 and "FAILED machine one" in out
    assert status == 1


def test_only_what_was_asked_for(matrix):
    status, out, _ = matrix("--scenario", "one", one=GOOD, two=MIXED)
    assert list(rows(out)) == ["one", "all"] and status == 0


def test_unknown_words_are_reported(matrix):
    status, _, err = matrix("--scenario", "three", one=GOOD)
    assert status == 2 and "three" in err and "one" in err
    status, _, err = matrix("--engine", "watch", one=GOOD)
    assert status == 2 and "watch" in err and "sid-containerd" in err


def test_expected_skips_name_existing_tests():
    """Otherwise a test that was renamed would run on an engine that cannot run it."""
    assert set(expected_skips.EXPECTED_SKIPS) <= set(pullet_engines.KINDS)
    for tests in (tests for whys in expected_skips.EXPECTED_SKIPS.values() for tests in whys.values()):
        for name in tests:
            module, _, test = name.partition("::")
            text = next((TOP / "tests").glob(f"[ef]*/{module}.py")).read_text()
            assert not test or f"def {test.partition('[')[0]}(" in text, name
