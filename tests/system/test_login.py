# SPDX-License-Identifier: MIT
"""pullet login and logout against a real registry, and which login counts for it: for the service, for pullet verify and
for pullet rollout alike."""

import base64
import json
import os
import pathlib
import pty
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from pullet_image import actor  # noqa: E402
from pullet_lab import Lab  # noqa: E402
from pullet_registry import Registry, bcrypt  # noqa: E402

BUILD = pathlib.Path(os.environ.get("PULLET_BUILD", "build"))
USER = ("jo", "s3cret:with colon")
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root writes logins")


@pytest.fixture(scope="module")
def lab():
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="module")
def plain(lab):
    """Basic authentication, and TLS with a CA of its own."""
    return Registry(lab, name="basic", tls=True, user=USER)


@pytest.fixture(scope="module")
def tokens(lab):
    return Registry(lab, name="bearer", bearer=USER)


class Machine:
    """The configuration of one, with its auth.d; home: of the user who types the commands."""

    def __init__(self, directory):
        self.etc, self.home = directory / "etc", directory / "home"
        self.etc.mkdir()
        self.home.mkdir()
        self.config = self.etc / "pullet.conf"
        self.config.write_text("")
        directory.chmod(0o755)

    def run(self, *arguments, stdin="", check=False, **more):
        done = subprocess.run([BUILD / "pullet", "--config", self.config, *arguments], input=stdin, text=True,
                              capture_output=True, timeout=60, check=False,
                              env={"PATH": os.environ["PATH"], "HOME": str(self.home), **more})
        assert not check or done.returncode == 0, done.stderr
        assert USER[1] not in done.stdout + done.stderr
        return done.returncode, (done.stdout + done.stderr).strip()

    def trust(self, registry):
        self.config.write_text(f"[registry {registry.address}]\nca = {registry.ca}\n")

    def login(self, registry, *arguments, password=USER[1], **more):
        return self.run("login", registry.address, "--user", USER[0], *arguments, stdin=password + "\n", **more)

    def files(self):
        return sorted(str(path.relative_to(self.etc)) for path in self.etc.glob("auth.d*/*"))

    def verify(self, registry):
        return self.run("verify", registry.ref("app:stable"))


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


@pytest.fixture(scope="module", autouse=True)
def images(plain, tokens):
    for registry in (plain, tokens):
        registry.publish("app", "stable", [actor("exit 0")])


def rewrite(registry, password):
    """The registry reads the file again when it has changed."""
    (registry.directory / "htpasswd").write_text(f"{USER[0]}:{bcrypt(password)}\n")


def test_a_login_works_at_once_for_all(machine, plain):
    """Without a [registry] section but for the CA."""
    machine.trust(plain)
    status, text = machine.verify(plain)
    assert status == 1 and f"requires a user name and a password; run: pullet login {plain.address}" in text, text
    status, text = machine.login(plain)
    name = plain.address.replace(":", "_") + ".json"
    assert (status, machine.files()) == (0, [f"auth.d/{name}"]), text
    assert text == f"{plain.address}: login succeeded, written to {machine.etc}/auth.d/{name}"
    assert (machine.etc / "auth.d").stat().st_mode & 0o777 == 0o700
    assert (machine.etc / "auth.d" / name).stat().st_mode & 0o777 == 0o600
    assert machine.verify(plain)[0] == 0
    assert machine.run("rollout", "show", plain.ref("app:stable"))[0] == 0
    assert machine.run("logout", plain.address)[0] == 0 and machine.files() == []
    assert machine.verify(plain)[0] == 1
    status, text = machine.run("logout", plain.address)
    assert status == 1 and "there is no login to remove" in text


def test_a_wrong_password_changes_nothing(machine, plain, tokens):
    machine.trust(plain)
    machine.login(plain, check=True)
    machine.login(tokens, check=True)
    before = {name: (machine.etc / name).read_text() for name in machine.files()}
    assert len(before) == 2
    for registry in (plain, tokens):
        status, text = machine.login(registry, password="wrong")
        assert status == 1 and "401" in text and text.endswith("; check user name and password; nothing was written"), text
        assert "pullet login" not in text, text  # that is the command which was typed
    assert {name: (machine.etc / name).read_text() for name in machine.files()} == before
    assert machine.verify(tokens)[0] == 0


def test_a_changed_password_is_told_with_the_file(machine, plain):
    machine.trust(plain)
    machine.login(plain, check=True)
    rewrite(plain, "other")
    try:
        status, text = machine.verify(plain)
        assert status == 1 and f"{machine.etc}/auth.d/" in text, text
        assert f"if it is outdated, run: pullet login {plain.address}" in text
        assert machine.login(plain, password="other")[0] == 0 and machine.verify(plain)[0] == 0
    finally:
        rewrite(plain, USER[1])


def docker_config(machine, **content):
    path = machine.home / ".docker/config.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def entry(user=USER):
    return {"auth": base64.b64encode(":".join(user).encode()).decode()}


def test_dockers_login_is_taken(machine, plain):
    """Its entries for this registry, and no other secret."""
    machine.trust(plain)
    path = docker_config(machine, auths={plain.address: entry(), f"{plain.address}/team": entry(),
                                         "other.example": entry(("al", "another"))})
    assert machine.verify(plain)[0] == 0, "a person's own login counts where there is no other"
    assert machine.run("rollout", "show", plain.ref("app:stable"))[0] == 0
    assert machine.run("login", plain.address, "--from", path)[0] == 0
    (name,) = machine.files()
    assert set(json.loads((machine.etc / name).read_text())["auths"]) == {plain.address, f"{plain.address}/team"}
    path.unlink()
    assert machine.verify(plain)[0] == 0


@pytest.mark.parametrize("content,text", [
    ({"auths": {"HOST": {}}, "credsStore": "pass"}, "credential helpers are not asked, nor is pass"),
    ({"credHelpers": {"HOST": "ecr-login"}}, "credential helpers are not asked, nor is ecr-login"),
    ({"auths": {"other.example": {"auth": "am86cHc="}}}, "no login for HOST in it"),
    ({"auths": {"HOST": {"auth": "?"}}}, "is not base64")])
def test_a_file_without_a_login(machine, plain, content, text):
    machine.trust(plain)
    path = docker_config(machine, **json.loads(json.dumps(content).replace("HOST", plain.address)))
    status, said = machine.run("login", plain.address, "--from", path)
    assert status == 1 and text.replace("HOST", plain.address) in said and str(path) in said, said
    assert ("refresh-credentials@" in said) == ("helpers" in text)
    assert machine.files() == []


def test_files_by_any_name(machine, plain, tokens):
    """Of two for the same registry the first counts; a broken one is told only where it may be missing."""
    machine.trust(plain)
    auth = machine.etc / "auth.d"
    auth.mkdir(mode=0o700)
    (auth / "a-broken").write_text("{")
    (auth / "b").write_text(json.dumps({"auths": {"other.example": entry()}}))
    (auth / "c").write_text(json.dumps({"auths": {plain.address: entry()}}))
    (auth / "aa").symlink_to("d")
    (auth / "d").write_text(json.dumps({"auths": {plain.address: entry(("jo", "wrong"))}}))
    assert machine.verify(plain)[0] == 0, machine.verify(plain)
    status, text = machine.verify(tokens)
    assert status == 1 and f"{auth}/a-broken: not the JSON" in text and "pullet login" in text, text
    (auth / "e:5000.json").write_text("{}")
    status, text = machine.verify(plain)
    assert status == 1 and f"{auth}/e:5000.json: systemd allows no colon in its name; remove it" in text, text


def test_the_credentials_of_units(machine, plain):
    """As systemd passes them to pullet-fetch and pullet-update, by their file's name."""
    machine.trust(plain)
    loaded = machine.etc / "loaded"
    loaded.mkdir()
    (loaded / "auth").write_text("{}")
    (loaded / "auth-enc_x.json").write_text(json.dumps({"auths": {plain.address: entry()}}))
    assert machine.run("verify", plain.ref("app:stable"), CREDENTIALS_DIRECTORY=str(loaded))[0] == 0
    (loaded / "auth_x.json").write_text(json.dumps({"auths": {plain.address: entry(("jo", "wrong"))}}))
    status, text = machine.run("verify", plain.ref("app:stable"), CREDENTIALS_DIRECTORY=str(loaded))
    assert status == 1 and f"{machine.etc}/auth.d/x.json was used" in text, text


def test_a_sections_own_credentials_count_first(machine, plain):
    machine.config.write_text(f"[registry {plain.address}]\nca = {plain.ca}\ncredentials = registry-auth\n")
    status, text = machine.login(plain)
    assert status == 0 and "remove that line" in text
    status, text = machine.verify(plain)
    assert status == 1 and "credentials: /etc/credstore/registry-auth: No such file" in text, text
    assert f"remove credentials = and run: pullet login {plain.address}" in text


def test_without_the_authority(machine, plain):
    status, text = machine.login(plain)
    assert status == 1 and f"/etc/docker/certs.d/{plain.address}/ca.crt" in text, text
    assert text.startswith(f"pullet: {plain.address}: SSL"), text


def test_http_is_told(machine, lab):
    registry = Registry(lab, name="http", user=USER)
    machine.config.write_text(f"[registry {registry.address}]\ninsecure = no\n")
    status, text = machine.login(registry)
    assert status == 1 and f"set insecure = yes in [registry {registry.address}]" in text, text
    registry.stop()


@pytest.mark.parametrize("arguments,stdin,text", [
    (["registry"], "x", "its host has a dot or a port"),
    (["a.example:x"], "x", "port"),
    (["a.example"], "x", "missing option --user"),
    (["a.example", "--user", "jo"], "", "the password is empty"),
    (["a.example", "--user", "jo", "--from", "x"], "", "mutually exclusive"),
    (["a.example", "--from", "/nonexistent"], "", "/nonexistent: No such file")])
def test_usage(machine, arguments, stdin, text):
    status, said = machine.run("login", *arguments, stdin=stdin)
    assert status == 2 and text in said, said
    assert machine.files() == []


def test_on_a_terminal_the_password_is_not_shown(machine, tokens):
    """A scheme and a path, as people paste them, do not count."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(BUILD / "pullet", ["pullet", "--config", str(machine.config), "login", f"http://{tokens.address}/v2/"],
                  {"HOME": str(machine.home)})
    seen = b""
    for prompt, answer in ((b"User name: ", USER[0]), (b"Password: ", USER[1])):
        while prompt not in seen:
            seen += os.read(terminal, 1000)
        os.write(terminal, answer.encode() + b"\n")
    while True:
        try:
            more = os.read(terminal, 1000)
        except OSError:
            break
        if not more:
            break
        seen += more
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, seen
    assert USER[1].encode() not in seen and b"login succeeded" in seen, seen
    assert machine.verify(tokens)[0] == 0


def test_an_ordinary_user_is_sent_to_sudo(machine, tokens):
    (machine.etc / "auth.d").mkdir(mode=0o700)
    done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", BUILD / "pullet", "--config",
                           machine.config, "login", tokens.address, "--user", "jo"], input="x", text=True,
                          capture_output=True, timeout=60, check=False)
    assert done.returncode == 1 and f"try: sudo pullet login {tokens.address}" in done.stderr, done.stderr


def test_a_foreign_token_server_proves_nothing(machine, lab):
    """It gets no password, and the registry takes its anonymous token."""
    registry = Registry(lab, name="foreign", bearer=True)
    host = f"localhost:{registry.port}"  # the token server is on 127.0.0.1
    status, text = machine.run("login", host, "--user", "jo", stdin="any")
    assert status == 1 and f"set token-server = http://{registry.tokens.relay.address} in [registry {host}]" in text, text
    assert machine.files() == [] and {given for _, given in registry.tokens.requests} == {None}
    registry.stop()
