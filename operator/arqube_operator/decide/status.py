"""The status a TaskQueue shows, and when it is worth a write."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, Literal

from arqube_operator.api.duration import format_duration
from arqube_operator.api.v1alpha1 import Condition, QueueStatus, ScalingStatus, TaskQueueStatus
from arqube_operator.decide.conditions import Finding
from arqube_operator.decide.manifest import TASK_QUEUE_LABEL
from arqube_operator.decide.scaling import Decision
from arqube_operator.decide.state import Identity, State
from arqube_queue.model import QueueSnapshot

COUNTS_INTERVAL_S: Final = 2.0
"""Counts alone are written at most this often; what changed the number of workers or a condition, at once."""

_CONDITION_STATUS: Final[dict[bool | None, Literal["True", "False", "Unknown"]]] = {
    True: "True",
    False: "False",
    None: "Unknown",
}


def next_status(
    state: State, decision: Decision, findings: tuple[Finding, ...], scaled: bool, now: float
) -> TaskQueueStatus:
    """The status that tells ``state`` and ``decision`` at ``now`` (Unix seconds)."""
    live, old = state.deployment, state.status.scaling
    current = live.spec_replicas if live else 0
    return TaskQueueStatus(
        observed_generation=state.identity.generation,
        replicas=live.replicas if live else 0,
        ready_replicas=live.ready_replicas if live else 0,
        desired_replicas=current if decision.replicas is None else decision.replicas,
        selector=f"{TASK_QUEUE_LABEL}={state.identity.name}",
        queue=_queue(state.queue) if state.queue else state.status.queue,
        scaling=ScalingStatus(
            reason=decision.reason,
            message=decision.message,
            last_scale_time=timestamp(now) if scaled else (old.last_scale_time if old else None),
            startup_seconds=round(state.startup_s, 1),
        ),
        conditions=tuple(_condition(state, finding, now) for finding in findings),
    )


def invalid_status(identity: Identity, message: str, now: float) -> TaskQueueStatus:
    """The status of an object that passed the CRD and yet cannot be understood; ``message`` names field and remedy."""
    condition = Condition(
        type="Ready",
        status="False",
        reason="InvalidSpec",
        message=message,
        last_transition_time=timestamp(now),
        observed_generation=identity.generation,
    )
    return TaskQueueStatus(observed_generation=identity.generation, conditions=(condition,))


def status_is_due(old: TaskQueueStatus, new: TaskQueueStatus, since_write_s: float) -> bool:
    """Whether ``new`` is worth a write ``since_write_s`` seconds after the last one."""
    if old == new:
        return False
    return _essence(old) != _essence(new) or since_write_s >= COUNTS_INTERVAL_S


def timestamp(seconds: float) -> str:
    """Unix seconds as the API writes times: RFC 3339 in UTC, whole seconds."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _essence(status: TaskQueueStatus) -> tuple[object, ...]:
    """What is told at once: all but counts and the sentences that hold them."""
    return (
        status.observed_generation,
        status.replicas,
        status.ready_replicas,
        status.desired_replicas,
        status.selector,
        status.scaling and (status.scaling.reason, status.scaling.last_scale_time),
        tuple((condition.type, condition.status, condition.reason) for condition in status.conditions),
    )


def _queue(queue: QueueSnapshot) -> QueueStatus:
    return QueueStatus(
        waiting=queue.waiting,
        running=queue.running,
        deferred=queue.deferred,
        due_soon=queue.due_soon,
        oldest_wait=format_duration(int(queue.oldest_wait_s)),
        dead_letters=queue.dead_letters,
    )


def _condition(state: State, finding: Finding, now: float) -> Condition:
    status = _CONDITION_STATUS[finding.status]
    old = next((condition for condition in state.status.conditions if condition.type == finding.type), None)
    kept = old is not None and old.status == status
    return Condition(
        type=finding.type,
        status=status,
        reason=finding.reason,
        message=finding.message,
        last_transition_time=old.last_transition_time if old is not None and kept else timestamp(now),
        observed_generation=state.identity.generation,
    )
