"""The relay that tests put before a server leaves nothing open, however its clients behave as it ends."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from arqube_local.redis_server import RedisServer
from builders.relay import Relay

PING = b"*1\r\n$4\r\nPING\r\n"
ROUNDS = 3


def test_no_connection_outlives_it_though_clients_come_until_it_is_gone(
    redis_server: RedisServer, eventually: Callable[..., Any]
) -> None:
    async def serve(client: Client) -> None:
        async with Relay(redis_server.address.port) as relay:
            client.port = relay.port
            client.start()
            await eventually(lambda: relay.connected >= 50)

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(ROUNDS):
            loop, client = asyncio.new_event_loop(), Client()
            loop.run_until_complete(serve(client))
            loop.close()  # which has no moment more to close what the relay has left
            client.join()
        gc.collect()
    assert not [str(each.message) for each in told]


class Client(threading.Thread):
    """Connects, asks and hangs up, over and over, until nobody is there."""

    port: int

    def run(self) -> None:
        with suppress(OSError):
            while True:
                with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
                    connection.sendall(PING)
