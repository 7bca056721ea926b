"""How many workers a queue needs: the policy, and the reason it gives."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from arqube_operator.api.v1alpha1 import TaskQueueSpec
from arqube_operator.decide.state import Problem, State
from arqube_queue.model import QueueSnapshot


@dataclass(frozen=True, slots=True)
class ScalingMemory:
    """What the policy remembers between decisions.

    Attributes:
        wanted: The workers that were enough, with the Unix seconds of the decision: the cool-down's window, thinned to
            the entries that can still be its maximum.
    """

    wanted: tuple[tuple[float, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """The number of workers wanted.

    Attributes:
        replicas: Workers there should be; None leaves them as they are.
        reason: CamelCase, for status, metrics and Events.
        message: The terms of the decision as a sentence.
        active: The queue decides; false when a person or a fault holds the number.
        memory: To be remembered for the next decision.
        retire: Names of the pods that should take no more jobs, so that they can go.
    """

    replicas: int | None
    reason: str
    message: str
    active: bool = True
    memory: ScalingMemory = field(default_factory=ScalingMemory)
    retire: frozenset[str] = frozenset()


def decide_replicas(state: State, now: float) -> Decision:
    """The number of workers for ``state`` at ``now`` (Unix seconds).

    ``ceil((waiting + running + due within the start-up time) / concurrency)`` between the bounds. More are asked for at
    once; fewer only when fewer were enough for the whole cool-down.
    """
    spec, current = state.spec, _current(state)
    if spec.replicas is not None:
        message = f"{spec.replicas} by spec.replicas; remove that field to scale by the queue again"
        return Decision(spec.replicas, "ManualReplicas", message, active=False)
    if state.redis_problem is not None:
        return _held(state, current, state.redis_problem, now)
    if state.queue is None:
        return Decision(None, "NotYetRead", "the queue was not read yet", active=False)

    terms = _terms(spec, state.queue, state.startup_s)
    enough = max(spec.scaling.min_replicas, min(_needed(spec, state.queue), spec.scaling.max_replicas))
    wanted = _remember(_window(state), now, enough, spec.scaling.cooldown_s)

    if enough > current:
        reason = "AtMaxReplicas" if _needed(spec, state.queue) > enough else "ScalingUp"
        return Decision(enough, reason, terms, memory=ScalingMemory(wanted))
    if enough == current:
        return Decision(enough, _steady_reason(spec, state.queue, enough), terms, memory=ScalingMemory(wanted))
    target = _after_cooldown(state, wanted, now, current)
    if target < current:
        over = current > spec.scaling.max_replicas
        why = "more ran than the maximum" if over else f"fewer were enough for {spec.scaling.cooldown}"
        return Decision(target, "ScalingDown", f"{terms}; {why}", memory=ScalingMemory(wanted))
    message = f"{terms}; {enough} are enough, kept until that held for {spec.scaling.cooldown}"
    return Decision(current, "CoolingDown", message, memory=ScalingMemory(wanted))


def _current(state: State) -> int:
    return state.deployment.spec_replicas if state.deployment else 0


def _needed(spec: TaskQueueSpec, queue: QueueSnapshot) -> int:
    return math.ceil((queue.waiting + queue.running + queue.due_soon) / spec.worker.concurrency)


def _terms(spec: TaskQueueSpec, queue: QueueSnapshot, startup_s: float) -> str:
    return (
        f"{queue.waiting} waiting, {queue.running} running, {queue.due_soon} due within {startup_s:.0f} s, "
        f"at {spec.worker.concurrency} a worker: {_needed(spec, queue)} needed "
        f"of {spec.scaling.min_replicas} to {spec.scaling.max_replicas}"
    )


def _steady_reason(spec: TaskQueueSpec, queue: QueueSnapshot, enough: int) -> str:
    needed = _needed(spec, queue)
    if needed > enough:
        return "AtMaxReplicas"
    if needed < enough:
        return "AtMinReplicas"
    return "Steady" if needed else "Idle"


def _held(state: State, current: int, problem: Problem, now: float) -> Decision:
    """Without a fresh view of the queue nothing is taken away; only the floor is seen to.

    The held number counts as needed, so that the cool-down begins anew when the view is back.
    """
    held = max(current, state.spec.scaling.min_replicas)
    wanted = _remember(_window(state), now, held, state.spec.scaling.cooldown_s)
    message = f"{problem.message}; the number of workers is held"
    return Decision(held, problem.reason, message, active=False, memory=ScalingMemory(wanted))


def _window(state: State) -> tuple[tuple[float, int], ...]:
    return state.memory.scaling.wanted if state.memory.scaling else ()


def _remember(
    wanted: tuple[tuple[float, int], ...], now: float, enough: int, window_s: float
) -> tuple[tuple[float, int], ...]:
    """The window with ``enough`` added: its values fall from first to last, so the first is the maximum."""
    recent = tuple(entry for entry in wanted if entry[0] > now - window_s and entry[1] > enough)
    return (*recent, (now, enough))


def _after_cooldown(state: State, wanted: tuple[tuple[float, int], ...], now: float, current: int) -> int:
    """Workers to keep: the most that were enough within the cool-down; all, while that was not yet watched whole.

    A maximum that was lowered holds at once: a person asked for it.
    """
    scaling, since_s = state.spec.scaling, state.memory.since_s
    watched_s = 0.0 if since_s is None else now - since_s
    kept = current if watched_s < scaling.cooldown_s else max(count for _, count in wanted)
    return min(current, kept, scaling.max_replicas)
