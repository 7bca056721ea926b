"""Faults on demand, so that tests see how clients take an API server in trouble."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

from arqube_local.apiserver.errors import StatusError

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


@dataclass(slots=True)
class _Fault:
    method: str
    path: re.Pattern[str]
    status: int
    times: int
    retry_after_s: int | None


class Faults:
    """What is to go wrong. Requests to come are refused, or all wait while the server is paused."""

    def __init__(self) -> None:
        self._faults: list[_Fault] = []
        self._running = asyncio.Event()
        self._running.set()

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
        self._faults.append(_Fault(method, re.compile(path_regex), status, times, retry_after))

    def pause(self) -> None:
        """Let every request wait without an answer, and every watch fall silent, until ``resume``."""
        self._running.clear()

    def resume(self) -> None:
        """Answer again."""
        self._running.set()

    async def pass_through(self, method: str, path: str) -> None:
        """Wait while paused.

        Raises:
            StatusError: The request is one that is to fail.
        """
        await self.while_paused()
        for fault in self._faults:
            if fault.times > 0 and fault.method in ("*", method) and fault.path.search(path):
                fault.times -= 1
                details = {"retryAfterSeconds": fault.retry_after_s} if fault.retry_after_s is not None else None
                reason = _REASONS.get(fault.status, "Unknown")
                raise StatusError(fault.status, reason, "refused on demand of a test", details)

    async def while_paused(self) -> None:
        """Wait until the server is not paused."""
        await self._running.wait()
