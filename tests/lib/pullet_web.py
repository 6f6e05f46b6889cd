# SPDX-License-Identifier: MIT
"""A directory behind a plain web server on loopback."""

import contextlib
import functools
import http.server
import threading


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.server.refuse:
            self.send_error(503)
        else:
            super().do_GET()

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def web(directory):
    """-> its URL and the server, which answers 503 while its attribute refuse is set."""
    handler = functools.partial(Handler, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.refuse = False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", server
        finally:
            server.shutdown()
