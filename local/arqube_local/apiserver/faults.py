"""Faults on demand, so that tests see how clients take an API server in trouble.

Each method that begins something lasting has a counterpart that ends it. Methods are to be called in the server's loop.
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
from dataclasses import dataclass, field
from typing import Final

from arqube_local.apiserver.errors import StatusError

WATCH: Final = "WATCH"
"""Stands for the method of a ``GET`` that watches."""

_REASONS = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


@dataclass(frozen=True, slots=True, eq=False)
class Trouble:
    """What goes wrong with some requests for as long as it lasts; of several the first that fits strikes.

    Attributes:
        methods: ``GET``, ``PATCH`` and so on, or ``WATCH`` for those ``GET`` that watch; none means any.
        path_regex: Searched for in the path without its query.
        status: HTTP status that the requests are refused with; None lets them through.
        retry_after_s: Seconds for a Retry-After header of a refusal.
        delay_s: Seconds for which an answer is held back. What was asked for is done before.
        cut: The connection is reset in place of the answer, after what was asked for is done.
        share: How many of the requests it strikes, from 0 to 1.
        chance: Draws them.
    """

    methods: frozenset[str] = frozenset()
    path_regex: str = ""
    status: int | None = None
    retry_after_s: int | None = None
    delay_s: float = 0.0
    cut: bool = False
    share: float = 1.0
    chance: random.Random = field(default_factory=random.Random, repr=False)

    def strikes(self, method: str, path: str) -> bool:
        """Whether this request is one of those it strikes."""
        named = not self.methods or method in self.methods or (method == WATCH and "GET" in self.methods)
        return named and re.search(self.path_regex, path) is not None and self.chance.random() < self.share


@dataclass(slots=True)
class _Countdown:
    trouble: Trouble
    times: int


class Faults:
    """What is to go wrong: requests are refused, answered late or cut, and watches fall silent or end."""

    def __init__(self) -> None:
        self._countdowns: list[_Countdown] = []
        self._troubles: list[Trouble] = []
        self._running = asyncio.Event()
        self._running.set()
        self._watches_speak = asyncio.Event()
        self._watches_speak.set()
        self._endings = 0
        self._ending = 410

    def fail_next(
        self, method: str, path_regex: str, status: int, times: int = 1, retry_after: int | None = None
    ) -> None:
        """Refuse the next ``times`` requests of ``method`` whose path holds ``path_regex`` with ``status``.

        Args:
            method: ``GET`` and so on, or ``*`` for any.
            path_regex: Searched for in the path without its query.
            status: HTTP status of the answer.
            times: How many requests.
            retry_after: Seconds for a Retry-After header.
        """
        methods = frozenset() if method == "*" else frozenset({method})
        trouble = Trouble(methods, path_regex, status, retry_after)
        self._countdowns.append(_Countdown(trouble, times))

    def begin(self, trouble: Trouble) -> None:
        """Let ``trouble`` strike until it is ended."""
        self._troubles.append(trouble)

    def end(self, trouble: Trouble) -> None:
        """End ``trouble``; harmless when it has not begun."""
        self._troubles = [each for each in self._troubles if each is not trouble]

    def pause(self) -> None:
        """Let every request wait without an answer, and every watch fall silent, until ``resume``."""
        self._running.clear()

    def resume(self) -> None:
        """Answer again."""
        self._running.set()

    def silence_watches(self) -> None:
        """Let watches stay open and tell nothing, no bookmark either, until ``let_watches_speak``."""
        self._watches_speak.clear()

    def let_watches_speak(self) -> None:
        """Let watches tell what they have withheld, and what comes."""
        self._watches_speak.set()

    def end_watches(self, status: int = 410) -> None:
        """End each open watch with ``status`` in its stream; 410 is for a lost place in the history."""
        self._endings += 1
        self._ending = status

    @property
    def endings(self) -> int:
        """How often watches were ended; one that sees this grow is to end."""
        return self._endings

    def ending(self) -> StatusError:
        """What a watch that is ended has to tell."""
        return _refusal(Trouble(status=self._ending))

    async def strike(self, method: str, path: str) -> Trouble | None:
        """Wait while paused; the trouble that the answer is to meet, if any.

        Raises:
            StatusError: The request is one that is to fail.
        """
        await self._running.wait()
        for countdown in self._countdowns:
            if countdown.times > 0 and countdown.trouble.strikes(method, path):
                countdown.times -= 1
                raise _refusal(countdown.trouble)
        struck = next((each for each in self._troubles if each.strikes(method, path)), None)
        if struck is not None and struck.status is not None:
            raise _refusal(struck)
        return struck

    async def while_watches_are_silent(self) -> None:
        """Wait until watches may tell what there is."""
        await self._running.wait()
        await self._watches_speak.wait()


def reset(transport: asyncio.BaseTransport) -> None:
    """End a connection at once and by a reset, as when a process or a machine between has died."""
    if isinstance(transport, asyncio.Transport):
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()


def _refusal(trouble: Trouble) -> StatusError:
    status = trouble.status or 500
    details = {"retryAfterSeconds": trouble.retry_after_s} if trouble.retry_after_s is not None else None
    return StatusError(status, _REASONS.get(status, "Unknown"), "refused on demand of a test", details)
