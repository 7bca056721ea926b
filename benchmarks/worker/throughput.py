"""Jobs a second and round trips a job of one process each, in turn so that a noisy machine is noisy for all."""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.worker import marks
from benchmarks.worker.contenders import REPOSITORY, Contender, environment_of
from benchmarks.worker.processes import client, preload, requests, running, until

DELAY_S: Final = 0.001
"""Each way."""


@dataclass(frozen=True, slots=True)
class Speed:
    """What a contender's runs gave, in medians.

    Attributes:
        jobs_per_s: Starts a second once the first fifth of its jobs has started.
        round_trips_per_job: Over the whole run, its start-up included.
    """

    jobs_per_s: float
    round_trips_per_job: float


async def measure(
    contenders: Sequence[Contender], port: int, rounds: int, *, worker_port: int | None = None
) -> dict[str, Speed]:
    """Run each contender ``rounds`` times on preloaded queues; the medians by label.

    A contender that cannot run is named on stderr and left out.

    Args:
        contenders: Who.
        port: Of Redis.
        rounds: How often.
        worker_port: Where the workers reach Redis, if not there.
    """
    runs: dict[str, list[Speed]] = {contender.label: [] for contender in contenders}
    broken: set[str] = set()
    for number in range(rounds):
        for contender in contenders:
            if contender.label in broken:
                continue
            try:
                speed = await _run(contender, port, worker_port or port)
            except (TimeoutError, RuntimeError) as error:
                print(f"{contender.label} left out: {error}", file=sys.stderr)
                broken.add(contender.label)
                continue
            print(f"round {number + 1}: {contender.label}: {speed.jobs_per_s:.0f} jobs/s", file=sys.stderr)
            runs[contender.label].append(speed)
    return {
        label: Speed(
            round(statistics.median(run.jobs_per_s for run in of_one), 1),
            round(statistics.median(run.round_trips_per_job for run in of_one), 3),
        )
        for label, of_one in runs.items()
        if of_one and label not in broken
    }


async def _run(contender: Contender, port: int, worker_port: int) -> Speed:
    with tempfile.NamedTemporaryFile(prefix="arqube-bench-") as file:
        async with client(port) as redis:
            if contender.producer:
                await _produce(contender, port)
            else:
                await preload(redis, contender.jobs)
            before = await requests(redis)
            first = contender.jobs // 5
            environment = {marks.FILE: file.name, marks.FIRST: str(first), marks.LAST: str(contender.jobs)}

            async def all_started() -> bool:
                return len(_times(file.name)) == 2

            async with running(contender, worker_port, **environment):
                await until(all_started, f"{contender.jobs} jobs of {contender.label}")
                after = await requests(redis)
            began, ended = _times(file.name)
    return Speed((contender.jobs - first) / (ended - began), (after - before) / contender.jobs)


def _times(file: str) -> list[float]:
    """The times marked so far: whole lines only."""
    return [float(line) for line in Path(file).read_text().split("\n")[:-1]]


async def _produce(contender: Contender, port: int) -> None:
    process = await asyncio.create_subprocess_exec(
        *contender.producer,
        str(contender.jobs),
        env=environment_of(contender, port),
        cwd=REPOSITORY,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"its jobs could not be enqueued: {said.decode().strip().splitlines()[-1:]}")


@asynccontextmanager
async def slow_network(port: int) -> AsyncIterator[int]:
    """A port behind which Redis is 1 ms farther away each way, so 2 ms for the round trip."""
    command = (sys.executable, "-m", "benchmarks.worker.delay", str(port), str(DELAY_S))
    process = await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE)
    try:
        if process.stdout is None:
            raise RuntimeError("the proxy has no output")
        yield int(await asyncio.wait_for(process.stdout.readline(), 20))
    finally:
        process.terminate()
        await process.wait()
