"""One operator and more and more TaskQueues: what it needs, how late it is, how soon it is there after a start.

At each size the former operator is stopped and another is started on the cluster as it is (a warm start), a standby
waits beside it, and at the end the leader is killed. One TaskQueue in 25 has work that changes each second.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from arqube_local.redis_server import RedisServer
from arqube_operator.kube.client import KubeClient
from benchmarks.operator import measures
from benchmarks.operator.fleet import SHARDS, Fleet
from benchmarks.operator.processes import Operator, api_server, operator, until

SIZES: Final = (100, 500, 1000, 2000, 5000)
REDIS_SERVERS: Final = 10
BUSY_SHARE: Final = 0.04
STEADY_S: Final = 15.0
BURSTS: Final = 100
BURST_PAUSE_S: Final = 0.1
SETTLE_S: Final = 5.0
TIMEOUT_S: Final = 600.0

TASK_QUEUES: Final = "arqube_operator_taskqueues"
WAITING: Final = "arqube_operator_waiting_passes"
LEADER: Final = "arqube_operator_leader"


async def measure(folder: Path, sizes: Sequence[int]) -> dict[str, Any]:
    """The figures of each size, then those of the shards of the largest."""
    async with _cluster(folder) as (fleet, kubeconfig):
        figures = []
        for size in sizes:
            await _grow(folder, kubeconfig, fleet, size)
            figures.append(await _measure_size(folder, kubeconfig, fleet))
            _say(f"{size} TaskQueues: {figures[-1]}")
        shards = await _measure_shards(folder, kubeconfig, fleet)
        _say(f"shards: {shards}")
    return {"redis_servers": REDIS_SERVERS, "sizes": figures, "shards": shards}


@asynccontextmanager
async def _cluster(folder: Path) -> AsyncIterator[tuple[Fleet, Path]]:
    """The API server, the Redis servers, and a fleet that plays the rest of the cluster."""
    async with AsyncExitStack() as stack:
        servers = [stack.enter_context(RedisServer()) for _ in range(REDIS_SERVERS)]
        kubeconfig = await stack.enter_async_context(api_server(folder))
        client = await KubeClient.from_config(str(kubeconfig))
        stack.push_async_callback(client.close)
        fleet = Fleet(client, [server.address for server in servers])
        stack.push_async_callback(fleet.close)
        await fleet.grow(0, 0)
        # A fleet that fails ends the measuring: its figures would be those of another load.
        async with asyncio.TaskGroup() as group:
            playing = [group.create_task(fleet.follow()), group.create_task(fleet.work())]
            yield fleet, kubeconfig
            for task in playing:
                task.cancel()


async def _grow(folder: Path, kubeconfig: Path, fleet: Fleet, size: int) -> None:
    """Make TaskQueues, and let an operator look at them, so that the next one finds them as they will stay."""
    began, busy = time.monotonic(), round(size * BUSY_SHARE)
    async with operator(folder, kubeconfig) as former:
        await fleet.grow(size - busy, busy)
        _say(f"{size} TaskQueues are made after {time.monotonic() - began:.0f} s")
        await _started(former, size, began)
        await asyncio.sleep(SETTLE_S)


async def _measure_size(folder: Path, kubeconfig: Path, fleet: Fleet) -> dict[str, Any]:
    began = time.monotonic()
    async with operator(folder, kubeconfig) as leader:
        start = await _started(leader, fleet.size, began)
        async with operator(folder, kubeconfig) as standby:
            await asyncio.sleep(SETTLE_S)
            before = await measures.counted(leader)
            needs = {**await measures.steady(leader, STEADY_S), "pods": fleet.pods}
            bursts = await measures.bursts(fleet, BURSTS, BURST_PAUSE_S)
            lateness = measures.ticks(before, await measures.counted(leader))
            scrape = await _scrape(leader)
            peak_mib = round(leader.peak_mib(), 1)
            killed = time.monotonic()
            await leader.kill()
            takeover = await _started(standby, fleet.size, killed)
    return {
        "queues": fleet.size,
        "busy": len(fleet.busy),
        "peak_mib": peak_mib,
        **needs,
        **bursts,
        **lateness,
        **scrape,
        **{f"start_{what}": value for what, value in start.items()},
        **{f"takeover_{what}": value for what, value in takeover.items() if what != "ready_s"},
    }


async def _started(process: Operator, queues: int, began: float) -> dict[str, Any]:
    """Seconds since ``began`` until it is ready, leads, has looked at all TaskQueues once, and none waits for a pass.

    Also what that took: seconds of CPU, and requests to the API server.
    """
    found: dict[str, Any] = {}

    def since(name: str) -> None:
        found.setdefault(name, round(time.monotonic() - began, 2))

    async def is_calm() -> bool:
        if await process.get("/readyz"):
            since("ready_s")
        samples = await process.samples(LEADER, TASK_QUEUES, WAITING)
        if samples.get(LEADER, 0) < 1:
            return False
        since("leads_s")
        if samples[TASK_QUEUES] < queues:
            return False
        since("all_read_s")
        return samples[WAITING] <= queues * BUSY_SHARE

    await until(is_calm, f"{queues} TaskQueues are looked at", timeout_s=TIMEOUT_S)
    since("calm_s")
    requests = await process.api_requests()
    return {**found, "cpu_s": round(process.cpu_s(), 1), "api_requests": dict(requests)}


async def _scrape(process: Operator) -> dict[str, Any]:
    """What a scrape of all series takes."""
    began = time.monotonic()
    text = await process.get("/metrics")
    return {"scrape_s": round(time.monotonic() - began, 2), "scrape_mib": round(len(text) / 2**20, 2)}


async def _measure_shards(folder: Path, kubeconfig: Path, fleet: Fleet) -> list[dict[str, Any]]:
    """What two operators need that share the TaskQueues by a label, side by side."""
    async with AsyncExitStack() as stack:
        began, shards = time.monotonic(), {}
        for name in SHARDS:
            environment = {"ARQUBE_WATCH_LABEL_SELECTOR": f"shard={name}", "ARQUBE_LEASE_NAME": f"shard-{name}"}
            shards[name] = await stack.enter_async_context(operator(folder, kubeconfig, **environment))
        served = {name: fleet.size_of(name) for name in SHARDS}
        starts = await asyncio.gather(*(_started(shards[name], served[name], began) for name in SHARDS))
        await asyncio.sleep(SETTLE_S)
        before = [await measures.counted(process) for process in shards.values()]
        needs = await asyncio.gather(*(measures.steady(process, STEADY_S) for process in shards.values()))
        after = [await measures.counted(process) for process in shards.values()]
        return [
            {
                "shard": name,
                "queues": served[name],
                "peak_mib": round(shards[name].peak_mib(), 1),
                **need,
                **measures.ticks(*counted),
                **{f"start_{what}": value for what, value in start.items()},
            }
            for name, need, start, *counted in zip(SHARDS, needs, starts, before, after, strict=True)
        ]


def _say(what: str) -> None:
    """Tell of the progress where it is in no one's way."""
    print(what, file=sys.stderr, flush=True)
