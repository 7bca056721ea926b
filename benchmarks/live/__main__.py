"""``python -m benchmarks.live``: Arqube and a real HPA on the cluster of ``$KUBECONFIG``, with the same jobs at once.

``--json`` ends with one line of JSON, ``--output`` writes it to a file, ``--chart`` draws the run. README.md tells what
the cluster needs and what is compared.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from arq.connections import ArqRedis, RedisSettings, create_pool

from benchmarks.live import chart, stage
from benchmarks.live.figures import figures, runs_of, table, waits
from benchmarks.live.fleet import Fleet, watched
from benchmarks.live.images import build
from benchmarks.live.load import Job, enqueue, schedule
from benchmarks.live.stage import SIDES
from benchmarks.signals import end_as_by_ctrl_c

MINUTES: Final = 8.0
SEED: Final = 1
MAX_PODS: Final = 6
QUEUES: Final = tuple(side.name for side in SIDES)
WARM_UP: Final = [Job(0.0, 20.0)] * 6
"""Two pods by KEDA's number, for longer than an HPA looks away: the whole path is used once before it counts."""
DRAIN_S: Final = 900.0


def say(text: str) -> None:
    """Tell how far it is."""
    print(f"-- {time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


async def until(condition: Callable[[], bool], within_s: float, what: str) -> None:
    """Wait for a condition.

    Raises:
        SystemExit: It does not come true in time.
    """
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not come true within {within_s:g} s")
        await asyncio.sleep(0.5)


async def warm_up(arq: ArqRedis, fleets: tuple[Fleet, ...]) -> None:
    """Let both sides go from zero and back, and see that the HPA acts: KEDA's part alone gives one pod at most."""
    await enqueue(arq, QUEUES, WARM_UP, time.monotonic(), "warm-up")
    say(f"warming up; the API server gives {stage.served_metric()} for KEDA's queue")
    ours, keda = fleets
    await until(lambda: ours.replicas.peak(0) >= 1 and keda.replicas.peak(0) >= 2, 120, "scaling up in the warm-up")
    say(f"the HPA sees {stage.hpa_value()} a pod: {stage.hpa_conditions()}")
    await until(lambda: all(fleet.is_at_zero for fleet in fleets), DRAIN_S, "zero pods after the warm-up")
    keys = [key async for key in arq.scan_iter("live:*")]
    await arq.delete(*keys)


async def redis_offset_s(arq: ArqRedis) -> float:
    """What the monotonic clock lacks to Redis's, by the fastest of ten answers."""
    answers: list[tuple[float, float]] = []
    for _ in range(10):
        before = time.monotonic()
        seconds, microseconds = await arq.time()
        after = time.monotonic()
        answers.append((after - before, seconds + microseconds / 1e6 - (before + after) / 2))
    return min(answers)[1]


async def compare(port: int, jobs: list[Job], chart_path: Path | None) -> dict[str, Any]:
    """Run the load, wait until both sides are at zero again, and count."""
    arq = await create_pool(RedisSettings(port=port, conn_timeout=10))
    try:
        async with watched(SIDES) as fleets:
            await warm_up(arq, fleets)
            begin = time.monotonic() + 1
            start_s = begin + await redis_offset_s(arq)
            say(f"the load begins: {len(jobs)} jobs in {jobs[-1].at_s:.0f} s")
            await enqueue(arq, QUEUES, jobs, begin, "load")
            say("the load has ended; waiting until both sides are at zero")
            await until(lambda: all(fleet.is_at_zero for fleet in fleets), DRAIN_S, "zero pods after the load")
        runs = {name: await runs_of(arq, name, len(jobs)) for name in QUEUES}
    finally:
        await arq.aclose()
    waited = {name: waits(jobs, runs[name], start_s) for name in QUEUES}
    if chart_path:
        chart.draw(jobs, fleets, waited, begin, chart_path)
    return {
        fleet.side.name: asdict(
            figures(fleet, runs[fleet.side.name], waited[fleet.side.name], len(jobs), begin),
        )
        for fleet in fleets
    }


def main() -> None:
    """Build, stage, run, print, and draw."""
    end_as_by_ctrl_c()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="how long the load is (%(default)g)")
    parser.add_argument("--seed", type=int, default=SEED, help="of the jobs (%(default)s)")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--output", type=Path, help="write the JSON to this file")
    parser.add_argument("--chart", type=Path, help="draw the run to this PNG file")
    options = parser.parse_args()
    jobs = schedule(options.minutes, options.seed)
    say("building the images")
    images = build()
    say("staging")
    load_before = os.getloadavg()[0]
    with stage.staged(images, MAX_PODS) as port:
        kubernetes = stage.server_version()
        sides = asyncio.run(compare(port, jobs, options.chart))
    found = {
        "kubernetes": kubernetes,
        "machine": f"{os.cpu_count()} CPUs ({platform.machine()}), load of others at the start {load_before:.1f}",
        "minutes": options.minutes,
        "seed": options.seed,
        "max_pods": MAX_PODS,
        "sides": sides,
    }
    print(f"Kubernetes {kubernetes}, {found['machine']}\n\n{table(sides)}")
    if options.output:
        options.output.write_text(json.dumps(found, indent=2) + "\n")
    if options.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
