"""Tells when the time of what runs is up, with one timer for all that may take equally long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class _Line(Generic[T]):
    """What has the same timeout, in the order in which it was added, which is that in which it expires."""

    __slots__ = ("due", "timed")

    def __init__(self) -> None:
        self.due: dict[T, float] = {}
        self.timed = False


class Deadlines(Generic[T]):
    """What was added, and not removed within its timeout, is handed to ``expired``.

    Only the head of each line needs a timer. It is left alone when the head is removed, and then set for the next one:
    so adding and removing cost an operation on a dict each, not a timer that is made and cancelled.

    Args:
        loop: Whose clock and timers are used.
        expired: Called in the loop with what has expired; must not raise.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[T], object]) -> None:
        self._loop = loop
        self._expired = expired
        self._lines: dict[float, _Line[T]] = {}

    def add(self, one: T, timeout_s: float) -> None:
        """Let ``one``, which is not in here, expire in ``timeout_s`` seconds."""
        line = self._lines.get(timeout_s)
        if line is None:
            line = self._lines[timeout_s] = _Line()
        due = line.due[one] = self._loop.time() + timeout_s
        if not line.timed:
            line.timed = True
            self._loop.call_at(due, self._ring, line)

    def remove(self, one: T, timeout_s: float) -> None:
        """Let ``one``, which was added with this timeout, expire no more; nothing happens when it has."""
        self._lines[timeout_s].due.pop(one, None)

    def _ring(self, line: _Line[T]) -> None:
        now = self._loop.time()
        line.timed = False
        while line.due and not line.timed:
            one, due = next(iter(line.due.items()))
            if due > now:
                line.timed = True
                self._loop.call_at(due, self._ring, line)
            else:
                del line.due[one]
                self._expired(one)
