# SPDX-License-Identifier: MIT
"""Being told: which events pulletd sends to the starter of units, with the log of the version that failed, and the
examples of notify.d, each run by the installed script against a receiver."""

import contextlib
import datetime
import json
import os
import pathlib
import socketserver
import subprocess
import threading
import urllib.parse

import pytest

from pullet_clock import preloaded
from pullet_house import ONE_SHOT
from pullet_receiver import Post, Receiver
from pullet_signer import Signing
from pullet_sweep import wait_for

TOP = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = TOP / "packaging/examples/notify.d"
OFTEN = {"interval": "1s", "jitter": "0%"}


class Starter:
    """Answers as pullet-unit.socket does, and keeps the events."""

    def __init__(self, path, answer='{"result":"success","status":0}'):
        events = self.events = []

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                request = json.loads(self.rfile.readline())
                assert request["key"] == "notify" and len(request) == 2
                events.append(request["event"])
                self.wfile.write(answer.encode() + b"\n")

        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self.server = socketserver.ThreadingUnixStreamServer(str(path), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def kinds(self):
        return [event["event"] for event in self.events]

    def wait(self, *kinds):
        wait_for(f"{kinds}, not {self.kinds()}", lambda: len(self.events) >= len(kinds), 60)
        assert self.kinds() == list(kinds)
        return self.events[-1]


@pytest.fixture
def starter(house):
    starter = Starter(house.pullet.directory / "unit.sock")
    yield starter
    starter.close()


@contextlib.contextmanager
def resident(house, env=(), **options):
    state = house.pullet.directory / "told"
    state.mkdir(exist_ok=True)
    environment, house.lab.environment = house.lab.environment, {
        **house.lab.environment, "STATE_DIRECTORY": str(state), **dict(env)}
    try:
        with house.pullet.resident("--unit-socket", str(house.pullet.directory / "unit.sock"), **options) as process:
            yield process
    finally:
        house.lab.environment = environment


def polls(house, n=2):
    """Waits for that many polls of the tag from now on."""
    mark = house.registry.mark()

    def seen():
        return sum(r.method == "HEAD" for r in house.registry.requests(mark)) >= n

    wait_for("polls", seen, 60)


def test_a_rollback_is_told_once_with_its_log(house, starter):
    good, _ = house.up(create=ONE_SHOT, agent=OFTEN)
    house.configure(create=ONE_SHOT, agent=OFTEN, health_period="30s")  # it ends before that, on a slow machine, too
    with resident(house) as process:
        bad = house.publish("say", "opening", "sleep", 1000, "cry", "\tno \x1b[31mdatabase", "sleep", 1000, "say", 'giving "up"',
                            "exit", 3)
        event = starter.wait("rolled-back")
        assert event["log"] == ["version 2", "opening", " no ?[31mdatabase", 'giving "up"']
        assert (event["container"], event["image"], event["from"], event["to"]) == (
            "app", house.image, good.digest, bad.digest)
        assert "it exited with status 3" in event["reason"]
        assert event["message"].endswith(f"{bad.digest[:19]} was rolled back: {event['reason']}")
        assert event["host"] == os.uname().nodename and event["time"].endswith("Z")
        polls(house)
        house.pullet.kill9(process)
    lines = process.log.read_text()
    assert lines.count("app: last 4 log lines of " + bad.digest[:19]) == 1, lines
    house.configure(create=ONE_SHOT, agent=OFTEN)
    with resident(house):
        polls(house)
        starter.wait("rolled-back")
        house.publish()
        assert starter.wait("rolled-back", "updated")["log"] == []


def test_a_registry_that_is_away_and_back(house, starter):
    """Two containers of one registry have one trouble."""
    house.up(create=ONE_SHOT, agent=OFTEN)
    house.pullet.configure({name: house.settings for name in ("app", "side")}, agent=OFTEN)
    house.pullet.once("side")
    told = house.pullet.directory / "told/told.json"
    # Not in the middle of a round, which would begin with one of them.
    house.registry.stop()
    with resident(house) as process:
        event = starter.wait("failed")
        assert "connect" in event["reason"].lower() and event["also"] == ["side"] and event["message"].endswith(", also side")
        wait_for("its memory", lambda: told.exists() and '"trouble":"failed"' in told.read_text())
        house.pullet.kill9(process)
    with resident(house):
        house.registry.start()
        event = starter.wait("failed", "over")
        assert "connect" in event["reason"].lower() and [event["container"], *event["also"]] == ["app", "side"]
        polls(house)
        starter.wait("failed", "over")
        assert told.read_text() == "{}"


def test_a_version_that_is_not_signed_and_a_signature_that_expires(house, starter, tmp_path):
    """Each is told once, and the expiry in the journal too; the version that runs goes on."""
    signing = Signing(house)
    first, _ = signing.up(create=ONE_SHOT, settings={"agent": OFTEN}, seq=1)
    with resident(house):
        unsigned = house.publish()
        event = starter.wait("signature-refused")
        assert (event["container"], event["from"], event["to"]) == ("app", first.digest, unsigned.digest)
        assert event["reason"].startswith("signature: ")
        polls(house)
        starter.wait("signature-refused")
        at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
        expires = f"{at:%Y-%m-%dT%H:%M:%SZ}"
        signing.sign(unsigned, seq=2, expires=expires)
        starter.wait("signature-refused", "updated")
        polls(house)  # it has the starter's answer by then
    with resident(house, env=preloaded(tmp_path, "offset-clock.c", CLOCK_OFFSET="7200")):
        event = starter.wait("signature-refused", "updated", "signature-expired")
        assert event["reason"] == expires and event["to"] == unsigned.digest
        assert "runs, and its signature has expired" in event["message"]
        polls(house)
        starter.wait("signature-refused", "updated", "signature-expired")
        log = (house.pullet.directory / "pulletd.log").read_text()
        assert log.count(f"the signature of the version that runs has expired ({expires})") == 1, log
        # The next one has no end.
        signing.publish(seq=3)
        starter.wait("signature-refused", "updated", "signature-expired", "updated")
    assert "expired" not in (house.pullet.directory / "told/told.json").read_text()


def test_a_notification_that_fails_hurts_no_update(house):
    """With a starter that cannot start the unit, then without any."""
    house.up(create=ONE_SHOT, agent=OFTEN)
    path = house.pullet.directory / "unit.sock"
    starter = Starter(path, '{"error":"systemd does not start tell.service: not found"}')
    with resident(house) as process:
        for complaint in ("notify: systemd does not start tell.service: not found", "notify: cannot connect to"):
            published = house.publish()
            wait_for(complaint, lambda text=complaint: text in process.log.read_text(), 60)
            house.check(published)
            if starter:
                starter.close()
                path.unlink()
                starter = None
        assert process.log.read_text().count("notify: ") == 2


@pytest.mark.parametrize("kind", ["none", "many"])
def test_logs_of_every_kind(house, starter, kind):
    create = json.loads(json.dumps(ONE_SHOT))
    create["Tty"] = kind == "many"
    if kind == "none":
        create["HostConfig"]["LogConfig"] = {"Type": "none"}
    house.up(create=create, agent=OFTEN)
    words = [word for n in range(70) for word in ("say", f"line {n} " + "x\u20ac" * 400)]
    with resident(house):
        house.publish(*words, "say", "the end", "exit", 3)
        event = starter.wait("rolled-back")
    if kind == "none":
        assert event["log"] == [] and "last log line" not in event["reason"]
    else:
        assert len(event["log"]) == 50 and event["log"][-1] == "the end"
        assert event["log"][0].startswith("line 21 x\u20ac") and all(len(line.encode()) <= 500 for line in event["log"])


# --- the examples -------------------------------------------------------------------------------

EVENT = {"event": "rolled-back", "container": "web", "image": "reg/web:1", "from": "sha256:1", "to": "sha256:2",
         "reason": "exited", "message": 'web on pi: "\u20ac" was \\ rolled back: $HOME `id`', "host": "pi",
         "time": "2026-11-29T12:00:00Z", "log": ["starting", "'no' database"]}


class Notify:
    """notify.d with one example, run as pullet-notify@.service runs it."""

    def __init__(self, directory, *names, **settings):
        self.directory = directory
        for name in ("notify.d", "runtime", "credentials"):
            (directory / name).mkdir()
        for name in names:
            (directory / "notify.d" / name).symlink_to(EXAMPLES / name)
            (directory / "credentials" / f"notify_{name}").write_text(
                "".join(f"{key}='{value}'\n" for key, value in settings.items()))
        (directory / "credentials/event").write_text(json.dumps(EVENT))

    def run(self, event=None):
        fields = {f"PULLET_{key.upper()}": value if isinstance(value, str) else "\n".join(value)
                  for key, value in {**EVENT, **(event or {})}.items()}
        return subprocess.run(
            [TOP / "systemd/pullet-notify"], capture_output=True, text=True, check=False, timeout=60,
            env={"PATH": "/usr/bin:/bin", "CREDENTIALS_DIRECTORY": str(self.directory / "credentials"),
                 "RUNTIME_DIRECTORY": str(self.directory / "runtime"),
                 "PULLET_NOTIFY_DIR": str(self.directory / "notify.d"), **fields})


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as server:
        yield server
        server.shutdown()


def told(receiver, notify, **options):
    receiver.requests.clear()
    done = notify.run(**options)
    assert (done.returncode, done.stderr) == (0, ""), done
    (request,) = receiver.requests
    return request


def test_ntfy(receiver, tmp_path):
    """https://docs.ntfy.sh/publish: the body is the message; headers have title, priority, tags and token."""
    path, headers, body = told(receiver, Notify(tmp_path, "ntfy", url=receiver.url + "/topic", token="tk_1"))
    assert path == "/topic" and body == EVENT["message"] + "\nstarting\n'no' database"
    assert headers["Title"] == "web on pi: rolled-back" and headers["Authorization"] == "Bearer tk_1"
    assert headers["Priority"] == "high" and headers["Tags"] == "rotating_light"


def test_telegram(receiver, tmp_path):
    """https://core.telegram.org/bots/api: a form posted to /botTOKEN/sendMessage with chat_id and text."""
    path, headers, body = told(receiver, Notify(tmp_path, "telegram", server=receiver.url, token="12:AB", chat="-100"))
    assert path == "/bot12:AB/sendMessage" and headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert urllib.parse.parse_qs(body) == {"chat_id": ["-100"], "text": [EVENT["message"] + "\nstarting\n'no' database"]}


def test_webhook(receiver, tmp_path):
    """Slack and Mattermost take {"text": ...}; others get the whole event."""
    (tmp_path / "one").mkdir()
    path, headers, body = told(receiver, Notify(tmp_path / "one", "webhook", url=receiver.url + "/hook", key="text"))
    assert path == "/hook" and json.loads(body) == {"text": EVENT["message"]}
    assert headers["Content-Type"] == "application/json" and "Authorization" not in headers
    (tmp_path / "two").mkdir()
    _, headers, body = told(receiver, Notify(tmp_path / "two", "webhook", url=receiver.url, token="t"))
    assert json.loads(body) == EVENT and headers["Authorization"] == "Bearer t"


@pytest.mark.parametrize("way", ["curl", "sendmail"])
def test_mail(tmp_path, way):
    with Post() as post:
        url = f"smtp://127.0.0.1:{post.server_address[1]}"
        settings = {"to": "a@example.com b@example.com", "from": "pi@example.com"}
        if way == "curl":
            notify = Notify(tmp_path, "mail", url=url, user="pi", password="s:e\"c", **settings)
        else:
            sendmail = tmp_path / "sendmail"
            sendmail.write_text(f"#!/bin/sh\nexec curl -s --crlf -T - --mail-from x@example.com --mail-rcpt $1 --mail-rcpt $2 {url}\n")
            sendmail.chmod(0o755)
            notify = Notify(tmp_path, "mail", sendmail=sendmail, **settings)
        done = notify.run()
        assert (done.returncode, done.stderr) == (0, ""), done
        (mail,) = post.mails
        post.shutdown()
    assert mail["to"] == ["a@example.com", "b@example.com"]
    head, body = mail["text"].split("\n\n", 1)
    headers = dict(line.split(": ", 1) for line in head.splitlines())
    assert headers["Subject"] == "web on pi: rolled-back" and headers["To"] == "a@example.com, b@example.com"
    assert body == EVENT["message"] + "\n\nIts last log lines:\n\nstarting\n'no' database\n"
    if way == "curl":
        assert mail["user"] == ["pi", "s:e\"c"] and mail["from"] == "pi@example.com"


def test_each_program_is_successful_once(receiver, tmp_path):
    """What is offline is tried again, what was successful is not; others do not run at all."""
    notify = Notify(tmp_path, "ntfy", "webhook", url=receiver.url)
    (tmp_path / "notify.d/old.dpkg-dist").symlink_to(EXAMPLES / "ntfy")
    (tmp_path / "notify.d/off").write_text("exit 1\n")
    (tmp_path / "credentials/notify_webhook").write_text("url=http://127.0.0.1:1/\n")
    receiver.requests.clear()
    first = notify.run()
    assert first.returncode == 1 and len(receiver.requests) == 1
    assert "notify.d/webhook: exit status 7" in first.stderr and "notify.d/off: not executable" in first.stderr
    (tmp_path / "credentials/notify_webhook").write_text(f"url={receiver.url}/\n")
    assert notify.run().returncode == 0 and [path for path, _, _ in receiver.requests] == ["/", "/"]
    assert notify.run().returncode == 0 and len(receiver.requests) == 2
