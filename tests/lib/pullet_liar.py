# SPDX-License-Identifier: MIT
"""A pullet-fetch that was broken into: what it is asked goes to the real one, except where it lies."""

import contextlib
import json
import os
import socket
import socketserver
import subprocess
import threading

import pytest

from pullet_sweep import MARK


class Liar:
    """Listens where pullet-update finds its network half (`arguments` are its options). lies: {operation: function}; the
    function gets the question and its descriptors, which it need not close, and returns the answer, or None for none: then
    the connection ends. asked: every question."""

    def __init__(self, lab, pullet, lies=None):
        self.pullet, self.lies, self.asked, self.faults = pullet, lies or {}, [], []
        self.path = str(pullet.directory / "liar.sock")
        self.arguments = ("--fetch-socket", self.path)
        self.over = threading.Event()  # for a lie that stalls
        self.environment = {**lab.environment, MARK: pullet.mark}
        liar = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                with contextlib.suppress(OSError):
                    liar.serve(self.request)

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True
            block_on_close = False

        self.server = Server(self.path, Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        lab.add(self)

    def stop(self):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    def operations(self):
        return [question.get("op") for question in self.asked]

    def serve(self, client):
        ours, theirs = socket.socketpair()
        child = subprocess.Popen(
            [self.pullet.build / "pullet-fetch", "--config", self.pullet.config, "--fd", str(theirs.fileno())],
            stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], env=self.environment)
        theirs.close()
        threading.Thread(target=self.answers, args=(ours, client), daemon=True).start()
        try:
            self.questions(client, ours)
        finally:
            ours.close()
            child.wait()

    @staticmethod
    def answers(ours, client):
        with contextlib.suppress(OSError):
            while data := ours.recv(65536):
                client.sendall(data)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)

    def questions(self, client, ours):
        data, fds = b"", []
        while True:
            more, new, _, _ = socket.recv_fds(client, 65536, 8)
            if not more:
                return
            data, fds = data + more, fds + new
            while b"\n" in data:
                line, _, data = data.partition(b"\n")
                question = json.loads(line)
                self.asked.append(question)
                lie = self.lies.get(question.get("op"))
                try:
                    if not lie:
                        socket.send_fds(ours, [line + b"\n"], fds)
                    elif not self.tell(client, lie, question, fds):
                        return
                finally:
                    for fd in fds:
                        os.close(fd)
                    fds = []

    def tell(self, client, lie, question, fds):
        try:
            answer = lie(question, fds)
        except Exception as error:  # for the test to see
            self.faults.append(error)
            raise
        if answer is not None:
            client.sendall(answer if isinstance(answer, bytes) else json.dumps(answer).encode() + b"\n")
        return answer is not None


@pytest.fixture
def liar(lab, house):
    liar = Liar(lab, house.pullet)
    yield liar
    liar.stop()
    assert not liar.faults, liar.faults
