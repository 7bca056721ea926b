"""How far a stop has come: the first signal lets jobs finish, the second gives them back at once."""

from __future__ import annotations

import asyncio
import signal
from typing import Final

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Drain:
    """Turns signals into two events. They mean the same to every worker, whatever its ``handle_signals`` says.

    Attributes:
        requested: Take no more jobs; those in flight may finish until the shutdown timeout.
        hurried: Give back what still runs, now.
    """

    def __init__(self) -> None:
        self.requested = asyncio.Event()
        self.hurried = asyncio.Event()

    def request(self) -> None:
        """Ask for a stop; asking again hurries it."""
        if self.requested.is_set():
            self.hurried.set()
        self.requested.set()

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take over SIGTERM and SIGINT; process 1 would otherwise not even see them."""
        for signum in SIGNALS:
            loop.add_signal_handler(signum, self.request)


async def first_of(*events: asyncio.Event, timeout_s: float | None = None) -> None:
    """Wait until one of the events is set, or the time is up."""
    waiters = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiters, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiter in waiters:
            waiter.cancel()
        await asyncio.gather(*waiters, return_exceptions=True)
