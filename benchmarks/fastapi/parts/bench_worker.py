"""The example's worker settings, which also count each start of a job, in Redis: outside the job's transaction."""

from __future__ import annotations

from typing import Any

from app.core.worker import settings

STARTS = "benchmark:starts"
"""The hash of the counts, by job id."""


async def count(ctx: dict[str, Any]) -> None:
    """One more start of the job."""
    await ctx["redis"].hincrby(STARTS, ctx["job_id"], 1)


class WorkerSettings(settings.WorkerSettings):
    """The same functions, and the count."""

    on_job_start = count
