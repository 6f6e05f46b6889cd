# SPDX-License-Identifier: MIT
"""verdict and report on synthetic runs: each check can fail, and the picture is complete."""

import copy
import json
import pathlib
import subprocess
import sys
import xml.etree.ElementTree

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import report  # noqa: E402
import verdict as v  # noqa: E402
from synthetic import synthetic, synthetic_deltas, synthetic_large, synthetic_signed  # noqa: E402

SVG = "{http://www.w3.org/2000/svg}"


def failed(run):
    return [row["name"] for row in v.checks(run) if not row["passed"]]


def device(run, name):
    return next(one for one in run["devices"] if one["name"] == name)


def insert(one, *events):
    one["events"] = sorted([*one["events"], *events], key=lambda event: event["t"])


def drop(one, **want):
    one["events"] = [event for event in one["events"] if not all(event.get(key) == value for key, value in want.items())]


def silent(run):
    device(run, "pi1")["end"]["answers"] = False


def two_copies(run):
    device(run, "pi1")["end"]["containers"] = ["app", "app.next"]


def half_way(run):
    device(run, "pi1")["end"]["phase"] = "trial"


def nothing_runs(run):
    device(run, "pi1")["end"]["running"] = []


def still_on_v2(run):
    device(run, "pi1")["end"]["running"] = ["v2"]


def on_v3(run):
    device(run, "pi2")["end"]["running"] = ["v3"]


def v3_elsewhere(run):
    insert(device(run, "pi1"), {"t": 450, "kind": "start", "version": "v3", "id": "x"}, {"t": 451, "kind": "die", "version": "v3", "id": "x"})


def v3_left_its_mark(run):
    """The engine's events are missing, the container's own file is not."""
    device(run, "pi1")["end"]["traces"].append("v3")


def v3_started_after_the_halt(run):
    insert(device(run, "pi2"), {"t": 530, "kind": "start", "version": "v3", "id": "x"}, {"t": 531, "kind": "die", "version": "v3", "id": "x"})


def never_halted(run):
    run["policies"] = [policy for policy in run["policies"] if not policy["halt"]]


def canary_forgot(run):
    device(run, "pi2")["end"]["rejected"] = []


def canary_never_tried(run):
    drop(device(run, "pi2"), kind="start", version="v3")
    device(run, "pi2")["end"]["traces"].remove("v3")


def no_canary(run):
    run["policies"] = [policy for policy in run["policies"] if policy["version"] != "v3" or policy["halt"]]


def too_early(run):
    insert(device(run, "pi6"), {"t": 150, "kind": "start", "version": "v2", "id": "x"}, {"t": 151, "kind": "die", "version": "v2", "id": "x"})


def unreached(one):
    """The version was tried, and never committed."""
    drop(one, kind="result", version="v2")
    drop(one, kind="phase", phase="commit", version="v2")


def never_reached(run):
    unreached(device(run, "pi2"))


def power_stayed(run):
    drop(device(run, "pi5"), kind="power-cut")


def cut_while_idle(run):
    """The power cut is moved to a time without an update."""
    for event in device(run, "pi5")["events"]:
        if event["kind"] == "power-cut":
            event["t"] = 100
    device(run, "pi5")["events"].sort(key=lambda event: event["t"])


def link_stayed(run):
    drop(device(run, "pi6"), kind="link-down")


def never_caught_up(run):
    unreached(device(run, "pi6"))


def no_device(run):
    run["devices"] = []


def broke_off(run):
    run["trouble"] = "waited 180 s in vain: v2 on its 20 %"


FAULTS = {
    broke_off: {"the story was told to its end"},
    silent: {"no device is lost"},
    two_copies: {"no device is lost"},
    half_way: {"no device is lost"},
    nothing_runs: {"no device is lost", "every device is on v4"},
    still_on_v2: {"every device is on v4"},
    on_v3: {"every device is on v4", "none is on v3"},
    v3_elsewhere: {"only canaries ever ran v3", "nobody took a version before the policy let it"},
    v3_left_its_mark: {"only canaries ever ran v3", "nobody took a version before the policy let it"},
    v3_started_after_the_halt: {"v3 was halted, and nobody started it after that"},
    never_halted: {"v3 was halted, and nobody started it after that"},
    canary_forgot: {"every canary tried v3, went back and remembers it"},
    canary_never_tried: {"every canary tried v3, went back and remembers it"},
    no_canary: {"only canaries ever ran v3", "every canary tried v3, went back and remembers it",
                "nobody took a version before the policy let it"},
    too_early: {"nobody took a version before the policy let it"},
    never_reached: {"each step reached its cohort before the next one"},
    power_stayed: {"the power was cut in the middle of an update"},
    cut_while_idle: {"the power was cut in the middle of an update"},
    link_stayed: {"a device was cut off from news and caught up"},
    never_caught_up: {"a device was cut off from news and caught up", "each step reached its cohort before the next one"},
}


def test_a_good_run_passes():
    assert failed(synthetic()) == []
    assert v.verdict(synthetic())["passed"]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_each_check_can_fail(fault):
    run = synthetic()
    fault(run)
    assert set(failed(run)) == FAULTS[fault]
    assert not v.verdict(run)["passed"]


def test_every_check_is_made_to_fail():
    assert set().union(*FAULTS.values()) == {row["name"] for row in v.checks(synthetic())}


def a_layer_came_twice(run):
    device(run, "pi4")["traffic"][-1]["down"] += 300_000


def no_link_dropped(run):
    device(run, "pi1")["drops"] = 0


def over_its_budget(run):
    device(run, "pi2")["traffic"][1]["down"] += 60_000


def told_before_it_waited(run):
    drop(device(run, "pi2"), kind="result", result="deferred")


LARGE_FAULTS = {
    a_layer_came_twice: "no byte of a layer came twice",
    no_link_dropped: "a link dropped again and again",
    over_its_budget: "a budget was kept until an operator passed it",
    told_before_it_waited: "a budget was kept until an operator passed it",
}


@pytest.mark.parametrize("fault", LARGE_FAULTS, ids=lambda fault: fault.__name__)
def test_each_check_of_a_large_download_can_fail(fault):
    run = synthetic_large()
    assert v.verdict(run)["passed"], failed(run)
    fault(run)
    assert failed(run) == [LARGE_FAULTS[fault]]


def a_layer_came_beside_the_delta(run):
    device(run, "pi3")["traffic"][-1]["down"] += 150_000


def nobody_took_one(run):
    for one in run["devices"]:
        one["traffic"][-1]["down"] = 600_000


@pytest.mark.parametrize("fault", [a_layer_came_beside_the_delta, nobody_took_one], ids=lambda fault: fault.__name__)
def test_the_check_of_deltas_can_fail(fault):
    run = synthetic_deltas()
    assert v.verdict(run)["passed"], failed(run)
    fault(run)
    assert failed(run) == ["deltas came instead of layers"]


def the_foreign_one_ran(run):
    device(run, "pi2")["end"]["traces"].append("foreign")


def the_old_one_was_begun(run):
    device(run, "pi4")["events"].append({"t": 425, "kind": "phase", "phase": "prepare", "version": "v1"})


def one_said_nothing(run):
    events = device(run, "pi6")["events"]
    events[:] = [event for event in events if event.get("version") != "v1" or event.get("result") != "refused"]


@pytest.mark.parametrize("fault", [the_foreign_one_ran, the_old_one_was_begun, one_said_nothing], ids=lambda fault: fault.__name__)
def test_the_check_of_signatures_can_fail(fault):
    run = synthetic_signed()
    assert v.verdict(run)["passed"], failed(run)
    fault(run)
    assert failed(run) == ["none took what was not signed, or what was signed long ago"]


def test_what_deltas_saved_is_drawn():
    run = synthetic_deltas()
    assert v.figures(run)["devices"]["pi1"]["bytes_saved"] == 2 * 147_000  # it never ran v3
    tips = [title.text for title in parse(report.svg(run)).iter(SVG + "title")]
    assert "pi1: 294000 bytes of layers saved by deltas" in tips
    assert not any("saved" in title.text for title in parse(report.svg(synthetic())).iter(SVG + "title"))


def test_an_empty_fleet_does_not_pass():
    run = synthetic()
    no_device(run)
    assert "no device is lost" in failed(run)


def test_figures():
    """Two swaps of 1.2 s each; pi2 was rolled back once: 1.2 s to v3 and 3 s from its end to v2 again."""
    numbers = v.figures(synthetic())
    one, back, cut = (numbers["devices"][name] for name in ("pi1", "pi2", "pi5"))
    assert (one["swap_downtime"], one["longest_swap"], one["power_downtime"]) == (2.4, 1.2, 0)
    assert (back["swap_downtime"], back["longest_swap"]) == (6.6, 3.0)
    assert (cut["swap_downtime"], cut["power_downtime"]) == (2.4, 44)
    assert sum(one["bytes_by_version"].values()) == one["down_bytes"] + one["up_bytes"]
    assert one["bytes_by_version"]["v3"] == 0 < back["bytes_by_version"]["v3"]
    assert numbers["versions"]["v2"]["seconds_to_reach"]["pi1"] == 25 and numbers["versions"]["v3"]["slowest"] is None


def test_a_pass_that_only_finishes_counts():
    """After a power cut during the commit there is no result, but the phases show it."""
    run = synthetic()
    drop(device(run, "pi5"), kind="result", version="v2")
    assert failed(run) == []


def test_a_policy_in_the_moment_of_the_cut_is_missed():
    run = synthetic()
    for event in device(run, "pi6")["events"]:
        if event["kind"] == "link-down":
            event["t"] = v.allowed_at(run, device(run, "pi6"), "v2")
    device(run, "pi6")["events"].sort(key=lambda event: event["t"])
    assert failed(run) == []


def test_a_start_that_the_engine_lost():
    """Observed on an overloaded device: a version runs and exits without a start event."""
    run = synthetic()
    one = device(run, "pi3")
    drop(one, kind="start", version="v2")
    drop(one, kind="start", version="v4")
    assert failed(run) == []
    ran, commits = v.spans(one, run["ended"]), [e["t"] for e in one["events"] if e.get("phase") == "commit"]
    assert [(began, version) for began, _, version in ran[1:]] == [(commits[1], "v2"), (commits[2], "v4")]
    assert ran[1][1] < commits[2] and ran[2][1] == run["ended"]


def test_gaps_and_spans_fill_the_time():
    run = synthetic()
    for one in run["devices"]:
        parts = sorted([(a, b) for a, b, _ in v.spans(one, run["ended"])] + [(a, b) for a, b, _ in v.gaps(one, run["ended"])])
        assert all(before[1] == after[0] for before, after in zip(parts, parts[1:]))
        assert parts[-1][1] == run["ended"]


def test_share_curve_ends_on_the_last_version():
    curve = v.share_curve(synthetic())
    assert curve[-1][1] == {"v1": 0, "v2": 0, "v3": 0, "v4": 6}
    assert max(counts["v3"] for _, counts in curve) == 1
    assert all(0 <= count <= 6 for _, counts in curve for count in counts.values())


def parse(text):
    return xml.etree.ElementTree.fromstring(text)


def test_svg_has_a_lane_for_each_device():
    run = synthetic()
    run["title"] = "Quotes \" & <angles>"
    tree = parse(report.svg(run))
    lanes = [group for group in tree.iter(SVG + "g") if group.get("class") == "lane"]
    assert [lane.get("data-device") for lane in lanes] == [one["name"] for one in run["devices"]]
    for lane, one in zip(lanes, run["devices"]):
        tips = [title.text for title in lane.iter(SVG + "title")]
        ran = {version for _, _, version in v.spans(one, run["ended"])}
        assert all(any(f": {version} ran" in tip for tip in tips) for version in ran)
        assert any("power cut" in tip for tip in tips) == (one["name"] == "pi5")
        assert any("rolled-back" in tip for tip in tips) == (one["name"] in ("pi2", "pi4"))
        assert any("link down" in tip for tip in tips) == (one["name"] == "pi6")


def test_nothing_is_drawn_outside():
    tree = parse(report.svg(synthetic()))
    height = float(tree.get("height"))
    for box in tree.iter(SVG + "rect"):
        if "id" in box.attrib or box.get("x") is None:
            continue
        assert float(box.get("x")) >= 0 and float(box.get("y")) >= 0
        assert float(box.get("x")) + float(box.get("width")) <= report.WIDTH + 0.01
        assert float(box.get("y")) + float(box.get("height")) <= height + 0.01


def test_a_run_that_broke_off_is_drawn_too():
    """Devices without any event, no policy, no traffic, and one device alone."""
    run = synthetic()
    run["versions"][3]["t"] = None
    run.update(policies=[], ended=0, devices=[copy.deepcopy(run["devices"][0])])
    run["devices"][0].update(events=[], traffic=[])
    run["devices"][0]["end"].update(answers=False, containers=[], running=[], phase=None, traces=[])
    parse(report.svg(run))
    assert "FAILED" in report.page(run)


def test_page_is_self_contained():
    text = report.page(synthetic())
    assert "<svg" in text and "http://www.w3.org/2000/svg" in text
    assert not any(word in text.replace("http://www.w3.org/2000/svg", "") for word in ("http:", "https:", "src=", "<link", "@import", "url(http"))
    for one in synthetic()["devices"]:
        assert one["name"] in text


def test_files(tmp_path):
    """The program itself: exit status 0 and 1, and a valid picture."""
    run = synthetic()
    for fault, status in ((None, 0), (v3_elsewhere, 1)):
        if fault:
            fault(run)
        (tmp_path / "run.json").write_text(json.dumps(run))
        done = subprocess.run([sys.executable, report.__file__, tmp_path / "run.json", tmp_path / "out"], capture_output=True, text=True,
                              check=False)
        assert done.returncode == status, done.stderr
        assert ("FAILED  only canaries ever ran v3" in done.stdout) == bool(status)
        assert json.loads((tmp_path / "out/verdict.json").read_text())["passed"] == (not status)
        assert (tmp_path / "out/fleet.png").read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / "out/report.html").stat().st_size < 500_000
