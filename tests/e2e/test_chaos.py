"""A short run of the chaos suite, and one whose jobs are tampered with, which the checker must notice."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from benchmarks.chaos import checker
from benchmarks.chaos.every_fault import FAULTS
from benchmarks.chaos.faults import Catalogue, Explains, Fault, NothingToStrikeError, Part, Setup, Victims, by_name
from benchmarks.chaos.run import Report, Wanted, perform
from benchmarks.chaos.stage import Stage

from arqube_queue import keys

pytestmark = pytest.mark.timeout(400)

TAMPERING = Catalogue()


async def one_of(redis: Any, pattern: str) -> str:
    """The name of a key; one of a job in the queue ``bulk`` that has nothing else to it."""
    async for name in redis.scan_iter(match=pattern, count=1000):
        return str(name.decode())
    raise NothingToStrikeError(pattern)


@TAMPERING.fault("a waiting job vanishes", Part.REDIS, Explains.NOTHING)
async def vanishes(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    async with stage.redis.direct(stage.redis.servers[0]) as redis:
        name = await one_of(redis, f"{keys.JOB_PREFIX}bulk.later.*")
        job_id = name.removeprefix(keys.JOB_PREFIX)
        await redis.zrem("chaos:bulk", job_id)
        await redis.delete(name)
    yield ()


@TAMPERING.fault("a completed job is put back", Part.REDIS, Explains.NOTHING)
async def put_back(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    async with stage.redis.direct(stage.redis.servers[0]) as redis:
        waiting = await one_of(redis, f"{keys.JOB_PREFIX}bulk.later.*")  # Its payload serves as the other's.
        job_id = (await one_of(redis, f"{keys.RESULT_PREFIX}bulk.noop.*")).removeprefix(keys.RESULT_PREFIX)
        await redis.copy(waiting, keys.JOB_PREFIX + job_id)
        await redis.zadd("chaos:bulk", {job_id: 1})
    yield ()


@TAMPERING.fault("a dead letter is damaged", Part.REDIS, Explains.NOTHING)
async def damaged(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    async with stage.redis.direct(stage.redis.servers[0]) as redis:
        name = await one_of(redis, keys.dead_letter("chaos:bulk", "bulk.fails.*"))
        await redis.hset(name, "payload", b"something else")
    yield ()


@TAMPERING.fault("a key is left over", Part.REDIS, Explains.NOTHING)
async def left_over(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    async with stage.redis.direct(stage.redis.servers[0]) as redis:
        await redis.set(f"{keys.IN_PROGRESS_PREFIX}bulk.noop.x", "x")
    yield ()


async def run(catalogue: dict[str, Fault], *, faults: int) -> Report:
    return await perform(Wanted(1, Setup.AOF, 3000, faults, 9.0, catalogue), lambda text: None)


async def test_a_run_under_fire_keeps_every_promise() -> None:
    chosen = ("worker: kill -9", "worker: SIGTERM", "redis: kill -9 and restart", "network: all connections cut")
    report = await run({name: replace(FAULTS[name], weight=1) for name in chosen}, faults=4)

    assert report.verdict.violations == []
    assert report.verdict.acknowledged == 3000 == sum(report.verdict.ended.values())
    assert {each.fault for each in report.struck} == set(chosen)
    assert report.verdict.ended["succeeded"] > 2500
    assert {"failed", "timeout", "tries_exhausted", "undecodable", "unknown_function"} <= set(report.verdict.ended)


async def test_a_run_whose_jobs_are_tampered_with_is_found_out() -> None:
    report = await run(by_name(TAMPERING.faults), faults=4)

    assert {each.fault for each in report.struck} == {each.name for each in TAMPERING.faults}
    broken = {promise: report.verdict.count(promise) for promise in checker.PROMISES if report.verdict.count(promise)}
    assert broken == {checker.LOST: 1, checker.COMPLETED: 1, checker.PAYLOAD: 1, checker.NOTHING_LEFT: 1}
