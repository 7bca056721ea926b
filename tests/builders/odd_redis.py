"""A server that stands before Redis: it lets all through, or answers all but the first words of a connection oddly."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType

from arqube_queue.connection import RedisAddress

GREETINGS = {b"AUTH", b"CLIENT", b"SELECT", b"PING"}
"""What connections say first, and is answered well."""
HALF = b"half"
"""The end of an answer after which it hangs up."""


class OddRedis:
    """A context manager; ``address`` is where it listens.

    Attributes:
        odd: What it answers: bytes as they go over the wire; None to let all through.
        asked: Commands that it has answered so.
    """

    def __init__(self, redis: RedisAddress) -> None:
        self._redis = redis
        self._connections: set[asyncio.Task[None]] = set()
        self.odd: bytes | None = None
        self.asked = 0

    @property
    def address(self) -> RedisAddress:
        """Where it listens."""
        return RedisAddress(host="127.0.0.1", port=self._server.sockets[0].getsockname()[1])

    async def become(self, odd: bytes | None) -> None:
        """Answer so from now on, and drop all connections."""
        self.odd, self.asked = odd, 0
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def __aenter__(self) -> OddRedis:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        await self.become(b"")
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await (self._pass_through(reader, writer) if self.odd is None else self._answer(reader, writer))
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _pass_through(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inward, outward = await asyncio.open_connection(self._redis.host, self._redis.port)
        ways = [asyncio.create_task(_pipe(reader, outward)), asyncio.create_task(_pipe(inward, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            outward.close()
            with contextlib.suppress(OSError):
                await outward.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            words = []
            for _ in range(int((await reader.readuntil(b"\r\n"))[1:])):
                size = int((await reader.readuntil(b"\r\n"))[1:])
                words.append((await reader.readexactly(size + 2))[:-2])
            if words[0].upper() in GREETINGS:
                writer.write(b"+PONG\r\n" if words[0].upper() == b"PING" else b"+OK\r\n")
                continue
            self.asked += 1
            writer.write(self.odd)
            await writer.drain()
            if self.odd.endswith(HALF):
                return


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
