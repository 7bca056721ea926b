"""Send Redis a command as it is written: redis-py leaves its own way to do so untyped."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis


async def execute(redis: Redis, *command: str | bytes | float) -> Any:
    """The answer to the command."""
    return await redis.execute_command(*command)  # type: ignore[no-untyped-call]
