# SPDX-License-Identifier: MIT
"""The manuals match the programs: options, keys, commands, D-Bus members; their examples run."""

import ast
import json
import os
import pathlib
import re
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ["PULLET_BUILD"])
PAGES = sorted((TOP / "packaging/man").glob("*.[0-9]"))


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def plain(text):
    """A page's source without the markup."""
    text = re.sub(r"\\f[BIRP]", "", text.replace("\\-", "-").replace("\\e", "\\"))
    return re.sub(r"^\.(?:B|I|BR|BI|RI|IR|RB) ", "", text, flags=re.M)


def sections(page):
    parts = re.split(r'^\.SH "?([^"\n]+)"?\n', (TOP / "packaging/man" / page).read_text(), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def examples(page):
    return [plain(text) for text in
            re.findall(r"^\.EX\n(.*?)^\.EE\n", sections(page)["EXAMPLES"], re.M | re.S)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_is_well_formed(page):
    done = run("groff", "-man", "-ww", "-z", "-Tutf8", str(page))
    assert done.returncode == 0 and not done.stderr, done.stderr
    head = page.read_text()
    version = re.search(r"project\(pullet VERSION (\S+)", (TOP / "CMakeLists.txt").read_text())[1]
    assert f'"pullet {version}"' in head.splitlines()[1]
    for name, number in re.findall(r"^\.BR ([\w.\\-]+) \((\d)\)", head, re.M):
        other = name.replace("\\-", "-") + "." + number
        if other.startswith(("pullet", "org.pullet")):
            assert (page.parent / other).exists(), f"{page.name} points to {other}"


def test_every_key_is_in_the_manual():
    code = (TOP / "agent/base/config-keys.c").read_text()
    table = re.findall(r'\{SECTION_(\w+), "([a-z-]+)", (?:config_)?parse_\w+,', code)
    assert len(table) > 10
    page = []
    for section, text in sections("pullet.conf.5").items():
        name = re.match(r"\[(\w+)", section)
        if name:
            page += [(name[1].upper(), key) for key in
                     re.findall(r"^\.TP\n\.B ([a-z-]+)$", text.replace("\\-", "-"), re.M)]
    assert page == table


PROGRAMS = {"pulletd": "pulletd.8", "pullet-update": "pullet-update.8", "pullet-fetch": "pullet-fetch.8", "pullet-delta": "pullet-delta.1"}


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_option_is_in_the_manual(program):
    usage = run(str(BUILD / program), "--help").stdout
    page = plain(sections(PROGRAMS[program])["OPTIONS"])
    mine = set(re.findall(r"^ +(--[a-z-]+)|, (--[a-z-]+)", usage, re.M))
    mine = {a or b for a, b in mine}
    told = set(re.findall(r"^(--[a-z-]+)", page, re.M))
    assert mine == told and "--help" in mine
    assert {"0", "1", "2"} <= set(re.findall(r"^(\d)", plain(sections(PROGRAMS[program])["EXIT STATUS"]), re.M))


def told_by_help():
    """Command -> its own and the common options, from --help."""
    usage = run(str(BUILD / "pullet"), "--help").stdout
    commands = [" ".join(re.findall(r"\b[a-z]+\b", left)) for left in
                re.findall(r"^  ([a-z].*?)  ", usage, re.M)]
    assert {"status", "update", "config check"} <= set(commands)
    told = {"": set(re.findall(r"^  (--[a-z-]+)", usage, re.M))}
    for command in commands:
        page = run(str(BUILD / "pullet"), *command.split(), "--help").stdout
        assert page.startswith(f"Usage: pullet {command} "), page
        assert all(len(line) <= 80 for line in page.splitlines())
        told[command] = set(re.findall(r"^  (--[a-z-]+)", page, re.M))
        assert told[""] <= told[command]
    return told


def test_every_command_is_in_the_manual():
    told = told_by_help()
    page = sections("pullet.1")
    listed = re.findall(r"^\.TP\n\\fB([a-z ]+)\\fR", page["COMMANDS"], re.M)
    assert listed == [command for command in told if command]
    options = set(re.findall(r"^(--[a-z-]+)", plain(page["OPTIONS"]), re.M))
    assert options == set().union(*told.values())
    assert not keys_printed() - set(re.findall(r"\w+", plain(page["JSON OUTPUT"])))


def keys_printed():
    """The keys of each JSON object that pullet prints, by the functions that make them."""
    makers = {"command/status.c": ["status_to_json"], "base/result.c": ["result_to_json", "download_to_json"],
              "base/history.c": ["history_to_json"], "update/verify-image.c": ["judgement_to_json", "judge_container", "print_image"],
              "command/command-rollout.c": ["print_present"], "command/command-doctor.c": ["tell"]}
    keys = {"digest"}
    for path, functions in makers.items():
        code = (TOP / "agent" / path).read_text()
        for name in functions:
            body = re.search(rf"^[\w *]*\b{name}\(.*?^\}}", code, re.M | re.S)[0]
            keys |= set(re.findall(r'"([a-z_]+)"', body))
    assert {"held_until", "downtime_ms", "again", "duration_ms", "signatures", "layer_bytes"} <= keys
    return keys


def test_every_member_on_the_bus_is_in_the_manual():
    import pullet_bus
    xml = (TOP / "systemd/org.pullet.Agent1.xml").read_text()
    names = {dict(arguments)["name"]: dict(arguments).get("type")
             for members in pullet_bus.interfaces(xml).values() for _, arguments, _ in members}
    page = plain((TOP / "packaging/man/org.pullet.Agent1.5").read_text()).replace('"', "")
    for name, kind in names.items():
        assert re.search(rf"^(?:\w+ *\(\), +)*{name} *\({re.escape(kind or '')}", page, re.M), name
    used = set(re.findall(r"SD_BUS_ERROR_([A-Z_]+)", "".join(
        (TOP / f"agent/daemon/{f}.c").read_text() for f in ("bus", "polkit")))) - {"NULL"}
    told = {"".join(word) for word in re.findall(r"^org\.freedesktop\.DBus\.Error\.(\w+)$", page, re.M)}
    assert {re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper() for name in told} == used


def test_every_metric_and_event_is_in_the_manual():
    code = (TOP / "agent/daemon/report.c").read_text()
    metrics = re.findall(r'^\t\[[A-Z_]+\] = \{"([a-z._]+)"', code, re.M)
    page = plain(sections("pullet.conf.5")["[report]"])
    assert len(metrics) > 10 and re.findall(r"^(pullet\.[a-z._]+)(?: .*)?\n? *pullet_", page, re.M) == metrics
    kinds = re.search(r"static const struct kind \{.*?\n\}.*?;\n", (TOP / "agent/daemon/notice.c").read_text(), re.S)[0]
    told = re.findall(r"^\.TP\n\.B ([a-z-]+)$", sections("pullet-notify.5")["EVENTS"].replace("\\-", "-"), re.M)
    assert sorted(told) == sorted(re.findall(r'= \{"([a-z-]+)"', kinds))


def test_every_place_is_in_the_manual():
    """What systemd makes for Pullet, and what only Pullet puts into such a directory."""
    page = plain(sections("pulletd.8")["FILES"])
    units = "".join((TOP / "systemd" / name).read_text() for name in
                    ("pullet.tmpfiles", "pullet-fetch.socket", "pullet-unit.socket", "pullet-update.socket"))
    places = set(re.findall(r"(/(?:etc|run|var)/\S+)", units)) | {
        "/" + line for line in (TOP / "packaging/debian/pullet.dirs").read_text().split()}
    assert len(places) > 8
    for place in places:
        assert re.search(rf"(?<!\w){re.escape(place)}(?![\w.-])", page), place


def size_of(path, name):
    """The number of elements of a list or dictionary in a file of the tests."""
    (value,) = [node.value for node in ast.parse((TOP / "tests" / path).read_text()).body
                if isinstance(node, ast.Assign) and node.targets[0].id == name]
    return len(value.keys if isinstance(value, ast.Dict) else value.elts)


def test_the_page_of_the_tests_counts_right():
    setups = re.search(r"setups\[\] = \{\n(.*?)^\};", (TOP / "tests/sim/test-crash.c").read_text(), re.M | re.S)[1]
    counts = {
        "over {} setups": setups.count(".policy = "),
        "all {} vectors": len(json.loads((TOP / "tests/data/cosign/vectors.json").read_text())),
        "wrong in {} ways": size_of("lib/pullet_delta.py", "WRONG_ARTIFACT") + size_of("lib/pullet_delta.py", "WRONG_PATCH"),
        "{} kinds of forged": size_of("engine/test_signed.py", "FORGED"),
        "{} containers of all kinds": size_of("engine/test_settings.py", "TABLE")}
    page = (TOP / "tests/README.md").read_text()
    assert not [text.format(n) for text, n in counts.items() if text.format(n) not in page]


# --- completion ---------------------------------------------------------------------------------

COMPLETION = TOP / "packaging/completion"
FAKE = """#!/bin/sh
case "$*" in
*status*) [ -n "$DOWN" ] || cat <<'END'
[{"container":"hello","image":"r/h:s","rejected":[]},{"container":"web.1","image":"r/w:s","rejected":[{"digest":"d","reason":"\\"container\\":\\"no\\""}]}]
END
;;
*config*) echo '{"config":"f","containers":["eins","drei"],"faults":[]}' ;;
esac
"""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_command_and_option_is_completed(shell):
    script = (COMPLETION / f"pullet.{shell}").read_text()
    assert run(shell, "-n", str(COMPLETION / f"pullet.{shell}")).stderr == ""
    told = told_by_help()
    for word in {word for command in told for word in command.split()}:
        assert re.search(rf"(?<![\w-]){word}(?![\w-])", script), word
    for option in set().union(*told.values()):
        assert re.search(rf"(?:--|-l ){option[2:]}(?![\w-])", script), option


# An interactive zsh that prints its completions: each of them ends in compadd.
ZSHRC = r"""PROMPT= fpath=(~ $fpath)
autoload -U compinit && compinit -u
compadd() {
	local -a hits
	[[ " ${@[1,(i)(-|--)]} " == *\ -[a-zA-Z]#[OAD]\ * ]] ||
		{ builtin compadd -A hits "$@"; print -lr -- "hit:"$^hits }
	builtin compadd "$@"
}
finish() { print end }
comppostfuncs=(finish)
bindkey '^I' complete-word
print begin
"""


@pytest.fixture
def environment(tmp_path):
    (tmp_path / "pullet").write_text(FAKE)
    (tmp_path / "pullet").chmod(0o755)
    (tmp_path / ".zshrc").write_text(ZSHRC)
    (tmp_path / "_pullet").symlink_to(COMPLETION / "pullet.zsh")
    return {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path), "TERM": "dumb"}


# Command line -> completions.
CASES = {
    "pullet st": {"status"},
    "pullet status ": {"hello", "web.1"},
    "pullet status h": {"hello"},
    "pullet update hello ": {"hello", "web.1"},
    "pullet hold hello ": {"hello", "web.1"},
    "pullet retry hello ": set(),
    "pullet hold --reason x --u": {"--until"},
    "pullet update --n": {"--now"},
    "pullet --json hold w": {"web.1"},
    "pullet config ": {"check", "show"},
    "pullet config show ": {"hello", "web.1"},
    "pullet config show hello ": set(),
    "pullet config check ": set(),
    "pullet status --w": {"--watch"},
    "pullet hold --w": set(),
    "pullet adopt --w": {"--write"},
    "pullet verify --pl": {"--platform"},
    "pullet rollout s": {"show", "set"},
    "pullet rollout show x --pe": set(),
    "pullet rollout set --ramp 5 x --pe": {"--percent"},
    "pullet verify --platform linux/arm/": {"linux/arm/v7", "linux/arm/v6"},
}


OPTIONS = {"--json", "--config", "--state-dir", "--engine", "--help", "--version"}


def in_bash(line):
    words = " ".join(f"'{word}'" for word in line.split(" "))
    return ("bash", "-c", f". {COMPLETION}/pullet.bash; COMP_WORDS=({words}); "
            f"COMP_CWORD={len(line.split(' ')) - 1}; _pullet; printf '%s\\n' \"${{COMPREPLY[@]}}\"")


def in_fish(line):
    return ("fish", "-c", f"source {COMPLETION}/pullet.fish; complete -C '{line}'")


def in_zsh(line):
    return ("zsh", "-fc", f"""zmodload zsh/zpty
zpty inner zsh -d -i
zpty -r inner out '*begin*'
zpty -n -w inner '{line}'$'\\t'
zpty -r inner out '*end*'
print -r -- $out | tr -d '\\r' | sed -n 's/.*hit://p'""")


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("shell", [in_bash, in_zsh, in_fish])
def test_completion_completes(shell, down, environment):
    """Words depend on their position; names come from pulletd, or from the configuration if it does not run."""
    names = {"hello", "web.1"}
    for line, want in CASES.items():
        done = run(*shell(line), env={**environment, "DOWN": "yes" if down else ""}, timeout=60)
        found = {one.split("\t")[0] for one in done.stdout.splitlines() if one}
        if shell == in_zsh and not want:
            found -= OPTIONS  # zsh offers them if nothing else fits
        if down:
            want = {"eins", "drei"} if want == names else want - names
        assert found == want and not done.stderr, (line, found, done.stderr)
    done = run(*shell("pullet "), env=environment, timeout=60)
    found = {one.split("\t")[0] for one in done.stdout.splitlines() if one}
    assert found == {command.split()[0] for command in told_by_help() if command}


@pytest.mark.parametrize("shell", [in_bash, in_zsh, in_fish])
def test_each_command_has_its_own_options(shell, environment):
    """No more and no fewer than --help tells, behind each command."""
    for command, options in told_by_help().items():
        done = run(*shell(f"pullet {command} --".replace("  ", " ")), env={**environment, "DOWN": ""}, timeout=60)
        found = {line.split("\t")[0] for line in done.stdout.splitlines() if line.startswith("--")}
        assert found == options and not done.stderr, (command, found ^ options, done.stderr)


# --- examples -----------------------------------------------------------------------------------


def test_example_configuration(tmp_path):
    """pulletd reads it to the last line, and the file that it names is a create body."""
    example, body = examples("pullet.conf.5")
    assert re.findall(r"^create = (.*)$", example, re.M) == ["hello.json"]
    assert json.loads(body)["HostConfig"]["RestartPolicy"]
    conf = tmp_path / "pullet.conf"
    conf.write_text(example)
    done = run(str(BUILD / "pulletd"), "--config", str(conf), "--once", "absent")
    assert done.returncode == 2 and "has no [container absent]" in done.stderr, done.stderr
    conf.write_text(example + "nonsense = 1\n")
    done = run(str(BUILD / "pulletd"), "--config", str(conf), "--once", "absent")
    assert "unknown key 'nonsense' in [container web]" in done.stderr, done.stderr


def test_shipped_configuration():
    done = run(str(BUILD / "pulletd"), "--config", str(TOP / "packaging/pullet.conf"), "--once", "absent")
    assert "has no [container absent]" in done.stderr, done.stderr


def test_example_drop_in(tmp_path):
    (example,) = examples("pullet-fetch.8")
    script = "systemctl() { echo systemctl $*; }\n" + example.replace("/etc/systemd", f"{tmp_path}")
    done = run("sh", "-eu", "-c", script)
    assert done.returncode == 0 and done.stdout == "systemctl daemon-reload\n", done.stderr
    drop_ins = [path.read_text() for path in tmp_path.rglob("auth.conf")]
    assert drop_ins == ["[Service]\nLoadCredential=other-auth:/etc/pullet/other.json\n"] * 2
