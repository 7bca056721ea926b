"""What befalls worker processes: kill -9, SIGTERM, and standing still for shorter or longer than a lease."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from arqube_operator.kube.client import PODS
from benchmarks.chaos.faults import GOING_S, Catalogue, Explains, NothingToStrikeError, Part, Victims
from benchmarks.chaos.insist import insist
from benchmarks.chaos.queues import LEASE_S, NAMESPACE
from benchmarks.chaos.stage import Stage, Worker

WORKER_FAULTS: Final = Catalogue()


async def _any(stage: Stage, chance: random.Random) -> Worker:
    workers = await insist(stage.workers) or []
    if not workers:
        raise NothingToStrikeError("no worker runs")
    return chance.choice(workers)


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


@WORKER_FAULTS.fault("worker: kill -9", Part.WORKERS, Explains.VICTIMS, weight=3)
async def killed(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """The process is gone at once; the kubelet starts the container again."""
    worker = await _any(stage, chance)
    _signal(worker.pid, signal.SIGKILL)
    yield (worker.pid,)


@WORKER_FAULTS.fault("worker: all of a queue kill -9", Part.WORKERS, Explains.VICTIMS)
async def all_killed(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """All workers of one TaskQueue at once."""
    queue = (await _any(stage, chance)).queue
    victims = tuple(worker.pid for worker in await insist(stage.workers) or [] if worker.queue == queue)
    for pid in victims:
        _signal(pid, signal.SIGKILL)
    yield victims


@WORKER_FAULTS.fault("worker: SIGTERM", Part.WORKERS, Explains.VICTIMS, weight=2)
async def terminated(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """The process drains and gives back what does not end in time."""
    worker = await _any(stage, chance)
    _signal(worker.pid, signal.SIGTERM)
    yield (worker.pid,)


@WORKER_FAULTS.fault("worker: pod deleted", Part.WORKERS, Explains.VICTIMS, lingers_s=GOING_S)
async def deleted(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """As by a drain of its node: SIGTERM, and another pod in its place."""
    worker = await _any(stage, chance)
    await insist(lambda: stage.kube.delete(PODS, NAMESPACE, worker.pod), settled=(404,))
    yield (worker.pid,)


@WORKER_FAULTS.fault(
    "worker: SIGSTOP, shorter than a lease", Part.WORKERS, Explains.NOTHING, lasts_s=(0.3, LEASE_S * 0.4)
)
async def paused(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """Its leases are renewed every third of their time, so this must cost nothing."""
    worker = await _any(stage, chance)
    _signal(worker.pid, signal.SIGSTOP)
    try:
        yield (worker.pid,)
    finally:
        _signal(worker.pid, signal.SIGCONT)


@WORKER_FAULTS.fault(
    "worker: SIGSTOP, longer than a lease", Part.WORKERS, Explains.VICTIMS, lasts_s=(LEASE_S * 1.2, LEASE_S * 2)
)
async def stopped(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """Others take its jobs; when it goes on, it must not end them a second time."""
    worker = await _any(stage, chance)
    _signal(worker.pid, signal.SIGSTOP)
    try:
        yield (worker.pid,)
    finally:
        _signal(worker.pid, signal.SIGCONT)
