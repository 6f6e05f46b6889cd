# SPDX-License-Identifier: MIT
"""A private docker-registry, with TLS, users and tokens if a test needs them."""

import base64
import ctypes
import ctypes.util
import http.server
import json
import pathlib
import re
import signal
import ssl
import subprocess
import threading
import time
import urllib.parse
import uuid
from dataclasses import dataclass

from pullet_image import USER_AGENT, RegistryClient
from pullet_lab import free_port
from pullet_relay import Relay
from pullet_sweep import LabError, stop_process, tail, wait_for


@dataclass
class Request:
    method: str
    path: str
    status: int
    size: int
    agent: str

    @property
    def by_engine(self):
        return self.agent.startswith(("docker/", "containers/"))  # podman's
_ACCESS = re.compile(r'"([A-Z]+) (\S+) HTTP/[\d.]+" (\d+) (\d+) "[^"]*" "([^"]*)"')


class Authority:
    """A private CA, by openssl."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(exist_ok=True)
        self.certificate = self.directory / "ca.crt"
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                      "-nodes", "-days", "30", "-subj", "/CN=pullet test CA",
                      "-keyout", "ca.key", "-out", "ca.crt")

    def _openssl(self, *arguments):
        done = subprocess.run(["openssl", *arguments], cwd=self.directory, capture_output=True,
                              text=True, check=False)
        if done.returncode:
            raise LabError(f"openssl {arguments[0]}: {done.stderr}")

    def issue(self, name, names="IP:127.0.0.1,DNS:localhost"):
        """A server certificate for loopback -> (certificate, key)."""
        (self.directory / "ext").write_text(f"subjectAltName={names}\n")
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                      "-subj", "/CN=" + name, "-keyout", name + ".key", "-out", name + ".csr")
        self._openssl("x509", "-req", "-in", name + ".csr", "-CA", "ca.crt", "-CAkey", "ca.key",
                      "-CAcreateserial", "-days", "30", "-extfile", "ext", "-out", name + ".crt")
        return self.directory / (name + ".crt"), self.directory / (name + ".key")


def bcrypt(password):
    library = ctypes.CDLL(ctypes.util.find_library("crypt") or "libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    return library.crypt(password.encode(), b"$2b$04$abcdefghijklmnopqrstuu").decode()


class TokenServer:
    """Issues Bearer tokens as Docker Hub does, to anonymous clients or to one user; with an authority, over TLS.
    Requests go through a relay that counts their bytes."""

    def __init__(self, lab, service, user=None, authority=None):
        self.directory = lab.path("token-" + uuid.uuid4().hex[:8])
        self.directory.mkdir()
        self.service, self.user, self.requests = service, user, []
        self.certificate = self.directory / "token.crt"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30",
                        "-subj", "/CN=token", "-keyout", "token.key", "-out", "token.crt"],
                       cwd=self.directory, check=True, capture_output=True)
        der = ssl.PEM_cert_to_DER_cert(self.certificate.read_text())
        self.header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                server.answer(self)

            def do_POST(self):  # containerd uses OAuth 2, with a password in the form
                size = int(self.headers.get("Content-Length", 0))
                server.answer(self, urllib.parse.parse_qs(self.rfile.read(size).decode()))

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        scheme = "http"
        if authority:
            scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*map(str, authority.issue("token")))
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True,
                                                   do_handshake_on_connect=False)
        self.relay = Relay(lab, "127.0.0.1:%d" % self.http.server_address[1])
        self.realm = f"{scheme}://{self.relay.address}/token"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        lab.add(self)

    def stop(self):
        self.http.shutdown()
        self.http.server_close()

    def token(self, scopes):
        def part(data):
            return base64.urlsafe_b64encode(data).rstrip(b"=")

        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        now = int(time.time())
        claims = {"iss": "tests", "sub": "", "aud": self.service, "exp": now + 300, "nbf": now - 10,
                  "iat": now, "jti": uuid.uuid4().hex, "access": access}
        text = part(json.dumps(self.header).encode()) + b"." + part(json.dumps(claims).encode())
        done = subprocess.run(["openssl", "dgst", "-sha256", "-sign", "token.key"], input=text,
                              cwd=self.directory, check=True, capture_output=True)
        return (text + b"." + part(done.stdout)).decode()

    def answer(self, handler, form=None):
        query = form or urllib.parse.parse_qs(urllib.parse.urlsplit(handler.path).query)
        given = handler.headers.get("Authorization")
        self.requests.append((handler.path, given))
        want = self.user and "Basic " + base64.b64encode(":".join(self.user).encode()).decode()
        if form and self.user:
            given = (form.get("username"), form.get("password"))
            want = tuple([word] for word in self.user)
        body = json.dumps({"errors": []})
        status = 401
        if not want or given == want:
            status = 200
            token = self.token(" ".join(query.get("scope", [])).split())
            body = json.dumps({"token": token, "access_token": token, "expires_in": 300})
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body.encode())


class Registry(RegistryClient):
    """docker-registry on a free port of the loopback interface.

    tls: with a certificate of a CA of its own (self.ca is its path); user: (name, password) of
    Basic authentication; bearer: a token server, for anonymous clients or (name, password)."""

    def __init__(self, lab, name="registry", tls=False, user=None, bearer=None):
        self.lab, self.directory = lab, lab.path(name)
        self.directory.mkdir()
        self.port = free_port()
        self.log = self.directory / "log"
        self.process, self._sentinels = None, 0
        self.tokens = None
        config = {
            "version": "0.1",
            "log": {"level": "warn", "accesslog": {"disabled": False}},
            "storage": {"filesystem": {"rootdirectory": str(self.directory / "data")},
                        "delete": {"enabled": True}},
            "validation": {"manifests": {"urls": {"allow": ["."]}}},  # as some registries do
            "http": {"addr": f"127.0.0.1:{self.port}", "secret": "tests"},
        }
        authority = certificate = None
        if tls:
            authority = Authority(self.directory / "ca")
            certificate = authority.certificate
            chain, key = authority.issue("registry")
            config["http"]["tls"] = {"certificate": str(chain), "key": str(key)}
        if user:
            (self.directory / "htpasswd").write_text(f"{user[0]}:{bcrypt(user[1])}\n")
            config["auth"] = {"htpasswd": {"realm": "tests",
                                           "path": str(self.directory / "htpasswd")}}
        if bearer:
            self.tokens = TokenServer(lab, "tests", bearer if isinstance(bearer, tuple) else None,
                                      authority)
            config["auth"] = {"token": {"realm": self.tokens.realm, "service": "tests",
                                        "issuer": "tests",
                                        "rootcertbundle": str(self.tokens.certificate)}}
        # YAML is a superset of JSON.
        (self.directory / "config.yml").write_text(json.dumps(config))
        super().__init__(f"127.0.0.1:{self.port}", user=user, ca=certificate and str(certificate))
        if self.tokens:
            self.authorization = lambda scope: "Bearer " + self.tokens.token([scope] if scope else [])
        lab.add(self)
        lab.announce(self.address)
        self.start()

    def ref(self, name):
        return f"{self.address}/{name}"

    def start(self):
        self.process = self.lab.spawn(["docker-registry", "serve", self.directory / "config.yml"],
                                      log=self.log)

        def answers():
            if self.process.poll() is not None:
                raise LabError(f"docker-registry ended:\n{tail(self.log)}")
            try:
                return self.request("GET", "/v2/")[0] in (200, 401)
            except OSError:
                return False

        wait_for("docker-registry to answer", answers)

    def stop(self):
        stop_process(self.process, 5)

    def pause(self):
        """Accepts connections and sends nothing, like a dead link."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def mark(self):
        """A point in time for requests()."""
        self._sentinels += 1
        sentinel = f"/v2/?sentinel={self._sentinels}"
        self.request("GET", sentinel)
        wait_for("the access log", lambda: sentinel + " " in self.log.read_text(errors="replace"))
        return self._sentinels

    def requests(self, since=0):
        """Every request since mark(), except those of this program."""
        self.mark()
        text = self.log.read_text(errors="replace")
        if since:
            text = text[text.index(f"sentinel={since} "):]
        return [Request(m[1], m[2], int(m[3]), int(m[4]), m[5]) for m in _ACCESS.finditer(text)
                if m[5] != USER_AGENT]

    def config_json(self, path, user):
        """Writes credentials in the form of docker's config.json."""
        auth = base64.b64encode(":".join(user).encode()).decode()
        path = pathlib.Path(path)
        path.write_text(json.dumps({"auths": {self.address: {"auth": auth}}}))
        path.chmod(0o600)
        return path
