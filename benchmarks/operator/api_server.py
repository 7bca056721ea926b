"""``python -m benchmarks.operator.api_server PORT``: the fake API server in a process of its own, until SIGTERM."""

from __future__ import annotations

import asyncio
import signal
import sys

from arqube_local.apiserver import FakeApiServer


async def _serve(port: int) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    server = FakeApiServer(port)
    await server.start()
    await ended.wait()
    await server.stop()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
