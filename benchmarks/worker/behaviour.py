"""What else is asked of a worker: start latency, idle reads, full fleets, recovery from a kill, memory."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import random
import statistics
import sys
import time
from asyncio.subprocess import PIPE
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Final

from arq.connections import ArqRedis
from arq.jobs import Job

from arqube_queue import environment as env
from arqube_queue.keys import DEFAULT_QUEUE
from benchmarks.worker.app import RUNNING, STARTS
from benchmarks.worker.contenders import ARQ, ARQUBE_10, REPOSITORY, Contender
from benchmarks.worker.processes import client, requests, running, until

SAMPLES: Final = 400
IDLE_S: Final = 10.0
WORKERS: Final = 40
SLOTS: Final = 10
RESULT_TIMEOUT_S: Final = 60.0


async def _warm(redis: ArqRedis) -> None:
    """Wait until the worker has run a job."""
    job = await redis.enqueue_job("stamp")
    if job is None:
        raise RuntimeError("the job's id is taken")
    await job.result(timeout=RESULT_TIMEOUT_S, poll_delay=0.05)


async def start_latency(port: int, rounds: int) -> dict[str, float]:
    """Milliseconds from the call of arq's ``enqueue_job`` to the job's start on an idle worker, and its idle reads.

    The call's own three round trips are part of it; ``start_after_enqueued`` is without them, from the call's return.
    ``start_bare`` is the same from the call to the least that a worker could do, measured in turns: what is left of
    ``start`` when no work is done at all. Each figure is the median of so many rounds.
    """
    measured = [await _start_latency_once(port, ARQUBE_10) | await _bare_latency_once(port) for _ in range(rounds)]
    return {figure: round(statistics.median(one[figure] for one in measured), 2) for figure in measured[0]}


async def _start_latency_once(port: int, contender: Contender) -> dict[str, float]:
    async with client(port) as redis, running(contender, port):
        await _warm(redis)
        await asyncio.sleep(1)
        before = await requests(redis)
        await asyncio.sleep(IDLE_S)
        reads = await requests(redis) - before - 1  # one is our own
        calls, jobs = await _enqueue(redis)
        await asyncio.sleep(1)
        started = [await job.result(timeout=RESULT_TIMEOUT_S) for job in jobs if job]
    waits = [(start - call) * 1000 for (call, _), start in zip(calls, started, strict=True)]
    after = [(start - done) * 1000 for (_, done), start in zip(calls, started, strict=True)]
    return {
        **_percentiles("start", waits),
        **_percentiles("start_after_enqueued", after),
        "idle_reads_per_s": reads / IDLE_S,
    }


async def _bare_latency_once(port: int) -> dict[str, float]:
    async with client(port) as redis:
        command = (sys.executable, "-m", "benchmarks.worker.bare")
        environment = {**os.environ, "BENCH_REDIS_PORT": str(port)}
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, cwd=REPOSITORY, stdin=PIPE, stdout=PIPE
        )
        await until(lambda: _is_tracking(redis), "the bare worker is there")
        calls, _ = await _enqueue(redis)
        await until(lambda: _empty(redis), "all jobs are taken")
        printed, _ = await process.communicate(b"")
    taken = [float(line) for line in printed.split()]
    return _percentiles("start_bare", [(at - call) * 1000 for (call, _), at in zip(calls, taken, strict=True)])


async def _enqueue(redis: ArqRedis) -> tuple[list[tuple[float, float]], list[Job | None]]:
    """Enqueue job after job to an idle worker; when each call began and returned, and the jobs."""
    calls, jobs = [], []
    for _ in range(SAMPLES):
        await asyncio.sleep(random.uniform(0.015, 0.045))  # noqa: S311
        called = time.monotonic()
        jobs.append(await redis.enqueue_job("stamp"))
        calls.append((called, time.monotonic()))
    return calls, jobs


def _percentiles(name: str, waits_ms: list[float]) -> dict[str, float]:
    return {
        f"{name}_p50_ms": statistics.median(waits_ms),
        f"{name}_p99_ms": statistics.quantiles(waits_ms, n=100)[98],
    }


async def max_running(port: int, contender: Contender = ARQUBE_10) -> dict[str, float]:
    """How many jobs run at once with 40 processes of 10 slots."""
    async with client(port) as redis, AsyncExitStack() as stack:
        for _ in range(WORKERS * SLOTS):
            await redis.enqueue_job("hold")
        processes = [await stack.enter_async_context(running(contender, port)) for _ in range(WORKERS)]

        async def full() -> bool:
            return await _holding(redis) >= WORKERS * SLOTS

        with suppress(TimeoutError):  # fewer is a figure too
            await until(full, f"{WORKERS * SLOTS} jobs at once")
        # A set of ids and no worker gone: each counted job runs, and runs once.
        alive = all(process.returncode is None for process in processes)
        count = await _holding(redis) if alive else 0
        for process in processes:
            process.kill()
    return {"max_running": count}


async def recovery(port: int, rounds: int, contender: Contender = ARQUBE_10) -> dict[str, float]:
    """Seconds from kill -9 of the worker that runs a job to the job's next start, on another worker."""
    one_slot = dataclasses.replace(contender, environment={**contender.environment, env.CONCURRENCY: "1"})
    took = []
    for _ in range(rounds):
        async with client(port) as redis, running(one_slot, port) as one, running(one_slot, port) as other:
            # Both take a job first, so that both are up.
            await redis.enqueue_job("hold")
            await redis.enqueue_job("hold")
            await until(lambda: _started(redis, 2), "both workers started")
            await redis.delete(STARTS, RUNNING)
            other.kill()
            killed = time.monotonic()
            async with running(one_slot, port):
                await until(lambda: _started(redis, 1), "the job runs again")
                took.append(time.monotonic() - killed)
            one.kill()
    return {"recovery_s": round(statistics.median(took), 2)}


async def _empty(redis: ArqRedis) -> bool:
    return not await redis.zcard(DEFAULT_QUEUE)


async def _is_tracking(redis: ArqRedis) -> bool:
    return int((await redis.info("clients"))["tracking_clients"]) > 0


async def _holding(redis: ArqRedis) -> int:
    return int(await redis.scard(RUNNING))  # type: ignore[misc]


async def _started(redis: ArqRedis, count: int) -> bool:
    return int(await redis.llen(STARTS)) >= count  # type: ignore[misc]


async def idle_memory(port: int, rounds: int) -> dict[str, float]:
    """MiB of resident memory of an idle worker beyond plain arq's, each after its first job."""
    resident: dict[str, list[float]] = {ARQ.label: [], ARQUBE_10.label: []}
    for _ in range(rounds):
        for contender in (ARQ, ARQUBE_10):
            async with client(port) as redis, running(contender, port) as process:
                await _warm(redis)
                await asyncio.sleep(2)
                resident[contender.label].append(_resident_mib(process.pid))
    plain, ours = (statistics.median(values) for values in resident.values())
    return {"idle_memory_mib": round(ours - plain, 1), "arq_memory_mib": round(plain, 1)}


def _resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))) / 1024
