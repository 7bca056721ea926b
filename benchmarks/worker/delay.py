"""``python -m benchmarks.worker.delay PORT SECONDS``: a TCP proxy to PORT that delays what passes, each way.

It prints the port on which it listens. Bytes keep their order and pass at full width: only their arrival is later.
"""

from __future__ import annotations

import asyncio
import sys


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float) -> None:
    loop = asyncio.get_running_loop()
    try:
        while data := await reader.read(1 << 18):
            loop.call_later(delay_s, writer.write, data)
    except ConnectionError:
        pass
    loop.call_later(delay_s, writer.close)


async def serve(target: int, delay_s: float) -> None:
    """Pass connections on to ``target`` of this machine for ever."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(_pass_on(reader, back, delay_s), _pass_on(there, writer, delay_s))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2])))
