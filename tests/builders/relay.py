"""A way to a server: what comes passes as it is, changed, late or not at all; no connection outlives it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Self


class Relay:
    """A context manager that leads to the port ``target`` of this machine; ``port`` is where it listens.

    What is to pass otherwise overrides ``to_server`` and ``to_client``, which hang up by raising EOFError.
    """

    def __init__(self, target: int, *, tls: ssl.SSLContext | None = None) -> None:
        self.target = target
        self.connected = 0
        self._tls = tls
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        # Not asyncio's server, which may take in connections when it is closed already, and leave them to nobody.
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        asyncio.get_running_loop().add_reader(self._listener, self._accept)
        return self

    async def __aexit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()
        await self.hang_up()

    async def to_server(self, data: bytes) -> bytes:
        """What the server gets of it."""
        return data

    async def to_client(self, data: bytes) -> bytes:
        """What the client gets of it."""
        return data

    async def hang_up(self) -> None:
        """End all connections."""
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """See to one connection until either side ends it."""
        answers, server = await asyncio.open_connection("127.0.0.1", self.target)
        ways = [
            asyncio.create_task(_pass_on(reader, server, self.to_server)),
            asyncio.create_task(_pass_on(answers, writer, self.to_client)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            server.close()  # before it waits: it may be cancelled while it does
            await asyncio.gather(*ways, return_exceptions=True)
            with suppress(OSError):
                await server.wait_closed()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        client.setblocking(False)
        self.connected += 1
        connection = asyncio.create_task(self._serve(client))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)
        connection.add_done_callback(lambda _: client.close())  # It may be cancelled before it begins.

    async def _serve(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        with suppress(OSError, EOFError):
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, client, ssl=self._tls)
            writer = asyncio.StreamWriter(transport, protocol, reader, loop)
            try:
                await self.serve(reader, writer)
            finally:
                writer.close()
                await writer.wait_closed()


class Door(Relay):
    """It may lead elsewhere later, as a Service does; answers with ``held`` in them (all: b"") wait for ``opened``."""

    def __init__(self, target: int, *, held: bytes | None = None) -> None:
        super().__init__(target)
        self.opened = asyncio.Event()
        self._held = held

    async def to_client(self, data: bytes) -> bytes:
        """What comes, though it may take its time."""
        if self._held is not None and self._held in data:
            await self.opened.wait()
        return data


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, change: Callable[[bytes], Awaitable[bytes]]
) -> None:
    while data := await reader.read(65_536):
        writer.write(await change(data))
        await writer.drain()
