"""``python -m benchmarks.worker [--json]``: jobs a second and Redis commands a job of one process, medians of runs.

Each contender takes the same preloaded queue, in turn, so that a noisy machine is noisy for all. The first jobs, while
a process starts up, do not count. Logs are off for all of them; results are kept.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from arq import create_pool
from arq.connections import ArqRedis, RedisSettings

from arqube_local.redis_server import RedisServer
from arqube_queue import environment as env
from arqube_queue.keys import DEFAULT_QUEUE

ROUNDS: Final = 3
WARM_UP: Final = 200
"""Jobs that do not count."""
TIMEOUT_S: Final = 120.0
PLAIN_ARQ: Final = (
    "import sys; from arq.worker import run_worker; from benchmarks.worker import app; "
    "run_worker(getattr(app, sys.argv[1]))"
)


@dataclass(frozen=True, slots=True)
class Contender:
    """A worker to measure.

    Attributes:
        label: Its name in the table.
        command: How it is started.
        jobs: Preloaded for it: enough for a few seconds.
        environment: Beside ours.
    """

    label: str
    command: tuple[str, ...]
    jobs: int
    environment: dict[str, str]


ARQ_TUNED: Final = "arq, max_jobs 100, poll 10 ms (tuned)"
CONTENDERS: Final = (
    Contender("arq, defaults", (sys.executable, "-c", PLAIN_ARQ, "WorkerSettings"), 1_200, {}),
    Contender(ARQ_TUNED, (sys.executable, "-c", PLAIN_ARQ, "TunedSettings"), 6_000, {}),
    Contender(
        "arqube, 10 slots",
        (sys.executable, "-m", "arqube_worker", "benchmarks.worker.app.WorkerSettings"),
        6_000,
        {env.CONCURRENCY: "10", "ARQUBE_LOG_LEVEL": "error"},
    ),
    Contender(
        "arqube, 100 slots",
        (sys.executable, "-m", "arqube_worker", "benchmarks.worker.app.WorkerSettings"),
        6_000,
        {env.CONCURRENCY: "100", "ARQUBE_LOG_LEVEL": "error"},
    ),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """What one run of a contender gave."""

    jobs_per_s: float
    commands_per_job: float


async def measure(server: RedisServer, contender: Contender) -> Measured:
    """Run ``contender`` once on a queue of its own.

    Raises:
        TimeoutError: It did not empty the queue in time.
    """
    pool = await create_pool(RedisSettings(host="127.0.0.1", port=server.address.port))
    await pool.flushall()
    for _ in range(contender.jobs):
        await pool.enqueue_job("noop")
    environment = {**os.environ, "BENCH_REDIS_PORT": str(server.address.port), **contender.environment}
    environment[env.HTTP_PORT] = "0"
    process = await asyncio.create_subprocess_exec(
        *contender.command,
        env=environment,
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        began = await _left(pool, contender.jobs - WARM_UP)
        before = await _commands(pool)
        jobs = await pool.zcard(DEFAULT_QUEUE)
        ended = await _left(pool, 0)
        commands = await _commands(pool) - before
    finally:
        process.terminate()
        await process.wait()
        await pool.aclose()
    return Measured(jobs / (ended - began), commands / jobs)


async def _left(pool: ArqRedis, count: int) -> float:
    """Wait until at most ``count`` jobs are left; when that was, in seconds of a monotonic clock."""
    deadline = time.monotonic() + TIMEOUT_S
    while await pool.zcard(DEFAULT_QUEUE) > count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{count} jobs were not reached within {TIMEOUT_S:.0f} s")
        await asyncio.sleep(0.02)
    return time.monotonic()


async def _commands(pool: ArqRedis) -> int:
    stats: dict[str, Any] = await pool.info("stats")
    return int(stats["total_commands_processed"])


async def _run() -> dict[str, dict[str, float]]:
    runs: dict[str, list[Measured]] = {contender.label: [] for contender in CONTENDERS}
    with RedisServer() as server:
        for _ in range(ROUNDS):
            for contender in CONTENDERS:
                runs[contender.label].append(await measure(server, contender))
    medians = {
        label: {
            "jobs_per_s": round(statistics.median(run.jobs_per_s for run in all_runs), 1),
            "commands_per_job": round(statistics.median(run.commands_per_job for run in all_runs), 2),
        }
        for label, all_runs in runs.items()
    }
    tuned = medians[ARQ_TUNED]["jobs_per_s"]
    for figures in medians.values():
        figures["vs_arq_tuned"] = round(figures["jobs_per_s"] / tuned, 2)
    return medians


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worker")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    arguments = parser.parse_args()
    figures = asyncio.run(_run())
    print(f"{'worker (one process, no-op jobs)':40} {'jobs/s':>8} {'vs arq tuned':>13} {'commands/job':>13}")
    for label, row in figures.items():
        print(f"{label:40} {row['jobs_per_s']:8.0f} {row['vs_arq_tuned']:13.2f} {row['commands_per_job']:13.1f}")
    if arguments.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
