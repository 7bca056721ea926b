"""How far a report is. It is in Redis, as the job's transaction shows nothing before it ends."""

from __future__ import annotations

from typing import Final

from redis.asyncio import Redis

KEPT_S: Final = 3600


class Progress:
    """The progress of one report, in percent."""

    def __init__(self, redis: Redis, report_id: int) -> None:
        self._redis = redis
        self._key = f"report:{report_id}:progress"

    async def tell(self, percent: int) -> None:
        """It has come to ``percent``."""
        await self._redis.set(self._key, percent, ex=KEPT_S)

    async def read(self) -> int:
        """What was told last; 0 before that."""
        return int(await self._redis.get(self._key) or 0)
