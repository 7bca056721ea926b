"""A worker whose wall clock jumps: retries come when they should, and due jobs are found."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from arq.connections import ArqRedis
from arq.worker import Retry, func
from prometheus_client import CollectorRegistry

from arqube_local.redis_server import RedisServer
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
    """Run a worker in this process with one job of the first function, until the event is set."""

    async def run(event: asyncio.Event, *functions: Any) -> None:
        address = redis_server.address
        environ = {"ARQUBE_REDIS_HOST": address.host, "ARQUBE_REDIS_PORT": str(address.port)}
        configuration = settings.configure(settings.LoadedSettings("test", {"functions": functions}), environ)
        worker = Worker(configuration, name="here", metrics=Metrics(CollectorRegistry()))
        await arq_client.enqueue_job(functions[0].name, _job_id="first")
        serving = asyncio.create_task(worker.serve())
        try:
            await asyncio.wait_for(event.wait(), WITHIN_S)
        finally:
            worker.drain.request()
            worker.drain.request()
            await asyncio.wait_for(serving, WITHIN_S)

    return run


def jump(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Put arq's clock, and so the worker's, ahead or behind."""
    monkeypatch.setattr("arq.utils.time", lambda: time.time() + seconds)


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
