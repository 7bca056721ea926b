"""A small arq app. It runs the same under ``arq emails.WorkerSettings``: nothing in it knows Arqube."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from arq.connections import RedisSettings


async def send_email(ctx: dict[str, Any], recipient: str) -> str:
    """Take as long as a mail server does."""
    await asyncio.sleep(0.3)
    return f"sent to {recipient}"


async def send_newsletter(ctx: dict[str, Any], recipients: list[str]) -> int:
    """Enqueue one job a recipient, as arq apps do."""
    for recipient in recipients:
        await ctx["redis"].enqueue_job("send_email", recipient)
    return len(recipients)


class WorkerSettings:
    """What arq reads."""

    functions = (send_email, send_newsletter)
    redis_settings = RedisSettings(
        host=os.environ.get("REDIS_QUEUE_HOST", "localhost"), port=int(os.environ.get("REDIS_QUEUE_PORT", "6379"))
    )
