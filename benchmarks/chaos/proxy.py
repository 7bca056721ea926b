"""A network between clients and one Redis server that can be slow, cut, silent, or cut in the middle of an answer.

``python -m benchmarks.chaos.proxy PORT`` passes connections on to PORT of this machine. It prints the port on which it
listens, and obeys the lines that it reads: ``delay SECONDS``, ``silence``, ``speak``, ``cut``, ``halve``. It ends when
there is nobody left to write such lines.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

CHUNK: Final = 1 << 18
_STEP_S: Final = 1e-6
"""Between two writes of one time, which keeps their order."""


class Network:
    """All connections, and what is wrong with them."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._delay_s = 0.0
        self._speaks = asyncio.Event()
        self._speaks.set()
        self._open: set[asyncio.StreamWriter] = set()
        self._to_halve: set[asyncio.StreamWriter] = set()

    def obey(self, line: str) -> None:
        """Do what a line says.

        Raises:
            ValueError: It says nothing that is known.
        """
        match line.split():
            case ["delay", seconds]:
                self._delay_s = float(seconds)
            case ["silence"]:
                self._speaks.clear()
            case ["speak"]:
                self._speaks.set()
            case ["cut"]:
                for writer in self._open:
                    writer.transport.abort()
            case ["halve"]:
                self._to_halve = set(self._open)
            case _:
                raise ValueError(f"no such command: {line!r}")

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one connection on until either side ends it."""
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._open.add(writer)
        pumps = [
            asyncio.create_task(self._pass_on(reader, back, answers=False)),
            asyncio.create_task(self._pass_on(there, writer, answers=True)),
        ]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        self._open.discard(writer)
        self._to_halve.discard(writer)
        writer.close()
        back.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        loop = asyncio.get_running_loop()
        last_at = 0.0
        while data := await reader.read(CHUNK):
            await self._speaks.wait()
            if answers and writer in self._to_halve:
                writer.write(data[: len(data) // 2])
                await writer.drain()
                return
            now = loop.time()
            last_at = max(last_at + _STEP_S, now + self._delay_s)
            if self._delay_s == 0.0 and last_at <= now + 2 * _STEP_S:
                writer.write(data)
            else:
                loop.call_at(last_at, writer.write, data)


async def _serve(target: int) -> None:
    network = Network(target)
    server = await asyncio.start_server(network.accept, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        network.obey(line.decode())


class Proxy:
    """The process of a network, for those who are to tell it what is wrong.

    Attributes:
        port: Where clients find the server.
    """

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.port = port
        self._process = process

    def tell(self, command: str) -> None:
        """One of the lines that the module's docstring lists."""
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        self._process.stdin.write(f"{command}\n".encode())


@asynccontextmanager
async def proxy_to(port: int) -> AsyncIterator[Proxy]:
    """A proxy to ``port`` of this machine, in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__, str(port)),
        cwd=Path(__file__).parents[2],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - they were asked for
    try:
        yield Proxy(process, int(await process.stdout.readline()))
    finally:
        process.stdin.close()
        await process.wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
