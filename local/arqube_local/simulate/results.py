"""What a simulation came to: the share of jobs that started in time, waits, pod-hours, and the course of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

FIGURES: Final = ("slo_share", "p50_wait_s", "p95_wait_s", "pod_hours", "scale_events", "interrupted")


@dataclass(frozen=True, slots=True)
class Sample:
    """A moment of the course: pods asked for, ready and paid for, jobs waiting and running."""

    at_s: float
    replicas: int
    ready: int
    pods: int
    waiting: int
    running: int


@dataclass(frozen=True, slots=True)
class Result:
    """One policy under one load of one seed, or the mean of several seeds.

    Attributes:
        jobs: Jobs whose wait is known: those that started, or waited beyond the target until the end.
        missed: Those that did not start within the target.
        slo_share: The share of jobs that did.
        pod_hours: From each pod's creation to its end.
        scale_events: Changes of the number of workers.
        interrupted: Jobs that were cut by the end of a pod.
    """

    jobs: float
    missed: float
    slo_share: float
    p50_wait_s: float
    p95_wait_s: float
    pod_hours: float
    scale_events: float
    interrupted: float


@dataclass(frozen=True, slots=True)
class Course:
    """How it went: samples, and each started job as (due, wait), in seconds."""

    samples: tuple[Sample, ...]
    waits: tuple[tuple[float, float], ...]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of ``values`` that is not below ``share`` of them (nearest rank); 0 of none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def mean(results: Sequence[Result]) -> Result:
    """The mean of each figure, over seeds."""
    if len(results) == 1:
        return results[0]
    return Result(
        *(sum(getattr(result, name) for result in results) / len(results) for name in Result.__dataclass_fields__)
    )
