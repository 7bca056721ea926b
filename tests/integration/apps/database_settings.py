"""An app whose jobs work with a database, for plain arq as much as for arqube-worker."""

import asyncio
import os
from typing import Any

from arq import Retry, cron, func
from arq.connections import RedisSettings
from sqlalchemy import Column, Integer, MetaData, Table, Text, insert
from sqlalchemy.ext.asyncio import AsyncSession

from arqube_worker.contrib.sqlalchemy import Database

NAMES = Table("names", MetaData(), Column("id", Integer, primary_key=True), Column("name", Text))
database = Database(os.getenv("DATABASE_URL", "sqlite+aiosqlite:///app.db"))


async def add(ctx: dict[str, Any], db: AsyncSession, name: str) -> str:
    await db.execute(insert(NAMES).values(name=name))
    return f"{name} by {ctx['job_try']}"


async def add_and_fail(ctx: dict[str, Any], name: str) -> None:
    await ctx["db"].execute(insert(NAMES).values(name=name))
    raise LookupError


async def add_at_the_second_try(ctx: dict[str, Any], name: str, *, db: AsyncSession) -> None:
    await db.execute(insert(NAMES).values(name=f"{name} at try {ctx['job_try']}"))
    if ctx["job_try"] == 1:
        raise Retry


async def add_and_hang(ctx: dict[str, Any], name: str) -> None:
    await ctx["db"].execute(insert(NAMES).values(name=name))
    await ctx["redis"].rpush("hanging", ctx["job_id"])
    await asyncio.sleep(600)


async def tick(ctx: dict[str, Any], db: AsyncSession) -> None:
    await db.execute(insert(NAMES).values(name="tick"))


async def startup(ctx: dict[str, Any]) -> None:
    await ctx["redis"].rpush("hooks", "startup")


async def shutdown(ctx: dict[str, Any]) -> None:
    await ctx["redis"].rpush("hooks", "shutdown")


@database.settings
class WorkerSettings:
    functions = (
        add,
        add_and_fail,
        add_at_the_second_try,
        func(add_and_hang, name="hang", max_tries=9),
        func(add_and_hang, name="time_out", timeout=0.5),
    )
    cron_jobs = (cron(tick, run_at_startup=True, hour=0, minute=0),)
    redis_settings = RedisSettings(
        host=os.getenv("REDIS_QUEUE_HOST", "localhost"), port=int(os.getenv("REDIS_QUEUE_PORT", "6379"))
    )
    on_startup = startup
    on_shutdown = shutdown
    poll_delay = 0.1
    max_jobs = 4
