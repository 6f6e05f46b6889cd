# SPDX-License-Identifier: MIT
"""Docker's own files and ways, read as Docker reads them: certs.d, config.json, mirrors, token servers elsewhere. The
numbers are of the public reports that the cases come from."""

import base64
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from pullet_registry import Authority
from pullet_lab import free_port
from registryd import OCI_MANIFEST, Answer, Registry, manifest, on
from test_fetch import (BOMBS, BUILD, PASSWORD, Child, basic, bearer, check_memory, environment,  # noqa: F401
                        fetch, registry)

LOOPBACK = "IP:127.0.0.1,IP:127.0.0.2,IP:127.0.0.9,IP:::1,DNS:localhost"
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
SYSTEM = pathlib.Path(BUNDLE).read_bytes() if os.path.exists(BUNDLE) else b""


@pytest.fixture(scope="session")
def authorities(tmp_path_factory):
    """Three of them, each with a server's certificate for loopback."""
    made = []
    for name in ("a", "b", "c"):
        authority = Authority(tmp_path_factory.mktemp("tls") / name)
        authority.server = authority.issue("server", LOOPBACK)
        made.append(authority)
    return made


class Docker:
    """/etc/docker and the system's authorities, in a mount namespace of the program's own."""

    def __init__(self, directory, fetch):
        self.base, self.directory, self.fetch = directory, directory / "docker", fetch
        directory.chmod(0o755)  # for a program that is not root
        self.directory.mkdir(mode=0o755)
        fetch.directory, fetch.config = directory, directory / "pullet.conf"
        fetch.config.write_text("")
        bundle = directory / "bundle.crt"
        bundle.write_text("")
        self.bundle = bundle
        script = ('mkdir -p /etc/docker && mount --bind "$0" /etc/docker && mount --bind "$1" "$2" && '
                  'shift 2 && exec "$@"')
        fetch.prefix = [shutil.which("unshare"), "-m", "sh", "-c", script, str(self.directory), str(bundle), BUNDLE]

    def certs(self, host, **files):
        """ca_crt=PATH copies it to certs.d/HOST/ca.crt; a text is written."""
        directory = self.directory / "certs.d" / host
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            path = directory / name.replace("_", ".")
            if isinstance(content, str):
                path.write_text(content)
            else:
                shutil.copy(content, path)
            path.chmod(0o600 if path.suffix == ".key" else 0o644)
        return directory

    def as_service(self):
        """Not as a child of root, which may read any file."""
        # setpriv keeps the process: the program ends with its parent.
        self.fetch.prefix += ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]


@pytest.fixture
def docker(fetch):
    if os.geteuid() != 0 or not os.path.exists(BUNDLE) or subprocess.run(
            ["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("needs to make a mount namespace")
    with tempfile.TemporaryDirectory(prefix="pullet-") as directory:
        yield Docker(pathlib.Path(directory), fetch)


def tls(authority, address="127.0.0.1", **options):
    return Registry(address, certificate=authority.server[0], key=authority.server[1], **options)


def known(fetch, registry, repository="app"):
    digest = registry.put(repository, "latest", manifest())
    assert fetch.ask(f"{registry.host}/{repository}")["digest"] == digest


# /etc/docker/certs.d: cases 11 and 12

def test_a_new_authority_lies_beside_the_old_one(fetch, docker, authorities):
    old, new, _ = authorities
    with tls(new) as registry:
        docker.certs(registry.host, ca_crt=old.certificate, new_crt=new.certificate)
        known(fetch, registry)


def test_both_authorities_in_one_file(fetch, docker, authorities):
    old, new, _ = authorities
    with tls(new) as registry:
        docker.certs(registry.host, ca_crt=old.certificate.read_text() + new.certificate.read_text())
        known(fetch, registry)


def test_the_registry_has_a_public_certificate_by_now(fetch, docker, authorities):
    private, public, _ = authorities
    docker.bundle.write_bytes(public.certificate.read_bytes())
    with tls(public) as registry:
        docker.certs(registry.host, ca_crt=private.certificate)
        known(fetch, registry)


def test_json_bombs_behind_both(fetch, docker, authorities):
    """The most that a process holds: the system's authorities, its own, and the largest document."""
    docker.bundle.write_bytes(SYSTEM)
    with tls(authorities[0]) as registry:
        docker.certs(registry.host, ca_crt=authorities[0].certificate)
        for name, bomb in BOMBS.items():
            registry.put("app", name, bomb, OCI_MANIFEST)
            fetch.fails(f"{registry.host}/app:{name}", "EKEYREJECTED", measured=True)
            check_memory(fetch)


def test_an_unknown_authority_is_never_trusted(fetch, docker, authorities):
    mine, other, public = authorities
    docker.bundle.write_bytes(public.certificate.read_bytes())
    with tls(other) as registry:
        docker.certs(registry.host, ca_crt=mine.certificate)
        error = fetch.fails(f"{registry.host}/app", "EPROTO", "certificate")
        assert f"/etc/docker/certs.d/{registry.host}/ca.crt" in error["text"]
        assert registry.seen == []


def test_ca_is_the_only_authority(fetch, docker, authorities):
    """pullet.conf(5): ca = instead of certs.d and of the system's."""
    mine, other, public = authorities
    docker.bundle.write_bytes(public.certificate.read_bytes())
    for authority in (other, public):
        with tls(authority) as registry:
            docker.certs(registry.host, ca_crt=other.certificate)
            fetch.configure(registry.host, ca=mine.certificate)
            fetch.fails(f"{registry.host}/app", "EPROTO", "certificate")
            assert registry.seen == []


@pytest.mark.parametrize("rubbish", [
    "", "no certificate\n", "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n",
    "-----BEGIN CERTIFICATE-----\nAAAA\n", "\0\1\2"])
def test_a_damaged_file_beside_a_good_one(fetch, docker, authorities, rubbish):
    with tls(authorities[0]) as registry:
        docker.certs(registry.host, aa_crt=rubbish, ca_crt=authorities[0].certificate, zz_crt=rubbish)
        (docker.directory / "certs.d" / registry.host / "dir.crt").mkdir()
        known(fetch, registry)


def test_a_host_without_a_port(fetch, docker, authorities):
    with tls(authorities[0], "127.0.0.9", port=443) as registry:
        assert registry.host == "127.0.0.9"
        docker.certs(registry.host, ca_crt=authorities[0].certificate)
        known(fetch, registry)


def test_an_ipv6_host(fetch, docker, authorities):
    with tls(authorities[0], "::1") as registry:
        docker.certs(registry.host, ca_crt=authorities[0].certificate)
        known(fetch, registry)


def test_the_registry_wants_a_client_certificate(fetch, docker, authorities):
    authority = authorities[0]
    client = authority.issue("client")
    with tls(authority, clients=authority.certificate) as registry, \
            tls(authority, "127.0.0.2", clients=authority.certificate) as elsewhere:
        registry.hooks.append(on("GET", answer=lambda seen: Answer(307, {
            "Location": elsewhere.url + seen.path})))
        elsewhere.put("app", "latest", manifest())
        docker.certs(registry.host, ca_crt=authority.certificate, client_cert=client[0], client_key=client[1])
        known(fetch, registry)
        assert registry.clients[0]["subject"] == ((("commonName", "client"),),)
        # A client certificate is for its own host alone.
        assert elsewhere.seen and not any(elsewhere.clients)


def test_a_redirect_target_wants_its_own_client_certificate(fetch, docker, authorities):
    a, b, _ = authorities
    with tls(a, clients=a.certificate) as registry, tls(b, "127.0.0.2", clients=b.certificate) as elsewhere:
        registry.hooks.append(on("GET", answer=lambda seen: Answer(307, {
            "Location": elsewhere.url + seen.path})))
        elsewhere.put("app", "latest", manifest())
        for server, authority, name in ((registry, a, "one"), (elsewhere, b, "two")):
            client = authority.issue(name)
            directory = docker.certs(server.host, ca_crt=authority.certificate, x_cert=client[0], x_key=client[1])
            (directory / "x.key").chmod(0o644)  # the program is not root when it meets the second one
        known(fetch, registry)
        assert registry.clients[0]["subject"] == ((("commonName", "one"),),)
        assert elsewhere.clients[0]["subject"] == ((("commonName", "two"),),)


@pytest.mark.parametrize("there,missing", [("client_cert", "client.key"), ("client_key", "client.cert")])
def test_half_a_client_certificate_is_named(fetch, docker, authorities, there, missing):
    client = authorities[0].issue("client")
    with tls(authorities[0]) as registry:
        directory = docker.certs(registry.host, ca_crt=authorities[0].certificate,
                                 **{there: client[there.endswith("key")]})
        fetch.fails(f"{registry.host}/app", "ENOKEY",
                    f"/etc/docker/certs.d/{registry.host}/{there.replace('_', '.')} has no {missing} beside it")
        assert directory.exists() and registry.seen == []


def test_the_key_is_of_another_certificate(fetch, docker, authorities):
    one, two = authorities[0].issue("one"), authorities[0].issue("two")
    with tls(authorities[0]) as registry:
        docker.certs(registry.host, ca_crt=authorities[0].certificate, x_cert=one[0], x_key=two[1])
        fetch.fails(f"{registry.host}/app", "EBADMSG", "x.key: not the private key of")


def test_a_key_that_only_root_may_read(fetch, docker, authorities):
    """It need not be needed; where it is, the failure names it."""
    authority = authorities[0]
    client = authority.issue("client")
    docker.as_service()
    with tls(authority, clients=authority.certificate) as registry:
        docker.certs(registry.host, ca_crt=authority.certificate, client_cert=client[0], client_key=client[1])
        known(fetch, registry)
        assert registry.clients == [None] * len(registry.clients)
        registry.hooks.append(on(answer=Answer(400, {}, b"No required SSL certificate was sent")))
        fetch.fails(f"{registry.host}/app", "EPROTO", "400", "client.key is not used: Permission denied",
                    "chgrp pullet-fetch")


def test_an_authority_that_only_root_may_read(fetch, docker, authorities):
    docker.as_service()
    with tls(authorities[0]) as registry:
        directory = docker.certs(registry.host, ca_crt=authorities[0].certificate)
        (directory / "ca.crt").chmod(0o600)
        fetch.fails(f"{registry.host}/app", "EPROTO", "ca.crt is not used: Permission denied; run chmod a+r")


def test_the_old_authority_is_taken_away(fetch, docker, authorities):
    """A resumed TLS session is not checked again: it must not outlive the trust that it was made with."""
    cache = docker.base / "cache"
    cache.mkdir(mode=0o700)
    docker.as_service()
    os.chown(cache, 65534, 65534)
    fetch.options = ("--cache-dir", str(cache))
    old, new, _ = authorities
    with tls(old) as registry:
        directory = docker.certs(registry.host, old_crt=old.certificate, new_crt=new.certificate)
        known(fetch, registry)
        known(fetch, registry)
        assert registry.resumed[-1] is True
        (directory / "old.crt").unlink()
        fetch.fails(f"{registry.host}/app", "EPROTO", "certificate")


def test_a_redirect_target_has_an_authority_of_its_own(fetch, docker, authorities):
    private, other, public = authorities
    docker.bundle.write_bytes(public.certificate.read_bytes())
    for target in (other, public):
        with tls(private) as registry, tls(target, "127.0.0.2") as elsewhere:
            registry.hooks.append(lambda seen: Answer(307, {"Location": elsewhere.url + seen.path}))
            docker.certs(registry.host, ca_crt=private.certificate)
            if target is other:
                docker.certs(elsewhere.host, ca_crt=target.certificate)
            digest = elsewhere.put("app", "latest", manifest())
            assert fetch.ask(f"{registry.host}/app")["digest"] == digest


def test_the_registrys_authority_is_not_left_behind_for_its_token_server(fetch, docker, authorities):
    """docker_auth and GitLab in a company: one authority, and certs.d has the registry only. Docker trusts it for both."""
    with tls(authorities[0]) as registry, tls(authorities[0], "127.0.0.2") as server:
        docker.certs(registry.host, ca_crt=authorities[0].certificate)
        bearer(registry, server.url + "/token")
        server.hooks.append(on("GET", "/token", Answer(200, body={"token": "tok"})))
        known(fetch, registry)


def test_a_token_server_has_its_own_section(fetch, docker, authorities):
    a, b, _ = authorities
    own = shutil.copy(b.certificate, docker.base / "b.pem")
    with tls(a) as registry, tls(b, "127.0.0.2") as server:
        fetch.configure(registry.host, ca=a.certificate)
        fetch.configure(server.host, ca=own)
        bearer(registry, server.url + "/token")
        server.hooks.append(on("GET", "/token", Answer(200, body={"token": "tok"})))
        known(fetch, registry)


# config.json: cases 17 and 18

def auths(fetch, **entries):
    path = fetch.directory / "config.json"
    path.write_text(json.dumps(entries))
    path.chmod(0o600)
    return path


def entry(user, password=PASSWORD):
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def demand(registry, logins):
    """Basic authentication: a login for each repository."""

    def hook(seen):
        repository = seen.path.split("/manifests/")[0][len("/v2/"):]
        if seen.authorization == basic(logins[repository]):
            return None
        if seen.authorization:
            return Answer(403, body={"errors": [{"message": "not yours"}]})
        return Answer(401, {"WWW-Authenticate": "Basic realm=x"})

    registry.hooks.append(hook)


def test_two_namespaces_have_two_logins(fetch, registry):
    path = auths(fetch, auths={registry.host: entry("all"), f"{registry.host}/team": entry("team"),
                               f"{registry.host}/team/secret": entry("secret")})
    fetch.configure(registry.host, credentials=path)
    demand(registry, {"app": "all", "team/app": "team", "team/secret": "secret", "teams/app": "all"})
    for repository in ("app", "team/app", "team/secret", "teams/app"):
        known(fetch, registry, repository)
    registry.hooks.clear()
    demand(registry, {"team/other": "someone"})
    error = fetch.fails(f"{registry.host}/team/other", "EACCES", "(403)", "not yours", "if it is outdated, run: pullet login")
    assert f'"{registry.host}/team" in {path}' in error["text"]


def test_two_namespaces_in_one_batch_get_two_tokens(fetch, registry):
    """A round asks for all images of a registry at the same time."""
    path = auths(fetch, auths={f"{registry.host}/a": entry("ann"), f"{registry.host}/b": entry("bob")})
    fetch.configure(registry.host, credentials=path)
    digests = [registry.put(f"{name}/app", "latest", manifest(name.encode())) for name in "ab"]
    bearer(registry, registry.url + "/token")
    registry.hooks.append(on("GET", "/token", Answer(200, body={"token": "tok"})))
    child = Child(fetch.config, options=fetch.options, host=registry.host)
    try:
        child.send({"op": "resolve", "image": f"{registry.host}/a/app", "more": True})
        child.send({"op": "resolve", "image": f"{registry.host}/b/app"})
        assert [child.receive()["digest"] for _ in "ab"] == digests
    finally:
        child.end()
    asked = {s.path.split("%3A")[1]: s.authorization for s in registry.seen if s.path.startswith("/token")}
    assert asked == {"a%2Fapp": basic("ann"), "b%2Fapp": basic("bob")}


def test_a_registry_token_is_sent_as_it_is(fetch, registry):
    fetch.configure(registry.host, credentials=auths(fetch, auths={registry.host: {"registrytoken": "tok"}}))
    bearer(registry, registry.url + "/token")
    known(fetch, registry)
    assert {s.authorization for s in registry.seen} == {"Bearer tok"}
    registry.hooks.clear()
    bearer(registry, registry.url + "/token", token="another")
    fetch.fails(f"{registry.host}/app", "EACCES", "(401)", "if it is outdated, run: pullet login")
    assert not [s for s in registry.seen if s.path.startswith("/token")]


@pytest.mark.parametrize("more,helper", [
    ({"auths": {"HOST": {}}, "credsStore": "secretservice"}, "secretservice"),
    ({"credHelpers": {"HOST": "ecr-login"}}, "ecr-login"),
    ({"auths": {}, "credHelpers": {"https://HOST": "gcloud"}}, "gcloud")])
def test_a_login_that_a_helper_keeps(fetch, registry, more, helper):
    more = json.loads(json.dumps(more).replace("HOST", registry.host))
    fetch.configure(registry.host, credentials=auths(fetch, **more))
    fetch.fails(f"{registry.host}/app", "EBADMSG", "config.json", "credential helpers are not asked", helper)
    assert registry.seen == []


def test_a_file_without_this_registry_is_named_when_it_refuses(fetch, registry):
    path = auths(fetch, auths={"other.example": entry("jo")}, credsStore="pass")
    fetch.configure(registry.host, credentials=path)
    known(fetch, registry)  # as long as nothing is needed
    registry.hooks.append(on(answer=Answer(401, {"WWW-Authenticate": "Basic realm=x"})))
    fetch.fails(f"{registry.host}/app", "EACCES", str(path), "credential helpers are not asked", "pass")


def config_check(docker, *registries):
    docker.fetch.config.write_text("".join(
        f"[registry {host}]\ncredentials = {path}\n[container app{i}]\nimage = {host}/app\n"
        f"[container other{i}]\nimage = {host}/team/app\n" for i, (host, path) in enumerate(registries)))
    done = subprocess.run([*docker.fetch.prefix, BUILD / "pullet", "--config", docker.fetch.config, "config",
                           "check"], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout.splitlines()


def test_config_check_opens_the_file(fetch, docker):
    path = auths(fetch, auths={"a.example": entry("jo"), "a.example/team": {}, "b.example": entry("jo")},
                 credHelpers={"c.example": "pass"})
    path.chmod(0o644)
    status, lines = config_check(docker, ("a.example", path), ("c.example", path), ("b.example", path))
    assert status == 2 and lines[-1] == "2 errors", lines
    assert "a.example/team: no \"auth\"" in lines[0] and "nor is pass" in lines[1]
    docker.certs("b.example", client_cert="x")
    status, lines = config_check(docker, ("b.example", path))
    assert status == 2 and "client.cert has no client.key beside it" in lines[0], lines
    shutil.rmtree(docker.directory / "certs.d")
    assert config_check(docker, ("b.example", path))[0] == 0
    # The service is not root.
    path.chmod(0o600)
    status, lines = config_check(docker, ("b.example", path))
    assert status == 2 and f"run: pullet login b.example --from {path}, and remove credentials =" in lines[0], lines
    path.unlink()
    assert "No such file" in config_check(docker, ("b.example", path))[1][0]


# Token servers elsewhere: case 13

def test_a_token_server_that_the_operator_names(fetch, registry):
    with Registry("127.0.0.2") as server:
        server.hooks.append(on("GET", "/jwt/auth", Answer(200, body={"token": "tok"})))
        bearer(registry, server.url + "/jwt/auth", service="container_registry")
        path = fetch.credentials(registry.host)
        fetch.configure(registry.host, **{"credentials": path, "token-server": server.url})
        digest = registry.put("app", "latest", manifest())
        reply = fetch.ask(f"{registry.host}/app")
        assert reply["digest"] == digest and "withheld" not in reply
        assert [s.authorization for s in server.seen] == [basic()]


@pytest.mark.parametrize("named", ["http://127.0.0.2:1", "https://127.0.0.2:PORT", "http://127.0.0.2.evil:PORT"])
def test_a_token_server_is_named_by_its_exact_origin(fetch, registry, named):
    with Registry("127.0.0.2") as server:
        server.hooks.append(on("GET", "/token", Answer(200, body={"token": "tok"})))
        bearer(registry, server.url + "/token")
        fetch.configure(registry.host, **{"credentials": fetch.credentials(registry.host),
                                          "token-server": named.replace("PORT", str(server.port))})
        registry.put("app", "latest", manifest())
        reply = fetch.ask(f"{registry.host}/app")
        assert f"set token-server = {server.url} in [registry {registry.host}]" in reply["withheld"]
        assert [s.authorization for s in server.seen] == [None]


def test_an_identity_token_goes_to_the_named_token_server(fetch, registry):
    with Registry("127.0.0.2") as server:
        server.hooks.append(on("POST", "/token", Answer(200, body={"access_token": "tok"})))
        bearer(registry, server.url + "/token", scope="repository:secret/other:pull,push,delete")
        fetch.configure(registry.host, **{
            "credentials": fetch.credentials(registry.host, identitytoken=PASSWORD), "token-server": server.url})
        known(fetch, registry)
        assert b"scope=repository%3Aapp%3Apull&" in server.seen[0].body, "of our repository, to pull only"


def test_a_named_token_server_without_tls_gets_nothing(fetch, docker, authorities):
    with tls(authorities[0]) as registry, Registry("127.0.0.2") as server:
        docker.certs(registry.host, ca_crt=authorities[0].certificate)
        bearer(registry, server.url + "/token")
        fetch.configure(registry.host, **{"credentials": fetch.credentials(registry.host),
                                          "token-server": server.url})
        fetch.fails(f"{registry.host}/app", "EPROTO", "without TLS")
        assert server.seen == []


# Fronts that redirect: case 14

def front(registry, behind):
    registry.hooks.append(lambda seen: Answer(307, {"Location": behind.url + seen.path}))


def test_a_front_redirects_to_a_registry_with_tokens_for_everybody(fetch, registry):
    with Registry("127.0.0.2") as behind, Registry("127.0.0.3") as server:
        server.hooks.append(on("GET", "/token", Answer(200, body={"token": "tok"})))
        front(registry, behind)
        bearer(behind, server.url + "/token", scope="repository:secret/other:pull,push")
        digest = behind.put("team/app", "latest", manifest())
        fetch.configure(registry.host, credentials=fetch.credentials(registry.host))
        assert fetch.ask(f"{registry.host}/team/app")["digest"] == digest
        assert [s.path for s in server.seen] == ["/token?service=reg&scope=repository%3Ateam%2Fapp%3Apull"]
        assert {s.authorization for s in behind.seen} == {None, "Bearer tok"}
        assert {s.authorization for s in server.seen} == {None}


def test_a_front_renames_the_repository(fetch, registry):
    with Registry("127.0.0.2") as behind:
        behind.hooks.append(on("GET", "/token", Answer(200, body={"token": "tok"})))
        registry.hooks.append(lambda seen: Answer(302, {
            "Location": behind.url + seen.path.replace("/v2/", "/v2/organization/")}))
        bearer(behind, behind.url + "/token")
        digest = behind.put("organization/app", "latest", manifest())
        assert fetch.ask(f"{registry.host}/app")["digest"] == digest
        assert "organization%2Fapp%3Apull" in [s.path for s in behind.seen if "/token" in s.path][0]


def test_the_registry_behind_a_front_refuses(fetch, registry):
    """No login of ours would help there."""
    with Registry("127.0.0.2") as behind:
        front(registry, behind)
        behind.hooks.append(on("GET", "/token", Answer(403)))
        bearer(behind, behind.url + "/token")
        error = fetch.fails(f"{registry.host}/app", "EACCES",
                            f"{registry.host} redirects to 127.0.0.2, which refused access (401)")
        assert "pullet login" not in error["text"]


def test_a_front_never_answers_a_token_that_it_gave(fetch, registry):
    with Registry("127.0.0.2") as behind:
        front(registry, behind)
        bearer(behind, behind.url + "/token", token="another")
        behind.hooks.append(on("GET", "/token", Answer(200, body={"token": "tok"})))
        fetch.fails(f"{registry.host}/app", "EACCES", "127.0.0.2")
        assert len([s for s in behind.seen if "/token" in s.path]) == 1


def test_a_loop_behind_a_challenge_ends(fetch, registry):
    with Registry("127.0.0.2") as behind:
        front(registry, behind)
        behind.hooks.append(on("GET", "/token", Answer(200, body={"token": "tok"})))
        bearer(behind, behind.url + "/token")
        behind.hooks.append(lambda seen: Answer(302, {"Location": seen.path}))
        fetch.fails(f"{registry.host}/app", "EPROTO", "more than 3 times")
        assert len(behind.seen) <= 5


# HEAD: case 15

@pytest.mark.parametrize("status", [403, 404, 406, 410, 500, 502])
def test_a_registry_that_does_not_do_head(fetch, registry, status):
    registry.hooks.append(on("HEAD", answer=Answer(status)))
    known(fetch, registry)
    assert registry.methods() == ["HEAD", "GET"]


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_registry_is_not_asked_again(fetch, registry, status):
    registry.hooks.append(on(answer=Answer(status, {"Retry-After": "9"})))
    fetch.fails(f"{registry.host}/app", "EBUSY")
    assert registry.methods() == ["HEAD"]


def test_a_url_that_is_signed_for_get(fetch, registry):
    with Registry("127.0.0.2") as store:
        digest = store.put("app", "latest", manifest())
        front(registry, store)
        store.hooks.append(on("HEAD", answer=Answer(403)))
        assert fetch.ask(f"{registry.host}/app")["digest"] == digest


# Mirrors: case 16

def mirrored(fetch, registry, url):
    fetch.configure(registry.host, **{"mirror": url, "credentials": fetch.credentials(registry.host)})


def test_a_mirror_is_asked_first(fetch, registry):
    with Registry("127.0.0.2") as mirror:
        mirrored(fetch, registry, mirror.url + "/")
        digest = mirror.put("team/app", "latest", manifest())
        assert fetch.ask(f"{registry.host}/team/app", known=[digest]) == {"digest": digest, "known": True}
        assert mirror.methods() == ["HEAD"] and registry.seen == []
        assert mirror.seen[0].authorization is None, "the credentials are the registry's"


def test_a_mirror_has_its_own_login(fetch, registry):
    with Registry("127.0.0.2") as mirror:
        mirrored(fetch, registry, mirror.url)
        fetch.configure(mirror.host, credentials=auths(fetch, auths={mirror.host: entry("mirror")}))
        demand(mirror, {"app": "mirror"})
        digest = mirror.put("app", "latest", manifest())
        assert fetch.ask(f"{registry.host}/app", known=[digest])["known"]
        assert registry.seen == []


@pytest.mark.parametrize("trouble", [404, 401, 403, 429, 500])
def test_a_mirror_that_has_it_not(fetch, registry, trouble):
    with Registry("127.0.0.2") as mirror:
        mirrored(fetch, registry, mirror.url)
        mirror.hooks.append(on(answer=Answer(trouble, {"WWW-Authenticate": "Basic realm=x"})))
        known(fetch, registry)
        assert {s.authorization for s in mirror.seen} == {None}


def test_a_mirror_that_is_down(fetch, registry):
    dead = f"http://127.0.0.2:{free_port()}"
    mirrored(fetch, registry, dead)
    known(fetch, registry)
    error = fetch.fails(f"{registry.host}/none", "ENOENT", "does not have it", "its mirror: 127.0.0.2:")
    assert "onnect" in error["text"]


def test_a_mirror_does_not_hide_a_foreign_token_server(fetch, registry):
    """Audit 12: the engine would send the login there."""
    with Registry("127.0.0.2") as mirror, Registry("127.0.0.3") as server:
        mirrored(fetch, registry, mirror.url)
        server.hooks.append(on("GET", "/token", Answer(200, body={"token": "tok"})))
        bearer(registry, server.url + "/token")
        digest = mirror.put("app", "latest", manifest())
        reply = fetch.ask(f"{registry.host}/app")
        assert reply["digest"] == digest and "not sent to 127.0.0.3" in reply["withheld"]
        registry.seen.clear()
        fetch.ask(f"{registry.host}/app", known=[digest])
        assert registry.seen == [], "a quiet poll is one request"


def daemon_json(docker, **content):
    (docker.directory / "daemon.json").write_text(json.dumps(content))


def test_the_engines_mirror_is_ours(fetch, docker):
    """docker.io is never asked here: the mirror answers."""
    with Registry("127.0.0.2") as mirror:
        daemon_json(docker, **{"registry-mirrors": [mirror.url + "/", "http://127.0.0.3"], "debug": True})
        digest = mirror.put("library/app", "latest", manifest())
        assert fetch.ask("docker.io/library/app", known=[digest])["known"]
        assert mirror.methods() == ["HEAD"]
        with Registry("127.0.0.3") as other:
            other.put("library/app", "latest", manifest())
            fetch.configure("docker.io", mirror=other.url)
            assert fetch.ask("docker.io/library/app", known=[digest])["known"]
            assert other.methods() == ["HEAD"] and len(mirror.seen) == 1


@pytest.mark.parametrize("text", ["", "{", "[]", '{"registry-mirrors": "x"}', '{"registry-mirrors": [7]}',
                                  '{"registry-mirrors": ["file:///etc/passwd"], "proxies": 7}'])
def test_a_daemon_json_that_says_nothing(fetch, docker, registry, text):
    (docker.directory / "daemon.json").write_text(text)
    known(fetch, registry)


def test_the_engines_proxy_is_ours(fetch, docker, monkeypatch):
    with Registry("127.0.0.2") as proxy, Registry("127.0.0.3") as other:
        daemon_json(docker, proxies={"http-proxy": proxy.url, "no-proxy": "direct.invalid"})
        for host in ("registry.invalid:5000", "direct.invalid:5000"):
            fetch.configure(host, insecure="yes")
        fetch.fails("registry.invalid:5000/app", "ENOENT")
        assert proxy.seen[0].path == "http://registry.invalid:5000/v2/app/manifests/latest"
        fetch.fails("direct.invalid:5000/app", "EHOSTUNREACH")
        monkeypatch.setenv("http_proxy", other.url)
        fetch.fails("direct.invalid:5000/app", "ENOENT")
        assert other.seen


def test_the_first_of_the_engines_mirrors_is_dead(fetch, docker):
    """Lists of public mirrors have many of them; dockerd asks one after the other."""
    with Registry("127.0.0.2") as old, Registry("127.0.0.3") as mirror, Registry("127.0.0.4") as last:
        dead = f"http://127.0.0.2:{free_port()}"
        daemon_json(docker, **{"registry-mirrors": [dead, old.url, mirror.url, last.url]})
        digest = mirror.put("library/app", "latest", manifest())
        last.put("library/app", "latest", manifest(b"other"))
        assert fetch.ask("docker.io/library/app")["digest"] == digest
        assert old.methods() == mirror.methods() == ["HEAD", "GET"] and last.seen == []


def test_no_proxy_as_dockers_manual_writes_it(fetch, docker):
    with Registry("127.0.0.2") as proxy:
        daemon_json(docker, proxies={"http-proxy": proxy.url, "no-proxy":
                                     "*.direct.invalid, port.invalid:5000,[fd00::1]:5000,*.both.invalid:5000"})
        direct = ("r.direct.invalid", "port.invalid:5000", "r.both.invalid:5000")
        for host in (*direct, "far.invalid", "import.invalid"):
            fetch.configure(host, insecure="yes")
        for host in direct:
            fetch.fails(f"{host}/app", "EHOSTUNREACH")
        assert proxy.seen == []
        for host in ("far.invalid", "import.invalid"):
            fetch.fails(f"{host}/app", "ENOENT")
        assert proxy.seen


def test_a_daemon_json_with_a_mark_before_it(fetch, docker):
    """Editors of other systems write one, and dockerd skips it."""
    with Registry("127.0.0.2") as mirror:
        text = json.dumps({"registry-mirrors": [mirror.url]})
        (docker.directory / "daemon.json").write_text(text, encoding="utf-8-sig")
        digest = mirror.put("library/app", "latest", manifest())
        assert fetch.ask("docker.io/library/app", known=[digest])["known"]


def test_a_mirror_with_an_authority_of_its_own(fetch, registry, docker, authorities):
    with tls(authorities[0], "127.0.0.2") as mirror:
        mirrored(fetch, registry, mirror.url)
        docker.certs(mirror.host, ca_crt=authorities[0].certificate)
        digest = mirror.put("app", "latest", manifest())
        assert fetch.ask(f"{registry.host}/app", known=[digest])["known"]
        assert registry.seen == []


def test_no_policy_at_the_mirror_is_none_at_the_registry(fetch, registry):
    """A mirror may be behind: what it lacks is asked of the registry."""
    with Registry("127.0.0.2") as mirror:
        mirrored(fetch, registry, mirror.url)
        reply = fetch.ask(f"{registry.host}/app", op="rollout")
        assert reply == {"rollout": None}
        assert mirror.methods() == registry.methods() == ["GET"]
        registry.hooks.append(on("GET", answer=Answer(500)))
        fetch.fails(f"{registry.host}/app", "EREMOTEIO", op="rollout")


def test_what_speaks_plain_http_is_told(fetch, registry):
    fetch.configure(registry.host, insecure="no")
    fetch.fails(f"{registry.host}/app", "EPROTO", f"set insecure = yes in [registry {registry.host}]")
