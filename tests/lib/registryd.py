# SPDX-License-Identifier: MIT
"""A registry that serves the content of a test, and misbehaves as the test says."""
import hashlib
import http.client
import http.server
import json
import os
import socket
import ssl
import threading
import time

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def manifest(config=b"config", layers=(123,), media_type=OCI_MANIFEST):
    return json.dumps({
        "schemaVersion": 2, "mediaType": media_type,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                   "digest": sha256(config), "size": len(config)},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                    "digest": sha256(b"layer%d" % i), "size": n}
                   for i, n in enumerate(layers)],
    }).encode()


def index(entries, media_type=OCI_INDEX):
    """entries: (platform text, manifest bytes) pairs."""
    listed = []
    for platform, data in entries:
        os_name, architecture, *variant = platform.split("/")
        p = {"os": os_name, "architecture": architecture}
        if variant:
            p["variant"] = variant[0]
        listed.append({"mediaType": json.loads(data)["mediaType"], "digest": sha256(data),
                       "size": len(data), "platform": p})
    return json.dumps({"schemaVersion": 2, "mediaType": media_type,
                       "manifests": listed}).encode()


class Answer:
    """status, headers, body; raw: a function that is called with the socket instead."""

    def __init__(self, status=200, headers=None, body=b"", raw=None):
        self.status = status
        self.headers = dict(headers or {})
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.raw = raw


class Seen:
    def __init__(self, method, path, headers, body):
        self.method, self.path, self.headers, self.body = method, path, headers, body
        self.at = time.monotonic()

    @property
    def authorization(self):
        return self.headers.get("Authorization")

    def __repr__(self):
        return f"{self.method} {self.path}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A TLS handshake gets a response that is recognised as HTTP, as containerd expects.
    default_request_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except OSError:  # many tests hang up on purpose
            self.close_connection = True

    def body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        data = b""
        while chunk := self.rfile.read(int(self.rfile.readline(), 16)):
            data += chunk
            self.rfile.readline()
        self.rfile.readline()
        return data

    def do_any(self):
        seen = Seen(self.command, self.path, self.headers, self.body())
        registry = self.server.registry
        registry.seen.append(seen)
        answer = None
        for hook in registry.hooks:
            answer = hook(seen)
            if answer:
                break
        answer = answer or registry.serve(seen)
        if answer.raw:
            self.close_connection = True
            answer.raw(self.connection)
            return
        self.wfile.write(registry.interim)
        self.send_response(answer.status)
        self._headers_buffer.insert(1, registry.fold(seen))
        answer.headers.setdefault("Content-Length", str(len(answer.body)))
        for name, values in answer.headers.items():
            for value in values if isinstance(values, list) else [values]:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_any


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 16

    def handle_error(self, request, client_address):
        pass  # refused TLS handshakes, for one

    def finish_request(self, request, client_address):
        self.registry.connections += 1
        if self.registry.tls:
            request.settimeout(60)
            request = self.registry.tls.wrap_socket(request, server_side=True)
            self.registry.resumed.append(request.session_reused)
            self.registry.clients.append(request.getpeercert())
        super().finish_request(request, client_address)


class Server6(Server):
    address_family = socket.AF_INET6


class Registry:
    """clients: the authority of client certificates, which are asked for and not required (self.clients)."""

    def __init__(self, address="127.0.0.1", name=None, certificate=None, key=None, port=0, clients=None):
        self.tls = None
        if certificate:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(certificate, key)
        if clients:
            self.tls.load_verify_locations(clients)
            self.tls.verify_mode = ssl.CERT_OPTIONAL
        self.clients = []    # of each TLS handshake: the subject of the client certificate, or None
        self.documents = {}  # (repository, tag or digest): (bytes, media type)
        self.hooks = []      # functions of Seen that return an Answer or None
        self.seen = []
        self.connections = 0
        self.resumed = []    # of each TLS handshake: whether it resumed a session
        self.interim = b""   # sent before every response
        self.fold = lambda seen: b""  # sent between the status line and the first header
        self.server = (Server6 if ":" in address else Server)((address, port), Handler)
        self.server.registry = self
        self.port = self.server.server_address[1]
        self.host = name or (f"[{address}]" if ":" in address else address)
        if self.port != (443 if self.tls else 80):
            self.host += f":{self.port}"
        self.url = ("https://" if self.tls else "http://") + self.host
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def put(self, repository, tag, data, media_type=None):
        media_type = media_type or json.loads(data)["mediaType"]
        self.documents[repository, sha256(data)] = (data, media_type)
        if tag:
            self.documents[repository, tag] = (data, media_type)
        return sha256(data)

    def serve(self, seen):
        parts = seen.path.split("/manifests/")
        if len(parts) == 2 and parts[0].startswith("/v2/"):
            found = self.documents.get((parts[0][4:], parts[1]))
            if found:
                data, media_type = found
                return Answer(200, {"Content-Type": media_type,
                                    "Docker-Content-Digest": sha256(data)}, data)
        return Answer(404, {"Content-Type": "application/json"},
                      {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]})

    def methods(self):
        return [s.method for s in self.seen]


def is_engine(seen):
    return seen.headers.get("User-Agent", "").startswith(("docker/", "containers/"))  # podman's


class Front(Registry):
    """A proxy before a real registry: requests that no hook answers are forwarded."""

    def __init__(self, behind, **options):
        self.behind = behind
        super().__init__(**options)

    def ref(self, name):
        return f"{self.host}/{name}"

    def __getattr__(self, name):
        return getattr(self.behind, name)

    def serve(self, seen):
        connection = http.client.HTTPConnection(self.behind.address, timeout=30)
        try:
            headers = {name: ", ".join(seen.headers.get_all(name)) for name in seen.headers
                       if name not in ("Host", "Connection", "Transfer-Encoding", "Content-Length")}
            connection.request(seen.method, seen.path, seen.body, headers)
            response = connection.getresponse()
            return Answer(response.status, dict(response.headers), response.read())
        finally:
            connection.close()



def on(method=None, path=None, answer=None):
    """A hook: answer (an Answer or a function of Seen) for matching requests."""

    def hook(seen):
        if (method and seen.method != method) or (path and path not in seen.path):
            return None
        return answer(seen) if callable(answer) else answer

    return hook


def make_certificate(directory):
    """A certificate of its own authority for the loopback names. Returns (certificate, key)."""
    import subprocess
    certificate, key = os.path.join(directory, "ca.crt"), os.path.join(directory, "ca.key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", certificate,
                    "-days", "2", "-subj", "/CN=pullet test", "-addext",
                    "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:127.0.0.2"],
                   check=True, capture_output=True)
    return certificate, key
