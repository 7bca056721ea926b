"""How far a stop has come: the first signal lets jobs finish, the second gives them back at once."""

from __future__ import annotations

import asyncio
import signal
from types import FrameType
from typing import Any, Final

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Drain:
    """Turns signals into two events. They mean the same to every worker, whatever its ``handle_signals`` says.

    Attributes:
        stopping: Take no more jobs. Set the very moment the signal comes, also while a job blocks the loop.
        requested: The same for whoever waits.
        hurried: Give back what still runs, now.
    """

    def __init__(self) -> None:
        self.stopping = False
        self.requested = asyncio.Event()
        self.hurried = asyncio.Event()
        self._former: dict[signal.Signals, Any] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def request(self) -> None:
        """Ask for a stop; asking again hurries it."""
        self.stopping = True
        if self.requested.is_set():
            self.hurried.set()
        self.requested.set()

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take over SIGTERM and SIGINT; process 1 would otherwise not even see them."""
        self._loop = loop
        for signum in SIGNALS:
            self._former[signum] = signal.signal(signum, self._on_signal)

    def ignore(self) -> None:
        """Give the signals back to who had them."""
        for signum, former in self._former.items():
            signal.signal(signum, former)
        self._former.clear()

    def _on_signal(self, _signum: int, _frame: FrameType | None) -> None:
        self.stopping = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.request)


async def first_of(*events: asyncio.Event, timeout_s: float | None = None) -> None:
    """Wait until one of the events is set, or the time is up."""
    waiters = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiters, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiter in waiters:
            waiter.cancel()
        await asyncio.gather(*waiters, return_exceptions=True)
