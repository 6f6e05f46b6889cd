# SPDX-License-Identifier: MIT
"""An engine with other API versions than the real one: a proxy before its socket that reports the given versions and
rejects all others with the engine's own messages."""

import contextlib
import http.client
import json
import os
import re
import socket
import socketserver
import threading

HEAD_MAX = 65536


def _number(version):
    return tuple(map(int, version.split(".")))


def _read_head(connection):
    """-> (head with its empty line, the bytes after it)"""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more or len(data) > HEAD_MAX:
            return None, b""
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def pump(source, sink):
    """Carries one way of a connection to its end."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


class VersionProxy:
    """minimum, maximum: API versions; None: the real engine's. asked: the versions of all requests."""

    def __init__(self, path, target, minimum=None, maximum=None):
        self.path, self.target = str(path), str(target)
        self.minimum, self.maximum, self.asked = minimum, maximum, []
        proxy = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                with contextlib.suppress(OSError):
                    proxy.serve(self.request)

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 50

        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        self._server = Server(self.path, Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    def serve(self, client):
        """Handles one request for each connection, and tells both sides so."""
        head, rest = _read_head(client)
        if not head:
            return
        line, *fields = head.decode("latin-1").split("\r\n")
        path = line.split(" ")[1]
        version = re.match(r"/v(\d+\.\d+)/", path)
        if version:
            self.asked.append(version[1])
        complaint = version and self.complain(version[1])
        if complaint:
            self.answer(client, 400, {"message": complaint})
        elif path in ("/version", "/version?"):
            self.answer(client, 200, self.version())
        else:
            if not any(field.lower().startswith("upgrade:") for field in fields):
                fields = [f for f in fields if not f.lower().startswith("connection:")]
                fields.append("Connection: close")
            self.forward(client, "\r\n".join([line, *fields, "", ""]).encode("latin-1") + rest)

    def complain(self, version):
        if self.minimum and _number(version) < _number(self.minimum):
            return (f"client version {version} is too old. Minimum supported API version is "
                    f"{self.minimum}, please upgrade your client to a newer version")
        if self.maximum and _number(version) > _number(self.maximum):
            return (f"client version {version} is too new. Maximum supported API version is "
                    f"{self.maximum}")
        return None

    @staticmethod
    def answer(client, status, value):
        body = json.dumps(value).encode()
        client.sendall(b"HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nConnection: close\r\n"
                       b"Content-Length: %d\r\n\r\n%s"
                       % (status, http.client.responses[status].encode(), len(body), body))

    def version(self):
        with self.connect() as real:
            real.sendall(b"GET /version HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n")
            response = http.client.HTTPResponse(real)
            response.begin()
            answer = json.loads(response.read())
        places = [answer, *(part.get("Details", {}) for part in answer.get("Components", [])
                            if part.get("Name") == "Engine")]
        for place in places:
            if self.minimum:
                place["MinAPIVersion"] = self.minimum
            if self.maximum:
                place["ApiVersion"] = self.maximum
        return answer

    def connect(self):
        real = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            real.connect(self.target)
        except OSError:
            real.close()
            raise
        return real

    def forward(self, client, request):
        with self.connect() as real:
            real.sendall(request)
            threading.Thread(target=pump, args=(client, real), daemon=True).start()
            with contextlib.suppress(OSError):
                while data := real.recv(65536):
                    client.sendall(data)
            # The other direction ends when the sockets are closed.
            for side in (client, real):
                with contextlib.suppress(OSError):
                    side.shutdown(socket.SHUT_RDWR)
