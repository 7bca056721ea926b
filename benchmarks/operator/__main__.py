"""``python -m benchmarks.operator``: what one operator needs for many TaskQueues, and how fast it follows a burst.

Against the fake API server and a real Redis, each a process of its own as the operator is. One TaskQueue in ten has
work that changes each second, the others are idle. ``--json`` ends with one line of JSON, ``--output`` writes it to a
file. Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import operator as compare
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from arqube_local.redis_server import RedisServer
from arqube_operator.kube.client import KubeClient
from arqube_operator.observe.queues import TICK_S
from benchmarks import table
from benchmarks.operator.fleet import Fleet
from benchmarks.operator.processes import Operator, Samples, api_server, operator, until
from benchmarks.signals import end_as_by_ctrl_c
from benchmarks.table import Must

QUEUES: Final = 2000
BUSY_SHARE: Final = 0.1
STEADY_S: Final = 30.0
BURSTS: Final = 200
BURST_JOBS: Final = 25
BURST_PAUSE_S: Final = 0.25
"""Mean pause between bursts: random, so that they fall on all moments between two ticks."""
BURST_TIMEOUT_S: Final = 30.0
DRAIN_AFTER_S: Final = 3.0
SETTLE_S: Final = 15.0
LOOK_S: Final = 5.0
"""Pause between looks at the operator's metrics, which take it long to tell."""
START_TIMEOUT_S: Final = 300.0

_TICK: Final = "arqube_operator_tick_delay_seconds"
_PIPELINES: Final = "arqube_operator_redis_pipelines_total"

MUSTS: Final = (
    Must("memory of the operator at its most, MiB", "peak_mib", compare.le, 200),
    Must("CPU of the operator, cores", "cpu_cores", compare.le, 0.5),
    Must("ticks that began later than a period after they were due", "late_ticks", compare.le, 0),
    Must("burst in Redis -> /scale at the API server, p99, s", "burst_p99_s", compare.le, 1.5),
)
FACTS: Final = (
    ("memory of the operator, MiB", "resident_mib"),
    ("burst in Redis -> /scale at the API server, p50, s", "burst_p50_s"),
    ("most that a tick began after it was due, s, no more than", "tick_delay_max_s"),
    ("pipelines a tick", "pipelines_per_tick"),
    ("restart until all TaskQueues are looked at, s", "start_s"),
    ("reconcile passes a second", "passes_per_s"),
    ("pods", "pods"),
)


def _of_bucket(name: str) -> float:
    return float(name.partition(":")[2])


def _ticks(before: Samples, after: Samples) -> dict[str, Any]:
    """What the histogram of the ticks' delays says of the time between two looks at it."""
    ticks = after[f"{_TICK}_count"] - before[f"{_TICK}_count"]
    within = {
        _of_bucket(name): value - before[name] for name, value in after.items() if name.startswith(f"{_TICK}_bucket:")
    }
    return {
        "ticks": int(ticks),
        "late_ticks": int(ticks - within[TICK_S]),
        "tick_delay_max_s": min(limit for limit, count in within.items() if count == ticks),
        "pipelines_per_tick": round((after[_PIPELINES] - before[_PIPELINES]) / ticks, 2),
    }


async def _bursts(fleet: Fleet) -> dict[str, float]:
    """Seconds from jobs in Redis to the number of workers at the API server, over bursts on idle queues."""
    took: list[float] = []

    async def burst(name: str) -> None:
        began = time.monotonic()
        await fleet.burst(name, BURST_JOBS)

        async def scaled() -> bool:
            return fleet.scaled[name][1] >= began

        await until(scaled, f"{name} is scaled", timeout_s=BURST_TIMEOUT_S)
        took.append(fleet.scaled[name][1] - began)
        await asyncio.sleep(DRAIN_AFTER_S)
        await fleet.drain(name)

    async with asyncio.TaskGroup() as group:
        for name in random.sample(fleet.idle, min(BURSTS, len(fleet.idle))):
            group.create_task(burst(name))
            await asyncio.sleep(random.expovariate(1 / BURST_PAUSE_S))
    return {
        "bursts": len(took),
        "burst_p50_s": round(statistics.median(took), 3),
        "burst_p99_s": round(sorted(took)[math.ceil(0.99 * len(took)) - 1], 3),
        "burst_max_s": round(max(took), 3),
    }


async def _settled(process: Operator, queues: int) -> float:
    """The monotonic clock's time at which it had read all queues, and done what there was to do."""

    async def all_seen() -> bool:
        samples = await process.samples()
        seen = samples.get("arqube_taskqueue_redis_up", 0) >= queues
        return seen and samples["arqube_operator_waiting_passes"] <= queues * BUSY_SHARE

    await until(all_seen, f"{queues} TaskQueues are looked at", timeout_s=START_TIMEOUT_S, pause_s=LOOK_S)
    return time.monotonic()


async def _steady(process: Operator, fleet: Fleet) -> dict[str, Any]:
    """What the operator needs while the busy queues' work changes, then while bursts come on top."""
    before, cpu_s, began = await process.samples(), process.cpu_s(), time.monotonic()
    await asyncio.sleep(STEADY_S)
    used = (process.cpu_s() - cpu_s) / (time.monotonic() - began)
    resident, pods, middle = process.resident_mib(), fleet.pods, await process.samples()
    passes = "arqube_operator_reconcile_duration_seconds_count"
    bursts = await _bursts(fleet)
    return {
        "cpu_cores": round(used, 3),
        "resident_mib": round(resident, 1),
        "passes_per_s": round((middle[passes] - before[passes]) / STEADY_S, 1),
        "pods": pods,
        **bursts,
        **_ticks(before, await process.samples()),
        "peak_mib": round(process.peak_mib(), 1),
    }


async def _measure(redis: RedisServer, folder: Path, queues: int) -> dict[str, Any]:
    busy = round(queues * BUSY_SHARE)
    figures: dict[str, Any] = {"machine": table.machine(), "queues": queues, "busy": busy, "tick_s": TICK_S}
    async with api_server(folder) as kubeconfig:
        client, connection = await KubeClient.from_config(str(kubeconfig)), redis.address.connect()
        fleet = Fleet(client, connection, redis.address.port, queues - busy, busy)
        try:
            _say(f"making {queues} TaskQueues")
            await fleet.create()
            # A fleet that fails ends the measuring: its figures would be those of another load.
            async with asyncio.TaskGroup() as group:
                playing = [group.create_task(fleet.follow()), group.create_task(fleet.work())]
                figures |= await _measure_operator(fleet, folder, kubeconfig)
                for task in playing:
                    task.cancel()
        finally:
            await connection.aclose()
            await client.close()
    return figures


async def _measure_operator(fleet: Fleet, folder: Path, kubeconfig: Path) -> dict[str, Any]:
    _say("starting the operator")
    began = time.monotonic()
    async with operator(folder, kubeconfig) as process:
        start_s = await _settled(process, fleet.size) - began
        _say(f"all looked at after {start_s:.1f} s; measuring for {STEADY_S:.0f} s, then {BURSTS} bursts")
        await asyncio.sleep(SETTLE_S)
        return {"start_s": round(start_s, 1), **await _steady(process, fleet)}


def _say(what: str) -> None:
    """Tell of the progress where it is in no one's way."""
    print(what, file=sys.stderr, flush=True)


def _table(figures: Mapping[str, Any]) -> str:
    lines = [figures["machine"]]
    lines.append(f"{figures['queues']} TaskQueues on one Redis, {figures['busy']} of them with work that changes")
    lines += ["", *(f"{what:62} {figures[key]:>9}" for what, key in FACTS), "", *table.rows(MUSTS, figures)]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    end_as_by_ctrl_c()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.operator", description=__doc__)
    parser.add_argument("--queues", type=int, default=QUEUES, help="TaskQueues (%(default)s)")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--output", type=Path, help="write the JSON to this file")
    options = parser.parse_args()
    with RedisServer() as redis, tempfile.TemporaryDirectory(prefix="arqube-benchmark-") as folder:
        figures = asyncio.run(_measure(redis, Path(folder), options.queues))
    print(_table(figures))
    if options.output:
        options.output.write_text(json.dumps(figures, indent=2) + "\n")
    if options.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
