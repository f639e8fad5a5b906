# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program: it reads the configuration, opens the sockets and serves the API.

Only this module knows the command line and systemd.
"""

from __future__ import annotations

import argparse
import asyncio.constants
import json
import logging
import os
import socket
import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from .app import STOP_SECONDS, create_app
from .connections import Connections, limit_sends
from .settings import SettingsError, credential, load, read_tokens

FIRST_SOCKET = 3
"""SD_LISTEN_FDS_START of sd_listen_fds(3)."""


class JsonFormatter(logging.Formatter):
    """Format each record as one JSON object per line, for journald and log collectors."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def inherited_sockets() -> list[socket.socket]:
    """Return the sockets that systemd passes to this process (sd_listen_fds(3)), or an empty list."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(os.environ.get("LISTEN_FDS", "0"))
    return [socket.socket(fileno=descriptor) for descriptor in range(FIRST_SOCKET, FIRST_SOCKET + count)]


def bind(address: str) -> socket.socket:
    """Return a socket that listens on C(host:port). An IPv6 address is in brackets."""
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdigit():
        raise SettingsError(f"--listen {address}: expected host:port")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, int(port)), family=family)
    except (OSError, OverflowError) as error:
        raise SettingsError(f"--listen {address}: {error}") from error


def notify_systemd(state: str) -> None:
    """Send a state to systemd, which waits for C(READY=1) (sd_notify(3)). Without systemd, do nothing."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.sendto(state.encode(), address.replace("@", "\0", 1) if address.startswith("@") else address)


class Server(uvicorn.Server):
    """uvicorn's server, plus a notification to systemd at the start and an end of all waits at the stop."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start serving."""
        await super().startup(sockets=sockets)
        notify_systemd("READY=1")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop serving. Requests that wait for jobs are answered at once."""
        self._app.state.service.jobs.stop_accepting()
        await super().shutdown(sockets=sockets)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line. No option takes a secret, because command lines are public."""
    parser = argparse.ArgumentParser(prog="multipass-sidecar", description="Serve an HTTP API for multipass.")
    parser.add_argument("--config", type=Path, help="configuration file (TOML); without it, the defaults apply")
    parser.add_argument("--tokens", type=Path, help="file of the tokens; default: systemd's credential 'tokens'")
    parser.add_argument(
        "--listen",
        action="append",
        default=[],
        metavar="HOST:PORT",
        help="where to listen, unless systemd passes sockets",
    )
    parser.add_argument("--check", action="store_true", help="check the given files and exit")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the program and return its exit code: 0 for success, 2 for a wrong configuration."""
    options = parse(arguments)
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    try:
        settings = load(options.config)
        if options.check:
            if options.tokens:
                read_tokens(options.tokens)
            return 0
        settings.state()
        tokens = read_tokens(options.tokens)
        sockets = inherited_sockets() or [bind(address) for address in options.listen]
        if not sockets:
            raise SettingsError("no socket to listen on; set --listen, or start the program from its systemd unit")
    except SettingsError as error:
        print(f"multipass-sidecar: {error}", file=sys.stderr)
        return 2
    for listening in sockets:
        limit_sends(listening, settings.send_timeout)
    # asyncio has no other way to shorten the minute that a client may take for the handshake of TLS.
    asyncio.constants.SSL_HANDSHAKE_TIMEOUT = settings.head_timeout
    app = create_app(settings, tokens)
    config = uvicorn.Config(
        app,
        http=Connections(settings).protocol(),
        ws="none",
        ssl_certfile=settings.tls_certificate or credential("tls_certificate"),
        ssl_keyfile=settings.tls_key or credential("tls_key"),
        log_config=None,
        access_log=False,
        server_header=False,
        # Many clients keep a connection longer than uvicorn's default of 5 s; their next request would fail.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=STOP_SECONDS,
        lifespan="on",
    )
    Server(config, app).run(sockets=sockets)
    return 0


if __name__ == "__main__":
    sys.exit(main())
