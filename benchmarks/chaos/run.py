"""One run: a stage, jobs and blows at the same time, a drain, and the verdict."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from redis.exceptions import RedisError

from arqube_operator.kube.client import TASK_QUEUES, ApiError
from benchmarks.chaos import checker, ledger, remains
from benchmarks.chaos.checker import CONVERGED, NO_STRAYS, Verdict, Violation
from benchmarks.chaos.faults import Fault, NothingToStrikeError, Setup, Struck
from benchmarks.chaos.ledger import Job
from benchmarks.chaos.producer import Orders
from benchmarks.chaos.queues import NAMESPACE
from benchmarks.chaos.recovery import recoveries
from benchmarks.chaos.redis_setups import MASTER
from benchmarks.chaos.remains import KubeRemains, RedisRemains
from benchmarks.chaos.schedule import draw
from benchmarks.chaos.stage import ROOT, Stage, staged
from benchmarks.chaos.strikes import strike

DRAIN_S: Final = 120.0
"""How long jobs and workers may take after load and blows until nothing is to do and the workers have gone."""
GONE_S: Final = 40.0
"""How long it may take after all TaskQueues are deleted until all that was theirs is gone."""
LOOK_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a run shall be.

    Attributes:
        seed: For everything that is drawn.
        setup: Of Redis.
        jobs: How many.
        faults: How many blows.
        seconds: How long the load is.
        catalogue: The faults to draw from.
    """

    seed: int
    setup: Setup
    jobs: int
    faults: int
    seconds: float
    catalogue: Mapping[str, Fault]


@dataclass(frozen=True, slots=True)
class Report:
    """A run and what it came to.

    Attributes:
        wanted: What was asked for.
        struck: The blows that fell.
        recoveries: For each fault, the seconds until work went on after each of its blows.
        drain_s: From the end of load and blows until all was at rest; None when it did not come to that.
        seconds: The load, the blows and the drain.
        verdict: The checker's.
        jobs: The books.
    """

    wanted: Wanted
    struck: Sequence[Struck]
    recoveries: Mapping[str, Sequence[float]]
    drain_s: float | None
    seconds: float
    verdict: Verdict
    jobs: Mapping[str, Job]

    @property
    def is_kept(self) -> bool:
        """No promise is broken."""
        return not self.verdict.violations

    def to_json(self) -> dict[str, Any]:
        """The run's figures."""
        return {
            "seed": self.wanted.seed,
            "setup": self.wanted.setup.name,
            "jobs": self.wanted.jobs,
            "seconds": round(self.seconds, 1),
            "drain_s": None if self.drain_s is None else round(self.drain_s, 1),
            "faults": dict(Counter(each.fault for each in self.struck)),
            "recovery_s": {name: [round(each, 2) for each in found] for name, found in self.recoveries.items()},
            **checker.to_json(self.verdict),
            "repeated": [(each.job_id, each.fault, round(each.seconds, 2)) for each in self.verdict.repeats],
        }


async def perform(wanted: Wanted, say: Callable[[str], None], *, keep: Path | None = None) -> Report:
    """Set the stage, run, and judge. Books and logs of a run that broke a promise are moved to the folder ``keep``.

    Raises:
        TimeoutError: The stage could not be set.
    """
    blows = draw(
        *(wanted.seed, list(wanted.catalogue.values())),
        setup=wanted.setup,
        count=wanted.faults,
        seconds=wanted.seconds,
    )
    with tempfile.TemporaryDirectory(prefix="arqube-chaos-") as name:
        folder = Path(name) / "run"
        async with staged(wanted.setup, folder) as stage:
            say(f"the stage is set: {wanted.setup}")
            began = time.monotonic()
            async with asyncio.TaskGroup() as group:
                striking = group.create_task(strike(stage, blows, wanted.catalogue, say))
                group.create_task(_produce(stage, wanted))
            say("load and blows are over; waiting until nothing is left to do")
            drain_s = await _until_at_rest(stage, time.monotonic())
            seconds = time.monotonic() - began
            redis, kube = await _remains(stage)
            left = await _delete_all(stage)
        jobs = await asyncio.to_thread(ledger.read, folder / "ledger")
        verdict = checker.judge(jobs, striking.result(), redis, kube, stage.queues)
        verdict.violations.extend(left)
        verdict.violations.extend(Violation(NO_STRAYS, "process", each) for each in remains.processes_of(folder))
        if drain_s is None:
            text = f"not at rest {DRAIN_S:g} s after load and blows: {kube.replicas}"
            verdict.violations.append(Violation(CONVERGED, "all", text))
        if verdict.violations and keep is not None:
            await asyncio.to_thread(shutil.copytree, folder, keep / f"seed-{wanted.seed}", dirs_exist_ok=True)
    return Report(
        wanted, striking.result(), recoveries(striking.result(), verdict, jobs), drain_s, seconds, verdict, jobs
    )


async def _produce(stage: Stage, wanted: Wanted) -> None:
    address = stage.redis.address
    orders = Orders(
        seed=wanted.seed,
        jobs=wanted.jobs,
        seconds=wanted.seconds,
        queues=[(queue.name, queue.key, queue.share) for queue in stage.queues],
        host=address.host,
        port=address.port,
        sentinels=list(stage.redis.sentinels),
        master=MASTER,
        confirmations=stage.redis.confirmations,
        ledger=str(stage.ledger),
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.chaos.producer"), cwd=ROOT, stdin=asyncio.subprocess.PIPE
    )
    try:
        await process.communicate(orders.to_json().encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise RuntimeError(f"the producer ended with {process.returncode}")


async def _until_at_rest(stage: Stage, since: float) -> float | None:
    """Seconds until no job is left and the workers are as many as at least; None when that takes too long."""
    while time.monotonic() - since < DRAIN_S:
        if await _is_at_rest(stage):
            return time.monotonic() - since
        await asyncio.sleep(LOOK_S)
    return None


async def _is_at_rest(stage: Stage) -> bool:
    with suppress(RedisError, OSError, TimeoutError, NothingToStrikeError, ApiError):
        async with stage.redis.direct(await stage.redis.primary()) as redis:
            if any([await redis.zcard(queue.key) for queue in stage.queues]):
                return False
        found = (await remains.read_kube(stage.kube)).replicas
        return all(
            queue.name in found
            and found[queue.name].wanted == found[queue.name].existing == found[queue.name].pods == queue.least
            for queue in stage.queues
        )
    return False


async def _remains(stage: Stage) -> tuple[RedisRemains, KubeRemains]:
    async with stage.redis.direct(await stage.redis.primary()) as redis:
        found = await remains.read_redis(redis, stage.queues)
    return found, await remains.read_kube(stage.kube)


async def _delete_all(stage: Stage) -> list[Violation]:
    """Delete the TaskQueues; what of theirs stays for too long."""
    for queue in stage.queues:
        await stage.kube.delete(TASK_QUEUES, NAMESPACE, queue.name)
    deadline = time.monotonic() + GONE_S
    while True:
        found = await remains.read_kube(stage.kube)
        if not found.strays and not found.replicas:
            return []
        if time.monotonic() > deadline:
            return [Violation(NO_STRAYS, each, "its TaskQueue was deleted") for each in found.strays]
        await asyncio.sleep(LOOK_S)
