"""What is measured of an operator that runs: its ticks, its answers to bursts, and what it needs meanwhile."""

from __future__ import annotations

import asyncio
import math
import random
import statistics
import time
from typing import Any, Final

from arqube_operator.observe.queues import TICK_S
from benchmarks.operator.fleet import Fleet
from benchmarks.operator.processes import Operator, Samples, until

BURST_JOBS: Final = 25
BURST_TIMEOUT_S: Final = 120.0
DRAIN_AFTER_S: Final = 3.0

TICKS: Final = "arqube_operator_tick_delay_seconds"
PIPELINES: Final = "arqube_operator_redis_pipelines"
PASSES: Final = "arqube_operator_reconcile_duration_seconds"
APPLY: Final = "patch deployments"

_COUNTED: Final = (
    *(f"{TICKS}_{part}" for part in ("bucket", "count")),
    *(f"{PASSES}_{part}" for part in ("sum", "count")),
    f"{PIPELINES}_total",
)


async def counted(process: Operator) -> Samples:
    """The samples of ticks, passes and pipelines, without those of all TaskQueues, which take an operator long."""
    return await process.samples(*_COUNTED)


def ticks(before: Samples, after: Samples) -> dict[str, Any]:
    """What the histogram of the ticks' delays says of the time between two looks at it."""
    number = after[f"{TICKS}_count"] - before[f"{TICKS}_count"]
    within = {
        float(name.partition(":")[2]): value - before[name]
        for name, value in after.items()
        if name.startswith(f"{TICKS}_bucket:")
    }
    return {
        "ticks": int(number),
        "late_ticks": int(number - within[TICK_S]),
        "tick_delay_max_s": min(limit for limit, count in within.items() if count == number),
        "pipelines_per_tick": round((after[f"{PIPELINES}_total"] - before[f"{PIPELINES}_total"]) / number, 2),
    }


async def steady(process: Operator, seconds: float) -> dict[str, Any]:
    """What the operator needs while the busy queues' work changes for so many seconds.

    Applies of Deployments are told apart: in the minutes after a start each is made anew once, if slowly.
    """
    before, requests = await counted(process), await process.api_requests()
    cpu_s, began = process.cpu_s(), time.monotonic()
    await asyncio.sleep(seconds)
    took, used = time.monotonic() - began, process.cpu_s() - cpu_s
    after, more = await counted(process), await process.api_requests()
    per_s = {what: round((number - requests[what]) / took, 2) for what, number in sorted(more.items())}
    return {
        "cpu_cores": round(used / took, 3),
        "resident_mib": round(process.resident_mib(), 1),
        "passes_per_s": round((after[f"{PASSES}_count"] - before[f"{PASSES}_count"]) / took, 1),
        "api_requests_per_s": round(sum(per_s.values()) - per_s.get(APPLY, 0), 1),
        "applies_per_s": per_s.get(APPLY, 0),
        "api_requests_by_verb_per_s": {what: rate for what, rate in per_s.items() if rate > 0},
    }


async def bursts(fleet: Fleet, number: int, pause_s: float) -> dict[str, float]:
    """Seconds from jobs in Redis to the number of workers at the API server, over bursts on idle queues.

    ``pause_s`` is the mean pause between them: random, so that they fall on all moments between two ticks.
    """
    took: list[float] = []

    async def burst(name: str) -> None:
        began = time.monotonic()
        await fleet.burst(name, BURST_JOBS)

        async def scaled() -> bool:
            return name in fleet.scaled and fleet.scaled[name][1] >= began

        await until(scaled, f"{name} is scaled", timeout_s=BURST_TIMEOUT_S)
        took.append(fleet.scaled[name][1] - began)
        await asyncio.sleep(DRAIN_AFTER_S)
        await fleet.drain(name)

    async with asyncio.TaskGroup() as group:
        # Those that still have workers of a former burst may need no more.
        asleep = [name for name in fleet.idle if fleet.scaled.get(name, (0,))[0] == 0]
        for name in random.sample(asleep, min(number, len(asleep))):
            group.create_task(burst(name))
            await asyncio.sleep(random.expovariate(1 / pause_s))
    return {
        "bursts": len(took),
        "burst_p50_s": round(statistics.median(took), 3),
        "burst_p99_s": round(sorted(took)[math.ceil(0.99 * len(took)) - 1], 3),
        "burst_max_s": round(max(took), 3),
    }
