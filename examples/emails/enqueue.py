"""Enqueue COUNT jobs (default 100) with plain arq: ``python enqueue.py [COUNT]``."""

from __future__ import annotations

import asyncio
import sys

from arq import create_pool
from emails import WorkerSettings


async def main(count: int) -> None:
    """Enqueue ``count`` emails."""
    pool = await create_pool(WorkerSettings.redis_settings)
    for number in range(count):
        await pool.enqueue_job("send_email", f"person{number}@example.com")
    await pool.aclose()
    print(f"enqueued {count} emails")  # noqa: T201 - a command answers


asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100))
