"""The least a worker in Python can do, for comparison: woken by Redis it takes the job from the queue, and no more.

``python -m benchmarks.worker.bare`` runs it. It speaks RESP3 by hand over one connection, runs no job and keeps none
safe; at the end of its input it prints when it took which, a time of the machine's monotonic clock a line.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

from arqube_queue.keys import DEFAULT_QUEUE

_ARM = f"ZCARD {DEFAULT_QUEUE}\r\n".encode()
_TAKE = f"ZPOPMIN {DEFAULT_QUEUE}\r\n".encode()


class BareWorker(asyncio.Protocol):
    """Client tracking tells of a change; reading the key arms it again."""

    def __init__(self) -> None:
        self.taken: list[float] = []
        self._taking = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Turn tracking on."""
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101
        self._transport = transport
        transport.write(b"HELLO 3\r\nCLIENT TRACKING ON\r\n" + _ARM)

    def data_received(self, data: bytes) -> None:
        """Take a job when the queue has changed; note when it is here."""
        if self._taking and DEFAULT_QUEUE.encode() not in data:
            self.taken.append(time.monotonic())
            self._taking = False
        elif b"invalidate" in data and not self._taking:
            self._taking = True
            self._transport.write(_TAKE + _ARM)


async def main() -> None:
    """Work until the input ends."""
    loop = asyncio.get_running_loop()
    port = int(os.environ["BENCH_REDIS_PORT"])
    _, worker = await loop.create_connection(BareWorker, "127.0.0.1", port)
    await loop.run_in_executor(None, sys.stdin.read)
    print(*worker.taken, sep="\n")


if __name__ == "__main__":
    asyncio.run(main())
