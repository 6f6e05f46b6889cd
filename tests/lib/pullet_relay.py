# SPDX-License-Identifier: MIT
"""A relay to a registry that counts connections and bytes."""

import contextlib
import socket
import threading
import time

from pullet_sweep import LabError, wait_for


class Relay:
    """Forwards TCP to a registry and counts connections and bytes (payload, both ways). rate: bytes per second and
    connection from the registry; None: no limit."""

    chunk = 65536

    def __init__(self, lab, target, rate=None):
        host, port = target.rsplit(":", 1)
        self._target = (host, int(port))
        self.rate = rate
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._open = 0
        self.reset()
        threading.Thread(target=self._accept, daemon=True).start()
        lab.add(self)
        lab.announce(self.address)

    def carry(self, size, way):
        """Sleeps for the time that these bytes need on this link."""
        if self.rate and way == "down":
            time.sleep(size / self.rate)

    def reset(self):
        self.connections = self.up = self.down = 0

    def settle(self, seconds=5):
        """Waits until no bytes are in flight, so that the counts are complete."""
        with contextlib.suppress(LabError):
            wait_for("connections to end", lambda: self._open == 0, seconds)

    def stop(self):
        self._listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open += 2
            try:
                server = socket.create_connection(self._target, timeout=10)
            except OSError:
                client.close()
                with self._lock:
                    self._open -= 2
                continue
            server.settimeout(None)
            for source, sink, way in ((client, server, "up"), (server, client, "down")):
                threading.Thread(target=self._pump, args=(source, sink, way), daemon=True).start()

    def _pump(self, source, sink, way):
        try:
            while data := source.recv(self.chunk):
                self.carry(len(data), way)
                with self._lock:
                    setattr(self, way, getattr(self, way) + len(data))
                sink.sendall(data)
        except OSError:
            pass
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
        with self._lock:
            self._open -= 1
