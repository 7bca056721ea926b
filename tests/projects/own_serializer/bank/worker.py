import os
from datetime import date
from decimal import Decimal
from typing import Any

from arq.connections import RedisSettings

from bank.codec import dumps, loads


async def interest(ctx: dict[str, Any], balance: Decimal, since: date) -> Decimal:
    """Two percent for each whole year to 2026."""
    return balance * Decimal("0.02") * (2026 - since.year)


class WorkerSettings:
    functions = (interest,)
    redis_settings = RedisSettings(os.environ.get("REDIS_HOST", "redis"), int(os.environ.get("REDIS_PORT", 6379)))
    job_serializer = dumps
    job_deserializer = loads
