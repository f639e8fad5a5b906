"""A small HTTP proxy that writes down what it is asked, a line a request: `python3 recording_proxy.py PORT LOG`."""

from __future__ import annotations

import select
import socket
import sys
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

HOP_BY_HOP = {
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "upgrade",
}


class Handler(BaseHTTPRequestHandler):
    log: Path

    def log_message(self, format: str, *args: object) -> None:
        with self.log.open("a", encoding="utf-8") as stream:
            stream.write(f"{self.command} {self.path}\n")

    def do_CONNECT(self) -> None:
        name, port = self.path.rsplit(":", 1)
        with socket.create_connection((name, int(port)), 30) as there:
            self.send_response(200)
            self.end_headers()
            here = self.connection
            while True:
                readable, _, _ = select.select([here, there], [], [], 120)
                for one, other in ((here, there), (there, here)):
                    if one in readable:
                        data = one.recv(65536)
                        if not data:
                            return
                        other.sendall(data)
                if not readable:
                    return

    def forward(self) -> None:
        self.close_connection = True
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        connection = HTTPConnection(parts.netloc, timeout=120)
        path = parts._replace(scheme="", netloc="").geturl() or "/"
        connection.putrequest(self.command, path, skip_host=True, skip_accept_encoding=True)
        # One by one: Docker names each type of manifest that it takes in an Accept of its own.
        for name, value in self.headers.items():
            if name.lower() not in HOP_BY_HOP:
                connection.putheader(name, value)
        connection.endheaders(body or None)
        answer = connection.getresponse()
        self.send_response(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            while block := answer.read(65536):
                self.wfile.write(block)

    do_GET = do_HEAD = do_POST = do_PUT = forward


if __name__ == "__main__":
    Handler.log = Path(sys.argv[2])
    ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Handler).serve_forever()  # noqa: S104
