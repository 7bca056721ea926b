"""``python -m benchmarks.operator``: what one operator needs for many TaskQueues, and how fast it follows a burst.

Against the fake API server and a real Redis, each a process of its own as the operator is. One TaskQueue in ten has
work that changes each second, the others are idle. ``--json`` ends with one line of JSON, ``--output`` writes it to a
file. Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import operator as compare
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
from benchmarks.operator import measures
from benchmarks.operator.fleet import Fleet
from benchmarks.operator.processes import Operator, api_server, operator, until
from benchmarks.signals import end_as_by_ctrl_c
from benchmarks.table import Must

QUEUES: Final = 2000
BUSY_SHARE: Final = 0.1
STEADY_S: Final = 30.0
BURSTS: Final = 200
BURST_PAUSE_S: Final = 0.25
"""Mean pause between bursts: random, so that they fall on all moments between two ticks."""
SETTLE_S: Final = 15.0
START_TIMEOUT_S: Final = 300.0

TASK_QUEUES: Final = "arqube_operator_taskqueues"
WAITING: Final = "arqube_operator_waiting_passes"

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
    ("requests to the API server a second", "api_requests_per_s"),
    ("pods", "pods"),
)


async def _settled(process: Operator, queues: int) -> float:
    """The monotonic clock's time at which it had read all queues, and done what there was to do."""

    async def all_seen() -> bool:
        samples = await process.samples(TASK_QUEUES, WAITING)
        return samples.get(TASK_QUEUES, 0) >= queues and samples[WAITING] <= queues * BUSY_SHARE

    await until(all_seen, f"{queues} TaskQueues are looked at", timeout_s=START_TIMEOUT_S)
    return time.monotonic()


async def _steady(process: Operator, fleet: Fleet) -> dict[str, Any]:
    """What the operator needs while the busy queues' work changes, then while bursts come on top."""
    before = await measures.counted(process)
    needs = {**await measures.steady(process, STEADY_S), "pods": fleet.pods}
    bursts = await measures.bursts(fleet, BURSTS, BURST_PAUSE_S)
    lateness = measures.ticks(before, await measures.counted(process))
    return {**needs, **bursts, **lateness, "peak_mib": round(process.peak_mib(), 1)}


async def _measure(redis: RedisServer, folder: Path, queues: int) -> dict[str, Any]:
    busy = round(queues * BUSY_SHARE)
    figures: dict[str, Any] = {"machine": table.machine(), "queues": queues, "busy": busy, "tick_s": TICK_S}
    async with api_server(folder) as kubeconfig:
        client = await KubeClient.from_config(str(kubeconfig))
        fleet = Fleet(client, [redis.address])
        try:
            _say(f"making {queues} TaskQueues")
            await fleet.grow(queues - busy, busy)
            # A fleet that fails ends the measuring: its figures would be those of another load.
            async with asyncio.TaskGroup() as group:
                playing = [group.create_task(fleet.follow()), group.create_task(fleet.work())]
                figures |= await _measure_operator(fleet, folder, kubeconfig)
                for task in playing:
                    task.cancel()
        finally:
            await fleet.close()
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
