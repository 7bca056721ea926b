"""Several policies under the same load: what the ``arqube simulate`` command and the benchmark stand on."""

from __future__ import annotations

from typing import Final

from arqube_local.simulate.loads import Load
from arqube_local.simulate.policies import POLICIES
from arqube_local.simulate.results import Course, Result
from arqube_local.simulate.simulation import Conditions, Simulation
from arqube_operator.api.v1alpha1 import TaskQueueSpec

STARTUP_S: Final = (8.0, 25.0)
"""Between which bounds pods start unless told otherwise: a slim image on a warm node to a large one on a busy node."""
_MAX_WAIT_S: Final = 30.0
"""The target where the TaskQueue has none, as it scales by jobsPerReplica."""


def conditions(spec: TaskQueueSpec, seed: int, startup_s: tuple[float, float] = STARTUP_S) -> Conditions:
    """What all policies share for the workers of ``spec``."""
    max_wait_s = spec.scaling.max_wait_s
    return Conditions(
        slots=spec.worker.concurrency,
        max_wait_s=_MAX_WAIT_S if max_wait_s is None else max_wait_s,
        startup_s=startup_s,
        seed=seed,
    )


def simulate(policy: str, spec: TaskQueueSpec, load: Load, shared: Conditions) -> tuple[Result, Course]:
    """``load`` against the policy of that name; the course is for plots."""
    simulation = Simulation(load, POLICIES[policy](spec), shared)
    return simulation.run(), simulation.course()
