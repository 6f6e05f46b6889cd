# SPDX-License-Identifier: MIT
"""A relay to a registry: it counts connections, requests and bytes, and does to them what thin links do."""

import contextlib
import dataclasses
import fcntl
import pathlib
import re
import socket
import struct
import termios
import threading
import time

from pullet_sweep import LabError, wait_for

BYTES_ACKED = 120  # linux/tcp.h: where struct tcp_info has tcpi_bytes_acked
AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER of a socket whose end is a reset


@dataclasses.dataclass
class Passed:
    """One request. up, down: its bytes with all headers; what never arrived is not counted."""
    method: str
    path: str
    agent: str
    range: str  # "bytes=N-", or None
    at: float  # time.monotonic()
    up: int
    down: int = 0
    status: int = None

    @property
    def by_engine(self):
        return self.agent.startswith(("docker/", "containers/"))  # podman's

    @property
    def offset(self):
        return int(self.range[6:-1]) if self.range else 0


class _Passage:
    """One connection. sent: bytes given to the client's socket; request: the last one."""

    def __init__(self, client, server):
        self.client, self.server = client, server
        self.sent, self.ended, self.dropped, self.request, self.head = 0, 0, False, None, b""

    def arrived(self):
        """Bytes that the client's kernel has confirmed (which counts an end as one)."""
        info = self.client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, BYTES_ACKED + 8)
        return min(self.sent, struct.unpack_from("Q", info, BYTES_ACKED)[0])

    def on_its_way(self):
        return struct.unpack("i", fcntl.ioctl(self.client, termios.TIOCOUTQ, bytes(4)))[0]

    def is_read(self):
        """Whether the client has taken all that has arrived out of its socket (proc_net_tcp: rx_queue)."""
        host, port = self.client.getpeername()
        client = "%08X:%04X" % (*struct.unpack("=I", socket.inet_aton(host)), port)
        lines = map(str.split, pathlib.Path("/proc/self/net/tcp").read_text().splitlines())
        return all(line[4].endswith(":00000000") for line in lines if line[1] == client)

    def drop(self):
        """Both sides will see a reset. Nothing is sent by this alone, but the threads wake up."""
        self.dropped = True
        for side in (self.client, self.server):
            with contextlib.suppress(OSError):
                side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
                side.shutdown(socket.SHUT_RD)


class Relay:
    """Forwards TCP to a registry and counts connections and bytes (payload, both ways, as far as they arrived).

    rate: bytes per second and connection from the registry; line: bytes per second of all together, each way; None:
    no limit. cut_every: after so many bytes down the connection is reset, and the next `refusals` ones are too.
    http: the requests of a plain registry are in `requests`; ranges = False takes their Range away."""

    chunk = 65536
    ranges = True

    def __init__(self, lab, target, rate=None, line=None, cut_every=None, refusals=0, http=False):
        host, port = target.rsplit(":", 1)
        self._target = (host, int(port))
        self.rate, self.line, self.cut_every, self.refusals, self.http = rate, line, cut_every, refusals, http
        self._listener = socket.create_server(("127.0.0.1", 0))
        # Segments as on a real link: those of loopback are larger than a small window.
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400)
        self.port = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._lock = threading.Lock()
        self._plugged, self._away, self._refuse = threading.Event(), False, 0
        self._plugged.set()
        self._passages, self._free, self._marks = set(), {"up": 0.0, "down": 0.0}, []
        self.reset()
        threading.Thread(target=self._accept, daemon=True).start()
        lab.add(self)
        lab.announce(self.address)

    def ref(self, name):
        return f"{self.address}/{name}"

    # -- what it does to the bytes

    def carry(self, size, way):
        """Sleeps for the time that these bytes need on this link."""
        if self.rate and way == "down":
            time.sleep(size / self.rate)
        if self.line:
            with self._lock:
                self._free[way] = max(self._free[way], time.monotonic()) + size / self.line
            time.sleep(max(0, self._free[way] - time.monotonic()))
        self._plugged.wait()

    def stall(self):
        """Nothing passes and nothing is refused, as with an unplugged cable."""
        self._plugged.clear()

    def drop(self, stay_away=True):
        """Resets every connection, and with stay_away all others until mend()."""
        self._away = stay_away
        with self._lock:
            passages = list(self._passages)
        for passage in passages:
            passage.drop()

    def mend(self):
        self._away = False
        self._plugged.set()

    def at(self, down, act):
        """Calls act() once, when so many bytes have come down since reset() and been read, and before the next one does."""
        with self._lock:
            self._marks = sorted([*self._marks, (down, act)], key=lambda mark: mark[0])

    # -- what it counts

    def reset(self):
        with self._lock:
            self.connections = self.up = self.down = self.cuts = self._cut_at = 0
            self.requests = []

    def settle(self, seconds=5):
        """Waits until no bytes are in flight, so that the counts are complete."""
        with contextlib.suppress(LabError):
            wait_for("connections to end", lambda: not self._passages, seconds)

    def arrived(self):
        """Bytes down that have reached the clients, those of live connections too."""
        with self._lock:
            return self.down - sum(passage.sent - passage.arrived() for passage in self._passages)

    @contextlib.contextmanager
    def record(self, pause=0.1):
        """-> a list that grows by (time.monotonic(), bytes up, bytes down) as they stand."""
        points, over = [], threading.Event()

        def note():
            points.append((time.monotonic(), self.up, self.arrived()))

        def go_on():
            while not over.wait(pause):
                note()

        note()  # all may come before the first pause is over
        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            yield points
        finally:
            over.set()
            thread.join()
            note()

    def stop(self):
        self.mend()
        self._listener.close()

    # -- forwarding

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                refused = self._away or self._refuse > 0
                self._refuse -= self._refuse > 0
            try:
                if refused:
                    raise OSError
                server = socket.create_connection(self._target, timeout=10)
            except OSError:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
                client.close()
                continue
            server.settimeout(None)
            passage = _Passage(client, server)
            with self._lock:
                self._passages.add(passage)
            for way in (self._up, self._down):
                threading.Thread(target=self._pump, args=(passage, way), daemon=True).start()

    def _pump(self, passage, way):
        with contextlib.suppress(OSError):
            way(passage)
        sink = passage.server if way == self._up else passage.client
        if not passage.dropped:
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)
        with self._lock:
            passage.ended += 1
            last = passage.ended == 2
        if last:
            self._end(passage)

    def _end(self, passage):
        if not passage.dropped:  # an orderly end takes the time of its last confirmation
            with contextlib.suppress(OSError, LabError):
                wait_for("the last bytes", lambda: not passage.on_its_way(), 1, pause=0.001)
        with self._lock:
            lost = passage.sent - passage.arrived()
            self.down -= lost
            if passage.request:
                passage.request.down -= lost
            self._passages.discard(passage)
            passage.client.close()
            passage.server.close()

    def _up(self, passage):
        while data := passage.client.recv(self.chunk):
            with self._lock:
                self.up += len(data)
            self.carry(len(data), "up")
            if passage.dropped:
                return
            passage.server.sendall(self._heads(passage, data) if self.http else data)

    def _heads(self, passage, data):
        """Whole heads only, as they go on. No request here has a body, and none is sent before the last one's answer."""
        *heads, passage.head = (passage.head + data).split(b"\r\n\r\n")
        out = b""
        for head in heads:
            text = head.decode("latin-1")
            fields = dict(re.findall(r"^([\w-]+): *(.*?)\r?$", text, re.M))
            method, path = (text.split(" ") + ["", ""])[:2]
            if not self.ranges:
                head = re.sub(rb"\r\nRange:[^\r]*", b"", head)
            passage.request = Passed(method, path, fields.get("User-Agent", ""), fields.get("Range"), time.monotonic(), len(text) + 4)
            with self._lock:
                self.requests.append(passage.request)
            out += head + b"\r\n\r\n"
        if passage.head[:1] == b"\x16":  # TLS: the plain registry will refuse it
            out, passage.head = out + passage.head, b""
        return out

    def _room(self):
        """Bytes until the next thing happens."""
        size = min(self.chunk, max(1400, self.line // 20)) if self.line else self.chunk
        with self._lock:
            marks = [mark for mark, _ in self._marks[:1]]
            marks += [self._cut_at + self.cut_every] if self.cut_every else []
            return max(1, min([size, *(mark - self.down for mark in marks)]))

    def _down(self, passage):
        while passage.server.recv(1, socket.MSG_PEEK) and (data := passage.server.recv(self._room())):
            self.carry(len(data), "down")
            if passage.dropped:
                return
            with self._lock:
                self.down += len(data)
                passage.sent += len(data)
                if passage.request:
                    passage.request.down += len(data)
                    if passage.request.status is None and (line := re.match(rb"HTTP/1\.. (\d+)", data)):
                        passage.request.status = int(line[1])
            passage.client.sendall(data)
            self._happen(passage)

    def _happen(self, passage):
        with self._lock:
            due = [act for mark, act in self._marks if mark <= self.down]
            self._marks = self._marks[len(due):]
            cut = self.cut_every and self.down - self._cut_at >= self.cut_every
            if cut:
                self._cut_at, self.cuts, self._refuse = self.down, self.cuts + 1, self.refusals
        if due or cut:  # what was let through before that arrives
            with contextlib.suppress(OSError, LabError):
                wait_for("the bytes before it", lambda: not passage.on_its_way() and (cut or passage.is_read()), 5, pause=0.001)
        for act in due:
            act()
        if cut:
            passage.drop()


def fastest(points, seconds, since=0.0):
    """The most bytes down within so many seconds, in a record, from time since on."""
    points = [point for point in points if point[0] >= since]
    most, last = 0, 0
    for first, (t, _, down) in enumerate(points):
        while last < len(points) and points[last][0] <= t + seconds:
            last += 1
        most = max(most, points[last - 1][2] - down)
        if last == len(points) and first:
            break
    return most
