"""The app whose jobs the demo runs: plain arq, with a ledger of what really happened to each job."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, Final

STARTED: Final = "demo:started"
COMPLETED: Final = "demo:completed"
INTERRUPTED: Final = "demo:interrupted"
"""Hashes in Redis: how often each job began, ran to its end, and was cancelled."""


async def work(ctx: dict[str, Any], seconds: float) -> None:
    """Take ``seconds``, as a call to another service does, and enter the ledger before and after."""
    ledger, job_id = ctx["redis"], ctx["job_id"]
    await ledger.hincrby(STARTED, job_id, 1)
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        await ledger.hincrby(INTERRUPTED, job_id, 1)
        raise
    await ledger.hincrby(COMPLETED, job_id, 1)


class WorkerSettings:
    """What arq reads; Redis, queue and concurrency come from the TaskQueue."""

    functions: ClassVar = [work]
    keep_result = 60
