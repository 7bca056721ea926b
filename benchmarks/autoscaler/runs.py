"""Simulates each load, seed and policy, in several processes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from arqube_local.simulate.compare import conditions, simulate
from arqube_local.simulate.loads import SHAPES, Load
from arqube_local.simulate.results import Result, mean
from arqube_operator.api.v1alpha1 import TaskQueue, TaskQueueSpec

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
    """One simulation: a load's name, a seed and a policy."""

    load: str
    seed: int
    policy: str


@lru_cache(maxsize=2)
def _load(name: str, seed: int) -> Load:
    return SHAPES[name].load(name, seed)


def _simulate(run: Run) -> Result:
    return simulate(run.policy, SPEC, _load(run.load, run.seed), conditions(SPEC, run.seed))[0]


def measure(loads: Sequence[str], seeds: int, policies: Sequence[str], processes: int) -> Figures:
    """Simulate all; every policy meets the same seeds, from 1 on."""
    runs = [Run(*each) for each in itertools.product(loads, range(1, seeds + 1), policies)]
    with ProcessPoolExecutor(processes) as pool:
        results = dict(zip(runs, pool.map(_simulate, runs), strict=True))
    return {
        load: {policy: mean([results[Run(load, seed, policy)] for seed in range(1, seeds + 1)]) for policy in policies}
        for load in loads
    }
