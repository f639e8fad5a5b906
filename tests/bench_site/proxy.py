"""Forward connections: `proxy.py TARGET [PORT]`; without a port it takes the socket that systemd hands over.

systemd-socket-proxyd ends a connection when one side has nothing more to send. `docker exec` still reads then.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the end of the input, and pass that on."""
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


async def main(target: str, port: int | None) -> None:
    """Serve until the process is stopped. TARGET is the path of a socket, or an address and a port."""

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, number = target.rpartition(":")
        opened = asyncio.open_unix_connection(target) if "/" in target else asyncio.open_connection(host, int(number))
        with contextlib.suppress(OSError), contextlib.closing(writer):
            there, back = await opened
            with contextlib.closing(back):
                await asyncio.gather(copy(reader, back), copy(there, writer))

    if port is None:
        server = await asyncio.start_unix_server(connect, sock=socket.socket(fileno=3))
    else:
        server = await asyncio.start_server(connect, "0.0.0.0", port)  # noqa: S104 - the test hosts' network only
    await server.serve_forever()


asyncio.run(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else None))
