"""A worker whose wall clock jumps: retries come when they should, and due jobs are found."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import pytest
from arq import cron
from arq.connections import ArqRedis
from arq.worker import Retry, func
from prometheus_client import CollectorRegistry

from arqube_local.redis_server import RedisServer
from arqube_queue import keys
from arqube_worker import settings
from arqube_worker.metrics import Metrics
from arqube_worker.runtime import Worker

pytestmark = pytest.mark.timeout(120)

WITHIN_S = 40.0
JUMP_S = 600.0

Context = dict[str, Any]
RunUntil = Callable[..., Awaitable[None]]


@pytest.fixture
def run_until(redis_server: RedisServer, arq_client: ArqRedis) -> RunUntil:
    """Run a worker in this process with one job of the first function, if there is one, until the event is set."""

    async def run(event: asyncio.Event, *functions: Any, **options: Any) -> None:
        address = redis_server.address
        environ = {"ARQUBE_REDIS_HOST": address.host, "ARQUBE_REDIS_PORT": str(address.port)}
        configuration = settings.configure(
            settings.LoadedSettings("test", {"functions": functions, **options}), environ
        )
        worker = Worker(configuration, name="here", metrics=Metrics(CollectorRegistry()))
        if functions:
            await arq_client.enqueue_job(functions[0].name, _job_id="first")
        serving = asyncio.create_task(worker.serve())
        try:
            await asyncio.wait_for(event.wait(), WITHIN_S)
        finally:
            worker.drain.request()
            worker.drain.request()
            await asyncio.wait_for(serving, WITHIN_S)

    return run


class Clock(datetime):
    """A wall clock that is ahead."""

    ahead = timedelta()

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) + cls.ahead


def jump(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Put the worker's clock ahead or behind."""
    monkeypatch.setattr("arq.utils.time", lambda: time.time() + seconds)
    monkeypatch.setattr("arqube_worker.crons.datetime", Clock, raising=False)
    Clock.ahead = timedelta(seconds=seconds)


async def test_a_retry_is_not_deferred_by_a_clock_that_jumps_ahead(
    run_until: RunUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = asyncio.Event()

    async def work(ctx: Context) -> None:
        if ctx["job_try"] == 1:
            jump(monkeypatch, JUMP_S)
            asyncio.get_running_loop().call_later(0.5, monkeypatch.undo)
            raise Retry(defer=2)
        again.set()

    await run_until(again, func(work, name="work"))


async def test_a_due_job_is_found_by_a_clock_that_jumped_back(
    run_until: RunUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = asyncio.Event()

    async def work(ctx: Context) -> None:
        jump(monkeypatch, -JUMP_S)
        await ctx["redis"].enqueue_job("other", _job_id="second", _defer_until=datetime.now(UTC))

    async def other(ctx: Context) -> None:
        found.set()

    await run_until(found, func(work, name="work"), func(other, name="other"))


@pytest.mark.parametrize("ahead_s", [pytest.param(JUMP_S, id="ahead"), pytest.param(-JUMP_S, id="behind")])
async def test_cron_runs_of_a_worker_whose_clock_is_wrong_as_it_starts_are_of_the_present(
    run_until: RunUntil, monkeypatch: pytest.MonkeyPatch, ahead_s: float
) -> None:
    enough = asyncio.Event()
    ran: list[float] = []

    async def tick(ctx: Context) -> None:
        ran.append(ctx["score"] / 1000)
        if len(ran) == 3:
            enough.set()

    began = time.time()
    jump(monkeypatch, ahead_s)
    every_second = cron(tick, name="tick", second=set(range(60)))  # type: ignore[arg-type]
    await run_until(enough, cron_jobs=[every_second])
    assert [each for each in ran if not began - 1 < each < time.time() + 2] == []


async def test_cron_runs_keep_their_times_while_the_clock_jumps_ahead(
    run_until: RunUntil, arq_client: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    enough = asyncio.Event()
    ran: list[float] = []

    async def tick(ctx: Context) -> None:
        ran.append(ctx["score"] / 1000)
        if len(ran) == 1:
            jump(monkeypatch, JUMP_S)
            asyncio.get_running_loop().call_later(2.0, monkeypatch.undo)
        if len(ran) == 5:
            enough.set()

    every_second = cron(tick, name="tick", second=set(range(60)))  # type: ignore[arg-type]
    await run_until(enough, cron_jobs=[every_second])
    assert ran == sorted(ran)
    queued = await arq_client.zrange(keys.DEFAULT_QUEUE, 0, -1, withscores=True)
    assert [job for job, due_ms in queued if due_ms > (time.time() + 30) * 1000] == []
