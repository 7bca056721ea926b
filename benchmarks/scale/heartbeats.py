"""One queue and more and more workers: what their heartbeats cost the operator, Redis, people and the workers.

The operator sees to one TaskQueue that asks for so many pods, each of which writes a worker's heartbeat each second.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis

from arqube_local.loopback import free_port
from arqube_local.redis_server import RedisServer
from arqube_operator.kube.client import TASK_QUEUES, KubeClient
from arqube_queue import heartbeat, turns
from arqube_queue.snapshot import SnapshotQuery, read_snapshots
from arqube_queue.turns import Death, End, Lease, Policy, Turns
from benchmarks.operator import measures
from benchmarks.operator.fleet import NAMESPACE, Fleet
from benchmarks.operator.processes import MANAGER, Operator, api_server, operator, page, until
from benchmarks.scale.commands import arqube
from benchmarks.scale.redis_costs import answer_bytes, cost

SIZES: Final = (1, 10, 100, 300, 1000, 2000)
STEADY_S: Final = 8.0
SETTLE_S: Final = 3.0
LOOKS: Final = 20
TIMEOUT_S: Final = 600.0
QUEUE: Final = "busy-0"
"""The fleet's name of its first queue with work."""


async def measure(folder: Path, sizes: Sequence[int]) -> dict[str, Any]:
    """The figures of each number of workers."""
    async with AsyncExitStack() as stack:
        server = stack.enter_context(RedisServer())
        kubeconfig = await stack.enter_async_context(api_server(folder))
        client = await KubeClient.from_config(str(kubeconfig))
        stack.push_async_callback(client.close)
        redis = server.address.connect()
        stack.push_async_callback(redis.aclose)
        fleet = Fleet(client, [server.address])
        stack.push_async_callback(fleet.close)
        await fleet.grow(0, 1)
        figures = []
        async with asyncio.TaskGroup() as group:
            following = group.create_task(fleet.follow())
            for size in sizes:
                await _ask_for(client, size)
                figures.append(await _measure_size(folder, kubeconfig, fleet, redis, server.url, size))
                print(f"{size} workers: {figures[-1]}", file=sys.stderr, flush=True)
            following.cancel()
        return {"sizes": figures}


async def _ask_for(client: KubeClient, workers: int) -> None:
    scaling = {"minReplicas": workers, "maxReplicas": workers}
    body = {"apiVersion": TASK_QUEUES.api_version, "kind": TASK_QUEUES.kind, "spec": {"scaling": scaling}}
    await client.apply(TASK_QUEUES, NAMESPACE, QUEUE, {**body, "metadata": {"name": QUEUE}}, field_manager=MANAGER)


async def _measure_size(
    folder: Path, kubeconfig: Path, fleet: Fleet, redis: Redis, url: str, workers: int
) -> dict[str, Any]:
    port = free_port()
    async with operator(folder, kubeconfig, ARQUBE_CONSOLE_PORT=str(port)) as process:
        working = asyncio.create_task(fleet.work())
        try:

            async def all_beat() -> bool:
                beating: int = await redis.hlen(f"arqube:{QUEUE}:heartbeats")  # type: ignore[misc]
                return fleet.pods == beating == workers

            await until(all_beat, f"{workers} workers write heartbeats", timeout_s=TIMEOUT_S)
            # A pass with all of them, and the statuses that come of it.
            await asyncio.sleep(SETTLE_S)
            seen = await _operator(process, redis)
            console = await _console(port)
            listed_s = await arqube("workers", "--redis", url, "--queue", QUEUE)
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
        # The heartbeats stay for a while: long enough to look at what they cost when nobody else is at Redis.
        costs = await _costs(redis)
    return {"workers": workers, **seen, **console, "workers_command_s": listed_s, **costs}


async def _operator(process: Operator, redis: Redis) -> dict[str, Any]:
    before, written = await measures.counted(process), await redis.info("commandstats")
    needs = await measures.steady(process, STEADY_S)
    after, rewritten = await measures.counted(process), await redis.info("commandstats")
    passes_s, passes = (after[name] - before[name] for name in (f"{measures.PASSES}_sum", f"{measures.PASSES}_count"))
    beats = rewritten["cmdstat_pexpire"]["calls"] - written["cmdstat_pexpire"]["calls"]
    return {
        "operator_cpu_cores": needs["cpu_cores"],
        "operator_mib": needs["resident_mib"],
        "pass_ms": round(1000 * passes_s / max(1, passes), 2),
        "late_ticks": measures.ticks(before, after)["late_ticks"],
        "heartbeats_per_s": round(beats / STEADY_S, 1),
    }


async def _console(port: int) -> dict[str, Any]:
    """What a person waits for who looks at the queue in the console."""
    began = time.monotonic()
    text = await page(port, f"/queues/{NAMESPACE}/{QUEUE}")
    took = time.monotonic() - began
    if QUEUE not in text:
        raise RuntimeError("the console does not show the queue")
    return {"console_s": round(took, 3), "console_bytes": len(text)}


async def _costs(redis: Redis) -> dict[str, Any]:
    """What the heartbeats that are there cost a snapshot, another heartbeat, and the turns of a worker."""
    query, beat = SnapshotQuery(QUEUE, horizon_s=10.0), (await heartbeat.read(redis, QUEUE))[0]
    us = Turns(redis, QUEUE, worker=beat.worker, token="us", policy=Policy())  # noqa: S106
    await redis.zadd(QUEUE, {f"job-{number}": 1000 for number in range(3 * LOOKS)})
    leases = (await us.take([], now_ms=int(time.time() * 1000), limit=3 * LOOKS)).leases
    stranger = Death("unknown_function", "nobody_knows", "", "", 1, 0)

    async def end(how: Callable[[Lease], End]) -> None:
        await us.take([how(leases.pop())], now_ms=int(time.time() * 1000), limit=0)

    found = {
        "snapshot": await cost(redis, lambda: read_snapshots(redis, [query]), LOOKS),
        "heartbeat": await cost(redis, lambda: heartbeat.write(redis, QUEUE, beat), LOOKS),
        "turn": await cost(redis, lambda: end(lambda lease: turns.finish(lease, None)), LOOKS),
        "unknown_function_turn": await cost(redis, lambda: end(lambda job: turns.put_back(job, None, stranger)), LOOKS),
    }
    named = {f"{what}_{name}": value for what, each in found.items() for name, value in asdict(each).items()}
    return {**named, "snapshot_bytes": await answer_bytes(redis, lambda: read_snapshots(redis, [query]))}
