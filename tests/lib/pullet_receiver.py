# SPDX-License-Identifier: MIT
"""Receivers of notifications: HTTP and mail."""

import base64
import http.server
import socketserver
import threading


class Receiver(http.server.ThreadingHTTPServer):
    """requests: (path, headers, body) of each POST."""
    allow_reuse_address = True

    def __init__(self, port=0):
        requests = self.requests = []
        self.status = 200
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                requests.append((self.path, dict(self.headers), body))
                self.send_response(server.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", port), Handler)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Post(socketserver.ThreadingTCPServer):
    """Takes mail, as RFC 5321 has it, from who knows the password."""

    def __init__(self):
        mails = self.mails = []

        class Handler(socketserver.StreamRequestHandler):
            def say(self, text):
                self.wfile.write(text.encode() + b"\r\n")

            def handle(self):
                mail = {"to": []}
                self.say("220 post")
                for line in iter(self.rfile.readline, b""):
                    verb, _, rest = line.decode().strip().partition(" ")
                    if verb == "EHLO":
                        self.say("250-post\r\n250-8BITMIME\r\n250 AUTH PLAIN")
                    elif verb == "AUTH":
                        self.say("334 ")
                        mail["user"] = base64.b64decode(self.rfile.readline()).decode().split("\0")[1:]
                        self.say("235 ok")
                    elif verb == "MAIL":
                        mail["from"] = rest.split(":")[1].split(">")[0].strip("<")
                        self.say("250 ok")
                    elif verb == "RCPT":
                        mail["to"].append(rest.split(":")[1].strip("<>"))
                        self.say("250 ok")
                    elif verb == "DATA":
                        self.say("354 go on")
                        lines = list(iter(self.rfile.readline, b".\r\n"))
                        assert all(one.endswith(b"\r\n") for one in lines)
                        mail["text"] = b"".join(lines).decode().replace("\r\n", "\n")
                        mails.append(mail)
                        self.say("250 ok")
                    else:
                        self.say("221 bye" if verb == "QUIT" else "500 what")

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
