"""What each side came to: how long jobs waited, what the pods cost, and which runs were cut."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from arq.connections import ArqRedis

from arqube_local.simulate.results import percentile
from benchmarks.live.fleet import Fleet
from benchmarks.live.load import Job

TARGET_S: Final = 30.0
"""Within it a job should start: a TaskQueue's ``maxWait`` by default."""


@dataclass(frozen=True, slots=True)
class Runs:
    """What the jobs of a side noted.

    Attributes:
        first_starts_s: When each job, by number, first started, by Redis's clock.
        run_twice: Jobs that ran to their end more than once.
        interrupted: Runs that began and did not come to their end.
        unfinished: Jobs that never came to an end.
    """

    first_starts_s: Mapping[int, float]
    run_twice: int
    interrupted: int
    unfinished: int


@dataclass(frozen=True, slots=True)
class Figures:
    """One side of a run.

    Attributes:
        jobs: All of the load.
        slo_share: Those that started within ``TARGET_S``, as a share.
        pod_seconds: From each pod's creation to its end.
        peak_pods: The most pods that were there at once, ending ones too.
        scale_events: Changes of the Deployment's replicas.
    """

    jobs: int
    slo_share: float
    p50_wait_s: float
    p95_wait_s: float
    max_wait_s: float
    pod_seconds: float
    peak_pods: int
    scale_events: int
    interrupted: int
    run_twice: int
    unfinished: int


async def runs_of(arq: ArqRedis, queue: str, jobs: int) -> Runs:
    """Read what the jobs of a queue noted."""
    starts = [json.loads(each) for each in await arq.lrange(f"live:{queue}:starts", 0, -1)]  # type: ignore[misc]
    ends = {each.decode() for each in await arq.smembers(f"live:{queue}:ends")}  # type: ignore[misc]
    first: dict[int, float] = {}
    ended: Counter[str] = Counter()
    for start in sorted(starts, key=lambda each: float(each["at_s"])):
        first.setdefault(int(start["job"].rpartition("-")[2]), start["at_s"])
        ended[start["job"]] += start["run"] in ends
    finished = [count for count in ended.values() if count]
    return Runs(
        first_starts_s=first,
        run_twice=sum(count > 1 for count in finished),
        interrupted=sum(start["run"] not in ends for start in starts),
        unfinished=jobs - len(finished),
    )


def waits(jobs: Sequence[Job], runs: Runs, start_s: float) -> list[tuple[float, float]]:
    """Each started job as when it was due and how long it waited; ``start_s`` is the load's start by Redis's clock."""
    return [
        (job.at_s, max(0.0, runs.first_starts_s[number] - start_s - job.at_s))
        for number, job in enumerate(jobs)
        if number in runs.first_starts_s
    ]


def figures(fleet: Fleet, runs: Runs, waited: Sequence[tuple[float, float]], jobs: int, begin: float) -> Figures:
    """The figures of one side; ``begin`` is the load's start by the monotonic clock."""
    values = [wait for _, wait in waited]
    end = fleet.pods.times[-1]
    return Figures(
        jobs=jobs,
        slo_share=round(sum(wait <= TARGET_S for wait in values) / jobs, 4),
        p50_wait_s=round(percentile(values, 0.5), 2),
        p95_wait_s=round(percentile(values, 0.95), 2),
        max_wait_s=round(max(values, default=0.0), 2),
        pod_seconds=round(fleet.pods.integral(begin, end)),
        peak_pods=fleet.pods.peak(begin),
        scale_events=fleet.replicas.changes(begin),
        interrupted=runs.interrupted,
        run_twice=runs.run_twice,
        unfinished=runs.unfinished,
    )


def table(sides: Mapping[str, Mapping[str, Any]]) -> str:
    """The figures side by side."""
    width = max(len(name) for name in Figures.__dataclass_fields__)
    rows = [f"{'':{width}} " + "".join(f"{name:>10}" for name in sides)]
    rows += [
        f"{name:{width}} " + "".join(f"{figures[name]:>10}" for figures in sides.values())
        for name in Figures.__dataclass_fields__
    ]
    return "\n".join(rows)
