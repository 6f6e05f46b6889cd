# SPDX-License-Identifier: MIT
"""The command on a private bus with a real pulletd: what it shows, requests, follows and refuses. The engine is
missing, or never answers; tests/engine/test_pullet.py has a real one."""

import itertools
import json
import os
import pathlib
import pty
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from pullet_bus import Polkit, configure, hanging_engine, resident, write_record  # noqa: E402
from pullet_image import actor  # noqa: E402
from pullet_registry import Authority, Registry  # noqa: E402
from pullet_signer import Key  # noqa: E402
from pullet_sweep import wait_for  # noqa: E402

_numbers = itertools.count(1)


def made_directory(path):
    path.mkdir()
    return path


A, B, C = ("sha256:" + letter * 64 for letter in "abc")
KEYS = ["container", "image", "phase", "current", "target", "rejected", "last_error", "next_check",
        "state", "held", "held_until", "held_by", "held_reason", "previous", "result", "reason", "version", "target_version", "download",
        "signed_by", "signature_expires"]


class Command:
    """pullet with this bus, configuration and state."""

    def __init__(self, pullet, bus):
        self.pullet, self.bus, self.program = pullet, bus, pullet.build / "pullet"

    def start(self, *arguments, user=None, **options):
        program = self.program
        if user:  # a user who may not read the build directory
            program = pathlib.Path(shutil.copy(self.program, self.pullet.lab.path("pullet")))
        environment = {**self.pullet.lab.environment, **self.bus.environment,
                       **options.pop("env", {})}
        return subprocess.Popen(
            [program, *map(str, arguments), "--config", self.pullet.config, "--state-dir",
             self.pullet.state],
            stdin=subprocess.DEVNULL, stdout=options.pop("stdout", subprocess.PIPE),
            stderr=options.pop("stderr", subprocess.PIPE), text=True, env=environment, user=user,
            extra_groups=[] if user else None, **options)

    def __call__(self, *arguments, status=0, timeout=60, **options):
        """-> (stdout, stderr) of a run that exits with that status."""
        process = self.start(*arguments, **options)
        try:
            out, err = process.communicate(timeout=timeout)
        finally:
            process.kill()
        assert process.returncode == status, (arguments, process.returncode, out, err)
        return out, err

    def json(self, *arguments, **options):
        return json.loads(self(*arguments, "--json", **options)[0])


@pytest.fixture
def command(pullet, bus):
    return Command(pullet, bus)


def release(digest):
    return {"digest": digest, "manifest": None, "image": digest, "brought": True, "pulled": None}


def written(pullet, name="app", **more):
    write_record(pullet.state, name, **{
        "current": release(A), "previous": release(B), "held": True, "last_error": "no such manifest",
        "rejected": [{"digest": C, "manifest": None, "reason": "it exited with status 3"}], **more})


# --- status -------------------------------------------------------------------------------------


def test_status_is_the_same_with_and_without_the_daemon(command, pullet, bus):
    written(pullet, current={**release(A), "signature": {
        "keys": [{"name": "prod.pub", "id": C, "seq": 42}], "expires": 1_893_456_000}})
    configure(pullet, "app", "new-one")
    with resident(pullet, bus):
        running = command.json("status")
        assert list(running[0]) == KEYS
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", running[0]["next_check"])
    out, err = command("status", "--json")
    resting = json.loads(out)
    assert "pulletd is not running" in err and str(pullet.state) in err
    assert resting[0] == {
        "container": "app", "image": "127.0.0.1:1/app:stable", "phase": "idle", "current": A,
        "target": None, "rejected": [{"digest": C, "reason": "it exited with status 3"}],
        "last_error": resting[0]["last_error"], "next_check": None, "state": "held, error", "held": True,
        "held_until": None, "held_by": None, "held_reason": None, "previous": B, "result": None,
        "reason": resting[0]["last_error"], "version": None, "target_version": None, "download": None,
        "signed_by": ["prod.pub"], "signature_expires": "2030-01-01T00:00:00Z"}
    # The record has the failure of the first poll.
    assert running[1]["signed_by"] == [] and running[1]["signature_expires"] is None
    assert "\n  signed by prod.pub until 2030-01-01T00:00:00Z\n" in command("status")[0]
    for one in running + resting:
        one["next_check"] = None
    assert running[0] == resting[0] and [one["container"] for one in running] == ["app", "new-one"]


def test_status_fits_80_columns(command, pullet, bus):
    long = "n" * 120
    configure(pullet, "app", long)
    written(pullet)
    written(pullet, long, last_error="e" * 500, phase="trial", update={
        "target": release(B), "rollback": False, "synced": True, "boot_id": "x", "old_id": "o",
        "new_id": "n", "policy": "always", "serving": True, "followers": [], "starts": 1,
        "blame": False, "reason": None})
    table, _ = command("status")
    assert max(len(line) for line in table.splitlines()) == 80
    assert table.splitlines()[0].split() == ["CONTAINER", "STATE", "CURRENT", "TARGET", "NEXT", "CHECK"]
    assert "nnn  trial" in table and "bbbbbbbbbbbb" in table and "eee…" in table
    assert table.count("n") >= 120  # a name continues in the next line
    details, _ = command("status", long)
    assert max(len(line) for line in details.splitlines()) <= 80
    assert details.count("n") > 120 and details.count("e" * 71) == 7  # nothing is cut there
    assert f"Current: {A}\n" in details and f" Target: {B}\n" in details and "\033" not in table


def test_status_of_an_unprivileged_user(command, pullet, bus):
    """Every user may read on the bus; without it, the error says why the records cannot be read."""
    written(pullet)
    with resident(pullet, bus):
        assert command.json("status", user="nobody")[0]["current"] == A
    os.chmod(pullet.state, 0o700)
    _, err = command("status", status=1, user="nobody")
    assert "Permission denied" in err and "sudo" in err and "pulletd is not running" in err


def test_status_without_a_bus(command, pullet, bus):
    written(pullet)
    bus.stop()
    out, err = command("status", "app")
    assert A in out and "cannot connect to the system bus" in err
    (pullet.state / "app.json").write_text("{}")
    _, err = command("status", status=1)
    assert "app.json" in err or "record" in err


def test_watch_follows_signals(command, pullet, bus, daemon):
    watch = command.start("status", "--watch", "--json")
    try:
        assert json.loads(watch.stdout.readline())[0]["rejected"] == []
        written(pullet)
        command("retry", "app")
        lines = iter(watch.stdout.readline, "")
        next(line for line in lines if json.loads(line)[0]["current"] == A
             and json.loads(line)[0]["rejected"] == [])
        configure(pullet, "app", "more")
        daemon.send_signal(signal.SIGHUP)
        next(line for line in lines if len(json.loads(line)) == 2)
        # Without events it must have one second in which it does not wake up.
        wait_for("rest", lambda: work(watch.pid) == (time.sleep(1) or work(watch.pid)))
        watch.send_signal(signal.SIGINT)
        assert watch.wait(60) == 0
    finally:
        watch.kill()
        watch.communicate()


def work(pid):
    """Counters that change whenever a process does anything: context switches, and CPU ticks."""
    ticks = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return ticks, re.findall(r"ctxt_switches:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())


def test_watch_on_a_terminal(command, pullet, bus, daemon):
    """The table is redrawn in place, with colours unless NO_COLOR is set."""
    for environment, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        command("hold", "app")
        master, slave = pty.openpty()
        watch = command.start("status", "--watch", stdout=slave, stderr=slave,
                              env={"TERM": "xterm", **environment})
        os.close(slave)
        try:
            seen = read_until(master, "held")
            command("release", "app")
            seen += read_until(master, "\033[H\033[J")
            assert ("\033[3" in seen) == coloured, repr(seen)
            watch.send_signal(signal.SIGINT)
            assert watch.wait(60) == 0
        finally:
            watch.kill()
            watch.wait()
            os.close(master)


def read_until(master, what):
    seen = ""
    while what not in seen:
        seen += os.read(master, 4096).decode()
    return seen


# --- operations -------------------------------------------------------------------------------------


def test_notes(command, pullet, bus, daemon):
    assert command("hold", "app")[0] == "app: held by root\n"
    assert pullet.record("app")["held"] is True
    assert "held" in command("status")[0]
    assert command("release", "app")[0] == "app: released\n"
    assert pullet.record("app")["held"] is False
    written(pullet, held=False)
    assert command("retry", "app")[0] == "app: 1 rejected digest is forgotten\n"
    assert pullet.record("app")["rejected"] == []
    assert command.json("retry", "app")["reason"] == "nothing was rejected"


@pytest.mark.parametrize("what", ["check", "update"])
def test_an_operation_ends_with_its_result(command, pullet, bus, daemon, what):
    with bus.listener() as listener:
        out, _ = command(what, status=1)
        result = listener.wait_finished(what)
    assert out.startswith("app: failed: ") and "cannot connect" in out
    assert command.json(what, "app", status=1) == result


def test_all_and_some(command, pullet, bus, daemon):
    configure(pullet, "app", "db", "web")
    daemon.send_signal(signal.SIGHUP)
    wait_for("the reload", lambda: len(bus.objects()) == 3)
    out, _ = command("check", "--json", status=1)
    assert sorted(json.loads(line)["container"] for line in out.splitlines()) == ["app", "db", "web"]
    out, _ = command("check", "web", "db", status=1)
    assert sorted(line.split(":")[0] for line in out.splitlines()) == ["db", "web"]


def test_usage(command, pullet, bus, daemon):
    for arguments, said in {
            ("hold",): "missing operand NAME;", ("retry", "app", "db"): "extra operand 'db';",
            ("frobnicate",): "unknown command 'frobnicate'", ("config",): "Usage: pullet [OPTION]... config COMMAND",
            ("stauts",): "unknown command 'stauts'; did you mean 'status'?; see: pullet --help",
            ("confg",): "unknown command 'confg'; did you mean 'config'?; see: pullet --help",
            ("rolout", "set"): "unknown command 'rolout'; did you mean 'rollout'?; see: pullet --help",
            ("config", "chekc"): "unknown command 'config chekc'; did you mean 'config check'?; see: pullet config --help",
            ("rollout", "nothing"): "unknown command 'rollout nothing'; see: pullet rollout --help",
            (): "Usage:", ("update", "--watch"): "'--watch' is not valid for pullet update", ("verify",): "missing operand IMAGE;",
            ("hold", "app", "--platform", "linux/arm"): "'--platform' is not valid",
            ("update", "nobodys"): "no [container nobodys]", ("status", "nobodys"): "no [container nobodys]",
            ("status", "--engine", "/run/docker.sock"): "not of the form",
            ("--frob",): "unrecognized option '--frob'",
            ("verify", "UPPER"): "lower case"}.items():
        out, err = command(*arguments, status=2)
        assert said in err and not out, (arguments, err)


def test_errors_name_the_next_step(command, pullet, bus):
    _, err = command("update", "app", status=1)
    assert "pulletd is not running" in err and "systemctl start pulletd" in err
    write_record(pullet.state, "app")
    with resident(pullet, bus):
        _, err = command("hold", "app", status=1, user="nobody")
        assert "permission denied" in err and "sudo pullet hold app" in err
        for answer in ("no", "challenge"):
            with Polkit(bus, answer) as polkit:
                _, err = command("hold", "app", status=1, user="nobody")
                assert "sudo pullet hold app" in err
                [(_, _, _, flags)] = polkit.questions
                assert flags == "1"  # a client that can authenticate may
        with Polkit(bus, "yes"):
            assert command("hold", "app", user="nobody")[0] == "app: held by nobody\n"
        assert command.json("release", "app", status=1, user="nobody")["result"] == "failed"


def test_a_log_of_nothing_says_so(command, pullet, bus):
    write_record(pullet.state, "app")
    pullet.state.chmod(0o700)
    unknown = "pullet: there is no [container nobody], and no record of it; for a list: pullet status\n"
    assert command("log", "nobody", status=2) == ("", unknown)
    assert f"{pullet.state}/app.json: Permission denied; only root" in command("log", status=1, user="nobody")[1]
    with resident(pullet, bus):
        assert command("log", "nobody", status=2) == ("", unknown)


def test_doctor_names_an_image_once(command, pullet, bus):
    faults = [one for one in command.json("doctor", status=1) if one["subject"] == "127.0.0.1:1"]
    assert [one["text"].count("127.0.0.1:1/app:stable") for one in faults] == [1], faults


class Hanging:
    """pulletd during an update whose engine does not answer."""

    def __init__(self, lab, command):
        self.command, self.pullet, self.bus = command, command.pullet, command.bus
        write_record(self.pullet.state, "app")
        self.path, self.listener = hanging_engine(lab, f"hanging-{next(_numbers)}")
        self.process = None
        configure(self.pullet, "app")
        with resident(self.pullet, self.bus):
            pass  # the jobs of the start, without an engine
        self.start()
        configure(self.pullet, "app", engine=f"unix://{self.path}")
        self.order = command.start("update", "app")
        wait_for("the update", lambda: self.bus.properties()["Operation"] == "update")

    def start(self):
        with open(self.pullet.directory / "pulletd.log", "ab") as out:
            self.process = self.pullet.spawn(stdout=out, stderr=out, env=self.bus.environment)
        self.bus.wait_for_pulletd()
        wait_for("rest", lambda: self.bus.properties()["NextCheck"] > 0)

    def stop(self):
        self.listener.close()
        self.order.kill()
        self.order.communicate()
        self.pullet.kill9(self.process)


@pytest.fixture
def hanging(lab, command):
    hanging = Hanging(lab, command)
    yield hanging
    hanging.stop()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_the_update_to_the_daemon(hanging, number):
    hanging.order.send_signal(number)
    out, err = hanging.order.communicate(timeout=60)
    assert hanging.order.returncode == 1 and not out
    assert "update continues in pulletd" in err and "pullet status --watch" in err
    assert hanging.bus.properties()["Operation"] == "update"


def test_daemon_restarts_during_an_operation(hanging):
    hanging.pullet.kill9(hanging.process)
    assert "pulletd stopped; waiting" in hanging.order.stderr.readline()
    configure(hanging.pullet, "app")
    with hanging.bus.listener() as listener:
        hanging.start()
        out, err = hanging.order.communicate(timeout=60)
        # The record was idle; pullet sent the request again, and this is its result.
        assert listener.wait_finished("update") and not listener.finished("finish")
    assert hanging.order.returncode == 1 and err == "pullet: pulletd is back\n"
    assert out.startswith("app: failed: ") and "no-engine" in out


def test_requests_while_a_job_is_running(hanging):
    _, err = hanging.command("rollback", "app", status=1)
    assert "another operation (update) is under way" in err
    hold = hanging.command.start("hold", "app")
    assert "app: waiting for the end of update of app" in hold.stderr.readline()
    hanging.listener.close()
    hanging.path.unlink()
    assert hold.communicate(timeout=60)[0] == "app: held by root\n"
    assert hanging.order.wait(60) == 1


# --- without the daemon -------------------------------------------------------------------------


def test_config_show_is_a_configuration(command, pullet, bus):
    """Each setting has its origin, and the output read again gives the same settings."""
    secret = pullet.directory / "auth.json"
    secret.write_text('{"auths": {"reg.example": {"auth": "c2VjcmV0OnNlY3JldA=="}}}')
    pullet.config.write_text("[agent]\njitter = 5%\n[registry index.docker.io]\ncredentials = auth.json\n"
                             "[container web]\nimage = reg.example/web:1\ncreate = web.json\nhold = yes\n"
                             "window = 01:00-02:00\nwindow = 03:00-04:00\n[container web]\nhold = no\n")
    drop_in = pullet.directory / "conf.d/50-fleet.conf"
    drop_in.parent.mkdir(exist_ok=True)
    drop_in.write_text("[container web]\nimage = reg.example/web:2\n")
    out, _ = command("config", "show")
    for line in (f"# {pullet.config}:2\njitter = 5%\n", "# default\ninterval = 15min\n",
                 f"\n[registry docker.io]\n# {pullet.config}:4\ncredentials = {secret}\n",
                 f"# {drop_in}:2\nimage = reg.example/web:2\n", f"create = {pullet.directory}/web.json\n",
                 "window = 01:00-02:00\n", "window = 03:00-04:00\n", f"# {pullet.config}:12\nhold = no\n"):
        assert line in out, (line, out)
    assert "web:1" not in out and "hold = yes" not in out and "c2VjcmV0" not in out
    settings = command.json("config", "show")
    assert {(s["key"], s["origin"]) for s in command.json("config", "show", "web")} >= {
        ("health", None), ("image", f"{drop_in}:2")}
    assert "no [container db]" in command("config", "show", "db", status=2)[1]
    drop_in.unlink()
    pullet.config.write_text(out)
    again = command.json("config", "show")
    assert [{**s, "origin": None} for s in settings] == [{**s, "origin": None} for s in again]
    pullet.config.write_text(out + "nonsense = 1\n")
    assert "unknown key 'nonsense'" in command("config", "show", status=2)[1]


def test_doctor_without_services(command, pullet, bus):
    """It does what it can: the faults of the files have their line or command, and what pullet-update sees is asked of a
    child. tests/fleet/test_machine.py has the services."""
    def faults():
        return {(one["subject"], one["text"], one["command"])
                for one in command.json("doctor", status=1) if not one["ok"]}

    good = pullet.config.read_text()
    stopped = ("pulletd", "is not running", "systemctl start pulletd")
    engine = [one for one in faults() - {stopped} if one[0] == "engine"]
    assert [one[2] for one in engine] == ["systemctl start docker"] and stopped in faults(), engine
    with resident(pullet, bus):
        assert stopped not in faults()
    line = len(good.splitlines()) + 1
    pullet.config.write_text(good + "helth = auto\n")
    section = re.findall(r"^\[.*\]$", good, re.M)[-1]
    told, _ = command("doctor", status=1)
    assert (f"fault  configuration             {pullet.config}:{line}: unknown key 'helth' in {section}; did you mean "
            f"'health'?\n       run: editor +{line} {pullet.config}\n") in told
    assert "engine" not in told  # nothing works before that is mended
    pullet.config.write_text(good + "create = none.json\n")
    assert ("configuration", f"create: {pullet.directory}/none.json: No such file or directory",
            f"editor +{line} {pullet.config}") in faults()
    (pullet.directory / "none.json").write_text("{")
    assert f"editor {pullet.directory}/none.json" in {fix for _, _, fix in faults()}
    pullet.config.write_text("")
    assert ("configuration", f"{pullet.config}: 0 containers", "pullet adopt --write") in faults()


def test_doctor_tells_what_is_used_of_the_budgets(command, pullet, bus):
    spool = pullet.state / "spool"
    spool.mkdir(parents=True)
    pullet.config.write_text(pullet.config.read_text().replace("[agent]", "[agent]\nbudget = 20M/day\nbudget = 300M/month"))
    assert [(s["value"]) for s in command.json("config", "show") if s["key"] == "budget"] == ["20M/day", "300M/month"]

    def told():
        return [one["text"] for one in command.json("doctor", status=1) if one["subject"] == "budget" and one["ok"]]

    assert told() == ["0 B of 20.0 MB are used in this day", "0 B of 300.0 MB are used in this month"]
    now = time.strftime("%Y-%m-%d")
    (spool / "budget.json").write_text(json.dumps({
        "id": "x", "counter": 1, "day": now, "month": now[:7], "day_bytes": 12_400_000, "month_bytes": 103_000_000}))
    assert told() == ["12.4 MB of 20.0 MB are used in this day", "103.0 MB of 300.0 MB are used in this month"]


def test_config_check_reports_all_errors(command, pullet, bus):
    pullet.config.write_text("[agent]\ninterval = soon\nfoo = 1\n[what]\nignored = 1\n"
                             "[container app]\nimage = UPPER\n[container next.next]\nimage = x\n"
                             "[container bare]\n")
    more = pullet.directory / "conf.d"
    more.mkdir()
    (more / "10-more.conf").write_text("[container app]\nhealth = maybe\n")
    out, _ = command("config", "check", status=2)
    faults = [re.match(rf"{pullet.directory}/(\S+?):(\d+): ", line).groups()
              for line in out.splitlines()[:-1]]
    main, drop_in = pullet.config.name, "conf.d/10-more.conf"
    assert faults == [(main, "2"), (main, "3"), (main, "4"), (main, "7"), (main, "8"), (drop_in, "2"),
                      (main, "10")]
    assert out.splitlines()[-1] == "7 errors"
    found = command.json("config", "check", status=2)
    assert found["faults"] == out.splitlines()[:-1]
    # pulletd reports the first of them.
    assert found["faults"][0] in pullet.once().stderr

    (more / "10-more.conf").unlink()
    configure(pullet, "app", "db")
    assert "no errors; 2 containers, 0 registries" in command("config", "check")[0]
    found = command.json("config", "check")
    assert found == {"config": str(pullet.config), "containers": ["app", "db"], "faults": []}
    pullet.config.unlink()
    assert "No such file" in command("config", "check", status=2)[0]


# operator-report 8
def test_config_check_tries_the_files_that_it_names(command, pullet, bus):
    body = pullet.directory / "app.json"
    pullet.config.write_text("[registry r.example]\ncredentials = auth.json\nca = ca.pem\n[container app]\n"
                             "image = r.example/app\ncreate = app.json\nkey = prod.pub\n")

    def faults():
        return command.json("config", "check", status=2)["faults"]

    for name in ("auth.json", "ca.pem", "app.json", "prod.pub"):
        [one] = [fault for fault in faults() if name in fault]
        assert "No such file" in one, one
    Key(made_directory(pullet.directory / "keys"), "prod")
    for name in ("auth.json", "ca.pem"):
        (pullet.directory / name).write_text("{}")
    body.write_text("{}")
    [one] = faults()
    assert "ca.pem: no certificate" in one
    (pullet.directory / "auth.json").write_text('{"auths": {}}')
    shutil.copy(Authority(pullet.directory / "authority").certificate, pullet.directory / "ca.pem")
    for text, words in {"{": "app.json", "[]": "it is no JSON object"}.items():
        body.write_text(text)
        [one] = faults()
        assert one.startswith("create: ") and words in one
    # What the first creation would refuse.
    for text, words in {'{"HostConfig": {"AutoRemove": true}}': "AutoRemove",
                        '{"hostconfig": {}}': "key hostconfig must be written HostConfig"}.items():
        body.write_text(text)
        [one] = faults()
        assert one.startswith("create: ") and words in one
    body.write_text("{}")
    body.chmod(0o666)
    assert "other users may write to it" in faults()[0]
    body.chmod(0o644)
    assert command.json("config", "check")["faults"] == []


def test_verify(command, pullet, lab, bus):
    registry = Registry(lab, f"registry-{next(_numbers)}")
    arm, own = actor("wait", platform="linux/arm/v7"), actor("wait")
    published = registry.publish("app", "stable", [own, arm])
    image = registry.ref("app:stable")
    pullet.configure({"app": {"image": image}, "other": {"image": registry.ref("other:stable")}})
    found = command.json("verify", image)
    assert found["digest"] == published.digest and found["manifest"] == published.manifests[own.platform]
    assert found["containers"] == [{"container": "app", "allowed": True, "reason": None, "signed_by": [], "signatures": []}]
    assert found["layer_bytes"] > 0
    out, _ = command("verify", image)
    assert published.digest in out and "May run: app: yes" in out
    found = command.json("verify", image, "--platform", "linux/arm/v7")
    assert found["manifest"] == published.manifests[arm.platform]
    assert found["platform"] == "linux/arm/v7"
    _, err = command("verify", image, "--platform", "linux/s390x", status=1)
    assert "no manifest for linux/s390x" in err
    assert "not of the form" in command("verify", image, "--platform", "arm", status=2)[1]
    assert registry.ref("none") in command("verify", registry.ref("none"), status=1)[1]
    pullet.configure({"app": {"image": image, "key": "prod.pub"}})
    assert "keys/prod.pub: No such file" in command("verify", image, status=2)[1]
    Key(made_directory(pullet.directory / "keys"), "prod")
    out, _ = command("verify", image, status=1)
    assert "May run: app: " in out and "yes" not in out
    pullet.configure({"app": {"image": image}})
    assert "no container" in command("verify", published.digest and registry.ref(
        f"app@{published.digest}"))[0]


def test_verify_of_an_image_that_was_rejected_here(command, pullet, lab, bus):
    registry = Registry(lab, f"registry-{next(_numbers)}")
    published = registry.publish("app", "stable", [actor("wait")])
    image = registry.ref("app:stable")
    pullet.configure({"app": {"image": image}})
    for key, engine in (("digest", {}), ("manifest", {"engine": "20.10"})):
        digest = {"digest": published.digest, "manifest": None}
        if key == "manifest":
            digest = {"digest": C, "manifest": next(iter(published.manifests.values()))}
        written(pullet, rejected=[{**digest, "reason": "it exited with status 3", **engine}])
        [one] = command.json("verify", image, status=1)["containers"]
        assert not one["allowed"] and one["reason"] == "this digest was rejected before: it exited with status 3"
    # That says nothing of another machine.
    assert command.json("verify", image, "--platform", actor("wait").platform)["containers"][0]["allowed"]


# operator-report 3
def test_verify_of_a_single_manifest_tells_its_own_platform(command, pullet, lab, bus):
    registry = Registry(lab, f"registry-{next(_numbers)}")
    registry.publish("app", "stable", [actor("wait", platform="linux/s390x")], index=False)
    image = registry.ref("app:stable")
    pullet.configure({"app": {"image": image}})
    out, _ = command("verify", image, status=1)
    assert "Platform: linux/s390x\n" in out and "May run: app: the image is for linux/s390x" in out
    found = command.json("verify", image, status=1)
    assert (found["platform"], found["containers"][0]["allowed"]) == ("linux/s390x", False)
    assert "linux/s390x" in found["containers"][0]["reason"]
    assert command.json("verify", image, "--platform", "linux/s390x")["containers"][0]["allowed"]
    pullet.configure({"other": {"image": registry.ref("other:stable")}})
    assert "May run: the image is for linux/s390x" in command("verify", image, status=1)[0]


@pytest.mark.parametrize("option", ["--ramp", "--ring"])
def test_rollout_names_the_text_that_is_not_utf8(command, pullet, lab, bus, option):
    registry = Registry(lab, f"registry-{next(_numbers)}")
    registry.publish("app", "stable", [actor("wait")])
    words = ["--ramp", "\udcff=5"] if option == "--ramp" else ["--percent", "5", "--ring", "\udcff=5"]
    _, err = command("rollout", "set", *words, registry.ref("app:stable"), status=2)
    assert f"{option}: not UTF-8" in err
