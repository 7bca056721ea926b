"""Simulates each load, seed and policy, in several processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from arqube_local.simulate.compare import conditions, simulate
from arqube_local.simulate.loads import SHAPES, Load
from arqube_local.simulate.results import Result, mean
from arqube_operator.api.v1alpha1 import TaskQueue, TaskQueueSpec
from benchmarks.autoscaler import traces

SPEC: Final[TaskQueueSpec] = TaskQueue.from_object(
    {
        "apiVersion": "arqube.dev/v1alpha1",
        "kind": "TaskQueue",
        "metadata": {"name": "benchmark", "namespace": "default"},
        "spec": {
            "redis": {"host": "redis"},
            "worker": {"image": "app", "settings": "app.WorkerSettings", "concurrency": 5},
            "scaling": {"maxReplicas": 20},
        },
    }
).spec
"""5 slots a pod, 20 pods at most, and nothing else set: 30 s target."""

Figures = dict[str, dict[str, Result]]
"""The mean over seeds, by load and then by policy."""


@dataclass(frozen=True, slots=True)
class Run:
    """One simulation: a load, a seed and a policy; ``trace`` is the file of a load that is a trace."""

    load: str
    trace: Path | None
    seed: int
    policy: str


@lru_cache(maxsize=2)
def _load(name: str, trace: Path | None, seed: int) -> Load:
    return SHAPES[name].load(name, seed) if trace is None else traces.read(trace, seed)


def _simulate(run: Run) -> Result:
    load = _load(run.load, run.trace, run.seed)
    return simulate(run.policy, SPEC, load, conditions(SPEC, run.seed))[0]


def measure(loads: Mapping[str, Path | None], seeds: int, policies: Sequence[str], processes: int) -> Figures:
    """Simulate all; every policy meets the same seeds, from 1 on.

    Args:
        loads: Names of shapes, and of traces with their files.
    """
    numbers = range(1, seeds + 1)
    runs = [Run(load, trace, seed, policy) for load, trace in loads.items() for seed in numbers for policy in policies]
    with ProcessPoolExecutor(processes) as pool:
        results = dict(zip(runs, pool.map(_simulate, runs, chunksize=len(policies)), strict=True))
    return {
        load: {policy: mean([results[Run(load, trace, seed, policy)] for seed in numbers]) for policy in policies}
        for load, trace in loads.items()
    }
