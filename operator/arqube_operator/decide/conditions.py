"""The conditions of a TaskQueue: small named rules, each a fact with its reason and a sentence for a person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from arqube_operator.decide.scaling import Decision
from arqube_operator.decide.state import UNSCHEDULABLE, Pod, State

_ROLLOUT_STUCK: Final = "RolloutStuck"
SCALING_ACTIVE: Final = "ScalingActive"
SCALING_LIMITED: Final = "ScalingLimited"
_PACING: Final = frozenset({"Stabilization", "Cooldown", "Tolerance", "BusyWorkers"})
"""Limits that only put a change off, as a part of every scaling."""
_TRANSIENT: Final = frozenset({"Starting", "Deploying"})


@dataclass(frozen=True, slots=True)
class Finding:
    """A condition before it is compared with the one that stands: ``status`` None is Kubernetes' ``Unknown``."""

    type: str
    status: bool | None
    reason: str
    message: str

    @property
    def needs_attention(self) -> bool:
        """Somebody should look: it is false for more than a start-up, or a rollout does not get on."""
        return needs_attention(self.status is False, self.reason)


def needs_attention(is_false: bool, reason: str) -> bool:
    """Whether somebody should look at a condition that ``is_false``, or is not, for ``reason``."""
    return (is_false and reason not in _TRANSIENT) or reason == _ROLLOUT_STUCK


def find_conditions(state: State, decision: Decision) -> tuple[Finding, ...]:
    """All conditions of the TaskQueue, the summary ``Ready`` first."""
    redis = redis_reachable(state)
    workers = workers_available(state, decision)
    return (
        _ready(state, redis, workers),
        redis,
        scaling_active(decision),
        scaling_limited(state, decision),
        workers,
    )


def redis_reachable(state: State) -> Finding:
    """Whether the queue can be read."""
    name = "RedisReachable"
    if state.redis_problem is not None:
        return Finding(name, False, state.redis_problem.reason, state.redis_problem.message)
    if state.queue is None:
        return Finding(name, None, "NotYetRead", "the queue was not read yet")
    return Finding(name, True, "Connected", "the queue is read each second")


def scaling_active(decision: Decision) -> Finding:
    """Whether the queue decides the number of workers."""
    status = None if decision.reason == "NotYetRead" else decision.active
    return Finding(SCALING_ACTIVE, status, decision.reason, decision.message)


def scaling_limited(state: State, decision: Decision) -> Finding:
    """Whether something keeps the number of workers from what the jobs need, as a HorizontalPodAutoscaler tells it."""
    if decision.limit is None or decision.limit in _PACING:
        status = None if decision.reason == "NotYetRead" else False
        return Finding(
            SCALING_LIMITED, status, "WithinLimits", "nothing keeps the number of workers from what is needed"
        )
    message = decision.message
    if decision.limit == UNSCHEDULABLE and (pod := _unschedulable(state.pods)) is not None:
        message = f"{message}; pod {pod.name}: {pod.failure_message}"
    return Finding(SCALING_LIMITED, True, decision.limit, message)


def workers_available(state: State, decision: Decision) -> Finding:
    """Whether the workers that are wanted take jobs."""
    name = "WorkersAvailable"
    if state.memory.rejection is not None:
        return Finding(name, False, state.memory.rejection.reason, state.memory.rejection.message)
    live = state.deployment
    wanted = decision.replicas if decision.replicas is not None else (live.spec_replicas if live else 0)
    ready = live.ready_replicas if live else 0
    failing = _failing(state.pods)
    if failing is not None:
        message = f"pod {failing.name}: {failing.failure}: {failing.failure_message}"
        if failing.unschedulable and ready > 0:  # As while a node is being added.
            return Finding(name, True, UNSCHEDULABLE, f"{message}; {ready} of {wanted} workers are ready")
        if ready >= wanted > 0:  # A rollout takes no old worker away before a new one is ready.
            return Finding(name, True, _ROLLOUT_STUCK, f"{message}; the workers before it go on")
        return Finding(name, False, failing.failure or "Failing", message)
    if wanted == 0:
        return Finding(name, True, "ScaledToZero", "no worker is needed")
    if live is not None and live.problem is not None:
        return Finding(name, False, "PodsNotCreated", live.problem)
    if ready >= wanted:
        return Finding(name, True, "AllReady", f"{ready} of {wanted} workers are ready")
    # Fewer than wanted but some: the queue is being served.
    return Finding(name, ready > 0, "Starting", f"{ready} of {wanted} workers are ready")


def _ready(state: State, redis: Finding, workers: Finding) -> Finding:
    """The first of the others that is not well, else the summary."""
    for part in (redis, workers):
        if part.status is not True:
            return Finding("Ready", part.status, part.reason, part.message)
    if state.deployment is None:
        return Finding("Ready", False, "Deploying", "the Deployment of the workers is being made")
    return Finding("Ready", True, "Ready", "the queue is read and its workers take jobs")


def _failing(pods: tuple[Pod, ...]) -> Pod | None:
    """A pod that cannot run until somebody does something, of the newest template: what failed before may be mended.

    The oldest of them, so that the message stays the same.
    """
    living = [pod for pod in pods if not pod.terminating]
    if not any(pod.failure for pod in living):
        return None
    newest = max(living, key=_age).template
    return min((pod for pod in living if pod.failure and pod.template == newest), key=_age, default=None)


def _unschedulable(pods: tuple[Pod, ...]) -> Pod | None:
    """The oldest pod that no node takes."""
    return min((pod for pod in pods if pod.unschedulable and not pod.terminating), key=_age, default=None)


def _age(pod: Pod) -> tuple[float, str]:
    return pod.created_s, pod.name
