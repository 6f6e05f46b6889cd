# SPDX-License-Identifier: MIT
"""Downloads over links that cut, stall, close and cost, through the spool: no byte comes twice, nobody is held, and what
was agreed is kept. Counted at a relay, by what arrived."""

import json
import os
import re
import subprocess
import threading
import time

import pytest

from pullet_agent import Pullet
from pullet_bus import Bus, resident
from pullet_clock import preloaded
from pullet_house import UP
from pullet_relay import fastest
from pullet_spool import HEADERS, KB, MB, ballast, budget, dice_of, down, image, killed_pass, layers, left, ours, parts, wasted
from pullet_spool import link  # noqa: F401 (a fixture)
from pullet_sweep import processes_of, wait_for
from registryd import Answer, Front, Registry, is_engine

SEED = int(os.environ.get("PULLET_SEED", time.time_ns() % 10**9))
FLIGHT = 128 * KB  # what a slow link has in the buffers of a process that is killed


def publish(house, *sizes, index=True, **options):
    """-> (published, bytes of its layers)"""
    version = str(next(house.versions))
    published = house.publish(images=image(*sizes, version=version, **options), index=index)
    return published, sum(layers(published).values())


def new_layers(published, old):
    return sum(size for digest, size in layers(published).items() if digest not in layers(old))


def run(house, *arguments, **options):
    return house.pullet.spawn("--once", "--json", *arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **options)


def entry_of(process):
    output = process.communicate(timeout=120)[0].splitlines()
    return json.loads(output[-1]) if output else {}


def came(house, link, published, old, allowance=0):
    """The update is there, each byte of its new layers came once but for the allowance, and nothing is left."""
    house.check(published)
    link.settle()
    size = new_layers(published, old)
    requests = ours(link)
    print(f"{down(requests)} bytes in {len(requests)} requests for {size}; engine: {down(link.requests) - down(requests)}")
    assert down(requests) <= size + HEADERS * len(requests) + allowance
    assert left(house) == []
    assert not [r for r in link.requests if r.by_engine and "/blobs/" in r.path], link.requests


# --- a link that cuts --------------------------------------------------------------------------


def test_thirty_megabytes_over_a_link_that_cuts_with_every_process_killed(house, link):
    old, _ = house.up()
    link.cut_every, link.rate, dice = 200 * KB, 8 * MB, dice_of(SEED)
    new, size = publish(house, 20 * MB, 10 * MB)
    link.reset()
    kills, process, killing, results = 0, None, threading.Lock(), []

    def kill():
        nonlocal kills
        with killing:
            house.pullet.kill9(process)
            kills += 1

    for _ in range(6):
        link.at(dice.randrange(size), kill)
    while results[-1:] != ["updated"]:
        assert len(results) < 20, results
        with killing:  # none of those that it kills is of the next pass
            process = run(house)
        results.append(entry_of(process).get("result"))
    assert kills == 6 and set(results) <= {None, "failed", "deferred", "updated"}, results
    came(house, link, new, old, allowance=size // 20)
    assert link.cuts > size // (200 * KB) - 10


@pytest.mark.parametrize("index", [True, False], ids=["index", "manifest"])
def test_what_the_engine_still_asks_for(house, link, index):
    old, _ = house.up()
    new, _ = publish(house, 300 * KB, index=index)
    link.reset()
    house.once("updated")
    came(house, link, new, old)
    engine = [r for r in link.requests if r.by_engine]
    print(f"the engine after the load: {len(engine)} requests, {sum(r.up for r in engine)} + {down(engine)} bytes")
    assert down(engine) <= (0 if house.engine.kind.containerd_store else 2600 if index else 1400), engine


def test_a_registry_that_cannot_resume_is_named(house, link):
    old, _ = house.up()
    link.cut_every, link.ranges = 200 * KB, False
    new, _ = publish(house, MB)
    result = house.pullet.once().results["app"]
    assert result["result"] in ("failed", "deferred") and "cannot resume" in result["reason"], result
    assert not house.pullet.record("app")["rejected"]
    link.cut_every, link.ranges = None, True
    link.reset()
    house.once("updated")
    came(house, link, new, old)


class Elsewhere(Registry):
    """Has blobs behind addresses that are good once."""

    def __init__(self, behind):
        self.behind, self.tickets, self.asked = behind, set(), []
        super().__init__()

    def ticket(self, path):
        self.tickets.add(ticket := f"{path}?once={len(self.asked)}-{len(self.tickets)}-{time.monotonic_ns()}")
        return f"http://{self.host}{ticket}"

    def serve(self, seen):
        if seen.path not in self.tickets:
            return Answer(403)
        self.tickets.remove(seen.path)
        self.asked.append(seen)
        data = self.behind.request("GET", seen.path.partition("?")[0])[2]
        start = int(seen.headers.get("Range", "bytes=0-")[6:-1])
        span = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
        return Answer(raw=lambda c: self.part(c, "206 Partial Content" if start else "200 OK", span, data[start:]))

    @staticmethod
    def part(connection, status, span, data):
        head = [f"HTTP/1.1 {status}", f"Content-Length: {len(data)}", *(f"{k}: {v}" for k, v in span.items())]
        connection.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + data[:300 * KB])
        connection.close()


class Redirecting(Front):
    def __init__(self, behind):
        self.elsewhere = Elsewhere(behind).__enter__()
        super().__init__(behind)

    def serve(self, seen):
        if "/blobs/" in seen.path:
            return Answer(307, {"Location": self.elsewhere.ticket(seen.path)})
        return super().serve(seen)

    def __exit__(self, *exc):
        self.elsewhere.__exit__(*exc)
        super().__exit__(*exc)


def test_a_registry_that_redirects_to_addresses_that_expire(house):
    with Redirecting(house.registry) as front:
        house.registry = front
        house.lab.announce(front.host)
        house.up()
        new, size = publish(house, MB)
        front.elsewhere.asked.clear()
        house.once("updated")
        house.check(new)
        ranges = [seen.headers.get("Range") for seen in front.elsewhere.asked if not is_engine(seen)]
        assert f"bytes={300 * KB}-" in ranges and len(ranges) >= size // (300 * KB), ranges
        assert left(house) == []


# --- a tag that moves, a stop -------------------------------------------------------------------


def test_a_tag_that_moves_in_the_middle(house, link):
    """The layers of both are not fetched again, and those of the one that nobody wants any more are gone."""
    house.up()
    base = ballast(2 * MB)
    first, _ = publish(house, base, 2 * MB)
    low, middle, _ = layers(first)
    link.rate = 4 * MB
    link.reset()
    half = layers(first)[low] + layers(first)[middle] // 2
    killed_pass(house, link, half, (middle, layers(first)[middle]))
    assert list(parts(house.pullet.state)) == [middle.partition(":")[2] + ".part"]
    second, _ = publish(house, base, MB)
    house.once("updated")
    house.check(second)
    link.settle()
    assert len(ours(link, low)) == 1 and left(house) == []
    assert down(ours(link, low)) <= layers(first)[low] + HEADERS
    assert not wasted(link, second) > HEADERS * 8


def downloading(house, bus):
    """The object "download" of `pullet status --json`, as it stands."""
    done = subprocess.run([house.pullet.build / "pullet", "status", "--json", "--config", house.pullet.config,
                           "--state-dir", house.pullet.state], env={**house.lab.environment, **bus.environment},
                          capture_output=True, text=True, check=True, timeout=60)
    return {entry["container"]: entry["download"] for entry in json.loads(done.stdout)}


@pytest.fixture
def bus(lab, house):
    bus = Bus(lab, f"spool-bus-{house.number}")
    yield bus
    bus.stop()


def test_a_long_download_holds_nobody_and_a_stop_costs_nothing(house, bus, link):
    """Slices are as long as the interval, at most five minutes."""
    other = f"{house.repository}/other"
    side = {"image": link.ref(f"{other}:stable"), "create": UP, "health-period": "300ms"}
    old, _ = house.up()
    house.registry.publish(other, "stable", image(version="1"))
    app = {"image": house.image, "create": UP, "health-period": "300ms"}
    house.pullet.configure({"app": app, "other": side}, agent={"interval": "2s", "jitter": "0%"})
    house.pullet.once("other")
    new, size = publish(house, 5 * MB)
    link.reset()
    link.line = 400 * KB
    seen = []

    def look():
        now = downloading(house, bus)["app"]
        if now and (not seen or now["bytes"] > seen[-1]["bytes"]):
            seen.append(now)
        return len(seen)

    with resident(house.pullet, bus, rest=False):
        wait_for("a download that is seen", look, 60, pause=0.2)
        moved = house.registry.publish(other, "stable", image(version="2"))
        wait_for("the other one's update", lambda: look() and house.is_image(
            house.engine.inspect("other") or {"Image": ""}, moved), 60, pause=0.2)
        wait_for("a download that grows", lambda: look() > 2, 60, pause=0.2)
    assert not processes_of(house.pullet.mark), "helpers outlive pulletd"
    have = sum(parts(house.pullet.state).values())
    assert 0 < have < size and seen[-1]["of"] == size, (have, seen)
    assert seen[-1]["bytes"] <= have and seen[-1]["bytes_s"] > 0 and seen[-1]["waits"] is None
    house.check(old)
    link.line = None
    house.once("updated")
    came(house, link, new, old, allowance=FLIGHT + 200 * KB)  # the other's image


# --- what was agreed ----------------------------------------------------------------------------


class Alone(Pullet):
    """Has /run to itself: nobody else's bytes are in its counter."""

    def command(self, *arguments):
        run = self.directory / "run"
        run.mkdir(exist_ok=True)
        return ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /run && exec "$@"', str(run), *super().command(*arguments)]


def test_a_cap_and_a_budget_on_the_wire_and_now_that_passes_them(house, link):
    house.pullet = Alone(house.lab, house.engine, f"alone-{house.number}")
    house.up()
    new, size = publish(house, 500 * KB)
    left_over = 230 * KB
    house.configure(create=UP, agent={"speed": "8k", "budget": f"{left_over // KB}k/day"})
    link.reset()
    used = (budget(house) or {}).get("day_bytes", 0)
    with link.record() as points:
        entry = house.once("deferred", reason="budget")
    link.settle()
    total = link.up + link.down
    start = min(r.at for r in ours(link, "/blobs/") if r.down > 10 * KB)
    most = fastest(points, 20, start + 1)
    took = points[-1][0] - start
    print(f"{link.down} bytes down, {link.up} up, in {took:.1f} s; at most {most} in 20 s")
    assert took > 22 and most <= 1.1 * 8000 * 20
    assert total + used <= left_over < total + used + 25 * KB, (total, used)
    assert entry["download"]["waits"] == "budget" and not entry["download"]["again"], entry
    assert 0 < entry["download"]["bytes"] < entry["download"]["of"] == size
    link.reset()
    house.once("deferred", reason="budget")
    link.settle()
    assert link.up + link.down < 3 * KB and not ours(link, "/blobs/")  # it waits, and polls go on
    with link.record() as points:
        house.once("updated", arguments=("--now",))
    link.settle()
    assert fastest(points, 1) > 5 * 8000
    house.check(new)
    assert link.down <= size - entry["download"]["bytes"] + 10 * KB
    assert budget(house)["day_bytes"] > left_over  # it is counted all the same


@pytest.fixture(scope="session")
def clock(tmp_path_factory):
    """-> an environment in which it is seconds before the end of a minute, or of so many seconds, and that end."""
    environment = preloaded(tmp_path_factory.mktemp("clock"), "offset-clock.c")

    def before(seconds, of=60):
        now = time.time()
        end = (now // of + 2) * of
        return {**environment, "CLOCK_OFFSET": str(round(end - seconds - now))}, end

    return before


def test_a_day_that_ends_in_the_middle_gives_its_budget_at_once(house, link, clock):
    """What was left of the day before ends the request, and the download goes on."""
    house.pullet = Alone(house.lab, house.engine, f"alone-{house.number}")
    house.up()
    new, _ = publish(house, 310 * KB)
    house.configure(create=UP, agent={"budget": "300k/day"})
    env, _ = clock(15, of=86400)
    link.reset()
    link.line = 15 * KB
    house.once("updated", env={**env, "TZ": "UTC0"})  # where a day begins with a multiple of 86400
    house.check(new)
    link.settle()
    ranges = [r.range for r in ours(link, next(iter(layers(new))))]
    assert len(ranges) == 2 and ranges[1], ranges


def test_a_download_window_that_closes(house, link, clock):
    old, _ = house.up()
    new, size = publish(house, 3 * MB)
    link.reset()
    link.line = 100 * KB  # for 30 s
    env, minute = clock(15)

    def window(start, end):
        return "-".join(time.strftime("%H:%M", time.localtime(minute + at * 60)) for at in (start, end))

    house.configure(create=UP, download_window=window(-30, 0))
    entry = house.once("deferred", reason="window", env=env)
    link.settle()
    assert entry["download"]["waits"] == "window" and 0 < entry["download"]["bytes"] < size, entry
    assert link.down < 15.5 * 100 * KB + FLIGHT + 10 * KB
    came_so_far = link.down
    house.configure(create=UP, download_window=window(60, 90))
    entry = house.once("deferred", reason="download-window")
    link.settle()
    assert link.down < came_so_far + 3 * KB
    link.line = None
    house.configure(create=UP, download_window=window(-30, 30))
    house.once("updated")
    came(house, link, new, old, allowance=FLIGHT)


# --- room ---------------------------------------------------------------------------------------


def test_no_room_for_the_spool_is_told_before_the_first_byte(house, link):
    old, _ = house.up()
    saved = {path.name: path.read_bytes() for path in house.pullet.state.iterdir() if path.is_file()}
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "state", house.pullet.state], check=True)
    try:
        for name, content in saved.items():
            (house.pullet.state / name).write_bytes(content)
        new, size = publish(house, 8 * MB)
        link.reset()
        entry = house.once("deferred", reason="download = engine would fit")
        link.settle()
        numbers = [float(number) for number in re.findall(r"([\d.]+) MB", entry["reason"])]
        assert any(abs(number - size / MB) < 0.2 for number in numbers), (entry, size)
        assert any(2 < number < 3.2 for number in numbers), entry
        assert link.down < 20 * KB
        house.configure(create=UP, agent={"download": "engine"})
        house.once("updated")
        house.check(new)
    finally:
        subprocess.run(["umount", "-l", house.pullet.state], check=True)
