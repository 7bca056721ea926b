"""What arq reads: one class for the fast queue and one for the slow one."""

from __future__ import annotations

from typing import ClassVar

import httpx
from arq import cron

from app.core.config import FAST_QUEUE, SLOW_QUEUE, settings
from app.core.db.database import create_database
from app.core.worker.functions import (
    Context,
    fetch_exchange_rate,
    generate_report,
    nightly_report,
    sample_background_task,
    send_welcome_email,
    train_model,
)

database = create_database()


async def startup(ctx: Context) -> None:
    """Open what jobs share."""
    ctx["exchange_api"] = httpx.AsyncClient(base_url=settings.exchange_api_url, timeout=10)


async def shutdown(ctx: Context) -> None:
    """Close it."""
    await ctx["exchange_api"].aclose()


@database.settings
class WorkerSettings:
    """The fast queue."""

    functions: ClassVar = [send_welcome_email, sample_background_task, fetch_exchange_rate]
    queue_name = FAST_QUEUE
    redis_settings = settings.redis
    on_startup = startup
    on_shutdown = shutdown
    handle_signals = False  # as the template has it: Arqube's worker heeds them nevertheless
    allow_abort_jobs = True  # for the tasks API's cancel


@database.settings
class SlowWorkerSettings:
    """The slow queue, and what runs by the clock."""

    functions: ClassVar = [generate_report, train_model]
    cron_jobs: ClassVar = [cron(nightly_report, hour=0, minute=10, max_tries=20)]
    queue_name = SLOW_QUEUE
    redis_settings = settings.redis
    on_startup = startup
    on_shutdown = shutdown
    handle_signals = False
    allow_abort_jobs = True
    max_jobs = 2
    job_timeout = 3600
