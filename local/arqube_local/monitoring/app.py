"""The app whose jobs the dashboards show: plain arq, with all that can become of a job."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from arq.worker import Retry, func


async def send(ctx: dict[str, Any], seconds: float) -> None:
    """Take ``seconds`` and succeed."""
    await asyncio.sleep(seconds)


async def fetch(ctx: dict[str, Any], seconds: float) -> None:
    """Ask for another try at first, as for a service that is away."""
    await asyncio.sleep(seconds)
    if ctx["job_try"] == 1:
        raise Retry(defer=0.5)


async def charge(ctx: dict[str, Any]) -> None:
    """Fail for good."""
    await asyncio.sleep(0.05)
    raise ValueError("the card was declined")


async def render(ctx: dict[str, Any]) -> None:
    """Take longer than it may."""
    await asyncio.sleep(60)


class WorkerSettings:
    """What arq reads; Redis, queue and concurrency come from the TaskQueue."""

    functions: ClassVar = [send, fetch, charge, func(render, timeout=1)]
    keep_result = 1
