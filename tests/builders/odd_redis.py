"""A server that stands before Redis: it lets all through, or answers all but the first words of a connection oddly."""

from __future__ import annotations

import asyncio

from arqube_queue.connection import RedisAddress
from builders.relay import Relay

GREETINGS = frozenset({b"AUTH", b"CLIENT", b"SELECT", b"PING"})
"""What connections say first."""
HALF = b"half"
"""The end of an answer after which it hangs up."""


class OddRedis(Relay):
    """A context manager; ``address`` is where it listens.

    Attributes:
        greetings: Commands that are answered well.
        odd: What it answers: bytes as they go over the wire; None to let all through.
        asked: Commands that it has answered so.
    """

    def __init__(self, redis: RedisAddress) -> None:
        super().__init__(redis.port)
        self.greetings = GREETINGS
        self.odd: bytes | None = None
        self.asked = 0

    @property
    def address(self) -> RedisAddress:
        """Where it listens."""
        return RedisAddress(host="127.0.0.1", port=self.port)

    async def become(self, odd: bytes | None) -> None:
        """Answer so from now on, and drop all connections."""
        self.odd, self.asked = odd, 0
        await self.hang_up()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Let it through, or answer it."""
        if self.odd is None:
            await super().serve(reader, writer)
            return
        while True:
            words = []
            for _ in range(int((await reader.readuntil(b"\r\n"))[1:])):
                size = int((await reader.readuntil(b"\r\n"))[1:])
                words.append((await reader.readexactly(size + 2))[:-2])
            if words[0].upper() in self.greetings:
                writer.write(b"+PONG\r\n" if words[0].upper() == b"PING" else b"+OK\r\n")
                continue
            self.asked += 1
            writer.write(self.odd)
            await writer.drain()
            if self.odd.endswith(HALF):
                return
