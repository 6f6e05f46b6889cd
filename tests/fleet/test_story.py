# SPDX-License-Identifier: MIT
"""The parts of a fleet run without a fleet: chosen ids, the lines of a device, links."""

import io
import json
import pathlib
import re
import socket
import sys
import threading
import time
from types import SimpleNamespace

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "lib")]

from devices import Device, Link  # noqa: E402
from fleet import Fleet, StoryError, choose_ids, cohort, share_of  # noqa: E402
from pullet_lab import Lab  # noqa: E402
from pullet_sweep import wait_for  # noqa: E402
from show import Show  # noqa: E402

DIGESTS = {"v2": "sha256:" + "2" * 64, "v3": "sha256:" + "3" * 64}
STEPS = {"v2": [20, 50], "v3": [34]}


def test_cohort_is_the_manual_page_s():
    """The example of pullet-rollout(5), which its own shell commands compute too."""
    assert cohort("3d1219c7c4c5404aaa1f6d2a48adfda4", "sha256:" + "0123456789abcdef" * 4) == 16.8177


@pytest.mark.parametrize("many", [3, 4, 5, 6, 7, 12, 30])
def test_chosen_ids_fill_each_step(many):
    ids = choose_ids(DIGESTS, many, STEPS)
    assert len(set(ids)) == many == len(ids)
    for version, percents in STEPS.items():
        for percent in percents:
            assert sum(cohort(one, DIGESTS[version]) < percent for one in ids) == share_of(many, percent)
    assert not any(all(cohort(one, DIGESTS[version]) < STEPS[version][0] for version in STEPS) for one in ids)


def test_share_is_the_nearest():
    assert [share_of(6, percent) for percent in (0, 1, 20, 34, 50, 100)] == [0, 0, 1, 2, 3, 6]
    assert [share_of(3, percent) for percent in (20, 34, 50, 100)] == [1, 1, 2, 3]


# --- the events of a device -------------------------------------------------------------------------


class Paper(Device):
    def __init__(self, path):
        super().__init__("pi1", "0" * 32, None, "")
        self.out = path


def line(message, at=1_000_000_000_000_000, **more):
    return json.dumps({"__REALTIME_TIMESTAMP": str(at), "MESSAGE": message, **more}) + "\n"


def test_lines_become_events(tmp_path):
    device = Paper(tmp_path / "out")
    assert device.read(DIGESTS_OF) == []  # nothing yet
    device.out.write_text(
        line("@engine 1500000000123456789 start " + "ab" * 32 + " v2")
        + line("app: trial sha256:222222222222", PULLET_PHASE="trial", PULLET_DIGEST=DIGESTS["v2"])
        + line("app: rolled-back sha256:222222222222 -> sha256:333333333333: it exited with status 3", PULLET_PHASE="idle",
               PULLET_DIGEST=DIGESTS["v3"])
        + line("Started something.") + line([1, 2, 3]) + '{"torn' + "\n17\n{}\n" + '{"not yet whole')
    events = [event for _, event in device.read(DIGESTS_OF)]
    assert events == [
        {"kind": "start", "id": "ab" * 6, "version": "v2"},
        {"kind": "phase", "phase": "trial", "version": "v2"},
        {"kind": "result", "result": "rolled-back", "version": "v3", "text": "app: rolled-back v2 -> v3: it exited with status 3"}]


def test_a_line_in_two_parts_is_one_event(tmp_path):
    device, whole = Paper(tmp_path / "out"), line("@engine 1500000000123456789 die " + "ab" * 32 + " v2")
    for part in (whole[:40], whole[40:]):
        with open(device.out, "a") as file:
            file.write(part)
        events = device.read(DIGESTS_OF)
    assert [event["kind"] for _, event in events] == ["die"]


def test_a_witness_that_starts_again_tells_nothing_twice(tmp_path):
    device = Paper(tmp_path / "out")
    text = line("@engine 1500000000123456789 start " + "ab" * 32 + " v2") + line("app: updated", PULLET_PHASE="idle", PULLET_DIGEST=DIGESTS["v2"])
    device.out.write_text(text)
    assert len(device.read(DIGESTS_OF)) == 2
    with open(device.out, "a") as file:
        file.write(text)
    assert device.read(DIGESTS_OF) == []


DIGESTS_OF = {digest: name for name, digest in DIGESTS.items()}


# --- a link --------------------------------------------------------------------------------------


@pytest.fixture
def echo():
    """An echo server."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            while data := client.recv(65536):
                client.sendall(data)
            client.close()

    threading.Thread(target=serve, daemon=True).start()
    yield "127.0.0.1:%d" % listener.getsockname()[1]
    listener.close()


def talk(link, data, seconds=60):
    host, port = link.address.split(":")
    with socket.create_connection((host, int(port)), timeout=seconds) as s:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        out = b""
        while more := s.recv(65536):
            out += more
    return out


def test_link_carries_counts_and_takes_its_time(echo):
    with Lab() as lab:
        link, data = Link(lab, echo, bits=800_000, delay=0.1), bytes(5000)
        began = time.monotonic()
        assert talk(link, data) == data
        # 5,000 bytes each way at 100,000 a second and a delay for what goes up: never faster than that.
        assert time.monotonic() - began >= 0.2
        link.settle()
        assert (link.up, link.down, link.connections) == (5000, 5000, 1)


def test_cut_link_says_nothing_and_goes_on_when_mended(echo):
    with Lab() as lab:
        link = Link(lab, echo)
        link.cut()
        with pytest.raises(TimeoutError):
            talk(link, b"anybody?", seconds=0.3)
        answer = []
        thread = threading.Thread(target=lambda: answer.append(talk(link, b"later")))
        thread.start()
        wait_for("a connection", lambda: link.connections == 2)
        assert link.down == 0 and not answer
        link.mend()
        thread.join(60)
        assert answer == [b"later"]


# --- progress ------------------------------------------------------------------------------------


def told(tmp_path, *events):
    """A fleet of two devices; the first one has events."""
    devices = [Paper(tmp_path / name) for name in ("one", "two")]
    for i, device in enumerate(devices):
        device.name, device.link = f"pi{i + 1}", SimpleNamespace(down=123_456, up=1)
    show = Show(io.StringIO(), terminal=False)
    fleet = Fleet(None, None, devices, [SimpleNamespace(name=name, digest=digest) for name, digest in DIGESTS.items()], show)
    for event in events:
        fleet.tell(devices[0], dict(event))
    return fleet, show


STORY = ({"kind": "power-on"}, {"kind": "start", "id": "a", "version": "v2"}, {"kind": "phase", "phase": "trial", "version": "v3"},
         {"kind": "die", "id": "a", "version": "v2"}, {"kind": "start", "id": "b", "version": "v3"},
         {"kind": "result", "result": "rolled-back", "version": "v3", "text": "app: rolled-back v2 -> v3: " + "too long a reason " * 9})


def test_lines_where_there_is_no_terminal(tmp_path):
    _, show = told(tmp_path, *STORY)
    lines = show.out.getvalue().splitlines()
    assert [line.split("pi1: ")[1] for line in lines[:2]] == ["power on", "trial v3"] and "rolled-back" in lines[2]
    assert "\033" not in show.out.getvalue()


def test_the_table_fits_a_terminal_and_is_drawn_over_itself(tmp_path):
    fleet, show = told(tmp_path, *STORY)
    show.terminal, show.what = True, "v3 for 20 %"
    show.out.truncate(show.out.seek(0))
    show.table(fleet)
    show.table(fleet)
    text = show.out.getvalue()
    rows = re.sub(r"\033\[[0-9;]*[a-zA-Z]", "", text).splitlines()
    assert len(rows) == 6 and text.count("\033[3A\033[J") == 1
    assert max(map(len, rows)) <= 79
    assert "v3" in rows[1] and "trial v3" in rows[1] and "123 kB" in rows[1] and "rolled-back" in rows[1]


def test_what_was_told_is_what_a_device_is(tmp_path):
    fleet, _ = told(tmp_path, *STORY)
    one, two = fleet.devices
    assert fleet.running(one) == "v3" and fleet.phase(one) == ("trial", "v3") and fleet.running(two) is None
    assert fleet.has_result(one, "rolled-back", "v3") and not fleet.settled(one, "v3")
    fleet.tell(one, {"kind": "power-cut"})
    assert fleet.running(one) is None and fleet.phase(one) == ("off", None)


def test_settled_is_what_pullet_says(tmp_path):
    """By its result, or by a completed commit; not during an update."""
    fleet, _ = told(tmp_path, {"kind": "phase", "phase": "trial", "version": "v2"}, {"kind": "phase", "phase": "commit", "version": "v2"})
    one, two = fleet.devices
    assert not fleet.settled(one, "v2")
    fleet.tell(one, {"kind": "phase", "phase": "idle", "version": "v2"})
    assert fleet.settled(one, "v2") and not fleet.settled(one, "v3") and not fleet.settled(two, "v2")
    fleet.tell(one, {"kind": "result", "result": "rolled-back", "version": "v3", "text": ""})
    assert fleet.went_back(one, "v3") and not fleet.went_back(one, "v2")
    fleet.tell(one, {"kind": "phase", "phase": "prepare", "version": "v3"})
    assert not fleet.settled(one, "v2") and not fleet.went_back(one, "v3")


def test_a_timeout_names_its_condition(tmp_path):
    fleet, _ = told(tmp_path)
    with pytest.raises(StoryError, match="in vain: the moon"):
        fleet.wait("the moon", lambda: False, 0.05)


def test_clocks_are_put_right(tmp_path):
    """Events of a device have its own time, corrected by the difference measured in that boot; interruptions have the
    host's time."""
    fleet, _ = told(tmp_path)
    device = fleet.devices[0]
    device.skew = [100.0, 0.5]
    fleet.tell(device, {"kind": "start", "boot": 1, "clock": fleet.began + 6.5})
    fleet.tell(device, {"kind": "die", "boot": 0, "clock": fleet.began - 98})
    fleet.tell(device, {"kind": "power-cut"}, at=3)
    assert [(event["kind"], round(event["t"], 3)) for event in fleet._ordered(device)] == [("die", 2), ("power-cut", 3), ("start", 7)]
